"""Every format that Scenelake reads or writes, and how a path is recognised.

A reader is a module with three functions (see :class:`Reader`); a writer one (see
:class:`Writer`). Modules are named as strings so that listing formats loads none of them. Other
distributions add theirs under the entry-point group ``scenelake.formats``: name → module path.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from formats.tree import asked_for, scanning
from schemas.errors import UnknownName, UnreadableFile
from schemas.records import Log, Note
from schemas.scene import Scene


class Reader(Protocol):
    """What a reading module offers.

    A *source* is what one log or one file of logs is kept in: a file, or a folder such as an
    Argoverse log. Units of resuming and of fingerprints.
    """

    def sources(self, path: Path) -> Iterator[Path]:
        """Every source of this format at or under a path, sorted; none if there is none.

        Must be cheap (names and a few first bytes), must not raise for foreign files.
        """

    def files(self, source: Path) -> Iterator[Path]:
        """The files of a source whose content makes its log (not sensor payloads)."""

    def read(self, source: Path) -> Iterator[Log | Rejected]:
        """The logs of one source; a record that cannot be used is yielded as ``Rejected``.

        Raises:
            UnreadableFile: The whole source is of no use.
        """


class Writer(Protocol):
    """What a writing module offers."""

    def write(self, scenes: Sequence[Scene], folder: Path) -> WriteReport:
        """Scenes to files; what the format cannot carry is refused, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A record of a source that cannot become a log.

    Attributes:
        record: Which one.
        reason: Why, in a sentence.
        notes: Anything else worth the ledger.
    """

    record: str
    reason: str
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport:
    """What a writer wrote.

    Attributes:
        files: Every file, in the order of the scenes.
        refused: (scene id, reason) for what the format cannot carry.
    """

    files: Sequence[Path]
    refused: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One line of the registry.

    Attributes:
        name: As on the command line.
        title: For people.
        reader: Module that reads it, or None.
        writer: Module that writes scenes in it, or None.
        log_writer: Module whose ``write_log`` or ``write_logs`` writes whole logs, or None.
        modalities: What it carries.
        versions: Of the format, as far as they matter.
        derived: What the reader works out that the source does not say.
        left_out: What the source has and we do not read; all of it is in the ledger.
        checked: Against what the reader is tested.
        settings: Modules whose docstrings tell the form of a settings file, for the docs.
    """

    name: str
    title: str
    reader: str | None = None
    writer: str | None = None
    log_writer: str | None = None
    modalities: tuple[str, ...] = ()
    versions: str = ""
    derived: str = ""
    left_out: str = ""
    checked: str = ""
    settings: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            name="nuscenes",
            title="nuScenes, Lyft L5 perception or T4 tables (folder of JSON)",
            reader="formats.nuscenes",
            modalities=(
                "tracks",
                "map",
                "ego",
                "camera",
                "lidar",
                "radar",
                "imu",
                "can",
                "gnss",
                "calibration",
            ),
            versions="v1.0 tables (mini, trainval, test), map expansion 1.0-1.3, CAN bus expansion; T4 with its Lanelet2 map; Lyft L5 perception",
            derived="neighbours, ego motion from the bus, ego box",
            left_out="rasters and basemap (path kept), tokens of captures between key frames, CAN meta; T4 masks and key points",
            checked="real T4 and Lyft samples; nuScenes by files in the published layout",
        ),
        Format(
            name="mmdet3d_infos",
            title="MMDetection3D infos of nuScenes or Lyft (pickle)",
            reader="formats.mmdet3d",
            modalities=("tracks", "ego", "camera", "lidar", "calibration"),
            versions="layouts before and since 1.1",
            derived="camera poses, solved from lidar2cam",
            left_out="image boxes, attribute labels; KITTI and Waymo infos",
            checked="four real pickles",
        ),
        Format(
            name="argoverse2_sensor",
            title="Argoverse 2 sensor log (folder)",
            reader="formats.argoverse2_sensor",
            log_writer="formats.argoverse2_sensor",
            modalities=("tracks", "map", "ego", "camera", "lidar", "calibration"),
            versions="sensor, lidar and scenario-mining sets",
            derived="ego box",
            left_out="scene-flow labels (noted)",
            checked="three real logs; av2 opens what is written",
        ),
        Format(
            name="argoverse2_motion",
            title="Argoverse 2 motion-forecasting scenario (folder)",
            reader="formats.argoverse2_motion",
            modalities=("tracks", "map"),
            derived="ego box",
            left_out="sizes and heights: the source has none",
            checked="one real scenario",
        ),
        Format(
            name="waymo_motion",
            title="Waymo Open Motion Scenario (TFRecord)",
            reader="formats.waymo_motion",
            log_writer="formats.waymo_motion",
            modalities=("tracks", "map", "signals", "ego"),
            versions="Scenario protos to 1.3",
            left_out="lidar and camera tokens (noted)",
            checked="one real scenario, byte for byte",
        ),
        Format(
            name="waymo_tfexample",
            title="Waymo Open Motion tf.Example (TFRecord)",
            reader="formats.waymo_tfexample",
            modalities=("tracks", "map", "signals", "ego"),
            derived="lines from road-graph points",
            left_out="speed and direction in polar form; the file has no lane graph",
            checked="one real example, bit for bit",
        ),
        Format(
            name="nuplan",
            title="nuPlan log (SQLite) with its city's map (GeoPackage)",
            reader="formats.nuplan",
            modalities=(
                "tracks",
                "map",
                "signals",
                "ego",
                "camera",
                "lidar",
                "imu",
                "calibration",
                "events",
            ),
            versions="v1.1 .db with GeoPackage maps",
            derived="stops at the begin of a light's connector; ego box",
            left_out="vertical velocity and confidence of boxes, next and previous tokens",
            checked="files in the published schema; the map against GDAL and py123d's parser",
        ),
        Format(
            name="py123d",
            title="py123d log (folder of Arrow files) with its map",
            reader="formats.py123d",
            modalities=(
                "tracks",
                "map",
                "signals",
                "ego",
                "camera",
                "lidar",
                "radar",
                "imu",
                "gnss",
                "calibration",
            ),
            versions="0.7",
            left_out="sync.uuid, lidar point counts, vertical velocity; LAZ and Draco clouds stay raw",
            checked="logs written by py123d's own classes",
        ),
        Format(
            name="waymo_perception",
            title="Waymo perception Frames (TFRecord)",
            reader="formats.waymo_perception",
            modalities=("tracks", "map", "ego", "camera", "lidar", "calibration"),
            versions="Frame 1.0-1.4",
            derived="ego box, speeds in the world frame",
            left_out="2-D and projected labels, key points, segmentation (all noted)",
            checked="one real Frame; range images by hand-computed ones",
        ),
        Format(
            name="waymo_perception_v2",
            title="Waymo perception version 2 (parquet tables)",
            reader="formats.waymo_v2",
            modalities=("tracks", "ego", "camera", "lidar", "calibration"),
            versions="2.0 tables",
            derived="as waymo_perception",
            left_out="as waymo_perception; v2 has no map",
            checked="tables in the published columns",
        ),
        Format(
            name="gpudrive",
            title="GPUDrive / Nocturne scenario (JSON)",
            reader="formats.gpudrive",
            modalities=("tracks", "map", "signals", "ego"),
            versions="three layouts of objects",
            left_out="lane graph: the source has none",
            checked="59 real scenarios",
        ),
        Format(
            name="l5kit",
            title="Woven/Lyft L5 prediction dataset (zarr folder, semantic map)",
            reader="formats.l5kit",
            modalities=("tracks", "map", "signals", "ego"),
            versions="zarr 2, semantic_map.pb",
            derived="centre lines and directions; heights of agents",
            left_out="aerial image, junctions, minor label probabilities (noted)",
            checked="one real scene; the map by a fragment written with the compiled proto",
        ),
        Format(
            name="kitti_raw",
            title="KITTI raw data drive (folder)",
            reader="formats.kitti_raw",
            modalities=("tracks", "ego", "camera", "lidar", "imu", "gnss", "calibration"),
            derived="poses by the published Mercator projection; ego box",
            left_out="sweeps stored as text",
            checked="drives in the published layout",
        ),
        Format(
            name="kitti_tracking",
            title="KITTI tracking sequences (folder)",
            reader="formats.kitti_tracking",
            modalities=("tracks", "ego", "camera", "lidar", "imu", "gnss", "calibration"),
            derived="as kitti_raw",
            left_out="2-D boxes, alpha, truncation",
            checked="sequences in the published layout",
        ),
        Format(
            name="kitti_object",
            title="KITTI object detection frames (folder)",
            reader="formats.kitti_object",
            modalities=("tracks", "camera", "lidar", "calibration"),
            versions="also Waymo in KITTI's layout",
            derived="the lidar's frame is the world",
            left_out="DontCare regions (noted)",
            checked="7 real frames, boxes against their points",
        ),
        Format(
            name="comma2k19",
            title="comma2k19 segment (folder)",
            reader="formats.comma2k19",
            modalities=("ego", "camera", "radar", "imu", "gnss", "can"),
            derived="east-north-up frame with its anchor kept",
            left_out="raw_log.bz2",
            checked="one real minute; video in the published layout",
        ),
        Format(
            name="scenarionet",
            title="ScenarioNet / MetaDrive ScenarioDescription (pickle)",
            reader="formats.scenarionet",
            writer="formats.scenarionet_writer",
            modalities=("tracks", "map", "signals", "ego"),
            versions="three generations of ScenarioDescription",
            derived="sides of lane polygons",
            left_out="summaries and counts, which follow from the rest",
            checked="15 real scenarios against the plain unpickler",
        ),
        Format(
            name="commonroad",
            title="CommonRoad scenario (XML 2017a-2020a)",
            reader="formats.commonroad",
            modalities=("tracks", "map", "signals"),
            versions="2017a to 2020a",
            checked="172 real files against commonroad-io",
        ),
        Format(
            name="commonroad_protobuf",
            title="CommonRoad scenario (protobuf 2020a, 2024)",
            reader="formats.commonroad_protobuf",
            modalities=("tracks", "map", "signals"),
            versions="2020a in one file, 2024 in three",
            left_out="areas of 2024 maps, signals of vehicles",
            checked="files written by commonroad-io against the XML",
        ),
        Format(
            name="lanelet2",
            title="Lanelet2 road map (OpenStreetMap XML)",
            reader="formats.lanelet2",
            modalities=("map",),
            derived="centre lines",
            checked="maps in the published layout; one real placeholder",
        ),
        Format(
            name="levelx",
            title="highD, inD, rounD, exiD and uniD recording (CSV)",
            reader="formats.levelx",
            modalities=("tracks", "map"),
            versions="highD, inD, rounD, exiD, uniD",
            derived="highD headings, lane length from what tracks cover",
            left_out="accelerations, dhw, thw, ttc, neighbour ids",
            checked="recordings in the published layout",
        ),
        Format(
            name="interaction",
            title="INTERACTION tracks and prediction splits (CSV)",
            reader="formats.interaction",
            modalities=("tracks", "map"),
            versions="recorded files and v1.2 splits",
            derived="headings where absent (pedestrians)",
            checked="the public test scenario; splits in the published layout",
        ),
        Format(
            name="ngsim",
            title="NGSIM vehicle trajectories (CSV and text)",
            reader="formats.ngsim",
            modalities=("tracks",),
            versions="CSV; text of 18 and 24 columns",
            derived="headings, hence centres and velocities",
            left_out="accelerations, headways, leaders; local coordinates where global ones exist",
            checked="files in the published layout",
        ),
        Format(
            name="sumo",
            title="SUMO floating car data with its network, or a network alone (XML)",
            reader="formats.sumo",
            modalities=("tracks", "map", "signals"),
            versions="FCD, tls states, net.xml 1.x",
            derived="centres from front bumpers; sizes by SUMO's defaults",
            left_out="accelerations, edge signals, stop offsets",
            checked="four real networks; a run of SUMO 1.28",
        ),
        Format(
            name="smarts_traffic",
            title="SMARTS traffic history (SQLite) with its SUMO network",
            reader="formats.smarts_traffic",
            modalities=("tracks", "map", "signals", "ego"),
            checked="the real I-80 excerpt, bit for bit",
        ),
        Format(
            name="table",
            title="Your own Parquet or CSV, with a mapping of the columns (*.scenelake.toml)",
            reader="formats.table",
            modalities=("tracks", "map", "signals", "ego", "imu", "gnss", "can"),
            versions="any columns, by a mapping in TOML",
            derived="headings from motion, if asked",
            checked="a real OSI table; the example of its page",
        ),
        Format(
            name="mcap",
            title="MCAP recording: ROS 2, ROS 1, Foxglove (file or bag folder)",
            reader="formats.mcap",
            modalities=(
                "tracks",
                "signals",
                "ego",
                "camera",
                "lidar",
                "radar",
                "imu",
                "gnss",
                "can",
                "calibration",
            ),
            versions="ROS 2 cdr, ROS 1, Foxglove protobuf and JSON; rosbag2 folders",
            derived="ego from transforms or GNSS where there is no odometry",
            left_out="types that are not known (noted with counts), .db3, ros2idl, Bayer images",
            checked="recordings made with the mcap library, decoding against mcap-ros2",
            settings=("formats.mcap_settings",),
        ),
        Format(
            name="osi",
            title="ASAM OSI 3 trace (.osi, MCAP)",
            reader="formats.osi",
            modalities=("tracks", "map", "signals", "ego"),
            versions="3.x GroundTruth, SensorView, SensorData",
            derived="midlines of logical lanes, successors across intersections without lanes",
            left_out="accelerations of others, wheels, occupants, future paths, detections",
            checked="five real traces against osi-python",
        ),
        Format(
            name="opendrive",
            title="OpenDRIVE 1.4-1.8 road map (XML)",
            reader="formats.opendrive_map",
            modalities=("map",),
            derived="road edges from lane types",
            left_out="crossfall, lateral shape, kerb heights, tunnels, CRG surfaces, virtual junctions (noted)",
            checked="36 real maps, borders against pyxodr",
        ),
        Format(
            name="openscenario",
            title="OpenSCENARIO 1.0-1.3 with OpenDRIVE (XML)",
            reader="formats.openscenario_read",
            writer="formats.openscenario",
            modalities=("tracks", "map", "signals", "ego"),
            versions="1.0 to 1.3",
            derived="positions on the OpenDRIVE map",
            left_out="motion that depends on triggers (kept as events), NURBS, parameter distributions",
            checked="251 real files: 103 read, 3 refused, the rest catalogs and distributions",
        ),
        Format(
            name="picture",
            title="PNG, one a scene",
            writer="formats.picture",
            modalities=("tracks", "map", "signals", "ego"),
        ),
    )
}
"""In the order a person would list them."""


def known_formats() -> dict[str, Format]:
    """Ours, then those that other distributions add."""
    found = dict(FORMATS)
    for point in sorted(entry_points(group="scenelake.formats"), key=lambda p: p.name):
        found.setdefault(
            point.name, Format(name=point.name, title=point.value, reader=point.value)
        )
    return found


def reader(name: str) -> Reader:
    """The reading module of a format.

    Raises:
        UnknownName: No format of that name can be read.
    """
    entry = FORMATS.get(name) or known_formats().get(name)
    if entry is None or not entry.reader:
        readable = [n for n, f in known_formats().items() if f.reader]
        raise UnknownName("readable format", name, readable)
    return cast(Reader, importlib.import_module(entry.reader))


def writer(name: str) -> Writer:
    """The writing module of a format.

    Raises:
        UnknownName: No format of that name can be written.
    """
    writable = {n: f.writer for n, f in known_formats().items() if f.writer}
    if name not in writable:
        raise UnknownName("format of `export`", name, writable)
    return cast(Writer, importlib.import_module(str(writable[name])))


def detect(path: Path) -> Iterator[tuple[str, Path]]:
    """(format, source) for everything readable at or under a path.

    Raises:
        UnreadableFile: There is nothing at the path.
    """
    if not path.exists():
        raise UnreadableFile(path, "does not exist", hint="Check the spelling of the path.")
    with scanning():
        found = [
            (name, source)
            for name, entry in known_formats().items()
            if entry.reader
            for source in reader(name).sources(path)
        ]
    yield from found


def near_misses(path: Path) -> Iterator[str]:
    """Formats whose readers take files of such a name, but not this file."""
    for name, entry in known_formats().items():
        if entry.reader:
            with asked_for(path) as named:
                taken = path in reader(name).sources(path)
            if named() and not taken:
                yield name

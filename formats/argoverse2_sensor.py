"""Argoverse 2 sensor logs: a folder of feather tables, sensor files and a vector map.

    <log>/annotations.feather                 cuboids, in the vehicle frame at the sweep's time
    <log>/city_SE3_egovehicle.feather         poses of the vehicle frame (rear axle) in the world
    <log>/calibration/egovehicle_SE3_sensor.feather, intrinsics.feather
    <log>/map/log_map_archive_<log>____<CITY>_city_<n>.json
    <log>/sensors/cameras/<camera>/<ns>.jpg, <log>/sensors/lidar/<ns>.feather
    <log>/scenelake/                          what the format lacks, see formats.argoverse2_extras
    <split>/scenario_mining_<split>_annotations.feather     see formats.argoverse2_mining

The lidar dataset has the same folders without annotations and cameras. Tables and sensor files may
be packed as ``.gz``. Cuboids without poses of the vehicle have no place in a world that stands
still, so that a folder with nothing else is rejected, not read as if the vehicle did not move.

Stamps count from 1980, because Argoverse hides when it drove; ``Log.extra["source_t0_ns"]`` is the
one at which the log begins. Source: github.com/argoverse/av2-api, ``src/av2/datasets/sensor``.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from pyarrow import feather

from formats.argoverse2 import (
    CATEGORIES,
    DATASET_LICENSE,
    EGO_CATEGORY,
    EGO_SIZE,
    TYPICAL_SIZES,
    Poses,
    category_of,
    centre_in_ego,
    ego_poses,
    multiply,
    usable_quaternions,
)
from formats.argoverse2_extras import Extras, extra_files, lights_of, read_extras, write_extras
from formats.argoverse2_map import MapExtras, map_to_json, read_map
from formats.argoverse2_mining import (
    events_of,
    logs_of,
    prompts_of,
    rows_of,
    tables,
    tables_beside,
)
from formats.files import GZIP_SUFFIX, plain_name, present, read_table, understood
from formats.media import Points
from formats.registry import Rejected
from geometry.arrays import Array
from geometry.frames import quaternion_from_yaw, rotation_from_quaternion, yaw_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, MapLayer
from schemas.records import EgoStates, Frame, LightStates, Log, Note, Observations, RoadMap, Sensor

DATASET = "argoverse2_sensor"
RATE_HZ = 10.0  # of the cuboids
SPLITS = ("train", "val", "test")
SWEEPS = "lidar"
"""Channel of the merged sweeps, whose points are told in the vehicle frame."""

_NO_LOG = (
    "has scenario-mining annotations but no folder of the log beside them; cuboids are told in the "
    "vehicle frame, so that without its poses they have no place"
)
FIRST_STAMP = 315_964_800_000_000_000  # [ns] the GPS epoch, near which Argoverse's stamps lie

ANNOTATIONS = "annotations.feather"
WITH_EGO = "annotations_with_ego.feather"
MINED = "sm_annotations.feather"  # the same, as the scenario-mining baseline writes it
CUBOIDS = (ANNOTATIONS, WITH_EGO, MINED)
"""Tables of cuboids, of which the first that is there is read."""
POSES = "city_SE3_egovehicle.feather"
EXTRINSICS = "calibration/egovehicle_SE3_sensor.feather"
INTRINSICS = "calibration/intrinsics.feather"

QUATERNION = ("qw", "qx", "qy", "qz")
TRANSLATION = ("tx_m", "ty_m", "tz_m")
SIZE = ("length_m", "width_m", "height_m")
CUBOID = ("timestamp_ns", "track_uuid", "category", *SIZE, *QUATERNION, *TRANSLATION)
POSE = ("timestamp_ns", *QUATERNION, *TRANSLATION)
LENS = ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3", "height_px", "width_px")

SWEEP_SCHEMA = pa.schema(
    [
        ("x", pa.float16()), ("y", pa.float16()), ("z", pa.float16()),
        ("intensity", pa.uint8()), ("laser_number", pa.uint8()), ("offset_ns", pa.int32()),
    ]
)  # fmt: skip
LONGEST_SWEEP_NS = 150_000_000  # a sweep that follows later does not tell when one ended
GROUND_CELLS = 256  # most cells along a side of a written height raster

Payloads = Callable[[Frame], "bytes | np.ndarray"]
"""Bytes of an image, or the points of a sweep with the fields of ``SWEEP_SCHEMA``."""


def sources(path: Path) -> Iterator[Path]:
    """Log folders at or under a path; of a file of a log, its folder.

    A scenario-mining table belongs to the logs beside it; one without any is a source of its own, so
    that reading it says what is missing.
    """
    if path.is_file():
        folder = path.parent
        if path in tables(path):
            yield from _logs_beside(path) or [path]
        elif plain_name(path) in (*CUBOIDS, POSES):
            yield folder
        elif path in set(files(folder.parent)) and _is_log(folder.parent):
            yield folder.parent
        return
    found = []
    for root, folders, _ in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if _is_log(Path(root)):
            folders.clear()
            found.append(Path(root))
    yield from found
    yield from (table for table in tables(path) if not _logs_beside(table))


def files(source: Path) -> Iterator[Path]:
    """Tables, calibration and map; no sensor payloads."""
    if source.is_file():
        yield source
        return
    for name in (_annotations_name(source), POSES, EXTRINSICS, INTRINSICS):
        found = present(source / name)
        if found is not None:
            yield found
    map_path = _map_path(source)
    if map_path is not None:
        yield map_path
    yield from extra_files(source)
    yield from tables_beside(source)


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a folder.

    Cuboids without poses of the vehicle have no place in the world: they are dropped, which a note
    says, and if the folder holds nothing else the log is rejected.

    Raises:
        UnreadableFile: A table or the map is broken.
    """
    if source.is_file() and source in tables(source):
        for log_id in logs_of(source):
            yield Rejected(record=log_id, reason=_NO_LOG)
        return
    if not source.is_dir():
        raise UnreadableFile(source, "is no folder of an Argoverse 2 log")
    with understood(source, "a folder of an Argoverse 2 log"):
        yield from _read(source)


def _read(source: Path) -> Iterator[Log | Rejected]:
    extras = read_extras(source)
    notes: list[Note] = []
    poses = _read_poses(source, notes)
    mined = _read_mined(source, notes)
    cuboids = _read_cuboids(source, mined, notes)
    sensors = _read_sensors(source)
    frames = list(_find_frames(source, notes))
    stamps = [s.min() for s in (poses.t_ns, cuboids.t_ns) if s.size]
    stamps += [frame.t_ns for frame in frames]
    t0 = extras.t0_ns if extras is not None else int(min(stamps, default=0))
    if len(poses.t_ns) == 0 and len(cuboids.t_ns):
        reason = (
            f"holds {len(cuboids.t_ns)} cuboids in the vehicle frame but no poses of the vehicle "
            f"({POSES}), so where they were in the world is not known"
        )
        if not (sensors or frames or _map_path(source)):
            yield Rejected(record="", reason=reason, notes=notes)
            return
        notes.append(Note(kind="dropped", reason=reason, count=len(cuboids.t_ns)))
        cuboids = cuboids.take(np.zeros(0, dtype=np.int64))
    if len(poses.t_ns) == 0:
        notes.append(Note(kind="missing", reason="no poses of the vehicle"))
    road_map, location = _read_map(source, extras, notes)
    if any(frame.channel == SWEEPS for frame in frames):
        whole = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        sensors.append(Sensor(channel=SWEEPS, kind="lidar", ego_from_sensor=whole))
    if extras is None:  # with extras the raster is our own, made from the map
        _note_unread(source, notes)
    asked = sorted({prompt for rows in mined for prompt in prompts_of(rows)})
    ego = _ego(poses, cuboids, t0, extras)
    agents = _agents(poses, cuboids, t0, extras, notes)
    about = {} if extras is None else extras.about
    yield Log(
        dataset=about.get("dataset", DATASET),
        source_log_id=about.get("source_log_id", source.resolve().name),
        source_uri=str(source),
        record=about.get("record", ""),
        rate_hz=about.get("rate_hz", RATE_HZ),
        ego=ego,
        agents=agents,
        map=road_map,
        lights=LightStates.none() if extras is None else lights_of(extras),
        t0_unix_ns=about.get("t0_unix_ns"),
        split=about.get("split", _split(source)),
        location=about.get("location", location),
        weather=None if extras is None else extras.weather,
        daylight=None if extras is None else extras.daylight,
        license=about.get("license", DATASET_LICENSE),
        epsg=about.get("epsg"),
        sensors=sensors,
        frames=_placed(frames, poses, t0, notes),
        windows=() if extras is None else extras.windows,
        events=[
            *(() if extras is None else extras.events),
            *(event for rows in mined for event in events_of(rows, t0)),
        ],
        notes=notes,
        extra=({"source_t0_ns": t0} if extras is None else dict(about["extra"]))
        | ({"scenario_mining_prompts": asked} if asked else {}),
    )


def write_log(log: Log, folder: Path, *, payloads: Payloads | None = None) -> Path:
    """One log as a folder that Argoverse's own tools open.

    Cuboids, poses, calibration and map are Argoverse's own; what it lacks stands in ``scenelake/``.
    Observations that are not valid are left out, sizes that are not known are typical ones (the
    extras say which), and ``num_interior_pts`` is counted if sweeps are written.

    Args:
        log: Any log; one without an ego gets a vehicle that stands at the world's origin.
        folder: Where the log's own folder is made, such as ``…/sensor/val``.
        payloads: What each of ``log.frames`` holds; None: no sensor files.

    Returns:
        The log's folder.
    """
    log_folder = folder / _file_name(log.source_log_id)
    (log_folder / "calibration").mkdir(parents=True, exist_ok=True)
    t0 = _written_t0(log)
    uuids = _track_uuids(log.agents)
    kept = _observed(log.agents)
    centre = centre_in_ego(EGO_SIZE[2] if log.ego is None else log.ego.size[2])
    poses = _written_poses(log, kept, centre)
    cuboids = _cuboids_in_ego(log.agents, kept, poses)
    _write_table(
        log_folder / POSES,
        timestamp_ns=poses.t_ns + t0,
        **dict(zip(QUATERNION, poses.quaternion.T, strict=True)),
        **dict(zip(TRANSLATION, poses.translation.T, strict=True)),
    )
    columns = {
        "timestamp_ns": log.agents.t_ns[kept] + t0,
        "track_uuid": [uuids[track] for track in log.agents.track[kept]],
        "category": [
            category_of(log.agents.cls[track], log.agents.source_cls[track])
            for track in log.agents.track[kept]
        ],
        **dict(zip(SIZE, cuboids.size.T, strict=True)),
        **dict(zip(QUATERNION, cuboids.quaternion.T, strict=True)),
        **dict(zip(TRANSLATION, cuboids.translation.T, strict=True)),
    }
    counter = _PointCounter(cuboids, log.agents.track[kept], log.agents.t_ns[kept])
    if payloads is not None:
        _write_frames(log, log_folder, t0, payloads, counter)
    if counter.counted:
        columns["num_interior_pts"] = counter.counts()
    _write_table(log_folder / ANNOTATIONS, **columns)
    _write_calibration(log.sensors, log_folder)
    extras = _write_map(log, log_folder) if log.map.features or log.map.source_map_id else None
    write_extras(
        log, log_folder, t0_ns=t0, centre_in_ego=centre, track_uuid=uuids, kept=kept,
        road_map=extras,
    )  # fmt: skip
    return log_folder


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Cuboids:
    """Rows of the annotations, ``t_ns`` as stamped; poses in the vehicle frame."""

    t_ns: Int[Array, " rows"]
    uuid: Sequence[str]
    category: Sequence[str]
    size: Float[Array, "rows 3"]
    quaternion: Float[Array, "rows 4"]
    translation: Float[Array, "rows 3"]

    def take(self, rows: Int[Array, " kept"]) -> _Cuboids:
        return _Cuboids(
            self.t_ns[rows],
            [self.uuid[i] for i in rows],
            [self.category[i] for i in rows],
            self.size[rows],
            self.quaternion[rows],
            self.translation[rows],
        )


def decode_sweep(data: bytes) -> Points:
    """A lidar sweep, motion-compensated, in the vehicle frame at the sweep's time.

    Raises:
        ValueError: The bytes are no such table.
    """
    try:
        table = feather.read_table(pa.BufferReader(data))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is no lidar sweep ({error})") from error
    if not {"x", "y", "z"} <= set(table.column_names):
        raise ValueError(f"is no lidar sweep: it has the columns {table.column_names}")
    xyz = np.stack([table[axis].to_numpy().astype(np.float64) for axis in "xyz"], axis=1)
    names = {"laser_number": "ring"}
    return Points(
        xyz=xyz,
        frame="ego",
        channels={
            names.get(name, name): table[name].to_numpy()
            for name in table.column_names
            if name not in "xyz"
        },
    )


def _is_log(folder: Path) -> bool:
    names = (*CUBOIDS, POSES, EXTRINSICS, INTRINSICS)
    return any(present(folder / name) is not None for name in names)


def _logs_beside(table: Path) -> list[Path]:
    """The log folders that a scenario-mining table completes, as its place has them."""
    folder = table.parent
    places = (folder, *folder.glob("*"), *folder.glob("*/*"))
    return sorted(place for place in places if place.is_dir() and _is_log(place))


def _annotations_name(folder: Path) -> str:
    there = (name for name in CUBOIDS if present(folder / name) is not None)
    return next(there, ANNOTATIONS)


def _map_path(folder: Path) -> Path | None:
    if not (folder / "map").is_dir():
        return None
    found = sorted((folder / "map").glob("log_map_archive_*.json*"))
    return found[0] if found else None


def _split(folder: Path) -> str | None:
    name = folder.resolve().parent.name
    return name if name in SPLITS else None


def _floats(table: pa.Table, names: Sequence[str]) -> Float[Array, "rows columns"]:
    columns = [np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names]
    return np.stack(columns, axis=1)


def _stamps(path: Path, table: pa.Table) -> Int[Array, " rows"]:
    column = table["timestamp_ns"]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise UnreadableFile(path, "has stamps that are no whole nanoseconds")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _read_poses(folder: Path, notes: list[Note]) -> Poses:
    path = present(folder / POSES)
    if path is None:
        return Poses(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, 3)))
    table = read_table(path, columns=POSE)
    stamps = _stamps(path, table)
    unique, first = np.unique(stamps, return_index=True)
    if len(unique) < len(stamps):
        count = len(stamps) - len(unique)
        notes.append(Note(kind="dropped", reason="poses with a stamp seen before", count=count))
    return Poses(unique, _floats(table, QUATERNION)[first], _floats(table, TRANSLATION)[first])


def _read_mined(folder: Path, notes: list[Note]) -> list[pa.Table]:
    """The log's rows in the scenario-mining tables beside it.

    A table of a whole split that is broken costs the log its events, which a note says.
    """
    found = []
    for path in tables_beside(folder):
        try:
            rows = rows_of(path, folder.resolve().name)
            if rows is not None:
                _stamps(path, rows)
                found.append(rows)
        except UnreadableFile as error:
            notes.append(Note(kind="missing", reason=f"events: {path.name} {error.reason}"))
    return found


def _read_cuboids(folder: Path, mined: Sequence[pa.Table], notes: list[Note]) -> _Cuboids:
    """The log's own cuboids, else those of the scenario-mining tables, which say them once a prompt."""
    path = present(folder / _annotations_name(folder))
    if path is None and mined and set(CUBOID) <= set(mined[0].column_names):
        rows = mined[0]
        keys = zip(rows["timestamp_ns"].to_pylist(), rows["track_uuid"].to_pylist(), strict=True)
        once = {key: number for number, key in reversed(list(enumerate(keys)))}
        return _cuboids(folder, rows.take(pa.array(sorted(once.values()))))
    if path is None:
        zero = np.zeros(0, dtype=np.int64)
        notes.append(Note(kind="missing", reason="no annotations"))
        return _Cuboids(zero, (), (), np.zeros((0, 3)), np.zeros((0, 4)), np.zeros((0, 3)))
    return _cuboids(path, read_table(path, columns=CUBOID))


def _cuboids(path: Path, table: pa.Table) -> _Cuboids:
    return _Cuboids(
        _stamps(path, table),
        [str(word) for word in table["track_uuid"].to_pylist()],
        [str(word) for word in table["category"].to_pylist()],
        _floats(table, SIZE),
        _floats(table, QUATERNION),
        _floats(table, TRANSLATION),
    )


def _read_sensors(folder: Path) -> list[Sensor]:
    where: dict[str, Array] = {}
    lenses: dict[str, Array] = {}
    path = present(folder / EXTRINSICS)
    if path is not None:
        table = read_table(path, columns=("sensor_name", *QUATERNION, *TRANSLATION))
        rows = _floats(table, (*TRANSLATION, *QUATERNION))
        where = dict(zip(table["sensor_name"].to_pylist(), rows, strict=True))
    path = present(folder / INTRINSICS)
    if path is not None:
        table = read_table(path, columns=("sensor_name", *LENS))
        lenses = dict(zip(table["sensor_name"].to_pylist(), _floats(table, LENS), strict=True))
    return [_sensor(name, where.get(name), lenses.get(name)) for name in {**where, **lenses}]


def _sensor(name: str, where: Array | None, lens: Array | None) -> Sensor:
    if where is not None and not np.isfinite(where).all():
        where = None
    kind = next((kind for kind in ("lidar", "radar", "imu", "gnss") if kind in name), "camera")
    if lens is None:
        return Sensor(channel=name, kind=kind, ego_from_sensor=where)
    return Sensor(
        channel=name, kind="camera", ego_from_sensor=where, model="pinhole",
        intrinsics=tuple(float(v) for v in lens[:4]), distortion=tuple(float(v) for v in lens[4:7]),
        height=int(lens[7]), width=int(lens[8]),
    )  # fmt: skip


def _find_frames(folder: Path, notes: list[Note]) -> Iterator[Frame]:
    """Sensor files by name, times as stamped."""
    cameras = folder / "sensors" / "cameras"
    channels = sorted(p for p in cameras.iterdir() if p.is_dir()) if cameras.is_dir() else []
    sweeps = folder / "sensors" / "lidar"
    found = [(channel.name, channel) for channel in channels]
    found += [(SWEEPS, sweeps)] if sweeps.is_dir() else []
    strange = again = 0
    for channel, place in found:
        stamped: dict[int, Frame] = {}
        for path in sorted(place.iterdir()):
            stamp, _, suffix = plain_name(path).partition(".")
            if not (stamp.isascii() and stamp.isdigit() and suffix in _CODECS):
                strange += 1
            elif int(stamp) in stamped:
                again += 1
            else:
                stamped[int(stamp)] = Frame(
                    channel=channel, t_ns=int(stamp), uri=str(path), codec=_CODECS[suffix],
                    container="gzip" if path.suffix == GZIP_SUFFIX else None,
                )  # fmt: skip
        yield from (stamped[stamp_ns] for stamp_ns in sorted(stamped))
    for count, reason in (
        (strange, "files among the sensor data whose names are no stamps"),
        (again, "sensor files with a stamp seen before"),
    ):
        if count:
            notes.append(Note(kind="dropped", reason=reason, count=count))


def _placed(frames: Sequence[Frame], poses: Poses, t0: int, notes: list[Note]) -> list[Frame]:
    """Frames with times from the log's beginning, the vehicle's pose and, for sweeps, the end.

    A sweep lasts until the next one begins; points carry their own times, which are not read here.
    """
    stamps = np.array([frame.t_ns for frame in frames], dtype=np.int64)
    quaternion, translation, recorded = poses.quaternions_at(stamps)
    known = usable_quaternions(quaternion) & np.isfinite(translation).all(axis=1)
    for count, kind, reason in (
        (int((known & ~recorded).sum()), "guessed", "frames between two poses of the vehicle"),
        (int((~known).sum()), "missing", "frames at a time for which no pose is known"),
    ):
        if count:
            notes.append(Note(kind=kind, reason=reason, count=count))
    ends: dict[int, int] = {}
    sweeps = [frame.t_ns for frame in frames if frame.channel == SWEEPS]
    for begin, end in pairwise(sweeps):
        if end - begin <= LONGEST_SWEEP_NS:
            ends[begin] = end - t0
    return [
        replace(
            frame,
            t_ns=frame.t_ns - t0,
            t_end_ns=ends.get(frame.t_ns) if frame.channel == SWEEPS else None,
            world_from_ego=(*translation[row].tolist(), *quaternion[row].tolist())
            if known[row]
            else None,
        )
        for row, frame in enumerate(frames)
    ]


_CODECS = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "feather": "feather"}


def _read_map(
    folder: Path, extras: Extras | None, notes: list[Note]
) -> tuple[RoadMap, str | None]:
    path = _map_path(folder)
    if path is None:
        if extras is not None and extras.map is not None:
            raise UnreadableFile(folder / "map", "lacks the log_map_archive_*.json of the log")
        if extras is None:
            notes.append(Note(kind="missing", reason="no map"))
        return RoadMap.none(), None
    road_map, more = read_map(path, extras=None if extras is None else extras.map)
    notes.extend(more)
    city = re.search(r"____([A-Za-z0-9]+)_city_", path.name)
    return road_map, None if city is None else city.group(1)


def _note_unread(folder: Path, notes: list[Note]) -> None:
    for pattern, what in (
        ("flow_labels.feather*", "scene-flow labels"),
        ("map/*_ground_height_surface*.npy*", "ground height raster"),
    ):
        count = len(list(folder.glob(pattern)))
        if count:
            notes.append(Note(kind="dropped", reason=f"{what}: not carried over", count=count))


def _ego(poses: Poses, cuboids: _Cuboids, t0: int, extras: Extras | None) -> EgoStates | None:
    if extras is not None:
        return _ego_with_extras(poses, extras)
    if len(poses.t_ns) == 0:
        return None
    size, centre = EGO_SIZE, centre_in_ego()
    own = np.flatnonzero(np.array([word == EGO_CATEGORY for word in cuboids.category], dtype=bool))
    if own.size:
        length, width, height = np.median(cuboids.size[own], axis=0)
        size = (float(length), float(width), float(height))
        told = np.median(cuboids.translation[own], axis=0)
        if told.any():  # tables that put the box onto the axle do not know where it is
            centre = told
    xyz, yaw, good = _box_of(poses, centre)
    return EgoStates(
        t_ns=poses.t_ns - t0, xyz=xyz, yaw=yaw, size=size, quaternion=poses.quaternion,
        valid=None if good.all() else good,
    )  # fmt: skip


def _box_of(poses: Poses, centre: Array) -> tuple[Array, Array, Array]:
    """Middle of the vehicle's box, its heading, and whether both are known."""
    good = usable_quaternions(poses.quaternion) & np.isfinite(poses.translation).all(axis=1)
    xyz = np.full((len(good), 3), np.nan)
    yaw = np.full(len(good), np.nan)
    turned = rotation_from_quaternion(poses.quaternion[good]) @ centre
    xyz[good] = poses.translation[good] + turned
    yaw[good] = yaw_from_quaternion(poses.quaternion[good])
    good &= np.isfinite(xyz).all(axis=1)
    return xyz, yaw, good


def _ego_with_extras(poses: Poses, extras: Extras) -> EgoStates | None:
    about, table = extras.about["ego"], extras.ego
    if about is None or table is None:
        return None
    stamps = np.asarray(table["timestamp_ns"].to_numpy(), dtype=np.int64)
    if (np.diff(stamps) <= 0).any():
        raise ValueError("the ego's stamps repeat or go back")
    rows = np.searchsorted(poses.t_ns, stamps)
    rows = np.clip(rows, 0, max(len(poses.t_ns) - 1, 0))
    known = np.zeros(len(stamps), dtype=bool)
    if len(poses.t_ns):
        known = poses.t_ns[rows] == stamps
    xyz = np.full((len(stamps), 3), np.nan)
    yaw = np.full(len(stamps), np.nan)
    quaternion = np.full((len(stamps), 4), np.nan)
    box_xyz, box_yaw, good = _box_of(poses, np.array(about["centre_in_ego"]))
    known[known] = good[rows[known]]
    xyz[known], yaw[known] = box_xyz[rows[known]], box_yaw[rows[known]]
    quaternion[known] = poses.quaternion[rows[known]]
    valid = np.asarray(table["valid"].to_numpy(zero_copy_only=False)) & known
    signals = {
        name: np.asarray(table[name].to_numpy(), dtype=np.float64)
        for name in ("acceleration", "yaw_rate", "steering")
        if name in table.column_names
    }
    velocity = _floats(table, ("vx", "vy")) if "vx" in table.column_names else None
    length, width, height = about["size"]
    return EgoStates(
        t_ns=stamps - extras.t0_ns, xyz=xyz, yaw=yaw, size=(length, width, height),
        quaternion=quaternion if about["has_attitude"] else None, velocity=velocity,
        valid=valid if about["has_valid"] or not valid.all() else None,
        source_track_id=about["source_track_id"], source_cls=about["source_cls"], **signals,
    )  # fmt: skip


def _agents(
    poses: Poses, cuboids: _Cuboids, t0: int, extras: Extras | None, notes: list[Note]
) -> Observations:
    tracks = list(dict.fromkeys(cuboids.uuid))
    if extras is not None:
        told = [str(uuid) for uuid in extras.tracks["track_uuid"].to_pylist()]
        tracks = [*told, *(uuid for uuid in tracks if uuid not in set(told))]
    own = {u for u, c in zip(cuboids.uuid, cuboids.category, strict=True) if c == EGO_CATEGORY}
    if own:
        count = sum(uuid in own for uuid in cuboids.uuid)
        reason = "cuboids of the recording vehicle itself: their place is taken by its poses"
        notes.append(Note(kind="renamed", reason=reason, count=count))
        tracks = [uuid for uuid in tracks if uuid not in own]
    index = {uuid: i for i, uuid in enumerate(tracks)}
    track = np.array([index.get(uuid, -1) for uuid in cuboids.uuid], dtype=np.int64)
    order = np.lexsort((cuboids.t_ns, track))
    order = order[track[order] >= 0]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (np.diff(track[order]) == 0) & (np.diff(cuboids.t_ns[order]) == 0)
    if again.any():
        reason = "cuboids of a track with a stamp seen before"
        notes.append(Note(kind="dropped", reason=reason, count=int(again.sum())))
        order = order[~again]
    stamp = cuboids.t_ns[order]
    rotation, translation, recorded = poses.at(stamp)
    placed = np.asarray(np.isfinite(translation).all(axis=1) & np.isfinite(rotation[:, 0, 0]))
    _note_poses(recorded, placed, poses, notes)
    turned = cuboids.quaternion[order]
    usable = usable_quaternions(turned) & np.isfinite(cuboids.translation[order]).all(axis=1)
    if not usable.all():
        reason = "cuboids whose own pose is not finite"
        notes.append(Note(kind="missing", reason=reason, count=int((~usable).sum())))
    good = placed & usable
    xyz, yaw = np.full((len(order), 3), np.nan), np.full(len(order), np.nan)
    at = cuboids.translation[order][good]
    xyz[good] = np.einsum("nij,nj->ni", rotation[good], at) + translation[good]
    good &= np.isfinite(xyz).all(axis=1)
    box = rotation[good] @ rotation_from_quaternion(turned[good])
    yaw[good] = np.arctan2(box[:, 1, 0], box[:, 0, 0])
    words, classes = _classes(cuboids, tracks, extras, notes)
    size, velocity = _completed_columns(cuboids, order, extras, notes)
    ids = tracks
    if extras is not None:
        ids = [str(i) for i in extras.tracks["source_track_id"].to_pylist()] + tracks[len(told) :]
        if len(set(ids)) < len(ids):
            raise ValueError("the ids of tracks repeat")
    return Observations(
        track=track[order], t_ns=stamp - t0, xyz=xyz, yaw=yaw, size=size, velocity=velocity,
        valid=None if good.all() else good, source_track_id=ids, source_cls=words, cls=classes,
    )  # fmt: skip


def _note_poses(recorded: Array, placed: Array, poses: Poses, notes: list[Note]) -> None:
    between = int((~recorded & placed).sum())
    if between:
        reason = "cuboids between two poses of the vehicle, which were interpolated"
        notes.append(Note(kind="guessed", reason=reason, count=between))
    unknown = int((~placed).sum())
    if unknown:
        reason = "cuboids at a time for which no finite pose of the vehicle is known"
        notes.append(Note(kind="missing", reason=reason, count=unknown))
    sound = usable_quaternions(poses.quaternion) & np.isfinite(poses.translation).all(axis=1)
    if not sound.all():
        reason = "poses of the vehicle that are not finite"
        notes.append(Note(kind="missing", reason=reason, count=int((~sound).sum())))


def _classes(
    cuboids: _Cuboids, tracks: Sequence[str], extras: Extras | None, notes: list[Note]
) -> tuple[list[str], list[AgentClass]]:
    """Per track, the word of its first cuboid and what it means."""
    words: dict[str, str] = {}
    changed: set[str] = set()
    for uuid, category in zip(cuboids.uuid, cuboids.category, strict=True):
        if words.setdefault(uuid, category) != category:
            changed.add(uuid)
    if changed:
        reason = "tracks whose category changes; the first is kept"
        notes.append(Note(kind="guessed", reason=reason, count=len(changed)))
    classes = {uuid: CATEGORIES.get(word, AgentClass.UNKNOWN) for uuid, word in words.items()}
    if extras is not None:
        told = zip(
            *(extras.tracks[c].to_pylist() for c in ("track_uuid", "source_cls", "cls")),
            strict=True,
        )
        for uuid, word, cls in told:
            words[uuid], classes[uuid] = word, AgentClass[cls.upper()]
    strange = sorted({w for u, w in words.items() if classes[u] == AgentClass.UNKNOWN})
    if strange and extras is None:
        reason = f"categories that Argoverse 2 does not have: {', '.join(strange)}"
        notes.append(Note(kind="renamed", reason=reason, count=len(strange)))
    return [words[uuid] for uuid in tracks], [classes[uuid] for uuid in tracks]


def _completed_columns(
    cuboids: _Cuboids, order: Array, extras: Extras | None, notes: list[Note]
) -> tuple[Array, Array | None]:
    """Sizes and velocities; the extras know which sizes were made up."""
    size = cuboids.size[order]
    if extras is None:
        return size, None
    told = extras.agents
    if not np.array_equal(told["timestamp_ns"].to_numpy(), cuboids.t_ns) or told[
        "track_uuid"
    ].to_pylist() != list(cuboids.uuid):
        reason = "velocities: the annotations were changed since, rows no longer match"
        notes.append(Note(kind="dropped", reason=reason, count=told.num_rows))
        return size, None
    known = told["size_known"].to_numpy(zero_copy_only=False)[order]
    velocity = _floats(told, ("vx", "vy"))[order] if "vx" in told.column_names else None
    return np.where(known[:, None], size, np.nan), velocity


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".")
    return safe or "log"


def _written_t0(log: Log) -> int:
    hidden = log.extra.get("source_t0_ns")
    if hidden is not None:
        return int(hidden)
    return FIRST_STAMP if log.t0_unix_ns is None else log.t0_unix_ns


def _track_uuids(agents: Observations) -> list[str]:
    """The source's own ids where they tell tracks apart, else numbered."""
    own = [str(name) for name in agents.source_track_id]
    return own if len(set(own)) == len(own) else [f"{i}-{name}" for i, name in enumerate(own)]


def _observed(agents: Observations) -> Int[Array, " kept"]:
    """Observations that become cuboids, by time and track, as Argoverse orders them."""
    good = np.isfinite(agents.xyz).all(axis=1) & np.isfinite(agents.yaw)
    if agents.valid is not None:
        good &= agents.valid
    rows = np.flatnonzero(good)
    return rows[np.lexsort((agents.track[rows], agents.t_ns[rows]))]


def _written_poses(log: Log, kept: Array, centre: Array) -> Poses:
    """The vehicle frame at every time at which something is told in it or was captured."""
    frame_times = np.array([frame.t_ns for frame in log.frames], dtype=np.int64)
    needed = np.unique(np.concatenate([log.agents.t_ns[kept], frame_times]))
    own = Poses(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, 3)))
    if log.ego is not None:
        own = ego_poses(log.ego, centre)
    if len(own.t_ns) == 0:
        still = np.tile([1.0, 0.0, 0.0, 0.0], (len(needed), 1))
        return Poses(needed, still, np.zeros((len(needed), 3)))
    more = np.setdiff1d(needed, own.t_ns)
    # Any frame that the file itself tells serves for cuboids; the nearest pose keeps them near.
    nearest = np.clip(np.searchsorted(own.t_ns, more), 0, len(own.t_ns) - 1)
    t_ns = np.concatenate([own.t_ns, more])
    order = np.argsort(t_ns, kind="stable")
    return Poses(
        t_ns[order],
        np.concatenate([own.quaternion, own.quaternion[nearest]])[order],
        np.concatenate([own.translation, own.translation[nearest]])[order],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """Cuboids as they are written, in the vehicle frame."""

    size: Float[Array, "rows 3"]
    quaternion: Float[Array, "rows 4"]
    translation: Float[Array, "rows 3"]


def _cuboids_in_ego(agents: Observations, kept: Array, poses: Poses) -> _Written:
    at = np.searchsorted(poses.t_ns, agents.t_ns[kept])
    attitude = poses.quaternion[at]
    attitude /= np.linalg.norm(attitude, axis=1, keepdims=True)
    back = attitude * np.array([1.0, -1.0, -1.0, -1.0])
    offset = agents.xyz[kept] - poses.translation[at]
    typical = np.array([TYPICAL_SIZES[cls] for cls in agents.cls]).reshape(-1, 3)
    size = agents.size[kept]
    known = np.isfinite(size).all(axis=1, keepdims=True)
    return _Written(
        size=np.where(known, size, typical[agents.track[kept]]) if len(kept) else size,
        quaternion=multiply(back, quaternion_from_yaw(agents.yaw[kept])),
        translation=np.einsum("nij,nj->ni", rotation_from_quaternion(back), offset),
    )


class _PointCounter:
    """How many points of the sweeps lie in each cuboid."""

    def __init__(self, cuboids: _Written, track: Array, t_ns: Array) -> None:
        self._cuboids, self._track, self._t_ns = cuboids, track, t_ns
        self._found = np.full(len(t_ns), -1, dtype=np.int64)
        self.counted = False

    def add(self, t_ns: int, xyz: Float[Array, "points 3"]) -> None:
        """Count one sweep, whose points are in the vehicle frame."""
        self.counted = True
        for row in np.flatnonzero(self._t_ns == t_ns):
            size = self._cuboids.size[row]
            offset = xyz - self._cuboids.translation[row]
            near = offset[np.abs(offset).max(axis=1) <= np.linalg.norm(size)]
            local = near @ rotation_from_quaternion(self._cuboids.quaternion[row])
            self._found[row] = int((np.abs(local) <= size / 2.0).all(axis=1).sum())

    def counts(self) -> Int[Array, " rows"]:
        """Per cuboid; one between sweeps takes the count of its track at the nearest sweep."""
        counts = self._found.copy()
        for track in np.unique(self._track):
            rows = np.flatnonzero(self._track == track)
            swept = rows[self._found[rows] >= 0]
            if swept.size == 0:
                counts[rows] = 0
                continue
            gap = np.abs(self._t_ns[rows][:, None] - self._t_ns[swept][None])
            counts[rows] = self._found[swept[gap.argmin(axis=1)]]
        return counts


def _write_frames(
    log: Log, log_folder: Path, t0: int, payloads: Payloads, counter: _PointCounter
) -> None:
    kinds = {sensor.channel: sensor.kind for sensor in log.sensors}
    for frame in log.frames:
        content = payloads(frame)
        if isinstance(content, bytes):
            suffix = {"jpeg": "jpg"}.get(frame.codec, frame.codec)
            path = log_folder / "sensors" / "cameras" / _file_name(frame.channel)
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{frame.t_ns + t0}.{suffix}").write_bytes(content)
            continue
        assert kinds.get(frame.channel, "lidar") == "lidar", frame.channel
        path = log_folder / "sensors" / "lidar"
        path.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            [pa.array(np.ascontiguousarray(content[f.name]).astype(f.type.to_pandas_dtype()))
             for f in SWEEP_SCHEMA],
            schema=SWEEP_SCHEMA,
        )  # fmt: skip
        feather.write_feather(table, str(path / f"{frame.t_ns + t0}.feather"))
        xyz = np.stack([np.asarray(content[axis], dtype=np.float64) for axis in "xyz"], axis=1)
        counter.add(frame.t_ns, xyz)


def _write_calibration(sensors: Sequence[Sensor], log_folder: Path) -> None:
    placed = [
        s for s in sensors if s.ego_from_sensor is not None and s.channel != SWEEPS
    ]  # the merged sweeps need none: they are in the vehicle frame already
    where = np.array([s.ego_from_sensor for s in placed], dtype=np.float64).reshape(-1, 7)
    _write_table(
        log_folder / EXTRINSICS,
        sensor_name=[s.channel for s in placed],
        **dict(zip(QUATERNION, where[:, 3:].T, strict=True)),
        **dict(zip(TRANSLATION, where[:, :3].T, strict=True)),
    )
    cameras = [s for s in sensors if s.kind == "camera" and len(s.intrinsics) == 4]
    lens = np.array(
        [
            (*s.intrinsics, *(list(s.distortion) + [0.0] * 3)[:3], s.height or 0, s.width or 0)
            for s in cameras
        ],
        dtype=np.float64,
    ).reshape(-1, 9)
    columns = dict(zip(LENS, lens.T, strict=True))
    pixels = {name: columns.pop(name).astype(np.uint16) for name in ("height_px", "width_px")}
    _write_table(
        log_folder / INTRINSICS, sensor_name=[s.channel for s in cameras], **columns, **pixels
    )


def _write_map(log: Log, log_folder: Path) -> MapExtras:
    folder = log_folder / "map"
    folder.mkdir(exist_ok=True)
    content, extras = map_to_json(log.map)
    name, city = log_folder.name, re.sub(r"[^A-Za-z0-9]+", "", log.location or "") or "UNK"
    number = zlib.crc32(log.map.source_map_id.encode()) % 100_000
    path = folder / f"log_map_archive_{name}____{city}_city_{number}.json"
    path.write_text(json.dumps(content))
    _write_ground(log.map, folder, name, city)
    return extras


def _write_ground(road_map: RoadMap, folder: Path, name: str, city: str) -> None:
    """Height of the ground as a raster, where the map is flat and it is therefore known."""
    layers = (MapLayer.LANE, MapLayer.DRIVABLE_AREA)
    ground = [f.points for f in road_map.features if f.layer in layers and f.has_z]
    if not ground:
        return
    points = np.concatenate(ground)
    if not np.isfinite(points).all() or np.ptp(points[:, 2]) > 0.0:
        return
    low, high = points[:, :2].min(axis=0) - 1.0, points[:, :2].max(axis=0) + 1.0
    cell = max(1.0, float((high - low).max()) / GROUND_CELLS)
    columns, rows = np.ceil((high - low) / cell).astype(int)
    height = points[0, 2]
    exact = np.float64(np.float16(height)) == height
    raster = np.full((rows, columns), height, dtype=np.float16 if exact else np.float32)
    np.save(folder / f"{name}_ground_height_surface____{city}.npy", raster)
    # Argoverse's similarity: pixel = s (R xy + t).
    similarity = {"R": [1.0, 0.0, 0.0, 1.0], "t": (-low).tolist(), "s": 1.0 / cell}
    (folder / f"{name}___img_Sim2_city.json").write_text(json.dumps(similarity))


def _write_table(path: Path, **columns: Sequence[str] | Array) -> None:
    arrays = {
        name: pa.array(values, pa.string())
        if isinstance(values, list)
        else pa.array(np.ascontiguousarray(values))
        for name, values in columns.items()
    }
    feather.write_feather(pa.table(arrays), str(path))

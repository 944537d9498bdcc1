"""py123d logs: a folder of Arrow files, one a modality, and maps beside them.

    <root>/logs/<split>/<log>/sync.arrow                    what the log is; stamps that py123d joins
                              ego_state_se3.arrow           poses of the IMU, its motion
                              box_detections_se3.arrow      a row a moment, boxes in lists
                              traffic_light_detections.arrow
                              camera.*.arrow (*.mp4), camera_depth.*, camera_semantic.*, lidar.*,
                              radar.*, imu.*, gnss.*, barometer.*, magnetometer.*, custom.*
                              map.arrow                     or in <root>/maps, see formats.py123d_map

Every modality has its own rate; stamps are µs, Unix time where the source has it. Poses are x, y, z
and a quaternion, scalar first. The ego frame of sensors and captures is that of the IMU. Camera
videos count frames; they are told by the stamps of the video (see :mod:`formats.video`). Logs come
in parts of 60 s. Written for version 0.7. Left out: ``sync.uuid`` (made from names and stamps),
numbers of lidar points in boxes, vertical velocities of boxes, the polyline of a route that was
derived from the ego's own path. Source: github.com/autonomousvision/py123d, ``api/scene/arrow``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from formats.argoverse2 import multiply, usable_quaternions
from formats.files import GZIP_SUFFIX, plain_name, present
from formats.media import CODECS, Points
from formats.py123d_file import (
    METADATA,
    ArrowFile,
    Payload,
    Stretch,
    fixed_vectors,
    open_schema,
    unpack,
    unpacked_metadata,
)
from formats.py123d_labels import EGO, LABELS, LIGHT_WORDS, LIGHTS, class_of, word_of
from formats.py123d_map import FARTHEST_M, MAP_NAME, find_map, read_map
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import matching
from formats.video import StreamIndex, stream_index
from geometry.arrays import Array
from geometry.frames import rotation_from_quaternion, yaw_from_quaternion
from schemas.errors import BadRecord, UnreadableFile
from schemas.labels import LightState
from schemas.records import (
    EgoStates,
    Frame,
    LightStates,
    Log,
    Observations,
    Readings,
    RoadMap,
    Sensor,
)

DATASET = "py123d_"  # and the family that was converted
PART_US = 60_000_000
DEFAULT_RATE_HZ = 10.0
FASTEST = 1e6  # a motion beyond, in any of its units, is a mistake
UNIX_SINCE_US = 1_100_000_000_000_000  # [µs] November 2004; earlier stamps hide when it was

SYNC = "sync.arrow"
EGO_KEY, BOXES_KEY, LIGHTS_KEY = (
    "ego_state_se3", "box_detections_se3", "traffic_light_detections",
)  # fmt: skip
CAPTURES = {
    "camera": "camera", "camera_depth": "camera", "camera_semantic": "camera",
    "camera_instance": "camera", "lidar": "lidar", "radar": "radar",
}  # fmt: skip
"""Modality (the file's name up to the dot) → kind of sensor, of those whose rows are captures."""
PICTURES = "camera"  # the others of that kind hold numbers instead of colours
SERIES = {
    "imu": "imu", "gnss": "gnss", "barometer": "other", "magnetometer": "imu",
    "route_position": "other", "custom": "other",
}  # fmt: skip
"""Likewise, of those whose rows are readings."""
MODELS = {"pinhole": "pinhole", "fisheye_mei": "mei", "ftheta": "ftheta"}
MERGED = ("lidar_merged", "radar_merged")
LIDARS = ("unknown", "merged", "top", "front", "side_left", "side_right", "back", "down")
RADARS = (
    "unknown", "merged", "front", "front_left", "front_right", "side_left", "side_right",
    "back_left", "back_right", "back", "rear_left", "rear_right",
)  # fmt: skip

POSE, MOTION, BOX = 7, 9, 10  # lengths of vectors
MOTION_SIGNALS = {
    "velocity_z": (2, "m/s"), "acceleration_y": (4, "m/s2"), "acceleration_z": (5, "m/s2"),
    "angular_velocity_x": (6, "rad/s"), "angular_velocity_y": (7, "rad/s"),
}  # fmt: skip
"""What the ego's states have no column for, by place in the vector."""
UNITS = {
    "angular_velocity": "rad/s", "linear_acceleration": "m/s2", "latitude": "deg",
    "longitude": "deg", "altitude": "m", "horizontal_accuracy": "m", "vertical_accuracy": "m",
    "velocity_ned": "m/s", "speed_accuracy": "m/s", "msl_altitude": "m", "pressure": "Pa",
    "temperature": "degC", "magnetic_field": "T", "progress_m": "m", "fix_age_s": "s",
}  # fmt: skip
SUFFIXES = {
    ("lla", 3): ("latitude", "longitude", "altitude"),
    ("velocity_ned", 3): ("velocity_ned_north", "velocity_ned_east", "velocity_ned_down"),
    ("uncertainty_se3", 9): tuple(
        f"sigma_{name}"
        for name in (
            "x",
            "y",
            "z",
            "velocity_x",
            "velocity_y",
            "velocity_z",
            "roll",
            "pitch",
            "yaw",
        )
    ),
}
AXES = {3: "xyz", 4: "wxyz"}
MAX_TEXT = 2**16  # characters of a custom row that are kept

SENSOR_ROOTS = {
    "av2-sensor": ("AV2_DATA_ROOT", "sensor"),
    "nuplan": ("NUPLAN_SENSOR_ROOT", ""),
    "nuscenes": ("NUSCENES_DATA_ROOT", ""),
    "wod-perception": ("WOD_PERCEPTION_DATA_ROOT", ""),
    "wod_perception": ("WOD_PERCEPTION_DATA_ROOT", ""),
    "pandaset": ("PANDASET_DATA_ROOT", ""),
    "kitti360": ("KITTI360_DATA_ROOT", ""),
    "nureasoning": ("NUREASONING_DATA_ROOT", ""),
    "griffin": ("GRIFFIN_DATA_ROOT", ""),
    "truckdrive": ("TRUCKDRIVE_DATA_ROOT", ""),
}
"""Environment variable, and folder within, to which told paths of sensor files are relative."""
FILE_CODECS = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".pcd": "pcd", ".feather": "feather",
    ".pcd.bin": "nuscenes_lidar",
}  # fmt: skip
POINTS = "py123d_points"


def sources(path: Path) -> Iterator[Path]:
    """Log folders at or under a path; of a file of a log, its folder."""
    if path.is_file():
        folder = path.parent
        if plain_name(path).endswith((".arrow", ".mp4")) and _is_log(folder):
            yield folder
        return
    for sync in matching(path, SYNC):
        if _is_log(sync.parent):
            yield sync.parent


def files(source: Path) -> Iterator[Path]:
    """Every modality's file that holds no sensor payloads, and the map."""
    sync = present(source / SYNC)
    if sync is None:
        return
    yield sync
    yield from (path for path in _modalities(source) if not _holds_payloads(path))
    about = _about(sync)
    found = find_map(source, str(about.get("dataset", "")), about.get("location"))
    if found is not None:
        yield found


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a folder, in parts of a minute.

    Raises:
        UnreadableFile: A file of it, or its map, is broken.
        BadRecord: A column holds what it cannot hold.
    """
    sync = present(source / SYNC)
    if sync is None:
        raise UnreadableFile(source, f"is no py123d log: it has no {SYNC}")
    ArrowFile(sync, timestamp="sync.timestamp_us")  # that it is whole; the rows say nothing more
    yield from _Drive(source, unpacked_metadata(sync, open_schema(sync))).parts()


def decode_points(data: bytes) -> Points:
    """A point cloud that py123d keeps as an Arrow stream, in the frame of the IMU.

    Raises:
        ValueError: It is none.
    """
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            table = reader.read_all()
        xyz = np.stack([table[axis].to_numpy().astype(np.float64) for axis in "xyz"], axis=1)
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"no cloud of py123d ({error})") from error
    names = {"channel": "ring", "timestamps": "offset_ns"}
    channels = {
        names.get(name, name): table[name].to_numpy()
        for name in table.column_names
        if name not in ("x", "y", "z")
    }
    return Points(xyz=xyz, frame="ego", channels=channels)


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def _is_log(folder: Path) -> bool:
    """Whether a folder's ``sync.arrow`` tells what log it is, or is broken beside a modality."""
    sync = present(folder / SYNC)
    if sync is None:
        return False
    try:
        schema = open_schema(sync)
    except UnreadableFile:
        return any(_kind(path) in (EGO_KEY, BOXES_KEY, *CAPTURES) for path in _modalities(folder))
    return "sync.timestamp_us" in schema.names and METADATA in (schema.metadata or {})


def _modalities(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if plain_name(path).endswith(".arrow") and plain_name(path) not in (SYNC, MAP_NAME)
    )


def _kind(path: Path) -> str:
    """The modality of a file: its name up to the first dot."""
    return plain_name(path).partition(".")[0]


def _holds_payloads(path: Path) -> bool:
    """Whether a file holds images or clouds themselves; a broken one counts as small."""
    if _kind(path) not in CAPTURES:
        return False
    try:
        schema = open_schema(path)
    except UnreadableFile:
        return False
    return any(
        name.endswith(".data") and pa.types.is_binary(schema.field(name).type)
        for name in schema.names
    )


def _about(sync: Path) -> Mapping[str, Any]:
    try:
        return unpacked_metadata(sync, open_schema(sync))
    except UnreadableFile:
        return {}


# ── A log ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Whole:
    """What is the same in every part."""

    t0_us: int
    rate_hz: float
    sensors: Sequence[Sensor]
    road_map: RoadMap
    extra: Mapping[str, Any]


class _Drive:
    """One folder, told part by part."""

    def __init__(self, source: Path, about: Mapping[str, Any]) -> None:
        self._source, self._about = source, about
        self._tally = Tally()
        self._dataset = str(about.get("dataset") or "unknown")
        self._videos: dict[Path, StreamIndex | None] = {}
        self._files = [ArrowFile(path) for path in _modalities(source)]
        for file in self._files:
            self._tally.add("dropped", f"rows of {file.key} without stamp", file.without_stamp)

    def parts(self) -> Iterator[Log | Rejected]:
        """The log; every minute that holds something, numbered without gaps."""
        stamps = [file.stamps for file in self._files if len(file.stamps)]
        if not stamps:
            yield Rejected(record="", reason="no modality has a row with a stamp")
            return
        begin = min(int(column[0]) for column in stamps)
        minutes = np.unique(np.concatenate([np.unique((s - begin) // PART_US) for s in stamps]))
        try:
            whole = self._whole(begin)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"tells of its sensors what cannot be ({type(error).__name__}: {error})"
            raise BadRecord(self._source, reason) from error
        for part, minute in enumerate(minutes.tolist()):
            span = (begin + minute * PART_US, begin + (minute + 1) * PART_US)
            yield self._part(whole, span, part, part + 1 < len(minutes))
            self._tally = Tally()

    def _file(self, key: str) -> ArrowFile | None:
        return next((file for file in self._files if file.key == key), None)

    # What is the same in every part

    def _whole(self, t0_us: int) -> _Whole:
        for key in (EGO_KEY, BOXES_KEY):
            if self._file(key) is None:
                self._tally.add("missing", f"no {key}.arrow")
        extra: dict[str, Any] = {"source_t0_us": t0_us, "metadata": _plain(self._about)}
        extra["sensors"] = {
            file.key: _plain(file.metadata) for file in self._files if _kind(file.path) in CAPTURES
        }
        ego = self._file(EGO_KEY)
        if ego is not None:
            extra["ego"] = _plain(ego.metadata)
        route = self._file("route_position")
        if route is not None and route.metadata.get("source") == "provided":
            extra["route"] = _plain(route.metadata)
        return _Whole(
            t0_us=t0_us,
            rate_hz=self._rate(),
            sensors=self._sensors(),
            road_map=self._map(),
            extra=extra,
        )

    def _rate(self) -> float:
        """Of the boxes, without them of the ego [Hz]."""
        for file in (self._file(BOXES_KEY), self._file(EGO_KEY)):
            steps = np.diff(file.stamps) if file is not None else np.zeros(0)
            if len(steps) and np.median(steps) > 0:
                return float(1e6 / np.median(steps))
        return DEFAULT_RATE_HZ

    def _map(self) -> RoadMap:
        location = self._about.get("location")
        path = find_map(self._source, self._dataset, location)
        if path is None:
            reason = f"no map of {location or 'this log'}: neither {MAP_NAME} nor one in maps/"
            self._tally.add("missing", reason)
            return RoadMap.none()
        road_map, about, notes = read_map(path)
        if about.get("location") not in (None, location):
            reason = f"the map {path.name} is of {about['location']}, the log of {location}"
            self._tally.add("dropped", reason, len(road_map.features))
            return RoadMap.none()
        self._tally.extend(notes)
        return road_map

    def _sensors(self) -> list[Sensor]:
        sensors: list[Sensor] = []
        for file in self._files:
            kind = _kind(file.path)
            if kind in CAPTURES:
                sensors += self._capturing(file, CAPTURES[kind])
            elif kind not in (BOXES_KEY, LIGHTS_KEY):
                told = "imu" if kind == EGO_KEY else SERIES.get(kind, "other")
                placed = _pose(file.metadata.get(f"{kind}_to_imu_se3"))
                sensors.append(Sensor(channel=file.key, kind=told, ego_from_sensor=placed))
        return sensors

    def _capturing(self, file: ArrowFile, kind: str) -> Iterator[Sensor]:
        """A sensor of captures; of a merged cloud also those that it was merged of."""
        told = file.metadata.get("camera_metadata", file.metadata)
        if kind == "camera":
            yield self._camera(file.key, told)
            return
        here = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        if file.key.endswith(MERGED):
            yield Sensor(channel=file.key, kind=kind, ego_from_sensor=here)
            words = LIDARS if kind == "lidar" else RADARS
            for number, each in told.items():
                word = (
                    words[int(number)]
                    if str(number).isdigit() and int(number) < len(words)
                    else number
                )
                placed = _pose(each.get(f"{kind}_to_imu_se3"))
                yield Sensor(channel=f"{file.key}/{word}", kind=kind, ego_from_sensor=placed)
            return
        placed = _pose(told.get(f"{kind}_to_imu_se3"))
        yield Sensor(channel=file.key, kind=kind, ego_from_sensor=placed)

    def _camera(self, key: str, told: Mapping[str, Any]) -> Sensor:
        """Calibration; beyond fx, fy, cx, cy come a mirror parameter (MEI) or the polynomials."""
        numbers: list[float] = list(told.get("intrinsics") or told.get("projection") or ())
        model = MODELS.get(str(told.get("camera_model", "")).lower(), "none")
        if model == "pinhole" and len(numbers) == 5 and numbers[4] == 0.0:
            numbers = numbers[:4]  # no skew
        if model == "mei" and told.get("mirror_parameter") is not None:
            numbers.append(float(told["mirror_parameter"]))
        if model == "ftheta" and len(numbers) == 14:
            cx, cy, *polynomials = numbers
            slope = polynomials[1]  # pixels a radian at the centre
            numbers = [slope, slope, cx, cy, *polynomials]
        return Sensor(
            channel=key,
            kind="camera",
            ego_from_sensor=_pose(told.get("camera_to_imu_se3")),
            model=model,
            intrinsics=tuple(float(n) for n in numbers),
            distortion=tuple(float(n) for n in told.get("distortion") or ()),
            width=told.get("width"),
            height=told.get("height"),
        )

    # One part

    def _part(self, whole: _Whole, span_us: tuple[int, int], part: int, more: bool) -> Log:
        ego, agents, lights = None, Observations.none(), LightStates.none()
        readings: list[Readings] = []
        frames: list[Frame] = []
        for file in self._files:
            kind = _kind(file.path)
            try:
                if kind in CAPTURES:
                    frames += self._frames(file, span_us, whole)
                    continue
                stretch = file.rows(*span_us, file.columns)
                if kind == EGO_KEY:
                    ego = self._ego(stretch, file.metadata, whole.t0_us)
                    readings += self._motion(stretch, whole.t0_us)
                elif kind == BOXES_KEY:
                    agents = self._agents(stretch, file.metadata, whole.t0_us)
                elif kind == LIGHTS_KEY:
                    lights = self._lights(stretch, whole.t0_us)
                else:
                    readings += self._series(stretch, file.key, whole.t0_us)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                reason = f"holds what it cannot hold ({type(error).__name__}: {error})"
                raise BadRecord(file.path, reason, record=f"part {part}") from error
        unix = whole.t0_us >= UNIX_SINCE_US
        return Log(
            dataset=DATASET + self._dataset,
            source_log_id=str(self._about.get("log_name") or self._source.resolve().name),
            source_uri=str(self._source),
            rate_hz=whole.rate_hz,
            ego=ego,
            agents=agents,
            map=whole.road_map,
            lights=lights,
            t0_unix_ns=whole.t0_us * 1000 if unix else None,
            split=self._about.get("split"),
            location=self._about.get("location"),
            sensors=whole.sensors,
            frames=frames,
            readings=readings,
            notes=self._tally.notes(),
            extra=whole.extra,
            part=part,
            more=more,
        )

    def _ego(self, rows: Stretch, about: Mapping[str, Any], t0_us: int) -> EgoStates | None:
        pose, motion = rows.vectors("imu_se3", POSE), rows.vectors("dynamic_state_se3", MOTION)
        kept = self._usable(rows, pose, "poses of the ego")
        if not kept.any():
            return None
        pose, motion = pose[kept], motion[kept]
        motion[np.abs(motion) > FASTEST] = np.nan
        centre = _pose(about.get("center_to_imu_se3"))
        if centre is None:
            self._tally.add("missing", "where the middle of the ego's box is: the IMU is taken")
            centre = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        size = [about.get(name) for name in ("length", "width", "height")]
        if any(not isinstance(extent, float | int) or extent <= 0.0 for extent in size):
            self._tally.add("guessed", "the size of the ego is not told: that of a car is taken")
            size = [4.6, 1.9, 1.6]
        imu = pose[:, 3:] / np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
        rotation = rotation_from_quaternion(imu)
        turned = np.abs(centre[3]) < 1.0 - 1e-12
        attitude = multiply(imu, np.tile(centre[3:], (len(imu), 1))) if turned else imu
        speed = motion[:, :3] + np.cross(np.nan_to_num(motion[:, 6:]), centre[:3])
        velocity = np.einsum("nij,nj->ni", rotation, speed)[:, :2]
        push = motion[:, 3:6] @ rotation_from_quaternion(centre[3:])
        return EgoStates(
            t_ns=(rows.stamps[kept] - t0_us) * 1000,
            xyz=pose[:, :3] + rotation @ centre[:3],
            yaw=yaw_from_quaternion(attitude),
            size=(float(size[0]), float(size[1]), float(size[2])),  # type: ignore[arg-type]
            quaternion=attitude,
            velocity=_known(velocity),
            acceleration=_known(push[:, 0]),
            yaw_rate=_known(motion[:, 8]),
        )

    def _usable(self, rows: Stretch, pose: Float[Array, "rows 7"], what: str) -> Array:
        """Which rows hold a pose at a time of its own."""
        first = np.ones(len(rows.stamps), dtype=bool)
        first[1:] = np.diff(rows.stamps) > 0
        self._tally.add("dropped", f"{what} at a time told before", int((~first).sum()))
        sound = (np.abs(pose[:, :3]) < FARTHEST_M).all(axis=1) & usable_quaternions(pose[:, 3:])
        self._tally.add("dropped", f"{what} that are no poses", int((first & ~sound).sum()))
        return np.asarray(first & sound)

    def _motion(self, rows: Stretch, t0_us: int) -> Iterator[Readings]:
        """What the ego's states have no column for."""
        first = _first(rows.stamps)
        t_ns = (rows.stamps[first] - t0_us) * 1000
        motion = rows.vectors("dynamic_state_se3", MOTION)[first]
        for signal, (place, unit) in MOTION_SIGNALS.items():
            if np.isfinite(motion[:, place]).any():
                yield Readings(
                    channel=EGO_KEY, signal=signal, t_ns=t_ns, value=motion[:, place], unit=unit
                )
        others = [c for c in rows.table.column_names if c not in ("imu_se3", "dynamic_state_se3")]
        yield from self._columns(rows, EGO_KEY, others, t0_us)

    def _agents(self, rows: Stretch, about: Mapping[str, Any], t0_us: int) -> Observations:
        counts, boxes = rows.lists("bounding_box_se3")
        box = fixed_vectors(boxes, BOX)
        told, tokens = rows.lists("track_token")
        marked, labels = rows.lists("label")
        if not (np.array_equal(counts, told) and np.array_equal(counts, marked)):
            raise ValueError("lists of one moment that differ in length")
        velocity = np.full((len(box), 3), np.nan)
        if rows.has("velocity_3d"):
            moving, vectors = rows.lists("velocity_3d")
            if np.array_equal(counts, moving):
                velocity = fixed_vectors(vectors, 3)
        t_ns = np.repeat((rows.stamps - t0_us) * 1000, counts)
        names = tokens.to_pylist()
        enumeration = str(about.get("box_detection_label_class", "")).rpartition(".")[2]
        words = [word_of(LABELS.get(enumeration, ()), number) for number in labels.to_pylist()]
        usable = (np.abs(box[:, :3]) < FARTHEST_M).all(axis=1) & usable_quaternions(box[:, 3:7])
        usable &= np.array([name is not None for name in names], dtype=bool)
        self._tally.add("dropped", "boxes without place or track", int((~usable).sum()))
        itself = np.array([word == EGO for word in words], dtype=bool)
        self._tally.add("dropped", "boxes that are the ego itself", int((usable & itself).sum()))
        numbers: dict[str, int] = {}
        track = np.array(
            [numbers.setdefault(str(name), len(numbers)) for name in names], dtype=np.int64
        )
        order = np.lexsort((t_ns, track))
        order = order[(usable & ~itself)[order]]
        same = np.zeros(len(order), dtype=bool)
        same[1:] = (np.diff(track[order]) == 0) & (np.diff(t_ns[order]) == 0)
        self._tally.add("dropped", "second boxes of a track at one time", int(same.sum()))
        order = order[~same]
        self._tally.add(
            "dropped", "vertical velocities of boxes and their numbers of lidar points", len(order)
        )
        seen, first, number = np.unique(track[order], return_index=True, return_inverse=True)
        by_number = list(numbers)
        word_at = [words[k] for k in order[first].tolist()]
        if enumeration not in LABELS and len(order):
            reason = (
                f"labels are numbers of {enumeration or 'no told kind'}, whose words are not known"
            )
            self._tally.add("missing", reason, len(seen))
        size = np.where(box[order, 7:] > 0.0, box[order, 7:], np.nan)
        return Observations(
            track=number.astype(np.int64),
            t_ns=t_ns[order],
            xyz=np.ascontiguousarray(box[order, :3]),
            yaw=yaw_from_quaternion(box[order, 3:7]),
            size=size,
            velocity=_known(velocity[order, :2]),
            source_track_id=[by_number[k] for k in seen.tolist()],
            source_cls=word_at,
            cls=[class_of(enumeration, word) for word in word_at],
        )

    def _lights(self, rows: Stretch, t0_us: int) -> LightStates:
        counts, lanes = rows.lists("lane_id")
        shown, states = rows.lists("status")
        if not np.array_equal(counts, shown):
            raise ValueError("lists of one moment that differ in length")
        t_ns = np.repeat((rows.stamps - t0_us) * 1000, counts).tolist()
        told: dict[tuple[int, str], Any] = {}
        for t, lane, state in zip(t_ns, lanes.to_pylist(), states.to_pylist(), strict=True):
            if (t, str(lane)) in told:
                self._tally.add("dropped", "second states of a light at one time")
            told.setdefault((t, str(lane)), state)
        if not told:
            return LightStates.none()
        states = [
            LIGHTS[s] if isinstance(s, int) and s < len(LIGHTS) else LightState.UNKNOWN
            for s in told.values()
        ]
        return LightStates(
            source_lane_id=[lane for _, lane in told],
            t_ns=np.array([t for t, _ in told], dtype=np.int64),
            state=np.array(states, dtype=np.int64),
            source_state=[word_of(LIGHT_WORDS, state) for state in told.values()],
            arrow=np.zeros(len(told), dtype=bool),
            flashing=np.zeros(len(told), dtype=bool),
            stop_xyz=np.full((len(told), 3), np.nan),
        )

    # Readings

    def _series(self, rows: Stretch, key: str, t0_us: int) -> Iterator[Readings]:
        if key.partition(".")[0] == "custom":
            yield from self._custom(rows, key, t0_us)
        else:
            yield from self._columns(rows, key, rows.table.column_names, t0_us)

    def _columns(
        self, rows: Stretch, key: str, columns: Sequence[str], t0_us: int
    ) -> Iterator[Readings]:
        """Every column of numbers as one series, of vectors as one for each part."""
        first = _first(rows.stamps)
        self._tally.add("dropped", f"rows of {key} at a time told before", int((~first).sum()))
        t_ns = (rows.stamps[first] - t0_us) * 1000
        for column in columns:
            kind = rows.table.schema.field(column).type
            if pa.types.is_fixed_size_list(kind):
                width = kind.list_size
                axes = AXES.get(width) or [str(k) for k in range(width)]
                names = SUFFIXES.get((column, width)) or [f"{column}_{axis}" for axis in axes]
                values = rows.vectors(column, width)[first]
            elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
                names = (column,)
                told = rows.table[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
                values = told[first][:, None]
            else:
                self._tally.add("dropped", f"column {column} of {key}, which holds no numbers")
                continue
            for name, series in zip(names, values.T, strict=True):
                if np.isfinite(series).any():
                    unit = UNITS.get(name) or UNITS.get(column, "")
                    yield Readings(
                        channel=key,
                        signal=name,
                        t_ns=t_ns,
                        value=np.ascontiguousarray(series),
                        unit=unit,
                    )

    def _custom(self, rows: Stretch, key: str, t0_us: int) -> Iterator[Readings]:
        """What a modality of someone's own says, as JSON."""
        first = _first(rows.stamps)
        texts = []
        for packed, kept in zip(rows.values("data"), first.tolist(), strict=True):
            if kept:
                told = None if packed is None else _plain(unpack(packed))
                text = json.dumps(told, ensure_ascii=False)
                if len(text) > MAX_TEXT:
                    self._tally.add("clipped", f"rows of {key} of more than {MAX_TEXT} letters")
                    text = text[:MAX_TEXT]
                texts.append(text)
        t_ns = (rows.stamps[first] - t0_us) * 1000
        if texts:
            yield Readings(channel=key, signal="data", t_ns=t_ns, text=texts)

    # Captures

    def _frames(self, file: ArrowFile, span_us: tuple[int, int], whole: _Whole) -> Iterator[Frame]:
        kind = file.type_of("data")
        light = [name for name in file.columns if name != "data" or not _is_binary(kind)]
        rows = file.rows(*span_us, light)
        first = _first(rows.stamps)
        self._tally.add(
            "dropped", f"captures of {file.key} at a time told before", int((~first).sum())
        )
        ends = rows.values("end_timestamp_us")
        poses = self._ego_at(rows, file.metadata.get("camera_metadata", file.metadata))
        places = self._places(file, rows, kind)
        for k in np.flatnonzero(first).tolist():
            place = places[k]
            if place is not None:
                yield Frame(
                    channel=file.key,
                    t_ns=(int(rows.stamps[k]) - whole.t0_us) * 1000,
                    t_end_ns=None if ends[k] is None else (int(ends[k]) - whole.t0_us) * 1000,
                    world_from_ego=poses[k],
                    **place,
                )

    def _places(self, file: ArrowFile, rows: Stretch, kind: Any) -> list[dict[str, Any] | None]:
        """How to come to the bytes of each capture, as fields of a frame."""
        if _is_binary(kind) and file.path.suffix == GZIP_SUFFIX:
            reason = f"payloads within the packed {file.path.name}: unpack it to reach them"
            self._tally.add("dropped", reason, len(rows.stamps))
            return [None] * len(rows.stamps)
        if _is_binary(kind):
            picture = _kind(file.path) == PICTURES
            found = file.payloads(rows.file_rows, "data")
            self._tally.add("missing", f"captures of {file.key} without data", found.count(None))
            return [None if p is None else self._payload(file, p, picture) for p in found]
        told = rows.values("data")
        self._tally.add("missing", f"captures of {file.key} without data", told.count(None))
        if kind is not None and pa.types.is_integer(kind):
            return [None if number is None else self._video_frame(file, number) for number in told]
        return [None if name is None else self._sensor_file(file, str(name)) for name in told]

    def _payload(self, file: ArrowFile, payload: Payload, picture: bool) -> dict[str, Any]:
        codec = _codec_of(payload.begin, picture)
        if codec == "raw":
            reason = (
                f"payloads of {file.key} are kept, but cannot be decoded (LAZ, Draco or labels)"
            )
            self._tally.add("missing", reason)
        return {
            "uri": str(file.path), "codec": codec, "offset": payload.offset, "size": payload.size,
            "container": payload.container,
        }  # fmt: skip

    def _video_frame(self, file: ArrowFile, number: int) -> dict[str, Any] | None:
        """The frame of the video beside the file that was written as so manyeth."""
        path = file.path.with_name(f"{file.key}.mp4")
        if path not in self._videos:
            self._videos[path] = stream_index(path) if path.is_file() else None
        index = self._videos[path]
        if index is None or not 0 <= number < len(index.pts):
            self._tally.add("missing", f"frames that {path.name} does not have")
            return None
        return {
            "uri": str(path), "codec": index.codec if index.codec in CODECS else "raw",
            "frame_index": number, "pts": int(index.pts[number]),
            "keyframe": bool(index.keyframe[number]),
        }  # fmt: skip

    def _sensor_file(self, file: ArrowFile, name: str) -> dict[str, Any] | None:
        told = PurePosixPath(name)
        if told.is_absolute() or ".." in told.parts or "\x00" in name:
            reason = "captures whose file name leads out of the folder of sensor files"
            self._tally.add("dropped", reason)
            return None
        variable, within = SENSOR_ROOTS.get(self._dataset, ("", ""))
        root = Path(os.environ[variable], within) if variable in os.environ else None
        uri = told if root is None else root / told
        if root is None or not Path(uri).is_file():
            where = f" in {root}" if root is not None else ""
            hint = f"; name their folder in {variable}" if variable else ""
            self._tally.add("missing", f"sensor files are told but not there{where}{hint}")
        codec = next((c for end, c in FILE_CODECS.items() if name.lower().endswith(end)), "raw")
        if _kind(file.path) in CAPTURES and _kind(file.path) != PICTURES and codec == "png":
            codec = "raw"  # numbers, which a picture's decoder would spoil
        return {"uri": str(uri), "codec": codec if codec in CODECS else "raw"}

    def _ego_at(self, rows: Stretch, about: Mapping[str, Any]) -> list[tuple[float, ...] | None]:
        """The IMU at capture, of the camera's place in the world and on the vehicle."""
        placed = _pose(about.get("camera_to_imu_se3"))
        if not rows.has("camera_to_global_se3") or placed is None:
            return [None] * len(rows.stamps)
        world = rows.vectors("camera_to_global_se3", POSE)
        sound = (np.abs(world) < FARTHEST_M).all(axis=1) & usable_quaternions(world[:, 3:])
        world[~sound] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        back = placed[3:] * [1.0, -1.0, -1.0, -1.0]
        attitude = multiply(world[:, 3:], np.tile(back, (len(world), 1)))
        place = world[:, :3] - rotation_from_quaternion(attitude) @ placed[:3]
        return [
            (*xyz, *wxyz) if fine else None
            for fine, xyz, wxyz in zip(sound, place.tolist(), attitude.tolist(), strict=True)
        ]


def _codec_of(begin: bytes, picture: bool) -> str:
    """What a payload is, by its first bytes; label images are PNGs of numbers, not of colours."""
    if begin.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if begin.startswith(b"\x89PNG"):
        return "png" if picture else "raw"
    return POINTS if begin.startswith(b"\xff\xff\xff\xff") else "raw"


def _is_binary(kind: Any) -> bool:
    return kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _first(stamps: Int[Array, " rows"]) -> Array:
    """Rows whose stamp is not that of the row before."""
    first = np.ones(len(stamps), dtype=bool)
    first[1:] = np.diff(stamps) > 0
    return first


def _pose(told: Any) -> Float[Array, 7] | None:
    """Seven numbers with a unit quaternion, or None if it is not that."""
    if not isinstance(told, list | tuple) or len(told) != POSE:
        return None
    pose = np.array(told, dtype=np.float64)
    if not np.isfinite(pose).all() or not usable_quaternions(pose[None, 3:]).all():
        return None
    pose[3:] /= np.linalg.norm(pose[3:])
    return pose


def _known(values: Array) -> Any:
    """The values, or None if all are unknown."""
    return values if np.isfinite(values).any() else None


def _plain(value: Any) -> Any:
    """The same in words of JSON: arrays become lists, bytes hexadecimal, not-a-number null."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value

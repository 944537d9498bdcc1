"""comma2k19: minutes of a commute with CAN, GNSS, IMU, camera poses and video.

    <dongle>|<start>/<segment>/
        global_pose/frame_times [s since boot], frame_gps_times [week, s], frame_positions,
            frame_velocities [ECEF], frame_orientations
        processed_log/CAN|IMU|GNSS/<quantity>/t, value
        processed_log/CAN/raw_can/t, src, address, data
        video.hevc, preview.png

Arrays are numpy files without a suffix. A segment is a log. Its world is the east-north-up frame at
the camera's first position, whose anchor is kept (``Log.extra["anchor_ecef"]`` and
``Log.extra["anchor_geodetic"]``), so that ``ecef = anchor + ecef_from_enu · xyz``. Poses are those of
the camera, told as a rotation from forward, right, down; the ego frame here is forward, left, up at
the camera. Where the vehicle's box lies about the camera is not told and taken as usual for the
two cars (``Log.extra["camera_in_box"]``). There are no other road users and no map; radar targets
are readings by address. Stamps are seconds since the device's boot, kept to the nanosecond; the GPS
times of the video frames tell the time of day.

Every processed series becomes a reading. Measurements that share a stamp (satellites, radar targets,
frames of a bus) are series of their own: by satellite, by address, and where one address spoke twice
at once, in a second one called ``…#2``. CAN data is told in hexadecimal, padded with zeros to eight
bytes, since the arrays do not keep lengths. Left out: ``raw_log.bz2``, which holds the same unprocessed.

Source: github.com/commaai/comma2k19; Schafer et al., A Commute in Data, arXiv 1812.05752.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.files import open_binary
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import matching
from formats.video import stream_index
from geometry.arrays import Array
from geometry.earth import ecef_from_enu, geodetic_from_ecef
from geometry.frames import SE3, quaternion_from_rotation, rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.records import EgoStates, Frame, Log, Observations, Readings, Sensor

DATASET = "comma2k19"
LICENSE = "MIT"
LOCATION = "California"
RATE_HZ = 20.0
GPS_EPOCH_S = 315_964_800  # since 1970
WEEK_S = 604_800
LEAP_S = 18
"""By which GPS time was ahead of UTC all through 2018, when the data was recorded."""
FARTHEST_M = 1e6  # from the anchor, beyond which a position is a mistake

TIMES = "frame_times"
POSES = {TIMES: 1, "frame_positions": 3, "frame_velocities": 3, "frame_orientations": 4}
VIDEO, PREVIEW = "video.hevc", "preview.png"
ROAD_CAMERA = "road_camera"
FOCAL_PX, WIDTH_PX, HEIGHT_PX = 910.0, 1164, 874

CARS: Mapping[str, tuple[str, tuple[float, float, float]]] = {
    "b0c9d2329ad1606b": ("Toyota RAV4", (4.605, 1.845, 1.675)),
    "99c94dc769b5d96e": ("Honda Civic", (4.63, 1.8, 1.415)),
}
"""By the device's id: the car, and its length, width and height [m]."""
USUAL_CAR = ("", (4.6, 1.82, 1.5))
CAMERA_HEIGHT_M, CAMERA_AHEAD_M = 1.22, 0.5
"""Of a camera behind the windscreen: above the road, and before the middle of the car."""
EGO_FROM_DEVICE = np.diag([1.0, -1.0, -1.0])
"""Forward, right, down to forward, left, up."""
EGO_FROM_CAMERA = (0.0, 0.0, 0.0, 0.5, -0.5, 0.5, -0.5)
"""The optical frame is right, down, forward."""

KINDS = {"CAN": "can", "IMU": "imu", "GNSS": "gnss"}
AXES = ("forward", "right", "down")
GNSS_FIX = (
    ("latitude", "deg"), ("longitude", "deg"), ("speed", "m/s"), ("utc_timestamp", "ms"),
    ("altitude", "m"), ("bearing", "deg"),
)  # fmt: skip
GNSS_RAW = (
    ("prn", ""), ("gps_week", ""), ("time_of_week", "s"), ("glonass_channel", ""),
    ("pseudorange", "m"), ("pseudorange_std", "m"), ("pseudorange_rate", "m/s"),
    ("pseudorange_rate_std", "m/s"), ("column_8", ""), ("column_9", ""),
)  # fmt: skip
RADAR = (
    ("d_rel", "m"), ("y_rel", "m"), ("v_rel", "m/s"), ("a_rel", "m/s2"), ("yv_rel", "m/s"),
    ("address", ""), ("new_track", ""),
)  # fmt: skip
SERIES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "CAN/speed": ("CAN", (("speed", "m/s"),)),
    "CAN/steering_angle": ("CAN", (("steering_angle", "deg"),)),
    "CAN/wheel_speed": ("CAN", tuple(
        (f"wheel_speed_{wheel}", "m/s")
        for wheel in ("front_left", "front_right", "rear_left", "rear_right")
    )),
    **{
        f"IMU/{name}": ("IMU", tuple((f"{name}_{axis}", unit) for axis in AXES))
        for name, unit in (
            ("accelerometer", "m/s2"), ("gyro", "rad/s"), ("gyro_uncalibrated", "rad/s"),
            ("gyro_bias", "rad/s"), ("magnetometer", "uT"), ("magnetometer_uncalibrated", "uT"),
        )
    },
    "GNSS/live_gnss_qcom": ("live_gnss_qcom", GNSS_FIX),
    "GNSS/live_gnss_ublox": ("live_gnss_ublox", GNSS_FIX),
}  # fmt: skip
"""Quantity → channel, and name and unit of each column."""
BY_KEY: Mapping[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "CAN/radar": ("radar", "address", RADAR),
    "GNSS/raw_gnss_qcom": ("raw_gnss_qcom", "prn", GNSS_RAW),
    "GNSS/raw_gnss_ublox": ("raw_gnss_ublox", "prn", GNSS_RAW),
}
"""Likewise, for rows that several things share at one time: column that tells them apart."""
RAW_CAN = "CAN/raw_can"


def sources(path: Path) -> Iterator[Path]:
    """Segments with camera poses, at or under a path."""
    for file in matching(path, TIMES):
        if file.parent.name == "global_pose":
            yield file.parent.parent


def files(source: Path) -> Iterator[Path]:
    """All arrays of a segment."""
    for part in ("global_pose", "processed_log"):
        yield from sorted(path for path in (source / part).rglob("*") if path.is_file())


def read(source: Path) -> Iterator[Log | Rejected]:
    """The minute of a segment.

    Raises:
        UnreadableFile: An array of it is broken or missing.
    """
    tally = Tally()
    poses = _poses(source / "global_pose", tally)
    series = list(_series(source / "processed_log", tally))
    begins = [poses.stamp[:1], *(s.stamp[:1] for s in series)]
    stamps = np.concatenate(begins)
    if not len(stamps):
        yield Rejected(record="", reason="nothing in it has a time", notes=tally.notes())
        return
    t0 = int(stamps.min())
    route, segment = source.resolve().parent.name, source.resolve().name
    dongle = route.replace("|", "_").partition("_")[0]
    vehicle, size = CARS.get(dongle, USUAL_CAR)
    world = _World.at(poses)
    ego = None if world is None else _ego(poses, world, t0, size, tally)
    frames, cameras = _frames(source, poses, world, t0, tally)
    readings = [
        Readings(
            channel=s.channel, signal=s.signal, t_ns=s.stamp - t0, value=s.value, unit=s.unit,
            text=s.text,
        )
        for s in series
    ]  # fmt: skip
    kinds = dict.fromkeys((s.channel, s.kind) for s in series)
    if (source / "raw_log.bz2").exists():
        tally.add("dropped", "raw_log.bz2, which holds the same messages unprocessed")
    yield Log(
        dataset=DATASET,
        source_log_id=f"{route}/{segment}",
        source_uri=str(source),
        rate_hz=RATE_HZ,
        ego=ego,
        agents=Observations.none(),
        t0_unix_ns=_began(source / "global_pose" / "frame_gps_times", poses, t0, tally),
        location=LOCATION,
        license=LICENSE,
        sensors=[*cameras, *(Sensor(channel=name, kind=kind) for name, kind in kinds)],
        frames=frames,
        readings=readings,
        notes=tally.notes(),
        extra={
            "boot_t0_ns": t0,
            "vehicle": vehicle,
            "camera_in_box": _camera_in_box(size).tolist(),
            **({} if world is None else world.about),
        },
    )


# ── Poses ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Poses:
    """Camera poses, in ECEF, by frame of the video; ``frame`` is the number of each."""

    frame: Int[Array, " poses"]
    stamp: Int[Array, " poses"]
    position: Float[Array, "poses 3"]
    velocity: Float[Array, "poses 3"]
    quaternion: Float[Array, "poses 4"]
    valid: Array


@dataclass(frozen=True, slots=True, eq=False)
class _World:
    """The local frame."""

    ecef_from_world: SE3
    about: Mapping[str, Any]

    @classmethod
    def at(cls, poses: _Poses) -> _World | None:
        """East, north, up at the first position that is one."""
        sound = np.flatnonzero(poses.valid)
        if not len(sound):
            return None
        anchor = poses.position[sound[0]]
        latitude, longitude, altitude = (float(v) for v in geodetic_from_ecef(anchor))
        frame = ecef_from_enu(latitude, longitude, altitude)
        geodetic = [float(np.degrees(latitude)), float(np.degrees(longitude)), altitude]
        about = {"anchor_ecef": anchor.tolist(), "anchor_geodetic": geodetic}
        return cls(SE3(frame.rotation, anchor), about)

    def place(self, poses: _Poses) -> tuple[Array, Array, Array]:
        """Positions, velocities and rotations (world from forward, left, up)."""
        turn = self.ecef_from_world.rotation
        xyz = (poses.position - self.ecef_from_world.translation) @ turn
        rotation = turn.T @ rotation_from_quaternion(poses.quaternion) @ EGO_FROM_DEVICE
        return xyz, poses.velocity @ turn, rotation


def _poses(folder: Path, tally: Tally) -> _Poses:
    columns = {name: _array(folder / name, width) for name, width in POSES.items()}
    count = min(len(column) for column in columns.values())
    longest = max(len(column) for column in columns.values())
    tally.add("dropped", "rows of camera poses that others lack", longest - count)
    times = columns[TIMES][:count]
    stamp = np.rint(np.where(np.isfinite(times), times, -1.0) * 1e9).astype(np.int64)
    later = stamp >= 0
    later[1:] &= stamp[1:] > np.maximum.accumulate(stamp)[:-1]
    tally.add("dropped", "camera poses whose stamps repeat or go back", int((~later).sum()))
    position, velocity, quaternion = (
        columns[name][:count][later]
        for name in ("frame_positions", "frame_velocities", "frame_orientations")
    )
    length = np.linalg.norm(np.nan_to_num(quaternion), axis=1)
    valid = np.isfinite(position).all(axis=1) & np.isfinite(quaternion).all(axis=1)
    valid &= (np.abs(length - 1.0) < 0.1) & (np.linalg.norm(np.nan_to_num(position), axis=1) > 6e6)
    if valid.any():
        reach = np.linalg.norm(position - position[np.argmax(valid)], axis=1)
        valid &= np.nan_to_num(reach, nan=np.inf) < FARTHEST_M
    tally.add("missing", "camera poses that are none", int((~valid).sum()))
    still = np.array([1.0, 0.0, 0.0, 0.0])
    return _Poses(
        np.flatnonzero(later),
        stamp[later],
        position,
        velocity,
        np.where(valid[:, None], quaternion, still),
        valid,
    )


def _began(path: Path, poses: _Poses, t0: int, tally: Tally) -> int | None:
    """When the log began, by the GPS time of its video frames [ns since 1970]."""
    if not path.is_file():
        tally.add("missing", "no GPS times of the video frames")
        return None
    told = _array(path, 2)
    for row, stamp in zip(poses.frame, poses.stamp, strict=True):
        if row < len(told) and np.isfinite(told[row]).all() and told[row, 0] > 0:
            week, seconds = told[row]
            utc_s = GPS_EPOCH_S + int(week) * WEEK_S - LEAP_S
            return utc_s * 10**9 + round(float(seconds) * 1e9) - (int(stamp) - t0)
    tally.add("missing", "no GPS times of the video frames")
    return None


def _camera_in_box(size: tuple[float, float, float]) -> Float[Array, "3"]:
    """Where the camera is relative to the middle of the vehicle's box [m]."""
    return np.array([CAMERA_AHEAD_M, 0.0, CAMERA_HEIGHT_M - size[2] / 2.0])


def _ego(
    poses: _Poses, world: _World, t0: int, size: tuple[float, float, float], tally: Tally
) -> EgoStates:
    xyz, velocity, rotation = world.place(poses)
    tally.add("guessed", "where the car is about the camera: as is usual for its model")
    centre = xyz - rotation @ _camera_in_box(size)
    quaternions = [quaternion_from_rotation(one) for one in rotation]
    valid = poses.valid
    return EgoStates(
        t_ns=poses.stamp - t0,
        xyz=np.where(valid[:, None], centre, 0.0),
        yaw=np.where(valid, np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]), 0.0),
        quaternion=np.array(quaternions).reshape(-1, 4),
        velocity=velocity[:, :2],
        size=size,
        valid=None if valid.all() else valid,
    )


def _frames(
    source: Path, poses: _Poses, world: _World | None, t0: int, tally: Tally
) -> tuple[list[Frame], list[Sensor]]:
    """Frames of the video, and its first one as a picture."""
    channels, frames = [], []
    places: list[tuple[float, ...] | None] = [None] * len(poses.stamp)
    if world is not None:
        xyz, _, rotation = world.place(poses)
        places = [
            (*at.tolist(), *quaternion_from_rotation(turn).tolist()) if good else None
            for at, turn, good in zip(xyz, rotation, poses.valid, strict=True)
        ]
    video, picture = source / VIDEO, source / PREVIEW
    if video.is_file():
        index = stream_index(video)
        channels.append(ROAD_CAMERA)
        lost = int((poses.frame >= len(index.pts)).sum())
        tally.add("missing", "stamps of video frames that the video does not hold", lost)
        spare = len(index.pts) - (int(poses.frame.max()) + 1 if len(poses.frame) else 0)
        tally.add("dropped", "video frames without a stamp", max(spare, 0))
        for number, stamp, place in zip(
            poses.frame.tolist(), poses.stamp.tolist(), places, strict=True
        ):
            if number < len(index.pts):
                frames.append(
                    Frame(
                        channel=ROAD_CAMERA, t_ns=stamp - t0, uri=str(video), codec=index.codec,
                        frame_index=number, pts=int(index.pts[number]),
                        keyframe=bool(index.keyframe[number]), world_from_ego=place,
                    )
                )  # fmt: skip
    else:
        tally.add("missing", f"no {VIDEO}")
    if picture.is_file() and len(poses.stamp):
        channels.append("preview")
        frames.append(
            Frame(
                channel="preview", t_ns=int(poses.stamp[0]) - t0, uri=str(picture), codec="png",
                world_from_ego=places[0],
            )
        )  # fmt: skip
    lens = (FOCAL_PX, FOCAL_PX, WIDTH_PX / 2.0, HEIGHT_PX / 2.0)
    return frames, [
        Sensor(
            channel=channel, kind="camera", model="pinhole", intrinsics=lens, width=WIDTH_PX,
            height=HEIGHT_PX, ego_from_sensor=np.array(EGO_FROM_CAMERA),
        )
        for channel in channels
    ]  # fmt: skip


# ── Series ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """A quantity over time, stamps since boot."""

    channel: str
    kind: str
    signal: str
    unit: str
    stamp: Int[Array, " steps"]
    value: Float[Array, " steps"] | None
    text: list[str] | None = None


def _series(folder: Path, tally: Tally) -> Iterator[_Series]:
    if not folder.is_dir():
        tally.add("missing", "no processed_log")
        return
    for path in sorted(folder.glob("*/*/t")):
        name = f"{path.parent.parent.name}/{path.parent.name}"
        kind = KINDS.get(path.parent.parent.name, "other")
        stamp, sound = _stamps(path, tally)
        if name == RAW_CAN:
            yield from _raw_can(path.parent, stamp, sound, tally)
            continue
        value = _array(path.parent / "value", None)
        value = value.reshape(len(value), -1)
        count = min(len(value), len(stamp))
        tally.add("dropped", f"{name}: stamps without values or values without stamps",
                  max(len(value), len(stamp)) - count)  # fmt: skip
        value, stamp, sound = value[:count], stamp[:count], sound[:count]
        value, stamp = value[sound], stamp[sound]
        if name in BY_KEY:
            yield from _by_key(name, kind, stamp, value)
            continue
        channel, columns = SERIES.get(name, (path.parent.parent.name, ()))
        for number in range(value.shape[1]):
            known = number < len(columns)
            plain = path.parent.name + (f"_{number}" if value.shape[1] > 1 else "")
            signal, unit = columns[number] if known else (plain, "")
            yield from _split(_Series(channel, kind, signal, unit, stamp, value[:, number]))


def _stamps(path: Path, tally: Tally) -> tuple[Int[Array, " rows"], Array]:
    """Stamps since boot [ns], and which rows may stay: in order, with a stamp."""
    told = _array(path, 1)
    known = np.isfinite(told) & (told >= 0.0)
    stamp = np.rint(np.where(known, told, 0.0) * 1e9).astype(np.int64)
    sound = known & (stamp >= np.maximum.accumulate(stamp))
    name = f"{path.parent.parent.name}/{path.parent.name}"
    tally.add("dropped", f"{name}: rows whose stamps go back or are none", int((~sound).sum()))
    return stamp, sound


def _by_key(
    name: str, kind: str, stamp: Int[Array, " rows"], value: Float[Array, "rows columns"]
) -> Iterator[_Series]:
    """Series of each satellite or radar target."""
    channel, key, columns = BY_KEY[name]
    at = [column for column, _ in columns].index(key)
    if value.shape[1] <= at:
        return
    kind = "radar" if channel == "radar" else kind
    keys = np.rint(np.nan_to_num(value[:, at], nan=-1.0, posinf=-1.0, neginf=-1.0))
    for one in np.unique(keys):
        rows = keys == one
        label = f"0x{int(one):X}" if key == "address" else f"{key}{int(one)}"
        for number in range(value.shape[1]):
            column = value[rows, number]
            signal, unit = columns[number] if number < len(columns) else (f"column_{number}", "")
            if number != at and np.isfinite(column).any():
                yield from _split(
                    _Series(channel, kind, f"{label}/{signal}", unit, stamp[rows], column)
                )


def _raw_can(
    folder: Path, stamp: Int[Array, " rows"], sound: Array, tally: Tally
) -> Iterator[_Series]:
    """Frames of each bus by address."""
    bus, address = (_array(folder / name, 1) for name in ("src", "address"))
    data = _array(folder / "data", 1, words=True)
    count = min(len(bus), len(address), len(data), len(stamp))
    longest = max(len(bus), len(address), len(data), len(stamp))
    tally.add("dropped", "raw_can: rows that are not whole", longest - count)
    kept = np.flatnonzero(sound[:count])
    if not len(kept):
        return
    width = data.dtype.itemsize
    text = data.tobytes().hex()
    keys = bus[kept].astype(np.int64) * 2**32 + address[kept].astype(np.int64)
    order = np.argsort(keys, kind="stable")
    limits = np.flatnonzero(np.diff(keys[order])) + 1
    tally.add(
        "guessed", "CAN data is padded with zeros: the arrays do not keep lengths", len(kept)
    )
    for group in np.split(kept[order], limits):
        words = [text[2 * width * row : 2 * width * (row + 1)] for row in group.tolist()]
        channel = f"CAN_bus_{int(bus[group[0]])}"
        signal = f"0x{int(address[group[0]]):X}"
        yield from _split(_Series(channel, "can", signal, "", stamp[group], None, words))


def _split(series: _Series) -> Iterator[_Series]:
    """The series, and what it said again at a stamp that it had already, as further series."""
    stamp = series.stamp
    repeat = np.zeros(len(stamp), dtype=np.int64)
    same = np.flatnonzero(np.diff(stamp) == 0) + 1
    for row in same:  # ascending: each counts on from the row before it
        repeat[row] = repeat[row - 1] + 1
    for number in range(int(repeat.max(initial=0)) + 1):
        rows = np.flatnonzero(repeat == number)
        if len(rows):
            yield _Series(
                series.channel,
                series.kind,
                series.signal + (f"#{number + 1}" if number else ""),
                series.unit,
                stamp[rows],
                None if series.value is None else series.value[rows].astype(np.float64),
                None if series.text is None else [series.text[row] for row in rows],
            )


# ── Arrays ───────────────────────────────────────────────────────────────────────────────────────


def _array(path: Path, width: int | None, *, words: bool = False) -> Array:
    """A numpy file: numbers (or words of bytes), a row a step.

    Args:
        path: File.
        width: Columns that it must have; 1 means a plain list; None: any.
        words: Whether bytes are wanted.

    Raises:
        UnreadableFile: It is none, is cut off, or has another shape.
    """
    with open_binary(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = header(file)
        except (ValueError, TypeError, SyntaxError, TokenError) as error:
            reason = f"is no numpy array ({error})"
            raise UnreadableFile(path, reason, hint="Fetch the file again.") from error
        raw = file.read()
    size = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
    if dtype.kind not in ("S" if words else "biuf") or len(raw) != size:
        reason = f"holds {len(raw)} bytes where {dtype} of shape {shape} needs {size}"
        raise UnreadableFile(path, reason, hint="Fetch the file again.")
    array = np.frombuffer(raw, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    if width == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    fits = array.ndim == 1 if width == 1 else array.ndim == 2 and array.shape[1] == width
    if not (fits if width is not None else array.ndim in (1, 2)):
        raise UnreadableFile(path, f"is an array of shape {shape}")
    return array if words else array.astype(np.float64)

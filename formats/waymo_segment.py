"""A run segment of Waymo's perception dataset, as both of its file formats tell it, to a log.

Everything is told about frames, ten a second. A frame bears the stamp at which its lidar sweep
began, and a pose of the vehicle from about the middle of the sweep, in which its boxes and points
are told; the world of the poses is metric with z up, one for all segments of a place. Boxes' speeds
are told in the world frame. Images have stamps and poses of their own.

The vehicle frame has its origin on the ground below the middle of the rear axle, x forward, y left,
z up. Waymo's camera frame looks along x with z up; here a camera looks along z with y down, as
everywhere in this project (:mod:`geometry.cameras`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from formats.waymo import AXLE_TO_CENTRE, CLASSES, DAYLIGHT, EGO_SIZE, LICENSE, WEATHER
from formats.waymo_protos import enum_words
from geometry.arrays import Array
from geometry.cameras import EGO_FROM_FORWARD_OPTICS
from geometry.frames import SE3
from schemas.records import EgoStates, Frame, Log, Note, Observations, Readings, RoadMap, Sensor

RATE_HZ = 10.0
LONGEST_SWEEP_NS = 150_000_000  # a frame that follows later does not tell when a sweep ended
SAME_PLACE_M = 1e-3  # an image whose pose is that near to the frame's was taken at that moment
CENTRE_IN_VEHICLE = np.array([AXLE_TO_CENTRE, 0.0, EGO_SIZE[2] / 2.0])
MAP_OFFSET = "map_pose_offset"
"""Channel of what must be added to a frame's positions to fit the map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boxes:
    """Labels in the vehicle frame, one row each.

    Attributes:
        frame: Index of its frame.
        source_id: Verbatim.
        word: ``TYPE_VEHICLE`` and so on.
        centre: [m].
        size: Length, width, height [m].
        heading: [rad].
        velocity: In the world frame; NaN where not told [m/s].
    """

    frame: Int[Array, " rows"]
    source_id: Sequence[str]
    word: Sequence[str]
    centre: Float[Array, "rows 3"]
    size: Float[Array, "rows 3"]
    heading: Float[Array, " rows"]
    velocity: Float[Array, "rows 2"]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, str, str, Sequence[float]]]) -> Boxes:
        """From (frame, id, word, (x, y, z, length, width, height, heading, vx, vy))."""
        told = np.array([values for *_, values in rows], dtype=np.float64).reshape(-1, 9)
        return cls(
            frame=np.array([row[0] for row in rows], dtype=np.int64),
            source_id=[row[1] for row in rows],
            word=[row[2] for row in rows],
            centre=told[:, 0:3],
            size=told[:, 3:6],
            heading=told[:, 6],
            velocity=told[:, 7:9],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One camera image by reference, with what the source tells of its capture.

    Attributes:
        camera: Name, such as ``FRONT``.
        stamp: Of the pose, since 1970 [s].
        trigger: When the sensor was triggered [s]; None where not told.
        readout: When the last readout finished [s]; None where not told.
        shutter: Exposure of a column [s]; None where not told.
        pose: World from vehicle, 16 numbers row by row; empty where not told.
        velocity: vx, vy, vz, then the angular wx, wy, wz, in the world frame; empty if not told.
        uri: File.
        offset: Of the JPEG in it, or the row of a table.
        size: Of the JPEG.
        container: What wraps it.
    """

    camera: str
    stamp: float
    trigger: float | None
    readout: float | None
    shutter: float | None
    pose: tuple[float, ...]
    velocity: tuple[float, ...]
    uri: str
    offset: int
    size: int | None
    container: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The range images of one lidar in one frame, by reference."""

    lidar: str
    frame: int
    uri: str
    offset: int
    size: int | None
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraModel:
    """One camera's calibration; ``intrinsic`` is f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3."""

    name: str
    intrinsic: tuple[float, ...]
    extrinsic: tuple[float, ...]
    width: int
    height: int
    shutter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LidarModel:
    """One lidar's calibration; inclinations are empty where they are uniform."""

    name: str
    extrinsic: tuple[float, ...]
    inclinations: tuple[float, ...]
    inclination_range: tuple[float, float]


@dataclass(slots=True, kw_only=True, eq=False)
class Segment:
    """What was gathered of a segment, frame by frame.

    Attributes:
        name: Of the context.
        micros: Stamp of each frame since 1970, in the order of the file [µs].
        poses: World from vehicle of each frame, 16 numbers row by row.
        boxes: Labels.
        cameras: By name.
        lidars: By name.
        images: References.
        sweeps: References.
        time_of_day: The source's word.
        location: The source's word.
        weather: The source's word.
        map: As the first frame has it.
        map_offset: Per frame; NaN where none is told [m].
        notes: So far.
        extra: So far.
    """

    name: str
    micros: list[int] = field(default_factory=list)
    poses: list[tuple[float, ...]] = field(default_factory=list)
    boxes: list[tuple[int, str, str, Sequence[float]]] = field(default_factory=list)
    cameras: dict[str, CameraModel] = field(default_factory=dict)
    lidars: dict[str, LidarModel] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    time_of_day: str = ""
    location: str = ""
    weather: str = ""
    map: RoadMap = field(default_factory=RoadMap.none)
    map_offset: list[tuple[float, float, float]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def log_of(segment: Segment, *, dataset: str, source_uri: str, split: str | None) -> Log:
    """The log of a segment that has at least one frame."""
    notes = list(segment.notes)
    stamps = np.array(segment.micros, dtype=np.int64) * 1000
    images = [(_nanoseconds(image.stamp), image) for image in segment.images]
    t0 = min([int(stamps.min()), *(stamp for stamp, _ in images)])
    ego, good, placed = _ego(segment, stamps - t0, notes)
    sensors = [*map(_camera, segment.cameras.values()), *map(_lidar, segment.lidars.values())]
    frames = [*_image_frames(images, t0), *_sweep_frames(segment, stamps - t0, placed, good)]
    known = {sensor.channel for sensor in sensors}
    for channel in dict.fromkeys(frame.channel for frame in frames):
        if channel not in known:
            kind = channel.partition("_")[0]
            sensors.append(Sensor(channel=channel, kind=kind))
            notes.append(Note(kind="missing", reason=f"no calibration of {channel}"))
    frames, again = _first_of_each(frames)
    if again:
        reason = "captures of a sensor with a stamp seen before"
        notes.append(Note(kind="dropped", reason=reason, count=again))
    readings = list(_readings(images, t0))
    offsets = _map_offsets(segment, stamps - t0)
    if offsets:
        sensors.append(Sensor(channel=MAP_OFFSET, kind="other"))
        readings += offsets
    extra = dict(segment.extra)
    for name in ("time_of_day", "weather"):
        if getattr(segment, name):
            extra[name] = getattr(segment, name)
    if segment.cameras:
        extra["rolling_shutter"] = {c.name: c.shutter for c in segment.cameras.values()}
    return Log(
        dataset=dataset,
        source_log_id=segment.name,
        source_uri=source_uri,
        rate_hz=RATE_HZ,
        ego=ego,
        agents=_agents(Boxes.of(segment.boxes), stamps - t0, placed, good, notes),
        map=segment.map,
        t0_unix_ns=t0,
        split=split,
        location=segment.location or None,
        weather=_meaning(WEATHER, "weather", segment.weather, notes),
        daylight=_meaning(DAYLIGHT, "time of day", segment.time_of_day, notes),
        license=LICENSE,
        sensors=sensors,
        frames=frames,
        readings=readings,
        notes=notes,
        extra=extra,
    )


def _nanoseconds(seconds: float) -> int:
    """Of a stamp, exactly; dividing by 1e9 gives the stamp back."""
    return round(Fraction(seconds) * 1_000_000_000)


def _meaning(words: Mapping[str, Any], what: str, word: str, notes: list[Note]) -> Any:
    if word and word.lower() not in words:
        notes.append(Note(kind="missing", reason=f"{what} `{word}` has no equivalent"))
    return words.get(word.lower())


def _transforms(poses: Sequence[Sequence[float]]) -> tuple[Array, Bool[Array, " rows"]]:
    """Poses as matrices, and which of them are rigid; the others are identity."""
    made = np.tile(np.eye(4), (len(poses), 1, 1))
    good = np.zeros(len(poses), dtype=bool)
    for row, pose in enumerate(poses):
        if len(pose) == 16 and np.isfinite(pose).all():
            matrix = np.array(pose, dtype=np.float64).reshape(4, 4)
            turn = matrix[:3, :3]
            good[row] = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-2 and np.linalg.det(turn) > 0
            if good[row]:
                made[row] = matrix
    return made, good


def _seven(pose: Array) -> tuple[float, ...]:
    """Translation, then quaternion."""
    return (*pose[:3, 3].tolist(), *SE3(pose[:3, :3], pose[:3, 3]).quaternion.tolist())


def _ego(
    segment: Segment, t_ns: Int[Array, " frames"], notes: list[Note]
) -> tuple[EgoStates | None, Bool[Array, " frames"], Float[Array, "frames 4 4"]]:
    """The ego, which frames have a usable pose, and the poses."""
    poses, good = _transforms(segment.poses)
    if not good.all():
        reason = "frames without a rigid pose of the vehicle"
        notes.append(Note(kind="missing", reason=reason, count=int((~good).sum())))
    if not good.any():
        return None, good, poses
    order = np.argsort(t_ns, kind="stable")
    order = order[np.diff(t_ns[order], prepend=-1) > 0]
    if (np.diff(t_ns) < 0).any():
        reason = "frames whose stamps do not ascend are told in the order of their stamps"
        notes.append(Note(kind="guessed", reason=reason, count=int((np.diff(t_ns) < 0).sum())))
    if len(order) < len(t_ns):
        count = len(t_ns) - len(order)
        notes.append(Note(kind="dropped", reason="poses with a stamp seen before", count=count))
    measured = _measured(segment, poses)
    reason = (
        f"the vehicle's box is not told: that of the Open Motion Dataset is taken, {EGO_SIZE} m "
        f"with its middle {AXLE_TO_CENTRE} m ahead of the rear axle"
    )
    notes.append(Note(kind="guessed", reason=reason))
    reason = (
        "poses of the vehicle bear the stamp of their frame, but are of the middle of its sweep"
    )
    notes.append(Note(kind="guessed", reason=reason, count=len(order)))
    turn, valid = poses[order, :3, :3], good[order]
    ego = EgoStates(
        t_ns=t_ns[order],
        xyz=turn @ CENTRE_IN_VEHICLE + poses[order, :3, 3],
        yaw=np.arctan2(turn[:, 1, 0], turn[:, 0, 0]),
        quaternion=np.array([_seven(pose)[3:] for pose in poses[order]]),
        size=EGO_SIZE,
        velocity=_unless_unknown(measured[order, :2]),
        yaw_rate=_unless_unknown(measured[order, 2]),
        valid=None if valid.all() else valid,
    )
    return ego, good, poses


def _measured(segment: Segment, poses: Float[Array, "frames 4 4"]) -> Float[Array, "frames 3"]:
    """vx, vy and yaw rate at each frame's pose, from the image taken there; NaN if there is none."""
    found = np.full((len(poses), 3), np.nan)
    images = [image for image in segment.images if len(image.pose) == 16 and image.velocity]
    if not images:
        return found
    where = np.array([image.pose for image in images]).reshape(-1, 4, 4)[:, :3, 3]
    when = np.array([image.stamp for image in images])
    stamps = np.array(segment.micros) * 1e-6
    for frame, pose in enumerate(poses):
        near = np.flatnonzero(np.abs(when - stamps[frame]) < LONGEST_SWEEP_NS * 1e-9)
        if len(near) == 0:
            continue
        gap = np.linalg.norm(where[near] - pose[:3, 3], axis=1)
        if gap.min() <= SAME_PLACE_M:
            velocity = images[int(near[gap.argmin()])].velocity
            found[frame] = velocity[0], velocity[1], velocity[5]
    return found


def _unless_unknown(values: Array) -> Array | None:
    return values if np.isfinite(values).any() else None


def _agents(
    boxes: Boxes,
    t_ns: Int[Array, " frames"],
    poses: Float[Array, "frames 4 4"],
    good: Bool[Array, " frames"],
    notes: list[Note],
) -> Observations:
    if not len(boxes.frame):
        return Observations.none()
    names = list(dict.fromkeys(boxes.source_id))
    index = {name: k for k, name in enumerate(names)}
    track = np.array([index[name] for name in boxes.source_id], dtype=np.int64)
    when = t_ns[boxes.frame]
    order = np.lexsort((when, track))
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (np.diff(track[order]) == 0) & (np.diff(when[order]) == 0)
    if again.any():
        reason = "boxes of an object with a stamp seen before"
        notes.append(Note(kind="dropped", reason=reason, count=int(again.sum())))
        order = order[~again]
    turn, offset = poses[boxes.frame, :3, :3], poses[boxes.frame, :3, 3]
    xyz = np.einsum("nij,nj->ni", turn, boxes.centre) + offset
    ahead = np.stack([np.cos(boxes.heading), np.sin(boxes.heading), 0 * boxes.heading], axis=1)
    ahead = np.einsum("nij,nj->ni", turn, ahead)
    yaw = np.arctan2(ahead[:, 1], ahead[:, 0])
    valid = good[boxes.frame] & np.isfinite(xyz).all(axis=1) & np.isfinite(yaw)
    if not valid.all():
        reason = "boxes that have no finite place in the world are marked as not observed"
        notes.append(Note(kind="missing", reason=reason, count=int((~valid).sum())))
    words: dict[str, str] = {}
    changed: set[str] = set()
    for name, word in zip(boxes.source_id, boxes.word, strict=True):
        if words.setdefault(name, word) != word:
            changed.add(name)
    if changed:
        reason = "objects whose type changes; the first is kept"
        notes.append(Note(kind="guessed", reason=reason, count=len(changed)))
    size = np.where(boxes.size > 0.0, boxes.size, np.nan)
    return Observations(
        track=track[order],
        t_ns=when[order],
        xyz=np.where(valid[:, None], xyz, 0.0)[order],
        yaw=np.where(valid, yaw, 0.0)[order],
        size=size[order],
        velocity=_unless_unknown(boxes.velocity[order]),
        valid=None if valid.all() else valid[order],
        source_track_id=names,
        source_cls=[words[name] for name in names],
        cls=[CLASSES[words[name]] for name in names],
    )


def _camera(model: CameraModel) -> Sensor:
    """Waymo's order of the lens, k1, k2, p1, p2, k3, becomes k1, k2, k3, p1, p2."""
    told = [*model.intrinsic, *[0.0] * (9 - len(model.intrinsic))]
    k1, k2, p1, p2, k3 = told[4:9]
    poses, good = _transforms([model.extrinsic])
    where = None
    if good[0]:
        ego_from_waymo = SE3(poses[0, :3, :3], poses[0, :3, 3])
        optics = SE3(EGO_FROM_FORWARD_OPTICS, np.zeros(3))
        placed = ego_from_waymo @ optics
        where = np.array([*placed.translation, *placed.quaternion])
    return Sensor(
        channel=f"camera_{model.name}", kind="camera", ego_from_sensor=where, model="pinhole",
        intrinsics=tuple(told[:4]), distortion=(k1, k2, k3, p1, p2),
        width=model.width or None, height=model.height or None,
    )  # fmt: skip


def _lidar(model: LidarModel) -> Sensor:
    """Inclinations of the beams, lowest first; lowest and highest alone where they are uniform."""
    poses, good = _transforms([model.extrinsic])
    return Sensor(
        channel=f"lidar_{model.name}", kind="lidar",
        ego_from_sensor=np.array(_seven(poses[0])) if good[0] else None,
        model="range_image", intrinsics=model.inclinations or model.inclination_range,
    )  # fmt: skip


def _image_frames(images: Sequence[tuple[int, Image]], t0: int) -> Iterable[Frame]:
    for stamp, image in images:
        poses, good = _transforms([image.pose])
        yield Frame(
            channel=f"camera_{image.camera}", t_ns=stamp - t0, uri=image.uri, codec="jpeg",
            offset=image.offset, size=image.size, container=image.container,
            t_end_ns=None if image.readout is None else _nanoseconds(image.readout) - t0,
            world_from_ego=_seven(poses[0]) if good[0] else None,
        )  # fmt: skip


def _sweep_frames(
    segment: Segment,
    t_ns: Int[Array, " frames"],
    poses: Float[Array, "frames 4 4"],
    good: Bool[Array, " frames"],
) -> Iterable[Frame]:
    """A sweep ends where the next frame begins."""
    ordered = np.unique(t_ns)
    for sweep in segment.sweeps:
        begin = int(t_ns[sweep.frame])
        after = int(np.searchsorted(ordered, begin, side="right"))
        end = int(ordered[after]) if after < len(ordered) else None
        if end is not None and end - begin > LONGEST_SWEEP_NS:
            end = None
        yield Frame(
            channel=f"lidar_{sweep.lidar}", t_ns=begin, t_end_ns=end, uri=sweep.uri,
            codec="waymo_range_image", offset=sweep.offset, size=sweep.size,
            container=sweep.container,
            world_from_ego=_seven(poses[sweep.frame]) if good[sweep.frame] else None,
        )  # fmt: skip


def _first_of_each(frames: Sequence[Frame]) -> tuple[list[Frame], int]:
    kept: dict[tuple[str, int], Frame] = {}
    for frame in frames:
        kept.setdefault((frame.channel, frame.t_ns), frame)
    return sorted(kept.values(), key=lambda f: (f.channel, f.t_ns)), len(frames) - len(kept)


_OF_IMAGES = (
    ("ego_velocity_x", "m/s"), ("ego_velocity_y", "m/s"), ("ego_velocity_z", "m/s"),
    ("ego_angular_velocity_x", "rad/s"), ("ego_angular_velocity_y", "rad/s"),
    ("ego_angular_velocity_z", "rad/s"), ("trigger_time", "s"), ("readout_done_time", "s"),
    ("shutter", "s"),
)  # fmt: skip
"""What images tell besides pixels, and its unit."""


def _readings(images: Sequence[tuple[int, Image]], t0: int) -> Iterable[Readings]:
    """Series per camera: of the vehicle in the world frame, and of the shutter."""
    for camera in dict.fromkeys(image.camera for _, image in images):
        own = {stamp: image for stamp, image in images if image.camera == camera}
        stamps = sorted(own)
        values = np.array(
            [
                [
                    *(own[stamp].velocity or (np.nan,) * 6),
                    *(
                        np.nan if value is None else value
                        for value in (own[stamp].trigger, own[stamp].readout, own[stamp].shutter)
                    ),
                ]
                for stamp in stamps
            ]
        )
        for column, (signal, unit) in enumerate(_OF_IMAGES):
            if np.isfinite(values[:, column]).any():
                yield Readings(
                    channel=f"camera_{camera}", signal=signal, unit=unit,
                    t_ns=np.array(stamps, dtype=np.int64) - t0, value=values[:, column],
                )  # fmt: skip


def _map_offsets(segment: Segment, t_ns: Int[Array, " frames"]) -> list[Readings]:
    told = np.array(segment.map_offset, dtype=np.float64).reshape(-1, 3)
    if len(told) != len(t_ns) or not np.isfinite(told).any():
        return []
    stamps, first = np.unique(t_ns, return_index=True)
    return [
        Readings(channel=MAP_OFFSET, signal=axis, unit="m", t_ns=stamps, value=told[first, column])
        for column, axis in enumerate("xyz")
    ]


def type_word(code: int) -> str:
    """Of a label's type, which both formats tell as a number."""
    words = enum_words("Label.Type")
    return words[code] if 0 <= code < len(words) else words[0]

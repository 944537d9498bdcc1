"""A log as a reader yields it: long float64 arrays in the source's own world frame.

Readers say what the source says, nothing more: source ids, classes and light states verbatim
beside the normalised ones, source coordinates untouched (float64), only observed rows, times in
nanoseconds since the log began. The lake chooses the origin, matches lanes, cuts scenes.

All frames are right-handed with z up; headings run counter-clockwise from the world's x axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass, Daylight, EdgeKind, LaneType, LightState, MapLayer, Weather


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EgoStates:
    """The recording vehicle over time, box centre (the reader shifts from the rear axle).

    Attributes:
        t_ns: Ascending, since the log began [ns].
        xyz: Box centre in the world frame [m].
        yaw: [rad].
        quaternion: Attitude, scalar first; None where the source knows only the heading.
        velocity: (vx, vy) in the world frame, None where the source has none [m/s].
        acceleration: Along the heading; None where the source has none [m/s²].
        yaw_rate: None where the source has none [rad/s].
        steering: Front wheel angle; None where the source has none [rad].
        size: (length, width, height) of the vehicle [m].
        valid: Whether the step was observed; None means everywhere.
        source_track_id: Its id where it is one of the source's tracks, else ``"ego"``.
        source_cls: The source's word for its class.
    """

    t_ns: Int[Array, " steps"]
    xyz: Float[Array, "steps 3"]
    yaw: Float[Array, " steps"]
    size: tuple[float, float, float]
    quaternion: Float[Array, "steps 4"] | None = None
    velocity: Float[Array, "steps 2"] | None = None
    acceleration: Float[Array, " steps"] | None = None
    yaw_rate: Float[Array, " steps"] | None = None
    steering: Float[Array, " steps"] | None = None
    valid: Bool[Array, " steps"] | None = None
    source_track_id: str = "ego"
    source_cls: str = "ego"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observations:
    """Every other road user, one row a track and time: rows of a track contiguous, time ascending.

    Attributes:
        track: Index into ``source_track_id`` and its neighbours.
        t_ns: Since the log began [ns].
        xyz: Box centre in the world frame [m].
        yaw: [rad].
        size: (length, width, height) [m]; NaN where the source has none (the lake writes null).
        velocity: (vx, vy) in the world frame, None where the source has none [m/s].
        valid: False for a step within a track's life that was not observed; its state means
            nothing. None means that every row was observed.
        source_track_id: Per track, verbatim.
        source_cls: Per track, verbatim.
        cls: Per track, normalised.
    """

    track: Int[Array, " rows"]
    t_ns: Int[Array, " rows"]
    xyz: Float[Array, "rows 3"]
    yaw: Float[Array, " rows"]
    size: Float[Array, "rows 3"]
    velocity: Float[Array, "rows 2"] | None = None
    valid: Bool[Array, " rows"] | None = None
    source_track_id: Sequence[str]
    source_cls: Sequence[str]
    cls: Sequence[AgentClass]

    @classmethod
    def none(cls) -> Observations:
        """No road users at all."""
        zero = np.zeros(0, dtype=np.int64)
        return cls(
            track=zero, t_ns=zero, xyz=np.zeros((0, 3)), yaw=np.zeros(0), size=np.zeros((0, 3)),
            source_track_id=(), source_cls=(), cls=(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapFeature:
    """One lane, line, area or sign.

    Attributes:
        feature_id: Index within the map, from 0, dense: ``map.features[i].feature_id == i``.
        source_id: Verbatim; unique within the map and layer.
        layer: What it is.
        points: Centre line, outline or single point, world frame [m].
        left: Left boundary of a lane, in its direction of travel; None where not known [m].
        right: Likewise.
        lane_type: Whom a lane is for.
        source_type: The source's word for layer and type.
        speed_limit: None where not known [m/s].
        in_intersection: None where the source does not say.
        has_z: Whether the third coordinate means anything.
    """

    feature_id: int
    source_id: str
    layer: MapLayer
    points: Float[Array, "points 3"]
    left: Float[Array, "left 3"] | None = None
    right: Float[Array, "right 3"] | None = None
    lane_type: LaneType = LaneType.UNKNOWN
    source_type: str = ""
    speed_limit: float | None = None
    in_intersection: bool | None = None
    has_z: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class RoadMap:
    """The map of a log, and the graph of its features.

    Attributes:
        source_map_id: The source's name for it; logs that share a map share this.
        features: In the order of their ``feature_id``.
        edges: (from, kind, to) by feature id; kinds as :class:`EdgeKind`.
        derived: Of each edge, whether the lake found it; None: the source states all.
    """

    source_map_id: str
    features: Sequence[MapFeature]
    edges: Int[Array, "edges 3"] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    derived: Bool[Array, " edges"] | None = None

    @classmethod
    def none(cls) -> RoadMap:
        """A map of nothing, for a log without one."""
        return cls(source_map_id="", features=())

    def of_layer(self, layer: MapLayer) -> list[MapFeature]:
        """The features of one layer."""
        return [feature for feature in self.features if feature.layer == layer]

    def neighbours(self, feature_id: int, kind: EdgeKind) -> list[int]:
        """Where the edges of one kind lead from a feature."""
        rows = (self.edges[:, 0] == feature_id) & (self.edges[:, 1] == kind)
        return [int(to) for to in self.edges[rows, 2]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LightStates:
    """What signals show to lanes over time, one row a lane and time (or a change).

    Attributes:
        source_lane_id: The lane that the signal controls, as ``MapFeature.source_id``.
        t_ns: Since the log began [ns].
        state: Codes of :class:`LightState`.
        source_state: Verbatim.
        arrow: Whether it is an arrow; False where the source does not say.
        flashing: Likewise.
        stop_xyz: Where to stop; NaN where not known, world frame [m].
    """

    source_lane_id: Sequence[str]
    t_ns: Int[Array, " rows"]
    state: Int[Array, " rows"]
    source_state: Sequence[str]
    arrow: Bool[Array, " rows"]
    flashing: Bool[Array, " rows"]
    stop_xyz: Float[Array, "rows 3"]

    @classmethod
    def none(cls) -> LightStates:
        """No signals were recorded: what they showed is unknown."""
        zero = np.zeros(0, dtype=np.int64)
        no = np.zeros(0, dtype=bool)
        return cls(
            source_lane_id=(), t_ns=zero, state=zero, source_state=(), arrow=no, flashing=no,
            stop_xyz=np.zeros((0, 3)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sensor:
    """One sensor and its calibration.

    Attributes:
        channel: The source's own name, unique within the log.
        kind: ``camera``, ``lidar``, ``radar``, ``imu``, ``gnss``, ``can`` or ``other``.
        ego_from_sensor: Translation x, y, z [m], then quaternion w, x, y, z; None if unknown.
            The ego frame has its origin where the source puts it (often the rear axle).
        model: ``pinhole``, ``fisheye``, ``mei``, ``ftheta``, ``range_image``, ``none``.
        intrinsics: fx, fy, cx, cy [px], for cameras; further ones as the model defines; for range
            images the inclinations of the beams, lowest first [rad].
        distortion: As the model defines; of a pinhole k1, k2, k3, then p1, p2 if it has them.
        width: [px].
        height: [px].
    """

    channel: str
    kind: str
    ego_from_sensor: Float[Array, "7"] | None = None
    model: str = "none"
    intrinsics: Sequence[float] = ()
    distortion: Sequence[float] = ()
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One capture of one sensor, by reference.

    Attributes:
        channel: Of which sensor.
        t_ns: Since the log began [ns].
        uri: File that holds the bytes.
        codec: How to decode them, a key of ``formats.media.CODECS``: ``jpeg``, ``png``, ``pcd``, …
        offset: Where they begin within the file; None means the whole file.
        size: How many bytes.
        container: What wraps the bytes in the file, see ``formats.media``; None: nothing does.
        t_end_ns: When the capture ended, for those that last (lidar sweeps) [ns].
        frame_index: Place in the stream, for videos; for people, never to seek by.
        pts: Presentation time stamp of the frame, in the video stream's own time base.
        keyframe: Whether the video can be entered here.
        world_from_ego: Where the ego was at capture, if the source says: x, y, z in the world
            frame [m], then quaternion w, x, y, z. The origin is that of ``ego_from_sensor``.
    """

    channel: str
    t_ns: int
    uri: str
    codec: str
    offset: int | None = None
    size: int | None = None
    container: str | None = None
    t_end_ns: int | None = None
    frame_index: int | None = None
    pts: int | None = None
    keyframe: bool | None = None
    world_from_ego: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """What one quantity of a sensor or bus read over time: IMU, GNSS, CAN, wheel speed, ….

    Attributes:
        channel: Of which sensor.
        signal: The quantity, unique within the channel, such as ``acceleration_x`` or ``0x1A0``.
        t_ns: Ascending, since the log began [ns].
        value: NaN where the source has none (the lake writes null); None for words alone.
        unit: Of the values: ``m/s2``, ``rad/s``, ``deg``, …; empty where they have none.
        text: Words or hexadecimal bytes, where the quantity is no number.
    """

    channel: str
    signal: str
    t_ns: Int[Array, " steps"]
    value: Float[Array, " steps"] | None = None
    unit: str = ""
    text: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a log that the source itself calls a scene.

    Attributes:
        source_scene_id: Verbatim.
        t0_ns: Begin [ns].
        t1_ns: End, included [ns].
        anchor_ns: The source's "current" time, if it has one: history before, future after [ns].
    """

    source_scene_id: str
    t0_ns: int
    t1_ns: int
    anchor_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvent:
    """A tag that the source itself attached, kept one to one.

    Attributes:
        name: The source's word.
        t0_ns: Begin [ns].
        t1_ns: End, included [ns].
        source_track_id: Whom it concerns, if anyone.
        other_track_id: The other one, for relations.
        detail: Whatever else the source says, as JSON values.
    """

    name: str
    t0_ns: int
    t1_ns: int
    source_track_id: str | None = None
    other_track_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that reading could not carry over as it was; becomes a row of the ledger.

    Attributes:
        kind: ``dropped``, ``clipped``, ``renamed``, ``guessed``, ``missing`` or ``rejected``.
        reason: What and why, in a sentence.
        count: How many rows or objects it concerns.
        record: Which record of the file, if one.
    """

    kind: str
    reason: str
    count: int = 1
    record: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """One continuous recording, as its source tells it.

    A reader may yield a long recording in consecutive parts, so that no more than one is in memory:
    equal in dataset and source id, numbered from 0, ``more`` on all but the last. Each part tells
    the rows of its own stretch (times count from the beginning of the whole; stretches do not
    overlap and ascend), tracks are joined by their source ids, and what concerns the log as a whole
    (map, sensors, place, time) is the same in all; the map is the same object.

    Attributes:
        dataset: The family, such as ``argoverse2_sensor``.
        source_log_id: Verbatim, unique within the dataset.
        source_uri: The file or folder that was read.
        record: Which record of the file, for files that hold several.
        rate_hz: Nominal rate of the tracks.
        ego: None where the source names no ego.
        agents: Everyone else.
        map: ``RoadMap.none()`` where there is none.
        lights: ``LightStates.none()`` where they were not recorded.
        t0_unix_ns: When it began; None where the source hides it.
        split: ``train``, ``val``, …, if the source says.
        location: City or place, if the source says.
        weather: None where not known.
        daylight: None where not known.
        license: Of the data, if the source says.
        epsg: Of the world frame, where it is a projected one.
        sensors: With calibration.
        frames: By reference.
        readings: Time series of sensors and buses.
        windows: Stretches that the source calls scenes; empty: the lake cuts the log.
        events: Tags of the source.
        notes: What could not be carried over.
        extra: Odds and ends of the source worth keeping, as JSON values.
        part: Which part of a long recording.
        more: Whether another part follows.
    """

    dataset: str
    source_log_id: str
    source_uri: str
    rate_hz: float
    ego: EgoStates | None
    agents: Observations
    map: RoadMap = field(default_factory=RoadMap.none)
    lights: LightStates = field(default_factory=LightStates.none)
    record: str = ""
    t0_unix_ns: int | None = None
    split: str | None = None
    location: str | None = None
    weather: Weather | None = None
    daylight: Daylight | None = None
    license: str | None = None
    epsg: int | None = None
    sensors: Sequence[Sensor] = ()
    frames: Sequence[Frame] = ()
    readings: Sequence[Readings] = ()
    windows: Sequence[Window] = ()
    events: Sequence[SourceEvent] = ()
    notes: Sequence[Note] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    part: int = 0
    more: bool = False


# ``LightState`` codes are documented by ``LightStates.state``.
__all__ = [
    "EgoStates", "Frame", "LightState", "LightStates", "Log", "MapFeature", "Note", "Observations",
    "Readings", "RoadMap", "Sensor", "SourceEvent", "Window",
]  # fmt: skip

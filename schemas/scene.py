"""A scene as dense arrays on a uniform clock: what encoders, predicates and the engine compute on.

Positions are relative to ``Scene.origin`` (which belongs to the log's map, so agents, map and
lights share one frame), float32. Steps are ``DT`` apart. Agent 0 is the ego where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import Daylight, RoadType, Weather
from schemas.records import RoadMap

DT = 0.1  # [s] step of every dense scene


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """Road users as dense arrays, in the log's frame.

    Attributes:
        track_id: As in the tables; the ego's is 0.
        cls: Codes of :class:`~schemas.labels.AgentClass`.
        size: (length, width, height), the median of what was observed [m].
        xy: Centre of the box at each step [m].
        z: Its height [m].
        yaw: [rad].
        velocity: (vx, vy) [m/s]; derived from the motion where the source has none.
        valid: Whether the agent was observed at the step; if not, its other values mean nothing.
        lane: Feature id of the lane it is on.
        lane_s: Distance along that lane [m].
        lane_d: Offset to the left of its centre line [m].
        on_lane: Whether it is on a lane; if not, the three above mean nothing.
    """

    track_id: Int[Array, " agents"]
    cls: Int[Array, " agents"]
    size: Float[Array, "agents 3"]
    xy: Float[Array, "agents steps 2"]
    z: Float[Array, "agents steps"]
    yaw: Float[Array, "agents steps"]
    velocity: Float[Array, "agents steps 2"]
    valid: Bool[Array, "agents steps"]
    lane: Int[Array, "agents steps"]
    lane_s: Float[Array, "agents steps"]
    lane_d: Float[Array, "agents steps"]
    on_lane: Bool[Array, "agents steps"]

    @property
    def speed(self) -> Float[Array, "agents steps"]:
        """Magnitude of the velocity [m/s]."""
        return np.asarray(np.hypot(self.velocity[..., 0], self.velocity[..., 1]))

    @property
    def boxes(self) -> Float[Array, "agents steps 5"]:
        """Oriented boxes (x, y, yaw, length, width), see :mod:`geometry.boxes`."""
        steps = self.xy.shape[1]
        extents = np.repeat(self.size[:, None, :2], steps, axis=1)
        return np.concatenate([self.xy, self.yaw[..., None], extents], axis=-1)

    def of_each(self, words: Mapping[int, str]) -> dict[int, str]:
        """Of words for track ids, those for these tracks."""
        return {i: words[i] for i in self.track_id.tolist() if i in words}

    def take(self, agents: Int[Array, " chosen"] | Sequence[int]) -> Tracks:
        """The chosen agents, in that order."""
        index = np.asarray(agents, dtype=np.int64)
        return Tracks(**{name: getattr(self, name)[index] for name in self.__slots__})

    def between(self, begin: int, end: int) -> Tracks:
        """Steps ``begin`` up to but not including ``end``."""
        per_agent = {"track_id", "cls", "size"}
        return Tracks(
            **{
                name: getattr(self, name)
                if name in per_agent
                else getattr(self, name)[:, begin:end]
                for name in self.__slots__
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """What signals show, on the scene's clock.

    Attributes:
        lane: Feature id of the controlled lane, one row a lane.
        state: Codes of :class:`~schemas.labels.LightState`; UNKNOWN where not observed.
        stop_xy: Where to stop for it [m].
        has_stop: Whether that is known.
    """

    lane: Int[Array, " signals"]
    state: Int[Array, "signals steps"]
    stop_xy: Float[Array, "signals 2"]
    has_stop: Bool[Array, " signals"]

    @classmethod
    def none(cls, steps: int) -> Signals:
        """No signal was recorded."""
        return cls(
            lane=np.zeros(0, dtype=np.int64), state=np.zeros((0, steps), dtype=np.int8),
            stop_xy=np.zeros((0, 2), dtype=np.float32), has_stop=np.zeros(0, dtype=bool),
        )  # fmt: skip


PIECE_POINTS = 20
"""Points of a road piece."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoadPieces:
    """A map as pieces of equal shape, to be looked at by models.

    Attributes:
        points: Along each line, evenly spaced, in the map's frame; areas are closed rings [m].
        feature_id: Of the feature that it is a piece of; pieces of one follow each other.
        layer: Codes of :class:`~schemas.labels.MapLayer`.
        lane_type: Codes of :class:`~schemas.labels.LaneType`.
        speed_limit: NaN where not known [m/s].
    """

    points: Float[Array, "pieces points 3"]
    feature_id: Int[Array, " pieces"]
    layer: Int[Array, " pieces"]
    lane_type: Int[Array, " pieces"]
    speed_limit: Float[Array, " pieces"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A stretch of a log: everyone, everywhere, at every step.

    Attributes:
        scene_id: As in the tables.
        log_id: As in the tables.
        dataset: The family that it comes from.
        name: The source's own name for it, for people.
        t0_ns: Time of step 0 since the log began [ns].
        anchor: Step that counts as "now": what a planner may know lies at or before it.
        tracks: Agent 0 is the ego if ``has_ego``.
        map: In the log's frame: feature points are relative to ``origin``.
        signals: On the same clock.
        has_ego: Whether there is an ego.
        has_map: Whether there is a map.
        has_signals: Whether signals were recorded at all (if not, they are unknown, not absent).
        origin: Source coordinates of this frame's origin [m].
        weather: None where not known.
        daylight: None where not known.
        road_type: Derived from the map round the ego.
        source: ``log`` or ``generated``.
        source_cls: The source's own word for what each track is, by track id; tracks of which
            nobody told one are left out.
    """

    scene_id: int
    log_id: int
    dataset: str
    name: str
    t0_ns: int
    anchor: int
    tracks: Tracks
    map: RoadMap
    signals: Signals
    has_ego: bool
    has_map: bool
    has_signals: bool
    origin: Float[Array, "3"]
    weather: Weather | None = None
    daylight: Daylight | None = None
    road_type: RoadType = RoadType.UNKNOWN
    source: str = "log"
    source_cls: Mapping[int, str] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.tracks.xy.shape[1]

    @property
    def duration(self) -> float:
        """From the first step to the last [s]."""
        return (self.steps - 1) * DT

    def between(self, begin: int, end: int) -> Scene:
        """The stretch from step ``begin`` up to but not including ``end``."""
        signals = replace(self.signals, state=self.signals.state[:, begin:end])
        return replace(
            self,
            t0_ns=self.t0_ns + round(begin * DT * 1e9),
            anchor=min(max(self.anchor - begin, 0), end - begin - 1),
            tracks=self.tracks.between(begin, end),
            signals=signals,
        )

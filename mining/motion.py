"""Everything that predicates look at, computed once for a scene.

`Motion` turns a scene's tracks into smooth speeds, accelerations and turn rates; says who is where
on the lanes, behind whom, before which signal; and finds lane changes, turns and crossings of
ways. All of it is worked out on first use and kept, so that asking a hundred predicates costs little
more than asking one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference, wrap
from geometry.arrays import Array
from geometry.boxes import clearance, corners
from geometry.polylines import project_each
from lake.localise import TYPICAL_SIZE
from mining.criticality import encroachment, shared_ground
from mining.intervals import above, spells, steps_of
from mining.jumps import jumps
from mining.kept import kept
from mining.lanes import LaneGraph, lane_graph
from mining.smoothing import Fit, fit_lines, half_windows, median3, noise
from schemas.labels import VEHICLES, VULNERABLE, AgentClass, LightState, MapLayer
from schemas.records import MapFeature
from schemas.scene import DT, Scene

FOCUS_M = 60.0
"""[m] Others matter while they have been this near to the ego; without an ego everyone does."""
CLEARANCE_M = 15.0
"""[m] Where circles round the boxes are farther apart, clearance is that of the circles."""
OTHERS_M = 15.0
"""[m] Two agents beside the ego form a pair if they come this near to each other."""
LEAD_M = 80.0
"""[m] Farthest leader."""
ACCELERATION_ERROR = 0.2
"""[m/s²] Standard error that smoothing leaves in accelerations."""
YAW_RATE_ERROR = 0.02
"""[rad/s] Likewise in turn rates."""
ACCELERATION_DOUBT = 0.75
"""[m/s²] Where the residuals leave more doubt than this, an acceleration is not known."""
PLAUSIBLE = 12.0
"""[m/s²] No road user accelerates or brakes harder; such figures are tracking errors."""
YAW_RATE_DOUBT = 0.1
"""[rad/s] Likewise for turn rates."""
JERK_DOUBT = 0.75
"""[m/s³] Likewise for jerk."""
PARKED_SPAN_M = 3.0
PARKED_SPEED = 2.0
IN_LANE_M = 1.2
"""[m] Who stands farther from the centre line stands at the side."""
SETTLING, SETTLED_M = 5, 1.0  # [steps, m] a way that tells where somebody goes
HEADS_SPEED = 1.0
"""[m/s] Slower, the direction of motion is noise."""
TURN_RATE = np.radians(5.0)
"""[rad/s] Slower changes of heading are no turn."""
DRIFT = 0.15
"""[m/s] Lateral speed at which a lane change begins and ends."""
SHIFT_M = 1.0
"""[m] Who moves less far to the side meanwhile has not changed lanes."""
LATERAL_DOUBT = 0.2
"""[m/s] Where the residuals leave more doubt, the lateral speed is not known."""
ON_THE_WAY_M = 0.1
"""[m] A way by a lane that is longer by less than this leads by that lane."""
CROSSWALK_M = 1.0
"""[m] Who is this near to a crosswalk is at it."""
SIGNAL_M = 80.0
"""[m] Signals farther ahead do not concern an agent yet."""
PASSED_M = 45.0
"""[m] Nor do those that it passed so far back: no intersection is longer."""
CROSSING_ANGLE = np.radians(25.0)
"""[rad] Ways that meet at less follow or oppose each other; they do not cross."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Ordered pairs of agents near each other, at every step.

    Attributes:
        a: Index of the first agent.
        b: Index of the second.
        with_ego: Whether one of them is the ego; everywhere if the scene has none.
        seen: Whether both are observed.
        x: Where b's centre lies ahead of a's, in a's frame [m].
        y: To a's left [m].
        distance: Of their centres [m].
        clearance: Between their outlines, beyond 15 m at least so much; ∞ where not both are seen [m].
    """

    a: Int[Array, " pairs"]
    b: Int[Array, " pairs"]
    with_ego: Bool[Array, " pairs"]
    seen: Bool[Array, "pairs steps"]
    x: Float[Array, "pairs steps"]
    y: Float[Array, "pairs steps"]
    distance: Float[Array, "pairs steps"]
    clearance: Float[Array, "pairs steps"]

    @property
    def once(self) -> Int[Array, " some"]:
        """Pairs with the ego, each in one order: from the agent of the lower row (the ego's is 0)."""
        return np.flatnonzero(self.with_ego[: len(self.a) // 2])

    @property
    def both_ways(self) -> Int[Array, " some"]:
        """Pairs with the ego in both orders."""
        return np.flatnonzero(self.with_ego)


@dataclass(frozen=True, slots=True, eq=False)
class Leads:
    """Followers with their leaders: the nearest agent ahead on the follower's own way.

    Attributes:
        a: Index of the follower.
        b: Index of the leader.
        on: Whether b leads a at the step.
        gap: From a's front to b's rear along the lanes; ∞ where not leading [m].
    """

    a: Int[Array, " leads"]
    b: Int[Array, " leads"]
    on: Bool[Array, "leads steps"]
    gap: Float[Array, "leads steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneChange:
    """One agent's move into a neighbouring lane; ``side`` is +1 to the left, −1 to the right."""

    agent: int
    begin: int
    cross: int
    end: int
    side: int
    from_lane: int
    to_lane: int
    shift: float
    speed_lateral: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stretch of steady turning; the angle is positive to the left [rad], the way in metres."""

    agent: int
    begin: int
    end: int
    angle: float
    way: float
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two agents whose ways cross: who was there first, and when each came and went (steps).

    ``first_at`` and ``second_at`` are the steps at which each is where their ways cross.
    """

    first: int
    second: int
    first_enters: int
    first_leaves: int
    second_enters: int
    second_leaves: int
    first_at: int
    second_at: int
    pet: float


@dataclass(frozen=True, slots=True, eq=False)
class SignalView:
    """The signal that concerns each agent at each step.

    Attributes:
        distance: From the agent's front to where it must stop; negative once past; ∞ if none [m].
        state: Codes of :class:`LightState`; UNKNOWN if the candidates disagree or none is seen.
        lane: Lane index that the signal controls, −1 if none.
    """

    distance: Float[Array, "agents steps"]
    state: Int[Array, "agents steps"]
    lane: Int[Array, "agents steps"]


class Courses(NamedTuple):
    """From where agents are first seen to where they are last seen, in the frames of their start.

    Attributes:
        ahead: How far it got along the heading that it had first [m].
        left: How far to the left of it [m].
        turn: How far it turned, in (−π, π] [rad].
        speed: The greater of its first and last speed [m/s].
    """

    ahead: Float[Array, " agents"]
    left: Float[Array, " agents"]
    turn: Float[Array, " agents"]
    speed: Float[Array, " agents"]


class Motion:
    """A scene as predicates see it; indices of agents are rows of ``scene.tracks``."""

    def __init__(self, scene: Scene) -> None:
        """Smooth the tracks; all else waits until it is asked for."""
        self.kept: dict[tuple[Any, ...], Any] = {}
        """See :func:`mining.kept.kept`."""
        self.scene = scene
        tracks = scene.tracks
        self.agents, self.steps = tracks.valid.shape
        # Where a scene was made up, boxes are where they are said to be, even in a crash.
        made_up = scene.source == "generated"
        jumped = np.zeros_like(tracks.valid) if made_up else jumps(tracks.xy, tracks.valid)
        self.seen, self.jumped = tracks.valid & ~jumped, jumped
        self.cls = tracks.cls.astype(np.int64)
        self.size = np.where(np.isfinite(tracks.size), tracks.size, 1.0).astype(np.float64)
        self.length, self.width = self.size[:, 0], self.size[:, 1]
        self.xy = np.where(self.seen[..., None], tracks.xy, 0.0).astype(np.float64)
        self.yaw = _continuous(np.where(self.seen, tracks.yaw, 0.0), self.seen)
        self.is_vehicle = np.isin(self.cls, [int(c) for c in VEHICLES])
        self.is_vru = np.isin(self.cls, [int(c) for c in VULNERABLE])
        self.is_pedestrian = self.cls == AgentClass.PEDESTRIAN
        self.is_cyclist = self.cls == AgentClass.CYCLIST
        self.is_thing = self.cls == AgentClass.OBSTACLE
        self.drives = self.is_vehicle | self.is_cyclist
        self._differentiate()

    def _differentiate(self) -> None:
        seen = self.seen
        velocity = np.where(seen[..., None], self.scene.tracks.velocity, 0.0).astype(np.float64)
        # Along and across the box as first seen: what is certain must not hang on where the map has north.
        first = self.yaw[np.arange(self.agents), seen.argmax(axis=1)][:, None]
        north, east = np.sin(first), np.cos(first)
        along = east * velocity[..., 0] + north * velocity[..., 1]
        across = east * velocity[..., 1] - north * velocity[..., 0]
        half = half_windows(
            np.maximum(noise(along, seen), noise(across, seen)), slope_error=ACCELERATION_ERROR
        )
        fit_x, fit_y = _fit_each(
            median3(along, seen), median3(across, seen), valid=seen, half=half
        )
        vx, vy = _turned(fit_x.level, fit_y.level, east, north)
        ax, ay = _turned(fit_x.slope, fit_y.slope, east, north)
        self.velocity = np.stack([vx, vy], axis=-1)
        self.speed = np.hypot(vx, vy)
        raw_yaw = self.yaw
        turn = fit_lines(
            raw_yaw, seen, half_windows(noise(raw_yaw, seen), slope_error=YAW_RATE_ERROR)
        )
        yaw = turn.level
        moves = self.speed > 0.3
        course = np.arctan2(vy, vx)
        facing = np.where(self.drives[:, None] | ~moves, yaw, course)
        cos, sin = np.cos(facing), np.sin(facing)
        self.course = np.where(moves, course, wrap(np.asarray(facing)))
        self.forward = cos * vx + sin * vy
        self.acceleration = cos * ax + sin * ay
        self.lateral_acceleration = cos * ay - sin * ax
        self.acceleration_known = fit_x.certain(ACCELERATION_DOUBT, most=PLAUSIBLE)
        self.acceleration_known &= fit_y.certain(ACCELERATION_DOUBT, most=PLAUSIBLE)
        self.yaw_rate, self.yaw_smooth = turn.slope, yaw
        self.turn_known = turn.certain(YAW_RATE_DOUBT) & (np.abs(self.forward) > 0.5)
        known = self.acceleration_known
        change, change_x, change_y = _fit_each(
            self.acceleration, fit_x.slope, fit_y.slope, valid=known, half=half + 3
        )
        self.jerk = change.slope
        self.jerk_known = change.certain(JERK_DOUBT)
        self.jerk_size = np.hypot(change_x.slope, change_y.slope)
        self.jerk_size_known = change_x.certain(JERK_DOUBT) & change_y.certain(JERK_DOUBT)

    # -- who matters ---------------------------------------------------------------------------

    @cached_property
    def track_id(self) -> list[int]:
        """Track ids as plain integers."""
        return [int(i) for i in self.scene.tracks.track_id]

    @cached_property
    def words(self) -> list[str]:
        """The source's word for each agent, in lower case; empty where nobody told one."""
        return [self.scene.source_cls.get(i, "").lower() for i in self.track_id]

    @cached_property
    def focus(self) -> Bool[Array, " agents"]:
        """Who is asked about: the ego and whoever came near it; everyone if there is no ego."""
        lives = self.seen.sum(axis=1) >= 3
        if not self.scene.has_ego:
            return lives
        both = self.seen & self.seen[:1]
        distance = np.hypot(*np.moveaxis(self.xy - self.xy[:1], -1, 0))
        near = np.asarray((np.where(both, distance, np.inf) <= FOCUS_M).any(axis=1))
        near[0] = True
        return lives & near

    @cached_property
    def span(self) -> Float[Array, " agents"]:
        """Diagonal of the region in which each agent's centre was seen [m]."""
        low, high = self._region
        reach = np.hypot(*(np.where(np.isfinite(high), high - low, 0.0)).T)
        return np.asarray(reach)

    @cached_property
    def _region(self) -> tuple[Float[Array, "agents 2"], Float[Array, "agents 2"]]:
        """Least and greatest coordinates at which each agent's centre was seen [m]."""
        high = np.where(self.seen[..., None], self.xy, -np.inf).max(axis=1)
        low = np.where(self.seen[..., None], self.xy, np.inf).min(axis=1)
        return low, high

    @cached_property
    def immobile(self) -> Bool[Array, " agents"]:
        """Who never went anywhere: seen within 3 m and below 2 m/s throughout."""
        return (self.span < PARKED_SPAN_M) & (self.fastest < PARKED_SPEED)

    @cached_property
    def fastest(self) -> Float[Array, " agents"]:
        """Greatest speed at which each agent was seen [m/s]."""
        return np.where(self.seen, self.speed, 0.0).max(axis=1)

    def out_of_lanes(self, aside: float) -> Bool[Array, " agents"]:
        """Who is farther than ``aside`` [m] from the middle of any lane for most of the time."""
        in_lane = self.on_lane & (np.abs(self.lane_d) < aside)
        return 2 * in_lane.sum(axis=1) < np.maximum(self.seen.sum(axis=1), 1)

    @cached_property
    def parked(self) -> Bool[Array, " agents"]:
        """Who never went anywhere and does not stand in a lane, where traffic may hold it up."""
        return self.immobile & self.out_of_lanes(IN_LANE_M)

    @cached_property
    def size_guessed(self) -> Bool[Array, " agents"]:
        """Whose size is, to the last digit, the one that dense scenes take where none is told."""
        typical = np.array([TYPICAL_SIZE[cls] for cls in sorted(AgentClass)], dtype=np.float32)
        return np.asarray((self.scene.tracks.size == typical[self.cls]).all(axis=1))

    @cached_property
    def first_seen(self) -> Int[Array, " agents"]:
        """First observed step of each agent."""
        return self.seen.argmax(axis=1)

    @cached_property
    def last_seen(self) -> Int[Array, " agents"]:
        """Last observed step of each agent."""
        return self.steps - 1 - self.seen[:, ::-1].argmax(axis=1)

    @cached_property
    def lost(self) -> Bool[Array, "agents steps"]:
        """Steps within an agent's life at which it was not observed, for half a second or more."""
        steps = np.arange(self.steps)
        within = (steps > self.first_seen[:, None]) & (steps < self.last_seen[:, None])
        gone = np.zeros_like(self.seen)
        for row, begin, end in spells(within & ~self.seen, bridge_s=0.0):
            gone[row, begin : end + 1] = True
        return gone

    @cached_property
    def facing(self) -> tuple[Float[Array, "agents steps"], Float[Array, "agents steps"]]:
        """Cosine and sine of each box's heading."""
        return np.cos(self.yaw), np.sin(self.yaw)

    @cached_property
    def going(self) -> tuple[Float[Array, "agents steps"], Float[Array, "agents steps"]]:
        """Cosine and sine of each course."""
        return np.cos(self.course), np.sin(self.course)

    @cached_property
    def boxes(self) -> Float[Array, "agents steps 5"]:
        """Oriented boxes, see :mod:`geometry.boxes`."""
        extent = np.repeat(self.size[:, None, :2], self.steps, axis=1)
        return np.concatenate([self.xy, self.yaw[..., None], extent], axis=-1)

    @cached_property
    def heading(self) -> Float[Array, "agents steps"]:
        """Where each agent goes, or faces while it is slower than 1 m/s [rad]."""
        return np.where(self.speed >= HEADS_SPEED, self.course, self.yaw_smooth)

    @cached_property
    def courses(self) -> Courses:
        """Where each agent got, all in all."""
        rows, first, last = np.arange(self.agents), self.first_seen, self.last_seen
        x, y = (self.xy[rows, last] - self.xy[rows, first]).T
        # Of the steps within which a track settles those at which it was seen: elsewhere it is nowhere.
        steps = np.arange(self.steps)
        latest = np.maximum.accumulate(np.where(self.seen, steps, 0), axis=1)
        later = np.where(self.seen, steps, self.steps - 1)[:, ::-1]
        earliest = np.minimum.accumulate(later, axis=1)[:, ::-1]
        settled = latest[rows, np.minimum(first + SETTLING, last)]
        settling = earliest[rows, np.maximum(last - SETTLING, first)]
        yaw = self._going(first, settled, at=first)
        return Courses(
            ahead=np.cos(yaw) * x + np.sin(yaw) * y,
            left=np.cos(yaw) * y - np.sin(yaw) * x,
            turn=wrap(self._going(settling, last, at=last) - yaw),
            speed=np.maximum(self.speed[rows, first], self.speed[rows, last]),
        )

    def _going(
        self,
        begin: Int[Array, " agents"],
        end: Int[Array, " agents"],
        *,
        at: Int[Array, " agents"],
    ) -> Float[Array, " agents"]:
        """Heading at a step; where it contradicts the way from begin to end, the direction of that.

        Trackers often tell no velocity, or a wrong one, while a track settles.
        """
        rows = np.arange(self.agents)
        x, y = (self.xy[rows, end] - self.xy[rows, begin]).T
        way, heading = np.arctan2(y, x), self.heading[rows, at]
        wrong = (np.hypot(x, y) >= SETTLED_M) & (np.cos(heading - way) < 0.0)
        return np.where(wrong, way, heading)

    # -- pairs ---------------------------------------------------------------------------------

    @cached_property
    def pairs(self) -> Pairs:
        """The ego with everyone who matters, and others among each other where they come close.

        Pairs of which neither ever moves, or neither drives, are left out.
        """
        from mining.kernels import come_near

        focus = np.flatnonzero(self.focus)
        i, j = np.triu_indices(len(focus), k=1)
        i, j = focus[i], focus[j]
        ego = (i == 0) & self.scene.has_ego
        moves = ~(self.immobile[i] & self.immobile[j])
        drives = self.drives[i] | self.drives[j]
        within = np.where(ego, FOCUS_M, OTHERS_M)
        keep = (ego | (moves & drives)) & self._may_meet(i, j, within)
        i, j, ego, within = i[keep], j[keep], ego[keep], within[keep]
        keep = come_near(self.xy, self.seen, i, j, within)
        i, j, ego = i[keep], j[keep], ego[keep]
        seen, apart, distance = self._apart(i, j)
        reach = self.half_diagonal
        gap = np.maximum(distance - (reach[i] + reach[j])[:, None], 0.0)
        rows, steps = np.nonzero(gap < CLEARANCE_M)
        gap[rows, steps] = clearance(self.boxes[i[rows], steps], self.boxes[j[rows], steps])
        a, b = np.concatenate([i, j]), np.concatenate([j, i])
        both = np.concatenate([apart, -apart])
        cos, sin = (part[a] for part in self.facing)
        return Pairs(
            a=a,
            b=b,
            with_ego=np.concatenate([ego, ego]) | (not self.scene.has_ego),
            seen=np.concatenate([seen, seen]),
            x=cos * both[..., 0] + sin * both[..., 1],
            y=cos * both[..., 1] - sin * both[..., 0],
            distance=np.concatenate([distance, distance]),
            clearance=np.concatenate([gap, gap]),
        )

    def _apart(
        self, i: Int[Array, " pairs"], j: Int[Array, " pairs"]
    ) -> tuple[
        Bool[Array, "pairs steps"], Float[Array, "pairs steps 2"], Float[Array, "pairs steps"]
    ]:
        """Whether both are seen, where j is from i, and how far; ∞ where not both are seen [m]."""
        seen = self.seen[i] & self.seen[j]
        apart = self.xy[j] - self.xy[i]
        distance = np.where(seen, np.hypot(apart[..., 0], apart[..., 1]), np.inf)
        return seen, apart, distance

    @cached_property
    def headings_apart(self) -> Float[Array, "half steps"]:
        """How far the headings of each pair differ, one order of each [°]."""
        half = len(self.pairs.a) // 2
        a, b = self.pairs.a[:half], self.pairs.b[:half]
        return np.degrees(np.abs(difference(self.heading[a], self.heading[b])))

    @cached_property
    def closing(self) -> Float[Array, "half steps"]:
        """Rate at which the centres of each pair approach each other, one order of each [m/s]."""
        half = len(self.pairs.a) // 2
        a, b = self.pairs.a[:half], self.pairs.b[:half]
        x, y = np.moveaxis(self.xy[b] - self.xy[a], -1, 0)
        vx, vy = np.moveaxis(self.velocity[b] - self.velocity[a], -1, 0)
        return np.asarray(-(x * vx + y * vy) / np.maximum(np.hypot(x, y), 0.1))

    def _may_meet(
        self, i: Int[Array, " pairs"], j: Int[Array, " pairs"], within: Float[Array, " pairs"]
    ) -> Bool[Array, " pairs"]:
        """Whether the regions in which two agents were seen come that near each other [m]."""
        low, high = self._region
        apart = np.maximum(low[i] - high[j], low[j] - high[i]).max(axis=1)
        return np.asarray(apart <= within)

    # -- lanes ---------------------------------------------------------------------------------

    @cached_property
    def graph(self) -> LaneGraph:
        """The lanes of the map."""
        return lane_graph(self.scene.map)

    @cached_property
    def lane(self) -> Int[Array, "agents steps"]:
        """Lane index of each agent; −1 where it is on none."""
        tracks = self.scene.tracks
        index = self.graph.indices(tracks.lane.astype(np.int64))
        return np.where(tracks.on_lane & self.seen, index, -1)

    @cached_property
    def on_lane(self) -> Bool[Array, "agents steps"]:
        """Whether the agent is on a lane."""
        return self.lane >= 0

    @cached_property
    def lane_s(self) -> Float[Array, "agents steps"]:
        """Distance along the lane [m]."""
        return np.where(self.on_lane, self.scene.tracks.lane_s, 0.0).astype(np.float64)

    @cached_property
    def lane_d(self) -> Float[Array, "agents steps"]:
        """Offset to the left of the lane's centre line [m]."""
        return np.where(self.on_lane, self.scene.tracks.lane_d, 0.0).astype(np.float64)

    @cached_property
    def heading_error(self) -> Float[Array, "agents steps"]:
        """Heading minus the lane's direction; 0 where on no lane [rad]."""
        if not len(self.graph):
            return np.zeros(self.seen.shape)
        direction = self.graph.yaw_at(np.maximum(self.lane, 0), self.lane_s)
        return np.where(self.on_lane, difference(wrap(np.asarray(self.yaw)), direction), 0.0)

    @cached_property
    def used(self) -> tuple[list[int], Int[Array, " lanes"], Float[Array, "used used"]]:
        """Lanes that anyone is on or a signal controls; where each stands; distances downstream."""
        lanes = set(np.unique(self.lane[self.on_lane]).tolist())
        lanes |= set(self.controlled)
        chosen = sorted(lanes - {-1})
        place = np.full(len(self.graph) + 1, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        return chosen, place, self.graph.downstream(chosen)

    @cached_property
    def place(self) -> Int[Array, "agents steps"]:
        """Each agent's lane as an index into ``used``; −1 where it is on none."""
        return np.where(self.on_lane, self.used[1][self.lane], -1)

    @cached_property
    def on_way(self) -> Bool[Array, "agents used"]:
        """Whether a used lane lies on the way that each agent takes.

        That is: lanes that it drives during the scene, those between two of them that it is not
        seen on, and all that lie downstream of its last.
        """
        chosen, _, away = self.used
        way = np.zeros((self.agents, len(chosen)), dtype=bool)
        for i in range(self.agents):
            own = self.place[i][self.place[i] >= 0]
            if len(own):
                way[i] = np.isfinite(away[own[-1]])
                way[i, own] = True
                for k in np.flatnonzero(own[1:] != own[:-1]).tolist():
                    before, after = own[k], own[k + 1]
                    shortest = away[before, after]
                    if np.isfinite(shortest):
                        way[i] |= away[before] + away[:, after] <= shortest + ON_THE_WAY_M
        return way

    @cached_property
    def leads(self) -> Leads:
        """Every follower with each of its leaders."""
        from mining.kernels import leaders

        along = np.abs(self.heading_error) < np.pi / 2
        # Things and standing vehicles block whichever way they point; oncoming ones do not lead.
        faces = along | self.is_thing[:, None] | (self.speed < 0.3)
        leads = ~self.is_pedestrian[:, None] & self.on_lane & faces
        follows = (self.focus & self.drives & ~self.parked)[:, None] & along
        leader, gap = leaders(
            follows & (self.place >= 0), leads & (self.place >= 0), self.place, self.on_way,
            self.used[2], self.lane_s, self.lane_d, self.length, self.width, LEAD_M,
        )  # fmt: skip
        a, b = [], []
        for i in np.flatnonzero((leader >= 0).any(axis=1)).tolist():
            for j in np.unique(leader[i][leader[i] >= 0]).tolist():
                a.append(i)
                b.append(j)
        ia, ib = np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)
        on = leader[ia] == ib[:, None]
        return Leads(ia, ib, on, np.where(on, gap[ia], np.inf))

    @cached_property
    def in_intersection(self) -> Bool[Array, "agents steps"]:
        """Whether each agent's centre is in an intersection: by its lane, or by an area."""
        mask = np.zeros(self.seen.shape, dtype=bool)
        if len(self.graph):
            mask = self.on_lane & self.graph.in_intersection[np.maximum(self.lane, 0)]
        for area in self.areas(MapLayer.INTERSECTION):
            mask = mask | (self.seen & self.within(area))
        return mask

    def areas(self, layer: MapLayer) -> list[MapFeature]:
        """Areas of one layer that come within reach of anyone."""
        if not self.seen.any():
            return []
        low = self.xy[self.seen].min(axis=0) - 20.0
        high = self.xy[self.seen].max(axis=0) + 20.0
        return [
            f
            for f in self.scene.map.of_layer(layer)
            if len(f.points) >= 3
            and (f.points[:, :2].max(axis=0) >= low).all()
            and (f.points[:, :2].min(axis=0) <= high).all()
        ]

    def within(
        self,
        area: MapFeature,
        *,
        margin: float = 0.0,
        whole: bool = False,
        among: Bool[Array, "agents steps"] | None = None,
    ) -> Bool[Array, "agents steps"]:
        """Whether an agent's centre (or any part of it, if ``whole``) is in or near an area.

        Args:
            area: Which.
            margin: How near [m].
            whole: Whether any part of the box counts.
            among: Where to look at all; wherever anyone is seen by default.
        """
        import shapely

        outline = area.points[:, :2].astype(np.float64)
        near = (self.seen if among is None else among).copy()
        reach = margin + (self.half_diagonal[:, None] if whole else 0.0)
        for axis in (0, 1):
            near &= self.xy[..., axis] >= outline[:, axis].min() - reach
            near &= self.xy[..., axis] <= outline[:, axis].max() + reach
        mask = np.zeros(self.seen.shape, dtype=bool)
        agents, steps = np.nonzero(near)
        if not len(agents):
            return mask
        polygon = self.graph.outline(area)
        if whole:
            shapes = shapely.polygons(corners(self.boxes[agents, steps]))
        else:
            shapes = shapely.points(self.xy[agents, steps])
        mask[agents, steps] = shapely.dwithin(polygon, shapes, margin)
        return mask

    @cached_property
    def half_diagonal(self) -> Float[Array, " agents"]:
        """From each agent's centre to its corners [m]."""
        return np.hypot(self.length, self.width) / 2

    @cached_property
    def at_crosswalk(self) -> Bool[Array, "agents steps"]:
        """Whether any part of an agent in focus is within 1 m of a crosswalk."""
        return self.near_crosswalk(CROSSWALK_M)

    @kept
    def near_crosswalk(self, distance: float) -> Bool[Array, "agents steps"]:
        """Whether any part of an agent in focus is so near to a crosswalk [m]."""
        mask = np.zeros(self.seen.shape, dtype=bool)
        among = self.seen & self.focus[:, None]
        for area in self.areas(MapLayer.CROSSWALK):
            mask |= self.within(area, margin=distance, whole=True, among=among)
        return mask

    @cached_property
    def on_crosswalk(self) -> Bool[Array, "agents steps"]:
        """Whether any part of an agent is on a crosswalk."""
        mask = np.zeros(self.seen.shape, dtype=bool)
        for area in self.areas(MapLayer.CROSSWALK):
            mask |= self.within(area, whole=True, among=self.at_crosswalk)
        return mask

    @cached_property
    def edge_left(self) -> Float[Array, "agents steps"]:
        """How far each agent's centre is to the left of the nearest road edge, right negative [m].

        Edges run with the drivable surface to their left; −∞ where the map has none.
        """
        out = np.full(self.seen.shape, -np.inf)
        rows = self.seen & self.focus[:, None]
        points, course = self.graph.road_edges
        xy = self.xy[rows]
        if len(points) and len(xy):
            distance, near = self.graph.edge_tree.query(xy)
            away = xy - points[near]
            left = np.cos(course[near]) * away[:, 1] - np.sin(course[near]) * away[:, 0]
            out[rows] = np.where(left >= 0.0, distance, -distance)
        return out

    @cached_property
    def on_surface(self) -> Bool[Array, "agents steps"]:
        """Whether each agent's centre is on the drivable surface.

        Within a drivable area; where the map has none, on the drivable side of the nearest road
        edge, or on a lane for cars.
        """
        mask = np.zeros(self.seen.shape, dtype=bool)
        rows = self.seen & self.focus[:, None]
        xy = self.xy[rows]
        if self.graph.surfaces:
            mask[rows] = self.graph.on_surface(xy)
            return mask
        mask = rows & np.isfinite(self.edge_left) & (self.edge_left >= 0.0)
        lane = np.maximum(self.lane, 0)
        if len(self.graph):
            on = self.on_lane & self.graph.for_cars[lane]
            mask |= on & (np.abs(self.lane_d) <= self.graph.half_width[lane])
        return mask

    @cached_property
    def off_centre(self) -> Float[Array, "agents steps"]:
        """From the centre of each agent in focus to the nearest centre line for cars [m]."""
        out = np.full(self.seen.shape, np.inf)
        rows = self.seen & self.focus[:, None]
        if self.graph.for_cars.any():
            out[rows] = self.graph.tree.query(self.xy[rows])[0]
        return out

    # -- signals -------------------------------------------------------------------------------

    @cached_property
    def controlled(self) -> list[int]:
        """Of each signal the index of the lane that it controls; −1 if that is none."""
        lanes = self.graph.indices(self.scene.signals.lane.astype(np.int64))
        return [int(lane) for lane in lanes]

    @cached_property
    def signal(self) -> SignalView:
        """The signal ahead of each driving agent, along the way that it takes."""
        return self.signal_within(SIGNAL_M)

    @kept
    def signal_within(self, reach: float) -> SignalView:
        """The signal at most so far ahead of each driving agent [m]."""
        size = (self.agents, self.steps)
        distance = np.full(size, np.inf)
        state = np.full(size, int(LightState.UNKNOWN))
        controlled = np.full(size, -1)
        signals = self.scene.signals
        _, place, away = self.used
        usable = self.focus[:, None] & self.drives[:, None] & (self.place >= 0)
        own = np.maximum(self.place, 0)
        for row, (lane, stop_s) in enumerate(zip(self.controlled, self.stops_s, strict=True)):
            if lane < 0:
                continue
            here = int(place[lane])
            who = np.flatnonzero(self.on_way[:, here] & usable.any(axis=1))
            to_stop = away[own[who], here] + stop_s - self.lane_s[who]
            past = away[here, own[who]] + self.lane_s[who] - stop_s
            to_stop = np.where(np.isfinite(to_stop), to_stop, -past)
            to_stop = to_stop - self.length[who, None] / 2
            ok = usable[who] & np.isfinite(to_stop) & (to_stop <= reach) & (to_stop > -PASSED_M)
            shown = np.broadcast_to(signals.state[row], to_stop.shape)
            same_stop = ok & (np.abs(to_stop - distance[who]) < 3.0)
            unlike = same_stop & (shown != state[who])
            # The nearest stop ahead counts; one already passed counts until another comes up.
            nearer = ok & ~same_stop & (_rank(to_stop) < _rank(distance[who]))
            state[who] = np.where(
                nearer, shown, np.where(unlike, int(LightState.UNKNOWN), state[who])
            )
            controlled[who] = np.where(nearer, lane, controlled[who])
            distance[who] = np.where(nearer, to_stop, distance[who])
        return SignalView(distance, state, controlled)

    @cached_property
    def stops_s(self) -> Float[Array, " signals"]:
        """Where along the lane that it controls each signal's stop line lies; 0 if it controls none [m]."""
        signals, lanes = self.scene.signals, np.array(self.controlled, dtype=np.int64)
        if not len(self.graph):
            return np.zeros(len(lanes))
        at_end = np.where(self.graph.in_intersection[lanes], 0.0, self.graph.length[lanes])
        stop_s = np.where(lanes >= 0, at_end, 0.0)
        told = np.flatnonzero(signals.has_stop & (lanes >= 0))
        if len(told):
            lines = [self.graph.lanes[k].points for k in lanes[told].tolist()]
            stops = signals.stop_xy[told].astype(np.float64)
            stop_s[told], _, _ = project_each(stops, np.arange(len(told)), lines)
        return stop_s

    # -- events --------------------------------------------------------------------------------

    @cached_property
    def lateral(
        self,
    ) -> tuple[
        Float[Array, "agents steps"], Float[Array, "agents steps"], Bool[Array, "agents steps"]
    ]:
        """Lateral position that runs on over lane boundaries [m], its rate [m/s], where known."""
        raw = self.lane_d.copy()
        for i, t, before in self.lane_steps:
            moves = 0.0
            if before > 0 and self.on_lane[i, before - 1]:
                moves = raw[i, before] - raw[i, before - 1]
            raw[i, t:] -= raw[i, t] - raw[i, before] - np.clip(moves, -0.3, 0.3)
        half = half_windows(noise(raw, self.on_lane), slope_error=0.05)
        fit = fit_lines(raw, self.on_lane, half)
        return fit.level, fit.slope, fit.certain(LATERAL_DOUBT)

    @cached_property
    def lane_steps(self) -> list[tuple[int, int, int]]:
        """(agent, step, step before) of every change of lane index."""
        found = []
        for i in np.flatnonzero(self.drives & self.focus).tolist():
            on = np.flatnonzero(self.on_lane[i])
            changed = np.flatnonzero(self.lane[i, on[1:]] != self.lane[i, on[:-1]])
            found += [(i, int(on[k + 1]), int(on[k])) for k in changed]
        return found

    @cached_property
    def lane_changes(self) -> list[LaneChange]:
        """Moves into a neighbouring lane that runs the same way."""
        return self.lane_changes_by(drift=DRIFT, shift=SHIFT_M)

    @kept
    def lane_changes_by(self, *, drift: float, shift: float) -> list[LaneChange]:
        """Such moves, faster to the side than ``drift`` [m/s], and by ``shift`` [m] or more."""
        level, rate, known = self.lateral
        found: list[LaneChange] = []
        for i, t, before in self.lane_steps:
            a, b = int(self.lane[i, before]), int(self.lane[i, t])
            jump = self.lane_d[i, t] - self.lane_d[i, before]
            side = -int(np.sign(jump))
            turn = abs(float(self.heading_error[i, t] - self.heading_error[i, before]))
            if not (1.5 <= abs(jump) <= 6.0 and turn < np.radians(20.0) and t - before <= 10):
                continue
            if abs(self.heading_error[i, t]) > np.radians(60.0) or self._forks(a, b, i, t):
                continue
            back = self.lane[i, t : t + steps_of(0.5)] == a
            early = self.lane[i, max(before - steps_of(0.5), 0) : before] == b
            if back.sum() > 1 or early.sum() > 1:
                continue
            moving = known[i] & (side * rate[i] >= drift)
            begin = end = t
            while begin > max(0, t - steps_of(4.0)) and moving[begin - 1]:
                begin -= 1
            while end < min(self.steps - 1, t + steps_of(4.0)) and moving[end + 1]:
                end += 1
            moved = float(side * (level[i, end] - level[i, begin]))
            if moved < shift or any(c.agent == i and c.begin <= t <= c.end for c in found):
                continue
            found.append(
                LaneChange(
                    agent=i,
                    begin=begin,
                    cross=t,
                    end=end,
                    side=side,
                    from_lane=a,
                    to_lane=b,
                    shift=moved,
                    speed_lateral=float(np.abs(rate[i, begin : end + 1]).max()),
                )
            )
        return found

    @cached_property
    def changing(self) -> Bool[Array, "agents steps"]:
        """Whether each agent is changing lanes."""
        mask = np.zeros(self.seen.shape, dtype=bool)
        for change in self.lane_changes:
            mask[change.agent, change.begin : change.end + 1] = True
        return mask

    def _forks(self, a: int, b: int, i: int, t: int) -> bool:
        """Whether b continues a, or both spring from one lane just behind: no change of lane."""
        after = self.graph.successors
        if b in after[a] or a in after[b] or any(b in after[k] for k in after[a]):
            return True
        common = set(self.graph.predecessors[a]) & set(self.graph.predecessors[b])
        return bool(common) and float(self.lane_s[i, t]) < 25.0

    @cached_property
    def turns(self) -> list[Turn]:
        """Stretches in which a driving agent turns steadily to one side."""
        found = []
        known = self.turn_known & (self.drives & self.focus)[:, None]
        for side in (1.0, -1.0):
            mask = above(side * self.yaw_rate, TURN_RATE, known=known)
            for i, begin, end in spells(mask):
                angle = float(self.yaw_smooth[i, end] - self.yaw_smooth[i, begin])
                way = float(np.abs(self.forward[i, begin : end + 1]).sum() * DT)
                cut = begin <= self.first_seen[i] + 1 or end >= self.last_seen[i] - 1
                found.append(
                    Turn(agent=i, begin=begin, end=end, angle=angle, way=way, truncated=bool(cut))
                )
        return sorted(found, key=lambda turn: (turn.agent, turn.begin))

    @cached_property
    def conflicts(self) -> list[Conflict]:
        """Crossings of ways that both agents really drove or walked, at most 6 s apart."""
        pairs = self.pairs
        moved = (self.span > 2.0) & (np.where(self.seen, self.speed, 0.0).max(axis=1) > 0.5)
        half = len(pairs.a) // 2
        a, b = pairs.a[:half], pairs.b[:half]
        keep = moved[a] & moved[b] & self._may_cross(a, b)
        keep &= self._may_meet(a, b, np.full(half, 2.0 * self.half_diagonal.max()))
        found = []
        for i, j in zip(a[keep].tolist(), b[keep].tolist(), strict=True):
            meeting = shared_ground(
                self.boxes[i],
                self.boxes[j],
                self.seen[i] & (self.speed[i] > 0.3),
                self.seen[j] & (self.speed[j] > 0.3),
                course_a=self.course[i],
                course_b=self.course[j],
                least_angle=CROSSING_ANGLE,
                within_s=6.0,
            )
            if meeting is None:
                continue
            at_i, at_j = meeting
            pet, _, _, order = encroachment(at_i, at_j)
            first, second = (i, j) if order > 0 else (j, i)
            early, late = (at_i, at_j) if order > 0 else (at_j, at_i)
            place = self.xy[first, early] - self.xy[second, late]
            crossing = int(np.hypot(place[:, 0], place[:, 1]).argmin())
            found.append(
                Conflict(
                    first=first,
                    second=second,
                    first_enters=int(early.min()),
                    first_leaves=int(early.max()),
                    second_enters=int(late.min()),
                    second_leaves=int(late.max()),
                    first_at=int(early[crossing]),
                    second_at=int(late[crossing]),
                    pet=pet,
                )
            )
        return found

    def _may_cross(
        self, a: Int[Array, " pairs"], b: Int[Array, " pairs"]
    ) -> Bool[Array, " pairs"]:
        """Whether the courses of two agents ever differ enough to cross each other's way."""
        used = self.seen & (self.speed > 0.3)
        turn = np.where(used, np.exp(1j * self.course), 0.0).sum(axis=1)
        mean = np.angle(turn)
        spread = np.abs(np.where(used, wrap(self.course - mean[:, None]), 0.0)).max(axis=1)
        aside = np.abs((mean[a] - mean[b] + np.pi / 2) % np.pi - np.pi / 2)
        return np.asarray(aside + spread[a] + spread[b] >= CROSSING_ANGLE)


def _turned(
    along: Float[Array, "agents steps"],
    across: Float[Array, "agents steps"],
    east: Float[Array, "agents 1"],
    north: Float[Array, "agents 1"],
) -> tuple[Float[Array, "agents steps"], Float[Array, "agents steps"]]:
    """East and north of vectors told along and across a direction, given by its cosine and sine."""
    return east * along - north * across, north * along + east * across


def _fit_each(
    *values: Float[Array, "agents steps"],
    valid: Bool[Array, "agents steps"],
    half: Int[Array, " agents"],
) -> list[Fit]:
    """Lines fitted to several quantities of each agent, all in one go."""
    count, agents = len(values), len(half)
    fit = fit_lines(np.concatenate(values), np.tile(valid, (count, 1)), np.tile(half, count))
    rows = [slice(k * agents, (k + 1) * agents) for k in range(count)]
    return [Fit(fit.level[row], fit.slope[row], fit.error[row]) for row in rows]


def _continuous(
    yaw: Float[Array, "agents steps"], valid: Bool[Array, "agents steps"]
) -> Float[Array, "agents steps"]:
    """Headings without jumps of 2π, nor of π where a box was fitted back to front.

    No road user turns by more than a right angle from one step to the next; where the whole track
    disagrees about front and back, the majority is followed.
    """
    out = np.zeros(yaw.shape)
    steps = yaw.shape[1]
    index = np.where(valid, np.arange(steps), 0)
    held_at = np.maximum.accumulate(index, axis=1)
    first = valid.argmax(axis=1)
    held_at = np.maximum(held_at, first[:, None])
    held = np.take_along_axis(yaw.astype(np.float64), held_at, axis=1)
    step = np.diff(held, axis=1)
    gap = np.diff(held_at, axis=1)
    half_turn = step - np.pi * np.rint(step / np.pi)
    whole_turn = step - 2 * np.pi * np.rint(step / (2 * np.pi))
    out[:, 0] = held[:, 0]
    out[:, 1:] = held[:, :1] + np.cumsum(np.where(gap <= 5, half_turn, whole_turn), axis=1)
    flipped = valid & (np.cos(out - yaw) < 0.0)
    most = 2 * flipped.sum(axis=1) > valid.sum(axis=1)
    return out + np.pi * most[:, None]


def _rank(distance: Array) -> Array:
    """Order of stops: those ahead by distance, then those passed by."""
    return np.where(distance >= -2.0, distance, 1000.0 - distance)

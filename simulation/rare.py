"""Rare behaviours, planted into ordinary traffic and measured afterwards.

Each behaviour is a :class:`Script`: ``cast`` looks at traffic in full flow and picks an ego and an
actor for whom it can happen; ``act`` runs before every step and directs the actor alone, everyone
else keeps reacting as they always do; ``happened`` says from what it saw whether the behaviour was
really performed, when, and how strongly. A recording for which it says no is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.boxes import in_frame_of, overlap
from schemas.labels import AgentClass, LightState
from simulation.drivers import KINDS
from simulation.roads import Network
from simulation.signals import ALL_RED_S, YELLOW_S, SignalPlan
from simulation.traffic import DT, YELLOW_BRAKING, Obstacle, Traffic

NEAR_M = 50.0  # what happens farther from the ego than this does not count
NEAR_MISS_PET_S = 1.0  # as the predicate of that name has it
FREE_AHEAD_M = 20.0  # a stalled vehicle has so much of its lane to itself
BESIDE_M = 8.0  # who is farther to the side does not get past it, but drives elsewhere
WAITING_M = 65.0  # nearer before a junction, or where nobody knows what comes, one might wait
STANDS_BY_S, COMES_BY_S = (
    5.5,
    2.5,
)  # when it has stalled, and how soon after that the ego gets there
OFF_CROSSWALK_M = 10.0  # crossing nearer to a crosswalk than this is not jaywalking


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """That a behaviour was performed.

    Attributes:
        actors: Ids; who does it comes first.
        t0: Begin since the recording began [s].
        t1: End [s].
        measure: What was measured, SI units.
    """

    actors: tuple[int, ...]
    t0: float
    t1: float
    measure: dict[str, float]


@dataclass(slots=True, kw_only=True, eq=False)
class Script:
    """One planted behaviour.

    Attributes:
        ego: Slot of the ego.
        actor: Slot of the vehicle that misbehaves, −1 if it is not a vehicle.
        begin: When it starts [s].
        seen: What ``act`` noted, one row a step.
    """

    name: ClassVar[str]
    roads: ClassVar[tuple[str, ...]]
    by: ClassVar[AgentClass] = AgentClass.VEHICLE  # class of whoever does it

    ego: int
    actor: int = -1
    begin: float = 0.0
    seen: list[tuple[float, ...]] = field(default_factory=list)

    @classmethod
    def fits(cls, network: Network) -> bool:
        """Whether it can happen on this road at all."""
        return network.kind in cls.roads

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """Ego and actor for whom it can happen, None if there are none.

        Args:
            traffic: In full flow.
            egos: Slots of cars that may be the ego, the best first.
        """
        raise NotImplementedError

    def act(self, traffic: Traffic, t: float) -> None:
        """Direct the actor; called at every step with the time since the recording began [s]."""
        raise NotImplementedError

    def happened(self, traffic: Traffic) -> Happened | None:
        """Whether it was performed, from what was seen."""
        raise NotImplementedError

    def table(self) -> Float[Array, "steps columns"]:
        """What was seen; the first column is time."""
        return np.array(self.seen, dtype=np.float64)


def _gap_ahead(traffic: Traffic, i: int) -> tuple[float, float, int]:
    gap, speed, slot = traffic.leaders(np.array([i]))
    return float(gap[0]), float(speed[0]), int(slot[0])


def _uid(traffic: Traffic, i: int) -> int:
    return int(traffic.uid[i])


def _distance(traffic: Traffic, i: int, at: Array) -> float:
    x, y, _ = traffic.poses(np.array([i]))
    return float(np.hypot(x[0] - at[0], y[0] - at[1]))


def _point(traffic: Traffic, i: int) -> Array:
    x, y, _ = traffic.poses(np.array([i]))
    return np.array([x[0], y[0]])


def _lane(traffic: Traffic, i: int) -> int:
    return int(traffic.lane_of(np.array([i]))[0][0])


def _clear_of_junction(traffic: Traffic, way: int, s: float, margin: float) -> bool:
    """Whether a station lies in the open, away from junction, crosswalks and the road's ends."""
    ways = traffic.ways
    if ways.enter[way] - margin < s < ways.leave[way] + margin or s > ways.length[way] - 25.0:
        return False
    span = ways.crossing[way]
    on = ~np.isnan(span[:, 0])
    return not bool(((s > span[on, 0] - margin) & (s < span[on, 1] + margin)).any())


def _ahead_beside(traffic: Traffic, i: int, way: int, s: float) -> float:
    """How far ahead of i a station of the way of a lane beside is [m]; −∞ if no such lane is."""
    lane = traffic.network.lanes[_lane(traffic, i)]
    if not any(k >= 0 and k in traffic.ways.lanes[way] for k in (lane.left, lane.right)):
        return -np.inf
    return s - traffic.abreast(i, way)[0]


def _tells(traffic: Traffic, way: int, s: float) -> bool:
    """Whether nobody could take who stands at a station for somebody who waits, at a junction say."""
    ways = traffic.ways
    junction, end = float(ways.enter[way]) - s, float(ways.length[way]) - s
    near = 0.0 < junction < WAITING_M or end < WAITING_M
    return not near and _clear_of_junction(traffic, way, s, 22.0)


@dataclass(slots=True, kw_only=True, eq=False)
class CutIn(Script):
    """A neighbour moves into the ego's lane with too little room."""

    name = "cut_in"
    roads = ("highway", "straight", "curve")

    wanted: float = 0.5
    changing: bool = False

    @classmethod
    def fits(cls, network: Network) -> bool:
        """It takes two lanes."""
        return any(lane.left >= 0 for lane in network.lanes)

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng = traffic.rng
        cars = np.flatnonzero(traffic.alive & np.isin(traffic.cls, (1, 2)))
        for ego in egos:
            if traffic.v[ego] < 6.0:
                continue
            way = int(traffic.way[ego])
            for j in cars:
                lane = traffic.network.lanes[_lane(traffic, int(j))]
                beside = [k for k in (lane.left, lane.right) if k in traffic.ways.lanes[way]]
                if (
                    j == ego
                    or not beside
                    or traffic.s_len[j] > 0
                    or abs(traffic.v[j] - traffic.v[ego]) > 4.0
                ):
                    continue
                station, _ = traffic.abreast(int(j), way)
                gap = station - traffic.s[ego] - (traffic.length[j] + traffic.length[ego]) / 2
                if (
                    not 1.0 < gap < 28.0
                    or _gap_ahead(traffic, ego)[0] < gap + traffic.length[j] + 6.0
                ):
                    continue
                if traffic.ways.length[way] - station < 10.0 * traffic.v[ego]:
                    continue
                traffic.keeps_lane[[ego, int(j)]] = True
                return cls(ego=ego, actor=int(j), begin=float(rng.uniform(1.0, 4.0)),
                           wanted=float(rng.uniform(0.35, 0.65)))  # fmt: skip
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        i, j = self.ego, self.actor
        way = int(traffic.way[i])
        if self.changing:
            gap = traffic.s[j] - traffic.s[i] - (traffic.length[i] + traffic.length[j]) / 2
            self.seen.append(
                (t, float(gap), float(traffic.v[i]), abs(float(traffic.d[j])), float(traffic.a[i]))
            )
            if traffic.s_len[j] == 0:
                traffic.forced[j] = np.nan
            return
        station, _ = traffic.abreast(j, way)
        gap = station - traffic.s[i] - (traffic.length[i] + traffic.length[j]) / 2
        if t < self.begin:
            return
        v = float(traffic.v[i])
        target = max(self.wanted * v, 3.5)
        traffic.forced[j] = np.clip(0.8 * (v + 0.5 * (target - gap) - traffic.v[j]), -3.0, 2.0)
        placed = abs(gap - target) < 1.5 or (t > self.begin + 4.0 and 2.5 < gap < 0.85 * v)
        room = _gap_ahead(traffic, i)[0] > gap + traffic.length[j] + 2.5
        if placed and room and t < 15.0 and v > 4.0:
            traffic.change_lane(j, way, max(v * 2.3, 14.0))
            traffic.forced[j] = -0.3
            self.changing = True

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        if not self.seen:
            return None
        seen = self.table()
        inside = np.flatnonzero(seen[:, 3] < 1.5)
        if len(inside) == 0:
            return None
        gap, v = seen[inside[0], 1:3]
        headway = gap / max(v, 0.1)
        end = np.flatnonzero(seen[:, 3] < 0.02)
        if len(end) == 0 or not 0.0 < headway < 1.0:
            return None
        return Happened(
            actors=(_uid(traffic, self.actor), _uid(traffic, self.ego)),
            t0=float(seen[0, 0]), t1=float(seen[end[0], 0]),
            measure={"gap_m": float(gap), "headway_s": float(headway),
                     "ego_braking": float(-seen[:, 4].min())},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class HardBrake(Script):
    """The ego's leader brakes as hard as it can, for no visible reason."""

    name = "hard_brake"
    roads = (
        "highway", "straight", "curve", "residential", "signalled", "unsignalled", "all_way_stop"
    )  # fmt: skip

    braking: float = 6.0
    until: float = 0.0
    done: bool = False

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng = traffic.rng
        for ego in egos:
            gap, _, j = _gap_ahead(traffic, ego)
            if not 6.0 < gap < 38.0 or traffic.v[j] < 7.0 or traffic.cls[j] == AgentClass.CYCLIST:
                continue
            way = int(traffic.way[j])
            begin = float(rng.uniform(1.5, 7.0))
            where = float(traffic.s[j] + traffic.v[j] * begin)
            if _clear_of_junction(traffic, way, where, 25.0):
                traffic.keeps_lane[[ego, j]] = True
                return cls(ego=ego, actor=j, begin=begin, braking=float(rng.uniform(5.6, 7.8)),
                           until=float(rng.uniform(0.0, 0.45)) * float(traffic.v[j]))  # fmt: skip
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        i, j = self.ego, self.actor
        if not traffic.alive[j]:
            return
        gap = traffic.s[j] - traffic.s[i] - (traffic.length[i] + traffic.length[j]) / 2
        v = float(traffic.v[j])
        if not self.done and t >= self.begin:
            if v <= max(self.until, 0.5) or t > self.begin + 5.0:
                self.done = True
                traffic.forced[j] = np.nan
            else:
                traffic.forced[j] = -self.braking
        self.seen.append((t, float(gap), v, float(traffic.a[j]), float(traffic.a[i])))

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        hard = np.flatnonzero(seen[:, 3] <= -5.0) if len(seen) else np.zeros(0)
        if len(hard) < 5 or _gap_ahead(traffic, self.ego)[0] <= 0.0:
            return None
        first = seen[max(int(hard[0]) - 2, 0)]
        if not 0.0 < first[1] < 45.0 or (seen[:, 1] <= 0.0).any():
            return None
        return Happened(
            actors=(_uid(traffic, self.actor), _uid(traffic, self.ego)),
            t0=float(first[0]), t1=float(seen[int(hard[-1]), 0]),
            measure={"braking": float(-seen[:, 3].min()), "speed_before": float(first[2]),
                     "gap_m": float(seen[:, 1].min()), "ego_braking": float(-seen[:, 4].min())},
        )  # fmt: skip


def _crossing_line(traffic: Traffic, way: int, s: float) -> tuple[Array, Array, float] | None:
    """Where someone on foot would cross the whole road at a station of a way.

    Returns:
        A point on the right kerb's footway, the unit vector across, and how far to the footway on
        the other side [m]; None where the road has no two kerbs.
    """
    x, y, yaw, _ = (float(q[0]) for q in traffic.ways.pose(np.array([way]), np.array([s])))
    box = np.array([x, y, yaw, 0.0, 0.0])
    left, right = [], []
    for kerb in traffic.network.kerbs:
        local = in_frame_of(kerb, np.broadcast_to(box, (len(kerb), 5)))
        near = local[np.abs(local[:, 0]) < 1.0, 1]
        left += [float(d) for d in near if d > 0.0]
        right += [float(d) for d in near if d < 0.0]
    if not left or not right or min(left) - max(right) > 30.0:
        return None
    across = np.array([-np.sin(yaw), np.cos(yaw)])
    start = np.array([x, y]) + (max(right) - 0.7) * across
    return start, across, min(left) - max(right) + 1.4


@dataclass(slots=True, kw_only=True, eq=False)
class Jaywalking(Script):
    """Somebody crosses where there is no crosswalk, close enough that the ego must react."""

    name = "jaywalking"
    by = AgentClass.PEDESTRIAN
    roads: ClassVar[tuple[str, ...]] = (
        "straight", "curve", "residential", "unsignalled", "all_way_stop", "signalled"
    )  # fmt: skip

    station: float
    person: Obstacle
    across: Array
    width: float
    pace: float
    ahead_s: float
    started: float = -1.0

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        return cls._cast(traffic, egos, pace=(1.2, 2.0), ahead_s=(2.6, 3.8), blind=False)

    @classmethod
    def _cast(
        cls, traffic: Traffic, egos: Sequence[int], *, pace: tuple[float, float],
        ahead_s: tuple[float, float], blind: bool,
    ) -> Script | None:  # fmt: skip
        rng = traffic.rng
        for ego in egos:
            v, way = float(traffic.v[ego]), int(traffic.way[ego])
            if v < 5.5:
                continue
            reach = v * float(rng.uniform(4.5, 9.0))
            s = float(traffic.s[ego]) + reach
            gap, _, _ = _gap_ahead(traffic, ego)
            if (
                not _clear_of_junction(traffic, way, s, OFF_CROSSWALK_M + 4.0)
                or gap < 0.6 * v + 3.0
            ):
                continue
            if blind and (gap < 30.0 or not _clear_of_junction(traffic, way, s - reach / 2, 20.0)):
                continue
            line = _crossing_line(traffic, way, s)
            if line is None:
                continue
            start, across, width = line
            if rng.random() < 0.35:
                start, across = start + width * across, -across
            parked = np.array([p.at for p in traffic.parked]).reshape(-1, 2)
            beside = parked - start
            along = beside @ np.array([across[1], -across[0]])
            if (np.abs(along) < 3.2).any() and (
                np.hypot(*beside[np.abs(along) < 3.2].T) < 30.0
            ).any():
                continue
            person = Obstacle(
                uid=traffic.new_uid(), cls=AgentClass.PEDESTRIAN, at=start.copy(),
                yaw=float(np.arctan2(across[1], across[0])), size=(0.5, 0.6, float(rng.uniform(1.55, 1.9))),
                velocity=np.zeros(2), ignored_by=frozenset({ego}) if blind else frozenset(),
            )  # fmt: skip
            traffic.obstacles.append(person)
            traffic.keeps_lane[ego] = True
            return cls(ego=ego, station=s, person=person, across=across, width=width,
                       pace=float(rng.uniform(*pace)), ahead_s=float(rng.uniform(*ahead_s)))  # fmt: skip
        return None

    def _front(self, traffic: Traffic) -> float:
        """From the ego's front to the crossing line [m]."""
        return float(self.station - traffic.s[self.ego] - traffic.length[self.ego] / 2)

    def _beside(self, traffic: Traffic) -> float:
        """How far the person has yet to go to the middle of the ego's way, negative after it [m]."""
        x, y, yaw, _ = traffic.ways.pose(traffic.way[[self.ego]], np.array([self.station]))
        aside = traffic.d[self.ego] + traffic.aside[self.ego]
        at = np.array([x[0] - aside * np.sin(yaw[0]), y[0] + aside * np.cos(yaw[0])])
        return float((at - self.person.at) @ self.across)

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        front, v = self._front(traffic), max(float(traffic.v[self.ego]), 0.1)
        if (
            self.started < 0.0
            and front > 0.0
            and v > 4.0
            and self._go(front, v, self._beside(traffic))
        ):
            self.started = t
            self.person.velocity = self.pace * self.across
        gone = 0.0 if self.started < 0.0 else (t - self.started) * self.pace
        if gone >= self.width:
            self.person.velocity = np.zeros(2)
        self.seen.append((
            t, front, v, self._beside(traffic), float(traffic.a[self.ego]),
            _distance(traffic, self.ego, self.person.at), gone,
        ))  # fmt: skip

    def _go(self, front: float, v: float, to_middle: float) -> bool:
        del to_middle
        return front / v < self.ahead_s

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        walking = (seen[:, 6] > 0.0) & (seen[:, 6] < self.width)
        if self.started < 0.0 or not (seen[:, 6] >= self.width).any():
            return None
        before = walking & (seen[:, 3] > 1.2)
        if not before.any() or not (seen[before, 1] > 0.0).all() or seen[before, 5].min() > NEAR_M:
            return None
        return Happened(
            actors=(self.person.uid, _uid(traffic, self.ego)),
            t0=self.started, t1=float(seen[np.flatnonzero(walking)[-1], 0]),
            measure={"distance_m": float(seen[walking, 5].min()),
                     "ego_braking": float(-seen[walking, 4].min()), "pace": self.pace},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class NearMiss(Jaywalking):
    """Somebody runs across just ahead of an ego that does not see them: PET under 1 s."""

    name = "near_miss"
    by = AgentClass.PEDESTRIAN
    roads = ("straight", "curve", "unsignalled")

    boxes: list[tuple[Array, Array]] = field(
        default_factory=list
    )  # of person and ego, a step each

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        # ``ahead_s`` is the encroachment time that is aimed at.
        return cls._cast(traffic, egos, pace=(2.4, 3.6), ahead_s=(0.5, 1.0), blind=True)

    def _go(self, front: float, v: float, to_middle: float) -> bool:
        clear = (to_middle + 1.0 + 0.35) / self.pace
        return front / v - clear <= self.ahead_s

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        Jaywalking.act(self, traffic, t)
        i, person = self.ego, self.person
        x, y, yaw = (float(q[0]) for q in traffic.poses(np.array([i])))
        self.boxes.append((
            np.array([*person.at, person.yaw, *person.size[:2]]),
            np.array([x, y, yaw, traffic.length[i], traffic.width[i]]),
        ))  # fmt: skip

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`; the time is that between the boxes on ground they share."""
        seen = self.table()
        if self.started < 0.0:
            return None
        person, ego = (np.array(boxes) for boxes in zip(*self.boxes, strict=True))
        first, second = np.nonzero(overlap(*np.broadcast_arrays(person[:, None], ego[None])))
        if len(first) == 0:
            return None
        leaves, enters = int(first.max()), int(second.min())
        pet = (enters - leaves) * DT
        if not 0.0 < pet < NEAR_MISS_PET_S - DT / 2:  # times are known to a step
            return None
        return Happened(
            actors=(self.person.uid, _uid(traffic, self.ego)),
            t0=self.started, t1=float(seen[enters, 0]),
            measure={"post_encroachment_s": pet, "ego_speed": float(seen[enters, 2])},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class RedLightRunning(Script):
    """A driver goes on over the stop line although the light has turned red."""

    name = "red_light_running"
    roads = ("signalled",)

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`; the actor is whoever comes at the right moment later on."""
        near = [e for e in egos if np.hypot(*_point(traffic, e)) < 60.0]
        # The best ego stands at the line or comes to it, and so stays near for a while.
        ways = traffic.ways
        before = [e for e in near if traffic.s[e] < ways.enter[traffic.way[e]] - 2.0]
        return cls(ego=before[0]) if before else None

    def _runner(self, traffic: Traffic) -> int:
        """A driver who would just have to stop if the light turned yellow now, −1 for none."""
        ways, lights = traffic.ways, traffic.light()
        for j in np.flatnonzero(
            traffic.alive & np.isin(traffic.cls, (1, 2, 4)) & (traffic.v > 6.0)
        ):
            m = int(ways.movement[traffic.way[j]])
            if m < 0 or j == self.ego or ways.rank[m] != 0:
                continue
            line = float(ways.enter[traffic.way[j]] - traffic.s[j] - traffic.length[j] / 2)
            late = line / float(traffic.v[j]) - YELLOW_S
            if lights[ways.group[m]] != LightState.GREEN or not 0.35 < late < 1.5:
                continue
            gap, speed, leader = _gap_ahead(traffic, int(j))
            ahead = (
                line - gap - float(traffic.length[leader])
            )  # from the leader's front to the line
            if ahead <= 0.0 or speed**2 / (2.0 * ahead) > 1.1 * YELLOW_BRAKING:
                return int(j)
        return -1

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        ways, plan = traffic.ways, traffic.network.signals
        if self.actor < 0:
            runner = self._runner(traffic) if 0.5 < t < 14.0 else -1
            if runner < 0 or plan is None or np.hypot(*_point(traffic, self.ego)) > 55.0:
                return
            group = int(ways.group[ways.movement[traffic.way[runner]]])
            shifted = _green_ends(plan, group, traffic.t)
            if shifted is None:
                return
            traffic.network = replace(traffic.network, signals=shifted)
            traffic.keeps_lane[runner] = True
            self.actor = runner
        j = self.actor
        if not traffic.alive[j]:
            return
        m = int(ways.movement[traffic.way[j]])
        front = float(traffic.s[j] + traffic.length[j] / 2 - ways.enter[traffic.way[j]])
        out = traffic.s[j] - traffic.length[j] / 2 > ways.leave[traffic.way[j]]
        traffic.reckless[j] = not out
        self.seen.append((
            t, front, float(traffic.light()[ways.group[m]]), float(traffic.v[j]),
            _distance(traffic, self.ego, _point(traffic, j)), float(out),
        ))  # fmt: skip

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        if len(seen) == 0:
            return None
        over = np.flatnonzero(seen[:, 1] > 0.0)
        out = np.flatnonzero(seen[:, 5] > 0.0)
        if len(over) == 0 or len(out) == 0 or over[0] < 4:
            return None
        at = int(over[0])
        red = seen[: at + 1, 2] == LightState.RED
        since = int(np.argmin(red[::-1])) if not red.all() else len(red)
        if (
            since <= 3  # as many steps of red are less than 0.3 s
            or since * DT > ALL_RED_S + 4.0
            or seen[at, 3] < 4.0
            or seen[at, 4] > NEAR_M + 20.0
        ):
            return None
        return Happened(
            actors=(_uid(traffic, self.actor),), t0=float(seen[at, 0]), t1=float(seen[out[0], 0]),
            measure={"after_red_s": since * DT, "speed": float(seen[at, 3])},
        )  # fmt: skip


def _green_ends(plan: SignalPlan, group: int, t: float) -> SignalPlan | None:
    """The plan moved in time so that the green now shown to a group gives way to yellow at once."""
    now = (t + plan.offset) % plan.cycle
    phase = int(np.searchsorted(plan.ends, now, side="right"))
    begin = float(plan.ends[phase - 1]) if phase else 0.0
    if plan.states[phase, group] != LightState.GREEN or now - begin < 3.0:
        return None
    offset = (float(plan.ends[phase]) - DT / 2 - t) % plan.cycle
    return replace(plan, offset=float(np.round(offset, 6)))


@dataclass(slots=True, kw_only=True, eq=False)
class WrongWay(Script):
    """A car comes against the direction of the ego's lane, or of the one beside it."""

    name = "wrong_way"
    roads = ("straight", "curve", "highway")

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng, ways = traffic.rng, traffic.ways
        for ego in egos:
            way = int(traffic.way[ego])
            v = float(traffic.v[ego])
            if v < 6.0 or ways.dead_end[way]:
                continue
            lane = traffic.network.lanes[_lane(traffic, ego)]
            beside = [k for k in (lane.left, lane.right) if k >= 0]
            chosen = (
                beside[int(rng.integers(len(beside)))]
                if beside and rng.random() < 0.6
                else _lane(traffic, ego)
            )
            back = [
                w for w in range(len(ways.lanes)) if ways.against[w] and chosen in ways.lanes[w]
            ]
            pace = float(rng.uniform(0.5, 0.75)) * lane.speed_limit
            distance = min((v + pace) * float(rng.uniform(4.0, 7.0)), 190.0)
            s_ahead = float(traffic.s[ego]) + distance
            if not back or s_ahead > ways.length[way] - 12.0:
                continue
            x, y, _, _ = ways.pose(np.array([way]), np.array([s_ahead]))
            s, _, _ = traffic.locate(np.array([x[0], y[0]]))
            # A way that begins or ends short of there, as a ramp's does, has no such place.
            back = [w for w in back if 5.0 < s[w] < ways.length[w] - 25.0]
            if not back:
                continue
            rows = np.flatnonzero(traffic.alive)
            px, py, _ = traffic.poses(rows)
            at = ways.pose(np.array(back[:1]), s[back[:1]])
            if np.hypot(px - at[0][0], py - at[1][0]).min() < 8.0:
                continue
            gap, speed, _ = traffic.leaders(np.array([ego]), way=np.array(back[:1]), s=s[back[:1]])
            if gap[0] < 3.4 * (pace - float(speed[0])) + 10.0:
                continue  # whoever comes first could not stop
            actor = traffic.add(KINDS[0], back[0], float(s[back[0]]), pace)
            traffic.top[actor] = pace
            traffic.keeps_lane[actor] = True
            return cls(ego=ego, actor=actor)
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        j = self.actor
        if traffic.alive[j]:
            self.seen.append(
                (t, _distance(traffic, self.ego, _point(traffic, j)), float(traffic.v[j]))
            )

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        near = np.flatnonzero((seen[:, 1] < 80.0) & (seen[:, 2] > 1.5))
        if len(near) < 15 or seen[near, 1].min() > NEAR_M:
            return None
        return Happened(
            actors=(_uid(traffic, self.actor), _uid(traffic, self.ego)),
            t0=float(seen[near[0], 0]), t1=float(seen[near[-1], 0]),
            measure={"distance_m": float(seen[:, 1].min()), "speed": float(seen[near, 2].max())},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class StalledVehicle(Script):
    """A vehicle comes to a halt in its lane ahead of the ego, and stays, while traffic gets past it.

    It is one that can be told from who waits: the lane ahead of it is free, no junction is near
    at which it might, and the ego, in the lane beside, gets past it while it stands.
    """

    name = "stalled_vehicle"
    roads = ("straight", "curve", "highway", "signalled", "unsignalled")

    braking: float = 2.0
    behind: set[int] = field(default_factory=set)
    past: set[int] = field(default_factory=set)

    @classmethod
    def fits(cls, network: Network) -> bool:
        """It takes a lane on which traffic gets past."""
        return any(lane.left >= 0 for lane in network.lanes)

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng, ways = traffic.rng, traffic.ways
        for ego in egos:
            for j in rng.permutation(np.flatnonzero(traffic.alive)).tolist():
                if traffic.v[j] < 3.0 or traffic.cls[j] not in (1, 2, 3):
                    continue
                way, v = int(traffic.way[j]), float(traffic.v[j])
                ahead = _ahead_beside(traffic, ego, way, float(traffic.s[j]))
                begin, braking = float(rng.uniform(0.2, 1.5)), float(rng.uniform(1.8, 3.2))
                stands, halt = begin + v / braking, v * begin + v**2 / 2 / braking
                # The ego comes by once it stands.
                comes = (ahead + halt) / max(float(traffic.v[ego]), 1.0) - stands
                if not (0.5 < comes < COMES_BY_S and stands < STANDS_BY_S) or ways.dead_end[way]:
                    continue
                if _tells(traffic, way, float(traffic.s[j]) + halt):
                    traffic.keeps_lane[[ego, j]] = True
                    return cls(ego=ego, actor=j, begin=begin, braking=braking)
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        j = self.actor
        if t >= self.begin:
            traffic.forced[j] = -self.braking if traffic.v[j] > 0.0 else 0.0
        if traffic.v[j] == 0.0:
            self._look_round(traffic)
        self.seen.append((
            t, _distance(traffic, self.ego, _point(traffic, j)), float(traffic.v[j]),
            _gap_ahead(traffic, j)[0],
        ))  # fmt: skip

    def _look_round(self, traffic: Traffic) -> None:
        """Note who is behind, and who of them is past."""
        rows = np.flatnonzero(traffic.alive)
        rows = rows[rows != self.actor]
        (x,), (y,), (yaw,) = traffic.poses(np.array([self.actor]))
        others = np.stack(traffic.poses(rows), axis=-1)
        local = in_frame_of(others[:, :2], np.broadcast_to([x, y, yaw, 0.0, 0.0], (len(rows), 5)))
        along = (np.cos(others[:, 2] - yaw) > 0.7) & (np.abs(local[:, 1]) < BESIDE_M)
        room = (traffic.length[rows] + traffic.length[self.actor]) / 2
        ids = traffic.uid[rows]
        self.behind.update(ids[along & (local[:, 0] < -room)].tolist())
        self.past.update(self.behind & set(ids[along & (local[:, 0] > room)].tolist()))

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        still = np.flatnonzero(seen[:, 2] == 0.0)
        if len(still) < 60 or seen[still, 1].min() > NEAR_M:
            return None
        if seen[still, 3].min() < FREE_AHEAD_M or _uid(traffic, self.ego) not in self.past:
            return None
        if not _tells(traffic, int(traffic.way[self.actor]), float(traffic.s[self.actor])):
            return None
        return Happened(
            actors=(_uid(traffic, self.actor),), t0=float(seen[still[0], 0]), t1=float(seen[still[-1], 0]),
            measure={"halted_s": len(still) * DT, "distance_m": float(seen[still, 1].min()),
                     "got_past": float(len(self.past)), "free_ahead_m": float(min(seen[still, 3].min(), 999.0)),
                     "ego_past": float(_uid(traffic, self.ego) in self.past)},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Debris(Script):
    """Something lies in the ego's lane."""

    name = "debris"
    roads = ("straight", "curve", "highway")

    thing: Obstacle
    way: int

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng = traffic.rng
        for ego in egos:
            v, way = float(traffic.v[ego]), int(traffic.way[ego])
            if v < 5.0 or traffic.ways.dead_end[way]:
                continue
            lane = traffic.network.lanes[_lane(traffic, ego)]
            if max(lane.left, lane.right) < 0 and rng.random() < 0.7:
                continue  # without a lane to swerve to, traffic ends there
            s = float(traffic.s[ego]) + v * float(rng.uniform(5.0, 7.5))
            rows = np.flatnonzero(traffic.alive & (traffic.way == way))
            ahead = s - traffic.s[rows]
            blocked = (ahead > -8.0) & (ahead < traffic.v[rows] ** 2 / 6.0 + 8.0)
            if blocked.any() or not _clear_of_junction(traffic, way, s, 15.0):
                continue
            x, y, yaw, _ = (float(q[0]) for q in traffic.ways.pose(np.array([way]), np.array([s])))
            d = float(rng.uniform(-0.6, 0.6))
            side = float(rng.uniform(0.5, 1.1))
            thing = Obstacle(
                uid=traffic.new_uid(), cls=AgentClass.OBSTACLE,
                at=np.array([x - d * np.sin(yaw), y + d * np.cos(yaw)]),
                yaw=float(wrap(np.array(yaw + rng.uniform(-1.5, 1.5)))),
                size=(float(rng.uniform(0.5, 1.3)), side, float(rng.uniform(0.3, 0.9))), velocity=np.zeros(2),
            )  # fmt: skip
            traffic.obstacles.append(thing)
            return cls(ego=ego, thing=thing, way=way)
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        self.seen.append((t, _distance(traffic, self.ego, self.thing.at)))

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        del traffic
        seen = self.table()
        near = np.flatnonzero(seen[:, 1] < NEAR_M)
        if len(near) < 5:
            return None
        return Happened(
            actors=(self.thing.uid,), t0=float(seen[near[0], 0]), t1=float(seen[near[-1], 0]),
            measure={"distance_m": float(seen[:, 1].min())},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Swerve(Script):
    """A vehicle near the ego lurches to the side and back."""

    name = "swerve"
    roads = ("straight", "curve", "highway", "signalled", "unsignalled")

    out: float = 1.2
    phase: int = 0

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng = traffic.rng
        for ego in egos:
            gap, _, j = _gap_ahead(traffic, ego)
            if not 6.0 < gap < 35.0 or traffic.v[j] < 7.0 or traffic.cls[j] != AgentClass.VEHICLE:
                continue
            begin = float(rng.uniform(1.5, 7.0))
            where = float(traffic.s[j] + traffic.v[j] * (begin + 1.5))
            if _clear_of_junction(traffic, int(traffic.way[j]), where, 30.0):
                traffic.keeps_lane[[ego, j]] = True
                return cls(ego=ego, actor=j, begin=begin,
                           out=float(rng.choice([-1.0, 1.0]) * rng.uniform(1.0, 1.5)))  # fmt: skip
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        j = self.actor
        if not traffic.alive[j]:
            return
        v = float(traffic.v[j])
        if t >= self.begin and traffic.s_len[j] == 0.0 and self.phase < 2 and v > 5.0:
            traffic.shift(
                j, self.out if self.phase == 0 else 0.0, v * (1.2 if self.phase == 0 else 1.5)
            )
            self.phase += 1
        self.seen.append(
            (t, float(traffic.d[j]), v, _distance(traffic, self.ego, _point(traffic, j)))
        )

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        moved = np.flatnonzero(np.abs(seen[:, 1]) > 0.05) if len(seen) else np.zeros(0, dtype=int)
        if self.phase < 2 or len(moved) < 5 or np.abs(seen[:, 1]).max() < 0.9:
            return None
        if abs(seen[-1, 1]) > 0.05 or seen[moved, 3].min() > NEAR_M:
            return None
        lateral = np.abs(np.diff(seen[:, 1])).max() / DT
        return Happened(
            actors=(_uid(traffic, self.actor),), t0=float(seen[moved[0], 0]), t1=float(seen[moved[-1], 0]),
            measure={"offset_m": float(np.abs(seen[:, 1]).max()), "lateral_speed": float(lateral)},
        )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class EmergencyVehicle(Script):
    """A police car comes from behind, far too fast; whoever is ahead of it makes way."""

    name = "emergency_vehicle"
    roads = ("straight", "curve", "highway")

    limit: float
    yielded: set[int] = field(default_factory=set)

    @classmethod
    def fits(cls, network: Network) -> bool:
        """It takes a lane to move over to."""
        return any(lane.left >= 0 for lane in network.lanes)

    @classmethod
    def cast(cls, traffic: Traffic, egos: Sequence[int]) -> Script | None:
        """See :meth:`Script.cast`."""
        rng, ways = traffic.rng, traffic.ways
        for ego in egos:
            way, v = int(traffic.way[ego]), float(traffic.v[ego])
            lane = traffic.network.lanes[_lane(traffic, ego)]
            s = float(traffic.s[ego]) - float(rng.uniform(30.0, 75.0))
            pace = float(rng.uniform(1.2, 1.4)) * lane.speed_limit
            if max(lane.left, lane.right) < 0 or ways.dead_end[way] or v < 4.0 or s < 8.0:
                continue
            x, y, _, _ = ways.pose(np.array([way]), np.array([s]))
            rows = np.flatnonzero(traffic.alive)
            px, py, _ = traffic.poses(rows)
            gap, speed, _ = traffic.leaders(np.array([ego]), way=np.array([way]), s=np.array([s]))
            start = min(pace, float(speed[0]) + 0.25 * float(gap[0]))
            if np.hypot(px - x[0], py - y[0]).min() < 10.0 or gap[0] < 14.0:
                continue
            actor = traffic.add(KINDS[0], way, s, start)
            traffic.eagerness[actor], traffic.politeness[actor] = pace / lane.speed_limit, 0.0
            traffic.power[actor], traffic.headway[actor] = 2.5, 0.6
            traffic.words[_uid(traffic, actor)] = "EMERGENCY_VEHICLE"
            return cls(ego=ego, actor=actor, limit=lane.speed_limit)
        return None

    def act(self, traffic: Traffic, t: float) -> None:
        """See :meth:`Script.act`."""
        j = self.actor
        if not traffic.alive[j]:
            return
        gap, _, i = _gap_ahead(traffic, j)
        if gap < 60.0 and traffic.s_len[i] == 0.0 and i not in self.yielded and traffic.v[i] > 2.0:
            self._make_way(traffic, i)
        self.seen.append(
            (t, _distance(traffic, self.ego, _point(traffic, j)), float(traffic.v[j]))
        )

    def _make_way(self, traffic: Traffic, i: int) -> None:
        """Into a neighbouring lane, the right one first, if there is room beside."""
        here = traffic.network.lanes[_lane(traffic, i)]
        rows = np.flatnonzero(traffic.alive)
        lane, along = traffic.lane_of(rows)
        for beside in (here.right, here.left):
            ways = [w for w in traffic.ways.through(beside) if not traffic.ways.dead_end[w]]
            if beside < 0 or not ways:
                continue
            station, _ = traffic.abreast(i, ways[0])
            at = station - float(traffic.ways.offset[ways[0], beside])
            apart = np.abs(along[lane == beside] - at)
            if (apart < 9.0 + 0.4 * traffic.v[i]).any():
                continue
            traffic.change_lane(i, ways[0], max(2.6 * float(traffic.v[i]), 16.0))
            traffic.keeps_lane[i] = True
            traffic.top[i] = 0.8 * float(traffic.v[i])
            self.yielded.add(i)
            return

    def happened(self, traffic: Traffic) -> Happened | None:
        """See :meth:`Script.happened`."""
        seen = self.table()
        if len(seen) == 0 or not self.yielded:
            return None
        near = np.flatnonzero(seen[:, 1] < NEAR_M)
        if len(near) < 15 or seen[near, 2].max() < 1.05 * self.limit:
            return None
        return Happened(
            actors=(_uid(traffic, self.actor),), t0=float(seen[near[0], 0]), t1=float(seen[near[-1], 0]),
            measure={"speed": float(seen[near, 2].max()), "made_way": float(len(self.yielded)),
                     "distance_m": float(seen[:, 1].min())},
        )  # fmt: skip


BEHAVIOURS: dict[str, type[Script]] = {
    script.name: script
    for script in (
        CutIn, HardBrake, Jaywalking, NearMiss, RedLightRunning, WrongWay, StalledVehicle, Debris, Swerve,
        EmergencyVehicle,
    )
}  # fmt: skip
"""Every behaviour that can be planted, in the order of the documentation."""

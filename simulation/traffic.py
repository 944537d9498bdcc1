"""Reactive traffic on a procedural road, ten steps a second.

Everyone follows a way (Frenet coordinates: station s, offset d) so that headings, speeds and
curvature belong together: the heading is that of the path driven, ψ = ψ_way + atan(d′/(1 − κd)),
and nothing slides, not even when it stops half way through a lane change. Who drives how is drawn from
:mod:`simulation.drivers`.

* along: the Intelligent Driver Model towards leaders, stop lines, crosswalks and obstacles
  (Treiber et al. 2000), with bounded jerk and a restless foot;
* across: MOBIL decides on lane changes (Kesting et al. 2007), driven as quintics in distance; within
  the lane everyone keeps a place of its own and drifts about it;
* at conflicts: gap acceptance in time windows, who is committed goes, ranks and signals decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from schemas.labels import AgentClass, LightState
from simulation import walkers as feet
from simulation.drivers import (
    EDGE_M,
    KINDS,
    NARROW_M,
    NARROWING_M,
    SHARES,
    Kind,
    draw_habit,
    drift,
    drift_rate,
    foot,
)
from simulation.idm import BRAKE_MAX, GAP_FLOOR_M, Idm, free, interaction
from simulation.roads import Network
from simulation.walkers import Walker
from simulation.ways import Ways, ways_of

DT = 0.1  # [s]
CAPACITY = 320
FILLED = 220
JERK_UP = 5.0  # [m/s³]
JERK_DOWN = 25.0  # [m/s³]
LANE_CHANGE_EVERY = 8  # steps between a driver's thoughts of changing lanes
SAFE_BRAKING = 2.5  # [m/s²] at most asked of the follower in the new lane
THRESHOLD = 0.25  # [m/s²] gain below which nobody bothers to change lanes
YELLOW_BRAKING = 3.0  # [m/s²] who needs more than this to stop for yellow goes on
GENTLE_BRAKING = 2.0  # [m/s²] who needs less to stop, stops, although it had meant to go
SIGHT_M = 90.0  # how far from a junction its conflicts are watched
FAR = 1e6
COOLNESS = 0.95
OUTFLOW_M = 60.0  # before its end, a road's traffic already feels what is congested beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """How conditions change how people drive.

    Attributes:
        speed: Factor on wanted speeds.
        headway: Factor on time headways.
        density: Factor on the number of road users.
        absent: Classes of road users, by their words, of which nobody is out.
    """

    speed: float = 1.0
    headway: float = 1.0
    density: float = 1.0
    absent: frozenset[str] = frozenset()


WIDE_BEND = 0.085  # [1/m] tightest bend that trucks take; buses take two thirds of it


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Where everyone is at one moment, in the local frame.

    Attributes:
        uid: Ids.
        x: [m].
        y: [m].
        yaw: [rad].
        speed: [m/s].
        acceleration: Along the heading [m/s²].
    """

    uid: Int[Array, " agents"]
    x: Float[Array, " agents"]
    y: Float[Array, " agents"]
    yaw: Float[Array, " agents"]
    speed: Float[Array, " agents"]
    acceleration: Float[Array, " agents"]


@dataclass(slots=True, eq=False)
class Obstacle:
    """A thing or person off the ways that drivers must not hit.

    Attributes:
        uid: Id.
        cls: What it is.
        at: Position [m].
        yaw: [rad].
        size: (length, width, height) [m].
        velocity: (vx, vy) [m/s].
        ignored_by: Slots of drivers who do not see it.
    """

    uid: int
    cls: AgentClass
    at: Float[Array, 2]
    yaw: float
    size: tuple[float, float, float]
    velocity: Float[Array, 2]
    ignored_by: frozenset[int] = frozenset()


class Traffic:
    """All road users of a network; ``step`` moves them on by ``DT``.

    Vehicles live in slots of parallel arrays; a slot is never used twice, so a slot is an identity.
    """

    def __init__(self, network: Network, rng: np.random.Generator, climate: Climate) -> None:
        self.network, self.rng, self.climate = network, rng, climate
        self.ways: Ways = ways_of(network)
        self.t = 0.0
        self.steps = 0
        self.count = 0
        self.next_uid = 0
        real = ("s", "d", "v", "a", "length", "width", "height", "headway", "gap", "power", "braking",
                "eagerness", "politeness", "margin", "d_from", "d_to", "s_from", "s_len", "old_shift",
                "waited", "forced", "top", "progress", "room", "aside")  # fmt: skip
        for name in real:
            setattr(self, name, np.zeros(CAPACITY))
        self.habit = np.zeros((CAPACITY, 10))
        self.outflow = np.inf  # [m/s] at which vehicles can leave at the roads' ends
        self.way = np.zeros(CAPACITY, dtype=np.int64)
        self.old_way = np.full(CAPACITY, -1)
        self.cls = np.zeros(CAPACITY, dtype=np.int64)
        self.uid = np.full(CAPACITY, -1)
        self.alive = np.zeros(CAPACITY, dtype=bool)
        self.committed = np.zeros(CAPACITY, dtype=bool)
        self.reckless = np.zeros(CAPACITY, dtype=bool)
        self.keeps_lane = np.zeros(CAPACITY, dtype=bool)
        self.forced[:] = np.nan
        self.top[:] = np.inf
        self.walkers: list[Walker] = []
        self.everyone_on_foot: list[Walker] = []
        self.words: dict[int, str] = {}  # what some are called more exactly, by id
        self.obstacles: list[Obstacle] = []
        self.parked: list[Obstacle] = []
        self.lane_length = np.array([lane.curve.length for lane in network.lanes])
        self.left = np.array([lane.left for lane in network.lanes])
        self.right = np.array([lane.right for lane in network.lanes])
        self._through = [self.ways.through(lane) for lane in range(len(network.lanes))]
        self._entry_ways = [
            [w for w in self._through[e] if self.ways.lanes[w][0] == e] for e in network.entries
        ]
        self._next_entry = rng.exponential(2.0, len(self._entry_ways))
        self._bend = np.abs(self.ways.curvature).max(axis=1)

    s: Array
    d: Array
    v: Array
    a: Array
    length: Array
    width: Array
    height: Array
    headway: Array
    gap: Array
    power: Array
    braking: Array
    eagerness: Array
    politeness: Array
    margin: Array
    d_from: Array
    d_to: Array
    s_from: Array
    s_len: Array
    old_shift: Array
    waited: Array
    forced: Array
    top: Array
    progress: Array
    room: Array
    aside: Array

    # -- who is there ---------------------------------------------------------------------------

    def new_uid(self) -> int:
        """The next free id."""
        self.next_uid += 1
        return self.next_uid - 1

    def add(self, kind: Kind, way: int, s: float, v: float, *, d: float = 0.0) -> int:
        """A new vehicle; returns its slot."""
        i = self.count
        assert i < CAPACITY, "the capacity covers every flow that the roads are given"
        self.count += 1
        rng = self.rng
        self.way[i], self.s[i], self.d[i], self.v[i] = way, s, d, v
        self.d_from[i] = self.d_to[i] = d
        self.cls[i], self.uid[i], self.alive[i] = int(kind.cls), self.new_uid(), True
        for name, bounds in (
            ("length", kind.length), ("width", kind.width), ("height", kind.height)
        ):  # fmt: skip
            getattr(self, name)[i] = np.round(rng.uniform(*bounds), 3)
        for name, spread in (
            ("power", kind.acceleration), ("braking", kind.braking), ("eagerness", kind.eagerness)
        ):  # fmt: skip
            getattr(self, name)[i] = np.round(spread.draw(rng), 3)
        self.headway[i] = kind.headway.draw(rng) * self.climate.headway
        self.gap[i] = rng.uniform(1.5, 2.8)
        self.habit[i] = draw_habit(rng)
        self.room[i] = max((self.ways.width[way] - self.width[i]) / 2 - EDGE_M, 0.05)
        self.aside[i] = self.offset(np.array([i]))[0][0] - d
        self.politeness[i] = rng.uniform(0.1, 0.5)
        self.margin[i] = rng.uniform(1.0, 2.2)
        self.eagerness[i] *= self.climate.speed
        return i

    def kind_for(self, way: int) -> Kind:
        """A kind of vehicle that may drive a way."""
        if self.ways.bike[way]:
            return KINDS[4]
        out = [kind.cls.word not in self.climate.absent for kind in KINDS[:4]]
        kind = KINDS[int(self.rng.choice(4, p=SHARES * out / (SHARES * out).sum()))]
        bend = self._bend[way]
        too_wide = {AgentClass.TRUCK: WIDE_BEND, AgentClass.BUS: WIDE_BEND * 2 / 3}
        return KINDS[0] if bend > too_wide.get(kind.cls, np.inf) else kind

    def _nobody(self, way: int) -> bool:
        """Whether nobody is out who would drive there: bike lanes without cyclists."""
        return bool(self.ways.bike[way]) and AgentClass.CYCLIST.word in self.climate.absent

    def _draw(self, ways: list[int]) -> int:
        """One of the ways; most drivers go straight on."""
        m = self.ways.movement[ways]
        straight = np.zeros(len(ways)) if len(self.ways.rank) == 0 else self.ways.rank[m] % 3 == 0
        share = np.where((m >= 0) & straight.astype(bool) & (not self.ways.circulating), 4.0, 1.0)
        if self.ways.circulating:  # the farther round, the fewer
            share = np.where(m >= 0, 1.0 / self.ways.movement_length[m] ** 1.5, 1.0)
        return ways[int(self.rng.choice(len(ways), p=share / share.sum()))]

    def speed_of(self, kind_speed: float, way: int, s: float) -> float:
        """Speed that the way allows at a station, times a driver's eagerness."""
        return float(self.ways.allowed[way, self.ways.cell(np.array([s]))[0]]) * kind_speed

    def populate(self, spacing: float, bikes: float, walkers: int) -> None:
        """Fill the roads; at most ``FILLED`` vehicles, farther apart on more lanes.

        Where the roads' ends are congested (``outflow``), everyone is as slow and as close.

        Args:
            spacing: Mean extra distance between vehicles in a lane [m].
            bikes: Likewise on bike lanes.
            walkers: How many on foot.
        """
        driven = [
            lane.curve.length for i, lane in enumerate(self.network.lanes)
            if not lane.junction and self._through[i] and not self.ways.bike[self._through[i][0]]
        ]  # fmt: skip
        for lane, what in enumerate(self.network.lanes):
            if what.junction or not self._through[lane] or self._nobody(self._through[lane][0]):
                continue
            bike = self.ways.bike[self._through[lane][0]]
            cruise = min(what.speed_limit, self.outflow)
            apart = 9.0 + 0.8 * cruise
            mean = bikes if bike else max(spacing, sum(driven) / FILLED - apart)
            s = 8.0 + float(self.rng.exponential(mean / 2))
            while s < what.curve.length - 8.0:
                way = self._draw(self._through[lane])
                kind = self.kind_for(way)
                station = float(self.ways.offset[way, lane]) + s
                speed = min(self.speed_of(0.9, way, station), self.outflow)
                if kind.cls == AgentClass.CYCLIST:
                    speed = min(speed, 5.5)
                self.add(kind, way, station, speed)
                s += kind.length[1] + apart - 4.0 + float(self.rng.exponential(mean))
        rows = np.flatnonzero(self.alive)
        gap, leader_speed, _ = self.leaders(rows)
        room = np.maximum(gap - self.gap[rows] - 1.0, 0.0)
        self.v[rows] = np.minimum(self.v[rows], room / self.headway[rows])
        self.v[rows] = np.minimum(self.v[rows], leader_speed + np.sqrt(2.0 * room))
        to_line = np.maximum(
            self.ways.enter[self.way[rows]] - self.s[rows] - self.length[rows] / 2, 0
        )
        before = self.s[rows] < self.ways.enter[self.way[rows]]
        slow = np.where(before, np.sqrt(3.0 * np.maximum(to_line - 2.0, 0.0)), np.inf)
        self.v[rows] = np.minimum(self.v[rows], slow)
        for _ in range(0 if "pedestrian" in self.climate.absent else walkers):
            self._add_walker()
        self._park()
        for thing in self.network.works:
            uid = self.new_uid()
            self.words[uid] = thing.word
            self.parked.append(Obstacle(
                uid, AgentClass.OBSTACLE, np.array([thing.x, thing.y]), thing.yaw, thing.size,
                np.zeros(2),
            ))  # fmt: skip

    def _park(self) -> None:
        rng, car = self.rng, KINDS[0]
        for x, y, yaw in self.network.parking:
            if rng.random() < 0.5:
                size = tuple(
                    float(np.round(rng.uniform(*q), 3))
                    for q in (car.length, car.width, car.height)
                )
                at = np.array([x, y]) + rng.uniform(-0.15, 0.15, 2)
                turned = yaw + float(rng.normal(0.0, 0.02))
                self.parked.append(Obstacle(
                    self.new_uid(), car.cls, at, turned, (size[0], size[1], size[2]), np.zeros(2)
                ))  # fmt: skip

    def _add_walker(self) -> None:
        walker = feet.spawn(self.network, self.rng, uid=self.new_uid(), near=110.0, pace=1.0)
        if walker is not None and all(
            np.hypot(*(walker.at - other.at)) > 1.2 for other in self.walkers
        ):
            self.walkers.append(walker)
            self.everyone_on_foot.append(walker)

    # -- one step -------------------------------------------------------------------------------

    def step(self) -> None:
        """Move everyone on by ``DT``."""
        rows = np.flatnonzero(self.alive)
        self._enter_new(rows)
        rows = np.flatnonzero(self.alive)
        way, s = self.way[rows], self.s[rows]
        driver = self._driver(rows)
        wanted = self.ways.allowed[way, self.ways.cell(s)] * self.eagerness[rows]
        wanted = np.minimum(
            np.where(self.cls[rows] == AgentClass.CYCLIST, np.minimum(wanted, 6.0), wanted),
            self.top[rows],
        )
        if np.isfinite(self.outflow):
            leaves = self.ways.length[way] - s < OUTFLOW_M
            wanted = np.where(leaves, np.minimum(wanted, self.outflow), wanted)
        gap, leader_speed, leader = self.leaders(rows)
        v = self.v[rows]
        free_a = free(v, wanted, driver)
        push = interaction(v, gap, leader_speed, driver)
        push = free_a - self._calm(free_a - push, v, gap, leader_speed, self.a[leader], driver)
        halt = np.minimum(self._stop_gaps(rows), self._hazard_gaps(rows))
        halt_push = self._standing(rows, halt, driver)
        push = np.maximum(push, halt_push)
        # Who brakes for a line, goes through a junction, or barely rolls, has the foot under control.
        open_road = (s < self.ways.enter[way] - 15.0) | (s > self.ways.leave[way])
        restless = np.clip(1.0 - halt_push, 0.0, 1.0) * np.clip(v / 4.0 - 0.25, 0.0, 1.0)
        restless = np.where(open_road, restless, 0.0)
        target = np.clip(
            free_a - push + restless * foot(self.habit[rows], self.t), -BRAKE_MAX, None
        )
        if self.steps % 2 == 0:
            self._consider_lane_changes(rows, free_a, push)
        forced = self.forced[rows]
        target = np.where(np.isnan(forced), target, np.minimum(forced, self.power[rows] - push))
        target = np.maximum(target, -BRAKE_MAX)
        a = np.clip(target, self.a[rows] - JERK_DOWN * DT, self.a[rows] + JERK_UP * DT)
        self._advance(rows, a)
        self._walk()
        self.t = round(self.t + DT, 6)
        self.steps += 1

    def _driver(self, rows: Array) -> Idm:
        """The rows' parameters as one model, which numpy spreads over them."""
        return Idm(
            gap=cast(float, self.gap[rows]), headway=cast(float, self.headway[rows]),
            acceleration=cast(float, self.power[rows]), braking=cast(float, self.braking[rows]),
        )  # fmt: skip

    def _calm(
        self, idm: Array, v: Array, gap: Array, leader_speed: Array, leader_a: Array, driver: Idm
    ) -> Array:
        """IDM without its panic when somebody cuts in (Kesting, Treiber, Helbing 2010, eq. 11).

        Where IDM brakes harder than needed if the leader keeps its acceleration (the "constant
        acceleration heuristic" a_CAH), the answer is a_CAH + b·tanh((a_IDM − a_CAH)/b).
        """
        ahead = np.maximum(leader_speed, 0.0)
        a_l = np.minimum(leader_a, driver.acceleration)
        room = np.maximum(gap, GAP_FLOOR_M)
        halts = ahead * (v - ahead) <= -2.0 * room * a_l
        below = np.where(halts, np.maximum(ahead**2 - 2.0 * room * a_l, 1e-3), 1.0)
        constant = np.where(
            halts, v**2 * a_l / below, a_l - np.maximum(v - ahead, 0.0) ** 2 / (2.0 * room)
        )
        b = driver.braking
        mixed = (1.0 - COOLNESS) * idm + COOLNESS * (constant + b * np.tanh((idm - constant) / b))
        # Who comes the wrong way, or stands nearly at the bumper, is met with all of IDM.
        cool = (idm < constant) & (leader_speed >= 0.0) & (gap > 1.5)
        return np.where(cool, mixed, idm)

    def _standing(self, rows: Array, gap: Array, driver: Idm) -> Array:
        return interaction(self.v[rows], gap, np.zeros(len(rows)), driver)

    def _advance(self, rows: Array, a: Array) -> None:
        v = self.v[rows]
        v_next = np.round(np.maximum(v + a * DT, 0.0), 6)
        v_next = np.where((v_next < 0.02) & (a <= 0.0), 0.0, v_next)
        self.a[rows] = (v_next - v) / DT
        mean = (v + v_next) / 2.0
        way = self.way[rows]
        _, _, _, kappa = self.ways.pose(way, self.s[rows])
        d, slope = self.offset(rows)
        stretch = np.hypot(1.0 - kappa * d, slope)
        onward = mean * DT / stretch
        self.s[rows] = np.round(self.s[rows] + onward, 6)
        self.progress[rows] += drift_rate(v) * onward
        self.v[rows] = v_next
        self.d[rows], _ = self._lateral(rows)
        self.aside[rows] = self.offset(rows)[0] - self.d[rows]
        done = rows[
            (self.s_len[rows] > 0) & (self.s[rows] >= self.s_from[rows] + self.s_len[rows])
        ]
        self.s_len[done] = 0.0
        self.old_way[done] = -1
        gone = self.s[rows] > self.ways.length[way] - 0.5
        self.alive[rows[gone]] = False

    def _lateral(self, rows: Array) -> tuple[Array, Array]:
        """Offset d [m] and its slope dd/ds: a quintic in the distance covered."""
        busy = self.s_len[rows] > 0
        x = np.where(
            busy, (self.s[rows] - self.s_from[rows]) / np.where(busy, self.s_len[rows], 1.0), 1.0
        )
        x = np.clip(x, 0.0, 1.0)
        move = self.d_to[rows] - self.d_from[rows]
        d = self.d_from[rows] + move * x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
        slope = np.where(
            busy, move * 30.0 * (x * (1.0 - x)) ** 2 / np.where(busy, self.s_len[rows], 1.0), 0.0
        )
        return d, slope

    def offset(self, rows: Array) -> tuple[Array, Array]:
        """Where vehicles are to the left of their ways [m], drift included, and its slope dd/ds."""
        d, slope = self._lateral(rows)
        rate = drift_rate(self.v[rows])
        aside, lean = drift(self.habit[rows], self.progress[rows], rate, *self._room(rows))
        return d + aside, slope + lean

    def _room(self, rows: Array) -> tuple[Array, Array]:
        """Largest drift [m] and its slope; towards junctions everyone lines up."""
        ways, s, room = self.ways, self.s[rows], self.room[rows]
        before, past = ways.enter[self.way[rows]] - s, s - ways.leave[self.way[rows]]
        x = np.clip(np.maximum(before, past) / NARROWING_M, 0.0, 1.0)
        less = np.maximum(room - NARROW_M, 0.0)
        slope = less * 6.0 * x * (1.0 - x) / NARROWING_M
        return room - less * (1.0 - x * x * (3.0 - 2.0 * x)), np.where(
            past > before, slope, -slope
        )

    def shift(self, i: int, d_to: float, distance: float) -> None:
        """Begin a lateral move of a vehicle to an offset, over a distance [m]."""
        self.d_from[i], self.d_to[i] = self.d[i], d_to
        self.s_from[i], self.s_len[i] = self.s[i], distance

    def change_lane(self, i: int, way: int, distance: float) -> None:
        """Begin a change to a way that is abreast, over a distance [m]."""
        station, offset = self.abreast(i, way)
        self.old_way[i], self.old_shift[i] = self.way[i], self.s[i] - station
        self.d[i] += offset
        self.way[i], self.s[i] = way, station
        self.shift(i, 0.0, distance)

    def lane_of(self, rows: Array) -> tuple[Array, Array]:
        """Lane and distance along it [m], in the lane's own direction."""
        way = self.way[rows]
        lane = self.ways.lane[way, self.ways.cell(self.s[rows])]
        return lane, (self.s[rows] - self.ways.offset[way, lane]) * self.ways.sign[way, lane]

    def abreast(self, i: int, way: int) -> tuple[float, float]:
        """Station beside vehicle ``i`` on another way, and ``i``'s present offset from it.

        The two lanes are offsets of one reference, so equal ``u`` is abreast.
        """
        lane, along = (float(q[0]) for q in self.lane_of(np.array([i])))
        here = self.network.lanes[int(lane)]
        neighbour = here.left if here.left in self.ways.lanes[way] else here.right
        there = self.network.lanes[neighbour]
        u = np.interp(along, here.curve.s, here.u)
        at = float(np.interp(u, there.u, there.curve.s))
        a = np.array([np.interp(along, here.curve.s, here.curve.xy[:, k]) for k in range(2)])
        b, yaw, _ = there.curve.at(at)
        offset = float((a - b) @ np.array([-np.sin(yaw), np.cos(yaw)]))
        return float(self.ways.offset[way, neighbour]) + at, offset

    # -- whom to follow -------------------------------------------------------------------------

    def leaders(
        self,
        rows: Array,
        *,
        way: Array | None = None,
        s: Array | None = None,
        others: Array | None = None,
    ) -> tuple[Array, Array, Array]:
        """Gap to the nearest vehicle ahead [m], its speed along the way [m/s], and its slot.

        Args:
            rows: Slots of the followers.
            way: Their ways, if not those that they are on.
            s: Their stations on these.
            others: Candidates; all who are there by default.
        """
        own = way is None
        way = self.way[rows] if way is None else way
        s = self.s[rows] if s is None else s
        others = np.flatnonzero(self.alive) if others is None else others
        lane, along = self.lane_of(others)
        slot = others
        beside = self._beside(others, lane)
        changing = beside >= 0
        if changing.any():
            share = along[changing] / self.lane_length[lane[changing]]
            lane = np.concatenate([lane, beside[changing]])
            along = np.concatenate([along, share * self.lane_length[beside[changing]]])
            slot = np.concatenate([others, others[changing]])
        gap, speed = self._gaps(way, s, self.length[rows], lane, along, slot, rows)
        best = gap.argmin(axis=1)
        pick = np.arange(len(rows))
        found, found_speed, found_slot = gap[pick, best], speed[pick, best], slot[best]
        if own:
            # Half way out of a lane, its leader still counts.
            leaving = np.flatnonzero((self.old_way[rows] >= 0) & (np.abs(self.d[rows]) > 1.0))
            if len(leaving):
                who = rows[leaving]
                more, more_speed = self._gaps(
                    self.old_way[who],
                    self.s[who] + self.old_shift[who],
                    self.length[who],
                    lane,
                    along,
                    slot,
                    who,
                )
                near = more.argmin(axis=1)
                pick = np.arange(len(who))
                closer = more[pick, near] < found[leaving]
                found[leaving] = np.where(closer, more[pick, near], found[leaving])
                found_speed[leaving] = np.where(
                    closer, more_speed[pick, near], found_speed[leaving]
                )
                found_slot[leaving] = np.where(closer, slot[near], found_slot[leaving])
        return found, found_speed, found_slot

    def _beside(self, rows: Array, lane: Array) -> Array:
        """The second lane that a vehicle covers in part, −1 for none."""
        d = self.d[rows] + self.aside[rows]
        over = np.abs(d) + self.width[rows] / 2 > self.ways.width[self.way[rows]] / 2
        return np.where(over & (d > 0), self.left[lane], np.where(over, self.right[lane], -1))

    def _gaps(
        self,
        way: Array,
        s: Array,
        length: Array,
        lane: Array,
        along: Array,
        slot: Array,
        rows: Array,
    ) -> tuple[Array, Array]:
        table = (way[:, None], lane[None, :])
        station = self.ways.offset[table] + self.ways.sign[table] * along[None]
        here = (along[None] >= self.ways.lowest[table]) & (along[None] <= self.ways.highest[table])
        ahead = station - s[:, None]
        gap = ahead - (length[:, None] + self.length[slot][None]) / 2.0
        other = slot[None] != rows[:, None]
        with np.errstate(invalid="ignore"):
            counts = here & other & ((ahead > 0) | ((ahead == 0) & (slot[None] > rows[:, None])))
        gap = np.where(counts, gap, FAR)
        direction = (
            self.ways.sign[table] * np.where(self.ways.against[self.way[slot]], -1.0, 1.0)[None]
        )
        return gap, self.v[slot][None] * direction

    # -- junctions and crosswalks ---------------------------------------------------------------

    def light(self) -> Int[Array, " groups"]:
        """What every signal group shows now."""
        plan = self.network.signals
        return plan.state(self.t) if plan else np.zeros(0, dtype=np.int64)

    def _stop_gaps(self, rows: Array) -> Array:
        """Distance from the front to the next place where one has to stop [m]."""
        stop = np.minimum(self._junction_gaps(rows), self._crosswalk_gaps(rows))
        way = self.way[rows]
        end = np.where(
            self.ways.dead_end[way],
            self.ways.length[way] - self.s[rows] - self.length[rows] / 2 - 3.0,
            FAR,
        )
        return np.minimum(stop, np.maximum(end, GAP_FLOOR_M))

    def _junction_gaps(self, rows: Array) -> Array:
        gap = np.full(len(rows), FAR)
        ways = self.ways
        if len(ways.rank) == 0:
            return gap
        movement = ways.movement[self.way[rows]]
        with np.errstate(invalid="ignore"):
            x = np.where(movement >= 0, self.s[rows] - ways.enter[self.way[rows]], -FAR)
        half = self.length[rows] / 2
        near = np.flatnonzero(
            (movement >= 0) & (x + half > -SIGHT_M) & (x - half < ways.movement_length[movement])
        )
        self.committed[rows[(movement < 0) | (x - half >= ways.movement_length[movement])]] = False
        if len(near) == 0:
            return gap
        who, m, x, half = rows[near], movement[near], x[near], half[near]
        v = self.v[who]
        line = -x - half
        inside = line < 0.0
        lights = self.light()
        state = (
            np.where(ways.group[m] >= 0, lights[np.maximum(ways.group[m], 0)], LightState.GREEN)
            if len(lights)
            else np.full(len(m), int(LightState.GREEN))
        )
        needed = v**2 / (2.0 * np.maximum(line, 0.1))
        # Who was held up on the way to the line, and can still stop, thinks again.
        late = (state == LightState.YELLOW) & (needed < GENTLE_BRAKING)
        late |= (state == LightState.RED) & (needed < BRAKE_MAX - 1.0)
        reckless = self.reckless[who] & (line < 60.0)
        committed = (self.committed[who] & ~late) | inside | reckless
        held = ~committed & (
            (state == LightState.RED) | ((state == LightState.YELLOW) & (needed < YELLOW_BRAKING))
        )
        committed |= (state == LightState.YELLOW) & ~held & (line < 40.0)
        at_line = (v < 0.3) & (line < 3.0)
        self.waited[who] = np.where(
            at_line, self.waited[who] + DT, np.where(inside, 0.0, self.waited[who])
        )
        unstopped = ways.stop[m] & ~committed & (self.waited[who] < 0.6)
        conflict = self._conflicts(who, m, x, half, v, committed, held)
        blocked = ~committed & (held | unstopped | conflict | self._exit_full(who, m, x))
        going = ~blocked & (line < v**2 / (2.0 * YELLOW_BRAKING) + 0.15 * v + 1.0)
        self.committed[who] = committed | going
        stop = np.where(blocked, np.maximum(line, 0.0) + self.gap[who] - 1.0, FAR)
        guard = self._occupied(who, m, x, half, committed | going)
        gap[near] = np.minimum(stop, guard)
        return gap

    def _conflicts(
        self, who: Array, m: Array, x: Array, half: Array, v: Array, committed: Array, held: Array
    ) -> Array:
        """Whether entering now would come too close to someone with the right of way."""
        ways = self.ways
        ask = np.flatnonzero(~committed & ~held & (-x - half < 45.0))
        if len(ask) == 0:
            return np.zeros(len(who), dtype=bool)
        zone = ways.zone[m[ask][:, None], m[None, :]]
        exists = ~np.isnan(zone[..., 0]) & (ask[:, None] != np.arange(len(who))[None])
        if not exists.any():
            return np.zeros(len(who), dtype=bool)
        zone = np.nan_to_num(zone)
        first = ways.yields[m[ask][:, None], m[None, :]]
        passed = x[None] - half[None] >= zone[..., 3]
        coming = first & ~held[None] & (not ways.circulating)
        relevant = exists & ~passed & (committed[None] | coming)
        power, cap = self.power[who], ways.movement_speed[m] * self.eagerness[who]
        in_i = _time_to(
            zone[..., 0] - (x + half)[ask][:, None],
            v[ask][:, None],
            power[ask][:, None],
            cap[ask][:, None],
        )
        out_i = _time_to(
            zone[..., 1] - (x - half)[ask][:, None],
            v[ask][:, None],
            power[ask][:, None],
            cap[ask][:, None],
        )
        top = np.maximum(cap, v)[None]
        in_j = _time_to(zone[..., 2] - (x + half)[None], v[None], power[None], top)
        out_j = _time_to(
            zone[..., 3] - (x - half)[None],
            v[None],
            power[None],
            np.minimum(cap, np.maximum(v, 3.0))[None],
        )
        stuck = committed & (v < 1.0) & (self.a[who] <= 0.1)
        out_j = np.where(stuck[None] & (in_j < 0.5), np.inf, out_j)
        margin = self.margin[who][ask][:, None] * (0.6 if ways.circulating else 1.0)
        clash = relevant & (in_i < out_j + margin) & (in_j < out_i + margin)
        answer = np.zeros(len(who), dtype=bool)
        answer[ask] = clash.any(axis=1)
        return answer

    def _exit_full(self, who: Array, m: Array, x: Array) -> Array:
        """Whether the leader stands so that there is no room behind the junction."""
        gap, speed, leader = self.leaders(who)
        room = x + self.length[who] / 2 + gap - self.ways.movement_length[m]
        slow = (speed < 2.0) & (self.a[leader] < 0.3)
        return slow & (room < self.length[who] + 3.0) & (not self.ways.circulating)

    def _occupied(self, who: Array, m: Array, x: Array, half: Array, on: Array) -> Array:
        """Distance to the nearest zone ahead that somebody physically stands in [m]."""
        zone = self.ways.zone[m[:, None], m[None, :]]
        exists = ~np.isnan(zone[..., 0]) & ~self.ways.merges[m[:, None], m[None, :]]
        zone = np.nan_to_num(zone)
        there = (x + half > zone[..., 2] - 0.3) & (x - half < zone[..., 3])
        before = zone[..., 0] - (x + half)[:, None]
        counts = exists & there & (before > 0.0) & on[:, None]
        gap = np.where(counts, before + self.gap[who][:, None] - 1.0, FAR)
        return np.maximum(gap.min(axis=1), GAP_FLOOR_M)

    def _crosswalk_gaps(self, rows: Array) -> Array:
        """Distance to a crosswalk with somebody on or about to be on our lane [m]."""
        gap = np.full(len(rows), FAR)
        for walker in self.walkers:
            if walker.crossing < 0:
                continue
            k = walker.crossing
            span = self.ways.crossing[self.way[rows], k]
            before = span[:, 0] - self.s[rows] - self.length[rows] / 2
            _, begin, end, forward = next(c for c in walker.crossings if c[0] == k)
            across = walker.s - begin if forward else end - walker.s
            to_lane = (span[:, 2] - across) * (1.0 if forward else -1.0)
            with np.errstate(invalid="ignore"):
                in_way = (to_lane > -1.9) & (to_lane < 2.2 + 2.2 * max(walker.speed, 0.6))
                can = before > self.v[rows] ** 2 / (2.0 * 6.0)
                counts = in_way & (before > 0.0) & (can | (before > 6.0))
                if walker.waiting:  # the polite let them go first, if they can do so gently
                    gently = before > self.v[rows] ** 2 / 4.0 + 1.0
                    polite = self.politeness[rows] > 0.22
                    counts = ~np.isnan(before) & (before > 0.0) & (before < 35.0) & gently & polite
            gap = np.where(counts, np.minimum(gap, before + self.gap[rows] - 1.2), gap)
        return np.maximum(gap, GAP_FLOOR_M)

    def _may_cross(self, k: int, walker: Walker, duration: float) -> bool:
        """Whether every vehicle lets the walker cross: it can stop, or comes late enough."""
        rows = np.flatnonzero(self.alive)
        span = self.ways.crossing[self.way[rows], k]
        with np.errstate(invalid="ignore"):
            before = span[:, 0] - self.s[rows] - self.length[rows] / 2
            cleared = self.s[rows] - self.length[rows] / 2 > span[:, 1]
            comes = ~np.isnan(span[:, 0]) & ~cleared & (before < 90.0)
        if not comes.any():
            return True
        before, v = before[comes], self.v[rows[comes]]
        on_it = before < 0.3
        late = before / np.maximum(v, 0.1) > duration + walker.patience
        stops = before > v**2 / (2.0 * 2.2) + 0.6 * v + 2.0
        return bool((~on_it & (late | stops)).all())

    def _hazard_gaps(self, rows: Array) -> Array:
        """Distance to things and people off the ways that stand or come into ours [m]."""
        gap = np.full(len(rows), FAR)
        if not self.obstacles:
            return gap
        for thing in self.obstacles:
            s, d, along = self.locate(thing.at)
            way = self.way[rows]
            reach = max(thing.size[0], thing.size[1]) / 2
            before = s[way] - self.s[rows] - self.length[rows] / 2 - reach
            aside = d[way] - self.d_to[rows] - self.aside[rows]
            drift = thing.velocity[1] * np.cos(along[way]) - thing.velocity[0] * np.sin(along[way])
            eta = np.clip(before / np.maximum(self.v[rows], 1.0) + 1.0, 0.0, 4.0)
            room = self.width[rows] / 2 + reach + 0.35
            low = np.minimum(aside, aside + drift * eta)
            high = np.maximum(aside, aside + drift * eta)
            counts = (low < room) & (high > -room) & (before > -0.5) & (before < 80.0)
            if thing.ignored_by:
                counts &= ~np.isin(rows, list(thing.ignored_by))
            gap = np.where(counts, np.minimum(gap, before), gap)
        return np.maximum(gap, GAP_FLOOR_M)

    def locate(self, at: Float[Array, 2]) -> tuple[Array, Array, Array]:
        """Nearest station [m], offset to the left [m] and heading [rad] of a point on every way."""
        ways = self.ways
        dx, dy = at[0] - ways.x, at[1] - ways.y
        best = (dx * dx + dy * dy).argmin(axis=1)
        pick = np.arange(len(best))
        yaw = ways.yaw[pick, best]
        dx, dy = dx[pick, best], dy[pick, best]
        d = -np.sin(yaw) * dx + np.cos(yaw) * dy
        return best * 0.5 + np.cos(yaw) * dx + np.sin(yaw) * dy, d, yaw

    # -- lane changes ---------------------------------------------------------------------------

    def _consider_lane_changes(self, rows: Array, free_a: Array, push: Array) -> None:
        turn = (self.uid[rows] + self.steps // 2) % (LANE_CHANGE_EVERY // 2) == 0
        way = self.way[rows]
        to_junction = self.ways.enter[way] - self.s[rows]
        free_to = (self.v[rows] > 3.0) | self.ways.dead_end[way]  # who has to, even from a halt
        settled = (self.s_len[rows] == 0.0) & free_to & ~self.keeps_lane[rows]
        free_of_junction = (to_junction > 45.0) & (self.s[rows] < self.ways.length[way] - 40.0)
        past = self.s[rows] > self.ways.leave[way] + 15.0
        can = (
            turn
            & settled
            & (free_of_junction | past)
            & ~self.ways.bike[way]
            & ~self.ways.against[way]
        )
        for row in np.flatnonzero(can):
            i = int(rows[row])
            lane = int(self.lane_of(rows[row : row + 1])[0][0])
            must = bool(self.ways.dead_end[self.way[i]]) and self.left[lane] >= 0
            best, choice = (-np.inf, -1)
            for side, lane_to in ((1, self.left[lane]), (-1, self.right[lane])):
                if lane_to < 0 or (must and side < 0):
                    continue
                options = [w for w in self._through[int(lane_to)] if not self.ways.dead_end[w]]
                if not options:
                    continue
                to = options[int(self.uid[i]) % len(options)]
                gain = self.gain(i, to, float(free_a[row] - push[row]), must=must)
                if must:
                    gain += 3.0
                gain += 0.1 if side < 0 else 0.0
                if gain > best:
                    best, choice = gain, to
            if choice >= 0 and best > THRESHOLD:
                self.change_lane(i, choice, max(float(self.v[i]) * 3.8, 20.0))

    def gain(self, i: int, way: int, now: float, *, must: bool = False) -> float:
        """MOBIL's incentive for a change, −∞ if it is not safe [m/s²]."""
        station, _ = self.abreast(i, way)
        me = np.array([i])
        others = np.flatnonzero(self.alive)
        others = others[others != i]
        gap, speed, _ = self.leaders(me, way=np.array([way]), s=np.array([station]), others=others)
        driver = self._driver(me)
        wanted = self.ways.allowed[way, self.ways.cell(np.array([station]))] * self.eagerness[i]
        wanted = np.minimum(wanted, self.top[i])
        mine = free(self.v[me], wanted, driver) - interaction(self.v[me], gap, speed, driver)
        lane, along = self.lane_of(others)
        covered = self._beside(others, lane)
        position = self.ways.offset[way, lane] + self.ways.sign[way, lane] * along
        second = np.where(
            covered >= 0, self.ways.offset[way, np.maximum(covered, 0)] + along, np.nan
        )
        position = np.where(np.isnan(position), second, position)
        with np.errstate(invalid="ignore"):
            behind = np.flatnonzero(position <= station)
        loss, rear = 0.0, FAR
        if len(behind):
            j = int(others[behind[np.argmax(position[behind])]])
            rear = (
                station - float(np.max(position[behind])) - (self.length[i] + self.length[j]) / 2
            )
            follower = self._driver(np.array([j]))
            after = float(interaction(self.v[[j]], np.array([rear]), self.v[me], follower)[0])
            loss = after
            limit = SAFE_BRAKING * (1.5 if must else 1.0)
            if after - self.power[j] > limit:
                return -np.inf
        if (
            float(mine[0]) < -2.0
            or rear < 2.0 + 0.15 * self.v[i]
            or float(gap[0]) < 2.0 + 0.2 * self.v[i]
        ):
            return -np.inf
        return float(mine[0]) - now - float(self.politeness[i]) * loss

    # -- coming, going, walking -----------------------------------------------------------------

    def _enter_new(self, rows: Array) -> None:
        for index, options in enumerate(self._entry_ways):
            if self._next_entry[index] > self.t or not options or self.count >= CAPACITY - 8:
                continue
            if self._nobody(options[0]):
                continue
            way = self._draw(options)
            kind = self.kind_for(way)
            lane = self.ways.lanes[way][0]
            limit = self.network.lanes[lane].speed_limit
            mean = 14.0 if self.ways.bike[way] else (3.4 if limit > 20 else 4.5)
            mean *= 1.8 if self.ways.circulating else 1.0
            on_lane, along = self.lane_of(rows)
            first = along[on_lane == lane]
            if len(first) and first.min() < 14.0 + 0.9 * min(limit, self.outflow):
                self._next_entry[index] = self.t + 0.5
                continue
            speed = self.speed_of(0.85, way, 1.0) * self.climate.speed
            if len(first):
                ahead = rows[on_lane == lane][int(first.argmin())]
                speed = min(speed, float(self.v[ahead]) + 1.0)
            if kind.cls == AgentClass.CYCLIST:
                speed = min(speed, 5.0)
            self.add(kind, way, kind.length[1] / 2 + 0.5, speed)
            gap = 1.0 + float(self.rng.exponential(mean)) / self.climate.density
            self._next_entry[index] = self.t + gap

    def _walk(self) -> None:
        feet.walk(
            self.walkers, signals=self.network.signals, network=self.network, t=self.t, dt=DT,
            safe=self._may_cross,
        )  # fmt: skip
        self.walkers = [w for w in self.walkers if w.s < w.along[-1] - 1.0]
        for thing in self.obstacles:
            thing.at = np.round(thing.at + thing.velocity * DT, 6)

    # -- looking --------------------------------------------------------------------------------

    def poses(self, rows: Array) -> tuple[Array, Array, Array]:
        """Centre x, y [m] and heading [rad] of vehicles."""
        x, y, yaw, kappa = self.ways.pose(self.way[rows], self.s[rows])
        d, slope = self.offset(rows)
        heading = wrap(np.asarray(yaw + np.arctan2(slope, 1.0 - kappa * d)))
        return x - d * np.sin(yaw), y + d * np.cos(yaw), heading

    def look(self) -> Step:
        """Where everyone is now."""
        rows = np.flatnonzero(self.alive)
        x, y, yaw = self.poses(rows)
        on_foot = self.walkers
        things = [*self.obstacles, *self.parked]
        more = [(w.uid, w.at[0], w.at[1], w.yaw, w.speed) for w in on_foot]
        more += [(o.uid, o.at[0], o.at[1], o.yaw, float(np.hypot(*o.velocity))) for o in things]
        extra = np.array(more, dtype=np.float64).reshape(-1, 5)
        return Step(
            uid=np.concatenate([self.uid[rows], extra[:, 0].astype(np.int64)]),
            x=np.concatenate([x, extra[:, 1]]), y=np.concatenate([y, extra[:, 2]]),
            yaw=np.concatenate([yaw, extra[:, 3]]), speed=np.concatenate([self.v[rows], extra[:, 4]]),
            acceleration=np.concatenate([self.a[rows], np.zeros(len(extra))]),
        )  # fmt: skip

    def slot_of(self, uid: int) -> int:
        """Slot of a vehicle."""
        return int(np.flatnonzero(self.uid == uid)[0])

    def agents(self) -> dict[int, tuple[AgentClass, tuple[float, float, float]]]:
        """Class and (length, width, height) [m] of everyone who was ever there."""
        out: dict[int, tuple[AgentClass, tuple[float, float, float]]] = {}
        for i in range(self.count):
            size = (float(self.length[i]), float(self.width[i]), float(self.height[i]))
            out[int(self.uid[i])] = (AgentClass(int(self.cls[i])), size)
        for walker in self.everyone_on_foot:
            out[walker.uid] = (AgentClass.PEDESTRIAN, walker.size)
        for thing in [*self.obstacles, *self.parked]:
            out[thing.uid] = (thing.cls, thing.size)
        return out


def _time_to(distance: Array, v: Array, a: Array, cap: Array) -> Array:
    """Time to cover a distance, accelerating with ``a`` up to ``cap`` (not slowing down) [s]."""
    distance = np.maximum(distance, 0.0)
    cap = np.maximum(cap, np.maximum(v, 0.5))
    run = (cap**2 - v**2) / (2.0 * a)
    speeding = (np.sqrt(v**2 + 2.0 * a * distance) - v) / a
    return np.where(distance <= run, speeding, (cap - v) / a + (distance - run) / cap)

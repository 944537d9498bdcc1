"""Reactive traffic on a procedural road, ten steps a second.

Everyone follows a way (Frenet coordinates: station s, offset d) so that headings, speeds and
curvature belong together: the heading is that of the path driven, ψ = ψ_way + atan(d′/(1 − κd)),
and nothing slides, not even when it stops half way through a lane change. Who drives how is drawn from
:mod:`simulation.drivers`.

* along: the Intelligent Driver Model towards leaders, stop lines, crosswalks and obstacles
  (Treiber et al. 2000), with bounded jerk and a restless foot;
* across: MOBIL decides on lane changes (Kesting et al. 2007), driven as quintics in distance; within
  the lane everyone keeps a place of its own and drifts about it;
* at conflicts: gap acceptance in time windows, who is committed goes, ranks and signals decide, or
  who came first where everyone has to stop; nobody waits on a crosswalk before a roundabout;
* at the kerb: some pull out of parking places and into them (:mod:`simulation.kerbside`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass
from simulation import traffic_kernels as kernels
from simulation import walkers as feet
from simulation.drivers import (
    EDGE_M,
    KINDS,
    SHARES,
    Kind,
    draw_habit,
)
from simulation.idm import GAP_FLOOR_M
from simulation.kerbside import Kerbside
from simulation.roads import Network
from simulation.traffic_kernels import FAR, GRID_M, Roads, Slots
from simulation.traffic_kernels import YELLOW_BRAKING as YELLOW_BRAKING
from simulation.walkers import Walker
from simulation.ways import Ways, ways_of

DT = 0.1  # [s]
CAPACITY = 320
FILLED = 220


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


_SEEN = [kernels.UID, kernels.X, kernels.Y, kernels.YAW, kernels.SPEED]


def _summed(share: Array) -> Array:
    """What ``Generator.choice`` looks a uniform number up in."""
    sums = share.cumsum()
    return sums / sums[-1]


def _to_thousandths(x: float) -> float:
    """As ``np.round(x, 3)``, which takes ten times as long for one number."""
    return round(x * 1000.0) / 1000.0


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

    Vehicles live in slots of parallel arrays; until :meth:`refresh`, a slot is an identity.
    """

    def __init__(
        self,
        network: Network,
        rng: np.random.Generator,
        climate: Climate,
        *,
        ways: Ways | None = None,
    ) -> None:
        self.network, self.rng, self.climate = network, rng, climate
        self.ways: Ways = ways_of(network) if ways is None else ways
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
        self._parked = np.zeros((0, 5))
        self.kerbside = Kerbside(network, self.ways)
        self._crowd = feet.Crowd([], network)
        self.lane_length = np.array([lane.curve.length for lane in network.lanes])
        self.left = np.array([lane.left for lane in network.lanes])
        self.right = np.array([lane.right for lane in network.lanes])
        self._through = [self.ways.through(lane) for lane in range(len(network.lanes))]
        self._entry_ways = [
            [w for w in self._through[e] if self.ways.lanes[w][0] == e] for e in network.entries
        ]
        self._next_entry = rng.exponential(2.0, len(self._entry_ways)).tolist()
        out = [kind.cls.word not in climate.absent for kind in KINDS[:4]]
        self._sum_of_kinds = _summed(SHARES * out / (SHARES * out).sum())
        self._sums: dict[tuple[int, ...], Array] = {}
        self._bend = np.abs(self.ways.curvature).max(axis=1)
        self._roads = kernels.tables_of(self._named_tables())
        self._fleet = self._packed()
        ways = self.ways
        self._lines = kernels.Lines(ways.x, ways.y, ways.yaw, ways.curvature)

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

    def _packed(self) -> Slots:
        """The slots' arrays as the compiled loops take them; the arrays by name are views of these."""
        packed = []
        for names in (kernels.REAL, kernels.WHOLE, kernels.FLAGS):
            packed.append(np.stack([getattr(self, name) for name in names]))
            for name, row in zip(names, packed[-1], strict=True):
                setattr(self, name, row)
        return Slots(*packed)

    def _named_tables(self) -> Roads:
        """The ways and lanes as the compiled loops take them."""
        lanes, ways = self.network.lanes, self.ways
        open_ways = [[w for w in through if not ways.dead_end[w]] for through in self._through]
        member = np.zeros((len(ways.lanes), len(lanes)), dtype=bool)
        for way, own in enumerate(ways.lanes):
            member[way, list(own)] = True
        through = np.full((len(lanes), max(map(len, open_ways), default=0)), -1)
        for lane, some in enumerate(open_ways):
            through[lane, : len(some)] = some
        own_tables = {
            "left": self.left, "right": self.right, "lane_length": self.lane_length,
            "through": through, "options": np.array([len(some) for some in open_ways]),
            "member": member, "way_width": self.ways.width,
            "first": np.cumsum([0, *(len(lane.curve.s) for lane in lanes)]),
            "point_s": np.concatenate([lane.curve.s for lane in lanes]),
            "point_u": np.concatenate([lane.u for lane in lanes]),
        }  # fmt: skip
        of_ways: dict[str, Array] = {
            name: getattr(ways, name)
            for name in Roads._fields
            if name not in own_tables and name not in ("circulating", "all_way")
        }
        own_tables |= of_ways
        return Roads(circulating=ways.circulating, all_way=ways.all_way, **own_tables)

    # -- who is there ---------------------------------------------------------------------------

    def new_uid(self) -> int:
        """The next free id."""
        self.next_uid += 1
        return self.next_uid - 1

    def add(self, kind: Kind, way: int, s: float, v: float, *, d: float = 0.0) -> int:
        """A new vehicle, ``d`` to the left of where one drives on the way; returns its slot."""
        i = self.count
        assert i < CAPACITY, "the capacity covers every flow that the roads are given"
        self.count += 1
        rng = self.rng
        d += float(self.ways.left[way])
        self.way[i], self.s[i], self.d[i], self.v[i] = way, s, d, v
        self.d_from[i] = self.d_to[i] = d
        self.cls[i], self.uid[i], self.alive[i] = int(kind.cls), self.new_uid(), True
        for name, bounds in (
            ("length", kind.length), ("width", kind.width), ("height", kind.height)
        ):  # fmt: skip
            getattr(self, name)[i] = _to_thousandths(rng.uniform(*bounds))
        for name, spread in (
            ("power", kind.acceleration), ("braking", kind.braking), ("eagerness", kind.eagerness)
        ):  # fmt: skip
            getattr(self, name)[i] = _to_thousandths(spread.draw(rng))
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
        kind = KINDS[int(self._sum_of_kinds.searchsorted(self.rng.random(), side="right"))]
        bend = self._bend[way]
        too_wide = {AgentClass.TRUCK: WIDE_BEND, AgentClass.BUS: WIDE_BEND * 2 / 3}
        return KINDS[0] if bend > too_wide.get(kind.cls, np.inf) else kind

    def _nobody(self, way: int) -> bool:
        """Whether nobody is out who would drive there: bike lanes without cyclists."""
        return bool(self.ways.bike[way]) and AgentClass.CYCLIST.word in self.climate.absent

    def _draw(self, ways: list[int]) -> int:
        """One of the ways; most drivers go straight on."""
        sums = self._sums.get(tuple(ways))
        if sums is None:
            self._sums[tuple(ways)] = sums = self._sums_of(ways)
        return ways[int(sums.searchsorted(self.rng.random(), side="right"))]

    def _sums_of(self, ways: list[int]) -> Array:
        """Chances of ways, summed up."""
        m = self.ways.movement[ways]
        straight = np.zeros(len(ways)) if len(self.ways.rank) == 0 else self.ways.rank[m] % 3 == 0
        share = np.where((m >= 0) & straight.astype(bool) & (not self.ways.circulating), 4.0, 1.0)
        if self.ways.circulating:  # the farther round, the fewer
            share = np.where(m >= 0, 1.0 / self.ways.movement_length[m] ** 1.5, 1.0)
        return _summed(share / share.sum())

    def speed_of(self, kind_speed: float, way: int, s: float) -> float:
        """Speed that the way allows at a station, times a driver's eagerness."""
        allowed = self.ways.allowed
        return float(allowed[way, min(max(int(s / GRID_M), 0), allowed.shape[1] - 1)]) * kind_speed

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
        self.kerbside.fill(self)
        for thing in self.network.works:
            uid = self.new_uid()
            self.words[uid] = thing.word
            self.parked.append(Obstacle(
                uid, AgentClass.OBSTACLE, np.array([thing.x, thing.y]), thing.yaw, thing.size,
                np.zeros(2),
            ))  # fmt: skip

    @property
    def crowded(self) -> bool:
        """Whether there are hardly slots left for who is still to come."""
        return self.count >= CAPACITY - 8

    def park(
        self, uid: int, at: Float[Array, 2], yaw: float, size: tuple[float, float, float]
    ) -> Obstacle:
        """A car stands at the kerb from now on."""
        thing = Obstacle(uid, AgentClass.VEHICLE, at, yaw, size, np.zeros(2))
        self.parked.append(thing)
        self._parked = np.zeros((0, 5))
        return thing

    def unpark(self, thing: Obstacle) -> None:
        """And no longer does."""
        self.parked.remove(thing)
        self._parked = np.zeros((0, 5))

    def _add_walker(self) -> None:
        walker = feet.spawn(self.network, self.rng, uid=self.new_uid(), near=110.0, pace=1.0)
        if walker is not None and all(
            np.hypot(*(walker.at - other.at)) > 1.2 for other in self.walkers
        ):
            self.walkers.append(walker)
            self.everyone_on_foot.append(walker)

    def refresh(self, walkers: int) -> None:
        """Between two recordings: the slots of those who left are free again, new people walk.

        What is a slot's number before is not afterwards; ids stay.

        Args:
            walkers: How many shall be on foot.
        """
        stay = np.flatnonzero(self.alive)
        assert self.count < CAPACITY
        for value in vars(self).values():
            if isinstance(value, np.ndarray) and len(value) == CAPACITY:
                value[: len(stay)] = value[stay]
                value[len(stay) : self.count] = value[self.count]  # as a slot that nobody had
        self.count = len(stay)
        self.everyone_on_foot = list(self.walkers)
        for _ in range(walkers - len(self.walkers)):
            self._add_walker()

    # -- one step -------------------------------------------------------------------------------

    def step(self) -> None:
        """Move everyone on by ``DT``."""
        self._enter_new()
        if self.kerbside.usable:
            self.kerbside.step(self)
        rows = np.flatnonzero(self.alive[: self.count])
        free_a, push, target = kernels.meant(
            self._fleet, self._roads, self._everyone_walking().loops, rows, self.habit, self.light(),
            self._hazard_gaps(rows), float(self.outflow), self.t, DT,
        )  # fmt: skip
        if self.steps % 2 == 0:
            self._consider_lane_changes(rows, free_a, push)
        kernels.go(
            self._fleet, self._roads, self._lines, rows, self.habit, target, push, self.forced, DT
        )
        self._walk()
        self.t = round(self.t + DT, 6)
        self.steps += 1

    def offset(self, rows: Array) -> tuple[Array, Array]:
        """Where vehicles are to the left of their ways [m], drift included, and its slope dd/ds."""
        d, slope, _ = kernels.offsets(self._fleet, self._roads, rows, self.habit)
        return d, slope

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
        return kernels.lanes_at(self._fleet, self._roads, rows)

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
        return kernels.leaders(self._fleet, self._roads, rows, way, s, others, own)

    # -- junctions and crosswalks ---------------------------------------------------------------

    def light(self) -> Int[Array, " groups"]:
        """What every signal group shows now."""
        plan = self.network.signals
        return plan.state(self.t) if plan else np.zeros(0, dtype=np.int64)

    def _everyone_walking(self) -> feet.Crowd:
        if not self._crowd.is_of(self.walkers):
            self._crowd = feet.Crowd(self.walkers, self.network)
        return self._crowd

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
        return kernels.located(ways.x, ways.y, ways.yaw, float(at[0]), float(at[1]))

    # -- lane changes ---------------------------------------------------------------------------

    def _consider_lane_changes(self, rows: Array, free_a: Array, push: Array) -> None:
        """MOBIL, a quarter of the drivers at a time; who has changed is seen by who thinks next."""
        place = 0
        while place < len(rows):
            place, way = kernels.next_change(
                self._fleet, self._roads, rows, self.steps, free_a, push, place
            )
            if way >= 0:
                i = int(rows[place])
                self.change_lane(i, int(way), max(float(self.v[i]) * 3.8, 20.0))
                place += 1

    # -- coming, going, walking -----------------------------------------------------------------

    def _enter_new(self) -> None:
        if min(self._next_entry, default=np.inf) > self.t:
            return
        rows = np.flatnonzero(self.alive)
        for index, options in enumerate(self._entry_ways):
            if self._next_entry[index] > self.t or not options or self.crowded:
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
        if self.walkers:
            self._everyone_walking().step(
                self._fleet, self._roads, self.alive[: self.count], signals=self.network.signals,
                t=self.t, dt=DT,
            )  # fmt: skip
            self.walkers = [w for w in self.walkers if w.s < w.along[-1] - 1.0]
        for thing in self.obstacles:
            thing.at = np.round(thing.at + thing.velocity * DT, 6)

    # -- looking --------------------------------------------------------------------------------

    def poses(self, rows: Array) -> tuple[Array, Array, Array]:
        """Centre x, y [m] and heading [rad] of vehicles."""
        return kernels.poses(self._fleet, self._roads, self._lines, rows, self.habit)

    def look(self) -> Step:
        """Where everyone is now."""
        rows = np.flatnonzero(self.alive)
        x, y, yaw = self.poses(rows)
        people, things = self._everyone_walking().loops.state, self.obstacles
        more = [(o.uid, o.at[0], o.at[1], o.yaw, float(np.hypot(*o.velocity))) for o in things]
        if len(self._parked) != len(self.parked):
            still = [(o.uid, o.at[0], o.at[1], o.yaw, 0.0) for o in self.parked]
            self._parked = np.array(still, dtype=np.float64)
        extra = np.concatenate([
            people[:, _SEEN], np.array(more, dtype=np.float64).reshape(-1, 5), self._parked
        ])  # fmt: skip
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

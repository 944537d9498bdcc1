"""Procedural roads: straights, curves, highways, junctions and roundabouts, drawn from a seed.

Streets with several lanes and highways may have a work zone: a stretch of their outermost lane that
the map still has, but that is closed off by cones, so that traffic merges before it.

A road is built once in a local frame (small coordinates, the interesting place near the origin)
as a :class:`Network`: lanes with curvature for those who drive, footways for those who walk, and
the same as a :class:`~schemas.records.RoadMap` in a world frame that is turned and far away.
Traffic keeps to the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from geometry.frames import SE2
from schemas.errors import UnknownName
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from simulation.curves import Curve, arc, bend, connect
from simulation.signals import SignalPlan, plan

BIKE_WIDTH = 1.7  # [m]
PARKING_WIDTH = 2.3  # [m]
SIDEWALK_WIDTH = 3.4  # [m]
CROSSWALK_DEPTH = 3.2  # [m] along the road
PARKED_WITHIN = 2.4  # [m] of a wide lane that parked cars take
WORKS = 0.2  # share of roads with several lanes that have a work zone
CONFLICT_M = 2.5  # [m] centre lines nearer than this: two cars cannot pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """A lane as traffic uses it, in the local frame.

    Attributes:
        curve: Centre line in the direction of travel.
        u: Station of the road's reference at the curve's points; equal where lanes are abreast.
        width: [m].
        lane_type: Whom it is for.
        speed_limit: [m/s].
        junction: Whether it lies within a junction.
        rank: Whom it yields to at conflicts: to those of smaller rank.
        group: Signal group that controls it, −1 for none.
        stop: Whether a stop sign stands at its beginning; where one stands at every way into a
            junction, who came first goes first.
        parked: Width at its right edge that is left to parked cars [m].
        closed: Whether a work zone closes it; who comes to it must have left before.
        left: Lane to the left in the same direction, −1 for none.
        right: Likewise to the right.
        successors: Lanes that continue it.
    """

    curve: Curve
    u: Float[Array, " points"]
    width: float
    lane_type: LaneType
    speed_limit: float
    junction: bool = False
    rank: int = 0
    group: int = -1
    stop: bool = False
    parked: float = 0.0
    closed: bool = False
    left: int = -1
    right: int = -1
    successors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crosswalk:
    """A pedestrian crossing.

    Attributes:
        polygon: Four corners [m].
        begin: Where the crossing starts, on one kerb [m].
        end: Where it ends, on the other [m].
        groups: Signal groups that must be red for it to show "walk"; none: no signal.
    """

    polygon: Float[Array, "4 2"]
    begin: Float[Array, 2]
    end: Float[Array, 2]
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """A way on foot, walked in either direction.

    Attributes:
        xy: Points [m].
        crossings: (crosswalk, distance where it begins, where it ends) along the way [m].
    """

    xy: Float[Array, "points 2"]
    crossings: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Fixture:
    """Something that stands in a work zone.

    Attributes:
        word: What it is, as Argoverse 2 calls it.
        x: [m].
        y: [m].
        yaw: [rad].
        size: (length, width, height) [m].
    """

    word: str
    x: float
    y: float
    yaw: float
    size: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """One road layout.

    Attributes:
        kind: As in ``ROADS``.
        lanes: All lanes; what is said of lanes elsewhere are indices into it.
        crosswalks: All crossings.
        walks: Ways on foot.
        parking: Poses (x, y, yaw) of parking places [m, m, rad].
        works: What closes lanes off.
        signals: Plan of the traffic lights, or None.
        kerbs: Outer edges of the carriageway [m].
        world_from_local: Where the layout lies in the world.
        z: Height of the ground [m].
        map: The same in the world frame.
        lane_feature: Feature id of each lane.
    """

    kind: str
    lanes: Sequence[Lane]
    crosswalks: Sequence[Crosswalk]
    walks: Sequence[Walk]
    parking: Sequence[tuple[float, float, float]]
    works: Sequence[Fixture]
    signals: SignalPlan | None
    kerbs: Sequence[Float[Array, "points 2"]]
    world_from_local: SE2
    z: float
    map: RoadMap
    lane_feature: Sequence[int]

    @property
    def entries(self) -> list[int]:
        """Lanes at the roads' ends that nothing leads into: where traffic comes from."""
        fed = {to for lane in self.lanes for to in lane.successors}
        fed |= {i for i, lane in enumerate(self.lanes) if lane.left >= 0 and lane.left in fed}
        return [i for i in range(len(self.lanes)) if i not in fed]

    @property
    def starts(self) -> list[int]:
        """Entries, then lanes that begin beside another or behind a work zone."""
        fed = {to for lane in self.lanes if not lane.closed for to in lane.successors}
        begin = [i for i, lane in enumerate(self.lanes) if i not in fed and not lane.closed]
        first = self.entries
        return first + [i for i in begin if i not in first]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What lies side by side on one half of a two-way road, from its middle outwards.

    Attributes:
        lanes: Lanes for vehicles.
        width: Of each [m].
        bike: Whether a bike lane follows.
        parking: Whether a parking strip follows.
        median: Half of the gap between the directions [m].
        within: Width at the right edge of the outermost lane in which cars are parked [m].
        limit: Speed limit [m/s].
    """

    lanes: int
    width: float
    bike: bool = False
    parking: bool = False
    median: float = 0.0
    within: float = 0.0
    limit: float = 13.9

    def lane_offset(self, index: int) -> float:
        """From the middle of the road to the centre of a lane, 0 the innermost [m]."""
        return self.median + (index + 0.5) * self.width

    @property
    def bike_offset(self) -> float:
        """To the centre of the bike lane [m]."""
        return self.median + self.lanes * self.width + BIKE_WIDTH / 2

    @property
    def parking_offset(self) -> float:
        """To where the middle of parked cars is [m]."""
        if self.within > 0.0:
            return self.median + self.lanes * self.width - 1.05
        return self.bike_offset + BIKE_WIDTH * (self.bike - 0.5) + PARKING_WIDTH / 2

    @property
    def kerb(self) -> float:
        """To the edge of the carriageway [m]."""
        side = BIKE_WIDTH * self.bike + PARKING_WIDTH * self.parking
        return self.median + self.lanes * self.width + side + 0.3

    @property
    def footway(self) -> float:
        """To the middle of the sidewalk [m]."""
        return self.kerb + SIDEWALK_WIDTH / 2


@dataclass(slots=True)
class _Draft:
    """A network under construction."""

    lanes: list[Lane] = field(default_factory=list)
    crosswalks: list[Crosswalk] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)
    parking: list[tuple[float, float, float]] = field(default_factory=list)
    works: list[Fixture] = field(default_factory=list)
    kerbs: list[Array] = field(default_factory=list)
    areas: list[Array] = field(default_factory=list)
    junctions: list[Array] = field(default_factory=list)
    lines: list[tuple[Array, str]] = field(default_factory=list)
    stop_lines: list[tuple[Array, list[int]]] = field(default_factory=list)
    stop_signs: list[Array] = field(default_factory=list)
    yield_signs: list[Array] = field(default_factory=list)
    signals: SignalPlan | None = None

    def lane(self, curve: Curve, u: Array, **what: object) -> int:
        self.lanes.append(Lane(curve=curve, u=u, **what))  # type: ignore[arg-type]
        return len(self.lanes) - 1

    def link(self, before: int, after: int) -> None:
        lane = self.lanes[before]
        self.lanes[before] = replace(lane, successors=(*lane.successors, after))

    def abreast(self, left: int, right: int) -> None:
        self.lanes[left] = replace(self.lanes[left], right=right)
        self.lanes[right] = replace(self.lanes[right], left=left)

    def carriageway(
        self,
        reference: Curve,
        profile: Profile,
        *,
        sections: int = 1,
        lane_type: LaneType = LaneType.VEHICLE,
    ) -> tuple[list[list[int]], list[int]]:
        """Lanes of one direction, to the right of a reference that runs their way.

        Returns:
            Lane indices by section and from the left; bike lanes by section.
        """
        cuts = [2 * round(c / 2) for c in np.linspace(0, len(reference.s) - 1, sections + 1)]
        rows: list[list[int]] = []
        bikes: list[int] = []
        for begin, end in pairwise(cuts):
            part = reference.cut(begin, end)
            row = [
                self.lane(part.offset(-profile.lane_offset(i)), part.s, width=profile.width,
                          lane_type=lane_type, speed_limit=profile.limit,
                          parked=profile.within if i == profile.lanes - 1 else 0.0)
                for i in range(profile.lanes)
            ]  # fmt: skip
            for left, right in pairwise(row):
                self.abreast(left, right)
            if profile.bike:
                bikes.append(
                    self.lane(part.offset(-profile.bike_offset), part.s, width=BIKE_WIDTH,
                              lane_type=LaneType.BIKE, speed_limit=min(profile.limit, 8.3))
                )  # fmt: skip
            if rows:
                for before, after in zip(rows[-1], row, strict=True):
                    self.link(before, after)
                if profile.bike:
                    self.link(bikes[-2], bikes[-1])
            rows.append(row)
        return rows, bikes

    def paint(self, reference: Curve, profile: Profile) -> None:
        """Lane dividers, edge line and parking of one direction."""
        for i in range(1, profile.lanes):
            line = reference.offset(-(profile.median + i * profile.width))
            self.lines.append((line.xy, "DASHED_WHITE"))
        edge = reference.offset(-(profile.median + profile.lanes * profile.width))
        self.lines.append((edge.xy, "SOLID_WHITE"))
        if profile.median > 0.0:
            self.lines.append((reference.offset(-profile.median).xy, "SOLID_YELLOW"))

    def park(self, reference: Curve, profile: Profile, begin: float, end: float) -> None:
        """Parking places along one direction, from station ``begin`` to ``end`` [m]."""
        for s in np.arange(begin + 3.5, end - 3.5, 6.6):
            xy, yaw, _ = reference.at(float(s))
            xy = xy + profile.parking_offset * np.array([np.sin(yaw), -np.cos(yaw)])
            self.parking.append((float(xy[0]), float(xy[1]), yaw))

    def close(self, index: int) -> None:
        """A work zone on an outermost lane: cones in a taper, along the open lane, and back."""
        lane = replace(self.lanes[index], closed=True)
        self.lanes[index] = lane
        half, length = lane.width / 2 - 0.35, lane.curve.length
        taper = min(30.0, length / 4)
        stations = np.arange(0.5, length - 0.5, 5.0)
        ahead = np.clip(np.minimum(stations, length - stations) / taper, 0.0, 1.0)
        for s, share in zip(stations, ahead, strict=True):
            xy, yaw, _ = lane.curve.at(float(s))
            at = xy + half * (2.0 * share - 1.0) * np.array([-np.sin(yaw), np.cos(yaw)])
            cone = Fixture("CONSTRUCTION_CONE", float(at[0]), float(at[1]), yaw, (0.4, 0.4, 0.75))
            self.works.append(cone)
        for s, word, size in (
            (taper + 3.0, "MESSAGE_BOARD_TRAILER", (2.4, 1.7, 2.6)),
            (length / 2, "CONSTRUCTION_BARREL", (0.6, 0.6, 1.0)),
        ):
            xy, yaw, _ = lane.curve.at(float(s))
            at = xy - 0.4 * np.array([-np.sin(yaw), np.cos(yaw)])
            self.works.append(Fixture(word, float(at[0]), float(at[1]), yaw, size))


def build(kind: str, rng: np.random.Generator) -> Network:
    """A road of one kind.

    Raises:
        UnknownName: There is no such kind.
    """
    if kind not in ROADS:
        raise UnknownName("road", kind, ROADS)
    draft = _Draft()
    ROADS[kind](draft, rng)
    yaw = float(rng.uniform(-np.pi, np.pi))
    x, y = rng.uniform(4e3, 2e4, 2) * rng.choice([-1.0, 1.0], 2)
    world_from_local = SE2(float(np.round(x, 3)), float(np.round(y, 3)), yaw)
    z = float(np.round(rng.uniform(-5.0, 60.0), 2))
    road_map, lane_feature = _map_of(draft, kind, world_from_local, z)
    return Network(
        kind=kind, lanes=draft.lanes, crosswalks=draft.crosswalks, walks=draft.walks,
        parking=draft.parking, works=draft.works, signals=draft.signals, kerbs=draft.kerbs,
        world_from_local=world_from_local, z=z, map=road_map, lane_feature=lane_feature,
    )  # fmt: skip


def _straight(draft: _Draft, rng: np.random.Generator) -> None:
    _two_way(draft, rng, bend((-230.0, 0.0), 0.0, [(480.0, 0.0)]))


def _curve(draft: _Draft, rng: np.random.Generator) -> None:
    radius = rng.uniform(45.0, 160.0)
    turn = rng.uniform(0.6, 1.6)
    kappa = float(rng.choice([-1.0, 1.0])) / radius
    ramp = min(40.0, 0.4 * turn * radius)
    held = max(turn * radius - ramp, 5.0)
    pieces = [(150.0, 0.0), (ramp, kappa), (held, kappa), (ramp, 0.0)]
    if rng.random() < 0.5:  # an S-bend
        pieces += [(20.0, 0.0), (ramp, -kappa), (0.6 * held, -kappa), (ramp, 0.0)]
    pieces += [(max(460.0 - sum(length for length, _ in pieces), 90.0), 0.0)]
    _two_way(draft, rng, bend((-150.0, 0.0), 0.0, pieces))


def _two_way(draft: _Draft, rng: np.random.Generator, reference: Curve) -> None:
    """A two-way street along a reference, with or without crosswalk, bike lanes and parking."""
    tight = float(np.abs(reference.curvature).max()) > 1 / 80
    profile = Profile(
        lanes=int(rng.integers(1, 3)), width=_width(rng), bike=bool(rng.random() < 0.55),
        parking=bool(rng.random() < 0.5), limit=float(rng.choice([8.3, 11.1, 13.9] if tight else [11.1, 13.9, 16.7])),
    )  # fmt: skip
    back = reference.reversed()
    works = int(rng.integers(2)) if profile.lanes > 1 and rng.random() < WORKS else -1
    for k, line in enumerate((reference, back)):
        rows, _ = draft.carriageway(line, profile, sections=5)
        draft.paint(line, profile)
        if k == works:
            draft.close(rows[2][-1])
    draft.lines.append(
        (reference.xy, "DOUBLE_SOLID_YELLOW" if profile.lanes > 1 else "DASHED_YELLOW")
    )
    kerbs = [reference.offset(-profile.kerb), reference.offset(profile.kerb)]
    draft.kerbs += [kerb.xy for kerb in kerbs]
    draft.areas.append(np.concatenate([kerbs[0].xy, kerbs[1].xy[::-1]]))
    at = reference.length * rng.uniform(0.42, 0.6)
    crossing = bool(rng.random() < 0.75)
    if crossing:
        _crosswalk(draft, reference, at, profile.kerb)
    if profile.parking:
        for line, s in ((reference, at), (back, reference.length - at)):
            keep = 14.0 if crossing else 0.0
            draft.park(line, profile, 20.0, s - keep)
            draft.park(line, profile, s + keep, reference.length - 20.0)
    _footways_along(draft, reference, profile, at if crossing else None)


def _residential(draft: _Draft, rng: np.random.Generator) -> None:
    """A quiet street with one wide lane each way, at whose edges cars are parked.

    Its lanes are as wide as such streets have them in real maps, and are not split into a part to
    drive in and one to park in, so that whoever passes the parked cars keeps left of the middle.
    """
    kappa = float(rng.uniform(-1.0, 1.0)) / 220.0
    reference = bend(
        (-200.0, 0.0), 0.0, [(120.0, 0.0), (40.0, kappa), (90.0, kappa), (40.0, 0.0), (130.0, 0.0)]
    )
    profile = Profile(lanes=1, width=float(rng.uniform(5.2, 5.9)), within=PARKED_WITHIN,
                      limit=float(rng.choice([8.3, 11.1, 13.9])))  # fmt: skip
    back = reference.reversed()
    for line in (reference, back):
        draft.carriageway(line, profile, sections=4)
        draft.paint(line, profile)
    if rng.random() < 0.6:
        draft.lines.append((reference.xy, "DASHED_YELLOW"))
    kerbs = [reference.offset(-profile.kerb), reference.offset(profile.kerb)]
    draft.kerbs += [kerb.xy for kerb in kerbs]
    draft.areas.append(np.concatenate([kerbs[0].xy, kerbs[1].xy[::-1]]))
    at = reference.length * float(rng.uniform(0.42, 0.6))
    crossing = bool(rng.random() < 0.4)
    if crossing:
        _crosswalk(draft, reference, at, profile.kerb)
    for line, s in ((reference, at), (back, reference.length - at)):
        keep = 14.0 if crossing else 0.0
        draft.park(line, profile, 20.0, s - keep)
        draft.park(line, profile, s + keep, reference.length - 20.0)
    _footways_along(draft, reference, profile, at if crossing else None)


def _footways_along(draft: _Draft, reference: Curve, profile: Profile, at: float | None) -> None:
    """Footways on both sides of a street, and over its crosswalk at a station, if there is one."""
    sides = [reference.offset(-profile.footway).xy, reference.offset(profile.footway).xy]
    draft.walks += [Walk(xy=side) for side in sides]
    if at is None:
        return
    index = int(np.searchsorted(reference.s, at))
    for first, second in ((0, 1), (1, 0)):
        for tail in (sides[second][index:], sides[second][: index + 1][::-1]):
            draft.walks.append(_crossing_walk(draft, [sides[first][: index + 1], tail], [0]))


def _highway(draft: _Draft, rng: np.random.Generator) -> None:
    """Two carriageways; an on-ramp joins the first, an exit may leave the other."""
    kappa = float(rng.uniform(-1.0, 1.0)) / 900.0
    pieces = [(250.0, 0.0), (150.0, kappa), (350.0, kappa), (150.0, 0.0), (250.0, 0.0)]
    reference = bend((-430.0, 0.0), 0.0, pieces)
    profile = Profile(
        lanes=int(rng.integers(2, 5)), width=float(rng.uniform(3.5, 3.7)),
        median=float(rng.uniform(1.5, 4.0)), limit=float(rng.choice([22.2, 25.0, 27.8, 33.3])),
    )  # fmt: skip
    rows, _ = draft.carriageway(reference, profile, sections=5, lane_type=LaneType.FREEWAY)
    back = reference.reversed()
    other, _ = draft.carriageway(back, profile, sections=5, lane_type=LaneType.FREEWAY)
    works = bool(rng.random() < WORKS)
    if works:
        draft.close(other[2][-1])
    shoulder = profile.kerb + 2.4
    for line in (reference, back):
        draft.paint(line, profile)
    # The acceleration lane runs beside the third section, the ramp comes in before it.
    cuts = [2 * round(c / 2) for c in np.linspace(0, len(reference.s) - 1, 6)]
    part = reference.cut(cuts[2], cuts[3])
    aside = profile.lane_offset(profile.lanes)
    merge = draft.lane(part.offset(-aside), part.s, width=profile.width,
                       lane_type=LaneType.FREEWAY, speed_limit=profile.limit)  # fmt: skip
    draft.abreast(rows[2][-1], merge)
    run = 2 * round(float(rng.uniform(170.0, 230.0)))
    lead = reference.cut(cuts[2] - run, cuts[2])
    ramp_s = (lead.s - lead.s[-1]) / lead.s[-1]  # −1 … 0
    away = -aside - rng.uniform(22.0, 34.0) * (-ramp_s) ** 3 * (6 * ramp_s**2 + 15 * ramp_s + 10)
    ramp_curve = _from_points(lead.xy + away[:, None] * lead.normal)
    ramp = draft.lane(ramp_curve, lead.s, width=profile.width, lane_type=LaneType.FREEWAY,
                      speed_limit=min(profile.limit, 22.2))  # fmt: skip
    draft.link(ramp, merge)
    draft.lines.append((part.offset(-(aside + profile.width / 2)).xy, "SOLID_WHITE"))
    half = profile.width / 2 + 1.5
    right = reference.offset(-shoulder).xy
    ramp_right = np.concatenate([ramp_curve.offset(-half).xy, part.offset(-(aside + half)).xy[1:]])
    left = reference.offset(shoulder).xy
    tail = min(cuts[3] + 90, len(right) - 1)  # the acceleration lane tapers off
    taper = reference.cut(cuts[3], tail)
    ease = np.linspace(0.0, 1.0, len(taper.s))
    narrowing = taper.offset(
        -(aside + half) + (aside + half - shoulder) * ease**2 * (3 - 2 * ease)
    ).xy
    ramp_right = np.concatenate([ramp_right, narrowing[1:]])
    draft.kerbs += [right[: cuts[2] - run // 3], ramp_right, right[tail:]]
    if works or rng.random() < 0.3:
        draft.kerbs.append(left)
    else:
        _exit(draft, rng, back, other[1][-1], profile, (cuts[1], cuts[2]))
    draft.areas.append(np.concatenate([right, left[::-1]]))
    ramp_left = np.concatenate([ramp_curve.offset(half).xy, part.offset(-aside + half).xy[1:],
                                taper.offset(-aside + half).xy[1:]])  # fmt: skip
    draft.areas.append(np.concatenate([ramp_right, ramp_left[::-1]]))


def _exit(
    draft: _Draft, rng: np.random.Generator, line: Curve, beside: int, profile: Profile,
    span: tuple[int, int],
) -> None:  # fmt: skip
    """A deceleration lane on the right of a carriageway, from point to point, and a ramp away."""
    begin, end = span
    part = line.cut(begin, end)
    aside, half = profile.lane_offset(profile.lanes), profile.width / 2 + 1.5
    shoulder = profile.kerb + 2.4
    slow = draft.lane(part.offset(-aside), part.s, width=profile.width,
                      lane_type=LaneType.FREEWAY, speed_limit=profile.limit)  # fmt: skip
    draft.abreast(beside, slow)
    run = 2 * round(float(rng.uniform(170.0, 230.0)))
    lead = line.cut(end, end + run)
    x = lead.s / lead.s[-1]
    away = -aside - rng.uniform(22.0, 34.0) * x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
    curve = _from_points(lead.xy + away[:, None] * lead.normal)
    ramp = draft.lane(curve, lead.s, width=profile.width, lane_type=LaneType.FREEWAY,
                      speed_limit=min(profile.limit, 16.7))  # fmt: skip
    draft.link(slow, ramp)
    draft.lines.append((part.offset(-(aside + profile.width / 2)).xy, "SOLID_WHITE"))
    right = line.offset(-shoulder).xy
    head = max(begin - 90, 0)
    taper = line.cut(head, begin)
    ease = np.linspace(0.0, 1.0, len(taper.s))
    widening = taper.offset(-(shoulder + (aside + half - shoulder) * ease**2 * (3 - 2 * ease))).xy
    outer = np.concatenate(
        [widening, part.offset(-(aside + half)).xy[1:], curve.offset(-half).xy[1:]]
    )
    inner = np.concatenate([taper.offset(-aside + half).xy, part.offset(-aside + half).xy[1:],
                            curve.offset(half).xy[1:]])  # fmt: skip
    draft.kerbs += [right[: head + 1], outer, right[end + run // 3 :]]
    draft.areas.append(np.concatenate([outer, inner[::-1]]))


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """One road that leads into a junction; lanes are indices by section, from the left."""

    theta: float
    profile: Profile
    out: Curve
    inbound: list[list[int]]
    outbound: list[list[int]]
    bike_in: list[int]
    bike_out: list[int]


def _arm(
    draft: _Draft,
    rng: np.random.Generator,
    theta: float,
    radius: float,
    profile: Profile,
    length: float,
) -> _Arm:
    start = radius * np.array([np.cos(theta), np.sin(theta)])
    kappa = float(rng.uniform(-1.0, 1.0)) / 500.0
    out = bend((float(start[0]), float(start[1])), theta,
               [(70.0, 0.0), (40.0, kappa), (length - 110.0, kappa)])  # fmt: skip
    inbound, bike_in = draft.carriageway(out.reversed(), profile, sections=2)
    outbound, bike_out = draft.carriageway(out, profile, sections=2)
    draft.paint(out, profile)
    draft.paint(out.reversed(), profile)
    draft.lines.append((out.xy, "DOUBLE_SOLID_YELLOW"))
    if profile.parking:
        draft.park(out, profile, 30.0, out.length - 15.0)
        draft.park(out.reversed(), profile, 15.0, out.length - 30.0)
    return _Arm(theta, profile, out, inbound, outbound, bike_in, bike_out)


def _signalled(draft: _Draft, rng: np.random.Generator) -> None:
    """Four arms; opposite ones share profile and green."""
    axes = [
        Profile(lanes=int(rng.integers(1, 3)), width=_width(rng), bike=bool(rng.random() < 0.5),
                parking=bool(rng.random() < 0.3), limit=float(rng.choice([8.3, 11.1, 13.9, 16.7])))
        for _ in range(2)
    ]  # fmt: skip
    skew = float(rng.uniform(-0.12, 0.12))
    radius = max(p.kerb for p in axes) + float(rng.uniform(5.0, 8.0)) + CROSSWALK_DEPTH + 2.0
    thetas = [0.0, np.pi / 2 + skew, np.pi, 3 * np.pi / 2 + skew]
    arms = [_arm(draft, rng, t, radius, axes[k % 2], 210.0) for k, t in enumerate(thetas)]
    protected = [axes[k].lanes > 1 and bool(rng.random() < 0.6) for k in range(2)]
    # Groups: 0 and 1 through, 2 and 3 left, of the two axes.
    greens: list[tuple[list[int], float]] = []
    for k in range(2):
        if protected[k]:
            greens.append(([2 + k], float(rng.uniform(6.0, 9.0))))
        greens.append(([k] if protected[k] else [k, 2 + k], float(rng.uniform(12.0, 30.0))))
    cycle = sum(lasts + 5.0 for _, lasts in greens)
    draft.signals = plan(greens, groups=4, offset=float(rng.uniform(0.0, cycle)))
    _junction(draft, arms, signals=True, minor=())


def _unsignalled(draft: _Draft, rng: np.random.Generator) -> None:
    """A main road, and a side road that must stop or give way: from one side or across."""
    bike = bool(rng.random() < 0.4)
    main = Profile(lanes=int(rng.integers(1, 3)), width=_width(rng), bike=bike,
                   parking=bool(rng.random() < 0.3), limit=float(rng.choice([11.1, 13.9, 16.7])))  # fmt: skip
    side = Profile(lanes=1, width=_width(rng), limit=8.3)
    radius = main.kerb + float(rng.uniform(6.0, 8.0)) + CROSSWALK_DEPTH + 1.0
    skew = float(rng.uniform(-0.15, 0.15))
    minor = (1, 3) if rng.random() < 0.4 else (2,)
    thetas = [0.0, np.pi, 3 * np.pi / 2 + skew]
    if len(minor) == 2:
        thetas = [0.0, np.pi / 2 + skew, np.pi, 3 * np.pi / 2 + skew]
    arms = [
        _arm(draft, rng, t, radius, side if k in minor else main, 160.0 if k in minor else 215.0)
        for k, t in enumerate(thetas)
    ]
    _junction(draft, arms, signals=False, minor=minor, stops=bool(rng.random() < 0.6))


def _all_way_stop(draft: _Draft, rng: np.random.Generator) -> None:
    """Three or four arms of equal right, with a stop sign at each."""
    count = 3 if rng.random() < 0.3 else 4
    profile = Profile(lanes=1, width=_width(rng), bike=bool(rng.random() < 0.25),
                      parking=bool(rng.random() < 0.3), limit=float(rng.choice([8.3, 11.1, 13.9])))  # fmt: skip
    radius = profile.kerb + float(rng.uniform(6.0, 8.0)) + CROSSWALK_DEPTH + 1.0
    skew = float(rng.uniform(-0.12, 0.12))
    thetas = [0.0, np.pi / 2 + skew, np.pi, 3 * np.pi / 2 + skew]
    thetas = thetas if count == 4 else [thetas[k] for k in (0, 2, 3)]
    arms = [_arm(draft, rng, t, radius, profile, 170.0) for t in thetas]
    _junction(draft, arms, signals=False, minor=tuple(range(count)))


def _junction(
    draft: _Draft, arms: list[_Arm], *, signals: bool, minor: tuple[int, ...], stops: bool = True
) -> None:
    """Connectors, crosswalks, corners and footways between arms in counter-clockwise order.

    Args:
        draft: Added to.
        arms: The roads that meet.
        signals: Whether lights tell who may go.
        minor: Arms at which a sign stands.
        stops: Whether it is a stop sign; else one has to give way.
    """
    kinds: dict[int, list[int]] = {k: [] for k in range(len(arms))}
    for a, source in enumerate(arms):
        for b, target in enumerate(arms):
            if a == b:
                continue
            turn = float(np.angle(np.exp(1j * (target.theta - source.theta - np.pi))))
            movement = 0 if abs(turn) < 0.6 else (1 if turn < 0 else 2)
            rank = movement + (3 if a in minor else 0)
            group = -1 if not signals else (a % 2 + (2 if movement == 2 else 0))
            n, m = source.profile.lanes, target.profile.lanes
            pairs = (
                [(i, min(i, m - 1)) for i in range(n)]
                if movement == 0
                else ([(n - 1, m - 1)] if movement == 1 else [(0, 0)])
            )
            joins = [(source.inbound[-1][i], target.outbound[0][j], 0) for i, j in pairs]
            if movement == 0 and source.bike_in and target.bike_out:
                joins.append((source.bike_in[-1], target.bike_out[0], 1))
            for before, after, bike in joins:
                lane_in, lane_out = draft.lanes[before], draft.lanes[after]
                curve = connect(lane_in.curve.at(lane_in.curve.length), lane_out.curve.at(0.0))
                new = draft.lane(
                    curve, curve.s, width=min(lane_in.width, lane_out.width),
                    lane_type=LaneType.BIKE if bike else LaneType.VEHICLE,
                    speed_limit=min(lane_in.speed_limit, lane_out.speed_limit), junction=True,
                    rank=rank, group=group, stop=stops and a in minor,
                )  # fmt: skip
                draft.link(before, new)
                draft.link(new, after)
                kinds[a].append(new)
    for a, arm in enumerate(arms):
        # A main road without signals has no stop line, and no crosswalk on a crowded mouth.
        if signals or a in minor:
            half, inner = arm.profile.kerb - 0.3, arm.profile.median
            n = arm.out.normal[0]
            line = np.stack([arm.out.xy[0] + inner * n, arm.out.xy[0] + half * n])
            draft.stop_lines.append((line, kinds[a]))
        if a in minor:
            xy = arm.out.xy[0] + (arm.profile.kerb + 0.8) * arm.out.normal[0]
            (draft.stop_signs if stops else draft.yield_signs).append(xy)
        groups = (a % 2, 2 + a % 2) if signals else ()
        u = np.array([np.cos(arm.theta), np.sin(arm.theta)])
        _crosswalk_at(draft, arm.out.xy[0] - (1.2 + CROSSWALK_DEPTH / 2) * u, arm.theta,
                      arm.profile.kerb, groups)  # fmt: skip
    ring: list[Array] = []
    corners: list[Array] = []
    for a, arm in enumerate(arms):
        target = arms[(a + 1) % len(arms)]
        kerb_in, kerb_out = (
            arm.out.offset(arm.profile.kerb),
            target.out.offset(-target.profile.kerb),
        )
        corner = connect(kerb_in.reversed().at(kerb_in.length), kerb_out.at(0.0), stretch=0.9)
        edge = np.concatenate([kerb_in.xy[::-1], corner.xy[1:], kerb_out.xy[1:]])
        draft.kerbs.append(edge)
        ring.append(edge)
        corners.append(corner.xy)
    draft.areas.append(np.concatenate(ring))
    draft.junctions.append(np.concatenate(corners))
    _footways(draft, arms)


def _footways(draft: _Draft, arms: list[_Arm]) -> None:
    """Round every corner, and straight on over every crosswalk."""
    count = len(arms)
    for a, arm in enumerate(arms):
        target = arms[(a + 1) % count]
        left = arm.out.offset(arm.profile.footway).xy
        right = target.out.offset(-target.profile.footway).xy
        draft.walks.append(Walk(xy=_rounded(np.concatenate([left[::-1], right]))))
        # Over the crosswalk of arm `a`, from its right side to its left.
        before, after = arms[(a - 1) % count], arms[(a + 1) % count]
        come = before.out.offset(before.profile.footway).xy[::-1]
        leave = after.out.offset(-after.profile.footway).xy
        draft.walks.append(_crossing_walk(draft, [come, leave], [a]))


def _roundabout(draft: _Draft, rng: np.random.Generator) -> None:
    """One circulating lane; who enters yields to who circulates."""
    count = int(rng.integers(3, 5))
    radius, width = float(rng.uniform(13.5, 17.0)), _width(rng)
    profiles = [
        Profile(lanes=1, width=width, limit=float(rng.choice([11.1, 13.9]))) for _ in range(count)
    ]
    reach = radius + float(rng.uniform(15.0, 18.0))
    spread = 0.53 if count == 4 else 0.6
    thetas = [2 * np.pi * k / count + float(rng.uniform(-0.06, 0.06)) for k in range(count)]
    arms = [_arm(draft, rng, t, reach, profiles[k], 190.0) for k, t in enumerate(thetas)]
    speed = 8.3
    ring_width = 4.2
    through: list[int] = []
    between: list[int] = []
    for k, theta in enumerate(thetas):
        onward = thetas[(k + 1) % count] + (2 * np.pi if k == count - 1 else 0.0)
        for begin, end, rows in (
            (theta - spread, theta + spread, through),
            (theta + spread, onward - spread, between),
        ):
            curve = arc((0.0, 0.0), radius, begin, end)
            rows.append(
                draft.lane(curve, curve.s, width=ring_width, lane_type=LaneType.VEHICLE,
                           speed_limit=speed, junction=True, rank=0)
            )  # fmt: skip
    for k, arm in enumerate(arms):
        onto, off = draft.lanes[between[k]].curve, draft.lanes[through[k]].curve
        before, after = draft.lanes[arm.inbound[-1][0]], draft.lanes[arm.outbound[0][0]]
        enter = connect(before.curve.at(before.curve.length), onto.at(0.0))
        leave = connect(off.at(0.0), after.curve.at(0.0))
        common = {
            "width": width,
            "lane_type": LaneType.VEHICLE,
            "speed_limit": speed,
            "junction": True,
        }
        entry = draft.lane(enter, enter.s, rank=2, **common)
        exit_ = draft.lane(leave, leave.s, rank=1, **common)
        draft.link(arm.inbound[-1][0], entry)
        draft.link(entry, between[k])
        draft.link(through[k], between[k])
        draft.link(between[k - 1], through[k])
        draft.link(between[k - 1], exit_)
        draft.link(exit_, arm.outbound[0][0])
        n = arm.out.normal[0]
        line = np.stack([arm.out.xy[0], arm.out.xy[0] + (arm.profile.kerb - 0.3) * n])
        draft.stop_lines.append((line, [entry]))
        draft.yield_signs.append(arm.out.xy[0] + (arm.profile.kerb + 0.8) * n)
        # A car that waits to enter has room between the crosswalk and the line.
        _crosswalk(draft, arm.out, 7.8, arm.profile.kerb)
    outer, inner = radius + ring_width / 2 + 0.5, radius - ring_width / 2 - 0.5
    corners = []
    for a, arm in enumerate(arms):
        target = arms[(a + 1) % count]
        kerb_in, kerb_out = (
            arm.out.offset(arm.profile.kerb),
            target.out.offset(-target.profile.kerb),
        )
        begin = arm.theta + spread
        end = target.theta - spread + (2 * np.pi if a == count - 1 else 0.0)
        rim = arc((0.0, 0.0), outer, begin, end)
        first = connect(kerb_in.reversed().at(kerb_in.length), rim.at(0.0))
        last = connect(rim.at(rim.length), kerb_out.at(0.0))
        corner = np.concatenate([first.xy, rim.xy[1:], last.xy[1:]])
        draft.kerbs.append(np.concatenate([kerb_in.xy[::-1], corner[1:], kerb_out.xy[1:]]))
        corners.append(corner)
    island = arc((0.0, 0.0), inner, 0.0, 2 * np.pi).xy
    draft.kerbs.append(island)
    draft.lines.append((island, "SOLID_YELLOW"))
    outline = np.concatenate(draft.kerbs[:-1])
    draft.junctions.append(np.concatenate(corners))
    # A polygon has no hole: the outline is slit along the first arm to let the island out.
    slit = int(np.argmin(np.linalg.norm(outline - island[0], axis=1)))
    draft.areas.append(np.concatenate([outline[: slit + 1], island[::-1], outline[slit:]]))
    _footways(draft, arms)


ROADS: dict[str, Callable[[_Draft, np.random.Generator], None]] = {
    "straight": _straight,
    "curve": _curve,
    "residential": _residential,
    "highway": _highway,
    "signalled": _signalled,
    "unsignalled": _unsignalled,
    "all_way_stop": _all_way_stop,
    "roundabout": _roundabout,
}
"""Every kind of road, simplest first."""


def _width(rng: np.random.Generator) -> float:
    return float(rng.uniform(3.2, 3.9))


def _from_points(xy: Array) -> Curve:
    """A curve through dense smooth points, its geometry from differences."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    first = np.gradient(xy, s, axis=0, edge_order=2)
    yaw = np.unwrap(np.arctan2(first[:, 1], first[:, 0]))
    return Curve(xy, yaw, np.gradient(yaw, s), s)


def _crosswalk(draft: _Draft, reference: Curve, at: float, kerb: float) -> None:
    xy, yaw, _ = reference.at(at)
    _crosswalk_at(draft, xy, yaw, kerb, ())


def _crosswalk_at(
    draft: _Draft, centre: Array, yaw: float, kerb: float, groups: tuple[int, ...]
) -> None:
    """A crossing centred on the middle of a road that runs along ``yaw``."""
    ahead = CROSSWALK_DEPTH / 2 * np.array([np.cos(yaw), np.sin(yaw)])
    left = kerb * np.array([-np.sin(yaw), np.cos(yaw)])
    polygon = centre + np.stack([ahead - left, ahead + left, -ahead + left, -ahead - left])
    draft.crosswalks.append(
        Crosswalk(polygon=polygon, begin=centre - left, end=centre + left, groups=groups)
    )


def _crossing_walk(draft: _Draft, legs: list[Array], crossings: list[int]) -> Walk:
    """Legs of footway joined over crosswalks: come along one, cross, go on along the next."""
    parts: list[Array] = []
    for leg, crossing in zip(legs, [*crossings, None], strict=True):
        parts.append(leg)
        if crossing is not None:
            walk = draft.crosswalks[crossing]
            ends = [walk.begin, walk.end]
            if np.linalg.norm(leg[-1] - ends[0]) > np.linalg.norm(leg[-1] - ends[1]):
                ends.reverse()
            way = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
            parts.append(np.stack([ends[0] - 1.2 * way, *ends, ends[1] + 1.2 * way]))
    xy = _rounded(np.concatenate(parts))
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    spans = []
    for crossing in crossings:
        walk = draft.crosswalks[crossing]
        near = [
            float(s[np.linalg.norm(xy - end, axis=1).argmin()]) for end in (walk.begin, walk.end)
        ]
        spans.append((crossing, min(near), max(near)))
    return Walk(xy=xy, crossings=tuple(spans))


def _rounded(xy: Array) -> Array:
    """Points 0.5 m apart along a way whose corners are rounded by a moving mean."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    keep = np.concatenate([[True], np.diff(s) > 1e-6])
    even = np.linspace(0.0, s[-1], int(np.ceil(s[-1] / 0.5)) + 1)
    dense = np.stack([np.interp(even, s[keep], xy[keep, k]) for k in range(2)], axis=-1)
    padded = np.concatenate(
        [np.repeat(dense[:1], 3, axis=0), dense, np.repeat(dense[-1:], 3, axis=0)]
    )
    kernel = np.ones(7) / 7
    return np.stack([np.convolve(padded[:, k], kernel, mode="valid") for k in range(2)], axis=-1)


def overlap_runs(
    a: Float[Array, "points 2"], b: Float[Array, "others 2"], nearer_than: float
) -> list[tuple[int, int, int, int]]:
    """Stretches of ``a`` that lie near ``b``: (first, last) on a, (first, last) on b."""
    distance = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
    near = distance < nearer_than
    hit = near.any(axis=1)
    if not hit.any():
        return []
    step = np.diff(np.concatenate([[0], hit.astype(int), [0]]))
    runs = []
    for first, last in zip(np.flatnonzero(step == 1), np.flatnonzero(step == -1) - 1, strict=True):
        other = np.flatnonzero(near[first : last + 1].any(axis=0))
        runs.append((int(first), int(last), int(other[0]), int(other[-1])))
    return runs


def _map_of(
    draft: _Draft, kind: str, world_from_local: SE2, z: float
) -> tuple[RoadMap, list[int]]:
    """The draft as map features and their graph, in the world frame."""
    features: list[MapFeature] = []

    def world(xy: Array) -> Array:
        out = np.round(world_from_local.apply(xy), 6)
        return np.concatenate([out, np.full((len(out), 1), z)], axis=1)

    def add(layer: MapLayer, xy: Array, **what: object) -> int:
        index = len(features)
        features.append(
            MapFeature(feature_id=index, source_id=str(1000 + index), layer=layer,
                       points=world(xy), **what)  # type: ignore[arg-type]
        )  # fmt: skip
        return index

    every = slice(None, None, 2)  # lanes have an odd number of points, so their ends stay
    lane_feature = [
        add(MapLayer.LANE, lane.curve.xy[every],
            left=world(lane.curve.offset(lane.width / 2).xy[every]),
            right=world(lane.curve.offset(-lane.width / 2).xy[every]),
            lane_type=lane.lane_type, source_type=lane.lane_type.word.upper(),
            speed_limit=lane.speed_limit, in_intersection=lane.junction)
        for lane in draft.lanes
    ]  # fmt: skip
    edges: list[tuple[int, int, int]] = []
    for index, lane in enumerate(draft.lanes):
        edges += [(index, EdgeKind.SUCCESSOR, to) for to in lane.successors]
        edges += [(to, EdgeKind.PREDECESSOR, index) for to in lane.successors]
        edges += [(index, EdgeKind.LEFT, lane.left)] if lane.left >= 0 else []
        edges += [(index, EdgeKind.RIGHT, lane.right)] if lane.right >= 0 else []
    inside = [i for i, lane in enumerate(draft.lanes) if lane.junction]
    for n, a in enumerate(inside):
        for b in inside[n + 1 :]:
            if b in draft.lanes[a].successors or a in draft.lanes[b].successors:
                continue
            lane_a, lane_b = draft.lanes[a], draft.lanes[b]
            meet = set(lane_a.successors) & set(lane_b.successors)
            gap = np.linalg.norm(
                lane_a.curve.xy[::4, None] - lane_b.curve.xy[None, ::4], axis=-1
            ).min()
            apart = np.linalg.norm(lane_a.curve.xy[0] - lane_b.curve.xy[0]) > 0.5
            if meet or (gap < 1.5 and apart):
                edges += [(a, EdgeKind.CONFLICT, b), (b, EdgeKind.CONFLICT, a)]
    for crosswalk in draft.crosswalks:
        index = add(MapLayer.CROSSWALK, crosswalk.polygon, source_type="CROSSWALK")
        edges += [
            (index, EdgeKind.CROSSWALK_OVER_LANE, i)
            for i, lane in enumerate(draft.lanes)
            if crosswalk_span(lane.curve.xy, crosswalk) is not None
        ]
    for line, lanes in draft.stop_lines:
        index = add(MapLayer.STOP_LINE, line, source_type="STOP_LINE")
        edges += [(index, EdgeKind.STOP_LINE_OF_LANE, lane) for lane in lanes]
    for xy in draft.stop_signs:
        add(MapLayer.STOP_SIGN, xy[None], source_type="STOP_SIGN")
    for xy in draft.yield_signs:
        add(MapLayer.SIGN, xy[None], source_type="YIELD")
    for kerb in draft.kerbs:
        add(MapLayer.ROAD_EDGE, kerb[every], source_type="ROAD_EDGE")
    for line, paint in draft.lines:
        add(MapLayer.ROAD_LINE, line[every], source_type=paint)
    for area in draft.areas:
        add(MapLayer.DRIVABLE_AREA, area, source_type="DRIVABLE_AREA")
    for area in draft.junctions:
        add(MapLayer.INTERSECTION, area[every], source_type="INTERSECTION")
    table = np.array(edges, dtype=np.int64).reshape(-1, 3)
    name = f"{kind}_{abs(round(world_from_local.x * 1000)):d}"
    return RoadMap(source_map_id=name, features=tuple(features), edges=table), lane_feature


def crosswalk_span(
    line: Float[Array, "points 2"], crosswalk: Crosswalk
) -> tuple[int, int, float] | None:
    """Where a line runs over a crosswalk.

    Returns:
        First and last index of the points on it, and how far along the crossing from its ``begin``
        the line passes [m]; None if it does not.
    """
    way = crosswalk.end - crosswalk.begin
    length = float(np.linalg.norm(way))
    way = way / length
    offset = line - (crosswalk.begin + crosswalk.end) / 2
    across = offset @ way
    along = offset @ np.array([-way[1], way[0]])
    on = np.flatnonzero((np.abs(across) < length / 2) & (np.abs(along) < CROSSWALK_DEPTH / 2))
    if len(on) == 0:
        return None
    return int(on[0]), int(on[-1]), float(across[on].mean()) + length / 2

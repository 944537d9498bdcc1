"""Where an agent is on the map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import difference, wrap
from geometry.arrays import Array
from geometry.boxes import corners, meets_line
from mining.intervals import above, spells
from mining.lanes import SPACING_M
from mining.motion import CROSSWALK_M, IN_LANE_M, PARKED_SPAN_M, Motion
from mining.predicates.predicate import (
    Find,
    Limits,
    Parameter,
    Predicate,
    Span,
    middle,
    relations,
    states,
    unknown,
)
from mining.predicates.stalled import stalled
from mining.predicates.told import WORK_WORDS
from schemas.labels import DRIVING, VEHICLES, AgentClass, LaneType, MapLayer, Truth

GROUP = "map_relation"


def _on_road(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    width = np.maximum(motion.graph.half_width[lane], limits["offset"])
    mask = motion.on_lane & motion.graph.for_cars[lane] & (np.abs(motion.lane_d) <= width)
    return states(motion, mask, motion.lane_d, pick=middle)


def _in_drivable(motion: Motion, _: Limits) -> Iterable[Span]:
    return states(motion, motion.on_surface & ~motion.is_thing[:, None])


def _on_lane_type(*types: LaneType) -> Find:
    """Finds who is on a lane of one of these types; lanes of unknown type leave it open."""

    def find(motion: Motion, _: Limits) -> Iterable[Span]:
        codes = motion.graph.lane_type
        lane = np.maximum(motion.lane, 0)
        on = motion.on_lane & ~motion.is_thing[:, None]
        width = np.maximum(motion.graph.half_width[lane], 1.75)
        on &= np.abs(motion.lane_d) <= width
        yield from states(motion, on & np.isin(codes, types)[lane])
        untold = on & motion.focus[:, None] & (codes == LaneType.UNKNOWN)[lane]
        yield from unknown(untold, "the lane's type is not known")

    return find


def _off_drivable(motion: Motion, limits: Limits) -> Iterable[Span]:
    moves = motion.speed >= limits["speed"]
    mask = (motion.is_vehicle & motion.focus & ~motion.immobile)[:, None] & motion.seen & moves
    if motion.graph.surfaces:
        beyond, centre = _beyond_surface(motion, mask)
    else:
        beyond, centre = _beyond_edge(motion, mask), -motion.edge_left
    unmapped = mask & ~motion.on_surface & (centre > limits["farthest"])
    yield from states(motion, mask & ~unmapped & (beyond > limits["distance"]), beyond)
    yield from unknown(unmapped, "it is on ground that the map does not draw")


def _beyond_surface(
    motion: Motion, asked: Bool[Array, "agents steps"]
) -> tuple[Float[Array, "agents steps"], Float[Array, "agents steps"]]:
    """How far the farthest corner, and the centre, lie off all drivable areas; 0 if on one [m]."""
    rows, steps = np.nonzero(asked)
    spots = np.concatenate(
        [corners(motion.boxes[rows, steps]), motion.xy[rows, steps][:, None]], axis=1
    )
    off = motion.graph.off_surface(spots)
    beyond, centre = np.zeros(motion.seen.shape), np.zeros(motion.seen.shape)
    beyond[rows, steps], centre[rows, steps] = off[:, :4].max(axis=1), off[:, 4]
    return beyond, centre


def _beyond_edge(
    motion: Motion, asked: Bool[Array, "agents steps"]
) -> Float[Array, "agents steps"]:
    """How far the farthest corner lies on the wrong side of the nearest road edge [m].

    Road edges run with the drivable surface to their left (Waymo Open Motion; the same rule as in
    its Sim Agents metrics). Corners farther than 5 m from any edge are not judged.
    """
    beyond = np.full(motion.seen.shape, -np.inf)
    # No corner reaches over an edge that is farther off than the half diagonal.
    far = motion.edge_left > motion.half_diagonal[:, None] + SPACING_M
    rows, steps = np.nonzero(asked & motion.focus[:, None] & ~far)
    points, course = motion.graph.road_edges
    if not len(points) or not len(rows):
        return beyond
    spots = corners(motion.boxes[rows, steps]).reshape(-1, 2)
    distance, near = motion.graph.edge_tree.query(spots, distance_upper_bound=5.0)
    found = np.isfinite(distance)
    near = np.where(found, near, 0)
    offset = spots - points[near]
    left = np.cos(course[near]) * offset[:, 1] - np.sin(course[near]) * offset[:, 0]
    worst = np.where(found, -left, -np.inf).reshape(-1, 4).max(axis=1)
    beyond[rows, steps] = worst
    return beyond


def _in_intersection(motion: Motion, _: Limits) -> Iterable[Span]:
    return states(motion, motion.in_intersection & motion.drives[:, None])


def _near_intersection(motion: Motion, limits: Limits) -> Iterable[Span]:
    distance = np.full(motion.seen.shape, np.inf)
    tree = motion.graph.junction_tree
    rows = motion.seen & (motion.drives & motion.focus)[:, None]
    if tree is not None and rows.any():
        found, _ = tree.query(motion.xy[rows])
        distance[rows] = np.maximum(found - limits["half_lane"], 0.0)
    distance[motion.in_intersection] = 0.0
    mask = rows & (distance <= limits["distance"])
    return states(motion, mask, distance, pick=np.argmin)


def _at_crosswalk(motion: Motion, limits: Limits) -> Iterable[Span]:
    near = motion.near_crosswalk(limits["distance"])
    return states(motion, near)


def _traversing_crosswalk(motion: Motion, limits: Limits) -> Iterable[Span]:
    moves = above(motion.speed, limits["speed"], known=motion.seen & ~motion.is_thing[:, None])
    return states(motion, motion.on_crosswalk & moves, motion.speed)


def _on_stop_line(motion: Motion, _: Limits) -> Iterable[Span]:
    mask = np.zeros(motion.seen.shape, dtype=bool)
    reach = motion.half_diagonal[:, None] + 1.0
    who = motion.seen & (motion.drives & motion.focus & ~motion.parked)[:, None]
    for line in motion.scene.map.of_layer(MapLayer.STOP_LINE):
        points = line.points[:, :2].astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        near = who & ~mask & (motion.xy >= low - reach[..., None]).all(axis=-1)
        near &= (motion.xy <= high + reach[..., None]).all(axis=-1)
        agents, steps = np.nonzero(near)
        if len(agents):
            mask[agents, steps] = meets_line(motion.boxes[agents, steps], points)
        if len(points) >= 3:
            mask |= who & motion.within(line)
    return states(motion, mask)


def _all_way_stop(motion: Motion, limits: Limits) -> Iterable[Span]:
    graph = motion.graph
    lane = np.maximum(motion.lane, 0)
    rest = graph.length[lane] - motion.lane_s - motion.length[:, None] / 2
    at = graph.in_intersection[lane] | (rest <= limits["ahead"])
    on = motion.on_lane & graph.all_way_stop[lane] & at
    return states(motion, on & (motion.drives & ~motion.parked)[:, None])


def _in_area(layer: MapLayer) -> Find:
    """Finds whose centre is in an area of a layer."""

    def find(motion: Motion, _: Limits) -> Iterable[Span]:
        mask = np.zeros(motion.seen.shape, dtype=bool)
        for area in motion.areas(layer):
            mask |= motion.within(area)
        return states(motion, mask & ~motion.is_thing[:, None])

    return find


def _in_pickup_dropoff(motion: Motion, _: Limits) -> Iterable[Span]:
    reason = "no map that is read tells where passengers get in and out"
    return [Span(begin=0, end=motion.steps - 1, evidence={"reason": reason}, truth=Truth.UNKNOWN)]


def _narrow_lane(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    width = 2.0 * motion.graph.half_width[lane]
    known = motion.on_lane & motion.graph.has_bounds[lane] & motion.graph.for_cars[lane]
    mask = known & (width < limits["width"]) & motion.is_vehicle[:, None]
    mask &= motion.speed >= limits["speed"]
    return states(motion, mask, width, pick=np.argmin)


def _side_of_road(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, rows = motion.pairs, motion.pairs.once
    a, b = pairs.a[rows], pairs.b[rows]
    way = wrap(motion.yaw) - motion.heading_error  # of the lane
    apart = motion.xy[b] - motion.xy[a]
    off = [np.abs(np.cos(way[k]) * apart[..., 1] - np.sin(way[k]) * apart[..., 0]) for k in (a, b)]
    lane = np.maximum(motion.lane, 0)
    on_road = motion.on_lane & ~motion.in_intersection & motion.graph.for_cars[lane]
    mask = pairs.seen[rows] & on_road[a] & on_road[b]
    mask &= (off[0] <= limits["aside"]) & (off[1] <= limits["aside"])
    mask &= pairs.clearance[rows] <= limits["distance"]
    angle = np.degrees(np.abs(difference(way[a], way[b])))
    mask &= (angle >= limits["from"]) & (angle <= limits["to"])
    return relations(a, b, mask, pairs.clearance[rows], pick=np.argmin)


def _at_stop_sign(motion: Motion, limits: Limits) -> Iterable[Span]:
    mask = np.zeros(motion.seen.shape, dtype=bool)
    least = np.full(motion.seen.shape, np.inf)
    rows = motion.seen & (motion.drives & motion.focus)[:, None] & ~motion.parked[:, None]
    cos, sin = motion.facing
    for sign in motion.scene.map.of_layer(MapLayer.STOP_SIGN):
        dx, dy = np.moveaxis(sign.points[0, :2] - motion.xy, -1, 0)
        x, y = cos * dx + sin * dy - motion.length[:, None] / 2, cos * dy - sin * dx
        near = rows & (x >= -1.0) & (x <= limits["ahead"]) & (np.abs(y) <= limits["aside"])
        mask |= near
        least = np.where(near, np.minimum(least, x), least)
    return states(motion, mask, least, pick=np.argmin)


def _roundabout(motion: Motion, _: Limits) -> Iterable[Span]:
    ring = motion.on_lane & motion.graph.in_ring[np.maximum(motion.lane, 0)]
    return states(motion, ring & motion.drives[:, None])


def _merge_zone(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    rest = motion.graph.length[lane] - motion.lane_s
    mask = motion.on_lane & motion.graph.merges[lane] & (rest <= limits["distance"])
    return states(motion, mask & motion.drives[:, None], rest, pick=np.argmin)


def _lane_straddling(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    out = np.abs(motion.lane_d) + motion.width[:, None] / 2 - motion.graph.half_width[lane]
    mask = motion.on_lane & motion.is_vehicle[:, None] & ~motion.in_intersection
    mask &= (out >= limits["beyond"]) & (motion.speed > 1.0) & motion.graph.has_bounds[lane]
    return states(motion, mask, out)


def _obstacle_on_road(motion: Motion, limits: Limits) -> Iterable[Span]:
    works = np.array([any(w in word for w in WORK_WORDS) for word in motion.words], dtype=bool)
    works &= motion.is_thing
    things = motion.is_thing & motion.focus & (motion.span < limits["span"])
    near = motion.seen & (motion.off_centre <= limits["aside"])
    for i in np.flatnonzero(things & near.any(axis=1)).tolist():
        if _in_row(motion, i, works, limits) >= limits["works"]:
            continue
        for _, begin, end in spells(
            near[i : i + 1], least_s=limits["duration"], bridge_s=limits["unseen"]
        ):
            steps = np.flatnonzero(near[i, begin : end + 1]) + begin
            off = float(np.median(motion.off_centre[i, steps]))
            yield Span(begin=begin, end=end, actor=i, lane=int(motion.lane[i, begin]), value=off)


def _in_row(motion: Motion, i: int, works: Bool[Array, " agents"], limits: Limits) -> int:
    """How many things of road works stand in one lane near a thing, itself included.

    What belongs to road works does so too while the others are hidden.
    """
    step = int(motion.first_seen[i])
    graph = motion.graph
    _, nearest = graph.tree.query(motion.xy[i, step])
    lanes = graph.for_cars[graph.samples.lane]
    centre, yaw = graph.samples.xy[lanes][nearest], graph.samples.yaw[lanes][nearest]
    seen = works & motion.seen.any(axis=1)
    seen[i] = True
    xy = motion.xy[np.arange(motion.agents), motion.first_seen]
    aside = np.cos(yaw) * (xy - centre)[:, 1] - np.sin(yaw) * (xy - centre)[:, 0]
    beside = np.hypot(*(xy - xy[i]).T) <= limits["apart"]
    return int((seen & beside & (np.abs(aside) <= limits["half_lane"])).sum())


def _same_lane(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    away = motion.used[2]
    if not away.size:
        return []
    pa, pb = motion.place[pairs.a], motion.place[pairs.b]
    both = (pa >= 0) & (pb >= 0) & pairs.with_ego[:, None] & pairs.seen
    both &= (motion.drives[pairs.a] & motion.drives[pairs.b])[:, None]
    ia, ib = np.maximum(pa, 0), np.maximum(pb, 0)
    gap = away[ia, ib] + motion.lane_s[pairs.b] - motion.lane_s[pairs.a]
    centred = (np.abs(motion.lane_d[pairs.a]) <= 1.75) & (np.abs(motion.lane_d[pairs.b]) <= 1.75)
    way = motion.on_way[pairs.a[:, None], ib]
    mask = both & centred & way & (gap >= 0.0) & (gap <= limits["distance"])
    return relations(pairs.a, pairs.b, mask, np.where(mask, gap, np.inf), pick=np.argmin)


ON_ROAD = Predicate(
    name="on_road",
    group=GROUP,
    doc="The centre lies within a lane for cars.",
    formula="|d| ≤ max(w_lane/2, {offset}), lane for cars",
    find=_on_road,
    unit="m",
    parameters=(Parameter("offset", 1.75, "m", "own: half a lane, if its bounds are not known"),),
    needs=("map",),
)
IN_DRIVABLE = Predicate(
    name="in_drivable",
    group=GROUP,
    doc="The centre lies on the drivable surface.",
    formula="xy ∈ drivable surface",
    find=_in_drivable,
    needs=("map", "surface"),
    ordinary=True,
)
ON_VEHICLE_LANE = Predicate(
    name="on_vehicle_lane",
    group=GROUP,
    doc="The centre lies within a lane for motor vehicles.",
    formula="|d| ≤ max(w_lane/2, 1.75 m), lane's type ∈ {{vehicle, freeway}}",
    find=_on_lane_type(LaneType.VEHICLE, LaneType.FREEWAY),
    needs=("map",),
    ordinary=True,
)
ON_BIKE_LANE = Predicate(
    name="on_bike_lane",
    group=GROUP,
    doc="A cyclist's centre lies within a lane for cyclists; who drives a motor vehicle is taken to be "
    "on the lane beside it.",
    formula="|d| ≤ max(w_lane/2, 1.75 m), lane's type = bike",
    find=_on_lane_type(LaneType.BIKE),
    needs=("map",),
)
ON_BUS_LANE = Predicate(
    name="on_bus_lane",
    group=GROUP,
    doc="The centre lies within a lane for buses.",
    formula="|d| ≤ max(w_lane/2, 1.75 m), lane's type = bus",
    find=_on_lane_type(LaneType.BUS),
    needs=("map",),
)
OFF_DRIVABLE = Predicate(
    name="off_drivable",
    group=GROUP,
    doc="A corner of a moving vehicle is over 0.3 m off the drivable surface. Unknown while its "
    "centre is over 5 m off: there a map leaves out what is driven on, such as car parks.",
    formula="max over corners of dist(corner, surface) > {distance} ∧ v ≥ {speed}; unknown "
    "where dist(xy, surface) > {farthest}",
    find=_off_drivable,
    unit="m",
    parameters=(
        Parameter("distance", 0.3, "m", "nuPlan drivable-area compliance"),
        Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),
        Parameter("farthest", 5.0, "m", "own"),
    ),
    needs=("map", "surface"),
    version=4,
    only=(VEHICLES,),
)
IN_INTERSECTION = Predicate(
    name="in_intersection",
    group=GROUP,
    doc="The centre is on a lane, or in an area, of an intersection.",
    formula="lane ∈ intersection ∨ xy ∈ intersection's area",
    find=_in_intersection,
    needs=("map",),
    only=(DRIVING,),
)
NEAR_INTERSECTION = Predicate(
    name="near_intersection",
    group=GROUP,
    doc="In an intersection or within 5 m of one of its lanes.",
    formula="in_intersection ∨ dist(xy, centre lines of intersections) − {half_lane} ≤ {distance}",
    find=_near_intersection,
    unit="m",
    parameters=(
        Parameter("distance", 5.0, "m", "RefAV near_intersection"),
        Parameter("half_lane", 1.75, "m", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
AT_CROSSWALK = Predicate(
    name="at_crosswalk",
    group=GROUP,
    doc="Some part is within 1 m of a crosswalk.",
    formula="dist(outline, crosswalk) ≤ {distance}",
    find=_at_crosswalk,
    parameters=(Parameter("distance", CROSSWALK_M, "m", "RefAV at_pedestrian_crossing"),),
    needs=("map", "crosswalks"),
    version=4,
)
TRAVERSING_CROSSWALK = Predicate(
    name="traversing_crosswalk",
    group=GROUP,
    doc="Moves over a crosswalk, some part on it; value: the greatest speed meanwhile.",
    formula="outline ∩ crosswalk ≠ ∅ ∧ v ≳ {speed}",
    find=_traversing_crosswalk,
    unit="m/s",
    parameters=(Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),),
    needs=("map", "crosswalks"),
)
AT_STOP_SIGN = Predicate(
    name="at_stop_sign",
    group=GROUP,
    doc="Within 10 m before a stop sign.",
    formula="−1 m ≤ x_sign − l/2 ≤ {ahead} ∧ |y_sign| ≤ {aside}",
    find=_at_stop_sign,
    unit="m",
    parameters=(
        Parameter("ahead", 10.0, "m", "RefAV at_stop_sign"),
        Parameter("aside", 7.0, "m", "RefAV at_stop_sign"),
    ),
    needs=("map", "stop_signs"),
    version=4,
    only=(DRIVING,),
)
ON_STOP_LINE = Predicate(
    name="on_stop_line",
    group=GROUP,
    doc="Some part is over a stop line, or within the area that a map draws before one.",
    formula="outline ∩ stop line ≠ ∅ ∨ xy ∈ stop area",
    find=_on_stop_line,
    needs=("map", "stop_lines"),
    only=(DRIVING,),
)
ALL_WAY_STOP = Predicate(
    name="all_way_stop",
    group=GROUP,
    doc="In an intersection, or within 10 m before it, whose every way in has a stop sign.",
    formula="lane ∈ all-way stop ∧ (lane ∈ intersection ∨ s_end − s − l/2 ≤ {ahead})",
    find=_all_way_stop,
    parameters=(Parameter("ahead", 10.0, "m", "RefAV at_stop_sign"),),
    needs=("map", "stop_signs"),
    only=(DRIVING,),
)
IN_CARPARK = Predicate(
    name="in_carpark",
    group=GROUP,
    doc="The centre is in a car park.",
    formula="xy ∈ car park",
    find=_in_area(MapLayer.PARKING),
    needs=("map", "carparks"),
)
OBSTACLE_ON_ROAD = Predicate(
    name="obstacle_on_road",
    group=GROUP,
    doc="A thing that is no road user, such as debris, lies where cars drive: its centre near the middle "
    "of a lane. What stands in a row of three or more with cones, barriers and the like of road works "
    "is not meant. "
    "Value: how far from the centre line.",
    formula="class = obstacle ∧ span(xy) < {span} ∧ c ≤ {aside}, unseen for ≤ {unseen}, T ≥ {duration}; "
    "things of works within {apart} and {half_lane} across the lane, with itself, < {works}",
    find=_obstacle_on_road,
    unit="m",
    parameters=(
        Parameter(
            "aside", IN_LANE_M, "m", "own: nearer, a car that keeps to the middle would hit it"
        ),
        Parameter(
            "span", PARKED_SPAN_M, "m", "RefAV stationary; WOMD kMaxDisplacementForStationary"
        ),
        Parameter("works", 3.0, "1", "own: as in work_zone"),
        Parameter("apart", 10.0, "m", "own: between things of one row"),
        Parameter("half_lane", 1.75, "m", "own: a row is in one lane"),
        Parameter("duration", 1.0, "s", "own"),
        Parameter("unseen", 1.0, "s", "own: longest time out of sight"),
    ),
    needs=("map",),
    only=(frozenset({AgentClass.OBSTACLE}),),
    version=1,
)
STALLED_VEHICLE = Predicate(
    name="stalled_vehicle",
    group=GROUP,
    doc="A vehicle stands in the middle of a lane for 4 s or more, and nothing keeps it from going on: "
    "no red or yellow light, nobody and nothing just ahead, no intersection, merge, crosswalk, stop line, "
    "stop sign or lane's end soon ahead, no car park about it. Unknown where it may wait for a light "
    "farther ahead, or one that was not recorded; in a queue, with room to whoever is ahead or out of the "
    "ego's sight; or be parked at the side of the road, not seen to come and in nobody's way. Not in "
    "doubt who was behind it and gets past it into its lane. Value: how long it stands so.",
    formula="stopped ∧ |d| ≤ {aside} ∧ |ψ − ψ_lane| ≤ {angle}, moved ≤ {moved} while unseen, "
    "T ≥ {duration}; no red or yellow signal with q ≤ {light}, nobody ≤ {queue} ahead, no place to give "
    "way ≤ {ahead} ahead; unknown: signal not known to be other than red, or none and no stop sign, "
    "≤ {line} before an intersection or the map's end; lead < 2 m/s with gap ≤ {room}; 3 m ahead never in "
    "sight until 2 s before t1; or v < 2 m/s before, no lane on some side, nobody held up",
    find=stalled,
    unit="s",
    parameters=(
        Parameter("duration", 4.0, "s", "own: who may go sets off sooner"),
        Parameter("aside", IN_LANE_M, "m", "own: farther from the middle it stands at the side"),
        Parameter("angle", 45.0, "°", "RefAV same direction"),
        Parameter("queue", 5.0, "m", "own: room left to whoever is ahead in a queue"),
        Parameter("room", 20.0, "m", "own: more is left in no queue"),
        Parameter("ahead", 15.0, "m", "own: where to give way is so far ahead"),
        Parameter("light", 30.0, "m", "own: as in stationary_at_light"),
        Parameter("line", 60.0, "m", "own: farther before an intersection nobody queues"),
        Parameter(
            "moved", 1.0, "m", "own: less far from where it was last seen, it is where it was"
        ),
    ),
    needs=("map",),
    only=(VEHICLES,),
    version=4,
)
IN_PICKUP_DROPOFF = Predicate(
    name="in_pickup_dropoff",
    group=GROUP,
    doc="The centre is where passengers get in and out. No map that is read tells such places, so "
    "this is unknown everywhere.",
    formula="unknown everywhere",
    find=_in_pickup_dropoff,
    needs=("map",),
)
ROUNDABOUT = Predicate(
    name="roundabout",
    group=GROUP,
    doc="Drives on the circle of a roundabout: round, about an island that no lane crosses.",
    formula="lane ∈ ring of lanes that bend one way, ≤ 320 m round, ≤ 30 % of it straight; r_min ≥ 3/4 r_max "
    "about its middle, no other lane within r_min/2; ≥ 3 ways in and out",
    find=_roundabout,
    needs=("map",),
    only=(DRIVING,),
    version=4,
)
MERGE_ZONE = Predicate(
    name="merge_zone",
    group=GROUP,
    doc="On the last metres of a lane that runs together with another, outside intersections.",
    formula="lane runs together with another ∧ s_end − s ≤ {distance}",
    find=_merge_zone,
    unit="m",
    parameters=(Parameter("distance", 50.0, "m", "own"),),
    needs=("map",),
    only=(DRIVING,),
    version=4,
)
LANE_STRADDLING = Predicate(
    name="lane_straddling",
    group=GROUP,
    doc="A moving vehicle reaches over its lane's edge.",
    formula="|d| + w/2 − w_lane/2 ≥ {beyond} ∧ v > 1 m/s ∧ ¬in_intersection",
    find=_lane_straddling,
    unit="m",
    parameters=(Parameter("beyond", 0.3, "m", "own"),),
    needs=("map", "bounds"),
    only=(VEHICLES,),
)
NARROW_LANE = Predicate(
    name="narrow_lane",
    group=GROUP,
    doc="A vehicle drives on a lane narrower than 2.75 m; value: its width half way along.",
    formula="w_lane < {width} ∧ v ≥ {speed}",
    find=_narrow_lane,
    unit="m",
    parameters=(
        Parameter("width", 2.75, "m", "own: nuPlan names the tag, but no width"),
        Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),
    ),
    needs=("map", "bounds"),
    only=(VEHICLES,),
)
SAME_SIDE = Predicate(
    name="same_side_of_road",
    group=GROUP,
    doc="Both are on lanes of one road that run the same way, outside intersections (of the ego "
    "and others; of any two if there is no ego).",
    formula="{from} ≤ |ψ_lane − ψ_lane,other| ≤ {to} ∧ |offset across either lane| ≤ "
    "{aside} ∧ clear ≤ {distance}",
    find=_side_of_road,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("from", 0.0, "°", "RefAV same direction"),
        Parameter("to", 45.0, "°", "RefAV same direction"),
        Parameter("aside", 20.0, "m", "own: beyond is another road"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    needs=("map",),
    symmetric=True,
    of_ego=True,
    ordinary=True,
)
OPPOSITE_SIDE = Predicate(
    name="opposite_side_of_road",
    group=GROUP,
    doc="The two are on lanes of one road that run opposite ways, outside intersections (of the "
    "ego and others; of any two if there is no ego).",
    formula="{from} ≤ |ψ_lane − ψ_lane,other| ≤ {to} ∧ |offset across either lane| ≤ "
    "{aside} ∧ clear ≤ {distance}",
    find=_side_of_road,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("from", 135.0, "°", "RefAV opposite direction"),
        Parameter("to", 180.0, "°", "RefAV opposite direction"),
        Parameter("aside", 20.0, "m", "own: beyond is another road"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    needs=("map",),
    symmetric=True,
    of_ego=True,
    ordinary=True,
)
SAME_LANE = Predicate(
    name="same_lane",
    group=GROUP,
    doc="The two are on one lane, or on what continues it, at most 50 m apart along it; the actor is "
    "the one behind.",
    formula="0 ≤ s_other − s ≤ {distance} along the actor's way ∧ |d| ≤ 1.75 m ∧ |d_other| "
    "≤ 1.75 m",
    find=_same_lane,
    roles=("actor", "other"),
    unit="m",
    parameters=(Parameter("distance", 50.0, "m", "RefAV output_scenario"),),
    needs=("map",),
    symmetric=True,
    of_ego=True,
)

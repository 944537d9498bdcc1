"""Where an agent is on the map."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import difference, unit, wrap
from geometry.arrays import Array
from geometry.boxes import Box, corners, in_frame_of, meets_line
from geometry.polylines import arc_length, resample
from mining.intervals import BRIDGE_S, above, spells
from mining.lanes import SIGN_ASIDE_M, SPACING_M
from mining.motion import FOCUS_M, IN_LANE_M, PARKED_SPAN_M, Motion
from mining.predicates.longitudinal import standing
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
from mining.predicates.told import WORK_WORDS
from mining.sight import lines_of_sight
from schemas.labels import DRIVING, VEHICLES, AgentClass, LaneType, LightState, MapLayer, Truth
from schemas.scene import DT

GROUP = "map_relation"
AHEAD_ASIDE_M = 3.0
"""[m] What is farther aside than this is not ahead."""
WHOLLY = 0.999
"""Share of an angle that is all of it."""
ROOM_M = 5.0
"""[m] What a vehicle takes up."""
SPOT_M, SPOT_STEPS = 3.0, 5
"""[m, steps] How far ahead of who stands its leader's rear would be, and how often one looks there."""


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
    reach = np.hypot(motion.length, motion.width)[:, None] / 2
    far = motion.edge_left > reach + SPACING_M
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


def _at_crosswalk(motion: Motion, _: Limits) -> Iterable[Span]:
    return states(motion, motion.at_crosswalk)


def _traversing_crosswalk(motion: Motion, limits: Limits) -> Iterable[Span]:
    moves = above(motion.speed, limits["speed"], known=motion.seen & ~motion.is_thing[:, None])
    return states(motion, motion.on_crosswalk & moves, motion.speed)


def _on_stop_line(motion: Motion, _: Limits) -> Iterable[Span]:
    mask = np.zeros(motion.seen.shape, dtype=bool)
    reach = np.hypot(motion.length, motion.width)[:, None] / 2 + 1.0
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


def _stalled_vehicle(motion: Motion, limits: Limits) -> Iterable[Span]:
    stands = _stands_in_lane(motion, limits)
    view, lasts = motion.signal, {"least_s": limits["duration"], "bridge_s": BRIDGE_S}
    before_light = (view.distance > -2.0) & (view.distance <= limits["light"])
    held = before_light & np.isin(view.state, (LightState.RED, LightState.YELLOW))
    unlit = before_light & (view.state == LightState.UNKNOWN)
    queues = _may_queue(motion, limits)
    waits = _places_to_wait(motion)
    for i, begin, end in spells(stands, **lasts):
        seen = np.flatnonzero(stands[i, begin : end + 1] & motion.seen[i, begin : end + 1]) + begin
        box = np.median(motion.boxes[i, seen], axis=0)
        to_wait, to_junction = (_ahead_of(box, points) for points in waits)
        if to_wait <= limits["ahead"]:
            continue
        span = np.zeros(motion.steps, dtype=bool)
        span[begin : end + 1] = True
        free = span & stands[i] & ~held[i] & ~_blocked(motion, i, box, limits)
        doubt = unlit[i].copy()
        perhaps = queues[i] | (to_junction <= limits["line"])
        hidden = bool((free & perhaps).any()) and not _saw_ahead_of(motion, box, begin, end)
        if hidden:
            doubt |= perhaps
        if not motion.scene.has_signals and to_junction <= limits["light"]:
            doubt |= not _signed(motion, box, limits["light"])
        known = list(spells((free & ~doubt)[None], **lasts))
        for _, b, e in known:
            yield Span(
                begin=b, end=e, actor=i, lane=int(motion.lane[i, seen[0]]), value=(e - b + 1) * DT
            )
        if not known:
            for _, b, e in spells(free[None], **lasts):
                reason = {
                    "reason": "what holds it up, a light or a queue, may have been out of sight"
                }
                yield Span(begin=b, end=e, actor=i, truth=Truth.UNKNOWN, evidence=reason)


def _signed(motion: Motion, box: Float[Array, " 5"], within: float) -> bool:
    """Whether a stop sign stands ahead, so that no light does."""
    signs = [f.points[:1, :2] for f in motion.scene.map.of_layer(MapLayer.STOP_SIGN)]
    points = np.concatenate([np.zeros((0, 2)), *signs])
    x, y = in_frame_of(points, np.broadcast_to(box, (len(points), 5))).T
    x = x - box[Box.LENGTH] / 2
    return bool(((x > 0.0) & (x <= within) & (np.abs(y) <= SIGN_ASIDE_M)).any())


def _stands_in_lane(motion: Motion, limits: Limits) -> Bool[Array, "agents steps"]:
    """Who stands in the middle of a lane, its way, neither in an intersection nor in a car park.

    Who is seen there again, in the same place, stood there meanwhile.
    """
    lane = np.maximum(motion.lane, 0)
    stands = standing(motion) & (motion.is_vehicle & motion.focus)[:, None] & motion.on_lane
    stands &= motion.graph.for_cars[lane] & (np.abs(motion.lane_d) <= limits["aside"])
    stands &= np.abs(motion.heading_error) <= np.radians(limits["angle"])
    stands &= ~motion.in_intersection
    for area in motion.areas(MapLayer.PARKING):
        stands &= ~motion.within(area, among=stands)
    for i in np.flatnonzero(stands.any(axis=1) & ~motion.seen.all(axis=1)).tolist():
        for before, after in pairwise(np.flatnonzero(motion.seen[i]).tolist()):
            moved = motion.xy[i, after] - motion.xy[i, before]
            if stands[i, before] and stands[i, after] and np.hypot(*moved) <= limits["moved"]:
                stands[i, before:after] = True
    return stands


def _may_queue(motion: Motion, limits: Limits) -> Bool[Array, "agents steps"]:
    """Who may stand in a queue that the ego cannot see: before a light, or with others ahead that stand.

    Not who is seen to have somebody so near ahead that nobody fits between.
    """
    view, leads = motion.signal, motion.leads
    queues = (view.distance > 0.0) & np.isin(view.state, (LightState.RED, LightState.YELLOW))
    next_known, still = np.zeros(queues.shape, dtype=bool), standing(motion)
    for row, (a, b) in enumerate(zip(leads.a.tolist(), leads.b.tolist(), strict=True)):
        queues[a] |= (leads.gap[row] <= limits["light"]) & still[b]
        next_known[a] |= leads.gap[row] <= limits["queue"] + ROOM_M
    return queues & ~next_known


def _places_to_wait(motion: Motion) -> tuple[Float[Array, "points 2"], Float[Array, "others 2"]]:
    """Where one may have to wait, at most a metre apart; and which of it are intersections [m].

    Intersections, crosswalks, stop lines and signs, and the ends of lanes that nothing continues.
    """
    graph, road = motion.graph, motion.scene.map
    samples = graph.samples
    junction = samples.xy[(graph.in_intersection & graph.for_cars)[samples.lane]]
    last = [
        samples.xy[samples.first[k] + samples.count[k] - 1]
        for k in np.flatnonzero(graph.for_cars).tolist()
        if not graph.successors[k]
    ]
    lines = [
        f.points for f in road.features if f.layer in (MapLayer.STOP_LINE, MapLayer.STOP_SIGN)
    ]
    crosswalks = road.of_layer(MapLayer.CROSSWALK)
    lines += [np.concatenate([f.points, f.points[:1]]) for f in crosswalks]
    dense = [resample(line, 2 + int(arc_length(line)[-1]))[:, :2] for line in lines]
    ends = np.array(last, dtype=np.float64).reshape(-1, 2)
    return np.concatenate([junction, ends, *dense]), junction


def _ahead_of(box: Float[Array, " 5"], points: Float[Array, "points 2"]) -> float:
    """From the front of a box to the nearest of some points ahead, at most 3 m aside; ∞ if none [m]."""
    x, y = in_frame_of(points, np.broadcast_to(box, (len(points), 5))).T
    x = x[np.abs(y) < AHEAD_ASIDE_M] - box[Box.LENGTH] / 2
    return float(x[x > 0.0].min(initial=np.inf))


def _blocked(
    motion: Motion, i: int, box: Float[Array, " 5"], limits: Limits
) -> Bool[Array, " steps"]:
    """Whether anybody or anything is just ahead of where an agent stands, on a lane or not.

    Who is lost from sight there is taken to be there still, and who comes into sight there, to have
    been there before.
    """
    reach = limits["queue"] + motion.length + motion.length[i] + motion.width + motion.width[i]
    away = np.hypot(*np.moveaxis(motion.xy - box[:2], -1, 0))
    beside = (motion.seen & (away <= reach[:, None])).any(axis=1)
    beside[i] = False
    who = np.flatnonzero(beside)
    xy, seen, length, width = (
        motion.xy[who],
        motion.seen[who],
        motion.length[who],
        motion.width[who],
    )
    frames = np.broadcast_to(box, (*xy.shape[:2], 5))
    x, y = np.moveaxis(in_frame_of(xy, frames), -1, 0)
    gap = x - (length[:, None] + motion.length[i]) / 2
    ahead = (x > 0.0) & (gap <= limits["queue"])
    ahead &= np.abs(y) <= (width[:, None] + motion.width[i]) / 2
    steps = np.arange(motion.steps)
    last = np.maximum.accumulate(np.where(seen, steps, -1), axis=1)
    last = np.where(last < 0, motion.first_seen[who][:, None], last)
    held = np.take_along_axis(ahead & seen, last, axis=1)
    return np.asarray(held.any(axis=0))


def _saw_ahead_of(motion: Motion, box: Float[Array, " 5"], begin: int, end: int) -> bool:
    """Whether the ego ever saw, between two steps, the ground where whoever is ahead would stand.

    Seen from above, as in :mod:`mining.sight`. Recordings without an ego see everything, and so do
    those that tell for a second of somebody who is wholly behind one as tall.
    """
    if not motion.scene.has_ego:
        return True
    front = box[Box.LENGTH] / 2
    spot = box[:2] + (front + SPOT_M) * unit(box[Box.YAW : Box.YAW + 1])[0]
    hides = ~motion.is_pedestrian & ~motion.is_thing
    hides[0] = False
    for step in range(begin, end + 1, SPOT_STEPS):
        boxes = motion.boxes[motion.seen[:, step] & hides, step]
        if not meets_line(boxes, np.stack([motion.xy[0, step], spot])).any():
            return True
    sight = lines_of_sight(motion, within=FOCUS_M)
    height = motion.size[:, 2]
    lower = height[sight.far] <= height[sight.near]
    hidden = (sight.share >= WHOLLY) & (lower & hides[sight.near])[:, None]
    return any(True for _ in spells(hidden, least_s=1.0, bridge_s=0.0))


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
    version=3,
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
    parameters=(Parameter("distance", 1.0, "m", "RefAV at_pedestrian_crossing"),),
    needs=("map", "crosswalks"),
    version=3,
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
    version=3,
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
    "no red or yellow light, nobody and nothing just ahead, no intersection, crosswalk, stop line, stop "
    "sign or lane's end soon ahead, no car park about it. Unknown where a light may be the reason that "
    "was not recorded, or a queue that the ego could not see. Value: how long it stands so.",
    formula="stopped ∧ |d| ≤ {aside} ∧ |ψ − ψ_lane| ≤ {angle}, moved ≤ {moved} while unseen, "
    "T ≥ {duration}; no red or yellow signal with q ≤ {light}, nobody ≤ {queue} ahead, no place to give "
    "way ≤ {ahead} ahead; unknown ≤ {line} before an intersection where the ego could not see ahead of it",
    find=_stalled_vehicle,
    unit="s",
    parameters=(
        Parameter("duration", 4.0, "s", "own: who may go sets off sooner"),
        Parameter("aside", IN_LANE_M, "m", "own: farther from the middle it stands at the side"),
        Parameter("angle", 45.0, "°", "RefAV same direction"),
        Parameter("queue", 5.0, "m", "own: room left to whoever is ahead in a queue"),
        Parameter("ahead", 15.0, "m", "own: where to give way is so far ahead"),
        Parameter("light", 30.0, "m", "own: as in stationary_at_light"),
        Parameter("line", 60.0, "m", "own: farther before an intersection nobody queues"),
        Parameter(
            "moved", 1.0, "m", "own: less far from where it was last seen, it is where it was"
        ),
    ),
    needs=("map",),
    only=(VEHICLES,),
    version=1,
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
    doc="Drives on the circle of a roundabout.",
    formula="lane ∈ ring",
    find=_roundabout,
    needs=("map",),
    only=(DRIVING,),
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

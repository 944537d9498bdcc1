"""Where an agent is on the map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations, states
from schemas.labels import MapLayer

GROUP = "map_relation"
SURFACES = (MapLayer.DRIVABLE_AREA, MapLayer.DRIVEWAY, MapLayer.PARKING, MapLayer.INTERSECTION)


def _on_road(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    width = np.maximum(motion.graph.half_width[lane], limits["offset"])
    mask = motion.on_lane & motion.graph.for_cars[lane] & (np.abs(motion.lane_d) <= width)
    return states(motion, mask, motion.lane_d, pick=_middle)


def _middle(values: Float[Array, " steps"]) -> int:
    return int(np.argsort(values, kind="stable")[len(values) // 2])


def _off_drivable(motion: Motion, limits: Limits) -> Iterable[Span]:
    mask = motion.is_vehicle[:, None] & motion.seen & ~motion.parked[:, None]
    if motion.scene.map.of_layer(MapLayer.DRIVABLE_AREA):
        outside = mask & ~_wholly_on_surface(motion, limits["distance"])
        return states(motion, outside)
    beyond = _beyond_edge(motion)
    return states(motion, mask & (beyond > limits["distance"]), beyond)


def _wholly_on_surface(motion: Motion, slack: float) -> Bool[Array, "agents steps"]:
    """Whether every corner, drawn in by ``slack``, lies on some drivable area."""
    areas = [a for layer in SURFACES for a in motion.areas(layer)]
    rows, steps = np.nonzero(motion.seen & motion.is_vehicle[:, None])
    covered = np.zeros((len(rows), 4), dtype=bool)
    corners = motion.outline_points(rows, steps)[:, :4]
    centre = motion.xy[rows, steps][:, None, :]
    away = corners - centre
    reach = np.linalg.norm(away, axis=-1, keepdims=True)
    corners = centre + away * np.maximum(1.0 - slack / np.maximum(reach, 1e-6), 0.0)
    import shapely

    points = shapely.points(corners.reshape(-1, 2))
    for area in areas:
        polygon = shapely.make_valid(shapely.polygons(area.points[:, :2].astype(np.float64)))
        shapely.prepare(polygon)
        covered |= shapely.covers(polygon, points).reshape(covered.shape)
    whole = np.ones(motion.seen.shape, dtype=bool)
    whole[rows, steps] = covered.all(axis=1)
    return whole


def _beyond_edge(motion: Motion) -> Float[Array, "agents steps"]:
    """How far the farthest corner lies on the wrong side of the nearest road edge [m].

    Road edges run with the drivable surface to their left (Waymo Open Motion; the same rule as in
    its Sim Agents metrics). Corners farther than 5 m from any edge are not judged.
    """
    beyond = np.full(motion.seen.shape, -np.inf)
    rows, steps = np.nonzero(motion.seen & (motion.is_vehicle & motion.focus)[:, None])
    points, course = motion.graph.road_edges
    if not len(points) or not len(rows):
        return beyond
    corners = motion.outline_points(rows, steps)[:, :4].reshape(-1, 2)
    distance, near = motion.graph.edge_tree.query(corners, distance_upper_bound=5.0)
    found = np.isfinite(distance)
    near = np.where(found, near, 0)
    offset = corners - points[near]
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


def _at_stop_sign(motion: Motion, limits: Limits) -> Iterable[Span]:
    mask = np.zeros(motion.seen.shape, dtype=bool)
    least = np.full(motion.seen.shape, np.inf)
    rows = motion.seen & (motion.drives & motion.focus)[:, None] & ~motion.parked[:, None]
    cos, sin = np.cos(motion.yaw), np.sin(motion.yaw)
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
    find=_on_road,
    unit="m",
    parameters=(Parameter("offset", 1.75, "m", "own: half a lane, if its bounds are not known"),),
    needs=("map",),
)
OFF_DRIVABLE = Predicate(
    name="off_drivable",
    group=GROUP,
    doc="A corner of a moving vehicle is over 0.3 m off the drivable surface.",
    find=_off_drivable,
    unit="m",
    parameters=(Parameter("distance", 0.3, "m", "nuPlan drivable-area compliance"),),
    needs=("map", "surface"),
)
IN_INTERSECTION = Predicate(
    name="in_intersection",
    group=GROUP,
    doc="The centre is on a lane, or in an area, of an intersection.",
    find=_in_intersection,
    needs=("map",),
)
NEAR_INTERSECTION = Predicate(
    name="near_intersection",
    group=GROUP,
    doc="In an intersection or within 5 m of one of its lanes.",
    find=_near_intersection,
    unit="m",
    parameters=(
        Parameter("distance", 5.0, "m", "RefAV near_intersection"),
        Parameter("half_lane", 1.75, "m", "own"),
    ),
    needs=("map",),
)
AT_CROSSWALK = Predicate(
    name="at_crosswalk",
    group=GROUP,
    doc="Some part is within 1 m of a crosswalk.",
    find=_at_crosswalk,
    parameters=(Parameter("distance", 1.0, "m", "RefAV at_pedestrian_crossing"),),
    needs=("map",),
)
AT_STOP_SIGN = Predicate(
    name="at_stop_sign",
    group=GROUP,
    doc="Within 10 m before a stop sign.",
    find=_at_stop_sign,
    unit="m",
    parameters=(
        Parameter("ahead", 10.0, "m", "RefAV at_stop_sign"),
        Parameter("aside", 7.0, "m", "RefAV at_stop_sign"),
    ),
    needs=("map",),
)
ROUNDABOUT = Predicate(
    name="roundabout",
    group=GROUP,
    doc="Drives on the circle of a roundabout.",
    find=_roundabout,
    needs=("map",),
)
MERGE_ZONE = Predicate(
    name="merge_zone",
    group=GROUP,
    doc="On the last metres of a lane that runs together with another, outside intersections.",
    find=_merge_zone,
    unit="m",
    parameters=(Parameter("distance", 50.0, "m", "own"),),
    needs=("map",),
)
LANE_STRADDLING = Predicate(
    name="lane_straddling",
    group=GROUP,
    doc="A moving vehicle reaches over its lane's edge.",
    find=_lane_straddling,
    unit="m",
    parameters=(Parameter("beyond", 0.3, "m", "own"),),
    needs=("map", "bounds"),
)
SAME_LANE = Predicate(
    name="same_lane",
    group=GROUP,
    doc="The other is ahead on the actor's own lane or what continues it, within 50 m.",
    find=_same_lane,
    roles=("actor", "other"),
    unit="m",
    parameters=(Parameter("distance", 50.0, "m", "RefAV output_scenario"),),
    needs=("map",),
)

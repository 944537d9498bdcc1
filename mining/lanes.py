"""The lanes of a map as a graph: what lies downstream, where ways cross, merge and circle.

Where a source gives no topology (GPUDrive) it is found from the geometry: a lane continues another
that begins where it ends and points its way. Where a source does not say which lanes lie in an
intersection (Waymo, GPUDrive), those do that cross another, and the turning lanes beside them.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from geometry.angles import difference, wrap
from geometry.arrays import Array
from geometry.polylines import arc_length, resample
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap

SPACING_M = 1.0
JOIN_M = 1.5
"""[m] Lanes whose end and start lie nearer than this are taken to join, if nothing says so."""
JOIN_TURN = np.pi / 4
"""[rad] Greatest kink at such a joint."""
CROSS_TURN = np.radians(20.0)
"""[rad] Least angle at which two lanes count as crossing."""
LEVELS_M = 2.5
"""[m] Lanes farther apart in height do not meet (bridges)."""
HALF_WIDTH_M = 1.75
"""[m] Of a lane whose boundaries are not known."""
REACH_M = 150.0
"""[m] How far downstream a lane looks."""
MERGE_BACK_M = 30
"""[m] Where lanes that run together are compared, before the joint."""
TURN_LANE = np.radians(40.0)
"""[rad] A connecting lane that bends by this much turns left or right."""
RING_M = 320.0
"""[m] Longest way round a roundabout."""
RING_STRAIGHT = 0.3
"""Greatest share of the way round a roundabout on lanes that bend less."""
RING_EVEN = 0.75
"""Least share of a roundabout's greatest radius that its least is."""
RING_ISLAND = 0.5
"""Share of its radius within which nothing is driven on."""
RING_WAYS = 3
"""Ways into it and out of it, at least: a circular road has none."""
RING_BEND = 1.0 / 60.0
"""[1/m] Least mean curvature of a lane of a roundabout."""
NO_CARS = (LaneType.BIKE, LaneType.SIDEWALK)
SURFACES = (MapLayer.DRIVABLE_AREA, MapLayer.DRIVEWAY, MapLayer.PARKING, MapLayer.INTERSECTION)
"""Layers that a vehicle may be on, where a map draws its drivable areas."""
SIGN_ALONG_M, SIGN_ASIDE_M = 12.0, 10.0
"""[m] How far before or after the end of a lane, and beside it, its stop sign stands."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Every lane as points 1 m apart.

    Attributes:
        xy: [m].
        yaw: Direction of travel [rad].
        z: Height; NaN where not known [m].
        lane: Index of the lane.
        first: Of each lane, the index of its first point.
        count: Of each lane, how many points.
    """

    xy: Float[Array, "points 2"]
    yaw: Float[Array, " points"]
    z: Float[Array, " points"]
    lane: Int[Array, " points"]
    first: Int[Array, " lanes"]
    count: Int[Array, " lanes"]


class LaneGraph:
    """Lanes by index; ``feature[i]`` is the feature id of lane ``i``."""

    def __init__(self, road_map: RoadMap) -> None:
        """Sample the lanes and join them."""
        lanes = [f for f in road_map.of_layer(MapLayer.LANE) if len(f.points) > 1]
        lengths = _lengths(lanes)
        self.lanes: list[MapFeature] = [
            f for f, way in zip(lanes, lengths.tolist(), strict=True) if way > 0.1
        ]
        self.feature = np.array([f.feature_id for f in self.lanes], dtype=np.int64)
        size = max((f.feature_id for f in road_map.features), default=-1) + 1
        self.index_of = np.full(size, -1, dtype=np.int64)
        self.index_of[self.feature] = np.arange(len(self.lanes))
        self.length = lengths[lengths > 0.1]
        self.for_cars = np.array([f.lane_type not in NO_CARS for f in self.lanes], dtype=bool)
        self.lane_type = np.array([int(f.lane_type) for f in self.lanes], dtype=np.int64)
        self.limit = np.array(
            [np.nan if f.speed_limit is None else f.speed_limit for f in self.lanes]
        )
        self.has_bounds = np.array(
            [f.left is not None and f.right is not None for f in self.lanes], dtype=bool
        )
        self.half_width = _half_widths(self.lanes)
        self.samples = _sample(self.lanes, self.length)
        self._edges = [f.points for f in road_map.of_layer(MapLayer.ROAD_EDGE)]
        self._outlines: dict[int, Any] = {}
        self._signs = [f.points[0, :2] for f in road_map.of_layer(MapLayer.STOP_SIGN)]
        marks = (MapLayer.STOP_LINE, MapLayer.STOP_SIGN)
        self._waits = [f.points for f in road_map.features if f.layer in marks]
        crosswalks = road_map.of_layer(MapLayer.CROSSWALK)
        self._waits += [np.concatenate([f.points, f.points[:1]]) for f in crosswalks]
        drivable = road_map.of_layer(MapLayer.DRIVABLE_AREA)
        self._areas = (
            [f for layer in SURFACES for f in road_map.of_layer(layer)] if drivable else []
        )
        self._successor_edges = road_map.edges[road_map.edges[:, 1] == EdgeKind.SUCCESSOR]

    def __len__(self) -> int:
        return len(self.lanes)

    def indices(self, feature_ids: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """Lane indices of feature ids; −1 for what is no lane."""
        if self.index_of.size == 0:
            return np.full(feature_ids.shape, -1, dtype=np.int64)
        inside = (feature_ids >= 0) & (feature_ids < self.index_of.size)
        return np.where(inside, self.index_of[np.where(inside, feature_ids, 0)], -1)

    @cached_property
    def successors(self) -> list[list[int]]:
        """Lanes that continue each lane."""
        found: list[list[int]] = [[] for _ in self.lanes]
        if len(self._successor_edges):
            for begin, _, end in self._successor_edges.tolist():
                a, b = int(self.index_of[begin]), int(self.index_of[end])
                if a >= 0 and b >= 0 and b not in found[a]:
                    found[a].append(b)
            return found
        if not self.lanes:
            return found
        starts = self.samples.xy[self.samples.first]
        last = self.samples.first + self.samples.count - 1
        ends, end_yaw = self.samples.xy[last], self.samples.yaw[last]
        start_yaw = self.samples.yaw[self.samples.first]
        for a, near in enumerate(cKDTree(starts).query_ball_point(ends, JOIN_M)):
            others = np.array(sorted(set(near) - {a}), dtype=np.int64)
            kink = np.abs(difference(start_yaw[others], np.full(len(others), end_yaw[a])))
            found[a] = others[kink < JOIN_TURN].tolist()
        return found

    @cached_property
    def predecessors(self) -> list[list[int]]:
        """Lanes that each lane continues."""
        found: list[list[int]] = [[] for _ in self.lanes]
        for a, following in enumerate(self.successors):
            for b in following:
                found[b].append(a)
        return found

    @cached_property
    def turn(self) -> Float[Array, " lanes"]:
        """How far each lane bends from its start to its end, left positive [rad]."""
        if not self.lanes:
            return np.zeros(0)
        step = wrap(np.diff(self.samples.yaw, append=0.0))
        last = self.samples.first + self.samples.count - 1
        step[last] = 0.0  # from one lane to the next is no bend
        return np.asarray(np.add.reduceat(step, self.samples.first))

    @cached_property
    def crossings(self) -> list[list[int]]:
        """Lanes that cut across each lane at the same level."""
        import shapely

        found: list[list[int]] = [[] for _ in self.lanes]
        if len(self.lanes) < 2:
            return found
        lines = shapely.linestrings(self.samples.xy, indices=self.samples.lane)
        a, b = shapely.STRtree(lines).query(lines)
        a, b = a[a < b], b[a < b]
        shapely.prepare(lines)
        crosses = shapely.crosses(lines[a], lines[b])
        a, b = a[crosses], b[crosses]
        points, pair = shapely.get_coordinates(
            shapely.intersection(lines[a], lines[b]), return_index=True
        )
        yaw_a, z_a = self._beside(points, a[pair], lines)
        yaw_b, z_b = self._beside(points, b[pair], lines)
        turn = np.abs(difference(yaw_a, yaw_b))
        cuts = (np.minimum(turn, np.pi - turn) > CROSS_TURN) & ~(np.abs(z_a - z_b) > LEVELS_M)
        for k in np.unique(pair[cuts]).tolist():
            found[int(a[k])].append(int(b[k]))
            found[int(b[k])].append(int(a[k]))
        return found

    def _beside(
        self, points: Float[Array, "points 2"], lane: Int[Array, " points"], lines: Any
    ) -> tuple[Float[Array, " points"], Float[Array, " points"]]:
        """Direction and height of a lane at points on it; NaN for a height that is not known."""
        import shapely

        s = shapely.line_locate_point(lines[lane], shapely.points(points))
        first, count = self.samples.first[lane], self.samples.count[lane]
        step = self.length[lane] / np.maximum(count - 1, 1)
        near = first + np.clip(np.rint(s / np.maximum(step, 1e-9)).astype(np.int64), 0, count - 1)
        return self.samples.yaw[near], self.samples.z[near]

    @cached_property
    def in_intersection(self) -> Bool[Array, " lanes"]:
        """Which lanes lie in an intersection; the source's word where it has one."""
        flags = [f.in_intersection for f in self.lanes]
        if any(flag is not None for flag in flags):
            return np.array([bool(flag) for flag in flags], dtype=bool)
        inside = np.array([bool(c) for c in self.crossings], dtype=bool)
        beside = inside.copy()
        for lane in np.flatnonzero(inside).tolist():
            for before in self.predecessors[lane]:
                for sibling in self.successors[before]:
                    beside[sibling] |= abs(self.turn[sibling]) > TURN_LANE
        return beside

    @cached_property
    def in_ring(self) -> Bool[Array, " lanes"]:
        """Which lanes are part of a roundabout.

        That is a short circle of lanes that all bend one way, about an island that no lane crosses,
        with ways in and out. Loops round the blocks of a car park are less round, and those of turning
        lanes of a crossing are cut by the lanes straight through.
        """
        bend = np.where(self.length > 0, self.turn / np.maximum(self.length, 1e-9), 0.0)
        ring = np.zeros(len(self.lanes), dtype=bool)
        for start in np.flatnonzero((np.abs(bend) > RING_BEND) & self._in_circle).tolist():
            if ring[start]:
                continue
            side = np.sign(bend[start])
            stack: list[tuple[int, float, tuple[int, ...]]] = [(start, 0.0, (start,))]
            seen: set[int] = set()
            while stack:
                lane, way, path = stack.pop()
                way += self.length[lane]
                if way > RING_M:
                    continue
                if start in self.successors[lane]:
                    if self._is_roundabout(path):
                        ring[list(path)] = True
                        break
                    continue
                for following in self.successors[lane]:
                    # Short straight stretches between entries belong to the circle.
                    bends = side * self.turn[following] > -np.radians(5.0)
                    if bends and following not in seen:
                        seen.add(following)
                        stack.append((following, way, (*path, following)))
        return ring

    @property
    def _in_circle(self) -> Bool[Array, " lanes"]:
        """Which lanes one can come back to."""
        begins = np.repeat(np.arange(len(self.lanes)), [len(k) for k in self.successors])
        ends = np.array([b for following in self.successors for b in following], dtype=np.int64)
        size = (len(self.lanes), len(self.lanes))
        edges = coo_array((np.ones(len(ends)), (begins, ends)), shape=size)
        count, group = connected_components(edges, directed=True, connection="strong")
        circle = np.bincount(group, minlength=count)[group] > 1
        circle[begins[begins == ends]] = True
        return np.asarray(circle)

    def _is_roundabout(self, path: Sequence[int]) -> bool:
        """Whether a closed way of lanes is a circle with an island and ways in and out."""
        own = np.isin(self.samples.lane, path)
        ways = sum(
            k not in path
            for lane in path
            for k in (*self.predecessors[lane], *self.successors[lane])
        )
        bends = np.abs(self.turn[list(path)]) > RING_BEND * self.length[list(path)]
        straight = self.length[list(path)][~bends].sum() / self.length[list(path)].sum()
        if ways < RING_WAYS or straight > RING_STRAIGHT:
            return False
        xy, z = self.samples.xy[own], self.samples.z[own]
        centre, level = (xy.min(axis=0) + xy.max(axis=0)) / 2, z.mean()
        radius = np.hypot(*(xy - centre).T)
        if radius.min() < RING_EVEN * radius.max():
            return False
        other = ~own & self.for_cars[self.samples.lane]
        other &= ~(np.abs(self.samples.z - level) > LEVELS_M)
        inside = np.hypot(*(self.samples.xy[other] - centre).T)
        return bool(inside.min(initial=np.inf) >= RING_ISLAND * radius.min())

    @cached_property
    def merges(self) -> Bool[Array, " lanes"]:
        """Lanes that run into another lane's continuation (outside intersections and circles)."""
        joins = np.zeros(len(self.lanes), dtype=bool)
        cars, inside = self.for_cars.tolist(), (self.in_intersection | self.in_ring).tolist()
        ring = self.in_ring.tolist()
        for after, before in enumerate(self.predecessors):
            if len(before) < 2 or ring[after]:
                continue
            joining = [lane for lane in before if cars[lane]]
            if len(joining) > 1:
                joins[[lane for lane in joining if not inside[lane]]] = True
        return joins

    @cached_property
    def all_way_stop(self) -> Bool[Array, " lanes"]:
        """Lanes of intersections whose every way in has a stop sign, and those ways in.

        An intersection is a set of lanes in it that cross, part or meet; it must have three ways in
        or more.
        """
        found = np.zeros(len(self.lanes), dtype=bool)
        signs = np.array(self._signs, dtype=np.float64).reshape(-1, 2)
        left = set(np.flatnonzero(self.in_intersection & self.for_cars).tolist())
        if len(signs) < 3:
            return found
        while left:
            cluster, queue = set[int](), [left.pop()]
            while queue:
                lane = queue.pop()
                cluster.add(lane)
                beside = [k for before in self.predecessors[lane] for k in self.successors[before]]
                beside += [k for after in self.successors[lane] for k in self.predecessors[after]]
                beside += self.crossings[lane] + self.successors[lane] + self.predecessors[lane]
                queue += list(set(beside) & left)
                left -= set(beside)
            ways_in = {k for lane in cluster for k in self.predecessors[lane]} - cluster
            ways_in = {k for k in ways_in if self.for_cars[k]}
            if len(ways_in) >= 3 and all(self._has_sign(k, signs) for k in ways_in):
                found[sorted(cluster | ways_in)] = True
        return found

    def _has_sign(self, lane: int, signs: Float[Array, "signs 2"]) -> bool:
        last = int(self.samples.first[lane] + self.samples.count[lane] - 1)
        away, yaw = signs - self.samples.xy[last], self.samples.yaw[last]
        along = np.cos(yaw) * away[:, 0] + np.sin(yaw) * away[:, 1]
        aside = np.cos(yaw) * away[:, 1] - np.sin(yaw) * away[:, 0]
        return bool(((np.abs(along) <= SIGN_ALONG_M) & (np.abs(aside) <= SIGN_ASIDE_M)).any())

    @cached_property
    def side_ways(self) -> Bool[Array, " lanes"]:
        """Of lanes that run together (:attr:`merges`), those that come in from the side.

        Some way back, the lane that goes straight on lies behind what follows; one from the side
        lies off that line by a metre more.
        """
        found = np.zeros(len(self.lanes), dtype=bool)
        merges = self.merges.tolist()
        for after, before in enumerate(self.predecessors):
            joining = [lane for lane in before if merges[lane]]
            if len(joining) < 2:
                continue
            start = int(self.samples.first[after])
            yaw = self.samples.yaw[start]
            off = []
            for lane in joining:
                first, count = int(self.samples.first[lane]), int(self.samples.count[lane])
                back = self.samples.xy[first + max(count - 1 - MERGE_BACK_M, 0)]
                away = back - self.samples.xy[start]
                off.append(abs(float(np.cos(yaw) * away[1] - np.sin(yaw) * away[0])))
            alike = max(off) < min(off) + 1.0 and min(off) >= 1.0  # from both sides
            for lane, aside in zip(joining, off, strict=True):
                found[lane] |= alike or aside >= min(off) + 1.0
        return found

    @cached_property
    def surfaces(self) -> list[Any]:
        """Drivable areas as prepared polygons; none where the map does not draw them."""
        return [self.outline(f) for f in self._areas if len(f.points) >= 3]

    def off_surface(self, xy: Float[Array, "*many 2"]) -> Float[Array, "*many"]:
        """Distance of points from the nearest drivable area, 0 on one [m]."""
        import shapely

        flat = xy.reshape(-1, 2)
        off = np.zeros(len(flat))
        outside = np.flatnonzero(~self.on_surface(flat))
        if len(outside):
            points = shapely.points(flat[outside])
            off[outside] = shapely.distance(shapely.multipolygons(self._parts), points)
        return off.reshape(xy.shape[:-1])

    @cached_property
    def _parts(self) -> list[Any]:
        import shapely

        return [
            part
            for area in self.surfaces
            for part in shapely.get_parts(area)
            if part.geom_type == "Polygon"
        ]

    def outline(self, area: MapFeature) -> Any:
        """An area as a prepared polygon, kept for the next scene of the map."""
        import shapely

        polygon = self._outlines.get(area.feature_id)
        if polygon is None:
            polygon = shapely.make_valid(shapely.polygons(area.points[:, :2].astype(np.float64)))
            shapely.prepare(polygon)
            self._outlines[area.feature_id] = polygon
        return polygon

    def on_surface(self, xy: Float[Array, "*many 2"]) -> Bool[Array, "*many"]:
        """Whether points lie on some drivable area."""
        import shapely

        flat = xy.reshape(-1, 2)
        covered = np.zeros(len(flat), dtype=bool)
        for polygon in self.surfaces if len(flat) else ():
            low_x, low_y, high_x, high_y = polygon.bounds
            near = (flat[:, 0] >= low_x) & (flat[:, 0] <= high_x) & ~covered
            near &= (flat[:, 1] >= low_y) & (flat[:, 1] <= high_y)
            rows = np.flatnonzero(near)
            if len(rows):
                covered[rows] = shapely.intersects_xy(polygon, flat[rows, 0], flat[rows, 1])
        return covered.reshape(xy.shape[:-1])

    @cached_property
    def tree(self) -> cKDTree:
        """Of the sample points of the lanes that cars may use."""
        return _tree(self.samples.xy[self.for_cars[self.samples.lane]].reshape(-1, 2))

    @cached_property
    def junction_tree(self) -> cKDTree | None:
        """Of the sample points of lanes in intersections; None if there are none."""
        inside = self.in_intersection[self.samples.lane] & self.for_cars[self.samples.lane]
        return _tree(self.samples.xy[inside]) if inside.any() else None

    @cached_property
    def junctions(self) -> Float[Array, "points 2"]:
        """Sample points of lanes in intersections [m]."""
        return self.samples.xy[(self.in_intersection & self.for_cars)[self.samples.lane]]

    @cached_property
    def places_to_wait(self) -> Float[Array, "points 2"]:
        """Where one may have to wait, at most a metre apart [m].

        Intersections, crosswalks, stop lines and signs, and the ends of lanes that nothing continues or
        that run together with others.
        """
        samples = self.samples
        last = [
            samples.xy[samples.first[k] + samples.count[k] - 1]
            for k in np.flatnonzero(self.for_cars).tolist()
            if self.merges[k] or not self.successors[k]
        ]
        dense = [resample(line, 2 + int(arc_length(line)[-1]))[:, :2] for line in self._waits]
        ends = np.array(last, dtype=np.float64).reshape(-1, 2)
        return np.concatenate([self.junctions, ends, *dense])

    @cached_property
    def road_edges(self) -> tuple[Float[Array, "points 2"], Float[Array, " points"]]:
        """Points of the road edges, at most 1 m apart [m], and where the edges run [rad]."""
        start = np.concatenate([np.zeros((0, 2)), *(e[:-1, :2] for e in self._edges)])
        end = np.concatenate([np.zeros((0, 2)), *(e[1:, :2] for e in self._edges)])
        size = np.hypot(*(end - start).T)
        cuts = np.maximum(np.ceil(size / SPACING_M), 1).astype(np.int64) * (size > 1e-3)
        segment = np.repeat(np.arange(len(cuts)), cuts)
        place = np.arange(len(segment)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
        share = place / np.maximum(cuts[segment], 1)
        step = end[segment] - start[segment]
        return start[segment] + step * share[:, None], np.arctan2(step[:, 1], step[:, 0])

    @cached_property
    def edge_tree(self) -> cKDTree:
        """Of the points of the road edges."""
        return _tree(self.road_edges[0])

    def yaw_at(
        self, lane: Int[Array, "*shape"], s: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        """Direction of travel at a distance along a lane [rad]."""
        step = self.length[lane] / np.maximum(self.samples.count[lane] - 1, 1)
        offset = np.rint(s / np.maximum(step, 1e-9)).astype(np.int64)
        offset = np.clip(offset, 0, self.samples.count[lane] - 1)
        return self.samples.yaw[self.samples.first[lane] + offset]

    def downstream(self, chosen: Sequence[int]) -> Float[Array, "chosen chosen"]:
        """Distance from the start of each chosen lane to the start of each other downstream.

        0 on the diagonal, ∞ where the other is not downstream within ``REACH_M`` [m].
        """
        place = {lane: k for k, lane in enumerate(chosen)}
        away = np.full((len(chosen), len(chosen)), np.inf)
        for k, lane in enumerate(chosen):
            away[k, k] = 0.0
            best: dict[int, float] = defaultdict(lambda: np.inf)
            queue = [(float(self.length[lane]), b) for b in self.successors[lane]]
            heapq.heapify(queue)
            limit = float(self.length[lane]) + REACH_M
            while queue:
                distance, here = heapq.heappop(queue)
                if distance >= best[here] or distance > limit:
                    continue
                best[here] = distance
                if here in place and place[here] != k:
                    away[k, place[here]] = distance
                for following in self.successors[here]:
                    heapq.heappush(queue, (distance + float(self.length[here]), following))
        return away


_LATEST: list[tuple[RoadMap, LaneGraph]] = []


def lane_graph(road_map: RoadMap) -> LaneGraph:
    """The graph of a map; that of the last few maps is kept, as scenes of a log share theirs."""
    for known, graph in _LATEST:
        if known is road_map:
            return graph
    graph = LaneGraph(road_map)
    _LATEST.insert(0, (road_map, graph))
    del _LATEST[4:]
    return graph


def _tree(points: Float[Array, "points 2"]) -> cKDTree:
    """Made fast rather than asked fast: it serves the few thousand places of one scene or log."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def _half_widths(lanes: Sequence[MapFeature]) -> Float[Array, " lanes"]:
    """Mean distance from half way along each centre line to its two boundaries [m]."""
    width = np.full(len(lanes), HALF_WIDTH_M)
    bounded = [
        i for i, f in enumerate(lanes)
        if f.left is not None and f.right is not None and len(f.left) > 1 and len(f.right) > 1
    ]  # fmt: skip
    if not bounded:
        return width
    sides = [side[:, :2] for i in bounded for side in (lanes[i].left, lanes[i].right)]  # type: ignore[index]
    counts = np.array([len(side) for side in sides], dtype=np.int64)
    middle = np.array([lanes[i].points[len(lanes[i].points) // 2, :2] for i in bounded])
    middle = np.repeat(np.repeat(middle, 2, axis=0), counts, axis=0)
    points = np.concatenate(sides).astype(np.float64)
    step = np.diff(points, axis=0, append=points[-1:])
    step[np.cumsum(counts) - 1] = 0.0  # from one line to the next is no segment
    offset = middle - points
    share = (offset * step).sum(axis=1) / np.maximum((step * step).sum(axis=1), 1e-18)
    away = np.hypot(*(offset - np.clip(share, 0.0, 1.0)[:, None] * step).T)
    least = np.minimum.reduceat(away, np.cumsum(counts) - counts)
    width[bounded] = np.clip(least.reshape(-1, 2).mean(axis=1), 1.0, 3.5)
    return width


def _steps(
    lanes: Sequence[MapFeature],
) -> tuple[Float[Array, "points 3"], Float[Array, " points"], Int[Array, " lanes"]]:
    """Points of all lanes; from each to the next, 0 from a lane's last [m]; how many each has."""
    counts = np.array([len(f.points) for f in lanes], dtype=np.int64)
    points = np.concatenate([np.zeros((0, 3)), *(f.points for f in lanes)])
    step = np.zeros(len(points))
    step[:-1] = np.hypot(*np.diff(points[:, :2], axis=0).T)
    step[np.cumsum(counts) - 1] = 0.0
    return points, step, counts


def _lengths(lanes: Sequence[MapFeature]) -> Float[Array, " lanes"]:
    if not lanes:
        return np.zeros(0)
    _, step, counts = _steps(lanes)
    return np.asarray(np.add.reduceat(step, np.cumsum(counts) - counts))


def _sample(lanes: Sequence[MapFeature], length: Float[Array, " lanes"]) -> Samples:
    if not lanes:
        none, nobody = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Samples(
            xy=np.zeros((0, 2)), yaw=none, z=none, lane=nobody, first=nobody, count=nobody
        )
    points, step, counts = _steps(lanes)
    start = np.cumsum(counts) - counts
    # All lanes on one axis, each beginning a metre after the end of the one before.
    begin = np.cumsum(length + 1.0) - length - 1.0
    way = np.cumsum(step) - step
    knots = way - np.repeat(way[start] - begin, counts)
    count = np.maximum(np.ceil(length / SPACING_M).astype(np.int64) + 1, 2)
    first = np.cumsum(count) - count
    lane = np.repeat(np.arange(len(lanes)), count)
    share = (np.arange(len(lane)) - first[lane]) / (count[lane] - 1)
    stations = begin[lane] + share * length[lane]
    xyz = np.stack([np.interp(stations, knots, points[:, k]) for k in range(3)], axis=-1)
    xyz[~np.array([f.has_z for f in lanes], dtype=bool)[lane], 2] = np.nan
    onward = np.diff(xyz[:, :2], axis=0, append=xyz[-1:, :2])
    yaw = np.arctan2(onward[:, 1], onward[:, 0])
    last = first + count - 1
    yaw[last] = yaw[last - 1]
    return Samples(xy=xyz[:, :2], yaw=yaw, z=xyz[:, 2], lane=lane, first=first, count=count)

"""Where one may drive: how far outside the drivable surface is a point, and which way do lanes run?

The surface is what the map says it is, by the best that it has:

1. drivable areas, intersections, parking and driveways as polygons, with
2. lanes between their boundaries, or 2 m to either side of a bare centre line;
3. where the map has road edges, a point beside the lanes is still on the road as long as no edge
   lies between it and the nearest lane, at most 8 m away.

A map without lanes and areas says nothing, and whoever asks is told so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Bool, Float

from geometry.arrays import Array
from schemas.labels import LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from simulation.routes import FOR_CARS, HALF_LANE_M, LaneGraph

BESIDE_LANES_M = 8.0
SURFACES = (
    MapLayer.DRIVABLE_AREA,
    MapLayer.INTERSECTION,
    MapLayer.PARKING,
    MapLayer.DRIVEWAY,
)
ON_WHEELS = FOR_CARS | {LaneType.BIKE, LaneType.SHOULDER}


class Ground:
    """What of a map bears traffic, as shapes; each is made when it is first asked for."""

    def __init__(self, road_map: RoadMap) -> None:
        """Find it, and how far each piece reaches."""
        features = [f for f in road_map.features if len(f.points) >= 2]
        self.areas = [f for f in features if f.layer in SURFACES and len(f.points) >= 3]
        self.lanes = [f for f in features if f.layer == MapLayer.LANE and f.lane_type in ON_WHEELS]
        self.edges = [f for f in features if f.layer == MapLayer.ROAD_EDGE]
        pieces = [*self.areas, *self.lanes, *self.edges]
        self._low = np.array([f.points[:, :2].min(axis=0) for f in pieces]).reshape(-1, 2)
        self._high = np.array([f.points[:, :2].max(axis=0) for f in pieces]).reshape(-1, 2)
        self._shape: dict[int, shapely.Geometry] = {}
        self._line: dict[int, shapely.Geometry] = {}

    def within(
        self, low: Float[Array, 2], high: Float[Array, 2]
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Which areas, lanes and edges reach into a rectangle, by place."""
        meets = ((self._low <= high) & (self._high >= low)).all(axis=1)
        ends = np.cumsum([len(self.areas), len(self.lanes)])
        areas, lanes, edges = np.split(meets, ends)
        return tuple(np.flatnonzero(some).tolist() for some in (areas, lanes, edges))  # type: ignore[return-value]

    def area(self, place: int) -> shapely.Geometry:
        """The polygon of an area."""
        if place not in self._shape:
            self._shape[place] = _polygon(self.areas[place].points)
        return self._shape[place]

    def lane(self, place: int) -> shapely.Geometry:
        """What a lane covers."""
        key = len(self.areas) + place
        if key not in self._shape:
            self._shape[key] = _lane_shape(self.lanes[place])
        return self._shape[key]

    def middle(self, place: int) -> shapely.Geometry:
        """The centre line of a lane."""
        return self._drawn(place, self.lanes[place])

    def edge(self, place: int) -> shapely.Geometry:
        """The line of an edge."""
        return self._drawn(len(self.lanes) + place, self.edges[place])

    def _drawn(self, key: int, feature: MapFeature) -> shapely.Geometry:
        if key not in self._line:
            self._line[key] = shapely.LineString(feature.points[:, :2])
        return self._line[key]


class Surface:
    """The drivable surface of a map within a rectangle."""

    def __init__(self, ground: Ground, low: Float[Array, 2], high: Float[Array, 2]) -> None:
        """Take what lies in the rectangle.

        Args:
            ground: Of the whole map.
            low: Least x and y of interest [m].
            high: Greatest [m].
        """
        areas, lanes, edges = ground.within(low, high)
        shapes = [*map(ground.area, areas), *map(ground.lane, lanes)]
        self.known = bool(shapes)
        self._all = np.array(shapes, dtype=object)
        self._shapes = shapely.STRtree(shapes)
        self._lanes = shapely.STRtree([ground.middle(place) for place in lanes])
        self._edges = shapely.STRtree([ground.edge(place) for place in edges])

    def covers(self, xy: Float[Array, "points 2"]) -> Bool[Array, " points"]:
        """Whether an area or a lane lies under each point, for which much less need be asked."""
        covered = np.zeros(len(xy), dtype=bool)
        # Asked this way round, GEOS prepares each polygon once for all points.
        under = shapely.STRtree(shapely.points(xy)).query(self._all, predicate="intersects")[1]
        covered[under] = True
        return covered

    def outside(self, xy: Float[Array, "points 2"]) -> Float[Array, " points"]:
        """Distance from each point to the surface, 0 on it [m]."""
        depth = np.zeros(len(xy))
        off = np.flatnonzero(~self.covers(xy))
        if len(off) == 0:
            return depth
        points = shapely.points(xy[off])
        (which, _), distance = self._shapes.query_nearest(
            points, return_distance=True, all_matches=False
        )
        depth[off[which]] = distance
        if len(self._edges.geometries) and len(self._lanes.geometries):
            (which, lane), distance = self._lanes.query_nearest(
                points, return_distance=True, all_matches=False
            )
            bridge = shapely.shortest_line(points[which], self._lanes.geometries[lane])
            fenced = np.zeros(len(which), dtype=bool)
            crossing, edge = self._edges.query(bridge, predicate="intersects")
            fenced[crossing] = True
            open_road = ~fenced & (distance <= BESIDE_LANES_M)
            depth[off[which[open_road]]] = 0.0
            # Beyond an edge, what counts is how far beyond.
            if len(crossing):
                past = shapely.distance(points[which[crossing]], self._edges.geometries[edge])
                depth[off[which[fenced]]] = np.inf
                np.minimum.at(depth, off[which[crossing]], past)
        return depth


class LaneUse:
    """How a vehicle used the lanes: which one it was in, whether within it, whether against it."""

    def __init__(
        self, graph: LaneGraph, xy: Float[Array, "poses 2"], yaw: Float[Array, " poses"]
    ) -> None:
        """Match poses to lanes, whichever way they point."""
        self.known = bool(graph.in_order)
        found = graph.index.match(xy, yaw, max_offset=4.0)
        self.matched, self._d = found.matched, found.d
        self.against = found.matched & (np.abs(found.heading_error) > np.pi / 2.0)
        self._room = np.zeros(len(xy))
        self.in_intersection = np.zeros(len(xy), dtype=bool)
        for lane in np.unique(found.lane[found.matched]).tolist():
            here = found.matched & (found.lane == lane)
            self._room[here] = graph.half_width(lane)
            self.in_intersection[here] = bool(graph.in_order[lane].in_intersection)

    def beside_centre(self, least: float) -> Bool[Array, " poses"]:
        """Whether a pose outside intersections is so far or farther beside its lane's centre [m]."""
        return np.asarray(self.matched & ~self.in_intersection & (np.abs(self._d) > least))

    def in_one_lane(self, width: float) -> Bool[Array, " poses"]:
        """Whether a box so wide keeps within the lane that it is matched to."""
        left, right = self.room()
        return np.asarray(np.minimum(left, right) >= width / 2.0)

    def room(self, *, slack: float = 0.2) -> tuple[Float[Array, " poses"], Float[Array, " poses"]]:
        """How far the lane that each pose is matched to reaches to its left and right, −∞ for none [m]."""
        half = np.where(self.matched, self._room + slack, -np.inf)
        return half - self._d, half + self._d


def _polygon(points: Array) -> shapely.Polygon:
    shape = shapely.Polygon(points[:, :2])
    return shape if shape.is_valid else shapely.make_valid(shape)


def _lane_shape(lane: MapFeature) -> shapely.Geometry:
    if (
        lane.left is not None
        and lane.right is not None
        and min(len(lane.left), len(lane.right)) > 1
    ):
        outline = np.concatenate([lane.left[:, :2], lane.right[::-1, :2]])
        # A centre line within its own boundaries shows that these are whole.
        shape = _polygon(outline)
        if shape.area > 0.0:
            return shape
    return shapely.LineString(lane.points[:, :2]).buffer(HALF_LANE_M, quad_segs=4)

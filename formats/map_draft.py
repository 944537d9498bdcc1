"""A road map in the making: features get their ids, edges are kept once.

Also the edges that follow from geometry alone, for sources that draw a crosswalk or a stop line
without saying which lanes it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from formats.tally import Tally
from geometry.arrays import Array
from geometry.polylines import arc_length, without_repeats
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap

STOREY_M = 3.0  # [m] between heights, above which one thing lies over the other, not on it
ACROSS_COS = 0.7  # a stop line lies across its lane: at 45° or more
ROADWAY = frozenset(
    {
        LaneType.UNKNOWN,
        LaneType.VEHICLE,
        LaneType.FREEWAY,
        LaneType.BUS,
        LaneType.BIKE,
    }
)
"""Lanes that a crosswalk can lead over; a pavement is none."""


class MapDraft:
    """Features and edges as they are found."""

    def __init__(self, tally: Tally) -> None:
        """An empty map.

        Args:
            tally: Where renamed ids are counted.
        """
        self.features: list[MapFeature] = []
        self._edges: dict[tuple[int, int, int], None] = {}
        self._taken: set[tuple[MapLayer, str]] = set()
        self._tally = tally

    def add(
        self,
        layer: MapLayer,
        source_id: str,
        points: Float[Array, "points 3"],
        *,
        left: Float[Array, "left 3"] | None = None,
        right: Float[Array, "right 3"] | None = None,
        lane_type: LaneType = LaneType.UNKNOWN,
        source_type: str = "",
        speed_limit: float | None = None,
        in_intersection: bool | None = None,
        has_z: bool = True,
    ) -> int:
        """One more feature; an id that its layer has already gets a number after it.

        Returns:
            Its feature id.
        """
        number, name = 1, source_id
        while (layer, name) in self._taken:
            number += 1
            name = f"{source_id}#{number}"
        if number > 1:
            reason = f"{layer.word} ids that another bears already get a number after them"
            self._tally.add("renamed", reason)
        self._taken.add((layer, name))
        index = len(self.features)
        self.features.append(
            MapFeature(
                feature_id=index, source_id=name, layer=layer, points=points, left=left,
                right=right, lane_type=lane_type, source_type=source_type,
                speed_limit=speed_limit, in_intersection=in_intersection, has_z=has_z,
            )
        )  # fmt: skip
        return index

    def set_speed_limit(self, index: int, limit: float) -> None:
        """Limit the speed on a feature, unless a lower limit is known [m/s]."""
        known = self.features[index].speed_limit
        if known is None or limit < known:
            self.features[index] = replace(self.features[index], speed_limit=limit)

    def edge(self, begin: int, kind: EdgeKind, end: int) -> None:
        """One edge; said again, it is the same."""
        self._edges[begin, int(kind), end] = None

    def follow(self, before: int, after: int) -> None:
        """One lane continues another: both edges."""
        self.edge(before, EdgeKind.SUCCESSOR, after)
        self.edge(after, EdgeKind.PREDECESSOR, before)

    def beside(self, left: int, right: int) -> None:
        """Two lanes of one direction lie side by side: both edges."""
        self.edge(right, EdgeKind.LEFT, left)
        self.edge(left, EdgeKind.RIGHT, right)

    def targets(self, kind: EdgeKind) -> set[int]:
        """Features from which an edge of a kind begins."""
        return {begin for begin, its, _ in self._edges if its == kind}

    def add_edges_from_geometry(self) -> None:
        """Lay crosswalks and stop lines over lanes where the source does not say, and note it."""
        told = self.targets(EdgeKind.CROSSWALK_OVER_LANE)
        crosswalks = [
            f for f in self.features if f.layer is MapLayer.CROSSWALK and f.feature_id not in told
        ]
        told = self.targets(EdgeKind.STOP_LINE_OF_LANE)
        lines = [
            f for f in self.features if f.layer is MapLayer.STOP_LINE and f.feature_id not in told
        ]
        lanes = [f for f in self.features if f.layer is MapLayer.LANE and f.lane_type in ROADWAY]
        over = list(crosswalks_over_lanes(crosswalks, lanes))
        for crosswalk, lane in over:
            self.edge(crosswalk, EdgeKind.CROSSWALK_OVER_LANE, lane)
        self._tally.add("guessed", "crosswalk-over-lane edges follow from the geometry", len(over))
        stops = list(stop_lines_of_lanes(lines, lanes))
        for line, lane in stops:
            self.edge(line, EdgeKind.STOP_LINE_OF_LANE, lane)
        self._tally.add("guessed", "stop-line-of-lane edges follow from the geometry", len(stops))

    def road_map(self, name: str) -> RoadMap:
        """The finished map."""
        edges = np.array(list(self._edges), dtype=np.int64).reshape(-1, 3)
        return RoadMap(source_map_id=name, features=tuple(self.features), edges=edges)


def crosswalks_over_lanes(
    crosswalks: Sequence[MapFeature], lanes: Sequence[MapFeature]
) -> Iterable[tuple[int, int]]:
    """(crosswalk, lane) wherever a lane's centre line enters a crosswalk's outline."""
    import shapely

    areas = [shapely.make_valid(shapely.Polygon(f.points[:, :2]))
             if len(f.points) > 2 else shapely.Polygon() for f in crosswalks]  # fmt: skip
    yield from _meetings(np.array(areas, dtype=object), crosswalks, lanes)


def stop_lines_of_lanes(
    lines: Sequence[MapFeature], lanes: Sequence[MapFeature]
) -> Iterable[tuple[int, int]]:
    """(stop line, lane) wherever a stop line lies across a lane's centre line."""
    import shapely

    lines = [f for f in lines if len(without_repeats(f.points)) > 1]
    shapes = np.array([shapely.LineString(f.points[:, :2]) for f in lines], dtype=object)
    by_id = {f.feature_id: f for f in (*lines, *lanes)}
    for line, lane in _meetings(shapes, lines, lanes):
        stretch = by_id[line].points[-1, :2] - by_id[line].points[0, :2]
        middle = by_id[line].points[:, :2].mean(axis=0)
        way = by_id[lane].points[:, :2]
        nearest = min(int(np.linalg.norm(way - middle, axis=1).argmin()), len(way) - 2)
        step = way[nearest + 1] - way[nearest]
        scale = np.linalg.norm(stretch) * np.linalg.norm(step)
        if scale > 0.0 and abs(float(stretch @ step)) < ACROSS_COS * scale:
            yield line, lane


def _meetings(
    shapes: Array, things: Sequence[MapFeature], lanes: Sequence[MapFeature]
) -> Iterable[tuple[int, int]]:
    """(thing, lane) that touch in plan, on one storey where both have heights."""
    import shapely

    lanes = [f for f in lanes if arc_length(f.points)[-1] > 0.0]
    if not len(shapes) or not lanes:
        return
    ways = np.array([shapely.LineString(f.points[:, :2]) for f in lanes], dtype=object)
    which, way = shapely.STRtree(ways).query(shapes, predicate="intersects")
    for i, k in sorted(zip(which.tolist(), way.tolist(), strict=True)):
        thing, lane = things[i], lanes[k]
        if thing.has_z and lane.has_z:
            middle = thing.points.mean(axis=0)
            nearest = np.linalg.norm(lane.points[:, :2] - middle[:2], axis=1).argmin()
            if abs(float(lane.points[nearest, 2] - middle[2])) > STOREY_M:
                continue
        yield thing.feature_id, lane.feature_id

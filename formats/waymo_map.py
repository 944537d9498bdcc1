"""Waymo's map messages as features and their graph; Scenario and Frame hold the same ones.

Lanes name the painted lines and road edges beside them by stretches of their own points; a boundary
of the lane is made of the nearest points of those features. Source: ``map.proto`` of
github.com/waymo-research/waymo-open-dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float

from formats.names import distinct
from formats.waymo import LAYERS
from formats.waymo_protos import enum_words
from geometry.arrays import Array
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, Note, RoadMap

METRES_PER_SECOND_IN_MPH = 0.44704  # exact: 1609.344 m / 3600 s
BOUNDARY_COVER = 0.9  # share of a lane's points that a boundary must flank to be kept
_XYZ = attrgetter("x", "y", "z")

LANE_TYPES = {
    "TYPE_UNDEFINED": LaneType.UNKNOWN,
    "TYPE_FREEWAY": LaneType.FREEWAY,
    "TYPE_SURFACE_STREET": LaneType.VEHICLE,
    "TYPE_BIKE_LANE": LaneType.BIKE,
}
SHAPE_FIELD = {
    "lane": "polyline", "road_line": "polyline", "road_edge": "polyline",
    "crosswalk": "polygon", "speed_bump": "polygon", "driveway": "polygon",
}  # fmt: skip


def read_map(messages: Sequence[Any], source_map_id: str) -> tuple[RoadMap, list[Note]]:
    """The map that a list of ``MapFeature`` messages makes, and what it could not carry."""
    usable, shapes = [], []
    for feature in messages:
        kind = _kind(feature)
        points = _points(feature, kind)
        if len(points) > (kind == "lane") and np.isfinite(points).all():
            usable.append(feature)
            shapes.append((kind, points))
    if not usable:
        return RoadMap.none(), []
    names, notes = distinct((str(feature.id) for feature in usable), "map feature")
    lines = {
        feature.id: shapely.LineString(points)
        for feature, (kind, points) in zip(usable, shapes, strict=True)
        if kind in ("road_line", "road_edge") and len(points) > 1
    }
    features, partly = [], 0
    for index, feature in enumerate(usable):
        made, missed = _feature(feature, *shapes[index], names[index], index, lines)
        features.append(made)
        partly += missed
    edges, dangling = _edges(usable)
    if empty := len(messages) - len(usable):
        reason = "map features without usable points"
        notes.append(Note(kind="dropped", reason=reason, count=empty))
    if partly:
        reason = f"lane boundaries that flank less than {BOUNDARY_COVER:.0%} of their lane"
        notes.append(Note(kind="dropped", reason=reason, count=partly))
    if dangling:
        reason = "links to lanes that lie outside the map"
        notes.append(Note(kind="dropped", reason=reason, count=dangling))
    return RoadMap(source_map_id=source_map_id, features=features, edges=edges), notes


def _kind(feature: Any) -> str:
    return next((kind for kind in LAYERS if feature.HasField(kind)), "")


def _points(feature: Any, kind: str) -> Float[Array, "points 3"]:
    if not kind:
        return np.zeros((0, 3))
    body = getattr(feature, kind)
    if kind == "stop_sign":
        points = [body.position] if body.HasField("position") else []
    else:
        points = getattr(body, SHAPE_FIELD[kind])
    numbers = chain.from_iterable(map(_XYZ, points))
    return np.fromiter(numbers, dtype=np.float64, count=3 * len(points)).reshape(-1, 3)


def _feature(
    feature: Any,
    kind: str,
    points: Float[Array, "points 3"],
    name: str,
    index: int,
    lines: dict[int, shapely.LineString],
) -> tuple[MapFeature, int]:
    """The feature, and how many of its boundaries had to be dropped."""
    layer = LAYERS[kind]
    if layer is not MapLayer.LANE:
        word = kind
        if kind == "road_line":
            word = enum_words("RoadLine.RoadLineType")[feature.road_line.type]
        elif kind == "road_edge":
            word = enum_words("RoadEdge.RoadEdgeType")[feature.road_edge.type]
        made = MapFeature(
            feature_id=index, source_id=name, layer=layer, points=points,
            source_type=word,
        )  # fmt: skip
        return made, 0
    lane = feature.lane
    word = enum_words("LaneCenter.LaneType")[lane.type]
    left = _boundary(points, lane.left_boundaries, lines)
    right = _boundary(points, lane.right_boundaries, lines)
    made = MapFeature(
        feature_id=index,
        source_id=name,
        layer=layer,
        points=points,
        left=left,
        right=right,
        lane_type=LANE_TYPES[word],
        source_type=f"{word} interpolating" if lane.interpolating else word,
        speed_limit=lane.speed_limit_mph * METRES_PER_SECOND_IN_MPH or None,
    )
    missed = (left is None and len(lane.left_boundaries) > 0) + (
        right is None and len(lane.right_boundaries) > 0
    )
    return made, missed


def _boundary(
    points: Float[Array, "points 3"], segments: Sequence[Any], lines: dict[int, shapely.LineString]
) -> Float[Array, "flanked 3"] | None:
    """What lies beside a lane's points, where segments flank nearly all of them."""
    beside: dict[int, shapely.LineString] = {}
    for segment in segments:
        if segment.boundary_feature_id in lines:
            for at in range(max(segment.lane_start_index, 0), segment.lane_end_index + 1):
                beside[at] = lines[segment.boundary_feature_id]
    flanked = sorted(at for at in beside if at < len(points))
    if len(flanked) < max(2, BOUNDARY_COVER * len(points)):
        return None
    return nearest_on(np.array([beside[at] for at in flanked]), points[flanked])


def nearest_on(line: Any, points: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
    """The nearest point of a line to each point, in the plane, with the line's own height.

    Args:
        line: A shapely line, or an array of one a point.
        points: [m].
    """
    lines = list(np.broadcast_to(np.asarray(line, dtype=object), len(points)))
    begins = [k for k in range(len(lines)) if not k or lines[k] is not lines[k - 1]]
    made = [
        _nearest(np.asarray(shapely.get_coordinates(lines[a], include_z=True)), points[a:b, :2])
        for a, b in pairwise([*begins, len(lines)])
    ]
    return np.concatenate(made) if made else np.zeros((0, 3))


def _nearest(line: Float[Array, "corners 3"], xy: Float[Array, "points 2"]) -> Array:
    """By the perpendicular onto every segment."""
    start, step = line[:-1], np.diff(line, axis=0)
    dx, dy = step[:, 0], step[:, 1]
    along = np.maximum(dx * dx + dy * dy, np.finfo(np.float64).tiny)
    x, y = xy[:, :1] - start[:, 0], xy[:, 1:] - start[:, 1]
    share = np.clip((x * dx + y * dy) / along, 0.0, 1.0)
    x -= share * dx
    y -= share * dy
    best = (x * x + y * y).argmin(axis=1)
    return np.asarray(start[best] + share[np.arange(len(xy)), best, None] * step[best])


def _edges(usable: Sequence[Any]) -> tuple[Array, int]:
    """Links between features by their index, and how many led out of the map."""
    index = {feature.id: k for k, feature in enumerate(usable)}
    links: dict[tuple[int, int, int], None] = {}
    dangling = 0
    for feature in usable:
        lane = feature.lane
        wanted = [(EdgeKind.PREDECESSOR, to) for to in lane.entry_lanes]
        wanted += [(EdgeKind.SUCCESSOR, to) for to in lane.exit_lanes]
        wanted += [(EdgeKind.LEFT, beside.feature_id) for beside in lane.left_neighbors]
        wanted += [(EdgeKind.RIGHT, beside.feature_id) for beside in lane.right_neighbors]
        wanted += [(EdgeKind.STOP_LINE_OF_LANE, to) for to in feature.stop_sign.lane]
        for kind, to in wanted:
            if to in index:
                links[index[feature.id], int(kind), index[to]] = None
            else:
                dangling += 1
    return np.array(list(links), dtype=np.int64).reshape(-1, 3), dangling

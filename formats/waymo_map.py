"""Waymo's map messages as features and their graph; Scenario and Frame hold the same ones.

Lanes name the painted lines and road edges beside them by stretches of their own points
(:mod:`formats.waymo_boundaries`). Source: ``map.proto`` of
github.com/waymo-research/waymo-open-dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.names import distinct
from formats.waymo import LAYERS
from formats.waymo_boundaries import BOUNDARY_COVER, Boundaries
from formats.waymo_protos import enum_words
from geometry.arrays import Array
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, Note, RoadMap

METRES_PER_SECOND_IN_MPH = 0.44704  # exact: 1609.344 m / 3600 s
_XYZ = attrgetter("x", "y", "z")
_STRETCH = attrgetter("boundary_feature_id", "lane_start_index", "lane_end_index")

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
    sides, partly = _sides(usable, shapes)
    features = [
        _feature(feature, *shapes[index], names[index], index, sides[index])
        for index, feature in enumerate(usable)
    ]
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
    sides: tuple[Array | None, Array | None],
) -> MapFeature:
    layer = LAYERS[kind]
    if layer is not MapLayer.LANE:
        word = kind
        if kind == "road_line":
            word = enum_words("RoadLine.RoadLineType")[feature.road_line.type]
        elif kind == "road_edge":
            word = enum_words("RoadEdge.RoadEdgeType")[feature.road_edge.type]
        return MapFeature(
            feature_id=index, source_id=name, layer=layer, points=points,
            source_type=word,
        )  # fmt: skip
    lane = feature.lane
    word = enum_words("LaneCenter.LaneType")[lane.type]
    return MapFeature(
        feature_id=index,
        source_id=name,
        layer=layer,
        points=points,
        left=sides[0],
        right=sides[1],
        lane_type=LANE_TYPES[word],
        source_type=f"{word} interpolating" if lane.interpolating else word,
        speed_limit=lane.speed_limit_mph * METRES_PER_SECOND_IN_MPH or None,
    )


def _sides(
    usable: Sequence[Any], shapes: Sequence[tuple[str, Float[Array, "points 3"]]]
) -> tuple[list[tuple[Array | None, Array | None]], int]:
    """Left and right boundary of each feature, and how many had to be dropped."""
    lines = {
        feature.id: points
        for feature, (kind, points) in zip(usable, shapes, strict=True)
        if kind in ("road_line", "road_edge") and len(points) > 1
    }
    boundaries = Boundaries(lines)
    asked: list[tuple[int | None, int | None]] = []
    missed = 0
    for feature, (kind, points) in zip(usable, shapes, strict=True):
        told = (
            (feature.lane.left_boundaries, feature.lane.right_boundaries) if kind == "lane" else ()
        )
        sides = [boundaries.ask(points, map(_STRETCH, side)) if side else None for side in told]
        missed += sum(bool(side) and at is None for side, at in zip(told, sides, strict=True))
        left, right = sides or (None, None)
        asked.append((left, right))
    drawn = boundaries.drawn()
    return [
        (None if left is None else drawn[left], None if right is None else drawn[right])
        for left, right in asked
    ], missed


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

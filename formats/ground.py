"""What of a map is drawn, from the bottom up: the same for still pictures and for films.

Surfaces lie below, then lane boundaries and centre lines, then what is painted across and beside
them. Everything is a line with a width or an area, and says what it is; colours are the painter's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from schemas.labels import MapLayer
from schemas.records import RoadMap

LANE_WIDTH_M = 3.6  # where a map tells no boundaries
STRIPE_M = 1.0  # from one stripe of a crosswalk to the next


class Part(StrEnum):
    """What a shape is of."""

    SURFACE = "surface"
    BOUNDARY = "boundary"
    CENTRE = "centre"
    EDGE = "edge"
    STRIPE = "stripe"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """A line or an area.

    Attributes:
        part: What it is of.
        points: Along the line, or round the area, in the map's frame [m].
        width: Of the line [m]; None: it is an area, to be filled.
    """

    part: Part
    points: Float[Array, "points 2"]
    width: float | None = None


def shapes(road_map: RoadMap) -> Iterator[Shape]:
    """Everything of a map that is drawn, what lies below first."""
    features = road_map.features
    lanes = [f for f in features if f.layer == MapLayer.LANE]
    for feature in features:
        if feature.layer == MapLayer.DRIVABLE_AREA and len(feature.points) > 2:
            yield Shape(part=Part.SURFACE, points=feature.points[:, :2])
    for lane in lanes:
        if lane.left is not None and lane.right is not None:
            outline = np.concatenate([lane.left, lane.right[::-1]])[:, :2]
            if len(outline) > 2:
                yield Shape(part=Part.SURFACE, points=outline)
        elif len(lane.points) > 1:
            yield Shape(part=Part.SURFACE, points=lane.points[:, :2], width=LANE_WIDTH_M)
    for lane in lanes:
        for side in (lane.left, lane.right):
            if side is not None and len(side) > 1 and not lane.in_intersection:
                yield Shape(part=Part.BOUNDARY, points=side[:, :2], width=0.18)
        if len(lane.points) > 1:
            yield Shape(part=Part.CENTRE, points=lane.points[:, :2], width=0.08)
    for feature in features:
        points = feature.points[:, :2]
        if feature.layer == MapLayer.CROSSWALK and len(points) > 2:
            yield from _stripes(points)
        elif feature.layer == MapLayer.ROAD_EDGE and len(points) > 1:
            yield Shape(part=Part.EDGE, points=points, width=0.25)
        elif feature.layer == MapLayer.ROAD_LINE and len(points) > 1:
            yield Shape(part=Part.BOUNDARY, points=points, width=0.18)
        elif feature.layer == MapLayer.STOP_LINE and len(points) > 1:
            yield Shape(part=Part.STRIPE, points=points, width=0.5)


def _stripes(outline: Float[Array, "points 2"]) -> Iterator[Shape]:
    """White stripes along the walking direction's normal: a zebra."""
    from shapely import minimum_rotated_rectangle
    from shapely.geometry import Polygon

    shape = minimum_rotated_rectangle(Polygon(outline))
    if shape.geom_type != "Polygon":
        return
    corner = np.asarray(shape.exterior.coords)[:4]
    along, across = corner[1] - corner[0], corner[3] - corner[0]
    if np.linalg.norm(along) < np.linalg.norm(across):
        along, across = across, along
    count = max(1, round(float(np.linalg.norm(along)) / STRIPE_M))
    for index in range(count):
        begin = corner[0] + along * (index + 0.25) / count
        end = corner[0] + along * (index + 0.75) / count
        yield Shape(part=Part.STRIPE, points=np.array([begin, end, end + across, begin + across]))

"""A map cut into road pieces of equal shape, which models look at.

Each line is cut into pieces of at most ``LONGEST_M``, as few as that allows and equally long, and
each piece told by ``PIECE_POINTS`` points evenly spaced along it. A lane is told by its centre
line; areas go once round; a single point (a sign) is repeated.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from schemas.labels import AREAS
from schemas.records import RoadMap
from schemas.scene import PIECE_POINTS, RoadPieces

LONGEST_M = 40.0
"""Points are then at most some 2 m apart [m]."""


def road_pieces(road_map: RoadMap) -> RoadPieces:
    """All features of a map, in their order."""
    lines = [
        np.concatenate([f.points, f.points[:1]])
        if f.layer in AREAS and len(f.points) > 2
        else f.points
        for f in road_map.features
    ]
    points, line = cut_lines(lines)
    features = road_map.features
    limits = [np.nan if f.speed_limit is None else f.speed_limit for f in features]
    return RoadPieces(
        points=points,
        feature_id=np.array([f.feature_id for f in features], dtype=np.int32)[line],
        layer=np.array([int(f.layer) for f in features], dtype=np.int8)[line],
        lane_type=np.array([int(f.lane_type) for f in features], dtype=np.int8)[line],
        speed_limit=np.array(limits, dtype=np.float32)[line],
    )


def cut_lines(
    lines: list[Array],
) -> tuple[Float[Array, "pieces points 3"], Int[Array, " pieces"]]:
    """Lines as pieces of ``PIECE_POINTS`` points, and of which line each is.

    Computed over all lines at once: a city has a hundred thousand.
    """
    if not lines:
        return np.zeros((0, PIECE_POINTS, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)
    sizes = np.array([len(line) for line in lines])
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    xyz = np.concatenate([np.asarray(line, dtype=np.float64) for line in lines])
    step = np.linalg.norm(np.diff(xyz[:, :2], axis=0, prepend=xyz[:1, :2]), axis=1)
    step[begin] = 0.0
    # One long arc length over all lines: those of a line lie between its begin and its end.
    along = np.cumsum(step)
    start, end = along[begin], along[begin + sizes - 1]
    count = np.maximum(np.ceil((end - start) / LONGEST_M - 1e-9), 1).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), count)
    number = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    share = (number[:, None] + np.linspace(0.0, 1.0, PIECE_POINTS)) / count[line][:, None]
    at = start[line][:, None] + share * (end - start)[line][:, None]
    # The segment that holds each point, within the point's own line.
    first, last = begin[line][:, None], (begin + sizes - 1)[line][:, None]
    left = np.clip(
        np.searchsorted(along, at, side="right") - 1, first, np.maximum(last - 1, first)
    )
    right = np.minimum(left + 1, last)
    span = along[right] - along[left]
    weight = np.where(span > 0.0, (at - along[left]) / np.where(span > 0.0, span, 1.0), 0.0)
    weight = np.clip(weight, 0.0, 1.0)[..., None]
    made = xyz[left] + weight * (xyz[right] - xyz[left])
    return made.astype(np.float32), line

"""A map cut into road pieces of equal shape, which models look at.

Each line is cut into pieces of at most ``LONGEST_M``, as few as that allows and equally long, and
each piece told by ``PIECE_POINTS`` points evenly spaced along it. A lane is told by its centre
line; areas go once round; a single point (a sign) is repeated.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from geometry.bundles import Bundle
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
    bundle = Bundle.of(lines)
    length = bundle.length
    count = np.maximum(np.ceil(length / LONGEST_M - 1e-9), 1).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), count)
    number = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    share = (number[:, None] + np.linspace(0.0, 1.0, PIECE_POINTS)) / count[line][:, None]
    every = np.broadcast_to(line[:, None], share.shape)
    return bundle.at(every, share * length[line][:, None]).astype(np.float32), line

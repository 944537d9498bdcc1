"""Oriented boxes seen from above: corners, overlap, clearance.

A box is a row (x, y, yaw, length, width); its columns are reached by name: ``box[..., Box.YAW]``.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array

CORNER_SIGNS = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
"""Front left, rear left, rear right, front right: counter-clockwise."""


class Box(IntEnum):
    """Columns of a box: centre [m], heading [rad], extents [m]."""

    X = 0
    Y = 1
    YAW = 2
    LENGTH = 3
    WIDTH = 4


def corners(box: Float[Array, "*boxes 5"]) -> Float[Array, "*boxes 4 2"]:
    """Corners counter-clockwise from the front left [m]."""
    half = CORNER_SIGNS * box[..., None, [Box.LENGTH, Box.WIDTH]] / 2.0
    cos, sin = np.cos(box[..., Box.YAW])[..., None], np.sin(box[..., Box.YAW])[..., None]
    x = box[..., Box.X][..., None] + cos * half[..., 0] - sin * half[..., 1]
    y = box[..., Box.Y][..., None] + sin * half[..., 0] + cos * half[..., 1]
    return np.stack([x, y], axis=-1)


def in_frame_of(
    xy: Float[Array, "*points 2"], box: Float[Array, "*points 5"]
) -> Float[Array, "*points 2"]:
    """Points told in the frame of a box: x ahead of its centre, y to its left [m]."""
    cos, sin = np.cos(box[..., Box.YAW]), np.sin(box[..., Box.YAW])
    dx, dy = xy[..., 0] - box[..., Box.X], xy[..., 1] - box[..., Box.Y]
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=-1)


def overlap(a: Float[Array, "*pairs 5"], b: Float[Array, "*pairs 5"]) -> Bool[Array, "*pairs"]:
    """Whether the boxes share area (separating axis theorem); touching edges do not overlap."""
    a, b = np.broadcast_arrays(a, b)
    return np.asarray(_separation(a, b) < 0.0)


def clearance(a: Float[Array, "*pairs 5"], b: Float[Array, "*pairs 5"]) -> Float[Array, "*pairs"]:
    """Distance between the outlines of two boxes, 0 where they touch or overlap [m].

    Of two disjoint convex polygons, one nearest point is always a corner.
    """
    a, b = np.broadcast_arrays(a, b)
    nearest = np.minimum(
        _corner_distance(corners(a), b).min(axis=-1), _corner_distance(corners(b), a).min(axis=-1)
    )
    # Boxes may cross with no corner of either within the other, but not from afar.
    reach = np.hypot(a[..., Box.LENGTH], a[..., Box.WIDTH])
    reach = (reach + np.hypot(b[..., Box.LENGTH], b[..., Box.WIDTH])) / 2.0
    apart = np.hypot(a[..., Box.X] - b[..., Box.X], a[..., Box.Y] - b[..., Box.Y])
    close = np.asarray(apart <= reach)
    crosses = np.zeros(close.shape, dtype=bool)
    crosses[close] = _separation(a[close], b[close]) < 0.0
    return np.where(crosses, 0.0, nearest)


def signed_distance(
    a: Float[Array, "*pairs 5"], b: Float[Array, "*pairs 5"]
) -> Float[Array, "*pairs"]:
    """Distance between two boxes; where they overlap, minus the shortest way out [m]."""
    gap = _separation(a, b)
    nearest = np.minimum(
        _corner_distance(corners(a), b).min(axis=-1), _corner_distance(corners(b), a).min(axis=-1)
    )
    return np.where(gap < 0.0, gap, nearest)


def meets_line(
    box: Float[Array, "boxes 5"], line: Float[Array, "points 2"]
) -> Bool[Array, " boxes"]:
    """Whether a line comes into each box: one of its points, or one of its segments."""
    points = np.broadcast_to(line[None], (len(box), *line.shape))
    frames = np.broadcast_to(box[:, None, :], (len(box), len(line), box.shape[1]))
    x, y = np.moveaxis(in_frame_of(points, frames), -1, 0)
    half_x, half_y = box[:, None, Box.LENGTH] / 2.0, box[:, None, Box.WIDTH] / 2.0
    hit = ((np.abs(x) <= half_x) & (np.abs(y) <= half_y)).any(axis=1)
    # Along a segment x(t), y(t) both stay within the box for a stretch of t; do those meet?
    enter, leave = np.zeros((len(box), len(line) - 1)), np.ones((len(box), len(line) - 1))
    for place, half in ((x, half_x), (y, half_y)):
        start, step = place[:, :-1], np.diff(place, axis=1)
        moves = np.abs(step) > 1e-12
        safe = np.where(moves, step, 1.0)
        first, second = (-half - start) / safe, (half - start) / safe
        always = np.abs(start) <= half
        low, high = np.minimum(first, second), np.maximum(first, second)
        enter = np.maximum(enter, np.where(moves, low, np.where(always, 0.0, 2.0)))
        leave = np.minimum(leave, np.where(moves, high, np.where(always, 1.0, -1.0)))
    return np.asarray(hit | (enter <= leave).any(axis=1))


def _separation(a: Array, b: Array) -> Array:
    """Largest gap over the four candidate axes; negative when none separates the boxes."""
    corners_a, corners_b = corners(a), corners(b)
    yaws = np.stack(
        [
            a[..., Box.YAW],
            a[..., Box.YAW] + np.pi / 2,
            b[..., Box.YAW],
            b[..., Box.YAW] + np.pi / 2,
        ],
        axis=-1,
    )
    axes = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1)
    along_a = np.einsum("...ck,...nk->...nc", corners_a, axes)
    along_b = np.einsum("...ck,...nk->...nc", corners_b, axes)
    gap = np.maximum(
        along_a.min(axis=-1) - along_b.max(axis=-1), along_b.min(axis=-1) - along_a.max(axis=-1)
    )
    return np.asarray(gap.max(axis=-1))


def _corner_distance(points: Array, box: Array) -> Array:
    local = np.abs(
        in_frame_of(points, np.broadcast_to(box[..., None, :], (*points.shape[:-1], 5)))
    )
    outside = np.maximum(local - box[..., None, [Box.LENGTH, Box.WIDTH]] / 2.0, 0.0)
    return np.hypot(outside[..., 0], outside[..., 1])

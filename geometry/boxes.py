"""Oriented boxes seen from above: corners, overlap, clearance.

A box is a row (x, y, yaw, length, width); its columns are reached by name: ``box[..., Box.YAW]``.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import unit
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
    return np.asarray(_separation(a, b) < 0.0)


def clearance(a: Float[Array, "*pairs 5"], b: Float[Array, "*pairs 5"]) -> Float[Array, "*pairs"]:
    """Distance between the outlines of two boxes, 0 where they touch or overlap [m].

    Of two disjoint convex polygons, one nearest point is always a corner.
    """
    from geometry.box_loops import clearances

    shape, rows = in_rows(a, b)
    return clearances(*rows).reshape(shape)


def signed_distance(
    a: Float[Array, "*pairs 5"], b: Float[Array, "*pairs 5"]
) -> Float[Array, "*pairs"]:
    """Distance between two boxes; where they overlap, minus the shortest way out [m]."""
    gap = _separation(a, b)
    return np.where(gap < 0.0, gap, clearance(a, b))


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


def in_rows(a: Array, b: Array) -> tuple[tuple[int, ...], tuple[Array, Array, Array, Array]]:
    """The shape of pairs of boxes, and the pairs as :mod:`geometry.box_loops` takes them: in rows."""
    first, second = np.broadcast_arrays(a, b)
    told = []
    for box in (first, second):
        rows = np.ascontiguousarray(box, dtype=np.float64).reshape(-1, len(Box))
        told += [rows, unit(rows[:, Box.YAW])]
    return first.shape[:-1], (told[0], told[1], told[2], told[3])


def _separation(a: Array, b: Array) -> Array:
    """Largest gap over the four candidate axes; negative when none separates the boxes."""
    from geometry.box_loops import separations

    shape, rows = in_rows(a, b)
    return separations(*rows).reshape(shape)

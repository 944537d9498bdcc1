"""Polylines: arc length, resampling, Frenet coordinates, polygons.

Frenet coordinates (s, d): s metres along the line from its start, d metres to its left.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array


def arc_length(line: Float[Array, "points dims"]) -> Float[Array, " points"]:
    """Distance along the line to each of its points, beginning at 0 [m]."""
    dx, dy = np.diff(line[:, 0]), np.diff(line[:, 1])
    along = np.zeros(len(dx) + 1)
    along[1:] = np.cumsum(np.sqrt(dx * dx + dy * dy))
    return along


def without_repeats(line: Float[Array, "points dims"]) -> Float[Array, "kept dims"]:
    """The line without points that repeat the one before (closer than 1 mm)."""
    if len(line) < 2:
        return line
    moved = np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1) > 1e-3
    return line[np.concatenate([[True], moved])]


def resample(line: Float[Array, "points dims"], count: int) -> Float[Array, "count dims"]:
    """``count`` points evenly spaced along the line, ends kept; a single point is repeated."""
    s = arc_length(line)
    if s[-1] <= 0.0:
        return np.repeat(line[:1], count, axis=0)
    return _interpolated(line, s, np.linspace(0.0, s[-1], count))


def at(line: Float[Array, "points dims"], s: Float[Array, " many"]) -> Float[Array, "many dims"]:
    """Points at the given distances along the line; beyond its ends, the end points."""
    return _interpolated(line, arc_length(line), s)


def _interpolated(
    line: Float[Array, "points dims"], along: Float[Array, " points"], s: Float[Array, " many"]
) -> Float[Array, "many dims"]:
    return np.stack([np.interp(s, along, line[:, k]) for k in range(line.shape[1])], axis=-1)


def headings(line: Float[Array, "points dims"]) -> Float[Array, " points"]:
    """Direction of travel at each point; the last repeats that of the last segment [rad]."""
    if len(line) < 2:
        return np.zeros(len(line))
    steps = np.diff(line[:, :2], axis=0)
    yaw = np.arctan2(steps[:, 1], steps[:, 0])
    return np.concatenate([yaw, yaw[-1:]])


def curvature(line: Float[Array, "points dims"]) -> Float[Array, " points"]:
    """Signed curvature, positive where the line bends left, 0 for under three points [1/m]."""
    if len(line) < 3:
        return np.zeros(len(line))
    s = arc_length(line)
    yaw = np.unwrap(headings(line)[:-1])
    middle = (s[1:] + s[:-1]) / 2.0
    bend = np.diff(yaw) / np.maximum(np.diff(middle), 1e-6)
    return np.concatenate([bend[:1], bend, bend[-1:]])


def project(
    xy: Float[Array, "many 2"], line: Float[Array, "points dims"]
) -> tuple[Float[Array, " many"], Float[Array, " many"], Float[Array, " many"]]:
    """Frenet coordinates of points on the nearest segment of a line.

    Points before the start or past the end get s = 0 or the length, and their d is the whole
    distance to the end point, signed by side.

    Returns:
        s [m], d [m, left positive], heading of the segment [rad].

    Raises:
        ValueError: The line has fewer than two points.
    """
    return project_each(xy, np.zeros(len(xy), dtype=np.int64), [line])


def project_each(
    xy: Float[Array, "many 2"],
    which: Int[Array, " many"],
    lines: Sequence[Float[Array, "_points _dims"]],
) -> tuple[Float[Array, " many"], Float[Array, " many"], Float[Array, " many"]]:
    """As :func:`project`, of each point on a line of its own among several.

    Args:
        xy: The points [m].
        which: Index of the line of each.
        lines: The lines.

    Raises:
        ValueError: A line has fewer than two points.
    """
    from geometry.line_loops import nearest_segments

    counts = np.array([len(line) for line in lines], dtype=np.int64)
    if (counts < 2).any():
        raise ValueError(f"A line of {counts.min()} points has no direction; two are needed.")
    points = np.concatenate([line[:, :2] for line in lines]).astype(np.float64)
    last = np.cumsum(counts)
    within = np.ones(len(points) - 1, dtype=bool)
    within[last[:-1] - 1] = False  # from the end of a line to the begin of the next
    start, step = points[:-1][within], np.diff(points, axis=0)[within]
    s = np.concatenate([arc_length(line)[:-1] for line in lines])
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
    end = last - np.arange(1, len(lines) + 1)
    best, along, distance = nearest_segments(
        np.ascontiguousarray(xy, dtype=np.float64),
        np.ascontiguousarray(start),
        step / length[:, None],
        length,
        (end - counts + 1)[which],
        end[which],
    )
    x, y = (xy - start[best]).T
    cross = step[best, 0] * y - step[best, 1] * x
    side = np.where(cross >= 0.0, 1.0, -1.0)
    return s[best] + along, side * distance, np.arctan2(step[best, 1], step[best, 0])


def inside(
    xy: Float[Array, "*many 2"], polygon: Float[Array, "points dims"]
) -> Bool[Array, "*many"]:
    """Whether points lie within a polygon (even-odd rule), which closes itself."""
    x, y = xy[..., 0][..., None], xy[..., 1][..., None]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = (y0 > y) != (y1 > y)
    slope = np.where(y1 == y0, 1.0, y1 - y0)
    left_of = x < (x1 - x0) * (y - y0) / slope + x0
    return np.asarray((crosses & left_of).sum(axis=-1) % 2 == 1)


def offset_line(line: Float[Array, "points dims"], left: float) -> Float[Array, "points dims"]:
    """The line moved ``left`` metres to its left (negative: right), point by point."""
    if len(line) < 2:
        return line.copy()
    tangent = np.gradient(line[:, :2], axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    moved = line.copy()
    moved[:, 0] -= left * tangent[:, 1]
    moved[:, 1] += left * tangent[:, 0]
    return moved

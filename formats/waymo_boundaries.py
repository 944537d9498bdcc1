"""Boundaries of lanes from the lines beside them: Waymo's way to tell them, ScenarioNet's too.

A lane names a line for stretches of its own points; the boundary is, for each flanked point, the
nearest point of that line. A line is a chain of segments and each point's candidates are few: with
m the middle of a segment and h half the length of the longest, a segment can only be nearest where
|p − m| ≤ min |p − m| + h. Those distances come for all segments at once, as |m|² − 2 p·m + |p|²;
only the candidates are measured by their perpendicular.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array

BOUNDARY_COVER = 0.9  # share of a lane's points that a boundary must flank to be kept
PAIRS_AT_ONCE = 60_000  # of a point and a candidate; arrays of them stay within the cache
ROUNDING = 1e-9  # far more than the rounding of a coordinate, in its own scale

Stretch = tuple[Hashable, int, int]
"""A line's key, and the first and last of the lane's points that it flanks."""


class Boundaries:
    """The boundaries that the lanes of a map ask for, drawn together at the end.

    Args:
        lines: What may flank a lane, by key; of two corners or more, finite [m].
    """

    def __init__(self, lines: Mapping[Any, Float[Array, "corners 3"]]) -> None:
        self._number = {key: k for k, key in enumerate(lines)}
        self._lines = list(lines.values())
        self._which: list[Int[Array, " flanked"]] = []
        self._points: list[Float[Array, "flanked 3"]] = []

    def ask(self, points: Float[Array, "points 3"], stretches: Iterable[Stretch]) -> int | None:
        """The place of a boundary in what is drawn; None where less than nearly all is flanked.

        Where stretches overlap the later counts; those of unknown lines do not.
        """
        beside = np.full(len(points), -1)
        for key, first, last in stretches:
            number = self._number.get(key)
            if number is not None and last >= 0:
                beside[max(first, 0) : last + 1] = number
        flanked = np.flatnonzero(beside >= 0)
        if len(flanked) < max(2, BOUNDARY_COVER * len(points)):
            return None
        self._which.append(beside[flanked])
        self._points.append(points[flanked])
        return len(self._which) - 1

    def drawn(self) -> list[Float[Array, "flanked 3"]]:
        """All that were asked for, in that order [m]."""
        if not self._which:
            return []
        found = nearest_on(self._lines, np.concatenate(self._which), np.concatenate(self._points))
        return np.split(found, np.cumsum([len(which) for which in self._which])[:-1])


def nearest_on(
    lines: Sequence[Float[Array, "corners 3"]],
    which: Int[Array, " points"],
    points: Float[Array, "points dims"],
) -> Float[Array, "points 3"]:
    """The nearest point of a line to each point, in the plane, with the line's own height.

    Args:
        lines: Of two corners or more each [m].
        which: The line of each point.
        points: [m].

    Returns:
        Points of the lines [m]; of segments equally near, the first counts.
    """
    xy = np.ascontiguousarray(points[:, :2])
    corners = np.concatenate(lines)
    start, step = corners[:-1], np.diff(corners, axis=0)
    found = [
        _nearest(start[segments], step[segments], xy[rows[0] : rows[-1] + 1], rows - rows[0])
        for rows, segments in _gathered(_candidates(lines, which, xy))
    ]
    return np.concatenate(found) if found else np.zeros((0, 3))


def _candidates(
    lines: Sequence[Float[Array, "corners 3"]],
    which: Int[Array, " points"],
    xy: Float[Array, "points 2"],
) -> Iterator[tuple[Int[Array, " pairs"], Int[Array, " pairs"]]]:
    """Points with the segments that may be nearest to them, a run of points of one line at a time.

    Segments are numbered through the corners of all lines.
    """
    corners = np.concatenate(lines)[:, :2]
    counts = [len(line) for line in lines]
    begins = np.concatenate([[0], np.cumsum(counts)])
    origin = corners[begins[:-1]]  # distances are taken from a place nearby: squares stay small
    half = np.diff(corners, axis=0) / 2.0
    reach = np.hypot(half[:, 0], half[:, 1])
    middle = corners[:-1] + half - np.repeat(origin, counts, axis=0)[:-1]
    of_segments = np.stack([middle[:, 0], middle[:, 1], (middle * middle).sum(axis=1)])
    place = xy - origin[which]
    of_points = np.stack([-2.0 * place[:, 0], -2.0 * place[:, 1], np.ones(len(xy))], axis=1)
    square = (place * place).sum(axis=1)
    ends = np.flatnonzero(np.diff(which, append=-1)) + 1
    for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        line = which[a]
        first, last = begins[line], begins[line + 1] - 1
        segments = of_segments[:, first:last]
        distance = of_points[a:b] @ segments  # squared, less the square of the point
        own = square[a:b]
        widest = segments[2].max() + own.max()
        slack = ROUNDING * (np.sqrt(widest) + np.abs(origin[line]).max())
        error = 1e-12 * widest
        bound = np.sqrt(np.maximum(distance.min(axis=1) + own, 0.0) + error)
        bound += reach[first:last].max() + slack
        too_far = distance > (bound * bound + error - own)[:, None]
        rows, chosen = np.divmod(np.flatnonzero(~too_far), last - first)
        yield rows + a, chosen + first


def _gathered(
    runs: Iterable[tuple[Int[Array, " pairs"], Int[Array, " pairs"]]],
) -> Iterator[tuple[Int[Array, " more"], Int[Array, " more"]]]:
    """Short runs joined, up to ``PAIRS_AT_ONCE`` and the run that goes beyond."""
    held: list[tuple[Array, Array]] = []
    count = 0
    for run in runs:
        held.append(run)
        count += len(run[0])
        if count >= PAIRS_AT_ONCE:
            yield np.concatenate([r for r, _ in held]), np.concatenate([s for _, s in held])
            held, count = [], 0
    if held:
        yield np.concatenate([r for r, _ in held]), np.concatenate([s for _, s in held])


def _nearest(
    start: Float[Array, "pairs 3"],
    step: Float[Array, "pairs 3"],
    xy: Float[Array, "points 2"],
    rows: Int[Array, " pairs"],
) -> Float[Array, "points 3"]:
    """By the perpendicular onto every candidate; the pairs of a point lie together."""
    dx, dy = step[:, 0], step[:, 1]
    along = np.maximum(dx * dx + dy * dy, np.finfo(np.float64).tiny)
    x, y = xy[rows, 0] - start[:, 0], xy[rows, 1] - start[:, 1]
    share = np.clip((x * dx + y * dy) / along, 0.0, 1.0)
    x -= share * dx
    y -= share * dy
    distance = x * x + y * y
    least = np.minimum.reduceat(distance, np.flatnonzero(np.diff(rows, prepend=-1)))
    nearest = np.flatnonzero(distance <= least[rows])
    best = nearest[np.flatnonzero(np.diff(rows[nearest], prepend=-1))]
    return np.asarray(start[best] + share[best, None] * step[best])

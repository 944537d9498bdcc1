"""Many polylines at once: where along its path is each vehicle, and what lies ahead on it?

The paths are kept end to end in flat arrays with points 1 m apart, so that a lookup for thousands
of vehicles is one gather. Each answer depends on its own path alone, never on the others that
happen to be in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.polylines import arc_length, at, headings
from simulation import kernels

SPACING_M = 1.0
CURVATURE_SPAN = 2  # points to either side over which the bend of a path is averaged
ALONG_BEHIND_M, ALONG_AHEAD_M = 6, 12  # how far from one state of a drive the next is sought
CURVATURE_MAX = 0.3  # [1/m] tighter bends of a path are noise of its points (Waymax's limit)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Polylines with points 1 m apart, end to end.

    Attributes:
        xy: All points [m].
        yaw: Direction of travel at each [rad].
        curvature: Positive where the path bends left [1/m].
        first: Where each path begins among the points.
        count: How many points it has, two or more.
    """

    xy: Float[Array, "points 2"]
    yaw: Float[Array, " points"]
    curvature: Float[Array, " points"]
    first: Int[Array, " paths"]
    count: Int[Array, " paths"]

    @classmethod
    def of(cls, lines: Sequence[Float[Array, "points dims"]]) -> Paths:
        """Paths along the lines, each of which must be longer than nothing [m]."""
        return cls.through([respace(line) for line in lines])

    @classmethod
    def through(cls, spaced: Sequence[Float[Array, "points 2"]]) -> Paths:
        """Paths through points that are 1 m apart already, as :func:`respace` leaves them [m]."""
        count = np.array([len(line) for line in spaced], dtype=np.int64)
        if not spaced:
            nothing = np.zeros(0)
            return cls(np.zeros((0, 2)), nothing, nothing, count, count)
        yaws = [headings(line) for line in spaced]
        return cls(
            xy=np.concatenate(spaced),
            yaw=np.concatenate(yaws),
            curvature=np.concatenate([_curvature(yaw) for yaw in yaws]),
            first=np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64),
            count=count,
        )

    @property
    def length(self) -> Float[Array, " paths"]:
        """From first point to last [m]."""
        return (self.count - 1) * SPACING_M

    def index(self, path: Int[Array, "*rows"], s: Float[Array, "*rows"]) -> Int[Array, "*rows"]:
        """The point at or before a station, as an index into the flat arrays."""
        step = np.clip(np.floor(s / SPACING_M).astype(np.int64), 0, self.count[path] - 1)
        return np.asarray(self.first[path] + step)

    def pose(
        self, path: Int[Array, " rows"], s: Float[Array, " rows"]
    ) -> tuple[Float[Array, "rows 2"], Float[Array, " rows"]]:
        """Point and heading at a station; beyond the ends the path goes straight on."""
        return kernels.pose(
            self.xy, self.yaw, self.first, self.count, np.asarray(path), np.asarray(s, np.float64)
        )

    def locate(
        self,
        path: Int[Array, " rows"],
        xy: Float[Array, "rows 2"],
        near: Float[Array, " rows"],
        *,
        behind: float = 4.0,
        ahead: float = 12.0,
    ) -> tuple[Float[Array, " rows"], Float[Array, " rows"], Int[Array, " rows"]]:
        """Station s, offset d to the left, and nearest point, sought round a station [m].

        Args:
            path: Which path each row is on.
            xy: The positions.
            near: Where each was before; the search goes no farther than ``behind`` and ``ahead``.
            behind: How far back to look.
            ahead: How far ahead to look.
        """
        return kernels.locate(
            self.xy, self.yaw, self.first, self.count, np.asarray(path),
            np.ascontiguousarray(xy), np.asarray(near, np.float64), int(behind), int(ahead),
        )  # fmt: skip

    def along(
        self, xy: Float[Array, "states paths 2"], *, first: Float[Array, " paths"]
    ) -> tuple[Float[Array, "states paths"], Float[Array, "states paths"]]:
        """Stations and offsets of drives, row ``i`` along path ``i``, each near the one before [m]."""
        return kernels.along(
            self.xy, self.yaw, self.first, self.count, np.ascontiguousarray(xy),
            np.asarray(first, np.float64), ALONG_BEHIND_M, ALONG_AHEAD_M,
        )  # fmt: skip

    def boxes_ahead(
        self,
        path: Int[Array, " pairs"],
        s: Float[Array, " pairs"],
        box: Float[Array, "pairs 5"],
        *,
        reach: float,
    ) -> BoxesAhead:
        """Where boxes stand on the paths ahead of given stations.

        Args:
            path: Path of each pair.
            s: Station from which to look ahead [m].
            box: x, y, yaw, length, width.
            reach: How far to look [m].
        """
        where, d, chosen = kernels.places_ahead(
            self.xy, self.yaw, self.first, self.count, np.asarray(path), np.asarray(s, np.float64),
            np.ascontiguousarray(box[:, :2]), int(reach),
        )  # fmt: skip
        yaw = self.yaw[chosen]
        turn = box[:, 2] - yaw
        sin, cos = np.abs(np.sin(turn)), np.abs(np.cos(turn))
        half_along = (cos * box[:, 3] + sin * box[:, 4]) / 2.0
        past = where - (chosen - self.first[path]) * SPACING_M
        # Far from the nearest sample along the path means off the searched stretch of it.
        on_stretch = np.abs(past) <= half_along + kernels.STRIDE * SPACING_M
        return BoxesAhead(
            ahead=on_stretch & (where > s),
            near_end=where - half_along,
            offset=d,
            half_across=(sin * box[:, 3] + cos * box[:, 4]) / 2.0,
            yaw=yaw,
        )


@dataclass(frozen=True, slots=True, eq=False)
class BoxesAhead:
    """Where boxes stand on paths.

    Attributes:
        ahead: Whether the box is on the searched stretch at all.
        near_end: Station of its near end [m].
        offset: Of its centre to the left of the path [m].
        half_across: Half of what it covers across the path [m].
        yaw: Heading of the path there [rad].
    """

    ahead: Bool[Array, " pairs"]
    near_end: Float[Array, " pairs"]
    offset: Float[Array, " pairs"]
    half_across: Float[Array, " pairs"]
    yaw: Float[Array, " pairs"]


def project_on(
    xy: Float[Array, "many 2"], line: Float[Array, "points dims"]
) -> tuple[Float[Array, " many"], Float[Array, " many"], Float[Array, " many"]]:
    """Stations, offsets and headings of points on the nearest segment of a line of two points or more.

    Means the same as :func:`geometry.polylines.project`, and is compiled.
    """
    return kernels.project(
        np.ascontiguousarray(xy, dtype=np.float64),
        np.ascontiguousarray(line[:, :2], dtype=np.float64),
    )


def respace(line: Float[Array, "points dims"]) -> Float[Array, "spaced 2"]:
    """The line with points 1 m apart, at least two; it ends within 1 m of where it ended."""
    s = arc_length(line)
    steps = max(int(np.floor(s[-1] / SPACING_M)), 1)
    return at(np.asarray(line[:, :2], dtype=np.float64), np.arange(steps + 1) * SPACING_M)


def extended(
    line: Float[Array, "points 2"], *, before: float = 0.0, after: float = 0.0
) -> Float[Array, "more 2"]:
    """The line with straight pieces at its ends, in the direction of its last 3 m or so."""
    parts = [line]
    if before > 0.0:
        start = line[0] - line[_within(line, 3.0)]
        parts.insert(0, (line[0] + before * start / max(float(np.hypot(*start)), 1e-9))[None])
    if after > 0.0:
        end = line[-1] - line[::-1][_within(line[::-1], 3.0)]
        parts.append((line[-1] + after * end / max(float(np.hypot(*end)), 1e-9))[None])
    return np.concatenate(parts)


def _within(line: Array, distance: float) -> int:
    """Index of the first point at least so far along, else the last."""
    return min(int(np.searchsorted(arc_length(line), distance)), len(line) - 1)


def _curvature(yaw: Array) -> Array:
    """Turn per metre, over a few points to either side."""
    smooth = np.unwrap(yaw)
    index = np.arange(len(smooth))
    low = np.maximum(index - CURVATURE_SPAN, 0)
    high = np.minimum(index + CURVATURE_SPAN, len(smooth) - 1)
    span = np.maximum(high - low, 1) * SPACING_M
    return np.clip((smooth[high] - smooth[low]) / span, -CURVATURE_MAX, CURVATURE_MAX)

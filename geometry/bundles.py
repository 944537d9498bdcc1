"""Many polylines as one array of points, so that a city's lanes are treated at once.

A map has thousands of short lines. What is asked of each of them (its length, points along it) costs
a few microseconds of arithmetic and ten times that in calls; over one array it costs the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference
from geometry.arrays import Array

REPEAT_M = 1e-3  # [m] points this near to the one before repeat it


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Polylines one after the other; each has at least one point.

    Attributes:
        points: Of all lines; their first two columns are the plan [m].
        first: Of each line, the index of its first point.
        last: Likewise of its last.
        way: Distance in plan along all lines, as if each began where the one before ends [m].
    """

    points: Float[Array, "points dims"]
    first: Int[Array, " lines"]
    last: Int[Array, " lines"]
    way: Float[Array, " points"]

    @classmethod
    def of(cls, lines: Sequence[Float[Array, "_ dims"]]) -> Bundle:
        """The lines, in double precision.

        Raises:
            ValueError: One has no point.
        """
        if not lines:
            return cls.cut(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
        sizes = np.fromiter(map(len, lines), dtype=np.int64, count=len(lines))
        return cls.cut(np.concatenate(lines).astype(np.float64), sizes)

    @classmethod
    def cut(cls, points: Float[Array, "points dims"], sizes: Int[Array, " lines"]) -> Bundle:
        """Points that stand one line after the other already.

        Args:
            points: Of all lines [m].
            sizes: How many each has.

        Raises:
            ValueError: One has none.
        """
        if (sizes < 1).any():
            raise ValueError(f"Line {int(np.argmin(sizes))} has no point.")
        last = np.cumsum(sizes) - 1
        first = last - sizes + 1
        step = np.zeros(len(points))
        step[1:] = np.hypot(*np.diff(points[:, :2], axis=0).T)
        step[first] = 0.0
        return cls(points, first, last, np.cumsum(step))

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> Int[Array, " lines"]:
        """How many points each line has."""
        return self.last - self.first + 1

    @property
    def line(self) -> Int[Array, " points"]:
        """Of each point, the line that it is of."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @property
    def length(self) -> Float[Array, " lines"]:
        """Of each line, in plan [m]."""
        return self.way[self.last] - self.way[self.first]

    @property
    def turned(self) -> Float[Array, " lines"]:
        """How far each line bends to the left, all its bends added up [rad].

        0 for a line of under three points.
        """
        step = np.diff(self.points[:, :2], axis=0)
        yaw = np.arctan2(step[:, 1], step[:, 0])
        line = self.line
        within = line[2:] == line[:-2]
        bends = difference(yaw[1:], yaw[:-1])[within]
        made = np.bincount(line[2:][within], bends, minlength=len(self))
        return made.astype(np.float64)  # of no bend at all, it counts in integers

    def without_repeats(self) -> Bundle:
        """The lines without points that repeat the one before (closer than 1 mm)."""
        kept = np.diff(self.way, prepend=-1.0) > REPEAT_M
        kept[self.first] = True
        return self._of_points(kept, np.ones(len(self), dtype=bool))

    def without_standstill(self) -> Bundle:
        """The lines without points that are exactly the one before, so that each segment leads on."""
        kept = np.diff(self.way, prepend=-1.0) > 0.0
        kept[self.first] = True
        return self._of_points(kept, np.ones(len(self), dtype=bool))

    def only(self, lines: Bool[Array, " lines"]) -> Bundle:
        """Some of the lines."""
        return self._of_points(lines[self.line], lines)

    def _of_points(self, points: Array, lines: Array) -> Bundle:
        sizes = np.bincount(self.line[points], minlength=len(self))[lines]
        return Bundle.cut(self.points[points], sizes)

    def at(
        self, line: Int[Array, "*many"], s: Float[Array, "*many"]
    ) -> Float[Array, "*many dims"]:
        """Points at distances along lines; beyond their ends, the end points.

        Args:
            line: Which line, one for each distance.
            s: Distance along it [m].
        """
        first, last = self.first[line], self.last[line]
        place = self.way[first] + np.clip(s, 0.0, self.way[last] - self.way[first])
        left = np.searchsorted(self.way, place, side="right") - 1
        left = np.clip(left, first, np.maximum(last - 1, first))
        right = np.minimum(left + 1, last)
        step = self.way[right] - self.way[left]
        share = (place - self.way[left]) / np.where(step > 0.0, step, 1.0)
        share = np.clip(share, 0.0, 1.0)[..., None]
        start = self.points[left]
        return np.asarray(start + share * (self.points[right] - start))

    def frenet(
        self,
        line: Int[Array, " many"],
        about: Float[Array, " many"],
        xy: Float[Array, "many 2"],
    ) -> tuple[Float[Array, " many"], Float[Array, " many"]]:
        """Places in the coordinates of lines: distance along them and offset to their left.

        From ``about`` each place goes from segment to neighbouring segment as long as that brings it
        nearer, so that of a line that comes by twice the near pass counts. Before the first point
        and beyond the last the line goes straight on.

        Args:
            line: Which line, one for each place; of two points or more, none repeated.
            about: Roughly how far along it [m].
            xy: The places [m].

        Returns:
            s [m], negative before the line; d [m], to a corner the whole distance, signed by side.
        """
        first, last = self.first[line], self.last[line] - 1  # of the segments
        place = self.way[first] + about
        at = np.clip(np.searchsorted(self.way, place, side="right") - 1, first, last)
        apart = self._from_segment(at, xy)[0]
        for step, end in ((1, last), (-1, first)):
            walking = np.flatnonzero(at != end)
            while len(walking):
                beside = at[walking] + step
                there = self._from_segment(beside, xy[walking])[0]
                nearer = there < apart[walking]
                walking = walking[nearer]
                at[walking], apart[walking] = beside[nearer], there[nearer]
                walking = walking[at[walking] != end[walking]]
        _, along, left = self._from_segment(at, xy)
        length = self.way[at + 1] - self.way[at]
        held = np.clip(
            along, np.where(at > first, 0.0, -np.inf), np.where(at < last, length, np.inf)
        )
        d = np.where(held == along, left, np.copysign(apart, left))
        return self.way[at] - self.way[first] + held, d

    def _from_segment(
        self, at: Int[Array, " many"], xy: Float[Array, "many 2"]
    ) -> tuple[Float[Array, " many"], Float[Array, " many"], Float[Array, " many"]]:
        """Distance to the segment that begins at a point, place along and left of its straight [m]."""
        start = self.points[at, :2]
        step = self.points[at + 1, :2] - start
        length = np.hypot(*step.T)
        x, y = (xy - start).T
        along = (x * step[:, 0] + y * step[:, 1]) / length
        left = (y * step[:, 0] - x * step[:, 1]) / length
        return np.hypot(along - np.clip(along, 0.0, length), left), along, left

    def evenly(
        self, count: Int[Array, " lines"]
    ) -> tuple[Int[Array, " some"], Float[Array, " some"]]:
        """Places evenly spaced along each line, both ends among them.

        Args:
            count: How many on each line; two or more, or none.

        Returns:
            Of each place the line, and the distance along it [m]; line after line.
        """
        line = np.repeat(np.arange(len(self)), count)
        rank = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
        return line, rank * (self.length / np.maximum(count - 1, 1))[line]

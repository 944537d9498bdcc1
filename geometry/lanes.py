"""Which lane is an agent in? Map matching of boxes to lane centre lines.

A pose is matched to the lane whose centre line passes nearest, among those that run its way.
Position and heading are weighed together: cost = |d| + w·|Δψ|, so that in an intersection, where
lanes overlap, the one that points as the agent does is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from geometry.angles import difference
from geometry.arrays import Array
from geometry.polylines import arc_length, at, headings

SPACING_M = 1.0
HEADING_WEIGHT = 2.0  # [m/rad] half a right angle costs as much as 1.6 m of offset
CANDIDATES = 24


@dataclass(frozen=True, slots=True, eq=False)
class LaneMatch:
    """Where each pose stands on the lanes.

    Attributes:
        lane: Index of the matched line; meaningless where not matched.
        s: Distance along it [m].
        d: Offset to its left [m].
        heading_error: Agent's heading minus the lane's [rad].
        matched: Whether any line was near enough.
    """

    lane: Int[Array, " poses"]
    s: Float[Array, " poses"]
    d: Float[Array, " poses"]
    heading_error: Float[Array, " poses"]
    matched: Bool[Array, " poses"]


class LaneIndex:
    """Centre lines prepared for matching; build once for a map, ask often."""

    def __init__(self, lines: Sequence[Float[Array, "_ _"]]) -> None:
        """Sample the lines at 1 m.

        Args:
            lines: Centre lines of two points or more, in the direction of travel [m].
        """
        xy, yaw, s, lane = [], [], [], []
        for index, line in enumerate(lines):
            length = arc_length(line)[-1]
            if len(line) < 2 or length <= 0.0:
                continue
            stations = np.linspace(0.0, length, max(int(np.ceil(length / SPACING_M)) + 1, 2))
            points = at(np.asarray(line[:, :2], dtype=np.float64), stations)
            xy.append(points)
            yaw.append(headings(points))
            s.append(stations)
            lane.append(np.full(len(stations), index))
        self._empty = not xy
        if not self._empty:
            self._xy, self._yaw = np.concatenate(xy), np.concatenate(yaw)
            self._s, self._lane = np.concatenate(s), np.concatenate(lane)
            self._tree = cKDTree(self._xy)

    def match(
        self,
        xy: Float[Array, "poses 2"],
        yaw: Float[Array, " poses"],
        *,
        max_offset: float = 3.0,
        max_turn: float = np.pi,
    ) -> LaneMatch:
        """The best lane for each pose.

        Args:
            xy: Centres [m].
            yaw: Headings [rad].
            max_offset: Farthest a centre line may lie to the side [m].
            max_turn: Greatest angle between pose and lane [rad]. The default admits wrong-way
                driving, whose heading error tells it apart.

        Returns:
            The matches; poses far from every lane are not matched.
        """
        count = len(xy)
        nothing = np.zeros(count)
        if self._empty or count == 0:
            return LaneMatch(
                np.zeros(count, dtype=np.int64), nothing, nothing, nothing, np.zeros(count, bool)
            )
        k = min(CANDIDATES, len(self._xy))
        distance, near = self._tree.query(
            xy, k=k, distance_upper_bound=max_offset + SPACING_M, workers=1
        )
        distance = np.asarray(distance).reshape(count, k)
        near = np.asarray(near).reshape(count, k)
        found = np.isfinite(distance)
        near = np.where(found, near, 0)
        offset = xy[:, None, :] - self._xy[near]
        cos, sin = np.cos(self._yaw[near]), np.sin(self._yaw[near])
        along = cos * offset[..., 0] + sin * offset[..., 1]
        left = cos * offset[..., 1] - sin * offset[..., 0]
        turn = difference(np.broadcast_to(yaw[:, None], near.shape), self._yaw[near])
        found &= (np.abs(left) <= max_offset) & (np.abs(along) <= 1.5 * SPACING_M)
        found &= np.abs(turn) <= max_turn
        cost = np.abs(left) + HEADING_WEIGHT * np.abs(turn) + 0.05 * np.abs(along)
        best = np.where(found, cost, np.inf).argmin(axis=1)
        rows = np.arange(count)
        chosen = near[rows, best]
        return LaneMatch(
            lane=self._lane[chosen].astype(np.int64),
            s=np.maximum(self._s[chosen] + along[rows, best], 0.0),
            d=left[rows, best],
            heading_error=turn[rows, best],
            matched=found[rows, best],
        )

"""Which lane is an agent in? Map matching of boxes to lane centre lines.

A pose is matched to the lane whose centre line passes nearest, among those that run its way.
Position and heading are weighed together: cost = |d| + w·|Δψ|, so that in an intersection, where
lanes overlap, the one that points as the agent does is taken.

Which lane, samples of the lines every metre decide; where on it, the line itself does, since a sample's
tangent is as far as 0.3 m from a line that bends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference, unit
from geometry.arrays import Array
from geometry.bundles import Bundle
from geometry.polylines import headings

SPACING_M = 1.0
HEADING_WEIGHT = 2.0  # [m/rad] half a right angle costs as much as 1.6 m of offset
CANDIDATES = 24


@dataclass(frozen=True, slots=True, eq=False)
class LaneMatch:
    """Where each pose stands on the lanes.

    Attributes:
        lane: Index of the matched line; meaningless where not matched.
        s: Distance along it of its nearest place; the first and last segment go on beyond it, but
            not below 0 [m].
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
        from scipy.spatial import cKDTree  # half a second to import

        self._lines = bundle = Bundle.of([line[:, :2] for line in lines]).without_standstill()
        count = np.maximum(np.ceil(bundle.length / SPACING_M).astype(np.int64) + 1, 2)
        self._lane, self._s = bundle.evenly(np.where(bundle.length > 0.0, count, 0))
        self._empty = not len(self._lane)
        if not self._empty:
            self._xy = bundle.at(self._lane, self._s)
            self._yaw = headings(self._xy)
            last = np.flatnonzero(np.diff(self._lane, append=-1))
            self._yaw[last] = self._yaw[last - 1]  # what leads to the next line is no heading
            self._way = unit(self._yaw)
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
        # Most poses have few lanes about them: pairs of a pose and a sample near it.
        pose, rank = np.nonzero(np.isfinite(distance))
        near = near[pose, rank]
        offset, cos, sin = xy[pose] - self._xy[near], *self._way[near].T
        along = cos * offset[:, 0] + sin * offset[:, 1]
        left = cos * offset[:, 1] - sin * offset[:, 0]
        found = (np.abs(left) <= max_offset) & (np.abs(along) <= 1.5 * SPACING_M)
        pose, rank, near, along, left = (a[found] for a in (pose, rank, near, along, left))
        turn = difference(yaw[pose], self._yaw[near])
        cost = np.full((count, k), np.inf)
        cost[pose, rank] = np.where(
            np.abs(turn) <= max_turn,
            np.abs(left) + HEADING_WEIGHT * np.abs(turn) + 0.05 * np.abs(along),
            np.inf,
        )
        best = cost.argmin(axis=1)
        matched = np.isfinite(cost[np.arange(count), best])
        chosen = np.flatnonzero((rank == best[pose]) & matched[pose])
        made = {name: np.zeros(count) for name in ("s", "d", "heading_error")}
        lane = np.zeros(count, dtype=np.int64)
        lane[matched] = self._lane[near[chosen]]
        about = self._s[near[chosen]] + along[chosen]
        s, d = self._lines.frenet(lane[matched], about, xy[matched])
        made["s"][matched], made["d"][matched] = np.maximum(s, 0.0), d
        made["heading_error"][matched] = turn[chosen]
        return LaneMatch(lane=lane, matched=matched & (np.abs(made["d"]) <= max_offset), **made)

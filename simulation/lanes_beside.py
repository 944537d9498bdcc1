"""Where lane changes lead: for every metre of a vehicle's way the line of the lane beside it.

The ways of MOBIL's drivers begin as their logged lines. Whoever changes goes on along the middle of
the neighbouring lane and of the straightest lanes that follow it, to the end of the map; from there
again to lanes beside that one. Vehicles that share a lane share its line. A change is open where

- the map names a neighbour in the same direction, its middle 2 to 6 m aside;
- neither lane is in an intersection, or, where the map does not say, one of several that fan out from
  a lane or merge into one; and
- the neighbour goes on beside the way for 40 m more at least.

A case has at most :data:`LINES_MAX` such lines, and each at most :data:`ONWARD_M` beyond the lane it was
made for: memory is bounded by the case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.polylines import arc_length, headings, without_repeats
from schemas.labels import EdgeKind
from simulation.paths import extended, project_on, respace
from simulation.routes import LaneGraph, smoothed

LINES_MAX = 24
ONWARD_M = 400.0  # [m] how far a line is followed: 20 s at 20 m/s
BACK_M = 80.0  # [m] how far behind a change its line is known, to look for followers
SHARED_M = 200.0  # [m] a line that goes on so far beyond a lane will do for it
PAST_END_M = 150.0  # [m] straight on past the end of the map
STEP = 5  # [m] along a way between the places where its lanes are looked up
ASIDE_M = (2.0, 6.0)  # from middle to middle
STILL_BESIDE_M = 40
STANDS_M = 155  # the way of whoever moved under 5 m in the log, and what is added straight on
SIDES = (EdgeKind.LEFT, EdgeKind.RIGHT)


@dataclass(frozen=True, slots=True, eq=False)
class LanesBeside:
    """The lines of one case onto which its vehicles may change.

    Attributes:
        lines: Points 1 m apart [m].
        mapped: How far along each the map knows a lane [m].
        beside: For each way that was asked about, then for each of ``lines``: the index among ``lines``
            onto which a change to the left, and to the right, leads from each of its points, else −1.
    """

    lines: Sequence[Float[Array, "points 2"]]
    mapped: Sequence[float]
    beside: Sequence[Int[Array, "sides points"]]


def lanes_beside(graph: LaneGraph, ways: Sequence[Float[Array, "points 2"]]) -> LanesBeside:
    """The lines beside the ways, and beside those, until there are no more.

    Args:
        graph: Lanes of the map.
        ways: Points 1 m apart [m].
    """
    made = _Lines(graph)
    beside = [made.beside(way, made.lanes_under(way)) for way in ways]
    done = 0
    while done < len(made.lines):  # lines beside lines are appended as they are found
        beside.append(made.beside(made.lines[done], made.owner[done]))
        done += 1
    return LanesBeside(lines=made.lines, mapped=made.mapped, beside=beside)


class _Lines:
    """The lines of a case as they come to be asked for."""

    def __init__(self, graph: LaneGraph) -> None:
        self.graph = graph
        self.lines: list[Array] = []
        self.mapped: list[float] = []
        self.owner: list[Array] = []  # lane under each point
        self._of_lane: dict[int, int] = {}

    def lanes_under(self, way: Array) -> Int[Array, " points"]:
        """Lane under each point of a way, −1 where there is none, or where it leads hardly anywhere."""
        if len(way) <= STANDS_M:
            return np.full(len(way), -1, dtype=np.int64)
        some = np.ascontiguousarray(way[::STEP])
        lane, _ = self.graph.match(some, np.ascontiguousarray(headings(way)[::STEP]))
        return np.repeat(lane, STEP)[: len(way)]

    def beside(self, way: Array, under: Array) -> Int[Array, "sides points"]:
        """Index of the line beside each point, −1 where no change is open."""
        found = np.full((len(SIDES), len(way)), -1, dtype=np.int64)
        lanes = under[::STEP]
        for lane in dict.fromkeys(lanes.tolist()):  # each once, in the order of the way
            if lane < 0 or self.graph.in_junction(lane):
                continue
            here = np.flatnonzero(lanes == lane) * STEP
            for k, side in enumerate(SIDES):
                for neighbour in self.graph.beside[side].get(lane, ()):
                    free = here[found[k, here] < 0]
                    on = free[self._aside(way[free], neighbour, side)]
                    if len(on):
                        found[k, on] = self._line_of(neighbour)
        found = np.repeat(found[:, ::STEP], STEP, axis=1)[:, : len(way)]
        return np.stack([_lasting(row) for row in found])

    def _aside(self, xy: Array, neighbour: int, side: EdgeKind) -> Bool[Array, " points"]:
        """Whether a lane lies to that side of points, in its right distance."""
        feature = self.graph.lanes[neighbour]
        if len(xy) == 0 or self.graph.in_junction(neighbour):
            return np.zeros(len(xy), dtype=bool)
        s, d, _ = project_on(xy, feature.points)
        # The way lies to the right of a lane on its left.
        off = -d if side == EdgeKind.LEFT else d
        within = (s > 0.0) & (s < self.graph.length[neighbour])
        return np.asarray(within & (off >= ASIDE_M[0]) & (off <= ASIDE_M[1]))

    def _line_of(self, lane: int) -> int:
        if lane in self._of_lane:
            return self._of_lane[lane]
        if len(self.lines) == LINES_MAX:
            return -1
        chain, ended = self._followed(lane, ONWARD_M)
        before = self._followed(lane, BACK_M, back=True)[0][:0:-1]
        points = [
            np.asarray(self.graph.lanes[i].points[:, :2], np.float64) for i in before + chain
        ]
        lengths = [self.graph.length[i] for i in before + chain]
        line = without_repeats(np.concatenate(points))
        self._of_lane[lane] = len(self.lines)
        left = float(sum(self.graph.length[i] for i in chain))
        for follower in chain:
            if ended or left >= SHARED_M:
                self._of_lane.setdefault(follower, len(self.lines))
            left -= self.graph.length[follower]
        spaced = respace(extended(smoothed(respace(line)), after=PAST_END_M))
        owner = np.repeat(before + chain, np.maximum(np.round(lengths).astype(np.int64), 1))
        under = np.full(len(spaced), -1, dtype=np.int64)
        under[: min(len(owner), len(spaced))] = owner[: len(spaced)]
        self.lines.append(spaced)
        self.mapped.append(float(arc_length(line)[-1]))
        self.owner.append(under)
        return self._of_lane[lane]

    def _followed(self, lane: int, reach: float, *, back: bool = False) -> tuple[list[int], bool]:
        """A lane and the straightest that follow (or precede) it so far, and whether the map ended."""
        chain, gained = [lane], 0.0
        while gained < reach:
            following = self.graph.straightest(chain[-1], back=back)
            if following is None or following in chain:
                return chain, True
            chain.append(following)
            gained += self.graph.length[following]
        return chain, False


def _lasting(found: Int[Array, " points"]) -> Int[Array, " points"]:
    """What is still the same so much farther on; −1 elsewhere."""
    onward = np.full(len(found), -1, dtype=np.int64)
    onward[: max(len(found) - STILL_BESIDE_M, 0)] = found[STILL_BESIDE_M:]
    return np.where(found == onward, found, -1)

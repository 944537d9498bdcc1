"""How much room there is beside a route: as far as its lane reaches, and as far as one may drive.

Asked once for all points of a route, so that a planner may ask at every step of every drive that it
considers. Where the route's own line is off the surface the map is taken to be wrong, and nothing is
off there; without a map the lane ends 1 m beside the vehicle, as in :mod:`simulation.scores`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from simulation.protocol import CaseBatchView
from simulation.routes import LaneGraph
from simulation.scores import OFF_ROUTE_M, OUTSIDE_M
from simulation.surface import Ground, LaneUse, Surface

STEP_M = 0.25
REACH_M = 4.0
"""No vehicle that keeps to its route reaches farther to the side."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Room:
    """What is beside each point of the routes of a batch, in the order of its ``paths``.

    Attributes:
        lane_left: How far the lane that the route runs in reaches to its left; −∞ where there is none [m].
        lane_right: To its right [m].
        crossing: Whether the point is in an intersection.
        left: How far to the left one may drive [m].
        right: To the right [m].
    """

    lane_left: Float[Array, " points"]
    lane_right: Float[Array, " points"]
    crossing: Bool[Array, " points"]
    left: Float[Array, " points"]
    right: Float[Array, " points"]


def room_beside(cases: CaseBatchView, width: Float[Array, " cases"], past_goal: float) -> Room:
    """The room beside the routes from the start to so far past the goal; behind and beyond nothing is known.

    Args:
        cases: With routes and maps.
        width: Of the egos [m].
        past_goal: How far past their goals they may get [m].
    """
    paths = cases.paths
    many = len(paths.xy)
    lane_left = np.repeat(width / 2.0 + OFF_ROUTE_M, paths.count)
    lane_right = lane_left.copy()
    crossing = np.zeros(many, dtype=bool)
    left, right = np.full(many, np.inf), np.full(many, np.inf)
    known: dict[int, tuple[LaneGraph, Ground]] = {}
    for case, road_map in enumerate(cases.maps):
        if not road_map.features:
            continue
        if id(road_map) not in known:
            known[id(road_map)] = LaneGraph(road_map), Ground(road_map)
        graph, ground = known[id(road_map)]
        begin = int(cases.start_s[case])
        end = int(cases.routes[case].goal_s + past_goal) + 1
        here = slice(
            int(paths.first[case]) + max(begin, 0),
            int(paths.first[case] + min(max(end, begin + 1), paths.count[case])),
        )
        xy, yaw = paths.xy[here], paths.yaw[here]
        use = LaneUse(graph, xy, yaw)
        if use.known:
            lane_left[here], lane_right[here] = use.room()
            crossing[here] = use.in_intersection
        surface = Surface(ground, xy.min(axis=0) - 10.0, xy.max(axis=0) + 10.0)
        if surface.known:
            left[here], right[here] = _reaches(surface, xy, yaw)
    return Room(
        lane_left=lane_left, lane_right=lane_right, crossing=crossing, left=left, right=right
    )


def _reaches(
    surface: Surface, xy: Float[Array, "points 2"], yaw: Float[Array, " points"]
) -> Sequence[Float[Array, " points"]]:
    """How far the surface reaches to the left and to the right of a line without a break [m]."""
    to_left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
    aside = np.arange(0, round(REACH_M / STEP_M) + 1) * STEP_M
    answers = []
    for side in (1.0, -1.0):
        points = xy[:, None] + (side * aside)[:, None] * to_left[:, None]
        off = surface.outside(points.reshape(-1, 2)).reshape(points.shape[:2]) > OUTSIDE_M
        ends = np.where(off.any(axis=1), off.argmax(axis=1), len(aside)) - 1
        reach = np.where(ends == len(aside) - 1, np.inf, ends * STEP_M)
        answers.append(np.where(off[:, 0], np.inf, reach))
    return answers

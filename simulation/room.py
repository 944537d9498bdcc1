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
from simulation.protocol import CaseBatchView, EgoView
from simulation.routes import LaneGraph
from simulation.scores import OFF_ROUTE_M, OUTSIDE_M
from simulation.surface import Ground, LaneUse, Surface

NEAREST_M = 0.5
"""Who is off nearer than this is off everywhere: every vehicle is wider."""

STEP_M = 0.25
BEHIND_POINTS = 4
THINNED = 2
"""The surface beside every second point of a route will do."""
REACH_M = 5.0
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
        least: So far to either side of the way straight on from the point nothing is off the surface, as
            far ahead as an ego reaches whose rear axle is there [m].
    """

    lane_left: Float[Array, " points"]
    lane_right: Float[Array, " points"]
    crossing: Bool[Array, " points"]
    left: Float[Array, " points"]
    right: Float[Array, " points"]
    least: Float[Array, " points"]


def room_beside(cases: CaseBatchView, ego: EgoView, past_goal: float) -> Room:
    """The room beside the routes from the start to so far past the goal; behind and beyond nothing is known.

    Args:
        cases: With routes and maps.
        ego: Who drives.
        past_goal: How far past their goals they may get [m].
    """
    paths = cases.paths
    many = len(paths.xy)
    lane_left = np.repeat(ego.width / 2.0 + OFF_ROUTE_M, paths.count)
    lane_right = lane_left.copy()
    crossing = np.zeros(many, dtype=bool)
    left, right, least = (np.full(many, np.inf) for _ in range(3))
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
            every = _reaches(surface, xy[::THINNED], yaw[::THINNED])
            left[here], right[here] = (np.repeat(one, THINNED)[: len(xy)] for one in every)
            front = float(ego.rear_to_centre[case] + ego.length[case] / 2.0)
            narrow = np.minimum(left[here], right[here])
            least[here] = _straight_on(narrow, xy, yaw, int(np.ceil(front)))
    return Room(
        lane_left=lane_left,
        lane_right=lane_right,
        crossing=crossing,
        left=left,
        right=right,
        least=least,
    )


def _reaches(
    surface: Surface, xy: Float[Array, "points 2"], yaw: Float[Array, " points"]
) -> Sequence[Float[Array, " points"]]:
    """How far the surface reaches to the left and to the right of a line without a break [m]."""
    to_left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
    off = surface.outside(xy) > OUTSIDE_M
    aside = np.arange(NEAREST_M, REACH_M + STEP_M / 2.0, STEP_M)
    answers = []
    for side in (1.0, -1.0):
        points = xy[:, None] + (side * aside)[:, None] * to_left[:, None]
        on = surface.covers(points.reshape(-1, 2)).reshape(points.shape[:2])
        # Whether the surface reaches beyond lanes and areas is dear to ask. Where it does to the end,
        # nothing is in between; else each point is asked of one place after the other, until one is off.
        asked = np.flatnonzero(~on[:, -1])
        reaches = surface.outside(points[asked, -1]) <= OUTSIDE_M
        on[asked[reaches]] = True
        asked = np.flatnonzero(~on.all(axis=1))
        while len(asked):
            first = on[asked].argmin(axis=1)
            good = surface.outside(points[asked, first]) <= OUTSIDE_M
            asked, first = asked[good], first[good]
            on[asked, first] = True
            asked = asked[~on[asked].all(axis=1)]
        ends = np.where(on.all(axis=1), len(aside), on.argmin(axis=1))
        reach = np.concatenate([[0.0], aside])[ends]
        reach = np.where(on.all(axis=1) | off, np.inf, reach)
        answers.append(reach)
    return answers


def _straight_on(
    narrow: Float[Array, " points"],
    xy: Float[Array, "points 2"],
    yaw: Float[Array, " points"],
    ahead: int,
) -> Float[Array, " points"]:
    """The least of what is free beside the points from 3 m behind each to so far ahead, less what these bend away."""
    free = np.full(len(xy), np.inf)
    cos, sin = np.cos(yaw), np.sin(yaw)
    at = np.arange(len(xy))
    for shift in range(-BEHIND_POINTS, ahead + 3):
        there = np.clip(at + shift, 0, len(xy) - 1)
        apart = xy[there] - xy
        bend = np.abs(cos * apart[:, 1] - sin * apart[:, 0])
        np.minimum(free, narrow[there] - bend, out=free)
    return free

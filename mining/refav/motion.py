"""How tracks move: turns and changes of lane, as RefAV defines them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from geometry.angles import difference
from geometry.arrays import Array
from mining.refav import roads
from mining.refav.log import Log

TURN = np.radians(45.0)
"""[rad] Least change of heading of a turn."""
TURN_CUT = TURN / 3.0
"""[rad] Likewise of a turn of which the log shows a part only."""
TURN_RATE = np.radians(5.0)
"""[rad/s] Least mean rate of such a turn."""
NEAR_INTERSECTION_M = 5.0
DRIFT = 0.1
"""[m/s] Least speed across the lane at a change of lane."""
SLANT = np.radians(45.0)
"""[rad] Greatest angle between lane and motion at a change of lane."""


def turning(log: Log, row: int, side: int) -> Bool[Array, " steps"]:
    """Where a track turns to a side: +1 left, −1 right, 0 either.

    A turn is a run of yaw rates of one sign that add up to more than 45°. A run that begins with
    the track or ends with it also counts if it adds up to more than 15° at more than 5°/s, near an
    intersection where the log has a map.
    """
    mask = np.zeros(len(log.stamps), dtype=bool)
    rate = log.yaw_rate[row]
    at = np.flatnonzero(np.isfinite(rate))
    if len(at) < 2:
        return mask
    t = log.grid.t_ns[at] / 1e9
    step = np.diff(t, append=2 * t[-1] - t[-2])
    near: Array | None = None
    for sign, first, last in _runs(np.sign(rate[at])):
        if sign == 0 or side * sign < 0:
            continue
        part = rate[at[first : last + 1]]
        angle = abs(float((part * step[first : last + 1]).sum()))
        holds = angle > TURN
        ends = [at[k] for k in (0, len(at) - 1) if k in (first, last)]
        if not holds and ends and angle > TURN_CUT and abs(part.mean()) > TURN_RATE:
            if near is None:
                near = _near_intersection(log, row)
            holds = bool(near[ends].any())
        if holds:
            mask[at[first : last + 1]] = True
    return mask


def changing_lanes(log: Log, row: int, side: int) -> Bool[Array, " steps"]:
    """Where a track moves into the lane beside its own: +1 left, −1 right, 0 either.

    From where it begins to drift towards that lane until it has ceased to, without turns.
    """
    mask = np.zeros(len(log.stamps), dtype=bool)
    grid, graph = log.grid, log.graph
    at = np.flatnonzero(grid.seen[row])
    lane, d = grid.lane[row, at], grid.lane_d[row, at]
    changed = (lane[1:] != lane[:-1]) & (lane[1:] >= 0) & (lane[:-1] >= 0)
    for k in (np.flatnonzero(changed) + 1).tolist():
        way = roads.neighbour_side(log, int(lane[k - 1]), int(lane[k]))
        if way == 0 or side * way < 0 or not _crosses(log, row, int(at[k]), int(lane[k - 1]), way):
            continue
        begin, end = k - 1, k
        while begin > 0 and _drifts(log, lane, d, begin - 1, way):
            begin -= 1
        while end < len(at) - 1 and _drifts(log, lane, d, end, way):
            end += 1
        mask[at[begin : end + 1]] = True
    return mask & ~turning(log, row, 0) if mask.any() and len(graph) else mask


def _crosses(log: Log, row: int, step: int, lane: int, way: int) -> bool:
    """Whether a track really moves from a lane to that side: fast enough, and along the road."""
    vx, vy = log.velocity[row, step]
    first, count = log.graph.samples.first[lane], log.graph.samples.count[lane]
    line = log.graph.samples.xy[first : first + count]
    near = int(np.hypot(*(line - log.grid.xyz[row, step, :2]).T).argmin())
    course = float(log.graph.samples.yaw[first + near])
    sideways = way * (np.cos(course) * vy - np.sin(course) * vx)
    slant = abs(float(difference(np.asarray(np.arctan2(vy, vx)), np.asarray(course))))
    return bool(sideways >= DRIFT and min(slant, np.pi - slant) <= SLANT)


def _drifts(log: Log, lane: Array, d: Array, k: int, way: int) -> bool:
    """Whether the place within the lane moves to a side from observation k to the next."""
    a, b = int(lane[k]), int(lane[k + 1])
    same = a >= 0 and (a == b or b in log.graph.successors[a])
    return bool(same and way * (d[k + 1] - d[k]) > 0.0)


def _near_intersection(log: Log, row: int) -> Array:
    if not len(log.graph):
        return np.ones(len(log.stamps), dtype=bool)
    areas = roads.intersections(log)
    return roads.within(log, [row], areas, distance=NEAR_INTERSECTION_M, boxes=False)[0]


def _runs(signs: Array) -> Iterator[tuple[int, int, int]]:
    """Sign, first and last of each run of equal signs."""
    cuts = np.flatnonzero(np.diff(signs)) + 1
    for run in np.split(np.arange(len(signs)), cuts):
        yield int(signs[run[0]]), int(run[0]), int(run[-1])

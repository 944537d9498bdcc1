"""Who comes the other way in one's own lane, and how far off.

The actor's way is its lane and what follows it: the lanes that it drives later, or else those that
bend least. Whoever is on that way, against its direction, is told of with the gap along it; what comes
by beside, in a lane of its own, is not; nor within intersections, where ways cross and turn off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference
from geometry.arrays import Array
from geometry.polylines import arc_length, project
from mining.kept import kept
from mining.motion import Motion

AHEAD_M = 150.0
"""[m] Farthest ahead that one is looked for."""
AGAINST = np.radians(135.0)
"""[rad] Least angle to the lane's direction of who comes against it (RefAV opposite direction)."""
ASIDE_M = 0.2
"""[m] Who passes at less beside the other is in its way, as among leaders."""
COMES = 0.5
"""[m/s] Who is slower does not come (RefAV has_velocity)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Oncoming:
    """For each of `Motion.pairs`, whether b comes the other way on the way of a.

    Attributes:
        on: Whether it does.
        gap: From front to front along a's way; ∞ where not [m].
    """

    on: Bool[Array, "pairs steps"]
    gap: Float[Array, "pairs steps"]


@kept
def oncoming_of(motion: Motion) -> Oncoming:
    """Who comes the other way in whose lane."""
    pairs = motion.pairs
    a, b = pairs.a, pairs.b
    maybe = pairs.seen & (pairs.x > 0.0) & (pairs.x <= AHEAD_M)
    maybe &= (motion.drives[a] & motion.drives[b])[:, None] & motion.on_lane[a]
    maybe &= (np.cos(motion.yaw[b] - motion.yaw[a]) < 0.0) & (motion.forward[b] > COMES)
    maybe &= np.abs(motion.heading_error[a]) < np.pi / 2
    maybe &= ~(motion.in_intersection[a] | motion.in_intersection[b])
    on, gap = np.zeros(maybe.shape, dtype=bool), np.full(maybe.shape, np.inf)
    row, step = np.nonzero(maybe)
    if not len(row):
        return Oncoming(on=on, gap=gap)
    lane = motion.lane[a[row], step]
    # Whoever is in one lane has one way: all who come there are looked for at once.
    way_of, who = np.unique(np.stack([a[row], lane]), axis=1, return_inverse=True)
    order = np.argsort(who.ravel(), kind="stable")
    for (i, k), part in zip(way_of.T.tolist(), np.split(order, _ends(who.ravel())), strict=True):
        rows, steps, way = row[part], step[part], _way_from(motion, i, k)
        j = b[rows]
        s, d, yaw = project(motion.xy[j, steps], way)
        inside = (s > 0.0) & (s < arc_length(way)[-1])
        inside &= np.abs(difference(motion.yaw[j, steps], yaw)) >= AGAINST
        half = (motion.width[i] + motion.width[j]) / 2 + ASIDE_M
        inside &= np.abs(d - motion.lane_d[i, steps]) < half
        room = s - motion.lane_s[i, steps] - (motion.length[i] + motion.length[j]) / 2
        on[rows, steps] = inside & (room > 0.0)
        gap[rows, steps] = np.where(inside & (room > 0.0), room, np.inf)
    return Oncoming(on=on, gap=gap)


def _ends(group: Int[Array, " many"]) -> Int[Array, " groups"]:
    """Where each group but the last ends among members sorted by group."""
    return np.asarray(np.cumsum(np.bincount(group))[:-1])


def _way_from(motion: Motion, i: int, lane: int) -> Float[Array, "points 2"]:
    """The centre lines of a lane and of those that an agent drives, or would, after it."""
    graph, place = motion.graph, motion.used[1]
    lines, length, seen = [graph.lanes[lane].points[:, :2]], float(graph.length[lane]), {lane}
    while length < AHEAD_M + float(graph.length[lane]):
        after = [k for k in graph.successors[lane] if k not in seen and graph.for_cars[k]]
        driven = [k for k in after if place[k] >= 0 and motion.on_way[i, place[k]]]
        if not after:
            break
        lane = min(driven or after, key=lambda k: abs(float(graph.turn[k])))
        seen.add(lane)
        lines.append(graph.lanes[lane].points[1:, :2])
        length += float(graph.length[lane])
    return np.concatenate(lines).astype(np.float64)

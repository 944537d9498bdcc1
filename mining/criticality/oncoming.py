"""Who comes the other way in one's own lane, and how far off.

The actor's way is its lane and what follows it: the lanes that it drives later, or else those that
bend least. Whoever is on that way, against its direction, is told of with the gap along it; what comes
by beside, in a lane of its own, is not; nor within intersections, where ways cross and turn off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import difference
from geometry.arrays import Array
from geometry.polylines import arc_length, project_each
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
    # Whoever is in one lane has one way, and mostly the same as others there.
    whose, of = np.unique(a[row] * len(motion.graph.lanes) + lane, return_inverse=True)
    ways = [_way_from(motion, *divmod(n, len(motion.graph.lanes))) for n in whose.tolist()]
    places = {way: place for place, way in enumerate(dict.fromkeys(ways))}
    lines = [_line_along(motion, way) for way in places]
    way = np.array([places[way] for way in ways])[of.ravel()]
    i, j = a[row], b[row]
    s, d, yaw = project_each(motion.xy[j, step], way, lines)
    inside = (s > 0.0) & (s < np.array([arc_length(line)[-1] for line in lines])[way])
    inside &= np.abs(difference(motion.yaw[j, step], yaw)) >= AGAINST
    inside &= (
        np.abs(d - motion.lane_d[i, step]) < (motion.width[i] + motion.width[j]) / 2 + ASIDE_M
    )
    room = s - motion.lane_s[i, step] - (motion.length[i] + motion.length[j]) / 2
    on[row, step] = inside & (room > 0.0)
    gap[row, step] = np.where(inside & (room > 0.0), room, np.inf)
    return Oncoming(on=on, gap=gap)


def _way_from(motion: Motion, i: int, lane: int) -> tuple[int, ...]:
    """A lane and those that an agent drives, or would, after it."""
    graph, place = motion.graph, motion.used[1]
    way, length = [lane], float(graph.length[lane])
    while length < AHEAD_M + float(graph.length[way[0]]):
        after = [k for k in graph.successors[lane] if k not in way and graph.for_cars[k]]
        driven = [k for k in after if place[k] >= 0 and motion.on_way[i, place[k]]]
        if not after:
            break
        lane = min(driven or after, key=lambda k: abs(float(graph.turn[k])))
        way.append(lane)
        length += float(graph.length[lane])
    return tuple(way)


def _line_along(motion: Motion, way: tuple[int, ...]) -> Float[Array, "points 2"]:
    """The centre lines of lanes one after the other."""
    lines = [motion.graph.lanes[k].points[min(n, 1) :, :2] for n, k in enumerate(way)]
    return np.concatenate(lines).astype(np.float64)

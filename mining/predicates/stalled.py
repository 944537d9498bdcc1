"""Who stands in the way of traffic, and nothing keeps it from going on.

That somebody stands in the middle of a lane is seen at once; that it has no reason to is not. So what
speaks against a reason is looked for, and where it cannot be, whether the vehicle has stalled is unknown:

- *A light.* Before an intersection, on its way or straight ahead, or before the map's end: one that shows
  red, or was not recorded while no stop sign tells that there is none.
- *A queue*, or something in the way. One in a queue is known by who stands ahead of it. Where the ego
  never sees the ground just ahead, somebody may stand there; and where somebody stands or creeps farther
  ahead, the two may queue with room between them.
- *It is parked*, where lanes are mapped on which people park: it was not seen to come, it stands at
  the side of the road, and it holds nobody up.

Whoever was behind it and gets past it into its own lane shows that nothing holds it up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import unit
from geometry.arrays import Array
from geometry.boxes import Box, in_frame_of, meets_line
from mining.intervals import BRIDGE_S, spells, steps_of
from mining.kept import kept
from mining.lanes import HALF_WIDTH_M, SIGN_ASIDE_M
from mining.motion import FOCUS_M, Motion
from mining.predicates.longitudinal import standing
from mining.predicates.predicate import Limits, Span
from mining.sight import lines_of_sight
from schemas.labels import LightState, MapLayer, Truth
from schemas.scene import DT

AHEAD_ASIDE_M = 3.0
"""[m] What is farther aside than this is not ahead."""
WHOLLY = 0.999
"""Share of an angle that is all of it."""
FITS_M = 5.0
"""[m] What a vehicle takes up."""
SPOT_M, SPOT_STEPS = 3.0, 5
"""[m, steps] How far ahead of who stands its leader's rear would be, and how often one looks there."""
BESIDE_M, LANE_OFF_M = 3.5, 1.2
"""[m] Where the next lane is, and how far off its middle may be from there."""
DROVE = 2.0
"""[m/s] Who was as fast was not parked."""
HELD_M, HELD_S = 15.0, 1.0
"""[m, s] Who stands so near behind for so long is held up."""
REACTS_S = 2.0
"""[s] Who may go sets off sooner."""
PASSED_M = 40.0
"""[m] Who gets past is seen again ahead at less than this."""
LIGHT = "lights ahead that were not recorded may hold it up"
QUEUE = "what holds it up, a queue or a thing, may have been out of sight"
PARKED = "it may be parked: it was not seen to come, and stands at the side of the road"


def stalled(motion: Motion, limits: Limits) -> Iterable[Span]:
    """Where vehicles have stalled, or may have."""
    stands = _stands_in_lane(motion, limits)
    waits = motion.graph.places_to_wait
    view, lasts = motion.signal, {"least_s": limits["duration"], "bridge_s": BRIDGE_S}
    before_light = (view.distance > -2.0) & (view.distance <= limits["light"])
    held = before_light & np.isin(view.state, (LightState.RED, LightState.YELLOW))
    for i, begin, end in spells(stands, **lasts):
        seen = np.flatnonzero(stands[i, begin : end + 1] & motion.seen[i, begin : end + 1]) + begin
        box = np.median(motion.boxes[i, seen], axis=0)
        if _ahead_of(box, waits) <= limits["ahead"]:
            continue
        span = np.zeros(motion.steps, dtype=bool)
        span[begin : end + 1] = True
        free = span & stands[i] & ~held[i] & ~_blocked(motion, i, box, limits)
        if not any(True for _ in spells(free[None], **lasts)):
            continue
        doubts = _doubts(motion, i, seen, box, limits)
        known = free.copy()
        for doubt in doubts.values():
            known &= ~doubt
        true = list(spells(known[None], **lasts))
        for _, b, e in true:
            yield Span(
                begin=b, end=e, actor=i, lane=int(motion.lane[i, seen[0]]), value=(e - b + 1) * DT
            )
        if not true:
            reasons = [why for why, doubt in doubts.items() if (free & doubt).any()]
            for _, b, e in spells(free[None], **lasts):
                yield Span(begin=b, end=e, actor=i, truth=Truth.UNKNOWN,
                           evidence={"reason": "; ".join(reasons)})  # fmt: skip


# -- why it may not have --------------------------------------------------------------------------


def _doubts(
    motion: Motion,
    i: int,
    seen: Int[Array, " some"],
    box: Float[Array, " 5"],
    limits: Limits,
) -> dict[str, Bool[Array, " steps"]]:
    """At which steps what might be the reason that it stands, by what that is.

    Args:
        motion: The scene.
        i: Who stands.
        seen: The steps at which it is seen to.
        box: Where.
        limits: Of the predicate.
    """
    begin, end = int(seen[0]), int(seen[-1])
    light = queue = np.zeros(motion.steps, dtype=bool)
    if not _gone_round(motion, i, begin, end):
        light = _may_be_lit(motion, i, seen, box, limits)
        queue, room_known = _next_ahead(motion, i, limits)
        sight = _first_sight_ahead_of(motion, box, begin, end)
        known = np.flatnonzero(room_known[begin : end + 1])
        since = min(sight, begin + int(known[0]) if len(known) else motion.steps)
        # Had somebody been there before, it would have set off soon after that one did.
        queue = queue | (since > end - steps_of(REACTS_S))
    drove = (motion.seen[i] & (motion.speed[i] >= DROVE))[:begin]
    parked = not (drove.any() or _between_lanes(motion, box) or _holds_up(motion, i, begin, end))
    return {LIGHT: light, QUEUE: queue, PARKED: np.full(motion.steps, parked)}


def _may_be_lit(
    motion: Motion, i: int, seen: Int[Array, " some"], box: Float[Array, " 5"], limits: Limits
) -> Bool[Array, " steps"]:
    """Where a light may be the reason: one that shows red farther ahead, or was not recorded."""
    view = motion.signal
    near = (view.distance[i] > -2.0) & (view.distance[i] <= limits["line"])
    unlit = near & np.isin(view.state[i], (LightState.UNKNOWN, LightState.RED, LightState.YELLOW))
    straight = _ahead_of(box, motion.graph.junctions)
    lane, s = int(motion.lane[i, seen[0]]), float(motion.lane_s[i, seen[0]])
    by_lane = _to_junction(motion, lane, s, within=limits["line"] + box[Box.LENGTH])
    junction = min(straight, by_lane - box[Box.LENGTH] / 2)
    if junction > limits["line"] or _signed(motion, box, limits["line"]):
        return np.asarray(unlit)
    return np.asarray(unlit | ~np.isfinite(view.distance[i]))


def _to_junction(motion: Motion, lane: int, s: float, *, within: float) -> float:
    """From a place in a lane to the nearest intersection, or the map's end, downstream [m].

    ∞ if there is none within a distance [m].
    """
    graph = motion.graph
    queue, seen = [(float(graph.length[lane]) - s, lane)], {lane}
    while queue:
        way, here = heapq.heappop(queue)
        if way > within:
            break
        following = graph.successors[here]
        if not following or bool(graph.in_intersection[following].any()):
            return way
        for after in set(following) - seen:
            seen.add(after)
            heapq.heappush(queue, (way + float(graph.length[after]), after))
    return float(np.inf)


def _signed(motion: Motion, box: Float[Array, " 5"], within: float) -> bool:
    """Whether a stop sign stands ahead, so that no light does."""
    signs = [f.points[:1, :2] for f in motion.scene.map.of_layer(MapLayer.STOP_SIGN)]
    points = np.concatenate([np.zeros((0, 2)), *signs])
    x, y = in_frame_of(points, np.broadcast_to(box, (len(points), 5))).T
    x = x - box[Box.LENGTH] / 2
    return bool(((x > 0.0) & (x <= within) & (np.abs(y) <= SIGN_ASIDE_M)).any())


def _next_ahead(
    motion: Motion, i: int, limits: Limits
) -> tuple[Bool[Array, " steps"], Bool[Array, " steps"]]:
    """Where one stands or creeps ahead, and where one drives so near that nobody fits between."""
    leads = motion.leads
    waits, drives = np.zeros(motion.steps, dtype=bool), np.zeros(motion.steps, dtype=bool)
    for row in np.flatnonzero(leads.a == i).tolist():
        fast = motion.speed[leads.b[row]] >= DROVE
        waits |= (leads.gap[row] <= limits["room"]) & ~fast
        drives |= (leads.gap[row] <= limits["queue"] + FITS_M) & fast
    return waits, drives


def _gone_round(motion: Motion, i: int, begin: int, end: int) -> bool:
    """Whether somebody who was behind it gets past it into its lane meanwhile."""
    leads, away = motion.leads, motion.used[2]
    for row in np.flatnonzero(leads.b == i).tolist():
        behind = np.flatnonzero(leads.on[row, begin : end + 1]) + begin
        if not len(behind):
            continue
        k, first = int(leads.a[row]), int(behind[0])
        later = slice(first, end + 1)
        place, own = motion.place[k, later], int(motion.place[i, first])
        ahead = away[own, np.maximum(place, 0)] + motion.lane_s[k, later] - motion.lane_s[i, first]
        back = (place >= 0) & motion.on_way[i, np.maximum(place, 0)]
        back &= (ahead > 0.0) & (ahead <= PASSED_M)
        back &= np.abs(motion.lane_d[k, later]) <= HALF_WIDTH_M
        back &= np.abs(motion.heading_error[k, later]) < np.pi / 4
        if (back & (motion.speed[k, later] >= DROVE)).any():
            return True
    return False


def _between_lanes(motion: Motion, box: Float[Array, " 5"]) -> bool:
    """Whether there are lanes for cars on both sides, where nobody parks."""
    side = unit(box[Box.YAW : Box.YAW + 1] + np.pi / 2)[0]
    away, _ = motion.graph.tree.query(box[:2] + np.array([[BESIDE_M], [-BESIDE_M]]) * side)
    return bool(np.max(away) <= LANE_OFF_M)


def _holds_up(motion: Motion, i: int, begin: int, end: int) -> bool:
    """Whether somebody comes driving and has to stand behind it, or to leave its lane."""
    leads, still = motion.leads, standing(motion)
    for row in np.flatnonzero(leads.b == i).tolist():
        k, on = int(leads.a[row]), leads.on[row].copy()
        on[:begin], on[end + 1 :] = False, False
        came = motion.seen[k] & (motion.speed[k] >= DROVE)
        if not came.any() or not on.any():
            continue
        waits = on & still[k] & (leads.gap[row] <= HELD_M)
        waits[: int(came.argmax())] = False
        if any(True for _ in spells(waits[None], least_s=HELD_S)):
            return True
        for change in motion.lane_changes:
            before = slice(max(change.begin - steps_of(HELD_S), 0), change.cross + 1)
            if change.agent == k and on[before].any():
                return True
    return False


# -- where it stands ------------------------------------------------------------------------------


def _stands_in_lane(motion: Motion, limits: Limits) -> Bool[Array, "agents steps"]:
    """Who stands in the middle of a lane, its way, neither in an intersection nor in a car park.

    Who is seen there again, in the same place, stood there meanwhile.
    """
    lane = np.maximum(motion.lane, 0)
    stands = standing(motion) & (motion.is_vehicle & motion.focus)[:, None] & motion.on_lane
    stands &= motion.graph.for_cars[lane] & (np.abs(motion.lane_d) <= limits["aside"])
    stands &= np.abs(motion.heading_error) <= np.radians(limits["angle"])
    stands &= ~motion.in_intersection
    for area in motion.areas(MapLayer.PARKING):
        stands &= ~motion.within(area, among=stands)
    for i in np.flatnonzero(stands.any(axis=1) & ~motion.seen.all(axis=1)).tolist():
        seen = np.flatnonzero(motion.seen[i])
        lost = np.flatnonzero(np.diff(seen) > 1)
        for before, after in zip(seen[lost].tolist(), seen[lost + 1].tolist(), strict=True):
            moved = motion.xy[i, after] - motion.xy[i, before]
            if stands[i, before] and stands[i, after] and np.hypot(*moved) <= limits["moved"]:
                stands[i, before:after] = True
    return stands


def _ahead_of(box: Float[Array, " 5"], points: Float[Array, "points 2"]) -> float:
    """From the front of a box to the nearest of some points ahead, at most 3 m aside; ∞ if none [m]."""
    x, y = in_frame_of(points, np.broadcast_to(box, (len(points), 5))).T
    x = x[np.abs(y) < AHEAD_ASIDE_M] - box[Box.LENGTH] / 2
    return float(x[x > 0.0].min(initial=np.inf))


def _blocked(
    motion: Motion, i: int, box: Float[Array, " 5"], limits: Limits
) -> Bool[Array, " steps"]:
    """Whether anybody or anything is just ahead of where an agent stands, on a lane or not.

    Who is lost from sight there is taken to be there still, and who comes into sight there, to have
    been there before.
    """
    reach = limits["queue"] + motion.length + motion.length[i] + motion.width + motion.width[i]
    away = np.hypot(*np.moveaxis(motion.xy - box[:2], -1, 0))
    beside = (motion.seen & (away <= reach[:, None])).any(axis=1)
    beside[i] = False
    who = np.flatnonzero(beside)
    xy, seen, length, width = (
        motion.xy[who],
        motion.seen[who],
        motion.length[who],
        motion.width[who],
    )
    frames = np.broadcast_to(box, (*xy.shape[:2], 5))
    x, y = np.moveaxis(in_frame_of(xy, frames), -1, 0)
    gap = x - (length[:, None] + motion.length[i]) / 2
    ahead = (x > 0.0) & (gap <= limits["queue"])
    ahead &= np.abs(y) <= (width[:, None] + motion.width[i]) / 2
    steps = np.arange(motion.steps)
    last = np.maximum.accumulate(np.where(seen, steps, -1), axis=1)
    last = np.where(last < 0, motion.first_seen[who][:, None], last)
    held = np.take_along_axis(ahead & seen, last, axis=1)
    return np.asarray(held.any(axis=0))


def _first_sight_ahead_of(motion: Motion, box: Float[Array, " 5"], begin: int, end: int) -> int:
    """The step, of those between two, at which the ego first sees where whoever is ahead would stand.

    Seen from above, as in :mod:`mining.sight`. Recordings without an ego see everything, and so do
    those that tell for a second of somebody who is wholly behind one as tall. If it never does, the
    number of steps.
    """
    if not motion.scene.has_ego:
        return begin
    front = box[Box.LENGTH] / 2
    spot = box[:2] + (front + SPOT_M) * unit(box[Box.YAW : Box.YAW + 1])[0]
    if _sees_through(motion):
        return begin
    hides = _hides(motion)
    for step in range(begin, end + 1, SPOT_STEPS):
        boxes = motion.boxes[motion.seen[:, step] & hides, step]
        if not meets_line(boxes, np.stack([motion.xy[0, step], spot])).any():
            return step
    return motion.steps


def _hides(motion: Motion) -> Bool[Array, " agents"]:
    """Whom the ego cannot look through."""
    hides = ~motion.is_pedestrian & ~motion.is_thing
    hides[0] = False
    return hides


@kept
def _sees_through(motion: Motion) -> bool:
    """Whether a source tells of those whom the ego cannot see."""
    hides = _hides(motion)
    sight = lines_of_sight(motion, within=FOCUS_M)
    height = motion.size[:, 2]
    lower = height[sight.far] <= height[sight.near]
    hidden = (sight.share >= WHOLLY) & (lower & hides[sight.near])[:, None]
    return any(True for _ in spells(hidden, least_s=1.0, bridge_s=0.0))

"""What agents do because of each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from mining.criticality import headway
from mining.intervals import spells, steps_of
from mining.motion import Motion
from mining.predicates.longitudinal import standing
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations, states
from schemas.labels import DRIVING, ON_FOOT, VEHICLES, AgentClass, LightState

GROUP = "interaction"
UN_R157_SPEEDS = np.array([7.2, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]) / 3.6
UN_R157_HEADWAYS = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
"""[s] Least following time gap at each of the speeds above [m/s] (UN R157, 5.2.3.3)."""
UN_R157_GAP_M = 2.0
PAIRS_AT_ONCE = 1024
"""Pairs whose steps are in memory at once."""


def _following(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    speed = motion.speed[leads.a]
    wait = headway(leads.gap, speed)
    mask = leads.on & (leads.gap <= limits["gap"]) & (wait <= limits["headway"])
    mask &= speed > limits["speed"]
    return relations(
        leads.a, leads.b, mask, leads.gap, pick=np.argmin, least_s=1.0, evidence={"thw": wait}
    )


def _slow_lead(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    excess = motion.speed[leads.a] - motion.speed[leads.b]
    mask = leads.on & (leads.gap <= limits["gap"]) & (excess >= limits["speed"])
    return relations(leads.a, leads.b, mask, excess, evidence={"gap": leads.gap})


def _queuing(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    mask = leads.on & (leads.gap <= limits["gap"]) & motion.drives[leads.b][:, None]
    mask &= (motion.speed[leads.a] <= limits["speed"]) & ~motion.parked[leads.b][:, None]
    mask &= motion.speed[leads.b] <= limits["speed_lead"]
    return relations(leads.a, leads.b, mask, leads.gap, pick=np.argmin, least_s=1.0)


def least_following_gap(speed: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Least gap to a leader at each speed (UN R157) [m]."""
    return np.maximum(np.interp(speed, UN_R157_SPEEDS, UN_R157_HEADWAYS) * speed, UN_R157_GAP_M)


def _tailgating(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    speed = motion.speed[leads.a]
    share = leads.gap / least_following_gap(speed)
    mask = leads.on & (speed >= limits["speed"]) & (share < limits["share"])
    mask &= motion.speed[leads.b] > 0.5
    wait = headway(leads.gap, speed)
    return relations(
        leads.a, leads.b, mask, wait, pick=np.argmin, least_s=1.0, evidence={"gap": leads.gap}
    )


def _crossed_by(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    rows = np.flatnonzero(pairs.with_ego & motion.drives[pairs.a])
    a, b = pairs.a[rows], pairs.b[rows]
    x = pairs.x[rows] - motion.length[a][:, None] / 2
    y, seen = pairs.y[rows], pairs.seen[rows]
    velocity = motion.velocity[b]
    cos, sin = motion.facing
    sideways = cos[a] * velocity[..., 1] - sin[a] * velocity[..., 0]
    front = seen & (x > 0.0) & (x <= limits["ahead"])
    moves = np.abs(sideways) > limits["speed"]
    swaps = front[:, 1:] & front[:, :-1] & moves[:, 1:]
    swaps &= (y[:, 1:] >= 0.0) != (y[:, :-1] >= 0.0)
    swaps &= np.sign(y[:, 1:] - y[:, :-1]) == np.sign(sideways[:, 1:])
    corridor = front & moves & (np.abs(y) <= limits["aside"])
    told: set[tuple[int, int]] = set()
    for row, step in zip(*np.nonzero(swaps), strict=True):
        direction = np.sign(sideways[row, step + 1])
        ok = corridor[row] & (np.sign(sideways[row]) == direction)
        begin = end = int(step) + 1
        while begin > 0 and ok[begin - 1]:
            begin -= 1
        while end < motion.steps - 1 and ok[end + 1]:
            end += 1
        # A box that trembles swaps sides more than once on its way across.
        if end - begin + 1 >= steps_of(0.5) and (row, begin) not in told:
            told.add((int(row), begin))
            yield Span(
                begin=begin,
                end=end,
                actor=int(a[row]),
                other=int(b[row]),
                value=float(x[row, begin : end + 1].min()),
                evidence={"cross_step": int(step) + 1, "direction": float(direction)},
            )


def _crosses_in_front(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    moves = motion.seen & (motion.speed > limits["speed"])
    moving = moves[pairs.a] & moves[pairs.b] & motion.drives[pairs.b][:, None]
    rows = np.flatnonzero(moving.any(axis=1))
    for begin in range(0, len(rows), PAIRS_AT_ONCE):
        some = rows[begin : begin + PAIRS_AT_ONCE]
        yield from _crossing(motion, limits, pairs.a[some], pairs.b[some], moving[some])


def _crossing(
    motion: Motion,
    limits: Limits,
    a: Int[Array, " pairs"],
    b: Int[Array, " pairs"],
    moving: Bool[Array, "pairs steps"],
) -> Iterable[Span]:
    """Where a crosses in front of b."""
    course_a, course_b = motion.course[a], motion.course[b]
    sine = np.sin(course_b - course_a)
    angle = np.degrees(np.abs((course_b - course_a + np.pi) % (2 * np.pi) - np.pi))
    apart = motion.xy[b] - motion.xy[a]
    safe = np.where(np.abs(sine) > 1e-3, sine, 1.0)
    cos, sin = motion.going
    along_a = (apart[..., 0] * sin[b] - apart[..., 1] * cos[b]) / safe
    along_b = (apart[..., 0] * sin[a] - apart[..., 1] * cos[a]) / safe
    eta_a = along_a / np.maximum(motion.speed[a], 0.1)
    eta_b = along_b / np.maximum(motion.speed[b], 0.1)
    later = eta_b - eta_a
    mask = moving & (angle >= limits["angle_least"]) & (angle <= limits["angle_most"])
    mask &= (along_a >= 0.0) & (along_b >= 0.0)
    mask &= (along_a <= limits["distance"]) & (along_b <= limits["distance"])
    mask &= (later >= limits["eta_least"]) & (later <= limits["eta_most"])
    return relations(a, b, mask, later, pick=np.argmin, evidence={"angle": angle})


def _oncoming_turn_conflict(motion: Motion, limits: Limits) -> Iterable[Span]:
    for c in motion.conflicts:
        for turner, straight, enters in (
            (c.first, c.second, c.first_enters),
            (c.second, c.first, c.second_enters),
        ):
            if not (motion.drives[turner] and motion.drives[straight]):
                continue
            turn = next(
                (
                    t
                    for t in motion.turns
                    if t.agent == turner
                    and t.angle > np.radians(limits["turn"])
                    and t.begin <= enters + steps_of(1.0)
                    and t.end >= enters - steps_of(1.0)
                ),
                None,
            )
            if turn is None or c.pet > limits["pet"]:
                continue
            # Before the turn the two face each other; the other one drives straight on.
            life = np.flatnonzero(motion.seen[straight])
            yaw = motion.yaw_smooth[straight]
            facing = abs(np.cos((motion.yaw[turner, turn.begin] - yaw[life[0]]) / 2.0))
            bend = np.degrees(np.abs(yaw[life] - yaw[life[0]]).max())
            if facing <= np.cos(np.radians(limits["facing"]) / 2) and bend <= 25.0:
                yield Span(
                    begin=min(turn.begin, c.first_enters),
                    end=max(c.first_leaves, c.second_enters),
                    actor=turner,
                    other=straight,
                    value=c.pet,
                    evidence={"turns_first": turner == c.first},
                )


def _yields_to(motion: Motion, limits: Limits) -> Iterable[Span]:
    for c in motion.conflicts:
        i, j = c.second, c.first
        if not motion.drives[i] or c.pet > limits["pet"]:
            continue
        start = max(c.second_enters - steps_of(limits["before"]), int(motion.first_seen[i]))
        speed = np.where(motion.seen[i], motion.speed[i], np.nan)[start : c.second_enters + 1]
        if len(speed) < 3 or np.isnan(speed).any():
            continue
        slowest = int(np.argmin(speed))
        base = float(speed[: slowest + 1].max())
        drop = base - float(speed[slowest])
        # When it begins to slow, not which step of steady driving happens to be the fastest.
        fastest = int(np.flatnonzero(speed[: slowest + 1] >= base - 0.05 * drop)[-1])
        if base < limits["speed"] or drop < max(limits["drop"], limits["share"] * base):
            continue
        low = start + slowest
        away = float(np.hypot(*(motion.xy[i, c.second_enters] - motion.xy[i, low])))
        red = motion.scene.has_signals and motion.signal.state[i, low] == LightState.RED
        waits_for_it = start + fastest <= c.first_leaves and low <= c.first_leaves + steps_of(1.0)
        if away <= limits["distance"] and not red and waits_for_it:
            yield Span(
                begin=start + fastest,
                end=max(low, c.first_leaves, start + fastest),
                actor=i,
                other=j,
                value=drop,
                evidence={"pet": c.pet, "speed_before": base},
            )


def _blocked_by(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    still = standing(motion) | (motion.is_thing[:, None] & motion.seen)
    waits = np.zeros(still.shape, dtype=bool)
    for j, begin, end in spells(still, least_s=limits["standing"]):
        waits[j, begin : end + 1] = True
    stuck = waits & ~_has_reason_to_stand(motion)
    _, rate, known = motion.lateral
    reacts = (motion.acceleration <= -1.0) | (known & (np.abs(rate) >= 0.3))
    waits_too = motion.speed <= limits["speed"]
    # The two overlap by a hand's breadth or more, seen along the lane.
    side = np.abs(motion.lane_d[leads.a] - motion.lane_d[leads.b])
    in_way = side <= (motion.width[leads.a] + motion.width[leads.b])[:, None] / 2 - 0.2
    near = leads.on & (leads.gap > -0.5) & (leads.gap <= limits["gap"]) & stuck[leads.b] & in_way
    close = leads.gap <= limits["gap_waiting"]
    mask = near & ((reacts & ~waits_too)[leads.a] | (waits_too[leads.a] & close))
    return relations(
        leads.a,
        leads.b,
        mask,
        np.where(near, leads.gap, np.inf),
        pick=np.argmin,
        bridge_s=1.0,
        evidence={"speed": motion.speed[leads.a]},
    )


def _has_reason_to_stand(motion: Motion) -> Bool[Array, "agents steps"]:
    """Standing in a queue, at a light, before an intersection or crosswalk is no obstacle."""
    reason = np.zeros(motion.seen.shape, dtype=bool)
    leads = motion.leads
    for row, i in enumerate(leads.a.tolist()):
        queue = leads.on[row] & (leads.gap[row] <= 15.0)
        reason[i] |= queue & ~motion.is_thing[leads.b[row]]
    if motion.scene.has_signals:
        view = motion.signal
        ahead = (view.distance > -3.0) & (view.distance <= 30.0)
        reason |= ahead & (view.state != LightState.GREEN)
    chosen = motion.used[0]
    if chosen:
        lane = np.maximum(motion.lane, 0)
        rest = motion.graph.length[lane] - motion.lane_s
        enters = np.array(
            [
                any(motion.graph.in_intersection[k] for k in following)
                for following in motion.graph.successors
            ],
            dtype=bool,
        )
        reason |= motion.on_lane & enters[lane] & (rest <= 20.0)
        reason |= motion.in_intersection
        walkers = motion.at_crosswalk & motion.is_pedestrian[:, None]
        reason |= walkers.any(axis=0)[None] & motion.at_crosswalk
    return reason & ~motion.is_thing[:, None]


def _jaywalking(motion: Motion, limits: Limits) -> Iterable[Span]:
    on_road = motion.off_centre <= limits["half_lane"]
    walks = motion.seen & (motion.is_pedestrian & motion.focus)[:, None]
    mask = walks & on_road & ~motion.at_crosswalk & (motion.speed >= limits["speed"])
    for i, begin, end in spells(mask, least_s=limits["duration"], bridge_s=1.0):
        way = float(np.hypot(*(motion.xy[i, end] - motion.xy[i, begin])))
        if way >= limits["way"]:
            yield Span(begin=begin, end=end, actor=i, value=way)


def _waiting_for_pedestrian(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    walker = motion.is_pedestrian[pairs.b] & motion.drives[pairs.a] & ~motion.parked[pairs.a]
    x = pairs.x - motion.length[pairs.a][:, None] / 2
    mask = pairs.seen & walker[:, None] & (motion.speed[pairs.a] <= limits["speed"])
    mask &= (x > -0.5) & (x <= limits["distance"]) & (np.abs(pairs.y) <= limits["aside"])
    road = motion.at_crosswalk | (motion.off_centre <= 1.75)
    mask &= road[pairs.b] & (motion.speed[pairs.b] >= 0.3)
    if motion.scene.has_signals:
        mask &= motion.signal.state[pairs.a] != LightState.RED
    mask &= ~_behind_a_lead(motion)[pairs.a]
    return relations(pairs.a, pairs.b, mask, x, pick=np.argmin)


def _lane_splitting(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    narrow = np.isin(motion.cls, [AgentClass.MOTORCYCLE, AgentClass.CYCLIST])
    rider = narrow & motion.focus
    wide = motion.is_vehicle & ~narrow & ~motion.parked
    rows = np.flatnonzero(rider[pairs.a] & wide[pairs.b])
    a, b = pairs.a[rows], pairs.b[rows]
    abreast = np.abs(pairs.x[rows]) <= (motion.length[a] + motion.length[b])[:, None] / 2
    along = np.cos(motion.yaw[a] - motion.yaw[b]) >= np.cos(np.radians(limits["angle"]))
    close = pairs.seen[rows] & abreast & along & (pairs.clearance[rows] <= limits["aside"])
    shape = motion.seen.shape
    gap = {side: np.full(shape, np.inf) for side in (1, -1)}
    for side, least in gap.items():
        beside = close & (np.sign(pairs.y[rows]) == side)
        np.minimum.at(least, a, np.where(beside, pairs.clearance[rows], np.inf))
    room = gap[1] + gap[-1]
    mask = np.isfinite(room) & (motion.speed >= limits["speed"])
    evidence = {"gap_left": gap[1], "gap_right": gap[-1]}
    return states(motion, mask, room, pick=np.argmin, evidence=evidence)


def _platoon(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    speed = motion.speed
    close = leads.on & (headway(leads.gap, speed[leads.a]) <= limits["headway"])
    close &= (speed[leads.a] >= limits["speed"]) & (speed[leads.b] >= limits["speed"])
    rows, steps = np.nonzero(close)
    own = np.repeat(np.arange(motion.agents)[:, None], motion.steps, axis=1)
    first = own.copy()
    first[leads.a[rows], steps] = leads.b[rows]
    follows = first != own
    for _ in range(int(np.ceil(np.log2(max(motion.agents, 2))))):
        first = np.take_along_axis(first, first, axis=0)  # the leader's leader, and so on
    size = np.zeros(motion.seen.shape)
    np.add.at(size, (first, np.arange(motion.steps)[None]), motion.seen & (first != own))
    size += size > 0.0
    mask = (size >= limits["count"]) & ~follows
    return states(motion, mask, size, least_s=limits["duration"])


def _behind_a_lead(motion: Motion) -> Bool[Array, "agents steps"]:
    led = np.zeros(motion.seen.shape, dtype=bool)
    for row, i in enumerate(motion.leads.a.tolist()):
        led[i] |= motion.leads.gap[row] <= 5.0
    return led


FOLLOWING = Predicate(
    name="following",
    group=GROUP,
    doc="The other is the nearest ahead on the actor's way, at most 5 s and 80 m off.",
    formula="other leads ∧ gap ≤ {gap} ∧ gap₊ / v ≤ {headway} ∧ v > {speed}, T ≥ 1 s",
    find=_following,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("gap", 80.0, "m", "nuPlan-KG follows"),
        Parameter("headway", 5.0, "s", "nuPlan-KG follows"),
        Parameter("speed", 0.3, "m/s", "nuPlan-KG follows"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
SLOW_LEAD = Predicate(
    name="slow_lead",
    group=GROUP,
    doc="The leader within 50 m is slower by 2 m/s or more.",
    formula="other leads ∧ v − v_other ≥ {speed} ∧ gap ≤ {gap}",
    find=_slow_lead,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("speed", 2.0, "m/s", "own"),
        Parameter("gap", 50.0, "m", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
QUEUING = Predicate(
    name="queuing",
    group=GROUP,
    doc="Stands or creeps close behind a leader that does too.",
    formula="other leads, not parked ∧ v ≤ {speed} ∧ v_other ≤ {speed_lead} ∧ gap ≤ {gap}, "
    "T ≥ 1 s",
    find=_queuing,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("speed", 2.0, "m/s", "nuPlan-KG queuesBehind"),
        Parameter("speed_lead", 4.0, "m/s", "nuPlan-KG queuesBehind"),
        Parameter("gap", 12.0, "m", "nuPlan-KG queuesBehind"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
TAILGATING = Predicate(
    name="tailgating",
    group=GROUP,
    doc="Follows at under half the least time gap that UN R157 asks of automated vehicles.",
    formula="other leads ∧ gap < {share} max(τ(v) v, 2 m) ∧ v ≥ {speed} ∧ v_other > 0.5 "
    "m/s, T ≥ 1 s; τ(v): UN R157's least time gap",
    find=_tailgating,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("share", 0.5, "1", "own: people follow closer than UN R157 allows"),
        Parameter("speed", 5.0, "m/s", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
CROSSED_BY = Predicate(
    name="crossed_by",
    group=GROUP,
    doc="The other moves across the line straight ahead of the actor, within 10 m of its front.",
    formula="y changes sign at t; around t, 0 < x − l/2 ≤ {ahead} ∧ |y| ≤ {aside} ∧ "
    "|v_y,other| > {speed} to one side",
    find=_crossed_by,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("ahead", 10.0, "m", "RefAV being_crossed_by"),
        Parameter("aside", 5.0, "m", "RefAV being_crossed_by"),
        Parameter("speed", 0.2, "m/s", "RefAV being_crossed_by"),
    ),
    of_ego=True,
    version=4,
    only=(DRIVING,),
)
CROSSES_IN_FRONT = Predicate(
    name="crosses_in_front",
    group=GROUP,
    doc="Heads across the other's course and will be at the crossing first, by 0.25 to 6 s.",
    formula="{angle_least} ≤ |course − course_other| ≤ {angle_most} ∧ {eta_least} ≤ "
    "e_other/v_other − e/v ≤ {eta_most} ∧ 0 ≤ e, e_other ≤ {distance} ∧ v, v_other "
    "> {speed}; e: way to where the straight courses cross",
    find=_crosses_in_front,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("angle_least", 25.0, "°", "nuPlan-KG crossesInFrontOf"),
        Parameter("angle_most", 155.0, "°", "nuPlan-KG crossesInFrontOf"),
        Parameter("distance", 30.0, "m", "nuPlan-KG crossesInFrontOf"),
        Parameter("eta_least", 0.25, "s", "nuPlan-KG crossesInFrontOf"),
        Parameter("eta_most", 6.0, "s", "nuPlan-KG crossesInFrontOf"),
        Parameter("speed", 0.5, "m/s", "nuPlan-KG parked filter"),
    ),
)
ONCOMING_TURN_CONFLICT = Predicate(
    name="oncoming_turn_conflict",
    group=GROUP,
    doc="Turns left across the way of someone who comes straight on, within 5 s of each other.",
    formula="ways cross, PET ≤ {pet}; actor turns left there by Δψ > {turn}; other's "
    "heading differs from the actor's before it by ≥ {facing}, and changes by ≤ "
    "25°",
    find=_oncoming_turn_conflict,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("turn", 45.0, "°", "RefAV turning"),
        Parameter("facing", 135.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("pet", 5.0, "s", "CriMe conflict index"),
    ),
)
YIELDS_TO = Predicate(
    name="yields_to",
    group=GROUP,
    doc="Slows before a crossing of ways, lets the other pass first, then drives over it.",
    formula="ways cross, actor second, PET ≤ {pet}; in the {before} before it enters v "
    "falls from V ≥ {speed} to v_min, V − v_min ≥ max({drop}, {share} V), ≤ "
    "{distance} from where it enters, by 1 s after other leaves; signal ≠ red",
    find=_yields_to,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("pet", 5.0, "s", "CriMe conflict index"),
        Parameter("before", 6.0, "s", "nuPlan-KG crossesInFrontOf"),
        Parameter("speed", 1.0, "m/s", "nuPlan-KG yieldsTo"),
        Parameter("drop", 0.75, "m/s", "nuPlan-KG yieldsTo"),
        Parameter("share", 0.15, "1", "nuPlan-KG yieldsTo"),
        Parameter("distance", 18.0, "m", "nuPlan-KG yieldsTo"),
    ),
    version=4,
    only=(DRIVING,),
)
BLOCKED_BY = Predicate(
    name="blocked_by",
    group=GROUP,
    doc="Something stands in the actor's lane for no visible reason, and the actor brakes, waits or "
    "steers round it.",
    formula="other leads ∧ stopped ≥ {standing} for no reason ∧ |d − d_other| ≤ (w + "
    "w_other)/2 − 0.2 m ∧ (v > {speed} ∧ −0.5 m < gap ≤ {gap} ∧ (a ≤ −1 m/s² ∨ "
    "|dD/dt| ≥ 0.3 m/s) ∨ v ≤ {speed} ∧ −0.5 m < gap ≤ min({gap}, {gap_waiting}))",
    find=_blocked_by,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("gap", 30.0, "m", "own: of one who brakes or steers aside"),
        Parameter("gap_waiting", 12.0, "m", "nuPlan-KG queuesBehind"),
        Parameter("standing", 2.0, "s", "own"),
        Parameter("speed", 2.0, "m/s", "nuPlan-KG queuesBehind"),
    ),
    needs=("map",),
)
JAYWALKING = Predicate(
    name="jaywalking",
    group=GROUP,
    doc="A pedestrian walks on the road, over 1 m from any crosswalk.",
    formula="class = pedestrian ∧ c ≤ {half_lane} ∧ dist(outline, crosswalks) > 1 m ∧ v ≥ "
    "{speed}, T ≥ {duration} ∧ |xy(t1) − xy(t0)| ≥ {way}",
    find=_jaywalking,
    unit="m",
    parameters=(
        Parameter("half_lane", 1.5, "m", "own: clear of the kerb"),
        Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),
        Parameter("duration", 1.0, "s", "own"),
        Parameter("way", 1.5, "m", "own"),
    ),
    needs=("map", "crossings"),
    only=(ON_FOOT,),
    version=4,
)
WAITING_FOR_PEDESTRIAN = Predicate(
    name="waiting_for_pedestrian",
    group=GROUP,
    doc="Stands or creeps, first in line, while a pedestrian walks on the road just ahead.",
    formula="v ≤ {speed} ∧ −0.5 m < x − l/2 ≤ {distance} ∧ |y| ≤ {aside} ∧ v_other ≥ 0.3 "
    "m/s ∧ (c_other ≤ 1.75 m ∨ at_crosswalk(other)) ∧ signal ≠ red ∧ no leader "
    "with gap ≤ 5 m",
    find=_waiting_for_pedestrian,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("distance", 8.0, "m", "nuPlan waiting_for_pedestrian_to_cross"),
        Parameter("aside", 5.0, "m", "RefAV being_crossed_by"),
        Parameter("speed", 1.0, "m/s", "own"),
    ),
    needs=("map",),
    only=(VEHICLES, ON_FOOT),
)
LANE_SPLITTING = Predicate(
    name="lane_splitting",
    group=GROUP,
    doc="A motorcyclist or cyclist rides between two vehicles, one on each side; value: room in all.",
    formula="on each side a vehicle: |x| ≤ (l + l_other)/2 ∧ |ψ − ψ_other| ≤ {angle} ∧ "
    "clear ≤ {aside}; v ≥ {speed}",
    find=_lane_splitting,
    unit="m",
    parameters=(
        Parameter("aside", 2.0, "m", "own: from its outline to that of each"),
        Parameter("speed", 1.0, "m/s", "own"),
        Parameter("angle", 30.0, "°", "own: all three point one way"),
    ),
    only=(frozenset({AgentClass.MOTORCYCLE, AgentClass.CYCLIST}),),
)
PLATOON = Predicate(
    name="platoon",
    group=GROUP,
    doc="The first of three or more that drive one behind the other, at most 3 s apart; value: how "
    "many they are.",
    formula="n ≥ {count}, each the leader of the next with gap₊ / v ≤ {headway} ∧ v ≥ "
    "{speed} of both; actor the first; T ≥ {duration}",
    find=_platoon,
    unit="1",
    parameters=(
        Parameter("count", 3.0, "1", "own"),
        Parameter("headway", 3.0, "s", "own"),
        Parameter("speed", 1.0, "m/s", "own"),
        Parameter("duration", 2.0, "s", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)

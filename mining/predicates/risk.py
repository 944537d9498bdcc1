"""How near it came to going wrong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from geometry.boxes import overlap
from mining.criticality import (
    deceleration_to_avoid_crash,
    headway,
    required_deceleration,
    rss_safe_gap,
    sweep_time,
    time_to_collision,
)
from mining.intervals import above, below
from mining.motion import Motion
from mining.predicates.geometry import closing_speed
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations

GROUP = "risk"
JOINT_M = 1.5
"""[m] Boxes that never part by more are coupled."""


def _ttc(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    front, rear = _lead_speed(motion), motion.speed[leads.a]
    ttc = np.where(leads.on, time_to_collision(leads.gap, rear, front), np.inf)
    # Boxes that overlap are a collision or an annotation error, but no time to a collision.
    ttc = np.where(leads.gap > 0.0, ttc, np.inf)
    mask = below(ttc, limits["ttc"], known=leads.on & (rear > 1.0))
    facts = {"gap": leads.gap, "closing_speed": rear - front}
    return relations(leads.a, leads.b, mask, ttc, pick=np.argmin, least_s=0.3, evidence=facts)


def _lead_speed(motion: Motion) -> Float[Array, "leads steps"]:
    """Speed of each leader along its follower's heading [m/s]."""
    leads = motion.leads
    yaw, velocity = motion.yaw[leads.a], motion.velocity[leads.b]
    return np.asarray(np.cos(yaw) * velocity[..., 0] + np.sin(yaw) * velocity[..., 1])


def _collision_course(
    motion: Motion,
) -> tuple[Float[Array, "pairs steps"], Float[Array, "pairs steps"]]:
    """Time until the boxes of each unordered pair touch, and their closing speed."""
    pairs = motion.pairs
    half = len(pairs.a) // 2
    a, b = pairs.a[:half], pairs.b[:half]
    closing = closing_speed(motion)[:half]
    drives = (motion.drives[a] | motion.drives[b])[:, None]
    rows, steps = np.nonzero(
        pairs.seen[:half] & drives & (closing > 0.5) & (pairs.clearance[:half] < 40.0)
    )
    time = np.full(closing.shape, np.inf)
    ia, ib = a[rows], b[rows]
    time[rows, steps] = sweep_time(
        motion.boxes[ia, steps],
        motion.boxes[ib, steps],
        motion.velocity[ia, steps],
        motion.velocity[ib, steps],
    )
    return time, closing


def _ttc_2d(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    half = len(pairs.a) // 2
    time, closing = _collision_course(motion)
    mask = below(time, limits["ttc"], known=pairs.seen[:half] & (closing >= limits["closing"]))
    facts = {"gap": pairs.clearance[:half], "closing_speed": closing}
    return relations(
        pairs.a[:half], pairs.b[:half], mask, time, pick=np.argmin, least_s=0.3, evidence=facts
    )


def _thw(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    speed = motion.speed[leads.a]
    wait = headway(leads.gap, speed)
    mask = below(wait, limits["thw"], known=leads.on & (speed >= limits["speed"]))
    facts = {"gap": leads.gap, "speed": speed}
    return relations(leads.a, leads.b, mask, wait, pick=np.argmin, evidence=facts)


def _pet(motion: Motion, limits: Limits) -> Iterable[Span]:
    for c in motion.conflicts:
        if c.pet <= limits["pet"]:
            yield Span(
                begin=min(c.first_leaves, c.second_enters),
                end=max(c.first_leaves, c.second_enters),
                actor=c.first,
                other=c.second,
                value=c.pet,
                evidence={
                    "first_leaves_step": c.first_leaves,
                    "second_enters_step": c.second_enters,
                    "speed_first": float(motion.speed[c.first, c.first_leaves]),
                    "speed_second": float(motion.speed[c.second, c.second_enters]),
                },
            )


def _drac(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    drac = deceleration_to_avoid_crash(
        np.where(leads.on, leads.gap, 1e6), motion.speed[leads.a], _lead_speed(motion)
    )
    mask = above(drac, limits["drac"], known=leads.on & (leads.gap > 0.0))
    facts = {"gap": leads.gap}
    return relations(leads.a, leads.b, mask, drac, least_s=0.3, evidence=facts)


def _a_req(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    needed = required_deceleration(
        np.where(leads.on, leads.gap, 1e6),
        motion.speed[leads.a],
        _lead_speed(motion),
        motion.acceleration[leads.b],
    )
    known = leads.on & (leads.gap > 0.0) & motion.acceleration_known[leads.b]
    mask = above(needed, limits["a_req"], known=known)
    facts = {"gap": leads.gap}
    return relations(leads.a, leads.b, mask, needed, least_s=0.3, evidence=facts)


def _rss_violation(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    speed = motion.speed[leads.a]
    safe = rss_safe_gap(
        speed,
        np.maximum(_lead_speed(motion), 0.0),
        response_s=limits["response"],
        accelerates=limits["accelerates"],
        brakes_least=limits["brakes_least"],
        brakes_most=limits["brakes_most"],
    )
    lacks = np.where(leads.on, safe - leads.gap, -np.inf)
    mask = leads.on & (lacks > 0.0) & (speed >= limits["speed"])
    return relations(leads.a, leads.b, mask, lacks, evidence={"gap": leads.gap, "safe": safe})


def _touching(motion: Motion, slack: float) -> Bool[Array, "pairs steps"]:
    """Whether the boxes of unordered pairs overlap by more than annotation noise."""
    pairs = motion.pairs
    half = len(pairs.a) // 2
    touch = np.zeros((half, motion.steps), dtype=bool)
    near = pairs.seen[:half] & (pairs.clearance[:half] <= 0.0)
    rows, steps = np.nonzero(near)
    drawn_in = motion.boxes.copy()
    drawn_in[..., 3:] = np.maximum(drawn_in[..., 3:] - 2 * slack, 0.1)
    a, b = pairs.a[rows], pairs.b[rows]
    touch[rows, steps] = overlap(drawn_in[a, steps], drawn_in[b, steps])
    # What stays in touch for as long as it is seen belongs together: a trailer, a rider, a double.
    close = (pairs.seen[:half] & (pairs.clearance[:half] <= JOINT_M)).sum(axis=1)
    joint = close >= 0.8 * np.maximum(pairs.seen[:half].sum(axis=1), 1)
    joint &= np.maximum(motion.span[pairs.a[:half]], motion.span[pairs.b[:half]]) > 5.0
    return np.asarray(touch & ~joint[:, None])


def _collision(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    half = len(pairs.a) // 2
    a, b = pairs.a[:half], pairs.b[:half]
    apart = motion.velocity[a] - motion.velocity[b]
    impact = np.hypot(apart[..., 0], apart[..., 1])
    mask = _touching(motion, limits["slack"])
    spans = relations(a, b, mask, impact, least_s=0.2)
    return [span for span in spans if (span.value or 0.0) >= limits["speed"]]


def _near_miss(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    half = len(pairs.a) // 2
    time, closing = _collision_course(motion)
    touch = np.asarray(_touching(motion, 0.1).any(axis=1))[:, None]
    mask = below(time, limits["ttc"], known=pairs.seen[:half] & (closing >= limits["closing"]))
    yield from relations(
        pairs.a[:half],
        pairs.b[:half],
        mask & ~touch,
        time,
        pick=np.argmin,
        least_s=0.2,
        evidence={"gap": pairs.clearance[:half], "closing_speed": closing},
    )
    for span in _pet(motion, {"pet": limits["pet"]}):
        fast = max(span.evidence["speed_first"], span.evidence["speed_second"])
        if fast >= limits["closing"]:
            yield span


TTC = Predicate(
    name="ttc",
    group=GROUP,
    doc="Time to collision with the leader along the lane, below 2 s (critical: 0.95 s, nuPlan).",
    find=_ttc,
    roles=("actor", "other"),
    unit="s",
    parameters=(Parameter("ttc", 2.0, "s", "CriMe"),),
    needs=("map",),
)
TTC_2D = Predicate(
    name="ttc_2d",
    group=GROUP,
    doc="The two boxes will touch within 2 s if both keep velocity and heading, lane or not.",
    find=_ttc_2d,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("ttc", 2.0, "s", "CriMe"),
        Parameter("closing", 1.0, "m/s", "own"),
    ),
)
THW = Predicate(
    name="thw",
    group=GROUP,
    doc="Time headway to the leader below 1 s.",
    find=_thw,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("thw", 1.0, "s", "SafeShift gives 2 s for attention, 1 s is its half"),
        Parameter("speed", 2.0, "m/s", "own"),
    ),
    needs=("map",),
)
PET = Predicate(
    name="pet",
    group=GROUP,
    doc="The other enters ground that the actor left under 3 s before, on a way that crosses.",
    find=_pet,
    roles=("actor", "other"),
    unit="s",
    parameters=(Parameter("pet", 3.0, "s", "own: CriMe's conflict index looks at PET below 5 s"),),
)
DRAC = Predicate(
    name="drac",
    group=GROUP,
    doc="Must brake at 3 m/s² or more not to hit a leader that keeps its speed.",
    find=_drac,
    roles=("actor", "other"),
    unit="m/s²",
    parameters=(Parameter("drac", 3.0, "m/s²", "SafeShift"),),
    needs=("map",),
)
A_REQ = Predicate(
    name="a_req",
    group=GROUP,
    doc="Must brake at 5 m/s² or more not to hit a leader that keeps its acceleration.",
    find=_a_req,
    roles=("actor", "other"),
    unit="m/s²",
    parameters=(Parameter("a_req", 5.0, "m/s²", "UN R157 collision risk"),),
    needs=("map",),
)
RSS_VIOLATION = Predicate(
    name="rss_violation",
    group=GROUP,
    doc="Nearer to the leader than responsibility-sensitive safety allows; value: metres lacking.",
    find=_rss_violation,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("response", 0.5, "s", "RSS, with a value of our own"),
        Parameter("accelerates", 2.0, "m/s²", "RSS, with a value of our own"),
        Parameter("brakes_least", 4.0, "m/s²", "RSS, with a value of our own"),
        Parameter("brakes_most", 8.0, "m/s²", "RSS, with a value of our own"),
        Parameter("speed", 2.0, "m/s", "own"),
    ),
    needs=("map",),
)
COLLISION = Predicate(
    name="collision",
    group=GROUP,
    doc="The boxes overlap by over 10 cm on each side, and meet at 1 m/s or more.",
    find=_collision,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("slack", 0.1, "m", "own: annotation noise"),
        Parameter("speed", 1.0, "m/s", "own: relative; people step in and out of vehicles"),
    ),
)
NEAR_MISS = Predicate(
    name="near_miss",
    group=GROUP,
    doc="No contact, but under 0.95 s from one, or over the other's way under 1 s after it left.",
    find=_near_miss,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("ttc", 0.95, "s", "nuPlan time-to-collision bound"),
        Parameter("closing", 3.0, "m/s", "own"),
        Parameter("pet", 1.0, "s", "own"),
    ),
)

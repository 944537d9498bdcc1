"""Speed and its changes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

from geometry.arrays import Array
from mining.intervals import above, below, spells, steps_of
from mining.motion import Motion
from mining.predicates.predicate import (
    Limits,
    Parameter,
    Predicate,
    Span,
    middle,
    states,
    unknown,
)
from schemas.labels import DRIVING, VEHICLES
from schemas.scene import DT

GROUP = "longitudinal"


def _stopped(motion: Motion, limits: Limits) -> Iterable[Span]:
    return states(motion, standing(motion, limits["speed"]), motion.speed, pick=np.argmin)


def standing(motion: Motion, speed: float = 0.3) -> Bool[Array, "agents steps"]:
    """Whether an agent that can move stands still; leaves at 0.5 m/s, above annotation jitter."""
    still = below(motion.speed, speed, known=motion.seen, leave=max(0.5, 1.1 * speed))
    return still & ~motion.is_thing[:, None]


def _moving(motion: Motion, limits: Limits) -> Iterable[Span]:
    moves = above(motion.speed, limits["speed"], known=motion.seen & ~motion.is_thing[:, None])
    return states(motion, moves, motion.speed)


def _speed_between(motion: Motion, limits: Limits) -> Iterable[Span]:
    low, high = limits["from"], limits["to"]
    moves = (motion.drives | motion.is_pedestrian)[:, None] & motion.seen
    inside = above(motion.speed, low, known=moves) & below(motion.speed, high, known=moves)
    return states(motion, inside, motion.speed, pick=middle)


def _high_speed(motion: Motion, limits: Limits) -> Iterable[Span]:
    fast = above(motion.speed, limits["speed"], known=motion.seen)
    return states(motion, fast, motion.speed)


def _known(motion: Motion) -> Bool[Array, "agents steps"]:
    return motion.acceleration_known & motion.drives[:, None]


def _accelerating(motion: Motion, limits: Limits) -> Iterable[Span]:
    mask = above(motion.acceleration, limits["acceleration"], known=_known(motion))
    return states(motion, mask & (motion.speed > 0.3), motion.acceleration)


def _braking(motion: Motion, limits: Limits) -> Iterable[Span]:
    mask = below(motion.acceleration, limits["acceleration"], known=_known(motion))
    speed = np.where(motion.seen, motion.speed, 0.0)
    return states(motion, mask, motion.acceleration, pick=np.argmin, evidence={"speed": speed})


def _starting(motion: Motion, limits: Limits) -> Iterable[Span]:
    still = standing(motion, limits["from"])
    for i, begin, end in spells(still):
        if not (motion.focus[i] and motion.drives[i]):
            continue
        reach = motion.speed[i, end + 1 : end + 1 + steps_of(limits["within"])]
        fast = np.flatnonzero(
            motion.seen[i, end + 1 : end + 1 + steps_of(limits["within"])]
            & (reach >= limits["to"])
        )
        if len(fast) and (end - begin + 1) * DT >= 0.5:
            last = end + 1 + int(fast[0])
            yield Span(begin=end + 1, end=last, actor=i, value=float(motion.speed[i, last]))


def _stopping(motion: Motion, limits: Limits) -> Iterable[Span]:
    brakes = below(motion.acceleration, limits["acceleration"], known=_known(motion))
    still = standing(motion, limits["speed"])
    for i, begin, end in spells(brakes):
        if not motion.focus[i]:
            continue
        after = still[i, begin : end + 1 + steps_of(0.5)]
        arrives = np.flatnonzero(after[1:] & ~after[:-1])
        if len(arrives):
            yield Span(
                begin=begin,
                end=max(begin + 1 + int(arrives[0]), begin),
                actor=i,
                value=float(motion.acceleration[i, begin : end + 1].min()),
                evidence={"speed": float(motion.speed[i, begin])},
            )


def _reversing(motion: Motion, limits: Limits) -> Iterable[Span]:
    known = motion.seen & motion.is_vehicle[:, None]
    back = below(motion.forward, limits["speed"], known=known)
    for span in states(motion, back, motion.forward, pick=np.argmin, least_s=1.0):
        i = span.actor
        assert i is not None
        # Jitter of a standing box has a speed, but goes nowhere.
        way = motion.xy[i, span.end] - motion.xy[i, span.begin]
        if float(np.hypot(way[0], way[1])) >= limits["way"]:
            yield span


def _over_limit(motion: Motion, limits: Limits) -> Iterable[Span]:
    limit = motion.graph.limit[np.maximum(motion.lane, 0)]
    known = motion.on_lane & motion.is_vehicle[:, None]
    excess = np.where(known & np.isfinite(limit), motion.speed - limit, -np.inf)
    mask = above(excess, limits["excess"], known=known & np.isfinite(limit))
    yield from states(motion, mask, excess, evidence={"limit": limit, "speed": motion.speed})
    silent = known & ~np.isfinite(limit) & motion.focus[:, None] & (motion.speed > 5.0)
    yield from unknown(silent, "the lane's speed limit is not known")


def _jerk_high(motion: Motion, limits: Limits) -> Iterable[Span]:
    size = np.abs(motion.jerk)
    known = motion.jerk_known & motion.is_vehicle[:, None] & (motion.speed > 0.5)
    mask = above(size, limits["jerk"], known=known)
    return states(motion, mask, size, least_s=0.3, evidence={"jerk": motion.jerk})


def _jerk_magnitude_high(motion: Motion, limits: Limits) -> Iterable[Span]:
    known = motion.jerk_size_known & motion.is_vehicle[:, None] & (motion.speed > 0.5)
    mask = above(motion.jerk_size, limits["jerk"], known=known)
    return states(motion, mask, motion.jerk_size, least_s=0.3)


MOVING = Predicate(
    name="moving",
    group=GROUP,
    doc="Moves at 0.5 m/s or more; value: the greatest speed meanwhile.",
    formula="v ≳ {speed}",
    find=_moving,
    unit="m/s",
    parameters=(Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),),
    ordinary=True,
)
STOPPED = Predicate(
    name="stopped",
    group=GROUP,
    doc="Stands still: slower than 0.3 m/s.",
    formula="v ≤ {speed} until v > 0.5 m/s",
    find=_stopped,
    unit="m/s",
    parameters=(Parameter("speed", 0.3, "m/s", "nuPlan"),),
)
LOW_SPEED = Predicate(
    name="low_speed",
    group=GROUP,
    doc="Creeps: 0.3 to 1.2 m/s.",
    formula="v ≳ {from} ∧ v ≲ {to}",
    find=_speed_between,
    unit="m/s",
    parameters=(
        Parameter("from", 0.3, "m/s", "nuPlan low_magnitude_speed"),
        Parameter("to", 1.2, "m/s", "nuPlan low_magnitude_speed"),
    ),
)
MEDIUM_SPEED = Predicate(
    name="medium_speed",
    group=GROUP,
    doc="Moves at 1.2 to 9 m/s.",
    formula="v ≳ {from} ∧ v ≲ {to}",
    find=_speed_between,
    unit="m/s",
    parameters=(
        Parameter("from", 1.2, "m/s", "own, between nuPlan's low and high"),
        Parameter("to", 9.0, "m/s", "own, between nuPlan's low and high"),
    ),
)
HIGH_SPEED = Predicate(
    name="high_speed",
    group=GROUP,
    doc="Moves faster than 9 m/s.",
    formula="v ≳ {speed}",
    find=_high_speed,
    unit="m/s",
    parameters=(Parameter("speed", 9.0, "m/s", "nuPlan high_magnitude_speed"),),
)
ACCELERATING = Predicate(
    name="accelerating",
    group=GROUP,
    doc="Gains speed at 0.65 m/s² or more along its heading.",
    formula="a ≳ {acceleration} ∧ v > 0.3 m/s",
    find=_accelerating,
    unit="m/s²",
    parameters=(Parameter("acceleration", 0.65, "m/s²", "RefAV accelerating"),),
    only=(DRIVING,),
)
BRAKING = Predicate(
    name="braking",
    group=GROUP,
    doc="Loses speed at 1 m/s² or more along its heading.",
    formula="a ≲ {acceleration}",
    find=_braking,
    unit="m/s²",
    parameters=(Parameter("acceleration", -1.0, "m/s²", "RefAV accelerating, note on braking"),),
    only=(DRIVING,),
)
HARD_BRAKE = Predicate(
    name="hard_brake",
    group=GROUP,
    doc="Brakes harder than passengers bear with comfort.",
    formula="a ≲ {acceleration}",
    find=_braking,
    unit="m/s²",
    parameters=(Parameter("acceleration", -4.05, "m/s²", "nuPlan comfort bound"),),
    only=(DRIVING,),
)
HARSH_ACCEL = Predicate(
    name="harsh_accel",
    group=GROUP,
    doc="Accelerates harder than passengers bear with comfort.",
    formula="a ≳ {acceleration} ∧ v > 0.3 m/s",
    find=_accelerating,
    unit="m/s²",
    parameters=(Parameter("acceleration", 2.4, "m/s²", "nuPlan comfort bound"),),
    only=(DRIVING,),
)
STARTING = Predicate(
    name="starting",
    group=GROUP,
    doc="Sets off: from standing to over 1 m/s within 2 s.",
    formula="v ≤ {from} until v > 0.5 m/s at t0, T ≥ 0.5 s; then v(t1) ≥ {to}, t1 ≤ t0 + {within}",
    find=_starting,
    unit="m/s",
    parameters=(
        Parameter("from", 0.3, "m/s", "nuPlan stopped"),
        Parameter("to", 1.0, "m/s", "own"),
        Parameter("within", 2.0, "s", "own"),
    ),
    version=4,
    only=(DRIVING,),
)
STOPPING = Predicate(
    name="stopping",
    group=GROUP,
    doc="Brakes at 0.6 m/s² or more until it stands.",
    formula="a ≲ {acceleration} on [t0, t1] ∧ v falls to {speed} in (t0, t1 + 0.5 s]",
    find=_stopping,
    unit="m/s²",
    parameters=(
        Parameter("acceleration", -0.6, "m/s²", "nuPlan stopping_with_lead"),
        Parameter("speed", 0.3, "m/s", "nuPlan stopping_with_lead"),
    ),
    only=(DRIVING,),
)
REVERSING = Predicate(
    name="reversing",
    group=GROUP,
    doc="A vehicle drives backwards.",
    formula="v_fwd ≲ {speed}, T ≥ 1 s ∧ |xy(t1) − xy(t0)| ≥ {way}",
    find=_reversing,
    unit="m/s",
    parameters=(
        Parameter("speed", -0.3, "m/s", "nuPlan-KG; OpenLABEL MotionReverse"),
        Parameter("way", 1.0, "m", "own: standing boxes jitter by less"),
    ),
    only=(VEHICLES,),
    version=4,
)
OVER_LIMIT = Predicate(
    name="over_limit",
    group=GROUP,
    doc="Faster than the lane's speed limit by more than 2.23 m/s (5 mph).",
    formula="v − v_limit ≳ {excess}",
    find=_over_limit,
    unit="m/s",
    parameters=(Parameter("excess", 2.23, "m/s", "nuPlan speed-limit metric"),),
    needs=("map", "limits"),
    only=(VEHICLES,),
)
JERK_HIGH = Predicate(
    name="jerk_high",
    group=GROUP,
    doc="Acceleration changes faster than passengers bear with comfort.",
    formula="|da/dt| ≳ {jerk} ∧ v > 0.5 m/s, T ≥ 0.3 s",
    find=_jerk_high,
    unit="m/s³",
    parameters=(Parameter("jerk", 4.13, "m/s³", "nuPlan longitudinal comfort bound"),),
    only=(VEHICLES,),
)
JERK_MAGNITUDE_HIGH = Predicate(
    name="jerk_magnitude_high",
    group=GROUP,
    doc="Acceleration, lengthwise and sideways together, changes faster than passengers bear with "
    "comfort.",
    formula="|(da_x/dt, da_y/dt)| ≳ {jerk} ∧ v > 0.5 m/s, T ≥ 0.3 s",
    find=_jerk_magnitude_high,
    unit="m/s³",
    parameters=(Parameter("jerk", 8.37, "m/s³", "nuPlan comfort bound of the whole jerk"),),
    only=(VEHICLES,),
)

"""What an agent is: facts that hold over its whole life in the scene."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span
from schemas.labels import AgentClass

GROUP = "attributes"


def _vru(motion: Motion, _: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.is_vru & motion.focus).tolist():
        yield _life(motion, i, cls=AgentClass(int(motion.cls[i])).word)


def _long_vehicle(motion: Motion, limits: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.is_vehicle & motion.focus).tolist():
        if motion.length[i] > limits["length"]:
            yield _life(motion, i, float(motion.length[i]))


def _parked(motion: Motion, limits: Limits) -> Iterable[Span]:
    lives = motion.last_seen - motion.first_seen + 1
    for i in np.flatnonzero(motion.parked & motion.is_vehicle & motion.focus).tolist():
        if motion.span[i] < limits["span"] and lives[i] * 0.1 >= limits["duration"]:
            yield _life(motion, i, float(motion.span[i]))


def _poorly_observed(motion: Motion, limits: Limits) -> Iterable[Span]:
    lives = motion.last_seen - motion.first_seen + 1
    ratio = motion.seen.sum(axis=1) / lives
    for i in np.flatnonzero((ratio < limits["ratio"]) & motion.focus).tolist():
        yield _life(motion, i, float(ratio[i]))


def _life(motion: Motion, i: int, value: float | None = None, **evidence: str) -> Span:
    return Span(
        begin=int(motion.first_seen[i]),
        end=int(motion.last_seen[i]),
        actor=i,
        value=value,
        evidence=evidence,
    )


VRU = Predicate(
    name="vru",
    group=GROUP,
    doc="A vulnerable road user: pedestrian, cyclist or motorcyclist.",
    find=_vru,
)
LONG_VEHICLE = Predicate(
    name="long_vehicle",
    group=GROUP,
    doc="A vehicle longer than 8 m.",
    find=_long_vehicle,
    unit="m",
    parameters=(Parameter("length", 8.0, "m", "nuPlan behind_long_vehicle"),),
)
PARKED = Predicate(
    name="parked",
    group=GROUP,
    doc="A vehicle that stays within 3 m and below 2 m/s for as long as it is seen, at the side of "
    "the lane or off it.",
    find=_parked,
    unit="m",
    parameters=(
        Parameter("span", 3.0, "m", "RefAV stationary; WOMD kMaxDisplacementForStationary"),
        Parameter("duration", 3.0, "s", "own"),
    ),
)
POORLY_OBSERVED = Predicate(
    name="poorly_observed",
    group=GROUP,
    doc="An agent missing from more than a fifth of the steps between its first and last.",
    find=_poorly_observed,
    parameters=(Parameter("ratio", 0.8, "1", "own"),),
)

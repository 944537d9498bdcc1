"""What an agent is, and whether it can be seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mining.intervals import above
from mining.motion import IN_LANE_M, PARKED_SPAN_M, PARKED_SPEED, Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations
from mining.predicates.told import SPECIAL_WORDS
from mining.sight import lines_of_sight
from schemas.labels import VEHICLES, VULNERABLE, AgentClass
from schemas.scene import DT

GROUP = "attributes"


def _category(motion: Motion, _: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.focus).tolist():
        cls = AgentClass(int(motion.cls[i]))
        yield _life(motion, i, float(cls), category=cls.word, source=motion.words[i])


def _is_ego(motion: Motion, _: Limits) -> Iterable[Span]:
    yield _life(motion, 0)


def _special_vehicle(motion: Motion, _: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.focus & ~motion.is_pedestrian).tolist():
        if any(word in motion.words[i] for word in SPECIAL_WORDS):
            yield _life(motion, i, source=motion.words[i])


def _vru(motion: Motion, _: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.is_vru & motion.focus).tolist():
        yield _life(motion, i, cls=AgentClass(int(motion.cls[i])).word)


def _long_vehicle(motion: Motion, limits: Limits) -> Iterable[Span]:
    for i in np.flatnonzero(motion.is_vehicle & motion.focus).tolist():
        if motion.length[i] > limits["length"]:
            yield _life(motion, i, float(motion.length[i]))


def _parked(motion: Motion, limits: Limits) -> Iterable[Span]:
    lives = motion.last_seen - motion.first_seen + 1
    stays = (motion.span < limits["span"]) & (motion.fastest < limits["speed"])
    stays &= motion.out_of_lanes(limits["aside"]) & motion.is_vehicle & motion.focus
    for i in np.flatnonzero(stays).tolist():
        if lives[i] * DT >= limits["duration"]:
            yield _life(motion, i, float(motion.span[i]))


def _poorly_observed(motion: Motion, limits: Limits) -> Iterable[Span]:
    lives = motion.last_seen - motion.first_seen + 1
    ratio = motion.seen.sum(axis=1) / lives
    for i in np.flatnonzero((ratio < limits["ratio"]) & motion.focus).tolist():
        yield _life(motion, i, float(ratio[i]))


def _occluded_by(motion: Motion, limits: Limits) -> Iterable[Span]:
    sight = lines_of_sight(motion, within=limits["distance"])
    hides = motion.is_vehicle[sight.near][:, None]
    mask = above(sight.share, limits["share"], known=hides & (sight.share > 0.0))
    return relations(sight.far, sight.near, mask, sight.share)


def _life(motion: Motion, i: int, value: float | None = None, **evidence: str) -> Span:
    return Span(
        begin=int(motion.first_seen[i]),
        end=int(motion.last_seen[i]),
        actor=i,
        value=value,
        evidence=evidence,
    )


CATEGORY = Predicate(
    name="category",
    group=GROUP,
    doc="What it is: vehicle, truck, bus, motorcycle, cyclist, pedestrian, … (in the evidence; "
    "value: the code of the class).",
    formula="actor is seen, from first to last; value = class",
    find=_category,
    ordinary=True,
)
VRU = Predicate(
    name="vru",
    group=GROUP,
    doc="A vulnerable road user: pedestrian, cyclist or motorcyclist.",
    formula="class ∈ {{pedestrian, cyclist, motorcycle}}",
    find=_vru,
    only=(VULNERABLE,),
)
IS_EGO = Predicate(
    name="is_ego",
    group=GROUP,
    doc="The recording vehicle.",
    formula="actor = ego, from first seen to last seen",
    find=_is_ego,
    needs=("ego",),
    ordinary=True,
)
SPECIAL_VEHICLE = Predicate(
    name="special_vehicle",
    group=GROUP,
    doc="A vehicle of police, fire brigade or rescue, by the source's own word (in the evidence); "
    "unknown where the source does not tell such vehicles apart.",
    formula="source's word ∋ emergency, ambulance, police, fire truck, priority or "
    "authority ∧ class ≠ pedestrian",
    find=_special_vehicle,
    needs=("special",),
)
LONG_VEHICLE = Predicate(
    name="long_vehicle",
    group=GROUP,
    doc="A vehicle longer than 8 m.",
    formula="class ∈ vehicles ∧ l > {length}",
    find=_long_vehicle,
    unit="m",
    parameters=(Parameter("length", 8.0, "m", "nuPlan behind_long_vehicle"),),
    only=(VEHICLES,),
)
PARKED = Predicate(
    name="parked",
    group=GROUP,
    doc="A vehicle that stays within 3 m and below 2 m/s for as long as it is seen, at the side of "
    "the lane or off it.",
    formula="span(xy) < {span} ∧ max v < {speed} ∧ share of steps with |d| < {aside} in a "
    "lane < 1/2 ∧ T ≥ {duration}, first to last seen",
    find=_parked,
    unit="m",
    parameters=(
        Parameter(
            "span", PARKED_SPAN_M, "m", "RefAV stationary; WOMD kMaxDisplacementForStationary"
        ),
        Parameter("speed", PARKED_SPEED, "m/s", "WOMD kMaxSpeedForStationary"),
        Parameter("aside", IN_LANE_M, "m", "own: who stands nearer may be held up by traffic"),
        Parameter("duration", 3.0, "s", "own"),
    ),
    only=(VEHICLES,),
)
POORLY_OBSERVED = Predicate(
    name="poorly_observed",
    group=GROUP,
    doc="An agent missing from more than a fifth of the steps between its first and last.",
    formula="steps seen / steps from first to last seen < {ratio}",
    find=_poorly_observed,
    parameters=(Parameter("ratio", 0.8, "1", "own"),),
)
OCCLUDED_BY = Predicate(
    name="occluded_by",
    group=GROUP,
    doc="The other, a vehicle nearer to the ego, covers half or more of the angle at which the ego "
    "would see the actor from above; heights are not looked at.",
    formula="|α_actor ∩ α_other| / |α_actor| ≳ {share} ∧ r_other < r_actor ≤ {distance}; "
    "α, r: angle of the box and distance, from the ego's centre",
    find=_occluded_by,
    roles=("actor", "other"),
    unit="1",
    parameters=(
        Parameter("share", 0.5, "1", "own"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    needs=("ego",),
    ordinary=True,
)

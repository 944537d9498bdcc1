"""Where two agents are to each other, whatever the map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from mining.intervals import above, below
from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations, states

GROUP = "geometry"


def _once(motion: Motion) -> slice:
    """Symmetric relations are told once, from the agent of the lower row (the ego is row 0)."""
    return slice(0, len(motion.pairs.a) // 2)


def _near(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, _once(motion)
    known = pairs.seen[once] & pairs.with_ego[once, None]
    gap = np.where(known, pairs.clearance[once], np.inf)
    mask = below(gap, limits["distance"], known=known)
    return relations(pairs.a[once], pairs.b[once], mask, gap, pick=np.argmin)


def closing_speed(motion: Motion) -> Float[Array, "pairs steps"]:
    """Rate at which the centres of each pair approach each other [m/s]."""
    pairs = motion.pairs
    apart = motion.xy[pairs.b] - motion.xy[pairs.a]
    relative = motion.velocity[pairs.b] - motion.velocity[pairs.a]
    distance = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 0.1)
    return np.asarray(-(apart * relative).sum(axis=-1) / distance)


def _closing(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, _once(motion)
    known = pairs.seen[once] & pairs.with_ego[once, None]
    known &= pairs.clearance[once] <= limits["distance"]
    rate = closing_speed(motion)[once]
    mask = above(rate, limits["speed"], known=known)
    return relations(
        pairs.a[once], pairs.b[once], mask, rate, evidence={"gap": pairs.clearance[once]}
    )


def _heading_toward(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    known = pairs.seen & pairs.with_ego[:, None] & (pairs.clearance <= limits["distance"])
    apart = motion.xy[pairs.b] - motion.xy[pairs.a]
    own = motion.velocity[pairs.a]
    distance = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 0.1)
    toward = (apart * own).sum(axis=-1) / distance
    speed = np.maximum(motion.speed[pairs.a], 1e-6)
    angle = np.degrees(np.arccos(np.clip(toward / speed, -1.0, 1.0)))
    mask = known & (angle <= limits["angle"]) & (toward >= limits["speed"])
    return relations(pairs.a, pairs.b, mask, angle, pick=np.argmin)


def _count_near(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    count = np.zeros(motion.seen.shape)
    vehicle = motion.is_vehicle[pairs.b][:, None] & pairs.with_ego[:, None]
    np.add.at(count, pairs.a, (pairs.clearance <= limits["distance"]) & vehicle)
    known = motion.seen.copy()
    if motion.scene.has_ego:
        known[1:] = False
    return states(motion, known & (count > limits["count"]), count)


def _behind_long(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    gap = pairs.x - (motion.length[pairs.a] + motion.length[pairs.b])[:, None] / 2
    long = motion.is_vehicle[pairs.b] & (motion.length[pairs.b] > limits["length"])
    way = np.cos(motion.yaw[pairs.a] - motion.yaw[pairs.b]) > 0.9
    mask = pairs.seen & (long & motion.drives[pairs.a] & pairs.with_ego)[:, None] & way
    mask &= (gap >= limits["from"]) & (gap <= limits["to"])
    mask &= np.abs(pairs.y) <= limits["aside"]
    return relations(pairs.a, pairs.b, mask, gap, pick=np.argmin)


NEAR = Predicate(
    name="near",
    group=GROUP,
    doc="The outlines of the ego and the other are within 10 m (of any two, if there is no ego).",
    find=_near,
    roles=("actor", "other"),
    unit="m",
    parameters=(Parameter("distance", 10.0, "m", "RefAV near_objects"),),
)
HEADING_TOWARD = Predicate(
    name="heading_toward",
    group=GROUP,
    doc="The actor's velocity points at the other, within 50 m.",
    find=_heading_toward,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("angle", 22.5, "°", "RefAV heading_toward"),
        Parameter("speed", 0.5, "m/s", "RefAV heading_toward"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
)
CLOSING = Predicate(
    name="closing",
    group=GROUP,
    doc="The distance to the other shrinks.",
    find=_closing,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("speed", 0.5, "m/s", "nuPlan-KG"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
)
COUNT_NEAR = Predicate(
    name="count_near",
    group=GROUP,
    doc="More than 6 vehicles within 8 m of the ego (of anyone, if there is no ego).",
    find=_count_near,
    unit="1",
    parameters=(
        Parameter("count", 6.0, "1", "nuPlan near_multiple_vehicles"),
        Parameter("distance", 8.0, "m", "nuPlan near_multiple_vehicles"),
    ),
)
BEHIND_LONG = Predicate(
    name="behind_long",
    group=GROUP,
    doc="Close behind a vehicle longer than 8 m, which hides the road ahead.",
    find=_behind_long,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("length", 8.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("from", 3.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("to", 10.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("aside", 0.5, "m", "nuPlan behind_long_vehicle"),
    ),
)

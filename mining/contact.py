"""Whose outlines share ground, who does so because they belong together, and what is in doubt.

Annotated boxes overlap for many reasons but a crash: a trailer and what tows it, a rider and the
bicycle, people who get into a car, two boxes for one thing, boxes a little too large, and sizes
that the source does not tell at all. Logs of real traffic hold hundreds of overlaps and hardly a
crash; so contact counts only where two that were seen apart come to share more ground than boxes
are certain to.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from geometry.arrays import Array
from geometry.boxes import overlap
from mining.kept import kept
from mining.motion import Motion
from schemas.labels import AgentClass

JOINT_M = 1.5
"""[m] Boxes that hardly ever part by more belong together, if they get anywhere."""
JOINT_SHARE = 0.8
"""Share of the steps at which they must be so near."""
JOINT_SPAN_M = 5.0
"""[m] How far one of them must get: neighbours in a car park do not."""
TOWED_SWAY_M = 1.5
"""[m] Centres of what is towed and what tows it stay that equally far from each other."""
TOWED_SPAN_M = 15.0
"""[m] Both must have moved so far for that to mean anything."""
DRAWBAR_M = 3.0
"""[m] What has no class of its own and stays so near to a vehicle is its trailer."""

TRAILERS = (AgentClass.OTHER, AgentClass.UNKNOWN)
RIDDEN = (AgentClass.CYCLIST, AgentClass.MOTORCYCLE)
RIDERS = (AgentClass.PEDESTRIAN, AgentClass.CYCLIST, AgentClass.MOTORCYCLE)


@kept
def overlapping(motion: Motion, *, inset: float) -> Bool[Array, "half steps"]:
    """Where outlines overlap although both boxes are drawn in, of pairs that do not move as one.

    Args:
        motion: The scene; pairs are the first half of `Motion.pairs`, each once.
        inset: By how much on each side [m].
    """
    pairs = motion.pairs
    half = len(pairs.a) // 2
    mask = np.zeros((half, motion.steps), dtype=bool)
    near = pairs.seen[:half] & (pairs.clearance[:half] <= 0.0) & ~coupled(motion)[:, None]
    rows, steps = np.nonzero(near)
    first, second = motion.boxes[pairs.a[rows], steps], motion.boxes[pairs.b[rows], steps]
    for boxes in (first, second):
        boxes[:, 3:] = np.maximum(boxes[:, 3:] - 2 * inset, 0.1)
    mask[rows, steps] = overlap(first, second)
    return mask


def met(motion: Motion) -> Bool[Array, "half steps"]:
    """Whether both have been seen apart by then."""
    pairs = motion.pairs
    half = len(pairs.a) // 2
    return np.maximum.accumulate(pairs.seen[:half] & (pairs.clearance[:half] > 0.0), axis=1)


@kept
def coupled(motion: Motion) -> Bool[Array, " half"]:
    """Pairs that move as one: a rider and the bicycle, a trailer and its truck, doubled boxes."""
    pairs = motion.pairs
    half = len(pairs.a) // 2
    a, b = pairs.a[:half], pairs.b[:half]
    seen, clearance = pairs.seen[:half], pairs.clearance[:half]
    together = np.maximum(seen.sum(axis=1), 1)
    close = (seen & (clearance <= JOINT_M)).sum(axis=1) >= JOINT_SHARE * together
    travel = np.maximum(motion.span[a], motion.span[b])
    joint = close & (travel > JOINT_SPAN_M)
    ridden = np.isin(motion.cls, RIDDEN)
    rider = np.isin(motion.cls, RIDERS)
    # Whoever sits on it shares its ground for as long as both are seen.
    overlapping = (seen & (clearance <= 0.0)).sum(axis=1) >= JOINT_SHARE * together
    mounted = overlapping & ((ridden[a] & rider[b]) | (ridden[b] & rider[a]))
    distance = pairs.distance[:half]
    most = np.where(seen, distance, -np.inf).max(axis=1, initial=-np.inf)
    least = np.where(seen, distance, np.inf).min(axis=1, initial=np.inf)
    touches = (seen & (clearance <= 0.0)).any(axis=1)
    far = np.minimum(motion.span[a], motion.span[b]) > TOWED_SPAN_M
    towed = touches & far & (most - least <= TOWED_SWAY_M) & (seen.sum(axis=1) >= 10)
    drawn = (seen & (clearance <= DRAWBAR_M)).sum(axis=1) >= JOINT_SHARE * together
    trailer = np.isin(motion.cls, TRAILERS)
    hitched = (
        drawn & far & ((trailer[a] & motion.is_vehicle[b]) | (trailer[b] & motion.is_vehicle[a]))
    )
    return np.asarray(joint | mounted | towed | hitched)

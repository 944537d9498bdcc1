"""Beside each other: how hard one must swerve, and how much room responsibility asks for.

Offsets are positive to the left of the one who swerves; ∞ means that no swerve helps.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array

LONGITUDINAL, BOTH, LATERAL = -1, 0, 1
"""Which way of responding the danger threshold asks for: the way that became unsafe last."""


def required_lateral_acceleration(
    ttc: Float[Array, "*pairs"],
    offset: Float[Array, "*pairs"],
    offset_rate: Float[Array, "*pairs"],
    clear: Float[Array, "*#pairs"],
) -> Float[Array, "*pairs"]:
    """Constant lateral acceleration with which one passes beside the other at the TTC [m/s²].

    a_lat,req = 2 min(y + w, w − y)₊ / ttc², where y = offset + rate · ttc is where the other will
    be to the side and w half the sum of the widths (Jansson 2005, section 5.3.8, with the other
    keeping its lateral speed); 0 where nothing is ahead (ttc = ∞), ∞ where the outlines touch.

    Args:
        ttc: Time to collision [s].
        offset: Of the other's centre, to the left [m].
        offset_rate: Of change of the offset [m/s].
        clear: Offset at which the outlines just pass: half the sum of the widths [m].
    """
    ahead = np.isfinite(ttc)
    time = np.where(ahead, ttc, 0.0)
    at = offset + offset_rate * time
    aside = np.maximum(np.minimum(clear + at, clear - at), 0.0)
    touching = ahead & (time <= 0.0) & (aside > 0.0)
    needed = 2.0 * aside / np.where(time > 0.0, time, 1.0) ** 2
    return np.where(touching, np.inf, np.where(ahead & (time > 0.0), needed, 0.0))


def steer_threat_number(
    required: Float[Array, "*pairs"], *, available: float
) -> Float[Array, "*pairs"]:
    """STN = a_lat,req / a_lat,max: over 1 steering alone cannot do (Hosseini et al. 2016).

    Args:
        required: Lateral acceleration that avoids the crash [m/s²].
        available: Greatest lateral acceleration of the vehicle [m/s²].
    """
    return required / available


def rss_safe_side(
    toward_a: Float[Array, "*pairs"],
    toward_b: Float[Array, "*pairs"],
    *,
    response_s: float,
    accelerates: float,
    brakes: float,
    margin: float,
) -> Float[Array, "*pairs"]:
    """Least safe lateral gap of responsibility-sensitive safety (Shalev-Shwartz 2017, def. 6) [m].

    μ + [d(v_a) + d(v_b)]₊ with d(v) = (v + v') ρ/2 + v'₊²/(2 b) and v' = v + a ρ: each may drift
    towards the other during the response time, then brakes sideways. Who moves away is credited
    with the way that it covers during the response time, with no more.

    Args:
        toward_a: Lateral speed of a towards b; negative away [m/s].
        toward_b: Lateral speed of b towards a [m/s].
        response_s: Response time ρ [s].
        accelerates: Lateral acceleration towards each other during it [m/s²].
        brakes: Lateral braking after it [m/s²].
        margin: μ, for the wobble of straight driving [m].
    """
    way = np.zeros(np.broadcast(toward_a, toward_b).shape)
    for speed in (toward_a, toward_b):
        after = speed + accelerates * response_s
        way = way + (speed + after) * response_s / 2 + np.maximum(after, 0.0) ** 2 / (2 * brakes)
    return margin + np.maximum(way, 0.0)


def danger(
    unsafe_along: Bool[Array, "pairs steps"], unsafe_aside: Bool[Array, "pairs steps"]
) -> tuple[Bool[Array, "pairs steps"], Int[Array, "pairs steps"], Int[Array, "pairs steps"]]:
    """Where two are too near both along and aside, since when, and how they should respond.

    The danger threshold is the first step of the stretch in which both gaps are unsafe; what
    became unsafe last is what must be mended (Shalev-Shwartz 2017, definitions 7 to 10).

    Returns:
        Dangerous steps; at each the step of its danger threshold (−1 where none); and
        ``LATERAL``, ``LONGITUDINAL``, or ``BOTH`` if both became unsafe at once or before sight.
    """
    both = unsafe_along & unsafe_aside
    steps = np.arange(both.shape[1], dtype=np.int32)
    before = np.pad(both, ((0, 0), (1, 0)))[:, :-1]
    onset = both & ~before
    began = np.maximum.accumulate(np.where(onset, steps, -1), axis=1)
    along_before = np.pad(unsafe_along, ((0, 0), (1, 0)))[:, :-1]
    aside_before = np.pad(unsafe_aside, ((0, 0), (1, 0)))[:, :-1]
    last = along_before.astype(np.int8) - aside_before.astype(np.int8)
    at = np.maximum(began, 0)
    way = np.take_along_axis(np.where(onset, last, BOTH), at, axis=1)
    return both, np.where(both, began, -1), np.where(both, way, BOTH)


def proper_response(
    began: Int[Array, "pairs steps"],
    way: Int[Array, "pairs steps"],
    acceleration: Float[Array, "pairs steps"],
    speed: Float[Array, "pairs steps"],
    toward: Float[Array, "pairs steps"],
    *,
    response_steps: int,
    accelerates: float,
    brakes_least: float,
    drifts: float,
) -> Bool[Array, "pairs steps"]:
    """Whether the one behind answers danger as responsibility asks (Shalev-Shwartz 2017, def. 10).

    During the response time it may accelerate by no more than ``accelerates``; after it, it must
    have stopped drifting towards the other where the lateral gap became unsafe last, and else brake
    by ``brakes_least`` until it stands.

    Args:
        began: Step of the danger threshold, −1 where there is no danger (then all is proper).
        way: As :func:`danger` tells.
        acceleration: Along the heading [m/s²].
        speed: [m/s].
        toward: Lateral speed towards the other [m/s].
        response_steps: Response time, in steps.
        accelerates: [m/s²].
        brakes_least: Positive [m/s²].
        drifts: Lateral speed that counts as none [m/s].
    """
    since = np.arange(began.shape[1]) - began
    early = since < response_steps
    along = (acceleration <= -brakes_least) | (speed <= 0.1)
    aside = toward <= drifts
    answer = np.where(way == LATERAL, aside, along)
    return np.asarray((began < 0) | np.where(early, acceleration <= accelerates, answer))

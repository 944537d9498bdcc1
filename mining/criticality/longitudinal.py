"""Follower and leader along one lane: how soon, and how hard the follower must brake.

Gaps are bumper to bumper, zero when touching; speeds run along the common lane; ∞ means "never".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

CLOSING_SPEED_FLOOR = 1e-3  # [m/s] below this a gap is taken not to close at all
SMALLEST_GAP = 0.01  # [m] of touching vehicles, so that what they need stays finite


def time_to_collision(
    gap: Float[Array, "*pairs"],
    speed_rear: Float[Array, "*pairs"],
    speed_front: Float[Array, "*pairs"],
) -> Float[Array, "*pairs"]:
    """Seconds until the gap closes if neither changes its speed (Hayward 1972); 0 if they touch."""
    closing = speed_rear - speed_front
    closes = closing > CLOSING_SPEED_FLOOR
    ttc = np.where(closes, gap / np.where(closes, closing, 1.0), np.inf)
    return np.where(gap <= 0.0, 0.0, ttc)


def headway(
    gap: Float[Array, "*pairs"], speed_rear: Float[Array, "*pairs"]
) -> Float[Array, "*pairs"]:
    """Seconds after which the follower is where the leader's rear is now: gap / v."""
    moves = speed_rear > CLOSING_SPEED_FLOOR
    return np.where(moves, np.maximum(gap, 0.0) / np.where(moves, speed_rear, 1.0), np.inf)


def deceleration_to_avoid_crash(
    gap: Float[Array, "*pairs"],
    speed_rear: Float[Array, "*pairs"],
    speed_front: Float[Array, "*pairs"],
) -> Float[Array, "*pairs"]:
    """DRAC = Δv² / (2 gap): constant braking that just avoids a leader who keeps its speed [m/s²]."""
    closing = np.maximum(speed_rear - speed_front, 0.0)
    return np.where(
        closing > CLOSING_SPEED_FLOOR, closing**2 / (2 * np.maximum(gap, SMALLEST_GAP)), 0.0
    )


def required_deceleration(
    gap: Float[Array, "*pairs"],
    speed_rear: Float[Array, "*pairs"],
    speed_front: Float[Array, "*pairs"],
    acceleration_front: Float[Array, "*pairs"],
) -> Float[Array, "*pairs"]:
    """Braking that avoids a leader who keeps its acceleration, positive [m/s²].

    a_req = Δv²/(2 gap) − a_front (Westhofen et al. 2022), with a_front taken only as braking and
    only while the gap closes; a leader that stops first needs v²/(2 (gap + v_f²/(2 |a_f|))).
    """
    braking = np.maximum(-acceleration_front, 0.0)
    room = np.maximum(gap, SMALLEST_GAP)
    closing = np.maximum(speed_rear - speed_front, 0.0)
    together = closing**2 / (2 * room) + braking
    stops = speed_front**2 / (2 * np.where(braking > 0.0, braking, 1.0))
    behind_stop = speed_rear**2 / (2 * (room + stops))
    # The leader stands before the follower has matched its speed if that takes longer than v/a.
    stops_first = (braking > 0.0) & (speed_front * closing <= 2 * room * braking)
    needed = np.where(stops_first, behind_stop, together)
    return np.where(closing > CLOSING_SPEED_FLOOR, needed, 0.0)


def brake_threat_number(
    required: Float[Array, "*pairs"], *, available: float
) -> Float[Array, "*pairs"]:
    """BTN = a_req / a_max: share of the braking that there is; over 1 braking alone cannot do.

    Åsljung, Nilsson and Fredriksson 2017, equation 9.

    Args:
        required: Deceleration that avoids the crash, positive [m/s²].
        available: Hardest braking of the follower [m/s²].
    """
    return required / available


def rss_safe_gap(
    speed_rear: Float[Array, "*pairs"],
    speed_front: Float[Array, "*pairs"],
    *,
    response_s: float,
    accelerates: float,
    brakes_least: float,
    brakes_most: float,
) -> Float[Array, "*pairs"]:
    """Least safe longitudinal gap of responsibility-sensitive safety (Shalev-Shwartz 2017) [m].

    [v_r ρ + a ρ²/2 + (v_r + a ρ)²/(2 b_min) − v_f²/(2 b_max)]₊
    """
    after = speed_rear + accelerates * response_s
    gap = (
        speed_rear * response_s
        + accelerates * response_s**2 / 2
        + after**2 / (2 * brakes_least)
        - speed_front**2 / (2 * brakes_most)
    )
    return np.maximum(gap, 0.0)


def rss_oncoming_gap(
    speed: Float[Array, "*pairs"],
    speed_oncoming: Float[Array, "*pairs"],
    *,
    response_s: float,
    accelerates: float,
    brakes_correct: float,
    brakes_least: float,
) -> Float[Array, "*pairs"]:
    """Least safe gap to one who comes the other way (Shalev-Shwartz 2017, definition 2) [m].

    (v + v') ρ/2 + v'²/(2 b_correct) + (u + u') ρ/2 + u'²/(2 b_min) with v' = v + a ρ, u' = u + a ρ:
    both may speed up during the response time, then brake, the one in its own lane more gently.

    Args:
        speed: Of who drives in its own lane [m/s].
        speed_oncoming: Of who comes, towards it [m/s].
        response_s: Response time ρ [s].
        accelerates: Of either, during it [m/s²].
        brakes_correct: Of who drives in its own lane, after it, positive [m/s²].
        brakes_least: Of who comes, after it, positive [m/s²].
    """
    way = np.zeros(np.broadcast(speed, speed_oncoming).shape)
    for v, brakes in ((speed, brakes_correct), (speed_oncoming, brakes_least)):
        after = v + accelerates * response_s
        way = way + (v + after) * response_s / 2 + after**2 / (2 * brakes)
    return way

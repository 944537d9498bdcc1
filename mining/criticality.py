"""Criticality measures, vectorised: arrays of pairs in, arrays out.

There is no consensus on one measure of risk (Westhofen et al. 2022 review them), so several stand
side by side. Gaps are bumper to bumper, speeds along the common lane; ∞ means "never".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import Box, overlap
from schemas.scene import DT

SAME_LINE_M = 1.5  # [m] centres so near, at different times, are on one line
CLOSING_SPEED_FLOOR = 1e-3  # [m/s] below this a gap is taken not to close at all


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
    return np.where(closing > CLOSING_SPEED_FLOOR, closing**2 / (2 * np.maximum(gap, 0.01)), 0.0)


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
    room = np.maximum(gap, 0.01)
    closing = np.maximum(speed_rear - speed_front, 0.0)
    together = closing**2 / (2 * room) + braking
    stops = speed_front**2 / (2 * np.where(braking > 0.0, braking, 1.0))
    behind_stop = speed_rear**2 / (2 * (room + stops))
    # The leader stands before the follower has matched its speed if that takes longer than v/a.
    stops_first = (braking > 0.0) & (speed_front * closing <= 2 * room * braking)
    needed = np.where(stops_first, behind_stop, together)
    return np.where(closing > CLOSING_SPEED_FLOOR, needed, 0.0)


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


def sweep_time(
    a: Float[Array, "*pairs 5"],
    b: Float[Array, "*pairs 5"],
    velocity_a: Float[Array, "*pairs 2"],
    velocity_b: Float[Array, "*pairs 2"],
) -> Float[Array, "*pairs"]:
    """Seconds until two boxes touch if both keep velocity and heading; ∞ if they never do.

    Exact: on each axis of the separating axis theorem the projections overlap during one stretch
    of time; the boxes overlap while all four stretches do.
    """
    relative = velocity_b - velocity_a
    apart = b[..., :2] - a[..., :2]
    enter = np.full(apart.shape[:-1], -np.inf)
    leave = np.full(apart.shape[:-1], np.inf)
    for turner in (a, b):
        for quarter in (0.0, np.pi / 2):
            axis_yaw = turner[..., Box.YAW] + quarter
            axis = np.stack([np.cos(axis_yaw), np.sin(axis_yaw)], axis=-1)
            reach = _half_extent(a, axis_yaw) + _half_extent(b, axis_yaw)
            c = np.einsum("...k,...k->...", apart, axis)
            w = np.einsum("...k,...k->...", relative, axis)
            moves = np.abs(w) > 1e-9
            safe = np.where(moves, w, 1.0)
            first, second = (-reach - c) / safe, (reach - c) / safe
            always = np.abs(c) <= reach
            low = np.where(moves, np.minimum(first, second), np.where(always, -np.inf, np.inf))
            high = np.where(moves, np.maximum(first, second), np.where(always, np.inf, -np.inf))
            enter, leave = np.maximum(enter, low), np.minimum(leave, high)
    meets = (enter <= leave) & (leave >= 0.0)
    return np.where(meets, np.maximum(enter, 0.0), np.inf)


def _half_extent(box: Array, axis_yaw: Array) -> Array:
    turn = axis_yaw - box[..., Box.YAW]
    return np.asarray(
        np.abs(np.cos(turn)) * box[..., Box.LENGTH] / 2
        + np.abs(np.sin(turn)) * box[..., Box.WIDTH] / 2
    )


def shared_ground(
    a: Float[Array, "steps 5"],
    b: Float[Array, "steps 5"],
    use_a: Bool[Array, " steps"],
    use_b: Bool[Array, " steps"],
    *,
    course_a: Float[Array, " steps"],
    course_b: Float[Array, " steps"],
    least_angle: float,
    within_s: float,
) -> tuple[Int[Array, " meetings"], Int[Array, " meetings"]] | None:
    """When each of two agents stands on ground that the other one covers at another time.

    Args:
        a: Boxes of one agent.
        b: Boxes of the other.
        use_a: Steps of a to look at.
        use_b: Steps of b to look at.
        course_a: Where a is going [rad].
        course_b: Where b is going [rad].
        least_angle: Ways must meet at this angle or more, and as far from head-on [rad].
        within_s: Longest time between the two.

    Returns:
        Steps of ``a`` and of ``b``, one entry for each two boxes that overlap; None if their ways
        do not cross.
    """
    reach = (np.hypot(a[0, 3], a[0, 4]) + np.hypot(b[0, 3], b[0, 4])) / 2
    steps_a, steps_b = np.flatnonzero(use_a), np.flatnonzero(use_b)
    if not len(steps_a) or not len(steps_b):
        return None
    ax, ay, bx, by = a[steps_a, 0], a[steps_a, 1], b[steps_b, 0], b[steps_b, 1]
    if (
        ax.min() > bx.max() + reach
        or bx.min() > ax.max() + reach
        or ay.min() > by.max() + reach
        or by.min() > ay.max() + reach
    ):
        return None
    near = (ax[:, None] - bx[None]) ** 2 + (ay[:, None] - by[None]) ** 2 < reach**2
    near &= np.abs(steps_a[:, None] - steps_b[None]) * DT <= within_s
    ia, ib = np.nonzero(near)
    ia, ib = steps_a[ia], steps_b[ib]
    crossing = np.abs(np.sin(course_a[ia] - course_b[ib])) >= np.sin(least_angle)
    # Who follows through a bend stands askew to where the leader stood, but takes the same line.
    same_line = np.hypot(a[ia, 0] - b[ib, 0], a[ia, 1] - b[ib, 1]) < SAME_LINE_M
    if same_line.any() and 2 * (~crossing[same_line]).sum() > same_line.sum():
        return None
    ia, ib = ia[crossing], ib[crossing]
    if not len(ia):
        return None
    meets = overlap(a[ia], b[ib])
    if not meets.any():
        return None
    return ia[meets], ib[meets]


def encroachment(
    steps_a: Int[Array, " meetings"], steps_b: Int[Array, " meetings"]
) -> tuple[float, int, int, int]:
    """Post-encroachment time on ground that two agents share one after the other.

    PET = t_enter(second) − t_exit(first) (Allen et al. 1978); 0 if both are there at once.

    Returns:
        PET [s]; step at which the first one leaves; step at which the second one enters; +1 if
        ``a`` goes first, −1 if ``b`` does.
    """
    if steps_a.min() + steps_a.max() <= steps_b.min() + steps_b.max():
        leaves, enters, order = int(steps_a.max()), int(steps_b.min()), 1
    else:
        leaves, enters, order = int(steps_b.max()), int(steps_a.min()), -1
    return max((enters - leaves) * DT, 0.0), leaves, enters, order

"""Two ways that meet in the plane: when boxes touch, how near they come, who was there first."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import Box, in_rows, overlap
from schemas.scene import DT

SAME_LINE_M = 1.5  # [m] centres so near, at different times, are on one line
ALIKE_M = 1e-3
"""[m] Where two pass parallel to each other the first moment counts, not one of rounding."""
STANDING = 0.1  # [m/s] whoever is slower than this reaches nothing
WORST_ERROR_S = 1e-6  # by which a worst-case time may fall short


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
    from geometry.box_loops import meetings

    shape, rows = in_rows(a, b)
    moves = np.broadcast_to(velocity_b - velocity_a, (*shape, 2)).reshape(-1, 2)
    return meetings(*rows, np.ascontiguousarray(moves)).reshape(shape)


def worst_time_to_collision(
    apart: Float[Array, "pairs 2"],
    relative: Float[Array, "pairs 2"],
    reach: Float[Array, " pairs"],
    acceleration: Float[Array, " pairs"],
) -> Float[Array, " pairs"]:
    """WTTC: seconds within which two cannot touch, whatever both do (Wachenfeld et al. 2016).

    The least t with |p + w t| ≤ R + A t²/2: outlines are within circles, and a road user that may
    accelerate by a in any direction is t later within a t²/2 of where its velocity takes it.

    The left side is convex in t. Its tangent at a t before the answer meets the right side no later
    than it does itself, so that tangents step towards the answer and never beyond it, the first of
    several there may be.

    Args:
        apart: Place of the second, seen from the first, p [m].
        relative: Its velocity, likewise, w [m/s].
        reach: Sum of the radii of the circles, R [m].
        acceleration: Sum of what both are capable of, A; positive [m/s²].

    Returns:
        WTTC, 0 where the circles meet already [s].
    """
    from mining.kernels import worst_times

    return worst_times(apart, relative, reach, acceleration, WORST_ERROR_S)


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


def encroachment_time(
    enters: Int[Array, "*pairs"], leaves: Int[Array, "*pairs"]
) -> Float[Array, "*pairs"]:
    """ET = t_exit − t_enter: seconds that one is on the shared ground (Allen et al. 1978).

    Args:
        enters: First step on it.
        leaves: Last step on it; the way in and out take half a step each.
    """
    return np.asarray((leaves - enters + 1) * DT)


def difference_at_crossing(
    way_a: Float[Array, "*pairs"],
    way_b: Float[Array, "*pairs"],
    speed_a: Float[Array, "*pairs"],
    speed_b: Float[Array, "*pairs"],
) -> Float[Array, "*pairs"]:
    """TTCP = |d_a/v_a − d_b/v_b|: how far apart in time both would reach where their ways cross [s].

    Its least value over time is mTTCP (SafeShift, Stoler et al. 2023). ∞ where one of them has
    passed the place or stands.

    Args:
        way_a: What a has still to go to the crossing, along its way; negative once past [m].
        way_b: Likewise for b [m].
        speed_a: [m/s].
        speed_b: [m/s].
    """
    comes = (way_a >= 0.0) & (way_b >= 0.0) & (speed_a > STANDING) & (speed_b > STANDING)
    at_a = way_a / np.where(comes, speed_a, 1.0)
    at_b = way_b / np.where(comes, speed_b, 1.0)
    return np.where(comes, np.abs(at_a - at_b), np.inf)


def closest_encounter(
    a: Float[Array, "*pairs 5"],
    b: Float[Array, "*pairs 5"],
    velocity_a: Float[Array, "*pairs 2"],
    velocity_b: Float[Array, "*pairs 2"],
    *,
    within_s: float,
) -> tuple[Float[Array, "*pairs"], Float[Array, "*pairs"]]:
    """DCE and TTCE: least distance of two boxes that keep velocity and heading, and when (Eggert 2014).

    Exact: what lies between two boxes is a point and a convex polygon (their Minkowski difference),
    and the point moves on a straight line; unless it enters the polygon, its least distance is
    to a corner, or at one of its ends.

    Args:
        a: Boxes.
        b: Boxes.
        velocity_a: [m/s].
        velocity_b: [m/s].
        within_s: How far to look ahead.

    Returns:
        Least distance of the outlines, 0 if they touch [m]; when that is, 0 if it is now [s].
    """
    from geometry.box_loops import encounters

    shape, rows = in_rows(a, b)
    moves_a, moves_b = (
        np.ascontiguousarray(np.broadcast_to(v, (*shape, 2)).reshape(-1, 2))
        for v in (velocity_a, velocity_b)
    )
    least, first = encounters(*rows, moves_a, moves_b, within_s, ALIKE_M)
    return least.reshape(shape), first.reshape(shape)


def meet_turning(
    a: Float[Array, "pairs 5"],
    b: Float[Array, "pairs 5"],
    velocity_a: Float[Array, "pairs 2"],
    velocity_b: Float[Array, "pairs 2"],
    turn_a: Float[Array, " pairs"],
    turn_b: Float[Array, " pairs"],
    *,
    within_s: float,
) -> Bool[Array, " pairs"]:
    """Whether two boxes overlap within a time if both keep speed and turn rate.

    Oncoming traffic in a bend is on course to collide at any moment, but for the bend.

    Args:
        a: Boxes.
        b: Boxes.
        velocity_a: [m/s].
        velocity_b: [m/s].
        turn_a: Turn rate [rad/s].
        turn_b: [rad/s].
        within_s: How far to look ahead, at steps of a tenth of it.
    """
    met = np.zeros(len(a), dtype=bool)
    for part in range(1, 11):
        time = within_s * part / 10
        met |= overlap(_after(a, velocity_a, turn_a, time), _after(b, velocity_b, turn_b, time))
    return met


def _after(box: Array, velocity: Array, turn: Array, time: float) -> Array:
    """Boxes some time later, on circles."""
    half = turn * time / 2
    chord = time * np.sinc(half / np.pi)  # sin(ω t/2) / (ω/2)
    cos, sin = np.cos(half) * chord, np.sin(half) * chord
    later = box.copy()
    later[:, 0] += cos * velocity[:, 0] - sin * velocity[:, 1]
    later[:, 1] += sin * velocity[:, 0] + cos * velocity[:, 1]
    later[:, Box.YAW] += turn * time
    return later

"""MOBIL: when to change lanes (Kesting, Treiber and Helbing 2007).

With ã the accelerations after the change, c whoever changes, o the follower it leaves and n the one it
gets, all by the Intelligent Driver Model, it changes if

    ã_n ≥ −b_safe   and   ã_c − a_c + p (ã_n − a_n + ã_o − a_o) > Δa_th ± Δa_bias .

The bias, where there is one, is asked for on the way to the left and given on the way to the right.
Over the original: it shall itself not have to brake harder than b_safe, and nobody may be beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geometry.arrays import Array
from simulation.courses import reached
from simulation.idm import BRAKE_MAX, DESIRED_FLOOR, EXPONENT
from simulation.kernels import compiled, nearest_step, place, pull


@dataclass(frozen=True, slots=True, kw_only=True)
class Mobil:
    """Parameters of the model.

    Attributes:
        politeness: What others' gain counts beside one's own, p.
        threshold: Gain that makes a change worth while, Δa_th [m/s²].
        safe_braking: What a change may make the new follower brake at most, b_safe [m/s²].
        bias: Towards the right, Δa_bias; 0 where overtaking on either side is allowed [m/s²].
    """

    politeness: float = 0.2
    threshold: float = 0.2
    safe_braking: float = 4.0
    bias: float = 0.0


DRIVER = Mobil()
"""Treiber's values: p from 0 to 0.5, b_safe 4 m/s², threshold 0.2 m/s²."""

LOOK_M = 100.0  # [m] how far ahead and behind neighbours are sought
STRAIGHT_BACK_M = 50.0  # [m] behind the beginning of a line
ROOM_S = 6.0  # [s] the lane to change to goes on for so long at least,
ROOM_M = 50.0  # and for so far [m]
SPEED_LEAST = 3.0  # [m/s] nobody changes lanes at a crawl
OFFSET_LEAST_M, OFFSET_MOST_M = 2.0, 6.0
TURN_MOST = math.radians(15.0)  # between the heading and that of the lane to change to
SETTLE_STEPS = 30  # steps after a change before the next is thought of
EVERY = 5  # steps between thoughts


@compiled
def acceleration(
    speed: float, desired: float, gap: float, leader_speed: float, idm: Array
) -> float:
    """By IDM, held between −8 m/s² and a₀; ``gap`` is ∞ where there is no leader [m/s²].

    Args:
        speed: [m/s].
        desired: v₀ [m/s].
        gap: Bumper to bumper [m].
        leader_speed: [m/s].
        idm: Gap s₀, headway, acceleration and comfortable braking.
    """
    free = max(idm[2] * (1.0 - (speed / max(desired, 0.1)) ** EXPONENT), -idm[3])
    if gap == math.inf:
        return free
    return max(free - pull(speed, gap, leader_speed, idm), -BRAKE_MAX)


@compiled
def incentive(
    mine: float, mine_after: float, new: float, new_after: float, old: float, old_after: float,
    politeness: float,
) -> float:  # fmt: skip
    """What a change gains, ã_c − a_c + p (ã_n − a_n + ã_o − a_o) [m/s²]."""
    return mine_after - mine + politeness * (new_after - new + old_after - old)


@compiled
def neighbours(
    points: Array, yaws: Array, origin: int, count: int, s: float, length: float, width: float,
    margin: float, me: int, xy: Array, yaw: Array, velocity: Array, size: Array, valid: Array,
) -> tuple[float, float, int, float, float, int]:  # fmt: skip
    """Who is ahead and who behind a station of a path: gap [m], speed [m/s] and index of each.

    The gap is ∞ and the index −1 where there is nobody within 100 m, negative where somebody is
    beside. Behind, only those count who come along the path.
    """
    ahead, ahead_speed, ahead_who = math.inf, 0.0, -1
    behind, behind_speed, behind_who = math.inf, 0.0, -1
    begin = math.floor(s - LOOK_M)
    steps = int(2.0 * LOOK_M) + 1
    middle = min(max(math.floor(s), 0), count - 1)
    here_x, here_y = points[origin + middle, 0], points[origin + middle, 1]
    for other in range(len(valid)):
        if other == me or not valid[other]:
            continue
        x, y, long, wide = xy[other, 0], xy[other, 1], size[other, 0], size[other, 1]
        dx, dy = x - here_x, y - here_y
        if dx * dx + dy * dy > (LOOK_M + long) ** 2:
            continue
        off = width / 2.0 + margin + (long + wide) / 2.0
        found = nearest_step(
            points, origin, count, begin, steps, 1, steps // 2, off + 1.0, x, y
        )  # fmt: skip
        lane = yaws[origin + found]
        dx, dy = x - points[origin + found, 0], y - points[origin + found, 1]
        cos, sin = math.cos(lane), math.sin(lane)
        onward, aside = cos * dx + sin * dy, cos * dy - sin * dx
        # A logged line begins where its driver does: what follows it is sought straight behind.
        before = found == 0 and -STRAIGHT_BACK_M < onward < 0.0
        if dx * dx + dy * dy > (off + 1.0) ** 2 and not before:
            continue
        turn = yaw[other] - lane
        across, straight = abs(math.sin(turn)), abs(math.cos(turn))
        half_along = (straight * long + across * wide) / 2.0
        half_across = (across * long + straight * wide) / 2.0
        if abs(aside) >= width / 2.0 + margin + half_across:
            continue
        where = found + onward
        along = velocity[other, 0] * cos + velocity[other, 1] * sin
        gap = abs(where - s) - half_along - length / 2.0
        if where > s:
            if gap < ahead:
                ahead, ahead_speed, ahead_who = gap, along, other
        elif gap < behind and (gap < 0.0 or math.cos(turn) > 0.7):
            behind, behind_speed, behind_who = gap, along, other
    return ahead, ahead_speed, ahead_who, behind, behind_speed, behind_who


@compiled
def decide(
    points: Array, yaws: Array, first: Array, count: Array, beside: Array, mapped: Array,
    limit: Array, rows: Array, path: Array, s: Array, speed: Array, case: Array, agent: Array,
    xy: Array, yaw: Array, velocity: Array, size: Array, valid: Array, desired: Array,
    target_xy: Array, target_yaw: Array, target_valid: Array, idm: Array, mobil: Array,
    margin: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Who changes now: new path (−1: nobody), station on it and offset to its left.

    Rows are asked in order, and whoever decides at once holds a place on the lane that it changes to,
    so that two never change into one gap. ``target_*`` are those places, of those who change already;
    they are updated. ``mobil`` is politeness, threshold, safe braking and bias.
    """
    chosen = np.full(len(rows), -1, dtype=np.int64)
    new_s, new_d = np.zeros(len(rows)), np.zeros(len(rows))
    for k in range(len(rows)):
        row = rows[k]
        p, c, me, v = path[row], case[row], agent[row], speed[row]
        if v < SPEED_LEAST:
            continue
        long, wide = size[c, me, 0], size[c, me, 1]
        x, y = xy[c, me, 0], xy[c, me, 1]
        at = first[p] + min(max(int(s[row]), 0), count[p] - 1)
        wish = min(desired[c, me], limit[at])
        judged = False
        gap, leading, mine, old, old_after = math.inf, 0.0, 0.0, 0.0, 0.0
        best = 0.0
        for side in range(2):
            q = beside[side, at]
            if q < 0:
                continue
            nearest = nearest_step(points, first[q], count[q], 0, count[q], 1, 0, math.inf, x, y)
            station, d, lane = reached(points, yaws, first[q], count[q], float(nearest), x, y)
            turn = math.cos(yaw[c, me] - lane)
            if abs(d) < OFFSET_LEAST_M or abs(d) > OFFSET_MOST_M or (d < 0.0) != (side == 0):
                continue
            if turn < math.cos(TURN_MOST) or station + max(ROOM_M, ROOM_S * v) > mapped[q]:
                continue
            if not judged:
                judged = True
                gap, leading, rear, following, who = _around(
                    points, yaws, first[p], count[p], s[row], long, wide, margin, me, xy[c], yaw[c],
                    velocity[c], size[c], valid[c], target_xy[c], target_yaw[c], target_valid[c],
                )  # fmt: skip
                mine = acceleration(v, wish, gap, leading, idm)
                if who >= 0 and rear > 0.0:
                    wanted = _wish(desired[c, who], following)
                    old = acceleration(following, wanted, rear, v, idm)
                    old_after = acceleration(following, wanted, gap + rear + long, leading, idm)
            ahead, ahead_speed, behind, behind_speed, who = _around(
                points, yaws, first[q], count[q], station, long, wide, margin, me, xy[c], yaw[c],
                velocity[c], size[c], valid[c], target_xy[c], target_yaw[c], target_valid[c],
            )  # fmt: skip
            if ahead <= 0.0 or behind <= 0.0:
                continue
            room = min(desired[c, me], limit[first[q] + min(int(station), count[q] - 1)])
            after = acceleration(v, room, ahead, ahead_speed, idm)
            new, new_after = 0.0, 0.0
            if who >= 0:
                wanted = _wish(desired[c, who], behind_speed)
                new = acceleration(behind_speed, wanted, ahead + behind + long, ahead_speed, idm)
                new_after = acceleration(behind_speed, wanted, behind, v, idm)
            if new_after < -mobil[2] or after < -mobil[2]:
                continue
            gain = incentive(mine, after, new, new_after, old, old_after, mobil[0])
            gain += mobil[3] if side == 1 else -mobil[3]
            if gain > mobil[1] and (chosen[k] < 0 or gain > best):
                best, chosen[k], new_s[k], new_d[k] = gain, q, station, d
        if chosen[k] >= 0:
            q = chosen[k]
            tx, ty, lane = place(points, yaws, first[q], count[q], new_s[k])
            target_xy[c, me, 0], target_xy[c, me, 1], target_yaw[c, me] = tx, ty, lane
            target_valid[c, me] = True
    return chosen, new_s, new_d


@compiled
def _around(
    points: Array, yaws: Array, origin: int, count: int, s: float, length: float, width: float,
    margin: float, me: int, xy: Array, yaw: Array, velocity: Array, size: Array, valid: Array,
    target_xy: Array, target_yaw: Array, target_valid: Array,
) -> tuple[float, float, float, float, int]:  # fmt: skip
    """As :func:`neighbours`, of those who are there and of those who are about to be."""
    gap, leading, _, rear, following, who = neighbours(
        points, yaws, origin, count, s, length, width, margin, me, xy, yaw, velocity, size, valid
    )  # fmt: skip
    more, more_leading, _, more_rear, more_following, other = neighbours(
        points, yaws, origin, count, s, length, width, margin, me, target_xy, target_yaw, velocity,
        size, target_valid,
    )  # fmt: skip
    if more < gap:
        gap, leading = more, more_leading
    if more_rear < rear:
        rear, following, who = more_rear, more_following, other
    return gap, leading, rear, following, who


@compiled
def _wish(desired: float, speed: float) -> float:
    """Desired speed of somebody; where it is not known (negative), no less than the speed."""
    return desired if desired >= 0.0 else max(speed, DESIRED_FLOOR)

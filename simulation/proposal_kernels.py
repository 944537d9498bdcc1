"""The inner loops of planning by proposals, compiled as :mod:`simulation.kernels` are.

Rows are cases × proposals: row ``r`` is proposal ``r % proposals`` of case ``r // proposals``. Every row is
computed alone, in one order, so that a case gives the same bits whatever else is in the batch.
"""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from simulation.kernels import (
    STRIDE,
    beside,
    compiled,
    contact_time,
    nearest_step,
    pull,
    separation,
    slopes,
    wrapped,
)

RED, YELLOW = 1, 2
"""What a signal asks for, as :func:`drives` is told."""


@compiled
def nearest_from(points: Array, origin: int, last: int, step: int, x: float, y: float) -> int:
    """The point of a path that lies nearest among those next to each other from a step on, downhill."""
    dx, dy = x - points[origin + step, 0], y - points[origin + step, 1]
    best = dx * dx + dy * dy
    for way in (1, -1):
        begin = step
        while 0 <= step + way < last:
            dx, dy = x - points[origin + step + way, 0], y - points[origin + step + way, 1]
            if dx * dx + dy * dy >= best:
                break
            best, step = dx * dx + dy * dy, step + way
        if step != begin:
            break
    return step


@compiled
def others_ahead(
    points: Array, yaws: Array, origin: int, last: int, s: float, reach: float, room: float,
    box: Array, velocity: Array, there: Array, ignored: Array, case: int, every: int, coarse: int,
    dt: float, near_end: Array, offset: Array, half_across: Array, leading: Array,
) -> int:  # fmt: skip
    """Where those are on a route who come in the way of any drive along it, at the coarse moments.

    Where names do not tell:
        s: Station from which to look ahead [m], so far as ``reach``.
        room: To either side of the route, within which a drive along it may need the place [m].
        box: Of the others at every ``every``-th time (known, cases, others, 5); afterwards they go
            straight on with their ``velocity``.
        ignored: Whether each is not looked at.
        near_end: Filled (moments, others): station of the near end of each found, −∞ where it is not
            ahead [m]; with ``offset``, ``half_across`` and ``leading`` speed likewise.

    Returns:
        How many were found.
    """
    moments, known = near_end.shape[0], box.shape[0]
    begin, many = math.floor(s), int(reach) // STRIDE + 1
    low_x, low_y, high_x, high_y = math.inf, math.inf, -math.inf, -math.inf
    for k in range(many):
        at = origin + min(max(begin + k * STRIDE, 0), last - 1)
        low_x, high_x = min(low_x, points[at, 0]), max(high_x, points[at, 0])
        low_y, high_y = min(low_y, points[at, 1]), max(high_y, points[at, 1])
    few = 0
    for other in range(there.shape[2]):
        if ignored[case, other]:
            continue
        meets = False
        guess = 0
        for m in range(moments):
            near_end[m, few] = -math.inf
            at = min(m * coarse // every, known - 1)
            if not there[at, case, other]:
                continue
            beyond = (m * coarse - at * every) * dt
            vx, vy = velocity[at, case, other, 0], velocity[at, case, other, 1]
            x = box[at, case, other, 0] + vx * beyond
            y = box[at, case, other, 1] + vy * beyond
            long, wide = box[at, case, other, 3], box[at, case, other, 4]
            off = room + long + wide + STRIDE
            if x < low_x - off or x > high_x + off or y < low_y - off or y > high_y + off:
                continue
            step = nearest_step(points, origin, last, begin, many, STRIDE, guess, off, x, y)
            guess = (step - begin) // STRIDE
            onward, aside = beside(points, yaws, origin + step, x, y)
            lane = yaws[origin + step]
            turn = box[at, case, other, 2] - lane
            across, straight = abs(math.sin(turn)), abs(math.cos(turn))
            half_along = (straight * long + across * wide) / 2.0
            half = (across * long + straight * wide) / 2.0
            # Far from the nearest sample along the path means off the searched stretch of it.
            if (
                step + onward <= s
                or abs(onward) > half_along + STRIDE
                or abs(aside) >= room + half
            ):
                continue
            meets = True
            near_end[m, few] = step + onward - half_along
            offset[m, few], half_across[m, few] = aside, half
            leading[m, few] = vx * math.cos(lane) + vy * math.sin(lane)
        if meets:
            few += 1
    return few


@compiled
def drives(
    points: Array, yaws: Array, curvature: Array, first: Array, count: Array, desired: Array,
    start: Array, station: Array, length: Array, width: Array, wheelbase: Array, to_centre: Array,
    share: Array, aside: Array, heeds: Array, brake: Array, box: Array, velocity: Array,
    there: Array, ignored: Array, every: int, look: float, stop_first: Array, stop_count: Array,
    stop_s: Array, stop_asks: Array, idm: Array, margin: float, passed: float, reach: float,
    yellow: float, gentle: float, hardest: float, bend: Array, settling: Array, active: Array, coarse: int,
    steps: int, dt: float,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Every proposal of every case, driven by IDM, of exponent 10, and the kinematic bicycle.

    Where names do not tell:
        points: Of the paths, with ``yaws``, ``curvature``, ``first``, ``count`` as in ``Paths``.
        desired: Speed at each point [m/s].
        start: x, y, yaw, speed of each case's rear axle.
        station: Of that [m].
        share: Of the desired speed, of each proposal.
        aside: To the left of the path [m], likewise.
        heeds: Whether it heeds leaders, likewise.
        brake: Deceleration that it holds whatever comes, 0 for one that drives by IDM [m/s²].
        box: Of the others at every ``every``-th time, with ``velocity``, ``there`` and ``ignored`` as in
            :func:`others_ahead`; they are looked for so far ahead as ``look`` [m].
        stop_first: First signal of each case among ``stop_s`` and ``stop_asks``, and ``stop_count``.
        gentle: How hard one that drives by IDM brakes at most, and ``hardest``, what the road gives [m/s²].
        bend: Of the steering: most lateral error slope and most angle [rad].
        settling: Least distance [m] and time [s] in which an offset is steered away.

    Returns:
        Pose (steps + 1, rows, 4), acceleration and tangent of the front wheel angle (steps, rows), station
        (steps + 1, rows).
    """
    cases, many = len(start), len(share)
    rows = cases * many
    pose = np.zeros((steps + 1, rows, 4))
    pedal, wheel = np.zeros((steps, rows)), np.zeros((steps, rows))
    along = np.zeros((steps + 1, rows))
    moments, others = (steps - 1) // coarse + 1, there.shape[2]
    near_end, offset = np.empty((moments, others + 1)), np.empty((moments, others + 1))
    half_across, leading = np.empty((moments, others + 1)), np.empty((moments, others + 1))
    farthest, tightest = np.abs(aside).max(), math.tan(bend[1])
    for case in range(cases):
        if not active[case]:
            continue
        origin, last = first[case], count[case]
        base, back, half = wheelbase[case], to_centre[case], length[case] / 2.0
        few = others_ahead(
            points, yaws, origin, last, station[case] + back, look,
            farthest + width[case] / 2.0 + margin, box, velocity, there, ignored, case, every,
            coarse, dt, near_end, offset, half_across, leading,
        )  # fmt: skip
        for proposal in range(many):
            row = case * many + proposal
            x, y, yaw, v = start[case, 0], start[case, 1], start[case, 2], start[case, 3]
            s = station[case]
            pose[0, row, 0], pose[0, row, 1], pose[0, row, 2], pose[0, row, 3] = x, y, yaw, v
            step = nearest_step(
                points, origin, last, math.floor(s) - 2, 8, 1, 2, math.inf, x, y
            )  # fmt: skip
            onward, off = beside(points, yaws, origin + step, x, y)
            along[0, row] = s
            place = step + onward
            for t in range(steps):
                speed = max(v, 0.0)
                middle = along[t, row] + back
                if brake[proposal] > 0.0:
                    acceleration = -brake[proposal]
                else:
                    braking = 0.0
                    if heeds[proposal]:
                        m = t // coarse
                        for k in range(few):
                            end = near_end[m, k]
                            if end <= middle:
                                continue
                            room = width[case] / 2.0 + margin + half_across[m, k]
                            if abs(offset[m, k] - aside[proposal]) < room:
                                gap = end - middle - half
                                braking = max(braking, pull(speed, gap, leading[m, k], idm))
                    for k in range(stop_first[case], stop_first[case] + stop_count[case]):
                        gap = stop_s[k] - middle - half
                        if gap <= -passed or gap >= reach:
                            continue
                        needed = speed * speed / (2.0 * max(gap, 0.1))
                        if needed <= (hardest if stop_asks[k] == RED else yellow):
                            braking = max(braking, pull(speed, gap, 0.0, idm))
                    at = origin + min(max(math.floor(middle), 0), last - 1)
                    ratio = speed / max(share[proposal] * desired[at], 0.1)
                    square = ratio * ratio
                    steep = square * square * square * square * square
                    free = max(idm[2] * (1.0 - steep), -idm[3])
                    acceleration = min(max(free - braking, -gentle), idm[2])
                # Steer so that what the vehicle sweeps stays centred, see planners.lane_steering.
                at = origin + step
                lane = yaws[at]
                if step + 1 < last:
                    lane += min(max(place - step, 0.0), 1.0) * wrapped(yaws[at + 1] - lane)
                kappa = curvature[at]
                front = back + half
                error = off - kappa * front * front / 4.0 - aside[proposal]
                turned = wrapped(yaw - lane)
                settle = max(settling[0], settling[1] * abs(v))
                wanted = min(max(error, -settle), settle) / (settle * settle)
                wanted += 2.0 * min(max(turned, -bend[0]), bend[0]) / settle
                turning = min(max(base * (kappa - wanted), -tightest), tightest)
                # The bicycle, as geometry.kinematics.bicycle_step.
                after = v + acceleration * dt
                after = max(after, 0.0) if v >= 0.0 else min(after, 0.0)
                mean = (v + after) / 2.0
                turn = mean * turning / base * dt
                x += mean * math.cos(yaw + turn / 2.0) * dt
                y += mean * math.sin(yaw + turn / 2.0) * dt
                yaw, v = wrapped(yaw + turn), after
                pedal[t, row], wheel[t, row] = acceleration, turning
                pose[t + 1, row, 0], pose[t + 1, row, 1] = x, y
                pose[t + 1, row, 2], pose[t + 1, row, 3] = yaw, v
                step = nearest_from(points, origin, last, step, x, y)
                onward, off = beside(points, yaws, origin + step, x, y)
                place = step + onward
                along[t + 1, row] = place
    return pose, pedal, wheel, along


@compiled
def in_lane(
    points: Array, yaws: Array, origin: int, last: int, near: float, x: float, y: float,
    half: float, left: Array, right: Array,
) -> bool:  # fmt: skip
    """Whether a box so wide (half of it) keeps within the lane of its route.

    Where names do not tell:
        near: Station on the route, about [m].
        left: How far the lane reaches to the left of each point of the routes [m], and ``right``.
    """
    step = nearest_step(points, origin, last, math.floor(near) - 4, 9, 1, 4, math.inf, x, y)
    _, off = beside(points, yaws, origin + step, x, y)
    return off + half <= left[origin + step] and half - off <= right[origin + step]


@compiled
def impacts(
    pose: Array, along: Array, length: Array, width: Array, to_centre: Array, box: Array,
    velocity: Array, there: Array, ignored: Array, every: int, grave: Array, points: Array,
    yaws: Array, first: Array, count: Array, left: Array, right: Array, crossing: Array,
    active: Array, check: int, stopped: float, ahead: float, behind: float, ttc: float, dt: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """When each row first has an impact that it is to blame for, and whether its time to collision holds.

    Blame and time to collision are those of :mod:`simulation.scores`. Whom it hits without being to
    blame is not looked at again.

    Where names do not tell:
        pose: Of the rear axle (times, rows, 4).
        along: Its station on the route (times, rows) [m].
        box: Of the others, with ``velocity``, ``there``, ``ignored`` and ``every`` as in
            :func:`others_ahead`.
        grave: Whether each is a road user, no thing.
        points: Of the routes, with ``yaws``, ``first``, ``count`` as in ``Paths``.
        left: How far the lane of the route reaches to the left of each point [m], and ``right``.
        crossing: Whether each point is in an intersection.
        stopped: Below this who moves stands [m/s].
        ahead: Within this bearing they are ahead [rad].
        behind: Beyond this one they come from behind, and are to look out themselves [rad].
        ttc: The least time to collision [s].

    Returns:
        Time of the first impact (the number of times if there is none); 0 if one is with a road user,
        ½ if all are with things, else 1; and 1 where TTC holds.
    """
    known, cases, others = there.shape
    moments = (pose.shape[0] - 1) // check + 1
    many = pose.shape[1] // cases
    hit = np.full(cases * many, float(pose.shape[0]))
    spared = np.ones(cases * many)
    held = np.ones(cases * many)
    near = np.empty(others, dtype=np.int64)
    met = np.empty(others, dtype=np.bool_)
    for case in range(cases):
        if not active[case]:
            continue
        origin, last = first[case], count[case]
        own, half = math.hypot(length[case], width[case]) / 2.0, width[case] / 2.0
        x0, y0 = pose[0, case * many, 0], pose[0, case * many, 1]
        far, fast = 0.0, 0.0
        for proposal in range(many):
            for moment in range(moments):
                row, t = case * many + proposal, moment * check
                dx, dy = pose[t, row, 0] - x0, pose[t, row, 1] - y0
                far, fast = max(far, dx * dx + dy * dy), max(fast, abs(pose[t, row, 3]))
        far = math.sqrt(far) + to_centre[case]
        # Most others never come near.
        few = 0
        for other in range(others):
            if ignored[case, other]:
                continue
            for moment in range(moments):
                at = min(moment * check // every, known - 1)
                if not there[at, case, other]:
                    continue
                beyond = (moment * check - at * every) * dt
                vx, vy = velocity[at, case, other, 0], velocity[at, case, other, 1]
                dx = box[at, case, other, 0] + vx * beyond - x0
                dy = box[at, case, other, 1] + vy * beyond - y0
                reach = own + box[at, case, other, 3] + box[at, case, other, 4]
                reach += far + ttc * (math.hypot(vx, vy) + fast)
                if dx * dx + dy * dy <= reach * reach:
                    near[few] = other
                    few += 1
                    break
        for proposal in range(many):
            row = case * many + proposal
            met[:few] = False
            for moment in range(moments):
                t = moment * check
                yaw, v = pose[t, row, 2], pose[t, row, 3]
                if abs(v) <= stopped:
                    continue
                cos, sin = math.cos(yaw), math.sin(yaw)
                x = pose[t, row, 0] + to_centre[case] * cos
                y = pose[t, row, 1] + to_centre[case] * sin
                middle = along[t, row] + to_centre[case]
                at = min(t // every, known - 1)
                beyond = (t - at * every) * dt
                for k in range(few):
                    other = near[k]
                    if met[k] or not there[at, case, other]:
                        continue
                    ox, oy = velocity[at, case, other, 0], velocity[at, case, other, 1]
                    dx = box[at, case, other, 0] + ox * beyond - x
                    dy = box[at, case, other, 1] + oy * beyond - y
                    vx, vy = ox - v * cos, oy - v * sin
                    long, wide = box[at, case, other, 3], box[at, case, other, 4]
                    # Longer than the reach of the boxes and of what they drive within TTC.
                    reach = own + (long + wide) / 2.0 + (abs(vx) + abs(vy)) * ttc
                    if abs(dx) > reach or abs(dy) > reach:
                        continue
                    onward = cos * dx + sin * dy + to_centre[case]
                    bearing = abs(math.atan2(cos * dy - sin * dx, onward))
                    turned = box[at, case, other, 2]
                    touch = contact_time(
                        x, y, yaw, length[case], width[case],
                        x + dx, y + dy, turned, long, wide, vx, vy,
                    )  # fmt: skip
                    if touch >= ttc:
                        continue
                    if touch <= 0.0:
                        met[k] = True
                        if math.hypot(ox, oy) > stopped:
                            if bearing > behind:
                                continue
                            reach = length[case] / 2.0
                            if separation(
                                x + reach * cos, y + reach * sin, yaw, 1e-3, width[case],
                                x + dx, y + dy, turned, long, wide,
                            ) >= 0.0 and in_lane(
                                points, yaws, origin, last, middle, x, y, half, left, right
                            ):  # fmt: skip
                                continue
                        hit[row] = min(hit[row], float(t))
                        spared[row] = min(spared[row], 0.0 if grave[case, other] else 0.5)
                    elif held[row] > 0.0:
                        if bearing > behind:
                            continue
                        if bearing > ahead:
                            place = origin + min(max(int(middle), 0), last - 1)
                            if not crossing[place] and in_lane(
                                points, yaws, origin, last, middle, x, y, half, left, right
                            ):
                                continue
                        held[row] = 0.0
                if spared[row] <= 0.0:
                    break
    return hit, spared, held


@compiled
def leaves(
    pose: Array, along: Array, length: Array, width: Array, to_centre: Array, points: Array,
    yaws: Array, first: Array, count: Array, left: Array, right: Array, least: Array,
    active: Array, check: int,
) -> Array:  # fmt: skip
    """Whether each row's box comes off the surface beside its route, looked at every ``check``-th time.

    Where names do not tell:
        pose: Of the rear axle (times, rows, 4).
        along: Its station on the route (times, rows) [m].
        left: How far to the left of each point of the routes the surface reaches [m], and ``right``.
        least: So far to either side of the way straight on from each point nothing is off it, as far as
            the box reaches [m].
    """
    times, rows = along.shape
    many = rows // len(length)
    gone = np.zeros(rows, dtype=np.bool_)
    for row in range(rows):
        case = row // many
        if not active[case]:
            continue
        origin, last = first[case], count[case]
        for t in range(0, times, check):
            if t > 0 and pose[t, row, 3] == 0.0 and pose[t - check, row, 3] == 0.0:
                break
            at = origin + min(max(math.floor(along[t, row]), 0), last - 1)
            _, off = beside(points, yaws, at, pose[t, row, 0], pose[t, row, 1])
            swing = abs(math.sin(pose[t, row, 2] - yaws[at])) * (
                to_centre[case] + length[case] / 2.0
            )
            if abs(off) + swing + width[case] / 2.0 <= least[at]:
                continue
            cos, sin = math.cos(pose[t, row, 2]), math.sin(pose[t, row, 2])
            for corner in range(4):
                onward = to_centre[case] + (0.5 if corner < 2 else -0.5) * length[case]
                aside = (0.5 if corner % 2 == 0 else -0.5) * width[case]
                x = pose[t, row, 0] + cos * onward - sin * aside
                y = pose[t, row, 1] + sin * onward + cos * aside
                step = nearest_step(
                    points, origin, last, math.floor(along[t, row] + onward) - 3, 7, 1, 3,
                    math.inf, x, y,
                )  # fmt: skip
                at = origin + step
                _, d = beside(points, yaws, at, x, y)
                if d > left[at] or -d > right[at]:
                    gone[row] = True
                    break
            if gone[row]:
                break
    return gone


@compiled
def comfortable(
    pose: Array, past: Array, past_yaw: Array, known: Array, to_centre: Array, low: Array,
    high: Array, window: int, dt: float, wanted: Array,
) -> Array:  # fmt: skip
    """1 for each wanted row whose drive stays within the bounds of comfort, smoothed as nuPlan does.

    The states before now (cases, history, 2) belong to the drive: a jolt may lie between them and it.

    Where names do not tell:
        pose: Of the rear axle (times, rows, 4).
        past: Box centres, oldest first, the last being now.
        past_yaw: [rad].
        known: Whether each is.
        low: Least acceleration along and across, yaw rate and acceleration, jerk along, jerk.
        high: Greatest.
    """
    times, rows = pose.shape[0], pose.shape[1]
    cases, history = known.shape
    many = rows // cases
    fine = np.zeros(rows)
    whole = history + times - 1
    px, py, yaw = np.empty(whole), np.empty(whole), np.empty(whole)
    for row in range(rows):
        if not wanted[row]:
            continue
        fine[row] = 1.0
        case = row // many
        begin = history - 1
        while begin > 0 and known[case, begin - 1]:
            begin -= 1
        size = whole - begin
        for k in range(history - 1 - begin):
            px[k], py[k] = past[case, begin + k, 0], past[case, begin + k, 1]
            yaw[k] = past_yaw[case, begin + k]
        now = history - 1 - begin
        for t in range(times):
            turned = pose[t, row, 2]
            px[now + t] = pose[t, row, 0] + to_centre[case] * math.cos(turned)
            py[now + t] = pose[t, row, 1] + to_centre[case] * math.sin(turned)
            yaw[now + t] = turned
        for k in range(1, size):
            yaw[k] = yaw[k - 1] + wrapped(yaw[k] - yaw[k - 1])
        vx, vy = np.empty(size), np.empty(size)
        for k in range(size):
            one, two = max(k - 1, 0), min(k + 1, size - 1)
            vx[k] = (px[two] - px[one]) / ((two - one) * dt)
            vy[k] = (py[two] - py[one]) / ((two - one) * dt)
        ax, jx = slopes(vx, window, dt)
        ay, jy = slopes(vy, window, dt)
        rate, spin = slopes(yaw[:size], window, dt)
        lon = np.empty(size)
        for k in range(size):
            lon[k] = ax[k] * math.cos(yaw[k]) + ay[k] * math.sin(yaw[k])
        surge, _ = slopes(lon, window, dt)
        for k in range(now, size):
            lat = ay[k] * math.cos(yaw[k]) - ax[k] * math.sin(yaw[k])
            jerk = math.hypot(jx[k], jy[k])
            if (
                not low[0] <= lon[k] <= high[0] or not low[1] <= lat <= high[1]
                or not low[2] <= rate[k] <= high[2] or not low[3] <= spin[k] <= high[3]
                or not low[4] <= surge[k] <= high[4] or not low[5] <= jerk <= high[5]
            ):  # fmt: skip
                fine[row] = 0.0
                break
    return fine

"""The loops over steps and agents, compiled; what they mean is told where they are called."""

from __future__ import annotations

import math

import numpy as np

from geometry.angle_loops import wrapped
from geometry.arrays import Array
from geometry.compiled import compiled


@compiled
def triggered(value: Array, enter: Array, leave: Array, known: Array, sign: float) -> Array:
    """See :func:`mining.intervals.above`; of a quantity and thresholds of that sign.

    The thresholds have one row, or as many as the quantity, and one column, or as many.
    """
    rows, steps = value.shape
    held = np.zeros((rows, steps), dtype=np.bool_)
    for row in range(rows):
        enter_row = row if enter.shape[0] > 1 else 0
        leave_row = row if leave.shape[0] > 1 else 0
        on = False
        for step in range(steps):
            if not known[row, step]:
                on = False
                continue
            here = sign * value[row, step]
            if here >= sign * enter[enter_row, step if enter.shape[1] > 1 else 0]:
                on = True
            elif here < sign * leave[leave_row, step if leave.shape[1] > 1 else 0]:
                on = False
            held[row, step] = on
    return held


@compiled
def spells(
    mask: Array, least: int, bridge_s: float, dt: float
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Row, begin and end of each spell, see :func:`mining.intervals.spells`; ``least`` is in steps."""
    rows, steps = mask.shape
    count = 0
    row_of = np.empty(16, dtype=np.int64)
    begin_of, end_of = np.empty(16, dtype=np.int64), np.empty(16, dtype=np.int64)
    for row in range(rows):
        some = False
        for step in range(steps):
            some |= mask[row, step]
        if not some:
            continue
        begin = -1
        end = -1
        for step in range(steps + 1):
            if step < steps and mask[row, step]:
                if begin < 0:
                    begin = step
                end = step
                continue
            last = step == steps
            if begin < 0 or not (last or (step - end) * dt >= bridge_s):
                continue
            if end - begin + 1 >= least:
                if count == len(row_of):
                    row_of = np.concatenate((row_of, np.empty_like(row_of)))
                    begin_of = np.concatenate((begin_of, np.empty_like(begin_of)))
                    end_of = np.concatenate((end_of, np.empty_like(end_of)))
                row_of[count], begin_of[count], end_of[count] = row, begin, end
                count += 1
            begin = -1
    return row_of[:count].copy(), begin_of[:count].copy(), end_of[:count].copy()


@compiled
def decisive(
    mask: Array, value: Array, row: Array, begin: Array, end: Array, sign: float
) -> Array:  # fmt: skip
    """Of each spell the first step of the mask with the greatest value, or the least if sign is −1."""
    chosen = begin.copy()
    for k in range(len(row)):
        best = sign * value[row[k], begin[k]]
        for step in range(begin[k] + 1, end[k] + 1):
            if math.isnan(best):
                break
            if not mask[row[k], step]:
                continue
            here = sign * value[row[k], step]
            if here > best or math.isnan(here):
                best, chosen[k] = here, step
    return chosen


@compiled
def middles(mask: Array, value: Array, row: Array, begin: Array, end: Array) -> Array:
    """Of each spell the step of the mask whose value is the median, the first of equals last."""
    chosen = begin.copy()
    for k in range(len(row)):
        steps = begin[k] + np.flatnonzero(mask[row[k], begin[k] : end[k] + 1])
        order = np.argsort(value[row[k]][steps], kind="mergesort")
        chosen[k] = steps[order[len(steps) // 2]]
    return chosen


@compiled
def lines(
    value: Array, valid: Array, half: Array, mean: Array, least_points: int, dt: float
) -> tuple[Array, Array, Array]:
    """Level, slope and error of the lines, see :func:`mining.smoothing.fit_lines`; but for the ends.

    Sums over windows are differences of running sums, of values near 0 so that none is lost.
    """
    rows, steps = value.shape
    level, slope = np.zeros((rows, steps)), np.zeros((rows, steps))
    error = np.full((rows, steps), np.inf)
    sums = np.zeros((6, steps + 1))
    for row in range(rows):
        for step in range(steps):
            w = 1.0 if valid[row, step] else 0.0
            v = w * ((value[row, step] if valid[row, step] else 0.0) - mean[row])
            t = float(step)
            sums[0, step + 1] = sums[0, step] + w
            sums[1, step + 1] = sums[1, step] + w * t
            sums[2, step + 1] = sums[2, step] + w * t * t
            sums[3, step + 1] = sums[3, step] + v
            sums[4, step + 1] = sums[4, step] + v * t
            sums[5, step + 1] = sums[5, step] + v * v
        for step in range(steps):
            begin, end = max(step - half[row], 0), min(step + half[row] + 1, steps)
            t = float(step)
            s0 = sums[0, end] - sums[0, begin]
            m1, m2 = sums[1, end] - sums[1, begin], sums[2, end] - sums[2, begin]
            y0, n1 = sums[3, end] - sums[3, begin], sums[4, end] - sums[4, begin]
            y2 = sums[5, end] - sums[5, begin]
            s1, y1 = m1 - t * s0, n1 - t * y0
            s2 = m2 - 2.0 * t * m1 + t * t * s0
            spread = s0 * s2 - s1 * s1
            enough = s0 >= least_points and spread > 0.5  # a whole number, but for rounding
            b = (s0 * y1 - s1 * y0) / spread if enough else 0.0
            a = (y0 - b * s1) / max(s0, 1.0) if s0 > 0.0 else 0.0
            level[row, step], slope[row, step] = a + mean[row], b / dt
            if enough and valid[row, step]:
                left_over = max(y2 - a * y0 - b * y1, 0.0) / max(s0 - 2.0, 1.0)
                error[row, step] = math.sqrt(left_over * s0 / spread) / dt
    return level, slope, error


@compiled
def come_near(xy: Array, seen: Array, i: Array, j: Array, within: Array) -> Array:
    """Whether the centres of each pair are so near [m] at some step at which both are seen."""
    near = np.zeros(len(i), dtype=np.bool_)
    for k in range(len(i)):
        a, b = i[k], j[k]
        most = within[k] * within[k]
        for step in range(seen.shape[1]):
            if seen[a, step] and seen[b, step]:
                dx, dy = xy[b, step, 0] - xy[a, step, 0], xy[b, step, 1] - xy[a, step, 1]
                if dx * dx + dy * dy <= most:
                    near[k] = True
                    break
    return near


@compiled
def leaders(
    follows: Array, leads: Array, place: Array, on_way: Array, away: Array, lane_s: Array,
    lane_d: Array, length: Array, width: Array, farthest: float,
) -> tuple[Array, Array]:  # fmt: skip
    """The nearest ahead on the way of each agent at each step, −1 if nobody, and the gap to it [m].

    That is who may lead, stands on a lane of the way of who may follow, overlaps it seen along the
    lane, to within 0.2 m, and is no farther ahead, from bumper to bumper, than ``farthest``.
    """
    agents, steps = place.shape
    leader = np.full((agents, steps), -1, dtype=np.int64)
    gap = np.full((agents, steps), np.inf)
    for i in range(agents):
        for step in range(steps):
            if not follows[i, step]:
                continue
            own, nearest, least = place[i, step], -1, np.inf
            for j in range(agents):
                if j == i or not leads[j, step] or not on_way[i, place[j, step]]:
                    continue
                distance = away[own, place[j, step]] + lane_s[j, step] - lane_s[i, step]
                side = abs(lane_d[j, step] - lane_d[i, step])
                blocks = side < (width[j] + width[i]) / 2 + 0.2
                if blocks and 0.0 <= distance < least:
                    nearest, least = j, distance
            if nearest < 0:
                continue
            bumper = least - (length[nearest] + length[i]) / 2
            if bumper <= farthest:
                leader[i, step], gap[i, step] = nearest, bumper
    return leader, gap


@compiled
def driven(
    s: Array, speed: Array, on: Array, half: Array, stop: Array, begin: float, tick: float,
    model: tuple[float, float, float, float, float, float],
) -> tuple[Array, Array]:  # fmt: skip
    """Where a driver gets with everybody on its way (run 0) and without each of them, and how it brakes.

    Args:
        s: Where each of the others is along the way, (others, steps) [m].
        speed: How fast along it [m/s].
        on: Where on it.
        half: From the middle of the driver to that of each when they touch [m].
        stop: Where the driver's middle must be at the latest at each step, for a light [m].
        begin: The driver's speed at first [m/s].
        tick: Duration of a step [s].
        model: Free speed, headway, gap at standstill, acceleration, comfortable and hardest braking.

    Returns:
        Place along the way, (runs, steps) [m]; hardest braking of each run [m/s²].
    """
    free, headway, standstill, accelerates, brakes, most = model
    others, steps = s.shape
    reached, braking = np.zeros((others + 1, steps)), np.zeros(others + 1)
    for run in range(others + 1):
        at, v = 0.0, begin
        for k in range(steps):
            reached[run, k] = at
            room, nearest = np.inf, 0
            for other in range(others):
                if other == run - 1 or not on[other, k] or s[other, k] <= at:
                    continue
                gap = s[other, k] - at - half[other]
                if gap < room:
                    room, nearest = gap, other
            lead = speed[nearest, k]
            light = stop[k] - at
            if -1.0 < light < room:
                room, lead = light, 0.0
            pull = v * headway + v * (v - lead) / (2.0 * math.sqrt(accelerates * brakes))
            ratio = (standstill + max(pull, 0.0)) / max(room, 0.1)
            change = accelerates * (1.0 - math.pow(v / free, 4.0) - ratio * ratio)
            after = max(v + min(max(change, -most), accelerates) * tick, 0.0)
            braking[run] = max(braking[run], (v - after) / tick)
            at, v = at + (v + after) / 2.0 * tick, after
    return reached, braking


@compiled
def worst_times(
    apart: Array, relative: Array, reach: Array, acceleration: Array, error: float
) -> Array:
    """Least t with |p + w t| ≤ R + A t²/2; see :func:`mining.criticality.worst_time_to_collision`."""
    told = np.zeros(len(apart))
    for i in range(len(apart)):
        w_x, w_y, a = relative[i, 0], relative[i, 1], acceleration[i]
        while True:
            t = told[i]
            x, y = apart[i, 0] + w_x * t, apart[i, 1] + w_y * t
            distance = math.hypot(x, y)
            lacks = distance - reach[i] - a * t * t / 2
            if lacks <= 0.0:
                break
            if a <= 0.0:  # neither moves of itself
                told[i] = math.inf
                break
            # Where distance + rate (t' − t) = R + A t'²/2.
            rate = (x * w_x + y * w_y) / max(distance, 1e-9)
            told[i] = (rate + math.sqrt((rate - a * t) ** 2 + 2 * a * lacks)) / a
            if told[i] - t <= error:
                break
    return told


@compiled
def covers(
    bearing: Array, low: Array, high: Array, distance: Array, close: Array, far: Array, near: Array
) -> tuple[Array, Array]:
    """Share and cut of each pair at each step, see :class:`mining.sight.Sight`."""
    steps = bearing.shape[1]
    share = np.zeros((len(far), steps))
    cut = np.zeros((len(far), steps), dtype=np.bool_)
    for row in range(len(far)):
        i, j = far[row], near[row]
        for step in range(steps):
            if not (close[i, step] and close[j, step]):
                continue
            if not distance[j, step] < distance[i, step]:
                continue
            apart = wrapped(bearing[j, step] - bearing[i, step])
            right, left = apart + low[j, step], apart + high[j, step]
            own = high[i, step] - low[i, step]
            both = min(high[i, step], left) - max(low[i, step], right)
            share[row, step] = min(max(both / max(own, 1e-6), 0.0), 1.0)
            cut[row, step] = right < 0.0 < left
    return share, cut

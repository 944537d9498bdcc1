"""The engine's inner loops, compiled: each case alone, one number after the other.

Plain loops over plain arrays, compiled by numba without fast-math, so that every sum has one order: a
case gives the same bits alone as among thousands, and on any number of workers. What they mean is told
where they are called; tests hold each to a plain numpy version of the same.

Paths are flat: points 1 m apart (chords never longer), ``first`` and ``count`` of each path among them.
"""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from geometry.compiled import compiled as compiled
from simulation.idm import GAP_FLOOR_M


@compiled
def wrapped(angle: float) -> float:
    """The angle within [−π, π) [rad]."""
    return angle - 2.0 * math.pi * math.floor((angle + math.pi) / (2.0 * math.pi))


@compiled
def pull(speed: float, gap: float, leading: float, idm: Array) -> float:
    """IDM's interaction, see :func:`simulation.idm.interaction`; idm: s₀, T, a₀, b [m/s²]."""
    root = 2.0 * math.sqrt(idm[2] * idm[3])
    wanted = idm[0] + max(0.0, speed * idm[1] + speed * (speed - leading) / root)
    ratio = wanted / max(gap, GAP_FLOOR_M)
    return idm[2] * ratio * ratio


@compiled
def share_along(x: float, y: float, along_x: float, along_y: float) -> float:
    """Where on a segment from 0 to ``along`` a point is nearest, as a share of it in [0, 1]."""
    square = along_x * along_x + along_y * along_y
    return 0.0 if square == 0.0 else min(max((x * along_x + y * along_y) / square, 0.0), 1.0)


@compiled
def nearest_step(
    points: Array, first: int, count: int, begin: int, steps: int, stride: int, guess: int,
    within: float, x: float, y: float,
) -> int:  # fmt: skip
    """Which of the points begin, begin + stride, … (clipped to the path) lies nearest; the first of equals.

    A point a metre farther along is at most a metre nearer, so that most need not be looked at, and
    fewer still if the guess, a place among those points, is a good one. Where none lies within a
    distance [m], any of them may be told.
    """
    skip = (1.0 - 1e-9) / stride
    guess = min(max(guess, 0), steps - 1)
    best_step = min(max(begin + guess * stride, 0), count - 1)
    dx, dy = x - points[first + best_step, 0], y - points[first + best_step, 1]
    best = math.sqrt(dx * dx + dy * dy)
    k = 0
    while k < steps:
        step = min(max(begin + k * stride, 0), count - 1)
        dx, dy = x - points[first + step, 0], y - points[first + step, 1]
        distance = math.sqrt(dx * dx + dy * dy)
        if distance < best or (distance == best and step < best_step):
            best, best_step = distance, step
        k += max(1, int((distance - min(best, within)) * skip))
    return best_step


@compiled
def beside(points: Array, yaws: Array, at: int, x: float, y: float) -> tuple[float, float]:
    """How far along and to the left of a point of a path, by its direction there [m]."""
    dx, dy = x - points[at, 0], y - points[at, 1]
    cos, sin = math.cos(yaws[at]), math.sin(yaws[at])
    return cos * dx + sin * dy, cos * dy - sin * dx


@compiled
def locate(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, xy: Array, near: Array,
    behind: int, ahead: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Station, offset and nearest point of each row, see :meth:`simulation.paths.Paths.locate`."""
    rows = len(path)
    s, d = np.empty(rows), np.empty(rows)
    chosen = np.empty(rows, dtype=np.int64)
    for row in range(rows):
        p = path[row]
        begin = math.floor(near[row]) - behind
        step = nearest_step(
            points, first[p], count[p], begin, behind + ahead + 1, 1, behind, math.inf, xy[row, 0],
            xy[row, 1],
        )  # fmt: skip
        chosen[row] = first[p] + step
        onward, d[row] = beside(points, yaws, chosen[row], xy[row, 0], xy[row, 1])
        s[row] = step + onward
    return s, d, chosen


@compiled
def along(
    points: Array, yaws: Array, first: Array, count: Array, xy: Array, begin: Array,
    behind: int, ahead: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Stations and offsets of drives (states, rows), each sought near the one before."""
    states, rows = xy.shape[0], xy.shape[1]
    s, d = np.empty((states, rows)), np.empty((states, rows))
    for row in range(rows):
        near = begin[row]
        for state in range(states):
            x, y = xy[state, row, 0], xy[state, row, 1]
            step = nearest_step(
                points, first[row], count[row], math.floor(near) - behind,
                behind + ahead + 1, 1, behind, math.inf, x, y,
            )  # fmt: skip
            onward, d[state, row] = beside(points, yaws, first[row] + step, x, y)
            s[state, row] = near = step + onward
    return s, d


@compiled
def place(
    points: Array, yaws: Array, first: int, count: int, s: float
) -> tuple[float, float, float]:
    """Point and heading of one path at a station; beyond the ends straight on.

    Between two points it goes evenly, also where a corner brings them closer than 1 m: nothing jumps.
    """
    step = min(max(math.floor(min(s, count - 2.0)), 0), count - 1)
    at = first + step
    yaw, past = yaws[at], s - step
    heading = yaw + min(max(past, 0.0), 1.0) * wrapped(yaws[at + 1] - yaw)
    if past < 0.0 or past > 1.0:
        beyond = past - min(max(past, 0.0), 1.0)
        end = at + (1 if past > 1.0 else 0)
        x, y = points[end, 0] + beyond * math.cos(yaw), points[end, 1] + beyond * math.sin(yaw)
        return x, y, heading
    x = points[at, 0] + past * (points[at + 1, 0] - points[at, 0])
    y = points[at, 1] + past * (points[at + 1, 1] - points[at, 1])
    return x, y, heading


@compiled
def pose(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, s: Array
) -> tuple[Array, Array]:
    """Point and heading at a station; beyond the ends straight on."""
    rows = len(path)
    xy, heading = np.empty((rows, 2)), np.empty(rows)
    for row in range(rows):
        p = path[row]
        xy[row, 0], xy[row, 1], heading[row] = place(points, yaws, first[p], count[p], s[row])
    return xy, heading


STRIDE = 2  # [m] between the points of a path at which boxes ahead are sought


@compiled
def places_ahead(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, s: Array, xy: Array,
    reach: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Station, offset and nearest point of each row, sought on its path from a station on."""
    rows = len(path)
    where, d = np.empty(rows), np.empty(rows)
    chosen = np.empty(rows, dtype=np.int64)
    for row in range(rows):
        p, x, y = path[row], xy[row, 0], xy[row, 1]
        begin, many = math.floor(s[row]), reach // STRIDE + 1
        step = nearest_step(points, first[p], count[p], begin, many, STRIDE, 0, math.inf, x, y)
        chosen[row] = first[p] + step
        onward, d[row] = beside(points, yaws, chosen[row], x, y)
        where[row] = step + onward
    return where, d, chosen


@compiled
def leaders(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, s: Array, speed: Array,
    length: Array, width: Array, case: Array, agent: Array, xy: Array, yaw: Array,
    velocity: Array, size: Array, valid: Array, idm: Array, margin: float, look: float,
    reach: float,
) -> Array:  # fmt: skip
    """Greatest IDM interaction with anyone in the way, see :func:`simulation.following.leaders`.

    ``idm`` is gap, headway, acceleration and comfortable braking.
    """
    rows, agents = len(path), xy.shape[1]
    braking = np.zeros(rows)
    steps = int(reach) // STRIDE + 1
    for row in range(rows):
        p, c, v = path[row], case[row], speed[row]
        origin, last = first[p], count[p]
        far = min(look + 4.0 * max(v, 0.0), reach)
        begin = math.floor(s[row])
        step = min(max(math.floor(min(s[row], last - 2.0)), 0), last - 1)
        past, lane = s[row] - step, yaws[origin + step]
        ahead_x, ahead_y = math.cos(lane), math.sin(lane)
        here_x = points[origin + step, 0] + past * ahead_x
        here_y = points[origin + step, 1] + past * ahead_y
        # What the way ahead takes up, as seen from here: most others are nowhere near it.
        rear, front, right, left = math.inf, -math.inf, math.inf, -math.inf
        for k in range(steps):
            at = origin + min(max(begin + k * STRIDE, 0), last - 1)
            dx, dy = points[at, 0] - here_x, points[at, 1] - here_y
            onward, aside = ahead_x * dx + ahead_y * dy, ahead_x * dy - ahead_y * dx
            rear, front = min(rear, onward), max(front, onward)
            right, left = min(right, aside), max(left, aside)
        for other in range(agents):
            if other == agent[row] or not valid[c, other]:
                continue
            x, y = xy[c, other, 0], xy[c, other, 1]
            long, wide = size[c, other, 0], size[c, other, 1]
            dx, dy = x - here_x, y - here_y
            if dx * dx + dy * dy > (far + long) ** 2:
                continue
            # Whoever is farther off the path than this is not in the way, however it stands.
            room = width[row] / 2.0 + margin + (long + wide) / 2.0
            off = math.hypot(room, (long + wide) / 2.0 + STRIDE)
            onward, aside = ahead_x * dx + ahead_y * dy, ahead_x * dy - ahead_y * dx
            if onward < rear - off or onward > front + off:
                continue
            if aside < right - off or aside > left + off:
                continue
            guess = int(onward / STRIDE)
            found = nearest_step(points, origin, last, begin, steps, STRIDE, guess, off, x, y)
            at = origin + found
            lane = yaws[at]
            dx, dy = x - points[at, 0], y - points[at, 1]
            if dx * dx + dy * dy > off * off:
                continue
            cos, sin = math.cos(lane), math.sin(lane)
            onward, aside = cos * dx + sin * dy, cos * dy - sin * dx
            turn = yaw[c, other] - lane
            across, straight = abs(math.sin(turn)), abs(math.cos(turn))
            half_along = (straight * long + across * wide) / 2.0
            half_across = (across * long + straight * wide) / 2.0
            where = found + onward
            if where <= s[row] or abs(onward) > half_along + STRIDE:
                continue
            if abs(aside) >= width[row] / 2.0 + margin + half_across:
                continue
            gap = where - half_along - s[row] - length[row] / 2.0
            leading = velocity[c, other, 0] * cos + velocity[c, other, 1] * sin
            braking[row] = max(braking[row], pull(v, gap, leading, idm))
    return braking


@compiled
def separation(
    ax: float, ay: float, ayaw: float, along_a: float, across_a: float,
    bx: float, by: float, byaw: float, along_b: float, across_b: float,
) -> float:  # fmt: skip
    """Largest gap of two boxes over the four candidate axes; negative when they overlap [m]."""
    ca, sa, cb, sb = math.cos(ayaw), math.sin(ayaw), math.cos(byaw), math.sin(byaw)
    dx, dy = bx - ax, by - ay
    # |cos| and |sin| of the turn between the boxes project the half extents of one on the other's axes.
    c, s = abs(ca * cb + sa * sb), abs(ca * sb - sa * cb)
    gap = abs(ca * dx + sa * dy) - (along_a + c * along_b + s * across_b) / 2.0
    gap = max(gap, abs(ca * dy - sa * dx) - (across_a + s * along_b + c * across_b) / 2.0)
    gap = max(gap, abs(cb * dx + sb * dy) - (along_b + c * along_a + s * across_a) / 2.0)
    return max(gap, abs(cb * dy - sb * dx) - (across_b + s * along_a + c * across_a) / 2.0)


@compiled
def touching(xy: Array, yaw: Array, size: Array, valid: Array) -> Array:
    """Whether each agent's box overlaps that of agent 0 of its case."""
    cases, agents = valid.shape
    hit = np.zeros((cases, agents), dtype=np.bool_)
    for case in range(cases):
        if not valid[case, 0]:
            continue
        reach = math.hypot(size[case, 0, 0], size[case, 0, 1])
        for other in range(1, agents):
            if not valid[case, other]:
                continue
            dx, dy = xy[case, other, 0] - xy[case, 0, 0], xy[case, other, 1] - xy[case, 0, 1]
            both = (reach + math.hypot(size[case, other, 0], size[case, other, 1])) / 2.0
            if dx * dx + dy * dy >= both * both:
                continue
            hit[case, other] = (
                separation(
                    xy[case, 0, 0], xy[case, 0, 1], yaw[case, 0], size[case, 0, 0], size[case, 0, 1],
                    xy[case, other, 0], xy[case, other, 1], yaw[case, other], size[case, other, 0],
                    size[case, other, 1],
                ) < 0.0
            )  # fmt: skip
    return hit


@compiled
def contact_time(
    ax: float, ay: float, ayaw: float, along_a: float, across_a: float,
    bx: float, by: float, byaw: float, along_b: float, across_b: float, vx: float, vy: float,
) -> float:  # fmt: skip
    """When two boxes first touch, b moving at (vx, vy) as seen from a; ∞ if never, 0 if they overlap [s]."""
    dx, dy = bx - ax, by - ay
    c, s = abs(math.cos(byaw - ayaw)), abs(math.sin(byaw - ayaw))
    enter, leave = 0.0, math.inf
    for axis in range(4):
        yaw = ayaw if axis < 2 else byaw
        if axis == 0:
            half = (along_a + c * along_b + s * across_b) / 2.0
        elif axis == 1:
            half = (across_a + s * along_b + c * across_b) / 2.0
        elif axis == 2:
            half = (along_b + c * along_a + s * across_a) / 2.0
        else:
            half = (across_b + s * along_a + c * across_a) / 2.0
        cos, sin = math.cos(yaw), math.sin(yaw)
        if axis % 2 == 1:
            cos, sin = -sin, cos
        place, speed = cos * dx + sin * dy, cos * vx + sin * vy
        if abs(speed) < 1e-9:
            if abs(place) >= half:
                return math.inf
            continue
        one, two = (-half - place) / speed, (half - place) / speed
        enter, leave = max(enter, min(one, two)), min(leave, max(one, two))
    return enter if enter < leave and leave > 0.0 else math.inf


@compiled
def least_ttc(
    xy: Array, yaw: Array, velocity: Array, valid: Array, speed: Array, size: Array,
    contact: Array, rear: Array, in_lane: Array, begin: int, horizon: float, stopped: float,
    ahead: float, behind: float,
) -> Array:  # fmt: skip
    """Least time to collision of each case's ego, see :func:`simulation.scores.least_ttc`."""
    steps, cases, agents = valid.shape
    soonest = np.full(cases, horizon)
    for case in range(cases):
        own = math.hypot(size[case, 0, 0], size[case, 0, 1]) / 2.0
        for t in range(begin, steps):
            if not valid[t, case, 0] or abs(speed[t, case]) <= stopped:
                continue
            cos, sin = math.cos(yaw[t, case, 0]), math.sin(yaw[t, case, 0])
            for other in range(1, agents):
                if not valid[t, case, other]:
                    continue
                if contact[case, other] >= 0 and t >= contact[case, other]:
                    continue
                dx = xy[t, case, other, 0] - xy[t, case, 0, 0]
                dy = xy[t, case, other, 1] - xy[t, case, 0, 1]
                vx = velocity[t, case, other, 0] - velocity[t, case, 0, 0]
                vy = velocity[t, case, other, 1] - velocity[t, case, 0, 1]
                # What is not reached sooner than the least so far cannot lower it.
                reach = math.hypot(vx, vy) * soonest[case] + own
                reach += math.hypot(size[case, other, 0], size[case, other, 1]) / 2.0
                if dx * dx + dy * dy > reach * reach:
                    continue
                bearing = abs(math.atan2(cos * dy - sin * dx, cos * dx + sin * dy + rear[case]))
                if bearing > ahead and (in_lane[t, case] or bearing > behind):
                    continue
                touch = contact_time(
                    xy[t, case, 0, 0], xy[t, case, 0, 1], yaw[t, case, 0], size[case, 0, 0],
                    size[case, 0, 1], xy[t, case, other, 0], xy[t, case, other, 1],
                    yaw[t, case, other], size[case, other, 0], size[case, other, 1], vx, vy,
                )  # fmt: skip
                # Boxes that overlap without a counted contact did so at the start.
                if 0.0 < touch < soonest[case]:
                    soonest[case] = touch
    return soonest


@compiled
def corner_distance(
    ax: float, ay: float, ayaw: float, along_a: float, across_a: float,
    bx: float, by: float, byaw: float, along_b: float, across_b: float,
) -> float:  # fmt: skip
    """Least distance from a corner of a to the box b [m]."""
    ca, sa, cb, sb = math.cos(ayaw), math.sin(ayaw), math.cos(byaw), math.sin(byaw)
    least = math.inf
    for i in range(4):
        u = along_a / 2.0 if i % 2 == 0 else -along_a / 2.0
        w = across_a / 2.0 if i < 2 else -across_a / 2.0
        dx, dy = ax + ca * u - sa * w - bx, ay + sa * u + ca * w - by
        out_x = max(abs(cb * dx + sb * dy) - along_b / 2.0, 0.0)
        out_y = max(abs(cb * dy - sb * dx) - across_b / 2.0, 0.0)
        least = min(least, math.hypot(out_x, out_y))
    return least


@compiled
def least_gaps(
    xy: Array, yaw: Array, valid: Array, speed: Array, size: Array, wanted: Array, begin: int,
    stopped: float,
) -> Array:  # fmt: skip
    """Least clearance of each case's moving ego to the wanted agents; ∞ where none is there [m]."""
    steps, cases, agents = valid.shape
    best = np.full(cases, math.inf)
    for case in range(cases):
        own = math.hypot(size[case, 0, 0], size[case, 0, 1]) / 2.0
        for t in range(begin, steps):
            if not valid[t, case, 0] or abs(speed[t, case]) <= stopped:
                continue
            for other in range(1, agents):
                if not valid[t, case, other] or not wanted[case, other]:
                    continue
                ex, ey, eyaw = xy[t, case, 0, 0], xy[t, case, 0, 1], yaw[t, case, 0]
                ox, oy, oyaw = xy[t, case, other, 0], xy[t, case, other, 1], yaw[t, case, other]
                radius = own + math.hypot(size[case, other, 0], size[case, other, 1]) / 2.0
                apart = math.hypot(ox - ex, oy - ey)
                if apart - radius > best[case]:
                    continue
                el, ew = size[case, 0, 0], size[case, 0, 1]
                ol, ow = size[case, other, 0], size[case, other, 1]
                gap = min(
                    corner_distance(ex, ey, eyaw, el, ew, ox, oy, oyaw, ol, ow),
                    corner_distance(ox, oy, oyaw, ol, ow, ex, ey, eyaw, el, ew),
                )
                # Boxes may cross with no corner of either within the other.
                if gap > 0.0 and separation(ex, ey, eyaw, el, ew, ox, oy, oyaw, ol, ow) < 0.0:
                    gap = 0.0
                best[case] = min(best[case], gap)
    return best


@compiled
def slopes(value: Array, window: int, dt: float) -> tuple[Array, Array]:
    """First and second derivative of the parabola that fits best round each value (Savitzky, Golay 1964).

    At the ends, of the parabola through the first and last window: as ``scipy.signal.savgol_filter``
    does with ``mode="interp"``. There are at least as many values as the window takes.
    """
    many, half = len(value), window // 2
    square, fourth = 0.0, 0.0
    for i in range(-half, half + 1):
        square += i * i
        fourth += i * i * i * i
    spread = window * fourth - square * square
    first, second = np.empty(many), np.empty(many)
    tilt, curve = 0.0, 0.0
    for middle in range(half, many - half):
        total, tilt, bend = 0.0, 0.0, 0.0
        for i in range(-half, half + 1):
            y = value[middle + i]
            total += y
            tilt += i * y
            bend += i * i * y
        tilt, curve = tilt / square, (window * bend - square * total) / spread
        begin = 0 if middle == half else middle
        end = many if middle == many - 1 - half else middle + 1
        for at in range(begin, end):
            first[at] = (tilt + 2.0 * curve * (at - middle)) / dt
            second[at] = 2.0 * curve / (dt * dt)
    return first, second


@compiled
def line_distance(points: Array, line: Array) -> Array:
    """Distance of each point to a polyline of two points or more [m]."""
    made = np.full(len(points), math.inf)
    for i in range(len(points)):
        for k in range(len(line) - 1):
            dx, dy = line[k + 1, 0] - line[k, 0], line[k + 1, 1] - line[k, 1]
            px, py = points[i, 0] - line[k, 0], points[i, 1] - line[k, 1]
            share = share_along(px, py, dx, dy)
            made[i] = min(made[i], math.hypot(px - share * dx, py - share * dy))
    return made


@compiled
def thinned(xy: Array, seen: Array, least: float) -> Array:
    """The first seen step and each whose place is so far or farther from that of the one kept before [m]."""
    kept = np.empty(len(seen), dtype=np.int64)
    many = 0
    for step in seen:
        if many > 0 and math.hypot(
            xy[step, 0] - xy[kept[many - 1], 0], xy[step, 1] - xy[kept[many - 1], 1]
        ) < least:  # fmt: skip
            continue
        kept[many] = step
        many += 1
    return kept[:many].copy()


@compiled
def project(xy: Array, line: Array) -> tuple[Array, Array, Array]:
    """Frenet coordinates on the nearest segment of a line, as :func:`geometry.polylines.project`."""
    many = len(xy)
    s, d, heading = np.empty(many), np.empty(many), np.empty(many)
    for i in range(many):
        best, along = math.inf, 0.0
        for k in range(len(line) - 1):
            dx, dy = line[k + 1, 0] - line[k, 0], line[k + 1, 1] - line[k, 1]
            px, py = xy[i, 0] - line[k, 0], xy[i, 1] - line[k, 1]
            step = math.sqrt(dx * dx + dy * dy)
            length = max(step, 1e-9)
            on = min(max((px * dx + py * dy) / length, 0.0), length)
            off_x, off_y = px - on * dx / length, py - on * dy / length
            distance = math.sqrt(off_x * off_x + off_y * off_y)
            if distance < best:
                best, s[i] = distance, along + on
                side = dx * py - dy * px
                d[i] = distance if side >= 0.0 else -distance
                heading[i] = math.atan2(dy, dx)
            along += step
    return s, d, heading


@compiled
def nearest_segment(points: Array, start: Array, along: Array, stretch: float) -> Array:
    """Which segment lies nearest each point, the first of equals; heights, if any, count ``stretch`` times.

    The place on a segment is that nearest in plan.
    """
    dims = points.shape[1]
    chosen = np.zeros(len(points), dtype=np.int64)
    for i in range(len(points)):
        best = math.inf
        for k in range(len(start)):
            dx, dy = points[i, 0] - start[k, 0], points[i, 1] - start[k, 1]
            ax, ay = along[k, 0], along[k, 1]
            share = share_along(dx, dy, ax, ay)
            off_x, off_y = dx - share * ax, dy - share * ay
            distance = off_x * off_x + off_y * off_y
            if dims > 2 and distance < best:
                up = stretch * (points[i, 2] - start[k, 2] - share * along[k, 2])
                distance += up * up
            if distance < best:
                best, chosen[i] = distance, k
    return chosen


@compiled
def first_segment_ahead(points: Array, start: Array, along: Array) -> Array:
    """Which segment has each point nearest its start, what it is past that counting twice."""
    chosen = np.zeros(len(points), dtype=np.int64)
    for i in range(len(points)):
        best = math.inf
        for k in range(len(start)):
            dx, dy = points[i, 0] - start[k, 0], points[i, 1] - start[k, 1]
            ax, ay = along[k, 0], along[k, 1]
            share = share_along(dx, dy, ax, ay)
            off_x, off_y = dx + share * ax, dy + share * ay
            distance = off_x * off_x + off_y * off_y
            if distance < best:
                best, chosen[i] = distance, k
    return chosen

"""Loops over pairs of oriented boxes, compiled: row k of one array with row k of the other.

What they mean is told in :mod:`geometry.boxes` and :mod:`mining.criticality.crossing`. Boxes are rows (x, y, yaw,
length, width) as there; ``facing`` is the unit vector (cos yaw, sin yaw) of each.
"""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from geometry.compiled import compiled


@compiled
def _gap(a: Array, face_a: Array, b: Array, face_b: Array) -> float:
    """The largest gap over the four axes of two boxes; negative where none separates them [m]."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    # |cos| and |sin| of the turn between them project the half extents of one on the axes of the other.
    c = abs(face_a[0] * face_b[0] + face_a[1] * face_b[1])
    s = abs(face_a[0] * face_b[1] - face_a[1] * face_b[0])
    gap = abs(face_a[0] * dx + face_a[1] * dy) - (a[3] + c * b[3] + s * b[4]) / 2.0
    gap = max(gap, abs(face_a[0] * dy - face_a[1] * dx) - (a[4] + s * b[3] + c * b[4]) / 2.0)
    gap = max(gap, abs(face_b[0] * dx + face_b[1] * dy) - (b[3] + c * a[3] + s * a[4]) / 2.0)
    return max(gap, abs(face_b[0] * dy - face_b[1] * dx) - (b[4] + s * a[3] + c * a[4]) / 2.0)


@compiled
def _corner(box: Array, face: Array, k: int) -> tuple[float, float]:
    """Corner k counter-clockwise from the front left [m]."""
    ahead = box[3] / 2.0 if k == 0 or k == 3 else -box[3] / 2.0
    aside = box[4] / 2.0 if k < 2 else -box[4] / 2.0
    return (
        box[0] + face[0] * ahead - face[1] * aside,
        box[1] + face[1] * ahead + face[0] * aside,
    )


@compiled
def _clear(a: Array, face_a: Array, b: Array, face_b: Array) -> float:
    """Distance of the outlines: of disjoint boxes one nearest point is a corner [m]."""
    best, best_x, best_y = math.inf, 0.0, 0.0
    for turn in range(2):
        of, face_of, to, face_to = (a, face_a, b, face_b) if turn == 0 else (b, face_b, a, face_a)
        for k in range(4):
            x, y = _corner(of, face_of, k)
            x, y = x - to[0], y - to[1]
            out_x = max(abs(face_to[0] * x + face_to[1] * y) - to[3] / 2.0, 0.0)
            out_y = max(abs(face_to[0] * y - face_to[1] * x) - to[4] / 2.0, 0.0)
            square = out_x * out_x + out_y * out_y
            if square < best:
                best, best_x, best_y = square, out_x, out_y
    # Boxes may cross with no corner of either within the other, but not from afar.
    reach = (math.hypot(a[3], a[4]) + math.hypot(b[3], b[4])) / 2.0
    near = best > 0.0 and math.hypot(a[0] - b[0], a[1] - b[1]) <= reach
    if near and _gap(a, face_a, b, face_b) < 0.0:
        return 0.0
    return math.hypot(best_x, best_y)


@compiled
def _meets_at(
    a: Array, face_a: Array, b: Array, face_b: Array, moves_x: float, moves_y: float
) -> float:
    """When two boxes touch if b moves on so [m/s] as seen from a; ∞ if never [s]."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    c = abs(face_a[0] * face_b[0] + face_a[1] * face_b[1])
    s = abs(face_a[0] * face_b[1] - face_a[1] * face_b[0])
    enter, leave = -math.inf, math.inf
    for axis in range(4):
        face = face_a if axis < 2 else face_b
        if axis == 0:
            reach, x, y = (a[3] + c * b[3] + s * b[4]) / 2.0, face[0], face[1]
        elif axis == 1:
            reach, x, y = (a[4] + s * b[3] + c * b[4]) / 2.0, -face[1], face[0]
        elif axis == 2:
            reach, x, y = (b[3] + c * a[3] + s * a[4]) / 2.0, face[0], face[1]
        else:
            reach, x, y = (b[4] + s * a[3] + c * a[4]) / 2.0, -face[1], face[0]
        place, speed = dx * x + dy * y, moves_x * x + moves_y * y
        if abs(speed) <= 1e-9:
            if abs(place) > reach:
                return math.inf
            continue
        one, two = (-reach - place) / speed, (reach - place) / speed
        enter, leave = max(enter, min(one, two)), min(leave, max(one, two))
    return max(enter, 0.0) if enter <= leave and leave >= 0.0 else math.inf


@compiled
def separations(a: Array, face_a: Array, b: Array, face_b: Array) -> Array:
    """The largest gap over the four axes of each pair; negative where none separates them [m]."""
    made = np.empty(len(a))
    for k in range(len(a)):
        made[k] = _gap(a[k], face_a[k], b[k], face_b[k])
    return made


@compiled
def clearances(a: Array, face_a: Array, b: Array, face_b: Array) -> Array:
    """Distance between the outlines of each pair [m]."""
    made = np.empty(len(a))
    for k in range(len(a)):
        made[k] = _clear(a[k], face_a[k], b[k], face_b[k])
    return made


@compiled
def meetings(a: Array, face_a: Array, b: Array, face_b: Array, moves: Array) -> Array:
    """When each pair touches if b moves on so [m/s] as seen from a; ∞ if never [s]."""
    made = np.empty(len(a))
    for k in range(len(a)):
        made[k] = _meets_at(a[k], face_a[k], b[k], face_b[k], moves[k, 0], moves[k, 1])
    return made


@compiled
def encounters(
    a: Array, face_a: Array, b: Array, face_b: Array, velocity_a: Array, velocity_b: Array,
    within_s: float, alike_m: float,
) -> tuple[Array, Array]:  # fmt: skip
    """Least distance of each pair within a time, and when first; as near as ``alike_m`` is as near [m], [s]."""
    least, first = np.empty(len(a)), np.empty(len(a))
    distance, when = np.empty(18), np.empty(18)
    last_a, last_b = np.empty(5), np.empty(5)
    for k in range(len(a)):
        moves_x = velocity_b[k, 0] - velocity_a[k, 0]
        moves_y = velocity_b[k, 1] - velocity_a[k, 1]
        touch = _meets_at(a[k], face_a[k], b[k], face_b[k], moves_x, moves_y)
        if touch <= within_s:
            least[k], first[k] = 0.0, touch
            continue
        square = max(moves_x * moves_x + moves_y * moves_y, 1e-12)
        last_a[:], last_b[:] = a[k], b[k]
        for way in range(2):
            last_a[way] += velocity_a[k, way] * within_s
            last_b[way] += velocity_b[k, way] * within_s
        distance[16], when[16] = _clear(a[k], face_a[k], b[k], face_b[k]), 0.0
        distance[17], when[17] = _clear(last_a, face_a[k], last_b, face_b[k]), within_s
        for i in range(4):
            ax, ay = _corner(a[k], face_a[k], i)
            for j in range(4):
                bx, by = _corner(b[k], face_b[k], j)
                x, y = bx - ax, by - ay
                time = min(max(-(x * moves_x + y * moves_y) / square, 0.0), within_s)
                when[4 * i + j] = time
                distance[4 * i + j] = math.hypot(x + moves_x * time, y + moves_y * time)
        least[k] = distance.min()
        first[k] = within_s
        for i in range(18):
            if distance[i] <= least[k] + alike_m:
                first[k] = min(first[k], when[i])
    return least, first

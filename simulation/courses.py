"""From where a vehicle is onto a path and along it, without a jump: the lateral course.

A course begins with the offset d₀ and the turn ψ₀ that the vehicle has to its path; both fade by the
quintic of least jerk (Flash and Hogan 1985) in the progress τ from 0 to 1,

    d = d₀ (1 − q(τ)),   q = 10 τ³ − 15 τ⁴ + 6 τ⁵ .

Progress is a matter of distance, dτ = ds / L, so that nobody slides sideways who stands; but it never
takes less than the time T in which the lateral speed stays under 1.5 m/s and the lateral acceleration
under 1.5 m/s²: |d₀| max q′ ≤ 1.5 T and |d₀| max q″ ≤ 1.5 T².
"""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from simulation.kernels import compiled, nearest_step, place

LATERAL_SPEED = 1.5  # [m/s]
LATERAL_ACCELERATION = 1.5  # [m/s²]
SLOPE_MOST, BEND_MOST = 1.875, 10.0 / math.sqrt(3.0)  # greatest q′ and q″
REFINEMENTS = 8
CLOSENESS = (0.5, 2.0)  # bounds of 1 − κ d, beyond which a path bends too sharply for its offset


@compiled
def reached(
    points: Array, yaws: Array, first: int, count: int, near: float, x: float, y: float
) -> tuple[float, float, float]:
    """Station, offset to the left and heading there of a point beside a path: the inverse of a course.

    Args:
        points: Of the paths.
        yaws: Likewise.
        first: Of this path.
        count: Of its points.
        near: A station within a few metres [m].
        x: Of the point [m].
        y: Likewise.
    """
    s = near
    px, py, heading = place(points, yaws, first, count, s)
    for _ in range(REFINEMENTS):
        s += math.cos(heading) * (x - px) + math.sin(heading) * (y - py)
        px, py, heading = place(points, yaws, first, count, s)
    return s, math.cos(heading) * (y - py) - math.sin(heading) * (x - px), heading


@compiled
def begun(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, xy: Array
) -> tuple[Array, Array, Array]:
    """Stations, offsets and headings at which points lie beside their paths, from the nearest point on."""
    s, d, heading = np.empty(len(path)), np.empty(len(path)), np.empty(len(path))
    for row in range(len(path)):
        p, x, y = path[row], xy[row, 0], xy[row, 1]
        near = nearest_step(points, first[p], count[p], 0, count[p], 1, 0, math.inf, x, y)
        s[row], d[row], heading[row] = reached(
            points, yaws, first[p], count[p], float(near), x, y
        )  # fmt: skip
    return s, d, heading


@compiled
def least_time(offset: float) -> float:
    """Seconds that a course across so many metres takes at least."""
    across = abs(offset)
    return max(
        SLOPE_MOST * across / LATERAL_SPEED, math.sqrt(BEND_MOST * across / LATERAL_ACCELERATION)
    )


@compiled
def moved(
    s: Array, progress: Array, offset: Array, length: Array, curvature: Array, distance: Array,
    dt: float,
) -> tuple[Array, Array]:  # fmt: skip
    """Stations and progress after a distance has been driven [m].

    Args:
        s: Stations [m].
        progress: τ.
        offset: d₀ [m].
        length: L [m].
        curvature: Of the path there [1/m].
        distance: Driven in this step [m].
        dt: How long the step took [s].
    """
    rows = len(s)
    after, onward = np.empty(rows), np.empty(rows)
    for row in range(rows):
        tau = progress[row]
        d = offset[row] * (1.0 - tau * tau * tau * (10.0 - 15.0 * tau + 6.0 * tau * tau))
        shorter = min(max(1.0 - curvature[row] * d, CLOSENESS[0]), CLOSENESS[1])
        after[row] = s[row] + distance[row] / shorter
        fastest = dt / max(least_time(offset[row]), dt)
        onward[row] = min(tau + min(distance[row] / length[row], fastest), 1.0)
    return after, onward


@compiled
def placed(
    points: Array, yaws: Array, first: Array, count: Array, path: Array, s: Array, speed: Array,
    progress: Array, offset: Array, turn: Array, back: Array, length: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Centres, headings and velocities of vehicles on their courses; ``back`` says who drives backwards."""
    rows = len(path)
    xy, yaw, velocity = np.empty((rows, 2)), np.empty(rows), np.empty((rows, 2))
    for row in range(rows):
        p, tau = path[row], progress[row]
        x, y, heading = place(points, yaws, first[p], count[p], s[row])
        left = 1.0 - tau * tau * tau * (10.0 - 15.0 * tau + 6.0 * tau * tau)
        rate = 30.0 * tau * tau * (1.0 - tau) * (1.0 - tau)
        # Metres aside per metre ahead; with time as the bound the way is longer than L.
        along = max(length[row], speed[row] * least_time(offset[row]))
        slope = -offset[row] * rate / along
        cos, sin = math.cos(heading), math.sin(heading)
        xy[row, 0], xy[row, 1] = x - offset[row] * left * sin, y + offset[row] * left * cos
        yaw[row] = heading + math.atan(slope) + turn[row] * left + (math.pi if back[row] else 0.0)
        velocity[row, 0] = speed[row] * (cos - slope * sin)
        velocity[row, 1] = speed[row] * (sin + slope * cos)
    return xy, yaw, velocity

"""When a replayed agent begins to react: before it rams somebody who is not where the log had them.

Replay is truthful only as long as everyone does what the log says. Once the ego (or whoever reacts to
it) is more than a metre off its own log, a replayed agent looks 3 s ahead along its recorded poses: if
its box would overlap the other's, which goes straight on as it does now, and the other is before it,
not behind, it stops to replay. From there on it drives its recorded path by IDM and heeds signals, and
never goes back to its log: to catch up it would have to hurry or to jump.
"""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from simulation.kernels import compiled, separation

OFF_LOG_M = 1.0
HORIZON = 30  # steps
STRIDE = 2  # steps
MOVES_M = 0.5  # whoever goes less far in that time stands


@compiled
def off_log(xy: Array, valid: Array, logged: Array, seen: Array) -> Array:
    """Whether each agent is there, and not where the log has it."""
    cases, agents = valid.shape
    off = np.zeros((cases, agents), dtype=np.bool_)
    for c in range(cases):
        for j in range(agents):
            if valid[c, j]:
                dx, dy = xy[c, j, 0] - logged[c, j, 0], xy[c, j, 1] - logged[c, j, 1]
                off[c, j] = not seen[c, j] or dx * dx + dy * dy > OFF_LOG_M * OFF_LOG_M
    return off


@compiled
def would_ram(
    case: Array, agent: Array, step: int, log_xy: Array, log_yaw: Array, log_valid: Array, xy: Array,
    yaw: Array, velocity: Array, size: Array, off: Array, dt: float,
) -> Array:  # fmt: skip
    """Whether each replayed agent, going on by the log, drives into somebody who is off theirs.

    Args:
        case: Of each agent asked about.
        agent: Its place in the case.
        step: Now.
        log_xy: Everyone's logged centres at all steps [m].
        log_yaw: [rad].
        log_valid: Whether logged.
        xy: Where everyone is [m].
        yaw: [rad].
        velocity: [m/s].
        size: Length and width [m].
        off: Who is there, and not where the log has them.
        dt: Between steps [s].
    """
    rams = np.zeros(len(case), dtype=np.bool_)
    last = min(step + HORIZON, len(log_xy) - 1)
    for row in range(len(case)):
        c, me = case[row], agent[row]
        x, y = xy[c, me, 0], xy[c, me, 1]
        far = 0.0
        for t in range(step + STRIDE, last + 1, STRIDE):
            if log_valid[t, c, me]:
                far = max(far, math.hypot(log_xy[t, c, me, 0] - x, log_xy[t, c, me, 1] - y))
        if far < MOVES_M:
            continue
        long, wide = size[c, me, 0], size[c, me, 1]
        for other in range(off.shape[1]):
            if other == me or not off[c, other] or rams[row]:
                continue
            radius = (
                math.hypot(long, wide) + math.hypot(size[c, other, 0], size[c, other, 1])
            ) / 2.0
            ox, oy = xy[c, other, 0], xy[c, other, 1]
            vx, vy = velocity[c, other, 0], velocity[c, other, 1]
            reach = far + radius + math.hypot(vx, vy) * HORIZON * dt
            if (ox - x) * (ox - x) + (oy - y) * (oy - y) > reach * reach:
                continue
            for t in range(step + STRIDE, last + 1, STRIDE):
                if not log_valid[t, c, me]:
                    continue
                mx, my, myaw = log_xy[t, c, me, 0], log_xy[t, c, me, 1], log_yaw[t, c, me]
                dx = ox + vx * (t - step) * dt - mx
                dy = oy + vy * (t - step) * dt - my
                if dx * dx + dy * dy > radius * radius:
                    continue
                if math.cos(myaw) * dx + math.sin(myaw) * dy <= 0.0:
                    continue
                gap = separation(
                    mx, my, myaw, long, wide, mx + dx, my + dy, yaw[c, other], size[c, other, 0],
                    size[c, other, 1],
                )  # fmt: skip
                if gap < 0.0:
                    rams[row] = True
                    break
    return rams

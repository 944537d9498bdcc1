"""What a perception system on the ego reports of the true motion: in range, in sight, with noise.

Range and line of sight decide whether a row exists at all. The noise of a track is correlated over
time (a first-order autoregressive process), as that of tracked boxes is; white noise of the same
size would make speeds by differences useless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from simulation.kernels import compiled

RANGE_M = 80.0
SIGMA_XY_M = 0.035
SIGMA_YAW = np.deg2rad(0.5)
SIGMA_SIZE_M = 0.03
MEMORY = 0.92  # correlation of the noise from one step to the next
SIGHT_EVERY = 2  # steps between computations of the line of sight
SEES_OVER_M = 0.35  # an object this much lower than another does not hide it


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What stands between the truth and what the ego reports of it; it sees ``RANGE_M`` far anyway.

    Attributes:
        noise: Positions, headings and sizes are off, as a tracker's are.
        occlusion: Who is hidden behind others is not seen.
    """

    noise: bool = True
    occlusion: bool = True


USUAL = Senses()


def visible(
    boxes: Float[Array, "agents steps 5"],
    height: Float[Array, " agents"],
    present: Bool[Array, "agents steps"],
    ego: int,
) -> Bool[Array, "agents steps"]:
    """Whether each agent is within range of the ego and not hidden behind other boxes.

    An agent is in sight if the segment from the ego's centre to its own centre or to one of its
    corners crosses no other box that is high enough to hide it.

    Args:
        boxes: All agents, the ego among them.
        height: [m].
        present: Who is there when.
        ego: Index of the ego.
    """
    eye = boxes[ego, :, :2]
    distance = np.hypot(boxes[..., 0] - eye[None, :, 0], boxes[..., 1] - eye[None, :, 1])
    near = present & (distance <= RANGE_M)
    out = np.zeros_like(present)
    for step in range(0, boxes.shape[1], SIGHT_EVERY):
        index = np.flatnonzero(near[:, step])
        index = index[index != ego]
        seen = _in_sight(eye[step], boxes[index, step], height[index])
        out[index[seen], step : step + SIGHT_EVERY] = True
    return out & near


@compiled
def _in_sight(eye: Array, boxes: Array, height: Array) -> Array:
    """Slab test of the rays from the eye to five points of each box against all boxes."""
    count = len(boxes)
    seen = np.zeros(count, np.bool_)
    cos, sin = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])
    for i in range(count):
        for corner in range(5):
            x, y = boxes[i, 0], boxes[i, 1]
            if corner > 0:
                ahead = 0.45 * boxes[i, 3] * (1.0 if corner < 3 else -1.0)
                left = 0.45 * boxes[i, 4] * (1.0 if corner % 2 else -1.0)
                x, y = x + cos[i] * ahead - sin[i] * left, y + sin[i] * ahead + cos[i] * left
            x, y = x - eye[0], y - eye[1]
            free = True
            for j in range(count):
                if j == i or height[j] < height[i] - SEES_OVER_M:
                    continue
                # The ray in the frame of the blocker.
                sx, sy = eye[0] - boxes[j, 0], eye[1] - boxes[j, 1]
                near, far = _slab(
                    cos[j] * sx + sin[j] * sy, cos[j] * x + sin[j] * y, boxes[j, 3] / 2, 0.0, 1.0
                )
                near, far = _slab(
                    cos[j] * sy - sin[j] * sx, cos[j] * y - sin[j] * x, boxes[j, 4] / 2, near, far
                )
                if near < far:
                    free = False
                    break
            if free:
                seen[i] = True
                break
    return seen


@compiled
def _slab(start: float, ray: float, half: float, near: float, far: float) -> tuple[float, float]:
    """The part of a ray, from ``near`` to ``far``, that lies within ±half along one axis."""
    safe = 1e-9 if abs(ray) < 1e-9 else ray
    t0, t1 = (-half - start) / safe, (half - start) / safe
    return max(near, min(t0, t1)), min(far, max(t0, t1))


def tracking_noise(
    shape: tuple[int, int], rng: np.random.Generator
) -> Float[Array, "agents steps"]:
    """Stationary autoregressive noise of unit variance along the second axis."""
    fresh = rng.standard_normal(shape)
    out = np.empty(shape)
    out[:, 0] = fresh[:, 0]
    scale = float(np.sqrt(1.0 - MEMORY**2))
    _remember(out, fresh, scale)
    return out


@compiled
def _remember(out: Array, fresh: Array, scale: float) -> None:
    for row in range(out.shape[0]):
        for step in range(1, out.shape[1]):
            out[row, step] = MEMORY * out[row, step - 1] + scale * fresh[row, step]

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
from geometry.boxes import corners

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


def _in_sight(eye: Array, boxes: Array, height: Array) -> Array:
    """Slab test of the rays from the eye to five points of each box against all boxes."""
    if len(boxes) == 0:
        return np.zeros(0, dtype=bool)
    inner = boxes.copy()
    inner[:, 3:5] *= 0.9
    targets = np.concatenate([boxes[:, None, :2], corners(inner)], axis=1)
    cos, sin = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])
    start = eye - boxes[:, :2]
    origin = np.stack(
        [cos * start[:, 0] + sin * start[:, 1], cos * start[:, 1] - sin * start[:, 0]], -1
    )
    ray = targets - eye
    # Rays (target, point) in the frame of each blocker.
    rx = cos * ray[..., None, 0] + sin * ray[..., None, 1]
    ry = cos * ray[..., None, 1] - sin * ray[..., None, 0]
    near, far = np.zeros(rx.shape), np.ones(rx.shape)
    for start_k, ray_k, half in (
        (origin[:, 0], rx, boxes[:, 3] / 2),
        (origin[:, 1], ry, boxes[:, 4] / 2),
    ):
        safe = np.where(np.abs(ray_k) < 1e-9, 1e-9, ray_k)
        t0, t1 = (-half - start_k) / safe, (half - start_k) / safe
        near = np.maximum(near, np.minimum(t0, t1))
        far = np.minimum(far, np.maximum(t0, t1))
    hides = height[None, :] >= height[:, None] - SEES_OVER_M
    np.fill_diagonal(hides, False)
    blocked = (near < far) & hides[:, None, :]
    return np.asarray(~np.all(blocked.any(axis=2), axis=1))


def tracking_noise(
    shape: tuple[int, int], rng: np.random.Generator
) -> Float[Array, "agents steps"]:
    """Stationary autoregressive noise of unit variance along the second axis."""
    fresh = rng.standard_normal(shape)
    out = np.empty(shape)
    out[:, 0] = fresh[:, 0]
    scale = np.sqrt(1.0 - MEMORY**2)
    for step in range(1, shape[1]):
        out[:, step] = MEMORY * out[:, step - 1] + scale * fresh[:, step]
    return out

"""Motion of agents: derivatives of noisy tracks, the bicycle model, the unicycle roll-out."""

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import wrap
from geometry.arrays import Array


def derivative(
    value: Float[Array, "*batch steps"], valid: Bool[Array, "*batch steps"], *, dt: float
) -> tuple[Float[Array, "*batch steps"], Bool[Array, "*batch steps"]]:
    """Time derivative by central differences where both neighbours are valid, else one-sided.

    Args:
        value: Any quantity; angles must be unwrapped first.
        valid: Whether the step was observed.
        dt: Time between steps [s].

    Returns:
        The derivative per second, 0 where it is not known, and whether it is known.
    """
    rate = np.zeros_like(value)
    known = np.zeros_like(valid)
    if value.shape[-1] < 2:
        return rate, known
    step = np.diff(value, axis=-1) / dt
    pair = valid[..., 1:] & valid[..., :-1]
    rate[..., 1:] += np.where(pair, step, 0.0)
    rate[..., :-1] += np.where(pair, step, 0.0)
    count = np.zeros(value.shape)
    count[..., 1:] += pair
    count[..., :-1] += pair
    known = count > 0
    return np.where(known, rate / np.maximum(count, 1), 0.0).astype(value.dtype), known


def smooth(
    value: Float[Array, "*batch steps"], valid: Bool[Array, "*batch steps"], *, width: int = 5
) -> Float[Array, "*batch steps"]:
    """Mean over a window of valid neighbours, so that thresholds survive annotation noise."""
    kernel = np.ones(width)
    weight = np.apply_along_axis(np.convolve, -1, valid.astype(float), kernel, mode="same")
    total = np.apply_along_axis(np.convolve, -1, np.where(valid, value, 0.0), kernel, mode="same")
    # np.convolve(mode="same") returns the longer of the two, so short tracks are cut back.
    steps = value.shape[-1]
    start = max(0, (width - steps) // 2)
    weight, total = weight[..., start : start + steps], total[..., start : start + steps]
    return np.where(valid, total / np.maximum(weight, 1.0), 0.0).astype(value.dtype)


def unwrap_valid(
    yaw: Float[Array, "*batch steps"], valid: Bool[Array, "*batch steps"]
) -> Float[Array, "*batch steps"]:
    """Headings without jumps of 2π; where not valid, the last valid heading is held."""
    index = np.where(valid, np.arange(yaw.shape[-1]), 0)
    held = np.take_along_axis(yaw, np.maximum.accumulate(index, axis=-1), axis=-1)
    return np.unwrap(held, axis=-1)


def bicycle_step(
    state: Float[Array, "*batch 4"],
    acceleration: Float[Array, "*batch"],
    steering: Float[Array, "*batch"],
    *,
    wheelbase: Float[Array, "*batch"],
    dt: float,
) -> Float[Array, "*batch 4"]:
    """One step of the kinematic bicycle, referenced at the rear axle (Rajamani 2012, ch. 2.2).

    ẋ = v cos ψ, ẏ = v sin ψ, ψ̇ = v tan δ / L, v̇ = a, integrated at the step's mid-point; the
    speed does not pass through zero within a step.

    Args:
        state: (x, y, yaw, speed) [m, m, rad, m/s].
        acceleration: Along the heading [m/s²].
        steering: Angle δ of the front wheel, left positive [rad].
        wheelbase: L [m].
        dt: [s].

    Returns:
        The state ``dt`` later.
    """
    x, y, yaw, speed = (state[..., i] for i in range(4))
    next_speed = speed + acceleration * dt
    next_speed = np.where(speed >= 0.0, np.maximum(next_speed, 0.0), np.minimum(next_speed, 0.0))
    mean_speed = (speed + next_speed) / 2.0
    turn = mean_speed * np.tan(steering) / wheelbase * dt
    middle = yaw + turn / 2.0
    return np.stack(
        [
            x + mean_speed * np.cos(middle) * dt,
            y + mean_speed * np.sin(middle) * dt,
            wrap(np.asarray(yaw + turn)),
            next_speed,
        ],
        axis=-1,
    )


def unicycle_rollout(
    start: Float[Array, "*batch 4"],
    acceleration: Float[Array, "*batch steps"],
    yaw_rate: Float[Array, "*batch steps"],
    *,
    dt: float,
) -> Float[Array, "*batch steps 4"]:
    """States after each action, in closed form by cumulative sums (CTG's "parallel" roll-out).

    Args:
        start: (x, y, yaw, speed) before the first action [m, m, rad, m/s].
        acceleration: [m/s²]; the speed is held at or above 0.
        yaw_rate: [rad/s].
        dt: [s].

    Returns:
        (x, y, yaw, speed) at the end of each step.
    """
    speed = np.maximum(start[..., 3:4] + np.cumsum(acceleration, axis=-1) * dt, 0.0)
    yaw = start[..., 2:3] + np.cumsum(yaw_rate, axis=-1) * dt
    before = np.concatenate([start[..., 3:4], speed[..., :-1]], axis=-1)
    mean_speed = (before + speed) / 2.0
    middle = yaw - yaw_rate * dt / 2.0
    x = start[..., 0:1] + np.cumsum(mean_speed * np.cos(middle), axis=-1) * dt
    y = start[..., 1:2] + np.cumsum(mean_speed * np.sin(middle), axis=-1) * dt
    return np.stack([x, y, wrap(yaw), speed], axis=-1)

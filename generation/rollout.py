"""Actions to states, differentiable: the unicycle in closed form by cumulative sums.

The same equations as :func:`geometry.kinematics.unicycle_rollout`, on tensors; CTG measured the
closed form to be four times faster than the loop over time.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generation.features import ACTION_SCALE, STEP


def rollout(
    start: Float[Tensor, "*batch 4"],
    actions: Float[Tensor, "*batch steps 2"],
    *,
    dt: float = STEP,
) -> Float[Tensor, "*batch steps 4"]:
    """States after each action.

    Args:
        start: x, y, yaw, speed before the first action [m, m, rad, m/s].
        actions: In units of :data:`~generation.features.ACTION_SCALE`.
        dt: Between steps [s].

    Returns:
        x, y, yaw (not wrapped), speed (held at or above 0) at the end of each step.
    """
    acceleration = actions[..., 0] * float(ACTION_SCALE[0])
    yaw_rate = actions[..., 1] * float(ACTION_SCALE[1])
    speed = torch.relu(start[..., 3:4] + torch.cumsum(acceleration, -1) * dt)
    yaw = start[..., 2:3] + torch.cumsum(yaw_rate, -1) * dt
    before = torch.cat([start[..., 3:4], speed[..., :-1]], -1)
    distance = (before + speed) / 2.0 * dt
    middle = yaw - yaw_rate * dt / 2.0
    x = start[..., 0:1] + torch.cumsum(distance * torch.cos(middle), -1)
    y = start[..., 1:2] + torch.cumsum(distance * torch.sin(middle), -1)
    return torch.stack([x, y, yaw, speed], -1)

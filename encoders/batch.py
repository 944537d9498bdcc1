"""Windows as tensors: moved to a device, cut to what the batch holds, jittered for training."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from encoders.features import Features, State
from geometry.arrays import Array

XY = slice(State.X, State.COS)
HEADING = slice(State.COS, State.VX)
VELOCITY = slice(State.VX, State.VY + 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The arrays of :class:`~encoders.features.Features` that a network reads, as tensors.

    Attributes:
        state: See :class:`~encoders.features.State`; zero where not valid.
        valid: Whether the agent was observed at the step.
        cls: Code of its class.
        size: (length, width, height) [m].
        ego: Whether it is the ego.
        road: Points of each piece [m].
        road_kind: Code of its kind.
        road_facts: Speed limit [m/s] or 0, whether known, whether within an intersection.
        road_valid: False for padding.
        light: Code of the state of each patch.
        light_pose: x, y, cos, sin [m, 1].
        light_valid: False for padding.
    """

    state: Float[Tensor, "windows agents steps 6"]
    valid: Bool[Tensor, "windows agents steps"]
    cls: Int[Tensor, "windows agents"]
    size: Float[Tensor, "windows agents 3"]
    ego: Bool[Tensor, "windows agents"]
    road: Float[Tensor, "windows polylines points 2"]
    road_kind: Int[Tensor, "windows polylines"]
    road_facts: Float[Tensor, "windows polylines 3"]
    road_valid: Bool[Tensor, "windows polylines"]
    light: Int[Tensor, "windows signals patches"]
    light_pose: Float[Tensor, "windows signals 4"]
    light_valid: Bool[Tensor, "windows signals"]


def batch_of(features: Features, *, device: torch.device | str = "cpu") -> Batch:
    """Tensors of the windows, without agents, roads and signals that are padding in all."""
    cuts = {
        "agents": _last(np.asarray(features.valid.any(axis=2))),
        "polylines": _last(features.road_valid),
        "signals": _last(features.light_valid),
    }
    axis = {"road": "polylines", "ligh": "signals"}
    made = {}
    for field in fields(Batch):
        array = getattr(features, field.name)[:, : cuts[axis.get(field.name[:4], "agents")]]
        if array.dtype == np.int8:
            array = array.astype(np.int64)
        made[field.name] = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    return Batch(**made)


def jittered(batch: Batch, *, yaw: float, shift: float, generator: torch.Generator) -> Batch:
    """The batch in frames turned and moved a little; never mirrored, for traffic has sides.

    Args:
        batch: Windows in the frame of their focus.
        yaw: Greatest turn either way [rad].
        shift: Greatest move along either axis [m].
        generator: Of the draws.
    """
    windows = batch.state.shape[0]
    device = batch.state.device
    draw = torch.rand(windows, 3, generator=generator).to(device) * 2.0 - 1.0
    angle, move = draw[:, 0] * yaw, draw[:, 1:] * shift
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1)
    turn = turn.view(windows, 2, 2)

    def rotate(vectors: Tensor) -> Tensor:
        return torch.einsum("wij,w...j->w...i", turn, vectors)

    def place(points: Tensor) -> Tensor:
        return rotate(points) + move.view(windows, *(1,) * (points.dim() - 2), 2)

    state = torch.cat(
        [
            place(batch.state[..., XY]),
            rotate(batch.state[..., HEADING]),
            rotate(batch.state[..., VELOCITY]),
        ],
        dim=-1,
    )
    return replace(
        batch,
        state=torch.where(batch.valid[..., None], state, 0.0),
        road=place(batch.road),
        light_pose=torch.cat(
            [place(batch.light_pose[..., :2]), rotate(batch.light_pose[..., 2:])], dim=-1
        ),
    )


def thinned(batch: Batch, *, agents: int, polylines: int, generator: torch.Generator) -> Batch:
    """The batch with at most so many agents and road pieces a window.

    The focus stays; the others are drawn at random, padding last.
    """
    present = batch.valid.any(dim=-1)
    first = torch.zeros_like(present)
    first[:, :1] = True
    kept = _draw(present, first, agents, generator)
    row = torch.arange(len(kept), device=kept.device)[:, None]
    pieces = _draw(batch.road_valid, torch.zeros_like(batch.road_valid), polylines, generator)
    of_agents = ("state", "valid", "cls", "size", "ego")
    of_roads = ("road", "road_kind", "road_facts", "road_valid")
    return replace(
        batch,
        **{name: getattr(batch, name)[row, kept] for name in of_agents},
        **{name: getattr(batch, name)[row, pieces] for name in of_roads},
    )


def _draw(present: Tensor, sure: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Columns drawn in each row, in their order: sure ones, then present ones, then padding."""
    lot = torch.rand(present.shape, generator=generator).to(present.device)
    lot = lot + 1.0 * ~present - 2.0 * sure
    return lot.argsort(dim=1)[:, :count].sort(dim=1).values


def _last(present: Array) -> int:
    """One more than the last column that any row has."""
    used = np.flatnonzero(present.any(axis=0))
    return int(used[-1]) + 1 if len(used) else 0

"""What is hidden from the encoder in training: a mixture of masks for tracks, roads, signals.

Tracks, one kind drawn per window (after Forecast-MAE, BehaviorFM and JointMotion):

- ``patches``: each patch of 1 s is hidden with probability 0.6;
- ``halves``: of each agent either the first or the second half of the window is hidden;
- ``agents``: a quarter of the agents are hidden throughout, but at least one of several.

Road pieces are hidden with probability 0.5, signal patches with 0.6, but in half of the windows none
of either is: at inference nothing is masked, and a network that has only ever seen half of a map is
the worse for seeing all of it (measured: masked tracks were told 40 % less well).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from encoders.batch import Batch
from encoders.features import PATCH_STEPS, PATCHES

KINDS = ("patches", "halves", "agents")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingConfig:
    """How much is hidden, as probabilities.

    Attributes:
        kinds: Weights of ``patches``, ``halves`` and ``agents`` among windows.
        patches: Of a patch, in windows of that kind.
        agents: Of an agent, in windows of that kind.
        road: Of a road piece.
        lights: Of a patch of a signal.
        open: Of a window, that its road and signals all stay visible.
    """

    kinds: tuple[float, ...] = (1.0, 1.0, 0.5)
    patches: float = 0.6
    agents: float = 0.25
    road: float = 0.5
    lights: float = 0.6
    open: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masks:
    """What is hidden.

    Attributes:
        tracks: Patches of agents.
        road: Road pieces.
        lights: Patches of signals.
    """

    tracks: Bool[Tensor, "windows agents patches"]
    road: Bool[Tensor, "windows polylines"]
    lights: Bool[Tensor, "windows signals patches"]

    def visible_steps(self, batch: Batch) -> Bool[Tensor, "windows agents steps"]:
        """Steps that were observed and are not hidden."""
        return batch.valid & ~self.tracks.repeat_interleave(PATCH_STEPS, dim=-1)


def nothing(batch: Batch) -> Masks:
    """Hide nothing: what inference uses."""
    windows, agents = batch.cls.shape
    device = batch.cls.device
    return Masks(
        tracks=torch.zeros(windows, agents, PATCHES, dtype=torch.bool, device=device),
        road=torch.zeros_like(batch.road_valid),
        lights=torch.zeros_like(batch.light, dtype=torch.bool),
    )


def draw(batch: Batch, config: MaskingConfig, *, generator: torch.Generator) -> Masks:
    """One draw of the mixture for every window."""
    windows = batch.cls.shape[0]
    weights = torch.tensor(config.kinds)
    kind = torch.multinomial(weights, windows, replacement=True, generator=generator)
    kind = kind.to(batch.cls.device)
    choices = torch.stack([tracks(batch, name, config, generator=generator) for name in KINDS])
    chosen = choices[kind, torch.arange(windows, device=kind.device)]
    shut = ~_chance(batch.road_valid.new_zeros(windows, 1), config.open, generator)
    return Masks(
        tracks=chosen,
        road=_chance(batch.road_valid, config.road, generator) & shut,
        lights=_chance(batch.light, config.lights, generator) & shut[..., None],
    )


def tracks(
    batch: Batch, kind: str, config: MaskingConfig, *, generator: torch.Generator
) -> Bool[Tensor, "windows agents patches"]:
    """Patches hidden by one kind of mask."""
    windows, agents = batch.cls.shape
    shape = torch.zeros(windows, agents, PATCHES, device=batch.cls.device)
    if kind == "patches":
        return _chance(shape, config.patches, generator)
    if kind == "halves":
        first = _chance(shape[..., :1], 0.5, generator)
        early = torch.arange(PATCHES, device=shape.device) < PATCHES // 2
        return early == first
    assert kind == "agents", kind
    present = batch.valid.any(dim=-1)
    lot = torch.rand(windows, agents, generator=generator).to(shape.device)
    lot = lot.masked_fill(~present, torch.inf)
    rank = lot.argsort(dim=1, stable=True).argsort(dim=1)
    count = present.sum(dim=1, keepdim=True)
    hidden = (count * config.agents).round().clamp(min=1).minimum(count - 1)
    return (rank < hidden)[..., None].expand(windows, agents, PATCHES)


def _chance(like: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator).to(like.device) < probability

"""What the encoder is trained to do: say what was masked, and tell scenes apart as a whole.

    loss = w_t Huber(tracks) + w_r Huber(roads) + w_s CE(signals) + w_b BarlowTwins(motion, place)

each mean over what was masked and observed alone. Plain reconstruction never supervises pooled
tokens; the last term does: over the batch, the pooled motion of a scene should agree with its own
pooled surroundings, and its features should not repeat each other (JointMotion, arXiv 2403.05489;
Zbontar et al. 2021, equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from encoders.batch import XY, Batch
from encoders.extrapolate import Guess
from encoders.features import POINTS
from encoders.masking import Masks
from encoders.model import ROAD_SCALE_M, Reconstruction
from schemas.labels import LightState


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the parts.

    Attributes:
        tracks: Of the Huber loss of positions.
        road: Of the Huber loss of road points.
        lights: Of the cross entropy of signal states.
        barlow: Of the Barlow Twins term.
        redundancy: Of that term's off-diagonal part.
        huber: Error from which the track loss grows linearly, in units of the guess's scale.
    """

    tracks: float = 1.0
    road: float = 0.35
    lights: float = 0.25
    barlow: float = 0.01
    redundancy: float = 0.005
    huber: float = 1.0


def hidden_steps(batch: Batch, masks: Masks, guess: Guess) -> Bool[Tensor, "windows agents steps"]:
    """Steps that count: observed, masked, and not given away as a hint."""
    return batch.valid & ~masks.visible_steps(batch) & ~guess.hint


def track_loss(
    answer: Reconstruction, batch: Batch, guess: Guess, hidden: Tensor, *, huber: float
) -> Float[Tensor, ""]:
    """Huber loss of positions at hidden steps, in units of how far kinematics commonly errs.

    Without the units, an agent that is hidden throughout, whose speed nobody can know, would
    outweigh everything that can be learnt.
    """
    scale = guess.scale[..., None]
    error = functional.huber_loss(
        answer.xy / scale, batch.state[..., XY] / scale, reduction="none", delta=huber
    )
    return _mean_where(error.sum(dim=-1), hidden)


def road_loss(answer: Reconstruction, batch: Batch, masks: Masks) -> Float[Tensor, ""]:
    """Huber loss of masked pieces' points round their middle, in tens of metres."""
    middle = batch.road[..., POINTS // 2, None, :]
    error = functional.huber_loss(
        answer.road / ROAD_SCALE_M, (batch.road - middle) / ROAD_SCALE_M, reduction="none"
    )
    return _mean_where(error.sum(dim=-1).mean(dim=-1), masks.road & batch.road_valid)


def light_loss(answer: Reconstruction, batch: Batch, masks: Masks) -> Float[Tensor, ""]:
    """Cross entropy of masked patches whose state is known."""
    wanted = masks.lights & batch.light_valid[..., None] & (batch.light != LightState.UNKNOWN)
    error = functional.cross_entropy(
        answer.light.flatten(0, 2), batch.light.flatten(), reduction="none"
    )
    return _mean_where(error.view_as(wanted), wanted)


def barlow_twins(
    a: Float[Tensor, "samples width"], b: Float[Tensor, "samples width"], *, redundancy: float
) -> Float[Tensor, ""]:
    """How far the cross-correlation of two views is from the identity, over the batch."""
    if len(a) < 2:
        return a.new_zeros(())
    a, b = (functional.batch_norm(x, None, None, training=True) for x in (a, b))
    correlation = a.T @ b / len(a)
    own = correlation.diagonal()
    others = correlation.pow(2).sum() - own.pow(2).sum()
    return (1.0 - own).pow(2).sum() + redundancy * others


def _mean_where(values: Tensor, wanted: Tensor) -> Tensor:
    weight = wanted.to(values.dtype)
    return (torch.where(wanted, values, 0.0)).sum() / weight.sum().clamp(min=1.0)

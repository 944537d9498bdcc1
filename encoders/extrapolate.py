"""Where hidden steps of a track would be by kinematics alone, from the visible ones.

These are the baselines of masked reconstruction, and the last is what the network's own answer is
told relative to. With p and n the visible steps last before and first after a hidden step t, and
τ = (t − p) / (n − p):

- constant velocity: x(t) = x(p) + (t − p) v(p), backwards from n where there is no p;
- linear interpolation: x(t) = (1 − τ) x(p) + τ x(n); where one of them is missing, the other's x;
- Hermite: the cubic through x(p), v(p), x(n), v(n); where one is missing, constant velocity.

An agent that is hidden throughout has neither. All methods are then told one *hint*: where it was
first observed and which way it pointed, not how fast it went; and all answer that it stays there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from encoders.batch import HEADING, VELOCITY, XY
from schemas.scene import DT

SCALE_M = 0.2
"""Common error of a guess at a visible step, which is the noise of the tracks [m]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guess:
    """A state for every step of every agent, from the visible steps alone.

    Attributes:
        xy: [m].
        heading: (cos, sin).
        speed: At the visible step that it starts from, 0 where there is none [m/s].
        before: Time since the visible step before; 0 where there is none [s].
        after: Time until the visible step after; 0 where there is none [s].
        has_before: Whether there is one before.
        has_after: Whether there is one after.
        hint: The one step of a wholly hidden agent that is given away.
        scale: How far off such a guess commonly is [m].
    """

    xy: Float[Tensor, "windows agents steps 2"]
    heading: Float[Tensor, "windows agents steps 2"]
    speed: Float[Tensor, "windows agents steps"]
    before: Float[Tensor, "windows agents steps"]
    after: Float[Tensor, "windows agents steps"]
    has_before: Bool[Tensor, "windows agents steps"]
    has_after: Bool[Tensor, "windows agents steps"]
    hint: Bool[Tensor, "windows agents steps"]
    scale: Float[Tensor, "windows agents steps"]


def hermite(
    state: Float[Tensor, "windows agents steps 6"],
    valid: Bool[Tensor, "windows agents steps"],
    visible: Bool[Tensor, "windows agents steps"],
) -> Guess:
    """The cubic between visible steps, constant velocity beyond them.

    Args:
        state: See :class:`~encoders.features.State`; read only where visible, or at the hint.
        valid: Whether the agent was observed at the step.
        visible: Whether the step may be read; implies valid.
    """
    near = _neighbours(state, valid, visible)
    gap = (near.after + near.before).clamp(min=DT)[..., None]
    tau = near.before[..., None] / gap
    slope_p, slope_n = near.previous[..., VELOCITY] * gap, near.next[..., VELOCITY] * gap
    cubic = (
        (1 + 2 * tau) * (1 - tau) ** 2 * near.previous[..., XY]
        + tau * (1 - tau) ** 2 * slope_p
        + tau**2 * (3 - 2 * tau) * near.next[..., XY]
        + tau**2 * (tau - 1) * slope_n
    )
    both = (near.has_before & near.has_after)[..., None]
    blend = (1 - tau) * near.previous[..., HEADING] + tau * near.next[..., HEADING]
    single = torch.where(
        near.has_before[..., None], near.previous[..., HEADING], near.next[..., HEADING]
    )
    heading = torch.where(both, blend, single)
    length = heading.norm(dim=-1, keepdim=True)
    # Opposite headings blend to nothing; the one before is then as good as any.
    heading = torch.where(length > 1e-3, heading / length.clamp(min=1e-3), single)
    start = torch.where(near.has_before[..., None], near.previous, near.next)
    return Guess(
        xy=torch.where(both, cubic, near.ballistic()),
        heading=heading,
        speed=start[..., VELOCITY].norm(dim=-1),
        before=near.before,
        after=near.after,
        has_before=near.has_before & ~near.hinted,
        has_after=near.has_after & ~near.hinted,
        hint=near.hint,
        scale=_scale(near),
    )


def constant_velocity(
    state: Float[Tensor, "windows agents steps 6"],
    valid: Bool[Tensor, "windows agents steps"],
    visible: Bool[Tensor, "windows agents steps"],
) -> Float[Tensor, "windows agents steps 2"]:
    """Straight on from the visible step before, else back from the one after [m]."""
    return _neighbours(state, valid, visible).ballistic()


def linear(
    state: Float[Tensor, "windows agents steps 6"],
    valid: Bool[Tensor, "windows agents steps"],
    visible: Bool[Tensor, "windows agents steps"],
) -> Float[Tensor, "windows agents steps 2"]:
    """Straight between visible steps; beyond them, the nearest is held [m]."""
    near = _neighbours(state, valid, visible)
    tau = (near.before / (near.after + near.before).clamp(min=DT))[..., None]
    between = (1 - tau) * near.previous[..., XY] + tau * near.next[..., XY]
    held = torch.where(near.has_before[..., None], near.previous[..., XY], near.next[..., XY])
    return torch.where((near.has_before & near.has_after)[..., None], between, held)


def _scale(near: _Neighbours) -> Tensor:
    """How far off a guess commonly is [m].

    It grows with the square of the gap between two visible steps, nearly so beyond one (an
    unforeseen 1 m/s² is 12 m after 5 s), and by several m/s from a mere hint.
    """
    between = SCALE_M + 0.1 * torch.minimum(near.before, near.after) ** 2
    gap = torch.where(near.has_before, near.before, near.after)
    beyond = SCALE_M + 0.4 * gap**1.5
    hinted = SCALE_M + 4.0 * gap
    one_sided = torch.where(near.hinted, hinted, beyond)
    return torch.where(near.has_before & near.has_after & ~near.hinted, between, one_sided)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Neighbours:
    """The visible states on either side of each step (its own, where it is visible)."""

    previous: Tensor
    next: Tensor
    before: Tensor
    after: Tensor
    has_before: Tensor
    has_after: Tensor
    hint: Tensor
    hinted: Tensor

    def ballistic(self) -> Tensor:
        forth = self.previous[..., XY] + self.before[..., None] * self.previous[..., VELOCITY]
        back = self.next[..., XY] - self.after[..., None] * self.next[..., VELOCITY]
        return torch.where(self.has_before[..., None], forth, back)


def _neighbours(state: Tensor, valid: Tensor, visible: Tensor) -> _Neighbours:
    steps = torch.arange(state.shape[2], device=state.device)
    unseen = valid.any(dim=-1, keepdim=True) & ~visible.any(dim=-1, keepdim=True)
    first = (valid.cumsum(dim=-1) == 1) & valid
    hint = first & unseen
    given = visible | hint
    known = torch.where(given[..., None], state, 0.0)
    known = torch.cat(
        [known[..., : VELOCITY.start], known[..., VELOCITY].masked_fill(hint[..., None], 0.0)],
        dim=-1,
    )
    p = torch.where(given, steps, -1).cummax(dim=-1).values
    after_last = state.shape[2]
    n = torch.where(given, steps, after_last).flip(-1).cummin(dim=-1).values.flip(-1)
    has_before, has_after = p >= 0, n < after_last
    p, n = p.clamp(min=0), n.clamp(max=after_last - 1)

    def pick(index: Int[Tensor, "windows agents steps"]) -> Tensor:
        return known.gather(2, index[..., None].expand(*index.shape, state.shape[-1]))

    return _Neighbours(
        previous=pick(p),
        next=pick(n),
        before=torch.where(has_before, (steps - p) * DT, 0.0),
        after=torch.where(has_after, (n - steps) * DT, 0.0),
        has_before=has_before,
        has_after=has_after,
        hint=hint,
        hinted=unseen.expand_as(valid),
    )

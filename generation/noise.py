"""The noise schedule: how much of the data is left at each time of the diffusion.

Variance preserving, x_t = α_t·x₀ + σ_t·ε with α = cos(πt/2), σ = sin(πt/2) for t in [0, 1]
(Nichol & Dhariwal 2021, continuous). λ = log(α/σ) is half the log signal-to-noise ratio.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

LAST = 0.994
"""Where sampling begins: 1 itself holds no signal, and λ would not be finite."""
FIRST = 0.02
"""The last time above 0 that a sampler visits."""


def alpha_sigma(t: Float[Tensor, "*batch"]) -> tuple[Tensor, Tensor]:
    """Share of data and of noise at time ``t``."""
    angle = t * (math.pi / 2.0)
    return torch.cos(angle), torch.sin(angle)


def add_noise(
    x0: Float[Tensor, "batch *shape"],
    noise: Float[Tensor, "batch *shape"],
    t: Float[Tensor, " batch"],
) -> Float[Tensor, "batch *shape"]:
    """x_t = α_t·x₀ + σ_t·ε."""
    alpha, sigma = (c.reshape(-1, *[1] * (x0.dim() - 1)) for c in alpha_sigma(t))
    return alpha * x0 + sigma * noise


def log_snr(t: float) -> float:
    """λ(t) = log(α/σ)."""
    return -math.log(math.tan(t * math.pi / 2.0))


def times(steps: int, *, begin: float = LAST) -> list[float]:
    """Times from ``begin`` down to 0, evenly spaced in λ but for the last, which is 0.

    Args:
        steps: How many evaluations of the denoiser.
        begin: Where to begin; below :data:`LAST` for partial diffusion (γ of SAFE-SIM).
    """
    begin = min(max(begin, 2.0 * FIRST), LAST)
    high, low = log_snr(FIRST), log_snr(begin)
    spaced = [low + (high - low) * k / max(steps - 1, 1) for k in range(steps)]
    return [2.0 / math.pi * math.atan(math.exp(-lam)) for lam in spaced] + [0.0]

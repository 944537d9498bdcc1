"""DPM-Solver++(2M): a deterministic sampler of second order (Lu et al. 2022, algorithm 2).

It knows neither the network nor the guidance: ``denoise`` answers the clean estimate x̂₀ for a
noisy x and a time, and may be anything that does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from generation.noise import alpha_sigma, log_snr

Denoise = Callable[[Tensor, float], Tensor]


def sample(
    denoise: Denoise, x: Float[Tensor, "*shape"], times: Sequence[float]
) -> Float[Tensor, "*shape"]:
    """Follow the probability flow from the first of the times to the last.

    Args:
        denoise: (x_t, t) to x̂₀.
        x: At ``times[0]``.
        times: Descending; where the last is 0 the final step answers the clean estimate.
    """
    last_estimate: Tensor | None = None
    last_step = 0.0
    for t, t_next in pairwise(times):
        estimate = denoise(x, t)
        if t_next <= 0.0:  # λ is infinite at 0, so the last step is of first order
            return estimate
        step = log_snr(t_next) - log_snr(t)
        slope = estimate
        if last_estimate is not None:
            ratio = last_step / step
            slope = estimate + (estimate - last_estimate) / (2.0 * ratio)
        (_, sigma), (alpha_next, sigma_next) = (
            (float(c) for c in alpha_sigma(torch.tensor(s, dtype=torch.float64)))
            for s in (t, t_next)
        )
        x = (sigma_next / sigma) * x - alpha_next * math.expm1(-step) * slope
        last_estimate, last_step = estimate, step
    return x


def seeded_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """One draw of noise a seed, so that a sample does not depend on the batch it was drawn in."""
    return torch.stack(
        [torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )

"""What everyone may do next: futures drawn jointly from the present, unguided and without goals.

For closed loop, where a future is drawn again and again while others move otherwise than they did
in the log. A draw is the same whatever else is drawn: contexts of one call are denoised together, so
one call a scene, in one thread; and actions are rounded, so that the last bits of a sum mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generation.denoiser import Denoiser, Inputs
from generation.features import AGENTS, FUTURE, Context
from generation.noise import times
from generation.sampler import sample, seeded_noise
from geometry.arrays import Array

DECIMALS = 3
"""Of an action, in units of :data:`~generation.features.ACTION_SCALE`."""


def forecast(
    denoiser: Denoiser, contexts: Sequence[Context], seeds: Sequence[int], *, steps: int = 6
) -> Float[Array, "contexts agents future 2"]:
    """One joint future of each context, as actions.

    Args:
        denoiser: Trained.
        contexts: What is given.
        seeds: Of the noise of each.
        steps: Evaluations of the denoiser.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            scene = denoiser.encode(Inputs.of(contexts))
            known = torch.zeros((len(contexts), AGENTS, FUTURE), dtype=torch.bool)

            def denoise(x: Tensor, t: float) -> Tensor:
                answer: Tensor = denoiser(x, torch.full((len(x),), t), scene, known)[-1]
                return answer

            noise = seeded_noise((AGENTS, FUTURE, 2), seeds)
            actions = sample(denoise, noise, times(steps)).numpy().astype(np.float64)
    finally:
        torch.set_num_threads(threads)
    return np.asarray(np.round(actions, DECIMALS))

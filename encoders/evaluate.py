"""Masked reconstruction of tracks on windows that were held out, beside its baselines.

For each kind of mask, the mean distance (ADE) between the answer and the truth over the same
hidden steps for every method: observed, masked, and not the hint of a wholly hidden agent. Only
tracks are masked here; roads and signals stay visible. Baselines: the kinematics of
:mod:`encoders.extrapolate`, and the network as it was before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from encoders.batch import XY, Batch, batch_of
from encoders.extrapolate import constant_velocity, hermite, linear
from encoders.features import Features
from encoders.losses import hidden_steps
from encoders.masking import KINDS, MaskingConfig, nothing, tracks
from encoders.model import SceneEncoder

METHODS = ("constant velocity", "linear interpolation", "kinematic guess", "untrained", "trained")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One line of the table.

    Attributes:
        mask: Kind of mask.
        steps: Hidden steps that were scored.
        ade_m: Mean distance from the truth by method [m].
    """

    mask: str
    steps: int
    ade_m: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionReport:
    """Masked reconstruction beside its baselines."""

    scores: Sequence[Score]

    def table(self) -> str:
        """For people, in Markdown."""
        methods = list(self.scores[0].ade_m)
        lines = [f"| mask | steps | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
        for score in self.scores:
            cells = " | ".join(f"{score.ade_m[m]:.3f}" for m in methods)
            lines.append(f"| {score.mask} | {score.steps} | {cells} |")
        return "\n".join(lines)


def evaluate(
    net: SceneEncoder,
    features: Features,
    *,
    masking: MaskingConfig | None = None,
    baselines: bool = True,
    windows: int = 32,
    seed: int = 0,
) -> ReconstructionReport:
    """Score a network on windows that it was not trained on.

    Args:
        net: The trained network.
        features: Held-out windows.
        masking: How much is hidden.
        baselines: Whether to score the other methods too.
        windows: How many at a time.
        seed: Of masks, and of the untrained network.
    """
    masking = masking or MaskingConfig()
    device = next(net.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = SceneEncoder(net.config).to(device).eval()
    was_training = net.training
    net.eval()
    scores = []
    for kind in KINDS:
        generator = torch.Generator().manual_seed(seed)
        total, steps = dict.fromkeys(METHODS, 0.0), 0
        for begin in range(0, len(features), windows):
            chosen = np.arange(begin, min(begin + windows, len(features)))
            batch = batch_of(features.take(chosen), device=device)
            answers, hidden = _answers(
                batch, kind, masking, generator, net, untrained if baselines else None
            )
            steps += int(hidden.sum())
            for method, xy in answers.items():
                away = (xy - batch.state[..., XY]).norm(dim=-1)
                total[method] += float(away[hidden].double().sum())
        ade = {m: t / max(steps, 1) for m, t in total.items() if baselines or m == "trained"}
        scores.append(Score(mask=kind, steps=steps, ade_m=ade))
    net.train(was_training)
    return ReconstructionReport(scores=scores)


@torch.no_grad()
def _answers(
    batch: Batch,
    kind: str,
    masking: MaskingConfig,
    generator: torch.Generator,
    net: SceneEncoder,
    untrained: SceneEncoder | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Positions by method, and which steps were hidden from all of them."""
    masks = replace(nothing(batch), tracks=tracks(batch, kind, masking, generator=generator))
    visible = masks.visible_steps(batch)
    seen = torch.where(visible[..., None], batch.state, 0.0)
    guess = hermite(batch.state, batch.valid, visible)
    seen = torch.where(guess.hint[..., None], batch.state, seen)
    hidden_batch = replace(batch, state=seen)  # nobody is shown what is hidden
    answers = {"trained": net.reconstruct(hidden_batch, net.encode(hidden_batch, masks), guess).xy}
    if untrained is not None:
        tokens = untrained.encode(hidden_batch, masks)
        answers |= {
            "constant velocity": constant_velocity(seen, batch.valid, visible),
            "linear interpolation": linear(seen, batch.valid, visible),
            "kinematic guess": guess.xy,
            "untrained": untrained.reconstruct(hidden_batch, tokens, guess).xy,
        }
    return answers, hidden_steps(batch, masks, guess)

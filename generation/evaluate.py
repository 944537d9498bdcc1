"""How good the generator is as a model of traffic, beside the floor and the ceiling.

Samples of held-out examples are held against what happened: displacement, collisions among the
agents, driving off the lanes. Constant velocity is the floor, an untrained network shows what
training is worth, and the log itself is the ceiling (its rates are not 0: lanes end, boxes touch).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generation.checkpoint import Generator
from generation.denoiser import Denoiser
from generation.features import AGENTS, FUTURE
from generation.noise import times
from generation.rollout import rollout
from generation.sampler import sample, seeded_noise
from generation.train import inputs_of
from geometry.arrays import Array
from geometry.boxes import overlap
from schemas.labels import AgentClass

OFF_LANE_M = 3.0
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One row of the table.

    Attributes:
        name: Who.
        ade: Mean displacement from the log over observed steps and samples [m].
        min_ade: The same of the best sample of each agent [m].
        collisions: Share of agents that touch another one at some step.
        off_lane: Share of vehicle steps farther than 3 m from every lane.
    """

    name: str
    ade: float
    min_ade: float
    collisions: float
    off_lane: float


def evaluate(
    examples: dict[str, Array],
    generator: Generator,
    *,
    samples: int = 6,
    steps: int = 10,
    limit: int = 128,
    seed: int = 0,
    untrained: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """Score the generator on held-out examples.

    Args:
        examples: As :func:`~generation.train.as_arrays` gives them.
        generator: To be scored.
        samples: Futures sampled of each.
        steps: Evaluations of the denoiser for each.
        limit: How many examples are used, evenly spaced.
        seed: Of the noise.
        untrained: Whether to score a network with fresh weights too.
        progress: Called with rows done and in all.
    """
    count = len(examples["start"])
    rows = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(np.int64))
    held = {name: array[rows] for name, array in examples.items()}
    batch = {name: torch.as_tensor(array) for name, array in held.items()}
    still = torch.zeros(len(rows), 1, AGENTS, FUTURE, 2)
    runs: list[tuple[str, Callable[[], Tensor]]] = [
        ("log", lambda: batch["states"][:, None]),
        ("constant velocity", lambda: rollout(batch["start"][:, None], still)),
    ]
    if untrained:
        torch.manual_seed(seed)
        fresh = Denoiser(generator.denoiser.config).eval()
        runs.append(("untrained", lambda: _sampled(fresh, batch, samples, steps, seed)))
    trained = generator.denoiser
    runs.append((generator.name, lambda: _sampled(trained, batch, samples, steps, seed)))
    scores = []
    for number, (name, futures) in enumerate(runs):
        scores.append(_score(name, futures().numpy(), held))
        if progress is not None:
            progress(number + 1, len(runs))
    return scores


def _sampled(
    denoiser: Denoiser, batch: dict[str, Tensor], samples: int, steps: int, seed: int
) -> Tensor:
    """Rolled-out samples: (examples, samples, agents, future, 4)."""
    parts = []
    schedule = times(steps)
    with torch.no_grad():
        for begin in range(0, len(batch["start"]), BATCH):
            some = {k: v[begin : begin + BATCH] for k, v in batch.items()}
            scene = denoiser.encode(
                inputs_of(some | {"has_goal": torch.zeros_like(some["has_goal"])})
            )
            known = torch.zeros_like(some["observed"])

            def denoise(x: Tensor, t: float) -> Tensor:
                answer: Tensor = denoiser(x, torch.full((len(x),), t), scene, known)[-1]  # noqa: B023
                return answer

            made = []
            for k in range(samples):
                seeds = [seed + 1000 * k + begin + row for row in range(len(some["start"]))]
                noise = seeded_noise((AGENTS, FUTURE, 2), seeds)
                made.append(rollout(some["start"], sample(denoise, noise, schedule)))
            parts.append(torch.stack(made, 1))
    return torch.cat(parts)


def _score(name: str, futures: Array, held: dict[str, Array]) -> Score:
    observed: Array = held["observed"] & held["present"][..., None]
    counts = observed.sum(-1)
    error = np.linalg.norm(futures[..., :2] - held["states"][:, None, ..., :2], axis=-1)
    each = (error * observed[:, None]).sum(-1) / np.maximum(counts, 1)[:, None]
    seen = counts > 0
    return Score(
        name=name,
        ade=float(each.mean(1)[seen].mean()),
        min_ade=float(each.min(1)[seen].mean()),
        collisions=_collisions(futures, held, observed),
        off_lane=_off_lane(futures, held, observed),
    )


def _collisions(futures: Array, held: dict[str, Array], observed: Array) -> float:
    size = np.broadcast_to(held["size"][:, None, :, None], (*futures.shape[:-1], 2))
    boxes = np.concatenate([futures[..., :3], size], axis=-1).astype(np.float64)
    hit = np.zeros(futures.shape[:3], dtype=bool)
    for a in range(AGENTS):
        for b in range(a + 1, AGENTS):
            both: Array = observed[:, None, a] & observed[:, None, b]
            near = np.linalg.norm(boxes[:, :, a, :, :2] - boxes[:, :, b, :, :2], axis=-1) < 20.0
            touch = (overlap(boxes[:, :, a], boxes[:, :, b]) & both & near).any(-1)
            hit[:, :, a] |= touch
            hit[:, :, b] |= touch
    there = np.broadcast_to(np.asarray(observed.any(-1))[:, None], hit.shape)
    return float(hit[there].mean())


def _off_lane(futures: Array, held: dict[str, Array], observed: Array) -> float:
    vehicles = np.isin(held["kind"], [AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS])
    off = total = 0.0
    for row in range(len(futures)):
        lanes = held["line"][row][held["line_there"][row] & (held["line_kind"][row] <= 2)]
        mask = observed[row] & vehicles[row][:, None]
        if not len(lanes) or not mask.any():
            continue
        points = lanes[..., :2].reshape(-1, 2)
        # Agents that the log itself takes beyond the lanes that were kept tell nothing.
        far: Array = _nearest(held["states"][row], points) > OFF_LANE_M
        usable = mask & ~np.asarray(far.any(-1))[:, None]
        distance = _nearest(futures[row], points)
        off += float(((distance > OFF_LANE_M) & usable).sum())
        total += float(usable.sum() * len(futures[row]))
    return off / max(total, 1.0)


def _nearest(states: Array, points: Array) -> Array:
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(points).query(states[..., :2])
    return np.asarray(distance)

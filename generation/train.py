"""Training of the denoiser: noise the actions, ask for the clean ones, compare what they lead to.

Loss: smooth L1 on the rolled-out positions, headings and speeds, plus the squared error of the
actions, where the log tells. In a share of the examples some tokens are given clean (in-painting),
so that one network predicts, completes a scene round a known plan, and edits; in a share the map,
the neighbours or the goals are withheld, so that it can do without them.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from generation.checkpoint import save_generator
from generation.denoiser import Denoiser, DenoiserConfig, Inputs
from generation.features import (
    AGENTS,
    FUTURE,
    Context,
    Example,
    Future,
    Pieces,
    example_of,
    starts_of,
)
from generation.noise import FIRST, LAST, add_noise
from generation.rollout import rollout
from geometry.arrays import Array
from schemas.errors import BadSetting, MissingData
from schemas.labels import VEHICLES
from schemas.scene import Scene

if TYPE_CHECKING:
    from lake import Lake

EXAMPLE_FIELDS = [f.name for f in fields(Context)] + [f.name for f in fields(Future)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How the generator is trained.

    Attributes:
        denoiser: Size of the network.
        steps: Of the optimiser.
        batch: Examples a step.
        learning_rate: At its peak, after ``warmup`` steps; then a cosine down to a twentieth.
        warmup: Steps of linear rise.
        weight_decay: Of AdamW.
        ema: Decay of the running mean of the weights, which is what is saved.
        action_weight: Of the squared error of actions, beside that of states.
        in_painting: Share of examples in which some tokens are given clean.
        no_map: Share without map; ``no_others``: seen alone; ``no_goal``: agents without goal.
        no_others: See ``no_map``.
        no_goal: See ``no_map``.
        viewpoints: Agents of a scene in whose frame examples are told, at most.
        every: Dense steps between the starts of examples.
        save_every: Steps between checkpoints to resume from.
        seed: Of every random choice.
    """

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    steps: int = 4000
    batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    ema: float = 0.998
    action_weight: float = 1.0
    in_painting: float = 0.5
    no_map: float = 0.1
    no_others: float = 0.1
    no_goal: float = 0.7
    viewpoints: int = 2
    every: int = 20
    save_every: int = 500
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What training came to.

    Attributes:
        examples: How many were trained on.
        steps: Steps taken, over all runs that were resumed.
        loss: Mean over the last hundred steps.
        seconds: Of this run.
        path: Of the weights.
    """

    examples: int
    steps: int
    loss: float
    seconds: float
    path: str


def train_generator(
    source: Lake | Path,
    config: TrainConfig,
    out: str | Path,
    *,
    command: str = "scenelake train generator",
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train on a lake's scenes, or on a folder of examples that :func:`save_examples` wrote.

    A run that was stopped continues from ``<out>.resume`` if its configuration is the same, and
    ends with the same weights as one that was not.

    Args:
        source: Lake of logs, or folder with ``*.npz``.
        config: Sizes and rates.
        out: The weights' file.
        command: What to tell in the metadata.
        progress: Called with steps done and steps in all.

    Raises:
        MissingData: There is nothing to train on.
    """
    examples = (
        load_examples(source)
        if isinstance(source, Path)
        else as_arrays(examples_of(source.scenes(source.scene_ids("source = 'log'")), config))
    )
    return fit(examples, config, out, command=command, progress=progress)


def fit(
    examples: dict[str, Array],
    config: TrainConfig,
    out: str | Path,
    *,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train on examples as arrays, see :func:`train_generator`."""
    count = len(examples["start"])
    began = time.monotonic()
    torch.manual_seed(config.seed)
    denoiser = Denoiser(config.denoiser)
    mean = Denoiser(config.denoiser)
    mean.load_state_dict(denoiser.state_dict())
    optimiser = torch.optim.AdamW(
        denoiser.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    resume = Path(f"{out}.resume")
    begin = _resumed(resume, config, denoiser, mean, optimiser)
    losses: list[float] = []
    for step in range(begin, config.steps):
        # All randomness of a step is a function of seed and step, so that resuming changes nothing.
        random = np.random.default_rng([config.seed, step])
        noise = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        rows = np.sort(random.choice(count, size=min(config.batch, count), replace=False))
        batch = {name: torch.as_tensor(array[rows]) for name, array in examples.items()}
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _rate(step, config)
        loss = _loss(denoiser, batch, config, random, noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimiser.step()
        decay = min(config.ema, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for kept, new in zip(mean.parameters(), denoiser.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(step + 1, config.steps)
        if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
            _save_resume(resume, config, step + 1, denoiser, mean, optimiser)
    final = float(np.mean(losses[-100:])) if losses else float("nan")
    save_generator(
        out, mean,
        metadata={
            "config": dataclasses.asdict(config), "command": command, "examples": str(count),
            "steps": str(config.steps), "loss": f"{final:.4f}", "torch": str(torch.__version__),
        },
    )  # fmt: skip
    resume.unlink(missing_ok=True)
    return TrainReport(
        examples=count, steps=config.steps, loss=final, seconds=time.monotonic() - began,
        path=str(out),
    )  # fmt: skip


def examples_of(scenes: Iterable[Scene], config: TrainConfig) -> Iterator[Example]:
    """Examples of many scenes: every so many steps, as the ego and a few other vehicles see it."""
    vehicles = [int(cls) for cls in VEHICLES]
    for scene in scenes:
        pieces = Pieces.of(scene.map)
        tracks = scene.tracks
        for start in starts_of(scene, every=config.every):
            movers = np.isin(tracks.cls, vehicles) & tracks.valid[:, start]
            seen = tracks.valid[:, start : start + 80].sum(axis=1) * movers
            order = [int(row) for row in np.argsort(-seen, kind="stable") if seen[row] >= 20]
            first = [0] if scene.has_ego and tracks.valid[0, start] else []
            centres = first + [row for row in order if row not in first]
            for centre in centres[: config.viewpoints]:
                example = example_of(scene, start, centre=centre, pieces=pieces)
                if example.future.observed[:, :5].any():
                    yield example


def as_arrays(examples: Iterable[Example]) -> dict[str, Array]:
    """Examples as one array a field.

    Raises:
        MissingData: There are none.
    """
    columns: dict[str, list[Array]] = {name: [] for name in EXAMPLE_FIELDS}
    for example in examples:
        for part in (example.context, example.future):
            for column in fields(part):
                columns[column.name].append(getattr(part, column.name))
    if not columns["start"]:
        raise MissingData(
            "There is nothing to train the generator on: no scene has 2 s of future.",
            hint="Ingest logs first.",
        )
    return {name: np.stack(rows) for name, rows in columns.items()}


def save_examples(path: Path, examples: dict[str, Array]) -> None:
    """Write examples as one compressed ``.npz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **examples)


def load_examples(folder: Path) -> dict[str, Array]:
    """All examples of a folder of ``.npz`` files (or of one file).

    Raises:
        MissingData: There are none.
    """
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else [folder]
    parts = []
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            parts.append({name: arrays[name] for name in EXAMPLE_FIELDS})
    if not parts:
        raise MissingData(f"{folder} holds no .npz of examples.")
    return {name: np.concatenate([part[name] for part in parts]) for name in EXAMPLE_FIELDS}


def inputs_of(batch: dict[str, Tensor]) -> Inputs:
    """The context of a batch of examples."""
    return Inputs(**{f.name: batch[f.name] for f in fields(Inputs)})


def _loss(
    denoiser: Denoiser, batch: dict[str, Tensor], config: TrainConfig,
    random: np.random.Generator, noise: torch.Generator,
) -> Tensor:  # fmt: skip
    count = len(batch["start"])
    batch = dict(batch)
    withheld = torch.as_tensor(random.random((3, count)))
    batch["line_there"] = batch["line_there"] & (withheld[0] >= config.no_map)[:, None]
    alone = withheld[1] < config.no_others
    batch["present"] = batch["present"] & ~(alone[:, None] & (torch.arange(AGENTS) > 0))
    goal = torch.as_tensor(random.random((count, AGENTS)) >= config.no_goal)
    batch["has_goal"] = batch["has_goal"] & goal
    observed = batch["observed"] & batch["present"][..., None]
    known = _in_painted(count, config.in_painting, random) & observed
    x0 = batch["actions"]
    eps = torch.randn(x0.shape, generator=noise)
    t = FIRST / 2 + (LAST - FIRST / 2) * torch.rand(count, generator=noise)
    x = torch.where(known[..., None], x0, add_noise(x0, eps, t))
    estimates = denoiser(x, t, denoiser.encode(inputs_of(batch)), known)
    counts = (observed & ~known).to(x0.dtype)
    total = counts.sum().clamp(min=1.0)
    loss = torch.zeros(())
    for weight, estimate in zip(_depth_weights(len(estimates)), estimates, strict=True):
        states = rollout(batch["start"], estimate)
        truth = batch["states"]
        position = nn.functional.smooth_l1_loss(
            states[..., :2], truth[..., :2], reduction="none"
        ).sum(-1)
        turn = states[..., 2] - truth[..., 2]
        heading = 2.0 * (1.0 - torch.cos(turn))
        speed = nn.functional.smooth_l1_loss(states[..., 3], truth[..., 3], reduction="none")
        action = (estimate - x0).square().sum(-1)
        each = 0.3 * position + 2.0 * heading + 0.3 * speed + config.action_weight * action
        loss = loss + weight * (each * counts).sum() / total
    return loss


def _depth_weights(layers: int) -> list[float]:
    """The last estimate counts fully, earlier ones a fifth together."""
    return [0.2 / max(layers - 1, 1)] * (layers - 1) + [1.0]


def _in_painted(count: int, share: float, random: np.random.Generator) -> Tensor:
    """Known tokens: none, the centre's plan, some agents' plans, or the first steps of all."""
    known = np.zeros((count, AGENTS, FUTURE), dtype=bool)
    for row in range(count):
        if random.random() >= share:
            continue
        kind = random.integers(3)
        if kind == 0:
            known[row, 0] = True
        elif kind == 1:
            known[row, random.random(AGENTS) < random.uniform(0.2, 0.8)] = True
        else:
            known[row, :, : random.integers(1, FUTURE // 2)] = True
    return torch.as_tensor(known)


def _rate(step: int, config: TrainConfig) -> float:
    rise = min(1.0, (step + 1) / config.warmup)
    share = max(0.0, (step - config.warmup) / max(config.steps - config.warmup, 1))
    return float(rise * (0.05 + 0.95 * 0.5 * (1.0 + np.cos(np.pi * share))))


def _save_resume(
    path: Path, config: TrainConfig, step: int, denoiser: Denoiser, mean: Denoiser,
    optimiser: torch.optim.Optimizer,
) -> None:  # fmt: skip
    tensors = {f"now.{k}": v for k, v in denoiser.state_dict().items()}
    tensors |= {f"mean.{k}": v for k, v in mean.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    told = {"step": str(step), "config": json.dumps(dataclasses.asdict(config))}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(f"{path}.part")
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, str(part), metadata=told)
    part.replace(path)


def _resumed(
    path: Path, config: TrainConfig, denoiser: Denoiser, mean: Denoiser,
    optimiser: torch.optim.Optimizer,
) -> int:  # fmt: skip
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        told = file.metadata() or {}
    if json.loads(told["config"]) != json.loads(json.dumps(dataclasses.asdict(config))):
        raise BadSetting(
            f"{path} is of a training run with another configuration.",
            hint="Delete it to begin anew, or train with the configuration that it was begun with.",
        )
    tensors = load_file(str(path))
    denoiser.load_state_dict(
        {k.removeprefix("now."): v for k, v in tensors.items() if k.startswith("now.")}
    )
    mean.load_state_dict(
        {k.removeprefix("mean."): v for k, v in tensors.items() if k.startswith("mean.")}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return int(told["step"])


__all__ = [
    "TrainConfig", "TrainReport", "as_arrays", "examples_of", "fit", "inputs_of",
    "load_examples", "save_examples", "train_generator",
]  # fmt: skip

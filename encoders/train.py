"""Train the scene encoder: resumable, repeatable, on a laptop's CPU or on a GPU.

    python -m encoders.train --features DIR --out FILE [--config FILE.toml]

Every random draw of a step (masks, jitter, skipped blocks) comes from the seed and the number of
the step alone, and the order of an epoch from the seed and the epoch. So a run that was stopped
and goes on ends in the same weights as one that was not. The state between is safetensors too.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.batch import Batch, batch_of, jittered, thinned
from encoders.config import EncoderConfig, TrainingConfig
from encoders.evaluate import evaluate
from encoders.extrapolate import hermite
from encoders.features import Features, batches, load, save, stack
from encoders.losses import barlow_twins, hidden_steps, light_loss, road_loss, track_loss
from encoders.masking import draw, nothing
from encoders.model import SceneEncoder, whitening
from encoders.weights import save_encoder
from geometry.arrays import Array
from schemas import config as settings
from schemas.errors import MissingData

if TYPE_CHECKING:
    from lake import Lake

logger = logging.getLogger(__name__)

GLIMPSE = 96
"""Held-out windows that are scored after each epoch, at most; all are at the end."""
FIT_TRACKS = 50_000
"""Tracks that the readout of tracks is fitted to, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How one epoch went.

    Attributes:
        epoch: From 1.
        epochs: How many there will be.
        loss: Mean over its steps.
        ade_m: Error of masked tracks on held-out windows by kind of mask [m].
        wall_s: Since this process began to train [s].
    """

    epoch: int
    epochs: int
    loss: float
    ade_m: dict[str, float]
    wall_s: float

    def line(self) -> str:
        """For people."""
        errors = ", ".join(f"{kind} {ade:.3f} m" for kind, ade in self.ade_m.items())
        return (
            f"epoch {self.epoch}/{self.epochs}  loss {self.loss:.4f}  "
            f"held out: {errors}  ({self.wall_s:.0f} s)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training made.

    Attributes:
        out: File of the weights.
        train: Windows that were learnt from.
        validation: Windows that were held out.
        data: Hash of all of them.
        history: Every epoch, those of earlier processes included.
    """

    out: Path
    train: int
    validation: int
    data: str
    history: list[Epoch]


def train(
    features: Features | Path,
    config: EncoderConfig,
    out: Path,
    *,
    command: str = "encoders.train.train",
    device: torch.device | str | None = None,
    progress: Callable[[Epoch], None] | None = None,
    epochs: int | None = None,
) -> TrainReport:
    """Train to the end, going on from where an earlier run with these settings stopped.

    Args:
        features: Windows, or the ``.npz`` file or folder that holds them.
        config: All settings.
        out: File of the weights; the state of an unfinished run stands beside it.
        command: That repeats the training; kept with the weights.
        device: A GPU where there is one, if not given.
        progress: Called after every epoch.
        epochs: Stop after so many of this process, leaving the state to go on from.

    Raises:
        MissingData: There are no windows.
    """
    if isinstance(features, Path):
        features = load(features, config.features)
    if len(features) == 0:
        raise MissingData("There is nothing to train on.", hint="Ingest logs with tracks first.")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    learn, held_out = split(features, share=config.training.validation)
    glimpse = held_out.take(np.unique(np.linspace(0, len(held_out) - 1, GLIMPSE).round()))
    data = digest(features)
    with torch.random.fork_rng(devices=[]):
        run = _Run(config, out, data, steps=len(_order(learn, config.training, 0)), device=device)
        began, stop = time.monotonic(), run.epoch + (epochs or config.training.epochs)
        while run.epoch < min(stop, config.training.epochs):
            losses = [
                run.step(learn, chosen) for chosen in _order(learn, config.training, run.epoch)
            ]
            scores = evaluate(run.net, glimpse, masking=config.masking, baselines=False).scores
            run.finish_epoch(
                Epoch(
                    epoch=run.epoch + 1,
                    epochs=config.training.epochs,
                    loss=float(np.mean(losses)),
                    ade_m={score.mask: score.ade_m["trained"] for score in scores},
                    wall_s=time.monotonic() - began,
                )
            )
            if progress is not None:
                progress(run.history[-1])
        if run.epoch >= config.training.epochs:
            fit_readouts(run.net, learn, windows=config.training.batch, seed=config.training.seed)
            save_encoder(
                run.net,
                out,
                features=config.features,
                command=command,
                data=data,
                figures=run.history[-1].ade_m if run.history else {},
            )
            run.state.unlink(missing_ok=True)
    return TrainReport(
        out=out, train=len(learn), validation=len(held_out), data=data, history=run.history
    )


def train_encoder(
    lake: Lake,
    config: EncoderConfig,
    out: Path,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> TrainReport:
    """Train on the logged scenes of a lake."""
    ids = lake.scene_ids(where="source = 'log'")
    groups = batches(lake.scenes(ids), config.features, windows=64, others=config.training.others)
    features = stack((part for _, part in groups), config.features)
    with lake.run(
        "train encoder", params=dataclasses.asdict(config), seed=config.training.seed
    ) as run:
        report = train(features, config, out, command="scenelake train encoder", progress=progress)
        run.summary.update(windows=report.train, data=report.data, out=str(out))
    return report


def split(features: Features, *, share: float) -> tuple[Features, Features]:
    """Windows to learn from and windows to hold out, no log in both.

    Logs are ordered by a hash of their id. A single log cannot be split: it is then both.
    """
    logs = np.unique(features.log_id)
    if len(logs) < 2:
        return features, features
    hashes = [hashlib.sha256(str(int(log)).encode()).hexdigest() for log in logs]
    order = np.argsort(hashes)
    held = logs[order[: max(round(share * len(logs)), 1)]]
    is_held = np.isin(features.log_id, held)
    return features.take(np.flatnonzero(~is_held)), features.take(np.flatnonzero(is_held))


def digest(features: Features) -> str:
    """SHA-256 of all arrays."""
    total = hashlib.sha256()
    for name, array in features.arrays().items():
        total.update(name.encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


@torch.no_grad()
def fit_readouts(net: SceneEncoder, features: Features, *, windows: int, seed: int) -> None:
    """Fit the two linear readouts to unmasked windows (:func:`encoders.model.whitening`)."""
    net.eval()
    device = next(net.parameters()).device
    scenes, agents = [], []
    for begin in range(0, len(features), windows):
        part = features.take(np.arange(begin, min(begin + windows, len(features))))
        batch = batch_of(part, device=device)
        tokens = net.encode(batch, nothing(batch))
        scenes.append(net.pooled(tokens).float())
        agents.append(net.pooled_tracks(tokens)[batch.valid.any(dim=-1)].float())
    tracks = torch.cat(agents)
    chosen = torch.randperm(len(tracks), generator=torch.Generator().manual_seed(seed))
    chosen = chosen[:FIT_TRACKS].to(device)
    for layer, pooled in ((net.readout, torch.cat(scenes)), (net.track_readout, tracks[chosen])):
        weight, bias = whitening(pooled)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


class _Run:
    """A training between two steps: network, optimiser, epoch; kept on disk after each epoch."""

    def __init__(
        self, config: EncoderConfig, out: Path, data: str, *, steps: int, device: torch.device
    ) -> None:
        self.config, self.device, self.steps = config, device, steps
        self.epoch, self.at, self.history = 0, 0, list[Epoch]()
        torch.manual_seed(config.training.seed)
        self.net = SceneEncoder(config.model).to(device)
        matrices = [p for p in self.net.parameters() if p.requires_grad and p.dim() > 1]
        others = [p for p in self.net.parameters() if p.requires_grad and p.dim() <= 1]
        decay = config.training.weight_decay
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        )
        self.state = out.with_suffix(".state.safetensors")
        self.identity = {"config": json.dumps(dataclasses.asdict(config)), "data": data}
        if self.state.exists():
            self._resume()

    def step(self, features: Features, chosen: Int[Array, " windows"]) -> float:
        """One step of the optimiser; returns the loss before it."""
        training = self.config.training
        draw_seed = int.from_bytes(
            hashlib.sha256(f"{training.seed}/{self.at}".encode()).digest()[:7], "big"
        )
        torch.manual_seed(draw_seed)
        generator = torch.Generator().manual_seed(draw_seed)
        batch = batch_of(features.take(chosen), device=self.device)
        batch = jittered(
            thinned(
                batch, agents=training.agents, polylines=training.polylines, generator=generator
            ),
            yaw=training.yaw_jitter,
            shift=training.shift_jitter,
            generator=generator,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(batch, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), training.clip)
        self.optimiser.step()
        self.at += 1
        return float(loss.detach())

    def finish_epoch(self, epoch: Epoch) -> None:
        """Count the epoch and keep everything on disk."""
        self.epoch += 1
        self.history.append(epoch)
        tensors = {f"net.{name}": t.contiguous() for name, t in self.net.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            for name, tensor in entry.items():
                tensors[f"optimiser.{index}.{name}"] = tensor.contiguous()
        progress = {"epoch": str(self.epoch), "at": str(self.at)}
        history = {"history": json.dumps([dataclasses.asdict(e) for e in self.history])}
        self.state.parent.mkdir(parents=True, exist_ok=True)
        partial = self.state.with_suffix(".part")
        save_file(tensors, partial, metadata=self.identity | progress | history)
        partial.replace(self.state)

    def _resume(self) -> None:
        with safe_open(self.state, framework="pt", device=str(self.device)) as file:
            metadata = file.metadata()
            if {key: metadata[key] for key in self.identity} != self.identity:
                logger.warning("%s is of other settings or data: starting anew", self.state)
                return
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.net.load_state_dict(
            {name[4:]: t for name, t in tensors.items() if name.startswith("net.")}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, entry = name.split(".")
                state.setdefault(int(index), {})[entry] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.epoch, self.at = int(metadata["epoch"]), int(metadata["at"])
        self.history = [Epoch(**epoch) for epoch in json.loads(metadata["history"])]

    def _learning_rate(self) -> float:
        training = self.config.training
        total = max(training.epochs * self.steps, 1)
        rise = max(training.warm_up * total, 1.0)
        if self.at < rise:
            return training.learning_rate * (self.at + 1) / (rise + 1)
        fallen = (self.at - rise) / max(total - rise, 1.0)
        return training.learning_rate * (1 + math.cos(math.pi * fallen)) / 2

    def _loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        weights = self.config.loss
        masks = draw(batch, self.config.masking, generator=generator)
        guess = hermite(batch.state, batch.valid, masks.visible_steps(batch))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.training.bf16):
            tokens = self.net.encode(batch, masks)
            answer = self.net.reconstruct(batch, tokens, guess)
            motion, place = self.net.pools(tokens)
            motion, place = self.net.motion_projector(motion), self.net.place_projector(place)
        both = tokens.tracks_visible.flatten(1).any(dim=1) & tokens.road_visible.any(dim=1)
        hidden = hidden_steps(batch, masks, guess)
        return (
            weights.tracks * track_loss(answer, batch, guess, hidden, huber=weights.huber)
            + weights.road * road_loss(answer, batch, masks)
            + weights.lights * light_loss(answer, batch, masks)
            + weights.barlow
            * barlow_twins(
                motion[both].float(), place[both].float(), redundancy=weights.redundancy
            )
        )


def _order(features: Features, training: TrainingConfig, epoch: int) -> list[Array]:
    """Windows of every step of an epoch; those of a step are of like size, to pad little."""
    rng = np.random.default_rng([training.seed, epoch])
    shuffled = rng.permutation(len(features))
    size = features.valid.any(axis=2).sum(axis=1) * 10 + features.road_valid.sum(axis=1)
    pool = training.batch * 16
    steps: list[Array] = []
    for chunk in _chunks(shuffled, pool):
        by_size = chunk[np.argsort(size[chunk], kind="stable")]
        steps.extend(_chunks(by_size, training.batch))
    return [steps[i] for i in rng.permutation(len(steps))]


def _chunks(values: Array, size: int) -> Iterator[Array]:
    return (values[begin : begin + size] for begin in range(0, len(values), size))


def main() -> None:
    """Train from a folder of features."""
    parser = argparse.ArgumentParser(prog="python -m encoders.train", description=main.__doc__)
    parser.add_argument("--features", type=Path, required=True, help="folder of .npz windows")
    parser.add_argument("--out", type=Path, required=True, help="file of the weights")
    parser.add_argument("--config", type=Path, help="settings, TOML")
    asked = parser.parse_args()
    config = settings.load(EncoderConfig, asked.config) if asked.config else EncoderConfig()
    report = train(
        asked.features,
        config,
        asked.out,
        command="python -m encoders.train --features DIR --out FILE",
        progress=lambda epoch: print(epoch.line(), file=sys.stderr),  # noqa: T201
    )
    _, held_out = split(load(asked.features, config.features), share=config.training.validation)
    from encoders.weights import load_encoder

    scores = evaluate(load_encoder(report.out).net, held_out, masking=config.masking)
    print(scores.table())  # noqa: T201


__all__ = [
    "Epoch", "TrainReport", "digest", "fit_readouts", "load", "main", "save", "split", "train",
    "train_encoder",
]  # fmt: skip

if __name__ == "__main__":
    main()

"""Train the scene encoder that ships, from nothing but seeds, and score it on held-out logs.

    python benchmarks/train_encoder.py

draws logs of the procedural world (a share of them with a planted rare behaviour), turns them into
windows (kept under ``--work``, so that a stopped run goes on), trains, writes the weights, and
prints masked reconstruction on the held-out tenth of the logs beside its baselines.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from encoders.config import EncoderConfig
from encoders.evaluate import evaluate
from encoders.features import Features, features_of, load, save, stack
from encoders.train import split, train
from encoders.weights import SHIPPED, load_encoder
from lake.scenes import scenes_of
from schemas import config as settings
from schemas.errors import MissingData
from simulation.rare import BEHAVIOURS
from simulation.world import make_log

LOGS_A_FILE = 32
RARE_SHARE = 0.15
FIRST_SEED = 1000


def windows_of(seed: int, config: EncoderConfig) -> list[Features]:
    """Windows of one log; none where the seed's traffic does not let its behaviour happen."""
    random = np.random.default_rng([seed, 77])
    rare = str(random.choice(list(BEHAVIOURS))) if random.random() < RARE_SHARE else None
    try:
        log, _ = make_log(seed, rare=rare)
    except MissingData as error:
        print(error, file=sys.stderr)
        return []
    others = config.training.others
    return [features_of(scene, config.features, others=others) for scene in scenes_of(log)]


def write_windows(folder: Path, logs: int, config: EncoderConfig) -> None:
    """Windows of all logs as files of a few logs; those that are there are kept."""
    for begin in range(FIRST_SEED, FIRST_SEED + logs, LOGS_A_FILE):
        end = min(begin + LOGS_A_FILE, FIRST_SEED + logs)
        path = folder / f"logs-{end - 1:05d}.npz"
        if path.exists():
            continue
        began = time.monotonic()
        parts = [part for seed in range(begin, end) for part in windows_of(seed, config)]
        save(stack(parts, config.features), path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Read the options, do the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=420)
    parser.add_argument("--config", type=Path, help="settings, TOML")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("build/encoder"))
    parser.add_argument("--out", type=Path, help="file of the weights; else under --work")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = settings.load(EncoderConfig, asked.config) if asked.config else EncoderConfig()
    write_windows(asked.work, asked.logs, config)
    out = asked.out or asked.work / SHIPPED.name
    features = load(asked.work, config.features)
    report = train(
        features,
        config,
        out,
        command=f"python benchmarks/train_encoder.py --logs {asked.logs}",
        progress=lambda epoch: print(epoch.line(), file=sys.stderr, flush=True),
    )
    _, held_out = split(features, share=config.training.validation)
    encoder = load_encoder(report.out)
    print(f"{encoder.id}: {report.train} windows, {report.validation} held out\n")
    print(evaluate(encoder.net, held_out, masking=config.masking).table())


if __name__ == "__main__":
    main()

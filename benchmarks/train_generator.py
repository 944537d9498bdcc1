"""Train the generator that ships, from nothing but a seed, and score it on held-out logs.

    python benchmarks/train_generator.py

draws logs of the procedural world (a share of them with a planted rare behaviour), turns them into
examples (kept under ``--work``, so that a stopped run goes on), trains, writes the weights and
prints the table of :mod:`generation.evaluate` as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from generation.checkpoint import load_generator
from generation.evaluate import evaluate
from generation.shipped import SHIPPED
from generation.train import (
    TrainConfig,
    as_arrays,
    examples_of,
    fit,
    load_examples,
    save_examples,
)
from lake.scenes import scenes_of
from schemas.scene import Scene
from simulation.rare import BEHAVIOURS
from simulation.world import make_log

LOGS_A_FILE = 10
RARE_SHARE = 0.25
FIRST_SEED = 1_000_000
HELD_OUT_SEED = 900_000
"""Seeds of logs that nothing is trained on begin here."""


def scenes(first: int, last: int) -> Iterator[Scene]:
    """Scenes of the logs with these seeds."""
    for seed in range(first, last):
        random = np.random.default_rng(seed)
        rare = str(random.choice(list(BEHAVIOURS))) if random.random() < RARE_SHARE else None
        yield from scenes_of(make_log(seed, rare=rare)[0])


def examples(folder: Path, first: int, count: int, config: TrainConfig) -> None:
    """Examples of ``count`` logs as files of ten logs; those that are there are kept."""
    for begin in range(first, first + count, LOGS_A_FILE):
        path = folder / f"{begin:07d}.npz"
        if path.exists():
            continue
        began = time.monotonic()
        made = as_arrays(examples_of(scenes(begin, begin + LOGS_A_FILE), config))
        save_examples(path, made)
        seconds = time.monotonic() - began
        print(
            f"{path.name}: {len(made['start'])} examples, {seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    """Read the options, do the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("build/generator"))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = TrainConfig(
        steps=options.steps, batch=options.batch, seed=options.seed, every=25, viewpoints=3,
        save_every=100,
    )  # fmt: skip
    train, held = options.work / "train", options.work / "held_out"
    examples(train, FIRST_SEED, options.logs, config)
    examples(held, HELD_OUT_SEED, options.held_out, config)
    command = (
        f"python benchmarks/train_generator.py --logs {options.logs} --steps {options.steps} "
        f"--batch {options.batch} --seed {options.seed}"
    )
    began = time.monotonic()

    def tell(done: int, total: int) -> None:
        if done % 50 == 0:
            print(
                f"{done} of {total}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )

    report = fit(load_examples(train), config, options.out, command=command, progress=tell)
    scores = evaluate(load_examples(held), load_generator(options.out))
    table = {
        "training": dataclasses.asdict(report),
        "held_out": [dataclasses.asdict(score) for score in scores],
    }
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()

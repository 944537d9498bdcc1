"""Does ``mine rare`` find what is rare? Planted behaviours among the rarest tenth of scenes.

    python benchmarks/rare_mining.py [--logs 160]

Logs of the procedural world, a sixth of them with a planted rare behaviour, are ingested, tagged
and encoded. Each row ranks the scenes in one way; its *lift* is the share of scenes with a planted
behaviour among its rarest tenth over that among all. A random order has lift 1; no order can have
more than 1 / base rate. *AUC* is over all scenes. Seeds are not those of the encoder's training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from encoders.embed import encode
from encoders.model import SceneEncoder
from encoders.weights import load_encoder, save_encoder
from geometry.arrays import Array
from lake import Lake
from mining.facets import facets
from mining.neighbours import mean_distance
from mining.rare import NEIGHBOURS, information, score
from mining.tag import tag
from mining.vectors import vectors
from schemas.errors import MissingData
from schemas.records import Log
from simulation.rare import BEHAVIOURS
from simulation.world import make_log

FIRST_SEED = 50_000
RARE_SHARE = 1 / 6
TAIL = 0.1


def logs(count: int, planted: dict[str, list[tuple[int, int]]]) -> Iterator[Log]:
    """Logs of the world; notes when in each its planted behaviours happen."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        random = np.random.default_rng([seed, 77])
        rare = str(random.choice(list(BEHAVIOURS))) if random.random() < RARE_SHARE else None
        try:
            log, truth = make_log(seed, rare=rare)
        except MissingData as error:
            print(error, file=sys.stderr)
            continue
        planted[log.source_log_id] = [(p.t0_ns, p.t1_ns) for p in truth.planted]
        yield log


def is_planted(lake: Lake, planted: dict[str, list[tuple[int, int]]]) -> dict[int, bool]:
    """Whether a planted behaviour happens within each scene."""
    rows = lake.sql(
        "select scene_id, source_log_id, t0_ns, t1_ns from scenes join logs using (log_id)"
    )
    return {
        row["scene_id"]: any(
            begin <= row["t1_ns"] and end >= row["t0_ns"]
            for begin, end in planted[row["source_log_id"]]
        )
        for row in rows.to_pylist()
    }


def line(name: str, rarity: Array, truth: Array) -> str:
    """One row of the table."""
    from sklearn.metrics import roc_auc_score

    tail = np.argsort(-rarity, kind="stable")[: max(round(TAIL * len(truth)), 1)]
    share = truth[tail].mean()
    return f"| {name} | {share:.2f} | {share / truth.mean():.2f} | {roc_auc_score(truth, rarity):.3f} |"


def main() -> None:
    """Read the options, do the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=160)
    parser.add_argument("--model", type=Path, help="weights; those that ship if not given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.create(Path(folder) / "lake")
        planted: dict[str, list[tuple[int, int]]] = {}
        with lake.run("world") as run:
            lake.add_logs(logs(asked.logs, planted), run_id=run.id)
        tag(lake)
        encoder = load_encoder(asked.model)
        torch.manual_seed(0)
        untrained = Path(folder) / "untrained.safetensors"
        save_encoder(
            SceneEncoder(encoder.net.config), untrained, features=encoder.features,
            command="none", data="none", figures={},
        )  # fmt: skip
        trained = encode(lake, model=asked.model).model
        known, blank = (
            vectors(lake, model=trained),
            vectors(lake, model=encode(lake, model=untrained).model),
        )
        answer = is_planted(lake, planted)
        truth = np.array([answer[int(scene)] for scene in known.scene_id])
        if not truth.any():
            sys.exit("No behaviour was planted in so few logs; ask for more with --logs.")
        said = facets(lake, known.scene_id)
        has = said.has[:, said.is_tag]
        tags = np.where(has, information(has, known.log_id), 0.0).max(axis=1)
        print(
            f"{len(truth)} scenes, base rate {truth.mean():.3f}, greatest lift {1 / truth.mean():.1f}\n"
        )
        print("| order | share of planted | lift | AUC |\n|---|---|---|---|")
        print(line("random", np.random.default_rng(0).random(len(truth)), truth))
        for name, some in (("untrained", blank), ("trained", known)):
            distance = mean_distance(some.unit, k=NEIGHBOURS, group=some.log_id)
            print(line(f"novelty, {name} encoder", distance, truth))
        print(line("rarest tag", tags, truth))
        print(line("mine rare", score(lake, known).rarity, truth))


if __name__ == "__main__":
    main()

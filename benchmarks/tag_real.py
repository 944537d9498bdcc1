"""What every predicate finds in the real logs at hand: counts, what is unknown, pictures to look at.

    python benchmarks/tag_real.py [--lake FOLDER] [--sheets FOLDER] [--each 10] [--seed 0]

Everything under ``$SCENELAKE_REAL_DATA`` is ingested and tagged with all predicates. The first table
has a row a predicate: intervals that hold, by data set, and the share of scenes in which it could
not be known throughout. The second has a row a family. With ``--sheets`` so many intervals of each
family are drawn at random, each scene at the begin, the middle and the end of the interval.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from memory import peak_mb
from PIL import Image

from formats.picture import View, draw
from lake import Lake
from mining.predicates import PREDICATES
from mining.tag import tag
from schemas.scene import Scene

RADIUS_M = 30.0  # half the side of what a picture shows
PIXELS = 330


def counts(lake: Lake) -> list[dict[str, Any]]:
    """Intervals that hold and scenes with doubt, by predicate and data set."""
    return lake.sql(
        """
        SELECT e.name, s.dataset, count(*) FILTER (e.truth = 'true') AS held,
          count(DISTINCT e.scene_id) FILTER (e.truth = 'true') AS scenes,
          count(DISTINCT e.scene_id) FILTER (e.truth = 'unknown') AS doubtful
        FROM events e JOIN scenes s USING (scene_id) WHERE e.source = 'rule'
        GROUP BY ALL ORDER BY ALL
        """,
        by_index=False,
    ).to_pylist()


def tables(lake: Lake) -> None:
    """Print both tables."""
    scenes = Counter(lake.read("scenes", ["dataset"])["dataset"].to_pylist())
    rows = counts(lake)
    held = {(row["name"], row["dataset"]): row["held"] for row in rows}
    doubtful = Counter[str]()
    for row in rows:
        doubtful[row["name"]] += row["doubtful"]
    names = sorted(scenes)
    print(
        "| predicate | " + " | ".join(f"{n} ({scenes[n]})" for n in names) + " | all | unknown |"
    )
    print("|---" * (len(names) + 3) + "|")
    families: dict[str, Counter[str]] = {}
    for predicate in PREDICATES.values():
        mine = [held.get((predicate.name, dataset), 0) for dataset in names]
        share = doubtful[predicate.name] / sum(scenes.values())
        cells = " | ".join(f"{count:,}" if count else "" for count in mine)
        print(f"| {predicate.name} | {cells} | {sum(mine):,} | {share:.0%} |")
        of_family = families.setdefault(predicate.group, Counter())
        of_family.update(dict(zip(names, mine, strict=True)))
    print("\n| family | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for family, found in families.items():
        print(f"| {family} | " + " | ".join(f"{found[n]:,}" for n in names) + " |")


def sheets(
    lake: Lake, folder: Path, *, each: int, seed: int, only: Sequence[str], but: Sequence[str]
) -> None:
    """A picture a family, with so many intervals of it drawn at random."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for predicate in PREDICATES.values():
        if predicate.roles and (not only or predicate.name in only):
            groups.setdefault(predicate.group, []).append(predicate.name)
    left_out = ", ".join(f"'{dataset}'" for dataset in ("", *but))
    for group, names in groups.items():
        listed = ", ".join(f"'{name}'" for name in names)
        by_name: dict[str, list[dict[str, Any]]] = {}
        for event in lake.sql(
            "SELECT e.* FROM events e JOIN scenes s USING (scene_id) WHERE e.truth = 'true'"
            f" AND e.source = 'rule' AND e.name IN ({listed}) AND s.dataset NOT IN ({left_out})"
            " ORDER BY scene_id, e.name, e.t0_ns, actor_id, other_id",
            by_index=False,
        ).to_pylist():
            by_name.setdefault(event["name"], []).append(event)
        # A predicate first, then one of its intervals: rare ones are seen as well as common ones.
        some = rng.choice(sorted(by_name), each, replace=len(by_name) < each)
        chosen = [by_name[name][rng.integers(len(by_name[name]))] for name in some]
        page = Image.new("RGB", (3 * PIXELS, len(chosen) * PIXELS), "white")
        for row, event in enumerate(chosen):
            for column, picture in enumerate(row_of(lake.scene(event["scene_id"]), event)):
                page.paste(picture, (column * PIXELS, row * PIXELS))
        page.save(folder / f"{group}.png")


def row_of(scene: Scene, event: dict[str, Any]) -> list[Image.Image]:
    """An interval at its begin, in its middle and at its end; who it is of in red."""
    begin, end = (round((event[name] - scene.t0_ns) / 1e8) for name in ("t0_ns", "t1_ns"))
    value = "" if event["value"] is None else f" = {event['value']:.3g}"
    told = [
        f"{event['name']}{value}",
        f"{scene.dataset[:12]} {scene.name[:26]}",
        f"{begin / 10:.1f}-{end / 10:.1f} {(event['evidence'] or '')[:40]}",
    ]
    rows = {int(track): n for n, track in enumerate(scene.tracks.track_id)}
    whom = [event["actor_id"], event["other_id"]]
    pictures = []
    for caption, step in zip(told, (begin, (begin + end) // 2, end), strict=True):
        step = min(max(step, 0), scene.steps - 1)
        there = [rows[i] for i in whom if i in rows and scene.tracks.valid[rows[i], step]]
        x, y = scene.tracks.xy[there or [0], step].mean(axis=0)
        view = View(
            size=PIXELS, radius=RADIUS_M, centre=(float(x), float(y)), caption=caption,
            emphasis=frozenset(i for i in whom if i is not None),
        )  # fmt: skip
        pictures.append(draw(scene, step=step, view=view))
    return pictures


def main() -> None:
    """Read the options, do the steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path, help="where it is kept; if it is there, only asked")
    parser.add_argument("--sheets", type=Path, help="where pictures are put")
    parser.add_argument("--each", type=int, default=10, help="intervals a family")
    parser.add_argument("--only", nargs="*", default=[], help="predicates to draw; all by default")
    parser.add_argument("--but", nargs="*", default=[], help="data sets not to draw from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home = os.environ.get("SCENELAKE_REAL_DATA")
    if not home:
        sys.exit("Set SCENELAKE_REAL_DATA to the folder of the real logs.")
    with tempfile.TemporaryDirectory(prefix="tag-real-") as scratch:
        path = options.lake or Path(scratch, "lake")
        if not path.exists():
            lake = Lake.create(path)
            lake.ingest([home], on_error="skip")
            began, scenes = time.process_time(), len(lake.scene_ids())
            tag(lake)
            took = time.process_time() - began
            peak = peak_mb()
            print(
                f"{scenes} scenes tagged: {scenes / took:.1f} a second of the processor; {peak:,.0f} MB\n"
            )
        lake = Lake.open(path)
        tables(lake)
        if options.sheets:
            sheets(lake, options.sheets, each=options.each, seed=options.seed, only=options.only,
                   but=options.but)  # fmt: skip


if __name__ == "__main__":
    main()

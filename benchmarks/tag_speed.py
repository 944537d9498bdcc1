"""How fast are scenes tagged with the whole vocabulary, and does memory stay flat?

    python benchmarks/tag_speed.py [--scenes 600] [--users 45 55] [--lake FOLDER]

Scenes of the procedural world, 10 s at 10 Hz, are put into a lake; those with so many road users are
tagged through ``mining.tag``: read, asked every predicate and every measure of criticality, written and
indexed. The floor beside it is reading the same scenes and asking nothing. All in time of the processor,
so that other programs do not count. The bar is 20 scenes a second of one core; memory is flat if the
second half of the scenes takes it no higher than the first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from memory import peak_mb

from lake import Lake
from mining.predicates import PREDICATES
from mining.tag import tag
from simulation.filling import fill

SEED = 11
BAR = 20.0


def road_users(lake: Lake) -> dict[int, int]:
    """How many road users each scene has, by its id."""
    return {scene.scene_id: len(scene.tracks.track_id) for scene in lake.scenes()}


def timed_tag(lake: Lake, scene_ids: Sequence[int]) -> tuple[float, int]:
    """Seconds of the processor that tagging scenes anew takes, and intervals found."""
    begin = time.process_time()
    report = tag(lake, scene_ids=scene_ids, again=True)
    return time.process_time() - begin, report.events


def main() -> None:
    """Make scenes, read them, tag them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=600, help="of the world, to choose from")
    parser.add_argument(
        "--users", type=int, nargs=2, default=(45, 55), help="road users in a scene"
    )
    parser.add_argument("--lake", type=Path, help="where it is kept; made if it is not there")
    options = parser.parse_args()
    low, high = options.users
    with tempfile.TemporaryDirectory(prefix="tag-speed-") as scratch:
        path = options.lake or Path(scratch, "lake")
        if not path.exists():
            fill(Lake.create(path), scenes=options.scenes, seed=SEED)
        lake = Lake.open(path)
        users = {i: n for i, n in road_users(lake).items() if low <= n <= high}
        chosen = sorted(users)
        timed_tag(lake, chosen[:1])  # what is not compiled yet, is
        begin = time.process_time()
        for _ in Lake.open(path).scenes(chosen):
            pass
        read = time.process_time() - begin
        before = peak_mb()
        halves = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
        told = [(*timed_tag(lake, half), peak_mb()) for half in halves]
    taken, found = (sum(row[k] for row in told) for k in (0, 1))
    print(f"{len(chosen)} scenes of {low} to {high} road users, {sum(users.values()) / len(users):.0f} "
          f"on average; {len(PREDICATES)} predicates, {found / len(chosen):,.0f} intervals that hold a "
          f"scene; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print("| | ms a scene | scenes/s of a core | peak so far, MB |\n|---|---|---|---|")
    print(
        f"| read only (floor) | {read / len(chosen) * 1e3:.1f} | {len(chosen) / read:.0f} | {before:,.0f} |"
    )
    for name, half, (seconds, _, peak) in zip(("first", "second"), halves, told, strict=True):
        print(f"| tagged, {name} half | {seconds / len(half) * 1e3:.1f} | {len(half) / seconds:.1f} "
              f"| {peak:,.0f} |")  # fmt: skip
    verdict = "above" if len(chosen) / taken >= BAR else "below"
    print(f"| tagged, all | {taken / len(chosen) * 1e3:.1f} | {len(chosen) / taken:.1f} | |")
    print(f"{verdict} the bar of {BAR:.0f} scenes/s of one core")


if __name__ == "__main__":
    main()

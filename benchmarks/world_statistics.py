"""Does the procedural world drive as people do? Distributions of its traffic beside those of real logs.

    python benchmarks/world_statistics.py [--scenes 60] [--first-seed 500000] [--histograms] [--lakes FOLDER]

Real scenes under ``$SCENELAKE_REAL_DATA`` (``DATASETS``) and logs of the world go through the same
ingest into a lake each, and the same `mining.motion.Motion` smooths and places them, so that what
differs is how people drive, not how it was computed. ``STATISTICS`` has every quantity with its fixed
bins; what lies beyond them counts in the outermost ones.

Counted are motor vehicles that are not parked, within 60 m of the ego (anywhere where there is none).

The distance between two distributions P and Q is the Jensen-Shannon distance with base 2, the square
root of JSD = ½ KL(P‖M) + ½ KL(Q‖M), M = ½ (P + Q) (Lin 1991; Endres and Schindelin 2003): 0 if they
are the same, 1 if they have no bin in common. A data set's *halves* are its scenes split at random into
two, twenty times: the distance that chance alone leaves between samples of half that size.

The bar: from the world to no real data set is it farther than between the two most different of these.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from lake import Lake
from mining.criticality.longitudinal import headway, time_to_collision
from mining.intervals import spells
from mining.motion import Motion
from mining.predicates.longitudinal import standing
from schemas.scene import DT, Scene
from simulation.world import draw_log

FIRST_SEED = 500_000
WORLD = "world"
MOVES = 0.5
"""[m/s] Slower vehicles are taken to stand: their turn rate and direction are noise."""
FOLLOWS = 1.0
"""[m/s] Slower followers have no headway to speak of."""
CLOSES = 0.2
"""[m/s] A gap that closes more slowly does not close, as far as can be measured."""
DRIVEN_M = 20.0
"""[m] Shorter ways say nothing about stops per kilometre."""

DATASETS: dict[str, tuple[str, ...]] = {
    "waymo": ("womd_gpudrive_json", "scenarionet_waymo", "waymo_open_dataset/*_one_scenario.tfrecord"),
    "ngsim": ("commonroad/USA_US101-*", "commonroad/USA_Lanker-*", "commonroad/USA_Peach-*",
              "smarts_ngsim"),
    "nuscenes": ("scenarionet_nuscenes",),
    "argoverse": ("argoverse2/forecasting_scenarios", "argoverse2/sensor", "argoverse2/data",
                  "argoverse2/sensor_dataset_logs"),
    "lyft": ("l5kit",),
}  # fmt: skip
"""Where the logs of each real data set are, under ``$SCENELAKE_REAL_DATA``."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One quantity with its bins.

    Attributes:
        of: What it is and of whom, in words.
        unit: Of its values.
        edges: Of the bins; what lies beyond counts in the first or the last.
    """

    of: str
    unit: str
    edges: Float[Array, " edges"]

    def histogram(self, values: Float[Array, " values"]) -> Float[Array, " bins"]:
        """Counts by bin."""
        inside = np.clip(values, self.edges[0], np.nextafter(self.edges[-1], -np.inf))
        return np.histogram(inside, self.edges)[0].astype(np.float64)


STATISTICS: dict[str, Statistic] = {
    "speed": Statistic("while moving", "m/s", np.arange(0.0, 36.1, 1.5)),
    "acceleration": Statistic("along the heading, while moving", "m/s²", np.arange(-4.0, 4.01, 0.25)),
    "headway": Statistic("behind a leader within 80 m: gap / speed", "s", np.arange(0.0, 8.01, 0.25)),
    "ttc": Statistic("behind a leader whose gap closes", "s", np.arange(0.0, 30.1, 1.5)),
    "lateral offset": Statistic("left of the lane's centre line, while moving outside junctions and "
                                "not changing lanes", "m", np.arange(-1.5, 1.51, 0.1)),
    "turn rate": Statistic("while moving", "rad/s", np.arange(-0.5, 0.51, 0.02)),
    "standing": Statistic("share of a vehicle's time", "1",
                          np.array([0.0, 1e-6, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 - 1e-6, 1.1])),
    "stops": Statistic("of a vehicle that drove 20 m, by its way", "1/km",
                       np.array([0.0, 1e-6, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0])),
}  # fmt: skip

Sample = Mapping[str, Float[Array, " values"]]


def sample_of(scene: Scene) -> Sample:
    """All values that a scene has of every statistic."""
    motion = Motion(scene)
    who = motion.is_vehicle & motion.focus & ~motion.parked
    there = motion.seen & who[:, None]
    moves = there & (motion.speed >= MOVES)
    keeps = moves & motion.on_lane & ~motion.changing & ~motion.in_intersection
    keeps &= np.abs(motion.heading_error) < np.radians(30.0)
    share, stops = _stops(motion, there)
    gap, own, ahead = _following(motion, who)
    waits = headway(gap, own)[own >= FOLLOWS]
    closes = own - ahead >= CLOSES
    return {
        "speed": motion.speed[moves],
        "acceleration": motion.acceleration[moves & motion.acceleration_known],
        "headway": waits,
        "ttc": time_to_collision(gap[closes], own[closes], ahead[closes]),
        "lateral offset": motion.lane_d[keeps],
        "turn rate": motion.yaw_rate[moves & motion.turn_known],
        "standing": share,
        "stops": stops,
    }


def _stops(
    motion: Motion, there: Bool[Array, "agents steps"]
) -> tuple[Float[Array, " agents"], Float[Array, " some"]]:
    """Share of its time that each vehicle stands [1]; stops by way of those who drove [1/km]."""
    still = standing(motion)
    seen = there.sum(axis=1)
    share = (still & there).sum(axis=1)[seen > 0] / seen[seen > 0]
    way = np.where(there, motion.speed, 0.0).sum(axis=1) * DT
    begun = np.zeros(motion.agents)
    for agent, begin, _ in spells(still):
        begun[agent] += begin > motion.first_seen[agent]
    drove = way >= DRIVEN_M
    return share, begun[drove] / way[drove] * 1000.0


def _following(
    motion: Motion, who: Bool[Array, " agents"]
) -> tuple[Float[Array, " rows"], Float[Array, " rows"], Float[Array, " rows"]]:
    """Gaps [m], speed of the follower and of the leader along its course [m/s]; of steps in which both are there."""
    leads = motion.leads
    on = leads.on & (who[leads.a] & motion.is_vehicle[leads.b])[:, None]
    row, step = np.nonzero(on)
    a, b = leads.a[row], leads.b[row]
    turned = motion.course[b, step] - motion.course[a, step]
    return leads.gap[row, step], motion.speed[a, step], motion.speed[b, step] * np.cos(turned)


# -- distances --------------------------------------------------------------------------------------


def distance(p: Float[Array, " bins"], q: Float[Array, " bins"]) -> float:
    """Jensen-Shannon distance of two histograms, base 2, between 0 and 1."""
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2.0
    return float(np.sqrt(max(0.0, _divergence(p, middle) / 2 + _divergence(q, middle) / 2)))


def _divergence(p: Float[Array, " bins"], q: Float[Array, " bins"]) -> float:
    held = p > 0.0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def halves(counts: Float[Array, "scenes bins"], *, seed: int = 0) -> float:
    """Mean distance between halves of the scenes, split at random; NaN if a half may be empty."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(20 if len(counts) > 1 else 0):
        order = rng.permutation(len(counts))
        first, second = (counts[part].sum(axis=0) for part in np.array_split(order, 2))
        if first.sum() and second.sum():
            found.append(distance(first, second))
    return float(np.mean(found)) if found else np.nan


# -- lakes ------------------------------------------------------------------------------------------


def real_lake(home: Path, name: str, folder: Path) -> Lake:
    """A data set's logs in a lake."""
    lake = Lake.open_or_create(folder / name)
    if not lake.scene_ids():
        paths = [path for pattern in DATASETS[name] for path in sorted(home.glob(pattern))]
        lake.ingest(paths, on_error="skip")
    return lake


def world_lake(folder: Path, *, first_seed: int, logs: int, rare_rate: float = 0.0) -> Lake:
    """Logs of the world in a lake, as the ego reports them."""
    lake = Lake.create(folder / WORLD)
    with lake.run("world") as run:
        made = (draw_log(first_seed + i, rare_rate=rare_rate)[0] for i in range(logs))
        lake.add_logs(made, run_id=run.id)
    return lake


def scenes_of(lake: Lake, most: int, *, seed: int = 0) -> Iterator[Scene]:
    """So many of a lake's scenes, drawn at random."""
    ids = np.array(lake.scene_ids())
    chosen = np.random.default_rng(seed).permutation(len(ids))[:most]
    yield from lake.scenes([int(i) for i in ids[np.sort(chosen)]])


def counted(scenes: Iterable[Scene]) -> dict[str, Float[Array, "scenes bins"]]:
    """Histograms by statistic and scene."""
    rows: dict[str, list[Array]] = {name: [] for name in STATISTICS}
    for scene in scenes:
        for name, values in sample_of(scene).items():
            rows[name].append(STATISTICS[name].histogram(np.asarray(values)))
    return {name: np.array(of) for name, of in rows.items()}


# -- tables -----------------------------------------------------------------------------------------

Counts = Mapping[str, Mapping[str, Float[Array, "scenes bins"]]]


def table(counts: Counts) -> Iterator[str]:
    """Distances, in Markdown: world to each real data set, those to each other, halves."""
    real = [name for name in counts if name != WORLD]
    pairs = list(combinations(real, 2))
    yield (
        "| statistic | "
        + " | ".join(f"world – {name}" for name in real)
        + " | largest | real – real: least | mean | **largest** | halves of world | of real | |"
    )
    yield "|---" * (len(real) + 8) + "|"
    for name in STATISTICS:
        total = {of: counts[of][name].sum(axis=0) for of in counts}
        away = {of: distance(total[WORLD], total[of]) for of in real if total[of].sum()}
        between = [
            distance(total[a], total[b]) for a, b in pairs if total[a].sum() and total[b].sum()
        ]
        cells = [f"{away[of]:.2f}" if of in away else "" for of in real]
        worst, bar = max(away.values()), max(between)
        own = halves(counts[WORLD][name])
        theirs = np.nanmax([halves(counts[of][name]) for of in real])
        verdict = "met" if worst <= bar else "**missed**"
        yield (
            f"| {name} | {' | '.join(cells)} | {worst:.2f} | {min(between):.2f} | "
            f"{np.mean(between):.2f} | **{bar:.2f}** | {own:.2f} | {theirs:.2f} | {verdict} |"
        )


def summary(counts: Counts) -> Iterator[str]:
    """Medians and outer deciles of every statistic by data set, from the bins."""
    yield f"| statistic | {' | '.join(counts)} |"
    yield "|---" * (len(counts) + 1) + "|"
    for name, statistic in STATISTICS.items():
        cells = []
        for of in counts:
            total = counts[of][name].sum(axis=0)
            share = np.concatenate([[0.0], np.cumsum(total) / max(total.sum(), 1.0)])
            low, middle, high = np.interp([0.1, 0.5, 0.9], share, statistic.edges)
            cells.append(f"{low:.2f} / {middle:.2f} / {high:.2f} ({total.sum():,.0f})")
        yield f"| {name} [{statistic.unit}] | {' | '.join(cells)} |"


def histograms(counts: Counts) -> Iterator[str]:
    """All shares, in per mille."""
    for name, statistic in STATISTICS.items():
        yield f"{name} [{statistic.unit}] from {np.round(statistic.edges[:-1], 2).tolist()}"
        for of in counts:
            total = counts[of][name].sum(axis=0)
            yield f"  {of:10} {' '.join(f'{1000 * v:3.0f}' for v in total / max(total.sum(), 1.0))}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, fill the lakes, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60, help="at most so many of each data set")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--rare-rate", type=float, default=0.0, help="share of planted logs")
    parser.add_argument("--histograms", action="store_true", help="print the shares too")
    parser.add_argument("--lakes", type=Path, help="where lakes of real logs are kept")
    options = parser.parse_args(arguments)
    home = os.environ.get("SCENELAKE_REAL_DATA")
    if not home:
        sys.exit("Set SCENELAKE_REAL_DATA to the folder of the real logs.")
    counts: dict[str, Mapping[str, Array]] = {}
    with tempfile.TemporaryDirectory(prefix="world-statistics-") as scratch:
        kept = options.lakes or Path(scratch)
        world = world_lake(Path(scratch), first_seed=options.first_seed,
                           logs=-(-options.scenes // 2), rare_rate=options.rare_rate)  # fmt: skip
        for name in (WORLD, *DATASETS):
            lake = world if name == WORLD else real_lake(Path(home), name, kept)
            counts[name] = counted(scenes_of(lake, options.scenes))
            print(name, len(counts[name]["speed"]), "scenes", file=sys.stderr)
    print("\n".join([*summary(counts), "", *table(counts)]))
    if options.histograms:
        print("\n".join(histograms(counts)))


if __name__ == "__main__":
    main()

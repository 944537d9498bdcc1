"""How long does a scene of the procedural world take, until it can be asked for in a lake?

    python benchmarks/world_speed.py [--scenes 2000] [--steps 4] [--jobs 2] [--places 6] [--floor 4]

The whole way is ``simulation.filling.fill``, in several steps into one lake, so that a cost that grows
with the lake shows; CPU seconds are those of this process and its workers, the starting of these
included, once a step. Where the time goes is measured apart, in this process, over some places: each
stage with what it calls, less the stages below it. The floor is the way that logs of other people take: each on a road of its own, written as
Argoverse 2 and ingested by its reader.

CPU seconds are nearly, not quite, free of what else runs on the machine: two threads of one core slow
each other down. The load is printed beside them.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memory import peak_mb

import simulation.places as places
import simulation.world as world
from lake import Lake, lots
from lake.store import Store
from simulation import observe, traffic, truth
from simulation.filling import fill, logs_alone
from simulation.places import LOGS, SCENES, Place
from simulation.world import DATASET, write_world

SEED = 41
SCENES_WANTED, BAR_S, CORES = 100_000, 3600.0, 2

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("network and ways", places, "build"),
    ("network and ways", places, "ways_of"),
    ("warming traffic up", places, "warm_traffic"),
    ("choosing egos, casting", places, "choose_egos"),
    ("choosing egos, casting", places, "cast"),
    ("traffic steps", traffic.Traffic, "step"),
    ("looking at traffic", traffic.Traffic, "look"),
    ("motion, line of sight, collisions", world, "motion_of"),
    ("motion, line of sight, collisions", observe, "visible"),
    ("motion, line of sight, collisions", truth.Motion, "collisions"),
    ("the log as sensed", world, "compose"),
    ("frame, lanes", lots, "localise"),
    ("scenes", lots, "cut"),
    ("rows", lots, "tables_of"),
    ("rows handed over", lots, "write_tables"),
    ("rows handed over", lots, "read_tables"),
    ("appended to the lake", lots._Desk, "commit"),
    ("split groups, indices", lots, "assign"),
    ("split groups, indices", Store, "index"),
)
OF_THE_LAKE = ("rows handed over", "appended to the lake", "split groups, indices")


class Stages:
    """CPU seconds of each stage, without those of stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.agent_steps = 0
        self._inner = [0.0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, every stage is timed."""
        kept = [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
        for (stage, owner, name), (_, _, function) in zip(STAGES, kept, strict=True):
            setattr(owner, name, self._timed(stage, name, function))
        try:
            yield
        finally:
            for owner, name, function in kept:
                setattr(owner, name, function)

    def _timed(self, stage: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            begin = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.process_time() - begin
                self.seconds[stage] += took - self._inner.pop()
                self.calls[name] += 1
                self._inner[-1] += took
                if name == "step":
                    self.agent_steps += int(args[0].alive.sum()) + len(args[0].walkers)

        return timed


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def by_stage(count: int) -> None:
    """Where the time goes, over some places."""
    stages = Stages()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.open_or_create(Path(folder) / "lake")
        begin = cpu_s()
        with stages.watched():
            report = fill(lake, scenes=count * LOGS * SCENES, seed=SEED + 1)
        total = cpu_s() - begin
        states = lake.sql("select count(*) from agents").column(0)[0].as_py()
    scenes, steps = report.scenes, stages.calls["step"]
    print(f"{count} places, {scenes} scenes, {states / scenes:,.0f} observed states and "
          f"{steps / scenes:.0f} steps of traffic a scene; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"  {'stage':36}{'ms/scene':>9}")
    for stage in dict.fromkeys(stage for stage, _, _ in STAGES):
        print(f"  {stage:36}{stages.seconds[stage] / scenes * 1e3:9.2f}")
    print(f"  {'the rest':36}{(total - sum(stages.seconds.values())) / scenes * 1e3:9.2f}")
    print(f"  {'all':36}{total / scenes * 1e3:9.2f}")
    step = stages.seconds["traffic steps"] / steps
    mean = stages.agent_steps / steps
    print(f"  a step of traffic, of {mean:.0f} who move, takes {step * 1e6:.0f} µs: "
          f"{step / mean * 1e6:.1f} µs an agent-step")  # fmt: skip


def whole_way(scenes: int, steps: int, jobs: int) -> None:
    """Scenes into one lake, step by step."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.open_or_create(Path(folder) / "lake")
        print(f"{scenes:,} scenes by {jobs} processes, {steps} steps into one lake")
        told = "  of it the lake" if jobs == 1 else ""
        print(f"  {'scenes':>8}{'CPU ms/scene':>14}{told}{'wall ms/scene':>15}{'load':>6}")
        there, costs = 0, []
        for step in range(1, steps + 1):
            begin, wall = cpu_s(), time.monotonic()
            stages = Stages()
            with stages.watched():
                fill(lake, scenes=scenes * step // steps, seed=SEED, jobs=jobs)
            count = lake.sql("select count(*) from scenes").column(0)[0].as_py()
            cpu, wall = cpu_s() - begin, time.monotonic() - wall
            costs.append(cpu / (count - there))
            own = sum(stages.seconds[name] for name in OF_THE_LAKE) / (count - there)
            told = f"{own * 1e3:16.1f}" if jobs == 1 else ""
            print(f"  {count:8,}{cpu / (count - there) * 1e3:14.1f}{told}"
                  f"{wall / (count - there) * 1e3:15.1f}{os.getloadavg()[0]:6.1f}")  # fmt: skip
            there = count
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        mean = sum(costs) / len(costs)
        print(
            f"  {size / there / 1e3:.0f} kB a scene on disk, peak memory {peak_mb():.0f} MB here"
        )
        projected = SCENES_WANTED * mean / CORES
        verdict = "within" if projected <= BAR_S else "not within"
        print(f"  {SCENES_WANTED:,} scenes: {projected / 60:.0f} minutes of {CORES} cores, {verdict} the "
              f"bar of {BAR_S / 60:.0f} ({BAR_S * CORES / SCENES_WANTED * 1e3:.0f} ms a scene)")  # fmt: skip


def floor(logs: int) -> None:
    """One log a road, through files."""
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder) / "warm", logs=1, seed=SEED)
        begin = cpu_s()
        write_world(Path(folder) / "logs", logs=logs, seed=SEED)
        written = cpu_s() - begin
        lake = Lake.open_or_create(Path(folder) / "lake")
        begin = cpu_s()
        report = lake.ingest([Path(folder) / "logs"])
        read = cpu_s() - begin
    print(f"floor: {logs} logs on roads of their own as Argoverse 2 files, {DATASET}: "
          f"{written / report.scenes * 1e3:.0f} ms a scene to write, "
          f"{read / report.scenes * 1e3:.0f} to ingest")  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--places", type=int, default=6)
    parser.add_argument("--floor", type=int, default=4)
    args = parser.parse_args()
    logs_alone(Place(seed=SEED + 1, number=0, rare_rate=0.2))  # what is not compiled yet, is
    if args.places:
        by_stage(args.places)
    if args.scenes:
        whole_way(args.scenes, args.steps, args.jobs)
    if args.floor:
        floor(args.floor)


if __name__ == "__main__":
    main()

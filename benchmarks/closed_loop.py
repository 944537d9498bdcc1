"""Closed-loop speed: agent-steps a second on one core, and ten thousand cases on all of them.

    python benchmarks/closed_loop.py [--agents 8 32 128] [--seconds 9] [--cases 10000] [--peers]

The first table drives the same cases with 8, 32 and 128 agents on one core: vehicles on two lanes and
their kerbs, half of them moving, all within 80 m of the ego. *driven* is the engine with collisions (the
boxes' separating axes, ego against everyone within reach, every step); *scored* adds what every case of
a suite is measured by: the drivable surface under every corner of the ego at every step, all nuPlan
metrics, clearances, red lights. *floor* asks the same engine one case at a time, as a simulator
without batches works; *memory* is what copying the state of a step takes: no engine could be faster
that writes its states down.

The second runs so many cases through what `suite run` runs (ready, drive, score, judge) in as many
processes as there are cores: seconds, peak memory of a process, and whether the thousandth case costs
what the first did. With ``--peers`` libsumo, MetaDrive and highway-env drive as many vehicles in
environments of their own (``.peers``, made by ``make peers``): they answer without scores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from memory import peak_mb

from schemas.case import AgentsMode, Case
from schemas.labels import AgentClass, EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks
from simulation.batch import CaseBatch, ReadyCase, ready, stack
from simulation.behaviours import AgentMode
from simulation.cases import make_case
from simulation.engine import Rollout, simulate
from simulation.planners import planner
from simulation.running import run_cases
from simulation.scores import measure


def lane(feature_id: int, y: float) -> MapFeature:
    """A lane to the east, without limit."""
    x = np.arange(-200.0, 500.0, 5.0)
    return MapFeature(
        feature_id=feature_id, source_id=str(feature_id), layer=MapLayer.LANE,
        points=np.column_stack([x, np.full(len(x), y), np.zeros(len(x))]),
        lane_type=LaneType.VEHICLE, speed_limit=13.9,
    )  # fmt: skip


BESIDE = np.array([[0, EdgeKind.LEFT, 1], [1, EdgeKind.RIGHT, 0]], dtype=np.int64)


def drawn(index: int, *, agents: int, steps: int, rng: np.random.Generator) -> Scene:
    """An ego and others at random places of two lanes and their kerbs."""
    begin = np.column_stack(
        [rng.uniform(-80, 80, agents), rng.choice([0.0, 3.5, -4.0, 7.5], agents)]
    )
    begin[0] = 0.0
    speed = np.where(rng.random(agents) < 0.5, rng.uniform(3, 12, agents), 0.0)
    speed[0], t = 9.0, (np.arange(steps) - 10) * DT
    xy = begin[:, None] + np.stack([speed[:, None] * t, np.zeros((agents, steps))], axis=-1)
    nothing = np.zeros((agents, steps), dtype=np.float32)
    tracks = Tracks(
        track_id=np.arange(agents), cls=np.full(agents, int(AgentClass.VEHICLE)),
        size=np.tile(np.array([4.6, 1.9, 1.6], dtype=np.float32), (agents, 1)), xy=xy.astype(np.float32),
        z=nothing, yaw=nothing, velocity=np.gradient(xy, DT, axis=1).astype(np.float32),
        valid=np.ones((agents, steps), dtype=bool), lane=nothing.astype(np.int64),
        lane_s=nothing, lane_d=nothing, on_lane=nothing.astype(bool),
    )  # fmt: skip
    return Scene(
        scene_id=index, log_id=1, dataset="bench", name=str(index), t0_ns=0, anchor=10,
        tracks=tracks, map=RoadMap(source_map_id="bench", features=(lane(0, 0.0), lane(1, 3.5)), edges=BESIDE),
        signals=Signals.none(steps), has_ego=True, has_map=True, has_signals=False,
        origin=np.zeros(3),
    )  # fmt: skip


def made(scenes: list[Scene], agents: AgentsMode) -> list[ReadyCase]:
    """The cases of the scenes, ready to drive."""
    cases = [make_case(scene, suite="bench", agents=agents) for scene in scenes]
    return [ready(c, s) for c, s in zip(cases, scenes, strict=True) if isinstance(c, Case)]


AGENTS = ("log", "idm", "mixed", "log_then_idm", "mobil")
"""How the others move; mixed: every other by IDM, the rest as logged."""


def batch_of(scenes: list[Scene], agents: str) -> list[ReadyCase]:
    """The cases of the scenes, ready to drive."""
    if agents != "mixed":
        return made(scenes, agents)
    modes = [AgentMode.IDM if i % 2 else AgentMode.LOG for i in range(len(scenes[0].tracks.cls))]
    cases = [make_case(scene, suite="bench", agents="log") for scene in scenes]
    return [
        ready(c, s, mode=modes) for c, s in zip(cases, scenes, strict=True) if isinstance(c, Case)
    ]


def copied(rollout: Rollout) -> float:
    """Seconds that copying a rollout's states takes, step by step."""
    states = [rollout.xy, rollout.yaw, rollout.velocity, rollout.valid]
    best = np.inf
    for _ in range(5):
        into = [np.empty_like(array) for array in states]
        began = time.perf_counter()
        for step in range(len(rollout.xy)):
            for target, source in zip(into, states, strict=True):
                target[step] = source[step]
        best = min(best, time.perf_counter() - began)
    return best


def on_one_core(agents: list[int], seconds: float) -> None:
    """Print the first table."""
    print(f"One core, {seconds:g} s at 10 Hz, in thousands of agent-steps a second.\n")
    print("| agents | others | planner | driven | scored | ms a case | one at a time | memory |")
    print("|---|---|---|---|---|---|---|---|")
    steps = 11 + round(seconds / DT)
    for number in agents:
        rng = np.random.default_rng(number)
        count = max(4096 // number, 16)
        scenes = [drawn(i, agents=number, steps=steps, rng=rng) for i in range(count)]
        for others in AGENTS:
            cases = batch_of(scenes, others)
            batch = stack(cases)
            for name in ("constant_velocity", "idm", "pdm"):
                if name == "pdm" and (others != "idm" or number != 32):
                    continue
                row = _row(cases, batch, name)
                print(f"| {number} | {others} | {name} | {row} |", flush=True)


def _row(cases: list[ReadyCase], batch: CaseBatch, name: str) -> str:
    rollout = simulate(batch, planner(name))
    measure(rollout)
    driven, scored = np.inf, np.inf
    for _ in range(3 if name != "pdm" else 1):
        began = time.perf_counter()
        rollout = simulate(batch, planner(name))
        driven = min(driven, time.perf_counter() - began)
        measure(rollout)
        scored = min(scored, time.perf_counter() - began)
    few = cases[:8]
    began = time.perf_counter()
    alone = sum(simulate(stack([case]), planner(name)).agent_steps for case in few)
    floor = alone / (time.perf_counter() - began)
    total = rollout.agent_steps
    told = [
        total / driven,
        total / scored,
        scored / len(cases) * 1e6,
        floor,
        total / copied(rollout),
    ]
    return " | ".join(
        f"{value / 1e3:,.1f}" if k == 2 else f"{value / 1e3:,.0f}" for k, value in enumerate(told)
    )


def drive_some(first: int, count: int, agents: int, steps: int) -> tuple[int, int, float, float]:
    """In a process: so many cases as `suite run` drives them; passed, steps, seconds, peak MB."""
    rng = np.random.default_rng(first)
    began = time.perf_counter()

    def paired() -> Iterator[tuple[Case, Scene]]:
        for i in range(count):
            scene = drawn(first + i, agents=agents, steps=steps, rng=rng)
            case = make_case(scene, suite="bench", agents="idm")
            if isinstance(case, Case):
                yield case, scene

    passed = total = 0
    for ran in run_cases(paired(), planner("idm")):
        passed, total = passed + ran.result.passed, total + ran.agent_steps
    return passed, total, time.perf_counter() - began, peak_mb()


def on_all_cores(cases: int, agents: int, seconds: float) -> None:
    """Print the second table."""
    jobs = os.cpu_count() or 1
    steps = 11 + round(seconds / DT)
    print(
        f"\n{cases} cases of {agents} agents, {seconds:g} s, IDM traffic, the IDM planner, all scores, "
        f"{jobs} processes.\n"
    )
    print(
        "| cases | wall [s] | ms of a core a case | agent-steps/s/core | peak of a process [MB] |"
    )
    print("|---|---|---|---|---|")
    chunk = 256
    context = multiprocessing.get_context("spawn")
    for many in sorted({100, 1000, cases}):
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            list(pool.map(drive_some, range(jobs), [1] * jobs, [agents] * jobs, [steps] * jobs))
            began = time.perf_counter()
            firsts = list(range(0, many, chunk))
            counts = [min(chunk, many - first) for first in firsts]
            size = len(firsts)
            done = list(pool.map(drive_some, firsts, counts, [agents] * size, [steps] * size))
            wall = time.perf_counter() - began
        busy = sum(d[2] for d in done)
        total = sum(d[1] for d in done)
        print(
            f"| {many:,} | {wall:.1f} | {busy / many * 1e3:.1f} | {total / busy:,.0f} | "
            f"{max(d[3] for d in done):,.0f} |",
            flush=True,
        )


def beside_peers(seconds: float) -> None:
    """Print the rows of the peers, each from a process of its own environment."""
    script = Path(__file__).with_name("closed_loop_peers.py")
    python = Path(__file__).parents[1] / ".peers" / "bin" / "python"
    if not python.exists():
        print("\nNo peers: `make peers` installs them.")
        return
    print("\n| peer | vehicles | what it does | agent-steps/s |\n|---|---|---|---|")
    for number in (8, 32, 128):
        for peer in ("libsumo", "highway-env", "metadrive"):
            order = [str(python), str(script), peer, str(number), str(seconds)]
            done = subprocess.run(order, capture_output=True, text=True)
            said = done.stdout.strip().splitlines()
            print(said[-1] if done.returncode == 0 and said else
                  f"| {peer} | {number} | failed: {done.stderr.strip().splitlines()[-1:]} | |",
                  flush=True)  # fmt: skip


def main() -> None:
    """Read the options, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="*", default=[8, 32, 128], help="ego included")
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    on_one_core(options.agents, options.seconds)
    if options.peers:
        beside_peers(options.seconds)
    if options.cases:
        on_all_cores(options.cases, 32, options.seconds)


if __name__ == "__main__":
    main()

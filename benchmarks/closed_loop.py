"""Closed-loop speed on one core: agent-steps per second, beside a floor and a ceiling.

    python benchmarks/closed_loop.py [--cases 128] [--agents 32] [--seconds 8]

Every row drives the same cases: vehicles on two lanes, half of them moving, all within 80 m of the
ego. *floor* is the same engine asked one case at a time, as a simulator without batches works;
*ceiling* is the engine with neither collision checks nor planner. Collisions are separating-axis
tests of oriented boxes, ego against everyone within reach, every step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from schemas.case import AgentsMode, Case
from schemas.labels import AgentClass, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks
from simulation import engine
from simulation.batch import ReadyCase, ready, stack
from simulation.cases import make_case
from simulation.engine import Rollout, simulate
from simulation.planners import planner
from simulation.scores import measure


def lane(feature_id: int, y: float) -> MapFeature:
    """A lane to the east, without limit."""
    x = np.arange(-200.0, 500.0, 5.0)
    return MapFeature(
        feature_id=feature_id, source_id=str(feature_id), layer=MapLayer.LANE,
        points=np.column_stack([x, np.full(len(x), y), np.zeros(len(x))]),
        lane_type=LaneType.VEHICLE, speed_limit=13.9,
    )  # fmt: skip


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
        tracks=tracks, map=RoadMap(source_map_id="bench", features=(lane(0, 0.0), lane(1, 3.5))),
        signals=Signals.none(steps), has_ego=True, has_map=True, has_signals=False,
        origin=np.zeros(3),
    )  # fmt: skip


def made(scenes: list[Scene], agents: AgentsMode) -> list[ReadyCase]:
    """The cases of the scenes, ready to drive."""
    cases = [make_case(scene, suite="bench", agents=agents) for scene in scenes]
    return [ready(c, s) for c, s in zip(cases, scenes, strict=True) if isinstance(c, Case)]


def timed(name: str, run: Callable[[], list[Rollout]], *, repeats: int = 3) -> float:
    """Print the row of a way to run; agent-steps a second of the best of a few runs."""
    best, steps, cases = np.inf, 0, 0
    for _ in range(repeats):
        started = time.perf_counter()
        rollouts = run()
        best = min(best, time.perf_counter() - started)
        steps = sum(r.agent_steps for r in rollouts)
        cases = sum(len(r.batch) for r in rollouts)
    print(f"{name:<58}{steps / best:>14,.0f}{cases / best:>11.1f}{best:>9.2f}")
    return steps / best


def without_collisions(*arrays: np.ndarray) -> np.ndarray:
    """Nobody ever touches anybody."""
    return np.zeros_like(arrays[3])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=128)
    parser.add_argument("--agents", type=int, default=32, help="in each case, ego included")
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    steps = 11 + round(options.seconds / DT)
    scenes = [drawn(i, agents=options.agents, steps=steps, rng=rng) for i in range(options.cases)]
    replayed, reacting = stack(made(scenes, "log")), stack(made(scenes, "idm"))
    few = made(scenes[:8], "log")

    def scored() -> list[Rollout]:
        rollout = simulate(replayed, planner("idm"))
        measure(rollout)
        return [rollout]

    print(
        f"{options.cases} cases at once, {options.agents} agents each, {options.seconds:g} s at "
        f"10 Hz, one core\n"
    )
    print(f"{'':<58}{'agent-steps/s':>14}{'cases/s':>11}{'wall s':>9}")
    with patch.object(engine, "touching", without_collisions):
        timed(
            "ceiling: constant velocity, no collision checks",
            lambda: [simulate(replayed, planner("constant_velocity"))],
        )
    timed("constant velocity", lambda: [simulate(replayed, planner("constant_velocity"))])
    batched = timed("idm", lambda: [simulate(replayed, planner("idm"))])
    timed("idm, scored", scored)
    timed("idm, every other agent by IDM too", lambda: [simulate(reacting, planner("idm"))])
    timed("pdm", lambda: [simulate(replayed, planner("pdm"))], repeats=1)
    alone = timed(
        "floor: idm, one case after another",
        lambda: [simulate(stack([c]), planner("idm")) for c in few],
    )
    print(f"\nBatching is worth {batched / alone:.1f}×.")


if __name__ == "__main__":
    main()

"""Running cases: in batches, one planner's failure never another case's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from schemas.case import DONE, Case, Measured, Result
from schemas.errors import MissingData, PlannerFailed
from schemas.scene import Scene
from simulation import navsim
from simulation.agents import told
from simulation.batch import NOW, ReadyCase, ready, stack
from simulation.criteria import judge
from simulation.demands import met, queries_of
from simulation.driven import DrivenScenes
from simulation.driving_score import driving_score
from simulation.engine import Rollout, simulate
from simulation.protocol import Planner
from simulation.routes import LaneGraph
from simulation.scores import Drive, measure
from simulation.surface import Ground
from simulation.time_limit import TimeLimited

Progress = Callable[[int, int], None]
"""Called with (done, of)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ran:
    """One case, driven.

    Attributes:
        result: How it ended.
        drive: All that was measured; None where the planner failed.
        agent_steps: Agents that were there, summed over the simulated steps.
    """

    result: Result
    drive: Drive | None
    agent_steps: int


def run_cases(
    cases: Iterable[tuple[Case, Scene]],
    planner: Planner,
    *,
    batch: int = 256,
    timeout_s: float | None = None,
) -> Iterator[Ran]:
    """Drive cases, so many at a time, and judge each.

    A case whose scene no longer fits is an errored result, as is one in which the planner fails. A
    planner that raises for a whole batch, or takes too long, is asked again case by case; one that
    has hung in :data:`~simulation.time_limit.HUNG_MAX` cases is asked no more.

    Args:
        cases: With their scenes.
        planner: Who drives.
        batch: How many at a time.
        timeout_s: How long the planner may take for one answer; None: as long as it likes.
    """
    if timeout_s is not None:
        planner = TimeLimited(planner, timeout_s)
    maps: dict[int, tuple[LaneGraph, Ground]] = {}
    stream = iter(cases)
    while chunk := list(islice(stream, batch)):
        made: list[ReadyCase] = []
        for case, scene in chunk:
            key = id(scene.map)
            if scene.has_map and key not in maps:
                maps[key] = (LaneGraph(scene.map), Ground(scene.map))
            graph, ground = maps.get(key, (None, None))
            try:
                made.append(ready(case, scene, graph=graph, ground=ground))
            except MissingData as error:
                yield _errored(case, planner.name, error.message)
        if made:
            yield from _run(made, planner)
        # Maps are told apart by identity, which lasts only as long as their scenes do.
        maps.clear()


def _run(cases: Sequence[ReadyCase], planner: Planner) -> Iterator[Ran]:
    try:
        rollout = simulate(stack(cases), planner)
    except PlannerFailed as failure:
        if len(cases) == 1:
            yield _errored(cases[0].case, planner.name, failure.message)
        else:
            for one in cases:
                yield from _run([one], planner)
        return
    answers = _answers(rollout)
    drives = measure(rollout)
    scores = scores_of(rollout, drives)
    for index, drive in enumerate(drives):
        yield _judged(rollout, index, drive, answers.get(index, {}), scores[index])


def _answers(rollout: Rollout) -> dict[int, dict[str, Measured]]:
    """Of the cases that demand queries, what each is in what happened."""
    queries = {
        index: wanted
        for index, ready_case in enumerate(rollout.batch.ready)
        if index not in rollout.errors and (wanted := queries_of(ready_case.case))
    }
    driven = DrivenScenes()
    asked = [(wanted, driven.of(rollout, index)) for index, wanted in queries.items()]
    return dict(zip(queries, met(asked), strict=True))


def scores_of(rollout: Rollout, drives: Sequence[Drive]) -> list[dict[str, float]]:
    """Every published score of each case, in [0, 1], by name: nuplan, pdms, epdms and carla."""
    return [
        {"nuplan": drive.score, **of_navsim, "carla": driving_score(drive)}
        for drive, of_navsim in zip(drives, navsim.of_rollout(rollout, drives), strict=True)
    ]


def _judged(
    rollout: Rollout,
    index: int,
    drive: Drive,
    answers: Mapping[str, Measured],
    scores: Mapping[str, float],
) -> Ran:
    case = rollout.batch.ready[index].case
    steps = slice(NOW, NOW + case.horizon_steps + 1)
    error = rollout.errors.get(index)
    measured, passed = ({}, False) if error is not None else judge(case, drive, answers)
    result = Result(
        case=case,
        planner=rollout.planner,
        passed=passed,
        score=drive.score if error is None else 0.0,
        status=DONE if error is None else error,
        criteria=measured,
        steps=case.horizon_steps,
        trajectory=_trajectory(rollout, index, steps),
        agents=told(rollout.batch, rollout.traffic, index),
        scores=scores if error is None else {},
    )
    return Ran(
        result=result,
        drive=drive if error is None else None,
        agent_steps=int(rollout.valid[NOW + 1 :, index].sum()),
    )


def _trajectory(rollout: Rollout, index: int, steps: slice) -> Float[Array, "states 4"]:
    return np.concatenate(
        [
            rollout.xy[steps, index, 0],
            rollout.yaw[steps, index, 0][:, None],
            rollout.speed[steps, index][:, None],
        ],
        axis=-1,
    ).astype(np.float32)


def _errored(case: Case, planner: str, reason: str) -> Ran:
    result = Result(
        case=case,
        planner=planner,
        passed=False,
        score=0.0,
        status=reason,
        criteria={},
        steps=0,
        trajectory=np.zeros((0, 4), dtype=np.float32),
    )
    return Ran(result=result, drive=None, agent_steps=0)

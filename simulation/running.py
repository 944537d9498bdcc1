"""Running cases: in batches, one planner's failure never another case's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from lake import Lake
from schemas.case import DONE, NOT_DRIVABLE, Case, Measured, Result
from schemas.errors import MissingData, PlannerFailed
from schemas.scene import Scene
from simulation import navsim
from simulation.agents import told
from simulation.batch import NOW, ReadyCase, ready, stack
from simulation.criteria import judge
from simulation.demands import met, queries_of
from simulation.drivable import not_drivable
from simulation.driven import DrivenScenes
from simulation.driving_score import driving_score
from simulation.engine import Rollout, simulate
from simulation.protocol import UNWATCHED, Planner, Watch
from simulation.routes import LaneGraph
from simulation.scores import Drive, measure
from simulation.surface import Ground

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
    cases: Iterable[tuple[Case, Scene | None]],
    planner: Planner,
    *,
    batch: int = 256,
    index: Mapping[int, int] | None = None,
    watch: Watch = UNWATCHED,
) -> Iterator[Ran]:
    """Drive cases, so many at a time, and judge each.

    A case that nobody could drive is an errored result (its status begins with
    :data:`~schemas.case.NOT_DRIVABLE`), as is one in which the planner fails. A
    planner that raises for a whole batch is asked again case by case. One that hangs, or ends the
    process, stops all of them here; :mod:`simulation.guard` drives in processes apart.

    Args:
        cases: With their scenes, None where there is none any more.
        planner: Who drives.
        batch: How many at a time.
        index: Case id to what planners know the case by; None: its place in ``cases``.
        watch: Told whom the planner is asked for.
    """
    maps: dict[int, tuple[LaneGraph, Ground]] = {}
    stream = enumerate(cases)
    while chunk := list(islice(stream, batch)):
        made: list[tuple[int, ReadyCase]] = []
        for place, (case, scene) in chunk:
            if scene is None:
                yield errored(case, planner.name, f"{NOT_DRIVABLE}its scene is not in the lake")
                continue
            key = id(scene.map)
            if scene.has_map and key not in maps:
                maps[key] = (LaneGraph(scene.map), Ground(scene.map))
            graph, ground = maps.get(key, (None, None))
            known_by = place if index is None else index[case.case_id]
            try:
                one = ready(case, scene, graph=graph, ground=ground)
                why = not_drivable(case, scene, one.route)
            except MissingData as error:
                why = error.message
            if why is None:
                made.append((known_by, one))
            else:
                yield errored(case, planner.name, f"{NOT_DRIVABLE}{why}")
        if made:
            yield from _run(made, planner, watch)
        # Maps are told apart by identity, which lasts only as long as their scenes do.
        maps.clear()


def paired(lake: Lake, cases: Sequence[Case]) -> Iterator[tuple[Case, Scene | None]]:
    """Cases with their scenes, None where the lake has the scene no more."""
    there = set(lake.scene_ids())
    scenes = lake.scenes([case.scene_id for case in cases if case.scene_id in there])
    for case in cases:
        yield case, next(scenes) if case.scene_id in there else None


def _run(cases: Sequence[tuple[int, ReadyCase]], planner: Planner, watch: Watch) -> Iterator[Ran]:
    index, made = [i for i, _ in cases], [case for _, case in cases]
    try:
        rollout = simulate(stack(made, index), planner, watch)
    except PlannerFailed as failure:
        if len(cases) == 1:
            yield errored(made[0].case, planner.name, failure.message)
        else:
            for one in cases:
                yield from _run([one], planner, watch)
        return
    answers = _answers(rollout)
    drives = measure(rollout)
    scores = scores_of(rollout, drives)
    for place, drive in enumerate(drives):
        yield _judged(rollout, place, drive, answers.get(place, {}), scores[place])


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


def errored(case: Case, planner: str, reason: str) -> Ran:
    """A case that was not driven to its end, and why."""
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

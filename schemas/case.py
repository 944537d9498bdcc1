"""A closed-loop test case, what it demands, and how it ended: the records beside three tables.

A case is a scene, the step at which a planner takes the wheel, how long it drives, where it should
get, how the others move, what must hold, and where all this comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

AT_MOST = "<="
AT_LEAST = ">="

AgentsMode: TypeAlias = str
"""How the others move, in the words of :mod:`simulation.behaviours`: ``idm``, ``mixed:idm=0.5,log=0.5``."""

DRAWN_AS = "drawn_as"
"""Key of ``provenance``: the id that a case had when it was first made, as a text."""

CUT_FROM = "cut_from"
"""Key of ``provenance``: a hash of the scene as it was, see :mod:`simulation.unchanged`."""

DONE = "done"
"""Status of a case that ran to its end; anything else is the error that stopped it."""

NOT_DRIVABLE = "not drivable: "
"""How the status begins of a case that no planner could have driven: its scene or the case is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that a case may demand of the ego's drive.

    Attributes:
        name: As in ``cases.criteria``.
        doc: What is measured.
        unit: Of value and bound; empty for counts and ratios.
        sense: ``<=`` if the value must not exceed the bound, ``>=`` if it must reach it.
        bound: Used where the case names no other.
        source: Whose threshold it is.
    """

    name: str
    doc: str
    unit: str
    sense: str
    bound: float
    source: str

    def holds(self, value: float, bound: float) -> bool:
        """Whether a measured value satisfies a bound."""
        return value <= bound if self.sense == AT_MOST else value >= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A criterion, measured.

    Attributes:
        value: None where it cannot be known, as when there is no map; of a query 1 if it holds.
        bound: What the case demands; of a query 1.
        passed: None where the value is not known: such a criterion has no say in the verdict.
        detail: Why it is unknown, or what decided it.
    """

    value: float | None
    bound: float
    passed: bool | None
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """As kept in ``results.criteria``."""
        made: dict[str, Any] = {"value": self.value, "bound": self.bound, "passed": self.passed}
        return {**made, "detail": self.detail} if self.detail else made


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One closed-loop test.

    Attributes:
        case_id: Stable hash of suite and scene.
        suite: To which it belongs.
        scene_id: Where it takes place.
        start_step: Step of the scene at which the planner takes over.
        horizon_steps: How long it drives, in steps of 0.1 s.
        goal: Where the ego should get, log's frame [m].
        agents: How the others move.
        criteria: Name to bound, see :data:`simulation.criteria.CRITERIA`, or to a query that the
            drive must meet, see :mod:`simulation.demands`.
        ego_track_id: Who is driven: 0 is the recording vehicle, another is a stand-in for it.
        tags: Why the scene is in the suite.
        provenance: Log, gap, generator run, …, as JSON values.
        stratum: The kind of scenes that it was drawn from; empty where there is but one.
        weight: How many scenes it stands for.
        seed: Of what its agents draw; the suite's.
    """

    case_id: int
    suite: str
    scene_id: int
    start_step: int
    horizon_steps: int
    goal: tuple[float, float]
    agents: AgentsMode
    criteria: Mapping[str, float | str]
    ego_track_id: int = 0
    tags: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    stratum: str = ""
    weight: float = 1.0
    seed: int = 0

    @property
    def drawn_as(self) -> int:
        """The id that the draws of its agents go by: its own, or the one it was first made with.

        A case that is copied into another suite keeps it, and so stays the test that it was.
        """
        return int(self.provenance.get(DRAWN_AS, self.case_id))

    @property
    def cut_from(self) -> str | None:
        """The hash of the scene that the case was cut from; None where it kept none."""
        return self.provenance.get(CUT_FROM)

    def row(self, *, run_id: int) -> dict[str, Any]:
        """As a row of ``cases``."""
        return {
            "run_id": run_id,
            "case_id": self.case_id,
            "suite": self.suite,
            "scene_id": self.scene_id,
            "start_step": self.start_step,
            "horizon_steps": self.horizon_steps,
            "goal_x": self.goal[0],
            "goal_y": self.goal[1],
            "agents": self.agents,
            "criteria": json.dumps(dict(self.criteria)),
            "tags": list(self.tags),
            "provenance": json.dumps(
                {
                    **self.provenance,
                    "ego_track_id": self.ego_track_id,
                    "stratum": self.stratum,
                    "weight": self.weight,
                    "agents_seed": self.seed,
                }
            ),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Case:
        """The case of a row of ``cases``."""
        provenance = json.loads(row["provenance"])
        return cls(
            case_id=int(row["case_id"]),
            suite=row["suite"],
            scene_id=int(row["scene_id"]),
            start_step=int(row["start_step"]),
            horizon_steps=int(row["horizon_steps"]),
            goal=(float(row["goal_x"]), float(row["goal_y"])),
            agents=row["agents"],
            criteria=json.loads(row["criteria"]),
            ego_track_id=int(provenance.pop("ego_track_id", 0)),
            stratum=str(provenance.pop("stratum", "")),
            weight=float(provenance.pop("weight", 1.0)),
            seed=int(provenance.pop("agents_seed", 0)),
            tags=tuple(row["tags"] or ()),
            provenance=provenance,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """How one case ended.

    Attributes:
        case: Which one.
        planner: Who drove.
        passed: Whether every criterion that could be known held.
        score: In [0, 1], as nuPlan weighs it.
        status: :data:`DONE`, or the error that stopped the case.
        criteria: Name to measurement.
        steps: Simulated.
        trajectory: x, y, yaw, speed of the ego's box centre, from the start on [m, m, rad, m/s].
        agents: How the others moved and what became of them, by track id, as JSON values; see
            :func:`simulation.agents.told`.
        scores: Every published score in [0, 1] by name, see :func:`simulation.running.scores_of`; none
            of an errored case.
    """

    case: Case
    planner: str
    passed: bool
    score: float
    status: str
    criteria: Mapping[str, Measured]
    steps: int
    trajectory: Float[Array, "states 4"]
    agents: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Names of the criteria that did not hold."""
        return [name for name, measured in self.criteria.items() if measured.passed is False]

    def row(self, *, run_id: int) -> dict[str, Any]:
        """As a row of ``results``."""
        return {
            "run_id": run_id,
            "suite": self.case.suite,
            "case_id": self.case.case_id,
            "scene_id": self.case.scene_id,
            "planner": self.planner,
            "passed": self.passed,
            "score": self.score,
            "status": self.status,
            "criteria": json.dumps({name: m.as_json() for name, m in self.criteria.items()}),
            "failed": self.failed,
            "steps": self.steps,
            "trajectory": self.trajectory.astype(np.float32).tobytes(),
            "agents": json.dumps(dict(self.agents)),
            "scores": json.dumps(dict(self.scores)),
        }

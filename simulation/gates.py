"""Gates that need the closed loop: can the ego solve the scene, and is it more than trivial?

They have the shape of :class:`generation.gates.Gate`: a name, and a check of scenes whose future
begins after a step. Without the first, a suite punishes planners for what nobody could avoid;
without the second, it rewards them for nothing (NAVSIM 2 drops cases that constant velocity
passes; STRIVE keeps only attacks that some drive escapes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from generation.gates import Verdict
from schemas.case import AgentsMode, Case
from schemas.scene import Scene
from simulation.cases import make_case
from simulation.criteria import ALWAYS
from simulation.planners import planner
from simulation.running import Ran, run_cases

REFERENCES = ("pdm", "oracle")
"""Asked in this order; the second only for what the first could not solve."""

SOLUTION_RULES = {"no_at_fault_collision": 0.0, "drivable_area": 0.3, "driving_direction": 6.0}
"""What a solution must keep to; it need not be quick."""


class Solvable:
    """A reference planner drives the scene without an at-fault collision and stays on the road.

    The value is the best reference's score; the verdict says which one solved it.
    """

    name = "solvable"

    def __init__(
        self, *, references: Sequence[str] = REFERENCES, agents: AgentsMode = "log"
    ) -> None:
        """Choose who may try, and how the others move meanwhile."""
        self.references, self.agents = tuple(references), agents

    def check(self, scenes: Sequence[Scene], start: int) -> list[Verdict]:
        """One verdict a scene."""
        made = [_case(scene, start, self.agents, SOLUTION_RULES) for scene in scenes]
        verdicts: list[Verdict | None] = [
            Verdict(value=0.0, bound=0.0, passed=False, detail=c) if isinstance(c, str) else None
            for c in made
        ]
        best = [0.0] * len(scenes)
        why = [""] * len(scenes)
        for name in self.references:
            left = [i for i, verdict in enumerate(verdicts) if verdict is None]
            for index, ran in _drive(name, scenes, made, left):
                best[index] = max(best[index], ran.result.score)
                why[index] = _failure(ran)
                if ran.result.passed:
                    verdicts[index] = Verdict(
                        value=ran.result.score, bound=0.0, passed=True, detail=f"{name} solves it"
                    )
        return [
            Verdict(value=best[i], bound=0.0, passed=False, detail=f"nobody solves it: {why[i]}")
            if verdict is None
            else verdict
            for i, verdict in enumerate(verdicts)
        ]


class NonTrivial:
    """Constant velocity from the start breaks a hard rule of the scene.

    The value is the number of rules that it breaks, which must be one at least.
    """

    name = "non_trivial"

    def __init__(self, *, agents: AgentsMode = "log") -> None:
        """Choose how the others move meanwhile."""
        self.agents = agents

    def check(self, scenes: Sequence[Scene], start: int) -> list[Verdict]:
        """One verdict a scene."""
        made = [_case(scene, start, self.agents, None) for scene in scenes]
        verdicts = [
            Verdict(value=0.0, bound=1.0, passed=False, detail=c if isinstance(c, str) else "")
            for c in made
        ]
        drivable = [i for i, c in enumerate(made) if not isinstance(c, str)]
        for index, ran in _drive("constant_velocity", scenes, made, drivable):
            broken = len(ran.result.failed)
            verdicts[index] = Verdict(
                value=float(broken),
                bound=1.0,
                passed=broken >= 1,
                detail=_failure(ran) or "constant velocity passes",
            )
        return verdicts


def solvable(*, references: Sequence[str] = REFERENCES, agents: AgentsMode = "log") -> Solvable:
    """The gate that a reference planner can drive the scene."""
    return Solvable(references=references, agents=agents)


def non_trivial(*, agents: AgentsMode = "log") -> NonTrivial:
    """The gate that constant velocity cannot."""
    return NonTrivial(agents=agents)


def _case(
    scene: Scene, start: int, agents: AgentsMode, rules: dict[str, float] | None
) -> Case | str:
    made = make_case(scene, suite="gate", agents=agents, start=start, allow_proxy=False)
    if isinstance(made, str):
        return made
    return replace(made, criteria=rules or {name: made.criteria[name] for name in ALWAYS})


def _drive(
    name: str, scenes: Sequence[Scene], made: Sequence[Case | str], which: Sequence[int]
) -> list[tuple[int, Ran]]:
    """(index, how it went) of the chosen scenes."""
    pairs = [(c, scenes[i]) for i in which if isinstance(c := made[i], Case)]
    return list(zip(which, run_cases(pairs, planner(name), batch=64), strict=True))


def _failure(ran: Ran) -> str:
    """What went wrong, in a phrase; empty if nothing did."""
    if not ran.result.criteria:
        return ran.result.status
    return "; ".join(
        f"{name} {m.value:.2f}" + (f" ({m.detail})" if m.detail else "")
        for name, m in ran.result.criteria.items()
        if m.passed is False and m.value is not None
    )

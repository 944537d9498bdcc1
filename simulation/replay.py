"""A drive seen again: the ego on the trajectory that its run kept, the others simulated round it.

Nobody is asked to drive. What is shown is what happened in the run, though the planner may be gone, or
slow, or never do the same twice. The others move as their case says, and react to the same ego: in
float32, which is what is kept, to a thousandth of a millimetre.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.case import Result
from schemas.errors import MissingData
from schemas.scene import Scene
from simulation.batch import NOW, ready, stack
from simulation.engine import Reference, Rollout, simulate
from simulation.protocol import CaseBatchView, Observation, Plan


def replayed(results: Sequence[tuple[Result, Scene]]) -> Rollout:
    """What happened in each of some cases, all driven by one planner.

    Args:
        results: With the scenes of their cases; those that errored before they began have no drive.

    Raises:
        MissingData: A scene is no longer that of its case, or a result kept no drive of it.
    """
    for result, _ in results:
        wanted = result.case.horizon_steps + 1
        if len(result.trajectory) != wanted:
            raise MissingData(
                f"Case {result.case.case_id} kept {len(result.trajectory)} states of {wanted}.",
                hint="Run the suite again.",
            )
    batch = stack([ready(result.case, scene) for result, scene in results])
    return simulate(batch, _Replay([result for result, _ in results]))


class _Replay(Reference):
    """Puts each ego where it was."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.name = results[0].planner
        self._results = results

    def start(self, cases: CaseBatchView) -> None:
        """Line up the trajectories; a shorter one stays at its end."""
        steps = self.batch.steps - NOW
        self._states = np.zeros((steps, len(cases), 4))
        for index, result in enumerate(self._results):
            many = len(result.trajectory)
            self._states[:many, index] = result.trajectory
            self._states[many:, index] = result.trajectory[-1]

    def plan(self, obs: Observation) -> Plan:
        """The next state of each."""
        return Plan(trajectory=self._states[obs.step + 1][:, None], exact=True)

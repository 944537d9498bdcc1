"""Fixed-time traffic signals: phases of green, yellow and all-red over groups of movements.

A group is a set of lanes through the junction that always show the same state. The plan repeats
with a cycle time of a minute or so; what a group shows is a pure function of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from geometry.arrays import Array
from schemas.labels import LightState
from simulation.kernels import compiled

YELLOW_S = 3.0
ALL_RED_S = 2.0
_RED = int(LightState.RED)


@dataclass(frozen=True, slots=True, eq=False)
class SignalPlan:
    """A repeating sequence of phases.

    Attributes:
        ends: When each phase ends, since the cycle began [s].
        states: What each group shows in each phase, codes of ``LightState``.
        offset: Into the cycle at time 0 [s].
    """

    ends: Array
    states: Int[Array, "phases groups"]
    offset: float

    @property
    def cycle(self) -> float:
        """Until it repeats [s]."""
        return float(self.ends[-1])

    def state(self, t: float) -> Int[Array, " groups"]:
        """What every group shows at a time [s]."""
        phase = np.searchsorted(self.ends, (t + self.offset) % self.cycle, side="right")
        return np.asarray(self.states[min(int(phase), len(self.ends) - 1)])

    def red_for(self, group: int, t: float) -> float:
        """How long a group will stay red from a time on; 0 if it is not red [s]."""
        return red_for(self.ends, self.states, (t + self.offset) % self.cycle, group)


@compiled
def red_for(ends: Array, states: Array, now: float, group: int) -> float:
    """Likewise, of a plan's arrays at a time within the cycle."""
    phase = min(int(np.searchsorted(ends, now, side="right")), len(ends) - 1)
    left = 0.0
    for _ in range(len(ends)):
        if states[phase, group] != _RED:
            return left
        left += ends[phase] - now
        phase = (phase + 1) % len(ends)
        now = ends[phase - 1] if phase else 0.0
    return left


def plan(
    greens: Sequence[tuple[Sequence[int], float]], *, groups: int, offset: float
) -> SignalPlan:
    """A plan in which the listed sets of groups have green one after another.

    Args:
        greens: (groups that have green together, for how long [s]) in order.
        groups: How many groups there are.
        offset: Into the cycle at time 0 [s].
    """
    ends: list[float] = []
    states: list[list[int]] = []
    clock = 0.0
    for members, duration in greens:
        for state, lasts in (
            (LightState.GREEN, duration),
            (LightState.YELLOW, YELLOW_S),
            (LightState.RED, ALL_RED_S),
        ):
            clock += lasts
            ends.append(clock)
            states.append([int(state if g in members else LightState.RED) for g in range(groups)])
    return SignalPlan(np.array(ends), np.array(states, dtype=np.int64), offset)

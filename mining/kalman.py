"""How far from a straight course: the error of a Kalman forecast, which tells easy futures from hard.

After UniTraj (Feng et al. 2024): what a constant-velocity Kalman filter over the observed past
forecasts well needs no better model. On a uniform clock the filter's estimate is a fixed weighing
of the positions, the same for all tracks of one length, so that no track is filtered by itself.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.scene import DT

PROCESS = 1.0
"""[m/s²] Standard deviation of the acceleration that the filter reckons with."""
MEASUREMENT = 0.1
"""[m] Standard deviation of the positions."""
LEAST_STEPS = 3
"""A past that is shorter tells no velocity to rely on."""
MOST_STEPS = 50
"""Steps farther back weigh nothing."""


@lru_cache(maxsize=MOST_STEPS)
def weights(steps: int) -> Float[Array, "2 steps"]:
    """How position [1] and velocity [1/s] after so many steps follow from the positions, oldest first."""
    transition = np.array([[1.0, DT], [0.0, 1.0]])
    process = PROCESS**2 * np.array([[DT**4 / 4, DT**3 / 2], [DT**3 / 2, DT**2]])
    state = np.zeros((2, steps))
    state[0, 0] = 1.0
    covariance = np.diag([MEASUREMENT**2, 1e4])
    for k in range(1, steps):
        state = transition @ state
        covariance = transition @ covariance @ transition.T + process
        gain = covariance[:, 0] / (covariance[0, 0] + MEASUREMENT**2)
        seen = np.zeros(steps)
        seen[k] = 1.0
        state = state + np.outer(gain, seen - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
    return state


def forecast_error(
    xy: Float[Array, "agents steps 2"],
    valid: Bool[Array, "agents steps"],
    *,
    now: int,
    after: Int[Array, " horizons"],
) -> tuple[Float[Array, "agents horizons"], Bool[Array, "agents horizons"]]:
    """Distance between forecast and truth (EPE) at steps after now, and where it is known.

    Known where the agent is seen at that step, and now with the two steps before.

    Args:
        xy: Positions [m].
        valid: Where they are observed.
        now: The last step that the filter sees.
        after: Steps after now; those beyond the end are not known.
    """
    gone = np.flatnonzero
    past = np.zeros(len(xy), dtype=np.int64)  # steps without a gap that end now
    begin = max(0, now + 1 - MOST_STEPS)
    for i, row in enumerate(valid[:, begin : now + 1]):
        lacks = gone(~row)
        past[i] = len(row) - (lacks[-1] + 1 if len(lacks) else 0)
    there = np.minimum(now + after, xy.shape[1] - 1)
    known = (past >= LEAST_STEPS)[:, None] & valid[:, there] & (now + after < xy.shape[1])
    error = np.zeros(known.shape)
    for steps in np.unique(past[known.any(axis=1)]).tolist():
        rows = np.flatnonzero(known.any(axis=1) & (past == steps))
        seen = xy[rows, now + 1 - steps : now + 1]
        place, velocity = np.einsum("sk,nkc->snc", weights(steps), seen)
        ahead = place[:, None] + velocity[:, None] * (after * DT)[None, :, None]
        error[rows] = np.hypot(*np.moveaxis(ahead - xy[rows][:, there], -1, 0))
    return np.where(known, error, 0.0), known

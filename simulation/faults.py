"""Whose fault an impact is that only replay made possible.

nuPlan's classes ask where the ego was hit and whether it stood (5 cm/s at most). They blame an ego that
still rolls while it yields: a replayed vehicle which in the log found the road free drives into its side
in an intersection, or across its bumper. The log says nothing about what that driver would have done;
it saw nobody. Such an impact is excused if, when it happens,

- the other takes no notice of anybody: it replays the log, or goes straight on by design; or it did so
  until a second ago, less than a driver needs to perceive and to brake;
- the ego yields: it goes at 0.5 m/s at most, or at 2 m/s at most and has slowed down by 1 m/s or more within
  the last second;
- the ego is more than a metre from where the log has it, so that the recording says nothing; and
- it is the other that closes in: along the line between their centres, its speed towards the ego is
  greater than the ego's towards it.

An ego that runs into what is before it closes in itself and is blamed as ever, however hard it brakes. So is
one that drives on at more than a walk: in front of whoever is faster it would seem to be closed in upon.
"""

from __future__ import annotations

import numpy as np

from simulation.batch import NOW
from simulation.behaviours import AgentMode
from simulation.engine import Rollout
from simulation.fallback import OFF_LOG_M

CRAWL = 0.5  # [m/s]
WALK = 2.0  # [m/s]
SLOWED = 1.0  # [m/s]
WITHIN_STEPS = 10
REACTION_STEPS = 10


def excuse(rollout: Rollout, *, case: int, agent: int, step: int) -> str:
    """Why the ego is not to blame for an impact with an agent; empty where nothing excuses it.

    Args:
        rollout: What happened.
        case: In which case.
        agent: Place of the other.
        step: Of the impact.
    """
    batch = rollout.batch
    if not rollout.valid[step - 1, case, agent]:
        return "it came into being there"
    since = rollout.traffic.reacts_from[case, agent]
    late = batch.mode[case, agent] == AgentMode.LOG_THEN_IDM and since > step - REACTION_STEPS
    if since >= 0 and not late:
        return ""
    speed = rollout.speed[:, case]
    slowed = float(
        np.abs(speed[max(step - WITHIN_STEPS, NOW) : step + 1]).max() - abs(speed[step])
    )
    if abs(speed[step]) > (WALK if slowed >= SLOWED else CRAWL):
        return ""
    logged = batch.xy[step, case, 0]
    if batch.valid[step, case, 0] and np.hypot(*(rollout.xy[step, case, 0] - logged)) <= OFF_LOG_M:
        return ""
    towards_ego = rollout.xy[step, case, 0] - rollout.xy[step, case, agent]
    theirs = float(rollout.velocity[step, case, agent] @ towards_ego)
    ours = float(-rollout.velocity[step, case, 0] @ towards_ego)
    if theirs <= max(ours, 0.0):
        return ""
    stands = abs(speed[step]) <= CRAWL
    return f"it replayed the log and drove into an ego that {'stood' if stands else 'slowed down'}"

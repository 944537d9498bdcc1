"""How the other road users move while a planner drives: each by its own column of the batch.

``log`` replays the recording, ``constant_velocity`` goes straight on from the start, ``idm`` keeps
to its logged line but not to its logged speed: it keeps its distance from anyone in its way, the
ego included, and heeds signals. An IDM agent

- comes and goes as :mod:`simulation.presence` says;
- wants to go as fast as it ever went in the log, 5 m/s at least, but in bends no faster than these allow
  or than it went there; one that stood throughout, stands.

``idm``, ``log_then_idm`` and ``mobil`` are in :mod:`simulation.reacting`, ``yielding`` in
:mod:`simulation.yielding`, ``diffusion`` in :mod:`simulation.diffusing`; what each agent does is drawn in :mod:`simulation.behaviours`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.scene import DT
from simulation.batch import NOW, CaseBatch
from simulation.behaviours import BLIND, MIXED, AgentMode
from simulation.diffusing import Diffusing
from simulation.following import Everyone
from simulation.reacting import Reacting
from simulation.yielding import Yielding


@dataclass(frozen=True, slots=True, eq=False)
class TrafficLog:
    """What became of the others of a batch.

    Attributes:
        reacts_from: Step from which on each agent reacts; −1 for those that take no notice of anybody.
        kept_out: Whether it could not enter, somebody being in its place.
        lane_changes: How many it began.
    """

    reacts_from: Int[Array, "cases agents"]
    kept_out: Bool[Array, "cases agents"]
    lane_changes: Int[Array, "cases agents"]


def told(batch: CaseBatch, log: TrafficLog, case: int) -> dict[str, Any]:
    """What a result says about the agents of its case.

    ``behaviours`` is there where each drew its own: behaviour to track ids, those that replay the log
    left out. ``fell_back`` is track id to seconds after the start, ``kept_out`` track ids, and
    ``lane_changes`` track id to how many; what did not happen is left out.
    """
    ready = batch.ready[case]
    ids = batch.track_id[case].tolist()
    mode = batch.mode[case, : len(ready.track_id)]
    made: dict[str, Any] = {}
    if ready.case.agents.startswith(MIXED):
        made["behaviours"] = {
            kind.name.lower(): [ids[i] for i in np.flatnonzero(mode == kind).tolist() if i > 0]
            for kind in AgentMode
            if kind != AgentMode.LOG and (mode[1:] == kind).any()
        }
    fell = np.flatnonzero(
        (mode == AgentMode.LOG_THEN_IDM) & (log.reacts_from[case, : len(mode)] >= 0)
    )
    events = {
        "fell_back": {
            str(ids[i]): round(float(log.reacts_from[case, i] - NOW) * DT, 1)
            for i in fell.tolist()
        },
        "kept_out": [ids[i] for i in np.flatnonzero(log.kept_out[case]).tolist()],
        "lane_changes": {
            str(ids[i]): int(log.lane_changes[case, i])
            for i in np.flatnonzero(log.lane_changes[case]).tolist()
        },
    }
    return {**made, **{name: value for name, value in events.items() if value}}


class Traffic:
    """The others of a batch, one step at a time."""

    def __init__(self, batch: CaseBatch) -> None:
        """Find who moves how."""
        self.batch = batch
        steady = batch.mode == AgentMode.CONSTANT_VELOCITY
        steady[:, 0] = False
        self.logged = batch.mode == AgentMode.LOG
        self.logged[:, 0] = False
        self.steady = np.nonzero(steady & batch.valid[NOW])
        self.reacting = Reacting(batch)
        self.yielding = Yielding(batch)
        self.diffusing = Diffusing(batch)
        movers = (self.reacting, self.yielding, self.diffusing)
        self.anyone_reacts = any(len(some.case) for some in movers)
        self._desired = np.full(batch.valid.shape[1:], -1.0)
        self.reacting.desired_of_all(self._desired)

    def log(self) -> TrafficLog:
        """What became of everybody so far."""
        batch, reacting, yielding = self.batch, self.reacting, self.yielding
        blind = np.isin(batch.mode, [int(mode) for mode in BLIND])
        since = np.where(blind | (batch.track_id < 0), -1, 0)
        since[reacting.case, reacting.agent] = reacting.since
        since[:, 0] = 0
        kept_out = np.zeros(batch.mode.shape, dtype=bool)
        for some in (reacting, yielding, self.diffusing):
            kept_out[some.case, some.agent] = some.kept_out
        changes = np.zeros(batch.mode.shape, dtype=np.int64)
        changes[reacting.case, reacting.agent] = reacting.changes
        return TrafficLog(reacts_from=since, kept_out=kept_out, lane_changes=changes)

    def step(
        self,
        step: int,
        xy: Float[Array, "cases agents 2"],
        yaw: Float[Array, "cases agents"],
        velocity: Float[Array, "cases agents 2"],
        valid: Bool[Array, "cases agents"],
    ) -> tuple[Array, Array, Array, Array]:
        """Where everyone is 0.1 s later, as ``xy, yaw, velocity, valid``; the ego's is not set."""
        batch, following = self.batch, step + 1
        next_xy = np.where(self.logged[..., None], batch.xy[following], 0.0)
        next_yaw = np.where(self.logged, batch.yaw[following], 0.0)
        next_velocity = np.where(self.logged[..., None], batch.velocity[following], 0.0)
        next_valid = self.logged & batch.valid[following]
        if len(self.steady[0]):
            who = self.steady
            next_xy[who] = xy[who] + velocity[who] * DT
            next_yaw[who], next_velocity[who], next_valid[who] = yaw[who], velocity[who], True
        if not self.anyone_reacts:
            return next_xy, next_yaw, next_velocity, next_valid
        everyone = Everyone(xy=xy, yaw=yaw, velocity=velocity, size=batch.size, valid=valid)
        if len(self.reacting.case):
            who = (self.reacting.case, self.reacting.agent)
            moved = self.reacting.step(step, everyone, self._desired)
            next_xy[who], next_yaw[who], next_velocity[who], next_valid[who] = moved
        if len(self.yielding.case):
            who = (self.yielding.case, self.yielding.agent)
            moved = self.yielding.step(step, everyone)
            next_xy[who], next_yaw[who], next_velocity[who], next_valid[who] = moved
        if len(self.diffusing.case):
            who = (self.diffusing.case, self.diffusing.agent)
            moved = self.diffusing.step(step, everyone)
            next_xy[who], next_yaw[who], next_velocity[who], next_valid[who] = moved
        return next_xy, next_yaw, next_velocity, next_valid

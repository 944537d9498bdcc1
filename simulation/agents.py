"""How the other road users move while a planner drives: each by its own column of the batch.

``log`` replays the recording, ``constant_velocity`` goes straight on from the start, ``idm`` keeps
to its logged line but not to its logged speed: it keeps its distance from anyone in its way, the
ego included, and heeds signals. An IDM agent

- enters at its first logged step, unless somebody stands there by then: then never, so that no
  traffic appears inside others (nuplan-devkit #421);
- wants to go as fast as it ever went in the log, 5 m/s at least; one that stood throughout, stands;
- leaves at the end of its logged line if the log lost sight of it there, else drives straight on.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from geometry.boxes import overlap
from schemas.scene import DT
from simulation.batch import AGENT_PATH_EXTENSION_M, NOW, PARKED_M, AgentMode, CaseBatch
from simulation.following import Everyone, leader_braking, signal_braking
from simulation.idm import BRAKE_MAX, TRAFFIC, free

DESIRED_FLOOR = 5.0  # [m/s]


class Traffic:
    """The others of a batch, one step at a time."""

    def __init__(self, batch: CaseBatch) -> None:
        """Find who moves how."""
        self.batch = batch
        idm = batch.mode == AgentMode.IDM
        idm[:, 0] = False
        steady = batch.mode == AgentMode.CONSTANT_VELOCITY
        steady[:, 0] = False
        self.logged = ~idm & ~steady
        self.logged[:, 0] = False
        self.steady = np.nonzero(steady & batch.valid[NOW])
        self.case, self.agent = np.nonzero(idm)
        self.path = batch.line_of[self.case, self.agent]
        self.size = np.ascontiguousarray(batch.size[self.case, self.agent])
        here = batch.valid[NOW:, self.case, self.agent]
        self.enters = NOW + here.argmax(axis=0)
        self.inside = here[0].copy()
        self.s = np.zeros(len(self.case))
        begin = batch.velocity[self.enters, self.case, self.agent]
        self.speed = np.hypot(begin[:, 0].copy(), begin[:, 1].copy())
        moving = batch.velocity[NOW:, self.case, self.agent]
        logged_speed = np.where(here, np.hypot(moving[..., 0].copy(), moving[..., 1].copy()), 0.0)
        length = batch.lines.length[self.path] if len(self.path) else np.zeros(0)
        self.parked = length - AGENT_PATH_EXTENSION_M <= 2.0 * PARKED_M
        self.speed = np.where(self.parked, 0.0, self.speed)
        self.desired = np.maximum(logged_speed.max(axis=0, initial=0.0), DESIRED_FLOOR)
        last = NOW + (len(here) - 1 - here[::-1].argmax(axis=0)) if len(here) else self.enters
        ends = NOW + batch.horizon[self.case]
        # Lost from sight before the end: it left the scene where its line ended.
        self.leaves_at = np.where(last < ends, length - AGENT_PATH_EXTENSION_M, np.inf)
        self.gone = np.zeros(len(self.case), dtype=bool)

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
        if len(self.case):
            self._drive(step, xy, yaw, velocity, valid)
            self._enter(following, xy, yaw, valid)
            where, heading = batch.lines.pose(self.path, self.s)
            moving = self.speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
            who = (self.case, self.agent)
            # A standing agent keeps its logged pose: its line has no direction to speak of.
            entered = batch.xy[self.enters, self.case, self.agent]
            turned = batch.yaw[self.enters, self.case, self.agent]
            next_xy[who] = np.where(self.parked[:, None], entered, where)
            next_yaw[who] = np.where(self.parked, turned, heading)
            next_velocity[who], next_valid[who] = moving, self.inside
        return next_xy, next_yaw, next_velocity, next_valid

    def _drive(self, step: int, xy: Array, yaw: Array, velocity: Array, valid: Array) -> None:
        batch = self.batch
        mover = np.flatnonzero(self.inside & ~self.parked)
        if len(mover) == 0:
            return
        s, speed, size = self.s[mover], self.speed[mover], self.size[mover]
        everyone = Everyone(xy=xy, yaw=yaw, velocity=velocity, size=batch.size, valid=valid)
        braking = leader_braking(
            batch.lines, self.path[mover], s, speed, size,
            (self.case[mover], self.agent[mover]), everyone, TRAFFIC,
        )  # fmt: skip
        if len(batch.line_stops.path):
            rows = np.full(len(batch.lines.count), -1, dtype=np.int64)
            rows[self.path[mover]] = np.arange(len(mover))
            braking = np.maximum(
                braking,
                signal_braking(
                    rows[batch.line_stops.path], batch.line_stops.s,
                    batch.line_stops.state[step], s, speed, size[:, 0], TRAFFIC,
                ),
            )  # fmt: skip
        acceleration = np.clip(
            free(speed, self.desired[mover], TRAFFIC) - braking, -BRAKE_MAX, TRAFFIC.acceleration
        )
        after = np.maximum(speed + acceleration * DT, 0.0)
        self.s[mover] = s + (speed + after) / 2.0 * DT
        self.speed[mover] = after
        left = self.s > self.leaves_at
        self.inside &= ~left
        self.gone |= left

    def _enter(self, following: int, xy: Array, yaw: Array, valid: Array) -> None:
        """Let in whoever the log first sees now, where there is room."""
        coming = np.flatnonzero((self.enters == following) & ~self.inside & ~self.gone)
        if len(coming) == 0:
            return
        batch = self.batch
        everyone = np.concatenate([xy, yaw[..., None], batch.size], axis=-1)
        case, agent = self.case[coming], self.agent[coming]
        box = np.concatenate(
            [
                batch.xy[following, case, agent],
                batch.yaw[following, case, agent][:, None],
                batch.size[case, agent],
            ],
            axis=-1,
        )
        row, other = np.nonzero(valid[case])
        blocked = np.zeros(len(coming), dtype=bool)
        np.logical_or.at(blocked, row, overlap(box[row], everyone[case[row], other]))
        self.inside[coming] = ~blocked
        self.gone[coming] = blocked

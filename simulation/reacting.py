"""Agents on a course of their own: IDM, IDM that changes lanes by MOBIL, and replay that falls back to IDM.

All follow a path by IDM at their real distance from it (:mod:`simulation.courses`). A replayed agent
begins its course where the log has it at the moment at which it begins to react; the others where
they enter, and MOBIL's drivers anew whenever they change lanes. During the first part of a change they
keep their distance from those on both lanes. Nobody breaks a change off.

Who drives backwards goes on so, and nobody turns faster than on a circle of 2 m: whatever a line does,
no box spins on the spot.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from geometry.angles import difference, wrap
from geometry.arrays import Array
from schemas.scene import DT
from simulation.batch import NOW, ON_LINES, CaseBatch
from simulation.behaviours import AgentMode
from simulation.courses import begun, moved, placed
from simulation.fallback import off_log, would_ram
from simulation.following import MARGIN_M, Everyone, leader_braking, signal_braking
from simulation.idm import BRAKE_MAX, TRAFFIC, free
from simulation.mobil import DRIVER, EVERY, SETTLE_STEPS, Mobil, decide
from simulation.presence import followed, has_room, presence_of

CHANGE_S = (
    5.0  # [s] of a lane change at the speed at which it begins (Toledo and Zohar 2007: 5 to 6 s)
)
CHANGE_LEAST_M = 20.0
JOIN_S, JOIN_LEAST_M = 2.0, 10.0  # [s], [m] in which a course joins a path it all but lies on
RADIUS_LEAST_M = 2.0  # nobody turns round a smaller circle
LEFT_BEHIND = 0.6  # progress of a change from which on those on the old lane are out of the way


class Reacting:
    """The agents of a batch that are on courses, one step at a time.

    Attributes:
        case: Of each of them.
        agent: Its place in the case.
        since: Step from which on it reacts, −1 as long as it does not.
        kept_out: Whether it could not enter, somebody being in its place.
        changes: How many changes of lane it began.
        desired: v₀ [m/s].
    """

    def __init__(self, batch: CaseBatch, mobil: Mobil = DRIVER) -> None:
        """Find who they are; nobody has begun.

        Args:
            batch: The cases.
            mobil: How those drive that change lanes.
        """
        self.batch, self._changes_of = batch, batch.lane_changes
        self._mobil = np.array(
            [mobil.politeness, mobil.threshold, mobil.safe_braking, mobil.bias]
        )  # fmt: skip
        self.case, self.agent = batch.who(*ON_LINES)
        self._ends = NOW + batch.horizon[self.case]
        count = len(self.case)
        mode = batch.mode[self.case, self.agent]
        self._replays, self._overtakes = mode == AgentMode.LOG_THEN_IDM, mode == AgentMode.MOBIL
        self.path = batch.line_of[self.case, self.agent]
        self._size = np.ascontiguousarray(batch.size[self.case, self.agent])
        known = presence_of(batch, self.case, self.agent)
        self._enters, self.parked, self.desired = known.enters, known.parked, known.desired
        self._leaves_at = known.leaves_at
        self.since = np.full(count, -1, dtype=np.int64)
        self.kept_out = np.zeros(count, dtype=bool)
        self.changes = np.zeros(count, dtype=np.int64)
        self._inside, self._gone = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self.s, self.speed = np.zeros(count), np.zeros(count)
        self._progress, self._offset, self._turn = np.ones(count), np.zeros(count), np.zeros(count)
        self._back = np.zeros(count, dtype=bool)
        self._yaw, self._moved = np.zeros(count), np.zeros(count)
        self._length = np.full(count, JOIN_LEAST_M)
        self._old_path, self._old_s = self.path.copy(), np.zeros(count)
        self._settled_at = np.zeros(count, dtype=np.int64)
        # Signals by path: rows of `line_stops` from begin to end.
        self._stop = np.argsort(batch.line_stops.path, kind="stable")
        paths = np.arange(len(batch.lines.count))
        ordered = batch.line_stops.path[self._stop]
        self._stop_begin = np.searchsorted(ordered, paths, side="left")
        self._stop_end = np.searchsorted(ordered, paths, side="right")
        now = batch.valid[NOW, self.case, self.agent]
        starts = np.flatnonzero(~self._replays & now)
        self._begin(starts, batch.xy[NOW], batch.yaw[NOW], batch.velocity[NOW], NOW)
        self._inside |= self._replays & now

    def desired_of_all(self, known: Float[Array, "cases agents"]) -> None:
        """Write the desired speeds among those of everybody, for others to reckon with [m/s]."""
        known[self.case, self.agent] = self.desired

    def step(
        self, step: int, everyone: Everyone, desired: Float[Array, "cases agents"]
    ) -> tuple[Array, Array, Array, Array]:
        """Where they are 0.1 s later, as ``xy, yaw, velocity, valid`` of each.

        Args:
            step: Now.
            everyone: Where everybody is.
            desired: Speed that each wishes for, negative where that is not known [m/s].
        """
        batch, who = self.batch, (self.case, self.agent)
        self._notice(step, everyone)
        self._change(step, everyone, desired)
        self._drive(step, everyone)
        self._enter(step + 1, everyone)
        replaying = self._replays & (self.since < 0)
        xy, yaw, velocity = self._poses()
        # Logged lines of those who hardly move have corners that no vehicle could turn round.
        most = self._moved / RADIUS_LEAST_M
        yaw = self._yaw + np.clip(wrap(yaw - self._yaw), -most, most)
        self._yaw = yaw = wrap(yaw)
        # Who stands has no direction to speak of on its line: it keeps its logged pose.
        logged = np.where(replaying, step + 1, self._enters)
        keeps = replaying | self.parked
        xy = np.where(keeps[:, None], batch.xy[logged, *who], xy)
        yaw = np.where(keeps, batch.yaw[logged, *who], yaw)
        velocity = np.where(replaying[:, None], batch.velocity[step + 1, *who], velocity)
        valid = self._inside & (~replaying | batch.valid[step + 1, *who])
        return xy, yaw, velocity, valid

    def _poses(self) -> tuple[Array, Array, Array]:
        lines = self.batch.lines
        return placed(
            lines.xy, lines.yaw, lines.first, lines.count, self.path, self.s, self.speed,
            self._progress, self._offset, self._turn, self._back, self._length,
        )  # fmt: skip

    def _begin(
        self, rows: Int[Array, " rows"], xy: Array, yaw: Array, velocity: Array, step: int
    ) -> None:  # fmt: skip
        """Begin courses where the agents are, of all cases and agents, onto their paths."""
        lines, where = self.batch.lines, (self.case[rows], self.agent[rows])
        s, d, heading = begun(
            lines.xy, lines.yaw, lines.first, lines.count, self.path[rows], xy[where]
        )  # fmt: skip
        ahead = np.cos(heading) * velocity[where][:, 0] + np.sin(heading) * velocity[where][:, 1]
        turn = wrap(yaw[where] - heading)
        back = np.abs(turn) > np.pi / 2.0
        self.s[rows], self._offset[rows], self._progress[rows] = s, d, 0.0
        self._yaw[rows] = yaw[where]
        self.speed[rows] = np.where(self.parked[rows], 0.0, np.maximum(ahead, 0.0))
        self._back[rows], self._turn[rows] = back, np.where(back, wrap(turn - np.pi), turn)
        self._length[rows] = np.maximum(JOIN_S * self.speed[rows], JOIN_LEAST_M)
        self._settled_at[rows] = step
        self._inside[rows], self.since[rows] = True, step

    def _notice(self, step: int, everyone: Everyone) -> None:
        """Let those fall back to IDM who would ram somebody."""
        batch = self.batch
        rows = np.flatnonzero(self._replays & (self.since < 0) & self._inside & ~self.parked)
        rows = rows[everyone.valid[self.case[rows], self.agent[rows]]]
        if len(rows) == 0:
            return
        off = off_log(everyone.xy, everyone.valid, batch.xy[step], batch.valid[step])
        if not off.any():
            return
        rams = would_ram(
            self.case[rows], self.agent[rows], step, batch.xy, batch.yaw, batch.valid, everyone.xy,
            everyone.yaw, everyone.velocity, batch.size, off, DT,
        )  # fmt: skip
        rows = rows[rams]
        self._begin(rows, everyone.xy, everyone.yaw, everyone.velocity, step)

    def _change(self, step: int, everyone: Everyone, desired: Array) -> None:
        """Let those change lanes whom MOBIL tells to."""
        batch, changes = self.batch, self._changes_of
        if changes is None:
            return
        # Longer cases beside it go on when a case has ended: what would be then is none of its own.
        driving = self._inside & self._overtakes & ~self.parked & ~self._back & (step < self._ends)
        turn = (step + self.agent) % EVERY == 0
        ready = (
            driving & turn & (self._progress >= 1.0) & (step >= self._settled_at + SETTLE_STEPS)
        )
        rows = np.flatnonzero(ready)
        if len(rows) == 0:
            return
        lines = batch.lines
        target_xy, target_yaw = np.zeros_like(everyone.xy), np.zeros_like(everyone.yaw)
        target_valid = np.zeros_like(everyone.valid)
        between = np.flatnonzero(driving & (self._progress < 1.0))
        where = (self.case[between], self.agent[between])
        target_xy[where], target_yaw[where] = lines.pose(self.path[between], self.s[between])
        target_valid[where] = True
        path, s, d = decide(
            lines.xy, lines.yaw, lines.first, lines.count, changes.beside, changes.mapped,
            batch.line_limit, rows, self.path, self.s, self.speed, self.case, self.agent, everyone.xy,
            everyone.yaw, everyone.velocity, everyone.size, everyone.valid, desired, target_xy,
            target_yaw, target_valid, _idm(), self._mobil, MARGIN_M,
        )  # fmt: skip
        go = path >= 0
        rows, path, s, d = rows[go], path[go], s[go], d[go]
        if len(rows) == 0:
            return
        self._old_path[rows], self._old_s[rows] = self.path[rows], self.s[rows]
        heading = lines.pose(path, s)[1]
        was = everyone.yaw[self.case[rows], self.agent[rows]]
        self.path[rows], self.s[rows], self._offset[rows] = path, s, d
        self._turn[rows], self._progress[rows] = difference(was, heading), 0.0
        self._length[rows] = np.maximum(CHANGE_S * self.speed[rows], CHANGE_LEAST_M)
        self._leaves_at[rows] = changes.mapped[path]
        self._settled_at[rows] = step + round(CHANGE_S / DT)
        self.changes[rows] += 1

    def _drive(self, step: int, everyone: Everyone) -> None:
        batch = self.batch
        self._moved[:] = 0.0
        mover = np.flatnonzero(self._inside & (self.since >= 0) & ~self.parked)
        if len(mover) == 0:
            return
        lines, path, s, speed = batch.lines, self.path[mover], self.s[mover], self.speed[mover]
        size = self._size[mover]
        # Whoever is between lanes minds those on the one that it leaves, too.
        both = np.flatnonzero((self.changes[mover] > 0) & (self._progress[mover] < LEFT_BEHIND))
        rows = np.concatenate([np.arange(len(mover)), both])
        on = np.concatenate([path, self._old_path[mover[both]]])
        at = np.concatenate([s, self._old_s[mover[both]]])
        braking = leader_braking(
            lines, on, at, speed[rows], size[rows], (self.case[mover[rows]], self.agent[mover[rows]]),
            everyone, TRAFFIC,
        )  # fmt: skip
        np.maximum.at(braking, rows[len(mover) :], braking[len(mover) :])
        braking = np.maximum(braking[: len(mover)], self._signals(step, path, s, speed, size))
        wish = np.minimum(self.desired[mover], batch.line_limit[lines.index(path, s)])
        acceleration = np.clip(
            free(speed, wish, TRAFFIC) - braking, -BRAKE_MAX, TRAFFIC.acceleration
        )  # fmt: skip
        after = np.maximum(speed + acceleration * DT, 0.0)
        distance = (speed + after) / 2.0 * DT
        self.s[mover], self._progress[mover] = moved(
            s, self._progress[mover], self._offset[mover], self._length[mover],
            lines.curvature[lines.index(path, s)], distance, DT,
        )  # fmt: skip
        self._old_s[mover] += distance
        self._moved[mover] = distance
        self.speed[mover] = after
        past = np.flatnonzero(self._inside & (self.since >= 0) & (self.s > self._leaves_at))
        if len(past):
            past = past[~followed(self.case[past], self.agent[past], everyone)]
            self._inside[past], self._gone[past] = False, True

    def _signals(self, step: int, path: Array, s: Array, speed: Array, size: Array) -> Array:
        """IDM interaction with the signals on the ways [m/s²]; several may share a way."""
        stops = self.batch.line_stops
        many = self._stop_end[path] - self._stop_begin[path]
        row = np.repeat(np.arange(len(path)), many)
        begin = np.repeat(self._stop_begin[path] - np.cumsum(many) + many, many)
        stop = self._stop[begin + np.arange(len(row))]
        return signal_braking(
            row, stops.s[stop], stops.state[step][stop], s, speed, size[:, 0], TRAFFIC
        )  # fmt: skip

    def _enter(self, following: int, everyone: Everyone) -> None:
        """Let in whom the log sees now and did not before, where there is room."""
        batch = self.batch
        first = self._enters == following
        again = (
            self._replays & (self.since < 0) & ~batch.valid[following - 1, self.case, self.agent]
        )
        again &= batch.valid[following, self.case, self.agent]
        coming = np.flatnonzero((first | again) & ~self._gone & (following > NOW))
        if len(coming) == 0:
            return
        fits = has_room(batch, self.case[coming], self.agent[coming], following, everyone)
        self.kept_out[coming[~fits]] = True
        self._inside[coming[~fits]], self._gone[coming[~fits]] = False, True
        coming = coming[fits]
        self._inside[coming] = True
        starts = coming[~self._replays[coming]]
        at = (batch.xy[following], batch.yaw[following], batch.velocity[following])
        self._begin(starts, *at, following)


def _idm() -> Float[Array, 4]:
    return np.array([TRAFFIC.gap, TRAFFIC.headway, TRAFFIC.acceleration, TRAFFIC.braking])

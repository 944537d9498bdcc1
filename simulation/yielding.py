"""People and cyclists who wait for a gap between vehicles, on their recorded path at their recorded pace.

Each has a clock that runs through its log: at full rate it moves as logged, and to yield it slows down
and stops, so that it never leaves its path, nor hurries, nor jumps. A vehicle sweeps a strip straight
ahead. Whoever comes to its edge goes on if

- it will be across before the vehicle arrives, with a margin: arrival ≥ crossing + t_s, the critical
  headway L / S_p + t_s of the Highway Capacity Manual (2010, eq. 19-69), with the person's own logged
  pace for S_p; or
- the vehicle will have passed, or stands.

Else it stops half a metre short of the strip, if 2 m/s² allow that; whoever is on the strip goes on. It
also stops before a vehicle that stands in its way where the log had none.

The margin t_s is each one's own, drawn evenly from 1.5 to 4.5 s: the manual's is 3 s, which is also the
least gap that DiPietro and King (1970) saw accepted; the spread is ours. Who does not yield replays the
log (``mixed:yielding=0.7``: three in ten); published rates differ too much between places for a default.
"""

from __future__ import annotations

import math

import numpy as np

from geometry.angles import wrap
from geometry.arrays import Array
from schemas.labels import VEHICLES
from schemas.scene import DT
from simulation.batch import NOW, CaseBatch
from simulation.behaviours import AgentMode, chance
from simulation.fallback import off_log
from simulation.following import Everyone
from simulation.kernels import compiled
from simulation.presence import has_room, logged_span

MARGIN_S = (1.5, 4.5)
LOOK_STEPS = 80  # of the log ahead: who is not across by then is not going to be
NEAR_STEPS = 40  # a strip that is entered later is none of today's cares
BRAKING = 2.0  # [m/s²]
SPEEDING_UP = 1.0  # [m/s²]
SHORT_OF_M = 0.5
STANDS = 0.3  # [m/s] a vehicle as slow as that lets people pass
PASSED_S = 0.5  # [s] after a vehicle's rear has passed


class Yielding:
    """The people and cyclists of a batch who yield, one step at a time.

    Attributes:
        case: Of each of them.
        agent: Its place in the case.
        margin: t_s [s].
        clock: Step of the log that it is at.
        kept_out: Whether it could not enter, somebody being in its place.
    """

    def __init__(self, batch: CaseBatch) -> None:
        """Find who they are."""
        self.batch = batch
        self.case, self.agent = batch.who(AgentMode.YIELDING)
        drawn = np.zeros(len(self.case))
        for c in np.unique(self.case).tolist():
            mine = self.case == c
            drawn[mine] = chance(
                "margin", seed=batch.ready[c].case.seed, case_id=batch.ready[c].case.drawn_as,
                track_id=batch.track_id[c, self.agent[mine]],
            )  # fmt: skip
        self.margin = MARGIN_S[0] + (MARGIN_S[1] - MARGIN_S[0]) * drawn
        self._first, self._last = logged_span(batch, self.case, self.agent)
        # Where the log lost sight for a while the path goes straight on between.
        self._xy, self._yaw, self._velocity = _bridged(
            batch, self.case, self.agent, self._first, self._last
        )
        self._inside = batch.valid[NOW, self.case, self.agent]
        self.kept_out = np.zeros(len(self.case), dtype=bool)
        self.clock = self._first.astype(np.float64)
        self._rate = np.ones(len(self.case))
        logged = batch.velocity[self._first, self.case, self.agent]
        self.speed = np.hypot(logged[:, 0].copy(), logged[:, 1].copy())
        self._vehicle = np.isin(batch.cls, [int(c) for c in VEHICLES])
        self._vehicle[:, 0] = True

    def step(self, step: int, everyone: Everyone) -> tuple[Array, Array, Array, Array]:
        """Where they are 0.1 s later, as ``xy, yaw, velocity, valid`` of each."""
        batch, following = self.batch, step + 1
        off = off_log(everyone.xy, everyone.valid, batch.xy[step], batch.valid[step])
        rate, speed = rates(
            self.case, self.agent, self._inside, self.clock, self.speed, self._rate, self._last,
            self.margin, self._xy, everyone.xy, everyone.yaw, everyone.velocity, everyone.size,
            everyone.valid & self._vehicle, off, DT,
        )  # fmt: skip
        self._rate = rate
        self.clock = np.where(self._inside, self.clock + rate, self.clock)
        self.speed = np.where(self._inside, speed, self.speed)
        # At the horizon the log ends for everyone: those who are late are still under way.
        self._inside &= self.clock <= self._last
        coming = np.flatnonzero((self._first == following) & (following > NOW))
        if len(coming):
            fits = has_room(batch, self.case[coming], self.agent[coming], following, everyone)
            self._inside[coming], self.kept_out[coming] = fits, ~fits
        rows, low = np.arange(len(self.case)), np.floor(self.clock).astype(np.int64)
        low = np.clip(low, 0, len(self._xy) - 2)
        part = self.clock - low
        a, b = self._xy[low, rows], self._xy[low + 1, rows]
        turn = self._yaw[low + 1, rows] - self._yaw[low, rows]
        faster = self._velocity[low + 1, rows] - self._velocity[low, rows]
        return (
            a + part[:, None] * (b - a),
            wrap(self._yaw[low, rows] + part * turn),
            (self._velocity[low, rows] + part[:, None] * faster) * rate[:, None],
            self._inside.copy(),
        )


def _bridged(
    batch: CaseBatch, case: Array, agent: Array, first: Array, last: Array
) -> tuple[Array, Array, Array]:
    """Logged centres, unwrapped headings and velocities at all steps, gaps bridged, ends held."""
    steps = np.arange(batch.steps)
    xy = np.zeros((batch.steps, len(case), 2))
    velocity = np.zeros_like(xy)
    yaw = np.zeros((batch.steps, len(case)))
    for row, (c, a) in enumerate(zip(case.tolist(), agent.tolist(), strict=True)):
        seen = np.flatnonzero(batch.valid[:, c, a])
        seen = seen[(seen >= first[row]) & (seen <= last[row])]
        lost = np.isin(steps[:-1], seen, invert=True) & (steps[:-1] > seen[0])
        for k in (0, 1):
            xy[:, row, k] = np.interp(steps, seen, batch.xy[seen, c, a, k])
            velocity[:, row, k] = np.interp(steps, seen, batch.velocity[seen, c, a, k])
            # Somebody who was lost while running, and found standing, was on the way between.
            velocity[:-1, row, k][lost] = (np.diff(xy[:, row, k]) / DT)[lost]
        yaw[:, row] = np.interp(steps, seen, np.unwrap(batch.yaw[seen, c, a]))
    return xy, yaw, velocity


@compiled
def rates(
    case: Array, agent: Array, inside: Array, clock: Array, speed: Array, before: Array,
    last: Array, margin: Array, path: Array, xy: Array, yaw: Array, velocity: Array, size: Array,
    vehicle: Array, off: Array, dt: float,
) -> tuple[Array, Array]:  # fmt: skip
    """How far each clock goes on in this step, from 0 to 1, and how fast each walks then [m/s].

    ``before`` is how far the clocks went in the step before, ``path`` where the log has each at every step; ``vehicle`` says who is there and is one, ``off``
    who is where the log did not have it.
    """
    rate, after = np.ones(len(case)), np.zeros(len(case))
    # Whoever is at its logged pace keeps it, however the log speeds up; who was held up catches no time up.
    for row in range(len(case)):
        if not inside[row]:
            continue
        c, me = case[row], agent[row]
        radius = math.hypot(size[c, me, 0], size[c, me, 1]) / 2.0
        now = min(int(clock[row]), last[row] - 1)
        if now < 0 or last[row] < 1:
            continue
        room = math.inf
        for other in range(vehicle.shape[1]):
            if other != me and vehicle[c, other]:
                free = _room(
                    path, row, now, last[row], clock[row], margin[row], radius, xy[c, other, 0],
                    xy[c, other, 1], yaw[c, other], velocity[c, other, 0], velocity[c, other, 1],
                    size[c, other, 0], size[c, other, 1], off[c, other], dt,
                )  # fmt: skip
                room = min(room, free)
        if room < speed[row] * speed[row] / (2.0 * BRAKING):
            room = math.inf  # too near to stop
        logged = math.hypot(
            path[now + 1, row, 0] - path[now, row, 0], path[now + 1, row, 1] - path[now, row, 1]
        ) / dt  # fmt: skip
        wanted = logged
        if room < math.inf:
            wanted = min(wanted, math.sqrt(2.0 * BRAKING * max(room - SHORT_OF_M, 0.0)))
            wanted = max(wanted, min(speed[row] - BRAKING * dt, logged))
        elif before[row] < 1.0 and speed[row] < logged:
            wanted = min(logged, speed[row] + SPEEDING_UP * dt)
        after[row] = max(wanted, 0.0)
        # Who stands in the log lets time pass.
        rate[row] = min(after[row] / logged, 1.0) if logged > 1e-6 else 1.0
    return rate, after


@compiled
def _room(
    path: Array, row: int, now: int, last: int, clock: float, margin: float, radius: float,
    x: float, y: float, yaw: float, vx: float, vy: float, length: float, width: float, off: bool,
    dt: float,
) -> float:  # fmt: skip
    """Metres of somebody's path to the strip of a vehicle that it has to let pass; ∞ if it need not."""
    v = math.hypot(vx, vy)
    stands = v < STANDS
    if stands and not off:
        return math.inf
    reach = v * LOOK_STEPS * dt + length + 30.0
    if (path[now, row, 0] - x) ** 2 + (path[now, row, 1] - y) ** 2 > reach * reach:
        return math.inf
    cos, sin = math.cos(yaw), math.sin(yaw)
    if not stands:
        cos, sin = vx / v, vy / v
    half = width / 2.0 + radius
    enters, way, first_along = -1, 0.0, 0.0
    walked = -(clock - now) * math.hypot(
        path[now + 1, row, 0] - path[now, row, 0], path[now + 1, row, 1] - path[now, row, 1]
    )
    for t in range(now, min(last, now + LOOK_STEPS) + 1):
        if t > now:
            walked += math.hypot(
                path[t, row, 0] - path[t - 1, row, 0], path[t, row, 1] - path[t - 1, row, 1]
            )
        dx, dy = path[t, row, 0] - x, path[t, row, 1] - y
        along, aside = cos * dx + sin * dy, cos * dy - sin * dx
        on = abs(aside) < half and along > -length / 2.0 - radius
        if stands:
            on = on and along < length / 2.0 + radius
        if on and enters < 0:
            if t - now > NEAR_STEPS:
                return math.inf
            enters, way, first_along = t, walked, along
            if t == now:
                return math.inf  # on it already
            if stands:
                return way
        if enters >= 0 and not on:
            arrival = (first_along - length / 2.0 - radius) / v
            passed = (first_along + length / 2.0 + radius) / v + PASSED_S
            begins, ends = (enters - clock) * dt, (t - clock) * dt
            return math.inf if arrival >= ends + margin or begins >= passed else way
    if enters < 0:
        return math.inf
    # Not across before the log ends: it goes along the way of the vehicle, and lets it pass.
    passed = (first_along + length / 2.0 + radius) / v + PASSED_S
    arrival = (first_along - length / 2.0 - radius) / v
    begins = (enters - clock) * dt
    if begins >= passed or arrival > LOOK_STEPS * dt + margin:
        return math.inf
    return way

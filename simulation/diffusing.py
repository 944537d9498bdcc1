"""Agents driven by the generator: a joint future drawn from the present, begun, and drawn again.

Every ``EVERY`` steps each case looks at its last second (the ego's and everybody's, as they drove, not
as logged), at the map and at the lights, and :mod:`generation.forecast` draws what its road users do
next. They drive what was drawn until the next draw. The network sees eight at a time: those about the
ego together, then those about whoever is left, until each has a future; the future that it draws for
the ego, and for anybody a second time, is dropped. Noise comes from a hash of the suite's seed, the
case's id, the step and the one in the middle, so that a case is the same in whatever batch.

Each keeps to the path that was drawn, and to its pace, but brakes for whoever is in it by IDM: what is
drawn for eight at a time knows nothing of the ninth, and nothing of what the ego has done since.

They come where the log first has them if there is room, and go once the log has lost them and nobody
drives behind them; who stands throughout the log, stands. What they do until the first draw after
they came is going straight on, as far as whoever is in the way lets them. A learned driver may still
touch others, or leave the road: how often is told in docs/agents.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from generation.shipped import name_of
from geometry.angles import unit, wrap
from geometry.arrays import Array
from schemas.labels import VEHICLES
from schemas.scene import DT, Scene, Signals, Tracks
from simulation.batch import NOW, PARKED_M, CaseBatch
from simulation.behaviours import AgentMode, hashed, named_in
from simulation.following import Everyone, leader_braking
from simulation.idm import BRAKE_MAX, Idm
from simulation.kernels import thinned
from simulation.paths import SPACING_M, Paths, extended, respace
from simulation.presence import PARKED_SPEED, followed, has_room, logged_span

if TYPE_CHECKING:
    from generation.checkpoint import Generator
    from generation.features import Pieces

EVERY = 8
"""Steps between draws: two of the generator's own."""
HORIZON = 80
"""Steps that are drawn."""
STANDS = 0.3  # [m/s] on foot
CREEPS = 0.5  # [m/s] most of the time, on wheels
BEYOND_M = 30.0  # what lies ahead of the drawn path's end is looked at, too
GUARD = Idm(gap=1.0, headway=0.5, acceleration=2.0, braking=4.0)
"""Whoever is in the way is minded so: closer than anybody would follow of their own accord."""

Moment = tuple[Array, Array, Array, Array]
"""xy, yaw, velocity and valid of every case and agent at one step."""


class Diffusing:
    """The agents of a batch that the generator drives, one step at a time.

    Attributes:
        case: Of each of them.
        agent: Its place in the case.
        kept_out: Whether it could not enter, somebody being in its place.
    """

    def __init__(self, batch: CaseBatch) -> None:
        """Find who they are; the network is loaded if there are any."""
        self.batch = batch
        self.case, self.agent = batch.who(AgentMode.DIFFUSION)
        count = len(self.case)
        self.kept_out = np.zeros(count, dtype=bool)
        if not count:
            return
        here = batch.valid[NOW:, self.case, self.agent]
        self._enters, self._last = logged_span(batch, self.case, self.agent)
        self._ends = NOW + batch.horizon[self.case]
        xy, velocity = batch.xy[NOW:, self.case, self.agent], batch.velocity[NOW:]
        first = batch.xy[self._enters, self.case, self.agent]
        moved = np.where(here, np.hypot(*np.moveaxis(xy - first, -1, 0)), 0.0).max(axis=0)
        moving = np.hypot(*np.moveaxis(velocity[:, self.case, self.agent], -1, 0))
        fastest = np.where(here, moving, 0.0).max(axis=0)
        # Who is seen for a moment, on foot or creeping, hardly moves, and does not stand.
        self._walks = ~np.isin(batch.cls[self.case, self.agent], [int(c) for c in VEHICLES])
        slow = np.where(self._walks, STANDS, PARKED_SPEED)
        mostly = np.nanmedian(np.where(here, moving, np.nan), axis=0)
        self._parked = (moved < PARKED_M) & (fastest < slow) & (mostly < CREEPS)
        self._inside, self._gone = here[0].copy(), np.zeros(count, dtype=bool)
        at = (self._enters, self.case, self.agent)
        self._now = self._as_states(batch.xy[at], batch.yaw[at], batch.velocity[at])
        self._velocity = batch.velocity[at].copy()
        self._path = np.full(count, -1, dtype=np.int64)
        self._gone_m, self._clock = np.zeros(count), np.zeros(count)
        self._drawn: Array = np.zeros((0, HORIZON + 1, 4))
        self._along: Array = np.zeros((0, HORIZON + 1))
        self._lines: list[Array] = []
        # Until their first draw some move otherwise than along their heading: that way.
        self._straight, self._way = np.zeros(count, dtype=bool), np.zeros((count, 2))
        self._past: deque[Moment] = deque(
            ((batch.xy[k], batch.yaw[k], batch.velocity[k], batch.valid[k]) for k in range(NOW)),
            maxlen=NOW + 1,
        )
        self._pieces: dict[int, Pieces] = {}
        self._generator = _shipped()

    @staticmethod
    def _as_states(xy: Array, yaw: Array, velocity: Array) -> Array:
        """x, y, yaw and speed along it."""
        along = np.cos(yaw) * velocity[:, 0] + np.sin(yaw) * velocity[:, 1]
        return np.column_stack([xy, yaw, np.maximum(along, 0.0)])

    def step(self, step: int, everyone: Everyone) -> tuple[Array, Array, Array, Array]:
        """Where they are 0.1 s later, as ``xy, yaw, velocity, valid`` of each."""
        batch, everyone = self.batch, _as_kept(everyone)
        self._past.append((everyone.xy, everyone.yaw, everyone.velocity, everyone.valid))
        if (step - NOW) % EVERY == 0:
            self._draw(step)
        self._drive(everyone)
        following = step + 1
        lost = np.flatnonzero(
            self._inside & (self._last < self._ends) & (following > self._last)
            & (self._walks | ~self._parked)
        )  # fmt: skip
        if len(lost):
            lost = lost[~followed(self.case[lost], self.agent[lost], everyone)]
            self._inside[lost], self._gone[lost] = False, True
        coming = np.flatnonzero((self._enters == following) & ~self._gone)
        if len(coming):
            fits = has_room(batch, self.case[coming], self.agent[coming], following, everyone)
            self._inside[coming], self.kept_out[coming] = fits, ~fits
            self._gone[coming[~fits]] = True
        velocity = np.where(self._parked[:, None], 0.0, self._velocity)
        return self._now[:, :2].copy(), wrap(self._now[:, 2]), velocity, self._inside.copy()

    def _drive(self, everyone: Everyone) -> None:
        """One step along what was drawn, as far as whoever is in the way lets each."""
        rows = np.flatnonzero(self._inside & ~self._parked)
        if not len(rows):
            return
        self._go_straight(rows[self._path[rows] < 0])
        path, speed = self._path[rows], self._now[rows, 3]
        who = (self.case[rows], self.agent[rows])
        size = np.ascontiguousarray(self.batch.size[who])
        braking = leader_braking(
            self._paths, path, self._gone_m[rows], speed, size, who, everyone, GUARD
        )  # fmt: skip
        wished, states = np.zeros(len(rows)), np.zeros((len(rows), 4))
        for k, (row, at) in enumerate(zip(rows.tolist(), path.tolist(), strict=True)):
            clock = min(self._clock[row] + 1.0, HORIZON)
            low = min(int(clock), HORIZON - 1)
            before, after = self._drawn[at, low, 3], self._drawn[at, low + 1, 3]
            wished[k] = before + (clock - low) * (after - before)
        least = np.maximum(GUARD.acceleration - braking, -BRAKE_MAX)
        after = np.maximum(np.minimum(wished, speed + least * DT), 0.0)
        self._gone_m[rows] += (speed + after) / 2.0 * DT
        for k, (row, at) in enumerate(zip(rows.tolist(), path.tolist(), strict=True)):
            clock = _clock_at(self._along[at], self._gone_m[row], self._clock[row] + 1.0)
            low = min(int(clock), HORIZON - 1)
            part = clock - low
            states[k] = (1.0 - part) * self._drawn[at, low] + part * self._drawn[at, low + 1]
            self._clock[row] = clock
        states[:, 3] = after
        self._now[rows] = states
        ways = np.where(self._straight[rows, None], self._way[rows], unit(states[:, 2]))
        self._velocity[rows] = after[:, None] * ways

    # -- drawing ------------------------------------------------------------------------------------

    def _draw(self, step: int) -> None:
        """What each does from a step on."""
        drives = self._inside & ~self._parked & (step < self._ends)
        plans: dict[int, Array] = {}
        for case in np.unique(self.case[drives]).tolist():
            rows = np.flatnonzero(drives & (self.case == case))
            plans |= self._draw_case(
                case, {int(self.agent[row]): int(row) for row in rows}, step
            )  # fmt: skip
        self._path[:], self._lines, self._straight[:] = -1, [], False
        self._drawn, self._along = self._drawn[:0], self._along[:0]
        self._follow(list(plans), np.array(list(plans.values())).reshape(-1, HORIZON + 1, 4))

    def _go_straight(self, rows: Int[Array, " rows"]) -> None:
        """What those do who came since the last draw."""
        if len(rows):
            velocity, states = self._velocity[rows], np.empty((len(rows), HORIZON + 1, 4))
            self._now[rows, 3] = speed = np.hypot(velocity[:, 0], velocity[:, 1])
            ways = velocity / np.maximum(speed, 1e-9)[:, None]
            self._way[rows] = np.where(speed[:, None] > 0.0, ways, unit(self._now[rows, 2]))
            self._straight[rows] = True
            states[:] = self._now[rows][:, None]
            states[..., :2] += np.arange(HORIZON + 1)[:, None] * DT * velocity[:, None]
            self._follow(rows.tolist(), states)

    def _follow(self, rows: Sequence[int], states: Float[Array, "rows steps 4"]) -> None:
        """Begin states that are to be driven from now on."""
        index = np.array(rows, dtype=np.int64)
        self._path[index] = len(self._drawn) + np.arange(len(index))
        self._gone_m[index], self._clock[index] = 0.0, 0.0
        steps = np.diff(states[..., :2], axis=1)
        gone = np.cumsum(np.hypot(steps[..., 0], steps[..., 1]), axis=1)
        along = np.concatenate([np.zeros((len(index), 1)), gone], axis=1)
        self._drawn = np.concatenate([self._drawn, states])
        self._along = np.concatenate([self._along, along])
        self._lines += [_line(drawn) for drawn in states]
        self._paths = Paths.through(self._lines)

    def _draw_case(self, case: int, rows: dict[int, int], step: int) -> dict[int, Array]:
        """States from now on of each row in one case; ``rows`` are ours by their place in the case."""
        from generation.compose import integrate
        from generation.features import present_of
        from generation.forecast import forecast

        told, scene = self.batch.ready[case].case, self._scene(case, step)
        present = scene.tracks.valid[:, NOW]
        away = np.hypot(*(scene.tracks.xy[:, NOW] - scene.tracks.xy[0, NOW]).T)
        left = [a for a in np.argsort(away, kind="stable").tolist() if a in rows]
        assert present[left].all()
        views, seeds, taken = [], [], []
        centre = 0
        while left:
            view = present_of(scene, NOW, centre=centre, pieces=self._pieces[case])
            mine = [slot for slot, agent in enumerate(view[1].tolist()) if agent in left]
            views.append(view)
            taken.append(mine)
            about = int(self.batch.track_id[case, centre])
            seeds.append(hashed("future", told.seed, told.drawn_as, step - NOW, about))
            left = [agent for agent in left if agent not in view[1][mine]]
            centre = left[0] if left else 0
        actions = forecast(self._generator.denoiser, [view[0] for view in views], seeds)
        plans: dict[int, Array] = {}
        for (context, agents, scene_from_local), mine, drawn in zip(
            views, taken, actions, strict=True
        ):  # fmt: skip
            where = [rows[agent] for agent in agents[mine].tolist()]
            start = self._now[where].copy()
            along = (self._velocity[where] * unit(start[:, 2])).sum(axis=1)
            start[:, 3] = np.maximum(along, 0.0)
            local = scene_from_local.inverse()
            start[:, :2], start[:, 2] = local.apply(start[:, :2]), local.turn(start[:, 2])
            ahead = integrate(drawn[mine], start, context.kind[mine])
            states = np.concatenate([start[:, None], ahead], axis=1)
            states[..., :2] = scene_from_local.apply(states[..., :2])
            states[..., 2] = np.unwrap(scene_from_local.turn(states[..., 2]), axis=1)
            plans.update(zip(where, states, strict=True))
        return plans

    def _scene(self, case: int, step: int) -> Scene:
        """The last second of a case as a scene that ends now, agents in the case's order."""
        from generation.features import Pieces

        ready = self.batch.ready[case]
        if case not in self._pieces:
            self._pieces[case] = Pieces.of(ready.scene.map)
        count = len(ready.track_id)
        xy, yaw, velocity, valid = (
            np.stack([moment[i][case, :count] for moment in self._past], axis=1) for i in range(4)
        )
        none = np.zeros((count, NOW + 1))
        tracks = Tracks(
            track_id=ready.track_id, cls=ready.cls,
            size=np.column_stack([ready.size, np.ones(count)]), xy=xy, z=none, yaw=yaw,
            velocity=velocity, valid=valid, lane=none.astype(np.int64), lane_s=none, lane_d=none,
            on_lane=none.astype(bool),
        )  # fmt: skip
        signals = ready.scene.signals
        shown = ready.signals[:, step - NOW : step + 1]
        return replace(
            ready.scene,
            tracks=tracks,
            signals=Signals(
                lane=signals.lane, state=shown, stop_xy=signals.stop_xy, has_stop=signals.has_stop
            ),
        )


def _as_kept(everyone: Everyone) -> Everyone:
    """Everyone, the egos as results keep them: in float32, without drift of the box's centre.

    What a network draws may hang on the last bits; so a drive that is seen again draws the same.
    """
    xy, yaw, velocity = everyone.xy.copy(), everyone.yaw.copy(), everyone.velocity.copy()
    along = (velocity[:, 0] * unit(yaw[:, 0])).sum(axis=-1)
    xy[:, 0] = xy[:, 0].astype(np.float32)
    yaw[:, 0] = yaw[:, 0].astype(np.float32)
    velocity[:, 0] = along.astype(np.float32)[:, None] * unit(yaw[:, 0])
    return replace(everyone, xy=xy, yaw=yaw, velocity=velocity)


def _line(drawn: Array) -> Array:
    """The path of what was drawn, and straight on, with points 1 m apart."""
    kept = thinned(np.ascontiguousarray(drawn[:, :2]), np.arange(len(drawn)), SPACING_M / 2.0)
    points = drawn[kept, :2]
    if len(points) < 2:
        points = np.stack([points[0], points[0] + SPACING_M * unit(drawn[:1, 2])[0]])
    return respace(extended(points, after=BEYOND_M))


def _clock_at(along: Array, gone_m: float, most: float) -> float:
    """At which step of what was drawn one has gone so far, no later than a step.

    Who has not been held up is there on time, also where it was to stand.
    """
    most = min(most, len(along) - 1.0)
    low = min(int(most), len(along) - 2)
    if gone_m >= along[low] + (most - low) * (along[low + 1] - along[low]) - 1e-6:
        return most
    before = int(np.searchsorted(along, gone_m, side="right")) - 1
    return before + (gone_m - along[before]) / (along[before + 1] - along[before])


def is_drawn(agents: str) -> bool:
    """Whether somebody may drive by the generator who moves as these words of a case say."""
    return AgentMode.DIFFUSION in named_in(agents)


def installed() -> str:
    """What the weights are called by which agents are driven here.

    Raises:
        UnreadableFile: There are none.
    """
    return _LOADED[0].name if _LOADED else name_of()


def weights_behind(agents: Iterable[str]) -> str | None:
    """Those by which some are driven who move as these words of cases say; None if nobody is.

    Raises:
        UnreadableFile: They are not there.
    """
    return installed() if any(map(is_drawn, agents)) else None


_LOADED: list[Generator] = []


def _shipped() -> Generator:
    """The shipped generator, loaded once a process."""
    from generation.checkpoint import load_generator

    if not _LOADED:
        _LOADED.append(load_generator())
    return _LOADED[0]

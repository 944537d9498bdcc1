"""The closed loop as Gymnasium environments, for learning to drive: one case at a time, or many.

    env = DriveEnv(pairs_of(lake, "my-suite"))
    seen, about = env.reset(seed=0)
    seen, reward, ended, cut, about = env.step([0.5, 0.0])

Needs the extra ``gym``. What is seen (:func:`space_of`) is told in the frame of the ego's box, x ahead,
y left, so that it means the same everywhere; an action is acceleration and steering, each as a share of
what the vehicle can. An episode ends where the ego hits somebody or leaves the mapped road, is cut at the
case's horizon, and then says all that suites measure (``about["drive"]``, as if the ego braked for the rest
of the horizon), whatever it is rewarded for.

The reward of a step is the way along the route [m] / 10, less 1 for an impact that ends the episode, less
0.5 for leaving the road; pass another function of :class:`Moment` for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float

from geometry.angles import wrap
from geometry.arrays import Array
from lake import Lake
from schemas.case import Case
from schemas.errors import BadSetting, MissingData
from schemas.labels import LightState
from schemas.scene import Scene
from simulation.batch import ReadyCase, ready, stack
from simulation.engine import ACCELERATION_MAX, Loop
from simulation.following import STEERING_MAX
from simulation.idm import BRAKE_MAX
from simulation.protocol import Plan, WrongAnswer, numbers_of
from simulation.running import paired
from simulation.scores import OUTSIDE_M, Drive, measure
from simulation.suites.driving import cases_of
from simulation.surface import Surface

OTHERS = 16
"""Road users that are seen: the nearest."""
ROUTE_POINTS, ROUTE_STEP_M = 20, 4
"""Points of the route ahead, and how far they are apart."""
SIGHT_M = 80.0
MOST = 1000.0  # nothing that is seen is greater
LIGHT_M = 80.0

SHAPES = {"ego": (5,), "others": (OTHERS, 9), "route": (ROUTE_POINTS, 3), "light": (4,)}

Paired = tuple[Case, Scene]
Seen = dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a reward may depend on.

    Attributes:
        progress: Along the route in this step [m].
        crashed: Whether the ego hit somebody in this step.
        off_road: Whether a corner is off the mapped road.
        speed: [m/s].
        acceleration: Applied in this step [m/s²].
        steering: Likewise [rad].
    """

    progress: float
    crashed: bool
    off_road: bool
    speed: float
    acceleration: float
    steering: float


def usual_reward(moment: Moment) -> float:
    """Progress, less impacts and leaving the road."""
    return moment.progress / 10.0 - 1.0 * moment.crashed - 0.5 * moment.off_road


def pairs_of(lake: Lake, suite: str) -> list[Paired]:
    """The cases of a suite with their scenes.

    Raises:
        UnknownName: There is no such suite.
        MissingData: A scene of it is not in the lake any more.
    """
    made = []
    for case, scene in paired(lake, cases_of(lake, suite)):
        if scene is None:
            raise MissingData(
                f"Scene {case.scene_id} of suite `{suite}` is not in the lake.",
                hint="Build the suite again.",
            )
        made.append((case, scene))
    return made


def space_of() -> gymnasium.spaces.Dict:
    """What is seen: arrays of float32, zero where there is nothing.

    ``ego``: speed, acceleration, steering, length, width. ``others``: x, y, cos and sin of the heading,
    vx, vy relative to the ground in the ego's frame, length, width, 1 for being there; nearest first.
    ``route``: x, y of points ahead on it, and the speed limit there (0: none is known). ``light``:
    distance to the next signal along the route over 80 m, and whether it is red, yellow or green.
    """

    def box(*shape: int) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-MOST, MOST, shape, np.float32)

    return gymnasium.spaces.Dict({name: box(*shape) for name, shape in SHAPES.items()})


def action_space() -> gymnasium.spaces.Box:
    """Acceleration and steering as shares of what the vehicle can, −1 to 1."""
    return gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class _Cases:
    """Some cases in the loop, with what is seen of each."""

    def __init__(self, cases: Sequence[ReadyCase]) -> None:
        self.cases = cases
        self.batch = stack(cases)
        self.loop = Loop(self.batch)
        self._station = self.batch.start_s.copy()
        self._hit = np.zeros(len(cases), dtype=bool)
        self._obs = self.loop.observe()
        self._driven: list[tuple[Array, Array]] = []

    def step(self, action: Float[Array, "cases 2"], rows: Sequence[int]) -> list[Moment]:
        """Go on; what happened in some of the cases."""
        share = np.clip(action, -1.0, 1.0)
        pedals = np.where(
            share[:, 0] >= 0.0, share[:, 0] * ACCELERATION_MAX, share[:, 0] * BRAKE_MAX
        )
        steering = share[:, 1] * STEERING_MAX
        self._driven.append((pedals, steering))
        self.loop.step(Plan(acceleration=pedals, steering=steering))
        obs = self._obs = self.loop.observe()
        before, everyone = self._station, np.arange(len(self.batch))
        centre = np.ascontiguousarray(obs.ego.xy[:, -1])
        self._station, _, _ = self.batch.routes.locate(everyone, centre, before)
        hit = np.asarray((self.loop.contact >= 0).any(axis=1))
        moments = [
            Moment(
                progress=float(self._station[i] - before[i]),
                crashed=bool(hit[i] and not self._hit[i]),
                off_road=self._off_road(i, centre[i], float(obs.ego.yaw[i, -1])),
                speed=float(obs.ego.speed[i, -1]),
                acceleration=float(obs.ego.acceleration[i]),
                steering=float(obs.ego.steering[i]),
            )
            for i in rows
        ]
        self._hit = hit
        return moments

    def over(self, i: int) -> bool:
        """Whether the horizon of a case is reached."""
        return not self.loop.active[i]

    def _off_road(self, i: int, centre: Array, yaw: float) -> bool:
        ground = self.cases[i].ground
        if ground is None:
            return False
        length, width = self.batch.size[i, 0] / 2.0
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        corner = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * [length, width] @ turn.T + centre
        surface = Surface(ground, corner.min(axis=0) - 5.0, corner.max(axis=0) + 5.0)
        return surface.known and bool(surface.outside(corner).max() > OUTSIDE_M)

    def seen(self, i: int) -> Seen:
        """What the ego of a case sees now."""
        obs = self._obs
        ego, others = obs.ego, obs.others
        here, yaw = ego.xy[i, -1], float(ego.yaw[i, -1])
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, sin], [-sin, cos]])
        made = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
        made["ego"][:] = (
            ego.speed[i, -1], ego.acceleration[i], ego.steering[i], ego.length[i], ego.width[i],
        )  # fmt: skip
        there = np.flatnonzero(others.valid[i, :, -1])
        apart = (others.xy[i, there, -1] - here) @ turn.T
        far = np.hypot(apart[:, 0], apart[:, 1])
        for row, k in enumerate(np.argsort(far, kind="stable")[:OTHERS].tolist()):
            if far[k] > SIGHT_M:
                break
            who = there[k]
            heading = float(wrap(np.asarray(others.yaw[i, who, -1] - yaw)))
            going = turn @ others.velocity[i, who, -1]
            made["others"][row] = (
                *apart[k], np.cos(heading), np.sin(heading), *going, *others.size[i, who], 1.0,
            )  # fmt: skip
        route = obs.cases.routes[i]
        points = int(self._station[i]) + ROUTE_STEP_M * np.arange(1, ROUTE_POINTS + 1)
        points = np.clip(points, 0, len(route.xy) - 1)
        made["route"][:, :2] = (route.xy[points] - here) @ turn.T
        made["route"][:, 2] = np.where(route.limit_known[points], route.speed_limit[points], 0.0)
        mine = np.flatnonzero(obs.signals.case == i)
        ahead = obs.signals.s[mine] - self._station[i]
        ahead = np.where((ahead > 0.0) & (ahead < LIGHT_M), ahead, np.inf)
        if len(ahead) and np.isfinite(ahead.min()):
            state = obs.signals.state[mine[ahead.argmin()]]
            shows = [state == s for s in (LightState.RED, LightState.YELLOW, LightState.GREEN)]
            made["light"][:] = (ahead.min() / LIGHT_M, *shows)
        return made

    def drive(self, i: int) -> Drive:
        """All that suites measure of one case, as if its ego braked for the rest of the horizon."""
        loop = self.loop if len(self.cases) == 1 else self._alone(i)
        brake = Plan(acceleration=np.array([-BRAKE_MAX]), steering=np.zeros(1))
        while loop.goes_on:
            loop.step(brake)
        return measure(loop.rollout("gymnasium"))[0]

    def _alone(self, i: int) -> Loop:
        """A case driven again as far, to the same bits, so that the others may go on."""
        loop = Loop(stack([self.cases[i]]))
        for pedals, steering in self._driven:
            loop.step(Plan(acceleration=pedals[i : i + 1], steering=steering[i : i + 1]))
        return loop


class DriveEnv(gymnasium.Env[Seen, Array]):
    """One case after the other, drawn at random, or as ``reset(options={"case": 3})`` says."""

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own

    def __init__(
        self, cases: Sequence[Paired], *, reward: Callable[[Moment], float] = usual_reward
    ) -> None:
        """Take cases with their scenes.

        Raises:
            BadSetting: There are none.
        """
        self._cases = _checked(cases)
        self._reward = reward
        self.observation_space = space_of()  # type: ignore[assignment]  # a Dict of arrays is one
        self.action_space = action_space()
        self._now: _Cases | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin a case."""
        super().reset(seed=seed)
        which = (options or {}).get("case")
        index = int(self.np_random.integers(len(self._cases))) if which is None else int(which)
        case, scene = self._cases[index]
        self._now = _Cases([ready(case, scene)])
        return self._now.seen(0), {"case_id": case.case_id}

    def step(self, action: Array) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Drive for 0.1 s."""
        if self._now is None:
            raise BadSetting("The environment was not reset.", hint="Call env.reset() first.")
        if self._now.over(0):
            raise BadSetting("The case is at its end.", hint="Call env.reset() for another.")
        (moment,) = self._now.step(_numbers(action, (2,))[None], [0])
        ended, cut = moment.crashed or moment.off_road, self._now.over(0)
        seen, about = self._now.seen(0), dict[str, Any](moment=moment)
        if ended or cut:
            about["drive"] = self._now.drive(0)
        return seen, self._reward(moment), ended, cut, about


class DriveVectorEnv(VectorEnv[Seen, Array, Array]):
    """So many cases at once; in the step after an episode ended, that environment alone begins anew.

    This is ``AutoresetMode.NEXT_STEP``: such a step ignores the action, rewards nothing and shows the
    next case's first look; ``about["idle"]`` marks it, and ``about["case_id"]`` tells the case. What
    :class:`DriveEnv` tells, ``moment`` and at the end ``drive``, is told here too, each key with its
    mask as Gymnasium has it (``about["drive"]`` where ``about["_drive"]``).

    Environments that begin in the same step share one engine, so that they are fastest where they end
    together.
    """

    def __init__(
        self,
        cases: Sequence[Paired],
        num_envs: int,
        *,
        reward: Callable[[Moment], float] = usual_reward,
    ) -> None:
        """Take cases with their scenes.

        Raises:
            BadSetting: There are none.
        """
        self._cases = _checked(cases)
        self._reward = reward
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = space_of(), action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self._seats: list[_Seat] = []
        self._over = np.zeros(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin a case in every environment."""
        del options
        super().reset(seed=seed)
        if seed is not None:
            self._np_random = np.random.default_rng(seed)
        self._over[:] = False
        self._seats = self._begin(self.num_envs)
        about: dict[str, Any] = {}
        for k, seat in enumerate(self._seats):
            self._add_info(about, {"case_id": seat.case_id}, k)
        return self._seen(), about

    def step(self, actions: Array) -> tuple[Seen, Array, Array, Array, dict[str, Any]]:
        """Drive for 0.1 s where an episode goes on, and begin one where it has ended."""
        if not self._seats:
            raise BadSetting("The environment was not reset.", hint="Call env.reset() first.")
        actions = _numbers(actions, (self.num_envs, 2))
        idle, reward = self._over.copy(), np.zeros(self.num_envs)
        ended, cut = np.zeros((2, self.num_envs), dtype=bool)
        about: dict[str, Any] = {"idle": idle}
        for envs in self._together(np.flatnonzero(~idle).tolist()):
            shared, rows = self._seats[envs[0]].shared, [self._seats[k].row for k in envs]
            action = np.tile([-1.0, 0.0], (len(shared.cases), 1))
            action[rows] = actions[envs]
            moments = shared.step(action, rows)
            for k, row, moment in zip(envs, rows, moments, strict=True):
                reward[k] = self._reward(moment)
                ended[k], cut[k] = moment.crashed or moment.off_road, shared.over(row)
                told: dict[str, Any] = {"moment": moment}
                if ended[k] or cut[k]:
                    told["drive"] = shared.drive(row)
                self._add_info(about, told, k)
        anew = np.flatnonzero(idle).tolist()
        for k, seat in zip(anew, self._begin(len(anew)), strict=True):
            self._seats[k] = seat
            self._add_info(about, {"case_id": seat.case_id}, k)
        self._over = ended | cut
        return self._seen(), reward, ended, cut, about

    def _begin(self, count: int) -> list[_Seat]:
        """So many cases, drawn anew."""
        if count == 0:
            return []
        drawn = [
            self._cases[int(i)] for i in self.np_random.integers(len(self._cases), size=count)
        ]
        shared = _Cases([ready(case, scene) for case, scene in drawn])
        return [_Seat(shared, row, case.case_id) for row, (case, _) in enumerate(drawn)]

    def _together(self, envs: Sequence[int]) -> list[list[int]]:
        """Environments by the engine that drives them."""
        by: dict[int, list[int]] = {}
        for k in envs:
            by.setdefault(id(self._seats[k].shared), []).append(k)
        return list(by.values())

    def _seen(self) -> Seen:
        seen = [seat.shared.seen(seat.row) for seat in self._seats]
        return {name: np.stack([one[name] for one in seen]) for name in SHAPES}


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where an environment's case is driven."""

    shared: _Cases
    row: int
    case_id: int


def _numbers(action: Array, shape: tuple[int, ...]) -> Array:
    """An action as finite numbers.

    Raises:
        BadSetting: It is none.
    """
    try:
        made = numbers_of(action)
        wrong = f"of shape {made.shape}, not {shape}" if made.shape != shape else ""
        if not wrong and not np.isfinite(made).all():
            wrong = "with numbers that are not finite"
    except WrongAnswer as error:
        wrong = f"as {error}, not {shape} numbers"
    if wrong:
        raise BadSetting(
            f"An action came to the environment {wrong}.",
            hint="Give acceleration and steering from -1 to 1, as `action_space` says.",
        )
    return made


def _checked(cases: Sequence[Paired]) -> list[Paired]:
    made = list(cases)
    if not made:
        raise BadSetting("There are no cases to drive.", hint="Give pairs_of(lake, suite).")
    return made


def episodes(env: DriveEnv, policy: Callable[[Seen], Array], count: int) -> Iterator[Drive]:
    """So many episodes of a policy: what suites measure of each."""
    for _ in range(count):
        seen, _ = env.reset()
        while True:
            seen, _, ended, cut, about = env.step(policy(seen))
            if ended or cut:
                yield about["drive"]
                break

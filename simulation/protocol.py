"""What a planner sees and answers: the whole interface for bringing your own.

The shortest planner is one class with one method::

    # my_planner.py
    from simulation.protocol import CaseView, PerCasePlanner

    class Cruise(PerCasePlanner):
        name = "cruise"

        def plan_one(self, case: CaseView) -> tuple[float, float]:
            return (0.5 if case.ego.speed[-1] < 10.0 else 0.0), 0.0  # acceleration, steering

    scenelake suite run SUITE --planner my_planner:Cruise

A planner that works on many cases at once implements :class:`Planner` instead and is asked once a
step for all of them. Either is asked every 0.1 s, sees the world up to now and never after, and
answers with controls or with a trajectory, which the engine tracks within the vehicle's limits.

A suite lets it drive in a process of its own (:mod:`simulation.guard`): what takes long but once, such
as loading weights, belongs into ``__init__``, for each answer has its time.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.errors import BadInput, PlannerFailed, UnknownName
from schemas.records import RoadMap
from simulation.paths import Paths

TRAJECTORY_STEPS_MIN = 5
"""A trajectory must reach at least half a second ahead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouteView:
    """Where the ego should drive: a centre line with points 1 m apart, from behind it to past its goal.

    Attributes:
        xy: [m].
        yaw: [rad].
        curvature: [1/m].
        speed_limit: [m/s].
        limit_known: Whether there is one at the point.
        goal_s: Station of the goal: distance from the first point [m].
    """

    xy: Float[Array, "points 2"]
    yaw: Float[Array, " points"]
    curvature: Float[Array, " points"]
    speed_limit: Float[Array, " points"]
    limit_known: Bool[Array, " points"]
    goal_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EgoView:
    """The driven vehicle over the last second, oldest first, the last being now.

    In an :class:`Observation` every array but the sizes has a leading axis of cases.

    Attributes:
        xy: Box centre [m].
        yaw: [rad].
        speed: Along the heading [m/s].
        valid: Whether the state is known; now it always is.
        acceleration: Applied in the last step [m/s²].
        steering: Front wheel angle applied in the last step [rad].
        length: [m].
        width: [m].
        wheelbase: [m].
        rear_to_centre: From the rear axle to the box centre [m].
    """

    xy: Float[Array, "*cases history 2"]
    yaw: Float[Array, "*cases history"]
    speed: Float[Array, "*cases history"]
    valid: Bool[Array, "*cases history"]
    acceleration: Float[Array, "*cases"]
    steering: Float[Array, "*cases"]
    length: Float[Array, "*cases"]
    width: Float[Array, "*cases"]
    wheelbase: Float[Array, "*cases"]
    rear_to_centre: Float[Array, "*cases"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OthersView:
    """Everyone else over the last second, oldest first, the last being now.

    Attributes:
        track_id: As in the lake; −1 pads.
        cls: Codes of :class:`schemas.labels.AgentClass`.
        size: Length and width [m].
        xy: Box centres [m].
        yaw: [rad].
        velocity: [m/s].
        valid: Whether it is there; if not, its other values mean nothing.
    """

    track_id: Int[Array, "*cases others"]
    cls: Int[Array, "*cases others"]
    size: Float[Array, "*cases others 2"]
    xy: Float[Array, "*cases others history 2"]
    yaw: Float[Array, "*cases others history"]
    velocity: Float[Array, "*cases others history 2"]
    valid: Bool[Array, "*cases others history"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignalsView:
    """Signals along the routes, as they show now.

    Attributes:
        case: To which case each belongs.
        s: Where to stop for it, as a station of the route [m].
        state: Codes of :class:`schemas.labels.LightState`.
    """

    case: Int[Array, " signals"]
    s: Float[Array, " signals"]
    state: Int[Array, " signals"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseView:
    """One case at one moment, for :class:`PerCasePlanner`; the same words without the case axis.

    Attributes:
        index: Of the case in its suite, by case id: a key for what the planner remembers, and the
            same in whatever batch, order or process the case is driven.
        time: Since the planner took over [s].
        ego: The driven vehicle.
        others: Everyone else.
        signals: Along the route; ``signals.case`` means nothing here.
        route: Where to drive.
        goal: Where to get [m].
        map: The whole map, empty where there is none.
    """

    index: int
    time: float
    ego: EgoView
    others: OthersView
    signals: SignalsView
    route: RouteView
    goal: Float[Array, 2]
    map: RoadMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseBatchView:
    """What does not change while the cases run.

    Attributes:
        case_id: As in the lake.
        index: Of each case in its suite; its place here may be another.
        routes: One route a case.
        paths: The same routes end to end, for computing on all at once: path ``i`` is of case ``i``.
        speed_limit: At each point of ``paths`` [m/s].
        limit_known: Whether there is one.
        start_s: Station of each ego at the start [m].
        goal: [m].
        size: Length and width of each ego [m].
        wheelbase: Likewise [m].
        rear_to_centre: From each ego's rear axle to its box centre [m].
        maps: The whole map of each case, empty where there is none.
    """

    case_id: Int[Array, " cases"]
    index: Int[Array, " cases"]
    routes: Sequence[RouteView]
    paths: Paths
    speed_limit: Float[Array, " points"]
    limit_known: Bool[Array, " points"]
    start_s: Float[Array, " cases"]
    goal: Float[Array, "cases 2"]
    size: Float[Array, "cases 2"]
    wheelbase: Float[Array, " cases"]
    rear_to_centre: Float[Array, " cases"]
    maps: Sequence[RoadMap]

    def __len__(self) -> int:
        return len(self.routes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """All cases at one moment: the present and the second before it.

    Attributes:
        step: Since the planners took over, from 0.
        time: Likewise [s].
        cases: What does not change.
        active: Whether a case still runs; answers for the others are ignored.
        ego: The driven vehicles, with a leading axis of cases.
        others: Everyone else, likewise.
        signals: Along the routes.
    """

    step: int
    time: float
    cases: CaseBatchView
    active: Bool[Array, " cases"]
    ego: EgoView
    others: OthersView
    signals: SignalsView

    def case(self, place: int) -> CaseView:
        """The case at a place of the batch, alone and without the others' padding."""
        ego, others, signals = self.ego, self.others, self.signals
        there = np.flatnonzero(others.track_id[place] >= 0)
        mine = signals.case == place
        return CaseView(
            index=int(self.cases.index[place]),
            time=self.time,
            ego=EgoView(**{name: getattr(ego, name)[place] for name in EgoView.__slots__}),
            others=OthersView(
                **{name: getattr(others, name)[place][there] for name in OthersView.__slots__}
            ),
            signals=SignalsView(
                case=signals.case[mine], s=signals.s[mine], state=signals.state[mine]
            ),
            route=self.cases.routes[place],
            goal=self.cases.goal[place],
            map=self.cases.maps[place],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A planner's answer for all cases: controls, or a trajectory.

    Attributes:
        acceleration: Along the heading, for the next 0.1 s [m/s²].
        steering: Front wheel angle, left positive [rad].
        trajectory: x, y, yaw, speed of the box centre 0.1 s, 0.2 s, … from now, in the map's
            frame [m, m, rad, m/s]; at least 5 steps. The engine tracks it.
        steps: How many steps of each case's trajectory count, 0 where its controls do; None: all.
        exact: Put the ego on the trajectory's first state without any dynamics: for replaying recorded
            drives, by a :class:`simulation.engine.Reference` alone.
        errors: Cases, by their places in the batch, that the planner cannot go on with, and why.
    """

    acceleration: Float[Array, " cases"] | None = None
    steering: Float[Array, " cases"] | None = None
    trajectory: Float[Array, "cases steps 4"] | None = None
    steps: Int[Array, " cases"] | None = None
    exact: bool = False
    errors: Mapping[int, str] = field(default_factory=dict)


@runtime_checkable
class Planner(Protocol):
    """Drives many cases at once."""

    name: str

    def start(self, cases: CaseBatchView) -> None:
        """Called once before the first step of every batch: forget the last one."""

    def plan(self, obs: Observation) -> Plan:
        """Called every step."""


Controls: TypeAlias = tuple[float, float]
"""Acceleration [m/s²] and front wheel angle [rad]."""


class Watch(Protocol):
    """Who wants to know whom a planner is asked for, and for how long already."""

    def asks(self, step: int, index: int) -> None:
        """The planner is asked at a step, −1 before the first, for the case of an index or for all (−1)."""

    def answered(self) -> None:
        """It has answered, or raised."""


class Unwatched:
    """Nobody wants to know."""

    def asks(self, step: int, index: int) -> None:
        """Nothing."""

    def answered(self) -> None:
        """Nothing."""


UNWATCHED = Unwatched()
STARTS, ALL_CASES = -1, -1
"""The step before the first, and the index of a whole batch; see :class:`Watch`."""


class PerCasePlanner:
    """Base of planners that look at one case at a time; implement :meth:`plan_one`.

    One that gives itself no ``name`` bears that of its class.
    """

    name = ""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if not cls.name:
            cls.name = cls.__name__

    def start_one(self, case: CaseView) -> None:
        """Called once for each case, before its first :meth:`plan_one`, with what that will see."""

    def plan_one(self, case: CaseView) -> Controls | Float[Array, "steps 4"]:
        """Acceleration and steering, or a trajectory as in :class:`Plan`."""
        raise NotImplementedError

    def start(self, cases: CaseBatchView) -> None:
        """As the engine calls it."""

    def plan(self, obs: Observation, watch: Watch = UNWATCHED) -> Plan:
        """As the engine calls it: one call of :meth:`plan_one` for every case that runs."""
        answers: dict[int, Array] = {}
        errors: dict[int, str] = {}
        for place in np.flatnonzero(obs.active).tolist():
            case = obs.case(place)
            watch.asks(obs.step, case.index)
            try:
                answers[place] = self._ask(case, first=obs.step == 0)
            except PlannerFailed as failure:
                errors[place] = failure.message
            finally:
                watch.answered()
        return stacked_plan(answers, errors, len(obs.cases))

    def _ask(self, case: CaseView, *, first: bool) -> Array:
        """The answer as an array, whatever goes wrong being told as this planner's failure."""
        try:
            if first:
                self.start_one(case)
            return answer_of(self.plan_one(case))
        except WrongAnswer as error:
            raise PlannerFailed(self.name, str(error)) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and what ends a task or a generator
            raise PlannerFailed(self.name, error) from error


class WrongAnswer(ValueError):
    """An answer for one case that is none."""


def answer_of(given: object) -> Array:
    """What was answered for one case: two controls, or a trajectory of (steps, 4).

    Raises:
        WrongAnswer: It is neither; in words that follow the planner's name.
    """
    asked = (
        f"(acceleration, steering) or {TRAJECTORY_STEPS_MIN} or more rows of (x, y, yaw, speed)"
    )
    try:
        answer = numbers_of(given)
    except WrongAnswer as error:
        raise WrongAnswer(f"answered {error}, not {asked}") from error
    if answer.shape == (2,) or (
        answer.ndim == 2 and answer.shape[1] == 4 and len(answer) >= TRAJECTORY_STEPS_MIN
    ):
        return answer
    raise WrongAnswer(f"answered with shape {answer.shape}, not {asked}")


def numbers_of(given: object) -> Array:
    """An array of float64.

    Raises:
        WrongAnswer: These are no numbers; with what they are.
    """
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "iuf":
            raise WrongAnswer(f"`{type(given).__name__}` of {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, or on another device
        if isinstance(error, WrongAnswer):
            raise
        raise WrongAnswer(f"`{type(given).__name__}` that is no array of numbers") from error


def stacked_plan(answers: Mapping[int, Array], errors: Mapping[int, str], count: int) -> Plan:
    """One plan of the answers for single cases, each of which counts as if it stood alone.

    Args:
        answers: Place of the case to acceleration and steering, or to a trajectory of (steps, 4).
        errors: Place to why there is none.
        count: How many cases there are; those without an answer get zeros.
    """
    controls = np.zeros((count, 2))
    steps = np.zeros(count, dtype=np.int64)
    for place, answer in answers.items():
        if answer.ndim == 1:
            controls[place] = answer
        else:
            steps[place] = len(answer)
    plan = Plan(acceleration=controls[:, 0], steering=controls[:, 1], errors=errors)
    if not steps.any():
        return plan
    stacked = np.zeros((count, int(steps.max()), 4))
    for place in np.flatnonzero(steps).tolist():
        stacked[place, : steps[place]] = answers[place]
    return replace(plan, trajectory=stacked, steps=steps)


def load_planner(name: str, *, built_in: Mapping[str, str]) -> Planner:
    """A planner by its name, or by ``module:Class`` for one's own.

    Args:
        name: Such as ``idm`` or ``my_package.my_planner:Cruise``.
        built_in: Name to ``module:Class`` of those that come with Scenelake.

    Raises:
        UnknownName: There is no such planner, module or class.
        BadInput: The class cannot be made, or is no planner.
    """
    if ":" not in name and name not in built_in:
        raise UnknownName("planner", name, [*built_in, "module:Class", "cmd:PROGRAM"])
    module_name, _, class_name = built_in.get(name, name).partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise BadInput(
            name,
            f"cannot be imported: {error}",
            hint="Run from the folder that holds the module, or put it on PYTHONPATH.",
        ) from error
    except (Exception, SystemExit) as error:
        raise BadInput(
            name,
            f"raised {type(error).__name__} while it was imported: {error}",
            hint=f"See that `python -c 'import {module_name}'` works.",
        ) from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [n for n, v in vars(module).items() if inspect.isclass(v)]
        raise UnknownName(f"class of `{module_name}`", class_name, classes)
    try:
        planner = found() if inspect.isclass(found) else found
    except TypeError as error:
        raise BadInput(
            name,
            f"cannot be made without arguments: {error}",
            hint="Give every argument of __init__ a default.",
        ) from error
    except (Exception, SystemExit) as error:
        raise BadInput(
            name, f"raised {type(error).__name__} while it was made: {error}",
            hint="See to its __init__.",
        ) from error  # fmt: skip
    for method in ("start", "plan"):
        if not callable(getattr(planner, method, None)):
            raise BadInput(
                name,
                f"has no method `{method}`",
                hint="Derive from simulation.protocol.PerCasePlanner and write `plan_one`.",
            )
    if isinstance(planner, PerCasePlanner) and type(planner).plan_one is PerCasePlanner.plan_one:
        raise BadInput(name, "has no method `plan_one`", hint="See simulation/protocol.py.")
    called = getattr(planner, "name", None)
    if not isinstance(called, str) or not called or not called.isprintable():
        planner.name = class_name  # type: ignore[union-attr]
    return cast(Planner, planner)

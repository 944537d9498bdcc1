"""The closed loop: many cases at once, 10 Hz, in numpy.

Every step all planners are asked at once; the ego moves as a kinematic bicycle within its limits,
the others as their mode says, both from the same present; then whoever overlaps the ego is noted.
The same inputs give the same bits, and a case alone gives what it gives among others: every sum
runs over a case's own numbers, padding never enters one.

Memory is steps × cases × agents × 49 bytes: 128 cases of 32 agents over 9 s take 18 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.kinematics import bicycle_step
from schemas.errors import PlannerFailed
from schemas.records import RoadMap
from schemas.scene import DT
from simulation import kernels
from simulation.agents import Traffic, TrafficLog
from simulation.batch import NOW, CaseBatch
from simulation.following import STEERING_MAX
from simulation.idm import BRAKE_MAX
from simulation.protocol import (
    ALL_CASES,
    STARTS,
    TRAJECTORY_STEPS_MIN,
    UNWATCHED,
    CaseBatchView,
    EgoView,
    Observation,
    OthersView,
    PerCasePlanner,
    Plan,
    Planner,
    RouteView,
    SignalsView,
    Watch,
    WrongAnswer,
    numbers_of,
)

T = TypeVar("T")

ACCELERATION_MAX = 4.0  # [m/s²] a strong car's
TRACKING_STEPS = 10  # a trajectory is met so many steps ahead
ABSURD = 1e8  # no place, speed or pedal is greater [m, m/s, m/s²]
LABELS_ERR_M = 0.5  # two boxes of a log may be in one another by so much though nobody touched
DEEPER_M = 0.3  # boxes that overlap at the start collide once so much deeper than in the log
CREEP_M = 0.3  # a trajectory that moves less than this in that time says nothing about steering


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """What happened: states from ``NOW`` on are simulated, before it logged.

    Attributes:
        batch: The cases.
        planner: Who drove.
        xy: Centres [m].
        yaw: [rad].
        velocity: [m/s].
        valid: Whether the agent was there; false beyond a case's horizon.
        speed: Of the ego along its heading [m/s].
        acceleration: Applied to the ego from each step to the next [m/s²].
        steering: Likewise [rad].
        contact: Step at which each agent first overlapped the ego, −1 for never. Agents that overlap it
            at the start already are not counted until they have come apart, or their boxes are deeper in
            one another by ``DEEPER_M`` than they ever are in the log, of which ``LABELS_ERR_M`` count.
        errors: Case to what stopped its planner.
        traffic: What became of the others.
    """

    batch: CaseBatch
    planner: str
    xy: Float[Array, "steps cases agents 2"]
    yaw: Float[Array, "steps cases agents"]
    velocity: Float[Array, "steps cases agents 2"]
    valid: Bool[Array, "steps cases agents"]
    speed: Float[Array, "steps cases"]
    acceleration: Float[Array, "steps cases"]
    steering: Float[Array, "steps cases"]
    contact: Int[Array, "cases agents"]
    errors: dict[int, str]
    traffic: TrafficLog

    @property
    def agent_steps(self) -> int:
        """Agents that were there, egos included, summed over the simulated steps."""
        return int(self.valid[NOW + 1 :].sum())


class Reference:
    """Base of planners that may know the whole batch, the future included, and move their egos as they like.

    They are yardsticks, no rivals.
    """

    def foresee(self, batch: CaseBatch) -> None:
        """Called once before ``start``."""
        self.batch = batch


class _State:
    """Everything that moves while a batch runs."""

    def __init__(self, batch: CaseBatch) -> None:
        steps, cases, agents = batch.valid.shape
        self.batch = batch
        self.xy = np.zeros((steps, cases, agents, 2))
        self.yaw = np.zeros((steps, cases, agents))
        self.velocity = np.zeros((steps, cases, agents, 2))
        self.valid = np.zeros((steps, cases, agents), dtype=bool)
        past = slice(0, NOW + 1)
        for name in ("xy", "yaw", "velocity", "valid"):
            getattr(self, name)[past] = getattr(batch, name)[past]
        heading = np.stack([np.cos(self.yaw[past, :, 0]), np.sin(self.yaw[past, :, 0])], axis=-1)
        self.speed = np.zeros((steps, cases))
        self.speed[past] = (self.velocity[past, :, 0] * heading).sum(axis=-1)
        self.acceleration = np.zeros((steps, cases))
        self.steering = np.zeros((steps, cases))
        self.rear = np.concatenate(
            [
                self.xy[NOW, :, 0] - batch.rear_to_centre[:, None] * heading[NOW],
                self.yaw[NOW, :, 0][:, None],
                self.speed[NOW][:, None],
            ],
            axis=-1,
        )
        self.traffic = Traffic(batch)

    def active(self, step: int) -> Bool[Array, " cases"]:
        """Whether each case still has a step to go."""
        return np.asarray(step - NOW < self.batch.horizon)

    def advance(self, step: int, plan: Plan, stopped: Bool[Array, " cases"]) -> None:
        """From one step to the next."""
        batch, following = self.batch, step + 1
        active = self.active(step)
        now = (self.xy[step], self.yaw[step], self.velocity[step], self.valid[step])
        moved = self.traffic.step(step, *now)
        self.xy[following], self.yaw[following], self.velocity[following] = moved[:3]
        self.valid[following] = moved[3] & active[:, None]

        if plan.exact and plan.trajectory is not None:
            target = np.ascontiguousarray(plan.trajectory[:, 0])
            centre, yaw, speed = target[:, :2], target[:, 2], target[:, 3]
            self.acceleration[step] = (speed - self.rear[:, 3]) / DT
            heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
            velocity = speed[:, None] * heading
            rear = centre - batch.rear_to_centre[:, None] * heading
            self.rear = np.concatenate([rear, yaw[:, None], speed[:, None]], axis=-1)
        else:
            acceleration, steering = self._controls(plan)
            acceleration = np.where(stopped, -np.sign(self.rear[:, 3]) * 3.0, acceleration)
            steering = np.where(stopped, 0.0, steering)
            acceleration = np.clip(acceleration, -BRAKE_MAX, ACCELERATION_MAX)
            steering = np.clip(steering, -STEERING_MAX, STEERING_MAX)
            self.rear = bicycle_step(
                self.rear, acceleration, steering, wheelbase=batch.wheelbase, dt=DT
            )
            yaw, speed = self.rear[:, 2].copy(), self.rear[:, 3].copy()
            heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
            centre = self.rear[:, :2] + batch.rear_to_centre[:, None] * heading
            sideways = speed * np.tan(steering) / batch.wheelbase * batch.rear_to_centre
            left = np.stack([-heading[:, 1], heading[:, 0]], axis=-1)
            velocity = speed[:, None] * heading + sideways[:, None] * left
            self.acceleration[step], self.steering[step] = acceleration, steering
        self.xy[following, :, 0], self.yaw[following, :, 0] = centre, yaw
        self.velocity[following, :, 0], self.speed[following] = velocity, speed
        self.valid[following, :, 0] = active

    def _controls(self, plan: Plan) -> tuple[Array, Array]:
        batch = self.batch
        if plan.trajectory is not None and plan.steps is None:
            return track(plan.trajectory, self.rear, batch.wheelbase, batch.rear_to_centre)
        assert plan.acceleration is not None, "checked() lets no such plan pass"
        assert plan.steering is not None, "likewise"
        if plan.trajectory is None or plan.steps is None:
            return plan.acceleration, plan.steering
        acceleration, steering = plan.acceleration.copy(), plan.steering.copy()
        # Trajectories of one length together: none is cut to another's, so that a case gets what
        # it would alone.
        ahead = np.minimum(plan.steps, TRACKING_STEPS)
        for steps in np.unique(ahead[ahead > 0]).tolist():
            rows = np.flatnonzero(ahead == steps)
            acceleration[rows], steering[rows] = track(
                plan.trajectory[rows, :steps],
                self.rear[rows],
                batch.wheelbase[rows],
                batch.rear_to_centre[rows],
            )
        return acceleration, steering


def simulate(batch: CaseBatch, planner: Planner, watch: Watch = UNWATCHED) -> Rollout:
    """Drive every case of a batch to its horizon.

    Args:
        batch: The cases.
        planner: Who drives; see :mod:`simulation.protocol`.
        watch: Told whenever the planner is asked, and when it has answered.

    Raises:
        PlannerFailed: The planner raised, or gave what is no plan for the batch; a
            :class:`~simulation.protocol.PerCasePlanner` that does so in one case stops that case alone.
    """
    loop = Loop(batch)
    everyone = int(batch.index[0]) if len(batch) == 1 else ALL_CASES
    if isinstance(planner, Reference):
        planner.foresee(batch)
    watch.asks(STARTS, everyone)
    try:
        _guarded(planner, partial(planner.start, loop.view))
    finally:
        watch.answered()
    # One that is asked case by case tells the watch of each itself.
    by_case = isinstance(planner, PerCasePlanner) and type(planner).plan is PerCasePlanner.plan
    while loop.goes_on:
        ask = partial(planner.plan, loop.observe())
        if by_case:
            plan, wrong = _asked(planner, partial(ask, watch=watch), loop)
        else:
            watch.asks(loop.now - NOW, everyone)
            try:
                plan, wrong = _asked(planner, ask, loop)
            finally:
                watch.answered()
        loop.step(plan, {**wrong, **plan.errors})
    return loop.rollout(planner.name)


def _asked(planner: Planner, ask: Callable[[], Plan], loop: Loop) -> tuple[Plan, dict[int, str]]:
    """The planner's answer, checked; see :func:`checked`."""

    def answer() -> tuple[Plan, dict[int, str]]:
        plan = ask()
        if getattr(plan, "exact", False) and not isinstance(planner, Reference):
            raise PlannerFailed(
                planner.name,
                "gave an exact plan, which moves the ego without dynamics: only references may",
            )
        return checked(plan, planner=planner.name, cases=len(loop.batch), active=loop.active)

    return _guarded(planner, answer)


class Loop:
    """A batch while it is driven: what is seen now, and one step after the other.

    Attributes:
        batch: The cases.
        view: What does not change while they run.
        now: The step of the batch's arrays that is the present.
        contact: As in :class:`Rollout`, so far.
        errors: Case to what stopped its planner.
    """

    def __init__(self, batch: CaseBatch) -> None:
        """Everyone stands where the log has them when the planners take over."""
        self.batch, self.view, self.now = batch, _case_view(batch), NOW
        self._state = state = _State(batch)
        self._stopped = np.zeros(len(batch), dtype=bool)
        self.errors: dict[int, str] = {}
        self.contact = np.full((len(batch), batch.agents), -1, dtype=np.int64)
        inside = touching(state.xy[NOW], state.yaw[NOW], batch.size, state.valid[NOW])
        self._apart = ~inside
        self._bearable = {
            (int(case), int(agent)): DEEPER_M
            + min(_recorded_overlap(batch, int(case), int(agent)), LABELS_ERR_M)
            for case, agent in np.argwhere(inside)
        }

    @property
    def goes_on(self) -> bool:
        """Whether there is a step to go in any case."""
        return self.now < self.batch.steps - 1

    @property
    def active(self) -> Bool[Array, " cases"]:
        """Whose answers count now: cases with a step to go whose planner has not failed."""
        return self._state.active(self.now) & ~self._stopped

    def observe(self) -> Observation:
        """What planners see now."""
        return _observe(self._state, self.view, self.now, self.active)

    def step(self, plan: Plan, errors: Mapping[int, str] = MappingProxyType({})) -> None:
        """Go on by 0.1 s.

        Args:
            plan: For all cases, finite numbers.
            errors: Cases whose planner cannot go on, and why: they brake to a stand.
        """
        active = self.active
        for case, reason in errors.items():
            if active[case]:
                self.errors[case] = f"{reason} (after {(self.now - NOW) * DT:.1f} s)"
                self._stopped[case] = True
        self._state.advance(self.now, plan, self._stopped)
        self.now += 1
        state, now = self._state, self.now
        hit = touching(state.xy[now], state.yaw[now], self.batch.size, state.valid[now])
        self.contact = np.where(hit & self._apart & (self.contact < 0), now, self.contact)
        self._apart |= ~hit
        for (case, agent), bearable in self._bearable.items():
            if hit[case, agent] and not self._apart[case, agent]:
                boxes = (state.xy[now, case], state.yaw[now, case], self.batch.size[case])
                if _overlap_depth(*boxes, agent) > bearable:
                    self.contact[case, agent] = now
                    self._apart[case, agent] = True

    def rollout(self, planner: str) -> Rollout:
        """What happened so far."""
        state = self._state
        return Rollout(
            batch=self.batch,
            planner=planner,
            xy=state.xy,
            yaw=state.yaw,
            velocity=state.velocity,
            valid=state.valid,
            speed=state.speed,
            acceleration=state.acceleration,
            steering=state.steering,
            contact=self.contact,
            errors=self.errors,
            traffic=state.traffic.log(),
        )


def _recorded_overlap(batch: CaseBatch, case: int, agent: int) -> float:
    """How deep the boxes of an agent and the ego are in one another in the log, at most [m]."""
    steps = np.flatnonzero(batch.valid[NOW:, case, 0] & batch.valid[NOW:, case, agent]) + NOW
    return max(
        _overlap_depth(batch.xy[t, case], batch.yaw[t, case], batch.size[case], agent)
        for t in steps.tolist()
    )


def _overlap_depth(
    xy: Float[Array, "agents 2"], yaw: Float[Array, " agents"], size: Float[Array, "agents 2"], agent: int
) -> float:  # fmt: skip
    """How far an agent's box and the ego's would have to be moved to part [m]."""
    return -float(
        kernels.separation(
            xy[0, 0], xy[0, 1], yaw[0], size[0, 0], size[0, 1],
            xy[agent, 0], xy[agent, 1], yaw[agent], size[agent, 0], size[agent, 1],
        )
    )  # fmt: skip


def touching(
    xy: Float[Array, "cases agents 2"],
    yaw: Float[Array, "cases agents"],
    size: Float[Array, "cases agents 2"],
    valid: Bool[Array, "cases agents"],
) -> Bool[Array, "cases agents"]:
    """Whether each agent's box overlaps the ego's, by separating axes."""
    return kernels.touching(xy, yaw, size, valid)


def track(
    trajectory: Float[Array, "cases steps 4"],
    rear: Float[Array, "cases 4"],
    wheelbase: Float[Array, " cases"],
    rear_to_centre: Float[Array, " cases"],
) -> tuple[Float[Array, " cases"], Float[Array, " cases"]]:
    """Controls that lead onto a trajectory: along and across, the cubic that meets it 1 s ahead.

    A cubic in time that gains the distance D and the speed Δv within τ starts with
    a = 6 (D − v τ) / τ² − 2 Δv / τ. Likewise one along the way d, which ends at a bearing β and
    turned by ψ, starts with the curvature κ = (6 β − 2 ψ) / d. At constant acceleration, and on
    arcs, both are exact.

    Args:
        trajectory: x, y, yaw, speed of the box centre.
        rear: x, y, yaw, speed of the rear axle now.
        wheelbase: [m].
        rear_to_centre: [m].

    Returns:
        Acceleration [m/s²] and steering [rad].
    """
    ahead = min(trajectory.shape[1], TRACKING_STEPS)
    tau = ahead * DT
    x, y, yaw, speed = (np.ascontiguousarray(trajectory[:, :ahead, i]) for i in range(4))
    axle_x = x - rear_to_centre[:, None] * np.cos(yaw)
    axle_y = y - rear_to_centre[:, None] * np.sin(yaw)
    xs = np.concatenate([rear[:, :1], axle_x], axis=1)
    ys = np.concatenate([rear[:, 1:2], axle_y], axis=1)
    cos, sin = np.cos(rear[:, 2].copy()), np.sin(rear[:, 2].copy())
    first = np.stack([xs[:, 1] - xs[:, 0], ys[:, 1] - ys[:, 0]], axis=-1)
    forward = first[:, 0] * cos + first[:, 1] * sin
    rest = np.zeros(len(rear))
    for i in range(1, ahead):
        step = np.hypot(xs[:, i + 1] - xs[:, i], ys[:, i + 1] - ys[:, i])
        rest = rest + np.where(speed[:, i] < 0.0, -step, step)
    distance = forward + rest
    dx, dy = xs[:, -1] - rear[:, 0], ys[:, -1] - rear[:, 1]
    turn = wrap(yaw[:, -1] - rear[:, 2])
    creeps = np.abs(distance) < CREEP_M
    d = np.where(creeps, 1.0, distance)
    bearing = np.arctan2(np.sign(d) * (cos * dy - sin * dx), np.sign(d) * (cos * dx + sin * dy))
    curvature = np.where(creeps, 0.0, (6.0 * bearing - 2.0 * turn) / d)
    gained = speed[:, -1] - rear[:, 3]
    acceleration = 6.0 * (distance - rear[:, 3] * tau) / tau**2 - 2.0 * gained / tau
    return acceleration, np.arctan(wheelbase * curvature)


def checked(
    plan: Plan, *, planner: str, cases: int, active: Bool[Array, " cases"]
) -> tuple[Plan, dict[int, str]]:
    """The plan with harmless numbers where it had none, and the cases where it had none.

    Raises:
        PlannerFailed: It is no plan, or its arrays have not the right shapes or hold no numbers.
    """
    if not isinstance(plan, Plan):
        raise PlannerFailed(
            planner, f"answered `{type(plan).__name__}`, not a simulation.protocol.Plan"
        )
    controls = plan.acceleration is not None and plan.steering is not None
    if plan.trajectory is None and not controls:
        raise PlannerFailed(
            planner, "gave neither a trajectory nor both acceleration and steering"
        )
    if plan.steps is not None and (plan.exact or plan.trajectory is None or not controls):
        raise PlannerFailed(planner, "gave steps without a trajectory to track, or no controls")

    def given(name: str, *tail: int | None) -> Array:
        value = getattr(plan, name)
        wanted = ", ".join("steps" if n is None else str(n) for n in (cases, *tail))
        wanted = f"not ({wanted}{'' if tail else ','})"
        try:
            array = numbers_of(value)
        except WrongAnswer as error:
            raise PlannerFailed(planner, f"gave {name} as {error}, {wanted} numbers") from error
        shape = (cases, *(array.shape[1] if n is None and array.ndim > 1 else n for n in tail))
        if array.shape != shape:
            raise PlannerFailed(planner, f"gave {name} of shape {array.shape}, {wanted}")
        return array

    steps: Array | None = None
    counts: dict[str, Array] = {}
    clean: dict[str, Array] = {}
    if plan.trajectory is not None:
        clean["trajectory"] = trajectory = given("trajectory", None, 4)
        longest = trajectory.shape[1]
        least = 1 if plan.exact else TRAJECTORY_STEPS_MIN
        if plan.steps is not None:
            steps = given("steps").astype(np.int64)
            if not ((steps == 0) | ((steps >= least) & (steps <= longest))).all():
                raise PlannerFailed(planner, f"gave steps that are neither 0 nor {least} or more")
        elif longest < least:
            raise PlannerFailed(
                planner, f"gave a trajectory of {longest} steps, not {least} or more"
            )
        used = np.full(cases, longest) if steps is None else steps
        counts["trajectory"] = (np.arange(longest) < used[:, None])[..., None]
    if plan.trajectory is None or steps is not None:
        for name in ("acceleration", "steering"):
            clean[name] = given(name)
            counts[name] = np.ones(cases, dtype=bool) if steps is None else steps == 0
    wrong: dict[int, str] = {}
    for name, value in clean.items():
        good = np.abs(value) <= ABSURD
        for case in np.flatnonzero((counts[name] & ~good).reshape(cases, -1).any(axis=1) & active):
            finite = np.isfinite(value[case]).all()
            what = f"beyond {ABSURD:g}" if finite else "that is not finite"
            article = "an" if name == "acceleration" else "a"
            wrong[int(case)] = f"{planner} gave {article} {name} {what}"
        clean[name] = np.where(good, value, 0.0)
    errors = {int(place): str(why) for place, why in plan.errors.items()}
    if any(not 0 <= place < cases for place in errors):
        raise PlannerFailed(planner, f"told of errors in cases that there are none of: {errors}")
    return Plan(**clean, steps=steps, exact=plan.exact, errors=errors), wrong


def _guarded(planner: Planner, call: Callable[[], T]) -> T:
    """The call's answer; whatever it raises that is not ours is told as the planner's failure.

    What it prints goes to standard error: standard output is for answers.
    """
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except (PlannerFailed, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, and what ends a task or a generator
        raise PlannerFailed(str(planner.name), error) from error


def _case_view(batch: CaseBatch) -> CaseBatchView:
    """Copies, so that nothing a planner does to its routes reaches the simulation."""
    paths, speed_limit, limit_known, goal = deepcopy(
        (batch.routes, batch.speed_limit, batch.limit_known, batch.goal)
    )
    routes = []
    for i in range(len(batch)):
        points = slice(int(paths.first[i]), int(paths.first[i] + paths.count[i]))
        routes.append(
            RouteView(
                xy=paths.xy[points],
                yaw=paths.yaw[points],
                curvature=paths.curvature[points],
                speed_limit=speed_limit[points],
                limit_known=limit_known[points],
                goal_s=float(batch.goal_s[i]),
            )
        )
    maps: Sequence[RoadMap] = [c.scene.map for c in batch.ready]
    return CaseBatchView(
        case_id=np.array([c.case.case_id for c in batch.ready], dtype=np.int64),
        index=batch.index.copy(),
        routes=routes,
        paths=paths,
        speed_limit=speed_limit,
        limit_known=limit_known,
        start_s=batch.start_s.copy(),
        goal=goal,
        size=batch.size[:, 0].copy(),
        wheelbase=batch.wheelbase.copy(),
        rear_to_centre=batch.rear_to_centre.copy(),
        maps=maps,
    )


def _observe(
    state: _State, view: CaseBatchView, step: int, active: Bool[Array, " cases"]
) -> Observation:
    """Copies of the last second, so that nothing a planner does reaches the simulation."""
    batch, past = state.batch, slice(step - NOW, step + 1)

    def ago(array: Array, agents: slice | int) -> Array:
        # Copied as it lies, which is fast; turned by a view.
        return np.moveaxis(array[past, :, agents].copy(), 0, 1 if isinstance(agents, int) else 2)

    everyone = slice(1, None)
    return Observation(
        step=step - NOW,
        time=(step - NOW) * DT,
        cases=view,
        active=active,
        ego=EgoView(
            xy=ago(state.xy, 0),
            yaw=ago(state.yaw, 0),
            speed=np.moveaxis(state.speed[past].copy(), 0, 1),
            valid=ago(state.valid, 0),
            acceleration=state.acceleration[step - 1].copy(),
            steering=state.steering[step - 1].copy(),
            length=batch.size[:, 0, 0].copy(),
            width=batch.size[:, 0, 1].copy(),
            wheelbase=batch.wheelbase.copy(),
            rear_to_centre=batch.rear_to_centre.copy(),
        ),
        others=OthersView(
            track_id=batch.track_id[:, 1:].copy(),
            cls=batch.cls[:, 1:].copy(),
            size=batch.size[:, 1:].copy(),
            xy=ago(state.xy, everyone),
            yaw=ago(state.yaw, everyone),
            velocity=ago(state.velocity, everyone),
            valid=ago(state.valid, everyone),
        ),
        signals=SignalsView(
            case=batch.route_stops.case.copy(),
            s=batch.route_stops.s.copy(),
            state=batch.route_stops.state[step].copy(),
        ),
    )

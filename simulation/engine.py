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
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.kinematics import bicycle_step
from schemas.errors import BadInput, PlannerFailed
from schemas.records import RoadMap
from schemas.scene import DT
from simulation import kernels
from simulation.agents import Traffic, TrafficLog
from simulation.batch import NOW, CaseBatch
from simulation.following import STEERING_MAX
from simulation.idm import BRAKE_MAX
from simulation.protocol import (
    TRAJECTORY_STEPS_MIN,
    CaseBatchView,
    EgoView,
    Observation,
    OthersView,
    Plan,
    Planner,
    RouteView,
    SignalsView,
)

T = TypeVar("T")

ACCELERATION_MAX = 4.0  # [m/s²] a strong car's
TRACKING_STEPS = 10  # a trajectory is met so many steps ahead
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
        contact: Step at which each agent first overlapped the ego, −1 for never. Agents that
            overlap it at the start already are not counted until they have come apart.
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
    """Base of planners that may know the whole batch, the future included: yardsticks, no rivals."""

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
        if plan.trajectory is not None:
            return track(
                plan.trajectory, self.rear, self.batch.wheelbase, self.batch.rear_to_centre
            )
        assert plan.acceleration is not None, "checked() lets no such plan pass"
        assert plan.steering is not None, "likewise"
        return plan.acceleration, plan.steering


def simulate(batch: CaseBatch, planner: Planner) -> Rollout:
    """Drive every case of a batch to its horizon.

    Args:
        batch: The cases.
        planner: Who drives; see :mod:`simulation.protocol`.

    Raises:
        PlannerFailed: The planner raised; a :class:`~simulation.protocol.PerCasePlanner` that
            raises in one case stops that case alone.
        BadInput: Its answer has not the shape of a plan.
    """
    loop = Loop(batch)
    if isinstance(planner, Reference):
        planner.foresee(batch)
    _guarded(planner, partial(planner.start, loop.view))
    while loop.goes_on:
        plan, wrong = checked(
            _guarded(planner, partial(planner.plan, loop.observe())),
            planner=planner.name,
            cases=len(batch),
            active=loop.active,
        )
        loop.step(plan, {**wrong, **plan.errors})
    return loop.rollout(planner.name)


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
        self._apart = ~touching(state.xy[NOW], state.yaw[NOW], batch.size, state.valid[NOW])

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
        BadInput: It is no plan, or its arrays have not the right shapes.
    """
    if not isinstance(plan, Plan):
        raise BadInput(
            planner,
            f"answered {type(plan).__name__}, not a Plan",
            hint="Return simulation.protocol.Plan.",
        )
    given: dict[str, tuple[Array, tuple[int, ...]]] = {}
    if plan.trajectory is not None:
        trajectory = np.asarray(plan.trajectory, dtype=np.float64)
        steps = trajectory.shape[1] if trajectory.ndim == 3 else 0
        least = 1 if plan.exact else TRAJECTORY_STEPS_MIN
        if steps < least or trajectory.shape != (cases, steps, 4):
            raise BadInput(
                planner,
                f"gave a trajectory of shape {trajectory.shape}",
                hint=f"It should be ({cases}, steps, 4) with {least} steps or more.",
            )
        given["trajectory"] = (trajectory, (1, 2))
    elif plan.acceleration is None or plan.steering is None:
        raise BadInput(
            planner,
            "gave neither a trajectory nor both acceleration and steering",
            hint="Fill in one of the two in Plan.",
        )
    else:
        for name in ("acceleration", "steering"):
            value = np.asarray(getattr(plan, name), dtype=np.float64)
            if value.shape != (cases,):
                raise BadInput(
                    planner,
                    f"gave {name} of shape {value.shape}",
                    hint=f"It should be ({cases},).",
                )
            given[name] = (value, ())
    wrong: dict[int, str] = {}
    clean: dict[str, Array] = {}
    for name, (value, inner) in given.items():
        finite = np.isfinite(value).all(axis=inner) if inner else np.isfinite(value)
        for case in np.flatnonzero(~finite & active).tolist():
            wrong[case] = f"{planner} gave a {name} that is not finite"
        clean[name] = np.where(np.isfinite(value), value, 0.0)
    return (
        Plan(
            acceleration=clean.get("acceleration"),
            steering=clean.get("steering"),
            trajectory=clean.get("trajectory"),
            exact=plan.exact,
            errors=plan.errors,
        ),
        wrong,
    )


def _guarded(planner: Planner, call: Callable[[], T]) -> T:
    """The call's answer; whatever it raises that is not ours is told as the planner's failure.

    What it prints goes to standard error: standard output is for answers.
    """
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except (BadInput, PlannerFailed):
        raise
    except Exception as error:
        raise PlannerFailed(str(planner.name), error) from error


def _case_view(batch: CaseBatch) -> CaseBatchView:
    routes = []
    for i in range(len(batch)):
        points = slice(
            int(batch.routes.first[i]), int(batch.routes.first[i] + batch.routes.count[i])
        )
        routes.append(
            RouteView(
                xy=batch.routes.xy[points],
                yaw=batch.routes.yaw[points],
                curvature=batch.routes.curvature[points],
                speed_limit=batch.speed_limit[points],
                limit_known=batch.limit_known[points],
                goal_s=float(batch.goal_s[i]),
            )
        )
    maps: Sequence[RoadMap] = [c.scene.map for c in batch.ready]
    return CaseBatchView(
        case_id=np.array([c.case.case_id for c in batch.ready], dtype=np.int64),
        routes=routes,
        paths=batch.routes,
        speed_limit=batch.speed_limit,
        limit_known=batch.limit_known,
        start_s=batch.start_s,
        goal=batch.goal,
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
            case=batch.route_stops.case,
            s=batch.route_stops.s,
            state=batch.route_stops.state[step].copy(),
        ),
    )

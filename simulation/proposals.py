"""Planners that try many drives in their head and take the best: PDM-Closed, and an oracle.

After Dauner et al. (2023), "Parting with misconceptions about learning-based vehicle motion
planning": proposals are IDM drives along the route, at several shares of the desired speed and
several lateral offsets; each is simulated with the bicycle model for 4 s against a prediction of
the others, and what it drives is scored,

    score = collision · surface · (5 progress + 5 ttc + 2 comfort)

collision being 0 where the ego is to blame for one with a road user, ½ with a thing, surface 0 where a
corner leaves it. The best is driven for 0.1 s, then all begins anew.

As published, IDM has the exponent 10 and brakes at 3 m/s² at most; the ego is to blame as nuPlan has it, in its lane never for its
sides; time to collision counts towards who is ahead, and beside it between lanes and in intersections; whom
it has touched is looked at no more; progress is relative to the farthest proposal that is not ruled out;
where all are, the slowest on the centre line is driven, and at 5 m/s or less the brakes are put on at
4.05 m/s² if that one hits somebody within 2 s.

Where it differs is told in ``docs/results.md``. Chiefly: it slows down for bends and at yellow; of several
in its way it heeds the one that asks most (published: the nearest); a controller in closed form steers
(published: LQR); comfort is nuPlan's own smoothing, with the second before now (published: one parabola
through the 4 s to come); driving against the lanes is not asked, for no proposal leaves its route.

:class:`Oracle` knows the others' logged future instead of predicting it, has more proposals, and
some that heed nobody, since with the future known one may pass where caution would wait. It brakes as
hard as the road lets it. It is the yardstick of whether a case can be solved at all, exact where the
others are replayed from the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import VEHICLES, VULNERABLE, LightState
from schemas.scene import DT
from simulation import kernels, proposal_kernels
from simulation.batch import NOW
from simulation.engine import Reference
from simulation.following import (
    LINE_PASSED_M,
    MARGIN_M,
    SETTLING_MIN_M,
    SETTLING_S,
    STEERING_MAX,
    YELLOW_BRAKING,
)
from simulation.following import REACH_M as SIGNAL_REACH_M
from simulation.idm import BRAKE_MAX, EGO
from simulation.planners import desired_speed, rear_axle
from simulation.protocol import CaseBatchView, Observation, Plan
from simulation.room import Room, room_beside
from simulation.scores import AHEAD, BEHIND, COMFORT, SMOOTHING, STOPPED, TTC_LEAST

HORIZON = 40  # steps
EVERY = 2  # steps between the moments of a forecast
COARSE = 4  # steps between the moments at which the others are placed on the route
CHECK = 2  # steps between the moments at which boxes are compared
REACH_M = 80.0
PAST_GOAL_M = 10
TTC_WEIGHT, PROGRESS_WEIGHT, COMFORT_WEIGHT = 5.0, 5.0, 2.0
PROGRESS_LEAST_M = 0.1  # where no proposal gets farther, all get as far
BRAKES = (
    4.0,
    BRAKE_MAX,
)  # [m/s²] of the oracle: what passengers just bear, and what the road gives
EMERGENCY = 20  # steps: an impact nearer than this may be met with the brakes
EMERGENCY_SPEED = 5.0  # [m/s] up to which they are put on
EMERGENCY_BRAKE = -COMFORT["lon_acceleration"][0]  # [m/s²]
ROAD_USERS = [int(c) for c in VEHICLES | VULNERABLE]
COMFORT_ORDER = (
    "lon_acceleration", "lat_acceleration", "yaw_rate", "yaw_acceleration", "lon_jerk", "jerk",
)  # fmt: skip
ASIDE_PENALTY = 0.01  # per metre: of equal drives, the one nearer to the centre line


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """Where the others will be now (index 0) and every 0.2 s, as far as it is known; then straight on.

    Attributes:
        box: x, y, yaw, length, width.
        velocity: [m/s].
        valid: Whether it will be there.
    """

    box: Float[Array, "times cases others 5"]
    velocity: Float[Array, "times cases others 2"]
    valid: Bool[Array, "times cases others"]


@dataclass(frozen=True, slots=True, eq=False)
class _Drives:
    """Simulated proposals, times first; rows are cases × proposals.

    Attributes:
        pose: x, y, yaw, speed of the rear axle.
        acceleration: [m/s²].
        turning: Tangent of the front wheel angle.
        station: Of the rear axle on the route [m].
    """

    pose: Float[Array, "times rows 4"]
    acceleration: Float[Array, "steps rows"]
    turning: Float[Array, "steps rows"]
    station: Float[Array, "times rows"]


class Pdm:
    """Fifteen IDM proposals, scored against constant-velocity predictions."""

    name = "pdm"
    shares: ClassVar[tuple[float, ...]] = (1.0, 0.8, 0.6, 0.4, 0.2)
    asides: ClassVar[tuple[float, ...]] = (0.0, 1.0, -1.0)
    heedless: ClassVar[tuple[bool, ...]] = (False,)
    brakes: ClassVar[tuple[float, ...]] = ()
    """Decelerations that may be held, come what may, where all else fails [m/s²]."""
    hardest: ClassVar[float] = EGO.braking
    """How hard a proposal brakes at most [m/s²]."""
    replan: ClassVar[int] = 1
    """Steps for which the best one is driven."""

    def start(self, cases: CaseBatchView) -> None:
        """Begin at the start of each route."""
        table = [(h, o, f) for h in self.heedless for o in self.asides for f in self.shares]
        self._share = np.array([f for _, _, f in table] + [0.0] * len(self.brakes))
        self._aside = np.array([o for _, o, _ in table] + [0.0] * len(self.brakes))
        self._heeds = np.array([not h for h, _, _ in table] + [True] * len(self.brakes))
        self._brake = np.array([0.0] * len(table) + list(self.brakes))
        self._s = cases.start_s.copy()
        self._desired: Array | None = None
        self._room: Room | None = None
        self._met: Array = np.zeros((len(cases), 0), dtype=bool)
        self._acceleration = np.zeros((self.replan, len(cases)))
        self._steering = np.zeros((self.replan, len(cases)))

    def plan(self, obs: Observation) -> Plan:
        """Controls of the best proposal."""
        if self._desired is None:
            self._desired = desired_speed(obs)
            self._met = np.zeros(obs.others.track_id.shape, dtype=bool)
            self._room = room_beside(obs.cases, obs.ego, PAST_GOAL_M)
        rows = np.arange(len(obs.cases))
        centre = np.ascontiguousarray(obs.ego.xy[:, -1])
        self._s, _, _ = obs.cases.paths.locate(rows, centre, self._s)
        self._met |= overlapping(obs)
        since = obs.step % self.replan
        if since == 0:
            forecast = self.forecast(obs)
            drives = self._simulate(obs, self._desired, forecast)
            best, emergency = self._best(obs, drives, forecast)
            chosen = rows * len(self._share) + best
            self._acceleration = np.where(
                emergency, -EMERGENCY_BRAKE, drives.acceleration[: self.replan, chosen]
            )
            self._steering = np.arctan(drives.turning[: self.replan, chosen])
        return Plan(acceleration=self._acceleration[since], steering=self._steering[since])

    def forecast(self, obs: Observation) -> Forecast:
        """Everyone keeps velocity and heading: now is all that is known."""
        others = obs.others
        box = [others.xy[:, :, -1], others.yaw[:, :, -1, None], others.size]
        return Forecast(
            box=np.concatenate(box, axis=-1)[None],
            velocity=np.ascontiguousarray(others.velocity[None, :, :, -1]),
            valid=np.ascontiguousarray(others.valid[None, :, :, -1]),
        )

    def _simulate(self, obs: Observation, desired: Array, forecast: Forecast) -> _Drives:
        """Every proposal of every case, driven by IDM and bicycle for the horizon."""
        paths, ego, signals = obs.cases.paths, obs.ego, obs.signals
        asks = np.select(
            [signals.state == LightState.RED, signals.state == LightState.YELLOW],
            [proposal_kernels.RED, proposal_kernels.YELLOW],
        )
        stops = np.flatnonzero(asks)
        stops = stops[np.argsort(signals.case[stops], kind="stable")]
        whose, cases = signals.case[stops], np.arange(len(obs.cases))
        first = np.searchsorted(whose, cases)
        return _Drives(
            *proposal_kernels.drives(
                paths.xy, paths.yaw, paths.curvature, paths.first, paths.count, desired,
                rear_axle(obs), self._s - ego.rear_to_centre, ego.length, ego.width, ego.wheelbase,
                ego.rear_to_centre, self._share, self._aside, self._heeds, self._brake,
                forecast.box, forecast.velocity, forecast.valid, self._met, EVERY, REACH_M,
                first, np.searchsorted(whose, cases, side="right") - first,
                np.asarray(signals.s[stops], np.float64), asks[stops],
                np.array([EGO.gap, EGO.headway, EGO.acceleration, EGO.braking]),
                MARGIN_M, LINE_PASSED_M, SIGNAL_REACH_M, YELLOW_BRAKING, self.hardest,
                BRAKE_MAX,
                np.array([1.0, STEERING_MAX]), np.array([SETTLING_MIN_M, SETTLING_S]),
                obs.active, COARSE, HORIZON, DT,
            )
        )  # fmt: skip

    def _best(
        self, obs: Observation, drives: _Drives, forecast: Forecast
    ) -> tuple[Int[Array, " cases"], Bool[Array, " cases"]]:
        """Index of each case's best proposal, and whether to brake in an emergency."""
        cases, many = len(obs.cases), len(self._share)
        hit, spared, ttc_held = self._impacts(obs, drives, forecast)
        product = spared * self._stays(obs, drives) * (self._brake == 0.0)
        driven = (drives.station[-1] - drives.station[0]).reshape(cases, many)
        progress = np.maximum(driven, 0.0) * product
        reach = progress.max(axis=1, keepdims=True)
        moves = reach > PROGRESS_LEAST_M
        ratio = np.where(moves, progress / np.where(moves, reach, 1.0), 1.0)
        score = product * (PROGRESS_WEIGHT * ratio + TTC_WEIGHT * ttc_held)
        score -= ASIDE_PENALTY * np.abs(self._aside)
        good = product > 0.0
        score = np.where(good, score, -np.inf)
        # Comfort is asked of the best, and where that has none of those whom it may make better.
        best = np.arange(many) == score.argmax(axis=1)[:, None]
        best &= good & obs.active[:, None]
        comfort = self._comfort(obs, drives, best)
        rivals = score + product * COMFORT_WEIGHT >= score.max(axis=1, keepdims=True)
        rivals &= best.any(axis=1, keepdims=True) & ~comfort.any(axis=1, keepdims=True)
        comfort |= self._comfort(obs, drives, rivals & good & ~best)
        score = score + COMFORT_WEIGHT * product * comfort
        chosen = np.asarray(np.where(good, score, self._doomed(hit)).argmax(axis=1))
        speed = obs.ego.speed[:, -1]
        emergency = (hit[np.arange(cases), chosen] <= EMERGENCY) & (speed >= 0.0)
        return chosen, emergency & (speed <= EMERGENCY_SPEED)

    def _doomed(self, hit: Float[Array, "cases proposals"]) -> Float[Array, "cases proposals"]:
        """Which proposal to take where all are ruled out: the slowest, on the centre line."""
        calm = -1000.0 - 10.0 * np.abs(self._aside) - self._share
        return np.asarray(np.broadcast_to(calm, hit.shape))

    def _stays(self, obs: Observation, drives: _Drives) -> Float[Array, "cases proposals"]:
        """1 where a proposal stays on the drivable surface; where none does nothing can be told."""
        paths, ego, room = obs.cases.paths, obs.ego, self._room
        assert room is not None
        off = proposal_kernels.leaves(
            drives.pose, drives.station, ego.length, ego.width, ego.rear_to_centre, paths.xy,
            paths.yaw, paths.first, paths.count, room.left, room.right, room.least, obs.active, CHECK,
        )  # fmt: skip
        off = off.reshape(len(obs.cases), len(self._share))
        return np.where(off & ~off.all(axis=1, keepdims=True), 0.0, 1.0)

    def _impacts(
        self, obs: Observation, drives: _Drives, forecast: Forecast
    ) -> tuple[Float[Array, "cases proposals"], ...]:
        """Step of the first impact to blame for, what it leaves of the score, and whether TTC stays in bounds."""
        paths, ego, room = obs.cases.paths, obs.ego, self._room
        assert room is not None
        grave = np.isin(obs.others.cls, ROAD_USERS)
        found = proposal_kernels.impacts(
            drives.pose, drives.station, ego.length, ego.width, ego.rear_to_centre, forecast.box,
            forecast.velocity, forecast.valid, self._met, EVERY, grave, paths.xy, paths.yaw,
            paths.first, paths.count, room.lane_left, room.lane_right, room.crossing, obs.active,
            CHECK, STOPPED, AHEAD, BEHIND, TTC_LEAST, DT,
        )  # fmt: skip
        return tuple(one.reshape(len(obs.cases), len(self._share)) for one in found)

    def _comfort(
        self, obs: Observation, drives: _Drives, asked: Bool[Array, "cases proposals"]
    ) -> Bool[Array, "cases proposals"]:
        """Which of those asked of, carried on from what was driven before, stay within nuPlan's bounds."""
        ego, bounds = obs.ego, np.array([COMFORT[name] for name in COMFORT_ORDER])
        return proposal_kernels.comfortable(
            drives.pose, np.ascontiguousarray(ego.xy), np.ascontiguousarray(ego.yaw),
            np.ascontiguousarray(ego.valid), ego.rear_to_centre, bounds[:, 0].copy(),
            bounds[:, 1].copy(), SMOOTHING, DT, asked.ravel(),
        ).reshape(asked.shape) > 0.0  # fmt: skip


def overlapping(obs: Observation) -> Bool[Array, "cases others"]:
    """Whose box overlaps the ego's now."""
    ego, others = obs.ego, obs.others

    def with_ego(mine: Array, theirs: Array) -> Array:
        return np.concatenate([mine[:, None], theirs], axis=1)

    size = np.stack([ego.length, ego.width], axis=-1)
    return kernels.touching(
        with_ego(ego.xy[:, -1], others.xy[:, :, -1]),
        with_ego(ego.yaw[:, -1], others.yaw[:, :, -1]),
        with_ego(size, others.size),
        with_ego(ego.valid[:, -1], others.valid[:, :, -1]),
    )[:, 1:]


class Oracle(Reference, Pdm):
    """Many more proposals, and the others' logged future."""

    name = "oracle"
    shares: ClassVar[tuple[float, ...]] = (1.0, 0.7, 0.4, 0.15)
    asides: ClassVar[tuple[float, ...]] = (0.0, 0.75, -0.75, 1.75, -1.75, 3.5, -3.5)
    heedless: ClassVar[tuple[bool, ...]] = (False, True)
    brakes: ClassVar[tuple[float, ...]] = BRAKES
    hardest: ClassVar[float] = BRAKE_MAX
    replan: ClassVar[int] = 3

    def forecast(self, obs: Observation) -> Forecast:
        """What the log says; after its end, straight on."""
        batch = self.batch
        times = np.arange(0, HORIZON + 1, EVERY)
        wanted = NOW + obs.step + times
        index = np.minimum(wanted, batch.steps - 1)
        beyond = ((wanted - index) * DT)[:, None, None, None]
        velocity = batch.velocity[index, :, 1:]
        xy, yaw = batch.xy[index, :, 1:] + velocity * beyond, batch.yaw[index, :, 1:, None]
        size = np.broadcast_to(batch.size[:, 1:], xy.shape)
        return Forecast(
            box=np.concatenate([xy, yaw, size], axis=-1),
            velocity=velocity,
            valid=batch.valid[index, :, 1:],
        )

    def _doomed(self, hit: Float[Array, "cases proposals"]) -> Float[Array, "cases proposals"]:
        """The latest impact; one that is near is met with the brakes, too."""
        near = np.where(self._brake == 0.0, hit, 0.0).max(axis=1, keepdims=True) <= EMERGENCY
        return np.where((self._brake == 0.0) | near, hit - 1000.0, -2000.0)

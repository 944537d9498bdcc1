"""Planners that try many drives in their head and take the best: PDM-Closed, and an oracle.

After Dauner et al. (2023), "Parting with misconceptions about learning-based vehicle motion
planning": proposals are IDM drives along the route, at several shares of the desired speed and
several lateral offsets; each is simulated with the bicycle model for 4 s against a prediction of
the others, scored for collision, time to collision, progress and comfort with nuPlan's weights
5 : 5 : 2, and the best is driven for half a second. If every proposal collides, the one that does
so last is taken, with full braking among them.

:class:`Oracle` knows the others' logged future instead of predicting it, has more proposals, and
some that heed nobody, since with the future known one may pass where caution would wait. It is the
yardstick of whether a case can be solved at all, exact where the others are replayed from the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import overlap
from geometry.kinematics import bicycle_step
from schemas.scene import DT
from simulation.batch import NOW
from simulation.engine import Reference
from simulation.following import MARGIN_M, signal_braking
from simulation.idm import BRAKE_MAX, EGO, free, interaction
from simulation.planners import desired_speed, lane_steering, rear_axle
from simulation.protocol import CaseBatchView, Observation, Plan
from simulation.scores import BEHIND, COMFORT, OUTSIDE_M, STOPPED, TTC_LEAST, time_to_contact
from simulation.surface import Ground, Surface

HORIZON = 40  # steps
REPLAN = 5  # steps
COARSE = 5  # steps between the moments at which the others are placed on the route
CHECK = 2  # steps between the moments at which boxes are compared
REACH_M = 80.0
PAST_GOAL_M = 10
TTC_WEIGHT, PROGRESS_WEIGHT, COMFORT_WEIGHT = 5.0, 5.0, 2.0
ASIDE_PENALTY = 0.01  # per metre: of equal drives, the one nearer to the centre line


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """Where the others will be, from now (index 0) on.

    Attributes:
        box: x, y, yaw, length, width.
        velocity: [m/s].
        valid: Whether it will be there.
    """

    box: Float[Array, "cases others times 5"]
    velocity: Float[Array, "cases others times 2"]
    valid: Bool[Array, "cases others times"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drives:
    """Simulated proposals, times first; rows are cases × proposals."""

    pose: Float[Array, "times rows 4"]
    acceleration: Float[Array, "steps rows"]
    steering: Float[Array, "steps rows"]
    station: Float[Array, "times rows"]


class Pdm:
    """Fifteen IDM proposals and full braking, scored against constant-velocity predictions."""

    name = "pdm"
    shares: ClassVar[tuple[float, ...]] = (1.0, 0.8, 0.6, 0.4, 0.2)
    asides: ClassVar[tuple[float, ...]] = (0.0, 1.0, -1.0)
    heedless: ClassVar[tuple[bool, ...]] = (False,)

    def start(self, cases: CaseBatchView) -> None:
        """Begin at the start of each route."""
        table = [(h, o, f) for h in self.heedless for o in self.asides for f in self.shares]
        # The last proposal brakes as hard as it can.
        self._share = np.array([f for _, _, f in table] + [0.0])
        self._aside = np.array([o for _, o, _ in table] + [0.0])
        self._heeds = np.array([not h for h, _, _ in table] + [True])
        self._emergency = np.arange(len(self._share)) == len(table)
        self._allowed = np.ones((len(cases), len(self._share)), dtype=bool)
        self._s = cases.start_s.copy()
        self._desired: Array | None = None
        self._acceleration = np.zeros((REPLAN, len(cases)))
        self._steering = np.zeros((REPLAN, len(cases)))

    def plan(self, obs: Observation) -> Plan:
        """Controls of the best proposal, chosen anew every half second."""
        if self._desired is None:
            self._desired = desired_speed(obs)
            self._rule_out(obs)
        rows = np.arange(len(obs.cases))
        centre = np.ascontiguousarray(obs.ego.xy[:, -1])
        self._s, _, _ = obs.cases.paths.locate(rows, centre, self._s)
        since = obs.step % REPLAN
        if since == 0:
            forecast = self.forecast(obs)
            drives = self._simulate(obs, forecast, self._desired)
            best = self._best(obs, forecast, drives)
            chosen = rows * len(self._share) + best
            self._acceleration = drives.acceleration[:REPLAN, chosen]
            self._steering = drives.steering[:REPLAN, chosen]
        return Plan(acceleration=self._acceleration[since], steering=self._steering[since])

    def forecast(self, obs: Observation) -> Forecast:
        """Everyone keeps velocity and heading."""
        others = obs.others
        ahead = (np.arange(HORIZON + 1) * DT)[:, None]
        velocity = others.velocity[:, :, -1]
        xy = others.xy[:, :, -1][:, :, None] + velocity[:, :, None] * ahead
        shape = xy.shape[:3]
        rest = np.concatenate([others.yaw[:, :, -1][..., None], others.size], axis=-1)
        return Forecast(
            box=np.concatenate([xy, np.broadcast_to(rest[:, :, None], (*shape, 3))], axis=-1),
            velocity=np.broadcast_to(velocity[:, :, None], (*shape, 2)),
            valid=np.broadcast_to(others.valid[:, :, -1][..., None], shape),
        )

    def _rule_out(self, obs: Observation) -> None:
        """Forbid offsets at which the ego's sides would leave the drivable surface on the route."""
        for case, road_map in enumerate(obs.cases.maps):
            route = obs.cases.routes[case]
            first, last = int(obs.cases.start_s[case]), int(route.goal_s) + PAST_GOAL_M
            line, yaw = route.xy[first:last], route.yaw[first:last]
            if not road_map.features or len(line) == 0:
                continue
            surface = Surface(Ground(road_map), line.min(axis=0) - 10.0, line.max(axis=0) + 10.0)
            if not surface.known:
                continue
            left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
            half = obs.ego.width[case] / 2.0
            for aside in self.asides:
                edge = line + (aside + np.sign(aside) * half) * left
                if aside != 0.0 and surface.outside(edge).max() > OUTSIDE_M:
                    self._allowed[case, self._aside == aside] = False

    def _simulate(self, obs: Observation, forecast: Forecast, desired: Array) -> _Drives:
        """Every proposal of every case, driven by IDM and bicycle for the horizon."""
        paths, cases, many = obs.cases.paths, len(obs.cases), len(self._share)
        path = np.repeat(np.arange(cases), many)

        def tiled(value: Array) -> Array:
            return np.tile(value, cases)

        share, aside, emergency = tiled(self._share), tiled(self._aside), tiled(self._emergency)
        length, width = np.repeat(obs.ego.length, many), np.repeat(obs.ego.width, many)
        wheelbase = np.repeat(obs.ego.wheelbase, many)
        to_centre = np.repeat(obs.ego.rear_to_centre, many)
        pose = np.repeat(rear_axle(obs), many, axis=0)
        s = np.repeat(self._s, many) - to_centre
        leaders = self._leaders(obs, forecast)
        signal_row = np.concatenate([obs.signals.case * many + n for n in range(many)])
        signal_s, signal_state = np.tile(obs.signals.s, many), np.tile(obs.signals.state, many)

        poses, stations = [pose], [s]
        accelerations, steerings = [], []
        for step in range(HORIZON):
            speed = np.maximum(pose[:, 3], 0.0)
            middle = s + to_centre
            braking = np.maximum(
                leaders.braking(step // COARSE, middle, speed, length, width, self._aside),
                signal_braking(signal_row, signal_s, signal_state, middle, speed, length, EGO),
            )
            wanted = share * desired[paths.index(path, middle)]
            acceleration = np.clip(
                free(speed, wanted, EGO) - braking, -BRAKE_MAX, EGO.acceleration
            )
            acceleration = np.where(emergency, -BRAKE_MAX, acceleration)
            steering = lane_steering(
                paths, path, s, pose, to_centre + length / 2.0, wheelbase, aside
            )
            pose = bicycle_step(pose, acceleration, steering, wheelbase=wheelbase, dt=DT)
            s, _, _ = paths.locate(
                path, np.ascontiguousarray(pose[:, :2]), s, behind=2.0, ahead=5.0
            )
            poses.append(pose)
            stations.append(s)
            accelerations.append(acceleration)
            steerings.append(steering)
        return _Drives(
            pose=np.stack(poses),
            acceleration=np.stack(accelerations),
            steering=np.stack(steerings),
            station=np.stack(stations),
        )

    def _leaders(self, obs: Observation, forecast: Forecast) -> _Leaders:
        """Everyone's place on the route at a few moments of the forecast."""
        paths = obs.cases.paths
        times = np.arange(0, HORIZON, COARSE)
        box, velocity = forecast.box[:, :, times], forecast.velocity[:, :, times]
        here = obs.ego.xy[:, -1][:, None, None]
        apart = box[..., :2] - here
        close = apart[..., 0] ** 2 + apart[..., 1] ** 2 <= (REACH_M + box[..., 3]) ** 2
        case, other, time = np.nonzero(forecast.valid[:, :, times] & close)
        who = (case, other, time)
        found = paths.boxes_ahead(case, self._s[case], box[who], reach=REACH_M)
        speed = velocity[who][:, 0] * np.cos(found.yaw) + velocity[who][:, 1] * np.sin(found.yaw)
        shape = box.shape[:3]

        def dense(value: Array, fill: float) -> Array:
            made = np.full(shape, fill)
            made[who] = value
            return np.ascontiguousarray(np.moveaxis(made, 2, 0))

        return _Leaders(
            near_end=dense(np.where(found.ahead, found.near_end, -np.inf), -np.inf),
            offset=dense(found.offset, 0.0),
            half_across=dense(found.half_across, 0.0),
            speed=dense(speed, 0.0),
            heeds=self._heeds,
        )

    def _best(self, obs: Observation, forecast: Forecast, drives: _Drives) -> Int[Array, " cases"]:
        """Index of each case's best proposal."""
        cases, many = len(obs.cases), len(self._share)
        first_hit, ttc_held = self._impacts(obs, forecast, drives)
        progress = (drives.station[-1] - drives.station[0]).reshape(cases, many)
        free_of_impact = (first_hit > HORIZON) & self._allowed
        reach = np.where(free_of_impact, progress, 0.0).max(axis=1, keepdims=True)
        ratio = np.clip(progress / np.maximum(reach, 1.0), 0.0, 1.0)
        low, high = COMFORT["lon_acceleration"]
        bend = np.abs(np.tan(drives.steering)) / np.repeat(obs.ego.wheelbase, many)
        speed = drives.pose[:-1, :, 3]
        rough = (drives.acceleration < low) | (drives.acceleration > high)
        rough |= speed**2 * bend > COMFORT["lat_acceleration"][1]
        rough |= np.abs(speed) * bend > COMFORT["yaw_rate"][1]
        comfort = 1.0 - rough.any(axis=0).reshape(cases, many)
        score = PROGRESS_WEIGHT * ratio + TTC_WEIGHT * ttc_held + COMFORT_WEIGHT * comfort
        score = score - ASIDE_PENALTY * np.abs(self._aside) - self._emergency
        # Where all collide, the latest impact wins.
        doomed = first_hit / (10.0 * HORIZON) - 1000.0
        score = np.where(free_of_impact, score, np.where(self._allowed, doomed, -2000.0))
        return np.asarray(score.argmax(axis=1))

    def _impacts(
        self, obs: Observation, forecast: Forecast, drives: _Drives
    ) -> tuple[Float[Array, "cases proposals"], Float[Array, "cases proposals"]]:
        """Step of the first impact that is not from behind, and whether TTC stays in bounds."""
        cases, many = len(obs.cases), len(self._share)
        times = np.arange(0, HORIZON + 1, CHECK)
        pose = drives.pose[times].reshape(len(times), cases, many, 4)
        yaw = np.ascontiguousarray(pose[..., 2])
        heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
        centre = pose[..., :2] + obs.ego.rear_to_centre[:, None, None] * heading
        box = np.moveaxis(forecast.box[:, :, times], 2, 0)[:, :, None]
        there = np.moveaxis(forecast.valid[:, :, times], 2, 0)[:, :, None]
        velocity = np.moveaxis(forecast.velocity[:, :, times], 2, 0)[:, :, None]
        apart_x = box[..., 0] - centre[..., 0][..., None]
        apart_y = box[..., 1] - centre[..., 1][..., None]
        radius = np.hypot(obs.ego.length, obs.ego.width) / 2.0
        others = np.hypot(obs.others.size[..., 0], obs.others.size[..., 1]) / 2.0
        reach = radius[:, None, None] + others[:, None]
        speed = np.hypot(velocity[..., 0], velocity[..., 1]) + np.abs(pose[..., 3])[..., None]
        square = apart_x**2 + apart_y**2
        near = there & (square <= (reach + speed * TTC_LEAST) ** 2)
        near &= (np.abs(pose[..., 3]) > STOPPED)[..., None]
        time, case, row, other = np.nonzero(near)
        first_hit = np.full((cases, many), float(HORIZON + 1))
        held = np.ones((cases, many))
        if len(time) == 0:
            return first_hit, held
        at = (time, case, row)
        direction = heading[at]
        dx, dy = apart_x[(*at, other)], apart_y[(*at, other)]
        forward = direction[:, 0] * dx + direction[:, 1] * dy + obs.ego.rear_to_centre[case]
        bearing = np.abs(np.arctan2(direction[:, 0] * dy - direction[:, 1] * dx, forward))
        counts = bearing <= BEHIND
        time, case, row, other = time[counts], case[counts], row[counts], other[counts]
        at = (time, case, row)
        size = np.stack([obs.ego.length, obs.ego.width], axis=-1)[case]
        mine = np.concatenate([centre[at], yaw[at][:, None], size], axis=-1)
        theirs = box[time, case, 0, other]
        # Who overlaps the ego now already does so whatever it does.
        now = overlap(mine, theirs)
        stuck = np.zeros((cases, obs.others.track_id.shape[1]), dtype=bool)
        stuck[case[now & (time == 0)], other[now & (time == 0)]] = True
        fresh = ~stuck[case, other]
        hit = now & fresh
        np.minimum.at(first_hit, (case[hit], row[hit]), (time[hit] * CHECK).astype(np.float64))
        going = heading[at] * pose[..., 3][at][:, None]
        soon = (
            time_to_contact(mine, going, theirs, velocity[time, case, 0, other]) < TTC_LEAST
        ) & fresh
        held[case[soon], row[soon]] = 0.0
        return first_hit, held


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Leaders:
    """Everyone's place on the routes, at the coarse moments of a forecast.

    Attributes:
        near_end: Station of the near end, −∞ for those not on the route ahead [m].
        offset: To the left [m].
        half_across: Half of what it covers across [m].
        speed: Along the route [m/s].
        heeds: Whether each proposal heeds leaders at all.
    """

    near_end: Float[Array, "moments cases others"]
    offset: Float[Array, "moments cases others"]
    half_across: Float[Array, "moments cases others"]
    speed: Float[Array, "moments cases others"]
    heeds: Bool[Array, " proposals"]

    def braking(
        self,
        moment: int,
        s: Float[Array, " rows"],
        speed: Float[Array, " rows"],
        length: Float[Array, " rows"],
        width: Float[Array, " rows"],
        aside: Float[Array, " proposals"],
    ) -> Float[Array, " rows"]:
        """Greatest IDM interaction of each proposal with whoever is in its way [m/s²]."""
        near_end, offset = self.near_end[moment][:, None], self.offset[moment][:, None]
        cases, many = near_end.shape[0], len(aside)
        if near_end.shape[2] == 0:
            return np.zeros(len(s))

        def grid(value: Array) -> Array:
            return value.reshape(cases, many, 1)

        gap = near_end - grid(s) - grid(length) / 2.0
        across = np.abs(offset - aside[:, None])
        room = grid(width) / 2.0 + MARGIN_M + self.half_across[moment][:, None]
        # One that begins behind the middle of the ego is beside it, not ahead.
        ahead = (near_end > grid(s)) & (across < room) & self.heeds[:, None]
        leader = np.broadcast_to(self.speed[moment][:, None], gap.shape)
        pull = interaction(grid(speed), np.where(ahead, gap, 1e6), leader, EGO)
        return np.where(ahead, pull, 0.0).max(axis=2).reshape(-1)


class Oracle(Reference, Pdm):
    """Many more proposals, and the others' logged future."""

    name = "oracle"
    shares: ClassVar[tuple[float, ...]] = (1.0, 0.7, 0.4, 0.15)
    asides: ClassVar[tuple[float, ...]] = (0.0, 0.75, -0.75, 1.75, -1.75, 3.5, -3.5)
    heedless: ClassVar[tuple[bool, ...]] = (False, True)

    def forecast(self, obs: Observation) -> Forecast:
        """What the log says; after its end, straight on."""
        batch = self.batch
        begin = NOW + obs.step
        index = np.minimum(np.arange(begin, begin + HORIZON + 1), batch.steps - 1)
        beyond = (np.arange(begin, begin + HORIZON + 1) - index) * DT
        velocity = np.moveaxis(batch.velocity[index, :, 1:], 0, 2)
        xy = np.moveaxis(batch.xy[index, :, 1:], 0, 2) + velocity * beyond[:, None]
        yaw = np.moveaxis(batch.yaw[index, :, 1:], 0, 2)[..., None]
        size = np.broadcast_to(batch.size[:, 1:, None], (*xy.shape[:3], 2))
        return Forecast(
            box=np.concatenate([xy, yaw, size], axis=-1),
            velocity=velocity,
            valid=np.moveaxis(batch.valid[index, :, 1:], 0, 2),
        )

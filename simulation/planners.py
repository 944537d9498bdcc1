"""The planners that come with Scenelake, from the dumbest to the one that knows the future.

====================  =============================================================================
constant_velocity     Straight on at the speed it had: what a case must not let pass (NAVSIM)
idm                   Follows the route's centre line behind leaders and signals: nuPlan's baseline
pdm                   Fifteen IDM proposals, simulated and scored: PDM-Closed (Dauner et al. 2023)
log_replay            The recorded drive, exactly: the human reference
oracle                Like pdm, with many more proposals and the others' logged future
====================  =============================================================================

A planner of one's own is named ``module:Class``; :mod:`simulation.protocol` says what it sees. One in
another language is a program: ``cmd:./my_planner``, see :mod:`simulation.piped`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from geometry.angles import difference
from geometry.arrays import Array
from simulation.batch import NOW
from simulation.engine import Reference
from simulation.following import (
    Everyone,
    bend_limited,
    leader_braking,
    signal_braking,
    steering_towards,
)
from simulation.idm import BRAKE_MAX, EGO, Idm, free
from simulation.paths import Paths
from simulation.piped import PREFIX, PipedPlanner
from simulation.protocol import CaseBatchView, Observation, Plan, Planner, load_planner

PLANNERS: dict[str, str] = {
    "constant_velocity": "simulation.planners:ConstantVelocity",
    "idm": "simulation.planners:IdmPlanner",
    "pdm": "simulation.proposals:Pdm",
    "log_replay": "simulation.planners:LogReplay",
    "oracle": "simulation.proposals:Oracle",
}

DEFAULT_SPEED_LIMIT = 13.4  # [m/s] where the map tells none: 30 mph, or what the ego drove


def planner(name: str) -> Planner:
    """A planner by name, one's own by ``module:Class``, or a program by ``cmd:`` and its command line.

    Raises:
        UnknownName: There is no such planner, module or class.
        BadInput: The class is no planner, or there is no command.
    """
    if name.startswith(PREFIX):
        return PipedPlanner(name.removeprefix(PREFIX))
    return load_planner(name, built_in=PLANNERS)


class ConstantVelocity:
    """No steering, no pedals."""

    name = "constant_velocity"

    def start(self, cases: CaseBatchView) -> None:
        """Nothing to remember."""

    def plan(self, obs: Observation) -> Plan:
        """Zeros."""
        nothing = np.zeros(len(obs.cases))
        return Plan(acceleration=nothing, steering=nothing)


class LogReplay(Reference):
    """The recorded drive; where it was not observed, the last state seen is held."""

    name = "log_replay"

    def start(self, cases: CaseBatchView) -> None:
        """Find the last observed step before each."""
        valid = self.batch.valid[:, :, 0]
        index = np.where(valid, np.arange(len(valid))[:, None], 0)
        self._held = np.maximum.accumulate(index, axis=0)
        self._rows = np.arange(len(cases))

    def plan(self, obs: Observation) -> Plan:
        """The next logged state."""
        following = self._held[NOW + obs.step + 1]
        rows = self._rows
        xy = self.batch.xy[following, rows, 0]
        yaw = np.ascontiguousarray(self.batch.yaw[following, rows, 0])
        velocity = self.batch.velocity[following, rows, 0]
        speed = velocity[:, 0] * np.cos(yaw) + velocity[:, 1] * np.sin(yaw)
        state = np.concatenate([xy, yaw[:, None], speed[:, None]], axis=-1)
        return Plan(trajectory=state[:, None], exact=True)


class IdmPlanner:
    """Steers along the route's centre line; keeps its distance by the Intelligent Driver Model."""

    name = "idm"

    def __init__(self, idm: Idm = EGO) -> None:
        """Drive with other parameters than the default, if wanted."""
        self.idm = idm

    def start(self, cases: CaseBatchView) -> None:
        """Begin at the start of each route."""
        self._s = cases.start_s.copy()
        self._desired: Array | None = None

    def plan(self, obs: Observation) -> Plan:
        """Controls for the next step."""
        paths, count = obs.cases.paths, len(obs.cases)
        rows = np.arange(count)
        if self._desired is None:
            self._desired = desired_speed(obs)
        pose = rear_axle(obs)
        self._s, _, _ = paths.locate(rows, np.ascontiguousarray(obs.ego.xy[:, -1]), self._s)
        speed = np.maximum(pose[:, 3], 0.0)
        braking = np.maximum(
            self._leaders(obs, rows, speed),
            signal_braking(
                obs.signals.case,
                obs.signals.s,
                obs.signals.state,
                self._s,
                speed,
                obs.ego.length,
                self.idm,
            ),
        )
        desired = self._desired[paths.index(rows, self._s)]
        acceleration = np.clip(
            free(speed, desired, self.idm) - braking, -BRAKE_MAX, self.idm.acceleration
        )
        steering = lane_steering(
            paths,
            rows,
            self._s - obs.ego.rear_to_centre,
            pose,
            obs.ego.rear_to_centre + obs.ego.length / 2.0,
            obs.ego.wheelbase,
        )
        return Plan(acceleration=acceleration, steering=steering)

    def _leaders(self, obs: Observation, rows: Array, speed: Array) -> Array:
        others = obs.others
        everyone = Everyone(
            xy=np.ascontiguousarray(others.xy[:, :, -1]),
            yaw=np.ascontiguousarray(others.yaw[..., -1]),
            velocity=np.ascontiguousarray(others.velocity[:, :, -1]),
            size=others.size,
            valid=np.ascontiguousarray(others.valid[..., -1]),
        )
        size = np.stack([obs.ego.length, obs.ego.width], axis=-1)
        who = (rows, np.full(len(rows), -1))  # the ego is not among the others
        return leader_braking(obs.cases.paths, rows, self._s, speed, size, who, everyone, self.idm)


def rear_axle(obs: Observation) -> Float[Array, "cases 4"]:
    """x, y, yaw, speed of each ego's rear axle now."""
    yaw = np.ascontiguousarray(obs.ego.yaw[:, -1])
    back = obs.ego.rear_to_centre[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    centre = obs.ego.xy[:, -1]
    return np.concatenate([centre - back, yaw[:, None], obs.ego.speed[:, -1:]], axis=-1)


def lane_steering(
    paths: Paths,
    path: Int[Array, " rows"],
    s: Float[Array, " rows"],
    pose: Float[Array, "rows 4"],
    front: Float[Array, " rows"],
    wheelbase: Float[Array, " rows"],
    aside: Float[Array, " rows"] | float = 0.0,
) -> Float[Array, " rows"]:
    """Front wheel angle that keeps what a vehicle sweeps centred on its path [rad].

    In a bend the outer front corner swings out by κ l² / 2, l from rear axle to front bumper; so
    the rear axle keeps half of that to the inside.

    Args:
        paths: The ways.
        path: Of each vehicle.
        s: Station of its rear axle, about [m].
        pose: x, y, yaw, speed of its rear axle.
        front: l [m].
        wheelbase: [m].
        aside: To keep so far to the left of the path [m].
    """
    axle_s, offset, point = paths.locate(
        path, np.ascontiguousarray(pose[:, :2]), s, behind=2.0, ahead=5.0
    )
    _, heading = paths.pose(path, axle_s)
    turned = difference(np.ascontiguousarray(pose[:, 2]), heading)
    curvature = paths.curvature[point]
    inside = curvature * front**2 / 4.0
    return steering_towards(offset - inside - aside, turned, curvature, pose[:, 3], wheelbase)


def desired_speed(obs: Observation) -> Float[Array, " points"]:
    """At each point of all routes: the limit, or where none is known a usual one, less in bends.

    The usual one is 30 mph, or the speed at which the ego came along if that was higher [m/s].
    """
    cases, paths = obs.cases, obs.cases.paths
    usual = np.repeat(np.maximum(obs.ego.speed[:, -1], DEFAULT_SPEED_LIMIT), paths.count)
    return bend_limited(paths, np.where(cases.limit_known, cases.speed_limit, usual))

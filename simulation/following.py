"""Driving along a path: whom to keep distance from, which signal to stop for, how to steer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import LightState
from simulation import kernels
from simulation.idm import BRAKE_MAX, Idm, interaction
from simulation.paths import Paths

MARGIN_M = 0.2  # beside the vehicle, within which another counts as in its way
LOOK_M = 20.0  # how far a standing vehicle looks ahead; 4 s more at speed
REACH_M = 100.0
LINE_PASSED_M = 1.0  # a stop line this far under the front bumper is behind the driver's choice
YELLOW_BRAKING = 3.0  # [m/s²] a driver stops for yellow if this is enough

STEERING_MAX = 0.6  # [rad] front wheel angle
LATERAL_ACCELERATION = 2.5  # [m/s²] comfortable in bends
SETTLING_S = 0.7
SETTLING_MIN_M = 3.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Everyone:
    """All agents of all cases at one moment.

    Attributes:
        xy: Centres [m].
        yaw: [rad].
        velocity: [m/s].
        size: Length and width [m].
        valid: Whether the agent is there.
    """

    xy: Float[Array, "cases agents 2"]
    yaw: Float[Array, "cases agents"]
    velocity: Float[Array, "cases agents 2"]
    size: Float[Array, "cases agents 2"]
    valid: Bool[Array, "cases agents"]


def leader_braking(
    paths: Paths,
    path: Int[Array, " rows"],
    s: Float[Array, " rows"],
    speed: Float[Array, " rows"],
    size: Float[Array, "rows 2"],
    who: tuple[Int[Array, " rows"], Int[Array, " rows"]],
    everyone: Everyone,
    idm: Idm,
) -> Float[Array, " rows"]:
    """Greatest IDM interaction with anyone in the way, 0 where the way is free [m/s²].

    Args:
        paths: The ways.
        path: Each follower's way.
        s: Station of its centre on it [m].
        speed: [m/s].
        size: Length and width of the follower [m].
        who: Case of each follower, and its place among the agents of that; −1 if it is not there.
        everyone: Whom it may meet.
        idm: Parameters.
    """
    return kernels.leaders(
        paths.xy, paths.yaw, paths.first, paths.count, path, s, speed,
        np.ascontiguousarray(size[:, 0]), np.ascontiguousarray(size[:, 1]), *who,
        everyone.xy, everyone.yaw, everyone.velocity, everyone.size, everyone.valid,
        np.array([idm.gap, idm.headway, idm.acceleration, idm.braking]),
        MARGIN_M, LOOK_M, REACH_M,
    )  # fmt: skip


def signal_braking(
    row: Int[Array, " stops"],
    stop_s: Float[Array, " stops"],
    state: Int[Array, " stops"],
    s: Float[Array, " rows"],
    speed: Float[Array, " rows"],
    length: Float[Array, " rows"],
    idm: Idm,
) -> Float[Array, " rows"]:
    """Greatest IDM interaction with a signal that says stop, 0 where none does [m/s²].

    Args:
        row: Follower whose way each signal is on, −1 for nobody's.
        stop_s: Station of the stop on that way [m].
        state: What each shows now.
        s: Station of each follower's centre [m].
        speed: [m/s].
        length: Of the follower [m].
        idm: Parameters.
    """
    braking = np.zeros(len(s))
    stop_s, state, row = stop_s[row >= 0], state[row >= 0], row[row >= 0]
    gap = stop_s - s[row] - length[row] / 2.0
    ahead = (gap > -LINE_PASSED_M) & (gap < REACH_M)
    needed = speed[row] ** 2 / (2.0 * np.maximum(gap, 0.1))
    red = (state == LightState.RED) & (needed <= BRAKE_MAX)
    yellow = (state == LightState.YELLOW) & (needed <= YELLOW_BRAKING)
    halt = ahead & (red | yellow)
    row, gap = row[halt], gap[halt]
    np.maximum.at(braking, row, interaction(speed[row], gap, np.zeros(len(row)), idm))
    return braking


def steering_towards(
    offset: Float[Array, " rows"],
    turned: Float[Array, " rows"],
    curvature: Float[Array, " rows"],
    speed: Float[Array, " rows"],
    wheelbase: Float[Array, " rows"],
) -> Float[Array, " rows"]:
    """Front wheel angle that brings the rear axle onto a path, critically damped in distance.

    With e the offset and θ the heading error, e″ = κ − κ_path along the path; κ − κ_path =
    −e/ℓ² − 2θ/ℓ settles without overshoot within a few lengths ℓ = max(3 m, 0.7 s · v).

    Args:
        offset: Of the rear axle to the left of the path [m].
        turned: Heading minus that of the path [rad].
        curvature: Of the path [1/m].
        speed: [m/s].
        wheelbase: [m].
    """
    settle = np.maximum(SETTLING_MIN_M, SETTLING_S * np.abs(speed))
    wanted = (
        np.clip(offset, -settle, settle) / settle**2 + 2.0 * np.clip(turned, -1.0, 1.0) / settle
    )
    return np.clip(np.arctan(wheelbase * (curvature - wanted)), -STEERING_MAX, STEERING_MAX)


def bend_limited(
    paths: Paths,
    limit: Float[Array, " points"],
    *,
    shown: Float[Array, " points"] | None = None,
    braking: float = 1.5,
) -> Float[Array, " points"]:
    """Speed at each point of the paths that respects the limit and the bends ahead [m/s].

    v² κ ≤ 2.5 m/s² in every bend, and v(s)² ≤ v(s + Δs)² + 2 b Δs on the way to it.

    Args:
        paths: The ways.
        limit: At each of their points [m/s].
        shown: Speed at which somebody was seen to take the bend there: so much it does allow [m/s].
        braking: b [m/s²].
    """
    bend = np.sqrt(LATERAL_ACCELERATION / np.maximum(np.abs(paths.curvature), 1e-4))
    if shown is not None:
        bend = np.maximum(bend, shown)
    squared = np.minimum(limit, bend) ** 2
    for first, count in zip(paths.first, paths.count, strict=True):
        # A running minimum from the end of v² + 2 b s is the backward pass in closed form.
        stretch = squared[first : first + count] + 2.0 * braking * np.arange(count)
        squared[first : first + count] = np.minimum.accumulate(stretch[::-1])[
            ::-1
        ] - 2.0 * braking * np.arange(count)
    return np.sqrt(np.maximum(squared, 0.25))

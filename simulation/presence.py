"""When agents come and go: from when the log has them, where there is room, to the end of their way.

- An agent enters at its first logged step. If somebody is in its place by then, it never does.
- Where the log lost sight of it before the end, it leaves at the end of its logged line (on lanes that
  it changed to, at the end of the map); but as long as somebody drives behind it, within 50 m and in
  the same direction, it goes straight on: it does not vanish before the eyes of a follower.
- One that the log has to the end never leaves: it drives straight on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import overlap
from simulation.batch import AGENT_PATH_EXTENSION_M, NOW, PARKED_M, CaseBatch
from simulation.following import Everyone
from simulation.idm import DESIRED_FLOOR

PARKED_SPEED = 2.0  # [m/s]
FOLLOWED_M = 50.0
BESIDE_M = 3.0
SAME_WAY = np.cos(np.deg2rad(45.0))


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """What the log says about when agents are there, and how fast.

    Attributes:
        enters: First step, of ``NOW`` and after, at which each is logged.
        speed: Then [m/s].
        parked: Whether it stands throughout.
        desired: Its greatest logged speed, 5 m/s at least [m/s].
        leaves_at: Station of its line at which it leaves; ∞ for never [m].
    """

    enters: Int[Array, " rows"]
    speed: Float[Array, " rows"]
    parked: Bool[Array, " rows"]
    desired: Float[Array, " rows"]
    leaves_at: Float[Array, " rows"]


def logged_span(
    batch: CaseBatch, case: Int[Array, " rows"], agent: Int[Array, " rows"]
) -> tuple[Int[Array, " rows"], Int[Array, " rows"]]:
    """First and last step, of ``NOW`` and after, at which agents are logged.

    Args:
        batch: The cases.
        case: Of each agent.
        agent: Its place in the case.
    """
    here = batch.valid[NOW:, case, agent]
    return NOW + here.argmax(axis=0), NOW + len(here) - 1 - here[::-1].argmax(axis=0)


def presence_of(
    batch: CaseBatch, case: Int[Array, " rows"], agent: Int[Array, " rows"]
) -> Presence:
    """Of agents that follow lines.

    Args:
        batch: The cases.
        case: Of each agent.
        agent: Its place in the case.
    """
    here = batch.valid[NOW:, case, agent]
    enters, last = logged_span(batch, case, agent)
    begin = batch.velocity[enters, case, agent]
    moving = batch.velocity[NOW:, case, agent]
    logged_speed = np.where(here, np.hypot(moving[..., 0].copy(), moving[..., 1].copy()), 0.0)
    path = batch.line_of[case, agent]
    length = batch.lines.length[path] if len(path) else np.zeros(0)
    # Seen for a moment only, even a fast vehicle covers little.
    fastest = logged_speed.max(axis=0, initial=0.0)
    parked = (length - AGENT_PATH_EXTENSION_M <= 2.0 * PARKED_M) & (fastest < PARKED_SPEED)
    speed = np.hypot(begin[:, 0].copy(), begin[:, 1].copy())
    # Lost from sight before the end: it left the scene where its line ended.
    leaves_at = np.where(
        last < NOW + batch.horizon[case], length - AGENT_PATH_EXTENSION_M, np.inf
    )  # fmt: skip
    return Presence(
        enters=enters,
        speed=np.where(parked, 0.0, speed),
        parked=parked,
        desired=np.maximum(fastest, DESIRED_FLOOR),
        leaves_at=leaves_at,
    )


def has_room(
    batch: CaseBatch,
    case: Int[Array, " rows"],
    agent: Int[Array, " rows"],
    step: int,
    everyone: Everyone,
) -> Bool[Array, " rows"]:
    """Whether nobody overlaps the places that the log gives agents at a step.

    Args:
        batch: The cases.
        case: Of each agent.
        agent: Its place in the case.
        step: At which they would enter.
        everyone: Who is where.
    """
    boxes = np.concatenate([everyone.xy, everyone.yaw[..., None], everyone.size], axis=-1)
    box = np.concatenate(
        [
            batch.xy[step, case, agent],
            batch.yaw[step, case, agent][:, None],
            batch.size[case, agent],
        ],
        axis=-1,
    )
    row, other = np.nonzero(everyone.valid[case])
    blocked = np.zeros(len(case), dtype=bool)
    np.logical_or.at(blocked, row, overlap(box[row], boxes[case[row], other]))
    return ~blocked


def followed(
    case: Int[Array, " rows"], agent: Int[Array, " rows"], everyone: Everyone
) -> Bool[Array, " rows"]:
    """Whether somebody drives behind each agent, in its direction and near.

    Args:
        case: Of each agent.
        agent: Its place in the case.
        everyone: Who is where.
    """
    yaw = everyone.yaw[case, agent][:, None]
    offset = everyone.xy[case] - everyone.xy[case, agent][:, None]
    cos, sin = np.cos(yaw), np.sin(yaw)
    along = cos * offset[..., 0] + sin * offset[..., 1]
    aside = cos * offset[..., 1] - sin * offset[..., 0]
    near = (along > -FOLLOWED_M) & (along < 0.0) & (np.abs(aside) < BESIDE_M)
    same = np.cos(everyone.yaw[case] - yaw) > SAME_WAY
    return np.asarray((near & same & everyone.valid[case]).any(axis=1))

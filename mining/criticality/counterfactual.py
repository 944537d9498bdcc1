"""How much each road user mattered to the ego: what if it had not done so, or had not been there.

*Motion*: from the scene's anchor on, the other goes on at the velocity that it had, and the ego
drives as it did. The change of the worst criticality between the two is what the other's doings
were worth (SafeShift's probe, Stoler et al. 2023).

*Presence*: the ego is driven anew from the anchor along its own recorded way by the intelligent
driver model, once with everybody and once without the other. Where both roll-outs are the same, a
planner could have ignored it (as in RDAR, which learns that; here it is one fixed driver).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.polylines import project, without_repeats
from mining.criticality.crossing import sweep_time
from mining.kept import kept
from mining.motion import FOCUS_M, Motion
from schemas.labels import LightState
from schemas.scene import DT

HORIZON_S = 5.0
"""[s] How long after the anchor the futures are compared; nobody keeps a velocity for longer."""
SEVERE_S = 5.0
"""[s] Criticality is 1 at contact and falls to 0 at a time to contact of so much."""
STRIDE = 2
"""Steps of the scene in one step of the comparison."""
LEAST_S = 1.0
"""[s] Shorter futures tell nothing."""

WAY_M = 1.0
"""[m] Spacing of the points of the ego's way."""
BEYOND_M = 80.0
"""[m] How far the way runs straight on beyond its recorded end."""
ASIDE_M = 0.3
"""[m] Room that the ego wants beside it."""
FREE_SPEED = 13.9
"""[m/s] Where neither the map nor the drive tells how fast one may go."""

HEADWAY_S, STANDSTILL_M, ACCELERATES, BRAKES, BRAKES_MOST = 1.5, 2.0, 1.5, 2.0, 8.0
"""Of the intelligent driver model (Treiber, Hennecke and Helbing 2000) [s], [m], [m/s²]."""

DISPLACED_M = 10.0
"""[m] Being displaced by so much along its way is as relevant as can be."""
BRAKED = 4.0
"""[m/s²] Likewise having to brake so much harder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relevance:
    """What each agent meant to the ego, by rows of the scene's tracks.

    Attributes:
        delta: Worst criticality if the other had kept its velocity, minus what it was: in [−1, 1];
            positive where what it did made things safer.
        motion: |delta|: 0 where its doings changed nothing.
        motion_known: Whether both are seen at the anchor and for a second after it.
        contact: Seconds to contact at the worst step, had it kept its velocity; ∞ if never.
        presence: In [0, 1]: the larger of displacement / 10 m and additional braking / 4 m/s²
            between the roll-outs with and without it; 0 where it never was on the ego's way.
        displaced: How much farther the ego gets without it [m].
        presence_known: Whether the ego is seen at the anchor and for a second after it.
    """

    delta: Float[Array, " agents"]
    motion: Float[Array, " agents"]
    motion_known: Bool[Array, " agents"]
    contact: Float[Array, " agents"]
    presence: Float[Array, " agents"]
    displaced: Float[Array, " agents"]
    presence_known: Bool[Array, " agents"]


@kept
def relevance(motion: Motion) -> Relevance:
    """How much each road user mattered to the ego; nothing is known where there is no ego."""
    now, agents = motion.scene.anchor, motion.agents
    last = min(motion.steps - 1, now + round(HORIZON_S / DT))
    steps = np.arange(now, last + 1, STRIDE)
    others = motion.focus.copy()
    others[0] = False
    known = (
        motion.scene.has_ego and (last - now) * DT >= LEAST_S and bool(motion.seen[0, steps].all())
    )
    delta, contact = np.zeros(agents), np.full(agents, np.inf)
    both = np.zeros(agents, dtype=bool)
    presence, displaced = np.zeros(agents), np.zeros(agents)
    if known:
        watched = (motion.seen[:, steps] & motion.seen[:1, steps]).sum(axis=1) * STRIDE * DT
        both = others & motion.seen[:, now] & (watched >= LEAST_S)
        delta, contact = _kept_velocity(motion, both, steps)
        presence, displaced = _without(motion, others, steps)
    return Relevance(
        delta=delta, motion=np.abs(delta), motion_known=both, contact=contact,
        presence=presence, displaced=displaced, presence_known=others & known,
    )  # fmt: skip


def _kept_velocity(
    motion: Motion, asked: Bool[Array, " agents"], steps: Int[Array, " steps"]
) -> tuple[Float[Array, " agents"], Float[Array, " agents"]]:
    """Change of criticality had each kept its velocity, and its least time to contact then [s]."""
    delta, contact = np.zeros(motion.agents), np.full(motion.agents, np.inf)
    # Whoever stands goes on standing; whoever is far stays so.
    reach = FOCUS_M + motion.speed[:, steps[0]] * HORIZON_S
    near = np.hypot(*(motion.xy[:, steps[0]] - motion.xy[0, steps[0]]).T) <= reach
    rows = np.flatnonzero(asked & near & ~motion.immobile)
    if not len(rows):
        return delta, contact
    shape = (len(rows), len(steps))
    ego = np.broadcast_to(motion.boxes[0, steps], (*shape, 5))
    ego_velocity = np.broadcast_to(motion.velocity[0, steps], (*shape, 2))
    real, velocity = motion.boxes[rows][:, steps], motion.velocity[rows][:, steps]
    ghost, kept = real.copy(), np.broadcast_to(velocity[:, :1], velocity.shape)
    ghost[..., :2] = real[:, :1, :2] + kept * ((steps - steps[0]) * DT)[None, :, None]
    ghost[..., 2] = real[:, :1, 2]
    seen = motion.seen[rows][:, steps]
    time = np.where(seen, sweep_time(ego, real, ego_velocity, velocity), np.inf).min(axis=1)
    instead = np.where(seen, sweep_time(ego, ghost, ego_velocity, kept), np.inf).min(axis=1)
    delta[rows], contact[rows] = _severity(instead) - _severity(time), instead
    return delta, contact


def _severity(contact: Float[Array, " many"]) -> Float[Array, " many"]:
    """1 at contact, 0 at five seconds from it or more."""
    return np.clip(1.0 - contact / SEVERE_S, 0.0, 1.0)


def _without(
    motion: Motion, asked: Bool[Array, " agents"], steps: Int[Array, " steps"]
) -> tuple[Float[Array, " agents"], Float[Array, " agents"]]:
    """Relevance of each one's presence, and how much farther the ego gets without it [m]."""
    presence, displaced = np.zeros(motion.agents), np.zeros(motion.agents)
    way = _way(motion, steps)
    rows, s, speed, on = _on_way(motion, way, asked, steps)
    if not len(rows):
        return presence, displaced
    reached, braking = _roll_out(motion, rows, s, speed, on, steps)
    farther = np.maximum(reached[1:] - reached[0], 0.0).max(axis=1)
    harder = np.maximum(braking[0] - braking[1:], 0.0)
    displaced[rows] = farther
    presence[rows] = np.minimum(np.maximum(farther / DISPLACED_M, harder / BRAKED), 1.0)
    return presence, displaced


def _way(motion: Motion, steps: Int[Array, " steps"]) -> Float[Array, "points 2"]:
    """The ego's recorded way from the anchor on, and straight on beyond the end."""
    begin = int(steps[0])
    xy = motion.xy[0, begin:][motion.seen[0, begin:]]
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    kept = np.unique(np.searchsorted(driven, np.arange(0.0, driven[-1], WAY_M)))
    line = without_repeats(xy[kept]) if driven[-1] > WAY_M else xy[:1]
    yaw = float(motion.yaw[0, begin])
    if len(line) > 1:
        yaw = float(np.arctan2(*(line[-1] - line[-2])[::-1]))
    onward = np.array([np.cos(yaw), np.sin(yaw)])
    return np.concatenate([line, line[-1:] + BEYOND_M * onward])


def _on_way(
    motion: Motion,
    way: Float[Array, "points 2"],
    asked: Bool[Array, " agents"],
    steps: Int[Array, " steps"],
) -> tuple[
    Int[Array, " rows"],
    Float[Array, "rows steps"],
    Float[Array, "rows steps"],
    Bool[Array, "rows steps"],
]:
    """Who comes onto the way: rows, distance and speed along it [m], [m/s], and where on it."""
    xy, seen = motion.xy[:, steps], motion.seen[:, steps] & asked[:, None]
    clear = (motion.width + motion.width[0]) / 2 + ASIDE_M
    # Things that stand across the way reach farther into it than their width says.
    across = np.abs(np.sin(motion.yaw[:, steps] - motion.yaw[0, steps[0]]))
    reach = clear[:, None] + across * np.maximum(motion.length - motion.width, 0.0)[:, None] / 2
    low, high = way.min(axis=0), way.max(axis=0)
    within = ((xy >= low - reach[..., None]) & (xy <= high + reach[..., None])).all(axis=-1)
    agents, at = np.nonzero(seen & within)
    s, speed = np.zeros(seen.shape), np.zeros(seen.shape)
    on = np.zeros(seen.shape, dtype=bool)
    if len(agents):
        along, d, yaw = project(xy[agents, at], way)
        velocity = motion.velocity[agents, steps[at]]
        turned = np.abs(np.sin(motion.yaw[agents, steps[at]] - yaw))
        half = clear[agents] + turned * np.maximum(motion.length - motion.width, 0.0)[agents] / 2
        s[agents, at] = along
        speed[agents, at] = np.cos(yaw) * velocity[:, 0] + np.sin(yaw) * velocity[:, 1]
        on[agents, at] = (np.abs(d) <= half) & (along > 0.0)
    rows = np.flatnonzero(on.any(axis=1))
    return rows, s[rows], np.maximum(speed[rows], 0.0), on[rows]


def _roll_out(
    motion: Motion,
    rows: Int[Array, " rows"],
    s: Float[Array, "rows steps"],
    speed: Float[Array, "rows steps"],
    on: Bool[Array, "rows steps"],
    steps: Int[Array, " steps"],
) -> tuple[Float[Array, "runs steps"], Float[Array, " runs"]]:
    """The ego by the driver model with everybody (run 0) and without each of ``rows``.

    Returns:
        Where it is along the way [m]; its hardest braking [m/s²].
    """
    from mining.kernels import driven

    begin = int(steps[0])
    lane = int(motion.lane[0, begin])
    limit = float(motion.graph.limit[lane]) if lane >= 0 else np.nan
    fastest = float(motion.speed[0][motion.seen[0]].max())
    free = max(limit if np.isfinite(limit) else FREE_SPEED, fastest, 1.0)
    half = (motion.length[rows] + motion.length[0]) / 2
    stop = _red_ahead(motion, steps) - motion.length[0] / 2
    model = (free, HEADWAY_S, STANDSTILL_M, ACCELERATES, BRAKES, BRAKES_MOST)
    return driven(s, speed, on, half, stop, float(motion.speed[0, begin]), STRIDE * DT, model)


def _red_ahead(motion: Motion, steps: Int[Array, " steps"]) -> Float[Array, " steps"]:
    """Where along the ego's way it must stop for a light at each step; ∞ where for none [m]."""
    if not motion.scene.has_signals:
        return np.full(len(steps), np.inf)
    shown = motion.signal.state[0, steps]
    distance = motion.signal.distance[0, steps]
    driven = np.concatenate([[0.0], np.cumsum(motion.speed[0, steps][:-1] * STRIDE * DT)])
    red = (shown == LightState.RED) & (distance > 0.0)
    return np.where(red, driven + distance + motion.length[0] / 2, np.inf)

"""A case from a scene: who drives, from when, how far, towards what, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from geometry.boxes import overlap
from lake.ids import stable_id
from schemas.case import AgentsMode, Case
from schemas.labels import AgentClass
from schemas.scene import DT, Scene
from simulation.criteria import criteria_for
from simulation.drivable import cannot_be_met, cannot_start, classes_there
from simulation.surface import Ground

HISTORY_STEPS = 10
HORIZON_MIN = 30  # steps: under 3 s nothing can be said about a drive
HORIZON_MAX = 200
JUMP = 60.0  # [m/s] an ego whose positions jump faster is not one that can be driven after
PROXY_PATH_M = 5.0
CARS = frozenset({AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS})


def make_case(
    scene: Scene,
    *,
    suite: str,
    agents: AgentsMode = "log",
    tags: Sequence[str] = (),
    criteria: Mapping[str, float | str] | None = None,
    start: int | None = None,
    allow_proxy: bool = True,
    ego_track: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Case | str:
    """The case of a scene, or why there can be none.

    The planner takes over at the scene's "now" where that leaves 3 s to drive, else after one
    second. It drives as long as the recorded ego is known, 20 s at most, towards where that was.

    Args:
        scene: Where it takes place.
        suite: To which the case belongs.
        agents: How the others move.
        tags: Why it is in the suite; they decide on the criteria.
        criteria: More criteria, or other bounds, or queries to be met.
        start: Step at which the planner takes over, if chosen by the caller.
        allow_proxy: Where the scene names no ego, let the vehicle with the longest way stand in.
        ego_track: Track id of another vehicle to be driven instead, see :func:`stand_ins`.
        provenance: Where the scene comes from.
        seed: Of what the agents draw.
    """
    ego, first = 0, 0
    proxy = ego_track is not None or not scene.has_ego
    if proxy:
        if not allow_proxy and ego_track is None:
            return "the scene has no ego"
        found = stand_ins(scene, start)
        if ego_track is not None:
            found = [one for one in found if scene.tracks.track_id[one[0]] == ego_track]
        if not found:
            if ego_track is not None:
                return f"track {ego_track} is no vehicle that drives long enough"
            return "the scene has no ego, and no vehicle is seen long enough to stand in for it"
        ego, first = found[0]
    tracks = scene.tracks
    valid = tracks.valid[ego]
    if start is not None:
        first = start
    elif not proxy:
        first = _start(valid, scene.anchor)
    if first >= scene.steps or not valid[first]:
        return f"the ego is not observed at step {first}"
    last = first + int(np.flatnonzero(valid[first:])[-1])
    horizon = min(last - first, HORIZON_MAX)
    if horizon < HORIZON_MIN:
        return f"only {horizon * DT:.1f} s are left to drive; {HORIZON_MIN * DT:.0f} s are needed"
    seen = first + np.flatnonzero(valid[first : first + horizon + 1])
    xy = tracks.xy[ego, seen].astype(np.float64)
    if not np.isfinite(xy).all():
        return "the ego's positions are not finite"
    rate = np.hypot(*np.diff(xy, axis=0).T) / (np.diff(seen) * DT)
    if len(rate) and rate.max() > JUMP:
        return f"the ego's position jumps at {rate.max():.0f} m/s"
    length, width = tracks.size[ego, :2]
    if not (1.0 <= length <= 30.0 and 0.4 <= width <= 4.0):
        return f"an ego of {length:.1f} m × {width:.1f} m cannot be driven"
    wanted = criteria_for(tags, criteria)
    queries = [(name, told) for name, told in wanted.items() if isinstance(told, str)]
    wrong = cannot_start(
        scene, ego, first, Ground(scene.map) if scene.has_map else None
    ) or cannot_be_met(queries, classes_there(scene, ego, first, horizon))
    if wrong is not None:
        return wrong
    inside = _overlapping(scene, ego, first)
    track_id = int(tracks.track_id[ego])
    known: dict[str, Any] = {
        "dataset": scene.dataset,
        "log_id": str(scene.log_id),
        "scene": scene.name,
        "source": scene.source,
        **(provenance or {}),
    }
    if proxy:
        known["proxy_ego"] = track_id
    if inside:
        known["overlaps_at_start"] = inside
    return Case(
        case_id=stable_id(suite, scene.scene_id, *(() if ego_track is None else (ego_track,))),
        suite=suite,
        scene_id=scene.scene_id,
        start_step=int(first),
        horizon_steps=int(horizon),
        goal=(float(xy[-1, 0]), float(xy[-1, 1])),
        agents=agents,
        criteria=wanted,
        ego_track_id=track_id,
        tags=tuple(tags),
        provenance=known,
        seed=seed,
    )


def _start(valid: Bool[Array, " steps"], anchor: int) -> int:
    """The step to take over at: "now" if the drive is known for 3 s from there, else 1 s in."""
    last = int(np.flatnonzero(valid)[-1]) if valid.any() else 0
    for step in (anchor, HISTORY_STEPS, 0):
        if step < len(valid) and valid[step] and last - step >= HORIZON_MIN:
            return step
    return min(anchor, len(valid) - 1)


def stand_ins(scene: Scene, start: int | None = None) -> list[tuple[int, int]]:
    """(place among the tracks, start step) of each vehicle that can be driven after, the longest way first.

    The scene's own ego is one of them if it goes 5 m or farther.

    Args:
        scene: Who is there.
        start: Step to take over at; None: the scene's "now", else a second after each comes into view.
    """
    found: list[tuple[float, int, int]] = []
    cars = np.isin(scene.tracks.cls, [int(c) for c in CARS])
    for agent in np.flatnonzero(cars).tolist():
        valid = scene.tracks.valid[agent]
        if not valid.any():
            continue
        steps = [start] if start is not None else _starts(valid, scene.anchor)
        for step in steps:
            if not valid[step] or _driven_steps(valid, step) < HORIZON_MIN:
                continue
            way = _way(scene.tracks.xy[agent], valid, step)
            if way >= PROXY_PATH_M:
                found.append((way, agent, step))
            break
    return [(agent, step) for _, agent, step in sorted(found, key=lambda one: -one[0])]


def _starts(valid: Bool[Array, " steps"], anchor: int) -> list[int]:
    """The anchor, else one second after the agent comes into view."""
    later = int(valid.argmax()) + HISTORY_STEPS
    return [step for step in (anchor, later) if step < len(valid)]


def _driven_steps(valid: Bool[Array, " steps"], start: int) -> int:
    return int(np.flatnonzero(valid[start:])[-1])


def _way(xy: Float[Array, "steps 2"], valid: Bool[Array, " steps"], start: int) -> float:
    seen = start + np.flatnonzero(valid[start:])
    return float(np.hypot(*np.diff(xy[seen].astype(np.float64), axis=0).T).sum())


def _overlapping(scene: Scene, ego: int, step: int) -> list[int]:
    """Track ids of those whose box overlaps the ego's already at the start."""
    boxes = scene.tracks.boxes[:, step].astype(np.float64)
    there = scene.tracks.valid[:, step] & (np.arange(len(boxes)) != ego)
    who = np.flatnonzero(there)
    hit = overlap(boxes[who], np.broadcast_to(boxes[ego], (len(who), 5)))
    return [int(i) for i in scene.tracks.track_id[who[hit]]]

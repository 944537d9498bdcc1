"""Could anybody drive this case? What is wrong with a scene or a case before a planner is even asked.

A planner is not to blame for a case whose ego stands within another vehicle, whose goal cannot be come
to, or that demands something of a pedestrian where there is none. Such a scene becomes no case
(:func:`simulation.cases.make_case`), and a case that became so afterwards, because its row or its scene was
changed, is told as not drivable rather than as the planner's failure (:mod:`simulation.running`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from jaxtyping import Int

from geometry.arrays import Array
from geometry.boxes import Box, corners, overlap
from mining.query.classes import CLASSES
from mining.query.tree import EGO, Actor, And, Call, Count, Lasting, Node, Or, Saved
from mining.query.tree import Sequence as InOrder
from schemas.case import Case
from schemas.errors import ScenelakeError
from schemas.scene import DT, Scene
from simulation.criteria import CRITERIA
from simulation.demands import checked_query, queries_of
from simulation.engine import LABELS_ERR_M
from simulation.paths import project_on
from simulation.routes import Route
from simulation.surface import Ground, Surface

OFF_ROAD_M = 5.0
"""An ego no corner of which is nearer to the mapped surface is off it, not where the map has a gap [m]."""

NEARBY_M = 50.0
"""How far around the ego roads are looked for [m]."""

OFF_ROUTE_M = 15.0
"""A goal farther from the route is none of it [m]."""

HARDEST = 4.0
"""What a strong car gains in speed [m/s²]."""


def cannot_start(scene: Scene, ego: int, step: int, ground: Ground | None = None) -> str | None:
    """Why nobody can take over there; None if somebody can.

    Args:
        scene: Where.
        ego: Place of the one who is driven among the scene's tracks.
        step: When.
        ground: Of the scene's map; None: where the ego stands is not looked at.
    """
    tracks = scene.tracks
    now = (tracks.xy[:, step], tracks.yaw[:, step, None], tracks.size[:, :2])
    boxes = np.concatenate(now, axis=1).astype(np.float64)
    there = tracks.valid[:, step] & (np.arange(len(boxes)) != ego)
    who = np.flatnonzero(there)
    smaller = boxes[ego].copy()
    extents = [Box.LENGTH, Box.WIDTH]
    smaller[extents] = np.maximum(smaller[extents] - 2.0 * LABELS_ERR_M, 0.1)
    hit = who[overlap(boxes[who], np.broadcast_to(smaller, (len(who), 5)))]
    if len(hit):
        ids = ", ".join(str(i) for i in tracks.track_id[hit].tolist())
        return f"the ego starts in collision with track {ids}"
    if ground is None:
        return None
    ends = corners(boxes[ego])
    surface = Surface(ground, ends.min(axis=0) - NEARBY_M, ends.max(axis=0) + NEARBY_M)
    if not surface.known:
        mapped = bool(ground.areas or ground.lanes)
        return f"the ego starts more than {NEARBY_M:.0f} m off the road" if mapped else None
    off = float(surface.outside(ends).min())
    return f"the ego starts {off:.1f} m off the road" if off > OFF_ROAD_M else None


def cannot_be_met(criteria: Iterable[tuple[str, str]], classes: Array) -> str | None:
    """Why a query among the criteria can never hold, whatever anybody does; None if each may.

    Args:
        criteria: Name and query.
        classes: Codes of AgentClass of whoever is there besides the ego, see :func:`classes_there`.
    """
    for name, text in criteria:
        absent = _absent(_asked(text), frozenset(classes.tolist()))
        if absent is not None:
            return f"criterion `{name}` is about {absent}, and there is none: {text}"
    return None


def classes_there(scene: Scene, ego: int, start: int, horizon: int) -> Int[Array, " others"]:
    """Codes of AgentClass of all but the ego whom the log has at any step of a drive."""
    there = np.flatnonzero(scene.tracks.valid[:, start : start + horizon + 1].any(axis=1))
    return scene.tracks.cls[there[there != ego]]


def not_drivable(case: Case, scene: Scene, route: Route) -> str | None:
    """Why nobody could drive a case as it is now; None if somebody could.

    Args:
        case: Which.
        scene: Its scene, in which its ego is there at its start.
        route: Its route.
    """
    if scene.has_map and not scene.map.features:
        return "its map is not in the lake"
    unknown = [n for n, v in case.criteria.items() if n not in CRITERIA and not isinstance(v, str)]
    if unknown:
        return f"there is no criterion `{unknown[0]}`"
    tracks, start = scene.tracks, case.start_step
    ego = int(np.flatnonzero(tracks.track_id == case.ego_track_id)[0])
    others = classes_there(scene, ego, start, case.horizon_steps)
    try:
        unmet = cannot_be_met(queries_of(case).items(), others)
    except ScenelakeError as error:
        unmet = f"a criterion cannot be asked: {error.message}"
    return (
        cannot_start(scene, ego, start)
        or unmet
        or _out_of_reach(case, route, speed=float(np.hypot(*tracks.velocity[ego, start])))
    )


def _out_of_reach(case: Case, route: Route, *, speed: float) -> str | None:
    goal = np.array([case.goal], dtype=np.float64)
    if not np.isfinite(goal).all():
        return "its goal is nowhere"
    s, d, _ = project_on(goal, route.xy)
    off = float(np.abs(d[0]))
    if off > OFF_ROUTE_M:
        return f"its goal lies {off:.0f} m off the route, which cannot be reached"
    seconds = case.horizon_steps * DT
    way = float(s[0]) - route.start_s
    most = max(speed * seconds + 0.5 * HARDEST * seconds**2, route.goal_s - route.start_s)
    if way > most + OFF_ROUTE_M:
        return (
            f"its goal lies {way:.0f} m ahead, which cannot be reached in {seconds:.1f} s "
            f"from {speed:.1f} m/s"
        )
    return None


@cache
def _asked(text: str) -> Node:
    return checked_query(text).node


def _absent(node: Node, present: frozenset[int]) -> str | None:
    """Whom the expression cannot do without and who is not there; None if it may hold."""
    match node:
        case Call():
            return next(filter(None, (_missing(actor, present) for actor in node.actors)), None)
        case Or():
            absent = [_absent(part, present) for part in node.parts]
            return absent[0] if all(absent) else None
        case And() | InOrder() | Lasting() | Saved():
            return next(filter(None, (_absent(part, present) for part in node.children())), None)
        case Count():
            least = {">=": 1.0, ">": 0.0, "=": 1.0}.get(node.compare.op, np.inf)
            if node.compare.number < least:
                return None  # none at all may do
            of = None if node.of is None else _missing(node.of, present)
            return of or _absent(node.part, present)
        case _:
            return None


def _missing(actor: Actor, present: frozenset[int]) -> str | None:
    if actor.name == EGO:
        return None
    if actor.cls is None:
        return None if present else "somebody else"
    if present & {int(c) for c in CLASSES[actor.cls]}:
        return None
    return f"a{'n' if actor.cls[0] in 'aeiou' else ''} {actor.cls}"

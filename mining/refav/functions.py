"""RefAV's 32 functions, under its names, with its parameters and defaults.

What each means is what RefAV's documentation says (Davidson et al. 2025, arXiv 2505.20981), not
what its code happens to do; `docs/refav.md` tells where the two differ. A function takes tracks
(a scenario, a track id or a list of them), returns a new scenario, and changes nothing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool

from geometry.arrays import Array
from mining.refav import motion, relations, roads, views
from mining.refav.log import Log
from mining.refav.relations import View
from mining.refav.scenario import (
    Scenario,
    at_stamps,
    difference,
    intersection,
    stamps_of,
    swapped,
    tidy,
    union,
)
from mining.refav.session import Found, put_out, resolve
from schemas.errors import BadQuery, MissingData, UnknownName
from schemas.labels import MapLayer

# Definitions may hand over anything, so arguments are checked by value, with words that help.
Tracks: TypeAlias = Any
"""A scenario, a track id or a list of them."""
Where: TypeAlias = Any
"""A :class:`Log`; or the id or path of one, within :func:`mining.refav.on`."""
Number: TypeAlias = Any
"""An int or a float; it may be infinite."""
COLOURS = ("white", "silver", "black", "red", "yellow", "blue")
DIRECTIONS = ("forward", "backward", "left", "right")
INSTEAD = {
    "behind": "backward", "back": "backward", "rear": "backward", "front": "forward",
    "ahead": "forward", "in_front": "forward",
}  # fmt: skip
"""Words that people try, and what they mean."""
RELATED_M = 50.0
"""[m] Relations over a greater distance are not put out."""

# Who


def get_objects_of_category(log_dir: Where, category: Any) -> Scenario:
    """All tracks of a category, of VEHICLE or of ANY, whenever they are seen."""
    log = resolve(log_dir)
    return log.scenario(log.rows_of_category(category))


def is_category(track_candidates: Tracks, log_dir: Where, category: Any) -> Scenario:
    """Those tracks that are of a category."""
    log = resolve(log_dir)
    return _rows_only(log, track_candidates, log.rows_of_category(category))


def is_color(track_candidates: Tracks, log_dir: Where, color: Any) -> Scenario:
    """Those tracks that have a colour; all for a colour that is none of the six.

    Raises:
        MissingData: No colours were given; the lake keeps none.
    """
    log = resolve(log_dir)
    if color not in COLOURS:
        return tidy(_scenario(log, track_candidates))
    if log.colours is None:
        raise MissingData(
            f"The lake does not know the colours of the log {log.name}.",
            hint="Give them: `refav.on(lake, colours={track id: colour})`; or leave is_color out.",
        )
    rows = [k for k, uuid in enumerate(log.uuids) if log.colours.get(uuid) == color]
    return _rows_only(log, track_candidates, rows)


def within_camera_view(track_candidates: Tracks, log_dir: Where, camera_name: Any) -> Scenario:
    """Tracks of whose box at least one corner lies in a camera's picture."""
    log = resolve(log_dir)
    camera = views.camera(log, camera_name)
    return _filtered(
        log, track_candidates, lambda rows: views.in_view(log, rows, camera)
    )  # fmt: skip


# How they move


def turning(track_candidates: Tracks, log_dir: Where, direction: Any = None) -> Scenario:
    """Tracks while they turn by more than 45°, see :func:`mining.refav.motion.turning`."""
    log, side = resolve(log_dir), _side(direction)
    return _filtered(
        log, track_candidates, lambda rows: _each(rows, lambda row: motion.turning(log, row, side))
    )


def changing_lanes(track_candidates: Tracks, log_dir: Where, direction: Any = None) -> Scenario:
    """Tracks while they change lanes, see :func:`mining.refav.motion.changing_lanes`."""
    log, side = resolve(log_dir), _side(direction)
    log.need(MapLayer.LANE, "changing_lanes")
    return _filtered(
        log,
        track_candidates,
        lambda rows: _each(rows, lambda row: motion.changing_lanes(log, row, side)),
    )


def has_lateral_acceleration(
    track_candidates: Tracks,
    log_dir: Where,
    min_accel: Number = -math.inf,
    max_accel: Number = math.inf,
) -> Scenario:
    """Tracks whose acceleration to the left is within bounds [m/s²]; no parked ones."""
    log = resolve(log_dir)
    return _in_range(log, track_candidates, log.acceleration[..., 1], min_accel, max_accel)


def accelerating(
    track_candidates: Tracks,
    log_dir: Where,
    min_accel: Number = 0.65,
    max_accel: Number = math.inf,
) -> Scenario:
    """Tracks whose acceleration forwards is within bounds [m/s²]; no parked ones."""
    log = resolve(log_dir)
    return _in_range(log, track_candidates, log.acceleration[..., 0], min_accel, max_accel)


def has_velocity(
    track_candidates: Tracks,
    log_dir: Where,
    min_velocity: Number = 0.5,
    max_velocity: Number = math.inf,
) -> Scenario:
    """Tracks whose speed is within bounds [m/s]; no parked ones."""
    log = resolve(log_dir)
    speed = np.hypot(log.velocity[..., 0], log.velocity[..., 1])
    return _in_range(log, track_candidates, speed, min_velocity, max_velocity)


def stationary(track_candidates: Tracks, log_dir: Where) -> Scenario:
    """Tracks that move by less than 2 m as long as they are seen: parked, not just stopped."""
    log = resolve(log_dir)
    return _rows_only(log, track_candidates, np.flatnonzero(log.parked).tolist())


# Where they are


def at_pedestrian_crossing(
    track_candidates: Tracks, log_dir: Where, within_distance: Number = 1
) -> Scenario:
    """Tracks any part of which is within a distance of a crosswalk [m]."""
    log = resolve(log_dir)
    log.need(MapLayer.CROSSWALK, "at_pedestrian_crossing")
    reach = _number("within_distance", within_distance)
    areas = roads.polygons(log, MapLayer.CROSSWALK)
    return _filtered(
        log,
        track_candidates,
        lambda rows: roads.within(log, rows, areas, distance=reach, boxes=True),
    )


def at_stop_sign(
    track_candidates: Tracks, log_dir: Where, forward_thresh: Number = 10
) -> Scenario:
    """Tracks that face a stop sign, on its lane and at most so far before it [m]."""
    log = resolve(log_dir)
    log.need(MapLayer.LANE, "at_stop_sign")
    ahead = _number("forward_thresh", forward_thresh)
    return _filtered(
        log, track_candidates, lambda rows: roads.at_stop_sign(log, rows, ahead)
    )  # fmt: skip


def on_lane_type(track_uuid: Tracks, log_dir: Where, lane_type: Any) -> Scenario:
    """Tracks on a lane for BUS, VEHICLE or BIKE."""
    log = resolve(log_dir)
    _choice("lane_type", lane_type, tuple(roads.LANE_TYPES))
    log.need(MapLayer.LANE, "on_lane_type")
    return _filtered(
        log, track_uuid, lambda rows: roads.on_lane_type(log, rows, lane_type)
    )  # fmt: skip


def near_intersection(track_uuid: Tracks, log_dir: Where, threshold: Number = 5) -> Scenario:
    """Tracks whose centre is within a distance of an intersection's lanes [m]."""
    log = resolve(log_dir)
    log.need(MapLayer.LANE, "near_intersection")
    reach = _number("threshold", threshold)
    areas = roads.intersections(log)
    return _filtered(
        log, track_uuid, lambda rows: roads.within(log, rows, areas, distance=reach, boxes=False)
    )


def on_intersection(track_candidates: Tracks, log_dir: Where) -> Scenario:
    """Tracks whose centre is on an intersection."""
    return near_intersection(track_candidates, log_dir, threshold=0.0)


def in_drivable_area(track_candidates: Tracks, log_dir: Where) -> Scenario:
    """Tracks whose centre is in a drivable area."""
    log = resolve(log_dir)
    log.need(MapLayer.DRIVABLE_AREA, "in_drivable_area")
    areas = roads.polygons(log, MapLayer.DRIVABLE_AREA)
    return _filtered(
        log,
        track_candidates,
        lambda rows: roads.within(log, rows, areas, distance=0.0, boxes=False),
    )


def on_road(track_candidates: Tracks, log_dir: Where) -> Scenario:
    """Tracks on a lane, also one for bicycles; not those on parking lots."""
    log = resolve(log_dir)
    log.need(MapLayer.LANE, "on_road")
    return _filtered(log, track_candidates, lambda rows: log.grid.lane[list(rows)] >= 0)


# What they are to each other


def has_objects_in_relative_direction(
    track_candidates: Tracks,
    related_candidates: Tracks,
    log_dir: Where,
    direction: Any,
    min_number: Number = 1,
    max_number: Number = math.inf,
    within_distance: Number = 50,
    lateral_thresh: Number = math.inf,
) -> Scenario:
    """Tracks with at least ``min_number`` objects on a side, related to the nearest of them."""
    _choice("direction", direction, DIRECTIONS)
    limits = {
        "least": _number("min_number", min_number), "most": _number("max_number", max_number),
        "distance": _number("within_distance", within_distance),
        "aside": _number("lateral_thresh", lateral_thresh),
    }  # fmt: skip
    return _related(
        log_dir, track_candidates, related_candidates,
        lambda view: relations.in_direction(view, direction, **limits),
    )  # fmt: skip


def get_objects_in_relative_direction(
    track_candidates: Tracks,
    related_candidates: Tracks,
    log_dir: Where,
    direction: Any,
    min_number: Number = 0,
    max_number: Number = math.inf,
    within_distance: Number = 50,
    lateral_thresh: Number = math.inf,
) -> Scenario:
    """The objects on a side of tracks, related to those."""
    return reverse_relationship(has_objects_in_relative_direction)(
        track_candidates, related_candidates, log_dir, direction, min_number=min_number,
        max_number=max_number, within_distance=within_distance, lateral_thresh=lateral_thresh,
    )  # fmt: skip


def near_objects(
    track_uuid: Tracks,
    candidate_uuids: Tracks,
    log_dir: Where,
    distance_thresh: Number = 10,
    min_objects: Number = 1,
    include_self: Any = False,
) -> Scenario:
    """Tracks with ``min_objects`` others within a distance of their box [m]; all if None or 0."""
    least = min_objects or len(_scenario(resolve(log_dir), candidate_uuids))
    limits = {
        "distance": _number("distance_thresh", distance_thresh),
        "least": _number("min_objects", least),
    }
    return _related(
        log_dir, track_uuid, candidate_uuids, lambda view: relations.near(view, **limits),
        include_self=bool(include_self),
    )  # fmt: skip


def facing_toward(
    track_candidates: Tracks,
    related_candidates: Tracks,
    log_dir: Where,
    within_angle: Number = 22.5,
    max_distance: Number = 50,
) -> Scenario:
    """Tracks whose body points at others: angle to either side [degrees], distance [m]."""
    angle = math.radians(_number("within_angle", within_angle))
    distance = _number("max_distance", max_distance)
    return _related(
        log_dir, track_candidates, related_candidates,
        lambda view: relations.faces(view, angle=angle, distance=distance),
    )  # fmt: skip


def heading_toward(
    track_candidates: Tracks,
    related_candidates: Tracks,
    log_dir: Where,
    angle_threshold: Number = 22.5,
    minimum_speed: Number = 0.5,
    max_distance: Number = math.inf,
) -> Scenario:
    """Tracks that move towards others: angle [degrees], own speed towards them [m/s]."""
    limits = {
        "angle": math.radians(_number("angle_threshold", angle_threshold)),
        "speed": _number("minimum_speed", minimum_speed),
        "distance": _number("max_distance", max_distance),
    }
    return _related(
        log_dir, track_candidates, related_candidates,
        lambda view: relations.heads_for(view, **limits),
    )  # fmt: skip


def heading_in_relative_direction_to(
    track_candidates: Tracks, related_candidates: Tracks, log_dir: Where, direction: Any
) -> Scenario:
    """Tracks that head the same way as others, opposite or perpendicular to them."""
    _choice("direction", direction, ("same", "opposite", "perpendicular"))
    return _related(
        log_dir, track_candidates, related_candidates,
        lambda view: relations.heads_relative(view, direction),
    )  # fmt: skip


def being_crossed_by(
    track_candidates: Tracks,
    related_candidates: Tracks,
    log_dir: Where,
    direction: Any = "forward",
    in_direction: Any = "either",
    forward_thresh: Number = 10,
    lateral_thresh: Number = 5,
) -> Scenario:
    """Tracks while others cross the half plane out of a side of their box."""
    _choice("direction", direction, DIRECTIONS)
    ways = {"clockwise": 1, "counterclockwise": -1, "either": 0}
    _choice("in_direction", in_direction, tuple(ways))
    reach, beyond = (
        _number("forward_thresh", forward_thresh), _number("lateral_thresh", lateral_thresh),
    )  # fmt: skip
    return _related(
        log_dir, track_candidates, related_candidates,
        lambda view: relations.crossed(
            view, direction, clockwise=ways[in_direction], reach=reach, beyond=beyond
        ),
    )  # fmt: skip


def following(track_uuid: Tracks, candidate_uuids: Tracks, log_dir: Where) -> Scenario:
    """Tracks behind others on the same lane, heading alike."""
    resolve(log_dir).need(MapLayer.LANE, "following")
    return _related(log_dir, track_uuid, candidate_uuids, relations.follows)


def in_same_lane(track_candidates: Tracks, related_candidates: Tracks, log_dir: Where) -> Scenario:
    """Tracks on the lane that others are on, which may go on beyond its pieces on the map."""
    log = resolve(log_dir)
    log.need(MapLayer.LANE, "in_same_lane")
    return _on_lanes(log, track_candidates, related_candidates, roads.semantic_lane)


def on_relative_side_of_road(
    track_candidates: Tracks, related_candidates: Tracks, log_dir: Where, side: Any
) -> Scenario:
    """Tracks on the same side of the road as others, or on the opposite."""
    _choice("side", side, ("same", "opposite"))
    log = resolve(log_dir)
    log.need(MapLayer.LANE, "on_relative_side_of_road")
    lanes = roads.same_side if side == "same" else roads.opposite_side
    return _on_lanes(log, track_candidates, related_candidates, lanes)


# Logic


def scenario_and(scenario_dicts: Any) -> Scenario:
    """Tracks at the stamps at which they are in every scenario, with all relations."""
    return intersection(_several("scenario_and", scenario_dicts))


def scenario_or(scenario_dicts: Any) -> Scenario:
    """All tracks and relations of the scenarios."""
    return union(_several("scenario_or", scenario_dicts))


def scenario_not(func: Any) -> Callable[..., Scenario]:
    """A function that returns what of its tracks ``func`` would leave out."""
    _wrappable("scenario_not", func, "tracks")
    signature = inspect.signature(func)

    def wrapper(*args: Any, **kwargs: Any) -> Scenario:
        told = signature.bind(*args, **kwargs).arguments
        names = list(signature.parameters)
        # Of "the objects beside tracks" the objects are filtered, of all else the tracks.
        place = 1 if func is get_objects_in_relative_direction else 0
        whole = _scenario(resolve(told["log_dir"]), told[names[place]])
        return difference(whole, func(*args, **kwargs))

    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper


def reverse_relationship(func: Any) -> Callable[..., Scenario]:
    """A function whose related objects are referred to, and related to what was."""
    _wrappable("reverse_relationship", func, "tracks by others")
    if func is get_objects_in_relative_direction:
        return has_objects_in_relative_direction
    signature = inspect.signature(func)

    def wrapper(*args: Any, **kwargs: Any) -> Scenario:
        told = signature.bind(*args, **kwargs).arguments
        related = _scenario(resolve(told["log_dir"]), told[list(signature.parameters)[1]])
        return swapped(func(*args, **kwargs), related)

    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper


def output_scenario(
    scenario: Any,
    description: Any,
    log_dir: Where,
    output_dir: Any = None,  # noqa: ARG001  RefAV's parameters
    visualize: Any = False,  # noqa: ARG001
    **visualization_kwargs: Any,  # noqa: ARG001
) -> Found:
    """Put a scenario out under its description; no file is written and nothing drawn.

    Relations over more than 50 m are left out. The rest goes to the session that is on, and to the
    caller.
    """
    log = resolve(log_dir)
    if not isinstance(description, str):
        raise BadQuery(f"The description is {type(description).__name__}, not words.")
    near = _near_relations(log, _scenario(log, scenario))
    found = Found(
        log_id=log.log_id, source_log_id=log.name, description=description, scenario=near
    )  # fmt: skip
    put_out(found)
    return found


RELATIONAL = (
    has_objects_in_relative_direction, get_objects_in_relative_direction, near_objects,
    facing_toward, heading_toward, heading_in_relative_direction_to, being_crossed_by, following,
    in_same_lane, on_relative_side_of_road,
)  # fmt: skip
STATES = (
    is_category, is_color, within_camera_view, turning, changing_lanes, has_lateral_acceleration,
    accelerating, has_velocity, stationary, at_pedestrian_crossing, at_stop_sign, on_lane_type,
    near_intersection, on_intersection, in_drivable_area, on_road,
)  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        get_objects_of_category, *STATES, *RELATIONAL, scenario_and, scenario_or, scenario_not,
        reverse_relationship, output_scenario,
    )
}  # fmt: skip
"""All 32, by name."""

# How they are put together


def _filtered(
    log: Log, tracks: Tracks, decide: Callable[[Sequence[int]], Bool[Array, "rows steps"]]
) -> Scenario:
    """The scenario where a condition on its tracks holds."""
    scenario = _scenario(log, tracks)
    rows = [log.row_of[uuid] for uuid in scenario]
    if not rows:
        return {}
    masks = decide(rows) & log.grid.seen[rows]
    return tidy(
        {
            uuid: at_stamps(scenario[uuid], set(log.stamps[mask].tolist()))
            for uuid, mask in zip(scenario, masks, strict=True)
        }
    )


def _rows_only(log: Log, tracks: Tracks, rows: Iterable[int]) -> Scenario:
    kept = {log.uuids[row] for row in rows}
    return tidy({uuid: c for uuid, c in _scenario(log, tracks).items() if uuid in kept})


def _in_range(log: Log, tracks: Tracks, value: Array, least: Any, most: Any) -> Scenario:
    low, high = _number("the lower bound", least), _number("the upper bound", most)
    within = (value >= low) & (value <= high) & ~log.parked[:, None]
    return _filtered(log, tracks, lambda rows: within[list(rows)])


def _each(rows: Sequence[int], decide: Callable[[int], Array]) -> Array:
    return np.stack([decide(row) for row in rows])


def _related(
    log_dir: Where,
    tracks: Tracks,
    others: Tracks,
    decide: Callable[[View], Bool[Array, "related steps"]],
    *,
    include_self: bool = False,
) -> Scenario:
    """Tracks with those others to which a relation holds, while both are in their scenarios.

    Relations that a track has already stay, at the stamps at which the new one holds; related
    tracks bring theirs along.
    """
    log = resolve(log_dir)
    scenario, related = _scenario(log, tracks), _scenario(log, others)
    asked = {uuid: log.steps(stamps_of(child)) for uuid, child in related.items()}
    found: Scenario = {}
    for uuid, child in scenario.items():
        names = [name for name in related if include_self or name != uuid]
        if not names:
            continue
        own = log.steps(stamps_of(child))
        view = View.of(
            log, log.row_of[uuid], [log.row_of[n] for n in names],
            own & np.stack([asked[n] for n in names]),
        )  # fmt: skip
        masks = decide(view)
        if not masks.any():
            continue
        new = {
            name: at_stamps(related[name], set(log.stamps[mask].tolist()))
            for name, mask in zip(names, masks, strict=True)
            if mask.any()
        }
        held = set(log.stamps[masks.any(axis=0)].tolist())
        before = at_stamps(child, held) if isinstance(child, dict) else {}
        found[uuid] = {**{n: c for n, c in before.items() if n not in new}, **new}
    return tidy(found)


def _on_lanes(
    log: Log, tracks: Tracks, others: Tracks, lanes_of: Callable[[Log, int], frozenset[int]]
) -> Scenario:
    rows = [log.row_of[uuid] for uuid in _scenario(log, tracks)]
    used = sorted(set(log.grid.lane[rows].ravel().tolist()) - {-1})
    lanes = {lane: lanes_of(log, lane) for lane in used}
    return _related(log, tracks, others, lambda view: relations.share_lanes(view, lanes))


def _near_relations(log: Log, scenario: Scenario) -> Scenario:
    """The scenario without relations over more than 50 m between the boxes."""
    kept: Scenario = {}
    for uuid, child in scenario.items():
        if not isinstance(child, dict):
            kept[uuid] = child
            continue
        names = list(child)
        asked = np.stack([log.steps(stamps_of(child[name])) for name in names])
        view = View.of(log, log.row_of[uuid], [log.row_of[name] for name in names], asked)
        near = view.both & (view.clearance() <= RELATED_M)
        kept[uuid] = {
            name: at_stamps(child[name], set(log.stamps[mask].tolist()))
            for name, mask in zip(names, near, strict=True)
        }
    return tidy(kept)


def _scenario(log: Log, tracks: Any) -> Scenario:
    """A scenario as it is, or of track ids, as long as those are seen.

    Raises:
        BadQuery: It is neither.
        UnknownName: The log has no such track.
    """
    if isinstance(tracks, str):
        tracks = [tracks]
    if isinstance(tracks, list | tuple | set | frozenset):
        names = [str(uuid) for uuid in tracks]
        for name in names:
            if name not in log.row_of:
                raise UnknownName("track", name, log.uuids)
        return log.scenario([log.row_of[name] for name in names])
    if not isinstance(tracks, dict):
        raise BadQuery(
            f"Tracks are a scenario or track ids, not {type(tracks).__name__}.",
            hint="Arguments go in the order (tracks, related tracks, log_dir, …).",
        )
    for name in _names(tracks):
        if name not in log.row_of:
            raise UnknownName("track", str(name), log.uuids)
    return tracks


def _names(scenario: Scenario) -> Iterable[str]:
    for name, child in scenario.items():
        yield name
        if isinstance(child, dict):
            yield from _names(child)


def _several(function: str, scenarios: Any) -> list[Scenario]:
    if not isinstance(scenarios, list | tuple) or not scenarios:
        raise BadQuery(f"{function} takes a list of scenarios.", hint=f"{function}([a, b])")
    for scenario in scenarios:
        if not isinstance(scenario, dict):
            raise BadQuery(
                f"{function} was given {type(scenario).__name__} among its scenarios.",
                hint=f"{function}([a, b])",
            )
    return list(scenarios)


def _wrappable(wrapper: str, func: Any, takes: str) -> None:
    fits = RELATIONAL if wrapper == "reverse_relationship" else (*STATES, *RELATIONAL)
    if func not in fits:
        name = getattr(func, "__name__", type(func).__name__)
        hint = f"Hand it the function itself, such as {wrapper}({fits[0].__name__})(…)."
        if func is get_objects_of_category:
            hint = "Use is_category, which takes tracks."
        raise BadQuery(f"{wrapper} does not fit {name}, which filters no {takes}.", hint=hint)


def _side(direction: Any) -> int:
    if direction is None:
        return 0
    _choice("direction", direction, ("left", "right"))
    return 1 if direction == "left" else -1


def _choice(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        meant = INSTEAD.get(str(value))
        guess = f" Did you mean `{meant}`?" if meant in known else ""
        raise BadQuery(
            f"{name} cannot be `{value}`.{guess}", hint=f"It is one of {', '.join(known)}."
        )


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise BadQuery(f"{name} is to be a number, not `{value}`.")
    return float(value)

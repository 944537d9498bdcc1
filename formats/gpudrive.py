"""GPUDrive and Nocturne scenarios: JSON files made from the Waymo Open Motion Dataset.

Three layouts are in use, told apart by what they hold, not by a version:

- Nocturne: no object ids, no heights, flat (no z), road features without ids or codes;
- GPUDrive: heights, z, scenario ids, signal states, mostly road ids and Waymo's map codes;
- GPUDrive with ``metadata``: object ids too, the ego, and the objects to predict.

Headings are degrees in the first two and radians in the third; the numbers tell (see
:func:`_radians`). Steps not observed have ``valid`` false and values such as −10000 or 0.0001.
All files are sampled at 10 Hz and cut out of one shared frame, metres with z up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from formats.files import open_binary, plain_name, read_json, recognised, understood
from formats.grid import Grid
from formats.names import distinct
from formats.registry import Rejected
from formats.tree import matching
from formats.waymo import LAYERS, LIGHTS
from geometry.angles import wrap
from geometry.arrays import Array
from schemas.labels import AgentClass, LaneType, MapLayer
from schemas.records import LightStates, Log, MapFeature, Note, RoadMap, SourceEvent, Window

DATASET = "gpudrive"
STEP_NS = 100_000_000
RATE_HZ = 10.0
CURRENT_STEP = 10
"""Waymo's "now": 1 s of history, then the future; files of 11 steps hold the history alone."""
NOT_OBSERVED = -10000.0
FULL_TURN_RAD = 2.0 * np.pi
MOVING_M = 0.2  # per step: 2 m/s, above which the direction of motion is a heading

CLASSES = {
    "vehicle": AgentClass.VEHICLE,
    "pedestrian": AgentClass.PEDESTRIAN,
    "cyclist": AgentClass.CYCLIST,
    "other": AgentClass.OTHER,
    "unset": AgentClass.UNKNOWN,
}
MAP_CODES = {
    0: "TYPE_UNDEFINED", 1: "TYPE_FREEWAY", 2: "TYPE_SURFACE_STREET", 3: "TYPE_BIKE_LANE",
    5: "TYPE_UNKNOWN", 6: "TYPE_BROKEN_SINGLE_WHITE", 7: "TYPE_SOLID_SINGLE_WHITE",
    8: "TYPE_SOLID_DOUBLE_WHITE", 9: "TYPE_BROKEN_SINGLE_YELLOW", 10: "TYPE_BROKEN_DOUBLE_YELLOW",
    11: "TYPE_SOLID_SINGLE_YELLOW", 12: "TYPE_SOLID_DOUBLE_YELLOW",
    13: "TYPE_PASSING_DOUBLE_YELLOW", 14: "TYPE_UNKNOWN", 15: "TYPE_ROAD_EDGE_BOUNDARY",
    16: "TYPE_ROAD_EDGE_MEDIAN",
}  # fmt: skip
"""``map_element_id`` of lanes, lines and edges, which are Waymo's roadgraph types."""
LANE_TYPES = {1: LaneType.FREEWAY, 2: LaneType.VEHICLE, 3: LaneType.BIKE}
DIFFICULTIES = ("NONE", "LEVEL_1", "LEVEL_2")


def sources(path: Path) -> Iterator[Path]:
    """JSON files that begin as a scenario does, at or under a path, and broken ones beside them."""
    yield from recognised(matching(path, "*.json"), _begins_as_scenario)


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """The one scenario of a file.

    Raises:
        UnreadableFile: It is no JSON, or lacks what a scenario must have.
    """
    scenario = read_json(source)
    with understood(source, "a GPUDrive scenario"):
        log = _log(scenario, source)
    yield (
        log if log is not None else Rejected(record="", reason="no object is observed at any step")
    )


def _begins_as_scenario(file: Path) -> bool:
    """Whether the keys of a scenario come early; they do, whichever of them is first."""
    with open_binary(file) as stream:
        head = stream.read(2048)
    if not head.lstrip().startswith(b"{"):
        return False
    outer = (b'"objects"', b'"roads"', b'"tl_states"', b'"metadata"')
    inner = (b'"position"', b'"geometry"', b'"time_index"', b'"sdc_track_index"')
    return any(key in head for key in outer) and any(key in head for key in inner)


def _log(scenario: Mapping[str, Any], source: Path) -> Log | None:
    objects: Sequence[Mapping[str, Any]] = scenario["objects"]
    grid, notes = _grid(objects)
    grid, broken = grid.without_broken_states()
    if not grid.valid.any():
        return None
    metadata: Mapping[str, Any] = scenario.get("metadata") or {}
    ego = metadata.get("sdc_track_index")
    if ego is None:
        notes.append(Note(kind="missing", reason="the file does not name the ego"))
    elif not (0 <= ego < len(objects) and grid.valid[ego].any()):
        notes.append(Note(kind="missing", reason="sdc_track_index names no observed object"))
        ego = None
    agents, unseen = grid.observations(without=ego)
    driven, guessed = (None, []) if ego is None else grid.ego(ego)
    predicted = sum(bool(thing.get("vbd_trajectory")) for thing in objects)
    if predicted:
        reason = "vbd_trajectory, predictions of a model, are not observations"
        notes.append(Note(kind="dropped", reason=reason, count=predicted))
    name = str(scenario.get("scenario_id") or plain_name(source).removesuffix(".json"))
    road, map_notes = _map(scenario["roads"], name)
    last = int(grid.t_ns[-1])
    now = int(grid.t_ns[min(CURRENT_STEP, len(grid.t_ns) - 1)])
    return Log(
        dataset=DATASET,
        source_log_id=name,
        source_uri=str(source),
        rate_hz=RATE_HZ,
        ego=driven,
        agents=agents,
        map=road,
        lights=_lights(scenario.get("tl_states") or {}),
        windows=[Window(source_scene_id=name, t0_ns=0, t1_ns=last, anchor_ns=now)],
        events=_events(metadata, grid, now),
        notes=[*notes, *broken, *unseen, *guessed, *map_notes],
        extra=_extra(scenario, grid),
    )


def _grid(objects: Sequence[Mapping[str, Any]]) -> tuple[Grid, list[Note]]:
    if not objects:
        raise ValueError("no objects")
    steps = len(objects[0]["valid"])
    valid = np.array([thing["valid"] for thing in objects], dtype=bool).reshape(-1, steps)
    xyz = np.stack([_triples(thing["position"]) for thing in objects])
    heading = np.array([thing["heading"] for thing in objects], dtype=np.float64)
    velocity = np.stack([_triples(thing["velocity"])[:, :2] for thing in objects])
    notes = []
    sentinel = valid & (xyz[..., :2] == NOT_OBSERVED).all(axis=-1)
    if sentinel.any():
        reason = "states at (−10000, −10000) said to be valid are marked as not observed"
        notes.append(Note(kind="dropped", reason=reason, count=int(sentinel.sum())))
        valid = valid & ~sentinel
    yaw, guessed = _radians(xyz[..., :2], heading, valid, named="id" in objects[0])
    notes += guessed
    size = np.array(
        [[thing["length"], thing["width"], thing.get("height", np.nan)] for thing in objects],
        dtype=np.float64,
    )
    if "height" not in objects[0]:
        reason = "objects have no height and no z"
        notes.append(Note(kind="missing", reason=reason, count=len(objects)))
    if "id" not in objects[0]:
        reason = "objects have no id; their index in the file stands for it"
        notes.append(Note(kind="missing", reason=reason, count=len(objects)))
    names, renamed = distinct(
        (str(thing.get("id", k)) for k, thing in enumerate(objects)), "object"
    )
    grid = Grid(
        t_ns=np.arange(steps, dtype=np.int64) * STEP_NS,
        xyz=xyz,
        yaw=yaw,
        size=np.repeat(size[:, None], steps, axis=1),
        velocity=velocity,
        valid=valid,
        source_track_id=names,
        source_cls=[thing["type"] for thing in objects],
        cls=[CLASSES.get(thing["type"], AgentClass.OTHER) for thing in objects],
    )
    return grid, notes + renamed


def _triples(points: Sequence[Mapping[str, float]]) -> Float[Array, "points 3"]:
    return np.array([(p["x"], p["y"], p.get("z", 0.0)) for p in points], dtype=np.float64)


def _radians(
    xy: Float[Array, "tracks steps 2"],
    heading: Float[Array, "tracks steps"],
    valid: Bool[Array, "tracks steps"],
    *,
    named: bool,
) -> tuple[Float[Array, "tracks steps"], list[Note]]:
    """Headings in (−π, π], whichever unit the file uses.

    A heading beyond one full turn in radians must be in degrees. A file without one is taken in
    the unit in which headings agree better with the directions of motion, and if nothing moves,
    in that of its layout: radians where objects have ids.
    """
    if valid.any() and np.abs(heading[valid]).max() > FULL_TURN_RAD + 1e-3:
        return wrap(np.deg2rad(np.where(valid, heading, 0.0))), []
    heading = np.where(valid, heading, 0.0)
    step = np.diff(xy, axis=1)
    moving = valid[:, 1:] & valid[:, :-1] & (np.linalg.norm(step, axis=-1) > MOVING_M)
    if moving.any():
        course = np.arctan2(step[..., 1], step[..., 0])[moving]
        before = heading[:, :-1][moving]
        error_deg = np.median(np.abs(wrap(course - np.deg2rad(before))))
        error_rad = np.median(np.abs(wrap(course - before)))
        degrees, why = bool(error_deg < error_rad), "they agree with the directions of motion"
    else:
        degrees, why = not named, "that is usual in this layout"
    reason = f"headings are taken as {'degrees' if degrees else 'radians'}: {why}"
    note = Note(kind="guessed", reason=reason, count=int(valid.sum()))
    return wrap(np.deg2rad(heading) if degrees else heading), [note]


def _events(metadata: Mapping[str, Any], grid: Grid, now: int) -> list[SourceEvent]:
    last = int(grid.t_ns[-1])
    events = []
    for wanted in metadata.get("tracks_to_predict") or ():
        index = int(wanted["track_index"])
        if 0 <= index < len(grid.valid):
            level = int(wanted.get("difficulty", 0))
            word = DIFFICULTIES[level] if 0 <= level < len(DIFFICULTIES) else str(level)
            events.append(
                SourceEvent(
                    name="track_to_predict", t0_ns=now, t1_ns=last,
                    source_track_id=grid.source_track_id[index], detail={"difficulty": word},
                )
            )  # fmt: skip
    events += [
        SourceEvent(name="object_of_interest", t0_ns=0, t1_ns=last, source_track_id=str(track))
        for track in metadata.get("objects_of_interest") or ()
    ]
    return events


def _extra(scenario: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    """The file's name, where each object should get to, and who is marked as an expert."""
    goals, experts = {}, []
    for name, thing in zip(grid.source_track_id, scenario["objects"], strict=True):
        goal = thing.get("goalPosition")
        if goal and goal["x"] != NOT_OBSERVED:
            goals[name] = [goal["x"], goal["y"]]
        if thing.get("mark_as_expert"):
            experts.append(name)
    extra: dict[str, Any] = {"name": scenario.get("name", ""), "goal_position": goals}
    return extra | ({"mark_as_expert": experts} if experts else {})


def _lights(states: Mapping[str, Any]) -> LightStates:
    """States by lane, each with its own list of steps."""
    lanes: list[str] = []
    words: list[str] = []
    steps: list[int] = []
    stops: list[Float[Array, "rows 3"]] = []
    for lane, told in states.items():
        count = len(told["state"])
        lanes += [lane] * count
        words += told["state"]
        steps += told["time_index"]
        z = told.get("z", [0.0] * count)
        stops.append(np.array([told["x"], told["y"], z], dtype=np.float64).T.reshape(-1, 3))
    if not lanes:
        return LightStates.none()
    shown = [LIGHTS.get(word.lower(), LIGHTS["unknown"]) for word in words]
    return LightStates(
        source_lane_id=lanes,
        t_ns=np.array(steps, dtype=np.int64) * STEP_NS,
        state=np.array([state for state, _, _ in shown], dtype=np.int64),
        source_state=words,
        arrow=np.array([arrow for _, arrow, _ in shown]),
        flashing=np.array([flashing for _, _, flashing in shown]),
        stop_xyz=np.concatenate(stops),
    )


def _map(roads: Sequence[Mapping[str, Any]], name: str) -> tuple[RoadMap, list[Note]]:
    features: list[MapFeature] = []
    names, notes = distinct((str(road.get("id", k)) for k, road in enumerate(roads)), "road")
    for index, road in enumerate(roads):
        geometry = road["geometry"]
        points = _triples(geometry if isinstance(geometry, list) else [geometry])
        layer = LAYERS.get(road["type"], MapLayer.OTHER)
        enough = len(points) > (layer is MapLayer.LANE)
        if not enough or not np.isfinite(points).all():
            continue
        code = road.get("map_element_id")
        features.append(
            MapFeature(
                feature_id=len(features),
                source_id=names[index],
                layer=layer,
                points=points,
                lane_type=LANE_TYPES.get(code or 0, LaneType.UNKNOWN),
                source_type=MAP_CODES.get(code, road["type"])
                if code is not None
                else road["type"],
                has_z=isinstance(geometry, list) and "z" in geometry[0],
            )
        )
    if roads:
        reason = "the format does not say which lanes follow or flank which"
        notes.append(Note(kind="missing", reason=reason, count=len(features)))
    if lost := len(roads) - len(features):
        notes.append(
            Note(kind="dropped", reason="road features without usable points", count=lost)
        )
    if not features:
        return RoadMap.none(), notes
    return RoadMap(source_map_id=name, features=features, edges=_no_edges()), notes


def _no_edges() -> Int[Array, "edges 3"]:
    return np.zeros((0, 3), dtype=np.int64)

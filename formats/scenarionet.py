"""ScenarioNet and MetaDrive: a ``ScenarioDescription`` in a pickle, one scenario a file.

    sd_<dataset>_<version>_<id>.pkl
        id, version, length
        tracks[id]: type, metadata, state: position, heading, velocity, valid, length, width, height
        dynamic_map_states[lane]: state: object_state a step; lane, stop_point
        map_features[id]: type, polyline or polygon or position, entry_lanes, exit_lanes,
            left_neighbor, right_neighbor, left_boundaries, right_boundaries, speed_limit_mph
        metadata: ts [s], sdc_id, dataset, map, scenario_type, tracks_to_predict, …

Pickles are read by :mod:`formats.safe_pickle`, which runs nothing. ``dataset_summary.pkl`` and
``dataset_mapping.pkl`` beside them repeat what the scenarios say and are not read; nor are
``object_summary`` and ``number_summary`` (counts) and the ``width`` of lanes (derived from their
boundaries). Older files keep ``size`` for the three extents, states of signals as Waymo's
numbers, and say ``CROSS_WALK``. What converters left in their files is known and told in notes: conversions from
nuScenes swap the ego's length and width and put headings into the third coordinate of lanes; those
from nuScenes and nuPlan moved the world to the ego's first position without saying where that was.

Source: github.com/metadriverse/metadrive, ``metadrive/scenario/scenario_description.py``, and the
converters of github.com/metadriverse/scenarionet.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.files import plain_name
from formats.grid import Grid
from formats.names import distinct
from formats.registry import Rejected
from formats.safe_pickle import load
from formats.tree import head, matching
from formats.waymo import LIGHTS
from formats.waymo_boundaries import BOUNDARY_COVER, Boundaries, Stretch
from formats.waymo_map import METRES_PER_SECOND_IN_MPH
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.polylines import project
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import LightStates, Log, MapFeature, Note, RoadMap, SourceEvent, Window

PREFIX = "scenarionet_"
STEP_S = 0.1
"""Of a scenario that does not tell its times."""
INDEX_FILES = ("dataset_summary.pkl", "dataset_mapping.pkl")
PARTS = ("tracks", "map_features", "metadata", "length")
KMH = 3.6
KEPT_DEPTH, KEPT_MEMBERS = 4, 10_000  # of metadata

CLASSES = {
    "VEHICLE": AgentClass.VEHICLE,
    "PEDESTRIAN": AgentClass.PEDESTRIAN,
    "CYCLIST": AgentClass.CYCLIST,
    "TRAFFIC_BARRIER": AgentClass.OBSTACLE,
    "TRAFFIC_CONE": AgentClass.OBSTACLE,
    "TRAFFIC_OBJECT": AgentClass.OBSTACLE,
    "OTHER": AgentClass.OTHER,
    "UNSET": AgentClass.UNKNOWN,
}
FINER = {
    "truck": AgentClass.TRUCK,
    "trailer": AgentClass.TRUCK,
    "bus": AgentClass.BUS,
    "motorcycle": AgentClass.MOTORCYCLE,
    "animal": AgentClass.ANIMAL,
    "unknown": AgentClass.UNKNOWN,
}
"""Parts of the words of nuScenes and Lyft, which files from those keep beside MetaDrive's."""

LAYERS = (
    ("LANE_", MapLayer.LANE),
    ("ROAD_LINE_", MapLayer.ROAD_LINE),
    ("UNKNOWN_LINE", MapLayer.ROAD_LINE),
    ("ROAD_EDGE_SIDEWALK", MapLayer.WALKWAY),
    ("ROAD_EDGE_", MapLayer.ROAD_EDGE),
    ("UNKNOWN", MapLayer.ROAD_EDGE),
    ("CROSS_WALK", MapLayer.CROSSWALK),
    ("CROSSWALK", MapLayer.CROSSWALK),
    ("STOP_SIGN", MapLayer.STOP_SIGN),
    ("SPEED_BUMP", MapLayer.SPEED_BUMP),
    ("DRIVEWAY", MapLayer.DRIVEWAY),
)
"""How a feature's type begins → layer; the first that fits."""
SHAPES = ("polyline", "polygon", "position")
LANE_TYPES = {
    "LANE_SURFACE_STREET": LaneType.VEHICLE,
    "LANE_SURFACE_UNSTRUCTURE": LaneType.VEHICLE,
    "LANE_FREEWAY": LaneType.FREEWAY,
    "LANE_BIKE_LANE": LaneType.BIKE,
}
LIGHT_CODES = (
    "unknown", "arrow_stop", "arrow_caution", "arrow_go", "stop", "caution", "go",
    "flashing_stop", "flashing_caution",
)  # fmt: skip
"""By Waymo's number, which older files keep instead of the word."""
SIMPLE_LIGHTS = {
    "TRAFFIC_LIGHT_GREEN": LightState.GREEN,
    "TRAFFIC_LIGHT_YELLOW": LightState.YELLOW,
    "TRAFFIC_LIGHT_RED": LightState.RED,
    "TRAFFIC_LIGHT_UNKNOWN": LightState.UNKNOWN,
}
LINKS = (
    ("entry_lanes", EdgeKind.PREDECESSOR),
    ("exit_lanes", EdgeKind.SUCCESSOR),
    ("left_neighbor", EdgeKind.LEFT),
    ("right_neighbor", EdgeKind.RIGHT),
)


def sources(path: Path) -> Iterator[Path]:
    """Pickles called ``sd_*.pkl``, and others that begin as a scenario, at or under a path."""
    for file in matching(path, "*.pkl"):
        name = plain_name(file)
        if name in INDEX_FILES:
            continue
        if name.startswith("sd_") or _begins_as_scenario(file):
            yield file


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """The one scenario of a file.

    Raises:
        UnreadableFile: It is no pickle of plain values and arrays, or no scenario.
    """
    scenario = load(source)
    if not isinstance(scenario, dict) or any(part not in scenario for part in PARTS):
        wanted = ", ".join(PARTS)
        raise UnreadableFile(source, f"is no ScenarioDescription, which has {wanted}")
    try:
        log = _log(scenario, source)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        reason = f"is no ScenarioDescription that can be read ({type(error).__name__}: {error})"
        raise UnreadableFile(source, reason, hint="Was it converted to its end?") from error
    yield (
        log if log is not None else Rejected(record="", reason="no object is observed at any step")
    )


def _begins_as_scenario(file: Path) -> bool:
    begin = head(file)
    return (
        begin[:1] == b"\x80"
        and b"version" in begin
        and b"length" in begin
        and (b"metadrive_processed" in begin or b"track" in begin)
    )


def _log(scenario: Mapping[str, Any], source: Path) -> Log | None:
    metadata: Mapping[str, Any] = scenario["metadata"]
    dataset = str(metadata.get("dataset") or "unknown")
    steps = int(scenario["length"])
    if steps < 1:
        return None
    t_ns, first_s, keep, notes = _clock(metadata, steps)
    grid, words, told = _grid(scenario["tracks"], t_ns, keep, steps)
    notes += told
    grid, broken = grid.without_broken_states()
    if not grid.valid.any():
        return None
    name = str(scenario.get("id") or metadata.get("scenario_id") or plain_name(source))
    sdc = str(metadata.get("sdc_id", ""))
    ego = grid.source_track_id.index(sdc) if sdc in grid.source_track_id else None
    if ego is None:
        notes.append(Note(kind="missing", reason="the file does not name the ego"))
    elif not grid.valid[ego].any():
        notes.append(Note(kind="missing", reason="the ego is not observed at any step"))
        ego = None
    if ego is not None and _is_nuscenes(dataset):
        notes += _set_ego_right(grid, ego)
    agents, unseen = grid.observations(without=ego)
    driven, guessed = (None, []) if ego is None else grid.ego(ego)
    road, map_notes = _map(scenario["map_features"], name, lifted=_is_nuscenes(dataset))
    lights, light_notes = _lights(scenario.get("dynamic_map_states") or {}, t_ns, keep, steps)
    if metadata.get("metadrive_processed"):
        reason = "the scenario was prepared for MetaDrive; its coordinates are taken as they are"
        notes.append(Note(kind="guessed", reason=reason))
    if _is_nuscenes(dataset) or dataset == "nuplan":
        reason = f"where the converter from {dataset} put the world's origin is not told"
        notes.append(Note(kind="missing", reason=reason))
    anchor = int(metadata.get("current_time_index") or 0)
    anchor_ns = int(t_ns[anchor]) if 0 < anchor < len(t_ns) and keep.all() else None
    kept = {key: value for key, value in metadata.items() if key not in _NOT_KEPT}
    return Log(
        dataset=PREFIX + "".join(c if c.isalnum() else "_" for c in dataset.lower()),
        source_log_id=name,
        source_uri=str(source),
        rate_hz=float(1e9 / np.median(np.diff(t_ns))) if len(t_ns) > 1 else 1.0 / STEP_S,
        ego=driven,
        agents=agents,
        map=road,
        lights=lights,
        location=str(metadata["map"]) if metadata.get("map") else None,
        windows=[Window(source_scene_id=name, t0_ns=0, t1_ns=int(t_ns[-1]), anchor_ns=anchor_ns)],
        events=_events(metadata, t_ns, anchor_ns or 0),
        notes=[*notes, *broken, *unseen, *guessed, *map_notes, *light_notes],
        extra={
            "version": str(scenario.get("version", "")),
            "first_s": first_s,
            "types": words,
            "metadata": _plain(kept, KEPT_DEPTH),
        },
    )


_NOT_KEPT = frozenset({"ts", "object_summary", "number_summary", "tracks_to_predict",
                       "objects_of_interest"})  # fmt: skip


def _is_nuscenes(dataset: str) -> bool:
    return dataset.lower().startswith(("nuscenes", "lyft"))


def _set_ego_right(grid: Grid, ego: int) -> list[Note]:
    """Swap extents that the converter from nuScenes swapped; say what its positions are."""
    length, width = np.median(grid.size[ego][grid.valid[ego]], axis=0)[:2]
    reason = "positions of the ego are those of nuScenes' vehicle frame (rear axle), as told"
    notes = [Note(kind="guessed", reason=reason)]
    if length < width:
        grid.size[ego] = grid.size[ego][:, [1, 0, 2]]
        reason = "the ego's length and width, which the converter swapped, were swapped back"
        notes.append(Note(kind="guessed", reason=reason))
    return notes


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────


def _clock(
    metadata: Mapping[str, Any], steps: int
) -> tuple[Int[Array, " kept"], float, Array, list[Note]]:
    """Times of the steps that are kept, the first stamp [s], which steps those are, and notes."""
    keep = np.ones(steps, dtype=bool)
    told = np.ravel(np.asarray(metadata.get("ts", ()), dtype=np.float64))
    if len(told) < steps or not np.isfinite(told[:steps]).all():
        step = float(metadata.get("sample_rate") or STEP_S)
        reason = f"{len(told)} stamps for {steps} steps; steps of {step} s are taken"
        note = Note(kind="guessed", reason=reason, count=steps)
        return np.rint(np.arange(steps) * step * 1e9).astype(np.int64), 0.0, keep, [note]
    stamps = told[:steps]
    notes = []
    if len(told) > steps:
        reason = f"{len(told)} stamps for {steps} steps; the last ones belong to none"
        notes.append(Note(kind="dropped", reason=reason, count=len(told) - steps))
    t_ns = np.rint((stamps - stamps[0]) * 1e9).astype(np.int64)
    keep[1:] = np.diff(np.maximum.accumulate(t_ns)) > 0
    if not keep.all():
        reason = "steps whose stamps repeat or go back"
        notes.append(Note(kind="dropped", reason=reason, count=int((~keep).sum())))
    return t_ns[keep], float(stamps[0]), keep, notes


# ── Tracks ───────────────────────────────────────────────────────────────────────────────────────


def _grid(
    tracks: Mapping[Any, Mapping[str, Any]], t_ns: Int[Array, " kept"], keep: Array, steps: int
) -> tuple[Grid, dict[str, str], list[Note]]:
    """All tracks on the clock; finer words with MetaDrive's word for them; notes."""
    usable: list[tuple[Any, Mapping[str, Any], Mapping[str, Array]]] = []
    for key, track in tracks.items():
        state = _state(track, steps)
        if state is not None:
            usable.append((key, track, state))
    names, notes = distinct((str(key) for key, _, _ in usable), "track")
    if lost := len(tracks) - len(usable):
        reason = f"tracks without position, heading or validity at each of the {steps} steps"
        notes.append(Note(kind="dropped", reason=reason, count=lost))
    words, classes, finer = [], [], {}
    for _, track, _ in usable:
        general = str(track.get("type"))
        word = (track.get("metadata") or {}).get("type")
        word = word if isinstance(word, str) and word else general
        if word != general:
            finer[word] = general
        words.append(word)
        parts = [FINER[part] for part in word.lower().split(".") if part in FINER]
        classes.append(parts[0] if parts else CLASSES.get(general, AgentClass.UNKNOWN))
    strange = sorted({w for w, c in zip(words, classes, strict=True) if c is AgentClass.UNKNOWN})
    if strange:
        reason = f"types that MetaDrive does not have: {', '.join(strange)[:200]}"
        notes.append(Note(kind="renamed", reason=reason, count=len(strange)))
    if not usable:
        raise ValueError("no usable tracks")
    unmoved = sum("velocity" not in state for _, _, state in usable)
    if unmoved:
        reason = f"{unmoved} of {len(usable)} tracks have no velocity; those of all are left out"
        notes.append(Note(kind="dropped", reason=reason, count=len(usable) - unmoved))
    grid = Grid(
        t_ns=t_ns,
        xyz=np.stack([state["xyz"][keep] for _, _, state in usable]),
        yaw=wrap(np.stack([state["yaw"][keep] for _, _, state in usable])),
        size=np.stack([state["size"][keep] for _, _, state in usable]),
        velocity=None
        if unmoved
        else np.stack([state["velocity"][keep] for _, _, state in usable]),
        valid=np.stack([state["valid"][keep] for _, _, state in usable]),
        source_track_id=names,
        source_cls=words,
        cls=classes,
    )
    return grid, finer, notes


def _state(track: Mapping[str, Any], steps: int) -> dict[str, Array] | None:
    """Position, heading, extents, velocity and validity of a track; None if they do not fit."""
    state = track.get("state") if isinstance(track, dict) else None
    if not isinstance(state, dict) or any(
        part not in state for part in ("position", "heading", "valid")
    ):
        return None
    xyz = np.asarray(state["position"], dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[0] != steps or xyz.shape[1] not in (2, 3):
        return None
    yaw, valid = (_column(state[part], steps) for part in ("heading", "valid"))
    if yaw is None or valid is None:
        return None
    size = np.asarray(state.get("size", np.zeros((0, 3))), dtype=np.float64)
    if size.shape != (steps, 3):
        extents = [_column(state.get(part), steps) for part in ("length", "width", "height")]
        size = np.stack(
            [np.full(steps, np.nan) if extent is None else extent for extent in extents], axis=1
        )
    velocity = np.asarray(state.get("velocity", np.zeros((0, 2))), dtype=np.float64)
    moved = velocity.ndim == 2 and velocity.shape[0] == steps and velocity.shape[1] in (2, 3)
    return ({"velocity": velocity[:, :2]} if moved else {}) | {
        "xyz": xyz if xyz.shape[1] == 3 else _flat(xyz),
        "yaw": np.where(np.isfinite(yaw), yaw, np.nan),
        "size": np.where(size > 0.0, size, np.nan),
        "valid": np.nan_to_num(valid) > 0.5,
    }


def _column(value: Any, steps: int) -> Float[Array, " steps"] | None:
    """Numbers, one a step, whether in one column or in none."""
    if value is None:
        return None
    numbers = np.asarray(value, dtype=np.float64)
    return numbers.reshape(steps) if numbers.size == steps else None


def _events(
    metadata: Mapping[str, Any], t_ns: Int[Array, " kept"], now_ns: int
) -> list[SourceEvent]:
    last = int(t_ns[-1])
    events = []
    wanted = metadata.get("tracks_to_predict") or {}
    for key, about in wanted.items() if isinstance(wanted, dict) else ((k, {}) for k in wanted):
        about = about if isinstance(about, dict) else {}
        detail = {k: v for k, v in _plain(about, 1).items() if k != "track_id"}
        events.append(
            SourceEvent(
                name="track_to_predict", t0_ns=now_ns, t1_ns=last,
                source_track_id=str(about.get("track_id", key)), detail=detail,
            )
        )  # fmt: skip
    events += [
        SourceEvent(name="object_of_interest", t0_ns=0, t1_ns=last, source_track_id=str(track))
        for track in metadata.get("objects_of_interest") or ()
    ]
    if isinstance(metadata.get("scenario_type"), str):
        events.append(SourceEvent(name=metadata["scenario_type"], t0_ns=0, t1_ns=last))
    return events


def _plain(value: Any, depth: int) -> Any:
    """Metadata as JSON values, cut where it is deep or long."""
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.size <= KEPT_MEMBERS else f"{value.size} numbers"
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth > 0 and isinstance(value, dict) and len(value) <= KEPT_MEMBERS:
        return {str(key): _plain(part, depth - 1) for key, part in value.items()}
    if depth > 0 and isinstance(value, (list, tuple, set, frozenset)):
        if len(value) > KEPT_MEMBERS:
            return f"{len(value)} members"
        parts = [_plain(part, depth - 1) for part in value]
        return (
            sorted(parts, key=lambda part: json.dumps(part)) if isinstance(value, set) else parts
        )
    return f"{type(value).__name__} left out"


# ── Signals ──────────────────────────────────────────────────────────────────────────────────────


def _lights(
    told: Mapping[Any, Mapping[str, Any]], t_ns: Int[Array, " kept"], keep: Array, steps: int
) -> tuple[LightStates, list[Note]]:
    """One row a signal and step; steps at which a signal was not seen have none."""
    lanes: list[str] = []
    words: list[str] = []
    times: list[Array] = []
    stops: list[Array] = []
    unfit = 0
    for key, signal in told.items():
        state = signal.get("state") or {}
        shown = state.get("object_state")
        if shown is None or len(shown) != steps:
            unfit += 1
            continue
        stop = signal.get("stop_point", state.get("stop_point"))
        stop_xyz = np.full((steps, 3), np.nan)
        if stop is not None:
            point = np.asarray(stop, dtype=np.float64)
            stop_xyz[:, : min(point.shape[-1], 3)] = point[..., :3]
            if point.shape[-1] == 2:
                stop_xyz[:, 2] = 0.0
        lane = signal.get("lane")
        if lane is None:
            lane = (signal.get("metadata") or {}).get("lane_id", key)
        seen = np.array([word is not None and str(word) != "" for word in shown]) & keep
        if isinstance(state.get("lane"), np.ndarray) and state["lane"].shape == (steps,):
            seen &= state["lane"] != 0  # the older way to say that nothing was seen
        at = np.flatnonzero(seen)
        lanes += [str(lane)] * len(at)
        words += [str(shown[step]) for step in at]
        times.append(t_ns[np.cumsum(keep)[at] - 1])
        stops.append(stop_xyz[at])
    notes = []
    if unfit:
        reason = f"signals without a state at each of the {steps} steps"
        notes.append(Note(kind="dropped", reason=reason, count=unfit))
    if not lanes:
        return LightStates.none(), notes
    meant = {word: _meaning(word) for word in set(words)}
    return LightStates(
        source_lane_id=lanes,
        t_ns=np.concatenate(times),
        state=np.array([int(meant[word][0]) for word in words], dtype=np.int64),
        source_state=words,
        arrow=np.array([meant[word][1] for word in words]),
        flashing=np.array([meant[word][2] for word in words]),
        stop_xyz=np.concatenate(stops),
    ), notes


def _meaning(word: str) -> tuple[LightState, bool, bool]:
    """What is shown, whether an arrow, whether flashing."""
    if word in SIMPLE_LIGHTS:
        return SIMPLE_LIGHTS[word], False, False
    if word.isdecimal():
        return LIGHTS[LIGHT_CODES[int(word)] if int(word) < len(LIGHT_CODES) else "unknown"]
    return LIGHTS.get(word.removeprefix("LANE_STATE_").lower(), LIGHTS["unknown"])


# ── Map ──────────────────────────────────────────────────────────────────────────────────────────


def _map(
    told: Mapping[Any, Mapping[str, Any]], name: str, *, lifted: bool
) -> tuple[RoadMap, list[Note]]:
    """The map and its graph.

    Args:
        told: Features by id.
        name: Of the scenario, whose map is its own.
        lifted: Whether the third coordinate of lanes is a heading.
    """
    shapes = {key: _shape(f) for key, f in told.items() if isinstance(f, dict)}
    usable = {key: told[key] for key, shape in shapes.items() if shape is not None}
    shaped = [shape for shape in shapes.values() if shape is not None]
    names, notes = distinct((str(key) for key in usable), "map feature")
    lines = {
        str(key): points
        for key, (layer, points, _) in zip(usable, shaped, strict=True)
        if layer in (MapLayer.ROAD_LINE, MapLayer.ROAD_EDGE) and len(points) > 1
    }
    boundaries = Boundaries(lines)
    asked: list[tuple[int | None, int | None]] = []
    partly = 0
    for feature, (layer, points, _) in zip(usable.values(), shaped, strict=True):
        at: tuple[int | None, int | None] = (None, None)
        if layer is MapLayer.LANE:
            beside = [feature.get(f"{side}_boundaries") or () for side in ("left", "right")]
            places = [
                boundaries.ask(points, _stretches(side, lines)) if side else None
                for side in beside
            ]
            partly += sum(p is None and bool(b) for p, b in zip(places, beside, strict=True))
            at = (places[0], places[1])
        asked.append(at)
    drawn = boundaries.drawn()
    features, derived = [], 0
    for index, (source_id, feature) in enumerate(zip(names, usable.values(), strict=True)):
        layer, points, has_z = shaped[index]
        left, right = (None if place is None else drawn[place] for place in asked[index])
        if layer is MapLayer.LANE:
            if lifted and has_z:
                points, has_z = points * (1.0, 1.0, 0.0), False
            if left is None and right is None and "polygon" in feature:
                left, right = _sides(feature["polygon"], points)
                derived += left is not None
        word = str(feature["type"])
        features.append(
            MapFeature(
                feature_id=index,
                source_id=source_id,
                layer=layer,
                points=points,
                left=left,
                right=right,
                lane_type=LANE_TYPES.get(word, LaneType.UNKNOWN),
                source_type=f"{word} interpolating" if feature.get("interpolating") else word,
                speed_limit=_speed_limit(feature),
                in_intersection=True if word == "LANE_SURFACE_UNSTRUCTURE" else None,
                has_z=has_z,
            )
        )
    edges, dangling = _edges(usable.values(), shaped, names)
    counted = (
        (len(told) - len(usable), "dropped", "map features without usable points"),
        (partly, "dropped", f"lane boundaries that flank less than {BOUNDARY_COVER:.0%} of their lane"),
        (dangling, "dropped", "links to lanes that lie outside the map"),
        (derived, "guessed", "lanes whose boundaries are taken to be the sides of their polygons"),
    )  # fmt: skip
    notes += [Note(kind=kind, reason=why, count=n) for n, kind, why in counted if n]
    lanes = [f for f in features if f.layer is MapLayer.LANE]
    if lanes and lifted:
        reason = "third coordinates of lanes, which converters from nuScenes fill with headings"
        notes.append(Note(kind="dropped", reason=reason, count=len(lanes)))
    if lanes and not any("exit_lanes" in feature for feature in usable.values()):
        reason = "the file does not say which lanes follow or flank which"
        notes.append(Note(kind="missing", reason=reason, count=len(lanes)))
    if not features:
        return RoadMap.none(), notes
    return RoadMap(source_map_id=name, features=features, edges=edges), notes


@cache
def _layer(word: str) -> MapLayer:
    return next((layer for begin, layer in LAYERS if word.startswith(begin)), MapLayer.OTHER)


def _shape(
    feature: Mapping[str, Any],
) -> tuple[MapLayer, Float[Array, "points 3"], bool] | None:
    """Layer of a feature, its line, outline or place, and whether that has heights.

    None if there are no points (two for a lane), or some are not finite.
    """
    layer = _layer(str(feature.get("type")))
    told = next((feature[part] for part in SHAPES if feature.get(part) is not None), None)
    if told is None:
        return None
    points = np.atleast_2d(np.asarray(told, dtype=np.float64))
    has_z = points.ndim == 2 and points.shape[1] == 3
    if points.ndim == 2 and points.shape[1] == 2:
        points = _flat(points)
    enough = len(points) > (layer is MapLayer.LANE)
    sound = points.ndim == 2 and points.shape[1] == 3 and enough and np.isfinite(points).all()
    return (layer, points, has_z) if sound else None


def _flat(xy: Float[Array, "points 2"]) -> Float[Array, "points 3"]:
    """Points at height 0."""
    points = np.zeros((len(xy), 3))
    points[:, :2] = xy
    return points


def _stretches(told: Sequence[Mapping[str, Any]], lines: Container[str]) -> Iterator[Stretch]:
    """Those of lines that are known."""
    for segment in told:
        line = str(segment["boundary_feature_id"])
        if line in lines:
            yield line, int(segment["lane_start_index"]), int(segment["lane_end_index"])


def _sides(
    polygon: Any, points: Float[Array, "points 3"]
) -> tuple[Float[Array, "left 3"] | None, Float[Array, "right 3"] | None]:
    """The sides of a lane's outline, along its centre line; None where that is not clear."""
    ring = np.asarray(polygon, dtype=np.float64)
    if ring.ndim != 2 or len(ring) < 4 or not np.isfinite(ring).all():
        return None, None
    ring = ring[:-1, :2] if np.array_equal(ring[0], ring[-1]) else ring[:, :2]
    s, d = project(ring, points)[:2]
    sides = []
    for side in (d > 0.0, d < 0.0):
        along = np.flatnonzero(side)[np.argsort(s[side], kind="stable")]
        sides.append(_flat(ring[along]))
    return (sides[0], sides[1]) if min(len(side) for side in sides) > 1 else (None, None)


def _speed_limit(feature: Mapping[str, Any]) -> float | None:
    """[m/s]; a limit of 0 means that none is known."""
    if feature.get("speed_limit_mph"):
        return float(feature["speed_limit_mph"]) * METRES_PER_SECOND_IN_MPH
    return float(feature["speed_limit_kmh"]) / KMH if feature.get("speed_limit_kmh") else None


def _edges(
    usable: Iterable[Mapping[str, Any]],
    shaped: Sequence[tuple[MapLayer, Array, bool]],
    names: Sequence[str],
) -> tuple[Array, int]:
    """Links between features by their index, and how many led out of the map."""
    index = {name: k for k, name in enumerate(names)}
    links: dict[tuple[int, int, int], None] = {}
    dangling = 0
    for at, feature in enumerate(usable):
        wanted = [(kind, other) for part, kind in LINKS for other in feature.get(part) or ()]
        if shaped[at][0] is MapLayer.STOP_SIGN:
            lanes = feature.get("lane")
            lanes = [] if lanes is None else lanes if isinstance(lanes, list) else [lanes]
            wanted += [(EdgeKind.STOP_LINE_OF_LANE, lane) for lane in lanes]
        for kind, other in wanted:
            to = index.get(str(other["feature_id"] if isinstance(other, dict) else other))
            if to is None:
                dangling += 1
            else:
                links[at, int(kind), to] = None
    return np.array(list(links), dtype=np.int64).reshape(-1, 3), dangling

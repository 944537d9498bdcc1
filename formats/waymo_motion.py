"""Waymo Open Motion Dataset: ``Scenario`` protobufs in TFRecord files, read and written.

One record is one scenario, hence one log: every object at every step of one clock, the states of
signals per lane, a map of polylines. Coordinates are metres in a frame per scenario with z up;
headings are radians; both are taken as they are. The recording vehicle is the track that
``sdc_track_index`` names. Lanes name the painted lines and road edges beside them by stretches of
their own points; a boundary of the lane is made of the nearest points of those features.

Needs protobuf alone: no TensorFlow, none of Waymo's packages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float

from formats.files import plain_name
from formats.grid import Grid
from formats.names import distinct
from formats.registry import Rejected
from formats.tfrecord import write_records
from formats.waymo import CLASSES, LAYERS, LIGHTS, logs_of, split_of, text, tfrecords
from formats.waymo_boundaries import nearest_on
from formats.waymo_map import (
    LANE_TYPES,
    METRES_PER_SECOND_IN_MPH,
    SHAPE_FIELD,
    read_map,
)
from formats.waymo_protos import enum_words, message_class, scenario_class
from geometry.arrays import Array
from schemas.errors import BadRecord
from schemas.labels import AgentClass, EdgeKind, MapLayer
from schemas.records import (
    EgoStates,
    LightStates,
    Log,
    MapFeature,
    Note,
    Observations,
    RoadMap,
    SourceEvent,
    Window,
)

DATASET = "waymo_motion"
RATE_HZ = 10.0
LATEST_S = 9e9  # [s] what nanoseconds can count
ON_LINE_M = 0.05  # a boundary nearer than this to a painted line is that line
STATE = (
    "center_x", "center_y", "center_z", "heading", "length", "width", "height", "velocity_x",
    "velocity_y", "valid",
)  # fmt: skip

_WRITTEN_CLASS = {
    AgentClass.PEDESTRIAN: "TYPE_PEDESTRIAN",
    AgentClass.CYCLIST: "TYPE_CYCLIST",
    AgentClass.VEHICLE: "TYPE_VEHICLE",
    AgentClass.TRUCK: "TYPE_VEHICLE",
    AgentClass.BUS: "TYPE_VEHICLE",
    AgentClass.MOTORCYCLE: "TYPE_VEHICLE",
    AgentClass.UNKNOWN: "TYPE_UNSET",
}


def sources(path: Path) -> Iterator[Path]:
    """TFRecord files whose first record begins as a ``Scenario`` does.

    A file that calls itself a TFRecord but holds no sound record is ours too: reading it says what
    is wrong, where silence would lose it. TFRecords of other messages are left alone.
    """
    yield from tfrecords(path, "scenario", "broken")


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """Every scenario of a file; records that are damaged or no scenario are rejected."""
    yield from logs_of(
        source,
        lambda data, name: _log(scenario_class().FromString(data), source, name),
        what="a Waymo Scenario message",
    )


def write_logs(logs: Iterable[Log], path: Path) -> list[Note]:
    """Write logs as a TFRecord file of scenarios, one record each.

    The clock of a scenario is every time at which the ego or an agent of the log has a row.
    Map and track ids that are no integers, or are taken twice, get new ones.

    Returns:
        What the format cannot carry as it was.
    """
    notes: list[Note] = []
    write_records(path, (_scenario(log, notes).SerializeToString() for log in logs))
    return notes


# Reading ------------------------------------------------------------------------------------------


def _log(scenario: Any, source: Path, record: str) -> Log:
    name = text(scenario.scenario_id)
    grid, notes = _grid(scenario, source, record)
    grid, broken = grid.without_broken_states()
    notes += broken
    if not grid.valid.any():
        raise BadRecord(source, "no track is observed at any step", record=record)
    sdc = scenario.sdc_track_index if scenario.HasField("sdc_track_index") else None
    if sdc is not None and not (0 <= sdc < len(grid.valid) and grid.valid[sdc].any()):
        notes.append(Note(kind="missing", reason="sdc_track_index names no observed track"))
        sdc = None
    elif sdc is None:
        notes.append(Note(kind="missing", reason="the scenario names no ego (sdc_track_index)"))
    agents, dropped = grid.observations(without=sdc)
    ego, guessed = (None, []) if sdc is None else grid.ego(sdc)
    road, map_notes = read_map(scenario.map_features, name)
    last = int(grid.t_ns[-1])
    anchor = None
    if scenario.HasField("current_time_index"):
        if 0 <= scenario.current_time_index < len(grid.t_ns):
            anchor = int(grid.t_ns[scenario.current_time_index])
        else:
            notes.append(Note(kind="dropped", reason="current_time_index lies outside the clock"))
    for field in ("compressed_frame_laser_data", "frame_camera_tokens"):
        if count := len(getattr(scenario, field)):
            notes.append(Note(kind="dropped", reason=f"{field} is not carried", count=count))
    window = Window(source_scene_id=name, t0_ns=0, t1_ns=last, anchor_ns=anchor)
    return Log(
        dataset=DATASET,
        source_log_id=name or f"{plain_name(source)}:{record}",
        source_uri=str(source),
        record=record,
        rate_hz=RATE_HZ,
        ego=ego,
        agents=agents,
        map=road,
        lights=_lights(scenario, grid.t_ns),
        split=split_of(source),
        windows=[window],
        events=_events(scenario, grid, anchor or 0),
        notes=[*notes, *dropped, *guessed, *map_notes],
        extra={"first_timestamp_seconds": scenario.timestamps_seconds[0]},
    )


def _grid(scenario: Any, source: Path, record: str) -> tuple[Grid, list[Note]]:
    seconds = np.array(scenario.timestamps_seconds, dtype=np.float64)
    sound = len(seconds) > 0 and bool((np.abs(seconds) < LATEST_S).all())
    if not sound or (np.diff(np.rint((seconds - seconds[0]) * 1e9)) <= 0).any():
        raise BadRecord(source, "its times are missing or do not ascend", record=record)
    if not len(scenario.tracks):
        raise BadRecord(source, "holds no tracks", record=record)
    for track in scenario.tracks:
        if len(track.states) != len(seconds):
            reason = f"track {track.id} has {len(track.states)} states for {len(seconds)} times"
            raise BadRecord(source, reason, record=record)
    states = chain.from_iterable(track.states for track in scenario.tracks)
    shape = (len(scenario.tracks), len(seconds), len(STATE))
    numbers = chain.from_iterable(map(attrgetter(*STATE), states))
    table = np.fromiter(numbers, dtype=np.float64, count=math.prod(shape)).reshape(shape)
    words = [enum_words("Track.ObjectType")[track.object_type] for track in scenario.tracks]
    names, notes = distinct((str(track.id) for track in scenario.tracks), "track")
    grid = Grid(
        t_ns=np.rint((seconds - seconds[0]) * 1e9).astype(np.int64),
        xyz=table[..., 0:3],
        yaw=table[..., 3],
        size=table[..., 4:7],
        velocity=table[..., 7:9],
        valid=table[..., 9] > 0,
        source_track_id=names,
        source_cls=words,
        cls=[CLASSES[word] for word in words],
    )
    return grid, notes


def _events(scenario: Any, grid: Grid, anchor: int) -> list[SourceEvent]:
    last = int(grid.t_ns[-1])
    levels = enum_words("RequiredPrediction.DifficultyLevel")
    events = [
        SourceEvent(
            name="track_to_predict", t0_ns=anchor, t1_ns=last,
            source_track_id=grid.source_track_id[wanted.track_index],
            detail={"difficulty": levels[wanted.difficulty]},
        )
        for wanted in scenario.tracks_to_predict
        if 0 <= wanted.track_index < len(grid.valid)
    ]  # fmt: skip
    events += [
        SourceEvent(name="object_of_interest", t0_ns=0, t1_ns=last, source_track_id=str(track))
        for track in scenario.objects_of_interest
    ]
    return events


def _lights(scenario: Any, t_ns: Array) -> LightStates:
    words = [
        word.removeprefix("LANE_STATE_") for word in enum_words("TrafficSignalLaneState.State")
    ]
    rows = [
        (int(t), lane) for t, step in zip(t_ns, scenario.dynamic_map_states, strict=False)
        for lane in step.lane_states
    ]  # fmt: skip
    if not rows:
        return LightStates.none()
    shown = [LIGHTS[words[lane.state].lower()] for _, lane in rows]
    stops = [
        (lane.stop_point.x, lane.stop_point.y, lane.stop_point.z)
        if lane.HasField("stop_point")
        else (np.nan, np.nan, np.nan)
        for _, lane in rows
    ]
    return LightStates(
        source_lane_id=[str(lane.lane) for _, lane in rows],
        t_ns=np.array([t for t, _ in rows], dtype=np.int64),
        state=np.array([state for state, _, _ in shown], dtype=np.int64),
        source_state=[f"LANE_STATE_{words[lane.state]}" for _, lane in rows],
        arrow=np.array([arrow for _, arrow, _ in shown]),
        flashing=np.array([flashing for _, _, flashing in shown]),
        stop_xyz=np.array(stops),
    )


# Writing ------------------------------------------------------------------------------------------


def _scenario(log: Log, notes: list[Note]) -> Any:
    scenario = scenario_class()(scenario_id=log.source_log_id)
    times = [log.agents.t_ns] if log.ego is None else [log.agents.t_ns, log.ego.t_ns]
    t_ns = np.unique(np.concatenate(times))
    first = float(log.extra.get("first_timestamp_seconds", 0.0))
    scenario.timestamps_seconds.extend(first + t_ns / 1e9)
    anchor = next((w.anchor_ns for w in log.windows if w.anchor_ns is not None), None)
    if anchor is not None:
        scenario.current_time_index = int(np.searchsorted(t_ns, anchor))
    ids = _integer_ids(
        [*log.agents.source_track_id, *([] if log.ego is None else [log.ego.source_track_id])],
        largest=2**31 - 1,
    )
    _note_new_ids(notes, log, "track", log.agents.source_track_id, ids)
    for track in range(len(log.agents.source_track_id)):
        rows = np.flatnonzero(log.agents.track == track)
        _add_agent(scenario, log.agents, rows, t_ns, ids[track])
    if log.agents.velocity is None and len(log.agents.t_ns):
        reason = "velocities that are not told are taken from the positions"
        notes.append(Note(kind="guessed", reason=reason, record=log.source_log_id))
    if log.ego is not None:
        scenario.sdc_track_index = len(scenario.tracks)
        _add_ego(scenario, log.ego, t_ns, ids[-1])
    _add_events(scenario, log, ids, notes)
    feature_ids = _add_map(scenario, log, notes)
    unlit = _add_lights(scenario, log.lights, t_ns, feature_ids)
    _note_left_out(notes, log, "signal states off the clock or of lanes off the map", unlit)
    return scenario


def _integer_ids(names: Sequence[str], *, largest: int) -> list[int]:
    """The names as integers where they are integers and free, else the lowest free ones."""
    ids: list[int | None] = []
    taken: set[int] = set()
    for name in names:
        number = int(name) if name.isascii() and name.isdigit() else -1
        free = 0 <= number <= largest and number not in taken
        ids.append(number if free else None)
        if free:
            taken.add(number)
    fresh = (number for number in range(largest) if number not in taken)
    return [next(fresh) if number is None else number for number in ids]


def _note_new_ids(
    notes: list[Note], log: Log, what: str, names: Sequence[str], ids: Sequence[int]
) -> None:
    changed = sum(name != str(number) for name, number in zip(names, ids, strict=False))
    if changed:
        reason = f"{what} ids that are not unique integers get new ones"
        notes.append(Note(kind="renamed", reason=reason, count=changed, record=log.source_log_id))


def _note_left_out(notes: list[Note], log: Log, what: str, count: int) -> None:
    if count:
        notes.append(Note(kind="dropped", reason=what, count=count, record=log.source_log_id))


def _add_track(
    scenario: Any,
    number: int,
    word: str,
    t_ns: Array,
    steps: Array,
    values: Float[Array, "rows 9"],
    valid: Array,
) -> None:
    """One track; values are x, y, z, length, width, height, heading, vx, vy."""
    track = scenario.tracks.add(id=number, object_type=enum_words("Track.ObjectType").index(word))
    state_class = message_class("ObjectState")
    blank = state_class(valid=False)
    row_of = {int(step): row for row, step in enumerate(steps)}
    table = np.nan_to_num(values, nan=0.0)
    for step in range(len(t_ns)):
        row = row_of.get(step)
        if row is None or not valid[row]:
            track.states.append(blank)
            continue
        x, y, z, length, width, height, heading, vx, vy = table[row].tolist()
        track.states.append(
            state_class(
                center_x=x, center_y=y, center_z=z, length=length, width=width, height=height,
                heading=heading, velocity_x=vx, velocity_y=vy, valid=True,
            )
        )  # fmt: skip


def _add_agent(scenario: Any, agents: Observations, rows: Array, t_ns: Array, number: int) -> None:
    track = int(agents.track[rows[0]])
    word = agents.source_cls[track]
    if word not in enum_words("Track.ObjectType"):
        word = _WRITTEN_CLASS.get(agents.cls[track], "TYPE_OTHER")
    valid = np.ones(len(rows), bool) if agents.valid is None else agents.valid[rows]
    told = None if agents.velocity is None else agents.velocity[rows]
    velocity = _velocity(told, agents.t_ns[rows], agents.xyz[rows], valid)
    values = np.column_stack([agents.xyz[rows], agents.size[rows], agents.yaw[rows], velocity])
    steps = np.searchsorted(t_ns, agents.t_ns[rows])
    _add_track(scenario, number, word, t_ns, steps, values, valid)


def _add_ego(scenario: Any, ego: EgoStates, t_ns: Array, number: int) -> None:
    count = len(ego.t_ns)
    valid = np.ones(count, bool) if ego.valid is None else ego.valid
    velocity = _velocity(ego.velocity, ego.t_ns, ego.xyz, valid)
    values = np.column_stack([ego.xyz, np.tile(ego.size, (count, 1)), ego.yaw, velocity])
    word = ego.source_cls if ego.source_cls in enum_words("Track.ObjectType") else "TYPE_VEHICLE"
    _add_track(scenario, number, word, t_ns, np.searchsorted(t_ns, ego.t_ns), values, valid)


def _velocity(
    told: Float[Array, "rows 2"] | None, t_ns: Array, xyz: Float[Array, "rows 3"], valid: Array
) -> Float[Array, "rows 2"]:
    """What the source tells, else the slope of the positions: zero would say that all stand."""
    if told is not None:
        return told
    velocity = np.zeros((len(xyz), 2))
    if valid.sum() > 1:
        velocity[valid] = np.gradient(xyz[valid, :2], t_ns[valid] / 1e9, axis=0)
    return velocity


def _add_events(scenario: Any, log: Log, ids: Sequence[int], notes: list[Note]) -> None:
    names = [*log.agents.source_track_id, *([] if log.ego is None else [log.ego.source_track_id])]
    index = {name: k for k, name in enumerate(names)}
    levels = enum_words("RequiredPrediction.DifficultyLevel")
    left_out = 0
    for event in log.events:
        k = index.get(event.source_track_id or "")
        if k is not None and event.name == "track_to_predict":
            level = levels.index(str(event.detail.get("difficulty", "NONE")))
            scenario.tracks_to_predict.add(track_index=k, difficulty=level)
        elif k is not None and event.name == "object_of_interest":
            scenario.objects_of_interest.append(ids[k])
        else:
            left_out += 1
    _note_left_out(notes, log, "events of the source", left_out)


def _add_lights(
    scenario: Any, lights: LightStates, t_ns: Array, feature_ids: dict[str, int]
) -> int:
    """Signal states per step; returns how many rows found no place."""
    words = enum_words("TrafficSignalLaneState.State")
    shown = {
        tuple(map(int, value)): f"LANE_STATE_{word.upper()}" for word, value in LIGHTS.items()
    }
    steps = [scenario.dynamic_map_states.add() for _ in t_ns]
    at = np.clip(np.searchsorted(t_ns, lights.t_ns), 0, len(t_ns) - 1)
    left_out = 0
    for row, step in enumerate(at):
        if lights.source_lane_id[row] not in feature_ids or t_ns[step] != lights.t_ns[row]:
            left_out += 1
            continue
        word = lights.source_state[row]
        if word not in words:
            key = (int(lights.state[row]), int(lights.arrow[row]), int(lights.flashing[row]))
            word = shown.get(key, shown.get((key[0], 0, 0), words[0]))
        state = steps[step].lane_states.add(
            lane=feature_ids[lights.source_lane_id[row]], state=words.index(word)
        )
        if np.isfinite(lights.stop_xyz[row]).all():
            state.stop_point.x, state.stop_point.y, state.stop_point.z = lights.stop_xyz[row]
    return left_out


def _add_map(scenario: Any, log: Log, notes: list[Note]) -> dict[str, int]:
    """Map features; returns the written id of each lane by its source id."""
    kind_of = {layer: kind for kind, layer in LAYERS.items()}
    road = log.map
    kept = [feature for feature in road.features if feature.layer in kind_of]
    unknown = len(road.features) - len(kept)
    _note_left_out(notes, log, "features of layers that Waymo's maps do not have", unknown)
    ids = _integer_ids([feature.source_id for feature in kept], largest=2**63 - 1)
    _note_new_ids(notes, log, "map feature", [feature.source_id for feature in kept], ids)
    id_of = {feature.feature_id: number for feature, number in zip(kept, ids, strict=True)}
    painted = _Painted(kept, ids, first_free=max(ids, default=0) + 1)
    for feature, number in zip(kept, ids, strict=True):
        message = scenario.map_features.add(id=number)
        kind = kind_of[feature.layer]
        body = getattr(message, kind)
        body.SetInParent()
        if kind == "stop_sign":
            body.position.x, body.position.y, body.position.z = feature.points[0]
            body.lane.extend(_linked(road, feature, EdgeKind.STOP_LINE_OF_LANE, id_of))
            continue
        _add_points(getattr(body, SHAPE_FIELD[kind]), feature.points)
        if kind == "lane":
            _fill_lane(body, road, feature, id_of, painted)
        elif kind in ("road_line", "road_edge"):
            words = enum_words(
                "RoadLine.RoadLineType" if kind == "road_line" else "RoadEdge.RoadEdgeType"
            )
            body.type = words.index(feature.source_type) if feature.source_type in words else 0
    for number, points in painted.added:
        _add_points(scenario.map_features.add(id=number).road_line.polyline, points)
    return {
        feature.source_id: id_of[feature.feature_id]
        for feature in kept
        if feature.layer is MapLayer.LANE
    }


def _add_points(field: Any, points: Float[Array, "points 3"]) -> None:
    for x, y, z in points.tolist():
        field.add(x=x, y=y, z=z)


def _linked(
    road: RoadMap, feature: MapFeature, kind: EdgeKind, id_of: dict[int, int]
) -> list[int]:
    return [id_of[to] for to in road.neighbours(feature.feature_id, kind) if to in id_of]


def _fill_lane(
    lane: Any, road: RoadMap, feature: MapFeature, id_of: dict[int, int], painted: _Painted
) -> None:
    words = enum_words("LaneCenter.LaneType")
    word = feature.source_type.split(" ")[0]
    if word not in words:
        known = {made: name for name, made in LANE_TYPES.items()}
        word = known.get(feature.lane_type, "TYPE_UNDEFINED")
    lane.type = words.index(word)
    if feature.source_type.endswith(" interpolating"):
        lane.interpolating = True
    if feature.speed_limit is not None:
        lane.speed_limit_mph = feature.speed_limit / METRES_PER_SECOND_IN_MPH
    lane.entry_lanes.extend(_linked(road, feature, EdgeKind.PREDECESSOR, id_of))
    lane.exit_lanes.extend(_linked(road, feature, EdgeKind.SUCCESSOR, id_of))
    whole = {"self_start_index": 0, "self_end_index": len(feature.points) - 1}
    for kind, field in (
        (EdgeKind.LEFT, lane.left_neighbors),
        (EdgeKind.RIGHT, lane.right_neighbors),
    ):
        for to in road.neighbours(feature.feature_id, kind):
            if to in id_of:
                last = len(road.features[to].points) - 1
                field.add(
                    feature_id=id_of[to], neighbor_start_index=0, neighbor_end_index=last, **whole
                )
    for line, field in (
        (feature.left, lane.left_boundaries),
        (feature.right, lane.right_boundaries),
    ):
        if line is not None and len(line) > 1:
            for start, end, number in painted.beside(feature.points, line):
                field.add(lane_start_index=start, lane_end_index=end, boundary_feature_id=number)


class _Painted:
    """The lines and edges of a map, to which lane boundaries refer; new ones where they must."""

    def __init__(self, kept: Sequence[MapFeature], ids: Sequence[int], *, first_free: int) -> None:
        lines = [
            (number, shapely.LineString(feature.points))
            for feature, number in zip(kept, ids, strict=True)
            if feature.layer in (MapLayer.ROAD_LINE, MapLayer.ROAD_EDGE)
            and len(feature.points) > 1
        ]
        self.added: list[tuple[int, Array]] = []
        self._ids = [number for number, _ in lines]
        self._tree = shapely.STRtree([line for _, line in lines])
        self._next = first_free

    def beside(
        self, points: Float[Array, "points 3"], boundary: Float[Array, "boundary 3"]
    ) -> list[tuple[int, int, int]]:
        """(first, last, feature) for stretches of a lane's points with a line beside them."""
        nearest = nearest_on([boundary], np.zeros(len(points), dtype=np.int64), points)
        rows, found = self._tree.query_nearest(
            shapely.points(nearest[:, :2]), max_distance=ON_LINE_M, all_matches=False
        )
        if len(rows) < len(points):
            number = self._next
            self._next += 1
            self.added.append((number, boundary))
            return [(0, len(points) - 1, number)]
        runs = [
            (number, [row for row, _ in run])
            for number, run in groupby(zip(rows, found, strict=True), key=lambda pair: pair[1])
        ]
        return [(int(run[0]), int(run[-1]), self._ids[number]) for number, run in runs]

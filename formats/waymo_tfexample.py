"""Waymo Open Motion Dataset as ``tf.Example`` TFRecords: the same scenarios, flattened for training.

One record is one scenario of at most 128 objects. Every feature is one flat list; what a reader of
``Scenario`` finds is spread over them:

    scenario/id
    state/{id, type, is_sdc, tracks_to_predict, difficulty_level, objects_of_interest}   [objects]
    state/{past, current, future}/{x, y, z, bbox_yaw, length, …, valid, timestamp_micros}
                                                                    [objects × 10, 1, 80]
    traffic_light_state/{past, current, future}/{id, state, x, y, z, valid}  [steps × 16]
    roadgraph_samples/{xyz, dir, type, id, valid}                   [20,000 points, half a metre apart]

Objects, signals and points beyond the lists' lengths are not in the file. The points of one id are
one map feature, in order; a direction of zero closes a feature, so one that was cut is known. Links
between lanes, boundaries and speed limits are not told. Source: waymo.com/open/data/motion/tfexample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.files import plain_name
from formats.grid import Grid
from formats.names import distinct
from formats.registry import Rejected
from formats.waymo import CLASSES, LICENSE, LIGHTS, logs_of, split_of, tfrecords
from formats.waymo_map import LANE_TYPES
from formats.waymo_protos import enum_words, message_class
from geometry.arrays import Array
from schemas.errors import BadRecord
from schemas.labels import LaneType, MapLayer
from schemas.records import LightStates, Log, MapFeature, Note, RoadMap, SourceEvent, Window

DATASET = "waymo_tfexample"
RATE_HZ = 10.0
ERAS = ("past", "current", "future")

MAP_TYPES: dict[int, tuple[MapLayer, str]] = {
    0: (MapLayer.LANE, "TYPE_UNDEFINED"),
    1: (MapLayer.LANE, "TYPE_FREEWAY"),
    2: (MapLayer.LANE, "TYPE_SURFACE_STREET"),
    3: (MapLayer.LANE, "TYPE_BIKE_LANE"),
    5: (MapLayer.ROAD_LINE, "TYPE_UNKNOWN"),
    6: (MapLayer.ROAD_LINE, "TYPE_BROKEN_SINGLE_WHITE"),
    7: (MapLayer.ROAD_LINE, "TYPE_SOLID_SINGLE_WHITE"),
    8: (MapLayer.ROAD_LINE, "TYPE_SOLID_DOUBLE_WHITE"),
    9: (MapLayer.ROAD_LINE, "TYPE_BROKEN_SINGLE_YELLOW"),
    10: (MapLayer.ROAD_LINE, "TYPE_BROKEN_DOUBLE_YELLOW"),
    11: (MapLayer.ROAD_LINE, "TYPE_SOLID_SINGLE_YELLOW"),
    12: (MapLayer.ROAD_LINE, "TYPE_SOLID_DOUBLE_YELLOW"),
    13: (MapLayer.ROAD_LINE, "TYPE_PASSING_DOUBLE_YELLOW"),
    14: (MapLayer.ROAD_EDGE, "TYPE_UNKNOWN"),
    15: (MapLayer.ROAD_EDGE, "TYPE_ROAD_EDGE_BOUNDARY"),
    16: (MapLayer.ROAD_EDGE, "TYPE_ROAD_EDGE_MEDIAN"),
    17: (MapLayer.STOP_SIGN, "stop_sign"),
    18: (MapLayer.CROSSWALK, "crosswalk"),
    19: (MapLayer.SPEED_BUMP, "speed_bump"),
    20: (MapLayer.DRIVEWAY, "driveway"),
}
"""Code of ``roadgraph_samples/type`` → layer and the word of the ``Scenario`` message."""


def sources(path: Path) -> Iterator[Path]:
    """TFRecord files whose first record is a ``tf.Example`` with Waymo's features."""
    yield from tfrecords(path, "example")


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """Every scenario of a file; records that are damaged or no such example are rejected."""
    yield from logs_of(
        source,
        lambda data, name: _log(_Example(data, source, name)),
        what="a tf.Example message",
    )


class _Example:
    """The features of one record by name, as flat arrays."""

    def __init__(self, data: bytes, source: Path, record: str) -> None:
        self.source, self.record = source, record
        message = message_class("Example").FromString(data)
        self._features = {named.key: named.value for named in message.features.feature}

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def values(self, name: str) -> Array:
        """All numbers of a feature."""
        feature: Any = self._features.get(name)
        if feature is None:
            raise self.bad(f"lacks the feature {name}")
        if feature.HasField("float_list"):
            return np.array(feature.float_list.value, dtype=np.float64)
        return np.array(feature.int64_list.value, dtype=np.int64)

    def shaped(self, name: str, *shape: int) -> Array:
        """A feature whose length must fit a shape."""
        values = self.values(name)
        if values.size != int(np.prod(shape)):
            reason = f"has {values.size} values of {name}, not {' × '.join(map(str, shape))}"
            raise self.bad(reason)
        return values.reshape(shape)

    def text(self, name: str) -> str:
        """A feature that is one word; empty where there is none."""
        feature: Any = self._features.get(name)
        words = [] if feature is None else list(feature.bytes_list.value)
        return bytes(words[0]).decode(errors="replace") if words else ""

    def bad(self, reason: str) -> BadRecord:
        return BadRecord(self.source, reason, record=self.record)


@dataclass(frozen=True, slots=True, eq=False)
class _Clock:
    """The steps of the record, with how many each era has.

    Attributes:
        micros: Stamp of each step as the file has it [µs].
        steps: Per era.
        anchor: Index of the current step.
    """

    micros: Int[Array, " steps"]
    steps: dict[str, int]
    anchor: int

    @property
    def t_ns(self) -> Int[Array, " steps"]:
        """Since the first step [ns]."""
        return (self.micros - self.micros[0]) * 1000


def _log(example: _Example) -> Log:
    count = len(example.values("state/id"))
    if not count:
        raise example.bad("holds no objects")
    clock, notes = _clock(example, count)
    grid, track_of, more = _grid(example, clock, count)
    notes += more
    grid, broken = grid.without_broken_states()
    notes += broken
    if not grid.valid.any():
        raise example.bad("no object is observed at any step")
    sdc = _sdc(example, grid, track_of, notes)
    agents, dropped = grid.observations(without=sdc)
    ego, guessed = (None, []) if sdc is None else grid.ego(sdc)
    name = example.text("scenario/id")
    road, map_notes = _map(example, name)
    t_ns = clock.t_ns
    anchor = int(t_ns[clock.anchor])
    return Log(
        dataset=DATASET,
        source_log_id=name or f"{plain_name(example.source)}:{example.record}",
        source_uri=str(example.source),
        record=example.record,
        rate_hz=RATE_HZ,
        ego=ego,
        agents=agents,
        map=road,
        lights=_lights(example, clock),
        split=split_of(example.source),
        license=LICENSE,
        windows=[
            Window(source_scene_id=name, t0_ns=0, t1_ns=int(t_ns[-1]), anchor_ns=anchor),
        ],
        events=_events(example, grid, track_of, anchor),
        notes=[*notes, *dropped, *guessed, *map_notes],
        extra={"first_timestamp_micros": int(clock.micros[0])},
    )


def _clock(example: _Example, count: int) -> tuple[_Clock, list[Note]]:
    """Stamps of the steps, from whichever object was observed; era by era."""
    micros: list[int] = []
    steps: dict[str, int] = {}
    unseen = 0
    for era in ERAS:
        name = f"state/{era}/timestamp_micros"
        if f"state/{era}/x" not in example:
            steps[era] = 0
            continue
        told = example.values(name)
        length = told.size // count
        told = example.shaped(name, count, length)
        valid = example.shaped(f"state/{era}/valid", count, length) == 1
        latest = np.where(valid, told, -1).max(axis=0)
        earliest = np.where(valid, told, np.iinfo(np.int64).max).min(axis=0)
        seen = latest >= 0
        if (earliest[seen] != latest[seen]).any():
            raise example.bad("its objects were not observed at the same times")
        if era == "future" and not seen.any():
            steps[era] = 0  # the test set hides the future
            continue
        if not seen.all():
            unseen += int((~seen).sum())
            latest = _between(latest, era, example)
        steps[era] = length
        micros += latest.tolist()
    if not steps.get("current"):
        raise example.bad("has no current step")
    stamps = np.array(micros, dtype=np.int64)
    if (np.diff(stamps) <= 0).any():
        raise example.bad("its times do not ascend")
    notes = []
    if unseen:
        reason = "steps without any observation bear the signals' stamp"
        notes.append(Note(kind="guessed", reason=reason, count=unseen))
    if not steps["future"]:
        notes.append(Note(kind="missing", reason="the future is not told"))
    return _Clock(stamps, steps, anchor=steps["past"]), notes


def _between(latest: Int[Array, " steps"], era: str, example: _Example) -> Int[Array, " steps"]:
    """Stamps at which no object was seen, taken from the signals' clock."""
    name = f"traffic_light_state/{era}/timestamp_micros"
    told = example.shaped(name, len(latest)) if name in example else np.full(len(latest), -1)
    filled = np.where(latest >= 0, latest, told)
    if (filled < 0).any():
        raise example.bad(f"has steps of the {era} without a stamp")
    return filled


def _columns(example: _Example, clock: _Clock, count: int, name: str) -> Array:
    """One quantity of all objects at all steps."""
    parts = [
        example.shaped(f"state/{era}/{name}", count, steps)
        for era, steps in clock.steps.items()
        if steps
    ]
    return np.concatenate(parts, axis=1)


def _grid(example: _Example, clock: _Clock, count: int) -> tuple[Grid, dict[int, int], list[Note]]:
    """The tracks, and which place in the file's lists became which."""

    def told(*names: str) -> Float[Array, "objects steps quantities"]:
        columns = [_columns(example, clock, count, name) for name in names]
        return np.stack(columns, axis=-1).astype(np.float64)

    words = enum_words("Track.ObjectType")
    kinds = example.shaped("state/type", count)
    known = np.isin(kinds, np.arange(len(words)))
    codes = np.where(known, kinds, 0).astype(int)
    valid = _columns(example, clock, count, "valid") == 1
    used = valid.any(axis=1)  # the lists are filled up with objects that are none
    rows = np.flatnonzero(used)
    ids = example.shaped("state/id", count)
    names, notes = distinct((_integer(ids[k]) for k in rows), "track")
    source_cls = [words[codes[k]] if known[k] else f"{kinds[k]:g}" for k in rows]
    grid = Grid(
        t_ns=clock.t_ns,
        xyz=told("x", "y", "z")[rows],
        yaw=told("bbox_yaw")[rows, :, 0],
        size=told("length", "width", "height")[rows],
        velocity=told("velocity_x", "velocity_y")[rows],
        valid=valid[rows],
        source_track_id=names,
        source_cls=source_cls,
        cls=[CLASSES[words[codes[k]]] for k in rows],
    )
    return grid, {int(row): track for track, row in enumerate(rows)}, notes


def _integer(value: float) -> str:
    """An id as Waymo's other form writes it: the file holds integers as floats."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _flagged(example: _Example, name: str, track_of: dict[int, int]) -> list[int]:
    """Tracks for which a flag of the objects is 1."""
    if name not in example:
        return []
    flags = np.flatnonzero(example.values(name) == 1)
    return [track_of[int(row)] for row in flags if int(row) in track_of]


def _sdc(example: _Example, grid: Grid, track_of: dict[int, int], notes: list[Note]) -> int | None:
    found = _flagged(example, "state/is_sdc", track_of)
    found = [track for track in found if grid.valid[track].any()]
    if len(found) != 1:
        reason = f"state/is_sdc names {len(found)} observed objects as the ego, not one"
        notes.append(Note(kind="missing", reason=reason))
        return None
    return found[0]


def _events(
    example: _Example, grid: Grid, track_of: dict[int, int], anchor: int
) -> list[SourceEvent]:
    row_of = {track: row for row, track in track_of.items()}
    levels = enum_words("RequiredPrediction.DifficultyLevel")
    has_levels = "state/difficulty_level" in example
    difficulty = example.values("state/difficulty_level") if has_levels else np.zeros(0, int)
    last = int(grid.t_ns[-1])
    events = []
    for track in _flagged(example, "state/tracks_to_predict", track_of):
        row = row_of[track]
        level = int(difficulty[row]) if row < len(difficulty) else 0
        word = levels[level] if 0 <= level < len(levels) else str(level)
        events.append(
            SourceEvent(
                name="track_to_predict", t0_ns=anchor, t1_ns=last,
                source_track_id=grid.source_track_id[track], detail={"difficulty": word},
            )
        )  # fmt: skip
    events += [
        SourceEvent(
            name="object_of_interest", t0_ns=0, t1_ns=last,
            source_track_id=grid.source_track_id[track],
        )
        for track in _flagged(example, "state/objects_of_interest", track_of)
    ]  # fmt: skip
    return events


def _lights(example: _Example, clock: _Clock) -> LightStates:
    words = enum_words("TrafficSignalLaneState.State")
    t_ns, lane, shown, stops = [], [], [], []
    first = 0
    for era in ERAS:
        steps = clock.steps[era]
        prefix = f"traffic_light_state/{era}"
        if steps and f"{prefix}/state" in example:
            state = example.values(f"{prefix}/state")
            slots = state.size // steps
            state = example.shaped(f"{prefix}/state", steps, slots)
            ids = example.shaped(f"{prefix}/id", steps, slots)
            valid = example.shaped(f"{prefix}/valid", steps, slots) == 1
            xyz = np.stack(
                [example.shaped(f"{prefix}/{axis}", steps, slots) for axis in "xyz"], axis=-1
            )
            step, slot = np.nonzero(valid & (state >= 0) & (state < len(words)))
            t_ns.append(clock.t_ns[first + step])
            lane.append(ids[step, slot])
            shown.append(state[step, slot])
            stops.append(xyz[step, slot])
        first += steps
    if not t_ns or not sum(map(len, t_ns)):
        return LightStates.none()
    codes = np.concatenate(shown)
    told = [LIGHTS[words[code].removeprefix("LANE_STATE_").lower()] for code in codes]
    return LightStates(
        source_lane_id=[str(int(k)) for k in np.concatenate(lane)],
        t_ns=np.concatenate(t_ns),
        state=np.array([int(state) for state, _, _ in told], dtype=np.int64),
        source_state=[words[code] for code in codes],
        arrow=np.array([arrow for _, arrow, _ in told]),
        flashing=np.array([flashing for _, _, flashing in told]),
        stop_xyz=np.concatenate(stops).astype(np.float64),
    )


def _map(example: _Example, name: str) -> tuple[RoadMap, list[Note]]:
    if "roadgraph_samples/xyz" not in example:
        return RoadMap.none(), [Note(kind="missing", reason="no map")]
    ids = example.values("roadgraph_samples/id")
    count = len(ids)
    xyz = example.shaped("roadgraph_samples/xyz", count, 3)
    ahead = example.shaped("roadgraph_samples/dir", count, 3)
    kinds = example.shaped("roadgraph_samples/type", count)
    used = (example.shaped("roadgraph_samples/valid", count) == 1) & np.isfinite(xyz).all(axis=1)
    features: list[MapFeature] = []
    short = strange = cut = 0
    # Equal ids stand together; a stable sort also mends files in which they do not.
    order = np.flatnonzero(used)
    order = order[np.argsort(ids[order], kind="stable")]
    starts = np.flatnonzero(np.diff(ids[order], prepend=np.nan))
    chunks = np.split(order, starts[1:]) if len(order) else []
    for rows in sorted(chunks, key=lambda rows: int(rows[0])):
        layer, word = MAP_TYPES.get(int(kinds[rows[0]]), (MapLayer.OTHER, ""))
        if layer is MapLayer.OTHER:
            word, strange = str(int(kinds[rows[0]])), strange + 1
        if layer is MapLayer.LANE and len(rows) < 2:
            short += 1
            continue
        cut += bool(ahead[rows[-1]].any()) and layer is not MapLayer.STOP_SIGN
        features.append(
            MapFeature(
                feature_id=len(features), source_id=str(int(ids[rows[0]])), layer=layer,
                points=xyz[rows].astype(np.float64), source_type=word,
                lane_type=LANE_TYPES[word] if layer is MapLayer.LANE else LaneType.UNKNOWN,
            )
        )  # fmt: skip
    notes = [
        Note(kind=kind, reason=reason, count=number)
        for kind, reason, number in (
            ("dropped", "lanes of a single point", short),
            ("clipped", "map features whose last points are not in the file", cut),
            ("renamed", "map features of a type that Waymo does not list are 'other'", strange),
            (
                "missing",
                "tf.Example tells no links, boundaries or speed limits of its lanes",
                sum(feature.layer is MapLayer.LANE for feature in features),
            ),
        )
        if number
    ]
    return RoadMap(source_map_id=name, features=features), notes

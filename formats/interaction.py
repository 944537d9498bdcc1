"""INTERACTION: tracks of vehicles and pedestrians as CSV, on Lanelet2 maps.

Format: github.com/interaction-dataset/interaction-dataset and interaction-dataset.com; Zhan et al.
2019. Two layouts:

- recorded track files: ``recorded_trackfiles/<scenario>/vehicle_tracks_000.csv`` with, at some
  places, ``pedestrian_tracks_000.csv`` beside, which lacks headings and sizes; one log;
- prediction splits of version 1.2, such as ``train/<scenario>_train.csv``: a ``case_id`` before the
  other columns; each case is a log of 4 s of which the first is history.

Positions are box centres in metres from the map's origin (latitude and longitude 0), headings
``psi_rad`` in radians counter-clockwise from x, time counts milliseconds in steps of 100. The map is
``maps/<scenario>.osm``. Where a row has no heading, it follows from the motion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from formats import lanelet2
from formats.delimited import batches, first_fields
from formats.files import plain_name, present
from formats.registry import Rejected
from formats.stretches import Stretch, in_order, stretches
from formats.tally import Tally
from formats.track_rows import MotionHeadings, observations
from formats.tree import matching
from geometry.angles import wrap
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log, RoadMap, SourceEvent, Window

DATASET = "interaction"
RATE_HZ = 10.0
NOW_MS = 1000  # the last time of a case's history
LOOK_ROUND_NS = 2_000_000_000  # what headings are taken from beyond the ends of a part
NUMBERS = ("x", "y", "vx", "vy")
OPTIONAL = ("psi_rad", "length", "width")
MARKS = ("track_to_predict", "interesting_agent")
NEEDED = {"track_id", "frame_id", "timestamp_ms", "agent_type", *NUMBERS}
SPLITS = {"train": "train", "val": "val", "test": "test", "obs": "test"}
SPLIT_ENDING = re.compile(r"_(train|val|obs|test)$")
MAPS_UP = 4  # how many folders above the tracks the folder ``maps`` may lie

CLASSES = {
    "car": AgentClass.VEHICLE,
    "truck": AgentClass.TRUCK,
    "bus": AgentClass.BUS,
    "motorcycle": AgentClass.MOTORCYCLE,
    "bicycle": AgentClass.CYCLIST,
    "pedestrian": AgentClass.PEDESTRIAN,
    "pedestrian/bicycle": AgentClass.PEDESTRIAN,
}
EITHER = "pedestrian/bicycle"


def sources(path: Path) -> Iterator[Path]:
    """Track files at or under a path; one of pedestrians only where it has no vehicles beside."""
    for file in matching(path, "*.csv"):
        fields = set(first_fields(file))
        if fields >= NEEDED and (file == path or _twin(file, "pedestrian", "vehicle") is None):
            yield file
        elif not fields and plain_name(file).startswith("vehicle_tracks_"):
            yield file  # broken, but nobody else's


def files(source: Path) -> Iterator[Path]:
    """The file, that of the pedestrians beside it, and the map where there is one."""
    yield source
    if (walkers := _twin(source, "vehicle", "pedestrian")) is not None:
        yield walkers
    if (road := _map_file(source)) is not None:
        yield road


def read(source: Path) -> Iterator[Log | Rejected]:
    """The recording of a file, or the cases of a split.

    Raises:
        UnreadableFile: The file, that of the pedestrians or the map cannot be read.
    """
    tally = Tally()
    road = RoadMap.none()
    road_file = _map_file(source)
    if road_file is None:
        tally.add("missing", f"no map {_scenario(source)}.osm lies in a folder maps")
    elif "_xy" in road_file.name:
        road, notes = lanelet2.read_map(road_file)
        tally.extend(notes)
    else:
        road, notes = lanelet2.read_map(road_file, origin=(0.0, 0.0))
        tally.extend(notes)
    has_cases = "case_id" in first_fields(source)
    rows = _rows(source, tally)
    walkers = _twin(source, "vehicle", "pedestrian")
    if walkers is not None:
        rows = _one_after_the_other(rows, _rows(walkers, tally))
    motion = MotionHeadings()
    found = False
    for stretch in stretches(
        in_order(rows, ["case_id", "t_ns"]), source=source, time="t_ns", log="case_id",
        margin_ns=LOOK_ROUND_NS,
    ):  # fmt: skip
        found = True
        motion = motion if stretch.part else MotionHeadings()
        yield _log(source, stretch, road, motion, tally, has_cases=has_cases)
        tally = Tally()
    if not found:
        yield Rejected(record="", reason="the file holds no rows", notes=tally.notes())


def _one_after_the_other(
    first: Iterator[pa.RecordBatch], second: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    yield from first
    yield from second


def _rows(path: Path, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Rows with all columns of both layouts; NaN and empty words where the file has none."""
    names = first_fields(path)
    if not names:
        raise UnreadableFile(path, "is empty or no table", hint="Fetch the file again.")
    types = {"track_id": pa.string(), "agent_type": pa.string(), "timestamp_ms": pa.int64()}
    types |= dict.fromkeys(NUMBERS, pa.float64())
    types |= {name: pa.float64() for name in OPTIONAL if name in names}
    types |= {name: pa.string() for name in ("case_id", *MARKS) if name in names}
    for batch in batches(path, types, tally=tally):
        usable = batch["timestamp_ms"].is_valid()
        tally.add("dropped", "rows without a time", batch.num_rows - usable.true_count)
        kept = batch.filter(usable)
        t_ns = kept["timestamp_ms"].to_numpy() * 1_000_000
        columns = {name: kept[name] for name in types}
        for name in (*NUMBERS, *OPTIONAL):
            value = columns.get(name)
            columns[name] = pa.nulls(kept.num_rows, pa.float64()) if value is None else value
            columns[name] = columns[name].fill_null(np.nan)
        for name in ("case_id", *MARKS):
            if name not in columns:
                columns[name] = pa.array([""] * kept.num_rows, pa.string())
        columns["t_ns"] = pa.array(t_ns)
        # In one order, whatever the columns of this file and of the other one beside it.
        yield pa.RecordBatch.from_pydict({name: columns[name] for name in sorted(columns)})


@dataclass(frozen=True, slots=True, eq=False)
class _Codes:
    """Words of a column as numbers and back."""

    words: list[str]
    index: Int[Array, " rows"]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Codes:
        coded = column.combine_chunks().dictionary_encode()
        return cls(coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64))


def _log(
    source: Path,
    stretch: Stretch,
    road: RoadMap,
    motion: MotionHeadings,
    tally: Tally,
    *,
    has_cases: bool,
) -> Log:
    table = stretch.table
    tracks, kinds = _Codes.of(table["track_id"]), _Codes.of(table["agent_type"])
    xy = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    sound = np.isfinite(xy).all(axis=1)
    yaw = table["psi_rad"].to_numpy().copy()
    bare = ~np.isfinite(yaw)
    if bare.any():
        use = np.flatnonzero(bare & sound)
        guess, told = motion.headings(
            tracks.index[use], stretch.t_ns[use], xy[use], tracks.words, stretch.inside[use]
        )
        yaw[use] = guess
        here = stretch.inside[use]
        tally.add(
            "guessed", "headings that the file lacks follow from the motion", int(here.sum())
        )
        still = np.unique(tracks.index[use][here & ~told])
        tally.add("guessed", "tracks without heading and motion point along x", len(still))
    inside = stretch.inside
    size = np.column_stack(
        [table["length"].to_numpy(), table["width"].to_numpy(), np.full(len(yaw), np.nan)]
    )
    bare_size = np.unique(tracks.index[inside & ~np.isfinite(size[:, :2]).all(axis=1)])
    tally.add("missing", "tracks have no length and width (pedestrians)", len(bare_size))
    tally.add(
        "missing", "tracks have no height, positions no z", len(np.unique(tracks.index[inside]))
    )
    first_kind = np.zeros(len(tracks.words), dtype=np.int64)
    first_kind[tracks.index[::-1]] = kinds.index[::-1]
    changed = np.unique(tracks.index[inside & (kinds.index != first_kind[tracks.index])])
    tally.add("guessed", "tracks change their agent_type; the first is taken", len(changed))
    words = [kinds.words[k] for k in first_kind]
    either = sum(words[k] == EITHER for k in np.unique(tracks.index[inside]))
    tally.add("guessed", f"tracks of type {EITHER} are taken as pedestrians", either)
    agents = observations(
        track=tracks.index[inside], t_ns=stretch.t_ns[inside],
        xyz=np.column_stack([xy, np.zeros(len(xy))])[inside], yaw=wrap(yaw[inside]),
        size=size[inside],
        velocity=np.column_stack([table["vx"].to_numpy(), table["vy"].to_numpy()])[inside],
        names=tracks.words, source_cls=words,
        cls=[CLASSES.get(word.strip().lower(), AgentClass.UNKNOWN) for word in words], tally=tally,
    )  # fmt: skip
    case = table["case_id"][0].as_py() if has_cases else ""
    name, split = _name(source, case)
    last = int(stretch.t_ns[inside][-1])
    windows: list[Window] = []
    if has_cases and not stretch.more:
        now = NOW_MS * 1_000_000 - stretch.first
        anchor = now if 0 <= now <= last else None
        windows = [Window(source_scene_id=case, t0_ns=0, t1_ns=last, anchor_ns=anchor)]
    return Log(
        dataset=DATASET,
        source_log_id=name,
        source_uri=str(source),
        record=case,
        rate_hz=RATE_HZ,
        ego=None,
        agents=agents,
        map=road,
        location=_scenario(source),
        split=split,
        windows=windows,
        events=_marks(table, tracks, last),
        notes=tally.notes(),
        extra={"first_timestamp_ms": stretch.first // 1_000_000},
        part=stretch.part,
        more=stretch.more,
    )


def _marks(table: pa.Table, tracks: _Codes, last: int) -> list[SourceEvent]:
    """Whom a split marks: the tracks to predict, and the interesting ones."""
    events = []
    for name in MARKS:
        words = _Codes.of(table[name])
        yes = np.array([word.strip() in ("1", "1.0", "true", "True") for word in words.words])
        if yes.any():
            events += [
                SourceEvent(name=name, t0_ns=0, t1_ns=last, source_track_id=tracks.words[k])
                for k in np.unique(tracks.index[yes[words.index]])
            ]
    return events


def _name(source: Path, case: str) -> tuple[str, str | None]:
    """Id of a log, and the split that it belongs to."""
    stem = plain_name(source).removesuffix(".csv")
    ending = SPLIT_ENDING.search(stem)
    split = SPLITS[ending[1]] if ending else None
    if split is None and source.parent.name in SPLITS:
        split = SPLITS[source.parent.name]
    if "_tracks_" in stem:
        stem = f"{source.parent.name}/{stem.removeprefix('vehicle_tracks_')}"
    return (f"{stem}/{case}" if case else stem), split


def _scenario(source: Path) -> str:
    """Name of the place, which is that of its map."""
    stem = plain_name(source).removesuffix(".csv")
    return source.parent.name if "_tracks_" in stem else SPLIT_ENDING.sub("", stem)


def _twin(file: Path, word: str, other: str) -> Path | None:
    name = plain_name(file)
    if not name.startswith(f"{word}_tracks_"):
        return None
    return present(file.with_name(other + name.removeprefix(word)))


def _map_file(source: Path) -> Path | None:
    """``<scenario>_xy.osm`` or ``<scenario>.osm``, beside the tracks or in a folder ``maps``."""
    scenario = _scenario(source)
    homes = [source.parent]
    homes += [up / "maps" for up in list(source.parents)[: MAPS_UP + 1]]
    for home in homes:
        for ending in ("_xy.osm", ".osm", ".osm_xy"):
            if (found := present(home / f"{scenario}{ending}")) is not None:
                return found
    return None

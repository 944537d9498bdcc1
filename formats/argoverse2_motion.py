"""Argoverse 2 motion-forecasting scenarios: one parquet file of tracks, and its map.

    <scenario>/scenario_<id>.parquet
    <scenario>/log_map_archive_<id>.json

A scenario is 11 s at 10 Hz; its first 5 s are the history, so that step 49 is "now" (the test split
holds nothing later). The track ``AV`` is the recording vehicle. Sizes and heights are not told.

Source: github.com/argoverse/av2-api, ``src/av2/datasets/motion_forecasting``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.spatial import cKDTree

from formats.argoverse2 import DATASET_LICENSE, EGO_SIZE, MOTION_TYPES
from formats.argoverse2_map import read_map
from formats.files import plain_name, present, read_table, understood
from formats.registry import Rejected
from formats.tree import matching
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import EgoStates, Log, Note, Observations, RoadMap, SourceEvent, Window

DATASET = "argoverse2_motion"
RATE_HZ = 10.0
STEP_NS = 100_000_000
ANCHOR_STEP = 49  # last of the 50 observed steps
EGO_TRACK = "AV"

COLUMNS = (
    "observed", "track_id", "object_type", "object_category", "timestep", "position_x",
    "position_y", "heading", "velocity_x", "velocity_y", "scenario_id", "focal_track_id", "city",
)  # fmt: skip

TRACK_TAGS = {2: "scored_track", 3: "focal_track"}
"""Categories of tracks that the source singles out (0: fragment, 1: unscored)."""


def sources(path: Path) -> Iterator[Path]:
    """Scenario files at or under a path; of a scenario's map, its scenario."""
    if path.is_file():
        if _is_scenario(path.name):
            yield path
        elif path.name.startswith("log_map_archive_"):
            found = present(path.with_name(f"scenario_{_id_of(path, 'log_map_archive_')}.parquet"))
            if found is not None:
                yield found
        return
    yield from matching(path, "scenario_*.parquet")


def files(source: Path) -> Iterator[Path]:
    """The tracks and, where it is there, the map."""
    yield source
    map_path = _map_path(source)
    if map_path is not None:
        yield map_path


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a scenario.

    Raises:
        UnreadableFile: The tracks or the map are broken.
    """
    with understood(source, "an Argoverse 2 scenario"):
        yield from _read(source)


def _read(source: Path) -> Iterator[Log | Rejected]:
    table = read_table(source, columns=COLUMNS)
    if table.num_rows == 0:
        yield Rejected(record="", reason="holds no tracks")
        return
    notes: list[Note] = []
    table = _usable(source, table, notes)
    road_map = RoadMap.none()
    map_path = _map_path(source)
    if map_path is None:
        notes.append(Note(kind="missing", reason="no map"))
    else:
        road_map, more = read_map(map_path)
        notes.extend(more)
    track_ids = [str(track) for track in table["track_id"].to_pylist()]
    steps = np.asarray(table["timestep"].to_numpy(), dtype=np.int64)
    names = list(dict.fromkeys(track_ids))
    index = {name: i for i, name in enumerate(names)}
    track = np.array([index[name] for name in track_ids], dtype=np.int64)
    states = _floats(table, ("position_x", "position_y", "heading", "velocity_x", "velocity_y"))
    good = np.asarray(np.isfinite(states).all(axis=1))
    if not good.all():
        reason = "states that are not finite"
        notes.append(Note(kind="missing", reason=reason, count=int((~good).sum())))
    xyz = np.concatenate([states[:, :2], _ground(states[:, :2], road_map, notes)], axis=1)
    xyz[~good] = np.nan
    first = {name: row for row, name in reversed(list(enumerate(track_ids)))}
    words = [str(table["object_type"][first[name]]) for name in names]
    ego_rows = np.flatnonzero(track == index.get(EGO_TRACK, -1))
    others = np.flatnonzero(track != index.get(EGO_TRACK, -1))
    kept = [name for name in names if name != EGO_TRACK]
    place = {name: i for i, name in enumerate(kept)}
    renumbered = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    reason = "sizes: the source has none"
    notes.append(Note(kind="missing", reason=reason, count=len(kept)))
    ego = None
    if ego_rows.size:
        ego = EgoStates(
            t_ns=steps[ego_rows] * STEP_NS, xyz=xyz[ego_rows], yaw=states[ego_rows, 2],
            velocity=states[ego_rows, 3:], size=EGO_SIZE, source_track_id=EGO_TRACK,
            source_cls=words[index[EGO_TRACK]],
            valid=None if good[ego_rows].all() else good[ego_rows],
        )  # fmt: skip
    else:
        notes.append(Note(kind="missing", reason=f"no track `{EGO_TRACK}`, so no ego"))
    agents = Observations(
        track=renumbered[track[others]], t_ns=steps[others] * STEP_NS, xyz=xyz[others],
        yaw=states[others, 2], velocity=states[others, 3:],
        size=np.full((len(others), 3), np.nan),
        valid=None if good[others].all() else good[others],
        source_track_id=kept, source_cls=[words[index[name]] for name in kept],
        cls=[MOTION_TYPES.get(words[index[name]], AgentClass.UNKNOWN) for name in kept],
    )  # fmt: skip
    scenario_id = str(table["scenario_id"][0])
    last = int(steps.max())
    yield Log(
        dataset=DATASET,
        source_log_id=scenario_id,
        source_uri=str(source),
        rate_hz=RATE_HZ,
        ego=ego,
        agents=agents,
        map=road_map,
        split=_split(source),
        location=str(table["city"][0]),
        license=DATASET_LICENSE,
        windows=(
            Window(
                source_scene_id=scenario_id, t0_ns=int(steps.min()) * STEP_NS,
                t1_ns=last * STEP_NS, anchor_ns=min(ANCHOR_STEP, last) * STEP_NS,
            ),
        ),
        events=list(_tags(table, names, first, track, steps)),
        notes=notes,
        extra=_extra(table),
    )  # fmt: skip


def _is_scenario(name: str) -> bool:
    plain = name.removesuffix(".gz")
    return plain.startswith("scenario_") and plain.endswith(".parquet")


def _id_of(path: Path, prefix: str) -> str:
    return plain_name(path).rsplit(".", 1)[0].removeprefix(prefix)


def _map_path(source: Path) -> Path | None:
    return present(source.with_name(f"log_map_archive_{_id_of(source, 'scenario_')}.json"))


def _split(source: Path) -> str | None:
    return next(
        (p.name for p in source.resolve().parents[:2] if p.name in ("train", "val", "test")), None
    )


def _floats(table: pa.Table, names: Sequence[str]) -> Float[Array, "rows columns"]:
    columns = [np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names]
    return np.stack(columns, axis=1)


def _usable(source: Path, table: pa.Table, notes: list[Note]) -> pa.Table:
    """Rows by track and time, each step of a track once."""
    step = table["timestep"]
    if not pa.types.is_integer(step.type) or step.null_count:
        raise UnreadableFile(source, "has time steps that are no whole numbers")
    tracks = table["track_id"].to_pylist()
    order_of = {name: i for i, name in enumerate(dict.fromkeys(tracks))}
    track = np.array([order_of[name] for name in tracks], dtype=np.int64)
    steps = np.asarray(step.to_numpy(), dtype=np.int64)
    rows = np.lexsort((steps, track))
    again = np.zeros(len(rows), dtype=bool)
    again[1:] = (np.diff(track[rows]) == 0) & (np.diff(steps[rows]) == 0)
    if again.any():
        reason = "states of a track at a step seen before"
        notes.append(Note(kind="dropped", reason=reason, count=int(again.sum())))
    return table.take(pa.array(rows[~again]))


def _ground(xy: Array, road_map: RoadMap, notes: list[Note]) -> Float[Array, "rows 1"]:
    """Height of the nearest lane, since the source tells none; 0 without a map."""
    lines = [line for f in road_map.features for line in (f.left, f.right) if line is not None]
    finite = np.isfinite(xy).all(axis=1)
    z = np.zeros((len(xy), 1))
    if not lines:
        notes.append(Note(kind="missing", reason="heights: the source has none", count=len(xy)))
        return z
    points = np.concatenate(lines)
    _, nearest = cKDTree(points[:, :2]).query(xy[finite])
    z[finite, 0] = points[nearest, 2]
    reason = "heights: the source has none, the nearest lane boundary's was taken"
    notes.append(Note(kind="guessed", reason=reason, count=len(xy)))
    return z


def _tags(
    table: pa.Table, names: Sequence[str], first: dict[str, int], track: Array, steps: Array
) -> Iterator[SourceEvent]:
    for i, name in enumerate(names):
        tag = TRACK_TAGS.get(table["object_category"][first[name]].as_py())
        if tag is not None:
            own = steps[track == i]
            yield SourceEvent(
                name=tag, t0_ns=int(own.min()) * STEP_NS, t1_ns=int(own.max()) * STEP_NS,
                source_track_id=name,
            )  # fmt: skip


def _extra(table: pa.Table) -> dict[str, object]:
    wanted = (
        "focal_track_id", "map_id", "slice_id", "start_timestamp", "end_timestamp",
        "num_timestamps",
    )  # fmt: skip
    return {name: table[name][0].as_py() for name in wanted if name in table.column_names}

from pathlib import Path

import pyarrow as pa
import pytest

from lake import Lake
from lake.dense import pack_signals
from schemas.scene import Signals
from tests.builders import make_crossing_log, make_straight_log


@pytest.fixture
def lake(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log(), make_crossing_log()], run_id=run.id)
    return lake


def broken(lake, name: str, column: str, value, row: int = 0) -> None:
    """Put a wrong value into one row of a table, behind the lake's back."""
    table = lake.read(name)
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(column)
    wrong = table.set_column(table.schema.names.index(column), field, pa.array(values, field.type))
    with lake.store.writing():
        lake.store.delete(name, "true")
        lake.store.append(name, wrong)


def found(lake) -> set[tuple[str, str, str]]:
    return {(f.severity, f.check, f.table) for f in lake.verify()}


def test_a_sound_lake_has_no_findings(lake):
    names = []
    assert lake.verify(progress=names.append) == []
    assert {"unique logs", "finite agents", "order ego", "dense"} <= set(names)


@pytest.mark.parametrize(
    ("table", "column", "value", "expected"),
    [
        ("agents", "x", float("nan"), ("error", "finite", "agents")),
        ("ego", "vx_map", float("inf"), ("error", "finite", "ego")),
        ("agents", "y", None, ("error", "valid", "agents")),
        ("agents", "yaw", 4.0, ("error", "angle", "agents")),
        ("agents", "x", 9000.0, ("warning", "near map", "agents")),
        ("agents", "lane_id", 77, ("error", "lane", "agents")),
        ("agents", "track_id", 99, ("error", "reference", "agents")),
        ("agents", "t_ns", 10**8, ("error", "unique", "agents")),
        ("ego", "t_ns", 10**12, ("error", "order", "ego")),
        ("logs", "map_id", 5, ("error", "reference", "logs")),
        ("logs", "run_id", 5, ("warning", "run", "logs")),
        ("map_edges", "to_id", 50, ("error", "reference", "map_edges")),
        ("scenes", "t1_ns", -1, ("error", "span", "scenes")),
        ("scenes", "scene_id", 5, ("error", "reference", "dense")),
        ("events", "t1_ns", -5, ("error", "span", "events")),
        ("dense", "tracks", b"nonsense", ("error", "dense", "dense")),
        ("dense", "signals", pack_signals(Signals.none(3)), ("error", "dense", "dense")),
        ("dense", "packing", "v9", ("error", "dense", "dense")),
    ],
)
def test_each_rule_finds_what_breaks_it(lake, table, column, value, expected):
    broken(lake, table, column, value)
    assert expected in found(lake)


def test_vectors_must_belong_to_scenes_and_be_of_unit_length(lake):
    row = {"scene_id": 5, "model": "m", "vector": [0.5] + [0.0] * 63, "run_id": 1}
    lake.append("embeddings", [row])
    assert {("error", "reference", "embeddings"), ("error", "unit length", "embeddings")} <= found(
        lake
    )
    detail = next(f.detail for f in lake.verify() if f.check == "unit length")
    assert "scene_id 5" in detail


def test_errors_come_first(lake):
    broken(lake, "logs", "run_id", 5)
    broken(lake, "agents", "yaw", 4.0)
    severities = [f.severity for f in lake.verify()]
    assert severities == sorted(severities)


def test_a_damaged_file_is_found(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    with lake.run("ingest") as run:
        lake.add_logs([make_straight_log()], run_id=run.id)
    assert lake.verify() == []
    for name in ("agents", "dense"):
        (file,) = (Path(lake.uri) / f"{name}.lance" / "data").iterdir()
        file.write_bytes(file.read_bytes()[:500])
    found = [f for f in Lake.open(lake.uri).verify() if f.check == "readable"]
    assert {"agents", "dense"} <= {f.table for f in found}
    assert all(f.severity == "error" for f in found)
    assert len(found) == len({f.table for f in found})

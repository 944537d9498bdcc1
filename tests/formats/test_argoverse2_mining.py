"""Scenario-mining tables: their sentences become events of the sensor logs beside them."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from formats import argoverse2_mining, argoverse2_sensor
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.records import Log
from tests.contracts import check_log
from tests.formats.drawn_logs import STEP_NS
from tests.formats.test_argoverse2_sensor import only_log, plain, straight_log

TABLE = "scenario_mining_val_annotations.feather"
BRAKING, TURNING = "vehicle braking for pedestrian", "vehicle turning left"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log ``straight`` of a car seen five times, in a split's folder."""
    return plain(argoverse2_sensor.write_log(straight_log(), tmp_path / "val"))


def mining_table(folder: Path, **changes: object) -> pa.Table:
    """The car is referred to at steps 0, 1 and 3 of one sentence, related to the ego in another."""
    cuboids = feather.read_table(folder / "annotations.feather", memory_map=False)
    own = cuboids.to_pydict() | {"track_uuid": ["ego-uuid"] * 5, "category": ["EGO_VEHICLE"] * 5}
    own |= {axis: [0.0] * 5 for axis in ("tx_m", "ty_m", "tz_m")}
    both = pa.concat_tables([cuboids, pa.table(own)])
    roles = {
        BRAKING: [
            "REFERRED_OBJECT", "REFERRED_OBJECT", "OTHER_OBJECT", "REFERRED_OBJECT",
            "OTHER_OBJECT", *["OTHER_OBJECT"] * 5,
        ],
        TURNING: [*["OTHER_OBJECT"] * 5, *["RELATED_OBJECT"] * 5],
        "nothing": ["OTHER_OBJECT"] * 10,
    }  # fmt: skip
    parts = []
    for prompt, categories in roles.items():
        columns = {"log_id": ["straight"] * 10, "prompt": [prompt] * 10}
        part = pa.table(columns | both.to_pydict() | {"mining_category": categories})
        parts.append(part)
    other = pa.table(parts[0].to_pydict() | {"log_id": ["elsewhere"] * 10})
    return pa.table(pa.concat_tables([other, *parts]).to_pydict() | changes)


def write(path: Path, table: pa.Table) -> Path:
    feather.write_feather(table, str(path), chunksize=7)
    return path


def reasons(log: Log) -> str:
    return " ".join(note.reason for note in log.notes)


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_stretches_become_events(folder: Path, place: str) -> None:
    table = write((folder / place).resolve() / TABLE, mining_table(folder))
    log = only_log(folder)
    check_log(log)
    told = [(e.name, e.source_track_id, e.t0_ns, e.t1_ns, e.detail["role"]) for e in log.events]
    assert told == [
        (BRAKING, "car", 0, STEP_NS, "REFERRED_OBJECT"),
        (BRAKING, "car", 3 * STEP_NS, 3 * STEP_NS, "REFERRED_OBJECT"),
        (TURNING, "ego", 0, 4 * STEP_NS, "RELATED_OBJECT"),
    ]
    assert log.ego is not None
    assert log.ego.source_track_id == "ego"
    assert log.extra["scenario_mining_prompts"] == sorted(["nothing", BRAKING, TURNING])
    assert log.agents.source_track_id == ["car"]
    assert table in argoverse2_sensor.files(folder)


def test_the_table_is_found_with_its_logs(folder: Path) -> None:
    table = write(folder.parent / TABLE, mining_table(folder))
    assert list(argoverse2_sensor.sources(folder.parent)) == [folder]
    assert list(argoverse2_sensor.sources(table)) == [folder]


def test_cuboids_come_from_the_table_where_the_log_has_none(folder: Path) -> None:
    before = only_log(folder)
    write(folder.parent / TABLE, mining_table(folder))
    (folder / "annotations.feather").unlink()
    log = only_log(folder)
    check_log(log)
    np.testing.assert_array_equal(log.agents.xyz, before.agents.xyz)
    assert len(log.events) == 3


def test_a_packed_table(folder: Path) -> None:
    table = write(folder.parent / TABLE, mining_table(folder))
    (folder.parent / f"{TABLE}.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert len(only_log(folder).events) == 3


def test_a_table_without_its_logs_says_which_are_missing(folder: Path) -> None:
    alone = folder.parent.parent / "alone"
    alone.mkdir()
    table = write(alone / TABLE, mining_table(folder))
    shutil.rmtree(folder.parent)
    assert list(argoverse2_sensor.sources(alone)) == [table]
    assert list(argoverse2_sensor.files(table)) == [table]
    items = list(argoverse2_sensor.read(table))
    assert all(isinstance(item, Rejected) for item in items)
    assert {item.record for item in items if isinstance(item, Rejected)} == {
        "straight", "elsewhere",
    }  # fmt: skip


def test_logs_that_the_table_does_not_know(folder: Path) -> None:
    table = mining_table(folder)
    write(folder.parent / TABLE, table.slice(0, 10))
    log = only_log(folder)
    assert list(log.events) == []
    assert "scenario_mining_prompts" not in log.extra


@pytest.mark.parametrize("content", [b"", b"no table", b"cut"])
def test_a_broken_table_costs_the_events_alone(folder: Path, content: bytes) -> None:
    path = write(folder.parent / TABLE, mining_table(folder))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == b"cut" else content)
    log = only_log(folder)
    check_log(log)
    assert list(log.events) == []
    assert TABLE in reasons(log)
    with pytest.raises(UnreadableFile, match=TABLE):
        argoverse2_mining.logs_of(path)


def test_a_missing_column_is_named(folder: Path) -> None:
    write(folder.parent / TABLE, mining_table(folder).drop_columns(["mining_category"]))
    log = only_log(folder)
    assert "lacks the columns mining_category" in reasons(log)

"""Argoverse 2 motion-forecasting scenarios, made small by hand, and a real one."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from formats import argoverse2_motion, argoverse2_sensor
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

SCENARIO = "11111111-2222-3333-4444-555555555555"
STEPS = 110


def rows(
    track: str, kind: str, category: int, steps: range, *, x: float
) -> list[dict[str, object]]:
    return [
        {
            "observed": step < 50, "track_id": track, "object_type": kind,
            "object_category": category, "timestep": step, "position_x": x + step,
            "position_y": 2.0, "heading": 0.0, "velocity_x": 10.0, "velocity_y": 0.0,
            "scenario_id": SCENARIO, "start_timestamp": 3.1e17, "end_timestamp": 3.1e17 + 10.9e9,
            "num_timestamps": STEPS, "focal_track_id": "7", "city": "austin", "map_id": 5,
            "slice_id": "s",
        }
        for step in steps
    ]  # fmt: skip


def points(*xyz: tuple[float, float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "z": z} for x, y, z in xyz]


def lane(key: int, y: float, **more: object) -> dict[str, object]:
    return {
        "id": key, "is_intersection": False, "lane_type": "VEHICLE",
        "left_lane_boundary": points((0, y + 2, 7), (200, y + 2, 7)),
        "right_lane_boundary": points((0, y - 2, 7), (200, y - 2, 7)),
        "left_lane_mark_type": "NONE", "right_lane_mark_type": "NONE", "successors": [],
        "predecessors": [], "left_neighbor_id": None, "right_neighbor_id": None, **more,
    }  # fmt: skip


def write_scenario(
    folder: Path, table: list[dict[str, object]], **lanes: dict[str, object]
) -> Path:
    folder.mkdir(parents=True)
    source = folder / f"scenario_{SCENARIO}.parquet"
    parquet.write_table(pa.Table.from_pylist(table), source)
    content = {
        "lane_segments": lanes,
        "pedestrian_crossings": {
            "9": {
                "id": 9,
                "edge1": points((5, 0, 7), (5, 8, 7)),
                "edge2": points((8, 0, 7), (8, 8, 7)),
            }
        },
        "drivable_areas": {
            "8": {"id": 8, "area_boundary": points((0, 0, 7), (9, 0, 7), (9, 9, 7))}
        },
    }
    (folder / f"log_map_archive_{SCENARIO}.json").write_text(json.dumps(content))
    return source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    table = [
        *rows("AV", "vehicle", 1, range(STEPS), x=0.0),
        *rows("7", "cyclist", 3, range(STEPS), x=5.0),
        *rows("8", "riderless_bicycle", 0, range(20, 30), x=9.0),
    ]
    return write_scenario(
        tmp_path / "val" / SCENARIO,
        table,
        a=lane(1, 2.0, centerline=points((0, 2, 0), (200, 2, 0)), successors=[3, 99]),
        b=lane(2, 6.0, right_neighbor_id=1, left_lane_mark_type="SOLID_WHITE"),
        c=lane(3, 2.0, predecessors=[1]),
        d={**lane(4, 10.0, left_neighbor_id=2),
            "left_lane_boundary": points((200, 8, 7), (0, 8, 7)),
            "right_lane_boundary": points((200, 12, 7), (0, 12, 7))},
    )  # fmt: skip


def only_log(source: Path) -> Log:
    (log,) = argoverse2_motion.read(source)
    assert isinstance(log, Log)
    return log


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self):
        return argoverse2_motion

    @pytest.fixture
    def source(self, source: Path) -> Path:
        return source


@pytest.fixture(name="log")
def read_log(source: Path) -> Log:
    return only_log(source)


def test_the_av_is_the_ego(log: Log) -> None:
    assert log.ego is not None
    assert log.ego.source_track_id == "AV"
    assert len(log.ego.t_ns) == STEPS
    assert log.ego.t_ns[-1] == 10_900_000_000
    assert list(log.agents.source_track_id) == ["7", "8"]
    assert list(log.agents.cls) == [AgentClass.CYCLIST, AgentClass.OBSTACLE]


def test_sizes_are_missing_and_heights_are_the_road_s(log: Log) -> None:
    assert np.isnan(log.agents.size).all()
    np.testing.assert_array_equal(log.agents.xyz[:, 2], 7.0)
    said = {note.kind: note.reason for note in log.notes}
    assert "sizes" in said["missing"]
    assert "heights" in said["guessed"]


def test_window_anchor_and_tags(log: Log) -> None:
    (window,) = log.windows
    assert window.source_scene_id == SCENARIO
    assert (window.t0_ns, window.anchor_ns, window.t1_ns) == (0, 4_900_000_000, 10_900_000_000)
    assert [(e.name, e.source_track_id) for e in log.events] == [("focal_track", "7")]
    assert log.split == "val"


def test_the_map_s_lines_and_links(log: Log) -> None:
    lanes = log.map.of_layer(MapLayer.LANE)
    # The centre line's missing height comes from the boundaries; without one it lies between them.
    np.testing.assert_array_equal(lanes[0].points, [[0, 2, 7], [200, 2, 7]])
    np.testing.assert_allclose(lanes[1].points[:, 1], 6.0)
    assert np.diff(lanes[1].points[:, 0]).max() <= 2.0
    assert log.map.neighbours(0, EdgeKind.SUCCESSOR) == [2]
    assert log.map.neighbours(2, EdgeKind.PREDECESSOR) == [0]
    assert log.map.neighbours(1, EdgeKind.RIGHT) == [0]
    assert log.map.neighbours(3, EdgeKind.LEFT) == [], "that neighbour runs the other way"
    (paint,) = log.map.of_layer(MapLayer.ROAD_LINE)
    assert (paint.source_id, paint.source_type) == ("2:left", "SOLID_WHITE")
    (crossing,) = log.map.of_layer(MapLayer.CROSSWALK)
    np.testing.assert_array_equal(crossing.points[:, :2], [[5, 0], [5, 8], [8, 8], [8, 0]])
    dropped = {note.reason: note.count for note in log.notes if note.kind == "dropped"}
    assert sorted(dropped.values()) == [1, 1]


def test_a_test_scenario_ends_now(tmp_path: Path) -> None:
    source = write_scenario(tmp_path / "x", rows("AV", "vehicle", 1, range(50), x=0.0))
    log = only_log(source)
    assert log.windows[0].t1_ns == log.windows[0].anchor_ns == 4_900_000_000
    assert len(log.agents.track) == 0


def test_trouble_in_the_tracks(tmp_path: Path) -> None:
    table = rows("7", "vehicle", 1, range(5), x=0.0)
    table[2]["position_x"] = float("nan")
    log = only_log(write_scenario(tmp_path / "x", [*table, table[0]]))
    check_log(log)
    assert log.ego is None
    assert log.agents.valid is not None
    assert log.agents.valid.tolist() == [True, True, False, True, True]
    assert any("step seen before" in note.reason for note in log.notes)
    empty = write_scenario(tmp_path / "y", table)
    parquet.write_table(parquet.read_table(empty).slice(0, 0), empty)
    (rejected,) = argoverse2_motion.read(empty)
    assert isinstance(rejected, Rejected)
    parquet.write_table(pa.table({"a": [1]}), empty)
    with pytest.raises(UnreadableFile, match="track_id"):
        list(argoverse2_motion.read(empty))


def test_the_map_leads_to_its_scenario_and_to_no_sensor_log(source: Path) -> None:
    road_map = source.with_name(f"log_map_archive_{SCENARIO}.json")
    assert list(argoverse2_motion.sources(road_map)) == [source]
    assert list(argoverse2_sensor.sources(source.parent)) == []


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_a_real_scenario() -> None:
    root = Path(os.environ["SCENELAKE_REAL_DATA"]) / "argoverse2"
    (source,) = argoverse2_motion.sources(root)
    log = only_log(source)
    check_log(log)
    table = parquet.read_table(source)
    assert log.ego is not None
    assert len(log.agents.track) + len(log.ego.t_ns) == table.num_rows == 2434
    first = table.slice(0, 1).to_pylist()[0]
    row = list(log.agents.source_track_id).index(first["track_id"])
    at = np.flatnonzero((log.agents.track == row) & (log.agents.t_ns == 0))
    np.testing.assert_array_equal(
        log.agents.xyz[at, :2], [[first["position_x"], first["position_y"]]]
    )

"""SMARTS traffic histories, written here with the tables that SMARTS makes."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import smarts_traffic, stretches
from formats.registry import Rejected
from geometry.angles import difference
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LightState, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.sumo_files import NET

TABLES = """
CREATE TABLE Spec (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE Vehicle (id INTEGER PRIMARY KEY, type INTEGER NOT NULL, length REAL, width REAL,
    height REAL, is_ego_vehicle INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE Trajectory (vehicle_id INTEGER NOT NULL, sim_time REAL NOT NULL,
    position_x REAL NOT NULL, position_y REAL NOT NULL, heading_rad REAL NOT NULL,
    speed REAL DEFAULT 0.0, lane_id INTEGER DEFAULT 0, PRIMARY KEY (vehicle_id, sim_time))
    WITHOUT ROWID;
CREATE TABLE TrafficLightState (sim_time REAL NOT NULL, state INTEGER NOT NULL,
    stop_point_x REAL NOT NULL, stop_point_y REAL NOT NULL, lane INTEGER NOT NULL);
CREATE INDEX Trajectory_Time ON Trajectory (sim_time);
"""
BOX = "BoundingBox(min_pt=Point(x=-0.5, y=-3.2, z=0), max_pt=Point(x=200.0, y=7.0, z=0))"
COURSE = 2.0  # [rad] of the ego, from x


def write_history(path: Path, *, steps: int = 30) -> Path:
    """An ego at 2 rad and a truck that changes lane, 10 Hz, from 7.9 s on; a light."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(TABLES)
        database.executemany(
            "INSERT INTO Spec VALUES (?, ?)",
            [("name", "cross_0400"), ("source_type", "NGSIM"), ("_map_bbox", BOX)],
        )
        database.executemany(
            "INSERT INTO Vehicle VALUES (?, ?, ?, ?, ?, ?)",
            [(17, 2, 4.5, 1.9, None, 1), (40, 3, 12.0, 2.5, 3.5, 0)],
        )
        rows: list[tuple[float, ...]] = []
        for k in range(steps):
            t = round(7.9 + 0.1 * k, 3)
            x, y = 50 + k * np.cos(COURSE), k * np.sin(COURSE)
            rows.append((17, t, x, y, COURSE - np.pi / 2 + 2 * np.pi, 10.0, 2))
            rows.append((40, t, 10.0 + k, -1.6, -np.pi / 2, 10.0, 1 + (k >= 20)))
        database.executemany("INSERT INTO Trajectory VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        database.executemany(
            "INSERT INTO TrafficLightState VALUES (?, ?, ?, ?, ?)",
            [(7.9, 1, 100.0, -1.6, 5), (8.5, 4 | 16, 100.0, -1.6, 5), (0.1, 1, 1.0, 1.0, 5)],
        )
        database.commit()
    return path


def read_one(path: Path) -> Log:
    (log,) = smarts_traffic.read(path)
    assert isinstance(log, Log)
    check_log(log)
    return log


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return smarts_traffic

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "map.net.xml").write_text(NET)
        return write_history(tmp_path / "in" / "cross.shf")


def test_headings_count_from_north(tmp_path: Path) -> None:
    log = read_one(write_history(tmp_path / "cross.shf"))
    assert log.ego is not None
    np.testing.assert_allclose(log.ego.yaw, COURSE, atol=1e-12)
    np.testing.assert_allclose(log.agents.yaw, 0.0, atol=1e-12)
    assert log.agents.velocity is not None
    np.testing.assert_allclose(log.agents.velocity[0], [10.0, 0.0], atol=1e-12)
    assert (log.ego.source_track_id, log.ego.size) == ("17", (4.5, 1.9, 1.6))
    assert log.agents.source_track_id == ["40"]
    assert list(log.agents.cls) == [AgentClass.TRUCK]
    assert list(log.agents.source_cls) == ["3"]


def test_times_are_the_milliseconds_of_the_source(tmp_path: Path) -> None:
    log = read_one(write_history(tmp_path / "cross.shf"))
    np.testing.assert_array_equal(log.agents.t_ns, np.arange(30) * 10**8)
    assert (log.source_log_id, log.extra["first_sim_time_s"]) == ("cross_0400", 7.9)


def test_lights_and_lanes(tmp_path: Path) -> None:
    log = read_one(write_history(tmp_path / "cross.shf"))
    assert log.lights.t_ns.tolist() == [0, 6 * 10**8]
    assert log.lights.state.tolist() == [LightState.RED, LightState.GREEN]
    assert log.lights.arrow.tolist() == [False, True]
    assert log.lights.source_state == ["1", "20"]
    lanes = [(e.source_track_id, e.detail["lane_id"], e.t1_ns) for e in log.events]
    assert lanes == [("17", 2, 29 * 10**8), ("40", 1, 19 * 10**8), ("40", 2, 29 * 10**8)]


def test_the_network_is_found_by_the_ground_that_it_covers(tmp_path: Path) -> None:
    history = write_history(tmp_path / "SMARTS" / "smarts" / "diagnostic" / "cross.shf")
    scenarios = tmp_path / "SMARTS" / "scenarios" / "NGSIM"
    for name, text in (("a", NET.replace("200.00,6.40", "900.00,6.40")), ("b", NET)):
        (scenarios / name).mkdir(parents=True)
        (scenarios / name / "map.net.xml").write_text(text)
    assert scenarios / "b" / "map.net.xml" in list(smarts_traffic.files(history))
    assert len(read_one(history).map.of_layer(MapLayer.LANE)) == 7
    (scenarios / "b" / "map.net.xml").unlink()
    log = read_one(history)
    assert not log.map.features, "a map of another place is none"
    assert any("map.net.xml" in note.reason for note in log.notes)


def test_long_histories_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = write_history(tmp_path / "cross.shf", steps=1300)
    monkeypatch.setattr(stretches, "PART_ROWS", 1000)
    monkeypatch.setattr(smarts_traffic, "FLOW_ROWS", 100)
    parts = [log for log in smarts_traffic.read(history) if isinstance(log, Log)]
    assert [(log.part, log.more) for log in parts] == [(0, True), (1, True), (2, False)]
    for log in parts:
        check_log(log)
    assert sum(len(log.agents.t_ns) for log in parts) == 1300


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.shf"
    other.write_bytes(b"not a database at all" * 10)
    assert list(smarts_traffic.files(other)) == [other]
    with pytest.raises(UnreadableFile, match="no SQLite"):
        list(smarts_traffic.read(other))
    other.unlink()
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE Vehicle (id INTEGER)")
        database.commit()
    with pytest.raises(UnreadableFile, match="Vehicle lacks type"):
        list(smarts_traffic.read(other))


def test_a_history_of_nobody_is_rejected(tmp_path: Path) -> None:
    (found,) = smarts_traffic.read(write_history(tmp_path / "x.shf", steps=0))
    assert isinstance(found, Rejected)


def test_words_among_the_numbers_are_told(tmp_path: Path) -> None:
    history = write_history(tmp_path / "x.shf")
    with closing(sqlite3.connect(history)) as database:
        database.execute("UPDATE Trajectory SET position_x = 'far' WHERE sim_time = 8.0")
        database.execute("INSERT INTO Trajectory VALUES (99, 8.0, 0, 0, 0, 0, 0)")
        database.commit()
    notes = {note.reason: note.count for note in read_one(history).notes}
    assert notes["rows of no vehicle or without a time"] == 1
    assert notes["rows without a finite position and heading"] == 1


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_history() -> None:
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "smarts_ngsim"
    (source,) = smarts_traffic.sources(folder)
    log = read_one(source)
    agents = log.agents
    with closing(sqlite3.connect(f"file:{source}?mode=ro&immutable=1", uri=True)) as database:
        told = database.execute(
            "SELECT vehicle_id, sim_time, position_x, position_y FROM Trajectory "
            "ORDER BY vehicle_id, sim_time"
        ).fetchall()
    assert (len(agents.source_track_id), len(agents.t_ns)) == (200, len(told))
    ids = np.array([int(name) for name in agents.source_track_id])[agents.track]
    order = np.lexsort((agents.t_ns, ids))
    expected = np.array(told)
    np.testing.assert_array_equal(agents.xyz[order, :2], expected[:, 2:])
    np.testing.assert_array_equal(ids[order], expected[:, 0])
    seconds = agents.t_ns[order] / 1e9 + log.extra["first_sim_time_s"]
    np.testing.assert_allclose(seconds, expected[:, 1], atol=1e-9)
    assert len(log.map.of_layer(MapLayer.LANE)) == 25
    step = np.diff(agents.xyz[:, :2], axis=0)
    moving = (np.diff(agents.track) == 0) & (np.hypot(*step.T) > 0.3)
    course = np.arctan2(step[:, 1], step[:, 0])[moving]
    assert np.median(np.abs(difference(course, agents.yaw[:-1][moving]))) < 0.02

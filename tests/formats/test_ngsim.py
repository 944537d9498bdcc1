"""NGSIM: the CSV of all places and the older text files, written here as they are published."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import ngsim, stretches
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

COLUMNS = (
    "Vehicle_ID,Frame_ID,Total_Frames,Global_Time,Local_X,Local_Y,Global_X,Global_Y,v_length,"
    "v_Width,v_Class,v_Vel,v_Acc,Lane_ID,O_Zone,D_Zone,Int_ID,Section_ID,Direction,Movement,"
    "Preceding,Following,Space_Headway,Time_Headway,Location"
)
T0 = 1113433135300  # [ms] 13 April 2005
FOOT = 0.3048
COURSE = np.radians(100.0)
SPEED = 20.0  # [ft/s]
X0, Y0 = 6042842.116, 2133117.662  # [ft]


def row(vehicle: int, step: int, total: int, *, place: str, t0: int = T0, lane: int = 2) -> str:
    """A vehicle that drives at 100°, its front at (X0, Y0) at step 0."""
    x = X0 + SPEED * 0.1 * step * np.cos(COURSE)
    y = Y0 + SPEED * 0.1 * step * np.sin(COURSE)
    route = "101,203,1,0,2,1" if place == "lankershim" else ",,,,,"
    return (
        f"{vehicle},{step + 13},{total},{t0 + 100 * step},16.467,{35.381 + 2 * step:.3f},"
        f"{x:.3f},{y:.3f},14.5,4.9,2,{SPEED:.2f},0.0,{lane},{route},0,0,0.00,0.00,{place}"
    )


def write_csv(folder: Path) -> Path:
    """I-80: id 7 twice and a change of lane; Lankershim: one trip; not in any order."""
    folder.mkdir(parents=True)
    rows = [row(7, k, 40, place="i-80", lane=2 if k < 20 else 3) for k in range(40)]
    rows += [row(7, k, 30, place="i-80") for k in range(100, 130)]
    rows += [row(9, k, 25, place="lankershim", t0=T0 + 10**9) for k in range(25)]
    rows = rows[::2] + rows[1::2]
    path = folder / "trajectories.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return path


def write_text(folder: Path) -> Path:
    """The older layout: blanks, no names, no place."""
    folder.mkdir(parents=True)
    path = folder / "trajectories-0400-0415.txt"
    lines = []
    for k in range(40):
        fields = row(7, k, 40, place="").split(",")
        lines.append("   ".join([*fields[:14], *fields[20:24]]))
    path.write_text("\n".join(lines) + "\n")
    return path


def logs_of(path: Path) -> list[Log]:
    logs = [log for log in ngsim.read(path) if isinstance(log, Log)]
    for log in logs:
        check_log(log)
    return logs


class TestCsv(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return ngsim

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_csv(tmp_path / "in")


class TestText(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return ngsim

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_text(tmp_path / "in")


def test_places_are_logs(tmp_path: Path) -> None:
    one, two = logs_of(write_csv(tmp_path / "in"))
    assert (one.source_log_id, one.location) == ("i-80/20050413T225855Z", "i-80")
    assert (two.location, two.record) == ("lankershim", "lankershim")
    assert one.t0_unix_ns == T0 * 10**6
    assert two.t0_unix_ns == (T0 + 10**9) * 10**6


def test_ids_used_again_are_other_vehicles(tmp_path: Path) -> None:
    log = logs_of(write_csv(tmp_path / "in"))[0]
    assert log.agents.source_track_id == ["7", "7#2"]
    np.testing.assert_array_equal(
        log.agents.t_ns[log.agents.track == 1], np.arange(100, 130) * 10**8
    )
    assert {n.reason: n.count for n in log.notes if n.kind == "renamed"} == {
        "vehicle ids used again get a number after them": 1
    }


def test_the_front_comes_back_from_the_centre(tmp_path: Path) -> None:
    """Feet times 0.3048; the front is half a length ahead of the centre."""
    log = logs_of(write_csv(tmp_path / "in"))[0]
    agents = log.agents
    np.testing.assert_allclose(agents.yaw, COURSE, atol=1e-3)
    ahead = agents.size[:, :1] / 2 * np.column_stack([np.cos(agents.yaw), np.sin(agents.yaw)])
    front = (agents.xyz[:, :2] + ahead)[agents.track == 0] / FOOT
    step = np.arange(40)[:, None]
    told = np.array([X0, Y0]) + 2.0 * step * np.array([np.cos(COURSE), np.sin(COURSE)])
    np.testing.assert_allclose(front, np.round(told, 3), rtol=0, atol=1e-6)
    np.testing.assert_allclose(agents.size[0, :2], [14.5 * FOOT, 4.9 * FOOT], rtol=1e-12)
    assert agents.velocity is not None
    np.testing.assert_allclose(np.hypot(*agents.velocity.T), SPEED * FOOT, rtol=1e-12)
    assert list(agents.cls) == [AgentClass.VEHICLE] * 2
    assert list(agents.source_cls) == ["2", "2"]


def test_lanes_and_trips_are_events(tmp_path: Path) -> None:
    one, two = logs_of(write_csv(tmp_path / "in"))
    lanes = [(e.source_track_id, e.detail["Lane_ID"], e.t0_ns, e.t1_ns) for e in one.events]
    assert lanes[:2] == [("7", 2, 0, 19 * 10**8), ("7", 3, 20 * 10**8, 39 * 10**8)]
    (trip,) = [event for event in two.events if event.name == "trip"]
    assert trip.detail == {"o_zone": "101", "d_zone": "203", "direction": "2", "movement": "1"}


def test_the_text_layout_says_the_same(tmp_path: Path) -> None:
    (text,) = logs_of(write_text(tmp_path / "I-80"))
    csv = logs_of(write_csv(tmp_path / "in"))[0]
    same = csv.agents.track == 0
    np.testing.assert_array_equal(text.agents.xyz, csv.agents.xyz[same])
    np.testing.assert_array_equal(text.agents.t_ns, csv.agents.t_ns[same])
    assert (text.source_log_id, text.location) == ("i-80/20050413T225855Z", "i-80")
    assert logs_of(write_text(tmp_path / "x"))[0].source_log_id == (
        "trajectories-0400-0415/20050413T225855Z"
    )


def test_parts_tell_what_the_whole_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headings and names of vehicles do not depend on where a recording is cut."""
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "long.csv"
    rows = [row(7, k, 1500, place="us-101") for k in range(1500)]
    rows += [row(8, k, 300, place="us-101") for k in range(500, 800)]
    rows += [row(8, k, 200, place="us-101") for k in range(900, 1100)]
    source.write_text("\n".join([COLUMNS, *rows]) + "\n")
    (whole,) = logs_of(source)
    monkeypatch.setattr(stretches, "PART_ROWS", 600)
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    parts = logs_of(source)
    assert [(log.part, log.more) for log in parts] == [(0, True), (1, True), (2, False)]
    for name in ("7", "8", "8#2"):
        for field in ("xyz", "yaw", "t_ns", "velocity"):
            told = [
                getattr(log.agents, field)[
                    log.agents.track == log.agents.source_track_id.index(name)
                ]
                for log in (*parts, whole)
                if name in log.agents.source_track_id
            ]
            np.testing.assert_array_equal(np.concatenate(told[:-1]), told[-1])
    told_events = [e for log in parts for e in log.events if e.name == "trip"]
    assert len(told_events) == sum(e.name == "trip" for e in whole.events)


def test_rows_said_twice_are_kept_once(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in")
    source.write_text(source.read_text() + row(7, 3, 40, place="i-80") + "\n")
    log = logs_of(source)[0]
    assert (log.agents.track == 0).sum() == 40
    assert any("several states" in note.reason and note.count == 1 for note in log.notes)


def test_empty_global_coordinates_give_way_to_local_ones(tmp_path: Path) -> None:
    source = write_text(tmp_path / "in")
    lines = [line.split() for line in source.read_text().splitlines()]
    for fields in lines:
        fields[6:8] = ["0", "0"]
    source.write_text("\n".join(" ".join(fields) for fields in lines) + "\n")
    (log,) = logs_of(source)
    np.testing.assert_allclose(log.agents.yaw, np.pi / 2)
    assert any("Local_X" in note.reason for note in log.notes)


def test_numbers_alone_are_no_trajectories(tmp_path: Path) -> None:
    other = tmp_path / "numbers.txt"
    other.write_text(" ".join(["1"] * 18) + "\n")
    assert list(ngsim.sources(tmp_path)) == []
    with pytest.raises(UnreadableFile, match="no NGSIM"):
        list(ngsim.read(other))

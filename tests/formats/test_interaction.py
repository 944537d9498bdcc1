"""INTERACTION: recorded track files and prediction splits, written here as they are published."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import interaction
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.lanelet_files import straight_road

COLUMNS = "track_id,frame_id,timestamp_ms,agent_type,x,y,vx,vy,psi_rad,length,width"
WALKER_COLUMNS = "track_id,frame_id,timestamp_ms,agent_type,x,y,vx,vy"
SCENARIO = "DR_USA_Intersection_EP0"
COURSE = 2.5  # [rad] of the car
WALK = -0.7  # [rad] of the pedestrian


def write_recorded(folder: Path, *, with_map: bool = True) -> Path:
    """A car for 4 s from 100 ms on, a pedestrian that stands and then walks, and the map."""
    tracks = folder / "recorded_trackfiles" / SCENARIO
    tracks.mkdir(parents=True)
    cos, sin = np.cos(COURSE), np.sin(COURSE)
    rows = [
        f"1,{k},{k * 100},car,{1000 + k * cos:.3f},{990 + k * sin:.3f},{10 * cos:.3f},"
        f"{10 * sin:.3f},{COURSE:.3f},4.52,1.87"
        for k in range(1, 41)
    ]
    (tracks / "vehicle_tracks_000.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    cos, sin = np.cos(WALK), np.sin(WALK)
    rows = [
        f"P1,{k},{k * 100},pedestrian/bicycle,{1010 + max(k - 20, 0) * 0.15 * cos:.3f},"
        f"{980 + max(k - 20, 0) * 0.15 * sin:.3f},0.000,0.000"
        for k in range(3, 61)
    ]
    (tracks / "pedestrian_tracks_000.csv").write_text("\n".join([WALKER_COLUMNS, *rows]) + "\n")
    if with_map:
        straight_road(folder / "maps" / f"{SCENARIO}.osm")
    return tracks / "vehicle_tracks_000.csv"


def write_split(folder: Path) -> Path:
    """Two cases of 40 steps with ids used in both; pedestrians with empty fields."""
    folder.mkdir(parents=True)
    rows = []
    for case in ("1.0", "2.0"):
        rows += [
            f"{case},1,{k},{k * 100},car,{k * 1.0},5.0,10.0,0.0,0.0,4.0,1.8,1,0"
            for k in range(1, 41)
        ]
        rows += [
            f"{case},2,{k},{k * 100},pedestrian/bicycle,3.0,{k * 0.1:.1f},0.0,1.0,,,,0,1"
            for k in range(1, 40 if case == "2.0" else 41)
        ]
    path = folder / f"{SCENARIO}_train.csv"
    header = f"case_id,{COLUMNS},track_to_predict,interesting_agent"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def logs_of(path: Path) -> list[Log]:
    logs = list(interaction.read(path))
    for log in logs:
        assert isinstance(log, Log)
        check_log(log)
    return [log for log in logs if isinstance(log, Log)]


class TestRecorded(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return interaction

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_recorded(tmp_path / "in", with_map=False)


class TestSplit(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return interaction

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_split(tmp_path / "train")


def test_recorded_tracks(tmp_path: Path) -> None:
    (log,) = logs_of(write_recorded(tmp_path / "in"))
    assert (log.dataset, log.source_log_id) == ("interaction", f"{SCENARIO}/000")
    assert (log.location, log.extra) == (SCENARIO, {"first_timestamp_ms": 100})
    agents = log.agents
    assert agents.source_track_id == ["1", "P1"]
    assert list(agents.cls) == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
    assert agents.source_cls == ["car", "pedestrian/bicycle"]
    car, walker = agents.track == 0, agents.track == 1
    assert agents.xyz[car][0, 0] == float(f"{1000 + np.cos(COURSE):.3f}")
    np.testing.assert_array_equal(agents.t_ns[car], np.arange(40) * 10**8)
    np.testing.assert_array_equal(agents.t_ns[walker], np.arange(2, 60) * 10**8)
    np.testing.assert_array_equal(agents.yaw[car], COURSE)
    np.testing.assert_array_equal(agents.size[car][0], [4.52, 1.87, np.nan])
    assert np.isnan(agents.size[walker]).all()
    assert len(log.map.of_layer(MapLayer.LANE)) == 1


def test_headings_of_pedestrians_follow_from_the_motion(tmp_path: Path) -> None:
    (log,) = logs_of(write_recorded(tmp_path / "in"))
    walker = log.agents.track == 1
    np.testing.assert_allclose(log.agents.yaw[walker], WALK, atol=0.02)
    reasons = {note.reason: note.count for note in log.notes if note.kind == "guessed"}
    assert reasons["headings that the file lacks follow from the motion"] == 58


def test_cases_are_logs(tmp_path: Path) -> None:
    one, two = logs_of(write_split(tmp_path / "train"))
    assert (one.source_log_id, one.record) == (f"{SCENARIO}_train/1.0", "1.0")
    assert (two.split, two.location) == ("train", SCENARIO)
    (window,) = two.windows
    assert (window.t0_ns, window.anchor_ns, window.t1_ns) == (0, 9 * 10**8, 39 * 10**8)
    marks = [(event.name, event.source_track_id) for event in two.events]
    assert marks == [("track_to_predict", "1"), ("interesting_agent", "2")]
    np.testing.assert_allclose(two.agents.yaw[two.agents.track == 1], np.pi / 2)
    assert any("DR_USA_Intersection_EP0.osm" in note.reason for note in one.notes)


def test_pedestrians_belong_to_their_vehicles(tmp_path: Path) -> None:
    source = write_recorded(tmp_path / "in")
    assert list(interaction.sources(tmp_path)) == [source]
    source.unlink()
    (alone,) = interaction.sources(tmp_path)
    assert alone.name == "pedestrian_tracks_000.csv"
    (log,) = logs_of(alone)
    assert log.source_log_id.endswith("/pedestrian_tracks_000")


def test_a_broken_map_is_named(tmp_path: Path) -> None:
    source = write_recorded(tmp_path / "in")
    (road,) = [file for file in interaction.files(source) if file.suffix == ".osm"]
    road.write_bytes(road.read_bytes()[:400])
    with pytest.raises(UnreadableFile, match=road.name):
        list(interaction.read(source))


def test_rows_without_a_number_are_told(tmp_path: Path) -> None:
    source = write_split(tmp_path / "train")
    text = source.read_text().replace("1.0,1,3,300,car,3.0,5.0", "1.0,1,3,300,car,,5.0")
    source.write_text(text)
    log = logs_of(source)[0]
    reasons = {note.reason: note.count for note in log.notes}
    assert reasons["rows without a finite position and heading"] == 1


def test_a_word_for_a_number_is_refused(tmp_path: Path) -> None:
    source = write_recorded(tmp_path / "in")
    source.write_text(source.read_text().replace(",4.52,", ",long,", 1))
    with pytest.raises(UnreadableFile, match=r"vehicle_tracks_000\.csv.*long"):
        list(interaction.read(source))


def test_a_file_of_no_rows_is_rejected(tmp_path: Path) -> None:
    source = write_split(tmp_path / "train")
    source.write_text(source.read_text().splitlines()[0] + "\n")
    (found,) = interaction.read(source)
    assert isinstance(found, Rejected)

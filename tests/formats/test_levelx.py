"""highD and the inD family: recordings written here as they are published."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import levelx, stretches
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.lanelet_files import straight_road

HIGHD_COLUMNS = (
    "frame,id,x,y,width,height,xVelocity,yVelocity,xAcceleration,yAcceleration,"
    "frontSightDistance,backSightDistance,dhw,thw,ttc,precedingXVelocity,precedingId,followingId,"
    "leftPrecedingId,leftAlongsideId,leftFollowingId,rightPrecedingId,rightAlongsideId,"
    "rightFollowingId,laneId"
)
HIGHD_META = (
    "id,width,height,initialFrame,finalFrame,numFrames,class,drivingDirection,traveledDistance,"
    "minXVelocity,maxXVelocity,meanXVelocity,minDHW,minTHW,minTTC,numLaneChanges"
)
HIGHD_RECORDING = (
    "id,frameRate,locationId,speedLimit,month,weekDay,startTime,duration,totalDrivenDistance,"
    "totalDrivenTime,numVehicles,numCars,numTrucks,upperLaneMarkings,lowerLaneMarkings"
)
IND_COLUMNS = (
    "recordingId,trackId,frame,trackLifetime,xCenter,yCenter,heading,width,length,xVelocity,"
    "yVelocity,xAcceleration,yAcceleration,lonVelocity,latVelocity,lonAcceleration,latAcceleration"
)
FRAMES = 30


def write_highd(folder: Path) -> Path:
    """A truck to the left at 20 m/s that changes lane, and a car to the right at 30 m/s."""
    folder.mkdir(parents=True)
    zeros = ",0" * 14
    rows = []
    for k in range(FRAMES):
        lane = 2 if k < 10 else 3
        rows.append(
            f"{k + 1},1,{300 - 0.8 * k:.2f},{9.0:.2f},12.00,2.50,-20.00,0.00,0,0{zeros},{lane}"
        )
    rows += [
        f"{k + 1},2,{10 + 1.2 * k:.2f},22.00,4.50,2.00,30.00,-0.30,0,0{zeros},6"
        for k in range(5, FRAMES)
    ]
    (folder / "07_tracks.csv").write_text("\n".join([HIGHD_COLUMNS, *rows]) + "\n")
    (folder / "07_tracksMeta.csv").write_text(
        f"{HIGHD_META}\n"
        f"1,12.00,2.50,1,{FRAMES},{FRAMES},Truck,1,24,-20,-20,-20,-1,-1,-1,1\n"
        f"2,4.50,2.00,6,{FRAMES},{FRAMES - 5},Car,2,30,30,30,30,-1,-1,-1,0\n"
    )
    (folder / "07_recordingMeta.csv").write_text(
        f"{HIGHD_RECORDING}\n7,25,2,33.33,9.2017,Tue,08:38,1.2,54,2.2,2,1,1,"
        "8.00;12.00;16.00,21.00;25.00;29.00\n"
    )
    return folder / "07_tracks.csv"


def write_ind(folder: Path, *, seconds: float = 2.0) -> Path:
    """A car that drives at 120° and a pedestrian without a size, 25 frames a second."""
    folder.mkdir(parents=True)
    rows = []
    count = round(seconds * 25)
    heading = np.radians(120.0)
    for k in range(count):
        x, y = 10 + 0.4 * k * np.cos(heading), -20 + 0.4 * k * np.sin(heading)
        vx, vy = 10 * np.cos(heading), 10 * np.sin(heading)
        rows.append(f"3,0,{k},{k},{x:.5f},{y:.5f},120.0,1.9,4.6,{vx:.5f},{vy:.5f},0,0,10,0,0,0")
    rows += [
        f"3,1,{k},{k - 2},5.5,-6.25,271.5,0.0,0.0,0.0,0.0,0,0,0,0,0,0" for k in range(2, count)
    ]
    (folder / "03_tracks.csv").write_text("\n".join([IND_COLUMNS, *rows]) + "\n")
    (folder / "03_tracksMeta.csv").write_text(
        "recordingId,trackId,initialFrame,finalFrame,numFrames,width,length,class\n"
        f"3,0,0,{count - 1},{count},1.9,4.6,truck_bus\n"
        f"3,1,2,{count - 1},{count - 2},0.0,0.0,pedestrian\n"
    )
    (folder / "03_recordingMeta.csv").write_text(
        "recordingId,locationId,frameRate,speedLimit,weekday,startTime,duration,numTracks,"
        "numVehicles,numVRUs,latLocation,lonLocation,xUtmOrigin,yUtmOrigin,orthoPxToMeter\n"
        "3,4,25.00000,13.88889,tuesday,15,2.0,2,1,1,50.78505,6.13068,297631.3187,5629917.34465,"
        "0.0126999\n"
    )
    return folder / "03_tracks.csv"


def read_one(path: Path) -> Log:
    (log,) = levelx.read(path)
    assert isinstance(log, Log)
    check_log(log)
    return log


class TestHighD(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return levelx

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_highd(tmp_path / "in")


class TestInD(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return levelx

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = write_ind(tmp_path / "in")
        straight_road(source.with_name("location4.osm"), origin=(50.8158, 6.1307))
        return source


def test_highd_boxes_are_turned_upright(tmp_path: Path) -> None:
    """Corner to centre, y down to y up: worked out by hand for the first rows."""
    log = read_one(write_highd(tmp_path / "in"))
    truck, car = (log.agents.track == 0, log.agents.track == 1)
    np.testing.assert_allclose(log.agents.xyz[truck][0], [306.0, -10.25, 0.0], atol=1e-12)
    np.testing.assert_allclose(log.agents.xyz[car][0], [10 + 6.0 + 2.25, -23.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(log.agents.yaw[truck], np.pi)
    np.testing.assert_allclose(log.agents.yaw[car], np.arctan2(0.3, 30.0))
    assert log.agents.velocity is not None
    np.testing.assert_allclose(log.agents.velocity[car][0], [30.0, 0.3])
    np.testing.assert_array_equal(log.agents.size[truck][0], [12.0, 2.5, np.nan])
    assert list(log.agents.cls) == [AgentClass.TRUCK, AgentClass.VEHICLE]
    assert list(log.agents.source_cls) == ["Truck", "Car"]
    assert log.agents.source_track_id == ["1", "2"]


def test_highd_frames_are_exact(tmp_path: Path) -> None:
    log = read_one(write_highd(tmp_path / "in"))
    np.testing.assert_array_equal(
        log.agents.t_ns[log.agents.track == 1], np.arange(5, FRAMES) * 40_000_000
    )
    assert (log.rate_hz, log.extra["first_frame"]) == (25.0, 1)
    assert log.extra["recording"]["weekDay"] == "Tue"
    assert (log.dataset, log.source_log_id, log.location) == ("highd", "07", "highD location 2")


def test_highd_lanes_lie_between_the_markings(tmp_path: Path) -> None:
    log = read_one(write_highd(tmp_path / "in"))
    lanes = {lane.source_id: lane for lane in log.map.of_layer(MapLayer.LANE)}
    assert list(lanes) == ["2", "3", "5", "6"]
    assert len(log.map.of_layer(MapLayer.ROAD_LINE)) == 6
    upper, lower = lanes["2"], lanes["6"]
    np.testing.assert_allclose(upper.points[:, 1], -10.0)
    assert upper.points[0, 0] > upper.points[1, 0], "the upper lanes lead to the left"
    assert lower.points[0, 0] < lower.points[1, 0]
    assert upper.left is not None
    np.testing.assert_allclose(upper.left[:, 1], -12.0)
    assert lower.left is not None
    np.testing.assert_allclose(lower.left[:, 1], -25.0)
    assert upper.speed_limit == 33.33
    assert upper.lane_type == LaneType.FREEWAY
    left = log.map.neighbours(lanes["2"].feature_id, EdgeKind.LEFT)
    assert left == [lanes["3"].feature_id]
    assert log.map.neighbours(lanes["6"].feature_id, EdgeKind.LEFT) == [lanes["5"].feature_id]
    assert log.map.neighbours(lanes["5"].feature_id, EdgeKind.RIGHT) == [lanes["6"].feature_id]


def test_highd_lane_ids_are_intervals(tmp_path: Path) -> None:
    log = read_one(write_highd(tmp_path / "in"))
    told = [(e.source_track_id, e.detail["laneId"], e.t0_ns, e.t1_ns) for e in log.events]
    assert told == [
        ("1", 2, 0, 9 * 40_000_000),
        ("1", 3, 10 * 40_000_000, 29 * 40_000_000),
        ("2", 6, 5 * 40_000_000, 29 * 40_000_000),
    ]


def test_ind_centres_and_headings(tmp_path: Path) -> None:
    source = write_ind(tmp_path / "inD-dataset-v1.1" / "data")
    log = read_one(source)
    assert (log.dataset, log.source_log_id, log.location) == ("ind", "03", "inD location 4")
    car, walker = (log.agents.track == 0, log.agents.track == 1)
    np.testing.assert_array_equal(log.agents.xyz[car][0], [10.0, -20.0, 0.0])
    np.testing.assert_allclose(log.agents.yaw[car], np.radians(120.0))
    np.testing.assert_allclose(log.agents.yaw[walker], np.radians(271.5 - 360.0))
    assert np.isnan(log.agents.size[walker]).all()
    np.testing.assert_array_equal(log.agents.t_ns[walker][:2], [80_000_000, 120_000_000])
    assert list(log.agents.cls) == [AgentClass.TRUCK, AgentClass.PEDESTRIAN]
    assert log.extra["recording"]["xUtmOrigin"] == "297631.3187"
    kinds = [(note.kind, note.reason) for note in log.notes]
    assert any(k == "missing" and "no size" in r for k, r in kinds)
    assert any(k == "missing" and "location4.osm" in r for k, r in kinds)
    assert any(k == "dropped" and "lonAcceleration" in r for k, r in kinds)


def test_the_map_of_the_place_is_taken(tmp_path: Path) -> None:
    source = write_ind(tmp_path / "inD" / "data")
    straight_road(
        tmp_path / "inD" / "maps" / "lanelet2" / "x" / "location4.osm", origin=(50.8158, 6.1307)
    )
    straight_road(tmp_path / "inD" / "maps" / "lanelet2" / "x" / "location1.osm")
    log = read_one(source)
    (lane,) = log.map.of_layer(MapLayer.LANE)
    assert np.abs(lane.points[:, :2]).max() < 5000.0, "metres from the recording's UTM origin"
    assert len(list(levelx.files(source))) == 4


def test_rates_that_do_not_divide_a_second(tmp_path: Path) -> None:
    source = write_ind(tmp_path / "in")
    meta = source.with_name("03_recordingMeta.csv")
    meta.write_text(meta.read_text().replace("25.00000", "29.97"))
    t_ns = read_one(source).agents.t_ns[:3]
    np.testing.assert_array_equal(t_ns, [0, 33366700, 66733400])


def test_long_recordings_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_ind(tmp_path / "in", seconds=130.0)
    whole = read_one(source)
    monkeypatch.setattr(stretches, "PART_ROWS", 1000)
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    parts = [log for log in levelx.read(source) if isinstance(log, Log)]
    assert [(log.part, log.more) for log in parts] == [(0, True), (1, True), (2, False)]
    for log in parts:
        check_log(log)
        assert log.agents.t_ns.min() >= log.part * 60 * 10**9
        assert log.agents.t_ns.max() < (log.part + 1) * 60 * 10**9
        assert log.map is parts[0].map
    for track in (0, 1):
        told = np.concatenate([log.agents.xyz[log.agents.track == track] for log in parts])
        np.testing.assert_array_equal(told, whole.agents.xyz[whole.agents.track == track])


def test_packed_files(tmp_path: Path) -> None:
    source = write_highd(tmp_path / "in")
    for file in list(levelx.files(source)):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    (found,) = levelx.sources(tmp_path)
    assert found.name == "07_tracks.csv.gz"
    assert read_one(found).source_log_id == "07"


@pytest.mark.parametrize("suffix", ["tracksMeta", "recordingMeta"])
def test_missing_companions_are_named(tmp_path: Path, suffix: str) -> None:
    source = write_highd(tmp_path / "in")
    source.with_name(f"07_{suffix}.csv").unlink()
    with pytest.raises(UnreadableFile, match=rf"07_{suffix}\.csv.*is missing"):
        list(levelx.read(source))


def test_rows_cut_off_between_lines_are_missed(tmp_path: Path) -> None:
    source = write_highd(tmp_path / "in")
    source.write_text("\n".join(source.read_text().splitlines()[:-3]) + "\n")
    with pytest.raises(UnreadableFile, match="ends too early"):
        list(levelx.read(source))


def test_bad_rows_are_told(tmp_path: Path) -> None:
    source = write_highd(tmp_path / "in")
    lines = source.read_text().splitlines()
    lines[3] = lines[3].replace("298.40", "nan", 1)
    lines[4] = lines[4].replace("297.60", "inf", 1)
    lines.append(lines[-1])
    source.write_text("\n".join(lines))
    log = read_one(source)
    reasons = {note.reason: note.count for note in log.notes}
    assert reasons["rows without a finite position and heading"] == 2
    assert any("several states" in reason for reason in reasons)
    assert any("no end" in reason for reason in reasons)


@pytest.mark.parametrize("rate", ["0", "-25", "nan", "fast"])
def test_a_senseless_frame_rate_is_refused(tmp_path: Path, rate: str) -> None:
    source = write_highd(tmp_path / "in")
    meta = source.with_name("07_recordingMeta.csv")
    meta.write_text(meta.read_text().replace("7,25,", f"7,{rate},"))
    with pytest.raises(UnreadableFile, match="frameRate"):
        list(levelx.read(source))


def test_words_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    source = write_highd(tmp_path / "in")
    meta = source.with_name("07_tracksMeta.csv")
    meta.write_bytes(meta.read_bytes().replace(b"Truck", b"Tr\xfcck"))
    with pytest.raises(UnreadableFile, match=r"UTF-?8"):
        list(levelx.read(source))


def test_a_recording_of_nobody_is_rejected(tmp_path: Path) -> None:
    source = write_highd(tmp_path / "in")
    source.write_text(HIGHD_COLUMNS + "\n")
    meta = source.with_name("07_tracksMeta.csv")
    meta.write_text(f"{HIGHD_META}\n1,12.00,2.50,1,0,0,Truck,1,24,-20,-20,-20,-1,-1,-1,1\n")
    (found,) = levelx.read(source)
    assert isinstance(found, Rejected)

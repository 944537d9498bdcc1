"""ASAM OSI traces: what is written message by message is read, and what is broken is named."""

from __future__ import annotations

import gzip
import lzma
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import osi
from formats.osi_protos import VEHICLE_TYPES, word_of
from formats.registry import Reader, Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, EdgeKind, LaneType, LightState, MapLayer, Weather
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.osi_files import (
    PLACE,
    STEP_NS,
    message,
    mover,
    road,
    stamp,
    truths,
    views,
    write_osi,
    write_osi_mcap,
)

REAL = os.environ.get("SCENELAKE_REAL_DATA")
T0_NS = 100_000_000
ROAD = """<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="6"/>
<road name="" length="100" id="1" junction="-1">
<planView><geometry s="0" x="0" y="0" hdg="0" length="100"><line/></geometry></planView>
<lanes><laneSection s="0"><center><lane id="0" type="none" level="false"/></center>
<right><lane id="-1" type="driving" level="false"><width sOffset="0" a="3.5" b="0" c="0" d="0"/>
</lane></right></laneSection></lanes></road></OpenDRIVE>"""


class TestOsi(ReaderContract):
    @pytest.fixture
    def module(self) -> Reader:
        return osi

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_osi(tmp_path / "in" / "20260101T000000Z_gt_370_300_5_drive.osi", truths())


class TestOsiMcap(ReaderContract):
    @pytest.fixture
    def module(self) -> Reader:
        return osi

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_osi_mcap(tmp_path / "in" / "trace.mcap", {"ground_truth": truths()})


def one(path: Path) -> Log:
    (log,) = osi.read(path)
    assert isinstance(log, Log)
    check_log(log)
    return log


def notes(log: Log) -> str:
    return "\n".join(f"{note.kind}: {note.reason}" for note in log.notes)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return one(write_osi(tmp_path / "trace.osi", truths()))


class TestStates:
    def test_the_host_is_the_ego(self, log: Log) -> None:
        ego = log.ego
        assert ego is not None
        assert ego.source_track_id == "7"
        assert ego.source_cls == "TYPE_VEHICLE TYPE_CAR".replace("CAR", "MEDIUM_CAR")
        np.testing.assert_array_equal(ego.t_ns, np.arange(5) * STEP_NS)
        np.testing.assert_array_equal(ego.xyz[:, 0], 400_000.125 + np.arange(5))
        np.testing.assert_array_equal(ego.xyz[:, 1:], [[5_000_000.5, 0.75]] * 5)
        assert ego.size == (4.5, 1.8, 1.5)
        np.testing.assert_allclose(ego.acceleration, 1.0)
        np.testing.assert_allclose(ego.yaw_rate, 0.02)
        np.testing.assert_array_equal(ego.velocity, [[10.0, 0.5]] * 5)

    def test_others_keep_ids_and_stamps(self, log: Log) -> None:
        agents = log.agents
        assert list(agents.source_track_id) == ["8", "9"]
        assert list(agents.cls) == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
        assert list(agents.source_cls) == ["TYPE_VEHICLE TYPE_MEDIUM_CAR", "TYPE_PEDESTRIAN"]
        walker = agents.track == 1
        np.testing.assert_array_equal(agents.t_ns[walker], np.arange(2, 5) * STEP_NS)
        np.testing.assert_array_equal(agents.xyz[walker, 1], 5_000_010.0 - 0.1 * np.arange(2, 5))
        assert log.extra["source_t0_ns"] == T0_NS
        assert log.rate_hz == 20.0

    def test_place_and_weather(self, log: Log) -> None:
        assert log.epsg == 25832
        assert log.location == "country 276"
        assert log.weather is Weather.RAIN
        assert log.daylight is Daylight.NIGHT
        assert log.t0_unix_ns is None
        assert log.extra["osi_version"] == "3.7.0"

    def test_stamps_since_1970_tell_when_it_began(self, tmp_path: Path) -> None:
        begin = 1_700_000_000_123_456_789
        log = one(write_osi(tmp_path / "trace.osi", truths(t0_ns=begin)))
        assert log.t0_unix_ns == begin
        assert log.ego is not None
        assert [int(t) + begin for t in log.ego.t_ns][-1] == begin + 4 * STEP_NS

    def test_attitude_is_yaw_then_pitch_then_roll(self, tmp_path: Path) -> None:
        tilted = mover(7, 0.0, 0.0, base={"orientation": {"roll": 0.1, "pitch": 0.2, "yaw": 0.3}})
        told = message(
            "GroundTruth", timestamp=stamp(0), host_vehicle_id=7, moving_object=[tilted]
        )
        ego = one(write_osi(tmp_path / "trace.osi", [told])).ego
        assert ego is not None
        assert ego.quaternion is not None
        w, x, y, z = ego.quaternion[0]
        assert math.asin(2 * (w * y - z * x)) == pytest.approx(0.2)
        assert math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)) == pytest.approx(0.1)
        assert math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) == pytest.approx(0.3)

    def test_lights_of_vehicles_become_events(self, tmp_path: Path) -> None:
        told = []
        for k in range(4):
            on = {"type": 4, "light_state": {"indicator_state": 3 if k in (1, 2) else 2}}
            told.append(
                message(
                    "GroundTruth", timestamp=stamp(k * STEP_NS),
                    moving_object=[mover(8, float(k), 0.0, vehicle_classification=on)],
                )
            )  # fmt: skip
        log = one(write_osi(tmp_path / "trace.osi", told))
        (event,) = log.events
        assert event.name == "INDICATOR_STATE_LEFT"
        assert (event.t0_ns, event.t1_ns, event.source_track_id) == (STEP_NS, 2 * STEP_NS, "8")
        assert "does not name the host" in notes(log)


class TestRoad:
    def test_lanes_run_as_they_are_driven(self, log: Log) -> None:
        lanes = {f.source_id: f for f in log.map.of_layer(MapLayer.LANE)}
        assert set(lanes) == {"1", "2", "3", "4"}
        against = lanes["1"]
        np.testing.assert_array_equal(against.points[:, 0] - PLACE[0], [50.0, 0.0])
        assert against.left is not None
        assert against.right is not None
        assert (against.left[0] - [*PLACE, 0.0]).tolist() == [50.0, 1.75, 0.0]
        assert (against.right[0] - [*PLACE, 0.0]).tolist() == [50.0, 5.25, 0.0]
        assert lanes["2"].lane_type is LaneType.VEHICLE
        assert lanes["2"].source_type == "TYPE_DRIVING SUBTYPE_NORMAL"

    def test_graph(self, log: Log) -> None:
        ids = {f.source_id: f.feature_id for f in log.map.of_layer(MapLayer.LANE)}
        assert log.map.neighbours(ids["2"], EdgeKind.SUCCESSOR) == [ids["4"]]
        assert log.map.neighbours(ids["4"], EdgeKind.PREDECESSOR) == [ids["2"]]
        assert log.map.neighbours(ids["2"], EdgeKind.RIGHT) == [ids["3"]]
        assert log.map.neighbours(ids["3"], EdgeKind.LEFT) == [ids["2"]]
        assert log.map.neighbours(ids["2"], EdgeKind.LEFT) == []
        assert "opposite direction" in notes(log)

    def test_lines_signs_and_things(self, log: Log) -> None:
        words = {(f.layer, f.source_id): f.source_type for f in log.map.features}
        assert words[MapLayer.ROAD_LINE, "10"] == "TYPE_DASHED_LINE COLOR_WHITE"
        assert words[MapLayer.ROAD_EDGE, "12"] == "TYPE_ROAD_EDGE"
        assert words[MapLayer.STOP_SIGN, "50"] == "TYPE_STOP"
        assert words[MapLayer.TRAFFIC_LIGHT, "60"] == "COLOR_RED ICON_NONE"
        assert words[MapLayer.OTHER, "80"] == "STATIONARY TYPE_BUILDING"
        (line,) = log.map.of_layer(MapLayer.STOP_LINE)
        assert sorted((line.points[:, 1] - PLACE[1]).tolist()) == [-5.25, 1.75]
        lanes = {f.feature_id: f.source_id for f in log.map.of_layer(MapLayer.LANE)}
        stops = log.map.neighbours(line.feature_id, EdgeKind.STOP_LINE_OF_LANE)
        assert {lanes[stop] for stop in stops} == {"2", "3"}

    def test_bulbs_of_a_lane_make_one_light(self, log: Log) -> None:
        lights = log.lights
        assert list(lights.source_lane_id) == ["2"]
        assert lights.state.tolist() == [LightState.RED]
        assert lights.source_state[0] == (
            "COLOR_RED MODE_CONSTANT + COLOR_YELLOW MODE_CONSTANT + COLOR_GREEN MODE_OFF"
        )

    def test_logical_lanes_and_their_graph(self, tmp_path: Path) -> None:
        def line(key: int, y: float, x0: float) -> dict[str, Any]:
            points = [{"position": (x0, y, 0.0)}, {"position": (x0 + 50.0, y, 0.0)}]
            return {"id": key, "boundary_line": points}

        limit = {"speed_limit": {"speed_limit_value": {"value": 50.0, "value_unit": 3}}}
        lanes = [
            {"id": 101, "type": 2, "move_direction": 2, "right_boundary_id": [201],
             "left_boundary_id": [202], "successor_lane": [{"other_lane_id": 103}],
             "physical_lane_reference": [{"physical_lane_id": 2}], "traffic_rule": [limit],
             "left_adjacent_lane": [{"other_lane_id": 102}],
             "overlapping_lane": [{"other_lane_id": 103}]},
            {"id": 102, "type": 2, "move_direction": 3, "right_boundary_id": [202],
             "left_boundary_id": [203]},
            {"id": 103, "type": 3, "move_direction": 2, "right_boundary_id": [204],
             "left_boundary_id": [205]},
        ]  # fmt: skip
        truth = message(
            "GroundTruth", timestamp=stamp(0), moving_object=[mover(8, 0.0, 0.0)],
            logical_lane=lanes,
            logical_lane_boundary=[
                line(201, -2.0, 0.0), line(202, 2.0, 0.0), line(203, 6.0, 0.0),
                line(204, -2.0, 50.0), line(205, 2.0, 50.0),
            ],
            reference_line=[{"id": 300, "poly_line": [
                {"world_position": (0.0, 0.0, 0.0)}, {"world_position": (9.0, 0.0, 0.0)}]}],
        )  # fmt: skip
        truth.MergeFrom(road())
        log = one(write_osi(tmp_path / "trace.osi", [truth]))
        found = {f.source_id: f for f in log.map.of_layer(MapLayer.LANE)}
        assert set(found) == {"101", "102", "103", "1", "3", "4"}, "lane 2 is told by 101"
        np.testing.assert_allclose(found["101"].points, [[0, 0, 0], [50, 0, 0]])
        np.testing.assert_allclose(found["102"].points, [[50, 4, 0], [0, 4, 0]])
        assert found["101"].speed_limit == pytest.approx(50 / 3.6)
        assert found["103"].lane_type is LaneType.BIKE
        ids = {name: f.feature_id for name, f in found.items()}
        assert log.map.neighbours(ids["101"], EdgeKind.SUCCESSOR) == [ids["103"]]
        assert log.map.neighbours(ids["101"], EdgeKind.CONFLICT) == [ids["103"]]
        assert log.map.neighbours(ids["101"], EdgeKind.LEFT) == []
        assert list(log.lights.source_lane_id) == ["101"], "lights of lane 2 are those of 101"

    def test_an_intersection_without_lanes(self, tmp_path: Path) -> None:
        corners = [(10.0, 0.0), (20.0, 0.0), (20.0, 10.0), (10.0, 10.0)]
        sides = [
            {"id": 30 + k, "boundary_line": [(*a, 0.0), (*b, 0.0)], "classification": {"type": 6}}
            for k, (a, b) in enumerate(zip(corners, corners[1:] + corners[:1], strict=True))
        ]
        sides[2]["boundary_line"].reverse()
        about = {"type": 2, "centerline_is_driving_direction": True}
        lanes = [
            {"id": 1, "classification": about | {"centerline": [(0, 5, 0), (10, 5, 0)]}},
            {"id": 2, "classification": about | {"centerline": [(20, 5, 0), (30, 5, 0)]}},
            {"id": 3, "classification": {
                "type": 4, "free_lane_boundary_id": [30, 32, 31, 33],
                "lane_pairing": [{"antecessor_lane_id": 1, "successor_lane_id": 2}]}},
        ]  # fmt: skip
        truth = message(
            "GroundTruth", timestamp=stamp(0), moving_object=[mover(8, 0.0, 0.0)], lane=lanes,
            lane_boundary=sides,
        )  # fmt: skip
        log = one(write_osi(tmp_path / "trace.osi", [truth]))
        (area,) = log.map.of_layer(MapLayer.INTERSECTION)
        x, y = area.points[:, 0], area.points[:, 1]
        area_m2 = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
        assert area_m2 == pytest.approx(100.0)
        one_, two = (f.feature_id for f in log.map.of_layer(MapLayer.LANE))
        assert log.map.neighbours(one_, EdgeKind.SUCCESSOR) == [two]
        assert "across an intersection" in notes(log)


class TestContainers:
    @pytest.mark.parametrize("suffix", [".gz", ".xz", ".lzma"])
    def test_packed_traces(self, tmp_path: Path, suffix: str) -> None:
        plain = write_osi(tmp_path / "trace.osi", truths())
        data = plain.read_bytes()
        packed = plain.with_name(plain.name + suffix)
        packed.write_bytes(gzip.compress(data) if suffix == ".gz" else lzma.compress(data))
        plain.unlink()
        assert list(osi.sources(tmp_path)) == [packed]
        assert one(packed).source_log_id == f"{tmp_path.name}/trace"
        packed.write_bytes(packed.read_bytes()[:-30])
        with pytest.raises(UnreadableFile):
            list(osi.read(packed))

    @pytest.mark.parametrize("name", ["a_sv_b.osi", "untold.osi"])
    def test_sensor_views_hold_the_truth(self, tmp_path: Path, name: str) -> None:
        told = views()
        for view, truth in zip(told, truths(3), strict=True):
            view.global_ground_truth.CopyFrom(truth)
        log = one(write_osi(tmp_path / name, told))
        assert log.ego is not None
        assert len(log.ego.t_ns) == 3
        (sensor,) = log.sensors
        assert sensor.channel == "sensor 3"
        assert sensor.ego_from_sensor is not None
        np.testing.assert_allclose(sensor.ego_from_sensor, [1.5, 0, 1.2, 1, 0, 0, 0])

    def test_detections_alone_are_refused(self, tmp_path: Path) -> None:
        told = message("SensorData", timestamp=stamp(0), moving_object=[{}, {}])
        (rejected,) = osi.read(write_osi(tmp_path / "a_sd_b.osi", [told]))
        assert isinstance(rejected, Rejected)
        assert any("no place in the world" in note.reason for note in rejected.notes)

    def test_sensor_data_by_its_view(self, tmp_path: Path) -> None:
        data = message("SensorData", timestamp=stamp(0), moving_object=[{}], sensor_view=[{}])
        data.sensor_view[0].global_ground_truth.CopyFrom(truths(1)[0])
        log = one(write_osi(tmp_path / "a_sd_b.osi", [data]))
        assert log.ego is not None
        assert "detections beside the ground truth" in notes(log)

    def test_other_topics_are_told_and_zero_time_is_used(self, tmp_path: Path) -> None:
        chart = message("MapAsamOpenDrive", map_reference="m", open_drive_xml_content="<x/>")
        path = write_osi_mcap(
            tmp_path / "trace.mcap",
            {"truth": truths(), "view": views(), "map": [chart]},
            metadata={"zero_time": "2026-01-02T03:04:05.5Z"},
        )
        log = one(path)
        assert log.record == "truth"
        assert log.t0_unix_ns == 1_767_323_045_500_000_000 + T0_NS
        assert "the embedded map: the trace tells lanes of its own" in notes(log)
        views_left = [note for note in log.notes if "view (osi3.SensorView)" in note.reason]
        assert [note.count for note in views_left] == [3]

    def test_an_embedded_map_and_one_beside(self, tmp_path: Path) -> None:
        told = message("GroundTruth", timestamp=stamp(0), moving_object=[mover(8, 5.0, -1.75)])
        chart = message("MapAsamOpenDrive", map_reference="m", open_drive_xml_content=ROAD)
        within = one(write_osi_mcap(tmp_path / "a.mcap", {"map": [chart], "truth": [told]}))
        (tmp_path / "road.xodr").write_text(ROAD)
        told.map_reference = "../elsewhere/road.xodr"
        beside = one(write_osi(tmp_path / "b.osi", [told]))
        for log in (within, beside):
            (lane,) = log.map.of_layer(MapLayer.LANE)
            np.testing.assert_allclose(lane.points[[0, -1], :2], [[0, -1.75], [100, -1.75]])
        (tmp_path / "road.xodr").write_text("<nothing/>")
        assert one(tmp_path / "b.osi").map.features == ()
        chart.open_drive_xml_content = "no map"
        broken = one(write_osi_mcap(tmp_path / "c.mcap", {"map": [chart], "truth": [told]}))
        assert "missing: the OpenDRIVE map of the trace" in notes(broken)

    def test_a_robot_recording_is_not_ours(self, tmp_path: Path) -> None:
        from mcap.writer import Writer

        path = tmp_path / "bag.mcap"
        with path.open("wb") as file:
            writer = Writer(file)
            writer.start()
            writer.register_schema("std_msgs/msg/Bool", "ros2msg", b"bool data")
            writer.finish()
        assert list(osi.sources(tmp_path)) == []
        with pytest.raises(UnreadableFile, match="no topic with ground truth"):
            list(osi.read(path))


class TestBadInput:
    def test_a_trace_cut_within_a_message(self, tmp_path: Path) -> None:
        path = write_osi(tmp_path / "trace.osi", truths())
        path.write_bytes(path.read_bytes()[:-10])
        log, rejected = osi.read(path)
        assert isinstance(log, Log)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 4
        assert isinstance(rejected, Rejected)
        assert rejected.record == "message 4"

    def test_a_message_that_is_none(self, tmp_path: Path) -> None:
        frames = [told.SerializeToString() for told in truths()]
        frames[2] = b"\xff" * 20
        path = tmp_path / "trace.osi"
        path.write_bytes(b"".join(struct.pack("<I", len(f)) + f for f in frames))
        log, rejected = osi.read(path)
        assert isinstance(log, Log)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 4
        assert isinstance(rejected, Rejected)

    def test_a_clock_that_falls_back_cuts_the_trace(self, tmp_path: Path) -> None:
        told = [*truths(3, t0_ns=10**10), *truths(3, t0_ns=0)]
        log, rejected = osi.read(write_osi(tmp_path / "trace.osi", told))
        assert isinstance(log, Log)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 3
        assert isinstance(rejected, Rejected)
        assert "10.100 s" in rejected.reason

    def test_states_that_are_of_no_use_are_counted(self, tmp_path: Path) -> None:
        movers = [mover(8, 0.0, 0.0), mover(8, 1.0, 0.0), mover(9, math.nan, 0.0), {"id": 10}]
        told = message("GroundTruth", timestamp=stamp(0), moving_object=movers)
        same = message("GroundTruth", timestamp=stamp(0), moving_object=[mover(8, 5.0, 0.0)])
        log = one(write_osi(tmp_path / "trace.osi", [told, same]))
        assert list(log.agents.source_track_id) == ["8"]
        assert log.agents.xyz[:, 0].tolist() == [0.0]
        assert {note.count for note in log.notes if "finite position" in note.reason} == {2}
        assert "an id that the message has already" in notes(log)
        assert "not later than the one before" in notes(log)

    def test_values_of_a_newer_release_keep_their_number(self) -> None:
        assert word_of(VEHICLE_TYPES, "TYPE_", 99) == "TYPE_99"

    def test_a_foreign_file_of_that_name(self, tmp_path: Path) -> None:
        path = tmp_path / "x.osi"
        path.write_bytes(b"<?xml version='1.0'?><x/>")
        assert list(osi.sources(tmp_path)) == []
        with pytest.raises(UnreadableFile):
            list(osi.read(path))


def test_long_traces_come_in_parts(tmp_path: Path) -> None:
    told = [
        message("GroundTruth", timestamp=stamp(k * 10**9), moving_object=[mover(8, float(k), 0.0)])
        for k in range(150)
    ]
    told[0].MergeFrom(road())
    parts = list(osi.read(write_osi(tmp_path / "trace.osi", told)))
    assert all(isinstance(part, Log) for part in parts)
    logs = [part for part in parts if isinstance(part, Log)]
    assert [(log.part, log.more) for log in logs] == [(0, True), (1, True), (2, False)]
    assert [len(log.agents.t_ns) for log in logs] == [60, 60, 30]
    assert logs[1].agents.t_ns[0] == 60 * 10**9
    assert logs[0].map is logs[2].map


def test_crowded_traces_come_in_short_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [
        message("GroundTruth", timestamp=stamp(k * 10**9), moving_object=[mover(8, float(k), 0.0)])
        for k in range(45)
    ]
    path = write_osi(tmp_path / "trace.osi", told)
    monkeypatch.setattr(osi, "PART_ROWS", 12)
    logs = [part for part in osi.read(path) if isinstance(part, Log)]
    assert [log.agents.t_ns[0] // 10**9 for log in logs] == [0, 20, 40]
    assert [len(log.agents.t_ns) for log in logs] == [20, 20, 5]
    assert [log.more for log in logs] == [True, True, False]


@pytest.mark.skipif(REAL is None, reason="SCENELAKE_REAL_DATA is not set")
class TestRealTraces:
    def test_every_state_of_every_trace(self) -> None:
        folder = Path(str(REAL)) / "osi_omega_prime"
        found = list(osi.sources(folder))
        assert [path.name for path in found] == [
            "acc-test.osi", "alks_cut-in.osi", "highway_merge.osi", "osi_centerline_example.mcap",
            "pedestrian.osi",
        ]  # fmt: skip
        rows = {}
        for path in found:
            log = one(path)
            rows[path.name] = len(log.agents.t_ns) + (0 if log.ego is None else len(log.ego.t_ns))
            if path.suffix == ".osi":
                assert rows[path.name] == sum(1 for frame in _frames(path) for _ in _movers(frame))
        assert rows["osi_centerline_example.mcap"] == 622

    def test_the_csv_of_the_pedestrian_trace(self) -> None:
        """Omega-prime's own table of the same trace."""
        folder = Path(str(REAL)) / "osi_omega_prime" / "example_files"
        log = one(folder / "pedestrian.osi")
        lines = (folder / "example.csv").read_text().splitlines()
        names = lines[0].split(",")
        table = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
        theirs = {
            (row["idx"], int(row["total_nanos"])): [float(row[n]) for n in ("x", "y", "z")]
            for row in table
        }
        agents = log.agents
        assert len(theirs) == len(agents.t_ns)
        for track, t_ns, xyz in zip(agents.track, agents.t_ns, agents.xyz, strict=True):
            told = theirs[agents.source_track_id[track], int(t_ns)]
            np.testing.assert_allclose(xyz, told, atol=1e-9)


def _frames(path: Path) -> Iterator[bytes]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _movers(frame: bytes) -> Iterator[bytes]:
    """Field 5 of a ground truth, by the wire format alone."""
    at = 0
    while at < len(frame):
        key, at = _varint(frame, at)
        if key & 7 == 2:
            size, at = _varint(frame, at)
            if key >> 3 == 5:
                yield frame[at : at + size]
            at += size
        else:
            _, at = _varint(frame, at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at

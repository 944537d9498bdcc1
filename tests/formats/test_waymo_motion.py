"""Waymo scenarios: read against messages built by hand, written and read again, and broken."""

import gzip
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from formats import waymo_motion
from formats.registry import Rejected
from formats.tfrecord import Record, read_records, write_records
from formats.waymo import LIGHTS, begins_as_scenario
from formats.waymo_protos import enum_words, scenario_class
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.builders import make_crossing_log, make_straight_log
from tests.contracts import ReaderContract, check_log

STEPS = 5


def scenario_message(name: str = "abc123") -> Any:
    """Ego (id 7) and a pedestrian (id 9, seen at steps 1 and 3), two lanes, a signal, a sign."""
    scenario = scenario_class()(
        scenario_id=name, sdc_track_index=1, current_time_index=2, objects_of_interest=[9]
    )
    scenario.timestamps_seconds.extend(0.1 * k for k in range(STEPS))
    walker = scenario.tracks.add(id=9, object_type=2)
    car = scenario.tracks.add(id=7, object_type=1)
    ghost = scenario.tracks.add(id=11, object_type=3)
    for k in range(STEPS):
        walker.states.add(
            center_x=-5000.25, center_y=3.0 + k, center_z=1.0, length=0.5, width=0.5, height=1.75,
            heading=1.5, velocity_x=0.0, velocity_y=10.0, valid=k in (1, 3),
        )  # fmt: skip
        car.states.add(
            center_x=-5010.0 + k, center_y=0.0, center_z=0.5, length=4.5, width=2.0, height=1.5,
            heading=0.25, velocity_x=10.0, velocity_y=0.0, valid=True,
        )  # fmt: skip
        ghost.states.add(valid=False)
        step = scenario.dynamic_map_states.add()
        step.lane_states.add(lane=100, state=7 if k % 2 else 1, stop_point={"x": 1.0, "y": 2.0})
    scenario.tracks_to_predict.add(track_index=0, difficulty=2)
    lane = scenario.map_features.add(id=100).lane
    lane.type, lane.speed_limit_mph, lane.interpolating = 1, 25.0, True
    for x in range(6):
        lane.polyline.add(x=x, y=0.0, z=0.5)
    lane.exit_lanes.extend([101, 999])
    lane.left_neighbors.add(feature_id=101, self_end_index=5, neighbor_end_index=1)
    lane.left_boundaries.add(lane_start_index=0, lane_end_index=3, boundary_feature_id=200)
    lane.left_boundaries.add(lane_start_index=3, lane_end_index=5, boundary_feature_id=201)
    lane.right_boundaries.add(lane_start_index=0, lane_end_index=2, boundary_feature_id=200)
    other = scenario.map_features.add(id=101).lane
    other.polyline.add(x=5.0, y=0.0)
    other.polyline.add(x=9.0, y=0.0)
    other.entry_lanes.append(100)
    line = scenario.map_features.add(id=200).road_line
    line.type = 2
    for x, y in ((-10.0, 2.0), (3.0, 2.0)):
        line.polyline.add(x=x, y=y, z=1.0)
    edge = scenario.map_features.add(id=201).road_edge
    edge.type = 1
    for x, y in ((3.0, 2.0), (30.0, 2.0)):
        edge.polyline.add(x=x, y=y, z=1.0)
    sign = scenario.map_features.add(id=300).stop_sign
    sign.position.x = 4.0
    sign.lane.append(100)
    for k, kind in enumerate(("crosswalk", "speed_bump", "driveway")):
        area = getattr(scenario.map_features.add(id=301 + k), kind)
        for x, y in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
            area.polygon.add(x=x, y=y)
    scenario.map_features.add(id=400)
    return scenario


def write(path: Path, *messages: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, [message.SerializeToString() for message in messages])
    return path


def read_one(path: Path) -> Log:
    (log,) = waymo_motion.read(path)
    assert isinstance(log, Log)
    return log


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return waymo_motion

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in" / "training.tfrecord-00000-of-01000", scenario_message())


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return read_one(write(tmp_path / "x.tfrecord", scenario_message()))


def test_tracks_live_from_first_to_last_sight(log: Log) -> None:
    agents = log.agents
    assert list(agents.source_track_id) == ["9"]
    assert agents.cls == [AgentClass.PEDESTRIAN]
    assert agents.source_cls == ["TYPE_PEDESTRIAN"]
    np.testing.assert_array_equal(agents.t_ns, [100_000_000, 200_000_000, 300_000_000])
    assert agents.valid is not None
    np.testing.assert_array_equal(agents.valid, [True, False, True])
    np.testing.assert_array_equal(agents.xyz[0], [-5000.25, 4.0, 1.0])
    np.testing.assert_array_equal(agents.size[0], [0.5, 0.5, 1.75])
    assert any("not observed at any step" in note.reason for note in log.notes)


def test_ego_window_and_events(log: Log) -> None:
    assert log.ego is not None
    assert log.ego.source_track_id == "7"
    assert log.ego.size == (4.5, 2.0, 1.5)
    np.testing.assert_allclose(log.ego.xyz[:, 0], -5010.0 + np.arange(STEPS))
    (window,) = log.windows
    assert (window.t0_ns, window.anchor_ns, window.t1_ns) == (0, 200_000_000, 400_000_000)
    predicted, interest = log.events
    assert (predicted.name, predicted.source_track_id) == ("track_to_predict", "9")
    assert predicted.detail == {"difficulty": "LEVEL_2"}
    assert (interest.name, interest.source_track_id) == ("object_of_interest", "9")


def test_lights_keep_the_source_word(log: Log) -> None:
    assert log.lights.source_lane_id == ["100"] * STEPS
    assert log.lights.source_state[:2] == ["LANE_STATE_ARROW_STOP", "LANE_STATE_FLASHING_STOP"]
    assert (log.lights.state == LightState.RED).all()
    np.testing.assert_array_equal(log.lights.arrow, [True, False, True, False, True])
    np.testing.assert_array_equal(log.lights.flashing, ~log.lights.arrow)
    np.testing.assert_array_equal(log.lights.stop_xyz[0], [1.0, 2.0, 0.0])


def test_every_signal_state_of_the_schema_is_understood() -> None:
    words = [w.removeprefix("LANE_STATE_") for w in enum_words("TrafficSignalLaneState.State")]
    assert sorted(word.lower() for word in words) == sorted(LIGHTS)


def test_map(log: Log) -> None:
    by_id = {feature.source_id: feature for feature in log.map.features}
    lane = by_id["100"]
    assert (lane.layer, lane.lane_type) == (MapLayer.LANE, LaneType.FREEWAY)
    assert lane.source_type == "TYPE_FREEWAY interpolating"
    assert lane.speed_limit == pytest.approx(25 * 1609.344 / 3600)
    assert lane.left is not None
    expected = np.column_stack([np.arange(6.0), np.full(6, 2.0), np.full(6, 1.0)])
    np.testing.assert_allclose(lane.left, expected)
    assert lane.right is None, "half a boundary is none"
    assert by_id["101"].speed_limit is None
    edges = {
        (log.map.features[a].source_id, EdgeKind(k), log.map.features[b].source_id)
        for a, k, b in log.map.edges.tolist()
    }
    assert edges == {
        ("100", EdgeKind.SUCCESSOR, "101"),
        ("101", EdgeKind.PREDECESSOR, "100"),
        ("100", EdgeKind.LEFT, "101"),
        ("300", EdgeKind.STOP_LINE_OF_LANE, "100"),
    }
    layers = [by_id[str(k)].layer for k in (200, 201, 300, 301, 302, 303)]
    assert layers == [
        MapLayer.ROAD_LINE, MapLayer.ROAD_EDGE, MapLayer.STOP_SIGN, MapLayer.CROSSWALK,
        MapLayer.SPEED_BUMP, MapLayer.DRIVEWAY,
    ]  # fmt: skip
    reasons = Counter(note.reason for note in log.notes)
    assert reasons["links to lanes that lie outside the map"] == 1
    assert reasons["map features without usable points"] == 1


def assert_same(one: Log, two: Log) -> None:
    """Positions to a millimetre; ids, classes, words and links exactly."""
    a, b = one.agents, two.agents
    assert list(a.source_track_id) == list(b.source_track_id)
    assert list(a.cls) == list(b.cls)
    np.testing.assert_array_equal(a.t_ns, b.t_ns)
    np.testing.assert_allclose(a.xyz, b.xyz, atol=1e-3)
    np.testing.assert_allclose(a.yaw, b.yaw, atol=1e-6)
    np.testing.assert_allclose(a.size, b.size, atol=1e-6)
    assert one.ego is not None
    assert two.ego is not None
    np.testing.assert_allclose(one.ego.xyz, two.ego.xyz, atol=1e-3)
    np.testing.assert_allclose(one.ego.size, two.ego.size, atol=1e-6)
    for mine, yours in zip(one.map.features, two.map.features, strict=False):
        assert mine.layer == yours.layer
        assert mine.lane_type == yours.lane_type
        np.testing.assert_allclose(mine.points, yours.points, atol=1e-6)
        assert (mine.speed_limit is None) == (yours.speed_limit is None)
        assert mine.speed_limit is None or mine.speed_limit == pytest.approx(yours.speed_limit)
        for line, copy in ((mine.left, yours.left), (mine.right, yours.right)):
            assert (line is None) == (copy is None)
    assert set(map(tuple, one.map.edges.tolist())) == set(map(tuple, two.map.edges.tolist()))
    np.testing.assert_array_equal(one.lights.state, two.lights.state)
    np.testing.assert_array_equal(one.lights.t_ns, two.lights.t_ns)


def test_what_is_read_is_written(log: Log, tmp_path: Path) -> None:
    notes = waymo_motion.write_logs([log], tmp_path / "y.tfrecord")
    again = read_one(tmp_path / "y.tfrecord")
    assert_same(log, again)
    assert notes == []
    assert again.events == log.events
    assert again.windows == log.windows
    assert again.lights.source_state == log.lights.source_state
    assert [f.source_id for f in again.map.features] == [f.source_id for f in log.map.features]
    assert [f.source_type for f in again.map.features] == [f.source_type for f in log.map.features]
    boundary, copy = log.map.features[0].left, again.map.features[0].left
    assert boundary is not None
    np.testing.assert_allclose(boundary, copy, atol=1e-6)


@pytest.mark.parametrize("make", [make_straight_log, make_crossing_log])
def test_logs_of_other_sources_are_written(make: Any, tmp_path: Path) -> None:
    log = make()
    notes = waymo_motion.write_logs([log], tmp_path / "y.tfrecord")
    again = read_one(tmp_path / "y.tfrecord")
    check_log(again)
    assert "renamed" in {note.kind for note in notes}, "its ids are words"
    wanted = len(log.agents.source_track_id)
    assert len(again.agents.source_track_id) == wanted
    assert list(again.agents.cls) == [waymo_class(cls) for cls in log.agents.cls]
    np.testing.assert_allclose(again.agents.xyz, log.agents.xyz, atol=1e-3)
    assert again.ego is not None
    np.testing.assert_allclose(again.ego.xyz, log.ego.xyz, atol=1e-3)
    for mine, yours in zip(log.map.features, again.map.features, strict=False):
        np.testing.assert_allclose(mine.points, yours.points, atol=1e-6)
        if mine.left is not None:
            assert yours.left is not None
            np.testing.assert_allclose(mine.left, yours.left, atol=0.01)


def waymo_class(cls: AgentClass) -> AgentClass:
    kept = (AgentClass.PEDESTRIAN, AgentClass.CYCLIST, AgentClass.UNKNOWN)
    if cls in kept:
        return cls
    motor = (AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS, AgentClass.MOTORCYCLE)
    return AgentClass.VEHICLE if cls in motor else AgentClass.OTHER


def test_no_ego_no_map_no_lights(tmp_path: Path) -> None:
    message = scenario_message()
    message.ClearField("sdc_track_index")
    message.ClearField("map_features")
    message.ClearField("dynamic_map_states")
    log = read_one(write(tmp_path / "x.tfrecord", message))
    check_log(log)
    assert log.ego is None
    assert len(log.agents.source_track_id) == 2
    assert not log.map.features
    assert not len(log.lights.t_ns)
    assert any(note.kind == "missing" for note in log.notes)


def test_broken_states_are_not_observed(tmp_path: Path) -> None:
    message = scenario_message()
    message.tracks[1].states[2].center_x = float("nan")
    message.tracks[1].states[3].heading = float("inf")
    log = read_one(write(tmp_path / "x.tfrecord", message))
    assert log.ego is not None
    assert log.ego.valid is not None
    np.testing.assert_array_equal(log.ego.valid, [True, True, False, False, True])
    assert [n.count for n in log.notes if "NaN or infinite" in n.reason] == [2]


def test_good_records_survive_bad_ones(tmp_path: Path) -> None:
    no_times, uneven, unseen = (scenario_message() for _ in range(3))
    no_times.ClearField("timestamps_seconds")
    del uneven.tracks[0].states[4]
    for track in unseen.tracks:
        for state in track.states:
            state.valid = False
    first, last = scenario_message("first"), scenario_message("last")
    path = write(
        tmp_path / "x.tfrecord", first, no_times, uneven, unseen, scenario_message(), last
    )
    content = path.read_bytes()
    at = content.rindex(b"abc123")  # in the fifth record
    path.write_bytes(content[:at] + b"X" + content[at + 1 :])
    found = list(waymo_motion.read(path))
    assert [item.source_log_id for item in found if isinstance(item, Log)] == ["first", "last"]
    rejected = {item.record: item.reason for item in found if isinstance(item, Rejected)}
    assert list(rejected) == ["record 1", "record 2", "record 3", "record 4"]
    assert "checksum" in rejected["record 4"]
    assert "4 states for 5 times" in rejected["record 2"]


def test_repeated_track_ids_are_told_apart(tmp_path: Path) -> None:
    message = scenario_message()
    message.tracks[0].id = 7
    log = read_one(write(tmp_path / "x.tfrecord", message))
    check_log(log)
    assert any(note.kind == "renamed" for note in log.notes)


def foreign_messages() -> Sequence[bytes]:
    """A ``tf.Example`` and a perception ``Frame`` both begin with a message as field 1."""
    example = b"\x0a\x10" + b"\x0a\x0e\x0a\x02id\x12\x08\x0a\x06\x0a\x04abcd"
    frame = b"\x0a\x16\x0a\x141024360143612057520_\x12\x00"
    return example, frame


def test_other_tfrecords_are_left_alone(tmp_path: Path) -> None:
    for k, message in enumerate(foreign_messages()):
        write_records(tmp_path / f"{k}.tfrecord", [message])
    mine = write(tmp_path / "mine.tfrecord", scenario_message())
    packed = tmp_path / "packed.tfrecord.gz"
    packed.write_bytes(gzip.compress(mine.read_bytes()))
    assert list(waymo_motion.sources(tmp_path)) == [mine, packed]
    assert_same(read_one(mine), read_one(packed))
    (found,) = waymo_motion.read(tmp_path / "0.tfrecord")
    assert isinstance(found, Rejected)


def test_a_tfrecord_by_name_alone_is_ours_so_that_it_is_not_lost(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tfrecord"
    broken.write_bytes(b"\0" * 40)
    assert list(waymo_motion.sources(tmp_path)) == [broken]
    with pytest.raises(UnreadableFile, match=r"broken\.tfrecord"):
        list(waymo_motion.read(broken))


def test_packed_times_are_recognised() -> None:
    message = scenario_message()
    times = np.array(message.timestamps_seconds)
    head = b"\x0a" + bytes([len(times) * 8]) + times.tobytes()
    assert begins_as_scenario(head)
    assert not begins_as_scenario(b"\x0a" + bytes([16]) + times[:2][::-1].tobytes())


real = pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)


@real
class TestRealData:
    @pytest.fixture
    def folder(self) -> Path:
        return Path(os.environ["SCENELAKE_REAL_DATA"]) / "waymo_open_dataset"

    @pytest.fixture
    def source(self, folder: Path) -> Path:
        (source,) = waymo_motion.sources(folder)
        return source

    def test_only_the_scenario_file_is_claimed(self, source: Path) -> None:
        assert source.name == "motion_data_one_scenario.tfrecord"

    def test_every_field_is_known_and_comes_back_byte_for_byte(self, source: Path) -> None:
        (record,) = read_records(source)
        assert isinstance(record, Record)
        message = scenario_class().FromString(record.data)
        assert message.SerializeToString() == record.data
        assert _unknown_fields(message) == 0

    def test_coordinates_are_the_source_s(self, source: Path) -> None:
        log = read_one(source)
        check_log(log)
        (record,) = read_records(source)
        assert isinstance(record, Record)
        message = scenario_class().FromString(record.data)
        assert log.source_log_id == "637f20cafde22ff8"
        assert len(log.agents.source_track_id) == 82
        assert len(message.map_features) == 301
        assert len(log.map.features) == 300, "one of its lanes is a single point"
        assert len(log.lights.t_ns) == 1092
        by_id = {str(track.id): track for track in message.tracks}
        t_ns = np.round(np.array(message.timestamps_seconds) * 1e9)
        agents = log.agents
        assert agents.valid is not None
        for row in np.flatnonzero(agents.valid):
            state = by_id[agents.source_track_id[agents.track[row]]].states[
                int(np.searchsorted(t_ns, agents.t_ns[row]))
            ]
            assert state.valid
            assert tuple(agents.xyz[row]) == (state.center_x, state.center_y, state.center_z)
        seen = sum(state.valid for track in message.tracks for state in track.states)
        assert log.ego is not None
        assert seen == agents.valid.sum() + len(log.ego.t_ns)

    def test_it_is_written_and_read_again(self, source: Path, tmp_path: Path) -> None:
        log = read_one(source)
        assert (
            waymo_motion.write_logs([log, replace(log, source_log_id="b")], tmp_path / "y") == []
        )
        again, second = waymo_motion.read(tmp_path / "y")
        assert isinstance(again, Log)
        assert isinstance(second, Log)
        assert_same(log, again)
        assert second.source_log_id == "b"


def _unknown_fields(message: Any) -> int:
    count = len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = value if field.is_repeated else [value]
            count += sum(_unknown_fields(part) for part in parts)
    return count

"""Waymo's tf.Examples: read against features written by hand, and the real file value for value."""

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import waymo_motion, waymo_tfexample
from formats.registry import Rejected
from formats.tfrecord import Record, read_records, write_records
from formats.waymo_protos import message_class
from schemas.labels import AgentClass, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

PAST, FUTURE, SLOTS = 10, 80, 2
STEPS = PAST + 1 + FUTURE


def example_of(features: Mapping[str, Sequence[Any]]) -> bytes:
    message = message_class("Example")()
    for name, values in features.items():
        feature = message.features.feature.add(key=name).value
        if values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    data: bytes = message.SerializeToString()
    return data


def hand_made(name: str = "abc") -> dict[str, list[Any]]:
    """Ego (id 7) along x at 10 m/s, a walker (id 9, seen at even steps), and an empty place."""
    features: dict[str, list[Any]] = {
        "scenario/id": [name.encode()],
        "state/id": [7.0, 9.0, -1.0],
        "state/type": [1.0, 2.0, -1.0],
        "state/is_sdc": [1, 0, 0],
        "state/tracks_to_predict": [0, 1, 0],
        "state/difficulty_level": [0, 2, 0],
        "state/objects_of_interest": [0, 1, 0],
    }
    first = 0
    for era, count in (("past", PAST), ("current", 1), ("future", FUTURE)):
        steps = np.arange(first, first + count)
        first += count
        nothing = np.full(count, -1.0)
        columns = {
            "x": (steps * 1.0, 50.0 + 0 * steps, nothing),
            "y": (0.0 * steps, 0.25 * steps, nothing),
            "z": (0.5 + 0.0 * steps, 1.0 + 0.0 * steps, nothing),
            "bbox_yaw": (0.25 + 0.0 * steps, 1.5 + 0.0 * steps, nothing),
            "length": (4.5 + 0.0 * steps, 0.5 + 0.0 * steps, nothing),
            "width": (2.0 + 0.0 * steps, 0.5 + 0.0 * steps, nothing),
            "height": (1.5 + 0.0 * steps, 1.75 + 0.0 * steps, nothing),
            "velocity_x": (10.0 + 0.0 * steps, 0.0 * steps, nothing),
            "velocity_y": (0.0 * steps, 2.5 + 0.0 * steps, nothing),
        }
        for column, rows in columns.items():
            features[f"state/{era}/{column}"] = np.concatenate(rows).tolist()
        even = (steps % 2 == 0).astype(int)
        valid = np.stack([np.ones(count, int), even, np.zeros(count, int)])
        micros = np.where(valid == 1, 100_000 * steps, -1)
        features[f"state/{era}/valid"] = valid.ravel().tolist()
        features[f"state/{era}/timestamp_micros"] = micros.ravel().tolist()
        lights = f"traffic_light_state/{era}"
        features[f"{lights}/timestamp_micros"] = (100_000 * steps).tolist()
        features[f"{lights}/id"] = [4, -1] * count
        features[f"{lights}/state"] = [8, -1] * count
        features[f"{lights}/valid"] = [1, 0] * count
        for axis, value in (("x", 8.0), ("y", 9.0), ("z", 0.5)):
            features[f"{lights}/{axis}"] = [value, -1.0] * count
    points = [
        (2, 4, 0.0),
        (2, 4, 0.5),
        (2, 4, 1.0),
        (17, 5, 3.0),
        (15, 6, 7.0),
        (15, 6, 7.5),
        (1, 8, 9.0),
    ]
    features["roadgraph_samples/type"] = [kind for kind, _, _ in points] + [-1]
    features["roadgraph_samples/id"] = [number for _, number, _ in points] + [-1]
    features["roadgraph_samples/valid"] = [1] * len(points) + [0]
    xyz = [[x, 2.0, 0.25] for _, _, x in points] + [[-1.0] * 3]
    features["roadgraph_samples/xyz"] = np.ravel(xyz).tolist()
    ahead = [[1.0, 0, 0], [1.0, 0, 0], [0.0] * 3, [0.0] * 3, [1.0, 0, 0], [1.0, 0, 0], [0.0] * 3]
    features["roadgraph_samples/dir"] = [float(v) for v in np.ravel([*ahead, [-1.0] * 3])]
    return features


def write(path: Path, *examples: Mapping[str, Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, [example_of(features) for features in examples])
    return path


def read_one(path: Path) -> Log:
    (log,) = waymo_tfexample.read(path)
    assert isinstance(log, Log), log
    return log


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return waymo_tfexample

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in" / "validation_tfexample.tfrecord-00000-of-00150", hand_made())


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return read_one(write(tmp_path / "x.tfrecord", hand_made()))


def test_objects_are_who_where_and_when_the_file_says(log: Log) -> None:
    assert log.ego is not None
    assert (log.ego.source_track_id, log.ego.size) == ("7", (4.5, 2.0, 1.5))
    np.testing.assert_array_equal(log.ego.t_ns, np.arange(STEPS) * 100_000_000)
    np.testing.assert_array_equal(log.ego.xyz[:, 0], np.arange(STEPS))
    assert list(log.agents.source_track_id) == ["9"]
    assert log.agents.source_cls == ["TYPE_PEDESTRIAN"]
    assert log.agents.cls == [AgentClass.PEDESTRIAN]
    assert log.agents.valid is not None
    np.testing.assert_array_equal(log.agents.valid, np.arange(STEPS) % 2 == 0)
    np.testing.assert_array_equal(log.agents.xyz[2], [50.0, 0.5, 1.0])
    assert log.agents.velocity is not None
    np.testing.assert_array_equal(log.agents.velocity[2], [0.0, 2.5])
    (window,) = log.windows
    assert (window.t0_ns, window.anchor_ns, window.t1_ns) == (0, 10**9, 9 * 10**9)
    predicted, interest = log.events
    assert (predicted.name, predicted.source_track_id) == ("track_to_predict", "9")
    assert predicted.detail == {"difficulty": "LEVEL_2"}
    assert (interest.name, interest.source_track_id) == ("object_of_interest", "9")


def test_points_become_features_again(log: Log) -> None:
    lane, sign, edge = log.map.features
    assert (lane.source_id, lane.layer, lane.lane_type) == ("4", MapLayer.LANE, LaneType.VEHICLE)
    np.testing.assert_array_equal(lane.points[:, 0], [0.0, 0.5, 1.0])
    assert (sign.layer, len(sign.points)) == (MapLayer.STOP_SIGN, 1)
    assert (edge.layer, edge.source_type) == (MapLayer.ROAD_EDGE, "TYPE_ROAD_EDGE_BOUNDARY")
    assert {(n.kind, n.count) for n in log.notes} == {
        ("dropped", 1),  # lane 8 is a single point
        ("clipped", 1),  # the edge's last direction points on
        ("missing", 1),  # no links
    }


def test_signals(log: Log) -> None:
    assert list(log.lights.source_lane_id) == ["4"] * STEPS
    assert set(log.lights.source_state) == {"LANE_STATE_FLASHING_CAUTION"}
    assert (log.lights.state == LightState.YELLOW).all()
    assert log.lights.flashing.all()
    np.testing.assert_array_equal(log.lights.stop_xyz[0], [8.0, 9.0, 0.5])


def test_the_test_set_has_no_future(tmp_path: Path) -> None:
    hidden = hand_made()
    for name in ("valid", "timestamp_micros"):
        hidden[f"state/future/{name}"] = [-1] * (3 * FUTURE)
    absent = {k: v for k, v in hand_made().items() if "/future/" not in k}
    for features in (hidden, absent):
        log = read_one(write(tmp_path / "x.tfrecord", features))
        check_log(log)
        assert log.ego is not None
        assert len(log.ego.t_ns) == PAST + 1
        assert any("future" in note.reason for note in log.notes)


def test_broken_states_are_not_observed(tmp_path: Path) -> None:
    features = hand_made()
    features["state/past/x"][3] = float("nan")
    log = read_one(write(tmp_path / "x.tfrecord", features))
    check_log(log)
    assert log.ego is not None
    assert log.ego.valid is not None
    assert np.flatnonzero(~log.ego.valid).tolist() == [3]


def test_no_ego_and_no_map_are_said(tmp_path: Path) -> None:
    features = {k: v for k, v in hand_made().items() if "roadgraph" not in k}
    features["state/is_sdc"] = [0, 0, 0]
    log = read_one(write(tmp_path / "x.tfrecord", features))
    check_log(log)
    assert log.ego is None
    assert log.agents.source_track_id == ["7", "9"]
    assert sum(note.kind == "missing" for note in log.notes) == 2


def test_repeated_ids_are_told_apart(tmp_path: Path) -> None:
    features = hand_made()
    features["state/id"] = [9.0, 9.0, -1.0]
    log = read_one(write(tmp_path / "x.tfrecord", features))
    check_log(log)
    assert any(note.kind == "renamed" for note in log.notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state/past/x": [0.0]}, "1 values of state/past/x, not 3 × 10"),
        ({"state/id": []}, "no objects"),
        ({"state/current/timestamp_micros": [0, 0, -1]}, "do not ascend"),
        ({"roadgraph_samples/xyz": [0.0]}, "roadgraph_samples/xyz"),
    ],
)
def test_what_cannot_be_is_rejected(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "x.tfrecord", hand_made() | change, hand_made("good"))
    rejected, good = waymo_tfexample.read(path)
    assert isinstance(rejected, Rejected)
    assert reason in rejected.reason
    assert isinstance(good, Log)


def test_missing_features_are_named(tmp_path: Path) -> None:
    features = {k: v for k, v in hand_made().items() if k != "state/type"}
    (rejected,) = waymo_tfexample.read(write(tmp_path / "x.tfrecord", features))
    assert isinstance(rejected, Rejected)
    assert "state/type" in rejected.reason


def test_each_tfrecord_has_one_reader(tmp_path: Path) -> None:
    plain = write(tmp_path / "training" / "a.tfrecord", hand_made())
    packed = tmp_path / "training" / "b.tfrecord.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    write_records(tmp_path / "other.tfrecord", [example_of({"label": [1]})])
    assert list(waymo_tfexample.sources(tmp_path)) == [plain, packed]
    assert list(waymo_motion.sources(tmp_path)) == []
    assert read_one(packed).split == read_one(plain).split == "train"


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
class TestRealData:
    @pytest.fixture
    def source(self) -> Path:
        folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "waymo_open_dataset"
        (source,) = waymo_tfexample.sources(folder)
        return source

    def test_every_valid_state_comes_back(self, source: Path) -> None:
        log = read_one(source)
        check_log(log)
        (record,) = read_records(source)
        assert isinstance(record, Record)
        message = message_class("Example").FromString(record.data)
        value = {f.key: f.value for f in message.features.feature}

        def told(name: str, steps: int) -> Any:
            return np.array(value[name].float_list.value).reshape(128, steps)

        where = {
            (log.agents.source_track_id[track], int(t)): (*xyz, yaw)
            for track, t, xyz, yaw, ok in zip(
                log.agents.track, log.agents.t_ns, log.agents.xyz, log.agents.yaw,
                log.agents.valid if log.agents.valid is not None else [], strict=True,
            )
            if ok
        }  # fmt: skip
        assert log.ego is not None
        where |= {
            (log.ego.source_track_id, int(t)): (*xyz, yaw)
            for t, xyz, yaw in zip(log.ego.t_ns, log.ego.xyz, log.ego.yaw, strict=True)
        }
        ids = value["state/id"].float_list.value
        count = 0
        for era, steps in (("past", 10), ("current", 1), ("future", 80)):
            valid = np.array(value[f"state/{era}/valid"].int64_list.value).reshape(128, steps) == 1
            micros = np.array(value[f"state/{era}/timestamp_micros"].int64_list.value)
            micros = micros.reshape(128, steps)
            columns = [told(f"state/{era}/{name}", steps) for name in ("x", "y", "z", "bbox_yaw")]
            for row, step in zip(*np.nonzero(valid), strict=True):
                got = where[str(int(ids[row])), int(micros[row, step]) * 1000]
                assert got == tuple(column[row, step] for column in columns)
                count += 1
        assert count == len(where) == 6228
        lit = [value[f"traffic_light_state/{e}/valid"] for e in ("past", "current", "future")]
        assert len(log.lights.t_ns) == sum(sum(f.int64_list.value) for f in lit) == 1223
        assert len(log.map.features) == 254
        assert sum(len(feature.points) for feature in log.map.features) == 20_000

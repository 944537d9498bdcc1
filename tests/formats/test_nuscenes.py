"""nuScenes tables to logs, and their relatives T4 and Lyft."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import nuscenes
from formats.media import decode_points, read_payload
from formats.nuscenes import decode_sweep
from formats.nuscenes_words import class_of, conditions
from formats.registry import Rejected, detect
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, MapLayer, Weather
from schemas.records import Log, SourceEvent
from tests.contracts import ReaderContract, check_log
from tests.formats.nuscenes_files import (
    KEY_FRAMES,
    LATE_US,
    LIDAR,
    SPEED,
    T0_US,
    make_can_bus,
    make_tables,
    radar_file,
    token,
    write_dataset,
    write_json,
    write_tables,
    yaw_quaternion,
)

REAL = os.environ.get("SCENELAKE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
BEGIN_NS = (T0_US - 100_000) * 1000  # the first bus message


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "in" / "nuscenes")


class TestNuscenes(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return nuscenes

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_dataset(tmp_path / "in" / "nuscenes")


class TestT4(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return nuscenes

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_t4(tmp_path / "in" / "drive")


def only(source: Path, number: int = 0) -> Log:
    log = list(nuscenes.read(source))[number]
    assert isinstance(log, Log), log
    check_log(log)
    return log


def notes(log: Log) -> dict[str, int]:
    return {note.reason: note.count for note in log.notes}


def changed(source: Path, table: str, change: Any) -> None:
    path = source / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    write_json(path, rows)


class TestALog:
    def test_is_a_scene(self, source: Path) -> None:
        one, two = only(source), only(source, 1)
        assert [log.source_log_id for log in (one, two)] == ["scene-0103", "scene-0553"]
        assert one.dataset == "nuscenes"
        assert one.record == "scene-0103"
        assert one.location == "boston-seaport"
        assert (one.split, two.split) == ("val", "val")
        assert (one.extra["mini_split"], two.extra["mini_split"]) == ("mini_val", "mini_train")
        assert one.extra["scene_token"] == token("scene", "scene-0103")
        assert one.extra["split_group"] == two.extra["split_group"]
        assert one.rate_hz == 2.0

    def test_stamps_come_back(self, source: Path) -> None:
        log = only(source)
        assert log.t0_unix_ns == BEGIN_NS
        (window,) = log.windows
        assert log.t0_unix_ns + window.t0_ns == T0_US * 1000
        assert log.t0_unix_ns + window.t1_ns == (T0_US + 1_500_000) * 1000
        stamps = {(row["timestamp"] * 1000) for row in make_tables()["sample_data"][:18]}
        assert {log.t0_unix_ns + frame.t_ns for frame in log.frames} == stamps

    def test_weather_and_daylight_are_told_in_words(self, source: Path) -> None:
        one, two = only(source), only(source, 1)
        assert (one.weather, one.daylight) == (None, Daylight.DAY)
        assert (two.weather, two.daylight) == (None, Daylight.NIGHT)
        assert any("does not speak of night" in reason for reason in notes(one))
        assert conditions("Rain, night") == (Weather.RAIN, Daylight.NIGHT)
        assert conditions("After rain, peds") == (None, None)
        assert conditions("Parked truck, train station") == (None, None)

    def test_of_the_second_scene_has_no_bus(self, source: Path) -> None:
        log = only(source, 1)
        assert log.readings == []
        assert log.ego is not None
        assert log.ego.velocity is None
        first = (T0_US + 60_000_000 + LATE_US["CAM_FRONT"]) * 1000
        assert log.t0_unix_ns == first


class TestAgents:
    def test_are_boxes_in_the_world(self, source: Path) -> None:
        agents = only(source).agents
        names = [token("instance", "scene-0103", name) for name in ("car", "walker")]
        assert sorted(agents.source_track_id) == sorted(names)
        car = list(agents.source_track_id).index(names[0])
        rows = agents.track == car
        assert rows.sum() == KEY_FRAMES
        np.testing.assert_array_equal(agents.xyz[rows][:, 0], [120.0, 122.0, 124.0, 126.0])
        np.testing.assert_array_equal(agents.size[rows][0], [4.6, 1.9, 1.7])
        assert agents.source_cls[car] == "vehicle.car"
        assert agents.cls[car] == AgentClass.VEHICLE
        walker = ~rows
        np.testing.assert_allclose(agents.yaw[walker], math.pi / 2)
        assert agents.velocity is None

    def test_attributes_and_visibility_are_intervals(self, source: Path) -> None:
        log = only(source)
        car = token("instance", "scene-0103", "car")
        t = [(T0_US + k * 500_000) * 1000 - BEGIN_NS for k in range(KEY_FRAMES)]
        mine = [e for e in log.events if e.source_track_id == car]
        assert [(e.name, e.t0_ns, e.t1_ns) for e in mine[:2]] == [
            ("vehicle.moving", t[0], t[1]),
            ("vehicle.stopped", t[2], t[3]),
        ]
        assert {(e.name, e.t0_ns, e.t1_ns) for e in mine[2:5]} == {
            ("visibility.v80-100", t[0], t[0]),
            ("visibility.v40-60", t[1], t[1]),
            ("visibility.v80-100", t[2], t[3]),
        }
        last = mine[5]
        assert last.name == "sample_annotation"
        assert last.detail["num_lidar_pts"] == [10, 11, 12, 13]
        assert last.detail["num_radar_pts"] == [0, 1, 2, 3]
        assert last.detail["token"][0] == token("box", "scene-0103", "car", 0)

    def test_an_attribute_ends_where_the_object_is_not_seen(self, source: Path) -> None:
        gone = token("box", "scene-0103", "walker", 2)
        changed(
            source,
            "sample_annotation",
            lambda rows: [
                row.update(sample_token=token("sample", "scene-0103", 3))
                for row in rows
                if row["token"] == gone
            ],
        )
        walker = token("instance", "scene-0103", "walker")
        spans = [
            (e.t0_ns, e.t1_ns)
            for e in only(source).events
            if e.source_track_id == walker and e.name == "pedestrian.moving"
        ]
        assert len(spans) == 2
        assert all(begin == end for begin, end in spans)

    @pytest.mark.parametrize(
        ("category", "cls"),
        [
            ("vehicle.bus.bendy", AgentClass.BUS),
            ("vehicle.emergency.police", AgentClass.VEHICLE),
            ("vehicle.bicycle", AgentClass.CYCLIST),
            ("static_object.bicycle_rack", AgentClass.OBSTACLE),
            ("movable_object.trafficcone", AgentClass.OBSTACLE),
            ("human.pedestrian.construction_worker", AgentClass.PEDESTRIAN),
            ("vehicle.construction", AgentClass.TRUCK),
            ("other_vehicle", AgentClass.VEHICLE),
            ("spaceship", None),
        ],
    )
    def test_classes(self, category: str, cls: AgentClass | None) -> None:
        assert class_of(category) is cls


class TestEgo:
    def test_is_dense_and_told_at_the_middle_of_its_box(self, source: Path) -> None:
        ego = only(source).ego
        assert ego is not None
        assert len(ego.t_ns) == 18  # every capture of every sensor
        x = 100.0 + SPEED * (ego.t_ns + BEGIN_NS - T0_US * 1000) / 1e9
        np.testing.assert_allclose(ego.xyz[:, 0], x + 1.385, atol=1e-6)
        np.testing.assert_array_equal(ego.xyz[:, 1], 200.0)
        np.testing.assert_allclose(ego.xyz[:, 2], 0.781)
        assert ego.size == (4.084, 1.730, 1.562)

    def test_moves_as_the_bus_tells(self, source: Path) -> None:
        ego = only(source).ego
        assert ego is not None
        assert ego.velocity is not None
        # The middle of the box swings out: 0.1 rad/s on a lever of 1.385 m.
        np.testing.assert_allclose(ego.velocity, np.tile([5.0, 0.1385], (18, 1)), atol=1e-9)
        assert ego.acceleration is not None
        assert ego.yaw_rate is not None
        np.testing.assert_allclose(ego.acceleration, -0.5)
        np.testing.assert_allclose(ego.yaw_rate, 0.1)
        assert ego.steering is None  # the bus tells the steering wheel, not the wheels

    def test_has_no_motion_between_far_messages(self, source: Path) -> None:
        messages = make_can_bus(T0_US)["pose"]
        write_json(
            source.parent / "can_bus" / "scene-0103_pose.json", messages[:10] + messages[60:]
        )
        ego = only(source).ego
        assert ego is not None
        assert ego.velocity is not None
        known = np.isfinite(ego.velocity).all(axis=1)
        since = ego.t_ns + BEGIN_NS - T0_US * 1000
        np.testing.assert_array_equal(known, (since <= 80_000_000) | (since >= 1_100_000_000))

    def test_turns_with_the_world(self, source: Path) -> None:
        changed(
            source,
            "ego_pose",
            lambda rows: [row.update(rotation=yaw_quaternion(math.pi / 2)) for row in rows],
        )
        ego = only(source).ego
        assert ego is not None
        assert ego.velocity is not None
        np.testing.assert_allclose(ego.yaw, math.pi / 2)
        np.testing.assert_allclose(ego.xyz[:, 1], 201.385)
        np.testing.assert_allclose(ego.velocity[0], [-0.1385, 5.0], atol=1e-9)


class TestSensors:
    def test_keep_their_calibration(self, source: Path) -> None:
        log = only(source)
        sensors = {sensor.channel: sensor for sensor in log.sensors}
        camera = sensors["CAM_FRONT"]
        assert (camera.kind, camera.model) == ("camera", "pinhole")
        assert camera.intrinsics == (1266.4, 1266.5, 816.2, 491.5)
        assert (camera.width, camera.height) == (1600, 900)
        np.testing.assert_array_equal(
            camera.ego_from_sensor, [1.7, 0.0, 1.5, 0.5, -0.5, 0.5, -0.5]
        )
        assert sensors["RADAR_FRONT"].kind == "radar"
        assert sensors["ms_imu"].kind == "imu"
        assert sensors["zoe_veh_info"].kind == "can"

    def test_frames_point_at_files(self, source: Path) -> None:
        log = only(source)
        assert Counter(frame.channel for frame in log.frames) == {
            "LIDAR_TOP": 7, "CAM_FRONT": 7, "RADAR_FRONT": 4,
        }  # fmt: skip
        for frame in log.frames:
            assert Path(frame.uri).is_file()
            assert frame.size == Path(frame.uri).stat().st_size
            assert frame.world_from_ego is not None
        sweep = next(f for f in log.frames if "sweeps/LIDAR_TOP" in f.uri)
        since = (sweep.t_ns + BEGIN_NS) / 1e9 - T0_US / 1e6
        assert sweep.world_from_ego is not None
        assert abs(sweep.world_from_ego[0] - (100.0 + SPEED * since)) < 1e-5
        assert sweep.world_from_ego[3:] == (1.0, 0.0, 0.0, 0.0)

    def test_points_decode(self, source: Path) -> None:
        frames = {frame.channel: frame for frame in only(source).frames}
        lidar = frames["LIDAR_TOP"]
        points = decode_points(lidar.codec, read_payload(lidar.uri))
        np.testing.assert_array_equal(points.xyz, LIDAR[:, :3])
        np.testing.assert_array_equal(points.channels["intensity"], LIDAR[:, 3])
        np.testing.assert_array_equal(points.channels["ring"], LIDAR[:, 4])
        radar = frames["RADAR_FRONT"]
        targets = decode_points(radar.codec, radar_file())
        np.testing.assert_array_equal(targets.xyz, [[10.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
        np.testing.assert_allclose(targets.channels["vx"], [-2.0, 0.6], rtol=1e-6)
        np.testing.assert_array_equal(targets.channels["id"], [1, 300])
        with pytest.raises(ValueError, match="whole number"):
            decode_sweep(b"\0" * 21)

    def test_key_frames_name_their_captures(self, source: Path) -> None:
        samples = [e for e in only(source).events if e.name == "sample"]
        assert [e.detail["token"] for e in samples] == [
            token("sample", "scene-0103", k) for k in range(KEY_FRAMES)
        ]
        expected = {channel: late * 1000 for channel, late in LATE_US.items()}
        assert all(e.detail["captured_after_ns"] == expected for e in samples)

    def test_the_bus_becomes_readings(self, source: Path) -> None:
        log = only(source)
        told = {(r.channel, r.signal): r for r in log.readings}
        speed = told["vehicle_monitor", "vehicle_speed"]
        assert speed.unit == "km/h"
        assert speed.value is not None
        np.testing.assert_array_equal(speed.value, 18.0)
        np.testing.assert_array_equal(np.diff(speed.t_ns), 500_000_000)
        rate = told["ms_imu", "rotation_rate_z"]
        assert rate.unit == "rad/s"
        assert rate.value is not None
        np.testing.assert_array_equal(rate.value, 0.03)
        assert told["ms_imu", "q_w"].unit == ""
        assert told["steeranglefeedback", "value"].unit == "rad"
        route = next(e for e in log.events if e.name == "route")
        assert route.detail["xy"] == [[90.0, 200.0], [150.0, 200.0]]

    def test_labels_of_points_are_frames_too(self, source: Path) -> None:
        lidar = make_tables()["sample_data"][0]["token"]
        name = f"lidarseg/v1.0-mini/{lidar}_lidarseg.bin"
        rows = [{"token": lidar, "sample_data_token": lidar, "filename": name}]
        write_json(source / "lidarseg.json", rows)
        log = only(source)
        (frame,) = (f for f in log.frames if f.channel == "LIDAR_TOP:lidarseg")
        assert frame.uri.endswith(name)
        assert frame.t_ns == T0_US * 1000 - BEGIN_NS


class TestMap:
    def test_is_shared_by_the_scenes(self, source: Path) -> None:
        one, two = only(source), only(source, 1)
        logs = [log for log in nuscenes.read(source) if isinstance(log, Log)]
        assert logs[0].map is logs[1].map
        assert one.map.source_map_id == two.map.source_map_id == "boston-seaport"
        assert one.map.of_layer(MapLayer.LANE)

    def test_of_another_place_is_left_out(self, source: Path) -> None:
        changed(
            source,
            "ego_pose",
            lambda rows: [row.update(translation=[5000.0, 9000.0, 0.0]) for row in rows],
        )
        log = only(source)
        assert not log.map.features
        assert any("of another place" in reason for reason in notes(log))

    def test_that_is_missing_is_noted(self, source: Path) -> None:
        (source.parent / "maps" / "expansion" / "boston-seaport.json").unlink()
        log = only(source)
        assert not log.map.features
        assert notes(log)["no vector map of boston-seaport"] == 1

    def test_that_is_broken_rejects_its_scenes(self, source: Path) -> None:
        path = source.parent / "maps" / "expansion" / "boston-seaport.json"
        path.write_text(path.read_text()[:500])
        found = list(nuscenes.read(source))
        assert [item.record for item in found] == ["scene-0103", "scene-0553"]
        assert all(isinstance(item, Rejected) and str(path) in item.reason for item in found)


class TestBadInput:
    def test_a_missing_table_is_named(self, source: Path) -> None:
        (source / "ego_pose.json").unlink()
        with pytest.raises(UnreadableFile, match=r"ego_pose\.json.*does not exist"):
            list(nuscenes.read(source))
        assert list(nuscenes.sources(source)) == [source]

    def test_packed_tables_are_read(self, source: Path) -> None:
        before = only(source)
        for path in source.glob("*.json"):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        after = only(source)
        np.testing.assert_array_equal(before.agents.xyz, after.agents.xyz)
        assert before.frames == after.frames

    def test_names_that_lead_out_of_the_folder(self, source: Path) -> None:
        names = ["../../etc/passwd", "/etc/passwd", "samples/../../x.jpg", "", None]

        def change(rows: list[dict[str, Any]]) -> None:
            for row, name in zip(rows, names, strict=False):
                row["filename"] = name

        changed(source, "sample_data", change)
        log = only(source)
        assert len(log.frames) == 18 - len(names)
        root = source.parent.resolve()
        assert all(Path(frame.uri).resolve().is_relative_to(root) for frame in log.frames)
        assert len(log.ego.t_ns) == 18 if log.ego else False

    def test_poses_and_boxes_that_are_not_finite(self, source: Path) -> None:
        def break_poses(rows: list[dict[str, Any]]) -> None:
            rows[0]["translation"] = [math.nan, 0.0, 0.0]
            rows[1]["rotation"] = [0, 0, 0, 0]
            rows[2]["rotation"] = "north"

        def break_boxes(rows: list[dict[str, Any]]) -> None:
            rows[0]["translation"] = [math.inf, 0.0, 0.0]
            rows[1]["size"] = [1.0, -2.0, 1.0]
            del rows[2]["rotation"]

        changed(source, "ego_pose", break_poses)
        changed(source, "sample_annotation", break_boxes)
        log = only(source)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 15
        assert sum(frame.world_from_ego is None for frame in log.frames) == 3
        assert len(log.agents.t_ns) == 4
        assert np.isnan(log.agents.size).any(axis=1).sum() == 1
        told = notes(log)
        assert told["poses of the vehicle that are not finite, or no rotation"] == 3
        assert told["boxes without a finite pose or without an object"] == 2
        assert told["boxes without a usable size"] == 1

    def test_repeated_stamps_and_ids(self, source: Path) -> None:
        def twice(rows: list[dict[str, Any]]) -> None:
            rows.append(dict(rows[0]))

        for table in ("sample_data", "sample_annotation", "ego_pose", "instance"):
            changed(source, table, twice)
        told = notes(only(source))
        assert told["captures of one sensor at one time; the first is kept"] == 1
        assert told["boxes of one object at one key frame; the first is kept"] == 1

    def test_a_bus_whose_clock_jumps_back(self, source: Path) -> None:
        messages = make_can_bus(T0_US)["steeranglefeedback"]
        messages[10], messages[20] = messages[20], messages[10]
        messages.append(dict(messages[5]))
        messages.append({"value": 1.0})
        write_json(source.parent / "can_bus" / "scene-0103_steeranglefeedback.json", messages)
        told = notes(only(source))
        assert told["steeranglefeedback messages whose clock jumps back are put in order"] >= 1
        assert told["steeranglefeedback messages with a stamp that another has already"] == 1
        assert told["steeranglefeedback messages without a stamp"] == 1

    def test_tables_that_do_not_fit_together(self, source: Path) -> None:
        write_json(source / "instance.json", [])
        write_json(source / "log.json", [])
        changed(source, "calibrated_sensor", lambda rows: rows.pop())
        log = only(source)
        told = notes(log)
        assert told["objects that the table of instances lacks"] == 2
        assert told["captures of a sensor that the tables do not describe"] == 1
        assert set(log.agents.cls) == {AgentClass.UNKNOWN}
        assert log.location is None

    def test_a_scene_without_samples_is_rejected(self, source: Path) -> None:
        changed(
            source,
            "sample",
            lambda rows: [row.update(scene_token="x") for row in rows[:KEY_FRAMES]],
        )
        one, two = nuscenes.read(source)
        assert isinstance(one, Rejected)
        assert "no sample" in one.reason
        assert isinstance(two, Log)

    def test_rows_that_belong_nowhere_are_counted(self, source: Path) -> None:
        for table in ("sample_data", "sample_annotation"):
            changed(source, table, lambda rows: rows[0].update(sample_token="nowhere"))
        one, two = only(source), only(source, 1)
        assert notes(one)["captures of the folder whose key frame is not in the table"] == 1
        assert notes(one)["boxes of the folder whose key frame is not in the table"] == 1
        assert not any("of the folder" in reason for reason in notes(two))

    def test_two_scenes_of_one_name(self, source: Path) -> None:
        changed(source, "scene", lambda rows: rows[1].update(name="scene-0103"))
        assert [only(source, k).source_log_id for k in (0, 1)] == ["scene-0103", "scene-0103#2"]

    def test_one_channel_with_two_calibrations(self, source: Path) -> None:
        second = {
            "token": "other", "sensor_token": token("sensor", "LIDAR_TOP"),
            "translation": [0.0, 0.0, 2.0], "rotation": [1.0, 0.0, 0.0, 0.0],
            "camera_intrinsic": [],
        }  # fmt: skip
        changed(source, "calibrated_sensor", lambda rows: rows.append(second))
        changed(
            source, "sample_data", lambda rows: rows[0].update(calibrated_sensor_token="other")
        )
        log = only(source)
        assert {s.channel for s in log.sensors} >= {"LIDAR_TOP", "LIDAR_TOP#2"}

    @pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[1]", b"\xff\xfe[]", b"[{} {}]"])
    @pytest.mark.parametrize("table", ["scene", "sample_data", "ego_pose", "visibility"])
    def test_what_is_no_table(self, source: Path, table: str, content: bytes) -> None:
        (source / f"{table}.json").write_bytes(content)
        with pytest.raises(UnreadableFile, match=table):
            list(nuscenes.read(source))

    def test_words_of_the_wrong_type_reject_the_scene(self, source: Path) -> None:
        changed(source, "sample_annotation", lambda rows: rows[0].update(attribute_tokens=7))
        one, two = nuscenes.read(source)
        assert isinstance(one, Rejected)
        assert isinstance(two, Log)

    def test_captures_that_were_not_fetched_are_kept_and_noted(self, source: Path) -> None:
        for path in (source.parent / "sweeps" / "CAM_FRONT").iterdir():
            path.unlink()
        log = only(source)
        assert len(log.frames) == 18
        assert notes(log)["captures whose files are not there (now); their rows are kept"] == 3


class TestSources:
    def test_of_one_table_is_its_folder(self, source: Path) -> None:
        assert list(nuscenes.sources(source / "ego_pose.json")) == [source]

    def test_nuimages_is_none(self, tmp_path: Path) -> None:
        names = ("attribute", "calibrated_sensor", "category", "ego_pose", "log", "object_ann",
                 "sample", "sample_data", "sensor", "surface_ann")  # fmt: skip
        write_tables(tmp_path / "v1.0-mini", {name: [] for name in names})
        assert list(nuscenes.sources(tmp_path)) == []

    def test_files_are_tables_maps_and_bus(self, source: Path) -> None:
        names = {path.name for path in nuscenes.files(source)}
        assert {"scene.json", "boston-seaport.json", "scene-0103_pose.json"} <= names
        assert "scene-0103_meta.json" not in names


# ── Relatives ────────────────────────────────────────────────────────────────────────────────────


def write_t4(root: Path) -> Path:
    """The same tables as T4: one scene, poses that tell their motion, states of the vehicle."""
    tables = make_tables()
    keep = token("scene", "scene-0103")
    tables["scene"] = tables["scene"][:1]
    tables["sample"] = [row for row in tables["sample"] if row["scene_token"] == keep]
    samples = {row["token"] for row in tables["sample"]}
    tables["sample_data"] = [r for r in tables["sample_data"] if r["sample_token"] in samples]
    poses = {row["ego_pose_token"] for row in tables["sample_data"]}
    tables["ego_pose"] = [row for row in tables["ego_pose"] if row["token"] in poses]
    tables["sample_annotation"] = [
        row for row in tables["sample_annotation"] if row["sample_token"] in samples
    ]
    for row in tables["sample_data"]:
        if not row["is_key_frame"]:
            row["sample_token"] = ""
        row["filename"] = "data/" + row["filename"].split("/", 1)[1]
    for row in tables["ego_pose"]:
        row |= {
            "twist": [4.0, 0.0, 0.0, 0.2, 0.0, 0.0], "acceleration": [1.0, 0.0, 0.0],
            "geocoordinate": [35.68, 139.76, 12.0],
        }  # fmt: skip
    tables["ego_pose"].append(
        {
            "token": "loose", "timestamp": T0_US + 10_000, "rotation": [1.0, 0.0, 0.0, 0.0],
            "translation": [100.05, 200.0, 0.0],
        }
    )  # fmt: skip
    for row in tables["sample_annotation"]:
        row["velocity"] = [1.5, 0.5, 0.0]
    tables["vehicle_state"] = [
        {
            "token": f"state{k}", "timestamp": T0_US + 20_000 * k, "steering_tire_angle": 0.01 * k,
            "brake_pedal": 3.0, "shift_state": "FORWARD",
            "indicators": {"left": "on", "right": "off", "hazard": "off"},
            "additional_info": {"speed": 4.0},
        }
        for k in range(100)
    ]  # fmt: skip
    tables["object_ann"] = [
        {
            "token": "square", "sample_data_token": tables["sample_data"][2]["token"],
            "instance_token": tables["instance"][0]["token"],
            "category_token": token("category", "vehicle.car"), "attribute_tokens": [],
            "bbox": [1, 2, 30, 40], "mask": {"size": [600, 800], "counts": "AAAA"},
        }
    ]  # fmt: skip
    write_tables(root / "annotation", tables)
    return root / "annotation"


class TestT4Log:
    def test_poses_tell_motion(self, tmp_path: Path) -> None:
        log = only(write_t4(tmp_path))
        assert log.dataset == "t4"
        ego = log.ego
        assert ego is not None
        assert len(ego.t_ns) == 19  # the loose pose too
        assert ego.velocity is not None
        assert ego.acceleration is not None
        assert np.isnan(ego.velocity).any(axis=1).sum() == 1
        np.testing.assert_allclose(ego.velocity[0], [4.0, 0.2 * 1.345])
        assert ego.acceleration[0] == 1.0
        assert ego.steering is not None
        at = np.flatnonzero(ego.t_ns + int(log.t0_unix_ns or 0) == (T0_US + 500_000) * 1000)
        np.testing.assert_allclose(ego.steering[at], 0.25)
        assert len(log.frames) == 18  # those between the key frames too

    def test_agents_have_velocities(self, tmp_path: Path) -> None:
        agents = only(write_t4(tmp_path)).agents
        assert agents.velocity is not None
        np.testing.assert_array_equal(agents.velocity, np.tile([1.5, 0.5], (6, 1)))

    def test_states_are_readings(self, tmp_path: Path) -> None:
        told = {(r.channel, r.signal): r for r in only(write_t4(tmp_path)).readings}
        assert told["vehicle_state", "brake_pedal"].unit == "%"
        assert (told["vehicle_state", "indicator_left"].text or [])[0] == "on"
        latitude = told["geocoordinate", "latitude"]
        assert latitude.value is not None
        np.testing.assert_array_equal(latitude.value, 35.68)

    def test_boxes_in_images_are_events(self, tmp_path: Path) -> None:
        log = only(write_t4(tmp_path))
        (event,) = (e for e in log.events if e.name == "object_ann")
        assert isinstance(event, SourceEvent)
        assert event.detail["bbox"] == [1, 2, 30, 40]
        assert event.detail["category"] == "vehicle.car"
        assert notes(log)["masks of objects in images"] == 1


class TestLyftLog:
    @pytest.fixture
    def lyft(self, tmp_path: Path) -> Path:
        tables = make_tables()
        for row in tables["scene"]:
            row["name"] = f"host-a101-lidar0-{row['name']}"
        for row in tables["sample"]:
            row["timestamp"] += 0.2
        for row in tables["ego_pose"]:
            row["timestamp"] = T0_US + 0.2
        for row in tables["sample_data"]:
            row["timestamp"] += 0.5
        write_tables(tmp_path / "v1.01-train", tables)
        return tmp_path / "v1.01-train"

    def test_captures_tell_the_time(self, lyft: Path) -> None:
        log = only(lyft)
        assert log.dataset == "lyft_l5_perception"
        assert log.split == "train"
        assert log.ego is not None
        assert len(log.ego.t_ns) == 18
        assert log.t0_unix_ns == (T0_US + LATE_US["CAM_FRONT"]) * 1000 + 500
        sample = next(e for e in log.events if e.name == "sample")
        assert log.t0_unix_ns + sample.t0_ns == T0_US * 1000 + 200


@needs_real
class TestRealFiles:
    @property
    def root(self) -> Path:
        return Path(str(REAL))

    def test_t4(self) -> None:
        ((_, source),) = (
            pair for pair in detect(self.root / "t4dataset") if pair[0] == "nuscenes"
        )
        tables = {p.stem: json.loads(p.read_text()) for p in source.glob("*.json")}
        log = only(source)
        assert len(log.frames) == len(tables["sample_data"]) == 9
        assert len(log.agents.t_ns) == len(tables["sample_annotation"]) == 4
        assert log.ego is not None
        assert len(log.ego.t_ns) == len(tables["ego_pose"])
        boxes = {tuple(row["translation"]) for row in tables["sample_annotation"]}
        assert {tuple(xyz) for xyz in log.agents.xyz.tolist()} == boxes
        assert {f.t_ns + int(log.t0_unix_ns or 0) for f in log.frames} == {
            row["timestamp"] * 1000 for row in tables["sample_data"]
        }
        assert log.map.of_layer(MapLayer.LANE)
        assert sum(e.name == "object_ann" for e in log.events) == len(tables["object_ann"])

    def test_lyft(self) -> None:
        folder = self.root / "mmdet3d_demo" / "tests" / "data" / "lyft"
        (source,) = nuscenes.sources(folder)
        tables = {p.stem: json.loads(p.read_text()) for p in source.glob("*.json")}
        log = only(source)
        assert len(log.frames) == len(tables["sample_data"])
        assert sorted(log.agents.source_track_id) == sorted(
            row["instance_token"] for row in tables["sample_annotation"]
        )
        assert log.ego is not None
        steps = np.diff(log.ego.xyz[:, :2], axis=0)
        speed = np.hypot(*steps.T) / (np.diff(log.ego.t_ns) / 1e9)
        assert (np.abs(speed - np.median(speed)) < 1.0).all()  # poses lie at their captures
        points = decode_sweep((folder / "lidar").iterdir().__next__().read_bytes())
        assert len(points.xyz) == 5

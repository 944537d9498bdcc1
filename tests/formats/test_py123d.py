"""py123d: written in its layout, read back by answers computed by hand."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from formats import py123d, py123d_file
from formats.media import decode_image, decode_points, read_payload
from formats.py123d_labels import LABELS, class_of
from formats.registry import Rejected
from formats.video import decode_frames
from geometry.frames import rotation_from_quaternion
from schemas.errors import BadInput, BadRecord, UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log, RoadMap
from tests.builders import with_graph
from tests.contracts import ReaderContract, check_log
from tests.formats.py123d_files import (
    CAMERA_ON_EGO,
    CENTRE,
    ORIGIN,
    PLACE,
    POSE,
    SPEED,
    STEP_US,
    T0_US,
    YAW,
    camera_metadata,
    cloud,
    grey,
    imu_pose,
    ipc_cloud,
    line,
    packed,
    png,
    ring,
    stamps,
    write_arrow,
    write_boxes,
    write_camera,
    write_lidar,
    write_log,
    write_map,
    write_sync,
    write_video,
)

ROOTS = ("PY123D_DATA_ROOT", "PY123D_MAPS_ROOT", "NUPLAN_SENSOR_ROOT")


@pytest.fixture(autouse=True)
def _no_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own data folders hold does not matter here."""
    for name in ROOTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A log with the map of its place."""
    write_map(tmp_path / "data" / "maps" / "nuplan" / f"nuplan_{PLACE}.arrow")
    return write_log(tmp_path / "data" / "logs" / "nuplan_val" / "log_1")


@pytest.fixture
def log(source: Path) -> Log:
    return read_one(source)


def read_one(source: Path) -> Log:
    (found,) = py123d.read(source)
    assert isinstance(found, Log)
    check_log(found)
    return found


def reasons(log: Log, kind: str) -> str:
    return "; ".join(note.reason for note in log.notes if note.kind == kind)


class TestPy123d(ReaderContract):
    @pytest.fixture
    def module(self) -> object:
        return py123d

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = write_log(tmp_path / "in" / "log_1", steps=6)
        write_map(folder / "map.arrow")
        write_camera(folder, (pa.string(), [f"a/{k}.jpg" for k in range(6)]))
        return folder


def test_what_the_log_says_of_itself(log: Log) -> None:
    assert (log.dataset, log.source_log_id, log.split) == ("py123d_nuplan", "log_1", "nuplan_val")
    assert (log.location, log.rate_hz, log.t0_unix_ns) == (PLACE, 10.0, T0_US * 1000)
    assert log.extra["metadata"]["version"] == "0.7.0"
    assert log.extra["ego"]["vehicle_name"] == "pacifica"


def test_ego_is_its_box_and_gives_the_imu_back(log: Log) -> None:
    ego = log.ego
    assert ego is not None
    assert ego.quaternion is not None
    assert ego.velocity is not None
    np.testing.assert_array_equal(ego.t_ns // 1000 + T0_US, stamps(20)[1])
    imu = ego.xyz - rotation_from_quaternion(ego.quaternion) @ np.array(CENTRE)
    np.testing.assert_allclose(imu, [imu_pose(k)[:3] for k in range(20)], atol=1e-9)
    np.testing.assert_allclose(ego.yaw, YAW)
    left = np.array([-np.sin(YAW), np.cos(YAW)])
    wanted = SPEED * np.array([np.cos(YAW), np.sin(YAW)]) + 0.1 * CENTRE[0] * left
    np.testing.assert_allclose(ego.velocity[0], wanted, atol=2e-3)
    assert ego.acceleration is not None
    assert ego.yaw_rate is not None
    np.testing.assert_allclose([ego.acceleration[0], ego.yaw_rate[0]], [0.2, 0.1])
    assert ego.size == (5.176, 2.297, 1.777)
    signals = {series.signal for series in log.readings if series.channel == "ego_state_se3"}
    assert signals == {
        "velocity_z", "acceleration_y", "acceleration_z", "angular_velocity_x",
        "angular_velocity_y",
    }  # fmt: skip


def test_a_box_that_is_turned_against_the_imu(source: Path) -> None:
    """The IMU sits sideways: what it calls forward is the vehicle's left."""
    half = np.sqrt(0.5)
    columns = {
        "timestamp_us": stamps(2),
        "imu_se3": (POSE, [[0.0, 0.0, 0.0, half, 0.0, 0.0, half]] * 2),
        "dynamic_state_se3": (
            pa.list_(pa.float64(), 9),
            [[0.0] * 3 + [3.0, -7.0] + [0.0] * 4] * 2,
        ),
    }
    about = {"length": 4.0, "width": 2.0, "height": 1.5,
             "center_to_imu_se3": [0.0, -1.0, 0.0, half, 0.0, 0.0, -half]}  # fmt: skip
    write_arrow(source / "ego_state_se3.arrow", columns, about)
    ego = read_one(source).ego
    assert ego is not None
    assert ego.acceleration is not None
    np.testing.assert_allclose(ego.yaw, 0.0, atol=1e-12)
    np.testing.assert_allclose(ego.xyz[0], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(ego.acceleration, 7.0)


def test_boxes(log: Log) -> None:
    agents = log.agents
    assert agents.source_track_id == ["a1", "Ä 2"]
    assert agents.source_cls == ["VEHICLE", "PEDESTRIAN"]
    assert agents.cls == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
    assert len(agents.t_ns) == 30
    car = agents.track == 0
    np.testing.assert_array_equal(agents.xyz[car][3], ORIGIN + np.array([23.0, 3.0, 0.5]))
    np.testing.assert_allclose(agents.yaw, YAW)
    np.testing.assert_array_equal(agents.size[0], [4.5, 2.0, 1.6])
    assert agents.velocity is not None
    np.testing.assert_array_equal(agents.velocity[car][0], [1.0, 2.0])
    assert np.isnan(agents.velocity[~car]).all()
    np.testing.assert_array_equal(agents.t_ns[~car][1], 2 * STEP_US * 1000)


def test_lights(log: Log) -> None:
    lights = log.lights
    assert lights.source_lane_id[:2] == ["7", "8"]
    assert lights.source_state[:2] == ["RED", "GREEN"]
    assert lights.state[:2].tolist() == [LightState.RED, LightState.GREEN]
    assert len(lights.t_ns) == 40


def test_labels_of_every_kind_have_a_class() -> None:
    assert sum(len(words) for words in LABELS.values()) == 159
    for name, words in LABELS.items():
        assert len(set(words)) == len(words)
        unknown = [word for word in words if class_of(name, word) is AgentClass.UNKNOWN]
        assert unknown in ([], ["TYPE_UNKNOWN"], ["TYPE_UNSET"])
    assert class_of("AV2SensorBoxDetectionLabel", "BICYCLE") is AgentClass.OBSTACLE
    assert class_of("GriffinBoxDetectionLabel", "BICYCLE") is AgentClass.CYCLIST


def test_labels_of_someone_else_stay_numbers(source: Path) -> None:
    write_boxes(source, 4, labels="my.own.Label")
    log = read_one(source)
    assert log.agents.source_cls == ["0", "2"]
    assert set(log.agents.cls) == {AgentClass.UNKNOWN}
    assert "numbers of Label" in reasons(log, "missing")


def test_the_ego_among_the_boxes_is_left_out(source: Path) -> None:
    write_boxes(source, 4, labels="py123d.datatypes.DefaultBoxDetectionLabel")
    log = read_one(source)
    assert log.agents.source_cls == ["TRAIN"]
    assert "the ego itself" in reasons(log, "dropped")


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


def lane_ids(road: RoadMap) -> dict[str, int]:
    return {f.source_id: f.feature_id for f in road.of_layer(MapLayer.LANE)}


def test_lanes(log: Log) -> None:
    road = log.map
    lanes = {f.source_id: f for f in road.of_layer(MapLayer.LANE)}
    np.testing.assert_array_equal(lanes["1"].points, line(0, 40, 0.0))
    assert lanes["1"].left is not None
    np.testing.assert_array_equal(lanes["1"].left, line(0, 40, 1.75))
    assert [lanes[k].lane_type for k in "12378"] == [
        LaneType.VEHICLE, LaneType.BIKE, LaneType.VEHICLE, LaneType.UNKNOWN, LaneType.BUS,
    ]  # fmt: skip
    assert [lanes[k].speed_limit for k in "17"] == [11.176, None]
    assert [lanes[k].in_intersection for k in "137"] == [False, None, True]
    assert lanes["1"].source_type == "LANE:SURFACE_STREET"
    assert lanes["1"].has_z
    assert road.source_map_id == f"nuplan_{PLACE}"


def test_lane_graph(log: Log) -> None:
    road, ids = log.map, lane_ids(log.map)
    assert road.neighbours(ids["1"], EdgeKind.SUCCESSOR) == [ids["7"]]
    assert road.neighbours(ids["7"], EdgeKind.PREDECESSOR) == [ids["1"]]
    assert road.neighbours(ids["1"], EdgeKind.RIGHT) == [ids["2"]]
    assert road.neighbours(ids["2"], EdgeKind.LEFT) == [ids["1"]]
    assert road.neighbours(ids["1"], EdgeKind.LEFT) == [], "lane 3 comes towards it"
    assert "lead the other way" in reasons(log, "dropped")
    assert "the map lacks" in reasons(log, "dropped"), "lane 99"


def test_every_layer_is_there(log: Log) -> None:
    counts = {layer: len(log.map.of_layer(layer)) for layer in MapLayer}
    assert {layer: n for layer, n in counts.items() if n} == {
        MapLayer.LANE: 5, MapLayer.ROAD_LINE: 1, MapLayer.ROAD_EDGE: 1, MapLayer.CROSSWALK: 1,
        MapLayer.DRIVABLE_AREA: 3, MapLayer.STOP_LINE: 1, MapLayer.INTERSECTION: 1,
        MapLayer.PARKING: 1, MapLayer.WALKWAY: 1, MapLayer.SPEED_BUMP: 1,
    }  # fmt: skip
    (bump,) = log.map.of_layer(MapLayer.SPEED_BUMP)
    np.testing.assert_array_equal(bump.points, ring(10, 11, -5, 2))
    (edge,) = log.map.of_layer(MapLayer.ROAD_EDGE)
    assert edge.source_type == "ROAD_EDGE:ROAD_EDGE_BOUNDARY"
    np.testing.assert_array_equal(edge.points, line(0, 60, -6))
    (stop,) = log.map.of_layer(MapLayer.STOP_LINE)
    lanes = lane_ids(log.map)
    assert log.map.neighbours(stop.feature_id, EdgeKind.STOP_LINE_OF_LANE) == [lanes["1"]]
    (walk,) = log.map.of_layer(MapLayer.CROSSWALK)
    over = with_graph(log.map).neighbours(walk.feature_id, EdgeKind.CROSSWALK_OVER_LANE)
    assert set(over) == {lanes["7"], lanes["8"]}
    assert "renamed" in {note.kind for note in log.notes}, "area 11 and group 11"


def test_the_map_of_another_place_is_left_out(source: Path) -> None:
    path = source.parents[2] / "maps" / "nuplan" / f"nuplan_{PLACE}.arrow"
    write_map(path, location="sg-one-north")
    log = read_one(source)
    assert not log.map.features
    assert "sg-one-north" in reasons(log, "dropped")
    path.unlink()
    assert f"no map of {PLACE}" in reasons(read_one(source), "missing")


def test_maps_root(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.move(source.parents[2] / "maps", tmp_path / "elsewhere")
    assert not read_one(source).map.features
    monkeypatch.setenv("PY123D_MAPS_ROOT", str(tmp_path / "elsewhere"))
    assert read_one(source).map.features
    assert list(py123d.files(source))[-1].name == f"nuplan_{PLACE}.arrow"


def test_a_location_does_not_lead_out_of_the_maps(source: Path) -> None:
    write_sync(source, 20, location="../../secret")
    assert not read_one(source).map.features


# ── Captures ─────────────────────────────────────────────────────────────────────────────────────


def test_the_ego_at_capture(source: Path) -> None:
    write_camera(source, (pa.string(), [f"x/{k}.jpg" for k in range(20)]))
    log = read_one(source)
    camera = next(s for s in log.sensors if s.kind == "camera")
    assert camera.channel == "camera.pcam_f0"
    assert camera.model == "pinhole"
    assert camera.intrinsics == (1545.0, 1546.0, 960.0, 560.0)
    np.testing.assert_array_equal(camera.ego_from_sensor, CAMERA_ON_EGO)
    frame = log.frames[3]
    assert frame.t_ns == (3 * STEP_US + 11) * 1000
    assert frame.world_from_ego is not None
    wanted = np.array(imu_pose(3)[:3]) - CAMERA_ON_EGO[:3]  # the camera looks as it is mounted
    np.testing.assert_allclose(frame.world_from_ego, [*wanted, 1.0, 0.0, 0.0, 0.0], atol=1e-9)


def test_paths_are_relative_to_the_data_set(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_camera(source, (pa.string(), ["a/0.jpg", "../../b.jpg", None, "a/3.png"]))
    log = read_one(source)
    assert [frame.uri for frame in log.frames] == ["a/0.jpg", "a/3.png"]
    assert "NUPLAN_SENSOR_ROOT" in reasons(log, "missing")
    assert "leads out" in reasons(log, "dropped")
    monkeypatch.setenv("NUPLAN_SENSOR_ROOT", str(source))
    (source / "a").mkdir()
    (source / "a" / "0.jpg").write_bytes(b"\xff\xd8")
    log = read_one(source)
    assert log.frames[0].uri == str(source / "a" / "0.jpg")
    assert [frame.codec for frame in log.frames] == ["jpeg", "png"]


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_pictures_in_the_file(source: Path, compression: str | None) -> None:
    blobs: list[bytes | None] = [png(k) for k in range(20)]
    blobs[4] = None
    write_camera(source, (pa.binary(), blobs), compression=compression)
    log = read_one(source)
    assert len(log.frames) == 19
    assert all((frame.container is None) == (compression is None) for frame in log.frames)
    for frame, step in zip(log.frames, [k for k in range(20) if k != 4], strict=True):
        payload = read_payload(
            frame.uri, offset=frame.offset, size=frame.size, container=frame.container
        )
        assert payload == blobs[step]
        np.testing.assert_array_equal(decode_image(frame.codec, payload), grey(step))
    assert not any("camera" in path.name for path in py123d.files(source)), (
        "payloads are no content"
    )


def test_pictures_in_a_video(source: Path) -> None:
    write_camera(source, (pa.int32(), [*range(20), 99]))
    write_video(source / "camera.pcam_f0.mp4", 20)
    log = read_one(source)
    assert [frame.frame_index for frame in log.frames] == list(range(20))
    assert "frames that camera.pcam_f0.mp4 does not have" in reasons(log, "missing")
    assert log.frames[0].codec == "mpeg4"
    assert log.frames[0].keyframe
    pts = [frame.pts for frame in log.frames if frame.pts is not None]
    seen = dict(decode_frames(Path(log.frames[0].uri), pts))
    for step, stamp in enumerate(pts):
        assert abs(float(seen[stamp].mean()) - float(grey(step).mean())) < 6.0, "half a step"


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_clouds(source: Path, compression: str | None) -> None:
    write_lidar(source, [ipc_cloud(k) for k in range(9)], compression=compression)
    log = read_one(source)
    assert [s.channel for s in log.sensors if s.kind == "lidar"] == ["lidar.lidar_top"]
    for step, frame in enumerate(log.frames):
        points = decode_points(
            frame.codec,
            read_payload(
                frame.uri, offset=frame.offset, size=frame.size, container=frame.container
            ),
        )
        np.testing.assert_array_equal(points.xyz, cloud(step))
        assert set(points.channels) == {"intensity", "ring"}
        assert points.frame == "ego"
        assert frame.t_end_ns == frame.t_ns + 50_000_000


def test_clouds_that_only_others_can_decode(source: Path) -> None:
    write_lidar(source, [b"LASF" + bytes(40), b"DRACO" + bytes(40)])
    log = read_one(source)
    assert [frame.codec for frame in log.frames] == ["raw", "raw"]
    assert "cannot be decoded" in reasons(log, "missing")
    with pytest.raises(ValueError, match="no cloud"):
        py123d.decode_points(b"\xff\xff\xff\xff123")


def test_a_merged_cloud_tells_whom_it_is_of(source: Path) -> None:
    columns = {"timestamp_us": stamps(1), "end_timestamp_us": stamps(1),
               "data": (pa.string(), ["a.pcd"])}  # fmt: skip
    one = {"lidar_name": "x", "lidar_id": 2, "lidar_to_imu_se3": [1.0, 0, 2, 1, 0, 0, 0]}
    write_arrow(source / "lidar.lidar_merged.arrow", columns, {"2": one, "5": one})
    channels = [s.channel for s in read_one(source).sensors if s.kind == "lidar"]
    assert channels == [
        "lidar.lidar_merged", "lidar.lidar_merged/top", "lidar.lidar_merged/side_right",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "model", "intrinsics"),
    [
        (
            {"camera_model": "fisheye_mei", "projection": [1.0, 2.0, 3.0, 4.0],
             "mirror_parameter": 2.2, "intrinsics": None},
            "mei", (1.0, 2.0, 3.0, 4.0, 2.2),
        ),
        (
            {"camera_model": "ftheta", "intrinsics": [9.0, 8.0, 0.0, 500.0, *[0.0] * 10]},
            "ftheta", (500.0, 500.0, 9.0, 8.0, 0.0, 500.0, *[0.0] * 10),
        ),
        ({"intrinsics": [1.0, 2.0, 3.0, 4.0, 0.5]}, "pinhole", (1.0, 2.0, 3.0, 4.0, 0.5)),
        ({"camera_model": "periscope", "intrinsics": None}, "none", ()),
    ],
)  # fmt: skip
def test_camera_models(
    source: Path, told: dict[str, object], model: str, intrinsics: tuple[float, ...]
) -> None:
    write_camera(source, (pa.string(), ["a.jpg"]), metadata=camera_metadata(**told))
    camera = next(s for s in read_one(source).sensors if s.kind == "camera")
    assert (camera.model, camera.intrinsics) == (model, intrinsics)


def test_label_images_are_no_pictures(source: Path) -> None:
    about = {"camera_metadata": camera_metadata(), "channel_type": "semantic"}
    write_camera(
        source, (pa.binary(), [png(0)]), key="camera_semantic.pcam_f0", metadata=about
    )  # fmt: skip
    log = read_one(source)
    assert [frame.codec for frame in log.frames] == ["raw"]
    camera = next(s for s in log.sensors if s.kind == "camera")
    assert camera.intrinsics == (1545.0, 1546.0, 960.0, 560.0)
    assert log.frames[0].world_from_ego is not None


# ── Readings ─────────────────────────────────────────────────────────────────────────────────────


def test_sensors_without_captures(source: Path) -> None:
    vector = pa.list_(pa.float64(), 3)
    itself = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    write_arrow(
        source / "imu.imu0.arrow",
        {"timestamp_us": stamps(3), "angular_velocity": (vector, [[0.1, 0.2, 0.3]] * 3),
         "linear_acceleration": (vector, [[0.0, 0.0, 9.81], None, [0.0, 0.0, 9.7]])},
        {"imu_name": "imu0", "imu_to_imu_se3": itself},
    )  # fmt: skip
    write_arrow(
        source / "gnss.g.arrow",
        {"timestamp_us": stamps(2), "lla": (vector, [[36.1, -115.2, 600.0]] * 2),
         "status": (pa.int32(), [0, None])},
        {"gnss_name": "g", "gnss_to_imu_se3": itself},
    )  # fmt: skip
    write_arrow(
        source / "custom.scenario.arrow",
        {"timestamp_us": stamps(2),
         "data": (pa.binary(), [packed({"tag": "lead", "ids": np.array([1, 2])}), None])},
        {"modality_id": "scenario", "metadata": {}},
    )  # fmt: skip
    log = read_one(source)
    told = {(r.channel, r.signal): r for r in log.readings}
    kinds = {s.channel: s.kind for s in log.sensors}
    assert (kinds["imu.imu0"], kinds["gnss.g"], kinds["custom.scenario"]) == (
        "imu",
        "gnss",
        "other",
    )
    rate = told["imu.imu0", "linear_acceleration_z"]
    assert rate.unit == "m/s2"
    np.testing.assert_array_equal(rate.value, [9.81, np.nan, 9.7])
    assert told["gnss.g", "latitude"].unit == "deg"
    np.testing.assert_array_equal(told["gnss.g", "altitude"].value, [600.0, 600.0])
    np.testing.assert_array_equal(told["gnss.g", "status"].value, [0.0, np.nan])
    assert told["custom.scenario", "data"].text == ['{"tag": "lead", "ids": [1, 2]}', "null"]


# ── Time and parts ───────────────────────────────────────────────────────────────────────────────


def test_a_long_log_comes_in_parts_of_a_minute(tmp_path: Path) -> None:
    source = write_log(tmp_path / "log_1", steps=1250)
    write_lidar(source, [ipc_cloud(k) for k in range(1250)])
    logs = [part for part in py123d.read(source) if isinstance(part, Log)]
    assert [(log.part, log.more) for log in logs] == [(0, True), (1, True), (2, False)]
    for log in logs:
        check_log(log)
        assert log.ego is not None
        assert (log.ego.t_ns // 60_000_000_000 == log.part).all()
    together = np.concatenate([log.ego.t_ns for log in logs if log.ego])
    np.testing.assert_array_equal(together // 1000 + T0_US, stamps(1250)[1])
    assert sum(len(log.agents.t_ns) for log in logs) == 1250 + 625
    last = logs[2].frames[-1]
    points = decode_points(last.codec, read_payload(last.uri, offset=last.offset, size=last.size))
    np.testing.assert_array_equal(points.xyz, cloud(1249))


def test_rows_that_run_back_in_time_are_put_in_order(source: Path) -> None:
    kind, times = stamps(20)
    times[3], times[9] = times[9], times[3]
    times[11], times[12] = None, times[13]  # type: ignore[call-overload]
    blobs = [ipc_cloud(k) for k in range(20)]
    columns = {"timestamp_us": (kind, times), "data": (pa.binary(), blobs)}
    write_arrow(source / "lidar.lidar_top.arrow", columns, {})
    log = read_one(source)
    assert len(log.frames) == 18
    frame = next(f for f in log.frames if f.t_ns == 3 * STEP_US * 1000)
    payload = read_payload(frame.uri, offset=frame.offset, size=frame.size)
    np.testing.assert_array_equal(decode_points(frame.codec, payload).xyz, cloud(9))
    dropped = reasons(log, "dropped")
    assert "without stamp" in dropped
    assert "at a time told before" in dropped


def test_stamps_that_hide_when_it_was(tmp_path: Path) -> None:
    source = tmp_path / "log_1"
    write_sync(source, 3)
    columns = {"timestamp_us": (pa.int64(), [0, 100_000, 200_000]),
               "imu_se3": (POSE, [imu_pose(k) for k in range(3)])}  # fmt: skip
    write_arrow(source / "ego_state_se3.arrow", columns, {})
    log = read_one(source)
    assert log.t0_unix_ns is None
    assert log.extra["source_t0_us"] == 0
    assert log.ego is not None
    assert log.ego.velocity is None
    assert "size of the ego" in reasons(log, "guessed")
    assert "no box_detections_se3" in reasons(log, "missing")


# ── Files that are something else ────────────────────────────────────────────────────────────────


def test_other_arrow_files_are_not_claimed(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    write_arrow(folder / "sync.arrow", {"a": (pa.int64(), [1])}, {})
    write_arrow(folder / "table.arrow", {"b": (pa.int64(), [1])}, {})
    (tmp_path / "void").mkdir()
    (tmp_path / "void" / "sync.arrow").write_bytes(b"")
    assert list(py123d.sources(tmp_path)) == []
    with pytest.raises(UnreadableFile, match="has no sync"):
        list(py123d.read(tmp_path))


def test_a_broken_log_is_found_and_refused(source: Path) -> None:
    content = (source / "sync.arrow").read_bytes()
    (source / "sync.arrow").write_bytes(content[:100])
    assert list(py123d.sources(source)) == [source]
    with pytest.raises(UnreadableFile, match=r"sync\.arrow"):
        list(py123d.read(source))


def test_damage_within_is_named(source: Path) -> None:
    path = source / "box_detections_se3.arrow"
    content = bytearray(path.read_bytes())
    for at in range(1500, len(content) - 2500, 3):
        content[at] ^= 0xA5
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"box_detections_se3\.arrow"):
        list(py123d.read(source))


def test_columns_of_another_type_are_refused(source: Path) -> None:
    path = source / "ego_state_se3.arrow"
    write_arrow(path, {"timestamp_us": stamps(2), "imu_se3": (pa.string(), ["a", "b"])}, {})
    with pytest.raises(BadRecord, match=r"ego_state_se3\.arrow.*lists of 7 numbers"):
        list(py123d.read(source))
    write_arrow(path, {"timestamp_us": (pa.string(), ["now"])}, {})
    with pytest.raises(UnreadableFile, match="no whole microseconds"):
        list(py123d.read(source))
    write_arrow(path, {"time": (pa.string(), ["now"])}, {})
    with pytest.raises(UnreadableFile, match="has no column"):
        list(py123d.read(source))


def test_a_log_without_rows_is_rejected(tmp_path: Path) -> None:
    (found,) = py123d.read(write_log(tmp_path / "log_1", steps=0))
    assert isinstance(found, Rejected)


def test_packed_files_are_read_in_place(source: Path) -> None:
    write_lidar(source, [ipc_cloud(k) for k in range(3)])
    before = read_one(source)
    for path in source.glob("*.arrow"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert list(py123d.sources(source.parent)) == [source]
    after = read_one(source)
    np.testing.assert_array_equal(before.agents.xyz, after.agents.xyz)
    assert not after.frames
    assert "packed" in reasons(after, "dropped")


def test_a_table_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.arrow"
    table = pa.table({"x.timestamp_us": np.zeros(2**18, dtype="i8")})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    monkeypatch.setattr("formats.unpacked.MAX_UNPACKED", 2**20)
    for read in (py123d_file.read_all, py123d_file.ArrowFile):
        with pytest.raises(UnreadableFile, match="unpacks to more than"):
            read(path)

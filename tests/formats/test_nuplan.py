"""nuPlan: written in the published schema, read back by answers computed by hand."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from formats import nuplan
from formats.nuplan_map import find_map, read_map
from formats.registry import Rejected
from geometry.frames import rotation_from_quaternion
from schemas.errors import BadInput, BadRecord, UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log, MapFeature, RoadMap
from tests.builders import with_graph
from tests.contracts import ReaderContract, check_log
from tests.formats.nuplan_files import (
    CITY,
    EPSG,
    LANE_WIDTH,
    SPEED,
    T0_US,
    VERSION,
    YAW,
    Truth,
    ahead,
    road_line,
    token,
    write_log,
    write_map,
    write_maps,
    write_tables,
)

NAME = "2021.08.25.18.00.00_veh-35_00001_00003"
LEFT = np.array([-np.sin(YAW), np.cos(YAW)])


@pytest.fixture(autouse=True)
def _no_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own data folders hold does not matter here."""
    for name in ("NUPLAN_MAPS_ROOT", "NUPLAN_DATA_ROOT", "NUPLAN_SENSOR_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folders as after the download."""
    write_maps(tmp_path / "nuplan" / "maps")
    return tmp_path / "nuplan"


@pytest.fixture
def truth(root: Path) -> Truth:
    return write_log(root / "nuplan-v1.1" / "splits" / "mini" / f"{NAME}.db")


@pytest.fixture
def log(truth: Truth) -> Log:
    return read_one(truth.source)


def read_one(source: Path) -> Log:
    (found,) = nuplan.read(source)
    assert isinstance(found, Log)
    check_log(found)
    return found


def change(source: Path, sql: str, *values: object) -> None:
    database = sqlite3.connect(source)
    database.execute(sql, values)
    database.commit()
    database.close()


def reasons(log: Log, kind: str) -> str:
    return "; ".join(note.reason for note in log.notes if note.kind == kind)


class TestNuPlan(ReaderContract):
    @pytest.fixture
    def module(self) -> object:
        return nuplan

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        truth = write_log(tmp_path / "in" / f"{NAME}.db")
        write_map(tmp_path / "in" / "map.gpkg")
        return truth.source


def test_ego_is_its_box_and_gives_the_rear_axle_back(log: Log, truth: Truth) -> None:
    ego = log.ego
    assert ego is not None
    assert ego.quaternion is not None
    assert ego.velocity is not None
    assert log.t0_unix_ns == T0_US * 1000
    np.testing.assert_array_equal(ego.t_ns // 1000 + T0_US, truth.ego_us)
    axle = ego.xyz - rotation_from_quaternion(ego.quaternion) @ log.extra["centre_in_ego_m"]
    np.testing.assert_allclose(axle, truth.ego_xyz, atol=1e-6)
    np.testing.assert_allclose(ego.xyz[0, :2], ahead(1.461), atol=1e-6)
    np.testing.assert_allclose(ego.yaw, YAW)
    turning = 0.1 * 1.461  # [m/s] the middle swings out while the vehicle turns at 0.1 rad/s
    wanted = SPEED * np.array([np.cos(YAW), np.sin(YAW)]) + turning * LEFT
    np.testing.assert_allclose(ego.velocity[0], wanted, atol=2e-3)
    np.testing.assert_allclose([ego.acceleration[0], ego.yaw_rate[0]], [0.2, 0.1])  # type: ignore[index]
    assert ego.size == (5.176, 2.297, 1.777)


def test_motion_beyond_the_ego_s_columns_is_read_as_imu(log: Log) -> None:
    told = {series.signal: series for series in log.readings}
    assert set(told) == {
        "vz", "acceleration_y", "acceleration_z", "angular_rate_x", "angular_rate_y",
    }  # fmt: skip
    assert told["acceleration_z"].value is not None
    np.testing.assert_allclose(told["acceleration_z"].value, 9.8)


def test_boxes(log: Log, truth: Truth) -> None:
    agents = log.agents
    assert agents.source_track_id == [token(7, k).hex() for k in range(3)]
    assert agents.source_cls == ["vehicle", "pedestrian", "generic_object"]
    assert agents.cls == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN, AgentClass.OTHER]
    car = agents.track == 0
    np.testing.assert_array_equal(agents.t_ns[car] // 1000 + T0_US, truth.sweep_us)
    driven = (truth.sweep_us - T0_US) / 1e6 * SPEED
    np.testing.assert_allclose(agents.xyz[car, :2], ahead(driven + 20.0), atol=1e-9)
    np.testing.assert_array_equal(agents.size[0], [4.5, 2.0, 1.6])
    assert agents.velocity is not None
    np.testing.assert_allclose(np.hypot(*agents.velocity[car].T), SPEED)


def test_tags_are_kept_one_to_one(log: Log, truth: Truth) -> None:
    first, second, third = log.events
    assert (first.name, first.source_track_id) == ("following_lane_with_lead", token(7, 0).hex())
    assert (second.name, second.source_track_id) == ("stationary", None)
    assert first.t0_ns == first.t1_ns == (truth.sweep_us[3] - T0_US) * 1000
    assert third.detail == {
        "token": token(10, 2).hex(),
        "lidar_pc_token": token(6, len(truth.sweep_us) - 1).hex(),
    }


def test_scenes_are_windows_with_goal_and_route(log: Log, truth: Truth) -> None:
    one, two = log.windows
    assert (one.source_scene_id, two.source_scene_id) == (token(5, 0).hex(), token(5, 1).hex())
    assert two.t1_ns == (truth.sweep_us[-1] - T0_US) * 1000
    told = log.extra["scenes"][one.source_scene_id]
    assert told["roadblock_ids"] == ["11", "401", "12"]
    assert told["name"] == f"{NAME}_0"
    assert told["goal"]["x"] == truth.ego_xyz[-1, 0]
    assert told["goal_t_ns"] == (truth.ego_us[-1] - T0_US) * 1000


def test_lights_stand_where_their_connector_begins(log: Log) -> None:
    lights = log.lights
    assert lights.source_lane_id[:2] == ["301", "302"]
    assert lights.source_state[:2] == ["red", "green"]
    assert lights.state[:2].tolist() == [LightState.RED, LightState.GREEN]
    assert len(lights.t_ns) == 2 * 40
    np.testing.assert_allclose(lights.stop_xyz[0, :2], ahead(40.0), atol=1e-3)
    assert "begins" in reasons(log, "guessed")


def test_sensors_and_frames(log: Log, truth: Truth, root: Path) -> None:
    motion, camera, lidar = log.sensors
    assert (motion.channel, camera.channel, lidar.channel) == (
        "ego_pose", "CAM_F0", "MergedPointCloud",
    )  # fmt: skip
    assert camera.ego_from_sensor is not None
    np.testing.assert_array_equal(camera.ego_from_sensor, [1.5, 0, 1.6, 0.5, -0.5, 0.5, -0.5])
    assert camera.intrinsics == (1545.0, 1546.0, 960.0, 560.0)
    assert camera.distortion == (-0.356, 0.172, -0.002, 0.0005, -0.05)
    assert (camera.width, camera.height) == (1920, 1080)
    images = [f for f in log.frames if f.channel == "CAM_F0"]
    sweeps = [f for f in log.frames if f.channel == "MergedPointCloud"]
    assert (len(images), len(sweeps)) == (20, 40)
    blobs = root / "nuplan-v1.1" / "sensor_blobs"
    assert images[3].uri == str(blobs / NAME / "CAM_F0" / "0003.jpg")
    assert images[3].t_ns == (truth.ego_us[30] + 1 - T0_US) * 1000
    assert (images[0].codec, sweeps[0].codec) == ("jpeg", "pcd")
    assert images[3].world_from_ego is not None
    np.testing.assert_array_equal(images[3].world_from_ego[:3], truth.ego_xyz[30])
    (missing,) = (n for n in log.notes if "sensor files" in n.reason)
    assert missing.count == 60


def test_sensor_files_that_are_there_are_not_missed(truth: Truth, root: Path) -> None:
    folder = root / "nuplan-v1.1" / "sensor_blobs" / NAME / "CAM_F0"
    folder.mkdir(parents=True)
    for k in range(20):
        (folder / f"{k:04d}.jpg").write_bytes(b"\xff\xd8")
    (missing,) = (n for n in read_one(truth.source).notes if "sensor files" in n.reason)
    assert missing.count == 40, "the sweeps alone"


def test_what_the_log_says_of_itself(log: Log) -> None:
    assert (log.dataset, log.source_log_id, log.split) == ("nuplan", NAME, "mini")
    assert (log.location, log.epsg, log.license) == ("las_vegas", EPSG, "CC BY-NC-SA 4.0")
    assert log.extra["log"]["vehicle_name"] == "veh-35"
    assert log.extra["log"]["token"] == token(0, 0).hex()


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


def feature(road: RoadMap, layer: MapLayer, source_id: str) -> MapFeature:
    return next(f for f in road.of_layer(layer) if f.source_id == source_id)


def lane(road: RoadMap, source_id: str) -> MapFeature:
    return feature(road, MapLayer.LANE, source_id)


def test_lines_come_back_from_degrees(log: Log) -> None:
    for source_id, begin, end, left in (("101", 0, 40, 0.0), ("301", 40, 60, 0.0)):
        points = lane(log.map, source_id).points
        np.testing.assert_allclose(points[:, :2], road_line(begin, end, left), atol=1e-4)
    area = feature(log.map, MapLayer.PARKING, "821").points
    np.testing.assert_allclose(area[0, :2], ahead(0.0, left=20.0), atol=1e-4)
    assert not lane(log.map, "101").has_z


def test_boundaries_run_with_their_lane(log: Log) -> None:
    found = lane(log.map, "101")
    assert found.left is not None
    assert found.right is not None
    np.testing.assert_allclose(found.left[:, :2], road_line(0, 40, LANE_WIDTH / 2), atol=1e-4)
    np.testing.assert_allclose(found.right[:, :2], road_line(0, 40, -LANE_WIDTH / 2), atol=1e-4)
    connector = lane(log.map, "301")
    assert connector.left is not None
    assert lane(log.map, "302").left is None


def test_lane_graph(log: Log) -> None:
    road = log.map
    ids = {name: lane(road, name).feature_id for name in ("101", "102", "201", "301", "302")}
    assert road.neighbours(ids["101"], EdgeKind.SUCCESSOR) == [ids["301"]]
    assert road.neighbours(ids["301"], EdgeKind.SUCCESSOR) == [ids["201"]]
    assert road.neighbours(ids["301"], EdgeKind.PREDECESSOR) == [ids["101"]]
    assert sorted(road.neighbours(ids["201"], EdgeKind.PREDECESSOR)) == [ids["301"], ids["302"]]
    assert road.neighbours(ids["101"], EdgeKind.RIGHT) == [ids["102"]]
    assert road.neighbours(ids["102"], EdgeKind.LEFT) == [ids["101"]]
    assert road.neighbours(ids["101"], EdgeKind.LEFT) == []


def test_lane_attributes(log: Log) -> None:
    one, bike = lane(log.map, "101"), lane(log.map, "102")
    connector, turn = lane(log.map, "301"), lane(log.map, "302")
    assert (one.lane_type, bike.lane_type) == (LaneType.VEHICLE, LaneType.BIKE)
    assert (connector.lane_type, turn.lane_type) == (LaneType.VEHICLE, LaneType.UNKNOWN)
    assert (one.speed_limit, connector.speed_limit) == (11.176, None)
    assert (one.in_intersection, connector.in_intersection) == (False, True)
    assert turn.source_type == "lane_connectors:LEFT"
    assert "keep the line of their own" in reasons(log, "guessed"), "302 has no baseline path"


def test_stop_lines_and_crosswalks_know_their_lanes(log: Log) -> None:
    road = log.map
    stop = feature(road, MapLayer.STOP_LINE, "601")
    assert stop.source_type == "stop_polygons:TRAFFIC_LIGHT"
    stopped = {
        road.features[k].source_id
        for k in road.neighbours(stop.feature_id, EdgeKind.STOP_LINE_OF_LANE)
    }
    assert stopped == {"101", "102", "301", "302"}
    crosswalk = feature(road, MapLayer.CROSSWALK, "801")
    over = with_graph(road).neighbours(crosswalk.feature_id, EdgeKind.CROSSWALK_OVER_LANE)
    assert {road.features[k].source_id for k in over} == {"301", "302"}, "by their shapes"


def test_every_layer_is_there(log: Log) -> None:
    counts = {layer: len(log.map.of_layer(layer)) for layer in MapLayer}
    assert {layer: n for layer, n in counts.items() if n} == {
        MapLayer.LANE: 5, MapLayer.ROAD_LINE: 5, MapLayer.OTHER: 2, MapLayer.CROSSWALK: 1,
        MapLayer.DRIVABLE_AREA: 5, MapLayer.STOP_LINE: 1, MapLayer.INTERSECTION: 1,
        MapLayer.PARKING: 1, MapLayer.TRAFFIC_LIGHT: 1, MapLayer.WALKWAY: 1,
    }  # fmt: skip
    assert "dubins_nodes" in reasons(log, "dropped")


def test_logs_of_a_city_share_its_map(truth: Truth) -> None:
    other = write_log(truth.source.with_name("other.db"))
    assert read_one(truth.source).map is read_one(other.source).map


def test_the_listed_version_of_the_map_is_taken(tmp_path: Path) -> None:
    listed = write_maps(tmp_path)
    newer = listed.parents[1] / "9.99.1" / "map.gpkg"
    write_map(newer)
    assert find_map(tmp_path / "a.db", CITY) == listed
    (tmp_path / "nuplan-maps-v1.0" / "nuplan-maps-v1.0.json").unlink()
    assert find_map(tmp_path / "a.db", CITY) == newer, f"9.99 is later than {VERSION}"
    assert find_map(tmp_path / "a.db", "../maps") is None
    assert find_map(tmp_path / "a.db", "sg-one-north") is None


def test_maps_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_maps(tmp_path / "far" / "away")
    monkeypatch.setenv("NUPLAN_MAPS_ROOT", str(path.parents[2]))
    truth = write_log(tmp_path / "near" / "a.db")
    assert list(nuplan.files(truth.source)) == [truth.source, path]
    assert read_one(truth.source).map.features


def test_without_a_map(tmp_path: Path) -> None:
    log = read_one(write_log(tmp_path / "a.db").source)
    assert not log.map.features
    assert "NUPLAN_MAPS_ROOT" in reasons(log, "missing")
    assert np.isnan(log.lights.stop_xyz).all()
    assert log.epsg == EPSG


def test_the_map_of_another_city_is_left_out(truth: Truth) -> None:
    change(truth.source, "UPDATE ego_pose SET x = x + 30000")
    log = read_one(truth.source)
    assert not log.map.features
    assert "30 km outside" in reasons(log, "dropped")


def test_a_map_without_projection_is_refused(tmp_path: Path) -> None:
    write_map(tmp_path / "map.gpkg", projection=None)
    with pytest.raises(UnreadableFile, match=r"map\.gpkg.*projection"):
        read_map(tmp_path / "map.gpkg", CITY)
    write_map(tmp_path / "b.gpkg", projection="no such thing")
    with pytest.raises(UnreadableFile, match=r"b\.gpkg.*not known"):
        read_map(tmp_path / "b.gpkg", CITY)


def test_broken_shapes_are_counted(tmp_path: Path) -> None:
    path = write_maps(tmp_path)
    change(path, "UPDATE walkways SET geom = x'4750000300'")
    change(path, "UPDATE baseline_paths SET geom = NULL WHERE lane_fid = 201")
    change(path, "UPDATE boundaries SET geom = substr(geom, 1, 60) WHERE fid = 6")
    log = read_one(write_log(tmp_path / "a.db").source)
    assert not log.map.of_layer(MapLayer.WALKWAY)
    dropped = reasons(log, "dropped")
    assert "geometry of walkways" in dropped
    assert "geometry of boundaries" in dropped
    assert "lanes without baseline path and boundaries" in dropped, "201 lost both"


# ── Time and parts ───────────────────────────────────────────────────────────────────────────────


def test_a_long_log_comes_in_parts_of_a_minute(tmp_path: Path) -> None:
    truth = write_log(tmp_path / "long.db", seconds=130.0, scene_s=20.0)
    parts = list(nuplan.read(truth.source))
    assert all(isinstance(part, Log) for part in parts)
    logs = [part for part in parts if isinstance(part, Log)]
    assert [(log.part, log.more) for log in logs] == [(0, True), (1, True), (2, False)]
    for log in logs:
        check_log(log)
        assert log.ego is not None
        assert (log.ego.t_ns // 60_000_000_000 == log.part).all()
    stamps = np.concatenate([log.agents.t_ns[log.agents.track == 0] for log in logs])
    np.testing.assert_array_equal(stamps // 1000 + T0_US, truth.sweep_us)
    assert sum(len(log.ego.t_ns) for log in logs if log.ego) == len(truth.ego_us)
    assert sum(len(log.windows) for log in logs) == 7
    assert sum(len(log.events) for log in logs) == 3
    assert all(log.sensors == logs[0].sensors and log.map is logs[0].map for log in logs)


def test_a_clock_that_jumps_makes_no_endless_parts(truth: Truth) -> None:
    change(
        truth.source, "UPDATE ego_pose SET timestamp = timestamp - 1000000000000 WHERE rowid = 1"
    )
    one, two = nuplan.read(truth.source)
    assert isinstance(one, Log)
    assert isinstance(two, Log)
    assert (one.part, two.part, two.more) == (0, 1, False)
    check_log(two)


def test_without_an_index_the_order_is_the_same(truth: Truth) -> None:
    before = read_one(truth.source)
    change(truth.source, "CREATE TABLE t AS SELECT * FROM lidar_box ORDER BY track_token DESC")
    change(truth.source, "DROP TABLE lidar_box")
    change(truth.source, "ALTER TABLE t RENAME TO lidar_box")
    after = read_one(truth.source)
    of = {name: k for k, name in enumerate(after.agents.source_track_id)}
    for k, name in enumerate(before.agents.source_track_id):
        np.testing.assert_array_equal(
            before.agents.xyz[before.agents.track == k],
            after.agents.xyz[after.agents.track == of[name]],
        )


def test_repeated_and_unusable_rows_are_counted(truth: Truth) -> None:
    change(truth.source, "UPDATE ego_pose SET timestamp = timestamp - 10000 WHERE rowid = 5")
    change(truth.source, "UPDATE ego_pose SET qw = 0, qz = 0 WHERE rowid = 9")
    change(truth.source, "UPDATE lidar_box SET x = NULL WHERE rowid = 2")
    change(truth.source, "UPDATE lidar_box SET yaw = 9e999 WHERE rowid = 3")
    change(truth.source, "UPDATE lidar_box SET track_token = x'00' WHERE rowid = 4")
    change(truth.source, "UPDATE lidar_box SET lidar_pc_token = x'00' WHERE rowid = 7")
    change(truth.source, "UPDATE image SET timestamp = NULL WHERE rowid = 1")
    change(truth.source, "UPDATE lidar_pc SET filename = '../../secret.pcd' WHERE rowid = 1")
    change(truth.source, "UPDATE traffic_light_status SET status = 'purple' WHERE rowid = 1")
    log = read_one(truth.source)
    notes = {note.reason: note.count for note in log.notes}
    assert log.ego is not None
    assert len(log.ego.t_ns) == 198
    assert notes["poses of the ego at a time told before"] == 1
    assert notes["poses of the ego that are no poses"] == 1
    assert notes["boxes without place or heading"] == 2
    assert notes["rows of lidar_box whose lidar_pc is not there or has no stamp"] == 1
    assert notes["rows of image without a usable stamp"] == 1
    assert notes["tracks of no category"] == 1
    assert log.agents.cls[log.agents.source_track_id.index("00")] is AgentClass.UNKNOWN
    assert not any("secret" in frame.uri for frame in log.frames)
    assert log.lights.state[0] == LightState.UNKNOWN
    assert log.lights.source_state[0] == "purple"


def test_two_cameras_of_one_name(truth: Truth) -> None:
    change(truth.source, "INSERT INTO camera SELECT x'99', log_token, channel, model, x'00', "
                         "rotation, NULL, NULL, NULL, NULL FROM camera")  # fmt: skip
    change(truth.source, "UPDATE image SET camera_token = x'99' WHERE rowid > 10")
    log = read_one(truth.source)
    assert [s.channel for s in log.sensors if s.kind == "camera"] == ["CAM_F0", "CAM_F0#2"]
    assert log.sensors[2].ego_from_sensor is None
    assert "calibration that is no list of numbers" in reasons(log, "missing")


def test_a_column_of_words_where_numbers_belong(truth: Truth) -> None:
    change(truth.source, "UPDATE lidar_box SET x = 'here' WHERE rowid = 2")
    with pytest.raises(BadRecord, match=r"\.db, part 0.*here"):
        list(nuplan.read(truth.source))


# ── Files that are something else ────────────────────────────────────────────────────────────────


def test_other_databases_are_not_claimed(tmp_path: Path) -> None:
    write_tables(tmp_path / "songs.db", "CREATE TABLE track (token TEXT, title TEXT)", {})
    (tmp_path / "berkeley.db").write_bytes(bytes(12) + b"\x62\x31\x05\x00" + bytes(500))
    (tmp_path / "empty.db").write_bytes(b"")
    assert list(nuplan.sources(tmp_path)) == []
    with pytest.raises(UnreadableFile, match="no table ego_pose"):
        list(nuplan.read(tmp_path / "songs.db"))
    with pytest.raises(UnreadableFile, match="is no SQLite database"):
        list(nuplan.read(tmp_path / "berkeley.db"))


def test_broken_logs_beside_good_ones_are_found_and_refused(truth: Truth) -> None:
    content = truth.source.read_bytes()
    cut = truth.source.with_name("cut.db")
    cut.write_bytes(content[: len(content) // 3])
    empty = truth.source.with_name("void.db")
    empty.write_bytes(b"")
    assert set(nuplan.sources(truth.source.parent)) == {cut, truth.source, empty}
    with pytest.raises(UnreadableFile, match=r"cut\.db.*cut off"):
        list(nuplan.read(cut))
    damaged = truth.source.with_name("damaged.db")
    damaged.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(BadInput, match=r"damaged\.db"):
        list(nuplan.read(damaged))


def test_packed_logs(truth: Truth, tmp_path: Path) -> None:
    packed = tmp_path / "packed" / f"{NAME}.db.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(truth.source.read_bytes()))
    assert list(nuplan.sources(packed.parent)) == [packed]
    log = read_one(packed)
    assert log.source_log_id == NAME
    assert len(log.agents.t_ns) == 120
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(UnreadableFile, match=r"\.db\.gz.*too early"):
        list(nuplan.read(packed))


def test_an_empty_log_is_rejected(tmp_path: Path) -> None:
    source = write_log(tmp_path / "a.db").source
    for table in ("ego_pose", "lidar_pc", "image"):
        change(source, f"DELETE FROM {table}")
    (found,) = nuplan.read(source)
    assert isinstance(found, Rejected)


def test_two_logs_in_one_file_are_rejected(truth: Truth) -> None:
    change(truth.source, "INSERT INTO log SELECT x'77', vehicle_name, date, timestamp, logfile, "
                         "location, map_version FROM log")  # fmt: skip
    (found,) = nuplan.read(truth.source)
    assert isinstance(found, Rejected)
    assert "2 logs" in found.reason


def test_tables_that_are_not_there_are_missed(truth: Truth) -> None:
    for table in (
        "log",
        "scene",
        "scenario_tag",
        "traffic_light_status",
        "camera",
        "image",
        "lidar",
    ):
        change(truth.source, f"DROP TABLE {table}")
    log = read_one(truth.source)
    assert log.source_log_id == NAME
    assert "table scenario_tag" in reasons(log, "missing")
    assert log.ego is not None
    assert len(log.agents.t_ns) == 120
    change(truth.source, "ALTER TABLE lidar_box DROP COLUMN yaw")
    with pytest.raises(UnreadableFile, match="lidar_box lacks the columns yaw"):
        list(nuplan.read(truth.source))

"""MCAP recordings: what robots record is read where it lies, in one frame and one clock."""

from __future__ import annotations

import math
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import mcap, osi
from formats.mcap_file import McapFile, unpack_chunk
from formats.mcap_settings import FILE
from formats.media import decode_image, decode_points, read_payload
from formats.registry import Reader, Rejected
from formats.robot_payloads import pixels
from formats.ros_messages import decode
from formats.transforms import TransformTree
from schemas.errors import BadSetting, UnreadableFile
from schemas.labels import AgentClass, LightState
from schemas.records import Log, Readings
from tests.contracts import ReaderContract, check_log
from tests.formats.mcap_files import (
    LATENCY_NS,
    START_NS,
    STEP_NS,
    Bag,
    camera_info,
    definition,
    header,
    jpeg,
    odometry,
    pose,
    stamp,
    tracked,
    transform,
    write_bag,
    write_drive,
    write_foxglove,
    write_ros1,
)


class TestMcap(ReaderContract):
    @pytest.fixture
    def module(self) -> Reader:
        return mcap

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_drive(tmp_path / "in" / "drive.mcap")


class TestBagFolder(ReaderContract):
    @pytest.fixture
    def module(self) -> Reader:
        return mcap

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_bag(tmp_path / "in" / "bag")


def logs(path: Path) -> list[Log]:
    found = list(mcap.read(path))
    made = [log for log in found if isinstance(log, Log)]
    assert len(made) == len(found), found
    for log in made:
        check_log(log)
    return made


def one(path: Path) -> Log:
    (log,) = logs(path)
    return log


def notes(log: Log) -> str:
    return "\n".join(f"{note.kind}: {note.reason} ({note.count})" for note in log.notes)


def series(log: Log, channel: str, signal: str) -> Readings:
    (found,) = (r for r in log.readings if (r.channel, r.signal) == (channel, signal))
    return found


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return one(write_drive(tmp_path_factory.mktemp("drive") / "drive.mcap"))


class TestDrive:
    def test_stamps_are_those_of_capture(self, drive: Log) -> None:
        assert drive.t0_unix_ns == START_NS
        assert drive.ego is not None
        np.testing.assert_array_equal(drive.ego.t_ns, np.arange(11) * STEP_NS)
        shots = [frame.t_ns for frame in drive.frames if frame.channel.startswith("/cam")]
        assert shots == [7 + k * STEP_NS for k in range(11)]

    def test_the_vehicle(self, drive: Log) -> None:
        ego = drive.ego
        assert ego is not None
        np.testing.assert_array_equal(ego.xyz[:, 1], 50.0 + np.arange(11))
        np.testing.assert_allclose(ego.yaw, np.pi / 2)
        np.testing.assert_allclose(ego.velocity, [[0.0, 10.0]] * 11, atol=1e-12)
        np.testing.assert_allclose(ego.yaw_rate, 0.1)
        assert "size is not told" in notes(drive)
        assert "centred there" in notes(drive)

    def test_road_users_are_told_in_the_world(self, drive: Log) -> None:
        agents = drive.agents
        assert list(agents.source_track_id) == ["01" * 16, "02" * 16]
        assert list(agents.source_cls) == ["CAR", "PEDESTRIAN"]
        assert list(agents.cls) == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
        car = agents.track == 0
        want = np.column_stack([np.full(11, 100.0), 70.0 + np.arange(11), np.full(11, 0.8)])
        np.testing.assert_allclose(agents.xyz[car], want, atol=1e-9)
        np.testing.assert_allclose(agents.xyz[~car, 0], 103.0, atol=1e-9)
        assert agents.velocity is not None
        np.testing.assert_allclose(agents.velocity[car], [[0.0, 5.0]] * 11, atol=1e-9)
        np.testing.assert_allclose(agents.yaw, np.pi / 2)
        np.testing.assert_allclose(agents.size[0], [4.5, 1.8, 1.5], rtol=1e-6)
        assert drive.rate_hz == 10.0

    def test_images_are_found_where_they_lie(self, drive: Log) -> None:
        frame = next(f for f in drive.frames if f.channel.startswith("/cam"))
        assert frame.codec == "jpeg"
        assert frame.container is not None
        data = read_payload(
            frame.uri, offset=frame.offset, size=frame.size, container=frame.container
        )
        assert data == jpeg(0)
        assert decode_image("jpeg", data).shape == (8, 16, 3)
        assert frame.world_from_ego is not None
        assert frame.world_from_ego[:3] == pytest.approx((100.0, 50.0, 0.0), abs=1e-6)

    def test_clouds_are_decoded_from_their_message(self, drive: Log) -> None:
        frame = [f for f in drive.frames if f.channel == "/points"][4]
        data = read_payload(
            frame.uri, offset=frame.offset, size=frame.size, container=frame.container
        )
        points = decode_points(frame.codec, data)
        np.testing.assert_array_equal(points.xyz, [[1, 2, 3], [4, 5, 10]])
        np.testing.assert_array_equal(points.channels["intensity"], [0, 1])
        assert points.frame == "sensor"

    def test_sensors_with_calibration(self, drive: Log) -> None:
        sensors = {sensor.channel: sensor for sensor in drive.sensors}
        camera = sensors["/cam/front/compressed"]
        assert (camera.kind, camera.model, camera.width, camera.height) == (
            "camera",
            "pinhole",
            16,
            8,
        )
        assert tuple(camera.intrinsics) == (20.0, 21.0, 8.0, 4.0)
        assert camera.distortion[0] == 0.1
        assert camera.ego_from_sensor is not None
        np.testing.assert_allclose(camera.ego_from_sensor, [1.5, 0, 1.2, 1, 0, 0, 0])
        lidar = sensors["/points"]
        assert lidar.ego_from_sensor is not None
        half = math.sqrt(0.5)
        np.testing.assert_allclose(lidar.ego_from_sensor, [0, 0, 2, half, 0, 0, half])
        assert sensors["/imu"].kind == "imu"
        assert sensors["/can"].kind == "can"

    def test_readings(self, drive: Log) -> None:
        turning = series(drive, "/imu", "angular_velocity_z")
        np.testing.assert_allclose(turning.value, 0.1 * np.arange(11))
        assert turning.unit == "rad/s"
        bus = series(drive, "/can", "0x1A0")
        assert bus.text is not None
        assert bus.text[10] == "01AB0A"
        load = series(drive, "/load", "data")
        np.testing.assert_array_equal(load.t_ns, np.arange(11) * STEP_NS + LATENCY_NS)
        assert load.value is not None
        assert load.value[3] == 1.5

    def test_what_is_not_read_is_told(self, drive: Log) -> None:
        wanted = "/diagnostics: messages of diagnostic_msgs/msg/KeyValue as cdr are not read (11)"
        assert wanted in notes(drive)


class TestContainers:
    @pytest.mark.parametrize("compression", ["ZSTD", "LZ4", "NONE"])
    def test_every_compression(self, tmp_path: Path, compression: str) -> None:
        from mcap.writer import CompressionType

        path = tmp_path / "drive.mcap"
        log = one(write_drive(path, compression=CompressionType[compression]))
        for frame in log.frames:
            assert (frame.container is None) == (compression == "NONE")
            data = read_payload(
                frame.uri, offset=frame.offset, size=frame.size, container=frame.container
            )
            assert len(data) == frame.size
            if frame.codec == "jpeg":
                assert data.startswith(b"\xff\xd8")
                assert data.endswith(b"\xff\xd9")

    def test_without_chunks_and_without_a_summary(self, tmp_path: Path, drive: Log) -> None:
        from mcap.writer import IndexType, Writer

        whole = write_drive(tmp_path / "whole.mcap")
        plain = tmp_path / "plain" / "plain.mcap"
        plain.parent.mkdir()
        with plain.open("wb") as out, whole.open("rb") as file:
            writer = Writer(
                out, use_chunking=False, use_statistics=False, use_summary_offsets=False,
                repeat_channels=False, repeat_schemas=False, index_types=IndexType.NONE,
            )  # fmt: skip
            writer.start(profile="ros2")
            channels: dict[str, int] = {}
            for message in McapFile(whole, file).messages():
                told = message.channel
                if told.topic not in channels:
                    schema = writer.register_schema(
                        told.schema.name, told.schema.encoding, told.schema.data
                    )
                    channels[told.topic] = writer.register_channel(
                        told.topic, told.encoding, schema
                    )
                writer.add_message(
                    channels[told.topic], message.log_time, bytes(message.data),
                    message.publish_time,
                )  # fmt: skip
            writer.finish()
        log = one(plain)
        np.testing.assert_array_equal(log.agents.xyz, drive.agents.xyz)
        assert [f.t_ns for f in log.frames] == [f.t_ns for f in drive.frames]
        assert {note.reason for note in log.notes} == {note.reason for note in drive.notes}
        frame = next(f for f in log.frames if f.codec == "jpeg")
        assert frame.container is None
        assert read_payload(frame.uri, offset=frame.offset, size=frame.size) == jpeg(0)

    def test_the_pieces_of_a_bag_are_one_log(self, tmp_path: Path) -> None:
        folder = write_bag(tmp_path / "bag")
        log = one(folder)
        assert log.source_log_id == f"{tmp_path.name}/bag"
        assert log.ego is not None
        np.testing.assert_array_equal(log.ego.xyz[:, 1], 50.0 + np.arange(10))
        assert {Path(frame.uri).name for frame in log.frames} == {"bag_0.mcap", "bag_1.mcap"}
        assert list(mcap.sources(folder / "bag_1.mcap")) == [folder]

    def test_a_bag_lacks_a_piece_or_leads_out(self, tmp_path: Path) -> None:
        folder = write_bag(tmp_path / "bag")
        listed = (folder / "metadata.yaml").read_text()
        (folder / "metadata.yaml").write_text(listed.replace("bag_1", "../bag_1"))
        with pytest.raises(UnreadableFile, match="out of its folder"):
            list(mcap.read(folder))
        (folder / "metadata.yaml").write_text(listed.replace("bag_1", "bag_9"))
        with pytest.raises(UnreadableFile, match=r"bag_9.*not there"):
            list(mcap.read(folder))
        (folder / "metadata.yaml").write_text(listed.replace("bag_1.mcap", "bag_0.db3"))
        with pytest.raises(UnreadableFile, match="SQLite"):
            list(mcap.read(folder))

    def test_osi_is_left_to_its_own_reader(self, tmp_path: Path) -> None:
        from tests.formats.osi_files import truths, write_osi_mcap

        write_osi_mcap(tmp_path / "truth.mcap", {"truth": truths()})
        assert list(mcap.sources(tmp_path)) == []
        assert len(list(osi.sources(tmp_path))) == 1


class TestFoxglove:
    def test_protobuf(self, tmp_path: Path) -> None:
        log = one(write_foxglove(tmp_path / "drive.mcap"))
        assert log.ego is not None
        np.testing.assert_array_equal(log.ego.xyz[:, 0], 10.0 * np.arange(5))
        assert list(log.agents.source_track_id) == ["car-1"]
        assert list(log.agents.cls) == [AgentClass.BUS]
        assert list(log.agents.source_cls) == ["vehicle.bus.rigid"]
        np.testing.assert_array_equal(log.agents.xyz[:, 1], 6.0 + np.arange(5))
        np.testing.assert_array_equal(log.agents.size[0], [9.0, 2.5, 3.0])
        frames = {frame.channel: frame for frame in log.frames}
        image = frames["/image"]
        assert image.codec == "jpeg"
        data = read_payload(
            image.uri, offset=image.offset, size=image.size, container=image.container
        )
        assert data == jpeg()
        cloud = frames["/cloud"]
        data = read_payload(
            cloud.uri, offset=cloud.offset, size=cloud.size, container=cloud.container
        )
        points = decode_points(cloud.codec, data)
        np.testing.assert_allclose(points.xyz, [[1.0 - 2.0, 1.0, 3.0]], atol=1e-9)
        assert points.channels["ring"].tolist() == [7]
        assert series(log, "/fix", "longitude").unit == "deg"

    def test_json(self, tmp_path: Path) -> None:
        log = one(write_foxglove(tmp_path / "drive.mcap", encoding="json"))
        assert log.ego is not None
        assert len(log.ego.t_ns) == 5
        assert list(log.agents.source_track_id) == ["car-1"]

    def test_ros1(self, tmp_path: Path) -> None:
        log = one(write_ros1(tmp_path / "bag.mcap"))
        told = series(log, "/temperature", "temperature")
        np.testing.assert_array_equal(told.value, [40.5, 41.5, 42.5])
        np.testing.assert_array_equal(told.t_ns, np.arange(3) * STEP_NS)


class TestFrames:
    def test_poses_by_transforms_alone(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "tf.mcap")
        for k in range(6):
            t = START_NS + k * STEP_NS
            moves = [
                transform("map", "odom", t, 1000.0, 0.0, 0.0, np.pi / 2),
                transform("odom", "base_link", t, 2.0 * k, 0.0, 0.0),
            ]
            bag.write("/tf", "tf2_msgs/msg/TFMessage", t, {"transforms": moves})
        ego = one(bag.close()).ego
        assert ego is not None
        np.testing.assert_allclose(ego.xyz[:, 0], 1000.0)
        np.testing.assert_allclose(ego.xyz[:, 1], 2.0 * np.arange(6), atol=1e-9)
        np.testing.assert_allclose(ego.yaw, np.pi / 2)

    def test_poses_of_another_part_of_the_vehicle(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "imu.mcap")
        mount = transform("base_link", "imu", START_NS, 2.0, 0.0, 1.0)
        bag.write("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, {"transforms": [mount]})
        for k in range(3):
            t = START_NS + k * STEP_NS
            bag.write(
                "/odom", "nav_msgs/msg/Odometry", t, odometry(t, 10.0, 0.0, 0.0, child="imu")
            )
        ego = one(bag.close()).ego
        assert ego is not None
        np.testing.assert_allclose(ego.xyz, [[8.0, 0.0, -1.0]] * 3)

    def test_fixes_alone(self, tmp_path: Path) -> None:
        """One second of arc of latitude at 45° is 30.87 m on WGS 84."""
        bag = Bag(tmp_path / "gnss.mcap")
        for k in range(4):
            t = START_NS + k * 10**9
            fix = {
                "header": header(t, "gps"), "status": {"status": 0, "service": 1},
                "latitude": 45.0 + k / 3600, "longitude": 7.0, "altitude": 300.0,
                "position_covariance": [0.0] * 9, "position_covariance_type": 0,
            }  # fmt: skip
            bag.write("/fix", "sensor_msgs/msg/NavSatFix", t, fix)
        log = one(bag.close())
        assert log.ego is not None
        np.testing.assert_allclose(log.ego.xyz[:, 1], 30.8698 * np.arange(4), atol=0.01)
        np.testing.assert_allclose(log.ego.xyz[:, 0], 0.0, atol=1e-6)
        np.testing.assert_allclose(log.ego.yaw, np.pi / 2)
        assert log.extra["enu_origin_deg_m"] == [45.0, 7.0, 300.0]
        assert "follow from the fixes" in notes(log)

    def test_objects_without_a_place_are_counted(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "lost.mcap")
        for k in range(3):
            t = START_NS + k * STEP_NS
            seen = {"header": header(t, "radar_7"), "objects": [tracked(1, 5.0, 0.0)]}
            bag.write("/tracks", "autoware_perception_msgs/msg/TrackedObjects", t, seen)
            bag.write("/odom", "nav_msgs/msg/Odometry", t, odometry(t, 0.0, 0.0, 0.0))
        log = one(bag.close())
        assert len(log.agents.track) == 0
        assert "road users told in radar_7, whose place is not known (3)" in notes(log)

    def test_interpolation_between_stamps(self) -> None:
        tree = TransformTree()
        for t, yaw in ((0, 0.0), (100, np.pi / 2)):
            turned = np.array([t / 10.0, 0, 0, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
            tree.add("a", "b", turned, stamp=t)
        tree.add("b", "c", np.array([1.0, 0, 0, 1, 0, 0, 0]))
        poses = tree.at("a", "c", np.array([50, 2_000_000_000]))
        half = math.sqrt(0.5)
        np.testing.assert_allclose(poses.translation[0], [5.0 + half, half, 0.0])
        assert poses.known.tolist() == [True, False]
        back = tree.at("c", "a", np.array([50]))
        np.testing.assert_allclose((poses @ tree.at("c", "a", np.array([50, 50]))).translation[0], 0.0, atol=1e-12)  # fmt: skip
        assert back.known.all()


class TestOtherMessages:
    def test_derived_objects_and_lights(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "carla.mcap")
        for k in range(3):
            t = START_NS + k * STEP_NS
            thing = {
                "header": header(t, "map"), "id": 42, "pose": pose(3.0, k, 0.5),
                "twist": {"linear": {"x": 0.0, "y": 10.0, "z": 0.0},
                          "angular": {"x": 0.0, "y": 0.0, "z": 0.0}},
                "shape": {"type": 1, "dimensions": [4.0, 2.0, 1.0]}, "classification": 8,
            }  # fmt: skip
            message = {"header": header(t, "map"), "objects": [thing]}
            bag.write("/objects", "derived_object_msgs/msg/ObjectArray", t, message)
            lamps = [{"color": 1, "shape": 1, "status": 2, "confidence": 1.0}]
            lamps += [{"color": 3, "shape": 2, "status": 3, "confidence": 1.0}]
            group = {"traffic_light_group_id": 77, "elements": lamps}
            bag.write(
                "/lights", "autoware_perception_msgs/msg/TrafficLightGroupArray", t,
                {"stamp": stamp(t), "traffic_light_groups": [group]},
            )  # fmt: skip
        log = one(bag.close())
        assert list(log.agents.source_track_id) == ["42"]
        assert list(log.agents.cls) == [AgentClass.MOTORCYCLE]
        assert log.agents.velocity is not None
        np.testing.assert_array_equal(log.agents.velocity, [[0.0, 10.0]] * 3)
        assert list(log.lights.source_lane_id) == ["77"] * 3
        assert log.lights.state.tolist() == [LightState.RED] * 3
        assert log.lights.source_state[0] == "RED CIRCLE SOLID_ON + GREEN LEFT_ARROW FLASHING"
        assert not log.lights.arrow.any()
        assert log.ego is None

    def test_detections_without_an_id_make_no_tracks(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "vision.mcap")
        for k in range(2):
            t = START_NS + k * STEP_NS
            found = [
                {
                    "header": header(t, "map"), "id": name,
                    "results": [{"hypothesis": {"class_id": "pedestrian", "score": 0.9}}],
                    "bbox": {"center": pose(1.0, 2.0), "size": {"x": 0.5, "y": 0.5, "z": 1.8}},
                }
                for name in ("p1", "")
            ]  # fmt: skip
            message = {"header": header(t, "map"), "detections": found}
            bag.write("/found", "vision_msgs/msg/Detection3DArray", t, message)
        log = one(bag.close())
        assert list(log.agents.source_track_id) == ["p1"]
        assert list(log.agents.cls) == [AgentClass.PEDESTRIAN]
        assert "without an id make no tracks (2)" in notes(log)

    def test_raw_images_and_scans(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "raw.mcap")
        rows = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        image = {
            "header": header(START_NS, "camera"), "height": 2, "width": 4, "encoding": "bgr8",
            "is_bigendian": 0, "step": 12, "data": rows.tobytes(),
        }  # fmt: skip
        bag.write("/image_raw", "sensor_msgs/msg/Image", START_NS, image)
        scan = {
            "header": header(START_NS, "laser"), "angle_min": 0.0, "angle_max": np.pi / 2,
            "angle_increment": np.pi / 2, "time_increment": 0.0, "scan_time": 0.1,
            "range_min": 0.1, "range_max": 30.0, "ranges": [2.0, 3.0, 99.0],
            "intensities": [5.0, 6.0, 7.0],
        }  # fmt: skip
        bag.write("/scan", "sensor_msgs/msg/LaserScan", START_NS, scan)
        log = one(bag.close())
        payloads = {
            f.channel: read_payload(f.uri, offset=f.offset, size=f.size, container=f.container)
            for f in log.frames
        }
        shown = decode_image("ros_image", payloads["/image_raw"])
        np.testing.assert_array_equal(shown, rows[..., ::-1])
        points = decode_points("ros_laserscan", payloads["/scan"])
        np.testing.assert_allclose(points.xyz, [[2, 0, 0], [0, 3, 0]], atol=1e-6)
        np.testing.assert_array_equal(points.channels["intensity"], [5.0, 6.0])
        assert "no camera model" in notes(log)

    def test_pixel_encodings(self) -> None:
        grey = pixels(bytes([7, 9, 0, 0]), 1, 2, 4, "mono8")
        assert grey.tolist() == [[[7] * 3, [9] * 3]]
        white = pixels(bytes([128, 255, 128, 255]), 1, 2, 4, "uyvy")
        assert white.tolist() == [[[255] * 3, [255] * 3]]
        with pytest.raises(ValueError, match="bayer_rggb8"):
            pixels(b"", 1, 1, 1, "bayer_rggb8")
        with pytest.raises(ValueError, match="has 3 of 12"):
            pixels(bytes(3), 2, 2, 6, "rgb8")

    def test_decoding_agrees_with_the_ros_library(self, tmp_path: Path) -> None:
        """Every message of a drive, field by field, against mcap_ros2's own decoder."""
        from mcap.reader import make_reader
        from mcap_ros2.decoder import DecoderFactory

        path = write_drive(tmp_path / "drive.mcap", steps=2)
        compared = 0
        with path.open("rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            for schema, _, message, theirs in reader.iter_decoded_messages():
                ours = decode(schema.name, schema.data, memoryview(message.data))
                _compare(ours, theirs)
                compared += 1
        assert compared == 19


def _compare(ours: Any, theirs: Any) -> None:
    if isinstance(ours, dict):
        for name, value in ours.items():
            _compare(value, getattr(theirs, name))
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one_, other in zip(ours, theirs, strict=True):
            _compare(one_, other)
    elif hasattr(ours, "data") and hasattr(ours, "offset"):
        assert bytes(ours.data) == bytes(theirs)
    elif isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, np.array(theirs))
    else:
        assert ours == theirs


class TestSettings:
    def test_names_kinds_fields_and_the_vehicle(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "deep" / "drive.mcap")
        for k in range(3):
            t = START_NS + k * STEP_NS
            wheel = {"header": header(t, "wheel"), "speed": 3.0 * k, "counts": [1, 2, 3]}
            bag.write("/wheel", "custom_msgs/msg/Wheel", t, wheel)
            bag.write("/odom", "nav_msgs/msg/Odometry", t, odometry(t, 0.0, 0.0, np.pi / 2))
            bag.write("/chatter", "std_msgs/msg/String", t, {"data": f"word {k}"})
        path = bag.close()
        (tmp_path / FILE).write_text(
            """
            [vehicle]
            length_m = 5.0
            width_m = 2.0
            height_m = 1.5
            centre_m = [1.5, 0.0, 0.75]
            [[topics]]
            topic = "/wh*"
            channel = "WHEEL"
            kind = "can"
            fields = ["speed"]
            units = ["m/s"]
            [[topics]]
            topic = "/chatter"
            kind = "ignore"
            [[topics]]
            topic = "/wh*l/rear"
            [[topics]]
            topic = "/od*"
            calibration = "/camera/info"
            """
        )
        log = one(path)
        told = "the settings' [[topics]] {!r} fits no topic of the recording (1)"
        assert notes(log).count("[[topics]]") == 2
        assert told.format("/wh*l/rear") in notes(log)
        assert told.format("/camera/info") in notes(log)
        assert log.ego is not None
        assert log.ego.size == (5.0, 2.0, 1.5)
        np.testing.assert_allclose(log.ego.xyz[0], [0.0, 1.5, 0.75], atol=1e-12)
        told = series(log, "WHEEL", "speed")
        np.testing.assert_array_equal(told.value, [0.0, 3.0, 6.0])
        assert told.unit == "m/s"
        assert {s.channel: s.kind for s in log.sensors} == {"WHEEL": "can"}
        assert "/chatter: left out by the settings (3)" in notes(log)
        assert tmp_path / FILE in set(mcap.files(path))

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("colour = 3", "colour"),
            ("[[topics]]\ntopic = '/x'\nkind = 'sonar'", "sonar"),
            (
                "[[topics]]\ntopic = '/cam*'\nchannel = 'C'\n[[topics]]\ntopic='/imu'\nchannel='C'",
                "'C'",
            ),
            ("[vehicle]\ncentre_m = [1.0]", "three"),
            ("[vehicle]\ncentre_m = [1.0, nan, 0.0]", "three"),
        ],
    )
    def test_settings_that_are_not_understood(self, tmp_path: Path, text: str, word: str) -> None:
        path = write_drive(tmp_path / "drive.mcap", steps=2)
        (tmp_path / FILE).write_text(text)
        with pytest.raises(BadSetting, match=word):
            list(mcap.read(path))


class TestClocks:
    def _bag(self, path: Path, stamps: list[tuple[int, int]]) -> Log:
        """Odometry by (recorded, stamped), in steps of 0.1 s."""
        bag = Bag(path)
        for recorded, stamped in stamps:
            told = odometry(0, 1.0, 2.0, 0.0)
            told["header"]["stamp"] = stamp(stamped)
            bag.write("/odom", "nav_msgs/msg/Odometry", recorded, told)
        return one(bag.close())

    def test_stamps_of_a_simulation(self, tmp_path: Path) -> None:
        """All count from 0: the log keeps that clock."""
        told = [(START_NS + k * STEP_NS, 5 * 10**9 + k * STEP_NS) for k in range(4)]
        log = self._bag(tmp_path / "sim.mcap", told)
        assert log.t0_unix_ns is None
        assert log.extra["source_t0_ns"] == 5 * 10**9

    def test_stamps_that_are_not_set(self, tmp_path: Path) -> None:
        told = [(START_NS + k * STEP_NS, (k < 2) * (START_NS + k * STEP_NS)) for k in range(4)]
        log = self._bag(tmp_path / "zero.mcap", told)
        assert log.ego is not None
        np.testing.assert_array_equal(log.ego.t_ns, np.arange(4) * STEP_NS)
        assert "whose stamp is not set" in notes(log)

    def test_a_clock_that_falls_back(self, tmp_path: Path) -> None:
        told = [(START_NS + k * STEP_NS, START_NS + k * STEP_NS) for k in range(4)]
        told += [(START_NS + 10**9, START_NS - 30 * 10**9)]
        log = self._bag(tmp_path / "back.mcap", told)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 4
        assert "falls back by more than 10 s (1)" in notes(log)

    def test_one_sensor_with_another_clock(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "two.mcap")
        for k in range(3):
            t = START_NS + k * STEP_NS
            bag.write("/odom", "nav_msgs/msg/Odometry", t, odometry(t, 0.0, 0.0, 0.0))
            image = {"header": header(777 + k, "camera"), "format": "jpeg", "data": jpeg()}
            bag.write("/image", "sensor_msgs/msg/CompressedImage", t, image)
            bag.write("/info", "sensor_msgs/msg/CameraInfo", t, camera_info(t))
        log = one(bag.close())
        assert [frame.t_ns for frame in log.frames] == [0, STEP_NS, 2 * STEP_NS]
        assert "/image: stamps of another clock" in notes(log)

    def test_stamps_seen_twice(self, tmp_path: Path) -> None:
        told = [(START_NS + k * STEP_NS, START_NS + (k // 2) * STEP_NS) for k in range(4)]
        log = self._bag(tmp_path / "twice.mcap", told)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 2
        assert "with a stamp seen before (2)" in notes(log)

    def test_long_recordings_come_in_parts(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "long.mcap")
        for k in range(200):
            t = START_NS + k * 10**9
            bag.write("/odom", "nav_msgs/msg/Odometry", t + 10**8, odometry(t, float(k), 0.0, 0.0))
            bag.write("/load", "std_msgs/msg/Float64", t, {"data": float(k)})
        parts = logs(bag.close())
        assert [(log.part, log.more) for log in parts] == [
            (0, True),
            (1, True),
            (2, True),
            (3, False),
        ]
        steps = [log.ego.t_ns for log in parts if log.ego is not None]
        assert [len(step) for step in steps] == [60, 60, 60, 20]
        np.testing.assert_array_equal(np.concatenate(steps), np.arange(200) * 10**9)
        assert all(list(log.sensors) == list(parts[0].sensors) for log in parts)
        told = [series(log, "/load", "data").value for log in parts]
        np.testing.assert_array_equal(
            np.concatenate([v for v in told if v is not None]), np.arange(200)
        )

    def test_crowded_recordings_come_in_short_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of ten seconds, or some of them; whoever is recorded late still finds the part open."""
        bag = Bag(tmp_path / "crowd.mcap")
        order = [k + (9 if k % 10 == 0 else 0) for k in range(1000)]  # every tenth 0.9 s late
        for k, late in sorted(enumerate(order), key=lambda pair: pair[1]):
            t, seen = START_NS + k * STEP_NS, START_NS + late * STEP_NS
            bag.write("/odom", "nav_msgs/msg/Odometry", seen, odometry(t, float(k), 0.0, 0.0))
            cars = {
                "header": header(t, "map"),
                "objects": [tracked(n, 5.0 * n, 0.0) for n in (1, 2)],
            }
            bag.write("/tracks", "autoware_perception_msgs/msg/TrackedObjects", seen, cars)
        path = bag.close()
        usual = logs(path)
        assert [log.more for log in usual] == [True, False]
        monkeypatch.setattr(mcap, "PART_ROWS", 300)
        short = logs(path)
        assert len(short) > 6
        assert all(log.part == n for n, log in enumerate(short))
        begins = [int(log.agents.t_ns.min()) for log in short]
        assert all(begin % 10**10 == 0 for begin in begins)
        assert max(len(log.agents.t_ns) for log in short) < 600
        for name in ("t_ns", "xyz", "yaw"):
            one, other = ([getattr(log.agents, name) for log in told] for told in (usual, short))
            np.testing.assert_array_equal(
                np.sort(np.concatenate(one), axis=0), np.sort(np.concatenate(other), axis=0)
            )


class TestBadInput:
    def test_cut_off_recordings_keep_their_whole_chunks(self, tmp_path: Path) -> None:
        path = write_drive(tmp_path / "drive.mcap", chunk_size=10_000)
        with path.open("rb") as file:
            chunks = McapFile(path, file).contents.chunks
        path.write_bytes(path.read_bytes()[: chunks[2].offset + 99])
        found = list(mcap.read(path))
        (log,) = (item for item in found if isinstance(item, Log))
        check_log(log)
        assert log.ego is not None
        assert 2 <= len(log.ego.t_ns) < 11
        reasons = [item.reason for item in found if isinstance(item, Rejected)]
        assert any("has no end" in reason for reason in reasons)

    def test_a_damaged_chunk_is_left_out(self, tmp_path: Path) -> None:
        path = write_drive(tmp_path / "drive.mcap", chunk_size=20_000)
        with path.open("rb") as file:
            chunks = McapFile(path, file).contents.chunks
        assert len(chunks) > 2
        data = bytearray(path.read_bytes())
        data[chunks[1].offset + 200] ^= 0xFF
        path.write_bytes(bytes(data))
        found = list(mcap.read(path))
        (log,) = (item for item in found if isinstance(item, Log))
        (rejected,) = (item for item in found if isinstance(item, Rejected))
        check_log(log)
        assert rejected.record == f"byte {chunks[1].offset}"
        assert "that the summary tells of" in notes(log)

    def test_an_unknown_compression(self, tmp_path: Path) -> None:
        path = write_drive(tmp_path / "drive.mcap")
        path.write_bytes(
            path.read_bytes().replace(b"\x04\x00\x00\x00zstd", b"\x04\x00\x00\x00wxyz")
        )
        found = list(mcap.read(path))
        assert all(isinstance(item, Rejected) for item in found)
        assert any(
            "'wxyz' is none of" in item.reason for item in found if isinstance(item, Rejected)
        )

    @pytest.mark.parametrize("word", ["zstd", "lz4"])
    def test_a_chunk_that_unpacks_to_more_than_it_says(self, word: str) -> None:
        import lz4.frame
        import zstandard

        pack = zstandard.compress if word == "zstd" else lz4.frame.compress
        packed = pack(bytes(2**24))
        head = struct.pack("<QQQI", 0, 0, 100, 0) + struct.pack("<I", len(word)) + word.encode()
        with pytest.raises(ValueError, match=r"does not hold 100 bytes|holds 101 of 100"):
            unpack_chunk(head + struct.pack("<Q", len(packed)) + packed)

    def test_no_messages_and_no_mcap(self, tmp_path: Path) -> None:
        empty = Bag(tmp_path / "none.mcap").close()
        (rejected,) = mcap.read(empty)
        assert isinstance(rejected, Rejected)
        assert "no messages" in rejected.reason
        for name, content in (("foreign.mcap", b"hello" * 9), ("void.mcap", b"")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UnreadableFile):
                list(mcap.read(tmp_path / name))

    def test_packed_as_a_whole(self, tmp_path: Path) -> None:
        path = write_drive(tmp_path / "drive.mcap")
        packed = tmp_path / "drive.mcap.gz"
        shutil.move(path, packed)
        assert list(mcap.sources(tmp_path)) == [packed]
        with pytest.raises(UnreadableFile, match="packed as a whole"):
            list(mcap.read(packed))

    def test_only_types_that_are_not_known(self, tmp_path: Path) -> None:
        bag = Bag(tmp_path / "odd.mcap")
        bag.write("/d", "diagnostic_msgs/msg/KeyValue", START_NS, {"key": "a", "value": "b"})
        (rejected,) = mcap.read(bag.close())
        assert isinstance(rejected, Rejected)
        assert [note.count for note in rejected.notes if "/d" in note.reason] == [1]

    def test_messages_that_do_not_follow_their_definition(self, tmp_path: Path) -> None:
        from mcap.writer import Writer

        path = tmp_path / "bad.mcap"
        with path.open("wb") as file:
            writer = Writer(file)
            writer.start()
            kind = "sensor_msgs/msg/Imu"
            schema = writer.register_schema(kind, "ros2msg", definition(kind).encode())
            channel = writer.register_channel("/imu", "cdr", schema)
            text = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data")
            scalar = writer.register_channel("/load", "cdr", text)
            for k, data in enumerate((b"", b"\x00\x01\x00\x00", b"\x09" * 40)):
                writer.add_message(channel, START_NS + k, data, START_NS)
            good = b"\x00\x01\x00\x00" + struct.pack("<d", 2.5)
            writer.add_message(scalar, START_NS, good, START_NS)
            writer.finish()
        log = one(path)
        assert "/imu: messages that are not as their type should be" in notes(log)
        assert series(log, "/load", "data").value == [2.5]

    @pytest.mark.parametrize("seed", range(30))
    def test_flipped_bytes_never_crash(self, tmp_path: Path, seed: int) -> None:
        path = write_drive(tmp_path / "drive.mcap", steps=3, chunk_size=5_000)
        rng = np.random.default_rng(seed)
        data = bytearray(path.read_bytes())
        for at in rng.integers(8, len(data), 6):
            data[at] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        try:
            for item in mcap.read(path):
                if isinstance(item, Log):
                    check_log(item)
        except UnreadableFile:
            pass

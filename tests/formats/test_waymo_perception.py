"""Waymo perception frames: positions by hand, sensors by reference, and the real frame."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import waymo_motion, waymo_perception, waymo_tfexample
from formats.media import decode_image, decode_points, read_payload
from formats.registry import Rejected
from formats.tfrecord import Record, read_records, write_records
from formats.waymo import AXLE_TO_CENTRE, EGO_SIZE
from formats.waymo_protos import message_class
from formats.waymo_range_image import decode, matrix, packed_matrix, payload_of
from geometry.frames import rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, EdgeKind, MapLayer, Weather
from schemas.records import Frame, Log
from tests.contracts import ReaderContract, check_log
from tests.formats.waymo_frames import (
    HEIGHT,
    IMAGE_LAG_S,
    NAME,
    STEP_US,
    T0_US,
    WIDTH,
    frame,
    jpeg,
    pose,
    write,
)


def read_one(path: Path) -> Log:
    (log,) = waymo_perception.read(path)
    assert isinstance(log, Log), log
    return log


def payload(taken: Frame) -> bytes:
    return read_payload(taken.uri, offset=taken.offset, size=taken.size, container=taken.container)


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return waymo_perception

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in" / f"segment-{NAME}_with_camera_labels.tfrecord", frame())


@pytest.fixture(params=["plain", "packed"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = write(tmp_path / "validation" / f"segment-{NAME}.tfrecord", frame(0), frame(1))
    if request.param == "plain":
        return path
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


@pytest.fixture
def log(source: Path) -> Log:
    return read_one(source)


def test_the_segment(log: Log) -> None:
    check_log(log)
    assert (log.source_log_id, log.split, log.location) == (NAME, "val", "location_phx")
    assert (log.weather, log.daylight) == (Weather.RAIN, Daylight.DUSK)
    assert log.t0_unix_ns == T0_US * 1000
    assert log.extra["time_of_day"] == "Dawn/Dusk"
    assert log.extra["rolling_shutter"] == {"FRONT": "LEFT_TO_RIGHT"}


def test_boxes_are_in_the_world(log: Log) -> None:
    agents = log.agents
    assert agents.source_track_id == ["car-id", "sign-id"]
    assert agents.source_cls == ["TYPE_VEHICLE", "TYPE_SIGN"]
    assert agents.cls == [AgentClass.VEHICLE, AgentClass.OBSTACLE]
    np.testing.assert_array_equal(agents.t_ns, [0, STEP_US * 1000] * 2)
    # 10 ahead and 2 to the left of a vehicle at (100, 200, 10) that heads north.
    np.testing.assert_allclose(agents.xyz[0], [98.0, 210.0, 11.0], atol=1e-9)
    np.testing.assert_allclose(agents.xyz[1], [98.0, 210.0, 11.0], atol=1e-9)
    np.testing.assert_allclose(agents.yaw[:2], np.pi / 2 + 0.25)
    np.testing.assert_array_equal(agents.size[0], [4.5, 2.0, 1.5])
    assert agents.velocity is not None
    np.testing.assert_array_equal(agents.velocity[0], [0.0, 0.5])
    assert np.isnan(agents.velocity[2:]).all(), "the sign's speed is not told"


def test_ego(log: Log) -> None:
    assert log.ego is not None
    np.testing.assert_allclose(
        log.ego.xyz[0], [100.0, 200.0 + AXLE_TO_CENTRE, 10.0 + EGO_SIZE[2] / 2]
    )
    np.testing.assert_allclose(log.ego.yaw, np.pi / 2)
    assert log.ego.velocity is not None
    assert log.ego.yaw_rate is not None
    np.testing.assert_array_equal(log.ego.velocity, [[0.0, 10.0]] * 2)
    np.testing.assert_array_equal(log.ego.yaw_rate, [0.125] * 2)


def test_map_zones_and_offset(log: Log) -> None:
    lane, after, zone = log.map.features
    assert (lane.source_id, lane.layer) == ("77", MapLayer.LANE)
    assert log.map.neighbours(lane.feature_id, EdgeKind.SUCCESSOR) == [after.feature_id]
    assert (zone.source_id, zone.source_type) == ("zone-1", "no_label_zone")
    offset = {r.signal: r for r in log.readings if r.channel == "map_pose_offset"}
    assert offset["x"].value is not None
    np.testing.assert_array_equal(offset["x"].value, [0.5, 1.5])


def test_images_lie_where_the_frames_say(log: Log) -> None:
    taken = [f for f in log.frames if f.channel == "camera_FRONT"]
    for k, image in enumerate(taken):
        stamp = (T0_US + k * STEP_US) / 1e6 + IMAGE_LAG_S
        assert log.t0_unix_ns is not None
        # ``t0 + t_ns`` is the nearest nanosecond; as a number of seconds, it is the stamp itself.
        assert (log.t0_unix_ns + image.t_ns) / 1e9 == stamp
        assert payload(image) == jpeg(100 + k)
        assert decode_image(image.codec, payload(image)).shape == (HEIGHT, WIDTH, 3)
        assert image.world_from_ego is not None
        np.testing.assert_allclose(image.world_from_ego[:3], [100.0, 200.0 + k, 10.0])
        assert image.t_end_ns is not None
        assert image.t_end_ns > image.t_ns
    trigger = next(r for r in log.readings if r.signal == "trigger_time")
    assert trigger.value is not None
    np.testing.assert_array_equal(trigger.value[0], T0_US / 1e6 + 0.03)


def test_calibration(log: Log) -> None:
    sensors = {sensor.channel: sensor for sensor in log.sensors}
    camera = sensors["camera_FRONT"]
    assert camera.intrinsics == (40.0, 41.0, 16.0, 12.0)
    assert camera.distortion == (0.1, 0.2, 0.5, 0.3, 0.4), "k1, k2, k3, then p1, p2"
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert camera.ego_from_sensor is not None
    np.testing.assert_allclose(camera.ego_from_sensor[:3], [1.5, 0.0, 2.0])
    turn = rotation_from_quaternion(camera.ego_from_sensor[3:])
    # It looks ahead: the optical z axis is the vehicle's x, image x its right, image y its down.
    np.testing.assert_allclose(turn.T, [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-12)
    assert sensors["lidar_TOP"].intrinsics == (-0.05, 0.05)
    assert sensors["lidar_SIDE_RIGHT"].intrinsics == (-0.1, 0.1)


def direction(azimuth: float, inclination: float) -> np.ndarray:
    return np.array(
        [
            np.cos(azimuth) * np.cos(inclination),
            np.sin(azimuth) * np.cos(inclination),
            np.sin(inclination),
        ]
    )


def test_a_lidar_of_the_side_by_hand(log: Log) -> None:
    """Columns of four look to 135°, 45°, −45° and −135°; the upper row looks up by 0.05."""
    taken = [f for f in log.frames if f.channel == "lidar_SIDE_RIGHT"]
    assert [f.t_ns for f in taken] == [0, STEP_US * 1000]
    assert [f.t_end_ns for f in taken] == [STEP_US * 1000, None]
    points = decode_points(taken[0].codec, payload(taken[0]))
    assert points.frame == "ego"
    want = [
        [3.0, -1.0, 1.0] + 4.0 * direction(-np.pi / 4, 0.05),
        [3.0, -1.0, 1.0] + 8.0 * direction(np.pi / 4, -0.05),
    ]
    np.testing.assert_allclose(points.xyz, want, atol=1e-9)
    np.testing.assert_array_equal(points.channels["ring"], [0, 1])
    np.testing.assert_array_equal(points.channels["intensity"], [0.25, 0.75])
    np.testing.assert_array_equal(points.channels["elongation"], [0.5, 0.125])


def test_the_lidar_of_the_roof_by_hand(log: Log) -> None:
    """Azimuths count from the vehicle's axis however the lidar is turned; motion is undone."""
    taken = next(f for f in log.frames if f.channel == "lidar_TOP")
    points = decode_points(taken.codec, payload(taken))
    first = [1.0, 0.0, 2.0] + 10.0 * direction(-np.pi / 4, 0.05)
    # Pixel (1, 1) was hit 2 m further south, which for a vehicle that heads north is behind.
    second = [1.0, 0.0, 2.0] + 20.0 * direction(np.pi / 4, -0.05) - [2.0, 0.0, 0.0]
    np.testing.assert_allclose(points.xyz[:2], [first, second], atol=2e-5)
    np.testing.assert_array_equal(points.channels["return"], [1, 1, 2, 2])
    np.testing.assert_array_equal(points.channels["no_label_zone"], [True, False, False, False])
    assert len(points.xyz) == 4


def test_a_payload_stands_alone_and_is_small() -> None:
    message = frame()
    data = payload_of(message.SerializeToString(), "TOP")
    kept = message_class("Frame").FromString(data)
    assert [laser.name for laser in kept.lasers] == [1]
    assert [c.name for c in kept.context.laser_calibrations] == [1]
    assert not kept.images
    assert list(kept.pose.transform) == pose()


class TestTrouble:
    def read(self, path: Path, *frames: Any) -> Log:
        log = read_one(write(path / "x.tfrecord", *frames))
        check_log(log)
        return log

    def reasons(self, log: Log) -> str:
        return " ".join(note.reason for note in log.notes)

    def test_good_frames_survive_bad_ones(self, tmp_path: Path) -> None:
        nameless = frame(1)
        nameless.context.ClearField("name")
        path = write(tmp_path / "x.tfrecord", frame(0), nameless, frame(2), frame(3))
        content = bytearray(path.read_bytes())
        offset = [r.offset for r in read_records(path) if isinstance(r, Record)][2]
        content[offset + 100] ^= 1
        path.write_bytes(content)
        *rejected, log = waymo_perception.read(path)
        assert [item.record for item in rejected if isinstance(item, Rejected)] == [
            "record 1", "record 2",
        ]  # fmt: skip
        assert isinstance(log, Log)
        assert log.ego is not None
        assert len(log.ego.t_ns) == 2

    def test_other_messages_are_rejected(self, tmp_path: Path) -> None:
        write_records(tmp_path / "x.tfrecord", [b"\x0b\x0c no message", b""])
        items = list(waymo_perception.read(tmp_path / "x.tfrecord"))
        assert len(items) == 2
        assert all(isinstance(item, Rejected) for item in items)

    def test_a_pose_that_is_no_pose(self, tmp_path: Path) -> None:
        broken = frame(1)
        broken.pose.transform[0] = 7.0
        missing = frame(2)
        missing.ClearField("pose")
        log = self.read(tmp_path, frame(0), broken, missing)
        assert log.ego is not None
        assert log.ego.valid is not None
        assert log.ego.valid.tolist() == [True, False, False]
        assert log.agents.valid is not None
        assert log.agents.valid.tolist() == [True, False, False] * 2
        assert "without a rigid pose" in self.reasons(log)

    def test_no_pose_at_all(self, tmp_path: Path) -> None:
        missing = frame()
        missing.ClearField("pose")
        assert self.read(tmp_path, missing).ego is None

    def test_nan_boxes_are_not_observed(self, tmp_path: Path) -> None:
        broken = frame()
        broken.laser_labels[0].box.center_x = float("nan")
        log = self.read(tmp_path, broken)
        assert log.agents.valid is not None
        assert log.agents.valid.tolist() == [False, True]

    def test_repeated_and_backward_stamps(self, tmp_path: Path) -> None:
        log = self.read(tmp_path, frame(2), frame(0), frame(1), frame(1))
        assert log.ego is not None
        np.testing.assert_array_equal(log.ego.t_ns, np.arange(3) * STEP_US * 1000)
        assert len(log.agents.t_ns) == 6
        said = self.reasons(log)
        assert "do not ascend" in said
        assert "a stamp seen before" in said

    def test_two_segments_in_a_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.tfrecord", frame(0), frame(1, name="other"), frame(2), frame(3))
        logs = [item for item in waymo_perception.read(path) if isinstance(item, Log)]
        assert [log.source_log_id for log in logs] == [NAME, "other", f"{NAME}#2"]
        assert [len(log.agents.t_ns) for log in logs] == [2, 2, 4]

    def test_no_lidar_no_images(self, tmp_path: Path) -> None:
        bare = frame(lidar=False)
        bare.ClearField("images")
        log = self.read(tmp_path, bare)
        assert log.frames == []
        assert log.ego is not None
        assert log.ego.velocity is None

    def test_images_without_calibration(self, tmp_path: Path) -> None:
        bare = frame()
        bare.context.ClearField("camera_calibrations")
        log = self.read(tmp_path, bare)
        assert "no calibration of camera_FRONT" in self.reasons(log)

    def test_unknown_weather_is_said(self, tmp_path: Path) -> None:
        odd = frame()
        odd.context.stats.weather = "hail"
        log = self.read(tmp_path, odd)
        assert log.weather is None
        assert "hail" in self.reasons(log)

    def test_words_that_are_no_utf8_are_told_readably(self, tmp_path: Path) -> None:
        data = frame().SerializeToString().replace(b"car-id", b"car\xff\xfed")
        write_records(tmp_path / "x.tfrecord", [data])
        log = read_one(tmp_path / "x.tfrecord")
        check_log(log)
        assert log.agents.source_track_id[0] == "car\\xff\\xfed"

    def test_an_image_without_pixels(self, tmp_path: Path) -> None:
        empty = frame()
        empty.images[0].image = b""
        log = self.read(tmp_path, empty)
        assert "images without pixels" in self.reasons(log)

    def test_a_file_cut_off_after_ingest(self, tmp_path: Path) -> None:
        log = self.read(tmp_path, frame(), frame(1))
        path = tmp_path / "x.tfrecord"
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(UnreadableFile, match="does not hold the capture"):
            payload([f for f in log.frames if f.channel == "lidar_TOP"][-1])

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"\xff\xff", frame().SerializeToString(),
            payload_of(frame().SerializeToString(), "REAR"),
        ],
    )  # fmt: skip
    def test_payloads_that_are_none(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="Frame message"):
            decode(data)

    def test_damaged_range_images(self) -> None:
        packed = packed_matrix(np.zeros((2, 3, 4)))
        np.testing.assert_array_equal(matrix(packed, channels=4), np.zeros((2, 3, 4)))
        for broken in (packed[:-6], b"no zlib", packed_matrix(np.zeros((2, 3, 6)))):
            with pytest.raises(ValueError, match=r"range image|shape"):
                matrix(broken, channels=4)
        message = frame()
        message.context.laser_calibrations[0].beam_inclinations.append(0.3)
        with pytest.raises(ValueError, match="3 beams for 2 rows"):
            decode(payload_of(message.SerializeToString(), "TOP"))


def test_each_tfrecord_has_one_reader(source: Path) -> None:
    assert list(waymo_perception.sources(source.parent)) == [source]
    assert list(waymo_motion.sources(source.parent)) == []
    assert list(waymo_tfexample.sources(source.parent)) == []


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
class TestRealData:
    @pytest.fixture
    def source(self) -> Path:
        folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "waymo_open_dataset"
        (source,) = waymo_perception.sources(folder)
        return source

    def test_every_label_and_image_comes_back(self, source: Path) -> None:
        log = read_one(source)
        check_log(log)
        (record,) = read_records(source)
        assert isinstance(record, Record)
        message = message_class("Frame").FromString(record.data)
        assert message.SerializeToString() == record.data, "every field is known"
        assert log.t0_unix_ns == message.timestamp_micros * 1000
        assert len(log.agents.source_track_id) == len(message.laser_labels) == 75
        world = np.array(message.pose.transform).reshape(4, 4)
        for row, track in enumerate(log.agents.track):
            (label,) = (
                told
                for told in message.laser_labels
                if told.id == log.agents.source_track_id[track]
            )
            box = np.array([label.box.center_x, label.box.center_y, label.box.center_z, 1.0])
            np.testing.assert_allclose(log.agents.xyz[row], (world @ box)[:3], atol=1e-6)
            assert log.agents.velocity is not None
            told = (label.metadata.speed_x, label.metadata.speed_y)
            assert tuple(log.agents.velocity[row]) == told
        assert len(log.frames) == len(message.images) == 5
        for taken in log.frames:
            (image,) = (i for i in message.images if f"camera_{_camera(i)}" == taken.channel)
            assert payload(taken) == image.image
            assert (log.t0_unix_ns + taken.t_ns) / 1e9 == image.pose_timestamp
            sensor = next(s for s in log.sensors if s.channel == taken.channel)
            pixels = decode_image(taken.codec, payload(taken))
            assert pixels.shape == (sensor.height, sensor.width, 3)

    def test_what_moves_heads_where_it_moves(self, source: Path) -> None:
        log = read_one(source)
        assert log.agents.velocity is not None
        speed = np.hypot(*log.agents.velocity.T)
        moving = speed > 1.0
        along = np.arctan2(log.agents.velocity[:, 1], log.agents.velocity[:, 0])
        off = np.angle(np.exp(1j * (along - log.agents.yaw)))[moving]
        assert moving.sum() == 12
        assert np.abs(off).max() < 0.1


def _camera(image: Any) -> str:
    return ("", "FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT")[image.name]

"""A comma2k19 segment, written small: a drive due north at 10 m/s."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import comma2k19
from formats.registry import Rejected
from formats.video import decode_frames
from geometry.earth import ecef_from_enu
from geometry.frames import SE3, quaternion_from_rotation, rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.records import Log, Readings
from tests.contracts import ReaderContract, check_log
from tests.formats.kitti_files import png

FRAMES = 6
BOOT = 46408.547498
TIMES = BOOT + 0.05 * np.arange(FRAMES) + 1e-6 * np.arange(FRAMES) ** 2
ANCHOR = ecef_from_enu(np.radians(37.721), np.radians(-122.4723), 31.6)
WEEK, SECONDS = 2012.0, 404106.397
# North is ahead, east is right, down is down.
ENU_FROM_DEVICE = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def save(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, np.asarray(values))


def write_segment(root: Path) -> Path:
    folder = root / "b0c9d2329ad1606b|2018-08-02--08-34-47" / "40"
    pose, log = folder / "global_pose", folder / "processed_log"
    north = np.stack([0.0 * TIMES, 10.0 * (TIMES - BOOT), 0.0 * TIMES], axis=1)
    turn = quaternion_from_rotation(ANCHOR.rotation @ ENU_FROM_DEVICE)
    save(pose / "frame_times", TIMES)
    save(pose / "frame_gps_times", np.stack([0.0 * TIMES + WEEK, SECONDS + TIMES - BOOT], axis=1))
    save(pose / "frame_positions", ANCHOR.apply(north))
    save(pose / "frame_velocities", np.tile([0.0, 10.0, 0.0], (FRAMES, 1)) @ ANCHOR.rotation.T)
    save(pose / "frame_orientations", np.tile(turn, (FRAMES, 1)))
    for name, values in (
        ("CAN/speed", np.full((3, 1), 10.5)), ("CAN/steering_angle", [-0.4, 0.0, 0.4]),
        ("CAN/wheel_speed", np.arange(12.0).reshape(3, 4)), ("IMU/gyro", np.ones((3, 3))),
        ("GNSS/live_gnss_ublox", [[37.7, -122.5, 10.0, 1.5e12, 39.0, 0.0]] * 3),
        ("CAN/novelty", np.arange(6.0).reshape(3, 2)),
    ):  # fmt: skip
        save(log / name / "t", BOOT + np.array([0.01, 0.02, 0.03]))
        save(log / name / "value", values)
    nan = np.nan
    radar = [[70.0, -2.0, 3.0, nan, nan, 528.0, 0.0], [90.0, 4.0, -7.0, nan, nan, 529.0, 1.0],
             [71.0, -2.1, 3.1, nan, nan, 528.0, 0.0]]  # fmt: skip
    save(log / "CAN/radar/t", BOOT + np.array([0.01, 0.01, 0.06]))
    save(log / "CAN/radar/value", radar)
    row = [nan, 2e7, 30.0, -700.0, 0.7, 25.0, nan]
    raw = [[82.0, 2012.0, 404106.0, *row], [78.0, 2012.0, 404106.0, *row],
           [82.0, 2012.0, 404106.0, *row]]  # fmt: skip
    save(log / "GNSS/raw_gnss_ublox/t", BOOT + np.array([0.02, 0.02, 0.02]))
    save(log / "GNSS/raw_gnss_ublox/value", raw)
    save(log / "CAN/raw_can/t", BOOT + np.array([0.01, 0.02, 0.02, 0.03]))
    save(log / "CAN/raw_can/src", np.array([0, 0, 1, 0]))
    save(log / "CAN/raw_can/address", np.array([0x260, 0x2C1, 0x260, 0x260]))
    save(log / "CAN/raw_can/data", np.array([b"\x01\x02", b"\xff", b"\x03", b"\x04" * 8]))
    (folder / "preview.png").write_bytes(png())
    return folder


def write_video(path: Path, *, frames: int) -> None:
    """A bare stream; each frame brighter than the one before."""
    import av

    with av.open(str(path), "w", format="hevc") as container:
        stream: Any = container.add_stream("libx265", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"x265-params": "bframes=0:keyint=4:log-level=none"}
        for number in range(frames):
            grey = np.full((48, 64, 3), 30 * number, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def read_one(folder: Path) -> Log:
    (log,) = comma2k19.read(folder)
    assert isinstance(log, Log)
    check_log(log)
    return log


def notes_of(log: Log) -> str:
    return "\n".join(note.reason for note in log.notes)


def reading(log: Log, channel: str, signal: str) -> Readings:
    (found,) = (r for r in log.readings if (r.channel, r.signal) == (channel, signal))
    return found


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return comma2k19

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_segment(tmp_path / "in")


def test_the_ego_in_the_world_and_back_on_earth(tmp_path: Path) -> None:
    folder = write_segment(tmp_path)
    log = read_one(folder)
    ego = log.ego
    assert ego is not None
    assert ego.velocity is not None
    assert log.source_log_id == "b0c9d2329ad1606b|2018-08-02--08-34-47/40"
    np.testing.assert_allclose(ego.yaw, np.pi / 2, atol=1e-9)
    np.testing.assert_allclose(ego.velocity, np.tile([0.0, 10.0], (FRAMES, 1)), atol=1e-9)
    # Half a metre behind the camera is south.
    np.testing.assert_allclose(ego.xyz[0], [0.0, -0.5, -(1.22 - 1.675 / 2)], atol=1e-6)
    assert ego.quaternion is not None
    camera = ego.xyz + rotation_from_quaternion(ego.quaternion) @ np.array(
        log.extra["camera_in_box"]
    )
    latitude, longitude, _ = log.extra["anchor_geodetic"]
    anchor = SE3(
        ecef_from_enu(np.radians(latitude), np.radians(longitude)).rotation,
        np.array(log.extra["anchor_ecef"]),
    )
    there = np.load(folder / "global_pose" / "frame_positions")
    np.testing.assert_allclose(anchor.apply(camera), there, rtol=0, atol=1e-6)
    stamps = (ego.t_ns + log.extra["boot_t0_ns"]) / 1e9
    np.testing.assert_allclose(stamps, TIMES, rtol=0, atol=1e-9)
    # 2018-08-02 16:14:48.397 UTC is 18 s before the same time of GPS.
    assert log.t0_unix_ns == 1_533_226_488_397_000_000


def test_readings(tmp_path: Path) -> None:
    log = read_one(write_segment(tmp_path))
    speed = reading(log, "CAN", "speed")
    assert (speed.unit, list(speed.value if speed.value is not None else ())) == (
        "m/s",
        [10.5] * 3,
    )
    np.testing.assert_array_equal(speed.t_ns, [10**7, 2 * 10**7, 3 * 10**7])
    rear = reading(log, "CAN", "wheel_speed_rear_left").value
    assert rear is not None
    np.testing.assert_array_equal(rear, [2.0, 6.0, 10.0])
    assert reading(log, "IMU", "gyro_down").unit == "rad/s"
    assert reading(log, "live_gnss_ublox", "latitude").unit == "deg"
    assert reading(log, "CAN", "novelty_1").value is not None, "what is not known is carried too"
    near = reading(log, "radar", "0x210/d_rel")
    assert near.value is not None
    np.testing.assert_array_equal(near.value, [70.0, 71.0])
    assert not [r for r in log.readings if r.signal == "0x210/a_rel"], "columns without values"
    assert reading(log, "raw_gnss_ublox", "prn82/pseudorange").value is not None
    assert reading(log, "raw_gnss_ublox", "prn82/pseudorange#2").value is not None


def test_raw_can_by_bus_and_address(tmp_path: Path) -> None:
    log = read_one(write_segment(tmp_path))
    steady = reading(log, "CAN_bus_0", "0x260")
    assert steady.text == ["0102000000000000", "0404040404040404"]
    assert steady.value is None
    assert reading(log, "CAN_bus_1", "0x260").text == ["0300000000000000"]
    assert {s.channel: s.kind for s in log.sensors}["CAN_bus_1"] == "can"


def test_frames_of_a_bare_stream(tmp_path: Path) -> None:
    """The k-th frame has the k-th stamp; a video shorter than its index is told."""
    folder = write_segment(tmp_path)
    write_video(folder / "video.hevc", frames=FRAMES - 1)
    log = read_one(folder)
    frames = [f for f in log.frames if f.channel == "road_camera"]
    assert len(frames) == FRAMES - 1
    assert "does not hold" in notes_of(log)
    assert [f.keyframe for f in frames] == [True, False, False, False, True]
    assert log.ego is not None
    assert [f.t_ns for f in frames] == log.ego.t_ns[:-1].tolist()
    assert frames[0].world_from_ego is not None
    np.testing.assert_allclose(frames[0].world_from_ego[:3], 0.0, atol=1e-6)
    stamps = [f.pts for f in frames if f.pts is not None]
    shown = dict(decode_frames(folder / "video.hevc", [stamps[4], stamps[1]]))
    assert abs(float(shown[stamps[4]].mean()) - 120.0) < 4.0
    assert abs(float(shown[stamps[1]].mean()) - 30.0) < 4.0


def test_clocks_and_poses_that_are_none(tmp_path: Path) -> None:
    folder = write_segment(tmp_path)
    times = TIMES.copy()
    times[2] = BOOT - 5.0
    save(folder / "global_pose" / "frame_times", times)
    positions = np.load(folder / "global_pose" / "frame_positions")
    positions[4] = np.nan
    save(folder / "global_pose" / "frame_positions", positions)
    save(folder / "processed_log/CAN/speed/t", BOOT + np.array([0.03, 0.01, 0.04]))
    save(folder / "processed_log/IMU/gyro/t", BOOT + np.array([0.01, np.nan]))
    log = read_one(folder)
    assert log.ego is not None
    assert len(log.ego.t_ns) == FRAMES - 1
    assert log.ego.valid is not None
    np.testing.assert_array_equal(log.ego.valid, [True, True, True, False, True])
    assert len(reading(log, "CAN", "speed").t_ns) == 2
    said = notes_of(log)
    for told in ("repeat or go back", "camera poses that are none", "CAN/speed", "IMU/gyro"):
        assert told in said, told


def test_a_segment_of_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "route" / "1"
    for name, width in (("times", None), ("positions", 3), ("velocities", 3), ("orientations", 4)):
        save(
            folder / "global_pose" / f"frame_{name}", np.zeros(0 if width is None else (0, width))
        )
    (item,) = comma2k19.read(folder)
    assert isinstance(item, Rejected)


@pytest.mark.parametrize(
    "content",
    [b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,)}",
     b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x07\x00", b"plain", b"\x80\x04N."],
)  # fmt: skip
def test_arrays_that_are_none(tmp_path: Path, content: bytes) -> None:
    folder = write_segment(tmp_path)
    (folder / "global_pose" / "frame_times").write_bytes(content)
    with pytest.raises(UnreadableFile, match="frame_times"):
        list(comma2k19.read(folder))


def test_objects_and_odd_shapes_are_refused(tmp_path: Path) -> None:
    folder = write_segment(tmp_path)
    for values in (np.zeros((3, 2)), np.array([{}], dtype=object), np.array(["x"])):
        save(folder / "global_pose" / "frame_positions", values)
        with pytest.raises(UnreadableFile, match="frame_positions"):
            list(comma2k19.read(folder))


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_segment() -> None:
    """Counts as the arrays have them, positions back on earth, speed as the wheels tell it."""
    (folder,) = comma2k19.sources(Path(os.environ["SCENELAKE_REAL_DATA"]) / "comma2k19")
    log = read_one(folder)
    ego = log.ego
    assert ego is not None
    assert len(ego.t_ns) == 1200
    assert sum(len(r.t_ns) for r in log.readings if r.channel.startswith("CAN_bus")) == 135_468
    assert sum(len(r.t_ns) for r in log.readings if "/d_rel" in r.signal) == 10_100
    assert sum(len(r.t_ns) for r in log.readings if "/pseudorange_std" in r.signal) == 9_828
    assert ego.quaternion is not None
    assert ego.velocity is not None
    camera = ego.xyz + rotation_from_quaternion(ego.quaternion) @ np.array(
        log.extra["camera_in_box"]
    )
    latitude, longitude, _ = log.extra["anchor_geodetic"]
    anchor = SE3(
        ecef_from_enu(np.radians(latitude), np.radians(longitude)).rotation,
        np.array(log.extra["anchor_ecef"]),
    )
    there = np.load(folder / "global_pose" / "frame_positions")
    np.testing.assert_allclose(anchor.apply(camera), there, rtol=0, atol=1e-4)
    speed = reading(log, "CAN", "speed")
    assert speed.value is not None
    wheels = np.interp(ego.t_ns, speed.t_ns, speed.value)
    assert np.median(np.abs(np.linalg.norm(ego.velocity, axis=1) - wheels)) < 0.3
    course = np.arctan2(ego.velocity[:, 1], ego.velocity[:, 0])
    assert np.abs(np.median(np.angle(np.exp(1j * (course - ego.yaw))))) < 0.05

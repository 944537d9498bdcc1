"""KITTI object, tracking and raw, on a street whose every number is known."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import kitti, kitti_object, kitti_raw, kitti_tracking
from formats.media import decode_points, read_payload
from formats.registry import Rejected
from geometry.frames import rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.kitti_files import (
    ALTITUDE,
    BASELINE,
    LATITUDE,
    LONGITUDE,
    STEPS,
    calibration,
    label,
    put,
    stamp,
    sweep,
    write_object,
    write_raw,
    write_tracking,
)


def logs_of(module: Any, source: Path) -> list[Log]:
    logs = []
    for log in module.read(source):
        assert isinstance(log, Log), log
        check_log(log)
        logs.append(log)
    return logs


def notes_of(log: Log) -> str:
    return "\n".join(note.reason for note in log.notes)


class TestObjectContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return kitti_object

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = write_object(tmp_path / "in")
        shutil.rmtree(folder / "label_2")
        return folder


class TestTrackingContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return kitti_tracking

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = write_tracking(tmp_path / "in")
        shutil.rmtree(folder / "label_02")
        return folder


class TestRawContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return kitti_raw

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_raw(tmp_path / "in", inside=True)

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_cut_off_file_is_named(
        self, module: Any, source: Path, tmp_path: Path, share: float
    ) -> None:
        """Of the calibration of four cameras half may be whole: only its loss is told."""
        for number, path in enumerate(module.files(source)):
            copy = Path(shutil.copytree(source, tmp_path / f"cut{number}" / source.name))
            broken = copy / path.relative_to(source)
            broken.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
            try:
                (log,) = module.read(copy)
            except UnreadableFile as error:
                assert broken.name in str(error)  # noqa: PT017 - either way is right
            else:
                assert re.search("stamp", notes_of(log)), broken


# ── Object ───────────────────────────────────────────────────────────────────────────────────────


def test_object_boxes_in_the_lidars_frame(tmp_path: Path) -> None:
    """A car 20 m before camera 0 is 20.27 m before the lidar; its centre is 0.75 m over the road."""
    one, two, three = logs_of(kitti_object, write_object(tmp_path))
    assert [log.source_log_id for log in (one, two, three)] == [
        "training/000000", "training/000001", "training/000002",
    ]  # fmt: skip
    agents = one.agents
    assert list(agents.source_cls) == ["Car", "Pedestrian"]
    assert list(agents.cls) == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
    bottom = -0.08 - 1.65
    np.testing.assert_allclose(
        agents.xyz, [[20.27, 0.0, bottom + 0.75], [10.27, -3.0, bottom + 0.75]], atol=1e-9
    )
    np.testing.assert_allclose(agents.yaw, [0.0, -np.pi / 2], atol=1e-9)
    np.testing.assert_array_equal(agents.size[0], [4.0, 2.0, 1.5])
    assert one.extra["dont_care"] == [[1.0, 2.0, 3.0, 4.0]]
    assert one.extra["objects"]["0"] == {
        "truncated": 0.25, "occluded": 0, "alpha": -1.57, "image_box": [10.5, 20.5, 30.5, 40.5],
    }  # fmt: skip
    assert "DontCare" in notes_of(one)
    assert "no labels" in notes_of(three)
    assert one.split == "train"


def test_object_sensors(tmp_path: Path) -> None:
    folder = write_object(tmp_path)
    put(folder / "image_3" / "000000.png", (folder / "image_2" / "000000.png").read_bytes())
    log = logs_of(kitti_object, folder)[0]
    lidar, left, right = log.sensors
    assert (left.width, left.height) == (64, 32)
    assert left.intrinsics == (700.0, 700.0, 600.0, 170.0)
    assert lidar.ego_from_sensor is not None
    assert left.ego_from_sensor is not None
    assert right.ego_from_sensor is not None
    np.testing.assert_allclose(left.ego_from_sensor[:3], [0.27, 0.0, -0.08], atol=1e-9)
    np.testing.assert_allclose(right.ego_from_sensor[:3], [0.27, -BASELINE, -0.08], atol=1e-9)
    ahead = rotation_from_quaternion(left.ego_from_sensor[3:]) @ [0.0, 0.0, 1.0]
    np.testing.assert_allclose(ahead, [1.0, 0.0, 0.0], atol=1e-9)
    frame = next(f for f in log.frames if f.channel == "velodyne")
    points = decode_points(frame.codec, read_payload(frame.uri))
    np.testing.assert_array_equal(points.xyz[1], [4.0, 5.0, 6.0])
    np.testing.assert_array_equal(points.channels["intensity"], [3.0, 7.0, 11.0])


def test_object_without_calibration_or_with_waymos_names(tmp_path: Path) -> None:
    folder = write_object(tmp_path / "a")
    (folder / "calib" / "000000.txt").unlink()
    log = logs_of(kitti_object, folder)[0]
    assert not len(log.agents.track)
    assert "not known without calibration" in notes_of(log)
    waymo = tmp_path / "b" / "training"
    put(waymo / "velodyne" / "1000007.bin", sweep(6))
    put(waymo / "image_0" / "1000007.png", (folder / "image_2" / "000000.png").read_bytes())
    assert list(kitti_object.sources(tmp_path / "b")) == [waymo]
    (log,) = logs_of(kitti_object, waymo)
    assert log.source_log_id == "training/1000007"
    frame = next(f for f in log.frames if f.channel == "velodyne")
    points = decode_points(frame.codec, read_payload(frame.uri))
    np.testing.assert_array_equal(points.xyz[1], [6.0, 7.0, 8.0])
    assert log.ego is None


def test_a_bad_object_frame_leaves_the_others(tmp_path: Path) -> None:
    folder = write_object(tmp_path)
    put(folder / "calib" / "000001.txt", "R0_rect: 1 2 3\n")
    put(folder / "label_2" / "000000.txt", "Car 1 2\n\xff\n")
    one, two, three = kitti_object.read(folder)
    assert isinstance(one, Rejected)
    assert "000000.txt" in one.reason
    assert isinstance(two, Rejected)
    assert "R0_rect" in two.reason
    assert isinstance(three, Log)


def test_labels_that_end_too_early(tmp_path: Path) -> None:
    folder = write_object(tmp_path)
    path = folder / "label_2" / "000000.txt"
    for name, share, told in (("a", 0.9, "ends with a line"), ("b", 0.0, "")):
        content = path.read_bytes()
        put(folder / "label_2" / "000001.txt", content[: int(len(content) * share)])
        two = list(kitti_object.read(folder))[1]
        if told:
            assert isinstance(two, Rejected), name
            assert told in two.reason
            assert "000001.txt" in two.reason
        else:
            assert isinstance(two, Log), "a frame of nobody"
            assert "label file is empty" in notes_of(two)


def test_odometry_sequences_are_no_object_frames(tmp_path: Path) -> None:
    folder = write_object(tmp_path)
    put(folder / "times.txt", "0.0\n")
    assert list(kitti_object.sources(tmp_path)) == []


# ── Tracking ─────────────────────────────────────────────────────────────────────────────────────


def test_tracking_in_the_world(tmp_path: Path) -> None:
    """The parked van stays where it is while the ego nears it; north is y."""
    (log,) = logs_of(kitti_tracking, write_tracking(tmp_path))
    assert log.source_log_id == "training/0000"
    ego = log.ego
    assert ego is not None
    np.testing.assert_allclose(np.diff(ego.xyz[:, 1]), 1.0, atol=1e-4)
    np.testing.assert_allclose(ego.yaw, np.pi / 2, atol=1e-12)
    np.testing.assert_array_equal(ego.velocity, np.tile([0.0, 10.0], (STEPS, 1)))
    agents = log.agents
    van = agents.track == 0
    assert list(agents.source_track_id) == ["7", "9"]
    np.testing.assert_allclose(agents.xyz[van] - agents.xyz[van][0], 0.0, atol=1e-3)
    # The van is 30.27 + 0.81 m ahead of the IMU, 2 m right of camera 0, hence 2 + 0.32 m east.
    imu = kitti.imu_poses(kitti.read_oxts(tmp_path / "training/oxts/0000.txt"),
                          log.extra["mercator_scale"])[0]  # fmt: skip
    offset = agents.xyz[van][0] - imu[0]
    np.testing.assert_allclose(offset, [2.32, 31.08, -0.08 - 1.65 + 0.75 + 0.8], atol=1e-6)
    np.testing.assert_allclose(agents.yaw[van], np.pi / 2, atol=1e-9)
    np.testing.assert_array_equal(agents.t_ns[~van], [10**8, 3 * 10**8])
    (event,) = log.events
    assert (event.name, event.source_track_id, event.t0_ns, event.t1_ns) == (
        "occluded", "7", 10**8, 2 * 10**8,
    )  # fmt: skip
    assert len(log.extra["dont_care"]) == STEPS


def test_tracking_frames_and_readings(tmp_path: Path) -> None:
    (log,) = logs_of(kitti_tracking, write_tracking(tmp_path))
    sweeps = [f.t_ns for f in log.frames if f.channel == "velodyne"]
    assert sweeps == [0, 10**8, 3 * 10**8], "numbers tell the time, not the place in the folder"
    assert len(log.readings) == 30
    latitude = next(r for r in log.readings if r.signal == "lat")
    assert latitude.value is not None
    assert latitude.value[0] == LATITUDE
    frame = log.frames[0]
    assert frame.world_from_ego is not None
    back = kitti.latitude_longitude(
        np.array([frame.world_from_ego[:2]]), log.extra["mercator_scale"]
    )
    np.testing.assert_allclose(np.ravel(back), [LATITUDE, LONGITUDE], atol=1e-9)
    assert frame.world_from_ego[2] == ALTITUDE


def test_tracking_without_poses_has_no_world(tmp_path: Path) -> None:
    folder = write_tracking(tmp_path)
    shutil.rmtree(folder / "oxts")
    (log,) = logs_of(kitti_tracking, folder)
    assert log.ego is None
    assert not len(log.agents.track)
    assert "without a pose" in notes_of(log)


def test_tracking_beyond_its_poses_and_odd_classes(tmp_path: Path) -> None:
    folder = write_tracking(tmp_path)
    lines = (folder / "label_02" / "0000.txt").read_text()
    lines += f"99 7 {label('Van', 0, 5, 0)}\nx\n2 11 {label('UFO', 0, 5, 0)}\n"
    lines += f"0 7 {label('Car', 0, 5, 0)}\n"
    put(folder / "label_02" / "0000.txt", lines)
    (log,) = logs_of(kitti_tracking, folder)
    said = notes_of(log)
    for told in ("without a pose", "UFO", "class changes", "several states", "no labels"):
        assert told in said, told


def test_a_bad_sequence_is_rejected(tmp_path: Path) -> None:
    folder = write_tracking(tmp_path)
    put(folder / "oxts" / "0000.txt", "1 2 3\n")
    put(folder / "calib" / "0001.txt", calibration(tracking=True))
    one, two = kitti_tracking.read(folder)
    assert isinstance(one, Rejected)
    assert "3 values" in one.reason
    assert isinstance(two, Log)


def test_a_line_of_poses_that_is_not_finite_costs_the_sequence(tmp_path: Path) -> None:
    folder = write_tracking(tmp_path)
    path = folder / "oxts" / "0000.txt"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, " ".join(["nan", *rest[0].split()[1:]]), *rest[1:]]))
    (rejected,) = kitti_tracking.read(folder)
    assert isinstance(rejected, Rejected)
    assert "not finite in GNSS/IMU line 2" in rejected.reason


# ── Raw ──────────────────────────────────────────────────────────────────────────────────────────


def nanoseconds(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.mark.parametrize("inside", [True, False])
def test_raw_drive(tmp_path: Path, inside: bool) -> None:
    drive = write_raw(tmp_path, inside=inside)
    assert list(kitti_raw.sources(tmp_path)) == [drive]
    (log,) = logs_of(kitti_raw, drive)
    assert log.source_log_id == "2011_09_26_drive_0001_sync"
    assert log.extra["t0_local"] == stamp(0, 11)
    assert log.t0_unix_ns is None
    t0 = nanoseconds(stamp(0, 11))
    assert log.ego is not None
    assert [int(t) + t0 for t in log.ego.t_ns] == [
        nanoseconds(stamp(k, 5_000_001)) for k in range(STEPS)
    ]
    sweeps = [f for f in log.frames if f.channel == "velodyne_points"]
    assert [(f.t_ns, f.t_end_ns) for f in sweeps] == [
        (k * 10**8, k * 10**8 + 99_999_988) for k in (0, 1, 3)
    ]
    assert [f.frame_index for f in sweeps] == [0, 1, 3]
    ahead = next(r for r in log.readings if r.signal == "facing_ahead")
    assert ahead.value is not None
    np.testing.assert_allclose(ahead.value, (50_000_000 - 11) / 1e9)
    camera = next(s for s in log.sensors if s.channel == "image_02")
    assert (camera.width, camera.height) == (1242, 375)
    assert camera.ego_from_sensor is not None
    np.testing.assert_allclose(camera.ego_from_sensor[:3], [1.08, -0.32, 0.72], atol=1e-9)
    assert "not there" in notes_of(log)


def test_raw_tracklets(tmp_path: Path) -> None:
    (log,) = logs_of(kitti_raw, write_raw(tmp_path))
    agents = log.agents
    assert list(agents.source_cls) == ["Car"]
    t0 = nanoseconds(stamp(0, 11))
    np.testing.assert_array_equal(
        agents.t_ns, [nanoseconds(stamp(k, 50_000_000)) - t0 for k in range(1, STEPS)]
    )
    np.testing.assert_allclose(agents.yaw, 0.5 + np.pi / 2, atol=1e-9)
    poses = {f.frame_index: f.world_from_ego for f in log.frames if f.channel == "image_02"}
    for row, step in enumerate(range(1, STEPS)):
        imu = np.array((poses[step] or ())[:3])
        # 20 − step m ahead and 4 m left of the lidar, which is 0.81 m ahead and 0.32 m right of the IMU.
        np.testing.assert_allclose(
            agents.xyz[row] - imu, [-(4.0 - 0.32), 20.0 - step + 0.81, 0.8 - 1.7 + 0.75], atol=1e-6
        )
    (event,) = log.events
    assert (event.name, event.source_track_id, event.detail) == (
        "occlusion",
        "0",
        {"is": "partly"},
    )
    assert event.t0_ns == event.t1_ns == nanoseconds(stamp(2, 50_000_000)) - t0


def test_raw_clocks_that_jump(tmp_path: Path) -> None:
    drive = write_raw(tmp_path)
    stamps = [stamp(0, 5), stamp(1, 5), stamp(0, 7), ""]
    put(drive / "oxts" / "timestamps.txt", "\n".join(stamps) + "\n")
    (log,) = logs_of(kitti_raw, drive)
    assert log.ego is not None
    assert len(log.ego.t_ns) == 2
    said = notes_of(log)
    assert "goes back" in said
    assert "time without pose" in said


def test_raw_refuses_what_is_none(tmp_path: Path) -> None:
    drive = write_raw(tmp_path)
    put(drive / "tracklet_labels.xml", "<a/>")
    with pytest.raises(UnreadableFile, match="tracklet_labels"):
        list(kitti_raw.read(drive))
    put(drive / "oxts" / "timestamps.txt", "yesterday\n")
    with pytest.raises(UnreadableFile, match=r"timestamps\.txt.*line 1"):
        list(kitti_raw.read(drive))
    bare = tmp_path / "x" / "d_sync"
    put(bare / "image_00" / "timestamps.txt", "\n")
    (item,) = kitti_raw.read(bare)
    assert isinstance(item, Rejected)


def test_a_broken_sweep_is_told() -> None:
    with pytest.raises(ValueError, match="17 bytes"):
        kitti.decode_velodyne(bytes(17))


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_frames() -> None:
    """Boxes hold lidar points, and seen by the camera lie where the label's image box is."""
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "kitti" / "data" / "object" / "training"
    logs = logs_of(kitti_object, folder)
    assert [len(log.agents.track) for log in logs] == [1, 3, 2]
    for log in logs:
        agents = log.agents
        frame = next(f for f in log.frames if f.channel == "velodyne")
        points = decode_points(frame.codec, read_payload(frame.uri)).xyz
        camera = next(s for s in log.sensors if s.channel == "image_2")
        assert camera.ego_from_sensor is not None
        turn = rotation_from_quaternion(camera.ego_from_sensor[3:])
        fx, fy, cx, cy = camera.intrinsics
        for row in range(len(agents.track)):
            cos, sin = np.cos(agents.yaw[row]), np.sin(agents.yaw[row])
            box = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
            local = (points - agents.xyz[row]) @ box
            assert (np.abs(local) <= agents.size[row] / 2 + 0.05).all(axis=1).sum() > 5
            signs = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, -1).T
            corners = (signs * agents.size[row]) @ box.T + agents.xyz[row]
            seen = (corners - camera.ego_from_sensor[:3]) @ turn
            u, v = fx * seen[:, 0] / seen[:, 2] + cx, fy * seen[:, 1] / seen[:, 2] + cy
            told = log.extra["objects"][str(row)]["image_box"]
            np.testing.assert_allclose([u.min(), v.min(), u.max(), v.max()], told, atol=12.0)

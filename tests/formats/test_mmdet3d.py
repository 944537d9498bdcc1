"""MMDetection3D's info pickles to logs."""

from __future__ import annotations

import math
import os
import pickle  # noqa: TID251 (writes only)
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import mmdet3d, nuscenes
from formats.media import decode_points, read_payload
from formats.registry import Rejected
from geometry.angles import wrap
from geometry.frames import rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

REAL = os.environ.get("SCENELAKE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
STAMP = 1_532_402_927.647951
LIDAR = "n015__LIDAR_TOP__1532402927647951.pcd.bin"
CAMERA = "n015__CAM_FRONT__1532402927612460.jpg"


def pose(yaw: float, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    matrix[:3, 3] = x, y, z
    return matrix


WORLD_FROM_EGO = pose(math.pi / 2, 400.0, 1100.0)
EGO_FROM_LIDAR = pose(-math.pi / 2, 0.9, 0.0, 1.8)  # x to the right, y ahead
EGO_FROM_CAMERA = np.array([[0, 0, 1, 1.7], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
WORLD_FROM_EGO_THEN = pose(math.pi / 2, 400.0, 1099.8)  # when the camera looked


def modern(**changes: Any) -> dict[str, Any]:
    """One key frame in today's layout: a car 10 m ahead, seen from a lidar that points ahead."""
    camera_from_lidar = (
        np.linalg.inv(WORLD_FROM_EGO_THEN @ EGO_FROM_CAMERA) @ WORLD_FROM_EGO @ EGO_FROM_LIDAR
    )
    info = {
        "sample_idx": 0, "token": "ca9a282c9e77460f8360f564131a8af5", "timestamp": STAMP,
        "ego2global": WORLD_FROM_EGO.tolist(),
        "images": {
            "CAM_FRONT": {
                "img_path": CAMERA, "cam2img": [[1266.0, 0, 816.0], [0, 1267.0, 491.0], [0, 0, 1]],
                "cam2ego": EGO_FROM_CAMERA.tolist(), "timestamp": 1_532_402_927.61246,
                "lidar2cam": camera_from_lidar.tolist(),
            }
        },
        "lidar_points": {
            "num_pts_feats": 5, "lidar_path": LIDAR, "lidar2ego": EGO_FROM_LIDAR.tolist(),
        },
        "instances": [
            {
                "bbox_label_3d": 0, "bbox_3d": [0.0, 10.0, -1.0, 4.6, 1.9, 1.7, math.pi / 2],
                "velocity": [0.0, 3.0], "num_lidar_pts": np.int64(7), "bbox_3d_isvalid": True,
            },
            {"bbox_label_3d": -1, "bbox_3d": [2.0, 5.0, -1.0, 0.6, 0.7, 1.8, 0.0],
             "velocity": [np.nan, np.nan]},
        ],
    }  # fmt: skip
    info |= changes
    meta = {"categories": {"car": 0, "truck": 1}, "dataset": "nuscenes", "version": "v1.0-mini"}
    return {"metainfo": meta, "data_list": [info]}


def older() -> dict[str, Any]:
    """The same in the layout of before 1.1, with one sweep."""
    half = math.sqrt(0.5)
    placed = {
        "sensor2ego_translation": [0.9, 0.0, 1.8],
        "sensor2ego_rotation": [half, 0, 0, -half],
    }
    where = {
        "ego2global_translation": [400.0, 1100.0, 0.0],
        "ego2global_rotation": [half, 0, 0, half],
    }
    info = {
        "lidar_path": f"./data/nuscenes/samples/LIDAR_TOP/{LIDAR}", "token": "ca9a",
        "sweeps": [{"data_path": "a/b.pcd.bin", "type": "lidar", "sample_data_token": "s",
                    "timestamp": 1_532_402_927_547_951, **placed, **where}],
        "cams": {
            "CAM_FRONT": {
                "data_path": f"x/{CAMERA}", "type": "CAM_FRONT", "timestamp": 1_532_402_927_612_460,
                "cam_intrinsic": np.array([[1266.0, 0, 816.0], [0, 1267.0, 491.0], [0, 0, 1]]),
                **placed, **where,
            }
        },
        "lidar2ego_translation": [0.9, 0.0, 1.8], "lidar2ego_rotation": [half, 0, 0, -half],
        "timestamp": 1_532_402_927_647_951, **where,
        "gt_boxes": np.array([[0.0, 10.0, -1.0, 4.6, 1.9, 1.7, math.pi / 2]]),
        "gt_names": np.array(["car"]), "gt_velocity": np.array([[0.0, 3.0]]),
        "num_lidar_pts": np.array([7]),
    }  # fmt: skip
    return {"infos": [info], "metadata": {"version": "v1.0-mini"}}


def into_box(yaw: float) -> np.ndarray:
    """Turns row vectors from the world into a box of that heading."""
    return pose(yaw)[:2, :2]


def write(folder: Path, content: Any, name: str = "nuscenes_infos.pkl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def only(path: Path) -> Log:
    (log,) = mmdet3d.read(path)
    assert isinstance(log, Log), log
    check_log(log)
    return log


class TestModern(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return mmdet3d

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in", modern())


class TestOlder(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return mmdet3d

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in", older())


class TestALog:
    @pytest.mark.parametrize("content", [modern(), older()], ids=["modern", "older"])
    def test_boxes_stand_in_the_world(self, tmp_path: Path, content: Any) -> None:
        agents = only(write(tmp_path, content)).agents
        # The vehicle looks along y; the car is 10 m ahead of the lidar, 0.9 m ahead of the axle.
        np.testing.assert_allclose(agents.xyz[0], [400.0, 1110.9, 0.8], atol=1e-9)
        assert abs(wrap(agents.yaw - math.pi / 2)[0]) < 1e-12
        np.testing.assert_array_equal(agents.size[0], [4.6, 1.9, 1.7])
        assert agents.velocity is not None
        np.testing.assert_allclose(agents.velocity[0], [0.0, 3.0], atol=1e-12)
        assert (agents.source_cls[0], agents.cls[0]) == ("car", AgentClass.VEHICLE)

    def test_stamps_come_back(self, tmp_path: Path) -> None:
        log = only(write(tmp_path, modern()))
        assert log.t0_unix_ns is not None
        stamps = {f.channel: f.t_ns + log.t0_unix_ns for f in log.frames}
        assert stamps == {
            "LIDAR_TOP": 1_532_402_927_647_951_000, "CAM_FRONT": 1_532_402_927_612_460_000,
        }  # fmt: skip
        before = only(write(tmp_path, older()))
        assert before.t0_unix_ns == 1_532_402_927_547_951_000
        assert [f.channel for f in before.frames].count("LIDAR_TOP") == 2

    def test_a_cameras_pose_is_solved(self, tmp_path: Path) -> None:
        log = only(write(tmp_path, modern()))
        camera = next(f for f in log.frames if f.channel == "CAM_FRONT")
        assert camera.world_from_ego is not None
        np.testing.assert_allclose(camera.world_from_ego[:3], [400.0, 1099.8, 0.0], atol=1e-9)
        assert log.ego is not None
        np.testing.assert_allclose(log.ego.xyz[:, 1], [1099.8 + 1.385, 1100.0 + 1.385])

    def test_a_pose_that_cannot_be_is_left_out(self, tmp_path: Path) -> None:
        content = modern()
        image = content["data_list"][0]["images"]["CAM_FRONT"]
        image["lidar2cam"] = (np.array(image["lidar2cam"]) + pose(0.0, 50.0) - np.eye(4)).tolist()
        log = only(write(tmp_path, content))
        assert log.ego is not None
        assert len(log.ego.t_ns) == 1
        assert any("cannot have been" in note.reason for note in log.notes)

    def test_boxes_of_before_release_1(self, tmp_path: Path) -> None:
        content = modern()
        for row in content["data_list"][0]["instances"]:
            x, y, z, length, width, height, yaw = row["bbox_3d"]
            row["bbox_3d"] = [x, y, z, width, length, height, -yaw - math.pi / 2]
        log = only(write(tmp_path, content))
        assert abs(wrap(log.agents.yaw - math.pi / 2)[0]) < 1e-12
        np.testing.assert_array_equal(log.agents.size[0], [4.6, 1.9, 1.7])
        assert any("before release 1.0" in note.reason for note in log.notes)

    def test_captures_are_found_beside_the_pickle(self, tmp_path: Path) -> None:
        path = write(tmp_path, modern())
        (tmp_path / "samples" / "LIDAR_TOP").mkdir(parents=True)
        (tmp_path / "samples" / "LIDAR_TOP" / LIDAR).write_bytes(b"")
        (tmp_path / CAMERA).write_bytes(b"")
        log = only(path)
        assert all(Path(frame.uri).is_file() for frame in log.frames)
        assert not any("not there" in note.reason for note in log.notes)

    def test_details_become_events(self, tmp_path: Path) -> None:
        (event,) = only(write(tmp_path, modern())).events
        assert event.detail == {"num_lidar_pts": 7, "bbox_3d_isvalid": True}


class TestBadInput:
    def test_one_bad_info_does_not_end_the_others(self, tmp_path: Path) -> None:
        content = modern()
        good = content["data_list"][0]
        bad: list[Any] = [{}, 7, {**good, "ego2global": [[1, 2]]}, {**good, "timestamp": "noon"}]
        bad += [{**good, "timestamp": math.nan}, {**good, "instances": [{"bbox_3d": [1, 2]}]}]
        bad += [{**good, "ego2global": np.zeros((4, 4))}]
        content["data_list"] = [*bad, good]
        *rejected, log = mmdet3d.read(write(tmp_path, content))
        assert len(rejected) == len(bad)
        assert all(isinstance(item, Rejected) for item in rejected)
        assert isinstance(log, Log)

    def test_boxes_that_are_not_finite(self, tmp_path: Path) -> None:
        content = modern()
        content["data_list"][0]["instances"][0]["bbox_3d"][0] = math.nan
        log = only(write(tmp_path, content))
        assert len(log.agents.t_ns) == 1
        assert any(note.reason == "boxes that are not finite" for note in log.notes)

    def test_a_pickle_that_asks_for_more(self, tmp_path: Path) -> None:
        path = tmp_path / "infos.pkl"
        content = pickle.dumps(modern(), protocol=4)
        path.write_bytes(content[:-1] + b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(UnreadableFile, match="system"):
            list(mmdet3d.read(path))

    @pytest.mark.parametrize("content", [[], {"data_list": []}, {"data_list": 3}, 7])
    def test_what_holds_no_infos(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(UnreadableFile, match="infos"):
            list(mmdet3d.read(write(tmp_path, content)))

    def test_names_lead_nowhere_else(self, tmp_path: Path) -> None:
        content = modern()
        content["data_list"][0]["lidar_points"]["lidar_path"] = "/etc/passwd"
        log = only(write(tmp_path, content))
        assert all(Path(frame.uri).is_relative_to(tmp_path) for frame in log.frames)


@needs_real
class TestRealFiles:
    @property
    def root(self) -> Path:
        return Path(str(REAL)) / "mmdet3d_demo"

    def test_every_info_is_read(self) -> None:
        found = [log for s in mmdet3d.sources(self.root) for log in mmdet3d.read(s)]
        logs = [log for log in found if isinstance(log, Log)]
        assert len(logs) == len(found) == 5
        assert sorted(len(log.agents.t_ns) for log in logs) == [3, 4, 37, 38, 69]
        for log in logs:
            check_log(log)

    def test_moving_vehicles_head_where_they_go(self) -> None:
        for source in mmdet3d.sources(self.root):
            for log in mmdet3d.read(source):
                assert isinstance(log, Log)
                if log.agents.velocity is None:
                    continue
                vx, vy = log.agents.velocity.T
                moving = np.hypot(vx, vy) > 1.5
                off = np.abs(wrap(np.arctan2(vy, vx) - log.agents.yaw))[moving]
                assert off.max(initial=0.0) < math.radians(6.0)

    def test_boxes_hold_the_points_that_were_counted(self) -> None:
        (log,) = (log for s in mmdet3d.sources(self.root / "demo") for log in mmdet3d.read(s))
        assert isinstance(log, Log)
        sweep = next(f for f in log.frames if f.channel == "LIDAR_TOP")
        lidar = next(s for s in log.sensors if s.channel == "LIDAR_TOP").ego_from_sensor
        assert sweep.world_from_ego is not None
        assert lidar is not None
        points = decode_points(sweep.codec, read_payload(sweep.uri)).xyz
        for place in (lidar, np.array(sweep.world_from_ego)):
            points = points @ rotation_from_quaternion(place[3:]).T + place[:3]
        for k, event in enumerate(log.events):
            offset = points - log.agents.xyz[k]
            across = offset[:, :2] @ into_box(log.agents.yaw[k])
            local = np.column_stack([across, offset[:, 2]])
            inside = int((np.abs(local) <= log.agents.size[k] / 2).all(axis=1).sum())
            assert abs(inside - event.detail["num_lidar_pts"]) <= max(2, inside // 10)

    def test_lyft_infos_agree_with_its_tables(self) -> None:
        folder = self.root / "tests" / "data" / "lyft"
        table = next(iter(nuscenes.read(next(nuscenes.sources(folder)))))
        info = only(folder / "lyft_infos_val.pkl")
        assert isinstance(table, Log)
        for xyz, yaw in zip(table.agents.xyz, table.agents.yaw, strict=True):
            gaps = np.linalg.norm(info.agents.xyz - xyz, axis=1)
            nearest = int(gaps.argmin())
            assert gaps[nearest] < 1e-6
            assert abs(wrap(info.agents.yaw - yaw)[nearest]) < math.radians(0.1)

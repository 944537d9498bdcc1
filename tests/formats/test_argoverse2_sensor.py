"""Argoverse 2 sensor logs: what is written is what is read, and real logs come in whole."""

import gzip
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from formats import argoverse2_sensor
from formats.argoverse2 import CATEGORIES, Poses, category_of, centre_in_ego, ego_poses
from formats.media import decode_points, read_payload
from formats.registry import Rejected
from geometry.frames import quaternion_from_yaw
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import EgoStates, Frame, Log, Observations, Sensor
from tests.contracts import ReaderContract, check_log
from tests.formats.drawn_logs import STEP_NS, drawn_log

SEEDS = st.integers(0, 2**32)
TOLERANCE = 1e-6  # [m] a thousandth of the promised millimetre


def only_log(folder: Path) -> Log:
    (log,) = argoverse2_sensor.read(folder)
    assert isinstance(log, Log)
    return log


def straight_log(**changes: object) -> Log:
    """An ego that drives along x at 10 m/s, and a car that stands 20 m ahead of its start."""
    times = np.arange(5) * STEP_NS
    ego = EgoStates(
        t_ns=times, xyz=np.stack([times * 1e-8, 0 * times, 0.4 + 0.0 * times], axis=1),
        yaw=np.zeros(5), size=(4.877, 2.0, 1.473),
    )  # fmt: skip
    agents = Observations(
        track=np.zeros(5, dtype=np.int64), t_ns=times, xyz=np.tile([20.0, 1.0, 0.7], (5, 1)),
        yaw=np.full(5, 0.5), size=np.tile([4.5, 1.9, 1.5], (5, 1)), source_track_id=["car"],
        source_cls=["REGULAR_VEHICLE"], cls=[AgentClass.VEHICLE],
    )  # fmt: skip
    log = Log(
        dataset="hand", source_log_id="straight", source_uri="", rate_hz=10.0, ego=ego,
        agents=agents,
    )  # fmt: skip
    return replace(log, **changes)


def plain(folder: Path) -> Path:
    """The folder without its extras, as if Argoverse had made it."""
    shutil.rmtree(folder / "scenelake")
    return folder


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self):
        return argoverse2_sensor

    @pytest.fixture
    def source(self, tmp_path):
        return argoverse2_sensor.write_log(straight_log(), tmp_path / "in")


class TestContractWithoutExtras(ReaderContract):
    @pytest.fixture
    def module(self):
        return argoverse2_sensor

    @pytest.fixture
    def source(self, tmp_path):
        return plain(argoverse2_sensor.write_log(straight_log(), tmp_path / "in"))


def assert_same(read: Log, log: Log) -> None:
    for name in (
        "dataset", "source_log_id", "record", "rate_hz", "t0_unix_ns", "split", "location",
        "weather", "daylight", "license", "epsg", "extra",
    ):  # fmt: skip
        assert getattr(read, name) == getattr(log, name), name
    assert list(read.windows) == list(log.windows)
    assert list(read.events) == list(log.events)
    assert [sensor.channel for sensor in read.sensors] == [s.channel for s in log.sensors]
    assert_same_ego(read.ego, log.ego)
    assert_same_agents(read.agents, log.agents)
    assert list(read.lights.source_lane_id) == list(log.lights.source_lane_id)
    assert list(read.lights.source_state) == list(log.lights.source_state)
    for name in ("t_ns", "state", "arrow", "flashing", "stop_xyz"):
        np.testing.assert_array_equal(getattr(read.lights, name), getattr(log.lights, name))
    assert read.map.source_map_id == log.map.source_map_id
    np.testing.assert_array_equal(read.map.edges, log.map.edges)
    assert len(read.map.features) == len(log.map.features)
    for got, want in zip(read.map.features, log.map.features, strict=True):
        for name in type(want).__slots__:
            one, two = getattr(got, name), getattr(want, name)
            if isinstance(two, np.ndarray):
                np.testing.assert_allclose(one, two, rtol=0, atol=TOLERANCE)
            else:
                assert one == two, name


def assert_same_ego(read: EgoStates | None, ego: EgoStates | None) -> None:
    assert (read is None) == (ego is None)
    if read is None or ego is None:
        return
    np.testing.assert_array_equal(read.t_ns, ego.t_ns)
    assert read.size == ego.size
    assert (read.source_track_id, read.source_cls) == (ego.source_track_id, ego.source_cls)
    assert (read.quaternion is None) == (ego.quaternion is None)
    seen = np.ones(len(ego.t_ns), dtype=bool) if ego.valid is None else ego.valid
    np.testing.assert_array_equal(seen if read.valid is None else read.valid, seen)
    np.testing.assert_allclose(read.xyz[seen], ego.xyz[seen], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(read.yaw[seen], ego.yaw[seen], rtol=0, atol=1e-9)
    for name in ("velocity", "acceleration", "yaw_rate", "steering"):
        one, two = getattr(read, name), getattr(ego, name)
        assert (one is None) == (two is None), name
        if two is not None:
            np.testing.assert_array_equal(one, two)


def assert_same_agents(read: Observations, agents: Observations) -> None:
    seen = np.ones(len(agents.track), dtype=bool) if agents.valid is None else agents.valid
    assert read.valid is None
    np.testing.assert_array_equal(read.track, agents.track[seen])
    np.testing.assert_array_equal(read.t_ns, agents.t_ns[seen])
    np.testing.assert_allclose(read.xyz, agents.xyz[seen], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(read.yaw, agents.yaw[seen], rtol=0, atol=1e-9)
    np.testing.assert_allclose(read.size, agents.size[seen], rtol=0, atol=1e-12)
    assert (read.velocity is None) == (agents.velocity is None)
    if read.velocity is not None and agents.velocity is not None:
        np.testing.assert_array_equal(read.velocity, agents.velocity[seen])
    assert list(read.source_track_id) == list(agents.source_track_id)
    assert list(read.source_cls) == list(agents.source_cls)
    assert list(read.cls) == list(agents.cls)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_what_is_written_is_what_is_read(seed: int) -> None:
    log = drawn_log(seed)
    with tempfile.TemporaryDirectory() as folder:
        written = argoverse2_sensor.write_log(log, Path(folder))
        assert list(argoverse2_sensor.sources(Path(folder))) == [written]
        read = only_log(written)
        check_log(read)
        assert_same(read, log)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_argoverse_itself_holds_the_boxes(seed: int) -> None:
    """Without the extras, what other tools see is still in the right place."""
    log = drawn_log(seed)
    with tempfile.TemporaryDirectory() as folder:
        read = only_log(plain(argoverse2_sensor.write_log(log, Path(folder))))
    agents = log.agents
    seen = np.ones(len(agents.track), dtype=bool) if agents.valid is None else agents.valid
    assert len(read.agents.track) == seen.sum()
    assert set(read.agents.source_cls) <= set(CATEGORIES)
    key = [(agents.source_track_id[t], s) for t, s in zip(agents.track, agents.t_ns, strict=True)]
    where = {k: agents.xyz[i] for i, k in enumerate(key)}
    first = min((t for t, ok in zip(agents.t_ns, seen, strict=True) if ok), default=0)
    ours = min((int(t) for t in read.agents.t_ns), default=0)
    for track, stamp, xyz in zip(
        read.agents.track, read.agents.t_ns, read.agents.xyz, strict=True
    ):
        want = where[(read.agents.source_track_id[track], stamp - ours + first)]
        np.testing.assert_allclose(xyz, want, rtol=0, atol=TOLERANCE)


def test_the_tables_are_argoverse_s(tmp_path: Path) -> None:
    folder = argoverse2_sensor.write_log(straight_log(), tmp_path)
    table = feather.read_table(folder / "annotations.feather")
    numbers = [pa.float64()] * 10
    assert table.schema.types == [pa.int64(), pa.string(), pa.string(), *numbers]
    assert table.column_names == list(argoverse2_sensor.CUBOID)
    poses = feather.read_table(folder / "city_SE3_egovehicle.feather")
    assert poses.column_names == list(argoverse2_sensor.POSE)
    # By hand: the axle is 1.422 m behind the box's middle, so the car 20 m ahead of the middle
    # is 21.422 m ahead of the axle, and 0.7 − (0.4 − (1.473 / 2 − 0.33)) above it.
    first = table.slice(0, 1).to_pylist()[0]
    assert first["tx_m"] == pytest.approx(21.422)
    assert first["ty_m"] == pytest.approx(1.0)
    assert first["tz_m"] == pytest.approx(0.7 - (0.4 - (1.473 / 2 - 0.33)))
    assert poses.slice(0, 1).to_pylist()[0]["tx_m"] == pytest.approx(-1.422)


def test_every_class_has_a_category_that_means_it_or_is_said_by_the_extras() -> None:
    faithful = set(AgentClass) - {AgentClass.UNKNOWN}
    for cls in faithful:
        assert CATEGORIES[category_of(cls, "anything")] == cls
    assert category_of(AgentClass.BUS, "SCHOOL_BUS") == "SCHOOL_BUS"
    assert len(CATEGORIES) == 30


def test_frames_and_points_inside_boxes(tmp_path: Path) -> None:
    lidar = Sensor(
        channel="up_lidar", kind="lidar", ego_from_sensor=np.array([1.0, 0, 1.6, 1, 0, 0, 0])
    )
    camera = Sensor(channel="ring_front_center", kind="camera")
    frames = [
        Frame(channel="ring_front_center", t_ns=0, uri="", codec="jpeg"),
        Frame(channel="up_lidar", t_ns=0, uri="", codec="feather"),
    ]
    points = np.zeros(3, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "u1"),
                                ("laser_number", "u1"), ("offset_ns", "i4")])  # fmt: skip
    points["x"], points["y"], points["z"] = [21.4, 21.5, 40.0], [1.0, 1.2, 0.0], [0.8, 0.8, 0.0]
    log = straight_log(sensors=[camera, lidar], frames=frames)
    folder = argoverse2_sensor.write_log(
        log, tmp_path, payloads=lambda f: points if f.channel == "up_lidar" else b"\xff\xd8"
    )
    table = feather.read_table(folder / "annotations.feather")
    assert table["num_interior_pts"].to_pylist() == [2] * 5
    read = only_log(folder)
    assert [(f.channel, f.t_ns, f.codec) for f in read.frames] == [
        ("ring_front_center", 0, "jpeg"), ("lidar", 0, "feather"),
    ]  # fmt: skip
    sweep = feather.read_table(read.frames[1].uri)
    assert sweep.schema == argoverse2_sensor.SWEEP_SCHEMA
    assert Path(read.frames[0].uri).read_bytes() == b"\xff\xd8"


def sweep_files(folder: Path, steps: list[int]) -> list[Path]:
    """A sweep of one point at some of the log's steps; the log begins at its first pose."""
    poses = feather.read_table(folder / "city_SE3_egovehicle.feather", memory_map=False)
    first = poses["timestamp_ns"][0].as_py()
    place = folder / "sensors" / "lidar"
    place.mkdir(parents=True)
    point = [[21.5], [1.0], [0.75], [7], [3], [1000]]
    columns = zip(argoverse2_sensor.SWEEP_SCHEMA, point, strict=True)
    arrays = [
        pa.array(np.array(value, dtype=f.type.to_pandas_dtype()), f.type) for f, value in columns
    ]
    table = pa.table(arrays, schema=argoverse2_sensor.SWEEP_SCHEMA)
    made = [place / f"{first + step * STEP_NS}.feather" for step in steps]
    for path in made:
        feather.write_feather(table, str(path))
    return made


class TestTrouble:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return plain(argoverse2_sensor.write_log(straight_log(), tmp_path))

    def rewrite(self, path: Path, **columns: object) -> None:
        table = feather.read_table(path, memory_map=False).to_pydict()
        feather.write_feather(pa.table(table | columns), str(path))

    def reasons(self, log: Log, kind: str) -> str:
        return " ".join(note.reason for note in log.notes if note.kind == kind)

    def test_boxes_without_poses_are_rejected_with_the_reason(self, folder: Path) -> None:
        (folder / "city_SE3_egovehicle.feather").unlink()
        shutil.rmtree(folder / "calibration")
        (rejected,) = argoverse2_sensor.read(folder)
        assert isinstance(rejected, Rejected)
        assert "5 cuboids" in rejected.reason
        assert "city_SE3_egovehicle.feather" in rejected.reason

    def test_nan_poses_are_kept_as_not_observed(self, folder: Path) -> None:
        path = folder / "city_SE3_egovehicle.feather"
        tx = feather.read_table(path, memory_map=False)["tx_m"].to_pylist()
        self.rewrite(path, tx_m=[tx[0], float("nan"), *tx[2:]])
        log = only_log(folder)
        check_log(log)
        assert log.ego is not None
        assert log.ego.valid is not None
        assert log.ego.valid.tolist() == [True, False, True, True, True]
        assert log.agents.valid is not None
        assert log.agents.valid.tolist() == [True, False, True, True, True]
        assert "not finite" in self.reasons(log, "missing")

    def test_duplicate_stamps_are_dropped_with_a_note(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        table = feather.read_table(path, memory_map=False)
        feather.write_feather(pa.concat_tables([table, table.slice(0, 2)]), str(path))
        log = only_log(folder)
        check_log(log)
        assert len(log.agents.track) == 5
        assert "stamp seen before" in self.reasons(log, "dropped")

    def test_no_boxes_at_all(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        feather.write_feather(feather.read_table(path, memory_map=False).slice(0, 0), str(path))
        log = only_log(folder)
        check_log(log)
        assert len(log.agents.cls) == 0
        assert log.ego is not None

    def test_a_box_between_two_poses_is_placed_half_way(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        stamps = feather.read_table(path, memory_map=False)["timestamp_ns"].to_pylist()
        self.rewrite(path, timestamp_ns=[stamps[0] + STEP_NS // 2, *stamps[1:]])
        log = only_log(folder)
        # The cuboid was told 21.422 m ahead of the axle, which has moved by half a metre.
        np.testing.assert_allclose(log.agents.xyz[0], [20.5, 1.0, 0.7], atol=1e-9)
        assert "interpolated" in self.reasons(log, "guessed")

    def test_a_box_after_the_last_pose_is_not_placed(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        stamps = feather.read_table(path, memory_map=False)["timestamp_ns"].to_pylist()
        self.rewrite(path, timestamp_ns=[*stamps[:-1], stamps[-1] + STEP_NS])
        log = only_log(folder)
        check_log(log)
        assert log.agents.valid is not None
        assert log.agents.valid.tolist() == [True] * 4 + [False]

    def test_the_ego_s_own_boxes_become_the_ego(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        count = feather.read_table(path, memory_map=False).num_rows
        self.rewrite(path, category=["EGO_VEHICLE"] * count)
        path.rename(folder / "annotations_with_ego.feather")
        log = only_log(folder)
        assert len(log.agents.track) == 0
        assert log.ego is not None
        assert log.ego.size == (4.5, 1.9, 1.5)

    def test_a_missing_column_is_named(self, folder: Path) -> None:
        path = folder / "annotations.feather"
        feather.write_feather(
            feather.read_table(path, memory_map=False).drop_columns(["track_uuid"]), str(path)
        )
        with pytest.raises(UnreadableFile, match="track_uuid"):
            list(argoverse2_sensor.read(folder))

    def test_a_log_of_the_lidar_dataset(self, folder: Path) -> None:
        """Poses, calibration, map and sweeps, nothing else."""
        (folder / "annotations.feather").unlink()
        sweeps = sweep_files(folder, [0, 1, 4])
        log = only_log(folder)
        check_log(log)
        assert len(log.agents.cls) == 0
        assert log.ego is not None
        assert "no annotations" in self.reasons(log, "missing")
        assert [frame.uri for frame in log.frames] == [str(path) for path in sweeps]
        # The ego's box is at x = 10 t, its axle 1.422 m behind.
        assert [frame.t_ns for frame in log.frames] == [0, STEP_NS, 4 * STEP_NS]
        assert [frame.t_end_ns for frame in log.frames] == [STEP_NS, None, None]
        places = [frame.world_from_ego for frame in log.frames]
        np.testing.assert_allclose(
            [place[0] for place in places if place is not None], np.array([0, 1, 4]) - 1.422
        )
        cloud = decode_points("feather", read_payload(log.frames[0].uri))
        np.testing.assert_array_equal(cloud.xyz, [[21.5, 1.0, 0.75]])
        assert cloud.frame == "ego"

    def test_packed_sweeps_and_frames_between_poses(self, folder: Path) -> None:
        (path,) = sweep_files(folder, [0])
        packed = path.with_name(f"{int(path.stem) + STEP_NS // 2}.feather.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        copy = path.with_name(path.name + ".gz")
        copy.write_bytes(gzip.compress(path.read_bytes()))
        (path.parent / "notes.txt").write_text("by hand")
        log = only_log(folder)
        check_log(log)
        first, second = log.frames
        assert (first.container, second.container) == (None, "gzip")
        assert second.world_from_ego is not None
        assert second.world_from_ego[0] == pytest.approx(0.5 - 1.422)
        data = read_payload(second.uri, container=second.container)
        assert len(decode_points(second.codec, data).xyz) == 1
        assert "no stamps" in self.reasons(log, "dropped")
        assert "stamp seen before" in self.reasons(log, "dropped")
        assert "frames between two poses" in self.reasons(log, "guessed")

    def test_a_sweep_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="no lidar sweep"):
            decode_points("feather", b"nothing of the kind")

    def test_cuboids_of_the_baseline(self, folder: Path) -> None:
        """The ego's box, put onto the axle there, is not where its middle is."""
        path = folder / "annotations.feather"
        table = feather.read_table(path, memory_map=False)
        own = table.slice(0, 1).to_pydict()
        own |= {"track_uuid": ["ego"], "category": ["EGO_VEHICLE"]}
        own |= {"tx_m": [0.0], "ty_m": [0.0], "tz_m": [0.0]}
        feather.write_feather(
            pa.concat_tables([table, pa.table(own)]), str(folder / "sm_annotations.feather")
        )
        before = only_log(folder)
        path.unlink()
        log = only_log(folder)
        assert log.agents.source_track_id == ["car"]
        assert log.ego is not None
        assert before.ego is not None
        np.testing.assert_allclose(log.ego.xyz[:, :2], before.ego.xyz[:, :2])

    def test_packed_tables_are_read_in_place(self, folder: Path) -> None:
        before = only_log(folder)
        for path in list(argoverse2_sensor.files(folder)):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        assert list(argoverse2_sensor.sources(folder)) == [folder]
        np.testing.assert_array_equal(only_log(folder).agents.xyz, before.agents.xyz)


def test_poses_interpolate_on_the_sphere() -> None:
    yaw = np.array([0.0, 1.0])
    poses = Poses(np.array([0, 100]), quaternion_from_yaw(yaw), np.array([[0.0, 0, 0], [4, 0, 0]]))
    rotation, translation, recorded = poses.at(np.array([0, 25, 100, 101]))
    assert recorded.tolist() == [True, False, True, False]
    assert np.arctan2(rotation[1, 1, 0], rotation[1, 0, 0]) == pytest.approx(0.25)
    assert translation[1].tolist() == [1.0, 0.0, 0.0]
    assert np.isnan(translation[3]).all()


def test_ego_poses_stand_behind_the_box() -> None:
    ego = EgoStates(
        t_ns=np.array([0]), xyz=np.array([[10.0, 5.0, 1.0]]), yaw=np.array([np.pi / 2]),
        size=(4.877, 2.0, 1.473),
    )  # fmt: skip
    np.testing.assert_allclose(
        ego_poses(ego).translation, [[10.0, 5.0 - 1.422, 1.0 - centre_in_ego()[2]]]
    )


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
class TestRealLogs:
    @pytest.fixture
    def root(self) -> Path:
        return Path(os.environ["SCENELAKE_REAL_DATA"]) / "argoverse2"

    def test_all_are_found_and_read(self, root: Path) -> None:
        found = list(argoverse2_sensor.sources(root))
        assert len(found) == 4
        items = [item for source in found for item in argoverse2_sensor.read(source)]
        assert sum(isinstance(item, Rejected) for item in items) == 1
        for item in items:
            if isinstance(item, Log):
                check_log(item)

    def test_sweeps_have_a_pose_and_an_end(self, root: Path) -> None:
        (folder,) = (s for s in argoverse2_sensor.sources(root) if s.parent.name == "val")
        log = only_log(folder)
        first, second = log.frames
        assert first.t_end_ns == second.t_ns
        poses = feather.read_table(folder / "city_SE3_egovehicle.feather", memory_map=False)
        by_stamp = {row["timestamp_ns"]: row for row in poses.to_pylist()}
        for frame in (first, second):
            pose = by_stamp[frame.t_ns + log.extra["source_t0_ns"]]
            told = tuple(pose[k] for k in ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz"))
            assert frame.world_from_ego == told
            cloud = decode_points(frame.codec, read_payload(frame.uri))
            assert len(cloud.xyz) > 99_000
            # The vehicle's own roof is 1.9 m above nothing: ground lies a wheel's radius below.
            near = np.abs(cloud.xyz[:, :2]).max(axis=1) < 10.0
            assert -0.6 < np.percentile(cloud.xyz[near, 2], 10) < 0.0
        cameras = [s for s in log.sensors if s.kind == "camera"]
        assert len(cameras) == 9
        for camera in cameras:
            assert camera.ego_from_sensor is not None
            assert len(camera.intrinsics) == 4
            assert len(camera.distortion) == 3
            assert camera.width
            assert camera.height

    def test_boxes_agree_with_a_computation_by_hand(self, root: Path) -> None:
        (folder,) = (s for s in argoverse2_sensor.sources(root) if s.parent.name == "val")
        log = only_log(folder)
        boxes = feather.read_table(folder / "annotations.feather", memory_map=False)
        poses = feather.read_table(folder / "city_SE3_egovehicle.feather", memory_map=False)
        by_stamp = {row["timestamp_ns"]: row for row in poses.to_pylist()}
        where = {
            (log.agents.source_track_id[track], int(t)): xyz
            for track, t, xyz in zip(
                log.agents.track, log.agents.t_ns, log.agents.xyz, strict=True
            )
        }
        assert len(where) == boxes.num_rows == 11364
        t0 = log.extra["source_t0_ns"]
        for box in boxes.to_pylist()[::500]:
            pose = by_stamp[box["timestamp_ns"]]
            w, q = pose["qw"], np.array([pose["qx"], pose["qy"], pose["qz"]])
            v = np.array([box["tx_m"], box["ty_m"], box["tz_m"]])
            turned = v + 2.0 * np.cross(q, np.cross(q, v) + w * v)
            want = turned + np.array([pose["tx_m"], pose["ty_m"], pose["tz_m"]])
            got = where[(box["track_uuid"], box["timestamp_ns"] - t0)]
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)

    def test_a_real_log_survives_being_written(self, root: Path, tmp_path: Path) -> None:
        (folder,) = (s for s in argoverse2_sensor.sources(root) if s.parent.name == "val")
        log = only_log(folder)
        read = only_log(argoverse2_sensor.write_log(log, tmp_path))
        assert_same_agents(read.agents, log.agents)
        assert_same_ego(read.ego, log.ego)
        np.testing.assert_array_equal(read.map.edges, log.map.edges)

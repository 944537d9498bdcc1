"""Waymo perception version 2: the tables of a segment tell what its frames tell.

The tables are made of the same two frames that the other form's tests know by heart, in the columns
that Waymo publishes; both readers must say the same.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from formats import waymo_perception, waymo_v2
from formats.media import decode_image, decode_points, read_payload
from formats.waymo_range_image import matrix
from schemas.errors import UnreadableFile
from schemas.labels import Daylight, Weather
from schemas.records import Frame, Log
from tests.contracts import ReaderContract, check_log
from tests.formats.waymo_frames import HEIGHT, NAME, WIDTH, frame
from tests.formats.waymo_frames import write as write_frames

FLOATS = pa.list_(pa.float32())
SHAPE = pa.list_(pa.int32(), 3)
TRANSFORM = pa.list_(pa.float64(), 16)
LENS = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")


def write(root: Path, frames: Sequence[Any]) -> Path:
    """A segment's tables; returns that of its poses."""
    for component, rows in tables_of(frames).items():
        place = root / component
        place.mkdir(parents=True, exist_ok=True)
        types = {
            name: kind
            for ending, kind in (
                (".values", FLOATS), (".shape", SHAPE), ("transform", TRANSFORM)
            )
            for name in rows[0]
            if name.endswith(ending) and "inclination" not in name
        }  # fmt: skip
        columns = {
            name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]
        }
        parquet.write_table(pa.table(columns), place / f"{NAME}.parquet", row_group_size=3)
    return root / "vehicle_pose" / f"{NAME}.parquet"


def tables_of(frames: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    context = frames[0].context
    segment = {"key.segment_context_name": NAME}
    camera, laser = "[CameraCalibrationComponent].", "[LiDARCalibrationComponent]."
    made: dict[str, list[dict[str, Any]]] = {
        "camera_calibration": [
            segment
            | {"key.camera_name": told.name}
            | {
                f"{camera}intrinsic.{name}": value
                for name, value in zip(LENS, told.intrinsic, strict=True)
            }
            | {
                f"{camera}extrinsic.transform": list(told.extrinsic.transform),
                f"{camera}width": told.width,
                f"{camera}height": told.height,
                f"{camera}rolling_shutter_direction": told.rolling_shutter_direction,
            }
            for told in context.camera_calibrations
        ],
        "lidar_calibration": [
            segment
            | {
                "key.laser_name": told.name,
                f"{laser}extrinsic.transform": list(told.extrinsic.transform),
                f"{laser}beam_inclination.min": told.beam_inclination_min,
                f"{laser}beam_inclination.max": told.beam_inclination_max,
                f"{laser}beam_inclination.values": list(told.beam_inclinations) or None,
            }
            for told in context.laser_calibrations
        ],
    }
    for component in (
        "vehicle_pose", "stats", "camera_image", "lidar", "lidar_pose", "lidar_box", "camera_box",
    ):  # fmt: skip
        made[component] = []
    for told in frames:
        key = segment | {"key.frame_timestamp_micros": told.timestamp_micros}
        pose = "[VehiclePoseComponent].world_from_vehicle.transform"
        made["vehicle_pose"].append(key | {pose: list(told.pose.transform)})
        stats = told.context.stats
        made["stats"].append(
            key
            | {
                "[StatsComponent].time_of_day": stats.time_of_day,
                "[StatsComponent].location": stats.location,
                "[StatsComponent].weather": stats.weather,
                "[StatsComponent].lidar_object_counts.types": [1],
                "[StatsComponent].lidar_object_counts.counts": [1],
            }
        )
        made["camera_image"] += [key | image_of(image) for image in told.images]
        made["lidar_box"] += [key | box_of(label) for label in told.laser_labels]
        made["camera_box"].append(key | {"key.camera_name": 1, "key.camera_object_id": "2d"})
        for lidar in told.lasers:
            if not lidar.ri_return1.range_image_compressed:
                continue
            made["lidar"].append(
                key
                | {"key.laser_name": lidar.name}
                | image_columns("[LiDARComponent].range_image_return1", lidar.ri_return1, 4)
                | image_columns("[LiDARComponent].range_image_return2", lidar.ri_return2, 4)
            )
            packed = lidar.ri_return1.range_image_pose_compressed
            if packed:
                values = matrix(packed, channels=6)
                prefix = "[LiDARPoseComponent].range_image_return1"
                made["lidar_pose"].append(
                    key
                    | {
                        "key.laser_name": lidar.name,
                        f"{prefix}.values": values.ravel().tolist(),
                        f"{prefix}.shape": list(values.shape),
                    }
                )
    return made


def image_columns(prefix: str, image: Any, channels: int) -> dict[str, Any]:
    if not image.range_image_compressed:
        return {f"{prefix}.values": None, f"{prefix}.shape": None}
    values = matrix(image.range_image_compressed, channels=channels)
    return {f"{prefix}.values": values.ravel().tolist(), f"{prefix}.shape": list(values.shape)}


def image_of(image: Any) -> dict[str, Any]:
    prefix, speed = "[CameraImageComponent].", image.velocity
    shutter = f"{prefix}rolling_shutter_params."
    return {
        "key.camera_name": image.name,
        f"{prefix}image": image.image,
        f"{prefix}pose.transform": list(image.pose.transform),
        f"{prefix}velocity.linear_velocity.x": speed.v_x,
        f"{prefix}velocity.linear_velocity.y": speed.v_y,
        f"{prefix}velocity.linear_velocity.z": speed.v_z,
        f"{prefix}velocity.angular_velocity.x": speed.w_x,
        f"{prefix}velocity.angular_velocity.y": speed.w_y,
        f"{prefix}velocity.angular_velocity.z": speed.w_z,
        f"{prefix}pose_timestamp": image.pose_timestamp,
        f"{shutter}shutter": image.shutter,
        f"{shutter}camera_trigger_time": image.camera_trigger_time,
        f"{shutter}camera_readout_done_time": image.camera_readout_done_time,
    }


def box_of(label: Any) -> dict[str, Any]:
    prefix, box = "[LiDARBoxComponent].", label.box
    moving = label.HasField("metadata")
    return {
        "key.laser_object_id": label.id,
        f"{prefix}box.center.x": box.center_x,
        f"{prefix}box.center.y": box.center_y,
        f"{prefix}box.center.z": box.center_z,
        f"{prefix}box.size.x": box.length,
        f"{prefix}box.size.y": box.width,
        f"{prefix}box.size.z": box.height,
        f"{prefix}box.heading": box.heading,
        f"{prefix}type": label.type,
        f"{prefix}num_lidar_points_in_box": label.num_lidar_points_in_box,
        f"{prefix}speed.x": label.metadata.speed_x if moving else None,
        f"{prefix}speed.y": label.metadata.speed_y if moving else None,
        f"{prefix}speed.z": label.metadata.speed_z if moving else None,
        f"{prefix}acceleration.x": label.metadata.accel_x if moving else None,
    }


def read_one(path: Path) -> Log:
    (log,) = waymo_v2.read(path)
    assert isinstance(log, Log)
    return log


def payload(taken: Frame) -> bytes:
    return read_payload(taken.uri, offset=taken.offset, size=taken.size, container=taken.container)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "validation", [frame(0), frame(1)])


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return waymo_v2

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in" / "training", [frame(0), frame(1)])

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_cut_off_file_is_named(
        self, module: Any, source: Path, tmp_path: Path, share: float
    ) -> None:
        for path in module.files(source):
            content = path.read_bytes()
            path.write_bytes(content[: int(len(content) * share)])
            assert list(module.sources(tmp_path)) == [source]
            with pytest.raises(UnreadableFile, match=f"{path.parent.name}/{NAME}"):
                list(module.read(source))
            path.write_bytes(content)


def test_both_forms_say_the_same(source: Path, tmp_path: Path) -> None:
    one = read_one(source)
    check_log(one)
    (two,) = waymo_perception.read(
        write_frames(tmp_path / "validation" / "x.tfrecord", frame(0), frame(1))
    )
    assert isinstance(two, Log)
    for name in (
        "source_log_id",
        "t0_unix_ns",
        "split",
        "location",
        "weather",
        "daylight",
        "extra",
    ):
        assert getattr(one, name) == getattr(two, name), name
    assert (one.weather, one.daylight) == (Weather.RAIN, Daylight.DUSK)
    for name in ("track", "t_ns", "xyz", "yaw", "size", "velocity"):
        np.testing.assert_array_equal(getattr(one.agents, name), getattr(two.agents, name))
    for name in ("source_track_id", "source_cls", "cls"):
        assert list(getattr(one.agents, name)) == list(getattr(two.agents, name))
    assert one.ego is not None
    assert two.ego is not None
    for name in ("t_ns", "xyz", "yaw", "quaternion", "velocity", "yaw_rate"):
        np.testing.assert_array_equal(getattr(one.ego, name), getattr(two.ego, name))
    for mine, yours in zip(one.sensors, two.sensors, strict=False):  # the map's offset is not told
        assert (mine.channel, mine.intrinsics) == (yours.channel, yours.intrinsics)
        assert mine.distortion == yours.distortion
        np.testing.assert_array_equal(mine.ego_from_sensor, yours.ego_from_sensor)
    told = {(r.channel, r.signal): r for r in two.readings}
    for reading in one.readings:
        np.testing.assert_array_equal(reading.value, told[reading.channel, reading.signal].value)
    assert len(one.frames) == len(two.frames) == 6
    for taken, other in zip(one.frames, two.frames, strict=True):
        assert (taken.channel, taken.t_ns, taken.t_end_ns) == (
            other.channel, other.t_ns, other.t_end_ns,
        )  # fmt: skip
        assert taken.world_from_ego == other.world_from_ego
        if taken.codec == "jpeg":
            assert payload(taken) == payload(other)
            assert decode_image("jpeg", payload(taken)).shape == (HEIGHT, WIDTH, 3)
            continue
        cloud = decode_points(taken.codec, payload(taken))
        same = decode_points(other.codec, payload(other))
        np.testing.assert_allclose(cloud.xyz, same.xyz, atol=1e-9)
        for channel, values in cloud.channels.items():
            np.testing.assert_array_equal(values, same.channels[channel])


def test_what_is_left_out_is_said(source: Path) -> None:
    notes = {note.reason: note.count for note in read_one(source).notes if note.kind == "dropped"}
    assert notes["2D labels of camera images are not carried over"] == 2
    assert notes["accelerations and vertical speeds of boxes are not carried over"] == 2


def test_a_segment_is_found_from_any_of_its_tables(source: Path) -> None:
    beside = source.parent.parent / "lidar_box" / source.name
    assert list(waymo_v2.sources(beside)) == [source]
    assert list(waymo_v2.sources(source.parent.parent.parent)) == [source]


def test_other_tables_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "stats"
    place.mkdir()
    parquet.write_table(pa.table({"a": [1]}), place / "x.parquet")
    (place / "y.parquet").write_bytes(b"")
    assert list(waymo_v2.sources(tmp_path)) == []


class TestTrouble:
    def reasons(self, log: Log) -> str:
        return " ".join(note.reason for note in log.notes)

    def rewrite(self, path: Path, **columns: Any) -> None:
        table = parquet.read_table(path).to_pydict()
        parquet.write_table(pa.table(table | columns), path)

    def test_no_poses(self, source: Path) -> None:
        source.unlink()
        (anchor,) = waymo_v2.sources(source.parent.parent)
        with pytest.raises(UnreadableFile, match="vehicle_pose"):
            list(waymo_v2.read(anchor))

    def test_poses_alone(self, source: Path) -> None:
        for path in source.parent.parent.glob("*/*.parquet"):
            if path != source:
                path.unlink()
        log = read_one(source)
        check_log(log)
        assert log.ego is not None
        assert not log.frames
        assert "no boxes" in self.reasons(log)

    def test_a_box_of_a_frame_without_pose(self, source: Path) -> None:
        path = source.parent.parent / "lidar_box" / source.name
        stamps = parquet.read_table(path)["key.frame_timestamp_micros"].to_pylist()
        self.rewrite(path, **{"key.frame_timestamp_micros": [stamps[0] - 7, *stamps[1:]]})
        log = read_one(source)
        check_log(log)
        assert log.agents.valid is not None
        assert log.agents.valid.tolist() == [False, True, True, True]

    def test_rows_of_another_segment(self, source: Path) -> None:
        path = source.parent.parent / "lidar_box" / source.name
        count = parquet.read_table(path).num_rows
        self.rewrite(path, **{"key.segment_context_name": [NAME] * (count - 1) + ["other"]})
        log = read_one(source)
        assert len(log.agents.t_ns) == count - 1
        assert "another segment" in self.reasons(log)

    def test_a_missing_column_is_named(self, source: Path) -> None:
        path = source.parent.parent / "lidar_box" / source.name
        column = "[LiDARBoxComponent].box.heading"
        parquet.write_table(parquet.read_table(path).drop_columns([column]), path)
        with pytest.raises(UnreadableFile, match="heading"):
            list(waymo_v2.read(source))

    def test_a_column_name_that_is_no_utf8(self, source: Path) -> None:
        content = source.read_bytes()
        source.write_bytes(content.replace(b"world_from_vehicle", b"world_from\xff\xfeehicle"))
        with pytest.raises(UnreadableFile, match=NAME):
            list(waymo_v2.read(source))

    def test_packed_tables(self, source: Path) -> None:
        before = read_one(source)
        for path in list(source.parent.parent.glob("*/*.parquet")):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        (packed,) = waymo_v2.sources(source.parent.parent)
        log = read_one(packed)
        np.testing.assert_array_equal(log.agents.xyz, before.agents.xyz)
        assert not log.frames
        assert "while it is packed" in self.reasons(log)

    def test_words_for_sensor_names(self, source: Path) -> None:
        path = source.parent.parent / "camera_image" / source.name
        self.rewrite(path, **{"key.camera_name": ["FRONT", "FRONT"]})
        log = read_one(source)
        assert sum(f.channel == "camera_FRONT" for f in log.frames) == 2

    def test_a_lidar_without_calibration_is_refused_when_decoded(self, source: Path) -> None:
        (source.parent.parent / "lidar_calibration" / source.name).unlink()
        log = read_one(source)
        check_log(log)
        assert "no calibration of lidar_TOP" in self.reasons(log)
        with pytest.raises(UnreadableFile, match="lidar_calibration"):
            payload(next(f for f in log.frames if f.channel == "lidar_TOP"))

    def test_a_row_beyond_the_end(self, source: Path) -> None:
        path = source.parent.parent / "lidar" / source.name
        with pytest.raises(UnreadableFile, match="beyond the end"):
            read_payload(str(path), offset=99, container="waymo_v2_lidar")


def test_a_table_that_would_fill_the_memory_is_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = parquet.read_table(source.parent.parent / "lidar_box" / source.name)
    many = boxes.slice(0, 1).take(pa.array(np.zeros(2**17, dtype="i4")))
    parquet.write_table(many, source.parent.parent / "lidar_box" / source.name)
    monkeypatch.setattr("formats.unpacked.MAX_UNPACKED", 2**20)
    with pytest.raises(UnreadableFile, match="unpacks to more than"):
        list(waymo_v2.read(source))

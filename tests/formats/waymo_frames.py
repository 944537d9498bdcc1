"""Waymo perception frames built by hand: two frames of a segment, every number known.

The vehicle heads north (yaw π/2) at (100, 200, 10) and stands 1 m further north in the second
frame. Two lidars of 2 × 4 pixels see with beams at ±0.05 rad; the one on the roof has a pose for
each pixel.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from formats.tfrecord import write_records
from formats.waymo_protos import message_class
from formats.waymo_range_image import packed_matrix
from geometry.arrays import Array

NAME = "1024360143612057520_3580_000_3600_000"
T0_US = 1_553_735_853_462_203
STEP_US = 99_987
IMAGE_LAG_S = 0.0524177551269531  # no number that decimals hold
WIDTH, HEIGHT = 32, 24


def pose(north: float = 0.0) -> list[float]:
    """World from vehicle, heading north."""
    rows = [[0.0, -1, 0, 100], [1, 0, 0, 200 + north], [0, 0, 1, 10], [0, 0, 0, 1]]
    return [float(value) for value in np.ravel(rows)]


def shift(x: float, y: float, z: float) -> list[float]:
    """A transform that turns nothing."""
    return [1.0, 0, 0, x, 0, 1.0, 0, y, 0, 0, 1.0, z, 0, 0, 0, 1.0]


def jpeg(shade: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (shade, shade, shade)).save(file, "JPEG")
    return file.getvalue()


def range_image(distance: float, *, zone: bool = False) -> Array:
    """Hits at row 0, column 2 and row 1, column 1."""
    pixels = np.full((2, 4, 4), -1.0, dtype=np.float32)
    pixels[0, 2] = distance, 0.25, 0.5, 1.0 if zone else -1.0
    pixels[1, 1] = distance * 2, 0.75, 0.125, -1.0
    return pixels


def pixel_poses(north: float) -> Array:
    """Roll, pitch, yaw, x, y, z: the vehicle was where it is but for pixel (1, 1), 2 m south."""
    poses = np.zeros((2, 4, 6), dtype=np.float32)
    poses[..., 2] = np.pi / 2
    poses[..., 3:] = 100.0, 200.0 + north, 10.0
    poses[1, 1, 4] -= 2.0
    return poses


def frame(k: int = 0, *, name: str = NAME, lidar: bool = True) -> Any:
    """The k-th frame of the segment."""
    made = message_class("Frame")(timestamp_micros=T0_US + k * STEP_US)
    context = made.context
    context.name = name
    context.stats.time_of_day, context.stats.location = "Dawn/Dusk", "location_phx"
    context.stats.weather = "rain"
    context.stats.laser_object_counts.add(type=1, count=1)
    front = context.camera_calibrations.add(
        name=1, width=WIDTH, height=HEIGHT, rolling_shutter_direction=2
    )
    front.intrinsic.extend([40.0, 41.0, 16.0, 12.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    front.extrinsic.transform.extend(shift(1.5, 0.0, 2.0))
    roof = context.laser_calibrations.add(name=1)
    roof.beam_inclinations.extend([-0.05, 0.05])
    # The roof's lidar looks to the left; azimuths are told from the vehicle's own axis.
    roof.extrinsic.transform.extend([0.0, -1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1])
    side = context.laser_calibrations.add(
        name=4, beam_inclination_min=-0.1, beam_inclination_max=0.1
    )
    side.extrinsic.transform.extend(shift(3.0, -1.0, 1.0))
    made.pose.transform.extend(pose(north=k))
    image = made.images.add(
        name=1, image=jpeg(100 + k), pose_timestamp=made.timestamp_micros / 1e6 + IMAGE_LAG_S,
        shutter=0.0025, camera_trigger_time=made.timestamp_micros / 1e6 + 0.03,
        camera_readout_done_time=made.timestamp_micros / 1e6 + 0.07,
    )  # fmt: skip
    image.pose.transform.extend(pose(north=k))
    image.velocity.v_y, image.velocity.w_z = 10.0, 0.125
    car = made.laser_labels.add(id="car-id", type=1, num_lidar_points_in_box=5)
    for key, value in zip(
        ("center_x", "center_y", "center_z", "length", "width", "height", "heading"),
        (10.0 - k, 2.0, 1.0, 4.5, 2.0, 1.5, 0.25), strict=True,
    ):  # fmt: skip
        setattr(car.box, key, value)
    car.metadata.speed_x, car.metadata.speed_y, car.metadata.accel_x = 0.0, 0.5, 1.0
    sign = made.laser_labels.add(id="sign-id", type=3)
    sign.box.center_x, sign.box.length, sign.box.width, sign.box.height = 5.0, 0.1, 0.5, 0.5
    made.camera_labels.add(name=1).labels.add(id="2d", type=2)
    if lidar:
        top = made.lasers.add(name=1)
        top.ri_return1.range_image_compressed = packed_matrix(range_image(10.0, zone=True))
        top.ri_return1.range_image_pose_compressed = packed_matrix(pixel_poses(north=k))
        top.ri_return2.range_image_compressed = packed_matrix(range_image(12.0))
        right = made.lasers.add(name=4)
        right.ri_return1.range_image_compressed = packed_matrix(range_image(4.0))
    made.lasers.add(name=5)
    zone = made.no_label_zones.add(id="zone-1")
    zone.x.extend([0.0, 1.0, 1.0])
    zone.y.extend([0.0, 0.0, 1.0])
    if k == 0:
        lane = made.map_features.add(id=77).lane
        lane.type = 2
        for x in (0.0, 5.0):
            lane.polyline.add(x=x, y=200.0, z=10.0)
        lane.exit_lanes.append(78)
        after = made.map_features.add(id=78).lane
        for x in (5.0, 9.0):
            after.polyline.add(x=x, y=200.0, z=10.0)
    made.map_pose_offset.x = 0.5 + k
    return made


def write(path: Path, *frames: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, [message.SerializeToString() for message in frames])
    return path

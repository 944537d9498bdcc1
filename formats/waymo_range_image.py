"""Waymo's lidar captures: range images, both returns, to points in the vehicle frame.

A range image has a row for each beam and a column for each azimuth; its pixel holds range,
intensity, elongation and whether it lies in a zone without labels. With the beam's inclination φ
(from the calibration, highest row first), the azimuth

    θ = π · (2 (W − column − ½) / W − 1) − atan2(E₁₀, E₀₀)

and the extrinsics E, a point is E · r (cos θ cos φ, sin θ cos φ, sin φ). For the lidar on the roof
every pixel has a pose of the vehicle of its own, in the world; its points go there and back to the
frame's pose. Source: ``range_image_utils.py`` of github.com/waymo-research/waymo-open-dataset.

Points need calibration and pose besides the images. A capture's payload therefore is a ``Frame``
message cut down to one lidar: its calibration, the frame's pose, its ``Laser`` message. Containers
cut it out of what holds it (``waymo_laser:TOP`` here, ``waymo_v2_lidar`` in :mod:`formats.waymo_v2`),
so that a row of ``frames`` alone leads to points and a copied payload needs nothing beside it.
"""

from __future__ import annotations

import gzip
import math
import zlib
from typing import Any, BinaryIO, cast

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float

from formats.media import MAX_PAYLOAD, Points, span
from formats.waymo_protos import enum_words, message_class
from formats.wire import fields, length_delimited, varint
from geometry.arrays import Array
from geometry.frames import SE3

CODEC = "waymo_range_image"
CONTAINER = "waymo_laser"
PACKED = ":gzip"  # follows the lidar's name where the file is a ``.gz``

# Fields of the messages, see formats.waymo_protos.
CONTEXT, STAMP, POSE, LASERS = 1, 2, 3, 5
CALIBRATIONS = 3
NAME = 1


def from_tfrecord(file: BinaryIO, argument: str, offset: int | None, size: int | None) -> bytes:
    """The payload of one lidar of a ``Frame`` message, which lies at ``offset`` of a file.

    Args:
        file: TFRecord file.
        argument: Name of the lidar, such as ``TOP``, and ``:gzip`` after it if the file is packed.
        offset: Where the message begins, in the unpacked stream.
        size: Its length.
    """
    if argument.endswith(PACKED):
        with gzip.GzipFile(fileobj=file) as unpacked:
            frame = span(cast(BinaryIO, unpacked), offset, size)
    else:
        frame = span(file, offset, size)
    if size is not None and len(frame) != size:
        raise EOFError(f"{len(frame)} of {size} bytes are there")
    return payload_of(frame, argument.removesuffix(PACKED))


def payload_of(frame: bytes, laser: str) -> bytes:
    """A ``Frame`` message with nothing but one lidar, its calibration and the pose.

    Raises:
        ValueError: That is no message, or has no such lidar.
    """
    code = enum_words("LaserName.Name").index(laser)
    kept, found = [], False
    for field in fields(frame):
        content = frame[field.begin : field.end]
        if field.number == CONTEXT:
            calibrations = [
                content[part.start : part.end]
                for part in fields(content)
                if part.number == CALIBRATIONS and _name(content[part.begin : part.end]) == code
            ]
            kept.append(length_delimited(CONTEXT, b"".join(calibrations)))
        elif field.number in (STAMP, POSE):
            kept.append(frame[field.start : field.end])
        elif field.number == LASERS and _name(content) == code:
            kept.append(frame[field.start : field.end])
            found = True
    if not found:
        raise ValueError(f"the frame has no lidar {laser}")
    return b"".join(kept)


def decode(data: bytes) -> Points:
    """Points of a payload: ``intensity``, ``elongation``, ``return``, ``ring``, ``no_label_zone``.

    In the vehicle frame at the frame's pose. ``ring`` is the row of the range image, highest beam
    first.

    Raises:
        ValueError: The bytes are no such payload.
    """
    try:
        frame = message_class("Frame").FromString(data)
    except DecodeError as error:
        raise ValueError("is no Frame message") from error
    if len(frame.lasers) != 1 or len(frame.context.laser_calibrations) != 1:
        raise ValueError("is not a Frame message of one lidar and its calibration")
    laser, calibration = frame.lasers[0], frame.context.laser_calibrations[0]
    poses = laser.ri_return1.range_image_pose_compressed
    pixel_pose = matrix(poses, channels=6) if poses else None
    vehicle_from_world = _matrix4(frame.pose.transform).inverse() if poses else None
    parts = []
    for number, image in ((1, laser.ri_return1), (2, laser.ri_return2)):
        if not image.range_image_compressed:
            continue
        pixels = matrix(image.range_image_compressed, channels=4)
        if pixel_pose is not None and pixel_pose.shape[:2] != pixels.shape[:2]:
            raise ValueError("has poses of another shape than its range image")
        row, column = np.nonzero(pixels[..., 0] > 0.0)
        xyz = _points(pixels[row, column, 0], row, column, pixels.shape[:2], calibration)
        if pixel_pose is not None and vehicle_from_world is not None:
            xyz = vehicle_from_world.apply(_in_world(xyz, pixel_pose[row, column]))
        parts.append((xyz, pixels[row, column, 1:], row, np.full(len(row), number)))
    if not parts:
        parts = [(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, int))]
    xyz, values, rings, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Points(
        xyz=xyz,
        frame="ego",
        channels={
            "intensity": values[:, 0],
            "elongation": values[:, 1],
            "return": numbers.astype(np.uint8),
            "ring": rings.astype(np.int16),
            "no_label_zone": values[:, 2] > 0.0,
        },
    )


def matrix(compressed: bytes, *, channels: int) -> Float[Array, "rows columns channels"]:
    """A ``MatrixFloat`` message that was packed with zlib.

    Raises:
        ValueError: It is none, or its shape does not fit.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(compressed, MAX_PAYLOAD)
    except zlib.error as error:
        raise ValueError(f"holds a range image that cannot be unpacked ({error})") from error
    if not unpacker.eof:
        raise ValueError("holds a range image that is cut off or too large")
    values: list[Array] = []
    dims: list[int] = []
    for field in fields(data):
        if (field.number, field.wire) == (1, 2):
            values.append(np.frombuffer(data[field.begin : field.end], dtype="<f4"))
        elif (field.number, field.wire) == (2, 2):
            dims += _dims(data[field.begin : field.end])
    flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    if len(dims) != 3 or dims[2] != channels or math.prod(dims) != flat.size:
        raise ValueError(f"holds {flat.size} values in the shape {dims}")
    return flat.reshape(dims)


def packed_matrix(values: Float[Array, "rows columns channels"]) -> bytes:
    """The message back, packed; for captures that are kept in another form."""
    shape = message_class("MatrixShape")(dims=values.shape).SerializeToString()
    flat = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return zlib.compress(length_delimited(1, flat) + length_delimited(2, shape), level=1)


def _dims(shape: bytes) -> list[int]:
    dims: list[int] = []
    for field in fields(shape):
        at = field.begin
        while field.number == 1 and at < field.end:
            value, at = varint(shape, at)
            dims.append(value)
    return dims


def _name(message: bytes) -> int | None:
    """The value of a message's field 1, if it is a number."""
    for field in fields(message):
        if (field.number, field.wire) == (NAME, 0):
            return varint(message, field.begin)[0]
    return None


def _matrix4(transform: Any) -> SE3:
    if len(transform) != 16:
        raise ValueError(f"has a transform of {len(transform)} numbers, not 16")
    rows = np.array(transform, dtype=np.float64).reshape(4, 4)
    return SE3(rows[:3, :3], rows[:3, 3])


def _inclinations(calibration: Any, rows: int) -> Float[Array, " rows"]:
    """Of each row, highest first [rad]; beams are told lowest first."""
    told = np.array(calibration.beam_inclinations, dtype=np.float64)
    if told.size == 0:
        low, high = calibration.beam_inclination_min, calibration.beam_inclination_max
        told = low + (np.arange(rows) + 0.5) / rows * (high - low)
    if told.size != rows:
        raise ValueError(f"has {told.size} beams for {rows} rows")
    return told[::-1]


def _points(
    distance: Array, row: Array, column: Array, shape: tuple[int, ...], calibration: Any
) -> Float[Array, "points 3"]:
    """In the vehicle frame, as it was when each was hit."""
    vehicle_from_lidar = _matrix4(calibration.extrinsic.transform)
    rows, columns = shape
    turned = vehicle_from_lidar.yaw
    azimuth = ((columns - column - 0.5) / columns * 2.0 - 1.0) * np.pi - turned
    inclination = _inclinations(calibration, rows)[row]
    direction = np.stack(
        [
            np.cos(azimuth) * np.cos(inclination),
            np.sin(azimuth) * np.cos(inclination),
            np.sin(inclination),
        ],
        axis=-1,
    )
    return vehicle_from_lidar.apply(direction * distance.astype(np.float64)[:, None])


def _in_world(
    xyz: Float[Array, "points 3"], pose: Float[Array, "points 6"]
) -> Float[Array, "points 3"]:
    """Points by the pose that each was hit at: roll, pitch, yaw, x, y, z."""
    roll, pitch, yaw = pose[:, :3].astype(np.float64).T
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (roll, pitch, yaw))
    x, y, z = xyz.T
    # R = Rz(yaw) · Ry(pitch) · Rx(roll)
    y, z = cr * y - sr * z, sr * y + cr * z
    x, z = cp * x + sp * z, -sp * x + cp * z
    x, y = cy * x - sy * y, sy * x + cy * y
    return np.stack([x, y, z], axis=-1) + pose[:, 3:].astype(np.float64)

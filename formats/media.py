"""Sensor bytes: where a frame's bytes lie in its file, and what they decode to.

Two questions that are kept apart. The *container* says how a file wraps the bytes; the *codec*
what the bytes are. Both are words in the ``frames`` table, so that a row alone tells how to come to
its image or point cloud, years later and in another program:

    payload = read_payload(frame.uri, offset=frame.offset, size=frame.size, container=frame.container)
    points = decode_points(frame.codec, payload)

Frames of a video are found by their presentation time stamp, see :mod:`formats.video`.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from jaxtyping import Float, UInt8

from formats.remote import address, open_uri
from geometry.arrays import Array
from schemas.errors import UnknownName, UnreadableFile

MAX_PAYLOAD = 2**30  # [bytes] a single capture that is larger is a mistake of its index
CHUNK_BYTES = 2**24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """A point cloud: a lidar sweep or the targets of a radar.

    Attributes:
        xyz: Cartesian positions [m].
        frame: Whether they are relative to the sensor or to the ego (at the frame's time, where
            the source compensates motion).
        channels: One value a point under its usual name: ``intensity``, ``ring``, ``offset_ns``,
            ``return``, ``radial_speed`` [m/s], ….
    """

    xyz: Float[Array, "points 3"]
    frame: Literal["sensor", "ego"]
    channels: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One line of the registry.

    Attributes:
        name: As in ``frames.codec``.
        kind: What the bytes decode to; ``video`` is decoded by :mod:`formats.video`, ``raw`` is
            for whoever knows it (the bytes are kept, we do not look inside).
        decoder: ``module:function``, from bytes to :class:`Points` or to pixels (height, width, 3).
    """

    name: str
    kind: Literal["image", "points", "video", "raw"]
    decoder: str = ""


CODECS: dict[str, Codec] = {
    entry.name: entry
    for entry in (
        Codec(name="jpeg", kind="image", decoder="formats.media:decode_picture"),
        Codec(name="png", kind="image", decoder="formats.media:decode_picture"),
        Codec(name="feather", kind="points", decoder="formats.argoverse2_sensor:decode_sweep"),
        Codec(name="nuscenes_lidar", kind="points", decoder="formats.nuscenes:decode_sweep"),
        Codec(name="pcd", kind="points", decoder="formats.pcd:decode_pcd"),
        Codec(name="waymo_range_image", kind="points", decoder="formats.waymo_range_image:decode"),
        Codec(name="py123d_points", kind="points", decoder="formats.py123d:decode_points"),
        Codec(name="ros_image", kind="image", decoder="formats.robot_payloads:decode_ros_image"),
        Codec(
            name="foxglove_image",
            kind="image",
            decoder="formats.robot_payloads:decode_foxglove_image",
        ),
        Codec(
            name="ros_pointcloud2",
            kind="points",
            decoder="formats.robot_payloads:decode_point_cloud",
        ),
        Codec(
            name="ros_laserscan", kind="points", decoder="formats.robot_payloads:decode_laser_scan"
        ),
        Codec(
            name="ros_radarscan", kind="points", decoder="formats.robot_payloads:decode_radar_scan"
        ),
        Codec(
            name="ros_radartracks",
            kind="points",
            decoder="formats.robot_payloads:decode_radar_tracks",
        ),
        Codec(
            name="foxglove_pointcloud",
            kind="points",
            decoder="formats.robot_payloads:decode_foxglove_cloud",
        ),
        Codec(
            name="foxglove_laserscan",
            kind="points",
            decoder="formats.robot_payloads:decode_foxglove_scan",
        ),
        Codec(name="kitti_velodyne", kind="points", decoder="formats.kitti:decode_velodyne"),
        Codec(name="waymo_in_kitti", kind="points", decoder="formats.kitti:decode_waymo_in_kitti"),
        Codec(name="h264", kind="video"),
        Codec(name="hevc", kind="video"),
        Codec(name="av1", kind="video"),
        Codec(name="mpeg4", kind="video"),
        Codec(name="raw", kind="raw"),
    )
}
"""Image codecs, then points, then video."""

CONTAINERS: dict[str, str] = {
    "gzip": "formats.media:from_gzip",
    "zip": "formats.media:from_zip",
    "parquet": "formats.media:from_parquet",
    "mcap": "formats.mcap_file:from_mcap",
    "arrow": "formats.py123d_file:from_arrow",
    "waymo_laser": "formats.waymo_range_image:from_tfrecord",
    "waymo_v2_lidar": "formats.waymo_v2:from_table",
}
"""How a file may wrap the bytes: word → ``module:function`` (file, argument, offset, size) → bytes.

A ``frames.container`` is the word, or ``word:argument``: ``gzip``: offsets count in the unpacked
stream; ``zip:MEMBER``: in that member; ``parquet:COLUMN``: ``offset`` is the row."""


def read_payload(
    uri: str, *, offset: int | None = None, size: int | None = None, container: str | None = None
) -> bytes:
    """The bytes of one capture.

    Args:
        uri: File, here or on an object store.
        offset: Where they begin, as the container counts; None: the whole file or member.
        size: How many; None: up to the end.
        container: What wraps them, None where nothing does.

    Raises:
        UnreadableFile: The file is not there, is shorter than that, or its container is broken.
        UnknownName: No container has that name.
    """
    path = address(uri) or Path(uri)
    if size is not None and not 0 <= size <= MAX_PAYLOAD:
        raise UnreadableFile(path, f"cannot hold a capture of {size} bytes")
    try:
        with open_uri(path) as file:
            if container is None:
                data = span(file, offset, size)
            else:
                word, _, argument = container.partition(":")
                if word not in CONTAINERS:
                    raise UnknownName("container", word, CONTAINERS)
                unwrap = cast(
                    "Callable[[BinaryIO, str, int | None, int | None], bytes]",
                    _function(CONTAINERS[word]),
                )
                data = unwrap(file, argument, offset, size)
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from error
    except (EOFError, ValueError, KeyError, IndexError) as error:
        raise UnreadableFile(path, f"does not hold the capture ({error})") from error
    if size is not None and container is None and len(data) != size:
        raise UnreadableFile(
            path,
            f"ends before the capture at byte {offset or 0}: {len(data)} of {size} bytes are there",
            hint="Fetch the file again; it may have been cut off after it was ingested.",
        )
    return data


def decode_image(codec: str, data: bytes) -> UInt8[Array, "height width 3"]:
    """Pixels of a camera image, red, green, blue.

    Raises:
        UnknownName: No image codec has that name.
        ValueError: The bytes are not such an image.
    """
    return cast("Array", _decoder(codec, "image")(data))


def decode_points(codec: str, data: bytes) -> Points:
    """A point cloud.

    Raises:
        UnknownName: No point codec has that name.
        ValueError: The bytes are not such a cloud.
    """
    return cast(Points, _decoder(codec, "points")(data))


def decode_picture(data: bytes) -> UInt8[Array, "height width 3"]:
    """JPEG, PNG and whatever else Pillow reads."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def span(file: BinaryIO, offset: int | None, size: int | None) -> bytes:
    """``size`` bytes from ``offset`` on, or all that there are."""
    file.seek(offset or 0)
    if size is not None:
        return file.read(size)
    found, count = [], 0
    while data := file.read(CHUNK_BYTES):
        found.append(data)
        count += len(data)
        if count > MAX_PAYLOAD:  # a packed file may hold any number of zeros
            raise ValueError(f"a capture of more than {MAX_PAYLOAD} bytes")
    return b"".join(found)


def from_gzip(file: BinaryIO, _: str, offset: int | None, size: int | None) -> bytes:
    """Bytes of the unpacked stream."""
    import gzip

    with gzip.GzipFile(fileobj=file) as unpacked:
        return span(cast(BinaryIO, unpacked), offset, size)


def from_zip(file: BinaryIO, member: str, offset: int | None, size: int | None) -> bytes:
    """Bytes of one member of an archive."""
    import zipfile

    with zipfile.ZipFile(file) as archive, archive.open(member) as unpacked:
        return span(cast(BinaryIO, unpacked), offset, size)


def from_parquet(file: BinaryIO, column: str, row: int | None, _: int | None) -> bytes:
    """A cell of a binary column."""
    from formats import parquet_rows

    cells = parquet_rows.row(parquet_rows.opened(file), row or 0, [column])
    return cast(bytes, cells[column][0].as_py())


def _decoder(codec: str, kind: str) -> Callable[[bytes], Any]:
    fitting = [c.name for c in CODECS.values() if c.kind == kind]
    if codec not in fitting:
        raise UnknownName(f"{kind} codec", codec, fitting)
    return cast("Callable[[bytes], Any]", _function(CODECS[codec].decoder))


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), name))

"""Dense scene arrays as bytes and back, without copying: the ``tracks`` and ``signals`` columns.

Layout ``v1``: the magic ``SLv1``, the length of the header (uint32), the header as JSON
(``[[field, dtype, shape, offset], …]``, padded with spaces to a multiple of 8), then the arrays,
row-major and little-endian, each beginning at a multiple of 8 from the start of the body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from geometry.arrays import Array
from schemas.scene import RoadPieces, Signals, Tracks

PACKING = "v1"
"""What the ``packing`` column says about bytes of this layout."""

TRACK_DTYPES: dict[str, str] = {
    "track_id": "<i8", "cls": "|i1", "size": "<f4", "xy": "<f4", "z": "<f4", "yaw": "<f4",
    "velocity": "<f4", "valid": "|b1", "lane": "<i4", "lane_s": "<f4", "lane_d": "<f4",
    "on_lane": "|b1",
}  # fmt: skip
SIGNAL_DTYPES: dict[str, str] = {
    "lane": "<i8", "state": "|i1", "stop_xy": "<f4", "has_stop": "|b1",
}  # fmt: skip

PIECE_DTYPES: dict[str, str] = {
    "points": "<f4", "feature_id": "<i4", "layer": "|i1", "lane_type": "|i1",
    "speed_limit": "<f4",
}  # fmt: skip

_MAGIC = b"SLv1"
_ALIGN = 8

T = TypeVar("T", Tracks, Signals)


def pack_tracks(tracks: Tracks) -> bytes:
    """The tracks as bytes; values are cast to the types of ``TRACK_DTYPES``."""
    return _pack({name: getattr(tracks, name) for name in TRACK_DTYPES}, TRACK_DTYPES)


def unpack_tracks(data: bytes | bytearray | memoryview) -> Tracks:
    """The tracks again, as read-only views of ``data``.

    Raises:
        ValueError: The bytes are not of layout v1.
    """
    return Tracks(**_unpack(data))


def pack_signals(signals: Signals) -> bytes:
    """The signals as bytes; values are cast to the types of ``SIGNAL_DTYPES``."""
    return _pack({name: getattr(signals, name) for name in SIGNAL_DTYPES}, SIGNAL_DTYPES)


def unpack_signals(data: bytes | bytearray | memoryview) -> Signals:
    """The signals again, as read-only views of ``data``.

    Raises:
        ValueError: The bytes are not of layout v1.
    """
    return Signals(**_unpack(data))


def pack_pieces(pieces: RoadPieces) -> bytes:
    """The pieces as bytes; values are cast to the types of ``PIECE_DTYPES``."""
    return _pack({name: getattr(pieces, name) for name in PIECE_DTYPES}, PIECE_DTYPES)


def unpack_pieces(data: bytes | bytearray | memoryview) -> RoadPieces:
    """The pieces again, as read-only views of ``data``.

    Raises:
        ValueError: The bytes are not of layout v1.
    """
    return RoadPieces(**_unpack(data))


def canonical(record: T) -> T:
    """The same tracks or signals with the types that packing keeps, so that they round-trip."""
    dtypes = TRACK_DTYPES if isinstance(record, Tracks) else SIGNAL_DTYPES
    return type(record)(
        **{name: np.asarray(getattr(record, name), dtype=kind) for name, kind in dtypes.items()}
    )


def _pack(arrays: Mapping[str, Array], dtypes: Mapping[str, str]) -> bytes:
    header: list[list[Any]] = []
    body: list[bytes] = []
    offset = 0
    for name, kind in dtypes.items():
        array = np.ascontiguousarray(arrays[name], dtype=kind)
        data = array.tobytes()
        padding = -len(data) % _ALIGN
        header.append([name, kind, list(array.shape), offset])
        body += [data, b"\0" * padding]
        offset += len(data) + padding
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, *body])


def _unpack(data: bytes | bytearray | memoryview) -> dict[str, Array]:
    if bytes(data[:4]) != _MAGIC or len(data) < 8:
        raise ValueError(f"These {len(data)} bytes are not a dense scene of layout {PACKING}.")
    (length,) = struct.unpack("<I", data[4:8])
    header = json.loads(bytes(data[8 : 8 + length]))
    begin = 8 + length
    try:
        return {
            name: np.ndarray(shape, dtype=kind, buffer=data, offset=begin + offset)
            for name, kind, shape, offset in header
        }
    except TypeError as error:  # a buffer that is too small
        raise ValueError(f"These {len(data)} bytes are cut off ({error}).") from error

"""Point Cloud Data files of the Point Cloud Library, all three encodings (version 0.7).

A header of words (``FIELDS``, ``SIZE``, ``TYPE``, ``COUNT``, ``WIDTH``, ``HEIGHT``, ``POINTS``,
``DATA``), then the points: as text, as packed records, or column by column behind LZF compression.
Source: pointclouds.org/documentation/tutorials/pcd_file_format.html.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

import numpy as np

from formats.media import Points
from geometry.arrays import Array

MAX_POINTS = 2**26
NAMES = {"i": "intensity", "scan_channel": "ring", "laser_number": "ring"}
"""Field to the usual name of a channel; others keep theirs."""


def decode_pcd(data: bytes) -> Points:
    """A point cloud in the frame of its sensor; points without a place (NaN) are left out.

    Raises:
        ValueError: The bytes are no such file, or end too early.
    """
    header, body = _header(data)
    record = _record(header)
    try:
        count = int((header.get("POINTS") or header["WIDTH"])[0])
        if "POINTS" not in header:
            count *= int(header.get("HEIGHT", ["1"])[0])
        encoding = header["DATA"][0].lower()
    except (KeyError, IndexError) as error:
        raise ValueError(f"a PCD header without {error}") from error
    if not 0 <= count <= MAX_POINTS:
        raise ValueError(f"a PCD of {count} points")
    if encoding == "ascii":
        points = _from_text(body, record, count)
    elif encoding == "binary":
        if len(body) < count * record.itemsize:
            raise ValueError(f"a PCD of {count} points that ends too early")
        points = np.frombuffer(body, dtype=record, count=count)
    elif encoding == "binary_compressed":
        points = _from_columns(body, record, count)
    else:
        raise ValueError(f"PCD data of encoding {encoding}")
    names = record.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise ValueError("a PCD without x, y and z")
    xyz = np.stack([points[axis].astype(np.float64) for axis in "xyz"], axis=1)
    kept = np.isfinite(xyz).all(axis=1)
    channels = {
        NAMES.get(name, name): points[name][kept]
        for name in names
        if name not in ("x", "y", "z") and not name.startswith("_")
    }
    return Points(xyz=xyz[kept], frame="sensor", channels=channels)


def _header(data: bytes) -> tuple[Mapping[str, list[str]], bytes]:
    lines: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in lines:
        end = data.find(b"\n", at)
        if end < 0 or at > 2**14:
            raise ValueError("no PCD header")
        words = data[at:end].decode("latin-1").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            lines[words[0].upper()] = words[1:]
    return lines, data[at:]


def _record(header: Mapping[str, list[str]]) -> np.dtype[np.void]:
    """One point as numpy sees it; padding fields (``_``) get names of their own."""
    try:
        fields, kinds = header["FIELDS"], header["TYPE"]
        sizes = [int(size) for size in header["SIZE"]]
        counts = [int(count) for count in header.get("COUNT", ["1"] * len(fields))]
        parts = []
        for k, (name, kind, size, count) in enumerate(
            zip(fields, kinds, sizes, counts, strict=True)
        ):
            code = {"F": "f", "I": "i", "U": "u"}[kind.upper()]
            shape = () if count == 1 else (count,)
            parts.append((f"_{k}" if name == "_" else name, f"<{code}{size}", shape))
        return np.dtype(parts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a PCD header that makes no sense ({error})") from error


def _from_text(body: bytes, record: np.dtype[np.void], count: int) -> Array:
    names = record.names or ()
    width = sum(int(np.prod(record[name].shape, dtype=int)) for name in names)
    rows = np.loadtxt(io.BytesIO(body), max_rows=count, ndmin=2) if count else np.zeros((0, width))
    if rows.shape != (count, width):
        raise ValueError(f"a PCD of {count} points that ends too early")
    points = np.zeros(count, dtype=record)
    at = 0
    for name in names:
        step = int(np.prod(record[name].shape, dtype=int))
        column = rows[:, at : at + step]
        points[name] = column if record[name].shape else column[:, 0]
        at += step
    return points


def _from_columns(body: bytes, record: np.dtype[np.void], count: int) -> Array:
    try:
        packed, size = struct.unpack("<II", body[:8])
    except struct.error as error:
        raise ValueError("a PCD that ends too early") from error
    if size != count * record.itemsize:
        raise ValueError("a PCD whose columns do not fit its points")
    raw = unpack_lzf(body[8 : 8 + packed], size)
    points = np.zeros(count, dtype=record)
    at = 0
    for name in record.names or ():
        kind = record[name]
        points[name] = np.frombuffer(
            raw, dtype=kind.base, count=count * int(np.prod(kind.shape, dtype=int)), offset=at
        ).reshape(count, *kind.shape)
        at += count * kind.itemsize
    return points


def unpack_lzf(data: bytes, size: int) -> bytes:
    """What LibLZF packed into ``data``, of ``size`` bytes.

    Raises:
        ValueError: It is not that.
    """
    made = bytearray()
    at = 0
    try:
        while at < len(data):
            control = data[at]
            at += 1
            if control < 32:  # so many bytes as they are
                if at + control + 1 > len(data):
                    raise ValueError("LZF data that ends too early")
                made += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5  # so many bytes from further back
            if length == 7:
                length += data[at]
                at += 1
            begin = len(made) - ((control & 31) << 8) - data[at] - 1
            at += 1
            if begin < 0:
                raise ValueError("LZF data that refers to before its beginning")
            for k in range(length + 2):
                made.append(made[begin + k])
            if len(made) > size:
                break
    except IndexError as error:
        raise ValueError("LZF data that ends too early") from error
    if len(made) != size:
        raise ValueError("LZF data of another size than told")
    return bytes(made)

"""Point Cloud Data: the same points in all three encodings, and files that are broken."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from formats.media import CODECS, decode_points
from formats.pcd import decode_pcd, unpack_lzf

POINTS = np.array(
    [(1.0, 2.0, 3.0, 7, 0.5), (np.nan, 0.0, 0.0, 8, 0.6), (-4.0, 5.5, 6.25, 9, 0.7)],
    dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u1"), ("intensity", "<f4")],
)
HEADER = (
    "# .PCD v.7\nVERSION 0.7\nFIELDS x y z ring intensity\nSIZE 4 4 4 1 4\nTYPE F F F U F\n"
    "COUNT 1 1 1 1 1\nWIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {how}\n"
)


def packed_lzf(raw: bytes) -> bytes:
    """Literals alone, which is LZF that happens to be longer than what it packs."""
    blocks = [raw[k : k + 32] for k in range(0, len(raw), 32)]
    return b"".join(bytes([len(block) - 1]) + block for block in blocks)


def pcd(how: str) -> bytes:
    head = HEADER.format(n=len(POINTS), how=how).encode()
    if how == "ascii":
        return head + "\n".join(" ".join(str(v) for v in p) for p in POINTS.tolist()).encode()
    if how == "binary":
        return head + POINTS.tobytes()
    raw = b"".join(POINTS[name].tobytes() for name in POINTS.dtype.names or ())
    packed = packed_lzf(raw)
    return head + struct.pack("<II", len(packed), len(raw)) + packed


@pytest.mark.parametrize("how", ["ascii", "binary", "binary_compressed"])
def test_points(how: str) -> None:
    cloud = decode_pcd(pcd(how))
    np.testing.assert_allclose(cloud.xyz, [[1.0, 2.0, 3.0], [-4.0, 5.5, 6.25]])
    assert cloud.frame == "sensor"
    np.testing.assert_array_equal(cloud.channels["ring"], [7, 9])
    np.testing.assert_allclose(cloud.channels["intensity"], [0.5, 0.7])


def test_is_a_codec() -> None:
    assert CODECS["pcd"].kind == "points"
    assert len(decode_points("pcd", pcd("binary")).xyz) == 2


def test_back_references_of_lzf() -> None:
    """``abcabcabcd``: three literals, six bytes from three back, one literal."""
    packed = bytes([2]) + b"abc" + bytes([(6 - 2) << 5, 3 - 1]) + bytes([0]) + b"d"
    assert unpack_lzf(packed, 10) == b"abcabcabcd"


def test_fields_of_several_values_and_padding() -> None:
    head = HEADER.replace("x y z ring intensity", "x y z normal _").replace(
        "1 1 1 1 1", "1 1 1 2 3"
    )
    head = head.replace("4 4 4 1 4", "4 4 4 4 1").replace("F F F U F", "F F F F U")
    body = np.arange(5, dtype="<f4").tobytes() + b"\x00\x00\x00"
    cloud = decode_pcd(head.format(n=1, how="binary").encode() + body)
    np.testing.assert_array_equal(cloud.channels["normal"], [[3.0, 4.0]])
    assert set(cloud.channels) == {"normal"}


def _without(word: str) -> bytes:
    lines = pcd("binary").split(b"\n", 11)
    return b"\n".join(line for line in lines if not line.startswith(word.encode()))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no header",
        pcd("binary")[:-5],
        pcd("ascii")[:-20],
        pcd("binary_compressed")[:-5],
        pcd("binary").replace(b"DATA binary", b"DATA morse"),
        pcd("binary").replace(b"FIELDS x y z", b"FIELDS a y z"),
        pcd("binary").replace(b"POINTS 3", b"POINTS -3"),
        pcd("binary").replace(b"POINTS 3", b"POINTS 99999999999"),
        pcd("binary").replace(b"TYPE F", b"TYPE Q"),
        pcd("binary").replace(b"SIZE 4 4 4 1 4", b"SIZE 4 4"),
        _without("WIDTH").replace(b"POINTS 3\n", b""),
        _without("SIZE"),
    ],
)
def test_broken_files_are_value_errors(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_pcd(broken)


@pytest.mark.parametrize("packed", [b"\x05ab", b"\x20", b"\x20\x09", b"\xe0"])
def test_broken_lzf(packed: bytes) -> None:
    with pytest.raises(ValueError, match="LZF"):
        unpack_lzf(packed, 100)

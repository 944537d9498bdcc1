"""Tables of records as zarr 2 keeps them: one array of a structured type, in compressed chunks.

    <array>/.zarray     JSON: dtype, shape [n], chunks [m], compressor
    <array>/0, 1, …     records 0 … m−1, m … 2m−1, …; the last chunk is padded to m

Chunks are decoded one at a time by numcodecs, so that memory does not grow with the table. A chunk
that is not there is an error, not the fill value: data that was never fetched must not read as
zeros. Source: Zarr storage specification version 2.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from formats.files import read_bytes, read_json
from geometry.arrays import Array
from schemas.errors import UnreadableFile

META = ".zarray"
MAX_CHUNK = 2**28  # [bytes] unpacked
COMPRESSORS = ("blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4")
BLOSC_HEADER = 16  # [bytes] of which 4–8 are the size unpacked, 12–16 the size packed
KINDS = "biufSU"
_UNSOUND = (
    RuntimeError, ValueError, TypeError, OSError, EOFError, zlib.error, lzma.LZMAError,
)  # fmt: skip


class ZarrTable:
    """The records of one array.

    Attributes:
        folder: Where it lies.
        dtype: Of its records.
        count: How many there are.
        chunk: How many a chunk holds.
    """

    def __init__(self, folder: Path, *, fields: Mapping[str, tuple[int, ...]]) -> None:
        """Read what the array says of itself.

        Args:
            folder: Of the array.
            fields: Those that must be there, with their shapes; others may be there as well.

        Raises:
            UnreadableFile: It is no such array.
        """
        self.folder = folder
        path = folder / META
        told = read_json(path)
        try:
            self.dtype = _record_type(told["dtype"])
            (self.count,), (self.chunk,) = map(int, told["shape"]), map(int, told["chunks"])
            codec = told["compressor"]
            if told["zarr_format"] != 2 or told.get("filters") or told.get("order", "C") != "C":
                raise ValueError("another layout than zarr 2 without filters")
            if self.chunk < 1 or self.count < 0 or self.chunk * self.dtype.itemsize > MAX_CHUNK:
                raise ValueError(f"chunks of {self.chunk} records")
            if codec is not None and codec["id"] not in COMPRESSORS:
                raise ValueError(f"the compressor {codec['id']}")
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = f"describes no zarr 2 array of records that can be read ({error})"
            raise UnreadableFile(path, reason) from error
        for name, shape in fields.items():
            there: Mapping[str, Any] = self.dtype.fields or {}
            if name not in there or there[name][0].shape != shape:
                has = ", ".join(self.dtype.names or ()) or "no fields"
                reason = f"lacks the field {name} of shape {shape or '()'}"
                raise UnreadableFile(path, reason, hint=f"It has {has}.")
        self._compressor = codec
        self._held: tuple[int, Array] | None = None

    def files(self) -> Iterator[Path]:
        """The description, and the chunks that are there."""
        yield self.folder / META
        for number in range(-(-self.count // self.chunk)):
            path = self.folder / str(number)
            if path.is_file():
                yield path

    def rows(self, begin: int, end: int) -> Array:
        """Records ``begin`` to ``end`` (exclusive), which must be there.

        Raises:
            UnreadableFile: A chunk is missing or damaged.
        """
        if not 0 <= begin <= end <= self.count:
            raise UnreadableFile(
                self.folder, f"holds {self.count} records; {begin} to {end} were referred to"
            )
        parts = []
        for number in range(begin // self.chunk, -(-end // self.chunk)):
            first = number * self.chunk
            whole = self._chunk(number)
            parts.append(whole[max(begin - first, 0) : end - first])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=self.dtype)

    def _chunk(self, number: int) -> Array:
        if self._held is None or self._held[0] != number:
            self._held = (number, self._decoded(self.folder / str(number)))
        return self._held[1]

    def _decoded(self, path: Path) -> Array:
        from numcodecs.registry import get_codec

        raw: Any = read_bytes(path)
        size = self.chunk * self.dtype.itemsize
        if self._compressor is not None:
            if self._compressor["id"] == "blosc":
                self._check_blosc(path, raw, size)
            try:
                raw = get_codec(dict(self._compressor)).decode(raw)
            except _UNSOUND as error:
                reason = f"is no sound chunk ({error or type(error).__name__})"
                raise UnreadableFile(path, reason, hint="Fetch the file again.") from error
        data = np.frombuffer(raw, dtype=np.uint8)
        if len(data) != size:
            reason = f"holds {len(data)} bytes where a chunk has {size}"
            raise UnreadableFile(path, reason, hint="Fetch the file again.")
        return data.view(self.dtype)

    @staticmethod
    def _check_blosc(path: Path, raw: bytes, size: int) -> None:
        """Compare what a chunk says of its sizes with what is there, before it is unpacked."""
        packed = int.from_bytes(raw[12:16], "little")
        unpacked = int.from_bytes(raw[4:8], "little")
        if len(raw) < BLOSC_HEADER or packed != len(raw) or unpacked != size:
            reason = f"is cut off or no chunk of this array ({len(raw)} bytes)"
            raise UnreadableFile(path, reason, hint="Fetch the file again.")


def _record_type(told: Any) -> np.dtype[Any]:
    """The structured type that ``.zarray`` describes; numbers and words only."""
    if not isinstance(told, list):
        raise ValueError("no structured dtype")
    fields = [(str(f[0]), str(f[1]), tuple(map(int, f[2])) if len(f) > 2 else ()) for f in told]
    made = np.dtype(fields)
    if any(made[name].base.kind not in KINDS for name in made.names or ()) or not made.itemsize:
        raise ValueError("a dtype of other things than numbers and words")
    return made

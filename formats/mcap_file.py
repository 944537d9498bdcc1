"""MCAP files as records: what is in them, every message with the place where its bytes lie.

    magic  Header  (Chunk | Schema | Channel | Message | Attachment | Metadata | …)*  DataEnd
    summary: Schema* Channel* Statistics ChunkIndex* …  Footer  magic

A record is an opcode byte, a length (uint64, little-endian) and that many bytes. A message in a chunk
that is not compressed lies at a plain offset of the file; in a compressed one it is found by the
chunk's offset in the file and its own within the unpacked chunk, which is what the container
``mcap:CHUNK`` of :mod:`formats.media` says.

A file without its end, as a crashed recorder leaves it, is read up to the last whole record; what
then is missing, and chunks that are damaged, are told as :class:`Damage`. Source: the format's
specification at mcap.dev/spec.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from schemas.errors import UnreadableFile

MAGIC = b"\x89MCAP0\r\n"
SUFFIX = ".mcap"
LARGEST = 2**30  # [bytes] a record or unpacked chunk that says it is larger is damaged
CACHED_CHUNKS = 4  # unpacked chunks kept for whoever reads captures one after the other

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 1, 2, 3, 4, 5, 6
CHUNK_INDEX, ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA, METADATA_INDEX, DATA_END = (
    8, 9, 10, 11, 12, 13, 15,
)  # fmt: skip

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")
_FOOTER = struct.Struct("<QQI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What the messages of a channel hold.

    Attributes:
        name: Such as ``sensor_msgs/msg/Imu`` or ``osi3.GroundTruth``; empty where there is none.
        encoding: Of ``data``: ``ros2msg``, ``ros1msg``, ``protobuf``, ``jsonschema``, ….
        data: The definition.
    """

    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A topic.

    Attributes:
        topic: Its name.
        encoding: Of its messages: ``cdr``, ``ros1``, ``protobuf``, ``json``, ….
        schema: Of its messages.
        metadata: Of the recorder.
    """

    topic: str
    encoding: str
    schema: Schema
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message and where it lies.

    Attributes:
        channel: Its topic.
        log_time: When it was recorded [ns].
        publish_time: When it was sent, or the same [ns].
        data: Its bytes.
        offset: Where they begin: in the file, or in the unpacked chunk.
        container: ``mcap:CHUNK`` where they lie in a compressed chunk, None in the file itself.
    """

    channel: Channel
    log_time: int
    publish_time: int
    data: memoryview
    offset: int
    container: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkIndex:
    """One chunk by the summary.

    Attributes:
        offset: Of its record in the file.
        begin: First log time within [ns].
        end: Last log time within [ns].
        channels: Ids of the channels that have messages within.
    """

    offset: int
    begin: int
    end: int
    channels: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something that could not be read.

    Attributes:
        record: Where.
        reason: What is wrong.
    """

    record: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Contents:
    """What is known of a file so far: all of it from its summary, else what was read.

    Attributes:
        profile: ``ros2``, ``ros1`` or another word of the recorder.
        library: That wrote the file.
        schemas: By id.
        channels: By id.
        chunks: In the order of the file; empty where there is no index.
        counts: Messages by channel id; empty where there are no statistics.
        metadata: Named records of words.
        attachments: Names of files within the file.
        complete: Whether the file has its end.
        indexed: Whether a summary tells of channels.
    """

    profile: str = ""
    library: str = ""
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    metadata: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    complete: bool = False
    indexed: bool = False


class McapFile:
    """An open MCAP file.

    Attributes:
        path: Of the file.
        contents: What it holds, as far as known.
        damages: What could not be read so far.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """Read header and summary.

        Raises:
            UnreadableFile: It is no MCAP file.
        """
        self.path = path
        self.contents = Contents()
        self.damages: list[Damage] = []
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise UnreadableFile(path, "is no MCAP file", hint="Fetch the file again.")
        try:
            self._read_summary()
        except (struct.error, ValueError, KeyError, IndexError):
            header = self.contents
            self.contents = Contents(profile=header.profile, library=header.library)
            self.damages.append(Damage(record="summary", reason="the summary is damaged"))
            return
        if not self.contents.complete:
            reason = "the file has no end: it was cut off, or is still being written"
            self.damages.append(Damage(record="end", reason=reason))

    def messages(self, chunks: Sequence[ChunkIndex] | None = None) -> Iterator[Message]:
        """Every message, chunk by chunk; damage is told in ``damages`` and passed over.

        Args:
            chunks: Only these; None: the whole file, which finds also what no index tells.
        """
        places = None if chunks is None else [chunk.offset for chunk in chunks]
        for opcode, offset, begin, size in self._records(places):
            if opcode == CHUNK:
                yield from self._of_chunk(offset, begin, size)
                continue
            try:
                if opcode == MESSAGE:
                    data = memoryview(self._read(begin, size))
                    yield from self._message(data, begin, None)
                elif opcode in (SCHEMA, CHANNEL) or (
                    opcode in (METADATA, ATTACHMENT) and not self.contents.indexed
                ):
                    self._note(opcode, begin, size)
            except (struct.error, ValueError, KeyError) as error:
                self._damage(offset, f"the record is damaged ({error})")

    # ── Records ──

    def _records(self, places: Sequence[int] | None) -> Iterator[tuple[int, int, int, int]]:
        """(opcode, offset of the record, offset and size of its content) of the data section."""
        if places is not None:
            for place in places:
                opcode, size = self._record_head(place)
                if opcode == CHUNK and place + _RECORD.size + size <= self._size:
                    yield opcode, place, place + _RECORD.size, size
                else:
                    self._damage(place, "the index leads to no chunk")
            return
        place = len(MAGIC)
        while True:
            opcode, size = self._record_head(place)
            begin = place + _RECORD.size
            if opcode in (DATA_END, FOOTER):
                return
            if opcode == 0 or begin + size > self._size:
                self._damage(place, "the file ends too early: whatever followed is not there")
                return
            yield opcode, place, begin, size
            place = begin + size

    def _record_head(self, place: int) -> tuple[int, int]:
        head = self._read(place, _RECORD.size)
        if len(head) < _RECORD.size:
            return 0, 0
        opcode, size = _RECORD.unpack(head)
        return (opcode, size) if size <= LARGEST else (0, 0)

    def _read(self, place: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends, none where damage leads out of it."""
        if not 0 <= place < self._size or size < 0:
            return b""
        self._file.seek(place)
        return self._file.read(size)

    def _damage(self, place: int, reason: str) -> None:
        found = Damage(record=f"byte {place}", reason=reason)
        if found not in self.damages:
            self.damages.append(found)

    def _of_chunk(self, place: int, begin: int, size: int) -> Iterator[Message]:
        try:
            records, base, packed = unpack_chunk(self._read(begin, size))
        except ValueError as error:
            self._damage(place, f"the chunk cannot be unpacked: {error}")
            return
        container = f"mcap:{place}" if packed else None
        at = 0
        while at + _RECORD.size <= len(records):
            opcode, length = _RECORD.unpack_from(records, at)
            at += _RECORD.size
            if at + length > len(records):
                self._damage(place, "a record leads beyond the end of its chunk")
                return
            content = records[at : at + length]
            try:
                if opcode == MESSAGE:
                    yield from self._message(
                        content, at if packed else begin + base + at, container
                    )
                elif opcode == SCHEMA:
                    self._add_schema(_Fields(content))
                elif opcode == CHANNEL:
                    self._add_channel(_Fields(content))
            except (struct.error, ValueError, KeyError) as error:
                self._damage(place, f"a record of the chunk is damaged ({error})")
            at += length

    def _message(
        self, content: memoryview, offset: int, container: str | None
    ) -> Iterator[Message]:
        channel_id, _, log_time, publish_time = _MESSAGE.unpack_from(content)
        channel = self.contents.channels.get(channel_id)
        if channel is None:
            self._damage(0, f"messages of channel {channel_id}, which the file does not tell of")
            return
        if log_time >= 2**63 or publish_time >= 2**63:
            self._damage(0, f"a message of {channel.topic} has a time beyond the year 2262")
            return
        yield Message(
            channel=channel, log_time=log_time, publish_time=publish_time,
            data=content[_MESSAGE.size :], offset=offset + _MESSAGE.size, container=container,
        )  # fmt: skip

    # ── Summary ──

    def _read_summary(self) -> None:
        opcode, size = self._record_head(len(MAGIC))
        if opcode == HEADER:
            header = _Fields(memoryview(self._read(len(MAGIC) + _RECORD.size, size)))
            self.contents.profile, self.contents.library = header.string(), header.string()
        tail = _RECORD.size + _FOOTER.size + len(MAGIC)
        if self._size < 2 * len(MAGIC) + tail:
            return
        end = self._read(self._size - tail, tail)
        if end[-len(MAGIC) :] != MAGIC or end[0] != FOOTER:
            return
        self.contents.complete = True
        start, _, _ = _FOOTER.unpack_from(end, _RECORD.size)
        place, stop = start, self._size - tail
        while start and place < stop:
            opcode, size = self._record_head(place)
            if opcode == 0:
                raise ValueError("the summary leads nowhere")
            self._note(opcode, place + _RECORD.size, size)
            place += _RECORD.size + size
        self.contents.indexed = bool(self.contents.channels)

    def _note(self, opcode: int, begin: int, size: int) -> None:
        if opcode == ATTACHMENT:
            content = _Fields(memoryview(self._read(begin, min(size, 4096))))
            content.skip(16)
            self.contents.attachments.append(content.string())
            return
        fields = _Fields(memoryview(self._read(begin, size)))
        if opcode == SCHEMA:
            self._add_schema(fields)
        elif opcode == CHANNEL:
            self._add_channel(fields)
        elif opcode == CHUNK_INDEX:
            first, last, place, _ = fields.unpack("<QQQQ")
            lengths = fields.block()
            channels = frozenset(key for key, _ in struct.iter_unpack("<HQ", lengths))
            self.contents.chunks.append(
                ChunkIndex(offset=place, begin=first, end=last, channels=channels)
            )
        elif opcode == STATISTICS:
            fields.skip(8 + 2 + 4 + 4 + 4 + 4 + 16)
            self.contents.counts = dict(struct.iter_unpack("<HQ", fields.block()))
        elif opcode == METADATA:
            self.contents.metadata.append((fields.string(), fields.words()))
        elif opcode == METADATA_INDEX:
            place, length = fields.unpack("<QQ")
            self._note(METADATA, place + _RECORD.size, min(length, LARGEST) - _RECORD.size)
        elif opcode == ATTACHMENT_INDEX:
            fields.skip(8 + 8 + 8 + 8 + 8)
            self.contents.attachments.append(fields.string())

    def _add_schema(self, fields: _Fields) -> None:
        (key,) = fields.unpack("<H")
        if key not in self.contents.schemas:
            name, encoding = fields.string(), fields.string()
            data = bytes(fields.block())
            self.contents.schemas[key] = Schema(name=name, encoding=encoding, data=data)

    def _add_channel(self, fields: _Fields) -> None:
        key, schema = fields.unpack("<HH")
        if key not in self.contents.channels:
            none = Schema(name="", encoding="", data=b"")
            topic, encoding, words = fields.string(), fields.string(), fields.words()
            self.contents.channels[key] = Channel(
                topic=topic, encoding=encoding, metadata=words,
                schema=self.contents.schemas.get(schema, none),
            )  # fmt: skip


class _Fields:
    """The fields of a record one after the other."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self._content, self._at)
        self._at += struct.calcsize(layout)
        return values

    def skip(self, count: int) -> None:
        self._at += count

    def block(self) -> memoryview:
        (size,) = self.unpack("<I")
        if self._at + size > len(self._content):
            raise ValueError("a field leads beyond the end of its record")
        block = self._content[self._at : self._at + size]
        self._at += size
        return block

    def string(self) -> str:
        return bytes(self.block()).decode("utf-8", errors="replace")

    def words(self) -> dict[str, str]:
        inner, made = _Fields(self.block()), {}
        while inner._at < len(inner._content):
            key = inner.string()
            made[key] = inner.string()
        return made


def unpack_chunk(content: bytes) -> tuple[memoryview, int, bool]:
    """The records of a chunk, where they begin in its content, and whether they were compressed.

    Raises:
        ValueError: The chunk is cut off, damaged, or compressed in a way that is not known.
    """
    try:
        _, _, size, crc = _CHUNK.unpack_from(content)
        fields = _Fields(memoryview(content))
        fields.skip(_CHUNK.size)
        word = fields.string()
        (length,) = fields.unpack("<Q")
    except struct.error as error:
        raise ValueError("it is cut off") from error
    base = len(content) - length
    if base < 0 or size > LARGEST:
        raise ValueError(f"it says that it holds {max(size, length)} bytes")
    packed = memoryview(content)[base:]
    if word == "":
        records = packed
    elif word == "zstd":
        records = memoryview(_unpack_zstd(packed, size))
    elif word == "lz4":
        records = memoryview(_unpack_lz4(packed, size))
    else:
        raise ValueError(f"its compression {word!r} is none of zstd, lz4 and none")
    if len(records) != size:
        raise ValueError(f"it holds {len(records)} of {size} bytes")
    if crc and zlib.crc32(records) != crc:
        raise ValueError("its checksum does not agree")
    return records, base, word != ""


def _unpack_zstd(packed: memoryview, size: int) -> bytes:
    import zstandard

    try:
        if zstandard.frame_content_size(packed) not in (-1, size):  # -1: it does not say
            raise ValueError(f"it does not hold {size} bytes")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=max(size, 1))
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(str(error) or "it says that it is too large") from error


def _unpack_lz4(packed: memoryview, size: int) -> bytes:
    frame = importlib.import_module("lz4.frame")
    try:
        return frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
    except (RuntimeError, EOFError, MemoryError) as error:
        raise ValueError(str(error) or "it says that it is too large") from error


def schema_names(path: Path) -> frozenset[str]:
    """The names of a file's schemas, by its summary or else up to its first chunk's end; cheap.

    None for what is no MCAP file.
    """
    try:
        status = path.stat()
        return _schema_names(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return frozenset()


@lru_cache(maxsize=4096)
def _schema_names(path: Path, _mtime_ns: int, _size: int) -> frozenset[str]:
    try:
        with path.open("rb") as file:
            mcap = McapFile(path, file)
            if not mcap.contents.indexed:
                next(mcap.messages(), None)
            return frozenset(schema.name for schema in mcap.contents.schemas.values())
    except (OSError, UnreadableFile):
        return frozenset()


def from_mcap(file: BinaryIO, chunk: str, offset: int | None, size: int | None) -> bytes:
    """Bytes of an unpacked chunk, for :mod:`formats.media`.

    Args:
        file: The MCAP file.
        chunk: Where the chunk's record begins in it.
        offset: Where the bytes begin in the unpacked chunk.
        size: How many; None: to the end.
    """
    status = Path(file.name).stat()
    records = _unpacked(Path(file.name), status.st_mtime_ns, int(chunk))
    begin = offset or 0
    data = records[begin:] if size is None else records[begin : begin + size]
    if size is not None and len(data) != size:
        raise ValueError(f"the chunk at byte {chunk} ends before the capture")
    return bytes(data)


@lru_cache(maxsize=CACHED_CHUNKS)
def _unpacked(path: Path, _mtime_ns: int, place: int) -> memoryview:
    with path.open("rb") as file:
        file.seek(place)
        head = file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            raise EOFError(f"there is no chunk at byte {place}")
        opcode, size = _RECORD.unpack(head)
        if opcode != CHUNK or size > LARGEST:
            raise ValueError(f"there is no chunk at byte {place}")
        return unpack_chunk(file.read(size))[0]

"""Images and point clouds of a lake: found by row, decoded late, copied into it if asked.

    for capture in captures(lake, "channel = 'front' AND t_ns < 1000000000"):
        pixels = capture.image(lake)

Ingest leaves sensor bytes where they are; a capture whose bytes were copied is read from the lake,
wherever the source has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt8

from formats.media import CODECS, Points, decode_image, decode_points, read_payload
from geometry.arrays import Array
from lake.literals import literal
from schemas.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from lake.lake import Lake

COPY_BATCH = 4096  # captures whose rows are written in one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A row of ``frames``: where the bytes of one capture are, and what they are.

    Attributes:
        log_id: Of ``logs``.
        channel: Of which sensor.
        t_ns: Since the log began [ns].
        uri: File that holds the bytes.
        byte_offset: Where they begin; None: the whole file.
        byte_size: How many.
        container: What wraps them in the file.
        codec: What they are.
        pts: Stamp of a video frame, in the stream's own time base.
        blob_id: Of ``blobs``, if they were copied into the lake.
    """

    log_id: int
    channel: str
    t_ns: int
    uri: str
    byte_offset: int | None
    byte_size: int | None
    container: str | None
    codec: str
    pts: int | None
    blob_id: int | None

    @property
    def kind(self) -> str:
        """``image``, ``points``, ``video`` or ``raw``."""
        if self.codec not in CODECS:
            raise UnknownName("codec", self.codec, CODECS)
        return CODECS[self.codec].kind

    def payload(self, lake: Lake) -> bytes:
        """The bytes as they are.

        Raises:
            UnreadableFile: They are not there any more.
            UnknownName: Their container is not known.
        """
        if self.blob_id is not None:
            return lake.blob(self.blob_id)
        return read_payload(
            self.uri, offset=self.byte_offset, size=self.byte_size, container=self.container
        )

    def image(self, lake: Lake) -> UInt8[Array, "height width 3"]:
        """Pixels: red, green, blue; of a video, of exactly this frame.

        Raises:
            UnreadableFile: The bytes are not there any more, or are no such image.
            UnknownName: The codec is none of images.
        """
        if self.kind == "video":
            return next(video_images([self]))[1]
        try:
            return decode_image(self.codec, self.payload(lake))
        except (ValueError, OSError) as error:
            raise _undecodable(self, error) from error

    def points(self, lake: Lake) -> Points:
        """The point cloud.

        Raises:
            UnreadableFile: The bytes are not there any more, or are no such cloud.
            UnknownName: The codec is none of point clouds.
        """
        try:
            return decode_points(self.codec, self.payload(lake))
        except (ValueError, OSError, KeyError, IndexError) as error:
            raise _undecodable(self, error) from error


_COLUMNS = tuple(Capture.__dataclass_fields__)


def captures(lake: Lake, where: str | None = None) -> list[Capture]:
    """Captures for which a Lance filter on ``frames`` holds, in order of log, channel and time."""
    rows = lake.read("frames", list(_COLUMNS), where)
    order = [(name, "ascending") for name in ("log_id", "channel", "t_ns")]
    return [Capture(**row) for row in rows.sort_by(order).to_pylist()]


def video_images(
    chosen: Sequence[Capture],
) -> Iterator[tuple[Capture, UInt8[Array, "height width 3"]]]:
    """Video frames with their pixels, each file decoded once, in order of file and stamp.

    Raises:
        UnreadableFile: A video is not there any more, or lacks a frame.
    """
    from formats.video import decode_frames

    by_file: dict[str, dict[int, list[Capture]]] = {}
    for capture in chosen:
        assert capture.pts is not None, "frames of videos have stamps"
        by_file.setdefault(capture.uri, {}).setdefault(capture.pts, []).append(capture)
    for uri, wanted in by_file.items():
        for pts, pixels in decode_frames(uri, list(wanted)):
            for capture in wanted[pts]:
                yield capture, pixels


def image_of(
    source: Capture, *, lake: Lake, size: tuple[int, int]
) -> UInt8[Array, "height width 3"]:
    """An image scaled to height and width [px]."""
    from PIL import Image

    pixels = source.image(lake)
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(
        Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    )


def nearest_frames(
    lake: Lake,
    log_ids: Int[Array, " moments"],
    t_ns: Int[Array, " moments"],
    channel: str,
    *,
    tolerance_ns: int,
) -> list[Capture | None]:
    """Of each moment of a log the capture of a channel that is nearest in time, if near enough."""
    logs = ", ".join(map(str, sorted(set(log_ids.tolist())))) or "0"
    there = captures(lake, f"channel = {literal(channel)} AND log_id IN ({logs})")
    found: list[Capture | None] = [None] * len(log_ids)
    by_log: dict[int, list[Capture]] = {}
    for capture in there:
        by_log.setdefault(capture.log_id, []).append(capture)
    for n, (log_id, at) in enumerate(zip(log_ids.tolist(), t_ns.tolist(), strict=True)):
        mine = by_log.get(log_id)
        if mine:
            k = nearest(np.array([c.t_ns for c in mine]), np.array([at]))[0]
            if abs(mine[k].t_ns - at) <= tolerance_ns:
                found[n] = mine[k]
    return found


def nearest(times: Int[Array, " have"], asked: Int[Array, " asked"]) -> Int[Array, " asked"]:
    """Index of the time nearest to each that is asked for; the earlier of two equally near."""
    after = np.clip(np.searchsorted(times, asked), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(asked - times[before]) <= np.abs(times[after] - asked), before, after)


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """What copying did.

    Attributes:
        copied: Captures whose bytes are in the lake now.
        already: Captures whose bytes were there before.
        n_bytes: How many bytes were read.
        refused: (uri, reason) of what could not be read.
    """

    copied: int = 0
    already: int = 0
    n_bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def copy_media(
    lake: Lake,
    where: str | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> CopyReport:
    """Copy the bytes of captures into the lake, so that the source may go.

    Equal bytes are kept once. Videos stay by reference: a frame alone cannot be cut out of one.

    Args:
        lake: Where to.
        where: Lance filter on ``frames``; all by default.
        progress: Told after each capture: how many, of how many.

    Raises:
        BadQuery: The filter does not run.
        StorageFull: The disk is full or read-only; what was committed is kept.
    """
    wanted = captures(lake, where)
    report = CopyReport()
    report.already = sum(c.blob_id is not None for c in wanted)
    todo = [c for c in wanted if c.blob_id is None]
    with lake.run("copy media", params={"where": where}) as run:
        for begin in range(0, len(todo), COPY_BATCH):
            batch: list[Capture] = []
            payloads = _payloads(todo[begin : begin + COPY_BATCH], lake, batch, report)
            ids = lake.put_blobs(payloads, run_id=run.id)
            report.copied += _point_to(lake, batch, ids)
            if progress is not None:
                progress(min(begin + COPY_BATCH, len(todo)), len(todo))
        run.summary = asdict(report)
        run.keep = report.copied > 0
    return report


def _payloads(
    todo: Sequence[Capture], lake: Lake, taken: list[Capture], report: CopyReport
) -> Iterator[bytes]:
    for capture in todo:
        if CODECS.get(capture.codec) is not None and CODECS[capture.codec].kind == "video":
            report.refused.append((capture.uri, "a frame cannot be copied out of a video"))
            continue
        try:
            data = capture.payload(lake)
        except (BadInput, UnknownName) as error:
            report.refused.append((capture.uri, str(error)))
            continue
        taken.append(capture)
        report.n_bytes += len(data)
        yield data


def _point_to(lake: Lake, batch: Sequence[Capture], blob_ids: Sequence[int]) -> int:
    """Write the blobs' ids into the rows of ``frames``; gives how many captures have theirs."""
    if not batch:
        return 0
    with lake.store.writing():
        # Bytes that were there already can have gone since, with another log of theirs.
        mine = f"blob_id IN ({', '.join(map(str, sorted(set(blob_ids))))})"
        there = set(lake.read("blobs", ["blob_id"], mine)["blob_id"].to_pylist())
        new = {
            (c.log_id, c.channel, c.t_ns): b
            for c, b in zip(batch, blob_ids, strict=True)
            if b in there
        }
        for log_id in sorted({c.log_id for c in batch}):
            mine = f"log_id = {log_id}"
            rows = lake.read("frames", None, mine)
            told: list[Any] = [
                new.get((log_id, row["channel"], row["t_ns"]), row["blob_id"])
                for row in rows.select(["channel", "t_ns", "blob_id"]).to_pylist()
            ]
            place = rows.schema.get_field_index("blob_id")
            changed = rows.set_column(place, rows.schema.field(place), pa.array(told, pa.int64()))
            lake.replace("frames", changed, where=mine)
    return len(new)


def _undecodable(capture: Capture, error: Exception) -> BadInput:
    from schemas.errors import UnreadableFile

    return UnreadableFile(
        capture.uri,
        f"holds no {capture.codec} at {capture.t_ns} ns of channel {capture.channel} ({error})",
        hint="The file may have changed since it was ingested.",
    )

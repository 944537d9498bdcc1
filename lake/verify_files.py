"""Are the bytes still there that rows refer to? Files of frames, stamps of videos, copied bytes.

Files here are asked for their size; objects of a store, videos and copied bytes are sampled, unless
a deep look is wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from formats import remote
from formats.media import CODECS
from formats.video import stream_index
from lake.blobs import blob_rows, read_blobs
from lake.findings import ERROR, WARNING, Finding, Tally
from schemas.errors import BadInput, BadSetting, LakeError

if TYPE_CHECKING:
    from lake.lake import Lake

FILES = 100_000  # files whose size is asked for
OBJECTS = 32  # objects of stores, which answer slowly
VIDEOS = 2  # all of a video must be read for its stamps
BLOBS = 256
BLOB_BYTES = 64 * 2**20

_T = TypeVar("_T")


def frame_files(lake: Lake, *, deep: bool) -> list[Finding]:
    """Whether the files of frames are there, and as long as the frames need."""
    files = lake.sql(
        """
        SELECT uri, max(CASE WHEN container IS NULL AND byte_size IS NOT NULL
                        THEN coalesce(byte_offset, 0) + byte_size ELSE 0 END)::BIGINT AS needed
        FROM frames WHERE blob_id IS NULL AND uri NOT LIKE 'memory:%' GROUP BY 1 ORDER BY 1
        """
    ).to_pylist()
    far = [row for row in files if remote.is_remote(row["uri"])]
    near = [row for row in files if not remote.is_remote(row["uri"])]
    missing = Tally(
        severity=WARNING, check="files", what="files of frames are not where they were"
    )
    short = Tally(severity=ERROR, check="file size", what="files end before their last frame")
    for row in (near if deep else _sample(near, FILES)) + (far if deep else _sample(far, OBJECTS)):
        uri, needed = str(row["uri"]), int(row["needed"])
        try:
            size = remote.size_of(uri) if remote.is_remote(uri) else Path(uri).stat().st_size
        except (OSError, BadInput, BadSetting) as error:
            missing.add(1, f"{uri} ({_reason(error)})")
            continue
        if size < needed:
            short.add(1, f"{uri} has {size} of {needed} bytes")
    return [*missing.finding("frames"), *short.finding("frames")]


def video_stamps(lake: Lake, *, deep: bool) -> list[Finding]:
    """Whether videos have a frame at every stamp that rows name."""
    kinds = ", ".join(f"'{codec.name}'" for codec in CODECS.values() if codec.kind == "video")
    videos = lake.sql(
        f"""
        SELECT uri, list(DISTINCT pts) AS pts FROM frames
        WHERE pts IS NOT NULL AND blob_id IS NULL AND codec IN ({kinds}) GROUP BY 1 ORDER BY 1
        """
    ).to_pylist()
    lacking = Tally(
        severity=ERROR, check="video stamps", what="stamps of video frames are not in the video"
    )
    for row in videos if deep else _sample(videos, VIDEOS):
        uri = row["uri"]
        if not remote.is_remote(uri) and not Path(uri).exists():
            continue  # told by :func:`frame_files`
        try:
            there = set(stream_index(uri).pts.tolist())
        except (BadInput, BadSetting) as error:
            lacking.add(len(row["pts"]), f"{uri} ({_reason(error)})")
            continue
        absent = sorted(set(row["pts"]) - there)
        if absent:
            lacking.add(len(absent), f"pts {absent[0]} of {uri}")
    return lacking.finding("frames")


def blob_contents(lake: Lake, *, deep: bool) -> list[Finding]:
    """Whether copied bytes are those that were copied."""
    changed = Tally(
        severity=ERROR, check="checksum", what="copied payloads are not what was copied"
    )
    looked, held = 0, 0
    for group in blob_rows(lake, at_once=BLOB_BYTES):
        chosen = group if deep else _sample(group, BLOBS)
        try:
            payloads = read_blobs(lake, [blob_id for blob_id, _, _ in chosen])
        except LakeError as error:
            changed.add(len(chosen), error.reason.rstrip("."))
            continue
        for (blob_id, sha256, n_bytes), payload in zip(chosen, payloads, strict=True):
            held += n_bytes
            if len(payload) != n_bytes or hashlib.sha256(payload).hexdigest() != sha256:
                changed.add(1, f"blob_id {blob_id}")
        looked += len(chosen)
        if not deep and (looked >= BLOBS or held >= BLOB_BYTES):
            break
    return changed.finding("blobs")


def snapshots(lake: Lake) -> Iterator[Finding]:
    """Whether every snapshot can still be read, and is safe from Lance's own cleaning."""
    store = lake.store
    known = store.manifest().snapshots
    for name, snap in known.items():
        try:
            store.at(snap.tables).datasets()
        except LakeError as error:
            yield Finding(
                severity=ERROR, check="snapshot", table="", count=1,
                detail=f"Snapshot {name} cannot be read: it {error.reason}",
            )  # fmt: skip
    for table, data in store.datasets().items():
        tags = data.tags.list()
        for name, snap in known.items():
            tagged: Any = tags.get(name, {"version": 0})
            if table in snap.tables and int(tagged["version"]) != snap.tables[table]:
                yield Finding(
                    severity=WARNING, check="snapshot", table=table, count=1,
                    detail=f"Snapshot {name} stands without its tag in {table}: Lance's own "
                    "cleaning could remove it.",
                )  # fmt: skip


def _sample(rows: Sequence[_T], count: int) -> list[_T]:
    """So many of them, evenly spread; the first and last always."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(k * (len(rows) - 1) / (count - 1))] for k in range(count)]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return getattr(error, "reason", str(error))

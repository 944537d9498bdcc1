"""Frames of a video by presentation time stamp, never by guessed index.

A stream of 29.97 Hz has no frame at 1/30 s, encoders reorder frames, containers begin at other than
zero and drop some: whoever counts frames decodes the wrong ones (LeRobot had 25 of 29 wrong). Here
the stream is asked for its own stamps, those go into ``frames.pts``, and a frame is decoded by
seeking to the key frame before it and reading on until exactly that stamp comes.

An elementary stream (a bare ``.hevc`` or ``.h264``) has no stamps at all and no container that could
drop or edit frames; there, and only there, the k-th frame in order of presentation has stamp k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from formats.remote import is_remote, open_uri
from geometry.arrays import Array
from schemas.errors import UnreadableFile

CODECS = {"h264": "h264", "hevc": "hevc", "av1": "av1", "mpeg4": "mpeg4"}
"""The library's word to ours, of what is a key of ``formats.media.CODECS``."""
ELEMENTARY = ("hevc", "h264", "av1", "m4v")
"""What the library calls files that are bare streams."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamIndex:
    """The frames of a video as its container lists them, in order of presentation.

    Attributes:
        codec: ``h264``, ``hevc``, ….
        width: [px].
        height: [px].
        time_base: Seconds a unit of ``pts``.
        pts: Presentation time stamps, ascending.
        keyframe: Whether decoding can begin at the frame.
        elementary: Whether the stream has no stamps of its own, so that ``pts`` counts frames.
    """

    codec: str
    width: int
    height: int
    time_base: Fraction
    pts: Int[Array, " frames"]
    keyframe: Bool[Array, " frames"]
    elementary: bool = False

    @property
    def t_ns(self) -> Int[Array, " frames"]:
        """Presentation times by the stream's own clock, exactly rounded [ns]."""
        up, down = self.time_base.numerator * 10**9, self.time_base.denominator
        return np.array([(int(p) * up + down // 2) // down for p in self.pts], dtype=np.int64)


def stream_index(path: str | Path) -> StreamIndex:
    """The stamps of every frame of a file's first video stream; nothing is decoded.

    Raises:
        UnreadableFile: It is no video, has no video stream, or frames without stamps.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        pts: list[int] = []
        keys: list[bool] = []
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # the flush at the end
            if packet.pts is None and not _is_elementary(container):
                raise UnreadableFile(
                    path,
                    "has frames without presentation time stamps",
                    hint="Remux it: ffmpeg -fflags +genpts -i IN -c copy OUT.mp4",
                )
            pts.append(len(pts) if packet.pts is None else packet.pts)
            keys.append(packet.is_keyframe)
        order = np.argsort(np.array(pts, dtype=np.int64), kind="stable")
        return StreamIndex(
            codec=CODECS.get(stream.codec_context.name, stream.codec_context.name),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            time_base=Fraction(stream.time_base),
            pts=np.array(pts, dtype=np.int64)[order],
            keyframe=np.array(keys, dtype=bool)[order],
            elementary=_is_elementary(container),
        )


def _is_elementary(container: Any) -> bool:
    """Whether a file is nothing but the coded stream."""
    return container.format.name in ELEMENTARY


def decode_frames(
    path: str | Path, pts: Sequence[int]
) -> Iterator[tuple[int, UInt8[Array, "height width 3"]]]:
    """Frames of a video by their exact stamps, in ascending order of stamp.

    Frames that follow each other are decoded in one pass.

    Args:
        path: The video, here or on an object store.
        pts: Stamps as :func:`stream_index` lists them; repeated ones come once.

    Yields:
        (stamp, pixels: red, green, blue).

    Raises:
        UnreadableFile: It is no video, or has no frame of such a stamp.
    """
    wanted = sorted({int(p) for p in pts})
    if not wanted:
        return
    index = stream_index(path)
    missing = sorted(set(wanted) - set(index.pts.tolist()))
    if missing:
        raise UnreadableFile(
            path,
            f"has no frame at pts {missing[0]}; its {len(index.pts)} frames span "
            f"{index.pts[0]} to {index.pts[-1]}",
            hint="The file was changed or cut off since it was ingested; ingest it again.",
        )
    keys = index.pts[index.keyframe]
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if index.elementary:
            yield from _decoded(path, _counted(container.decode(stream)), wanted)
            return
        for run in _runs(wanted, keys):
            container.seek(run[0], stream=stream, backward=True)
            yield from _decoded(path, container.decode(stream), run)


def _counted(frames: Iterable[Any]) -> Iterator[Any]:
    """Frames of a stream without stamps, each with its number as its stamp."""
    for number, frame in enumerate(frames):
        frame.pts = number
        yield frame


def _runs(wanted: Sequence[int], keys: Int[Array, " keys"]) -> Iterator[list[int]]:
    """Stamps that are reached from one key frame, together."""
    groups = np.searchsorted(keys, wanted, side="right").tolist()
    for _, run in groupby(zip(groups, wanted, strict=True), key=itemgetter(0)):
        yield [pts for _, pts in run]


def _decoded(
    path: str | Path, frames: Iterable[Any], wanted: list[int]
) -> Iterator[tuple[int, Array]]:
    left = set(wanted)
    for frame in frames:
        if frame.pts in left:
            left.remove(frame.pts)
            yield frame.pts, frame.to_ndarray(format="rgb24")
        if not left:
            return
    raise UnreadableFile(
        path,
        f"cannot be decoded at pts {min(left)}",
        hint="The video is damaged there; fetch it again.",
    )


@contextmanager
def _readable(path: str | Path) -> Iterator[Any]:
    """What the library opens: a path, or a file that reads an object by ranges."""
    if is_remote(path):
        with open_uri(path) as file:
            yield file
    else:
        yield str(path)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    import av
    from av.error import FFmpegError

    try:
        with _readable(path) as source, av.open(source) as container:
            if not container.streams.video:
                raise UnreadableFile(path, "holds no video stream")
            yield container
    except FFmpegError as error:
        raise UnreadableFile(
            path, f"is no video that can be read ({error.strerror})", hint="Fetch the file again."
        ) from error
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from error

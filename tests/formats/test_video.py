"""Frames by exact stamp: a drawn video whose every frame tells its own number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from formats.video import decode_frames, stream_index
from schemas.errors import UnreadableFile

av = pytest.importorskip("av")


def write_video(path: Path, *, pts: list[int], time_base: Fraction, gop: int = 5) -> None:
    """Frame ``n`` is grey of level ``10 n``; stamps are given, B-frames reorder the packets."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.gop_size, stream.max_b_frames, stream.bit_rate = gop, 2, 2_000_000
        for number, stamp in enumerate(pts):
            pixels = np.full((48, 64, 3), 10 * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


UNEVEN = [0, 33, 67, 100, 200, 233, 267, 300, 333, 500, 533, 567, 600, 900, 933, 967, 1000]
"""Stamps in milliseconds with gaps: an index times 33 ms would miss."""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mkv"
    write_video(path, pts=UNEVEN, time_base=Fraction(1, 1000))
    return path


def test_the_index_holds_the_stamps_of_the_stream(video: Path) -> None:
    index = stream_index(video)
    assert index.pts.tolist() == UNEVEN
    assert index.t_ns.tolist() == [t * 1_000_000 for t in UNEVEN]
    assert (index.width, index.height, index.codec) == (64, 48, "mpeg4")
    assert index.keyframe[0]
    assert 1 < index.keyframe.sum() < len(UNEVEN)


@pytest.mark.parametrize("chosen", [[0], [1000], [200, 267], [967, 33, 500, 500], UNEVEN])
def test_each_stamp_gives_its_own_frame(video: Path, chosen: list[int]) -> None:
    got = dict(decode_frames(video, chosen))
    assert sorted(got) == sorted(set(chosen))
    for stamp, pixels in got.items():
        assert pixels.shape == (48, 64, 3)
        assert abs(float(pixels.mean()) - 10 * UNEVEN.index(stamp)) < 4.0


def test_a_stamp_between_frames_is_refused(video: Path) -> None:
    with pytest.raises(UnreadableFile, match="no frame at pts 50"):
        list(decode_frames(video, [0, 50]))


def test_a_video_that_was_cut_off_names_what_it_lacks(video: Path) -> None:
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFile, match=r"drive\.mkv"):
        list(decode_frames(video, [1000]))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(UnreadableFile, match="no video"):
        stream_index(path)
    with pytest.raises(UnreadableFile, match=r"cannot be read|no video"):
        stream_index(tmp_path / "absent.mp4")

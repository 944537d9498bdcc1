"""Sensor bytes by reference, decoded late, and copied if asked."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from formats.media import read_payload
from lake import Lake
from schemas.errors import BadInput, UnknownName, UnreadableFile
from schemas.records import Frame, Sensor
from tests.builders import make_straight_log
from tests.formats.test_video import UNEVEN, write_video


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def lake(tmp_path):
    """Ten images: one a file, others within a raw file, gzip, zip and Parquet; and a video."""
    one, two, three, four, five = (png(20 * n) for n in range(1, 6))
    (tmp_path / "one.png").write_bytes(one)
    (tmp_path / "raw.bin").write_bytes(b"head" + two + b"tail")
    (tmp_path / "packed.bin.gz").write_bytes(gzip.compress(b"abc" + three))
    with zipfile.ZipFile(tmp_path / "drive.zip", "w") as archive:
        archive.writestr("images/four.png", four)
    table = pa.table({"image": [b"", five, b""]})
    pa.parquet.write_table(table, tmp_path / "images.parquet", row_group_size=1)
    write_video(tmp_path / "drive.mkv", pts=UNEVEN, time_base=Fraction(1, 1000))

    def frame(n, name, **more):
        return Frame(
            channel="front", t_ns=n * 10**8, uri=str(tmp_path / name), codec="png", **more
        )

    frames = [
        frame(0, "one.png"),
        frame(1, "raw.bin", offset=4, size=len(two)),
        frame(2, "packed.bin.gz", offset=3, size=len(three), container="gzip"),
        frame(3, "drive.zip", container="zip:images/four.png"),
        frame(4, "images.parquet", offset=1, container="parquet:image"),
    ]
    video = [
        Frame(
            channel="rear", t_ns=p * 10**6, uri=str(tmp_path / "drive.mkv"), codec="mpeg4", pts=p
        )
        for p in UNEVEN
    ]
    log = replace(
        make_straight_log(),
        sensors=(Sensor(channel="front", kind="camera"), Sensor(channel="rear", kind="camera")),
        frames=(*frames, *video),
    )
    made = Lake.create(tmp_path / "lake")
    made.add_logs([log], run_id=1)
    return made


def test_images_are_read_through_whatever_wraps_them(lake):
    found = lake.captures("channel = 'front'")
    levels = [int(capture.image(lake)[0, 0, 0]) for capture in found]
    assert levels == [20, 40, 60, 80, 100]


def test_a_video_frame_is_the_one_of_its_stamp(lake):
    for capture in lake.captures("channel = 'rear'")[::4]:
        level = float(capture.image(lake).mean())
        assert abs(level - 10 * UNEVEN.index(capture.pts)) < 4.0


def test_copied_bytes_outlive_the_source(lake, tmp_path):
    report = lake.copy_media("channel = 'front'")
    assert (report.copied, report.already, report.refused) == (5, 0, [])
    for name in ("one.png", "raw.bin", "packed.bin.gz", "drive.zip", "images.parquet"):
        (tmp_path / name).unlink()
    levels = [int(c.image(lake)[0, 0, 0]) for c in lake.captures("channel = 'front'")]
    assert levels == [20, 40, 60, 80, 100]
    assert lake.sql("SELECT count(*) AS n FROM blobs")["n"].to_pylist() == [5]
    assert lake.copy_media("channel = 'front'").already == 5
    assert [f for f in lake.verify() if f.severity == "error"] == []


def test_what_cannot_be_copied_is_told_and_the_rest_comes(lake, tmp_path):
    (tmp_path / "drive.zip").unlink()
    report = lake.copy_media()
    assert report.copied == 4
    reasons = {uri.rsplit("/", 1)[1]: reason for uri, reason in report.refused}
    assert set(reasons) == {"drive.zip", "drive.mkv"}
    assert "video" in reasons["drive.mkv"]


def test_missing_and_shortened_files_are_named(lake, tmp_path):
    found = lake.captures("channel = 'front'")
    (tmp_path / "raw.bin").write_bytes(b"head")
    with pytest.raises(UnreadableFile, match=r"raw\.bin.*ends before the capture"):
        found[1].image(lake)
    (tmp_path / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(BadInput, match=r"one\.png.*holds no png"):
        found[0].image(lake)
    (tmp_path / "packed.bin.gz").write_bytes(b"not gzip")
    with pytest.raises(UnreadableFile, match=r"packed\.bin\.gz"):
        found[2].payload(lake)
    with pytest.raises(UnreadableFile, match=r"gone\.png"):
        read_payload(str(tmp_path / "gone.png"))
    with pytest.raises(UnreadableFile, match="bytes"):
        read_payload(str(tmp_path / "one.png"), offset=0, size=2**40)
    with pytest.raises(UnknownName, match="gzip"):
        read_payload(str(tmp_path / "one.png"), container="gzap")


def test_a_point_cloud_is_no_image(lake):
    (first, *_) = lake.captures("channel = 'front'")
    with pytest.raises(UnknownName, match="points codec"):
        first.points(lake)
    assert np.asarray(first.image(lake)).dtype == np.uint8

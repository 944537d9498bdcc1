"""Sources on object stores come in as if they lay here, and are named where they lie."""

from __future__ import annotations

import functools
import uuid
from pathlib import Path

import numpy as np
import pytest

from formats import argoverse2_sensor, remote
from formats.media import read_payload
from formats.video import decode_frames, stream_index
from lake import Lake
from lake.remote import Mirrors, is_payload
from schemas.errors import UnreadableFile
from schemas.records import Frame, Sensor
from schemas.tables import TABLES
from tests.formats.test_argoverse2_sensor import straight_log
from tests.formats.test_comma2k19 import write_segment, write_video
from tests.lake.s3 import s3_server
from tests.lake.test_ingest import damage, make_file


@pytest.fixture(scope="module")
def options():
    with s3_server("logs", "lakes") as found:
        remote.use("s3://logs", found)
        yield found
        remote._OPTIONS.clear()


@pytest.fixture
def put(options):
    """Copies a folder into a place of the store; returns its address."""

    def copy(folder: Path) -> str:
        import obstore

        home = f"s3://logs/{uuid.uuid4().hex}/{folder.name}"
        store = remote.store_at(home)
        for file in folder.rglob("*"):
            if file.is_file():
                obstore.put(store, str(file.relative_to(folder)), file.read_bytes())
        return home

    return copy


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the store: (address, bytes), None for the whole."""
    seen = []
    ranges, whole = remote.read_ranges, remote.read_object

    def told_ranges(uri, wanted):
        seen.append((uri, sum(end - begin for begin, end in wanted)))
        return ranges(uri, wanted)

    def told_whole(uri):
        seen.append((uri, None))
        return whole(uri)

    monkeypatch.setattr(remote, "read_ranges", told_ranges)
    monkeypatch.setattr(remote, "read_object", told_whole)
    return seen


def sources(root: Path) -> Path:
    """Two files of scenarios, a folder with cameras and sweeps, a segment with video."""
    root.mkdir()
    make_file(root / "drives", "two", "a", "b")
    make_file(root / "drives", "one", "c")
    (root / "notes.txt").write_text("not a log")
    camera = Sensor(channel="ring_front_center", kind="camera", model="pinhole", width=8, height=8,
                    intrinsics=(8.0, 8.0, 4.0, 4.0), ego_from_sensor=np.array([1.0, 0, 1.6, 1, 0, 0, 0]))  # fmt: skip
    frames = [Frame(channel=camera.channel, t_ns=0, uri="", codec="jpeg")]
    argoverse2_sensor.write_log(
        straight_log(sensors=[camera], frames=frames), root / "val",
        payloads=lambda _: b"\xff\xd8" + bytes(300_000),
    )  # fmt: skip
    write_video(write_segment(root / "comma") / "video.hevc", frames=6)
    return root


def told(lake: Lake, home: str) -> dict[str, list[dict[str, object]]]:
    """Every row but for who made it, with addresses as they are under ``home``."""
    rows = {}
    for name in set(TABLES) - {"runs", "dense"}:
        rows[name] = [
            {
                key: value.replace(home, "HOME") if isinstance(value, str) else value
                for key, value in row.items()
                if key not in ("run_id", "entry_id")
            }
            for row in lake.read(name).to_pylist()
        ]
    return rows


def test_what_lies_on_a_store_comes_in_as_it_would_here(tmp_path, put, asked):
    folder = sources(tmp_path / "in")
    here, there = Lake.create(tmp_path / "here"), Lake.create(tmp_path / "there")
    first = here.ingest([folder])
    home = put(folder)
    second = there.ingest([home])
    assert first.logs == second.logs == 5
    ours, theirs = told(here, str(folder)), told(there, home)
    theirs["ledger"] = [r for r in theirs["ledger"] if not r["source_sha256"].startswith("tags:")]
    by = functools.partial(sorted, key=lambda row: str(sorted(row.items(), key=str)))
    for name, rows in ours.items():
        assert by(theirs[name]) == by(rows), name
    assert there.verify() == []
    # The image was not fetched, the rest was; nothing of this machine is told.
    assert not [uri for uri, _ in asked if uri.endswith(".jpg")]
    for name in ("logs", "frames", "ledger", "runs"):
        assert "scenelake-remote" not in str(there.read(name).to_pylist()), name
    assert {row["source_uri"].partition("/")[0] for row in there.read("logs").to_pylist()} == {
        "s3:"
    }


def test_bytes_are_read_where_they_lie(tmp_path, put, asked):
    folder = sources(tmp_path / "in")
    home = put(folder)
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([f"{home}/val", f"{home}/comma"])
    (image,) = lake.captures("codec = 'jpeg'")
    asked.clear()
    assert image.uri.startswith(home)
    assert image.payload(lake) == b"\xff\xd8" + bytes(300_000)
    asked.clear()
    assert read_payload(image.uri, offset=1, size=4) == b"\xd8\0\0\0"
    assert sum(size for _, size in asked) <= remote.BUFFER_BYTES
    video = lake.captures("codec = 'hevc'")
    assert len(video) == 6
    level = float(video[4].image(lake).mean())
    assert level == pytest.approx(120, abs=6)
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_payload(f"{home}/nothing.jpg")


def test_video_of_a_store_has_the_stamps_of_the_file(tmp_path, put):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "v.hevc", frames=5)
    uri = f"{put(tmp_path / 'in')}/v.hevc"
    index = stream_index(uri)
    assert index.pts.tolist() == stream_index(tmp_path / "in" / "v.hevc").pts.tolist()
    ((_, pixels),) = decode_frames(uri, [int(index.pts[3])])
    assert float(pixels.mean()) == pytest.approx(90, abs=6)


def test_a_second_time_nothing_is_fetched(tmp_path, put, asked):
    home = put(sources(tmp_path / "in"))
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([home])
    versions = lake.versions()
    asked.clear()
    again = lake.ingest([home])
    assert (again.logs, again.unchanged) == (0, 5)
    assert lake.versions() == versions
    large = [uri for uri, size in asked if size is None and uri.endswith(".hevc")]
    assert large == []


def test_what_changed_is_read_again(tmp_path, put):
    import obstore

    folder = tmp_path / "in"
    make_file(folder, "f", "a")
    home = put(folder)
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([f"{home}/f.tfrecord"])
    make_file(folder, "f", "a", "b")
    obstore.put(remote.store_at(home), "f.tfrecord", (folder / "f.tfrecord").read_bytes())
    report = lake.ingest([f"{home}/f.tfrecord"])
    assert (report.logs, report.unchanged) == (1, 1)


def test_processes_read_from_a_store(tmp_path, put):
    folder = tmp_path / "in"
    for name in "abc":
        make_file(folder, name, name)
    lake = Lake.create(tmp_path / "lake")
    report = lake.ingest([put(folder)], jobs=2)
    assert (report.logs, report.rejected) == (3, [])
    assert "scenelake-remote" not in str(lake.read("logs").to_pylist())


def test_from_a_store_into_a_store(tmp_path, put, options):
    folder = tmp_path / "in"
    make_file(folder, "f", "a")
    lake = Lake.create(f"s3://lakes/{uuid.uuid4().hex}", storage_options=options)
    assert lake.ingest([Path(put(folder))]).logs == 1  # as it comes from a command line
    assert lake.sql("SELECT count(*) AS n FROM ego").to_pylist() == [{"n": 21}]


def test_refusals_name_the_object(tmp_path, put):
    folder = tmp_path / "in"
    damage(make_file(folder, "f", "a", "b"), 1)
    home = put(folder)
    lake = Lake.create(tmp_path / "lake")
    report = lake.ingest([home, "s3://logs/nowhere", f"{home}/g.txt"], on_error="skip")
    assert report.logs == 1
    assert [(r.path, r.record) for r in report.rejected] == [
        (f"{home}/f.tfrecord", "record 1"), ("s3://logs/nowhere", ""), (f"{home}/g.txt", ""),
    ]  # fmt: skip
    with pytest.raises(UnreadableFile, match="s3://logs/nowhere: does not exist"):
        lake.ingest(["s3://logs/nowhere"])


def test_room_is_made_for_other_sources(tmp_path, put, monkeypatch):
    """Whole files go when they are done; those that are read from stay."""
    folder = tmp_path / "in"
    for name in "abcd":
        (folder / name).mkdir(parents=True)
        (folder / name / "log.json").write_bytes(b"x" * 200_000)
    home = put(folder)
    monkeypatch.setattr("lake.remote.KEPT_BYTES", 450_000)

    class Whole:
        def files(self, source):
            return [source / "log.json"]

    with Mirrors() as mirrors:
        root = mirrors.local(home)
        held = [root / name for name in "abcd"]

        def room():
            return [sum(p.stat().st_blocks for p in one.rglob("*.json")) * 512 for one in held]

        assert max(room()) < 200_000  # beginnings and ends alone
        for source in held[:2]:
            mirrors.fetch(Whole(), source)
        mirrors.release(held[0])
        mirrors.fetch(Whole(), held[2])
        assert [size >= 200_000 for size in room()] == [False, True, True, False]
        assert (held[1] / "log.json").read_bytes() == b"x" * 200_000
        assert (held[0] / "log.json").stat().st_size == 200_000
        mirrors.fetch(Whole(), held[0])
        assert (held[0] / "log.json").read_bytes() == b"x" * 200_000
    assert not root.exists()


def test_names_that_no_file_can_have_are_left_alone(tmp_path, options):
    import obstore

    home = f"s3://logs/{uuid.uuid4().hex}"
    store = remote.store_at(home)
    for name in ("a|b/x y#1?.json", "dir", "dir/file.json", "p%41.json"):
        obstore.put(store, name, b"{}")
    with Mirrors() as mirrors:
        root = mirrors.local(home)
        found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
        assert {"a|b/x y#1?.json", "p%41.json"} <= found
        assert (root / "a|b/x y#1?.json").read_bytes() == b"{}"
        assert mirrors.name(root / "dir/file.json") == f"{home}/dir/file.json"
        assert mirrors.name("/elsewhere") == "/elsewhere"


def test_payloads_are_known_by_their_names():
    for name in ("a.jpg", "b/c.PNG", "sweep.pcd.bin", "log/sensors/lidar/1.feather"):
        assert is_payload(f"s3://x/{name}"), name
    for name in ("a.json", "map/log_map.feather", "a.tfrecord", "x.mcap"):
        assert not is_payload(f"s3://x/{name}"), name

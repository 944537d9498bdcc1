from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lake import Lake
from lake.dense import pack_signals
from schemas.records import Frame, Readings, Sensor
from schemas.scene import Signals
from tests.builders import make_crossing_log, make_straight_log, stamps
from tests.formats.test_video import UNEVEN, write_video


@pytest.fixture
def lake(tmp_path):
    """Two logs; the first with images in a file, a video and readings."""
    (tmp_path / "images.raw").write_bytes(bytes(100))
    write_video(tmp_path / "drive.mkv", pts=UNEVEN, time_base=Fraction(1, 1000))
    sensors = (
        Sensor(channel="front", kind="camera"), Sensor(channel="rear", kind="camera"),
        Sensor(channel="imu", kind="imu"),
    )  # fmt: skip
    images = [
        Frame(channel="front", t_ns=n * 10**8, uri=str(tmp_path / "images.raw"), codec="jpeg",
              offset=20 * n, size=20)
        for n in range(5)
    ]  # fmt: skip
    video = [
        Frame(channel="rear", t_ns=p * 10**6, uri=str(tmp_path / "drive.mkv"), codec="mpeg4", pts=p)
        for p in UNEVEN
    ]  # fmt: skip
    readings = [
        Readings(channel="imu", signal=signal, t_ns=stamps(5), value=np.zeros(5), unit="m/s2")
        for signal in ("ax", "ay")
    ]
    first = replace(
        make_straight_log(), sensors=sensors, frames=[*images, *video], readings=readings
    )
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([first, make_crossing_log()], run_id=run.id)
        lake.put_blobs([b"x" * 10, b"y" * 100_000], run_id=run.id)
    return lake


def broken(lake, name: str, column: str, value, row: int = 0) -> None:
    """Put a wrong value into one row of a table, behind the lake's back."""
    table = lake.read(name)
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(column)
    wrong = table.set_column(table.schema.names.index(column), field, pa.array(values, field.type))
    with lake.store.writing():
        lake.store.delete(name, "true")
        lake.store.append(name, wrong)


def found(lake) -> set[tuple[str, str, str]]:
    return {(f.severity, f.check, f.table) for f in lake.verify()}


def test_a_sound_lake_has_no_findings(lake):
    names = []
    assert lake.verify(progress=names.append) == []
    assert {"unique logs", "finite agents", "order ego", "unpack dense"} <= set(names)


@pytest.mark.parametrize(
    ("table", "column", "value", "expected"),
    [
        ("agents", "x", float("nan"), ("error", "finite", "agents")),
        ("ego", "vx_map", float("inf"), ("error", "finite", "ego")),
        ("agents", "y", None, ("error", "valid", "agents")),
        ("agents", "yaw", 4.0, ("error", "angle", "agents")),
        ("agents", "x", 9000.0, ("warning", "near map", "agents")),
        ("agents", "lane_id", 77, ("error", "lane", "agents")),
        ("agents", "track_id", 99, ("error", "reference", "agents")),
        ("agents", "t_ns", 10**8, ("error", "unique", "agents")),
        ("ego", "t_ns", 10**12, ("error", "order", "ego")),
        ("logs", "map_id", 5, ("error", "reference", "logs")),
        ("logs", "run_id", 5, ("warning", "run", "logs")),
        ("map_edges", "to_id", 50, ("error", "reference", "map_edges")),
        ("scenes", "t1_ns", -1, ("error", "span", "scenes")),
        ("scenes", "scene_id", 5, ("error", "reference", "dense")),
        ("events", "t1_ns", -5, ("error", "span", "events")),
        ("tracks", "t_last_ns", -5, ("error", "span", "tracks")),
        ("tracks", "n_obs", 3, ("error", "complete", "tracks")),
        ("agents", "cls", "bus", ("warning", "class flip", "tracks")),
        ("logs", "n_frames", 7, ("error", "complete", "logs")),
        ("frames", "t_end_ns", -5, ("warning", "span", "frames")),
        ("frames", "blob_id", 5, ("error", "reference", "frames")),
        ("frames", "channel", "none", ("warning", "reference", "frames")),
        ("readings", "log_id", 5, ("error", "reference", "readings")),
        ("readings", "t_ns", 10**9, ("error", "order", "readings")),
        ("dense", "tracks", b"nonsense", ("error", "dense", "dense")),
        ("dense", "signals", pack_signals(Signals.none(3)), ("error", "dense", "dense")),
        ("dense", "packing", "v9", ("error", "dense", "dense")),
    ],
)
def test_each_rule_finds_what_breaks_it(lake, table, column, value, expected):
    broken(lake, table, column, value)
    assert expected in found(lake)


def test_vectors_must_belong_to_scenes_and_be_of_unit_length(lake):
    row = {"scene_id": 5, "model": "m", "vector": [0.5] + [0.0] * 63, "run_id": 1}
    lake.append("embeddings", [row])
    assert {("error", "reference", "embeddings"), ("error", "unit length", "embeddings")} <= found(
        lake
    )
    detail = next(f.detail for f in lake.verify() if f.check == "unit length")
    assert "scene_id 5" in detail


def test_errors_come_first(lake):
    broken(lake, "logs", "run_id", 5)
    broken(lake, "agents", "yaw", 4.0)
    severities = [f.severity for f in lake.verify()]
    assert severities == sorted(severities)


def test_a_damaged_file_is_found(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    with lake.run("ingest") as run:
        lake.add_logs([make_straight_log()], run_id=run.id)
    assert lake.verify() == []
    for name in ("agents", "dense"):
        (file,) = (Path(lake.uri) / f"{name}.lance" / "data").iterdir()
        file.write_bytes(file.read_bytes()[:500])
    found = [f for f in Lake.open(lake.uri).verify() if f.check == "readable"]
    assert {"agents", "dense"} <= {f.table for f in found}
    assert all(f.severity == "error" for f in found)
    assert len(found) == len({f.table for f in found})


# How road users move


def straight(lake) -> int:
    """Where the rows of the straight log begin in ``agents``: lead, truck, walker, 91 each."""
    log_id = lake.read("logs", ["log_id"], "source_log_id = 'straight'")["log_id"][0].as_py()
    return lake.read("agents", ["log_id"])["log_id"].to_pylist().index(log_id)


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [("x", 200.0, "teleport"), ("yaw", 3.1, "heading flip"), ("length", 12.0, "box jump"),
     ("width", 5.0, "box jump")],
)  # fmt: skip
def test_a_body_does_not_do_that(lake, column, value, check):
    row = straight(lake) + 40
    log_id = lake.read("agents")["log_id"][row].as_py()
    broken(lake, "agents", column, value, row)
    told = [f for f in lake.verify() if f.check == check]
    assert [(f.severity, f.table, f.count) for f in told] == [("warning", "agents", 2)]
    assert f"log_id {log_id}, track_id 1, t_ns 4000000000" in told[0].detail


def test_slow_noise_and_long_gaps_are_no_findings(lake):
    """A step of 4 m in 0.1 s is noise; the truck is gone for 5 s and has turned meanwhile."""
    rows = lake.read("agents")
    begin = straight(lake)
    x, yaw, valid = (rows[c].to_pylist() for c in ("x", "yaw", "valid"))
    x[begin + 40] += 4.0
    for k in range(91 + 20, 91 + 70):
        valid[begin + k] = False
    for k in range(91 + 70, 182):
        yaw[begin + k] = 3.0
    for name, values in (("x", x), ("yaw", yaw), ("valid", valid)):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))  # fmt: skip
    with lake.store.writing():
        lake.replace("agents", rows, where="true")
    assert {f.check for f in lake.verify()} == {"complete"}  # fewer states than the track says


@pytest.mark.parametrize(("factor", "told"), [(-1.0, 1), (0.0, 1), (0.9, 0)])
def test_velocities_must_lead_where_the_track_goes(lake, factor, told):
    rows = lake.read("agents")
    begin = straight(lake)
    vx = rows["vx_map"].to_pylist()
    for k in range(91):
        vx[begin + k] *= factor
    place = rows.schema.get_field_index("vx_map")
    rows = rows.set_column(place, rows.schema.field(place), pa.array(vx, pa.float32()))
    lake.replace("agents", rows, where="true")
    findings = [f for f in lake.verify() if f.check == "velocity"]
    assert sum(f.count for f in findings) == told
    assert all("track_id 1, which ends" in f.detail for f in findings)


def test_batches_of_rows_hide_nothing(lake, monkeypatch):
    """The same findings, however the rows are dealt out."""
    begin = straight(lake)
    broken(lake, "agents", "x", 200.0, begin + 40)
    broken(lake, "agents", "vx_map", 900.0, begin + 100)
    whole = lake.verify()
    assert {"teleport", "velocity"} <= {f.check for f in whole}
    for rows in (1, 7, 91):
        monkeypatch.setattr("lake.verify_motion._BATCH_ROWS", rows)
        assert lake.verify() == whole


def test_ids_that_are_used_again(lake):
    tracks = lake.read("tracks").to_pylist()
    cars = [row for row in tracks if row["source_track_id"] == "lead"]
    twin = {**cars[0], "track_id": 9, "n_obs": 0}
    lake.append("tracks", [twin])
    assert ("warning", "id reuse", "tracks") in found(lake)
    lake.replace("tracks", [{**twin, "cls": "bus"}], where="track_id = 9")
    assert ("warning", "class flip", "tracks") in found(lake)
    assert ("warning", "id reuse", "tracks") not in found(lake)


# What rows refer to


def test_files_of_frames(lake, tmp_path):
    (tmp_path / "images.raw").write_bytes(bytes(99))
    (told,) = [f for f in lake.verify() if f.table == "frames"]
    assert (told.severity, told.check) == ("error", "file size")
    assert "99 of 100 bytes" in told.detail
    (tmp_path / "images.raw").unlink()
    (tmp_path / "drive.mkv").unlink()
    (told,) = [f for f in lake.verify(deep=True) if f.table == "frames"]
    assert (told.severity, told.check, told.count) == ("warning", "files", 2)


def test_stamps_of_videos(lake, tmp_path):
    write_video(tmp_path / "drive.mkv", pts=UNEVEN[:-2], time_base=Fraction(1, 1000))
    (told,) = [f for f in lake.verify() if f.table == "frames"]
    assert (told.severity, told.check, told.count) == ("error", "video stamps", 2)
    assert f"pts {UNEVEN[-2]}" in told.detail
    (tmp_path / "drive.mkv").write_bytes(b"no video")
    assert ("error", "video stamps", "frames") in found(lake)


def test_copied_bytes_are_what_was_copied(lake):
    data = Path(lake.uri) / "blobs.lance" / "data"
    (pack,) = data.rglob("*.blob")
    content = bytearray(pack.read_bytes())
    content[5000] ^= 1
    pack.write_bytes(bytes(content))
    for deep in (False, True):
        (told,) = Lake.open(lake.uri).verify(deep=deep)
        assert (told.severity, told.check, told.count) == ("error", "checksum", 1)
    pack.write_bytes(bytes(content[:1000]))
    assert ("error", "checksum", "blobs") in found(Lake.open(lake.uri))


def test_snapshots_can_be_read(lake):
    lake.snapshot("first")
    assert lake.verify() == []
    lake.store.dataset("ego").tags.delete("first")
    (told,) = lake.verify()
    assert (told.severity, told.check, told.table) == ("warning", "snapshot", "ego")
    lake.append("ego", [])
    lake.replace("ego", lake.read("ego"), where="true")
    lake.store.dataset("ego").cleanup_old_versions(
        retain_versions=1, error_if_tagged_old_versions=False
    )
    assert ("error", "snapshot", "") in found(Lake.open(lake.uri))


def test_a_deep_look_takes_in_every_scene(lake, monkeypatch):
    monkeypatch.setattr("lake.verify.DENSE_ROWS", 64)
    row = lake.read("dense").to_pylist()[0]
    lake.append("dense", [{**row, "scene_id": k} for k in range(1, 200)])
    broken(lake, "dense", "tracks", b"nonsense", 101)
    unpacked = [
        [f.count for f in lake.verify(deep=deep) if f.check == "dense"] for deep in (False, True)
    ]
    assert unpacked == [[], [1]]

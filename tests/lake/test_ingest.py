import errno
import gzip
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from formats.waymo_motion import write_logs
from lake import Lake
from lake.ingest import check_paths, fingerprint
from lake.localise import localise
from schemas.errors import BadInput, BadRecord, DuplicateLog, UnknownName, UnreadableFile
from schemas.tables import TABLES
from tests.builders import ego, make_crossing_log, make_straight_log
from tests.formats.mcap_files import write_drive


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def make_file(folder: Path, name: str, *names: str, start: float = 0.0) -> Path:
    """A TFRecord file of scenarios of these names; the ego starts at ``start`` metres."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.tfrecord"
    moved = ego(steps=21, start=(start, 0), velocity=(10, 0))
    write_logs([replace(make_straight_log(n, steps=21), ego=moved) for n in names], path)
    return path


def damage(path: Path, record: int) -> bytes:
    """Flip a bit in the data of one record; returns what the file was."""
    whole = path.read_bytes()
    at = 0
    for _ in range(record):
        at += 16 + struct.unpack("<Q", whole[at : at + 8])[0]
    wrong = bytearray(whole)
    wrong[at + 12 + 40] ^= 1
    path.write_bytes(wrong)
    return whole


def logs(lake) -> list[str]:
    return sorted(lake.read("logs", ["source_log_id"])["source_log_id"].to_pylist())


def kinds(lake) -> dict[str, int]:
    rows = lake.sql("SELECT kind, count(*)::INT AS n FROM ledger GROUP BY 1").to_pylist()
    return {row["kind"]: row["n"] for row in rows}


def test_logs_come_in_and_a_second_time_changes_nothing(lake, tmp_path):
    make_file(tmp_path / "in", "two", "a", "b")
    make_file(tmp_path / "in", "one", "c")
    (tmp_path / "in" / "notes.txt").write_text("not a log")
    report = lake.ingest([tmp_path / "in"])
    assert (report.logs, report.scenes, report.unchanged, report.rejected) == (3, 3, 0, [])
    assert logs(lake) == ["a", "b", "c"]
    for name, gained in report.rows.items():
        assert lake.read(name).num_rows == gained, name
    versions = lake.versions()
    again = lake.ingest([tmp_path / "in"])
    assert (again.logs, again.scenes, again.unchanged, again.rejected) == (0, 0, 3, [])
    assert not any(again.rows.values())
    assert lake.versions() == versions
    assert lake.verify() == []


def test_the_ledger_tells_where_each_log_came_from(lake, tmp_path):
    path = make_file(tmp_path / "in", "two", "a", "b")
    lake.ingest([path])
    rows = lake.read("ledger", where="kind = 'ingested'").to_pylist()
    assert {row["source_sha256"] for row in rows} == {fingerprint(path, [path])}
    assert {row["uri"] for row in rows} == {str(path)}
    assert {row["format"] for row in rows} == {"waymo_motion"}
    assert sorted((row["record"], row["log_id"] is None, row["count"]) for row in rows) == [
        ("", True, 2), ("record 0", False, 1), ("record 1", False, 1),
    ]  # fmt: skip
    assert lake.read("logs")["converter"].to_pylist()[0].startswith("waymo_motion ")
    assert lake.read("runs")["outcome"].to_pylist() == ["done"]


def test_source_coordinates_come_back_to_the_millimetre(lake, tmp_path):
    log = make_crossing_log("x", steps=21)
    (tmp_path / "in").mkdir()
    write_logs([log], tmp_path / "in" / "x.tfrecord")
    lake.ingest([tmp_path / "in"])
    found = lake.sql(
        "SELECT x + origin_x AS x, y + origin_y AS y, z + origin_z AS z "
        "FROM ego JOIN logs USING (log_id) ORDER BY t_ns"
    )
    xyz = np.column_stack([found[name].to_numpy() for name in "xyz"])
    assert np.abs(xyz - log.ego.xyz).max() < 1e-3


def test_a_bad_record_stops_after_what_was_good(lake, tmp_path):
    path = make_file(tmp_path / "in", "f", "a", "b", "c")
    damage(path, 1)
    with pytest.raises(BadRecord) as caught:
        lake.ingest([path])
    assert (caught.value.record, caught.value.path) == ("record 1", str(path))
    assert logs(lake) == ["a"]
    assert kinds(lake)["rejected"] == 1
    assert lake.read("runs")["outcome"].to_pylist()[0].startswith("BadRecord")


def test_a_bad_record_is_skipped_told_and_tried_again(lake, tmp_path):
    path = make_file(tmp_path / "in", "f", "a", "b", "c")
    whole = damage(path, 1)
    report = lake.ingest([path], on_error="skip")
    assert (report.logs, len(report.rejected)) == (2, 1)
    assert (report.rejected[0].path, report.rejected[0].record) == (str(path), "record 1")
    assert "checksum" in report.rejected[0].reason
    assert logs(lake) == ["a", "c"]
    versions = lake.versions()
    again = lake.ingest([path], on_error="skip")
    assert (again.logs, again.unchanged, len(again.rejected)) == (0, 2, 1)
    assert lake.versions() == versions  # told once
    path.write_bytes(whole)  # mended: other bytes, the good logs say the same
    mended = lake.ingest([path])
    assert (mended.logs, mended.unchanged, mended.rejected) == (1, 2, [])
    assert logs(lake) == ["a", "b", "c"]
    assert lake.ingest([path]).unchanged == 3
    assert lake.verify() == []


def test_what_was_refused_and_then_came_in_is_history(lake, tmp_path):
    def refused(table: str) -> list[str]:
        rows = lake.sql(f"SELECT uri FROM {table} WHERE kind = 'rejected'")["uri"].to_pylist()
        return [Path(uri).name for uri in rows]

    path, other = make_file(tmp_path / "in", "two", "a", "b"), tmp_path / "in" / "bad.tfrecord"
    other.write_bytes(path.read_bytes()[:500])
    whole = damage(path, 1)
    lake.ingest([path, other], on_error="skip")
    assert sorted(refused("ledger_open")) == ["bad.tfrecord", "two.tfrecord"]
    path.write_bytes(whole)
    lake.ingest([path, other], on_error="skip")
    assert sorted(refused("ledger")) == ["bad.tfrecord", "two.tfrecord"]
    assert refused("ledger_open") == ["bad.tfrecord"]
    # What was whole and is damaged now is refused still.
    damage(path, 0)
    lake.ingest([path], on_error="skip")
    assert sorted(refused("ledger_open")) == ["bad.tfrecord", "two.tfrecord"]
    others = "SELECT count(*)::INT AS n FROM {} WHERE kind <> 'rejected'"
    assert lake.sql(others.format("ledger")) == lake.sql(others.format("ledger_open"))


def test_paths_are_looked_at_before_a_lake_is_made(tmp_path):
    path = make_file(tmp_path / "in", "one", "a")
    (tmp_path / "notes.txt").write_text("not a log")
    check_paths([tmp_path / "nowhere", path])
    check_paths(["s3://bucket/logs"])
    for wrong, reason in (
        (tmp_path / "inn", "does not exist"),
        (tmp_path / "notes.txt", "any reader"),
    ):
        with pytest.raises(UnreadableFile, match=reason):
            check_paths([wrong])
    with pytest.raises(UnknownName):
        check_paths([path], format="waymo_emotion")


def test_another_log_of_the_same_name_is_refused(lake, tmp_path):
    first = make_file(tmp_path / "in", "first", "a", "b")
    lake.ingest([first])
    before = lake.read("ego")
    other = make_file(tmp_path / "in", "second", "a", "c", start=5.0)
    with pytest.raises(DuplicateLog, match="differs"):
        lake.ingest([other])
    report = lake.ingest([other], on_error="skip")
    assert (report.logs, len(report.rejected)) == (1, 1)
    assert (report.rejected[0].path, report.rejected[0].record) == (str(other), "record 0")
    assert logs(lake) == ["a", "b", "c"]
    assert lake.read("ego").num_rows == 63
    kept = lake.read("ego").slice(0, before.num_rows)
    assert kept.equals(before)


def test_two_logs_of_one_name_in_one_file(lake, tmp_path):
    path = tmp_path / "twice.tfrecord"
    a = make_straight_log("a", steps=21)
    b = replace(a, ego=ego(steps=21, start=(5, 0), velocity=(10, 0)))
    write_logs([a, a, b], path)
    report = lake.ingest([path], on_error="skip")
    assert (report.logs, report.unchanged) == (1, 1)
    assert [r.record for r in report.rejected] == ["record 2"]


def test_a_copy_elsewhere_is_known(lake, tmp_path):
    path = make_file(tmp_path / "in", "f", "a")
    make_file(tmp_path / "in", "g", "a")
    report = lake.ingest([tmp_path / "in"])
    assert (report.logs, report.unchanged) == (1, 1)
    moved = path.rename(tmp_path / "moved.tfrecord")
    assert lake.ingest([moved]).unchanged == 1


def test_what_is_named_must_be_readable(lake, tmp_path):
    (tmp_path / "empty").mkdir()
    note = tmp_path / "notes.txt"
    note.write_text("hello")
    good = make_file(tmp_path / "in", "f", "a")
    with pytest.raises(UnreadableFile, match="does not exist"):
        lake.ingest([tmp_path / "nowhere"])
    with pytest.raises(UnreadableFile, match="nothing that any reader") as caught:
        lake.ingest([note])
    assert "`scenelake formats` lists what is read." in caught.value.hint
    with pytest.raises(UnreadableFile, match="holds nothing"):
        lake.ingest([tmp_path / "empty"])
    with pytest.raises(UnreadableFile, match="commonroad reader"):
        lake.ingest([good], format="commonroad")
    with pytest.raises(UnknownName, match="waymo_motion"):
        lake.ingest([good], format="waymo_motino")
    report = lake.ingest([note, good, tmp_path / "nowhere"], on_error="skip")
    assert [Path(r.path).name for r in report.rejected] == ["notes.txt", "nowhere"]
    assert logs(lake) == ["a"]


def test_what_keeps_a_named_file_from_being_recognised_is_told(lake, tmp_path):
    empty, cut = tmp_path / "x.json", tmp_path / "x.xml.gz"
    empty.write_bytes(b"")
    cut.write_bytes(gzip.compress(b"<commonRoad/>")[:-4])
    report = lake.ingest([empty, cut], on_error="skip")
    assert [r.reason for r in report.rejected] == ["is empty", "ends too early"]


def test_only_where_there_is_a_rest_a_refusal_says_how_to_read_it(lake, tmp_path):
    def hint(*paths: Path) -> str:
        with pytest.raises(BadInput) as caught:
            lake.ingest(paths)
        return caught.value.hint

    empty, records = tmp_path / "x.json", make_file(tmp_path / "in", "f", "a", "b")
    empty.write_bytes(b"")
    damage(records, 0)
    assert "--on-error skip" not in hint(empty)
    assert "--on-error skip" in hint(empty, records)
    assert "--on-error skip" in hint(records), "the other record is the rest"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.osm", "<osm></osm>", "it could be lanelet2 (is plain OpenStreetMap data: it holds no"),
        ("x.json", '{"a": 1}', "it could be gpudrive (is not a GPUDrive scenario"),
        ("x.csv", "a,b\n1,2\n", "A table of your own needs a mapping"),
    ],
)
def test_a_file_of_a_known_name_is_told_what_it_lacks(lake, tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableFile, match="nothing that any reader") as caught:
        lake.ingest([tmp_path / name])
    assert told in caught.value.hint
    assert caught.value.hint.endswith("`scenelake formats` lists what is read.")


def test_a_log_that_breaks_the_code_is_refused_and_the_rest_comes_in(lake, tmp_path, monkeypatch):
    path = make_file(tmp_path / "in", "f", "a", "b", "c")

    def breaks(log):
        if log.source_log_id == "b":
            raise KeyError("left_neighbor")
        return localise(log)

    monkeypatch.setattr("lake.ingest.localise", breaks)
    (refused,) = lake.ingest([path], on_error="skip").rejected
    assert refused.record == "record 1"
    assert "KeyError: 'left_neighbor'; test_ingest.py:" in refused.reason
    assert logs(lake) == ["a", "c"]
    monkeypatch.undo()
    assert lake.ingest([path]).logs == 1
    assert logs(lake) == ["a", "b", "c"]
    assert lake.verify() == []


def test_workers_end_with_an_ingest_that_is_killed(lake, tmp_path):
    for n in range(6):
        make_file(tmp_path / "in", f"f{n}", *(f"{n}{k}" for k in range(40)))
    code = (
        "import sys; from lake import Lake; Lake.open(sys.argv[1]).ingest([sys.argv[2]], jobs=2)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n {code}", lake.uri, tmp_path / "in"],
        env={**os.environ, "TMPDIR": str(tmp_path)}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scenelake-*/*.arrows")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.glob("scenelake-*/*.arrows"))
    process.kill()
    process.wait()
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _session(process.pid)
    assert not list(tmp_path.glob("scenelake-*"))
    lake.ingest([tmp_path / "in"])
    assert len(logs(lake)) == 240
    assert lake.verify() == []


def _session(leader: int) -> list[str]:
    """Processes of a session that still live."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-s", str(leader)], capture_output=True, text=True, check=False
    )
    return [state for state in found.stdout.split() if not state.startswith("Z")]


def test_truncated_and_empty_files(lake, tmp_path):
    path = make_file(tmp_path / "in", "f", "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    empty = tmp_path / "in" / "zero.tfrecord"
    empty.write_bytes(b"")
    report = lake.ingest([tmp_path / "in"], on_error="skip")
    assert logs(lake) == ["a"]
    assert sorted((Path(r.path).name, r.record) for r in report.rejected) == [
        ("f.tfrecord", "record 1"), ("zero.tfrecord", ""),
    ]  # fmt: skip


def test_a_file_that_may_not_be_read_is_told(lake, tmp_path, monkeypatch):
    path = make_file(tmp_path / "in", "f", "a")
    good = make_file(tmp_path / "in", "g", "b")
    opened = Path.open

    def denied(self, *args, **kwargs):
        if self == path and sys._getframe(1).f_code.co_name == "fingerprint":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    report = lake.ingest([path, good], on_error="skip")
    assert [(r.path, r.reason) for r in report.rejected] == [
        (str(path), "cannot be read (Permission denied)")
    ]
    assert logs(lake) == ["b"]


def test_processes_bring_in_the_same_rows(lake, tmp_path):
    for n in range(5):
        make_file(tmp_path / "in", f"f{n}", f"a{n}", f"b{n}")
    damage(tmp_path / "in" / "f2.tfrecord", 1)
    other = Lake.create(tmp_path / "other")
    told = []
    one = lake.ingest([tmp_path / "in"], on_error="skip")
    two = other.ingest(
        [tmp_path / "in"], on_error="skip", jobs=2, progress=lambda *step: told.append(step)
    )
    assert (one.logs, one.rows, one.rejected) == (two.logs, two.rows, two.rejected)
    assert [step[:2] for step in told] == [(n, 5) for n in range(1, 6)]
    for name in set(TABLES) - {"runs"}:
        mine, theirs = lake.read(name), other.read(name)
        if "run_id" in mine.schema.names:
            mine, theirs = mine.drop_columns("run_id"), theirs.drop_columns("run_id")
        assert mine.equals(theirs), name
    assert other.ingest([tmp_path / "in"], on_error="skip", jobs=2).unchanged == 9


def test_batches_are_whole(lake, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.ingest.BATCH_LOGS", 2)
    make_file(tmp_path / "in", "f", *"abcde")
    commits = []
    append = lake.store.append

    def stops(name, rows):
        if name == "logs":
            commits.append(rows.num_rows)
            if len(commits) >= 2:  # Ctrl-C again while what was read is saved
                raise KeyboardInterrupt
        append(name, rows)

    monkeypatch.setattr(lake.store, "append", stops)
    with pytest.raises(KeyboardInterrupt) as stopped:
        lake.ingest([tmp_path / "in"])
    assert stopped.value.__notes__ == [
        "2 logs were committed by this ingest. 2 logs were read, but not committed yet."
    ]
    monkeypatch.undo()
    assert logs(lake) == ["a", "b"]
    assert lake.verify() == []
    assert lake.read("runs")["outcome"].to_pylist() == ["interrupted"]
    report = lake.ingest([tmp_path / "in"])
    assert (report.logs, report.unchanged) == (3, 2)
    assert logs(lake) == list("abcde")
    assert lake.verify() == []
    assert len(set(lake.read("logs")["map_id"].to_pylist())) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_commits_what_has_been_read(lake, tmp_path, jobs):
    for name in "abcd":
        make_file(tmp_path / "in", name, name)

    def stop(done, total, source):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        lake.ingest([tmp_path / "in"], jobs=jobs, progress=stop)
    assert stopped.value.__notes__ == ["3 logs were committed by this ingest."]
    assert logs(lake) == list("abc")
    assert lake.verify() == []
    report = lake.ingest([tmp_path / "in"], jobs=jobs)
    assert (report.logs, report.unchanged) == (1, 3)


def test_a_batch_waits_no_longer_than_it_should(lake, tmp_path, monkeypatch):
    make_file(tmp_path / "in", "f", *"abcd")
    clock = iter(range(0, 1000, 25))  # [s], a log takes 25
    commits = []
    append = lake.store.append
    monkeypatch.setattr("lake.ingest.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(
        lake.store, "append",
        lambda name, rows: (commits.append(rows.num_rows) if name == "logs" else None,
                            append(name, rows)),
    )  # fmt: skip
    lake.ingest([tmp_path / "in"])
    assert len(commits) > 1
    assert sum(commits) == 4


def test_recordings_of_a_fleet_that_are_called_alike_are_told_apart_by_their_folders(
    lake, tmp_path
):
    for number, car in enumerate(("car7", "car8")):
        make_file(tmp_path / "in", car, "x")  # makes the folder
        (tmp_path / "in" / car / "monday").mkdir(parents=True)
        make_file(tmp_path / "in" / car / "monday", "drive", "monday/drive", start=10 * number)
        (tmp_path / "in" / f"{car}.tfrecord").unlink()
    with pytest.raises(DuplicateLog, match="differs") as caught:
        Lake.create(tmp_path / "other").ingest([tmp_path / "in"])
    assert "--prefix {folder}/" in caught.value.hint
    report = lake.ingest([tmp_path / "in"], prefix="{folder}/")
    assert report.logs == 2
    assert logs(lake) == ["car7/monday/monday/drive", "car8/monday/monday/drive"]
    assert lake.ingest([tmp_path / "in"], prefix="{folder}/").unchanged == 2
    assert lake.verify() == []


def test_the_prefix_of_what_lies_in_no_folder_is_empty(lake, tmp_path):
    path = make_file(tmp_path / "in", "f", "x")
    lake.ingest([path], prefix="{folder}/")
    assert logs(lake) == ["x"]
    other = Lake.create(tmp_path / "other")
    other.ingest([path], prefix="car7/")
    assert logs(other) == ["car7/x"]


SLOW = """
import sys, time
import lake.ingest
from lake import Lake
from pathlib import Path
lake.ingest.BATCH_LOGS = 2
target = Lake.open(sys.argv[1])
append = target.store.append
def slow(name, rows):
    append(name, rows)
    print(name, flush=True)
    time.sleep(0.02)
target.store.append = slow
target.ingest([Path(sys.argv[2])])
"""


@pytest.mark.parametrize("after", [3, 20])
def test_a_killed_ingest_is_completed_by_the_next(lake, tmp_path, after):
    make_file(tmp_path / "in", "f", *"abcdef")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, lake.uri, str(tmp_path / "in")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(after):
        assert process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # 13 tables a batch: the first kill falls into the first batch, the second into the second.
    assert logs(lake) == ([] if after < 13 else ["a", "b"])
    report = lake.ingest([tmp_path / "in"])
    assert report.logs + report.unchanged == 6
    assert logs(lake) == list("abcdef")
    assert lake.verify() == []
    outcomes = lake.read("runs")["outcome"].to_pylist()
    assert sorted(outcomes) == (["done"] if after < 13 else ["cut short", "done"])
    assert lake.ingest([tmp_path / "in"]).rows == {}


def test_two_processes_may_ingest_at_once(lake, tmp_path):
    make_file(tmp_path / "in", "f", *"abcd")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, lake.uri, str(tmp_path / "in")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert [process.wait() for process in processes] == [0, 0]
    assert logs(lake) == list("abcd")
    assert lake.verify() == []
    assert set(lake.read("runs")["outcome"].to_pylist()) == {"done"}


def test_a_full_disk_keeps_whole_batches(lake, tmp_path, monkeypatch):
    import lance

    from schemas.errors import StorageFull

    monkeypatch.setattr("lake.ingest.BATCH_LOGS", 1)
    make_file(tmp_path / "in", "f", "a", "b")
    written, count = lance.write_dataset, 0

    def full(data, path, **options):
        nonlocal count
        count += getattr(path, "uri", path).endswith("dense.lance")
        if count > 1:
            raise OSError("LanceError(IO): No space left on device (os error 28), x.rs:1")
        return written(data, path, **options)

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageFull):
        lake.ingest([tmp_path / "in"])
    monkeypatch.undo()
    assert logs(lake) == ["a"]
    assert lake.ingest([tmp_path / "in"]).logs == 1
    assert [f for f in lake.verify() if f.severity == "error"] == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_folder_of_temporary_files_is_told_as_that(lake, tmp_path, monkeypatch, jobs):
    """Its files cannot be written: ``/dev/full`` takes nothing, and says so as a disk does."""
    from schemas.errors import StorageFull

    path = make_file(tmp_path / "in", "f", "a")

    @contextmanager
    def full(**_):
        yield str(tmp_path / "full")

    (tmp_path / "full").mkdir()
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/crowded")
    if jobs == 1:  # what a reader writes aside

        def read(_):
            with Path("/dev/full").open("wb", buffering=0) as file:
                file.write(b"x")

        monkeypatch.setattr("formats.waymo_motion.read", read)
    else:  # where processes put what they read
        monkeypatch.setattr("lake.ingest._spool_source", _spool_into_full)
    with pytest.raises(StorageFull, match="temporary files, /crowded, is full") as caught:
        lake.ingest([path], jobs=jobs, on_error="skip")
    assert "TMPDIR" in caught.value.hint
    monkeypatch.undo()
    assert lake.read("ledger").num_rows == 0, "the source is not to blame"
    assert lake.ingest([path]).logs == 1


def _spool_into_full(source, folder):
    from lake.parts import write_tables

    write_tables(Path("/dev/full"), {"logs": TABLES["logs"].schema.empty_table()})


@pytest.mark.parametrize(
    ("free", "told"),
    [((0, 2**30), "temporary files"), ((0, 0), "no space left"), ((2**30, 0), "no space left")],
)
def test_which_disk_is_full_is_told(lake, monkeypatch, free, told):
    from schemas.errors import StorageFull

    place = lake.store.place
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/crowded")
    usage = {"/crowded": free[0], str(place.path): free[1]}
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: SimpleNamespace(free=usage[str(folder)])
    )
    with pytest.raises(StorageFull, match=told), place.storing():
        raise RuntimeError("LanceError(IO): No space left on device (os error 28)")
    with pytest.raises(StorageFull, match="permission denied"), place.storing():
        raise OSError(errno.EACCES, "Permission denied")


def test_fingerprints_know_content_and_in_folders_names(tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, content in ((one, b"x"), (same, b"x"), (other, b"y")):
        path.write_bytes(content)
    assert fingerprint(one, [one]) == fingerprint(same, [same]) != fingerprint(other, [other])
    assert fingerprint(tmp_path, [one, other]) != fingerprint(tmp_path, [same, other])


def test_real_logs_come_in(lake):
    if "SCENELAKE_REAL_DATA" not in os.environ:
        pytest.skip("SCENELAKE_REAL_DATA is not set")
    data = Path(os.environ["SCENELAKE_REAL_DATA"])
    paths = [data / "waymo_open_dataset/motion_data_one_scenario.tfrecord",
             data / "argoverse2/forecasting_scenarios"]  # fmt: skip
    began = time.monotonic()
    report = lake.ingest(paths)
    assert (report.logs, report.scenes) == (2, 2)
    assert time.monotonic() - began < 60
    assert [f for f in lake.verify() if f.severity == "error"] == []
    assert lake.ingest(paths).unchanged == 2


def test_files_that_no_reader_takes_are_told_by_their_kind(lake, tmp_path):
    make_file(tmp_path / "in", "f", "a")
    for name in ("x.parquet", "y.parquet", "z.db", "README.md", "photo.jpg"):
        (tmp_path / "in" / name).write_bytes(b"nothing that anyone knows")
    report = lake.ingest([tmp_path / "in"])
    assert (report.logs, report.unread, report.rejected) == (1, 3, [])
    told = lake.sql("SELECT reason, count::INT AS n FROM ledger WHERE kind = 'dropped' ORDER BY 1")
    assert [row["n"] for row in told.to_pylist() if "no reader" in row["reason"]] == [1, 2]
    before = lake.versions()
    assert lake.ingest([tmp_path / "in"]).unchanged == 1
    assert lake.versions() == before


def test_a_recording_that_was_cut_off_and_comes_again_whole_is_told_as_that(tmp_path):
    """Under another path, and also where both come in one go."""
    whole = write_drive(tmp_path / "mended" / "monday" / "drive.mcap", steps=40, chunk_size=4000)
    cut = tmp_path / "first" / "monday" / "drive.mcap"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    lake = Lake.create(tmp_path / "lake")
    assert lake.ingest([cut], on_error="skip").logs == 1
    with pytest.raises(DuplicateLog, match=str(cut)) as told:
        lake.ingest([whole])
    assert f"Of {cut}, not all could be read (the file" in told.value.hint
    assert "--replace" in told.value.hint
    other = Lake.create(tmp_path / "other")
    (_, *refused) = [r.reason for r in other.ingest([cut, whole], on_error="skip").rejected]
    assert any("differs" in reason for reason in refused)
    report = lake.ingest([whole], replace=True)
    assert (report.logs, report.rejected) == (1, [])
    assert lake.ingest([whole]).unchanged == 1


def test_a_mapping_that_was_mended_no_longer_stands_refused(lake, tmp_path):
    """What was wrong with it was told of the table that it names."""
    rows = "".join(f"a,{k / 10},{k},0\n" for k in range(20))
    (tmp_path / "rows.csv").write_text("id,t,x,y\n" + rows)
    mapping = tmp_path / "mine.scenelake.toml"
    text = 'data = ["rows.csv"]\n[columns]\ntrack = "id"\ntime = "t"\nx = "x"\ny = "north"\n'
    mapping.write_text(text)
    (refused,) = lake.ingest([mapping], on_error="skip").rejected
    assert (refused.path, refused.reason) == (
        str(tmp_path / "rows.csv"),
        "lacks the columns north",
    )
    open_ = "SELECT uri, reason FROM {} WHERE kind = 'rejected'"
    (row,) = lake.sql(open_.format("ledger_open")).to_pylist()
    assert row == {"uri": str(mapping), "reason": "rows.csv: lacks the columns north"}
    mapping.write_text(text.replace("north", "y"))
    assert lake.ingest([mapping]).logs == 1
    assert lake.sql(open_.format("ledger_open")).num_rows == 0
    assert lake.sql(open_.format("ledger")).num_rows == 1

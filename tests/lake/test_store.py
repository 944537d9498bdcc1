import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from lake import Lake
from lake.store import conform
from schemas.errors import LakeError, NoLake, StorageFull
from schemas.records import Frame, Sensor
from schemas.tables import SCHEMA_VERSION, TABLES
from tests.builders import make_crossing_log, make_straight_log


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def gap(name: str) -> dict[str, object]:
    return {"gap_id": name, "tag": "t", "road_type": "r", "weather": "w", "daylight": "d",
            "count": 1, "generated": 0, "wanted": 2, "run_id": 1}  # fmt: skip


def suite(name: str) -> dict[str, object]:
    return {
        "suite": name, "selection": "", "n_cases": 0, "tables": "{}", "seed": 0, "run_id": 1,
    }  # fmt: skip


def gaps(lake: Lake) -> list[str]:
    return sorted(lake.read("gaps", ["gap_id"])["gap_id"].to_pylist())


def give_up(lake: Lake) -> None:
    """A batch that ends in an error."""

    def begin() -> None:
        with lake.store.writing():
            lake.append("gaps", [gap("b")])
            lake.append("suites", [suite("s")])
            raise KeyError

    with pytest.raises(KeyError):
        begin()


def about(lake: Lake) -> dict[str, object]:
    return json.loads((Path(lake.uri) / "lake.json").read_text())


# One moment for all readers

BATCHES = """
import json, sys, time
from lake import Lake
from lake.store import conform
lake = Lake.open(sys.argv[1])
gap, suite = json.loads(sys.argv[2]), json.loads(sys.argv[3])
for k in range(40):
    with lake.store.writing():
        lake.store.append("gaps", conform("gaps", [gap | {"gap_id": f"g{k}"}]))
        lake.store.append("suites", conform("suites", [suite | {"suite": f"s{k}"}]))
        if k % 5 == 4:  # rows that come and go within a batch are never seen
            lake.store.append("gaps", conform("gaps", [gap | {"gap_id": "x"}]))
            lake.store.delete("gaps", "gap_id = 'x'")
    if k % 10 == 9:
        lake.compact()
"""


def test_batches_of_another_process_are_seen_whole(lake):
    writer = subprocess.Popen(
        [sys.executable, "-c", BATCHES, lake.uri, json.dumps(gap("g")), json.dumps(suite("s"))]
    )
    seen = set()
    while writer.poll() is None or 40 not in seen:
        tables = lake.store.datasets()
        counts = {name: data.count_rows() for name, data in tables.items()}
        assert counts.get("gaps", 0) == counts.get("suites", 0)
        answer = lake.sql("SELECT (FROM gaps SELECT count(*)), (FROM suites SELECT count(*))")
        one, other = answer.to_pylist()[0].values()
        assert one == other
        seen |= {one, counts.get("gaps", 0)}
    assert writer.wait() == 0
    assert len(seen) > 5
    assert len(lake.store.dataset("gaps").versions()) > 40


def test_a_writer_sees_what_it_wrote_and_nobody_else_does(lake):
    seen = []
    with lake.store.writing():
        lake.append("gaps", [gap("a")])
        assert gaps(lake) == ["a"]
        other = threading.Thread(target=lambda: seen.append(gaps(lake)))
        other.start()
        other.join()
        assert gaps(Lake.open(lake.uri)) == []
    assert seen == [[]]
    assert gaps(Lake.open(lake.uri)) == ["a"]


def test_one_batch_is_one_commit(lake):
    with lake.store.writing():
        lake.append("gaps", [gap("a")])
        lake.append("suites", [suite("s")])
        lake.append("gaps", [gap("b")])
    assert about(lake)["commit"] == 1
    with lake.store.writing():
        pass
    assert about(lake)["commit"] == 1


def test_an_inner_block_that_fails_takes_back_only_its_own(lake):
    with lake.store.writing():
        lake.append("gaps", [gap("a")])
        give_up(lake)
        assert gaps(lake) == ["a"]
        lake.append("gaps", [gap("c")])
    assert gaps(lake) == ["a", "c"]
    assert lake.read("suites").num_rows == 0
    lake.append("suites", [suite("t")])
    assert lake.read("suites")["suite"].to_pylist() == ["t"]


def test_an_inner_block_that_fails_after_joining_files(lake, monkeypatch):
    monkeypatch.setattr("lake.compact.MERGE_FILES", 4)
    for name in "abc":
        lake.append("gaps", [gap(name)])
    with lake.store.writing():
        lake.append("suites", [suite("s")])
        give_up(lake)
        assert gaps(lake) == ["a", "b", "c"]
    assert gaps(lake) == ["a", "b", "c"]
    lake.append("gaps", [gap("d")])
    assert gaps(lake) == ["a", "b", "c", "d"]
    assert lake.read("suites")["suite"].to_pylist() == ["s"]


def test_threads_read_while_others_write(lake):
    with ThreadPoolExecutor(3) as pool:
        for _ in range(4):
            done = [pool.submit(lake.append, "gaps", [gap("x")])]
            done += [pool.submit(lake.sql, "FROM gaps") for _ in range(6)]
            for each in done:
                each.result()
    assert lake.read("gaps").num_rows == 4


def test_what_a_writer_gave_up_is_not_there_and_not_in_the_way(lake):
    lake.append("gaps", [gap("a")])
    for _ in range(2):
        give_up(lake)
    assert gaps(lake) == ["a"]
    assert lake.read("suites").num_rows == 0
    lake.replace("gaps", [gap("c")], where="gap_id = 'b'")
    lake.append("suites", [suite("t")])
    assert gaps(lake) == ["a", "c"]
    assert lake.read("suites")["suite"].to_pylist() == ["t"]


@pytest.mark.parametrize("table", ["gaps", "suites"])
def test_a_writer_that_lost_its_lock_changes_nothing(lake, monkeypatch, table):
    """A lock that fails, as a lease may: the second writer wins, the first is told."""
    lake.append("gaps", [gap("a")])
    sleeper, other = Lake.open(lake.uri), Lake.open(lake.uri)
    for each in (sleeper, other):
        monkeypatch.setattr(each.store.place, "lock", nullcontext)

    def sleep() -> None:
        with sleeper.store.writing():
            sleeper.append("gaps", [gap("late")])
            rows = {"gaps": gap("b"), "suites": suite("s")}
            other.append(table, [rows[table]])
            sleeper.append("gaps", [gap("later")])

    with pytest.raises(LakeError, match="another process"):
        sleep()
    assert gaps(lake) == (["a", "b"] if table == "gaps" else ["a"])
    assert lake.read("suites").num_rows == (table == "suites")
    lake.append("gaps", [gap("c")])
    assert gaps(lake) == (["a", "b", "c"] if table == "gaps" else ["a", "c"])


def test_rows_that_slip_in_between_two_steps_are_noticed(lake, monkeypatch):
    lake.append("gaps", [gap("a")])
    foreign = conform("gaps", [gap("foreign")])

    def write() -> None:
        with lake.store.writing():
            lake.append("gaps", [gap("b")])
            lance.write_dataset(foreign, str(Path(lake.uri) / "gaps.lance"), mode="append")
            lake.append("gaps", [gap("c")])

    with pytest.raises(LakeError, match="another process"):
        write()
    assert gaps(lake) == ["a"]


def test_a_reader_that_comes_too_late_looks_again(lake, monkeypatch):
    lake.append("gaps", [gap("a")])
    reader = Lake.open(lake.uri)
    opened = reader.store._open

    def slow(name, version):
        monkeypatch.undo()
        lake.append("gaps", [gap("b")])
        lake.compact(keep_s=0)
        return opened(name, version)

    monkeypatch.setattr(reader.store, "_open", slow)
    assert gaps(reader) == ["a", "b"]


def test_a_lake_that_vanishes_is_told(lake):
    lake.append("gaps", [gap("a")])
    (Path(lake.uri) / "lake.json").unlink()
    with pytest.raises(NoLake, match="is gone"):
        gaps(lake)


def test_a_lost_table_is_told(lake):
    lake.append("gaps", [gap("a")])
    (Path(lake.uri) / "gaps.lance").rename(Path(lake.uri) / "elsewhere")
    with pytest.raises(LakeError, match="cannot be opened"):
        gaps(Lake.open(lake.uri))


def test_many_commits_leave_few_files(lake, monkeypatch):
    monkeypatch.setattr("lake.compact.MERGE_FILES", 8)
    for k in range(30):
        lake.append("gaps", [gap(f"g{k:02}")])
    data = lake.store.dataset("gaps")
    assert len(data.get_fragments()) < 9
    assert lake.read("gaps", ["gap_id"])["gap_id"].to_pylist() == [f"g{k:02}" for k in range(30)]


def test_replaced_versions_go_with_time(lake, monkeypatch):
    monkeypatch.setattr("lake.compact.MERGE_FILES", 8)
    monkeypatch.setattr("lake.store.KEEP_S", -10.0)
    for k in range(30):
        lake.append("gaps", [gap(f"g{k}")])
    assert len(lake.store.dataset("gaps").versions()) < 20
    assert lake.read("gaps").num_rows == 30


def test_a_lake_goes_to_another_process_by_its_address(lake):
    lake.append("gaps", [gap("a")])
    now = lake.at()
    lake.append("gaps", [gap("b")])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(gaps, lake).result() == ["a", "b"]
        assert pool.submit(gaps, now).result() == ["a"]


# Lakes of an older Scenelake

NEW_IN_2 = ("t_end_ns", "container", "frame_index", "pts", "keyframe", "ego_x", "ego_y", "ego_z",
            "ego_qw", "ego_qx", "ego_qy", "ego_qz", "blob_id")  # fmt: skip


@pytest.fixture
def old(tmp_path):
    """A lake as Scenelake 0.1 wrote it: no versions in lake.json, fewer columns, fewer tables."""
    lake, image = Lake.create(tmp_path / "new"), tmp_path / "a.jpg"
    image.write_bytes(b"jpeg")
    log = replace(
        make_straight_log(),
        sensors=[Sensor(channel="front", kind="camera")],
        frames=[Frame(channel="front", t_ns=5, uri=str(image), codec="jpeg", pts=9)],
    )
    with lake.run("ingest") as run:
        lake.add_logs([log], run_id=run.id)
    home = tmp_path / "old"
    home.mkdir()
    for name in lake.versions():
        rows = lake.read(name)
        kept = [c for c in rows.column_names if name != "frames" or c not in NEW_IN_2]
        lance.write_dataset(rows.select(kept), str(home / f"{name}.lance"))
    told = {"schema_version": 1, "created_unix_ns": 5, "scenelake": "0.1.0"}
    (home / "lake.json").write_text(json.dumps(told))
    return home


def test_an_old_lake_is_read_as_it_is(old):
    before = (old / "lake.json").read_bytes()
    lake = Lake.open(old)
    row = lake.read("frames").to_pylist()[0]
    assert (row["t_ns"], row["codec"], row["pts"], row["ego_qw"]) == (5, "jpeg", None, None)
    assert lake.read("frames", ["pts", "t_ns"]).to_pylist() == [{"pts": None, "t_ns": 5}]
    assert lake.read("frames", ["pts"], "t_ns = 5").to_pylist() == [{"pts": None}]
    assert lake.read("frames", ["pts"], "t_ns = 6").num_rows == 0
    assert lake.sql("FROM frames").to_pylist() == [row]
    assert lake.sql("FROM frames WHERE pts IS NULL").num_rows == 1
    assert lake.read("readings").num_rows == 0
    assert len(list(lake.scenes())) == 1
    assert lake.verify() == []
    assert (old / "lake.json").read_bytes() == before


def test_an_old_lake_gains_what_it_lacks_with_the_next_write(old):
    lake = Lake.open(old)
    before = {name: lake.read(name) for name in TABLES}
    with lake.run("ingest") as run:
        lake.add_logs([make_crossing_log()], run_id=run.id)
    assert about(lake)["schema_version"] == SCHEMA_VERSION
    assert about(lake)["created_unix_ns"] == 5
    names = lake.store.dataset("frames").schema.names
    assert sorted(names) == sorted(TABLES["frames"].schema.names)
    for name in set(TABLES) - {"runs"}:
        assert lake.read(name).slice(0, before[name].num_rows).equals(before[name]), name
    assert lake.read("logs").num_rows == 2
    assert lake.verify() == []
    row = before["frames"].to_pylist()[0]
    lake.append("frames", [{**row, "t_ns": 6, "pts": 7}])
    assert lake.read("frames", ["pts"], "pts = 7").num_rows == 1


def test_what_the_journal_of_an_old_lake_says_counts(old):
    """Its writer was killed: two tables had been written, one of them for the first time."""
    first = Lake.open(old)
    logs = first.read("logs")
    lance.write_dataset(logs, str(old / "logs.lance"), mode="append")
    lance.write_dataset(conform("gaps", [gap("x")]), str(old / "gaps.lance"))
    (old / "journal.json").write_text(json.dumps({"logs": 1, "gaps": 0}))
    lake = Lake.open(old)
    assert lake.read("logs").equals(logs)
    assert gaps(lake) == []
    lake.append("gaps", [gap("a")])
    assert gaps(lake) == ["a"]
    assert lake.read("logs").equals(logs)
    assert not (old / "journal.json").exists()
    assert [f for f in lake.verify() if f.check != "run"] == []


# Disks


LIMITED = """
import resource, signal, sys
from lake import Lake
from schemas.errors import StorageFull
from tests.builders import make_crossing_log, make_straight_log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lake = Lake.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    lake.add_logs([make_crossing_log(), make_straight_log("new", steps=150)], run_id=1)
except StorageFull as error:
    print(error.message)
"""


@pytest.mark.parametrize("limit", [1, 900])
def test_a_disk_that_takes_no_more(lake, limit):
    """The system refuses to let any file grow beyond a size, wherever that happens."""
    with lake.run("ingest") as run:
        lake.add_logs([make_straight_log()], run_id=run.id)
    before = {name: lake.read(name) for name in TABLES}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, lake.uri, str(limit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "cannot be written: file too large" in done.stdout, done.stderr
    for name in TABLES:
        assert lake.read(name).equals(before[name]), name
    assert lake.verify() == []
    with lake.run("ingest") as run:
        lake.add_logs([make_crossing_log(), make_straight_log("new", steps=150)], run_id=run.id)
    assert lake.read("logs").num_rows == 3
    assert lake.verify() == []


FULL = """
import subprocess, sys
from lake import Lake
from schemas.errors import StorageFull
from tests.builders import make_straight_log
disk = sys.argv[1]
lake = Lake.create(disk + "/lake")
kept = 0
try:
    for k in range(400):
        lake.add_logs([make_straight_log(f"s{k}")], run_id=1)
        kept += 1
except StorageFull as error:
    assert "no space left on device" in error.message, error.message
assert 0 < kept < 400
again = Lake.open(lake.uri)
assert again.read("logs").num_rows == again.read("dense").num_rows
assert again.read("logs").num_rows - kept in (0, 1)  # 1: its rows found room, their index none
kept = again.read("logs").num_rows
assert {f.check for f in again.verify()} <= {"run"}
assert again.compact(keep_s=0).bytes_after < 700_000  # what is not needed makes room
for k in range(kept, kept + 2):
    again.add_logs([make_straight_log(f"s{k}")], run_id=1)
subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
again.add_logs([make_straight_log("more")], run_id=1)
assert again.read("logs").num_rows == kept + 3
assert {f.check for f in again.verify()} <= {"run"}
print("good")
"""


def test_a_disk_that_is_full(tmp_path):
    """A file system of 1.5 MB, in a world of its own."""
    (tmp_path / "disk").mkdir()
    mounted = f"mount -t tmpfs -o size=1500k tmpfs {tmp_path / 'disk'}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*alone, mounted], check=False).returncode
    ):
        pytest.skip("this system lets nobody mount")
    command = f'{mounted} && exec {sys.executable} -c "$0" {tmp_path / "disk"}'
    done = subprocess.run([*alone, command, FULL], capture_output=True, text=True, check=False)
    assert done.stdout == "good\n", done.stderr


def test_a_full_disk_is_told_by_its_name(lake, monkeypatch):
    def full(*_, **__):
        raise OSError("LanceError(IO): No space left on device (os error 28), x.rs:1")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageFull, match="no space left on device"):
        lake.append("gaps", [gap("a")])


def test_columns_may_come_in_any_order(lake):
    vector = np.zeros(64, dtype=np.float32).tolist()
    rows = pa.table({"model": ["m"], "run_id": [1], "scene_id": [4],
                     "vector": pa.array([vector], TABLES["embeddings"].schema.field("vector").type)})  # fmt: skip
    lake.append("embeddings", rows)
    lake.append("embeddings", rows.set_column(2, "scene_id", pa.array([5])))
    assert lake.read("embeddings")["scene_id"].to_pylist() == [4, 5]


def test_pieces_of_an_index_are_few(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    for number in range(20):
        with lake.store.writing():
            lake.store.append("tracks", conform("tracks", [track(number, k) for k in range(50)]))
            lake.store.index()
    data = lake.table("tracks")
    pieces = data.stats.index_stats("log_id_idx")["num_indexed_rows_per_delta"]
    assert sum(pieces) == 1000
    assert len(pieces) <= 5
    assert lake.read("tracks", ["track_id"], "log_id = 7").num_rows == 50
    assert lake.read("tracks", ["log_id"])["log_id"].to_pylist() == sorted([*range(20)] * 50)
    lake.compact(keep_s=0.0)
    data = lake.table("tracks")
    assert data.stats.index_stats("log_id_idx")["num_indexed_rows_per_delta"] == [1000]
    assert len(data.get_fragments()) == 1
    assert lake.read("tracks", ["log_id"])["log_id"].to_pylist() == sorted([*range(20)] * 50)


def track(log_id, track_id):
    return {
        "log_id": log_id, "track_id": track_id, "source_track_id": "", "cls": "vehicle",
        "source_cls": "", "is_ego": False, "t_first_ns": 0, "t_last_ns": 0, "n_obs": 1,
        "velocity_source": "none",
    }  # fmt: skip


def test_a_zone_map_of_an_older_scenelake_gives_way(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    lake.append("tracks", [track(1, 1)])
    with lake.store.writing(), lake.store.editing("tracks") as data:
        data.create_scalar_index("log_id", "ZONEMAP")
    with lake.store.writing():
        lake.store.index()
    kinds = [index.index_type for index in lake.table("tracks").describe_indices()]
    assert kinds == ["BTree"]
    assert lake.read("tracks", ["track_id"], "log_id = 1").num_rows == 1

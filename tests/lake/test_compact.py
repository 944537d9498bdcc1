import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lake import Lake
from lake.compact import bytes_of, merge
from schemas.errors import LakeError
from schemas.tables import TABLES
from tests.builders import make_crossing_log, make_straight_log

SUITE = {"suite": "s", "selection": "", "n_cases": 0, "tables": "{}", "seed": 0, "run_id": 1}


@pytest.fixture
def lake(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    with lake.run("ingest") as run:
        for k in range(4):
            lake.add_logs([make_straight_log(f"s{k}", steps=31)], run_id=run.id)
        lake.add_logs([make_crossing_log()], run_id=run.id)
        lake.put_blobs([b"a" * 100, b"b" * 100_000], run_id=run.id)
        lake.put_blobs([b"c" * 3_000_000], run_id=run.id)
    return lake


def rows(lake):
    return {name: lake.read(name) for name in TABLES}


def files(lake):
    return sorted(str(p.relative_to(lake.uri)) for p in Path(lake.uri).rglob("*") if p.is_file())


def test_rows_and_bytes_stay_and_files_become_few(lake):
    before, blob_ids = rows(lake), lake.read("blobs")["blob_id"].to_pylist()
    payloads = lake.blobs(blob_ids)
    report = lake.compact(keep_s=0)
    after = rows(lake)
    for name in TABLES:
        assert after[name].equals(before[name]), name
    assert lake.blobs(blob_ids) == payloads
    for name, data in lake.store.datasets().items():
        assert len(data.get_fragments()) == 1, name
        assert len(data.versions()) == 1, name
    there = files(lake)
    assert report.files_after == len(there) < report.files_before / 3
    size = sum((Path(lake.uri) / name).stat().st_size for name in there)
    assert report.bytes_after == size < report.bytes_before
    assert report.versions_removed > 50
    assert report.versions_kept == 0
    assert lake.verify() == []
    assert lake.compact(keep_s=0).versions_removed == 0


def test_indices_are_used_after_compacting(lake):
    lake.compact(keep_s=0)
    log_id = lake.read("logs")["log_id"].to_pylist()[0]
    plan = lake.store.dataset("agents").scanner(filter=f"log_id = {log_id}").explain_plan()
    assert "ScalarIndexQuery" in plan
    stats = lake.store.dataset("agents").stats.index_stats("log_id_idx")
    assert stats["num_unindexed_fragments"] == 0


def test_readers_that_opened_before_read_on(lake):
    now = lake.at()
    before = rows(now)
    lake.replace("agents", [], where="true")
    report = lake.compact()
    assert report.versions_kept > 10
    for name in TABLES:
        assert now.read(name).equals(before[name]), name


def test_a_long_commit_does_not_shorten_the_time_that_readers_have(lake, monkeypatch):
    """A version made an hour before its commit was replaced just now, not an hour ago."""
    reader = lake.at()
    lake.replace("agents", [], where="true")
    about = Path(lake.uri) / "lake.json"
    told = json.loads(about.read_text())
    about.write_text(json.dumps({**told, "longest_s": 7200.0}))
    later = time.time() + 3700
    monkeypatch.setattr("lake.compact.time.time", lambda: later)
    lake.compact()
    assert reader.read("agents").num_rows > 0
    later += 7200
    lake.compact()
    with pytest.raises(LakeError, match="compacted away"):
        Lake(lake.store.at(reader.versions())).read("agents")


def test_deleted_rows_are_gone_from_disk(lake):
    lake.replace("agents", [], where="track_id > 0")
    lake.compact(keep_s=0)
    assert lake.read("agents").num_rows == 0
    assert lake.store.place.sizes("agents.lance/data") == {}


def test_what_killed_writers_leave_is_cleared_away(lake):
    lake.compact(keep_s=0)
    before = files(lake)
    home = Path(lake.uri)

    def give_up():
        with lake.store.writing():
            lake.replace("agents", [], where="true")
            lake.append("suites", [SUITE])
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    (home / "agents.lance/data/0110.lance").write_bytes(b"half a file")
    (home / "readings.lance/data").mkdir(parents=True)
    (home / "readings.lance/data/0110.lance").write_bytes(b"half a file")
    (home / "agents.lance/_versions/18446744073709551517.manifest#1").write_bytes(b"half a file")
    (home / "agents.lance/_transactions/.tmpVNAt1p").write_bytes(b"half a file")
    (home / "lake.json.part").write_bytes(b"{")
    (home / "journal.json").write_text("{}")
    wanted = rows(lake)
    lake.compact(keep_s=0)
    for name in TABLES:
        assert lake.read(name).equals(wanted[name]), name
    there = files(lake)
    assert len(there) == len(before)
    assert not [
        name
        for name in there
        if any(left in name for left in ("readings", "suites", "part", "/0110.lance", "#", ".tmp"))
    ]


def test_runs_that_were_killed_are_told(lake):
    lake.put_blobs([b"new"], run_id=77)
    assert {f.check for f in lake.verify()} == {"run"}
    lake.compact()
    (told,) = lake.read("runs", None, "run_id = 77").to_pylist()
    assert told["outcome"] == "cut short"
    assert lake.verify() == []


def test_others_write_meanwhile(lake):

    def write():
        for k in range(8):
            lake.add_logs([make_straight_log(f"new{k}", steps=31)], run_id=1)

    other = Lake.open(lake.uri)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        while not written.done():
            other.compact(keep_s=5)
        written.result()
    assert lake.read("logs").num_rows == 13
    assert [f for f in lake.verify() if f.check != "run"] == []


def test_an_empty_lake_has_nothing_to_compact(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    report = lake.compact(keep_s=0)
    assert report.bytes_after == report.bytes_before
    assert lake.versions() == {}


def test_progress_is_told(lake):
    told = []
    lake.compact(progress=told.append)
    assert "joining agents" in told


def test_rows_keep_their_order(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    rows = [
        {"entry_id": n, "uri": "", "record": "", "kind": "dropped", "reason": "", "count": 1, "run_id": 1}
        for n in range(40_000)
    ]  # fmt: skip
    for begin in range(0, len(rows), 4000):
        lake.append("ledger", rows[begin : begin + 4000])
    # With several threads, one in three times another order came out.
    with lake.store.writing(), lake.store.editing("ledger") as data:
        merge(data, bytes_of(data) // 4)
    assert len(lake.table("ledger").get_fragments()) > 2
    assert lake.read("ledger")["entry_id"].to_pylist() == list(range(40_000))

import pytest

from lake import Lake
from lake.known import Known
from tests.builders import make_straight_log


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def entry(number, **given):
    same = {"uri": f"file{number}", "record": "", "reason": "", "run_id": 1, "count": 1}
    return {"entry_id": number, "kind": "dropped", **same, **given}


def test_only_what_is_new_is_read(lake):
    lake.append("ledger", [entry(1), entry(2)])
    known = Known(lake)
    assert known.told == {1, 2}
    known.told.clear()
    known.look()
    assert known.told == set()
    lake.append("ledger", [entry(3)])
    known.look()
    assert known.told == {3}


def test_joined_files_are_not_read_again(lake):
    known = Known(lake)
    for number in range(1, 5):
        lake.append("ledger", [entry(number)])
        known.look()
    known.told.clear()
    lake.compact(keep_s=0.0)
    lake.append("ledger", [entry(5)])
    known.look()
    assert known.told == {5}


def test_rows_that_went_are_forgotten(lake):
    lake.append("ledger", [entry(number) for number in range(1, 5)])
    known = Known(lake)
    lake.replace("ledger", [entry(6), entry(7)], where="entry_id = 2")
    known.look()
    assert known.told == {1, 3, 4, 6, 7}
    with lake.store.writing():
        lake.store.delete("ledger", "entry_id > 0")
    known.look()
    assert known.told == set()


def test_sources_that_came_in_whole(lake):
    whole = {"kind": "ingested", "source_sha256": "ab", "format": "nuplan", "count": 3}
    lake.append("ledger", [entry(1), entry(2, **whole), entry(3, **whole | {"log_id": 7})])
    assert Known(lake).whole == {("ab", "nuplan"): 3}


def test_logs_and_their_maps(lake):
    known = Known(lake)
    assert (known.logs, known.maps) == ({}, set())
    made = lake.add_logs([make_straight_log()], run_id=1)["logs"]
    known.look()
    row = lake.read("logs").to_pylist()[0]
    assert known.logs == {made[0]: (row["source_sha256"], row["source_record"])}
    assert known.maps == {row["map_id"]}
    assert known.logs_from(row["source_sha256"]) == {made[0]}
    assert known.logs_from("none") == frozenset()

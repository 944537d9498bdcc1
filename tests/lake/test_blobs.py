import numpy as np
import pytest

from lake import Lake
from schemas.errors import UnknownName
from schemas.tables import TABLES


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def payloads(*sizes: int, seed: int = 0) -> list[bytes]:
    draw = np.random.default_rng(seed)
    return [draw.bytes(size) for size in sizes]


def test_bytes_come_back_in_the_order_asked_for(lake):
    # Lance keeps the three sizes in three ways: in the row, packed, in a file of its own.
    given = [*payloads(0, 10, 100_000, 3_000_000), b""]
    ids = lake.put_blobs(given, run_id=1)
    assert lake.blobs(ids) == given
    assert lake.blobs(ids[::-1]) == given[::-1]
    assert lake.blob(ids[2]) == given[2]
    assert lake.blobs([]) == []


def test_each_content_is_kept_once(lake):
    first, second = payloads(50, 60)
    ids = lake.put_blobs([first, second, first], run_id=1)
    assert ids[0] == ids[2] != ids[1]
    again = lake.put_blobs([second, *payloads(70, seed=3)], run_id=2)
    assert again[0] == ids[1]
    assert lake.read("blobs").num_rows == 3
    versions = lake.versions()
    assert lake.put_blobs([first], run_id=3) == ids[:1]
    assert lake.versions() == versions


def test_large_amounts_go_in_batches(lake, monkeypatch):
    monkeypatch.setattr("lake.blobs.BATCH_BYTES", 100)
    given = payloads(*[40] * 10)
    ids = lake.put_blobs(iter(given), run_id=1)
    assert lake.versions()["blobs"] == 4
    assert lake.blobs(ids) == given


def test_sql_shows_the_table_without_the_bytes(lake):
    (blob_id,) = lake.put_blobs([b"abc"], run_id=5)
    row = lake.sql("SELECT * FROM blobs").to_pylist()
    assert row == lake.read("blobs").to_pylist()
    assert row[0]["blob_id"] == blob_id
    assert (row[0]["n_bytes"], row[0]["run_id"]) == (3, 5)
    assert lake.read("blobs").schema == TABLES["blobs"].schema
    assert lake.sql(f"SELECT n_bytes FROM blobs WHERE blob_id = {blob_id}").num_rows == 1


def test_unknown_blobs_are_told(lake):
    with pytest.raises(UnknownName, match="No blob is called `7`"):
        lake.blob(7)
    lake.put_blobs([b"abc"], run_id=1)
    with pytest.raises(UnknownName):
        lake.blob(7)

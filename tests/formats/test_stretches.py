"""Rows sorted on disk, and parts that are bounded by rows and bytes."""

import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from formats import stretches
from schemas.errors import UnreadableFile

ROWS = 400_000


def batches() -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        told = {name: rng.integers(0, 2**60, ROWS // 4) for name in ("t_ns", "x", "y")}
        yield pa.RecordBatch.from_pydict(told)


@pytest.mark.parametrize(("free", "told"), [(0, OSError), (2**40, MemoryError)])
def test_a_sort_without_room_says_of_what(
    monkeypatch: pytest.MonkeyPatch, free: int, told: type[Exception]
) -> None:
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    assert sum(t.num_rows for t in stretches.in_order(batches(), ["t_ns"])) == ROWS
    monkeypatch.setattr(stretches, "SORT_MEMORY", "1MB")  # so little that no sort begins
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(told) as caught:
        list(stretches.in_order(batches(), ["t_ns"]))
    if isinstance(caught.value, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert "scenelake-" in caught.value.filename


def crowd(seconds: int, *, per_s: int, text: int) -> pa.Table:
    """Rows of 100 bytes and a text of so many, in the order of time."""
    t_ns = np.arange(seconds * per_s) * (10**9 // per_s) + 5
    words = [f"{n:0{text}d}" for n in range(len(t_ns))]
    return pa.table({"t_ns": t_ns, "word": words})


def parts_of(table: pa.Table) -> list[stretches.Stretch]:
    pieces = (table.slice(begin, 1000) for begin in range(0, table.num_rows, 1000))
    return list(stretches.stretches(pieces, source=Path("crowd.csv"), time="t_ns"))


def test_parts_are_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    table = crowd(300, per_s=20, text=1000)  # 1.2 MB a minute
    assert [part.end for part in parts_of(table)] == [None]
    monkeypatch.setattr(stretches, "PART_BYTES", 1_300_000)
    minutes = parts_of(table)
    assert [part.end for part in minutes[:-1]] == [120 * 10**9, 240 * 10**9]
    monkeypatch.setattr(stretches, "PART_BYTES", 150_000)  # less than 10 s hold
    short = parts_of(table)
    ends = [part.end for part in short[:-1]]
    assert all(end % 10**10 == 0 for end in ends)
    assert {end % (6 * 10**10) for end in ends} != {0}
    assert max(part.table.nbytes for part in short) < 600_000
    inside = [part.table.filter(pa.array(part.inside)) for part in short]
    assert pa.concat_tables(inside).equals(table.combine_chunks())
    assert [part.part for part in short] == list(range(len(short)))


def test_ten_seconds_that_would_fill_the_memory_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stretches, "PART_BYTES", 20_000)
    monkeypatch.setattr(stretches, "MOST_BYTES", 100_000)
    with pytest.raises(UnreadableFile, match=r"crowd\.csv: holds .* rows of .* s"):
        parts_of(crowd(60, per_s=20, text=1000))


def test_rows_sorted_on_disk_flow_by_in_pieces_of_some_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(stretches, "FLOW_BYTES", 4_000_000)
    table = crowd(1000, per_s=20, text=400)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    flow = list(stretches.in_order(iter(shuffled.to_batches(1000)), ["t_ns"]))
    assert pa.concat_tables(flow).equals(table)
    assert max(piece.nbytes for piece in flow) < 5_000_000

"""Rows sorted on disk: what goes wrong with the disk is told as that."""

import errno
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from formats import stretches

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

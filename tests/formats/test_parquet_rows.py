"""Parquet with large cells: what is held of it, and one row of many."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from formats import parquet_rows

CELL = 200_000


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Small rows in the first group, large ones in the second and third."""
    rng = np.random.default_rng(0)
    path = tmp_path / "cells.parquet"
    schema = pa.schema([("n", pa.int64()), ("cell", pa.binary()), ("beside", pa.binary())])
    with parquet.ParquetWriter(path, schema) as writer:
        for begin, count, size in ((0, 3000, 4), (3000, 200, CELL), (3200, 5, CELL)):
            data = [rng.bytes(size) for _ in range(count)]
            n = list(range(begin, begin + count))
            writer.write_table(pa.table([n, data, data], schema=schema))
    return path


def test_batches_are_bounded_by_bytes(cells: Path) -> None:
    file = parquet_rows.opened(cells)
    made = list(parquet_rows.batches(file, ["n", "cell"], most=1000))
    assert pa.Table.from_batches(made)["n"].to_pylist() == list(range(3205))
    assert [batch.num_rows for batch in made[:3]] == [1000, 1000, 1000]  # small rows: by count
    assert max(batch.nbytes for batch in made) < 1.2 * parquet_rows.BATCH_BYTES
    assert len(made) < 8


@pytest.mark.parametrize("number", [0, 2999, 3000, 3137, 3204])
def test_one_row_is_that_row(cells: Path, number: int) -> None:
    whole = parquet.read_table(cells, columns=["n", "cell"])
    found = parquet_rows.row(parquet_rows.opened(cells), number, ["cell", "n"])
    assert found.num_rows == 1
    assert found["n"][0].as_py() == number
    assert found["cell"][0].as_py() == whole["cell"][number].as_py()
    with pytest.raises(IndexError, match="3205"):
        parquet_rows.row(parquet_rows.opened(cells), 3205, ["n"])

"""Parquet whose rows may be of any size: batches bounded by bytes, and one row without its neighbours.

    for batch in batches(file, columns, most=65_536):
        ...  # some 16 MB at most, however large the cells

Of a column no more is read ahead than ``BUFFER_BYTES``, whatever the size of its row groups. The files
are to be opened by :func:`opened`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

BATCH_BYTES = 16 * 2**20
BUFFER_BYTES = 2**20


def opened(source: Path | Any, *, texts: Sequence[str] = ()) -> Any:
    """A ``pyarrow.parquet.ParquetFile`` that reads on as it is asked.

    Args:
        source: Its path, or an open file.
        texts: Columns to be read as dictionaries of their texts.

    Raises:
        OSError: It is not there, or may not be read.
        pa.ArrowException: It is no Parquet.
    """
    from pyarrow import parquet

    return parquet.ParquetFile(source, read_dictionary=list(texts), buffer_size=BUFFER_BYTES)


def batches(file: Any, columns: Sequence[str], *, most: int) -> Iterator[pa.RecordBatch]:
    """All rows of some columns.

    Args:
        file: As :func:`opened` gives it.
        columns: Their names, in the order wanted.
        most: Rows of a batch, where they are small.
    """
    for group in range(file.num_row_groups):
        yield from _of_group(file, group, columns, most)


def row(file: Any, number: int, columns: Sequence[str]) -> pa.RecordBatch:
    """One row of some columns.

    Raises:
        IndexError: There are not so many.
    """
    left = number
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if left < count:
            for batch in _of_group(file, group, columns, count):
                if left < batch.num_rows:
                    return batch.slice(left, 1)
                left -= batch.num_rows
        left -= count
    raise IndexError(f"row {number} is beyond the end")


def _of_group(
    file: Any, group: int, columns: Sequence[str], most: int
) -> Iterator[pa.RecordBatch]:
    about = file.metadata.row_group(group)
    size = 0
    for k in range(about.num_columns):
        if about.column(k).path_in_schema.partition(".")[0] in columns:
            size += about.column(k).total_uncompressed_size
    rows = BATCH_BYTES * about.num_rows // max(size, 1)
    yield from file.iter_batches(
        max(min(rows, most), 1), row_groups=[group], columns=list(columns), use_threads=False
    )

"""Rows of a table beside the tracks (signals, readings), taken as the tracks are told.

    beside = Beside(rows, schema)
    beside.begin()                       # with each log
    table = beside.until("drive 1", end) # its further rows before a time

Tracks come log by log in the order of names, and part by part (:mod:`formats.stretches`). The rows are
put in the same order, on disk where they are many, so that no more than those of one part are in memory.
A table that names no logs is told to each of them from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
from pyarrow import compute

from formats.stretches import in_order


class Beside:
    """The rows of one table.

    Attributes:
        is_large: Whether they are too many to be in memory at once.
    """

    def __init__(self, rows: Callable[[], Iterator[pa.RecordBatch]], schema: pa.Schema) -> None:
        """Read and sort them.

        Args:
            rows: Gives all of them, in any order, whenever it is called.
            schema: Of them: ``t_ns`` and perhaps ``log`` are among the columns.
        """
        self._rows, self._schema = rows, schema
        self._names_logs = "log" in schema.names
        self._flow = self._sorted()
        first, second = next(self._flow, None), next(self._flow, None)
        self.is_large = second is not None
        self._whole = schema.empty_table() if first is None else first
        self._left: pa.Table | None = self._whole
        self._fresh = True
        if second is not None:
            self._flow = chain([second], self._flow)

    def begin(self) -> None:
        """A log begins."""
        if not self._names_logs and not self._fresh:
            if self.is_large:
                self._flow, self._left = self._sorted(), None
            else:
                self._left = self._whole
        self._fresh = False

    def until(self, log: str, end: int | None) -> pa.Table:
        """The rows of a log before a time that were not taken yet, in the order of time.

        Args:
            log: Its name; none comes after a greater one.
            end: The time, as ``t_ns`` counts it; None: all that are left [ns].
        """
        taken = [self._schema.empty_table()]
        while (table := self._next()) is not None:
            low, high = self._of(table, log)
            stop = high
            if end is not None:
                stop = low + int(np.searchsorted(table["t_ns"].to_numpy()[low:high], end))
            taken.append(table.slice(low, stop - low))
            if stop < table.num_rows:
                self._left = table.slice(stop)
                break
        return pa.concat_tables(taken).combine_chunks()

    def _sorted(self) -> Iterator[pa.Table]:
        return in_order(self._rows(), ["log", "t_ns"] if self._names_logs else ["t_ns"])

    def _next(self) -> pa.Table | None:
        left, self._left = self._left, None
        return left if left is not None else next(self._flow, None)

    def _of(self, table: pa.Table, log: str) -> tuple[int, int]:
        """Where the rows of a log begin and end; those before are of logs that have no tracks."""
        if not self._names_logs:
            return 0, table.num_rows
        low = compute.sum(compute.less(table["log"], log)).as_py() or 0
        return low, low + (compute.sum(compute.equal(table["log"], log)).as_py() or 0)

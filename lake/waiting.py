"""DuckDB's work, so that Ctrl-C and SIGTERM end it.

Within one batch of an answer DuckDB may count for hours and look for no signal meanwhile: a handler
in Python runs only once the library returns. So the library works in a thread of its own while the
main thread waits, which a signal interrupts; the query is told to stop, and the signal goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import duckdb

_T = TypeVar("_T")

_AGAIN_S = 0.05
"""A query that has not quite begun does not hear that it should stop; it is told again after this."""


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], _T]) -> _T:
    """What the work returns or raises; a signal that comes meanwhile stops its query.

    Args:
        connection: That the work uses, and nobody else meanwhile.
        work: Called in another thread, unless this is not the main one, which alone hears signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        finally:
            while not future.done():
                connection.interrupt()
                wait([future], _AGAIN_S)

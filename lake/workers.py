"""Processes that read or make logs for one that writes: how they begin, are interrupted, and end."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 50_000


def begin_worker(spool: str) -> None:
    """In a worker: end with the parent, even where that was killed, and leave no files behind."""
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        shutil.rmtree(spool, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that are started within never see Ctrl-C, which is for the parent.

    A Ctrl-C that comes meanwhile is felt right after.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def rarer_collections() -> Iterator[None]:
    """The garbage collector runs after ``YOUNG_OBJECTS`` new objects, not after some hundreds.

    Decoders make objects by the million, hardly any of them in cycles: looking for those so often
    takes a tenth of an ingest.
    """
    young, *older = gc.get_threshold()
    gc.set_threshold(max(young, YOUNG_OBJECTS) if young else 0, *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)

"""A planner that may not take for ever.

Where it runs in the main thread of its process, and the system has interval timers, an answer that
takes too long is broken off, at the next instruction of Python; elsewhere, and within a call into C
that never returns, it cannot be.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from schemas.errors import PlannerFailed
from simulation.engine import Reference
from simulation.protocol import CaseBatchView, Observation, Plan, Planner

TOOK_TOO_LONG = "Took longer than"
"""How the message of a planner begins that did."""


class _TimeIsUp(BaseException):
    """Not an Exception, so that no planner's own `except` takes it for one of its own."""


class TimeLimited(Reference):
    """A planner, each answer of which is broken off once it takes too long."""

    def __init__(self, planner: Planner, seconds: float) -> None:
        """Limit a planner to so many seconds an answer."""
        self.planner, self.seconds = planner, seconds
        self.name = planner.name

    def foresee(self, batch: Any) -> None:
        """Hand the batch to planners that may see it."""
        if isinstance(self.planner, Reference):
            self.planner.foresee(batch)

    def start(self, cases: CaseBatchView) -> None:
        """As the planner does, in time."""
        with self._limit():
            self.planner.start(cases)

    def plan(self, obs: Observation) -> Plan:
        """As the planner does, in time."""
        with self._limit():
            return self.planner.plan(obs)

    @contextmanager
    def _limit(self) -> Iterator[None]:
        try:
            with _alarm(self.seconds):
                yield
        except _TimeIsUp as error:
            late = TimeoutError(f"{TOOK_TOO_LONG} {self.seconds:g} s for an answer")
            failed = PlannerFailed(self.name, late)
            failed.message = f"{TOOK_TOO_LONG} {self.seconds:g} s for an answer."
            raise failed from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)

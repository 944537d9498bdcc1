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

HUNG_MAX = 3
"""Cases in which a planner may hang, each alone, before it is asked no more."""


class _TimeIsUp(BaseException):
    """Not an Exception, so that no planner's own `except` takes it for one of its own."""


class TimeLimited(Reference):
    """A planner, each answer of which is broken off once it takes too long."""

    def __init__(self, planner: Planner, seconds: float) -> None:
        """Limit a planner to so many seconds an answer."""
        self.planner, self.seconds = planner, seconds
        self.name = planner.name
        self._hung = 0

    def foresee(self, batch: Any) -> None:
        """Hand the batch to planners that may see it."""
        if isinstance(self.planner, Reference):
            self.planner.foresee(batch)

    def start(self, cases: CaseBatchView) -> None:
        """As the planner does, in time.

        Raises:
            PlannerFailed: It takes too long, or has hung too often before.
        """
        if self._hung >= HUNG_MAX:
            raise self._failed(
                f"{self.name} hung in {HUNG_MAX} cases before and was asked no more"
            )
        with self._limit(len(cases)):
            self.planner.start(cases)

    def plan(self, obs: Observation) -> Plan:
        """As the planner does, in time.

        Raises:
            PlannerFailed: It takes too long.
        """
        with self._limit(len(obs.cases)):
            return self.planner.plan(obs)

    @contextmanager
    def _limit(self, cases: int) -> Iterator[None]:
        try:
            with _alarm(self.seconds):
                yield
        except _TimeIsUp as error:
            self._hung += cases == 1  # of several, it is not known which
            raise self._failed(f"Took longer than {self.seconds:g} s for an answer.") from error

    def _failed(self, why: str) -> PlannerFailed:
        failed = PlannerFailed(self.name, TimeoutError(why))
        failed.message = why
        return failed


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

"""Planners of one's own drive in processes of their own, watched over by one that runs none of their code.

A planner may loop for ever with every exception swallowed, hang in C, call ``os._exit``, crash, or use up
the memory: none of this can be stopped or survived from within. So it is driven by a ward
(:mod:`simulation.ward`), a process that writes down for which case it is asked and since when. Once the
limit passes, or the ward ends by itself, its whole process group is killed, the guilty case has failed
with the reason, and a fresh ward goes on with the others:

- Who is asked case by case is found guilty of the very case that it was asked for; those that were driven
  beside it are driven again, in halves, for it may not be the only one.
- Of who is asked for a whole batch it is not known which case it was; each is driven again alone.

Since what a case gives does not depend on whom it is driven beside, results are the same bits whatever
happened on the way, and whatever the number of wards.
"""

from __future__ import annotations

import mmap
import os
import pickle  # noqa: TID251 - what it raises; connections of multiprocessing speak it
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from types import TracebackType

from schemas.case import Case
from schemas.errors import BadInput
from simulation.protocol import ALL_CASES, STARTS
from simulation.running import Ran, errored
from simulation.ward import Beat, Broken, Driven, Errand, Ready, command

LIMIT_S = 60.0
"""How long a planner of one's own may take for an answer, if nothing else is said [s]."""

LOAD_S = 300.0
"""How long it may take to be imported and made [s]."""

END_S = 2.0  # that a ward may take to end by itself once it is not needed [s]
LOOKS = (0.005, 0.25)  # least and greatest time between two looks at the wards [s]

GARBLED = (
    pickle.UnpicklingError, OSError, MemoryError, ValueError, TypeError, LookupError, ImportError,
    AttributeError,
)  # fmt: skip
"""What reading may raise where somebody else wrote."""

SCRIBBLED = "the planner wrote where its results are told"

Indexed = tuple[int, Case]


class Guard:
    """Wards that drive one planner; a context manager, at whose end all of them have ended.

    Attributes:
        planner: The name that the planner bears in results.
    """

    def __init__(self, uri: str, planner: str, *, jobs: int = 1, limit_s: float = LIMIT_S) -> None:
        """Say who drives.

        Args:
            uri: Of the lake that the cases are in.
            planner: As :func:`simulation.planners.planner` knows it.
            jobs: Wards at once.
            limit_s: How long the planner may take for an answer.
        """
        self.planner = ""
        self._told = (uri, planner, limit_s)
        self._jobs, self._limit_s = jobs, limit_s
        self._wards: list[_Ward] = []
        self._errands: deque[Errand] = deque()

    def __enter__(self) -> Guard:
        """Load the planner in a first ward.

        Raises:
            UnknownName: There is no such planner.
            BadInput: It is none, or ends or hangs while it is loaded.
        """
        try:
            first = self._another()
            while not first.ready:
                wait([first.talk], LOOKS[1])
                self._look(first)
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all wards, and whatever their planners started."""
        self._end_all()

    def drive(self, cases: Sequence[Indexed], *, batch: int) -> Iterator[list[Ran]]:
        """Drive cases; what is there already is yielded as it comes, in no order.

        Args:
            cases: Each with its index in the suite.
            batch: How many a ward drives at once.
        """
        # The last come first: sorted by size, none of the large ones is left running alone at the end.
        share = min(batch, max(-(-len(cases) // self._jobs), 1))
        chunks = [cases[i : i + share] for i in range(0, len(cases), share)]
        self._errands.extend(Errand(cases=chunk, batch=batch) for chunk in reversed(chunks))
        while self._errands or any(ward.errand for ward in self._wards):
            for ward in self._wards:
                if ward.ready and ward.errand is None and self._errands:
                    ward.send(self._errands.popleft())
            if len(self._errands) > sum(ward.errand is None for ward in self._wards) and (
                len(self._wards) < self._jobs
            ):
                self._another()
            wait([ward.talk for ward in self._wards], self._pause())
            for ward in list(self._wards):
                if ran := self._look(ward):
                    yield ran

    def _pause(self) -> float:
        return float(min(max(self._limit_s / 20.0, LOOKS[0]), LOOKS[1]))

    def _another(self) -> _Ward:
        ward = _Ward(*self._told)
        self._wards.append(ward)
        return ward

    def _look(self, ward: _Ward) -> list[Ran]:
        """What a ward has driven, if its errand is done or it had to be ended."""
        told, ended = ward.heard()
        for one in told:
            match one:
                case Ready():
                    self.planner, ward.ready = one.planner, True
                case Ran():
                    ward.ran.append(one)
                case Driven():
                    ran, ward.ran, ward.errand = ward.ran, [], None
                    return ran
                case Broken():
                    return self._ended(ward, f"the simulation broke with {one.error}")
                case Exception():
                    raise one
        if ended is not None:
            return self._ended(ward, ended, while_asked=ended != SCRIBBLED)
        now = time.monotonic()
        since, _, _ = ward.beat.read()
        if since and now - since > self._limit_s:
            return self._ended(ward, f"hung: no action within {self._limit_s:g} s")
        if not ward.ready and now - ward.began > LOAD_S:
            return self._ended(ward, f"was not there within {LOAD_S:g} s")
        return []

    def _ended(self, ward: _Ward, why: str, *, while_asked: bool = True) -> list[Ran]:
        """What a ward had driven, and the case at which it ended; the others are driven again.

        Args:
            ward: Which has ended, or is to be.
            why: If that is not seen from how it ended.
            while_asked: Whether it ended at what it was asked for last, if it was asked at all.
        """
        since, step, index = ward.beat.read() if while_asked else (0.0, STARTS, ALL_CASES)
        self._wards.remove(ward)
        why = ward.end(why)
        if not ward.ready:
            raise BadInput(
                self._told[1], f"cannot be loaded: {why}", hint="See that it can be imported."
            )
        if ward.errand is None:
            return []
        told = {ran.result.case.case_id for ran in ward.ran}
        left = [(i, case) for i, case in ward.errand.cases if case.case_id not in told]
        guilty = left[0] if len(left) == 1 else None
        if since and index != ALL_CASES:
            guilty = next((one for one in left if one[0] == index), guilty)
        batch = ward.errand.batch
        if guilty is None:
            self._errands.extendleft(Errand(cases=[one], batch=batch) for one in left)
            return ward.ran
        if since:
            why += " before the first step" if step == STARTS else f" at step {step}"
        rest = [one for one in left if one is not guilty]
        half = -(-len(rest) // 2)
        self._errands.extendleft(
            Errand(cases=part, batch=batch) for part in (rest[:half], rest[half:]) if part
        )
        return [*ward.ran, errored(guilty[1], self.planner, why)]

    def _end_all(self) -> None:
        for ward in self._wards:
            ward.dismiss()
        for ward in self._wards:
            ward.end("")
        self._wards.clear()


class _Ward:
    """One process, as who watches sees it.

    Attributes:
        talk: Where it tells.
        beat: For whom its planner is asked, and since when.
        began: When, on the monotonic clock [s].
        ready: Whether it has loaded the planner.
        errand: What it drives.
        ran: What that has given so far.
    """

    def __init__(self, uri: str, planner: str, limit_s: float) -> None:
        self.talk, theirs = Pipe()
        lives, self._life = os.pipe()
        with tempfile.TemporaryFile() as memory:
            memory.write(bytes(Beat.SIZE))  # not only as long: a full disk is to be told of here
            memory.flush()
            self._memory = mmap.mmap(memory.fileno(), Beat.SIZE)
            self.beat = Beat(self._memory, limit_s)
            ends = (theirs.fileno(), memory.fileno(), lives)
            self._process = subprocess.Popen(
                command(*ends, uri, planner, limit_s), pass_fds=ends, start_new_session=True
            )
        theirs.close()
        os.close(lives)
        self.began = time.monotonic()
        self.ready = False
        self.errand: Errand | None = None
        self.ran: list[Ran] = []

    def heard(self) -> tuple[list[object], str | None]:
        """What it has told since; and if it tells no more, why, as far as that is not seen from how it ended.

        It may have ended though somebody whom it forked holds on to its connection.
        """
        gone = (
            self._process.poll() is not None
        )  # before what it told is read: none of that is missed
        told: list[object] = []
        try:
            while self.talk.poll():
                told.append(self.talk.recv())
                if isinstance(told[-1], Driven):
                    return told, None
        except (EOFError, ConnectionError):
            return told, ""
        except GARBLED:
            return told, SCRIBBLED
        return told, "" if gone else None

    def send(self, errand: Errand) -> None:
        """Let it drive; if it has ended meanwhile, that is seen when it is looked at."""
        self.errand = errand
        with suppress(ConnectionError):
            self.talk.send(errand)

    def dismiss(self) -> None:
        """It may end by itself, unless it is busy."""
        if self.ready and self.errand is None:
            with suppress(ConnectionError):
                self.talk.send(None)
        else:
            self._kill()

    def end(self, why: str) -> str:
        """Have it ended with all that it started; how it ended, if there was no other reason."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if why else END_S)
        code = self._process.poll()
        self._kill()
        self._process.wait()
        self.talk.close()
        os.close(self._life)
        self._memory.close()
        if why:
            return why
        if code is None:
            return "the planner's process closed its connection"
        if code >= 0:
            return f"the planner's process ended with code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"the planner's process was killed by {name}{memory}"

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

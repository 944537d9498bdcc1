"""The process in which a planner drives, seen from within: it drives what it is told to, and tells.

What it is asked for and since when stands in a few bytes of shared memory (:class:`Beat`), which
:mod:`simulation.guard` reads, so that watching costs next to nothing. The planner has standard error for
its standard output, and an empty standard input. All that it starts is of one process group, which ends
with the command, however that ends. A process that it forks has no part in this: it holds on to nothing by
which the ward is watched, and ends where it would go on to drive.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from lake import Lake
from schemas.case import Case
from schemas.errors import ScenelakeError
from schemas.scene import Scene
from simulation.planners import planner as planner_named
from simulation.running import Ran, paired, run_cases

_BEAT = struct.Struct("=dqq")
_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a ward is told to drive.

    Attributes:
        cases: Each with its index in the suite.
        batch: How many at once.
    """

    cases: Sequence[tuple[int, Case]]
    batch: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The planner is there; this is its name."""

    planner: str


@dataclass(frozen=True, slots=True)
class Driven:
    """The errand is done, and all that it gave has been told."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The process ends for an error that was raised outside the planner; which one."""

    error: str


class Beat:
    """For whom a planner is asked, and since when: written by one process, read by another."""

    SIZE = _BEAT.size

    def __init__(self, memory: mmap.mmap, limit_s: float) -> None:
        """Take shared memory.

        Args:
            memory: Of :attr:`SIZE` bytes.
            limit_s: How long an answer may take.
        """
        self._memory, self._limit_s = memory, limit_s
        self._process = os.getpid()

    def asks(self, step: int, index: int) -> None:
        """The planner is asked from now on."""
        self._end_copies()
        self._since = time.monotonic()
        _BEAT.pack_into(self._memory, 0, self._since, step, index)

    def answered(self) -> None:
        """It is asked no more. Whoever answers too late waits here to be ended, as who never does."""
        self._end_copies()
        while time.monotonic() - self._since > self._limit_s:
            time.sleep(60.0)
        _BEAT.pack_into(self._memory, 0, 0.0, 0, 0)

    def _end_copies(self) -> None:
        """A planner that forks and lets both go on would have each case driven twice."""
        if os.getpid() != self._process:
            os._exit(0)

    def read(self) -> tuple[float, int, int]:
        """Since when it is asked on the monotonic clock, 0 if it is not; the step; the index."""
        since, step, index = _BEAT.unpack_from(self._memory)
        return float(since), int(step), int(index)


def serve(talk: int, memory: int, life: int, uri: str, planner: str, limit_s: float) -> None:
    """Drive errands until there are no more.

    Args:
        talk: File descriptor of the connection: errands come in, what they give goes out.
        memory: Of the shared memory of a :class:`Beat`.
        life: Of a pipe that is closed when whoever watches is gone.
        uri: Of the lake.
        planner: Its name.
        limit_s: How long an answer may take.
    """
    _keep_to_oneself()
    _end_with(life)
    connection = Connection(talk)
    # What holds on to these keeps the end of this process from being noticed.
    for descriptor in (talk, memory, life):
        os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=connection.close)
    try:
        beat = Beat(mmap.mmap(memory, Beat.SIZE), limit_s)
        driver = planner_named(planner)
        lake = Lake.open(uri)
        connection.send(Ready(str(driver.name)))
        while (errand := connection.recv()) is not None:
            cases = [case for _, case in errand.cases]
            index = {case.case_id: i for i, case in errand.cases}
            scenes = ((case, _frozen(scene)) for case, scene in paired(lake, cases))
            for ran in run_cases(scenes, driver, batch=errand.batch, index=index, watch=beat):
                connection.send(_lightened(ran))
            connection.send(Driven())
    except EOFError:  # nobody is there any more
        return
    except ScenelakeError as error:
        connection.send(error)
    except Exception as error:
        # Ours, or the planner's, who changed what numpy does or wrote where it should not.
        traceback.print_exc()
        connection.send(Broken(f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from error


def _keep_to_oneself() -> None:
    """No standard input, and standard error for standard output, for code in C, too."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who watches, who then ends us


def _end_with(life: int) -> None:
    """End the whole group once the other end of a pipe is closed, by whatever."""
    if sys.platform == "linux":
        # Code in C may keep the thread below from running.
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
        # Where memory runs out, it is this process that goes, not the command.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")

    def wait() -> None:
        os.read(life, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def _frozen(scene: Scene | None) -> Scene | None:
    """The scene, whose map no planner can change: it is shared by all cases that are on it."""
    for feature in () if scene is None else scene.map.features:
        for line in (feature.points, feature.left, feature.right):
            if line is not None:
                line.flags.writeable = False
    return scene


def _lightened(ran: Ran) -> Ran:
    """Without what only this process needs: it would be pickled for nothing."""
    return replace(ran, drive=None)


def command(*arguments: object) -> list[str]:
    """The command line of a process that serves with these arguments, and finds the modules of this one."""
    path = [*sys.path, str(Path(__file__).resolve().parent.parent)]
    code = (
        "import json, sys; sys.path[:], arguments = json.loads(sys.argv.pop()); "
        "from simulation.ward import serve; serve(*arguments)"
    )
    return [sys.executable, "-c", code, json.dumps([path, arguments])]

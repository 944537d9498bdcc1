"""Planners that do whatever a planner may do to whoever runs it, each in one case of a suite."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from geometry.arrays import Array
from schemas.case import DONE
from simulation.protocol import CaseBatchView, CaseView, Observation, PerCasePlanner, Plan

BEGINS = 17
"""The step at which they do it."""


def loop_for_ever() -> None:
    """Swallow whatever anybody raises to end it."""
    while True:
        with suppress(BaseException):
            time.sleep(0.01)


def hang_in_c() -> None:
    """Never come back from one call that holds the interpreter's lock."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def crash() -> None:
    """As a bad pointer does."""
    os.kill(os.getpid(), signal.SIGSEGV)


class Unspeakable(Exception):
    """An error whose message cannot be written down, and is long."""

    def __str__(self) -> str:
        return "\udcff\x00\n" * 5000


def speak() -> None:
    """Raise it."""
    raise Unspeakable


def spoil_numpy() -> tuple[float, float]:
    """Let whatever comes after fail."""
    np.tan = None
    return 0.0, 0.0


HURTS: dict[int, tuple[Callable[[], object], str]] = {
    1: (loop_for_ever, "hung: no action within 1 s at step 17"),
    2: (lambda: os._exit(3), "the planner's process ended with code 3 at step 17"),
    3: (lambda: sys.exit("enough"), "Planner Hurtful raised SystemExit: enough (after 1.7 s)"),
    4: (crash, "the planner's process was killed by SIGSEGV at step 17"),
    5: (
        lambda: np.zeros(3),
        "Hurtful answered with shape (3,), not (acceleration, steering) or 5 or more rows of "
        "(x, y, yaw, speed) (after 1.7 s)",
    ),
    6: (lambda: ["left", "right"], "answered `list` of <U5, not (acceleration, steering)"),
    7: (hang_in_c, "hung: no action within 1 s at step 17"),
    8: (lambda: [[0.0, 0.0, 0.0, 1.0]] * 2, "answered with shape (2, 4), not"),
    9: (speak, r"raised Unspeakable: \udcff\x00\n\udcff"),
    10: (lambda: [[1e300, -1e300, 0.0, 1.0]] * 9, "gave a trajectory beyond 1e+08"),
    11: (spoil_numpy, "the simulation broke with TypeError: 'NoneType' object is not callable"),
}
"""Index of a case to what is done there, and what is told of it."""

AT_ONCE = (2, 3, 4, 5)
"""Those that are also tried by who is asked for all cases at once."""


class Calm(PerCasePlanner):
    """Keeps its speed, and hurts nobody."""

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        return 0.1, 0.0


class Hurtful(PerCasePlanner):
    """Does another harm in each case that there is one for."""

    def plan_one(self, case: CaseView) -> object:  # type: ignore[override]
        if round(case.time * 10) == BEGINS and case.index in HURTS:
            return HURTS[case.index][0]()
        return 0.1, 0.0


class HurtfulAtOnce:
    """The same, asked for all cases at once."""

    name = "Hurtful"

    def start(self, cases: CaseBatchView) -> None:
        self.index = cases.index.tolist()

    def plan(self, obs: Observation) -> Plan:
        hurt = [i for i in self.index if i in AT_ONCE]
        if obs.step == BEGINS and hurt:
            given = HURTS[hurt[-1]][0]()
            return Plan(acceleration=given, steering=given)  # type: ignore[arg-type]
        return Plan(acceleration=np.full(len(obs.cases), 0.1), steering=np.zeros(len(obs.cases)))


def fork_and_go_on() -> tuple[float, float]:
    """Both of the two processes drive from here on."""
    os.fork()
    return 0.1, 0.0


def leave_a_child() -> tuple[float, float]:
    """It lives on with all that is open here, while a thread ends this process when nobody is asked."""
    if os.fork() == 0:
        time.sleep(60.0)
        os._exit(0)
    threading.Timer(0.001, os._exit, (5,)).start()
    return 0.1, 0.0


def scribble() -> tuple[float, float]:
    """Write to whatever is open."""
    for descriptor in range(3, 40):
        with suppress(OSError):
            os.write(descriptor, b"\x00\x00\x00\x05hello")
    return 0.1, 0.0


FORKS: dict[int, tuple[Callable[[], tuple[float, float]], str]] = {
    1: (fork_and_go_on, DONE),
    3: (leave_a_child, "the planner's process ended with code 5"),
    5: (scribble, "the planner wrote where its results are told"),
}
"""Likewise; these reach for what the process is watched by."""


class Forking(PerCasePlanner):
    """Does what is told there."""

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        if round(case.time * 10) == BEGINS and case.index in FORKS:
            return FORKS[case.index][0]()
        return 0.1, 0.0


class Meddler(PerCasePlanner):
    """Writes to everything that it is shown."""

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        shown = [case.route.xy, case.goal, case.ego.xy, case.others.xy, case.signals.s]
        for array in shown:
            array += 1000.0
        for feature in case.map.features:
            with suppress(ValueError):  # it may be read only
                feature.points[:] = 0.0
        return 0.1, 0.0


class Loud(PerCasePlanner):
    """Prints in every way there is, and reads what there is to read."""

    name = "loud"

    def __init__(self) -> None:
        os.write(1, b"made\n")

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        print("a line")  # noqa: T201 - what it is about
        os.write(1, b"a raw line\n")
        assert sys.stdin.read() == ""
        return 0.0, 0.0


class Ragged(PerCasePlanner):
    """Trajectories of 5, 6, … steps, or controls, by the case."""

    def plan_one(self, case: CaseView) -> tuple[float, float] | Array:
        if case.index % 3 == 0:
            return 0.2, 0.01
        x, y = case.ego.xy[-1]
        ahead = (np.arange(5 + case.index) + 1) * 0.1 * (case.ego.speed[-1] + 0.5)
        yaw = np.full(len(ahead), case.ego.yaw[-1])
        xy = [x + ahead * np.cos(yaw), y + ahead * np.sin(yaw)]
        return np.stack([*xy, yaw, np.full(len(ahead), case.ego.speed[-1] + 0.5)], axis=-1)


class Slow(PerCasePlanner):
    """Drives as the calm one does but takes its time, and tells a folder that it has begun.

    Where the folder says so, it hangs instead, as deaf as can be.
    """

    name = "slow"

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        told = Path(os.environ["SLOW_PLANNER"])
        (told / f"{os.getpid()}").touch()
        if (told / "hang").exists():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            loop_for_ever()
        time.sleep(0.004)
        return 0.1, 0.0

"""A planner that is a program of its own, in any language: asked and answering in lines of JSON.

    scenelake suite run SUITE --planner "cmd:./my_planner --gently"

The program is started once. It reads one JSON object a line from its standard input and answers each with
one on its standard output; what it prints that is no object is passed on to standard error, and so is what
it writes there. All is in metres, seconds, radians, in the frame of the case's map; ``index`` is a case's
place in its suite, the same whenever it is driven.

``{"type": "start", "protocol": 1, "cases": [{"index", "case_id", "goal": [x, y], "length", "width",
"wheelbase", "rear_to_centre", "route": {"xy": [[x, y], …], "speed_limit": [v or null, …], "goal_s"}}]}``
    before the first step of every batch; the answer is ``{"ready": true}``. Sizes are the ego's, from its rear
    axle to the centre of its box the last. Route points are 1 m apart; the goal is at ``goal_s`` along them.
``{"type": "plan", "step", "time", "cases": [{"index", "ego": {"x", "y", "yaw", "speed", "acceleration",
"steering", "length", "width", "wheelbase", "rear_to_centre"}, "others": [{"track_id", "class", "x", "y",
"yaw", "vx", "vy", "length", "width"}], "signals": [{"s", "state"}]}]}``
    every 0.1 s, with the cases that still run. Places are those of the boxes' centres; ``acceleration`` and
    ``steering`` (of the front wheels, left positive) were applied in the last step; ``s`` is the station of a
    stop along the route. The answer is
    ``{"cases": [{"index": 0, "acceleration": 0.3, "steering": -0.01}, …]}``, or for any of them
    ``"trajectory": [[x, y, yaw, speed], …]`` in steps of 0.1 s from now, or ``"error": "why not"``.

A program that ends, closes its output, or answers what is no answer has failed, and the last that it wrote
to standard error is told with the case; it is started anew for what comes next. How long it may take for
an answer, the run decides (:mod:`simulation.guard`).
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from geometry.arrays import Array
from schemas.errors import BadInput, PlannerFailed
from schemas.labels import AgentClass, LightState
from simulation.protocol import (
    CaseBatchView,
    Observation,
    Plan,
    WrongAnswer,
    answer_of,
    stacked_plan,
)

PREFIX = "cmd:"
"""How the name of a planner begins that is a command line."""

PROTOCOL = 1
LINE_MAX = 1 << 28  # characters: far more than any answer
LAST_LINES, LAST_CHARACTERS = 3, 400  # of standard error, told with a failure
ENDS_S = 2.0  # that a program may take to end once it has closed its output [s]


class PipedPlanner:
    """Drives by asking a program; named as its command line is, without the folders."""

    def __init__(self, command: str) -> None:
        """Start the program of a command line.

        Raises:
            BadInput: There is no command, or it cannot be started.
        """
        self._process: subprocess.Popen[str] | None = None
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise BadInput(command, f"is no command line: {error}") from error
        if not self._words:
            raise BadInput(f"{PREFIX}{command}", "names no program", hint="cmd:./my_planner")
        self.name = " ".join(
            Path(word).name if "/" in word and not word.startswith("-") else word
            for word in self._words
        )
        self._begin()

    def start(self, cases: CaseBatchView) -> None:
        """Tell of a new batch."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            try:
                self._begin()
            except BadInput as error:
                raise PlannerFailed(self.name, error.reason) from error
        told = [
            {
                "index": int(cases.index[place]), "case_id": int(cases.case_id[place]),
                "goal": cases.goal[place].tolist(),
                "length": float(cases.size[place, 0]), "width": float(cases.size[place, 1]),
                "wheelbase": float(cases.wheelbase[place]),
                "rear_to_centre": float(cases.rear_to_centre[place]),
                "route": {
                    "xy": route.xy.tolist(), "goal_s": route.goal_s,
                    "speed_limit": [
                        float(v) if known else None
                        for v, known in zip(route.speed_limit, route.limit_known, strict=True)
                    ],
                },
            }
            for place, route in enumerate(cases.routes)
        ]  # fmt: skip
        self._ask({"type": "start", "protocol": PROTOCOL, "cases": told})

    def plan(self, obs: Observation) -> Plan:
        """Ask about every case that still runs."""
        places = {int(obs.cases.index[p]): p for p in np.flatnonzero(obs.active).tolist()}
        answer = self._ask(
            {
                "type": "plan", "step": obs.step, "time": round(obs.time, 3),
                "cases": [_case(obs, place) for place in places.values()],
            }
        )  # fmt: skip
        rows = answer.get("cases")
        if not isinstance(rows, list):
            raise self._failed('answered without "cases"')
        answers: dict[int, Array] = {}
        errors: dict[int, str] = {}
        for row in rows:
            try:
                place = places.get(int(row["index"]), -1)
                if place < 0:
                    continue
                if "error" in row:
                    errors[place] = f"{self.name}: {row['error']}"
                elif "trajectory" in row:
                    answers[place] = answer_of(row["trajectory"])
                else:
                    answers[place] = answer_of([row["acceleration"], row["steering"]])
            except WrongAnswer as error:
                errors[place] = f"{self.name} {error}"
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise self._failed(f"answered {json.dumps(row)[:200]} for a case") from error
        for index, place in places.items():
            if place not in answers and place not in errors:
                errors[place] = f"{self.name} did not answer for case {index}"
        return stacked_plan(answers, errors, len(obs.cases))

    def close(self) -> None:
        """End the program."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        self._ear.join(ENDS_S)  # a child of the program may hold on to its standard error
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not sent goes nowhere
                pipe.close()

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError as error:
            raise BadInput(
                f"{PREFIX}{shlex.join(self._words)}", f"cannot be started ({error.strerror})",
                hint="Give the path of the program, and see that it may be run.",
            ) from error  # fmt: skip
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._ear = threading.Thread(
            target=_pass_on, args=(self._process, self._last), daemon=True
        )
        self._ear.start()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message, separators=(",", ":")) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed(self._end("input")) from error
        while line := self._process.stdout.readline(LINE_MAX):
            if line.lstrip().startswith("{"):
                try:
                    return dict(json.loads(line))
                except (ValueError, RecursionError) as error:
                    raise self._failed(f"answered what is no JSON: {line[:200]}") from error
            sys.stderr.write(line)
        raise self._failed(self._end("output"))

    def _end(self, pipe: str) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            return f"closed its standard {pipe}"
        return f"ended with exit code {code}"

    def _failed(self, what: str) -> PlannerFailed:
        self.close()
        said = " / ".join(filter(None, map(str.strip, self._last)))[-LAST_CHARACTERS:]
        return PlannerFailed(self.name, what + (f"; it last wrote: {said}" if said else ""))


def _pass_on(process: subprocess.Popen[str], last: deque[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            last.append(line)
            sys.stderr.write(line)


def _case(obs: Observation, place: int) -> dict[str, Any]:
    case = obs.case(place)
    ego, others, signals = case.ego, case.others, case.signals
    there = np.flatnonzero(others.valid[:, -1])
    return {
        "index": case.index,
        "ego": {
            "x": float(ego.xy[-1, 0]), "y": float(ego.xy[-1, 1]), "yaw": float(ego.yaw[-1]),
            "speed": float(ego.speed[-1]), "acceleration": float(ego.acceleration),
            "steering": float(ego.steering), "length": float(ego.length),
            "width": float(ego.width), "wheelbase": float(ego.wheelbase),
            "rear_to_centre": float(ego.rear_to_centre),
        },
        "others": [
            {
                "track_id": int(others.track_id[i]), "class": AgentClass(int(others.cls[i])).word,
                "x": float(others.xy[i, -1, 0]), "y": float(others.xy[i, -1, 1]),
                "yaw": float(others.yaw[i, -1]), "vx": float(others.velocity[i, -1, 0]),
                "vy": float(others.velocity[i, -1, 1]), "length": float(others.size[i, 0]),
                "width": float(others.size[i, 1]),
            }
            for i in there.tolist()
        ],
        "signals": [
            {"s": float(s), "state": LightState(int(state)).word}
            for s, state in zip(signals.s, signals.state, strict=True)
        ],
    }  # fmt: skip

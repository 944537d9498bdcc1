"""A planner that is a program of its own, in any language: asked and answering in lines of JSON.

    scenelake suite run SUITE --planner "cmd:./my_planner --gently"

The program is started once. It reads one JSON object a line from its standard input and answers each with
one on its standard output; what it prints that is no object is passed on to standard error, and so is what
it writes there. All is in metres, seconds, radians, in the frame of the case's map.

``{"type": "start", "protocol": 1, "cases": [{"index", "case_id", "goal": [x, y], "length", "width",
"wheelbase", "rear_to_centre", "route": {"xy": [[x, y], …], "speed_limit": [v or null, …], "goal_s"}}]}``
    before the first step of every batch; the answer is ``{"ready": true}``. Route points are 1 m apart.
``{"type": "plan", "step", "time", "cases": [{"index", "ego": {"x", "y", "yaw", "speed", "acceleration",
"steering"}, "others": [{"track_id", "class", "x", "y", "yaw", "vx", "vy", "length", "width"}], "signals":
[{"s", "state"}]}]}``
    every 0.1 s, with the cases that still run; ``s`` is the station of a stop along the route. The answer is
    ``{"cases": [{"index": 0, "acceleration": 0.3, "steering": -0.01}, …]}``, or for any of them
    ``"trajectory": [[x, y, yaw, speed], …]`` in steps of 0.1 s from now, or ``"error": "why not"``.

A program that ends, or does not answer in time, has failed; it is started anew for the next batch.
"""

from __future__ import annotations

import json
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from geometry.arrays import Array
from schemas.errors import BadInput, PlannerFailed
from schemas.labels import AgentClass, LightState
from simulation.protocol import CaseBatchView, Observation, Plan, stacked_plan

PREFIX = "cmd:"
"""How the name of a planner begins that is a command line."""

PROTOCOL = 1
ANSWER_S = 60.0
"""How long an answer may take, for all cases of a batch together [s]."""


class PipedPlanner:
    """Drives by asking a program."""

    def __init__(self, command: str, *, answer_s: float = ANSWER_S) -> None:
        """Take a command line; the program is started when it is first needed.

        Raises:
            BadInput: There is no command.
        """
        self._process: subprocess.Popen[str] | None = None
        self._ear: threading.Thread | None = None
        self._said: queue.Queue[str | None] = queue.Queue()
        self._answer_s = answer_s
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise BadInput(command, f"is no command line: {error}") from error
        if not self._words:
            raise BadInput(f"{PREFIX}{command}", "names no program", hint="cmd:./my_planner")
        self.name = Path(self._words[0]).name

    def start(self, cases: CaseBatchView) -> None:
        """Tell of a new batch."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._begin()
        told = [
            {
                "index": index, "case_id": int(cases.case_id[index]),
                "goal": cases.goal[index].tolist(),
                "route": {
                    "xy": route.xy.tolist(), "goal_s": route.goal_s,
                    "speed_limit": [
                        float(v) if known else None
                        for v, known in zip(route.speed_limit, route.limit_known, strict=True)
                    ],
                },
            }
            for index, route in enumerate(cases.routes)
        ]  # fmt: skip
        self._ask({"type": "start", "protocol": PROTOCOL, "cases": told})

    def plan(self, obs: Observation) -> Plan:
        """Ask about every case that still runs."""
        running = np.flatnonzero(obs.active).tolist()
        answer = self._ask(
            {
                "type": "plan", "step": obs.step, "time": round(obs.time, 3),
                "cases": [_case(obs, index) for index in running],
            }
        )  # fmt: skip
        rows = answer.get("cases")
        if not isinstance(rows, list):
            raise self._failed('answered without "cases"')
        controls: dict[int, Array] = {}
        errors: dict[int, str] = {}
        for row in rows:
            try:
                index = int(row["index"])
                if "error" in row:
                    errors[index] = f"{self.name}: {row['error']}"
                elif "trajectory" in row:
                    controls[index] = np.asarray(row["trajectory"], dtype=np.float64)
                else:
                    pedals = [row["acceleration"], row["steering"]]
                    controls[index] = np.asarray(pedals, dtype=np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise self._failed(f"answered {json.dumps(row)[:200]} for a case") from error
        for index in running:
            if index not in controls and index not in errors:
                errors[index] = f"{self.name} did not answer for this case"
            if index in controls and controls[index].shape not in (
                (2,),
                (len(controls[index]), 4),
            ):
                shape = controls.pop(index).shape
                errors[index] = f"{self.name} gave an answer of shape {shape}"
        try:
            return stacked_plan(controls, errors, len(obs.cases))
        except ValueError as error:
            raise self._failed(str(error)) from error

    def close(self) -> None:
        """End the program."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):  # what was not sent goes nowhere
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._ear is not None:
            self._ear.join()
        self._process = self._ear = None

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError as error:
            raise BadInput(
                f"{PREFIX}{shlex.join(self._words)}", f"cannot be started ({error.strerror})",
                hint="Give the path of the program, and see that it may be run.",
            ) from error  # fmt: skip
        self._said = queue.Queue()
        threading.Thread(target=_listen, args=(self._process, self._said), daemon=True).start()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message, separators=(",", ":")) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed(self._end()) from error
        while True:
            try:
                line = self._said.get(timeout=self._answer_s)
            except queue.Empty:
                raise self._failed(f"did not answer within {self._answer_s:g} s") from None
            if line is None:
                raise self._failed(self._end())
            if line.lstrip().startswith("{"):
                try:
                    return dict(json.loads(line))
                except ValueError as error:
                    raise self._failed(f"answered what is no JSON: {line[:200]}") from error
            sys.stderr.write(line)

    def _end(self) -> str:
        assert self._process is not None
        return f"ended with exit code {self._process.wait()}"

    def _failed(self, what: str) -> PlannerFailed:
        self.close()
        return PlannerFailed(self.name, RuntimeError(f"the program {what}"))


def _listen(process: subprocess.Popen[str], said: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            said.put(line)
    said.put(None)


def _case(obs: Observation, index: int) -> dict[str, Any]:
    case = obs.case(index)
    ego, others, signals = case.ego, case.others, case.signals
    there = np.flatnonzero(others.valid[:, -1])
    return {
        "index": index,
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

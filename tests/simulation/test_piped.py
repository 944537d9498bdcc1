"""Planners that are programs: asked in lines of JSON, and told when they fail."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lake import Lake
from schemas.errors import BadInput
from simulation import piped, suites
from simulation.piped import PipedPlanner
from simulation.planners import planner
from simulation.running import run_cases
from tests.builders import make_crossing_log, make_straight_log
from tests.simulation.driving import case_of, going, red_at, road, scene

ANSWER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "start":
        print("a stray line, and no answer")
        routes = [case["route"] for case in asked["cases"]]
        assert all(len(r["xy"]) == len(r["speed_limit"]) for r in routes)
        print(json.dumps({"ready": True}), flush=True)
        continue
    rows = []
    for case in asked["cases"]:
        ego = case["ego"]
        PLAN
    print(json.dumps({"cases": rows}), flush=True)
"""
CRUISE = 'rows.append({"index": case["index"], "acceleration": 0.1 * (8.0 - ego["speed"]), "steering": 0.0})'
LINE = """rows.append({"index": case["index"], "trajectory": [
            [ego["x"] + 0.8 * (k + 1), ego["y"], 0.0, 8.0] for k in range(20)]})"""


def program(folder: Path, plan: str) -> PipedPlanner:
    path = folder / "drive.py"
    path.write_text(ANSWER.replace("PLAN", plan))
    made = planner(f"cmd:{sys.executable} {path}")
    assert isinstance(made, PipedPlanner)
    return made


def run(driver: PipedPlanner, count: int = 3, *, batch: int = 256):
    scenes = [
        scene(going(0.0, speed=6.0 + i), going(40.0, 3.5, speed=3.0), road_map=road(),
              signals=red_at(90.0), scene_id=i + 1)
        for i in range(count)
    ]  # fmt: skip
    return list(run_cases(((case_of(s), s) for s in scenes), driver, batch=batch))


@pytest.mark.parametrize("plan", [CRUISE, LINE])
def test_a_program_drives_every_case(tmp_path: Path, plan: str) -> None:
    ran = run(program(tmp_path, plan))
    assert [r.result.status for r in ran] == ["done"] * 3
    for r in ran:
        assert r.result.trajectory[-1, 3] == pytest.approx(8.0, abs=1.0)
    again = run(program(tmp_path, plan), batch=1)
    assert all(
        (a.result.trajectory == b.result.trajectory).all() for a, b in zip(ran, again, strict=True)
    )


def test_what_is_documented_of_a_message_is_what_is_sent(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    write = f"""open({str(sent)!r}, "w").write(json.dumps(asked))
        {CRUISE}"""
    driver = program(tmp_path, write)
    started: list[dict[str, Any]] = []
    ask = driver._ask
    driver._ask = lambda message: (started.append(dict(message)), ask(message))[1]  # type: ignore[method-assign]
    run(driver, count=1)
    start, plan = started[0], json.loads(sent.read_text())
    assert piped.__doc__ is not None
    for message in (start, plan):
        (told,) = re.findall(rf'``(\{{"type": "{message["type"]}".*?)``', piped.__doc__, re.DOTALL)
        assert _keys_told(told) == _keys(message)
    ego = plan["cases"][0]["ego"]
    for name in ("length", "width", "wheelbase", "rear_to_centre"):
        assert start["cases"][0][name] == ego[name] > 0.0


def _keys(value: object, path: str = "") -> set[str]:
    """Every key of a message with those that it lies under."""
    if isinstance(value, list):
        return set().union(*(_keys(part, path) for part in value))
    if not isinstance(value, dict):
        return set()
    here = {f"{path}/{key}" for key in value}
    return here.union(*(_keys(part, f"{path}/{key}") for key, part in value.items()))


def _keys_told(text: str) -> set[str]:
    """Likewise of a message as the docstring shows it, where keys may stand without values."""
    found, under, last = set(), list[str](), ""
    for word in re.findall(r'(?<!: )"\w+"|[{}]', text):
        if word == "{":
            under.append(last)
        elif word == "}":
            under.pop()
        else:
            last = f"{under[-1]}/{word[1:-1]}"
            found.add(last)
    return found


def test_what_a_program_cannot_do_fails_that_case_alone(tmp_path: Path) -> None:
    plan = f"""if case["index"] == 1:
            rows.append({{"index": 1, "error": "lost"}})
            continue
        {CRUISE}"""
    ran = run(program(tmp_path, plan))
    assert [r.result.status for r in ran] == [
        "done", f"{Path(sys.executable).name} drive.py: lost (after 0.0 s)", "done",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ("sys.exit(7)", "ended with exit code 7"),
        ('print("{broken", flush=True)', "no JSON"),
        ('rows.append({"index": case["index"], "acceleration": 1.0})', "answered"),
        ('rows.append({"index": case["index"], "trajectory": [1.0, 2.0, 3.0]})', "shape"),
        ("pass", "did not answer for case"),
        ('rows.append({"index": 99, "acceleration": 1.0, "steering": 0.0})', "did not answer"),
        (
            'print("[" * 9, flush=True); print("Oh no", file=sys.stderr); sys.exit(3)',
            "ended with exit code 3; it last wrote: Oh no",
        ),
        ("import os, time; os.close(1); time.sleep(9)", "closed its standard output"),
        ("1 / 0", "ended with exit code 1; it last wrote: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_program_that_fails_is_told(tmp_path: Path, plan: str, told: str) -> None:
    ran = run(program(tmp_path, plan), count=2)
    assert len(ran) == 2
    for r in ran:
        assert told in r.result.status


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run_of:
        lake.add_logs([make_straight_log(), make_crossing_log()], run_id=run_of.id)
    suites.build(lake, "two")
    path = tmp_path / "drive.py"
    pid = tmp_path / "pid"
    hang = f"""if asked["step"] == 3 and case["index"] == 1:
            import subprocess
            child = subprocess.Popen(["sleep", "600"])
            open({str(pid)!r}, "w").write(str(child.pid))
            child.wait()
        {CRUISE}"""
    path.write_text(ANSWER.replace("PLAN", hang))
    ran = suites.run(lake, "two", f"cmd:{sys.executable} {path}", timeout_s=1.5)
    assert ran.planner == f"{Path(sys.executable).name} drive.py"
    assert [r.status for r in suites.results_of(lake, ran.run_id)] == [
        "done", "hung: no action within 1.5 s at step 3",
    ]  # fmt: skip
    assert (
        not Path(f"/proc/{pid.read_text()}/cmdline").exists()
        or not Path(f"/proc/{pid.read_text()}/cmdline").read_text()
    )


def test_what_is_no_program_is_told() -> None:
    with pytest.raises(BadInput, match="names no program"):
        planner("cmd:")
    with pytest.raises(BadInput, match="cannot be started"):
        PipedPlanner("/nowhere/planner")


def test_what_planners_print_does_not_reach_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from simulation.protocol import CaseView, PerCasePlanner

    class Talks(PerCasePlanner):
        name = "talks"

        def plan_one(self, case: CaseView) -> tuple[float, float]:
            print("hello")  # noqa: T201 - what it is about
            return 0.0, 0.0

    made = scene(going(0.0), road_map=road())
    list(run_cases([(case_of(made), made)], Talks()))
    said = capsys.readouterr()
    assert said.out == ""
    assert "hello" in said.err

"""Whatever a planner does, its case fails with the reason, and nobody else's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lake import Lake
from schemas.case import DONE, Result
from schemas.errors import BadInput, BadSetting, UnknownName
from simulation import suites
from simulation.guard import Guard
from simulation.planners import planner
from simulation.suites.reporting import digest_of
from tests.builders import make_crossing_log, make_straight_log
from tests.simulation.hurtful import AT_ONCE, FORKS, HURTS, Calm, Ragged, Slow

HERE = "tests.simulation.hurtful"
CASES = 14
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.create(tmp_path_factory.mktemp("guard") / "lake")
    with made.run("test") as run:
        logs = [make_straight_log(f"s{i}") for i in range(CASES // 2)]
        logs += [make_crossing_log(f"c{i}") for i in range(CASES // 2)]
        made.add_logs(logs, run_id=run.id)
    suites.build(made, "all")
    return made


@pytest.fixture(scope="module")
def calm(lake: Lake) -> dict[int, Result]:
    return by_index(lake, suites.run(lake, "all", f"{HERE}:Calm").run_id)


@pytest.fixture(scope="module")
def hurt(lake: Lake) -> dict[int, Result]:
    ran = suites.run(lake, "all", f"{HERE}:Hurtful", timeout_s=1.0)
    assert (ran.cases, ran.errored, ran.undriven) == (CASES, len(HURTS), 0)
    return by_index(lake, ran.run_id)


def by_index(lake: Lake, run_id: int) -> dict[int, Result]:
    return dict(enumerate(suites.results_of(lake, run_id)))


def test_every_harm_fails_its_case_alone(hurt: dict[int, Result], calm: dict[int, Result]) -> None:
    for index, result in hurt.items():
        if index in HURTS:
            assert HURTS[index][1] in result.status
        else:
            assert_same(result, calm[index])


def test_copies_of_a_planner_neither_drive_nor_keep_its_end_from_being_noticed(
    lake: Lake, calm: dict[int, Result]
) -> None:
    # One at a time: a thread that ends the process does so at whatever case is driven by then.
    ran = suites.run(lake, "all", f"{HERE}:Forking", batch=1)
    rows = lake.read("results", ["case_id"], f"run_id = {ran.run_id}").num_rows
    assert (rows, ran.cases) == (CASES, CASES)
    for index, result in by_index(lake, ran.run_id).items():
        if FORKS.get(index, (None, DONE))[1] == DONE:
            assert_same(result, calm[index])
        else:
            assert result.status.startswith(FORKS[index][1])


def test_of_who_is_asked_for_all_at_once_the_guilty_are_found(
    lake: Lake, calm: dict[int, Result]
) -> None:
    ran = suites.run(lake, "all", f"{HERE}:HurtfulAtOnce")
    assert (ran.cases, ran.errored) == (CASES, len(AT_ONCE))
    for index, result in by_index(lake, ran.run_id).items():
        if index in (2, 4):
            assert result.status == HURTS[index][1]
        elif index == 3:
            assert result.status == "Planner Hurtful raised SystemExit: enough"
        elif index == 5:
            assert result.status == "Planner Hurtful gave acceleration of shape (3,), not (1,)"
        else:
            assert_same(result, calm[index])


def assert_same(one: Result, other: Result) -> None:
    assert one.status == DONE
    assert (one.trajectory == other.trajectory).all()
    assert one.criteria == other.criteria


def test_who_writes_to_what_is_shown_changes_nothing(lake: Lake, calm: dict[int, Result]) -> None:
    ran = suites.run(lake, "all", f"{HERE}:Meddler")
    assert ran.digest == digest_of(list(calm.values()))


def test_harm_is_told_alike_in_any_order_by_any_number_of_processes(
    lake: Lake, hurt: dict[int, Result]
) -> None:
    cases = sorted(suites.cases_of(lake, "all"), key=lambda case: case.case_id)
    some = [(i, cases[i]) for i in (13, 12, 10, 9, 8, 5, 2, 1)]  # two of them end the process
    with Guard(lake.uri, f"{HERE}:Hurtful", jobs=2, limit_s=1.0) as guard:
        again = [ran.result for told in guard.drive(some, batch=3) for ran in told]
    assert digest_of(again) == digest_of([hurt[i] for i, _ in some])


def test_trajectories_of_any_length_beside_controls_change_no_bit(lake: Lake) -> None:
    alone = suites.run(lake, "all", Ragged(), batch=1)
    assert alone.errored == 0
    assert suites.run(lake, "all", Ragged(), batch=7).digest == alone.digest


def test_a_planner_is_called_what_its_class_is_called(calm: dict[int, Result]) -> None:
    assert {result.planner for result in calm.values()} == {"Calm"}


def test_a_planner_that_cannot_be_loaded_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_at_once.py").write_text("import os\nos._exit(9)\n")
    (tmp_path / "gives_up.py").write_text("raise SystemExit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BadInput, match="cannot be loaded: the planner's process ended with code 9"
    ):
        suites.run(lake, "all", "ends_at_once:Planner")
    with pytest.raises(BadInput, match="raised SystemExit while it was imported: 4"):
        planner("gives_up:Planner")
    with pytest.raises(UnknownName, match="Did you mean `Calm`") as unknown:
        suites.run(lake, "all", f"{HERE}:Clam")
    assert "Hurtful" in unknown.value.hint  # facts and all have crossed from the other process
    with pytest.raises(BadInput, match="cannot be started"):
        planner("cmd:/nowhere/planner")
    with pytest.raises(UnknownName) as unknown:
        planner("calm")
    assert "cmd:PROGRAM" in unknown.value.hint
    with pytest.raises(BadSetting, match="need the planner by its name"):
        suites.run(lake, "all", Calm(), timeout_s=1.0)


def command(lake: Lake, planner: str, *options: str) -> list[str]:
    call = "from cli.app import main; main()"
    told = ["--lake", lake.uri, "suite", "run", "all", "--planner", f"{HERE}:{planner}", *options]
    return [sys.executable, "-c", call, *told]


def test_what_planners_print_stays_out_of_the_answer(lake: Lake) -> None:
    ran = subprocess.run(
        command(lake, "Loud", "--json"), capture_output=True, text=True, cwd=ROOT, timeout=120,
        check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["errored"] == 0
    assert "a raw line" in ran.stderr
    assert "made" in ran.stderr
    assert f"Run {json.loads(ran.stdout)['run_id']}." in ran.stderr


@pytest.mark.parametrize(
    ("hangs", "how"),
    [
        (False, signal.SIGINT),
        (False, signal.SIGKILL),
        (True, signal.SIGTERM),
        (True, signal.SIGKILL),
    ],
)
def test_a_run_ends_when_it_is_told_to_and_goes_on_as_if_it_had_not(
    lake: Lake,
    calm: dict[int, Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hangs: bool,
    how: signal.Signals,
) -> None:
    monkeypatch.setenv("SLOW_PLANNER", str(tmp_path))
    if hangs:
        (tmp_path / "hang").touch()
    with subprocess.Popen(
        command(lake, "Slow", "--batch", "2"), stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as run:
        assert run.stderr is not None
        run_id = int(next(line[4:-2] for line in run.stderr if line.startswith("Run ")))
        wards = until(lambda: [int(p.name) for p in tmp_path.iterdir() if p.name != "hang"])
        if not hangs:
            until(lambda: driven(lake, run_id))
        run.send_signal(how)
        _, said = run.communicate(timeout=60)
    until(lambda: not any(alive(ward) for ward in wards))
    assert (driven(lake, run_id) == 0) is hangs
    assert driven(lake, run_id) < CASES
    if how != signal.SIGKILL:
        assert run.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[how]
        assert f"go on with:\n  scenelake --lake {lake.uri} suite run all" in said
        assert said.rstrip().endswith(f"--batch 2 --resume {run_id}")
    (tmp_path / "hang").unlink(missing_ok=True)
    with pytest.raises(BadSetting, match="not of"):
        suites.run(lake, "all", "idm", resume=run_id)
    # Of which planner a run is that kept nothing, its name alone tells; that costs another process.
    again = suites.run(lake, "all", f"{HERE}:Slow" if hangs else Slow(), resume=run_id, batch=3)
    assert (again.run_id, again.cases) == (run_id, CASES)
    assert again.digest == digest_of(list(calm.values()))


def driven(lake: Lake, run_id: int) -> int:
    return lake.read("results", ["case_id"], f"run_id = {run_id}").num_rows


def until(found, seconds: float = 60.0):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("in vain")


def alive(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

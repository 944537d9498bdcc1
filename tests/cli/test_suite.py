"""``scenelake suite``: what it says, in which order, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.app import app
from lake import Lake
from schemas.errors import BadSetting
from simulation import suites
from simulation.protocol import CaseView, PerCasePlanner
from tests.builders import make_crossing_log, make_straight_log


class Raises(PerCasePlanner):
    """Fails in every case, each time with other words."""

    name = "raises"

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        raise ValueError(f"no plan at {case.ego.xy[-1, 0]:.3f} m")


class OneRaises(PerCasePlanner):
    """Fails in the first case of a batch alone, and rolls on in the others."""

    name = "one_raises"

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        if case.index == 0:
            raise ValueError("not this one")
        return 0.0, 0.0


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.create(tmp_path_factory.mktemp("suite") / "lake")
    with made.run("test") as run:
        logs = [make_straight_log("a"), make_straight_log("b"), make_crossing_log("c")]
        made.add_logs(logs, run_id=run.id)
    suites.build(made, "easy", criteria={})
    suites.build(made, "hard", criteria={"goal": -1.0})  # cannot be met
    return made


def suite(lake: Lake, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["--lake", lake.uri, "suite", *map(str, arguments)])


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "1e999"])
def test_a_bound_that_is_no_finite_number_is_refused(
    bound: str, lake: Lake, tmp_path: Path
) -> None:
    done = suite(lake, "build", "odd", "-c", f"min_gap = {bound}")
    assert isinstance(done.exception, BadSetting)
    assert "min_gap" in done.exception.message
    assert "finite" in done.exception.message
    path = tmp_path / "criteria.toml"
    path.write_text(f"min_gap = {bound.replace('1e999', '1' + '0' * 400)}\n")
    assert isinstance(suite(lake, "build", "odd", "--criteria", path).exception, BadSetting)
    assert "odd" not in [s["suite"] for s in suites.list_suites(lake)]


def test_the_exit_code_of_a_run_is_its_verdict(lake: Lake) -> None:
    assert suite(lake, "run", "easy", "--planner", "log_replay").exit_code == 0
    failed = suite(lake, "run", "hard", "--planner", "log_replay")
    assert failed.exit_code == 1
    assert "pass rate 0.000 of 1 wanted" in failed.stderr
    assert (
        suite(lake, "run", "hard", "--planner", "log_replay", "--fail-under", "0").exit_code == 0
    )
    stopped = suite(
        lake, "run", "easy", "--planner", "tests.cli.test_suite:Raises", "--batch", "1",
        "--stop-after", "1",
    )  # fmt: skip
    assert stopped.exit_code == 3
    assert "2 cases not driven" in stopped.stderr
    assert suite(lake, "run", "easy", "--fail-under", "1.5").exit_code == 2


def test_a_run_in_which_cases_errored_ends_with_three_unless_enough_passed(lake: Lake) -> None:
    planner = "tests.cli.test_suite:OneRaises"
    assert suite(lake, "run", "easy", "--planner", planner).exit_code == 3
    told = suite(lake, "run", "easy", "--planner", planner, "--fail-under", "0", "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["errored"] == 1


def test_why_cases_errored_is_told_by_how_often(lake: Lake) -> None:
    done = suite(lake, "run", "easy", "--planner", "tests.cli.test_suite:Raises")
    assert done.exit_code == 3
    lines = [line for line in done.stderr.splitlines() if "no plan at" in line]
    assert len(lines) == 1  # the same but for its number
    assert lines[0].strip().startswith("3 ×")
    assert "3 ×" in suite(lake, "report", "easy").stdout


def test_what_was_not_driven_is_skipped_in_the_junit_file(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    planner = "tests.cli.test_suite:Raises"
    suite(lake, "run", "easy", "--planner", planner, "--batch", "1", "--stop-after", "1",
          "--junit", path)  # fmt: skip
    (made,) = ElementTree.parse(path).getroot()
    assert {name: made.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "0", "errors": "1", "skipped": "2",
    }  # fmt: skip
    skipped = [case.find("skipped") for case in made.iter("testcase")]
    assert [s is not None for s in skipped].count(True) == 2
    told = {s.attrib["message"] for s in skipped if s is not None}
    assert len(told) == 1
    assert "was stopped" in told.pop()
    suite(lake, "report", "easy", "--junit", path)
    assert ElementTree.parse(path).getroot()[0].attrib["skipped"] == "2"


def test_strata_are_told_whether_or_not_cases_are_drawn(lake: Lake) -> None:
    done = suite(lake, "build", "kinds", "--stratify", "n_agents > 1")
    assert "every scene that qualifies" in done.stderr
    told = suite(lake, "build", "kinds", "--stratify", "n_agents > 1", "--replace", "--json")
    strata = json.loads(told.stdout)["strata"]
    assert sum(strata.values()) == 3
    drawn = suite(lake, "build", "kinds", "--stratify", "n_agents > 1", "-n", "2", "--replace")
    assert "every scene that qualifies" not in drawn.stderr
    assert "strata" in drawn.stderr


def test_validation_tells_who_solved_each_case(lake: Lake) -> None:
    cases = suites.cases_of(lake, "easy")
    found = suites.validate(lake, "easy", references=())
    solved = [case for case in cases if "solvable" not in found.problems.get(case.case_id, ())]
    assert solved
    assert found.solved_by == {"log_replay": len(solved)}  # there is no other reference
    for case in suites.cases_of(lake, "easy"):
        proof = case.provenance["proof"]
        assert (proof["solved_by"] == "log_replay") is (proof["margin"] is not None)


def test_a_report_begins_with_what_matters_most(lake: Lake) -> None:
    suite(lake, "run", "hard", "--planner", "idm")
    told = suite(lake, "report", "hard").stdout
    places = [told.index(word) for word in ("pass rate", "criterion", "case_id")]
    assert places == sorted(places)
    if "tag " in told:
        assert told.index("tag ") > places[-1]
    assert "{" not in told
    assert "[" not in told


def test_suites_are_listed_by_what_was_said_of_them(lake: Lake) -> None:
    suite(lake, "build", "said", "--agents", "idm", "-c", "calm = never hard_brake(ego)")
    suite(lake, "run", "said", "--planner", "idm")
    (line,) = [row for row in suite(lake, "list").stdout.splitlines() if row.startswith("said")]
    assert "agents: idm, criteria: calm = never hard_brake(ego)" in line
    assert "idm " in line
    assert "{" not in line
    assert "None" not in line


def test_a_run_of_which_nothing_could_be_judged_prints_no_empty_table(lake: Lake) -> None:
    done = suite(lake, "run", "easy", "--planner", "tests.cli.test_suite:Raises")
    assert "no rows" not in done.stderr


def test_a_weighted_rate_says_that_it_is_one(lake: Lake) -> None:
    strata = ("--stratify", "name = 'a'", "-n", "2")
    suite(lake, "build", "weighed", *strata, "-c", "goal = -1")
    plain = suite(lake, "run", "weighed", "--planner", "idm").stderr
    assert "weighing" not in plain  # none passed, whatever they weigh
    report = suite(lake, "run", "weighed", "--planner", "idm", "--json").stdout
    assert json.loads(report)["score_rate"]["value"] == pytest.approx(
        float(plain.split("score ")[1].split(";")[0]), abs=5e-4
    )


def test_trimming_answers_in_json_too(lake: Lake) -> None:
    suites.build(lake, "whole", criteria={})  # of its own: no run of it was stopped
    for planner in ("idm", "constant_velocity"):
        suite(lake, "run", "whole", "--planner", planner)
    done = suite(lake, "trim", "whole", "fewer", "--keep", "ranking", "--json")
    assert json.loads(done.stdout) == {
        "suite": "fewer", "of": "whole", "cases": len(suites.cases_of(lake, "fewer")),
    }  # fmt: skip


def test_what_a_comparison_counts_and_what_it_weighs_is_said(lake: Lake) -> None:
    suites.build(lake, "pair", criteria={})
    runs = [suites.run(lake, "pair", who).run_id for who in ("idm", "log_replay")]
    assert ", of cases counted, not weighed)" in suite(lake, "compare", *map(str, runs)).stdout


def test_who_was_stopped_is_told_beside_a_ranking(lake: Lake, tmp_path: Path) -> None:
    suites.build(lake, "stopped", criteria={"goal": -1.0})
    suite(lake, "run", "stopped", "--planner", "idm")
    suite(lake, "run", "stopped", "--planner", "log_replay", "--batch", "1", "--stop-after", "1")
    told = "The run of log_replay was stopped: 2 cases that it did not drive left out."
    for asked in (
        ("rank", "stopped"),
        ("trim", "stopped", "shorter", "--keep", "ranking"),
        ("report", "stopped", "-o", tmp_path / "page.html", "--animate", "0"),
    ):
        done = suite(lake, *asked)
        assert done.exit_code == 0
        assert told in done.stderr
    assert json.loads(suite(lake, "rank", "stopped", "--json").stdout)["left_out"] == {
        "log_replay": 2
    }


def test_scenes_that_miss_their_gap_say_where_they_lie(lake: Lake) -> None:
    from cli.generate import _elsewhere

    roads = lake.read("scenes", ["road_type"])["road_type"].to_pylist()
    kinds = sorted({str(road or "unknown") for road in roads})
    told = _elsewhere(lake, lake.scene_ids())
    assert told.endswith(f"the road counts as {', '.join(kinds)}.")

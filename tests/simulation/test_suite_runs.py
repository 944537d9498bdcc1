"""Runs of a suite: the same whatever the batch, the order, the workers, or a stop in the middle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lake import Lake
from schemas.errors import BadSetting, MissingData, UnknownName
from simulation import suites
from simulation.protocol import CaseView, PerCasePlanner
from simulation.suites.building import drawn_order
from simulation.suites.reporting import digest_of
from tests.builders import make_crossing_log, make_straight_log

HERE = "tests.simulation.test_suite_runs"
NAMES = ("a", "b", "c", "d", "e", "f")


class Rolls(PerCasePlanner):
    """Rolls on."""

    name = "cruise"

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        return 0.0, 0.0


class Brakes(Rolls):
    """Another of the same name."""

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        return -3.0, 0.0


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.create(tmp_path_factory.mktemp("runs") / "lake")
    with made.run("test") as run:
        logs = [make_straight_log(name) for name in NAMES[:3]]
        logs += [make_crossing_log(name) for name in NAMES[3:]]
        made.add_logs(logs, run_id=run.id)
    suites.build(made, "six")
    return made


def test_a_stopped_run_is_taken_up_again_and_ends_the_same(lake: Lake) -> None:
    whole = suites.run(lake, "six", "idm")
    assert whole.cases == 6
    assert whole.undriven == 0

    class Stop(BaseException):
        pass

    def stop(done: int, of: int) -> None:
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        suites.run(lake, "six", "idm", batch=2, progress=stop)
    (stopped,) = lake.sql(
        "select run_id from runs where command = 'suite run' and outcome = 'interrupted'"
    )["run_id"].to_pylist()
    half = suites.report(lake, stopped)
    assert (half.cases, half.undriven) == (4, 2)
    told: list[tuple[int, int]] = []
    again = suites.run(
        lake, "six", "idm", resume=stopped, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(6, 6)]
    assert again.run_id == stopped
    assert again.digest == whole.digest
    assert again.agent_steps == whole.agent_steps
    assert again.wall_s > half.wall_s > 0.0
    assert (again.cases, again.undriven) == (6, 0)
    outcome = lake.read("runs", ["outcome"], f"run_id = {stopped}")["outcome"].to_pylist()
    assert outcome == ["done"]


def test_workers_batches_and_order_change_no_bit(lake: Lake) -> None:
    alone = suites.run(lake, "six", "pdm", batch=1)
    assert suites.run(lake, "six", "pdm", batch=5).digest == alone.digest
    assert suites.run(lake, "six", "pdm", batch=2, jobs=2).digest == alone.digest
    assert suites.run(lake, "six", "idm").digest != alone.digest


def test_a_case_that_two_took_up_counts_once(lake: Lake) -> None:
    ran = suites.run(lake, "six", "constant_velocity")
    rows = lake.read("results", None, f"run_id = {ran.run_id}")
    lake.append("results", rows.slice(0, 2))
    again = suites.report(lake, ran.run_id)
    assert (again.cases, again.passed, again.undriven) == (6, ran.passed, 0)
    assert again.digest == ran.digest


@pytest.mark.parametrize("field", ["agents", "scores", "criteria"])
def test_the_digest_is_of_all_that_was_found(lake: Lake, field: str) -> None:
    found = suites.results_of(lake, suites.run(lake, "six", "constant_velocity").run_id)
    other = [replace(found[0], **{field: {}}), *found[1:]]
    if getattr(found[0], field) == {}:
        other = [replace(found[0], agents={"kept_out": [7]}), *found[1:]]
    assert digest_of(other) != digest_of(found)


def test_only_a_run_of_the_same_suite_and_planner_is_taken_up(lake: Lake) -> None:
    ran = suites.run(lake, "six", "idm")
    with pytest.raises(BadSetting, match="of idm on suite `six`, not of constant_velocity"):
        suites.run(lake, "six", "constant_velocity", resume=ran.run_id)
    with pytest.raises(UnknownName):
        suites.run(lake, "six", "idm", resume=12345)


def test_planners_of_one_name_are_told_apart_by_how_they_were_asked_for(
    lake: Lake, tmp_path: Path
) -> None:
    rolls, brakes = f"{HERE}:Rolls", f"{HERE}:Brakes"
    suites.build(lake, "namesakes", criteria={"goal": -1.0}, replace=True)
    half = suites.run(lake, "namesakes", rolls, batch=1, stop_after=2)
    for other, words in ((brakes, brakes), (Brakes(), "cruise"), ("idm", "idm")):
        with pytest.raises(BadSetting, match=f"of {rolls} on .*, not of {words} on"):
            suites.run(lake, "namesakes", other, resume=half.run_id)
    one = suites.run(lake, "namesakes", Rolls(), resume=half.run_id)
    assert (one.run_id, one.undriven) == (half.run_id, 0)
    assert suites.run(lake, "namesakes", rolls, resume=half.run_id).digest == one.digest
    two = suites.run(lake, "namesakes", brakes)
    suites.run(lake, "namesakes", "idm")
    ranked = {row["planner"]: row["run_id"] for row in suites.rank(lake, "namesakes")["ranking"]}
    assert ranked.keys() == {rolls, brakes, "idm"}
    assert ranked[rolls] == str(one.run_id)
    told = suites.compare(lake, one.run_id, two.run_id)
    assert [told[which]["planner"] for which in ("first", "second")] == [rolls, brakes]
    same = suites.compare(lake, one.run_id, one.run_id)
    assert same["first"]["planner"] == "cruise"
    (listed,) = [s for s in suites.list_suites(lake) if s["suite"] == "namesakes"]
    assert {run["planner"] for run in listed["runs"]} == {rolls, brakes, "idm"}
    page = suites.write_page(lake, ["namesakes"], tmp_path / "page.html", animated=0)
    assert len(page.runs) == 3
    assert f"{brakes} against {rolls}" in page.file.read_text(encoding="utf-8")


def test_a_run_of_a_suite_that_was_built_anew_is_taken_up_only_if_it_is_the_same_test(
    lake: Lake,
) -> None:
    ids = lake.scene_ids()
    suites.build(lake, "anew", scene_ids=ids[:4], criteria={"goal": -1.0})
    run_id = suites.run(lake, "anew", "idm", batch=1, stop_after=1).run_id

    def tables() -> str:
        (told,) = lake.read("runs", ["tables"], f"run_id = {run_id}")["tables"].to_pylist()
        return str(told)

    then = tables()
    for others, told in (
        ({"scene_ids": ids[:4], "criteria": {"goal": 1e3}}, "4 are other tests now"),
        ({"scene_ids": ids[:4], "agents": "idm"}, "4 are other tests now"),
        ({"scene_ids": ids[1:6], "criteria": {"goal": -1.0}}, "1 are gone, 2 are new"),
    ):
        suites.build(lake, "anew", replace=True, **others)
        with pytest.raises(BadSetting, match=f"built anew after run {run_id} began.*{told}"):
            suites.run(lake, "anew", "idm", resume=run_id)
        assert (suites.report(lake, run_id).cases, tables()) == (1, then)
    suites.build(lake, "anew", scene_ids=ids[:4], criteria={"goal": -1.0}, replace=True)
    assert suites.run(lake, "anew", "idm", batch=1, stop_after=1, resume=run_id).cases == 2
    assert tables() == then


def test_what_was_not_driven_is_of_what_the_run_was_asked_to_drive(lake: Lake) -> None:
    ids = lake.scene_ids()

    def told(run_id: int) -> tuple[int, int, bool]:
        """Undriven by the report and by JUnit, and whether the verdict is that of a whole run."""
        report, results = suites.reported(lake, run_id)
        undriven = suites.undriven_of(lake, report, results)
        xml = ElementTree.fromstring(suites.junit(report, results, undriven))
        skipped = int(xml[0].attrib["skipped"])
        return report.undriven, skipped, report.reaches(1e-6)

    suites.build(lake, "grows", scene_ids=ids[:3], replace=True)
    whole = suites.run(lake, "grows", "log_replay")
    assert whole.passed
    suites.build(lake, "strict3", scene_ids=ids[:3], criteria={"goal": -1.0}, replace=True)
    part = suites.run(lake, "strict3", "log_replay", batch=1, stop_after=1)
    for some in (ids, ids[:1], ids[3:]):
        for suite in ("grows", "strict3"):
            suites.build(lake, suite, scene_ids=some, replace=True)
        assert told(whole.run_id) == (0, 0, True)
        assert told(part.run_id) == (2, 2, False)


def test_a_run_whose_cases_are_compacted_away_is_taken_up_unless_they_were_built_anew(
    tmp_path: Path,
) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log(name) for name in NAMES], run_id=run.id)
    suites.build(lake, "six", criteria={"goal": -1.0})
    run_id = suites.run(lake, "six", "idm", batch=1, stop_after=1).run_id
    suites.validate(lake, "six", references=())
    lake.compact(keep_s=0.0)
    assert suites.run(lake, "six", "idm", batch=1, stop_after=1, resume=run_id).cases == 2
    suites.build(lake, "six", criteria={"goal": -1.0}, replace=True)
    lake.compact(keep_s=0.0)
    with pytest.raises(BadSetting, match="compacted away"):
        suites.run(lake, "six", "idm", resume=run_id)


def test_a_run_stops_early_once_enough_has_failed(lake: Lake) -> None:
    suites.build(lake, "strict", criteria={"goal": -1.0})  # cannot be met
    ran = suites.run(lake, "strict", "idm", batch=1, stop_after=2)
    assert (ran.cases, ran.failed, ran.undriven) == (2, 2, 4)


def test_a_run_is_told_as_junit(lake: Lake, tmp_path: Path) -> None:
    suites.build(lake, "goal", criteria={"goal": -1.0}, replace=True)
    ran = suites.run(lake, "goal", "idm")
    path = tmp_path / "deep" / "report.xml"
    suites.write_junit(path, ran, suites.results_of(lake, ran.run_id))
    (suite,) = ElementTree.parse(path).getroot()
    assert suite.attrib["tests"] == suite.attrib["failures"] == "6"
    assert suite.attrib["errors"] == "0"
    cases = suite.findall("testcase")
    assert len(cases) == 6
    failure = cases[0].find("failure")
    assert failure is not None
    assert "goal" in failure.attrib["message"]
    assert "bound -1.000" in (failure.text or "")


def test_strata_are_drawn_alike_and_weighed(lake: Lake) -> None:
    ids = list(range(100))
    strata = {i: "rare" if i < 10 else "common" for i in ids}
    order = drawn_order(ids, strata, seed=3)
    assert sorted(order) == ids
    assert sum(strata[i] == "rare" for i in order[:20]) == 10
    assert order == drawn_order(ids, strata, seed=3)
    assert order != drawn_order(ids, strata, seed=4)
    suites.build(
        lake, "mixed", n=2, stratify="name like '%crossing%' or n_agents > 1", replace=True
    )
    cases = suites.cases_of(lake, "mixed")
    assert sum(case.weight for case in cases) == pytest.approx(6.0)
    for case in cases:
        assert case.weight >= 1.0
    with pytest.raises(MissingData, match="no clusters"):
        suites.build(lake, "by-cluster", n=2, stratify="cluster")


def test_a_suite_is_proven_case_by_case_and_trimmed(lake: Lake) -> None:
    suites.build(lake, "proof", replace=True)
    found = suites.validate(lake, "proof")
    assert found.cases == 6
    assert found.flake_rate == 0.0
    # Logs of one builder are the same but for their names.
    assert found.failed["unique"] == 4
    for case in suites.cases_of(lake, "proof"):
        proof = case.provenance["proof"]
        assert proof["valid"] is (case.case_id not in found.problems)
        trivial = "non_trivial" in proof["failed"]
        assert trivial is not bool(proof["constant_velocity_breaks"])
    with pytest.raises(MissingData, match="not been validated"):
        suites.trim(lake, "six", "six-sound")
    if found.valid:
        assert suites.trim(lake, "proof", "sound") == found.valid
        assert len(suites.cases_of(lake, "sound")) == found.valid


def test_planners_are_ranked_with_their_reliability(lake: Lake) -> None:
    suites.build(lake, "race", replace=True)
    with pytest.raises(MissingData, match="never run"):
        suites.rank(lake, "race")
    suites.run(lake, "race", "idm")
    with pytest.raises(MissingData, match="Only one planner"):
        suites.rank(lake, "race")
    suites.run(lake, "race", "constant_velocity")
    suites.run(lake, "race", "log_replay")
    found = suites.rank(lake, "race")
    assert found["cases"] == 6
    scores = [row["score"]["value"] for row in found["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 <= len(found["fewest"]) <= 6
    assert np.isfinite(found["reliability"]["same_best"])
    kept = suites.trim(lake, "race", "race-short", keep="ranking")
    assert kept == len(found["fewest"])
    both = suites.compare(lake, "race", suites.run(lake, "race", "idm").run_id)
    assert both["p_value"] <= 1.0


def test_a_stopped_run_stands_for_its_planner_only_where_no_other_drove_all(
    lake: Lake, tmp_path: Path
) -> None:
    suites.build(lake, "halves", criteria={"goal": -1.0}, replace=True)
    whole = suites.run(lake, "halves", "idm").run_id
    part = suites.run(lake, "halves", "constant_velocity", batch=1, stop_after=2).run_id
    suites.run(lake, "halves", "idm", batch=1, stop_after=1)

    def ranked() -> tuple[set[str], int, dict[str, int]]:
        found = suites.rank(lake, "halves")
        return {row["run_id"] for row in found["ranking"]}, found["cases"], found["left_out"]

    assert ranked() == ({str(whole), str(part)}, 2, {"constant_velocity": 4})
    page = suites.write_page(lake, ["halves"], tmp_path / "page.html", animated=0)
    assert set(page.runs) == {str(whole), str(part)}
    assert (page.cases, page.left_out) == (2, {"constant_velocity": 4})
    assert suites.compare(lake, whole, part)["left_out"] == 4
    suites.run(lake, "halves", "constant_velocity", resume=part)
    assert ranked() == ({str(whole), str(part)}, 6, {})
    # A run of what the suite was before says nothing of what it is now.
    suites.build(lake, "halves", criteria={"goal": -2.0}, replace=True)
    now = suites.run(lake, "halves", "constant_velocity").run_id
    again = suites.run(lake, "halves", "idm", batch=1, stop_after=1).run_id
    assert ranked() == ({str(now), str(again)}, 1, {"idm": 5})


def test_all_that_is_told_of_runs_weighs_their_cases(lake: Lake, tmp_path: Path) -> None:
    suites.build(lake, "weighty", criteria={"goal": 5.0}, replace=True)
    light, *_, heavy = suites.cases_of(lake, "weighty")
    rows = lake.read("cases", None, "suite = 'weighty'").to_pylist()
    for row in rows:
        of = {light.case_id: ("rare", 1.0), heavy.case_id: ("common", 50.0)}
        stratum, weight = of.get(row["case_id"], ("common", 7.0))
        told = {**json.loads(row["provenance"]), "stratum": stratum, "weight": weight}
        row["provenance"] = json.dumps(told)
    lake.replace("cases", rows, where="suite = 'weighty'")
    one, two = (suites.run(lake, "weighty", who) for who in (Brakes(), "log_replay"))
    plain = []
    for ran in (one, two):
        results = suites.results_of(lake, ran.run_id)
        weights = [r.case.weight for r in results]
        plain.append(np.mean([r.score for r in results]))
        assert ran.score == ran.score_rate.value
        assert ran.score == pytest.approx(np.average([r.score for r in results], weights=weights))
        for name, value in ran.scores.items():
            scores = [r.scores[name] for r in results]
            assert value == pytest.approx(np.average(scores, weights=weights))
        assert ran.scores["nuplan"] == pytest.approx(ran.score, abs=1e-6)
    told = suites.compare(lake, one.run_id, two.run_id)
    change = told["second"]["score"] - told["first"]["score"]
    assert told["mean_change"] == pytest.approx(change)
    assert change == pytest.approx(two.score - one.score, abs=1e-6)
    assert abs(change - (plain[1] - plain[0])) > 0.01
    assert told["mean_change_low"] <= change <= told["mean_change_high"]
    rates = {row["run_id"]: row for row in suites.rank(lake, "weighty")["ranking"]}
    for which in ("first", "second"):
        ranked = rates[told[which]["run_id"]]
        assert told[which]["pass_rate"] == ranked["pass_rate"]
        assert told[which]["score"] == pytest.approx(ranked["score"]["value"])
    page = suites.write_page(lake, [one.run_id, two.run_id], tmp_path / "page.html", animated=0)
    assert f"{change:+.3f} [" in page.file.read_text(encoding="utf-8")


def test_the_best_of_a_page_is_so_in_the_cases_that_all_drove(lake: Lake, tmp_path: Path) -> None:
    suites.build(lake, "best", replace=True)
    whole, part = (suites.run(lake, "best", Brakes()).run_id for _ in range(2))
    rows = lake.read("results", None, f"run_id = {part}").to_pylist()
    lost = [row for row in rows if not row["passed"]]
    assert 0 < len(lost) < len(rows)
    lake.replace("results", lost, where=f"run_id = {part}")
    page = suites.write_page(lake, [whole, part], tmp_path / "page.html", animated=0)
    assert page.cases == len(lost)
    assert f"cruise ({whole}) 0 %" in page.file.read_text(encoding="utf-8")


def test_what_agents_drew_is_stored_and_the_same_whatever_the_batch(lake: Lake) -> None:
    words = "mixed:idm=0.4,mobil=0.3,log_then_idm=0.3,yielding=0.5"
    suites.build(lake, "mixture", agents=words, seed=7)
    runs = [suites.run(lake, "mixture", "idm", batch=batch) for batch in (1, 6)]
    assert runs[0].digest == runs[1].digest
    told = [
        {r.case.case_id: r.agents for r in suites.results_of(lake, run.run_id)} for run in runs
    ]
    assert told[0] == told[1]
    assert any("behaviours" in agents for agents in told[0].values())
    suites.build(lake, "mixture", agents=words, seed=8, replace=True)
    again = suites.run(lake, "mixture", "idm")
    other = {r.case.case_id: r.agents for r in suites.results_of(lake, again.run_id)}
    assert other.keys() == told[0].keys()
    assert other != told[0]

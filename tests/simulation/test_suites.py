"""Suites in a lake: built with reasons, run, reported, compared, replaced only when told to."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lake import Lake
from mining.query.find import scenes_of
from mining.tag import tag
from schemas.case import Case
from schemas.errors import BadQuery, BadSetting, LakeError, MissingData, UnknownName
from schemas.scene import Scene
from simulation import suites
from simulation.suites import building
from tests.builders import make_crossing_log, make_straight_log


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.create(tmp_path_factory.mktemp("lake") / "lake")
    logs = [make_straight_log(), make_crossing_log(), make_crossing_log("brief", steps=20)]
    with made.run("test") as run:
        written = made.add_logs(logs, run_id=run.id)
        scene_id = written["scenes"][0]
        log_id = made.read("scenes", ["log_id"], f"scene_id = {scene_id}")["log_id"][0].as_py()
        event = {
            "event_id": 1, "log_id": log_id, "scene_id": scene_id, "name": "cut_in", "t0_ns": 0,
            "t1_ns": 1, "truth": "true", "source": "dataset", "run_id": run.id,
        }  # fmt: skip
        made.append("events", [event])
    return made


def test_a_suite_is_built_run_and_reported(lake: Lake) -> None:
    built = suites.build(lake, "first")
    assert built.cases == 2
    assert [reason for _, reason in built.refused] == [
        "only 0.9 s are left to drive; 3 s are needed"
    ]
    told: list[tuple[int, int]] = []
    ran = suites.run(lake, "first", "idm", progress=lambda done, of: told.append((done, of)))
    assert (ran.cases, ran.passed + ran.failed + ran.errored) == (2, 2)
    assert ran.errored == 0
    assert told == [(2, 2)]
    answer = ran.answer()
    for key in (
        "run_id", "cases", "passed", "failed", "errored", "score", "wall_s", "agent_steps",
        "by_criterion",
    ):  # fmt: skip
        assert key in answer
    again = suites.report(lake, "first")
    assert again == suites.report(lake, ran.run_id)
    assert again.answer() == answer
    results = lake.read("results", None, f"run_id = {ran.run_id}").to_pylist()
    trajectory = np.frombuffer(results[0]["trajectory"], dtype=np.float32).reshape(-1, 4)
    assert len(trajectory) == results[0]["steps"] + 1


def test_no_stratum_is_left_out_in_silence(lake: Lake) -> None:
    with pytest.raises(BadSetting, match="2 cases cannot stand for 3 strata by `name`") as raised:
        suites.build(lake, "few", n=2, stratify="name")
    assert "3 at least" in raised.value.hint
    assert lake.read("suites", ["suite"], "suite = 'few'").num_rows == 0
    assert suites.build(lake, "few", n=2).cases == 2
    built = suites.build(lake, "kinds", n=3, stratify="name")
    assert built.strata == {"brief": 0, "crossing": 1, "straight": 1}
    assert [case.weight for case in suites.cases_of(lake, "kinds")] == [1.0, 1.0]


def test_results_do_not_depend_on_batches_or_processes(lake: Lake) -> None:
    suites.build(lake, "split", replace=True)
    runs = [
        suites.run(lake, "split", "idm", batch=64),
        suites.run(lake, "split", "idm", batch=1),
        suites.run(lake, "split", "idm", jobs=2),
    ]
    rows = [
        lake.read(
            "results", ["case_id", "score", "criteria", "trajectory"], f"run_id = {r.run_id}"
        )
        .sort_by("case_id")
        .to_pylist()
        for r in runs
    ]
    assert rows[0] == rows[1] == rows[2]


def test_a_query_chooses_scenes(tmp_path: Path) -> None:
    made = Lake.create(tmp_path / "lake")
    with made.run("test") as run:
        made.add_logs([make_straight_log(), make_crossing_log()], run_id=run.id)
    with pytest.raises(MissingData, match="`stopped`"):
        suites.build(made, "all", query="not stopped(ego)")
    tag(made)
    everywhere = len(made.scene_ids())
    still = scenes_of(made, "stopped(ego)")
    built = suites.build(made, "moves", query="not stopped(ego)")
    assert built.cases == len(scenes_of(made, "not stopped(ego)"))
    assert built.cases >= everywhere - len(still)
    selection = made.read("suites", ["selection"], "suite = 'moves'")["selection"][0].as_py()
    assert json.loads(selection)["query"] == "not stopped(ego)"
    with pytest.raises(BadQuery, match="cutin"):
        suites.build(made, "typo", query="cutin(a, ego)")


def test_scenes_that_nobody_looked_through_are_told_apart(tmp_path: Path) -> None:
    made = Lake.create(tmp_path / "lake")
    with made.run("test") as run:
        (first, *_) = made.add_logs([make_straight_log()], run_id=run.id)["scenes"]
    tag(made, only=["moving", "cut_in"])
    with made.run("test") as run:
        made.add_logs([make_straight_log("late"), make_straight_log("last")], run_id=run.id)
    for how in ({"query": "moving(ego)"}, {"tags": ["moving", "cut_in"]}):
        built = suites.build(made, "moves", replace=True, **how)  # type: ignore[arg-type]
        assert (built.cases, built.untagged) == (1, 2)
        assert [case.scene_id for case in suites.cases_of(made, "moves")] == [first]
    # Those that do not qualify anyhow need no tags.
    built = suites.build(made, "one", query="moving(ego)", where=f"scene_id = {first}")
    assert (built.cases, built.untagged) == (1, 0)
    with pytest.raises(MissingData, match="No scene qualifies") as error:
        suites.build(made, "none", tags=["cut_in"])
    assert "2 that might were not looked through" in error.value.hint


def test_tags_choose_scenes_and_criteria(lake: Lake) -> None:
    suites.build(lake, "tagged", tags=["cut_in"])
    (case,) = suites.cases_of(lake, "tagged")
    assert case.tags == ("cut_in",)
    assert case.criteria["min_gap"] == 0.2
    report = suites.run(lake, "tagged", "constant_velocity")
    assert report.by_tag["cut_in"][1] == 1


def test_a_case_is_what_its_row_says(lake: Lake) -> None:
    suites.build(lake, "rows", replace=True)
    for case in suites.cases_of(lake, "rows"):
        assert Case.from_row(case.row(run_id=1)) == case
        assert case.provenance["source"] == "log"


def test_the_draw_depends_on_the_seed_alone(lake: Lake) -> None:
    drawn = []
    for seed in (1, 1, 2, 3, 4):
        suites.build(lake, "drawn", n=1, seed=seed, replace=True)
        (case,) = suites.cases_of(lake, "drawn")
        drawn.append(case.scene_id)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 2


def test_what_is_there_is_not_replaced_unasked(lake: Lake) -> None:
    suites.build(lake, "kept", replace=True)
    with pytest.raises(BadSetting, match="already"):
        suites.build(lake, "kept")
    suites.build(lake, "kept", n=1, replace=True)
    assert len(suites.cases_of(lake, "kept")) == 1
    assert [s["suite"] for s in suites.list_suites(lake)].count("kept") == 1


def test_two_who_build_one_suite_at_once_do_not_overwrite_each_other(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    demands = building.with_demands

    def built_meanwhile(cases: Sequence[tuple[Case, Scene]]) -> list[Case]:
        monkeypatch.setattr(building, "with_demands", demands)
        suites.build(lake, "race", n=1)
        return demands(cases)

    monkeypatch.setattr(building, "with_demands", built_meanwhile)
    with pytest.raises(BadSetting, match="already"):
        suites.build(lake, "race")
    assert len(suites.cases_of(lake, "race")) == 1


def test_a_suite_built_anew_leaves_a_sound_lake(lake: Lake) -> None:
    suites.build(lake, "anew", where="n_agents > 1", replace=True)
    suites.run(lake, "anew", "idm")
    suites.build(lake, "anew", where="n_agents = 1", replace=True)
    assert [f for f in lake.verify() if f.table in ("results", "cases")] == []


@pytest.mark.parametrize("name", ["../x", "a b", "12345", "", "it's", "-x"])
def test_what_cannot_name_a_suite_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(BadSetting, match="cannot name a suite"):
        suites.build(lake, name)


def test_what_chooses_nothing_is_refused_and_does_not_choose_all(lake: Lake) -> None:
    with pytest.raises(BadSetting, match="No tag is named"):
        suites.build(lake, "x", tags=[""])
    with pytest.raises(BadQuery, match="condition is empty"):
        suites.build(lake, "x", where=" ")
    for seed in (-1, 2**64):
        with pytest.raises(BadQuery, match="seed"):
            suites.build(lake, "x", seed=seed)
    assert "x" not in [s["suite"] for s in suites.list_suites(lake)]


def test_a_removed_suite_takes_its_results_along_and_lets_its_logs_go(tmp_path: Path) -> None:
    made = Lake.create(tmp_path / "lake")
    with made.run("test") as run:
        made.add_logs([make_straight_log("a"), make_straight_log("b")], run_id=run.id)
    for name in ("gone", "stays"):
        suites.build(made, name)
        suites.run(made, name, "idm")
    with pytest.raises(LakeError, match=r"2 cases of suites rest .*`gone`, `stays`"):
        made.remove("source_log_id = 'a'")
    removed = suites.remove(made, "gone")
    assert (removed.cases, removed.results) == (2, 2)
    assert [s["suite"] for s in suites.list_suites(made)] == ["stays"]
    assert suites.report(made, "stays").cases == 2
    assert made.verify() == []
    with pytest.raises(UnknownName, match="suite"):
        suites.remove(made, "gone")
    suites.remove(made, "stays")
    assert made.remove("source_log_id = 'a'").logs == 1


def test_runs_are_compared_case_by_case(lake: Lake) -> None:
    suites.build(lake, "compared", replace=True)
    one = suites.run(lake, "compared", "log_replay")
    two = suites.run(lake, "compared", "idm")
    answer = suites.compare(lake, one.run_id, two.run_id)
    assert answer["cases"] == 2
    assert answer["mean_change"] == pytest.approx(two.score - one.score, abs=1e-6)
    assert len(answer["lost"]) == one.passed - answer["both_passed"]


def test_what_cannot_be_is_said(lake: Lake) -> None:
    with pytest.raises(UnknownName, match="suite"):
        suites.run(lake, "nothing", "idm")
    with pytest.raises(UnknownName, match="behaviour of agents"):
        suites.build(lake, "x", agents="magic")
    with pytest.raises(UnknownName, match="tag"):
        suites.build(lake, "x", tags=["cut_out"])
    with pytest.raises(UnknownName, match="criterion"):
        suites.build(lake, "x", criteria={"min_gab": 1.0})
    with pytest.raises(MissingData, match="No scene qualifies"):
        suites.build(lake, "x", where="n_agents > 1000")
    with pytest.raises(MissingData, match="None of 1 scenes can be driven"):
        suites.build(lake, "x", where="t1_ns - t0_ns < 3e9")
    suites.build(lake, "never-run", replace=True)
    with pytest.raises(MissingData, match="never run"):
        suites.report(lake, "never-run")


def test_an_empty_lake_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingData):
        suites.build(Lake.create(tmp_path / "lake"), "x")

"""Pages of runs: their figures are those of the runs, their links lead somewhere, names are text."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from formats.page import Link, Share
from generation import shipped
from lake import Lake
from schemas.case import DONE, Case, Measured, Result
from schemas.errors import BadQuery, BadSetting, MissingData, UnknownName, UnreadableFile
from simulation import diffusing, suites
from simulation.planners import ConstantVelocity
from simulation.protocol import CaseView, PerCasePlanner
from simulation.suites.page import worst_of_each_kind
from tests.builders import make_crossing_log, make_straight_log
from tests.formats.test_film import Page

EVIL = '<script>alert("x")</script>'


class Evil(ConstantVelocity):
    """A planner of a name that is none."""

    name = EVIL


class Fails(PerCasePlanner):
    """Raises after a second in some cases."""

    name = "fails"

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        if case.time > 1.0 and case.index == 0:
            raise ValueError(f"lost at {case.time:.1f} s & <gone>")
        return 0.0, 0.0


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.create(tmp_path_factory.mktemp("page") / "lake")
    with made.run("test") as run:
        logs = [make_straight_log(name) for name in ("a", "b<i>")]
        logs += [make_crossing_log(name) for name in ("c", "d", "e")]
        made.add_logs(logs, run_id=run.id)
    suites.build(made, "five", criteria={"goal": -1.0, "calm": "never hard_brake(ego)"})
    suites.build(made, "other")
    for planner in ("idm", "constant_velocity"):
        suites.run(made, "five", planner)
    suites.run(made, "five", Evil())
    suites.run(made, "five", Fails())
    suites.run(made, "other", "idm")
    return made


def page_of(lake: Lake, tmp_path: Path, *names: str | int, animated: int = 12) -> tuple[str, Page]:
    told = suites.write_page(lake, names, tmp_path / "deep" / "page.html", animated=animated)
    text = told.file.read_text(encoding="utf-8")
    assert told.bytes == len(text.encode())
    assert told.animated == text.count('<section class="film')
    return text, Page(text)


def test_a_suite_is_told_by_the_last_run_of_each_planner(lake: Lake, tmp_path: Path) -> None:
    text, page = page_of(lake, tmp_path, "five")
    assert EVIL not in text
    assert text.count("&lt;script&gt;alert") > 3
    assert [a.get("type") for a in page.of("script")].count(None) == 1
    ids = {a["id"] for _, a in page.found if "id" in a}
    links = [a["href"] for a in page.of("a")]
    assert any(link.startswith("#film-") for link in links)
    assert {link.removeprefix("#") for link in links} <= ids
    assert len(page.of("table")) == len(page.of("caption"))
    levels = [int(tag[1]) for tag, _ in page.found if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert "ValueError: lost at 1.1 s &amp; &lt;gone&gt;" in text


def test_the_figures_are_those_of_the_runs(lake: Lake, tmp_path: Path) -> None:
    suites.build(lake, "mild", criteria={"max_braking": 0.5}, replace=True)
    run = suites.run(lake, "mild", "idm")
    text, _ = page_of(lake, tmp_path, run.run_id)
    rate = run.pass_rate
    assert f"{100 * rate.value:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" in text
    failed = run.by_criterion["max_braking"]["failed"]
    assert f"{failed} failed" in text
    assert run.digest[:16] in text
    assert str(run.run_id) in text
    assert text.count('<section class="film') == run.failed


def test_few_films_are_told_as_few(lake: Lake, tmp_path: Path) -> None:
    text, page = page_of(lake, tmp_path, "five", animated=2)
    assert "2 of the 5 cases that not everyone passed are shown" in text
    none, _ = page_of(lake, tmp_path, "five", animated=0)
    assert "0 of the 5 cases" in none
    assert "script-src 'none'" in none
    assert len(page.of("svg")) == 2 * 4


def test_two_runs_of_one_planner_are_told_apart(lake: Lake, tmp_path: Path) -> None:
    one = suites.run(lake, "other", "idm").run_id
    two = suites.run(lake, "other", "idm").run_id
    text, _ = page_of(lake, tmp_path, one, two)
    assert f"idm ({one})" in text
    assert f"idm ({two}) against idm ({one})" in text


def test_cases_that_not_all_drove_are_left_out_and_told(lake: Lake, tmp_path: Path) -> None:
    whole = suites.run(lake, "five", "idm").run_id
    part = suites.run(lake, "five", "idm", batch=1, stop_after=2).run_id
    text, _ = page_of(lake, tmp_path, whole, part)
    assert f"Cases that not all drove are left out: 3 of idm ({whole})." in text


def test_what_is_no_page_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BadQuery, match="2 suites: five, other"):
        suites.write_page(lake, ["five", "other"], tmp_path / "x.html")
    with pytest.raises(UnknownName):
        suites.write_page(lake, ["fvie"], tmp_path / "x.html")
    suites.build(lake, "still", replace=True)
    with pytest.raises(MissingData, match="never run"):
        suites.write_page(lake, ["still"], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_a_scene_that_is_gone_has_no_film_but_its_place(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("a"), make_crossing_log("b")], run_id=run.id)
    suites.build(lake, "two", criteria={"goal": -1.0})
    suites.run(lake, "two", "idm")
    lake.replace("scenes", [], where=f"scene_id = {lake.scene_ids()[0]}")
    text, _ = page_of(lake, tmp_path, "two")
    assert text.count('<section class="film') == 1
    assert "1 of the 2 cases" in text


def test_films_of_a_suite_that_was_built_anew_are_of_what_was_driven(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("a"), make_crossing_log("b")], run_id=run.id)
    suites.build(lake, "two", criteria={"goal": -1.0})
    before = suites.run(lake, "two", "idm").run_id
    suites.validate(lake, "two", references=())  # tells of the cases, and changes none
    assert '<section class="film' in page_of(lake, tmp_path, before)[0]
    suites.build(lake, "two", agents="mobil", criteria={"goal": -1.0}, replace=True)
    text, _ = page_of(lake, tmp_path, before)
    assert '<section class="film' in text
    assert "the others replay their log" in text
    after = suites.run(lake, "two", "constant_velocity").run_id
    assert "the others drive by IDM and change lanes by MOBIL" in page_of(lake, tmp_path, after)[0]
    with pytest.raises(BadQuery, match="no case in common: the suite was built anew"):
        suites.compare(lake, before, after)
    with pytest.raises(BadQuery, match="no case in common"):
        suites.write_page(lake, [before, after], tmp_path / "both.html")
    # Once the cases of that time are compacted away, nobody knows how the others moved.
    lake.compact(keep_s=0.0)
    text, _ = page_of(lake, tmp_path, before)
    assert '<section class="film' not in text
    assert "built anew after" in text


def result(case_id: int, score: float, *failed: str, status: str = DONE) -> Result:
    case = Case(
        case_id=case_id, suite="s", scene_id=case_id, start_step=0, horizon_steps=1,
        goal=(0.0, 0.0), agents="log", criteria={},
    )  # fmt: skip
    lost = {name: Measured(value=1.0, bound=0.0, passed=False) for name in failed}
    return Result(
        case=case, planner="p", passed=not failed and status == DONE, score=score, status=status,
        criteria=lost, steps=1, trajectory=np.zeros((2, 4), dtype=np.float32),
    )  # fmt: skip


def test_the_worst_of_each_kind_comes_before_the_second_worst_of_any() -> None:
    one = {
        1: result(1, 0.5, "gap"), 2: result(2, 0.2, "gap"), 3: result(3, 0.0, "gap"),
        4: result(4, 0.9, "calm"), 5: result(5, 1.0), 6: result(6, 0.0, status="raised"),
    }  # fmt: skip
    two = {i: result(i, 1.0) for i in one}
    assert worst_of_each_kind([one, two], 3) == [3, 4, 6]
    assert worst_of_each_kind([one, two], 99) == [3, 4, 6, 2, 1]
    assert worst_of_each_kind([one, two], 0) == []
    assert worst_of_each_kind([two], 5) == []
    both = {**two, 1: result(1, 0.0, "gap"), 2: result(2, 1.0)}
    assert worst_of_each_kind([one, both], 1) == [1]  # 0.25 on average; case 3 has 0.5


def test_cells_are_shown_for_what_they_are() -> None:
    from formats.page import Report, Section, Sheet
    from formats.page import page_of as drawn

    rows = [["x", Share(value=0.999, low=0.9, high=1.0), Link(text="<a>", to="#s0"), 3]]
    text = drawn(
        Report(
            title="t",
            text="",
            sections=[Section(title="s", sheets=[Sheet(columns=["a", "b", "c", "d"], rows=rows)])],
        )
    )
    assert "99.9 % [90, 100]" in text  # not 100 % where one failed
    assert '<a href="#s0">&lt;a&gt;</a>' in text
    assert re.search(r'<td class="n">3</td>', text)


def test_a_page_says_what_it_is_from(lake: Lake, tmp_path: Path) -> None:
    text, _ = page_of(lake, tmp_path, "other")
    assert "scenelake suite run other --planner idm" in text
    (row,) = lake.read("suites", None, "suite = 'other'").to_pylist()
    assert str(row["run_id"]) in text
    assert json.loads(row["selection"])["agents"] in text


@pytest.mark.parametrize(
    ("agents", "told"),
    [
        ("log_then_idm", "the others replay their log until one would ram somebody"),
        ("mobil", "the others drive by IDM and change lanes by MOBIL"),
        ("mixed:idm=0.5,log=0.5", "the others move by mixed:idm=0.5,log=0.5"),
    ],
)
def test_a_film_says_how_the_others_move(
    agents: str, told: str, lake: Lake, tmp_path: Path
) -> None:
    suites.build(lake, "moved", agents=agents, criteria={"goal": -1.0}, replace=True)
    suites.run(lake, "moved", "idm")
    text, _ = page_of(lake, tmp_path, "moved", animated=1)
    assert told in text
    assert "keep their velocity" not in text


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, int, int]:
    """A lake, a run of a suite with others by the generator, of which half is left, and one without."""
    lake = Lake.create(tmp_path_factory.mktemp("drawn") / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("a"), make_crossing_log("b")], run_id=run.id)
    suites.build(lake, "two", agents="mixed:diffusion=0.5,idm=0.5", criteria={"goal": -1.0})
    suites.build(lake, "ruled", agents="idm", criteria={"goal": -1.0})
    half = suites.run(lake, "two", "idm", batch=1, stop_after=1)
    assert half.cases == 1
    return lake, half.run_id, suites.run(lake, "ruled", "idm").run_id


@pytest.fixture
def trained_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Other weights, in the place of those shipped."""
    other = tmp_path / "generator.safetensors"
    other.write_bytes(b"others")
    monkeypatch.setattr(shipped, "SHIPPED", other)
    monkeypatch.setattr(diffusing, "_LOADED", [])
    return other


def model_of(lake: Lake, run: int) -> str | None:
    (told,) = lake.read("runs", ["model"], f"run_id = {run}")["model"].to_pylist()
    return told


def test_a_run_tells_whose_weights_drove_the_others(
    drawn: tuple[Lake, int, int], tmp_path: Path
) -> None:
    lake, run, ruled = drawn
    assert (model_of(lake, run), model_of(lake, ruled)) == (shipped.name_of(), None)
    text, _ = page_of(lake, tmp_path, run)
    assert shipped.name_of() in text
    assert '<section class="film' in text
    assert "no weights" in page_of(lake, tmp_path, ruled)[0]


def test_with_other_weights_a_run_is_neither_shown_nor_taken_up_again(
    drawn: tuple[Lake, int, int], trained_anew: Path, tmp_path: Path
) -> None:
    lake, run, ruled = drawn
    text, _ = page_of(lake, tmp_path, run)
    assert '<section class="film' not in text
    before, now = model_of(lake, run), shipped.name_of()
    assert f"others were driven by {before} in these runs, and what is installed is {now}" in text
    assert '<section class="film' in page_of(lake, tmp_path, ruled)[0]
    with pytest.raises(BadSetting, match=f"driven by {before}; those installed are {now}"):
        suites.run(lake, "two", "idm", resume=run)
    assert model_of(lake, run) == before


def test_of_a_run_that_names_none_it_is_not_known(
    drawn: tuple[Lake, int, int], tmp_path: Path
) -> None:
    lake, run, _ = drawn
    kept = lake.read("runs", None, f"run_id = {run}").to_pylist()
    lake.replace("runs", [{**kept[0], "model": None}], where=f"run_id = {run}")
    text, _ = page_of(lake, tmp_path, run)
    assert '<section class="film' not in text
    assert "weights that are not told" in text
    with pytest.raises(BadSetting, match="weights that it does not name"):
        suites.run(lake, "two", "idm", resume=run)
    lake.replace("runs", kept, where=f"run_id = {run}")


def test_without_weights_nothing_that_needs_them_begins(
    drawn: tuple[Lake, int, int], trained_anew: Path, tmp_path: Path
) -> None:
    lake, run, ruled = drawn
    trained_anew.unlink()
    for asked in (
        lambda: suites.build(lake, "new", agents="diffusion"),
        lambda: suites.run(lake, "two", "idm"),
    ):
        with pytest.raises(UnreadableFile) as told:
            asked()
        assert "install it anew" in str(told.value.hint)
    assert "what is installed is none" in page_of(lake, tmp_path, run)[0]
    suites.run(lake, "ruled", "idm", resume=ruled)

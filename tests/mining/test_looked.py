"""What was looked through, by which meaning; what was not is neither absent nor done."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cli.upkeep import _as_meant_now as recut_windows
from generation.generate import _tagged
from lake import Lake
from mining import tag as tagging
from mining.looked import missing
from mining.predicates import PREDICATES
from mining.query import find
from mining.query.find import scenes_of
from mining.query.rules import meanings, read_rules, rules_of
from mining.query.tagging import tag_rules
from mining.tag import tag
from schemas.errors import MissingData
from schemas.labels import Weather
from simulation.suites.choosing import tags_of
from tests.mining.test_tag import braking_log, events, lake_of


def raised(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The predicate means something else from now on."""
    newer = dataclasses.replace(PREDICATES[name], version=PREDICATES[name].version + 1)
    monkeypatch.setitem(PREDICATES, name, newer)


@pytest.fixture
def of_01(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that the tests speak of, whatever they have come to be."""
    for name, version in {"hard_brake": 1, "moving": 1, "ttc": 1, "jaywalking": 2}.items():
        then = dataclasses.replace(PREDICATES[name], version=version)
        monkeypatch.setitem(PREDICATES, name, then)


def asked(lake: Lake, query: str) -> tuple[int, int, int]:
    """Scenes in which it holds, that were searched, and that were not looked through."""
    report = find(lake, query)
    return report.scenes, report.searched, report.untagged


def tagged_as_01(lake: Lake, only: list[str], scene_ids: Iterable[int] | None = None) -> int:
    """As Scenelake 0.1 tagged: the run tells neither where it looked, nor by which versions."""
    report = tag(lake, only=only, scene_ids=None if scene_ids is None else list(scene_ids))
    (run_id,) = report.run_ids
    forget(lake, run_id, "meant", "marks")
    lake.replace("looked", [], where=f"run_id = {run_id}")
    lake.replace("criticality", [], where="scene_id is not null")
    return run_id


def forget(lake: Lake, run_id: int, *keys: str) -> None:
    """Take out of a run's params what older Scenelakes did not write."""
    (run,) = lake.read("runs", None, f"run_id = {run_id}").to_pylist()
    params = {k: v for k, v in json.loads(run["params"]).items() if k not in keys}
    run["params"] = json.dumps(params)
    lake.replace("runs", [run], where=f"run_id = {run_id}")


def lacks(lake: Lake, *names: str) -> set[int]:
    """Scenes that were not looked through for some of the predicates."""
    found = missing(lake, meanings(names), lake.scene_ids())
    return {scene_id for ids in found.values() for scene_id in ids}


# -- runs of Scenelake 0.1 ---------------------------------------------------------------------


@pytest.mark.usefixtures("of_01")
def test_runs_without_marks_looked_through_the_scenes_that_they_left_rows_in(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b")])
    tagged_as_01(lake, ["hard_brake"])
    assert asked(lake, "hard_brake(ego)") == (2, 2, 0)
    lake_of(tmp_path / "lake", [braking_log("late", hard=False)])
    assert asked(lake, "never hard_brake(ego)") == (0, 2, 1)
    # Nor does a scene that is here but has no row prove that anybody looked.
    assert asked(lake, "hard_brake(ego) or not hard_brake(ego)") == (2, 2, 1)


@pytest.mark.usefixtures("of_01")
def test_runs_without_marks_count_no_more_than_what_they_left_once_all_is_tagged(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b")])
    old = tagged_as_01(lake, ["hard_brake", "moving"])
    lake_of(tmp_path / "lake", [braking_log("c")])
    tag(lake, only=["hard_brake"])
    assert asked(lake, "hard_brake(ego)") == (3, 3, 0)
    assert asked(lake, "moving(ego)") == (2, 2, 1)
    # What was known of the old run is written down, so that it is not looked for in `events`.
    (run,) = lake.read("runs", ["params"], f"run_id = {old}").to_pylist()
    assert json.loads(run["params"])["marks"]
    assert lake.read("looked", None, f"run_id = {old}").num_rows == 2
    lake_of(tmp_path / "lake", [braking_log("d")])
    assert asked(lake, "hard_brake(ego)") == (3, 3, 1)


@pytest.mark.usefixtures("of_01")
def test_a_lake_of_01_is_tagged_no_more_than_it_lacks(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b")])
    first, second = sorted(lake.scene_ids())
    tagged_as_01(lake, ["hard_brake"], [first])
    report = tag(lake, only=["hard_brake"])
    assert (report.scenes, report.up_to_date) == (1, 1)
    runs = {r["scene_id"]: r["run_id"] for r in lake.read("events").to_pylist()}
    assert runs[second] in report.run_ids
    assert runs[first] not in report.run_ids


@pytest.mark.usefixtures("of_01")
def test_criticality_that_an_older_run_did_not_measure_is_lacking(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tagged_as_01(lake, ["ttc", "moving"])
    assert lake.read("criticality").num_rows == 0
    report = tag(lake, only=["ttc", "moving"])
    assert report.scenes == 1
    assert report.by_name == {}  # the predicates themselves were up to date
    assert lake.read("criticality").num_rows > 0
    assert tag(lake, only=["ttc"]).scenes == 0


# -- meanings ----------------------------------------------------------------------------------


def test_what_was_tagged_by_an_older_meaning_was_not_looked_through(tmp_path, monkeypatch) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b", hard=False)])
    tag(lake, only=["hard_brake", "moving"])
    assert asked(lake, "never hard_brake(ego)") == (1, 2, 0)
    raised(monkeypatch, "hard_brake")
    with pytest.raises(MissingData, match="hard_brake") as error:
        find(lake, "not hard_brake(ego)")
    assert "mine tag" in error.value.hint
    assert asked(lake, "moving(ego)") == (2, 2, 0)
    first, second = lake.scene_ids()
    report = tag(lake, scene_ids=[first], only=["hard_brake", "moving"])
    assert set(report.by_name) == {"hard_brake"}  # what means the same was not done again
    assert asked(lake, "hard_brake(ego) or not hard_brake(ego)") == (1, 1, 1)
    assert lacks(lake, "hard_brake") == {second}
    tag(lake)
    assert asked(lake, "never hard_brake(ego)") == (1, 2, 0)


@pytest.mark.usefixtures("of_01")
def test_runs_that_do_not_tell_the_meaning_looked_for_the_first(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    assert (PREDICATES["jaywalking"].version, PREDICATES["hard_brake"].version) == (2, 1)
    (run_id,) = tag(lake, only=["jaywalking", "hard_brake"]).run_ids
    assert not lacks(lake, "jaywalking", "hard_brake")
    forget(lake, run_id, "meant")
    assert not lacks(lake, "hard_brake")
    assert lacks(lake, "jaywalking") == set(lake.scene_ids())
    assert set(tag(lake, only=["jaywalking", "hard_brake"]).by_name) == {"jaywalking"}


def test_the_last_who_looked_decides(tmp_path, monkeypatch) -> None:
    """An older Scenelake that tags anew takes the rows of the newer one's away, and its say."""
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b")])
    now = PREDICATES["hard_brake"]
    raised(monkeypatch, "hard_brake")
    tag(lake, only=["hard_brake"])
    with monkeypatch.context() as older:
        older.setitem(PREDICATES, "hard_brake", now)
        tag(lake, only=["hard_brake"], scene_ids=lake.scene_ids()[:1])
    assert lacks(lake, "hard_brake") == {lake.scene_ids()[0]}
    assert asked(lake, "hard_brake(ego)") == (1, 1, 1)


# -- unknown as true ---------------------------------------------------------------------------


def half_tagged(folder: Path, only: list[str] | None = None) -> Lake:
    """Two scenes that were tagged, and two, one of them in rain, that were not."""
    made = lake_of(folder, [braking_log("hard"), braking_log("soft", hard=False)])
    tag(made, only=only)
    late = [
        braking_log("late, wet", weather=Weather.RAIN),
        braking_log("late, dry", weather=Weather.CLEAR),
    ]
    return lake_of(folder, late)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return half_tagged(tmp_path_factory.mktemp("half") / "lake")


def truths(lake: Lake, query: str) -> dict[str, str]:
    return {m.name: m.truth for m in find(lake, query).matches}


def test_what_nobody_looked_through_is_unknown(half: Lake) -> None:
    late = {"late, wet": "unknown", "late, dry": "unknown"}
    assert truths(half, "hard_brake(ego)") == {"hard": "true"}
    assert truths(half, "hard_brake(ego) unknown as true") == {"hard": "true", **late}
    assert truths(half, "not hard_brake(ego)") == {"hard": "true", "soft": "true"}
    assert truths(half, "never hard_brake(_)") == {"soft": "true"}
    maybe = truths(half, "never hard_brake(ego) unknown as true")
    assert maybe == {"soft": "true", **late}
    assert scenes_of(half, "hard_brake(ego) unknown as true") == sorted(
        set(half.scene_ids()) - set(scenes_of(half, "never hard_brake(ego)"))
    )


def test_what_is_known_of_a_scene_that_nobody_looked_through_counts(half: Lake) -> None:
    wet = "hard_brake(ego) and weather is rain unknown as true"
    assert truths(half, wet) == {"hard": "unknown", "late, wet": "unknown"}
    # Whoever brakes or not, it surely rains there.
    assert truths(half, "hard_brake(ego) or weather is rain")["late, wet"] == "true"
    assert find(half, "hard_brake(ego) or weather is rain").untagged == 2


@pytest.mark.parametrize(
    "query",
    [
        "braking(a) then stopped(a) within 3 s",
        "count(vehicle v where near(v, ego)) >= 3",
        "count(vehicle v where near(v, ego)) = 0",
        "count(vehicle v where near(v, ego)) >= 2 at once",
        "count(hard_brake(ego)) >= 2",
        "hard_brake(ego) for at least 1 s",
        "not following(_, ego) during moving(ego)",
        "braking(ego) <= -3 m/s2",
        "braking(ego) for at most 2 s",
        "moving(ego) before hard_brake(_) and braking(b)",
    ],
)
def test_whatever_is_asked_a_scene_that_nobody_looked_through_may_hold_it(
    half: Lake, query: str
) -> None:
    told = truths(half, f"{query} unknown as true")
    assert told["late, wet"] == told["late, dry"] == "unknown"
    assert not {"late, wet", "late, dry"} & truths(half, query).keys()


def test_rows_of_an_older_meaning_are_not_true(tmp_path, monkeypatch) -> None:
    half = half_tagged(tmp_path / "lake", ["hard_brake"])
    raised(monkeypatch, "hard_brake")
    tag(half, only=["hard_brake"], scene_ids=half.scene_ids("name = 'soft'"))
    assert truths(half, "hard_brake(ego)") == {}
    assert truths(half, "hard_brake(ego) unknown as true") == dict.fromkeys(
        ("hard", "late, wet", "late, dry"), "unknown"
    )


# -- doing what is missing ---------------------------------------------------------------------


def test_only_what_is_missing_is_done(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b")])
    done = tag(lake, only=["hard_brake", "stopped"])
    assert (done.scenes, done.up_to_date) == (2, 0)
    before = events(lake)
    again = tag(lake, only=["hard_brake", "stopped"])
    assert (again.scenes, again.up_to_date, again.run_ids, again.by_name) == (0, 2, (), {})
    assert lake.read("runs", None, "command = 'mine tag'").num_rows == 1
    # A new scene lacks all, the others what nobody looked for yet.
    lake_of(tmp_path / "lake", [braking_log("c")])
    mixed = tag(lake, only=["hard_brake", "stopped", "moving"])
    assert (mixed.scenes, mixed.up_to_date, len(mixed.run_ids)) == (3, 0, 2)
    runs = {
        (r["scene_id"], r["name"]): r["run_id"]
        for r in lake.read("events", ["scene_id", "name", "run_id"]).to_pylist()
    }
    old = {row["scene_id"] for row in before}
    kept = {key for key, run in runs.items() if run in done.run_ids}
    assert kept == {key for key in runs if key[0] in old and key[1] != "moving"}
    assert asked(lake, "hard_brake(ego) and moving(ego)")[1:] == (3, 0)


def test_all_is_done_again_if_asked(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tag(lake, only=["hard_brake"])
    before = events(lake)
    report = tag(lake, only=["hard_brake"], again=True)
    assert (report.scenes, report.by_name) == (1, {"hard_brake": 2})
    assert events(lake) == before
    (run_id,) = report.run_ids
    marks = lake.read("looked").to_pylist()
    assert [row["run_id"] for row in marks] == [run_id]  # what says no more has gone


STOPPED = """
import os, sys
from lake import Lake
from mining import tag

def end(done, _):
    if done == 3:
        if sys.argv[2] == "kill":
            os._exit(9)
        raise KeyboardInterrupt

tag.SCENES_A_BATCH, tag.BATCHES_A_COMMIT = 1, 2
tag.tag(Lake.open(sys.argv[1]), only=["hard_brake"], progress=end)
"""


@pytest.mark.parametrize("how", ["kill", "Ctrl-C"])
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, how: str) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log(f"log {k}") for k in range(5)])
    ended = subprocess.run([sys.executable, "-c", STOPPED, lake.uri, how], capture_output=True)
    assert ended.returncode != 0
    assert asked(lake, "hard_brake(ego)") == (2, 2, 3)
    (run,) = lake.read("runs", ["outcome"], "command = 'mine tag'").to_pylist()
    assert run["outcome"] == ("begun" if how == "kill" else "interrupted")
    report = tag(lake, only=["hard_brake"])
    assert (report.scenes, report.up_to_date) == (3, 2)
    assert asked(lake, "hard_brake(ego)") == (5, 5, 0)
    assert lake.verify() == []


def test_what_was_found_in_a_scene_that_was_replaced_meanwhile_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tagging, "SCENES_A_BATCH", 1)
    lake = lake_of(tmp_path / "lake", [braking_log(name) for name in "abc"])

    def others(done: int, _: int) -> None:
        if done == 1:
            lake.remove("source_log_id in ('a', 'c')")
            lake_of(tmp_path / "lake", [braking_log("a", hard=False)])

    a, b = (lake.scene_ids(f"name = '{name}'")[0] for name in "ab")
    tag(lake, only=["hard_brake"], scene_ids=[a, b], progress=others)
    assert set(lake.scene_ids()) == {a, b}  # it came back under its own id
    assert lacks(lake, "hard_brake") == {a}
    assert {row["scene_id"] for row in events(lake)} == {b}
    assert lake.verify() == []


# -- rules -------------------------------------------------------------------------------------

RULES = """
[rests]
query = "braking(who) then stopped(who) within 3 s"
actors = ["who"]

[never_hard]
query = "never hard_brake(ego)"

[rests_twice]
query = "count(a where rests(a)) >= 2"
"""


def told(folder: Path, text: str = RULES) -> list[Any]:
    path = folder / "rules.toml"
    path.write_text(text)
    return list(read_rules(path).values())


def test_a_rule_that_is_up_to_date_is_not_done_again(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b", hard=False)])
    tag(lake)
    rules = told(tmp_path)
    first = tag_rules(lake, rules)
    assert (first.scenes, set(first.by_name)) == (2, {"rests", "never_hard", "rests_twice"})
    before = events(lake)
    same = tag_rules(lake, rules)
    assert (same.scenes, same.up_to_date, same.run_ids, same.by_name) == (0, 2, (), {})
    assert events(lake) == before
    # A rule whose part has changed means something else, too.
    changed = tag_rules(lake, told(tmp_path, RULES.replace("within 3 s", "within 0.1 s")))
    assert set(changed.by_name) == {"rests", "rests_twice"}
    # Words that change nothing, do not.
    same = tag_rules(lake, told(tmp_path, RULES.replace("never hard", "never   hard")))
    assert set(same.by_name) == {"rests", "rests_twice"}
    assert set(tag_rules(lake, told(tmp_path), again=True).by_name) == set(first.by_name)
    assert events(lake) == before


def test_a_rule_of_a_predicate_that_changed_is_done_again(tmp_path, monkeypatch) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tag(lake)
    rules = told(tmp_path)
    tag_rules(lake, rules)
    raised(monkeypatch, "hard_brake")
    tag(lake)
    assert set(tag_rules(lake, rules).by_name) == {"never_hard"}


def test_rules_are_looked_for_where_their_predicates_were(tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tag(lake, only=["braking", "stopped", "hard_brake"])
    lake_of(tmp_path / "lake", [braking_log("b", hard=False), braking_log("c", hard=False)])
    b, c = lake.scene_ids("name in ('b', 'c')")
    tag(lake, only=["hard_brake"], scene_ids=[b])
    report = tag_rules(lake, told(tmp_path))
    assert report.scenes == 2
    assert report.untagged == 2
    assert report.scenes_by_name == {"rests": 1, "rests_twice": 1, "never_hard": 1}
    assert lake.read("events", ["scene_id"], "name = 'never_hard'")["scene_id"].to_pylist() == [b]
    before = [row for row in events(lake) if row["scene_id"] == b]
    tag(lake, only=["braking", "stopped", "hard_brake"])
    report = tag_rules(lake, told(tmp_path))
    assert set(lake.read("events", None, "name = 'never_hard'")["scene_id"].to_pylist()) == {b, c}
    assert [row for row in before if row in events(lake)] == before
    assert (report.untagged, report.up_to_date) == (0, 1)


def test_rules_about_other_scenes_are_always_done_again(tmp_path) -> None:
    """How rare a scene is changes with the lake, though the rule does not."""
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tag(lake, only=["moving"])
    rules = told(tmp_path, '[odd]\nquery = "moving(ego) and rarity > 0.9"')
    assert tag_rules(lake, rules).by_name == {"odd": 0}
    (scene_id,) = lake.scene_ids()
    with lake.run("mine cluster") as run:
        row = {"scene_id": scene_id, "level": 0, "cluster_id": "0-0", "rarity": 0.95}
        more = {"size": 1, "description": "", "distance": 0.0, "is_example": True}
        lake.append("clusters", [{**row, **more, "run_id": run.id}])
    assert tag_rules(lake, rules).by_name == {"odd": 1}


# -- what chooses scenes by tags ---------------------------------------------------------------


def test_no_scene_is_chosen_by_an_older_meaning(tmp_path, monkeypatch) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a"), braking_log("b", hard=False)])
    tag(lake, only=["hard_brake", "braking"])
    (hard,) = lake.scene_ids("name = 'a'")
    ids = lake.scene_ids()
    assert tags_of(lake, ids)[hard] == ("braking", "hard_brake")
    assert _tagged(lake, ["hard_brake"], {}) == {hard}
    raised(monkeypatch, "hard_brake")
    assert tags_of(lake, ids)[hard] == ("braking",)
    assert _tagged(lake, ["hard_brake"], {}) == set()
    with pytest.raises(MissingData):
        recut_windows(lake, "hard_brake", 1.0, 1.0)
    tag(lake, only=["hard_brake"], scene_ids=[hard])
    assert tags_of(lake, ids)[hard] == ("braking", "hard_brake")
    assert _tagged(lake, ["hard_brake"], {}) == {hard}
    assert recut_windows(lake, "hard_brake", 1.0, 1.0).seen == {hard}


def test_a_rule_that_can_no_longer_be_asked_keeps_no_other_from_being_found(
    tmp_path, monkeypatch
) -> None:
    lake = lake_of(tmp_path / "lake", [braking_log("a")])
    tag(lake)
    tag_rules(lake, told(tmp_path))
    monkeypatch.delitem(PREDICATES, "stopped")  # renamed, as it were
    assert asked(lake, "hard_brake(ego)")[0] == 1
    known = rules_of(lake)
    assert "never_hard" in known
    assert "rests" not in known

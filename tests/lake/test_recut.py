"""Scenes cut anew from the tables are those that ingest would have cut from the source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import Lake
from lake.recut import Around, AsSource, Sliding, Whole, _overlapping
from schemas.errors import BadQuery, MissingData, UnknownName
from schemas.records import Observations, SourceEvent, Window
from tests.builders import make_crossing_log, make_straight_log


def same(one, other) -> None:
    """Two scenes hold the same, but for their names."""
    assert (one.scene_id, one.t0_ns, one.anchor) == (other.scene_id, other.t0_ns, other.anchor)
    for part in ("tracks", "signals"):
        for name in getattr(one, part).__slots__:
            mine, theirs = (getattr(getattr(s, part), name) for s in (one, other))
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert one.road_type == other.road_type


@pytest.fixture
def lake(tmp_path):
    made = Lake.create(tmp_path / "lake")
    windows = (
        Window(source_scene_id="first", t0_ns=0, t1_ns=4 * 10**9, anchor_ns=10**9),
        Window(source_scene_id="second", t0_ns=4 * 10**9, t1_ns=9 * 10**9),
    )
    events = (SourceEvent(name="brakes", t0_ns=12 * 10**9, t1_ns=13 * 10**9),)
    made.add_logs(
        [
            replace(make_crossing_log("windows"), windows=windows),
            replace(make_straight_log("long", steps=251, dt=0.1), events=events),
            make_straight_log("slow", steps=61, dt=0.5),
        ],
        run_id=1,
    )
    return made


def held(lake):
    return {scene.scene_id: scene for scene in lake.scenes()}


def test_cutting_as_the_source_gives_back_what_ingest_cut(lake):
    before = held(lake)
    assert len(before) == 2 + 3 + 3
    lake.recut(Whole())
    assert len(held(lake)) == 3
    report = lake.recut(AsSource())
    assert (report.logs, report.scenes, report.removed) == (3, 8, 3)
    after = held(lake)
    assert set(after) == set(before)
    for scene_id in before:
        same(before[scene_id], after[scene_id])
        assert before[scene_id].name == after[scene_id].name
    assert [f for f in lake.verify() if f.severity == "error"] == []


def test_sliding_windows_overlap_and_end_with_the_log(lake):
    lake.recut(Sliding(length_s=8, stride_s=4), where="source_log_id = 'long'")
    (log_id,) = lake.read("logs", ["log_id"], "source_log_id = 'long'")["log_id"].to_pylist()
    scenes = lake.read("scenes", None, f"log_id = {log_id}").sort_by("t0_ns").to_pylist()
    assert [s["t0_ns"] / 1e9 for s in scenes] == [0, 4, 8, 12, 16]
    assert {lake.scene(s["scene_id"]).steps for s in scenes} == {80}
    assert len(lake.scene_ids()) == 5 + 2 + 3, "other logs keep their scenes"


def test_a_scene_round_an_event_has_it_as_its_now(lake):
    report = lake.recut(Around(event="brakes", before_s=3, after_s=2))
    (scene,) = lake.scenes()
    assert (scene.t0_ns, scene.steps, scene.anchor) == (9 * 10**9, 51, 30)
    assert (report.logs, report.scenes) == (3, 1)


def test_a_window_at_the_edge_is_clipped_to_the_log(lake):
    lake.recut(Around(event="following", before_s=5, after_s=5))
    for scene in lake.scenes():
        assert scene.t0_ns == 0
        assert scene.anchor == 0


def test_what_cases_rest_on_stays(lake):
    kept = lake.scene_ids()[0]
    case = {
        "case_id": 1, "suite": "s", "scene_id": kept, "start_step": 0, "horizon_steps": 10,
        "goal_x": 0.0, "goal_y": 0.0, "agents": "log", "criteria": "{}", "tags": [],
        "provenance": "{}", "run_id": 1,
    }  # fmt: skip
    lake.append("cases", [case])
    report = lake.recut(Sliding(length_s=5))
    assert report.kept == 1
    assert kept in lake.scene_ids()
    names = ("scenes", "dense")
    ids = [sorted(lake.read(n, ["scene_id"])["scene_id"].to_pylist()) for n in names]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])


def test_what_was_derived_from_scenes_goes_with_them(lake):
    scene_id = lake.scene_ids()[0]
    tag = {
        "event_id": 7, "log_id": 1, "scene_id": scene_id, "name": "stop", "t0_ns": 0, "t1_ns": 1,
        "truth": "true", "source": "rule", "run_id": 1,
    }  # fmt: skip
    lake.append("events", [tag])
    lake.recut(Sliding(length_s=3))
    names = lake.read("events", ["name"])["name"].to_pylist()
    assert "stop" not in names
    assert "brakes" in names, "tags of the source belong to the log"


def test_mistakes_are_told(lake):
    with pytest.raises(UnknownName, match="brakes"):
        lake.recut(Around(event="breaks"))
    for wrong in (
        Sliding(length_s=0),
        Sliding(length_s=5, stride_s=-1),
        Around(event="brakes", before_s=-1),
    ):
        with pytest.raises(BadQuery):
            lake.recut(wrong)
    with pytest.raises(BadQuery):
        lake.recut(Whole(), where="no such column = 1")
    assert len(lake.scene_ids()) == 8


def test_windows_are_cut_round_what_happened_and_counts(lake):
    """What nobody knows has no moment, and what rules found in scenes that do not count has none either."""
    log_ids = lake.read("logs", ["log_id"])["log_id"].to_pylist()
    scene_id = lake.read("scenes", ["scene_id"], f"log_id = {log_ids[0]}")["scene_id"][0].as_py()
    row = {
        "log_id": log_ids[0],
        "scene_id": scene_id,
        "name": "stop",
        "source": "rule",
        "run_id": 1,
    }
    lake.append("events", [
        {**row, "event_id": 7, "t0_ns": 2 * 10**9, "t1_ns": 3 * 10**9, "truth": "true"},
        {**row, "event_id": 8, "t0_ns": 4 * 10**9, "t1_ns": 5 * 10**9, "truth": "unknown"},
        {**row, "event_id": 9, "t0_ns": 0, "t1_ns": 10**9, "truth": "unknown", "name": "maybe"},
    ])  # fmt: skip
    with pytest.raises(UnknownName, match="maybe"):
        lake.recut(Around(event="maybe"))
    assert lake.recut(Around(event="stop", before_s=1, after_s=1, seen={scene_id})).scenes == 1


def test_windows_are_not_cut_round_what_rules_found_elsewhere(lake):
    """What the source says of its logs always counts."""
    alone = lake.recut(Around(event="brakes")).scenes
    (scene, *_) = lake.read("scenes", ["scene_id", "log_id"]).to_pylist()
    row = {**scene, "name": "brakes", "source": "rule", "truth": "true", "run_id": 1}
    lake.append("events", [{**row, "event_id": 7, "t0_ns": 10**9, "t1_ns": 10**9}])
    assert lake.recut(Around(event="brakes", seen=())).scenes == alone > 0


@pytest.fixture
def leaping(tmp_path):
    """A lake whose one log jumps by three years after ten seconds."""
    log = make_straight_log("leaps", steps=200)
    t_ns = np.where(log.ego.t_ns >= 10 * 10**9, log.ego.t_ns + LEAP_NS, log.ego.t_ns)
    made = Lake.create(tmp_path / "leaping")
    alone = replace(log, ego=replace(log.ego, t_ns=t_ns), agents=Observations.none())
    made.add_logs([alone], run_id=1)
    return made


LEAP_NS = 10**17


def test_a_clock_that_leaps_makes_no_windows_in_between(leaping):
    before = held(leaping)
    leaping.recut(Sliding(length_s=5, stride_s=2.5))
    found = sorted(scene.t0_ns for scene in leaping.scenes())
    seconds = [0, 2.5, 5, 7.5, *(LEAP_NS / 1e9 + t for t in (7.5, 10, 12.5, 15))]
    assert found == [round(1e9 * t) for t in seconds]
    leaping.recut(AsSource())
    again = held(leaping)
    assert set(again) == set(before)
    for scene_id in before:
        same(before[scene_id], again[scene_id])


def test_a_log_of_years_does_not_become_one_scene(leaping):
    before = set(held(leaping))
    with pytest.raises(BadQuery, match=r"leaps lasts 100,000,0.. s by its own clock"):
        leaping.recut(Whole())
    assert set(held(leaping)) == before


@given(
    starts=st.builds(lambda count, step: range(0, count * step, step), st.integers(1, 80),
                     st.integers(1, 300)),
    length=st.integers(1, 400),
    windows=st.sets(st.integers(-2, 60)).map(sorted),
)  # fmt: skip
def test_the_starts_that_are_tried_are_those_that_touch_a_window(starts, length, windows):
    found = _overlapping(starts, length, windows)
    assert found == sorted(set(found))
    assert set(found) <= set(starts)
    touching = {s for s in starts for n in windows if s < (n + 1) * 100 and n * 100 < s + length}
    assert touching <= set(found)
    # Of the others only those that begin where a window ends.
    assert all(any(s == (n + 1) * 100 for n in windows) for s in set(found) - touching)


def test_a_filter_that_fits_no_log_is_told_and_nothing_changes(lake):
    before = lake.versions()
    with pytest.raises(MissingData, match=r"No log fits .*'lnog'") as caught:
        lake.recut(Sliding(), where="source_log_id = 'lnog'")
    assert "long" in caught.value.hint
    assert lake.versions() == before


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 0.0, 1e300])
def test_lengths_that_cannot_be_are_refused(lake, number):
    before = lake.versions()
    for cutting in (Sliding(length_s=number), Sliding(stride_s=number),
                    Around(event="brakes", after_s=number)):  # fmt: skip
        with pytest.raises(BadQuery, match="cannot be cut"):
            lake.recut(cutting)
    assert lake.versions() == before


def test_scenes_too_large_for_memory_wait_on_disk(lake, monkeypatch):
    """Each in a file of its own, and rows in steps of one: the same scenes come of it."""
    lake.recut(Sliding(length_s=3.0, stride_s=1.0))
    at_once = {name: lake.read(name).sort_by("scene_id") for name in ("scenes", "dense")}
    kept = held(lake)
    monkeypatch.setattr("lake.recut.BATCH_BYTES", 1)
    lake.recut(AsSource())
    report = lake.recut(Sliding(length_s=3.0, stride_s=1.0))
    assert report.scenes == len(kept) > 20
    for name, before in at_once.items():
        after = lake.read(name).sort_by("scene_id")
        assert after.drop_columns("run_id").equals(before.drop_columns("run_id"))
    assert [found for found in lake.verify() if found.severity == "error"] == []

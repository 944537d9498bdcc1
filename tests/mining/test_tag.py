"""Tagging a lake: rows as the schema wants them, again without change, on many processes alike."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from geometry.arrays import Array
from lake import Lake
from lake.ids import stable_id
from mining.intervals import Interval
from mining.predicates import PREDICATES, tag_scene
from mining.tag import _by_map, event_table, evidence_text, tag
from schemas.errors import UnknownName
from schemas.labels import AgentClass, Daylight, Weather
from schemas.records import EgoStates, Log, Observations, RoadMap
from tests.builders import CORNER, stamps, straight_map

STEPS = 101


def braking_log(
    name: str,
    *,
    weather: Weather | None = None,
    daylight: Daylight | None = None,
    hard: bool = True,
) -> Log:
    """An ego that brakes from 14 m/s at 7 (or 2) m/s² between 4 and 6 s, another one behind."""
    t = np.arange(STEPS) * 0.1
    a = 7.0 if hard else 2.0
    v = np.clip(14.0 - a * np.clip(t - 4.0, 0.0, 2.0), 0.0, None)
    x = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * 0.1)])
    zero = np.zeros(STEPS)

    def at(ahead: Array) -> Array:
        return np.column_stack([ahead, zero, zero]) + CORNER

    return Log(
        dataset="drawn", source_log_id=name, source_uri=f"/{name}", rate_hz=10.0,
        ego=EgoStates(t_ns=stamps(STEPS), xyz=at(x), yaw=zero, size=(4.6, 1.9, 1.6)),
        agents=Observations(
            track=np.zeros(STEPS, dtype=np.int64), t_ns=stamps(STEPS), xyz=at(x - 60.0), yaw=zero,
            size=np.tile([4.6, 1.9, 1.6], (STEPS, 1)), source_track_id=("b",), source_cls=("CAR",),
            cls=(AgentClass.VEHICLE,),
        ),
        map=straight_map(), weather=weather, daylight=daylight,
    )  # fmt: skip


def lake_of(folder, logs: list[Log], *, source: str = "log") -> Lake:  # type: ignore[no-untyped-def]
    lake = Lake.open_or_create(folder)
    with lake.run("made") as run:
        lake.add_logs(logs, run_id=run.id, source=source)  # type: ignore[arg-type]
    return lake


def events(lake: Lake, where: str = "source = 'rule'") -> list[dict[str, object]]:
    rows = lake.read("events", None, where).to_pylist()
    return sorted(
        ({k: v for k, v in row.items() if k != "run_id"} for row in rows),
        key=lambda row: row["event_id"],
    )


def test_rows_say_who_when_and_why(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a", weather=Weather.RAIN)])
    report = tag(lake)
    assert report.scenes == 1
    assert report.by_name["hard_brake"] == 2  # the ego and its follower, 60 m behind
    assert report.scenes_by_name["hard_brake"] == 1
    (row,) = events(lake, "name = 'hard_brake' and truth = 'true' and actor_id = 0")
    assert row["t0_ns"] == pytest.approx(4.0e9, abs=3e8)
    assert row["t1_ns"] == pytest.approx(6.0e9, abs=3e8)
    assert row["value"] == pytest.approx(-7.0, rel=0.02)
    assert row["other_id"] is None
    assert row["rule_version"] == PREDICATES["hard_brake"].version
    assert json.loads(str(row["params"]))["acceleration"]["unit"] == "m/s²"
    assert json.loads(str(row["evidence"]))["speed"] > 0
    assert {r["truth"] for r in events(lake)} == {"true", "unknown"}
    (light,) = events(lake, "name = 'illumination'")
    assert light["truth"] == "unknown"


def test_tagging_again_changes_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b", hard=False)])
    tag(lake)
    before = events(lake)
    assert len({row["event_id"] for row in before}) == len(before)
    tag(lake, again=True)
    assert events(lake) == before


def test_only_what_is_asked_for_is_replaced(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b")])
    first, second = lake.scene_ids()
    tag(lake)
    before = events(lake)
    report = tag(lake, only=["hard_brake"], scene_ids=[first], again=True)
    (run_id,) = report.run_ids
    assert set(report.by_name) == {"hard_brake"}
    assert events(lake) == before
    runs = {
        (row["scene_id"], row["name"]): row["run_id"]
        for row in lake.read("events", ["scene_id", "name", "run_id"]).to_pylist()
    }
    assert runs[first, "hard_brake"] == run_id
    assert runs[second, "hard_brake"] != run_id
    assert runs[first, "braking"] != run_id


def test_tags_of_others_are_left_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a")])
    (scene_id,) = lake.scene_ids()
    lake.append(
        "events",
        [
            {
                "event_id": 7, "log_id": 1, "scene_id": scene_id, "name": "hard_brake", "t0_ns": 0,
                "t1_ns": 1, "truth": "true", "source": "dataset", "run_id": 1,
            }
        ],
    )  # fmt: skip
    tag(lake)
    assert len(events(lake, "source = 'dataset'")) == 1


def test_progress_and_summary(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b")])
    seen: list[tuple[int, int]] = []
    report = tag(lake, only=["stopped"], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)
    (run,) = lake.read("runs", ["run_id", "summary"], "command = 'mine tag'").to_pylist()
    assert (run["run_id"],) == report.run_ids
    assert json.loads(run["summary"])["scenes"] == 2


def test_a_predicate_that_nobody_knows_is_refused_before_anything_is_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a")])
    with pytest.raises(UnknownName):
        tag(lake, only=["nonsense"])
    assert events(lake) == []


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    logs = [braking_log(f"log{i}", hard=i % 2 == 0) for i in range(40)]
    lake = lake_of(tmp_path / "l", logs)
    tag(lake, only=["hard_brake", "stopped"])
    before = events(lake)
    tag(lake, only=["hard_brake", "stopped"], jobs=2, again=True)
    assert events(lake) == before


# -- criticality -------------------------------------------------------------------------------


def measured(lake: Lake) -> list[dict[str, object]]:
    rows = lake.read("criticality").sort_by("pair_id").to_pylist()
    return [{k: v for k, v in row.items() if k != "run_id"} for row in rows]


def test_the_worst_of_every_pair_is_stored_beside_the_tags(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b", hard=False)])
    tag(lake)
    first, second = lake.scene_ids()
    rows = lake.read("criticality").to_pylist()
    assert {row["scene_id"] for row in rows} == {first, second}
    whole = [row for row in rows if row["actor_id"] is None]
    assert len(whole) == 2
    for row in whole:
        mine = [r for r in rows if r["scene_id"] == row["scene_id"] and r["actor_id"] is not None]
        assert mine
        assert row["drac"] == max(r["drac"] for r in mine)
        assert row["ttc"] == min(r["ttc"] for r in mine)
    # Never is ∞ and found as such; a filter on it neither loses nor invents rows.
    never = sum(row["ttc"] == np.inf for row in rows)
    assert lake.sql("FROM criticality WHERE ttc = 'inf'").num_rows == never
    assert lake.read("criticality", ["pair_id"], "ttc < 1000").num_rows == len(rows) - never
    (worst,) = lake.sql(
        "SELECT scene_id FROM critical_scenes ORDER BY drac DESC LIMIT 1"
    ).to_pylist()
    assert worst["scene_id"] == max(whole, key=lambda row: row["drac"])["scene_id"]
    assert lake.verify() == []


def test_criticality_is_replaced_with_the_risk_predicates_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b")])
    first, second = lake.scene_ids()
    tag(lake)
    before = measured(lake)
    ids = {row["run_id"] for row in lake.read("criticality").to_pylist()}
    tag(lake, only=["hard_brake"], again=True)
    assert {row["run_id"] for row in lake.read("criticality").to_pylist()} == ids
    report = tag(lake, only=["ttc"], scene_ids=[second], again=True)
    (run_id,) = report.run_ids
    assert measured(lake) == before
    runs = {r["scene_id"]: r["run_id"] for r in lake.read("criticality").to_pylist()}
    assert runs[second] == run_id
    assert runs[first] in ids


def test_tags_and_criticality_are_written_in_one_step(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a")])
    tag(lake)
    before, rows = events(lake), measured(lake)
    replace = Lake.replace

    def fails_at_the_second(self, name, *args, **more):  # type: ignore[no-untyped-def]
        if name == "criticality":
            raise OSError("full")
        replace(self, name, *args, **more)

    monkeypatch.setattr(Lake, "replace", fails_at_the_second)
    with pytest.raises(OSError, match="full"):
        tag(lake, again=True)
    monkeypatch.undo()
    assert events(lake) == before
    assert measured(lake) == rows
    (old,) = {row["run_id"] for row in lake.read("criticality").to_pylist()}
    assert {row["run_id"] for row in lake.read("events", None, "source = 'rule'").to_pylist()} == {
        old
    }


def test_criticality_goes_with_its_log(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a"), braking_log("b")])
    tag(lake)
    lake.remove("source_log_id = 'a'")
    (left,) = lake.scene_ids()
    assert {row["scene_id"] for row in measured(lake)} == {left}
    assert lake.verify() == []


def test_every_interval_is_a_row_with_an_id_of_its_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a", weather=Weather.RAIN)])
    (scene,) = lake.scenes()
    intervals = [i for i in tag_scene(scene, ["hard_brake", "moving", "weather"]) for _ in "ab"]
    rows = event_table(scene, intervals).to_pylist()
    assert len(rows) == len(intervals)
    for k, (row, interval) in enumerate(zip(rows, intervals, strict=True)):
        t0_ns, t1_ns = (scene.t0_ns + step * 10**8 for step in interval[1:3])
        told = (interval.name, t0_ns, t1_ns, interval.actor, interval.other, row["truth"])
        assert (row["name"], row["t0_ns"], row["t1_ns"], row["actor_id"], row["other_id"]) == told[
            :5
        ]
        # What is told twice is told apart by how often it was told.
        assert row["event_id"] == stable_id("rule", scene.scene_id, *told, k % 2 + 1)
        assert row["truth"] == interval.truth.word
        assert row["value"] == (None if interval.value is None else np.float32(interval.value))
        assert json.loads(row["params"]) == interval.params


def test_numbers_that_are_none_have_no_value(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lake = lake_of(tmp_path / "l", [braking_log("a")])
    (scene,) = lake.scenes()
    endless = [
        Interval(name="moving", begin_step=0, end_step=5, value=value)
        for value in (np.inf, np.nan, None, 2.5)
    ]
    assert event_table(scene, endless)["value"].to_pylist() == [None, None, None, 2.5]
    assert event_table(scene, []).num_rows == 0


@pytest.mark.parametrize(
    "evidence",
    [
        {}, {"gap": 1.23456, "closing_speed": -0.0004}, {"gap": np.inf, "ttc": 1e-7},
        {"b": 2, "a": 1.0}, {"reason": 'a "word"', "actors": [3, 1]}, {"first": True, "x": 12.0},
        {"far": 1e22, "near": np.float64(0.12345)},
    ],
)  # fmt: skip
def test_evidence_is_json_to_three_decimals(evidence: dict[str, object]) -> None:
    plain = {
        name: (round(value, 3) if np.isfinite(value) else None)
        if isinstance(value, float) else value
        for name, value in evidence.items()
    }  # fmt: skip
    assert evidence_text(evidence) == json.dumps(plain, sort_keys=True)


def test_scenes_of_a_map_are_looked_at_one_after_the_other(tmp_path) -> None:  # type: ignore[no-untyped-def]
    here = [braking_log(f"here{k}") for k in range(6)]
    there = [replace(braking_log(f"there{k}"), map=RoadMap.none()) for k in range(6)]
    lake = lake_of(tmp_path / "l", here + there)
    rows = lake.sql("SELECT scene_id, map_id FROM scenes JOIN logs USING (log_id)").to_pylist()
    maps = {row["scene_id"]: row["map_id"] for row in rows}
    mixed = sorted(maps, key=lambda i: i % 97)
    ordered = [maps[i] for i in _by_map(lake, mixed)]
    assert len(set(ordered)) == 2
    assert sum(a != b for a, b in pairwise(ordered)) == 1
    assert set(_by_map(lake, mixed[:5])) == set(mixed[:5])

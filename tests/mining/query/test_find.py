"""Queries of a lake, and of scenes that are in none: the same answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lake import Lake
from mining.query import actor, count, fact, find, holds, predicate
from mining.query.find import explain, scenes_of
from mining.query.mistakes import BadExpression
from mining.tag import tag
from schemas.errors import MissingData
from schemas.labels import AgentClass, Daylight, Weather
from schemas.scene import Scene
from tests.builders import make_straight_log
from tests.mining import micro
from tests.mining.micro import TIME, along, ramp, speeds
from tests.mining.test_tag import braking_log, lake_of


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    made = lake_of(
        tmp_path_factory.mktemp("find") / "lake",
        [
            braking_log("hard in rain", weather=Weather.RAIN, daylight=Daylight.NIGHT),
            braking_log("hard in the sun", weather=Weather.CLEAR),
            braking_log("hard, who knows"),
            braking_log("soft in rain", weather=Weather.RAIN, hard=False),
        ],
    )
    tag(made)
    return made


def named(report) -> set[str]:
    return {match.name for match in report.matches}


def test_a_predicate_with_a_fact(lake):
    report = find(lake, "hard_brake(ego) and weather is rain")
    assert named(report) == {"hard in rain"}
    assert (report.total, report.scenes, report.searched) == (1, 1, 4)
    (match,) = report.matches
    assert match.actors == {"ego": 0}
    assert match.truth == "true"
    # It brakes from 4 s to 6 s.
    assert match.t0_s == pytest.approx(4.0, abs=0.3)
    assert match.t1_s == pytest.approx(6.0, abs=0.3)
    assert match.evidence["hard_brake"]["value"] == pytest.approx(-7.0, abs=0.5)


def test_what_is_unknown_is_neither_true_nor_false(lake):
    rain, dry = "hard_brake(ego) and weather is rain", "hard_brake(ego) and not weather is rain"
    assert named(find(lake, rain)) == {"hard in rain"}
    assert named(find(lake, dry)) == {"hard in the sun"}
    maybe = find(lake, f"{rain} unknown as true")
    assert {m.name: m.truth for m in maybe.matches} == {
        "hard in rain": "true", "hard, who knows": "unknown",
    }  # fmt: skip


def test_values_compare_in_any_unit(lake):
    hard = {"hard in rain", "hard in the sun", "hard, who knows"}
    assert named(find(lake, "braking(ego) <= -0.5 g")) == hard
    assert len(named(find(lake, "braking(ego) <= -1 m/s2"))) == 4
    assert not find(lake, "braking(ego) <= -1 g").matches


def test_python_makes_the_same_queries(lake):
    a = actor("a", "vehicle")
    made = (predicate("braking", "ego") < -3.0).then(predicate("following", a, "ego"))
    text = "braking(ego) < -3 m/s2 then following(vehicle a, ego)"
    assert find(lake, made).query == text == find(lake, text).query
    rare = count(predicate("braking", "ego"), 1) & fact("daylight", "night")
    assert named(find(lake, rare)) == {"hard in rain"}


@pytest.mark.parametrize(
    "query",
    [
        "hard_brake(ego)",
        "braking(ego) then stopped(ego) within 2 s",
        "braking(ego) for at least 1 s and not weather is snow",
        "count(vehicle v where near(v, ego)) = 0",
        "hard_brake(ego) or weather is clear unknown as true",
        "following(car a, ego) unknown as true",
    ],
)
def test_scenes_alone_are_told_what_a_lake_tells(lake, query):
    scenes = list(lake.scenes())
    alone = [match for found in holds(query, scenes) for match in found]
    stored = find(lake, query).matches
    key = lambda m: (m.scene_id, m.t0_s, m.t1_s, m.truth, str(m.actors))  # noqa: E731
    assert sorted(map(key, alone)) == sorted(map(key, stored))


def test_all_are_counted_and_few_are_told(lake):
    report = find(lake, "braking(ego)", limit=2)
    assert (report.total, report.scenes, len(report.matches)) == (4, 4, 2)


def test_what_cannot_be_judged_is_told_with_its_reasons(tmp_path):
    made = [braking_log("driven"), replace(braking_log("filmed from above"), ego=None)]
    lake = lake_of(tmp_path / "lake", made)
    tag(lake)
    calm = find(lake, "never hard_brake(ego)")
    assert (calm.total, calm.searched, calm.unknown) == (0, 2, 1)
    assert calm.why_unknown == {"there is no ego": 1}
    assert find(lake, "hard_brake(a)").unknown == 0
    open_ = find(lake, "never hard_brake(ego) unknown as true")
    assert [(m.name, m.truth) for m in open_.matches] == [("filmed from above", "unknown")]
    assert open_.unknown == 0
    others = find(lake, "moving(a) and moving(ego) and not near(a, b)")
    assert others.total == 0
    assert others.why_unknown == {
        "there is no ego": 1, "`near` is told of pairs with it alone where there is an ego": 1,
    }  # fmt: skip
    rain = find(lake, "moving(a) and weather is rain")
    assert rain.why_unknown == {"nobody told `weather`": 2}
    rare = find(lake, "rarity > 0.9 and moving(a)")
    assert rare.why_unknown == {"their rarity is not known before `scenelake mine cluster`": 2}
    order = find(lake, "cut_in(a, ego) then hard_brake(ego)")
    assert (order.unknown, order.why_unknown) == (1, {"there is no ego": 1})
    signal = find(lake, "red_light_running(ego)")
    assert signal.unknown == 2
    assert signal.why_unknown["`red_light_running`: signals were not recorded"] == 2


def test_a_data_set_that_is_not_here_is_told(lake):
    report = find(lake, "dataset is drown and moving(ego)")
    assert report.total == 0
    assert report.warnings == [
        "No scene's `dataset` is `drown`. Did you mean `drawn`? In this lake it is one of: drawn."
    ]
    assert not find(lake, "dataset is drawn").warnings
    (warning,) = find(lake, 'location in ("Munich", "Munich")').warnings
    assert "None of this lake has one" in warning


def test_what_nobody_looked_for_is_not_absent(tmp_path):
    lake = lake_of(tmp_path / "lake", [braking_log("one")])
    with pytest.raises(MissingData, match="hard_brake"):
        find(lake, "not hard_brake(ego)")
    tag(lake, only=["hard_brake"])
    assert find(lake, "hard_brake(ego)").total == 1
    with pytest.raises(MissingData, match="`near`"):
        find(lake, "hard_brake(ego) and near(a, ego)")


def test_no_vectors_no_similarity(lake):
    scene = lake.scene_ids()[0]
    with pytest.raises(MissingData, match="vector"):
        find(lake, f"similar to {scene}")
    with pytest.raises(MissingData, match="in no lake"):
        holds(f"similar to {scene}", list(lake.scenes()))


def test_similar_scenes_in_the_same_statement(lake, tmp_path):
    vectors = {
        "hard in rain": [1.0, 0.0],
        "soft in rain": [0.8, 0.6],
        "hard in the sun": [0.0, 1.0],
    }
    scenes = {
        r["name"]: r["scene_id"] for r in lake.read("scenes", ["name", "scene_id"]).to_pylist()
    }
    with lake.run("drawn") as run:
        rows = [
            {"scene_id": scenes[n], "model": "m", "vector": v + [0.0] * 62, "run_id": run.id}
            for n, v in vectors.items()
        ]
        lake.append("embeddings", rows)
    asked = f"similar to {scenes['hard in rain']} >= 0.7 and braking(ego)"
    assert named(find(lake, asked)) == {"soft in rain"}
    # Without a vector nothing is known.
    unsure = find(lake, f"{asked} unknown as true")
    assert {m.name: m.truth for m in unsure.matches} == {
        "soft in rain": "true", "hard, who knows": "unknown",
    }  # fmt: skip
    assert named(find(lake, f"hard_brake(ego) and not {asked.split(' and')[0]}")) == {
        "hard in rain", "hard in the sun",
    }  # fmt: skip
    with pytest.raises(BadExpression, match="No scene"):
        find(lake, "similar to 17")


def test_the_plan_is_told(lake):
    told = explain(lake, "hard_brake(ego) and weather is rain")
    assert "hard_brake(ego) and weather is rain" in told
    assert "FROM events" in told
    assert "HASH_JOIN" in told or "JOIN" in told


def test_names_cannot_break_out(lake):
    with pytest.raises(BadExpression):
        find(lake, 'hard_brake(ego) and dataset is "x" or 1=1')
    assert find(lake, "dataset is \"x' or 'a' = 'a\"").total == 0


def test_scenes_that_came_after_the_tagging_are_not_taken_for_searched(tmp_path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("early")], run_id=run.id)
    tag(lake, only=["moving", "hard_brake"])
    assert (find(lake, "moving(ego)").searched, find(lake, "moving(ego)").untagged) == (1, 0)
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("late")], run_id=run.id)
    late = find(lake, "not hard_brake(ego)")
    assert (late.searched, late.untagged, late.scenes) == (1, 1, 1)
    assert len(scenes_of(lake, "not hard_brake(ego)")) == 1
    (new,) = set(lake.scene_ids()) - set(scenes_of(lake, "not hard_brake(ego)"))
    tag(lake, only=["hard_brake"], scene_ids=[new])
    assert find(lake, "not hard_brake(ego)").untagged == 0
    # One predicate was looked for there, the other not.
    both = find(lake, "moving(ego) and not hard_brake(ego)")
    assert (both.searched, both.untagged) == (1, 1)
    tag(lake)
    assert find(lake, "moving(ego) and not hard_brake(ego)").untagged == 0
    assert lake.read("looked").num_rows == 4  # each run looked for what was missing
    tag(lake, again=True)
    assert lake.read("looked").num_rows == 2  # what looked for less has gone


def test_logs_that_come_in_anew_are_untagged_again(tmp_path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("one")], run_id=run.id)
    tag(lake, only=["moving"])
    lake.remove("source_log_id = 'one'")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log("one")], run_id=run.id)
    assert (find(lake, "moving(ego)").searched, find(lake, "moving(ego)").untagged) == (0, 1)


@pytest.mark.parametrize(
    "query",
    [
        "never hard_brake(ego)",
        "moving(a) and moving(ego) and not near(a, b)",
        "hard_brake(ego) and not weather is rain",
        "not red_light_running(a) and moving(a)",
        "braking(ego) <= -1 m/s2 then stopped(ego) within 9 s",
        "count(vehicle v where near(v, ego)) >= 2 and daylight is night",
        "weather is rain or daylight is night",
        "stopped(a) for at least 1 s and not following(a, ego)",
    ],
)
def test_the_same_is_told_whether_all_scenes_are_gone_through_or_those_that_may_match(
    tmp_path, query, monkeypatch
):
    made = [
        braking_log("driven"), replace(braking_log("filmed from above"), ego=None),
        replace(braking_log("known"), weather=Weather.CLEAR, daylight=Daylight.DAY),
    ]  # fmt: skip
    lake = lake_of(tmp_path / "lake", made)
    tag(lake)
    told = []
    for a_scene, most in ((0, 0), (10**9, 0), (10**9, 10**9)):
        # Looked up by their ids, gone through as they lie, or all in memory.
        monkeypatch.setattr("mining.query.narrow.A_SCENE", a_scene)
        monkeypatch.setattr("mining.query.narrow.MOST_EVENTS", most)
        report = find(lake, query)
        matches = [(m.scene_id, m.t0_s, m.t1_s, str(m.actors)) for m in report.matches]
        told.append((report.unknown, dict(report.why_unknown), report.total, matches))
    assert told[0] == told[1] == told[2]
    assert all(count <= told[0][0] for count in told[0][1].values())


def passing() -> Scene:
    """The ego passes a truck that stands 3 m beside its way, and farther on a pedestrian 8 m off it."""
    return micro.scene(
        along(8.0 * TIME, start=(-40.0, 0.0)),
        micro.still(0.0, 5.25, cls=AgentClass.TRUCK),
        along(0.0 * TIME, start=(20.0, 9.3), cls=AgentClass.PEDESTRIAN),
    )


@pytest.mark.parametrize("query", ["near(ego, truck t)", "near(truck t, ego)"])
def test_evidence_of_two_is_told_either_way_round(query: str) -> None:
    (match,) = holds(query, [passing()])[0]
    assert match.evidence["near"]["value"] == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    ("query", "gap"),
    [
        ("near(ego, truck _)", 3.0),
        ("near(ego, pedestrian _)", 8.0),
        ("near(ego, _) > 7 m", 8.0),
        ("near(ego, _) < 7 m", 3.0),
    ],
)
def test_evidence_is_of_anybody_of_whom_it_is_asked_alone(query: str, gap: float) -> None:
    for match in holds(query, [passing()])[0]:
        assert match.evidence["near"]["value"] == pytest.approx(gap, abs=0.05)


def test_of_somebody_whom_nobody_knows_there_is_no_evidence() -> None:
    told = holds("near(truck t, pedestrian p) unknown as true", [passing()])[0]
    assert {match.truth for match in told} == {"unknown"}
    assert not any(match.evidence for match in told)


def test_who_stands_before_it_sets_off_is_found() -> None:
    """Setting off begins at the first step that is no longer standing."""
    sets_off = micro.scene(along(speeds(ramp(4.0, 6.0, 0.0, 8.0)), start=(-40.0, 0.0)))
    (match,) = holds("stopped(ego) before starting(ego) within 0.1 s", [sets_off])[0]
    assert match.t0_s == 0.0


def test_of_many_scenes_that_cannot_be_judged_some_are_drawn(tmp_path, monkeypatch):
    driven = replace(braking_log("driven"), weather=Weather.CLEAR)
    dry = [replace(driven, source_log_id=f"clear {k}") for k in range(20)]
    untold = [braking_log(f"untold {k}") for k in range(40)]
    lake = lake_of(tmp_path / "lake", [*dry, *untold])
    tag(lake, only=["hard_brake"])
    query = "hard_brake(ego) and weather is rain"
    whole = find(lake, query)
    assert (whole.unknown, whole.unknown_drawn) == (40, None)
    monkeypatch.setattr("mining.query.doubt.DRAWN", 10)
    some = find(lake, query)
    assert (some.unknown, some.unknown_drawn) == (40, 10)  # all of those drawn
    assert some.why_unknown == {"nobody told `weather`": 40}
    assert find(lake, query) == some
    assert find(lake, query, exact=True) == whole


def test_somebody_of_no_known_class_may_be_whoever_is_asked_for(tmp_path):
    log = braking_log("driven")
    somebody = replace(log.agents, cls=(AgentClass.UNKNOWN,), source_cls=("THING",))
    unclassed = replace(log, source_log_id="unclassed", agents=somebody)
    lake = lake_of(tmp_path / "lake", [log, unclassed])
    tag(lake, only=["moving"])
    found = find(lake, "moving(cyclist c)")
    assert (found.total, found.unknown) == (0, 1)

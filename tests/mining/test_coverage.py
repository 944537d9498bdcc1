"""Coverage counted by hand, Good–Turing, and the names of gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import Lake
from mining.coverage import INTERESTS, Cell, coverage, gap, unseen_mass
from mining.predicates import PREDICATES
from mining.query.rules import read_rules
from mining.query.tagging import tag_rules
from mining.tag import tag
from schemas.errors import MissingData, UnknownName
from schemas.labels import Daylight, RoadType, Weather
from tests.mining.test_tag import braking_log, lake_of

RAIN, DAY, NIGHT = Weather.RAIN, Daylight.DAY, Daylight.NIGHT


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:  # type: ignore[no-untyped-def]
    """Straight roads: two hard brakes in rain by day, one at night, one quiet log of no weather."""
    logs = [
        braking_log("a", weather=RAIN, daylight=DAY),
        braking_log("b", weather=RAIN, daylight=DAY),
        braking_log("c", weather=RAIN, daylight=NIGHT),
        braking_log("d", hard=False),
    ]
    made = lake_of(tmp_path_factory.mktemp("lake") / "l", logs)
    tag(made)
    return made


def test_cells_are_counted_by_distinct_scenes(lake: Lake) -> None:
    found = coverage(lake, wanted=2, tags=["hard_brake"])
    assert found.cells == 3  # three contexts occur
    assert found.covered == 1
    assert found.met == 2
    assert found.unseen_mass == pytest.approx(1 / 3)  # of three observations, one is alone
    assert {g.gap_id: (g.count, g.missing) for g in found.gaps} == {
        "hard_brake.straight.rain.night": (1, 1),
        "hard_brake.straight.unknown.unknown": (0, 2),
    }
    assert found.gaps[0].gap_id == "hard_brake.straight.unknown.unknown"  # lacks more


def test_gaps_are_written_and_replaced(lake: Lake) -> None:
    coverage(lake, wanted=3, tags=["hard_brake", "cut_in"])
    assert lake.read("gaps").num_rows == 6
    coverage(lake, wanted=2, tags=["hard_brake"])
    rows = lake.read("gaps").to_pylist()
    assert {row["gap_id"] for row in rows} == {
        "hard_brake.straight.rain.night", "hard_brake.straight.unknown.unknown",
    }  # fmt: skip
    (night,) = [row for row in rows if row["daylight"] == "night"]
    assert (night["count"], night["generated"], night["wanted"]) == (1, 0, 2)


def test_a_saved_rule_is_a_behaviour_to_cover(lake: Lake, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "rules.toml"
    path.write_text('[gentle]\nquery = "braking(who) and not hard_brake(who)"\nactors = ["who"]')
    with pytest.raises(UnknownName, match="gentle"):
        coverage(lake, tags=["gentle"])
    tag_rules(lake, read_rules(path).values())
    found = coverage(lake, wanted=1, tags=["gentle"])
    assert "gentle.straight.unknown.unknown" not in {g.gap_id for g in found.gaps}
    assert gap(lake, "gentle.straight.unknown.unknown").count == 1


def test_what_cannot_happen_here_is_no_gap(lake: Lake) -> None:
    found = coverage(lake)
    tags = {g.cell.tag for g in found.gaps}
    assert "red_light_running" not in tags
    assert "oncoming_turn_conflict" not in tags
    assert "jaywalking" in tags


def test_the_answer_has_the_keys_that_scripts_rely_on(lake: Lake) -> None:
    answer = coverage(lake, tags=["cut_in"]).answer()
    assert {"cells", "covered", "unseen_mass", "gaps"} <= set(answer)
    assert {"gap_id", "cell", "count", "wanted"} <= set(answer["gaps"][0])
    assert answer["gaps"][0]["cell"] == {
        "tag": "cut_in", "road_type": "straight", "weather": "rain", "daylight": "day",
    }  # fmt: skip


def test_a_gap_is_found_by_its_name_even_when_it_is_closed(lake: Lake) -> None:
    coverage(lake, wanted=2, tags=["hard_brake"])
    closed = gap(lake, "hard_brake.straight.rain.day")
    assert (closed.count, closed.missing) == (2, 0)
    assert closed.cell == Cell("hard_brake", "straight", "rain", "day")
    assert gap(lake, "hard_brake.straight.rain.night").missing == 1


@pytest.mark.parametrize("name", ["hard_brake.straight.rain.nihgt", "hard_brakes.straight", "x"])
def test_a_wrong_name_is_refused_with_what_there_is(lake: Lake, name: str) -> None:
    coverage(lake, wanted=2, tags=["hard_brake"])
    with pytest.raises(UnknownName) as caught:
        gap(lake, name)
    assert "hard_brake.straight.rain.night" in caught.value.hint


def test_generated_scenes_fill_gaps_but_make_no_context(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = lake_of(tmp_path / "l", [braking_log("a", weather=RAIN, daylight=DAY)])
    more = [
        braking_log("g1", weather=RAIN, daylight=DAY), braking_log("g2", weather=Weather.SNOW),
    ]  # fmt: skip
    lake_of(tmp_path / "l", more, source="generated")
    tag(made)
    found = coverage(made, wanted=3, tags=["hard_brake"])
    assert found.cells == 1
    assert found.gaps[0].count == 1
    assert found.gaps[0].generated == 1
    assert found.gaps[0].missing == 1
    assert found.unseen_mass == 1.0


def test_scenes_that_nobody_looked_through_are_not_empty(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = lake_of(
        tmp_path / "l", [braking_log("a", weather=RAIN), braking_log("b", weather=RAIN)]
    )
    tag(made, only=["hard_brake"])
    later = [braking_log("c", weather=RAIN, hard=False), braking_log("d", weather=Weather.SNOW)]
    lake_of(tmp_path / "l", later)
    rain = "hard_brake.straight.rain.unknown"
    few, many = (coverage(made, wanted=n, tags=["hard_brake"]) for n in (3, 5))
    # With `c` there would be three in rain, and one in snow: neither covered nor lacking.
    assert (few.cells, few.covered, few.untagged) == (2, 0, 2)
    assert few.unknown == 1
    assert {g.gap_id for g in few.gaps} == {"hard_brake.straight.snow.unknown"}
    assert {g.gap_id: (g.count, g.untagged) for g in many.gaps} == {
        rain: (2, 1), "hard_brake.straight.snow.unknown": (0, 1),
    }  # fmt: skip
    assert many.answer()["untagged"] == 2
    assert gap(made, rain, wanted=3).covered is None
    # Of a tag that nobody looked for nothing is known at all.
    both = coverage(made, wanted=1, tags=["hard_brake", "cut_in"])
    assert (both.cells, both.covered, both.unknown, both.gaps) == (4, 1, 3, [])
    with pytest.raises(MissingData, match="as they are meant now"):
        coverage(made, tags=["cut_in"])
    tag(made, only=["hard_brake"])
    found = coverage(made, wanted=3, tags=["hard_brake"])
    assert (found.unknown, found.untagged) == (0, 0)
    assert {g.gap_id: g.count for g in found.gaps} == {
        rain: 2, "hard_brake.straight.snow.unknown": 1,
    }  # fmt: skip


def test_a_lake_without_scenes_or_tags_says_so(tmp_path) -> None:  # type: ignore[no-untyped-def]
    empty = Lake.create(tmp_path / "empty")
    with pytest.raises(MissingData, match="no scenes"):
        coverage(empty)
    untagged = lake_of(tmp_path / "untagged", [braking_log("a")])
    with pytest.raises(MissingData, match="not tagged") as caught:
        coverage(untagged)
    assert "mine tag" in caught.value.hint


def test_every_interest_is_a_predicate_in_a_place() -> None:
    assert set(INTERESTS) <= set(PREDICATES)
    for interest in INTERESTS.values():
        assert interest.road_types <= set(RoadType.words())
        assert 0 < interest.weight <= 1


@given(st.lists(st.integers(0, 20)))
def test_unseen_mass_is_a_probability(counts: list[int]) -> None:
    assert 0.0 <= unseen_mass(counts) <= 1.0


def test_unseen_mass_by_hand() -> None:
    assert unseen_mass([1, 1, 3, 5]) == 0.2
    assert unseen_mass([2, 3]) == 0.0
    assert unseen_mass([]) == 1.0

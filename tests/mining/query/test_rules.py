"""Saved rules: called like predicates, tagged like predicates, kept by the lake."""

from __future__ import annotations

import json

import pytest

from mining.query import find, holds
from mining.query.mistakes import BadExpression
from mining.query.rules import read_rules, rules_of, shipped_rules
from mining.query.tagging import tag_rules
from mining.tag import tag
from schemas.errors import BadSetting, MissingData, UnreadableFile
from schemas.labels import Weather
from tests.mining.test_tag import braking_log, lake_of

RULES = """
[comes_to_rest]
doc = "Brakes until it stands."
query = "braking(who) then stopped(who) within 3 s"
actors = ["who"]
version = 3

[pressed]
query = "comes_to_rest(front) and following(behind, front)"
actors = ["behind", "front"]

[any_rest]
query = "comes_to_rest(_)"

[rest_in_rain]
query = "comes_to_rest(ego) and weather is rain"
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.fixture
def lake(tmp_path):
    made = lake_of(
        tmp_path / "lake",
        [
            braking_log("rain", weather=Weather.RAIN),
            braking_log("dry", weather=Weather.CLEAR),
            braking_log("who knows"),
        ],
    )
    tag(made)
    return made


def test_a_rule_is_its_query(lake, rules):
    told = read_rules(rules)
    plain = "braking({0}) then stopped({0}) within 3 s"
    for who in ("ego", "a"):
        short = find(lake, f"comes_to_rest({who})", rules=told)
        long = find(lake, plain.format(who))
        assert [(m.scene_id, m.t0_s, m.t1_s, m.actors) for m in short.matches] == [
            (m.scene_id, m.t0_s, m.t1_s, m.actors) for m in long.matches
        ]
    assert find(lake, "comes_to_rest(ego)", rules=told).total == 3
    assert find(lake, "comes_to_rest(ego)", rules=told).query == "comes_to_rest(ego)"


def test_a_rules_own_variables_are_anybody(lake, rules):
    told = read_rules(rules)
    # The same variable of the query and of the rule are two.
    report = find(lake, "pressed(_, ego) and not hard_brake(front)", rules=told)
    assert all(set(m.actors) == {"ego"} for m in report.matches)
    assert find(lake, "any_rest()", rules=told).scenes == 3


def test_rules_become_tags_that_the_lake_keeps(lake, rules):
    report = tag_rules(lake, read_rules(rules).values())
    assert report.by_name["comes_to_rest"] == 6  # the one behind brakes alike
    assert report.scenes_by_name["comes_to_rest"] == 3
    assert report.by_name["rest_in_rain"] == 1
    rows = lake.read("events", None, "name = 'rest_in_rain'").to_pylist()
    assert sorted(row["truth"] for row in rows) == ["true", "unknown"]
    rested = lake.read("events", None, "name = 'comes_to_rest'").to_pylist()
    assert {(row["actor_id"], row["rule_version"]) for row in rested} == {(0, 3), (1, 3)}
    assert "braking(who)" in json.loads(rested[0]["evidence"])["query"]
    # Without the file, the rules are known now.
    assert set(rules_of(lake)) == {*shipped_rules(), *read_rules(rules)}
    assert find(lake, "comes_to_rest(ego) and weather is clear").scenes == 1


def test_tagging_again_replaces(lake, rules):
    tag_rules(lake, read_rules(rules).values())
    before = lake.read("events", None, "name = 'any_rest'").num_rows
    rules.write_text(RULES.replace("within 3 s", "within 0.1 s"))
    tag_rules(lake, read_rules(rules).values())
    after = lake.read("events", None, "name = 'any_rest'").num_rows
    assert before == 3
    assert after == find(lake, "any_rest()").total


def test_rules_say_of_scenes_alone_what_they_say_of_a_lake(lake, rules):
    told = read_rules(rules)
    alone = holds("rest_in_rain()", list(lake.scenes()), rules=told)
    assert sum(map(len, alone)) == find(lake, "rest_in_rain()", rules=told).total == 1


def test_predicates_come_before_rules(tmp_path, rules):
    lake = lake_of(tmp_path / "fresh", [braking_log("one")])
    with pytest.raises(MissingData, match="braking"):
        tag_rules(lake, read_rules(rules).values())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[near]\nquery = "stopped(ego)"', "is taken"),
        ('[r]\nquery = "cutin(a, ego)"', "cut_in"),
        ('[r]\nqery = "stopped(ego)"', "`query`"),
        ('[r]\nquery = "stopped(ego)"\nactors = ["who"]', "does not tell who"),
        ('[r]\nquery = "r(ego)"', "No predicate"),
        ('[r]\nquery = "stopped(ego) unknown as true"', "keeps what is unknown"),
        ('r = "stopped(ego)"', "is not a rule"),
        ('["a b"]\nquery = "stopped(ego)"', "is no name"),
        ("[r", "is not TOML"),
    ],
)
def test_mistakes(tmp_path, text, told):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises((BadSetting, UnreadableFile)) as error:
        read_rules(path)
    assert told in f"{error.value.message} {error.value.hint}"
    assert str(path) in error.value.message


def test_calls_of_rules_are_checked(lake, rules):
    told = read_rules(rules)
    for query, reason in (
        ("comes_to_rest(a, b)", "takes 1 actor"),
        ("comes_to_rest()", "does not say of whom"),
        ("comes_to_rest(ego) > 3", "has no value"),
        ("pressed(a, a)", "is of two actors"),
        ("come_to_rest(ego)", "comes_to_rest"),
    ):
        with pytest.raises(BadExpression) as error:
            find(lake, query, rules=told)
        assert reason in f"{error.value.message} {error.value.hint}"


def test_shipped_rules_are_read():
    assert all(rule.doc and rule.source for rule in shipped_rules().values())

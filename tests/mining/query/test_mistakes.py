"""Each mistake is told with its place and what to do, before anything runs."""

from __future__ import annotations

import pytest

from mining.query.check import checked
from mining.query.mistakes import BadExpression
from mining.query.parse import LONGEST, parse
from mining.query.tree import Query, predicate

MISTAKES = [
    # query, the words that are marked, what is wrong, what to do
    ("cutin(a, ego)", "cutin", "No predicate is called", "cut_in"),
    ("rain(ego)", "rain", "No predicate is called", ""),
    ("weather(ego) and x(ego)", "ego", "takes no actor", "about"),
    ("hard_brake(a, b)", "b", "takes 1 actor, not 2", "harder than passengers"),
    ("hard_brake()", "hard_brake()", "does not say of whom", "hard_brake(ego)"),
    ("hard_brake and stopped(ego)", "and", "cannot stand here", "`(`"),
    ("near(a, a)", "near(a, a)", "is of two actors", "`_` is anyone"),
    ("jaywalking(truck t)", "truck t", "never true of a truck", "pedestrian"),
    ("jaywalking(ego)", "ego", "never true of the ego", "pedestrian"),
    ("near(ego, bicycle b)", "bicycle b", "No class", "cyclist"),
    ("near(truck ego, a)", "truck ego", "a vehicle already", "`ego`"),
    ("near(ego, truck t) and hard_brake(car t)", "car t", "truck before", "different names"),
    ("braking(ego) <= -3", "<= -3", "of what?", "-3 m/s2"),
    ("braking(ego) <= -3 km", "<= -3 km", "does not fit", "m/s2"),
    ("at_crosswalk(ego) > 1", "> 1", "no value", "Leave it out"),
    ("stopped(ego) for at least 3", "3", "needs its unit", "3 s"),
    ("a(x) then b(x) within 3 m", "3 m", "no unit of time", "3 s"),
    ("stopped(ego) then starting(ego) within 0 s", None, "within 0 s", "above zero"),
    ("stopped(ego) for at least 0 s", None, "Nothing lasts 0 s", ""),
    ("hard_brake(ego) then weather is rain", "weather is rain", "whole scene", "`and`"),
    ("weather() then stopped(ego)", "weather()", "whole scene", "`and`"),
    ("stopped(a) and high_speed(a)", "high_speed(a)", "never true at once", "then"),
    ("stopped(a) during high_speed(a)", "high_speed(a)", "never true at once", "then"),
    ("weather is rain and weather is snow", "weather is snow", "cannot be both", "in (rain, snow)"),
    ("weather is rainy", "weather is rainy", "is never `rainy`", "`rain`"),
    ("weather >= 3", "weather >= 3", "is a word", "weather is"),
    ("agents is many", "agents is many", "is a number", "agents >= 5"),
    ("wether is rain", "wether", "No fact", "`weather`"),
    ("near is rain", "near", "does not say of whom", "near(ego, a)"),
    ("count(hard_brake(ego)) >= 0", ">= 0", "always", ">= 1"),
    ("count(hard_brake(ego)) < 0", "< 0", "never", "= 0"),
    ("count(hard_brake(ego)) >= 1.5", ">= 1.5", "whole numbers", ">= 3"),
    ("count(v where near(ego, w)) >= 2", "v", "not one whom", "Count a variable"),
    ("count(near(ego, _)) = 2 at once", "= 2", "`>=`", "not count"),
    ("count(weather is rain) >= 2", "weather is rain", "once in a scene", ""),
    ("not near(ego, a) and not hard_brake(a)", "a", "need not be the same", "Say first"),
    ("(near(ego, a) or stopped(ego)) and hard_brake(a)", "a", "in one branch", "every branch"),
    ("near(a, ego", "(", "never closed", "`)`"),
    ("(near(a, ego) and stopped(ego)", "(", "never closed", "`)`"),
    ("near(a, ego))", ")", "closes nothing", "Leave it out"),
    ("near(a, ego) && stopped(a)", "&&", "not understood", "`and`"),
    ("stopped(ego) followed by starting(ego)", "followed", "not understood", "`then`"),
    ("stopped(ego) then", "", "breaks off", "a name"),
    ("", "", "empty", "hard_brake"),
    ("stopped(ego) starting(ego)", "starting", "cannot stand here", "`then`"),
    ("stopped(ego) ; drop table events", ";", "not understood", "`and`"),
    ("stopped(ego) unknown as maybe", "maybe", "cannot stand here", "`true`"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "marked", "reason", "hint"), MISTAKES, ids=[m[0] for m in MISTAKES]
)
def test_mistakes(text, marked, reason, hint):
    with pytest.raises(BadExpression) as told:
        checked(parse(text))
    error = told.value
    assert reason in error.reason
    assert hint in error.hint
    if marked is not None:
        begin, end = error.place
        assert text[begin:end] == marked
    if text:
        assert error.message.splitlines()[1].strip() == text


def test_the_mark_stands_below_the_mistake_on_its_line():
    with pytest.raises(BadExpression) as told:
        checked(parse("stopped(ego)\n  and cutin(a, ego)  # so"))
    message, line, mark = told.value.message.splitlines()
    assert "line 2, character 7" in message
    assert line[mark.index("^") : mark.rindex("^") + 1] == "cutin"


def test_a_query_made_in_python_has_no_place_to_mark():
    with pytest.raises(BadExpression) as told:
        checked(Query(predicate("cutin", "a", "ego")))
    assert told.value.message == "No predicate is called `cutin`."


@pytest.mark.parametrize(
    "text", ["(" * 5000 + "stopped(ego)" + ")" * 5000, "not " * 4000 + "stopped(ego)"]
)
def test_deep_nesting_is_refused(text):
    with pytest.raises(BadExpression):
        checked(parse(text))


def test_a_book_is_no_query():
    with pytest.raises(BadExpression, match="is no query"):
        parse("stopped(ego) and " * LONGEST)


@pytest.mark.parametrize(
    "text",
    [
        "cut_in(a, ego) then hard_brake(ego) within 3 s",
        "crosses_in_front(pedestrian p, ego) and not at_crosswalk(p) and daylight is night",
        "count(vehicle v where near(v, ego)) >= 5 at once and ttc(ego, _) < 1.5 s",
        "(stopped(ego) or low_speed(ego)) for at least 3 s unknown as true",
        'similar to "world-000059@0.0s" and rarity > 0.95 and dataset is "argoverse2_sensor"',
        "braking(ego) <= -0.3 g  # a third of what tyres hold",
        "high_speed(ego) > 50 km/h and weather in (rain, snow)",
        "always moving(ego)",
        "always not stopped(ego) and never (braking(a) then stopped(a))",
        "never always moving(ego)",
        "(never hard_brake(ego)) for at least 2 s",
        "never (hard_brake(ego) for at least 2 s)",
        "not never (braking(ego) and stopping(ego)) or count(stopped(ego)) = 0",
    ],
)
def test_what_is_right_is_not_refused_and_reads_back(text):
    query = checked(parse(text))
    assert checked(parse(str(query))).node == query.node


@pytest.mark.parametrize(
    "text",
    [
        "always moving(ego)",
        "always not stopped(ego)",
        "never hard_brake(ego)",
        "never (hard_brake(ego) for at least 2 s)",
        "count(hard_brake(ego)) = 0",
        "not never (braking(a) then stopped(a))",
    ],
)
def test_what_is_written_is_told_as_written(text):
    assert str(checked(parse(text))) == text


def test_units_become_those_of_the_predicate():
    call = checked(parse("high_speed(ego) > 36 km/h")).node
    assert call.compare.number == pytest.approx(10.0)
    assert str(checked(parse("braking(ego) <= -1 g"))) == "braking(ego) <= -9.80665 m/s2"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("never hard_brake(ego)", "count(hard_brake(ego)) = 0"),
        ("always moving(ego)", "count(not moving(ego)) = 0"),
        ("never near(a, ego) and moving(ego)", "count(near(a, ego)) = 0 and moving(ego)"),
        ("not never stopped(ego)", "not count(stopped(ego)) = 0"),
        ("never (stopped(ego) for at least 2 s)", "count(stopped(ego) for at least 2 s) = 0"),
    ],
)
def test_never_and_always_are_counts(written: str, meant: str) -> None:
    assert checked(parse(written)).node == checked(parse(meant)).node

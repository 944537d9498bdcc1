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
    ("# nothing", "", "empty", "hard_brake"),
    ("stopped(ego) followed by starting(ego)", "followed", "not understood", "`then`"),
    ("stopped(ego) then", "", "breaks off", "a name"),
    ("", "", "empty", "hard_brake"),
    ("stopped(ego) starting(ego)", "starting", "cannot stand here", "`then`"),
    ("stopped(ego) ; drop table events", ";", "not understood", "`and`"),
    ("stopped(ego) unknown as maybe", "maybe", "cannot stand here", "`true`"),
    # names that say something else than they look
    ("hard_brake(Ego)", "Ego", "not the ego", "`ego`"),
    ("near(ego, pedestrian)", "pedestrian", "a name here", "`pedestrian p`"),
    ("near(ego, truck t) and moving(bike)", "bike", "a name here", "`cyclist b`"),
    ("near(not, ego)", "not", "a word of the language", "`car c`"),
    ("near(ego, Bicycle b)", "Bicycle b", "No class", "cyclist"),
    ("is_ego(a) and near(a, ego)", "a", "never the ego", "`ego`"),
    ("hard_brake(a) or not near(a, ego)", "a", "one side of `or`", "both sides"),
    # numbers that nothing has
    ("hard_brake(ego) > 3 m/s2", "> 3 m/s2", "is never > 3", "-4.05 m/s2 or less"),
    ("ttc(ego, _) > 5 s", "> 5 s", "is never > 5", "0 s or more and 2 s or less"),
    ("near(ego, a) < 0 m", "< 0 m", "is never < 0", "10 m or less"),
    ("high_speed(ego) < 18 km/h", "< 18 km/h", "is never < 5 m/s", "9 m/s or more"),
    ("low_speed(ego) = 5 m/s", "= 5 m/s", "is never = 5", "1.2 m/s or less"),
    ("rarity > 95", "> 95", "is never > 95", "1 or less"),
    ("rarity > 100 %", "> 100 %", "is never > 1", "1 or less"),
    ("agents < 0", "< 0", "is never < 0", "0 or more"),
    ("agents = 3.5", "= 3.5", "whole numbers", ">= 3"),
    ("agents > 3 %", "> 3 %", "does not fit", "Write 3"),
    ("similar to 5 >= 2", ">= 2", "A likeness is never >= 2", "1 or less"),
    ("ego_speed < -1 m/s", "< -1 m/s", "is never < -1", "0 m/s or more"),
    ("count(near(v, ego)) >= 1e30", ">= 1e30", "1e+30 times", ">= 3"),
    ("high_speed(ego) > 1e400 m/s", "> 1e400 m/s", "no number", "smaller"),
    ("stopped(ego) for at least 9e99 s", None, "Nothing lasts 9e+99 s", "for at least 2 s"),
    ("stopped(ego) for at most 0.05 s", None, "under 0.1 s", "0.1 s"),
    ("stopped(ego) then moving(ego) within 1e300 s", None, "within 1e+300 s", "within 3 s"),
    # two parts that cannot both be so
    ("stopped(ego) and not stopped(ego)", "not stopped(ego)", "never true at once", "then"),
    ("stopped(ego) during not stopped(ego)", "not stopped(ego)", "never true at once", "then"),
    ("never stopped(a) and (stopped(a) then moving(a))", "stopped(a) then moving(a)", "never true", ""),
    ("count(near(_, ego)) >= 2 and never near(_, ego)", "never near(_, ego)", "never true", ""),
    ("always stopped(ego) and high_speed(ego)", "high_speed(ego)", "never true at once", ""),
    ("always stopped(ego) and never stopped(ego)", "never stopped(ego)", "never true at once", ""),
    ("near(car c, ego) and not near(_, ego)", "not near(_, ego)", "never true at once", ""),
    ("braking(ego) <= -2 m/s2 and not braking(ego)", "not braking(ego)", "never true at once", ""),
    ("(stopped(a) and near(a, ego)) and high_speed(a)", "high_speed(a)", "never true at once", ""),
    ("(stopped(a) or low_speed(a)) and high_speed(a)", "high_speed(a)", "never true at once", ""),
    ("same_heading(a, ego) and opposite_heading(ego, a)", "opposite_heading(ego, a)", "at once", "then"),
    ("agents > 5 and agents < 3", "agents < 3", "Nothing is both", "round"),
    ("high_speed(ego) > 20 m/s and high_speed(ego) < 10 m/s", "high_speed(ego) < 10 m/s", "both", ""),
    ("(stopped(ego) for at least 5 s) for at most 3 s", None, "Nothing lasts >= 5 s and <= 3 s", ""),
    (
        "stopped(a) for at least 3 s and stopped(a) for at most 2 s",
        "stopped(a) for at most 2 s", "Nothing is both", "",
    ),
    ("weather is not rain and weather is rain", "weather is rain", "never true at once", ""),
    # how other languages write it
    ("braking(ego) ≤ -3 m/s2", "≤", "not understood", "`<=`"),
    ("braking(ego) =< -3 m/s2", "<", "not understood", "`<=`"),
    ("ttc(ego, _) < 1,5 s", ",", "not understood", "`1.5`"),
    ("high_speed(ego) > 100 kmph", "> 100 kmph", "does not fit", "m/s, km/h or mph"),
    ("ttc(ego, _) < 1.5", "< 1.5", "of what?", "1.5 s, or in ms or min"),
    ("stopped(ego) AND moving(a)", "AND", "not understood", "`and`"),
    ("stopped(ego) after moving(ego)", "after", "not understood", "other way round"),
    ("(hard_brake(ego) unknown as true)", "unknown", "not understood", "at the end"),
    ('dataset is "a\0"', '"a\0"', "not understood", "a text in quotes"),
    ("hard_brake(actor=ego)", "=", "cannot stand here", "`,`"),
    ("near(ego,,a)", ",", "cannot stand here", "a name"),
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
    assert error.hint


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
        # Hysteresis lets neighbours hold at once, while a speed crosses from one to the other.
        "stopped(a) and low_speed(a)",
        "low_speed(a) and medium_speed(a)",
        "medium_speed(a) and high_speed(a)",
        # It may well be another one, or another time.
        "high_speed(a) and stopped(b)",
        "near(ego, _) > 5 m and near(ego, _) < 3 m",
        "left_of(a, ego) and right_of(ego, a)",
        "in_front_of(a, ego) and left_of(a, ego)",
        "stopped(a) and reversing(a)",
        "near(car c, ego) and not near(truck _, ego)",
        "near(a, ego) and not near(a, ego) < 5 m",
        "stopped(a) and (high_speed(a) then stopped(a))",
        "never (stopped(ego) for at least 2 s) and stopped(ego)",
        "weather is rain or not weather is rain",
        "(stopped(a) or moving(a)) and high_speed(a)",
        # What hysteresis lets fall short of the threshold by a tenth.
        "accelerating(ego) < 0.6 m/s2",
        # A class may be a name, too, where it is told whose.
        "near(car car, ego) and braking(car)",
        "rarity > 95 %",
    ],
)
def test_what_may_be_so_is_not_refused(text):
    checked(parse(text))


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
        ("never stopped(ego) for at least 2 s", "count(stopped(ego) for at least 2 s) = 0"),
    ],
)
def test_never_and_always_are_counts(written: str, meant: str) -> None:
    assert checked(parse(written)).node == checked(parse(meant)).node

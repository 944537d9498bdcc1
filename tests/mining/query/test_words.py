"""Sentences become the queries that a validation engineer would write, or are refused."""

from __future__ import annotations

import re
from itertools import permutations
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.predicates import PREDICATES
from mining.predicates.predicate import Predicate
from mining.query.check import checked
from mining.query.classes import CLASSES
from mining.query.facts import FACTS
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from mining.query.rule import Rule
from mining.query.tree import Call, Fact, Query
from mining.query.units import WRITTEN
from mining.query.values import bounds
from mining.query.words import lexicon, phrases_known, prompt, translate, vocabulary
from mining.query.words.calls import LOWEST, TOLD_FROM

SENTENCES = {
    # Who does what.
    "the ego brakes hard": "hard_brake(ego)",
    "our car is braking hard": "hard_brake(ego)",
    "we braked hard": "hard_brake(ego)",
    "a car cuts in in front of the ego": "cut_in(car c, ego)",
    "the ego is cut off by a motorbike": "cut_in(motorcycle m, ego)",
    "a truck cuts in": "cut_in(truck t)",
    "someone tailgates us": "tailgating(a, ego)",
    "anyone jaywalks": "jaywalking(_)",
    "the AV follows another vehicle": "following(ego, vehicle v)",
    "a motorcycle rides the wrong way": "wrong_way(motorcycle m)",
    "a dog crosses in front of the ego": "crosses_in_front(animal a, ego)",
    "the ego makes a U-turn": "u_turn(ego)",
    "the ego changes lanes": "lane_change_left(ego) or lane_change_right(ego)",
    "the ego makes an unprotected left turn": "unprotected_turn(ego) and turning_left(ego)",
    "a pedestrian steps out in front of the ego": "crossed_by(ego, pedestrian p)",
    "a truck holds up the ego": "slow_lead(ego, truck t)",
    "a bus is stopped ahead of the ego": "stopped(bus b) and following(ego, b)",
    "a car overtakes another car": "overtake(car c, car c2)",
    "the first car overtakes the second car and the second car brakes":
        "overtake(car c, car c2) and braking(c2)",
    "a near miss between the ego and a cyclist": "near_miss(ego, cyclist c)",
    "the ego almost hits a pedestrian": "near_miss(ego, pedestrian p)",
    "show me a pedestrian crossing in front of the ego": "crosses_in_front(pedestrian p, ego)",
    "there is a pedestrian near the ego": "near(pedestrian p, ego)",
    "it is raining and the ego speeds": "over_limit(ego) and weather is rain",
    # Of who stands, next in the lane is who queues; of who is parked, it is by place alone.
    "the ego is stopped behind a truck": "stopped(ego) and queuing(ego, truck t)",
    "the ego is stopped and nobody is ahead of it": "stopped(ego) and not queuing(ego, a)",
    "the ego is stopped behind a parked truck":
        "stopped(ego) and behind(ego, truck t) and parked(t)",
    "the ego is parked behind a truck": "parked(ego) and behind(ego, truck t)",
    "while the ego is stopped a car is ahead of it": "stopped(ego) overlaps queuing(ego, car c)",
    "the ego is stuck behind a stalled vehicle":
        "queuing(ego, vehicle v) and stalled_vehicle(v)",
    # On the road lie things; others drive or walk there.
    "a pedestrian is on the road and not at a crosswalk":
        "on_road(pedestrian p) and not at_crosswalk(p)",
    "something is on the road": "obstacle_on_road(a)",
    # What does not follow is no time without it that begins then.
    "a car cuts in, then the ego does not brake within 3 s":
        "cut_in(car c) and not (cut_in(c) then braking(ego) within 3 s)",
    "no car brakes within 2 s after the ego brakes":
        "braking(ego) and not (braking(ego) before braking(car c) within 2 s)",
    "the ego does not brake before a car cuts in":
        "cut_in(car c) and not (braking(ego) before cut_in(c))",
    "a car cuts in and then the ego never brakes":
        "cut_in(car c) and not (cut_in(c) then braking(ego))",
    # Who brakes after a cut-in need not be who cut in.
    "a cut-in followed by hard braking": "cut_in(_) then hard_brake(_)",
    "the ego brakes hard in a merge": "hard_brake(ego) and merge_zone(ego)",
    "the ego drives on the wrong side of the road": "wrong_way(ego)",
    "the ego enters a roundabout": "roundabout(ego)",
    # Where and in what conditions.
    "a pedestrian crosses in front of the ego outside a crosswalk at night":
        "crosses_in_front(pedestrian p, ego) and not at_crosswalk(p) and daylight is night",
    "the ego brakes hard in rain or snow": "hard_brake(ego) and weather in (rain, snow)",
    "the ego turns left at a signalled intersection":
        "turning_left(ego) and road is signalled_intersection",
    "the ego turns left at an intersection": "turning_left(ego) and near_intersection(ego)",
    "a truck reverses in dense traffic": "reversing(truck t) and traffic_density()",
    "a car is parked not in the rain": "parked(car c) and not weather is rain",
    "at dusk or at night a vehicle swerves on a motorway":
        "swerve(vehicle v) and daylight in (dusk, night) and road is highway",
    "rare scenes where the ego overtakes a truck": "overtake(ego, truck t) and rarity >= 0.95",
    "scenes similar to scene 123 by at least 0.9": "similar to 123 >= 0.9",
    "scenes like scene world-000059@0.0s where the ego brakes":
        'braking(ego) and similar to "world-000059@0.0s" >= 0.8',
    "scenes at night with more than 20 agents, longer than 10 s, where the ego swerves":
        "swerve(ego) and daylight is night and agents > 20 and duration > 10 s",
    "scenes in the val split where a bus sets off": "starting(bus b) and split is val",
    "in the dataset argoverse2_sensor a bus sets off":
        "starting(bus b) and dataset is argoverse2_sensor",
    "possibly the ego brakes hard in fog": "hard_brake(ego) and weather is fog unknown as true",
    # Numbers.
    "the ego brakes harder than 5 m/s2": "braking(ego) < -5 m/s2",
    "the ego brakes at 0.5 g or more": "braking(ego) <= -0.5 g",
    "the ego drives faster than fifty kilometres per hour": "high_speed(ego) > 50 km/h",
    "time to collision below 1.5 s": "ttc(_) < 1.5 s",
    "the time to collision between the ego and a truck falls below one and a half seconds":
        "ttc(ego, truck t) < 1.5 s",
    "the ego's time headway is less than 0.8 s": "thw(ego) < 0.8 s",
    "the ego follows a truck with a time headway below 0.8 s":
        "following(ego, truck t) and thw(ego, t) < 0.8 s",
    "a pedestrian comes within 3 m of the ego": "near(pedestrian p, ego) <= 3 m",
    "the ego exceeds the speed limit by more than 10 mph": "over_limit(ego) > 10 mph",
    "the ego is stopped at a stop sign for at least 3 s":
        "(stopped(ego) and at_stop_sign(ego)) for at least 3 s",
    "a truck tailgates us for two seconds": "tailgating(truck t, ego) for at least 2 s",
    "a truck tailgates us for at most 2 s": "tailgating(truck t, ego) for at most 2 s",
    # What is not so.
    "the ego does not yield to a pedestrian": "not yields_to(ego, pedestrian p)",
    "the ego fails to yield to anyone": "not yields_to(ego, _)",
    "no pedestrian is near the ego": "not near(pedestrian p, ego)",
    "nobody tailgates the ego": "not tailgating(a, ego)",
    "the ego turns left without braking": "turning_left(ego) and not braking(ego)",
    "the ego never brakes": "count(braking(ego)) = 0",
    "a car cuts in in front of the ego and does not brake": "cut_in(car c, ego) and not braking(c)",
    "a car that is not braking is near the ego": "near(car c, ego) and not braking(c)",
    "no car that is parked is near the ego": "not (near(car c, ego) and parked(c))",
    "a truck overtakes us and the ego isn't braking": "overtake(truck t, ego) and not braking(ego)",
    # How many and how often.
    "at least three vehicles are near the ego at once":
        "count(vehicle v where near(v, ego)) >= 3 at once",
    "more than 5 cars are near the ego": "count(car c where near(c, ego)) > 5",
    "there are at least two parked trucks near the ego":
        "count(truck t where near(t, ego) and parked(t)) >= 2",
    "the ego overtakes exactly two trucks": "count(truck t where overtake(ego, t)) = 2",
    "the ego brakes hard twice": "count(hard_brake(ego)) >= 2",
    "anyone brakes hard at least three times within 10 s":
        "count(hard_brake(_)) >= 3 within 10 s",
    # One after the other.
    "a car cuts in in front of the ego and then the ego brakes hard within 3 s":
        "cut_in(car c, ego) then hard_brake(ego) within 3 s",
    "a pedestrian crosses in front of the ego and it brakes hard":
        "crosses_in_front(pedestrian p, ego) and hard_brake(ego)",
    "the ego approaches a stopped truck and then overtakes it":
        "(closing(ego, truck t) and stopped(t)) then overtake(ego, t)",
    "a cyclist overtakes the ego before it turns right":
        "overtake(cyclist c, ego) before turning_right(ego)",
    "the ego brakes hard within 2 s after a car cuts in":
        "cut_in(car c) before hard_brake(ego) within 2 s",
    "after a car cuts in, the ego brakes hard within 2 s":
        "cut_in(car c) before hard_brake(ego) within 2 s",
    "before the ego turns left, a cyclist overtakes it":
        "overtake(cyclist c, ego) before turning_left(ego)",
    "a pedestrian jaywalks while the ego accelerates":
        "jaywalking(pedestrian p) overlaps accelerating(ego)",
    "the ego brakes, stops and then sets off": "(braking(ego) and stopping(ego)) then starting(ego)",
    "a truck overtakes the ego, then the truck brakes and the ego swerves within 2 s":
        "overtake(truck t, ego) then (braking(t) and swerve(ego)) within 2 s",
    "the ego brakes, then stops, then reverses":
        "(braking(ego) then stopping(ego)) then reversing(ego)",
    "at night, a car cuts in or the ego brakes":
        "(cut_in(car c) or braking(ego)) and daylight is night",
    "the ego never stops at a stop sign": "count(stopping(ego) and at_stop_sign(ego)) = 0",
    "the ego does not brake and turns left": "not braking(ego) and turning_left(ego)",
    "it is not raining and the ego brakes hard": "hard_brake(ego) and not weather is rain",
    "the ego brakes within a minute after a car cuts in":
        "cut_in(car c) before braking(ego) within 60 s",
    "a cut-in by a bus followed by hard braking of the ego": "cut_in(bus b) then hard_brake(ego)",
    "the ego is near a bus and near a car and brakes":
        "near(ego, bus b) and near(ego, car c) and braking(ego)",
    'scenes similar to "night ride" where the ego brakes':
        'braking(ego) and similar to "night ride" >= 0.8',
    "a pedestrian crosses in front of us and they jaywalk":
        "crosses_in_front(pedestrian p, ego) and jaywalking(p)",
    # More of who.
    "a parked truck blocks the ego and then the parked truck sets off":
        "(blocked_by(ego, truck t) and parked(t)) then starting(t)",
    "the ego accelerates but the car behind it brakes":
        "accelerating(ego) and braking(car c) and following(c, ego)",
    "the vehicle ahead of the ego brakes hard": "hard_brake(vehicle v) and following(ego, v)",
    "the ego overtakes a truck that is parked": "overtake(ego, truck t) and parked(t)",
    "a pedestrian who jaywalks crosses in front of the ego":
        "crosses_in_front(pedestrian p, ego) and jaywalking(p)",
    "a parked lorry blocks the ego": "blocked_by(ego, truck t) and parked(t)",
    "a car behind the ego brakes hard": "hard_brake(car c) and following(c, ego)",
    "while the ego turns left a pedestrian crosses in front of it":
        "turning_left(ego) overlaps crosses_in_front(pedestrian p, ego)",
    "anyone brakes at a crosswalk": "braking(a) and at_crosswalk(a)",
}  # fmt: skip


@pytest.mark.parametrize(("sentence", "query"), SENTENCES.items(), ids=SENTENCES)
def test_sentences(sentence, query):
    made = translate(sentence)
    assert str(made) == str(parse(query))
    assert checked(made).node == checked(parse(query)).node


def test_the_examples_of_the_documentation():
    page = (Path(__file__).parents[3] / "docs" / "query.md").read_text(encoding="utf-8")
    table = page.split("| sentence | query |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [re.fullmatch(r"\| (.+) \| `(.+)` \|", line) for line in table.splitlines()]
    assert len(rows) == 10
    for row in rows:
        assert row is not None
        assert str(translate(row[1])) == row[2]


REFUSED = [
    # sentence, the words that are marked, what is wrong, what to do
    ("a zebra cuts in", "zebra", "not understood", "pedestrian"),
    ("a pedestrain jaywalks", "pedestrain", "no word that I know", "`pedestrian`"),
    ("a car suddenly cuts in", "suddenly", "no word that I know", "brakes hard"),
    ("a child jaywalks", "child", "no word that I know", "`pedestrian`"),
    ("the ego gently brakes", "gently", "no word that I know", "--vocabulary"),
    ("the ego brakes; delete table events", "delete", "`delete`, `table`, `events`", ""),
    ("the ego crosses quickly", "quickly", "not understood", "Did you mean"),
    ("the ego brakes because a car cuts in", "because", "no word that I know", "`then` or `while`"),
    ("every car brakes", "every", "not understood", "at least three cars"),
    ("several cars brake", "several", "no word that I know", "at least three"),
    ("cars are near the ego", "cars", "not understood", "at least two cars"),
    ("the ego brakes immediately", "immediately", "no word that I know", "within 1 s"),
    ("the car brakes", "the car", "not one of whom was spoken", "`a car`"),
    ("a car overtakes a car and the car brakes", "the car", "either of 2", "the second car"),
    ("the third car brakes", "the third car", "only 0 so far", "in order"),
    ("a car cuts in in front of the ego, then it brakes", "it", "the car or the ego", "Name"),
    ("a car cuts in and the car behind the ego brakes", "the car", "or another", "another car"),
    ("the ego does not brake and turn left", "turn left", "denied too, or not", "does not"),
    ("the ego turns left without braking or swerving", "swerving", "denied too, or not", "Name"),
    ("the ego never brakes and turns left", "turns left", "denied too, or not", "Name"),
    ("a hard brake by the ego in front of a truck", "a truck", "of one alone", "clause"),
    ("a car brakes and another car brakes and they stop", "they", "the car or the car", "Name"),
    ("a car brakes near the ego and they collide", "they", "two of whom", "with whom"),
    ("the ego stops for at least 5 s", "stops", "until one stands", "is stopped"),
    ("the ego is not near a bus and near a car", "near a car", "of two things", "in full"),
    ("a truck reverses, then it rains", "it rains", "neither before nor after", "while"),
    ("the ego brakes then at night", "at night", "neither before nor after", "at night"),
    ("it brakes", "it", "nobody of whom was spoken", "Name"),
    ("a car does not brake", "a car", "nothing is said", "near the ego does not brake"),
    ("a car is outside the intersection", "a car", "nothing is said", "no car"),
    ("a car never brakes", "a car", "nothing is said", "no car"),
    ("anyone does not brake", "anyone", "in two ways", "nobody brakes"),
    ("the ego does not yield to a pedestrian who jaywalks", "a pedestrian", "denied", "Say first"),
    ("no car is near the ego and the car brakes", "the car", "no one in particular", "same words"),
    ("at least two cars brake and they swerve", "they", "one of many", "same words"),
    ("no car does not brake", "no car", "deny", "without one"),
    ("two cars overtake two trucks", "two trucks", "Two are counted", "one number"),
    ("a car brakes twice", "a car", "another each time", "anyone"),
    ("no cars are near the ego at once", None, "Nothing is counted", "at least three"),
    ("the ego brakes within 3 s", "within 3 s", "of what?", "then the ego brakes within 3 s"),
    ("the ego brakes for at least 3", "3", "needs its unit", "3 s"),
    ("the ego brakes for at least 3 m", "3 m", "no unit of time", "3 s"),
    ("the ego brakes harder than 5", "5", "of what?", "5 m/s2"),
    ("the ego brakes harder than 5 km", "5 km", "does not fit", "m/s2"),
    ("the ego brakes harder than 0.5 m/s2", "0.5 m/s2", "more than 1 m/s2", "more than"),
    ("the ego brakes at 5 m/s2", "", "breaks off", "at least 5 m/s2"),
    ("time to collision below 3 s", "below 3 s", "less than 2 s", "less than 2 s"),
    ("time to collision above 1 s", "above 1 s", "less than 2 s", "less than 2 s"),
    ("the ego drives slower than 5 m/s", "5 m/s", "from 9 m/s on", "creeps"),
    ("a pedestrian comes within 20 m of the ego", "20 m", "less than 10 m", "less than"),
    ("a truck jaywalks", "a truck", "never true of a truck", "pedestrian"),
    ("the ego overtakes the ego", "overtakes the ego", "two actors", ""),
    ("a car cuts in or the ego brakes at night", "at night", "one side of `or`", "at night, …"),
    ("the ego brakes and a car cuts in or a truck stops", "or", "in two ways", "two questions"),
    ("either the ego brakes", "either", "asks for `or`", "Leave it out"),
    ("the ego overtakes a truck that is parked and brakes", "brakes", "either of two", "the ego"),
    ("there is a pedestrian", "", "breaks off", "near the ego"),
    ("a car that is parked", "", "breaks off", "Say what the car does"),
    ("a car or a truck brakes", "or", "not understood", "in full"),
    ("it rains twice", "it rains twice", "neither often nor for a time", "what happens"),
    ("in rain in snow the ego brakes", "in snow", "cannot be both", "in (rain, snow)"),
    ("the ego brakes twice at night twice", "twice", "second time", "once"),
    ("a car brakes while the ego turns within 3 s", "within 3 s", "at once", "`then"),
    ('"ego" brakes', '"ego"', "not understood", ""),
    ("the ego brakes then", "", "breaks off", ""),
    ("the ego drives 🚗", "🚗", "no word that I know", ""),
    ("", "", "nothing to look for", "a car cuts in"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "marked", "reason", "hint"), REFUSED, ids=[r[0] or "nothing" for r in REFUSED]
)
def test_what_is_not_understood_is_refused(sentence, marked, reason, hint):
    with pytest.raises(BadExpression) as told:
        translate(sentence)
    error = told.value
    assert reason in error.reason
    assert hint in error.hint
    if marked is not None:
        begin, end = error.place
        assert sentence[begin:end] == marked


def test_every_predicate_can_be_said():
    said = {
        name
        for phrase in phrases_known().all()
        for name in re.findall(r"\w+", phrase.means.split(" is ")[0])
    }
    by_name = lexicon.phrases_of({})
    assert set(PREDICATES) == (said & set(PREDICATES)) | set(by_name) | {"is_ego", "category"}
    for name, phrases in by_name.items():
        if len(PREDICATES[name].roles) == 1:
            assert phrases
            query = translate(f"the ego is {name.replace('_', ' ')}")
            assert str(query) == f"{name}(ego)"


def test_no_phrase_means_two_things():
    kinds = {"be", "fact", "whole", "place"}
    meant: dict[tuple[str, tuple[str, ...]], set[tuple[str, bool]]] = {}
    for phrase in phrases_known().all():
        form = phrase.form if phrase.form in kinds else "verb"
        meant.setdefault((form, phrase.words), set()).add((phrase.means, phrase.turned))
    assert not {words for words, means in meant.items() if len(means) > 1}


def test_every_phrase_tells_of_what_there_is():
    for means, _ in vocabulary():
        name, _, word = means.removeprefix("not ").partition(" is ")
        if word:
            assert word in (FACTS[name].words or ())
            continue
        for one in re.split(r" [|&] ", means.removeprefix("not ")):
            assert one in PREDICATES or one in FACTS or one == lexicon.AT_SPEED


def test_phrases_name_somebody_where_the_predicate_has_a_second():
    for phrase in phrases_known().all():
        if phrase.names_somebody or phrase.turned:
            name = phrase.means.removeprefix("not ")
            assert len(PREDICATES[name].roles) == 2, phrase


def test_a_predicate_that_comes_later_is_said_by_its_name(monkeypatch):
    def later(name, *roles):
        told = Predicate(
            name=name, group="later", doc="Later.", formula="", find=lambda *_: (), roles=roles
        )
        monkeypatch.setitem(PREDICATES, name, told)

    later("zipper_merge", "actor", "other")
    later("honking", "actor")
    later("solar_eclipse")
    assert str(translate("a bus is zipper merge the ego")) == "zipper_merge(bus b, ego)"
    assert str(translate("a bus is honking")) == "honking(bus b)"
    assert str(translate("the ego brakes and solar eclipse")) == "braking(ego) and solar_eclipse()"


def test_a_saved_rule_is_said_by_its_name():
    text = "cut_in(a, who) then braking(who) <= -2 m/s2 within 2 s"
    node = checked(parse(text)).node
    rules = {"squeezed": Rule(name="squeezed", text=text, node=node, actors=("who",))}
    assert str(translate("the ego is squeezed in the rain", rules=rules)) == (
        "squeezed(ego) and weather is rain"
    )
    with pytest.raises(BadExpression, match="`squeezed` is not understood"):
        translate("the ego is squeezed in the rain")


def sentence_of(phrase) -> str:
    """A sentence with a phrase in it that can be so."""
    name = re.findall(r"\w+", phrase.means.removeprefix("not "))[0]
    if phrase.form == "whole":
        return f"{' '.join(phrase.words)} and the ego brakes"
    if phrase.form == "fact":
        return f"the ego brakes {' '.join(phrase.words)}"
    roles = [who_can_be(name, role) for role in (0, 1)]
    subject, other = reversed(roles) if phrase.turned else roles
    subject = "the ego" if "car" in subject else f"a {subject[0]}"
    slots = {"{other}": f"a {other[-1]}", "{actor}": f"a {other[-1]}", **numbers_for(name)}
    words = " ".join(slots.get(word, word) for word in phrase.words)
    lead = {"be": "is ", "place": "swerves ", "base": "does not ", "ing": "is ", "part": "has "}
    if phrase.form == "base" and subject != "the ego":
        return f"{subject} that brakes {lead['base']}{words}"
    return f"{subject} {lead.get(phrase.form, '')}{words}"


def who_can_be(name: str, role: int) -> list[str]:
    only = PREDICATES[name].only if name in PREDICATES else ()
    allowed = only[role] if role < len(only) else None
    return [word for word, meant in CLASSES.items() if allowed is None or meant & allowed]


def numbers_for(name: str) -> dict[str, str]:
    """Numbers that a predicate can have, for each slot."""
    known = PREDICATES.get("high_speed" if name == lexicon.AT_SPEED else name)
    if known is None or not known.parameters:
        return {}
    bound = TOLD_FROM.get(known.name)
    limit = abs(known.limits[bound] if bound else known.parameters[0].value)
    unit = "" if known.unit == "1" else WRITTEN.get(known.unit, known.unit)
    more, less = f"{2 * limit:g} {unit}".strip(), f"{limit / 2:g} {unit}".strip()
    most = bounds(known.name)[1]
    falls = (bound is not None or isfinite(most)) and known.name not in (*LOWEST, "braking")
    return {
        "{>}": more, "{<}": less, "{<=}": less,
        "{?}": f"less than {less}" if falls else f"more than {more}",
    }  # fmt: skip


def can_be(phrase) -> bool:
    too_slow = phrase.means == lexicon.AT_SPEED and {"slower", "under", "below"} & {*phrase.words}
    return not too_slow  # which is there to be told why it cannot be asked


EACH = sorted(
    (p for p in phrases_known().all() if can_be(p)), key=lambda p: (p.means, p.form, p.words)
)


def sound(sentence: str) -> Query:
    query = translate(sentence)
    again = parse(str(query))
    assert again.node == query.node or checked(again).node == checked(query).node
    return query


def test_a_phrase_of_each_kind_translates():
    for phrase in {(p.means, p.form): p for p in EACH}.values():
        query = sound(sentence_of(phrase))
        named = {n.name for n in query.node.walk() if isinstance(n, Call | Fact)}
        name = re.findall(r"\w+", phrase.means.removeprefix("not "))[0]
        assert ("high_speed" if name == lexicon.AT_SPEED else name) in named


@given(st.sampled_from(EACH))
def test_every_phrase_translates(phrase):
    sound(sentence_of(phrase))


SYNONYMS = [
    ["the ego brakes hard", "ego vehicle brakes sharply", "our car slams on the brakes",
     "we are braking hard", "the AV hard brakes", "we performed an emergency stop"],
    ["a lorry overtakes the ego", "a truck passes us", "the ego is overtaken by a truck",
     "our vehicle is being passed by a truck"],
    ["a car cuts in in front of us", "a car cuts us off", "a car merges in front of the ego",
     "we are cut off by a car", "a cut-in by a car in front of the ego"],
    ["a person jaywalks on the motorway", "a pedestrian is jaywalking on a freeway"],
    ["a bike is near us", "there is a bicycle close to the ego", "a cyclist is beside us"],
    ["the ego never brakes", "we are never braking"],
    ["the ego doesn't brake", "the ego is not braking", "the ego did not decelerate"],
    ["a car cuts in, then the ego stops within 2 s", "a car cuts in and then we stop within 2 seconds",
     "A car cuts in, then within two seconds the ego comes to a halt."],
    ["at least two cars brake at once", "no fewer than 2 cars brake at the same time",
     "two or more cars brake simultaneously"],
    ["a pedestrian crosses in front of us while it rains",
     "while it is raining, a pedestrian crosses in front of us",
     "it is raining and a pedestrian crosses in front of us"],
]  # fmt: skip


@pytest.mark.parametrize("ways", SYNONYMS, ids=[ways[0] for ways in SYNONYMS])
def test_synonyms_give_equal_queries(ways):
    assert len({str(translate(way)) for way in ways}) == 1


@pytest.mark.parametrize(
    ("clause", "asides"),
    [
        ("the ego brakes", ("at night", "in the rain", "at a crosswalk", "for at least 2 s")),
        (
            "a car overtakes the ego",
            ("on a highway", "near a truck", "in dense traffic", "by day"),
        ),
        ("the ego turns left", ("without braking", "at an intersection", "with over 5 agents")),
    ],
)
def test_the_order_of_asides_does_not_matter(clause, asides):
    made = {str(translate(" ".join((clause, *order)))) for order in permutations(asides)}
    assert len(made) == 1


def test_facts_may_stand_in_front():
    assert str(translate("In the rain, at night, the ego brakes")) == str(
        translate("the ego brakes at night in the rain")
    )


WORDS = sorted({w for p in EACH for w in p.words if w[0] != "{"})
SMALL = """a the no car truck pedestrian ego it they that who is does not never and or then while
before after within 3 s at least two twice once , brakes brake near of to in front night rain with
below 1.5 without braking there cars scenes where similar scene""".split()  # fmt: skip  # noqa: SIM905


def refused_at(text: str) -> str | None:
    """What is marked, if a text is refused."""
    try:
        sound(text)
    except BadExpression as error:
        begin, end = error.place
        return text[begin:end] if 0 <= begin <= end <= len(text) else "out of the text"
    return None


@given(st.lists(st.sampled_from(SMALL) | st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_words_are_understood_or_refused(text):
    assert refused_at(text) != "out of the text"


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text):
    assert refused_at(text) != "out of the text"


UNNAMED = sorted(s for s in SENTENCES if not re.search(r"\b(split|dataset|scene)\b|\"", s))


@pytest.mark.parametrize(
    "text", ["not " * 499, "a car that " * 180, "a car near " * 180, "the ego brakes and " * 105]
)
def test_long_sentences_end_soon(text):
    assert refused_at(text) != "out of the text"
    assert refused_at(text * 20) == text[:80]


@given(
    st.sampled_from(UNNAMED), st.sampled_from(["quite", "softly", "blue", "afternoon"]),
    st.integers(0, 20),
)  # fmt: skip
def test_no_word_is_dropped(sentence, word, at):
    words = sentence.split()
    words.insert(min(at, len(words)), word)
    assert refused_at(" ".join(words)) == word


class Model:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        return self.answers.pop(0)


def test_a_proposal_is_asked_for_only_where_words_fail():
    model = Model("hard_brake(ego)")
    assert str(translate("the ego brakes", propose=model)) == "braking(ego)"
    assert model.asked == []
    assert str(translate("the ego anchors up", propose=model)) == "hard_brake(ego)"
    assert model.asked == [prompt("the ego anchors up")]


def test_a_proposal_may_mend_one_mistake():
    model = Model("hardbrake(ego)", " hard_brake(ego)\n")
    assert str(translate("the ego anchors up", propose=model)) == "hard_brake(ego)"
    assert "No predicate is called `hardbrake`" in model.asked[1]


def test_a_proposal_that_stays_wrong_is_refused():
    model = Model("__import__('os').abort()", "stopped(ego) and high_speed(ego)", "braking(ego)")
    with pytest.raises(BadExpression, match="anchors") as told:
        translate("the ego anchors up", propose=model)
    assert "never true at once" in told.value.reason
    assert len(model.asked) == 2


def test_the_prompt_tells_the_whole_vocabulary():
    told = prompt("the ego brakes")
    for name in (*PREDICATES, *FACTS, *CLASSES):
        assert name in told
    assert told.endswith("Sentence: the ego brakes\nQuery:")

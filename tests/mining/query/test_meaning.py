"""Every query means in SQL what it means step by step: drawn worlds, drawn queries."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lake.sql import run_sql
from mining.predicates import PREDICATES
from mining.query.alike import interchangeable
from mining.query.check import checked
from mining.query.compile import STEP_NS, plan_of
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from mining.query.tree import (
    EGO,
    Actor,
    And,
    Call,
    Compare,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Query,
    Sequence,
    predicate,
)
from schemas.tables import TABLES
from tests.mining.query.oracle import Told, World, answers, intervals

STEPS, OTHERS = 12, (1, 2, 3)
ROLES = {"braking": 1, "stopped": 1, "following": 2, "near": 2, "cut_in": 2}
BEGAN = 7 * STEP_NS  # the scene begins some time after its log


def tables(world: World) -> dict[str, pa.Table]:
    scene = {
        "scene_id": 5, "log_id": 9, "name": "drawn", "source": "log", "dataset": "drawn",
        "t0_ns": BEGAN, "t_anchor_ns": BEGAN, "t1_ns": BEGAN + (world.steps - 1) * STEP_NS,
        "n_agents": len(world.others), "n_vru": 0, "n_lights": 0, "has_ego": world.has_ego,
        "has_map": True, "road_type": "straight", "weather": world.facts.get("weather"),
        "split_group": "", "run_id": 0,
    }  # fmt: skip
    events = []
    for number, told in enumerate(world.told):
        row = {
            "event_id": number, "log_id": 9, "scene_id": 5, "name": told.name, "source": "rule",
            "t0_ns": BEGAN + told.begin * STEP_NS, "t1_ns": BEGAN + (told.end - 1) * STEP_NS,
            "value": told.value, "truth": "true" if told.surely else "unknown", "run_id": 0,
        }  # fmt: skip
        if told.surely:
            row |= {"actor_id": told.actor, "other_id": told.other, "evidence": "{}"}
        else:
            named = "[]" if told.actor is None else f"[{told.actor}]"
            row["evidence"] = f'{{"reason": "drawn", "actors": {named}}}'
        events.append(row)
    tracks = [
        {"log_id": 9, "track_id": i, "cls": "pedestrian" if i == 3 else "vehicle"}
        for i in (*([0] if world.has_ego else []), *world.others)
    ]
    rows = {"scenes": [scene], "events": events, "tracks": tracks}
    return {k: pa.Table.from_pylist(v, schema=TABLES[k].schema) for k, v in rows.items()}


def asked(world: World, query: Query):
    plan = plan_of(query)
    rows = run_sql(plan.sql, tables=tables(world)).to_pylist()
    names = sorted(plan.columns)
    return {
        (
            tuple(row[plan.columns[name]] for name in names),
            row["t0_ns"] // STEP_NS,
            row["t1_ns"] // STEP_NS + 1,
        )
        for row in rows
    }


actors = st.sampled_from(["ego", "a", "b", "_"])


@st.composite
def events(draw, *, doubts: bool, there: tuple[int, ...]):
    name = draw(st.sampled_from(list(ROLES)))
    begin = draw(st.integers(0, STEPS - 1))
    end = draw(st.integers(begin + 1, STEPS))
    if doubts and draw(st.integers(0, 4)) == 0:
        whom = draw(st.sampled_from([None, *there[:2]]))
        return Told(name, begin, end, whom, surely=False)
    who = draw(st.permutations(there))
    value = draw(st.sampled_from([-3.0, -1.0, 2.0, None]))
    other = who[1] if ROLES[name] == 2 else None
    if name == "near":  # told once of two
        who, other = sorted(who[:2]), max(who[:2])
    return Told(name, begin, end, who[0], other, value)


def apart(told: list[Told]) -> tuple[Told, ...]:
    """Without those that overlap or touch another of the same name and actors, as tagging makes them."""
    kept: list[Told] = []
    for new in told:
        same = [k for k in kept if (k.name, k.actor, k.other, k.surely)
                == (new.name, new.actor, new.other, new.surely)]  # fmt: skip
        if all(new.end < k.begin or k.end < new.begin for k in same):
            kept.append(new)
    return tuple(kept)


@st.composite
def worlds(draw, *, doubts: bool):
    has_ego = draw(st.sampled_from([True, True, False]))
    there = (0, *OTHERS) if has_ego else OTHERS
    told = draw(st.lists(events(doubts=doubts, there=there), max_size=14))
    weather = draw(st.sampled_from(["rain", "clear", None]))
    return World(STEPS, OTHERS, apart(told), ROLES, has_ego, {"weather": weather})


@st.composite
def calls(draw):
    name = draw(st.sampled_from(list(ROLES)))
    who = draw(st.lists(actors, min_size=1, max_size=ROLES[name], unique=True))
    compare = draw(
        st.none() | st.tuples(st.sampled_from(["<=", ">"]), st.sampled_from([-2.0, 0.0]))
    )
    return Call, name, tuple(who), compare


def nodes():
    """Queries as tuples (kind, parts …), of which `built` makes nodes."""
    whole = st.sampled_from([(Fact, "rain"), (Fact, "clear")])
    seconds = st.sampled_from([0.2, 0.5, 1.0])

    def larger(inner):
        return st.one_of(
            st.tuples(st.just(Not), inner),
            st.tuples(st.just(And), inner, inner | whole),
            st.tuples(st.just(Or), inner, inner),
            st.tuples(
                st.just(Sequence), st.sampled_from(["then", "before"]), inner, inner,
                st.none() | seconds,
            ),
            st.tuples(
                st.just(Sequence), st.sampled_from(["during", "overlaps"]), inner, inner, st.none()
            ),
            st.tuples(st.just(Lasting), inner, st.sampled_from([">=", "<="]), seconds),
            st.tuples(
                st.just(Count), inner, st.sampled_from([">=", ">"]), st.integers(1, 3),
                st.sampled_from(["", "at once", "within"]), st.sampled_from([None, "a", "b"]),
            ),
        )  # fmt: skip

    return st.recursive(calls(), larger, max_leaves=5)


def built(drawn):
    kind, *parts = drawn
    match kind, parts:
        case (k, (name, who, compare)) if k is Call:
            return Call(name, tuple(map(Actor, who)), compare and Compare(*compare))
        case (k, (word,)) if k is Fact:
            return Fact("weather", (word,))
        case (k, (part, op, n, how, of)) if k is Count:
            within = 0.4 if how == "within" else None
            whom = None if of is None else Actor(of)
            return Count(built(part), Compare(op, float(n)), whom, how == "at once", within)
        case (k, (order, one, two, within)) if k is Sequence:
            return Sequence(order, built(one), built(two), within)
        case (k, (part, op, seconds)) if k is Lasting:
            return Lasting(built(part), op, seconds)
    return kind(*map(built, parts))


@given(worlds(doubts=False), nodes())
def test_what_surely_holds(world, node):
    as_sure_as_can_be(world, sound(built(node)))


@given(worlds(doubts=True), nodes())
def test_what_surely_holds_amid_doubts(world, node):
    as_sure_as_can_be(world, sound(built(node)))


def as_sure_as_can_be(world: World, query: Query) -> None:
    """What the oracle says, no less where nothing is in doubt.

    Amid doubt begins, ends and runs may lie elsewhere, which this oracle does not heed and test_doubt.py
    does: there no more is sure than it says, and just as much where nothing hangs on them.
    """
    told, most = asked(world, query), answers(world, query.node, surely=True)
    for who, begin, end in told:
        assert any(who == w and a <= begin and end <= b for w, a, b in most)
    parts = list(query.node.walk())
    hangs = any(isinstance(part, Sequence | Lasting | Count) for part in parts)
    if not (hangs and any(in_doubt(world, part) for part in parts)):
        assert told == most


def in_doubt(world: World, part: Node) -> bool:
    """Whether a call or a fact is not known: an event, a value, a word, the ego, or others than the ego."""
    match part:
        case Fact(name=name):
            return world.facts.get(name) in (None, "unknown")
        case Call(name=name, actors=actors, compare=compare):
            rows = [told for told in world.told if told.name == name]
            if any(not row.surely or (compare and row.value is None) for row in rows):
                return True
            if any(actor.name == EGO for actor in actors):
                return not world.has_ego
            return PREDICATES[name].of_ego and world.has_ego
    return False


@given(worlds(doubts=True), nodes())
def test_what_is_sure_is_possible(world, node):
    query = sound(built(node))
    sure = answers(world, query.node, surely=True)
    scenes = run_sql(plan_of(replace(query, unknown_as_true=True)).sql, tables=tables(world))
    assert scenes.num_rows or not sure


@given(nodes())
def test_what_is_printed_is_read_back(node):
    query = sound(built(node))
    assert checked(parse(str(query))).node == query.node


def sound(node) -> Query:
    """The query, or another draw if it cannot be asked."""
    try:
        return checked(Query(node))
    except BadExpression:
        assume(False)
        raise


@pytest.mark.parametrize(
    "query",
    [
        "not moving(ego)",
        "never hard_brake(ego)",
        "always moving(ego)",
        "count(stopped(ego)) = 0",
        "count(vehicle v where near(v, ego)) <= 3",
        "not count(vehicle v where near(v, ego)) >= 2 at once",
        "not near(ego, _)",
        "not (following(a, ego) and not braking(a))",
        "braking(a) and not near(a, ego)",
        "braking(a) and never hard_brake(ego)",
        "never (cut_in(a, ego) then hard_brake(ego) within 3 s)",
        "not (stopped(ego) before hard_brake(ego))",
        "never (braking(a) then hard_brake(ego))",
        "never (stopped(ego) for at most 0.3 s)",
        "count(stopped(ego)) <= 1",
        "never count(stopped(ego)) >= 2 within 0.4 s",
        "never count(stopped(ego)) >= 2 at once",
    ],
)
def test_nothing_is_denied_of_an_ego_that_is_not_there(query):
    """Whatever is said of it is unknown: no match, but one of what may be."""
    told = (Told("braking", 2, 6, 1, value=-1.0), Told("braking", 4, 8, 2, value=-1.0))
    alone = World(STEPS, OTHERS, told, ROLES, has_ego=False)
    assert asked(alone, checked(parse(query))) == set()
    assert asked(alone, checked(parse(f"{query} unknown as true")))
    driven = World(STEPS, OTHERS, told, ROLES)
    assert asked(driven, checked(parse(query))) or query.startswith("always")


def test_what_is_told_of_the_ego_alone_is_not_denied_of_others():
    told = (Told("moving", 0, STEPS, 1), Told("moving", 0, STEPS, 2), Told("near", 2, 5, 0, 1))
    world = World(STEPS, OTHERS, told, {**ROLES, "moving": 1})
    sure = lambda text: asked(world, checked(parse(text)))  # noqa: E731
    assert sure("near(a, b)") == {((0, 1), 2, 5)}
    assert not sure("never near(a, b)")
    assert not sure("moving(a) and moving(b) and not near(a, b)")
    assert sure("moving(a) and not near(a, ego)") == {
        ((1,), 0, 2), ((1,), 5, STEPS), ((2,), 0, STEPS)
    }  # fmt: skip
    alone = World(STEPS, OTHERS, told[:2], {**ROLES, "moving": 1}, has_ego=False)
    assert asked(alone, checked(parse("never near(a, b)"))) == {((), 0, STEPS)}


def test_who_is_not_told_apart_is_told_once():
    told = (Told("near", 2, 5, 1, 2), Told("braking", 0, STEPS, 1), Told("braking", 0, STEPS, 2))
    world = World(STEPS, OTHERS, told, ROLES, has_ego=False)
    sure = lambda text: asked(world, checked(parse(text)))  # noqa: E731
    assert sure("near(a, b)") == sure("near(b, a)") == {((1, 2), 2, 5)}
    assert sure("braking(a) and near(b, a) and braking(b)") == {((1, 2), 2, 5)}
    assert sure("near(a, b) and braking(a)") == {((1, 2), 2, 5), ((2, 1), 2, 5)}
    assert sure("near(vehicle a, b)") == {((1, 2), 2, 5), ((2, 1), 2, 5)}
    assert not sure("count(near(a, b)) >= 2")
    assert not sure("count(near(a, b)) >= 2 at once")
    assert sure("count(a where near(a, b)) >= 2")


def turned(drawn):
    """A drawn query with `a` and `b` in each other's place."""
    if isinstance(drawn, tuple):
        return tuple(map(turned, drawn))
    return {"a": "b", "b": "a"}.get(drawn, drawn) if isinstance(drawn, str) else drawn


@given(worlds(doubts=True), nodes())
def test_those_who_may_change_places_change_nothing(world, drawn):
    both = And(predicate("near", "a", "b"), built(drawn), built(turned(drawn)))
    node = sound(both).node
    assert interchangeable(node, ["a", "b"]) == [("a", "b")]
    for one, other in combinations(OTHERS, 2):
        for surely in (True, False):
            here, there = (
                set(intervals(world, node, {"a": i, "b": j}, surely=surely))
                for i, j in ((one, other), (other, one))
            )
            assert here == there


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("op", ["<", "<=", "=", "!=", ">=", ">"])
def test_counts_compare(op, n):
    told = tuple(Told("braking", at, at + 1, 1, value=-1.0) for at in (2, 6))
    query = f"count(braking(_)) {op} {n}"
    holds = {"<": n > 2, "<=": n >= 2, "=": n == 2, "!=": n != 2, ">=": n <= 2, ">": n < 2}[op]
    try:
        found = asked(World(STEPS, OTHERS, told, ROLES), checked(parse(query)))
    except BadExpression:
        assert n == 0
        return
    assert found == ({((), 0, STEPS)} if holds else set())

"""What is answered true holds however the unknown turns out; what is answered false never does.

Small drawn worlds are completed in every way, and each completion is worked out step by step.
"""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.sql import run_sql
from mining.query.check import bound, checked
from mining.query.compile import STEP_NS, plan_of
from mining.query.parse import parse
from mining.query.tree import And, Call, Count, Lasting, Node, Not, Or, Query, Sequence
from tests.mining.query.oracle import Told, World, answers, completions, in_one_order, intervals
from tests.mining.query.test_meaning import apart, built, sound, tables

STEPS, OTHERS = 7, (1, 2)
ROLES = {"braking": 1, "stopped": 1, "following": 2, "near": 2}


def asked(world: World, node: Node, *, possible: bool):
    """(who, or None for somebody; begin; end) of every row of the statement."""
    plan = plan_of(Query(node, unknown_as_true=possible))
    rows = run_sql(plan.sql, tables=tables(world)).to_pylist()
    return {
        (
            tuple(row[plan.columns[name]] for name in sorted(plan.columns)),
            row["t0_ns"] // STEP_NS,
            row["t1_ns"] // STEP_NS + 1,
        )
        for row in rows
    }


def hold_to_the_law(world: World, node: Node) -> None:
    names = sorted(bound(node))
    sure, may = asked(world, node, possible=False), asked(world, node, possible=True)

    def is_one_of(who: tuple[int, ...], told: tuple[int | None, ...]) -> bool:
        orders = [p for p in permutations(who) if in_one_order(node, names, p) == who]
        return any(
            all(t in (None, w) for w, t in zip(order, told, strict=True)) for order in orders
        )

    for real in completions(world):
        for who, begin, end in sure:
            so = intervals(real, node, dict(zip(names, who, strict=True)), surely=True)
            assert any(a <= begin and end <= b for a, b in so), ("claimed", who, begin, end, real)
        for who, begin, end in answers(real, node, surely=True):
            assert any(is_one_of(who, told) and a < end and begin < b for told, a, b in may), (
                "denied",
                who,
                begin,
                end,
                real,
            )


@st.composite
def worlds(draw):
    told = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(
            st.sampled_from(["braking", "braking", "braking", "stopped", "following", "near"])
        )
        begin = draw(st.integers(0, STEPS - 1))
        end = draw(st.integers(begin + 1, min(STEPS, begin + 4)))
        who = draw(st.permutations(OTHERS))
        if draw(st.booleans()):
            whom = draw(st.sampled_from([None, 1, 1, 2]))
            told.append(Told(name, begin, end, whom, surely=False))
        elif ROLES[name] == 1:
            told.append(Told(name, begin, end, who[0]))
        else:
            who = sorted(who) if name == "near" else who
            told.append(Told(name, begin, end, *who))
    return World(STEPS, OTHERS, apart(told), ROLES, has_ego=False)


@st.composite
def calls(draw):
    name = draw(st.sampled_from(["braking", "braking", "braking", "stopped", "following", "near"]))
    who = draw(
        st.lists(st.sampled_from(["a", "b", "_"]), min_size=1, max_size=ROLES[name], unique=True)
    )
    return Call, name, tuple(who), None


def nodes():
    seconds = st.sampled_from([0.1, 0.2, 0.3])

    def larger(inner):
        return st.one_of(
            st.tuples(st.just(Not), inner),
            st.tuples(st.just(And), inner, inner),
            st.tuples(st.just(Or), inner, inner),
            st.tuples(
                st.just(Sequence), st.sampled_from(["then", "before"]), inner, inner,
                st.none() | seconds,
            ),
            st.tuples(
                st.just(Sequence), st.sampled_from(["during", "overlaps"]), inner, inner, st.none()
            ),
            st.tuples(st.just(Lasting), inner, st.sampled_from([">=", "<=", "<="]), seconds),
            st.tuples(
                st.just(Count), inner, st.sampled_from([">=", ">"]), st.integers(1, 3),
                st.sampled_from(["", "at once", "within"]), st.sampled_from([None, "a", "b"]),
            ),
        )  # fmt: skip

    return st.recursive(calls(), larger, max_leaves=4)


@settings(max_examples=40, deadline=None)
@given(worlds(), nodes())
def test_the_unknown_proves_and_disproves_nothing(world, drawn):
    hold_to_the_law(world, sound(built(drawn)).node)


LONG = Told("braking", 0, STEPS, 1, surely=False)
"""In doubt all along."""


def sure(*spans: tuple[int, int]) -> tuple[Told, ...]:
    return tuple(Told("braking", begin, end, 1) for begin, end in spans)


def doubt(begin: int, end: int, whom: int | None = 1, name: str = "braking") -> Told:
    return Told(name, begin, end, whom, surely=False)


STOPS = Told("stopped", 2, 5, 2)


@pytest.mark.parametrize(
    ("query", "told", "is_sure", "is_possible"),
    [
        # What is short may go on in doubt; what is long may be short.
        ("braking(a) for at most 0.3 s", (*sure((0, 2)), doubt(2, 6)), False, True),
        ("braking(a) for at most 0.3 s", (*sure((0, 2)), doubt(4, 6)), True, True),
        ("braking(a) for at most 0.2 s", (doubt(0, 7),), False, True),
        ("braking(a) for at most 0.3 s", (*sure((0, 2)), doubt(2, 6, None)), False, True),
        # What goes on as what somebody does lasts.
        ("braking(a) for at least 0.5 s", (*sure((0, 3)), doubt(3, 6, None)), False, True),
        # Two times may be one, one may be two.
        ("count(braking(_)) >= 2", (*sure((0, 2), (4, 6)), doubt(2, 4)), False, True),
        ("count(braking(_)) >= 2", (*sure((0, 2), (4, 6)),), True, True),
        ("count(braking(_)) >= 2", (LONG,), False, True),
        ("count(braking(_)) >= 5", (LONG,), False, False),
        ("count(braking(_)) >= 2 within 0.5 s", (*sure((0, 2), (4, 6)), doubt(2, 4)), False, True),
        ("count(braking(_)) >= 2 within 0.5 s", (LONG,), False, True),
        ("not count(braking(_)) >= 2", (LONG,), False, True),
        # Begins and ends may lie elsewhere.
        ("braking(a) during stopped(b)", (*sure((2, 4)), STOPS, doubt(4, 7)), False, True),
        ("braking(a) during stopped(b)", (*sure((2, 4)), STOPS), True, True),
        ("braking(a) during stopped(b)", (doubt(0, 7), STOPS), False, True),
        ("stopped(b) then braking(a)", (*sure((4, 6)), STOPS, doubt(0, 4)), False, True),
        ("stopped(b) before braking(a)", (*sure((5, 7)), STOPS, doubt(4, 5)), False, True),
        ("braking(a) then braking(a)", (LONG,), False, True),
        ("not (braking(a) then stopped(b))", (LONG, STOPS), False, True),
    ],
)  # fmt: skip
def test_doubt_joins_parts_and_lengthens(query, told, is_sure, is_possible):
    world = World(STEPS, OTHERS, told, ROLES, has_ego=False)
    node = checked(parse(query)).node
    assert bool(asked(world, node, possible=False)) == is_sure
    assert bool(asked(world, node, possible=True)) == is_possible
    hold_to_the_law(world, node)

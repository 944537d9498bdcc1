"""What cannot be: parts of a query of which one denies what another says of the same moment.

What holds at once are the parts of an ``and``, and both of ``during`` and ``overlaps``; what lasts, and what
``always`` holds, holds then too. Two of them cannot be if

- one is denied by the other: ``stopped(a) and not stopped(a)``, ``never braking(a) and braking(a)``;
- no value, number, duration or word is both: ``agents > 5 and agents < 3``;
- they are predicates of one actor that exclude each other: standing and speeding.

A branch of ``or`` cannot be beside what all branches exclude. What is not seen through here is merely never
found; so only what surely cannot be is told of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from itertools import combinations

from mining.predicates import PREDICATES
from mining.query.tree import (
    SOMEONE,
    And,
    Call,
    Compare,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Place,
    Sequence,
    Similar,
)

STATES: tuple[frozenset[str], ...] = (
    frozenset({"stopped", "medium_speed"}), frozenset({"stopped", "high_speed"}),
    frozenset({"stopped", "moving"}), frozenset({"low_speed", "high_speed"}),
    frozenset({"parked", "high_speed"}),
    frozenset({"braking", "accelerating"}), frozenset({"hard_brake", "harsh_accel"}),
    frozenset({"hard_brake", "accelerating"}), frozenset({"braking", "harsh_accel"}),
    frozenset({"turning_left", "turning_right"}),
    frozenset({"turning_left", "u_turn"}), frozenset({"turning_right", "u_turn"}),
    frozenset({"protected_turn", "unprotected_turn"}),
    frozenset({"relevant_green", "relevant_yellow", "relevant_red", "relevant_off"}),
    frozenset({
        "trajectory_stationary", "trajectory_straight", "trajectory_straight_left",
        "trajectory_straight_right", "trajectory_left", "trajectory_right",
        "trajectory_left_u_turn", "trajectory_right_u_turn",
    }),
    frozenset({"same_heading", "opposite_heading"}), frozenset({"jaywalking", "at_crosswalk"}),
    frozenset({"jaywalking", "traversing_crosswalk"}),
    frozenset({"same_side_of_road", "opposite_side_of_road"}),
)  # fmt: skip
"""Predicates that cannot hold of the same actors at one time.

Neighbours are not among them, such as slow and medium speed, or ahead and beside: while somebody goes from
one to the other, hysteresis and bridged gaps let both hold.
"""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two parts of a query that cannot both be so.

    Attributes:
        place: Where the second stands.
        reason: Why not, a sentence without its full stop.
        hint: What to do.
    """

    place: Place
    reason: str
    hint: str


def contradiction(node: Node) -> Contradiction | None:
    """The first two parts of an expression that cannot both be so; None if none is found."""
    for part in node.walk():
        together = _together(part)
        for one, other in combinations(together, 2):
            told = _clash(one, other)
            if told is not None:
                return told
        if isinstance(part, Lasting):
            told = _durations(part)
            if told is not None:
                return told
    return None


def _together(node: Node) -> list[Node]:
    """What must hold at one moment for a node to hold, if that is more than one thing."""
    if isinstance(node, And) or (
        isinstance(node, Sequence) and node.order in ("during", "overlaps")
    ):
        return [held for child in node.children() for held in _held(child)]
    return []


def _held(node: Node) -> Iterator[Node]:
    """A node, and what holds whenever it does."""
    yield node
    match node:
        case And(parts=parts):
            for part in parts:
                yield from _held(part)
        case Sequence(order="overlaps", first=first, second=second):
            yield from _held(first)
            yield from _held(second)
        case Sequence(order="during", first=first, second=second):
            yield from _held(first)
            yield from _held(second)
        case Lasting(part=part):
            yield from _held(part)
        case Count(part=Not(part=part), compare=Compare(op="=", number=0.0)):  # always
            yield from _held(part)


def _clash(one: Node, other: Node) -> Contradiction | None:
    """Why two things cannot hold at one moment."""
    match one, other:
        case _, Or(parts=parts):
            return _of_all([_clash(one, part) for part in parts])
        case Or(parts=parts), _:
            return _of_all([_clash(part, other) for part in parts])
    denied = _denies(one, other) or _denies(other, one)
    if denied:
        return Contradiction(
            other.place, f"`{one}` and `{other}` are never true at once",
            "Leave one of them out, or say which comes first: `… then …`.",
        )  # fmt: skip
    a, b = _compared(one), _compared(other)
    if a is not None and b is not None and a[0] == b[0] and _apart(a[1], b[1]):
        return Contradiction(
            other.place, f"Nothing is both: `{one}` and `{other}`", "Turn one comparison round."
        )
    if isinstance(one, Fact) and isinstance(other, Fact) and _other_words(one, other):
        return Contradiction(
            other.place, f"`{other.name}` is one word, and cannot be both",
            f"Write `{other.name} in ({', '.join((*one.words, *other.words))})`.",
        )  # fmt: skip
    if isinstance(one, Call) and isinstance(other, Call):
        return _states(one, other)
    return None


def _other_words(one: Fact, other: Fact) -> bool:
    asked = one.name == other.name and one.words and other.words
    return bool(asked) and not set(one.words) & set(other.words)


def _of_all(told: Several[Contradiction | None]) -> Contradiction | None:
    """Of the branches of an ``or``: the first's, if none of them can be."""
    return told[0] if all(told) else None


def _denies(one: Node, other: Node) -> bool:
    """Whether the first is there only while, or only where, the other is not."""
    match one:
        case Not(part=part):
            return _covers(part, other)
        case Count(part=part, compare=Compare(op="=", number=0.0)):  # never
            return any(_covers(part, needed) for needed in _needed(other))
    return False


def _covers(wide: Node, narrow: Node) -> bool:
    """Whether the wide one holds wherever the narrow one does, as far as is seen at once."""
    if isinstance(wide, Fact) and isinstance(narrow, Fact) and wide.name == narrow.name:
        return bool(narrow.words) and set(narrow.words) <= set(wide.words)
    if not (isinstance(wide, Call) and isinstance(narrow, Call) and wide.name == narrow.name):
        return wide == narrow
    if wide.compare is not None and wide.compare != narrow.compare:
        return False
    return all(
        one == other or (one.name == SOMEONE and one.cls in (None, other.cls))
        for one, other in zip(wide.actors, narrow.actors, strict=False)
    ) and all(one.name == SOMEONE and one.cls is None for one in wide.actors[len(narrow.actors) :])


def _needed(node: Node) -> Iterator[Node]:
    """What must hold at some time for a node to hold."""
    yield node
    match node:
        case And() | Sequence() | Lasting():
            for child in node.children():
                yield from _needed(child)
        case Count(part=part, compare=Compare(op=">=" | ">")):
            yield from _needed(part)


def _compared(node: Node) -> tuple[object, Compare] | None:
    """What a node compares with a number, if that is one and the same wherever it stands."""
    match node:
        case Call(name=name, actors=actors, compare=Compare() as compare):
            told = len(actors) == len(PREDICATES[name].roles)
            if told and all(a.name != SOMEONE for a in actors):
                return replace(node, compare=None), compare
        case Fact(name=name, compare=Compare() as compare):
            return name, compare
        case Similar(scene=scene, compare=compare):
            return ("similar", scene), compare
        case Count(compare=compare):
            return replace(node, compare=Compare("=", 0.0)), compare
        case Lasting(part=part, op=op, seconds=seconds):
            return ("lasts", part), Compare(op, seconds)
    return None


def _apart(one: Compare, other: Compare) -> bool:
    """Whether no number compares as both say."""
    least, most = -math.inf, math.inf
    for compare in (one, other):
        if compare.op in (">", ">=", "="):
            least = max(least, compare.number)
        if compare.op in ("<", "<=", "="):
            most = min(most, compare.number)
    open_ = any(c.op in ("<", ">") and c.number == least for c in (one, other))
    return least > most or (least == most and open_)


def _durations(node: Lasting) -> Contradiction | None:
    """``(A for at least 5 s) for at most 3 s``."""
    inner = node.part
    if not (isinstance(inner, Lasting) and inner.op != node.op):
        return None
    if not _apart(Compare(inner.op, inner.seconds), Compare(node.op, node.seconds)):
        return None
    return Contradiction(
        node.place, f"Nothing lasts {inner.op} {inner.seconds:g} s and {node.op} {node.seconds:g} s",
        "Turn one of the two round.",
    )  # fmt: skip


def _states(one: Call, other: Call) -> Contradiction | None:
    """Predicates of the same actors that exclude each other."""
    pair = {one.name, other.name}
    if len(pair) != 2 or not any(pair <= group for group in STATES):
        return None
    roles = len(PREDICATES[one.name].roles)
    who, whom = ([a.name for a in call.actors] for call in (one, other))
    if SOMEONE in (*who, *whom) or not len(who) == len(whom) == roles:
        return None
    if PREDICATES[one.name].symmetric:
        who, whom = sorted(who), sorted(whom)
    if who != whom:
        return None
    return Contradiction(
        other.place, f"`{one.name}` and `{other.name}` of `{', '.join(who)}` are never true at once",
        f"One after the other: `{one} then {other}`.",
    )  # fmt: skip

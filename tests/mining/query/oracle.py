"""What a query means, worked out step by step for every choice of actors; slow, and plain.

Time is in whole steps; an interval ``(t0, t1)`` leaves its end out. Nothing is shared with the SQL
that it is compared with, but the nodes of a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Sequence_
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from random import Random

from mining.predicates import PREDICATES
from mining.query.alike import interchangeable
from mining.query.check import bound, named
from mining.query.tree import (
    EGO,
    And,
    Call,
    Compare,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Sequence,
)

Interval = tuple[int, int]
SOMEBODY = (-1, -2, -3, -4)
"""As many as any count asks for, of whom nothing is told."""


@dataclass(frozen=True)
class Told:
    """A row of events: true of these actors, or in doubt (of ``actor``, or of anybody)."""

    name: str
    begin: int
    end: int
    actor: int | None = None
    other: int | None = None
    value: float | None = None
    surely: bool = True


@dataclass(frozen=True)
class World:
    """A scene: how long it is, who is there, what is told of it."""

    steps: int
    others: tuple[int, ...]
    told: tuple[Told, ...]
    roles: Mapping[str, int]
    has_ego: bool = True
    facts: Mapping[str, str | None] = field(default_factory=dict)


def answers(world: World, node: Node, *, surely: bool) -> set[tuple[tuple[int, ...], int, int]]:
    """(who each bound variable is, in the order of their names; begin; end) of every match."""
    said = [a.name for n in node.walk() if isinstance(n, Call) for a in n.actors]
    if EGO not in said and world.has_ego:  # only then may a variable be the ego
        world = replace(world, others=(0, *world.others))
    names = sorted(bound(node))
    found = set()
    for chosen in permutations(world.others, len(names)):
        who = dict(zip(names, chosen, strict=True))
        first: dict[int, int] = {}
        for begin, end in intervals(world, node, who, surely=surely):
            first[begin] = min(end, first.get(begin, end))
        told = in_one_order(node, names, chosen)
        found |= {(told, begin, end) for begin, end in first.items()}
    return found


def in_one_order(node: Node, names: Sequence_[str], chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Those whom the expression does not tell apart by ascending number."""
    who = dict(zip(names, chosen, strict=True))
    for group in interchangeable(node, names):
        who |= zip(group, sorted(who[name] for name in group), strict=True)
    return tuple(who[name] for name in names)


def intervals(world: World, node: Node, who: Mapping[str, int], *, surely: bool) -> list[Interval]:
    """When it holds, for the actors chosen; variables that are not chosen are anyone."""
    made = worked_out(world, node, who, surely)
    if not surely and isinstance(node, Sequence | Lasting | Count):
        # Doubt may join two runs into one; what is sure is possible all the same.
        made = sorted({*made, *worked_out(world, node, who, True)})
        if of_a_missing_ego(world, node):
            made = runs(s for a, b in [*made, (0, world.steps)] for s in range(a, b))
    return made


def of_a_missing_ego(world: World, node: Node) -> bool:
    """Whether order, number and duration of what an absent ego did are all open."""
    said = [a.name for n in node.walk() if isinstance(n, Call) for a in n.actors]
    if world.has_ego or EGO not in said:
        return False
    return all(chosen_of(world, part, {}, False) for part in node.children())


def worked_out(world: World, node: Node, who: Mapping[str, int], surely: bool) -> list[Interval]:
    """As :func:`intervals`, by the expression's own meaning."""
    again = lambda part, now=surely: intervals(world, part, who, surely=now)  # noqa: E731
    match node:
        case Call():
            return runs(
                step for step in range(world.steps) if calls(world, node, who, step, surely)
            )
        case Fact(name=name, words=words):
            value = world.facts.get(name)
            holds = value in words if value is not None else not surely
            return [(0, world.steps)] if holds else []
        case Not(part=part):
            covered = {s for a, b in chosen_of(world, part, who, not surely) for s in range(a, b)}
            return runs(set(range(world.steps)) - covered)
        case And(parts=parts):
            now = [(0, world.steps)]
            for part in parts:
                now = [
                    (max(a, c), min(b, d)) for a, b in now for c, d in again(part)
                    if max(a, c) < min(b, d)
                ]  # fmt: skip
            return now
        case Or(parts=parts):
            return runs(
                s
                for part in parts
                for a, b in chosen_of(world, part, who, surely)
                for s in range(a, b)
            )
        case Lasting(part=part, op=op, seconds=seconds):
            long = runs(s for a, b in again(part) for s in range(a, b))
            return [
                (a, b) for a, b in long
                if (b - a >= seconds * 10 if op == ">=" else b - a <= seconds * 10)
            ]  # fmt: skip
        case Sequence(order=order, first=one, second=two, within_s=within):
            limit = 10**9 if within is None else within * 10
            made = []
            for a, b in again(one):
                for c, d in again(two):
                    if order == "then" and a < c <= b + limit:
                        made.append((a, max(b, d)))
                    if order == "before" and b <= c <= b + limit:
                        made.append((a, max(b, d)))
                    if order == "during" and c <= a and b <= d:
                        made.append((a, b))
                    if order == "overlaps" and max(a, c) < min(b, d):
                        made.append((max(a, c), min(b, d)))
            return made
        case Count():
            return counted(world, node, who, surely)
    raise AssertionError(node)


def calls(world: World, node: Call, who: Mapping[str, int], step: int, surely: bool) -> bool:
    """Whether a predicate holds at a step for the actors chosen."""
    names = [a.name for a in node.actors] + ["_"] * (world.roles[node.name] - len(node.actors))
    ids = [0 if name == EGO else who.get(name) for name in names]
    if EGO in names and not world.has_ego:
        return not surely
    if PREDICATES[node.name].of_ego and world.has_ego and EGO not in names and not surely:
        return True  # nobody looked for it among others than the ego
    for told in world.told:
        if told.name != node.name or not told.begin <= step < told.end:
            continue
        if told.surely:
            ways = [(told.actor, told.other)]
            if PREDICATES[told.name].symmetric:
                ways.append((told.other, told.actor))
            fits = any(
                all(i is None or i == t for i, t in zip(ids, way, strict=False)) for way in ways
            )
            compared = (
                node.compare is None or told.value is None or compares(told.value, node.compare)
            )
            compared &= told.value is not None or node.compare is None or not surely
            if fits and compared:
                return True
        elif not surely and (told.actor is None or None in ids or told.actor in ids or not ids):
            return True
    return False


def compares(value: float, compare: Compare) -> bool:
    """Whether a value compares so."""
    n = compare.number
    return {"<": value < n, "<=": value <= n, ">": value > n, ">=": value >= n,
            "=": value == n, "!=": value != n}[compare.op]  # fmt: skip


def chosen_of(world: World, part: Node, who: Mapping[str, int], surely: bool) -> list[Interval]:
    """When it holds for anyone whom the chosen actors leave open."""
    free = sorted(bound(part) - set(who))
    rest = others_than(world, part, who)
    return [
        run
        for chosen in permutations(rest, len(free))
        for run in intervals(
            world, part, {**who, **dict(zip(free, chosen, strict=True))}, surely=surely
        )
    ]


def others_than(world: World, part: Node, who: Mapping[str, int]) -> list[int]:
    """Whom the part's own variables may be: anyone but those that the part names beside them."""
    taken = {who[name] for name in named(part) if name in who}
    return [i for i in world.others if i not in taken]


def counted(world: World, node: Count, who: Mapping[str, int], surely: bool) -> list[Interval]:
    """When, or whether, there are so many."""
    op, n = node.compare.op, node.compare.number
    if op in ("<", "<=", "=", "!="):
        raise AssertionError("asked of whole scenes by `numbers`")
    least = n + (op == ">")
    free = sorted(bound(node.part) - set(who))
    rest = others_than(world, node.part, who)
    if not surely:  # of somebody, it is not known who, there may be any number
        rest = [*rest, *SOMEBODY]
    rows: list[tuple[tuple[int, ...], Interval]] = []
    for chosen in permutations(rest, len(free)):
        env = {**who, **dict(zip(free, chosen, strict=True))}
        steps = {
            s for a, b in intervals(world, node.part, env, surely=surely) for s in range(a, b)
        }
        told = in_one_order(node.part, free, chosen)
        whom = told if node.of is None else (env[node.of.name],)
        rows += [(whom, run) for run in runs(steps)]
    key = (lambda row: row) if node.of is None else (lambda row: row[0])
    if node.at_once:
        if node.of is not None:
            covered: dict[tuple[int, ...], set[int]] = {}
            for whom, (a, b) in rows:
                covered.setdefault(whom, set()).update(range(a, b))
            rows = [(whom, run) for whom, steps in covered.items() for run in runs(steps)]
        return runs(
            s for s in range(world.steps) if sum(a <= s < b for _, (a, b) in rows) >= least
        )
    if node.within_s is not None:
        made = []
        for start in {a for _, (a, _) in rows}:
            near = [row for row in rows if start <= row[1][0] <= start + node.within_s * 10]
            if len({key(row) for row in near}) >= least:
                made.append((start, max(row[1][1] for row in near)))
        return made
    return [(0, world.steps)] if len({key(row) for row in rows}) >= least else []


def runs(steps: Iterable[int]) -> list[Interval]:
    """Stretches of steps that follow each other."""
    made: list[Interval] = []
    for step in sorted(set(steps)):
        if made and made[-1][1] == step:
            made[-1] = (made[-1][0], step + 1)
        else:
            made.append((step, step + 1))
    return made


MOST_CELLS = 5
"""Unknowns of which every completion is looked at; of more, some are drawn."""


def completions(world: World) -> Iterable[World]:
    """Worlds that the told one may be: each step in doubt true or false of each whom it may be of."""
    known = {
        (t.name, who, step)
        for t in world.told if t.surely
        for who in _either_way(t.name, (t.actor, t.other))
        for step in range(t.begin, t.end)
    }  # fmt: skip
    there = (*([0] if world.has_ego else []), *world.others)
    cells = set()
    for told in world.told:
        if told.surely:
            continue
        for who in permutations(there, world.roles[told.name]):
            if told.actor is None or told.actor in who:
                pair = who if len(who) == 2 else (who[0], None)
                if PREDICATES[told.name].symmetric:
                    pair = tuple(sorted(pair))
                cells |= {(told.name, pair, s) for s in range(told.begin, told.end)}
    free = sorted((c for c in cells if c not in known), key=str)
    sure = tuple(t for t in world.told if t.surely)
    choices: Iterable[Sequence_[bool]] = product((False, True), repeat=len(free))
    if len(free) > MOST_CELLS:
        drawn = Random(len(free))
        some = [[drawn.random() < share for _ in free] for share in (0.2, 0.5, 0.8) * 6]
        choices = [[False] * len(free), [True] * len(free), *some]
    for choice in choices:
        true = [
            Told(name, step, step + 1, *who)
            for (name, who, step), is_so in zip(free, choice, strict=True) if is_so
        ]  # fmt: skip
        yield replace(world, told=(*sure, *true))


def _either_way(
    name: str, who: tuple[int | None, int | None]
) -> set[tuple[int | None, int | None]]:
    return {who, who[::-1]} if PREDICATES[name].symmetric else {who}

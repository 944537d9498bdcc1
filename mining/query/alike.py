"""Variables that may change places: the query says the same of either.

``near(a, b)`` is so of two, and tells them apart no more than ``braking(a) and braking(b)`` does.
Every answer to such a query comes in as many orders as there are, so it is told in one of them: by
ascending track. Where a query tells them apart, as ``near(a, b) and braking(a)`` does, the orders are
different answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import TypeAlias

from mining.predicates import PREDICATES
from mining.query.tree import And, Call, Count, Lasting, Node, Not, Or, Saved, Sequence

Shape: TypeAlias = tuple[object, ...]
"""What a node says, whatever the order in which it says what needs none."""


def interchangeable(node: Node, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of two and more of the variables named that may change places in an expression."""
    plain = _shape(node, lambda name: name)
    groups: list[list[str]] = []
    taken: set[str] = set()
    for one, other in combinations(sorted(names), 2):
        if other in taken:
            continue
        swap = {one: other, other: one}
        if _shape(node, lambda name, swap=swap: swap.get(name, name)) != plain:  # type: ignore[misc]
            continue
        mine = next((group for group in groups if one in group), None)
        if mine is None:
            groups.append([one, other])
        else:
            mine.append(other)
        taken.add(other)
    return [tuple(group) for group in groups]


def _shape(node: Node, called: Callable[[str], str]) -> Shape:
    """The expression with every variable called another way."""

    def among(parts: Iterable[Node]) -> tuple[Shape, ...]:
        return tuple(sorted((_shape(part, called) for part in parts), key=repr))

    match node:
        case Call(name=name, actors=actors, compare=compare):
            roles = [(called(a.name), a.cls) for a in actors]
            roles += [("_", None)] * (len(PREDICATES[name].roles) - len(roles))
            if PREDICATES[name].symmetric:
                roles.sort(key=repr)
            return ("call", name, *roles, compare)
        case And(parts=parts):
            return ("and", *among(parts))
        case Or(parts=parts):
            return ("or", *among(parts))
        case Not(part=part):
            return ("not", _shape(part, called))
        case Sequence(order="overlaps", first=first, second=second):
            return ("overlaps", *among((first, second)))
        case Sequence(order=order, first=first, second=second, within_s=within_s):
            return (order, _shape(first, called), _shape(second, called), within_s)
        case Lasting(part=part, op=op, seconds=seconds):
            return ("lasting", op, seconds, _shape(part, called))
        case Saved(part=part, own=own):
            mine = {name: f".{k}" for k, name in enumerate(own)}  # whatever they are called
            return ("saved", _shape(part, lambda name: mine.get(name) or called(name)))
        case Count(part=part, compare=compare, of=of, at_once=at_once, within_s=within_s):
            whom = None if of is None else called(of.name)
            return ("count", compare, whom, at_once, within_s, _shape(part, called))
    return ("whole", str(node))

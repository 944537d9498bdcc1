"""A query as a person would write it: parts in order, each said once, classes where somebody is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mining.predicates import PREDICATES
from mining.query.facts import FACTS
from mining.query.tree import (
    NOWHERE,
    SOMEONE,
    Actor,
    And,
    Call,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Place,
    Similar,
)
from mining.query.tree import Sequence as Steps
from mining.query.words.people import Person
from mining.query.words.sentence import Told


def as_written(node: Node, people: Sequence[Person]) -> Node:
    """The class where somebody is named first, and `_` for anyone who is named once."""
    often = Counter(actor.name for call in node.calls() for actor in call.actors)
    nobody = {p.name for p in people if p.anyone and often[p.name] == 1}
    seen: set[str] = set()

    def one(actor: Actor) -> Actor:
        if actor.name in nobody:
            return Actor(SOMEONE, actor.cls, actor.place)
        first = actor.name not in seen
        seen.add(actor.name)
        return actor if first else replace(actor, cls=None)

    def told(node: Node) -> Node:
        match node:
            case Call():
                return replace(node, actors=tuple(map(one, node.actors)))
            case And(parts=parts) | Or(parts=parts):
                return type(node)(*map(told, parts), place=node.place)
            case Not(part=part) | Lasting(part=part):
                return replace(node, part=told(part))
            case Steps():
                return replace(node, first=told(node.first), second=told(node.second))
            case Count():
                whom = None if node.of is None else one(node.of)
                return replace(node, of=whom, part=told(node.part))
        return node

    return told(node)


STANDING = frozenset({"stopped", "stationary_at_light"})
PARKED = frozenset({"parked", "trajectory_stationary"})


def next_to_who_stands(node: Node) -> Node:
    """``following`` as it is told of who stands: as ``queuing``, or by place alone next to who is parked.

    Ahead and behind are next in the lane, which ``following`` tells of those who drive.
    """

    def told(node: Node, states: frozenset[tuple[str, str]]) -> Node:
        at_once = isinstance(node, And) or (isinstance(node, Steps) and node.order == "overlaps")
        if at_once:
            states |= {
                (n.actors[0].name, n.name)
                for child in node.children() for n in _held(child)
                if n.actors and n.name in STANDING | PARKED
            }  # fmt: skip
        match node:
            case Call(name="following", actors=(behind, *_), compare=None):
                ahead = node.actors[1].name if len(node.actors) > 1 else ""
                stands = {state for who, state in states if who == behind.name}
                parked = {state for who, state in states if who == ahead} & PARKED
                if stands & PARKED or (stands and parked):
                    return replace(node, name="behind")
                return replace(node, name="queuing") if stands else node
            case And(parts=parts) | Or(parts=parts):
                return type(node)(*(told(part, states) for part in parts), place=node.place)
            case Not(part=part) | Lasting(part=part) | Count(part=part):
                return replace(node, part=told(part, states))
            case Steps():
                if not at_once:
                    states = frozenset()
                return replace(
                    node, first=told(node.first, states), second=told(node.second, states)
                )
        return node

    return told(node, frozenset())


def _held(node: Node) -> list[Call]:
    """What is so throughout a part."""
    match node:
        case Call():
            return [node]
        case And() | Lasting():
            return [call for child in node.children() for call in _held(child)]
    return []


def parts_of(node: Node) -> tuple[Node, ...]:
    """What holds together in it."""
    return node.parts if isinstance(node, And) else (node,)


def both(parts: list[Node], place: Place = NOWHERE) -> Node:
    """All of them together, each said once."""
    flat = [part for node in parts for part in parts_of(node)]
    kept = list(dict.fromkeys(flat))
    return kept[0] if len(kept) == 1 else And(*kept, place=place)


def place_order(told: Told) -> tuple[int, str]:
    """Asides in the registry's order, whichever was said first."""
    name = told.means.removeprefix("not ").split()[0]
    names = list(PREDICATES)
    return (names.index(name) if name in names else len(names), str(told.denied))


def ordered_facts(facts: Iterable[Node]) -> list[Node]:
    """Facts in the registry's order, each once."""
    names = [*FACTS, *PREDICATES]

    def order(node: Node) -> tuple[int, str]:
        inner = node.part if isinstance(node, Not) else node
        if isinstance(inner, Similar):
            return len(names), str(node)
        name = inner.name if isinstance(inner, Fact | Call) else ""
        return (names.index(name) if name in names else len(names) + 1), str(node)

    return sorted(dict.fromkeys(facts), key=order)

"""What a query consists of, and how Python writes one.

=================  ============================================================================
node               holds
=================  ============================================================================
``Call``           while the predicate does, for the actors named, and its value compares so
``Fact``           throughout the scene, if a fact about it compares so (``weather is rain``)
``Similar``        throughout the scene, if its vector is near enough to another scene's
``Not``            while the expression does not
``And``            while all do at once
``Or``             while any does
``Sequence``       from the begin of the first to the end of the second, as ``then`` and ``before``
                   order them; while the first does, for ``during``; while both do, ``overlaps``
``Lasting``        as the expression, where it lasts so long
``Saved``          as the rule that is called, whose own variables are anybody
``Count``          throughout the scene, if the expression holds so often, or for so many
                   different actors; ``at once``: while it does; ``within``: from the first
                   occurrence to the last of those that are near enough in time
=================  ============================================================================

``str()`` of a node is the query that :func:`mining.query.parse.parse` reads back. In Python::

    a = actor("a")
    predicate("cut_in", a, "ego").then(predicate("hard_brake", "ego"), within_s=3.0)
    predicate("crosses_in_front", actor("p", "pedestrian"), "ego") & ~predicate("at_crosswalk", "p")
    (predicate("ttc", "ego") < 1.5) & fact("weather", "rain")

Numbers are in SI units: metres, seconds, metres per second; angles in degrees, as predicates tell
them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

EGO, SOMEONE = "ego", "_"
"""Names of actors that are no variables: the ego, and somebody who is not named again."""

Place: TypeAlias = tuple[int, int]
"""From which character of the query's text to which, the last left out."""

NOWHERE: Place = (0, 0)
Operator: TypeAlias = Literal["<", "<=", ">", ">=", "=", "!="]
Order: TypeAlias = Literal["then", "before", "during", "overlaps"]

_OPERATORS: Mapping[Operator, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody in a query.

    Attributes:
        name: A variable, ``ego``, or ``_``.
        cls: What they must be, a key of ``mining.query.words_of.CLASSES``; None: anything.
        place: Where it stands in the text.
    """

    name: str
    cls: str | None = None
    place: Place = field(default=NOWHERE, compare=False)

    @property
    def is_variable(self) -> bool:
        """Whether it may be anyone, and is the same one wherever it stands."""
        return self.name not in (EGO, SOMEONE)

    def __str__(self) -> str:
        return self.name if self.cls is None else f"{self.cls} {self.name}"


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison with a number.

    Attributes:
        op: How.
        number: With what, in SI units.
        unit: As it is to be written; empty for a number alone.
        place: Where it stands in the text.
    """

    op: Operator
    number: float
    unit: str = ""
    place: Place = field(default=NOWHERE, compare=False)

    def holds(self, value: float | None) -> bool:
        """Whether a value compares so; one that is not known does not."""
        if value is None:
            return False
        return _OPERATORS[self.op](value, self.number)

    def __str__(self) -> str:
        return f"{self.op} {_number(self.number)}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Any part of a query that holds or does not."""

    place: Place = field(default=NOWHERE, compare=False)

    def __and__(self, other: Node) -> And:
        return And(*_flat(And, self), *_flat(And, other))

    def __or__(self, other: Node) -> Or:
        return Or(*_flat(Or, self), *_flat(Or, other))

    def __invert__(self) -> Not:
        return Not(self)

    def then(self, other: Node, *, within_s: float | None = None) -> Sequence:
        """The other begins after this has begun, and within so long after it has ended."""
        return Sequence("then", self, other, within_s)

    def before(self, other: Node, *, within_s: float | None = None) -> Sequence:
        """The other begins once this has ended, and within so long."""
        return Sequence("before", self, other, within_s)

    def during(self, other: Node) -> Sequence:
        """All of this lies within the other."""
        return Sequence("during", self, other)

    def overlaps(self, other: Node) -> Sequence:
        """Both hold at once for some time."""
        return Sequence("overlaps", self, other)

    def for_at_least(self, seconds: float) -> Lasting:
        """It lasts so long."""
        return Lasting(self, ">=", seconds)

    def for_at_most(self, seconds: float) -> Lasting:
        """It lasts no longer."""
        return Lasting(self, "<=", seconds)

    def calls(self) -> list[Call]:
        """All predicates in it, as often as they stand there."""
        return [node for node in self.walk() if isinstance(node, Call)]

    def children(self) -> tuple[Node, ...]:
        """The parts that hold or do not themselves."""
        return ()

    def walk(self) -> Iterator[Node]:
        """This node and all within it."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A predicate of some actors, in the order of its roles; roles left out are anyone."""

    name: str
    actors: tuple[Actor, ...] = ()
    compare: Compare | None = None

    def __str__(self) -> str:
        told = f"{self.name}({', '.join(map(str, self.actors))})"
        return told if self.compare is None else f"{told} {self.compare}"

    @property
    def names_ego(self) -> bool:
        """Whether the ego is among those of whom it is said."""
        return any(actor.name == EGO for actor in self.actors)

    def _compared(self, op: Operator, number: float) -> Call:
        return replace(self, compare=Compare(op, float(number)))

    def __lt__(self, number: float) -> Call:
        return self._compared("<", number)

    def __le__(self, number: float) -> Call:
        return self._compared("<=", number)

    def __gt__(self, number: float) -> Call:
        return self._compared(">", number)

    def __ge__(self, number: float) -> Call:
        return self._compared(">=", number)


@dataclass(frozen=True, slots=True)
class Fact(Node):
    """Something about the scene as a whole.

    Attributes:
        name: A key of ``mining.query.facts.FACTS``.
        words: Any of which it may be; empty for a number.
        compare: With what a number is compared.
    """

    name: str
    words: tuple[str, ...] = ()
    compare: Compare | None = None

    def __str__(self) -> str:
        if self.compare is not None:
            return f"{self.name} {self.compare}"
        words = [word if word.isidentifier() else f'"{word}"' for word in self.words]
        return (
            f"{self.name} is {words[0]}"
            if len(words) == 1
            else f"{self.name} in ({', '.join(words)})"
        )


@dataclass(frozen=True, slots=True)
class Similar(Node):
    """The scene's vector and another's have a cosine that compares so."""

    scene: str
    compare: Compare

    def __str__(self) -> str:
        scene = self.scene if self.scene.isdecimal() else f'"{self.scene}"'
        return f"similar to {scene} {self.compare}"


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The expression does not hold."""

    part: Node

    def children(self) -> tuple[Node, ...]:
        """The part that is denied."""
        return (self.part,)

    def __str__(self) -> str:
        return f"not {_within(self.part, _TIGHT)}"


@dataclass(frozen=True, slots=True, init=False)
class Joined(Node):
    """Several expressions joined by one word."""

    parts: tuple[Node, ...]

    def __init__(self, *parts: Node, place: Place = NOWHERE) -> None:
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "place", place)

    def children(self) -> tuple[Node, ...]:
        """The parts."""
        return self.parts


@dataclass(frozen=True, slots=True, init=False)
class And(Joined):
    """All hold at once."""

    def __str__(self) -> str:
        return " and ".join(_within(part, (*_TIGHT, Sequence)) for part in self.parts)


@dataclass(frozen=True, slots=True, init=False)
class Or(Joined):
    """Any holds."""

    def __str__(self) -> str:
        return " or ".join(_within(part, (*_TIGHT, Sequence, And)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """Two expressions in an order of time."""

    order: Order
    first: Node
    second: Node
    within_s: float | None = None

    def children(self) -> tuple[Node, ...]:
        """First and second."""
        return (self.first, self.second)

    def __str__(self) -> str:
        # `a then b then c` reads from the left, so only the second part needs its own brackets.
        told = (
            f"{_within(self.first, (*_TIGHT, Sequence))} {self.order} "
            f"{_within(self.second, _TIGHT)}"
        )
        return told if self.within_s is None else f"{told} within {_number(self.within_s)} s"


@dataclass(frozen=True, slots=True)
class Lasting(Node):
    """An expression that lasts at least, or at most, so many seconds."""

    part: Node
    op: Literal[">=", "<="]
    seconds: float

    def children(self) -> tuple[Node, ...]:
        """The part that lasts."""
        return (self.part,)

    def __str__(self) -> str:
        how = "least" if self.op == ">=" else "most"
        return f"{_within(self.part, _ATOMS)} for at {how} {_number(self.seconds)} s"


@dataclass(frozen=True, slots=True)
class Count(Node):
    """How often an expression holds, or for how many different actors.

    Attributes:
        part: The expression.
        compare: With how many.
        of: Whom to count; None: the times that it holds.
        at_once: Whether all must hold at one moment.
        within_s: Within how long all must begin [s]; None: anywhere in the scene.
        said: ``never`` or ``always``, where it was written so; it is told as it was written.
    """

    part: Node
    compare: Compare
    of: Actor | None = None
    at_once: bool = False
    within_s: float | None = None
    said: Literal["", "never", "always"] = field(default="", compare=False, repr=False)

    def children(self) -> tuple[Node, ...]:
        """The part that is counted."""
        return (self.part,)

    def __str__(self) -> str:
        if self.said == "never":
            return f"never {_within(self.part, (*_ATOMS, Not))}"
        if self.said == "always" and isinstance(self.part, Not):
            return f"always {_within(self.part.part, (*_ATOMS, Not))}"
        whom = "" if self.of is None else f"{self.of} where "
        told = f"count({whom}{self.part}) {self.compare}"
        if self.at_once:
            return f"{told} at once"
        return told if self.within_s is None else f"{told} within {_number(self.within_s)} s"


@dataclass(frozen=True, slots=True)
class Saved(Node):
    """A call of a saved rule, with what it stands for.

    Attributes:
        call: As it is written.
        part: The rule's expression, about the actors of the call.
        own: Variables of the rule that the call does not name; no query can write them.
    """

    call: Call
    part: Node
    own: tuple[str, ...] = ()

    def children(self) -> tuple[Node, ...]:
        """The rule's expression."""
        return (self.part,)

    def __str__(self) -> str:
        return str(self.call)


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query.

    Attributes:
        node: What is looked for.
        unknown_as_true: Whether what may be true counts as a match.
        text: As it was written; empty if Python made it.
    """

    node: Node
    unknown_as_true: bool = False
    text: str = field(default="", compare=False)

    @property
    def names(self) -> list[str]:
        """The predicates that it uses, each once."""
        return list(dict.fromkeys(call.name for call in self.node.calls()))

    def __str__(self) -> str:
        return f"{self.node} unknown as true" if self.unknown_as_true else str(self.node)


_ATOMS = (Call, Fact, Similar, Count, Saved)
_TIGHT = (*_ATOMS, Not, Lasting)


def actor(name: str, cls: str | None = None) -> Actor:
    """Somebody, of a class such as ``pedestrian`` if one is given."""
    return Actor(name, cls)


def predicate(name: str, *actors: Actor | str) -> Call:
    """A predicate of some actors; its value may be compared with ``<``, ``<=``, ``>``, ``>=``."""
    return Call(name, tuple(a if isinstance(a, Actor) else Actor(a) for a in actors))


def fact(name: str, *words: str, at_least: float | None = None) -> Fact:
    """A fact about the scene: any of some words, or a number that is large enough."""
    return Fact(name, words, None if at_least is None else Compare(">=", at_least))


def rarity(at_least: float) -> Fact:
    """The scene is as rare as that, as a percentile: 1 is the rarest."""
    return Fact("rarity", (), Compare(">=", at_least))


def similar_to(scene: int | str, cosine: float = 0.8) -> Similar:
    """The scene's vector is that near to another's."""
    return Similar(str(scene), Compare(">=", cosine))


def count(
    part: Node,
    at_least: int,
    *,
    of: Actor | str | None = None,
    at_once: bool = False,
    within_s: float | None = None,
) -> Count:
    """The expression holds so often, or for so many different actors."""
    whom = Actor(of) if isinstance(of, str) else of
    return Count(part, Compare(">=", float(at_least)), whom, at_once, within_s)


def _flat(kind: type[And] | type[Or], node: Node) -> tuple[Node, ...]:
    return node.children() if isinstance(node, kind) else (node,)


def _within(node: Node, bare: tuple[type[Node], ...]) -> str:
    """The node, in brackets unless it is of a kind that binds tightly enough."""
    kind = Not if isinstance(node, Count) and node.said else type(node)  # they bind alike
    return str(node) if issubclass(kind, bare) else f"({node})"


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)

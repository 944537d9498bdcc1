"""What a sentence consists of, before it is known whom its words mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mining.query.tree import NOWHERE, Compare, Node, Order, Place

Who: TypeAlias = Literal["ego", "it", "anyone", "new", "known", "nth"]
"""The ego; a pronoun; anybody at all; ``a car``; ``the car``; ``the second car``."""
Denied: TypeAlias = Literal["", "not", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """Somebody.

    Attributes:
        who: Which kind of words these are.
        words: As said.
        cls: Their class; None if the words leave it open.
        nth: Which of those of the class, from 1.
        count: How many; None for one.
        none: Nobody: ``no car``.
        asides: What else is said of them, by adjectives, relative clauses and where they are.
        relative: Whether a relative clause ends the words.
        place: Where they stand.
    """

    who: Who
    words: str
    place: Place
    cls: str | None = None
    nth: int = 0
    count: Compare | None = None
    none: bool = False
    asides: tuple[Told, ...] = ()
    relative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said of somebody.

    Attributes:
        means: Predicates, as the lexicon says them.
        turned: They are the other one of the predicate.
        other: Who else.
        compare: With what its value is compared.
        denied: Whether it is not so.
        bare: In which form of the verb it is, if nothing such as `does` or `is` stands before.
        where: Whether it tells where somebody is, rather than what they do.
        place: Where it stands.
    """

    means: str
    place: Place
    turned: bool = False
    other: Noun | None = None
    compare: Compare | None = None
    denied: Denied = ""
    bare: str = ""
    where: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A subject, what is said of it, and how.

    Attributes:
        subject: Who; None: the subject of the clause before.
        told: What; None for facts alone.
        places: Where the subject is, and what it does or does not do meanwhile.
        facts: What is so of the whole scene.
        lasting: For how long: comparison and seconds.
        times: How often.
        at_once: Whether all that are counted do so at one time.
        within_s: Within what time, with its place.
        place: Where it stands.
    """

    place: Place
    subject: Noun | None = None
    told: Told | None = None
    places: tuple[Told, ...] = ()
    facts: tuple[Node, ...] = ()
    lasting: tuple[Literal[">=", "<="], float] | None = None
    times: Compare | None = None
    at_once: bool = False
    within: tuple[float, Place] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Clauses that hold together, or any of which does."""

    clauses: tuple[Clause, ...]
    any_of: bool = False
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A group and how it follows what was said before.

    Attributes:
        group: The clauses.
        order: How they are ordered in time.
        reversed: Whether it comes first in time.
        within: Within what time, with its place.
    """

    group: Group
    order: Order
    reversed: bool = False
    within: tuple[float, Place] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """All that is asked for.

    Attributes:
        facts: What is so of the whole scene.
        first: What is said first; None if facts are all.
        steps: What is said next.
        perhaps: Whether what may be so counts.
    """

    facts: tuple[Node, ...]
    first: Group | None
    steps: tuple[Step, ...]
    perhaps: bool

"""Mistakes that are told before a query runs, each with its place and what to do.

Checked are the names of predicates, facts, classes and words; how many actors a predicate takes and
who they can be; units, and that numbers have one; who an expression is about, where it leaves that
open; and what cannot be: sequences of what holds all along, someone who stands and speeds at once.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NoReturn

from mining.predicates import PREDICATES
from mining.query.classes import ALIASES, CLASSES, word_of
from mining.query.facts import FACTS, FactKind
from mining.query.mistakes import BadExpression
from mining.query.parse import WORDS
from mining.query.possible import contradiction
from mining.query.rule import Rule
from mining.query.tree import (
    EGO,
    NOWHERE,
    SOMEONE,
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
    Place,
    Query,
    Saved,
    Sequence,
    Similar,
)
from mining.query.units import SI, WRITTEN, alike
from mining.query.values import bounds, never, outside
from schemas.labels import AgentClass
from schemas.scene import DT

LONGEST_S, MOST = 1e6, 1e6
"""No drive lasts so long [s], and nothing in it happens so often."""


def checked(query: Query, rules: Mapping[str, Rule] | None = None) -> Query:
    """The query with its numbers in SI units and every actor's class wherever they stand.

    Args:
        query: As read, or made in Python.
        rules: Saved rules that it may call; their queries are checked ones.

    Raises:
        BadExpression: It cannot be asked, with the place and what to do.
    """
    check = _Check(query.text, rules or {})
    node = check.node(query.node)
    check.scopes(node)
    node = check.with_classes(node)
    check.no_class_stands_alone(node)
    check.possible(node)
    return replace(query, node=node)


def bound(node: Node) -> frozenset[str]:
    """Variables whose value an expression tells: those of what holds, not of what does not."""
    match node:
        case Call(actors=actors):
            return frozenset(a.name for a in actors if a.is_variable)
        case And(parts=parts):
            return frozenset().union(*map(bound, parts))
        case Or(parts=parts):
            return frozenset.intersection(*map(bound, parts))
        case Sequence(first=first, second=second):
            return bound(first) | bound(second)
        case Lasting(part=part):
            return bound(part)
        case Saved(part=part, own=own):
            return bound(part) - frozenset(own)
    return frozenset()


def named(node: Node) -> frozenset[str]:
    """All variables anywhere within."""
    found = {a.name for call in node.calls() for a in call.actors if a.is_variable}
    return frozenset(found)


def is_throughout(node: Node) -> bool:
    """Whether it holds for all of a scene or not at all."""
    match node:
        case Fact() | Similar():
            return True
        case Count(at_once=at_once, within_s=within):
            return not at_once and within is None
        case Call(name=name):
            return not PREDICATES[name].roles if name in PREDICATES else False
        case Not(part=part) | Lasting(part=part) | Saved(part=part):
            return is_throughout(part)
        case And(parts=parts) | Or(parts=parts):
            return all(map(is_throughout, parts))
    return False


@dataclass(slots=True)
class _Check:
    text: str
    rules: Mapping[str, Rule]
    calls: int = 0
    classes: dict[str, tuple[str, Place]] = field(default_factory=dict)

    def wrong(self, place: Place, reason: str, *, hint: str = "") -> NoReturn:
        raise BadExpression(self.text, place, reason, hint=hint)

    def node(self, node: Node) -> Node:
        """The node, all within it looked at, its numbers in SI units."""
        match node:
            case Call(name=name) if name in self.rules and name not in PREDICATES:
                return self.saved(node, self.rules[name])
            case Saved():
                return node
            case Call():
                return self.call(node)
            case Fact():
                return self.fact(node)
            case Similar():
                return self.similar(node)
            case Not(part=part):
                return replace(node, part=self.node(part))
            case And(parts=parts):
                return And(*map(self.node, parts), place=node.place)
            case Or(parts=parts):
                return Or(*map(self.node, parts), place=node.place)
            case Sequence():
                return self.sequence(node)
            case Lasting(part=part):
                if not 0.0 < node.seconds <= LONGEST_S:
                    self.wrong(
                        node.place, f"Nothing lasts {node.seconds:g} s",
                        hint="A time above zero, such as `for at least 2 s`.",
                    )  # fmt: skip
                if node.op == "<=" and node.seconds < DT:
                    self.wrong(
                        node.place, f"Nothing lasts under {DT:g} s: that is a step",
                        hint=f"Write `for at most {DT:g} s` or more.",
                    )  # fmt: skip
                return replace(node, part=self.node(part))
            case Count():
                return self.count(node)
        raise AssertionError(node)

    def call(self, node: Call) -> Call:
        known = PREDICATES.get(node.name)
        if known is None:
            self.unknown_predicate(node)
        roles = known.roles
        if len(node.actors) > len(roles):
            whom = " and ".join(roles) or "nobody: it is about the scene"
            self.wrong(
                node.actors[len(roles)].place,
                f"`{node.name}` takes {_many(len(roles), 'actor')}, not {len(node.actors)}",
                hint=f"It is about {whom}. {_sentence(known.doc)}",
            )
        if roles and not node.actors:
            self.wrong(
                node.place, f"`{node.name}` does not say of whom",
                hint=f"Such as `{node.name}({', '.join(('ego', 'a')[: len(roles)])})`; "
                "`_` is anyone.",
            )  # fmt: skip
        names = Counter(a.name for a in node.actors if a.name != SOMEONE)
        for actor, only in zip(node.actors, known.only, strict=False):
            self.actor(actor)
            meant = CLASSES.get(actor.cls or "")
            if only is not None and meant is not None and not meant & only:
                self.wrong(
                    actor.place, f"`{node.name}` is never true of a {actor.cls}",
                    hint=f"It is about a {word_of(only)}.",
                )  # fmt: skip
            if only is not None and actor.name == EGO and AgentClass.VEHICLE not in only:
                self.wrong(
                    actor.place, f"`{node.name}` is never true of the ego, a vehicle",
                    hint=f"It is about a {word_of(only)}: `{node.name}({word_of(only)} a)`.",
                )  # fmt: skip
        for actor in node.actors:
            self.actor(actor)
            if names[actor.name] > 1:
                self.wrong(
                    node.place, f"`{node.name}` is of two actors, and `{actor.name}` is one",
                    hint="Different names are different actors; `_` is anyone.",
                )  # fmt: skip
        if node.compare is None:
            return node
        if known.unit == "":
            self.wrong(
                node.compare.place, f"`{node.name}` has no value to compare", hint="Leave it out."
            )
        unit = "" if known.unit == "1" else known.unit
        compare = self.number(node.compare, unit, node.name)
        if never(node.name, compare):
            self.wrong(
                node.compare.place, f"`{node.name}` is never {replace(compare, place=NOWHERE)}",
                hint=f"It is told {_told_where(*bounds(node.name), WRITTEN.get(unit, unit))}.",
            )  # fmt: skip
        return replace(node, compare=compare)

    def saved(self, node: Call, rule: Rule) -> Saved:
        """A rule's expression, about the actors of the call."""
        if len(node.actors) > len(rule.actors):
            self.wrong(
                node.actors[len(rule.actors)].place,
                f"`{node.name}` takes {_many(len(rule.actors), 'actor')}, not {len(node.actors)}",
                hint=rule.doc,
            )
        if rule.actors and not node.actors:
            self.wrong(
                node.place, f"`{node.name}` does not say of whom",
                hint=f"Such as `{node.name}({', '.join(('ego', 'a')[: len(rule.actors)])})`.",
            )  # fmt: skip
        if node.compare is not None:
            self.wrong(
                node.compare.place, f"`{node.name}` is a rule and has no value to compare",
                hint="Leave it out, or compare within the rule.",
            )  # fmt: skip
        self.calls += 1
        own: list[str] = []
        named_now = dict(zip(rule.actors, node.actors, strict=False))

        def told(actor: Actor) -> Actor:
            if not actor.is_variable:
                return actor
            called = named_now.get(actor.name)
            if called is None or called.name == SOMEONE:
                name = f"{actor.name}.{self.calls}"  # no query can write it
                own.append(name)
                return Actor(name, actor.cls if called is None else called.cls or actor.cls)
            if called.name == EGO:
                return Actor(EGO, None, called.place)
            return Actor(called.name, called.cls or actor.cls, called.place)

        part = _with_actors(rule.node, told)
        for actor in node.actors:
            self.actor(actor)
        for name in (a.name for call in part.calls() for a in call.actors):
            if name != SOMEONE and sum(a.name == name for a in node.actors) > 1:
                self.wrong(
                    node.place, f"`{node.name}` is of two actors, and `{name}` is one",
                    hint="Different names are different actors; `_` is anyone.",
                )  # fmt: skip
        return Saved(node, part, tuple(dict.fromkeys(own)), place=node.place)

    def unknown_predicate(self, node: Call) -> NoReturn:
        if node.name in FACTS:
            self.wrong(
                node.place, f"`{node.name}` is a fact about the scene, no predicate",
                hint=f"Write `{_example(node.name, FACTS[node.name])}`.",
            )  # fmt: skip
        known = [*PREDICATES, *self.rules]
        near = difflib.get_close_matches(node.name.lower(), known, n=3)
        within = [name for name in known if node.name.lower() in name] if not near else []
        guess = ", ".join(f"`{name}`" for name in [*near, *within][:3])
        place = node.place and (node.place[0], node.place[0] + len(node.name))
        self.wrong(
            place, f"No predicate is called `{node.name}`",
            hint=f"Did you mean {guess}?" if guess else "docs/predicates.md lists all.",
        )  # fmt: skip

    def actor(self, actor: Actor) -> None:
        if actor.name.lower() == EGO and actor.name != EGO:
            self.wrong(
                actor.place, f"`{actor.name}` is a name here, and not the ego", hint="Write `ego`."
            )
        if actor.name in WORDS:
            self.wrong(
                actor.place, f"`{actor.name}` is a word of the language, and names nobody",
                hint="Such as `a`, or `car c`.",
            )  # fmt: skip
        if actor.cls is None:
            return
        if actor.cls not in CLASSES:
            said = actor.cls.lower()
            right = ALIASES.get(said) or next(
                iter(difflib.get_close_matches(said, CLASSES, n=1)), None
            )
            self.wrong(
                actor.place, f"No class of road users is called `{actor.cls}`",
                hint=f"Did you mean `{right}`?" if right else f"Classes: {', '.join(CLASSES)}.",
            )  # fmt: skip
        if actor.name == EGO:
            self.wrong(actor.place, "The ego is a vehicle already", hint="Write `ego` alone.")
        if actor.name == SOMEONE:
            return
        before, _ = self.classes.setdefault(actor.name, (actor.cls, actor.place))
        if before != actor.cls:
            self.wrong(
                actor.place, f"`{actor.name}` is a {before} before, and a {actor.cls} here",
                hint="Different actors need different names.",
            )  # fmt: skip

    def fact(self, node: Fact) -> Fact:
        known = FACTS.get(node.name)
        place = node.place and (node.place[0], node.place[0] + len(node.name))
        if known is None:
            if node.name in PREDICATES:
                roles = PREDICATES[node.name].roles
                self.wrong(
                    place, f"`{node.name}` does not say of whom",
                    hint=f"Such as `{node.name}({', '.join(('ego', 'a')[: len(roles)])})`.",
                )  # fmt: skip
            near = difflib.get_close_matches(node.name, FACTS, n=1)
            self.wrong(
                place, f"No fact about a scene is called `{node.name}`",
                hint=f"Did you mean `{near[0]}`?" if near else f"Facts: {', '.join(FACTS)}.",
            )  # fmt: skip
        if (known.unit is None) == (node.compare is not None):
            self.wrong(
                node.place,
                f"`{node.name}` is {'a word' if known.unit is None else 'a number'}",
                hint=f"Write `{_example(node.name, known)}`.",
            )
        if known.words is not None:
            for word in node.words:
                if word not in known.words:
                    near = difflib.get_close_matches(word, known.words, n=1)
                    self.wrong(
                        node.place, f"`{node.name}` is never `{word}`",
                        hint=(f"Did you mean `{near[0]}`? " if near else "")
                        + f"It is one of {', '.join(known.words)}.",
                    )  # fmt: skip
        if node.compare is None:
            return node
        compare = self.number(node.compare, known.unit or "", node.name, share=known.most == 1.0)
        if outside(compare, known.least, known.most):
            self.wrong(
                node.compare.place, f"`{node.name}` is never {compare}",
                hint=f"It is told {_told_where(known.least, known.most, compare.unit)}.",
            )  # fmt: skip
        if known.whole and compare.op == "=" and not compare.number.is_integer():
            self.wrong(node.compare.place, "One counts in whole numbers", hint="Such as `>= 3`.")
        return replace(node, compare=compare)

    def similar(self, node: Similar) -> Similar:
        compare = self.number(node.compare, "", f"similar to {node.scene}")
        if outside(compare, -1.0, 1.0):
            self.wrong(
                node.compare.place, f"A likeness is never {compare}",
                hint="It is -1 or more, and 1 or less; 0.8 is like.",
            )  # fmt: skip
        return replace(node, compare=compare)

    def number(self, compare: Compare, unit: str, what: str, *, share: bool = True) -> Compare:
        """The comparison in the unit that values are stored in; shares may be told in percent."""
        if not math.isfinite(compare.number):
            self.wrong(
                compare.place, f"{compare.number} is no number to compare with",
                hint="Write a smaller one.",
            )  # fmt: skip
        if not compare.unit:
            if unit and compare.place != NOWHERE:
                first, *others = alike(unit)
                self.wrong(
                    compare.place, f"{compare.number:g} of what? `{what}` is in {unit}",
                    hint=f"Write {compare.number:g} {first}"
                    + (f", or in {_either(others)}." if others else "."),
                )  # fmt: skip
            return replace(compare, unit=WRITTEN.get(unit, unit))
        si, factor = SI.get(compare.unit, ("", 0.0))
        if factor == 0.0 or (si != unit and not (si == "1" and unit == "" and share)):
            told = f"is in {unit}" if unit else "is a number without a unit"
            near = f"Write it in {_either(alike(unit))}." if unit else f"Write {compare.number:g}."
            self.wrong(compare.place, f"`{compare.unit}` does not fit: `{what}` {told}", hint=near)
        return replace(compare, number=compare.number * factor, unit=WRITTEN.get(unit, unit))

    def sequence(self, node: Sequence) -> Sequence:
        if node.within_s is not None and not 0.0 < node.within_s <= LONGEST_S:
            self.wrong(
                node.place, f"Nothing can follow within {node.within_s:g} s",
                hint="A time above zero, such as `within 3 s`.",
            )  # fmt: skip
        made = replace(node, first=self.node(node.first), second=self.node(node.second))
        for part in made.children():
            if is_throughout(part):
                self.wrong(
                    part.place, f"This holds for a whole scene, so nothing comes {_AFTER[node.order]} it",
                    hint="Join it to the rest by `and`.",
                )  # fmt: skip
        return made

    def count(self, node: Count) -> Count:
        number, op = node.compare.number, node.compare.op
        if node.compare.unit or not float(number).is_integer():
            self.wrong(node.compare.place, "One counts in whole numbers", hint="Such as `>= 3`.")
        if number > MOST:
            self.wrong(
                node.compare.place,
                f"Nothing happens {number:g} times in a scene",
                hint="Such as `>= 3`.",
            )
        least = {">=": number, ">": number + 1, "=": number}.get(op, 0.0)
        if number < 0 or (op == "<" and number == 0) or (op == ">=" and number == 0):
            always = op in (">", ">=", "!=")
            self.wrong(
                node.compare.place, f"A count is {'always' if always else 'never'} {op} {number:g}",
                hint="Such as `>= 1`, or `= 0` for none.",
            )  # fmt: skip
        if (node.at_once or node.within_s is not None) and op not in (">", ">="):
            how = "at once" if node.at_once else "within a time"
            self.wrong(
                node.compare.place, f"A count {how} is asked with `>=` or `>`",
                hint=f"`not count(…) >= {number + 1:g} …` says that it stays below.",
            )  # fmt: skip
        if node.within_s is not None and not 0.0 < node.within_s <= LONGEST_S:
            self.wrong(
                node.place, f"Nothing happens within {node.within_s:g} s",
                hint="A time above zero, such as `within 10 s`.",
            )  # fmt: skip
        part = self.node(node.part)
        if node.of is not None:
            self.actor(node.of)
            if not node.of.is_variable or node.of.name not in bound(part):
                self.wrong(
                    node.of.place, f"`{node.of.name}` is not one whom the expression tells",
                    hint="Count a variable of it: `count(v where near(v, ego)) >= 3`.",
                )  # fmt: skip
        if is_throughout(part) and least > 1:
            self.wrong(
                part.place, "This holds once in a scene or not at all",
                hint="Leave the count out, or ask `>= 1`.",
            )  # fmt: skip
        return replace(node, part=part)

    def scopes(self, node: Node, outside: frozenset[str] = frozenset()) -> None:
        """Whether it is clear of whom each part is.

        Args:
            node: Looked at.
            outside: Variables that are told by what stands round it.
        """
        match node:
            case And(parts=parts):
                told = outside | bound(node)
                for one, other in combinations(parts, 2):
                    for name in sorted((named(one) & named(other)) - told):
                        self.wrong(
                            self.where(other, name),
                            f"`{name}` is only told of by what is denied or counted, so these two "
                            f"need not be the same",
                            hint=f"Say first who `{name}` is, as in `near({name}, ego) and …`, or "
                            "take two names.",
                        )
                here = bound(node)
                for place, part in enumerate(parts):
                    others = [bound(p) for k, p in enumerate(parts) if k != place]
                    if isinstance(part, Not):  # cut out of what the others tell
                        self.alone(part, outside - here)
                        self.scopes(part.part, outside.union(*others))
                    else:
                        self.scopes(part, outside.union(*others))
            case Or(parts=parts):
                everywhere = bound(node)
                for one, other in combinations(parts, 2):
                    for name in sorted((named(one) & named(other)) - outside):
                        if (name in bound(one)) != (name in bound(other)):
                            self.wrong(
                                self.where(other, name),
                                f"`{name}` is somebody on one side of `or` only; where it is denied or "
                                "counted, it is anyone",
                                hint="Take two names, or name it on both sides: `moving("
                                f"{name}) and not …`.",
                            )
                for part in parts:
                    for name in sorted((bound(part) - everywhere) & outside):
                        self.wrong(
                            self.where(part, name),
                            f"`{name}` is told of in one branch of `or` only, and named outside",
                            hint="Name it in every branch, or ask two queries.",
                        )
                    self.scopes(part, outside)
            case Sequence(first=first, second=second):
                self.scopes(first, outside | bound(second))
                self.scopes(second, outside | bound(first))
            case _:
                if isinstance(node, Not):
                    self.alone(node, outside)
                for child in node.children():
                    self.scopes(child, outside)

    def alone(self, node: Not, outside: frozenset[str]) -> None:
        """Whether a denial names somebody who is told of only outside of what it is cut out of."""
        for name in sorted(named(node) & outside):
            self.wrong(
                self.where(node, name),
                f"It is open of whom this denial is: `{name}` is told of elsewhere",
                hint=f"Join it by `and` to something of `{name}`: `moving({name}) and not …`.",
            )

    def possible(self, node: Node) -> None:
        """Whether anything can be so."""
        told = contradiction(node)
        if told is not None:
            self.wrong(told.place, told.reason, hint=told.hint)
        names_ego = any(actor.name == EGO for actor in _actors(node))
        for part in node.walk():
            if isinstance(part, Call) and part.name == "is_ego" and names_ego:
                for actor in part.actors:
                    if actor.is_variable:
                        self.wrong(
                            actor.place, f"`{actor.name}` is never the ego, who is named here too",
                            hint="Different names are different actors: write `ego`.",
                        )  # fmt: skip

    def no_class_stands_alone(self, node: Node) -> None:
        """Whether a class is meant where a name stands, as in ``near(ego, pedestrian)``."""
        for actor in _actors(node):
            cls = actor.name if actor.name in CLASSES else ALIASES.get(actor.name)
            if cls is not None and actor.cls is None:
                self.wrong(
                    actor.place, f"`{actor.name}` is a name here, and means anybody",
                    hint=f"Write `{cls} {actor.name[0]}`, a class and a name, or `{cls} _` for any.",
                )  # fmt: skip

    def with_classes(self, node: Node) -> Node:
        """Every actor with the class that the query gives them anywhere."""
        return _with_actors(node, self.classed)

    def classed(self, actor: Actor) -> Actor:
        known = self.classes.get(actor.name) if actor.is_variable else None
        return actor if known is None else replace(actor, cls=known[0])

    def where(self, node: Node, name: str) -> Place:
        """Where a variable stands within a part."""
        for part in node.walk():
            if isinstance(part, Call):
                for actor in part.actors:
                    if actor.name == name:
                        return actor.place
        return node.place


def _actors(node: Node) -> Iterator[Actor]:
    """Everybody who is named within, wherever."""
    for part in node.walk():
        if isinstance(part, Call):
            yield from part.actors


def _with_actors(node: Node, told: Callable[[Actor], Actor]) -> Node:
    """The node with other actors."""
    match node:
        case Call(actors=actors):
            return replace(node, actors=tuple(map(told, actors)))
        case And(parts=parts) | Or(parts=parts):
            return type(node)(*(_with_actors(p, told) for p in parts), place=node.place)
        case Sequence(first=first, second=second):
            return replace(
                node, first=_with_actors(first, told), second=_with_actors(second, told)
            )
        case Not(part=part) | Lasting(part=part):
            return replace(node, part=_with_actors(part, told))
        case Saved(part=part, own=own):
            mine = tuple(told(Actor(name)).name for name in own)
            return replace(node, part=_with_actors(part, told), own=mine)
        case Count(part=part, of=of):
            return replace(
                node, part=_with_actors(part, told), of=None if of is None else told(of)
            )
    return node


_AFTER: Mapping[str, str] = {
    "then": "after", "before": "after", "during": "within", "overlaps": "beside",
}  # fmt: skip


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else f"no {what}"


def _sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."


def _either(words: list[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} or {last}" if some else last


def _told_where(least: float, most: float, unit: str) -> str:
    """``where it is 9 m/s or more``."""
    said = [
        f"{bound:g}{' ' + unit if unit else ''} or {way}"
        for bound, way in ((least, "more"), (most, "less"))
        if math.isfinite(bound)
    ]
    return f"where it is {' and '.join(said)}"


def _example(name: str, kind: FactKind) -> str:
    if kind.unit is None:
        return f"{name} is {(kind.words or ('NAME',))[-1]}"
    number = "0.95" if name == "rarity" else "5"
    return f"{name} >= {number}{' ' + kind.unit if kind.unit else ''}"

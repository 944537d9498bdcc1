"""From what a sentence consists of to the query that it means.

Rules of reading, all of which show in the query that is printed:

- ``a car`` is a new actor, ``the car`` the one of whom was spoken, ``it`` the last one who fits.
- A place (``at a crosswalk``) is of the subject of its clause, and what is so of the scene (``at
  night``) of the whole sentence.
- ``does not`` and ``no car`` deny at a moment, ``never`` all through the scene.
- Whom ``not`` and counts introduce is anyone, so that nothing more can be said of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from mining.predicates import PREDICATES
from mining.query.classes import CLASSES, SYMMETRIC
from mining.query.facts import FACTS
from mining.query.mistakes import BadExpression
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
    Sequence,
    Similar,
)
from mining.query.units import SI, WRITTEN
from mining.query.words.lexicon import AT_SPEED, MEASURES
from mining.query.words.sentence import Clause, Group, Noun, Sentence, Step, Told

_PEOPLE = {"pedestrian", "cyclist"}
_TOLD_FROM = {
    "ttc": "ttc", "ttc_2d": "ttc", "thw": "thw", "pet": "pet", "drac": "drac", "a_req": "a_req",
    "near": "distance", "braking": "acceleration", "accelerating": "acceleration",
    "high_speed": "speed", "over_limit": "excess", "jerk_high": "jerk", "lat_accel_high": "acceleration",
    "yaw_rate_high": "rate",
}  # fmt: skip
"""The parameter that bounds a predicate's value: nothing is told beyond it."""
_LOWEST = {
    "drac",
    "a_req",
    "accelerating",
    "high_speed",
    "over_limit",
    "jerk_high",
    "lat_accel_high",
    "yaw_rate_high",
}
"""Where that bound is the least value; elsewhere it is the greatest."""
_FALLS = {"braking", "hard_brake", "stopping"}
"""Where more is further below zero."""


@dataclass(slots=True)
class Person:
    """Somebody of whom was spoken."""

    name: str
    cls: str | None
    words: str
    place: Place
    anyone: bool = False
    closed: str = ""
    told: frozenset[str] = frozenset()

    @property
    def actor(self) -> Actor:
        """As a query says who it is."""
        return Actor(self.name, self.cls)


def meant(text: str, sentence: Sentence) -> Query:
    """The query that a sentence means, not yet checked.

    Args:
        text: The sentence as it was said.
        sentence: What it consists of.

    Raises:
        BadExpression: It is open whom a word means, or nothing can mean it; with its place.
    """
    return _Meaning(text).query(sentence)


@dataclass
class _Meaning:
    """Makes the query of one sentence.

    Attributes:
        text: The sentence.
        people: Of whom was spoken, in order.
        lately: The names of those spoken of last, clause by clause.
    """

    text: str
    people: list[Person] = field(default_factory=list)
    lately: list[list[str]] = field(default_factory=list)
    facts: list[Node] = field(default_factory=list)
    subject: tuple[Noun, Actor] | None = None
    needed: list[Person] = field(default_factory=list)
    taken: set[Place] = field(default_factory=set)

    def query(self, sentence: Sentence) -> Query:
        """The whole query, not yet checked."""
        self.facts.extend(sentence.facts)
        node = None if sentence.first is None else self.group(sentence.first)
        before = sentence.first
        for step in sentence.steps:
            node = self.step(node, before, step)
            before = step.group
        self.see_that_times_are_used(sentence)
        told = frozenset() if node is None else _told_of(node)
        for person in self.needed:
            if person.name not in told:
                self.wrong(
                    person.place,
                    f"Of `{self.said(person.place)}` nothing is said but what is not so, and that of anyone",
                    hint="Say first what they do, as in `a car that is near the ego does not brake`, or "
                    "ask for `no car …`.",
                )  # fmt: skip
        parts: list[Node] = [] if node is None else [*_parts(node)]
        parts += _ordered_facts(self.facts)
        return Query(self.as_written(_and(parts)), sentence.perhaps, self.text)

    def wrong(self, place: Place, reason: str, *, hint: str = "") -> NoReturn:
        raise BadExpression(self.text, place, reason, hint=hint)

    # Sentences.

    def step(self, node: Node | None, before: Group | None, step: Step) -> Node | None:
        """What was said before, and this after it, before it or meanwhile."""
        withins = [step.within] if step.within else []
        withins += self.withins(step.group)
        if not withins and before is not None and step.order == "before":
            withins += self.withins(before)  # "brakes within 3 s after a car cuts in"
        second = self.group(step.group)
        if node is None or second is None:
            if step.order != "overlaps":
                self.wrong(
                    step.group.place, "What is so of a whole scene comes neither before nor after",
                    hint="Say it by `and`, `while`, or beside what happens: `… at night`.",
                )  # fmt: skip
            return node or second
        if len(withins) > 1:
            self.wrong(
                withins[1][1], "A second time is said within which it follows", hint="Say one."
            )
        if withins and step.order == "overlaps":
            self.wrong(
                withins[0][1], "What happens at once does not follow within a time",
                hint="Say `then … within 3 s`.",
            )  # fmt: skip
        within = withins[0][0] if withins else None
        self.taken.update(place for _, place in withins)
        first, second = (second, node) if step.reversed else (node, second)
        return Sequence(step.order, first, second, within, place=step.group.place)

    def withins(self, group: Group) -> list[tuple[float, Place]]:
        """Times within which something follows, that no count and no other step has taken."""
        return [
            c.within for c in group.clauses
            if c.within is not None and not _counts(c) and c.within[1] not in self.taken
        ]  # fmt: skip

    def see_that_times_are_used(self, sentence: Sentence) -> None:
        groups = [sentence.first, *(step.group for step in sentence.steps)]
        said = [c.within for g in groups if g for c in g.clauses if c.within]
        said += [step.within for step in sentence.steps if step.within]
        for _, place in said:
            if place not in self.taken:
                self.wrong(
                    place, f"`{self.said(place)}` of what?",
                    hint="Say what comes first: `a car cuts in, then the ego brakes within 3 s`.",
                )  # fmt: skip

    def group(self, group: Group) -> Node | None:
        """Clauses that hold together, or any of which does; None if they are facts alone."""
        made = [self.clause(clause, lone=not group.any_of) for clause in group.clauses]
        nodes = [node for node in made if node is not None]
        if not nodes:
            return None
        if group.any_of:
            return nodes[0] if len(nodes) == 1 else Or(*nodes, place=group.place)
        return _and(nodes, place=group.place)

    # Clauses.

    def clause(self, clause: Clause, *, lone: bool) -> Node | None:
        """What holds while a clause does; facts are kept for the end if there is no `or`."""
        if clause.told is None:
            if clause.times or clause.lasting or clause.within or clause.at_once:
                self.wrong(
                    clause.place, "What is so of a whole scene is so neither often nor for a time",
                    hint="Say it of what happens: `the ego brakes twice in the rain`.",
                )  # fmt: skip
            if lone:
                self.facts.extend(clause.facts)
                return None
            return _and([*clause.facts])
        self.facts.extend(clause.facts)
        before = len(self.people)
        self.lately.append([])
        noun = clause.subject
        if noun is None:
            if self.subject is None:
                self.wrong(clause.place, "Who does so?", hint="Name them: `the ego …`.")
            noun, subject = self.subject
            noun = replace(noun, asides=(), count=None, none=False, who="it")
            person = self.person(subject.name)
            if person is not None:
                self.open(person, clause.place)
            self.speak_of(subject.name)
        else:
            subject = self.resolve(noun, None)
            self.see_who(noun, subject, told=clause.told)
        self.subject = (noun, subject)
        told = clause.told
        other = None if told.other is None else self.resolve(told.other, subject)
        core = self.call(told, subject, other)
        if noun.words == "they" and noun.who == "it" and other is None and told.means in SYMMETRIC:
            self.wrong(
                noun.place, "`they` may be two of whom was spoken, or one and somebody else",
                hint="Say who and with whom: `the car collides with the ego`.",
            )  # fmt: skip
        if told.means == "stopping" and clause.lasting is not None and clause.lasting[0] == ">=":
            self.wrong(
                told.place, f"`{self.said(told.place)}` is the braking until one stands",
                hint="Say `is stopped for at least …`.",
            )  # fmt: skip
        places: list[Node] = []
        for aside in sorted(clause.places, key=_place_order):
            towards = other if aside.means in MEASURES else None
            places.append(self.aside(aside, subject, towards))
        lasting = clause.lasting
        if told.denied == "never":
            # "never stops at a stop sign" is of stops at stop signs
            core, places = _and([core, *places], place=clause.place), []
            if lasting is not None:
                core, lasting = Lasting(core, lasting[0], lasting[1], place=clause.place), None
        if told.denied:
            self.see_denied(told)
            core = _denied(core, told)
        body = [core]
        for who, actor in ((noun, subject), (told.other, other)):
            again = {
                p.name for p in self.people[:before]
            }  # "the parked truck" only names it again
            if who is not None and actor is not None and actor.name not in again:
                body += [self.aside(aside, actor) for aside in who.asides]
        clause = replace(clause, lasting=lasting)
        body += places
        return self.shaped(clause, noun, subject, other, body, before)

    def shaped(
        self,
        clause: Clause,
        noun: Noun,
        subject: Actor,
        other: Actor | None,
        body: list[Node],
        before: int,
    ) -> Node:
        """Counted, denied, and as long as is said."""
        told = clause.told
        assert told is not None
        counted = [(n, a) for n, a in ((noun, subject), (told.other, other))
                   if n is not None and a is not None and (n.count is not None or n.none)]  # fmt: skip
        if len(counted) > 1:
            self.wrong(
                counted[1][0].place, "Two are counted or denied in one clause",
                hint="Ask of one number at a time.",
            )  # fmt: skip
        who, actor = counted[0] if counted else (None, None)
        if clause.at_once and (who is None or who.count is None) and clause.times is None:
            self.wrong(
                clause.place, "Nothing is counted that could be so at once",
                hint="Say how many: `at least three cars … at once`.",
            )  # fmt: skip
        if who is not None and told.denied:
            self.wrong(
                who.place, f"`{self.said(who.place)}` and `{told.denied}` deny or count what is denied",
                hint="Say it without one of them.",
            )  # fmt: skip
        node = _and(body, place=clause.place)
        lasting = clause.lasting
        if lasting is not None and not (who is not None and (who.none or clause.at_once)):
            node, lasting = Lasting(node, lasting[0], lasting[1], place=clause.place), None
        if clause.times is not None:
            node = self.times(clause, node, noun, subject, before)
        if who is not None and who.none:
            node = Not(node, place=clause.place)
            self.close(before, "no one in particular")
        elif who is not None and who.count is not None and actor is not None:
            within = self.within(clause)
            node = Count(node, who.count, actor, clause.at_once, within, place=clause.place)
            self.close(before, "one of many")
        if lasting is not None:
            node = Lasting(node, lasting[0], lasting[1], place=clause.place)
        return node

    def within(self, clause: Clause) -> float | None:
        """Within what time all that are counted begin."""
        if clause.within is None:
            return None
        self.taken.add(clause.within[1])
        return clause.within[0]

    def times(self, clause: Clause, node: Node, noun: Noun, subject: Actor, before: int) -> Node:
        told = clause.told
        assert told is not None
        assert clause.times is not None
        fresh = {p.name for p in self.people[before:] if not p.anyone}
        if subject.name in fresh and noun.count is None and not noun.none:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` may be another each time",
                hint="Say `anyone`, or count how many: `at least two cars …`.",
            )  # fmt: skip
        if noun.count is not None or noun.none or told.denied:
            self.wrong(
                clause.times.place, "Times and actors are counted at once", hint="Ask one of them."
            )
        within = self.within(clause)
        self.close(before, "one of several")
        return Count(node, clause.times, None, clause.at_once, within, place=clause.place)

    def see_who(self, noun: Noun, subject: Actor, *, told: Told) -> None:
        """Whether what is said of a new subject tells who it is."""
        person = self.person(subject.name)
        if person is None or noun.count is not None or noun.none:
            return
        if noun.who == "anyone" and noun.words and told.denied:
            self.wrong(
                noun.place, f"`{noun.words}` and `{told.denied}` may be meant in two ways",
                hint="Say `nobody brakes`, or who does not.",
            )  # fmt: skip
        if noun.who in ("new", "nth"):
            self.needed.append(person)

    def see_denied(self, told: Told) -> None:
        """Whether what is denied is one thing."""
        other = told.other
        if other is not None and other.who == "new" and other.asides:
            self.wrong(
                other.place, f"`{self.said(other.place)}` is within what is denied, and so is what is said of them",
                hint="Say first who they are: `a truck is parked and the ego does not pass the truck`.",
            )  # fmt: skip

    def aside(self, told: Told, subject: Actor, with_other: Actor | None = None) -> Node:
        """What else is so of somebody."""
        other = None if told.other is None else self.resolve(told.other, subject)
        if other is None and with_other is not None and with_other.name != subject.name:
            other = with_other
        node = self.call(told, subject, other)
        if told.other is not None and (told.other.count is not None or told.other.none):
            self.wrong(
                told.other.place, "One counts what a clause is about, not where somebody is",
                hint="Say it in a clause of its own: `at least three cars are near the ego`.",
            )  # fmt: skip
        extra = [
            self.aside(more, other) for more in (told.other.asides if told.other else ()) if other
        ]
        if told.denied and extra:
            self.wrong(
                told.place, "What is denied here says two things", hint="Say it in two clauses."
            )
        return _denied(node, told) if told.denied else _and([node, *extra])

    # Calls.

    def call(self, told: Told, subject: Actor, other: Actor | None) -> Node:
        """The predicates that a phrase means, of those of whom it is said."""
        if told.means == AT_SPEED:
            return self.at_speed(told, subject)
        for mark, join in ((" | ", Or), (" & ", And)):
            if mark in told.means:
                parts = [
                    self.call(replace(told, means=m), subject, other)
                    for m in told.means.split(mark)
                ]
                return join(*parts, place=told.place)
        if told.means.startswith("not "):
            inner = self.call(replace(told, means=told.means.removeprefix("not ")), subject, other)
            return Not(inner, place=told.place)
        name = told.means
        compare = None if told.compare is None else self.comparison(name, told.compare)
        who = (other or Actor(SOMEONE), subject) if told.turned else (subject, other)
        two = name not in PREDICATES or len(PREDICATES[name].roles) > 1
        if other is not None and not two:
            self.wrong(
                other.place, f"`{self.said(other.place)}` has no part in this: `{name}` is of one alone",
                hint="Say in a clause of its own what they do.",
            )  # fmt: skip
        actors = tuple(a for a in who if a is not None)
        return Call(name, actors, compare, place=told.place)

    def comparison(self, name: str, compare: Compare) -> Compare:
        """A comparison as the predicate's value is stored; none that says nothing."""
        unit = PREDICATES[name].unit
        si, factor = SI.get(compare.unit, ("", 0.0))
        if not compare.unit or si != unit:
            return compare  # the check tells what is wrong with it
        if name in _FALLS and compare.number > 0:
            turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(compare.op, compare.op)
            compare = replace(compare, op=turned, number=-compare.number)  # type: ignore[arg-type]
        limit = PREDICATES[name].limits.get(_TOLD_FROM.get(name, ""))
        if limit is None or compare.op == "=":
            return compare
        value = compare.number * factor
        is_least, asks_more = name in _LOWEST, compare.op in (">", ">=")
        within = value >= limit if is_least else value <= limit
        if is_least != asks_more or not within:
            side = "less" if not is_least and name not in _FALLS else "more"
            told = f"{side} than {abs(limit):g} {WRITTEN.get(unit, unit)}"
            self.wrong(
                compare.place, f"`{name}` is only told where it is {told}",
                hint=f"Ask for {told}, or leave the number out.",
            )  # fmt: skip
        return compare

    def at_speed(self, told: Told, subject: Actor) -> Node:
        assert told.compare is not None
        bands = "`creeps`, `drives at medium speed`, `drives fast`, `is stopped`"
        limit = PREDICATES["high_speed"].limits["speed"]
        si, factor = SI.get(told.compare.unit, ("", 0.0))
        if si == "m/s" and (
            told.compare.op not in (">", ">=") or told.compare.number * factor < limit
        ):
            self.wrong(
                told.compare.place, f"Speeds are only told from {limit:g} m/s on",
                hint=f"Ask for more than that, or for {bands}.",
            )  # fmt: skip
        return Call("high_speed", (subject,), told.compare, place=told.place)

    # People.

    def resolve(self, noun: Noun, subject: Actor | None) -> Actor:
        """Whom words mean.

        Args:
            noun: The words.
            subject: Of the same clause, who is somebody else; None if these are of the subject.
        """
        actor = self._resolve(noun, subject)
        if actor.is_variable or actor.name == EGO:
            self.speak_of(actor.name)
        return replace(actor, place=noun.place)

    def _resolve(self, noun: Noun, subject: Actor | None) -> Actor:
        match noun.who:
            case "ego":
                return Actor(EGO)
            case "anyone":
                return self.introduce(noun).actor  # `_`, if nothing else is said of them
            case "it":
                return self.pronoun(noun, subject)
            case "new":
                return self.introduce(noun).actor
        fits = [p for p in self.people if self.is_one(p, noun)]
        if noun.who == "nth":
            if len(fits) >= noun.nth:
                return self.open(fits[noun.nth - 1], noun.place).actor
            if len(fits) == noun.nth - 1:
                return self.introduce(noun).actor
            self.wrong(
                noun.place, f"`{self.said(noun.place)}`: only {len(fits)} so far",
                hint=f"Introduce them in order: `a {noun.words} … a second {noun.words}`.",
            )  # fmt: skip
        if len(fits) > 1:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` may be either of {len(fits)}",
                hint=f"Say `the first {noun.words}` or `the second {noun.words}`.",
            )  # fmt: skip
        described = frozenset(f"{aside.denied} {aside.means}" for aside in noun.asides)
        if not fits and described:
            return self.introduce(noun).actor  # "the car behind the ego" is told by these words
        if fits and not described <= fits[0].told:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` may be the one of whom was spoken, or another",
                hint=f"Say `the {noun.words}` alone, or `another {noun.words}` and what it does.",
            )  # fmt: skip
        if not fits:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` is not one of whom was spoken",
                hint=f"Introduce them by `a {noun.words}`.",
            )  # fmt: skip
        return self.open(fits[0], noun.place).actor

    def is_one(self, person: Person, noun: Noun) -> bool:
        """Whether the words may mean somebody of whom was spoken."""
        if noun.cls is None or person.cls is None:
            return noun.cls == person.cls or noun.cls is None
        return person.cls == noun.cls or CLASSES[person.cls] < CLASSES[noun.cls]

    def open(self, person: Person, place: Place) -> Person:
        if person.closed:
            self.closed(person, place)
        return person

    def closed(self, person: Person, place: Place) -> NoReturn:
        self.wrong(
            place, f"This is {person.closed}, since it was said of none or of many",
            hint="Say what else is so in the same words, as in `no car that is parked …`.",
        )  # fmt: skip

    def close(self, before: int, why: str) -> None:
        for person in self.people[before:]:
            person.closed = why

    def person(self, name: str) -> Person | None:
        return next((p for p in self.people if p.name == name), None)

    def pronoun(self, noun: Noun, subject: Actor | None) -> Actor:
        """The last one who fits."""
        found: str | None = None
        said = reversed(self.lately)
        if noun.words in ("they", "them"):  # may be several, so all of whom was spoken
            said = reversed([[name for names in self.lately for name in names]])
        for names in said:
            fits = [
                name for name in dict.fromkeys(names)
                if (subject is None or name != subject.name) and self.fits(name, noun.words)
            ]  # fmt: skip
            if len(fits) > 1:
                either = " or ".join(f"the {self.words(name)}" for name in fits)
                self.wrong(
                    noun.place,
                    f"`{noun.words}` may be {either}",
                    hint="Name the one that is meant.",
                )
            if fits:
                found = fits[0]
                break
        if found is None:
            self.wrong(
                noun.place, f"`{noun.words}` is nobody of whom was spoken",
                hint="Name the one that is meant.",
            )  # fmt: skip
        person = self.person(found)
        return Actor(EGO) if person is None else self.open(person, noun.place).actor

    def fits(self, name: str, pronoun: str) -> bool:
        person = self.person(name)
        cls = "vehicle" if person is None else person.cls
        if pronoun in ("he", "him", "she", "her"):
            return cls is None or cls in (*_PEOPLE, "vru", "motorcycle")
        if pronoun in ("they", "them"):
            return name != EGO
        return cls not in _PEOPLE

    def words(self, name: str) -> str:
        person = self.person(name)
        return "ego" if person is None else person.words

    def introduce(self, noun: Noun) -> Person:
        """Somebody new, with a name that no one else has."""
        letter = noun.cls[0] if noun.cls else "a"
        names = {p.name for p in self.people}
        name = letter
        number = 1
        while name in names:
            number += 1
            name = f"{letter}{number}"
        made = Person(name, noun.cls, noun.words, noun.place, noun.who == "anyone")
        made.told = frozenset(f"{aside.denied} {aside.means}" for aside in noun.asides)
        self.people.append(made)
        return made

    def speak_of(self, name: str) -> None:
        if self.lately:
            self.lately[-1].append(name)

    def said(self, place: Place) -> str:
        return self.text[slice(*place)]

    def as_written(self, node: Node) -> Node:
        """The class where somebody is named first, and `_` for anyone who is named once."""
        often = Counter(a.name for n in node.walk() if isinstance(n, Call) for a in n.actors)
        nobody = {p.name for p in self.people if p.anyone and often[p.name] == 1}
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
                case Sequence():
                    return replace(node, first=told(node.first), second=told(node.second))
                case Count():
                    whom = None if node.of is None else one(node.of)
                    return replace(node, of=whom, part=told(node.part))
            return node

        return told(node)


def _parts(node: Node) -> tuple[Node, ...]:
    return node.parts if isinstance(node, And) else (node,)


def _and(parts: list[Node], place: Place = NOWHERE) -> Node:
    flat = [part for node in parts for part in _parts(node)]
    kept = list(dict.fromkeys(flat))
    return kept[0] if len(kept) == 1 else And(*kept, place=place)


def _denied(node: Node, told: Told) -> Node:
    """Not at that moment; never: not at any."""
    if told.denied == "never":
        return Count(node, Compare("=", 0.0), place=told.place)
    return node.part if isinstance(node, Not) else Not(node, place=told.place)


def _place_order(told: Told) -> tuple[int, str]:
    """Asides in the registry's order, whichever was said first."""
    name = told.means.removeprefix("not ").split()[0]
    names = list(PREDICATES)
    return (names.index(name) if name in names else len(names), str(told.denied))


def _ordered_facts(facts: Iterable[Node]) -> list[Node]:
    names = [*FACTS, *PREDICATES]

    def order(node: Node) -> tuple[int, str]:
        inner = node.part if isinstance(node, Not) else node
        if isinstance(inner, Similar):
            return len(names), str(node)
        name = inner.name if isinstance(inner, Fact | Call) else ""
        return (names.index(name) if name in names else len(names) + 1), str(node)

    return sorted(dict.fromkeys(facts), key=order)


def _counts(clause: Clause) -> bool:
    nouns = (clause.subject, clause.told.other if clause.told else None)
    return clause.times is not None or any(n is not None and n.count is not None for n in nouns)


def _told_of(node: Node) -> frozenset[str]:
    """Of whom something is said that is so."""
    match node:
        case Call(actors=actors):
            return frozenset(a.name for a in actors)
        case Not() | Count():
            return frozenset()
    return frozenset().union(*map(_told_of, node.children()))

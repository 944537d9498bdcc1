"""From what a sentence consists of to the query that it means.

Rules of reading, all of which show in the query that is printed:

- ``a car`` is a new actor, ``the car`` the one of whom was spoken, ``it`` the last one who fits.
- A place (``at a crosswalk``) is of the subject of its clause, and what is so of the scene (``at
  night``) of the whole sentence.
- ``does not`` and ``no car`` deny at a moment, ``never`` all through the scene; after ``then`` or
  ``before``, that it follows.
- Whom ``not`` and counts introduce is anyone, so that nothing more can be said of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mining.predicates import PREDICATES
from mining.query.tree import (
    Actor,
    Call,
    Compare,
    Count,
    Lasting,
    Node,
    Not,
    Or,
    Order,
    Place,
    Query,
    Sequence,
)
from mining.query.words.calls import Calls
from mining.query.words.lexicon import MEASURES
from mining.query.words.people import Person
from mining.query.words.sentence import Clause, Group, Noun, Sentence, Step, Told
from mining.query.words.written import (
    as_written,
    both,
    next_to_who_stands,
    ordered_facts,
    parts_of,
    place_order,
)


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
class _Meaning(Calls):
    """Makes the query of one sentence.

    Attributes:
        facts: What is so of the whole scene.
        subject: Of whom the last clause was.
        needed: Those of whom something must be said that is so.
        taken: Where times stand that have been used.
    """

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
        parts: list[Node] = [] if node is None else [*parts_of(node)]
        parts += ordered_facts(self.facts)
        whole = next_to_who_stands(both(parts))
        return Query(as_written(whole, self.people), sentence.perhaps, self.text)

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
        return self.in_order(step.order, first, second, within, place=step.group.place)

    def in_order(
        self, order: Order, first: Node, second: Node, within: float | None, *, place: Place
    ) -> Node:
        """One thing after the other; what does not follow is no sequence.

        "A car cuts in, then the ego does not brake within 3 s" is not of a time without braking that
        begins within 3 s, but of a cut-in that no braking follows.
        """
        if order != "overlaps" and (what := _denied_alone(second)) is not None:
            followed = Sequence(order, first, what, within, place=place)
            return both([first, Not(followed, place=place)], place=place)
        if order == "before" and (what := _denied_alone(first)) is not None:
            followed = Sequence(order, what, second, within, place=place)
            return both([second, Not(followed, place=place)], place=place)
        return Sequence(order, first, second, within, place=place)

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
        return both(nodes, place=group.place)

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
            return both([*clause.facts])
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
        if noun.count is not None:
            clause = _among_many(clause)
        told = clause.told
        assert told is not None
        other = None if told.other is None else self.resolve(told.other, subject)
        core = self.call(told, subject, other)
        means = PREDICATES.get(told.means)
        mutual = means is not None and means.symmetric
        if noun.words == "they" and noun.who == "it" and other is None and mutual:
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
        for aside in sorted(clause.places, key=place_order):
            towards = other if aside.means in MEASURES else None
            places.append(self.aside(aside, subject, towards))
        lasting = clause.lasting
        if told.denied == "never":
            # "never stops at a stop sign" is of stops at stop signs
            core, places = both([core, *places], place=clause.place), []
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
        node = both(body, place=clause.place)
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
        return _denied(node, told) if told.denied else both([node, *extra])


def _denied_alone(node: Node) -> Node | None:
    """What a node says is not so, now or at all; None if it says more, or something else."""
    match node:
        case Not(part=part) | Count(part=part, compare=Compare(op="=", number=0.0), of=None):
            return part
    return None


def _denied(node: Node, told: Told) -> Node:
    """Not at that moment; never: not at any."""
    if told.denied == "never":
        return Count(node, Compare("=", 0.0), place=told.place)
    return node.part if isinstance(node, Not) else Not(node, place=told.place)


def _among_many(clause: Clause) -> Clause:
    """Of several, ahead and behind are not next in a lane, where one alone can be."""

    def wide(told: Told) -> Told:
        if not told.where or told.means != "following" or told.compare is not None:
            return told
        return replace(told, means="in_front_of" if told.turned else "behind", turned=False)

    told = None if clause.told is None else wide(clause.told)
    return replace(clause, told=told, places=tuple(map(wide, clause.places)))


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

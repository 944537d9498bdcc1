"""Who does what, where, how often and for how long; and clauses that hold together."""

from __future__ import annotations

from dataclasses import replace

from mining.query.tree import Node, Order
from mining.query.words.happenings import Happenings
from mining.query.words.openings import LINKS
from mining.query.words.sentence import Clause, Group, Told
from mining.query.words.somebody import IS


class Clauses(Happenings):
    """Reads clauses and groups of them."""

    def group(self, i: int, *, inherits: bool, commas: bool = True) -> tuple[Group, int]:
        """Clauses joined by `and`, or by `or`."""
        begin = i
        either = self.said(i, "either")
        clause = self.clause(i + either, inherits=inherits)
        if clause is None:
            self.not_understood()
        clauses, i = [clause[0]], clause[1]
        joins: dict[str, int] = {}
        while True:
            comma = self.comma(i)
            word = self.word(comma)
            j = comma + 1 if word in ("and", "but", "or") else comma
            bare = word not in ("and", "but", "or")
            if j == i or (bare and not commas) or (word == "and" and self.link(i) is not None):
                break
            clause = self.clause(j, inherits=True)
            if clause is None and word == "and":
                clause = self.also_at(clauses[-1], j)
                if clause is not None:
                    joins.setdefault("and", comma)
                    clauses[-1:], i = [clause[0]], clause[1]
                    continue
            if clause is None:
                self.reach(j)
                break
            if not bare:
                joins.setdefault("or" if word == "or" else "and", comma)
            if clause[0].subject is None and _ends_in_relative(clauses[-1]):
                self.wrong(
                    clause[0].place, f"Who `{self.text[slice(*clause[0].place)]}`? It may be either of two",
                    hint="Name them: `and the ego …`, or `and the truck …`.",
                )  # fmt: skip
            if clause[0].subject is None:
                self.see_what_is_denied(clauses[-1], clause[0].told)
            clauses.append(clause[0])
            i = clause[1]
        if len(joins) > 1:
            at = max(joins.values())
            self.wrong(
                self.span(at, at + 1), "`and` and `or` together may be meant in two ways",
                hint="Ask two questions, or write a query with brackets.",
            )  # fmt: skip
        any_of = "or" in joins
        if either and not any_of:
            self.wrong(self.span(begin, begin + 1), "`either` asks for `or`", hint="Leave it out.")
        if any_of:
            for clause_ in clauses:
                if clause_.facts and clause_.told is not None:
                    place = clause_.facts[0].place
                    said = self.text[slice(*place)]
                    self.wrong(
                        place, f"`{said}` may be meant of one side of `or`, or of both",
                        hint=f"Say it first, of both: `{said}, …`.",
                    )  # fmt: skip
        return Group(clauses=tuple(clauses), any_of=any_of, place=self.span(begin, i)), i

    def also_at(self, clause: Clause, i: int) -> tuple[Clause, int] | None:
        """``… near a bus and near a car``: the clause with one more place."""
        found = self.place(i)
        if found is None or clause.told is None:
            return None
        told, j = found
        denied = any(t.denied for t in (clause.told, *clause.places))
        if denied or _ends_in_relative(clause):
            self.wrong(
                told.place, f"`{self.text[slice(*told.place)]}` may be meant of two things",
                hint="Say it in full: `and the ego is near a car`.",
            )  # fmt: skip
        return self.asides(replace(clause, places=(*clause.places, told)), j, i)

    def see_what_is_denied(self, before: Clause, told: Told | None) -> None:
        """Whether a verb without a subject may be denied by what stands before it."""
        denials = [t.denied for t in (before.told, *before.places) if t is not None and t.denied]
        if denials and told is not None:
            self.see_verb(denials[-1], told)

    def clause(self, i: int, *, inherits: bool) -> tuple[Clause, int] | None:
        """One clause with its asides."""
        facts: list[Node] = []
        begin = i
        start = self.leading(i, facts)
        start, within = self.within(start)
        start = self.comma(start)
        whole = self.plain_fact(start, "whole")
        if whole is not None:
            made = Clause(place=self.span(begin, whole[1]), facts=(*facts, whole[0]))
            return self.asides(made, whole[1], begin)
        if facts and within is None and self.ends(start):
            return Clause(place=self.span(begin, start), facts=tuple(facts)), start
        found = (
            self.there_is(start) or self.noun_clause(start, alone=not inherits)
            or self.plain(start) or (self.inherited(start) if inherits else None)
        )  # fmt: skip
        if found is None:
            return None
        made, j = found
        made = replace(made, facts=(*facts, *made.facts), within=within, place=self.span(begin, j))
        return self.asides(made, j, begin)

    def ends(self, i: int) -> bool:
        """Whether nothing more is said in a clause."""
        return i >= len(self.tokens) or self.word(i) in (",", "and", "or", "but", "then") or (
            self.link(i) is not None
        )  # fmt: skip

    def link(self, i: int) -> tuple[Order, bool, int] | None:
        """How what stands there joins what was said: order, whether turned round, where it ends."""
        j = self.comma(i)
        if self.word(j) == ";":
            j += 1
        found = [(order, rev, j + len(w)) for w, order, rev in LINKS if self.said(j, *w)]
        return max(found, key=lambda link: link[2], default=None)

    def plain(self, i: int) -> tuple[Clause, int] | None:
        """``a parked truck brakes``, ``more than three cars near the ego``."""
        noun = self.noun(i, subject=True)
        if noun is None:
            return None
        facts: list[Node] = []
        told = self.told(noun[1]) or self.told(self.leading(noun[1], facts))
        if told is None:
            stands = None if facts or noun[0].relative else self.place(noun[1])
            if stands is not None:
                made = Clause(subject=noun[0], told=stands[0], place=self.span(i, stands[1]))
                return made, stands[1]
            if noun[0].relative:
                self.hint = f"Say what the {noun[0].words} does, beside the words after `that`."
            return None
        made = Clause(
            subject=noun[0], told=told[0], facts=tuple(facts), place=self.span(i, told[1])
        )
        return made, told[1]

    def inherited(self, i: int) -> tuple[Clause, int] | None:
        """``… and brakes``: of the subject of the clause before."""
        told = self.told(i)
        return (
            None if told is None else (Clause(told=told[0], place=self.span(i, told[1])), told[1])
        )

    def there_is(self, i: int) -> tuple[Clause, int] | None:
        """``there is a truck that is parked``, ``there are at least three cars near the ego``."""
        if not (self.word(i) == "there" and self.word(i + 1) in IS):
            return None
        self.reach(i + 2)
        event = self.event(i + 2)
        if event is not None:
            return event
        noun = self.noun(i + 2, subject=False)
        if noun is None:
            return None
        who, j = noun
        found = [*self.matches("ing", j), *self.matches("be", j), *self.matches("place", j)]
        best = max(found, key=lambda told: told[1], default=None)
        if best is not None:
            told, j = best
            return Clause(subject=who, told=told, place=self.span(i, j)), j
        if who.asides:
            first, *rest = who.asides
            subject = replace(who, asides=tuple(rest), relative=False)
            return Clause(subject=subject, told=first, place=self.span(i, j)), j
        self.hint = (
            "Say what they do or where: `there is a truck that is parked`, `… near the ego`."
        )
        return None

    # What follows a verb.

    def asides(self, clause: Clause, i: int, begin: int) -> tuple[Clause, int]:
        """The clause with all that follows its verb."""
        while i < len(self.tokens):
            found = self.aside(clause, i)
            if found is None and self.word(i) == ",":
                found = self.aside(clause, i + 1)
            if found is None:
                break
            clause, i = found
            self.reach(i)
        return replace(clause, place=self.span(begin, i)), i

    def aside(self, clause: Clause, i: int) -> tuple[Clause, int] | None:
        """The clause with one thing more that follows its verb."""
        for words in (("at", "once"), ("at", "the", "same", "time"), ("simultaneously",)):
            if self.said(i, *words):
                return replace(clause, at_once=True), i + len(words)
        if self.word(i) == "without":
            told = max(
                (t for form in ("ing", "be") for t in self.matches(form, i + 1)),
                key=lambda told: told[1], default=None,
            )  # fmt: skip
            if told is None and self.word(i + 1) == "being":
                told = next(iter(self.matches("be", i + 2)), None)
            if told is not None:
                meanwhile = replace(told[0], denied="not", place=self.span(i, told[1]))
                return replace(clause, places=(*clause.places, meanwhile)), told[1]
        times = self.times(i)
        if times is not None:
            return self.once(clause.times is None, i, replace(clause, times=times[0]), times[1])
        lasting = self.lasting(i)
        if lasting is not None:
            return self.once(
                clause.lasting is None, i, replace(clause, lasting=lasting[0]), lasting[1]
            )
        j, within = self.within(i)
        if within is not None:
            return self.once(clause.within is None, i, replace(clause, within=within), j)
        fact, place = self.fact(i), self.place(i)
        if fact is not None and (place is None or fact[1] >= place[1]):
            return replace(clause, facts=(*clause.facts, *fact[0])), fact[1]
        if place is not None and clause.told is not None:
            return replace(clause, places=(*clause.places, place[0])), place[1]
        return None

    def once(self, first: bool, i: int, clause: Clause, j: int) -> tuple[Clause, int]:
        """The clause, unless what it tells was told before."""
        if not first:
            self.wrong(
                self.span(i, j), f"`{self.text[slice(*self.span(i, j))]}` is said a second time",
                hint="Say it once, or in two clauses.",
            )  # fmt: skip
        return clause, j


def _ends_in_relative(clause: Clause) -> bool:
    other = clause.told.other if clause.told else None
    return other is not None and other.relative and not clause.places

"""Whom a sentence is about, and what is said of them: ``a parked truck that the ego overtakes``.

The two are one piece of grammar: somebody may be told by what they do, which may be done to somebody.
"""

from __future__ import annotations

from dataclasses import replace

from mining.query.tree import Compare
from mining.query.words import lexicon
from mining.query.words.phrases import EGOS, Form, Phrase, classes_said
from mining.query.words.sentence import Denied, Noun, Told
from mining.query.words.unknown import Unknown

IS = ("is", "are", "was", "were")
_ORDINALS = {w: n for n, w in enumerate(("first", "second", "third", "fourth", "fifth"), 1)}
_RELATIVE = ("that", "who", "which")
_AMOUNTS = frozenset(noun.split()[0] for nouns in lexicon.AMOUNTS.values() for noun in nouns)


class Somebody(Unknown):
    """Reads nouns and phrases."""

    # Phrases.

    def matches(self, form: Form, i: int) -> list[tuple[Told, int]]:
        """Phrases of a form that stand there, the longest first."""
        found: list[tuple[Told, int]] = []
        for first in (self.word(i), "{other}", "{actor}", "{<=}", "{?}", "{<}"):
            for phrase in self.phrases.by_word.get((form, first), ()) if first else ():
                told = self.match(phrase, i)
                if told is not None:
                    found.append(told)
        return sorted(found, key=lambda told: -told[1])

    def match(self, phrase: Phrase, i: int) -> tuple[Told, int] | None:
        """A phrase, if it stands there, with whom and what number it tells."""
        other: Noun | None = None
        compare: Compare | None = None
        j = i
        for slot in phrase.words:
            step: tuple[Compare | Noun, int] | None
            if slot in ("{other}", "{actor}"):
                step = self.noun(j, subject=False)
                if step is not None and isinstance(step[0], Noun):
                    other = step[0]
            elif slot.startswith("{"):
                step = self.compare(j) if slot == "{?}" else self.quantity(j, slot[1:-1])  # type: ignore[arg-type]
                if step is not None and isinstance(step[0], Compare):
                    compare = step[0]
                    if not compare.unit and self.word(step[1]) in _AMOUNTS:
                        return None  # "with more than 20 agents" is a fact about the scene
            else:
                if self.word(j) != slot:
                    return None
                self.reach(j + 1)
                j += 1
                continue
            if step is None:
                return None
            j = step[1]
        told = Told(
            means=phrase.means, turned=phrase.turned, other=other, compare=compare,
            place=self.span(i, j), where=phrase.form == "place",
        )  # fmt: skip
        return told, j

    def told(self, i: int) -> tuple[Told, int] | None:
        """What is said of a subject: a phrase, denied or not."""
        found: list[tuple[Told, int]] = []
        denied: Denied = ""

        def look(j: int, *forms: Form, denied: Denied) -> None:
            for form in forms:
                for told, end in self.matches(form, j):
                    bare = form if j == i else ""
                    made = replace(told, denied=denied, bare=bare, place=self.span(i, end))
                    found.append((made, end))

        word = self.word(i)
        after = i + 1
        if word in ("never", "not"):
            denied = "never" if word == "never" else "not"
            look(
                after, *(("third", "base", "past") if word == "never" else ("ing",)), denied=denied
            )
        elif word in ("fails", "failed", "fail") and self.said(after, "to"):
            look(after + 1, "base", denied="not")
        else:
            denied, after = self.denial(after)
            if word in ("does", "do", "did", *IS):
                self.reach(after)
            if word in ("does", "do", "did") and denied:
                look(after, "base", denied=denied)
            elif word in IS or word == "being":
                after += self.word(after) == "being"
                look(after, "ing", "be", "place", denied=denied)
            elif word in ("has", "have", "had"):
                if self.word(after) == "been":
                    look(after + 1, "ing", "be", "place", denied=denied)
                look(after, "part", denied=denied)
            look(i, "third", "base", "past", "ing", denied="")
        longest = max(found, key=lambda told: told[1], default=None)
        if longest is not None:
            self.reach(longest[1])
        return longest

    def denial(self, i: int) -> tuple[Denied, int]:
        """``not`` or ``never``, if one stands there."""
        if self.said(i, "not"):
            return "not", i + 1
        return ("never", i + 1) if self.said(i, "never") else ("", i)

    def place(self, i: int) -> tuple[Told, int] | None:
        """``at a crosswalk``, ``not near a bus``."""
        denied: Denied = ""
        j = i
        if self.word(i) == "not":
            denied, j = "not", i + 1
        for told, end in self.matches("place", j)[:1]:
            self.reach(end)
            return replace(told, denied=denied, place=self.span(i, end)), end
        return None

    def see_verb(self, denied: Denied, told: Told) -> None:
        """Whether a bare verb after a denial may be denied with it."""
        if told.bare in (("base", "ing") if denied == "not" else ("base", "ing", "third", "past")):
            said = self.text[slice(*told.place)]
            self.wrong(
                told.place, f"`{said}` may be denied too, or not",
                hint="Name who does so, or say `and does not …` again.",
            )  # fmt: skip

    # Somebody.

    def noun(self, i: int, *, subject: bool) -> tuple[Noun, int] | None:
        """Who stands there."""
        key = (i, subject, self.depth)
        if key not in self.nouns:
            self.nouns[key] = None  # whoever is within themselves is nobody
            self.nouns[key] = self._noun(i, subject=subject)
        found = self.nouns[key]
        if found is not None:
            self.reach(found[1])
        return found

    def _noun(self, i: int, *, subject: bool) -> tuple[Noun, int] | None:
        ego = self.ego(i)
        if ego is not None:
            return Noun(who="ego", words="the ego", place=self.span(i, ego)), ego
        word = self.word(i)
        here = self.span(i, i + 1)
        if word in ("it", "he", "him", "she", "her", "they", "them"):
            return Noun(who="it", words=word, place=here), i + 1
        if word in ("anyone", "anybody", "anything"):
            return Noun(who="anyone", words=word, place=here), i + 1
        found: Noun
        if word in ("someone", "somebody", "something"):
            found, j = Noun(who="new", words=word, place=here), i + 1
        elif word in ("nobody", "nothing") or (word == "no" and self.word(i + 1) == "one"):
            j = i + (2 if word == "no" else 1)
            found = Noun(who="new", words="nobody", none=True, place=self.span(i, j))
        else:
            classed = self.classed(i)
            if classed is None:
                return None
            found, j = classed
        return self.described(found, i, j, subject=subject)

    def ego(self, i: int) -> int | None:
        """Past the words for the ego, if they stand there."""
        ends = [i + len(words) for words in EGOS if self.said(i, *words)]
        return max(ends, default=None)

    def classed(self, i: int) -> tuple[Noun, int] | None:
        """``a car``, ``the second parked truck``, ``at least three vehicles``."""
        word, j = self.word(i), i + 1
        many: bool | None = False
        made = Noun(who="new", words="", place=self.span(i, i + 1))
        if word in ("a", "an", "any", "some", "another"):
            if word == "a" and self.word(j) in _ORDINALS:
                j += 1
        elif word == "one":
            pass
        elif word in ("the", "that", "this"):
            made = replace(made, who="known")
            if self.word(j) in _ORDINALS:
                made, j = replace(made, who="nth", nth=_ORDINALS[self.word(j)]), j + 1
        elif word == "no":
            counted = self.compare(i)
            if counted is not None:
                made, j, many = replace(made, count=counted[0]), counted[1], None
            else:
                made, many = replace(made, none=True), None
        else:
            if word in ("it", "its"):
                return None
            counted = self.compare(i) or self.quantity(i, ">=")
            if counted is None or counted[0].unit:
                return None
            made, j, many = replace(made, count=counted[0]), counted[1], None
        asides: list[Told] = []
        while (found := self.class_word(j, many)) is None:
            adjective = self.adjective(j)
            if adjective is None:
                if j > i + 1 or self.word(i) != "that":
                    self.reach(j)
                return None
            asides.append(adjective[0])
            j = adjective[1]
        cls, end = found
        words = " ".join(t.word for t in self.tokens[j:end])
        return replace(
            made, words=words, cls=cls, asides=tuple(asides), place=self.span(i, end)
        ), end

    def class_word(self, i: int, many: bool | None) -> tuple[str | None, int] | None:
        """The class that stands there, in the singular, the plural, or either (None)."""
        for words, cls, plural in classes_said():
            if (many is None or plural == many) and self.said(i, *words):
                return cls, i + len(words)
        return None

    def adjective(self, i: int) -> tuple[Told, int] | None:
        """``parked``, ``slowly moving``: what is said of somebody before the noun."""
        forms: tuple[Form, ...] = ("be", "ing")
        for form in forms:
            for told, j in self.matches(form, i):
                if told.other is None and told.compare is None and j <= i + 2:
                    return told, j
        return None

    def described(self, noun: Noun, i: int, j: int, *, subject: bool) -> tuple[Noun, int]:
        """With the relative clause, and where they are if they are the subject."""
        if self.word(j) in _RELATIVE and self.depth == 0:
            self.depth += 1
            asides, end = self.relative(j + 1, more=subject)
            self.depth -= 1
            if asides:
                more = (*noun.asides, *asides)
                return replace(noun, asides=more, relative=True, place=self.span(i, j)), end
            self.hint = self.hint or "A relative clause says what they do: `a car that is parked`."
        elif subject and self.depth == 0:
            for told, end in self.matches("place", j)[:1]:
                following = self.told(end)
                if following is not None:
                    return replace(noun, asides=(*noun.asides, told)), end
        return noun, j

    def relative(self, i: int, *, more: bool) -> tuple[list[Told], int]:
        """``is parked``, ``brakes at a crosswalk and turns left``."""
        asides: list[Told] = []
        j = i
        while True:
            told = self.told(j)
            if told is None:
                return asides, j
            if asides and asides[-1].denied:
                self.see_verb(asides[-1].denied, told[0])
            asides.append(told[0])
            j = told[1]
            while (place := self.place(j)) is not None:
                asides.append(place[0])
                j = place[1]
            if not (more and self.said(j, "and")):
                return asides, j
            again = j + 1 + (self.word(j + 1) in _RELATIVE)
            if self.told(again) is None:
                return asides, j
            j = again

"""What happens or is measured, told by a noun: ``a near miss between the ego and a cyclist``."""

from __future__ import annotations

from mining.query.words import lexicon
from mining.query.words.phrases import spelt
from mining.query.words.scenes import Scenes
from mining.query.words.sentence import Clause, Noun, Told
from mining.query.words.somebody import IS


class Happenings(Scenes):
    """Reads clauses without a verb of their own."""

    def noun_clause(self, i: int, *, alone: bool) -> tuple[Clause, int] | None:
        """What happens or is measured, whichever takes more words.

        Args:
            i: The token at which it begins.
            alone: Whether no subject was told before.
        """
        found = [
            told for told in (self.event(i, alone=alone), self.measure(i)) if told is not None
        ]
        best = max(found, key=lambda told: told[1], default=None)
        if best is not None and not alone and self.word(i) in ("a", "an"):
            told, who = best[0].told, best[0].subject
            measured = told is not None and told.means in lexicon.MEASURES
            if measured and who is not None and not who.words:
                self.wrong(
                    best[0].place,
                    f"`{self.text[slice(*best[0].place)]}` may be of whom was spoken, or of anyone",
                    hint="Say whose it is: `and its time headway is below 0.5 s`.",
                )  # fmt: skip
        return best

    def event(self, i: int, *, alone: bool = False) -> tuple[Clause, int] | None:
        """``a near miss between the ego and a cyclist``, ``a cut-in by a truck``.

        Args:
            i: The token at which it begins.
            alone: Whether it can be no verb, because no subject was told before.
        """
        none = self.word(i) == "no"
        j = i + (self.word(i) in ("a", "an", "the", "no", "any"))
        for means, nouns in lexicon.EVENTS.items():
            for words in (w for noun in nouns for w in spelt(noun)):
                if not self.said(j, *words):
                    continue
                begin = j + len(words)
                who, other, k = self.of_whom(begin)
                if j == i and k == begin and not alone:
                    continue  # a verb, unless an article or somebody says that it is a noun
                subject = who or Noun(who="anyone", words="", place=self.span(j, k))
                told = Told(
                    means=means, other=other, place=self.span(j, k), denied="not" if none else ""
                )
                return Clause(subject=subject, told=told, place=self.span(i, k)), k
        return None

    def of_whom(self, i: int) -> tuple[Noun | None, Noun | None, int]:
        """``between the ego and a cyclist``, ``by a truck in front of the ego``."""
        who: Noun | None = None
        other: Noun | None = None
        if self.word(i) == "between":
            first = self.noun(i + 1, subject=False)
            if first is not None and self.said(first[1], "and"):
                second = self.noun(first[1] + 1, subject=False)
                if second is not None:
                    return first[0], second[0], second[1]
        if self.word(i) in ("by", "of"):
            found = self.noun(i + 1, subject=False)
            if found is not None:
                who, i = found
        for words in (("with",), ("in", "front", "of"), ("into",)):
            if self.said(i, *words):
                found = self.noun(i + len(words), subject=False)
                if found is not None:
                    other, i = found
                break
        return who, other, i

    def measure(self, i: int) -> tuple[Clause, int] | None:
        """``the time to collision of the ego is below 1.5 s``, ``ttc below 1.5 s``."""
        owner: Noun | None = None
        j = i
        if self.word(i) in ("its", "his", "her", "their"):
            owner = Noun(who="it", words="it", place=self.span(i, i + 1))
            j = i + 1
        elif (found := self.noun(i, subject=False)) is not None and self.word(found[1]) == "'s":
            owner, j = found[0], found[1] + 1
        elif self.word(i) in ("the", "a", "an"):
            j = i + 1
        for means, nouns in lexicon.MEASURES.items():
            for words in (w for noun in nouns for w in spelt(noun)):
                if not self.said(j, *words):
                    continue
                clause = self.measured(means, i, j + len(words), owner)
                if clause is not None:
                    return clause
        return None

    def measured(
        self, means: str, i: int, j: int, owner: Noun | None
    ) -> tuple[Clause, int] | None:
        """What is compared after a measure's name: ``of the ego is below 1.5 s``."""
        other: Noun | None = None
        if self.word(j) in ("of", "between") and owner is None:
            found = self.noun(j + 1, subject=False)
            if found is not None:
                pair = self.word(j) == "between"
                owner, j = found
                if pair and self.said(j, "and"):
                    second = self.noun(j + 1, subject=False)
                    if second is not None:
                        other, j = second
                if pair and other is None:
                    self.wrong(
                        owner.place, f"Between `{self.text[slice(*owner.place)]}` and whom?",
                        hint="Name both: `between the ego and the truck`.",
                    )  # fmt: skip
        if other is None and self.word(j) in ("to", "with", "from"):
            found = self.noun(j + 1, subject=False)
            if found is not None:
                other, j = found
        if self.word(j) in (*IS, "falls", "drops", "goes", "gets", "stays", "rises"):
            self.reach(j + 1)
            j += 1
        if self.word(j) in ("exceeds", "exceeded"):
            compared = self.quantity(j + 1, ">")
        else:
            compared = self.compare(j) or (self.compare(j + 1) if self.word(j) == "of" else None)
        if compared is None:
            return None
        if owner is None and other is None and self.word(compared[1]) == "between":
            owner, other, end = self.of_whom(compared[1])
            compared = (compared[0], end)
        subject = owner or Noun(who="anyone", words="", place=self.span(i, j))
        told = Told(means=means, other=other, compare=compared[0], place=self.span(i, compared[1]))
        return Clause(subject=subject, told=told, place=self.span(i, compared[1])), compared[1]

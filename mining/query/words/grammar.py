r"""From a sentence to what it consists of.

.. code-block:: text

    sentence := [opening] [fact ...] group (link group)* ["."]
    opening  := ["show me" ...] ["rare"] "scenes" [fact ...] ["where"]
    group    := clause (("," | "and" | "but") clause)* | clause ("or" clause)*
    link     := "then" | "before" | "after" | "while" | "followed by" ...
    clause   := fact sentence | "there is" noun where | event | measure | [noun] told aside*
    told     := a phrase of the lexicon, denied or not
    aside    := place | fact | time | "twice" | "at once" | "without" told
    noun     := ("a" | "the" | "no" | number ...) adjective* class [relative] | "ego" | "it" ...

The longest phrase that fits is taken. Nothing is left out: a word that has no place is an error,
told with what is nearest to it.
"""

from __future__ import annotations

from mining.query.tree import Compare, Fact, Node
from mining.query.words import lexicon
from mining.query.words.clauses import Clauses
from mining.query.words.openings import LINKS, SCENES, SHOW, WHERE
from mining.query.words.phrases import Phrases
from mining.query.words.sentence import Group, Sentence, Step
from mining.query.words.somebody import IS
from mining.query.words.tokens import tokens_of

LONGEST = 2_000
"""[characters] A longer text is no sentence."""
_DROPPED = {"also", "please"}
"""Words that change nothing."""


def read(text: str, phrases: Phrases) -> Sentence:
    """What a sentence consists of.

    Args:
        text: The sentence.
        phrases: All that may be said.

    Raises:
        BadExpression: Some of it is not understood, with its place and what is nearest.
    """
    return _Reader(text, phrases).sentence()


class _Reader(Clauses):
    """Reads one sentence."""

    def sentence(self) -> Sentence:
        """All of it."""
        if len(self.text) > LONGEST:
            self.wrong(
                (0, 80), f"This text of {len(self.text):,} characters is no sentence",
                hint="Ask for one situation at a time.",
            )  # fmt: skip
        self.tokens = [t for t in tokens_of(self.text) if t.word not in _DROPPED or t.quoted]
        while self.tokens and self.tokens[-1].word in (".", ";", ","):
            self.tokens.pop()
        if not self.tokens:
            self.wrong(
                (0, 0), "There is nothing to look for",
                hint="Such as: a car cuts in in front of the ego.",
            )  # fmt: skip
        self.see_that_words_are_known()
        facts, perhaps, i = self.opening()
        i = self.comma(i)
        if facts and i == len(self.tokens):
            return Sentence(facts=facts, first=None, steps=(), perhaps=perhaps)
        first, steps, i = self.groups(i)
        if i < len(self.tokens):
            self.not_understood()
        return Sentence(facts=facts, first=first, steps=tuple(steps), perhaps=perhaps)

    def groups(self, i: int) -> tuple[Group, list[Step], int]:
        """Everything that happens, in the order in which it is said: ``after a car cuts in, …``."""
        steps: list[Step] = []
        begin, soon = self.within(i)
        front = next((link for link in LINKS if self.word(begin) == link[0][0] and len(link[0]) == 1
                      and link[0] != ("then",)), None)  # fmt: skip
        if front is not None:
            words, order, _ = front
            first, i = self.group(begin + 1, inherits=False, commas=False)
            second, i = self.group(self.comma(i), inherits=True)
            # "after A, B" is "A before B", and only "before A, B" turns them round.
            steps.append(
                Step(group=second, order=order, reversed=words == ("before",), within=soon)
            )
        else:
            first, i = self.group(i, inherits=False)
        while (link := self.link(i)) is not None:
            order, reverse, begin = link
            begin, within = self.within(begin)
            last = (steps[-1].group if steps else first).clauses[-1].subject
            # Who brakes in "a cut-in followed by hard braking" need not be who cuts in.
            whoever = self.word(begin - 1) == "by" and last is not None and not last.words
            group, i = self.group(self.comma(begin), inherits=not whoever)
            steps.append(Step(group=group, order=order, reversed=reverse, within=within))
        return first, steps, i

    # What stands in front.

    def opening(self) -> tuple[tuple[Node, ...], bool, int]:
        """What stands before what happens: ``show me rare scenes at night where perhaps``."""
        facts: list[Node] = []
        i = 0
        if self.word(i) in SHOW:
            i += 1
            i += self.word(i) == "me"
            i += self.word(i) == "for"
        j = i + (self.word(i) in ("all", "the", "any", "every", "a"))
        while True:
            if self.word(j) in ("rare", "unusual") or (
                self.word(j) == "very" and self.word(j + 1) == "rare"
            ):
                j += self.word(j) == "very"
                facts.append(
                    Fact("rarity", (), Compare(">=", lexicon.RARE), place=self.span(j, j + 1))
                )
            elif self.word(j) in ("generated", "synthetic"):
                facts.append(Fact("source", ("generated",), place=self.span(j, j + 1)))
            elif self.word(j) in ("recorded", "real", "logged"):
                facts.append(Fact("source", ("log",), place=self.span(j, j + 1)))
            else:
                break
            j += 1
        if self.word(j) in SCENES and not (self.word(j) == "scene" and not facts and j == 0):
            i = self.about_scenes(j + 1, facts)
        else:
            facts.clear()
        i, perhaps = self.perhaps(i)
        i = self.leading(i, facts)
        if facts and self.said(i, "where"):
            i += 1
        return tuple(facts), perhaps, i

    def about_scenes(self, i: int, facts: list[Node]) -> int:
        """What is said of scenes, up to what happens in them."""
        self.reach(i)
        while True:
            i = self.comma(i)
            skip = i + (2 if self.word(i) in ("that", "which") and self.word(i + 1) in IS else 0)
            skip += self.word(skip) == "and"
            found = self.fact(skip) or self.scene_fact(skip)
            if found is None:
                break
            facts.extend(found[0])
            i = found[1]
        for words in WHERE:
            if self.said(i, *words):
                return i + len(words)
        return i

    def scene_fact(self, i: int) -> tuple[tuple[Node, ...], int] | None:
        """``longer than 10 s``, ``lasting at least 10 s``, ``rarer than 0.9``."""
        name = {"rarer": "rarity"}.get(self.word(i), "duration")
        j = i
        if self.word(i) == "rarer" and self.word(i + 1) == "than":
            counted = self.quantity(i + 2, ">", i)
        else:
            j += self.word(i) == "lasting"
            if j == i and self.word(i) not in ("longer", "shorter"):
                return None
            counted = self.compare(j)
        if counted is None:
            return None
        return (Fact(name, (), counted[0], place=self.span(i, counted[1])),), counted[1]

    def perhaps(self, i: int) -> tuple[int, bool]:
        if self.word(i) in ("possibly", "perhaps", "maybe"):
            self.reach(i + 1)
            return self.comma(i + 1), True
        return i, False

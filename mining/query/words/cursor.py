"""The words of a sentence, and how far they have been understood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from mining.query.mistakes import BadExpression
from mining.query.tree import Place
from mining.query.words.phrases import Phrases
from mining.query.words.sentence import Noun
from mining.query.words.tokens import Token


@dataclass
class Cursor:
    """Looks at the tokens of one sentence, each by its number.

    Attributes:
        text: The sentence.
        phrases: What is known.
        tokens: The sentence's words.
        farthest: The first token that was never understood.
        hint: What to do about it, if that is known better than by looking at the words.
        nouns: Who begins at a token, as read before: as a subject or not, and how deep.
        depth: How many relative clauses are being read.
    """

    text: str
    phrases: Phrases
    tokens: list[Token] = field(default_factory=list)
    farthest: int = 0
    hint: str = ""
    nouns: dict[tuple[int, bool, int], tuple[Noun, int] | None] = field(default_factory=dict)
    depth: int = 0

    def wrong(self, place: Place, reason: str, *, hint: str = "") -> NoReturn:
        """Refuses the sentence."""
        raise BadExpression(self.text, place, reason, hint=hint)

    def word(self, i: int) -> str:
        """The word there, or nothing: a text in quotes is no word."""
        return self.tokens[i].word if i < len(self.tokens) and not self.tokens[i].quoted else ""

    def said(self, i: int, *words: str) -> bool:
        """Whether these words stand there."""
        found = all(self.word(i + k) == word for k, word in enumerate(words))
        if found:
            self.reach(i + len(words))
        return found

    def reach(self, i: int) -> None:
        """Understanding came so far."""
        self.farthest = max(self.farthest, i)

    def comma(self, i: int) -> int:
        """Past a comma, if one stands there."""
        return i + 1 if self.word(i) == "," else i

    def span(self, i: int, j: int) -> Place:
        """From the begin of a token to the end of the one before another."""
        j = max(j, i + 1)
        if i >= len(self.tokens):
            return (len(self.text), len(self.text))
        return (self.tokens[i].place[0], self.tokens[min(j, len(self.tokens)) - 1].place[1])

    def name_at(self, i: int) -> tuple[str, int]:
        """A name, in quotes or up to the next blank, and the token after it."""
        token = self.tokens[i]
        if token.quoted:
            return token.word, i + 1
        begin = token.place[0]
        raw = self.text[begin:].split()[0].rstrip(",.;!?")
        j = i
        while j < len(self.tokens) and self.tokens[j].place[0] < begin + max(1, len(raw)):
            j += 1
        return raw, j

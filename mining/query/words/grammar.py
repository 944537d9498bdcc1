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

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, TypeAlias

from mining.query.classes import ALIASES, CLASSES
from mining.query.mistakes import BadExpression
from mining.query.parse import DEFAULT_COSINE
from mining.query.tree import Call, Compare, Fact, Node, Not, Operator, Order, Place, Similar
from mining.query.units import SI
from mining.query.words import lexicon
from mining.query.words.phrases import PLURALS, Form, Phrase, Phrases, classes_said, spelt
from mining.query.words.sentence import Clause, Denied, Group, Noun, Sentence, Step, Told
from mining.query.words.tokens import (
    UNIT_WORDS,
    Token,
    number_at,
    tokens_of,
    unit_at,
)

LONGEST = 2_000
"""[characters] A longer text is no sentence."""

_SHOW = ("show", "find", "list", "give", "get", "search")
_SCENES = (
    "scenes",
    "scene",
    "scenarios",
    "scenario",
    "situations",
    "situation",
    "cases",
    "moments",
    "clips",
)
_WHERE = (
    ("where",), ("in", "which"), ("when",), ("during", "which"), ("in", "that"), ("with",), ("of",),
    ("that", "have"), ("that", "show"),
)  # fmt: skip
_LINKS: tuple[tuple[tuple[str, ...], Order, bool], ...] = (
    (("and", "then"), "then", False), (("then",), "then", False), (("after", "that"), "then", False),
    (("and", "after", "that"), "then", False), (("afterwards",), "then", False),
    (("and", "afterwards"), "then", False), (("followed", "by"), "then", False),
    (("before",), "before", False), (("after",), "before", True), (("while",), "overlaps", False),
    (("whilst",), "overlaps", False), (("when",), "overlaps", False), (("as",), "overlaps", False),
)  # fmt: skip
_IS = ("is", "are", "was", "were")
_COMPARE: tuple[tuple[tuple[str, ...], Operator], ...] = (
    *(((w, "than"), ">") for w in ("more", "greater", "higher", "larger", "longer")),
    *(((w,), ">") for w in ("over", "above", "exceeding", ">")),
    (("at", "least"), ">="), (("no", "less", "than"), ">="), (("not", "less", "than"), ">="),
    (("no", "fewer", "than"), ">="),
    *(((w, "than"), "<") for w in ("less", "lower", "smaller", "shorter", "fewer")),
    *(((w,), "<") for w in ("below", "under", "<")),
    (("at", "most"), "<="), (("no", "more", "than"), "<="), (("not", "more", "than"), "<="),
    (("up", "to"), "<="), (("exactly",), "="),
)  # fmt: skip
_AGREE = {"is": "be", "are": "be"}
_DROPPED = {"also", "please"}
"""Words that change nothing."""
_KNOWN = frozenset(
    re.findall(
        r"\w+",
        """a an the no any some one another that who which it its he him she her they them
        someone somebody something anyone anybody anything nobody nothing does do did is are was were
        be been being has have had not never fails fail failed to without and or but then before after
        afterwards while whilst when as followed by within for at least most more than less greater
        higher larger longer over above below under exactly lower smaller shorter fewer up once twice
        times time same simultaneously there between with of rare unusual rarer very similar like
        where in which during me all every possibly perhaps maybe falls drops goes gets stays
        rises lasting first second third fourth fifth exceeding half hundred point either having""",
    )
)
_FEW = 100
"""How many phrases are compared with what is not understood."""
_ARTICLES = ("a", "an", "the", "no", "another", "parked", "stopped", "second", "first")
_ORDINALS = {w: n for n, w in enumerate(("first", "second", "third", "fourth", "fifth"), 1)}
_UNSAID = {
    "every": "A query cannot say `every`; `no car brakes` or `at least three cars brake` can be asked.",
    "each": "A query cannot say `each`; `no car brakes` or `at least three cars brake` can be asked.",
    "several": "Say how many: `at least three`.", "many": "Say how many: `at least five`.",
    "few": "Say how many: `at most two`.", "immediately": "Say how soon: `within 1 s`.",
    "soon": "Say how soon: `within 3 s`.", "shortly": "Say how soon: `within 3 s`.",
    "suddenly": "Say how hard: `brakes hard`, `brakes harder than 5 m/s2`.",
    "because": "A query does not know causes: say `then` or `while`.",
    "until": "Say `before`, or `for at least 3 s`.", "child": "Say `pedestrian`.",
    "van": "Say `car` or `vehicle`.", "taxi": "Say `car`.", "suv": "Say `car`.", "if": "Say `while` or `then`.",
    "leader": "Say `a vehicle ahead of the ego`.", "always": "Say `for at least 10 s`.",
    "crosses": "Say `crosses in front of the ego`.",
}  # fmt: skip
"""What cannot be said so, and what can."""

AtLeast: TypeAlias = Literal[">=", "<="]


def read(text: str, phrases: Phrases) -> Sentence:
    """What a sentence consists of.

    Args:
        text: The sentence.
        phrases: All that may be said.

    Raises:
        BadExpression: Some of it is not understood, with its place and what is nearest.
    """
    return _Reader(text, phrases).sentence()


@dataclass
class _Reader:
    """Reads one sentence.

    Attributes:
        text: The sentence.
        phrases: What is known.
        tokens: The sentence's words.
        farthest: The first token that was never understood.
    """

    text: str
    phrases: Phrases
    tokens: list[Token] = field(default_factory=list)
    farthest: int = 0
    hint: str = ""
    nouns: dict[tuple[int, bool, int], tuple[Noun, int] | None] = field(default_factory=dict)
    depth: int = 0

    def sentence(self) -> Sentence:
        """All of it."""
        if len(self.text) > LONGEST:
            self.wrong((0, 80), f"This text of {len(self.text):,} characters is no sentence")
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

    # What goes wrong.

    def wrong(self, place: Place, reason: str, *, hint: str = "") -> NoReturn:
        raise BadExpression(self.text, place, reason, hint=hint)

    def see_that_words_are_known(self) -> None:
        """Whether each word is one of some phrase at all."""
        known = (
            _KNOWN
            | UNIT_WORDS
            | self.phrases.words
            | _class_words()
            | frozenset(SI)
            | _other_words()
        )
        named: set[int] = set()
        for k, token in enumerate(self.tokens):
            if token.word in ("scene", "dataset", "location", "split"):
                named |= {*range(k + 1, self.name_at(k + 1)[1] if k + 1 < len(self.tokens) else 0)}
                if token.word == "split" and k:
                    named.add(k - 1)
            elif token.word in ("recorded", "filmed") and self.said(k + 1, "in"):
                named.add(k + 2)
        unknown = [
            (k, t) for k, t in enumerate(self.tokens)
            if not (k in named or t.quoted or t.number is not None or t.word in known)
            and number_at(self.tokens, k) is None and t.word not in (",", "=", ".", ";")
        ]  # fmt: skip
        if not unknown:
            return
        first, token = unknown[0]
        words = ", ".join(f"`{t.word}`" for _, t in unknown)
        told = "is no word" if len(unknown) == 1 else "are no words"
        self.wrong(token.place, f"{words} {told} that I know", hint=self.nearest(first))

    def not_understood(self) -> NoReturn:
        """What stands where understanding ended."""
        at = min(self.farthest, len(self.tokens))
        if at == len(self.tokens):
            end = len(self.text.rstrip(" .!?"))
            self.wrong(
                (end, end), "The sentence breaks off here", hint=self.hint or self.nearest(at - 1)
            )
        token = self.tokens[at]
        word = self.text[slice(*token.place)]
        if token.word in ("and", "or", "but", ",", "then") and not self.hint:
            self.wrong(
                token.place, f"`{word}` is not understood here",
                hint="What follows must be said in full: who, and what they do.",
            )  # fmt: skip
        self.wrong(
            token.place, f"`{word}` is not understood here", hint=self.hint or self.nearest(at)
        )

    def nearest(self, at: int) -> str:
        """The phrases nearest to what stands about a token."""
        word = self.tokens[at].word
        if word in _UNSAID:
            return _UNSAID[word]
        if word in PLURALS:
            return f"Say how many: `at least two {word}`."
        if at and self.tokens[at - 1].word in _ARTICLES:
            classes = difflib.get_close_matches(word, (*CLASSES, *ALIASES), n=1)
            return (
                f"Did you mean `{classes[0]}`?"
                if classes
                else f"Somebody is a {', '.join(CLASSES)}."
            )
        near = (word, *difflib.get_close_matches(word, self.phrases.said_with, n=2, cutoff=0.8))
        known = [p for w in near for p in self.phrases.said_with.get(w, ())]
        if not known and at:
            known = self.phrases.said_with.get(self.tokens[at - 1].word, [])
        tries: list[tuple[float, str]] = []
        for begin in range(max(0, at - 2), at + 1):
            said = " ".join(_AGREE.get(t.word, t.word) for t in self.tokens[begin : at + 3])
            match = difflib.SequenceMatcher(None, "", said)
            for guess in known[:_FEW]:
                if guess in (said, word):
                    continue
                match.set_seq1(guess)
                tries.append((-match.ratio(), guess))
        best = list(dict.fromkeys(guess for _, guess in sorted(tries)))[:2]
        told = " or ".join(f"`{_shown(guess)}`" for guess in best)
        return (
            f"Did you mean {told}?"
            if told
            else "`mine ask --vocabulary` lists all that can be said."
        )

    # Small pieces.

    def word(self, i: int) -> str:
        return self.tokens[i].word if i < len(self.tokens) and not self.tokens[i].quoted else ""

    def said(self, i: int, *words: str) -> bool:
        """Whether these words stand there."""
        found = all(self.word(i + k) == word for k, word in enumerate(words))
        if found:
            self.reach(i + len(words))
        return found

    def reach(self, i: int) -> None:
        self.farthest = max(self.farthest, i)

    def comma(self, i: int) -> int:
        return i + 1 if self.word(i) == "," else i

    def span(self, i: int, j: int) -> Place:
        """From the begin of a token to the end of the one before another."""
        j = max(j, i + 1)
        if i >= len(self.tokens):
            return (len(self.text), len(self.text))
        return (self.tokens[i].place[0], self.tokens[min(j, len(self.tokens)) - 1].place[1])

    def compare(self, i: int) -> tuple[Compare, int] | None:
        """``more than 5 m/s2``."""
        for words, op in _COMPARE:
            if self.said(i, *words):
                j = i + len(words)
                if words in ((">",), ("<",)) and self.word(j) == "=":
                    op, j = ("<=" if op == "<" else ">="), j + 1
                return self.quantity(j, op, i)
        bare = self.quantity(i, ">=", i)
        if bare is None:
            return None
        told, j = bare
        for more, op in (("more", ">="), ("above", ">="), ("less", "<="), ("below", "<=")):
            if self.said(j, "or", more):
                return replace(told, op=op, place=self.span(i, j + 2)), j + 2
        self.hint = f"Say how it compares: `at least {self.text[slice(*told.place)]}`."
        return None

    def quantity(
        self, i: int, op: Operator, begin: int | None = None
    ) -> tuple[Compare, int] | None:
        """A number with its unit, if it has one."""
        number = number_at(self.tokens, i)
        if number is None and self.word(i) in ("a", "an") and self.word(i + 1) in UNIT_WORDS:
            number = (1.0, i + 1)  # "within a minute"
        if number is None or (self.word(i) in ("a", "an") and not unit_at(self.tokens, number[1])):
            return None
        value, j = number
        unit = unit_at(self.tokens, j)
        written, j = unit if unit else ("", j)
        self.reach(j)
        return Compare(op, value, written, self.span(i if begin is None else begin, j)), j

    def seconds(self, i: int) -> tuple[float, int] | None:
        """A time."""
        found = self.quantity(i, ">=")
        if found is None:
            return None
        told, j = found
        kind, factor = SI.get(told.unit, ("", 0.0))
        if kind != "s":
            number = f"{told.number:g}"
            self.wrong(
                told.place,
                f"`{told.unit}` is no unit of time" if told.unit else f"{number} of what? A time needs its unit",
                hint=f"Say {number} s, or ms or min.",
            )  # fmt: skip
        return told.number * factor, j

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
            place=self.span(i, j),
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
            if word in ("does", "do", "did", *_IS):
                self.reach(after)
            if word in ("does", "do", "did") and denied:
                look(after, "base", denied=denied)
            elif word in _IS or word == "being":
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
        if self.said(i, "not"):
            return "not", i + 1
        return ("never", i + 1) if self.said(i, "never") else ("", i)

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
        ends = [i + len(words) for words in _EGOS if self.said(i, *words)]
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
        for words, cls, plural in classes_said():
            if (many is None or plural == many) and self.said(i, *words):
                return cls, i + len(words)
        return None

    def adjective(self, i: int) -> tuple[Told, int] | None:
        forms: tuple[Form, ...] = ("be", "ing")
        for form in forms:
            for told, j in self.matches(form, i):
                if told.other is None and told.compare is None and j <= i + 2:
                    return told, j
        return None

    def described(self, noun: Noun, i: int, j: int, *, subject: bool) -> tuple[Noun, int]:
        """With the relative clause, and where they are if they are the subject."""
        if self.word(j) in ("that", "who", "which") and self.depth == 0:
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
            if not (more and self.said(j, "and") and self.told(j + 1) is not None):
                return asides, j
            j += 1

    # Asides.

    def place(self, i: int) -> tuple[Told, int] | None:
        denied: Denied = ""
        j = i
        if self.word(i) == "not":
            denied, j = "not", i + 1
        for told, end in self.matches("place", j)[:1]:
            self.reach(end)
            return replace(told, denied=denied, place=self.span(i, end)), end
        return None

    def fact(self, i: int) -> tuple[tuple[Node, ...], int] | None:
        """``at night``, ``not in the rain``, ``in rain or snow``, ``with more than 20 agents``."""
        if self.word(i) == "not":
            inner = None if self.word(i + 1) == "not" else self.fact(i + 1)
            if inner is None:
                return None
            facts, j = inner
            return tuple(Not(f, place=self.span(i, j)) for f in facts), j
        for found in (self.similar(i), self.amount(i), self.named(i)):
            if found is not None:
                self.reach(found[1])
                return (found[0],), found[1]
        told = self.plain_fact(i, "fact")
        if told is None:
            return None
        node, j = told
        while isinstance(node, Fact) and self.word(j) == "or":
            more = self.plain_fact(j + 1, "fact") or self.same_kind(i, j)
            if more is None or not isinstance(more[0], Fact) or more[0].name != node.name:
                break
            words = tuple(dict.fromkeys((*node.words, *more[0].words)))
            node, j = Fact(node.name, words, place=self.span(i, more[1])), more[1]
        self.reach(j)
        return (node,), j

    def same_kind(self, i: int, j: int) -> tuple[Node, int] | None:
        """The second of ``in rain or snow``: as if the words before `rain` stood before `snow`."""
        for before in (1, 2):
            lead = tuple(t.word for t in self.tokens[i : i + before])
            for (form, first), phrases in self.phrases.by_word.items():
                if form != "fact" or first != lead[0]:
                    continue
                for phrase in phrases:
                    rest = phrase.words[before:]
                    if phrase.words[:before] == lead and rest and self.said(j + 1, *rest):
                        end = j + 1 + len(rest)
                        return _fact_node(phrase.means, self.span(j + 1, end)), end
        return None

    def plain_fact(self, i: int, form: Form) -> tuple[Node, int] | None:
        for told, j in self.matches(form, i)[:1]:
            return _fact_node(told.means, self.span(i, j)), j
        return None

    def similar(self, i: int) -> tuple[Node, int] | None:
        cosine: Compare | None = None
        j = i
        counted = self.compare(i)
        if counted is not None and self.word(counted[1]) == "similar":
            cosine, j = counted
        if self.said(j, "similar", "to"):
            j += 2
        elif self.word(j) == "like" and cosine is None:
            j += 1
        else:
            return None
        j += self.word(j) == "the"
        quoted = j < len(self.tokens) and self.tokens[j].quoted
        j -= quoted  # a name in quotes needs no `scene` before it
        if not (quoted or self.said(j, "scene")) or j + 1 >= len(self.tokens):
            self.reach(j)
            return None
        scene, j = self.name_at(j + 1)
        if cosine is None and self.word(j) in ("by", "with"):
            counted = self.compare(j + 1)
            if counted is not None and not counted[0].unit:
                cosine, j = counted
        told = cosine or Compare(">=", DEFAULT_COSINE)
        return Similar(scene, told, place=self.span(i, j)), j

    def amount(self, i: int) -> tuple[Node, int] | None:
        """``with more than 20 agents``, ``with a duration above 10 s``."""
        if self.word(i) not in ("with", "of", "having"):
            return None
        j = i + 1
        counted = self.compare(j) or self.quantity(j, ">=")
        if counted is None and self.word(j) == "no":
            counted = Compare("=", 0.0, "", self.span(j, j + 1)), j + 1
        if counted is not None:
            for name, nouns in lexicon.AMOUNTS.items():
                for noun in nouns:
                    if self.said(counted[1], *noun.split()):
                        end = counted[1] + len(noun.split())
                        return Fact(name, (), counted[0], place=self.span(i, end)), end
            return None
        j += self.word(j) in ("a", "an", "the")
        for name, nouns in lexicon.VALUES.items():
            for words in (w for noun in nouns for w in spelt(noun)):
                if self.said(j, *words):
                    k = j + len(words)
                    k += self.word(k) == "of"
                    compared = self.compare(k)
                    if compared is not None:
                        told = Fact(name, (), compared[0], place=self.span(i, compared[1]))
                        return told, compared[1]
        return None

    def named(self, i: int) -> tuple[Node, int] | None:
        """``in the dataset argoverse2_sensor``, ``in the val split``."""
        for name, ways in lexicon.NAMED.items():
            for words in (w for way in ways for w in spelt(way)):
                if self.said(i, *words) and i + len(words) < len(self.tokens):
                    value, j = self.name_at(i + len(words))
                    return Fact(name, (value,), place=self.span(i, j)), j
        if (
            self.word(i) in ("in", "from")
            and self.word(i + 1) == "the"
            and i + 3 < len(self.tokens)
        ):
            value, j = self.name_at(i + 2)
            if self.word(j) in ("split", "dataset"):
                name = self.word(j)
                self.reach(j + 1)
                return Fact(name, (value,), place=self.span(i, j + 1)), j + 1
        return None

    # Clauses.

    def opening(self) -> tuple[tuple[Node, ...], bool, int]:
        """What stands before what happens: ``show me rare scenes at night where perhaps``."""
        facts: list[Node] = []
        i = 0
        if self.word(i) in _SHOW:
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
        if self.word(j) in _SCENES and not (self.word(j) == "scene" and not facts and j == 0):
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
            skip = i + (2 if self.word(i) in ("that", "which") and self.word(i + 1) in _IS else 0)
            skip += self.word(skip) == "and"
            found = self.fact(skip) or self.scene_fact(skip)
            if found is None:
                break
            facts.extend(found[0])
            i = found[1]
        for words in _WHERE:
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

    def leading(self, i: int, facts: list[Node]) -> int:
        """Facts in front: ``at night, a car …``."""
        while True:
            found = self.fact(i)
            if found is None:
                return i
            facts.extend(found[0])
            i = self.comma(found[1])

    def groups(self, i: int) -> tuple[Group, list[Step], int]:
        """Everything that happens, in the order in which it is said."""
        steps: list[Step] = []
        front = next((link for link in _LINKS if self.word(i) == link[0][0] and len(link[0]) == 1
                      and link[0] != ("then",)), None)  # fmt: skip
        if front is not None:
            words, order, _ = front
            first, i = self.group(i + 1, inherits=False, commas=False)
            second, i = self.group(self.comma(i), inherits=True)
            # "after A, B" is "A before B", and only "before A, B" turns them round.
            steps.append(Step(group=second, order=order, reversed=words == ("before",)))
        else:
            first, i = self.group(i, inherits=False)
        while (link := self.link(i)) is not None:
            order, reverse, begin = link
            begin, within = self.within(begin)
            group, i = self.group(self.comma(begin), inherits=True)
            steps.append(Step(group=group, order=order, reversed=reverse, within=within))
        return first, steps, i

    def link(self, i: int) -> tuple[Order, bool, int] | None:
        j = self.comma(i)
        if self.word(j) == ";":
            j += 1
        found = [(order, rev, j + len(w)) for w, order, rev in _LINKS if self.said(j, *w)]
        return max(found, key=lambda link: link[2], default=None)

    def within(self, i: int) -> tuple[int, tuple[float, Place] | None]:
        if self.word(i) != "within":
            return i, None
        told = self.quantity(i + 1, "<=")
        if told is None or (SI.get(told[0].unit, ("s",))[0] != "s" and self.word(told[1]) == "of"):
            return i, None  # "within 5 m of a truck" is a place
        found = self.seconds(i + 1)
        return (i, None) if found is None else (found[1], (found[0], self.span(i, found[1])))

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

    def see_verb(self, denied: Denied, told: Told) -> None:
        if told.bare in (("base", "ing") if denied == "not" else ("base", "ing", "third", "past")):
            said = self.text[slice(*told.place)]
            self.wrong(
                told.place, f"`{said}` may be denied too, or not",
                hint="Name who does so, or say `and does not …` again.",
            )  # fmt: skip

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
            self.there_is(start) or self.event(start) or self.measure(start)
            or self.plain(start) or (self.inherited(start) if inherits else None)
        )  # fmt: skip
        if found is None:
            return None
        made, j = found
        made = replace(made, facts=(*facts, *made.facts), within=within, place=self.span(begin, j))
        return self.asides(made, j, begin)

    def ends(self, i: int) -> bool:
        return i >= len(self.tokens) or self.word(i) in (",", "and", "or", "but", "then") or (
            self.link(i) is not None
        )  # fmt: skip

    def plain(self, i: int) -> tuple[Clause, int] | None:
        noun = self.noun(i, subject=True)
        if noun is None:
            return None
        facts: list[Node] = []
        told = self.told(noun[1]) or self.told(self.leading(noun[1], facts))
        if told is None:
            if noun[0].relative:
                self.hint = f"Say what the {noun[0].words} does, beside the words after `that`."
            return None
        made = Clause(
            subject=noun[0], told=told[0], facts=tuple(facts), place=self.span(i, told[1])
        )
        return made, told[1]

    def inherited(self, i: int) -> tuple[Clause, int] | None:
        told = self.told(i)
        return (
            None if told is None else (Clause(told=told[0], place=self.span(i, told[1])), told[1])
        )

    def there_is(self, i: int) -> tuple[Clause, int] | None:
        """``there is a truck that is parked``, ``there are at least three cars near the ego``."""
        if not (self.word(i) == "there" and self.word(i + 1) in _IS):
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

    def event(self, i: int) -> tuple[Clause, int] | None:
        """``a near miss between the ego and a cyclist``, ``a cut-in by a truck``."""
        none = self.word(i) == "no"
        j = i + (self.word(i) in ("a", "an", "the", "no", "any"))
        for means, nouns in lexicon.EVENTS.items():
            for words in (w for noun in nouns for w in spelt(noun)):
                if not self.said(j, *words):
                    continue
                begin = j + len(words)
                who, other, k = self.of_whom(begin)
                if j == i and k == begin:
                    continue  # a verb, unless an article or somebody says that it is a noun
                subject = who or Noun(who="anyone", words="", place=self.span(j, k))
                told = Told(
                    means=means, other=other, place=self.span(j, k), denied="not" if none else ""
                )
                return Clause(subject=subject, told=told, place=self.span(i, k)), k
        return None

    def of_whom(self, i: int) -> tuple[Noun | None, Noun | None, int]:
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
        elif self.word(i) in ("the", "a"):
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
        if other is None and self.word(j) in ("to", "with", "from"):
            found = self.noun(j + 1, subject=False)
            if found is not None:
                other, j = found
        if self.word(j) in (*_IS, "falls", "drops", "goes", "gets", "stays", "rises"):
            self.reach(j + 1)
            j += 1
        compared = self.compare(j)
        if compared is None:
            return None
        subject = owner or Noun(who="anyone", words="", place=self.span(i, j))
        told = Told(means=means, other=other, compare=compared[0], place=self.span(i, compared[1]))
        return Clause(subject=subject, told=told, place=self.span(i, compared[1])), compared[1]

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
        if not first:
            self.wrong(
                self.span(i, j), f"`{self.text[slice(*self.span(i, j))]}` is said a second time",
                hint="Say it once, or in two clauses.",
            )  # fmt: skip
        return clause, j

    def times(self, i: int) -> tuple[Compare, int] | None:
        """``twice``, ``at least three times``."""
        op: Operator = ">="
        j = i
        for words, told in _COMPARE:
            if self.said(i, *words):
                op, j = told, i + len(words)
                break
        if self.word(j) == "twice" or (self.word(j) == "once" and j > i):
            number = 2.0 if self.word(j) == "twice" else 1.0
            return Compare(op, number, "", self.span(i, j + 1)), j + 1
        number_ = number_at(self.tokens, j)
        if number_ is not None and self.word(number_[1]) in ("times", "time"):
            end = number_[1] + 1
            return Compare(op, number_[0], "", self.span(i, end)), end
        return None

    def lasting(self, i: int) -> tuple[tuple[AtLeast, float], int] | None:
        """``for at least 2 s``."""
        if self.word(i) not in ("for", "lasting"):
            return None
        op: AtLeast = ">="
        j = i + 1
        for words, told in _COMPARE:
            if self.said(j, *words):
                op, j = (">=" if told in (">", ">=") else "<="), j + len(words)
                if told == "=":
                    return None
                break
        if number_at(self.tokens, j) is None:
            return None
        found = self.seconds(j)
        if found is None:
            return None
        for more in ("more", "longer", "less", "shorter"):
            if self.said(found[1], "or", more):
                return (">=" if more in ("more", "longer") else "<=", found[0]), found[1] + 2
        return (op, found[0]), found[1]


def _fact_node(means: str, place: Place) -> Node:
    """A fact as the lexicon says it."""
    if means.startswith("not "):
        return Not(_fact_node(means.removeprefix("not "), place), place=place)
    name, _, word = means.partition(" is ")
    return Fact(name, (word,), place=place) if word else Call(name, (), None, place=place)


def _ends_in_relative(clause: Clause) -> bool:
    other = clause.told.other if clause.told else None
    return other is not None and other.relative and not clause.places


def _shown(phrase: str) -> str:
    slots = {
        "{other}": "the ego",
        "{actor}": "the ego",
        "{?}": "more than …",
        "{>}": "…",
        "{<}": "…",
        "{<=}": "…",
    }
    for slot, said in slots.items():
        phrase = phrase.replace(slot, said)
    return phrase


@functools.cache
def _class_words() -> frozenset[str]:
    return frozenset(w for words, _, _ in classes_said() for w in words)


@functools.cache
def _other_words() -> frozenset[str]:
    tables: Sequence[Mapping[str, tuple[str, ...]]] = (
        lexicon.NAMED, lexicon.AMOUNTS, lexicon.VALUES, lexicon.MEASURES, lexicon.EVENTS,
    )  # fmt: skip
    said = {
        w for t in tables for ways in t.values() for way in ways for ws in spelt(way) for w in ws
    }
    links = {w for words, _, _ in _LINKS for w in words}
    plain = {
        "very",
        "generated",
        "synthetic",
        "recorded",
        "real",
        "logged",
        "either",
        "having",
        "fail",
    }
    opened = {w for words in _WHERE for w in words} | {*_SHOW, *_SCENES} | plain
    return frozenset(
        said
        | links
        | opened
        | {w for words in _EGOS for w in words}
        | {"'s", "his", "their", "this"}
        | {"<", ">"}
    )


_AMOUNTS = frozenset(noun.split()[0] for nouns in lexicon.AMOUNTS.values() for noun in nouns)
_EGOS = tuple(words for way in lexicon.EGO for words in spelt(way))

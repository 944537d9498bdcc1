"""What is not understood: where it stands, and the known phrase that is nearest."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from mining.query.classes import ALIASES, CLASSES
from mining.query.units import SI
from mining.query.words import lexicon
from mining.query.words.openings import LINKS, SCENES, SHOW, WHERE
from mining.query.words.phrases import EGOS, PLURALS, classes_said, spelt
from mining.query.words.quantities import Quantities
from mining.query.words.tokens import UNIT_WORDS, number_at

_AGREE = {"is": "be", "are": "be"}
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
_EGO_WORDS = frozenset(word for words in EGOS for word in words)
_WHERE = ("at", "on", "in", "through", "across", "over", "along", "into", "to")
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
    "ambulance": "Say `an emergency vehicle`.", "police": "Say `an emergency vehicle`.",
    "sidewalk": "Sidewalks are not told: say `off the road`.", "pavement": "Pavements are not told: say `off the road`.",
    "oncoming": "Say `a car that is on the opposite side of the road to the ego`.",
    "avoid": "A query does not know why: say `then` or `while`.", "although": "Say `and` or `while`.",
    "neither": "Say `no car … and no truck …`.", "both": "Name each: `a car brakes and a truck brakes`.",
    "only": "Say also what is not so: `… and no car …`.",
    "how": "Matches are counted: say what happens, as in `the ego brakes hard`.",
    "does": "Say what happens, as in `the ego brakes hard`.", "which": "Say `scenes where …`.",
    "either": "Say it first: `either the ego brakes or it swerves`.",
    "once": "Say `at least once`, or leave it out.",
    "all": "A query cannot say `all`; `no car brakes` or `at least three cars brake` can be asked.",
    "leader": "Say `a vehicle ahead of the ego`.", "lead": "Say `a vehicle ahead of the ego`.", "always": "Say `for at least 10 s`.",
    "crosses": "Say `crosses in front of the ego`.",
}  # fmt: skip
"""What cannot be said so, and what can."""


class Unknown(Quantities):
    """Refuses what is not understood."""

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
        if word in (".", ";"):
            self.hint = "Say it in one sentence, joined by `then` or `and`."
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
        counted = at > 0 and number_at(self.tokens, at - 1) is not None
        if word in PLURALS and not counted:
            return f"Say how many: `at least two {word}`."
        if word in PLURALS:
            return f"Say what the {word} do or where they are: `… near the ego`."
        if self.word(at + 1) in PLURALS:
            return f"Say how many: `at least two {word} {self.word(at + 1)}`."
        where = at > 1 and self.tokens[at - 2].word in _WHERE and word in self.phrases.said_with
        if at and self.tokens[at - 1].word in _ARTICLES and not where:
            if word in CLASSES or word in ALIASES:
                return f"Say in a clause of its own what they do: `a {word} is near the ego`."
            classes = difflib.get_close_matches(word, (*CLASSES, *ALIASES), n=1)
            return (
                f"Did you mean `{classes[0]}`?"
                if classes
                else f"Somebody is a {', '.join(CLASSES)}."
            )
        near = (word, *difflib.get_close_matches(word, self.phrases.said_with, n=2, cutoff=0.8))
        known = [p for w in near for p in self.phrases.said_with.get(w, ())]
        if not known and at and self.tokens[at - 1].word not in _EGO_WORDS:
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
    return phrase.replace(" 's", "'s")


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
    links = {w for words, _, _ in LINKS for w in words}
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
    opened = {w for words in WHERE for w in words} | {*SHOW, *SCENES} | plain
    return frozenset(
        said
        | links
        | opened
        | {w for words in EGOS for w in words}
        | {"'s", "his", "their", "this"}
        | {"<", ">"}
    )

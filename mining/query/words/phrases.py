"""The phrases of the lexicon, written out: every verb in its forms, every choice made."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, TypeAlias

from mining.query.classes import ALIASES, CLASSES
from mining.query.words import lexicon
from mining.query.words.tokens import tokens_of

Form: TypeAlias = Literal["base", "third", "past", "ing", "part", "be", "place", "fact", "whole"]
"""Of the verb; ``be``: what follows `is`; ``place``; ``fact``: an aside; ``whole``: a sentence."""
VERB_FORMS: tuple[Form, ...] = ("base", "third", "past", "ing", "part")


@dataclass(frozen=True, slots=True)
class Phrase:
    """One way to say something.

    Attributes:
        means: Predicates or a fact, as the lexicon says them.
        words: Words and slots, such as ``{other}``.
        form: In which form of its verb.
        turned: The subject is the other one of the predicate.
        dictionary: As a person would look it up.
    """

    means: str
    words: tuple[str, ...]
    form: Form
    turned: bool
    dictionary: str

    @property
    def names_somebody(self) -> bool:
        """Whether somebody else stands in it."""
        return any(word in ("{other}", "{actor}") for word in self.words)


@dataclass(frozen=True)
class Phrases:
    """All phrases by form and first word.

    Attributes:
        by_word: Of each form, those that begin with a word; those that begin with a slot under it.
        words: Every word of any phrase.
        said: The phrases as a person would look them up.
        said_with: Of each word, those in which it stands.
    """

    by_word: dict[tuple[Form, str], list[Phrase]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    said_with: dict[str, list[str]] = field(default_factory=dict)

    def add(self, phrase: Phrase) -> None:
        """One more."""
        self.by_word.setdefault((phrase.form, phrase.words[0]), []).append(phrase)
        self.words.update(w for w in phrase.words if not w.startswith("{"))
        if phrase.dictionary not in self.said:
            self.said[phrase.dictionary] = phrase.means
            for word in dict.fromkeys(phrase.dictionary.split()):
                self.said_with.setdefault(word, []).append(phrase.dictionary)

    def all(self) -> Iterator[Phrase]:
        """Each."""
        for found in self.by_word.values():
            yield from found


def phrases(rules: Mapping[str, int]) -> Phrases:
    """The lexicon written out, with the names of what it does not tell of.

    Args:
        rules: How many actors each saved rule takes, by name.
    """
    made = Phrases()
    unsaid = lexicon.phrases_of(rules)
    does = [*lexicon.DOES.items(), *lexicon.COMPARED.items()]
    does += [(name, ways) for name, ways in unsaid.items() if not ways[0].startswith("~")]
    for means, ways in does:
        for way in ways:
            for phrase in _verb_phrases(means, way):
                made.add(phrase)
    for means, ways in (*lexicon.PLACES.items(), *lexicon.COMPARED_PLACES.items()):
        for way in ways:
            for words in spelt(way):
                made.add(_phrase(means, words, "place"))
    facts = [*lexicon.FACTS.items()]
    facts += [(name, ways) for name, ways in unsaid.items() if ways[0].startswith("~")]
    for means, ways in facts:
        for way in ways:
            for words in spelt(way.lstrip("~")):
                made.add(_phrase(means, words, "whole" if way.startswith("~") else "fact"))
                if way.startswith("~") and "is" in words:
                    at = words.index("is") + 1
                    made.add(_phrase(f"not {means}", (*words[:at], "not", *words[at:]), "whole"))
    for phrase in _measure_phrases():
        made.add(phrase)
    return made


@functools.cache
def spelt(way: str) -> tuple[tuple[str, ...], ...]:
    """A phrase with every choice made, in words as sentences are cut into."""
    choices = [
        [f"*{choice}" for choice in word[1:].split("|") if choice]
        if word[0] == "*"
        else word.split("|")
        for word in way.split()
    ]
    return tuple(
        tuple(w for word in chosen for w in ([word] if word[:1] == "{" else _cut(word)))
        for chosen in product(*choices)
    )


def _cut(word: str) -> list[str]:
    verb = "*" if word.startswith("*") else ""
    return [verb + token.word for token in tokens_of(word.lstrip("*").replace("+", " "))]


def forms_of(verb: str) -> dict[Form, list[str]]:
    """A verb in each of its forms, with other spellings."""
    if verb in lexicon.IRREGULAR:
        third, ing, past, part = lexicon.IRREGULAR[verb]
    else:
        hissing = verb.endswith(("s", "x", "z", "ch", "sh"))
        stem = verb[:-1] if verb.endswith("e") else verb
        to_i = f"{verb[:-1]}i" if verb.endswith("y") and verb[-2] not in "aeiou" else ""
        third = f"{to_i}es" if to_i else f"{verb}{'es' if hissing else 's'}"
        past = part = f"{to_i or stem}ed"
        ing = f"{stem}ing"
    return {
        "base": [verb], "third": third.split("|"), "past": past.split("|"), "ing": ing.split("|"),
        "part": part.split("|"),
    }  # fmt: skip


def _verb_phrases(means: str, way: str) -> Iterator[Phrase]:
    turned = way.startswith("< ") or "{actor}" in way
    for words in spelt(way.removeprefix("< ")):
        look_up = " ".join(words).replace("*", "")
        at = next((k for k, word in enumerate(words) if word.startswith("*")), None)
        if at is None or words[at] == "*be":
            rest = tuple(word for word in words if word not in ("be", "*be"))
            yield _phrase(means, rest, "be", turned, look_up)
            continue
        for form, spellings in forms_of(words[at][1:]).items():
            for said in spellings:
                yield _phrase(means, (*words[:at], said, *words[at + 1 :]), form, turned, look_up)


def _measure_phrases() -> Iterator[Phrase]:
    for means, nouns in lexicon.MEASURES.items():
        extreme = lexicon.HIGH if means in lexicon.HIGH_MEASURES else lexicon.LOW
        for noun in nouns:
            ways = [f"*have a|an {noun} {{?}}", f"*have a|an {noun} to|with|from {{other}} {{?}}",
                    f"*have a|an {noun} of {{?}}",
                    f"*have a|an {noun} {{?}} to|with|from {{other}}"]  # fmt: skip
            asides = [f"with|at a|an| {noun} {{?}}", f"with|at a|an| {noun} of {{?}}",
                      f"with|at a|an| {noun} to|with|from {{other}} {{?}}"]  # fmt: skip
            if means != "near":
                ways += [f"*have a|an {extreme} {noun}",
                         f"*have a|an {extreme} {noun} to|with {{other}}"]  # fmt: skip
                asides += [f"with|at a| {extreme} {noun}",
                           f"with|at a| {extreme} {noun} to|with {{other}}"]  # fmt: skip
            for way in ways:
                yield from _verb_phrases(means, way)
            for way in asides:
                for words in spelt(way):
                    yield _phrase(means, words, "place")


def _phrase(
    means: str, words: tuple[str, ...], form: Form, turned: bool = False, look_up: str = ""
) -> Phrase:
    turned = turned or "{actor}" in words
    return Phrase(means, words, form, turned, look_up or " ".join(words))


def _plurals() -> dict[str, str]:
    odd = {
        "bus": "buses", "person": "people", "lorry": "lorries", "vru": "vrus", "human": "humans",
    }  # fmt: skip
    return {odd.get(word, f"{word}s"): word for word in (*CLASSES, *ALIASES)}


PLURALS = _plurals()
"""Class words in the plural, each with its singular."""


@functools.cache
def classes_said() -> tuple[tuple[tuple[str, ...], str | None, bool], ...]:
    """Words for somebody, the class that they mean, whether they are many; the longest first."""
    longer = {
        "vulnerable road user": "vru", "motor vehicle": "vehicle", "traffic cone": "obstacle",
        "bicycle rider": "cyclist", "road user": None, "traffic participant": None, "agent": None,
        "actor": None,
    }  # fmt: skip
    made: list[tuple[tuple[str, ...], str | None, bool]] = []
    for words, cls in longer.items():
        made += [(tuple(words.split()), cls, False), (tuple(f"{words}s".split()), cls, True)]
    made += [((word,), ALIASES.get(word, word), False) for word in (*CLASSES, *ALIASES)]
    made += [((many,), ALIASES.get(word, word), True) for many, word in PLURALS.items()]
    return tuple(made)


EGOS = tuple(words for way in lexicon.EGO for words in spelt(way))
"""Words for the ego."""

"""Plain English to the query language, without a network: what is not understood is refused.

    a pedestrian crosses in front of the ego outside a crosswalk at night
    crosses_in_front(pedestrian p, ego) and not at_crosswalk(p) and daylight is night

A small grammar (:mod:`mining.query.words.grammar`) over a lexicon of phrases
(:mod:`mining.query.words.lexicon`) reads a sentence; :mod:`mining.query.words.meaning` makes its query.
The grammar is read from :mod:`~mining.query.words.cursor` up: each module adds one kind of phrase. Every word has its place or the sentence is refused, with the place and the nearest
phrase that is known. Whoever wants more may lend a language model: its answer is a query, read and
checked as any other, and never run as code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mining.predicates import PREDICATES
from mining.query.check import checked
from mining.query.classes import CLASSES
from mining.query.facts import FACTS
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from mining.query.rule import Rule
from mining.query.tree import Query
from mining.query.units import SI
from mining.query.words import lexicon
from mining.query.words.grammar import read
from mining.query.words.meaning import meant
from mining.query.words.phrases import Phrases
from mining.query.words.phrases import phrases as written_out


def translate(
    text: str,
    *,
    rules: Mapping[str, Rule] | None = None,
    propose: Callable[[str], str] | None = None,
) -> Query:
    """The query that a sentence says, checked, as a person would write it.

    Args:
        text: The sentence.
        rules: Saved rules, which are said by their names.
        propose: Answers a prompt with a query, such as a language model; asked only about what is
            not understood without it, and once more with the mistake if its answer has one.

    Raises:
        BadExpression: Some of it is not understood, or cannot be asked; with its place and what to do.
    """
    try:
        known = phrases_known(tuple((rules or {}).items()))
        query = meant(text, read(text, known))
        checked(query, rules)
    except BadExpression as refusal:
        if propose is None or not text.strip():
            raise
        return _proposed(text, refusal, propose, rules)
    return query


def phrases_known(rules: tuple[tuple[str, Rule], ...] = ()) -> Phrases:
    """Every phrase that sentences may be made of."""
    return _phrases(tuple((name, len(rule.actors)) for name, rule in rules), tuple(PREDICATES))


def vocabulary() -> list[tuple[str, str]]:
    """What can be said: what it means, and the words; ``a|b`` is either, ``…`` is somebody."""
    tables = (
        lexicon.DOES, lexicon.PLACES, lexicon.COMPARED, lexicon.COMPARED_PLACES, lexicon.FACTS,
        lexicon.phrases_of({}),
    )  # fmt: skip
    rows = [
        (means, _shown(way)) for table in tables for means, ways in table.items() for way in ways
    ]
    for table in (lexicon.MEASURES, lexicon.EVENTS):
        rows += [(means, f"a {way}") for means, ways in table.items() for way in ways]
    for table in (lexicon.AMOUNTS, lexicon.VALUES):
        rows += [
            (means, f"with more than N {way}") for means, ways in table.items() for way in ways
        ]
    return rows


def _shown(way: str) -> str:
    for mark, said in (
        ("{other}", "…"), ("{actor}", "…"), ("{?}", "more than N"), ("{>}", "N"), ("{<}", "N"),
        ("{<=}", "N"), ("*", ""), ("< ", ""), ("~", ""), ("+", " "),
    ):  # fmt: skip
        way = way.replace(mark, said)
    return way


@functools.lru_cache(maxsize=8)
def _phrases(rules: tuple[tuple[str, int], ...], names: tuple[str, ...]) -> Phrases:
    del names  # a predicate that comes later is said by its name
    return written_out(dict(rules))


def prompt(text: str, mistake: str = "") -> str:
    """What a language model is asked: the language, the vocabulary, the sentence.

    Args:
        text: The sentence.
        mistake: What was wrong with the last answer.
    """
    predicates = "\n".join(
        f"- {p.name}({', '.join(p.roles)}){f' [{p.unit}]' if p.unit else ''}: {p.doc}"
        for p in PREDICATES.values()
    )
    facts = "\n".join(
        f"- {name}: {f.doc}" + (f" ({', '.join(f.words)})" if f.words else "")
        for name, f in FACTS.items()
    )
    again = f"\nYour last answer was refused:\n{mistake}\nMend it.\n" if mistake else ""
    return (
        "Translate the sentence into one query. Answer with the query alone.\n\n"
        "A query: PREDICATE(actors) [< | <= | > | >= NUMBER UNIT], FACT is WORD, FACT >= NUMBER,\n"
        "not A, A and B, A or B, A then B within 3 s, A before B, A during B, A overlaps B,\n"
        "A for at least 2 s, count(A) >= 2, count(v where A) >= 3 at once, similar to SCENE >= 0.9.\n"
        "Actors: ego, _ (anybody), or a variable, such as `pedestrian p`: the same actor wherever it "
        f"stands.\nClasses: {', '.join(CLASSES)}.\nUnits: {', '.join(u for u in SI if u.isascii())}.\n"
        f"\nPredicates:\n{predicates}\n\nFacts:\n{facts}\n{again}\nSentence: {text}\nQuery:"
    )


def _proposed(
    text: str,
    refusal: BadExpression,
    propose: Callable[[str], str],
    rules: Mapping[str, Rule] | None,
) -> Query:
    """What somebody else makes of the sentence."""
    mistake = ""
    for _ in range(2):
        answer = propose(prompt(text, mistake)).strip()
        try:
            query = parse(answer)
            checked(query, rules)
        except BadExpression as error:
            mistake = f"{error.message} {error.hint}".strip()
            continue
        return query
    reason = f"{refusal.reason}, and what was proposed cannot be asked: {mistake.splitlines()[0]}"
    raise BadExpression(text, refusal.place, reason.rstrip(".:"), hint=refusal.hint)

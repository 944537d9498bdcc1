"""The query language: any situation, asked for in one line.

    cut_in(a, ego) then hard_brake(ego) within 3 s
    crosses_in_front(pedestrian p, ego) and not at_crosswalk(p) and daylight is night
    count(vehicle v where near(v, ego)) >= 5 and ttc(ego, _) < 1.5 s and weather in (rain, snow)

An expression tells, for every scene and everyone it names, *when* it holds: it is a set of intervals.
Predicates (:mod:`mining.predicates`) are its words; what joins them is in :mod:`mining.query.tree`,
how it is written in :mod:`mining.query.parse`, which mistakes are told before anything runs in
:mod:`mining.query.check`. It becomes one DuckDB statement over the tables of the lake
(:mod:`mining.query.compile`), whether it is asked of a lake (:mod:`mining.query.find`) or of scenes
that are in no lake yet.

Truth is three-valued all the way: what could not be observed is neither true nor false, `not` of it
is unknown still, and a match is what is surely true unless the query ends in ``unknown as true``.
"""

from __future__ import annotations

from mining.query.check import checked
from mining.query.find import FindReport, Match, Verdict, find, holds, verdicts
from mining.query.parse import parse
from mining.query.tree import Query, actor, count, fact, predicate, rarity, similar_to

__all__ = [
    "FindReport",
    "Match",
    "Query",
    "Verdict",
    "actor",
    "checked",
    "count",
    "fact",
    "find",
    "holds",
    "parse",
    "predicate",
    "rarity",
    "similar_to",
    "verdicts",
]

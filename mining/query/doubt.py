"""Why a lake gives no answer: scenes of which it cannot be known, and names that no scene has."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from geometry.arrays import Array
from lake import Lake
from lake.literals import literal
from mining.predicates import PREDICATES
from mining.query.compile import plan_of
from mining.query.facts import FACTS
from mining.query.narrow import only, rows_of
from mining.query.tree import Call, Fact, Query
from schemas.labels import AgentClass

DRAWN = 2000
"""Of more scenes than these in which something is not known, so many are drawn and judged: the share of
them that is open is known to some 2 % of all (95 %)."""
JUDGED = "judged_"
"""What a table of ids is called that stands beside those of the lake."""
MOST_REASONS = 5
"""Reasons of predicates that are told, those of most scenes first."""
MOST_NAMES = 20
"""Names that are listed instead of one that nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Scenes in which a query may hold, and nowhere surely does.

    Attributes:
        scenes: How many there are; of a draw as many as it stands for.
        why: How many of them by reason; a scene may have several.
        drawn: Of how many scenes that could be among them so many were judged; None if each of them was.
    """

    scenes: int
    why: Mapping[str, int]
    drawn: int | None = None


def doubt_of(
    lake: Lake,
    query: Query,
    *,
    matched: Collection[int],
    vectors: Mapping[str, tuple[int, str]],
    seen: str,
    among: Int[Array, " scenes"] | None = None,
    instead: Mapping[str, pa.Table] | None = None,
    exact: bool = False,
) -> Doubt:
    """In how many scenes a query cannot be judged, and why.

    Only scenes in which something that the query asks for is not known can be among them. Where these are
    many, some are drawn, the same each time, and their share is taken for that of all: so a lake of any size
    costs no more than finding out which scenes they are.

    Args:
        lake: Which lake.
        query: A checked query that asks for what is sure.
        matched: The scenes in which it surely holds.
        vectors: See :func:`mining.query.compile.plan_of`.
        seen: Condition on the scenes that were looked through for it.
        among: From :func:`mining.query.narrow.may_hold_in`, if it was asked.
        instead: From :func:`mining.query.narrow.rows_of`, of these.
        exact: Judge them all.
    """
    reasons = _reasons(query)
    open_ = _not_known(lake, query, reasons, vectors, seen, instead)
    if among is not None:
        open_ = np.intersect1d(open_, among)
    open_ = np.setdiff1d(open_, np.fromiter(matched, np.int64, len(matched)))
    if not len(open_):
        return Doubt(scenes=0, why={})
    judged = open_
    if not exact and len(open_) > DRAWN:
        judged = np.random.default_rng(len(open_)).choice(open_, DRAWN, replace=False)
    rows = rows_of(lake, query, judged) if instead is None else only(instead, judged)
    counted = _judged(lake, query, reasons, vectors, judged, rows or {})
    weight = len(open_) / len(judged)
    scenes = counted.pop("")
    return Doubt(
        scenes=round(weight * scenes),
        why={why: round(weight * n) for why, n in sorted(counted.items(), key=_most) if n},
        drawn=None if judged is open_ else len(judged),
    )


def _most(counted: tuple[str, int]) -> int:
    return -counted[1]


def _not_known(
    lake: Lake,
    query: Query,
    reasons: Mapping[str, str],
    vectors: Mapping[str, tuple[int, str]],
    seen: str,
    instead: Mapping[str, pa.Table] | None,
) -> Int[Array, " scenes"]:
    """The scenes that were looked through, of which something is not known that a query asks for."""
    of = [
        f"SELECT s.scene_id FROM scenes s JOIN logs l USING (log_id) WHERE {where}"
        for where in reasons.values()
    ]
    calls = query.node.calls()
    if calls:
        of.append(_of_events(query.names, "truth = 'unknown'"))
    compared = [call.name for call in calls if call.compare is not None]
    if compared:  # a value that is not known may be great enough
        of.append(_of_events(compared, "value IS NULL"))
    if any(actor.cls is not None for call in calls for actor in call.actors):
        of.append(
            "SELECT scene_id FROM scenes WHERE log_id IN (SELECT log_id FROM tracks"
            f" WHERE cls = {literal(AgentClass.UNKNOWN.word)})"
        )
    for _, model in vectors.values():
        of.append(
            "SELECT scene_id FROM scenes WHERE scene_id NOT IN"
            f" (SELECT scene_id FROM embeddings WHERE model = {literal(model)})"
        )
    if not of:
        return np.zeros(0, np.int64)
    rows = lake.sql(
        f"SELECT DISTINCT scene_id FROM ({' UNION '.join(of)}) WHERE {seen}",
        by_index=False, instead=instead,
    )  # fmt: skip
    return rows["scene_id"].to_numpy()


def _judged(
    lake: Lake,
    query: Query,
    reasons: Mapping[str, str],
    vectors: Mapping[str, tuple[int, str]],
    scenes: Int[Array, " scenes"],
    instead: Mapping[str, pa.Table],
) -> dict[str, int]:
    """In how many of some scenes a query may hold: by reason, all of them as ``""``."""
    possible = plan_of(replace(query, unknown_as_true=True), vectors=vectors)
    told = "".join(
        f"\nUNION ALL SELECT {literal(why)}, count(*) FROM open_ JOIN scenes s USING (scene_id)"
        f" JOIN logs l USING (log_id) WHERE {where}"
        for why, where in reasons.items()
    )
    if query.names:
        told += f"""
UNION ALL SELECT * FROM (
  SELECT '`' || name || '`: ' || json_extract_string(evidence, '$.reason') AS why,
    count(DISTINCT scene_id) AS n
  FROM events WHERE name IN ({_listed(query.names)}) AND source = 'rule'
    AND truth = 'unknown' AND scene_id IN (SELECT scene_id FROM open_)
  GROUP BY why HAVING why IS NOT NULL ORDER BY n DESC, why LIMIT {MOST_REASONS})"""
    ids = pa.table({"scene_id": pa.array(scenes, pa.int64())})
    rows = lake.sql(
        f"""WITH open_ AS MATERIALIZED (
  SELECT DISTINCT scene_id FROM ({possible.sql}) WHERE scene_id IN (SELECT scene_id FROM {JUDGED})
)
SELECT '' AS why, count(*) AS n FROM open_{told}""",
        by_index=False,
        instead={**instead, JUDGED: ids},
    ).to_pylist()
    return {row["why"]: int(row["n"]) for row in rows}


def _of_events(names: Sequence[str], where: str) -> str:
    return f"SELECT scene_id FROM events WHERE name IN ({_listed(names)}) AND source = 'rule' AND {where}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(literal, names))


def _reasons(query: Query) -> dict[str, str]:
    """Why no predicate could tell, and the scenes of which that is so: SQL on ``s`` and ``l``."""
    found: dict[str, str] = {}
    for node in query.node.walk():
        if isinstance(node, Call):
            if node.names_ego:
                found["there is no ego"] = "s.has_ego IS NOT TRUE"
            elif PREDICATES[node.name].of_ego:
                told_of = "the ego" if len(PREDICATES[node.name].roles) == 1 else "pairs with it"
                found[f"`{node.name}` is told of {told_of} alone where there is an ego"] = (
                    "s.has_ego"
                )
        elif isinstance(node, Fact) and FACTS[node.name].sql == "c.rarity":
            found["their rarity is not known before `scenelake mine cluster`"] = (
                "s.scene_id NOT IN (SELECT scene_id FROM clusters WHERE rarity IS NOT NULL)"
            )
        elif isinstance(node, Fact):
            sql = FACTS[node.name].sql
            none = f"{sql} IS NULL" if node.compare else f"nullif({sql}, 'unknown') IS NULL"
            found[f"nobody told `{node.name}`"] = none
    return found


def unheard_of(lake: Lake, query: Query) -> list[str]:
    """A sentence for each free word of a fact that no scene of a lake has: a slip, most likely."""
    told = []
    for node in query.node.walk():
        if not isinstance(node, Fact) or not node.words or FACTS[node.name].words is not None:
            continue
        here = sorted(
            row["word"]
            for row in lake.sql(
                f"SELECT DISTINCT {FACTS[node.name].sql} AS word"
                " FROM scenes s JOIN logs l USING (log_id)",
                by_index=False,
            ).to_pylist()
            if row["word"] is not None
        )
        for word in node.words:
            if word in here:
                continue
            near = difflib.get_close_matches(word, here, n=1)
            guess = f" Did you mean `{near[0]}`?" if near else ""
            some = ", ".join(here[:MOST_NAMES]) + (", …" if len(here) > MOST_NAMES else "")
            told.append(
                f"No scene's `{node.name}` is `{word}`.{guess} "
                + (f"In this lake it is one of: {some}." if here else "None of this lake has one.")
            )
    return list(dict.fromkeys(told))

"""Why a lake gives no answer: scenes of which it cannot be known, and names that no scene has."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from lake import Lake
from lake.literals import literal
from mining.predicates import PREDICATES
from mining.query.compile import plan_of
from mining.query.facts import FACTS
from mining.query.narrow import FEW, rows_of
from mining.query.tree import EGO, Call, Fact, Query, Similar

MOST_REASONS = 5
"""Reasons of predicates that are told, those of most scenes first."""
MATCHED = "matched_"
"""What a table of ids is called that stands beside those of the lake."""
MOST_NAMES = 20
"""Names that are listed instead of one that nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Scenes in which a query may hold, and nowhere surely does.

    Attributes:
        scenes: How many there are.
        why: How many of them by reason; a scene may have several.
    """

    scenes: int
    why: Mapping[str, int]


def doubt_of(
    lake: Lake,
    query: Query,
    *,
    matched: Collection[int],
    vectors: Mapping[str, tuple[int, str]],
    seen: str,
    instead: Mapping[str, pa.Table] | None = None,
    few: float = FEW,
) -> Doubt:
    """In how many scenes a query cannot be judged, and why.

    Only scenes in which something that the query asks for is not known can be among them. Where those are
    few, only their events are gone through; of a lake in which all is known this costs next to nothing.

    Args:
        lake: Which lake.
        query: A checked query that asks for what is sure.
        matched: The scenes in which it surely holds.
        vectors: See :func:`mining.query.compile.plan_of`.
        seen: Condition on the scenes that were looked through for it.
        instead: The rows of :func:`mining.query.narrow.narrowed`, if there are any.
        few: Up to such a share of all scenes are few.
    """
    possible = plan_of(replace(query, unknown_as_true=True), vectors=vectors)
    reasons = _reasons(query)
    told = "".join(
        f"\nUNION ALL SELECT {literal(why)}, count(*) FROM open_ JOIN scenes s USING (scene_id)"
        f" JOIN logs l USING (log_id) WHERE {where}"
        for why, where in reasons.items()
    )
    names = dict.fromkeys(n.name for n in query.node.walk() if isinstance(n, Call))
    if names:
        told += f"""
UNION ALL SELECT * FROM (
  SELECT '`' || name || '`: ' || json_extract_string(evidence, '$.reason') AS why,
    count(DISTINCT scene_id) AS n
  FROM events WHERE name IN ({", ".join(map(literal, names))}) AND source = 'rule'
    AND truth = 'unknown' AND scene_id IN (SELECT scene_id FROM open_)
  GROUP BY why HAVING why IS NOT NULL ORDER BY n DESC, why LIMIT {MOST_REASONS})"""
    ids = pa.table({"scene_id": pa.array(sorted(matched), pa.int64())})
    if instead is None:
        instead = _of_doubtful(lake, query, list(names), reasons, few)
    if instead is not None and not instead["scenes"].num_rows:
        return Doubt(scenes=0, why={})
    rows = lake.sql(
        f"""WITH open_ AS MATERIALIZED (
  SELECT DISTINCT scene_id FROM ({possible.sql}) WHERE {seen}
  EXCEPT SELECT scene_id FROM {MATCHED}
)
SELECT '' AS why, count(*) AS n FROM open_{told}""",
        by_index=False,
        instead={**(instead or {}), MATCHED: ids},
    ).to_pylist()
    counted = {row["why"]: int(row["n"]) for row in rows}
    scenes = counted.pop("")
    return Doubt(
        scenes=scenes,
        why={why: n for why, n in sorted(counted.items(), key=lambda it: -it[1]) if n},
    )


def _of_doubtful(
    lake: Lake, query: Query, names: Sequence[str], reasons: Mapping[str, str], few: float
) -> dict[str, pa.Table] | None:
    """The scenes of which something is not known that a query asks for, and their events.

    None: so many, or it cannot be told which, that all may as well be gone through.
    """
    if any(isinstance(node, Similar) for node in query.node.walk()):
        return None
    doubtful = [
        f"SELECT s.scene_id FROM scenes s JOIN logs l USING (log_id) WHERE {where}"
        for where in reasons.values()
    ]
    asked = f"name IN ({', '.join(map(literal, names))}) AND source = 'rule'"
    if names:
        # A value that is not known leaves open whether it is great enough.
        doubtful.append(
            f"SELECT scene_id FROM events WHERE {asked} AND (truth = 'unknown' OR value IS NULL)"
        )
    if not doubtful:
        return None
    return rows_of(lake, lake.sql(" UNION ".join(doubtful), by_index=False), names, few=few)


def _reasons(query: Query) -> dict[str, str]:
    """Why no predicate could tell, and the scenes of which that is so: SQL on ``s`` and ``l``."""
    found: dict[str, str] = {}
    for node in query.node.walk():
        if isinstance(node, Call):
            if any(actor.name == EGO for actor in node.actors):
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

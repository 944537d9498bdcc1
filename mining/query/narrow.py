"""A first, coarse look: in which scenes of a lake can a query hold at all?

``a then b`` needs both somewhere in the scene, ``a and not b`` needs ``a``, and so on; who did what when
is left to the statement of the query. One pass over the events of the names that are needed tells the
scenes that have them all. Mostly those are few, and the statement, or two of them, one for what is sure and one
for what is possible, then runs on their events alone: rare queries of large lakes cost little more than that pass.

What may be so counts as there: unknown events, scenes without an ego where one is named, facts that nobody told.
So nothing is lost, whichever side is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from lake import Lake
from lake.literals import literal
from mining.predicates import PREDICATES
from mining.query.compile import DOUBTED, EGO_ID, condition
from mining.query.facts import FACTS
from mining.query.tree import EGO, And, Call, Count, Fact, Lasting, Node, Query, Saved
from mining.query.tree import Sequence as InSequence

FEW = 0.2
"""Up to such a share of a lake's scenes it pays to fetch their events."""

LISTED = 1000
"""The events of so many scenes are looked up one by one."""

_READ = (
    "scene_id", "log_id", "name", "source", "actor_id", "other_id", "t0_ns", "t1_ns", "truth", "value",
)  # fmt: skip

CHOSEN = "chosen_"
"""What the table of chosen scenes is called beside those of the lake."""


def may_hold_in(lake: Lake, query: Query) -> pa.Table | None:
    """The scenes, in the column ``scene_id``, that have all that a query needs: it holds in no other.

    None: it needs nothing that a pass over the events could tell.

    Args:
        lake: Which lake.
        query: A checked query; all scenes were looked through for all that it asks.
    """
    needed = list(dict.fromkeys(_needed(query.node)))
    calls = [node for node in needed if isinstance(node, Call)]
    if not calls:
        return None
    of_calls = ", ".join(literal(name) for name in dict.fromkeys(call.name for call in calls))
    sides = " UNION ALL ".join(
        f"SELECT scene_id, {', '.join(f'{_of(call, truth)} AS n{k}' for k, call in enumerate(calls))}"
        f" FROM events WHERE source = 'rule' AND truth = '{truth}' AND name IN ({of_calls})"
        for truth in ("true", "unknown")
    )
    flags = ", ".join(f"bool_or(n{k}) AS n{k}" for k in range(len(calls)))
    where = [
        f"(n{k} OR s.has_ego IS NOT TRUE)" if _names_ego(call) else f"n{k}"
        for k, call in enumerate(calls)
    ]
    where += [f"({condition(node)}) IS NOT FALSE" for node in needed if isinstance(node, Fact)]
    return lake.sql(
        f"""WITH told AS (SELECT scene_id, {flags} FROM ({sides}) GROUP BY scene_id)
SELECT s.scene_id FROM scenes s JOIN logs l USING (log_id) LEFT JOIN told USING (scene_id)
WHERE {" AND ".join(where)}""",
        by_index=False,
    )


def rows_of(lake: Lake, scenes: pa.Table, names: Sequence[str]) -> dict[str, pa.Table] | None:
    """Rows of ``scenes``, and of ``events`` of some names, of the scenes in the column ``scene_id``.

    They are to be taken for all rows there are. Of events only what statements read: evidence, which is most
    of their bytes, of what is unknown alone.

    None: the scenes are more than `FEW` of all, and all may as well be gone through.

    Args:
        lake: Which lake.
        scenes: Which scenes.
        names: The predicates whose events a statement reads.
    """
    if scenes.num_rows > FEW * lake.sql("SELECT count(*) AS n FROM scenes")["n"][0].as_py():
        return None
    asked = f"source = 'rule' AND name IN ({', '.join(map(literal, names))})" if names else "false"
    if scenes.num_rows <= LISTED:  # by the index over their ids
        ids = scenes["scene_id"].to_pylist()
        chosen = f"scene_id IN ({', '.join(map(str, ids))})" if ids else "false"
        return {
            "scenes": lake.read("scenes", None, chosen),
            "events": lake.read("events", [*_READ, "evidence"], f"{chosen} AND {asked}"),
        }
    chosen = f"scene_id IN (SELECT scene_id FROM {CHOSEN})"
    read = ", ".join(_READ)
    statements = {
        "scenes": f"SELECT * FROM scenes WHERE {chosen}",
        "events": f"SELECT {read}, NULL::VARCHAR AS evidence FROM events"
        f" WHERE {asked} AND truth <> 'unknown' AND {chosen}"
        f" UNION ALL SELECT {read}, evidence FROM events"
        f" WHERE {asked} AND truth = 'unknown' AND {chosen}",
    }
    return {
        table: lake.sql(statement, by_index=False, instead={CHOSEN: scenes})
        for table, statement in statements.items()
    }


def _needed(node: Node) -> Iterator[Node]:
    """Calls and facts without which a query can hold in no scene."""
    match node:
        case And(parts=parts):
            for part in parts:
                yield from _needed(part)
        case InSequence(first=first, second=second):
            yield from _needed(first)
            yield from _needed(second)
        case Lasting(part=part) | Saved(part=part):
            yield from _needed(part)
        case Count(part=part, compare=compare, said=""):
            least = {">=": compare.number, "=": compare.number, ">": compare.number + 1}
            if least.get(compare.op, 0) >= 1:
                yield from _needed(part)
        case Call():
            # What is told of the ego alone may be so of others in any scene that has one.
            if _names_ego(node) or not PREDICATES[node.name].of_ego:
                yield node
        case Fact() if "c." not in FACTS[node.name].sql:
            yield node


def _names_ego(call: Call) -> bool:
    return any(actor.name == EGO for actor in call.actors)


def _of(call: Call, truth: str) -> str:
    """Which events of a truth may be what is called for: SQL, as :mod:`mining.query.compile` reads them."""
    told = f"name = {literal(call.name)}"
    if len(PREDICATES[call.name].roles) == 1 and _names_ego(call):
        mine = f"actor_id = {EGO_ID}"
        if truth == "unknown":
            mine = f"list_contains({DOUBTED}, {EGO_ID}) OR ({DOUBTED})[1] IS NULL"
        told += f" AND ({mine})"
    return f"({told})"

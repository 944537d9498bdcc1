"""A first, coarse look: in which scenes of a lake can a query hold at all, and what is told of them.

``a then b`` needs both somewhere in the scene, ``a and not b`` needs ``a``, and so on; who did what when
is left to the statement of the query. Facts are asked first, then the predicates that are needed, the rarest
first, each of which leaves fewer scenes; once few are left, their events are looked up by the scenes' ids. The
statement, or two of them, one for what is sure and one for what is possible, then runs on rows in memory: rare
queries of large lakes cost little more than a pass over the rarest of their events.

What may be so counts as there: unknown events, scenes without an ego where one is named, facts that nobody told.
So nothing is lost, whichever side is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from geometry.arrays import Array
from lake import Lake
from lake.literals import literal
from mining.predicates import PREDICATES
from mining.query.compile import DOUBTED, EGO_ID, condition
from mining.query.facts import FACTS
from mining.query.tree import And, Call, Count, Fact, Lasting, Node, Query, Saved, Sequence
from schemas.tables import TABLES

A_SCENE = 120
"""So many events of one name are read in the time in which those of one scene are looked up."""

MOST_EVENTS = 6_000_000
"""Events that are held in memory at most, some 100 bytes each."""

_READ = (
    "scene_id", "log_id", "name", "source", "actor_id", "other_id", "t0_ns", "t1_ns", "truth",
)  # fmt: skip


def may_hold_in(lake: Lake, query: Query) -> Int[Array, " scenes"] | None:
    """The scenes, ascending, that have all that a query needs: it holds in no other.

    None: it needs nothing that a look at facts and names could tell.

    Args:
        lake: Which lake.
        query: A checked query; all scenes were looked through for all that it asks.
    """
    needed = list(dict.fromkeys(_needed(query.node)))
    if not needed:
        return None
    facts = [f"({condition(node)}) IS NOT FALSE" for node in needed if isinstance(node, Fact)]
    rows = lake.sql(
        "SELECT s.scene_id, s.has_ego IS TRUE AS has_ego FROM scenes s JOIN logs l USING (log_id)"
        f" WHERE {' AND '.join(facts) or 'TRUE'} ORDER BY scene_id",
        by_index=False,
    )
    left, has_ego = rows["scene_id"].to_numpy(), rows["has_ego"].to_numpy()
    calls = [node for node in needed if isinstance(node, Call)]
    counted = events_of(lake, [call.name for call in calls])
    calls.sort(key=lambda call: counted[call.name])
    looks = [(call, _told_of) for call in calls]
    # By whose doubt it is, which takes longer to read.
    looks += [(call, _may_be_of_ego) for call in calls if _of_ego_alone(call)]
    for call, look in looks:
        if len(left) * A_SCENE > counted[call.name]:
            kept = np.isin(left, look(lake, call))
            if call.names_ego:
                kept |= ~has_ego
            left, has_ego = left[kept], has_ego[kept]
    return left


def events_of(lake: Lake, names: Iterable[str]) -> Mapping[str, int]:
    """How many events there are of each of some names."""
    return {name: lake.count("events", f"name = {literal(name)}") for name in dict.fromkeys(names)}


def rows_of(
    lake: Lake, query: Query, scenes: Int[Array, " scenes"] | None
) -> dict[str, pa.Table] | None:
    """The rows that the statement of a query needs, to be taken for all there are.

    Those of ``events`` of its names, of some scenes, and the rows of ``scenes`` of these. Of events only what
    the statement reads, since most of their bytes are values and evidence: values if it compares any, evidence
    of what is unknown.

    None: they are too many for the memory.

    Args:
        lake: Which lake.
        query: A checked query.
        scenes: Which scenes; all if None.
    """
    names = query.names
    compares = any(call.compare is not None for call in query.node.calls())
    read = [*_READ, "value"] if compares else list(_READ)
    columns = [*read, "evidence"]
    in_all = sum(events_of(lake, names).values())
    by_id = None  # how the scenes are looked up, if they are few
    if scenes is not None and len(scenes) * A_SCENE <= in_all:
        by_id = f"scene_id IN ({', '.join(map(str, scenes))})" if len(scenes) else "false"
    elif in_all > MOST_EVENTS:
        return None
    asked = f"source = 'rule' AND name IN ({', '.join(map(literal, names))})"
    if not in_all or (scenes is not None and not len(scenes)):
        events = pa.schema([TABLES["events"].schema.field(name) for name in columns]).empty_table()
    elif by_id is not None:
        events = lake.read("events", columns, f"{by_id} AND {asked}")
    else:
        sure = lake.read("events", read, f"{asked} AND truth <> 'unknown'")
        nothing = pa.nulls(sure.num_rows, pa.string())
        doubt = lake.read("events", columns, f"{asked} AND truth = 'unknown'")
        events = pa.concat_tables([sure.append_column("evidence", nothing), doubt])
    tables = {"events": events}
    if scenes is not None:
        tables["scenes"] = lake.read("scenes", None, by_id)
    return tables if scenes is None else only(tables, scenes)


def only(tables: Mapping[str, pa.Table], scenes: Int[Array, " scenes"]) -> dict[str, pa.Table]:
    """The rows of some scenes."""
    ids = pa.array(scenes, pa.int64())
    return {name: table.filter(pc.is_in(table["scene_id"], ids)) for name, table in tables.items()}


def _needed(node: Node) -> Iterator[Node]:
    """Calls and facts without which a query can hold in no scene."""
    match node:
        case And(parts=parts):
            for part in parts:
                yield from _needed(part)
        case Sequence(first=first, second=second):
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
            if node.names_ego or not PREDICATES[node.name].of_ego:
                yield node
        case Fact() if "c." not in FACTS[node.name].sql:
            yield node


def _of_ego_alone(call: Call) -> bool:
    return len(PREDICATES[call.name].roles) == 1 and call.names_ego


def _told_of(lake: Lake, call: Call) -> Int[Array, " rows"]:
    """Scenes with an event of that name: if it is of the ego alone, of it, or of it is not told whom."""
    name = f"name = {literal(call.name)}"
    if not _of_ego_alone(call):
        return lake.read("events", ["scene_id"], name)["scene_id"].to_numpy()
    rows = lake.read("events", ["scene_id", "actor_id"], name)
    of_ego = pc.equal(rows["actor_id"], EGO_ID).fill_null(True)
    return rows["scene_id"].filter(of_ego).to_numpy()


def _may_be_of_ego(lake: Lake, call: Call) -> Int[Array, " rows"]:
    """Scenes in which an event of that name is of the ego, or it is among those of whom it may be."""
    name = f"name = {literal(call.name)}"
    of_ego = lake.read("events", ["scene_id"], f"{name} AND actor_id = {EGO_ID}")
    doubt = lake.sql(
        f"SELECT scene_id FROM doubts_ WHERE list_contains({DOUBTED}, {EGO_ID})"
        f" OR ({DOUBTED})[1] IS NULL",
        instead={
            "doubts_": lake.read(
                "events", ["scene_id", "actor_id", "evidence"], f"{name} AND actor_id IS NULL"
            )
        },
    )
    return pa.concat_tables([of_ego, doubt])["scene_id"].to_numpy()

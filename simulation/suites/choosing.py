"""Which scenes of a lake become the cases of a suite, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lake import Lake
from lake.literals import literal
from mining.looked import looked
from mining.predicates import PREDICATES
from mining.query import Query
from mining.query.find import scenes_of, untagged_for
from mining.query.rules import meanings, rules_of
from schemas.errors import MissingData, UnknownName

CLUSTER = "cluster"
"""Stratum of a scene: the finest cluster that it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The scenes of a suite.

    Attributes:
        ids: Those that qualify, in ascending order.
        untagged: How many more might, but that nobody looked through for all tags and the query.
    """

    ids: Sequence[int]
    untagged: int


def choose(
    lake: Lake,
    *,
    where: str | None,
    tags: Sequence[str] | None,
    query: str | Query | None,
    scene_ids: Sequence[int] | None,
) -> Chosen:
    """The scenes that qualify.

    Raises:
        BadQuery: ``where`` does not run, or the query cannot be asked.
        UnknownName: There is no such tag or scene.
        MissingData: No scene qualifies, or nobody looked for what the query asks.
    """
    conditions = [f"({where})"] if where else []
    if scene_ids is not None:
        listed = ", ".join(str(int(i)) for i in scene_ids) or "null"
        conditions.append(f"scene_id in ({listed})")
    eligible = _scenes_where(lake, conditions) if query is not None or tags else []
    doubtful: set[int] = set()
    if query is not None:
        listed = ", ".join(map(str, scenes_of(lake, query))) or "null"
        conditions.append(f"scene_id in ({listed})")
        doubtful |= untagged_for(lake, query)
    if tags:
        condition, untagged = _with_tags(lake, tags)
        conditions.append(condition)
        doubtful |= untagged
    ids = _scenes_where(lake, conditions)
    if scene_ids is not None and where is None and query is None and not tags:
        missing = sorted({int(i) for i in scene_ids} - set(ids))
        if missing:
            raise UnknownName("scene", str(missing[0]), map(str, lake.scene_ids()))
    more = len(doubtful.intersection(eligible).difference(ids))
    if not ids:
        hint = "Loosen the condition; `scenelake info` says what the lake holds."
        if more:
            hint = f"Run `scenelake mine tag`: {more} that might were not looked through. {hint}"
        raise MissingData("No scene qualifies for the suite.", hint=hint)
    return Chosen(ids=ids, untagged=more)


def _scenes_where(lake: Lake, conditions: Sequence[str]) -> list[int]:
    clause = f" where {' and '.join(conditions)}" if conditions else ""
    found = lake.sql(f"select scene_id from scenes{clause} order by scene_id")
    return [int(i) for i in found["scene_id"].to_pylist()]


def _with_tags(lake: Lake, tags: Sequence[str]) -> tuple[str, frozenset[int]]:
    """The condition of scenes with one of the tags, and those nobody looked through for them all."""
    rules = rules_of(lake)
    ours = [tag for tag in tags if tag in PREDICATES or tag in rules]
    seen = looked(lake, meanings(ours, rules))
    known = set(lake.sql("select distinct name from events")["name"].to_pylist())
    known |= set(ours) - set(seen.never)
    for tag in tags:
        if tag not in known:
            raise UnknownName("tag of these scenes", tag, sorted(known))
    names = ", ".join(map(literal, tags))
    # What the source says of a scene, it says whoever looked.
    held = f"(source <> 'rule' and name in ({names})) or {seen.rows}"
    has = f"scene_id in (select scene_id from events where truth = 'true' and ({held}))"
    return has, seen.untagged


def strata_of(lake: Lake, ids: Sequence[int], by: str | None) -> dict[int, str]:
    """The stratum of each scene: an SQL expression over ``scenes``, or its cluster; one where there is none.

    Raises:
        BadQuery: The expression does not run.
        MissingData: There are no clusters.
    """
    if by is None:
        return dict.fromkeys(ids, "")
    if by == CLUSTER:
        rows = lake.sql(
            "select scene_id, cluster_id as stratum from clusters"
            " where level = (select max(level) from clusters)"
        )
        if not rows.num_rows:
            raise MissingData(
                "There are no clusters to stratify by.", hint="Run `scenelake mine cluster`."
            )
    else:
        rows = lake.sql(f"select scene_id, cast(({by}) as varchar) as stratum from scenes")
    told = dict(zip(rows["scene_id"].to_pylist(), rows["stratum"].to_pylist(), strict=True))
    return {scene_id: told.get(scene_id) or "unknown" for scene_id in ids}


def tags_of(lake: Lake, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """What holds in each scene as it is meant now, but for what holds in nearly every."""
    rules = rules_of(lake)
    unusual = [name for name, predicate in PREDICATES.items() if not predicate.ordinary]
    seen = looked(lake, meanings([*unusual, *(n for n in rules if n not in PREDICATES)], rules))
    listed = ", ".join(map(str, ids)) or "null"
    held = lake.sql(
        "select distinct scene_id, name from events"
        f" where truth = 'true' and scene_id in ({listed}) and (source <> 'rule' or {seen.rows})"
    )
    found: dict[int, set[str]] = {}
    for row in held.to_pylist():
        found.setdefault(int(row["scene_id"]), set()).add(row["name"])
    return {scene: tuple(sorted(names)) for scene, names in found.items()}


def lineage_of(lake: Lake, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Where generated scenes come from: gap, parent, generator run."""
    wanted = set(ids)
    columns = ["generated_id", "scene_id", "parent_scene_id", "gap_id", "model", "seed", "run_id"]
    rows = lake.read("generated", columns, "accepted = true").to_pylist()
    return {
        int(row["scene_id"]): {
            "generated_id": str(row["generated_id"]),
            "parent_scene_id": str(row["parent_scene_id"]),
            "gap_id": row["gap_id"],
            "generator": row["model"],
            "generator_seed": row["seed"],
            "generator_run": str(row["run_id"]),
        }
        for row in rows
        if row["scene_id"] in wanted
    }

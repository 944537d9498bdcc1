"""Asks a query: of a lake, in one statement, or of scenes that are in none.

The same query that finds a situation in a lake says of a generated scene whether it shows it, and of
a drive in closed loop whether it passed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from jaxtyping import Int

from geometry.arrays import Array
from lake import Lake
from lake.convert import scenes_table
from lake.literals import literal
from lake.sql import run_sql
from mining.looked import Looked, looked
from mining.predicates import PREDICATES, tag_scene
from mining.query.check import checked
from mining.query.classes import CLASSES
from mining.query.compile import EGO_ID, Plan, plan_of
from mining.query.doubt import Doubt, doubt_of, unheard_of
from mining.query.mistakes import BadExpression
from mining.query.narrow import may_hold_in, rows_of
from mining.query.parse import parse
from mining.query.rule import Rule
from mining.query.rules import meanings, rules_of, shipped_rules
from mining.query.tree import EGO, SOMEONE, Actor, Node, Query, Similar
from mining.tag import SCHEMA, event_table
from mining.vectors import model_of
from schemas.errors import MissingData, UnknownName
from schemas.labels import AgentClass
from schemas.scene import Scene
from schemas.tables import TABLES

AT_MOST = 1000
"""Matches told with their evidence, where no other limit is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """For whom and when a query holds in a scene.

    Attributes:
        scene_id: The scene.
        log_id: Its log.
        name: The scene's name.
        t0_s: Begin, since the scene began [s].
        t1_s: End, included [s].
        truth: ``true`` or ``unknown``.
        actors: Track id of each variable, and of the ego if it is named; None: somebody.
        evidence: Of each predicate the numbers that made it true, with its ``value``.
    """

    scene_id: int
    log_id: int
    name: str
    t0_s: float
    t1_s: float
    truth: str
    actors: Mapping[str, int | None]
    evidence: Mapping[str, Any]

    def answer(self) -> dict[str, Any]:
        """As JSON tells it; ids are strings."""
        return {
            "scene_id": str(self.scene_id), "log_id": str(self.log_id), "name": self.name,
            "t0_s": self.t0_s, "t1_s": self.t1_s, "truth": self.truth,
            "actors": {k: None if v is None else str(v) for k, v in self.actors.items()},
            "evidence": dict(self.evidence),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a query holds in a scene at any time.

    Attributes:
        holds: None: it cannot be known.
        match: For whom and when it first does, or may; None if it does not.
    """

    holds: bool | None
    match: Match | None = None

    @classmethod
    def of(cls, matches: Sequence[Match]) -> Verdict:
        """The verdict that follows from all matches, those that are sure first."""
        if not matches:
            return cls(holds=False)
        return cls(holds=True if matches[0].truth == "true" else None, match=matches[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class FindReport:
    """The answer of ``mine find``.

    Attributes:
        query: As it was understood.
        total: How many matches there are, told or not.
        scenes: In how many scenes.
        searched: How many scenes were looked through for all that the query asks.
        untagged: How many were not; what holds there without that, or may hold, is among the
            matches.
        matches: By scene and time.
        unknown: In how many of those searched it may hold, and nowhere surely does; 0 if the
            query takes what is unknown as true.
        why_unknown: How many of these by reason; a scene may have several.
        unknown_drawn: Where these are estimated, from how many scenes that were drawn.
        warnings: What is odd about the query, such as the name of a data set that no scene is of.
    """

    query: str
    total: int
    scenes: int
    searched: int
    untagged: int
    matches: Sequence[Match]
    unknown: int = 0
    why_unknown: Mapping[str, int] = field(default_factory=dict)
    unknown_drawn: int | None = None
    warnings: Sequence[str] = ()


def find(
    lake: Lake,
    query: str | Query | Node,
    *,
    limit: int = AT_MOST,
    rules: Mapping[str, Rule] | None = None,
    exact: bool = False,
) -> FindReport:
    """Where a query holds in a lake.

    Args:
        lake: Whose scenes. What nobody looked through is not known.
        query: Text, or made in Python.
        rules: Saved rules that it may call, beside those that ship and those of this lake.
        limit: How many matches to tell; all are counted.
        exact: Judge every scene of which something is not known; of large lakes some are drawn
            otherwise, and ``unknown`` is an estimate. Matches are all found either way.

    Raises:
        BadExpression: The query cannot be asked.
        UnknownName: There is no scene as it names.
        MissingData: A predicate was never looked for here, or there are no vectors to compare.
    """
    lake = lake.at()
    asked = understood(query, {**rules_of(lake), **(rules or {})})
    seen = see_that_tagged(lake, asked)
    plan = planned(lake, asked, seen.partly)
    order = ", ".join(["truth", "scene_id", "t0_ns", "t1_ns", *plan.columns.values()])
    sql = (
        f"WITH found AS MATERIALIZED ({plan.sql}), numbered AS"
        f" (SELECT *, row_number() OVER (ORDER BY {order}) AS place FROM found)"
        " SELECT *, (SELECT count(*) FROM found) AS total, CASE WHEN place = 1 THEN"
        " (SELECT list(DISTINCT scene_id) FROM found) END AS in_scenes FROM numbered"
        f" ORDER BY place LIMIT {max(limit, 1)}"
    )
    among, instead = _needed(lake, asked, seen)
    rows = lake.sql(sql, by_index=False, instead=instead).to_pylist()
    matched = rows[0]["in_scenes"] if rows else []
    matches = _matches(rows[:limit], plan, lambda where: _events(lake, where, plan))
    doubt = Doubt(scenes=0, why={})
    if not asked.unknown_as_true:
        doubt = doubt_of(
            lake, asked, matched=matched, vectors=_vectors(lake, asked), seen=seen.condition,
            among=among, instead=instead, exact=exact,
        )  # fmt: skip
    return FindReport(
        query=str(asked),
        total=rows[0]["total"] if rows else 0,
        scenes=len(matched),
        searched=len(seen.whole),
        untagged=len(seen.untagged),
        matches=matches,
        unknown=doubt.scenes,
        why_unknown=doubt.why,
        unknown_drawn=doubt.drawn,
        warnings=unheard_of(lake, asked),
    )


def scenes_of(
    lake: Lake, query: str | Query | Node, *, rules: Mapping[str, Rule] | None = None
) -> list[int]:
    """Ids of the scenes in which a query holds, ascending; as :func:`find`, without the matches."""
    lake = lake.at()
    asked = understood(query, {**rules_of(lake), **(rules or {})})
    seen = see_that_tagged(lake, asked)
    plan = planned(lake, asked, seen.partly)
    rows = lake.sql(
        f"SELECT DISTINCT scene_id FROM ({plan.sql}) ORDER BY scene_id",
        by_index=False,
        instead=_needed(lake, asked, seen)[1],
    )
    return [int(i) for i in rows["scene_id"].to_pylist()]


def _needed(
    lake: Lake, query: Query, seen: Looked
) -> tuple[Int[Array, " scenes"] | None, dict[str, pa.Table] | None]:
    """The scenes in which alone a query can hold, and the rows that its statement needs; None: all."""
    among = None if seen.partly else may_hold_in(lake, query)
    return among, None if seen.by_events else rows_of(lake, query, among)


def untagged_for(
    lake: Lake, query: str | Query | Node, *, rules: Mapping[str, Rule] | None = None
) -> frozenset[int]:
    """Ids of the scenes that nobody has looked through for all that a query asks."""
    asked = understood(query, {**rules_of(lake), **(rules or {})})
    return looked(lake.at(), meanings(asked.names)).untagged


def holds(
    query: str | Query | Node,
    scenes: Sequence[Scene],
    *,
    rules: Mapping[str, Rule] | None = None,
) -> list[list[Match]]:
    """Where a query holds in each of some scenes, which need not be in a lake.

    Args:
        query: Text, or made in Python.
        scenes: Each with an id of its own.
        rules: Saved rules that it may call, beside those that ship.

    Raises:
        BadExpression: The query cannot be asked.
        MissingData: It asks for what only a lake knows: vectors and clusters.
    """
    asked = understood(query, {**shipped_rules(), **(rules or {})})
    return _told([asked], scenes)[0]


def verdicts(
    queries: Iterable[str | Query | Node],
    scenes: Sequence[Scene],
    *,
    rules: Mapping[str, Rule] | None = None,
) -> list[list[Verdict]]:
    """Whether each of some queries holds at any time in each of some scenes.

    Every scene is looked through once, for all that any of the queries asks.

    Args:
        queries: Texts, or made in Python; ``never A`` and ``always A`` say that of all the scene.
        scenes: Each with an id of its own; they need not be in a lake.
        rules: Saved rules that they may call, beside those that ship.

    Returns:
        For each query a verdict on each scene.

    Raises:
        BadExpression: A query cannot be asked.
        MissingData: It asks for what only a lake knows: vectors and clusters.
    """
    known = {**shipped_rules(), **(rules or {})}
    asked = [replace(understood(query, known), unknown_as_true=True) for query in queries]
    return [[Verdict.of(matches) for matches in of_query] for of_query in _told(asked, scenes)]


def _told(queries: Sequence[Query], scenes: Sequence[Scene]) -> list[list[list[Match]]]:
    """For each checked query the matches in each scene, those that are sure first."""
    if not scenes:
        return [[] for _ in queries]
    if any(isinstance(node, Similar) for query in queries for node in query.node.walk()):
        raise MissingData(
            "A scene that is in no lake has no vector to compare.",
            hint="Leave `similar to` out, or put the scene into a lake and encode it.",
        )
    names = dict.fromkeys(name for query in queries for name in query.names)
    tables = tables_of_scenes(scenes, only=names)
    begins = {scene.scene_id: scene.t0_ns for scene in scenes}
    held = (event for event in tables["events"].to_pylist() if event["truth"] == "true")
    events = _in_order(held, begins, tables["tracks"])
    told = []
    for query in queries:
        plan = plan_of(query)
        # Of matches that begin together the same is first, whichever scenes are asked along with theirs.
        order = ", ".join(["truth", "t0_ns", "t1_ns", *plan.columns.values()])
        rows = run_sql(f"{plan.sql} ORDER BY {order}", tables=tables).to_pylist()
        found: dict[int, list[Match]] = {scene.scene_id: [] for scene in scenes}
        for match in _matches(rows, plan, lambda _: events):
            found[match.scene_id].append(match)
        told.append([found[scene.scene_id] for scene in scenes])
    return told


def explain(
    lake: Lake, query: str | Query | Node, *, rules: Mapping[str, Rule] | None = None
) -> str:
    """How a query was understood, what decides its predicates, its statement, and DuckDB's plan."""
    lake = lake.at()
    asked = understood(query, {**rules_of(lake), **(rules or {})})
    plan = planned(lake, asked, looked(lake, meanings(asked.names)).partly)
    steps = lake.sql(f"EXPLAIN {plan.sql}", by_index=False)
    decides = "".join(f"\n{line}" for line in _formulas(asked))
    return f"{asked}\n{decides}\n\n{plan.sql}\n\n{steps.column(steps.num_columns - 1)[0].as_py()}"


def _formulas(query: Query) -> list[str]:
    """Of each predicate that a query names its formula, and the values in it."""
    told = []
    for name in query.names:
        known = PREDICATES[name]
        values = ", ".join(
            f"{p.name} = {p.value:g}{'' if p.unit == '1' else f' {p.unit}'}"
            for p in known.parameters
        )
        told.append(f"{name}: {known.decides()}" + (f"  [{values}]" if values else ""))
    return told


def planned(lake: Lake, query: Query, partly: Mapping[str, str] | None = None) -> Plan:
    """The statement of a checked query of a lake.

    Args:
        lake: Which lake.
        query: The query.
        partly: Of the predicates for which not all scenes were looked through, the conditions of
            those that were, see :mod:`mining.looked`.

    Raises:
        BadExpression: It names a scene that is not there.
        MissingData: There are no vectors to compare.
    """
    return plan_of(query, vectors=_vectors(lake, query), partly=partly)


def understood(query: str | Query | Node, rules: Mapping[str, Rule] | None = None) -> Query:
    """The query, read and checked.

    Args:
        query: Text, or made in Python.
        rules: Saved rules that it may call.

    Raises:
        BadExpression: It cannot be asked.
    """
    if isinstance(query, str):
        query = parse(query)
    return checked(Query(query) if isinstance(query, Node) else query, rules)


def tables_of_scenes(scenes: Sequence[Scene], *, only: Iterable[str]) -> dict[str, pa.Table]:
    """The tables that a query reads, of scenes that are in no lake.

    Args:
        scenes: Each with an id of its own.
        only: Predicates to look for.
    """
    names = list(only)
    found = [event_table(scene, tag_scene(scene, names)) for scene in scenes]
    events = pa.concat_tables([SCHEMA.empty_table(), *found])
    events = events.append_column("run_id", pa.repeat(pa.scalar(0, pa.int64()), events.num_rows))
    tracks = {
        (scene.log_id, int(track)): AgentClass(cls).word
        for scene in scenes
        for track, cls in zip(scene.tracks.track_id, scene.tracks.cls, strict=True)
    }
    kinds = [
        {"log_id": log, "track_id": track, "cls": cls} for (log, track), cls in tracks.items()
    ]
    datasets = {scene.log_id: scene.dataset for scene in scenes}
    logs = [{"log_id": log, "dataset": dataset} for log, dataset in datasets.items()]
    return {
        "scenes": scenes_table(scenes, 0, split_group=""),
        "logs": pa.Table.from_pylist(logs, schema=TABLES["logs"].schema),
        "events": events.cast(TABLES["events"].schema),
        "tracks": pa.Table.from_pylist(kinds, schema=TABLES["tracks"].schema),
    }


def _matches(
    rows: Sequence[Mapping[str, Any]], plan: Plan, events_of: Callable[[str], list[dict[str, Any]]]
) -> list[Match]:
    names = sorted({call.name for call in plan.calls})
    by_scene: dict[int, list[Mapping[str, Any]]] = {}
    if rows and names:
        ids = sorted({row["scene_id"] for row in rows})
        told = ", ".join(map(literal, names))
        where = f"name IN ({told}) AND scene_id IN ({', '.join(map(str, ids))})"
        for event in events_of(where):
            by_scene.setdefault(event["scene_id"], []).append(event)
    made = []
    for row in rows:
        actors = {name: row[column] for name, column in plan.columns.items()}
        names_ego = any(call.names_ego for call in plan.calls)
        made.append(
            Match(
                scene_id=row["scene_id"],
                log_id=row["log_id"],
                name=row["name"],
                t0_s=round(row["t0_ns"] / 1e9, 3),
                t1_s=round(row["t1_ns"] / 1e9, 3),
                truth=row["truth"],
                actors={**({EGO: EGO_ID} if names_ego else {}), **actors},
                evidence=_evidence(row, plan, actors, by_scene.get(row["scene_id"], [])),
            )
        )
    return made


def _evidence(
    row: Mapping[str, Any],
    plan: Plan,
    actors: Mapping[str, int | None],
    events: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Of each predicate the event that lies in the match, or reaches into it, for its actors."""
    told: dict[str, Any] = {}
    for call in plan.calls:
        if any(actors.get(a.name, EGO_ID) is None for a in call.actors):
            continue  # somebody, nobody knows who: no event is known to be theirs
        wanted = [EGO_ID if a.name == EGO else actors.get(a.name) for a in call.actors]
        ways = [("actor_id", "other_id")]
        if PREDICATES[call.name].symmetric:
            ways.append(("other_id", "actor_id"))
        for event in events:
            begin = event["t0_ns"] - event["scene_t0_ns"]
            fits = event["name"] == call.name and begin <= row["t1_ns"]
            fits &= event["t1_ns"] - event["scene_t0_ns"] >= row["t0_ns"]
            fits &= call.compare is None or call.compare.holds(event["value"])
            fits = fits and any(
                all(
                    (who is None or event[role] == who)
                    and _may_be(event.get(f"{role}_cls"), actor)
                    for who, role, actor in zip(wanted, way, call.actors, strict=False)
                )
                for way in ways
            )
            if fits:
                facts = json.loads(event["evidence"]) if event["evidence"] else {}
                told.setdefault(call.name, {"value": event["value"], **facts})
    return told


def _may_be(cls: str | None, actor: Actor) -> bool:
    """Whether anybody's class is one that a query asks for; of all others it is seen to before."""
    if actor.name != SOMEONE or actor.cls is None:
        return True
    return cls in {known.word for known in CLASSES[actor.cls]}


def _in_order(
    events: Iterable[Mapping[str, Any]], begins: Mapping[int, int], tracks: pa.Table | None
) -> list[dict[str, Any]]:
    """Events by time, with the begin of their scene and, from tracks, the classes of who takes part."""
    cls: dict[tuple[int, int], str] = {}
    if tracks is not None:
        columns = (tracks[name].to_pylist() for name in ("log_id", "track_id", "cls"))
        cls = {(log, track): word for log, track, word in zip(*columns, strict=True)}
    made = [
        {
            **event, "scene_t0_ns": begins[event["scene_id"]],
            "actor_id_cls": cls.get((event["log_id"], event["actor_id"])),
            "other_id_cls": cls.get((event["log_id"], event["other_id"])),
        }
        for event in events
    ]  # fmt: skip
    return sorted(
        made, key=lambda e: (e["t0_ns"], e["t1_ns"], e["actor_id"] or 0, e["other_id"] or 0)
    )


def _events(lake: Lake, where: str, plan: Plan) -> list[dict[str, Any]]:
    """The events of some scenes, with who takes part if a query asks for anybody of a class."""
    classed = any(a.name == SOMEONE and a.cls for call in plan.calls for a in call.actors)
    columns = [
        "scene_id", "log_id", "name", "t0_ns", "t1_ns", "actor_id", "other_id", "value", "evidence",
    ]  # fmt: skip
    # By Lance's own filter, which finds the few scenes by their index.
    rows = lake.read("events", columns, f"truth = 'true' AND source = 'rule' AND {where}")
    ids = ", ".join(map(str, rows["scene_id"].unique().to_pylist())) or "0"
    scenes = lake.read("scenes", ["scene_id", "t0_ns"], f"scene_id IN ({ids})")
    begins = dict(zip(*(scenes[name].to_pylist() for name in scenes.column_names), strict=True))
    tracks = None
    if classed:
        logs = ", ".join(map(str, rows["log_id"].unique().to_pylist())) or "0"
        tracks = lake.read("tracks", ["log_id", "track_id", "cls"], f"log_id IN ({logs})")
    return _in_order(rows.to_pylist(), begins, tracks)


def _vectors(lake: Lake, query: Query) -> dict[str, tuple[int, str]]:
    """Whose vector is meant by each scene that others shall be similar to."""
    wanted = [node for node in query.node.walk() if isinstance(node, Similar)]
    if not wanted:
        return {}
    model = model_of(lake)
    found: dict[str, tuple[int, str]] = {}
    for node in wanted:
        try:
            scene_id = lake.resolve_scene(node.scene)
        except UnknownName as error:
            raise BadExpression(
                query.text, node.place, error.message.rstrip("."), hint=error.hint
            ) from error
        where = f"scene_id = {scene_id} AND model = {literal(model)}"
        if not lake.read("embeddings", ["scene_id"], where).num_rows:
            raise MissingData(
                f"Scene {scene_id} has no vector of {model}.", hint="Run `scenelake encode`."
            )
        found[node.scene] = (scene_id, model)
    return found


def see_that_tagged(lake: Lake, query: Query) -> Looked:
    """Where the lake was looked through for what a query asks.

    Raises:
        MissingData: Nobody here has looked for a predicate of the query, as it is meant now.
    """
    found = looked(lake, meanings(query.names))
    found.refuse_never()
    return found

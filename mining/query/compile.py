r"""A query as one DuckDB statement over the tables of a lake.

Every expression becomes a relation ``(scene_id, a column for each variable, t0, t1)``: for whom, and
from when until when [ns], the end left out. Truth is kept as two such relations, what *surely* holds
and what *possibly* does; in between lies what cannot be known. Kleene's logic then is set algebra::

    surely (a and b)   = surely a   ∩ surely b         possibly alike
    surely (a or b)    = surely a   ∪ surely b         possibly alike
    surely (not a)     = the scene − possibly a        possibly (not a) = the scene − surely a

so that only the half that a query asks for is ever worked out, but where begins, ends and runs count
(``Sequence``, ``Lasting`` at most, ``Count`` of times): doubt joins and parts runs and lengthens them. What
is sure there is so wherever they begin and end, which is looked up in the scenes of what is found;
what is possible would be so if some of it came true (`_Work._extents`). In what is possible an actor may be
null: somebody, it is not known who. It fits anybody. What is said of the ego is possible throughout
a scene that has none, and what is told of the ego alone (``Predicate.of_ego``) is possible of others.

=============  ================================================================================
node           relation
=============  ================================================================================
``Call``       rows of ``events`` of that name, with the classes of ``tracks``
``Fact``       the whole of the scenes of ``scenes`` (and ``logs``, ``clusters``) that fit
``Similar``    the whole of the scenes whose row of ``embeddings`` fits
``And``        joined on scene and variables, intervals intersected; what is denied is cut out
``Or``         all of either, runs of time that meet joined (gaps and islands)
``Saved``      as its expression, without the rule's own variables
``Sequence``   joined with a condition on begins and ends
``Count``      grouped by scene and the variables that are told outside; ``at once`` by adding up
               begins and ends along time
=============  ================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Literal, TypeAlias

from lake.literals import literal
from mining.predicates import PREDICATES
from mining.query.alike import interchangeable
from mining.query.check import bound, named
from mining.query.classes import CLASSES
from mining.query.facts import FACTS
from mining.query.tree import (
    EGO,
    SOMEONE,
    Actor,
    And,
    Call,
    Compare,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Query,
    Saved,
    Sequence,
    Similar,
)
from schemas.scene import DT

Side: TypeAlias = Literal["surely", "possibly"]
STEP_NS = round(DT * 1e9)
"""A step stands for so long: an event that is told for one step lasts as long [ns]."""

EGO_ID = 0
DOUBTED = """CASE WHEN actor_id IS NOT NULL THEN [actor_id]
      WHEN json_array_length(evidence, '$.actors') > 0
        THEN from_json(json_extract(evidence, '$.actors'), '["BIGINT"]')
      ELSE [NULL::BIGINT] END"""
"""Of whom an unknown event tells: SQL, a list, of one null if of anybody."""

_OTHER: Mapping[Side, Side] = {"surely": "possibly", "possibly": "surely"}
_ROLES = ("actor_id", "other_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A statement, and how its answer reads.

    Attributes:
        sql: The statement; one row a match: ``scene_id, log_id, name, t0_ns, t1_ns`` (end included),
            ``truth`` and a column for each variable.
        columns: The column of each variable.
        calls: The predicates that what matches must be, for the evidence.
    """

    sql: str
    columns: Mapping[str, str]
    calls: tuple[Call, ...]


def plan_of(
    query: Query,
    *,
    vectors: Mapping[str, tuple[int, str]] | None = None,
    partly: Mapping[str, str] | None = None,
) -> Plan:
    """The statement of a checked query.

    Args:
        query: From :func:`mining.query.check.checked`.
        vectors: Of each scene that others shall be similar to, its id and the model whose vectors
            are compared.
        partly: Of predicates for which not all scenes were looked through, a condition, SQL, on the
            ``scene_id`` of those that were. In the others all is possible, and nothing sure.
    """
    node = _normal(query.node)
    work = _Work(
        columns={name: f"v{k}" for k, name in enumerate(sorted(named(node)))},
        names_ego=any(call.names_ego for call in node.calls()),
        vectors=vectors or {},
        partly=partly or {},
    )
    side: Side = "possibly" if query.unknown_as_true else "surely"
    found = work.in_one_order(work.relation(node, side), node)
    truth = "'true'"
    if query.unknown_as_true:
        sure = work.relation(node, "surely")
        same = "".join(f" AND y.{v} = m.{v}" for v in found.variables if v in sure.variables)
        truth = (
            f"CASE WHEN EXISTS (SELECT 1 FROM {sure.name} y WHERE y.scene_id = m.scene_id{same} "
            "AND y.t0 < m.t1 AND m.t0 < y.t1) THEN 'true' ELSE 'unknown' END"
        )
    partition = ", ".join(["scene_id", *found.variables, "t0"])
    # Of what begins alike the first end is told of what is sure, and the last that is possible.
    which = " DESC" if query.unknown_as_true else ""
    told = "".join(f", m.{v}" for v in found.variables)
    steps = ",\n".join(f"{name} AS (\n{body}\n)" for name, body in work.steps.items())
    sql = f"""WITH {steps},
matches AS (
  SELECT * FROM {found.name}
  QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY t1{which}) = 1
)
SELECT m.scene_id, s.log_id, s.name, m.t0 - s.t0_ns AS t0_ns, m.t1 - {STEP_NS} - s.t0_ns AS t1_ns,
  {truth} AS truth{told}
FROM matches m JOIN scenes s USING (scene_id)"""
    known = {v: k for k, v in work.columns.items()}
    return Plan(
        sql=sql,
        columns={known[v]: v for v in found.variables},
        calls=tuple(_asserted(node)),
    )


@dataclass(frozen=True, slots=True)
class _Relation:
    """A named step: its columns beside ``scene_id, t0, t1``, and whether intervals may touch."""

    name: str
    variables: tuple[str, ...]
    disjoint: bool = False


@dataclass(slots=True, kw_only=True)
class _Work:
    """The statement as far as it is made."""

    columns: Mapping[str, str]
    names_ego: bool
    vectors: Mapping[str, tuple[int, str]]
    partly: Mapping[str, str]
    steps: dict[str, str] = field(default_factory=dict)
    scope: str | None = None
    """The step whose scenes alone are looked through for what is possible; all if None."""
    _made: dict[tuple[str, Side, frozenset[str], str | None], _Relation] = field(
        default_factory=dict
    )

    def relation(self, node: Node, side: Side, outside: frozenset[str] = frozenset()) -> _Relation:
        """The relation of an expression.

        Args:
            node: The expression.
            side: Which half of the truth.
            outside: Variables that are told by what stands round it.
        """
        scope = self.scope if side == "possibly" else None
        key = (repr(node), side, outside & named(node), scope)
        if key not in self._made:
            with self._within(scope):
                made = self._make(node, side, outside)
                if side == "possibly" and isinstance(node, Sequence | Lasting | Count):
                    made = self._or_unseen(node, made, outside)
            self._made[key] = made
        return self._made[key]

    @contextmanager
    def _within(self, scope: str | None) -> Iterator[None]:
        before, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = before

    def _in_scope(self) -> str:
        return "TRUE" if self.scope is None else f"scene_id IN (SELECT scene_id FROM {self.scope})"

    def _make(self, node: Node, side: Side, outside: frozenset[str]) -> _Relation:
        match node:
            case Call():
                return self._call(node, side)
            case Fact():
                return self._fact(node, side)
            case Similar():
                return self._similar(node, side)
            case Saved():
                return self._saved(node, side, outside)
            case Not(part=part):
                return self._cut(self._spans(), self.relation(part, _OTHER[side], outside))
            case And():
                return self._and(node, side, outside)
            case Or(parts=parts):
                return self._or([self.relation(part, side, outside) for part in parts])
            case Sequence():
                made = self._sequence(node, side, outside)
            case Lasting():
                made = self._lasting(node, side, outside)
            case Count():
                made = self._count(node, side, outside)
            case _:
                raise AssertionError(node)
        return made if side == "surely" else self._and_what_is_sure(made, node, outside)

    def _step(
        self, what: str, body: str, variables: Iterable[str], *, disjoint: bool = False
    ) -> _Relation:
        name = f"q{len(self.steps)}_{what}"
        self.steps[name] = body
        return _Relation(name, tuple(variables), disjoint)

    def _and_what_is_sure(self, made: _Relation, node: Node, outside: frozenset[str]) -> _Relation:
        """What is possible includes what is sure.

        Not by itself where begins, ends or runs matter: doubt joins two of them into one.
        """
        sure = self.relation(node, "surely", outside)
        listed = ", ".join(["scene_id", *made.variables, "t0", "t1"])
        rows = [f"  SELECT {listed} FROM {part.name}" for part in (made, sure)]
        return self._step("either", "\n  UNION ALL\n".join(rows), made.variables)

    def _spans(self) -> _Relation:
        name = "spans" if self.scope is None else f"spans_{self.scope}"
        self.steps.setdefault(
            name,
            f"  SELECT scene_id, t0_ns AS t0, t1_ns + {STEP_NS} AS t1 FROM scenes"
            + ("" if self.scope is None else f" WHERE {self._in_scope()}"),
        )
        return _Relation(name, (), disjoint=True)

    def _unseen(self, names: Iterable[str], *, or_without_ego: bool = False) -> str | None:
        """The step with the scenes that were not looked through for all the predicates, if any.

        Those that have no ego are among them if so asked: of an ego that is not there nobody knows.
        """
        conditions = list(dict.fromkeys(self.partly[n] for n in names if n in self.partly))
        if or_without_ego:
            conditions.append("scene_id IN (SELECT scene_id FROM scenes WHERE has_ego)")
        if not conditions:
            return None
        spans = self._spans()
        body = (
            f"  SELECT scene_id, t0, t1 FROM {spans.name} WHERE NOT ({' AND '.join(conditions)})"
        )
        known = (n for n, b in self.steps.items() if n.startswith("unseen") and b == body)
        name = next(known, f"unseen{len(self.steps)}")
        self.steps[name] = body
        return name

    def _or_unseen(self, node: Node, made: _Relation, outside: frozenset[str]) -> _Relation:
        """With the scenes in which it may be so because nobody looked, or for want of an ego.

        There it may be so for anybody, at any time.

        Order, number and duration of what is possible throughout a scene tell nothing of those of
        what is so. Where one of its parts is known not to be, it is not possible.
        """
        calls = node.calls()
        of_ego = any(call.names_ego for call in calls)
        unseen = self._unseen((call.name for call in calls), or_without_ego=of_ego)
        if unseen is None:
            return made
        somebody = "".join(f", NULL::BIGINT AS {v}" for v in made.variables)
        parts = [self.relation(part, "possibly", outside) for part in node.children()]
        where = [f"scene_id IN (SELECT scene_id FROM {part.name})" for part in parts]
        both = (
            f"  SELECT scene_id{''.join(f', {v}' for v in made.variables)}, t0, t1 FROM {made.name}\n"
            f"  UNION ALL SELECT scene_id{somebody}, t0, t1 FROM {unseen}"
            f" WHERE {' AND '.join(where)}"
        )
        return self._joined_up(self._step("or_unseen", both, made.variables))

    def _call(self, node: Call, side: Side) -> _Relation:
        roles = PREDICATES[node.name].roles
        actors = [*node.actors, *[Actor(SOMEONE)] * (len(roles) - len(node.actors))]
        told = [(a, role) for a, role in zip(actors, _ROLES, strict=False) if a.is_variable]
        variables = [self.columns[a.name] for a, _ in told]
        body = self._rows(node, actors, told, side)
        if side == "possibly":
            body += f"\n  UNION ALL\n{self._doubts(node, actors, told)}"
            body += self._unasked(node, told)
            if self.scope is not None:
                body = f"  SELECT * FROM (\n{body}) WHERE {self._in_scope()}"
        named_roles = len(told) + sum(a.name == EGO for a in actors)
        closed = side == "surely" and named_roles == len(roles)
        made = self._step(f"{node.name}_{side}", body, variables, disjoint=closed)
        return self._joined_up(made)

    def _rows(
        self,
        node: Call,
        actors: Iterable[Actor],
        told: Iterable[tuple[Actor, str]],
        side: Side,
    ) -> str:
        """What holds; in what is possible also whose value is not known."""
        columns = "".join(f", e.{role} AS {self.columns[a.name]}" for a, role in told)
        told_so = f"name = {literal(node.name)} AND source = 'rule' AND truth = 'true'"
        unseen = self._unseen([node.name])
        if unseen is not None:  # what was found there may mean something else
            told_so += f" AND scene_id NOT IN (SELECT scene_id FROM {unseen})"
        events = f"(SELECT * FROM events WHERE {told_so}"
        if PREDICATES[node.name].symmetric:  # each row both ways, of one scan
            events = (
                "(SELECT * REPLACE (if(turned, other_id, actor_id) AS actor_id,"
                " if(turned, actor_id, other_id) AS other_id)\n"
                f"    FROM events, (VALUES (false), (true)) ways(turned) WHERE {told_so}"
            )
        where = []
        joins = ""
        for k, (actor, role) in enumerate(zip(actors, _ROLES, strict=False)):
            where += self._who(actor, f"e.{role}", may_be_null=False)
            if actor.cls is not None:
                words = [literal(c.word) for c in sorted(CLASSES[actor.cls])]
                words += ["'unknown'"] if side == "possibly" else []
                joins += (
                    f"\n  JOIN tracks k{k} ON k{k}.log_id = e.log_id AND k{k}.track_id = e.{role}"
                    f" AND k{k}.cls IN ({', '.join(words)})"
                )
        if node.compare is not None:
            holds = f"e.value {_compare(node.compare)}"
            where.append(holds if side == "surely" else f"({holds} OR e.value IS NULL)")
        return (
            f"  SELECT e.scene_id{columns}, e.t0_ns AS t0, e.t1_ns + {STEP_NS} AS t1\n"
            f"  FROM {events}) e{joins}" + (f"\n  WHERE {' AND '.join(where)}" if where else "")
        )

    def _doubts(self, node: Call, actors: list[Actor], told: Iterable[tuple[Actor, str]]) -> str:
        """What is not known: for those named in the evidence in any role, or else for anybody."""
        roles = _ROLES[: len(actors)]
        doubts = f"doubts_{node.name}" + ("" if self.scope is None else f"_{self.scope}")
        rows = []
        for role in roles or ("",):
            columns = "".join(
                f", {'e.doubt' if mine == role else 'NULL::BIGINT'} AS {self.columns[a.name]}"
                for a, mine in told
            )
            where = []
            for actor, mine in zip(actors, roles, strict=True):
                if mine == role:
                    where += self._who(actor, "e.doubt", may_be_null=True)
            rows.append(
                f"  SELECT e.scene_id{columns}, e.t0, e.t1 FROM {doubts} e"
                + (f" WHERE {' AND '.join(where)}" if where else "")
            )
        unseen = self._unseen([node.name])
        self.steps.setdefault(
            doubts,
            f"""  SELECT scene_id, t0_ns AS t0, t1_ns + {STEP_NS} AS t1,
    unnest({DOUBTED}) AS doubt
  FROM events
  WHERE name = {literal(node.name)} AND source = 'rule' AND truth = 'unknown'"""
            + ("" if self.scope is None else f" AND {self._in_scope()}")
            + (
                f""" AND scene_id NOT IN (SELECT scene_id FROM {unseen})
  UNION ALL SELECT scene_id, t0, t1, NULL FROM {unseen}"""
                if unseen is not None
                else ""
            ),
        )
        return "\n  UNION ALL\n".join(rows)

    def _unasked(self, node: Call, told: Iterable[tuple[Actor, str]]) -> str:
        """Scenes in which nobody could say: of an ego that is not there, of others than the ego."""
        if node.names_ego:
            where = "has_ego IS NOT TRUE"
        elif PREDICATES[node.name].of_ego:
            where = "has_ego"
        else:
            return ""
        columns = "".join(f", NULL::BIGINT AS {self.columns[a.name]}" for a, _ in told)
        return (
            f"\n  UNION ALL\n  SELECT scene_id{columns}, t0_ns AS t0, t1_ns + {STEP_NS} AS t1"
            f" FROM scenes WHERE {where}"
        )

    def in_one_order(
        self, part: _Relation, node: Node, of: Iterable[str] | None = None
    ) -> _Relation:
        """Variables that may change places by ascending track, so that nothing is told twice.

        Args:
            part: The relation of an expression.
            node: The expression.
            of: Columns that may change places; all by default.
        """
        free = set(part.variables if of is None else of)
        names = [name for name, column in self.columns.items() if column in free]
        sorted_: dict[str, str] = {}
        for group in interchangeable(node, names):
            columns = [self.columns[name] for name in group]
            ascending = f"list_sort([{', '.join(columns)}], 'ASC', 'NULLS LAST')"
            sorted_ |= {column: f"{ascending}[{k}]" for k, column in enumerate(columns, start=1)}
        if not sorted_:
            return part
        told = "".join(f", {sorted_.get(v, v)} AS {v}" for v in part.variables)
        return self._step(
            "ascending", f"  SELECT scene_id{told}, t0, t1 FROM {part.name}", part.variables
        )

    def _who(self, actor: Actor, column: str, *, may_be_null: bool) -> list[str]:
        """Whether the one in the column may be the actor; variables are not who is named `ego`."""
        if actor.name == EGO:
            condition = f"{column} = {EGO_ID}"
        elif actor.is_variable and self.names_ego:
            condition = f"{column} <> {EGO_ID}"
        else:
            return []
        return [f"({condition} OR {column} IS NULL)" if may_be_null else condition]

    def _fact(self, node: Fact, side: Side) -> _Relation:
        kind = FACTS[node.name]
        holds = condition(node)
        if side == "possibly":
            holds = f"({holds}) IS NOT FALSE"
        joins = ""
        if kind.sql.startswith("l."):
            joins += " JOIN logs l USING (log_id)"
        if "c." in kind.sql:
            joins += (
                " LEFT JOIN (SELECT scene_id, any_value(rarity) AS rarity FROM clusters"
                " GROUP BY scene_id) c USING (scene_id)"
            )
        body = (
            f"  SELECT s.scene_id, s.t0_ns AS t0, s.t1_ns + {STEP_NS} AS t1\n"
            f"  FROM scenes s{joins}\n  WHERE {holds}"
        )
        return self._step(node.name, body, (), disjoint=True)

    def _similar(self, node: Similar, side: Side) -> _Relation:
        spans = self._spans()
        scene_id, model = self.vectors[node.scene]
        mine = f"scene_id = {scene_id} AND model = {literal(model)}"
        holds = f"v.cosine {_compare(node.compare)}"
        body = f"""  SELECT s.scene_id, s.t0, s.t1 FROM {spans.name} s LEFT JOIN (
    SELECT scene_id, array_inner_product(
      vector, (SELECT any_value(vector) FROM embeddings WHERE {mine})) AS cosine
    FROM embeddings WHERE model = {literal(model)}
  ) v USING (scene_id)
  WHERE s.scene_id <> {scene_id} AND {holds if side == "surely" else f"({holds}) IS NOT FALSE"}"""
        return self._step("similar", body, (), disjoint=True)

    def _and(self, node: And, side: Side, outside: frozenset[str]) -> _Relation:
        def around(part: Node) -> frozenset[str]:
            return outside.union(*(bound(p) for p in node.parts if p is not part))

        holds = [part for part in node.parts if not isinstance(part, Not)]
        denied = [part for part in node.parts if isinstance(part, Not)]
        # Those who are told of first: what is counted, or holds throughout, is joined to them.
        holds.sort(key=lambda part: not bound(part))
        made = [self.relation(part, side, around(part)) for part in holds]
        start = made[0] if made else self._spans()
        whole = reduce(lambda one, two: self._meet(one, two, side), made[1:], start)
        for part in denied:
            whole = self._cut(whole, self.relation(part.part, _OTHER[side], around(part)))
        return whole

    def _meet(self, one: _Relation, two: _Relation, side: Side) -> _Relation:
        """Who and when in both."""
        variables, joined, told = _join(one, two, side)
        body = (
            f"  SELECT l.scene_id{told}, greatest(l.t0, r.t0) AS t0, least(l.t1, r.t1) AS t1\n"
            f"  FROM {one.name} l JOIN {two.name} r ON {joined}"
            " AND l.t0 < r.t1 AND r.t0 < l.t1"
        )
        return self._step("and", body, variables)

    def _cut(self, whole: _Relation, out: _Relation) -> _Relation:
        """What is left of intervals when others are cut out of them."""
        shared = [v for v in whole.variables if v in out.variables]
        # Somebody who is cut out may be anybody; of somebody, nothing is cut out for sure.
        same = "".join(f" AND (b.{v} = o.{v} OR o.{v} IS NULL)" for v in shared)
        told = "".join(f", b.{v}" for v in whole.variables)
        base = self._step(
            "base", f"  SELECT *, row_number() OVER () AS rid FROM {whole.name}", whole.variables
        )
        holes = self._step(
            "holes",
            f"""  SELECT b.rid, greatest(o.t0, b.t0) AS h0, least(o.t1, b.t1) AS h1
  FROM {base.name} b JOIN {out.name} o ON o.scene_id = b.scene_id{same}
    AND o.t0 < b.t1 AND b.t0 < o.t1""",
            (),
        )
        body = f"""  SELECT b.scene_id{told}, p.t0, p.t1 FROM {base.name} b JOIN (
    SELECT h.rid, coalesce(max(h.h1) OVER (PARTITION BY h.rid ORDER BY h.h0, h.h1
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), b.t0) AS t0, h.h0 AS t1
    FROM {holes.name} h JOIN {base.name} b USING (rid)
    UNION ALL
    SELECT b.rid, coalesce(max(h.h1), b.t0), b.t1
    FROM {base.name} b LEFT JOIN {holes.name} h USING (rid) GROUP BY b.rid, b.t0, b.t1
  ) p USING (rid)
  WHERE p.t0 < p.t1"""
        return self._step("without", body, whole.variables, disjoint=whole.disjoint)

    def _or(self, parts: list[_Relation]) -> _Relation:
        """Any of them; who is told of in some branches only is somebody."""
        variables = [v for v in parts[0].variables if all(v in part.variables for part in parts)]
        told = "".join(f", {v}" for v in variables)
        rows = [f"  SELECT scene_id{told}, t0, t1 FROM {part.name}" for part in parts]
        return self._joined_up(self._step("or", "\n  UNION ALL\n".join(rows), variables))

    def _saved(self, node: Saved, side: Side, outside: frozenset[str]) -> _Relation:
        """The rule's own variables left out: they are somebody."""
        part = self.relation(node.part, side, outside)
        own = {self.columns[name] for name in node.own}
        kept = [v for v in part.variables if v not in own]
        if len(kept) == len(part.variables):
            return part
        listed = ", ".join(["scene_id", *kept, "t0", "t1"])
        return self._joined_up(self._step("rule", f"  SELECT {listed} FROM {part.name}", kept))

    def _joined_up(self, made: _Relation) -> _Relation:
        """Intervals of the same actors that meet, as one."""
        if made.disjoint:
            return made
        told = "".join(f"{v}, " for v in made.variables)
        by = f"PARTITION BY {', '.join(['scene_id', *made.variables])} ORDER BY t0, t1"
        body = f"""  SELECT scene_id, {told}min(t0) AS t0, max(t1) AS t1 FROM (
    SELECT *, sum(fresh) OVER ({by} ROWS UNBOUNDED PRECEDING) AS island FROM (
      SELECT *, (t0 > coalesce(max(t1) OVER ({by}
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), t0 - 1))::INT AS fresh
      FROM {made.name}))
  GROUP BY scene_id, {told}island"""
        return self._step("runs", body, made.variables, disjoint=True)

    # -- what doubt may lengthen, join and part -------------------------------------------------

    def _doubtful(self, node: Node) -> str:
        """The step with the scenes in which anything that an expression rests on is in doubt."""
        leaves = {repr(n): n for n in node.walk() if isinstance(n, Call | Fact | Similar)}
        rows = []
        for leaf in leaves.values():
            may, is_so = self.relation(leaf, "possibly"), self.relation(leaf, "surely")
            listed = ", ".join(["scene_id", *may.variables, "t0", "t1"])
            rows.append(
                f"  SELECT scene_id FROM (SELECT {listed} FROM {may.name}"
                f" EXCEPT SELECT {listed} FROM {is_so.name})"
            )
        return self._step("doubtful", "\n  UNION ".join(rows), ()).name

    def _extents(self, part: _Relation, doubtful: str) -> _Relation:
        """What is possible as stretches that surely contain the intervals that come true.

        Where nothing is in doubt they are those intervals themselves. Elsewhere (column ``loose``)
        what meets is joined; and where somebody takes part of whom it is not known who, all that
        meets it, of whomever: what holds of one may go on as what holds of somebody.
        """
        listed = ", ".join(["scene_id", *part.variables, "t0", "t1"])
        there = f"scene_id IN (SELECT scene_id FROM {doubtful})"
        some = self._step("in_doubt", f"  SELECT * FROM {part.name} WHERE {there}", part.variables)
        keyed = self._joined_up(some)
        rows = [
            f"  SELECT {listed}, FALSE AS loose FROM {part.name} WHERE NOT {there}",
            f"  SELECT {listed}, TRUE FROM {keyed.name}",
        ]
        if part.variables:
            somebody = " OR ".join(f"{v} IS NULL" for v in part.variables)
            body = f"  SELECT scene_id, t0, t1, {somebody} AS open FROM {some.name}"
            flat = self._step("anybody", body, ())
            by = "PARTITION BY scene_id ORDER BY t0, t1"
            rows.append(f"""  SELECT scene_id, {"".join("NULL, " for _ in part.variables)}t0, t1, TRUE
  FROM (SELECT scene_id, min(t0) AS t0, max(t1) AS t1, bool_or(open) AS open FROM (
    SELECT *, sum(fresh) OVER ({by} ROWS UNBOUNDED PRECEDING) AS island FROM (
      SELECT *, (t0 > coalesce(max(t1) OVER ({by}
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), t0 - 1))::INT AS fresh
      FROM {flat.name}))
  GROUP BY scene_id, island) WHERE open""")
        return self._step("extents", "\n  UNION ALL\n".join(rows), part.variables)

    def _may_be(
        self, node: Node, part: Node, outside: frozenset[str], only: _Relation
    ) -> _Relation:
        """Extents of a part of an expression, in the scenes of a relation."""
        with self._within(self.scope or only.name):
            found = self.relation(part, "possibly", outside)
            return self._extents(self._joined_up(found), self._doubtful(node))

    def _unless(
        self, made: _Relation, contains: Iterable[tuple[_Relation, str]], bad: str
    ) -> _Relation:
        """Rows of a relation but those that what is in doubt may undo.

        Args:
            made: Rows with a column ``rid``.
            contains: Extents with a prefix: those are looked at that contain the interval from the
                columns ``{prefix}0`` to ``{prefix}1``, of the same actors.
            bad: When, on ``m`` and the extents by their prefixes.
        """
        joins = ""
        for extent, k in contains:
            same = "".join(
                f" AND ({k}.{v} = m.{v} OR {k}.{v} IS NULL)"
                for v in extent.variables if v in made.variables
            )  # fmt: skip
            joins += (
                f"\n  JOIN {extent.name} {k} ON {k}.loose AND {k}.scene_id = m.scene_id{same}"
                f" AND {k}.t0 <= m.{k}0 AND {k}.t1 >= m.{k}1"
            )
        undone = self._step("undone", f"  SELECT m.rid FROM {made.name} m{joins} WHERE {bad}", ())
        listed = ", ".join(["scene_id", *made.variables, "t0", "t1"])
        body = (
            f"  SELECT {listed} FROM {made.name} WHERE rid NOT IN (SELECT rid FROM {undone.name})"
        )
        return self._step("sure", body, made.variables, disjoint=made.disjoint)

    def _sequence(self, node: Sequence, side: Side, outside: frozenset[str]) -> _Relation:
        """In order.

        What holds of intervals in doubt may begin earlier and end later. So what is sure is in order
        wherever they begin and end; what is possible could be if parts of it came true.
        """
        of_one, of_two = outside | bound(node.second), outside | bound(node.first)
        one = self.relation(node.first, side, of_one)
        two = self.relation(node.second, side, of_two)
        if node.order == "overlaps":
            return self._meet(one, two, side)
        variables, joined, told = _join(one, two, side)
        begin, until, some = "l.t0", "greatest(l.t1, r.t1)", "r.t1 > l.t0"
        match node.order:
            case "then":
                order, bad = "r.t0 > l.t0", "r.t0 <= m.l0"
            case "before":
                order, bad = "r.t0 >= l.t1", "r.t0 < l.t1"
            case _:
                order, until = "l.t0 >= r.t0 AND l.t1 <= r.t1", "l.t1"
                bad, some = "l.t0 < m.r0 OR l.t1 > m.r1", "r.t1 > l.t0 AND l.t1 > r.t0"
        limit = (
            "" if node.within_s is None else f" AND r.t0 <= l.t1 + {round(node.within_s * 1e9)}"
        )
        if side == "possibly":
            doubtful = self._doubtful(node)
            one, two = self._extents(one, doubtful), self._extents(two, doubtful)
            order = f"CASE WHEN l.loose THEN {some} ELSE {order} END"
            if node.order == "during":
                begin = "CASE WHEN l.loose THEN greatest(l.t0, r.t0) ELSE l.t0 END"
                until = "CASE WHEN l.loose THEN least(l.t1, r.t1) ELSE l.t1 END"
            body = (
                f"  SELECT l.scene_id{told}, {begin} AS t0, {until} AS t1\n"
                f"  FROM {one.name} l JOIN {two.name} r ON {joined} AND {order}{limit}"
            )
            return self._step(node.order, body, variables)
        body = (
            f"  SELECT l.scene_id{told}, {begin} AS t0, {until} AS t1, l.t0 AS l0, l.t1 AS l1,"
            " r.t0 AS r0, r.t1 AS r1, row_number() OVER () AS rid\n"
            f"  FROM {one.name} l JOIN {two.name} r ON {joined} AND {order}{limit}"
        )
        made = self._step(node.order, body, variables)
        contains = []
        if node.order != "then":
            contains.append((self._may_be(node, node.first, of_one, made), "l"))
        if node.order != "during":
            contains.append((self._may_be(node, node.second, of_two, made), "r"))
        return self._unless(made, contains, bad)

    def _lasting(self, node: Lasting, side: Side, outside: frozenset[str]) -> _Relation:
        """Doubt makes what is sure last longer, and what is possible as short as one likes."""
        part = self._joined_up(self.relation(node.part, side, outside))
        holds = f"t1 - t0 {node.op} {round(node.seconds * 1e9)}"
        if side == "possibly":
            part = self._extents(part, self._doubtful(node))
            loose = "loose OR " if node.op == "<=" else ""
            body = f"  SELECT * EXCLUDE (loose) FROM {part.name} WHERE {loose}{holds}"
            return self._step("lasting", body, part.variables)
        if node.op == ">=":
            body = f"  SELECT * FROM {part.name} WHERE {holds}"
            return self._step("lasting", body, part.variables, disjoint=True)
        body = (
            "  SELECT *, t0 AS l0, t1 AS l1, row_number() OVER () AS rid"
            f" FROM {part.name} WHERE {holds}"
        )
        made = self._step("lasting", body, part.variables, disjoint=True)
        may = self._may_be(node, node.part, outside, made)
        return self._unless(made, [(may, "l")], f"l.t1 - l.t0 > {round(node.seconds * 1e9)}")

    def _count(self, node: Count, side: Side, outside: frozenset[str]) -> _Relation:
        """At least so many; other comparisons were written as this one, or its denial.

        Times that doubt may join to one count as one for sure, and one stretch in doubt may be as
        many times as steps with gaps between them have room in it.
        """
        part = self.relation(node.part, side, outside)
        least = round(node.compare.number)
        whom = None if node.of is None else self.columns[node.of.name]
        group = [
            v for name, v in self.columns.items()
            if name in outside and v in part.variables and v != whom
        ]  # fmt: skip
        inner = [v for v in part.variables if v not in group]
        if whom is None:  # one and the same occurrence, told of two in both orders
            part = self.in_one_order(part, node.part, inner)
        part = self._joined_up(part)
        if node.at_once:
            return self._at_once(part, group, whom, least)
        if side == "possibly":
            return self._may_be_so_many(node, part, group, inner, whom)
        who = "b." + whom if whom else f"({', '.join(f'b.{v}' for v in [*inner, 't0', 't1'])})"
        made = self._so_many(node, part, group, f"count(DISTINCT {who}) >= {least}")
        if whom is not None and node.within_s is None:
            return made  # however often each of them does so
        with self._within(self.scope or made.name):
            may = self.relation(node.part, "possibly", outside)
            if whom is None:
                may = self.in_one_order(may, node.part, inner)
            may = self._extents(self._joined_up(may), self._doubtful(node))
        same = "".join(
            f" AND (p.{v} = j.{v} OR p.{v} IS NULL)" for v in part.variables if v in may.variables
        )
        listed = ", ".join(f"j.{c}" for c in ["scene_id", *part.variables, "t0", "t1"])
        body = f"""  SELECT {listed}, coalesce(min(p.t0), j.t0) AS e0
  FROM {part.name} j LEFT JOIN {may.name} p ON p.loose AND p.scene_id = j.scene_id{same}
    AND p.t0 <= j.t0 AND p.t1 >= j.t1
  WHERE j.scene_id IN (SELECT scene_id FROM {made.name}) GROUP BY {listed}"""
        early = self._step("begins", body, part.variables)
        who = "b." + whom if whom else f"({', '.join(f'b.{v}' for v in [*inner, 'e0'])})"
        return self._so_many(node, early, group, f"count(DISTINCT {who}) >= {least}", begin="e0")

    def _so_many(
        self, node: Count, part: _Relation, group: list[str], enough: str, *, begin: str = "t0"
    ) -> _Relation:
        """Groups of which enough is true: of whole scenes, or of what begins within a time."""
        told = "".join(f", b.{v}" for v in group)
        if node.within_s is None:
            spans = self._spans()
            body = f"""  SELECT b.scene_id{told}, any_value(s.t0) AS t0, any_value(s.t1) AS t1
  FROM {part.name} b JOIN {spans.name} s USING (scene_id)
  GROUP BY b.scene_id{told} HAVING {enough}"""
            return self._step("count", body, group, disjoint=True)
        same = "".join(f" AND a.{v} IS NOT DISTINCT FROM b.{v}" for v in group)
        body = f"""  SELECT b.scene_id{told}, min(b.t0) AS t0, max(b.t1) AS t1
  FROM (SELECT DISTINCT {", ".join(["scene_id", *group, begin])} FROM {part.name}) a
  JOIN {part.name} b ON a.scene_id = b.scene_id{same}
    AND b.{begin} >= a.{begin} AND b.t0 <= a.{begin} + {round(node.within_s * 1e9)}
  GROUP BY b.scene_id{told}, a.{begin} HAVING {enough}"""
        return self._step("count", body, group)

    def _may_be_so_many(
        self, node: Count, part: _Relation, group: list[str], inner: list[str], whom: str | None
    ) -> _Relation:
        part = self._extents(part, self._doubtful(node))
        least, spans = round(node.compare.number), self._spans()
        who = "b." + whom if whom else f"({', '.join(f'b.{v}' for v in [*inner, 't0', 't1'])})"
        enough = f"count(DISTINCT {who}) >= {least}"
        # Somebody, it is not known who: it may be any number of them.
        anybody = " OR ".join(f"b.{v} IS NULL" for v in part.variables)
        anybody = f"bool_or({anybody})" if anybody else "FALSE"
        times = f"sum(ceil((b.t1 - b.t0) / {2 * STEP_NS})) >= {least}"
        enough = (
            f"CASE WHEN bool_or(b.loose) THEN {anybody} OR {times if whom is None else enough}"
            f" ELSE {enough} END"
        )
        told = "".join(f", b.{v}" for v in group)
        if node.within_s is None:
            return self._so_many(node, part, group, enough)
        limit = round(node.within_s * 1e9)
        same = "".join(f" AND a.{v} IS NOT DISTINCT FROM b.{v}" for v in group)
        body = f"""  SELECT b.scene_id{told},
    CASE WHEN {anybody} THEN any_value(s.t0) ELSE min(least(a.t0, b.t0)) END AS t0,
    CASE WHEN {anybody} THEN any_value(s.t1) ELSE max(b.t1) END AS t1
  FROM (SELECT DISTINCT {", ".join(["scene_id", *group, "t0", "t1", "loose"])} FROM {part.name}) a
  JOIN {part.name} b ON a.scene_id = b.scene_id{same}
    AND CASE WHEN a.loose THEN b.t1 > a.t0 AND b.t0 <= a.t1 + {limit}
      ELSE b.t0 BETWEEN a.t0 AND a.t0 + {limit} END
  JOIN {spans.name} s ON s.scene_id = b.scene_id
  GROUP BY b.scene_id{told}, a.t0, CASE WHEN a.loose THEN a.t1 END HAVING {enough}"""
        return self._step("count", body, group)

    def _at_once(
        self, part: _Relation, group: list[str], whom: str | None, least: int
    ) -> _Relation:
        """Begins count up, ends count down; somebody, it is not known who, may be any number."""
        if whom is not None:
            kept = [*group, whom]
            listed = ", ".join(["scene_id", *kept, "t0", "t1"])
            part = self._joined_up(self._step("each", f"  SELECT {listed} FROM {part.name}", kept))
        told = "".join(f"{v}, " for v in group)
        open_ = " OR ".join(f"{v} IS NULL" for v in part.variables)
        many = f"CASE WHEN {open_} THEN {least} ELSE 1 END" if open_ else "1"
        by = ", ".join(["scene_id", *group])
        body = f"""  SELECT scene_id, {told}t AS t0, until AS t1 FROM (
    SELECT *, sum(change) OVER (PARTITION BY {by} ORDER BY t) AS number,
      lead(t) OVER (PARTITION BY {by} ORDER BY t) AS until
    FROM (
      SELECT scene_id, {told}t, sum(change) AS change FROM (
        SELECT scene_id, {told}t0 AS t, {many} AS change FROM {part.name}
        UNION ALL SELECT scene_id, {told}t1, -{many} FROM {part.name})
      GROUP BY scene_id, {told}t))
  WHERE number >= {least} AND until IS NOT NULL"""
        return self._joined_up(self._step("at_once", body, group))


def _join(one: _Relation, two: _Relation, side: Side) -> tuple[list[str], str, str]:
    """Variables of both, the condition that they are the same actors, and how they are told."""
    shared = [v for v in one.variables if v in two.variables]
    mine = [v for v in one.variables if v not in shared]
    theirs = [v for v in two.variables if v not in shared]
    conditions = ["l.scene_id = r.scene_id"]
    for v in shared:
        same = f"l.{v} = r.{v}"
        open_ = f"({same} OR l.{v} IS NULL OR r.{v} IS NULL)"
        conditions.append(same if side == "surely" else open_)
    for a in mine:
        for b in theirs:
            apart = f"l.{a} <> r.{b}"
            conditions.append(apart if side == "surely" else f"({apart}) IS NOT FALSE")
    told = "".join(
        [
            *(
                f", {f'l.{v}' if side == 'surely' else f'coalesce(l.{v}, r.{v})'} AS {v}"
                for v in shared
            ),
            *(f", l.{v}" for v in mine),
            *(f", r.{v}" for v in theirs),
        ]
    )
    return [*shared, *mine, *theirs], " AND ".join(conditions), told


def condition(node: Fact) -> str:
    """Whether a fact is so, null where nobody told it: SQL on ``s``, ``l`` and ``c``."""
    sql = FACTS[node.name].sql
    if node.compare is not None:
        return f"{sql} {_compare(node.compare)}"
    return f"nullif({sql}, 'unknown') IN ({', '.join(map(literal, node.words))})"


def _compare(compare: Compare) -> str:
    op = "<>" if compare.op == "!=" else compare.op
    return f"{op} {compare.number!r}::DOUBLE"


def _normal(node: Node) -> Node:
    """Counts as ``at least``: at most n is not more than n, exactly n is both."""
    match node:
        case Count(compare=compare):
            part = replace(node, part=_normal(node.part))

            def least(number: float) -> Node:
                # At least none is always so.
                return replace(part, compare=Compare(">=", number))

            n = compare.number
            match compare.op:
                case ">=":
                    return least(n)
                case ">":
                    return least(n + 1)
                case "<":
                    return Not(least(n))
                case "<=":
                    return Not(least(n + 1))
                case "=":
                    more = Not(least(n + 1))
                    return And(least(n), more) if n > 0 else more
                case _:
                    above = least(n + 1)
                    return Or(Not(least(n)), above) if n > 0 else above
        case And(parts=parts):
            made = [
                inner
                for part in map(_normal, parts)
                for inner in (part.parts if isinstance(part, And) else (part,))
            ]
            return And(*made, place=node.place)
        case Or(parts=parts):
            return Or(*map(_normal, parts), place=node.place)
        case Sequence(first=first, second=second):
            return replace(node, first=_normal(first), second=_normal(second))
        case Not(part=part) | Lasting(part=part) | Saved(part=part):
            return replace(node, part=_normal(part))
    return node


def _asserted(node: Node) -> list[Call]:
    """Calls that stand for something that is so, not for what is denied."""
    match node:
        case Call():
            return [node]
        case Not():
            return []
    return [call for child in node.children() for call in _asserted(child)]

"""Saved rules as tags of a lake: where each holds goes into ``events``, like any predicate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lake import Lake
from lake.ids import stable_id
from lake.json_text import as_json
from lake.literals import literal
from mining.looked import MARKED, lookers, mark, seen_by
from mining.query.find import names_of, planned, see_that_tagged, understood
from mining.query.rule import Rule
from mining.query.rules import as_told, rules_of
from mining.query.tree import Actor, Call
from mining.tag import TagReport


def tag_rules(lake: Lake, rules: Iterable[Rule]) -> TagReport:
    """Write where rules hold, and where they may; what they were is in ``runs``.

    Rows of an earlier run of the same rules give way. The predicates that the rules use must have
    been tagged before.

    Raises:
        MissingData: One of them was never looked for here.
    """
    rules = list(rules)
    known = {**rules_of(lake), **{rule.name: rule for rule in rules}}
    told = [as_told(rule) for rule in rules]
    held: dict[str, int] = {}
    scenes_held: dict[str, int] = {}
    unknown = 0
    now = lake.at()
    wanted = {name for rule in rules for name in names_of(understood(rule.node, known))}
    where = seen_by(lookers(now, wanted))
    seen = now.sql(f"SELECT scene_id FROM scenes WHERE {where}")["scene_id"].to_pylist()
    scenes = len(seen)
    params = {"only": [rule.name for rule in rules], "rules": told, "scenes": scenes, **MARKED}
    with lake.run("mine tag", params=params) as run:
        rows: list[dict[str, Any]] = []
        for rule in rules:
            mine = list(_rows(now, rule, known))
            sure = [row for row in mine if row["truth"] == "true"]
            held[rule.name] = len(sure)
            scenes_held[rule.name] = len({row["scene_id"] for row in sure})
            unknown += len(mine) - len(sure)
            rows += [{**row, "run_id": run.id} for row in mine]
        names = ", ".join(literal(rule.name) for rule in rules)
        with lake.store.writing():
            lake.replace("events", rows, where=f"source = 'rule' and name in ({names})")
            mark(lake, [rule.name for rule in rules], seen, run.id)
            lake.store.index()
        run.keep = bool(rules)
        run.summary.update(scenes=scenes, events=sum(held.values()), unknown=unknown)
    return TagReport(
        run_id=run.id, scenes=scenes, events=sum(held.values()), unknown=unknown, by_name=held,
        scenes_by_name=scenes_held,
    )  # fmt: skip


def _rows(lake: Lake, rule: Rule, known: Mapping[str, Rule]) -> Iterator[dict[str, Any]]:
    """The rule's events but for their run: all that is sure, then what is in doubt."""
    query = understood(Call(rule.name, tuple(map(Actor, rule.actors))), known)
    seen = see_that_tagged(lake, query)
    for open_, truth in ((False, "true"), (True, "unknown")):
        plan = planned(lake, replace(query, unknown_as_true=open_), seen)
        who = [
            f"m.{plan.columns[name]}" if name in plan.columns else "NULL"
            for name in [*rule.actors[:2], "", ""][:2]
        ]
        found = lake.sql(
            f"SELECT m.scene_id, m.log_id, m.t0_ns + s.t0_ns AS t0_ns, m.t1_ns + s.t0_ns AS t1_ns,"
            f" {who[0]} AS actor_id, {who[1]} AS other_id FROM ({plan.sql}) m"
            f" JOIN scenes s USING (scene_id) WHERE m.truth = '{truth}' ORDER BY ALL",
            by_index=False,
        )
        for row in found.to_pylist():
            row["event_id"] = stable_id("rule", rule.name, rule.version, truth, *row.values())
            yield {
                **row, "name": rule.name, "truth": truth, "source": "rule", "lane_id": None,
                "value": None, "evidence": as_json({"query": rule.text}), "params": "{}",
                "rule_version": rule.version,
            }  # fmt: skip

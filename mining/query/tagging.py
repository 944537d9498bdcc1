"""Saved rules as tags of a lake: where each holds goes into ``events``, like any predicate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import Lake
from lake.ids import stable_id
from lake.json_text import as_json
from lake.literals import literal
from lake.store import conform
from mining.looked import MARKED, Looked, adopt, looked, mark, tidy
from mining.query.find import planned, understood
from mining.query.rule import Rule
from mining.query.rules import as_told, looks_afar, meanings, rules_of
from mining.query.tree import Actor, Call
from mining.tag import Found, TagReport

RULES_A_COMMIT = 8
SCENES_BY_INDEX = 1000
"""So many scenes are read by their index; of more, all of a table is gone through."""


def tag_rules(lake: Lake, rules: Iterable[Rule], *, again: bool = False) -> TagReport:
    """Write where rules hold, and where they may; what they were is in ``runs``.

    Only what is missing is done: scenes that were not looked through for a rule as it is meant now,
    and were for the predicates that it uses. Rules that look beyond a scene (rarity, likeness) are
    done again each time.

    Args:
        lake: Which lake.
        rules: Which rules; they may call each other, and those that the lake knows.
        again: Do what is up to date, too.

    Raises:
        MissingData: One of the predicates was never looked for here.
    """
    rules = list(rules)
    known = {**rules_of(lake), **{rule.name: rule for rule in rules}}
    used = {rule.name: understood(rule.node, known).names for rule in rules}
    adopt(lake)
    now = lake.at()
    tagged = looked(now, meanings(name for names in used.values() for name in names))
    tagged.refuse_never()
    meant = meanings(used, known)
    done = _done(now, rules, meant, again=again)
    everywhere = frozenset(now.scene_ids())
    ready = {
        name: everywhere.intersection(*(tagged.scenes[n] for n in names))
        for name, names in used.items()
    }
    todo: dict[frozenset[int], list[Rule]] = {}
    for rule in rules:
        lacking = ready[rule.name] - done[rule.name]
        # A rule of which nothing is known yet is made known, whatever there is to look through.
        if lacking or (not done[rule.name] and not ready[rule.name]):
            todo.setdefault(lacking, []).append(rule)
    found, run_ids = Found(), []
    for scene_ids, alike in todo.items():
        for k in range(0, len(alike), RULES_A_COMMIT):
            some = alike[k : k + RULES_A_COMMIT]
            params = {
                "only": [rule.name for rule in some],
                "meant": {rule.name: meant[rule.name] for rule in some},
                "rules": list(map(as_told, some)), "scenes": len(scene_ids), **MARKED,
            }  # fmt: skip
            with lake.run("mine tag", params=params) as run:
                run_ids.append(run.id)
                rows = [row for rule in some for row in _rows(now, rule, known, scene_ids)]
                events = conform("events", [{**row, "run_id": run.id} for row in rows])
                with lake.store.writing():
                    for rule in some:
                        _give_way(lake, rule, done[rule.name])
                    lake.append("events", events)
                    mark(lake, sorted(scene_ids), run.id)
                found.add(events)
                mine = Found()
                mine.add(events)
                run.summary.update(mine.summary(len(scene_ids)))
    if run_ids:
        tidy(lake, run_ids)
        with lake.store.writing():
            lake.store.index()
    names = [rule.name for alike in todo.values() for rule in alike]
    scenes = frozenset[int]().union(*todo)
    every = everywhere.intersection(*ready.values())
    return found.report(
        (rule.name for rule in rules if rule.name in names), run_ids=run_ids, scenes=len(scenes),
        up_to_date=len(every - scenes), untagged=len(everywhere - every),
    )  # fmt: skip


def _done(
    lake: Lake, rules: Iterable[Rule], meant: Mapping[str, int], *, again: bool
) -> Mapping[str, frozenset[int]]:
    """Of each rule the scenes in which it need not be looked for again."""
    found: Looked = looked(lake, meant)
    return {
        rule.name: frozenset() if again or looks_afar(rule) else found.scenes[rule.name]
        for rule in rules
    }


def _give_way(lake: Lake, rule: Rule, kept: frozenset[int]) -> None:
    """Drop the rule's rows but in scenes that are up to date."""
    mine = f"source = 'rule' AND name = {literal(rule.name)}"
    there = set(lake.read("events", ["scene_id"], mine)["scene_id"].to_pylist())
    old = sorted(there - kept)
    if old and not there & kept:
        lake.store.delete("events", mine)
        return
    for k in range(0, len(old), SCENES_BY_INDEX):
        some = ", ".join(map(str, old[k : k + SCENES_BY_INDEX]))
        lake.store.delete("events", f"{mine} AND scene_id IN ({some})")


def _only(lake: Lake, names: Iterable[str], scene_ids: frozenset[int]) -> dict[str, pa.Table]:
    """The tables as a rule is asked of some scenes alone."""
    if len(scene_ids) <= SCENES_BY_INDEX:
        where = f"scene_id IN ({', '.join(map(str, sorted(scene_ids))) or 'NULL'})"
        listed = ", ".join(map(literal, names))
        mine = f"source = 'rule' AND name IN ({listed}) AND {where}" if listed else "false"
        return {
            "scenes": lake.read("scenes", None, where),
            "events": lake.read("events", None, mine),
        }
    scenes = lake.read("scenes")
    chosen = pc.is_in(scenes["scene_id"], pa.array(sorted(scene_ids), type=pa.int64()))
    return {"scenes": scenes.filter(chosen)}


def _rows(
    lake: Lake, rule: Rule, known: Mapping[str, Rule], scene_ids: frozenset[int]
) -> Iterator[dict[str, Any]]:
    """The rule's events in scenes, but for their run: all that is sure, then what is in doubt."""
    if not scene_ids:
        return
    query = understood(Call(rule.name, tuple(map(Actor, rule.actors))), known)
    only = _only(lake, query.names, scene_ids)
    for open_, truth in ((False, "true"), (True, "unknown")):
        plan = planned(lake, replace(query, unknown_as_true=open_))
        who = [
            f"m.{plan.columns[name]}" if name in plan.columns else "NULL"
            for name in [*rule.actors[:2], "", ""][:2]
        ]
        found = lake.sql(
            f"SELECT m.scene_id, m.log_id, m.t0_ns + s.t0_ns AS t0_ns, m.t1_ns + s.t0_ns AS t1_ns,"
            f" {who[0]} AS actor_id, {who[1]} AS other_id FROM ({plan.sql}) m"
            f" JOIN scenes s USING (scene_id) WHERE m.truth = '{truth}' ORDER BY ALL",
            by_index=False, instead=only,
        )  # fmt: skip
        for row in found.to_pylist():
            row["event_id"] = stable_id("rule", rule.name, rule.version, truth, *row.values())
            yield {
                **row, "name": rule.name, "truth": truth, "source": "rule", "lane_id": None,
                "value": None, "evidence": as_json({"query": rule.text}), "params": "{}",
                "rule_version": rule.version,
            }  # fmt: skip

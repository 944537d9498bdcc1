"""Saved rules: a TOML file of them, those that ship, and those that a lake was tagged with.

.. code-block:: toml

    [squeezed]
    doc = "Somebody cuts in, and the ego brakes for it."
    query = "cut_in(a, who) then braking(who) <= -2 m/s2 within 2 s"
    actors = ["who"]
    version = 2

A rule is called like a predicate, ``squeezed(ego)``; its other variables are anybody. Rules may call
those above them. ``mine tag --rules FILE`` writes where they hold into ``events``, as predicates'
intervals are, with the rule itself in ``runs``: from then on queries of that lake can call them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lake import Lake
from lake.ids import stable_id
from mining.predicates import PREDICATES
from mining.query.check import bound, checked
from mining.query.facts import FACTS
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from mining.query.rule import Rule
from mining.query.tree import Fact, Node, Saved, Similar
from schemas import config
from schemas.errors import BadSetting, UnknownName

SHIPPED = Path(__file__).parent / "rules"
"""A TOML file for each vocabulary that is told in ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """A rule as TOML tells it, see :class:`mining.query.rule.Rule`."""

    query: str
    actors: tuple[str, ...] = ()
    doc: str = ""
    source: str = "own"
    version: int = 1


def read_rules(path: str | Path, known: Mapping[str, Rule] | None = None) -> dict[str, Rule]:
    """The rules of a TOML file.

    Args:
        path: The file.
        known: Rules that those in the file may call.

    Raises:
        UnreadableFile: There is no such file, or it is not TOML.
        BadSetting: A key is not known, a name is taken, or a rule does not say what it must.
        BadExpression: A rule's query cannot be asked.
    """
    return _rules(config.read_toml(path), known or {}, where=str(path))


@cache
def shipped_rules() -> dict[str, Rule]:
    """The rules that come with Scenelake, by name."""
    made: dict[str, Rule] = {}
    for path in sorted(SHIPPED.glob("*.toml")):
        made |= read_rules(path, made)
    return made


def rules_of(lake: Lake) -> dict[str, Rule]:
    """The rules that ship and, over them, those that the lake was tagged with, the latest of each.

    A rule that can no longer be asked is left out, such as one of a predicate that was renamed: it must not
    keep all others from being found.
    """
    made = dict(shipped_rules())
    runs = lake.read("runs", ["params", "started_unix_ns"], "command = 'mine tag'").to_pylist()
    for row in sorted(runs, key=lambda row: row["started_unix_ns"]):
        told = json.loads(row["params"]).get("rules") or []
        for rule in told:
            name = rule.pop("name")
            try:
                made |= _rules({name: rule}, made, where="a run of `mine tag`")
            except BadSetting:
                continue
    return made


def some_of(rules: Mapping[str, Rule], names: Iterable[str] | None) -> list[Rule]:
    """The rules of those names; all if there are none.

    Raises:
        UnknownName: No rule is called so.
    """
    for name in names or ():
        if name not in rules:
            raise UnknownName("rule", name, rules)
    return [rule for name, rule in rules.items() if names is None or name in set(names)]


def meanings(names: Iterable[str], rules: Mapping[str, Rule] | None = None) -> dict[str, int]:
    """What predicates and rules mean now, as a number that changes when that does.

    It is the version of a predicate. Of a rule it stands for the rule's own version, all that it is
    made of, and the meanings of the predicates therein; how it is laid out does not count.

    Args:
        names: Of predicates, and of rules among the others.
        rules: Saved rules by name.
    """
    return {
        name: PREDICATES[name].version if name in PREDICATES else _meaning((rules or {})[name])
        for name in names
    }


def looks_afar(rule: Rule) -> bool:
    """Whether it asks of a scene what changes as others come into the lake: rarity, likeness."""
    return any(
        isinstance(node, Similar) or (isinstance(node, Fact) and node.name == "rarity")
        for node in rule.node.walk()
    )


def as_told(rule: Rule) -> dict[str, Any]:
    """A rule as it stands in a run."""
    return {
        "name": rule.name, "query": rule.text, "actors": list(rule.actors), "doc": rule.doc, "source": rule.source,
        "version": rule.version,
    }  # fmt: skip


def _meaning(rule: Rule) -> int:
    parts: list[Node] = [rule.node]
    parts += [node.part for node in rule.node.walk() if isinstance(node, Saved)]
    used = {call.name: PREDICATES[call.name].version for call in rule.node.calls()}
    words = [f"{name} {version}" for name, version in sorted(used.items())]
    return stable_id("rule", rule.version, *rule.actors, *map(str, parts), *words)


def _rules(values: Mapping[str, Any], known: Mapping[str, Rule], *, where: str) -> dict[str, Rule]:
    made: dict[str, Rule] = {}
    for name, told in values.items():
        if not isinstance(told, Mapping):
            raise BadSetting(
                f"{where}: `{name}` is not a rule.",
                hint=f"Write `[{name}]` and `query = …` below.",
            )
        text = config.build(RuleText, told, where=f"{where}, [{name}]")
        if not name.isidentifier() or name in PREDICATES or name in FACTS:
            reason = "is taken" if name.isidentifier() else "is no name: letters, digits and _"
            raise BadSetting(f"{where}: `{name}` {reason}.", hint="Call the rule another way.")
        try:
            query = checked(parse(text.query), {**known, **made})
        except BadExpression as error:
            raise BadSetting(f"{where}, [{name}]: {error.message}", hint=error.hint) from error
        if query.unknown_as_true:
            raise BadSetting(
                f"{where}, [{name}]: a rule keeps what is unknown.",
                hint="Leave `unknown as true` to the query that calls it.",
            )
        for actor in text.actors:
            if actor not in bound(query.node):
                raise BadSetting(
                    f"{where}, [{name}]: its query does not tell who `{actor}` is.",
                    hint=f"Variables: {', '.join(sorted(bound(query.node))) or 'none'}.",
                )
        made[name] = Rule(
            name=name, text=text.query, node=query.node, actors=text.actors, doc=text.doc,
            source=text.source, version=text.version,
        )  # fmt: skip
    return made

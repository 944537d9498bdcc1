"""Which scenes were looked through for what: what was never looked for is not absent.

A run of ``mine tag`` says in its ``params`` for which predicates or rules it looked, and that it marks
what it looks through: it has a row in ``looked`` for every such scene. Runs of Scenelake 0.1 did not;
they are taken to have seen every scene that there is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lake import Lake

MARKED = {"marks": True}
"""Among the ``params`` of a run that marks the scenes that it looks through."""


@dataclass(frozen=True, slots=True)
class Lookers:
    """The runs that looked for a name.

    Attributes:
        runs: Their ids.
        everywhere: Whether one of them does not tell where it looked, and so counts for all scenes.
    """

    runs: frozenset[int]
    everywhere: bool


def lookers(lake: Lake, names: Iterable[str]) -> dict[str, Lookers]:
    """Who looked for each name."""
    found: dict[str, set[int]] = {name: set() for name in names}
    everywhere: set[str] = set()
    for row in lake.read("runs", ["run_id", "params"], "command = 'mine tag'").to_pylist():
        params = json.loads(row["params"])
        for name in found.keys() & set(params.get("only") or ()):
            found[name].add(int(row["run_id"]))
            if not params.get("marks"):
                everywhere.add(name)
    return {name: Lookers(frozenset(of), name in everywhere) for name, of in found.items()}


def seen_by(found: Mapping[str, Lookers]) -> str:
    """A condition, SQL, on the ``scene_id`` of scenes that were looked through for all the names."""
    groups = {of.runs for of in found.values() if of.runs and not of.everywhere}
    conditions = [
        f"scene_id IN (SELECT scene_id FROM looked WHERE run_id IN ({', '.join(map(str, sorted(of)))}))"
        for of in sorted(groups, key=sorted)
    ]
    return " AND ".join(conditions) or "true"


def mark(lake: Lake, names: Collection[str], scene_ids: Iterable[int], run_id: int) -> None:
    """Say that a run looked through scenes for the names; rows of runs that looked for no more go."""
    ids = sorted(set(scene_ids))
    if not ids:
        return
    runs = lake.read("runs", ["run_id", "params"], "command = 'mine tag'").to_pylist()
    passed = [
        int(row["run_id"])
        for row in runs
        if set(json.loads(row["params"]).get("only") or ()) <= set(names)
    ]
    old = ", ".join(map(str, [*passed, run_id]))
    here = ", ".join(map(str, ids))
    rows = [{"scene_id": scene_id, "run_id": run_id} for scene_id in ids]
    lake.replace("looked", rows, where=f"run_id in ({old}) and scene_id in ({here})")

"""Which scenes were looked through for what: what was never looked for is not absent.

A run of ``mine tag`` tells in its ``params``, as ``meant``, what it looked for and by which meaning of
it: of a predicate its version, of a rule a number that changes with anything that the rule is made
of (:func:`mining.query.rules.meanings`). It has a row in ``looked`` for each scene that it looked
through. A scene was looked through for a name if the last run that looked there for it meant what is
meant now; what an older meaning found there does not count.

Of runs of older Scenelakes as much is taken to be so as can be shown:

- they do not tell what they meant: the first version of each predicate, and no rule that is known;
- those of 0.1 do not mark where they looked: through the scenes in which they left a row in
  ``events``, since all that they looked for in a scene was written in one step. A scene that shows
  nothing of theirs may have come in later. :func:`adopt` writes their marks down.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import Lake
from lake.literals import literal
from schemas.errors import MissingData

MARKED = {"marks": True}
"""Among the ``params`` of a run that marks the scenes that it looks through."""
FIRST_VERSION = 1
"""What a predicate meant to runs that do not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run of ``mine tag``: what it meant by what it looked for, and whether it marks where."""

    id: int
    meant: Mapping[str, int | None]
    marks: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """Where a lake was looked through for each of some names.

    Attributes:
        lake: The lake.
        where: Of each name a condition, SQL, on the ``scene_id`` of scenes that were looked through
            for it; ``false`` where nobody did who meant the same.
        by_events: Whether these ask of rows of ``events`` of any name, since a run left no marks.
    """

    lake: Lake
    where: Mapping[str, str]
    by_events: bool = False

    @property
    def never(self) -> list[str]:
        """The names for which no scene was ever looked through."""
        return [name for name, condition in self.where.items() if condition == _NOWHERE]

    def refuse_never(self) -> None:
        """Tell of the names for which nobody has looked at all.

        Raises:
            MissingData: There are such names.
        """
        if self.never:
            told = ", ".join(f"`{name}`" for name in self.never)
            raise MissingData(
                f"Nobody has looked for {told} in this lake yet, as it is meant now.",
                hint="Run `scenelake mine tag`, or `mine tag --rules FILE` for a saved rule.",
            )

    @cached_property
    def _by_condition(self) -> dict[str, frozenset[int]]:
        """The scenes for which each condition holds."""
        conditions = list(dict.fromkeys(["true", *self.where.values()]))
        told = ", ".join(f"{condition} AS c{k}" for k, condition in enumerate(conditions))
        rows = self.lake.sql(f"SELECT scene_id, {told} FROM scenes")
        return {
            condition: frozenset(rows.filter(rows[f"c{k}"])["scene_id"].to_pylist())
            for k, condition in enumerate(conditions)
        }

    @property
    def everywhere(self) -> frozenset[int]:
        """All scenes of the lake."""
        return self._by_condition["true"]

    @cached_property
    def scenes(self) -> dict[str, frozenset[int]]:
        """Of each name the scenes that were looked through for it."""
        return {name: self._by_condition[condition] for name, condition in self.where.items()}

    @cached_property
    def whole(self) -> frozenset[int]:
        """The scenes that were looked through for all the names."""
        return self.everywhere.intersection(*(self._by_condition[c] for c in self.where.values()))

    @property
    def condition(self) -> str:
        """Of those scenes, SQL on ``scene_id``."""
        return " AND ".join(dict.fromkeys(self.where.values())) or "true"

    @property
    def rows(self) -> str:
        """Of ``events`` those that rules left of the names and that say what is meant now, SQL."""
        alike: dict[str, list[str]] = {}
        for name, condition in self.where.items():
            alike.setdefault(condition, []).append(literal(name))
        each = [f"(name IN ({', '.join(names)}) AND {where})" for where, names in alike.items()]
        return f"(source = 'rule' AND ({' OR '.join(each) or 'false'}))"

    @property
    def untagged(self) -> frozenset[int]:
        """The scenes that were not."""
        return self.everywhere - self.whole

    @property
    def partly(self) -> dict[str, str]:
        """The conditions of the names for which not all scenes were looked through."""
        return {n: c for n, c in self.where.items() if self.scenes[n] != self.everywhere}


def looked(lake: Lake, meant: Mapping[str, int]) -> Looked:
    """Where a lake was looked through for each name, by what it means now."""
    runs = _runs(lake)
    marks = _marks(runs)
    where = {name: _condition(runs, name, meaning, marks) for name, meaning in meant.items()}
    return Looked(lake=lake, where=where, by_events=any(not run.marks for run in runs))


def missing(
    lake: Lake, meant: Mapping[str, int], scene_ids: Iterable[int]
) -> dict[tuple[str, ...], list[int]]:
    """The scenes that were not looked through for all the names, by the names that they lack."""
    found = looked(lake, meant).scenes
    lacking: dict[tuple[str, ...], list[int]] = {}
    for scene_id in scene_ids:
        names = tuple(name for name, seen in found.items() if scene_id not in seen)
        if names:
            lacking.setdefault(names, []).append(scene_id)
    return lacking


def mark(lake: Lake, scene_ids: Sequence[int], run_id: int) -> None:
    """Say that a run looked through scenes, each once; in one step with what it found there."""
    lake.append("looked", _rows(scene_ids, run_id))


def tidy(lake: Lake, run_ids: Iterable[int]) -> None:
    """Drop the marks, in scenes that some runs looked through, of older ones that looked for no more."""
    runs = _runs(lake)
    for new in run_ids:
        at = next(k for k, run in enumerate(runs) if run.id == new)
        old = [run.id for run in runs[:at] if run.meant.keys() <= runs[at].meant.keys()]
        if not old:
            continue
        theirs = f"run_id IN ({', '.join(map(str, old))})"
        with lake.store.writing():
            seen = lake.read("looked", ["scene_id"], f"run_id = {new}")["scene_id"]
            before = lake.read("looked", None, theirs)
            kept = before.filter(pc.invert(pc.is_in(before["scene_id"], seen.combine_chunks())))
            if kept.num_rows < before.num_rows:
                lake.replace("looked", kept, where=theirs)


def adopt(lake: Lake) -> None:
    """Write down where runs of Scenelake 0.1 looked, as far as what they left there tells."""
    bare = [run.id for run in _runs(lake) if not run.marks]
    if not bare:
        return
    theirs = f"run_id IN ({', '.join(map(str, bare))})"
    with lake.store.writing():
        lake.append("looked", lake.sql(_left_by(bare)))
        rows = lake.read("runs", None, theirs).to_pylist()
        for row in rows:
            row["params"] = json.dumps({**json.loads(row["params"]), **MARKED})
        lake.replace("runs", rows, where=theirs)


_NOWHERE = "false"


def _runs(lake: Lake) -> list[_Run]:
    """The runs that looked for anything, in the order in which they began."""
    rows = lake.read("runs", ["run_id", "params", "started_unix_ns"], "command = 'mine tag'")
    return list(_understood(rows.sort_by([("started_unix_ns", "ascending")]).to_pylist()))


def _understood(rows: Iterable[Mapping[str, Any]]) -> Iterator[_Run]:
    for row in rows:
        params = json.loads(row["params"])
        rules = {rule["name"] for rule in params.get("rules") or ()}
        meant = params.get("meant")
        if meant is None:
            names = params.get("only") or ()
            meant = {name: None if name in rules else FIRST_VERSION for name in names}
        yield _Run(id=int(row["run_id"]), meant=meant, marks=bool(params.get("marks")))


def _left_by(run_ids: Iterable[int]) -> str:
    """Marks of runs that have none: the scenes in which they left rows."""
    told = ", ".join(map(str, run_ids))
    return (
        "SELECT DISTINCT scene_id, run_id FROM events"
        f" WHERE source = 'rule' AND scene_id IS NOT NULL AND run_id IN ({told})"
    )


def _marks(runs: Iterable[_Run]) -> str:
    """Where rows stand that say which run looked through which scene, SQL."""
    bare = [run.id for run in runs if not run.marks]
    return f"(SELECT scene_id, run_id FROM looked UNION {_left_by(bare)})" if bare else "looked"


def _condition(runs: Sequence[_Run], name: str, meaning: int, marks: str) -> str:
    those = [run for run in runs if name in run.meant]
    good = [run.id for run in those if run.meant[name] == meaning]
    if not good:
        return _NOWHERE
    # What others meant counts only where they looked later.
    those = those[next(k for k, run in enumerate(those) if run.id == good[0]) :]
    ids = [run.id for run in those]
    of_these = f"SELECT scene_id FROM {marks} WHERE run_id IN ({_listed(ids)})"
    if len(ids) == len(good):
        return f"scene_id IN ({of_these})"
    last = f"arg_max(run_id, list_position([{_listed(ids)}], run_id))"
    return f"scene_id IN ({of_these} GROUP BY scene_id HAVING {last} IN ({_listed(good)}))"


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))


def _rows(scene_ids: Sequence[int], run_id: int) -> pa.Table:
    count = len(scene_ids)
    return pa.table(
        {
            "scene_id": pa.array(scene_ids, type=pa.int64()),
            "run_id": pa.repeat(pa.scalar(run_id, pa.int64()), count),
        }
    )

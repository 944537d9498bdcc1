"""What a definition found, as tags of the lake: rows of ``events`` that SQL and suites ask like others.

A track's stamps that follow each other are one interval, told for each scene that it reaches into;
where a scenario says with whom, for each of those at its first level. Rows bear ``source`` ``refav``, so
that they are not taken for a predicate's, and the run keeps the definition itself. A scene has a row in
``looked`` if the definition could be run on its log: without tags, it held there for nobody.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool

from geometry.arrays import Array
from lake import Lake
from lake.ids import stable_id
from lake.json_text import as_json
from lake.literals import literal
from mining.intervals import runs
from mining.looked import mark
from mining.predicates import PREDICATES
from mining.query.facts import FACTS
from mining.query.rules import rules_of
from mining.refav.log import Log
from mining.refav.program import ProgramReport
from mining.refav.scenario import Scenario, stamps_of
from mining.refav.session import Found
from schemas.errors import BadSetting

SOURCE, COMMAND = "refav", "mine refav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was written.

    Attributes:
        run_id: The run that made the rows.
        scenes: How many scenes the definition was run on.
        tagged: In how many of them it holds for somebody.
        intervals: How many intervals.
    """

    run_id: int
    scenes: int
    tagged: int
    intervals: int


def keep(lake: Lake, report: ProgramReport, *, name: str, program: str) -> Kept:
    """Write what a definition found to ``events``; what it found before, by that name, gives way.

    Args:
        lake: That it was run on.
        report: What it found.
        name: Of the tag.
        program: The definition's text.

    Raises:
        BadSetting: A predicate, a fact or a rule bears the name, or it can be none.
    """
    if not name.isidentifier() or name in PREDICATES or name in FACTS or name in rules_of(lake):
        reason = "is taken" if name.isidentifier() else "is no name: letters, digits and _"
        raise BadSetting(f"The tag `{name}` {reason}.", hint="Call it another way.")
    by_log: dict[int, list[Found]] = defaultdict(list)
    for found in report.found:
        by_log[found.log_id].append(found)
    earlier = [
        row["run_id"]
        for row in lake.read(
            "runs", ["run_id", "params"], f"command = {literal(COMMAND)}"
        ).to_pylist()
        if json.loads(row["params"]).get("tag") == name
    ]
    params = {"tag": name, "program": program, "logs": len(by_log)}
    with lake.run(COMMAND, params=params) as run:
        rows: list[dict[str, Any]] = []
        seen: list[int] = []
        for log_id, found_there in by_log.items():
            log = Log.open(lake, log_id)
            scenes = lake.read(
                "scenes", ["scene_id", "t0_ns", "t1_ns"], f"log_id = {log_id}"
            ).to_pylist()
            seen += [scene["scene_id"] for scene in scenes]
            for found in found_there:
                evidence = as_json({"description": found.description})
                told = (row for s in scenes for row in _rows(log, found.scenario, s, name))
                rows.extend({**row, "evidence": evidence, "run_id": run.id} for row in told)
        unique = {row["event_id"]: row for row in rows}  # two outputs may say the same
        with lake.store.writing():
            lake.replace(
                "events",
                list(unique.values()),
                where=f"source = {literal(SOURCE)} AND name = {literal(name)}",
            )
            if earlier:
                lake.replace("looked", [], where=f"run_id IN ({', '.join(map(str, earlier))})")
            mark(lake, seen, run.id)
        kept = Kept(
            run_id=run.id, scenes=len(seen), intervals=len(unique),
            tagged=len({row["scene_id"] for row in unique.values()}),
        )  # fmt: skip
        run.summary.update(scenes=kept.scenes, tagged=kept.tagged, events=kept.intervals)
    return kept


def _rows(
    log: Log, scenario: Scenario, scene: Mapping[str, Any], name: str
) -> Iterator[dict[str, Any]]:
    """The rows of ``events`` of one scene, but for their evidence and run."""
    t_ns = log.grid.t_ns
    within = (t_ns >= scene["t0_ns"]) & (t_ns <= scene["t1_ns"])
    for track, other, steps in _told(log, scenario):
        for _, begin, end in runs((steps & within)[None]):
            whom = log.track_ids[track], None if other is None else log.track_ids[other]
            span = int(t_ns[begin]), int(t_ns[end])
            yield {
                "event_id": stable_id(SOURCE, name, scene["scene_id"], *span, *whom),
                "log_id": log.log_id, "scene_id": scene["scene_id"], "t0_ns": span[0],
                "t1_ns": span[1], "actor_id": whom[0], "other_id": whom[1], "truth": "true",
                "source": SOURCE, "name": name,
            }  # fmt: skip


def _told(log: Log, scenario: Scenario) -> Iterator[tuple[int, int | None, Bool[Array, " steps"]]]:
    """Who, with whom, at which steps."""
    for uuid, child in scenario.items():
        track = log.row_of[uuid]
        if not isinstance(child, dict):
            yield track, None, log.steps(set(child))
            continue
        for related, branch in child.items():
            other = log.row_of[related]  # below itself stands when it holds with nobody
            yield track, None if other == track else other, log.steps(stamps_of(branch))

"""What the lake has seen, and what it lacks: cells of tag × road type × weather × daylight.

A cell is a behaviour in a context. Contexts are the combinations of road type, weather and daylight
that the lake's own logs show (so nobody is sent to look for snow in a lake of deserts), each joined
with the behaviours that can happen there. A cell is covered when ``wanted`` different scenes fill
it; what falls short is a gap, with a name such as ``cut_in.highway.rain.day``. How much of what
driving would show was never met is told by the Good–Turing estimate N₁/N: the share of
observations whose cell was met just once (Good 1953).

Scenes that nobody looked through for a tag (:mod:`mining.looked`) may show it or not. A cell which they
could cover is no gap, and is not covered: it is unknown until they are tagged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lake import Lake
from lake.literals import literal
from mining.looked import Looked, looked
from mining.predicates import PREDICATES
from mining.query.rules import meanings, rules_of
from schemas.errors import MissingData, UnknownName
from schemas.labels import RoadType

WANTED = 3
"""Scenes that a cell should have, if nobody says otherwise."""
UNKNOWN = "unknown"
ANYWHERE = frozenset(RoadType.words()) - {UNKNOWN}
JUNCTIONS = frozenset({"intersection", "signalled_intersection"})
STREETS = ANYWHERE - {"highway", "merge"}


@dataclass(frozen=True, slots=True)
class Interest:
    """Why a tag is worth covering.

    Attributes:
        weight: How much a missing scene matters, against others; 1 is a near miss.
        road_types: Where it can happen at all.
    """

    weight: float
    road_types: frozenset[str] = ANYWHERE


INTERESTS: dict[str, Interest] = {
    "near_miss": Interest(1.0),
    "collision": Interest(1.0),
    "cut_in": Interest(0.9, ANYWHERE - {"roundabout"}),
    "hard_brake": Interest(0.8),
    "jaywalking": Interest(0.9, STREETS),
    "red_light_running": Interest(0.9, frozenset({"signalled_intersection"})),
    "wrong_way": Interest(0.8),
    "blocked_by": Interest(0.7),
    "oncoming_turn_conflict": Interest(0.8, JUNCTIONS),
    "pet": Interest(0.6, STREETS),
    "ttc": Interest(0.6),
    "swerve": Interest(0.5),
    "overtake": Interest(0.5, ANYWHERE - {"roundabout"}),
    "waiting_for_pedestrian": Interest(0.4, STREETS),
    "u_turn": Interest(0.4, STREETS),
    "tailgating": Interest(0.4),
}
"""Rare or critical behaviour that a test suite should contain, and where it can occur."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A behaviour in a context; conditions that a log does not tell are ``unknown``."""

    tag: str
    road_type: str
    weather: str
    daylight: str

    @property
    def gap_id(self) -> str:
        """Its stable name."""
        return f"{self.tag}.{self.road_type}.{self.weather}.{self.daylight}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How well one cell is filled.

    Attributes:
        cell: Which.
        count: Scenes of logs in it.
        generated: Accepted generated scenes in it.
        wanted: How many scenes it should have.
        untagged: Further scenes of the context that nobody looked through for the tag.
        importance: Weight of the tag × share of log scenes in the context × share that is missing.
    """

    cell: Cell
    count: int
    generated: int
    wanted: int
    untagged: int
    importance: float

    @property
    def gap_id(self) -> str:
        """Stable name of the cell."""
        return self.cell.gap_id

    @property
    def covered(self) -> bool | None:
        """Whether it has as many scenes as wanted; None: that rests on scenes nobody looked through."""
        if not self.missing:
            return True
        return None if self.missing <= self.untagged else False

    @property
    def missing(self) -> int:
        """How many scenes it lacks, as far as they were looked through; 0 once it is closed."""
        return max(self.wanted - self.count - self.generated, 0)

    def answer(self) -> dict[str, Any]:
        """As ``mine coverage --json`` prints it."""
        cell = self.cell
        return {
            "gap_id": self.gap_id,
            "cell": {
                "tag": cell.tag,
                "road_type": cell.road_type,
                "weather": cell.weather,
                "daylight": cell.daylight,
            },
            "count": self.count,
            "generated": self.generated,
            "wanted": self.wanted,
            "missing": self.missing,
            "untagged": self.untagged,
            "importance": round(self.importance, 6),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of what can happen the lake has seen.

    Attributes:
        cells: Number of cells that can occur.
        covered: Cells with as many scenes as wanted, of logs and generated.
        unknown: Cells that are or are not, by what scenes show that nobody looked through.
        untagged: Scenes that nobody looked through for all of the tags.
        met: Cells with at least one scene of a log.
        unseen_mass: Good–Turing: probability that the next tagged behaviour falls in a cell that no
            log has shown yet; 1 if none has shown any.
        gaps: Cells that fall short, most important first.
    """

    cells: int
    covered: int
    unknown: int
    untagged: int
    met: int
    unseen_mass: float
    gaps: Sequence[Gap]

    def answer(self) -> dict[str, Any]:
        """As ``mine coverage --json`` prints it."""
        return {
            "cells": self.cells,
            "covered": self.covered,
            "unknown": self.unknown,
            "untagged": self.untagged,
            "met": self.met,
            "unseen_mass": self.unseen_mass,
            "gaps": [gap.answer() for gap in self.gaps],
        }


def coverage(lake: Lake, *, wanted: int = WANTED, tags: Iterable[str] | None = None) -> Coverage:
    """Measure the coverage of a lake and write its gaps to ``gaps``.

    Args:
        lake: Whose ``scenes`` and ``events`` are counted.
        wanted: Scenes that each cell should have.
        tags: Which behaviours, predicates or saved rules; those of :data:`INTERESTS` by default.

    Raises:
        MissingData: The lake has no scenes, or none was looked through for any of these.
        UnknownName: There is no such predicate or rule.
    """
    names = list(INTERESTS) if tags is None else _known(lake, tags)
    now = lake.at()
    seen = looked(now, meanings(names, rules_of(now)))
    measured = _measure(now, seen, wanted)
    gaps = sorted(
        (gap for gap in measured.values() if gap.covered is False),
        key=lambda gap: (-gap.importance, gap.gap_id),
    )
    params = {"wanted": wanted, "tags": names}
    with lake.run("mine coverage", params=params) as run:
        rows = [
            {
                "gap_id": gap.gap_id,
                "tag": gap.cell.tag,
                "road_type": gap.cell.road_type,
                "weather": gap.cell.weather,
                "daylight": gap.cell.daylight,
                "count": gap.count,
                "generated": gap.generated,
                "wanted": gap.wanted,
                "run_id": run.id,
            }
            for gap in gaps
        ]
        lake.replace("gaps", rows, where="gap_id is not null")
        counts = [gap.count for gap in measured.values()]
        covered = [gap.covered for gap in measured.values()]
        result = Coverage(
            cells=len(measured),
            covered=covered.count(True),
            unknown=covered.count(None),
            untagged=len(seen.untagged),
            met=sum(count > 0 for count in counts),
            unseen_mass=unseen_mass(counts),
            gaps=gaps,
        )
        run.summary.update(
            cells=result.cells, covered=result.covered, unknown=result.unknown,
            untagged=result.untagged, unseen_mass=result.unseen_mass,
        )  # fmt: skip
    return result


def gap(lake: Lake, gap_id: str, *, wanted: int | None = None) -> Gap:
    """How well one cell is filled now, whether or not it is still a gap.

    Args:
        lake: Whose scenes are counted.
        gap_id: Such as ``cut_in.highway.rain.day``.
        wanted: Scenes that it should have; as last asked for in ``gaps``, else :data:`WANTED`.

    Raises:
        UnknownName: No cell that can occur in this lake has that name.
        MissingData: The lake has no scenes, or none was looked through for the tag.
    """
    stored = {
        str(row["gap_id"]): int(row["wanted"])
        for row in lake.read("gaps", ["gap_id", "wanted"]).to_pylist()
    }
    tag = gap_id.split(".", 1)[0]
    names = [tag] if tag in PREDICATES or tag in rules_of(lake) else list(INTERESTS)
    wanted = wanted or stored.get(gap_id) or next(iter(stored.values()), WANTED)
    now = lake.at()
    measured = _measure(now, looked(now, meanings(names, rules_of(now))), wanted)
    if gap_id in measured:
        return measured[gap_id]
    raise UnknownName("gap", gap_id, [*stored, *(k for k in measured if k not in stored)])


def _known(lake: Lake, tags: Iterable[str]) -> list[str]:
    names, rules = list(dict.fromkeys(tags)), rules_of(lake)
    for name in names:
        if name not in PREDICATES and name not in rules:
            raise UnknownName("predicate or rule", name, [*PREDICATES, *rules])
    return names


def unseen_mass(counts: Sequence[int]) -> float:
    """Good–Turing estimate N₁/N of the probability of what was never met; 1 of no observations."""
    total = sum(counts)
    return sum(count == 1 for count in counts) / total if total else 1.0


def _measure(lake: Lake, seen: Looked, wanted: int) -> dict[str, Gap]:
    """Every cell that can occur, by its name."""
    names = list(seen.where)
    scenes = lake.read(
        "scenes", ["scene_id", "source", "road_type", "weather", "daylight"]
    ).to_pylist()
    if not any(scene["source"] == "log" for scene in scenes):
        raise MissingData("The lake has no scenes of logs.", hint="Ingest some logs first.")
    if len(seen.never) == len(names):
        raise MissingData(
            "The lake's scenes were not tagged with any of these, as they are meant now.",
            hint="Run: scenelake mine tag",
        )
    quoted = ", ".join(map(literal, names))
    events = lake.sql(
        "SELECT DISTINCT scene_id, name FROM events"
        f" WHERE source = 'rule' AND truth = 'true' AND name IN ({quoted})"
    ).to_pylist()
    context = {scene["scene_id"]: _context(scene) for scene in scenes}
    of_logs = {scene["scene_id"] for scene in scenes if scene["source"] == "log"}
    share = Counter(context[scene_id] for scene_id in of_logs)
    filled: dict[tuple[str, tuple[str, str, str]], set[int]] = defaultdict(set)
    for event in events:
        if event["scene_id"] in seen.scenes[event["name"]]:
            filled[event["name"], context[event["scene_id"]]].add(event["scene_id"])
    cells = {}
    for name in names:
        interest = INTERESTS.get(name, Interest(0.5))
        doubtful = Counter(context[scene_id] for scene_id in seen.everywhere - seen.scenes[name])
        for where, scenes_there in share.items():
            road_type, weather, daylight = where
            met = filled[name, where]
            # What was seen can happen, whatever anybody thought possible.
            if road_type == UNKNOWN or (road_type not in interest.road_types and not met):
                continue
            count = len(met & of_logs)
            generated = len(met) - count
            short = max(wanted - count - generated, 0) / max(wanted, 1)
            cell = Cell(name, road_type, weather, daylight)
            cells[cell.gap_id] = Gap(
                cell=cell,
                count=count,
                generated=generated,
                wanted=wanted,
                untagged=doubtful[where],
                importance=interest.weight * scenes_there / len(of_logs) * short,
            )
    return cells


def _context(scene: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        scene["road_type"],
        scene["weather"] or UNKNOWN,
        scene["daylight"] or UNKNOWN,
    )

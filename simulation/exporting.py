"""Scenes and suites of a lake, written for other simulators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from formats import registry
from formats.openscenario import Drive, write_scene
from lake.literals import literal
from schemas.errors import ExportRefused, MissingData, UnknownName

if TYPE_CHECKING:
    from lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A scene that the format cannot carry, and why."""

    scene_id: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
        format: As in the registry.
        scenes: How many scenes were written.
        files: In the order of the scenes.
        refused: Those that the format cannot carry.
    """

    format: str
    scenes: int
    files: Sequence[Path]
    refused: Sequence[Refused]


def export(lake: Lake, what: str, *, to: str, folder: Path) -> ExportReport:
    """Write a suite's cases, or some scenes.

    In OpenSCENARIO a case leaves the ego to the system under test, from the case's start and with
    its goal; a scene replays it. Other formats know scenes alone.

    Args:
        lake: Where they are.
        what: Name of a suite, or ids or names of scenes joined by commas.
        to: A format with a writer.
        folder: Made if it is not there.

    Raises:
        UnknownName: No such format, suite or scene.
        MissingData: The suite is empty.
    """
    writer = registry.writer(to)
    cases = _cases(lake, what)
    ids = list(cases) if cases else _scenes(lake, what)
    files: list[Path] = []
    refused: list[Refused] = []
    for scene in lake.scenes(ids):
        if to == "openscenario" and scene.scene_id in cases:
            try:
                files += write_scene(scene, folder, drive=cases[scene.scene_id])
            except ExportRefused as error:
                refused.append(Refused(scene_id=scene.scene_id, reason=error.reason))
        else:
            written = writer.write([scene], folder)
            files += written.files
            refused += [Refused(scene_id=i, reason=reason) for i, reason in written.refused]
    return ExportReport(format=to, scenes=len(ids) - len(refused), files=files, refused=refused)


def _scenes(lake: Lake, what: str) -> list[int]:
    """The scenes meant by ids or names joined by commas; a single word may have meant a suite."""
    try:
        return [lake.resolve_scene(part.strip()) for part in what.split(",")]
    except UnknownName as error:
        if "," in what:
            raise
        known = [*lake.read("suites", ["suite"])["suite"].to_pylist(), *error.known]
        raise UnknownName("suite or scene", what, known) from None


def _cases(lake: Lake, suite: str) -> dict[int, Drive]:
    """Scene → how its case begins and where it should get; empty if there is no such suite."""
    suites = lake.read("suites", columns=["suite"]).column("suite").to_pylist()
    if suite not in suites:
        return {}
    columns = ["scene_id", "start_step", "horizon_steps", "goal_x", "goal_y", "provenance"]
    rows = lake.read("cases", columns=columns, where=f"suite = {literal(suite)}").to_pylist()
    if not rows:
        raise MissingData(f"The suite {suite} has no cases.", hint="Build it anew.")
    return {
        row["scene_id"]: Drive(
            external=True,
            start=row["start_step"],
            end=row["start_step"] + row["horizon_steps"],
            ego_track=json.loads(row["provenance"])["ego_track_id"],
            goal=(row["goal_x"], row["goal_y"]),
        )
        for row in rows
    }

"""Commands that make files and scenarios: generate, export, render."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import Json, Seed, open_lake
from cli.output import count, print_json, print_line, print_table, progress, tell

if TYPE_CHECKING:
    from lake import Lake


def generate(
    context: typer.Context,
    gap: Annotated[
        str | None, typer.Option(help="Fill this gap (`mine coverage` names them).")
    ] = None,
    like: Annotated[str | None, typer.Option(help="Vary this scene: id or name.")] = None,
    tags: Annotated[str | None, typer.Option(help="Wanted tags, separated by commas.")] = None,
    query: Annotated[
        str | None, typer.Option(help="What must hold in them (docs/query.md).")
    ] = None,
    adversary: Annotated[
        str | None, typer.Option(help="Kind of conflict with the ego, such as cut_in or crossing.")
    ] = None,
    aggressiveness: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How hard the adversary tries.")
    ] = 0.5,
    gamma: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How far from the log: 0 keeps it, 1 is free.")
    ] = 0.6,
    n: Annotated[int, typer.Option("-n", min=1, help="How many accepted scenarios.")] = 3,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make scenarios that pass every gate; accepted and rejected are both kept, with reasons."""
    from generation.generate import generate as run
    from generation.request import Request
    from simulation.gates import non_trivial, solvable

    lake = open_lake(context)
    request = Request(
        gap_id=gap,
        like=lake.resolve_scene(like) if like else None,
        tags=tuple(tag.strip() for tag in tags.split(",")) if tags else (),
        query=query,
        adversary=adversary,
        aggressiveness=aggressiveness,
        gamma=gamma,
        n=n,
        seed=seed,
    )
    with progress("Generate", quiet=json) as tick:
        report = run(lake, request, [solvable(), non_trivial()], progress=tick)
    if json:
        print_json(report)
        return
    tell(f"{report.accepted} accepted of {report.requested} wanted, {report.rejected} rejected.")
    if report.unsuitable and not report.accepted:
        tell(
            f"{count(report.unsuitable, 'scene')} had no room for what was asked, "
            "such as a lane beside the ego's; nothing was drawn there."
        )
    if report.gap is not None:
        tell(f"The gap: {count(report.gap.before, 'scene')} before, {report.gap.after} after.")
        if report.accepted and report.gap.after <= report.gap.before:
            tell(_elsewhere(lake, [scenario.scene_id for scenario in report.scenarios]))
    print_table({"rejected by": gate, "times": times} for gate, times in report.reasons.items())
    for scenario in report.scenarios:
        print_line(str(scenario.scene_id))


def _elsewhere(lake: Lake, scene_ids: Iterable[int]) -> str:
    """On which roads scenes lie that were made for a gap and fill another cell."""
    where = f"scene_id IN ({', '.join(map(str, scene_ids))})"
    roads = lake.read("scenes", ["road_type"], where)["road_type"].unique().to_pylist()
    kinds = ", ".join(sorted(str(road or "unknown") for road in roads))
    return (
        f"None of those accepted lies in it: where their ego drives, the road counts as {kinds}."
    )


def export(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="A suite, or scenes' ids or names joined by commas.")
    ],
    to: Annotated[
        str, typer.Option(help="Format; `scenelake formats` lists them.")
    ] = "openscenario",
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("export"),
    json: Json = False,
) -> None:
    """Write scenes or a suite for a simulator."""
    from simulation.exporting import export as run

    report = run(open_lake(context), what, to=to, folder=out)
    if json:
        print_json(report)
        return
    tell(f"{count(report.scenes, 'scene')} written to {out}, {len(report.refused)} refused.")
    for entry in report.refused:
        tell(f"  {entry.scene_id}: {entry.reason}")


def render(
    context: typer.Context,
    scene: Annotated[str, typer.Argument(help="A scene's id or name.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".png for a moment, .gif for all.")
    ],
    at: Annotated[float | None, typer.Option(help="Which moment of a PNG [s].")] = None,
    size: Annotated[int, typer.Option(min=64, help="Side of the picture [px].")] = 640,
    json: Json = False,
) -> None:
    """Draw a scene from above."""
    from formats.picture import View, write_picture
    from schemas.scene import DT

    lake = open_lake(context)
    if at is not None and not math.isfinite(at):
        raise typer.BadParameter(f"--at takes seconds, not {at}.")
    step = None if at is None else round(at / DT)
    chosen = lake.scene(lake.resolve_scene(scene))
    path = write_picture(chosen, output, step=step, view=View(size=size))
    if json:
        print_json({"scene_id": chosen.scene_id, "file": path})
    else:
        tell(f"{path}")

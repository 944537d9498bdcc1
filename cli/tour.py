"""``scenelake demo`` and ``world``: the whole loop, on logs that anyone can have."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import Json, Seed
from cli.output import count, print_json, progress, tell

if TYPE_CHECKING:
    from simulation.observe import Senses


class Size(StrEnum):
    """How much the demo makes."""

    TINY = "tiny"
    SMALL = "small"
    FULL = "full"


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for logs, lake, exports and the report.")
    ] = Path("scenelake-demo"),
    size: Annotated[Size, typer.Option(help="How much is made.")] = Size.SMALL,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """The whole loop on a procedural world; ends with a report to open."""
    from cli.demo import run

    report = run(out, size=size.value, seed=seed, quiet=json)
    if json:
        print_json(report)
    else:
        tell("")
        tell(f"Open {report.report}")


def world(
    context: typer.Context,
    logs_dir: Annotated[
        Path | None, typer.Argument(help="Folder to write to; not with --scenes.")
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(min=1, help="So many scenes of 10 s straight into the lake, and no files."),
    ] = None,
    logs: Annotated[int, typer.Option("--logs", "-n", min=1, help="How many.")] = 20,
    format: Annotated[str, typer.Option("--format", "-f", help="Format of the logs.")] = (
        "argoverse2_sensor"
    ),
    sensors: Annotated[
        bool, typer.Option("--sensors", help="Camera images and lidar too.")
    ] = False,
    rare_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of logs with a planted rare behaviour.")
    ] = 0.2,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="Share of logs with one behaviour, as in cut_in=0.05; repeatable."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="A road, weather or class that never occurs, or a behaviour that is never planted; "
            "repeatable."
        ),
    ] = None,
    noise: Annotated[bool, typer.Option(help="Boxes are off as a tracker's are.")] = True,
    occlusion: Annotated[bool, typer.Option(help="Who is hidden is not reported.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write procedural logs in a public format, with the truth beside them.

    Or, with `--scenes`, fill the lake with them by the thousand: many logs share a road and its
    traffic, nothing is written on the way, and the truth is in `logs.extra`. Run it again to go on
    after an interruption, or for more; what is there and was made with other settings is refused.

    A behaviour held out by `--without` is planted nowhere, but ordinary traffic may come to it by itself.
    What `mine tag` finds of it is left out by a query, such as
    `suite build calm --query "never hard_brake(_) unknown as true"`, or for training
    `lake.dataset(scene_ids=scenes_of(lake, QUERY))` with `scenes_of` of `mining.query.find`.
    """
    from simulation.observe import Senses
    from simulation.world import write_world

    senses = Senses(noise=noise, occlusion=occlusion)
    if scenes is not None:
        if logs_dir is not None or sensors or rate:
            raise typer.BadParameter(
                "--scenes fills the lake: it takes no folder, no --sensors and no --rate."
            )
        _fill_lake(
            context, scenes=scenes, seed=seed, rare_rate=rare_rate, senses=senses,
            without=without or (), jobs=jobs, json=json,
        )  # fmt: skip
        return
    if logs_dir is None:
        raise typer.BadParameter("Name a folder to write to, or say how many --scenes to make.")
    with progress("World", quiet=json) as tick:
        report = write_world(
            logs_dir, logs=logs, seed=seed, format=format, sensors=sensors, rare_rate=rare_rate,
            rates=_rates(rate) if rate else None, without=without or (),
            senses=senses, jobs=jobs, progress=tick,
        )  # fmt: skip
    if json:
        print_json(report)
    else:
        tell(f"{count(report.logs, 'log')} in {logs_dir}; the truth is in truth.json.")


def _fill_lake(
    context: typer.Context, *, scenes: int, seed: int, rare_rate: float, senses: Senses,
    without: Sequence[str], jobs: int, json: bool,
) -> None:  # fmt: skip
    from lake import Lake
    from simulation.filling import fill

    lake = Lake.open_or_create(str(context.find_root().obj))
    with progress("World", quiet=json) as tick:
        report = fill(
            lake, scenes=scenes, seed=seed, rare_rate=rare_rate, senses=senses, without=without,
            jobs=jobs, progress=tick,
        )  # fmt: skip
    if json:
        print_json(report)
    else:
        there = report.logs - report.written
        tell(
            f"{count(report.scenes, 'new scene')} of {count(report.written, 'log')} came in; "
            f"{there:,} of {report.logs:,} logs were there."
        )


def _rates(told: list[str]) -> dict[str, float]:
    """Shares by behaviour."""
    rates = {}
    for text in told:
        name, _, share = text.partition("=")
        try:
            rates[name] = float(share)
        except ValueError:
            raise typer.BadParameter(f"`{text}` is not NAME=SHARE, as cut_in=0.05 is.") from None
    return rates

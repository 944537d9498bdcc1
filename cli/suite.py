"""``scenelake suite``: build closed-loop test suites, run planners through them, compare."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.common import Json, Seed, open_lake
from cli.output import count, plain, print_json, print_line, print_table, progress, tell


class Agents(StrEnum):
    """How the other road users move."""

    LOG = "log"
    IDM = "idm"
    CONSTANT_VELOCITY = "constant_velocity"


app = typer.Typer(help="Closed-loop test suites.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def build(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the suite.")],
    n: Annotated[int | None, typer.Option("-n", min=1, help="At most so many cases.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition on `scenes`.")] = None,
    tags: Annotated[
        str | None, typer.Option(help="Only scenes with one of these tags, separated by commas.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Only scenes in which this holds (docs/query.md).")
    ] = None,
    agents: Annotated[Agents, typer.Option(help="How others move.")] = Agents.LOG,
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            "--criterion",
            "-c",
            help="'min_gap = 0.5', or a query to be met: 'calm = never hard_brake(ego)'. Repeatable.",
        ),
    ] = None,
    criteria: Annotated[
        Path | None, typer.Option(help="TOML file of such criteria, by name.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a suite of this name.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make cases of scenes: goal, pass criteria, provenance."""
    from simulation.suites import build as run

    chosen = [tag.strip() for tag in tags.split(",")] if tags else None
    report = run(
        open_lake(context), name, n=n, where=where, tags=chosen, query=query, agents=agents.value,
        criteria=_criteria(criterion or (), criteria), seed=seed, replace=replace,
    )  # fmt: skip
    if json:
        print_json(report)
        return
    tell(f"Suite {name}: {count(report.cases, 'case')}, {len(report.refused)} scenes left out.")
    if report.proxies:
        tell(f"In {report.proxies} of them a vehicle stands in for an ego that the log lacks.")
    for scene_id, reason in report.refused[:5]:
        tell(f"  {scene_id}: {reason}")


def _criteria(told: Iterable[str], path: Path | None) -> dict[str, float | str]:
    """Criteria of a file, and over them those of the command line."""
    from schemas.config import read_toml
    from schemas.errors import BadSetting

    made: dict[str, float | str] = {} if path is None else dict(read_toml(path))
    for text in told:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier() or not value:
            raise BadSetting(
                f"`{text}` is no criterion.",
                hint="Write 'min_gap = 0.5' or 'calm = never hard_brake(ego)'.",
            )
        try:
            made[name] = float(value)
        except ValueError:
            made[name] = value
    return made


@app.command()
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the suite.")],
    planner: Annotated[
        str, typer.Option(help="constant_velocity, idm, pdm, log_replay, or your module:Class.")
    ] = "idm",
    batch: Annotated[int, typer.Option(min=1, help="Cases simulated together.")] = 256,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    json: Json = False,
) -> None:
    """Drive a planner through a suite."""
    from simulation.suites import run as drive

    with progress("Drive", quiet=json) as tick:
        report = drive(open_lake(context), name, planner, batch=batch, jobs=jobs, progress=tick)
    if json:
        print_json(report)
        return
    tell(
        f"{planner} passed {report.passed} of {count(report.cases, 'case')}, {report.errored} errored; "
        f"score {report.score:.3f}; {report.wall_s:.1f} s, "
        f"{report.agent_steps / max(report.wall_s, 1e-9):,.0f} agent-steps/s. Run {report.run_id}."
    )
    print_table({"criterion": key, **value} for key, value in plain(report.by_criterion).items())


@app.command()
def report(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A suite, or the id of a run.")],
    json: Json = False,
) -> None:
    """How the runs of a suite went, case by case."""
    from simulation.suites import report as tell_about

    found = tell_about(open_lake(context), name)
    if json:
        print_json(found)
        return
    print_line(
        f"{found.planner} on {found.suite}: {found.passed} of {found.cases} passed, "
        f"{found.errored} errored, score {found.score:.3f} (run {found.run_id})"
    )
    print_line()
    print_table({"criterion": key, **value} for key, value in found.by_criterion.items())
    print_line()
    print_table(
        {"tag": tag, "passed": passed, "of": cases}
        for tag, (passed, cases) in found.by_tag.items()
    )
    if found.worst:
        print_line()
        print_table(found.worst[:10])


@app.command("list")
def list_all(context: typer.Context, json: Json = False) -> None:
    """Which suites there are."""
    from simulation.suites import list_suites

    suites = list_suites(open_lake(context))
    if json:
        print_json(suites)
        return
    print_table(plain(suite) for suite in suites)

"""``scenelake suite``: build closed-loop test suites, run planners through them, compare."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import Json, Seed, Stopped, open_lake
from cli.output import count, plain, print_json, print_line, print_table, progress, tell

if TYPE_CHECKING:
    from simulation.suites import PageReport, RunReport


class Keep(StrEnum):
    """Which cases stay."""

    VALID = "valid"
    RANKING = "ranking"


ERRORED = 3
"""Exit code of a run that not enough cases passed, some since they could not be judged at all."""

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
    agents: Annotated[
        str,
        typer.Option(
            help="How others move: log, constant_velocity, idm, log_then_idm, mobil, yielding, "
            "diffusion, or shares: mixed:idm=0.5,mobil=0.5,yielding=0.7 (docs/agents.md)."
        ),
    ] = "log",
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
    stratify: Annotated[
        str | None,
        typer.Option(
            help="Kinds of scenes, a column of `scenes` or `cluster`: with -n as many of each, weighted."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a suite of this name.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make cases of scenes: goal, pass criteria, provenance."""
    from simulation.suites import build as run

    chosen = None if tags is None else [tag.strip() for tag in tags.split(",")]
    report = run(
        open_lake(context), name, n=n, where=where, tags=chosen, query=query, agents=agents,
        criteria=_criteria(criterion or (), criteria), stratify=stratify, seed=seed, replace=replace,
    )  # fmt: skip
    if json:
        print_json(report)
        return
    tell(
        f"Suite {name}: {count(report.cases, 'case')}, {count(len(report.refused), 'scene')} left out."
    )
    if report.untagged:
        tell(
            f"{count(report.untagged, 'scene')} that might qualify nobody has looked through for this: "
            "run `scenelake mine tag`."
        )
    if stratify is not None:
        tell(f"{len(report.strata)} strata: {_listed(report.strata)}.")
        none = [kind for kind, cases in report.strata.items() if cases == 0]
        if none:
            tell(
                f"Nothing that was drawn of {', '.join(none)} can be driven: rates leave that out."
            )
        if n is None:
            tell(
                "Without -n every scene that qualifies is a case, and none weighs more than another."
            )
    if report.proxies:
        tell(f"In {report.proxies} of them a vehicle stands in for an ego that the log lacks.")
    for scene_id, reason in report.refused[:5]:
        tell(f"  {scene_id}: {reason}")
    if len(report.refused) > 5:
        tell(f"  and {len(report.refused) - 5} more, all of which --json tells")


def _listed(counts: Mapping[str, int], most: int = 12) -> str:
    """Names with their counts, the greatest first, as many as a line bears."""
    by_count = sorted(counts.items(), key=lambda item: -item[1])
    left = "" if len(by_count) <= most else f", and {len(by_count) - most} more"
    return ", ".join(f"{name} ({n})" for name, n in by_count[:most]) + left


def _criteria(told: Iterable[str], path: Path | None) -> dict[str, float | str]:
    """Criteria of a file, and over them those of the command line."""
    from schemas.config import read_toml
    from schemas.errors import BadSetting

    made: dict[str, float | str] = {} if path is None else dict(read_toml(path))
    given: set[str] = set()
    for text in told:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier() or not value:
            raise BadSetting(
                f"`{text}` is no criterion.",
                hint="Write 'min_gap = 0.5' or 'calm = never hard_brake(ego)'.",
            )
        if name in given:
            raise BadSetting(f"Criterion `{name}` is told twice.", hint="Give one another name.")
        given.add(name)
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
        str,
        typer.Option(
            help="constant_velocity, idm, pdm, log_replay, oracle, your module:Class, or cmd:PROGRAM."
        ),
    ] = "idm",
    batch: Annotated[int, typer.Option(min=1, help="Cases simulated together.")] = 256,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    resume: Annotated[
        int | None, typer.Option(help="Id of a run that was stopped: drive what it has not.")
    ] = None,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop once so many cases have failed.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds that one answer may take; 60 for your own planners."
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the run as JUnit XML.")] = None,
    fail_under: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="End with exit code 1 under this pass rate; 0: never."
        ),
    ] = 1.0,
    json: Json = False,
) -> None:
    """Drive a planner through a suite; exit code 0 if enough passed, 1 if not, 3 if some errored."""
    from schemas.errors import BadSetting
    from simulation.suites import results_of, undriven_of, write_junit
    from simulation.suites import run as drive

    lake = open_lake(context)
    if junit is not None and junit.is_dir():
        raise BadSetting(f"{junit} is a folder.", hint="Name a file: --junit report.xml.")
    run_id: int | None = None

    def begun(known_by: int) -> None:
        nonlocal run_id
        run_id = known_by
        tell(f"Run {run_id}.")

    try:
        with progress("Drive", quiet=json) as tick:
            report = drive(
                lake, name, planner, batch=batch, jobs=jobs, resume=resume, stop_after=stop_after,
                timeout_s=timeout, progress=tick, begun=begun,
            )  # fmt: skip
    except KeyboardInterrupt:
        if run_id is None:
            raise
        raise Stopped(f"go on with:\n  {_resuming(sys.argv[1:], run_id)}") from None
    if junit is not None:
        results = results_of(lake, report.run_id)
        write_junit(junit, report, results, undriven_of(lake, report, results))
    if json:
        print_json(report)
    else:
        _tell_run(report, planner)
    if not report.reaches(fail_under):
        rest = f", {count(report.undriven, 'case')} not driven" if report.undriven else ""
        plainly = report.passed / max(report.cases, 1)
        if abs(report.pass_rate.value - plainly) > 5e-4:
            rest += ", each case weighing as many scenes as it stands for"
        tell(f"Failed: pass rate {report.pass_rate.value:.3f} of {fail_under:g} wanted{rest}.")
        raise typer.Exit(ERRORED if report.errored else 1)


def _tell_run(report: RunReport, planner: str) -> None:
    tell(
        f"{planner} passed {report.passed} of {count(report.cases, 'case')}, {report.errored} errored"
        f"{_blameless(report.not_drivable)}; "
        f"score {report.score_rate.value:.3f}; {report.wall_s:.1f} s, "
        f"{report.agent_steps / max(report.wall_s, 1e-9):,.0f} agent-steps/s. Run {report.run_id}."
    )
    for line in _reasons(report):
        tell(line)
    if report.undriven:
        tell(f"{count(report.undriven, 'case')} not driven: --resume {report.run_id} drives them.")
    if report.by_criterion:
        print_table(
            {"criterion": key, **value} for key, value in plain(report.by_criterion).items()
        )


def _blameless(cases: int) -> str:
    """How many cases no planner is to blame for, in brackets, if there are any."""
    return f" ({cases} not drivable by anybody)" if cases else ""


def _resuming(arguments: Sequence[str], run_id: int) -> str:
    """The command line that goes on with a run, given the one that began it."""
    left = iter(arguments)
    kept = []
    for argument in left:
        if argument == "--resume":
            next(left, None)
        elif not argument.startswith("--resume="):
            kept.append(argument)
    return shlex.join(["scenelake", *kept, "--resume", str(run_id)])


def _reasons(report: RunReport, most: int = 5) -> list[str]:
    """Why cases errored, the commonest reasons first."""
    from simulation.suites import commonest

    reasons = commonest(report.errors)
    lines = [f"  {n} × {reason}" for reason, n in reasons[:most]]
    if len(reasons) > most:
        lines.append(f"  and {count(len(reasons) - most, 'other reason')}")
    return lines


@app.command()
def report(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Ids of runs, or a suite: for its last run; for the last of each planner on a page.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write a page, .html: the runs side by side, with films."
        ),
    ] = None,
    animate: Annotated[int, typer.Option(min=0, help="Cases that the page shows in motion.")] = 12,
    junit: Annotated[Path | None, typer.Option(help="Write the run as JUnit XML.")] = None,
    json: Json = False,
) -> None:
    """How runs of a suite went, case by case; or a page that tells it."""
    from simulation.suites import reported, undriven_of, write_junit, write_page

    lake = open_lake(context)
    if output is not None and junit is not None:
        raise typer.BadParameter("a page and a JUnit file are two commands")
    if output is None and len(names) > 1:
        raise typer.BadParameter("several runs go on a page: -o report.html")
    if output is not None:
        if output.suffix.lower() not in (".html", ".htm"):
            raise typer.BadParameter(f"a page ends in .html, not `{output.name}`")
        with progress("Films", quiet=json) as tick:
            page = write_page(lake, names, output, animated=animate, progress=tick)
        if json:
            print_json(page)
        else:
            _tell_page(page)
        return
    found, results = reported(lake, names[0])
    if junit is not None:
        write_junit(junit, found, results, undriven_of(lake, found, results))
    if json:
        print_json(found)
        return
    print_line(
        f"{found.planner} on {found.suite}: {found.passed} of {found.cases} passed, "
        f"{found.errored} errored{_blameless(found.not_drivable)}, score {found.score_rate.value:.3f} (run {found.run_id})"
    )
    rate = found.pass_rate
    print_line(f"pass rate {rate.value:.3f}, 95 % interval {rate.low:.3f} to {rate.high:.3f}")
    if found.scores:
        told = ", ".join(f"{name} {value:.3f}" for name, value in found.scores.items())
        print_line(f"published scores: {told}")
    if found.undriven:
        print_line(f"{count(found.undriven, 'case')} not driven")
    for line in _reasons(found):
        print_line(line)
    print_line()
    failures = sorted(found.by_criterion.items(), key=lambda item: -item[1]["failed"])
    print_table({"criterion": key, **value} for key, value in failures)
    if found.worst:
        print_line()
        print_table(_worst(case) for case in found.worst[:10])
    if found.by_tag:
        print_line()
        print_table(
            {"tag": tag, "passed": passed, "of": cases}
            for tag, (passed, cases) in sorted(
                found.by_tag.items(), key=lambda item: item[1][0] - item[1][1]
            )
        )


def _worst(case: Mapping[str, Any]) -> dict[str, Any]:
    """A case that did not pass, as a person reads it: its verdicts as words, not as JSON."""
    why = [f"{name}: {text}" for name, text in case["detail"].items()]
    return {
        "case_id": case["case_id"],
        "scene_id": case["scene_id"],
        "score": case["score"],
        "status": case["status"],
        "failed": ", ".join(case["failed"]),
        "detail": "; ".join(why),
    }


def _tell_page(page: PageReport) -> None:
    left = page.failed - page.animated
    tell(
        f"{count(len(page.runs), 'run')} on {count(page.cases, 'case')}: {page.failed:,} that not everyone "
        f"passed, {page.animated:,} of them in motion{' (--animate shows more)' if left else ''}."
    )
    _tell_left_out(page.left_out)
    tell(f"Open {page.file} ({page.bytes / 1e6:.1f} MB).")


def _tell_left_out(undriven: Mapping[str, int]) -> None:
    """Of which planners the run was stopped, and what that leaves out."""
    for planner, cases in undriven.items():
        tell(
            f"The run of {planner} was stopped: {count(cases, 'case')} that it did not drive left out."
        )


@app.command()
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="A run, or a suite for its last run.")],
    second: Annotated[str, typer.Argument(help="Another run of the same suite.")],
    json: Json = False,
) -> None:
    """Two runs side by side: what got better or worse, and whether it is chance."""
    from simulation.suites import compare as side_by_side

    found = side_by_side(open_lake(context), first, second)
    if json:
        print_json(found)
        return
    one, two = found["first"], found["second"]
    print_line(
        f"{one['planner']} against {two['planner']} on {count(found['cases'], 'case')}: "
        f"{len(found['won'])} won, {len(found['lost'])} lost (p = {found['p_value']:.3g}, of cases "
        f"counted, not weighed); score "
        f"{one['score']:.3f} to {two['score']:.3f}, change {found['mean_change']:+.3f} "
        f"[{found['mean_change_low']:+.3f}, {found['mean_change_high']:+.3f}]"
    )
    if found["left_out"]:
        tell(f"{count(found['left_out'], 'case')} that only one of them drove left out.")
    for part in ("criterion", "tag"):
        changed = {n: v for n, v in found[f"by_{part}"].items() if v["first"] != v["second"]}
        if changed:
            print_line()
            print_table({part: name, **values} for name, values in changed.items())


@app.command()
def rank(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A suite that several planners drove.")],
    json: Json = False,
) -> None:
    """The planners that drove a suite, and how far their ranking can be trusted."""
    from simulation.suites import rank as ranked

    found = ranked(open_lake(context), name)
    if json:
        print_json(found)
        return
    _tell_left_out(found["left_out"])
    print_table(
        {
            "planner": row["planner"],
            **{
                f"{key}": f"{row[key]['value']:.3f} [{row[key]['low']:.3f}, {row[key]['high']:.3f}]"
                for key in ("score", "pass_rate")
            },
        }
        for row in found["ranking"]
    )
    trust = found["reliability"]
    halves = trust["split_half"]
    by_halves = "" if math.isnan(halves) else f", by halves {halves:.2f}"
    print_line()
    print_line(
        f"Ranked alike when drawn again: Kendall τ {trust['tau']:.2f} [{trust['low']:.2f}, "
        f"{trust['high']:.2f}]{by_halves}; the best again in "
        f"{trust['same_best']:.0%}. {count(len(found['fewest']), 'case')} of {found['cases']} "
        f"rank alike."
    )
    print_line()
    print_table(
        {"of what it fails": one, **{
            other: "" if share is None else f"{share:.0%}" for other, share in row.items()
        }}
        for one, row in found["transfer"].items()
    )  # fmt: skip


@app.command()
def validate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A suite.")],
    json: Json = False,
) -> None:
    """Prove each case solvable, not trivial, repeatable and unlike the others."""
    from simulation.suites import validate as prove

    with progress("Prove", quiet=json) as tick:
        found = prove(open_lake(context), name, progress=tick)
    if json:
        print_json(found)
        return
    tell(
        f"{found.valid} of {count(found.cases, 'case')} are sound; "
        f"flake rate {found.flake_rate:.1%}; solved by "
        + ", ".join(f"{who} ({n})" for who, n in found.solved_by.items())
    )
    print_table({"check": check, "cases that fail it": n} for check, n in found.failed.items())


@app.command()
def trim(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A suite.")],
    to: Annotated[str, typer.Argument(help="Name of the smaller one.")],
    keep: Annotated[
        Keep, typer.Option(help="Sound cases, or the fewest that rank the planners alike.")
    ] = Keep.VALID,
    json: Json = False,
) -> None:
    """A smaller suite of the cases that are sound, or that tell planners apart."""
    from simulation.suites import trim as shorten
    from simulation.suites.comparing import last_runs

    lake = open_lake(context)
    kept = shorten(lake, name, to, keep=keep.value)
    if keep is Keep.RANKING:
        runs = last_runs(lake, name)
        _tell_left_out({who: run.undriven for who, run in runs.items() if run.undriven})
    if json:
        print_json({"suite": to, "of": name, "cases": kept})
        return
    tell(f"Suite {to}: {count(kept, 'case')} of {name}.")


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the suite.")],
    json: Json = False,
) -> None:
    """Remove a suite with its cases and results, so that the logs that it rests on may go."""
    from simulation.suites import remove as run

    removed = run(open_lake(context), name)
    if json:
        print_json(removed)
    else:
        tell(
            f"Suite {name} went, with {count(removed.cases, 'case')} and {count(removed.results, 'result')}."
        )


@app.command("list")
def list_all(context: typer.Context, json: Json = False) -> None:
    """Which suites there are."""
    from simulation.suites import list_suites

    suites = list_suites(open_lake(context))
    if json:
        print_json(suites)
        return
    print_table(
        {
            "suite": suite["suite"],
            "cases": suite["cases"],
            "runs": ", ".join(f"{run['planner']} {run['run_id']}" for run in suite["runs"][-3:]),
            "selection": ", ".join(
                f"{key}: {_said(value)}"
                for key, value in suite["selection"].items()
                if value is not None
            ),
        }
        for suite in suites
    )


def _said(value: Any) -> str:
    """A setting of a suite in a line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} = {_said(part)}" for name, part in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)

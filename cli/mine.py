"""``scenelake mine``: tags, neighbours, clusters, the long tail, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import Json, Seed, open_lake
from cli.output import count, plain, print_json, print_line, print_table, progress, tell

if TYPE_CHECKING:
    from lake import Lake
    from mining.query.find import FindReport

Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Count the scenes that cannot be judged; of thousands some are drawn otherwise.",
    ),
]

app = typer.Typer(
    help="Find things: tags, neighbours, clusters, the long tail, gaps.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def tag(
    context: typer.Context,
    only: Annotated[
        str | None, typer.Option(help="Only these predicates, separated by commas.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Saved rules to tag instead, TOML (docs/query.md).")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look through all scenes, up to date or not.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    json: Json = False,
) -> None:
    """Run the predicates, or saved rules, where nobody has; what holds when goes into `events`."""
    from mining.query.rules import read_rules, rules_of, some_of
    from mining.query.tagging import tag_rules
    from mining.tag import tag as run

    lake = open_lake(context)
    names = [name.strip() for name in only.split(",")] if only else None
    if rules is not None:
        told = read_rules(rules, rules_of(lake))
        report = tag_rules(lake, some_of(told, names), again=again)
    else:
        with progress("Tag", quiet=json) as tick:
            report = run(lake, only=names, again=again, jobs=jobs, progress=tick)
    _tell_untagged(report.untagged)
    if json:
        print_json(report)
        return
    if report.up_to_date:
        told_so = f"{count(report.up_to_date, 'scene')} had been looked through before"
        tell(f"{told_so}: --again does them anew.")
    if not report.scenes:
        return
    tell(
        f"{count(report.scenes, 'scene')}: {count(report.events, 'interval')} that hold, "
        f"{report.unknown:,} that cannot be known."
    )
    print_table(
        {"predicate": name, "scenes": report.scenes_by_name.get(name, 0), "intervals": number}
        for name, number in report.by_name.items()
    )


@app.command()
def similar(
    context: typer.Context,
    scene: Annotated[str, typer.Argument(help="A scene's id or name.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    other_logs: Annotated[
        bool, typer.Option("--other-logs", help="Leave out scenes of the same log.")
    ] = False,
    json: Json = False,
) -> None:
    """The scenes most like one."""
    from mining.similar import similar as run

    lake = open_lake(context)
    report = run(lake, lake.resolve_scene(scene), k=k, exclude_same_log=other_logs)
    if json:
        print_json(report)
        return
    names = _names(lake, (r.scene_id for r in report.results))
    print_table(
        {"scene_id": str(r.scene_id), "scene": names[r.scene_id], "score": r.score}
        for r in report.results
    )


def _names(lake: Lake, scene_ids: Iterable[int]) -> dict[int, str]:
    """What scenes are called, by id."""
    asked = ", ".join(map(str, scene_ids))
    rows = lake.read("scenes", ["scene_id", "name"], f"scene_id IN ({asked})") if asked else None
    return {} if rows is None else {row["scene_id"]: row["name"] for row in rows.to_pylist()}


@app.command()
def cluster(context: typer.Context, seed: Seed = 0, json: Json = False) -> None:
    """Group the scenes, coarsely and finely, and say in words what sets each group apart."""
    from mining.cluster import cluster as run

    report = run(open_lake(context), seed=seed)
    if json:
        print_json(report)
        return
    for index, level in enumerate(report.levels):
        print_line(
            f"{'Coarse' if index == 0 else 'Fine'}: {count(len(level.clusters), 'cluster')}"
        )
        print_table(
            {
                "cluster": c.cluster_id,
                "size": c.size,
                "description": c.description,
                "example": str(c.example),
            }
            for c in level.clusters
        )
        print_line()


@app.command()
def rare(
    context: typer.Context,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 20,
    json: Json = False,
) -> None:
    """The long tail: the scenes least like any other, rarest first."""
    from mining.rare import rare as run

    lake = open_lake(context)
    report = run(lake, k=k)
    _tell_untagged(report.untagged, "They are ranked by their vectors alone")
    if json:
        print_json(report)
        return
    names = _names(lake, (r.scene_id for r in report.results))
    print_table(
        {
            "scene_id": str(r.scene_id),
            "scene": names[r.scene_id],
            "rarity": r.rarity,
            "by vector": r.novelty,
            "by tags": r.tag_rarity,
            "rarest tags": ", ".join(r.tags[:4]),
        }
        for r in report.results
    )


@app.command()
def coverage(
    context: typer.Context,
    wanted: Annotated[int, typer.Option(min=1, help="Scenes wanted in each cell.")] = 3,
    tags: Annotated[
        str | None, typer.Option(help="Of these predicates and saved rules, separated by commas.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Print at most so many gaps.")] = 30,
    json: Json = False,
) -> None:
    """Which tags, on which roads, in which conditions, have too few scenes."""
    from mining.coverage import coverage as run

    names = [name.strip() for name in tags.split(",")] if tags else None
    report = run(open_lake(context), wanted=wanted, tags=names)
    _tell_untagged(report.untagged, f"They may fill {count(report.unknown, 'cell')} more")
    if json:
        print_json(report)
        return
    tell(
        f"{report.covered} of {count(report.cells, 'cell')} covered; "
        f"unseen mass (Good-Turing) {report.unseen_mass:.2f}."
    )
    print_table(
        {"gap_id": g.cell.gap_id, "count": g.count, "generated": g.generated, "wanted": g.wanted}
        for g in report.gaps[:limit]
    )
    if len(report.gaps) > limit:
        tell(f"{len(report.gaps) - limit} more; raise --limit or use SQL on `gaps`.")


@app.command()
def find(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(help="Such as: cut_in(a, ego) then hard_brake(ego) within 3 s")
    ],
    rules: Annotated[
        Path | None, typer.Option(help="Saved rules that the query may call, TOML.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="Matches to tell.")] = 100,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Tell how the query is understood and run; run nothing."),
    ] = False,
    exact: Exact = False,
    json: Json = False,
) -> None:
    """Where a situation occurs, asked for in the query language (docs/query.md)."""
    from mining.query.find import explain as plan
    from mining.query.find import find as run
    from mining.query.rules import read_rules, rules_of

    lake = open_lake(context)
    told = None if rules is None else read_rules(rules, rules_of(lake))
    if explain:
        text = plan(lake, query, rules=told)
        print_json({"query": query, "plan": text}) if json else print_line(text)
        return
    report = run(lake, query, limit=limit, rules=told, exact=exact)
    if json:
        _tell_untagged(report.untagged)
        _tell_warnings(report)
        print_json(report)
        return
    tell(report.query)
    _print_matches(report)


@app.command()
def ask(
    context: typer.Context,
    sentence: Annotated[
        str, typer.Argument(help="Such as: a car cuts in, then the ego brakes hard within 3 s")
    ] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="Matches to tell.")] = 100,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Tell how the query is understood and run; run nothing."),
    ] = False,
    vocabulary: Annotated[
        bool, typer.Option("--vocabulary", help="List every phrase that is understood.")
    ] = False,
    exact: Exact = False,
    json: Json = False,
) -> None:
    """Where a situation occurs, asked for in plain English; what is not understood is refused."""
    from mining.query.find import explain as plan
    from mining.query.find import find as run
    from mining.query.rules import rules_of
    from mining.query.words import translate
    from mining.query.words import vocabulary as phrases

    if vocabulary:
        rows = [{"means": means, "say": said} for means, said in phrases()]
        print_json(rows) if json else print_table(rows)
        return
    lake = open_lake(context)
    query = translate(sentence, rules=rules_of(lake))
    tell(f"understood: {query}")
    if explain:
        text = plan(lake, query)
        told = {"words": sentence, "query": str(query), "plan": text}
        print_json(told) if json else print_line(text)
        return
    report = run(lake, query, limit=limit, exact=exact)
    if json:
        _tell_untagged(report.untagged)
        _tell_warnings(report)
        print_json({"words": sentence, **plain(report)})
    else:
        _print_matches(report)


def _tell_untagged(number: int, but: str = "") -> None:
    """What nobody looked for is not absent."""
    if number:
        tell(
            f"{count(number, 'scene')} nobody has looked through for all of this: run `scenelake mine tag`."
            + (f" {but}." if but else "")
        )


def _tell_warnings(report: FindReport) -> None:
    for warning in report.warnings:
        tell(f"warning: {warning}")


def _print_matches(report: FindReport) -> None:
    _tell_warnings(report)
    tell(
        f"{count(report.total, 'match', 'matches')} in "
        f"{count(report.scenes, 'scene')}; {report.searched:,} searched."
    )
    if report.unknown:
        why = "; ".join(f"{reason} ({number:,})" for reason, number in report.why_unknown.items())
        drawn = report.unknown_drawn
        some = "" if drawn is None else f" (estimated from {drawn:,} drawn; `--exact` counts)"
        tell(
            f"In {count(report.unknown, 'further scene')}{some} it cannot be known"
            f"{': ' if why else ''}{why}. `unknown as true` adds them."
        )
    _tell_untagged(report.untagged)
    print_table(
        {
            "scene_id": str(m.scene_id),
            "scene": m.name,
            "from": f"{m.t0_s:.1f} s",
            "to": f"{m.t1_s:.1f} s",
            **({"truth": m.truth} if any(o.truth != "true" for o in report.matches) else {}),
            "who": ", ".join(f"{name} {'?' if i is None else i}" for name, i in m.actors.items()),
            "evidence": ", ".join(
                f"{name} {facts['value']:.2f}" for name, facts in m.evidence.items()
                if facts.get("value") is not None
            ),
        }
        for m in report.matches
    )  # fmt: skip


@app.command()
def refav(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="A RefAV scenario definition (Python file).")],
    log: Annotated[
        list[str] | None,
        typer.Option(help="Only this log, by its id or the source's; repeatable."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="Keep what is found in `events`, as tags of this name.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a RefAV scenario definition on the logs; the file is read, never executed."""
    from formats.files import read_bytes
    from mining.refav import keep, run_program, stamps_of

    lake = open_lake(context)
    text = read_bytes(program).decode(errors="replace")
    report = run_program(lake, text, name=program.name, logs=log or None)
    if tag is not None:
        kept = keep(lake, report, name=tag, program=text)
        tell(
            f"`{tag}`: {count(kept.intervals, 'interval')} in {count(kept.tagged, 'scene')} "
            f"of {kept.scenes:,} that it was run on."
        )
    if json:
        print_json(report)
        return
    for refused in report.refused:
        tell(f"{refused.reason} {refused.hint}")
    print_table(
        {
            "log": found.source_log_id,
            "description": found.description,
            "tracks": len(found.scenario),
            "stamps": len(stamps_of(found.scenario)),
        }
        for found in report.found
    )

"""Commands on the lake itself: what can be read, ingest, what is there, SQL."""

from __future__ import annotations

import itertools
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import At, Json, open_lake
from cli.output import (
    count,
    notes_of,
    plain,
    print_csv,
    print_json,
    print_line,
    print_table,
    progress,
    stages,
    tell,
    whole_file,
)

if TYPE_CHECKING:
    import pyarrow as pa


class OnError(StrEnum):
    """What to do with a record that cannot be read."""

    STOP = "stop"
    SKIP = "skip"


class Output(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def formats(json: Json = False) -> None:
    """List what can be read and written: by `export`, or as whole logs by `world` and in Python."""
    from formats.registry import known_formats

    rows = [
        {
            "name": entry.name,
            "read": entry.reader is not None,
            "write": entry.writer is not None or entry.log_writer is not None,
            "export": entry.writer is not None,
            "modalities": list(entry.modalities),
            "title": entry.title,
        }
        for entry in known_formats().values()
    ]
    if json:
        print_json(rows)
        return
    print_table(
        {
            "name": row["name"],
            "read": "yes" if row["read"] else "",
            "write": "export" if row["export"] else "logs" if row["write"] else "",
            "modalities": " ".join(known_formats()[str(row["name"])].modalities),
            "title": row["title"],
        }
        for row in rows
    )


def ingest(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders of logs, or s3://, gs://, az://.")
    ],
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="Only this format; else all are tried.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that parse.")] = 1,
    on_error: Annotated[
        OnError, typer.Option(help="Whether a bad record ends the run or is noted and skipped.")
    ] = OnError.STOP,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Logs that are here and differ give way to the new reading."
        ),
    ] = False,
    prefix: Annotated[
        str,
        typer.Option(
            help="Put before each log's name; {folder} is its folder below the path given. "
            "For fleets whose recordings are called alike."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Bring logs into the lake; what is there already is left alone."""
    from lake import Lake
    from lake.ingest import check_paths
    from schemas.errors import NoLake

    place = str(context.find_root().obj)
    try:
        lake = Lake.open(place)
    except NoLake:
        check_paths(paths, format=format)  # a slip of the pen leaves no empty lake behind
        lake = Lake.open_or_create(place)
    try:
        with progress("Ingest", quiet=json) as tick:
            report = lake.ingest(
                paths,
                format=format,
                jobs=jobs,
                on_error="stop" if on_error is OnError.STOP else "skip",
                replace=replace,
                prefix=prefix,
                progress=lambda done, total, _: tick(done, total),
            )
    except KeyboardInterrupt as stopped:
        for note in notes_of(stopped):
            tell(note)
        raise
    if json:
        print_json(report)
    else:
        scenes = count(report.scenes, "scene")
        tell(
            f"{count(report.logs, 'new log')} with {scenes} came in; {report.unchanged:,} unchanged."
        )
        if not report.logs and report.unchanged:
            what = "All that could be read" if report.rejected else "Everything"
            tell(f"{what} was there already; no row was added.")
        if any(report.rows.values()):
            print_table({"table": k, "new rows": v} for k, v in report.rows.items() if v)
        _tell_rejected(report.rejected)
        if report.noted:
            told = ", ".join(f"{number:,} {kind}" for kind, number in report.noted.items())
            tell(f"Noted of what came in, for `scenelake ledger` to tell: {told}.")
        if report.unread:
            tell(
                f"{count(report.unread, 'other file')} of no format that is read: "
                "`scenelake ledger --kind dropped` tells which."
            )
    if report.rejected and on_error is OnError.STOP:
        raise typer.Exit(1)


def _tell_rejected(rejected: Any) -> None:
    if not rejected:
        return
    tell(
        f"{count(len(rejected), 'record')} refused (`scenelake ledger --kind rejected` lists all):"
    )
    for entry in list(rejected)[:5]:
        row = plain(entry)
        where = f"{row['path']} {row['record']}".strip()
        tell(f"  {where}: {row['reason']}")


def info(context: typer.Context, at: At = None, json: Json = False) -> None:
    """What is in the lake."""
    found = open_lake(context, at=at).info()
    if json:
        print_json(found)
        return
    made = plain(found)
    print_line(f"{made['hours']:.2f} hours of logs, {made['km']:.1f} km driven by egos")
    print_line()
    print_table({"dataset": name, **facts} for name, facts in made["datasets"].items())
    print_line()
    print_table(
        {"table": name, **facts} for name, facts in made["tables"].items() if facts["rows"]
    )


def verify(
    context: typer.Context,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Look at every scene, object, video and copied payload, not at samples of them.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check that the lake is sound; exit code 1 if it is not."""
    with stages(quiet=json) as tell_stage:
        findings = open_lake(context).verify(deep=deep, progress=tell_stage)
    errors = [finding for finding in findings if finding.severity == "error"]
    if json:
        print_json({"sound": not errors, "findings": findings})
    else:
        # Lines, since a terminal's table would cut off the example.
        for found in findings:
            print_line(f"{found.severity}: {found.table or 'lake'}, {found.check}: {found.detail}")
        _tell_verdict(len(errors), len(findings) - len(errors), deep=deep)
    if errors:
        raise typer.Exit(1)


def _tell_verdict(errors: int, warnings: int, *, deep: bool) -> None:
    if errors:
        tell(
            f"The lake is not sound: {count(errors, 'rule')} broken, {count(warnings, 'warning')}."
        )
        return
    sampled = "" if deep else " What takes long was looked at in samples: `--deep` looks at all."
    if not warnings:
        tell(f"The lake is sound.{sampled}")
        return
    tell(
        f"The lake is sound, with {count(warnings, 'warning')}: what sources told that is worth a "
        f"look. No row contradicts another.{sampled}"
    )


def ledger(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Option(help="rejected, dropped, clipped, renamed, guessed, missing or ingested."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Print at most so many lines.")] = 50,
    json: Json = False,
) -> None:
    """What was read, dropped, guessed or refused, and why; not what was refused and then came in.

    The `ledger` table has that too.
    """
    from lake.literals import literal
    from schemas.errors import UnknownName
    from schemas.tables import LEDGER_KINDS

    if kind is not None and kind not in LEDGER_KINDS:
        raise UnknownName("kind of ledger entry", kind, LEDGER_KINDS)
    where = "" if kind is None else f" WHERE kind = {literal(kind)}"
    rows = open_lake(context).sql(f"SELECT * FROM ledger_open{where}")
    if json:
        print_json(rows.to_pylist())
        return
    # What came in whole is the least of anyone's worries.
    worries = sorted(rows.to_pylist(), key=lambda row: row["kind"] == "ingested")
    shown = worries[:limit]
    print_table(shown, columns=("kind", "count", "reason", "uri", "record"))
    if rows.num_rows > limit:
        tell(f"{rows.num_rows - limit:,} more; raise --limit or use SQL on `ledger`.")


_BY_SUFFIX = {".csv": Output.CSV, ".json": Output.JSON, ".parquet": Output.PARQUET}
"""What a file is written as whose kind is not told."""


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="DuckDB SQL; every table of the lake is a view.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
    to: Annotated[Path | None, typer.Option(help="File to write to, needed for parquet.")] = None,
    at: At = None,
    json: Json = False,
) -> None:
    """Ask the lake in SQL; nothing can be changed by it.

    In CSV and JSON, bytes (WKB) are told in hexadecimal; infinity is 1e999 in JSON, of all commands.
    """
    if json and output is not Output.TABLE:
        raise typer.BadParameter(f"--json and --output {output.value} exclude each other.")
    kind = Output.JSON if json else output
    if to is not None and kind is Output.TABLE and to.suffix.lower() in _BY_SUFFIX:
        kind = _BY_SUFFIX[to.suffix.lower()]
    if kind is Output.PARQUET and to is None:
        raise typer.BadParameter("Parquet cannot be printed on a terminal; name a file with --to.")
    lake = open_lake(context, at=at)
    if kind is Output.PARQUET:
        import pyarrow.parquet as arrow_parquet

        assert to is not None
        batches = lake.sql_batches(query)
        first = next(batches)
        with (
            whole_file(to) as place,
            arrow_parquet.ParquetWriter(place, first.schema) as file,
        ):
            for batch in itertools.chain([first], batches):
                file.write_batch(batch)
        return
    rows = lake.sql(query)
    if to is None:
        _print_rows(rows, kind)
        return
    with (
        whole_file(to) as place,
        place.open("w", encoding="utf-8") as sink,
        redirect_stdout(sink),
    ):
        _print_rows(rows, kind)


def _print_rows(rows: pa.Table, kind: Output) -> None:
    if kind is Output.CSV:
        print_csv(rows)
    elif kind is Output.JSON:
        print_json(rows.to_pylist())
    else:
        print_table(rows.to_pylist(), columns=rows.column_names)

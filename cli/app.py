"""``scenelake``: the command and its options.

Nothing but typer is imported here, so that ``--help`` is instant; each command imports what it
needs when it runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Annotated

import typer

from cli import generate, lakes, learn, mine, suite, tour, upkeep
from cli.output import notes_of

app = typer.Typer(
    name="scenelake",
    help="Drive logs in, closed-loop test suites out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # units stand in brackets, which rich would eat
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"scenelake {version('scenelake')}\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    lake: Annotated[
        str,
        typer.Option(
            envvar="SCENELAKE",
            help="Folder of the lake, or s3://, gs://, az://.",
            show_default=True,
        ),
    ] = "./scenelake-data",
    version: Annotated[  # noqa: ARG001 (its callback prints it)
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Drive logs in, closed-loop test suites out."""
    context.obj = lake


app.command("demo")(tour.demo)
app.command("world")(tour.world)
app.command("formats")(lakes.formats)
app.command("ingest")(lakes.ingest)
app.command("info")(lakes.info)
app.command("verify")(lakes.verify)
app.command("ledger")(lakes.ledger)
app.command("sql")(lakes.sql)
app.command("snapshot")(upkeep.snapshot)
app.command("snapshots")(upkeep.snapshots)
app.command("compact")(upkeep.compact)
app.command("recut")(upkeep.recut)
app.command("remove")(upkeep.remove)
app.command("copy-media")(upkeep.copy_media)
app.add_typer(learn.train, name="train")
app.command("encode")(learn.encode)
app.add_typer(mine.app, name="mine")
app.command("generate")(generate.generate)
app.add_typer(suite.app, name="suite")
app.command("export")(generate.export)
app.command("render")(generate.render)


def main() -> None:
    """Run the command; refused input is told in one message and ends with exit code 1.

    A command that is told to end (SIGTERM) ends as by Ctrl-C: cleanly, and with 143 for 130.
    """
    terminated = _end_as_by_ctrl_c()
    try:
        code = app(standalone_mode=True)
    except SystemExit as end:
        if end.code == 130:
            how = getattr(end, "how", "the same command goes on from there.")
            sys.stderr.write(f"Stopped. What was committed is kept; {how}\n")
            if terminated():
                sys.exit(128 + signal.SIGTERM)
        raise
    except Exception as error:
        from schemas.errors import ScenelakeError

        if isinstance(error, ScenelakeError):
            _report(
                error.kind, error.message, " ".join(filter(None, (*notes_of(error), error.hint)))
            )
        elif isinstance(error, OSError):
            hint = "Check that the place exists, may be written, and has space left."
            _report("OSError", _story(error), hint)
        else:
            raise
        sys.exit(128 + signal.SIGTERM if terminated() else 1)
    sys.exit(code)


def _end_as_by_ctrl_c() -> Callable[[], bool]:
    """Let SIGTERM do what Ctrl-C does; the function that is returned says whether it came."""
    came = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if not came:  # whoever is impatient does not interrupt the cleaning up
            came = True
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
    return lambda: came


def _story(error: OSError) -> str:
    """What the system refused, and where, if it says so."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror.lower()}"


def _report(kind: str, message: str, hint: str) -> None:
    if _asks_for_json(sys.argv[1:]):
        from cli.output import print_json

        print_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")


def _asks_for_json(arguments: list[str]) -> bool:
    output = ("-o", "--output")
    pairs = pairwise(arguments)
    return (
        any(a in ("--json", "-ojson", "--output=json") for a in arguments)
        or any(a in output and b == "json" for a, b in pairs)
    )  # fmt: skip


if __name__ == "__main__":
    main()

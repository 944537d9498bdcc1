"""``scenelake``: the command and its options.

Nothing but typer is imported here, so that ``--help`` is instant; each command imports what it
needs when it runs.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import generate, lakes, learn, mine, suite, tour

app = typer.Typer(
    name="scenelake",
    help="Drive logs in, closed-loop test suites out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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
        str, typer.Option(envvar="SCENELAKE", help="Folder of the lake.", show_default=True)
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
app.add_typer(learn.train, name="train")
app.command("encode")(learn.encode)
app.add_typer(mine.app, name="mine")
app.command("generate")(generate.generate)
app.add_typer(suite.app, name="suite")
app.command("export")(generate.export)
app.command("render")(generate.render)


def main() -> None:
    """Run the command; refused input is told in one message and ends with exit code 1."""
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write(
            "Stopped. What was committed is kept; the same command goes on from there.\n"
        )
        sys.exit(130)
    except Exception as error:
        from schemas.errors import ScenelakeError

        if not isinstance(error, ScenelakeError):
            raise
        _report(error)
        sys.exit(1)


def _report(error: Exception) -> None:
    from cli.output import print_json
    from schemas.errors import ScenelakeError

    assert isinstance(error, ScenelakeError)
    if "--json" in sys.argv:
        facts = {"kind": error.kind, "message": error.message, "hint": error.hint}
        print_json({"error": facts})
        return
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")


if __name__ == "__main__":
    main()

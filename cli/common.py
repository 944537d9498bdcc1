"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lake import Lake

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]


def open_lake(context: typer.Context) -> Lake:
    """The lake that the command was pointed at.

    Raises:
        NoLake: There is none there.
    """
    from lake import Lake

    return Lake.open(str(context.find_root().obj))

"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lake import Lake

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of every random choice.")]


At = Annotated[str | None, typer.Option("--at", help="As it was at a snapshot.")]


def open_lake(context: typer.Context, *, at: str | None = None) -> Lake:
    """The lake that the command was pointed at, or as it was at a snapshot.

    Raises:
        NoLake: There is none there.
        UnknownName: It has no such snapshot.
    """
    from lake import Lake

    return Lake.open(str(context.find_root().obj), at=at)


class Stopped(SystemExit):
    """A command was interrupted, and another one than itself goes on from there."""

    def __init__(self, how: str) -> None:
        """Tell how, to be read after a semicolon."""
        super().__init__(130)
        self.how = how

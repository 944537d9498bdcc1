"""A mistake in a query, with its place."""

from __future__ import annotations

from mining.query.tree import Place
from schemas.errors import BadQuery

WIDEST = 100  # [characters] of a line that is shown round a mistake


class BadExpression(BadQuery):
    """A query that is not understood, or cannot mean anything.

    Attributes:
        text: The query.
        place: From which character to which.
        reason: What is wrong, a sentence without its full stop.
    """

    def __init__(self, text: str, place: Place, reason: str, *, hint: str = "") -> None:
        self.text, self.place, self.reason = text, place, reason
        super().__init__(f"{reason}{_shown(text, place)}", hint=hint)


def _shown(text: str, place: Place) -> str:
    """The line with the mistake, marked below; nothing if the query was made in Python."""
    if not text.strip():
        return "."
    begin, end = place
    line_begin = text.rfind("\n", 0, begin) + 1
    line = text[line_begin:].split("\n", 1)[0]
    row = text.count("\n", 0, begin) + 1
    column = begin - line_begin
    width = max(1, min(end, line_begin + len(line)) - begin)
    left = max(0, column - WIDEST // 2)
    shown = line[left : left + WIDEST].replace("\t", " ")
    where = (
        f"character {column + 1}" if "\n" not in text else f"line {row}, character {column + 1}"
    )
    return f" ({where}):\n    {shown}\n    {' ' * (column - left)}{'^' * min(width, WIDEST)}"

"""Words as SQL and Lance filters write them."""

from __future__ import annotations


def literal(text: str) -> str:
    """The text in quotes, its own doubled."""
    return "'" + text.replace("'", "''") + "'"

"""Ids of a source, made unique where the source repeats itself."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.records import Note


def distinct(names: Iterable[str], what: str) -> tuple[list[str], list[Note]]:
    """The names, repeated ones with ``#2``, ``#3``, … after them, and a note if there are any."""
    made: list[str] = []
    taken: set[str] = set()
    renamed = 0
    for name in names:
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}#{number}"
        renamed += number > 1
        taken.add(free)
        made.append(free)
    reason = f"{what} ids that another bears already get a number after them"
    return made, [Note(kind="renamed", reason=reason, count=renamed)] if renamed else []

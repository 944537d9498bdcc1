"""A query that was given a name: as a tag of the lake, a cell of coverage, a gate, a criterion."""

from __future__ import annotations

from dataclasses import dataclass

from mining.query.tree import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A saved query.

    Attributes:
        name: As queries call it, and as its rows in ``events`` are named.
        text: The query, as written.
        node: The query, checked.
        actors: Its variables that a call names, in order; the first two are actor and other of
            ``events``.
        doc: What it means, in a sentence.
        source: Who says so.
        version: Raised whenever its meaning changes.
    """

    name: str
    text: str
    node: Node
    actors: tuple[str, ...] = ()
    doc: str = ""
    source: str = "own"
    version: int = 1

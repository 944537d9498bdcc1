"""Driving macros written out, so that a query reads only the columns that they use.

DuckDB hands a row to a macro as a struct of all its columns: ``speed(a)`` would read all seventeen
columns of ``agents`` for the two that it needs. Written out, ``sqrt(a.vx_map^2 + a.vy_map^2)``, the
same call reads two. Calls whose rows are no plain aliases are left to DuckDB.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from lake.macros import MACROS

_TOKEN = re.compile(
    r"""
    --[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | \w+ | \s+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_Bodies: TypeAlias = "Mapping[str, tuple[Sequence[str], frozenset[str], Sequence[str]]]"
_ALIAS = re.compile(r'\s*([A-Za-z_]\w*|"(?:[^"]|"")+")\s*')


def expand(query: str) -> str:
    """The query with calls of macros written out; as it is where there are none."""
    if "$" in query:  # strings between dollars, which may hold anything
        return query
    return "".join(_expanded(_TOKEN.findall(query), _bodies()))


def _expanded(tokens: Sequence[str], bodies: _Bodies) -> Iterator[str]:
    place = 0
    while place < len(tokens):
        name = tokens[place].lower()
        call = _call(tokens, place) if name in bodies else None
        if call is not None:
            arguments, after = call
            given = ["".join(_expanded(argument, bodies)) for argument in arguments]
            body = _body(bodies[name], given)
            if body is not None:
                yield body
                place = after
                continue
        yield tokens[place]
        place += 1


def _call(tokens: Sequence[str], place: int) -> tuple[list[list[str]], int] | None:
    """The arguments of the call that begins with a name, and where what follows it begins."""
    before = next((t for t in reversed(tokens[:place]) if t.strip()), "")
    begin = next((n for n in range(place + 1, len(tokens)) if tokens[n].strip()), len(tokens))
    if before == "." or begin == len(tokens) or tokens[begin] != "(":
        return None
    arguments: list[list[str]] = [[]]
    depth = 0
    for here in range(begin + 1, len(tokens)):
        token = tokens[here]
        if token == ")" and not depth:
            return arguments, here + 1
        depth += (token in "([{") - (token in ")]}")
        if token == "," and not depth:
            arguments.append([])
        else:
            arguments[-1].append(token)
    return None


def _body(
    macro: tuple[Sequence[str], frozenset[str], Sequence[str]], arguments: Sequence[str]
) -> str | None:
    """A macro's body with its arguments in place, None where it cannot be written out."""
    parameters, rows, body = macro
    if len(arguments) != len(parameters) or any(":=" in a or "--" in a for a in arguments):
        return None
    given = dict(zip(parameters, arguments, strict=True))
    if any(not _ALIAS.fullmatch(given[row]) for row in rows):
        return None
    made = [
        token if token not in given or (n and body[n - 1] == ".")
        else given[token].strip() if token in rows
        else f"({given[token].strip()})"
        for n, token in enumerate(body)
    ]  # fmt: skip
    return f"({''.join(made)})"


@functools.cache
def _bodies() -> _Bodies:
    """Of each macro that takes rows: its parameters, those that are rows, its body in tokens."""
    made: dict[str, tuple[Sequence[str], frozenset[str], Sequence[str]]] = {}
    for macro in (macro for macro in MACROS if not macro.table):
        parameters = [word.strip() for word in macro.parameters.split(",")]
        body = "".join(_expanded(_TOKEN.findall(macro.body), made))
        tokens = _TOKEN.findall(body)
        rows = frozenset(one for one, two in pairwise(tokens) if one in parameters and two == ".")
        if rows:
            made[macro.name] = (parameters, rows, tokens)
    return made

"""The lake that a program runs on, and what it puts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lake import Lake
from mining.refav.log import Log
from mining.refav.scenario import Scenario
from schemas.errors import BadQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a program put out for one log: whom its description refers to, and when."""

    log_id: int
    source_log_id: str
    description: str
    scenario: Scenario


@dataclass(slots=True, eq=False)
class Session:
    """A lake on which programs run; ``found`` fills as they put out scenarios."""

    lake: Lake
    colours: Mapping[str, str] | None = None
    found: list[Found] = field(default_factory=list)
    logs: dict[str, Log] = field(default_factory=dict)

    def log(self, name: str | Path) -> Log:
        """A log of the lake, opened once."""
        key = str(name)
        if key not in self.logs:
            self.logs[key] = Log.open(self.lake, name, colours=self.colours)
        return self.logs[key]


_CURRENT: ContextVar[Session | None] = ContextVar("refav", default=None)


@contextmanager
def on(lake: Lake, *, colours: Mapping[str, str] | None = None) -> Iterator[Session]:
    """Run what is within on a lake: there ``log_dir`` may be a log's id or path.

    Args:
        lake: Where logs are looked for.
        colours: Source track id → colour, for ``is_color``.
    """
    session = Session(lake.at(), colours)
    token = _CURRENT.set(session)
    try:
        yield session
    finally:
        _CURRENT.reset(token)


def resolve(log_dir: Any) -> Log:
    """The log that a function's ``log_dir`` means.

    Raises:
        BadQuery: It is no log, or no lake was named.
        UnknownName: The lake has no such log.
    """
    if isinstance(log_dir, Log):
        return log_dir
    session = _CURRENT.get()
    if not isinstance(log_dir, str | Path):
        raise BadQuery(
            f"log_dir is {type(log_dir).__name__}, not a log.",
            hint="Arguments go in the order (tracks, related tracks, log_dir, …).",
        )
    if session is None:
        raise BadQuery(
            f"No lake was named in which to look for the log {log_dir}.",
            hint="Use `with refav.on(lake):`, or hand over `refav.Log.open(lake, log)`.",
        )
    return session.log(log_dir)


def put_out(found: Found) -> None:
    """Add to what the current session has found."""
    session = _CURRENT.get()
    if session is not None:
        session.found.append(found)

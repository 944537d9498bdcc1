"""Everything that Scenelake raises on purpose.

    ScenelakeError
    ├── UnknownName          a name that nothing has (format, table, predicate, gap, scene, …)
    ├── BadInput             a file or record that cannot be used as it is
    │   ├── UnreadableFile   missing, empty, truncated, foreign, or not permitted
    │   ├── BadRecord        one record of a file is wrong; the rest may be good
    │   └── DuplicateLog     another log already bears this id
    ├── BadSetting           a configuration key or value that is not understood
    ├── BadQuery             SQL or a query that does not run
    ├── MissingData          the lake lacks what the step needs (no scenes, no vectors, no map)
    ├── LakeError            the lake itself cannot be used
    │   ├── NoLake           there is none at this place
    │   ├── LakeTooNew       written by a newer Scenelake
    │   └── StorageFull      the disk is full or read-only
    ├── ExportRefused        a scene that the target format cannot carry faithfully
    └── PlannerFailed        a user's planner raised, hung, or answered what is no answer

Each keeps its facts as fields, says what was asked and what is there, and carries a ``hint``: what
to do. The command line prints them; nothing else catches them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class ScenelakeError(Exception):
    """Base of all; ``str()`` is the message, ``hint`` what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """As it crosses from one process to another: facts and all, whatever ``__init__`` asks for."""
        return _remade, (type(self), self.args, self.__dict__)

    @property
    def kind(self) -> str:
        """The class's name, which the command line prints under ``error.kind``."""
        return type(self).__name__


class UnknownName(ScenelakeError):
    """A name that nothing has; of very many that are there, those most like it are told."""

    ALL_TOLD = 100
    """As many are told all: the words of a language, not the names of a lake's scenes."""
    SOME_TOLD = 10

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.what, self.name, self.known = what, name, tuple(known)
        many = len(self.known) > self.ALL_TOLD
        near = difflib.get_close_matches(name, self.known, n=self.SOME_TOLD if many else 1)
        guess = f" Did you mean `{near[0]}`?" if near else ""
        told = (near or self.known[: self.SOME_TOLD]) if many else self.known
        shown = ", ".join(told) + (f", … ({len(self.known):,} in all)" if many else "")
        super().__init__(
            f"No {what} is called `{name}`.{guess}", hint=f"Known: {shown or 'none'}."
        )


class BadInput(ScenelakeError):
    """A file or record that cannot be used as it is."""

    def __init__(self, path: str | Path, reason: str, *, record: str = "", hint: str = "") -> None:
        self.path, self.reason, self.record = map(_printable, (str(path), reason, record))
        where = f"{self.path}, {self.record}" if record else self.path
        super().__init__(f"{where}: {self.reason}", hint=hint)


class UnreadableFile(BadInput):
    """A file that is missing, empty, truncated, foreign, or not permitted."""


class BadRecord(BadInput):
    """One record of a file is wrong; the others may be good."""


class DuplicateLog(BadInput):
    """A log whose id another log of the lake bears already."""


class BadSetting(ScenelakeError):
    """A configuration key or value that is not understood."""


class BadQuery(ScenelakeError):
    """SQL, or a query, that does not run."""


class MissingData(ScenelakeError):
    """The lake lacks what this step needs."""


class LakeError(ScenelakeError):
    """The lake itself cannot be used."""

    def __init__(self, uri: str, reason: str, *, hint: str = "") -> None:
        self.uri, self.reason = uri, reason
        super().__init__(f"The lake at {uri} {reason}", hint=hint)


class NoLake(LakeError):
    """There is no lake at this place."""


class LakeTooNew(LakeError):
    """The lake was written by a newer Scenelake."""


class StorageFull(LakeError):
    """The disk under the lake is full or read-only."""


class ExportRefused(ScenelakeError):
    """A scene that the target format cannot carry faithfully."""

    def __init__(self, scene: str, target: str, reason: str) -> None:
        self.scene, self.target, self.reason = scene, target, reason
        super().__init__(f"Scene {scene} cannot be written as {target}: {reason}")


class PlannerFailed(ScenelakeError):
    """A planner raised while it was driving, or gave no answer that can be driven."""

    LONGEST = 1000  # characters: the message is kept with every case that it is told of

    def __init__(self, planner: str, why: BaseException | str) -> None:
        """Tell what it raised, or in words what it did."""
        self.planner = planner
        told = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        self.error = _printable(told)[: self.LONGEST]
        did = self.error if isinstance(why, str) else f"raised {self.error}"
        super().__init__(f"Planner {planner} {did}")


def _remade(
    kind: type[ScenelakeError], args: tuple[object, ...], facts: dict[str, object]
) -> ScenelakeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


def _printable(text: str) -> str:
    """The text with control characters, and bytes of names that are not UTF-8, spelt out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

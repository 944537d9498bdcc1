"""What lies at or under a path, listed once however many readers ask.

A folder of logs may hold a million files and there are some thirty readers; each asks here for the
names that concern it, and within :func:`scanning` all are answered from one walk.

    with scanning():
        for reader in readers:
            list(reader.sources(path))  # each calls matching(path, "*.db")
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from formats.files import GZIP_SUFFIX, open_binary
from schemas.errors import BadInput

HEAD_BYTES = 4096  # [bytes] what readers may look at to recognise a file


@dataclass(slots=True)
class _Scan:
    listings: dict[Path, list[Path]] = field(default_factory=dict)
    heads: dict[Path, bytes] = field(default_factory=dict)


_ASKED: ContextVar[list[Path] | None] = ContextVar("asked", default=None)
_SCAN: ContextVar[_Scan | None] = ContextVar("scan", default=None)


@contextmanager
def scanning() -> Iterator[None]:
    """Within, every folder is walked once and every file's head read once."""
    token = _SCAN.set(_Scan())
    try:
        yield
    finally:
        _SCAN.reset(token)


@contextmanager
def asked_for(path: Path) -> Iterator[Callable[[], bool]]:
    """Within, whether any pattern fitted the name of the file can be asked; ``*`` fits none."""
    asked: list[Path] = []
    token = _ASKED.set(asked)
    try:
        yield lambda: path in asked
    finally:
        _ASKED.reset(token)


def matching(path: Path, *patterns: str) -> Iterator[Path]:
    """Files at or under a path whose names match one of the patterns, sorted.

    Args:
        path: A file is matched itself; of a folder, whatever lies under it. Links to folders are
            not followed, hidden folders are left out, and so is what is no file: pipes, sockets,
            devices. Links that lead nowhere are files that cannot be read.
        patterns: Shell patterns for the name alone, upper and lower case told apart; a name that
            ends in ``.gz`` is matched without that ending too.
    """
    wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    asked = _ASKED.get()
    for file in _listing(path):
        name = file.name
        if wanted.match(name) or (
            name.endswith(GZIP_SUFFIX) and wanted.match(name.removesuffix(GZIP_SUFFIX))
        ):
            if asked is not None and "*" not in patterns:
                asked.append(file)
            yield file


def head(path: Path) -> bytes:
    """The first ``HEAD_BYTES`` of a file, unpacked if it ends in ``.gz``; nothing if unreadable."""
    scan = _SCAN.get()
    if scan is not None and path in scan.heads:
        return scan.heads[path]
    try:
        with open_binary(path) as file:
            data = file.read(HEAD_BYTES)
    except BadInput:
        data = b""
    if scan is not None:
        scan.heads[path] = data
    return data


def _listing(path: Path) -> list[Path]:
    scan = _SCAN.get()
    if scan is not None and path in scan.listings:
        return scan.listings[path]
    found = sorted(_walk(path)) if path.is_dir() else [path] if path.is_file() else []
    if scan is not None:
        scan.listings[path] = found
    return found


def _walk(path: Path) -> Iterator[Path]:
    waiting = [str(path)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) or _leads_to_file(entry):
                        yield Path(entry.path)
        except OSError:  # not permitted, or gone meanwhile: holds nothing for us
            continue


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    """Whether a link leads to a file, or to where one was."""
    if not entry.is_symlink():
        return False
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError as error:
        return error.errno != errno.ELOOP  # what leads in a circle never led to any

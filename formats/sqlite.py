"""SQLite files as users bring them: opened in place and read only, packed or plain, whole or refused.

SQLite opens a file that was cut off and fails only when it comes to a page that is not there; here
the size that the header tells is compared first, and whatever goes wrong later ends in one error.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from formats.files import GZIP_SUFFIX, open_binary
from schemas.errors import UnreadableFile

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
CACHE_KIB = 32 * 1024  # of pages kept in memory, and of rows before a sort goes to disk
HINT = "Fetch the file again."


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database to read; one whose name ends in ``.gz`` is unpacked to a temporary file.

    Words that are not UTF-8 come with U+FFFD in place of what cannot be read. Nothing is written
    beside the file, and one that lies on a read-only disk can be read.

    Raises:
        UnreadableFile: It is missing, empty, no SQLite, cut off or damaged, also where that shows
            only while the block reads it.
    """
    with _unpacked(path) as plain:
        _refuse_what_is_not_whole(path, plain)
        try:
            with closing(sqlite3.connect(_uri(plain), uri=True)) as database:
                database.text_factory = _text
                database.execute("PRAGMA query_only = 1")
                database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                yield database
        except (sqlite3.Error, UnicodeDecodeError) as error:  # names of tables are not replaced
            raise UnreadableFile(path, f"cannot be read as SQLite ({error})", hint=HINT) from error


def columns_of(database: sqlite3.Connection) -> dict[str, list[str]]:
    """The columns of every table, by the table's name."""
    names = [
        name
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
        )
    ]
    return {
        name: [row[1] for row in database.execute(f"PRAGMA table_info({quoted(name)})")]
        for name in names
    }


def quoted(name: str) -> str:
    """A table's or column's name as SQL takes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _uri(path: Path) -> str:
    """Immutable, so that SQLite writes no lock, unless a log of later changes lies beside."""
    journal = path.with_name(path.name + "-wal")
    changing = journal.is_file() and journal.stat().st_size > 0
    mode = "mode=ro" if changing else "mode=ro&immutable=1"
    return f"file:{quote(str(path.resolve()))}?{mode}"


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    if path.suffix != GZIP_SUFFIX:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="scenelake-") as folder:
        plain = Path(folder, path.name.removesuffix(GZIP_SUFFIX))
        with open_binary(path) as packed, plain.open("wb") as target:
            shutil.copyfileobj(packed, target, 2**20)
        if plain.stat().st_size == 0:
            raise UnreadableFile(path, "is empty", hint=HINT)
        yield plain


def _refuse_what_is_not_whole(path: Path, plain: Path) -> None:
    with open_binary(plain) as file:
        header = file.read(HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if not header.startswith(MAGIC):
        raise UnreadableFile(path, "is no SQLite database")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    told = len(header) == HEADER_BYTES and header[24:28] == header[92:96]
    if len(header) < HEADER_BYTES or (told and pages * page > size):
        wanted = pages * page if told else HEADER_BYTES
        raise UnreadableFile(
            path, f"is cut off: {size} of {wanted} bytes are there, unpacked", hint=HINT
        )

"""SQLite files: opened where they lie, without a trace, or refused by name."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from formats.sqlite import columns_of, opened, quoted
from schemas.errors import UnreadableFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database under a name that a URI would take apart."""
    file = tmp_path / "100% of #1?.db"
    write(file)
    return file


def write(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute('CREATE TABLE "odd ""name" (a INTEGER, b TEXT)')
        rows = [(k, "x" * 50) for k in range(500)]
        database.executemany('INSERT INTO "odd ""name" VALUES (?, ?)', rows)
        database.commit()


def count(file: Path) -> int:
    with opened(file) as database:
        (table,) = columns_of(database)
        return int(database.execute(f"SELECT COUNT(*) FROM {quoted(table)}").fetchone()[0])


def test_reads_without_a_trace(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        assert count(path) == 500
        assert list(path.parent.iterdir()) == [path]
    finally:
        path.parent.chmod(0o755)


def test_nothing_can_be_written(path: Path) -> None:
    with pytest.raises(UnreadableFile, match="readonly"), opened(path) as database:
        database.execute("CREATE TABLE t (a)")


def test_changes_that_wait_in_a_log_beside_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (1)")
        database.commit()
        assert file.with_name("a.db-wal").stat().st_size
        assert count(file) == 1


def test_packed(path: Path) -> None:
    packed = path.with_name("a.db.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert count(packed) == 500
    packed.write_bytes(gzip.compress(b""))
    with pytest.raises(UnreadableFile, match=r"a\.db\.gz.*empty"):
        count(packed)


def test_words_that_are_no_utf8_are_marked(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE t (a TEXT)")
        database.execute("INSERT INTO t VALUES (CAST(x'41ff' AS TEXT))")
        database.commit()
    with opened(file) as database:
        assert database.execute("SELECT a FROM t").fetchone() == ("A\ufffd",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"SQLite format 3\x00", "cut off: 16 of 100 bytes"),
        (b"PK\x03\x04" + bytes(200), "no SQLite database"),
    ],
)
def test_what_is_no_database(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "a.db"
    file.write_bytes(content)
    with pytest.raises(UnreadableFile, match=rf"a\.db.*{reason}"):
        count(file)


def test_what_is_cut_off_or_damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(UnreadableFile, match=f"{len(content) - 1} of {len(content)} bytes"):
        count(path)
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(UnreadableFile, match="cannot be read as SQLite"):
        count(path)

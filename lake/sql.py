"""Read-only SQL over the lake's tables, by DuckDB.

All tables are there, those without rows too; beside them the views and driving macros of
:mod:`lake.macros` and the geometry functions of :mod:`lake.geometry_sql`. Nothing can be written and
no file can be reached from a query.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from lake import geometry_sql, macros
from lake.expand import expand
from lake.limits import whole
from lake.waiting import interruptible
from schemas.errors import BadQuery
from schemas.tables import TABLES

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_OF_NAMES = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
_MADE: tuple[macros.View | macros.Macro, ...] = (*macros.VIEWS, *macros.MACROS)
_GEOMETRY = frozenset(function.name for function in geometry_sql.FUNCTIONS)
_LISTING = re.compile(
    r"^\s*desc\b|\b(show|describe|pragma\w*|duckdb_\w+|information_schema|pg_\w+|sqlite_\w+)\b",
    re.IGNORECASE,
)
"""Words of queries that ask what there is."""


BATCH_ROWS = 65_536
BATCH_BYTES = 64 * 2**20
"""An answer is handed over in batches of so many rows, or so many bytes where its cells are large."""

FETCHED_ROWS = 2048  # rows that DuckDB hands over at least: one of its vectors

OF_ITSELF = (duckdb.InternalException, duckdb.FatalException)
"""What DuckDB raises where it fails within itself, which leaves its connection unusable.

Its threads race: DuckDB 1.5.5 answers ``count(*) OVER ()`` over a few rows of a UNION with
``INTERNAL Error: Attempted to access index 0 within vector of size 0`` about once in 300 times, and
never in one thread (duckdb issues 22352, 25713). So such a query is asked again in one.
"""


class _Failed(BadQuery):
    """DuckDB failed within itself; see ``OF_ITSELF``."""


def _most_bytes() -> int:
    """The largest answer that is gathered in memory: a third of what this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 3
    except (AttributeError, ValueError, OSError):  # no such thing on this system
        return 8 * 2**30


def run_sql(query: str, *, tables: Mapping[str, Any], by_index: bool = True) -> pa.Table:
    """The answer to one reading statement (SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN, …).

    Args:
        query: DuckDB's SQL.
        tables: Lance datasets or Arrow tables by name; tables of the lake that are not among
            them count as empty, and others may stand beside them.
        by_index: Whether a join looks the range of its keys up in the index of its other side:
            a hundred times faster for the rows of one scene, three times slower for those of many.

    Raises:
        BadQuery: It does not run, would write, is more than one statement, or its answer does not
            fit into memory.
    """
    try:
        return _gathered(query, tables, by_index=by_index)
    except _Failed:
        return _gathered(query, tables, by_index=by_index, threads=1)


def _gathered(
    query: str, tables: Mapping[str, Any], *, by_index: bool, threads: int | None = None
) -> pa.Table:
    connection, names = _asked(query, tables, by_index=by_index, threads=threads)
    with connection:
        try:
            reader = connection.to_arrow_reader(FETCHED_ROWS)
            batches, size, most = [], 0, _most_bytes()
            for batch in _batches(connection, reader, rows=BATCH_ROWS):
                batches.append(batch)
                size += batch.nbytes
                if size > most:
                    raise BadQuery(
                        f"The answer is larger than {most / 2**30:.1f} GiB, a third of this memory.",
                        hint="Ask for less (LIMIT, count), or write it to a file: -o parquet --to FILE.",
                    )
            answer = pa.Table.from_batches(batches, schema=reader.schema)
            return answer.rename_columns(_told_apart(names))
        except duckdb.Error as error:
            raise _bad_query(error) from error


def run_sql_batches(
    query: str, *, tables: Mapping[str, Any], rows: int
) -> Iterator[pa.RecordBatch]:
    """The answer to one reading statement, batch by batch; one without rows, if there are none.

    Args:
        query: As for :func:`run_sql`.
        tables: Likewise.
        rows: Of a batch at most, about; fewer where they are large.

    Raises:
        BadQuery: As :func:`run_sql`; also while batches are taken.
    """
    whole("rows", rows, least=1, most=2**31)
    told = False
    try:
        for batch in _handed_over(query, tables, rows=rows):
            told = True
            yield batch
    except _Failed:
        if told:  # another answer may come in another order
            raise
        yield from _handed_over(query, tables, rows=rows, threads=1)


def _handed_over(
    query: str, tables: Mapping[str, Any], *, rows: int, threads: int | None = None
) -> Iterator[pa.RecordBatch]:
    connection, names = _asked(query, tables, threads=threads)
    with connection:
        try:
            reader = connection.to_arrow_reader(min(rows, FETCHED_ROWS))
            nothing = pa.RecordBatch.from_pylist([], schema=reader.schema)
            told = False
            for batch in itertools.chain(_batches(connection, reader, rows=rows), [nothing]):
                if batch.num_rows or not told:
                    told = True
                    yield batch.rename_columns(_told_apart(names))
        except duckdb.Error as error:
            raise _bad_query(error) from error


def _batches(
    connection: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, *, rows: int
) -> Iterator[pa.RecordBatch]:
    """Those of an answer that is still being made, joined to so many rows; a signal ends that."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    while (batch := interruptible(connection, lambda: next(reader, None))) is not None:
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= rows or size >= BATCH_BYTES:
            yield pa.concat_batches(held) if len(held) > 1 else batch
            held, count, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


def _asked(
    query: str,
    tables: Mapping[str, Any],
    *,
    by_index: bool = True,
    threads: int | None = None,
) -> tuple[duckdb.DuckDBPyConnection, Sequence[str]]:
    """A connection that has been asked the query and waits for its answer to be fetched.

    What a query does not name need not be made known to it, and macros are written out. Where that
    proves wrong (names can be put together within a query, columns be called by the macro that
    made them), the query is asked as it stands with all made known.

    Returns:
        The connection, and how the columns of the answer are called.
    """
    for easy in (False,) if _LISTING.search(query) else (True, False):
        connection = connect(
            tables, _words(query) if easy else None, by_index=by_index, threads=threads
        )
        try:
            with _closed_on_error(connection):
                statement = _reading_statement(connection, query)
                plain = expand(query) if easy else query
                asked = None
                if plain != query and statement.type == duckdb.StatementType.SELECT:
                    asked = connection.execute(f"DESCRIBE {query}").fetchall()
                answer = interruptible(connection, partial(connection.execute, plain))
                if asked is not None:
                    return answer, [str(row[0]) for row in asked]
                return answer, [str(column[0]) for column in answer.description or ()]
        except duckdb.Error as error:
            if not easy or not isinstance(error, _OF_NAMES):
                raise _bad_query(error) from error
    raise AssertionError


@contextmanager
def _closed_on_error(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Left open when Ctrl-C comes, a connection may never let the process end."""
    try:
        yield
    except BaseException as error:
        connection.close()
        if isinstance(error, RuntimeError) and "interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise


def _words(text: str) -> frozenset[str]:
    """Whatever in a query could be a name."""
    return frozenset(re.findall(r"\w+", text.lower()))


def _reading_statement(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _bad_query(error) from error
    if len(statements) != 1:
        raise BadQuery(
            f"One statement at a time, please; these are {len(statements)}.",
            hint="Write a single SELECT; WITH … may name its parts.",
        )
    if statements[0].type not in _READING:
        raise BadQuery(
            f"Only reading is allowed; this is a {statements[0].type.name} statement.",
            hint="Use SELECT, WITH, FROM, DESCRIBE, SHOW TABLES, SUMMARIZE or EXPLAIN.",
        )
    return statements[0]


def connect(
    tables: Mapping[str, Any],
    names: Collection[str] | None = None,
    *,
    by_index: bool = True,
    threads: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection that sees the tables and nothing else.

    Args:
        tables: As for :func:`run_sql`.
        names: Of the tables, views, macros and functions that will be asked for; others may be
            left out, which takes a tenth of the time. None: all.
        by_index: As for :func:`run_sql`.
        threads: Of DuckDB; as many as there are cores if none are named.
    """
    connection = duckdb.connect(config={"python_enable_replacements": False})
    with _closed_on_error(connection):
        if threads is not None:
            connection.execute(f"SET threads = {threads}")
        if not by_index:
            connection.execute("SET disabled_optimizers = 'join_filter_pushdown'")
        _make_known(connection, tables, names)
    return connection


def _make_known(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Any],
    names: Collection[str] | None,
) -> None:
    """Tables, views, macros and functions of the names, and no more ways out; see :func:`connect`."""
    # Lance tables look like one row to DuckDB, which would then join AS OF by nested loops.
    connection.execute("SET asof_loop_join_threshold = 0")
    wanted = None if names is None else _with_what_they_use(names)
    for name, table in TABLES.items():
        if wanted is not None and name not in wanted:
            continue
        there = tables.get(name)
        if there is None or set(there.schema.names) == set(table.schema.names):
            connection.register(name, table.schema.empty_table() if there is None else there)
        else:  # of an older Scenelake, or with bytes that DuckDB cannot read
            connection.register(f"{name}_stored", there)
            chosen = ", ".join(
                f'"{c.name}"'
                if c.name in there.schema.names
                else f'NULL::{_sql_type(c.type)} "{c.name}"'
                for c in table.columns
            )
            connection.execute(f"CREATE VIEW {name} AS SELECT {chosen} FROM {name}_stored")
    for name, table in tables.items():
        if name not in TABLES and (wanted is None or name in wanted):
            connection.register(name, table)
    for made in _MADE:
        if wanted is None or made.name in wanted:
            connection.execute(made.statement)
    if wanted is None or not wanted.isdisjoint(_GEOMETRY):
        geometry_sql.install(connection)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _with_what_they_use(names: Collection[str]) -> set[str]:
    """Names with those that the views and macros among them are made of."""
    found, todo = set(), set(names)
    while todo:
        found |= todo
        todo = {word for name in todo for word in _uses().get(name, ())} - found
    return found


@functools.cache
def _uses() -> dict[str, frozenset[str]]:
    """The words of which each view and macro is made."""
    return {made.name: _words(made.body) for made in _MADE}


def _sql_type(type: pa.DataType) -> str:
    """DuckDB's word for the type of a column."""
    empty = duckdb.from_arrow(pa.schema([("c", type)]).empty_table())
    return str(empty.types[0])


def _told_apart(asked: Sequence[str]) -> list[str]:
    """Columns of one name told apart as DuckDB does in subqueries: ``a``, ``a_1``, …."""
    names: list[str] = []
    for name in asked:
        number, told = 0, name
        while told in names:
            number += 1
            told = f"{name}_{number}"
        names.append(told)
    return names


def _bad_query(error: duckdb.Error) -> BadQuery:
    message = str(error)
    if "KeyboardInterrupt" in message:  # Ctrl-C, felt where rows are handed over
        raise KeyboardInterrupt from error
    names = [*TABLES, *(view.name for view in macros.VIEWS)]
    missing = re.search(r"Table with name (\S+) does not exist", message)
    if missing:
        near = difflib.get_close_matches(missing[1], names, n=1)
        guess = f" Did you mean `{near[0]}`?" if near else ""
        return BadQuery(
            f"No table is called `{missing[1]}`.{guess}", hint=f"Tables: {', '.join(names)}."
        )
    if isinstance(error, OF_ITSELF):
        return _Failed(
            f"DuckDB failed within itself: {message.splitlines()[0]}",
            hint="This is no fault of the lake's; ask again, or in other words.",
        )
    # A function of ours that refuses its arguments is told without where in our code it did.
    message = re.split(r"\n+At:", message)[0].rstrip()
    hint = "`SHOW TABLES` lists the tables, `DESCRIBE agents` the columns of one."
    return BadQuery(f"The query does not run. {message}", hint=hint)

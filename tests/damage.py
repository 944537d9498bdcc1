"""Damage to files, as disks, transfers, editors and bad actors do it; the same for the same seed.

    for name, content in damaged(path, random.Random(7)):
        path.write_bytes(content)

Bytes are damaged whatever they mean; text also in its words and numbers; JSON, XML, tables of
words, SQLite, Arrow tables, TFRecords and MCAP recordings also in what they hold, with sound
checksums, since a reader that relies on checksums has not seen the damage at all.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lxml import etree
from mcap.reader import make_reader
from mcap.writer import Writer
from pyarrow import feather, ipc, parquet

from formats.tfrecord import read_records, write_records

NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
WRONG_WORDS = (b"nan", b"inf", b"-1", b"1e400", b"", b"9223372036854775808", b"null", b'"\xff"')
WRONG_VALUES = (
    None,
    float("nan"),
    float("inf"),
    -1,
    2**63,
    10**400,
    "",
    "x",
    [],
    {},
    [None],
    True,
)
WRONG_CELLS = (None, float("inf"), -1, 2**62, "", "x", b"\x80\x04")

Damage = Callable[[bytes, random.Random], bytes]


def damaged(path: Path, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """What was done to a file's content, and what became of it; each kind of damage once."""
    whole = path.read_bytes()
    kinds = dict(BYTES)
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    packed = path.suffix == ".gz"
    content = gzip.decompress(whole) if packed else whole
    if _is_text(content):
        kinds |= WORDS
    for begins, fitting in STRUCTURES:
        if begins(content, suffix):
            kinds |= fitting
            break
    for name, damage in kinds.items():
        changed = damage(content, dice)
        yield name, gzip.compress(changed, mtime=0) if packed else changed
    if packed:
        yield from ((f"packed: {name}", damage(whole, dice)) for name, damage in BYTES.items())


# --- bytes


def _place(content: bytes, dice: random.Random) -> tuple[int, int]:
    begin = dice.randrange(max(len(content), 1))
    return begin, min(begin + dice.choice((1, 3, 8, 64)), len(content))


def _flip(content: bytes, dice: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(min(4, len(made))):
        made[dice.randrange(len(made))] ^= 1 << dice.randrange(8)
    return bytes(made)


def _zeros(content: bytes, dice: random.Random) -> bytes:
    begin, end = _place(content, dice)
    return content[:begin] + bytes(end - begin) + content[end:]


def _ones(content: bytes, dice: random.Random) -> bytes:
    begin, end = _place(content, dice)
    return content[:begin] + b"\xff" * (end - begin) + content[end:]


def _swap(content: bytes, dice: random.Random) -> bytes:
    a, b, c = sorted(dice.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _insert(content: bytes, dice: random.Random) -> bytes:
    begin, _ = _place(content, dice)
    return content[:begin] + dice.randbytes(dice.choice((1, 4, 100))) + content[begin:]


def _delete(content: bytes, dice: random.Random) -> bytes:
    begin, end = _place(content, dice)
    return content[:begin] + content[end:]


def _tail_twice(content: bytes, dice: random.Random) -> bytes:
    return content + content[dice.randrange(max(len(content), 1)) :]


BYTES: dict[str, Damage] = {
    "bits flipped": _flip,
    "a run of zeros": _zeros,
    "a run of ones": _ones,
    "blocks swapped": _swap,
    "a run inserted": _insert,
    "a run deleted": _delete,
    "the tail twice": _tail_twice,
}


# --- words


def _is_text(content: bytes) -> bool:
    return b"\0" not in content and content.isascii()


def _wrong_number(content: bytes, dice: random.Random) -> bytes:
    found = list(NUMBER.finditer(content))
    if not found:
        return content
    hit = dice.choice(found)
    return content[: hit.start()] + dice.choice(WRONG_WORDS) + content[hit.end() :]


def _no_line(content: bytes, dice: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:-1] if len(lines) == 1 else _without_one(lines, dice))


def _line_twice(content: bytes, dice: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = dice.randrange(len(lines)) if lines else 0
    return b"".join(lines[:place] + lines[place : place + 1] + lines[place:])


def _without_one(items: list[Any], dice: random.Random) -> list[Any]:
    place = dice.randrange(len(items)) if items else 0
    return items[:place] + items[place + 1 :]


WORDS: dict[str, Damage] = {
    "a wrong number": _wrong_number,
    "another wrong number": _wrong_number,
    "a line less": _no_line,
    "a line twice": _line_twice,
}


# --- JSON


def _json_places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything within; of long lists the first few."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys: Any = list(one) if isinstance(one, dict) else range(min(len(one), 8))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def _in_json(change: Callable[[Any, Any, random.Random], None]) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        try:
            value = json.loads(content)
        except ValueError:
            return content
        places = _json_places(value) if isinstance(value, dict | list) else []
        if places:
            change(*dice.choice(places), dice)
        return json.dumps(value).encode()

    return damage


def _set(container: Any, key: Any, dice: random.Random) -> None:
    container[key] = dice.choice(WRONG_VALUES)


def _del(container: Any, key: Any, _: random.Random) -> None:
    del container[key]


def _again(container: Any, key: Any, _: random.Random) -> None:
    if isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    else:
        container[f"{key}_"] = container[key]


IN_JSON: dict[str, Damage] = {
    "a wrong value": _in_json(_set),
    "another wrong value": _in_json(_set),
    "a third wrong value": _in_json(_set),
    "a key less": _in_json(_del),
    "another key less": _in_json(_del),
    "an item twice": _in_json(_again),
}


# --- XML


def _in_xml(change: Callable[[Any, random.Random], None]) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        root = etree.fromstring(content)
        elements = [one for one in root.iter(etree.Element) if one is not root]
        if elements:
            change(dice.choice(elements), dice)
        return etree.tostring(root)

    return damage


def _no_element(element: Any, _: random.Random) -> None:
    element.getparent().remove(element)


def _element_twice(element: Any, _: random.Random) -> None:
    element.addnext(copy.deepcopy(element))


def _wrong_attribute(element: Any, dice: random.Random) -> None:
    words = ("", "nan", "inf", "-1", "1e400", "x", "99999999999999999999", "0")
    if element.attrib:
        element.set(dice.choice(list(element.attrib)), dice.choice(words))
    else:
        element.text = dice.choice(words)


def _no_attribute(element: Any, dice: random.Random) -> None:
    if element.attrib:
        del element.attrib[dice.choice(list(element.attrib))]
    else:
        element.text = None


def _empty(element: Any, _: random.Random) -> None:
    for child in list(element):
        element.remove(child)


IN_XML: dict[str, Damage] = {
    "an element less": _in_xml(_no_element),
    "an element twice": _in_xml(_element_twice),
    "an element emptied": _in_xml(_empty),
    "a wrong attribute": _in_xml(_wrong_attribute),
    "another wrong attribute": _in_xml(_wrong_attribute),
    "an attribute less": _in_xml(_no_attribute),
}


def hostile_xml(content: bytes, secret: Path) -> Iterator[bytes]:
    """The document with entities in all its texts, or in one of its attributes.

    Args:
        content: A sound document.
        secret: A file that nobody should read.
    """
    tree = re.sub(rb"<\?xml[^>]*>|<!DOCTYPE[^>]*>", b"", content).lstrip()
    laughs = "".join(
        f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' if k else '<!ENTITY l0 "ha">' for k in range(12)
    )
    in_texts = re.sub(rb"(?<=[^>])</", b"&e;</", tree)
    in_attribute = re.sub(rb'="[^"]*"', b'="&e;"', tree, count=1)
    place = secret.as_uri()
    for declared in (
        f'<!ENTITY e SYSTEM "{place}">',
        f'<!ENTITY % d SYSTEM "{place}"> %d; <!ENTITY e "x">',
        f'{laughs}<!ENTITY e "&l11;">',
        '<!ENTITY e "&e;">',
    ):
        for body in (in_texts, in_attribute):
            yield f"<!DOCTYPE x [{declared}]>".encode() + body
    yield f'<!DOCTYPE x SYSTEM "{place}">'.encode() + tree


# --- tables of words


def _column(change: str) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        rows = [line.split(b",") for line in content.splitlines()]
        place = dice.randrange(max(len(rows[0]), 1)) if rows else 0
        for number, row in enumerate(rows):
            if place < len(row):
                if change == "less":
                    del row[place]
                elif change == "twice":
                    row.insert(place, row[place])
                elif number:
                    row[place] = b""
        return b"\n".join(b",".join(row) for row in rows) + b"\n"

    return damage


def _rows_mixed(content: bytes, dice: random.Random) -> bytes:
    first, *rows = content.splitlines(keepends=True) or [b""]
    dice.shuffle(rows)
    return first + b"".join(rows)


def _header_alone(content: bytes, _: random.Random) -> bytes:
    return content.splitlines(keepends=True)[0] if content else content


IN_CSV: dict[str, Damage] = {
    "a column less": _column("less"),
    "a column twice": _column("twice"),
    "a column emptied": _column("emptied"),
    "rows mixed": _rows_mixed,
    "no rows": _header_alone,
}


# --- SQLite


def _in_sqlite(change: Callable[[sqlite3.Connection, str, random.Random], None]) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.db")
            path.write_bytes(content)
            with closing(sqlite3.connect(path)) as database, suppress(sqlite3.Error):
                names = database.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                )
                tables = [name for (name,) in names if not name.startswith("sqlite_")]
                change(database, dice.choice(tables), dice)
                database.commit()
            return path.read_bytes()

    return damage


def _wrong_cell(database: sqlite3.Connection, table: str, dice: random.Random) -> None:
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    rows = [row for (row,) in database.execute(f'SELECT rowid FROM "{table}"')]
    database.execute(
        f'UPDATE "{table}" SET "{dice.choice(columns)}" = ? WHERE rowid = ?',
        (dice.choice(WRONG_CELLS), dice.choice(rows or [0])),
    )


def _no_row(database: sqlite3.Connection, table: str, dice: random.Random) -> None:
    rows = [row for (row,) in database.execute(f'SELECT rowid FROM "{table}"')]
    database.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (dice.choice(rows or [0]),))


def _no_column(database: sqlite3.Connection, table: str, dice: random.Random) -> None:
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    database.execute(f'ALTER TABLE "{table}" DROP COLUMN "{dice.choice(columns)}"')


def _no_rows(database: sqlite3.Connection, table: str, _: random.Random) -> None:
    database.execute(f'DELETE FROM "{table}"')


def _no_table(database: sqlite3.Connection, table: str, _: random.Random) -> None:
    database.execute(f'DROP TABLE "{table}"')


IN_SQLITE: dict[str, Damage] = {
    "a wrong cell": _in_sqlite(_wrong_cell),
    "another wrong cell": _in_sqlite(_wrong_cell),
    "a third wrong cell": _in_sqlite(_wrong_cell),
    "a row less": _in_sqlite(_no_row),
    "a column less": _in_sqlite(_no_column),
    "no rows": _in_sqlite(_no_rows),
    "a table less": _in_sqlite(_no_table),
}


# --- Arrow


def _read_arrow(content: bytes) -> tuple[pa.Table, Callable[[pa.Table, Any], None]]:
    source = pa.BufferReader(content)
    if content.startswith(b"PAR1"):
        return parquet.read_table(source), parquet.write_table
    if content.startswith(b"ARROW1"):
        return feather.read_table(source), lambda table, sink: feather.write_feather(
            table, sink, compression="uncompressed"
        )
    return ipc.open_stream(source).read_all(), _write_stream


def _write_stream(table: pa.Table, sink: Any) -> None:
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _in_arrow(change: Callable[[pa.Table, random.Random], pa.Table]) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        table, write = _read_arrow(content)
        if not table.num_columns:
            return content
        sink = io.BytesIO()
        write(change(table, dice), sink)
        return sink.getvalue()

    return damage


def _arrow_cell(table: pa.Table, dice: random.Random) -> pa.Table:
    place = dice.randrange(table.num_columns)
    field, values = table.schema.field(place), table.column(place).to_pylist()
    if values:
        values[dice.randrange(len(values))] = (
            dice.choice((float("nan"), float("inf"), -1.0, 1e300, None))
            if pa.types.is_floating(field.type)
            else dice.choice((-1, 0, 2**7 - 1, None))
            if pa.types.is_integer(field.type)
            else None
        )
    with suppress(pa.ArrowException, OverflowError):
        table = table.set_column(place, field.with_nullable(True), pa.array(values, field.type))
    return table


def _arrow_type(table: pa.Table, dice: random.Random) -> pa.Table:
    place = dice.randrange(table.num_columns)
    kind = dice.choice((pa.string(), pa.float32(), pa.int8(), pa.bool_(), pa.null()))
    column = pa.nulls(table.num_rows, kind)
    with suppress(pa.ArrowException):
        column = table.column(place).cast(kind, safe=False)
    return table.set_column(place, table.schema.field(place).name, column)


def _arrow_twice(table: pa.Table, dice: random.Random) -> pa.Table:
    return pa.concat_tables([table, table.slice(dice.randrange(max(table.num_rows, 1)))])


def _arrow_less(table: pa.Table, dice: random.Random) -> pa.Table:
    return table.remove_column(dice.randrange(table.num_columns))


def _arrow_mixed(table: pa.Table, dice: random.Random) -> pa.Table:
    order = list(range(table.num_rows))
    dice.shuffle(order)
    return table.take(pa.array(order, pa.int64()))


IN_ARROW: dict[str, Damage] = {
    "a wrong cell": _in_arrow(_arrow_cell),
    "another wrong cell": _in_arrow(_arrow_cell),
    "another type": _in_arrow(_arrow_type),
    "a column less": _in_arrow(_arrow_less),
    "rows twice": _in_arrow(_arrow_twice),
    "rows mixed": _in_arrow(_arrow_mixed),
    "no rows": _in_arrow(lambda table, _: table.slice(0, 0)),
    "metadata gone": _in_arrow(lambda table, _: table.replace_schema_metadata(None)),
}


# --- records with checksums


def _in_tfrecord(change: Damage) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x")
            path.write_bytes(content)
            records = [record.data for record in read_records(path)]  # type: ignore[union-attr]
            place = dice.randrange(len(records))
            records[place] = change(records[place], dice)
            write_records(path, records)
            return path.read_bytes()

    return damage


def _in_mcap(change: Damage, *, schemas: bool = False) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        made = io.BytesIO()
        reader = make_reader(io.BytesIO(content))
        messages = list(reader.iter_messages(log_time_order=False))
        if not messages:
            return content
        hit = dice.randrange(len(messages))
        writer = Writer(made)
        writer.start(reader.get_header().profile)
        known: dict[int, int] = {}
        for number, (schema, channel, message) in enumerate(messages):
            if channel.id not in known:
                text = schema.data if schema else b""
                if schemas and number == hit % 5:
                    text = change(text, dice)
                about = writer.register_schema(schema.name, schema.encoding, text) if schema else 0
                known[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, about, channel.metadata
                )
            data = change(message.data, dice) if number == hit and not schemas else message.data
            writer.add_message(known[channel.id], message.log_time, data, message.publish_time)
        writer.finish()
        return made.getvalue()

    return damage


IN_TFRECORD = {f"in a record: {name}": _in_tfrecord(damage) for name, damage in BYTES.items()}
IN_MCAP = {f"in a message: {name}": _in_mcap(damage) for name, damage in BYTES.items()} | {
    f"in a schema: {name}": _in_mcap(BYTES[name], schemas=True)
    for name in ("bits flipped", "a run deleted")
}


def _number_of(kind: str) -> Damage:
    """A whole array of numbers in place of one that may be in the bytes."""

    def damage(content: bytes, dice: random.Random) -> bytes:
        word = np.array([np.nan if kind == "nan" else np.inf]).tobytes()
        begin = 8 * dice.randrange(max(len(content) // 8, 1))
        return content[:begin] + word + content[begin + 8 :]

    return damage


STRUCTURES: tuple[tuple[Callable[[bytes, str], bool], dict[str, Damage]], ...] = (
    (lambda content, _: content[:1] in b"{[" and _is_text(content) and bool(content), IN_JSON),
    (lambda content, _: content.startswith(b"<"), IN_XML),
    (lambda _, suffix: suffix == "csv", IN_CSV),
    (lambda content, _: content.startswith(b"SQLite format 3"), IN_SQLITE),
    (
        lambda content, suffix: content.startswith((b"PAR1", b"ARROW1")) or suffix == "arrow",
        IN_ARROW,
    ),
    (lambda content, _: content.startswith(b"\x89MCAP"), IN_MCAP),
    (lambda _, suffix: "tfrecord" in suffix, IN_TFRECORD),
    (
        lambda content, _: not _is_text(content),
        {"a NaN": _number_of("nan"), "an infinity": _number_of("inf")},
    ),
)

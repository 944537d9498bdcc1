"""What commands print: rows or one JSON document on stdout, the story and progress on stderr."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Tick = Callable[[int, int], None]
"""Called with (done, total) as long work goes on."""


_IDS = ("query", "example")
"""Beside ``…_id`` and ``…_ids``, names under which ids are told."""


def plain(value: Any, key: str = "") -> Any:
    """A report as JSON values: records become objects, ids strings, paths text, bytes hexadecimal.

    Infinities stay, for :func:`as_json` to write.

    Args:
        value: Anything that a report holds.
        key: The name under which it stands; ids are told by theirs.
    """
    if hasattr(value, "answer"):  # a report that has its own form
        return plain(value.answer(), key)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value)]
        return {name: plain(getattr(value, name), name) for name in fields}
    if isinstance(value, Mapping):
        return {str(k): plain(v, str(k)) for k, v in value.items()}
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist(), key)
    if isinstance(value, decimal.Decimal):  # sums of integers are such
        return plain(int(value) if value == value.to_integral_value() else float(value), key)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, key) for item in value]
    is_id = key.endswith(("_id", "_ids")) or key in _IDS
    if is_id and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value != value:
        return None  # JSON has no NaN
    return value


def print_json(value: Any) -> None:
    """Exactly one JSON document on stdout."""
    print_line(as_json(value, indent=1))


_STRING_OR_INFINITY = re.compile(r'"(?:[^"\\]|\\.)*"|Infinity')


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON of an answer, from which nothing is lost.

    An infinity is written ``1e999``: a number to every parser of JSON, and too large for a double, so
    that it comes back as what it was. As null it would be what is not known.
    """
    told = json.dumps(plain(value), ensure_ascii=False, indent=indent)
    return _STRING_OR_INFINITY.sub(lambda m: "1e999" if m[0] == "Infinity" else m[0], told)


def print_line(text: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(text + "\n")


def notes_of(error: BaseException) -> list[str]:
    """What those whom an error passed had to say about it."""
    return list(getattr(error, "__notes__", ()))


def tell(text: str) -> None:
    """One line of the story, on stderr."""
    sys.stderr.write(text + "\n")


LONGEST = 100  # characters of a cell on a terminal


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Rows as an aligned table on stdout; nothing but a note on stderr if there are none.

    Args:
        rows: Each with the same keys.
        columns: Which keys, in order; none means all of the first row.
    """
    made = [{k: _cell(v) for k, v in row.items()} for row in rows]
    if not made:
        tell("(no rows)")
        return
    names = list(columns) or list(made[0])
    widths = {n: max(len(n), *(len(row.get(n, "")) for row in made)) for n in names}
    print_line("  ".join(n.ljust(widths[n]) for n in names).rstrip())
    print_line("  ".join("-" * widths[n] for n in names))
    for row in made:
        print_line("  ".join(row.get(n, "").ljust(widths[n]) for n in names).rstrip())


def print_csv(rows: pa.Table) -> None:
    """Rows as CSV on stdout; what CSV has no form for is told as in JSON, bytes in hexadecimal."""
    import pyarrow as pa
    from pyarrow import csv

    for index, field in enumerate(rows.schema):
        if (
            pa.types.is_nested(field.type)
            or pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
            or pa.types.is_interval(field.type)
        ):
            cells = [None if v is None else _text(v) for v in rows.column(index).to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(cells, type=pa.string()))
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink)
    sys.stdout.write(sink.getvalue().to_pybytes().decode())


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else as_json(value)


def _cell(value: Any) -> str:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return f"{value:g}"  # inf, -inf and nan are answers; nothing is one that is not known
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return _number(value)
    text = as_json(value) if isinstance(value, (list, dict)) else str(value)
    # Whoever reads on a terminal wants lines that fit; a pipe wants all of it.
    return text if len(text) <= LONGEST or not sys.stdout.isatty() else f"{text[: LONGEST - 1]}…"


def _number(value: float) -> str:
    """Four decimals, for coordinates keep their millimetres; very small and large ones as powers."""
    if value and not 1e-3 <= abs(value) < 1e15:
        return f"{value:.4g}"
    return f"{value:.4f}".rstrip("0").rstrip(".")


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Tick]:
    """A progress bar on stderr; where that is no terminal, a line at every tenth.

    Args:
        what: What goes on, in a word or two.
        quiet: Print nothing at all.
    """
    if quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<22}"), BarColumn(bar_width=32), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        told = -1

        def tick(done: int, total: int) -> None:
            nonlocal told
            tenth = 10 * done // max(total, 1)
            if tenth > told:
                told = tenth
                tell(f"{what}: {done} of {total}")

        yield tick


@contextmanager
def stages(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """What is being done, on one line of a terminal's stderr; elsewhere nothing.

    Args:
        quiet: Print nothing at all.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as line:
        yield line.update


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that appears under its name only once it is whole.

    What is there already stays until then, and for good where the writing fails.

    Args:
        path: Of the file; what exists and is no regular file (a pipe) is written directly.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()  # of a link, what it points at
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _say_nothing(done: int, total: int) -> None:
    """A tick that nobody hears."""


def count(number: int, one: str, many: str | None = None) -> str:
    """``3 scenes``, ``1 scene``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

"""Large JSON arrays, read record by record."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from formats import json_table
from formats.json_table import JsonTable, records
from schemas.errors import UnreadableFile

ROWS = [
    {"token": f"t{k}", "group": f"g{k % 3}", "text": 'Ä"]},{[\\' * (k % 5), "n": [k, k / 7]}
    for k in range(50)
]


@pytest.fixture(params=["plain", "indented", "packed", "marked"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    content = json.dumps(
        ROWS, ensure_ascii=False, indent=0 if request.param == "indented" else None
    )
    if request.param == "packed":
        packed = tmp_path / "rows.json.gz"
        packed.write_bytes(gzip.compress(content.encode()))
        return packed
    plain = tmp_path / "rows.json"
    plain.write_bytes((b"\xef\xbb\xbf" if request.param == "marked" else b"") + content.encode())
    return plain


@pytest.mark.parametrize("chunk", [5, 64, 2**20])
def test_records_are_those_of_json(
    path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_table, "CHUNK_BYTES", chunk)
    assert list(records(path)) == ROWS


def test_are_found_by_a_field(path: Path) -> None:
    with JsonTable(path, by="group") as table:
        assert len(table) == 50
        for group in ("g0", "g1", "g2"):
            assert list(table.of(group)) == [row for row in ROWS if row["group"] == group]
        assert list(table.of("g3")) == []
        assert table.strangers(["g0", "g1", "g2"]) == 0
        assert table.strangers(["g1", "g3"]) == 50 - 17


def test_records_without_the_field_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"a": "x"}, {"b": 1}, {"a": 3}]')
    with JsonTable(path, by="a") as table:
        assert (len(table), table.unkeyed) == (1, 2)


def test_an_empty_array(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(" [ \n] ")
    assert list(records(path)) == []
    with JsonTable(path, by="a") as table:
        assert list(table.of("x")) == []


@pytest.mark.parametrize(
    "content",
    [b"", b" ", b"[", b"[{}", b"[{},", b"[{},]", b'[{"a": 1', b"[{} {}]", b"{}", b"[3]", b"[[]]",
     b'[{"a": "\xff"}]', b"null", b"[{'a': 1}]"],
)  # fmt: skip
def test_what_is_no_array_of_records(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="rows"):
        list(records(path))
    with pytest.raises(UnreadableFile, match="rows"):
        JsonTable(path, by="a")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = json.dumps({"token": "x" * 32, "text": "y" * 1000})
    path.write_text("[" + ",".join([row] * 20_000) + "]")  # 21 MB
    tracemalloc.start()
    with JsonTable(path, by="token") as table:
        assert len(table) == 20_000
        assert next(table.of("x" * 32))["text"] == "y" * 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000

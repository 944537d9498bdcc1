"""Files are read plain or packed, and every broken one is named."""

import gzip
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from formats import files, unpacked
from formats.files import (
    open_binary,
    plain_name,
    present,
    read_bytes,
    read_json,
    read_table,
    recognised,
)
from schemas.errors import UnreadableFile


def test_plain_and_packed_give_the_same_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "a.bin").write_bytes(content)
    (tmp_path / "b.bin.gz").write_bytes(gzip.compress(content))
    assert read_bytes(tmp_path / "a.bin") == read_bytes(tmp_path / "b.bin.gz") == content


@pytest.mark.parametrize("name", ["x.bin", "x.bin.gz"])
def test_empty_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UnreadableFile, match=name.replace(".", r"\.")):
        read_bytes(tmp_path / name)


def test_a_packed_file_of_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(UnreadableFile, match="is empty"):
        read_bytes(tmp_path / "x.gz")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_bytes(tmp_path / "none")
    with pytest.raises(UnreadableFile, match="folder"):
        read_bytes(tmp_path)


def test_cut_off_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(256)) * 4000)
    (tmp_path / "x.gz").write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(UnreadableFile, match="ends too early"),
        open_binary(tmp_path / "x.gz") as f,
    ):
        f.read()


def test_foreign_gzip(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(b"not packed at all")
    with pytest.raises(UnreadableFile, match="not sound gzip"):
        read_bytes(tmp_path / "x.gz")


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(bytes(range(256)) * 4000))
    whole[12:40] = b"\xff" * 28
    (tmp_path / "x.gz").write_bytes(bytes(whole))
    with pytest.raises(UnreadableFile, match="not sound gzip"):
        read_bytes(tmp_path / "x.gz")


def test_json(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text('{"a": 1}')
    (tmp_path / "bad.json").write_text('{"a": ')
    assert read_json(tmp_path / "good.json") == {"a": 1}
    with pytest.raises(UnreadableFile, match="not JSON"):
        read_json(tmp_path / "bad.json")


def test_names(tmp_path: Path) -> None:
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"{}"))
    assert plain_name(tmp_path / "b.json.gz") == "b.json" == plain_name(tmp_path / "b.json")
    assert present(tmp_path / "b.json") == tmp_path / "b.json.gz"
    assert present(tmp_path / "c.json") is None


def test_broken_files_are_taken_for_what_stands_beside_them(tmp_path: Path) -> None:
    for folder, name, content in (
        ("a", "good.xml", b"<ours/>"), ("a", "empty.xml", b""), ("a", "other.xml", b"<other/>"),
        ("a", "cut.xml.gz", gzip.compress(b"<ours/>")[:-4]), ("b", "empty.xml", b""),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(content)

    def begins(path: Path) -> bool:
        with open_binary(path) as file:
            return file.read() == b"<ours/>"

    found = recognised(sorted(tmp_path.rglob("*.xml*")), begins)
    assert [str(p.relative_to(tmp_path)) for p in found] == [
        "a/cut.xml.gz", "a/empty.xml", "a/good.xml",
    ]  # fmt: skip


def test_a_table_with_damaged_offsets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.feather"
    feather.write_feather(
        pa.table({"a": ["one", "two", "three"]}), path, compression="uncompressed"
    )
    whole = bytearray(path.read_bytes())
    offsets = np.array([0, 3, 6, 11], dtype="<i4").tobytes()
    at = whole.index(offsets)
    whole[at + 4 : at + 8] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(UnreadableFile, match="no table"):
        read_table(path)


def test_what_grows_out_of_proportion_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(unpacked, "MAX_UNPACKED", 2**20)
    fair, bomb = tmp_path / "fair.gz", tmp_path / "bomb.gz"
    fair.write_bytes(gzip.compress(bytes(2**20)))
    bomb.write_bytes(gzip.compress(bytes(2**20)) * 3)  # members follow one another
    assert len(read_bytes(fair)) == 2**20
    for size in (-1, 100_000):
        with (
            pytest.raises(UnreadableFile, match="unpacks to more than 1048576 bytes"),
            open_binary(bomb) as file,
        ):
            list(iter(partial(file.read, size), b""))


def _bomb(kind: str, rows: int) -> pa.Table:
    if kind == "numbers":
        return pa.table({"x": np.zeros(rows)})
    text = "t" * 10_000  # of which a dictionary holds one
    return pa.table({"x": pa.DictionaryArray.from_arrays(np.zeros(rows, "i4"), [text])})


@pytest.mark.parametrize("kind", ["numbers", "texts"])
@pytest.mark.parametrize("name", ["x.parquet", "x.feather"])
def test_tables_that_grow_out_of_proportion_are_refused(
    tmp_path: Path, monkeypatch, kind: str, name: str
) -> None:
    path = tmp_path / name
    if name == "x.feather":
        if kind == "texts":
            pytest.skip("Arrow keeps dictionaries as they are")
        feather.write_feather(_bomb(kind, 2**20), str(path), compression="zstd")
    else:
        table = _bomb(kind, 2**20)
        plain = pa.schema([("x", pa.float64() if kind == "numbers" else pa.string())])
        with parquet.ParquetWriter(path, plain, compression="zstd") as writer:
            for begin in range(0, table.num_rows, 2**14):
                writer.write_table(table.slice(begin, 2**14).cast(plain), row_group_size=2**14)
    assert path.stat().st_size < 2**16
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(unpacked, "MAX_UNPACKED", 2**22)
    with pytest.raises(UnreadableFile, match="unpacks to more than"):
        read_table(path)
    # Arrow's threads, which read ahead, let go of what they hold some milliseconds later.
    patience = time.monotonic() + 10.0
    while pa.total_allocated_bytes() - before >= 2**22 and time.monotonic() < patience:
        time.sleep(0.01)
    assert pa.total_allocated_bytes() - before < 2**22
    monkeypatch.setattr(unpacked, "MAX_UNPACKED", 2**24)
    if kind == "numbers":
        assert read_table(path).num_rows == 2**20


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_what_an_arrow_file_becomes_is_told_from_its_heads(tmp_path: Path, compression) -> None:
    table = pa.table({
        "a": np.arange(10_000.0), "b": ["word"] * 10_000,
        "c": pa.array(["x", "y"] * 5_000).dictionary_encode(),
        "d": [None if n % 3 else [n, n] for n in range(10_000)],
    })  # fmt: skip
    feather.write_feather(
        table, str(tmp_path / "x.feather"), compression=compression, chunksize=999
    )
    told = unpacked.arrow_bytes(pa.py_buffer((tmp_path / "x.feather").read_bytes()))
    assert 0.9 * table.nbytes < told < 1.2 * table.nbytes
    assert read_table(tmp_path / "x.feather").equals(table)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, "nul"])
def test_no_json_falls_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match="is not JSON"):
        read_json(path)


def test_a_name_too_long_to_be_one_is_not_there(tmp_path: Path) -> None:
    assert files.present(tmp_path / ("x" * 300)) is None

"""How answers are printed."""

import json

import pyarrow as pa
import pytest

from cli.output import exact_json, print_csv, print_table


def test_a_table_tells_infinity_from_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": float("inf"), "b": None, "c": float("nan"), "d": -1.5, "e": -float("inf")}])
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row == ["inf", "nan", "-1.5", "-inf"]


def test_exact_json_keeps_infinity_and_bytes() -> None:
    rows = [
        {
            "never": float("inf"), "back": -float("inf"), "unknown": None, "nan": float("nan"),
            "word": 'Infinity, "-Infinity" \\', "wkb": b"\x01\xff", "deep": [{"v": float("inf")}],
            "scene_id": 2**62,
        }
    ]  # fmt: skip
    (told,) = json.loads(exact_json(rows, indent=1), parse_constant=pytest.fail)
    assert told == {
        "never": float("inf"), "back": -float("inf"), "unknown": None, "nan": None,
        "word": 'Infinity, "-Infinity" \\', "wkb": "01ff", "deep": [{"v": float("inf")}],
        "scene_id": str(2**62),
    }  # fmt: skip


def test_csv_tells_bytes_in_hexadecimal(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"wkb": [b"\x01\xff", None], "line": [[1.5, float("inf")], None]})
    print_csv(table)
    assert capsys.readouterr().out.splitlines() == ['"wkb","line"', '"01ff","[1.5, 1e999]"', ","]

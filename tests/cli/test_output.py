"""How answers are printed."""

import ast
import json
from pathlib import Path

import pyarrow as pa
import pytest

import cli
from cli.output import print_csv, print_json, print_table


def test_a_table_tells_infinity_from_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": float("inf"), "b": None, "c": float("nan"), "d": -1.5, "e": -float("inf")}])
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row == ["inf", "nan", "-1.5", "-inf"]


def test_json_keeps_infinity_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "never": float("inf"), "back": -float("inf"), "unknown": None, "nan": float("nan"),
            "word": 'Infinity, "-Infinity" \\', "wkb": b"\x01\xff", "deep": [{"v": float("inf")}],
            "scene_id": 2**62,
        }
    ]  # fmt: skip
    print_json(rows)
    (told,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told == {
        "never": float("inf"), "back": -float("inf"), "unknown": None, "nan": None,
        "word": 'Infinity, "-Infinity" \\', "wkb": "01ff", "deep": [{"v": float("inf")}],
        "scene_id": str(2**62),
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted(Path(cli.__file__).parent.glob("*.py")), ids=lambda p: p.stem
)
def test_every_command_writes_its_json_by_the_one_function(path: Path) -> None:
    """So that what holds of ``print_json`` holds of each ``--json``, and of errors."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = path.stem == "output"
    assert calls.count("json.dumps") == (1 if own else 0)
    assert "json.dump" not in calls
    asks = any(isinstance(n, ast.arg) and n.arg == "json" for n in ast.walk(tree))
    assert own or not asks or "print_json" in calls


def test_csv_tells_bytes_in_hexadecimal(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"wkb": [b"\x01\xff", None], "line": [[1.5, float("inf")], None]})
    print_csv(table)
    assert capsys.readouterr().out.splitlines() == ['"wkb","line"', '"01ff","[1.5, 1e999]"', ","]

"""Settings refuse what no field has, and say what there is."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schemas.config import build, load
from schemas.errors import BadSetting, UnreadableFile


@dataclass(frozen=True)
class Inner:
    gap_m: float = 1.0


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()
    seed: int | None = None


def test_nested_tables_become_nested_records(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('steps = 5\nnames = ["a"]\nseed = 2\n[inner]\ngap_m = 2\n')
    assert load(Outer, path) == Outer(5, Inner(2.0), ("a",), 2)


def test_an_unknown_key_names_the_known_ones() -> None:
    with pytest.raises(BadSetting, match="gap") as error:
        build(Outer, {"inner": {"gap": 1}}, where="here")
    assert "gap_m" in error.value.hint


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(BadSetting, match="must be int"):
        build(Outer, {"steps": "five"}, where="here")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("steps = ")
    with pytest.raises(UnreadableFile, match=r"bad\.toml"):
        load(Outer, tmp_path / "bad.toml")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        load(Outer, tmp_path / "none.toml")

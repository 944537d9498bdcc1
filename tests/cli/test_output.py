"""How answers are printed."""

import pytest

from cli.output import print_table


def test_a_table_tells_infinity_from_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": float("inf"), "b": None, "c": float("nan"), "d": -1.5, "e": -float("inf")}])
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row == ["inf", "nan", "-1.5", "-inf"]

"""Parameters, expressions and paths of OpenSCENARIO."""

from pathlib import Path

import pytest
from lxml import etree

from formats.openscenario_values import LEVELS_UP, Scope, Unclear, found_beside


@pytest.fixture
def scope() -> Scope:
    document = etree.fromstring(
        '<a><ParameterDeclarations><ParameterDeclaration name="v" value="36"/>'
        '<ParameterDeclaration name="half" value="${$v / 2}"/>'
        '<ParameterDeclaration name="again" value="$half"/>'
        '<ParameterDeclaration name="word" value="town.xodr"/>'
        '<ParameterDeclaration name="left" value="true"/>'
        '<ParameterDeclaration name="x.y-z" value="4"/>'
        '<ParameterDeclaration name="loop" value="$loop"/></ParameterDeclarations>'
        '<VariableDeclarations><VariableDeclaration name="n" value="7"/></VariableDeclarations></a>'
    )
    return Scope().inside(document)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("5.5", "5.5"), ("$v", "36"), ("$again", "18"), ("$word", "town.xodr"), ("$n", "7"),
        ("${1 + 2 * 3}", "7"), ("${-$v/3.6}", "-10"), ("${($v + 4) % 7}", "5"),
        ("${pow(2, 3) + sqrt(16)}", "12"), ("${round(2.5)}", "3"), ("${floor(-2.5)}", "-3"),
        ("${ceil(2.1)}", "3"), ("${sign(-3) * abs(-2)}", "-2"), ("${max(1, 4, 2)}", "4"),
        ("${cos(pi)}", "-1"), ("${$left and not false}", "true"), ("${2 < 1 or 3 >= 3}", "true"),
        ("${$v/$half}", "2"), ("${$half*2-$v}", "0"), ("${2^3}", "8"), ("${1/8}", "0.125"),
    ],
)  # fmt: skip
def test_values(scope: Scope, raw: str, expected: str) -> None:
    assert scope.value(raw) == expected


@pytest.mark.parametrize(
    "raw",
    ["$nobody", "${$nobody + 1}", "$loop", "${1/0}", "${sqrt(-1)}", "${$word + 1}", "${)(}", "${}",
     "${__import__('os').system('x')}", "${(1).__class__}", "${[1][0]}", "${9**9**9}",
     "${pow(10, 400)}", "${'a' * 3}", "${lambda: 1}", "${pow(-8, 0.5)}",
     "${" + "(" * 900 + ")" * 900 + "}", "${" + "1+" * 1500 + "1}"],
)  # fmt: skip
def test_what_is_no_arithmetic_is_unclear(scope: Scope, raw: str) -> None:
    with pytest.raises(Unclear):
        scope.value(raw)


def test_assigned_values_take_the_place_of_defaults(scope: Scope) -> None:
    entry = etree.fromstring(
        '<a><ParameterDeclarations><ParameterDeclaration name="v" value="1"/>'
        '<ParameterDeclaration name="w" value="${$v + 1}"/></ParameterDeclarations></a>'
    )
    assert scope.inside(entry).value("$w") == "2"
    assert scope.inside(entry, {"v": "8"}).value("$w") == "9"
    assert scope.value("$v") == "36"


def test_numbers_are_finite(scope: Scope) -> None:
    element = etree.fromstring('<a x="nan" y="$v" z="" w="far"/>')
    assert scope.number(element, "y") == 36.0
    assert scope.number(element, "z", 2.0) == 2.0
    assert scope.number(element, "none", 3.0) == 3.0
    for name in ("x", "z", "w", "none"):
        with pytest.raises(Unclear, match=name):
            scope.number(element, name)


def test_paths_stay_in_the_tree(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefg")
    deep.mkdir(parents=True)
    source = deep / "s.xosc"
    for folder in (deep, deep.parents[LEVELS_UP - 1], tmp_path):
        (folder / "m.xodr").write_text("x")
    assert found_beside(source, "m.xodr") == deep / "m.xodr"
    assert (
        found_beside(source, "..\\" * LEVELS_UP + "m.xodr")
        == deep.parents[LEVELS_UP - 1] / "m.xodr"
    )
    assert found_beside(source, "../" * 7 + "m.xodr") is None
    for named in (str(tmp_path / "m.xodr"), "C:/m.xodr", "c:\\m.xodr", "", "none.xodr"):
        assert found_beside(source, named) is None
    (deep / "link.xodr").symlink_to(tmp_path / "m.xodr")
    assert found_beside(source, "link.xodr") is None

"""What names stand for in OpenSCENARIO: parameters, expressions, catalog entries.

ASAM OpenSCENARIO XML 1.0 to 1.3. A value is a literal, ``$name``, or ``${expression}`` of numbers,
parameters, the usual operators and functions. A catalog is a file of entries; a reference names the
catalog and the entry, and may assign to the entry's own parameters. Files named by a scenario are
looked for relative to it, at most ``LEVELS_UP`` folders further up: a path that leads elsewhere is
not followed.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from formats.files import present
from formats.tree import head
from formats.xml_file import read_xml
from schemas.errors import UnreadableFile

LEVELS_UP = 4  # folders above the scenario's own that its files may lie under
LONGEST = 2000  # characters of an expression
DEEPEST = 40  # parameters that stand for parameters
LARGEST_POWER = 64.0

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.Mod: math.fmod,
}  # fmt: skip
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., float]] = {
    "round": lambda x: math.floor(x + 0.5), "floor": math.floor, "ceil": math.ceil,
    "sqrt": math.sqrt, "abs": abs, "sign": lambda x: (x > 0) - (x < 0), "min": min, "max": max,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos,
    "atan": math.atan,
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e, "true": True, "false": False}


class Unclear(ValueError):
    """A value that cannot be told; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The parameters that are in force, by name."""

    parameters: Mapping[str, str] = field(default_factory=dict)

    def inside(self, element: Any, assigned: Mapping[str, str] | None = None) -> Scope:
        """With what an element declares, in order; assigned values take the place of defaults.

        Args:
            element: That may have ``ParameterDeclarations``, and variables.
            assigned: Values by name, from a catalog reference.
        """
        known = dict(self.parameters)
        for tag, entry in (("Parameter", "parameter"), ("Variable", "variable")):
            for one in element.iterfind(f"{tag}Declarations/{tag}Declaration"):
                name, value = one.get("name", ""), one.get("value", "")
                given = None if assigned is None or entry == "variable" else assigned.get(name)
                known[name] = value if given is None else given
        return Scope(known)

    def text(self, element: Any, name: str, default: str | None = None) -> str:
        """An attribute with its parameters filled in.

        Raises:
            Unclear: It is not there and has no default, or cannot be told.
        """
        raw = element.get(name)
        if raw is None:
            if default is None:
                raise Unclear(f"<{element.tag}> lacks {name}")
            return default
        return self.value(raw)

    def number(self, element: Any, name: str, default: float | None = None) -> float:
        """An attribute as a finite number.

        Raises:
            Unclear: As :meth:`text`, or it is none.
        """
        raw = element.get(name)
        if (raw is None or not raw.strip()) and default is not None:
            return default
        text = self.text(element, name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise Unclear(f"{name} of <{element.tag}> is `{text}`, not a number")
        return value

    def value(self, raw: str, depth: int = 0) -> str:
        """A literal, ``$name`` or ``${…}`` as a literal.

        Raises:
            Unclear: It names what is not declared, or makes no sense.
        """
        raw = raw.strip()
        if depth > DEEPEST:
            raise Unclear(f"`{raw}` stands for itself")
        if raw.startswith("${") and raw.endswith("}"):
            return _literal(self._evaluated(raw[2:-1], depth))
        if raw.startswith("$"):
            return self.value(self._declared(raw[1:]), depth + 1)
        return raw

    def _declared(self, name: str) -> str:
        if name not in self.parameters:
            raise Unclear(f"no parameter is called `{name}`")
        return self.parameters[name]

    def _evaluated(self, expression: str, depth: int) -> float | bool:
        if len(expression) > LONGEST:
            raise Unclear(f"an expression of {len(expression)} characters")
        names: dict[str, float | bool | str] = {}

        def declared(match: re.Match[str]) -> str:
            names[f"_{len(names)}"] = _number(self.value(self._declared(match[1]), depth + 1))
            return f" _{len(names) - 1} "

        python = re.sub(r"\$([A-Za-z_][A-Za-z0-9_.:-]*?)(?![A-Za-z0-9_])", declared, expression)
        python = python.replace("^", "**").strip()
        try:
            tree = ast.parse(python, mode="eval").body
            found = _computed(tree, {**CONSTANTS, **names})
        except (SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise Unclear(f"`{expression}` cannot be told ({error})") from error
        if isinstance(found, str):
            raise Unclear(f"`{expression}` is no number")
        return found


def _number(text: str) -> float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _literal(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _computed(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression that has nothing in it but arithmetic.

    Raises:
        ValueError: It has something else.
    """
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_computed(inner, names)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _computed(inner, names)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _computed(inner, names)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_computed(left, names), _computed(right, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_computed(left, names), _computed(right, names))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_computed(value, names) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_computed(value, names) for value in values)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
            return COMPARISONS[type(op)](_computed(left, names), _computed(right, names))
        case ast.Call(func=ast.Name(id="pow"), args=[base, exponent], keywords=[]):
            return _power(_computed(base, names), _computed(exponent, names))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_computed(arg, names) for arg in args))
    raise ValueError(f"{type(node).__name__} is no arithmetic")


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > LARGEST_POWER:
        raise ValueError(f"a power of {exponent}")
    found = float(base) ** float(exponent)
    if isinstance(found, complex):
        raise ValueError(f"a fractional power of {base}")
    return found


def found_beside(source: Path, named: str) -> Path | None:
    """The file or folder that a scenario names, if it lies where such may lie.

    Args:
        source: The scenario.
        named: A relative path, with slashes of either kind.
    """
    if not named or PureWindowsPath(named).drive or PurePosixPath(named).is_absolute():
        return None
    resolved = source.resolve()
    top = resolved.parents[min(LEVELS_UP, len(resolved.parents) - 1)]
    path = (resolved.parent / named.replace("\\", "/")).resolve()
    if not path.is_relative_to(top):
        return None
    return path if path.is_dir() else present(path)


class Catalogs:
    """The catalogs in the folders that a scenario names, read when first asked for."""

    def __init__(self, root: Any, source: Path, scope: Scope) -> None:
        """Of one scenario.

        Args:
            root: Its document.
            source: Its file.
            scope: Its parameters.
        """
        self.root, self.source, self.scope = root, source, scope
        self._entries: dict[tuple[str, str], Any] | None = None

    def files(self) -> Iterator[Path]:
        """Every file of the folders that holds a catalog or nothing that could be read."""
        folders = []
        for location in self.root.iterfind("CatalogLocations/*/Directory"):
            try:
                folder = found_beside(self.source, self.scope.text(location, "path"))
            except Unclear:
                continue
            if folder is not None and folder.is_dir() and folder not in folders:
                folders.append(folder)
        for folder in folders:
            for file in sorted(folder.iterdir()):
                if file.is_file() and file.name.removesuffix(".gz").endswith(".xosc"):
                    start = head(file)
                    if b"<Catalog " in start or not start:
                        yield file

    def entry(self, reference: Any, scope: Scope) -> tuple[Any, Scope]:
        """The element that a ``CatalogReference`` means, and its own scope.

        Raises:
            Unclear: There is none.
            UnreadableFile: A catalog is broken.
        """
        if self._entries is None:
            self._entries = dict(self._all())
        key = scope.text(reference, "catalogName"), scope.text(reference, "entryName")
        element = self._entries.get(key)
        if element is None:
            raise Unclear(f"no catalog `{key[0]}` with an entry `{key[1]}` is there")
        assigned = {
            one.get("parameterRef", "").removeprefix("$"): scope.text(one, "value")
            for one in reference.iterfind("ParameterAssignments/ParameterAssignment")
        }
        return element, Scope(dict(self.scope.parameters)).inside(element, assigned)

    def _all(self) -> Iterator[tuple[tuple[str, str], Any]]:
        for file in self.files():
            document = read_xml(file, "OpenSCENARIO")
            catalog = document.find("Catalog")
            if catalog is None:
                raise UnreadableFile(file, "is no catalog")
            for element in catalog:
                yield (catalog.get("name", ""), element.get("name", "")), element

"""Scenario definitions, read without running Python.

A definition is a Python file that calls RefAV's functions one after another. It is parsed and
walked here: assignments to names, calls of the 32 functions (and of what `scenario_not` and
`reverse_relationship` return), numbers, words, lists, f-strings of these. Anything else is refused,
with its place, before the first call is made. Nothing is compiled or executed.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Never

from lake import Lake
from mining.refav.functions import FUNCTIONS, output_scenario, reverse_relationship, scenario_not
from mining.refav.log import Log
from mining.refav.session import Found, Session, on
from schemas.errors import BadQuery, MissingData, ScenelakeError, UnknownName

LONGEST_SOURCE = 200_000
"""Characters of a definition."""
LONGEST_TEXT = 2_000
"""Characters of one text, f-strings included."""
GREATEST_NUMBER = 1e12
MOST_PARTS = 20_000
"""Parts that a definition's syntax tree may have."""
GIVEN = ("log_dir", "output_dir")
"""Names that a definition may use without having set them."""
WRAPPERS = {
    scenario_not.__name__: scenario_not,
    reverse_relationship.__name__: reverse_relationship,
}

INSTEAD: dict[type[ast.AST], str] = {
    ast.Import: "Leave it out: the functions, log_dir and output_dir are known.",
    ast.ImportFrom: "Leave it out: the functions, log_dir and output_dir are known.",
    ast.Attribute: "Leave limits out that shall be infinite; nothing else needs a dot.",
    ast.Lambda: "Call scenario_not(function)(…) or reverse_relationship(function)(…).",
    ast.FunctionDef: "Write its calls one after another.",
    ast.For: "Write its calls one after another; functions take all tracks at once.",
    ast.While: "Write its calls one after another; functions take all tracks at once.",
    ast.ListComp: "Functions take all tracks at once.",
    ast.DictComp: "Functions take all tracks at once.",
    ast.If: "Put scenarios together with scenario_and, scenario_or and scenario_not.",
    ast.IfExp: "Put scenarios together with scenario_and, scenario_or and scenario_not.",
    ast.BoolOp: "Put scenarios together with scenario_and, scenario_or and scenario_not.",
    ast.Compare: "Use has_velocity, near_objects and so on, which take limits.",
    ast.BinOp: "Write the result.",
    ast.Dict: "Get tracks with get_objects_of_category(log_dir, category).",
    ast.Subscript: "Filter scenarios with is_category, scenario_and and scenario_not.",
    ast.Starred: "Name the arguments.",
}
"""What to write instead of what is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A log on which a definition could not be run, and why."""

    log_id: int
    source_log_id: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramReport:
    """What a definition found, log by log, and where it could not be run."""

    found: list[Found]
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A definition that holds nothing but what is allowed."""

    source: str
    name: str
    body: Sequence[ast.stmt]

    @classmethod
    def parse(cls, source: str, *, name: str = "the program") -> Program:
        """Read a definition.

        Args:
            source: Its text.
            name: For messages, such as its file's.

        Raises:
            BadQuery: It is no Python, or does what no definition may; says where.
        """
        if len(source) > LONGEST_SOURCE:
            raise BadQuery(f"{name} has more than {LONGEST_SOURCE:,} characters.")
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise BadQuery(
                f"{name}, line {error.lineno or 1}, column {error.offset or 1}: {error.msg}."
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise BadQuery(
                f"{name} cannot be read ({str(error) or 'nested too deeply'})."
            ) from error
        if sum(1 for _ in ast.walk(tree)) > MOST_PARTS:
            raise BadQuery(f"{name} has more than {MOST_PARTS:,} parts.")
        program = cls(source, name, [part for part in tree.body if not _brings_in_refav(part)])
        program._check()
        return program

    def run(self, log: Log) -> list[Found]:
        """Make its calls on a log.

        Raises:
            BadQuery: An argument is not understood; says where.
            MissingData: The lake lacks what a function asks about.
        """
        with on(log.lake, colours=log.colours) as session:
            session.logs[log.name] = log
            values: dict[str, Any] = {"log_dir": log, "output_dir": ""}
            for statement in self.body:
                self._do(statement, values)
        return session.found

    # Checking

    def _check(self) -> None:
        known = {*FUNCTIONS, *GIVEN}
        for statement in self.body:
            if isinstance(statement, ast.Pass):
                continue
            if isinstance(statement, ast.Expr):
                self._check_value(statement.value, known)
                continue
            if isinstance(statement, ast.AnnAssign):
                self._refuse(statement, "an annotation", "Leave it out.")
            if not isinstance(statement, ast.Assign):
                self._refuse_kind(statement)
            self._check_value(statement.value, known)
            for target in statement.targets:
                if not isinstance(target, ast.Name):
                    self._refuse(target, "an assignment to anything but a name", "")
                self._check_name(target)
                if target.id in FUNCTIONS:
                    self._refuse(target, f"a new meaning for {target.id}", "Choose another name.")
                known.add(target.id)

    def _check_value(self, node: ast.expr, known: set[str]) -> None:
        match node:
            case ast.Constant():
                self._check_constant(node)
            case ast.UnaryOp(
                op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())
            ):
                self._check_constant(node.operand)  # type: ignore[arg-type]
            case ast.Name():
                self._check_name(node)
                if node.id not in known:
                    told = str(UnknownName("name", node.id, sorted(known)))
                    self._refuse(node, "", "", told=told)
            case ast.List(elts=elements):
                for element in elements:
                    self._check_value(element, known)
            case ast.JoinedStr(values=parts):
                for part in parts:
                    if isinstance(part, ast.FormattedValue):
                        if part.format_spec is not None or part.conversion != -1:
                            self._refuse(part, "a format within an f-string", "Leave it out.")
                        self._check_value(part.value, known)
                    else:
                        self._check_value(part, known)
            case ast.Call():
                self._check_call(node, known)
            case _:
                self._refuse_kind(node)

    def _check_call(self, node: ast.Call, known: set[str]) -> None:
        match node.func:
            case ast.Name(id=name) if name in FUNCTIONS:
                pass
            case ast.Name(id=name):
                self._check_name(node.func)
                told = str(UnknownName("function", name, FUNCTIONS))
                self._refuse(node.func, "", f"Known: {', '.join(FUNCTIONS)}.", told=told)
            case ast.Call(func=ast.Name(id=name)) if name in WRAPPERS:
                self._check_call(node.func, known)
            case _:
                self._check_value(node.func, known)
                self._refuse(node.func, "a call of this", "Call one of RefAV's functions by name.")
        for argument in node.args:
            self._check_value(argument, known)
        for keyword in node.keywords:
            if keyword.arg is None:
                self._refuse(keyword.value, "`**`", "Name the arguments.")
            if keyword.arg.startswith("_"):
                self._refuse(keyword.value, f"the name {keyword.arg}", "")
            self._check_value(keyword.value, known)

    def _check_constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                self._refuse(node, f"a text of more than {LONGEST_TEXT:,} characters", "")
        elif isinstance(value, int | float):
            if abs(value) > GREATEST_NUMBER:
                self._refuse(node, f"a number beyond {GREATEST_NUMBER:.0e}", "")
        elif value is not None:
            self._refuse(node, f"a {type(value).__name__} literal", "")

    def _check_name(self, node: ast.Name) -> None:
        if node.id.startswith("__"):
            self._refuse(node, f"the name {node.id}", "Names do not begin with two underscores.")

    def _refuse_kind(self, node: ast.AST) -> Never:
        kind = type(node)
        words = "".join(f" {c.lower()}" if c.isupper() else c for c in kind.__name__).strip()
        self._refuse(node, f"this ({words})", INSTEAD.get(kind, ""))

    def _refuse(self, node: ast.AST, what: str, hint: str, *, told: str = "") -> Never:
        raise BadQuery(
            f"{self._place(node)}: {told or f'a scenario definition may not hold {what}.'}",
            hint=hint or "Definitions are assignments and calls of RefAV's functions.",
        )

    def _place(self, node: ast.AST) -> str:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        return f"{self.name}, line {line}, column {column}"

    # Running

    def _do(self, statement: ast.stmt, values: dict[str, Any]) -> None:
        if isinstance(statement, ast.Expr):
            self._value(statement.value, values)
        elif isinstance(statement, ast.Assign):
            value = self._value(statement.value, values)
            for target in statement.targets:
                assert isinstance(target, ast.Name)
                values[target.id] = value

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=op, operand=ast.Constant(value=int() | float() as value)):
                return -value if isinstance(op, ast.USub) else value
            case ast.Name(id=name):
                return values[name] if name in values else FUNCTIONS[name]
            case ast.List(elts=elements):
                return [self._value(element, values) for element in elements]
            case ast.JoinedStr(values=parts):
                return self._text(node, parts, values)
            case ast.FormattedValue(value=value):
                return self._value(value, values)
            case ast.Call():
                return self._call(node, values)
        raise AssertionError(node)  # what cannot be worked out was refused

    def _text(self, node: ast.AST, parts: Sequence[ast.expr], values: Mapping[str, Any]) -> str:
        told = ""
        for part in parts:
            value = self._value(part, values)
            if not isinstance(value, str | int | float):
                self._refuse(part, f"{type(value).__name__} within an f-string", "")
            told += str(value)
            if len(told) > LONGEST_TEXT:
                self._refuse(node, f"a text of more than {LONGEST_TEXT:,} characters", "")
        return told

    def _call(self, node: ast.Call, values: Mapping[str, Any]) -> Any:
        function = self._value(node.func, values)
        arguments = [self._value(argument, values) for argument in node.args]
        named = {str(k.arg): self._value(k.value, values) for k in node.keywords}
        try:
            inspect.signature(function).bind(*arguments, **named)
        except TypeError as error:
            raise BadQuery(
                f"{self._place(node)}: {error}.",
                hint=f"It is called as {_called(node)}{inspect.signature(function)}.",
            ) from error
        try:
            return function(*arguments, **named)
        except MissingData as error:
            raise MissingData(f"{self._place(node)}: {error}", hint=error.hint) from error
        except (BadQuery, UnknownName) as error:
            if str(error).startswith(f"{self.name}, line"):
                raise
            raise BadQuery(f"{self._place(node)}: {error}", hint=error.hint) from error

    @property
    def outputs(self) -> bool:
        """Whether it puts anything out."""
        return any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == output_scenario.__name__
            for statement in self.body
            for node in ast.walk(statement)
        )


def run_program(
    lake: Lake,
    source: str,
    *,
    name: str = "the program",
    logs: Sequence[str | int] | None = None,
    colours: Mapping[str, str] | None = None,
) -> ProgramReport:
    """Run a definition on logs of a lake.

    Args:
        lake: Where.
        source: The definition's text.
        name: For messages.
        logs: Ids of logs, the lake's or the source's; all by default.
        colours: Source track id → colour, for ``is_color``.

    Returns:
        What was put out; logs that lack what it asks about are refused, each with the reason.

    Raises:
        BadQuery: The definition does what none may, or puts nothing out.
        UnknownName: There is no such log.
    """
    program = Program.parse(source, name=name)
    if not program.outputs:
        raise BadQuery(
            f"{name} puts nothing out.",
            hint="End it with output_scenario(scenario, description, log_dir, output_dir).",
        )
    session = Session(lake.at(), colours)
    chosen = logs
    if chosen is None:
        chosen = sorted(session.lake.read("logs", ["log_id"])["log_id"].to_pylist())
    report = ProgramReport(found=[])
    for asked in chosen:
        log = Log.open(session.lake, asked, colours=colours)
        try:
            report.found.extend(program.run(log))
        except MissingData as error:
            report.refused.append(_refused(log, error))
    return report


def _refused(log: Log, error: ScenelakeError) -> Refused:
    return Refused(
        log_id=log.log_id, source_log_id=log.name, reason=str(error), hint=error.hint
    )  # fmt: skip


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _brings_in_refav(statement: ast.stmt) -> bool:
    """Whether it makes RefAV's own functions known, as its files begin; here they are."""
    return (
        isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "refAV"
    )

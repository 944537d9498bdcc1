"""Settings: TOML into frozen dataclasses; a key that no field has is an error."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from schemas.errors import BadSetting, UnreadableFile

T = TypeVar("T")


def load(kind: type[T], path: str | Path) -> T:
    """Settings of one kind from a TOML file.

    Raises:
        UnreadableFile: There is no such file, or it is not TOML.
        BadSetting: A key is not known or a value is not of the field's type.
    """
    return build(kind, read_toml(path), where=str(path))


def read_toml(path: str | Path) -> dict[str, Any]:
    """The plain values of a TOML file.

    Raises:
        UnreadableFile: There is no such file, or it is not TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableFile(path, f"is not TOML: {error}") from error


def build(kind: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Settings of one kind from plain values; nested dataclasses come from nested tables."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        guess = f" Did you mean `{near[0]}`?" if near else ""
        raise BadSetting(
            f"{where}: no setting of {kind.__name__} is called `{unknown[0]}`.{guess}",
            hint=f"Known: {', '.join(known)}.",
        )
    made = {name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return typing.cast(T, kind(**made))
    except (TypeError, ValueError) as error:
        raise BadSetting(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise BadSetting(f"{where} must be a table, not {value!r}.")
        return build(typing.cast(type[Any], hint), value, where=where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise BadSetting(f"{where} must be a list, not {value!r}.")
        return tuple(_value(arguments[0], item, where) for item in value)
    if origin is typing.Union or origin is types.UnionType:
        return _value(next(a for a in arguments if a is not type(None)), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        raise BadSetting(f"{where} must be {hint.__name__}, not {value!r}.")
    return value

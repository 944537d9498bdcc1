"""What functions make of a scene, kept until the next scene.

Predicates ask the same of a scene by the dozen. What is made for them is as large as the scene is crowded, so
it must be gone before the next one is looked at, which a cache of the latest answers would not do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mining.motion import Motion

P, T = ParamSpec("P"), TypeVar("T")

_KEPT: dict[tuple[Any, ...], tuple[Motion, Any]] = {}
"""By scene, function and arguments; the motion stands beside the answer so that its id is no other's."""


def kept(function: Callable[Concatenate[Motion, P], T]) -> Callable[Concatenate[Motion, P], T]:
    """The function, which answers from memory what it is asked again of the same scene."""

    @wraps(function)
    def ask(motion: Motion, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (id(motion), function, args, *sorted(kwargs.items()))
        found = _KEPT.get(key)
        if found is None:
            if any(other[0] != id(motion) for other in list(_KEPT)):
                forget()
            found = _KEPT[key] = motion, function(motion, *args, **kwargs)
        answer: T = found[1]
        return answer

    return ask


def forget() -> None:
    """Let go of all that is kept."""
    _KEPT.clear()

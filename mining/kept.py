"""What functions make of a scene, kept as long as its motion is.

Predicates ask the same of a scene by the dozen. What is made for them is as large as the scene is crowded, so
it must go with it, which a cache of the latest answers would not let happen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mining.motion import Motion

P = ParamSpec("P")
T = TypeVar("T")


def kept(function: Callable[Concatenate[Motion, P], T]) -> Callable[Concatenate[Motion, P], T]:
    """The function, which answers from memory what it is asked again of the same motion."""

    @wraps(function)
    def ask(motion: Motion, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (function, args, *sorted(kwargs.items()))
        if key not in motion.kept:
            motion.kept[key] = function(motion, *args, **kwargs)
        answer: T = motion.kept[key]
        return answer

    return ask

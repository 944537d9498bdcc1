"""Loops over plain arrays, compiled by numba.

Without fast-math, so that every sum has one order. What a loop means is told where it is called; tests
hold each to a plain numpy version of the same. Importing numba takes a while: modules that ordinary
commands import reach their loops from within functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when it is first called, and kept for the next process.

    What is kept is renewed when the function's own file changes, not when one changes that it calls into:
    after changing a kernel that other files call, touch these.
    """
    plain = inspect.unwrap(
        function
    )  # tests wrap it in checks of shapes, which numba cannot compile
    made = numba.njit(cache=True, nogil=True, error_model="numpy")(plain)
    return cast(F, made)

"""The lake: Lance tables, ingest, SQL, verification, dense scenes.

``from lake import Lake`` is all that most callers need; it loads Lance only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lake.lake import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> Any:
    if name == "Lake":
        from lake.lake import Lake

        return Lake
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

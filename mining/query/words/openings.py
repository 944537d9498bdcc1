"""Words that hold a sentence together: ``show me scenes where``, ``and then``, ``while``."""

from __future__ import annotations

from mining.query.tree import Order

SHOW = ("show", "find", "list", "give", "get", "search")
SCENES = (
    "scenes",
    "scene",
    "scenarios",
    "scenario",
    "situations",
    "situation",
    "cases",
    "moments",
    "clips",
)
WHERE = (
    ("where",), ("in", "which"), ("when",), ("during", "which"), ("in", "that"), ("with",), ("of",),
    ("that", "have"), ("that", "show"),
)  # fmt: skip
LINKS: tuple[tuple[tuple[str, ...], Order, bool], ...] = (
    (("and", "then"), "then", False), (("then",), "then", False), (("after", "that"), "then", False),
    (("and", "after", "that"), "then", False), (("afterwards",), "then", False),
    (("and", "afterwards"), "then", False), (("followed", "by"), "then", False),
    (("before",), "before", False), (("after",), "before", True), (("while",), "overlaps", False),
    (("whilst",), "overlaps", False), (("when",), "overlaps", False), (("as",), "overlaps", False),
)  # fmt: skip

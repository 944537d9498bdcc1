"""What is said with numbers: ``more than 5 m/s2``, ``within 3 s``, ``for at least 2 s``, ``twice``."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from mining.query.tree import Compare, Operator, Place
from mining.query.units import SI
from mining.query.words.cursor import Cursor
from mining.query.words.tokens import UNIT_WORDS, number_at, unit_at

COMPARISONS: tuple[tuple[tuple[str, ...], Operator], ...] = (
    *(((w, "than"), ">") for w in ("more", "greater", "higher", "larger", "longer")),
    *(((w,), ">") for w in ("over", "above", "exceeding", ">")),
    (("at", "least"), ">="), (("no", "less", "than"), ">="), (("not", "less", "than"), ">="),
    (("no", "fewer", "than"), ">="),
    *(((w, "than"), "<") for w in ("less", "lower", "smaller", "shorter", "fewer")),
    *(((w,), "<") for w in ("below", "under", "<")),
    (("at", "most"), "<="), (("no", "more", "than"), "<="), (("not", "more", "than"), "<="),
    (("up", "to"), "<="), (("exactly",), "="),
)  # fmt: skip
AtLeast: TypeAlias = Literal[">=", "<="]


class Quantities(Cursor):
    """Reads numbers, comparisons and times."""

    def compare(self, i: int) -> tuple[Compare, int] | None:
        """``more than 5 m/s2``."""
        for words, op in COMPARISONS:
            if self.said(i, *words):
                j = i + len(words)
                if words in ((">",), ("<",)) and self.word(j) == "=":
                    op, j = ("<=" if op == "<" else ">="), j + 1
                return self.quantity(j, op, i)
        bare = self.quantity(i, ">=", i)
        if bare is None:
            return None
        told, j = bare
        for more, op in (("more", ">="), ("above", ">="), ("less", "<="), ("below", "<=")):
            if self.said(j, "or", more):
                return replace(told, op=op, place=self.span(i, j + 2)), j + 2
        said = self.text[slice(*told.place)]
        self.hint = (
            f"Say `within {said} {self.word(j)} …`."
            if self.word(j) in ("after", "before")
            else f"Say how it compares: `at least {said}`."
        )
        return None

    def quantity(
        self, i: int, op: Operator, begin: int | None = None
    ) -> tuple[Compare, int] | None:
        """A number with its unit, if it has one."""
        number = number_at(self.tokens, i)
        if number is None and self.word(i) in ("a", "an") and self.word(i + 1) in UNIT_WORDS:
            number = (1.0, i + 1)  # "within a minute"
        if number is None or (self.word(i) in ("a", "an") and not unit_at(self.tokens, number[1])):
            return None
        value, j = number
        unit = unit_at(self.tokens, j)
        written, j = unit if unit else ("", j)
        self.reach(j)
        return Compare(op, value, written, self.span(i if begin is None else begin, j)), j

    def seconds(self, i: int) -> tuple[float, int] | None:
        """A time."""
        found = self.quantity(i, ">=")
        if found is None:
            return None
        told, j = found
        kind, factor = SI.get(told.unit, ("", 0.0))
        if kind != "s":
            number = f"{told.number:g}"
            self.wrong(
                told.place,
                f"`{told.unit}` is no unit of time" if told.unit else f"{number} of what? A time needs its unit",
                hint=f"Say {number} s, or ms or min.",
            )  # fmt: skip
        return told.number * factor, j

    def within(self, i: int) -> tuple[int, tuple[float, Place] | None]:
        """``within 3 s``: where it ends, the seconds and their place; None if it is none."""
        if self.word(i) != "within":
            return self.sooner(i)
        told = self.quantity(i + 1, "<=")
        if told is None or (
            SI.get(told[0].unit, ("s",))[0] != "s" and self.word(told[1]) in ("of", "behind")
        ):
            return i, None  # "within 5 m of a truck" is a place
        if SI.get(told[0].unit, ("s",))[0] == "m":
            said = self.text[slice(*told[0].place)]
            self.wrong(
                told[0].place,
                f"Within {said} of whom?",
                hint=f"Say `while it is within {said} of …`.",
            )
        found = self.seconds(i + 1)
        return (i, None) if found is None else (found[1], (found[0], self.span(i, found[1])))

    def sooner(self, i: int) -> tuple[int, tuple[float, Place] | None]:
        """``less than 2 s after``, as `within` tells it."""
        if self.word(i) not in ("less", "under", "at", "up", "no", "not"):
            return i, None
        found = self.compare(i)
        if found is None or found[0].op not in ("<", "<="):
            return i, None
        told, j = found
        kind, factor = SI.get(told.unit, ("", 0.0))
        if kind != "s" or self.word(j) not in ("after", "before"):
            return i, None
        return j, (told.number * factor, self.span(i, j))

    def times(self, i: int) -> tuple[Compare, int] | None:
        """``twice``, ``at least three times``."""
        op: Operator = ">="
        j = i
        for words, told in COMPARISONS:
            if self.said(i, *words):
                op, j = told, i + len(words)
                break
        if self.word(j) == "twice" or (self.word(j) == "once" and j > i):
            number = 2.0 if self.word(j) == "twice" else 1.0
            return Compare(op, number, "", self.span(i, j + 1)), j + 1
        number_ = number_at(self.tokens, j)
        if number_ is not None and self.word(number_[1]) in ("times", "time"):
            end = number_[1] + 1
            return Compare(op, number_[0], "", self.span(i, end)), end
        return None

    def lasting(self, i: int) -> tuple[tuple[AtLeast, float], int] | None:
        """``for at least 2 s``."""
        if self.word(i) not in ("for", "lasting"):
            return None
        op: AtLeast = ">="
        j = i + 1
        for words, told in COMPARISONS:
            if self.said(j, *words):
                op, j = (">=" if told in (">", ">=") else "<="), j + len(words)
                if told == "=":
                    return None
                break
        if number_at(self.tokens, j) is None:
            return None
        found = self.seconds(j)
        if found is None:
            return None
        for more in ("more", "longer", "less", "shorter"):
            if self.said(found[1], "or", more):
                return (">=" if more in ("more", "longer") else "<=", found[0]), found[1] + 2
        return (op, found[0]), found[1]

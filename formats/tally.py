"""What reading could not carry over, counted by kind and reason until the log is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.records import Note


@dataclass(slots=True)
class Tally:
    """Notes in the making: the same thing said twice is one note with a count of two."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, reason: str, count: int = 1) -> None:
        """Count ``count`` more of something; none is no note."""
        if count:
            self.counts[kind, reason] += count

    def extend(self, notes: Iterable[Note]) -> None:
        """Count what others noted."""
        for note in notes:
            self.add(note.kind, note.reason, note.count)

    def notes(self) -> list[Note]:
        """One note for each kind and reason, in the order in which they came up."""
        return [
            Note(kind=kind, reason=reason, count=count)
            for (kind, reason), count in self.counts.items()
        ]

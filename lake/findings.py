"""What :mod:`lake.verify` tells."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule that some rows break.

    Attributes:
        severity: ``error``: rows are wrong; ``warning``: rows are worth a look.
        check: Name of the rule.
        table: Where the rows are.
        count: How many break it.
        detail: What that means, with an example where there is one.
    """

    severity: str
    check: str
    table: str
    count: int
    detail: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """A rule while rows go by: how many break it, and the first that does.

    Attributes:
        severity: As of the finding.
        check: Likewise.
        what: What rows that break it are, for the detail.
    """

    severity: str
    check: str
    what: str
    count: int = 0
    example: str = ""

    def add(self, count: int, example: str) -> None:
        """Some more that break it, and the first of them."""
        self.count += count
        self.example = self.example or example

    def finding(self, table: str) -> list[Finding]:
        """What is to be told, if anything."""
        if not self.count:
            return []
        return [
            Finding(
                severity=self.severity, check=self.check, table=table, count=self.count,
                detail=f"{self.count} {self.what}; for example {self.example}.",
            )
        ]  # fmt: skip

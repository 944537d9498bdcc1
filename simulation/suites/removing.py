"""A suite out of the lake, with what was driven of it, so that the logs that it rests on may go."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lake import Lake
from lake.literals import literal
from simulation.suites.driving import cases_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSuite:
    """What went.

    Attributes:
        suite: Its name.
        cases: How many it had.
        results: How many drives of them by any planner.
    """

    suite: str
    cases: int
    results: int


def remove(lake: Lake, name: str) -> RemovedSuite:
    """Remove a suite: its cases and results; ``runs`` still tells that planners drove it, and snapshots keep it.

    Suites that were trimmed from it have cases of their own, and stay.

    Raises:
        UnknownName: There is no such suite.
    """
    mine = f"suite = {literal(name)}"
    cases = cases_of(lake, name)
    with lake.run("suite remove", params={"suite": name}) as made_by, lake.store.writing():
        removed = RemovedSuite(suite=name, cases=len(cases), results=lake.count("results", mine))
        for table in ("results", "cases", "suites"):
            lake.store.delete(table, mine)
        made_by.summary.update(asdict(removed))
    return removed

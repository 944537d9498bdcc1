"""What a lake holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lake.compact import bytes_of
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeInfo:
    """A lake in numbers.

    Attributes:
        tables: Of each table: ``rows``, ``bytes`` of the files that hold them (older versions and
            indices come on top, see :meth:`~lake.lake.Lake.compact`), ``version``.
        datasets: Of each family: ``logs`` and ``scenes``.
        hours: Recorded in all, with an ego or without [h].
        km: Driven by egos in all [km].
    """

    tables: dict[str, dict[str, int]]
    datasets: dict[str, dict[str, int]]
    hours: float
    km: float


def info(lake: Lake) -> LakeInfo:
    """The lake in numbers; tables without rows are told too."""
    lake = lake.at()
    there = lake.store.datasets()
    tables = {
        name: {
            "rows": 0 if name not in there else int(there[name].count_rows()),
            "bytes": 0 if name not in there else bytes_of(there[name]),
            "version": 0 if name not in there else int(there[name].version),
        }
        for name in TABLES
    }
    counted = lake.sql(
        """
        SELECT dataset, count(*) AS logs, coalesce(any_value(n), 0) AS scenes,
            sum(dur_ns)::DOUBLE AS dur_ns, coalesce(sum(distance_m), 0)::DOUBLE AS distance_m
        FROM logs LEFT JOIN (SELECT dataset, count(*) AS n FROM scenes GROUP BY 1) USING (dataset)
        GROUP BY 1 ORDER BY 1
        """
    ).to_pylist()
    return LakeInfo(
        tables=tables,
        datasets={
            row["dataset"]: {"logs": int(row["logs"]), "scenes": int(row["scenes"])}
            for row in counted
        },
        hours=sum(row["dur_ns"] for row in counted) / 3.6e12,
        km=sum(row["distance_m"] for row in counted) / 1000.0,
    )

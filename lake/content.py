"""Whether two logs of one name say the same, wherever they were read from.

A log's rows are summed up as a number a table: how many there are, and the sum of their hashes modulo
2⁶⁴, which no order of rows or parts changes. What only says where bytes lie is left out, so that a
copy elsewhere, or packed, is the same log; what a sensor read and how it is mounted, is not. So is the
folder that makes a split, while what else a source says of a log as a whole (``logs.extra`` too) counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lake.json_text import as_json
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake

_LEFT_OUT: dict[str, frozenset[str]] = {
    "logs": frozenset(
        {
            "split",
            "source_uri",
            "source_record",
            "source_sha256",
            "map_id",
            "converter",
            "run_id",
            # These follow from the rows of other tables.
            "dur_ns",
            "has_ego",
            "has_lights",
            "n_agents",
            "n_frames",
            "distance_m",
        }
    ),
    "sensors": frozenset(),
    "ego": frozenset(),
    "agents": frozenset(),
    "tracks": frozenset(),
    "lights": frozenset(),
    "readings": frozenset(),
    "frames": frozenset({"uri", "byte_offset", "byte_size", "container", "blob_id"}),
    "events": frozenset({"run_id"}),
}
"""Tables that are compared, with the columns that are not."""

_RELEASES = frozenset({"tables", "version"})
"""Keys of ``logs.extra`` that say in which release of a dataset a log was found, as in nuScenes mini and
trainval: of a place, too."""

_FROM_SOURCE = {"events": " AND source = 'dataset'"}
"""What else the lake holds of a log in a table is not the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a log says.

    Attributes:
        map_id: A hash of its map's content, None where there is none.
        sums: Of each table with rows, their number and the sum of their hashes.
    """

    map_id: int | None
    sums: Mapping[str, tuple[int, int]]

    @property
    def is_captures_alone(self) -> bool:
        """Whether nothing but what cameras and lidars saw, which is not in the tables, sets it apart.

        Single frames that nobody labelled are such: an ego that stands, captures, calibrations.
        """
        told = any(name in self.sums for name in ("agents", "lights", "readings", "events"))
        return "frames" in self.sums and not told and self.sums.get("ego", (0, 0))[0] <= 1


def content_of(parts: Iterable[Mapping[str, pa.Table]], *, map_id: int | None) -> Content:
    """Of a log about to come in, from its rows by table, one part after the other."""
    sums: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name in _LEFT_OUT:
            if name in part and part[name].num_rows:
                sums[name] = _plus(sums.get(name, (0, 0)), _sum(name, part[name]))
    return Content(map_id=map_id, sums=sums)


def stored_content(lake: Lake, log_id: int) -> Content:
    """Of a log that is in the lake; some thousand rows of it are in memory at a time."""
    sums: dict[str, tuple[int, int]] = {}
    for name in _LEFT_OUT:
        for table in _stored(lake, name, log_id):
            if table.num_rows:
                sums[name] = _plus(sums.get(name, (0, 0)), _sum(name, table))
    (map_id,) = lake.read("logs", ["map_id"], f"log_id = {log_id}")["map_id"].to_pylist()
    return Content(map_id=map_id, sums=sums)


def _stored(lake: Lake, name: str, log_id: int) -> Iterator[pa.Table]:
    data = lake.store.dataset(name)
    if data is None:
        return
    known = [column for column in TABLES[name].schema.names if column in data.schema.names]
    where = f"log_id = {log_id}{_FROM_SOURCE.get(name, '')}"
    with lake.store.place.storing():
        for batch in data.to_batches(columns=known, filter=where):
            yield pa.Table.from_batches([batch])


def _sum(name: str, table: pa.Table) -> tuple[int, int]:
    import polars as pl

    schema = TABLES[name].schema
    chosen = [column for column in schema.names if column not in _LEFT_OUT[name]]
    columns = [
        table[column] if column in table.column_names  # else an older Scenelake wrote it
        else pa.nulls(table.num_rows, schema.field(column).type)
        for column in chosen
    ]  # fmt: skip
    told = dict(zip(chosen, columns, strict=True))
    if "extra" in told:
        told["extra"] = pa.array(list(map(_of_the_log, told["extra"].to_pylist())), pa.string())
    frame = pl.from_arrow(pa.table(told))
    assert isinstance(frame, pl.DataFrame)
    hashes = frame.hash_rows(seed=0).to_numpy()
    return table.num_rows, int(hashes.sum(dtype=np.uint64))


def _of_the_log(extra: str | None) -> str | None:
    """What ``logs.extra`` tells wherever the log was found."""
    told = json.loads(extra) if extra else {}
    kept = {key: value for key, value in told.items() if key not in _RELEASES}
    return as_json(kept) if kept else None


def _plus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], (a[1] + b[1]) % 2**64

"""Tidying a lake: few large files, indices up to date, no versions that nobody wants.

A version of a table goes when it has been replaced for longer than readers may still be at it, and
neither ``lake.json`` nor a snapshot names it. Files that no version names (of writers that were
killed) go at once in a folder, whose lock tells who writes; on an object store, where a writer may
only seem dead, Lance removes them when they are seven days old.

Tables gain one file with every commit; :func:`merge` joins them as they come, so that commits,
scans and ``info`` cost the same in a large lake as in a small one.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lake.manifest import ABOUT
from lake.place import PART
from schemas.errors import BadSetting
from schemas.tables import TABLES

if TYPE_CHECKING:
    import lance

    from lake.lake import Lake

KEEP_S = 3600.0
"""How long a replaced version is kept for readers that opened it before [s]."""

MERGE_FILES = 64
"""A table that has got so many small files has them joined in the same commit."""

SMALL_BYTES = 64 * 2**20
LARGE_BYTES = 256 * 2**20
"""Files are joined until they are so large: as rows come in, and by ``compact`` [bytes]."""

ROWS = (1024, 2**20)
"""The fewest and most rows that files are joined to, whatever their bytes."""

BATCH_BYTES = 8 * 2**20  # [bytes, as compressed] rows that are joined in memory at once
THREADS = 1  # of several, files are put where their thread ends, and rows change their order

_LEFT_BEHIND = (f"{ABOUT}{PART}", "journal.json")

_STAGED = re.compile(r"\.lance/.*(#\d+|/\.tmp\w+)$")
"""Lance writes a file under another name first, that with a number or one of its own; killed before it
renames it, it leaves that, and its own cleaning does not know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What compacting did.

    Attributes:
        bytes_before: Of the whole lake on disk.
        bytes_after: Likewise.
        files_before: Of the whole lake.
        files_after: Likewise.
        versions_removed: Old versions of tables.
        versions_kept: Old versions that are still there, for readers and snapshots.
        versions_pinned: Those of them that snapshots name.
        keep_s: How long replaced versions are kept for those who read them [s].
    """

    bytes_before: int
    bytes_after: int
    files_before: int
    files_after: int
    versions_removed: int
    versions_kept: int
    versions_pinned: int
    keep_s: float


def compact(
    lake: Lake, *, keep_s: float = KEEP_S, progress: Callable[[str], None] | None = None
) -> CompactReport:
    """Join small files, bring indices up to date, remove what nothing needs, tell killed runs.

    Others may read and write meanwhile; writers wait while one table is joined.

    Args:
        lake: Its rows, and its snapshots, stay as they are.
        keep_s: How long replaced versions are kept for those who read them; 0 where nobody does.
        progress: Told the name of each table before it is looked at.

    Raises:
        BadSetting: ``keep_s`` is no length of time.
        StorageFull: The disk is full or read-only, even after what nothing needs was removed.
    """
    if not 0.0 <= keep_s < math.inf:
        raise BadSetting(f"Old versions cannot be kept for {keep_s} s.", hint="0 s or longer.")
    from lake.snapshots import drop_stale_tags

    store, tell = lake.store, progress or (lambda _: None)
    before = store.place.sizes()
    drop_stale_tags(lake)
    tell("making room")
    removed = _remove_old(lake, keep_s, before)
    _tell_cut_short(lake)
    for name in store.versions():
        tell(f"joining {name}")
        with store.writing(), store.editing(name) as data:
            if data is not None:
                store.index_table(name, data, whole=True)  # else it keeps files apart
                merge(data, LARGE_BYTES)
                store.index_table(name, data)
    tell("removing what was joined")
    removed += _remove_old(lake, keep_s, before)
    after = store.place.sizes()
    old = {
        name: {int(v["version"]) for v in data.versions()[:-1]}
        for name, data in lake.store.datasets().items()
    }
    snapshots = store.manifest().snapshots.values()
    return CompactReport(
        bytes_before=sum(before.values()),
        bytes_after=sum(after.values()),
        files_before=len(before),
        files_after=len(after),
        versions_removed=removed,
        versions_kept=sum(map(len, old.values())),
        versions_pinned=sum(
            len(there & {snap.tables.get(name, 0) for snap in snapshots})
            for name, there in old.items()
        ),
        keep_s=keep_s,
    )


def bytes_of(data: lance.LanceDataset) -> int:
    """Bytes of the files that hold a table's rows, copied payloads among them."""
    files = (file for fragment in data.get_fragments() for file in fragment.data_files())
    there = sum(file.file_size_bytes or 0 for file in files)
    if "n_bytes" in data.schema.names:  # bytes of blobs lie in files of their own
        column: Any = data.to_table(columns=["n_bytes"])["n_bytes"]
        there += sum(column.to_pylist())
    return there


def is_scattered(data: lance.LanceDataset) -> bool:
    """Whether a table has so many small files that they are better joined now."""
    fragments = data.get_fragments()
    if len(fragments) < MERGE_FILES:
        return False
    enough = _rows_for(data, SMALL_BYTES) / 2
    return sum(fragment.physical_rows < enough for fragment in fragments) >= MERGE_FILES


def merge_newest(data: lance.LanceDataset) -> None:
    """Join the newest files of a table, and older ones while they are not larger than those.

    Files then grow twofold from joining to joining, so that a row is rewritten some ten times
    until it lies in a file that is large enough, and not each time.
    """
    fragments = data.get_fragments()
    rows = [fragment.physical_rows for fragment in fragments]
    begin = len(rows) - MERGE_FILES // 2
    while begin > 0 and rows[begin - 1] <= sum(rows[begin:]):
        begin -= 1
    merge(data, SMALL_BYTES, without=[fragment.fragment_id for fragment in fragments[:begin]])


def merge(data: lance.LanceDataset, target_bytes: int, *, without: Sequence[int] = ()) -> None:
    """Join files of a table that are smaller than the target, in order.

    Args:
        data: To be changed.
        target_bytes: How large files are made.
        without: Ids of fragments that stay as they are.
    """
    stats: Any = data.stats.dataset_stats()
    if not stats["num_deleted_rows"] and stats["num_fragments"] < 2:
        return
    data.optimize.compact_files(
        target_rows_per_fragment=_rows_for(data, target_bytes),
        batch_size=min(_rows_for(data, BATCH_BYTES, fewest=8), 8192),
        num_threads=THREADS,
        excluded_fragment_ids=list(without),
    )


def _rows_for(data: lance.LanceDataset, size: int, *, fewest: int = ROWS[0]) -> int:
    """How many rows of a table take up so many bytes on disk."""
    rows = max(sum(fragment.physical_rows for fragment in data.get_fragments()), 1)
    return round(min(max(size * rows / max(bytes_of(data), 1), fewest), ROWS[1]))


def remove_versions(
    data: lance.LanceDataset, *, keep: Collection[int], horizon_s: float, orphans: bool
) -> int:
    """Remove versions that were replaced before a moment; returns how many.

    Args:
        data: Table at its newest version, which always stays.
        keep: Versions that stay.
        horizon_s: The moment, as Unix time [s].
        orphans: Whether to remove the files that no version names, whatever their age.
    """
    versions: Any = data.versions()
    old = [
        int(version["version"])
        for version, after in pairwise(versions)
        # In the hour that a clock repeats when summer time ends, the later reading is meant.
        if after["timestamp"].replace(fold=1).timestamp() < horizon_s
        and version["version"] not in keep
    ]
    newest = int(versions[-1]["version"])
    if not old and not orphans:
        return 0
    stats = data.cleanup_old_versions(
        versions=old or [newest],
        delete_unverified=orphans,
        error_if_tagged_old_versions=False,
    )
    return int(stats.old_versions)


def _tell_cut_short(lake: Lake) -> None:
    """A row in ``runs`` for each run that left rows and was killed before its own.

    One that still goes on in another process is told too; its own row replaces this in the end.
    """
    made = " UNION ".join(
        f"SELECT run_id FROM {name}"
        for name, table in TABLES.items()
        if "run_id" in table.schema.names and name != "runs"
    )
    query = f"SELECT run_id FROM ({made}) ANTI JOIN runs USING (run_id) ORDER BY 1"
    if not lake.sql(query).num_rows:
        return
    with lake.store.writing():
        rows = [
            {
                "run_id": run_id, "command": "unknown", "params": "{}", "tables": "{}",
                "summary": "{}", "code_version": "unknown", "started_unix_ns": 0,
                "finished_unix_ns": time.time_ns(), "outcome": "cut short",
            }
            for run_id in lake.sql(query)["run_id"].to_pylist()
        ]  # fmt: skip
        lake.append("runs", rows)


def _remove_old(lake: Lake, keep_s: float, files: Collection[str]) -> int:
    """Old versions of all tables, and what killed writers left; returns how many versions."""
    store, removed = lake.store, 0
    local = store.place.options is None
    folders = {file.partition("/")[0] for file in files}
    with store.writing():
        manifest, counts = store.manifest(), store.versions()
        horizon_s = time.time() - keep_s - (manifest.longest_s if keep_s else 0.0)
        for name in TABLES:
            keep = {snap.tables.get(name, 0) for snap in manifest.snapshots.values()}
            keep.add((manifest.tables or {}).get(name, 0))
            if name in counts:
                with store.editing(name) as data:
                    assert data is not None
                    removed += remove_versions(data, keep=keep, horizon_s=horizon_s, orphans=local)
            elif local and not any(keep) and f"{name}.lance" in folders:
                store.place.remove(f"{name}.lance")  # its first writer was killed
        for name in folders.intersection(_LEFT_BEHIND):
            store.place.remove(name)
        for name in filter(_STAGED.search, files):  # nobody else is writing now
            store.place.remove(name)
    return removed

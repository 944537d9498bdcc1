"""Sensor bytes that were copied into the lake: each content once, read by id in batches.

They are a Lance blob column beside the columns of ``blobs``: small ones within the data file, others
packed into files of their own, so that scans of the other columns never touch them. DuckDB cannot
read such a column, hence SQL shows the table without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from lake.ids import stable_id
from lake.store import PAYLOAD, Store
from schemas.errors import LakeError, UnknownName
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake

BATCH_BYTES = 128 * 2**20  # [bytes] payloads that are in memory, and committed, at once


def put_blobs(lake: Lake, payloads: Iterable[bytes], *, run_id: int) -> list[int]:
    """Bytes into the lake, those that are there already only once.

    Args:
        lake: Where to.
        payloads: One after the other; some 128 MB of them are held, and committed, at a time.
        run_id: Of the run that copies them.

    Returns:
        The ``blob_id`` of each, in order.

    Raises:
        StorageFull: The disk is full or read-only; batches before that are kept.
    """
    ids: list[int] = []
    waiting: dict[int, tuple[str, bytes]] = {}
    held = 0
    for payload in payloads:
        sha256 = hashlib.sha256(payload).hexdigest()
        blob_id = stable_id("blob", sha256)
        ids.append(blob_id)
        if blob_id not in waiting:
            waiting[blob_id] = (sha256, payload)
            held += len(payload)
        if held >= BATCH_BYTES:
            _commit(lake.store, waiting, run_id)
            waiting, held = {}, 0
    _commit(lake.store, waiting, run_id)
    return ids


def read_blobs(lake: Lake, blob_ids: Sequence[int]) -> list[bytes]:
    """The bytes of blobs, in the order asked for; ids may repeat.

    Raises:
        UnknownName: There is no blob of such an id.
        LakeError: Its bytes cannot be read back.
    """
    wanted = sorted(set(blob_ids))
    found: dict[int, bytes] = {}
    data = lake.store.dataset("blobs")
    if data is not None and wanted:
        where = f"blob_id in ({', '.join(map(str, wanted))})"
        rows = data.to_table(columns=["blob_id"], filter=where, with_row_id=True)
        try:
            read = data.read_blobs(PAYLOAD, ids=rows["_rowid"].to_pylist(), preserve_order=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0].split(", /")[0]
            raise LakeError(
                lake.uri,
                f"has copied bytes that cannot be read ({reason}).",
                hint="Restore blobs.lance from a copy.",
            ) from error
        found = {
            blob_id: payload or b""
            for blob_id, (_, payload) in zip(rows["blob_id"].to_pylist(), read, strict=True)
        }
    missing = [blob_id for blob_id in wanted if blob_id not in found]
    if missing:
        known = map(str, lake.read("blobs", ["blob_id"])["blob_id"].to_pylist()[:40])
        raise UnknownName("blob", str(missing[0]), known)
    return [found[blob_id] for blob_id in blob_ids]


def blob_rows(lake: Lake, *, at_once: int = BATCH_BYTES) -> Iterator[list[tuple[int, str, int]]]:
    """(blob_id, sha256, n_bytes) of every blob, in groups whose bytes fit into memory together."""
    rows = lake.read("blobs", ["blob_id", "sha256", "n_bytes"]).to_pylist()
    group: list[tuple[int, str, int]] = []
    held = 0
    for row in rows:
        group.append((row["blob_id"], row["sha256"], row["n_bytes"]))
        held += row["n_bytes"]
        if held >= at_once:
            yield group
            group, held = [], 0
    if group:
        yield group


def _commit(store: Store, waiting: dict[int, tuple[str, bytes]], run_id: int) -> None:
    """Those that are not there yet, in one step."""
    if not waiting:
        return
    with store.writing():
        where = f"blob_id in ({', '.join(map(str, waiting))})"
        there = set(store.read("blobs", ["blob_id"], where)["blob_id"].to_pylist())
        fresh = {blob_id: waiting[blob_id] for blob_id in sorted(waiting) if blob_id not in there}
        if fresh:
            store.append("blobs", _table(fresh, run_id))


def _table(blobs: dict[int, tuple[str, bytes]], run_id: int) -> pa.Table:
    import lance

    schema = TABLES["blobs"].schema
    columns: list[pa.Array] = [
        pa.array(list(blobs), pa.int64()),
        pa.array([sha256 for sha256, _ in blobs.values()], pa.string()),
        pa.array([len(payload) for _, payload in blobs.values()], pa.int64()),
        pa.array([run_id] * len(blobs), pa.int64()),
    ]
    payloads = lance.blob_array([payload for _, payload in blobs.values()])
    stored = pa.schema([*schema, lance.blob_field(PAYLOAD)])
    return pa.Table.from_arrays([*columns, payloads], schema=stored)

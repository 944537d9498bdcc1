"""What a lake holds already, as ingest must know it, kept up to date by reading what is new.

``logs`` and ``ledger`` only grow at their end, so that after a commit, ours or another process's,
the rows beyond those that were read before are all that there is to learn. The cost of a commit
is the same in a large lake as in a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake


class Known:
    """The logs, maps, sources and ledger entries of a lake.

    Attributes:
        logs: Fingerprint and record that each log came from, by its id.
        maps: Ids of the maps.
        told: Ids of the ledger entries.
        whole: How many logs a source holds that came in whole, by fingerprint and format.
    """

    def __init__(self, lake: Lake) -> None:
        """Read everything."""
        self._logs, self._ledger = _Tail(lake, "logs"), _Tail(lake, "ledger")
        self._forget_logs()
        self._forget_ledger()
        self.look()

    def look(self) -> None:
        """Learn what came since."""
        new = self._logs.read(["log_id", "source_sha256", "source_record", "map_id"])
        if new is not None:
            if self._logs.again:
                self._forget_logs()
            log_ids, sha256 = new["log_id"].to_pylist(), new["source_sha256"].to_pylist()
            origins = zip(sha256, new["source_record"].to_pylist(), strict=True)
            self.logs.update(zip(log_ids, origins, strict=True))
            for log_id, sha in zip(log_ids, sha256, strict=True):
                self._from_bytes.setdefault(sha, set()).add(log_id)
            self.maps.update(map_id for map_id in new["map_id"].to_pylist() if map_id is not None)
        new = self._ledger.read(["entry_id", "source_sha256", "format", "count", "kind", "log_id"])
        if new is not None:
            if self._ledger.again:
                self._forget_ledger()
            self.told.update(new["entry_id"].to_pylist())
            sources = pc.and_(pc.equal(new["kind"], "ingested"), pc.is_null(new["log_id"]))
            for row in new.filter(sources).to_pylist():
                self.whole[row["source_sha256"], row["format"]] = int(row["count"])

    def logs_from(self, sha256: str) -> frozenset[int]:
        """Logs that came from bytes of this fingerprint."""
        return frozenset(self._from_bytes.get(sha256, ()))

    def _forget_logs(self) -> None:
        self.logs: dict[int, tuple[str, str]] = {}
        self.maps: set[int] = set()
        self._from_bytes: dict[str, set[int]] = {}

    def _forget_ledger(self) -> None:
        self.told: set[int] = set()
        self.whole: dict[tuple[str, str], int] = {}


class _Tail:
    """The rows at the end of a table that were not read yet.

    Attributes:
        again: Whether the last reading began at the table's begin, since rows read before are gone.
    """

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake, self._name, self._key = lake, name, TABLES[name].key[0]
        self._version, self._count, self._last = 0, 0, 0
        self.again = False

    def read(self, columns: list[str]) -> pa.Table | None:
        """What is new, None where nothing is; the table's key is the first of the columns."""
        version = self._lake.store.version(self._name)
        if version == self._version:
            return None
        data = self._lake.store.dataset(self._name)
        count = 0 if data is None else int(data.count_rows())
        self.again = not self._is_still_there(count)
        begin = 0 if self.again else self._count
        if data is None:
            new = TABLES[self._name].schema.empty_table().select(columns)
        else:
            with self._lake.store.place.storing():
                new = data.to_table(columns=columns, offset=begin)
        self._version, self._count = version, begin + new.num_rows
        if new.num_rows:
            self._last = new[self._key][-1].as_py()
        return new

    def _is_still_there(self, count: int) -> bool:
        """Whether the last row that was read stands where it stood, so that none before it went."""
        if not self._count:
            return True
        data = self._lake.store.dataset(self._name)
        if data is None or count < self._count:
            return False
        with self._lake.store.place.storing():
            there = data.take([self._count - 1], columns=[self._key])
        return bool(there[self._key][0].as_py() == self._last)

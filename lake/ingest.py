"""Logs into the lake: every log once, in batches that are whole or not there.

A source (a file, or a folder such as an Argoverse log) is known by the SHA-256 of its files. A
source that came in whole is not read again; one that came in partly is completed; records that
were refused are tried again each time. Batches of some 64 logs, or of a minute, are committed over
all tables in one step, so that an ingest that is killed leaves whole batches behind and the next run
completes it. One that is asked to stop (Ctrl-C, SIGTERM) commits what it has read before it ends.

What a folder holds beside the sources that a reader recognises is told in the ledger by its kind,
texts, programs and sensor captures excepted; a file that is named itself and that no reader recognises
is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import struct
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from formats import registry
from formats.files import open_binary
from formats.registry import Rejected
from formats.remote import address
from formats.tree import matching
from lake import limits
from lake.content import content_of, stored_content
from lake.convert import LOG_TABLES, MAP_TABLES, Origins, ledger_table, note_entry, tables_of
from lake.ids import stable_id
from lake.json_text import as_json
from lake.known import Known
from lake.lake import Lake, code_version
from lake.literals import literal
from lake.localise import LocalLog, localise
from lake.parts import PART_TABLES, Assembly, read_tables, write_tables
from lake.place import is_full, temporary_folder
from lake.remote import Mirrors, same
from lake.remove import remove_rows
from lake.scenes import cut
from lake.splits import assign
from lake.workers import begin_worker, rarer_collections, without_interrupts
from schemas.errors import (
    BadInput,
    BadRecord,
    BadSetting,
    DuplicateLog,
    LakeError,
    UnreadableFile,
)
from schemas.records import Log, Note
from schemas.tables import TABLES

BATCH_LOGS = 64
BATCH_BYTES = 256 * 2**20
BATCH_S = 60.0  # [s] after its first log, a batch waits for no more

READ_THE_REST = "To read the rest all the same, use --on-error skip."

_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    SyntaxError, TypeError, ValueError, pa.ArrowException, struct.error,
)  # fmt: skip
"""What code raises that meets something nobody thought of. One such log must not keep out ten
thousand others, so it is refused and told like any other, with the place where it happened."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told after each source: sources done, sources in all, the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A source or record that did not come in.

    Attributes:
        path: File or folder.
        record: Which record of it, empty for the whole.
        reason: Why, in a sentence.
    """

    path: str
    record: str
    reason: str


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        logs: How many logs came in.
        scenes: How many scenes they hold.
        unchanged: How many logs were here already.
        unread: Files in the folders that no reader takes; the ledger tells which.
        rejected: What did not come in, and why.
        noted: How many ledger entries of each kind tell what was dropped, clipped, guessed, … of
            the logs that came in.
        rows: How many rows each table gained.
    """

    logs: int = 0
    scenes: int = 0
    unchanged: int = 0
    unread: int = 0
    rejected: list[Refusal] = field(default_factory=list)
    noted: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def ingest(
    lake: Lake,
    paths: Iterable[str | Path],
    *,
    format: str | None = None,
    jobs: int = 1,
    on_error: Literal["stop", "skip"] = "stop",
    replace: bool = False,
    prefix: str = "",
    progress: Progress | None = None,
) -> IngestReport:
    """Everything readable at or under the paths.

    Args:
        lake: Where to.
        paths: Files and folders, here or on an object store (``s3://``, ``gs://``, ``az://``).
        format: Name of the reader; by default each source is recognised.
        jobs: Processes that read; the lake itself is written by this one alone.
        on_error: ``stop``: the first refusal is raised, after what was good before it has been
            committed; ``skip``: it is reported and the rest is read.
        replace: Whether a log that is here and differs from what is read now gives way to it,
            with all that was made of it; by default it stays and the new one is refused.
        prefix: Put before the name of each log, for fleets whose recordings are called alike.
            ``{folder}`` in it stands for the folder of the source below the path that was named:
            with ``"{folder}/"``, ``fleet/car7/monday/drive.mcap`` of ``fleet`` becomes
            ``car7/monday/monday/drive``.
        progress: Told after each source.

    Returns:
        What came in, what was here already, what was refused.

    Raises:
        UnknownName: No reader has the name ``format``.
        BadQuery: ``jobs`` is no number of processes.
        BadInput: With ``stop``, what was refused: ``UnreadableFile``, ``BadRecord`` or
            ``DuplicateLog``.
        StorageFull: The disk is full or read-only; whole batches are kept. A note of this, and of
            ``KeyboardInterrupt``, says how many logs were committed.
    """
    limits.whole("jobs", jobs, least=1, most=1024)
    named = [address(path) or str(Path(path).absolute()) for path in paths]
    params = {"paths": named, "format": format, "on_error": on_error, "prefix": prefix}
    report = IngestReport()
    _tell_cut_short(lake)
    with rarer_collections(), lake.run("ingest", params=params) as run, Mirrors() as mirrors:
        desk = _Desk(lake, run.id, report, replace=replace)
        try:
            try:
                _read_all(desk, named, mirrors, format=format, jobs=jobs, prefix=prefix,
                          stop=on_error == "stop", progress=progress)  # fmt: skip
            except BadInput:
                _settle(lake, report)  # what came in before it was met is kept
                raise
            _settle(lake, report)
        except (KeyboardInterrupt, LakeError) as stopped:
            stopped.add_note(_committed(report, desk.waiting))
            raise
        finally:
            run.keep = any(report.rows.values())
            run.summary = {
                "logs": report.logs, "scenes": report.scenes, "unchanged": report.unchanged,
                "rejected": len(report.rejected), "rows": report.rows,
            }  # fmt: skip
    return report


def check_paths(paths: Iterable[str | Path], *, format: str | None = None) -> None:
    """See whether there is anything to read, before a lake is made for it.

    What lies in an object store is taken on trust.

    Args:
        paths: As for :func:`ingest`.
        format: Likewise.

    Raises:
        UnknownName: No reader has the name ``format``.
        BadInput: Nothing at or under any of the paths is recognised; of the first path.
    """
    refused: list[BadInput] = []
    with Mirrors() as mirrors:
        for path in paths:
            if address(path):
                return
            for found in _work([str(Path(path).absolute())], mirrors, format):
                if not isinstance(found, BadInput):
                    return
                refused.append(found)
    if refused:
        raise refused[0]


def _committed(report: IngestReport, waiting: int) -> str:
    """What an ingest that was stopped leaves in the lake."""

    def were(number: int) -> str:
        return "1 log was" if number == 1 else f"{number:,} logs were"

    told = f"{were(report.logs)} committed by this ingest."
    if report.unchanged:
        told += f" {were(report.unchanged)} there before."
    if waiting:
        told += f" {were(waiting)} read, but not committed yet."
    return told


def _settle(lake: Lake, report: IngestReport) -> None:
    """What is done once all logs are in: split groups and zone maps."""
    if report.logs:
        with lake.store.writing():
            assign(lake)
            lake.store.index()


def _tell_cut_short(lake: Lake) -> None:
    """A row in ``runs`` for each ingest that left whole batches and was killed before its own.

    One that still goes on in another process is told too; its own row replaces this in the end.
    """
    if not _unknown_runs(lake):
        return
    with lake.store.writing():
        rows = [
            {
                "run_id": run_id, "command": "ingest", "params": "{}", "tables": "{}",
                "summary": "{}", "code_version": code_version(), "started_unix_ns": 0,
                "finished_unix_ns": time.time_ns(), "outcome": "cut short",
            }
            for run_id in sorted(_unknown_runs(lake))
        ]  # fmt: skip
        lake.append("runs", rows)


def _unknown_runs(lake: Lake) -> set[int]:
    """Runs that brought logs in, or refused them, and have no row."""
    made: set[int] = set()
    for name in ("logs", "ledger"):
        made.update(lake.read(name, ["run_id"])["run_id"].unique().to_pylist())
    return made - set(lake.read("runs", ["run_id"])["run_id"].to_pylist())


def add_logs(
    lake: Lake, logs: Iterable[Log], *, run_id: int, source: Literal["log", "generated"] = "log"
) -> dict[str, Any]:
    """Logs made in memory, see :meth:`lake.lake.Lake.add_logs`."""
    report = IngestReport()
    desk = _Desk(lake, run_id, report)
    log_ids: list[int] = []
    for log in logs:
        if log.part or log.more:
            reason = "is told in parts, which only ingest joins; give it as a whole"
            raise BadRecord(log.source_uri, reason, record=log.record)
        local = localise(log)
        origins = Origins(
            sha256=content_sha256(local),
            converter=f"memory {code_version()}",
            run_id=run_id,
            source=source,
            uri=log.source_uri,
        )
        refusal = desk.take(_convert(local, origins))
        if refusal is not None:
            raise refusal
        log_ids.append(local.log_id)
    desk.commit()
    _settle(lake, report)
    where = f"log_id in ({', '.join(map(str, log_ids))})"
    scenes = lake.read("scenes", ["scene_id", "log_id"], where).to_pylist() if log_ids else []
    order = {log_id: place for place, log_id in enumerate(log_ids)}
    scenes.sort(key=lambda row: order[row["log_id"]])
    return {
        "logs": log_ids,
        "scenes": [row["scene_id"] for row in scenes],
        "unchanged": report.unchanged,
    }


def fingerprint(source: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the bytes of a source's files and, if there are several, their names.

    Raises:
        UnreadableFile: One of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        if path != source:
            # Some readers take a file and what lies beside it.
            digest.update(f"{os.path.relpath(path, source)}\0".encode())
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UnreadableFile(path, f"cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def content_sha256(local: LocalLog) -> str:
    """SHA-256 of what a log says: who is where when, signals, map, sensors and what they read."""
    digest = hashlib.sha256()
    log, rows, lights = local.log, local.rows, local.lights
    digest.update(repr((log.sensors, log.frames, log.events, log.windows)).encode())
    whole = (log.rate_hz, log.t0_unix_ns, log.location, log.weather, log.daylight, log.license)
    digest.update(repr((*whole, log.epsg, log.map.source_map_id)).encode())
    digest.update(as_json(dict(log.extra)).encode())
    for series in log.readings:
        digest.update(repr((series.channel, series.signal, series.unit, series.text)).encode())
        for array in (series.t_ns, series.value):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((local.roads.map_id, local.tracks.source_track_id)).encode())
    digest.update(repr((lights.source_lane_id, local.tracks.cls.tolist())).encode())
    digest.update(repr((list(local.tracks.source_cls), list(log.lights.source_state))).encode())
    for array in (
        local.origin, rows.track, rows.t_ns, rows.valid, rows.xyz, rows.yaw, rows.velocity, rows.size,
        lights.signal, lights.t_ns, lights.state, log.lights.arrow, log.lights.flashing,
        log.lights.stop_xyz,
    ):  # fmt: skip
        digest.update(np.ascontiguousarray(array).tobytes())
    if log.ego is not None:
        for told in (log.ego.quaternion, log.ego.acceleration, log.ego.yaw_rate, log.ego.steering):
            digest.update(b"" if told is None else np.ascontiguousarray(told).tobytes())
            digest.update(b";")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Converted:
    """One log as rows.

    Attributes:
        log_id: Of the log.
        name: The source's own id.
        dataset: The family.
        record: Which record of the source.
        map_id: None where there is no map.
        origins: Where it came from.
        tables: Its rows in every table.
        files: Of a log that was told in parts, the rows of each in ``PART_TABLES``; they come
            beside ``tables``, and are removed once they are committed.
    """

    log_id: int
    name: str
    dataset: str
    record: str
    map_id: int | None
    origins: Origins
    tables: dict[str, pa.Table]
    files: tuple[Path, ...] = ()

    @property
    def nbytes(self) -> int:
        """How much its rows take, on disk too."""
        there = sum(table.nbytes for table in self.tables.values())
        return there + sum(path.stat().st_size for path in self.files)

    def parts(self) -> Iterator[dict[str, pa.Table]]:
        """Its rows, the whole's first, one part in memory at a time."""
        yield self.tables
        for path in self.files:
            yield read_tables(path, PART_TABLES)

    def forget(self) -> None:
        """Remove its files."""
        for path in self.files:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A source that is to be read.

    Attributes:
        path: File or folder.
        format: Name of its reader.
        origins: What its rows will say of where they came from.
        have: Ids of its logs that are here already.
        renamed: What makes of a log, as it was read, one whose addresses last.
        prefix: Of its logs' names.
    """

    path: Path
    format: str
    origins: Origins
    have: frozenset[int]
    renamed: Callable[[Log | Rejected], Log | Rejected] = same
    prefix: str = ""

    def logs(self) -> Iterator[Log | Rejected]:
        """What its reader makes of it, under the names by which the lake will know it."""
        for read in _reader(self.format).read(self.path):
            item = self.renamed(read)
            if self.prefix and isinstance(item, Log):
                item = dataclasses.replace(item, source_log_id=self.prefix + item.source_log_id)
            yield item


@dataclass(frozen=True, slots=True, kw_only=True)
class _Skipped:
    """A record that is here already."""

    log_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """A record, or a whole source, that a reader refused; exceptions do not cross processes."""

    path: str
    record: str
    reason: str
    hint: str = ""
    whole: bool = False
    notes: Sequence[Note] = ()

    def error(self) -> BadInput:
        kind = UnreadableFile if self.whole else BadRecord
        return kind(self.path, self.reason, record=self.record, hint=self.hint)


_Item: TypeAlias = _Converted | _Skipped | _Refused


class _Desk:
    """Where converted logs come together: knows what is here, commits batch by batch."""

    def __init__(
        self, lake: Lake, run_id: int, report: IngestReport, *, replace: bool = False
    ) -> None:
        self.lake, self.run_id, self.report = lake, run_id, report
        self._replaces = replace
        self._taken: set[int] = set()
        self._leaving: set[int] = set()
        self._batch: dict[int, _Converted] = {}
        self._entries: list[dict[str, Any]] = []
        self._bytes = 0
        self._begun = 0.0
        self._known = Known(lake)

    def logs_of(self, sha256: str, format: str) -> int | None:
        """How many logs a source holds that came in whole, None if it did not."""
        return self._known.whole.get((sha256, format))

    def keep(self, sha256: str) -> None:
        """The logs that came from bytes of this fingerprint are of this ingest, too.

        None of them gives way to another source of the same command.
        """
        self._taken |= self._known.logs_from(sha256)

    def have(self, sha256: str) -> frozenset[int]:
        """Logs that came from bytes of this fingerprint."""
        return self._known.logs_from(sha256)

    @property
    def waiting(self) -> int:
        """How many logs are read and not committed."""
        return len(self._batch)

    def take(self, log: _Converted) -> BadInput | None:
        """Put a log into the batch, count it as unchanged, or say why it is refused."""
        if self._gives_way(log):
            self._leaving.add(log.log_id)
        elif log.log_id in self._known.logs or log.log_id in self._batch:
            same = self._is_same(log)
            log.forget()
            if not same:
                return self._differs(log)
            self.report.unchanged += 1
            return None
        if not self._batch:
            self._begun = time.monotonic()
        self._batch[log.log_id] = log
        self._taken.add(log.log_id)
        self._bytes += log.nbytes
        if self._is_full():
            self.commit()
        return None

    def _is_full(self) -> bool:
        return (
            len(self._batch) >= BATCH_LOGS
            or self._bytes >= BATCH_BYTES
            or time.monotonic() - self._begun >= BATCH_S
        )

    def _gives_way(self, log: _Converted) -> bool:
        """Whether a log of an earlier run makes room for this one, read from other bytes."""
        there = self._known.logs.get(log.log_id)
        return (
            self._replaces
            and there is not None
            and log.log_id not in self._taken
            and there != (log.origins.sha256, log.record)
        )

    def tell(self, entry: dict[str, Any]) -> None:
        """A row for the ledger, with the next commit."""
        self._entries.append({**entry, "run_id": self.run_id})

    def refuse(self, error: BadInput, source: _Source | None) -> None:
        """Report a refusal and note it for the ledger."""
        self.report.rejected.append(
            Refusal(path=error.path, record=error.record, reason=error.reason)
        )
        uri, reason = error.path, error.reason
        if source is not None and source.origins.uri not in ("", uri):
            # Told of the source, so that it no longer holds once that comes in.
            uri = source.origins.uri
            folder = uri if error.path.startswith(f"{uri}/") else uri.rpartition("/")[0]
            reason = f"{error.path.removeprefix(f'{folder}/')}: {reason}"
        self.tell(
            {
                "uri": uri, "record": error.record, "kind": "rejected",
                "reason": reason, "format": None if source is None else source.format,
                "source_sha256": None if source is None else source.origins.sha256,
            }
        )  # fmt: skip

    def commit(self) -> None:
        """The batch into all tables, in one step."""
        if not self._batch and not self._untold(ledger_table(self._entries)).num_rows:
            self._entries = []
            return
        store = self.lake.store
        with store.writing():
            if self._leaving:
                remove_rows(self.lake, self._leaving)
            self._known.look()
            for log in [log for log in self._batch.values() if log.log_id in self._known.logs]:
                # Another process brought the same log in since this batch was begun.
                if self._is_same(log):
                    self.report.unchanged += 1
                else:
                    self.refuse(self._differs(log), None)
                del self._batch[log.log_id]
                log.forget()
            added = dict.fromkeys(LOG_TABLES, 0)
            noted: Counter[str] = Counter()
            for rows in self._rows():
                if "ledger" in rows:  # a part of a long log has none of its own
                    noted.update(rows["ledger"]["kind"].to_pylist())
                for name, table in rows.items():
                    store.append(name, table)
                    added[name] += table.num_rows
        self.report.logs += len(self._batch)
        self.report.scenes += added["scenes"]
        for name, count in added.items():
            self.report.rows[name] = self.report.rows.get(name, 0) + count
        for kind in sorted(noted.keys() - _COUNTED_APART):
            self.report.noted[kind] = self.report.noted.get(kind, 0) + noted[kind]
        for log in self._batch.values():
            log.forget()
        self._batch, self._entries, self._bytes = {}, [], 0
        self._leaving = set()
        self._known.look()

    def _rows(self) -> Iterator[dict[str, pa.Table]]:
        """The batch as one table each, sorted by log; maps and ledger rows only once.

        Then the parts of long logs, one after the other.
        """
        logs = [self._batch[log_id] for log_id in sorted(self._batch)]
        maps: set[int] = set()
        parts: dict[str, list[pa.Table]] = {name: [] for name in LOG_TABLES}
        for log in logs:
            new_map = log.map_id is not None and not (
                log.map_id in maps or log.map_id in self._known.maps
            )
            if log.map_id is not None:
                maps.add(log.map_id)
            for name in LOG_TABLES:
                if new_map or name not in MAP_TABLES:
                    parts[name].append(log.tables[name])
        parts["ledger"].append(ledger_table(self._entries))
        rows = {
            name: pa.concat_tables([TABLES[name].schema.empty_table(), *tables])
            for name, tables in parts.items()
        }
        rows["ledger"] = self._untold(rows["ledger"])
        yield rows
        for log in logs:
            yield from itertools.islice(log.parts(), 1, None)

    def _untold(self, ledger: pa.Table) -> pa.Table:
        """The ledger rows that are not there yet, each once."""
        fresh: dict[int, int] = {}
        for place, entry_id in enumerate(ledger["entry_id"].to_pylist()):
            if entry_id not in self._known.told:
                fresh.setdefault(entry_id, place)
        return ledger.take(pa.array(fresh.values(), type=pa.int64()))

    def _is_same(self, log: _Converted) -> bool:
        """Whether the log of this id that came first says the same."""
        pending = self._batch.get(log.log_id)
        if pending is not None and pending is not log:
            there = content_of(pending.parts(), map_id=pending.map_id)
            same_bytes = pending.origins.sha256 == log.origins.sha256
        elif self._known.logs.get(log.log_id) == (log.origins.sha256, log.record):
            return True
        else:
            there, same_bytes = stored_content(self.lake, log.log_id), False
        if there.is_captures_alone and not same_bytes:  # they may be other pictures
            return False
        return there == content_of(log.parts(), map_id=log.map_id)

    def _differs(self, log: _Converted) -> DuplicateLog:
        """That another log of its name came first; a first one that was cut off is told as that."""
        first = self._batch.get(log.log_id)
        if first is not None and first is not log:
            uri, sha256 = first.origins.uri, first.origins.sha256
        else:
            mine = f"log_id = {log.log_id}"
            (row,) = self.lake.read("logs", ["source_uri", "source_sha256"], mine).to_pylist()
            uri, sha256 = row["source_uri"], row["source_sha256"]
        refused = [e for e in self._entries if e["kind"] == "rejected"]
        same = f"kind = 'rejected' AND source_sha256 = {literal(sha256)}"
        refused += self.lake.read("ledger", ["source_sha256", "reason"], same).to_pylist()
        why = next((e["reason"] for e in refused if e["source_sha256"] == sha256), "")
        hint = "If it is the same log, read anew or mended, use --replace"
        if why:
            hint = f"Of {uri}, not all could be read ({why}); if this is that log whole, use --replace"
        where = f", from {uri}," if uri else ""
        return DuplicateLog(
            log.origins.uri,
            f"another log of {log.dataset} is called {log.name} already{where} and differs from "
            "this one; the first is kept",
            record=log.record,
            hint=f"{hint}. If they are two, give this one a name of its own: --prefix car7/, or "
            "--prefix {folder}/ for its folder.",
        )


_COUNTED_APART = {"ingested", "rejected"}
"""Kinds of ledger entries that a report tells under names of their own."""


def _read_all(
    desk: _Desk,
    paths: Sequence[str],
    mirrors: Mirrors,
    *,
    format: str | None,
    jobs: int,
    prefix: str,
    stop: bool,
    progress: Progress | None,
) -> None:
    work = _work(paths, mirrors, format)
    roots = _roots(paths, mirrors)
    if format is None:
        _tell_left_over(desk, roots, mirrors, work)
    done = 0

    def refuse(error: BadInput, source: _Source | None) -> None:
        error = mirrors.told(error)
        desk.refuse(error, source)
        if stop:
            desk.commit()
            if done < len(work) or error.record:  # else there is no rest
                error.hint = f"{error.hint} {READ_THE_REST}".strip()
            raise error

    def sources() -> Iterator[_Source | BadInput]:
        for found in work:
            if isinstance(found, BadInput):
                yield found
                continue
            name, path = found
            if os.fsencode(path) != str(path).encode("utf-8", "replace"):
                reason = "has a name that is not UTF-8, which tables cannot hold"
                yield UnreadableFile(path, reason, hint="Rename it.")
                continue
            nowhere = _Source(path=path, format=name, origins=_NOWHERE, have=frozenset())
            try:
                tags = mirrors.fingerprint(_reader(name), path)
                here = None if tags is None else desk.logs_of(tags, name)
                if here is None:
                    mirrors.fetch(_reader(name), path)
                    sha256 = fingerprint(path, _reader(name).files(path))
                    here = desk.logs_of(sha256, name)
                    if here is not None:
                        desk.keep(sha256)
            except BadInput as error:
                yield error
                continue
            if here is not None:
                desk.report.unchanged += here
                yield nowhere
                continue
            origins = Origins(
                sha256=sha256,
                converter=f"{name} {code_version()}",
                run_id=desk.run_id,
                format=name,
                uri=mirrors.name(path),
            )
            yield _Source(
                path=path, format=name, origins=origins, have=desk.have(sha256),
                renamed=mirrors.renamed(), prefix=_prefix(prefix, path, roots),
            )  # fmt: skip

    with (
        temporary_folder(desk.lake.uri) as spool,
        closing(_items_of(sources(), jobs=jobs, uri=desk.lake.uri, spool=spool)) as results,
        _saved_when_stopped(desk),
    ):
        for source, items in results:
            done += 1
            if isinstance(source, BadInput):
                refuse(source, None)
                continue
            logs, whole = 0, True
            for item in items:
                if isinstance(item, _Refused):
                    whole = False
                    for note in item.notes:
                        desk.tell(
                            note_entry(note, source.origins, record=item.record, log_id=None)
                        )
                    refuse(item.error(), source)
                    continue
                logs += 1
                if isinstance(item, _Skipped):
                    desk.report.unchanged += 1
                    continue
                error = desk.take(item)
                if error is not None:
                    whole = False
                    refuse(error, source)
            if whole and source.origins is not _NOWHERE:
                reason = "every log of this source is in the lake"
                tags = mirrors.fingerprint(_reader(source.format), source.path)
                for known_by in filter(None, (source.origins.sha256, tags)):
                    desk.tell(
                        {
                            "uri": source.origins.uri, "source_sha256": known_by,
                            "format": source.format, "kind": "ingested", "reason": reason,
                            "count": logs,
                        }
                    )  # fmt: skip
            mirrors.release(source.path)
            if progress is not None:
                progress(done, len(work), mirrors.name(source.path))
        desk.commit()  # while the parts of long logs are still there


@contextmanager
def _saved_when_stopped(desk: _Desk) -> Iterator[None]:
    """Ctrl-C commits what has been read, while the parts of long logs are still there.

    A second one, meanwhile, lets go of it.
    """
    try:
        yield
    except KeyboardInterrupt:
        desk.commit()
        raise


@functools.cache
def _reader(name: str) -> registry.Reader:
    return registry.reader(name)


_NOWHERE = Origins(sha256="", converter="", run_id=0)
"""Marks a source that came in whole before and is not read again."""


def _work(
    paths: Sequence[str], mirrors: Mirrors, format: str | None
) -> list[tuple[str, Path] | BadInput]:
    """Every source at or under the paths, and what cannot be one, in order."""
    if format is not None:
        registry.reader(format)
    found: dict[tuple[str, Path], None] = {}
    work: list[tuple[str, Path] | BadInput] = []
    for named in paths:
        try:
            path = mirrors.local(named)
            if format is None:
                here = list(registry.detect(path))
            elif path.exists():
                here = [(format, source) for source in registry.reader(format).sources(path)]
            else:
                raise UnreadableFile(
                    path, "does not exist", hint="Check the spelling of the path."
                )
        except BadInput as error:
            work.append(error)
            continue
        if not here:
            if path.is_file():
                try:
                    with open_binary(path) as file:
                        file.read(1 << 16)
                except BadInput as error:  # empty, cut off, not permitted: that is why
                    work.append(error)
                    continue
            what = f"the {format} reader" if format else "any reader"
            holds = "holds nothing that" if path.is_dir() else "is nothing that"
            hint = _why_not(path) if path.is_file() and not format else ""
            work.append(
                UnreadableFile(
                    path, f"{holds} {what} recognises",
                    hint=f"{hint} `scenelake formats` lists what is read.".strip(),
                )
            )  # fmt: skip
        work += [pair for pair in here if pair not in found]
        found.update(dict.fromkeys(here))
    return work


def _roots(paths: Sequence[str], mirrors: Mirrors) -> list[Path]:
    """Where the paths stand on this machine; those that are not there are told when it is their turn."""
    roots = []
    for named in paths:
        with suppress(BadInput):
            roots.append(mirrors.local(named))
    return roots


FOLDER = "{folder}"


def _prefix(prefix: str, source: Path, roots: Sequence[Path]) -> str:
    """The prefix of a source's logs, ``{folder}`` filled in; see :func:`ingest`."""
    if FOLDER not in prefix:
        return prefix
    near = max((r for r in roots if r in source.parents), key=lambda r: len(r.parts), default=None)
    folder = "" if near is None else source.parent.relative_to(near).as_posix().removeprefix(".")
    return prefix.replace(FOLDER, folder).removeprefix("" if folder else "/")


SMALL_BYTES = 64 * 2**20  # [bytes] of a file that is read only to learn what is wrong with it
_OTHER_KIND = "the content is of another kind"


def _why_not(path: Path) -> str:
    """For which formats the name of a file speaks, and what their readers say when made to read it."""
    small = path.stat().st_size <= SMALL_BYTES
    told = [
        f"{name} ({_refusal_of(path, name) if small else _OTHER_KIND})"
        for name in registry.near_misses(path)
    ]
    could = [f"By its name it could be {', '.join(told)}."] if told else []
    if _suffix(path) in (".csv", ".parquet", ".pq"):
        could.append("A table of your own needs a mapping of its columns, *.scenelake.toml.")
    return " ".join(could)


def _refusal_of(path: Path, name: str) -> str:
    try:
        first = next(_reader(name).read(path), None)
    except BadInput as error:
        return error.reason.splitlines()[0]
    except (OSError, BadSetting, *_FAULTS):
        return _OTHER_KIND
    return first.reason if isinstance(first, Rejected) else _OTHER_KIND


_NO_LOGS = frozenset({
    "", ".bin", ".cfg", ".css", ".htm", ".html", ".ini", ".ipynb", ".jpeg", ".jpg", ".js", ".log",
    ".md", ".pcd", ".pdf", ".png", ".py", ".rst", ".sh", ".sha256", ".svg", ".toml", ".txt", ".yaml",
    ".yml",
})  # fmt: skip
"""Suffixes of what lies beside logs and is none: captures that sources point at, texts, programs."""


def _tell_left_over(
    desk: _Desk,
    roots: Sequence[Path],
    mirrors: Mirrors,
    work: Sequence[tuple[str, Path] | BadInput],
) -> None:
    """A ledger row for each kind of file in the folders that no reader takes."""
    pairs = [found for found in work if not isinstance(found, BadInput)]
    sources = {source for _, source in pairs}
    strange: dict[Path, list[Path]] = {}
    for place in roots:
        with suppress(BadInput):
            strange[place] = [
                file
                for file in (matching(place, "*") if place.is_dir() else ())
                if _suffix(file) not in _NO_LOGS and not sources & {file, *file.parents}
            ]
    if not any(strange.values()):
        return
    beside: set[Path] = set()
    for name, source in pairs:
        with suppress(BadInput):
            beside.update(_reader(name).files(source))
    for place, files in strange.items():
        kinds: dict[str, list[Path]] = {}
        for file in files:
            if file not in beside:
                kinds.setdefault(_suffix(file), []).append(file)
        for suffix, alike in sorted(kinds.items()):
            desk.report.unread += len(alike)
            desk.tell(
                {
                    "uri": mirrors.name(place), "source_sha256": None, "format": None,
                    "kind": "dropped", "count": len(alike),
                    "reason": f"no reader takes these files ({suffix}), such as "
                    f"{alike[0].relative_to(place)}",
                }
            )  # fmt: skip


def _suffix(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix.lower()


def _items_of(
    sources: Iterable[_Source | BadInput], *, jobs: int, uri: str, spool: Path
) -> Generator[tuple[_Source | BadInput, Iterator[_Item]]]:
    """Each source with its logs, in order; converted here or by other processes."""
    if jobs <= 1:
        for source in sources:
            if isinstance(source, BadInput):
                yield source, iter(())
            else:
                yield source, _convert_source(source, spool)
        return
    waiting: deque[tuple[_Source | BadInput, Future[list[_Item | Path]] | None]] = deque()
    wanted = spool / _WANTED
    wanted.touch()
    # Lance does not survive a fork, so workers start afresh.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=begin_worker, initargs=(str(spool),)
    ) as pool:
        try:
            for source in sources:
                if isinstance(source, BadInput) or source.origins is _NOWHERE:
                    future = None
                else:
                    with without_interrupts():
                        future = pool.submit(_spool_source, source, spool)
                waiting.append((source, future))
                while len(waiting) > 2 * jobs:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        except BrokenProcessPool as error:
            raise LakeError(
                uri,
                "lost a reading process in the middle of an ingest.",
                hint="It may have run out of memory: use fewer --jobs. What was stored is kept.",
            ) from error
        finally:
            wanted.unlink(missing_ok=True)
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(
    source: _Source | BadInput, future: Future[list[_Item | Path]] | None
) -> tuple[_Source | BadInput, Iterator[_Item]]:
    results = [] if future is None else future.result()
    return source, (
        _unspool(result, source) if isinstance(result, Path) else result for result in results
    )


def _convert_source(source: _Source, folder: Path) -> Iterator[_Item]:
    """The logs of one source as rows; refusals of its reader among them.

    Args:
        source: What to read.
        folder: For the parts of logs that are told in parts.
    """
    if source.origins is _NOWHERE:
        return
    assembly: Assembly | None = None
    try:
        for log in source.logs():
            if isinstance(log, Rejected):
                yield _Refused(
                    path=str(source.path), record=log.record, reason=log.reason, notes=log.notes
                )
                continue
            log_id = stable_id("log", log.dataset, log.source_log_id)
            if log_id in source.have:
                if not log.more:
                    yield _Skipped(log_id=log_id)
            elif log.part or log.more:
                if log.part == 0:
                    assembly = Assembly(source.origins, folder=folder, stem=uuid.uuid4().hex)
                if assembly is not None:
                    item = _assemble(assembly, log, source)
                    if item is not None:
                        assembly = None
                        yield item
            else:
                yield _convert_log(log, source)
    except BadInput as error:
        yield _refused(error)
    except OSError as error:
        if is_full(error):  # of what is written beside it; the source is not to blame
            raise
        yield _Refused(
            path=str(source.path), record="", whole=True,
            reason=f"cannot be read ({error.strerror or error})",
        )  # fmt: skip
    except _FAULTS as error:
        yield _fault(source, "", error)
    if assembly is not None:
        assembly.forget()


def _assemble(assembly: Assembly, part: Log, source: _Source) -> _Item | None:
    """Add a part; the log if it was the last, or why the log is refused, else None."""
    try:
        assembly.add(part)
        if part.more:
            return None
        local, tables = assembly.finish()
    except BadInput as error:
        assembly.forget()
        return _refused(error)
    except _FAULTS as error:
        assembly.forget()
        return _fault(source, part.record, error)
    return _Converted(
        log_id=local.log_id, name=part.source_log_id, dataset=part.dataset, record=part.record,
        map_id=local.roads.map_id, origins=source.origins, tables=tables,
        files=tuple(assembly.files),
    )  # fmt: skip


def _convert_log(log: Log, source: _Source) -> _Item:
    try:
        return _convert(localise(log), source.origins)
    except BadInput as error:
        return _refused(error)
    except _FAULTS as error:
        return _fault(source, log.record, error)


def _refused(error: BadInput) -> _Refused:
    return _Refused(
        path=error.path, record=error.record, reason=error.reason, hint=error.hint,
        whole=not isinstance(error, BadRecord),
    )  # fmt: skip


def _fault(source: _Source, record: str, error: BaseException) -> _Refused:
    place = traceback.extract_tb(error.__traceback__)[-1]
    told = str(error).splitlines()[0] if str(error) else ""
    return _Refused(
        path=str(source.path), record=record, whole=not record,
        reason=f"cannot be understood as {source.format} ({type(error).__name__}: {told}; "
        f"{Path(place.filename).name}:{place.lineno})",
        hint="If other programs read it, please report this with the file.",
    )  # fmt: skip


def _convert(local: LocalLog, origins: Origins) -> _Converted:
    scenes = cut(local, source=origins.source)
    return _Converted(
        log_id=local.log_id,
        name=local.log.source_log_id,
        dataset=local.log.dataset,
        record=local.log.record,
        map_id=local.roads.map_id,
        origins=origins,
        tables=tables_of(local, scenes, origins),
    )


_FACTS = "scenelake"

_WANTED = "wanted"
"""A file beside those of the workers. Removed when the parent stops early: nobody will look at what
they make then. (A file that says so could not be made on a full disk.)"""


def _spool_source(source: _Source, folder: Path) -> list[_Item | Path]:
    """In a worker: logs as Arrow files in the folder, the rest as it is."""
    results: list[_Item | Path] = []
    items = _convert_source(source, folder)
    while (folder / _WANTED).exists() and (item := next(items, None)) is not None:
        if not isinstance(item, _Converted):
            results.append(item)
            continue
        path = folder / f"{uuid.uuid4().hex}.arrows"
        facts = {"log_id": item.log_id, "name": item.name, "dataset": item.dataset,
                 "record": item.record, "map_id": item.map_id,
                 "files": [str(part) for part in item.files]}  # fmt: skip
        told = {_FACTS: json.dumps(facts)}
        write_tables(
            path,
            {name: item.tables[name].replace_schema_metadata(told) for name in LOG_TABLES},
        )
        results.append(path)
    return results


def _unspool(path: Path, source: _Source | BadInput) -> _Converted:
    assert isinstance(source, _Source)
    read = read_tables(path, LOG_TABLES)
    facts = json.loads(read["logs"].schema.metadata[_FACTS.encode()])
    facts["files"] = tuple(Path(part) for part in facts["files"])
    tables = {name: table.replace_schema_metadata(None) for name, table in read.items()}
    path.unlink()
    return _Converted(**facts, origins=source.origins, tables=tables)

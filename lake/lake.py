"""The ``Lake``: the one object that knows where rows are kept.

lake = Lake.open_or_create("scenelake-data")  # or s3://bucket/lake, gs://…, az://…
lake.ingest([Path("logs")])
lake.sql("select cls, count(*) from agents group by 1")
scene = lake.scene(lake.scene_ids()[0])
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lance
import numpy as np
import pyarrow as pa

from formats import remote
from lake.compact import KEEP_S, CompactReport
from lake.dense import unpack_signals, unpack_tracks
from lake.ids import stable_id
from lake.json_text import as_json
from lake.limits import id_of
from lake.literals import literal
from lake.manifest import ABOUT, Manifest, Snapshot
from lake.maps import read_maps
from lake.place import PART, Overtaken, Place, place_of
from lake.sql import run_sql, run_sql_batches
from lake.store import Store, conform
from lake.store import code_version as code_version
from schemas.errors import (
    BadQuery,
    LakeError,
    LakeTooNew,
    NoLake,
    StorageFull,
    UnknownName,
)
from schemas.labels import Daylight, RoadType, Weather
from schemas.records import Log, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks
from schemas.tables import SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    import polars as pl

    from lake.info import LakeInfo
    from lake.ingest import IngestReport, Progress
    from lake.media import Capture, CopyReport
    from lake.recut import Cutting, RecutReport
    from lake.remove import RemoveReport
    from lake.sync import Method
    from lake.training import SampleConfig, SceneDataset
    from lake.verify import Finding

MAPS_KEPT = 64  # maps held in memory, since scenes of one map are often read together
SCENES_AT_ONCE = 64  # scenes read in one go
STATES_AT_ONCE = 5_000_000  # agents times steps likewise: some 250 MB


@dataclass(slots=True, kw_only=True)
class Run:
    """One command that writes something; becomes a row of ``runs`` when it ends.

    Attributes:
        id: ``run_id`` of the rows that it makes.
        summary: Its figures, to be filled by whoever runs.
        keep: Set False where nothing was written and the run is not worth a row.
    """

    id: int
    summary: dict[str, Any] = field(default_factory=dict)
    keep: bool = True


class Lake:
    """Tables of logs, scenes and all that is derived from them, at one place."""

    def __init__(self, store: Store, *, name: str | None = None) -> None:
        """Use :meth:`open`, :meth:`create` or :meth:`open_or_create`."""
        self._store = store
        self._name = name
        self._maps: OrderedDict[int, RoadMap] = OrderedDict()

    # Opening

    @classmethod
    def open(
        cls,
        uri: str | Path,
        *,
        at: str | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> Lake:
        """The lake at a place.

        Args:
            uri: A folder, or a prefix of an object store: ``s3://``, ``gs://``, ``az://``.
            at: Name of a snapshot, to read the lake as it was then.
            storage_options: Credentials and endpoint, as Rust's ``object_store`` calls them;
                the environment's by default. They are kept in memory only.

        Raises:
            NoLake: There is none.
            LakeTooNew: A newer Scenelake wrote it.
            UnknownName: It has no snapshot of that name.
            LakeError: The place cannot be reached.
        """
        place = place_of(uri, storage_options)
        if not _is_lake(place):
            there = remote.is_remote(place.uri) or Path(place.uri).is_dir()
            raise NoLake(
                place.uri,
                f"is none: the folder has no {ABOUT}." if there else "does not exist.",
                hint="Ingest some logs first, or point --lake (or $SCENELAKE) elsewhere.",
            )
        lake = cls(Store(place))
        about = lake._store.manifest()
        if about.schema_version > SCHEMA_VERSION:
            raise LakeTooNew(
                place.uri,
                f"was written by Scenelake {about.scenelake} with tables of version "
                f"{about.schema_version}; this Scenelake knows version {SCHEMA_VERSION}.",
                hint="Install a newer Scenelake: pip install -U scenelake.",
            )
        return lake if at is None else lake.at(at)

    @classmethod
    def create(cls, uri: str | Path, *, storage_options: Mapping[str, str] | None = None) -> Lake:
        """An empty lake at a place, whose folder is made.

        Raises:
            LakeError: There is one already, or something that is not an empty folder, or the
                place cannot be reached.
            StorageFull: The folder cannot be written.
        """
        place = place_of(uri, storage_options)
        if _is_lake(place):
            raise LakeError(place.uri, "exists already.", hint="Open it, or choose another.")
        foreign = _foreign(place)
        if foreign:
            raise LakeError(
                place.uri,
                f"cannot be made: the folder holds other things, such as {foreign}, and no {ABOUT}.",
                hint="Choose an empty or new folder with --lake (or $SCENELAKE).",
            )
        about = Manifest(
            schema_version=SCHEMA_VERSION, created_unix_ns=time.time_ns(), scenelake=code_version()
        )
        try:
            place.write(ABOUT, about.to_json(), tag=None)
        except Overtaken as error:
            raise LakeError(place.uri, "was made by another process just now.") from error
        return cls(Store(place))

    @classmethod
    def open_or_create(
        cls, uri: str | Path, *, storage_options: Mapping[str, str] | None = None
    ) -> Lake:
        """The lake at a place, made if there is none."""
        try:
            return cls.open(uri, storage_options=storage_options)
        except NoLake:
            try:
                return cls.create(uri, storage_options=storage_options)
            except LakeError:
                if _is_lake(place_of(uri, storage_options)):  # made by another process just now
                    return cls.open(uri, storage_options=storage_options)
                raise

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes the address, with what was told of object stores."""
        return _reopened, (self.uri, self._name, self._store.pinned, remote.told_options())

    @property
    def uri(self) -> str:
        """Where it is."""
        return self._store.place.uri

    @property
    def store(self) -> Store:
        """The datasets beneath, for the modules of this package."""
        return self._store

    # Reading

    def at(self, snapshot: str | None = None) -> Lake:
        """The lake as it was at a snapshot, or as it is now, whatever others write meanwhile.

        It answers every question as it did then, and cannot be written. What it shows of now may
        be compacted away after an hour (see :meth:`compact`); a snapshot is kept until it is
        deleted.

        Raises:
            UnknownName: There is no snapshot of that name.
        """
        if snapshot is None:
            return Lake(self._store.at(self._store.versions()), name=self._name)
        known = self._store.manifest().snapshots
        if snapshot not in known:
            raise UnknownName("snapshot", snapshot, known)
        return Lake(self._store.at(known[snapshot].tables), name=snapshot)

    def at_versions(self, versions: Mapping[str, int]) -> Lake:
        """The lake at versions of its tables, such as a run tells in ``runs.tables``; to read only.

        Reading what was compacted away meanwhile raises LakeError.
        """
        return Lake(self._store.at(versions), name=self._name)

    def read(
        self, name: str, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Rows of a table; none, with its schema, where nothing was written yet.

        Args:
            name: Of the table.
            columns: Which, in which order; all by default.
            where: A Lance filter, such as ``"scene_id in (1, 2)"``.

        Raises:
            UnknownName: There is no such table or column.
            BadQuery: The filter does not run.
        """
        return self._store.read(name, columns, where)

    def count(self, name: str, where: str | None = None) -> int:
        """How many rows of a table there are; where an index answers the filter, at no cost.

        Args:
            name: Of the table.
            where: A Lance filter, such as ``"name = 'cut_in'"``; all rows by default.

        Raises:
            UnknownName: There is no such table.
            BadQuery: The filter does not run.
        """
        return self._store.count(name, where)

    def sql(
        self,
        query: str,
        *,
        by_index: bool = True,
        instead: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """The answer to one reading statement over all tables, see :func:`lake.sql.run_sql`.

        Args:
            query: DuckDB's SQL.
            by_index: As for :func:`lake.sql.run_sql`.
            instead: Rows to be taken for all that there are of a table, or a table beside the lake's.

        Raises:
            BadQuery: It does not run, or would write.
        """
        tables = {**self._store.datasets(), **(instead or {})}
        return run_sql(query, tables=tables, by_index=by_index)

    def sql_batches(self, query: str, *, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The answer to a query batch by batch, for those that do not fit into memory.

        Raises:
            BadQuery: As :meth:`sql`.
        """
        return run_sql_batches(query, tables=self._store.datasets(), rows=rows)

    def to_arrow(self, query: str) -> pa.Table:
        """The answer to a query as an Arrow table; the same as :meth:`sql`."""
        return self.sql(query)

    def to_polars(self, query: str) -> pl.DataFrame:
        """The answer to a query as a Polars frame, which shares the memory of Arrow's."""
        import polars as pl

        frame = pl.from_arrow(self.sql(query))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def scan(self, name: str) -> pl.LazyFrame:
        """A table as a lazy Polars frame, which reads what a query asks for and no more.

        Raises:
            UnknownName: There is no such table.
        """
        import polars as pl

        data = self.table(name)
        if data is None:
            return pl.LazyFrame(pl.from_arrow(TABLES[name].schema.empty_table()))
        return pl.scan_pyarrow_dataset(data).select(
            [c for c in TABLES[name].schema.names if c in data.schema.names]
        )

    def table(self, name: str) -> lance.LanceDataset | None:
        """The Lance dataset of a table, None where nothing was written yet."""
        return self._store.dataset(name)

    def dataset(
        self,
        *,
        where: str | None = None,
        scene_ids: Sequence[int] | None = None,
        config: SampleConfig | None = None,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> SceneDataset:
        """Dense scenes for torch, pinned to what the lake holds now, see :mod:`lake.training`.

        Raises:
            BadQuery: The filter does not run, or there is no scene of such an id.
        """
        from lake.training import SceneDataset

        lake = self if self._store.pinned is not None else self.at()
        return SceneDataset(
            lake, where=where, scene_ids=scene_ids, config=config, transform=transform
        )

    def sync(
        self,
        log_id: int,
        *,
        clock: str | float | Sequence[int],
        channels: Sequence[str] | None = None,
        readings: Sequence[str] | None = None,
        method: Method = "nearest",
        tolerance_s: float = 0.1,
    ) -> pa.Table:
        """Captures, readings and the ego at the moments of one clock, see :func:`lake.sync.sync`."""
        from lake.sync import sync

        return sync(
            self, log_id, clock=clock, channels=channels, readings=readings, method=method,
            tolerance_s=tolerance_s,
        )  # fmt: skip

    def captures(self, where: str | None = None) -> list[Capture]:
        """Captures of sensors for which a Lance filter on ``frames`` holds, see :mod:`lake.media`."""
        from lake.media import captures

        return captures(self, where)

    def copy_media(
        self, where: str | None = None, *, progress: Callable[[int, int], None] | None = None
    ) -> CopyReport:
        """The bytes of captures into the lake, see :func:`lake.media.copy_media`."""
        from lake.media import copy_media

        return copy_media(self, where, progress=progress)

    def versions(self) -> dict[str, int]:
        """The Lance version of each table that is there."""
        return self._store.versions()

    def scene_ids(self, where: str | None = None) -> list[int]:
        """Ids of the scenes for which a Lance filter on ``scenes`` holds."""
        return [int(i) for i in self.read("scenes", ["scene_id"], where)["scene_id"].to_pylist()]

    def split(
        self, *, test: float = 0.2, by: str = "split_group", seed: int = 0
    ) -> dict[str, list[int]]:
        """Scenes for training and for testing, no place and time in both, see :mod:`lake.splits`.

        Raises:
            UnknownName: ``scenes`` has no column ``by``.
            BadQuery: ``test`` is no share.
        """
        from lake.splits import split

        return split(self, test=test, by=by, seed=seed)

    def resolve_scene(self, text: str | int) -> int:
        """The id of the scene that someone means by its id or by a name that only it has.

        Raises:
            UnknownName: No scene has that id or name.
            BadQuery: Several scenes have that name.
        """
        asked = str(text).strip()
        if asked.isdecimal() and int(asked) < 2**63 and self.scene_ids(f"scene_id = {asked}"):
            return int(asked)
        found = self.scene_ids(f"name = {literal(asked)}")
        if len(found) == 1:
            return found[0]
        if found:
            raise BadQuery(
                f"{len(found)} scenes are called `{asked}`.",
                hint=f"Say which by its id: {', '.join(map(str, found[:10]))}.",
            )
        raise UnknownName("scene", asked, self.read("scenes", ["name"])["name"].to_pylist())

    def scene(self, scene_id: int) -> Scene:
        """One scene as dense arrays.

        Raises:
            UnknownName: There is no scene of that id.
        """
        return next(self.scenes([scene_id]))

    def scenes(self, scene_ids: Iterable[int] | None = None) -> Iterator[Scene]:
        """Scenes as dense arrays, in the order asked for; all by default.

        Raises:
            UnknownName: There is no scene of such an id.
        """
        lake = self.at()  # one moment for all tables and all scenes
        lake._maps = self._maps
        ids = lake.scene_ids() if scene_ids is None else [id_of("scene", i) for i in scene_ids]
        for begin in range(0, len(ids), SCENES_AT_ONCE):
            for some in lake._fitting(ids[begin : begin + SCENES_AT_ONCE]):
                yield from lake._load(some)

    def _fitting(self, ids: Sequence[int]) -> Iterator[Sequence[int]]:
        """The scenes in groups that fit into memory together: a log that is one scene lasts an hour."""
        if len(ids) == 1:
            yield ids
            return
        chosen = f"scene_id in ({', '.join(map(str, ids))})"
        rows = self.read("dense", ["scene_id", "n_agents", "n_steps"], chosen).to_pylist()
        states = {row["scene_id"]: row["n_agents"] * row["n_steps"] for row in rows}
        group: list[int] = []
        held = 0
        for scene_id in ids:
            held += states.get(scene_id, 0)
            if group and held > STATES_AT_ONCE:
                yield group
                group, held = [], states.get(scene_id, 0)
            group.append(scene_id)
        if group:
            yield group

    def _load(self, ids: Sequence[int]) -> Iterator[Scene]:
        chosen = f"scene_id in ({', '.join(map(str, ids))})"
        rows = {row["scene_id"]: row for row in self.read("scenes", None, chosen).to_pylist()}
        missing = [i for i in ids if i not in rows]
        if missing:
            raise UnknownName("scene", str(missing[0]), map(str, self.scene_ids()))
        dense = self.read("dense", ["scene_id", "tracks", "signals"], chosen)
        place = {int(i): n for n, i in enumerate(dense["scene_id"].to_pylist())}
        dense = dense.combine_chunks()
        log_ids = sorted({row["log_id"] for row in rows.values()})
        logs = {
            log["log_id"]: log
            for log in self.read(
                "logs", None, f"log_id in ({', '.join(map(str, log_ids))})"
            ).to_pylist()
        }
        maps = dict(zip(log_ids, self._maps_of([logs[i] for i in log_ids]), strict=True))
        told: dict[int, dict[int, str]] = {log_id: {} for log_id in log_ids}
        columns = ["log_id", "track_id", "source_cls"]
        words = self.read("tracks", columns, f"log_id in ({', '.join(map(str, log_ids))})")
        for log_id, track_id, word in zip(*(words[c].to_pylist() for c in columns), strict=True):
            told[log_id][track_id] = word
        for scene_id in ids:
            row, at = rows[scene_id], place[scene_id]
            log = logs[row["log_id"]]
            tracks = unpack_tracks(dense["tracks"][at].as_buffer())
            signals = unpack_signals(dense["signals"][at].as_buffer())
            named = tracks.of_each(told[row["log_id"]])
            yield _scene(row, log, tracks, signals, maps[row["log_id"]], named)

    def map_of(self, log: Mapping[str, Any]) -> RoadMap:
        """The map of a row of ``logs``, in the log's frame."""
        return self._maps_of([log])[0]

    def _maps_of(self, logs: Sequence[Mapping[str, Any]]) -> list[RoadMap]:
        """The map of each; those that are not held in memory are read together."""
        names = {log["map_id"]: _map_name(log) for log in logs if log["map_id"] is not None}
        known = {map_id: self._maps[map_id] for map_id in names if map_id in self._maps}
        missing = {map_id: name for map_id, name in names.items() if map_id not in known}
        known |= read_maps(self, missing)
        for map_id, road_map in known.items():
            self._maps[map_id] = road_map
            self._maps.move_to_end(map_id)
        while len(self._maps) > MAPS_KEPT:
            self._maps.popitem(last=False)
        return [
            RoadMap(source_map_id=_map_name(log), features=(), derived=np.zeros(0, dtype=bool))
            if log["map_id"] is None
            else known[log["map_id"]]
            for log in logs
        ]

    def blobs(self, blob_ids: Sequence[int]) -> list[bytes]:
        """Bytes that were copied into the lake, in the order asked for.

        Raises:
            UnknownName: There is no blob of such an id.
        """
        from lake.blobs import read_blobs

        return read_blobs(self, blob_ids)

    def blob(self, blob_id: int) -> bytes:
        """The bytes of one blob, see :meth:`blobs`."""
        return self.blobs([blob_id])[0]

    # Writing

    def append(self, name: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Rows at the end of a table; columns that may be null may be left out.

        Raises:
            UnknownName: There is no such table or column.
            StorageFull: The disk is full or read-only.
        """
        table = conform(name, rows)
        with self._store.writing():
            self._store.append(name, table)

    def replace(
        self, name: str, rows: pa.Table | Sequence[Mapping[str, Any]], *, where: str
    ) -> None:
        """Rows instead of those for which a Lance filter holds, in one step.

        Raises:
            UnknownName: There is no such table or column.
            BadQuery: The filter does not run.
            StorageFull: The disk is full or read-only.
        """
        table = conform(name, rows)
        with self._store.writing():
            self._store.delete(name, where)
            self._store.append(name, table)

    @contextmanager
    def run(
        self,
        command: str,
        *,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        model: str | None = None,
        run_id: int | None = None,
        tables: Mapping[str, int] | None = None,
        summary: Mapping[str, Any] | None = None,
        announced: bool = False,
    ) -> Iterator[Run]:
        """A run, whose row in ``runs`` is written when it ends, well or not.

        Args:
            command: What runs.
            params: Its options, as JSON values.
            seed: If any.
            model: Name and hash of weights, if any.
            run_id: Of an earlier run that is taken up again; its row gives way.
            tables: Versions of the tables that it reads, such as those of the earlier run; those of
                now by default.
            summary: Its figures so far.
            announced: Write the row at the beginning already, with the outcome ``begun``, so that what
                it has made is known should its process be killed.

        Raises:
            LakeError: The lake is shown as it was, and cannot be written.
        """
        self._store.refuse_if_pinned()
        started = time.time_ns()
        run = Run(
            id=run_id or stable_id("run", started, os.getpid(), command),
            summary=dict(summary or {}),
        )
        read = dict(self.versions() if tables is None else tables)

        def write(outcome: str) -> None:
            row = {
                "run_id": run.id, "command": command, "params": as_json(dict(params or {})),
                "code_version": code_version(), "model": model, "seed": seed,
                "tables": as_json(read), "started_unix_ns": started,
                "finished_unix_ns": time.time_ns(), "outcome": outcome,
                "summary": as_json(run.summary),
            }  # fmt: skip
            with self._store.writing():
                # While it went on, another process may have taken it for dead.
                same = f"run_id = {run.id}"
                if self.read("runs", ["run_id"], same).num_rows:
                    self.replace("runs", [row], where=same)
                else:
                    self.append("runs", [row])

        if announced:
            write("begun")
        outcome = "interrupted"
        try:
            yield run
            outcome = "done"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            if run.keep:
                # A disk that refused the work refuses the record of it too.
                refused = () if outcome == "done" else (StorageFull,)
                with suppress(*refused):
                    write(outcome)

    def put_blobs(self, payloads: Iterable[bytes], *, run_id: int) -> list[int]:
        """Bytes into ``blobs``, each content once, see :func:`lake.blobs.put_blobs`.

        Returns:
            The ``blob_id`` of each, in order.
        """
        from lake.blobs import put_blobs

        return put_blobs(self, payloads, run_id=run_id)

    def add_logs(
        self, logs: Iterable[Log], *, run_id: int, source: Literal["log", "generated"] = "log"
    ) -> dict[str, Any]:
        """Logs made in memory, in one step; those that are here already are left as they are.

        Returns:
            ``{"logs": [ids], "scenes": [ids], "unchanged": n}``, the unchanged ones included.

        Raises:
            DuplicateLog: Another log bears the id of one of them; nothing is added.
        """
        from lake.ingest import add_logs

        return add_logs(self, logs, run_id=run_id, source=source)

    def ingest(
        self,
        paths: Iterable[str | Path],
        *,
        format: str | None = None,
        jobs: int = 1,
        on_error: Literal["stop", "skip"] = "stop",
        replace: bool = False,
        prefix: str = "",
        progress: Progress | None = None,
    ) -> IngestReport:
        """Logs in files and folders, see :func:`lake.ingest.ingest`."""
        from lake.ingest import ingest

        return ingest(
            self, paths, format=format, jobs=jobs, on_error=on_error, replace=replace,
            prefix=prefix, progress=progress,
        )  # fmt: skip

    def remove(self, where: str) -> RemoveReport:
        """Logs out of the lake with all that was made of them, see :func:`lake.remove.remove`."""
        from lake.remove import remove

        return remove(self, where)

    def recut(
        self,
        cutting: Cutting,
        *,
        where: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> RecutReport:
        """Other scenes from the logs that are here, see :func:`lake.recut.recut`."""
        from lake.recut import recut

        return recut(self, cutting, where=where, progress=progress)

    # Looking after it

    def snapshot(self, name: str) -> Snapshot:
        """Pin all tables as they are now, see :mod:`lake.snapshots`.

        Raises:
            LakeError: There is a snapshot of that name.
            BadSetting: It can be no name.
        """
        from lake.snapshots import snapshot

        return snapshot(self, name)

    def snapshots(self) -> list[Snapshot]:
        """What was pinned, oldest first."""
        known = self._store.manifest().snapshots.values()
        return sorted(known, key=lambda snap: (snap.created_unix_ns, snap.name))

    def delete_snapshot(self, name: str) -> None:
        """Let a snapshot go; its rows stay until the lake is compacted.

        Raises:
            UnknownName: There is none of that name.
        """
        from lake.snapshots import delete_snapshot

        delete_snapshot(self, name)

    def compact(
        self, *, keep_s: float = KEEP_S, progress: Callable[[str], None] | None = None
    ) -> CompactReport:
        """Join small files and remove what nothing needs, see :func:`lake.compact.compact`.

        Args:
            keep_s: How long replaced versions are kept for those who read them [s].
            progress: Told what is done next.
        """
        from lake.compact import compact

        return compact(self, keep_s=keep_s, progress=progress)

    def info(self) -> LakeInfo:
        """What is here, in numbers."""
        from lake.info import info

        return info(self)

    def verify(
        self, *, deep: bool = False, progress: Callable[[str], None] | None = None
    ) -> list[Finding]:
        """What is not sound; an empty list is good news."""
        from lake.verify import verify

        return verify(self, deep=deep, progress=progress)


def _is_lake(place: Place) -> bool:
    try:
        return place.read(ABOUT) is not None
    except OSError as error:
        raise LakeError(place.uri, f"cannot be opened ({error.strerror}).") from error


def _foreign(place: Place) -> str:
    """Something at a place that no lake begins with, empty if there is nothing.

    Raises:
        LakeError: A file bears the name of the folder.
    """
    if Path(place.uri).is_file():
        raise LakeError(place.uri, "cannot be made: there is a file of that name.")
    ours = (f"{ABOUT}{PART}", "lost+found")
    return next((n for n in place.names() if n not in ours and not n.startswith(".")), "")


def _reopened(
    uri: str,
    name: str | None,
    versions: Mapping[str, int] | None,
    told: Mapping[str, Mapping[str, str]],
) -> Lake:
    remote.use_all(told)
    return Lake(Store(place_of(uri), pinned=versions), name=name)


def _scene(
    row: Mapping[str, Any],
    log: Mapping[str, Any],
    tracks: Tracks,
    signals: Signals,
    road_map: RoadMap,
    source_cls: Mapping[int, str],
) -> Scene:
    return Scene(
        scene_id=row["scene_id"],
        log_id=row["log_id"],
        dataset=row["dataset"],
        name=row["name"],
        t0_ns=row["t0_ns"],
        anchor=round((row["t_anchor_ns"] - row["t0_ns"]) / (DT * 1e9)),
        tracks=tracks,
        map=road_map,
        signals=signals,
        has_ego=row["has_ego"],
        has_map=row["has_map"],
        has_signals=log["has_lights"],
        origin=np.array([log["origin_x"], log["origin_y"], log["origin_z"]]),
        weather=None if row["weather"] is None else Weather.of(row["weather"]),
        daylight=None if row["daylight"] is None else Daylight.of(row["daylight"]),
        road_type=RoadType.of(row["road_type"]),
        source=row["source"],
        source_cls=source_cls,
    )


def _map_name(log: Mapping[str, Any]) -> str:
    """The source's name for the map of a row of ``logs``."""
    return json.loads(log["extra"]).get("source_map_id", "") if log["extra"] else ""

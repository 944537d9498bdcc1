"""Logs out of the lake, with all that was made of them, so that they can come in anew.

Snapshots keep what they pinned. Logs on which suites or generated scenes rest stay, unless the
same log comes in again at once (``ingest`` with ``replace``), whose scenes keep their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lake.convert import MAP_TABLES
from schemas.errors import LakeError, MissingData

if TYPE_CHECKING:
    from lake.lake import Lake

_OF_LOG = (
    "ego", "agents", "tracks", "lights", "sensors", "frames", "readings", "events", "criticality",
    "scenes", "logs",
)  # fmt: skip
OF_SCENE = ("dense", "looked", "embeddings", "clusters")
"""Tables whose rows are of a scene, and do not name its log."""
_AT_ONCE = 1000  # ids named in one filter


@dataclass(slots=True, kw_only=True)
class RemoveReport:
    """What went.

    Attributes:
        logs: How many logs.
        scenes: How many scenes of theirs.
        maps: How many maps that no other log is on.
        blobs: How many copied captures whose bytes no other log has.
    """

    logs: int = 0
    scenes: int = 0
    maps: int = 0
    blobs: int = 0


def remove(lake: Lake, where: str) -> RemoveReport:
    """Remove logs for which a Lance filter on ``logs`` holds.

    Raises:
        BadQuery: The filter does not run.
        MissingData: It holds for no log.
        LakeError: Suites or generated scenes rest on one of them; nothing is removed.
    """
    with lake.run("remove", params={"where": where}) as run, lake.store.writing():
        log_ids = lake.read("logs", ["log_id"], where)["log_id"].to_pylist()
        if not log_ids:
            raise MissingData(
                f"No log fits `{where}`.",
                hint="Such as source_log_id = 'NAME'; `scenelake sql \"from logs\"` lists them.",
            )
        _refuse_if_needed(lake, log_ids)
        report = remove_rows(lake, log_ids)
        run.summary = asdict(report)
    return report


def remove_rows(lake: Lake, log_ids: Collection[int]) -> RemoveReport:
    """The rows of logs in every table, with maps and bytes that are theirs alone; within the lock."""
    report = RemoveReport(logs=len(log_ids))
    maps: set[int] = set()
    blobs: set[int] = set()
    ordered = sorted(log_ids)
    for begin in range(0, len(ordered), _AT_ONCE):
        mine = _among("log_id", ordered[begin : begin + _AT_ONCE])
        scenes = lake.read("scenes", ["scene_id"], mine)["scene_id"].to_pylist()
        logs = lake.read("logs", ["source_sha256", "map_id"], mine)
        sources = logs["source_sha256"].unique().to_pylist()
        maps.update(map_id for map_id in logs["map_id"].to_pylist() if map_id is not None)
        report.scenes += len(scenes)
        copied = lake.read("frames", ["blob_id"], f"{mine} AND blob_id IS NOT NULL")
        blobs.update(copied["blob_id"].to_pylist())
        for place in range(0, len(scenes), _AT_ONCE):
            for name in OF_SCENE:
                lake.store.delete(name, _among("scene_id", scenes[place : place + _AT_ONCE]))
        for name in _OF_LOG:
            lake.store.delete(name, mine)
        lake.store.delete("ledger", mine)
        # What said that a whole source is here must go too, or it would not be read again.
        told = ", ".join(f"'{sha}'" for sha in sources if sha)
        if told:
            whole = f"kind = 'ingested' AND log_id IS NULL AND source_sha256 IN ({told})"
            lake.store.delete("ledger", whole)
    report.maps = _remove_maps(lake, maps)
    report.blobs = _remove_blobs(lake, blobs)
    return report


def _refuse_if_needed(lake: Lake, log_ids: Collection[int]) -> None:
    scenes: set[int] = set()
    ordered = sorted(log_ids)
    for begin in range(0, len(ordered), _AT_ONCE):
        mine = _among("log_id", ordered[begin : begin + _AT_ONCE])
        scenes.update(lake.read("scenes", ["scene_id"], mine)["scene_id"].to_pylist())
    cases = lake.read("cases", ["scene_id", "suite"])
    ids, suites = cases["scene_id"].to_pylist(), cases["suite"].to_pylist()
    of = [suite for i, suite in zip(ids, suites, strict=True) if i in scenes]
    if of:
        told = sorted(set(of))
        raise LakeError(
            lake.uri,
            f"keeps these logs: {len(of)} cases of suites rest on their scenes ({_few(told)}).",
            hint="Ingest the corrected source with --replace, or remove the suites first: "
            f"scenelake suite remove {told[0]}",
        )
    parents = lake.read("generated", ["parent_scene_id"])["parent_scene_id"].to_pylist()
    resting = sum(i in scenes for i in parents)
    if resting:
        raise LakeError(
            lake.uri,
            f"keeps these logs: {resting} generated scenes rest on their scenes.",
            hint="Ingest the corrected source with --replace, or use another lake.",
        )


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _remove_maps(lake: Lake, map_ids: Collection[int]) -> int:
    """Maps of these that no log is on any more."""
    used = set(lake.read("logs", ["map_id"])["map_id"].to_pylist())
    gone = sorted(set(map_ids) - used)
    for begin in range(0, len(gone), _AT_ONCE):
        for name in MAP_TABLES:
            lake.store.delete(name, _among("map_id", gone[begin : begin + _AT_ONCE]))
    return len(gone)


def _remove_blobs(lake: Lake, blob_ids: Collection[int]) -> int:
    """Bytes of these that no capture is of any more; those that nobody's captures are of stay."""
    used: set[int] = set()
    ordered = sorted(blob_ids)
    for begin in range(0, len(ordered), _AT_ONCE):
        mine = _among("blob_id", ordered[begin : begin + _AT_ONCE])
        used.update(lake.read("frames", ["blob_id"], mine)["blob_id"].to_pylist())
    gone = sorted(set(blob_ids) - used)
    for begin in range(0, len(gone), _AT_ONCE):
        lake.store.delete("blobs", _among("blob_id", gone[begin : begin + _AT_ONCE]))
    return len(gone)


def _among(column: str, ids: Collection[int]) -> str:
    return f"{column} IN ({', '.join(map(str, ids))})"

"""``lake.json``: the one small file that says what a lake is.

It names the version of every table. Readers look there, then open those versions, so all tables
come from one moment; a writer makes new versions of as many tables as it likes, then replaces the
file, and that is the commit: before it nothing was written, after it everything. What a killed
writer leaves behind are versions that no file names. There is nothing to undo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.errors import LakeError

ABOUT = "lake.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All tables of one moment, kept.

    Attributes:
        name: Unique within the lake.
        created_unix_ns: When it was taken [ns].
        tables: The Lance version of each table that there was.
    """

    name: str
    created_unix_ns: int
    tables: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``lake.json`` says.

    Attributes:
        schema_version: Of the tables.
        created_unix_ns: When the lake was made [ns].
        scenelake: Which version of Scenelake wrote the file.
        commit: Counts the commits.
        committed_unix_ns: When the last one was [ns].
        longest_s: How long the longest commit took, from its first version to this file [s].
        tables: The Lance version of each table that there is; None in lakes of an older
            Scenelake, where the latest of each counts.
        snapshots: By name.
    """

    schema_version: int
    created_unix_ns: int
    scenelake: str
    commit: int = 0
    committed_unix_ns: int = 0
    longest_s: float = 0.0
    tables: Mapping[str, int] | None = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)

    def next(
        self,
        tables: Mapping[str, int],
        snapshots: Mapping[str, Snapshot],
        *,
        schema_version: int,
        scenelake: str,
        took_s: float,
    ) -> Manifest:
        """What it says after another commit."""
        return replace(
            self,
            schema_version=schema_version,
            scenelake=scenelake,
            commit=self.commit + 1,
            committed_unix_ns=time.time_ns(),
            longest_s=max(self.longest_s, took_s),
            tables=dict(tables),
            snapshots=dict(snapshots),
        )

    def to_json(self) -> bytes:
        """As it is stored."""
        about: dict[str, Any] = {
            "schema_version": self.schema_version,
            "created_unix_ns": self.created_unix_ns,
            "scenelake": self.scenelake,
            "commit": self.commit,
            "committed_unix_ns": self.committed_unix_ns,
            "longest_s": round(self.longest_s, 3),
            "tables": dict(self.tables or {}),
            "snapshots": {
                name: {"created_unix_ns": snap.created_unix_ns, "tables": dict(snap.tables)}
                for name, snap in self.snapshots.items()
            },
        }
        return json.dumps(about, indent=1).encode()


def manifest_of(data: bytes, uri: str) -> Manifest:
    """What the bytes of a ``lake.json`` say.

    Raises:
        LakeError: They are none.
    """
    try:
        about = json.loads(data)
        tables = about.get("tables")
        return Manifest(
            schema_version=int(about["schema_version"]),
            created_unix_ns=int(about.get("created_unix_ns", 0)),
            scenelake=str(about.get("scenelake", "?")),
            commit=int(about.get("commit", 0)),
            committed_unix_ns=int(about.get("committed_unix_ns", 0)),
            longest_s=float(about.get("longest_s", 0.0)),
            tables=None if tables is None else _versions(tables),
            snapshots={
                str(name): Snapshot(
                    name=str(name),
                    created_unix_ns=int(snap["created_unix_ns"]),
                    tables=_versions(snap["tables"]),
                )
                for name, snap in about.get("snapshots", {}).items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LakeError(
            uri,
            f"has a {ABOUT} that cannot be read ({error}).",
            hint="Restore the file, or make a new lake and ingest again.",
        ) from error


def _versions(tables: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(version) for name, version in tables.items()}

"""Snapshots: all tables of one moment under one name, kept until they are deleted.

The versions stand in ``lake.json`` and are tagged in each table, so that neither :mod:`lake.compact`
nor a cleaning by Lance itself removes them.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from lake.manifest import Snapshot
from schemas.errors import BadSetting, LakeError, UnknownName

if TYPE_CHECKING:
    from lake.lake import Lake

_NAME = re.compile(r"(?!.*\.lock$)[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
NAME_LENGTH = 100


def snapshot(lake: Lake, name: str) -> Snapshot:
    """All tables as they are now, under a name.

    Raises:
        BadSetting: It can be no name.
        LakeError: There is a snapshot of that name.
    """
    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        raise BadSetting(
            f"A snapshot cannot be called `{name}`.",
            hint="Use letters, digits, `-` and `_`, and single dots between them.",
        )
    store = lake.store
    with store.writing():
        known = store.manifest().snapshots
        if name in known:
            raise LakeError(
                lake.uri,
                f"has a snapshot `{name}` already.",
                hint="Choose another name, or let that one go first: "
                f"`scenelake snapshot {name} --delete`.",
            )
        made = Snapshot(name=name, created_unix_ns=time.time_ns(), tables=store.versions())
        for table, data in store.datasets().items():
            version = made.tables[table]
            if name in data.tags.list():  # left by a writer that was killed
                data.tags.update(name, version)
            else:
                data.tags.create(name, version)
        store.keep({**known, name: made})
    return made


def delete_snapshot(lake: Lake, name: str) -> None:
    """Let a snapshot go; its rows stay until the lake is compacted.

    Raises:
        UnknownName: There is none of that name.
    """
    store = lake.store
    with store.writing():
        known = store.manifest().snapshots
        if name not in known:
            raise UnknownName("snapshot", name, known)
        store.keep({k: snap for k, snap in known.items() if k != name})
    drop_stale_tags(lake)


def drop_stale_tags(lake: Lake) -> None:
    """Remove the tags of tables that no snapshot stands for."""
    store = lake.store
    with store.writing():
        known = store.manifest().snapshots
        for data in store.datasets().values():
            for tag in set(data.tags.list()) - set(known):
                data.tags.delete(tag)

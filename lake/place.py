"""Where a lake lies: a folder of this machine, or a prefix of an object store.

Either offers what a lake needs beside its tables: small files that are replaced whole, and only by
whoever has seen the content before, and a lock that one process holds at a time.

In a folder the lock is the system's (it ends with its process). Object stores have none, so there
it is a *lease*: an object that its holder renews; one that has not been renewed for ``LEASE_S`` is
taken over. A holder that sleeps longer than that may wake up and think that it still holds it. It
does no harm: it cannot replace the small file that says what the lake is, since the other has
changed that, and what it wrote into tables is not named there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import filelock

from formats import remote
from schemas.errors import LakeError, StorageFull

logger = logging.getLogger("scenelake")

LOCK = ".lock"
PART = ".part"
PATIENCE_S = 2.0  # [s] a wait for another writer that is longer is told
LEASE_S = 30.0  # [s] a lease that is not renewed for so long has lost its holder
SKEW_S = 60.0  # [s] by how much the clock of a store may differ from ours
POLL_S = 0.5  # [s] between two looks at a lease of someone else

_FULL_ERRNO = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EFBIG}
_FULL_TEXT = (
    "No space left on device", "Read-only file system", "Permission denied",
    "Operation not permitted", "Disk quota exceeded", "File too large",
)  # fmt: skip

_NO_ROOM_ERRNO = {errno.ENOSPC, errno.EDQUOT}
_NO_ROOM_TEXT = ("No space left on device", "Disk quota exceeded")
NO_ROOM_BYTES = 2**20  # [bytes] a disk that has less free is full


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file's content, and a tag that differs whenever the content does."""

    data: bytes
    tag: str


class Overtaken(Exception):
    """A small file is not any more what its writer has seen."""


class Place(Protocol):
    """A folder or prefix that holds one lake.

    Attributes:
        uri: As people write it.
    """

    uri: str

    @property
    def options(self) -> Mapping[str, str] | None:
        """For Lance; None where it needs none."""

    def at(self, name: str) -> str:
        """The address of something in it, as Lance wants it."""

    def read(self, name: str) -> SmallFile | None:
        """A small file, None if there is none."""

    def write(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Replace a small file in one step; with no tag, make it.

        Raises:
            Overtaken: It is not what it was when the tag was read, or there is one already.
        """

    def names(self) -> list[str]:
        """What lies directly in it."""

    def sizes(self, under: str = "") -> dict[str, int]:
        """Every file at or under a name, with its size [bytes]."""

    def remove(self, name: str) -> None:
        """Remove a file, or all that lies under a name."""

    def lock(self) -> Any:
        """A context in which no other process writes to this place; others wait."""

    def storing(self) -> Any:
        """A context that tells a full, read-only or unreachable storage in our words.

        Raises:
            StorageFull: The disk is full or read-only.
            LakeError: The store cannot be reached, or refuses.
        """


def place_of(uri: str | Path, options: Mapping[str, str] | None = None) -> Place:
    """The place that an address means.

    Raises:
        LakeError: It is neither a folder nor on an object store that is known.
    """
    address = remote.address(uri)
    if address is not None:
        if options:
            remote.use(address, options)
        return Bucket(address)
    text = str(uri).removeprefix("file://")
    if "://" in text:
        schemes = ", ".join(f"{scheme}://" for scheme in remote.SCHEMES)
        raise LakeError(
            text,
            "is of no kind that is known.",
            hint=f"Lakes are kept in folders of this machine or at {schemes}.",
        )
    return Folder(Path(text).expanduser().absolute())


def temporary_full(uri: str) -> StorageFull:
    """The error of a lake that cannot be written for want of room beside it."""
    folder = tempfile.gettempdir()
    return StorageFull(
        uri,
        f"cannot be written: the folder for temporary files, {folder}, is full.",
        hint=f"Free some space in {folder}, or set TMPDIR to a folder that has more, then run the "
        "command again: what was stored before is kept.",
    )


@contextmanager
def temporary_folder(uri: str) -> Iterator[Path]:
    """A folder for what is too large for memory.

    Args:
        uri: Of the lake for which it is.

    Raises:
        StorageFull: Its disk is full, or that of other temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="scenelake-") as folder:
            yield Path(folder)
    except OSError as error:
        if is_full(error):
            raise temporary_full(uri) from error
        raise


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk, or a user's share of one, is full."""
    return _is_full(error.errno, str(error))


def _is_full(number: int | None, text: str | None) -> bool:
    return number in _NO_ROOM_ERRNO or any(told in (text or "") for told in _NO_ROOM_TEXT)


def _only_temporary_full(lake: Path) -> bool:
    """Whether temporary files have no room, where the lake's own disk has."""
    there = next(path for path in (lake, *lake.parents) if path.exists())
    free = [shutil.disk_usage(folder).free for folder in (tempfile.gettempdir(), there)]
    return free[0] < NO_ROOM_BYTES <= free[1]


class Folder:
    """A folder of this machine."""

    options = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)
        self._lock = filelock.FileLock(path / LOCK, thread_local=False)

    def at(self, name: str) -> str:
        """Its path."""
        return str(self.path / name)

    def read(self, name: str) -> SmallFile | None:
        """The file, None if there is none."""
        try:
            data = (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return SmallFile(data, hashlib.sha256(data).hexdigest())

    def write(self, name: str, data: bytes, *, tag: str | None) -> None:
        """By renaming a file that is written beside it: whole or not there, at any moment."""
        with self.storing():
            there = self.read(name)
            if (None if there is None else there.tag) != tag:
                raise Overtaken(name)
            self.path.mkdir(parents=True, exist_ok=True)
            partial = self.path / f"{name}{PART}"
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path / name)
            folder = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def names(self) -> list[str]:
        """Names of its files and folders; none where the folder is not there."""
        try:
            return sorted(entry.name for entry in self.path.iterdir())
        except FileNotFoundError:
            return []

    def sizes(self, under: str = "") -> dict[str, int]:
        """Files at or under a name; those that vanish meanwhile are left out."""
        found: dict[str, int] = {}
        todo = [str(self.path / under)]
        while todo:
            try:
                with os.scandir(todo.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
                        else:
                            name = os.path.relpath(entry.path, self.path)
                            found[name] = entry.stat(follow_symlinks=False).st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def remove(self, name: str) -> None:
        """A file, or a folder with all in it."""
        path = self.path / name
        with self.storing():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The system's lock on a file, which ends with its process."""
        with self.storing():
            try:
                self._lock.acquire(timeout=PATIENCE_S)
            except filelock.Timeout:
                logger.warning("Another process is writing to %s; waiting for it.", self.uri)
                self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Tell a full or read-only disk from other failures."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            number = error.errno if isinstance(error, OSError) else None
            told = next((text for text in _FULL_TEXT if text in str(error)), None)
            if number in _FULL_ERRNO or told:
                reason = told or os.strerror(number or 0)
                if _is_full(number, told) and _only_temporary_full(self.path):
                    raise temporary_full(self.uri) from error
                raise StorageFull(
                    self.uri,
                    f"cannot be written: {reason.lower()}.",
                    hint="Free some space or check the permissions, then run the command again: "
                    "what was stored before is kept.",
                ) from error
            raise


class Bucket:
    """A prefix of an object store that can put conditionally (S3, Google, Azure, MinIO, R2, …)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._objects: Any = None

    @property
    def options(self) -> Mapping[str, str]:
        """What was told for this bucket, never more than in memory."""
        return {
            "client_max_retries": str(remote.RETRY["max_retries"]),
            "client_retry_timeout": str(remote.RETRY["retry_timeout_s"]),
            **remote.options_for(self.uri),
        }

    @property
    def objects(self) -> Any:
        """The store, whose paths count from here."""
        if self._objects is None:
            self._objects = remote.store_at(self.uri)
        return self._objects

    def at(self, name: str) -> str:
        """Its address."""
        return f"{self.uri}/{name}"

    def read(self, name: str) -> SmallFile | None:
        """The object, None if there is none."""
        import obstore

        with self.storing():
            try:
                found = obstore.get(self.objects, name)
            except FileNotFoundError:
                return None
            return SmallFile(bytes(found.bytes()), str(found.meta["e_tag"]))

    def write(self, name: str, data: bytes, *, tag: str | None) -> None:
        """By a conditional put."""
        self.put(name, data, tag=tag)

    def put(self, name: str, data: bytes, *, tag: str | None) -> str:
        """As :meth:`write`; returns the new tag."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if tag is None else {"e_tag": tag}
        with self.storing():
            try:
                return str(obstore.put(self.objects, name, data, mode=mode)["e_tag"])
            except (AlreadyExistsError, PreconditionError) as error:
                raise Overtaken(name) from error

    def names(self) -> list[str]:
        """Names up to the next slash."""
        import obstore

        with self.storing():
            found: Any = obstore.list_with_delimiter(self.objects)
        objects = [str(meta["path"]) for meta in found["objects"]]
        return sorted(filter(None, objects + [str(path) for path in found["common_prefixes"]]))

    def sizes(self, under: str = "") -> dict[str, int]:
        """Objects at or under a name."""
        import obstore

        with self.storing():
            chunks = obstore.list(self.objects, under or None)
            return {str(meta["path"]): int(meta["size"]) for chunk in chunks for meta in chunk}

    def remove(self, name: str) -> None:
        """An object, or all under a name."""
        import obstore

        names = [*self.sizes(name), name]
        with self.storing():
            for begin in range(0, len(names), 1000):
                obstore.delete(self.objects, names[begin : begin + 1000])

    @contextmanager
    def lock(self) -> Iterator[None]:
        """A lease, renewed by a thread as long as it is held."""
        lease = _Lease(self)
        lease.acquire()
        try:
            yield
        finally:
            lease.release()

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Tell a store that refuses or does not answer."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, RuntimeError) as error:
            raise LakeError(
                self.uri,
                f"cannot be reached or used: {remote.reason_of(error)}.",
                hint="Check the address, the endpoint and the credentials (AWS_… and so on).",
            ) from error


class _Lease:
    """Who writes to a bucket: an object with the holder's name and a count of renewals."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._holder = uuid.uuid4().hex
        self._count = 0
        self._tag = ""
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True, name="lease")

    def acquire(self) -> None:
        """Wait until it is free, or its holder is gone."""
        began = time.monotonic()
        watched, since, told = "", began, False
        while True:
            there, age_s = self._look()
            now = time.monotonic()
            if there is not None and there.tag != watched:
                watched, since = there.tag, now
            gone = now - since >= LEASE_S or age_s >= LEASE_S + SKEW_S
            if there is None or gone or not _holder(there):
                try:
                    self._put(None if there is None else there.tag)
                except Overtaken:
                    continue
                self._renewer.start()
                return
            if now - began >= PATIENCE_S and not told:
                told = True
                logger.warning(
                    "Another process is writing to %s; waiting for it.", self._bucket.uri
                )
            time.sleep(min(POLL_S, LEASE_S / 4))

    def release(self) -> None:
        """Say that it is free, unless it was taken over."""
        self._done.set()
        self._renewer.join()
        try:
            self._put(self._tag, holder="")
        except (Overtaken, LakeError) as error:
            logger.warning("The write lock of %s was not given back: %s", self._bucket.uri, error)

    def _renew(self) -> None:
        while not self._done.wait(LEASE_S / 3):
            try:
                self._put(self._tag)
            except Overtaken:
                logger.warning("Another process took over the write lock of %s.", self._bucket.uri)
                return
            except LakeError as error:  # the next renewal may come through
                logger.warning("%s", error)

    def _put(self, tag: str | None, *, holder: str | None = None) -> None:
        self._count += 1
        about = {
            "holder": self._holder if holder is None else holder,
            "count": self._count,
            "by": self._holder,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._tag = self._bucket.put(LOCK, json.dumps(about).encode(), tag=tag)

    def _look(self) -> tuple[SmallFile | None, float]:
        """The lease and how long ago it was renewed, by our clock [s]."""
        import obstore

        with self._bucket.storing():
            try:
                found = obstore.get(self._bucket.objects, LOCK)
            except FileNotFoundError:
                return None, 0.0
            age = datetime.now(UTC) - found.meta["last_modified"]
            return SmallFile(bytes(found.bytes()), str(found.meta["e_tag"])), age.total_seconds()


def _holder(lease: SmallFile) -> str:
    try:
        return str(json.loads(lease.data)["holder"])
    except (ValueError, KeyError, TypeError):
        return "unknown"

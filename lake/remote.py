"""Sources on object stores, made to look like files of this machine while they are read.

Readers take local paths. A *mirror* is a temporary folder with the names and sizes of the objects
under an address: sparse files of which only beginning and end are fetched, which is what
recognising a format takes, and nothing at all of what is plainly an image, a sweep or a video. The
files of a source come whole when its turn comes, and go when room is needed for others. What the
lake then says of where things are names the objects, never the mirror.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from formats import remote
from formats.registry import Reader, Rejected
from schemas.errors import BadInput, UnreadableFile

if TYPE_CHECKING:
    from schemas.records import Log

EDGE_BYTES = 2**16
"""How much of the beginning, and of the end, of a file formats are recognised by [bytes]."""

KEPT_BYTES = 4 * 2**30
"""Whole files that are kept for the next source, which may share a map with this one [bytes]."""

FETCHERS = 16
PASSES = 8  # a file may name another, which names another, …

_PAYLOAD = re.compile(r".*\.(jpe?g|png|webp|bin|pcd|laz|npy)$", re.IGNORECASE)
_SWEEP = re.compile(r".*/sensors/.*\.feather$")
_VIDEO = re.compile(r".*\.(mp4|mkv|mov|webm|avi|hevc|h264|h265)$", re.IGNORECASE)


class Mirrors:
    """Temporary stand-ins for the remote places of one ingest; local paths pass through.

    Use it as a context: the folder is removed at its end.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._there: dict[Path, remote.Entry] = {}
        self._whole: set[Path] = set()
        self._files: dict[Path, set[Path]] = {}
        self._held: OrderedDict[Path, int] = OrderedDict()

    def __enter__(self) -> Mirrors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def local(self, path: str | Path) -> Path:
        """Where to look for what is at a path or address.

        Raises:
            UnreadableFile: There is nothing at the address, or its store cannot be reached.
        """
        address = remote.address(path)
        if address is None:
            return Path(path).absolute()
        entries = list(remote.listing(address))
        if not entries:
            raise UnreadableFile(address, "does not exist", hint="Check the spelling.")
        peeked = []
        for entry in entries:
            place = self._place(entry.uri)
            if place is None or place in self._there:
                continue
            self._there[place] = entry
            plain = is_payload(entry.uri) or _VIDEO.match(entry.uri)
            if _make_sparse(place, entry.size) and not plain:
                peeked.append(place)
        _in_parallel(self._peek, peeked)
        return self._root / _inside(address)

    def name(self, path: str | Path) -> str:
        """What a path of a mirror stands for; other paths as they are."""
        return self._named(str(path))

    def fetch(self, reader: Reader, source: Path) -> None:
        """Bring the files of a source here in full, and keep them until :meth:`release`.

        Raises:
            UnreadableFile: One is gone, or its store cannot be reached.
        """
        if not self._is_ours(source) or source in self._files:
            return
        mine = self._files[source] = set()
        for _ in range(PASSES):
            wanted = {*reader.files(source), *self._videos(source)}
            for file in wanted.intersection(self._there) - mine:
                mine.add(file)
                self._held[file] = self._held.pop(file, 0) + 1
            missing = sorted(mine - self._whole)
            if not missing:
                return
            self._make_room(sum(self._there[file].size for file in missing))
            _in_parallel(self._fetch, missing)

    def release(self, source: Path) -> None:
        """A source is done; its files may go when there is no room for others."""
        for file in self._files.pop(source, ()):
            self._held[file] -= 1

    def fingerprint(self, reader: Reader, source: Path) -> str | None:
        """SHA-256 of the names and tags of a source's objects, without fetching them.

        None for local sources, and where it cannot be told yet which files belong to it. Equal
        ones mean equal content; other ones mean nothing, since not all of a source's files may be
        known before they are read.
        """
        if not self._is_ours(source):
            return None
        digest = hashlib.sha256()
        try:
            files = list(reader.files(source))
        except BadInput:
            return None
        for file in files:
            entry = self._there.get(file)
            if entry is None:
                return None
            digest.update(f"{entry.uri}\0{entry.size}\0{entry.tag}\0".encode())
        return f"tags:{digest.hexdigest()}"

    def renamed(self) -> Callable[[Log | Rejected], Log | Rejected]:
        """A function, also for other processes, that names the objects instead of the mirror."""
        return same if self._folder is None else _Renamer(self._folder.name)

    def told(self, error: BadInput) -> BadInput:
        """An error as it is to be told."""
        if self._folder is None:
            return error
        return type(error)(
            self._named(error.path), self._named(error.reason), record=error.record,
            hint=self._named(error.hint),
        )  # fmt: skip

    @property
    def _root(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="scenelake-remote-")
        return Path(self._folder.name)

    def _is_ours(self, path: Path) -> bool:
        return self._folder is not None and path.is_relative_to(self._folder.name)

    def _named(self, text: str) -> str:
        return text if self._folder is None else _Renamer(self._folder.name).text(text)

    def _place(self, uri: str) -> Path | None:
        """Where an object stands in the mirror; None for what is no file in a folder."""
        inside = _inside(uri)
        if any(part in ("", ".", "..") for part in inside.split("/")):
            return None
        return self._root / inside

    def _videos(self, source: Path) -> Iterator[Path]:
        """Videos of a source that is a folder: their stamps stand within them."""
        if source.is_dir():
            for file in self._there:
                if _VIDEO.match(file.name) and file.is_relative_to(source):
                    yield file

    def _peek(self, place: Path) -> None:
        entry = self._there[place]
        if entry.size <= 2 * EDGE_BYTES:
            self._fetch(place)
            return
        edges = [(0, EDGE_BYTES), (entry.size - EDGE_BYTES, entry.size)]
        with place.open("r+b") as file:
            for (begin, _), data in zip(edges, remote.read_ranges(entry.uri, edges), strict=True):
                file.seek(begin)
                file.write(data)

    def _fetch(self, place: Path) -> None:
        entry = self._there[place]
        with place.open("r+b") as file:
            for piece in remote.read_object(entry.uri):
                file.write(piece)
        self._whole.add(place)
        self._held.setdefault(place, 0)

    def _make_room(self, wanted: int) -> None:
        """Forget whole files that no source is read from, the oldest first."""
        kept = sum(self._there[file].size for file in self._held if file in self._whole)
        for file in list(self._held):
            if kept + wanted <= KEPT_BYTES:
                return
            if not self._held[file] and file in self._whole:
                self._whole.discard(file)
                del self._held[file]
                os.truncate(file, 0)
                os.truncate(file, self._there[file].size)
                kept -= self._there[file].size


def same(item: Log | Rejected) -> Log | Rejected:
    """What was read here needs no other name."""
    return item


def is_payload(uri: str) -> bool:
    """Whether an object is a single image or point cloud, by its name."""
    return bool(_PAYLOAD.match(uri) or _SWEEP.match(uri))


class _Renamer:
    """Names objects of a store instead of the files that stand for them in a mirror."""

    def __init__(self, folder: str) -> None:
        schemes = "|".join(remote.SCHEMES)
        self._pattern = re.compile(f"{re.escape(folder)}/({schemes})/")

    def text(self, text: str) -> str:
        return self._pattern.sub(r"\1://", text)

    def __call__(self, item: Log | Rejected) -> Log | Rejected:
        if isinstance(item, Rejected):
            return replace(
                item, record=self.text(item.record), reason=self.text(item.reason),
                notes=self._notes(item.notes),
            )  # fmt: skip
        return replace(
            item,
            source_uri=self.text(item.source_uri),
            frames=[replace(frame, uri=self.text(frame.uri)) for frame in item.frames],
            notes=self._notes(item.notes),
        )

    def _notes(self, notes: Iterable[Any]) -> list[Any]:
        return [replace(note, reason=self.text(note.reason)) for note in notes]


def _inside(address: str) -> str:
    """``s3://bucket/a/b`` as a path: ``s3/bucket/a/b``."""
    return address.rstrip("/").replace("://", "/", 1)


def _make_sparse(place: Path, size: int) -> bool:
    """A file of that size that takes no room; False where a folder bears its name already."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.truncate(size)
    except (IsADirectoryError, FileExistsError, NotADirectoryError):
        return False  # an object and a "folder" of one name: stores allow what files do not
    return size > 0


def _in_parallel(work: Callable[[Path], None], places: Iterable[Path]) -> None:
    with ThreadPoolExecutor(FETCHERS) as pool:
        for _ in pool.map(work, places):
            pass

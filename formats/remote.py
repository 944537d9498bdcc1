"""Files on object stores: ``s3://``, ``gs://`` and ``az://`` addresses, read where they lie.

Options are those of the libraries beneath (Rust's ``object_store``), the same for the lake's tables
and for single files: ``aws_access_key_id``, ``aws_endpoint``, ``google_service_account``,
``azure_storage_account_name``, …. They are taken from the environment (``AWS_ENDPOINT`` and so on)
or told by :func:`use`; this process remembers them in memory, and nothing stores or prints them.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from schemas.errors import BadSetting, UnreadableFile

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
BUFFER_BYTES = 2**20  # [bytes] read ahead where a file is read in pieces
RETRY = {"max_retries": 4, "retry_timeout_s": 20}
"""A store that does not answer is told within half a minute, not the library's three."""

_CLIENT_KEYS = frozenset((
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type",
    "http1_only", "http2_keep_alive_interval", "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle", "http2_only", "pool_idle_timeout", "pool_max_idle_per_host",
    "proxy_ca_certificate", "proxy_excludes", "proxy_url", "randomize_addresses", "timeout",
    "user_agent",
))  # fmt: skip
_TABLE_KEYS = frozenset(("client_max_retries", "client_retry_timeout", "download_retry_count"))
"""Options that concern Lance alone."""

_OPTIONS: dict[str, dict[str, str]] = {}
"""What was told, by ``scheme://bucket`` and by ``scheme`` for the buckets nothing was told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object of a store.

    Attributes:
        uri: Its whole address.
        size: [bytes].
        tag: What changes with its content (the store's entity tag).
    """

    uri: str
    size: int
    tag: str


def address(uri: str | Path) -> str | None:
    """An address of an object store, also one that went through a ``Path``; None for others."""
    scheme, slash, rest = str(uri).partition(":/")
    return f"{scheme}://{rest.strip('/')}" if slash and scheme in SCHEMES else None


def is_remote(uri: str | Path) -> bool:
    """Whether an address is one of an object store."""
    return address(uri) is not None


def use(uri: str, options: Mapping[str, str]) -> None:
    """Remember options for the bucket of an address, and for others of its kind without any."""
    told = {str(key): str(value) for key, value in options.items()}
    scheme, bucket = _bucket_of(uri)
    _OPTIONS[bucket] = told
    _OPTIONS.setdefault(scheme, told)


def options_for(uri: str) -> dict[str, str]:
    """Options that were told for an address; the libraries add those of the environment."""
    scheme, bucket = _bucket_of(uri)
    return dict(_OPTIONS.get(bucket, _OPTIONS.get(scheme, {})))


def told_options() -> dict[str, dict[str, str]]:
    """All that was told, for processes that this one starts."""
    return {place: dict(options) for place, options in _OPTIONS.items()}


def use_all(told: Mapping[str, Mapping[str, str]]) -> None:
    """In a process that was started: what :func:`told_options` said in its parent."""
    _OPTIONS.update({place: dict(options) for place, options in told.items()})


def store_at(uri: str) -> ObjectStore:
    """A store whose paths count from an address.

    Raises:
        BadSetting: An option is not understood, or the address is no place.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    told = {key.lower(): value for key, value in options_for(uri).items()}
    client = {key: told[key] for key in told if key in _CLIENT_KEYS}
    config = {key: told[key] for key in told if key not in _CLIENT_KEYS | _TABLE_KEYS}
    try:
        return from_url(
            uri,
            config=cast("Any", config or None),
            client_options=cast("Any", _typed(client) or None),
            retry_config=cast("Any", _retry()),
        )
    except (BaseError, ValueError) as error:
        raise BadSetting(
            f"No object store can be reached at {uri}: {reason_of(error)}.",
            hint="Options are those of Rust's object_store: aws_…, google_…, azure_….",
        ) from error


@contextmanager
def open_uri(uri: str | Path) -> Iterator[BinaryIO]:
    """A file, here or on an object store, to read from anywhere within.

    Raises:
        UnreadableFile: An object is not there, may not be read, or its store cannot be reached.
        OSError: A file here cannot be opened.
    """
    text = address(uri)
    if text is None:
        with Path(uri).open("rb") as file:
            yield file
        return
    ranges = _Ranges(text, size_of(text))
    with io.BufferedReader(ranges, BUFFER_BYTES) as remote:
        yield cast(BinaryIO, remote)


def read_ranges(uri: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Bytes of an object, by begin and end; neighbours are asked for together.

    Raises:
        UnreadableFile: As :func:`open_uri`.
    """
    import obstore

    store, key = _at(uri)
    with asking(uri):
        found = obstore.get_ranges(
            store, key, starts=[begin for begin, _ in ranges], ends=[end for _, end in ranges]
        )
        return [bytes(data) for data in found]


def read_object(uri: str) -> Iterator[bytes]:
    """All of an object, in pieces.

    Raises:
        UnreadableFile: As :func:`open_uri`.
    """
    import obstore

    store, key = _at(uri)
    with asking(uri):
        for piece in obstore.get(store, key).stream(min_chunk_size=8 * BUFFER_BYTES):
            yield bytes(piece)


def size_of(uri: str) -> int:
    """Bytes of an object.

    Raises:
        UnreadableFile: As :func:`open_uri`.
    """
    import obstore

    store, key = _at(uri)
    with asking(uri):
        return int(obstore.head(store, key)["size"])


def listing(uri: str) -> Iterator[Entry]:
    """The objects at or under an address, by name.

    Raises:
        UnreadableFile: The store cannot be reached or refuses.
    """
    import obstore

    store, key = _at(uri)
    found: list[Any] = []
    with asking(uri):
        if key:
            with suppress(FileNotFoundError):
                found.append(obstore.head(store, key))
        found += [meta for chunk in obstore.list(store, key or None) for meta in chunk]
    root = uri.rstrip("/").removesuffix(key)
    for meta in sorted(found, key=lambda meta: str(meta["path"])):
        yield Entry(
            uri=f"{root.rstrip('/')}/{meta['path']}",
            size=int(meta["size"]),
            tag=str(meta["e_tag"] or meta["last_modified"]),
        )


@contextmanager
def asking(uri: str) -> Iterator[None]:
    """Tell what a store answers in our words.

    Raises:
        UnreadableFile: It is not there, not permitted, or the store cannot be reached.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFile(uri, "does not exist", hint="Check the spelling.") from error
    except (PermissionError, BaseError) as error:
        raise UnreadableFile(
            uri,
            f"cannot be read ({reason_of(error)})",
            hint="Check the address, the endpoint and the credentials (AWS_… and so on).",
        ) from error


def reason_of(error: Exception) -> str:
    """The first line of what a store says, without the address that was asked."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return line.split(": <?xml")[0].rstrip(":. ")


class _Ranges(io.RawIOBase):
    """An object as a file that is read by ranges."""

    def __init__(self, uri: str, size: int) -> None:
        super().__init__()
        self._uri, self._size, self._at = uri, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        (data,) = read_ranges(self._uri, [(self._at, end)])
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _bucket_of(uri: str) -> tuple[str, str]:
    """``s3`` and ``s3://bucket``."""
    scheme, _, rest = uri.partition("://")
    return scheme, f"{scheme}://{rest.partition('/')[0]}"


def _at(uri: str) -> tuple[ObjectStore, str]:
    """The bucket of an address, and the key in it; connections are used again."""
    _, root = _bucket_of(uri)
    key = uri.removeprefix(root).strip("/")  # it may hold what addresses of the web may not
    return _bucket(root, tuple(sorted(options_for(uri).items()))), key


@functools.lru_cache(maxsize=32)
def _bucket(root: str, _: tuple[tuple[str, str], ...]) -> ObjectStore:
    return store_at(root)


def _typed(client: Mapping[str, str]) -> dict[str, str | bool]:
    words = {"true": True, "false": False, "1": True, "0": False}
    return {key: words.get(value.lower(), value) for key, value in client.items()}


def _retry() -> dict[str, object]:
    from datetime import timedelta

    return {
        "max_retries": RETRY["max_retries"],
        "retry_timeout": timedelta(seconds=RETRY["retry_timeout_s"]),
    }

"""Which weights ship with Scenelake, and how weights are called; known without loading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.errors import UnreadableFile

SHIPPED = Path(__file__).parent / "weights" / "generator.safetensors"
"""Trained on the procedural world alone; the file's metadata holds the command."""


def name_of(path: str | Path | None = None) -> str:
    """What a generator from a file is called, the shipped one by default; it is not loaded.

    Raises:
        UnreadableFile: There is no such file.
    """
    path = Path(path or SHIPPED)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UnreadableFile(
            path,
            f"cannot be read ({error.strerror or error})",
            hint="Scenelake ships with it: install it anew."
            if path == SHIPPED
            else "`train generator` makes one.",
        ) from error
    return f"generator-{digest[:12]}"

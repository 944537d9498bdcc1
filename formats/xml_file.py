"""XML documents of foreign making: parsed whole, without entities, network or namespaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import etree

from formats.files import read_bytes
from formats.tree import head
from schemas.errors import UnreadableFile


def read_xml(path: Path, root: str) -> Any:
    """The root element of a file, its tags without namespaces and its comments gone.

    Args:
        path: The file, perhaps packed.
        root: What the root's tag must be.

    Raises:
        UnreadableFile: It is no XML, is cut off, or has another root.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    content = read_bytes(path)
    try:
        found = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        hint = "Was the file written to its end?"
        raise UnreadableFile(path, f"is not XML ({error})", hint=hint) from error
    if b"xmlns" in content:
        for element in found.iter(etree.Element):
            if isinstance(element.tag, str) and element.tag.startswith("{"):
                element.tag = element.tag.rpartition("}")[2]
    if found.tag != root:
        raise UnreadableFile(path, f"is no {root} file: its root is <{found.tag}>")
    return found


def begins_with(file: Path, root: bytes) -> bool:
    """Whether a file's first bytes open this root element.

    Raises:
        UnreadableFile: There are no first bytes.
    """
    start = head(file)
    if not start:
        raise UnreadableFile(file, "is empty or cannot be read")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        start = start.decode("utf-16", errors="ignore").encode()
    return b"<" + root in start

"""Listing what lies under a path."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from formats.files import open_binary, understood
from formats.tree import head, matching, scanning
from schemas.errors import UnreadableFile


def test_files_by_name_packed_or_not_and_not_hidden(tmp_path: Path) -> None:
    for name in ("b.json", "a/c.json.gz", "a/d.csv", ".hidden/e.json", "a/.f.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = [str(path.relative_to(tmp_path)) for path in matching(tmp_path, "*.json")]
    assert found == ["a/.f.json", "a/c.json.gz", "b.json"]


def test_pipes_sockets_and_folders_are_no_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    os.mkfifo("pipe.json")
    (tmp_path / "link.json").symlink_to("pipe.json")
    (tmp_path / "folder.json").mkdir()
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.json")
        assert list(matching(tmp_path, "*.json")) == []
        for name in ("pipe.json", "link.json", "folder.json", "plug.json"):
            assert list(matching(tmp_path / name, "*.json")) == []
            with (
                pytest.raises(UnreadableFile, match=r"is no file|is a folder"),
                open_binary(tmp_path / name),
            ):
                pass


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_text("{}")
    (tmp_path / "y.json").symlink_to(tmp_path / "a" / "x.json")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in matching(tmp_path, "*.json")]
    assert found == ["a/x.json", "y.json"]


def test_links_that_lead_nowhere_are_told_as_files_that_cannot_be_read(tmp_path: Path) -> None:
    lost, circle = tmp_path / "lost.json", tmp_path / "circle.json"
    lost.symlink_to(tmp_path / "nothing")
    circle.symlink_to(circle)
    with scanning():
        assert list(matching(tmp_path, "*.json")) == [lost]
        assert head(lost) == head(circle) == b""
    for path, reason in ((lost, "does not exist"), (circle, "cannot be read")):
        with pytest.raises(UnreadableFile, match=reason), open_binary(path):
            pass


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = [os.fsencode(tmp_path) + b"/" + name for name in (b"\xff\xfe.json", b"a\nb.json")]
    for name in odd:
        with open(name, "wb") as file:  # noqa: PTH123 (a name of bytes)
            file.write(b"x")
    assert sorted(os.fsencode(path) for path in matching(tmp_path, "*.json")) == sorted(odd)


def test_what_is_not_understood_is_told_with_its_file(tmp_path: Path) -> None:
    song = tmp_path / "x.json"
    with (
        pytest.raises(UnreadableFile, match=r"x\.json: is not a song \(KeyError: 'verse'\)"),
        understood(song, "a song"),
    ):
        {}["verse"]
    with pytest.raises(UnreadableFile, match="nothing there"), understood(song, "a song"):
        raise UnreadableFile(song, "nothing there")

"""All readers together, over folders that no single one of them was written for."""

from __future__ import annotations

import os
import random
import socket
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from formats import registry
from formats.registry import Rejected
from schemas.errors import BadInput

SUFFIXES = (
    ".json", ".csv", ".xml", ".db", ".pkl", ".bin", ".parquet", ".mcap", ".osm", ".txt", ".osi",
    ".xodr", ".xosc", ".shf", ".feather", ".arrow", ".npy", ".pb", ".db3", ".zarr", ".tfrecord",
    ".net.xml", ".json.gz", ".csv.gz", ".pkl.gz", ".scenelake.toml", ".gpkg", ".mp4", "",
)  # fmt: skip
OWN_SUFFIX = {".mcap", ".shf", ".tfrecord", ".scenelake.toml"}
"""Endings that say enough: such a file that is broken is told, not passed over."""
TEXTS = {
    ".json": b'{"answer": 42}', ".csv": b"a,b\n1,2\n", ".xml": b"<page/>", ".osm": b"<page/>",
    ".txt": b"1 2 3\n", ".net.xml": b"<page/>",
}  # fmt: skip
FOLDERS_THAT_FORMATS_HAVE = (
    "label_02/0000.txt", "calib/000000.txt", "velodyne/000000.bin", "maps/x.json", "sample.json",
    "global_pose/frame_times", "scenes/.zarray", "metadata.yaml", "oxts/timestamps.txt",
    "tfrecord-00000-of-00001", "scenario_x.parquet", "sd_x.pkl", "01_tracks.csv", "sync.arrow",
    "vehicle_tracks_000.csv", "city_SE3_egovehicle.feather", "lidar_box/x.parquet",
)  # fmt: skip
REAL = os.environ.get("SCENELAKE_REAL_DATA", "")


def test_ten_thousand_foreign_files_are_passed_over_quickly(tmp_path: Path) -> None:
    dice = random.Random(7)
    kinds = [suffix for suffix in SUFFIXES if suffix not in OWN_SUFFIX]
    for number in range(10_000):
        suffix = kinds[number % len(kinds)]
        path = tmp_path / f"{number % 97:02}" / f"{number}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(TEXTS.get(suffix, dice.randbytes(40) + b"\xff"))
    for format in registry.FORMATS.values():
        if format.reader:
            registry.reader(format.name)  # loading them is not what is timed
    began = time.process_time()
    found = list(registry.detect(tmp_path))
    assert time.process_time() - began < 5.0
    assert found == []


@pytest.fixture
def oddities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that is no ordinary file, under names that formats know."""
    root = tmp_path / "odd"
    names = [f"x{suffix}" for suffix in SUFFIXES] + list(FOLDERS_THAT_FORMATS_HAVE)
    plugs = []
    for kind in ("pipe", "socket", "lost", "circle", "folder", "empty", "named", "locked"):
        for name in names:
            path = root / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "pipe":
                    os.mkfifo(path)
                case "socket":
                    monkeypatch.chdir(path.parent)  # the name of a socket must be short
                    plugs.append(socket.socket(socket.AF_UNIX))
                    plugs[-1].bind(path.name)
                case "lost":
                    path.symlink_to(root / "nowhere")
                case "circle":
                    path.symlink_to(path)
                case "folder":
                    path.mkdir()
                case "empty":
                    path.touch()
                case "named":
                    for odd in (b"\xff\xfe", b"a\nb", b"\x1b[31m"):
                        named = path.with_name(os.fsdecode(odd) + path.name)
                        named.write_bytes(b"nothing\n")
                case "locked":
                    path.write_bytes(b"nothing\n")
                    path.chmod(0)
    for plug in plugs:
        plug.close()
    (root / "up").symlink_to(root)
    return root


def test_what_is_no_file_neither_stops_nor_breaks_detection(oddities: Path) -> None:
    found = list(registry.detect(oddities))
    places = {source.relative_to(oddities).parts[0] for _, source in found}
    assert not places & {"pipe", "socket", "folder", "up"}
    for name, source in found:
        list(registry.reader(name).files(source))
        with suppress(BadInput):
            assert all(isinstance(x, Rejected) for x in registry.reader(name).read(source))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["void", "folder"])
def test_an_empty_file_of_any_kind(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"x{suffix}"
    if kind == "void":
        path.touch()
    else:
        (path / "deeper").mkdir(parents=True)
        (path / "note.md").write_text("nothing")
    for name, source in registry.detect(path):
        with pytest.raises(BadInput, match=path.name):
            list(registry.reader(name).read(source))


@pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
def test_every_real_file_belongs_to_one_reader() -> None:
    root = Path(REAL)
    claims: dict[Path, set[str]] = defaultdict(set)
    for name, source in registry.detect(root):
        claims[source].add(name)
    assert len(claims) > 300
    assert {source: names for source, names in claims.items() if len(names) > 1} == {}

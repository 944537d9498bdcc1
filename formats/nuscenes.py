"""nuScenes: relational JSON tables that point at samples, sweeps and maps; and its kin.

    <root>/v1.0-*/{scene,sample,sample_data,sample_annotation,instance,category,attribute,
                   visibility,sensor,calibrated_sensor,ego_pose,log,map,lidarseg,panoptic}.json
    <root>/samples/, <root>/sweeps/              captures: key frames (2 Hz), all others
    <root>/maps/expansion/<location>.json        see formats.nuscenes_map
    <root>/can_bus/<scene>_<message>.json        see formats.nuscenes_can

A source is the folder of tables; each scene is one log. Boxes are told in the world at the key
frames; the vehicle (centre of the rear axle, on the ground) at every capture of every sensor, so
its track is dense. The tables are gone through once and not held in memory.

Two relatives share the tables: Lyft Level 5 perception (``v1.0*-train/``; poses are stamped with
the key frame instead of the capture, so captures tell the time) and TIER IV's T4 (``annotation/``,
``data/``, ``map/lanelet2_map.osm``, ``vehicle_state.json``, boxes in images).

What a box has besides its state becomes events of its track: each attribute and each level of
visibility as an interval of consecutive key frames, and one ``sample_annotation`` with tokens and
counts of points. Each key frame is an event ``sample`` that names its captures.

Sources: github.com/nutonomy/nuscenes-devkit, ``docs/schema_nuscenes.md`` and ``utils/splits.py``;
github.com/tier4/t4-devkit, ``docs/schema/table.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from formats.files import present
from formats.json_table import records
from formats.media import Points
from formats.nuscenes_can import can_files
from formats.nuscenes_scene import SceneReader
from formats.nuscenes_tables import BOXES, NEEDED, TABLES, WORDS, Maps, Tables
from formats.nuscenes_words import SWEEP_COLUMNS
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import matching
from schemas.errors import BadInput
from schemas.records import Log


def sources(path: Path) -> Iterator[Path]:
    """Folders of tables at or under a path; of one of the tables, its folder."""
    folders = {file.parent for file in matching(path, *(f"{name}.json" for name in TABLES))}
    yield from sorted(folder for folder in folders if _is_ours(folder))


def files(source: Path) -> Iterator[Path]:
    """Tables, maps, and the bus messages of its scenes; no captures."""
    for name in TABLES:
        found = present(source / f"{name}.json")
        if found is not None:
            yield found
    root = source.parent
    for folder in (root / "maps" / "expansion", root / "maps"):
        for file in matching(folder, "*.json") if folder.is_dir() else ():
            if file.parent == folder:
                yield file
    lanelets = present(root / "map" / "lanelet2_map.osm")
    if lanelets is not None:
        yield lanelets
    if (root / "can_bus").is_dir():
        for scene in _scene_names(source):
            yield from can_files(root, scene)


def read(source: Path) -> Iterator[Log | Rejected]:
    """One log a scene, in the order of the table.

    A scene whose map or bus messages are damaged, or whose records do not hang together, is
    rejected; the others are read.

    Raises:
        UnreadableFile: A table is missing or damaged.
    """
    with ExitStack() as stack:
        tables = Tables(source, stack)
        maps = Maps(tables.files)
        names: Counter[str] = Counter()
        for scene in tables.scenes:
            name = str(scene.get("name") or scene.get("token") or "")
            names[name] += 1
            record = name if names[name] == 1 else f"{name}#{names[name]}"
            tally = Tally()
            if sum(names.values()) == 1:
                tables.count_orphans(tally)
            if names[name] > 1:
                tally.add("renamed", "another scene of this folder has the same name")
            try:
                yield SceneReader(tables, maps, scene, record, tally).log()
            except BadInput as error:
                yield Rejected(record=record, reason=str(error), notes=tally.notes())
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                reason = f"its records are not understood ({type(error).__name__}: {error})"
                yield Rejected(record=record, reason=reason, notes=tally.notes())


def decode_sweep(data: bytes) -> Points:
    """A ``.pcd.bin``: rows of five float32, in the sensor's frame (T4's joined clouds: the ego's).

    Raises:
        ValueError: The bytes are no whole number of points.
    """
    width = 4 * len(SWEEP_COLUMNS)
    if len(data) % width:
        raise ValueError(f"{len(data)} bytes are no whole number of points of {width} bytes")
    rows = np.frombuffer(data, dtype="<f4").reshape(-1, len(SWEEP_COLUMNS))
    return Points(
        xyz=rows[:, :3].astype(np.float64),
        frame="sensor",
        channels={"intensity": rows[:, 3], "ring": rows[:, 4]},
    )


def _is_ours(folder: Path) -> bool:
    """Whether most tables are there; nuImages shares many but has no scenes and no boxes."""
    names = [n for n in (*NEEDED, *BOXES, *WORDS) if present(folder / f"{n}.json") is not None]
    return len(names) >= len(NEEDED) and bool({"scene", "sample_annotation"} & set(names))


def _scene_names(source: Path) -> list[str]:
    path = present(source / "scene.json")
    try:
        return [] if path is None else [str(scene.get("name")) for scene in records(path)]
    except BadInput:
        return []  # reading says what is wrong with it

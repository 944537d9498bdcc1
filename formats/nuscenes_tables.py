"""The tables of nuScenes and its kin, by token, and the files that they name.

Small tables are held in memory, large ones stay on disk (:class:`~formats.json_table.JsonTable`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from formats.argoverse2 import AXLE_TO_CENTRE
from formats.files import present
from formats.json_table import JsonTable, Record, records
from formats.nuscenes_map import read_map
from formats.tally import Tally
from schemas.errors import UnreadableFile
from schemas.records import Note, RoadMap

NEEDED = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")
BOXES = ("sample_annotation", "instance", "category")
WORDS = ("attribute", "visibility", "log", "map")
EXTRA = ("lidarseg", "panoptic", "object_ann", "surface_ann", "keypoint", "traffic_light",
         "vehicle_state")  # fmt: skip
TABLES = (*NEEDED, *BOXES, *WORDS, *EXTRA)

US = 1000  # [ns] of a stamp's unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What sets one relative apart.

    Attributes:
        dataset: As in the lake.
        license: Of the published data.
        rate_hz: Of the key frames; None: as measured.
        ego_size: (length, width, height) [m].
        axle_to_centre: From the rear axle forward to the middle of the box [m].
        poses_tell_time: Whether a pose is stamped with its own time.
        ego_guess: What of the vehicle's box is not told by the source, in a sentence.
    """

    dataset: str
    license: str | None
    rate_hz: float | None
    ego_size: tuple[float, float, float]
    axle_to_centre: float
    poses_tell_time: bool
    ego_guess: str

    @property
    def ego_centre(self) -> tuple[float, float, float]:
        """Middle of the vehicle's box in its own frame, whose origin is on the ground [m]."""
        return self.axle_to_centre, 0.0, self.ego_size[2] / 2.0


NUSCENES = Family(
    dataset="nuscenes", license="CC BY-NC-SA 4.0", rate_hz=2.0, poses_tell_time=True,
    ego_size=(4.084, 1.730, 1.562), axle_to_centre=1.385,
    ego_guess="the vehicle's box is that of a Renault Zoe, its place over the axle an estimate",
)  # fmt: skip
"""Figures as py123d takes them (``nuscenes_constants.py``), which calls them estimates."""
LYFT = Family(
    dataset="lyft_l5_perception", license="CC BY-NC-SA 4.0", rate_hz=5.0, poses_tell_time=False,
    ego_size=(4.87, 1.85, 1.8), axle_to_centre=AXLE_TO_CENTRE,
    ego_guess="the vehicle's box is that of a Ford Fusion, its origin taken to be the rear axle",
)  # fmt: skip
"""Size from l5kit (``rasterizer.py``; the height includes sensors), for the same maker's cars; the
lever is that of Argoverse's cars, which are of the same model."""
T4 = Family(
    dataset="t4", license=None, rate_hz=None, poses_tell_time=True,
    ego_size=(4.89, 1.896, 2.5), axle_to_centre=1.345,
    ego_guess="the vehicle's size is not told; that of Autoware's sample vehicle is taken",
)  # fmt: skip
"""Autoware's ``sample_vehicle_description``: wheelbase 2.79, overhangs 1.0 and 1.1 m; width 1.64 +
2 × 0.128 m."""


def stamp_ns(value: Any) -> int:
    """Microseconds, whole or with decimals, as exact nanoseconds.

    Raises:
        ValueError: It is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the stamp {value!r} is no number")
    return value * US if isinstance(value, int) else round(Decimal(repr(value)) * US)


def vector(value: Any, size: int) -> tuple[float, ...] | None:
    """A list of that many finite numbers; None if it is none."""
    if value is None:
        return None
    try:
        if len(value) != size or not math.isfinite(sum(value)):
            return None
        return tuple(map(float, value))
    except (TypeError, ValueError):
        return None


def quaternion(value: Any) -> tuple[float, ...] | None:
    """A quaternion, scalar first, that is none of length 0; None if it is none."""
    found = vector(value, 4)
    return found if found is not None and math.hypot(*found) > 1e-6 else None


class Tables:
    """The tables of a folder: small ones by token, large ones on disk."""

    def __init__(self, source: Path, stack: ExitStack) -> None:
        self.source = source
        self.files = Files(source)
        for name in NEEDED:
            if present(source / f"{name}.json") is None:
                raise UnreadableFile(
                    source / f"{name}.json", "does not exist",
                    hint="Fetch the whole metadata archive again.",
                )  # fmt: skip
        self.scenes = list(records(self._path("scene")))
        if not self.scenes:
            raise UnreadableFile(self._path("scene"), "lists no scene")
        self.samples: dict[str, list[Record]] = {}
        for sample in records(self._path("sample")):
            self.samples.setdefault(str(sample.get("scene_token")), []).append(sample)
        self.sensors = self._by_token("sensor")
        self.calibrations = self._by_token("calibrated_sensor")
        self.instances = self._by_token("instance")
        self.categories = self._by_token("category")
        self.attributes = self._by_token("attribute")
        self.visibilities = self._by_token("visibility")
        self.drives = self._by_token("log")
        self.masks = list(self._by_token("map").values())
        self.lights = {
            str(row.get("instance_token")): str(row.get("primitive_id"))
            for row in self._by_token("traffic_light").values()
        }
        self.captures = stack.enter_context(
            JsonTable(self._path("sample_data"), by="sample_token")
        )
        self.poses = stack.enter_context(JsonTable(self._path("ego_pose"), by="token"))
        self.boxes = self._large("sample_annotation", "sample_token", stack)
        self._on_capture = {
            name: table
            for name in ("lidarseg", "panoptic", "object_ann", "surface_ann", "keypoint")
            if (table := self._large(name, "sample_data_token", stack)) is not None
        }
        self.has_labels = bool(self._on_capture)
        self.family = _family(source, self.scenes)

    def count_orphans(self, tally: Tally) -> None:
        """Rows of the whole folder that no scene will ask for."""
        scenes = {str(scene.get("token")) for scene in self.scenes}
        lost = sum(len(rows) for token, rows in self.samples.items() if token not in scenes)
        tally.add("dropped", "key frames of the folder whose scene is not in the table", lost)
        samples = {str(row.get("token")) for rows in self.samples.values() for row in rows}
        if len(self.scenes) == 1:
            samples.add("")
        for table, what in ((self.captures, "captures"), (self.boxes, "boxes")):
            if table is not None:
                reason = f"{what} of the folder whose key frame is not in the table"
                tally.add("dropped", reason, table.strangers(samples))

    def about(self, name: str, capture: str) -> Iterator[Record]:
        """Rows of an optional table that concern a capture."""
        if name in self._on_capture:
            yield from self._on_capture[name].of(capture)

    def vehicle_states(self) -> Iterator[Record]:
        """Of T4."""
        path = present(self.source / "vehicle_state.json")
        yield from () if path is None else records(path)

    def _path(self, name: str) -> Path:
        path = self.source / f"{name}.json"
        return present(path) or path

    def _by_token(self, name: str) -> dict[str, Record]:
        path = present(self.source / f"{name}.json")
        return {} if path is None else {str(row.get("token")): row for row in records(path)}

    def _large(self, name: str, by: str, stack: ExitStack) -> JsonTable | None:
        path = present(self.source / f"{name}.json")
        return None if path is None else stack.enter_context(JsonTable(path, by=by))


def _family(source: Path, scenes: Sequence[Record]) -> Family:
    if source.name == "annotation":
        return T4
    lyft = source.name.startswith(("v1.01", "v1.02")) or str(
        scenes[0].get("name") or ""
    ).startswith("host-")
    return LYFT if lyft else NUSCENES


class Maps:
    """Road maps by file; each is read once and shared."""

    def __init__(self, files_: Files) -> None:
        self.root, self.files = files_.root, files_
        self._read: dict[Path, tuple[RoadMap, list[Note]] | UnreadableFile] = {}

    def expansion(self, location: str) -> tuple[RoadMap, list[Note]] | None:
        """Of a location of nuScenes; None without a file."""
        name = f"{location}.json"
        if not location or Path(name).name != name:
            return None
        for folder in (self.root / "maps" / "expansion", self.root / "maps"):
            path = present(folder / name)
            if path is not None:
                return self._once(path, read_map)
        return None

    def lanelets(self, filename: str) -> tuple[RoadMap, list[Note]] | None:
        """A Lanelet2 map of T4; None without a file."""
        uri = self.files.uri(filename)
        found = None if uri is None else present(Path(uri))
        if found is None:
            return None
        from formats import lanelet2

        return self._once(found, lanelet2.read_map)

    def _once(
        self, path: Path, reader: Callable[[Path], tuple[RoadMap, list[Note]]]
    ) -> tuple[RoadMap, list[Note]]:
        if path not in self._read:
            try:
                self._read[path] = reader(path)
            except UnreadableFile as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, UnreadableFile):
            raise UnreadableFile(found.path, found.reason, hint=found.hint)
        return found


class Files:
    """Captures by the names that tables give them, below the folder that holds the tables'."""

    def __init__(self, source: Path) -> None:
        self.root = source.parent
        self._prefix = source.name.split("_")[0]
        self._folders: dict[str, str | None] = {}

    def uri(self, filename: Any) -> str | None:
        """The path of a file; None for a name that leads out of the dataset, or is none."""
        if not isinstance(filename, str) or "\0" in filename:
            return None
        folder, _, name = filename.rpartition("/")
        if name in ("", os.curdir, os.pardir) or filename.startswith("/"):
            return None
        if folder not in self._folders:
            self._folders[folder] = self._folder(folder)
        found = self._folders[folder]
        return None if found is None else f"{found}/{name}"

    def _folder(self, folder: str) -> str | None:
        normal = Path(os.path.normpath(folder or os.curdir))
        if os.pardir in normal.parts:
            return None
        path = self.root / normal
        # Kaggle's copy of Lyft puts `train_` before the folders, but not into the tables.
        beside = path.with_name(f"{self._prefix}_{path.name}") if folder else path
        return str(beside if beside.is_dir() and not path.is_dir() else path)

"""Dense scenes as torch tensors: random access by row, whole batches in one read, in any worker.

    data = lake.dataset(where="dataset = 'nuplan'", config=SampleConfig(agents=32))
    for batch in data.loader(batch_size=32, shuffle=True, workers=2):
        batch["agents"]  # (32, 32, 100, 6)

A dataset is pinned to the versions that the lake had when it was made, so that rows never move and
an epoch can be repeated. It goes to worker processes as an address, never as an open file; workers
are started afresh (Lance does not survive a fork).

Without a ``config`` a sample is the scene as it is, arrays of its own lengths; with one, everything
has the shape that the configuration says, padded and marked, and samples can be stacked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from geometry.arrays import Array
from lake.dense import PIECE_DTYPES, unpack_pieces, unpack_signals, unpack_tracks
from lake.limits import id_of, real, whole
from lake.media import Capture, image_of, nearest_frames
from schemas.errors import BadInput, BadQuery, MissingData, UnknownName
from schemas.scene import DT, PIECE_POINTS, RoadPieces, Signals, Tracks

if TYPE_CHECKING:
    import polars as pl
    import torch

    from lake.lake import Lake

SAMPLE_BYTES = 2**30
"""A sample of a larger shape is a slip of the pen: no batch of them would fit [bytes]."""

MAP_BYTES = 256 * 2**20
"""How much of maps a process keeps, since scenes of one map are often read together [bytes]."""


class State(IntEnum):
    """Columns of ``agents``."""

    X = 0
    Y = 1
    Z = 2
    YAW = 3
    VX = 4
    VY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """Shapes of a sample.

    Attributes:
        steps: Of 0.1 s. A longer scene is cut to those round its "now", a shorter one padded.
        history: Steps before "now" that a cut keeps.
        agents: How many; the ego first, then the nearest to it at "now".
        pieces: Road pieces, the nearest first.
        lights: Signals, the nearest first.
        reach_m: Road pieces whose middle is farther from the focus are left out [m].
        frame: ``log``: the log's frame; ``ego``: the ego's pose at "now" (of the first agent where
            there is no ego).
        images: Cameras whose image nearest to "now" comes along.
        image_size: Height and width of images [px].
        image_tolerance_s: How far from "now" an image may be taken [s].

    Raises:
        BadQuery: A number is none that can be, or a sample would take more than ``SAMPLE_BYTES``.
    """

    steps: int = 100
    history: int = 10
    agents: int = 64
    pieces: int = 512
    lights: int = 32
    reach_m: float = 120.0
    frame: Literal["log", "ego"] = "ego"
    images: tuple[str, ...] = ()
    image_size: tuple[int, int] = (224, 400)
    image_tolerance_s: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("history", 0),
            ("agents", 1),
            ("pieces", 0),
            ("lights", 0),
        ):
            whole(name, getattr(self, name), least=least, most=10**6)
        for extent in self.image_size:
            whole("image_size", extent, least=1, most=2**15)
        real("reach_m", self.reach_m, least=0.0, most=1e6, unit="m")
        real("image_tolerance_s", self.image_tolerance_s, least=0.0, most=1e6)
        if self.frame not in ("log", "ego"):
            raise UnknownName("frame of samples", str(self.frame), ("log", "ego"))
        size = self.steps * (self.agents * (4 * len(State) + 1) + 8 * self.lights)
        size += self.pieces * PIECE_POINTS * 3 * 4
        size += len(self.images) * 3 * self.image_size[0] * self.image_size[1]
        if size > SAMPLE_BYTES:
            raise BadQuery(
                f"A sample of {self.steps:,} steps, {self.agents:,} agents, {self.pieces:,} pieces and "
                f"{len(self.images)} images would take {size / 2**30:,.1f} GiB.",
                hint="Ask for less of them; a scene of 10 s has 100 steps.",
            )


class SceneDataset:
    """A map-style dataset of scenes; see the module.

    Args:
        lake: Pinned to one moment.
        where: Lance filter on ``scenes``.
        scene_ids: Which, in which order; instead of ``where``.
        config: Shapes; None for scenes as they are.
        transform: Applied to every sample, in the worker.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        where: str | None = None,
        scene_ids: Sequence[int] | None = None,
        config: SampleConfig | None = None,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.lake, self.config, self.transform = lake, config, transform
        self._find(where, scene_ids)
        self._maps: OrderedDict[int, RoadPieces] = OrderedDict()
        self._map_bytes = 0

    def _find(self, where: str | None, scene_ids: Sequence[int] | None) -> None:
        """Which rows of ``dense`` and ``dense_maps`` make up which scene."""
        if scene_ids is not None and where is not None:
            raise BadQuery("Scenes are chosen by ids or by a filter, not by both.")
        columns = ["scene_id", "log_id", "t0_ns", "t_anchor_ns", "has_ego"]
        scenes = self.lake.read("scenes", columns, where)
        row_of = _places(self.lake.read("dense", ["scene_id"])["scene_id"])
        order = scenes["scene_id"].to_numpy()
        if scene_ids is not None:
            asked = np.array([id_of("scene", i) for i in scene_ids], dtype=np.int64)
            at, known = row_places(order, asked)
            if not known.all():
                missing = asked[~known][0]
                raise BadQuery(f"No scene has the id {missing}.", hint="Ids are in `scenes`.")
            scenes = scenes.take(pa.array(at))
        self.scene_ids: Int[Array, " scenes"] = scenes["scene_id"].to_numpy()
        self._rows, there = row_of(self.scene_ids)
        assert there.all(), "every scene has its dense row"
        self._log_ids = scenes["log_id"].to_numpy()
        self._now_ns = scenes["t_anchor_ns"].to_numpy()
        anchor = (self._now_ns - scenes["t0_ns"].to_numpy()) / (DT * 1e9)
        self._anchor = np.rint(anchor).astype(np.int64)
        self._has_ego = np.asarray(scenes["has_ego"]).astype(bool)
        logs = self.lake.read("logs", ["log_id", "map_id"])
        maps = np.asarray(logs["map_id"].fill_null(-1)).astype(np.int64)
        at, _ = row_places(logs["log_id"].to_numpy(), self._log_ids)
        map_row, known = _places(self.lake.read("dense_maps", ["map_id"])["map_id"])(maps[at])
        self._map_rows = np.where(known, map_row, -1)
        self._images: dict[str, list[Capture | None]] = {}
        if self.config is not None and self.config.images:
            cameras = self.lake.read("sensors", ["channel"], "kind = 'camera'")
            for channel in self.config.images:
                if channel not in (known := cameras["channel"].unique().to_pylist()):
                    raise UnknownName("camera", channel, known)
                self._images[channel] = nearest_frames(
                    self.lake, self._log_ids, self._now_ns, channel,
                    tolerance_ns=round(self.config.image_tolerance_s * 1e9),
                )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes no memory of maps."""
        return self.__dict__ | {"_maps": OrderedDict(), "_map_bytes": 0}

    def __len__(self) -> int:
        """How many scenes."""
        return len(self.scene_ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample, see :meth:`__getitems__`."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} scenes; {index} was asked for.")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Samples of several scenes, read in one go, in the order asked for.

        A sample is a dictionary of tensors. Without a configuration: ``scene_id``, ``anchor``,
        ``has_ego`` and the fields of :class:`~schemas.scene.Tracks`, :class:`~schemas.scene.Signals`
        (``signal_…``) and :class:`~schemas.scene.RoadPieces` (``road_…``). With one: what
        :meth:`collate` gives, without its first axis.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        parts = self._load(chosen, owned=self.config is None)
        if self.config is None:
            samples = [self._whole(i, part) for i, part in zip(chosen, parts, strict=True)]
        else:
            batch = self._padded(chosen, parts)
            samples = [
                {name: value[n] for name, value in batch.items()} for n in range(len(parts))
            ]
        return samples if self.transform is None else [self.transform(s) for s in samples]

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Samples of several scenes as one, without the way over single ones.

        Returns:
            With scenes, agents, steps, pieces and lights as the configuration says:
            ``scene_id`` (S), ``agents`` (S, A, T, 6; columns of :class:`State`), ``agents_valid``
            (S, A, T), ``agents_size`` (S, A, 3), ``agents_cls`` and ``agents_id`` (S, A; −1 where
            there is none), ``roads`` (S, R, 20, 3), ``roads_layer``, ``roads_type`` (S, R; −1),
            ``roads_limit`` (S, R; NaN), ``lights`` (S, L, T; codes of ``LightState``),
            ``lights_stop`` (S, L, 2; NaN), ``lights_valid`` (S, L), ``now`` (S; step), ``pose``
            (S, 3: x, y, yaw of the frame in the log's), ``has_ego`` (S), and with images
            ``images`` (S, C, H, W, 3; uint8) and ``images_valid`` (S, C).

        Raises:
            BadQuery: There is no configuration, so that scenes differ in shape.
            MissingData: An image that the lake tells of cannot be read.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        made = self._padded(chosen, self._load(chosen))
        return made if self.transform is None else self.transform(made)

    def loader(
        self,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        workers: int = 0,
        seed: int | None = None,
        drop_last: bool = False,
    ) -> torch.utils.data.DataLoader[dict[str, torch.Tensor]]:
        """A DataLoader of batches, each read in one go; with ``shuffle`` anew in every epoch.

        Raises:
            MissingData: No scene fits, so that there is nothing to load.
            BadQuery: A number is none that can be.
        """
        whole("batch_size", batch_size, least=1, most=10**6)
        whole("workers", workers, least=0, most=1024)
        if not len(self):
            raise MissingData(
                "This dataset has no scene to load.",
                hint="Loosen its `where`; `scenelake info` says what the lake holds.",
            )
        from torch.utils.data import DataLoader

        return DataLoader(
            _Batches(self),  # type: ignore[arg-type]
            batch_size=None,
            sampler=_sampler(len(self), batch_size, shuffle, seed, drop_last),
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
        )

    def stream(self, *, seed: int = 0, shuffle: bool = True) -> Any:
        """The same scenes as a torch ``IterableDataset``, see :mod:`lake.stream`."""
        from lake.stream import SceneStream

        return SceneStream(self, seed=seed, shuffle=shuffle)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of ``scenes`` of this dataset, in its order."""
        ids = self.lake.read("scenes", ["scene_id"])["scene_id"].to_numpy()
        at, _ = row_places(ids, self.scene_ids)
        return self.lake.read("scenes", columns).take(pa.array(at))

    def to_polars(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of ``scenes`` of this dataset, in its order."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow(columns))
        assert isinstance(frame, pl.DataFrame)
        return frame

    # Reading

    def _load(
        self, chosen: Array, *, owned: bool = False
    ) -> list[tuple[Tracks, Signals, RoadPieces]]:
        """Arrays of scenes: views of what was read, or with ``owned`` memory of their own."""
        dense = self.lake.table("dense")
        if dense is None or not len(chosen):
            return []
        rows, back = np.unique(self._rows[chosen], return_inverse=True)
        table = dense.take(rows, columns=["tracks", "signals"])
        tracks, signals = (_buffers(table[name]) for name in ("tracks", "signals"))
        maps = self._load_maps(self._map_rows[chosen])
        pairs = zip(back.tolist(), self._map_rows[chosen].tolist(), strict=True)
        if not owned:
            return [
                (unpack_tracks(tracks[n]), unpack_signals(signals[n]), maps[m]) for n, m in pairs
            ]
        return [
            (unpack_tracks(bytearray(tracks[n])), unpack_signals(bytearray(signals[n])), maps[m])
            for n, m in pairs
        ]

    def _load_maps(self, rows: Array) -> dict[int, RoadPieces]:
        wanted = set(rows.tolist())
        found = {row: self._maps[row] for row in wanted if row in self._maps}
        missing = np.array(sorted(wanted - set(found) - {-1}), dtype=np.int64)
        if len(missing):
            data = self.lake.table("dense_maps")
            assert data is not None
            cells = _buffers(data.take(missing, columns=["pieces"])["pieces"])
            for row, cell in zip(missing.tolist(), cells, strict=True):
                found[row] = self._maps[row] = unpack_pieces(cell)
                self._map_bytes += _bytes_of(found[row])
        for row in found:
            self._maps.move_to_end(row)
        while self._map_bytes > MAP_BYTES and len(self._maps) > 1:
            _, old = self._maps.popitem(last=False)
            self._map_bytes -= _bytes_of(old)
        found[-1] = NO_ROADS
        return found

    # Making samples

    def _whole(self, index: int, part: tuple[Tracks, Signals, RoadPieces]) -> dict[str, Any]:
        import torch

        made: dict[str, Any] = {
            "scene_id": int(self.scene_ids[index]),
            "anchor": int(self._anchor[index]),
            "has_ego": bool(self._has_ego[index]),
        }
        records: dict[str, Any] = dict(zip(("", "signal_", "road_"), part, strict=True))
        for prefix, record in records.items():
            for name in record.__slots__:
                array = getattr(record, name)
                # Maps are shared by samples, so each gets its own copy.
                made[prefix + name] = torch.from_numpy(
                    array.copy() if prefix == "road_" else array
                )
        return made

    def _padded(
        self, chosen: Array, parts: Sequence[tuple[Tracks, Signals, RoadPieces]]
    ) -> dict[str, torch.Tensor]:
        import torch

        if self.config is None:
            raise BadQuery(
                "Scenes differ in shape, so they cannot be batched as they are.",
                hint="Give lake.dataset(config=SampleConfig(...)).",
            )
        made = _blank(len(parts), self.config)
        made["scene_id"][:] = self.scene_ids[chosen]
        made["has_ego"][:] = self._has_ego[chosen]
        for n, (index, (tracks, signals, roads)) in enumerate(zip(chosen, parts, strict=True)):
            into = {name: array[n] for name, array in made.items()}
            made["now"][n] = _fill(
                into, tracks, signals, roads, int(self._anchor[index]), self.config
            )
            for c, channel in enumerate(self.config.images):
                source = self._images[channel][index]
                if source is not None:
                    into["images"][c] = self._image(source, int(self.scene_ids[index]))
                    into["images_valid"][c] = True
        return {name: torch.from_numpy(array) for name, array in made.items()}

    def _image(self, source: Capture, scene_id: int) -> Array:
        assert self.config is not None
        try:
            return image_of(source, lake=self.lake, size=self.config.image_size)
        except BadInput as error:
            raise MissingData(
                f"Scene {scene_id} has no image of {source.channel}: {error.message}.",
                hint="Bring the file back, or leave the scene out of the dataset. `scenelake verify` "
                "tells of all files that are not there; `scenelake copy-media` keeps images in the "
                "lake.",
            ) from error


class _Batches:
    """A dataset whose item is a whole batch, for a sampler that gives lists of indices."""

    def __init__(self, data: SceneDataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, indices: Sequence[int]) -> Any:
        if self._data.config is None:
            return self._data.__getitems__(indices)
        return self._data.batch(indices)


def _sampler(count: int, size: int, shuffle: bool, seed: int | None, drop_last: bool) -> Any:
    import torch
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

    generator = None
    if seed is not None:
        generator = torch.Generator()
        generator.manual_seed(seed)
    order: Any = range(count)
    chosen = RandomSampler(order, generator=generator) if shuffle else SequentialSampler(order)
    return BatchSampler(chosen, batch_size=size, drop_last=drop_last)


NO_ROADS = RoadPieces(
    **{
        name: np.zeros((0, PIECE_POINTS, 3) if name == "points" else 0, dtype=kind)
        for name, kind in PIECE_DTYPES.items()
    }
)
"""Of a scene without a map."""


def _blank(count: int, config: SampleConfig) -> dict[str, Array]:
    """Arrays of a batch in which nothing is there yet."""
    s, a, t, r, k = count, config.agents, config.steps, config.pieces, config.lights
    made: dict[str, Array] = {
        "scene_id": np.zeros(s, dtype=np.int64),
        "has_ego": np.zeros(s, dtype=bool),
        "now": np.zeros(s, dtype=np.int64),
        "pose": np.zeros((s, 3), dtype=np.float32),
        "agents": np.zeros((s, a, t, len(State)), dtype=np.float32),
        "agents_valid": np.zeros((s, a, t), dtype=bool),
        "agents_size": np.zeros((s, a, 3), dtype=np.float32),
        "agents_cls": np.full((s, a), -1, dtype=np.int64),
        "agents_id": np.full((s, a), -1, dtype=np.int64),
        "roads": np.zeros((s, r, PIECE_POINTS, 3), dtype=np.float32),
        "roads_layer": np.full((s, r), -1, dtype=np.int64),
        "roads_type": np.full((s, r), -1, dtype=np.int64),
        "roads_limit": np.full((s, r), np.nan, dtype=np.float32),
        "lights": np.zeros((s, k, t), dtype=np.int64),
        "lights_stop": np.full((s, k, 2), np.nan, dtype=np.float32),
        "lights_valid": np.zeros((s, k), dtype=bool),
    }
    if config.images:
        shape = (s, len(config.images), *config.image_size, 3)
        made["images"] = np.zeros(shape, dtype=np.uint8)
        made["images_valid"] = np.zeros(shape[:2], dtype=bool)
    return made


def _fill(
    into: dict[str, Array],
    tracks: Tracks,
    signals: Signals,
    roads: RoadPieces,
    anchor: int,
    config: SampleConfig,
) -> int:
    """Write one scene into its place in a batch; gives the step of "now" there."""
    steps = tracks.xy.shape[1]
    start = min(max(anchor - config.history, 0), max(steps - config.steps, 0))
    end = min(start + config.steps, steps)
    now, count = anchor - start, end - start
    valid = tracks.valid[:, start:end]
    focus, yaw = _focus(tracks, start, end, anchor)
    pose = np.array([*focus, yaw], dtype=np.float32)
    moved = config.frame == "ego"
    into["pose"][:] = pose if moved else 0.0

    # Agents: the ego (or whoever is first), then by distance to the focus when first seen nearest.
    seen = np.flatnonzero(valid.any(axis=1))
    apart = np.square(tracks.xy[seen, start:end] - focus).sum(axis=2)
    apart = np.where(valid[seen], apart, np.inf)
    nearest = apart.min(axis=1) if len(seen) else np.zeros(0)
    at_now = apart[:, now] if len(seen) and 0 <= now < count else nearest
    key = np.where(np.isfinite(at_now), at_now, nearest + 1e9)
    key[seen == 0] = -1.0
    order = seen[np.argsort(key, kind="stable")[: config.agents]]
    k = len(order)
    state = into["agents"][:k, :count]
    state[..., State.X : State.Z] = tracks.xy[order, start:end]
    state[..., State.Z] = tracks.z[order, start:end]
    state[..., State.YAW] = tracks.yaw[order, start:end]
    state[..., State.VX :] = tracks.velocity[order, start:end]
    into["agents_valid"][:k, :count] = valid[order]
    into["agents_size"][:k] = tracks.size[order]
    into["agents_cls"][:k] = tracks.cls[order]
    into["agents_id"][:k] = tracks.track_id[order]

    # Roads: nearest first.
    middle = roads.points[:, PIECE_POINTS // 2, :2]
    far = np.square(middle - focus).sum(axis=1)
    near = np.flatnonzero(far <= config.reach_m**2)
    near = near[np.argsort(far[near], kind="stable")[: config.pieces]]
    r = len(near)
    lines = into["roads"][:r]
    lines[...] = roads.points[near]
    into["roads_layer"][:r] = roads.layer[near]
    into["roads_type"][:r] = roads.lane_type[near]
    into["roads_limit"][:r] = roads.speed_limit[near]

    # Lights: nearest first, those without a stop point last.
    gone = np.square(signals.stop_xy - focus).sum(axis=1)
    lit = np.argsort(np.where(signals.has_stop, gone, np.inf), kind="stable")[: config.lights]
    n = len(lit)
    into["lights"][:n, :count] = signals.state[lit, start:end]
    stops = into["lights_stop"][:n]
    stops[...] = np.where(signals.has_stop[lit][:, None], signals.stop_xy[lit], np.nan)
    into["lights_valid"][:n] = True

    if moved:
        c, s = np.cos(-yaw), np.sin(-yaw)
        turn = np.array([[c, s], [-s, c]], dtype=np.float32)  # row vectors: xy @ turn
        state[..., :2] = (state[..., :2] - pose[:2]) @ turn
        state[..., State.VX :] = state[..., State.VX :] @ turn
        angle = state[..., State.YAW] - pose[2]
        state[..., State.YAW] = np.arctan2(np.sin(angle), np.cos(angle))
        state[~into["agents_valid"][:k, :count]] = 0.0
        lines[..., :2] = (lines[..., :2] - pose[:2]) @ turn
        stops[...] = (stops - pose[:2]) @ turn
    return now


def _focus(tracks: Tracks, start: int, end: int, anchor: int) -> tuple[Array, float]:
    """Where the first agent is at "now", or when it was seen nearest to that; x, y and heading."""
    if not len(tracks.track_id):
        return np.zeros(2, dtype=np.float32), 0.0
    seen = np.flatnonzero(tracks.valid[0, start:end]) + start
    if not len(seen):
        seen = np.flatnonzero(tracks.valid[0])
    step = seen[np.abs(seen - anchor).argmin()] if len(seen) else 0
    return tracks.xy[0, step], float(tracks.yaw[0, step])


def _bytes_of(pieces: RoadPieces) -> int:
    return sum(getattr(pieces, name).nbytes for name in PIECE_DTYPES)


def row_places(have: Array, wanted: Array) -> tuple[Array, Array]:
    """Where in ``have`` each wanted value is, and whether it is there at all."""
    if not len(have):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    order = np.argsort(have, kind="stable")
    at = np.minimum(np.searchsorted(have, wanted, sorter=order), len(have) - 1)
    place = order[at]
    return place, have[place] == wanted


def _places(column: pa.ChunkedArray) -> Callable[[Array], tuple[Array, Array]]:
    have = column.to_numpy()
    return lambda wanted: row_places(have, wanted)


def _buffers(column: pa.ChunkedArray) -> list[memoryview]:
    """The cells of a binary column, not copied."""
    cells = []
    for chunk in column.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[
            chunk.offset : chunk.offset + len(chunk) + 1
        ].tolist()
        data = memoryview(chunk.buffers()[2])
        cells += [data[a:b] for a, b in pairwise(offsets)]
    return cells

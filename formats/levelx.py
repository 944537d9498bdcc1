"""highD, inD, rounD, exiD and uniD: drone recordings of German roads, three CSV files each.

Formats: highd-dataset.com and levelxdata.com; Krajewski et al. 2018 (highD), Bock et al. 2020
(inD), Krajewski et al. 2020 (rounD), Moers et al. 2022 (exiD). ``XX_tracks.csv`` has a row a track
and frame, ``XX_tracksMeta.csv`` a row a track, ``XX_recordingMeta.csv`` one row. Time counts frames
at ``frameRate``, 25 a second; t = 0 is the first frame that any track has.

highD tells boxes in an image: x right, y *down*, (x, y) the upper left corner, ``width`` along the
road and ``height`` across it. The world frame here is (x, −y), so that it is right-handed. Boxes
have no headings; they follow from the velocities, and from the driving direction where one hardly
moves. Markings are straight lines y = const, from which lanes are made; ``laneId`` counts the
strips between them from the top, beginning with the one above the first marking.

The others tell centres in metres east and north of ``xUtmOrigin``, ``yUtmOrigin``, headings in
degrees counter-clockwise from east, and no size for pedestrians and bicycles. Their maps are
Lanelet2 files (``location<id>.osm``) in a folder ``maps`` or ``lanelets`` beside ``data``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from formats import lanelet2
from formats.delimited import batches, first_fields, table
from formats.files import plain_name, present
from formats.map_draft import MapDraft
from formats.registry import Rejected
from formats.stretches import Stretch, in_order, stretches
from formats.tally import Tally
from formats.track_rows import observations, runs_as_events
from formats.tree import matching
from geometry.angles import difference, wrap
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LaneType, MapLayer
from schemas.records import Log, RoadMap, SourceEvent

TRACKS, TRACKS_META, RECORDING_META = "_tracks.csv", "_tracksMeta.csv", "_recordingMeta.csv"
FAMILIES = {"highd": "highD", "ind": "inD", "round": "rounD", "exid": "exiD", "unid": "uniD"}
MAP_FOLDERS = ("maps", "lanelets", "map")
SLOW_MPS = 1.0  # below which a velocity tells no heading
TURN_RAD = math.radians(30.0)  # no car on a motorway stands at more to its lane

CLASSES = {
    "car": AgentClass.VEHICLE,
    "van": AgentClass.VEHICLE,
    "truck": AgentClass.TRUCK,
    "truck_bus": AgentClass.TRUCK,
    "bus": AgentClass.BUS,
    "motorcycle": AgentClass.MOTORCYCLE,
    "bicycle": AgentClass.CYCLIST,
    "pedestrian": AgentClass.PEDESTRIAN,
    "animal": AgentClass.ANIMAL,
    "trailer": AgentClass.OTHER,
}
"""By ``class`` in lower case."""

HIGHD = {
    "id": pa.string(), "frame": pa.int64(), "x": pa.float64(), "y": pa.float64(),
    "width": pa.float64(), "height": pa.float64(), "xVelocity": pa.float64(),
    "yVelocity": pa.float64(), "laneId": pa.int64(),
}  # fmt: skip
OTHERS = {
    "trackId": pa.string(), "frame": pa.int64(), "xCenter": pa.float64(), "yCenter": pa.float64(),
    "heading": pa.float64(), "width": pa.float64(), "length": pa.float64(),
    "xVelocity": pa.float64(), "yVelocity": pa.float64(),
}  # fmt: skip


def sources(path: Path) -> Iterator[Path]:
    """Files of tracks at or under a path."""
    for file in matching(path, "*" + TRACKS):
        fields = first_fields(file)
        if (
            set(HIGHD) <= set(fields)
            or set(OTHERS) <= set(fields)
            or (not fields and all(_beside(file)))
        ):
            yield file


def files(source: Path) -> Iterator[Path]:
    """The three tables, and the map where there is one."""
    yield source
    meta, recording = _beside(source)
    yield from (path for path in (meta, recording) if path is not None)
    if recording is not None and (road := _map_file(source, _location(recording))):
        yield road


def read(source: Path) -> Iterator[Log | Rejected]:
    """The recording of a file of tracks.

    Raises:
        UnreadableFile: One of the three files is missing or broken, or they do not fit.
    """
    recording = _Recording.of(source)
    tally = Tally()
    types = HIGHD if recording.is_highd else OTHERS
    counted = _Counted(batches(source, types, tally=tally), tally)
    rows = _with_times(counted, recording)
    found = False
    road = None if recording.is_highd else recording.lanelets(tally)
    for stretch in stretches(in_order(rows, ["t_ns"]), source=source, time="t_ns"):
        if not found:
            recording.refuse_if_rows_lack(source, counted.rows)
        found = True
        if road is None:
            road = recording.lanes(stretch, tally) if recording.is_highd else RoadMap.none()
        yield recording.log(source, stretch, road, tally)
        tally = Tally()
    if not found:
        yield Rejected(record="", reason="the file holds no rows", notes=tally.notes())


@dataclass(slots=True)
class _Counted:
    """Batches on their way, and how many rows they had."""

    batches: Iterator[pa.RecordBatch]
    tally: Tally
    rows: int = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            self.rows += batch.num_rows
            usable = batch["frame"].is_valid()
            self.tally.add("dropped", "rows without a frame", batch.num_rows - usable.true_count)
            yield batch.filter(usable)


def _with_times(counted: _Counted, recording: _Recording) -> Iterator[pa.RecordBatch]:
    for batch in counted:
        t_ns = recording.times(batch["frame"].to_numpy())
        yield batch.append_column("t_ns", pa.array(t_ns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Recording:
    """What the two smaller files say.

    Attributes:
        name: Number of the recording, as in the file names.
        dataset: ``highd``, ``ind``, …; ``levelx`` where the folder does not tell.
        is_highd: Whether boxes are told in the image.
        meta: The one row of the recording.
        ids: Of the tracks.
        classes: Verbatim.
        directions: ``drivingDirection``: 1 to the left, 2 to the right; 0 where there is none.
        first_frame: The first of any track.
        n_rows: How many rows the tracks have together.
        rate: Frames a second.
        map_file: Where there is one.
    """

    name: str
    dataset: str
    is_highd: bool
    meta: Mapping[str, str]
    ids: list[str]
    classes: list[str]
    directions: Int[Array, " tracks"]
    first_frame: int
    n_rows: int
    rate: Fraction
    map_file: Path | None

    @classmethod
    def of(cls, source: Path) -> _Recording:
        tracks_meta, recording_meta = _beside(source)
        for found, suffix in ((tracks_meta, TRACKS_META), (recording_meta, RECORDING_META)):
            if found is None:
                name = plain_name(source).removesuffix(TRACKS) + suffix
                raise UnreadableFile(
                    source.with_name(name), "is missing", hint=f"{source.name} needs it beside."
                )
        assert tracks_meta is not None
        assert recording_meta is not None
        fields = set(first_fields(source))
        is_highd = set(HIGHD) <= fields
        if not is_highd and not set(OTHERS) <= fields:
            raise UnreadableFile(
                source,
                "does not begin with the columns of highD or of inD and its kin",
                hint="Is the file empty, cut off or changed?",
            )
        meta = _recording_row(recording_meta)
        key = "id" if is_highd else "trackId"
        wanted = {key: pa.string(), "initialFrame": pa.int64(), "numFrames": pa.int64(),
                  "class": pa.string()}  # fmt: skip
        if is_highd:
            wanted["drivingDirection"] = pa.int64()
        tracks = table(tracks_meta, wanted)
        if not tracks.num_rows:
            raise UnreadableFile(tracks_meta, "names no track")
        if tracks["numFrames"].null_count or tracks["initialFrame"].null_count:
            raise UnreadableFile(tracks_meta, "has tracks without numFrames or initialFrame")
        none = np.zeros(tracks.num_rows, dtype=np.int64)
        return cls(
            name=plain_name(source).removesuffix(TRACKS),
            dataset="highd" if is_highd else _family(source),
            is_highd=is_highd,
            meta=meta,
            ids=tracks[key].to_pylist(),
            classes=tracks["class"].to_pylist(),
            directions=tracks["drivingDirection"].fill_null(0).to_numpy() if is_highd else none,
            first_frame=min(tracks["initialFrame"].to_pylist()),
            n_rows=sum(tracks["numFrames"].to_pylist()),
            rate=_rate(recording_meta, meta),
            map_file=_map_file(source, meta.get("locationId", "")),
        )

    def times(self, frame: Int[Array, " rows"]) -> Int[Array, " rows"]:
        """[ns] since the first frame, exact for every rate that divides a second."""
        scale = 1_000_000_000 / self.rate
        return (frame - self.first_frame) * scale.numerator // scale.denominator

    def refuse_if_rows_lack(self, source: Path, rows: int) -> None:
        if rows < self.n_rows:
            raise UnreadableFile(
                source,
                f"ends too early: it has {rows} rows, its tracks {self.n_rows} frames",
                hint="Fetch the file again.",
            )

    def log(self, source: Path, stretch: Stretch, road: RoadMap, tally: Tally) -> Log:
        rows = stretch.table.filter(pa.array(stretch.inside))
        frame = rows["frame"].to_numpy()
        t_ns = self.times(frame)
        index = {name: k for k, name in enumerate(self.ids)}
        names = [*self.ids]
        told = rows["id" if self.is_highd else "trackId"].dictionary_encode().combine_chunks()
        for name in told.dictionary.to_pylist():
            if name not in index:
                index[name] = len(names)
                names.append(name)
                tally.add("missing", f"tracks that {self.name}{TRACKS_META} does not name")
        code = np.array([index[n] for n in told.dictionary.to_pylist()], dtype=np.int64)
        track = code[told.indices.to_numpy()]
        place = self._from_image if self.is_highd else self._from_plane
        xyz, yaw, size, velocity = place(rows, track, tally)
        unknown = len(names) - len(self.ids)
        classes = [word or "" for word in self.classes] + [""] * unknown
        events: list[SourceEvent] = []
        if self.is_highd:
            events = runs_as_events(
                "lane", "laneId", track=track, t_ns=t_ns, names=names,
                value=rows["laneId"].fill_null(0).to_numpy(),
            )  # fmt: skip
        agents = observations(
            track=track, t_ns=t_ns, xyz=xyz, yaw=yaw, size=size, velocity=velocity, names=names,
            source_cls=classes, tally=tally,
            cls=[CLASSES.get(word.lower(), AgentClass.UNKNOWN) for word in classes],
        )  # fmt: skip
        if not stretch.part:
            self._note(source, tally)
        location = self.meta.get("locationId", "")
        family = FAMILIES.get(self.dataset, "")
        return Log(
            dataset=self.dataset,
            source_log_id=self.name,
            source_uri=str(source),
            rate_hz=float(self.rate),
            ego=None,
            agents=agents,
            map=road,
            location=f"{family} location {location}".strip() if location else None,
            events=events,
            notes=tally.notes(),
            extra={"recording": dict(self.meta), "first_frame": self.first_frame},
            part=stretch.part,
            more=stretch.more,
        )

    def _from_image(
        self, rows: pa.Table, track: Int[Array, " rows"], tally: Tally
    ) -> tuple[Array, Array, Array, Array]:
        """highD: boxes in the image, y down."""
        length, width = _column(rows, "width"), _column(rows, "height")
        centre_x = _column(rows, "x") + length / 2.0
        centre_y = _column(rows, "y") + width / 2.0
        velocity = np.column_stack([_column(rows, "xVelocity"), -_column(rows, "yVelocity")])
        directions = np.append(self.directions, np.zeros(int(track.max()) + 1, dtype=np.int64))
        along = np.where(directions[track] == 1, np.pi, 0.0)
        # A marking or trailing blank of the file may leave the direction untold.
        untold = ~np.isin(directions[track], (1, 2))
        course = np.arctan2(velocity[:, 1], velocity[:, 0])
        moves = np.hypot(velocity[:, 0], velocity[:, 1]) > SLOW_MPS
        follows = moves & (untold | (np.abs(difference(course, along)) < TURN_RAD))
        yaw = wrap(np.where(follows, course, along))
        tally.add(
            "guessed", "highD tells no headings; the velocity's direction is taken", len(yaw)
        )
        xyz = np.column_stack([centre_x, -centre_y, np.zeros(len(yaw))])
        return xyz, yaw, np.column_stack([length, width, np.full(len(yaw), np.nan)]), velocity

    def _from_plane(
        self, rows: pa.Table, track: Int[Array, " rows"], tally: Tally
    ) -> tuple[Array, Array, Array, Array]:
        """The others: centres east and north of an origin."""
        length, width = _column(rows, "length"), _column(rows, "width")
        bare = np.unique(track[~((length > 0.0) & (width > 0.0))])
        tally.add("missing", "tracks have no size (pedestrians and bicycles)", len(bare))
        xyz = np.column_stack(
            [_column(rows, "xCenter"), _column(rows, "yCenter"), np.zeros(len(track))]
        )
        velocity = np.column_stack([_column(rows, "xVelocity"), _column(rows, "yVelocity")])
        yaw = wrap(np.deg2rad(_column(rows, "heading")))
        return xyz, yaw, np.column_stack([length, width, np.full(len(yaw), np.nan)]), velocity

    def _note(self, source: Path, tally: Tally) -> None:
        kept = set(HIGHD if self.is_highd else OTHERS) | {"recordingId", "trackLifetime"}
        others = [name for name in first_fields(source) if name and name not in kept]
        if others:
            reason = (
                f"columns that the tables have no place for: {', '.join(others)} (relations and "
                "accelerations can be computed from the positions)"
            )
            tally.add("dropped", reason)
        tally.add("missing", "tracks have no height, positions no z", len(self.ids))
        if not self.is_highd and self.map_file is None:
            tally.add("missing", f"no location{self.meta.get('locationId', '')}.osm lies beside")

    def lanelets(self, tally: Tally) -> RoadMap:
        """The Lanelet2 map of the place."""
        if self.map_file is None:
            return RoadMap.none()
        offset = tuple(_number(self.meta.get(k, "")) for k in ("xUtmOrigin", "yUtmOrigin"))
        if not np.isfinite(offset).all():
            tally.add("missing", "without xUtmOrigin and yUtmOrigin the map cannot be placed")
            return RoadMap.none()
        road, notes = lanelet2.read_map(self.map_file, offset=(offset[0], offset[1]))
        tally.extend(notes)
        return road

    def lanes(self, stretch: Stretch, tally: Tally) -> RoadMap:
        """highD: lanes and lines from the markings, as long as the road that tracks cover."""
        upper = _numbers(self.meta.get("upperLaneMarkings", ""))
        lower = _numbers(self.meta.get("lowerLaneMarkings", ""))
        if len(upper) + len(lower) < 2:
            tally.add("missing", "the recording tells no lane markings")
            return RoadMap.none()
        rear = _column(stretch.table, "x")
        x = np.concatenate([rear, rear + _column(stretch.table, "width")])
        x = x[np.isfinite(x)]
        if not len(x):
            return RoadMap.none()
        span = (float(np.floor(x.min())), float(np.ceil(x.max())))
        reason = "lanes are as long as what the tracks cover, for the file does not tell"
        tally.add("guessed", reason, max(len(upper) - 1, 0) + max(len(lower) - 1, 0))
        limit = _number(self.meta.get("speedLimit", ""))
        draft = MapDraft(tally)
        strip = 2  # laneId of the strip below the first marking
        for word, marks, west in (
            ("upperLaneMarkings", upper, True),
            ("lowerLaneMarkings", lower, False),
        ):
            lines = [_line(span, -y, west=west) for y in marks]
            for k, line in enumerate(lines):
                name = f"{word}[{k}]"
                draft.add(MapLayer.ROAD_LINE, name, line, source_type=word, has_z=False)
            before: int | None = None
            for k in range(len(lines) - 1):
                inner, outer = (lines[k + 1], lines[k]) if west else (lines[k], lines[k + 1])
                lane = draft.add(
                    MapLayer.LANE, str(strip + k), (inner + outer) / 2.0, left=inner, right=outer,
                    lane_type=LaneType.FREEWAY, source_type="lane",
                    speed_limit=limit if limit > 0.0 else None, in_intersection=False, has_z=False,
                )  # fmt: skip
                if before is not None:
                    draft.beside(*((lane, before) if west else (before, lane)))
                before = lane
            strip += len(lines)
        return draft.road_map(f"highd/{self.name}")


def _line(span: tuple[float, float], y: float, *, west: bool) -> Float[Array, "2 3"]:
    begin, end = (span[1], span[0]) if west else span
    return np.array([[begin, y, 0.0], [end, y, 0.0]])


def _column(rows: pa.Table, name: str) -> Float[Array, " rows"]:
    return rows[name].cast(pa.float64()).fill_null(np.nan).to_numpy()


def _beside(source: Path) -> tuple[Path | None, Path | None]:
    stem = plain_name(source).removesuffix(TRACKS)
    return (
        present(source.with_name(stem + TRACKS_META)),
        present(source.with_name(stem + RECORDING_META)),
    )


def _recording_row(path: Path) -> dict[str, str]:
    names = first_fields(path)
    if not names:
        raise UnreadableFile(path, "is empty or no table", hint="Fetch the file again.")
    rows = table(path, {name: pa.string() for name in names if name}).to_pylist()
    if not rows or "frameRate" not in rows[0]:
        raise UnreadableFile(path, "does not tell the frame rate of a recording")
    return {name: (value or "").strip() for name, value in rows[0].items()}


def _location(recording: Path) -> str:
    try:
        return _recording_row(recording).get("locationId", "")
    except UnreadableFile:
        return ""  # told when the recording is read


def _rate(path: Path, meta: Mapping[str, str]) -> Fraction:
    rate = _number(meta["frameRate"])
    if not rate > 0.0:
        raise UnreadableFile(path, f"frameRate is {meta['frameRate']!r}, not a positive number")
    return Fraction(meta["frameRate"]).limit_denominator(100_000)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _numbers(text: str) -> list[float]:
    values = [_number(part) for part in text.split(";") if part.strip()]
    return sorted(value for value in values if math.isfinite(value))


def _family(source: Path) -> str:
    """By the nearest folder that bears the name of one."""
    for folder in source.resolve().parents:
        word = folder.name.lower()
        for family in FAMILIES:
            if word == family or word.startswith((family + "-", family + "_")):
                return family
    return "levelx"


def _map_file(source: Path, location: str) -> Path | None:
    """``location<id>.osm`` beside the tracks, or in a folder of maps beside theirs."""
    if not location.strip().isdigit():
        return None
    name = f"location{location.strip()}.osm"
    found = present(source.with_name(name))
    if found is not None:
        return found
    for home in (source.parent, source.parent.parent):
        for folder in MAP_FOLDERS:
            if (home / folder).is_dir():
                found = next(iter(matching(home / folder, name)), None)
                if found is not None:
                    return found
    return None

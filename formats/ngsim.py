"""NGSIM: vehicle trajectories from cameras over US roads, 2005 and 2006, as CSV or text.

Format: the data dictionary of "Next Generation Simulation (NGSIM) Vehicle Trajectories and
Supporting Data" at data.transportation.gov. Two layouts: one CSV with a first line of names, of one
place or of all four (``Location``: us-101, i-80, lankershim, peachtree), and the older text files
(``trajectories-0400-0415.txt``) of 18 columns, or 24 on city streets, without names.

Lengths are feet, taken as exactly 0.3048 m. Positions are those of the *front centre* of a vehicle,
in the state plane (``Global_X`` east, ``Global_Y`` north), which is the world frame here; where they
are missing, ``Local_X`` (to the right) and ``Local_Y`` (along the road) are. No headings are told:
they follow from the motion, and the box centre lies half a length behind the front. Time is in
milliseconds since 1970, 10 rows a second.

Ids are used again, for other vehicles, within a file: a vehicle is an id with one
``Total_Frames``, without a gap of more than 2 s; the second to bear an id becomes ``17#2``. A gap
of more than a minute between any two rows of a place begins another log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from pyarrow import compute

from formats.delimited import batches, first_fields
from formats.files import plain_name
from formats.registry import Rejected
from formats.stretches import Stretch, in_order, stretches
from formats.tally import Tally
from formats.track_rows import MotionHeadings, observations, runs_as_events
from formats.tree import matching
from geometry.angles import unit
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log, SourceEvent

DATASET = "ngsim"
RATE_HZ = 10.0
FOOT_M = 0.3048
SAME_VEHICLE_NS = 2_000_000_000  # a longer gap within an id: another vehicle
SAME_LOG_NS = 60_000_000_000
LOOK_ROUND_NS = 2_500_000_000  # what headings are taken from beyond the ends of a part
EPOCH_MS = (1_000_000_000_000, 2_000_000_000_000)  # years 2001 to 2033: what a first row must tell
PLACES = ("us-101", "i-80", "lankershim", "peachtree")

TEXT_COLUMNS = (
    "vehicle_id", "frame_id", "total_frames", "global_time", "local_x", "local_y", "global_x",
    "global_y", "v_length", "v_width", "v_class", "v_vel", "v_acc", "lane_id", "preceding",
    "following", "space_headway", "time_headway",
)  # fmt: skip
ROUTE = ("o_zone", "d_zone", "int_id", "section_id", "direction", "movement")
"""Further columns on city streets; the first two and the last two say where a vehicle goes."""
TEXT_COLUMNS_STREET = (*TEXT_COLUMNS[:14], *ROUTE, *TEXT_COLUMNS[14:])
OTHER_NAMES = {"space_hdwy": "space_headway", "time_hdwy": "time_headway"}
WHOLE = ("vehicle_id", "total_frames", "global_time", "v_class", "lane_id")
NUMBERS = ("local_x", "local_y", "global_x", "global_y", "v_length", "v_width", "v_vel")
TRIP = ("o_zone", "d_zone", "direction", "movement")
LEFT_OUT = ("v_acc", "preceding", "following", "space_headway", "time_headway", "frame_id",
            "int_id", "section_id")  # fmt: skip
CLASSES = {1: AgentClass.MOTORCYCLE, 2: AgentClass.VEHICLE, 3: AgentClass.TRUCK}


def sources(path: Path) -> Iterator[Path]:
    """Trajectory files of either layout at or under a path."""
    for file in matching(path, "*.csv", "*.txt"):
        if _layout(file) is not None:
            yield file


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """The recordings of a file.

    Raises:
        UnreadableFile: It is no trajectory file, or cut off, or has a value that is no number.
    """
    layout = _layout(source)
    if layout is None:
        raise UnreadableFile(
            source, "is no NGSIM trajectory file", hint="Is it empty, cut off or changed?"
        )
    tally = Tally()
    found = False
    vehicles = _Vehicles()
    for stretch in stretches(
        in_order(_rows(source, layout, tally), ["location", "t_ns"]),
        source=source, time="t_ns", log="location", gap_ns=SAME_LOG_NS, margin_ns=LOOK_ROUND_NS,
    ):  # fmt: skip
        found = True
        if not stretch.part:
            vehicles = _Vehicles()
            layout.note(tally)
        yield _log(source, stretch, vehicles, tally)
        tally = Tally()
    if not found:
        yield Rejected(record="", reason="the file holds no rows", notes=tally.notes())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a file names and separates its columns.

    Attributes:
        delimiter: As :func:`formats.delimited.batches` takes it.
        columns: By our name, the file's.
        names: Of all columns where the file has no line of names.
    """

    delimiter: str
    columns: Mapping[str, str]
    names: tuple[str, ...] = ()

    def note(self, tally: Tally) -> None:
        """What is there and not carried over."""
        left = [self.columns[name] for name in LEFT_OUT if name in self.columns]
        if left:
            reason = f"columns that the tables have no place for: {', '.join(left)}"
            tally.add("dropped", reason)


def _layout(file: Path) -> _Layout | None:
    fields = first_fields(file)
    columns = {OTHER_NAMES.get(f.lower(), f.lower()): f for f in fields}
    if {"vehicle_id", "global_time", "local_x", "local_y", "v_vel"} <= set(columns):
        missing = [name for name in TEXT_COLUMNS[:12] if name not in columns]
        if not missing:
            return _Layout(delimiter=",", columns=columns)
        return None
    fields = first_fields(file, delimiter=" ")
    for names in (TEXT_COLUMNS, TEXT_COLUMNS_STREET):
        if len(fields) == len(names) and _tells_epoch(fields[3]):
            return _Layout(
                delimiter=" ", columns=dict(zip(names, names, strict=True)), names=names
            )
    return None


def _tells_epoch(text: str) -> bool:
    return text.isascii() and text.isdigit() and EPOCH_MS[0] < int(text) < EPOCH_MS[1]


def _rows(source: Path, layout: _Layout, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Rows in feet, under our names."""
    present = layout.columns
    types = {present[name]: pa.float64() for name in (*WHOLE, *NUMBERS) if name in present}
    types[present["global_time"]] = pa.int64()
    types[present["vehicle_id"]] = pa.int64()
    types |= {present[name]: pa.string() for name in (*TRIP, "location") if name in present}
    for batch in batches(
        source, types, delimiter=layout.delimiter, names=layout.names, tally=tally
    ):
        time, vehicle = batch[present["global_time"]], batch[present["vehicle_id"]]
        usable = compute.and_(time.is_valid(), vehicle.is_valid())
        tally.add("dropped", "rows without an id or time", batch.num_rows - usable.true_count)
        kept = batch.filter(usable)
        columns = {ours: kept[theirs] for ours, theirs in present.items() if theirs in types}
        columns["t_ns"] = pa.array(kept[present["global_time"]].to_numpy() * 1_000_000)
        for name in NUMBERS:
            columns[name] = columns[name].fill_null(np.nan)
        for name in ("total_frames", "v_class", "lane_id"):
            told = columns.get(name, pa.array(np.zeros(kept.num_rows)))
            columns[name] = told.fill_null(0.0).cast(pa.int64(), safe=False)
        for name in ("location", *TRIP):
            told = columns.get(name, pa.array([""] * kept.num_rows, pa.string()))
            columns[name] = told.fill_null("")
        del columns["global_time"]
        yield pa.RecordBatch.from_pydict(columns)


@dataclass(slots=True)
class _Vehicles:
    """Who bears which id, over all parts of a log.

    Attributes:
        names: Id of each vehicle, the second of a number with ``#2`` after it, and so on.
        cls: ``v_class`` of each.
        motion: Their headings so far.
        trips_told: Whose trip was told in an earlier part.
    """

    names: list[str] = field(default_factory=list)
    cls: list[int] = field(default_factory=list)
    motion: MotionHeadings = field(default_factory=MotionHeadings)
    trips_told: set[int] = field(default_factory=set)
    _bearers: dict[int, int] = field(default_factory=dict)
    _latest: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def tracks(self, stretch: Stretch, tally: Tally) -> Int[Array, " rows"]:
        """The vehicle of each row: rows of an id and ``total_frames`` without a long gap."""
        table = stretch.table
        ids = table["vehicle_id"].to_numpy()
        frames = table["total_frames"].to_numpy()
        cls = table["v_class"].to_numpy()
        order = np.lexsort((stretch.t_ns, frames, ids))
        a, b, t_ns = ids[order], frames[order], stretch.t_ns[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (np.diff(a) != 0) | (np.diff(b) != 0) | (np.diff(t_ns) > SAME_VEHICLE_NS)
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(order)) - 1
        # The earlier vehicle of an id keeps the id.
        index = np.zeros(len(first), dtype=np.int64)
        for k in np.argsort(t_ns[first], kind="stable").tolist():
            row = first[k]
            key = (int(a[row]), int(b[row]))
            latest = self._latest.get(key)
            if latest is not None and t_ns[row] - latest[1] <= SAME_VEHICLE_NS:
                index[k] = latest[0]
            else:
                bearer = self._bearers.get(key[0], 0) + 1
                self._bearers[key[0]] = bearer
                tally.add(
                    "renamed", "vehicle ids used again get a number after them", int(bearer > 1)
                )
                index[k] = len(self.names)
                self.names.append(f"{key[0]}" if bearer == 1 else f"{key[0]}#{bearer}")
                self.cls.append(int(cls[order[row]]))
            self._latest[key] = (int(index[k]), int(t_ns[last[k]]))
        track = np.zeros(len(order), dtype=np.int64)
        track[order] = index[np.cumsum(begins) - 1]
        return track


def _log(source: Path, stretch: Stretch, vehicles: _Vehicles, tally: Tally) -> Log:
    table, inside = stretch.table, stretch.inside
    track = vehicles.tracks(stretch, tally)
    front = _front(table, tally, stretch) * FOOT_M
    sound = np.flatnonzero(np.isfinite(front).all(axis=1))
    yaw = np.full(len(track), np.nan)
    guess, told = vehicles.motion.headings(
        track[sound], stretch.t_ns[sound], front[sound], vehicles.names, inside[sound]
    )
    yaw[sound] = guess
    length = table["v_length"].to_numpy() * FOOT_M
    width = table["v_width"].to_numpy() * FOOT_M
    here = inside[sound]
    tally.add("guessed", "headings follow from the motion", int(here.sum()))
    still = np.unique(track[sound][here & ~told])
    tally.add("guessed", "vehicles that never move point along x", len(still))
    behind = np.nan_to_num(length)[:, None] / 2.0 * unit(yaw)
    tally.add("guessed", "box centres lie half a length behind the told front", int(here.sum()))
    speed = table["v_vel"].to_numpy() * FOOT_M
    xyz = np.column_stack([front - behind, np.zeros(len(track))])
    size = np.column_stack([length, width, np.full(len(track), np.nan)])
    agents = observations(
        track=track[inside], t_ns=stretch.t_ns[inside], xyz=xyz[inside], yaw=yaw[inside],
        size=size[inside], velocity=(speed[:, None] * unit(yaw))[inside], names=vehicles.names,
        source_cls=[str(cls) for cls in vehicles.cls],
        cls=[CLASSES.get(cls, AgentClass.UNKNOWN) for cls in vehicles.cls], tally=tally,
    )  # fmt: skip
    tally.add("missing", "tracks have no height, positions no z", len(agents.source_track_id))
    location = table["location"][0].as_py() or _place(source)
    begin = datetime.fromtimestamp(stretch.first / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = plain_name(source).rsplit(".", 1)[0]
    events = runs_as_events(
        "lane", "Lane_ID", track=track[inside], t_ns=stretch.t_ns[inside],
        value=table["lane_id"].to_numpy()[inside], names=vehicles.names,
    )  # fmt: skip
    return Log(
        dataset=DATASET,
        source_log_id=f"{location or stem}/{begin}",
        source_uri=str(source),
        record=table["location"][0].as_py(),
        rate_hz=RATE_HZ,
        ego=None,
        agents=agents,
        t0_unix_ns=stretch.first,
        location=location,
        events=[*events, *_trips(table, track, stretch, vehicles)],
        notes=tally.notes(),
        part=stretch.part,
        more=stretch.more,
    )


def _front(table: pa.Table, tally: Tally, stretch: Stretch) -> Float[Array, "rows 2"]:
    """Front centres in the state plane, in local coordinates where the file has no others [ft]."""
    globe = np.column_stack([table["global_x"].to_numpy(), table["global_y"].to_numpy()])
    if (np.isfinite(globe) & (globe != 0.0)).all(axis=1).any():
        return globe
    if not stretch.part:
        tally.add("missing", "Global_X and Global_Y are empty; Local_X and Local_Y are taken")
    return np.column_stack([table["local_x"].to_numpy(), table["local_y"].to_numpy()])


def _trips(
    table: pa.Table, track: Int[Array, " rows"], stretch: Stretch, vehicles: _Vehicles
) -> list[SourceEvent]:
    """Where each vehicle comes from and goes to, on city streets."""
    columns = {name: table[name].to_pylist() for name in TRIP}
    rows = np.flatnonzero(stretch.inside)
    found, first = np.unique(track[rows], return_index=True)
    events = []
    for k, row in zip(found.tolist(), rows[first].tolist(), strict=True):
        detail = {name: columns[name][row] for name in TRIP if columns[name][row]}
        if k in vehicles.trips_told or not detail:
            continue
        vehicles.trips_told.add(k)
        t_ns = int(stretch.t_ns[row])
        events.append(
            SourceEvent(
                name="trip", t0_ns=t_ns, t1_ns=t_ns, source_track_id=vehicles.names[k],
                detail=detail,
            )
        )  # fmt: skip
    return events


def _place(source: Path) -> str | None:
    """The place by the names of file and folders, for files that do not tell."""
    words = [part.lower().replace("_", "-") for part in source.resolve().parts[-4:]]
    for place in PLACES:
        if any(place in word or place.replace("-", "") in word for word in words[::-1]):
            return place
    return None

"""Bring your own: tracks in Parquet or CSV, with a mapping of the columns in TOML.

The mapping, ``<name>.scenelake.toml``, is the source; it lies beside the data or above it. A whole
one, of which only ``data``, ``columns.track``, ``.time``, ``.x`` and ``.y`` are needed::

    dataset = "acme_drone"           # family; the file's name if left out
    data = ["flights.parquet"]       # Parquet or CSV (also .gz), in this folder or below
    delimiter = ";"                  # of CSV; a comma if left out
    rate_hz = 10.0                   # the usual step of the tracks if left out
    license = "CC BY 4.0"
    location = "Aachen"
    split = "train"
    weather = "rain"                 # clear, cloudy, rain, snow, fog
    daylight = "night"               # day, dusk, night
    epsg = 25832                     # of x and y, where they are projected
    ego = "17"                       # id of the ego's track, in every log
    map = "maps/crossing.osm"        # any map that Scenelake reads
    map_origin = [50.78, 6.07]       # Lanelet2: latitude and longitude of (0, 0), or …
    map_offset = [293000, 5629000]   # … its UTM coordinates [m]

    [columns]
    log = "flight"                   # one log a value; the file is one log if left out
    track = "object"
    time = "stamp"
    x = "pos_x"
    y = "pos_y"
    z = "pos_z"
    yaw = "heading"                  # follows from the motion if left out
    vx = "vel_x"                     # in the frame of x and y
    vy = "vel_y"
    speed = "v"                      # along the heading, instead of vx and vy
    length = "l"
    width = "w"
    height = "h"
    type = "kind"
    ego = "is_ego"                   # true or 1 in the rows of the ego, instead of its id

    [time]
    unit = "ms"                      # ns, us, ms, s (s if left out); time stamps of Parquet know
    absolute = true                  # since 1970; false if left out: since any beginning

    [frame]
    length_unit = "m"                # m, cm, mm, km, ft of positions and sizes
    speed_unit = "km/h"              # m/s, km/h, mph, ft/s
    yaw_unit = "deg"                 # rad, deg (rad if left out)
    yaw_from = "y"                   # the axis at yaw 0: x, y (x if left out)
    clockwise = true                 # as seen from above; false if left out
    y_down = false                   # as in images: y is negated
    reference = "front"              # what x and y tell: centre, front, rear
    z_at = "bottom"                  # what z tells: centre, bottom

    [constants]                      # where there is no column, or it is empty
    type = "car"
    length = 4.5
    width = 1.8
    height = 1.5

    [types]                          # your words to ours: vehicle, truck, bus, motorcycle,
    car = "vehicle"                  # cyclist, pedestrian, animal, obstacle, other, unknown
    lkw = "truck"                    # (words that are ours need no line)

    [lights]                         # what signals show to lanes
    data = "signals.csv"
    log = "flight"
    lane = "lane_id"                 # as the map calls it
    time = "stamp"                   # as the tracks count it
    state = "colour"
    [lights.states]                  # your words to ours: red, yellow, green, off, unknown
    R = "red"

    [[readings]]                     # series of a sensor or bus; as many tables as there are
    data = "imu.parquet"
    channel = "imu"
    kind = "imu"                     # camera, lidar, radar, imu, gnss, can, other
    log = "flight"
    time = "stamp"
    signals = { acceleration_x = "acc_x", yaw_rate = "gyro_z" }
    units = { acceleration_x = "m/s2", yaw_rate = "rad/s" }

Keys that are not known are refused. Rows may come in any order and number: large files are sorted
on disk, and long logs are told in parts. Whole and decimal stamps in text are kept to the
nanosecond. Ids and words have at most 4,096 bytes. Paths that lead out of the folder of the mapping
are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from pyarrow import compute

from formats import parquet_rows
from formats.beside import Beside
from formats.delimited import batches, first_fields
from formats.files import open_binary, plain_name, present
from formats.grid import CAR_M
from formats.registry import Rejected
from formats.stretches import FLOW_BYTES, FLOW_ROWS, Stretch, in_order, stretches
from formats.tally import Tally
from formats.track_rows import MotionHeadings, observations
from formats.tree import matching
from formats.unpacked import parquet_bytes, refuse_bomb, text_bytes, text_columns
from geometry.angles import unit, wrap
from geometry.arrays import Array
from schemas import config
from schemas.errors import BadSetting, UnknownName, UnreadableFile
from schemas.labels import AgentClass, Daylight, Label, LightState, Weather
from schemas.records import EgoStates, LightStates, Log, Readings, RoadMap, Sensor

SUFFIX = ".scenelake.toml"
LONGEST_TEXT = 4096  # [bytes] of an id or word
LOOK_ROUND_NS = 2_500_000_000  # what headings are taken from beyond the ends of a part

TIME_UNITS = {"ns": 0, "us": 3, "ms": 6, "s": 9}
"""Decimal places that make a stamp whole nanoseconds."""
LENGTH_UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "km": 1000.0, "ft": 0.3048}
SPEED_UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "ft/s": 0.3048}
SENSOR_KINDS = ("camera", "lidar", "radar", "imu", "gnss", "can", "other")
YES = ("1", "1.0", "true", "True", "TRUE", "yes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns, see the module's example."""

    track: str
    time: str
    x: str
    y: str
    log: str | None = None
    z: str | None = None
    yaw: str | None = None
    vx: str | None = None
    vy: str | None = None
    speed: str | None = None
    length: str | None = None
    width: str | None = None
    height: str | None = None
    type: str | None = None
    ego: str | None = None

    def __post_init__(self) -> None:
        if (self.vx is None) != (self.vy is None):
            raise ValueError("columns.vx and columns.vy belong together")
        if self.vx is not None and self.speed is not None:
            raise ValueError("columns.speed is instead of columns.vx and columns.vy")

    @property
    def numbers(self) -> dict[str, str]:
        """Our name to the table's, of the columns of numbers that there are."""
        names = ("x", "y", "z", "yaw", "vx", "vy", "speed", "length", "width", "height")
        return {name: told for name in names if (told := getattr(self, name)) is not None}

    @property
    def words(self) -> dict[str, str]:
        """Likewise of the columns of words."""
        names = ("log", "track", "type", "ego")
        return {name: told for name in names if (told := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """How times are told."""

    unit: str = "s"
    absolute: bool = False

    def __post_init__(self) -> None:
        _one_of("time.unit", self.unit, TIME_UNITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How places and directions are told."""

    length_unit: str = "m"
    speed_unit: str = "m/s"
    yaw_unit: str = "rad"
    yaw_from: str = "x"
    clockwise: bool = False
    y_down: bool = False
    reference: str = "centre"
    z_at: str = "centre"

    def __post_init__(self) -> None:
        _one_of("frame.length_unit", self.length_unit, LENGTH_UNITS)
        _one_of("frame.speed_unit", self.speed_unit, SPEED_UNITS)
        _one_of("frame.yaw_unit", self.yaw_unit, ("rad", "deg"))
        _one_of("frame.yaw_from", self.yaw_from, ("x", "y"))
        _one_of("frame.reference", self.reference, ("centre", "front", "rear"))
        _one_of("frame.z_at", self.z_at, ("centre", "bottom"))

    def yaw(self, told: Float[Array, " rows"]) -> Float[Array, " rows"]:
        """Counter-clockwise from x [rad]."""
        turn = np.deg2rad(told) if self.yaw_unit == "deg" else told
        zero = 0.0 if self.yaw_from == "x" else -np.pi / 2.0 if self.y_down else np.pi / 2.0
        return wrap(zero - turn if self.clockwise else zero + turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What holds where no column tells."""

    type: str = ""
    length: float = math.nan
    width: float = math.nan
    height: float = math.nan

    def __post_init__(self) -> None:
        for name in ("length", "width", "height"):
            told = getattr(self, name)
            if not (math.isnan(told) or 0.0 < told < math.inf):
                raise ValueError(f"constants.{name} must be positive and finite, not {told}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lights:
    """A table of what signals show."""

    data: str
    lane: str
    time: str
    state: str
    log: str | None = None
    states: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _words("lights.states", self.states, LightState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A table of readings."""

    data: str
    channel: str
    time: str
    signals: Mapping[str, str]
    kind: str = "other"
    log: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("readings.kind", self.kind, SENSOR_KINDS)
        for name, told in (("signals", self.signals), ("units", self.units)):
            if not isinstance(told, Mapping) or not all(isinstance(v, str) for v in told.values()):
                raise ValueError(f"readings.{name} must be a table of words")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A whole mapping, see the module's example."""

    data: tuple[str, ...]
    columns: Columns
    dataset: str = ""
    delimiter: str = ","
    rate_hz: float | None = None
    license: str | None = None
    location: str | None = None
    split: str | None = None
    weather: str | None = None
    daylight: str | None = None
    epsg: int | None = None
    ego: str | None = None
    map: str | None = None
    map_origin: tuple[float, ...] = ()
    map_offset: tuple[float, ...] = ()
    time: Time = field(default_factory=Time)
    frame: Frame = field(default_factory=Frame)
    constants: Constants = field(default_factory=Constants)
    types: Mapping[str, str] = field(default_factory=dict)
    lights: Lights | None = None
    readings: tuple[Series, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data names no file")
        if self.rate_hz is not None and not (math.isfinite(self.rate_hz) and self.rate_hz > 0.0):
            raise ValueError(f"rate_hz must be positive, not {self.rate_hz}")
        if len(self.delimiter) != 1:
            raise ValueError(f"delimiter must be one character, not {self.delimiter!r}")
        for name in ("map_origin", "map_offset"):
            told = getattr(self, name)
            if len(told) not in (0, 2) or not all(map(math.isfinite, told)):
                raise ValueError(f"{name} must be two numbers")
        if self.weather is not None:
            _one_of("weather", self.weather, Weather.words())
        if self.daylight is not None:
            _one_of("daylight", self.daylight, Daylight.words())
        _words("types", self.types, AgentClass)
        channels = [series.channel for series in self.readings]
        twice = [channel for channel in channels if channels.count(channel) > 1]
        if twice:
            raise ValueError(f"two tables of readings have the channel {twice[0]!r}")

    def cls(self, word: str) -> AgentClass:
        """Our class for a word of the table; unknown where neither knows it."""
        ours = self.types.get(word, word).strip().upper()
        return AgentClass[ours] if ours in AgentClass.__members__ else AgentClass.UNKNOWN


def sources(path: Path) -> Iterator[Path]:
    """Mappings at or under a path."""
    yield from matching(path, "*" + SUFFIX)


def files(source: Path) -> Iterator[Path]:
    """The mapping and every file that it names."""
    yield source
    try:
        mapped = _mapping(source)
        named = [*mapped.data, *(series.data for series in mapped.readings)]
        named += [mapped.lights.data] if mapped.lights else []
        named += [mapped.map] if mapped.map else []
        found = {_inside(source, name): None for name in named}
    except UnreadableFile:
        return  # told when the logs are read
    yield from found


def read(source: Path) -> Iterator[Log | Rejected]:
    """The logs of a mapping.

    Raises:
        UnreadableFile: The mapping is not understood, or names an ego that no track is called, or a
            file that is missing, broken, outside of its folder, or lacks a column.
    """
    mapped = _mapping(source)
    _check_ego(source, mapped)
    tally = Tally()
    reading = _Reading(
        source=source, mapped=mapped, map=_map(source, mapped, tally),
        lights=_lights_table(source, mapped, tally), series=_series_tables(source, mapped, tally),
    )  # fmt: skip
    rows = _rows(source, mapped, tally)
    large = any(beside.is_large for beside in reading.beside())
    found = False
    for stretch in stretches(
        in_order(rows, ["log", "t_ns"]), source=source, time="t_ns", log="log",
        margin_ns=LOOK_ROUND_NS, part_rows=0 if large else None,
    ):  # fmt: skip
        found = True
        yield reading.log(stretch, tally)
        tally = Tally()
    if not found:
        yield Rejected(record="", reason="the tables hold no usable rows", notes=tally.notes())


# The mapping --------------------------------------------------------------------------------------


def _mapping(source: Path) -> Mapped:
    try:
        return config.load(Mapped, source)
    except BadSetting as error:
        reason = error.message.removeprefix(f"{source}: ")
        raise UnreadableFile(source, reason, hint=error.hint) from error


def _one_of(name: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _words(name: str, told: Any, labels: type[Label]) -> None:
    if not isinstance(told, Mapping):
        raise ValueError(f"{name} must be a table")
    for word, ours in told.items():
        if not isinstance(ours, str) or ours not in labels.words():
            known = ", ".join(labels.words())
            raise ValueError(f"{name}.{word} must be one of {known}, not {ours!r}")


def _inside(source: Path, name: str) -> Path:
    """A file that the mapping names, if it lies in the mapping's folder or below."""
    home = source.resolve().parent
    file = present(source.parent / name) or source.parent / name
    if Path(name).is_absolute() or not file.resolve().is_relative_to(home):
        raise UnreadableFile(
            source,
            f"names {name!r}, which lies outside of its folder",
            hint="Put the file beside the mapping or below.",
        )
    if not file.is_file():
        raise UnreadableFile(file, "does not exist", hint=f"{source.name} names it.")
    return file


def _check_ego(source: Path, mapped: Mapped) -> None:
    """Refuse an ego's id that no track bears; where one does, its first batch mostly tells."""
    if mapped.ego is None:
        return
    columns, tracks = mapped.columns, dict[str, None]()
    for name in mapped.data:
        for batch in _columns_of(
            _inside(source, name), words={"track": columns.track}, numbers={}, time=columns.time,
            mapped=mapped, tally=Tally(),
        ):  # fmt: skip
            there = batch["track"].unique().to_pylist()
            if mapped.ego in there:
                return
            tracks |= dict.fromkeys(there)
    if tracks:  # else the tables hold no rows, which is told as such
        unknown = UnknownName("track", mapped.ego, list(tracks)[:1000])
        reason = f"names the ego {mapped.ego!r}: {unknown.message.removesuffix('.')}"
        raise UnreadableFile(source, reason, hint=unknown.hint)


def _map(source: Path, mapped: Mapped, tally: Tally) -> RoadMap:
    """The map that a mapping names, by whichever reader knows it."""
    if mapped.map is None:
        return RoadMap.none()
    from formats import lanelet2
    from formats.registry import detect, reader

    file = _inside(source, mapped.map)
    if mapped.map_origin or mapped.map_offset:
        road, notes = lanelet2.read_map(
            file,
            origin=(mapped.map_origin[0], mapped.map_origin[1]) if mapped.map_origin else None,
            offset=(mapped.map_offset[0], mapped.map_offset[1]) if mapped.map_offset else None,
        )
        tally.extend(notes)
        return road
    for name, found in detect(file):
        for log in reader(name).read(found):
            if isinstance(log, Log) and log.map.features:
                tally.extend(log.notes)
                return log.map
    raise UnreadableFile(file, "holds no map that can be read", hint=f"{source.name} names it.")


# The tables ---------------------------------------------------------------------------------------


def _rows(source: Path, mapped: Mapped, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Rows of the tracks under our names; numbers as told, words as text, times in [ns]."""
    columns = mapped.columns
    alone = plain_name(source).removesuffix(SUFFIX)
    for name in mapped.data:
        file = _inside(source, name)
        for batch in _columns_of(
            file, words=columns.words, numbers=columns.numbers, time=columns.time, mapped=mapped,
            tally=tally,
        ):  # fmt: skip
            made = {ours: batch[ours] for ours in ("t_ns", *columns.words, *columns.numbers)}
            if "log" not in made:
                made["log"] = pa.array([alone] * batch.num_rows, pa.string())
            yield pa.RecordBatch.from_pydict(made)


def _columns_of(
    file: Path,
    *,
    words: Mapping[str, str],
    numbers: Mapping[str, str],
    time: str,
    mapped: Mapped,
    tally: Tally,
) -> Iterator[pa.RecordBatch]:
    """Wanted columns of a table under our names, without the rows that lack a time or word."""
    wanted = dict.fromkeys([*words.values(), *numbers.values(), time])
    parquet = plain_name(file).endswith((".parquet", ".pq"))
    told = (
        _parquet(file, list(wanted)) if parquet else _csv(file, wanted, words, time, mapped, tally)
    )
    for batch in told:
        try:
            t_ns, known = _stamps(batch[time], mapped.time.unit)
            made = {"t_ns": pa.array(t_ns)}
            for ours, theirs in words.items():
                made[ours] = batch[theirs].cast(pa.string())
                _refuse_long(file, theirs, made[ours])
            for ours, theirs in numbers.items():
                made[ours] = batch[theirs].cast(pa.float64(), safe=False).fill_null(np.nan)
        except (pa.ArrowException, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UnreadableFile(file, f"has a column of another type ({reason})") from error
        for ours in ("log", "track", "lane"):
            if ours in made:
                known &= made[ours].is_valid().to_numpy(zero_copy_only=False)
        tally.add("dropped", f"rows of {file.name} without a time or id", int((~known).sum()))
        for ours in ("type", "ego", "state"):
            if ours in made:
                made[ours] = made[ours].fill_null("")
        yield pa.RecordBatch.from_pydict(made).filter(pa.array(known))


def _parquet(file: Path, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with open_binary(file) as raw:
        # A packed file has no end to begin from, so it is unpacked in memory.
        stream = (
            pa.PythonFile(raw, mode="r") if file.suffix != ".gz" else pa.BufferReader(raw.read())
        )
        size = stream.size()
        try:
            schema = parquet.read_schema(stream)
            stream.seek(0)
            texts = [name for name in text_columns(schema) if name in wanted]
            table = parquet_rows.opened(stream, texts=texts)
            missing = [name for name in wanted if name not in table.schema_arrow.names]
            if missing:
                raise UnreadableFile(
                    file, f"lacks the columns {', '.join(missing)}",
                    hint=f"It has {', '.join(table.schema_arrow.names)}.",
                )  # fmt: skip
            _refuse_long_ones(file, table.metadata, texts)
            unpacked = parquet_bytes(table.metadata, wanted)
            refuse_bomb(file, unpacked, size=size)
            for batch in parquet_rows.batches(table, wanted, most=FLOW_ROWS):
                widest = sum(_refuse_long(file, name, batch[name]) for name in texts)
                unpacked += sum(map(text_bytes, batch.columns))
                refuse_bomb(file, unpacked, size=size)
                plain = pa.schema([schema.field(name) for name in batch.schema.names])
                rows = max(FLOW_BYTES // (widest + 8 * len(wanted)), 1)
                for begin in range(0, batch.num_rows, rows):  # texts that repeat take room anew
                    yield batch.slice(begin, rows).cast(plain)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else "not understood"
            raise UnreadableFile(
                file, f"cannot be read as Parquet ({reason})", hint="Fetch the file again."
            ) from error


def _refuse_long_ones(file: Path, metadata: Any, names: Sequence[str]) -> None:
    """Refuse columns whose texts are too long on average, before any is read.

    A page of Parquet has as many rows as its writer liked, and is read as a whole.

    Raises:
        UnreadableFile: There is one.
    """
    for group in range(metadata.num_row_groups):
        for k in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(k)
            usual = chunk.total_uncompressed_size // max(chunk.num_values, 1)
            if chunk.path_in_schema in names and chunk.num_values and usual > 2 * LONGEST_TEXT:
                raise _too_long(file, chunk.path_in_schema, usual)


def _refuse_long(file: Path, name: str, column: pa.Array) -> int:
    """The bytes of the longest text of a column.

    Raises:
        UnreadableFile: They are more than any id or word has.
    """
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    longest = int(compute.max(compute.binary_length(texts)).as_py() or 0)
    if longest > LONGEST_TEXT:
        raise _too_long(file, name, longest)
    return longest


def _too_long(file: Path, name: str, size: int) -> UnreadableFile:
    return UnreadableFile(
        file, f"holds a text of {size:,} bytes in the column {name}; ids and words have at most "
        f"{LONGEST_TEXT:,}", hint="Is it the right column?",
    )  # fmt: skip


def _csv(
    file: Path,
    wanted: Mapping[str, None],
    words: Mapping[str, str],
    time: str,
    mapped: Mapped,
    tally: Tally,
) -> Iterator[pa.RecordBatch]:
    # Stamps come as text, so that no digit of them is lost.
    texts = {*words.values(), time}
    types = {name: pa.string() if name in texts else pa.float64() for name in wanted}
    if not first_fields(file, delimiter=mapped.delimiter):
        raise UnreadableFile(file, "is empty or no table", hint="Fetch the file again.")
    yield from batches(file, types, delimiter=mapped.delimiter, tally=tally)


def _stamps(column: pa.Array, unit: str) -> tuple[Int[Array, " rows"], Bool[Array, " rows"]]:
    """Stamps as [ns], and which there are."""
    if pa.types.is_timestamp(column.type):
        column, unit = column.cast(pa.timestamp("ns")).cast(pa.int64()), "ns"
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = compute.utf8_trim_whitespace(column)
        column = compute.replace_with_mask(
            column, compute.equal(column, ""), pa.scalar(None, column.type)
        )
        column = _decimal(column, unit)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    scale = 10 ** TIME_UNITS[unit]
    if pa.types.is_decimal(column.type):
        places = column.cast(pa.decimal128(38, TIME_UNITS[unit])).fill_null(0)
        # The whole number of nanoseconds is what Arrow keeps: 16 bytes, the low ones first.
        bits = np.frombuffer(places.buffers()[1], dtype="<i8")
        return bits[2 * places.offset :: 2][: len(places)].copy(), known
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64()).fill_null(0).to_numpy() * scale, known
    told = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    known = known & np.isfinite(told) & (np.abs(told) < 9.2e18 / scale)
    told = np.where(known, told, 0.0)
    whole = np.floor(told)
    part = np.round((told - whole) * scale).astype(np.int64)
    return whole.astype(np.int64) * scale + part, known


def _decimal(column: pa.Array, unit: str) -> pa.Array:
    """Text as decimals of whole nanoseconds where it is; as floating point where it goes beyond."""
    try:
        return column.cast(pa.decimal128(38, TIME_UNITS[unit]))
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


def _lights_table(source: Path, mapped: Mapped, tally: Tally) -> Beside | None:
    told = mapped.lights
    if told is None:
        return None
    words = {"lane": told.lane, "state": told.state} | ({"log": told.log} if told.log else {})
    return _beside(source, told.data, mapped, words=words, numbers={}, time=told.time, tally=tally)


def _series_tables(source: Path, mapped: Mapped, tally: Tally) -> list[tuple[Series, Beside]]:
    made = []
    for told in mapped.readings:
        words = {"log": told.log} if told.log else {}
        numbers = {f"={name}": column for name, column in told.signals.items()}
        table = _beside(
            source, told.data, mapped, words=words, numbers=numbers, time=told.time, tally=tally
        )
        made.append((told, table))
    return made


def _beside(
    source: Path,
    name: str,
    mapped: Mapped,
    *,
    words: Mapping[str, str],
    numbers: Mapping[str, str],
    time: str,
    tally: Tally,
) -> Beside:
    types = {"t_ns": pa.int64()} | dict.fromkeys(words, pa.string())
    schema = pa.schema(list((types | dict.fromkeys(numbers, pa.float64())).items()))
    notes = [tally]

    def rows() -> Iterator[pa.RecordBatch]:
        return _columns_of(
            _inside(source, name), words=words, numbers=numbers, time=time, mapped=mapped,
            tally=notes.pop() if notes else Tally(),  # what is read again was told before
        )  # fmt: skip

    return Beside(rows, schema)


# Logs ---------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What all logs of a mapping have in common, and the headings of the one that is told.

    Attributes:
        source: The mapping's file.
        mapped: The mapping.
        map: Of all logs.
        lights: Of all logs.
        series: Likewise.
        motion: Headings so far of the log that is told in parts.
        period_ns: Its usual step, once known.
        met_ego: Whether a part so far had the ego.
    """

    source: Path
    mapped: Mapped
    map: RoadMap
    lights: Beside | None
    series: list[tuple[Series, Beside]]
    motion: MotionHeadings = field(default_factory=MotionHeadings)
    period_ns: int = 0
    met_ego: bool = False

    def log(self, stretch: Stretch, tally: Tally) -> Log:
        mapped, table = self.mapped, stretch.table
        name = str(table["log"][0].as_py())
        coded = table["track"].combine_chunks().dictionary_encode()
        names = [str(word) for word in coded.dictionary.to_pylist()]
        track = coded.indices.to_numpy().astype(np.int64)
        if not stretch.part:
            self.motion = MotionHeadings()
            for beside in self.beside():
                beside.begin()
            self.period_ns = _period(track, stretch.t_ns)
        state = self._states(table, track, stretch, names, tally)
        words = self._types(table, track, len(names), stretch.inside, tally)
        mine = self._is_ego(table, track, names)
        self.met_ego = bool(mine.any()) or (self.met_ego and stretch.part > 0)
        if mapped.ego is not None and not (self.met_ego or stretch.more):
            tally.add("missing", f"the mapping's ego {mapped.ego!r} is no track of this log")
        rows, others = stretch.inside & mine, stretch.inside & ~mine
        agents = observations(
            track=track[others], t_ns=stretch.t_ns[others], xyz=state.xyz[others],
            yaw=state.yaw[others], size=state.size[others],
            velocity=None if state.velocity is None else state.velocity[others],
            names=names, source_cls=words, cls=[mapped.cls(word) for word in words], tally=tally,
        )  # fmt: skip
        unknown = {words[k] for k in np.unique(track[others]) if mapped.cls(words[k]) == 0}
        for word in sorted(unknown - {"unknown", ""}):
            tally.add("guessed", f"type {word!r} is in no line of [types]; it is told as unknown")
        return Log(
            dataset=mapped.dataset or plain_name(self.source).removesuffix(SUFFIX),
            source_log_id=name,
            source_uri=str(self.source),
            record=name if mapped.columns.log else "",
            rate_hz=mapped.rate_hz or 1e9 / self.period_ns,
            ego=_ego(rows, track, stretch, state, names, words, tally),
            agents=agents,
            map=self.map,
            lights=self._lights(name, stretch, tally),
            t0_unix_ns=stretch.first if self._absolute() else None,
            split=mapped.split,
            location=mapped.location,
            weather=None if mapped.weather is None else Weather.of(mapped.weather),
            daylight=None if mapped.daylight is None else Daylight.of(mapped.daylight),
            license=mapped.license,
            epsg=mapped.epsg,
            sensors=[Sensor(channel=s.channel, kind=s.kind) for s, _ in self.series],
            readings=self._readings(name, stretch, tally),
            notes=tally.notes(),
            extra={} if self._absolute() else {"first_time_ns": stretch.first},
            part=stretch.part,
            more=stretch.more,
        )

    def beside(self) -> list[Beside]:
        """The tables beside the tracks."""
        return [
            *([] if self.lights is None else [self.lights]),
            *(table for _, table in self.series),
        ]

    def _absolute(self) -> bool:
        return self.mapped.time.absolute

    def _states(
        self,
        table: pa.Table,
        track: Int[Array, " rows"],
        stretch: Stretch,
        names: list[str],
        tally: Tally,
    ) -> _States:
        """Places, headings, sizes and velocities as the records want them."""
        columns, frame = self.mapped.columns, self.mapped.frame
        metre, mps = LENGTH_UNITS[frame.length_unit], SPEED_UNITS[frame.speed_unit]
        up = -1.0 if frame.y_down else 1.0
        here = stretch.inside

        def told(name: str) -> Float[Array, " rows"]:
            return (
                table[name].to_numpy() if name in columns.numbers else np.full(len(track), np.nan)
            )

        constants = self.mapped.constants
        usual = (constants.length, constants.width, constants.height)
        size = np.column_stack([told(n) for n in ("length", "width", "height")])
        size = np.where(np.isfinite(size) & (size > 0.0), size, usual) * metre
        xy = np.column_stack([told("x"), up * told("y")]) * metre
        if columns.z is None:
            tally.add("missing", "positions have no z", len(np.unique(track[here])))
        z = np.zeros(len(track)) if columns.z is None else told("z") * metre
        if frame.z_at == "bottom":
            z = z + np.nan_to_num(size[:, 2]) / 2.0
        yaw = frame.yaw(told("yaw"))
        bare = np.flatnonzero(~np.isfinite(yaw) & np.isfinite(xy).all(axis=1))
        if len(bare):
            guess, known = self.motion.headings(
                track[bare], stretch.t_ns[bare], xy[bare], names, here[bare]
            )
            yaw[bare] = guess
            tally.add("guessed", "headings follow from the motion", int(here[bare].sum()))
            still = np.unique(track[bare][here[bare] & ~known])
            tally.add("guessed", "tracks without heading and motion point along x", len(still))
        if frame.reference != "centre":
            half = np.nan_to_num(size[:, 0]) / 2.0
            unsized = np.unique(track[here & ~np.isfinite(size[:, 0])])
            reason = f"tracks have no length; their {frame.reference} is taken as the centre"
            tally.add("guessed", reason, len(unsized))
            ahead = unit(yaw) * half[:, None]
            xy = xy - ahead if frame.reference == "front" else xy + ahead
        velocity = None
        if columns.vx is not None:
            velocity = np.column_stack([told("vx"), up * told("vy")]) * mps
        elif columns.speed is not None:
            velocity = told("speed")[:, None] * mps * unit(yaw)
        return _States(np.column_stack([xy, z]), yaw, size, velocity)

    def _types(
        self,
        table: pa.Table,
        track: Int[Array, " rows"],
        count: int,
        inside: Bool[Array, " rows"],
        tally: Tally,
    ) -> list[str]:
        """The first word for each track."""
        if self.mapped.columns.type is None:
            return [self.mapped.constants.type] * count
        coded = table["type"].combine_chunks().dictionary_encode()
        index = coded.indices.to_numpy().astype(np.int64)
        first = np.zeros(count, dtype=np.int64)
        first[track[::-1]] = index[::-1]
        changed = np.unique(track[inside & (index != first[track])])
        tally.add("guessed", "tracks change their type; the first is taken", len(changed))
        words = [str(word) for word in coded.dictionary.to_pylist()]
        return [words[k] or self.mapped.constants.type for k in first]

    def _is_ego(
        self, table: pa.Table, track: Int[Array, " rows"], names: list[str]
    ) -> Bool[Array, " rows"]:
        mine = np.zeros(len(track), dtype=bool)
        if self.mapped.columns.ego is not None:
            mine |= np.isin(table["ego"].to_numpy(zero_copy_only=False).astype(str), YES)
        if self.mapped.ego is not None and self.mapped.ego in names:
            mine |= track == names.index(self.mapped.ego)
        if mine.any():  # one track is the ego, in all its rows
            mine = track == track[np.flatnonzero(mine)[0]]
        return mine

    def _lights(self, log: str, stretch: Stretch, tally: Tally) -> LightStates:
        told = self.mapped.lights
        if told is None or self.lights is None:
            return LightStates.none()
        rows, t_ns = _within(self.lights, log, stretch, tally, told.data)
        words = rows["state"].to_pylist()
        ours = [LightState.of(told.states.get(word, "unknown")) if word in told.states
                or word not in LightState.words() else LightState.of(word) for word in words]  # fmt: skip
        no = np.zeros(len(words), dtype=bool)
        if not words:
            return LightStates.none()
        return LightStates(
            source_lane_id=rows["lane"].to_pylist(), t_ns=t_ns,
            state=np.array([int(state) for state in ours]), source_state=words, arrow=no,
            flashing=no, stop_xyz=np.full((len(words), 3), np.nan),
        )  # fmt: skip

    def _readings(self, log: str, stretch: Stretch, tally: Tally) -> list[Readings]:
        made = []
        for told, table in self.series:
            rows, t_ns = _within(table, log, stretch, tally, told.data)
            fresh = np.append(True, np.diff(t_ns) > 0)[: len(t_ns)]
            reason = f"readings of {told.data} at one time; the first is kept"
            tally.add("dropped", reason, int((~fresh).sum()))
            for signal in told.signals:
                value = rows[f"={signal}"].to_numpy()
                if len(value):
                    made.append(
                        Readings(
                            channel=told.channel, signal=signal, t_ns=t_ns[fresh],
                            value=value[fresh], unit=told.units.get(signal, ""),
                        )
                    )  # fmt: skip
        return made


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """Columns of rows: places [m], headings [rad], sizes [m], velocities [m/s]."""

    xyz: Float[Array, "rows 3"]
    yaw: Float[Array, " rows"]
    size: Float[Array, "rows 3"]
    velocity: Float[Array, "rows 2"] | None


def _period(track: Int[Array, " rows"], t_ns: Int[Array, " rows"]) -> int:
    """The usual time between two rows of a track, a second where there is none [ns]."""
    order = np.lexsort((t_ns, track))
    steps = np.diff(t_ns[order])[np.diff(track[order]) == 0]
    steps = steps[steps > 0]
    return int(np.median(steps)) if len(steps) else 1_000_000_000


def _within(
    beside: Beside, log: str, stretch: Stretch, tally: Tally, file: str
) -> tuple[pa.Table, Int[Array, " rows"]]:
    """Rows of a log within a part, and their times since the log began [ns]."""
    rows = beside.until(log, None if stretch.end is None else stretch.first + stretch.end)
    t_ns = rows["t_ns"].to_numpy() - stretch.first
    early = int((t_ns < 0).sum())
    tally.add("dropped", f"rows of {file} before the log begins", early)
    return rows.slice(early), t_ns[early:]


def _ego(
    rows: Bool[Array, " rows"],
    track: Int[Array, " rows"],
    stretch: Stretch,
    state: _States,
    names: list[str],
    words: list[str],
    tally: Tally,
) -> EgoStates | None:
    sound = rows & np.isfinite(state.xyz).all(axis=1) & np.isfinite(state.yaw)
    tally.add("dropped", "rows of the ego without a finite position", int((rows & ~sound).sum()))
    mine = np.flatnonzero(sound)
    if not len(mine):
        return None
    mine = mine[np.argsort(stretch.t_ns[mine], kind="stable")]
    fresh = np.append(True, np.diff(stretch.t_ns[mine]) > 0)
    tally.add("dropped", "states of the ego at one time; the first is kept", int((~fresh).sum()))
    mine = mine[fresh]
    size = np.array([_median(state.size[mine, k]) for k in range(3)])
    tally.add("guessed", "the ego's size is not told in full; a car's is taken",
              int(not np.isfinite(size).all()))  # fmt: skip
    length, width, height = np.where(np.isfinite(size), size, CAR_M).tolist()
    me = int(track[mine[0]])
    return EgoStates(
        t_ns=stretch.t_ns[mine], xyz=state.xyz[mine], yaw=state.yaw[mine],
        size=(length, width, height),
        velocity=None if state.velocity is None else state.velocity[mine],
        source_track_id=names[me], source_cls=words[me],
    )  # fmt: skip


def _median(values: Float[Array, " rows"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan

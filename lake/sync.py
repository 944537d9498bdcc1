"""Modalities of one log lined up in time: captures, readings and the ego at the moments of one clock.

lake.sync(log_id, clock="front")                     # at every image of the front camera
lake.sync(log_id, clock=0.1, readings=["speed"])     # every 0.1 s
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from geometry.arrays import Array
from lake.limits import id_of, real
from lake.media import nearest
from schemas.errors import BadQuery, UnknownName

if TYPE_CHECKING:
    from lake.lake import Lake

Method = Literal["nearest", "before", "linear"]

_DIRECTIONS = frozenset(
    {"azimuth", "bearing", "course", "facing_ahead", "heading", "longitude", "lon", "pitch", "roll",
     "yaw"}
)  # fmt: skip
"""Quantities that go round: between 359° and 1° lies 0°. A steering wheel's angle does not."""

_TURNS = {"rad": 2 * np.pi, "deg": 360.0}

MOST_MOMENTS = 10_000_000
"""A clock of more is refused: three hours at a thousand a second, and gigabytes of answer."""

LONGEST_S = 1e9  # [s] some thirty years, beyond which no period or tolerance makes sense

_EGO = ("x", "y", "z", "yaw", "vx_map", "vy_map", "ax", "yaw_rate", "steering")


def sync(
    lake: Lake,
    log_id: int,
    *,
    clock: str | float | Sequence[int] | Int[Array, " moments"],
    channels: Sequence[str] | None = None,
    readings: Sequence[str] | None = None,
    method: Method = "nearest",
    tolerance_s: float = 0.1,
) -> pa.Table:
    """One row a moment of the clock, with what every modality says of it.

    Args:
        lake: That holds the log.
        log_id: Of ``logs``.
        clock: A channel whose captures or readings are the moments, ``ego``, a period [s] of which
            no more than ``MOST_MOMENTS`` fit into the log, or whole times [ns].
        channels: Cameras, lidars, radars to line up; all by default.
        readings: Quantities (``readings.signal``) to line up; all by default.
        method: Which value a moment takes: the nearest, the last before it, or for numbers the
            line between the two round it (words and captures then take the nearest; headings, and
            what else goes round, the shorter way).
        tolerance_s: What is farther away is null; under ``linear``, so is what lies between
            neighbours farther apart than twice this [s].

    Returns:
        ``t_ns``; for each channel ``<channel>.uri``, ``.byte_offset``, ``.byte_size``,
        ``.container``, ``.codec``, ``.pts``, ``.blob_id`` and ``.dt_ns`` (capture minus moment);
        for each quantity ``<channel>.<signal>``; for the ego ``ego.x``, ….

    Raises:
        UnknownName: No log, channel or quantity is called that.
        BadQuery: The clock has no moment or too many, or a number is none that can be.
    """
    if method not in ("nearest", "before", "linear"):
        raise UnknownName("method", method, ("nearest", "before", "linear"))
    reach = round(real("tolerance_s", tolerance_s, least=0.0, most=LONGEST_S) * 1e9)
    clock = _checked(clock)
    mine = f"log_id = {id_of('log', log_id)}"
    if not lake.read("logs", ["log_id"], mine).num_rows:
        known = lake.read("logs", ["log_id"])["log_id"].to_pylist()
        raise UnknownName("log", str(log_id), map(str, known))
    frames = lake.read("frames", None, mine).sort_by(
        [("channel", "ascending"), ("t_ns", "ascending")]
    )
    series = lake.read("readings", None, mine).sort_by(
        [("channel", "ascending"), ("signal", "ascending"), ("t_ns", "ascending")]
    )
    ego = lake.read("ego", ["t_ns", *_EGO], f"{mine} AND valid").sort_by("t_ns")
    moments = _moments(clock, frames, ego, series)
    columns: dict[str, pa.Array] = {"t_ns": pa.array(moments, pa.int64())}
    for channel, rows in _groups(frames, "channel", channels, "channel"):
        columns |= _captures(channel, rows, moments, method, reach)
    for signal, quantity in _groups(series, "signal", readings, "reading"):
        for channel, rows in _groups(quantity, "channel", None, "channel"):
            columns[f"{channel}.{signal}"] = _reading(rows, moments, method, reach)
    if ego.num_rows:
        times = ego["t_ns"].to_numpy()
        for name in _EGO:
            values = _floats(ego[name])
            if np.isfinite(values).any():
                turn = 2 * np.pi if name == "yaw" else None
                columns[f"ego.{name}"] = _number(times, values, moments, method, reach, turn=turn)
    return pa.table(columns)


def _checked(clock: str | float | Sequence[int] | Array) -> str | float | Int[Array, " moments"]:
    """The clock, if it is one, whatever the log."""
    if isinstance(clock, str):
        return clock
    if np.ndim(clock) == 0:
        return real("clock", clock, least=1e-9, most=LONGEST_S)
    times = np.asarray(clock)
    if times.ndim != 1 or (times.size and times.dtype.kind not in "iu"):
        raise BadQuery(
            f"A clock of {times.dtype} in {times.ndim} dimensions tells no moments.",
            hint="Give whole nanoseconds since the log began, one after the other: "
            "(1e9 * seconds).astype(int).",
        )
    return np.sort(times.astype(np.int64))


def _moments(
    clock: str | float | Array, frames: pa.Table, ego: pa.Table, series: pa.Table
) -> Int[Array, " moments"]:
    if isinstance(clock, str):
        if clock == "ego":
            made = ego["t_ns"].to_numpy()
        else:
            both = pa.concat_tables([t.select(["channel", "t_ns"]) for t in (frames, series)])
            known = both["channel"].unique().to_pylist()
            if clock not in known:
                raise UnknownName("channel", clock, [*known, "ego"])
            mine = both.filter(pa.compute.equal(both["channel"], clock))
            made = np.unique(mine["t_ns"].to_numpy())
    elif isinstance(clock, float):
        times = [t["t_ns"].to_numpy() for t in (frames, ego, series) if t.num_rows]
        if not times:
            raise BadQuery(
                f"A clock of {clock} s has no moment in this log.",
                hint="It has no captures, readings or ego; give times [ns].",
            )
        begin, end = min(t.min() for t in times), max(t.max() for t in times)
        period = round(clock * 1e9)
        count = (int(end) - int(begin)) // period + 1
        if count > MOST_MOMENTS:
            raise BadQuery(
                f"A clock of {clock:g} s has {count:,} moments in this log of "
                f"{(end - begin) / 1e9:,.0f} s; {MOST_MOMENTS:,} are the most.",
                hint="Give a longer period, or the times that you want [ns].",
            )
        made = np.arange(begin, end + 1, period)
    else:
        made = clock
    if not len(made):
        raise BadQuery("The clock has no moment in this log.")
    return made.astype(np.int64)


def _groups(
    table: pa.Table, column: str, wanted: Sequence[str] | None, what: str
) -> list[tuple[str, pa.Table]]:
    known = table[column].unique().to_pylist()
    for name in wanted or ():
        if name not in known:
            raise UnknownName(what, name, known)
    chosen = known if wanted is None else wanted
    return [(name, table.filter(pa.compute.equal(table[column], name))) for name in chosen]


def _pick(times: Array, moments: Array, method: Method, reach: int) -> tuple[Array, Array]:
    """The row of each moment and whether it is near enough."""
    if method == "before":
        at = np.searchsorted(times, moments, side="right") - 1
        row = np.maximum(at, 0)
        return row, (at >= 0) & (moments - times[row] <= reach)
    row = nearest(times, moments)
    return row, np.abs(times[row] - moments) <= reach


def _captures(
    channel: str, rows: pa.Table, moments: Array, method: Method, reach: int
) -> dict[str, pa.Array]:
    times = rows["t_ns"].to_numpy()
    row, near = _pick(times, moments, method, reach)
    index = pa.array(row, mask=~near)
    made = {
        f"{channel}.{name}": rows[name].combine_chunks().take(index)
        for name in ("uri", "byte_offset", "byte_size", "container", "codec", "pts", "blob_id")
    }
    made[f"{channel}.dt_ns"] = pa.array(times[row] - moments, pa.int64(), mask=~near)
    return made


def _reading(rows: pa.Table, moments: Array, method: Method, reach: int) -> pa.Array:
    times = rows["t_ns"].to_numpy()
    if rows["value"].null_count == rows.num_rows:
        row, near = _pick(times, moments, method, reach)
        return rows["text"].combine_chunks().take(pa.array(row, mask=~near))
    name = rows["signal"][0].as_py().rsplit(".", 1)[-1]
    turn = _TURNS.get(rows["unit"][0].as_py()) if name in _DIRECTIONS else None
    return _number(times, _floats(rows["value"]), moments, method, reach, turn=turn)


def _number(
    times: Array,
    values: Array,
    moments: Array,
    method: Method,
    reach: int,
    *,
    turn: float | None = None,
) -> pa.Array:
    """Values at the moments; what goes round says of how much a full ``turn`` is."""
    told = np.isfinite(values)
    if not told.any():
        return pa.nulls(len(moments), pa.float64())
    times, values = times[told], values[told]
    if method != "linear":
        row, near = _pick(times, moments, method, reach)
        return pa.array(values[row], mask=~near)
    after = np.clip(np.searchsorted(times, moments), 0, len(times) - 1)
    before = np.where(times[after] == moments, after, np.maximum(after - 1, 0))
    inside = (times[before] <= moments) & (moments <= times[after])
    inside &= times[after] - times[before] <= 2 * reach
    span = np.maximum(times[after] - times[before], 1)
    weight = (moments - times[before]) / span
    step = values[after] - values[before]
    if turn is None:
        return pa.array(np.asarray(values[before] + weight * step), mask=~inside)
    short = step - turn * np.round(step / turn)
    made = values[before] + weight * short
    # Back into the turn in which the source tells it: [0, 360) and (−180, 180] are both in use.
    low = 0.0 if values.min() >= 0.0 else -turn / 2
    round_it = (made < low) | (made >= low + turn)
    made = np.where(round_it, low + np.mod(made - low, turn), made)
    return pa.array(made, mask=~inside)


def _floats(column: pa.ChunkedArray) -> Array:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan))

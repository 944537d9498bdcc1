"""A stretch of a log as the lake holds it, in the form that scenes are cut from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from geometry.arrays import Array
from lake.localise import (
    LaneMatcher,
    LanePlaces,
    LocalLights,
    LocalLog,
    LocalTracks,
    Rows,
    longest_gap_ns,
    median_size,
)
from lake.roadmap import LocalMap
from schemas.labels import AgentClass, Daylight, LightState, Weather
from schemas.records import EgoStates, Log, Observations

if TYPE_CHECKING:
    from lake.lake import Lake

_STATE = (
    "track_id", "t_ns", "valid", "x", "y", "z", "yaw", "vx_map", "vy_map", "length", "width",
    "height", "lane_id", "lane_s", "lane_d",
)  # fmt: skip


class StoredLog:
    """A log of a lake, whose states are read stretch by stretch.

    Args:
        lake: That holds it.
        row: Its row of ``logs``.
    """

    def __init__(self, lake: Lake, row: dict[str, Any]) -> None:
        self.row, self._lake = row, lake
        self._mine = f"log_id = {row['log_id']}"
        self._map = lake.map_of(row)
        self._matcher = LaneMatcher(self._map)
        self._tracks = lake.read("tracks", None, self._mine).sort_by("track_id")
        self._sizes: dict[int, Array] = {}

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """First and last observation of anyone [ns]; None where there is none."""
        seen = [t for t in self._tracks.to_pylist() if t["n_obs"]]
        if not seen:
            return None
        return min(t["t_first_ns"] for t in seen), max(t["t_last_ns"] for t in seen)

    def between(self, begin_ns: int, end_ns: int) -> LocalLog:
        """States and signals from one time to another, both included, and what joins them."""
        row, gap_ns = self.row, longest_gap_ns(self.row["rate_hz"])
        rows, lanes = _states(
            [
                self._lake.read(name, list(_STATE), self._within(begin_ns, end_ns, gap_ns))
                for name in ("ego", "agents")
            ]
        )
        return LocalLog(
            log=_log(row),
            log_id=row["log_id"],
            origin=np.array([row["origin_x"], row["origin_y"], row["origin_z"]]),
            roads=LocalMap(
                map=self._map,
                derived=self._derived(),
                map_id=row["map_id"],
                notes=(),
            ),
            rows=rows,
            lanes=lanes,
            tracks=self._who(rows),
            lights=self._lights(end_ns),
            matcher=self._matcher,
            known={},
            gap_ns=gap_ns,
            notes=(),
        )

    def _derived(self) -> Array:
        """Of each edge of the map, whether the lake found it."""
        derived = self._map.derived
        return np.zeros(len(self._map.edges), dtype=bool) if derived is None else derived

    def _within(self, begin_ns: int, end_ns: int, gap_ns: int) -> str:
        return f"{self._mine} AND t_ns >= {begin_ns - gap_ns} AND t_ns <= {end_ns + gap_ns}"

    def _who(self, rows: Rows) -> LocalTracks:
        present = np.unique(rows.track)
        told = [t for t in self._tracks.to_pylist() if t["track_id"] in set(present.tolist())]
        cls = [AgentClass.of(t["cls"]) for t in told]
        new = [i for i in present.tolist() if i not in self._sizes]
        if new:
            self._sizes |= self._median_sizes(new)
        return LocalTracks(
            track_id=np.array([t["track_id"] for t in told], dtype=np.int64),
            cls=np.array([int(c) for c in cls], dtype=np.int64),
            source_track_id=[t["source_track_id"] for t in told],
            source_cls=[t["source_cls"] for t in told],
            size=np.array([self._sizes[t["track_id"]] for t in told], dtype=np.float32).reshape(
                -1, 3
            ),
        )

    def _median_sizes(self, tracks: list[int]) -> dict[int, Array]:
        """Of tracks the extents that dense scenes take, over the whole log as at ingest."""
        chosen = f"{self._mine} AND valid AND track_id IN ({', '.join(map(str, tracks))})"
        parts = [
            self._lake.read(name, ["track_id", "length", "width", "height"], chosen)
            for name in ("ego", "agents")
        ]
        table = pa.concat_tables(parts).sort_by("track_id")
        number = table["track_id"].to_numpy()
        size = np.column_stack(
            [_filled(table[name], np.nan, np.float32) for name in ("length", "width", "height")]
        )
        cls = {t["track_id"]: AgentClass.of(t["cls"]) for t in self._tracks.to_pylist()}
        made = {}
        for track in tracks:
            begin, end = np.searchsorted(number, [track, track + 1])
            made[track] = median_size(size[begin:end], cls[track])[0]
        return made

    def _lights(self, end_ns: int) -> LocalLights:
        """All that signals said up to a time: a change may have been told long before."""
        columns = ["source_lane_id", "lane_id", "t_ns", "state", "stop_x", "stop_y"]
        table = self._lake.read("lights", columns, f"{self._mine} AND t_ns <= {end_ns}")
        table = table.sort_by([("source_lane_id", "ascending"), ("t_ns", "ascending")])
        names, first, signal = np.unique(
            np.array(table["source_lane_id"].to_pylist(), dtype=object).astype(str),
            return_index=True, return_inverse=True,
        )  # fmt: skip
        stop = np.column_stack([_filled(table[n], np.nan, np.float32) for n in columns[-2:]])
        has_stop = np.isfinite(stop).all(axis=1)
        stop_xy = np.zeros((len(names), 2), dtype=np.float32)
        some = np.flatnonzero(has_stop)[::-1]  # the first that is told stays
        stop_xy[signal[some]] = stop[some]
        told = np.zeros(len(names), dtype=bool)
        told[signal[some]] = True
        states = [int(LightState.of(word)) for word in table["state"].to_pylist()]
        return LocalLights(
            source_lane_id=names.tolist(),
            lane=_filled(table["lane_id"], -1, np.int64)[first],
            stop_xy=stop_xy,
            has_stop=told,
            signal=signal.astype(np.int64),
            source_row=np.arange(table.num_rows),
            t_ns=table["t_ns"].to_numpy(),
            state=np.array(states, dtype=np.int64),
        )


def _log(row: dict[str, Any]) -> Log:
    """What cutting wants to know of a log."""
    ego = EgoStates(
        t_ns=np.zeros(0, dtype=np.int64),
        xyz=np.zeros((0, 3)),
        yaw=np.zeros(0),
        size=(0.0, 0.0, 0.0),
    )
    return Log(
        dataset=row["dataset"],
        source_log_id=row["source_log_id"],
        source_uri=row["source_uri"],
        record=row["source_record"],
        rate_hz=row["rate_hz"],
        ego=ego if row["has_ego"] else None,
        agents=Observations.none(),
        weather=None if row["weather"] is None else Weather.of(row["weather"]),
        daylight=None if row["daylight"] is None else Daylight.of(row["daylight"]),
    )


def _states(parts: list[pa.Table]) -> tuple[Rows, LanePlaces]:
    table = pa.concat_tables(parts)
    table = table.sort_by([("track_id", "ascending"), ("t_ns", "ascending")])

    def floats(*names: str) -> Array:
        return np.column_stack([_filled(table[name], np.nan, np.float32) for name in names])

    xyz, velocity, yaw = floats("x", "y", "z"), floats("vx_map", "vy_map"), floats("yaw")[:, 0]
    has_velocity = np.asarray(np.isfinite(velocity).all(axis=1))
    on_lane = np.asarray(table["lane_id"].is_valid()).astype(bool)
    rows = Rows(
        track=table["track_id"].to_numpy(),
        t_ns=table["t_ns"].to_numpy(),
        valid=np.asarray(table["valid"]).astype(bool),
        xyz=np.nan_to_num(xyz),
        has_z=np.isfinite(xyz[:, 2]),
        yaw=np.nan_to_num(yaw),
        velocity=np.where(has_velocity[:, None], velocity, np.float32(0.0)),
        has_velocity=has_velocity,
        measured=np.zeros(table.num_rows, dtype=bool),
        size=floats("length", "width", "height"),
        source_row=np.arange(table.num_rows),
    )
    lanes = LanePlaces(
        lane=_filled(table["lane_id"], 0, np.int64),
        s=np.nan_to_num(floats("lane_s")[:, 0]),
        d=np.nan_to_num(floats("lane_d")[:, 0]),
        on_lane=on_lane,
    )
    return rows, lanes


def _filled(column: pa.ChunkedArray, missing: float, kind: type[np.generic]) -> Array:
    return np.asarray(column.fill_null(pa.scalar(missing, column.type))).astype(kind)

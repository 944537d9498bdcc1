"""SMARTS traffic histories: ``.shf``, SQLite files made from other data sets for replay.

Format: smarts.sstudio.genhistories of github.com/huawei-noah/SMARTS. ``Vehicle`` has a row a track
(types as in NGSIM), ``Trajectory`` a row a track and time with the box centre, ``TrafficLightState``
what lights show, ``Spec`` the options of the conversion. Times are seconds, rounded to milliseconds.
Headings are radians counter-clockwise from *north*.

The road is a SUMO network, by custom ``map.net.xml``: it is looked for in the folder of the history,
in those above, and in the ``scenarios`` folder of a checkout of SMARTS; beyond the history's own
folder only one is taken that covers the ``_map_bbox`` of the ``Spec``.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from formats.files import plain_name
from formats.registry import Rejected
from formats.sqlite import columns_of, opened
from formats.stretches import FLOW_ROWS, Stretch, stretches
from formats.sumo_net import Network, read_net
from formats.tally import Tally
from formats.track_rows import observations, runs_as_events
from formats.tree import matching
from geometry.angles import unit, wrap
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LightState
from schemas.records import EgoStates, LightStates, Log, RoadMap

DATASET = "smarts_traffic"
RATE_HZ = 10.0
NET = "map.net.xml"
UP = 6  # how many folders above the history the network may lie
SAME_BOX_M = 15.0  # the box is that of lanes with their widths, not of their centre lines
NUMBER = r"(-?[0-9.]+(?:e-?[0-9]+)?)"
BOX = re.compile(rf"min_pt=Point\(x={NUMBER}, y={NUMBER},.*max_pt=Point\(x={NUMBER}, y={NUMBER},")

TYPES: dict[int, tuple[str, AgentClass]] = {
    0: ("other", AgentClass.OTHER),
    1: ("motorcycle", AgentClass.MOTORCYCLE),
    2: ("passenger", AgentClass.VEHICLE),
    3: ("truck", AgentClass.TRUCK),
    4: ("pedestrian", AgentClass.PEDESTRIAN),
}
"""SMARTS's word and our class; 4 is pedestrians and bicycles alike."""
STOP, CAUTION, GO, FLASHING, ARROW = 1, 2, 4, 8, 16
"""Bits of a light's state."""

NEEDED = {
    "Vehicle": ("id", "type", "length", "width", "height"),
    "Trajectory": ("vehicle_id", "sim_time", "position_x", "position_y", "heading_rad", "speed"),
}


def sources(path: Path) -> Iterator[Path]:
    """Histories at or under a path."""
    yield from matching(path, "*.shf")


def files(source: Path) -> Iterator[Path]:
    """The history, and its network where there is one."""
    yield source
    try:
        with opened(source) as database:
            road = _net_file(source, _spec(database))
    except UnreadableFile:
        return  # told when the history is read
    if road is not None:
        yield road


def read(source: Path) -> Iterator[Log | Rejected]:
    """The history of a file.

    Raises:
        UnreadableFile: It is no SQLite, or not one of these, or its network is broken.
    """
    tally = Tally()
    with opened(source) as database:
        _refuse_what_is_no_history(source, database)
        history = _History.of(source, database, tally)
        found = False
        for stretch in stretches(_rows(database, history.ids, tally), source=source, time="t_ns"):
            found = True
            yield history.log(stretch, database, tally)
            tally = Tally()
        if not found:
            yield Rejected(record="", reason="the history has no rows", notes=tally.notes())


def _refuse_what_is_no_history(source: Path, database: sqlite3.Connection) -> None:
    tables = columns_of(database)
    for name, wanted in NEEDED.items():
        missing = [column for column in wanted if column not in tables.get(name, ())]
        if missing:
            raise UnreadableFile(
                source,
                f"is no SMARTS history: table {name} lacks {', '.join(missing)}",
                hint=f"Its tables: {', '.join(tables) or 'none'}.",
            )


def _spec(database: sqlite3.Connection) -> dict[str, str]:
    if "Spec" not in columns_of(database):
        return {}
    return {str(k): str(v) for k, v in database.execute("SELECT key, value FROM Spec")}


def _rows(
    database: sqlite3.Connection, ids: Mapping[int, int], tally: Tally
) -> Iterator[pa.Table]:
    """Rows in the order of time, some thousands at once."""
    has_lanes = "lane_id" in columns_of(database)["Trajectory"]
    cursor = database.execute(
        "SELECT vehicle_id, sim_time, position_x, position_y, heading_rad, speed, "
        f"{'lane_id' if has_lanes else '0'} FROM Trajectory ORDER BY sim_time, vehicle_id"
    )
    names = ("vehicle_id", "sim_time", "x", "y", "heading", "speed", "lane_id")
    while rows := cursor.fetchmany(FLOW_ROWS):
        usable = [row for row in rows if row[0] in ids and _is_number(row[1])]
        tally.add("dropped", "rows of no vehicle or without a time", len(rows) - len(usable))
        if not usable:
            continue
        columns = list(zip(*usable, strict=True))
        table = {name: np.array([_float(v) for v in column])
                 for name, column in zip(names[1:], columns[1:], strict=True)}  # fmt: skip
        yield pa.table(
            {
                "vehicle": pa.array([ids[k] for k in columns[0]], pa.int64()),
                "t_ns": pa.array(_nanoseconds(table.pop("sim_time"))),
                "lane_id": pa.array(np.nan_to_num(table.pop("lane_id")).astype(np.int64)),
                **{name: pa.array(column) for name, column in table.items()},
            }
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _nanoseconds(seconds: Float[Array, " rows"]) -> Int[Array, " rows"]:
    """Exact for the milliseconds that SMARTS rounds to."""
    return np.round(seconds * 1e6).astype(np.int64) * 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _History:
    """What a history says of its vehicles and its road.

    Attributes:
        source: The file.
        spec: Options of the conversion.
        ids: Index of each vehicle, by its id.
        types: Of each vehicle.
        sizes: (length, width, height); NaN where not told [m].
        ego: Index of the ego, if there is one.
        net: The road, if it was found.
    """

    source: Path
    spec: Mapping[str, str]
    ids: Mapping[int, int]
    types: list[int]
    sizes: Float[Array, "tracks 3"]
    ego: int | None
    net: Network | None

    @classmethod
    def of(cls, source: Path, database: sqlite3.Connection, tally: Tally) -> _History:
        has_ego = "is_ego_vehicle" in columns_of(database)["Vehicle"]
        rows = database.execute(
            "SELECT id, type, length, width, height, "
            f"{'is_ego_vehicle' if has_ego else '0'} FROM Vehicle ORDER BY id"
        ).fetchall()
        egos = [k for k, row in enumerate(rows) if row[5] == 1]
        tally.add("missing", "further vehicles are marked as ego", max(len(egos) - 1, 0))
        sizes = np.array([[_float(v) for v in row[2:5]] for row in rows]).reshape(-1, 3)
        flat = int(np.isnan(sizes[:, 2]).sum())
        tally.add("missing", "vehicles have no height", flat)
        tally.add("missing", "positions have no z", len(rows))
        spec = _spec(database)
        road = _net_file(source, spec)
        if road is None:
            tally.add("missing", f"no {NET} that fits lies beside or above")
        return cls(
            source=source, spec=spec, ids={row[0]: k for k, row in enumerate(rows)},
            types=[row[1] if isinstance(row[1], int) else 0 for row in rows], sizes=sizes,
            ego=egos[0] if egos else None,
            net=None if road is None else read_net(road, tally),
        )  # fmt: skip

    def log(self, stretch: Stretch, database: sqlite3.Connection, tally: Tally) -> Log:
        rows = stretch.table.filter(pa.array(stretch.inside))
        t_ns = rows["t_ns"].to_numpy() - stretch.first
        track = rows["vehicle"].to_numpy()
        yaw = wrap(rows["heading"].to_numpy() + np.pi / 2.0)
        zero = np.zeros(len(track))
        xyz = np.column_stack([rows["x"].to_numpy(), rows["y"].to_numpy(), zero])
        velocity = rows["speed"].to_numpy()[:, None] * unit(yaw)
        names = [str(name) for name in self.ids]
        words = [TYPES.get(kind, (str(kind), AgentClass.UNKNOWN)) for kind in self.types]
        others = track != (-1 if self.ego is None else self.ego)
        agents = observations(
            track=track[others], t_ns=t_ns[others], xyz=xyz[others], yaw=yaw[others],
            size=self.sizes[track][others], velocity=velocity[others], names=names,
            source_cls=[str(kind) for kind in self.types], cls=[cls for _, cls in words],
            tally=tally,
        )  # fmt: skip
        both = sum(self.types[k] == 4 for k in np.unique(track[others]))
        tally.add(
            "guessed", "tracks of type 4, pedestrian or bicycle, are taken as pedestrians", both
        )
        lights = self._lights(stretch, database)
        net = self.net
        return Log(
            dataset=DATASET,
            source_log_id=self.spec.get("name") or plain_name(self.source).removesuffix(".shf"),
            source_uri=str(self.source),
            rate_hz=RATE_HZ,
            ego=self._ego(track, t_ns, xyz, yaw, velocity, tally),
            agents=agents,
            map=net.map if net else RoadMap.none(),
            lights=lights,
            events=runs_as_events(
                "lane", "lane_id", track=track, t_ns=t_ns, value=rows["lane_id"].to_numpy(),
                names=names,
            ),
            notes=tally.notes(),
            extra={
                "spec": dict(self.spec), "first_sim_time_s": stretch.first / 1e9,
                **(net.extra() if net else {}),
            },
            part=stretch.part,
            more=stretch.more,
        )  # fmt: skip

    def _ego(
        self,
        track: Int[Array, " rows"],
        t_ns: Int[Array, " rows"],
        xyz: Float[Array, "rows 3"],
        yaw: Float[Array, " rows"],
        velocity: Float[Array, "rows 2"],
        tally: Tally,
    ) -> EgoStates | None:
        if self.ego is None:
            return None
        mine = np.flatnonzero(
            (track == self.ego) & np.isfinite(xyz).all(axis=1) & np.isfinite(yaw)
        )
        if not len(mine):
            return None
        mine = mine[np.argsort(t_ns[mine], kind="stable")]
        mine = mine[np.append(True, np.diff(t_ns[mine]) > 0)]
        usual = np.array([4.6, 1.9, 1.6])
        told = self.sizes[self.ego]
        known = np.isfinite(told) & (told > 0.0)
        tally.add(
            "guessed", "the ego's size is not told in full; a car's is taken", int(not known.all())
        )
        length, width, height = np.where(known, told, usual).tolist()
        name = next(str(name) for name, k in self.ids.items() if k == self.ego)
        return EgoStates(
            t_ns=t_ns[mine], xyz=xyz[mine], yaw=yaw[mine], size=(length, width, height),
            velocity=velocity[mine], source_track_id=name, source_cls=str(self.types[self.ego]),
        )  # fmt: skip

    def _lights(self, stretch: Stretch, database: sqlite3.Connection) -> LightStates:
        """States of the stretch; unlike the tracks', their times are not moved to begin at 0."""
        columns = columns_of(database).get("TrafficLightState", [])
        if "stop_point_x" not in columns:
            return LightStates.none()
        t_ns = stretch.t_ns[stretch.inside]
        begin = 0 if not stretch.part else int(t_ns[0])
        rows = [
            row
            for row in database.execute(
                "SELECT sim_time, state, stop_point_x, stop_point_y, lane FROM TrafficLightState "
                "WHERE sim_time IS NOT NULL ORDER BY lane, sim_time"
            )
            if _is_number(row[0])
            and begin <= round(row[0] * 1e6) * 1000 - stretch.first <= int(t_ns[-1])
        ]
        if not rows:
            return LightStates.none()
        bits = np.array([int(row[1]) if _is_number(row[1]) else 0 for row in rows])
        state = np.full(len(rows), int(LightState.UNKNOWN))
        for bit, colour in (
            (STOP, LightState.RED),
            (CAUTION, LightState.YELLOW),
            (GO, LightState.GREEN),
        ):
            state[bits & bit > 0] = int(colour)
        stop = np.array([[_float(row[2]), _float(row[3]), 0.0] for row in rows])
        return LightStates(
            source_lane_id=[f"{_float(row[4]):.0f}" for row in rows],
            t_ns=_nanoseconds(np.array([row[0] for row in rows])) - stretch.first,
            state=state,
            source_state=[str(row[1]) for row in rows],
            arrow=bits & ARROW > 0,
            flashing=bits & FLASHING > 0,
            stop_xyz=stop,
        )


def _net_file(source: Path, spec: Mapping[str, str]) -> Path | None:
    """The network of the folder, else one above that covers the same ground."""
    own = next(iter(_nets_in(source.parent)), None)
    if own is not None:
        return own
    box = BOX.search(spec.get("_map_bbox", ""))
    if box is None:
        return None
    wanted = np.array([float(word) for word in box.groups()])
    for folder in list(source.resolve().parents)[1 : UP + 1]:
        found = [*_nets_in(folder), *sorted((folder / "scenarios").glob(f"*/*/{NET}"))]
        for file in found:
            if _covers(file, wanted):
                return file
    return None


def _nets_in(folder: Path) -> list[Path]:
    """Networks in a folder itself, by SMARTS's name for them, perhaps packed."""
    return [file for file in (folder / NET, folder / f"{NET}.gz") if file.is_file()]


def _covers(file: Path, wanted: Float[Array, " 4"]) -> bool:
    try:
        bounds = read_net(file, Tally()).bounds
    except UnreadableFile:
        return False
    return len(bounds) == 4 and bool((np.abs(np.array(bounds) - wanted) < SAME_BOX_M).all())

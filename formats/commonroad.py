"""CommonRoad scenarios: XML of the versions 2017a, 2018b and 2020a.

Format: Althoff, Koschi, Manzinger 2017, and the XML documentation at commonroad.in.tum.de. Lengths
are metres, angles radians counter-clockwise from x, time counts steps of ``timeStepSize`` seconds.
A *lanelet* is a lane between two bounds with as many points each; its centre line is their middle.
An obstacle has a shape, placed by each state's position and orientation; a state's values are
exact or intervals. In 2017a and 2018b all are ``obstacle`` with a ``role``; 2020a names the role
in the element. There is no ego: a *planning problem* says where one should start and get to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from lxml import etree

from formats.files import plain_name, recognised
from formats.names import distinct
from formats.tally import Tally
from formats.tree import matching
from formats.xml_file import begins_with, read_xml
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.polylines import headings, resample
from schemas.errors import UnreadableFile
from schemas.labels import (
    AgentClass,
    Daylight,
    EdgeKind,
    LaneType,
    LightState,
    MapLayer,
    Weather,
)
from schemas.records import (
    LightStates,
    Log,
    MapFeature,
    Observations,
    RoadMap,
    SourceEvent,
)

DATASET = "commonroad"
MOVED_M = 0.1  # between states, below which motion says nothing about the heading
LAST_STEP = 1_000_000  # a scenario of a day at 0.1 s; beyond it, a time step is a mistake
TURN_RAD = 0.5  # change of heading along a lanelet beyond which it turns

CLASSES = {
    "car": AgentClass.VEHICLE,
    "truck": AgentClass.TRUCK,
    "bus": AgentClass.BUS,
    "motorcycle": AgentClass.MOTORCYCLE,
    "bicycle": AgentClass.CYCLIST,
    "pedestrian": AgentClass.PEDESTRIAN,
    "priorityVehicle": AgentClass.VEHICLE,
    "parkedVehicle": AgentClass.VEHICLE,
    "taxi": AgentClass.VEHICLE,
    "train": AgentClass.OTHER,
    "constructionZone": AgentClass.OBSTACLE,
    "roadBoundary": AgentClass.OBSTACLE,
    "building": AgentClass.OBSTACLE,
    "pillar": AgentClass.OBSTACLE,
    "median_strip": AgentClass.OBSTACLE,
    "unknown": AgentClass.UNKNOWN,
}
LANE_TYPES = {
    "bicycleLane": LaneType.BIKE,
    "sidewalk": LaneType.SIDEWALK,
    "busLane": LaneType.BUS,
    "busStop": LaneType.BUS,
    "shoulder": LaneType.SHOULDER,
    "highway": LaneType.FREEWAY,
    "interstate": LaneType.FREEWAY,
    "urban": LaneType.VEHICLE,
    "country": LaneType.VEHICLE,
    "driveWay": LaneType.VEHICLE,
    "mainCarriageWay": LaneType.VEHICLE,
    "accessRamp": LaneType.VEHICLE,
    "exitRamp": LaneType.VEHICLE,
    "intersection": LaneType.VEHICLE,
    "border": LaneType.OTHER,
    "restricted": LaneType.OTHER,
}
"""``laneletType``; a lanelet may have several, the first in this order counts."""
USERS = {"bicycle": LaneType.BIKE, "pedestrian": LaneType.SIDEWALK, "bus": LaneType.BUS}
"""Whom a lane is for that has no type but admits one kind of user alone."""
AREAS = {"crosswalk": MapLayer.CROSSWALK, "parking": MapLayer.PARKING}
"""Types of lanelets that are areas rather than lanes."""
COLOURS = {
    "red": LightState.RED,
    "redYellow": LightState.RED,
    "yellow": LightState.YELLOW,
    "green": LightState.GREEN,
    "inactive": LightState.OFF,
}
SPEED_SIGNS = frozenset(
    {"274", "274.1", "R2-1", "R4-1", "r301", "3.24", "R15", "C43", "B14", "B31", "R-32", "Ρ-32"}
)
"""Speed limits by the codes of the countries that CommonRoad knows; their value is in m/s."""
STOP_SIGNS = frozenset({"206", "R1-1", "R1-3", "r2"})
WEATHER = {
    "sunny": Weather.CLEAR, "clear": Weather.CLEAR, "cloudy": Weather.CLOUDY,
    "light_rain": Weather.RAIN, "mid_rain": Weather.RAIN, "heavy_rain": Weather.RAIN,
    "rain": Weather.RAIN, "fog": Weather.FOG, "snow": Weather.SNOW, "hail": Weather.SNOW,
}  # fmt: skip
DAYLIGHT = {"day": Daylight.DAY, "night": Daylight.NIGHT, "sunset": Daylight.DUSK}
UNKNOWN_PLACES = (999.0, -999.0)
ROLES = {
    "obstacle": "", "dynamicObstacle": "dynamic", "staticObstacle": "static",
    "environmentObstacle": "static", "phantomObstacle": "phantom",
}  # fmt: skip


def sources(path: Path) -> Iterator[Path]:
    """XML files whose root is ``commonRoad``, at or under a path, and broken ones beside them."""
    yield from recognised(matching(path, "*.xml"), lambda file: begins_with(file, b"commonRoad"))


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log]:
    """The one scenario of a file.

    Raises:
        UnreadableFile: It is no XML, or no CommonRoad scenario.
    """
    yield scenario_log(read_xml(source, "commonRoad"), source)


def scenario_log(
    root: Any,
    source: Path,
    *,
    states: Mapping[str, States] | None = None,
    tally: Tally | None = None,
) -> Log:
    """A ``commonRoad`` element as a log, for readers of the other encodings too.

    Args:
        root: As in an XML file of 2020a.
        source: What was read.
        states: Of obstacles by id, where they are not in the element.
        tally: What was noted so far.

    Raises:
        UnreadableFile: It makes no sense, or is empty.
    """
    try:
        log = _log(root, source, states or {}, tally or Tally())
    except Malformed as error:
        raise UnreadableFile(source, f"is no sound CommonRoad scenario: {error}") from error
    if log is None:
        raise UnreadableFile(source, "holds neither lanelets nor obstacles")
    return log


class Malformed(ValueError):
    """An element that lacks what it must have; the message says which."""


def _log(root: Any, source: Path, states: Mapping[str, States], ledger: Tally) -> Log | None:
    step_ns = _step_ns(root)
    name = root.get("benchmarkID") or plain_name(source).removesuffix(".xml")
    moving, standing = _obstacles(root, states, ledger)
    problems = root.findall("planningProblem")
    last_step = max((int(one.step[-1]) for one in moving), default=-1)
    if last_step < 0:
        last_step = max((_goal_end(problem) for problem in problems), default=0)
    standing = [one.repeated(last_step) for one in standing]
    agents = _observations([*moving, *standing], step_ns, ledger)
    road = _map(root, name, ledger)
    if not road.features and not len(agents.t_ns):
        return None
    ledger.add("missing", "CommonRoad names no ego; planning problems are kept as events")
    lights = _lights(root, road, last_step, step_ns, ledger)
    location, extra = _place(root)
    environment = root.find("location/environment")
    weather, daylight = (
        (None, None)
        if environment is None
        else (
            WEATHER.get(environment.findtext("weather", "")),
            DAYLIGHT.get(environment.findtext("timeOfDay", "")),
        )
    )
    return Log(
        dataset=DATASET,
        source_log_id=name,
        source_uri=str(source),
        rate_hz=1e9 / step_ns,
        ego=None,
        agents=agents,
        map=road,
        lights=lights,
        location=location,
        weather=weather,
        daylight=daylight,
        epsg=_epsg(root),
        events=_events(root, problems, last_step, step_ns),
        notes=ledger.notes(),
        extra=extra,
    )


def _step_ns(root: Any) -> int:
    try:
        step_ns = int(Decimal(root.get("timeStepSize", "")) * 10**9)
    except (InvalidOperation, ValueError, OverflowError) as error:  # no number, NaN, infinite
        raise Malformed(f"timeStepSize is `{root.get('timeStepSize')}`") from error
    if step_ns <= 0:
        raise Malformed(f"timeStepSize is `{root.get('timeStepSize')}`")
    return step_ns


# Values -------------------------------------------------------------------------------------------


def _number(text: str | None, what: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise Malformed(f"{what} is `{text}`, not a number") from error


def _values(state: Any, ledger: Tally) -> dict[str, float]:
    """The numbers of a state: exact ones, or the middle of an interval.

    In one pass over its children, as states make up nearly all of a file.
    """
    values: dict[str, float] = {}
    for element in state:
        name, numbers = element.tag, {number.tag: number.text for number in element}
        if "exact" in numbers:
            values[name] = _number(numbers["exact"], name)
        elif "intervalStart" in numbers:
            low = _number(numbers["intervalStart"], name)
            high = _number(numbers.get("intervalEnd"), name)
            values[name] = (low + high) / 2.0
            ledger.add("guessed", f"{name} given as an interval: its middle is taken")
    return values


def _point(element: Any) -> tuple[float, float, float]:
    told = {child.tag: child.text for child in element}
    x, y = _number(told.get("x"), "x"), _number(told.get("y"), "y")
    return x, y, _number(told.get("z", "0"), "z")


_AXES: list[Any] = [etree.XPath(f"point/{axis}/text()", smart_strings=False) for axis in "xyz"]
_POINTS: Any = etree.XPath("count(point)")


def _points(element: Any) -> Float[Array, "points 3"]:
    """All points, by columns where each has its x and y, and all or none a z."""
    count = int(_POINTS(element))
    x, y, z = (path(element) for path in _AXES)
    if len(x) == len(y) == count and len(z) in (0, count):
        try:
            return (
                np.array([*map(float, x), *map(float, y), *map(float, z or [0] * count)])
                .reshape(3, count)
                .T.copy()
            )
        except ValueError:
            pass  # told below, with the name of the number
    return np.array([_point(point) for point in element.findall("point")]).reshape(-1, 3)


def _plain(element: Any) -> Any:
    """An element as JSON values: what is repeated becomes a list."""
    children = list(element)
    if not children:
        text = (element.text or "").strip()
        try:
            return dict(element.attrib) or float(text)
        except ValueError:
            return text
    made: dict[str, Any] = dict(element.attrib)
    for tag in dict.fromkeys(child.tag for child in children):
        values = [_plain(child) for child in children if child.tag == tag]
        made[tag] = values[0] if len(values) == 1 else values
    return made


# Obstacles ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Obstacle:
    """One obstacle's box over its own steps; rows not observed are not ``valid``."""

    name: str
    word: str
    step: Int[Array, " rows"]
    xyz: Float[Array, "rows 3"]
    yaw: Float[Array, " rows"]
    velocity: Float[Array, "rows 2"]
    size: tuple[float, float, float]
    valid: Bool[Array, " rows"]

    def repeated(self, last_step: int) -> _Obstacle:
        """An obstacle that stands, at every step of the scenario."""
        count = last_step + 1
        return _Obstacle(
            name=self.name, word=self.word, step=np.arange(count),
            xyz=np.tile(self.xyz[:1], (count, 1)), yaw=np.tile(self.yaw[:1], count),
            velocity=np.zeros((count, 2)), size=self.size, valid=np.tile(self.valid[:1], count),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Box:
    """A shape as a box in its object's frame: centre, turn, length and width."""

    centre: Float[Array, " 2"]
    turn: float
    length: float
    width: float


def _obstacles(
    root: Any, states: Mapping[str, States], ledger: Tally
) -> tuple[list[_Obstacle], list[_Obstacle]]:
    """Obstacles with states of their own, and those that stand."""
    moving: list[_Obstacle] = []
    standing: list[_Obstacle] = []
    for element in root:
        role = ROLES.get(element.tag)
        if role is None:
            continue
        role = role or element.findtext("role", "dynamic").strip()
        if role == "phantom":
            ledger.add("dropped", "phantom obstacles, which were not observed")
            continue
        try:
            made = _obstacle(element, role, states.get(element.get("id", "")), ledger)
        except Malformed as error:
            ledger.add("dropped", f"obstacles without a usable state or shape ({error})")
            continue
        (standing if role == "static" else moving).append(made)
    return moving, standing


def _obstacle(element: Any, role: str, states: States | None, ledger: Tally) -> _Obstacle:
    if states is None:
        states = _states(element, ledger, moving=role != "static")
    for prediction in ("occupancySet", "probabilityDistribution"):
        if (found := element.find(prediction)) is not None:
            reason = f"{prediction}, a prediction, is not an observation (counted by time step)"
            ledger.add("dropped", reason, max(len(found), 1))
    box = _box(element.find("shape"), ledger)
    word = (element.findtext("type") or "unknown").strip()
    if states is None:
        if role != "static" or box is None:
            raise Malformed("no state")
        # 2017a and environment obstacles: the shape itself stands in the world frame.
        steps, at, yaw, velocity = (
            np.zeros(1, int),
            np.zeros((1, 3)),
            np.zeros(1),
            np.zeros((1, 2)),
        )
    else:
        steps, at, yaw, velocity = _motion(states, element, ledger)
    size = (np.nan, np.nan, np.nan)
    xyz = at.copy()
    if box is not None:
        cos, sin = np.cos(yaw), np.sin(yaw)
        xyz[:, 0] += cos * box.centre[0] - sin * box.centre[1]
        xyz[:, 1] += sin * box.centre[0] + cos * box.centre[1]
        yaw = yaw + box.turn
        size = (box.length, box.width, np.nan)
    life = np.arange(steps[0], steps[-1] + 1)
    place = np.searchsorted(steps, life)
    seen = steps[place] == life
    sound = np.isfinite(xyz).all(axis=1) & np.isfinite(yaw) & np.isfinite(velocity).all(axis=1)
    ledger.add(
        "dropped",
        "states that are NaN or infinite are marked as not observed",
        int((~sound).sum()),
    )
    valid = seen & sound[place]
    if not valid.any():
        raise Malformed("no finite state")
    first, last = np.flatnonzero(valid)[[0, -1]]
    kept = slice(first, last + 1)
    blank = ~valid[:, None]
    return _Obstacle(
        name=element.get("id", ""),
        word=word,
        step=life[kept],
        xyz=np.where(blank, 0.0, xyz[place])[kept],
        yaw=np.where(valid, wrap(np.where(valid, yaw[place], 0.0)), 0.0)[kept],
        velocity=np.where(blank, 0.0, velocity[place])[kept],
        size=size,
        valid=valid[kept],
    )


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """An obstacle's states as columns, in the order of the file; NaN is what a state lacks.

    ``values`` holds time, orientation, velocity, slipAngle and velocityY.
    """

    at: Float[Array, "states 3"]
    values: dict[str, Float[Array, " states"]]


_NAMES = ("time", "orientation", "velocity", "slipAngle", "velocityY")
_PLACES = ("initialState", "trajectory/state")
_COUNT: dict[str, Any] = {place: etree.XPath(f"count({place})") for place in _PLACES}
_VALUES: dict[str, Any] = {place: etree.XPath(f"count({place}/*)") for place in _PLACES}
_PATHS = {name: f"{name}[1]/exact[1]" for name in _NAMES} | {
    axis: f"position[1]/point[1]/{axis}[1]" for axis in "xyz"
}
_TEXTS: dict[tuple[str, str], Any] = {
    (place, name): etree.XPath(f"{place}/{path}/text()", smart_strings=False)
    for place in _PLACES
    for name, path in _PATHS.items()
}


def _states(element: Any, ledger: Tally, *, moving: bool) -> States | None:
    """The states of an obstacle, those of its trajectory only if it moves; None if it has none."""
    parts = []
    for place in _PLACES if moving else _PLACES[:1]:
        count = int(_COUNT[place](element))
        if count:
            found = _columns(element, place, count)
            parts.append(found or _states_one_by_one(element.findall(place), ledger))
    if not parts:
        return None
    return States(
        np.concatenate([part.at for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in _NAMES},
    )


def _columns(element: Any, place: str, count: int) -> States | None:
    """Columns by one search each, which is several times as fast as looking into every state.

    None where the states are not of one kind: an interval, an area, or a value that some lack. If
    there are as many first values of each kind as states, and no further children, each state has
    exactly one of each.
    """
    kinds = {child.tag for child in element.find(place)}
    if int(_VALUES[place](element)) != len(kinds) * count:
        return None
    found: dict[str, Float[Array, " states"]] = {}
    for name in _PATHS:
        texts = _TEXTS[place, name](element) if name in kinds or name in "xyz" else []
        if len(texts) != count and (texts or name in kinds or name in "xy"):
            return None
        try:
            found[name] = np.array([*map(float, texts)]) if texts else np.full(count, np.nan)
        except ValueError:
            return None  # told one by one, with the name of the number
    if count > 1 and np.isnan(found["time"]).any():
        return None
    z = np.where(np.isnan(found["z"]), 0.0, found["z"])
    return States(
        np.column_stack([found["x"], found["y"], z]), {name: found[name] for name in _NAMES}
    )


def _states_one_by_one(states: Sequence[Any], ledger: Tally) -> States:
    rows = [_values(state, ledger) for state in states]
    return States(
        np.array([_position(state, ledger) for state in states]),
        {name: np.array([row.get(name, np.nan) for row in rows]) for name in _NAMES},
    )


def _motion(
    states: States, element: Any, ledger: Tally
) -> tuple[Int[Array, " n"], Float[Array, "n 3"], Float[Array, " n"], Float[Array, "n 2"]]:
    """Steps, positions, headings and velocities of states, ascending, each step once."""
    time = states.values["time"]
    if len(time) == 1:
        time = np.nan_to_num(time)
    sound = (time >= 0) & (time <= LAST_STEP)
    if not sound.all():
        raise Malformed(f"a state at time step {time[~sound][0]}")
    steps, first = np.unique(np.round(time).astype(np.int64), return_index=True)
    ledger.add(
        "dropped", "states at a time that the obstacle has a state for already",
        len(time) - len(steps),
    )  # fmt: skip
    at = states.at[first]

    def column(name: str) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
        told = states.values[name][first]
        return np.nan_to_num(told, nan=0.0, posinf=np.inf, neginf=-np.inf), np.isnan(told)

    yaw, lacking = column("orientation")
    if lacking.any():
        ledger.add("guessed", "headings are taken from the motion", int(lacking.sum()))
        yaw = np.where(lacking, _course(at), yaw)
    direction = yaw + column("slipAngle")[0]
    sideways = column("velocityY")[0]
    speed, lacking = column("velocity")
    velocity = np.column_stack(
        [
            speed * np.cos(direction) - sideways * np.sin(direction),
            speed * np.sin(direction) + sideways * np.cos(direction),
        ]
    )
    if lacking.any() and len(steps) > 1:
        seconds = steps * (_step_ns(element.getroottree().getroot()) / 1e9)
        velocity[lacking] = np.gradient(at[:, :2], seconds, axis=0)[lacking]
        ledger.add("guessed", "velocities are taken from the positions", int(lacking.sum()))
    return steps, at, yaw, velocity


def _course(at: Float[Array, "states 3"]) -> Float[Array, " states"]:
    """Direction of motion, held while standing; 0 if it never moves."""
    yaw = np.full(len(at), np.nan)
    for k, (here, there) in enumerate(pairwise(at)):
        if np.hypot(*(there - here)[:2]) > MOVED_M:
            yaw[k] = np.arctan2(there[1] - here[1], there[0] - here[0])
    known = np.flatnonzero(np.isfinite(yaw))
    if not len(known):
        return np.zeros(len(at))
    before = np.searchsorted(known, np.arange(len(at)), side="right") - 1
    return yaw[known[np.maximum(before, 0)]]


def _position(state: Any, ledger: Tally) -> tuple[float, float, float]:
    point = state.find("position/point")
    if point is not None:
        return _point(point)
    box = _box(state.find("position"), ledger)
    if box is None:
        raise Malformed("a state without position")
    ledger.add("guessed", "position given as an area: its middle is taken")
    return float(box.centre[0]), float(box.centre[1]), 0.0


def _box(shape: Any, ledger: Tally) -> _Box | None:
    """The box of a shape: a rectangle as it is, else the bounds along the object's axes."""
    if shape is None:
        return None
    parts = [part for part in shape if part.tag in ("rectangle", "circle", "polygon")]
    if not parts:
        return None
    corners = []
    for part in parts:
        centre = np.zeros(2)
        if (middle := part.find("center")) is not None:
            centre = np.array(_point(middle)[:2])
        if part.tag == "polygon":
            corners.append(_points(part)[:, :2])
            continue
        if part.tag == "circle":
            radius = _number(part.findtext("radius"), "radius")
            corners.append(centre + radius * np.array([[-1.0, -1.0], [1.0, 1.0]]))
            continue
        length = _number(part.findtext("length"), "length")
        width = _number(part.findtext("width"), "width")
        turn = _number(part.findtext("orientation", "0"), "orientation")
        if len(parts) == 1:
            return _Box(centre, turn, length, width)
        half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [length / 2.0, width / 2.0]
        cos, sin = np.cos(turn), np.sin(turn)
        corners.append(centre + half @ np.array([[cos, sin], [-sin, cos]]))
    if len(parts) > 1 or parts[0].tag == "polygon":
        ledger.add("guessed", "shapes that are no boxes: their bounds are taken")
    every = np.concatenate(corners)
    if not len(every):
        return None
    low, high = every.min(axis=0), every.max(axis=0)
    return _Box((low + high) / 2.0, 0.0, float(high[0] - low[0]), float(high[1] - low[1]))


def _observations(obstacles: Sequence[_Obstacle], step_ns: int, ledger: Tally) -> Observations:
    if not obstacles:
        return Observations.none()
    ledger.add("missing", "obstacles have no height and no z", len(obstacles))
    counts = [len(one.step) for one in obstacles]
    names, renamed = distinct((one.name for one in obstacles), "obstacle")
    for note in renamed:
        ledger.add(note.kind, note.reason, note.count)
    valid = np.concatenate([one.valid for one in obstacles])
    return Observations(
        track=np.repeat(np.arange(len(obstacles)), counts),
        t_ns=np.concatenate([one.step for one in obstacles]).astype(np.int64) * step_ns,
        xyz=np.concatenate([one.xyz for one in obstacles]),
        yaw=np.concatenate([one.yaw for one in obstacles]),
        size=np.concatenate(
            [np.tile(one.size, (n, 1)) for one, n in zip(obstacles, counts, strict=True)]
        ),
        velocity=np.concatenate([one.velocity for one in obstacles]),
        valid=None if valid.all() else valid,
        source_track_id=names,
        source_cls=[one.word for one in obstacles],
        cls=[CLASSES.get(one.word, AgentClass.OTHER) for one in obstacles],
    )


# Map ----------------------------------------------------------------------------------------------


def _map(root: Any, name: str, ledger: Tally) -> RoadMap:
    lanelets = _index(root, "lanelet")
    signs = _index(root, "trafficSign")
    repeated = len(root.findall("lanelet")) - len(lanelets)
    ledger.add("dropped", "lanelets whose id another bears already", repeated)
    features: list[MapFeature] = []
    edges: list[tuple[int, EdgeKind, int]] = []

    inside = _lanelets_of_intersections(root)
    at: dict[str, int] = {}
    for lanelet_id, lanelet in lanelets.items():
        made = _lanelet(lanelet, lanelet_id, len(features), signs, inside, ledger)
        if made is not None:
            at[lanelet_id] = len(features)
            features.append(made)
    for lanelet_id, lanelet in lanelets.items():
        if lanelet_id in at:
            edges += _lane_edges(lanelet, at[lanelet_id], at, ledger)
            for line in _lines(lanelet, lanelet_id, len(features)):
                features.append(line)
                if line.layer is MapLayer.STOP_LINE:
                    edges.append((line.feature_id, EdgeKind.STOP_LINE_OF_LANE, at[lanelet_id]))
    for sign_id, sign in signs.items():
        lanes = [
            at[lanelet_id]
            for lanelet_id, lanelet in lanelets.items()
            if lanelet_id in at and sign_id in _references(lanelet, "trafficSignRef")
        ]
        codes = _sign_codes(sign)
        point = sign.find("position/point")
        if point is not None:
            place = np.array([_point(point)])
        elif lanes:
            place = features[lanes[0]].points[-1:]
            ledger.add("guessed", "signs without position: the end of their lanelet is taken")
        else:
            ledger.add("dropped", "signs without position or lanelet")
            continue
        stop = bool(STOP_SIGNS & set(codes))
        index = len(features)
        features.append(
            MapFeature(
                feature_id=index,
                source_id=sign_id,
                layer=MapLayer.STOP_SIGN if stop else MapLayer.SIGN,
                points=place,
                source_type=" ".join(["trafficSign", *codes]),
                has_z=sign.find("position/point/z") is not None,
            )
        )
        if stop:
            edges += [(index, EdgeKind.STOP_LINE_OF_LANE, lane) for lane in lanes]
    for light_id, light in _index(root, "trafficLight").items():
        point = light.find("position/point")
        if point is not None:
            features.append(
                MapFeature(
                    feature_id=len(features),
                    source_id=light_id,
                    layer=MapLayer.TRAFFIC_LIGHT,
                    points=np.array([_point(point)]),
                    source_type="trafficLight",
                    has_z=light.find("position/point/z") is not None,
                )
            )
    if not features:
        return RoadMap.none()
    unique = np.array(list(dict.fromkeys(edges)), dtype=np.int64).reshape(-1, 3)
    return RoadMap(source_map_id=name, features=features, edges=unique)


def _index(root: Any, tag: str) -> dict[str, Any]:
    """Elements by their id, the first of each."""
    found: dict[str, Any] = {}
    for element in root.findall(tag):
        found.setdefault(element.get("id", ""), element)
    return found


def _lanelets_of_intersections(root: Any) -> frozenset[str] | None:
    """Lanelets within intersections; None where the file does not say."""
    incomings = root.findall("intersection/incoming")
    if not incomings:
        return None
    tags = ("successorsLeft", "successorsStraight", "successorsRight")
    return frozenset(
        element.get("ref") for incoming in incomings for element in incoming if element.tag in tags
    )


def _lanelet(
    lanelet: Any,
    lanelet_id: str,
    index: int,
    signs: dict[str, Any],
    inside: frozenset[str] | None,
    ledger: Tally,
) -> MapFeature | None:
    bounds = [lanelet.find("leftBound"), lanelet.find("rightBound")]
    left, right = (np.zeros((0, 3)) if bound is None else _points(bound) for bound in bounds)
    if len(left) < 2 or len(right) < 2:
        ledger.add("dropped", "lanelets without two bounds of two points")
        return None
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        ledger.add("dropped", "lanelets with bounds that are NaN or infinite")
        return None
    if len(left) == len(right):
        centre = (left + right) / 2.0
    else:
        ledger.add("guessed", "lanelets whose bounds differ in points: resampled for the centre")
        count = max(len(left), len(right))
        centre = (resample(left, count) + resample(right, count)) / 2.0
    words = [(element.text or "").strip() for element in lanelet.findall("laneletType")]
    area = next((AREAS[word] for word in words if word in AREAS), None)
    has_z = lanelet.find("leftBound/point/z") is not None
    source_type = " ".join(words) or "lanelet"
    if area is not None:
        outline = np.concatenate([left, right[::-1]])
        return MapFeature(
            feature_id=index, source_id=lanelet_id, layer=area, points=outline,
            source_type=source_type, has_z=has_z,
        )  # fmt: skip
    in_intersection = None if inside is None else lanelet_id in inside
    if "intersection" in words:
        in_intersection = True
    return MapFeature(
        feature_id=index,
        source_id=lanelet_id,
        layer=MapLayer.LANE,
        points=centre,
        left=left,
        right=right,
        lane_type=_lane_type(lanelet, words),
        source_type=source_type,
        speed_limit=_speed_limit(lanelet, signs),
        in_intersection=in_intersection,
        has_z=has_z,
    )


def _lane_type(lanelet: Any, words: Sequence[str]) -> LaneType:
    by_type = next((made for word, made in LANE_TYPES.items() if word in words), None)
    if by_type is not None:
        return by_type
    users = {(e.text or "").strip() for e in lanelet.iter("userOneWay", "userBidirectional")}
    if len(users) == 1 and (user := next(iter(users))) in USERS:
        return USERS[user]
    return LaneType.VEHICLE if users else LaneType.UNKNOWN


def _speed_limit(lanelet: Any, signs: dict[str, Any]) -> float | None:
    """The lanelet's own limit (2018b), or the lowest of its signs [m/s]."""
    own = lanelet.findtext("speedLimit")
    limits = [] if own is None else [_number(own, "speedLimit")]
    for reference in lanelet.findall("trafficSignRef"):
        sign = signs.get(reference.get("ref"))
        for element in () if sign is None else sign.findall("trafficSignElement"):
            value = element.findtext("additionalValue")
            if (element.findtext("trafficSignID") or "").strip() in SPEED_SIGNS and value:
                limits.append(_number(value, "additionalValue"))
    limits = [limit for limit in limits if np.isfinite(limit) and limit > 0.0]
    return min(limits, default=None)


def _sign_codes(sign: Any) -> list[str]:
    return [(e.text or "").strip() for e in sign.findall("trafficSignElement/trafficSignID")]


def _references(lanelet: Any, tag: str) -> list[str]:
    """What a lanelet refers to, itself or by its stop line, each once."""
    found = [*lanelet.findall(tag), *lanelet.findall(f"stopLine/{tag}")]
    return list(dict.fromkeys(element.get("ref", "") for element in found))


def _lane_edges(
    lanelet: Any, index: int, at: dict[str, int], ledger: Tally
) -> list[tuple[int, EdgeKind, int]]:
    wanted = [
        (kind, element.get("ref"))
        for tag, kind in (
            ("predecessor", EdgeKind.PREDECESSOR), ("successor", EdgeKind.SUCCESSOR),
        )
        for element in lanelet.findall(tag)
    ]  # fmt: skip
    for tag, kind in (("adjacentLeft", EdgeKind.LEFT), ("adjacentRight", EdgeKind.RIGHT)):
        for element in lanelet.findall(tag):
            if element.get("drivingDir") == "same":
                wanted.append((kind, element.get("ref")))
            else:
                ledger.add("dropped", "neighbours in the opposite direction are no edges")
    edges = [(index, kind, at[ref]) for kind, ref in wanted if ref in at]
    ledger.add("dropped", "links to lanelets that are not there", len(wanted) - len(edges))
    return edges


def _lines(lanelet: Any, lanelet_id: str, index: int) -> Iterator[MapFeature]:
    """Painted bounds and the stop line of a lanelet."""
    bounds = {"left": lanelet.find("leftBound"), "right": lanelet.find("rightBound")}
    for side, bound in bounds.items():
        marking = bound.findtext("lineMarking", "").strip()
        if marking and marking not in ("no_marking", "unknown"):
            yield MapFeature(
                feature_id=index, source_id=f"{lanelet_id}-{side}", layer=MapLayer.ROAD_LINE,
                points=_points(bound), source_type=marking,
                has_z=bound.find("point/z") is not None,
            )  # fmt: skip
            index += 1
    stop = lanelet.find("stopLine")
    if stop is not None:
        points = _points(stop)
        if len(points) < 2:  # by definition it then crosses the lanelet's end
            points = np.stack([_points(bounds["left"])[-1], _points(bounds["right"])[-1]])
        yield MapFeature(
            feature_id=index, source_id=f"{lanelet_id}-stop", layer=MapLayer.STOP_LINE,
            points=points, source_type="stopLine", has_z=stop.find("point/z") is not None,
        )  # fmt: skip


# Lights -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Light:
    """A traffic light: which turns it governs, and what it shows at each step."""

    turns: frozenset[str]
    arrow: bool
    words: list[str]


def _lights(root: Any, road: RoadMap, last_step: int, step_ns: int, ledger: Tally) -> LightStates:
    """What each lanelet's light shows, at every step of the scenario."""
    lights = {
        light_id: _light(element, last_step)
        for light_id, element in _index(root, "trafficLight").items()
    }
    lanelets = _index(root, "lanelet")
    lanes = {f.source_id: f for f in road.features if f.layer is MapLayer.LANE}
    stops = {f.source_id: f for f in road.features if f.layer is MapLayer.STOP_LINE}
    names: list[str] = []
    words: list[str] = []
    arrows: list[bool] = []
    places: list[Float[Array, " 3"]] = []
    for lanelet_id, lanelet in lanelets.items():
        references = _references(lanelet, "trafficLightRef")
        known = [lights[ref] for ref in references if ref in lights]
        ledger.add("dropped", "links to traffic lights that are not there",
                   len(references) - len(known))  # fmt: skip
        if not known or lanelet_id not in lanes:
            continue
        turns = _turns(lanelet, lanes)
        light = max(known, key=lambda one: (len(one.turns & turns), "inactive" not in one.words))
        ledger.add("dropped", "further lights of a lanelet, for other turns", len(known) - 1)
        stop = stops.get(f"{lanelet_id}-stop")
        place = lanes[lanelet_id].points[-1] if stop is None else stop.points.mean(axis=0)
        names += [lanelet_id] * (last_step + 1)
        words += light.words
        arrows += [light.arrow] * (last_step + 1)
        places += [place] * (last_step + 1)
    if not names:
        return LightStates.none()
    return LightStates(
        source_lane_id=names,
        t_ns=np.tile(np.arange(last_step + 1), len(names) // (last_step + 1)) * step_ns,
        state=np.array([COLOURS.get(word, LightState.UNKNOWN) for word in words], dtype=np.int64),
        source_state=words,
        arrow=np.array(arrows),
        flashing=np.zeros(len(names), dtype=bool),
        stop_xyz=np.array(places),
    )


def _light(element: Any, last_step: int) -> _Light:
    """Unroll a cycle: at step t it is (t − offset) modulo its length into the cycle."""
    direction = (element.findtext("direction") or "all").strip()
    turns = {turn for turn in ("left", "straight", "right") if turn in direction.lower()}
    cycle = element.findall("cycle/cycleElement")
    colours = [part.findtext("color", "").strip() for part in cycle]
    ends = np.cumsum([_number(part.findtext("duration"), "duration") for part in cycle])
    offset = _number(element.findtext("cycle/timeOffset", "0"), "timeOffset")
    step = np.arange(last_step + 1)
    if (element.findtext("active") or "true").strip() == "false":
        words = ["inactive"] * len(step)
    elif not cycle or not (np.diff(ends, prepend=0.0) > 0.0).all():
        words = ["unknown"] * len(step)
    else:
        phase = np.searchsorted(ends, (step - offset) % ends[-1], side="right")
        words = [colours[k] for k in np.minimum(phase, len(colours) - 1)]
    every = frozenset(("left", "straight", "right"))
    return _Light(frozenset(turns) or every, bool(turns), words)


def _turns(lanelet: Any, lanes: dict[str, MapFeature]) -> frozenset[str]:
    """Which ways one can go from a lanelet, by the shape of its successors."""
    turns = set()
    for successor in lanelet.findall("successor"):
        lane = lanes.get(successor.get("ref", ""))
        if lane is not None:
            yaw = headings(lane.points)
            bend = float(wrap(yaw[-1:] - yaw[:1])[0])
            turns.add("left" if bend > TURN_RAD else "right" if bend < -TURN_RAD else "straight")
    return frozenset(turns)


# Everything else ----------------------------------------------------------------------------------


def _goal_end(problem: Any) -> int:
    ends = [
        *problem.iterfind(".//goalState/time/intervalEnd"),
        *problem.iterfind(".//goalRegion/state/time/intervalEnd"),
    ]
    last = max((_number(end.text, "time") for end in ends), default=0.0)
    return int(last) if 0.0 <= last <= LAST_STEP else 0


def _events(root: Any, problems: Sequence[Any], last_step: int, step_ns: int) -> list[SourceEvent]:
    """The scenario's tags, over all of it, and its planning problems."""
    tags = (root.get("tags") or "").split()
    for element in root.findall("scenarioTags"):
        tags += [child.tag for child in element]
    last = last_step * step_ns
    events = [SourceEvent(name=tag, t0_ns=0, t1_ns=last) for tag in dict.fromkeys(tags)]
    for problem in problems:
        start = problem.findtext("initialState/time/exact")
        t0 = int(_number(start, "time")) * step_ns if start else 0
        t1 = max(_goal_end(problem) * step_ns, t0)
        events.append(
            SourceEvent(name="planning_problem", t0_ns=t0, t1_ns=t1, detail=_plain(problem))
        )
    return events


def _place(root: Any) -> tuple[str | None, dict[str, Any]]:
    """Where it is, as the scenario's id says (`C-USA_US101-1_…`), and facts worth keeping."""
    extra: dict[str, Any] = {
        key: root.get(attribute)
        for key, attribute in (
            ("format_version", "commonRoadVersion"), ("author", "author"),
            ("affiliation", "affiliation"), ("source", "source"), ("date", "date"),
        )
        if root.get(attribute)
    }  # fmt: skip
    place = root.find("location")
    if place is not None:
        for child in place:
            told = _plain(child)
            if told not in UNKNOWN_PLACES and told not in ("", {}):
                extra[child.tag] = told
    match = re.match(r"(?:C-)?([A-Z]{3})_([A-Za-z0-9]+)-", root.get("benchmarkID") or "")
    made_up = match is None or match[1] == "ZAM"  # Zamunda: CommonRoad's invented country
    return None if made_up or match is None else f"{match[2]}, {match[1]}", extra


def _epsg(root: Any) -> int | None:
    """The code of the projection, where the coordinates are those of the projection as it is."""
    geo = root.find("location/geoTransformation")
    if geo is None:
        return None
    found = re.search(r"epsg:+(\d+)", geo.findtext("geoReference") or "", re.IGNORECASE)
    moved = geo.find("additionalTransformation")
    if found is None or (moved is not None and not _is_identity(moved)):
        return None
    return int(found[1])


def _is_identity(transformation: Any) -> bool:
    return all(
        _number(transformation.findtext(tag, default), tag) == float(default)
        for tag, default in (
            ("xTranslation", "0"), ("yTranslation", "0"), ("zRotation", "0"), ("scaling", "1"),
        )
    )  # fmt: skip

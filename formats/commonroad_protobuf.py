"""CommonRoad scenarios in protobuf: one file (2020a), or map, traffic and scenario apart (2024).

The messages say what the XML says, so they become its elements and :mod:`formats.commonroad` reads
those; the states of obstacles, which make up nearly all of a file, go as columns past them.

A 2024 scenario ``…-SC.pb`` names its map and its traffic (``dynamic``), files of these names beside
it. Traffic that no scenario names is a log of its own, on the map that its id begins with; a map
that nobody names is a log of a map alone. Files have no magic number: the first field tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float
from lxml import etree

from formats.commonroad import States, scenario_log
from formats.commonroad_protos import (
    COLOURS,
    DIRECTIONS,
    GROUNDS,
    LANELETS,
    LANELETS_2020,
    MAP_OBSTACLES,
    MARKINGS,
    MAX_SPEED_2020,
    OBSTACLES,
    SIGNS,
    TAGS,
    TIMES,
    TIMES_2020,
    USERS,
    WEATHERS,
    WEATHERS_2020,
    classes_2020,
    classes_2024,
)
from formats.files import plain_name, present, read_bytes
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import head, matching
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.records import Log

SUFFIX = ".pb"
WHOLE, MAP, TRAFFIC, SCENARIO = (
    "CommonRoad",
    "CommonRoadMap",
    "CommonRoadDynamic",
    "CommonRoadScenario",
)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NOWHERE = (np.nan, np.nan)
NAMES = {
    "time": "time_step", "orientation": "orientation", "velocity": "velocity",
    "slipAngle": "slip_angle", "velocityY": "velocity_y",
}  # fmt: skip


def sources(path: Path) -> Iterator[Path]:
    """Scenarios, and traffic and maps that none of the same folder names."""
    found = {file: _told(file) for file in matching(path, f"*{SUFFIX}")}
    homes = {file.parent for file, told in found.items() if told is not None}
    for file, told in found.items():
        if told is None:  # what holds nothing is taken for one of those around it
            if file.parent in homes and not head(file):
                yield file
        elif told.kind in (WHOLE, SCENARIO) or file == path or not _named_beside(file, told, path):
            yield file


def files(source: Path) -> Iterator[Path]:
    """The file, and those it names that are there."""
    yield source
    told = _told(source)
    for name in () if told is None else told.names:
        beside = _beside(source, name)
        if beside is not None:
            yield beside


def read(source: Path) -> Iterator[Log | Rejected]:
    """The one scenario of a file and of those it names.

    Raises:
        UnreadableFile: It is no CommonRoad message, or makes no sense.
    """
    told = _told(source)
    if told is None:
        raise UnreadableFile(source, "is no CommonRoad message", hint="Is it a whole file?")
    tally = Tally()
    if told.kind == WHOLE:
        writing = _Writing(tally, classes_2020())
        writing.whole(_parsed(source, WHOLE, classes_2020()))
        yield scenario_log(writing.root, source, states=writing.states, tally=tally)
        return
    writing = _Writing(tally, classes_2024())
    parts = {told.kind: source}
    for kind, name in zip((MAP, TRAFFIC), told.names, strict=False):
        beside = _beside(source, name)
        if beside is None:
            tally.add("missing", f"{name}{SUFFIX}, which should lie beside, is not there")
        else:
            parts[kind] = beside
    if told.kind == SCENARIO and len(parts) == 1:
        raise UnreadableFile(
            source, f"needs {' and '.join(told.names)} beside it", hint="Fetch those files too."
        )
    for kind in (MAP, TRAFFIC, SCENARIO):
        if kind in parts:
            message = _parsed(parts[kind], kind, classes_2024())
            {MAP: writing.map, TRAFFIC: writing.traffic, SCENARIO: writing.scenario}[kind](message)
    yield scenario_log(writing.root, source, states=writing.states, tally=tally)


# Which file is which ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """What the first bytes of a file say: its kind, and the names of its map and traffic."""

    kind: str
    names: tuple[str, ...]


def _told(file: Path) -> _Told | None:
    fields = list(_fields(head(file)))
    if not fields or fields[0][0] != 1 or not isinstance(fields[0][1], bytes):
        return None
    first = list(_fields(fields[0][1], whole=True))
    kinds = [(number, type(value)) for number, value in first]
    if kinds[:2] == [(1, bytes), (2, bytes)] and (3, bytes) in kinds and (7, float) in kinds:
        return _Told(WHOLE, ())
    opening = first[0][1] if first else None
    inner = dict(_fields(opening, whole=True)) if isinstance(opening, bytes) else {}
    if kinds == [(1, bytes), (2, bytes)] and _map_name(inner):
        return _Told(MAP, ())
    place = inner.get(2)
    if kinds != [(1, bytes), (2, bytes), (3, float)] or not isinstance(place, bytes):
        return None
    name = _map_name(dict(_fields(place, whole=True)))
    rest = fields[1:]
    if not name or (rest and rest[0][0] not in (2, 3)):
        return None
    if not rest or rest[0][0] == 2:
        return _Told(TRAFFIC, (name,))
    told = {number: value for number, value in rest if number in (3, 4)}
    texts = [value.decode(errors="replace") for value in told.values() if isinstance(value, bytes)]
    return _Told(SCENARIO, tuple(texts)) if len(texts) == 2 else None


def _map_name(place: Mapping[int, Any]) -> str:
    country, name, number = place.get(1), place.get(2), place.get(3)
    if not (isinstance(country, bytes) and isinstance(name, bytes) and isinstance(number, int)):
        return ""
    if len(country) != 3 or not country.isalpha():
        return ""
    return f"{country.decode()}_{name.decode(errors='replace')}-{number}"


def _fields(data: bytes, *, whole: bool = False) -> Iterator[tuple[int, bytes | int | float]]:
    """Numbers and values of a message's fields as far as the bytes go.

    Args:
        data: The wire format, perhaps cut off.
        whole: It is not cut off; then bytes that are no message make it no message at all.
    """
    at, made = 0, []
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        value: bytes | int | float | None = None
        if kind == VARINT:
            value, at = _varint(data, at)
        elif kind == BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, at = float(np.frombuffer(data[at : at + size].ljust(size, b"\0"),
                                            f"<f{size}")[0]), at + size  # fmt: skip
        if value is None or at > len(data) or key >> 3 == 0:
            if whole:
                return
            break
        made.append((key >> 3, value))
    yield from made


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; beyond the end where it is cut off."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, len(data) + 1
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    return 0, len(data) + 1


def _beside(source: Path, name: str) -> Path | None:
    """The file of a name in the same folder; a name that leads elsewhere is none."""
    if not name or Path(name).name != name:
        return None
    return present(source.with_name(name + SUFFIX))


def _named_beside(file: Path, told: _Told, path: Path) -> bool:
    """Whether a scenario, or for a map some traffic, of the same folder names a file."""
    name = plain_name(file).removesuffix(SUFFIX)
    for other in matching(path if path.is_dir() else file.parent, f"*{SUFFIX}"):
        if other.parent != file.parent or other == file:
            continue
        names = _told(other)
        named = names is not None and name in names.names
        if named and names is not None and (names.kind == SCENARIO or told.kind == MAP):
            return True
    return False


def _parsed(path: Path, kind: str, classes: Mapping[str, Any]) -> Any:
    try:
        return classes[kind].FromString(read_bytes(path))
    except DecodeError as error:
        hint = "Was the file written to its end?"
        raise UnreadableFile(path, f"is no whole {kind} message ({error})", hint=hint) from error


# Messages as elements -----------------------------------------------------------------------------


class _Writing:
    """The ``commonRoad`` element of a scenario, and the states of its obstacles."""

    def __init__(self, tally: Tally, classes: Mapping[str, Any]) -> None:
        self.root = etree.Element("commonRoad")
        self.states: dict[str, States] = {}
        self.tally = tally
        self.old = classes is classes_2020()

    def whole(self, message: Any) -> None:
        """A file of the one-file generation."""
        about = message.information
        self._about(about.benchmark_id, about, about.common_road_version, about.time_step_size)
        self._location(message.location)
        if message.location.HasField("environment"):
            self._environment(message.location.environment)
        self._tags(message.scenario_tags)
        for lanelet in message.lanelets:
            element = self._lanelet(lanelet, {})
            if lanelet.HasField("stop_line"):
                line = _child(element, "stopLine")
                for point in lanelet.stop_line.points:
                    _point(line, point)
                _text(line, "lineMarking", _word(MARKINGS, lanelet.stop_line.line_marking))
                _refs(line, "trafficSignRef", lanelet.stop_line.traffic_sign_refs)
                _refs(line, "trafficLightRef", lanelet.stop_line.traffic_light_refs)
        for sign in message.traffic_signs:
            self._sign(sign, sign.traffic_sign_elements)
        for light in message.traffic_lights:
            self._light(light, light)
        self._intersections(message.intersections, "successors")
        self._obstacles(message)
        for one in message.environment_obstacles:
            self._environment_obstacle(one, OBSTACLES)
        for problem in message.planning_problems:
            self._problem(problem)

    def map(self, message: Any) -> None:
        """A map of the three-file generation."""
        about = message.map_meta_information
        place = about.map_id
        name = f"{place.country_id}_{place.map_name}-{place.map_id}"
        self._about(name, about.file_information, "2024", 0.1)
        self._location(message.location)
        bounds = {bound.boundary_id: bound for bound in message.boundaries}
        stops = {line.stop_line_id: line for line in message.stop_lines}
        for lanelet in message.lanelets:
            element = self._lanelet(lanelet, bounds)
            if lanelet.HasField("stop_line") and lanelet.stop_line in stops:
                stop = stops[lanelet.stop_line]
                line = _child(element, "stopLine")
                _point(line, stop.start_point)
                _point(line, stop.end_point)
                _text(line, "lineMarking", _word(MARKINGS, stop.line_marking))
        self.tally.add("dropped", "areas of maps of version 2024", len(message.areas))
        for sign in message.traffic_signs:
            self._sign(sign, sign.traffic_sign_elements)
        for light in message.traffic_lights:
            self._light(light, None)
        self._intersections(message.intersections, "outgoing")
        for one in message.environment_obstacles:
            self._environment_obstacle(one, MAP_OBSTACLES)

    def traffic(self, message: Any) -> None:
        """What moves, and how lights change, of the three-file generation."""
        about = message.dynamic_meta_information
        self._about_scenario(about)
        location = self.root.find("location")
        if location is None:
            location = _child(self.root, "location")
        self._environment(message.environment)
        by_id = {light.get("id"): light for light in self.root.findall("trafficLight")}
        for cycle in message.traffic_light_cycle:
            element = by_id.get(str(cycle.traffic_light_id))
            if element is None:
                self.tally.add("dropped", "cycles of traffic lights that are not there")
                continue
            self._cycle(element, cycle)
        signs = {sign.get("id"): sign for sign in self.root.findall("trafficSign")}
        for value in message.traffic_sign_value:
            element = signs.get(str(value.traffic_sign_id))
            if element is None:
                self.tally.add("dropped", "values of traffic signs that are not there")
                continue
            for old in element.findall("trafficSignElement"):
                element.remove(old)
            self._sign_elements(element, value.traffic_sign_elements)
        self._obstacles(message)

    def scenario(self, message: Any) -> None:
        """The planning problems, and the scenario's own name."""
        self._about_scenario(message.scenario_meta_information)
        for problem in message.planning_problems:
            self._problem(problem)
            self._tags(problem.scenario_tags)
        cooperative = len(message.cooperative_planning_problems)
        self.tally.add("dropped", "cooperative planning problems, which group others", cooperative)

    # Parts ----------------------------------------------------------------------------------------

    def _about_scenario(self, about: Any) -> None:
        benchmark = about.benchmark_id
        place = benchmark.map_id
        name = f"{'C-' * benchmark.cooperative}{place.country_id}_{place.map_name}-{place.map_id}"
        if benchmark.configuration_id:
            name += f"_{benchmark.configuration_id}"
        if benchmark.obstacle_behavior:
            name += f"_{benchmark.obstacle_behavior}-{benchmark.prediction_id}"
        self._about(name, about.file_information, benchmark.scenario_version, about.time_step_size)

    def _about(self, name: str, about: Any, version: str, step: float) -> None:
        date = about.date
        told = {
            "benchmarkID": name, "commonRoadVersion": version, "timeStepSize": repr(step),
            "author": about.author, "affiliation": about.affiliation, "source": about.source,
            "date": f"{date.year:04}-{date.month:02}-{date.day:02}",
        }  # fmt: skip
        for key, value in told.items():
            if value:
                self.root.set(key, _plain(value))

    def _location(self, location: Any) -> None:
        element = _child(self.root, "location")
        _text(element, "geoNameId", location.geo_name_id)
        _text(element, "gpsLatitude", location.gps_latitude)
        _text(element, "gpsLongitude", location.gps_longitude)
        if location.HasField("geo_transformation"):
            geo = location.geo_transformation
            inner = _child(element, "geoTransformation")
            _text(inner, "geoReference", geo.geo_reference)
            more = _child(inner, "additionalTransformation")
            for tag, name in (
                ("xTranslation", "x_translation"), ("yTranslation", "y_translation"),
                ("zRotation", "z_rotation"), ("scaling", "scaling"),
            ):  # fmt: skip
                if geo.HasField(name):
                    _text(more, tag, getattr(geo, name))

    def _environment(self, environment: Any) -> None:
        element = _child(self.root.find("location"), "environment")
        times, weathers = (TIMES_2020, WEATHERS_2020) if self.old else (TIMES, WEATHERS)
        if environment.HasField("time"):
            hour, minute = environment.time.hour, environment.time.minute
            _text(element, "time", f"{hour:02}:{minute:02}")
        for name, tag, words in (
            ("time_of_day", "timeOfDay", times), ("weather", "weather", weathers),
            ("underground", "underground", GROUNDS),
        ):  # fmt: skip
            if environment.HasField(name):
                _text(element, tag, _word(words, getattr(environment, name)))

    def _tags(self, tags: Any) -> None:
        element = _child(self.root, "scenarioTags")
        for tag in tags.tags:
            _child(element, _word(TAGS, tag, other="tag"))

    def _lanelet(self, lanelet: Any, bounds: Mapping[int, Any]) -> Any:
        element = _child(self.root, "lanelet", id=lanelet.lanelet_id)
        for tag, bound, name in (
            ("leftBound", lanelet.left_bound, "left_bound_reverse"),
            ("rightBound", lanelet.right_bound, "right_bound_reverse"),
        ):
            side = _child(element, tag)
            found = bound if self.old else bounds.get(bound)
            if found is None:
                continue
            backward = not self.old and getattr(lanelet, name)
            for point in reversed(found.points) if backward else found.points:
                _point(side, point)
            if found.HasField("line_marking"):
                _text(side, "lineMarking", _word(MARKINGS, found.line_marking))
        _refs(element, "predecessor", lanelet.predecessors)
        _refs(element, "successor", lanelet.successors)
        for tag, name, way in (
            ("adjacentLeft", "adjacent_left", "adjacent_left_dir"),
            ("adjacentRight", "adjacent_right", "adjacent_right_dir"),
        ):
            if lanelet.HasField(name):
                against = getattr(lanelet, way if self.old else f"{name}_opposite_dir")
                _child(
                    element, tag, ref=getattr(lanelet, name),
                    drivingDir="opposite" if against else "same",
                )  # fmt: skip
        words = LANELETS_2020 if self.old else LANELETS
        for kind in lanelet.lanelet_types:
            _text(element, "laneletType", _word(words, kind))
        for user in lanelet.user_one_way:
            _text(element, "userOneWay", _word(USERS, user))
        for user in lanelet.user_bidirectional:
            _text(element, "userBidirectional", _word(USERS, user))
        _refs(element, "trafficSignRef", lanelet.traffic_sign_refs)
        _refs(element, "trafficLightRef", lanelet.traffic_light_refs)
        return element

    def _sign(self, sign: Any, elements: Sequence[Any]) -> None:
        element = _child(self.root, "trafficSign", id=sign.traffic_sign_id)
        self._sign_elements(element, elements)
        if sign.HasField("position"):
            _point(_child(element, "position"), sign.position)

    def _sign_elements(self, element: Any, told: Sequence[Any]) -> None:
        for one in told:
            made = _child(element, "trafficSignElement")
            country, number = "", 0
            for field, value in one.ListFields():
                if field.name != "additional_values":
                    country, number = ("" if not self.old else field.name), value
            known = SIGNS.get(country, {0: MAX_SPEED_2020})
            other = f"{country} {number}".strip()
            _text(made, "trafficSignID", known.get(number, other))
            for value in one.additional_values:
                _text(made, "additionalValue", value)

    def _light(self, light: Any, cycle: Any) -> None:
        element = _child(self.root, "trafficLight", id=light.traffic_light_id)
        if light.HasField("position"):
            _point(_child(element, "position"), light.position)
        if light.HasField("direction"):
            _text(element, "direction", _word(DIRECTIONS, light.direction))
        if cycle is not None:
            self._cycle(element, cycle)

    def _cycle(self, element: Any, cycle: Any) -> None:
        inner = _child(element, "cycle")
        for part in cycle.cycle_elements:
            made = _child(inner, "cycleElement")
            _text(made, "duration", part.duration)
            _text(made, "color", _word(COLOURS, part.color))
        _text(inner, "timeOffset", cycle.time_offset)
        if cycle.HasField("active"):
            _text(element, "active", str(cycle.active).lower())

    def _intersections(self, intersections: Sequence[Any], prefix: str) -> None:
        for intersection in intersections:
            element = _child(self.root, "intersection", id=intersection.intersection_id)
            for incoming in intersection.incomings:
                inner = _child(element, "incoming")
                _refs(inner, "incomingLanelet", incoming.incoming_lanelets)
                for tag, side in (
                    ("successorsLeft", "left"), ("successorsStraight", "straight"),
                    ("successorsRight", "right"),
                ):  # fmt: skip
                    _refs(inner, tag, getattr(incoming, f"{prefix}_{side}"))

    def _obstacles(self, message: Any) -> None:
        for one in message.static_obstacles:
            name = str(one.static_obstacle_id)
            element = _child(self.root, "staticObstacle", id=name)
            _text(element, "type", _word(OBSTACLES, one.obstacle_type))
            self._shape(_child(element, "shape"), one.shape)
            self._add_states(name, [one.initial_state])
        for one in message.dynamic_obstacles:
            name = str(one.dynamic_obstacle_id)
            element = _child(self.root, "dynamicObstacle", id=name)
            _text(element, "type", _word(OBSTACLES, one.obstacle_type))
            self._shape(_child(element, "shape"), one.shape)
            if one.HasField("set_based_prediction"):
                found = one.set_based_prediction.occupancy_set.occupancies
                inner = _child(element, "occupancySet")
                for _ in found:
                    _child(inner, "occupancy")
            states = [one.initial_state, *one.trajectory_prediction.trajectory.states]
            signals = len(one.signal_series) + one.HasField("initial_signal_state")
            self.tally.add("dropped", "states of indicators, horns and brake lights", signals)
            self._add_states(name, states)
        for one in message.phantom_obstacles:
            _child(self.root, "phantomObstacle", id=one.obstacle_id)

    def _environment_obstacle(self, one: Any, words: Sequence[str]) -> None:
        element = _child(self.root, "environmentObstacle", id=one.environment_obstacle_id)
        _text(element, "type", _word(words, one.obstacle_type))
        self._shape(_child(element, "shape"), one.obstacle_shape)

    def _shape(self, element: Any, shape: Any) -> None:
        if shape.HasField("shape_group"):
            for part in shape.shape_group.shapes:
                self._shape(element, part)
        elif shape.HasField("rectangle"):
            box = _child(element, "rectangle")
            _text(box, "length", shape.rectangle.length)
            _text(box, "width", shape.rectangle.width)
            if shape.rectangle.HasField("orientation"):
                _text(box, "orientation", shape.rectangle.orientation)
            if shape.rectangle.HasField("center"):
                _point(box, shape.rectangle.center, "center")
        elif shape.HasField("circle"):
            circle = _child(element, "circle")
            _text(circle, "radius", shape.circle.radius)
            if shape.circle.HasField("center"):
                _point(circle, shape.circle.center, "center")
        elif shape.HasField("polygon"):
            polygon = _child(element, "polygon")
            for vertex in shape.polygon.vertices:
                _point(polygon, vertex)
        elif shape.HasField("semi_trailer_truck_shape"):
            truck = shape.semi_trailer_truck_shape.truck_shape.truck_dims
            box = _child(element, "rectangle")
            _text(box, "length", truck.length)
            _text(box, "width", truck.width)
            self.tally.add("dropped", "semi-trailers: the tractor's box is taken")

    def _add_states(self, name: str, states: Sequence[Any]) -> None:
        """Columns of the states; of two obstacles with one id the first."""
        if name in self.states:
            self.tally.add("dropped", "states of obstacles whose id another bears already")
            return
        values = {ours: self._column(states, theirs) for ours, theirs in NAMES.items()}
        if all(state.HasField("point") for state in states):
            places = [(state.point.x, state.point.y, state.point.z) for state in states]
        else:
            places = [self._place(state) for state in states]
        self.states[name] = States(np.array(places, dtype=np.float64), values)

    def _column(self, states: Sequence[Any], name: str) -> Float[Array, " states"]:
        told = [getattr(state, name) for state in states if state.HasField(name)]
        if len(told) == len(states) and all(value.HasField("exact") for value in told):
            return np.array([value.exact for value in told], dtype=np.float64)
        column = np.full(len(states), np.nan)
        for k, state in enumerate(states):
            value = getattr(state, name) if state.HasField(name) else None
            if value is not None and value.HasField("exact"):
                column[k] = value.exact
            elif value is not None and value.HasField("interval"):
                column[k] = (value.interval.start + value.interval.end) / 2.0
                self.tally.add("guessed", f"{name} given as an interval: its middle is taken")
        return column

    def _place(self, state: Any) -> tuple[float, float, float]:
        if state.HasField("point"):
            return state.point.x, state.point.y, state.point.z
        for kind in ("rectangle", "circle"):
            if state.HasField("shape") and state.shape.HasField(kind):
                self.tally.add("guessed", "position given as an area: its middle is taken")
                centre = getattr(state.shape, kind).center
                return centre.x, centre.y, 0.0
        if state.HasField("shape") and state.shape.HasField("polygon"):
            self.tally.add("guessed", "position given as an area: its middle is taken")
            corners = np.array([(v.x, v.y) for v in state.shape.polygon.vertices] or [NOWHERE])
            low, high = corners.min(axis=0), corners.max(axis=0)
            return float(low[0] + high[0]) / 2.0, float(low[1] + high[1]) / 2.0, 0.0
        return (*NOWHERE, 0.0)

    def _problem(self, problem: Any) -> None:
        element = _child(self.root, "planningProblem", id=problem.planning_problem_id)
        self._state(_child(element, "initialState"), problem.initial_state)
        for goal in problem.goal_states:
            made = _child(element, "goalState")
            self._state(made, goal.state)
            if len(goal.goal_position_lanelets):
                place = made.find("position")
                if place is None:
                    place = _child(made, "position")
                for old in list(place):
                    place.remove(old)  # the lanelets' outlines, which they stand for
                _refs(place, "lanelet", goal.goal_position_lanelets)

    def _state(self, element: Any, state: Any) -> None:
        for field, value in state.ListFields():
            if field.name == "point":
                _point(_child(element, "position"), value)
                continue
            if field.name == "shape":
                self._shape(_child(element, "position"), value)
                continue
            tag = "time" if field.name == "time_step" else _camel(field.name)
            inner = _child(element, tag)
            if value.HasField("exact"):
                _text(inner, "exact", value.exact)
            elif value.HasField("interval"):
                _text(inner, "intervalStart", value.interval.start)
                _text(inner, "intervalEnd", value.interval.end)


def _child(element: Any, tag: str, **attributes: Any) -> Any:
    return etree.SubElement(
        element, tag, {key: _plain(value) for key, value in attributes.items()}
    )


def _text(element: Any, tag: str, value: Any) -> None:
    etree.SubElement(element, tag).text = _plain(value)


def _plain(value: Any) -> str:
    """A value as XML can hold it: control characters of a damaged file are shown."""
    if not isinstance(value, str):
        return repr(value)
    return value if value.isprintable() else "".join(c if c.isprintable() else "�" for c in value)


def _point(element: Any, point: Any, tag: str = "point") -> None:
    made = etree.SubElement(element, tag)
    _text(made, "x", point.x)
    _text(made, "y", point.y)
    if point.HasField("z"):
        _text(made, "z", point.z)


def _refs(element: Any, tag: str, ids: Sequence[int]) -> None:
    for one in ids:
        etree.SubElement(element, tag, ref=str(one))


def _word(words: Sequence[str], number: int, *, other: str = "unknown") -> str:
    """The word of a number; of one that a newer release added, the number itself."""
    return words[number] if 0 <= number < len(words) else f"{other}{number}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

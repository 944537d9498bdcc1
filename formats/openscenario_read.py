"""OpenSCENARIO 1.0 to 1.3 as far as it tells states: who is where at the start, and timed paths.

A scenario is a plan, not a recording. What it fixes becomes the log: the entities with their boxes,
their places and speeds after ``Init`` on the OpenDRIVE map, trajectories whose vertices have times
and whose start is a given simulation time, signal controllers, weather and time of day. What depends
on the course of a simulation (lane changes, speed profiles, triggers on others) is kept as events by
its name. Parameters have their declared values; catalogs and parameter distributions are no
scenarios and are not claimed. Reference points are the rear axle's middle on the ground, from which
the bounding box tells its centre.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.files import plain_name, recognised
from formats.opendrive_map import OpenDriveMap, load
from formats.openscenario_positions import Pose, Positions
from formats.openscenario_values import Catalogs, Scope, Unclear, found_beside
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import head, matching
from formats.xml_file import begins_with, read_xml
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, EdgeKind, LightState, MapLayer, Weather
from schemas.records import (
    EgoStates,
    LightStates,
    Log,
    Observations,
    RoadMap,
    SourceEvent,
)

DATASET = "openscenario"
RATE_HZ = 10.0  # of a scenario that tells the start alone
EGO_NAMES = ("ego", "hero")
LONGEST_S = 3600.0  # of a log whose signals go on by themselves
SECOND_NS = 1_000_000_000
_SENSELESS = "entities that make no sense"
_UNPLACED = "an initial place that is not told"
FOG_M = 1000.0  # range of sight below which it is foggy
SUN_UP, SUN_DOWN = 0.1, -0.1  # elevations between which it is dusk [rad]

CLASSES = {
    "car": AgentClass.VEHICLE, "van": AgentClass.VEHICLE, "truck": AgentClass.TRUCK,
    "trailer": AgentClass.TRUCK, "semitrailer": AgentClass.TRUCK, "bus": AgentClass.BUS,
    "motorbike": AgentClass.MOTORCYCLE, "bicycle": AgentClass.CYCLIST,
    "train": AgentClass.OTHER, "tram": AgentClass.OTHER,
    "pedestrian": AgentClass.PEDESTRIAN, "wheelchair": AgentClass.PEDESTRIAN,
    "animal": AgentClass.ANIMAL,
}  # fmt: skip
"""By category of a vehicle or pedestrian; every other object stands in the way."""
CATEGORIES = {
    "Vehicle": "vehicleCategory", "Pedestrian": "pedestrianCategory",
    "MiscObject": "miscObjectCategory",
}  # fmt: skip
COLOURS = {
    "red": LightState.RED, "stop": LightState.RED, "yellow": LightState.YELLOW,
    "caution": LightState.YELLOW, "attention": LightState.YELLOW, "green": LightState.GREEN,
    "go": LightState.GREEN, "off": LightState.OFF,
}  # fmt: skip
LAMPS = (LightState.RED, LightState.YELLOW, LightState.GREEN)
"""Of states such as ``on;off;off``, from the top."""
OVERCAST = ("fiveOktas", "sixOktas", "sevenOktas", "eightOktas", "nineOktas")
SKIES = {
    "free": Weather.CLEAR, "cloudy": Weather.CLOUDY, "overcast": Weather.CLOUDY,
    "rainy": Weather.RAIN,
}  # fmt: skip
"""``cloudState`` of version 1.0."""
NO_SCENARIO = {b"<Catalog ": "a catalog", b"<ParameterValueDistribution": "a distribution"}


def sources(path: Path) -> Iterator[Path]:
    """``*.xosc`` files with a storyboard at or under a path, and broken ones beside them."""
    yield from recognised(matching(path, "*.xosc"), _begins_as_scenario)


def files(source: Path) -> Iterator[Path]:
    """The scenario, its map, and the catalogs that it may refer to."""
    yield source
    try:
        root = read_xml(source, "OpenSCENARIO")
    except UnreadableFile:
        return
    scope = Scope().inside(root)
    road = _logic_file(root, source, scope, Tally())
    if road is not None:
        yield road
    if next(root.iter("CatalogReference"), None) is not None:
        yield from (file for file in Catalogs(root, source, scope).files() if file != source)


def read(source: Path) -> Iterator[Log | Rejected]:
    """The one scenario of a file.

    Raises:
        UnreadableFile: It, its map or a catalog is broken; it is no scenario; it places nobody.
    """
    root = read_xml(source, "OpenSCENARIO")
    if root.find("Storyboard") is None:
        what = next((child.tag for child in root if child.tag != "FileHeader"), "nothing")
        raise UnreadableFile(
            source, f"is no scenario: it holds a <{what}> and no <Storyboard>",
            hint="Read the scenario that uses it instead.",
        )  # fmt: skip
    yield _Reading(root, source).log()


def _begins_as_scenario(file: Path) -> bool:
    return begins_with(file, b"OpenSCENARIO") and not any(
        other in head(file) for other in NO_SCENARIO
    )


def _logic_file(root: Any, source: Path, scope: Scope, tally: Tally) -> Path | None:
    element = root.find("RoadNetwork/LogicFile")
    if element is None:
        tally.add("missing", "the scenario names no map")
        return None
    try:
        named = scope.text(element, "filepath")
    except Unclear as error:
        tally.add("missing", f"the map's name cannot be told: {error}")
        return None
    found = found_beside(source, named)
    if found is None or not found.is_file():
        tally.add("missing", f"the map `{named}` is not there, or lies out of the scenario's tree")
        return None
    if not plain_name(found).lower().endswith(".xodr"):
        tally.add("missing", f"the map `{named}` is no OpenDRIVE file, which alone is read here")
        return None
    return found


@dataclass(slots=True)
class _Entity:
    """Someone or something of the scenario.

    Attributes:
        name: As in the file.
        word: Its category.
        cls: Normalised.
        centre: Of the box from the reference point, in the entity's frame [m].
        size: Length, width, height; NaN where not told [m].
        pose: After ``Init``.
        speed: Likewise [m/s].
        times: Of states told later [s].
        poses: Those states.
    """

    name: str
    word: str
    cls: AgentClass
    centre: Float[Array, " 3"]
    size: tuple[float, float, float]
    pose: Pose | None = None
    speed: float = 0.0
    times: list[float] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)


class _Reading:
    """One scenario in the making of its log."""

    def __init__(self, root: Any, source: Path) -> None:
        self.root, self.source, self.tally = root, source, Tally()
        self.scope = Scope().inside(root)
        self.catalogs = Catalogs(root, source, self.scope)
        road = _logic_file(root, source, self.scope, self.tally)
        self.map: OpenDriveMap | None = None if road is None else load(road)
        self.positions = Positions(None if self.map is None else self.map.roads, self.catalogs)
        self.entities = self._entities()
        self.events: list[SourceEvent] = []

    def log(self) -> Log:
        self._init()
        self._storyboard()
        present = [e for e in self.entities.values() if e.pose is not None or e.poses]
        absent = len(self.entities) - len(present)
        self.tally.add("dropped", "entities whose place is not told", absent)
        if not present:
            raise UnreadableFile(
                self.source, f"tells nobody's place{self._why_nobody()}",
                hint="Are its catalogs and its map where it names them?",
            )  # fmt: skip
        ego = next((e for e in present if e.name.lower() in EGO_NAMES), None)
        if ego is None:
            self.tally.add("missing", "no entity is called Ego")
        end = max((t for e in present for t in e.times), default=0.0)
        header = self.root.find("FileHeader")
        told = {} if header is None else dict(header.attrib)
        for key, element in (("license", None if header is None else header.find("License")),):
            if element is not None:
                told[key] = element.get("name", "")
        weather, daylight = self._environment()
        if self.map is not None:
            self.tally.extend(self.map.notes)
        end_ns = round(end * SECOND_NS)
        lights = self._lights(end)
        return Log(
            dataset=DATASET,
            source_log_id=f"{self.source.parent.name}/{plain_name(self.source).rsplit('.', 1)[0]}",
            source_uri=str(self.source),
            rate_hz=_rate(present),
            ego=None if ego is None else _ego(ego),
            agents=self._observations([e for e in present if e is not ego]),
            map=RoadMap.none() if self.map is None else self.map.map,
            lights=lights,
            weather=weather,
            daylight=daylight,
            license=told.get("license") or None,
            epsg=None if self.map is None else self.map.epsg,
            events=[
                event if event.t1_ns >= 0 else replace(event, t1_ns=max(end_ns, event.t0_ns))
                for event in self.events
            ],
            notes=self.tally.notes(),
            extra={
                "header": told,
                "parameters": {k: self._shown(v) for k, v in self.scope.parameters.items()},
                "map": {} if self.map is None else self.map.extra,
            },
        )

    def _shown(self, value: str) -> str:
        try:
            return self.scope.value(value)
        except Unclear:
            return value

    # Entities -------------------------------------------------------------------------------------

    def _why_nobody(self) -> str:
        """The nearest cause of nobody being placed, and how many there are of its kind."""
        reasons = [note.reason for note in self.tally.notes()]
        alike = next(
            (found for begin in (_UNPLACED, _SENSELESS)
             if (found := [r for r in reasons if r.startswith(begin)])),
            reasons[:1],
        )  # fmt: skip
        if not alike:
            return ""
        cause = alike[0].removeprefix(f"{_UNPLACED}: ")
        if cause.startswith(_SENSELESS):
            cause = cause[len(_SENSELESS) + 2 : -1]
        return f": {cause}" + (f" (and {len(alike) - 1} more)" if len(alike) > 1 else "")

    def _entities(self) -> dict[str, _Entity]:
        found: dict[str, _Entity] = {}
        for element in self.root.iterfind("Entities/ScenarioObject"):
            try:
                name = self.scope.text(element, "name")
                made = self._entity(element, name)
            except Unclear as error:
                self.tally.add("dropped", f"{_SENSELESS} ({error})")
                continue
            if name in found:
                self.tally.add("dropped", "entities whose name another bears already")
                continue
            found[name] = made
        return found

    def _entity(self, element: Any, name: str) -> _Entity:
        body, scope = next((c for c in element if c.tag in CATEGORIES), None), self.scope
        reference = element.find("CatalogReference")
        if body is None and reference is not None:
            body, scope = self.catalogs.entry(reference, self.scope)
        if body is None or body.tag not in CATEGORIES:
            external = element.find("ExternalObjectReference")
            self.tally.add(
                "missing", "entities that are told outside the scenario: no class, no size"
            )
            word = "" if external is None else external.get("name", "")
            return _Entity(name, word, AgentClass.UNKNOWN, np.zeros(3), (np.nan, np.nan, np.nan))
        scope = scope.inside(body) if reference is None else scope
        word = scope.text(body, CATEGORIES[body.tag], "") or body.tag.lower()
        other = AgentClass.OBSTACLE if body.tag == "MiscObject" else AgentClass.OTHER
        if body.tag == "Pedestrian":
            other = AgentClass.PEDESTRIAN
        centre, dimensions = body.find("BoundingBox/Center"), body.find("BoundingBox/Dimensions")
        size = (np.nan, np.nan, np.nan)
        if dimensions is not None:
            told = [scope.number(dimensions, key) for key in ("length", "width", "height")]
            size = (told[0], told[1], told[2])
        shift = (
            np.zeros(3)
            if centre is None
            else np.array([scope.number(centre, key, 0.0) for key in "xyz"])
        )
        return _Entity(name, word, CLASSES.get(word, other), shift, size)

    def _init(self) -> None:
        """Places and speeds, in whatever order they refer to each other."""
        todo: list[tuple[_Entity, Callable[[], Pose]]] = []
        for private in self.root.iterfind("Storyboard/Init/Actions/Private"):
            name = self._shown(private.get("entityRef", ""))
            if name not in self.entities:
                self.tally.add("dropped", "initial actions of entities that are not there")
                continue
            positions = private.findall("PrivateAction/TeleportAction/Position")
            paths = private.findall("PrivateAction/RoutingAction/FollowTrajectoryAction")
            for follow in paths:
                self._follow(follow, [name], 0.0)
            entity = self.entities[name]
            todo += [(entity, partial(self._placed, position)) for position in positions[-1:]]
            if not positions and not entity.poses:
                todo += [(entity, partial(self._begun, follow)) for follow in paths[-1:]]
        reasons: dict[str, str] = {}
        while todo:
            left = []
            for entity, told in todo:
                try:
                    entity.pose = told()
                except Unclear as error:
                    reasons[entity.name] = str(error)
                    left.append((entity, told))
            if len(left) == len(todo):
                break
            todo = left
        for entity, _ in todo:
            self.tally.add("dropped", f"{_UNPLACED}: {reasons[entity.name]}")
        self._speeds()

    def _placed(self, position: Any) -> Pose:
        return self.positions.pose(position, self.scope, self._poses())

    def _begun(self, follow: Any) -> Pose:
        """Who has no place of its own begins where its trajectory does."""
        trajectory, scope = self.positions.trajectory(follow, self.scope)
        return self.positions.start_of(trajectory, scope, self._poses())

    def _poses(self) -> dict[str, Pose]:
        return {e.name: e.pose for e in self.entities.values() if e.pose is not None}

    def _speeds(self) -> None:
        relative = []
        for private in self.root.iterfind("Storyboard/Init/Actions/Private"):
            entity = self.entities.get(self._shown(private.get("entityRef", "")))
            for action in private.iterfind("PrivateAction/LongitudinalAction/SpeedAction"):
                dynamics = action.find("SpeedActionDynamics")
                if entity is None or dynamics is None:
                    continue
                try:
                    if self.scope.text(dynamics, "dynamicsShape", "step") != "step":
                        self.tally.add("dropped", "initial speeds that are reached only in time")
                        continue
                    target = action.find("SpeedActionTarget/AbsoluteTargetSpeed")
                    if target is not None:
                        entity.speed = self.scope.number(target, "value")
                    else:
                        relative.append(
                            (entity, action.find("SpeedActionTarget/RelativeTargetSpeed"))
                        )
                except Unclear as error:
                    self.tally.add("dropped", f"initial speeds that cannot be told ({error})")
        for entity, target in relative:
            other = None if target is None else self.entities.get(
                self._shown(target.get("entityRef", ""))
            )  # fmt: skip
            if other is None:
                self.tally.add("dropped", "initial speeds relative to entities that are not there")
                continue
            try:
                value = self.scope.number(target, "value")
                factor = self.scope.text(target, "speedTargetValueType", "delta") == "factor"
            except Unclear as error:
                self.tally.add("dropped", f"initial speeds that cannot be told ({error})")
                continue
            entity.speed = other.speed * value if factor else other.speed + value

    # Storyboard -----------------------------------------------------------------------------------

    def _storyboard(self) -> None:
        for act in self.root.iterfind("Storyboard/Story/Act"):
            story = act.getparent()
            scope = self.scope.inside(story)
            begin = _start(act, scope)
            self._tell(act, "act", begin, {"story": story.get("name", "")})
            for group in act.iterchildren("ManeuverGroup"):
                actors = [
                    _resolved(scope, one.get("entityRef", ""))
                    for one in group.iterfind("Actors/EntityRef")
                ]
                for maneuver, inner in self._maneuvers(group, scope):
                    for event in maneuver.iterchildren("Event"):
                        self._event(event, inner, actors, act, maneuver, begin)

    def _maneuvers(self, group: Any, scope: Scope) -> Iterator[tuple[Any, Scope]]:
        for maneuver in group.iterchildren("Maneuver"):
            yield maneuver, scope.inside(maneuver)
        for reference in group.iterchildren("CatalogReference"):
            try:
                yield self.catalogs.entry(reference, scope)
            except Unclear as error:
                self.tally.add("dropped", f"maneuvers of catalogs ({error})")

    def _event(
        self, event: Any, scope: Scope, actors: Sequence[str], act: Any, maneuver: Any,
        begin: float | None,
    ) -> None:  # fmt: skip
        own = _start(event, scope)
        start = None if begin is None or own is None else max(begin, own)
        actions = [
            {"name": action.get("name", ""), "kind": _action_kind(action)}
            for action in event.iterchildren("Action")
        ]
        told = {
            "act": act.get("name", ""), "maneuver": maneuver.get("name", ""), "actors": list(actors),
            "actions": actions, "conditions": _conditions(event),
        }  # fmt: skip
        track = actors[0] if len(actors) == 1 and actors[0] in self.entities else None
        self._tell(event, "event", start, told, track)
        for action in event.iterchildren("Action"):
            self._act(action, scope, actors, start)

    def _tell(
        self, element: Any, kind: str, start: float | None, detail: Mapping[str, Any],
        track: str | None = None,
    ) -> None:  # fmt: skip
        """An event by its name; the end of one whose course is not told is that of the log."""
        self.events.append(
            SourceEvent(
                name=element.get("name", "") or kind,
                t0_ns=0 if start is None else round(start * SECOND_NS),
                t1_ns=-1,
                source_track_id=track,
                detail={"kind": kind, "start_told": start is not None, **detail},
            )
        )

    def _act(self, action: Any, scope: Scope, actors: Sequence[str], start: float | None) -> None:
        """What an action says of states: a timed trajectory, or a place to appear at."""
        for follow in action.iterfind("PrivateAction/RoutingAction/FollowTrajectoryAction"):
            self._follow(follow, actors, start, scope)
        for entity_action in action.iterfind("GlobalAction/EntityAction"):
            name = _resolved(scope, entity_action.get("entityRef", ""))
            position = entity_action.find("AddEntityAction/Position")
            if position is None or name not in self.entities:
                continue
            if start is None:
                self.tally.add("dropped", "entities that appear at a time that is not told")
                continue
            try:
                pose = self.positions.pose(position, scope, self._poses())
            except Unclear as error:
                self.tally.add("dropped", f"places to appear at that cannot be told ({error})")
                continue
            self.entities[name].times.append(start)
            self.entities[name].poses.append(pose)

    def _follow(
        self, follow: Any, actors: Sequence[str], start: float | None, scope: Scope | None = None
    ) -> None:
        """A trajectory whose times are told: a polyline with timing, from a known start."""
        scope = scope or self.scope
        try:
            trajectory, inner = self.positions.trajectory(follow, scope)
        except Unclear as error:
            self.tally.add("dropped", f"trajectories that cannot be told ({error})")
            return
        vertices = trajectory.findall("Shape/Polyline/Vertex")
        timing = follow.find("TimeReference/Timing")
        if timing is None or not vertices:
            reason = "trajectories without times, or no polylines, are kept as events alone"
            self.tally.add("dropped", reason)
            return
        try:
            relative = scope.text(timing, "domainAbsoluteRelative") == "relative"
            scale, offset = scope.number(timing, "scale", 1.0), scope.number(timing, "offset", 0.0)
            if relative and start is None:
                self.tally.add("dropped", "trajectories timed from a moment that is not told")
                return
            shift = offset + (start or 0.0 if relative else 0.0)
            told = [
                (inner.number(vertex, "time") * scale + shift,
                 self.positions.pose(vertex.find("Position"), inner, self._poses()))
                for vertex in vertices
                if vertex.find("Position") is not None
            ]  # fmt: skip
        except Unclear as error:
            self.tally.add("dropped", f"trajectories that cannot be told ({error})")
            return
        for name in actors:
            if name in self.entities:
                # What lies before the trajectory's start was not driven.
                kept = [(t, pose) for t, pose in told if t >= (start or 0.0) - 1e-9]
                self.entities[name].times += [t for t, _ in kept]
                self.entities[name].poses += [pose for _, pose in kept]

    # States ---------------------------------------------------------------------------------------

    def _observations(self, entities: Sequence[_Entity]) -> Observations:
        if not entities:
            return Observations.none()
        every = [_states(entity) for entity in entities]
        guessed = sum(len(t) for t, *_ in every if len(t) > 1)
        reason = "velocities along trajectories are taken from the positions"
        self.tally.add("guessed", reason, guessed)
        counts = [len(t) for t, *_ in every]
        return Observations(
            track=np.repeat(np.arange(len(entities)), counts),
            t_ns=np.concatenate([t for t, *_ in every]),
            xyz=np.concatenate([xyz for _, xyz, *_ in every]),
            yaw=np.concatenate([yaw for _, _, yaw, _ in every]),
            velocity=np.concatenate([velocity for *_, velocity in every]),
            size=np.concatenate(
                [np.tile(e.size, (n, 1)) for e, n in zip(entities, counts, strict=True)]
            ),
            source_track_id=[e.name for e in entities],
            source_cls=[e.word for e in entities],
            cls=[e.cls for e in entities],
        )

    # Surroundings ---------------------------------------------------------------------------------

    def _environment(self) -> tuple[Weather | None, Daylight | None]:
        action = self.root.find("Storyboard/Init/Actions/GlobalAction/EnvironmentAction")
        if action is None:
            return None, None
        environment, scope = action.find("Environment"), self.scope
        try:
            if environment is None and action.find("CatalogReference") is not None:
                environment, scope = self.catalogs.entry(action.find("CatalogReference"), scope)
            if environment is None:
                return None, None
            return _weather(environment, scope), _daylight(environment, scope)
        except Unclear as error:
            self.tally.add("dropped", f"an environment that cannot be told ({error})")
            return None, None

    def _lights(self, end: float) -> LightStates:
        """What the signals' controllers show, from the phases that they go through in turn."""
        signals = {} if self.map is None else self.map.extra.get("signals", {})
        rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for controller in self.root.iterfind("RoadNetwork/TrafficSignals/TrafficSignalController"):
            try:
                self._phases(controller, min(end, LONGEST_S), rows)
            except Unclear as error:
                self.tally.add("dropped", f"signal controllers that make no sense ({error})")
        lanes: list[str] = []
        times: list[int] = []
        words: list[str] = []
        for signal, told in rows.items():
            known = signals.get(signal, {}).get("lanes", [])
            self.tally.add("dropped", "signals that the map has on no lane", not known)
            for lane in known:
                lanes += [lane] * len(told)
                times += [round(t * SECOND_NS) for t, _ in told]
                words += [word for _, word in told]
        if not lanes:
            return LightStates.none()
        stops = self._stops()
        return LightStates(
            source_lane_id=lanes,
            t_ns=np.array(times, dtype=np.int64),
            state=np.array([_colour(word) for word in words], dtype=np.int64),
            source_state=words,
            arrow=np.zeros(len(lanes), dtype=bool),
            flashing=np.array(["flash" in word.lower() for word in words]),
            stop_xyz=np.array([stops.get(lane, (np.nan,) * 3) for lane in lanes]),
        )

    def _phases(
        self, controller: Any, end: float, rows: dict[str, list[tuple[float, str]]]
    ) -> None:
        phases = [
            (self.scope.number(phase, "duration"), [
                (self.scope.text(one, "trafficSignalId"), self.scope.text(one, "state"))
                for one in phase.iterchildren("TrafficSignalState")
            ])
            for phase in controller.iterchildren("Phase")
        ]  # fmt: skip
        total = sum(max(duration, 0.0) for duration, _ in phases)
        t = self.scope.number(controller, "delay", 0.0)
        while phases:
            for duration, states in phases:
                for signal, word in states:
                    if not rows[signal] or rows[signal][-1][1] != word:
                        rows[signal].append((t, word))
                t += max(duration, 0.0)
                if t > end:
                    return
            if total <= 0.0:
                return

    def _stops(self) -> dict[str, tuple[float, float, float]]:
        """Where to stop on lanes that have a stop line."""
        assert self.map is not None
        features = self.map.map.features
        found = {}
        for line, kind, lane in self.map.map.edges.tolist():
            if kind == EdgeKind.STOP_LINE_OF_LANE and features[line].layer is MapLayer.STOP_LINE:
                x, y, z = features[line].points.mean(axis=0).tolist()
                found[features[lane].source_id] = (x, y, z)
        return found


def _states(entity: _Entity) -> tuple[Array, Array, Array, Array]:
    """Times, box centres, headings and velocities of an entity, ascending, each time once."""
    told: dict[int, Pose] = {}
    for t, pose in zip(entity.times, entity.poses, strict=True):
        told.setdefault(round(t * SECOND_NS), pose)
    if entity.pose is not None:
        told.setdefault(0, entity.pose)
    t_ns = np.array(sorted(told), dtype=np.int64)
    poses = [told[t] for t in t_ns.tolist()]
    yaw = np.array([pose.yaw for pose in poses])
    at = np.array([(pose.x, pose.y, pose.z) for pose in poses])
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = entity.centre
    xyz = at + np.stack([cos * x - sin * y, sin * x + cos * y, np.full(len(yaw), z)], axis=1)
    if len(t_ns) > 1:
        velocity = np.gradient(xyz[:, :2], t_ns / SECOND_NS, axis=0)
    else:
        velocity = entity.speed * np.stack([cos, sin], axis=1)
    return t_ns, xyz, yaw, velocity


def _ego(entity: _Entity) -> EgoStates:
    t_ns, xyz, yaw, velocity = _states(entity)
    length, width, height = (
        float(v) if np.isfinite(v) and v > 0.0 else usual
        for v, usual in zip(entity.size, (4.6, 1.9, 1.6), strict=True)
    )
    return EgoStates(
        t_ns=t_ns, xyz=xyz, yaw=yaw, velocity=velocity, size=(length, width, height),
        source_track_id=entity.name, source_cls=entity.word,
    )  # fmt: skip


def _rate(entities: Sequence[_Entity]) -> float:
    """Of the most finely told trajectory [Hz]."""
    steps = [
        float(np.median(np.diff(times)))
        for e in entities
        if len(times := np.unique(np.round(e.times, 6))) > 1
    ]
    return 1.0 / min(steps) if steps else RATE_HZ


def _start(element: Any, scope: Scope) -> float | None:
    """When an act or event starts, if that is told: at once, or at a simulation time [s].

    Of groups any one suffices, of a group's conditions all must hold.
    """
    trigger = element.find("StartTrigger")
    if trigger is None or not len(trigger):
        return 0.0
    times = []
    for group in trigger.iterchildren("ConditionGroup"):
        moments = []
        for condition in group.iterchildren("Condition"):
            time = condition.find("ByValueCondition/SimulationTimeCondition")
            if time is None:
                return None
            try:
                delay = scope.number(condition, "delay", 0.0)
                value = scope.number(time, "value")
                rule = scope.text(time, "rule", "greaterThan")
            except Unclear:
                return None
            if rule in ("lessThan", "lessOrEqual"):
                value = 0.0
            moments.append(value + delay)
        times.append(max(moments, default=0.0))
    return max(min(times, default=0.0), 0.0)


def _conditions(event: Any) -> list[dict[str, str]]:
    """What starts an event, in the file's words."""
    found = []
    for condition in event.iterfind("StartTrigger/ConditionGroup/Condition"):
        kinds = [
            e.tag for e in condition.iter() if e.tag.endswith("Condition") and e is not condition
        ]
        found.append({"name": condition.get("name", ""), "kind": kinds[-1] if kinds else ""})
    return found


def _action_kind(action: Any) -> str:
    """The kind of an action, as ``LateralAction/LaneChangeAction``."""
    words: list[str] = []
    element = action
    while len(element) and len(words) < 3:
        element = element[0]
        if not element.tag.endswith("Action"):
            break
        words.append(element.tag)
    return "/".join(words)


def _resolved(scope: Scope, name: str) -> str:
    try:
        return scope.value(name)
    except Unclear:
        return name


def _weather(environment: Any, scope: Scope) -> Weather | None:
    weather = environment.find("Weather")
    if weather is None:
        return None
    rain = weather.find("Precipitation")
    if rain is not None:
        kind = scope.text(rain, "precipitationType", "dry")
        strength = max(
            scope.number(rain, "precipitationIntensity", 0.0), scope.number(rain, "intensity", 0.0)
        )
        if kind in ("rain", "snow") and strength > 0.0:
            return Weather.RAIN if kind == "rain" else Weather.SNOW
    fog = weather.find("Fog")
    if fog is not None and scope.number(fog, "visualRange", np.inf) < FOG_M:
        return Weather.FOG
    clouds = scope.text(weather, "fractionalCloudCover", "")
    if clouds:
        return Weather.CLOUDY if clouds in OVERCAST else Weather.CLEAR
    return SKIES.get(scope.text(weather, "cloudState", ""))


def _daylight(environment: Any, scope: Scope) -> Daylight | None:
    """By how high the sun stands, else by the hour."""
    sun = environment.find("Weather/Sun")
    if sun is not None and sun.get("elevation") is not None:
        height = scope.number(sun, "elevation")
        return (
            Daylight.DAY
            if height > SUN_UP
            else Daylight.NIGHT
            if height < SUN_DOWN
            else Daylight.DUSK
        )
    time = environment.find("TimeOfDay")
    text = "" if time is None else scope.text(time, "dateTime", "")
    if "T" not in text or not text.split("T")[1][:2].isdigit():
        return None
    hour = int(text.split("T")[1][:2])
    if 7 <= hour < 19:
        return Daylight.DAY
    return Daylight.DUSK if 5 <= hour < 7 or 19 <= hour < 22 else Daylight.NIGHT


def _colour(word: str) -> LightState:
    """A colour's name, or which of three lamps is lit; red and yellow together are red."""
    plain = word.strip().lower()
    if plain in COLOURS:
        return COLOURS[plain]
    lamps = plain.split(";")
    if len(lamps) == len(LAMPS) and set(lamps) <= {"on", "off", "flashing"}:
        lit = [colour for colour, lamp in zip(LAMPS, lamps, strict=True) if lamp != "off"]
        return lit[0] if lit else LightState.OFF
    return next((state for name, state in COLOURS.items() if name in plain), LightState.UNKNOWN)

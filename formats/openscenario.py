"""Scenes as OpenSCENARIO 1.2 with an OpenDRIVE 1.7 map beside each.

Everyone follows the recorded trajectory at its recorded times; who comes into view later or leaves
earlier is added and deleted at that moment. The ego either replays its log or, as in a test case,
is only placed, given its speed and a goal, and left to the system under test. Lights follow a
controller a signal whose phases are the recorded states. Weather and time of day are set where
they are known.

Clients do not notice several defects (NaN coordinates, times that run backwards), so this module
checks them itself and refuses such a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from lxml import etree

from formats.opendrive import Signal, opendrive
from formats.registry import WriteReport
from geometry.arrays import Array
from schemas.errors import ExportRefused
from schemas.labels import AgentClass, Daylight, LightState, MapLayer, Weather
from schemas.scene import DT, Scene

EGO = "Ego"

DEFAULT_SIZE = {
    AgentClass.VEHICLE: (4.6, 1.9, 1.6),
    AgentClass.TRUCK: (8.5, 2.5, 3.2),
    AgentClass.BUS: (12.0, 2.6, 3.2),
    AgentClass.MOTORCYCLE: (2.2, 0.8, 1.5),
    AgentClass.CYCLIST: (1.8, 0.7, 1.7),
    AgentClass.PEDESTRIAN: (0.6, 0.6, 1.75),
    AgentClass.ANIMAL: (0.9, 0.4, 0.7),
}
"""Length, width, height for agents whose source gives none [m]."""
SMALLEST_SIZE = (0.5, 0.5, 0.5)

VEHICLE_CATEGORY = {
    AgentClass.TRUCK: "truck",
    AgentClass.BUS: "bus",
    AgentClass.MOTORCYCLE: "motorbike",
    AgentClass.CYCLIST: "bicycle",
}
"""Every other moving class but pedestrians and animals is a ``car``."""

LIGHT_WORDS = {
    LightState.RED: "red",
    LightState.YELLOW: "yellow",
    LightState.GREEN: "green",
    LightState.OFF: "off",
    LightState.UNKNOWN: "off",
}

PRECIPITATION = {Weather.RAIN: ("rain", "2.5"), Weather.SNOW: ("snow", "1.5")}
"""Type, and intensity [mm/h]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """How the ego is driven.

    Attributes:
        external: Leave it to the system under test; else it replays its log.
        start: Step at which the scenario begins.
        end: Last step of it; None is the scene's last.
        ego_track: Who is the ego, for scenes that name none; None leaves it to the scene.
        goal: Where the ego should get, scene's frame [m]; None leaves it out.
    """

    external: bool = False
    start: int = 0
    end: int | None = None
    ego_track: int | None = None
    goal: tuple[float, float] | None = None


def write(scenes: Sequence[Scene], folder: Path) -> WriteReport:
    """A pair ``<scene>.xosc`` and ``<scene>.xodr`` for each scene.

    Args:
        scenes: What to write; the ego replays its log.
        folder: Where to; made if it is not there.

    Returns:
        The files, and the scenes that were refused with the reason.
    """
    files: list[Path] = []
    refused: list[tuple[int, str]] = []
    for scene in scenes:
        try:
            files += write_scene(scene, folder)
        except ExportRefused as error:
            refused.append((scene.scene_id, error.reason))
    return WriteReport(files=files, refused=refused)


def write_scene(scene: Scene, folder: Path, *, drive: Drive | None = None) -> list[Path]:
    """One scene as its pair of files.

    Raises:
        ExportRefused: The scene has no lanes, nobody in it, or values that are not finite.
    """
    drive = drive or Drive()
    scene = _as_driven(scene, drive)
    _check(scene, drive)
    folder.mkdir(parents=True, exist_ok=True)
    signals = [
        Signal(signal_id=str(row + 1), lane=int(lane))
        for row, lane in enumerate(scene.signals.lane)
        if lane < len(scene.map.features)
    ]
    road_file = folder / f"{scene.scene_id}.xodr"
    scenario_file = folder / f"{scene.scene_id}.xosc"
    try:
        roads = opendrive(scene.map, name=scene.name, origin=scene.origin, signals=signals)
        scenario = openscenario(scene, road_file=road_file.name, drive=drive)
    except ValueError as error:
        raise ExportRefused(scene.name, "openscenario", str(error)) from error
    for path, tree in ((road_file, roads), (scenario_file, scenario)):
        etree.indent(tree)
        tree.write(path, xml_declaration=True, encoding="UTF-8")
    return [scenario_file, road_file]


def _as_driven(scene: Scene, drive: Drive) -> Scene:
    """The scene up to the drive's end, its ego in front."""
    if drive.end is not None:
        scene = scene.between(0, min(drive.end + 1, scene.steps))
    found = np.flatnonzero(scene.tracks.track_id == drive.ego_track)
    if scene.has_ego or not len(found):
        return scene
    order = [int(found[0]), *(i for i in range(len(scene.tracks.cls)) if i != found[0])]
    return replace(scene, tracks=scene.tracks.take(order), has_ego=True)


def _check(scene: Scene, drive: Drive) -> None:
    def refuse(reason: str) -> ExportRefused:
        return ExportRefused(scene.name, "openscenario", reason)

    if not any(len(lane.points) > 1 for lane in scene.map.of_layer(MapLayer.LANE)):
        raise refuse("it has no lanes, and OpenDRIVE needs roads")
    tracks = scene.tracks
    if not tracks.valid[:, drive.start :].any():
        raise refuse("nobody was observed in it")
    for name in ("xy", "z", "yaw"):
        values = getattr(tracks, name)[tracks.valid]
        if not np.isfinite(values).all():
            raise refuse(f"some {name} is not finite")
    if drive.external and not (scene.has_ego and tracks.valid[0, drive.start]):
        raise refuse("the ego was not observed where the case begins")


def openscenario(scene: Scene, *, road_file: str, drive: Drive) -> etree._ElementTree:
    """The scenario document; ``road_file`` is the map's name beside it."""
    root = etree.Element("OpenSCENARIO")
    etree.SubElement(
        root, "FileHeader", revMajor="1", revMinor="2", date="2026-01-01T00:00:00",
        description=f"{scene.dataset}: {scene.name}", author="Scenelake",
    )  # fmt: skip
    etree.SubElement(root, "ParameterDeclarations")
    etree.SubElement(root, "CatalogLocations")
    network = etree.SubElement(root, "RoadNetwork")
    etree.SubElement(network, "LogicFile", filepath=road_file)
    _write_lights(network, scene, drive)
    entities = etree.SubElement(root, "Entities")
    moving = [
        a for a in range(len(scene.tracks.cls)) if scene.tracks.valid[a, drive.start :].any()
    ]
    for agent in moving:
        _write_entity(entities, scene, agent)
    storyboard = etree.SubElement(root, "Storyboard")
    _write_init(storyboard, scene, moving, drive)
    _write_story(storyboard, scene, moving, drive)
    stop = etree.SubElement(storyboard, "StopTrigger")
    duration = (scene.steps - 1 - drive.start) * DT
    _condition(etree.SubElement(stop, "ConditionGroup"), "end", duration)
    return etree.ElementTree(root)


def entity_name(scene: Scene, agent: int) -> str:
    """The name under which an agent stands in the files."""
    return EGO if scene.has_ego and agent == 0 else f"A{int(scene.tracks.track_id[agent])}"


def _write_entity(entities: etree._Element, scene: Scene, agent: int) -> None:
    cls = AgentClass(int(scene.tracks.cls[agent]))
    name = entity_name(scene, agent)
    entity = etree.SubElement(entities, "ScenarioObject", name=name)
    if cls in (AgentClass.PEDESTRIAN, AgentClass.ANIMAL):
        body = etree.SubElement(
            entity, "Pedestrian", name=cls.word, mass="75",
            pedestrianCategory="animal" if cls == AgentClass.ANIMAL else "pedestrian",
        )  # fmt: skip
        _write_box(body, _size(scene, agent))
        etree.SubElement(body, "Properties")
    elif cls == AgentClass.OBSTACLE:
        body = etree.SubElement(
            entity, "MiscObject", name=cls.word, mass="20", miscObjectCategory="obstacle"
        )
        _write_box(body, _size(scene, agent))
        etree.SubElement(body, "Properties")
    else:
        _write_vehicle(entity, cls, _size(scene, agent))


def _write_vehicle(
    entity: etree._Element, cls: AgentClass, size: tuple[float, float, float]
) -> None:
    body = etree.SubElement(
        entity, "Vehicle", name=cls.word, vehicleCategory=VEHICLE_CATEGORY.get(cls, "car")
    )
    _write_box(body, size)
    etree.SubElement(
        body, "Performance", maxSpeed="70", maxAcceleration="10", maxDeceleration="10"
    )
    axles = etree.SubElement(body, "Axles")
    length, width, height = size
    wheel = {
        "wheelDiameter": _number(min(0.65, height / 2)),
        "trackWidth": _number(0.85 * width),
        "positionZ": _number(min(0.65, height / 2) / 2),
    }
    front, rear = _number(0.3 * length), _number(-0.3 * length)
    etree.SubElement(axles, "FrontAxle", {"maxSteering": "0.6", "positionX": front, **wheel})
    etree.SubElement(axles, "RearAxle", {"maxSteering": "0", "positionX": rear, **wheel})
    etree.SubElement(body, "Properties")


def _size(scene: Scene, agent: int) -> tuple[float, float, float]:
    """What was observed, or a typical size of the class; never thinner than 10 cm [m]."""
    cls = AgentClass(int(scene.tracks.cls[agent]))
    typical = DEFAULT_SIZE.get(
        cls, SMALLEST_SIZE if cls == AgentClass.OBSTACLE else (4.6, 1.9, 1.6)
    )
    observed = scene.tracks.size[agent]
    length, width, height = (
        float(value) if np.isfinite(value) and value > 0.1 else usual
        for value, usual in zip(observed, typical, strict=True)
    )
    return length, width, height


def _write_box(body: etree._Element, size: tuple[float, float, float]) -> None:
    box = etree.SubElement(body, "BoundingBox")
    etree.SubElement(box, "Center", x="0", y="0", z=_number(size[2] / 2))
    etree.SubElement(
        box, "Dimensions", width=_number(size[1]), length=_number(size[0]), height=_number(size[2])
    )


def _write_init(
    storyboard: etree._Element, scene: Scene, moving: Sequence[int], drive: Drive
) -> None:
    actions = etree.SubElement(etree.SubElement(storyboard, "Init"), "Actions")
    if scene.weather is not None or scene.daylight is not None:
        _write_environment(actions, scene)
    tracks = scene.tracks
    for agent in moving:
        if not tracks.valid[agent, drive.start]:
            continue
        private = etree.SubElement(actions, "Private", entityRef=entity_name(scene, agent))
        teleport = etree.SubElement(etree.SubElement(private, "PrivateAction"), "TeleportAction")
        _write_position(teleport, scene, agent, drive.start)
        longitudinal = etree.SubElement(
            etree.SubElement(private, "PrivateAction"), "LongitudinalAction"
        )
        speed = etree.SubElement(longitudinal, "SpeedAction")
        etree.SubElement(
            speed, "SpeedActionDynamics", dynamicsShape="step", value="0", dynamicsDimension="time"
        )
        target = etree.SubElement(speed, "SpeedActionTarget")
        value = _number(float(tracks.speed[agent, drive.start]))
        etree.SubElement(target, "AbsoluteTargetSpeed", value=value)
        if drive.external and agent == 0 and drive.goal is not None:
            routing = etree.SubElement(etree.SubElement(private, "PrivateAction"), "RoutingAction")
            position = etree.SubElement(
                etree.SubElement(routing, "AcquirePositionAction"), "Position"
            )
            x, y = drive.goal
            etree.SubElement(position, "WorldPosition", x=_number(x), y=_number(y))


def _write_environment(actions: etree._Element, scene: Scene) -> None:
    action = etree.SubElement(etree.SubElement(actions, "GlobalAction"), "EnvironmentAction")
    environment = etree.SubElement(action, "Environment", name="recorded")
    weather, daylight = scene.weather, scene.daylight
    hour = {Daylight.DUSK: "20:30:00", Daylight.NIGHT: "23:30:00"}.get(
        daylight if daylight is not None else Daylight.DAY, "12:00:00"
    )
    if daylight is not None:
        etree.SubElement(
            environment, "TimeOfDay", animation="false", dateTime=f"2026-06-21T{hour}"
        )
    if weather is not None:
        cloudy = weather != Weather.CLEAR
        sky = etree.SubElement(
            environment, "Weather", fractionalCloudCover="eightOktas" if cloudy else "zeroOktas"
        )
        if weather == Weather.FOG:
            etree.SubElement(sky, "Fog", visualRange="80")
        kind, intensity = PRECIPITATION.get(weather, ("dry", "0"))
        etree.SubElement(
            sky, "Precipitation", precipitationType=kind, precipitationIntensity=intensity
        )
        friction = {Weather.RAIN: "0.7", Weather.SNOW: "0.4"}.get(weather, "1")
        etree.SubElement(environment, "RoadCondition", frictionScaleFactor=friction)


def _write_story(
    storyboard: etree._Element, scene: Scene, moving: Sequence[int], drive: Drive
) -> None:
    followers = [
        agent
        for agent in moving
        if not (drive.external and scene.has_ego and agent == 0)
        and _moves(scene.tracks.valid[agent, drive.start :])
    ]
    if not followers:
        return
    story = etree.SubElement(storyboard, "Story", name="log")
    act = etree.SubElement(story, "Act", name="drive")
    for agent in followers:
        name = entity_name(scene, agent)
        group = etree.SubElement(
            act, "ManeuverGroup", maximumExecutionCount="1", name=f"{name} group"
        )
        actors = etree.SubElement(group, "Actors", selectTriggeringEntities="false")
        etree.SubElement(actors, "EntityRef", entityRef=name)
        maneuver = etree.SubElement(group, "Maneuver", name=f"{name} moves")
        valid = scene.tracks.valid[agent, drive.start :]
        begin, end = _span(valid)
        if begin > 0:
            _entity_event(maneuver, scene, agent, name, drive.start + begin, begin * DT, add=True)
        if end > begin:
            _follow_event(maneuver, scene, agent, name, drive.start, valid)
        if end < len(valid) - 1:
            _entity_event(maneuver, scene, agent, name, drive.start + end, end * DT, add=False)
    _condition(
        etree.SubElement(etree.SubElement(act, "StartTrigger"), "ConditionGroup"), "begin", 0.0
    )


def _moves(valid: Bool[Array, " steps"]) -> bool:
    """Whether anything happens to an agent: one seen at the only step there is just stands."""
    begin, end = _span(valid)
    return begin > 0 or end > begin or end < len(valid) - 1


def _span(valid: Bool[Array, " steps"]) -> tuple[int, int]:
    """First and last observed step."""
    steps = np.flatnonzero(valid)
    return int(steps[0]), int(steps[-1])


def _event(maneuver: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(
        maneuver, "Event", name=name, priority="override", maximumExecutionCount="1"
    )


def _entity_event(
    maneuver: etree._Element,
    scene: Scene,
    agent: int,
    name: str,
    step: int,
    time: float,
    *,
    add: bool,
) -> None:
    what = "appears" if add else "leaves"
    event = _event(maneuver, f"{name} {what}")
    action = etree.SubElement(event, "Action", name=f"{name} {what} now")
    entity = etree.SubElement(
        etree.SubElement(action, "GlobalAction"), "EntityAction", entityRef=name
    )
    if add:
        _write_position(etree.SubElement(entity, "AddEntityAction"), scene, agent, step)
    else:
        etree.SubElement(entity, "DeleteEntityAction")
    trigger = etree.SubElement(etree.SubElement(event, "StartTrigger"), "ConditionGroup")
    _condition(trigger, f"{name} {what} then", time)


def _follow_event(
    maneuver: etree._Element,
    scene: Scene,
    agent: int,
    name: str,
    start: int,
    valid: Bool[Array, " steps"],
) -> None:
    event = _event(maneuver, f"{name} drives")
    action = etree.SubElement(event, "Action", name=f"{name} follows")
    routing = etree.SubElement(etree.SubElement(action, "PrivateAction"), "RoutingAction")
    follow = etree.SubElement(routing, "FollowTrajectoryAction")
    reference = etree.SubElement(follow, "TrajectoryRef")
    trajectory = etree.SubElement(reference, "Trajectory", name=f"{name} path", closed="false")
    etree.SubElement(trajectory, "ParameterDeclarations")
    line = etree.SubElement(etree.SubElement(trajectory, "Shape"), "Polyline")
    steps = np.flatnonzero(valid)
    for step in steps:
        vertex = etree.SubElement(line, "Vertex", time=_number(round(float(step) * DT, 3)))
        _write_position(vertex, scene, agent, start + int(step))
    timing = etree.SubElement(follow, "TimeReference")
    etree.SubElement(timing, "Timing", domainAbsoluteRelative="absolute", scale="1", offset="0")
    etree.SubElement(follow, "TrajectoryFollowingMode", followingMode="position")
    trigger = etree.SubElement(etree.SubElement(event, "StartTrigger"), "ConditionGroup")
    _condition(trigger, f"{name} is there", float(steps[0]) * DT)


def _write_position(parent: etree._Element, scene: Scene, agent: int, step: int) -> None:
    tracks = scene.tracks
    position = etree.SubElement(parent, "Position")
    height = float(tracks.size[agent, 2])
    ground = float(tracks.z[agent, step]) - (height / 2 if np.isfinite(height) else 0.0)
    etree.SubElement(
        position, "WorldPosition", x=_number(float(tracks.xy[agent, step, 0])),
        y=_number(float(tracks.xy[agent, step, 1])), z=_number(ground),
        h=_number(float(tracks.yaw[agent, step])),
    )  # fmt: skip


def _condition(group: etree._Element, name: str, after: float) -> None:
    condition = etree.SubElement(group, "Condition", name=name, delay="0", conditionEdge="none")
    by_value = etree.SubElement(condition, "ByValueCondition")
    etree.SubElement(
        by_value, "SimulationTimeCondition", value=_number(after), rule="greaterOrEqual"
    )


def _write_lights(network: etree._Element, scene: Scene, drive: Drive) -> None:
    rows = [r for r, lane in enumerate(scene.signals.lane) if lane < len(scene.map.features)]
    if not rows:
        return
    signals = etree.SubElement(network, "TrafficSignals")
    for row in rows:
        states = scene.signals.state[row, drive.start :]
        controller = etree.SubElement(
            signals, "TrafficSignalController", name=f"light {row + 1}", delay="0"
        )
        for index, (begin, end) in enumerate(_runs(states)):
            word = LIGHT_WORDS[LightState(int(states[begin]))]
            phase = etree.SubElement(
                controller, "Phase", name=f"{index} {word}", duration=_number((end - begin) * DT)
            )
            etree.SubElement(phase, "TrafficSignalState", trafficSignalId=str(row + 1), state=word)


def _runs(values: Array) -> list[tuple[int, int]]:
    """Stretches of equal values as (begin, end), the end not included."""
    edges = np.flatnonzero(np.diff(values)) + 1
    bounds = [0, *edges.tolist(), len(values)]
    return list(pairwise(bounds))


def _number(value: float) -> str:
    if not np.isfinite(value):
        raise ValueError(f"{value} cannot be written")
    return f"{value:.10g}" if value else "0"

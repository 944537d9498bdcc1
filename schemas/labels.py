"""The closed vocabularies: what an agent, a light, a map feature can be.

Tables hold the lower-case names (``'pedestrian'``), so that SQL reads well; dense arrays hold the
codes. The source's own words always stand beside them, verbatim.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

L = TypeVar("L", bound="Label")


class Label(IntEnum):
    """A code with a lower-case name, as tables write it."""

    @property
    def word(self) -> str:
        """The name as tables hold it."""
        return self.name.lower()

    @classmethod
    def of(cls: type[L], word: str) -> L:
        """The label of a table's word; raises KeyError for another."""
        return cls[word.upper()]

    @classmethod
    def words(cls) -> list[str]:
        """All names, in the order of their codes."""
        return [label.word for label in cls]


class AgentClass(Label):
    """What a road user is; ``VEHICLE`` is a car, or any motor vehicle of a coarse source."""

    UNKNOWN = 0
    VEHICLE = 1
    TRUCK = 2
    BUS = 3
    MOTORCYCLE = 4
    CYCLIST = 5
    PEDESTRIAN = 6
    ANIMAL = 7
    OBSTACLE = 8
    """Things that do not move by themselves: cones, barriers, debris."""
    OTHER = 9


VEHICLES = frozenset({AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS, AgentClass.MOTORCYCLE})
VULNERABLE = frozenset({AgentClass.PEDESTRIAN, AgentClass.CYCLIST, AgentClass.MOTORCYCLE})
DRIVING = VEHICLES | {AgentClass.CYCLIST}
ON_FOOT = frozenset({AgentClass.PEDESTRIAN})


class LightState(Label):
    """What a signal shows to a lane."""

    UNKNOWN = 0
    RED = 1
    YELLOW = 2
    GREEN = 3
    OFF = 4


class MapLayer(Label):
    """What a map feature is; lanes are lines with direction, areas are closed polygons."""

    OTHER = 0
    LANE = 1
    """Centre line in the direction of travel, with boundaries where the source has them."""
    ROAD_LINE = 2
    """Painted line."""
    ROAD_EDGE = 3
    """Where the drivable surface ends."""
    CROSSWALK = 4
    DRIVABLE_AREA = 5
    STOP_LINE = 6
    STOP_SIGN = 7
    """A single point."""
    SPEED_BUMP = 8
    DRIVEWAY = 9
    INTERSECTION = 10
    PARKING = 11
    SIGN = 12
    """A traffic sign other than a stop sign, a single point; its type is the source's word."""
    TRAFFIC_LIGHT = 13
    """Where a signal head hangs, a single point; what it shows is in the light states."""
    WALKWAY = 14
    """Pavement or path for walking, an area."""


AREAS = frozenset(
    {
        MapLayer.CROSSWALK,
        MapLayer.DRIVABLE_AREA,
        MapLayer.SPEED_BUMP,
        MapLayer.DRIVEWAY,
        MapLayer.INTERSECTION,
        MapLayer.PARKING,
        MapLayer.WALKWAY,
    }
)


class LaneType(Label):
    """Whom a lane is for."""

    UNKNOWN = 0
    VEHICLE = 1
    FREEWAY = 2
    BIKE = 3
    BUS = 4
    SHOULDER = 5
    SIDEWALK = 6
    OTHER = 7


class EdgeKind(Label):
    """How two map features belong together; read ``from`` *kind* ``to``."""

    SUCCESSOR = 0
    """``to`` continues ``from``."""
    LEFT = 1
    """``to`` is the lane to the left of ``from``, in the same direction."""
    RIGHT = 2
    CONFLICT = 3
    """The two lanes cross or merge."""
    CROSSWALK_OVER_LANE = 4
    STOP_LINE_OF_LANE = 5
    PREDECESSOR = 6


class Truth(Label):
    """Three-valued truth: what could not be observed is neither true nor false."""

    FALSE = 0
    TRUE = 1
    UNKNOWN = 2


class Weather(Label):
    """Weather of a log."""

    CLEAR = 0
    CLOUDY = 1
    RAIN = 2
    SNOW = 3
    FOG = 4


class Daylight(Label):
    """Time of day of a log, as light to see by."""

    DAY = 0
    DUSK = 1
    NIGHT = 2


class RoadType(Label):
    """What kind of place the ego drives through, derived from the map; first match wins."""

    UNKNOWN = 0
    ROUNDABOUT = 1
    SIGNALLED_INTERSECTION = 2
    INTERSECTION = 3
    MERGE = 4
    HIGHWAY = 5
    CURVE = 6
    STRAIGHT = 7

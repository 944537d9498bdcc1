"""What stands or lies where cars drive, on both sides of each threshold: stalled vehicles, obstacles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mining.predicates import tag_scene
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer, Truth
from schemas.records import RoadMap
from schemas.scene import Scene
from tests.mining import micro
from tests.mining.micro import TIME, Actor, along, area, lane, ramp, scene, speeds, still
from tests.mining.test_predicates import LAST, crosswalk, cruise, lit, true
from tests.mining.test_wider_predicates import named

CAR, TRUCK, PERSON, THING = (
    AgentClass.VEHICLE,
    AgentClass.TRUCK,
    AgentClass.PEDESTRIAN,
    AgentClass.OBSTACLE,
)
RED, YELLOW, GREEN, UNSEEN = (
    LightState.RED,
    LightState.YELLOW,
    LightState.GREEN,
    LightState.UNKNOWN,
)
CONE = "movable_object.trafficcone"
FRONT = 2.4  # of a car that stands at x = 0 [m]


def passing() -> Actor:
    """The ego, on the next lane but one: from there it sees all that stands at y = 0."""
    return cruise(8.0, x=-40.0, y=7.0, faces=0.0)


def told(made: Scene, actor: int = 1, name: str = "stalled_vehicle") -> Truth | None:
    """What is said of somebody: true, unknown, or nothing."""
    found = [i for i in tag_scene(made, [name]) if i.actor == actor]
    return found[0].truth if found else None


def stands(*others: Actor, map: RoadMap | None = None, **how: object) -> Scene:
    """A car at the origin that stands, the ego that passes it, and others."""
    return scene(passing(), still(0.0, 0.0, **how), *others, map=map)  # type: ignore[arg-type]


# -- stalled vehicles ------------------------------------------------------------------------------


@pytest.mark.parametrize(("lasts", "holds"), [(4.1, True), (3.7, False)])
def test_it_stands_for_four_seconds(lasts: float, holds: bool) -> None:
    """Until it sets off at 3 m/s²; it is not taken to move before it does 0.5 m/s."""
    off = lasts - 0.5 / 3.0
    made = scene(passing(), along(speeds(ramp(off, off + 2.0, 0.0, 6.0))))
    assert (told(made) == Truth.TRUE) == holds
    assert bool(true(made, "stalled_vehicle")) == holds


@pytest.mark.parametrize(
    ("y", "yaw", "cls", "holds"),
    [
        (1.19, 0.0, CAR, True), (-1.21, 0.0, CAR, False), (0.0, 44.0, CAR, True),
        (0.0, 46.0, CAR, False), (0.0, 0.0, TRUCK, True), (0.0, 0.0, PERSON, False),
        (0.0, 0.0, THING, False), (0.0, 0.0, AgentClass.CYCLIST, False),
    ],
)  # fmt: skip
def test_a_vehicle_in_the_middle_of_its_lane(
    y: float, yaw: float, cls: AgentClass, holds: bool
) -> None:
    made = scene(passing(), still(0.0, y, np.radians(yaw), cls))
    assert (told(made) == Truth.TRUE) == holds


@pytest.mark.parametrize("cls", [CAR, TRUCK, PERSON, THING])
@pytest.mark.parametrize(("gap", "holds"), [(4.9, False), (5.1, True)])
def test_who_stands_behind_somebody_queues(cls: AgentClass, gap: float, holds: bool) -> None:
    half = micro.SIZE[cls][0] / 2
    made = stands(still(FRONT + gap + half, 0.0, cls=cls))
    assert (told(made) == Truth.TRUE) == holds


@pytest.mark.parametrize(("y", "holds"), [(-1.29, False), (-1.31, True)])
def test_who_stands_aside_of_its_way_does_not_block_it(y: float, holds: bool) -> None:
    made = stands(still(FRONT + 2.0, y, cls=PERSON))
    assert (told(made) == Truth.TRUE) == holds


def test_who_was_lost_from_sight_ahead_is_taken_to_be_there_still() -> None:
    seen = TIME < 2.0
    ahead = replace(still(FRONT + 5.0, 0.0), seen=seen)
    assert told(stands(ahead)) is None
    late = replace(still(FRONT + 5.0, 0.0), seen=TIME > 8.0)
    assert told(stands(late)) is None
    gone = along(speeds(ramp(0.5, 2.0, 0.0, 9.0)), start=(FRONT + 5.0, 0.0), seen=seen)
    assert told(stands(gone)) == Truth.TRUE


def stop_line(x: float) -> dict[str, object]:
    return area(MapLayer.STOP_LINE, [(x, -1.75), (x, 1.75)])


def stop_sign(x: float) -> dict[str, object]:
    return area(MapLayer.STOP_SIGN, [(x, -2.9)])


@pytest.mark.parametrize(
    "place", [lambda x: crosswalk(x + 2.0), stop_line, stop_sign], ids=["walk", "line", "sign"]
)
@pytest.mark.parametrize(
    ("ahead", "holds"), [(14.9, False), (15.1, True), (0.1, False), (-9.0, True)]
)
def test_who_stands_before_a_place_to_wait_waits(
    place: Callable[[float], dict[str, object]], ahead: float, holds: bool
) -> None:
    made = stands(map=micro.road(place(FRONT + ahead)))
    assert (told(made) == Truth.TRUE) == holds


@pytest.mark.parametrize(("rest", "holds"), [(14.5, False), (15.5, True)])
def test_who_stands_where_the_lane_ends_waits(rest: float, holds: bool) -> None:
    end = FRONT + rest
    short = [lane([(-100.0, 0.0), (0.0, 0.0), (end, 0.0)])]
    longer = [*short, lane([(end, 0.0), (200.0, 0.0)])]
    assert (told(stands(map=micro.build(short))) == Truth.TRUE) == holds
    assert told(stands(map=micro.build(longer, [(0, EdgeKind.SUCCESSOR, 1)]))) == Truth.TRUE


def test_who_stands_in_a_car_park_is_parked() -> None:
    bay = area(MapLayer.PARKING, [(-5.0, -2.0), (5.0, -2.0), (5.0, 2.0), (-5.0, 2.0)])
    assert told(stands(map=micro.road(bay))) is None
    aside = area(MapLayer.PARKING, [(5.0, -2.0), (15.0, -2.0), (15.0, 2.0), (5.0, 2.0)])
    assert told(stands(map=micro.road(aside))) == Truth.TRUE


def before(line: float) -> Actor:
    """A car whose front stands so far before the stop line of the junction's arm from the west."""
    return still(-micro.R - line - FRONT, -micro.D)


def seeing() -> Actor:
    """The ego, coming the other way."""
    return along(8.0 * TIME, start=(40.0, micro.D), yaw=np.pi)


@pytest.mark.parametrize(
    ("line", "shows", "said"),
    [
        (29.0, RED, None), (31.0, RED, Truth.TRUE), (29.0, YELLOW, None),
        (29.0, GREEN, Truth.TRUE), (29.0, UNSEEN, Truth.UNKNOWN), (31.0, UNSEEN, Truth.TRUE),
        (14.5, GREEN, None),
    ],
)  # fmt: skip
def test_a_light_that_is_not_green_is_a_reason(
    line: float, shows: LightState, said: Truth | None
) -> None:
    assert told(lit(seeing(), before(line), through=shows, left=shows, right=shows)) == said


@pytest.mark.parametrize(
    ("line", "said"), [(29.0, Truth.UNKNOWN), (31.5, Truth.TRUE), (14.0, None), (-6.0, None)]
)
def test_lights_that_were_not_recorded_leave_it_open(line: float, said: Truth | None) -> None:
    """−6 m is within the junction."""
    made = scene(seeing(), before(line), map=micro.junction())
    assert not made.has_signals
    assert told(made) == said


def test_without_a_map_it_is_unknown() -> None:
    (interval,) = tag_scene(stands(map=RoadMap.none()), ["stalled_vehicle"])
    assert interval.truth == Truth.UNKNOWN


@pytest.mark.parametrize(
    ("ego_y", "line", "further", "said"),
    [
        (-micro.D, 61.0, True, Truth.UNKNOWN),  # right behind: there may be one more in the queue
        (micro.D + 12.0, 61.0, True, Truth.TRUE),  # from aside one sees that there is none
        (-micro.D, 61.0, False, Truth.TRUE),  # nobody queues
        (-micro.D, 59.0, False, Truth.UNKNOWN),  # but nearer to the line they may
        (micro.D + 12.0, 59.0, False, Truth.TRUE),
    ],
)
def test_a_queue_that_the_ego_cannot_see_leaves_it_open(
    ego_y: float, line: float, further: bool, said: Truth
) -> None:
    """One stands 12 m ahead of the car, or nobody does; the light is green, so far ahead."""
    x = -micro.R - line - FRONT
    ahead = still(x + FRONT + 12.0 + 6.0, -micro.D + 1.5, cls=TRUCK)
    others = [ahead] if further else []
    ego = still(x - 20.0, ego_y)
    made = lit(ego, before(line), *others, through=GREEN, left=GREEN, right=GREEN)
    assert told(made) == said


def test_a_source_that_tells_of_those_behind_others_hides_nobody() -> None:
    """A car wholly behind another of its height, told of for 1 s; or 0.9 s, or one that is taller."""
    for lasts, tall, said in ((10, 1.6, Truth.TRUE), (9, 1.6, Truth.UNKNOWN),
                              (10, 1.7, Truth.UNKNOWN)):  # fmt: skip
        hidden = replace(still(-45.0, -micro.D), seen=np.arange(micro.STEPS) < lasts)
        hidden = replace(hidden, size=(4.0, 1.0, tall))
        line = 59.0
        ego = still(-micro.R - line - FRONT - 20.0, -micro.D)
        made = lit(ego, before(line), hidden, through=GREEN, left=GREEN, right=GREEN)
        assert told(made) == said


def test_who_is_hidden_for_a_while_and_stands_where_it_stood_stood_meanwhile() -> None:
    there = (TIME < 1.0) | (TIME > 4.5)
    made = scene(passing(), replace(still(0.0, 0.0), seen=there & (TIME < 5.0)))
    assert true(made, "stalled_vehicle")
    moved = replace(still(0.0, 0.0), seen=there & (TIME < 5.0))
    moved.xy[TIME > 2.0, 0] += 1.5
    assert not true(scene(passing(), moved), "stalled_vehicle")


# -- obstacles -------------------------------------------------------------------------------------


def lying(x: float = 0.0, y: float = 0.0, seen: np.ndarray | None = None) -> Actor:
    return along(np.zeros(micro.STEPS), start=(x, y), cls=THING, seen=seen)


def on_road(made: Scene, actor: int = 1) -> bool:
    return told(made, actor, "obstacle_on_road") == Truth.TRUE


@pytest.mark.parametrize(("y", "holds"), [(1.19, True), (1.21, False), (-1.19, True)])
def test_a_thing_near_the_middle_of_a_lane(y: float, holds: bool) -> None:
    assert on_road(scene(cruise(8.0), lying(0.0, y))) == holds
    assert not on_road(scene(cruise(8.0), still(0.0, y)))  # a car is a road user


@pytest.mark.parametrize(("way", "holds"), [(2.9, True), (3.1, False)])
def test_a_thing_that_rolls_on_does_not_lie_there(way: float, holds: bool) -> None:
    rolls = along(way * TIME / TIME[-1], cls=THING)
    assert on_road(scene(cruise(8.0), rolls)) == holds


@pytest.mark.parametrize(("steps", "holds"), [(10, True), (9, False)])
def test_a_thing_is_seen_for_a_second(steps: int, holds: bool) -> None:
    seen = (np.arange(micro.STEPS) >= 20) & (np.arange(micro.STEPS) < 20 + steps)
    assert bool(true(scene(cruise(8.0), lying(seen=seen)), "obstacle_on_road")) == holds


@pytest.mark.parametrize(
    ("others", "holds"),
    [
        ([(9.9, 0.0), (-9.9, 0.0)], False), ([(9.9, 0.0), (-10.1, 0.0)], True),
        ([(5.0, 1.7), (-5.0, -1.7)], False), ([(5.0, 1.8), (-5.0, -1.7)], True),
        ([(5.0, 0.0)], True), ([], True),
    ],
)  # fmt: skip
def test_three_in_a_row_are_road_works(others: list[tuple[float, float]], holds: bool) -> None:
    """Cones in the same lane, each at most 10 m away."""
    made = scene(cruise(8.0, y=3.5), lying(), *(lying(x, y) for x, y in others))
    words = {k + 1: CONE for k in range(len(others) + 1)}
    assert on_road(named(made, {0: "ego", **words})) == holds
    boxes = dict.fromkeys(words, "movable_object.debris")
    assert on_road(named(made, {0: "ego", **boxes}))  # what is no cone is no road works
    board = {**words, 1: "MESSAGE_BOARD"}
    assert on_road(named(made, {0: "ego", **board})) == holds  # but among cones it is


def test_the_last_step_counts() -> None:
    (found,) = true(scene(cruise(8.0), lying()), "obstacle_on_road")
    assert (found.begin_step, found.end_step, found.value) == (0, LAST, 0.0)

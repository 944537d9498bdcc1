"""What stands or lies where cars drive, on both sides of each threshold: stalled vehicles, obstacles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mining.predicates import tag_scene
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer, Truth
from schemas.records import MapFeature, RoadMap
from schemas.scene import Scene
from tests.mining import micro
from tests.mining.micro import TIME, Actor, along, area, lane, ramp, scene, speeds, still
from tests.mining.test_predicates import LAST, crosswalk, cruise, lit, slide, true
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
    for interval in tag_scene(made, [name]):
        if actor in (interval.actor, *interval.evidence.get("actors", ())):
            return interval.truth
    return None


def halts(
    x: float = 0.0, y: float = 0.0, yaw: float = 0.0, cls: AgentClass = CAR, *, until: float = 99.0
) -> Actor:
    """Comes to stand there within the first second; sets off again at 3 m/s²."""
    stop = lambda t: np.interp(t, [0.0, 0.9], [5.0, 0.0])  # noqa: E731
    way = speeds(lambda t: stop(t) + np.interp(t, [until, until + 2.0], [0.0, 6.0]))
    back = 5.0 * 0.9 / 2.0
    begin = (x - back * np.cos(yaw), y - back * np.sin(yaw))
    return along(way, start=begin, yaw=yaw, cls=cls)


def stands(*others: Actor, map: RoadMap | None = None, **how: object) -> Scene:
    """A car that comes to stand at the origin, the ego that passes it, and others."""
    return scene(passing(), halts(**how), *others, map=map)  # type: ignore[arg-type]


# -- stalled vehicles ------------------------------------------------------------------------------


@pytest.mark.parametrize(("lasts", "holds"), [(4.1, True), (3.7, False)])
def test_it_stands_for_four_seconds(lasts: float, holds: bool) -> None:
    """From below 0.3 m/s, 54 ms before it stands, until it does 0.5 m/s, 0.17 s after it sets off."""
    made = scene(still(20.0, 7.0), halts(until=0.9 - 0.054 + lasts - 0.5 / 3.0))
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
    made = stands(y=y, yaw=np.radians(yaw), cls=cls)
    assert (told(made) == Truth.TRUE) == holds


@pytest.mark.parametrize("cls", [CAR, TRUCK, PERSON, THING])
@pytest.mark.parametrize(
    ("gap", "said"),
    [(4.9, None), (5.1, Truth.UNKNOWN), (19.9, Truth.UNKNOWN), (20.1, Truth.TRUE)],
)
def test_who_stands_behind_somebody_queues(
    cls: AgentClass, gap: float, said: Truth | None
) -> None:
    """Or may, with room between them; people on foot do not queue."""
    half = micro.SIZE[cls][0] / 2
    made = stands(still(FRONT + gap + half, 0.0, cls=cls))
    assert told(made) == (Truth.TRUE if said and cls == PERSON else said)


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


@pytest.mark.parametrize(
    ("rest", "said"),
    [(14.5, None), (15.5, Truth.UNKNOWN), (59.5, Truth.UNKNOWN), (60.5, Truth.TRUE)],
)
def test_who_stands_where_the_lane_ends_waits(rest: float, said: Truth | None) -> None:
    """Or may, for what lies beyond the map's end."""
    end = FRONT + rest
    short = [lane([(-100.0, 0.0), (0.0, 0.0), (end, 0.0)])]
    longer = [*short, lane([(end, 0.0), (200.0, 0.0)])]
    assert told(stands(map=micro.build(short))) == said
    after = EdgeKind.SUCCESSOR
    assert told(stands(map=micro.build(longer, [(0, after, 1)]))) == Truth.TRUE
    # Where another lane runs into its continuation it may have to give way.
    ramp_line = lane([(end - 90.0, -20.0), (end, 0.0)])
    joined = micro.build([*longer, ramp_line], [(0, after, 1), (2, after, 1)])
    assert told(stands(map=joined)) == (None if said is None else Truth.TRUE)


def test_who_stands_in_a_car_park_is_parked() -> None:
    bay = area(MapLayer.PARKING, [(-5.0, -2.0), (5.0, -2.0), (5.0, 2.0), (-5.0, 2.0)])
    assert told(stands(map=micro.road(bay))) is None
    aside = area(MapLayer.PARKING, [(5.0, -2.0), (15.0, -2.0), (15.0, 2.0), (5.0, 2.0)])
    assert told(stands(map=micro.road(aside))) == Truth.TRUE


def before(line: float) -> Actor:
    """A car whose front comes to stand so far before the stop line of the junction's west arm."""
    return halts(-micro.R - line - FRONT, -micro.D)


def seeing() -> Actor:
    """The ego, coming the other way."""
    return along(8.0 * TIME, start=(40.0, micro.D), yaw=np.pi)


@pytest.mark.parametrize(
    ("line", "shows", "said"),
    [
        (29.0, RED, None), (31.0, RED, Truth.UNKNOWN), (59.0, RED, Truth.UNKNOWN),
        (61.0, RED, Truth.TRUE), (29.0, YELLOW, None), (29.0, GREEN, Truth.TRUE), (29.0, UNSEEN, Truth.UNKNOWN), (59.0, UNSEEN, Truth.UNKNOWN),
        (61.0, UNSEEN, Truth.TRUE), (14.5, GREEN, None),
    ],
)  # fmt: skip
def test_a_light_that_is_not_green_is_a_reason(
    line: float, shows: LightState, said: Truth | None
) -> None:
    assert told(lit(seeing(), before(line), through=shows, left=shows, right=shows)) == said


LIT = [(59.0, Truth.UNKNOWN), (61.5, Truth.TRUE), (14.0, None), (-6.0, None)]


@pytest.mark.parametrize(("line", "said"), LIT)
def test_lights_that_were_not_recorded_leave_it_open(line: float, said: Truth | None) -> None:
    """−6 m is within the junction. Lights of other lanes tell nothing."""
    dark = scene(seeing(), before(line), map=micro.junction())
    assert not dark.has_signals
    assert told(dark) == said
    assert told(lit(seeing(), before(line), north=RED)) == said


def test_before_a_stop_sign_there_are_no_lights() -> None:
    sign = (-micro.R - 2.0, -micro.D - 4.0)
    made = micro.junction()
    more = MapFeature(
        feature_id=len(made.features), source_id="sign", layer=MapLayer.STOP_SIGN,
        points=np.array([[*sign, 0.0]]),
    )  # fmt: skip
    signed = replace(made, features=(*made.features, more))
    assert told(scene(seeing(), before(40.0), map=signed)) == Truth.TRUE
    assert told(scene(seeing(), before(40.0), map=made)) == Truth.UNKNOWN


def test_an_intersection_round_a_bend_is_as_near_as_the_lane_is_long() -> None:
    """55 m along a quarter circle of 35 m; straight ahead there is none."""
    turn = np.linspace(0.0, np.pi / 2, 40)
    bend = np.column_stack([35.0 * np.sin(turn), 35.0 - 35.0 * np.cos(turn)])
    lanes = [
        lane([(-60.0, 0.0), (0.0, 0.0)]), lane(bend),
        lane([(35.0, 35.0), (35.0, 60.0)], junction=True), lane([(60.0, 45.0), (10.0, 45.0)], junction=True),
    ]  # fmt: skip
    after = EdgeKind.SUCCESSOR
    road = micro.build(lanes, [(0, after, 1), (1, after, 2)])
    ego = along(8.0 * TIME, start=(-40.0, 4.0))
    for x, said in ((-2.0, Truth.UNKNOWN), (-12.0, Truth.TRUE)):
        assert told(scene(ego, halts(x - FRONT), map=road)) == said


def behind(gap: float = 10.0, y: float = 0.0) -> Actor:
    """The ego, comes to stand behind a car at the origin."""
    return halts(-2 * FRONT - gap, y)


@pytest.mark.parametrize(
    ("ego", "said"),
    [
        (behind(), Truth.UNKNOWN),
        (behind(-5.0, 3.5), Truth.TRUE),  # level with it
        (still(30.0, 0.0), Truth.TRUE),  # ahead of it
    ],
)
def test_what_stands_ahead_of_it_out_of_the_ego_s_sight_leaves_it_open(
    ego: Actor, said: Truth
) -> None:
    assert told(scene(ego, halts())) == said


@pytest.mark.parametrize(("leaves", "said"), [(7.8, Truth.TRUE), (8.2, Truth.UNKNOWN)])
def test_who_may_have_gone_just_before_leaves_it_open(leaves: float, said: Truth) -> None:
    """The ego sees what is ahead of it from about 8 s on; it stands until the end, at 10 s."""
    ego = along(speeds(lambda t: np.where(t < leaves - 1.0, 0.0, 12.0)), start=(-16.0, 3.5))
    assert told(scene(ego, halts())) == said


def test_who_gets_past_it_into_its_lane_shows_that_it_is_free() -> None:
    """From behind it in its lane, between it and the ego; or on the lane beside all the way."""
    out, back = slide(2.0, 4.0, 3.5), slide(5.0, 7.0, 3.5)
    passes = along(8.0 * TIME, start=(-40.0, 0.0), side=out - back)
    assert told(scene(behind(30.0), halts(), passes)) == Truth.TRUE
    beside = along(8.0 * TIME, start=(-40.0, 3.5))
    assert told(scene(behind(30.0), halts(), beside)) == Truth.UNKNOWN


def test_who_stays_while_its_leader_leaves_is_not_held_up_by_more() -> None:
    leader = along(speeds(ramp(2.0, 4.0, 0.0, 6.0)), start=(FRONT + 2.0 + FRONT, 0.0))
    made = scene(behind(), halts(), leader)
    (found,) = (i for i in true(made, "stalled_vehicle") if i.actor == 1)
    assert found.begin_step > 20


# Whether it is parked: at the side of the road, and it was never seen to move.


def at_rest(y: float = 0.0) -> Actor:
    return still(0.0, y)


def test_who_was_never_seen_to_move_at_the_side_of_the_road_may_be_parked() -> None:
    (interval,) = tag_scene(scene(passing(), at_rest()), ["stalled_vehicle"])
    assert interval.truth == Truth.UNKNOWN
    assert "parked" in interval.evidence["reason"]
    assert told(scene(passing(), halts())) == Truth.TRUE
    # On the lane in the middle nobody parks.
    assert told(scene(passing(), at_rest(3.5))) == Truth.TRUE


def test_who_holds_up_others_is_not_parked() -> None:
    comes = halts(-2 * FRONT - 8.0)
    assert told(scene(passing(), at_rest(), comes)) == Truth.TRUE
    far = halts(-2 * FRONT - 16.0)
    assert told(scene(passing(), at_rest(), far)) == Truth.UNKNOWN
    # Nor who stands there likewise.
    row = still(-2 * FRONT - 2.0, 0.0)
    assert told(scene(passing(), at_rest(), row)) == Truth.UNKNOWN
    # Who has to leave its lane is held up, who drives on the next is not.
    leaves = along(6.0 * TIME, start=(-40.0, 0.0), side=slide(2.0, 5.0, 3.5))
    assert told(scene(passing(), at_rest(), leaves)) == Truth.TRUE
    beside = along(6.0 * TIME, start=(-40.0, 3.5))
    assert told(scene(passing(), at_rest(), beside)) == Truth.UNKNOWN


def test_a_source_that_tells_of_those_behind_others_hides_nobody() -> None:
    """A car wholly behind another of its height, told of for 1 s; or 0.9 s, or one that is taller."""
    for lasts, tall, said in ((10, 1.6, Truth.TRUE), (9, 1.6, Truth.UNKNOWN),
                              (10, 1.7, Truth.UNKNOWN)):  # fmt: skip
        hidden = replace(still(30.0, 0.0), seen=np.arange(micro.STEPS) < lasts)
        hidden = replace(hidden, size=(4.0, 1.0, tall))
        assert told(scene(behind(), halts(), hidden)) == said


def test_who_is_hidden_for_a_while_and_stands_where_it_stood_stood_meanwhile() -> None:
    there = (TIME < 2.0) | ((TIME > 5.5) & (TIME < 6.0))
    assert told(scene(passing(), replace(halts(), seen=there))) == Truth.TRUE
    moved = replace(halts(), seen=there)
    moved.xy[TIME > 3.0, 0] += 1.5
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

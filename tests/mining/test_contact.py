"""Which overlaps are collisions, which are none, and which cannot be known."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lake import Lake
from lake.localise import TYPICAL_SIZE
from mining.contact import coupled, met, overlapping
from mining.intervals import Interval
from mining.motion import Motion
from mining.predicates import tag_scene
from schemas.labels import AgentClass, Truth
from schemas.scene import Scene
from tests.mining.micro import STEPS, TIME, Actor, along, arc, ramp, scene, still
from tests.mining.micro import speeds as way_of
from tests.mining.test_predicates import cruise, into_standing, walker


def told(made: Scene) -> list[Interval]:
    return tag_scene(made, ["collision"])


def reasons(made: Scene) -> list[str]:
    return [str(i.evidence["reason"]) for i in told(made) if i.truth == Truth.UNKNOWN]


def crashes(made: Scene) -> list[Interval]:
    return [i for i in told(made) if i.truth == Truth.TRUE]


def behind(
    actor: Actor, metres: float, cls: AgentClass, size: tuple[float, float, float]
) -> Actor:
    """What is drawn: as far behind as that, along the actor's heading, a little askew."""
    back = metres * np.stack([np.cos(actor.yaw), np.sin(actor.yaw)], axis=-1)
    return Actor(actor.xy - back, actor.yaw + 0.03 * np.sin(TIME), cls, size)


def test_a_trailer_is_no_collision() -> None:
    """Boxes of a truck and its trailer overlap by half a metre and wobble."""
    truck = arc(
        6.0, 25.0, turn_from=3.0, angle=np.pi / 2, start=(-40.0, 0.0), cls=AgentClass.TRUCK
    )
    for cls in (AgentClass.OTHER, AgentClass.VEHICLE):
        trailer = behind(truck, 9.0, cls, (7.0, 2.5, 3.0))
        made = scene(cruise(8.0, y=-20.0), truck, trailer)
        assert coupled(Motion(made)).sum() == 1
        assert told(made) == []


def test_a_rider_is_no_collision() -> None:
    bike = along(5.0 * TIME, start=(-20.0, 0.0), cls=AgentClass.CYCLIST)
    rider = along(5.0 * TIME + 0.1, start=(-20.0, 0.0), cls=AgentClass.PEDESTRIAN)
    assert told(scene(cruise(5.0, y=20.0), bike, rider)) == []
    waiting = along(0.0 * TIME, start=(0.0, 5.0), cls=AgentClass.MOTORCYCLE, size=(2.2, 0.7, 1.4))
    seated = still(0.1, 5.0, cls=AgentClass.PEDESTRIAN)
    assert told(scene(cruise(5.0, y=20.0), waiting, seated)) == []


def test_cars_that_meet_are_not_coupled() -> None:
    assert not coupled(Motion(into_standing())).any()
    queue = scene(*(cruise(3.0, x=-20.0 - 5.5 * k) for k in range(3)))
    assert not coupled(Motion(queue)).all()


def test_people_get_into_a_car_that_stands_but_are_hit_by_one_that_drives() -> None:
    gets_in = along(np.minimum(1.4 * TIME, 6.0), start=(0.0, -6.0), yaw=np.pi / 2, cls=AgentClass.PEDESTRIAN)  # fmt: skip
    assert told(scene(cruise(5.0, y=30.0), still(0.0, 0.0), gets_in)) == []
    hit = scene(cruise(10.0, x=-40.0), walker(1.0, 0.0, -4.0))
    (crash,) = crashes(hit)
    assert crash.value is not None
    assert crash.value > 8.0


def test_an_overlap_since_first_seen_is_not_known() -> None:
    double = scene(cruise(5.0, y=30.0), still(0.0, 0.0), along(1.5 * TIME, start=(1.0, 0.0)))
    assert reasons(double) == ["overlap since first seen"]
    motion = Motion(double)
    assert not met(motion)[-1, 0]
    assert met(motion)[-1, -1]


def test_an_overlap_within_the_error_of_boxes_is_not_known_but_for_made_up_scenes() -> None:
    # Widths of 2 m, centres 1.6 m apart: 0.2 m on each side.
    graze = scene(cruise(10.0), still(0.0, 1.6))
    assert reasons(graze) == ["overlap within the error of boxes"]
    assert crashes(graze) == []
    assert len(crashes(replace(graze, source="generated"))) == 1
    assert not overlapping(Motion(graze), inset=0.25).any()
    assert len(crashes(scene(cruise(10.0), still(0.0, 1.2)))) == 1


def test_where_sizes_are_not_told_a_collision_is_not_known() -> None:
    made = into_standing()
    size = made.tracks.size.copy()
    size[1] = TYPICAL_SIZE[AgentClass.VEHICLE]
    unsized = replace(made, tracks=replace(made.tracks, size=size))
    assert Motion(unsized).size_guessed.tolist() == [False, True]
    assert reasons(unsized) == ["sizes not told"]
    assert crashes(unsized) == []
    assert len(crashes(replace(unsized, source="generated"))) == 1


def test_stopping_behind_a_queue_is_no_near_miss() -> None:
    """TTC falls below 0.95 s, but easy braking is enough."""
    stops = along(way_of(ramp(2.0, 6.5, 9.0, 0.0)), start=(-44.0, 0.0))
    made = scene(stops, still(0.0, 0.0))
    assert made.tracks.xy[0, STEPS - 1, 0] < -4.8
    assert not [i for i in tag_scene(made, ["near_miss"]) if i.truth == Truth.TRUE]


def test_oncoming_traffic_in_a_bend_is_no_near_miss() -> None:
    """Lanes of a bend of 20 m radius, 3.5 m apart, driven both ways."""
    turn = 8.0 * TIME / 20.0
    inner = Actor(20.0 * np.stack([np.cos(turn), np.sin(turn)], axis=-1), turn + np.pi / 2)
    back = 2.0 - 8.0 * TIME / 23.5
    outer = Actor(23.5 * np.stack([np.cos(back), np.sin(back)], axis=-1), back - np.pi / 2)
    made = scene(inner, outer)
    assert [i for i in tag_scene(made, ["ttc_2d"]) if i.truth == Truth.TRUE]
    assert not [i for i in tag_scene(made, ["near_miss"]) if i.truth == Truth.TRUE]


REAL = os.environ.get("SCENELAKE_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="SCENELAKE_REAL_DATA is not set")
@pytest.mark.parametrize(
    "files",
    [
        # Trailers, a motion scenario without sizes, cars parked a hand's breadth apart.
        ["argoverse2"],
        # Boxes that overlap by up to 25 cm while they pass each other at 14 m/s.
        ["commonroad/CHN_Sha-15_4_T-1.xml.gz", "commonroad/USA_Lanker-2_12_T-1.xml.gz"],
    ],
    ids=["argoverse2", "commonroad"],
)
def test_logs_without_a_crash_have_no_collision(tmp_path, files) -> None:  # type: ignore[no-untyped-def]
    assert REAL is not None
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([Path(REAL) / name for name in files], on_error="skip")
    truths = [i.truth for made in lake.scenes() for i in told(made)]
    assert Truth.TRUE not in truths
    assert Truth.UNKNOWN in truths

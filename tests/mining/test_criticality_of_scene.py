"""What whole scenes come to: known worst values, symmetries, and who mattered to the ego."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.frames import SE2
from mining.criticality.counterfactual import Relevance, relevance
from mining.criticality.scene import ALONG_LANES, METRICS, OVER_TIME, criticality, worst_of
from mining.criticality.table import criticality_table
from mining.motion import Motion
from schemas.labels import AgentClass, LightState
from schemas.records import RoadMap
from schemas.scene import Scene
from schemas.tables import TABLES
from tests.mining import micro
from tests.mining.micro import STEPS, TIME, along, ramp, scene, still
from tests.mining.micro import speeds as way_of
from tests.mining.test_predicate_properties import busy
from tests.mining.test_predicates import cruise, into_standing, lit, walker

Pair = tuple[int, int]


def worst(made: Scene) -> dict[Pair, dict[str, float]]:
    """Worst values by track ids."""
    motion = Motion(made)
    told = worst_of(motion)
    ids = motion.track_id
    return {
        (ids[a], ids[b]): {name: float(value[k]) for name, value in told.values.items()}
        for k, (a, b) in enumerate(zip(told.a.tolist(), told.b.tolist(), strict=True))
    }


def assert_same(a: dict[Pair, dict[str, float]], b: dict[Pair, dict[str, float]]) -> None:
    """But for rounding; what goes by steps, rounding may move by one."""
    assert set(a) == set(b)
    for pair, values in a.items():
        for name, value in values.items():
            slack = 0.11 if name in ("pet", "et", "mttcp", "rss_danger") else 0.02
            same = pytest.approx(value, rel=0.02, abs=slack, nan_ok=True)
            assert b[pair][name] == same, (pair, name)


# -- known answers -----------------------------------------------------------------------------


def test_running_into_one_that_stands() -> None:
    """10 m/s, outlines meet after 5.52 s: at step 55 the gap is 0.2 m."""
    of_pair = worst(into_standing())[0, 1]
    assert of_pair["ttc"] == pytest.approx(0.02, abs=0.01)
    assert of_pair["thw"] == pytest.approx(0.0, abs=0.03)
    assert of_pair["ttc_2d"] == 0.0
    assert of_pair["dce"] == 0.0
    assert of_pair["delta_v"] == pytest.approx(5.0, rel=0.01)
    assert of_pair["tet"] == pytest.approx(2.0)
    assert of_pair["tit"] == pytest.approx(2.06, abs=0.02)
    assert of_pair["drac"] == pytest.approx(100.0 / 0.4, rel=0.02)
    assert of_pair["btn"] == pytest.approx(of_pair["a_req"] / 8.0)
    assert of_pair["stn"] == pytest.approx(of_pair["a_lat_req"] / 8.0)
    assert of_pair["pet"] == np.inf
    back = worst(into_standing())[1, 0]
    assert back["ttc"] == np.inf
    assert back["drac"] == 0.0
    assert back["ttc_2d"] == of_pair["ttc_2d"]


def test_crossing_ways() -> None:
    told = worst(scene(cruise(10.0), along(8.0 * TIME, start=(0.0, -30.0), yaw=np.pi / 2)))
    assert told[0, 1]["pet"] == told[1, 0]["pet"] == pytest.approx(1.49, abs=0.12)
    assert told[0, 1]["mttcp"] == pytest.approx(2.25, abs=0.2)
    # Ground as wide as the other and as long as oneself: 6.8 m.
    assert told[0, 1]["et"] == pytest.approx(0.68, abs=0.1)
    assert told[1, 0]["et"] == pytest.approx(0.85, abs=0.1)


def test_steady_traffic_far_apart_is_not_critical() -> None:
    made = scene(cruise(8.0, x=-60.0), cruise(8.0, x=-10.0))
    told = worst(made)[0, 1]
    for name in ("drac", "a_req", "btn", "stn", "rss_side", "delta_v", "tet", "tit", "cpi"):
        assert told[name] == pytest.approx(0.0, abs=1e-6), name
    for name in ("ttc", "ttc_2d", "dce", "ttce", "pet", "mttcp"):
        assert told[name] > 50.0, name
    assert told["rss_gap"] == 0.0


def test_over_time_and_worst_are_the_same_numbers() -> None:
    told = criticality(busy())
    shape = (len(told.a), STEPS)
    assert told.valid.shape == shape
    assert set(told.over_time) == {metric.name for metric in OVER_TIME}
    assert set(told.known) == ALONG_LANES & set(told.over_time)
    for metric in OVER_TIME:
        value = told.over_time[metric.name]
        assert value.shape == shape
        assert not np.isnan(value).any()
        if metric.name == "ttce":  # its worst is the one of the closest encounter
            continue
        extreme = value.min(axis=1) if metric.worst == "min" else value.max(axis=1)
        known = ~np.isnan(told.worst.values[metric.name])
        np.testing.assert_allclose(told.worst.values[metric.name][known], extreme[known])
    assert (told.over_time["ttc"][~told.valid] == np.inf).all()
    # Followers have their leader as other.
    (row,) = np.flatnonzero((told.a == 2) & (told.b == 0))
    assert np.isfinite(told.over_time["thw"][row]).any()


# -- symmetries --------------------------------------------------------------------------------


def test_turning_shifting_and_mirroring_change_nothing() -> None:
    made = busy()
    told = worst(made)
    assert_same(told, worst(micro.moved(made, SE2(-310.0, 44.0, -1.0))))
    assert_same(told, worst(micro.mirrored(made)))


def test_the_order_of_agents_does_not_matter() -> None:
    made = busy()
    order = [0, 5, 3, 1, 6, 2, 4]
    assert_same(worst(made), worst(replace(made, tracks=made.tracks.take(order))))


def test_what_is_cut_off_before_does_not_matter() -> None:
    """The encounter and the anchor both lie after the cut."""
    made = replace(into_standing(), anchor=30)
    assert_same(worst(made), worst(made.between(10, STEPS)))


# -- what is not known -------------------------------------------------------------------------


def test_without_lanes_or_ego_or_future_it_is_not_known() -> None:
    bare = worst(scene(cruise(10.0), still(0.0, 0.0), map=RoadMap.none()))[0, 1]
    for name in METRICS:
        assert np.isnan(bare[name]) == (name in ALONG_LANES), name
    nobody = worst(scene(cruise(10.0), still(0.0, 0.0), has_ego=False))
    assert np.isnan([nobody[1, 2]["relevance_motion"], nobody[1, 2]["relevance_presence"]]).all()
    late = worst(replace(scene(cruise(10.0), still(30.0, 0.0)), anchor=STEPS - 5))
    assert np.isnan([late[0, 1]["relevance_motion"], late[0, 1]["relevance_presence"]]).all()
    others = worst(busy())
    assert all(np.isnan(v["relevance_presence"]) for (a, _), v in others.items() if a != 0)


def test_unseen_steps_count_for_nothing() -> None:
    seen = np.ones(STEPS, dtype=bool)
    seen[45:] = False
    hidden = scene(cruise(10.0), along(0.0 * TIME, start=(0.0, 0.0), seen=seen))
    # At the last sight of it the gap is 60 − 44 − 4.8 = 11.2 m.
    assert worst(hidden)[0, 1]["ttc"] == pytest.approx(1.12, abs=0.02)
    assert not criticality(hidden).valid[:, 45:].any()


# -- the table ---------------------------------------------------------------------------------


def test_metrics_are_the_columns_of_the_table() -> None:
    about = {"pair_id", "log_id", "scene_id", "actor_id", "other_id", "run_id"}
    assert set(TABLES["criticality"].schema.names) - about == set(METRICS)


def test_rows_of_a_scene() -> None:
    made = scene(cruise(10.0), still(0.0, 0.0), still(0.0, 40.0), still(10.0, -40.0))
    rows = criticality_table(Motion(made)).to_pylist()
    assert [(r["actor_id"], r["other_id"]) for r in rows[:2]] == [(None, None), (0, 1)]
    assert rows[0]["ttc"] == rows[1]["ttc"]
    assert rows[0]["relevance_motion"] is not None
    assert len({r["pair_id"] for r in rows}) == len(rows)
    # Nothing ever approached those at the side of the road, so nothing is told of them.
    assert not [r for r in rows if {r["actor_id"], r["other_id"]} == {2, 3}]
    bare = criticality_table(Motion(replace(made, map=RoadMap.none(), has_map=False))).to_pylist()
    assert bare[0]["ttc"] is None
    assert bare[0]["ttc_2d"] is not None


def test_a_scene_of_one_has_a_row_of_its_own() -> None:
    (row,) = criticality_table(Motion(scene(cruise(10.0)))).to_pylist()
    assert row["actor_id"] is None
    assert row["ttc"] == np.inf
    assert row["drac"] == 0.0
    assert row["relevance_presence"] == 0.0
    (row,) = criticality_table(
        Motion(scene(cruise(10.0), map=RoadMap.none(), has_ego=False))
    ).to_pylist()
    assert row["ttc"] is None
    assert row["ttc_2d"] == np.inf
    assert row["relevance_presence"] is None


# -- who mattered ------------------------------------------------------------------------------


def of(made: Scene) -> Relevance:
    return relevance(Motion(made))


def test_a_blocking_leader_matters_and_one_far_away_does_not() -> None:
    """Ego brakes behind one that stands; another one stands far off, a third follows."""
    made = scene(
        along(way_of(ramp(2.0, 6.0, 10.0, 0.0)), start=(-60.0, 0.0)),
        still(-10.0, 0.0),
        still(-40.0, 3.5),
        along(way_of(ramp(2.5, 6.5, 10.0, 0.0)), start=(-80.0, 0.0)),
        still(150.0, 0.0),
    )
    told = of(made)
    assert told.presence_known[1:4].all()
    assert told.presence[1] > 0.95
    assert told.displaced[1] > 10.0
    assert told.presence[2] == told.presence[3] == told.presence[4] == 0.0
    # Nobody of them did anything that kept a crash away.
    np.testing.assert_allclose(told.motion[[1, 2, 4]], 0.0)


@settings(max_examples=20, deadline=None)
@given(st.floats(5.0, 60.0), st.floats(1.0, 15.0))
def test_the_nearer_a_leader_the_more_it_matters(gap: float, more: float) -> None:
    def presence(ahead: float) -> float:
        made = scene(cruise(10.0), still(-50.0 + 4.8 + ahead, 0.0))
        return float(of(made).presence[1])

    assert presence(gap) >= presence(gap + more) - 0.02


def test_of_a_queue_the_first_is_no_less_than_what_lies_behind_it() -> None:
    told = of(scene(cruise(10.0), still(0.0, 0.0), still(7.0, 0.0)))
    assert told.presence[1] > 0.3
    assert told.presence[2] < 0.1  # without it the ego stops behind the first all the same


def test_someone_on_foot_in_the_way_matters_while_there() -> None:
    told = of(scene(cruise(8.0), walker(1.4, 0.0, -8.0), walker(1.4, 0.0, -40.0)))
    assert told.presence[1] > 0.5
    assert told.presence[2] == 0.0


def test_behind_a_red_light_nobody_matters() -> None:
    """The ego stops at the light anyway: what stands beyond it changes nothing."""
    made = lit(
        along(way_of(ramp(2.0, 6.0, 8.0, 0.0)), start=(-72.0, -micro.D)),
        still(5.0, -micro.D),
        through=LightState.RED,
    )
    green = lit(
        along(way_of(ramp(2.0, 6.0, 8.0, 0.0)), start=(-72.0, -micro.D)),
        still(5.0, -micro.D),
        through=LightState.GREEN,
    )
    assert of(made).presence[1] < 0.05
    assert of(green).presence[1] > of(made).presence[1]


def test_one_who_gave_way_made_it_safer_and_one_who_did_not_less_so() -> None:
    yields = along(way_of(ramp(2.0, 4.0, 8.0, 0.0)), start=(0.0, -40.0), yaw=np.pi / 2)
    told = of(scene(cruise(8.0, x=-40.0), yields))
    assert told.delta[1] > 0.2
    assert told.motion[1] == told.delta[1]
    assert told.contact[1] == 0.0
    # It speeds up to be there together with the ego.
    rushes = along(way_of(ramp(2.0, 3.0, 4.0, 8.0)), start=(0.0, -34.0), yaw=np.pi / 2)
    told = of(scene(cruise(8.0, x=-40.0), rushes))
    assert told.delta[1] < -0.2
    assert told.motion[1] == -told.delta[1]


def test_relevance_lies_between_nought_and_one() -> None:
    told = of(busy())
    for share in (told.motion, told.presence):
        assert ((share >= 0.0) & (share <= 1.0)).all()
    assert not told.motion_known[0]


@pytest.mark.parametrize("cls", [AgentClass.PEDESTRIAN, AgentClass.OBSTACLE, AgentClass.TRUCK])
def test_whatever_stands_in_the_way_matters(cls: AgentClass) -> None:
    assert of(scene(cruise(10.0), still(-20.0, 0.0, cls=cls))).presence[1] > 0.9


# -- who comes the other way -------------------------------------------------------------------


def lacks(made: Scene) -> float:
    """How much the gap of the ego to the other, who comes, falls short."""
    return worst(made)[0, 1]["rss_oncoming"]


def test_who_comes_the_other_way_is_told_in_the_lane_alone() -> None:
    """10 m/s and 5 m/s from 120 m on, until the fronts meet: 32.67 m are safe."""
    for y, width, told in ((0.0, 2.0, 32.67 - 0.7), (2.1, 2.0, 32.67 - 0.7), (2.3, 2.0, 0.0)):
        comes = along(5.0 * TIME, start=(55.0, y), yaw=np.pi, size=(4.8, width, 1.6))
        assert lacks(scene(cruise(10.0), comes)) == pytest.approx(told, abs=0.02)
    # It does not come that stands, backs away, or drives the same way.
    for other in (still(0.0, 0.0, np.pi), cruise(5.0, x=0.0)):
        assert lacks(scene(cruise(10.0, x=-100.0), other)) == 0.0
    backs = along(-2.0 * TIME, start=(0.0, 0.0), yaw=np.pi)
    assert lacks(scene(cruise(10.0, x=-100.0), backs)) == 0.0
    # Of the two it is the other who is in the wrong lane.
    assert worst(scene(cruise(10.0), cruise(5.0, x=55.0, yaw=np.pi)))[1, 0]["rss_oncoming"] == 0.0


def test_who_comes_is_sought_along_the_way_round_a_bend() -> None:
    """A quarter circle of 30 m: what comes on its lane is at no time straight ahead."""
    t = np.linspace(0.0, np.pi / 2, 60)
    inner, outer = (np.column_stack([r * np.sin(t), 30.0 - r * np.cos(t)]) for r in (30.0, 33.5))
    road = micro.build([micro.lane(inner), micro.lane(outer[::-1])])

    def round_it(radius: float, speed: float, since: float) -> micro.Actor:
        at = since + speed * TIME / radius
        xy = np.column_stack([radius * np.sin(at), 30.0 - radius * np.cos(at)])
        return micro.Actor(xy, at + (0.0 if speed > 0.0 else np.pi))

    ego = round_it(30.0, 2.0, 0.1)
    wrong = round_it(30.0, -2.0, 1.5)
    own = round_it(33.5, -2.0, 1.5)
    assert lacks(scene(ego, wrong, map=road)) > 1.0
    assert lacks(scene(ego, own, map=road)) == 0.0


def test_within_intersections_nobody_comes_the_other_way() -> None:
    wide = (4.8, 4.0, 1.6)
    comes = along(5.0 * TIME, start=(40.0, micro.D - 1.0), yaw=np.pi, size=wide)
    waits = along(0.0 * TIME, start=(-20.0, -micro.D + 1.0), size=wide)
    inside = scene(waits, replace(comes, seen=(comes.xy[:, 0] > -11.0)), map=micro.junction())
    assert lacks(inside) == 0.0


# -- the worst that both can do ----------------------------------------------------------------


def test_the_worst_case_counts_what_things_cannot_do() -> None:
    """Circles of 2.6 m and 0.42 m; the least distance of the centres is 5 m, where the ego passes."""
    thing = along(0.0 * TIME, start=(0.0, -5.0), cls=AgentClass.OBSTACLE)
    person = along(0.0 * TIME, start=(0.0, -5.0), cls=AgentClass.PEDESTRIAN)
    reach = 2.6 + np.hypot(0.3, 0.3)
    least = {"thing": 8.0, "person": 16.0}
    for other, able in ((thing, least["thing"]), (person, least["person"])):
        told = worst(scene(cruise(1.0, x=-5.0), other))[0, 1]["wttc"]
        # At 1 m/s nothing but the acceleration tells: a t²/2 = 5 m − the radii.
        assert told == pytest.approx(np.sqrt(2 * (5.0 - reach) / able), abs=0.02)

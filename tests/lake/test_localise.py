from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.localise import PRECISION_M, derived_velocity, localise
from schemas.labels import AgentClass, LaneType
from tests.builders import (
    CORNER,
    crossing_map,
    make_crossing_log,
    make_straight_log,
    road_users,
    without,
)


def kinds(notes) -> dict[str, int]:
    told: dict[str, int] = {}
    for note in notes:
        told[note.kind] = told.get(note.kind, 0) + note.count
    return told


def test_source_coordinates_come_back_to_the_millimetre():
    log = make_straight_log()
    local = localise(log)
    source = np.concatenate([log.ego.xyz, log.agents.xyz])
    assert np.abs(local.origin + local.rows.xyz.astype(np.float64) - source).max() < PRECISION_M
    assert (local.origin == np.round(local.origin)).all()


def test_without_a_map_the_first_position_is_the_origin():
    local = localise(without(make_straight_log(), "map"))
    np.testing.assert_array_equal(local.origin, CORNER + np.array([0, 0, 1]))


def test_a_map_far_away_gives_its_origin_up_rather_than_precision():
    log = make_straight_log()
    away = np.array([60_000.0, 0.0, 0.0])
    far = replace(
        log,
        ego=replace(log.ego, xyz=log.ego.xyz + away + 0.123),
        agents=replace(log.agents, xyz=log.agents.xyz + away + 0.123),
    )
    local = localise(far)
    rows = local.rows.xyz[local.rows.track == 0].astype(np.float64)
    assert np.abs(local.origin + rows - far.ego.xyz).max() < PRECISION_M


def test_the_map_of_another_city_costs_no_pose():
    log = make_straight_log()
    away = np.array([2.0**22, 2.0**22, 0.0])  # far, in numbers that float32 holds exactly
    home = np.round(log.ego.xyz)
    far = replace(log, ego=replace(log.ego, xyz=home + away), agents=without(log, "agents").agents)
    local = localise(far)
    assert local.rows.valid.all()
    np.testing.assert_array_equal(local.origin + local.rows.xyz, far.ego.xyz)
    assert not local.roads.map.features
    assert any("100 km" in note.reason for note in local.roads.notes)


def test_poses_that_are_not_finite_or_absurd_are_not_valid_and_told():
    log = make_straight_log()
    xyz, yaw = log.agents.xyz.copy(), log.agents.yaw.copy()
    xyz[5, 0], xyz[6, 1], yaw[7], xyz[8] = np.nan, np.inf, np.nan, 1e12
    local = localise(replace(log, agents=replace(log.agents, xyz=xyz, yaw=yaw)))
    agents = local.rows.track > 0
    assert np.flatnonzero(~local.rows.valid[agents]).tolist() == [5, 6, 7, 8]
    assert np.isfinite(local.rows.xyz).all()
    assert np.isfinite(local.rows.velocity).all()
    assert kinds(local.notes)["dropped"] == 4


def test_tracks_without_rows_and_repeated_times_are_told():
    log = make_straight_log(steps=3)
    agents = log.agents
    t_ns = agents.t_ns.copy()
    t_ns[1] = t_ns[0]
    named = replace(
        agents, t_ns=t_ns, source_track_id=[*agents.source_track_id, "ghost"],
        source_cls=[*agents.source_cls, "?"], cls=[*agents.cls, AgentClass.UNKNOWN],
    )  # fmt: skip
    local = localise(replace(log, agents=named))
    assert local.tracks.track_id.tolist() == [0, 1, 2, 3]
    assert sorted(n.reason.split(";")[0] for n in local.notes) == [
        "a track has several states at one time", "tracks have no row at all",
    ]  # fmt: skip


def test_rows_in_any_order_are_sorted():
    log = make_straight_log()
    order = np.random.default_rng(0).permutation(len(log.agents.t_ns))
    names = ("track", "t_ns", "xyz", "yaw", "size")
    mixed = replace(log.agents, **{n: getattr(log.agents, n)[order] for n in names})
    a, b = localise(log).rows, localise(replace(log, agents=mixed)).rows
    for name in ("track", "t_ns", "xyz", "yaw", "velocity", "size", "valid"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_velocity_is_the_sources_where_it_tells_and_derived_where_not():
    log = make_straight_log()
    told = replace(log, ego=replace(log.ego, velocity=log.ego.velocity + 0.5))
    rows = localise(told).rows
    np.testing.assert_allclose(rows.velocity[rows.track == 0], [[10.5, 0.5]] * 91, rtol=1e-6)
    assert rows.measured[rows.track == 0].all()
    np.testing.assert_allclose(rows.velocity[rows.track == 3], [[0.0, 1.5]] * 91, atol=1e-4)
    assert not rows.measured[rows.track > 0].any()


@given(
    st.floats(-30, 30), st.floats(-3, 3), st.integers(3, 40), st.sampled_from([0.005, 0.04, 0.1])
)
def test_central_differences_are_exact_for_constant_acceleration(v0, a, steps, dt):
    t_ns = np.round(np.arange(steps) * dt * 1e9).astype(np.int64)
    t = t_ns / 1e9
    xy = np.stack([v0 * t + a * t * t / 2.0, np.zeros(steps)], axis=1)
    velocity, known = derived_velocity(
        np.zeros(steps, dtype=np.int64), t_ns, xy, np.ones(steps, dtype=bool), gap_ns=150_000_000
    )
    assert known.all()
    middle = slice(steps // 2, steps // 2 + 1)
    # At the very middle both neighbours are equally far away, or the ends are cut alike.
    reach = max(1, int(np.ceil(0.05 / dt - 1e-6)))
    if steps // 2 - reach >= 0 and steps // 2 + reach < steps:
        np.testing.assert_allclose(velocity[middle, 0], (v0 + a * t)[middle], atol=1e-6)


def test_velocity_does_not_reach_over_gaps_or_tracks():
    track = np.array([1, 1, 1, 2, 2])
    t_ns = np.array([0, 1, 9, 0, 1]) * 10**8
    xy = np.array([[0.0, 0], [1, 0], [50, 0], [7, 0], [7, 1]])
    velocity, known = derived_velocity(track, t_ns, xy, np.ones(5, dtype=bool), gap_ns=150_000_000)
    assert known.tolist() == [True, True, False, True, True]
    np.testing.assert_allclose(velocity, [[10, 0], [10, 0], [0, 0], [0, 10], [0, 10]])


def test_lanes_are_matched_by_who_drives_there():
    log = make_straight_log()
    local = localise(log)
    rows, lanes = local.rows, local.lanes
    assert (lanes.lane[rows.track == 0] == 0).all()
    assert lanes.on_lane[rows.track == 0].all()
    np.testing.assert_allclose(lanes.s[rows.track == 0][:2], [100.0, 101.0], atol=1e-3)
    np.testing.assert_allclose(lanes.d[rows.track == 1], 0.2, atol=1e-3)
    assert (lanes.lane[rows.track == 2] == 1).all()
    # The pedestrian walks from y = −8: on the roadway only from half a lane before its middle.
    walker = rows.track == 3
    y = (rows.xyz[walker, 1].astype(np.float64) + local.origin[1]) - CORNER[1]
    np.testing.assert_array_equal(lanes.on_lane[walker], (y > -1.8) & (y < 3.5 + 1.8))


def test_cars_are_not_matched_to_bicycle_lanes_and_cyclists_are():
    road = crossing_map()
    bikes = replace(
        road, features=tuple(replace(f, lane_type=LaneType.BIKE) for f in road.features)
    )
    users = road_users(
        [("car", AgentClass.VEHICLE, (-50, 0), (5, 0)),
         ("bike", AgentClass.CYCLIST, (-40, 0), (5, 0))], steps=3
    )  # fmt: skip
    log = replace(without(make_crossing_log(), "ego", "lights"), map=bikes, agents=users)
    local = localise(log)
    assert not local.lanes.on_lane[local.rows.track == 1].any()
    assert local.lanes.on_lane[local.rows.track == 2].all()


def test_sizes_are_medians_and_guessed_where_the_source_has_none():
    log = make_straight_log(steps=5)
    size = log.agents.size.copy()
    size[0] = [9.0, 9.0, 9.0]  # one outlier among five
    size[5:10] = np.nan
    local = localise(replace(log, agents=replace(log.agents, size=size)))
    np.testing.assert_allclose(local.tracks.size[1], [4.6, 1.9, 1.6], rtol=1e-6)
    np.testing.assert_allclose(local.tracks.size[2], [8.5, 2.5, 3.2], rtol=1e-6)
    assert kinds(local.notes) == {"guessed": 1}


def test_signals_of_unknown_lanes_are_told():
    log = make_crossing_log(steps=4)
    names = ["elsewhere" if n == "lane3" else n for n in log.lights.source_lane_id]
    local = localise(replace(log, lights=replace(log.lights, source_lane_id=names)))
    assert local.lights.lane.tolist() == [-1, 0]
    assert kinds(local.notes) == {"missing": 1}


@pytest.mark.parametrize("rate", [0.0, float("nan")])
def test_a_source_without_a_rate_is_taken_for_ten_hertz(rate):
    assert localise(replace(make_straight_log(), rate_hz=rate)).gap_ns == 150_000_000


@pytest.mark.parametrize("told", [1e300, -5000.0])
def test_a_velocity_beyond_belief_is_derived_instead(told):
    log = make_straight_log(steps=21)
    velocity = np.array(log.ego.velocity)
    velocity[5, 0] = told
    local = localise(replace(log, ego=replace(log.ego, velocity=velocity)))
    np.testing.assert_allclose(local.rows.velocity[5], (10.0, 0.0), atol=1e-3)
    assert [n.count for n in local.notes if "over 1000 m/s" in n.reason] == [1]

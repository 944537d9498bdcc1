"""Driving macros, routes and geometry in SQL, against answers worked out by hand or another way."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.geometry_sql import FUNCTIONS
from lake.macros import MACROS, VIEWS
from lake.sql import run_sql
from schemas.errors import BadQuery
from schemas.tables import TABLES


def actor(track_id, x, y, yaw=0.0, v=(0.0, 0.0), size=(4.0, 2.0), t_ns=0, lane_id=None, **more):
    return {
        "log_id": 1, "track_id": track_id, "t_ns": t_ns, "cls": "vehicle", "valid": True, "x": x,
        "y": y, "z": 0.0, "yaw": yaw, "vx_map": v[0], "vy_map": v[1], "length": size[0],
        "width": size[1], "height": 1.5, "lane_id": lane_id, **more,
    }  # fmt: skip


def of(name, rows):
    return pa.Table.from_pylist(rows, schema=TABLES[name].schema)


def between(a, b, expression):
    """The value of an expression over two actors of one moment."""
    rows = of("agents", [{**actor(1, 0, 0), **a}, {**actor(2, 0, 0), **b}])
    query = (
        f"SELECT {expression} AS v FROM actors a JOIN actors b USING (log_id, t_ns) "
        "WHERE a.track_id = 1 AND b.track_id = 2"
    )
    return run_sql(query, tables={"agents": rows})["v"][0].as_py()


NORTH = math.pi / 2


@pytest.mark.parametrize(
    ("expression", "a", "b", "answer"),
    [
        ("distance(a, b)", {}, {"x": 3, "y": 4}, 5),
        ("within(a, b, 5)", {}, {"x": 3, "y": 4}, True),
        ("within(a, b, 4.9)", {}, {"x": 3, "y": 4}, False),
        ("speed(a)", {"vx_map": 3, "vy_map": -4}, {}, 5),
        ("kmh(speed(a))", {"vx_map": 10}, {}, 36),
        ("angle_between(a.yaw, b.yaw)", {"yaw": 3.0}, {"yaw": -3.0}, 2 * math.pi - 6),
        ("metres_ahead(a, b)", {"yaw": NORTH}, {"x": 2, "y": 10}, 10),
        ("metres_left(a, b)", {"yaw": NORTH}, {"x": 2, "y": 10}, -2),
        ("ahead_of(b, a)", {"yaw": NORTH}, {"x": 1.9, "y": 10}, True),
        ("ahead_of(b, a)", {"yaw": NORTH}, {"x": 2.1, "y": 10}, False),
        ("ahead_of(b, a)", {"yaw": NORTH}, {"x": 0, "y": -10}, False),
        ("behind(b, a)", {"yaw": NORTH}, {"x": 0, "y": -10}, True),
        ("left_of(b, a)", {}, {"x": 1, "y": 3}, True),
        ("right_of(b, a)", {}, {"x": 1, "y": 3}, False),
        ("right_of(b, a)", {}, {"x": 1, "y": -3}, True),
        ("left_of(b, a)", {}, {"x": 5, "y": 3}, False),
        ("gap(a, b)", {}, {"x": 30, "length": 10}, 23),
        ("gap(a, b)", {}, {"x": 3}, 0),
        ("closing_speed(a, b)", {"vx_map": 10}, {"x": 30, "vx_map": 4}, 6),
        ("ttc(a, b)", {"vx_map": 10}, {"x": 28, "vx_map": 4}, 4),
        ("ttc(a, b)", {"vx_map": 4}, {"x": 28, "vx_map": 4}, math.inf),
        ("headway(a, b)", {"vx_map": 8}, {"x": 20}, 2),
        ("headway(a, b)", {}, {"x": 20}, math.inf),
        ("same_direction(a, b)", {"yaw": 3.1}, {"yaw": -3.1}, True),
        ("oncoming(a, b)", {"yaw": 0.2}, {"yaw": -3.0}, True),
        ("same_lane(a, b)", {"lane_id": 3}, {"lane_id": 3}, True),
        ("same_lane(a, b)", {"lane_id": 3}, {"lane_id": 4}, False),
        ("lane_of(a)", {"lane_id": 3}, {}, 3),
    ],
)
def test_macros_give_what_they_say(expression, a, b, answer):
    assert between(a, b, expression) == pytest.approx(answer, abs=1e-5)


@pytest.mark.parametrize(
    "expression",
    ["distance(a, b)", "ahead_of(b, a)", "gap(a, b)", "ttc(a, b)", "same_lane(a, b)", "speed(b)"],
)
def test_what_is_not_known_is_null(expression):
    nothing = {"x": None, "vx_map": None, "length": None, "width": None}
    assert between({"vx_map": 5.0}, nothing, expression) is None


@pytest.mark.parametrize("expression", ["gap(a, b)", "ttc(a, b)", "headway(a, b)"])
@pytest.mark.parametrize("speed", [0.0, 10.0])
def test_there_is_no_gap_to_who_is_behind(expression, speed):
    # Else the least TTC over all pairs would be 0, of the first two cars that drive apart.
    behind = {"x": -20, "vx_map": 4.0}
    assert between({"vx_map": speed}, behind, expression) is None
    assert between({"vx_map": speed}, {"x": -3, "vx_map": 4.0}, "gap(a, b)") == 0


def lanes(edges, length=10.0):
    count = max((max(a, b) for a, b, _ in edges), default=0) + 1
    features = [
        {
            "map_id": 9, "feature_id": i, "source_feature_id": str(i), "layer": "lane",
            "source_type": "", "xmin": 0, "ymin": 0, "xmax": 0, "ymax": 0, "polyline": [],
            "wkb": b"", "length_m": length + i, "has_z": False,
        }
        for i in range(count)
    ]  # fmt: skip
    rows = [
        {"map_id": 9, "from_id": a, "kind": kind, "to_id": b, "derived": False}
        for a, b, kind in edges
    ]
    other = [{**row, "map_id": 8} for row in rows]
    return {
        "map_features": of("map_features", features),
        "map_edges": of("map_edges", rows + other),
    }


def test_a_route_changes_lanes_and_takes_the_shorter_way():
    # 0 → 1 → 2 → 5 and 0 → (left) 3 → 4 → 5: 10 + 11 + 12 = 33 against 5 + 13 + 14 = 32.
    tables = lanes(
        [(0, 1, "successor"), (1, 2, "successor"), (2, 5, "successor"),
         (0, 3, "left"), (3, 4, "successor"), (4, 5, "successor")]
    )  # fmt: skip
    found = run_sql("SELECT lane_id FROM route(9, 0, 5) ORDER BY step", tables=tables)
    assert found["lane_id"].to_pylist() == [0, 3, 4, 5]
    assert run_sql("FROM route(9, 5, 0)", tables=tables).num_rows == 0
    near = run_sql("FROM successors(9, 0)", tables=tables)
    assert near["lane_id"].to_pylist() == [1]


graphs = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.just("successor")), min_size=1, max_size=25
)


@given(graphs)
@settings(max_examples=15, deadline=None)
def test_reachable_lanes_are_those_of_dijkstra(edges):
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    edges = sorted(set(edges) | {(9, 9, "successor")})
    cost = np.zeros((10, 10))
    for a, b, _ in edges:
        if a != b:
            cost[a, b] = 10.0 + a
    want = dijkstra(csr_matrix(cost), indices=0)
    found = run_sql("FROM reachable(9, 0, metres := 45)", tables=lanes(edges)).to_pylist()
    got = {row["lane_id"]: row["distance_m"] for row in found}
    assert got == pytest.approx({i: d for i, d in enumerate(want) if d <= 45})


def test_signals_are_joined_as_of_the_time():
    states = [(0, "red"), (4, "green")]
    lights = of("lights", [
        {"log_id": 1, "lane_id": 3, "source_lane_id": "a", "t_ns": t, "state": s, "arrow": False,
         "flashing": False, "source_state": s}
        for t, s in states
    ])  # fmt: skip
    rows = [actor(1, 0, 0, t_ns=t, lane_id=lane) for t in (1, 4, 6) for lane in (3,)]
    rows += [actor(2, 0, 0, t_ns=5, lane_id=None)]
    found = run_sql(
        "SELECT t_ns, light FROM actors_with_lights ORDER BY t_ns",
        tables={"agents": of("agents", rows), "lights": lights},
    ).to_pylist()
    assert [(r["t_ns"], r["light"]) for r in found] == [(1, "red"), (4, "green"), (6, "green")]


def test_frames_are_joined_with_ego_and_readings():
    frames = of("frames", [
        {"log_id": 1, "sensor_id": 0, "channel": "cam", "t_ns": t, "uri": "x", "codec": "jpeg"}
        for t in (5, 15)
    ])  # fmt: skip
    ego = of("ego", [
        {k: v for k, v in actor(0, float(t), 0.0, t_ns=t).items() if k != "cls"} for t in (0, 10)
    ])  # fmt: skip
    readings = of("readings", [
        {"log_id": 1, "sensor_id": n, "channel": channel, "signal": "speed", "t_ns": t,
         "value": t / 2, "unit": "m/s"}
        for n, channel, t in ((1, "can", 8), (2, "gnss", 10), (1, "can", 12))
    ])  # fmt: skip
    tables = {"frames": frames, "ego": ego, "readings": readings}
    with_ego = run_sql("SELECT t_ns, ego_t_ns, x FROM frames_with_ego ORDER BY 1", tables=tables)
    assert with_ego.to_pylist() == [
        {"t_ns": 5, "ego_t_ns": 0, "x": 0.0},
        {"t_ns": 15, "ego_t_ns": 10, "x": 10.0},
    ]
    query = "SELECT t_ns, value FROM frames_with_reading('speed') ORDER BY 1"
    assert run_sql(query, tables=tables).to_pylist() == [
        {"t_ns": 5, "value": None}, {"t_ns": 15, "value": 6.0},
    ]  # fmt: skip
    # Which of several sensors it was that read the quantity last is told.
    for channel, answer in (("NULL", ("can", 12)), ("'gnss'", ("gnss", 10))):
        query = (
            "SELECT reading_channel, reading_t_ns "
            f"FROM frames_with_reading('speed', of_channel := {channel}) WHERE t_ns = 15"
        )
        (row,) = run_sql(query, tables=tables).to_pylist()
        assert tuple(row.values()) == answer


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("st_distance(st_point(0, 0), st_point(3, 4))", 5.0),
        ("st_dwithin(st_point(0, 0), st_point(3, 4), 4.9)", False),
        ("st_contains(st_make_envelope(0, 0, 2, 2), st_point(1, 1))", True),
        ("st_within(st_point(3, 1), st_make_envelope(0, 0, 2, 2))", False),
        ("st_intersects(st_from_text('LINESTRING (0 0, 2 2)'), st_point(1, 1))", True),
        ("st_length(st_from_text('LINESTRING (0 0, 3 4, 3 5)'))", 6.0),
        ("st_area(st_make_envelope(0, 0, 2, 3))", 6.0),
        ("st_text(st_centroid(st_make_envelope(0, 0, 2, 4)))", "POINT (1 2)"),
        (
            "st_area(st_intersection(st_make_envelope(0, 0, 2, 2), st_make_envelope(1, 1, 3, 3)))",
            1.0,
        ),
        ("st_area(st_box(10, 20, 0.7, 4, 2))", 8.0),
        ("st_contains(st_buffer(st_point(0, 0), 2), st_point(0, 1.9))", True),
        ("st_locate(st_from_text('LINESTRING (0 0, 10 0)'), st_point(4, 3))", 4.0),
        ("st_distance(st_point(0, 0), NULL)", None),
        ("st_area(NULL)", None),
    ],
)
def test_geometry_needs_no_extension(expression, answer):
    found = run_sql(f"SELECT {expression} AS v", tables={})["v"][0].as_py()
    assert found == (
        answer if answer is None or isinstance(answer, str) else pytest.approx(answer)
    )


def test_geometry_works_over_many_rows():
    query = """
        SELECT count(*) AS n, sum(CASE WHEN st_contains(st_make_envelope(0, 0, 99.5, 1),
            st_point(i, 0.5)) THEN 1 ELSE 0 END)::INT AS inside FROM range(1, 5001) t(i)
    """
    assert run_sql(query, tables={}).to_pylist() == [{"n": 5000, "inside": 99}]


def test_a_wrong_geometry_is_told():
    with pytest.raises(BadQuery):
        run_sql("SELECT st_from_text('LINE 1 2')", tables={})


def test_every_name_is_told_once_and_documented():
    names = [m.name for m in MACROS] + [v.name for v in VIEWS] + [f.name for f in FUNCTIONS]
    assert len(set(names)) == len(names)
    assert not set(names) & set(TABLES)
    assert all(x.doc.endswith(".") for x in (*MACROS, *VIEWS, *FUNCTIONS))


def test_nothing_can_be_written_or_reached():
    for query in ("CREATE MACRO f(a) AS a", "DROP VIEW actors", "COPY logs TO 'x.csv'",
                  "SELECT * FROM 'x.parquet'", "INSTALL spatial", "ATTACH 'x.db'"):  # fmt: skip
        with pytest.raises(BadQuery):
            run_sql(query, tables={})

import pytest

from lake import Lake
from lake.expand import expand
from tests.builders import make_straight_log


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lake.create(tmp_path_factory.mktemp("expand") / "lake")
    lake.add_logs([make_straight_log()], run_id=1)
    return lake


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("SELECT speed(a)", "SELECT (sqrt(a.vx_map^2 + a.vy_map^2))"),
        ('SELECT Speed ( "my a" )', 'SELECT (sqrt("my a".vx_map^2 + "my a".vy_map^2))'),
        ("within(a, b, 2 + f(3, 4))", "((a.x - b.x)^2 + (a.y - b.y)^2 <= (2 + f(3, 4))^2)"),
        ("within(b, a, speed(c))",
         "((b.x - a.x)^2 + (b.y - a.y)^2 <= ((sqrt(c.vx_map^2 + c.vy_map^2)))^2)"),
        ("kmh(speed(a))", "kmh((sqrt(a.vx_map^2 + a.vy_map^2)))"),
    ],
)  # fmt: skip
def test_written_out(query, written):
    assert expand(query) == written


@pytest.mark.parametrize(
    "query",
    ["SELECT 'speed(a)', \"speed(a)\", x.speed(a), speed -- speed(a)", "SELECT $$speed(a)$$",
     "/* speed(a) */ SELECT 'it''s speed(a)'", "speed((SELECT a))", "speed(a", "within(a, b)",
     "speed(f(a))", "within(a, b, metres := 3)", "FROM actors_of_scene(3)"],
)  # fmt: skip
def test_left_as_it_is(query):
    assert expand(query) == query


def test_only_the_columns_that_are_used_are_read(lake):
    plan = lake.sql("EXPLAIN SELECT max(speed(a)) FROM agents a")["explain_value"][0].as_py()
    assert "vx_map" in plan
    assert "lane_id" not in plan


def test_columns_are_called_as_they_were_asked_for(lake):
    found = lake.sql("SELECT speed(a), speed(a) AS v, track_id FROM agents a LIMIT 1")
    assert found.column_names == ["speed(a)", "v", "track_id"]
    names = [batch.schema.names for batch in lake.sql_batches("SELECT speed(a) FROM agents a")]
    assert names[0] == ["speed(a)"]


def test_columns_may_be_called_by_their_macro(lake):
    query = 'SELECT max("speed(a)") AS v FROM (SELECT speed(a) FROM agents a)'
    assert lake.sql(query) == lake.sql("SELECT max(speed(a)) AS v FROM agents a")

import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from lake import Lake
from lake.macros import VIEWS
from lake.sql import connect
from lake.waiting import interruptible
from schemas.errors import BadQuery
from schemas.tables import TABLES
from tests.builders import make_crossing_log, make_straight_log


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lake.create(tmp_path_factory.mktemp("sql") / "lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log(), make_crossing_log()], run_id=run.id)
    return lake


def rows(lake, query):
    return lake.sql(query).to_pylist()


def test_groups(lake):
    counted = rows(lake, "SELECT cls, count(*) AS n FROM agents GROUP BY 1 ORDER BY 1")
    assert counted == [
        {"cls": "pedestrian", "n": 91}, {"cls": "truck", "n": 91}, {"cls": "vehicle", "n": 182},
    ]  # fmt: skip


def test_actors_are_everyone(lake):
    found = rows(
        lake, "SELECT track_id = 0 AS is_ego, count(*) AS n FROM actors GROUP BY 1 ORDER BY 1"
    )
    assert found == [{"is_ego": False, "n": 364}, {"is_ego": True, "n": 182}]
    assert rows(lake, "SELECT DISTINCT length FROM actors WHERE track_id = 0")[0]["length"] > 4.0


def test_agents_meet_lanes_and_lights(lake):
    found = rows(
        lake,
        """
        SELECT m.source_feature_id AS lane, l.state, count(*) AS n
        FROM actors a JOIN logs USING (log_id)
        JOIN map_features m ON m.map_id = logs.map_id AND m.feature_id = a.lane_id
        JOIN lights l ON l.log_id = a.log_id AND l.lane_id = a.lane_id AND l.t_ns = a.t_ns
        GROUP BY ALL ORDER BY ALL
        """,
    )
    assert [(row["lane"], row["state"]) for row in found] == [
        ("lane0", "green"), ("lane3", "red"), ("lane3", "yellow"),
    ]  # fmt: skip
    # The ego needs 30 m at 8 m/s to leave lane 0; the other waits on lane 3 throughout.
    assert found[0]["n"] == pytest.approx(38, abs=2)
    assert [row["n"] for row in found[1:]] == [40, 51]


def test_asof_joins_work(lake):
    found = rows(
        lake,
        """SELECT count(l.state) AS n FROM ego e
        ASOF JOIN (SELECT * FROM lights WHERE source_lane_id = 'lane0') l
        ON e.log_id = l.log_id AND e.t_ns >= l.t_ns""",
    )
    assert found == [{"n": 91}]


@pytest.mark.parametrize("name", [*TABLES, "actors"])
def test_every_table_can_be_asked(lake, name):
    assert len(rows(lake, f"SELECT count(*) AS n FROM {name}")) == 1
    lake.sql(f"SELECT * FROM {name} LIMIT 3")


def test_other_ways_to_read(lake):
    assert rows(lake, "FROM logs SELECT count(*) AS n") == [{"n": 2}]
    assert rows(lake, "WITH a AS (SELECT 1 AS x) SELECT x FROM a") == [{"x": 1}]
    assert {r["name"] for r in rows(lake, "SHOW TABLES")} == {
        *TABLES,
        *(view.name for view in VIEWS),
    }
    assert rows(lake, "DESCRIBE lights")[0]["column_name"] == "log_id"
    lake.sql("SUMMARIZE logs")
    lake.sql("EXPLAIN SELECT 1")


@pytest.mark.parametrize(
    "query",
    ["CREATE TABLE t AS SELECT 1", "DELETE FROM logs", "DROP VIEW actors", "SET threads = 1",
     "COPY logs TO 'out.csv'", "ATTACH 'x.db'", "INSTALL httpfs", "PRAGMA database_list; SELECT 1",
     "UPDATE logs SET dataset = 'x'"],
)  # fmt: skip
def test_nothing_can_be_written(lake, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadQuery, match=r"Only reading|One statement"):
        lake.sql(query)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "query", ["SELECT * FROM read_text('/etc/hostname')", "FROM '/etc/hostname'", "FROM lake"]
)
def test_nothing_else_can_be_read(lake, query):
    with pytest.raises(BadQuery):
        lake.sql(query)


def test_errors_help(lake):
    with pytest.raises(BadQuery, match="Did you mean `agents`"):
        lake.sql("SELECT * FROM agent")
    with pytest.raises(BadQuery, match="vx_map"):
        lake.sql("SELECT vx FROM agents")
    with pytest.raises(BadQuery, match="syntax") as caught:
        lake.sql("SELEC 1")
    assert "SHOW TABLES" in caught.value.hint
    with pytest.raises(BadQuery, match="One statement"):
        lake.sql("")


@pytest.mark.parametrize(
    "query",
    ["SHOW TABLES", "DESCRIBE", "SELECT table_name FROM information_schema.tables",
     "SELECT view_name FROM duckdb_views() WHERE NOT internal"],
)  # fmt: skip
def test_listings_are_complete(lake, query):
    found = {str(value) for row in rows(lake, query) for value in row.values()}
    assert {*TABLES, *(view.name for view in VIEWS)} <= found


def test_names_may_be_put_together(lake):
    found = rows(lake, "SELECT count(*) AS n FROM query('SELECT * FROM lo' || 'gs')")
    assert found == [{"n": 2}]
    assert rows(lake, 'SELECT count(*) AS n FROM "LOGS"') == [{"n": 2}]


def test_only_what_is_named_is_made_known(lake):
    tables = lake.store.datasets()
    with connect(tables, {"ttc"}) as connection:
        made = connection.execute(
            "SELECT function_name FROM duckdb_functions() WHERE NOT internal ORDER BY 1"
        ).fetchall()
        assert [name for (name,) in made] == ["closing_speed", "gap", "metres_ahead", "ttc"]
        assert connection.execute("SHOW TABLES").fetchall() == []
    with connect(tables, {"actors_of_scene"}) as connection:
        shown = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
        assert shown == {"actors", "agents", "ego", "scenes"}


def test_ctrl_c_ends_a_query_and_the_process(tmp_path):
    """Whatever DuckDB makes of it: felt in Python, in the library, or where rows are handed over."""
    lake = Lake.create(tmp_path / "lake")
    lake.add_logs([make_straight_log()], run_id=1)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, lake.uri],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, story = process.communicate(timeout=30)
        assert story.splitlines()[-1].startswith(b"KeyboardInterrupt"), story


def test_ctrl_c_while_tables_are_made_known_is_ctrl_c(lake, monkeypatch):
    def interrupted(connection):
        raise RuntimeError("Query interrupted")  # as DuckDB words it

    monkeypatch.setattr("lake.geometry_sql.install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connect(lake.store.datasets())


ENDLESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from lake import Lake
lake = Lake.open(sys.argv[1])
print("ready", flush=True)
while True:
    lake.sql("SELECT sum(a.x * b.x) FROM agents a, agents b, range(200)")
"""


def test_an_answer_that_does_not_fit_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.sql._most_bytes", lambda: 10**6)
    lake = Lake.create(tmp_path / "lake")
    assert lake.sql("select count(*) from range(10000000)").num_rows == 1
    with pytest.raises(BadQuery, match="larger than") as told:
        lake.sql("select a.range, b.range from range(100000) a, range(100000) b")
    assert "LIMIT" in told.value.hint


def test_batches_of_an_answer_are_bounded_by_rows_and_by_bytes(lake, monkeypatch):
    numbers = list(lake.sql_batches("SELECT i FROM range(200000) t(i)", rows=50_000))
    assert pa.Table.from_batches(numbers)["i"].to_pylist() == list(range(200_000))
    assert [b.num_rows for b in numbers[:3]] == pytest.approx([50_000] * 3, abs=2048)
    monkeypatch.setattr("lake.sql.BATCH_BYTES", 2_000_000)
    asked = "SELECT repeat('x', 1000) AS word FROM range(20000)"
    words = list(lake.sql_batches(asked))
    assert sum(b.num_rows for b in words) == 20_000
    assert max(b.nbytes for b in words) < 5_000_000
    monkeypatch.setattr("lake.sql._most_bytes", lambda: 6_000_000)
    with pytest.raises(BadQuery, match="larger than"):
        lake.sql(asked)


@pytest.fixture
def failing(monkeypatch):
    """DuckDB fails within itself when it is first asked; here is in how many threads it was."""
    threads = []

    def of_itself(connection, work):
        asked = connection.cursor().execute("SELECT current_setting('threads')")
        threads.append(asked.fetchone()[0])
        if len(threads) == 1:
            raise duckdb.InternalException("INTERNAL Error: Attempted to access\n\nStack Trace: …")
        return interruptible(connection, work)

    monkeypatch.setattr("lake.sql.interruptible", of_itself)
    monkeypatch.setattr("lake.verify.interruptible", of_itself)
    return threads


def test_what_fails_within_duckdb_is_asked_again_in_one_thread(lake, failing):
    asked = "SELECT count(*) OVER () AS n FROM logs"
    assert rows(lake, asked) == [{"n": 2}, {"n": 2}]
    assert failing[1] == 1
    failing.clear()
    assert pa.Table.from_batches(lake.sql_batches(asked)).num_rows == 2
    assert failing[1] == 1
    failing.clear()
    assert lake.verify() == []
    assert failing[1] == 1


def test_what_fails_within_duckdb_twice_is_told_without_its_stack(lake, monkeypatch):
    def of_itself(connection, work):
        raise duckdb.FatalException("FATAL Error: no more\n\nStack Trace: …")

    monkeypatch.setattr("lake.sql.interruptible", of_itself)
    for ask in (lake.sql, lambda query: list(lake.sql_batches(query))):
        with pytest.raises(BadQuery, match=r"within itself: FATAL Error: no more$") as told:
            ask("FROM logs")
        assert "no fault of the lake" in told.value.hint
    monkeypatch.setattr("lake.verify.interruptible", of_itself)
    assert {finding.check for finding in lake.verify()} == {"readable"}


WITHIN_A_BATCH = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
from lake import Lake
lake = Lake.open(sys.argv[1])
print("ready", flush=True)
lake.sql("SELECT sum(sqrt(abs(a.x * b.x * c.x))) FROM agents a, agents b, agents c, range(100000)")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_query_that_would_answer_in_hours(tmp_path, number):
    lake = Lake.create(tmp_path / "lake")
    lake.add_logs([make_straight_log()], run_id=1)
    process = subprocess.Popen(
        [sys.executable, "-c", WITHIN_A_BATCH, lake.uri],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(number)
    try:
        _, story = process.communicate(timeout=30)
    finally:
        process.kill()
    assert story.splitlines()[-1].startswith(b"KeyboardInterrupt"), story

"""Are queries over the lake as quick as over sorted Parquet? Eight million agent rows, both.

    python benchmarks/lake_queries.py [--rows 8000000]

Logs of the procedural world come in as usual; their rows are then written to the lake many times
over through its store, each time as other logs: other ids, positions off by centimetres. The same
rows go to Parquet, zstd, sorted by log, track and time over the whole file, in row groups of 64
thousand and of a million. The same SQL runs in this process on ``Lake.sql`` (which opens a
connection for every query) and on one DuckDB connection with views over the Parquet files and the
same macros. The least of three times, in turn; the ratio is ours over the better Parquet: below 1
we win. *Macros written out* asks Parquet what :mod:`lake.expand` makes of the query, which is half
of what ``Lake.sql`` does better; without it DuckDB hands whole rows to macros.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake import Lake, macros
from lake.expand import expand
from lake.ids import stable_id
from schemas.errors import MissingData
from schemas.records import Log
from schemas.tables import TABLES
from simulation.world import make_log

WORLDS = 24
FIRST_SEED = 80_000
COPIED = ("logs", "ego", "agents", "scenes")
GROUPS = (65_536, 2**20)
REPEATS = 3
LOGS_AT_ONCE = 64

CUT_IN = """
    WITH pairs AS (
        SELECT e.log_id, e.t_ns, a.track_id,
            same_lane(e, a) AND metres_ahead(e, a) BETWEEN 0 AND 30 AS in_front
        FROM ego e JOIN agents a ON a.log_id = e.log_id AND a.t_ns = e.t_ns
        WHERE e.vx_map^2 + e.vy_map^2 > 9 AND a.cls <> 'pedestrian' AND within(e, a, 60)
    ), steps AS (
        SELECT *, lag(in_front) OVER track AS before, lag(t_ns) OVER track AS t_before
        FROM pairs WINDOW track AS (PARTITION BY log_id, track_id ORDER BY t_ns)
    )
    SELECT count(*), count(DISTINCT log_id) FROM steps
    WHERE in_front AND NOT before AND t_ns - t_before < 150_000_000
"""
"""Somebody comes into the ego's lane, ahead of it and within 30 m, who was beside it a step ago."""


def questions(log_id: int, scene_id: int, scene_ids: list[int]) -> dict[str, str]:
    """What is asked, in words and in SQL."""
    some = ", ".join(map(str, scene_ids))
    return {
        "all agents of one log": f"SELECT * FROM agents WHERE log_id = {log_id}",
        "everyone in one scene": f"FROM actors_of_scene({scene_id})",
        "20 scenes, speed by class": f"""
            SELECT s.scene_id, a.cls, count(*), avg(speed(a)) FROM scenes s JOIN agents a
            ON a.log_id = s.log_id AND a.t_ns BETWEEN s.t0_ns AND s.t1_ns
            WHERE s.scene_id IN ({some}) GROUP BY ALL
        """,
        "all: how many rows": "SELECT count(*) FROM agents",
        "all: mean speed by class": "SELECT cls, avg(speed(a)) FROM agents a GROUP BY 1",
        "all: fast pedestrians": """
            SELECT log_id, track_id, max(speed(a)) FROM agents a
            WHERE cls = 'pedestrian' AND speed(a) > 2.5 GROUP BY ALL
        """,
        "all: hard braking, by lag": """
            SELECT count(*) FROM (
                SELECT speed(a) - lag(speed(a)) OVER (PARTITION BY log_id, track_id ORDER BY t_ns)
                    AS dv FROM agents a WHERE valid AND cls = 'vehicle')
            WHERE dv < -0.6
        """,
        "all: cut-ins": CUT_IN,
    }


def logs() -> Iterator[Log]:
    """Of the procedural world."""
    for seed in range(FIRST_SEED, FIRST_SEED + WORLDS):
        try:
            yield make_log(seed)[0]
        except MissingData:
            continue


def multiply(lake: Lake, rows: int) -> None:
    """Write the lake's rows again as other logs, until there are so many agents."""
    tables = {name: lake.read(name) for name in COPIED}
    by_log = {
        log_id: {name: rows_of(table, log_id) for name, table in tables.items()}
        for log_id in tables["logs"]["log_id"].to_pylist()
    }
    random = np.random.default_rng(0)
    waiting: list[dict[str, pa.Table]] = []
    there, number = tables["agents"].num_rows, 0
    while there < rows:
        for log in by_log.values():
            number += 1
            waiting.append({name: copied(t, number, random) for name, t in log.items()})
            there += log["agents"].num_rows
            if len(waiting) == LOGS_AT_ONCE or there >= rows:
                flush(lake, waiting)
                waiting = []
            if there >= rows:
                break
    with lake.store.writing():
        lake.store.index()


def rows_of(table: pa.Table, log_id: int) -> pa.Table:
    """The rows of one log."""
    return table.filter(pc.equal(table["log_id"], log_id))


def copied(table: pa.Table, number: int, random: np.random.Generator) -> pa.Table:
    """The rows of a log as those of another."""
    for column in ("log_id", "scene_id"):
        if column in table.column_names:
            fresh = [stable_id(column, i, number) for i in table[column].to_pylist()]
            table = _with(table, column, pa.array(fresh, pa.int64()))
    for column in ("x", "y"):
        if column in table.column_names:
            noise = random.normal(0.0, 0.02, table.num_rows).astype(np.float32)
            table = _with(table, column, pc.add(table[column], pa.array(noise)))
    return table


def _with(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, table.schema.field(place), values)


def flush(lake: Lake, waiting: list[dict[str, pa.Table]]) -> None:
    """Logs into the lake, in one step; rows of a log stay together."""
    with lake.store.writing():
        for name in COPIED:
            lake.store.append(name, pa.concat_tables([log[name] for log in waiting]))


def to_parquet(lake: Lake, folder: Path, group: int) -> duckdb.DuckDBPyConnection:
    """The same rows as sorted Parquet, and a connection that sees them as the lake's SQL does."""
    connection = duckdb.connect()
    connection.execute("SET asof_loop_join_threshold = 0")  # as the lake's; macros need it
    for name, table in TABLES.items():
        if name in COPIED:
            rows = lake.read(name).sort_by([(key, "ascending") for key in table.key])
            path = folder / f"{name}-{group}.parquet"
            pq.write_table(rows, path, compression="zstd", row_group_size=group)
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}')")
        else:
            connection.register(name, table.schema.empty_table())
    for statement in macros.statements():
        connection.execute(statement)
    return connection


def compare(sides: Mapping[str, Callable[[str], pa.Table]], asked: Mapping[str, str]) -> None:
    """The table of times; the answers must be the same."""
    print(f"| question | {' | '.join(f'{name} [ms]' for name in sides)} | ratio |")
    print("|---" * (len(sides) + 2) + "|")
    for name, query in asked.items():
        took: dict[str, list[float]] = {side: [] for side in sides}
        answers: dict[str, list[tuple[object, ...]]] = {}
        for _ in range(REPEATS + 1):
            for side, run in sides.items():
                began = time.perf_counter()
                answer = run(query)
                took[side].append((time.perf_counter() - began) * 1000)
                answers[side] = _rounded(answer)
        first, *others = answers.values()
        assert all(other == first for other in others), f"{name}: answers differ"
        ours, *theirs = (min(times[1:]) for times in took.values())
        told = " | ".join(f"{ms:.0f}" for ms in (ours, *theirs))
        print(f"| {name} | {told} | {ours / min(theirs):.2f} |", flush=True)


def _rounded(answer: pa.Table) -> list[tuple[object, ...]]:
    rows = zip(*(column.to_pylist() for column in answer.columns), strict=True)
    return sorted(
        (tuple(round(v, 3) if isinstance(v, float) else v for v in row) for row in rows), key=repr
    )


def main() -> None:
    """Read the options, build both, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--lake", type=Path, help="where it is kept; if it is there, only asked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.lake or Path(scratch) / "lake"
        if not folder.exists():
            lake = Lake.create(folder)
            with lake.run("benchmark") as run:
                lake.add_logs(logs(), run_id=run.id)
            multiply(lake, options.rows)
        lake = Lake.open(folder)
        random = np.random.default_rng(1)
        scenes = lake.read("scenes", ["scene_id", "log_id"])
        chosen = random.choice(scenes.num_rows, min(20, scenes.num_rows), replace=False)
        ids = [scenes["scene_id"][int(i)].as_py() for i in chosen]
        asked = questions(scenes["log_id"][int(chosen[0])].as_py(), ids[0], ids)
        sides: dict[str, Callable[[str], pa.Table]] = {"lake": lake.sql}
        for group in GROUPS:
            connection = to_parquet(lake, Path(scratch), group)
            sides[f"Parquet, {group // 1024}k"] = _runner(connection)
        sides["the latter, macros written out"] = _runner(connection, expand)
        info = lake.info()
        print(f"{info.tables['agents']['rows']:,} agent rows of {scenes.num_rows:,} scenes")
        for group in GROUPS:
            there = sum((Path(scratch) / f"{n}-{group}.parquet").stat().st_size for n in COPIED)
            print(f"Parquet, row groups of {group // 1024}k: {there / 2**20:.0f} MiB")
        there = sum(info.tables[name]["bytes"] for name in COPIED)
        print(f"lake, the same tables, old versions included: {there / 2**20:.0f} MiB\n")
        compare(sides, asked)


def _runner(
    connection: duckdb.DuckDBPyConnection, rewrite: Callable[[str], str] = str
) -> Callable[[str], pa.Table]:
    return lambda query: connection.sql(rewrite(query)).to_arrow_table()


if __name__ == "__main__":
    main()

"""How long does a query take over 100,000 tagged scenes?

    python benchmarks/lake_scale.py --lake FOLDER
    python benchmarks/find_scale.py --lake FOLDER [--tagged 1152]

Takes the lake that ``lake_scale.py`` makes: some 17,000 variations of 48 logs of the procedural
world; or one that ``scenelake world --scenes`` fills. Tagging all of it takes more than an hour of one core,
so the first scenes are tagged (their pace is told) and every other one is given the events of one that varies
the same window of the same log, or of any where there is none, moved to its own time: as many rows, of as
many kinds, as tagging makes. Then queries are asked,
*first* in a fresh ``Lake``, *then* the median of five more. The floor beside them is what it takes
DuckDB to count the rows of ``events`` by name. The bar is two seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from memory import peak_mb

from lake import Lake
from mining.query.find import find
from mining.tag import tag

SCENES_AT_ONCE = 4000
QUERIES = (
    "hard_brake(ego)",
    "cut_in(a, ego) then braking(ego) within 3 s",
    "braking(ego) then stopped(ego) within 5 s then starting(ego) within 20 s "
    "and count(vehicle v where near(v, ego)) >= 2 and weather in (rain, fog)",
    "crosses_in_front(pedestrian p, ego) and not at_crosswalk(p) and daylight is night",
    "count(hard_brake(_)) >= 2 within 5 s and not weather is clear",
    "jaywalking(p) and not yields_to(ego, p) unknown as true",
)


def replicate(lake: Lake, tagged: Sequence[int], run_id: int) -> int:
    """Events for all scenes that were not tagged; how many rows."""
    scenes = lake.sql(
        "SELECT s.scene_id, s.log_id, s.t0_ns,"
        " regexp_replace(l.source_log_id, '-[0-9]+$', '') || '/' || row_number()"
        "   OVER (PARTITION BY s.log_id ORDER BY s.t0_ns) AS kind"
        " FROM scenes s JOIN logs l USING (log_id)"
    )
    is_tagged = pc.is_in(scenes["scene_id"], pa.array(tagged, pa.int64()))
    sources: dict[str, list[tuple[int, int]]] = {}
    for row in scenes.filter(is_tagged).to_pylist():
        sources.setdefault(row["kind"], []).append((row["scene_id"], row["t0_ns"]))
    anyone = [place for places in sources.values() for place in places]
    events = lake.read("events", None, "source = 'rule'").combine_chunks()
    by_scene = dict(
        zip(
            *np.unique(events["scene_id"].to_numpy(), return_index=False, return_counts=True),
            strict=True,
        )
    )
    order = np.argsort(events["scene_id"].to_numpy(), kind="stable")
    events = events.take(pa.array(order))
    ids = events["scene_id"].to_numpy()
    rest = scenes.filter(pc.invert(is_tagged)).to_pylist()
    made = 0
    for begin in range(0, len(rest), SCENES_AT_ONCE):
        take: list[np.ndarray] = []
        scene_id, log_id, shift = [], [], []
        for number, row in enumerate(rest[begin : begin + SCENES_AT_ONCE], start=begin):
            known = sources.get(row["kind"], anyone)
            source, t0_ns = known[number % len(known)]
            first = int(np.searchsorted(ids, source))
            count = int(by_scene.get(source, 0))
            take.append(np.arange(first, first + count))
            scene_id.append(np.full(count, row["scene_id"]))
            log_id.append(np.full(count, row["log_id"]))
            shift.append(np.full(count, row["t0_ns"] - t0_ns))
        rows = events.take(pa.array(np.concatenate(take)))
        moved = np.concatenate(shift)
        columns = {
            "scene_id": np.concatenate(scene_id), "log_id": np.concatenate(log_id),
            "event_id": np.arange(made + 1, made + 1 + rows.num_rows),
            "t0_ns": rows["t0_ns"].to_numpy() + moved, "t1_ns": rows["t1_ns"].to_numpy() + moved,
            "run_id": np.full(rows.num_rows, run_id),
        }  # fmt: skip
        for name, values in columns.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(name), pa.array(values))
        lake.append("events", rows)
        marked = [
            {"scene_id": row["scene_id"], "run_id": run_id}
            for row in rest[begin : begin + SCENES_AT_ONCE]
        ]
        lake.append("looked", marked)
        made += rows.num_rows
        print(f"{begin + len(take):,} scenes …", flush=True)
    return made


def main() -> None:
    """Tag, fill, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path, required=True, help="of lake_scale.py or the world")
    parser.add_argument("--tagged", type=int, default=1152, help="scenes that are tagged for real")
    options = parser.parse_args()
    lake = Lake.open(options.lake)
    if not lake.read("events", ["event_id"], "name = 'stopped'").num_rows:
        logs = lake.sql("SELECT log_id FROM logs ORDER BY source_log_id[-6:] LIMIT 1000000")
        rows = lake.read("scenes", ["scene_id", "log_id"])
        a_log = max(1, rows.num_rows // logs.num_rows)
        wanted, chosen = set(logs["log_id"].to_pylist()[: options.tagged // a_log]), []
        for scene, log in zip(
            rows["scene_id"].to_pylist(), rows["log_id"].to_pylist(), strict=True
        ):
            if log in wanted:
                chosen.append(scene)
        cpu, wall = time.process_time(), time.perf_counter()
        report = tag(lake, scene_ids=chosen)
        cpu = time.process_time() - cpu
        print(
            f"tagged {len(chosen):,} scenes: {len(chosen) / cpu:.1f} scenes/s of the processor, "
            f"{len(chosen) / (time.perf_counter() - wall):.1f} by the clock; "
            f"{report.events / len(chosen):.0f} intervals a scene"
        )
        started = time.perf_counter()
        added = replicate(lake, chosen, report.run_ids[0])
        with lake.store.writing():
            lake.store.index()
        print(f"{added:,} rows added in {time.perf_counter() - started:.0f} s")
    peak = peak_mb()
    print(f"{lake.sql('SELECT count(*) AS n FROM events')['n'][0].as_py():,} rows of events")
    print(f"{'query':<100}{'first [ms]':>12}{'then [ms]':>11}{'matches':>9}{'scenes':>8}")
    fresh = Lake.open(options.lake)
    _ask(
        "floor: events counted by name",
        lambda: fresh.sql("SELECT name, count(*) FROM events GROUP BY 1"),
    )
    for query in QUERIES:
        fresh = Lake.open(options.lake)
        _ask(query, lambda q=query, at=fresh: find(at, q, limit=20))
    print(f"peak {peak:.0f} MB while filling")


def _ask(what: str, ask) -> None:  # type: ignore[no-untyped-def]
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        answer = ask()
        times.append(1e3 * (time.perf_counter() - begin))
    told = f"{answer.total:>9,}{answer.scenes:>8,}" if hasattr(answer, "total") else ""
    print(
        f"{what[:98]:<100}{times[0]:>12.0f}{statistics.median(times[1:]):>11.0f}{told}", flush=True
    )


if __name__ == "__main__":
    main()

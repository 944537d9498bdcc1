"""Does a lake stay quick as it grows? 100,000 scenes of the procedural world, by two writers.

    python benchmarks/lake_scale.py [--scenes 100000] [--writers 2] [--lake FOLDER]

48 logs are drawn from the world and each is varied some three hundred times: another place
and heading on the earth, map and all, another pace (±10 %), twelve other of its road users, positions
off by centimetres. No two logs share an id, a map or a row. Each lasts about 20 s and names six overlapping windows of 10 s as its scenes, as Waymo's and
nuPlan's logs do.

Logs come in through ``Lake.add_logs``, 1,000 scenes a call, from processes that write to one lake
at a time. The cost of a thousand is what the call takes, less the making of the logs, waiting for
the other writer included. Then questions are asked as the writers left the lake, not compacted:
*first* in a fresh ``Lake``, *then* the median of five more. The bar is one second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from memory import peak_mb

from geometry.angles import wrap
from geometry.arrays import Array
from lake import Lake
from schemas.errors import MissingData
from schemas.records import Log, MapFeature, Observations, Window
from simulation.world import make_log

WORLDS = 48
FIRST_SEED = 70_000
ROAD_USERS = 12
WINDOW_NS, WINDOW_EVERY_NS, WINDOWS = 10 * 10**9, 2 * 10**9, 6
PACE = 0.1
JITTER_M = 0.02
BAR_MS = 1000.0


def varied(log: Log, number: int) -> Log:
    """Another log like this one, with its own id, place, pace and road users."""
    random = np.random.default_rng([number, 3])
    turn, slower = random.uniform(-np.pi, np.pi), 1.0 + random.uniform(-PACE, PACE)
    away = np.array([*random.uniform(-50_000.0, 50_000.0, 2), 0.0])
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]]
    )

    def moved(xyz: Array) -> Array:
        return xyz @ rotation.T + away

    def jittered(xyz: Array) -> Array:
        return moved(xyz) + random.normal(0.0, JITTER_M, xyz.shape) * np.array([1.0, 1.0, 0.0])

    def turned(velocity: Array | None) -> Array | None:
        return None if velocity is None else velocity @ rotation[:2, :2].T / slower

    def later(t_ns: Array) -> Array:
        return np.round(t_ns * slower).astype(np.int64)

    ego, lights = log.ego, log.lights
    assert ego is not None
    agents = _some(log.agents, random)
    return replace(
        log,
        source_log_id=f"{log.source_log_id}-{number:06d}",
        rate_hz=log.rate_hz / slower,
        ego=replace(
            ego,
            t_ns=later(ego.t_ns), xyz=jittered(ego.xyz), yaw=wrap(ego.yaw + turn),
            velocity=turned(ego.velocity),
            acceleration=None if ego.acceleration is None else ego.acceleration / slower**2,
            yaw_rate=None if ego.yaw_rate is None else ego.yaw_rate / slower,
        ),
        agents=replace(
            agents,
            t_ns=later(agents.t_ns), xyz=jittered(agents.xyz), yaw=wrap(agents.yaw + turn),
            velocity=turned(agents.velocity),
        ),
        map=replace(
            log.map,
            source_map_id=f"{log.map.source_map_id}-{number:06d}",
            features=tuple(_moved(feature, moved) for feature in log.map.features),
        ),
        lights=replace(lights, t_ns=later(lights.t_ns), stop_xyz=moved(lights.stop_xyz)),
        sensors=(), frames=(), readings=(), events=(),
        windows=_windows(round(int(ego.t_ns[-1]) * slower)),
    )  # fmt: skip


def _some(agents: Observations, random: np.random.Generator) -> Observations:
    count = len(agents.source_track_id)
    chosen = np.sort(random.choice(count, min(ROAD_USERS, count), replace=False))
    rows = np.isin(agents.track, chosen)
    return replace(
        agents,
        track=np.searchsorted(chosen, agents.track[rows]), t_ns=agents.t_ns[rows],
        xyz=agents.xyz[rows], yaw=agents.yaw[rows], size=agents.size[rows],
        velocity=None if agents.velocity is None else agents.velocity[rows],
        valid=None if agents.valid is None else agents.valid[rows],
        source_track_id=[agents.source_track_id[i] for i in chosen],
        source_cls=[agents.source_cls[i] for i in chosen],
        cls=[agents.cls[i] for i in chosen],
    )  # fmt: skip


def _moved(feature: MapFeature, moved: Callable[[Array], Array]) -> MapFeature:
    return replace(
        feature,
        points=moved(feature.points),
        left=None if feature.left is None else moved(feature.left),
        right=None if feature.right is None else moved(feature.right),
    )


def _windows(end_ns: int) -> list[Window]:
    """Six stretches of 10 s, as far apart as the log allows, up to 2 s."""
    every = min(WINDOW_EVERY_NS, (end_ns - WINDOW_NS) // (WINDOWS - 1))
    return [
        Window(source_scene_id=f"{n}", t0_ns=n * every, t1_ns=n * every + WINDOW_NS)
        for n in range(WINDOWS)
    ]


def _world(seed: int) -> Log | None:
    try:
        return make_log(seed)[0]
    except MissingData:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thousand:
    """What one call of ``add_logs`` cost.

    Attributes:
        scenes: How many it brought in.
        cost_s: By the clock, without the making of the logs [s].
        cpu_s: Of the processor, on all threads of the writer, likewise [s].
        done: When, by the clock of the machine [s].
        peak_mb: Most memory that the process held so far [MB].
    """

    scenes: int
    cost_s: float
    cpu_s: float
    done: float
    peak_mb: float


_worlds: Sequence[Log] = ()


def _begin(worlds: Sequence[Log]) -> None:
    global _worlds
    _worlds = worlds


def _write(uri: str, numbers: range, run_id: int) -> Thousand:
    """In a writer: a batch of logs into the lake."""
    making = np.zeros(2)

    def clocks() -> Array:
        return np.array([time.perf_counter(), time.process_time()])

    def logs() -> Iterator[Log]:
        nonlocal making
        for number in numbers:
            began = clocks()
            log = varied(_worlds[number % len(_worlds)], number)
            making += clocks() - began
            yield log

    began = clocks()
    scenes = len(Lake.open(uri).add_logs(logs(), run_id=run_id)["scenes"])
    cost_s, cpu_s = clocks() - began - making
    return Thousand(
        scenes=scenes,
        cost_s=float(cost_s),
        cpu_s=float(cpu_s),
        done=time.time(),
        peak_mb=peak_mb(),
    )


def build(folder: Path, *, scenes: int, writers: int) -> list[Thousand]:
    """A lake of so many scenes, and what every thousand cost, in the order in which they came in."""
    context = get_context("spawn")  # Lance does not survive a fork
    with ProcessPoolExecutor(writers, mp_context=context) as pool:
        drawn = pool.map(_world, range(FIRST_SEED, FIRST_SEED + WORLDS))
        worlds = [log for log in drawn if log is not None]
    lake = Lake.create(folder)
    logs, each = -(-scenes // WINDOWS), round(1000 / WINDOWS)
    made = []
    with (
        lake.run("benchmark", params={"scenes": scenes}) as run,
        ProcessPoolExecutor(
            writers, mp_context=context, initializer=_begin, initargs=(worlds,)
        ) as pool,
    ):
        tasks = [
            pool.submit(_write, str(folder), range(first, min(first + each, logs)), run.id)
            for first in range(0, logs, each)
        ]
        for task in as_completed(tasks):
            made.append(task.result())
            if len(made) % 10 == 0:
                print(f"{sum(m.scenes for m in made):,} scenes …", file=sys.stderr, flush=True)
    return sorted(made, key=lambda thousand: thousand.done)


def tell_costs(made: Sequence[Thousand], began: float) -> None:
    """The table of what a thousand scenes cost, over the build."""
    print("| scenes in the lake | s per 1,000 | CPU s per 1,000 | minutes since begin | peak MB |")
    print("|---|---|---|---|---|")
    total, group = 0, max(len(made) // 10, 1)
    for first in range(0, len(made), group):
        some = made[first : first + group]
        total += sum(m.scenes for m in some)
        minutes, peak = (some[-1].done - began) / 60, max(m.peak_mb for m in some)
        print(f"| {total:,} | {_per_thousand(some)} | {minutes:.1f} | {peak:.0f} |")
    print(f"\nFirst thousand: {_per_thousand(made[:1])}; last: {_per_thousand(made[-1:])}.\n")


def _per_thousand(made: Sequence[Thousand]) -> str:
    thousands = sum(m.scenes for m in made) / 1000
    by_clock, cpu = sum(m.cost_s for m in made), sum(m.cpu_s for m in made)
    return f"{by_clock / thousands:.2f} | {cpu / thousands:.2f}"


def questions(folder: Path) -> dict[str, Callable[[Lake], object]]:
    """What is asked of the lake, in words and as a call."""
    lake = Lake.open(folder)
    random = np.random.default_rng(0)
    ids = lake.scene_ids()
    log_id = lake.read("scenes", ["log_id"], f"scene_id = {ids[len(ids) // 2]}")["log_id"][0]

    def some(count: int) -> list[int]:
        return [int(i) for i in random.choice(ids, count, replace=False)]

    return {
        "open and `info`": lambda _: Lake.open(folder).info(),
        "`scenelake info`": lambda _: subprocess.run(
            [sys.executable, "-m", "cli.app", "--lake", str(folder), "info"],
            check=True, capture_output=True,
        ),
        "`scene_ids()`": lambda lake: lake.scene_ids(),
        "`scene_ids(where)`": lambda lake: lake.scene_ids(
            "road_type = 'roundabout' and n_vru > 0 and ego_v_mean > 5"
        ),
        "scenes by road type, weather": lambda lake: lake.sql(
            "select road_type, weather, count(*), avg(ego_v_mean) from scenes group by all"
        ),
        "scenes, filtered, with their logs": lambda lake: lake.sql(
            "select scene_id, source_log_id from scenes join logs using (log_id) "
            "where scenes.weather = 'rain' and n_lights > 0 and scenes.ego_distance_m > 60"
        ),
        "agents of one log": lambda lake: lake.sql(
            f"select * from agents where log_id = {log_id}"
        ),
        "actors of one scene, by macro": lambda lake: lake.sql(
            f"from actors_of_scene({some(1)[0]})"
        ),
        "ego of all, filtered": lambda lake: lake.sql(
            "select count(distinct log_id) from ego where ax < -4"
        ),
        "agents of all, filtered": lambda lake: lake.sql(
            "select count(*) from agents where vx_map > 15 and abs(lane_d) < 0.5"
        ),
        "agents of all, by class": lambda lake: lake.sql(
            "select cls, count(*) from agents group by 1"
        ),
        "a random scene": lambda lake: lake.scene(some(1)[0]),
        "32 random scenes": lambda lake: list(lake.scenes(some(32))),
        "`dataset()`": lambda lake: lake.dataset(),
        "`dataset(where)` and a random sample": lambda lake: lake.dataset(
            where="road_type = 'highway'"
        )[0],
    }  # fmt: skip


def ask(folder: Path) -> None:
    """The table of how long each question takes."""
    print("| question | first [ms] | then [ms] | under a second |\n|---|---|---|---|")
    for name, question in questions(folder).items():
        lake, took = Lake.open(folder), []
        for _ in range(6):
            began = time.perf_counter()
            question(lake)
            took.append((time.perf_counter() - began) * 1000)
        then = float(np.median(took[1:]))
        verdict = "yes" if max(took[0], then) < BAR_MS else "no"
        print(f"| {name} | {took[0]:.0f} | {then:.0f} | {verdict} |", flush=True)


def main() -> None:
    """Read the options, build, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--lake", type=Path, help="where it is kept; if it is there, only asked")
    parser.add_argument("--verify", action="store_true", help="also time `verify`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.lake or Path(scratch) / "lake"
        if not folder.exists():
            began = time.time()
            made = build(folder, scenes=asked.scenes, writers=asked.writers)
            tell_costs(made, began)
        told = Lake.open(folder).info()
        sizes = {n: t for n, t in told.tables.items() if t["rows"]}
        print(", ".join(f"{t['rows']:,} {n}" for n, t in sizes.items()))
        print(f"{sum(t['bytes'] for t in sizes.values()) / 2**30:.2f} GiB\n")
        ask(folder)
        if asked.verify:
            began = time.perf_counter()
            found = Lake.open(folder).verify()
            print(f"\nverify: {time.perf_counter() - began:.0f} s, {len(found)} findings")
            for finding in found:
                print(f"- {finding.severity} {finding.check} {finding.table}: {finding.detail}")


if __name__ == "__main__":
    main()

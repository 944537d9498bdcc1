"""How fast and in how much memory logs come into the lake, beside the barest decoding of the files.

    python benchmarks/lake_ingest.py [--data FOLDER] [--formats waymo_motion …] [--size 1] [--long]

Each row is one data set of :mod:`lake_ingest_logs`, on warm files, every step in a process of its
own. *decode* is the fastest public parser over the same files on one thread, and nothing else;
*read* is our reader alone; *ingest* is ``Lake.ingest`` with one job into a new lake: fingerprints,
reading, maps, lanes, scenes, writing, indices. CPU seconds stand beside wall seconds, since machines
are shared; *×* is ingest over decode. Memory is the peak of the ingesting process; what it had
after its imports stands in front. With ``--jobs N`` the sets are brought in by N jobs as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lake_ingest_logs import DATASETS, DataSet
from memory import MB, peak_mb

from schemas.errors import MissingData

HEADER = (
    f"{'format':<18}{'data set':<26}{'MB':>7}{'logs':>6}{'agent rows':>11}"
    f"{'decode':>9}{'read':>8}{'ingest':>8}{'×':>6}"
    f"{'decode':>9}{'read':>8}{'ingest':>8}{'×':>6}{'peak MB':>12}"
)


def decode(data: DataSet, folder: Path, lake: Path, jobs: int) -> dict[str, Any]:
    """The barest decoding; once before, so that imports and caches are warm."""
    del lake, jobs
    data.decode(folder)
    return measured(lambda: data.decode(folder))


def read(data: DataSet, folder: Path, lake: Path, jobs: int) -> dict[str, Any]:
    """The reader alone; its logs are let go of one by one."""
    del lake, jobs
    from formats import registry

    reader = registry.reader(data.format)

    def run() -> dict[str, Any]:
        rows = logs = 0
        for source in reader.sources(folder):
            for log in reader.read(source):
                if isinstance(log, registry.Rejected):
                    raise ValueError(f"{source}: {log.record} {log.reason}")
                rows += len(log.agents.t_ns)
                logs += not log.more
        return {"rows": rows, "logs": logs}

    return measured(run)


def ingest(data: DataSet, folder: Path, lake: Path, jobs: int) -> dict[str, Any]:
    """All of it, into a new lake."""
    from formats import registry
    from lake import Lake

    registry.reader(data.format)
    made = Lake.create(lake)

    def run() -> dict[str, Any]:
        report = made.ingest([folder], format=data.format, jobs=jobs)
        return {"rows": report.rows["agents"], "logs": report.logs}

    return measured(run)


STEPS: dict[str, Callable[[DataSet, Path, Path, int], dict[str, Any]]] = {
    "decode": decode,
    "read": read,
    "ingest": ingest,
}


def measured(run: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """What it says, and what it took; processes of its own count."""
    before = peak_mb()
    cpu, wall = cpu_s(), time.perf_counter()
    said = run() or {}
    return {
        **said, "wall": time.perf_counter() - wall, "cpu": cpu_s() - cpu, "before": before,
        "peak": peak_mb(),
    }  # fmt: skip


def cpu_s() -> float:
    """Of this process and those that it began and that have ended, user and system [s]."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def in_process(step: str, index: int, folder: Path, jobs: int) -> dict[str, Any]:
    """One step in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        order = [step, str(index), str(folder), str(Path(scratch, "lake")), str(jobs)]
        done = subprocess.run(
            [sys.executable, __file__, "--step", *order],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def row(index: int, folder: Path, *, jobs: int) -> str:
    """The row of a data set, which lies in the folder."""
    data = DATASETS[index]
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(len(path.read_bytes()) for path in files) / MB
    found = {step: in_process(step, index, folder, 1) for step in STEPS}
    last = found["ingest"]
    cells = f"{data.format:<18}{data.what:<26}{size:>7.0f}{last['logs']:>6}{last['rows']:>11,}"
    for kind in ("wall", "cpu"):
        cells += f"{found['decode'][kind]:>9.2f}{found['read'][kind]:>8.2f}{last[kind]:>8.2f}"
        cells += f"{last[kind] / found['decode'][kind]:>6.1f}"
    cells += f"{last['before']:>6.0f}→{last['peak']:.0f}"
    if jobs > 1:
        several = in_process("ingest", index, folder, jobs)
        cells += f"   {jobs} jobs: {several['wall']:.2f} s, {last['wall'] / several['wall']:.2f}×"
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="where sets are kept; else they are made anew")
    parser.add_argument("--formats", nargs="*", default=[], help="only these")
    parser.add_argument("--size", type=float, default=1.0, help="of the sets; 1 by default")
    parser.add_argument("--long", action="store_true", help="only the long logs, for memory")
    parser.add_argument("--jobs", type=int, default=1, help="try several jobs, too")
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, index, folder, lake, jobs = options.step
        print(json.dumps(STEPS[step](DATASETS[int(index)], Path(folder), Path(lake), int(jobs))))
        return
    wall, cpu = "wall seconds", "CPU seconds"
    print(f"{'':<68}{wall:>25}{cpu:>31}\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lake_ingest-") as scratch:
        home = options.data or Path(scratch)
        for index, data in enumerate(DATASETS):
            if data.long != options.long or (
                options.formats and data.format not in options.formats
            ):
                continue
            folder = home / f"{index:02d}_{data.format}_{options.size:g}"
            try:
                if not folder.exists():
                    folder.mkdir(parents=True)
                    data.make(folder, options.size)
            except MissingData as error:
                folder.rmdir()
                print(f"{data.format:<18}{error}", flush=True)
                continue
            print(row(index, folder, jobs=options.jobs), flush=True)


if __name__ == "__main__":
    main()

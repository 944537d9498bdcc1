"""Does a lake survive being killed? Writers in pairs, shot at random moments in random ways.

    python benchmarks/crash.py [--kills 200] [--seed 0]

In each round two processes write to one lake: they ingest, tag, copy bytes or compact. One or both
are killed (SIGKILL, SIGTERM, SIGINT) at random moments; the other must end well. Each keeps a diary,
outside of the lake, of the rows that it was told are committed. After every round:

- *lost*: rows that a diary or an earlier look knows and the lake does not, and commits that two
  diaries claim;
- *findings*: what ``verify`` tells, but for runs that have no row since they were cut short;
- *incomplete*: the work of all rounds, done again in one go, does not end with every log, tag and
  blob in the lake, ``verify`` then tells anything at all (duplicates among it), or compacting
  leaves files that belong to nothing.

Every 20 rounds the lake is compared row by row with one that nobody disturbed, and begun anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from formats.waymo_motion import write_logs
from lake import Lake
from lake import ingest as ingesting
from lake.manifest import ABOUT
from lake.place import Folder
from lake.store import Store
from mining import tag as tagging
from schemas.labels import AgentClass
from schemas.records import EgoStates, Log, Observations

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KINDS = ("ingest", "tag", "copy", "compact")
LOGS_A_ROUND = 4
BLOBS_A_ROUND = 6
LATEST_S = 1.0  # [s] kills come so long after a writer has begun, at most
ROUNDS_A_LAKE = 20
INSIDE_S = 0.08  # [s] kills that are aimed at a batch come so long after its begin, at most
READERS_S = 5.0  # [s] how long compacting leaves old versions to the other writer

KEYS: dict[str, tuple[str, ...]] = {
    "logs": ("log_id",), "scenes": ("scene_id",), "tracks": ("log_id", "track_id"),
    "ledger": ("entry_id",), "blobs": ("blob_id",), "events": ("event_id",),
}  # fmt: skip
"""Tables whose rows are never removed for good here, and what identifies a row."""

PASSING = ("run_id", "entry_id", "started_unix_ns", "finished_unix_ns")
"""Columns that differ between two lakes of the same content."""

_OF_LANCE = re.compile(
    r"\w+\.lance/(_versions/(\d+\.manifest|latest_version_hint\.json)|_transactions/[^/]+\.txn"
    r"|_indices/[^/]+/[^/]+\.lance|_deletions/[^/]+\.(arrow|bin))"
)

Row = tuple[str, tuple[int, ...]]


@dataclass(slots=True)
class Tally:
    """What became of the kills of one kind of work."""

    kills: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    commits: int = 0
    lost: int = 0
    findings: int = 0
    incomplete: int = 0
    failed: int = 0

    @property
    def faults(self) -> int:
        """Whatever should be zero."""
        return self.lost + self.findings + self.incomplete + self.failed


def main() -> None:
    """Print the table; exit code 1 if anything went wrong."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", nargs=4, metavar=("KIND", "LAKE", "NUMBER", "DIARY"))
    given = options.parse_args()
    if given.work:
        kind, uri, number, diary = given.work
        work(kind, uri, int(number), Path(diary))
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scenelake-crash-") as folder:
        tallies = crash(Path(folder), kills=given.kills, seed=given.seed, tell=print)
    print_table(tallies)
    print(f"{time.monotonic() - began:.0f} s, seed {given.seed}")
    sys.exit(any(tally.faults for tally in tallies.values()))


def crash(
    folder: Path,
    *,
    kills: int,
    seed: int,
    both: float = 0.5,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Tally]:
    """So many kills; what became of them, by kind of work.

    Args:
        folder: For lakes, sources and diaries.
        kills: How many, at least.
        seed: Of who does what, and who is killed when and how.
        both: In which part of the rounds both writers are killed.
        tell: Told what went wrong.
    """
    rng = np.random.default_rng(seed)
    tallies = {kind: Tally() for kind in KINDS}
    arena = Arena(folder / "0")
    while sum(tally.kills.total() for tally in tallies.values()) < kills:
        if arena.rounds == ROUNDS_A_LAKE:
            arena.finish(tallies, tell)
            arena = Arena(folder / str(int(arena.home.name) + 1))
        arena.round(rng, tallies, tell, both=both)
    arena.finish(tallies, tell)
    return tallies


class Arena:
    """One lake, its sources, and what is known to be in it.

    Args:
        home: Folder for all of it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.rounds = 0
        self._sources = home / "in"
        self._sources.mkdir(parents=True)
        self._lake = Lake.create(home / "lake")
        self._known: set[Row] = set()
        self._commits = 0
        self._faults = 0
        self._fill()

    def round(
        self,
        rng: np.random.Generator,
        tallies: dict[str, Tally],
        tell: Callable[[str], None],
        *,
        both: float,
    ) -> None:
        """Two writers, one or two kills, and a look at what is left."""
        self.rounds += 1
        self._fill()
        kinds = [str(kind) for kind in rng.choice(KINDS, 2, p=(0.4, 0.2, 0.2, 0.2))]
        diaries = [self.home / f"{self.rounds}-{k}.diary" for k in range(2)]
        writers = [self._start(kind, d) for kind, d in zip(kinds, diaries, strict=True)]
        doomed = [True, bool(rng.random() < both)]
        moments = rng.uniform(0.0, LATEST_S, 2)
        shots = [int(shot) for shot in rng.choice(SIGNALS, 2)]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()  # it has imported what it needs
        began = time.monotonic()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
        aims = [int(aim) for aim in rng.integers(-4, 8, 2)]  # half of them at a batch
        for k in (int(k) for k in np.argsort(moments)):
            if doomed[k] and aims[k] < 1:
                time.sleep(max(began + float(moments[k]) - time.monotonic(), 0.0))
            elif doomed[k]:
                wait_for_batch(writers[k], diaries[k], aims[k])
                time.sleep(float(rng.uniform(0.0, INSIDE_S)))
            if doomed[k]:
                writers[k].send_signal(shots[k])
        claimed: list[int] = []
        for k, writer in enumerate(writers):
            _, story = writer.communicate()
            tally = tallies[kinds[k]]
            commits, rows, inside = read_diary(diaries[k])
            claimed += commits
            tally.commits += len(commits)
            self._known |= rows
            if writer.returncode in (
                -signal.SIGKILL,
                -signal.SIGTERM,
                -signal.SIGINT,
                130,
                1,
            ) and (doomed[k] and (writer.returncode != 1 or b"KeyboardInterrupt" in story)):
                tally.kills[signal.Signals(shots[k]).name] += 1
                tally.inside += inside
            elif writer.returncode:
                tally.failed += 1
                tell(story.decode())
        self._look(tallies[kinds[0]], claimed, tell)
        self._complete(tallies[kinds[0]], tell)

    def finish(self, tallies: dict[str, Tally], tell: Callable[[str], None]) -> None:
        """Compare with a lake that nobody disturbed."""
        calm = Lake.create(self.home / "calm")
        do_all(calm, self._sources, self.rounds)
        for name in KEYS:
            if told(calm, name) != told(self._lake, name):
                tallies["ingest"].incomplete += 1
                tell(f"{name} differs from a lake without kills")

    def _fill(self) -> None:
        """Logs for this round."""
        logs = [drawn(f"{self.rounds}-{k}") for k in range(LOGS_A_ROUND)]
        write_logs(logs, self._sources / f"{self.rounds}.tfrecord")

    def _start(self, kind: str, diary: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--work", kind, str(self.home), str(self.rounds)]
        return subprocess.Popen(
            [*command, str(diary)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(self.home), "PYTHONPATH": str(ROOT)}, cwd=ROOT,
        )  # fmt: skip

    def _look(self, tally: Tally, claimed: Sequence[int], tell: Callable[[str], None]) -> None:
        there = rows_of(self._lake)
        missing = self._known - there
        twice = len(claimed) - len(set(claimed))
        early = [commit for commit in claimed if commit <= self._commits]
        self._commits = self._lake.store.manifest().commit
        late = [commit for commit in claimed if commit > self._commits]
        tally.lost += len(missing) + twice + len(early) + len(late)
        for row in sorted(missing)[:3]:
            tell(f"lost: {row}")
        self._known |= there
        findings = [finding for finding in self._lake.verify(deep=True) if finding.check != "run"]
        tally.findings += len(findings)
        for finding in findings:
            tell(f"finding: {finding.table}: {finding.detail}")

    def _complete(self, tally: Tally, tell: Callable[[str], None]) -> None:
        do_all(self._lake, self._sources, self.rounds)
        self._known |= rows_of(self._lake)
        wrong = [f"{f.table}: {f.detail}" for f in self._lake.verify()]
        logs = self._lake.read("logs", ["log_id"]).num_rows
        if logs != LOGS_A_ROUND * (self.rounds + 1):
            wrong.append(f"there are {logs} logs of {LOGS_A_ROUND * (self.rounds + 1)}")
        wrong += [f"{name} belongs to nothing" for name in strange_files(self._lake)]
        self._commits = self._lake.store.manifest().commit
        tally.incomplete += len(wrong)
        for line in wrong:
            tell(f"incomplete: {line}")


# The work of the writers


def work(kind: str, home: str, number: int, diary: Path) -> None:
    """One writer, in a process of its own."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells let what they detach ignore it
    keep_diary(diary)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    lake = Lake.open(Path(home) / "lake")
    WORK[kind](lake, Path(home) / "in", number)


def do_ingest(lake: Lake, sources: Path, _: int) -> None:
    """Logs, each committed by itself."""
    ingesting.BATCH_LOGS = 1
    lake.ingest([sources], format="waymo_motion")


def do_tag(lake: Lake, _: Path, __: int) -> None:
    """Tags, replaced for a few scenes at a time."""
    tagging.SCENES_A_BATCH, tagging.BATCHES_A_COMMIT = 4, 1
    tagging.tag(lake, only=["hard_brake"], again=True)


def do_copy(lake: Lake, _: Path, number: int) -> None:
    """Bytes, small and large."""
    with lake.run("copy") as run:
        for payload in payloads(number):
            lake.put_blobs([payload], run_id=run.id)


def do_compact(lake: Lake, _: Path, __: int) -> None:
    """More than once, since the first leaves little to do."""
    for _again in range(3):
        lake.compact(keep_s=READERS_S)


WORK: dict[str, Callable[[Lake, Path, int], None]] = {
    "ingest": do_ingest, "tag": do_tag, "copy": do_copy, "compact": do_compact,
}  # fmt: skip


def do_all(lake: Lake, sources: Path, rounds: int) -> None:
    """Everything that the writers of all rounds would have done."""
    lake.ingest([sources], format="waymo_motion")
    tagging.tag(lake, only=["hard_brake"])
    with lake.run("copy") as run:
        every = (p for number in range(1, rounds + 1) for p in payloads(number))
        lake.put_blobs(every, run_id=run.id)
    lake.compact(keep_s=0)


def payloads(number: int) -> list[bytes]:
    """The bytes that are copied in a round."""
    draws = [np.random.default_rng([number, k]) for k in range(BLOBS_A_ROUND)]
    return [draw.bytes(int(draw.integers(10, 200_000))) for draw in draws]


def keep_diary(path: Path) -> None:
    """Note every commit of this process, with the rows that it added, once it is made."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    rows: list[Row] = []
    begin, append, write = Store._begin, Store.append, Folder.write

    def note(line: object) -> None:
        os.write(file, json.dumps(line).encode() + b"\n")

    def noted_begin(store: Store) -> Any:
        rows.clear()
        note("begin")
        return begin(store)

    def noted_append(store: Store, name: str, table: pa.Table) -> None:
        append(store, name, table)
        rows.extend(keys_of(name, table))

    def noted_write(place: Folder, name: str, data: bytes, *, tag: str | None) -> None:
        write(place, name, data, tag=tag)
        if name == ABOUT:
            note([json.loads(data)["commit"], rows])

    for place, name, noted in (
        (Store, "_begin", noted_begin), (Store, "append", noted_append),
        (Folder, "write", noted_write),
    ):  # fmt: skip
        setattr(place, name, noted)


def wait_for_batch(writer: subprocess.Popen[bytes], diary: Path, number: int) -> None:
    """Until a writer has begun so many batches, or has ended."""
    while writer.poll() is None:
        if diary.exists() and diary.read_bytes().count(b"begin") >= number:
            return
        time.sleep(0.001)


def read_diary(path: Path) -> tuple[list[int], set[Row], bool]:
    """Commits, the rows that they added, and whether the last batch has no end."""
    commits: list[int] = []
    rows: set[Row] = set()
    inside = False
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # the last may be cut
    for line in lines:
        entry = json.loads(line)
        inside = entry == "begin"
        if not inside:
            commits.append(entry[0])
            rows |= {(name, tuple(key)) for name, key in entry[1]}
    return commits, rows, inside


# Looking at lakes


def rows_of(lake: Lake) -> set[Row]:
    """The keys of all rows that should never go."""
    now = lake.at()
    return {row for name in KEYS for row in keys_of(name, now.read(name, list(KEYS[name])))}


def keys_of(name: str, rows: pa.Table) -> Iterator[Row]:
    """The keys of rows of a table that is watched."""
    if name in KEYS:
        columns = [rows[column].to_pylist() for column in KEYS[name]]
        for key in zip(*columns, strict=True):
            yield name, key


def told(lake: Lake, name: str) -> list[str]:
    """What a table says, in an order that does not depend on who wrote when."""
    rows = lake.read(name)
    rows = rows.drop([column for column in PASSING if column in rows.column_names])
    return sorted(str(row) for row in rows.to_pylist())


def strange_files(lake: Lake) -> list[str]:
    """Files on disk that no table, index or snapshot names."""
    known = {ABOUT, ".lock"}
    for name, data in lake.store.datasets().items():
        known |= {
            f"{name}.lance/data/{file.path}"
            for fragment in data.get_fragments()
            for file in fragment.data_files()
        }
    kept = tuple(name.removesuffix(".lance") + "/" for name in known)  # payloads stand beside
    return [
        name for name in lake.store.place.sizes()
        if name not in known and not name.startswith(kept) and not _OF_LANCE.fullmatch(name)
    ]  # fmt: skip


def drawn(name: str) -> Log:
    """A car that follows another, which brakes hard, in 3 s."""
    steps = 31
    t = 0.1 * np.arange(steps)
    t_ns = np.round(t * 1e9).astype(np.int64)
    speed = np.clip(12.0 - 6.0 * np.clip(t - 1.0, 0.0, None), 0.0, None)
    x = np.cumsum(speed) * 0.1
    ahead = np.column_stack([x + 25.0, np.zeros(steps), np.full(steps, 0.8)])
    mine = np.column_stack([x, np.zeros(steps), np.full(steps, 0.8)])
    return Log(
        dataset="crash", source_log_id=name, source_uri="", rate_hz=10.0,
        ego=EgoStates(
            t_ns=t_ns, xyz=mine, yaw=np.zeros(steps), size=(4.6, 1.9, 1.6),
            velocity=np.column_stack([speed, np.zeros(steps)]),
        ),
        agents=Observations(
            track=np.zeros(steps, dtype=np.int64), t_ns=t_ns, xyz=ahead, yaw=np.zeros(steps),
            size=np.tile([4.6, 1.9, 1.6], (steps, 1)), source_track_id=["1"],
            source_cls=["VEHICLE"], cls=[AgentClass.VEHICLE],
            velocity=np.column_stack([speed, np.zeros(steps)]),
        ),
    )  # fmt: skip


def print_table(tallies: dict[str, Tally]) -> None:
    """One line a kind of work."""
    head = ("killed while", *(s.name for s in SIGNALS), "inside a batch", "commits", "lost",
            "findings", "incomplete", "others failed")  # fmt: skip
    rows = [
        (kind, *(tally.kills[s.name] for s in SIGNALS), tally.inside, tally.commits, tally.lost,
         tally.findings, tally.incomplete, tally.failed)
        for kind, tally in tallies.items()
    ]  # fmt: skip
    total = ("all", *(sum(int(str(row[k])) for row in rows) for k in range(1, len(head))))
    for row in (head, *rows, total):
        print("  ".join(f"{cell!s:>{len(title)}}" for cell, title in zip(row, head, strict=True)))


ROOT = Path(__file__).resolve().parent.parent


if __name__ == "__main__":
    main()

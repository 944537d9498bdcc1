"""Can a suite be trusted to rank planners? One of 500 cases of the procedural world, end to end.

    python benchmarks/suite_ranking.py [--cases 500] [--seed 60000] [--keep FOLDER] [--clients PYTHON]

Scenes of the world are tagged, a suite is drawn of them by kinds of road, its agents a mixture of
replay, IDM, MOBIL and people who yield, and every case is proven (``suite validate``). Then it is
driven by planners of which some are known to be better than others: IDM, and the same IDM that acts on
its pedals half a second and a whole second late. Told are

- the ranking with its intervals, how stable it is when cases are drawn again (Kendall's tau with
  the interval of the bootstrap), and how far halves of the suite agree;
- whether the planners of known order come out in that order;
- the flake rate: cases that give anything else when driven again in other batches, in another order, by
  two processes;
- what ``junitparser``, which CI tools read JUnit files with, counts in each run's file, where ``--clients`` names
  a Python that has it (``.clients/bin/python`` after ``make clients``).

``--keep`` leaves lake, JUnit files and the page of all planners in a folder, to be looked at.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

from lake import Lake
from mining.tag import tag
from simulation.filling import fill
from simulation.planners import IdmPlanner
from simulation.protocol import CaseBatchView, Observation, Plan
from simulation.suites import (
    build,
    compare,
    rank,
    results_of,
    run,
    undriven_of,
    validate,
    write_junit,
    write_page,
)

SUITE = "world"
AGENTS = "mixed:log=0.25,idm=0.45,mobil=0.3,yielding=0.7"
SCENES_A_CASE = 2.0
"""So many scenes are made for each case, so that there is something to draw from."""
STEP_S = 0.1


class Late(IdmPlanner):
    """IDM whose foot acts on what it decided some steps ago; its hands are in time."""

    def __init__(self, steps: int) -> None:
        """Late by so many steps of 0.1 s."""
        super().__init__()
        self.steps = steps
        self.name = f"idm, {steps * STEP_S:.1f} s late"

    def start(self, cases: CaseBatchView) -> None:
        """Nothing is decided yet."""
        super().start(cases)
        self._decided: deque[Plan] = deque(maxlen=self.steps + 1)

    def plan(self, obs: Observation) -> Plan:
        """The pedals of then, the wheel of now."""
        now = super().plan(obs)
        self._decided.append(now)
        return Plan(acceleration=self._decided[0].acceleration, steering=now.steering)


ORDERED: tuple[Callable[[], IdmPlanner], ...] = (IdmPlanner, lambda: Late(5), lambda: Late(10))
"""From the best to the worst, by construction."""


def main() -> None:
    """Make the suite, drive it, print what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=60_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--clients", type=Path)
    options = parser.parse_args()
    kept = nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory()
    with kept as folder:
        measure(Path(folder), options.cases, options.seed, options.clients)


def measure(folder: Path, wanted: int, seed: int, clients: Path | None) -> None:
    """All of it, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lake = Lake.open_or_create(folder / "lake")
    begun = time.process_time()
    filled = fill(lake, scenes=int(wanted * SCENES_A_CASE), seed=seed)
    tag(lake)
    print(f"{filled.scenes} scenes made and tagged in {_since(begun)}\n", flush=True)

    begun = time.process_time()
    made = build(lake, SUITE, n=wanted, stratify="road_type", agents=AGENTS, replace=True)
    print(f"{made.cases} cases in {_since(begun)}, {len(made.refused)} scenes left out: "
          f"{dict(made.strata)}")  # fmt: skip
    begun = time.process_time()
    proof = validate(lake, SUITE)
    print(f"{proof.valid} sound, proven in {_since(begun)}; fail a check: {dict(proof.failed)}; "
          f"solved by {dict(proof.solved_by)}; flake rate {proof.flake_rate:.4f}\n", flush=True)  # fmt: skip

    late = [make().name for make in ORDERED]
    names = ["log_replay", "pdm", *late, "constant_velocity"]
    made_by = {make().name: make for make in ORDERED}
    print(
        "| planner | CPU ms a case | driven again: differ | JUnit tests / failures / errors / skipped |"
    )
    print("|---|---|---|---|", flush=True)
    for name in names:
        begun = time.process_time()
        first = run(lake, SUITE, made_by[name]() if name in made_by else name)
        cost = (time.process_time() - begun) / first.cases * 1e3
        differ = _flaky(lake, name, made_by.get(name), first.run_id)
        results = results_of(lake, first.run_id)
        file = folder / f"{name}.xml"
        write_junit(file, first, results, undriven_of(lake, first, results))
        print(
            f"| {name} | {cost:.1f} | {differ} of {first.cases} | {_read(file, clients)} |",
            flush=True,
        )

    found = rank(lake, SUITE)
    print("\n| rank | planner | nuPlan score (95 %) | pass rate (95 %) |\n|---|---|---|---|")
    for k, row in enumerate(found["ranking"], 1):
        told = (f"{row[key]['value']:.3f} ({row[key]['low']:.3f}–{row[key]['high']:.3f})"
                for key in ("score", "pass_rate"))  # fmt: skip
        print(f"| {k} | {row['planner']} | {' | '.join(told)} |")
    trust = found["reliability"]
    print(f"\nKendall's tau when drawn again {trust['tau']:.3f} ({trust['low']:.3f} to {trust['high']:.3f}), "
          f"halves agree by {trust['split_half']:.3f}, the same best in {trust['same_best']:.1%}; "
          f"{len(found['fewest'])} of {found['cases']} cases rank alike.")  # fmt: skip
    order = [row["planner"] for row in found["ranking"] if row["planner"] in late]
    runs = {row["planner"]: row["run_id"] for row in found["ranking"]}
    print(f"Known order kept: {order == late}.")
    for better, worse in pairwise(late):
        told = compare(lake, runs[better], runs[worse])
        print(f"  {better} → {worse}: {len(told['won'])} won, {len(told['lost'])} lost, "
              f"p = {told['p_value']:.2g}, score {told['mean_change']:+.3f} "
              f"({told['mean_change_low']:+.3f} to {told['mean_change_high']:+.3f})")  # fmt: skip
    page = write_page(lake, [SUITE], folder / "report.html")
    print(f"The page of all: {page.bytes / 1e6:.1f} MB, {page.animated} films.")


def _since(begun: float) -> str:
    return f"{time.process_time() - begun:.0f} s of CPU"


def _flaky(lake: Lake, name: str, make: Callable[[], IdmPlanner] | None, first: int) -> int:
    """How many cases give another digest when they are driven again, otherwise."""
    if make is None:
        again = run(lake, SUITE, name, batch=37, jobs=2)
    else:
        again = run(lake, SUITE, make(), batch=37)
    one, other = (
        {r.case.case_id: (r.score, r.passed, r.status, r.criteria) for r in results_of(lake, i)}
        for i in (first, again.run_id)
    )
    return sum(one[case] != other.get(case) for case in one)


COUNTS = """
import sys
from junitparser import JUnitXml
read = JUnitXml.fromfile(sys.argv[1])
print(read.tests, read.failures, read.errors, read.skipped, sep=" / ")
"""


def _read(file: Path, clients: Path | None) -> str:
    """What the parser of CI tools counts in a JUnit file."""
    if clients is None:
        return "not read"
    command = [str(clients), "-c", COUNTS, str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()

"""How planners do on real logs, per dataset, with intervals.

    python benchmarks/planners_real.py DATA [--scenes 30] [--egos 1] [--half first] [--failures]

DATA is a folder of folders of logs, such as ``womd_gpudrive_json/`` and ``commonroad/``; those of one dataset
are read through the ordinary readers, no lake is made. So many scenes are drawn of each dataset that can be
driven; where no ego is named, the vehicle with the longest way stands in for it. The others replay their
log. The table tells the share of cases passed with Wilson's 95 % interval, and the mean nuPlan score and
EPDMS with bootstrapped ones. Expected: the recorded drive near the top, constant velocity near the bottom,
PDM above IDM, which a last row tells case by case: the mean difference PDM − IDM. With ``--egos`` other
vehicles of each scene are driven, too, those with the longest ways. Cases of one recording are not
independent, nor are CommonRoad's problems on one stretch of road, which often share their traffic: whole
recordings are drawn again for the interval of the difference.

``--half first`` is to develop with, ``--half held-out`` to be looked at once: the scenes of recordings of
which none is in the first half. ``--failures`` lists what PDM and log replay fail in, to be looked at.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formats import registry
from lake.scenes import scenes_of
from schemas.case import Case
from schemas.errors import BadInput
from schemas.records import Log
from schemas.scene import Scene
from simulation.cases import make_case, stand_ins
from simulation.planners import planner
from simulation.running import Ran, run_cases
from simulation.suites.statistics import grouped_interval, mean_interval, wilson

PLANNERS = ("log_replay", "pdm", "idm", "constant_velocity")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--scenes", type=int, default=30, help="of each dataset")
    parser.add_argument(
        "--egos", type=int, default=1, help="vehicles of each scene that are driven"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", choices=("first", "held-out"), help="of the recordings")
    parser.add_argument("--only", nargs="*", help="these folders")
    parser.add_argument("--failures", action="store_true")
    options = parser.parse_args()
    print("| logs | cases | planner | passed (95 %) | nuPlan (95 %) | EPDMS (95 %) |")
    print("|---|---|---|---|---|---|", flush=True)
    everything: dict[str, list[Ran]] = {name: [] for name in PLANNERS}
    groups: list[str] = []
    for folder in sorted(p for p in options.data.iterdir() if p.is_dir()):
        if options.only and folder.name not in options.only:
            continue
        cases = drawn(folder, options.scenes, options.egos, np.random.default_rng(options.seed))
        if options.half:
            cases = half_of(cases, options.half)
        if len(cases) < 1:
            continue
        mine = [recording(scene) for _, scene in cases]
        groups += mine
        by_name: dict[str, list[Ran]] = {}
        for name in PLANNERS:
            ran = by_name[name] = list(run_cases(cases, planner(name), batch=64))
            everything[name] += ran
            print(f"| {folder.name} | {len(ran)} | {name} | {told(ran)} |", flush=True)
            if options.failures and name in ("log_replay", "pdm"):
                for one in ran:
                    if not one.result.passed:
                        print("   ", one.result.case.provenance["scene"], one.result.status,
                              {n: one.result.criteria[n].detail for n in one.result.failed})  # fmt: skip
        print(
            f"| {folder.name} | {len(cases)} | pdm − idm | {paired(by_name, mine)} |", flush=True
        )
    for name, ran in everything.items():
        print(f"| all | {len(ran)} | {name} | {told(ran)} |")
    print(f"| all | {len(groups)} | pdm − idm | {paired(everything, groups)} |")


def recording(scene: Scene) -> str:
    """What the scene was cut from: its log; for CommonRoad, the stretch of road."""
    if scene.dataset == "commonroad":
        stretch = re.match(r"[A-Z]{3}_[A-Za-z0-9]+-\d+", scene.name)
        return stretch.group() if stretch else scene.name
    return f"{scene.dataset} {scene.log_id}"


def half_of(cases: Sequence[tuple[Case, Scene]], half: str) -> list[tuple[Case, Scene]]:
    """Those of the first half by a hash of the scenes' ids, or of recordings that have none there."""

    def first(scene: Scene) -> bool:
        return zlib.crc32(str(scene.scene_id).encode()) % 2 == 0

    known = {recording(scene) for _, scene in cases if first(scene)}
    if half == "first":
        return [(case, scene) for case, scene in cases if first(scene)]
    return [(case, scene) for case, scene in cases if recording(scene) not in known]


def drawn(
    folder: Path, most: int, egos: int, random: np.random.Generator
) -> list[tuple[Case, Scene]]:
    """Cases of scenes drawn from the folder's logs."""
    made: list[tuple[Case, Scene]] = []
    scenes = 0
    sources = list(registry.detect(folder))
    for k in random.permutation(len(sources)):
        name, source = sources[k]
        try:
            logs = list(registry.reader(name).read(source))
        except BadInput as error:
            print(f"left out {source.name}: {error.message}", file=sys.stderr)
            continue
        for log in logs:
            for scene in scenes_of(log) if isinstance(log, Log) else []:
                case = make_case(scene, suite="real")
                if not isinstance(case, Case) or scenes == most:
                    continue
                scenes += 1
                mine = [case]
                for agent, _ in stand_ins(scene):
                    track = int(scene.tracks.track_id[agent])
                    if len(mine) >= egos or track == case.ego_track_id:
                        continue
                    other = make_case(scene, suite="real", ego_track=track)
                    if isinstance(other, Case):
                        mine.append(other)
                made += [(one, scene) for one in mine]
        if scenes >= most:
            break
    return made


def told(ran: list[Ran]) -> str:
    """Three cells of a row."""
    passed = np.array([one.result.passed for one in ran])
    low, high = wilson(float(passed.mean()), len(passed))
    cells = [f"{passed.mean():.0%} ({low:.0%}–{high:.0%})"]
    for score in ("nuplan", "epdms"):
        values = np.array([one.result.scores.get(score, 0.0) for one in ran])
        low, high = mean_interval(values)
        spread = f"{low:.2f}–{high:.2f}" if len(values) > 1 else "one case"
        cells.append(f"{values.mean():.3f} ({spread})")
    return " | ".join(cells)


def paired(ran: dict[str, list[Ran]], groups: Sequence[str]) -> str:
    """Three cells of a row: the mean difference of PDM from IDM in the same cases, with those of groups."""
    cells = []
    for score in ("passed", "nuplan", "epdms"):
        pdm, idm = (
            np.array(
                [
                    one.result.passed if score == "passed" else one.result.scores.get(score, 0.0)
                    for one in ran[name]
                ],
                dtype=np.float64,
            )
            for name in ("pdm", "idm")
        )
        low, high = grouped_interval(pdm - idm, groups)
        known = np.isfinite([low, high]).all()
        spread = f"{low:+.3f} to {high:+.3f}" if known else "one recording: no interval"
        cells.append(f"{(pdm - idm).mean():+.3f} ({spread})")
    return " | ".join(cells)


if __name__ == "__main__":
    main()

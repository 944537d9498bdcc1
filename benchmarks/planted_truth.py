"""Are planted behaviours found, and is what is found true? Recall and precision per behaviour.

    python benchmarks/planted_truth.py [--each 40] [--first-seed 400000]

Logs of the procedural world, as many with each behaviour, are put into a lake and tagged twice:
*noisy* as the ego reports them (noise, occlusion, range) and *clean* with everyone as they truly
moved. The world's own truth answers both.

*Recall*: a planted behaviour counts as found if its predicate (``FOUND_BY``) names the same actor,
and the same other where both name one, at overlapping times. Intervals are Wilson's at 95 %.

*Precision*: every hit of the predicate in any of the logs, planted there or not, is judged anew from
the true motion and the map by a function of its own below (``JUDGES``), never by the predicate. A hit
is true if within it, give or take half a second, what the behaviour's name says happened, measures
counting from 90 % of the predicate's published thresholds on (the hysteresis of events).

Seeds below 400,000 were used in development; those from there on in none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from geometry.angles import difference, unit
from geometry.arrays import Array
from geometry.boxes import overlap
from geometry.polylines import inside, project
from lake import Lake
from mining.tag import tag
from schemas.errors import MissingData
from schemas.labels import AgentClass, LaneType, LightState, MapLayer
from schemas.records import Log
from simulation.rare import BEHAVIOURS
from simulation.suites.statistics import wilson
from simulation.truth import Motion, Truth
from simulation.world import as_it_was, make_log

FIRST_SEED = 400_000
STEP_NS = 100_000_000
DT = 0.1
SLACK_S = 0.5  # around a hit
REACHED = 0.9  # of a threshold

FOUND_BY = {
    "cut_in": "cut_in",
    "hard_brake": "hard_brake",
    "jaywalking": "jaywalking",
    "near_miss": "near_miss",
    "red_light_running": "red_light_running",
    "wrong_way": "wrong_way",
    "stalled_vehicle": "stopped",
    "debris": "category",
    "swerve": "swerve",
    "emergency_vehicle": "special_vehicle",
}
"""Predicates by the behaviours that they find; of ``category`` only hits of obstacles count."""

Made = tuple[Log, Truth]


@dataclass(frozen=True, slots=True)
class Hit:
    """One event of a predicate, in the terms of the truth.

    Attributes:
        actor: Row of the true motion.
        other: Likewise, −1 for none.
        begin: First step of the log.
        end: Last step, included.
    """

    actor: int
    other: int
    begin: int
    end: int


# -- worlds -----------------------------------------------------------------------------------------


def drawn(behaviour: str, first_seed: int) -> Iterator[Made]:
    """Logs in which the behaviour is planted, without end."""
    for seed in count(first_seed + 1000 * list(BEHAVIOURS).index(behaviour)):
        try:
            yield make_log(seed, rare=behaviour)
        except MissingData as error:
            print(error, file=sys.stderr)


def hits_of(made: Iterable[Made]) -> dict[str, dict[str, list[Hit]]]:
    """Events by source log id and predicate."""
    rows = {log.source_log_id: truth.motion.source_track_id for log, truth in made}
    cls = {log.source_log_id: truth.motion.cls for log, truth in made}
    found: dict[str, dict[str, list[Hit]]] = {name: defaultdict(list) for name in rows}
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.create(Path(folder) / "lake")
        with lake.run("world") as run:
            lake.add_logs((log for log, _ in made), run_id=run.id)
        tag(lake, only=sorted(set(FOUND_BY.values())))
        events = lake.sql("""
            select distinct source_log_id, name, e.t0_ns, e.t1_ns, a.source_track_id as actor,
                b.source_track_id as other
            from events e join logs using (log_id)
            join tracks a on a.log_id = e.log_id and a.track_id = e.actor_id
            left join tracks b on b.log_id = e.log_id and b.track_id = e.other_id
            where truth = 'true' order by all
        """)
        for event in events.to_pylist():
            log_name, name = event["source_log_id"], event["name"]
            known = rows[log_name]
            actor = known.index(event["actor"])
            if name == "category" and cls[log_name][actor] != AgentClass.OBSTACLE:
                continue
            other = -1 if event["other"] is None else known.index(event["other"])
            begin, end = (round(event[key] / STEP_NS) for key in ("t0_ns", "t1_ns"))
            found[log_name][name].append(Hit(actor, other, begin, end))
    return found


# -- what is true -----------------------------------------------------------------------------------


class Place:
    """Where everyone truly is relative to the lanes for cars.

    Attributes:
        lanes: (centre line, heading at its start, whether within a junction).
    """

    def __init__(self, log: Log) -> None:
        cars = (LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS)
        self.lanes = [f for f in log.map.of_layer(MapLayer.LANE) if f.lane_type in cars]
        self.crosswalks = [f.points for f in log.map.of_layer(MapLayer.CROSSWALK)]

    def on(self, xy: Array) -> tuple[Array, Array]:
        """Offset [m] from every lane's centre line, ∞ off its ends, and the lane's heading there."""
        d = np.full((len(self.lanes), len(xy)), np.inf)
        yaw = np.zeros(d.shape)
        for k, lane in enumerate(self.lanes):
            s, off, yaw[k] = project(xy, lane.points)
            length = float(np.linalg.norm(np.diff(lane.points[:, :2], axis=0), axis=1).sum())
            beside = (s > 0.0) & (s < length)
            d[k, beside] = off[beside]
        return d, yaw


Judge = Callable[[Log, Motion, Hit, slice], bool]


def _longest(mask: Array) -> float:
    """How long a mask holds without a break [s]."""
    best = run = 0
    for holds in mask:
        run = run + 1 if holds else 0
        best = max(best, run)
    return best * DT


def _braked(_: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    return _longest(motion.acceleration[hit.actor, window] <= -4.05 * REACHED) >= 0.3


def _swerved(log: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """Speed across the lane, to one side and to the other; in the end it is in the lane it left."""
    xy, yaw = motion.xy[hit.actor, window], motion.yaw[hit.actor, window]
    d, along = Place(log).on(xy)
    turned = np.abs(difference(yaw[None], along))
    d = np.where(turned < np.radians(30.0), np.abs(d), np.inf)
    best = d.argmin(axis=0)
    steps = np.arange(len(xy))
    aside = motion.speed[hit.actor, window] * np.sin(yaw - along[best, steps])
    aside = np.where(np.isfinite(d[best, steps]), aside, 0.0)
    both = aside.max() >= 0.8 * REACHED and aside.min() <= -0.8 * REACHED
    return bool(both and abs(aside.sum() * DT) < 1.75)


def _wrong(log: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """In a lane against its direction, and in none along it."""
    place = Place(log)
    d, along = place.on(motion.xy[hit.actor, window])
    turned = np.abs(difference(motion.yaw[hit.actor, window][None], along))
    outside = np.array([not lane.in_intersection for lane in place.lanes])[:, None]
    within = np.abs(d) < 1.75
    against = (within & outside & (turned > np.radians(135.0 * REACHED))).any(axis=0)
    along_one = (within & (turned < np.pi / 2)).any(axis=0)
    fast = motion.speed[hit.actor, window] >= 2.0 * REACHED
    return _longest(against & ~along_one & fast) >= 1.0 * REACHED


def _walked_on_road(log: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """On foot within 1.5 m of a lane's middle and over 1 m from every crosswalk."""
    place = Place(log)
    xy = motion.xy[hit.actor, window]
    d, _ = place.on(xy)
    on_road = (np.abs(d) <= 1.5 / REACHED).any(axis=0)
    clear = np.ones(len(xy), dtype=bool)
    for ring in place.crosswalks:
        around = np.concatenate([ring, ring[:1]])
        clear &= ~inside(xy, ring) & (np.abs(project(xy, around)[1]) > 1.0 * REACHED)
    walks = motion.speed[hit.actor, window] >= 0.5 * REACHED
    on_foot = motion.cls[hit.actor] == AgentClass.PEDESTRIAN
    return on_foot and _longest(on_road & clear & walks) >= 1.0 * REACHED


def _ran_red(log: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """The front passes the start of the controlled lane that it then follows, at red."""
    yaw = motion.yaw[hit.actor]
    front = motion.xy[hit.actor] + motion.size[hit.actor, 0] / 2.0 * unit(yaw)
    lanes = {f.source_id: f for f in log.map.of_layer(MapLayer.LANE)}
    best, red = np.inf, False
    lane_of_row = np.array(log.lights.source_lane_id)
    for lane_id in dict.fromkeys(log.lights.source_lane_id):
        line = lanes[lane_id].points[:, :2]
        ahead = line[1] - line[0]
        ahead = ahead / np.linalg.norm(ahead)
        past = (front - line[0]) @ ahead
        beside = np.abs((front - line[0]) @ np.array([-ahead[1], ahead[0]])) < 1.75
        over = np.flatnonzero((past[:-1] <= 0.0) & (past[1:] > 0.0) & beside[1:]) + 1
        over = over[(over >= window.start) & (over < window.stop)]
        if not len(over) or not motion.present[hit.actor, over[0] - 1 : over[0] + 1].all():
            continue
        at = int(over[0])
        after = motion.xy[hit.actor, at : at + 60][motion.present[hit.actor, at : at + 60]]
        off = float(np.abs(project(after, line)[1]).mean())
        if off < best:
            shown = log.lights.state[(lane_of_row == lane_id) & (log.lights.t_ns == at * STEP_NS)]
            best, red = off, bool((shown == LightState.RED).all())
    return red


def _missed(_: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """Boxes that would meet within 0.95 s but for hard braking, or a way crossed within 1 s."""
    a, b = hit.actor, hit.other
    boxes = motion.boxes[[a, b], window]
    velocity = motion.speed[[a, b], window, None] * unit(motion.yaw[[a, b], window])
    there = motion.present[[a, b], window].all(axis=0)
    away = boxes[1, :, :2] - boxes[0, :, :2]
    closing = -((velocity[1] - velocity[0]) * away).sum(-1) / np.maximum(np.hypot(*away.T), 0.1)
    for ahead in np.arange(0.05, 0.95 / REACHED, 0.05):
        moved = boxes.copy()
        moved[..., :2] += ahead * velocity
        hard = closing >= np.maximum(3.0, 2 * ahead * 4.05) * REACHED
        if (overlap(moved[0], moved[1]) & there & hard).any():
            return True
    wide = slice(max(window.start - 10, 0), window.stop + 10)
    first, second = (motion.boxes[k, wide][motion.present[k, wide]] for k in (a, b))
    met = overlap(first[:, None], second[None])
    i, j = np.nonzero(met)
    fast = motion.speed[[a, b], wide].max() >= 3.0 * REACHED
    return bool(fast and len(i) and np.abs(i - j).min() * DT <= 1.0 / REACHED)


def _cut_in(_: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    """From beside the way that the other drives to ahead of it there, nearest and close."""
    j, i = hit.actor, hit.other
    steps = np.flatnonzero(motion.present[i])
    line = motion.xy[i, steps]
    far = line[-1] + np.outer([1.0, 100.0], unit(motion.yaw[i, steps[-1]]))
    line = np.concatenate([line[np.r_[True, np.hypot(*np.diff(line, axis=0).T) > 0.05]], far])
    s, d = project(motion.xy[j, window], line)[:2]
    own = project(motion.xy[i, window], line)[0]
    gap = s - own - (motion.size[i, 0] + motion.size[j, 0]) / 2.0
    wait = gap / np.maximum(motion.speed[i, window], 0.1)
    close = (gap > 0.0) & (gap <= 40.0 / REACHED) & (wait <= 5.0 / REACHED)
    arrived = np.flatnonzero((np.abs(d) < 1.75) & close)
    if not len(arrived) or not (np.abs(d[: arrived[-1]]) > 1.75).any():
        return False
    at = int(arrived[-1])
    others = np.flatnonzero(motion.present[:, window.start + at])
    others = others[(others != i) & (others != j)]
    others = others[[motion.cls[k] != AgentClass.PEDESTRIAN for k in others]]
    s_k, d_k = project(motion.xy[others, window.start + at], line)[:2]
    return not bool(((s_k > own[at]) & (s_k < s[at]) & (np.abs(d_k) < 1.0)).any())


def _stood(_: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    del window  # a state must hold throughout, not somewhere near
    still = motion.speed[hit.actor, hit.begin : hit.end + 1] <= 0.5
    return bool(still.mean() >= REACHED)


def _lies_in_lane(log: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    d, _ = Place(log).on(motion.xy[hit.actor, window])
    return bool((np.abs(d) < 2.0).any())


def _special(_: Log, motion: Motion, hit: Hit, window: slice) -> bool:
    del window  # what a road user is does not change
    return motion.source_cls[hit.actor] == "EMERGENCY_VEHICLE"


JUDGES: dict[str, Judge] = {
    "cut_in": _cut_in,
    "hard_brake": _braked,
    "jaywalking": _walked_on_road,
    "near_miss": _missed,
    "red_light_running": _ran_red,
    "wrong_way": _wrong,
    "stalled_vehicle": _stood,
    "debris": _lies_in_lane,
    "swerve": _swerved,
    "emergency_vehicle": _special,
}


def judged(log: Log, motion: Motion, behaviour: str, hit: Hit) -> bool:
    """Whether what a hit says truly happened."""
    slack = round(SLACK_S / DT)
    window = slice(max(hit.begin - slack, 0), min(hit.end + slack + 1, motion.xy.shape[1]))
    return JUDGES[behaviour](log, motion, hit, window)


# -- the table --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Score:
    """Of one behaviour: how many were planted and found, how many hits there were and are true."""

    planted: int = 0
    found: int = 0
    hits: int = 0
    true: int = 0


def scored(made: list[Made], *, told: Callable[[str], None] = lambda _: None) -> dict[str, Score]:
    """Scores by behaviour; misses and false hits are told in words."""
    scores = {name: Score() for name in BEHAVIOURS}
    hits = hits_of(made)
    for log, truth in made:
        motion, name = truth.motion, log.source_log_id
        for planted in truth.planted:
            who = [motion.source_track_id.index(actor) for actor in planted.actors]
            begin, end = planted.t0_ns // STEP_NS, planted.t1_ns // STEP_NS
            found = any(
                _same(hit, who) and hit.begin <= end and hit.end >= begin
                for hit in hits[name][FOUND_BY[planted.name]]
            )
            scores[planted.name].planted += 1
            scores[planted.name].found += found
            if not found:
                told(f"{name} miss {planted.name} {who} {begin}-{end} {dict(planted.measure)}")
        for behaviour, predicate in FOUND_BY.items():
            for hit in hits[name][predicate]:
                right = judged(log, motion, behaviour, hit)
                scores[behaviour].hits += 1
                scores[behaviour].true += right
                if not right:
                    told(f"{name} false {behaviour} {hit}")
    return scores


def _same(hit: Hit, who: list[int]) -> bool:
    """Whether a hit is about the planted actors; a relation names both, in either order if mutual."""
    if hit.other < 0:
        return hit.actor == who[0]
    return {hit.actor, hit.other} == set(who)


def table(noisy: dict[str, Score], clean: dict[str, Score]) -> Iterator[str]:
    """Rows in Markdown."""
    head = "recall (95 %) | precision, of hits"
    yield f"| behaviour | planted | clean: {head} | noisy: {head} |"
    yield "|---|---|---|---|---|---|"
    for name in BEHAVIOURS:
        cells = [f"{name} (`{FOUND_BY[name]}`)", str(clean[name].planted)]
        for score in (clean[name], noisy[name]):
            low, high = wilson(score.found / score.planted, score.planted)
            cells.append(f"{score.found / score.planted:.3f} ({low:.2f}–{high:.2f})")
            cells.append(f"{score.true / max(score.hits, 1):.3f} of {score.hits:,}")
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Read the options, draw, tag, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=40, help="logs with each behaviour")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    asked = parser.parse_args()
    made = [m for name in BEHAVIOURS for m in islice(drawn(name, asked.first_seed), asked.each)]
    report(made)


def report(made: list[Made]) -> None:
    """Both ways, with every miss and false hit on stderr."""
    exact = [(as_it_was(log, truth), truth) for log, truth in made]
    clean = scored(exact, told=lambda words: print("clean", words, file=sys.stderr))
    noisy = scored(made, told=lambda words: print("noisy", words, file=sys.stderr))
    print("\n".join(table(noisy, clean)))


if __name__ == "__main__":
    main()

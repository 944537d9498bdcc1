"""The procedural world: a seed becomes a drive log with map, lights, conditions and the truth.

``make_log`` draws a road and conditions, warms traffic up, picks one of its cars as the ego and
records what that car would report. Rare behaviours (:mod:`simulation.rare`) are planted, measured,
and kept only where the measurement says that they happened.
"""

from __future__ import annotations

import importlib
import json
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from geometry.arrays import Array
from schemas.errors import BadSetting, MissingData, StorageFull, UnknownName, UnreadableFile
from schemas.labels import AgentClass, Daylight, LightState, Weather
from schemas.records import EgoStates, LightStates, Log, Observations
from simulation import observe
from simulation.observe import USUAL, Senses
from simulation.rare import BEHAVIOURS, NEAR_M, Happened, Script
from simulation.roads import ROADS, Network, build
from simulation.sensors import frames_of_world, payloads_of, sensors_of_world
from simulation.traffic import DT, Climate, Step, Traffic
from simulation.truth import Motion, Planted, Truth
from simulation.ways import Ways

DATASET = "scenelake_world"
WARM_UP_S = 12.0
STEP_NS = 100_000_000
SENSOR_EVERY = 5  # steps between captures
WRITERS = {"argoverse2_sensor": "formats.argoverse2_sensor"}
"""Formats that whole logs can be written in, with the module whose ``write_log`` does it."""
ATTEMPTS = 40  # draws from one seed until what was asked for happens
CASTINGS = 6  # moments in one traffic that are tried
MOVES_M = 25.0  # an ordinary ego that gets less far in 20 s tells nothing
MIN_ROWS = 5  # a track seen for less is not reported

SHARES = {
    "straight": 0.09,
    "curve": 0.08,
    "residential": 0.12,
    "highway": 0.13,
    "signalled": 0.3,
    "unsignalled": 0.1,
    "all_way_stop": 0.08,
    "roundabout": 0.1,
}
CONGESTED = {
    "straight": 0.25,
    "curve": 0.2,
    "residential": 0.2,
    "highway": 0.4,
    "signalled": 0.15,
    "unsignalled": 0.0,
    "all_way_stop": 0.0,
    "roundabout": 0.0,
}
"""Share of logs in which traffic is held up beyond the roads' ends."""
CLIMATES: dict[Weather, Climate] = {
    Weather.CLEAR: Climate(),
    Weather.CLOUDY: Climate(),
    Weather.RAIN: Climate(speed=0.93, headway=1.15, density=0.9),
    Weather.SNOW: Climate(speed=0.82, headway=1.35, density=0.75),
    Weather.FOG: Climate(speed=0.86, headway=1.25, density=0.85),
}
WEATHER_SHARES = (0.45, 0.25, 0.15, 0.08, 0.07)
DAYLIGHT_SHARES = (0.6, 0.18, 0.22)
SOURCE_CLASSES = {
    AgentClass.VEHICLE: "REGULAR_VEHICLE",
    AgentClass.TRUCK: "BOX_TRUCK",
    AgentClass.BUS: "BUS",
    AgentClass.MOTORCYCLE: "MOTORCYCLE",
    AgentClass.CYCLIST: "BICYCLIST",
    AgentClass.PEDESTRIAN: "PEDESTRIAN",
    AgentClass.OBSTACLE: "CONSTRUCTION_BARREL",
}
"""In the words of Argoverse 2, in whose layout logs are written."""
HELD_OUT = (
    *SHARES, *(weather.word for weather in CLIMATES), *BEHAVIOURS,
    *(cls.word for cls in SOURCE_CLASSES if cls not in (AgentClass.VEHICLE, AgentClass.OBSTACLE)),
)  # fmt: skip
"""What can be held out of a world: kinds of road, weathers and classes of road users, which then occur
in no log, and behaviours, which then are planted in none. Ordinary traffic may still brake hard or pass
closely: scenes in which it is seen to, ``never hard_brake(_) unknown as true`` leaves out (docs/query.md).
"""


def make_log(
    seed: int,
    *,
    road: str | None = None,
    rare: str | None = None,
    duration_s: float = 20.0,
    senses: Senses = USUAL,
    without: Collection[str] = (),
) -> tuple[Log, Truth]:
    """A log of the procedural world.

    Args:
        seed: Determines everything.
        road: Kind of road, drawn if None.
        rare: Behaviour to plant; None for ordinary traffic.
        duration_s: Of the recording [s].
        senses: How the ego perceives it.
        without: What is held out, see ``HELD_OUT``.

    Returns:
        The log as a reader would yield it, and the truth about it.

    Raises:
        UnknownName: There is no such road, behaviour, or thing to hold out.
        BadSetting: The behaviour cannot happen on that kind of road, or without what is held out.
        MissingData: No traffic drawn from the seed let the behaviour happen.
    """
    if rare is not None and rare not in BEHAVIOURS:
        raise UnknownName("rare behaviour", rare, BEHAVIOURS)
    check_held_out(without, rare)
    possible = tuple(k for k in (BEHAVIOURS[rare].roads if rare else SHARES) if k not in without)
    if road is not None and road not in ROADS:
        raise UnknownName("road", road, ROADS)
    if not possible or (road is not None and road not in possible):
        what = f"`{rare}`" if rare else "Ordinary driving"
        where = f" on a road of kind `{road}`" if road else ""
        left = f" without {', '.join(sorted(without))}" if without else ""
        raise BadSetting(
            f"{what} cannot happen{where}{left}.",
            hint=f"It can on: {', '.join(possible) or 'none that is left'}.",
        )
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        made = _attempt(seed, rng, (road,) if road else possible, rare, duration_s, without)
        if made is not None:
            return made if senses == USUAL else sensed(*made, senses)
    raise MissingData(
        f"No traffic drawn from seed {seed} let `{rare or 'ordinary'}` driving happen.",
        hint="Try another seed.",
    )


def draw_weather(rng: np.random.Generator, without: Collection[str]) -> Weather:
    """One of those that are not held out."""
    share = np.array(
        [s * (w.word not in without) for s, w in zip(WEATHER_SHARES, CLIMATES, strict=True)]
    )
    return list(CLIMATES)[int(rng.choice(len(share), p=share / share.sum()))]


def check_held_out(without: Collection[str], rare: str | None) -> None:
    """Refuse what cannot be held out, and a behaviour that is.

    Raises:
        UnknownName: There is no such thing to hold out.
        BadSetting: Every weather is held out, or the behaviour or who does it.
    """
    for name in without:
        if name not in HELD_OUT:
            raise UnknownName("thing to hold out", name, HELD_OUT)
    if {w.word for w in CLIMATES} <= set(without):
        raise BadSetting("Every weather is held out.", hint="Leave one.")
    if rare is not None and (rare in without or BEHAVIOURS[rare].by.word in without):
        raise BadSetting(
            f"`{rare}` cannot be planted, for it is held out.",
            hint=f"Held out are: {', '.join(sorted(without))}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldReport:
    """What ``write_world`` did.

    Attributes:
        logs: How many logs the folder now holds of those that were asked for.
        written: How many of them were written now; the others were there.
        planted: How many logs hold each rare behaviour.
        truth: The file that tells what is known of each log.
    """

    logs: int
    written: int
    planted: dict[str, int]
    truth: Path


def write_world(
    folder: str | Path,
    *,
    logs: int,
    seed: int,
    format: str = "argoverse2_sensor",
    sensors: bool = False,
    rare_rate: float = 0.2,
    rates: Mapping[str, float] | None = None,
    senses: Senses = USUAL,
    without: Collection[str] = (),
    jobs: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> WorldReport:
    """Logs of the world as files, and ``truth.json`` beside them.

    Log ``i`` is that of seed ``seed + i``. Logs that are complete are kept, so a run that was
    interrupted, or is asked for more logs, goes on where it was; a log appears under its name only
    once it is whole. What is kept was made with the settings asked for: ``truth.json`` tells with
    which each log was made (``made_with``).

    Args:
        folder: Where each log gets a folder of its own; made if it is missing.
        logs: How many.
        seed: Of the first.
        format: A format that whole logs can be written in.
        sensors: Camera images and lidar sweeps too, twice a second.
        rare_rate: Share of logs in which a rare behaviour is planted, any as likely as another.
        rates: Instead, the share of logs by behaviour.
        senses: How the ego perceives the world.
        without: What is held out, see ``HELD_OUT``: roads, weathers and classes occur in no log,
            behaviours are planted in none.
        jobs: Processes to spread the logs over.
        progress: Told (done, total) now and then.

    Raises:
        UnknownName: Whole logs cannot be written in this format, or there is no such behaviour or
            thing to hold out.
        BadSetting: The shares come to more than 1, everything is held out, or the folder holds
            some of these logs made with other settings, or nothing tells with which.
        StorageFull: The disk is full or read-only.
    """
    if format not in WRITERS:
        raise UnknownName("format for whole logs", format, WRITERS)
    chances = _chances(rare_rate, rates, without)
    folder = Path(folder)
    truth_path = folder / "truth.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = _known_truth(truth_path)
        orders = [
            _Order(folder, seed + i, format, sensors, chances, senses, tuple(without))
            for i in range(logs)
        ]
        there = {order.name for order in orders if (folder / order.name).is_dir()}
        if not truth_path.exists():
            if there:
                raise _made_otherwise(folder, "nothing tells how they were made")
            _write_json(truth_path, {"logs": known})
        todo = [order for order in orders if order.name not in known or order.name not in there]
        for name in sorted(there & known.keys()):
            _refuse_other_settings(folder, known[name].get("made_with"), orders[0].settings)
        done = logs - len(todo)
        if progress is not None:
            progress(done, logs)
        for name, truth in _carry_out(todo, jobs):
            known[name] = truth
            _write_json(truth_path, {"logs": dict(sorted(known.items()))})
            done += 1
            if progress is not None:
                progress(done, logs)
    except OSError as error:
        raise StorageFull(
            str(folder), f"cannot be written ({error.strerror or error}).", hint="Free some space."
        ) from error
    wanted = [known[log_id(seed + i)] for i in range(logs)]
    names = [planted["name"] for truth in wanted for planted in truth["planted"]]
    return WorldReport(
        logs=logs, written=len(todo), truth=truth_path,
        planted={name: names.count(name) for name in BEHAVIOURS if name in names},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Order:
    """One log to be written."""

    folder: Path
    seed: int
    format: str
    sensors: bool
    chances: Mapping[str, float]
    senses: Senses
    without: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the log."""
        return log_id(self.seed)

    @property
    def settings(self) -> dict[str, Any]:
        """Whatever else than the seed decides what the log holds, as JSON values."""
        return {
            "format": self.format, "sensors": self.sensors, **asdict(self.senses),
            "without": sorted(set(self.without)), "rates": dict(self.chances),
        }  # fmt: skip


def _refuse_other_settings(
    folder: Path, made: dict[str, Any] | None, asked: dict[str, Any]
) -> None:
    """Logs of one name must be the same logs."""
    if made is None:
        raise _made_otherwise(folder, "nothing tells how they were made")
    if made != asked:
        there, wanted = _flat(made), _flat(asked)
        raise _made_otherwise(
            folder,
            "they were made with other settings: " + ", ".join(
                f"{name} {there.get(name, 0)} (asked is {wanted.get(name, 0)})"
                for name in sorted(there.keys() | wanted.keys())
                if there.get(name) != wanted.get(name)
            ),
            instead=", or the settings that they were made with",
        )  # fmt: skip


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with a row for each behaviour's share of logs."""
    rates = {f"rate of {name}": share for name, share in settings["rates"].items()}
    return {name: value for name, value in settings.items() if name != "rates"} | rates


def _made_otherwise(folder: Path, why: str, *, instead: str = "") -> BadSetting:
    return BadSetting(
        f"{folder} holds some of these logs, but {why}.",
        hint=f"Choose another folder or other seeds{instead}.",
    )


def _carry_out(orders: list[_Order], jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if jobs <= 1 or len(orders) < 2:
        yield from map(_write_one, orders)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_write_one, order) for order in orders]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _write_one(order: _Order) -> tuple[str, dict[str, Any]]:
    """One log, under a hidden name until it is whole; its name and truth."""
    log, truth = draw_log(
        order.seed, rates=order.chances, senses=order.senses, without=order.without
    )
    name = log.source_log_id
    if order.sensors:
        frames = frames_of_world(log, camera_every=SENSOR_EVERY, lidar_every=SENSOR_EVERY)
        log = replace(log, sensors=sensors_of_world(), frames=frames)
    partial = order.folder / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    payloads = payloads_of(log, seed=order.seed) if order.sensors else None
    write_log = importlib.import_module(WRITERS[order.format]).write_log
    made = write_log(log, partial, payloads=payloads)
    shutil.rmtree(order.folder / name, ignore_errors=True)
    made.rename(order.folder / name)
    shutil.rmtree(partial, ignore_errors=True)
    return name, {**truth.as_json(), "made_with": order.settings}


def draw_log(
    seed: int,
    *,
    rare_rate: float = 0.0,
    rates: Mapping[str, float] | None = None,
    senses: Senses = USUAL,
    without: Collection[str] = (),
) -> tuple[Log, Truth]:
    """A log in which, with the given probabilities, some rare behaviour is planted.

    See :func:`write_world` for what can be set. Where a seed's traffic does not let the drawn
    behaviour happen, another of those with a share is planted.
    """
    chances = _chances(rare_rate, rates, without)
    rng = np.random.default_rng([seed, 1_000_003])
    total = sum(chances.values())
    if chances and rng.random() < total:
        share = np.array(list(chances.values())) / total
        for name in rng.choice(list(chances), len(share), replace=False, p=share):
            try:
                return make_log(seed, rare=str(name), senses=senses, without=without)
            except MissingData:
                continue  # this behaviour needs other traffic than the seed has
    return make_log(seed, senses=senses, without=without)


def _chances(
    rare_rate: float, rates: Mapping[str, float] | None, without: Collection[str]
) -> dict[str, float]:
    """Share of logs by behaviour, in one order; only what can be planted, and more than never."""
    check_held_out(without, None)
    for name in rates or ():
        if name not in BEHAVIOURS:
            raise UnknownName("rare behaviour", name, BEHAVIOURS)
    if rates is None:
        left = [
            name for name, script in BEHAVIOURS.items()
            if name not in without and script.by.word not in without
            and not set(script.roads) <= set(without)
        ]  # fmt: skip
        rates = dict.fromkeys(left, rare_rate / max(len(left), 1))
    else:
        for name in rates:
            check_held_out(without, name)
    if min(rates.values(), default=0.0) < 0.0 or sum(rates.values()) > 1.0 + 1e-9:
        raise BadSetting(
            f"Shares of logs by behaviour come to {sum(rates.values()):g}.",
            hint="Each is at least 0, and together they are at most 1.",
        )
    return {name: rates[name] for name in BEHAVIOURS if rates.get(name, 0.0) > 0.0}


def _known_truth(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["logs"]
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            path, f"is not the truth of a world ({error})", hint="Choose another folder."
        ) from error
    return known


def _write_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
    partial.replace(path)


def _attempt(
    seed: int, rng: np.random.Generator, roads: Sequence[str], rare: str | None, duration_s: float,
    without: Collection[str],
) -> tuple[Log, Truth] | None:  # fmt: skip
    """One draw; None if the behaviour did not come about, or somebody collided."""
    share = np.array([SHARES[road] for road in roads])
    road = roads[int(rng.choice(len(roads), p=share / share.sum()))]
    weather = draw_weather(rng, without)
    daylight = Daylight(int(rng.choice(len(DAYLIGHT_SHARES), p=DAYLIGHT_SHARES)))
    network = build(road, rng)
    if rare and not BEHAVIOURS[rare].fits(network):
        return None
    climate = replace(CLIMATES[weather], absent=frozenset(without))
    traffic = warm_traffic(network, rng, climate)
    egos = choose_egos(traffic, duration_s)
    script = None
    if rare:
        egos, script = cast(traffic, rare, egos, duration_s)
    if not egos or (rare and script is None):
        return None
    told = Told(seed=seed, road=road, weather=weather, daylight=daylight)
    return recorded(traffic, told, [script.ego if script else egos[0]], script, duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is drawn of a log before anyone drives.

    Attributes:
        seed: That its ids are made of.
        road: Kind of road.
        weather: That traffic was warmed up in.
        daylight: Of the recording.
    """

    seed: int
    road: str
    weather: Weather
    daylight: Daylight


def recorded(
    traffic: Traffic, told: Told, egos: Sequence[int], script: Script | None, duration_s: float
) -> tuple[Log, Truth] | None:
    """What happens from now on, as a log; None if it is of no use.

    Of no use is that somebody collides, that every ego leaves or hardly moves, or that the behaviour
    does not come about or is not seen.

    Args:
        traffic: In full flow; it goes on.
        told: Of the log.
        egos: Slots of who might record; the first who stays and gets along does.
        script: Of the behaviour to plant.
        duration_s: [s].
    """
    seed, count = told.seed, round(duration_s / DT) + 1
    steps, lights = record(traffic, script, count)
    ego = _first_of_use(traffic, egos, steps, 0.0 if script else MOVES_M * duration_s / 20.0)
    if ego is None:
        return None
    motion = motion_of(traffic, int(traffic.uid[ego]), steps, seed)
    if motion.collisions():
        return None
    planted: tuple[Planted, ...] = ()
    if script is not None:
        happened = script.happened(traffic)
        found = (
            None
            if happened is None
            else _planted(script.name, happened, motion, traffic, ego, seed)
        )
        if found is None:
            return None
        planted = (found,)
    truth = Truth(
        seed=seed, road=told.road, weather=told.weather, daylight=told.daylight, planted=planted,
        motion=motion,
    )  # fmt: skip
    return compose(traffic.network, truth, lights, traffic.rng), truth


def _first_of_use(
    traffic: Traffic, egos: Sequence[int], steps: list[Step], moves_m: float
) -> int | None:
    """Who is there at every step and drives at least so far [m]."""
    everyone = np.concatenate([step.uid for step in steps])
    there = np.bincount(everyone)
    way = np.bincount(everyone, weights=np.concatenate([step.speed for step in steps])) * DT
    uids = ((ego, int(traffic.uid[ego])) for ego in egos)
    return next(
        (ego for ego, uid in uids if there[uid] == len(steps) and way[uid] >= moves_m), None
    )


def cast(
    traffic: Traffic, rare: str, egos: list[int], duration_s: float
) -> tuple[list[int], Script | None]:
    """Egos and the script of a behaviour, now or within seconds; None if nobody can play it."""
    script = BEHAVIOURS[rare].cast(traffic, egos)
    for _ in range(CASTINGS if script is None else 0):
        for _ in range(round(2.0 / DT)):
            traffic.step()
        egos = choose_egos(traffic, duration_s)
        script = BEHAVIOURS[rare].cast(traffic, egos)
        if script is not None:
            break
    return egos, script


def _planted(
    name: str, happened: Happened, motion: Motion, traffic: Traffic, ego: int, seed: int
) -> Planted | None:
    """The behaviour under the log's own ids, if the ego saw who did it, and near enough."""
    ids = tuple("ego" if u == traffic.uid[ego] else track_id(seed, u) for u in happened.actors)
    row = motion.source_track_id.index(ids[0])
    window = slice(round(happened.t0 / DT), round(happened.t1 / DT) + 1)
    seen = motion.observed[row, window]
    distance = np.linalg.norm(motion.xy[row, window] - motion.xy[0, window], axis=-1)
    if seen.sum() < min(len(seen), 5) or distance.min() > NEAR_M:
        return None
    return Planted(
        name=name, actors=ids, t0_ns=round(happened.t0 / DT) * STEP_NS,
        t1_ns=round(happened.t1 / DT) * STEP_NS, measure=happened.measure,
    )  # fmt: skip


def warm_traffic(
    network: Network, rng: np.random.Generator, climate: Climate, *, ways: Ways | None = None
) -> Traffic:
    """Traffic in full flow.

    Args:
        network: The roads.
        rng: Source of chance.
        climate: Of the day.
        ways: Through the network, if they are at hand.
    """
    traffic = Traffic(network, rng, climate, ways=ways)
    highway = network.kind == "highway"
    crowded = network.kind in ("unsignalled", "all_way_stop", "roundabout")
    spacing = float(rng.uniform(5.0, 60.0) if highway else rng.uniform(5.0, 40.0))
    spacing *= 1.6 if crowded else 1.0
    walkers = int(rng.integers(3, 9) if crowded else rng.integers(6, 15))
    if rng.random() < CONGESTED[network.kind]:
        limit = max(lane.speed_limit for lane in network.lanes)
        traffic.outflow = float(rng.uniform(0.12, 0.65)) * limit
        spacing = float(rng.uniform(1.0, 12.0))
    traffic.populate(spacing / climate.density, 60.0, walkers)
    for _ in range(round((6.0 if highway else WARM_UP_S) / DT)):
        traffic.step()
    return traffic


def choose_egos(traffic: Traffic, duration_s: float) -> list[int]:
    """Slots of the cars that stay on the road for the whole recording, most to see first."""
    rows = np.flatnonzero(traffic.alive & (traffic.cls == AgentClass.VEHICLE))
    way = traffic.way[rows]
    allowed = traffic.ways.allowed[way, traffic.ways.cell(traffic.s[rows])]
    reach = np.maximum(traffic.v[rows], 0.8 * allowed) * duration_s + 15.0
    stays = traffic.ways.length[way] - traffic.s[rows] > reach
    x, y, _ = traffic.poses(rows)
    everyone = traffic.look()
    near = np.hypot(everyone.x[None] - x[:, None], everyone.y[None] - y[:, None]) < 45.0
    # Best is to come to the junction within the first half of the recording.
    ahead = (traffic.ways.enter[way] - traffic.s[rows]) / np.maximum(
        traffic.v[rows], 0.5 * allowed
    )
    score = np.minimum(near.sum(axis=1), 25) + 14.0 * ((ahead > 1.5) & (ahead < 9.0))
    score = score - 8.0 * (traffic.v[rows] < 1.0) + traffic.rng.uniform(0.0, 8.0, len(rows))
    order = np.argsort(-score, kind="stable")
    return [int(rows[k]) for k in order if stays[k]]


def record(traffic: Traffic, script: Script | None, count: int) -> tuple[list[Step], list[Array]]:
    """``count`` looks at traffic, ``DT`` apart, and the signals at each."""
    steps, lights = [traffic.look()], [traffic.light()]
    for k in range(1, count):
        if script is not None:
            script.act(traffic, round((k - 1) * DT, 6))
        traffic.step()
        steps.append(traffic.look())
        lights.append(traffic.light())
    return steps, lights


def compose(network: Network, truth: Truth, lights: list[Array], rng: np.random.Generator) -> Log:
    """What the ego would report of it, as a log in the world frame."""
    motion, seed = truth.motion, truth.seed
    count = len(lights)
    t_ns = np.arange(count, dtype=np.int64) * STEP_NS
    ego_size = (float(motion.size[0, 0]), float(motion.size[0, 1]), float(motion.size[0, 2]))
    heading = np.stack([np.cos(motion.yaw[0]), np.sin(motion.yaw[0])], axis=-1)
    states = EgoStates(
        t_ns=t_ns,
        xyz=np.column_stack([motion.xy[0], np.full(count, network.z + ego_size[2] / 2)]),
        yaw=motion.yaw[0],
        size=ego_size,
        velocity=motion.speed[0][:, None] * heading,
        acceleration=motion.acceleration[0],
        yaw_rate=np.gradient(np.unwrap(motion.yaw[0]), DT),
    )
    return Log(
        dataset=DATASET,
        source_log_id=log_id(seed),
        source_uri=f"scenelake-world:{seed}",
        rate_hz=1.0 / DT,
        ego=states,
        agents=_observations(motion, network.z, rng),
        map=network.map,
        lights=_light_states(network, lights, t_ns),
        split="train",
        location=f"world-{network.kind}",
        weather=truth.weather,
        daylight=truth.daylight,
        license="Apache-2.0",
        extra={"seed": seed, "road": network.kind},
    )


def log_id(seed: int) -> str:
    """Name of a log."""
    return f"world-{seed:06d}"


def track_id(seed: int, uid: int) -> str:
    """Source id of an agent, in the shape that Argoverse 2 gives its own."""
    return str(uuid.UUID(int=(0x5CE0 << 112) | (seed % 2**64 << 32) | uid))


def motion_of(traffic: Traffic, ego_uid: int, steps: list[Step], seed: int) -> Motion:
    """The recorded steps as dense arrays in the world frame, the ego first."""
    uids = np.unique(np.concatenate([step.uid for step in steps]))
    uids = np.concatenate([[ego_uid], uids[uids != ego_uid]])
    row_of = np.zeros(uids.max() + 1, dtype=np.int64)
    row_of[uids] = np.arange(len(uids))
    shape = (len(uids), len(steps))
    x, y, yaw, speed, acceleration = (np.zeros(shape) for _ in range(5))
    present = np.zeros(shape, dtype=bool)
    row = row_of[np.concatenate([step.uid for step in steps])]
    at = np.repeat(np.arange(len(steps)), [len(step.uid) for step in steps])
    for array, name in (
        (x, "x"), (y, "y"), (yaw, "yaw"), (speed, "speed"), (acceleration, "acceleration")
    ):  # fmt: skip
        array[row, at] = np.concatenate([getattr(step, name) for step in steps])
    present[row, at] = True
    agents = traffic.agents()
    cls = tuple(agents[int(uid)][0] for uid in uids)
    size = np.array([agents[int(uid)][1] for uid in uids])
    extents = np.repeat(size[:, None, :2], len(steps), axis=1)
    boxes = np.concatenate([np.stack([x, y, yaw], axis=-1), extents], axis=-1)
    world_from_local = traffic.network.world_from_local
    return Motion(
        source_track_id=("ego", *(track_id(seed, int(uid)) for uid in uids[1:])),
        cls=cls,
        source_cls=tuple(
            traffic.words.get(int(uid), SOURCE_CLASSES[c])
            for uid, c in zip(uids, cls, strict=True)
        ),
        size=size,
        xy=world_from_local.apply(np.stack([x, y], axis=-1)),
        yaw=world_from_local.turn(yaw),
        speed=speed,
        acceleration=acceleration,
        present=present,
        observed=observe.visible(boxes, size[:, 2], present, 0),
    )


def as_it_was(log: Log, truth: Truth) -> Log:
    """The log with all who were there where they truly were: no noise, range or line of sight."""
    return replace(log, agents=_exactly(log, truth.motion, truth.motion.present))


def sensed(log: Log, truth: Truth, senses: Senses) -> tuple[Log, Truth]:
    """The log as an ego of other senses reports it; the truth tells who is observed then."""
    motion = truth.motion
    if not senses.occlusion:
        away = np.linalg.norm(motion.xy - motion.xy[:1], axis=-1)
        within = motion.present & (away <= observe.RANGE_M)
        within[0] = False
        motion = replace(motion, observed=within)
    if senses.noise:
        rng = np.random.default_rng([truth.seed, 1_000_033])
        agents = _observations(motion, _ground(log), rng)
    else:
        agents = _exactly(log, motion, motion.observed)
    return replace(log, agents=agents), replace(truth, motion=motion)


def _ground(log: Log) -> float:
    assert log.ego is not None, "who records the world is in it"
    return float(log.ego.xyz[0, 2]) - log.ego.size[2] / 2


def _exactly(log: Log, motion: Motion, shown: Array) -> Observations:
    """Everyone but the ego without noise, at the steps at which they are shown."""
    z = _ground(log)
    kept = 1 + np.flatnonzero(shown[1:].any(axis=1))
    row, step = np.nonzero(shown[kept])
    track = kept[row]
    size = motion.size[track]
    return Observations(
        track=row.astype(np.int64),
        t_ns=step.astype(np.int64) * STEP_NS,
        xyz=np.column_stack([motion.xy[track, step], z + size[:, 2] / 2]),
        yaw=motion.yaw[track, step],
        size=size,
        source_track_id=tuple(motion.source_track_id[k] for k in kept),
        source_cls=tuple(motion.source_cls[k] for k in kept),
        cls=tuple(motion.cls[k] for k in kept),
    )


def _observations(motion: Motion, z: float, rng: np.random.Generator) -> Observations:
    seen = motion.observed & (motion.observed.sum(axis=1) >= MIN_ROWS)[:, None]
    kept = np.flatnonzero(seen.any(axis=1))
    count = motion.xy.shape[1]
    noise = [observe.tracking_noise((len(kept), count), rng) for _ in range(3)]
    grow = 1.0 + observe.SIGMA_SIZE_M * rng.standard_normal((len(kept), 3)) / motion.size[kept]
    size = motion.size[kept] * grow
    row, step = np.nonzero(seen[kept])
    track = kept[row]
    xy = motion.xy[track, step]
    x = xy[:, 0] + observe.SIGMA_XY_M * noise[0][row, step]
    y = xy[:, 1] + observe.SIGMA_XY_M * noise[1][row, step]
    yaw = motion.yaw[track, step] + observe.SIGMA_YAW * noise[2][row, step]
    return Observations(
        track=row.astype(np.int64),
        t_ns=step.astype(np.int64) * STEP_NS,
        xyz=np.stack([x, y, z + size[row, 2] / 2], axis=-1),
        yaw=np.pi - np.mod(np.pi - yaw, 2 * np.pi),
        size=size[row],
        source_track_id=tuple(motion.source_track_id[k] for k in kept),
        source_cls=tuple(motion.source_cls[k] for k in kept),
        cls=tuple(motion.cls[k] for k in kept),
    )


def _light_states(network: Network, lights: list[Array], t_ns: Array) -> LightStates:
    """One row a controlled lane and step."""
    lanes = [i for i, lane in enumerate(network.lanes) if lane.group >= 0]
    if not lanes:
        return LightStates.none()
    shown = np.stack(lights)  # steps × groups
    ids: list[str] = []
    state, stop = [], []
    for i in lanes:
        lane = network.lanes[i]
        xy = network.world_from_local.apply(lane.curve.xy[:1])[0]
        ids += [network.map.features[network.lane_feature[i]].source_id] * len(t_ns)
        state.append(shown[:, lane.group])
        stop.append(np.tile([xy[0], xy[1], network.z], (len(t_ns), 1)))
    code = np.concatenate(state).astype(np.int64)
    no = np.zeros(len(code), dtype=bool)
    return LightStates(
        source_lane_id=ids, t_ns=np.tile(t_ns, len(lanes)), state=code,
        source_state=[LightState(int(c)).name for c in code], arrow=no, flashing=no,
        stop_xyz=np.concatenate(stop),
    )  # fmt: skip

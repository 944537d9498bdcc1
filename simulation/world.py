"""The procedural world: a seed becomes a drive log with map, lights, conditions and the truth.

``make_log`` draws a road and conditions, warms traffic up, picks one of its cars as the ego and
records what that car would report. Rare behaviours (:mod:`simulation.rare`) are planted, measured,
and kept only where the measurement says that they happened.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass, Daylight, LightState, Weather
from schemas.records import EgoStates, LightStates, Log, Observations
from simulation import observe
from simulation.roads import ROADS, Network, build
from simulation.traffic import DT, KINDS, Climate, Step, Traffic

DATASET = "scenelake_world"
WARM_UP_S = 12.0
STEP_NS = 100_000_000
MIN_ROWS = 5  # a track seen for less is not reported

SHARES = {
    "straight": 0.14,
    "curve": 0.14,
    "highway": 0.18,
    "signalled": 0.24,
    "unsignalled": 0.15,
    "roundabout": 0.15,
}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A rare behaviour that happens in a log.

    Attributes:
        name: As in ``simulation.rare.BEHAVIOURS``.
        actors: Source track ids, whoever does it first; the ego is ``"ego"``.
        t0_ns: Begin [ns].
        t1_ns: End [ns].
        measure: What was measured of it, by name, SI units.
    """

    name: str
    actors: tuple[str, ...]
    t0_ns: int
    t1_ns: int
    measure: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """The true motion of everyone, seen or not, in the world frame.

    Attributes:
        source_track_id: Of each agent; the ego's is ``"ego"``.
        cls: Of each agent.
        size: (length, width, height) [m].
        xy: [m].
        yaw: [rad].
        speed: [m/s].
        acceleration: Along the heading [m/s²].
        present: Whether the agent exists at the step; if not, its other values mean nothing.
        observed: Whether the log has a row for it.
    """

    source_track_id: tuple[str, ...]
    cls: tuple[AgentClass, ...]
    size: Float[Array, "agents 3"]
    xy: Float[Array, "agents steps 2"]
    yaw: Float[Array, "agents steps"]
    speed: Float[Array, "agents steps"]
    acceleration: Float[Array, "agents steps"]
    present: Bool[Array, "agents steps"]
    observed: Bool[Array, "agents steps"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What is known of a log because it was made.

    Attributes:
        seed: That made it.
        road: Kind of road.
        weather: Drawn for it.
        daylight: Drawn for it.
        planted: Rare behaviours that happen.
        motion: Of everyone.
    """

    seed: int
    road: str
    weather: Weather
    daylight: Daylight
    planted: tuple[Planted, ...]
    motion: Motion


def make_log(
    seed: int, *, road: str | None = None, rare: str | None = None, duration_s: float = 20.0
) -> tuple[Log, Truth]:
    """A log of the procedural world.

    Args:
        seed: Determines everything.
        road: Kind of road, drawn if None.
        rare: Behaviour to plant; None for ordinary traffic.
        duration_s: Of the recording [s].

    Returns:
        The log as a reader would yield it, and the truth about it.
    """
    rng = np.random.default_rng([seed, 0])
    if road is None:
        kinds = list(SHARES)
        road = kinds[int(rng.choice(len(kinds), p=list(SHARES.values())))]
    weather = Weather(int(rng.choice(len(WEATHER_SHARES), p=WEATHER_SHARES)))
    daylight = Daylight(int(rng.choice(len(DAYLIGHT_SHARES), p=DAYLIGHT_SHARES)))
    network = build(road, rng)
    traffic = warm_traffic(network, rng, CLIMATES[weather])
    ego = choose_ego(traffic, duration_s)
    steps, lights = record(traffic, ego, round(duration_s / DT) + 1)
    return compose(
        traffic, ego, steps, lights, seed=seed, rng=rng, weather=weather, daylight=daylight
    )


def warm_traffic(network: Network, rng: np.random.Generator, climate: Climate) -> Traffic:
    """Traffic in full flow."""
    traffic = Traffic(network, rng, climate)
    highway = network.kind == "highway"
    spacing = float(rng.uniform(25.0, 55.0) if highway else rng.uniform(12.0, 35.0))
    traffic.populate(spacing / climate.density, 60.0, int(rng.integers(6, 16)))
    for _ in range(round((6.0 if highway else WARM_UP_S) / DT)):
        traffic.step()
    return traffic


def choose_ego(traffic: Traffic, duration_s: float) -> int:
    """Slot of the car with most to see that stays on the road for the whole recording."""
    rows = np.flatnonzero(traffic.alive & (traffic.cls == AgentClass.VEHICLE))
    way = traffic.way[rows]
    allowed = traffic.ways.allowed[way, traffic.ways.cell(traffic.s[rows])]
    reach = np.maximum(traffic.v[rows], 0.75 * allowed) * duration_s + 15.0
    left = traffic.ways.length[way] - traffic.s[rows]
    x, y, _ = traffic.poses(rows)
    everyone = traffic.look()
    near = np.hypot(everyone.x[None] - x[:, None], everyone.y[None] - y[:, None]) < 45.0
    ahead = traffic.ways.enter[way] - traffic.s[rows]
    score = near.sum(axis=1) + 6.0 * ((ahead > 10.0) & (ahead < 130.0))
    score = score - 8.0 * (traffic.v[rows] < 1.0) + traffic.rng.uniform(0.0, 6.0, len(rows))
    score = np.where(left > reach, score, score - 1e3 - (reach - left))
    return int(rows[score.argmax()])


def record(traffic: Traffic, ego: int, count: int) -> tuple[list[Step], list[Array]]:
    """``count`` looks at traffic, ``DT`` apart, and the signals at each."""
    steps, lights = [traffic.look()], [traffic.light()]
    for _ in range(count - 1):
        traffic.step()
        steps.append(traffic.look())
        lights.append(traffic.light())
    return steps, lights


def compose(
    traffic: Traffic,
    ego: int,
    steps: list[Step],
    lights: list[Array],
    *,
    seed: int,
    rng: np.random.Generator,
    weather: Weather,
    daylight: Daylight,
    planted: tuple[Planted, ...] = (),
) -> tuple[Log, Truth]:
    """What was recorded, as a log in the world frame with its truth."""
    motion = _motion(traffic, int(traffic.uid[ego]), steps, seed)
    network, count = traffic.network, len(steps)
    t_ns = np.arange(count, dtype=np.int64) * STEP_NS
    ego_size = (float(motion.size[0, 0]), float(motion.size[0, 1]), float(motion.size[0, 2]))
    heading = np.stack([np.cos(motion.yaw[0]), np.sin(motion.yaw[0])], axis=-1)
    yaw_rate = np.gradient(np.unwrap(motion.yaw[0]), DT)
    states = EgoStates(
        t_ns=t_ns,
        xyz=np.column_stack([motion.xy[0], np.full(count, network.z + ego_size[2] / 2)]),
        yaw=motion.yaw[0],
        size=ego_size,
        velocity=motion.speed[0][:, None] * heading,
        acceleration=motion.acceleration[0],
        yaw_rate=yaw_rate,
    )
    log = Log(
        dataset=DATASET,
        source_log_id=log_id(seed, network.kind),
        source_uri=f"scenelake-world:{seed}",
        rate_hz=1.0 / DT,
        ego=states,
        agents=_observations(motion, network.z, rng),
        map=network.map,
        lights=_light_states(network, lights, t_ns),
        split="train",
        location=f"world-{network.kind}",
        weather=weather,
        daylight=daylight,
        license="Apache-2.0",
        extra={"seed": seed, "road": network.kind},
    )
    truth = Truth(
        seed=seed, road=network.kind, weather=weather, daylight=daylight, planted=planted, motion=motion
    )  # fmt: skip
    return log, truth


def log_id(seed: int, road: str) -> str:
    """Name of a log."""
    return f"world-{seed:06d}-{road}"


def track_id(seed: int, uid: int) -> str:
    """Source id of an agent, in the shape that Argoverse 2 gives its own."""
    return str(uuid.UUID(int=(0x5CE0 << 112) | (seed % 2**64 << 32) | uid))


def _motion(traffic: Traffic, ego_uid: int, steps: list[Step], seed: int) -> Motion:
    uids = np.unique(np.concatenate([step.uid for step in steps]))
    uids = np.concatenate([[ego_uid], uids[uids != ego_uid]])
    order = np.argsort(uids)
    shape = (len(uids), len(steps))
    x, y, yaw, speed, acceleration = (np.zeros(shape) for _ in range(5))
    present = np.zeros(shape, dtype=bool)
    for k, step in enumerate(steps):
        row = order[np.searchsorted(uids[order], step.uid)]
        x[row, k], y[row, k], yaw[row, k] = step.x, step.y, step.yaw
        speed[row, k], acceleration[row, k], present[row, k] = step.speed, step.acceleration, True
    agents = traffic.agents()
    cls = tuple(agents[int(uid)][0] for uid in uids)
    size = np.array([agents[int(uid)][1] for uid in uids])
    extents = np.repeat(size[:, None, :2], len(steps), axis=1)
    boxes = np.concatenate([np.stack([x, y, yaw], axis=-1), extents], axis=-1)
    world_from_local = traffic.network.world_from_local
    return Motion(
        source_track_id=("ego", *(track_id(seed, int(uid)) for uid in uids[1:])),
        cls=cls,
        size=size,
        xy=world_from_local.apply(np.stack([x, y], axis=-1)),
        yaw=world_from_local.turn(yaw),
        speed=speed,
        acceleration=acceleration,
        present=present,
        observed=observe.visible(boxes, size[:, 2], present, 0),
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
        source_cls=tuple(SOURCE_CLASSES[motion.cls[k]] for k in kept),
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


__all__ = ["KINDS", "ROADS", "Motion", "Planted", "Truth", "make_log"]

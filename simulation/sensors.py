"""Sensors of the procedural world: a drawn front camera and a ray-cast lidar.

Both look at a :class:`~schemas.records.Log` as it stands at one time: its map (with the scenery
that follows from it), its road users, its signals, weather and daylight. The vehicle frame is that
of Argoverse 2, rear axle on the ground's wheels, because that is what the logs are written as.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from formats.argoverse2 import AXLE_TO_CENTRE, TYPICAL_SIZES, Poses, ego_poses
from formats.argoverse2_sensor import SWEEPS
from geometry.arrays import Array
from geometry.cameras import EGO_FROM_FORWARD_OPTICS, Pinhole
from geometry.frames import SE3, quaternion_from_rotation
from schemas.errors import MissingData
from schemas.labels import LightState
from schemas.records import EgoStates, Frame, LightStates, Log, Observations, Sensor
from simulation import camera as drawing
from simulation import lidar as casting
from simulation.scenery import Scenery, SignalHead, Thing, scenery_of, signal_heads

CAMERA = "ring_front_center"
HEADS = {"up_lidar": casting.UPPER, "down_lidar": casting.LOWER}
LIDAR = SWEEPS
WIDTH, HEIGHT = 640, 360  # [px]
FOCAL = 480.0  # [px] 67° wide
CAMERA_AT = np.array([1.63, 0.0, 1.40])  # [m] in the vehicle frame, as Argoverse 2 mounts its own
LIDARS_AT = {"up_lidar": np.array([1.35, 0.0, 1.64]), "down_lidar": np.array([1.35, 0.0, 1.56])}
BRAKING = -1.0  # [m/s²] brake lights are on below
LOOK_BACK_NS = 400_000_000  # [ns] over which braking is judged


def sensors_of_world() -> tuple[Sensor, ...]:
    """Front camera, the two heads of the roof lidar, and their merged sweeps, with calibration.

    The merged sweeps are told in the vehicle frame, so their own calibration is the identity.
    """
    looks_ahead = quaternion_from_rotation(EGO_FROM_FORWARD_OPTICS)
    upright = np.array([1.0, 0.0, 0.0, 0.0])
    return (
        Sensor(
            channel=CAMERA, kind="camera", model="pinhole", width=WIDTH, height=HEIGHT,
            intrinsics=(FOCAL, FOCAL, WIDTH / 2.0, HEIGHT * 0.47), distortion=(0.0, 0.0, 0.0),
            ego_from_sensor=np.concatenate([CAMERA_AT, looks_ahead]),
        ),
        *(
            Sensor(channel=name, kind="lidar", ego_from_sensor=np.concatenate([at, upright]))
            for name, at in LIDARS_AT.items()
        ),
        Sensor(
            channel=LIDAR, kind="lidar", ego_from_sensor=np.concatenate([np.zeros(3), upright])
        ),
    )  # fmt: skip


def frames_of_world(log: Log, *, camera_every: int = 1, lidar_every: int = 1) -> list[Frame]:
    """Captures at every n-th step of the ego, by reference to nothing yet; 0: none."""
    if log.ego is None:
        return []
    times = log.ego.t_ns.tolist()
    uri = f"render:{log.source_log_id}"
    frames = []
    if camera_every:
        frames += [Frame(channel=CAMERA, t_ns=t, uri=uri, codec="jpeg")
                   for t in times[::camera_every]]  # fmt: skip
    if lidar_every:
        frames += [Frame(channel=LIDAR, t_ns=t, uri=uri, codec="feather")
                   for t in times[::lidar_every]]  # fmt: skip
    return frames


def payloads_of(log: Log, *, seed: int = 0) -> Callable[[Frame], "bytes | np.ndarray"]:
    """What the frames of the world's sensors hold, for ``write_log``."""
    by_channel = {sensor.channel: sensor for sensor in (*sensors_of_world(), *log.sensors)}

    def payload(frame: Frame) -> bytes | np.ndarray:
        sensor = by_channel[frame.channel]
        if sensor.kind == "camera":
            return render_camera(log, frame.t_ns, sensor)
        return cast_lidar(log, frame.t_ns, sensor, seed)

    return payload


def render_camera(log: Log, t_ns: int, sensor: Sensor) -> bytes:
    """A camera's image of the log at a time, as JPEG.

    The lens is drawn as an ideal one: distortion coefficients are not applied.

    Raises:
        MissingData: The log has no ego at that time, or the sensor no calibration.
    """
    scenery, heads = scenery_of(log.map), _heads(log)
    world_from_ego, _ = _ego_at(log, t_ns)
    scenery_from_cam = _in_scenery(scenery, world_from_ego) @ _mounting(sensor)
    if len(sensor.intrinsics) != 4 or sensor.width is None or sensor.height is None:
        raise MissingData(f"The camera {sensor.channel} has no intrinsics.")
    fx, fy, cx, cy = sensor.intrinsics
    lens = Pinhole(fx=fx, fy=fy, cx=cx, cy=cy, width=sensor.width, height=sensor.height)
    rows = _rows_at(log.agents, t_ns)
    actors = drawing.Actors(
        cls=[log.agents.cls[track] for track in log.agents.track[rows]],
        xyz=log.agents.xyz[rows] - scenery.origin,
        yaw=log.agents.yaw[rows],
        size=_sizes(log.agents, rows),
        tint=np.array([_tint(log.agents.source_track_id[t]) for t in log.agents.track[rows]]),
        braking=_braking(log.agents, rows),
    )
    view = drawing.View(
        ground=scenery.ground, standing=scenery.standing, actors=actors, heads=heads,
        states=_states_at(log.lights, heads, t_ns), weather=log.weather, daylight=log.daylight,
        seed=(zlib.crc32(log.source_log_id.encode()) + t_ns) % 2**32,
    )  # fmt: skip
    return drawing.draw(view, lens, scenery_from_cam)


def cast_lidar(log: Log, t_ns: int, sensor: Sensor, seed: int) -> np.ndarray:
    """A lidar's sweep of the log at a time, as points in the vehicle frame.

    The channel ``lidar`` is both heads of the roof together, ``up_lidar`` or ``down_lidar`` is one
    of them; a lidar of another name has all 32 beams where it is mounted.

    Motion within the turn is left out: points are those of ``t_ns``, as Argoverse compensates its
    own. The field ``hit`` is the track that returned a point (its index among ``log.agents``), or
    ``lidar.GROUND``, ``lidar.AIR``, or below those, −10 and less, for things that stand.

    Raises:
        MissingData: The log has no ego at that time, or the sensor no calibration.
    """
    scenery = scenery_of(log.map)
    world_from_ego, ego = _ego_at(log, t_ns)
    ego_from_scenery = _in_scenery(scenery, world_from_ego).inverse()
    rows = _rows_at(log.agents, t_ns)
    standing = scenery.standing
    middle = ego_from_scenery.inverse().translation
    near = np.hypot(*(standing.xyz - middle)[:, :2].T) < casting.RANGE
    reflects = np.where(standing.kind[near] == Thing.SIGN, 0.9, casting.BACKGROUND)
    targets = casting.Targets(
        xyz=ego_from_scenery.apply(
            np.concatenate([log.agents.xyz[rows] - scenery.origin, standing.xyz[near]])
        ),
        yaw=np.concatenate([log.agents.yaw[rows], standing.yaw[near]]) + ego_from_scenery.yaw,
        size=np.concatenate([_sizes(log.agents, rows), standing.size[near]]),
        reflectivity=np.concatenate([
            [casting.REFLECTIVITY.get(log.agents.cls[t], casting.BACKGROUND)
             for t in log.agents.track[rows]], reflects,
        ]),
        ground_z=float(ego_from_scenery.translation[2]),
    )  # fmt: skip
    rng = np.random.default_rng([seed, t_ns, zlib.crc32(log.source_log_id.encode())])
    heads = [(_mounting(sensor), HEADS.get(sensor.channel, casting.WHOLE))]
    if sensor.channel == LIDAR:
        heads = [(SE3(np.eye(3), LIDARS_AT[name]), head) for name, head in HEADS.items()]
    points = np.concatenate(
        [casting.sweep(targets, pose, head, weather=log.weather, rng=rng) for pose, head in heads]
    )
    points = points[~_on_own_roof(points, ego)]
    _paint_intensity(points, scenery, ego_from_scenery.inverse())
    whose = np.concatenate([log.agents.track[rows], -10 - np.flatnonzero(near)])
    boxes = points["hit"] >= 0
    points["hit"][boxes] = whose[points["hit"][boxes]]
    return points


# ── The log at one time ──────────────────────────────────────────────────────────────────────────


def _ego_at(log: Log, t_ns: int) -> tuple[SE3, EgoStates]:
    """Pose of the vehicle frame in the world."""
    if log.ego is None:
        raise MissingData(f"The log {log.source_log_id} has no ego, so no sensors.")
    rotation, translation, _ = _poses(log.ego).at(np.array([t_ns], dtype=np.int64))
    if not np.isfinite(translation).all():
        raise MissingData(
            f"The log {log.source_log_id} has no pose of the ego at {t_ns} ns.",
            hint="Ask for a time between its first and last pose.",
        )
    return SE3(rotation[0], translation[0]), log.ego


@lru_cache(maxsize=8)
def _poses(ego: EgoStates) -> Poses:
    return ego_poses(ego)


def _in_scenery(scenery: Scenery, world_from_ego: SE3) -> SE3:
    return SE3(world_from_ego.rotation, world_from_ego.translation - scenery.origin)


def _mounting(sensor: Sensor) -> SE3:
    if sensor.ego_from_sensor is None:
        raise MissingData(f"Where {sensor.channel} is mounted is not known.")
    return SE3.from_quaternion(sensor.ego_from_sensor[3:], sensor.ego_from_sensor[:3])


@lru_cache(maxsize=8)
def _order(agents: Observations) -> tuple[Array, Array]:
    """Rows by time, and their times."""
    order = np.argsort(agents.t_ns, kind="stable")
    return order, agents.t_ns[order]


def _rows_at(agents: Observations, t_ns: int) -> Int[Array, " rows"]:
    """Valid observations at the time of the log nearest to the one asked for."""
    order, times = _order(agents)
    if len(times) == 0:
        return order
    after = min(int(np.searchsorted(times, t_ns)), len(times) - 1)
    before = max(after - 1, 0)
    nearest = times[after] if times[after] - t_ns <= t_ns - times[before] else times[before]
    begin, end = np.searchsorted(times, [nearest, nearest + 1])
    rows = order[begin:end]
    good = np.isfinite(agents.xyz[rows]).all(axis=1) & np.isfinite(agents.yaw[rows])
    if agents.valid is not None:
        good &= agents.valid[rows]
    return rows[good]


def _sizes(agents: Observations, rows: Array) -> Float[Array, "rows 3"]:
    size = agents.size[rows]
    typical = np.array([TYPICAL_SIZES[agents.cls[track]] for track in agents.track[rows]])
    return np.where(np.isfinite(size), size, typical.reshape(-1, 3))


def _braking(agents: Observations, rows: Array) -> Array:
    """Whether speed fell over the last moments, from the positions alone."""
    braking = np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        back = row
        while (
            back > 0
            and agents.track[back - 1] == agents.track[row]
            and agents.t_ns[row] - agents.t_ns[back - 1] <= LOOK_BACK_NS
        ):
            back -= 1
        middle = (back + row) // 2
        if back == middle or middle == row:
            continue
        early, late = (
            np.hypot(*(agents.xyz[b, :2] - agents.xyz[a, :2]))
            / ((agents.t_ns[b] - agents.t_ns[a]) * 1e-9)
            for a, b in ((back, middle), (middle, row))
        )
        span = (agents.t_ns[row] - agents.t_ns[back]) * 0.5e-9
        braking[i] = (late - early) / span < BRAKING
    return braking


def _tint(track_id: str) -> float:
    return zlib.crc32(track_id.encode()) / 2**32


@lru_cache(maxsize=8)
def _heads_of(log: Log) -> tuple[SignalHead, ...]:
    return tuple(signal_heads(log.map, log.lights, scenery_of(log.map).origin))


def _heads(log: Log) -> tuple[SignalHead, ...]:
    return _heads_of(log) if log.lights.t_ns.size else ()


def _states_at(
    lights: LightStates, heads: tuple[SignalHead, ...], t_ns: int
) -> Int[Array, " heads"]:
    """What each head shows: the latest state told of its lane."""
    rows = _light_rows(lights)
    states = np.full(len(heads), int(LightState.UNKNOWN), dtype=np.int64)
    for i, head in enumerate(heads):
        times, codes = rows[head.lanes[0]]
        last = int(np.searchsorted(times, t_ns, side="right")) - 1
        if last >= 0:
            states[i] = codes[last]
    return states


@lru_cache(maxsize=8)
def _light_rows(lights: LightStates) -> dict[str, tuple[Array, Array]]:
    lanes = np.array(list(lights.source_lane_id), dtype=object)
    rows = {}
    for lane in dict.fromkeys(lights.source_lane_id):
        own = np.flatnonzero(lanes == lane)
        own = own[np.argsort(lights.t_ns[own], kind="stable")]
        rows[lane] = (lights.t_ns[own], lights.state[own])
    return rows


# ── Points ───────────────────────────────────────────────────────────────────────────────────────


def _on_own_roof(points: np.ndarray, ego: EgoStates) -> Array:
    """Ground seen through the vehicle itself."""
    length, width, _ = ego.size
    ahead, aside = points["x"] - AXLE_TO_CENTRE, points["y"]
    inside = (np.abs(ahead) < length / 2.0) & (np.abs(aside) < width / 2.0)
    return np.asarray(inside & (points["hit"] == casting.GROUND))


def _paint_intensity(points: np.ndarray, scenery: Scenery, scenery_from_ego: SE3) -> None:
    """Paint on the ground returns more light than asphalt does."""
    ground = np.flatnonzero(points["hit"] == casting.GROUND)
    xyz = np.stack([points[axis][ground].astype(np.float64) for axis in "xyz"], axis=1)
    painted = scenery.ground.brightness
    cell = (scenery_from_ego.apply(xyz)[:, :2] - scenery.ground.low) / (2 * scenery.ground.cell)
    column, row = np.clip(cell.astype(int), 0, np.array(painted.shape)[::-1] - 1).T
    bright = painted[row, column] / 255.0
    strength = points["intensity"][ground] * (0.5 + 3.2 * bright**2)
    points["intensity"][ground] = np.clip(strength, 1, 255).astype(np.uint8)

"""What the realism metric looks at: speeds, distances and time to collision of agents in rollouts.

Definitions are those of the Waymo Open Sim Agents Challenge 2025: central differences; boxes whose
corners are rounded by .7 of half their lesser side; time to collision with the vehicle followed;
the farthest corner beyond the nearest road edge, edges having the road on their left; a red light
run when the centre passes the stop point on the lane of the light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import corners, signed_distance
from schemas.labels import VEHICLES, LaneType, LightState, MapLayer
from schemas.scene import DT, Scene
from simulation import kernels

NOW = 10  # the last step of history
ROUNDING = 0.7
NOBODY_M = 1e10
HEIGHT_STRETCH = 3.0
TTC_MOST = 5.0  # [s]
TURN_MOST = np.deg2rad(75.0)
TURN_MOST_AT_THE_SIDE = np.deg2rad(10.0)
SIDE_M = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Of the evaluated agents, at the steps after the present.

    Attributes:
        valid: Whether the agent was there.
        vehicle: Whether it is one: others have no time to collision.
        linear_speed: [m/s].
        linear_acceleration: [m/s²].
        angular_speed: [rad/s].
        angular_acceleration: [rad/s²].
        distance_to_nearest_object: Negative where boxes overlap [m].
        time_to_collision: 5 at most [s].
        distance_to_road_edge: Of the farthest corner, positive beyond the edge [m].
        red_light: Whether it ran one at the step.
    """

    valid: Bool[Array, "rollouts agents steps"]
    vehicle: Bool[Array, " agents"]
    linear_speed: Float[Array, "rollouts agents steps"]
    linear_acceleration: Float[Array, "rollouts agents steps"]
    angular_speed: Float[Array, "rollouts agents steps"]
    angular_acceleration: Float[Array, "rollouts agents steps"]
    distance_to_nearest_object: Float[Array, "rollouts agents steps"]
    time_to_collision: Float[Array, "rollouts agents steps"]
    distance_to_road_edge: Float[Array, "rollouts agents steps"]
    red_light: Bool[Array, "rollouts agents steps"]


def central(value: Float[Array, "*batch steps"]) -> Float[Array, "*batch steps"]:
    """Half the difference of the neighbours; NaN at both ends."""
    made = np.full(value.shape, np.nan)
    made[..., 1:-1] = (value[..., 2:] - value[..., :-2]) / 2.0
    return made


def motion(
    xy: Float[Array, "*batch steps 2"],
    yaw: Float[Array, "*batch steps"],
    z: Float[Array, "*batch steps"] | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Linear speed and acceleration, angular speed and acceleration; NaN where not known."""
    speed = np.hypot(central(xy[..., 0]), central(xy[..., 1])) / DT
    if z is not None:
        speed = np.hypot(speed, central(z) / DT)
    turn = _half_wrapped(central(yaw))
    return speed, central(speed) / DT, turn / DT, _half_wrapped(central(turn)) / DT**2


def nearest_object(
    boxes: Float[Array, "rollouts agents steps 5"],
    valid: Bool[Array, "rollouts agents steps"],
    evaluated: Int[Array, " chosen"],
) -> Float[Array, "rollouts chosen steps"]:
    """Signed distance to the nearest other rounded box, NOBODY_M where there is none [m].

    Only pairs that circles about the boxes do not rule out are looked at closely.
    """
    length, width = boxes[..., 3], boxes[..., 4]
    inner, outer = np.minimum(length, width) / 2.0, np.hypot(length, width) / 2.0
    nearest = np.full((len(boxes), len(evaluated), boxes.shape[2]), NOBODY_M)
    for row, me in enumerate(evaluated.tolist()):
        apart = np.hypot(*np.moveaxis(boxes[..., :2] - boxes[:, me : me + 1, :, :2], -1, 0))
        there = valid & valid[:, me : me + 1]
        there[:, me] = False
        most = np.where(there, apart - inner - inner[:, me : me + 1], np.inf).min(axis=1)
        least = apart - outer - outer[:, me : me + 1]
        rollout, other, step = np.nonzero(there & (least <= most[:, None]))
        if len(rollout) == 0:
            continue
        mine, theirs = boxes[rollout, me, step].copy(), boxes[rollout, other, step].copy()
        radii = np.zeros(len(mine))
        for box in (mine, theirs):
            radius = ROUNDING * box[:, 3:].min(axis=1) / 2.0
            box[:, 3:] -= 2.0 * radius[:, None]
            radii += radius
        np.minimum.at(nearest[:, row], (rollout, step), signed_distance(mine, theirs) - radii)
    return nearest


def time_to_collision(
    boxes: Float[Array, "rollouts agents steps 5"],
    speed: Float[Array, "rollouts agents steps"],
    valid: Bool[Array, "rollouts agents steps"],
    evaluated: Int[Array, " chosen"],
) -> Float[Array, "rollouts chosen steps"]:
    """Time until an agent meets the one that it follows, at their speeds, TTC_MOST at most [s]."""
    made = np.full((len(boxes), len(evaluated), boxes.shape[2]), TTC_MOST)
    for row, me in enumerate(evaluated.tolist()):
        mine = boxes[:, me : me + 1]
        offset = boxes[..., :2] - mine[..., :2]
        cos, sin = np.cos(mine[..., 2]), np.sin(mine[..., 2])
        ahead = cos * offset[..., 0] + sin * offset[..., 1]
        left = cos * offset[..., 1] - sin * offset[..., 0]
        turn = np.abs(boxes[..., 2] - mine[..., 2])
        c, s = np.abs(np.cos(turn)) / 2.0, np.abs(np.sin(turn)) / 2.0
        gap = ahead - mine[..., 3] / 2.0 - boxes[..., 3] * c - boxes[..., 4] * s
        beside = np.abs(left) - mine[..., 4] / 2.0 - boxes[..., 3] * s - boxes[..., 4] * c
        follows = valid & (gap > 0.0) & (turn <= TURN_MOST) & (beside < 0.0)
        follows &= (beside < -SIDE_M) | (turn <= TURN_MOST_AT_THE_SIDE)
        gap = np.where(follows, gap, NOBODY_M)
        leader = gap.argmin(axis=1)[:, None]
        nearest = np.take_along_axis(gap, leader, axis=1)[:, 0]
        closing = speed[:, me] - np.take_along_axis(speed, leader, axis=1)[:, 0]
        closes = closing > 0.0
        made[:, row] = np.where(
            closes, np.minimum(nearest / np.where(closes, closing, 1.0), TTC_MOST), TTC_MOST
        )
    return made


def road_edge(
    points: Float[Array, "points dims"], edges: Sequence[Float[Array, "vertices dims"]]
) -> Float[Array, " points"]:
    """Signed distance in plan to the nearest edge, negative on its left, where the road is [m].

    Where there are heights, the nearest is sought with these stretched threefold, so that an overpass is
    not taken for the road below. Beyond the end of a segment the sign is that of the two which meet
    there, the outer at a convex corner.
    """
    lines = [line for line in edges if len(line) >= 2]
    start = np.concatenate([line[:-1] for line in lines])
    along = np.concatenate([np.diff(line, axis=0) for line in lines])
    longest = max(map(len, lines))
    before, after, first = np.zeros(len(start), int), np.zeros(len(start), int), 0
    for line in lines:
        k = np.arange(first, first + len(line) - 1)
        before[k], after[k] = np.maximum(k - 1, first), np.minimum(k + 1, k[-1])
        # Waymo closes a loop only if no other edge has more vertices: it pads them all to the longest.
        if ((line[0] - line[-1]) ** 2).sum() < 1.0 and len(line) == longest:
            before[first], after[k[-1]] = k[-1], first
        first += len(k)
    which = kernels.nearest_segment(
        np.ascontiguousarray(points, np.float64), np.ascontiguousarray(start, np.float64),
        np.ascontiguousarray(along, np.float64), HEIGHT_STRETCH,
    )  # fmt: skip
    plan, way = points[:, :2] - start[which, :2], along[:, :2]
    square = np.maximum((way**2).sum(axis=1), 1e-12)
    place = (plan * way[which]).sum(axis=1) / square[which]
    distance = np.hypot(*(plan - np.clip(place, 0.0, 1.0)[:, None] * way[which]).T)

    def side(k: Array) -> Array:
        offset = points[:, :2] - start[k, :2]
        return np.sign(offset[:, 0] * way[k, 1] - offset[:, 1] * way[k, 0])

    sign = side(which)
    for a, b, other, beyond in (
        (before[which], which, before[which], place < 0.0),
        (which, after[which], after[which], place > 1.0),
    ):
        bend = way[a, 0] * way[b, 1] - way[a, 1] * way[b, 0]
        pair = side(which), side(other)
        sign = np.where(beyond, np.where(bend > 0.0, np.maximum(*pair), np.minimum(*pair)), sign)
    return np.asarray(sign * distance)


def red_light(
    xy: Float[Array, "rollouts agents steps 2"],
    valid: Bool[Array, "rollouts agents steps"],
    scene: Scene,
) -> Bool[Array, "rollouts agents steps"]:
    """Whether an agent runs a red light at a step.

    It does if it is on the lane of a red signal, and its centre passes the stop point along the lane's
    segment there. Its lane is that of the nearest segment of any lane for cars that is no freeway; as in
    Waymo's code the place along a segment is added to, not taken from, what lies between its start and
    the agent, so that the start of the segment ahead decides (Waymo's are half a metre long).
    """
    ran = np.zeros(valid.shape, dtype=bool)
    lanes = [
        f for f in scene.map.of_layer(MapLayer.LANE)
        if f.lane_type == LaneType.VEHICLE and len(f.points) >= 2
    ]  # fmt: skip
    signals, known = scene.signals, {f.feature_id for f in lanes}
    rows = [
        k for k, lane in enumerate(signals.lane.tolist())
        if signals.has_stop[k] and lane in known
    ]  # fmt: skip
    if not rows:
        return ran
    lines = [np.asarray(f.points[:, :2], np.float64) for f in lanes]
    start = np.concatenate([line[:-1] for line in lines])
    along = np.concatenate([np.diff(line, axis=0) for line in lines])
    of = np.repeat([f.feature_id for f in lanes], [len(line) - 1 for line in lines])
    there = of[kernels.first_segment_ahead(np.ascontiguousarray(xy.reshape(-1, 2)), start, along)]
    there = there.reshape(valid.shape)
    for k in rows:
        lane, stop = int(signals.lane[k]), np.asarray(signals.stop_xy[k], np.float64)
        mine = of == lane
        place = kernels.first_segment_ahead(stop[None], start[mine], along[mine])[0]
        way = along[mine][place]
        passed = (xy - stop) @ way
        crosses = np.zeros(valid.shape, dtype=bool)
        crosses[..., 1:] = (passed[..., :-1] < 0.0) & (passed[..., 1:] > 0.0)
        red = signals.state[k][: valid.shape[-1]] == LightState.RED
        ran |= valid & crosses & red & (there == lane)
    return ran


def features_of(
    scene: Scene,
    agents: Int[Array, " agents"],
    evaluated: Int[Array, " chosen"],
    xy: Float[Array, "rollouts agents steps 2"],
    z: Float[Array, "rollouts agents steps"],
    yaw: Float[Array, "rollouts agents steps"],
    valid: Bool[Array, "rollouts agents steps"],
) -> Features:
    """Everything that the metric looks at, of rollouts of one scene.

    Args:
        scene: With road edges and, if it has them, signals.
        agents: Rows of the scene's tracks that move.
        evaluated: Which of these agents are looked at.
        xy: From the first step of the history on, that is, ``NOW`` steps before the present [m].
        z: Of the boxes' centres [m].
        yaw: [rad].
        valid: Whether each is there.
    """
    size = scene.tracks.size[agents].astype(np.float64)
    extent = np.broadcast_to(size[None, :, None, :2], (*xy.shape[:3], 2))
    boxes = np.concatenate([xy, yaw[..., None], extent], axis=-1)
    speed, acceleration, turn, turning = motion(xy, yaw, z)
    after = slice(NOW + 1, None)
    mine = (slice(None), evaluated, after)
    plan = corners(boxes[:, evaluated, after])
    ground = z[mine] - size[evaluated, 2][None, :, None] / 2.0
    foot = np.concatenate(
        [plan, np.broadcast_to(ground[..., None, None], (*plan.shape[:-1], 1))], axis=-1
    )
    edges = [f.points[:, :3].astype(np.float64) for f in scene.map.of_layer(MapLayer.ROAD_EDGE)]
    edge = road_edge(foot.reshape(-1, 3), edges).reshape(plan.shape[:-1]).max(axis=-1)
    flat = motion(xy, yaw)[0]
    return Features(
        valid=valid[mine],
        vehicle=np.isin(scene.tracks.cls[agents][evaluated], [int(c) for c in VEHICLES]),
        linear_speed=speed[mine],
        linear_acceleration=acceleration[mine],
        angular_speed=turn[mine],
        angular_acceleration=turning[mine],
        distance_to_nearest_object=nearest_object(boxes, valid, evaluated)[..., after],
        time_to_collision=time_to_collision(boxes, flat, valid, evaluated)[..., after],
        distance_to_road_edge=edge,
        red_light=red_light(xy[:, evaluated], valid[:, evaluated], scene)[..., after],
    )


def _half_wrapped(turn: Array) -> Array:
    return (2.0 * turn + np.pi) % (2.0 * np.pi) / 2.0 - np.pi / 2.0

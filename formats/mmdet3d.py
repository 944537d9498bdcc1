"""MMDetection3D's info pickles of nuScenes and Lyft: key frames for training detectors.

Two layouts, read by :mod:`formats.safe_pickle`:

- since 1.1: ``{"metainfo": {...}, "data_list": [...]}``; poses as 4 × 4 matrices, times in seconds;
- before: ``{"infos": [...], "metadata": {...}}``; poses as vector and quaternion, microseconds.

Each info is one key frame and becomes one log: cameras and lidar with calibration and pose, the
sweeps before it, and boxes. Boxes are told in the lidar's frame at the key frame, (x, y, z) of the
middle, length, width, height, heading; before release 1.0 it was width, length, height and −heading
− π/2, which files of that time do not say: where most motor vehicles are wider than long, they are
read so. Objects have no ids over time. A camera's own pose is solved from ``lidar2cam``.

Source: github.com/open-mmlab/mmdetection3d, ``tools/dataset_converters``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.nuscenes_tables import LYFT, NUSCENES, Family
from formats.nuscenes_words import class_of
from formats.registry import Rejected
from formats.safe_pickle import load
from formats.tally import Tally
from formats.tree import head, matching
from geometry.arrays import Array
from geometry.frames import quaternion_from_rotation, rotation_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import EgoStates, Frame, Log, Observations, Sensor, SourceEvent, Window

DATASET = "mmdet3d"
LIDAR = "LIDAR_TOP"
MICROSECONDS = 1e14  # a stamp above is in microseconds, one below in seconds
LEGACY = 0.5  # share of motor vehicles wider than long, above which boxes are of before 1.0
FASTEST = 60.0  # [m/s] a pose that is solved is refused if the vehicle had to drive faster
SLACK_M = 0.3  # [m] of such a pose
FOLDERS = ("", "samples/{channel}", "sweeps/{channel}", "lidar", "images", "v1.01-train/lidar",
           "v1.01-train/images")  # fmt: skip
"""Where captures lie, from the folder of the pickle."""
NAMES = {"construction_vehicle": AgentClass.TRUCK, "trailer": AgentClass.TRUCK}
MOTOR = (AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS)


def sources(path: Path) -> Iterator[Path]:
    """Pickles that begin as info files of nuScenes or Lyft do, at or under a path."""
    yield from (file for file in matching(path, "*.pkl") if _begins_as_infos(head(file)))


def files(source: Path) -> Iterator[Path]:
    """The pickle itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """One log an info.

    Raises:
        UnreadableFile: It is no info pickle, or asks for more than plain values and arrays.
    """
    content = load(source)
    infos = None
    if isinstance(content, Mapping):
        infos = content.get("data_list", content.get("infos"))
    if not isinstance(infos, Sequence) or not infos:
        raise UnreadableFile(source, "holds no infos of MMDetection3D")
    meta = content.get("metainfo") or content.get("metadata") or {}
    names = _class_names(meta)
    family = LYFT if str(meta.get("version", "")).startswith(("v1.01", "v1.02")) else NUSCENES
    try:
        legacy = _is_legacy([_boxes(info, names) for info in infos])
    except _NOT_UNDERSTOOD:
        legacy = False  # each info is told on its own below
    for number, info in enumerate(infos):
        record = str(number)
        try:
            sample = _sample(info, names, source)
            yield _log(sample, source, record, family, str(meta.get("version") or ""), legacy)
        except _NOT_UNDERSTOOD as error:
            reason = f"info {number} is not understood ({type(error).__name__}: {error})"
            yield Rejected(record=record, reason=reason)


_NOT_UNDERSTOOD = (AttributeError, IndexError, KeyError, TypeError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shot:
    """A capture; matrices 4 × 4, time of Unix; ``solved`` if the pose is not told as such."""

    channel: str
    t_ns: int
    path: str
    ego_from_sensor: Array
    world_from_ego: Array | None
    lens: Array | None = None
    solved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Boxes:
    """In the lidar's frame; one row a box.

    Attributes:
        box: x, y, z, then three extents and an angle as the file has them.
        velocity: [m/s], NaN where not known.
        names: As in the file.
        details: What else is told.
    """

    box: Float[Array, "boxes 7"]
    velocity: Float[Array, "boxes 2"]
    names: Sequence[str]
    details: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    token: str
    t_ns: int
    lidar: _Shot
    shots: Sequence[_Shot]
    boxes: _Boxes
    tally: Tally


def _begins_as_infos(begin: bytes) -> bool:
    if not begin.startswith(b"\x80"):
        return False
    modern = b"data_list" in begin and (b"lidar2ego" in begin or b"cam2ego" in begin)
    return modern or (b"infos" in begin and b"lidar_path" in begin and b"sweeps" in begin)


def _class_names(meta: Mapping[str, Any]) -> dict[int, str]:
    told = meta.get("categories") or meta.get("CLASSES") or meta.get("classes") or {}
    if isinstance(told, Mapping):
        return {int(label): str(name) for name, label in told.items()}
    return {label: str(name) for label, name in enumerate(told)}


# ── The two layouts ──────────────────────────────────────────────────────────────────────────────


def _sample(info: Mapping[str, Any], names: Mapping[int, str], source: Path) -> _Sample:
    modern = "lidar_points" in info
    shots = list(_modern_shots(info) if modern else _older_shots(info))
    t_ns = _stamp_ns(info["timestamp"])
    lidar = next(shot for shot in shots if shot.channel == LIDAR and shot.t_ns == t_ns)
    tally = Tally()
    if any(shot.solved for shot in shots) and _is_a_jump(shots):
        reason = "lidar2cam puts the vehicle where it cannot have been: cameras are without a pose"
        tally.add("dropped", reason, sum(shot.solved for shot in shots))
        shots = [replace(shot, world_from_ego=None) if shot.solved else shot for shot in shots]
    sample = _Sample(
        token=str(info.get("token") or f"{source.name}:{info.get('sample_idx')}"), t_ns=t_ns,
        lidar=lidar, shots=shots, boxes=_boxes(info, names),
        tally=tally,
    )  # fmt: skip
    count = sum(len(found) for found in (info.get("cam_instances") or {}).values())
    tally.add("dropped", "boxes in images, which were made from those in space", count)
    return sample


def _is_a_jump(shots: Sequence[_Shot]) -> bool:
    """Whether the vehicle would have had to fly from one capture to the next."""
    poses = {s.t_ns: s.world_from_ego[:3, 3] for s in shots if s.world_from_ego is not None}
    t_ns = sorted(poses)
    return any(
        float(np.linalg.norm(poses[t1] - poses[t0])) > SLACK_M + FASTEST * (t1 - t0) / 1e9
        for t0, t1 in pairwise(t_ns)
    )


def _modern_shots(info: Mapping[str, Any]) -> Iterator[_Shot]:
    t_ns = _stamp_ns(info["timestamp"])
    points = info["lidar_points"]
    ego_from_lidar, world_from_ego = _matrix(points["lidar2ego"]), _matrix(info["ego2global"])
    yield _Shot(
        channel=LIDAR, t_ns=t_ns, path=str(points["lidar_path"]), ego_from_sensor=ego_from_lidar,
        world_from_ego=world_from_ego,
    )  # fmt: skip
    for sweep in info.get("lidar_sweeps") or ():
        behind = sweep["lidar_points"]
        yield _Shot(
            channel=LIDAR, t_ns=_stamp_ns(sweep["timestamp"]), path=str(behind["lidar_path"]),
            ego_from_sensor=_matrix(behind["lidar2ego"]),
            world_from_ego=_matrix(sweep["ego2global"]),
        )  # fmt: skip
    for channel, image in (info.get("images") or {}).items():
        if image.get("img_path") is None or image.get("cam2ego") is None:
            continue
        ego_from_camera = _matrix(image["cam2ego"])
        pose = None
        if image.get("lidar2cam") is not None:
            camera_from_lidar = _matrix(image["lidar2cam"])
            pose = (
                world_from_ego
                @ ego_from_lidar
                @ np.linalg.inv(ego_from_camera @ camera_from_lidar)
            )
        yield _Shot(
            channel=str(channel), t_ns=_stamp_ns(image.get("timestamp", info["timestamp"])),
            path=str(image["img_path"]), ego_from_sensor=ego_from_camera, world_from_ego=pose,
            lens=np.asarray(image["cam2img"], dtype=np.float64), solved=pose is not None,
        )  # fmt: skip


def _older_shots(info: Mapping[str, Any]) -> Iterator[_Shot]:
    t_ns = _stamp_ns(info["timestamp"])
    yield _Shot(
        channel=LIDAR, t_ns=t_ns, path=str(info["lidar_path"]),
        ego_from_sensor=_pose(info, "lidar2ego"), world_from_ego=_pose(info, "ego2global"),
    )  # fmt: skip
    captures = [(LIDAR, sweep) for sweep in info.get("sweeps") or ()]
    captures += list((info.get("cams") or {}).items())
    for channel, capture in captures:
        yield _Shot(
            channel=str(channel), t_ns=_stamp_ns(capture["timestamp"]),
            path=str(capture["data_path"]), ego_from_sensor=_pose(capture, "sensor2ego"),
            world_from_ego=_pose(capture, "ego2global"),
            lens=np.asarray(capture["cam_intrinsic"], dtype=np.float64)
            if "cam_intrinsic" in capture else None,
        )  # fmt: skip


def _boxes(info: Mapping[str, Any], names: Mapping[int, str]) -> _Boxes:
    if "instances" in info:
        found = info["instances"]
        rows = [row["bbox_3d"] for row in found]
        labels = [int(row.get("bbox_label_3d", row.get("bbox_label", -1))) for row in found]
        words = [names.get(label, str(label)) for label in labels]
        speeds = [row.get("velocity", (np.nan, np.nan)) for row in found]
        keys = ("num_lidar_pts", "num_radar_pts", "bbox_3d_isvalid")
        details = [{key: _plain(row[key]) for key in keys if key in row} for row in found]
    else:
        rows = list(info.get("gt_boxes", ()))
        words = [str(name) for name in info.get("gt_names", ())]
        speeds = list(info.get("gt_velocity", [(np.nan, np.nan)] * len(rows)))
        keys = ("num_lidar_pts", "num_radar_pts", "valid_flag")
        details = [
            {key: _plain(info[key][k]) for key in keys if key in info} for k in range(len(rows))
        ]
    box = np.array([list(row)[:7] for row in rows], dtype=np.float64).reshape(-1, 7)
    velocity = np.array([list(v)[:2] for v in speeds], dtype=np.float64).reshape(-1, 2)
    if not len(box) == len(words) == len(velocity):
        raise ValueError("boxes, names and velocities differ in number")
    return _Boxes(box=box, velocity=velocity, names=words, details=details)


def _is_legacy(infos: Sequence[_Boxes]) -> bool:
    wide = [
        extents[1] > extents[0]
        for boxes in infos
        for extents, name in zip(boxes.box[:, 3:5], boxes.names, strict=True)
        if _class(name) in MOTOR
    ]
    return bool(sum(wide) > LEGACY * len(wide))


# ── The log ──────────────────────────────────────────────────────────────────────────────────────


def _log(
    sample: _Sample, source: Path, record: str, family: Family, version: str, legacy: bool
) -> Log:
    tally = sample.tally
    t0 = min(shot.t_ns for shot in sample.shots)
    sensors: dict[str, Sensor] = {}
    frames: dict[tuple[str, int], Frame] = {}
    for shot in sample.shots:
        key = (shot.channel, shot.t_ns - t0)
        if key in frames:
            tally.add("dropped", "captures of one sensor at one time; the first is kept")
            continue
        sensors.setdefault(shot.channel, _sensor(shot))
        frames[key] = _frame(shot, t0, source, tally)
    agents, events = _agents(sample, t0, tally, legacy)
    tally.add("guessed", family.ego_guess)
    t_ns = sample.t_ns - t0
    return Log(
        dataset=DATASET,
        source_log_id=sample.token,
        source_uri=str(source),
        record=record,
        rate_hz=family.rate_hz or 2.0,
        ego=_ego(sample, family, t0),
        agents=agents,
        t0_unix_ns=t0,
        license=family.license,
        sensors=list(sensors.values()),
        frames=list(frames.values()),
        windows=[Window(source_scene_id=sample.token, t0_ns=t_ns, t1_ns=t_ns)],
        events=events,
        notes=tally.notes(),
        extra={
            "family": family.dataset, "version": version,
            "ego_centre_in_ego": list(family.ego_centre),
        },
    )  # fmt: skip


def _sensor(shot: _Shot) -> Sensor:
    lens = shot.lens
    pose = _seven(shot.ego_from_sensor)
    if lens is None:
        return Sensor(channel=shot.channel, kind="lidar", ego_from_sensor=pose)
    intrinsics = [float(v) for v in (lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2])]
    return Sensor(
        channel=shot.channel, kind="camera", ego_from_sensor=pose, model="pinhole",
        intrinsics=intrinsics,
    )  # fmt: skip


def _frame(shot: _Shot, t0: int, source: Path, tally: Tally) -> Frame:
    path = _find(source.parent, shot.path, shot.channel)
    if path is None:
        tally.add("missing", "captures whose files are not there (now); their rows are kept")
        path = source.parent / Path(shot.path).name
    pose = shot.world_from_ego
    return Frame(
        channel=shot.channel, t_ns=shot.t_ns - t0, uri=str(path),
        codec="nuscenes_lidar" if shot.lens is None else "jpeg",
        world_from_ego=None if pose is None else tuple(map(float, _seven(pose))),
    )  # fmt: skip


def _find(folder: Path, told: str, channel: str) -> Path | None:
    """A capture by its name alone, in the usual folders."""
    name = Path(told).name
    for place in FOLDERS:
        path = folder / place.format(channel=Path(channel).name) / name
        if name and path.is_file():
            return path
    return None


def _ego(sample: _Sample, family: Family, t0: int) -> EgoStates:
    poses = {s.t_ns: s.world_from_ego for s in sample.shots if s.world_from_ego is not None}
    assert sample.lidar.world_from_ego is not None
    poses[sample.t_ns] = sample.lidar.world_from_ego
    t_ns = sorted(poses)
    matrices = np.array([poses[t] for t in t_ns])
    quaternion = np.array([quaternion_from_rotation(m[:3, :3]) for m in matrices])
    centre = np.array([*family.ego_centre, 1.0])
    return EgoStates(
        t_ns=np.array(t_ns, dtype=np.int64) - t0,
        xyz=(matrices @ centre)[:, :3],
        yaw=np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]),
        quaternion=quaternion,
        size=family.ego_size,
    )


def _agents(
    sample: _Sample, t0: int, tally: Tally, legacy: bool
) -> tuple[Observations, list[SourceEvent]]:
    boxes = sample.boxes
    usable = np.isfinite(boxes.box[:, [0, 1, 2, 6]]).all(axis=1)
    tally.add("dropped", "boxes that are not finite", int((~usable).sum()))
    kept = np.flatnonzero(usable).tolist()
    if not kept:
        return Observations.none(), []
    box, velocity = boxes.box[kept].copy(), boxes.velocity[kept]
    if legacy:
        box[:, [3, 4]] = box[:, [4, 3]]
        box[:, 6] = -box[:, 6] - math.pi / 2
        reason = "boxes are taken to be of before release 1.0: width first, heading −yaw − π/2"
        tally.add("guessed", reason, len(box))
    assert sample.lidar.world_from_ego is not None
    world_from_lidar = sample.lidar.world_from_ego @ sample.lidar.ego_from_sensor
    turn = world_from_lidar[:3, :3]
    ahead = np.stack([np.cos(box[:, 6]), np.sin(box[:, 6]), np.zeros(len(box))], axis=1) @ turn.T
    flat = np.column_stack([velocity, np.zeros(len(box))]) @ turn.T
    names = [boxes.names[k] for k in kept]
    classes = [_class(name) for name in names]
    tally.add(
        "missing", "objects have no id; their index in the key frame stands for it", len(box)
    )
    unknown = sorted({n for n, c in zip(names, classes, strict=True) if c is AgentClass.UNKNOWN})
    reason = f"categories whose class is not known: {', '.join(unknown)}"
    tally.add("guessed", reason, sum(c is AgentClass.UNKNOWN for c in classes))
    t_ns = sample.t_ns - t0
    size = np.where(np.isfinite(box[:, 3:6]) & (box[:, 3:6] > 0.0), box[:, 3:6], np.nan)
    agents = Observations(
        track=np.arange(len(box)),
        t_ns=np.full(len(box), t_ns, dtype=np.int64),
        xyz=box[:, :3] @ turn.T + world_from_lidar[:3, 3],
        yaw=np.arctan2(ahead[:, 1], ahead[:, 0]),
        size=size,
        velocity=flat[:, :2] if np.isfinite(flat).any() else None,
        source_track_id=[str(k) for k in kept],
        source_cls=names,
        cls=classes,
    )
    events = [
        SourceEvent(
            name="instance", t0_ns=t_ns, t1_ns=t_ns, source_track_id=str(k),
            detail=boxes.details[k],
        )
        for k in kept
        if boxes.details[k]
    ]  # fmt: skip
    return agents, events


# ── Values ───────────────────────────────────────────────────────────────────────────────────────


def _class(name: str) -> AgentClass:
    return NAMES.get(name) or class_of(name) or AgentClass.UNKNOWN


def _stamp_ns(value: Any) -> int:
    """Seconds or microseconds, as exact nanoseconds."""
    told = Decimal(repr(float(value)) if not isinstance(value, int) else value)
    if not told.is_finite():
        raise ValueError(f"the stamp {value!r} is no number")
    return round(told * (1000 if told > MICROSECONDS else 1_000_000_000))


def _matrix(value: Any) -> Float[Array, "4 4"]:
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"a pose of shape {matrix.shape}, or not finite")
    if abs(np.linalg.det(matrix[:3, :3]) - 1.0) > 1e-2:
        raise ValueError("a pose whose rotation is none")
    return matrix


def _pose(record: Mapping[str, Any], name: str) -> Float[Array, "4 4"]:
    """From vector and quaternion."""
    matrix = np.eye(4)
    quaternion = np.asarray(record[f"{name}_rotation"], dtype=np.float64)
    matrix[:3, :3] = rotation_from_quaternion(quaternion / np.linalg.norm(quaternion))
    matrix[:3, 3] = np.asarray(record[f"{name}_translation"], dtype=np.float64)
    return _matrix(matrix)


def _seven(matrix: Array) -> Float[Array, "7"]:
    return np.concatenate([matrix[:3, 3], quaternion_from_rotation(matrix[:3, :3])])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

"""KITTI tracking: sequences at 10 Hz, each a log in the world of its GNSS/IMU.

    training/ or testing/
        label_02/0000.txt       frame, track, class, …, box in the rectified camera frame
        oxts/0000.txt           a GNSS/IMU line a frame
        calib/0000.txt          P0 … P3, R_rect, Tr_velo_cam, Tr_imu_velo
        image_02/0000/, image_03/0000/      000000.png
        velodyne/0000/          000000.bin

The world is the development kit's Mercator projection (x east, y north, z up, metres at the first
frame's latitude, ``Log.extra["mercator_scale"]``), the ego frame the IMU's. There are no stamps: the
published 10 Hz stand for them. Where cameras lost frames, numbers are missing. Occlusion of a track
becomes events; image boxes, observation angles and truncation are left out; ``DontCare`` regions are
kept in ``Log.extra``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float

from formats.kitti import (
    CENTRE_IN_VELO,
    CLASSES,
    DONT_CARE,
    EGO_SIZE,
    LICENSE,
    LOCATION,
    NO_RIG,
    OXTS_CHANNEL,
    OXTS_COLUMN,
    RATE_HZ,
    VELO_FROM_IMU,
    Label,
    Rig,
    boxes_in,
    camera,
    image_size,
    imu_poses,
    mercator_scale,
    oxts_readings,
    payloads,
    pose_of,
    read_labels,
    read_oxts,
    read_rig,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.track_rows import observations
from formats.tree import matching
from geometry.arrays import Array
from geometry.frames import SE3
from schemas.errors import BadInput, UnreadableFile
from schemas.labels import AgentClass
from schemas.records import EgoStates, Frame, Log, Observations, Sensor, SourceEvent

DATASET = "kitti_tracking"
STEP_NS = 100_000_000
LIDAR = "velodyne"
IMAGES = ("image_02", "image_03")
TEXTS = ("label_02", "oxts", "calib")
OCCLUDED = {1: "partly", 2: "largely", 3: "unknown"}
NO_IDS = (-1,)
MAX_FRAMES = 1_000_000


def sources(path: Path) -> Iterator[Path]:
    """Folders with labels, poses or calibration by sequence, at or under a path."""
    found = set()
    for file in matching(path, "[0-9][0-9][0-9][0-9].txt"):
        folder = file.parent.parent
        if file.parent.name in TEXTS and folder not in found and _is_split(folder):
            found.add(folder)
    yield from sorted(found)


def files(source: Path) -> Iterator[Path]:
    """Labels, poses and calibration."""
    for part in TEXTS:
        yield from _sequences(source / part).values()


def read(source: Path) -> Iterator[Log | Rejected]:
    """The sequences of a folder, a log each.

    Raises:
        UnreadableFile: The folder holds no sequences.
    """
    if not _is_split(source):
        raise UnreadableFile(source, "holds no sequences of KITTI's tracking benchmark")
    texts = {part: _sequences(source / part) for part in TEXTS}
    names = {name for found in texts.values() for name in found}
    for part in (LIDAR, *IMAGES):
        if (source / part).is_dir():
            names |= {p.name for p in (source / part).iterdir() if p.is_dir()}
    for name in sorted(names):
        try:
            yield _log(source, name, {part: found.get(name) for part, found in texts.items()})
        except BadInput as error:
            yield Rejected(record=name, reason=str(error))


def _is_split(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in ("label_02", *IMAGES)) or all(
        (folder / part).is_dir() for part in ("oxts", "calib")
    )


def _sequences(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = sorted(folder.glob("[0-9][0-9][0-9][0-9].txt"))
    return {path.stem: path for path in found if path.is_file()}


@dataclass(frozen=True, slots=True, eq=False)
class _Drive:
    """Poses of a sequence: world from IMU at each frame."""

    xyz: Float[Array, "frames 3"]
    rotation: Float[Array, "frames 3 3"]
    oxts: Float[Array, "frames 30"]

    def at(self, frame: int) -> SE3:
        return SE3(self.rotation[frame], self.xyz[frame])


def _log(source: Path, name: str, texts: dict[str, Path | None]) -> Log:
    tally = Tally()
    calibration, poses, labels = texts["calib"], texts["oxts"], texts["label_02"]
    rig = NO_RIG if calibration is None else read_rig(calibration)
    if calibration is None:
        tally.add("missing", "no calibration: where the cameras are is not known")
    drive, scale = None, None
    if poses is not None:
        values = read_oxts(poses)
        broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if broken.size:
            reason = f"has values that are not finite in GNSS/IMU line {broken[0] + 1}"
            raise UnreadableFile(poses, reason, hint="Fetch the file again.")
        scale = mercator_scale(float(values[0, OXTS_COLUMN["lat"]]))
        drive = _Drive(*imu_poses(values, scale), values)
        if not np.isfinite(drive.xyz).all():
            raise UnreadableFile(poses, "has places that are nowhere on Earth")
    else:
        tally.add("missing", "no poses of the vehicle (oxts)")
    told = [] if labels is None else list(read_labels(labels, tally, tracked=True))
    if labels is None:
        tally.add("missing", "no labels: who was there is not known")
    regions = [[label.frame, *label.image_box] for label in told if label.cls == DONT_CARE]
    tally.add("dropped", "regions that nobody labelled (DontCare), kept in extra", len(regions))
    told = [label for label in told if label.cls != DONT_CARE]
    tally.add("guessed", "there are no stamps: 10 Hz, as published, stand for them")
    agents = _agents(rig, drive, told, tally)
    frames = _frames(source, name, drive)
    if not told and not frames and drive is None and calibration is None:
        raise UnreadableFile(source / name, "has neither poses, labels, calibration nor captures")
    t_ns = np.arange(0 if drive is None else len(drive.oxts), dtype=np.int64) * STEP_NS
    return Log(
        dataset=DATASET,
        source_log_id=f"{source.name}/{name}",
        source_uri=str(source),
        record=name,
        rate_hz=RATE_HZ,
        ego=None if drive is None else _ego(rig, drive, t_ns, tally),
        agents=agents,
        split={"training": "train", "testing": "test"}.get(source.name),
        location=LOCATION,
        license=LICENSE,
        sensors=_sensors(rig, frames, drive is not None),
        frames=frames,
        readings=[] if drive is None else oxts_readings(t_ns, drive.oxts),
        events=_occlusions(told),
        notes=tally.notes(),
        extra={"mercator_scale": scale, "dont_care": regions},
    )


def _ego(rig: Rig, drive: _Drive, t_ns: Array, tally: Tally) -> EgoStates:
    """The middle of the vehicle's box; the IMU is behind it and to its left."""
    tally.add("guessed", "the ego's box is placed as the publication draws the car")
    centre = (rig.velo_from_imu or VELO_FROM_IMU).inverse().apply(CENTRE_IN_VELO)
    column = {name: drive.oxts[:, at] for name, at in OXTS_COLUMN.items()}
    quaternions = [drive.at(frame).quaternion for frame in range(len(t_ns))]
    return EgoStates(
        t_ns=t_ns,
        xyz=drive.xyz + drive.rotation @ centre,
        yaw=np.arctan2(drive.rotation[:, 1, 0], drive.rotation[:, 0, 0]),
        quaternion=np.array(quaternions).reshape(-1, 4),
        velocity=np.stack([column["ve"], column["vn"]], axis=1),
        acceleration=column["af"],
        yaw_rate=column["wu"],
        size=EGO_SIZE,
    )


def _agents(rig: Rig, drive: _Drive | None, labels: Sequence[Label], tally: Tally) -> Observations:
    placed = [
        label for label in labels if drive is not None and 0 <= label.frame < len(drive.oxts)
    ]
    reason = "boxes in the camera frame at a frame without a pose of the vehicle"
    tally.add("dropped", reason, len(labels) - len(placed))
    if placed and rig.velo_from_cam is None:
        reason = "boxes in the camera frame, whose place is not known without calibration"
        tally.add("dropped", reason, len(placed))
        placed = []
    if not placed or drive is None or rig.velo_from_cam is None:
        return Observations.none()
    if rig.velo_from_imu is None:
        tally.add("guessed", "where the GNSS/IMU is: from the publication's drawing")
    imu_from_cam = (rig.velo_from_imu or VELO_FROM_IMU).inverse() @ rig.velo_from_cam
    xyz, yaw = np.zeros((len(placed), 3)), np.zeros(len(placed))
    order = sorted(range(len(placed)), key=lambda row: placed[row].frame)
    for frame, group in groupby(order, key=lambda row: placed[row].frame):
        rows = list(group)
        world_from_cam = drive.at(frame) @ imu_from_cam
        xyz[rows], yaw[rows] = boxes_in(world_from_cam, [placed[row] for row in rows])
    ids = [label.track_id for label in placed]
    names = list(dict.fromkeys(ids))
    words: dict[int | None, str] = {}
    changed = set()
    for label in placed:
        if words.setdefault(label.track_id, label.cls) != label.cls:
            changed.add(label.track_id)
    tally.add("guessed", "tracks whose class changes; the first is kept", len(changed))
    strange = sorted(set(words.values()) - set(CLASSES))
    tally.add("renamed", f"classes that KITTI does not have: {', '.join(strange)}", len(strange))
    reason = "image boxes, observation angles and truncation of labels"
    tally.add("dropped", reason, len(placed))
    index = {name: number for number, name in enumerate(names)}
    return observations(
        track=np.array([index[name] for name in ids], dtype=np.int64),
        t_ns=np.array([label.frame for label in placed], dtype=np.int64) * STEP_NS,
        xyz=xyz, yaw=yaw, size=np.array([label.size for label in placed]), velocity=None,
        names=[str(name) for name in names], source_cls=[words[name] for name in names],
        cls=[CLASSES.get(words[name], AgentClass.UNKNOWN) for name in names], tally=tally,
    )  # fmt: skip


def _occlusions(labels: Sequence[Label]) -> list[SourceEvent]:
    """One event for each stretch of frames over which a track is equally occluded."""
    events = []
    ordered = sorted(
        (label for label in labels if label.track_id not in NO_IDS),
        key=lambda label: (label.track_id or 0, label.frame),
    )
    for (track, level, _), group in groupby(
        enumerate(ordered),
        key=lambda item: (item[1].track_id, item[1].occluded, item[1].frame - item[0]),
    ):
        if level in OCCLUDED:
            frames = [label.frame for _, label in group]
            events.append(
                SourceEvent(
                    name="occluded", t0_ns=frames[0] * STEP_NS, t1_ns=frames[-1] * STEP_NS,
                    source_track_id=str(track), detail={"level": level, "is": OCCLUDED[level]},
                )
            )  # fmt: skip
    return events


def _frames(source: Path, name: str, drive: _Drive | None) -> list[Frame]:
    frames = []
    for part in (LIDAR, *IMAGES):
        for number, frame in payloads(source / part / name, part).items():
            pose = None
            if drive is not None and number < len(drive.oxts):
                pose = tuple(pose_of(drive.at(number)).tolist())
            if number < MAX_FRAMES:
                frames.append(replace(frame, t_ns=number * STEP_NS, world_from_ego=pose))
    return frames


def _sensors(rig: Rig, frames: Sequence[Frame], moving: bool) -> list[Sensor]:
    sensors = []
    ego_from_velo = (rig.velo_from_imu or VELO_FROM_IMU).inverse()
    ego_from_cam = None if rig.velo_from_cam is None else ego_from_velo @ rig.velo_from_cam
    first = {frame.channel: frame for frame in reversed(frames)}
    for channel, frame in sorted(first.items()):
        if channel == LIDAR:
            place = pose_of(ego_from_velo)
            sensors.append(Sensor(channel=LIDAR, kind="lidar", ego_from_sensor=place))
            continue
        size = image_size(Path(frame.uri))
        projection = rig.projections.get(int(channel[-1]))
        if projection is None:
            sensors.append(Sensor(channel=channel, kind="camera", model="pinhole"))
        else:
            sensors.append(camera(channel, projection, ego_from_cam, size))
    if moving:
        at_home = pose_of(SE3(np.eye(3), np.zeros(3)))
        sensors.append(Sensor(channel=OXTS_CHANNEL, kind="gnss", ego_from_sensor=at_home))
    return sensors

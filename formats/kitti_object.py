"""KITTI object detection: single frames, each a log of one step in the lidar's frame.

    training/ or testing/
        label_2/000000.txt      boxes in the rectified camera frame
        calib/000000.txt        P0 … P3, R0_rect, Tr_velo_to_cam, Tr_imu_to_velo
        image_2/, image_3/      000000.png
        velodyne/000000.bin     float32: x, y, z, reflectance

There are no poses and no time: the world is the lidar's frame (x forward, y left, z up), which is
the ego frame too. Boxes have no ids; their place in the file stands for it. Truncation, occlusion,
observation angle, image box and score of each object are kept in ``Log.extra``, regions that nobody
labelled (``DontCare``) as well. Folders without calibration or labels are read for their images and
sweeps. Waymo converted to this layout (seven digits, image_0 … image_4) has six numbers a point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from formats.kitti import (
    CENTRE_IN_VELO,
    CLASSES,
    DONT_CARE,
    EGO_SIZE,
    LICENSE,
    LOCATION,
    NO_RIG,
    RATE_HZ,
    Label,
    Rig,
    boxes_in,
    camera,
    image_size,
    payloads,
    pose_of,
    read_labels,
    read_rig,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.track_rows import observations
from formats.tree import matching
from geometry.frames import SE3
from schemas.errors import BadInput, UnreadableFile
from schemas.labels import AgentClass
from schemas.records import EgoStates, Frame, Log, Observations, Sensor

DATASET = "kitti_object"
LIDAR = "velodyne"
IMAGES = tuple(f"image_{number}" for number in range(5))
TEXTS = ("label_2", "calib")
PARTS = (LIDAR, *IMAGES, *TEXTS)
KITTI_DIGITS, WAYMO_DIGITS = 6, 7
STANDING = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def sources(path: Path) -> Iterator[Path]:
    """Folders with sweeps, images, calibration or labels by number, at or under a path."""
    found = set()
    digits = "[0-9]" * KITTI_DIGITS
    names = (f"{digits}.bin", f"{digits}.png", f"{digits}.txt", f"[0-9]{digits}.bin")
    for file in matching(path, *names):
        folder = file.parent.parent
        if file.parent.name in PARTS and folder not in found and _is_split(folder):
            found.add(folder)
    yield from sorted(found)


def files(source: Path) -> Iterator[Path]:
    """Labels and calibration; images and sweeps where a folder has nothing else."""
    told = [path for part in TEXTS for path in _numbered(source / part, ".txt").values()]
    if not told:
        for part in (LIDAR, *IMAGES):
            told += [Path(frame.uri) for frame in payloads(source / part, part).values()]
    yield from told


def read(source: Path) -> Iterator[Log | Rejected]:
    """The frames of a folder, a log each.

    Raises:
        UnreadableFile: The folder holds no frames.
    """
    if not _is_split(source):
        raise UnreadableFile(source, "holds no frames of KITTI's object benchmark")
    labels, calibrations = (_numbered(source / part, ".txt") for part in TEXTS)
    waymo = _is_waymo(source)
    codec = "waymo_in_kitti" if waymo else "kitti_velodyne"
    captures = {
        part: payloads(source / part, part, point_codec=codec) for part in (LIDAR, *IMAGES)
    }
    numbers = set(labels) | set(calibrations) | {n for found in captures.values() for n in found}
    digits = WAYMO_DIGITS if waymo else KITTI_DIGITS
    for number in sorted(numbers):
        name = f"{source.name}/{number:0{digits}d}"
        frames = [found[number] for found in captures.values() if number in found]
        try:
            yield _log(source, name, frames, labels.get(number), calibrations.get(number))
        except BadInput as error:
            yield Rejected(record=name, reason=str(error))


def _is_split(folder: Path) -> bool:
    """Whether at least two kinds of a frame's files are there, and it is no odometry sequence."""
    several = sum((folder / part).is_dir() for part in PARTS) > 1
    return several and not (folder / "times.txt").exists()


def _is_waymo(folder: Path) -> bool:
    sweeps = payloads(folder / LIDAR, LIDAR)
    return any(len(Path(frame.uri).stem) == WAYMO_DIGITS for frame in sweeps.values())


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    return {
        int(path.stem): path
        for path in sorted(folder.iterdir())
        if path.suffix == suffix and path.stem.isdecimal() and path.is_file()
    }


def _log(
    source: Path, name: str, frames: list[Frame], labels: Path | None, calibration: Path | None
) -> Log:
    tally = Tally()
    rig = NO_RIG if calibration is None else read_rig(calibration)
    if calibration is None:
        tally.add("missing", "no calibration: where the cameras are is not known")
    told = [] if labels is None else list(read_labels(labels, tally, tracked=False))
    if labels is None:
        tally.add("missing", "no labels: who was there is not known")
    regions = [list(label.image_box) for label in told if label.cls == DONT_CARE]
    tally.add("dropped", "regions that nobody labelled (DontCare), kept in extra", len(regions))
    told = [label for label in told if label.cls != DONT_CARE]
    if told and rig.velo_from_cam is None:
        reason = "boxes in the camera frame, whose place is not known without calibration"
        tally.add("dropped", reason, len(told))
        told = []
    agents = _agents(rig, told, tally)
    waymo = any(frame.codec == "waymo_in_kitti" for frame in frames)
    tally.add("guessed", "the ego's box is placed as the publication draws the car", not waymo)
    zero = np.zeros(1, dtype=np.int64)
    return Log(
        dataset=DATASET,
        source_log_id=name,
        source_uri=str(source),
        record=name,
        rate_hz=RATE_HZ,
        ego=None
        if waymo
        else EgoStates(t_ns=zero, xyz=CENTRE_IN_VELO[None], yaw=np.zeros(1), size=EGO_SIZE),
        agents=agents,
        split={"training": "train", "testing": "test"}.get(source.name),
        location=None if waymo else LOCATION,
        license=None if waymo else LICENSE,
        sensors=_sensors(rig, frames),
        frames=[replace(frame, world_from_ego=STANDING) for frame in frames],
        notes=tally.notes(),
        extra={
            "world": "velodyne",
            "dont_care": regions,
            "objects": {str(index): _about(label) for index, label in enumerate(told)},
        },
    )


def _agents(rig: Rig, labels: list[Label], tally: Tally) -> Observations:
    if not labels or rig.velo_from_cam is None:
        return Observations.none()
    xyz, yaw = boxes_in(rig.velo_from_cam, labels)
    count = len(labels)
    tally.add("missing", "objects have no id; their place in the file stands for it", count)
    strange = sorted({label.cls for label in labels} - set(CLASSES))
    tally.add("renamed", f"classes that KITTI does not have: {', '.join(strange)}", len(strange))
    return observations(
        track=np.arange(count), t_ns=np.zeros(count, dtype=np.int64), xyz=xyz, yaw=yaw,
        size=np.array([label.size for label in labels]), velocity=None,
        names=[str(index) for index in range(count)],
        source_cls=[label.cls for label in labels],
        cls=[CLASSES.get(label.cls, AgentClass.UNKNOWN) for label in labels], tally=tally,
    )  # fmt: skip


def _about(label: Label) -> dict[str, object]:
    about: dict[str, object] = {
        "truncated": label.truncated,
        "occluded": label.occluded,
        "alpha": label.alpha,
        "image_box": list(label.image_box),
    }
    return about | ({} if label.score is None else {"score": label.score})


def _sensors(rig: Rig, frames: list[Frame]) -> list[Sensor]:
    sensors = []
    for frame in frames:
        if frame.channel == LIDAR:
            at_home = pose_of(SE3(np.eye(3), np.zeros(3)))
            sensors.append(Sensor(channel=LIDAR, kind="lidar", ego_from_sensor=at_home))
            continue
        size = image_size(Path(frame.uri))
        projection = rig.projections.get(int(frame.channel[-1]))
        if projection is None:
            sensors.append(
                Sensor(
                    channel=frame.channel, kind="camera", model="pinhole",
                    width=size and size[0], height=size and size[1],
                )
            )  # fmt: skip
        else:
            sensors.append(camera(frame.channel, projection, rig.velo_from_cam, size))
    return sensors

"""KITTI raw data: a drive, with GNSS/IMU, cameras, lidar and tracklets.

    2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
    2011_09_26/2011_09_26_drive_0001_sync/
        oxts/data/0000000000.txt, oxts/timestamps.txt
        image_00 … image_03/data/0000000000.png, timestamps.txt
        velodyne_points/data/0000000000.bin, timestamps.txt, timestamps_start.txt, _end.txt
        tracklet_labels.xml

The world is the development kit's Mercator projection (x east, y north, z up, metres at the first
line's latitude, ``Log.extra["mercator_scale"]``); the ego frame is the IMU's. Tracklets are told in
the lidar's frame, underside of the box, by number of the frame; they have no ids, their place in the
file stands for it. Stamps are local time without a zone (``Log.extra["t0_local"]``), hence
``t0_unix_ns`` is not known. A sweep's frame begins with ``timestamps_start`` and ends with
``timestamps_end``; when it looked ahead is a reading, ``facing_ahead``. Drives that were not
synchronised (``_extract``) have images that are not rectified and sweeps as text, which are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.files import present
from formats.kitti import (
    CENTRE_IN_VELO,
    CLASSES,
    EGO_SIZE,
    LICENSE,
    LOCATION,
    OXTS_CHANNEL,
    OXTS_COLUMN,
    RATE_HZ,
    VELO_FROM_IMU,
    Rig,
    camera,
    imu_poses,
    mercator_scale,
    oxts_readings,
    payloads,
    pose_of,
    read_calibration,
    read_oxts,
    rigid,
    text_of,
    transform,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.track_rows import observations
from formats.tree import matching
from formats.xml_file import read_xml
from geometry.arrays import Array
from geometry.frames import SE3
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import (
    EgoStates,
    Frame,
    Log,
    Observations,
    Readings,
    Sensor,
    SourceEvent,
)

DATASET = "kitti_raw"
STAMPS = "timestamps.txt"
STAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")
LIDAR = "velodyne_points"
IMAGES = tuple(f"image_0{number}" for number in range(4))
TRACKLETS = "tracklet_labels.xml"
CALIBRATIONS = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")
POSE = ("tx", "ty", "tz", "rx", "ry", "rz")
OCCLUSIONS = {0: "visible", 1: "partly", 2: "fully"}
TRUNCATIONS = {0: "in_image", 1: "truncated", 2: "out_image", 99: "behind_image"}


def sources(path: Path) -> Iterator[Path]:
    """Drives, told by their stamps, at or under a path; of a date's folder, each of its drives."""
    found = set()
    for file in matching(path, STAMPS, TRACKLETS):
        drive = file.parent if file.name == TRACKLETS else file.parent.parent
        if file.parent.name in (OXTS_CHANNEL, LIDAR, *IMAGES) or file.name == TRACKLETS:
            found.add(drive)
    yield from sorted(found)


def files(source: Path) -> Iterator[Path]:
    """Stamps, GNSS/IMU lines, tracklets, and the calibration of the date."""
    yield from _calibration_files(source).values()
    for part in (OXTS_CHANNEL, *IMAGES, LIDAR):
        yield from sorted((source / part).glob("timestamps*.txt"))
    yield from sorted((source / OXTS_CHANNEL / "data").glob("*.txt"))
    if (source / TRACKLETS).is_file():
        yield source / TRACKLETS


def read(source: Path) -> Iterator[Log | Rejected]:
    """The drive of a folder.

    Raises:
        UnreadableFile: A file of it is broken.
    """
    if not source.is_dir():
        raise UnreadableFile(source, "is no folder of a KITTI drive")
    tally = Tally()
    rig = _rig(source, tally)
    stamps = {part: _stamps(source / part / STAMPS) for part in (OXTS_CHANNEL, *IMAGES, LIDAR)}
    sweep_begin = _stamps(source / LIDAR / "timestamps_start.txt")
    sweep_end = _stamps(source / LIDAR / "timestamps_end.txt")
    drive = _drive(source, stamps[OXTS_CHANNEL], tally)
    begins = [s[s > 0].min() for s in (*stamps.values(), sweep_begin) if (s > 0).any()]
    if not begins:
        yield Rejected(record="", reason="the drive has no stamps", notes=tally.notes())
        return
    t0 = int(min(begins))
    frames = _frames(source, stamps, sweep_begin, sweep_end, drive, tally)
    frames = [_since(frame, t0) for frame in frames]
    clock = next(
        (stamps[p] for p in (LIDAR, OXTS_CHANNEL, *IMAGES) if (stamps[p] > 0).any()), sweep_begin
    )
    agents, events, kept = _tracklets(source, rig, drive, clock, t0, tally)
    ego = None if drive is None else _ego(rig, drive, t0, tally)
    readings: list[Readings] = [] if drive is None else oxts_readings(drive.t_ns - t0, drive.oxts)
    readings += _facing_ahead(stamps[LIDAR], sweep_begin, t0)
    yield Log(
        dataset=DATASET,
        source_log_id=source.resolve().name,
        source_uri=str(source),
        rate_hz=RATE_HZ,
        ego=ego,
        agents=agents,
        location=LOCATION,
        license=LICENSE,
        sensors=_sensors(source, rig, frames, bool(readings), drive is not None),
        frames=frames,
        readings=readings,
        events=events,
        notes=tally.notes(),
        extra={
            "t0_local": str(np.datetime64(t0, "ns")).replace("T", " "),
            "mercator_scale": None if drive is None else drive.scale,
            "tracklets": kept,
        },
    )


# ── Time and poses ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drive:
    """Where the IMU was; ``of_frame`` finds the row of a frame's number."""

    t_ns: Int[Array, " rows"]
    oxts: Float[Array, "rows 30"]
    xyz: Float[Array, "rows 3"]
    rotation: Float[Array, "rows 3 3"]
    scale: float
    of_frame: Mapping[int, int]

    def at(self, frame: int) -> SE3 | None:
        row = self.of_frame.get(frame)
        return None if row is None else SE3(self.rotation[row], self.xyz[row])


def _stamps(path: Path) -> Int[Array, " lines"]:
    """Local stamps [ns since 1970 in local time]; 0 for an empty line; none if there is no file."""
    if not path.is_file():
        return np.zeros(0, dtype=np.int64)
    lines = text_of(path).splitlines()
    found = np.zeros(len(lines), dtype=np.int64)
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            if not STAMP.fullmatch(line.strip()):
                raise ValueError(line)
            found[number] = np.datetime64(line.strip(), "ns").astype(np.int64)
        except ValueError as error:
            raise UnreadableFile(path, f"has no stamp in line {number + 1}") from error
    return found


def _drive(source: Path, stamps: Int[Array, " lines"], tally: Tally) -> _Drive | None:
    folder = source / OXTS_CHANNEL / "data"
    paths = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    numbered = {int(path.stem): path for path in paths if path.stem.isdecimal()}
    if not numbered:
        tally.add("missing", "no poses of the vehicle (oxts)")
        return None
    lost = len(stamps) - len(numbered)
    tally.add("missing", "stamps of GNSS/IMU lines that are not there", max(lost, 0))
    rows, times, numbers = [], [], []
    latest = 0
    for number, path in sorted(numbered.items()):
        stamp = int(stamps[number]) if number < len(stamps) else 0
        if stamp <= latest:
            reason = "GNSS/IMU lines without a stamp, or with one that repeats or goes back"
            tally.add("dropped", reason)
            continue
        values = read_oxts(path)
        if len(values) != 1:
            raise UnreadableFile(path, f"holds {len(values)} GNSS/IMU lines, not one")
        if not np.isfinite(values).all():
            tally.add("dropped", "GNSS/IMU lines with values that are not finite")
            continue
        latest = stamp
        rows.append(values[0])
        times.append(stamp)
        numbers.append(number)
    if not rows:
        return None
    oxts = np.array(rows)
    scale = mercator_scale(float(oxts[0, OXTS_COLUMN["lat"]]))
    xyz, rotation = imu_poses(oxts, scale)
    return _Drive(
        t_ns=np.array(times, dtype=np.int64), oxts=oxts, xyz=xyz, rotation=rotation, scale=scale,
        of_frame={number: row for row, number in enumerate(numbers)},
    )  # fmt: skip


def _ego(rig: Rig, drive: _Drive, t0: int, tally: Tally) -> EgoStates:
    tally.add("guessed", "the ego's box is placed as the publication draws the car")
    centre = (rig.velo_from_imu or VELO_FROM_IMU).inverse().apply(CENTRE_IN_VELO)
    column = {name: drive.oxts[:, at] for name, at in OXTS_COLUMN.items()}
    quaternions = [
        SE3(rotation, xyz).quaternion
        for rotation, xyz in zip(drive.rotation, drive.xyz, strict=True)
    ]
    return EgoStates(
        t_ns=drive.t_ns - t0,
        xyz=drive.xyz + drive.rotation @ centre,
        yaw=np.arctan2(drive.rotation[:, 1, 0], drive.rotation[:, 0, 0]),
        quaternion=np.array(quaternions),
        velocity=np.stack([column["ve"], column["vn"]], axis=1),
        acceleration=column["af"],
        yaw_rate=column["wu"],
        size=EGO_SIZE,
    )


# ── Calibration and payloads ─────────────────────────────────────────────────────────────────────


def _calibration_files(source: Path) -> dict[str, Path]:
    """Calibration of the date, beside the drive, or else within it."""
    found = {}
    for name in CALIBRATIONS:
        path = present(source.resolve().parent / name) or present(source / name)
        if path is not None:
            found[name] = path
    return found


def _rig(source: Path, tally: Tally) -> Rig:
    paths = _calibration_files(source)
    for name in CALIBRATIONS:
        if name not in paths:
            tally.add("missing", f"no {name}: where its sensors are is not known")
    velo_from_cam, velo_from_imu = None, None
    projections: dict[int, Array] = {}
    if "calib_imu_to_velo.txt" in paths:
        velo_from_imu = _r_and_t(paths["calib_imu_to_velo.txt"])
    if "calib_cam_to_cam.txt" in paths:
        path = paths["calib_cam_to_cam.txt"]
        told = read_calibration(path)
        for number in range(4):
            values = told.get(f"P_rect_0{number}")
            if values is not None and len(values) == 12:
                projections[number] = values.reshape(3, 4)
        if "calib_velo_to_cam.txt" in paths:
            rectified = transform(told, "R_rect_00", path=path)
            cam_from_velo = rectified @ _r_and_t(paths["calib_velo_to_cam.txt"])
            velo_from_cam = cam_from_velo.inverse()
    return Rig(velo_from_cam=velo_from_cam, velo_from_imu=velo_from_imu, projections=projections)


def _r_and_t(path: Path) -> SE3:
    """A transform told as ``R`` and ``T``."""
    told = read_calibration(path)
    rotation, translation = told.get("R"), told.get("T")
    if rotation is None or translation is None or (len(rotation), len(translation)) != (9, 3):
        raise UnreadableFile(path, "lacks a transform R, T", hint=f"It has {', '.join(told)}.")
    return rigid(SE3(rotation.reshape(3, 3), translation), path, "R")


def _frames(
    source: Path,
    stamps: Mapping[str, Int[Array, " lines"]],
    sweep_begin: Int[Array, " lines"],
    sweep_end: Int[Array, " lines"],
    drive: _Drive | None,
    tally: Tally,
) -> list[Frame]:
    """Images and sweeps at their own stamps, which still count from 1970."""
    frames = []
    for part in (*IMAGES, LIDAR):
        captured = payloads(source / part / "data", part)
        begin = sweep_begin if part == LIDAR and len(sweep_begin) else stamps[part]
        told = {number for number, stamp in enumerate(begin) if stamp > 0}
        tally.add(
            "missing", f"stamps of {part} whose files are not there", len(told - set(captured))
        )
        tally.add("dropped", f"files of {part} without a stamp", len(set(captured) - told))
        taken = set()
        for number in sorted(told & set(captured)):
            stamp = int(begin[number])
            if stamp in taken:
                tally.add("dropped", f"files of {part} with a stamp seen before")
                continue
            taken.add(stamp)
            end = int(sweep_end[number]) if part == LIDAR and number < len(sweep_end) else 0
            pose = None if drive is None else drive.at(number)
            frames.append(
                replace(
                    captured[number],
                    t_ns=stamp,
                    t_end_ns=end if end >= stamp else None,
                    frame_index=number,
                    world_from_ego=None if pose is None else tuple(pose_of(pose).tolist()),
                )
            )
        texts = source / part / "data"
        if part == LIDAR and not captured and texts.is_dir():
            tally.add("dropped", "sweeps as text, of a drive that was not synchronised",
                      sum(1 for _ in texts.glob("*.txt")))  # fmt: skip
    return frames


def _since(frame: Frame, t0: int) -> Frame:
    end = None if frame.t_end_ns is None else frame.t_end_ns - t0
    return replace(frame, t_ns=frame.t_ns - t0, t_end_ns=end)


def _facing_ahead(
    ahead: Int[Array, " lines"], begin: Int[Array, " lines"], t0: int
) -> list[Readings]:
    """When within each sweep the lidar looked ahead, which triggers the cameras."""
    count = min(len(ahead), len(begin))
    rows = np.flatnonzero((ahead[:count] > 0) & (begin[:count] > 0))
    rows = (
        rows[np.append(True, np.diff(np.maximum.accumulate(begin[rows])) > 0)]
        if len(rows)
        else rows
    )
    if not len(rows):
        return []
    return [
        Readings(
            channel=LIDAR, signal="facing_ahead", unit="s", t_ns=begin[rows] - t0,
            value=(ahead[rows] - begin[rows]) / 1e9,
        )
    ]  # fmt: skip


def _sensors(
    source: Path, rig: Rig, frames: Sequence[Frame], swept: bool, moving: bool
) -> list[Sensor]:
    ego_from_velo = (rig.velo_from_imu or VELO_FROM_IMU).inverse()
    ego_from_cam = None if rig.velo_from_cam is None else ego_from_velo @ rig.velo_from_cam
    rectified = not source.resolve().name.endswith("_extract")
    present_channels = {frame.channel for frame in frames}
    sensors = []
    for number, channel in enumerate(IMAGES):
        if channel not in present_channels:
            continue
        path = _calibration_files(source).get("calib_cam_to_cam.txt")
        told = {} if path is None else read_calibration(path)
        size = told.get(f"S_rect_0{number}" if rectified else f"S_0{number}")
        pixels = None if size is None or len(size) != 2 else (int(size[0]), int(size[1]))
        if rectified and number in rig.projections:
            sensors.append(camera(channel, rig.projections[number], ego_from_cam, pixels))
        else:
            sensors.append(_unrectified(channel, number, told, pixels))
    if LIDAR in present_channels or swept:
        place = pose_of(ego_from_velo)
        sensors.append(Sensor(channel=LIDAR, kind="lidar", ego_from_sensor=place))
    if moving:
        at_home = pose_of(SE3(np.eye(3), np.zeros(3)))
        sensors.append(Sensor(channel=OXTS_CHANNEL, kind="gnss", ego_from_sensor=at_home))
    return sensors


def _unrectified(
    channel: str, number: int, told: Mapping[str, Array], size: tuple[int, int] | None
) -> Sensor:
    """A camera as it is, with its distortion (k1, k2, p1, p2, k3)."""
    matrix = told.get(f"K_0{number}")
    distortion = told.get(f"D_0{number}")
    lens: tuple[float, ...] = ()
    if matrix is not None and len(matrix) == 9:
        lens = tuple(float(matrix[at]) for at in (0, 4, 2, 5))
    return Sensor(
        channel=channel, kind="camera", model="pinhole", intrinsics=lens,
        distortion=() if distortion is None else tuple(distortion.tolist()),
        width=size and size[0], height=size and size[1],
    )  # fmt: skip


# ── Tracklets ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """One pose of a tracklet."""

    track: int
    frame: int
    size: tuple[float, float, float]
    bottom: tuple[float, float, float]
    yaw: float
    occlusion: int
    truncation: int


def _tracklets(
    source: Path,
    rig: Rig,
    drive: _Drive | None,
    clock: Int[Array, " lines"],
    t0: int,
    tally: Tally,
) -> tuple[Observations, list[SourceEvent], dict[str, Any]]:
    """Boxes in the world, their occlusion and truncation as events, and what else is told."""
    path = source / TRACKLETS
    if not path.is_file():
        tally.add("missing", "no tracklets: who was there is not known")
        return Observations.none(), [], {}
    words, boxes, kept = _read_tracklets(path, tally)
    velo_from_imu = rig.velo_from_imu or VELO_FROM_IMU
    if rig.velo_from_imu is None:
        tally.add("guessed", "where the GNSS/IMU is: from the publication's drawing")
    imu_from_velo = velo_from_imu.inverse()
    rows, xyz, yaw = [], [], []
    for box in boxes:
        pose = None if drive is None else drive.at(box.frame)
        if pose is None or box.frame >= len(clock) or clock[box.frame] <= 0:
            tally.add("dropped", "boxes in the lidar's frame at a time without pose or stamp")
            continue
        world_from_velo = pose @ imu_from_velo
        centre = np.array([*box.bottom[:2], box.bottom[2] + box.size[2] / 2.0])
        ahead = world_from_velo.rotation @ [np.cos(box.yaw), np.sin(box.yaw), 0.0]
        rows.append(box)
        xyz.append(world_from_velo.apply(centre))
        yaw.append(float(np.arctan2(ahead[1], ahead[0])))
    if not rows:
        return Observations.none(), [], kept
    tally.add("missing", "tracklets have no id; their place in the file stands for it", len(words))
    strange = sorted({words[box.track] for box in rows} - set(CLASSES))
    tally.add("renamed", f"classes that KITTI does not have: {', '.join(strange)}", len(strange))
    agents = observations(
        track=np.array([box.track for box in rows], dtype=np.int64),
        t_ns=np.array([int(clock[box.frame]) - t0 for box in rows], dtype=np.int64),
        xyz=np.array(xyz), yaw=np.array(yaw), size=np.array([box.size for box in rows]),
        velocity=None, names=[str(index) for index in range(len(words))], source_cls=words,
        cls=[CLASSES.get(word, AgentClass.UNKNOWN) for word in words], tally=tally,
    )  # fmt: skip
    return agents, _events(rows, clock, t0), kept


def _read_tracklets(path: Path, tally: Tally) -> tuple[list[str], list[_Box], dict[str, Any]]:
    root = read_xml(path, "boost_serialization")
    words: list[str] = []
    boxes: list[_Box] = []
    kept: dict[str, Any] = {}
    for item in root.findall("./tracklets/item"):
        track = len(words)
        try:
            word = str(item.findtext("objectType")).strip()
            height, width, length = (float(str(item.findtext(name))) for name in "hwl")
            first = int(str(item.findtext("first_frame")))
            found = []
            for place, pose in enumerate(item.findall("./poses/item")):
                x, y, z, _, _, yaw = (float(str(pose.findtext(name))) for name in POSE)
                found.append(
                    _Box(
                        track=track, frame=first + place, size=(length, width, height),
                        bottom=(x, y, z), yaw=yaw,
                        occlusion=int(str(pose.findtext("occlusion", "-1"))),
                        truncation=int(str(pose.findtext("truncation", "-1"))),
                    )
                )  # fmt: skip
        except ValueError:
            tally.add("dropped", "tracklets whose numbers are none")
            words.append("")
            continue
        words.append(word)
        boxes += found
        if item.findtext("finished") not in (None, "1"):
            kept[str(track)] = "unfinished"
    return words, boxes, kept


def _events(boxes: Sequence[_Box], clock: Int[Array, " lines"], t0: int) -> list[SourceEvent]:
    """Stretches over which a tracklet is occluded, or not whole in the image of camera 2."""
    told = [
        (name, box, word)
        for name, plain in (("occlusion", "visible"), ("truncation", "in_image"))
        for box in boxes
        if (word := _word(name, box)) not in (None, plain)
    ]
    events: list[SourceEvent] = []
    held: tuple[str, int, str | None, int] | None = None
    for name, box, word in told:
        stamp = int(clock[box.frame]) - t0
        if held == (name, box.track, word, box.frame - 1):
            events[-1] = replace(events[-1], t1_ns=stamp)
        else:
            events.append(
                SourceEvent(
                    name=name, t0_ns=stamp, t1_ns=stamp, source_track_id=str(box.track),
                    detail={"is": word},
                )
            )  # fmt: skip
        held = (name, box.track, word, box.frame)
    return events


def _word(name: str, box: _Box) -> str | None:
    if name == "occlusion":
        return OCCLUSIONS.get(box.occlusion)
    return TRUNCATIONS.get(box.truncation)

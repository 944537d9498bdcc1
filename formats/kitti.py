"""What the KITTI benchmarks share: calibration, labels, the vehicle, GNSS/IMU lines, point files.

Frames of reference: ``cam`` is the rectified frame of camera 0 (x right, y down, z forward), in
which labels and projections are told; ``velo`` the lidar's and ``imu`` the GNSS/IMU unit's (both x
forward, y left, z up).

    velo_from_cam = (R0_rect · Tr_velo_to_cam)⁻¹        velo_from_imu = Tr_imu_to_velo

Source: Geiger et al., Vision meets Robotics: The KITTI Dataset, IJRR 2013; the development kits at
cvlibs.net/datasets/kitti (object, tracking, raw data).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from formats.files import read_bytes
from formats.media import Points
from formats.tally import Tally
from geometry.arrays import Array
from geometry.frames import SE3
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Frame, Readings, Sensor

LICENSE = "CC BY-NC-SA 3.0"
LOCATION = "Karlsruhe"
RATE_HZ = 10.0
EARTH_RADIUS_M = 6_378_137.0
"""As the development kit's Mercator projection takes it."""

EGO_SIZE = (4.77, 1.82, 1.52)
"""Length, width, height of the VW Passat B6 estate [m]."""
CENTRE_IN_VELO = np.array([0.5, 0.0, -0.97])
"""Middle of the vehicle's box: the lidar is 0.76 m before the rear axle and 1.73 m over the road (the
publication's drawing), the middle 1.26 m before the axle [m]."""
VELO_FROM_IMU = SE3(np.eye(3), np.array([-0.81, 0.32, -0.80]))
"""Where the calibration file is missing, from the publication's drawing."""

CLASSES = {
    "Car": AgentClass.VEHICLE,
    "Van": AgentClass.VEHICLE,
    "Truck": AgentClass.TRUCK,
    "Pedestrian": AgentClass.PEDESTRIAN,
    "Person_sitting": AgentClass.PEDESTRIAN,
    "Person (sitting)": AgentClass.PEDESTRIAN,
    "Person": AgentClass.PEDESTRIAN,
    "Cyclist": AgentClass.CYCLIST,
    "Tram": AgentClass.OTHER,
    "Misc": AgentClass.OTHER,
}
DONT_CARE = "DontCare"
NOT_AN_IMAGE = "images whose head is no PNG or JPEG"

OXTS = (
    ("lat", "deg"), ("lon", "deg"), ("alt", "m"), ("roll", "rad"), ("pitch", "rad"),
    ("yaw", "rad"), ("vn", "m/s"), ("ve", "m/s"), ("vf", "m/s"), ("vl", "m/s"), ("vu", "m/s"),
    ("ax", "m/s2"), ("ay", "m/s2"), ("az", "m/s2"), ("af", "m/s2"), ("al", "m/s2"),
    ("au", "m/s2"), ("wx", "rad/s"), ("wy", "rad/s"), ("wz", "rad/s"), ("wf", "rad/s"),
    ("wl", "rad/s"), ("wu", "rad/s"), ("pos_accuracy", "m"), ("vel_accuracy", "m/s"),
    ("navstat", ""), ("numsats", ""), ("posmode", ""), ("velmode", ""), ("orimode", ""),
)  # fmt: skip
"""Name and unit of each value of a GNSS/IMU line (``dataformat.txt``)."""
OXTS_COLUMN = {name: column for column, (name, _) in enumerate(OXTS)}
OXTS_CHANNEL = "oxts"


# ── Calibration ──────────────────────────────────────────────────────────────────────────────────


def read_calibration(path: Path) -> dict[str, Float[Array, " values"]]:
    """The lines of numbers of a calibration file by their names; other lines are left out.

    Raises:
        UnreadableFile: There are none.
    """
    found = {}
    for line in text_of(path).splitlines():
        name, _, rest = line.strip().partition(" ")
        try:
            values = np.array([float(word) for word in rest.split()])
        except ValueError:
            continue  # the time of calibration
        if len(values) and np.isfinite(values).all():
            found[name.rstrip(":")] = values
    if not found:
        raise UnreadableFile(path, "is no KITTI calibration: it has no lines of numbers")
    return found


def transform(calibration: Mapping[str, Float[Array, " values"]], *names: str, path: Path) -> SE3:
    """A 3 × 4 or 3 × 3 matrix of a calibration, whichever name it has there.

    Raises:
        UnreadableFile: There is none of the names, or it is no rigid transform.
    """
    for name in names:
        values = calibration.get(name)
        if values is None:
            continue
        if len(values) == 9:
            made = SE3(values.reshape(3, 3), np.zeros(3))
        elif len(values) == 12:
            matrix = values.reshape(3, 4)
            made = SE3(matrix[:, :3], matrix[:, 3])
        else:
            raise UnreadableFile(path, f"has {len(values)} numbers under {name}")
        return rigid(made, path, name)
    raise UnreadableFile(path, f"lacks {names[0]}", hint=f"It has {', '.join(calibration)}.")


def rigid(frame: SE3, path: Path, name: str) -> SE3:
    """The transform, if its rotation is one.

    Raises:
        UnreadableFile: It is not.
    """
    off = float(np.abs(frame.rotation @ frame.rotation.T - np.eye(3)).max())
    if off > 0.01 or np.linalg.det(frame.rotation) < 0.0:
        raise UnreadableFile(path, f"has no rotation under {name}")
    return frame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rig:
    """Where the sensors are on the vehicle.

    Attributes:
        velo_from_cam: Rectified camera 0 in the lidar's frame; None if not known.
        velo_from_imu: GNSS/IMU unit in the lidar's frame; None if not known.
        projections: 3 × 4 matrix of each rectified camera by its number.
    """

    velo_from_cam: SE3 | None
    velo_from_imu: SE3 | None
    projections: Mapping[int, Float[Array, "3 4"]]


NO_RIG = Rig(velo_from_cam=None, velo_from_imu=None, projections={})


def read_rig(path: Path) -> Rig:
    """Calibration of an object frame or a tracking sequence: one file.

    Raises:
        UnreadableFile: It is none.
    """
    told = read_calibration(path)
    rectified = transform(told, "R0_rect", "R_rect", path=path)
    cam_from_velo = rectified @ transform(told, "Tr_velo_to_cam", "Tr_velo_cam", path=path)
    imu = ("Tr_imu_to_velo", "Tr_imu_velo")
    return Rig(
        velo_from_cam=cam_from_velo.inverse(),
        velo_from_imu=transform(told, *imu, path=path) if any(n in told for n in imu) else None,
        projections={
            number: told[f"P{number}"].reshape(3, 4)
            for number in range(5)
            if f"P{number}" in told and len(told[f"P{number}"]) == 12
        },
    )


def camera(
    channel: str,
    projection: Float[Array, "3 4"],
    ego_from_cam: SE3 | None,
    size: tuple[int, int] | None,
) -> Sensor:
    """A rectified camera by its projection from camera 0's frame, P = K [I | t]."""
    matrix = projection[:, :3]
    offset = -np.linalg.solve(matrix, projection[:, 3]) if np.linalg.det(matrix) else np.zeros(3)
    place = None
    if ego_from_cam is not None:
        place = np.concatenate([ego_from_cam.apply(offset), ego_from_cam.quaternion])
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Sensor(
        channel=channel, kind="camera", model="pinhole", intrinsics=(fx, fy, cx, cy),
        ego_from_sensor=place, width=size and size[0], height=size and size[1],
    )  # fmt: skip


def pose_of(frame: SE3) -> Float[Array, "7"]:
    """Translation, then quaternion, as sensors have them."""
    return np.concatenate([frame.translation, frame.quaternion])


# ── Labels ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One line of a label file.

    Attributes:
        frame: Of tracking labels, else 0.
        track_id: Of tracking labels, else None.
        cls: The class, verbatim.
        truncated: Share outside the image, or a level in tracking labels.
        occluded: 0 visible, 1 partly, 2 largely, 3 unknown.
        alpha: Observation angle [rad].
        image_box: Left, top, right, bottom [px].
        size: (length, width, height) [m].
        bottom: Middle of the box's underside, cam frame [m].
        rotation: About the cam frame's y axis [rad].
        score: Of detections.
    """

    frame: int
    track_id: int | None
    cls: str
    truncated: float
    occluded: int
    alpha: float
    image_box: tuple[float, ...]
    size: tuple[float, float, float]
    bottom: tuple[float, float, float]
    rotation: float
    score: float | None


def read_labels(path: Path, tally: Tally, *, tracked: bool) -> Iterator[Label]:
    """Lines of a label file; lines that are none are counted and left out.

    Raises:
        UnreadableFile: The file cannot be read, or it ends within a label.
    """
    lines = [line for line in text_of(path, may_be_empty=True).splitlines() if line.strip()]
    for number, line in enumerate(lines):
        words = line.split()
        try:
            frame, track = (int(words[0]), int(words[1])) if tracked else (0, None)
            if tracked:
                words = words[2:]
            if len(words) not in (15, 16):
                raise ValueError(f"{len(words)} values")
            numbers = [float(word) for word in words[1:]]
            height, width, length, x, y, z, rotation = numbers[7:14]
            label = Label(
                frame=frame, track_id=track, cls=words[0], truncated=numbers[0],
                occluded=int(numbers[1]), alpha=numbers[2], image_box=tuple(numbers[3:7]),
                size=(length, width, height), bottom=(x, y, z), rotation=rotation,
                score=numbers[14] if len(numbers) > 14 else None,
            )  # fmt: skip
        except (ValueError, IndexError) as error:
            if number == len(lines) - 1:
                reason = f"ends with a line that is no KITTI label ({error})"
                raise UnreadableFile(path, reason, hint="Fetch the file again.") from error
            tally.add("dropped", "lines of label files that are no labels")
            continue
        yield label
    if not lines:
        tally.add("missing", "the label file is empty")


def boxes_in(
    target_from_cam: SE3, labels: Sequence[Label]
) -> tuple[Float[Array, "labels 3"], Float[Array, " labels"]]:
    """Box centres and headings of labels in another frame whose z axis is up.

    The centre is half a height above the underside (−y in the cam frame); the heading is that of
    the box's length, which points to (cos r, 0, −sin r) in the cam frame.
    """
    bottom = np.array([label.bottom for label in labels]).reshape(-1, 3)
    height = np.array([label.size[2] for label in labels])
    rotation = np.array([label.rotation for label in labels])
    centre = bottom - np.stack([0.0 * height, height / 2.0, 0.0 * height], axis=1)
    ahead = np.stack([np.cos(rotation), 0.0 * rotation, -np.sin(rotation)], axis=1)
    ahead = ahead @ target_from_cam.rotation.T
    return target_from_cam.apply(centre), np.arctan2(ahead[:, 1], ahead[:, 0])


# ── GNSS and IMU ─────────────────────────────────────────────────────────────────────────────────


def read_oxts(path: Path) -> Float[Array, "lines 30"]:
    """GNSS/IMU lines of a file.

    Raises:
        UnreadableFile: A line is none.
    """
    rows = []
    for number, line in enumerate(text_of(path).splitlines()):
        words = line.split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise UnreadableFile(path, f"has no numbers in line {number + 1}") from error
        if len(row) != len(OXTS):
            reason = f"has {len(row)} values in line {number + 1}; a GNSS/IMU line has {len(OXTS)}"
            raise UnreadableFile(path, reason, hint="Fetch the file again.")
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, len(OXTS))


def mercator_scale(latitude_deg: float) -> float:
    """By which the projection is scaled so that metres are metres at a latitude."""
    return float(np.cos(np.radians(latitude_deg)))


def imu_poses(
    values: Float[Array, "lines 30"], scale: float
) -> tuple[Float[Array, "lines 3"], Float[Array, "lines 3 3"]]:
    """World from IMU as the development kit defines it: x east, y north (Mercator), z up.

    x = s a λ, y = s a ln tan(π/4 + φ/2), z = altitude; R = Rz(yaw) Ry(pitch) Rx(roll).
    """
    latitude, longitude = (np.radians(values[:, OXTS_COLUMN[name]]) for name in ("lat", "lon"))
    x = scale * EARTH_RADIUS_M * longitude
    y = scale * EARTH_RADIUS_M * np.log(np.tan(np.pi / 4.0 + latitude / 2.0))
    xyz = np.stack([x, y, values[:, OXTS_COLUMN["alt"]]], axis=1)
    roll, pitch, yaw = (values[:, OXTS_COLUMN[name]] for name in ("roll", "pitch", "yaw"))
    return xyz, _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)


def latitude_longitude(
    xy: Float[Array, "points 2"], scale: float
) -> tuple[Float[Array, " points"], Float[Array, " points"]]:
    """Back from the world frame [deg]."""
    longitude = xy[:, 0] / (scale * EARTH_RADIUS_M)
    latitude = 2.0 * np.arctan(np.exp(xy[:, 1] / (scale * EARTH_RADIUS_M))) - np.pi / 2.0
    return np.degrees(latitude), np.degrees(longitude)


def oxts_readings(t_ns: Array, values: Float[Array, "lines 30"]) -> list[Readings]:
    """All values over time, under their own names."""
    return [
        Readings(channel=OXTS_CHANNEL, signal=name, t_ns=t_ns, value=values[:, column], unit=unit)
        for column, (name, unit) in enumerate(OXTS)
    ]


def _about(axis: int, angle: Float[Array, " many"]) -> Float[Array, "many 3 3"]:
    """Rotations about a coordinate axis."""
    made = np.zeros((len(angle), 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    made[:, axis, axis] = 1.0
    made[:, one, one] = made[:, two, two] = np.cos(angle)
    made[:, two, one] = np.sin(angle)
    made[:, one, two] = -np.sin(angle)
    return made


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def decode_velodyne(data: bytes) -> Points:
    """A sweep: x, y, z, reflectance as float32, in the lidar's frame."""
    return _points(data, ("intensity",))


def decode_waymo_in_kitti(data: bytes) -> Points:
    """A sweep of Waymo converted to KITTI's layout: two values more a point."""
    return _points(data, ("intensity", "elongation", "time_offset_s"))


def _points(data: bytes, names: tuple[str, ...]) -> Points:
    width = 3 + len(names)
    if len(data) % (4 * width):
        raise ValueError(f"{len(data)} bytes are no points of {width} numbers")
    values = np.frombuffer(data, dtype="<f4").reshape(-1, width)
    channels = {name: values[:, 3 + column] for column, name in enumerate(names)}
    return Points(xyz=values[:, :3].astype(np.float64), frame="sensor", channels=channels)


def image_size(path: Path) -> tuple[int, int] | None:
    """(width, height) from a picture's head; None where it cannot be told."""
    with path.open("rb") as file:
        begin = file.read(24)
    if begin[:8] == b"\x89PNG\r\n\x1a\n" and begin[12:16] == b"IHDR":
        width, height = struct.unpack(">II", begin[16:24])
        return int(width), int(height)
    return None


def payloads(
    folder: Path, channel: str, *, point_codec: str = "kitti_velodyne"
) -> dict[int, Frame]:
    """Images or sweeps of a folder by the number that is their name, times still 0."""
    codecs = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".bin": point_codec}
    found = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix in codecs and path.stem.isdecimal() and path.is_file():
                found[int(path.stem)] = Frame(
                    channel=channel, t_ns=0, uri=str(path), codec=codecs[path.suffix]
                )
    return found


def text_of(path: Path, *, may_be_empty: bool = False) -> str:
    """A text file.

    Raises:
        UnreadableFile: It cannot be read or is no text.
    """
    if may_be_empty and path.is_file() and path.stat().st_size == 0:
        return ""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, "is no text") from error

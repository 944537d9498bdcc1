"""KITTI's three layouts, written small: a straight street, one car, one walker."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

STEPS = 4
LATITUDE, LONGITUDE, ALTITUDE = 49.0110, 8.4230, 112.5
SPEED = 10.0  # [m/s] of the ego, to the north

# The lidar's x, y, z are the camera's z, −x, −y; camera 0 is 0.27 m before and 0.08 m under it.
CAM_FROM_VELO = "0 -1 0 0.0 0 0 -1 -0.08 1 0 0 -0.27"
VELO_FROM_IMU = "1 0 0 -0.81 0 1 0 0.32 0 0 1 -0.8"
FOCAL, CX, CY = 700.0, 600.0, 170.0
BASELINE = 0.54


def png(width: int = 64, height: int = 32) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\x00" + bytes(width) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    ends = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + ends


def sweep(width: int = 4) -> bytes:
    return np.arange(3 * width, dtype="<f4").tobytes()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def projection(offset: float) -> str:
    return f"{FOCAL} 0 {CX} {-FOCAL * offset} 0 {FOCAL} {CY} 0 0 0 1 0"


def calibration(*, tracking: bool = False) -> str:
    names = ("R_rect", "Tr_velo_cam", "Tr_imu_velo")
    if not tracking:
        names = ("R0_rect:", "Tr_velo_to_cam:", "Tr_imu_to_velo:")
    lines = [f"P{k}: {projection(BASELINE if k in (1, 3) else 0.0)}" for k in range(4)]
    values = ("1 0 0 0 1 0 0 0 1", CAM_FROM_VELO, VELO_FROM_IMU)
    lines += [f"{name} {value}" for name, value in zip(names, values, strict=True)]
    return "\n".join(lines) + "\n\n"


def label(cls: str, x: float, z: float, rotation: float, *, occluded: int = 0) -> str:
    """A box 4 m long, 2 m wide, 1.5 m high, whose underside is 1.65 m under camera 0."""
    if cls == "DontCare":
        return "DontCare -1 -1 -10 1.0 2.0 3.0 4.0 -1 -1 -1 -1000 -1000 -1000 -10"
    return f"{cls} 0.25 {occluded} -1.57 10.5 20.5 30.5 40.5 1.5 2.0 4.0 {x} 1.65 {z} {rotation}"


def oxts_line(step: int, *, yaw: float = np.pi / 2) -> str:
    """Drives north at 10 m/s."""
    metres_a_degree = np.pi / 180 * 6_378_137.0
    latitude = LATITUDE + SPEED * 0.1 * step / metres_a_degree
    values = [latitude, LONGITUDE, ALTITUDE, 0.0, 0.0, yaw, SPEED, 0.0, SPEED, 0.0, 0.0]
    values += [0.1, 0.2, 9.8, 0.5, 0.2, 9.8, 0.0, 0.0, 0.01, 0.0, 0.0, 0.02, 0.05, 0.01]
    return " ".join(repr(float(v)) for v in values) + " 4 10 5 5 6"


def write_object(root: Path) -> Path:
    """Two labelled frames: a car ahead of the ego, a walker to its right; a frame without labels."""
    folder = root / "training"
    for number in range(3):
        put(folder / "calib" / f"{number:06d}.txt", calibration())
        put(folder / "image_2" / f"{number:06d}.png", png())
        put(folder / "velodyne" / f"{number:06d}.bin", sweep())
    lines = [label("Car", 0.0, 20.0, -np.pi / 2), label("Pedestrian", 3.0, 10.0, 0.0)]
    put(folder / "label_2" / "000000.txt", "\n".join([*lines, label("DontCare", 0, 0, 0)]))
    put(folder / "label_2" / "000001.txt", lines[1] + "\n")
    return folder


def write_tracking(root: Path) -> Path:
    """One sequence: a parked car that the ego nears, a walker seen in frames 1 and 3."""
    folder = root / "training"
    lines = []
    for step in range(STEPS):
        z = 30.0 - SPEED * 0.1 * step  # the camera looks ahead
        lines.append(f"{step} 7 " + label("Van", 2.0, z, -np.pi / 2, occluded=int(step in (1, 2))))
        if step in (1, 3):
            lines.append(f"{step} 9 " + label("Person", 3.0, 10.0, 0.0))
        lines.append(f"{step} -1 " + label("DontCare", 0, 0, 0))
        put(folder / "image_02" / "0000" / f"{step:06d}.png", png())
        if step != 2:  # the lidar lost one
            put(folder / "velodyne" / "0000" / f"{step:06d}.bin", sweep())
    put(folder / "label_02" / "0000.txt", "\n".join(lines) + "\n")
    put(folder / "calib" / "0000.txt", calibration(tracking=True))
    put(folder / "oxts" / "0000.txt", "\n".join(oxts_line(k) for k in range(STEPS)) + "\n")
    return folder


def stamp(step: int, nanoseconds: int = 0) -> str:
    return f"2011-09-26 13:02:{25 + step // 10:02d}.{(step % 10) * 100_000_000 + nanoseconds:09d}"


def write_raw(root: Path, *, inside: bool = False) -> Path:
    """A drive with a tracklet; ``inside``: the calibration lies within the drive's folder."""
    drive = root / "2011_09_26" / "2011_09_26_drive_0001_sync"
    home = drive if inside else drive.parent
    size = "S_rect_02: 1.242000e+03 3.750000e+02\n"
    turn = "R_rect_00: 1 0 0 0 1 0 0 0 1\n"
    rect = "".join(f"P_rect_0{k}: {projection(BASELINE * (k % 2))}\n" for k in range(4))
    put(home / "calib_cam_to_cam.txt", "calib_time: 09-Jan-2012 13:57:47\n" + size + turn + rect)
    put(
        home / "calib_velo_to_cam.txt",
        "calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0.0 -0.08 -0.27\n",
    )
    put(home / "calib_imu_to_velo.txt", "R: 1 0 0 0 1 0 0 0 1\nT: -0.81 0.32 -0.8\n")
    for step in range(STEPS):
        put(drive / "oxts" / "data" / f"{step:010d}.txt", oxts_line(step) + "\n")
        put(drive / "image_02" / "data" / f"{step:010d}.png", png())
        if step != 2:
            put(drive / "velodyne_points" / "data" / f"{step:010d}.bin", sweep())
    for part, name, shift in (
        ("oxts", "timestamps", 5_000_001), ("image_02", "timestamps", 7_000_000),
        ("velodyne_points", "timestamps", 50_000_000),
        ("velodyne_points", "timestamps_start", 11), ("velodyne_points", "timestamps_end", 99_999_999),
    ):  # fmt: skip
        put(drive / part / f"{name}.txt", "".join(stamp(k, shift) + "\n" for k in range(STEPS)))
    poses = "".join(
        f"<item><tx>{20.0 - step}</tx><ty>4</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0.5</rz>"
        f"<state>2</state><occlusion>{int(step == 2)}</occlusion><truncation>0</truncation></item>"
        for step in range(1, STEPS)
    )
    put(
        drive / "tracklet_labels.xml",
        "<?xml version='1.0' encoding='UTF-8'?><!DOCTYPE boost_serialization>"
        "<boost_serialization signature='serialization::archive' version='9'>"
        "<tracklets class_id='0'><count>1</count><item_version>1</item_version>"
        "<item class_id='1'><objectType>Car</objectType><h>1.5</h><w>1.8</w><l>4.2</l>"
        f"<first_frame>1</first_frame><poses><count>3</count>{poses}</poses>"
        "<finished>1</finished></item></tracklets></boost_serialization>",
    )
    return drive

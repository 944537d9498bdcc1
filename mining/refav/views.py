"""What the cameras of a log see: boxes projected with the calibration that the lake keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from formats.argoverse2 import centre_in_ego
from geometry.arrays import Array
from geometry.boxes import corners
from geometry.cameras import Pinhole
from geometry.frames import SE3
from lake.literals import literal
from mining.refav.log import Log
from schemas.errors import MissingData, UnknownName


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A camera and where its vehicle was at each picture.

    Attributes:
        lens: Intrinsics.
        ego_from_camera: Where it is mounted.
        t_ns: When the pictures were taken [ns].
        poses: x, y, z [m], then the quaternion, scalar first, of the vehicle's sensor frame.
    """

    lens: Pinhole
    ego_from_camera: SE3
    t_ns: Int[Array, " pictures"]
    poses: Float[Array, "pictures 7"]


def camera(log: Log, name: str) -> Camera:
    """A camera of a log.

    Raises:
        UnknownName: The log has no such camera.
        MissingData: Its calibration or the vehicle's poses are not known.
    """
    sensors = log.lake.read("sensors", None, f"log_id = {log.log_id} and kind = 'camera'")
    known = {row["channel"]: row for row in sensors.to_pylist()}
    if name not in known:
        raise UnknownName("camera", str(name), sorted(known))
    row = known[name]
    columns = ["t_ns", *(f"ego_{k}" for k in ("x", "y", "z", "qw", "qx", "qy", "qz"))]
    where = f"log_id = {log.log_id} and channel = {literal(name)}"
    frames = log.lake.read("frames", columns, where).drop_null().sort_by("t_ns")
    poses = np.stack([frames[c].to_numpy().astype(np.float64) for c in columns[1:]], axis=-1)
    t_ns = frames["t_ns"].to_numpy()
    if not len(t_ns) and str(log.row["dataset"]).startswith("argoverse2"):
        t_ns, poses = _argoverse_poses(log)
    told = row["model"] == "pinhole" and row["intrinsics"] and row["width"] and row["height"]
    if not told or row["ext_x"] is None or not len(t_ns):
        raise MissingData(
            f"The log {log.name} lacks the calibration of {name}, or where the vehicle was when "
            "its pictures were taken.",
            hint="Leave within_camera_view out, or choose a log with pinhole cameras.",
        )
    fx, fy, cx, cy = row["intrinsics"][:4]
    k1, k2, k3 = (*(row["distortion"] or ()), 0.0, 0.0, 0.0)[:3]
    lens = Pinhole(
        fx=fx, fy=fy, cx=cx, cy=cy, width=row["width"], height=row["height"],
        distortion=(k1, k2, k3),
    )  # fmt: skip
    turn = np.array([row[f"ext_{k}"] for k in ("qw", "qx", "qy", "qz")], dtype=np.float64)
    place = np.array([row[f"ext_{k}"] for k in ("x", "y", "z")], dtype=np.float64)
    return Camera(lens, SE3.from_quaternion(turn, place), t_ns, poses)


def _argoverse_poses(log: Log) -> tuple[Array, Array]:
    """Times and poses of Argoverse's vehicle frame (its rear axle), from the boxes of the ego.

    Its logs come without pictures as well; then each stamp of the ego counts as one.
    """
    columns = ["t_ns", "x", "y", "z", "qw", "qx", "qy", "qz", "height"]
    where = f"log_id = {log.log_id} and valid"
    ego = log.lake.read("ego", columns, where).drop_null().sort_by("t_ns")
    poses = np.stack([ego[c].to_numpy().astype(np.float64) for c in columns[1:8]], axis=-1)
    for pose, height in zip(poses, ego["height"].to_pylist(), strict=True):
        pose[:3] = SE3.from_quaternion(pose[3:], pose[:3]).apply(-centre_in_ego(height))
    return ego["t_ns"].to_numpy(), poses


def in_view(log: Log, rows: Sequence[int], camera: Camera) -> Bool[Array, "rows steps"]:
    """Whether at least one of a box's eight corners lies in the picture nearest in time."""
    grid = log.grid
    mask = np.zeros((len(rows), len(grid.t_ns)), dtype=bool)
    flat = corners(log.boxes[list(rows)])
    half = grid.size[list(rows), 2][:, None] / 2
    z = grid.xyz[list(rows)][..., 2]
    levels = np.stack([z - half, z + half], axis=-1)
    for step, t_ns in enumerate(grid.t_ns):
        nearest = int(np.abs(camera.t_ns - t_ns).argmin())
        seen = np.flatnonzero(grid.seen[list(rows), step])
        if not len(seen):
            continue
        pose = camera.poses[nearest]
        log_from_camera = SE3.from_quaternion(pose[3:], pose[:3]) @ camera.ego_from_camera
        points = np.concatenate(
            [
                np.concatenate(
                    [flat[seen, step], np.repeat(levels[seen, step, k], 4).reshape(-1, 4, 1)],
                    axis=-1,
                )
                for k in range(2)
            ],
            axis=1,
        )
        uv, _, ahead = camera.lens.project(log_from_camera.inverse().apply(points))
        mask[seen, step] = (ahead & camera.lens.holds(uv)).any(axis=1)
    return mask

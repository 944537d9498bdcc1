"""A small nuScenes dataset in the exact published layout: tables, captures, map and bus messages.

Two scenes of one drive in Boston. The vehicle drives 5 m/s along x = 100 + 5 t, y = 200; key frames
every 0.5 s, a sweep of the lidar and of the camera half-way between. The map is a straight road of
two lanes that ends at a junction, where a connector turns left through a quarter circle.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

T0_US = 1_532_402_927_647_951
SPEED = 5.0  # [m/s]
KEY_FRAMES = 4
STEP_US = 500_000
LATE_US = {"LIDAR_TOP": 0, "CAM_FRONT": -35_491, "RADAR_FRONT": 12_345}
"""Of each sensor against the key frame."""
Row = dict[str, Any]

RADAR_FIELDS = (
    "x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms y_rms "
    "invalid_state pdh0 vx_rms vy_rms"
)
RADAR_SIZES = "4 4 4 1 2 4 4 4 4 4 1 1 1 1 1 1 1 1"
RADAR_TYPES = "F F F I I F F F F F I I I I I I I I"


def token(*parts: object) -> str:
    """32 hexadecimal digits that depend on the parts alone."""
    number = 0
    for letter in "/".join(map(str, parts)):
        number = (number * 1_000_003 + ord(letter)) % 2**128
    return f"{number:032x}"


def yaw_quaternion(yaw: float) -> list[float]:
    """Scalar first."""
    return [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]


def write_dataset(root: Path, *, version: str = "v1.0-mini") -> Path:
    """Everything; returns the folder of tables."""
    tables = make_tables()
    write_tables(root / version, tables)
    write_captures(root, tables)
    write_json(root / "maps" / "expansion" / "boston-seaport.json", make_map())
    for name, content in make_can_bus(T0_US).items():
        write_json(root / "can_bus" / f"scene-0103_{name}.json", content)
    return root / version


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=0))


def write_tables(folder: Path, tables: dict[str, list[Row]]) -> None:
    for name, rows in tables.items():
        write_json(folder / f"{name}.json", rows)


def make_tables() -> dict[str, list[Row]]:
    """All tables of both scenes."""
    sensors = [("CAM_FRONT", "camera"), ("LIDAR_TOP", "lidar"), ("RADAR_FRONT", "radar")]
    tables: dict[str, list[Row]] = {
        "category": [_named("category", n) for n in ("vehicle.car", "human.pedestrian.adult")],
        "attribute": [
            _named("attribute", n) for n in ("vehicle.moving", "vehicle.stopped", "pedestrian.moving")
        ],
        "visibility": [
            {"token": str(k + 1), "level": level, "description": f"visibility {level}"}
            for k, level in enumerate(("v0-40", "v40-60", "v60-80", "v80-100"))
        ],
        "sensor": [
            {"token": token("sensor", c), "channel": c, "modality": kind} for c, kind in sensors
        ],
        "calibrated_sensor": [
            {
                "token": token("calibrated", channel),
                "sensor_token": token("sensor", channel),
                "translation": [1.7, 0.1 * k, 1.5],
                "rotation": [0.5, -0.5, 0.5, -0.5],
                "camera_intrinsic": [[1266.4, 0.0, 816.2], [0.0, 1266.5, 491.5], [0.0, 0.0, 1.0]]
                if kind == "camera"
                else [],
            }
            for k, (channel, kind) in enumerate(sensors)
        ],
        "log": [
            {
                "token": token("log"), "logfile": "n008-2018-08-01-15-16-36-0400",
                "vehicle": "n008", "date_captured": "2018-08-01", "location": "boston-seaport",
            }
        ],
        "map": [
            {
                "token": token("map"), "log_tokens": [token("log")],
                "category": "semantic_prior", "filename": "maps/36092f0b03a857c6a3403e25b4b7aab3.png",
            }
        ],
        "scene": [], "sample": [], "sample_data": [], "ego_pose": [], "instance": [],
        "sample_annotation": [],
    }  # fmt: skip
    _add_scene(tables, "scene-0103", "Many peds right, wait for turning car", T0_US)
    _add_scene(tables, "scene-0553", "Night, after rain, big street", T0_US + 60_000_000)
    return tables


def _named(table: str, name: str) -> Row:
    return {"token": token(table, name), "name": name, "description": f"A {name}."}


def _add_scene(tables: dict[str, list[Row]], name: str, description: str, t0_us: int) -> None:
    samples = [token("sample", name, k) for k in range(KEY_FRAMES)]
    tables["scene"].append(
        {
            "token": token("scene", name), "name": name, "description": description,
            "log_token": token("log"), "nbr_samples": KEY_FRAMES,
            "first_sample_token": samples[0], "last_sample_token": samples[-1],
        }
    )  # fmt: skip
    for k, sample in enumerate(samples):
        t_us = t0_us + k * STEP_US
        tables["sample"].append(
            {
                "token": sample, "timestamp": t_us, "scene_token": token("scene", name),
                "prev": samples[k - 1] if k else "",
                "next": samples[k + 1] if k + 1 < KEY_FRAMES else "",
            }
        )  # fmt: skip
        for channel, late in LATE_US.items():
            _add_capture(tables, name, sample, channel, t_us + late, t0_us, key=True)
            if channel != "RADAR_FRONT" and k:
                _add_capture(
                    tables, name, sample, channel, t_us + late - STEP_US // 2, t0_us, key=False
                )
    _add_track(tables, name, "car", "vehicle.car", range(KEY_FRAMES))
    _add_track(tables, name, "walker", "human.pedestrian.adult", range(1, 3))


def _add_capture(
    tables: dict[str, list[Row]], scene: str, sample: str, channel: str, t_us: int, t0_us: int,
    *, key: bool,
) -> None:  # fmt: skip
    this = token("capture", channel, t_us)
    camera = channel.startswith("CAM")
    suffix = {"CAM_FRONT": "jpg", "LIDAR_TOP": "pcd.bin", "RADAR_FRONT": "pcd"}[channel]
    tables["sample_data"].append(
        {
            "token": this, "sample_token": sample, "ego_pose_token": this,
            "calibrated_sensor_token": token("calibrated", channel), "timestamp": t_us,
            "fileformat": "jpg" if camera else "pcd", "is_key_frame": key,
            "height": 900 if camera else 0, "width": 1600 if camera else 0, "prev": "", "next": "",
            "filename": f"{'samples' if key else 'sweeps'}/{channel}/"
            f"n008-2018-08-01-15-16-36-0400__{channel}__{t_us}.{suffix}",
        }
    )  # fmt: skip
    tables["ego_pose"].append(
        {
            "token": this, "timestamp": t_us, "rotation": yaw_quaternion(0.0),
            "translation": [100.0 + SPEED * (t_us - t0_us) / 1e6, 200.0, 0.0],
        }
    )  # fmt: skip


def _add_track(
    tables: dict[str, list[Row]], scene: str, name: str, category: str, steps: range
) -> None:
    boxes = [token("box", scene, name, k) for k in steps]
    tables["instance"].append(
        {
            "token": token("instance", scene, name), "category_token": token("category", category),
            "nbr_annotations": len(boxes), "first_annotation_token": boxes[0],
            "last_annotation_token": boxes[-1],
        }
    )  # fmt: skip
    car = name == "car"
    for n, k in enumerate(steps):
        word = ("vehicle.moving" if k < 2 else "vehicle.stopped") if car else "pedestrian.moving"
        tables["sample_annotation"].append(
            {
                "token": boxes[n], "sample_token": token("sample", scene, k),
                "instance_token": token("instance", scene, name),
                "visibility_token": "4" if k != 1 else "2",
                "attribute_tokens": [token("attribute", word)],
                "translation": [120.0 + 2.0 * k, 203.5, 0.9] if car else [130.0, 195.0 + k, 1.0],
                "size": [1.9, 4.6, 1.7] if car else [0.6, 0.7, 1.8],
                "rotation": yaw_quaternion(0.0 if car else math.pi / 2),
                "prev": boxes[n - 1] if n else "", "next": boxes[n + 1] if n + 1 < len(boxes) else "",
                "num_lidar_pts": 10 + k, "num_radar_pts": k,
            }
        )  # fmt: skip


def write_captures(root: Path, tables: dict[str, list[Row]]) -> None:
    for row in tables["sample_data"]:
        path = root / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".bin"):
            path.write_bytes(LIDAR.astype("<f4").tobytes())
        elif path.suffix == ".pcd":
            path.write_bytes(radar_file())
        else:
            path.write_bytes(b"\xff\xd8\xff\xe0 no picture \xff\xd9")


LIDAR = np.array([[1.0, 2.0, 3.0, 17.0, 4.0], [-1.5, 0.25, -1.75, 255.0, 31.0]])


def radar_file() -> bytes:
    """Two targets in the 18 published fields."""
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {RADAR_FIELDS}\nSIZE {RADAR_SIZES}\nTYPE {RADAR_TYPES}\n"
        f"COUNT {' '.join(['1'] * 18)}\n"
        "WIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA binary\n"
    )
    codes = {("F", "4"): "<f4", ("I", "1"): "<i1", ("I", "2"): "<i2"}
    dtype = np.dtype(
        [
            (name, codes[kind, size])
            for name, kind, size in zip(
                RADAR_FIELDS.split(), RADAR_TYPES.split(), RADAR_SIZES.split(), strict=True
            )
        ]
    )
    rows = np.zeros(2, dtype=dtype)
    rows["x"], rows["y"] = [10.0, 3.0], [0.0, 4.0]
    rows["vx"], rows["vy"], rows["rcs"], rows["id"] = (
        [-2.0, 0.6],
        [0.0, 0.8],
        [5.5, -3.0],
        [1, 300],
    )
    return header.encode() + rows.tobytes() + b"\n"


# ── The bus ──────────────────────────────────────────────────────────────────────────────────────


def make_can_bus(t0_us: int) -> dict[str, Any]:
    """Two seconds of messages: 5 m/s ahead, turning left at 0.1 rad/s, braking at 0.5 m/s²."""
    times = [t0_us - 100_000 + 20_000 * k for k in range(100)]
    return {
        "pose": [
            {
                "utime": t, "pos": [100.0, 200.0, 0.0], "orientation": [1.0, 0.0, 0.0, 0.0],
                "vel": [SPEED, 0.0, 0.0], "accel": [-0.5, 0.25, 9.8],
                "rotation_rate": [0.0, 0.0, 0.1],
            }
            for t in times
        ],
        "ms_imu": [
            {
                "utime": t, "linear_accel": [0.1, 0.2, 9.81], "q": [1.0, 0.0, 0.0, 0.0],
                "rotation_rate": [0.01, 0.02, 0.03],
            }
            for t in times[::2]
        ],
        "steeranglefeedback": [{"utime": t, "value": 0.5} for t in times],
        "vehicle_monitor": [
            {"utime": t, "vehicle_speed": 18.0, "brake": 3, "left_signal": 1} for t in times[::25]
        ],
        "zoesensors": [{"utime": t, "brake_sensor": 0.166} for t in times],
        "zoe_veh_info": [{"utime": t, "FL_wheel_speed": 41.7} for t in times],
        "route": [[90.0, 200.0], [150.0, 200.0]],
        "meta": {"pose": {"message_count": 100}},
    }  # fmt: skip


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


class MapWriter:
    """A map expansion in the making: corners become nodes, outlines polygons."""

    def __init__(self) -> None:
        self.layers: dict[str, Any] = {
            name: []
            for name in (
                "node", "line", "polygon", "drivable_area", "road_segment", "road_block", "lane",
                "ped_crossing", "walkway", "stop_line", "carpark_area", "road_divider",
                "lane_divider", "traffic_light", "lane_connector",
            )
        }  # fmt: skip
        self.layers |= {
            "version": "1.3", "canvas_edge": [2979.5, 2118.1], "arcline_path_3": {},
            "connectivity": {},
        }  # fmt: skip
        self._nodes: dict[tuple[float, float], str] = {}

    def nodes(self, points: list[tuple[float, float]]) -> list[str]:
        made = []
        for x, y in points:
            if (x, y) not in self._nodes:
                self._nodes[x, y] = token("node", x, y)
                self.layers["node"].append({"token": self._nodes[x, y], "x": x, "y": y})
            made.append(self._nodes[x, y])
        return made

    def line(self, points: list[tuple[float, float]]) -> str:
        name = token("line", points)
        self.layers["line"].append({"token": name, "node_tokens": self.nodes(points)})
        return name

    def polygon(self, points: list[tuple[float, float]], *holes: list[tuple[float, float]]) -> str:
        name = token("polygon", points)
        self.layers["polygon"].append(
            {
                "token": name, "exterior_node_tokens": self.nodes(points),
                "holes": [{"node_tokens": self.nodes(hole)} for hole in holes],
            }
        )  # fmt: skip
        return name

    def paint(self, points: list[tuple[float, float]], kinds: list[str]) -> list[Row]:
        return [
            {"node_token": node, "segment_type": kind}
            for node, kind in zip(self.nodes(points), kinds, strict=True)
        ]

    def add(self, layer: str, name: str, **fields: Any) -> None:
        self.layers[layer].append({"token": name, **fields})


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def straight(x0: float, y0: float, yaw: float, length: float) -> Row:
    """An arc-line path that does not turn, told as nuScenes tells it: an S between two arcs of 0."""
    end = [x0 + length * math.cos(yaw), y0 + length * math.sin(yaw), yaw]
    return {
        "start_pose": [x0, y0, yaw], "end_pose": end, "shape": "LSR", "radius": 999.999,
        "segment_length": [0.0, length, 0.0],
    }  # fmt: skip


def make_map() -> dict[str, Any]:
    """Lanes ``right`` (y = 200) and ``left`` (y = 203.5) eastwards to x = 150, then ``turn``."""
    made = MapWriter()
    middle = [(100.0, 201.75), (125.0, 201.75), (150.0, 201.75)]
    kinds = ["SINGLE_SOLID_WHITE", "DOUBLE_DASHED_WHITE", "NIL"]
    edge = {
        "right": (198.25, 201.75, 200.0),
        "left": (201.75, 205.25, 203.5),
    }
    for name, (low, high, centre) in edge.items():
        outline = [(100.0, low), (150.0, low), (150.0, high), (100.0, high)]
        outline.insert(1, (125.0, low))
        outline.insert(4, (125.0, high))
        made.add(
            "lane", name, polygon_token=made.polygon(outline), lane_type="CAR",
            from_edge_line_token=made.line([(100.0, low), (100.0, high)]),
            to_edge_line_token=made.line([(150.0, high), (150.0, low)]),
            left_lane_divider_segments=made.paint(middle, kinds) if name == "right" else [],
            right_lane_divider_segments=made.paint(middle, kinds) if name == "left" else [],
        )  # fmt: skip
        made.layers["arcline_path_3"][name] = [straight(100.0, centre, 0.0, 50.0)]
    made.add("lane_connector", "turn", polygon_token=made.polygon(rectangle(150, 203, 160, 214)))
    made.layers["arcline_path_3"]["turn"] = [
        {
            "start_pose": [150.0, 203.5, 0.0], "end_pose": [160.0, 213.5, math.pi / 2],
            "shape": "LSL", "radius": 10.0, "segment_length": [5.0 * math.pi, 0.0, 0.0],
        }
    ]  # fmt: skip
    made.layers["connectivity"] = {
        "left": {"incoming": [], "outgoing": ["turn"]},
        "turn": {"incoming": ["left"], "outgoing": ["beyond"]},
        "right": {"incoming": [], "outgoing": []},
    }
    made.add("lane_divider", "paint", line_token=made.line(middle),
             lane_divider_segments=made.paint(middle, kinds))  # fmt: skip
    made.add("road_divider", "median", line_token=made.line([(100.0, 205.25), (150.0, 205.25)]),
             road_segment_token="road")  # fmt: skip
    made.add("road_segment", "road", polygon_token=made.polygon(rectangle(100, 195, 150, 210)),
             is_intersection=False, drivable_area_token="")  # fmt: skip
    made.add("road_segment", "junction", polygon_token=made.polygon(rectangle(150, 195, 170, 215)),
             is_intersection=True, drivable_area_token="")  # fmt: skip
    made.add("road_block", "block", polygon_token=made.polygon(rectangle(100, 198, 150, 205.5)),
             from_edge_line_token="", to_edge_line_token="", road_segment_token="road")  # fmt: skip
    hole = rectangle(155, 198, 157, 199)
    made.add(
        "drivable_area", "tarmac",
        polygon_tokens=[made.polygon(rectangle(100, 195, 170, 215), hole),
                        made.polygon(rectangle(300, 195, 310, 215))],
    )  # fmt: skip
    made.add("ped_crossing", "zebra", polygon_token=made.polygon(rectangle(140, 195, 144, 210)),
             road_segment_token=None)  # fmt: skip
    made.add("walkway", "path", polygon_token=made.polygon(rectangle(100, 190, 150, 195)))
    made.add(
        "stop_line", "halt", polygon_token=made.polygon(rectangle(136, 198.5, 138, 205)),
        stop_line_type="TRAFFIC_LIGHT", ped_crossing_tokens=[], traffic_light_tokens=["lamp"],
        road_block_token="block",
    )  # fmt: skip
    made.add(
        "stop_line", "yield", polygon_token=made.polygon(rectangle(151, 203, 152, 204)),
        stop_line_type="YIELD", ped_crossing_tokens=[], traffic_light_tokens=[],
        road_block_token=None,
    )  # fmt: skip
    made.add("carpark_area", "lot", polygon_token=made.polygon(rectangle(100, 210, 120, 220)),
             orientation=0.361, road_block_token="block")  # fmt: skip
    bulb = {"tx": 0.0, "ty": 0.0, "tz": 0.6, "rx": 0.0, "ry": 0.0, "rz": 0.0}
    for name, x in (("lamp", 165.0), ("unposed", 0.0)):
        made.add(
            "traffic_light", name, line_token=made.line([(166.0, 200.0), (168.0, 200.0)]),
            traffic_light_type="VERTICAL", from_road_block_token="block",
            items=[
                {"color": color, "shape": "CIRCLE", "rel_pos": bulb, "to_road_block_tokens": []}
                for color in ("RED", "GREEN")
            ],
            pose={"tx": x, "ty": 200.0 if x else 0.0, "tz": 2.4, "rx": 0.0, "ry": 0.0, "rz": 0.1},
        )  # fmt: skip
    return made.layers

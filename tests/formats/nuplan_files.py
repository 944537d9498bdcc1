"""Writes small nuPlan logs and maps in the layout of the published ones (nuplan-devkit 1.2)."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geometry.arrays import Array
from geometry.frames import quaternion_from_yaw

CITY, VERSION, EPSG = "us-nv-las-vegas-strip", "9.15.1915", 32611
T0_US = 1_629_900_000_123_457
ORIGIN = np.array([664_430.25, 3_999_650.5])
YAW = 0.5  # [rad] everything drives this way
SPEED = 10.0  # [m/s]

LOG_SCHEMA = """
CREATE TABLE category (token BLOB NOT NULL, name VARCHAR(64), description TEXT, PRIMARY KEY (token));
CREATE TABLE log (token BLOB NOT NULL, vehicle_name VARCHAR(64), date VARCHAR(64),
    timestamp INTEGER, logfile VARCHAR(64), location VARCHAR(64), map_version VARCHAR(64),
    PRIMARY KEY (token));
CREATE TABLE ego_pose (token BLOB NOT NULL, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT,
    qw FLOAT, qx FLOAT, qy FLOAT, qz FLOAT, vx FLOAT, vy FLOAT, vz FLOAT,
    acceleration_x FLOAT, acceleration_y FLOAT, acceleration_z FLOAT,
    angular_rate_x FLOAT, angular_rate_y FLOAT, angular_rate_z FLOAT,
    epsg INTEGER, log_token BLOB NOT NULL, PRIMARY KEY (token),
    FOREIGN KEY(log_token) REFERENCES log (token));
CREATE TABLE camera (token BLOB NOT NULL, log_token BLOB NOT NULL, channel VARCHAR(64),
    model VARCHAR(64), translation BLOB, rotation BLOB, intrinsic BLOB, distortion BLOB,
    width INTEGER, height INTEGER, PRIMARY KEY (token));
CREATE TABLE image (token BLOB NOT NULL, next_token BLOB, prev_token BLOB,
    ego_pose_token BLOB NOT NULL, camera_token BLOB NOT NULL, filename_jpg VARCHAR(128),
    timestamp INTEGER, PRIMARY KEY (token));
CREATE TABLE lidar (token BLOB NOT NULL, log_token BLOB NOT NULL, channel VARCHAR(64),
    model VARCHAR(64), translation BLOB, rotation BLOB, PRIMARY KEY (token));
CREATE TABLE scene (token BLOB NOT NULL, log_token BLOB NOT NULL, name TEXT,
    goal_ego_pose_token BLOB, roadblock_ids TEXT, PRIMARY KEY (token));
CREATE TABLE lidar_pc (token BLOB NOT NULL, next_token BLOB, prev_token BLOB,
    ego_pose_token BLOB NOT NULL, lidar_token BLOB NOT NULL, scene_token BLOB,
    filename VARCHAR(128), timestamp INTEGER, PRIMARY KEY (token));
CREATE TABLE track (token BLOB NOT NULL, category_token BLOB NOT NULL, width FLOAT,
    length FLOAT, height FLOAT, PRIMARY KEY (token));
CREATE TABLE lidar_box (token BLOB NOT NULL, lidar_pc_token BLOB NOT NULL,
    track_token BLOB NOT NULL, next_token BLOB, prev_token BLOB, x FLOAT, y FLOAT, z FLOAT,
    width FLOAT, length FLOAT, height FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, yaw FLOAT,
    confidence FLOAT, PRIMARY KEY (token));
CREATE TABLE traffic_light_status (token BLOB NOT NULL, lidar_pc_token BLOB NOT NULL,
    lane_connector_id INTEGER, status VARCHAR(8), PRIMARY KEY (token));
CREATE TABLE scenario_tag (token BLOB NOT NULL, lidar_pc_token BLOB NOT NULL, type TEXT,
    agent_track_token BLOB, PRIMARY KEY (token));
"""


def token(kind: int, number: int) -> bytes:
    """Eight bytes, as nuPlan's tokens are."""
    return struct.pack(">HHI", 0xC0DE, kind, number)


LOG, EGO, CAMERA, IMAGE, LIDAR, SCENE, SWEEP, TRACK, BOX, LIGHT, TAG, CATEGORY = range(12)
CATEGORIES = ("vehicle", "bicycle", "pedestrian", "traffic_cone", "barrier", "czone_sign",
              "generic_object")  # fmt: skip
TRACK_CATEGORY = (0, 2, 6)
"""Three tracks: a car ahead of the ego, a pedestrian who stands, and a thing on the road."""


@dataclass(frozen=True)
class Truth:
    """What was written."""

    source: Path
    ego_us: Array
    ego_xyz: Array
    sweep_us: Array


def pickled(values: Sequence[Any]) -> bytes:
    """A list of numbers, or of such lists, as ``pickle.dumps`` writes it (protocol 2)."""
    return b"\x80\x02" + _opcodes(values) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    return b"](" + b"".join(_opcodes(part) for part in value) + b"e"


def ahead(distance: Array | float, left: float = 0.0) -> Array:
    """Points along the road in the world [m]."""
    along = np.asarray(distance, dtype=np.float64)[..., None] * [np.cos(YAW), np.sin(YAW)]
    return np.asarray(ORIGIN + along + left * np.array([-np.sin(YAW), np.cos(YAW)]))


def write_log(path: Path, *, seconds: float = 2.0, scene_s: float = 1.0) -> Truth:
    """A drive straight ahead at 10 m/s: poses at 100 Hz, sweeps at 20 Hz, images at 10 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".db")
    steps = int(seconds * 100)
    ego_us = T0_US + np.arange(steps, dtype=np.int64) * 10_000
    xy = ahead((ego_us - T0_US) / 1e6 * SPEED)
    ego_xyz = np.concatenate([xy, np.full((steps, 1), 606.5)], axis=1)
    q = quaternion_from_yaw(np.array(YAW)).tolist()
    sweeps = np.arange(0, steps, 5)
    sweep_us = ego_us[sweeps] + 3  # a sweep is stamped on its own, a little off its pose
    images = np.arange(0, steps, 10)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "category": [(token(CATEGORY, k), name, "") for k, name in enumerate(CATEGORIES)],
        "log": [(token(LOG, 0), "veh-35", "2021-08-25", T0_US - 7, name, "las_vegas", CITY)],
        "ego_pose": [
            (token(EGO, k), int(t), *map(float, xyz), *q, SPEED, 0.0, 0.01, 0.2, 0.3, 9.8, 0.001,
             0.002, 0.1, EPSG, token(LOG, 0))
            for k, (t, xyz) in enumerate(zip(ego_us, ego_xyz, strict=True))
        ],
        "camera": [
            (token(CAMERA, 0), token(LOG, 0), "CAM_F0", "", pickled([1.5, 0.0, 1.6]),
             pickled([0.5, -0.5, 0.5, -0.5]),
             pickled([[1545.0, 0.0, 960.0], [0.0, 1546.0, 560.0], [0.0, 0.0, 1.0]]),
             pickled([-0.356, 0.172, -0.002, 0.0005, -0.05]), 1920, 1080)
        ],
        "image": [
            (token(IMAGE, k), None, None, token(EGO, int(step)), token(CAMERA, 0),
             f"{name}/CAM_F0/{k:04d}.jpg", int(ego_us[step]) + 1)
            for k, step in enumerate(images)
        ],
        "lidar": [
            (token(LIDAR, 0), token(LOG, 0), "MergedPointCloud", "", pickled([0.0, 0.0, 0.0]),
             pickled([1.0, 0.0, 0.0, 0.0]))
        ],
        "scene": [
            (token(SCENE, k), token(LOG, 0), f"{name}_{k}", token(EGO, steps - 1), "11,401,12")
            for k in range(int(np.ceil(seconds / scene_s)))
        ],
        "lidar_pc": [
            (token(SWEEP, k), None, None, token(EGO, int(step)), token(LIDAR, 0),
             token(SCENE, int(step / 100 / scene_s)), f"{name}/MergedPointCloud/{k:04d}.pcd",
             int(sweep_us[k]))
            for k, step in enumerate(sweeps)
        ],
        "track": [
            (token(TRACK, k), token(CATEGORY, kind), 2.0, 4.5, 1.6)
            for k, kind in enumerate(TRACK_CATEGORY)
        ],
        "lidar_box": [],
        "traffic_light_status": [
            (token(LIGHT, 2 * k + c), token(SWEEP, k), 301 + c, ("red", "green")[c])
            for k in range(len(sweeps)) for c in (0, 1)
        ],
        "scenario_tag": [
            (token(TAG, 0), token(SWEEP, 3), "following_lane_with_lead", token(TRACK, 0)),
            (token(TAG, 1), token(SWEEP, 3), "stationary", None),
            (token(TAG, 2), token(SWEEP, len(sweeps) - 1), "near_multiple_vehicles", None),
        ],
    }  # fmt: skip
    velocity = SPEED * np.array([np.cos(YAW), np.sin(YAW)])
    for k in range(len(sweeps)):
        car = ahead((sweep_us[k] - T0_US) / 1e6 * SPEED + 20.0)
        for number, (xy_k, v, size) in enumerate((
            (car, velocity, (2.0, 4.5, 1.6)),
            (ahead(30.0, left=4.0), (0.0, 0.0), (0.7, 0.8, 1.75)),
            (ahead(50.0, left=-2.0), (0.0, 0.0), (0.5, 0.5, 0.5)),
        )):  # fmt: skip
            rows["lidar_box"].append(
                (token(BOX, 3 * k + number), token(SWEEP, k), token(TRACK, number), None, None,
                 *map(float, xy_k), 607.0, *size, *map(float, v), 0.0, YAW, 0.9)
            )  # fmt: skip
    write_tables(path, LOG_SCHEMA, rows)
    return Truth(path, ego_us, ego_xyz, sweep_us)


def write_tables(path: Path, schema: str, rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> None:
    """A SQLite file of some tables."""
    database = sqlite3.connect(path)
    database.executescript(schema)
    for table, values in rows.items():
        for row in values:
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    database.commit()
    database.close()


# ── The map ──────────────────────────────────────────────────────────────────────────────────────

MAP_SCHEMA = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL,
    definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL,
    identifier TEXT UNIQUE, description TEXT DEFAULT '', last_change DATETIME,
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL,
    m TINYINT NOT NULL);
CREATE TABLE meta (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, value TEXT);
CREATE TABLE boundaries (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom LINESTRING,
    boundary_segment_fids TEXT(256), has_reflectors BOOLEAN, boundary_type_fid INTEGER,
    creator_id TEXT(256));
CREATE TABLE baseline_paths (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom LINESTRING,
    path_type_fid INTEGER, creator_id TEXT(256), lane_fid INTEGER, lane_connector_fid INTEGER,
    dubins_node_fids TEXT(256));
CREATE TABLE lanes_polygons (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    lane_group_fid INTEGER, lane_fid INTEGER, lane_index MEDIUMINT, creator_id TEXT(256),
    name TEXT(256), road_type_fid INTEGER, lane_type_fid INTEGER, width MEDIUMINT,
    left_offset REAL, right_offset REAL, min_speed REAL, max_speed REAL, stops MEDIUMINT,
    left_boundary_fid INTEGER, right_boundary_fid INTEGER, speed_limit_mps REAL,
    left_has_reflectors BOOLEAN, right_has_reflectors BOOLEAN, from_edge_fid INTEGER,
    to_edge_fid INTEGER);
CREATE TABLE lane_connectors (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom LINESTRING,
    exit_lane_group_fid INTEGER, exit_lane_fid INTEGER, entry_lane_group_fid INTEGER,
    lane_group_connector_fid INTEGER, entry_lane_fid INTEGER, intersection_fid INTEGER,
    turn_type_fid INTEGER, bulb_fids TEXT(256), traffic_light_stop_line_fids TEXT(256),
    overlap MEDIUMINT, creator_id TEXT(256), reflector_side_fid INTEGER,
    left_has_reflectors BOOLEAN, right_has_reflectors BOOLEAN, speed_limit_mps REAL);
CREATE TABLE gen_lane_connectors_scaled_width_polygons (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON, baseline_path_fid INTEGER,
    lane_connector_fid INTEGER, from_edge_fid INTEGER, to_edge_fid INTEGER,
    left_boundary_fid INTEGER, right_boundary_fid INTEGER);
CREATE TABLE lane_groups_polygons (fid INTEGER PRIMARY KEY NOT NULL, geom POLYGON,
    creator_id TEXT(256), left_boundary_fid INTEGER, right_boundary_fid INTEGER,
    from_edge_fid INTEGER, to_edge_fid INTEGER);
CREATE TABLE lane_group_connectors (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    intersection_fid INTEGER, from_lane_group_fid INTEGER, to_lane_group_fid INTEGER,
    creator_id TEXT(256), from_edge_fid INTEGER, to_edge_fid INTEGER, left_boundary_fid INTEGER,
    right_boundary_fid INTEGER);
CREATE TABLE stop_polygons (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    stop_polygon_type_fid INTEGER, lane_group_fid INTEGER, lane_fids TEXT(256),
    lane_connector_fids TEXT(256), traffic_light_fids TEXT(256), crosswalk_fids TEXT(256),
    precedence_area_fids TEXT(256), creator_id TEXT(256));
CREATE TABLE intersections (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    creator_id TEXT(256), intersection_type_fid INTEGER, is_mini BOOLEAN);
CREATE TABLE crosswalks (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    intersection_fids TEXT(256), lane_fids TEXT(256), creator_id TEXT(256), is_marked BOOLEAN);
CREATE TABLE walkways (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    creator_id TEXT(256));
CREATE TABLE carpark_areas (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    heading REAL, creator_id TEXT(256));
CREATE TABLE generic_drivable_areas (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    geom POLYGON, creator_id TEXT(256));
CREATE TABLE road_segments (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON,
    lane_group_fids TEXT(256));
CREATE TABLE traffic_lights (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT,
    ori_mean_yaw REAL, creator_id TEXT(256));
CREATE TABLE dubins_nodes (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT,
    radius REAL, heading REAL, creator_id TEXT(256));
"""
LAYERS = ("boundaries", "baseline_paths", "lanes_polygons", "lane_connectors",
          "gen_lane_connectors_scaled_width_polygons", "lane_groups_polygons",
          "lane_group_connectors", "stop_polygons", "intersections", "crosswalks", "walkways",
          "carpark_areas", "generic_drivable_areas", "road_segments", "traffic_lights",
          "dubins_nodes")  # fmt: skip

LANE_WIDTH = 3.5


def road_line(begin: float, end: float, left: float) -> Array:
    """A line along the road, with points every 10 m or so, in the world [m]."""
    return ahead(np.linspace(begin, end, max(2, int((end - begin) / 10) + 1)), left)


def gp(kind: str, xy: Array, *, envelope: bool = True) -> bytes:
    """Points of the world as a GeoPackage keeps them: header, then WKB in degrees."""
    import shapely
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
    degrees = np.stack(to_degrees.transform(xy[..., 0], xy[..., 1]), axis=-1)
    make = {"POINT": shapely.Point, "LINESTRING": shapely.LineString, "POLYGON": shapely.Polygon}
    shape = make[kind](degrees)
    wkb: bytes = shapely.to_wkb(shape, byte_order=1)
    x0, y0, x1, y1 = shape.bounds
    box = struct.pack("<4d", x0, x1, y0, y1) if envelope else b""
    return b"GP" + bytes([0, 0b011 if envelope else 0b001]) + struct.pack("<i", 4326) + box + wkb


def write_map(path: Path, *, projection: str | None = f"epsg:{EPSG}") -> None:
    """Two lanes, an intersection with two connectors, one lane behind it.

    Lanes 101 (left) and 102 (a bike lane, right) of group 11 run from 0 to 40 m, connectors 301 and
    302 from 40 to 60 m, lane 201 of group 12 from 60 to 120 m.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    w = LANE_WIDTH
    line = lambda b, e, y: gp("LINESTRING", road_line(b, e, y))  # noqa: E731
    flipped = lambda b, e, y: gp("LINESTRING", road_line(b, e, y)[::-1])  # noqa: E731

    def area(b: float, e: float, right: float, left: float) -> bytes:
        ring = np.concatenate([road_line(b, e, left), road_line(b, e, right)[::-1]])
        return gp("POLYGON", ring)

    def lane(fid: int, group: int, place: int, kind: int, b: float, e: float, y: float,
             sides: tuple[int, int]) -> tuple[Any, ...]:  # fmt: skip
        shape = area(b, e, y - w / 2, y + w / 2)
        return (fid, shape, group, fid, place, "", "", 0, kind, 350, 0.0, 0.0, 0.0, 20.0, 0,
                *sides, 11.176, 0, 0, 1, 2)  # fmt: skip

    def connector(fid: int, begin: int, end: int, y: float, turn: int) -> tuple[Any, ...]:
        return (fid, line(40, 60, y), 11, begin, 12, 401, end, 501, turn, "", "601", 0, "", None,
                0, 0, None)  # fmt: skip

    rows: dict[str, list[tuple[Any, ...]]] = {
        "gpkg_spatial_ref_sys": [("WGS 84", 4326, "EPSG", 4326, "GEOGCS", "")],
        "gpkg_contents": [
            (name, "features", name, "", None, None, None, None, None, 4326) for name in LAYERS
        ],
        "gpkg_geometry_columns": [(name, "geom", "GEOMETRY", 4326, 0, 0) for name in LAYERS],
        "meta": [(1, "geographicCoordSystem", "epsg:4326")]
        + ([(2, "projectedCoordSystem", projection)] if projection else []),
        "boundaries": [
            (1, line(0, 40, w / 2), "", 0, 2, ""),
            (2, flipped(0, 40, -w / 2), "", 0, 0, ""),
            (3, line(0, 40, -1.5 * w), "", 0, 2, ""),
            (4, line(40, 60, w / 2), "", 0, 3, ""),
            (5, line(40, 60, -w / 2), "", 0, 3, ""),
            (6, line(60, 120, w / 2), "", 0, 2, ""),
            (7, line(60, 120, -w / 2), "", 0, 2, ""),
        ],
        "baseline_paths": [
            (1, line(0, 40, 0.0), 0, "", 101, None, ""),
            (2, line(0, 40, -w), 0, "", 102, None, ""),
            (3, line(40, 60, 0.0), 0, "", None, 301, ""),
            (4, line(60, 120, 0.0), 0, "", 201, None, ""),
        ],
        "lanes_polygons": [
            lane(101, 11, 0, 0, 0, 40, 0.0, (1, 2)),
            lane(102, 11, 1, 1, 0, 40, -w, (2, 3)),
            lane(201, 12, 0, 0, 60, 120, 0.0, (6, 7)),
        ],
        "lane_connectors": [connector(301, 101, 201, 0.0, 0), connector(302, 102, 201, -w, 1)],
        "gen_lane_connectors_scaled_width_polygons": [
            (1, area(40, 60, -w / 2, w / 2), 3, 301, 1, 2, 4, 5)
        ],
        "lane_groups_polygons": [
            (11, area(0, 40, -1.5 * w, w / 2), "", 1, 3, 1, 2),
            (12, area(60, 120, -w / 2, w / 2), "", 6, 7, 1, 2),
        ],
        "lane_group_connectors": [(401, area(40, 60, -w, w / 2), 501, 11, 12, "", 1, 2, 4, 5)],
        "stop_polygons": [
            (601, area(38, 40, -1.5 * w, w / 2), 2, 11, "101,102", "", "701", "", "", "")
        ],
        "intersections": [(501, area(40, 60, -10.0, 10.0), "", 1, 0)],
        "crosswalks": [(801, area(42, 45, -10.0, 10.0), "501", "", "", 1)],
        "walkways": [(811, area(0, 40, 4.0, 6.0), "")],
        "carpark_areas": [(821, area(0, 20, 8.0, 20.0), 0.0, "")],
        "generic_drivable_areas": [(831, area(0, 20, 6.0, 8.0), "")],
        "road_segments": [(841, area(0, 40, -1.5 * w, w / 2), "11")],
        "traffic_lights": [(701, gp("POINT", ahead(62.0, 6.0), envelope=False), 0.0, "")],
        "dubins_nodes": [(1, gp("POINT", ahead(0.0)), 0.0, YAW, "")],
    }
    write_tables(path, MAP_SCHEMA, rows)


def write_maps(folder: Path) -> Path:
    """A maps folder as downloaded; returns the map of the city."""
    path = folder / "nuplan-maps-v1.0" / CITY / VERSION / "map.gpkg"
    write_map(path)
    listing = {CITY: {"version": VERSION, "layers": {}}}
    (folder / "nuplan-maps-v1.0" / "nuplan-maps-v1.0.json").write_text(json.dumps(listing))
    return path

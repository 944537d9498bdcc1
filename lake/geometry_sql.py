"""Geometry for SQL without an extension: WKB in, by shapely, vectorised over Arrow batches.

Names and meaning follow OGC's simple features (``ST_…``); geometries are the BLOBs of
``map_features.wkb``, in the frame of the map's logs, lengths in metres. A null gives a null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from geometry.arrays import Array

BLOB, DOUBLE, BOOLEAN, TEXT = "BLOB", "DOUBLE", "BOOLEAN", "VARCHAR"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryFunction:
    """One function.

    Attributes:
        name: As in SQL.
        takes: SQL types of its arguments.
        gives: SQL type of its answer.
        doc: What it gives.
    """

    name: str
    takes: tuple[str, ...]
    gives: str
    doc: str


FUNCTIONS: tuple[GeometryFunction, ...] = (
    GeometryFunction(name="st_point", takes=(DOUBLE, DOUBLE), gives=BLOB, doc="The point (x, y)."),
    GeometryFunction(
        name="st_make_envelope", takes=(DOUBLE, DOUBLE, DOUBLE, DOUBLE), gives=BLOB,
        doc="The rectangle xmin, ymin, xmax, ymax.",
    ),
    GeometryFunction(
        name="st_from_text", takes=(TEXT,), gives=BLOB, doc="A geometry from WKT.",
    ),
    GeometryFunction(name="st_text", takes=(BLOB,), gives=TEXT, doc="A geometry as WKT."),
    GeometryFunction(
        name="st_distance", takes=(BLOB, BLOB), gives=DOUBLE, doc="Least distance [m].",
    ),
    GeometryFunction(
        name="st_dwithin", takes=(BLOB, BLOB, DOUBLE), gives=BOOLEAN,
        doc="Whether two are no farther apart than so many metres.",
    ),
    GeometryFunction(
        name="st_contains", takes=(BLOB, BLOB), gives=BOOLEAN,
        doc="Whether the second lies within the first.",
    ),
    GeometryFunction(
        name="st_within", takes=(BLOB, BLOB), gives=BOOLEAN,
        doc="Whether the first lies within the second.",
    ),
    GeometryFunction(
        name="st_intersects", takes=(BLOB, BLOB), gives=BOOLEAN, doc="Whether two meet.",
    ),
    GeometryFunction(name="st_length", takes=(BLOB,), gives=DOUBLE, doc="Of a line, or round an area [m]."),
    GeometryFunction(name="st_area", takes=(BLOB,), gives=DOUBLE, doc="[m²]."),
    GeometryFunction(name="st_centroid", takes=(BLOB,), gives=BLOB, doc="The centre of mass."),
    GeometryFunction(
        name="st_buffer", takes=(BLOB, DOUBLE), gives=BLOB, doc="Widened by so many metres.",
    ),
    GeometryFunction(
        name="st_intersection", takes=(BLOB, BLOB), gives=BLOB, doc="What two have in common.",
    ),
    GeometryFunction(
        name="st_locate", takes=(BLOB, BLOB), gives=DOUBLE,
        doc="How far along a line its nearest place to a point is [m].",
    ),
    GeometryFunction(
        name="st_box", takes=(DOUBLE, DOUBLE, DOUBLE, DOUBLE, DOUBLE), gives=BLOB,
        doc="The footprint of a road user: x, y, yaw, length, width.",
    ),
)  # fmt: skip
"""In the order of the documentation."""


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to a connection; shapely is loaded when one is called."""
    for function in FUNCTIONS:
        connection.create_function(
            function.name,
            _vectorised(function),
            list(function.takes),
            function.gives,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )


def _vectorised(function: GeometryFunction) -> Any:
    """Batches of Arrow arrays in, one out; rows with a null come out null."""
    # DuckDB counts the parameters, so there must be as many as the function takes.
    one: Callable[[Any], pa.Array] = lambda a: _apply(function, a)  # noqa: E731
    two: Callable[[Any, Any], pa.Array] = lambda a, b: _apply(function, a, b)  # noqa: E731
    three: Callable[[Any, Any, Any], pa.Array] = lambda a, b, c: _apply(function, a, b, c)  # noqa: E731
    four: Callable[..., pa.Array] = lambda a, b, c, d: _apply(function, a, b, c, d)  # noqa: E731
    five: Callable[..., pa.Array] = lambda a, b, c, d, e: _apply(function, a, b, c, d, e)  # noqa: E731
    return (one, two, three, four, five)[len(function.takes) - 1]


def _apply(function: GeometryFunction, *columns: pa.ChunkedArray) -> pa.Array:
    import shapely

    count = len(columns[0])
    known = np.ones(count, dtype=bool)
    for column in columns:
        known &= np.asarray(column.is_valid()).astype(bool)
    rows = np.flatnonzero(known)
    values = []
    for column, kind in zip(columns, function.takes, strict=True):
        chosen = column.take(pa.array(rows)).to_numpy(zero_copy_only=False)
        values.append(shapely.from_wkb(chosen) if kind == BLOB else chosen)
    made = _COMPUTE[function.name](shapely, *values)
    if function.gives == BLOB:
        made = shapely.to_wkb(made)
    kinds = {BLOB: pa.binary(), DOUBLE: pa.float64(), BOOLEAN: pa.bool_(), TEXT: pa.string()}
    full = np.full(count, None, dtype=object)
    full[rows] = made
    return pa.array(full, type=kinds[function.gives], from_pandas=True)


def _box(shapely: Any, x: Array, y: Array, yaw: Array, length: Array, width: Array) -> Array:
    from geometry.boxes import corners

    flat = np.stack([x, y, yaw, length, width], axis=-1).astype(np.float64)
    ring = np.asarray(corners(flat))
    return np.asarray(shapely.polygons(ring))


_COMPUTE: dict[str, Callable[..., Any]] = {
    "st_point": lambda shapely, x, y: shapely.points(x, y),
    "st_make_envelope": lambda shapely, x0, y0, x1, y1: shapely.box(x0, y0, x1, y1),
    "st_from_text": lambda shapely, text: shapely.from_wkt(text),
    "st_text": lambda shapely, a: shapely.to_wkt(a, rounding_precision=3),
    "st_distance": lambda shapely, a, b: shapely.distance(a, b),
    "st_dwithin": lambda shapely, a, b, metres: shapely.dwithin(a, b, metres),
    "st_contains": lambda shapely, a, b: shapely.contains(a, b),
    "st_within": lambda shapely, a, b: shapely.within(a, b),
    "st_intersects": lambda shapely, a, b: shapely.intersects(a, b),
    "st_length": lambda shapely, a: shapely.length(a),
    "st_area": lambda shapely, a: shapely.area(a),
    "st_centroid": lambda shapely, a: shapely.centroid(a),
    "st_buffer": lambda shapely, a, metres: shapely.buffer(a, metres),
    "st_intersection": lambda shapely, a, b: shapely.intersection(a, b),
    "st_locate": lambda shapely, line, point: shapely.line_locate_point(line, point),
    "st_box": _box,
}

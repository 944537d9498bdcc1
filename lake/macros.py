"""What SQL over the lake knows beside its tables: driving macros, routes, views in time.

Relations take the aliases of rows: ``FROM actors a JOIN actors b USING (log_id, t_ns) WHERE
ahead_of(b, a) AND gap(a, b) < 20``. ``a`` and ``b`` may be rows of ``ego``, ``agents`` or ``actors``
of the same time; lengths, speeds and times in SI units. A value that is not known makes the answer
null, so that unknown is neither true nor false.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.tables import TABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """One thing that queries may use as if it were built in.

    Attributes:
        name: As in SQL.
        parameters: In order, with defaults as DuckDB writes them.
        body: An expression, or a query if ``table``.
        doc: What it gives, with its unit.
        table: Whether it stands after FROM.
    """

    name: str
    parameters: str
    body: str
    doc: str
    table: bool = False

    @property
    def statement(self) -> str:
        """What makes it."""
        kind = "TABLE " if self.table else ""
        return f"CREATE MACRO {self.name}({self.parameters}) AS {kind}({self.body})"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A query that stands as a table.

    Attributes:
        name: As in SQL.
        body: The query.
        doc: What a row is.
    """

    name: str
    body: str
    doc: str

    @property
    def statement(self) -> str:
        """What makes it."""
        return f"CREATE VIEW {self.name} AS {self.body}"


_SHARED = ", ".join(TABLES["agents"].schema.names)

VIEWS: tuple[View, ...] = (
    View(
        name="actors",
        doc="Everyone, ego included, at one time: the columns of `agents`.",
        body=f"""
            SELECT {_SHARED} FROM (SELECT *, 'vehicle' AS cls FROM ego)
            UNION ALL SELECT {_SHARED} FROM agents
        """,
    ),
    View(
        name="frames_with_ego",
        doc="Captures with the ego's state at or before each: the columns of `frames`, then "
        "`ego_t_ns`, `x`, `y`, `z`, `yaw`, `vx_map`, `vy_map` of the box centre.",
        body="""
            SELECT f.*, e.t_ns AS ego_t_ns, e.x, e.y, e.z, e.yaw, e.vx_map, e.vy_map
            FROM frames f ASOF LEFT JOIN (SELECT * FROM ego WHERE valid) e
            ON f.log_id = e.log_id AND f.t_ns >= e.t_ns
        """,
    ),
    View(
        name="actors_with_lights",
        doc="Actors on lanes that have a signal, with what it showed last: the columns of `actors`, "
        "then `light`, `light_t_ns`, `stop_x`, `stop_y`.",
        body="""
            SELECT a.*, l.state AS light, l.t_ns AS light_t_ns, l.stop_x, l.stop_y
            FROM actors a ASOF JOIN (SELECT * FROM lights WHERE lane_id IS NOT NULL) l
            ON a.log_id = l.log_id AND a.lane_id = l.lane_id AND a.t_ns >= l.t_ns
        """,
    ),
    View(
        name="critical_scenes",
        doc="Scenes with their worst criticality: the columns of `scenes`, then the measures of "
        "`criticality` over all pairs; only scenes that were tagged.",
        body="""
            SELECT s.*, c.* EXCLUDE (pair_id, log_id, scene_id, actor_id, other_id, run_id)
            FROM scenes s JOIN criticality c ON c.scene_id = s.scene_id AND c.actor_id IS NULL
        """,
    ),
    View(
        name="ledger_open",
        doc="The rows of `ledger` that still hold: without refusals of a source or record that "
        "came in by a later run, or from the same bytes.",
        body="""
            WITH told AS (
                SELECT l.*, r.started_unix_ns AS began
                FROM ledger l LEFT JOIN runs r ON r.run_id = l.run_id
            )
            SELECT l.* EXCLUDE (began) FROM told l ANTI JOIN told i
            ON l.kind = 'rejected' AND i.kind = 'ingested' AND i.uri = l.uri
            AND (i.log_id IS NULL OR (i.record = l.record AND l.record <> ''))
            AND (i.source_sha256 = l.source_sha256 OR i.began > l.began)
        """,
    ),
)
"""Beside the tables themselves."""

_BESIDE = "abs(metres_ahead(a, b)) <= (a.length + b.length) / 2"
_IN_PATH = "abs(metres_left(a, b)) <= (a.width + b.width) / 2"


def _value(name: str, parameters: str, body: str, doc: str) -> Macro:
    return Macro(name=name, parameters=parameters, body=body, doc=doc)


def _query(name: str, parameters: str, body: str, doc: str) -> Macro:
    return Macro(name=name, parameters=parameters, body=body, doc=doc, table=True)


MACROS: tuple[Macro, ...] = (
    _value("distance", "a, b", "sqrt((a.x - b.x)^2 + (a.y - b.y)^2)", "Between the centres [m]."),
    _value(
        "within", "a, b, metres", "(a.x - b.x)^2 + (a.y - b.y)^2 <= metres^2",
        "Whether the centres are no farther apart than so many metres.",
    ),
    _value("speed", "a", "sqrt(a.vx_map^2 + a.vy_map^2)", "[m/s]."),
    _value("kmh", "metres_per_second", "metres_per_second * 3.6", "A speed in km/h."),
    _value("seconds", "ns", "ns / 1e9", "A time in seconds."),
    _value(
        "angle_between", "p, q", "abs(atan2(sin(p - q), cos(p - q)))",
        "Least angle between two headings, in [0, π] [rad].",
    ),
    _value(
        "metres_ahead", "a, b", "(b.x - a.x) * cos(a.yaw) + (b.y - a.y) * sin(a.yaw)",
        "How far the centre of b is ahead of that of a, along a's heading [m].",
    ),
    _value(
        "metres_left", "a, b", "(b.y - a.y) * cos(a.yaw) - (b.x - a.x) * sin(a.yaw)",
        "How far the centre of b is to the left of that of a [m].",
    ),
    _value(
        "ahead_of", "b, a", f"metres_ahead(a, b) > 0 AND {_IN_PATH}",
        "Whether b is in front of a and in its path: its centre ahead, the widths overlapping.",
    ),
    _value(
        "behind", "b, a", f"metres_ahead(a, b) < 0 AND {_IN_PATH}",
        "Whether b is behind a, the widths overlapping.",
    ),
    _value(
        "left_of", "b, a", f"metres_left(a, b) > (a.width + b.width) / 2 AND {_BESIDE}",
        "Whether b is beside a, on its left.",
    ),
    _value(
        "right_of", "b, a", f"metres_left(a, b) < -(a.width + b.width) / 2 AND {_BESIDE}",
        "Whether b is beside a, on its right.",
    ),
    _value(
        "gap", "a, b",
        "CASE WHEN metres_ahead(a, b) >= (a.length + b.length) / 2 "
        "THEN metres_ahead(a, b) - (a.length + b.length) / 2 "
        "WHEN metres_ahead(a, b) >= -(a.length + b.length) / 2 THEN 0 END",
        "Bumper to bumper from a to b ahead of it, along a's heading; 0 where they overlap along it, "
        "null where b is behind [m].",
    ),
    _value(
        "closing_speed", "a, b",
        "(a.vx_map - b.vx_map) * cos(a.yaw) + (a.vy_map - b.vy_map) * sin(a.yaw)",
        "How fast a comes nearer to b, along a's heading [m/s].",
    ),
    _value(
        "ttc", "a, b",
        "CASE WHEN closing_speed(a, b) > 0 THEN gap(a, b) / closing_speed(a, b) "
        "WHEN closing_speed(a, b) <= 0 AND gap(a, b) >= 0 THEN 'inf'::DOUBLE END",
        "Time to collision of a with b ahead of it at constant speeds; inf where the gap does not "
        "close, null where b is behind [s] (Hayward 1972).",
    ),
    _value(
        "headway", "a, b",
        "CASE WHEN speed(a) > 0 THEN gap(a, b) / speed(a) "
        "WHEN speed(a) = 0 AND gap(a, b) >= 0 THEN 'inf'::DOUBLE END",
        "Time headway of a behind b; inf where a stands, null where b is behind [s].",
    ),
    _value(
        "same_direction", "a, b", "cos(a.yaw - b.yaw) > sqrt(0.5)",
        "Whether the headings differ by less than 45°.",
    ),
    _value(
        "oncoming", "a, b", "cos(a.yaw - b.yaw) < -sqrt(0.5)",
        "Whether the headings are opposed, to within 45°.",
    ),
    _value("lane_of", "a", "a.lane_id", "Feature id of the lane that a is on, or null."),
    _value(
        "same_lane", "a, b", "a.lane_id = b.lane_id",
        "Whether both are on one lane; null where one of them is on none.",
    ),
    _value(
        "source_x", "a, log", "log.origin_x + a.x::DOUBLE",
        "The source's own x of a position; `log` is its row of `logs` [m].",
    ),
    _value("source_y", "a, log", "log.origin_y + a.y::DOUBLE", "Likewise y [m]."),
    _query(
        "actors_of_scene", "of_scene",
        """
            SELECT a.*, (a.t_ns - s.t0_ns) / 1e9 AS t_s FROM scenes s JOIN actors a
            ON a.log_id = s.log_id AND a.t_ns BETWEEN s.t0_ns AND s.t1_ns
            WHERE s.scene_id = of_scene
        """,
        "Everyone's states in one scene, with the seconds since its begin.",
    ),
    _query(
        "successors", "of_map, of_lane",
        "SELECT to_id AS lane_id FROM map_edges "
        "WHERE map_id = of_map AND kind = 'successor' AND from_id = of_lane",
        "Lanes that continue a lane.",
    ),
    _query(
        "reachable", "of_map, from_lane, metres := 500",
        """
            WITH RECURSIVE steps AS (
                SELECT from_id, to_id, length_m FROM map_edges e JOIN map_features m
                ON m.map_id = e.map_id AND m.feature_id = e.from_id
                WHERE e.map_id = of_map AND m.map_id = of_map AND kind = 'successor'
            ), found(lane_id, driven) USING KEY (lane_id) AS (
                SELECT from_lane::BIGINT, 0::DOUBLE
                UNION
                SELECT s.to_id, min(f.driven + s.length_m)
                FROM found f JOIN steps s ON s.from_id = f.lane_id
                LEFT JOIN recurring.found r ON r.lane_id = s.to_id
                WHERE f.driven + s.length_m <= metres
                AND (r.lane_id IS NULL OR r.driven > f.driven + s.length_m + 1e-6)
                GROUP BY s.to_id
            )
            SELECT lane_id, driven AS distance_m FROM found
        """,
        "`lane_id`, `distance_m`: lanes that can be driven to without a lane change within so many "
        "metres, and how far it is from begin to begin [m].",
    ),
    _query(
        "route", "of_map, from_lane, to_lane, metres := 5000",
        """
            WITH RECURSIVE steps AS (
                SELECT from_id, to_id,
                    CASE kind WHEN 'successor' THEN length_m ELSE length_m / 2 END AS cost
                FROM map_edges e JOIN map_features m
                ON m.map_id = e.map_id AND m.feature_id = e.from_id
                WHERE e.map_id = of_map AND m.map_id = of_map
                AND kind IN ('successor', 'left', 'right')
            ), walk(lane_id, driven, path) USING KEY (lane_id) AS (
                SELECT from_lane::BIGINT, 0::DOUBLE, [from_lane::BIGINT]
                UNION
                SELECT s.to_id, min(w.driven + s.cost), arg_min(w.path || [s.to_id], w.driven + s.cost)
                FROM walk w JOIN steps s ON s.from_id = w.lane_id
                LEFT JOIN recurring.walk r ON r.lane_id = s.to_id
                WHERE w.driven + s.cost <= metres
                AND (r.lane_id IS NULL OR r.driven > w.driven + s.cost + 1e-6)
                GROUP BY s.to_id
            )
            SELECT generate_subscripts(path, 1) AS step, unnest(path) AS lane_id FROM walk
            WHERE lane_id = to_lane
        """,
        "`step`, `lane_id`: a shortest way from lane to lane over successors and lane changes.",
    ),
    _query(
        "reading", "of_signal, of_channel := NULL",
        "SELECT log_id, channel, t_ns, value, unit, text FROM readings "
        "WHERE signal = of_signal AND (of_channel IS NULL OR channel = of_channel)",
        "What one quantity read over time, to be joined ASOF.",
    ),
    _query(
        "frames_with_reading", "of_signal, of_channel := NULL",
        """
            SELECT f.*, r.channel AS reading_channel, r.t_ns AS reading_t_ns, r.value, r.unit, r.text
            FROM frames f ASOF LEFT JOIN (
                SELECT * FROM readings
                WHERE signal = of_signal AND (of_channel IS NULL OR channel = of_channel)
            ) r ON f.log_id = r.log_id AND f.t_ns >= r.t_ns
        """,
        "The columns of `frames`, then `reading_channel`, `reading_t_ns`, `value`, `unit`, `text`: "
        "what a quantity read last before each capture, on whichever channel that was unless one is "
        "named.",
    ),
)  # fmt: skip
"""In the order of the documentation."""


def statements() -> Iterator[str]:
    """What makes all views and macros, each after those that it uses."""
    for view in VIEWS:
        yield view.statement
    for macro in MACROS:
        yield macro.statement

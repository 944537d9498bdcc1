"""The Arrow schema of every table of the lake, with what each column means.

Rules (why: DuckDB must filter every column correctly over Lance): signed integers, float32/64,
bool, string, binary, and lists of those; no unsigned, float16, dictionary, large or nested types.
Columns in SI units are bare; any other unit is in the name. What is not known is null.
``docs/tables.md`` is written from this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 5
"""Raised with every change of the tables: a lake of a newer version is refused, one of an older
version gains the columns that it lacks, as null."""

EMBEDDING_WIDTH = 64
"""Length of a scene's vector."""

_TYPES = {
    "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(),
    "f32": pa.float32(), "f64": pa.float64(), "bool": pa.bool_(), "str": pa.string(),
    "bin": pa.binary(), "[i64]": pa.list_(pa.int64()), "[f32]": pa.list_(pa.float32()),
    "[f64]": pa.list_(pa.float64()), "[str]": pa.list_(pa.string()),
    "vec": pa.list_(pa.float32(), EMBEDDING_WIDTH),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, Arrow type, meaning, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake.

    Attributes:
        name: As in SQL.
        doc: What a row is.
        key: Columns that identify a row.
        columns: In order.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with nullability."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])


def _table(name: str, doc: str, key: str, columns: str) -> Table:
    """A table from lines ``name type[?] meaning``; ``?`` marks a column that may be null."""
    made = []
    for line in filter(str.strip, columns.splitlines()):
        column, kind, meaning = line.strip().split(maxsplit=2)
        made.append(Column(column, _TYPES[kind.rstrip("?")], meaning, kind.endswith("?")))
    return Table(name, doc, tuple(key.split()), tuple(made))


_MADE_BY = """
    run_id i64 The run that made the row (`runs`)
"""

LOGS = _table("logs", "A continuous recording.", "log_id", """
    log_id i64 Stable hash of dataset and source id
    dataset str Family of the source, such as argoverse2_sensor
    split str? train, val, test, … if the source says
    source_log_id str The source's own id, verbatim
    source_uri str File or folder that it was read from
    source_record str Which record of the file, empty if it holds one log
    source_sha256 str Fingerprint of the bytes that were read
    license str? Of the data, if the source says
    location str? City or place
    map_id i64? Of `map_features`; null where there is no map
    t0_unix_ns i64? When it began; null where the source hides it
    dur_ns i64 From the first to the last state, signal, capture or reading [ns]
    rate_hz f32 Nominal rate of the tracks [Hz]
    origin_x f64 Source x of the log frame's origin: source = origin + table value [m]
    origin_y f64 Likewise for y
    origin_z f64 Likewise for z
    epsg i32? Of the source's world frame, where it is projected
    weather str? clear, cloudy, rain, snow or fog
    daylight str? day, dusk or night
    has_ego bool Whether the source names an ego
    has_lights bool Whether signal states were recorded at all
    n_agents i32 Road users beside the ego
    n_frames i32 Sensor captures
    distance_m f32? Driven by the ego [m]
    extra str? Other facts of the source, JSON
    converter str Reader and version that made the rows
    run_id i64 The run that made the row (`runs`)
""")  # fmt: skip

SENSORS = _table("sensors", "A sensor of a log, with its calibration.", "log_id sensor_id", """
    log_id i64 Of `logs`
    sensor_id i32 Index within the log
    channel str The source's own name
    kind str camera, lidar, radar, imu, gnss, can or other
    model str pinhole, fisheye, mei, ftheta or none
    intrinsics [f64]? fx, fy, cx, cy [px], then as the model defines
    distortion [f64]? As the model defines
    width i32? Likewise [px]
    height i32? Likewise [px]
    ext_x f64? Sensor in the source's ego frame [m]
    ext_y f64? Likewise [m]
    ext_z f64? Likewise [m]
    ext_qw f64? Rotation, scalar first
    ext_qx f64? Rotation
    ext_qy f64? Rotation
    ext_qz f64? Rotation
""")  # fmt: skip

_STATE = """
    x f32? Box centre in the log's frame [m]
    y f32? Likewise [m]
    z f32? Likewise [m]
    yaw f32? Heading, counter-clockwise from x [rad]
    vx_map f32? Velocity along the frame's x; derived where `tracks.velocity_source` says so [m/s]
    vy_map f32? Along y [m/s]
"""

EGO = _table("ego", "The recording vehicle at one time.", "log_id t_ns", """
    log_id i64 Of `logs`
    track_id i64 Always 0
    t_ns i64 Since the log began [ns]
    valid bool Whether it was observed; if not, the state is null
""" + _STATE + """
    qw f32? Attitude, scalar first; null where only the heading is known
    qx f32? Attitude
    qy f32? Attitude
    qz f32? Attitude
    ax f32? Acceleration along the heading [m/s²]
    yaw_rate f32? [rad/s]
    steering f32? Front wheel angle [rad]
    length f32? Of the vehicle [m]
    width f32? Likewise [m]
    height f32? Likewise [m]
    lane_id i64? Lane that it is on (`map_features.feature_id`)
    lane_s f32? Distance along that lane of its nearest place [m]
    lane_d f32? Offset to the left of its centre line [m]
""")  # fmt: skip

AGENTS = _table("agents", "Another road user at one time.", "log_id track_id t_ns", """
    log_id i64 Of `logs`
    track_id i64 Of `tracks`, from 1 within the log
    t_ns i64 Since the log began [ns]
    cls str Normalised class: vehicle, truck, bus, motorcycle, cyclist, pedestrian, …
    valid bool Whether it was observed; if not, the state is null
""" + _STATE + """
    length f32? Likewise [m]
    width f32? Likewise [m]
    height f32? Likewise [m]
    lane_id i64? Lane that it is on (`map_features.feature_id`)
    lane_s f32? Distance along that lane of its nearest place [m]
    lane_d f32? Offset to the left of its centre line [m]
""")  # fmt: skip

TRACKS = _table("tracks", "A road user over the whole log; the ego has track_id 0.", "log_id track_id", """
    log_id i64 Of `logs`
    track_id i64 Index within the log
    source_track_id str The source's own id, verbatim
    cls str Normalised class
    source_cls str The source's own class, verbatim
    is_ego bool Whether it is the recording vehicle
    t_first_ns i64 First observation [ns]
    t_last_ns i64 Last observation [ns]
    n_obs i32 Number of valid observations
    path_len f32? Distance travelled, without gaps in its observation [m]
    v_max f32? Greatest speed [m/s]
    velocity_source str measured (the source's own), derived (from positions) or none
""")  # fmt: skip

LIGHTS = _table("lights", "What a signal shows to a lane, at one time.", "log_id source_lane_id t_ns", """
    log_id i64 Of `logs`
    lane_id i64? Controlled lane (`map_features.feature_id`); null if the map lacks it
    source_lane_id str The source's own id of that lane
    t_ns i64 Since the log began [ns]
    state str unknown, red, yellow, green or off
    arrow bool Whether it is an arrow
    flashing bool Whether it flashes
    source_state str The source's own word
    stop_x f32? Where to stop, log's frame [m]
    stop_y f32? Likewise [m]
""")  # fmt: skip

MAP_FEATURES = _table("map_features", "A lane, line, area or sign of a map.", "map_id feature_id", """
    map_id i64 Stable hash of the map's content
    feature_id i64 Index within the map
    source_feature_id str The source's own id, verbatim
    layer str lane, road_line, road_edge, crosswalk, drivable_area, stop_line, stop_sign, …
    source_type str The source's own word for it
    lane_type str? vehicle, freeway, bike, bus, …; null for what is no lane
    xmin f32 Bounding box, in the frame of the map's logs [m]
    ymin f32 Likewise [m]
    xmax f32 Likewise [m]
    ymax f32 Likewise [m]
    polyline [f32] x, y, z, x, y, z, …: centre line, outline or point [m]
    left_boundary [f32]? Likewise, of a lane, in its direction of travel [m]
    right_boundary [f32]? Likewise
    wkb bin The polyline as WKB (LINESTRING, POLYGON or POINT, 2-D), for spatial libraries
    length_m f32 Of the line, or round the area [m]
    speed_limit f32? Likewise [m/s]
    in_intersection bool? Null where the source does not say
    turn str? left, right, straight or u_turn, from a lane's geometry
    has_z bool Whether z means anything
""")  # fmt: skip

MAP_EDGES = _table("map_edges", "How two map features belong together.", "map_id from_id kind to_id", """
    map_id i64 Of `map_features`
    from_id i64 A feature
    kind str successor, predecessor, left, right, conflict, crosswalk_over_lane, stop_line_of_lane
    to_id i64 Another feature
    derived bool Whether Scenelake found it (the source does not say)
""")  # fmt: skip

FRAMES = _table("frames", "One capture of one sensor, by reference.", "log_id sensor_id t_ns", """
    log_id i64 Of `logs`
    sensor_id i32 Of `sensors`
    channel str Of `sensors`
    t_ns i64 Since the log began [ns]
    t_end_ns i64? When the capture ended, for those that last (lidar sweeps) [ns]
    uri str File that holds the bytes
    byte_offset i64? Where they begin; null: the whole file
    byte_size i64? How many
    container str? What wraps the bytes in the file (gzip, mcap, parquet, …); null: nothing does
    codec str jpeg, png, feather, h264, …
    frame_index i32? Place in the stream, for videos
    pts i64? Presentation time stamp, in the stream's own time base: what a video frame is found by
    keyframe bool? Whether the video can be entered here
    ego_x f32? Ego at capture, its sensors' frame (often the rear axle), log's frame [m]
    ego_y f32? Likewise [m]
    ego_z f32? Likewise [m]
    ego_qw f32? Attitude, scalar first
    ego_qx f32? Attitude
    ego_qy f32? Attitude
    ego_qz f32? Attitude
    blob_id i64? Of `blobs`, if the bytes were copied into the lake
""")  # fmt: skip

READINGS = _table("readings", "What a sensor or bus read at one time: IMU, GNSS, CAN.", "log_id sensor_id signal t_ns", """
    log_id i64 Of `logs`
    sensor_id i32 Of `sensors`
    channel str Of `sensors`
    signal str The quantity, such as acceleration_x
    t_ns i64 Since the log began [ns]
    value f64? In the unit of the row; null where there was none
    unit str m/s2, rad/s, deg, …; empty where there is none
    text str? Words or hexadecimal bytes, where the quantity is no number
""")  # fmt: skip

BLOBS = _table("blobs", "Sensor bytes that were copied into the lake; the bytes are a Lance blob column beside.", "blob_id", """
    blob_id i64 Stable hash of the content
    sha256 str Of the bytes
    n_bytes i64 How many
    run_id i64 The run that made the row (`runs`)
""")  # fmt: skip

SCENES = _table("scenes", "A stretch of a log: the unit that is searched, generated and tested.", "scene_id", """
    scene_id i64 Stable hash of log and window
    log_id i64 Of `logs`
    name str For people: the source's own id, or log and time
    source str log or generated
    dataset str Family of the source
    t0_ns i64 Begin [ns]
    t_anchor_ns i64 What counts as now [ns]
    t1_ns i64 End, included [ns]
    n_agents i32 Road users seen beside the ego
    n_vru i32 Pedestrians, cyclists and motorcycles among them
    n_lights i32 Lanes whose signal is recorded
    has_ego bool Whether there is an ego
    has_map bool Whether there is a map
    ego_v_mean f32? Mean speed of the ego [m/s]
    ego_distance_m f32? Driven by the ego [m]
    xmin f32? Bounding box of everyone, log's frame [m]
    ymin f32? Likewise [m]
    xmax f32? Likewise [m]
    ymax f32? Likewise [m]
    weather str? clear, cloudy, rain, snow or fog
    daylight str? day, dusk or night
    road_type str straight, curve, highway, merge, intersection, signalled_intersection, roundabout, unknown
    split_group str Scenes of one place and time share it: keep it on one side of any split
""" + _MADE_BY)  # fmt: skip

DENSE = _table("dense", "A scene as dense arrays on a 10 Hz clock (derived; feeds models and the engine).", "scene_id", """
    scene_id i64 Of `scenes`
    n_agents i32 Agents, ego included
    n_steps i32 Steps of 0.1 s
    n_signals i32 Signals
    tracks bin schemas.scene.Tracks, as lake.dense packs it
    signals bin schemas.scene.Signals, likewise
    packing str Layout of the two, such as v1
""" + _MADE_BY)  # fmt: skip

DENSE_MAPS = _table("dense_maps", "A map as pieces of equal shape (derived; feeds models).", "map_id", """
    map_id i64 Of `map_features`
    n_pieces i32 How many
    pieces bin schemas.scene.RoadPieces, as lake.dense packs it
    packing str Layout of the former, such as v1
""")  # fmt: skip

EVENTS = _table("events", "A tag that holds over an interval, with its actors and evidence.", "event_id", """
    event_id i64 Stable hash
    log_id i64 Of `logs`
    scene_id i64? Of `scenes`; null for tags of the source
    name str Predicate or tag
    t0_ns i64 Begin, since the log began [ns]
    t1_ns i64 End, included [ns]
    actor_id i64? Whom it is about (`tracks.track_id`)
    other_id i64? The other one, for relations
    lane_id i64? The lane concerned
    truth str true or unknown (false is not stored)
    value f32? The number that decided it, in the predicate's unit
    evidence str? The numbers behind it, JSON
    params str? Thresholds with units and source, JSON
    source str rule, dataset, model or refav
    rule_version i32? Of the predicate
""" + _MADE_BY)  # fmt: skip

LOOKED = _table("looked", "A scene that a run of `mine tag`, or of `mine refav --tag`, looked through; its `params` tell for what.", "scene_id run_id", """
    scene_id i64 Of `scenes`
""" + _MADE_BY)  # fmt: skip

CRITICALITY = _table("criticality", "The worst of one road user with another in a scene; both ids null: of the scene.", "pair_id", """
    pair_id i64 Stable hash of scene, actor and other
    log_id i64 Of `logs`
    scene_id i64 Of `scenes`
    actor_id i64? Who follows, must brake or would suffer it (`tracks.track_id`)
    other_id i64? With whom
    ttc f32? Least time to collision with the leader along the lane; inf: never [s]
    thw f32? Least time headway to the leader [s]
    drac f32? Greatest deceleration to avoid a crash if the leader keeps its speed [m/s²]
    a_req f32? Likewise if it keeps its acceleration [m/s²]
    a_lat_req f32? Greatest lateral acceleration to pass beside the leader [m/s²]
    btn f32? Brake threat number: `a_req` by the braking that there is
    stn f32? Steer threat number: `a_lat_req` by the lateral acceleration that there is
    rss_gap f32? By how much the gap fell short of the safe one (responsibility-sensitive safety) [m]
    rss_side f32? Likewise to the side, while the gap along was unsafe [m]
    rss_danger f32? Longest time for which both were unsafe at once [s]
    rss_oncoming f32? By how much the gap to one who came the other way in the actor's lane fell short of the safe one [m]
    tet f32? Time at a `ttc` of 2 s or less [s]
    tit f32? What `ttc` lacked of 2 s, over time [s²]
    cpi f32? Crash potential index: mean chance that braking falls short
    ttc_2d f32? Least time until the outlines would touch at constant velocities, up to 5 s; inf: never [s]
    dce f32? Least distance at which they would pass, inf: they never approached each other [m]
    ttce f32? Time to that encounter [s]
    delta_v f32? Greatest change of the actor's velocity in a crash that they were on course to [m/s]
    pet f32? Post-encroachment time where their ways cross; inf: they do not [s]
    et f32? How long the actor was on the shared ground [s]
    mttcp f32? Least difference of their times to where their ways cross [s]
    wttc f32? Least time within which they cannot touch, whatever both do [s]
    relevance_motion f32? How much the worst criticality would change had the other kept its velocity; of the ego
    relevance_presence f32? How much the ego's roll-out would change without the other, 0 to 1; of the ego
""" + _MADE_BY)  # fmt: skip

EMBEDDINGS = _table("embeddings", "A scene's vector by one model.", "scene_id model", """
    scene_id i64 Of `scenes`
    model str Name and hash of the weights
    vector vec Unit length
""" + _MADE_BY)  # fmt: skip

CLUSTERS = _table("clusters", "To which cluster a scene belongs, at one granularity.", "scene_id level", """
    scene_id i64 Of `scenes`
    level i32 0 coarse, 1 fine
    cluster_id str Such as 0-12; stable within a run
    size i32 Scenes in the cluster
    description str In words, from the tags that set it apart
    distance f32 From the cluster's centre, cosine
    is_example bool Whether this scene is the nearest to the centre
    rarity f32 Percentile of novelty and tag rarity joined, as `mine rare` scores it: 1 is rarest
""" + _MADE_BY)  # fmt: skip

GAPS = _table("gaps", "A coverage cell with fewer scenes than wanted.", "gap_id", """
    gap_id str Stable name of the cell
    tag str Predicate
    road_type str As in `scenes`
    weather str As in `scenes`; unknown where it is null
    daylight str As in `scenes`; unknown where it is null
    count i32 Scenes of logs that fill it
    generated i32 Accepted generated scenes that fill it
    wanted i32 How many are wanted
""" + _MADE_BY)  # fmt: skip

GENERATED = _table("generated", "A scenario that the generator made, accepted or not.", "generated_id", """
    generated_id i64 Stable hash of run and index
    scene_id i64? Of `scenes`, if accepted
    parent_scene_id i64 Whose map, signals and history it uses
    gap_id str? The gap it was asked to fill
    request str Tags, adversary, strength and other controls, JSON
    accepted bool Whether it passed every gate
    failed_gate str? The first gate that it failed
    gates str Value, bound and verdict of every gate that ran, JSON
    model str Name and hash of the weights
    seed i64 Of its noise
    tracks bin Its tracks, packed as in `dense`, kept also if rejected
    packing str Layout of the former
""" + _MADE_BY)  # fmt: skip

SUITES = _table("suites", "A named set of closed-loop cases.", "suite", """
    suite str Name
    selection str How its scenes were chosen: SQL or options, JSON
    n_cases i32 Number of cases
    tables str Versions of the tables that were read, JSON
    seed i64 Of every random choice
""" + _MADE_BY)  # fmt: skip

CASES = _table("cases", "One closed-loop test: scene, goal, criteria, provenance.", "case_id", """
    case_id i64 Stable hash of suite and scene
    suite str Of `suites`
    scene_id i64 Of `scenes`
    start_step i32 Step at which the planner takes over
    horizon_steps i32 How long it drives, in steps of 0.1 s
    goal_x f32 Where the ego should get, log's frame [m]
    goal_y f32 Likewise [m]
    agents str How the others move: idm, log, mixed:idm=0.5,mobil=0.5, …
    criteria str Name to bound, or to query, of every pass criterion, JSON
    tags [str] Why the scene is in the suite
    provenance str Where it comes from: log, gap, generator run, JSON
""" + _MADE_BY)  # fmt: skip

RUNS = _table("runs", "One command that wrote something.", "run_id", """
    run_id i64 Stable hash of time and command
    command str What ran
    params str Its options, JSON
    code_version str Of Scenelake
    model str? Name and hash of weights, if any
    seed i64? If any
    tables str Versions of the tables that it read, JSON
    started_unix_ns i64 [ns]
    finished_unix_ns i64 [ns]
    outcome str done, or why not
    summary str Its figures, JSON
""")  # fmt: skip

RESULTS = _table("results", "How one case ended in one run.", "run_id case_id", """
    run_id i64 Of `runs`
    suite str Of `suites`
    case_id i64 Of `cases`
    scene_id i64 Of `scenes`
    planner str Who drove
    passed bool Whether every criterion held
    score f32 In [0, 1], as nuPlan weighs it
    status str done, or the error that stopped the case
    criteria str Criterion to {value, bound, passed}, JSON
    failed [str] Names of the criteria that did not hold
    steps i32 Simulated steps
    trajectory bin float32 (steps, 4): x, y, yaw, speed of the ego
    agents str? How the others moved and what became of them, JSON
    scores str? Published score to value in [0, 1], JSON: nuplan, pdms, epdms, carla
""")  # fmt: skip

LEDGER = _table("ledger", "What was read, dropped, guessed or refused, and why.", "entry_id", """
    entry_id i64 Stable hash
    uri str File or folder
    record str Which record of it, empty for the whole
    source_sha256 str? Fingerprint of the file
    format str? Reader
    log_id i64? Of `logs`, if the log came in
    kind str ingested, rejected, dropped, clipped, renamed, guessed or missing
    reason str In a sentence
    count i64 How many rows or objects
""" + _MADE_BY)  # fmt: skip

LEDGER_KINDS = (
    "rejected", "dropped", "clipped", "renamed", "guessed", "missing", "ingested",
)  # fmt: skip
"""What ``ledger.kind`` may say."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        LOGS, SENSORS, EGO, AGENTS, TRACKS, LIGHTS, MAP_FEATURES, MAP_EDGES, FRAMES, READINGS,
        BLOBS, SCENES, DENSE, DENSE_MAPS,
        EVENTS, LOOKED, CRITICALITY, EMBEDDINGS, CLUSTERS, GAPS, GENERATED, SUITES, CASES, RUNS, RESULTS, LEDGER,
    )
}  # fmt: skip
"""Every table, in the order in which a reader would meet them."""

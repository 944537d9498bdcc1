"""The protobuf messages of CommonRoad, made at run time, in both generations.

Facts from the generated modules of commonroad-io (github.com/CommonRoad/commonroad-io): releases of
2022 and 2023 write one ``CommonRoad`` message a scenario (version 2020a), later ones a map, what
moves on it and the scenario in files of their own (version 2024). Values of states that no log has
a place for are left in the bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from formats.protos import message_classes

STATE = """
message State
    1 point Point           2 shape Shape
    3 orientation FloatExactOrInterval              4 velocity FloatExactOrInterval
    5 steering_angle FloatExactOrInterval           7 yaw_rate FloatExactOrInterval
    8 slip_angle FloatExactOrInterval               13 velocity_y FloatExactOrInterval
    34 acceleration FloatExactOrInterval            39 time_step IntegerExactOrInterval
message SignalState
    1 time_step IntegerExactOrInterval              2 horn bool
    3 indicator_left bool   4 indicator_right bool  5 braking_lights bool
    6 hazard_warning_lights bool                    7 flashing_blue_lights bool
message IntegerInterval
    1 start int32           2 end int32
message FloatInterval
    1 start double          2 end double
message IntegerExactOrInterval
    1 exact int32           2 interval IntegerInterval
message FloatExactOrInterval
    1 exact double          2 interval FloatInterval
message Point
    1 x double              2 y double              3 z double
message Rectangle
    1 length double         2 width double          3 center Point          4 orientation double
message Circle
    1 radius double         2 center Point
message Polygon
    1 vertices Point*
message ShapeGroup
    1 shapes Shape*
message TruckDims
    1 length double         2 width double
message TruckShape
    1 truck_dims TruckDims  2 origin_x_shift double
message SemiTrailerTruckShape
    1 truck_shape TruckShape                        2 trailer_dims TruckDims
message Shape
    1 rectangle Rectangle   2 circle Circle         3 polygon Polygon       4 shape_group ShapeGroup
    5 semi_trailer_truck_shape SemiTrailerTruckShape
message Trajectory
    1 initial_time_step uint32                      2 states State*
message TrajectoryPrediction
    1 trajectory Trajectory 2 shape Shape
message OccupancySet
    1 occupancies bytes*
message SetBasedPrediction
    1 initial_time_step uint32                      2 occupancy_set OccupancySet
message DynamicObstacle
    1 dynamic_obstacle_id uint32                    2 obstacle_type int32
    3 shape Shape           4 initial_state State
    5 trajectory_prediction TrajectoryPrediction
    6 set_based_prediction SetBasedPrediction
    7 initial_signal_state SignalState              8 signal_series SignalState*
message StaticObstacle
    1 static_obstacle_id uint32                     2 obstacle_type int32
    3 shape Shape           4 initial_state State
message EnvironmentObstacle
    1 environment_obstacle_id uint32                2 obstacle_type int32   3 obstacle_shape Shape
message PhantomObstacle
    1 obstacle_id uint32
message GoalState
    1 state State           2 goal_position_lanelets uint32*
message TimeStamp
    1 year uint32           2 month uint32          3 day uint32
    4 hour uint32           5 minute uint32
message GeoTransformation
    1 geo_reference string  2 x_translation double  3 y_translation double
    4 z_rotation double     5 scaling double
message Environment
    1 time TimeStamp        2 time_of_day int32     3 weather int32         4 underground int32
message CycleElement
    1 duration uint32       2 color int32
message ScenarioTags
    1 tags int32*
"""

V2020 = (
    STATE
    + """
message ScenarioInformation
    1 common_road_version string                    2 benchmark_id string
    3 date TimeStamp        4 author string         5 affiliation string    6 source string
    7 time_step_size double
message CommonRoad
    1 information ScenarioInformation               2 scenario_tags ScenarioTags
    3 location Location     4 lanelets Lanelet*     5 traffic_signs TrafficSign*
    6 traffic_lights TrafficLight*                  7 intersections Intersection*
    8 static_obstacles StaticObstacle*              9 dynamic_obstacles DynamicObstacle*
    10 environment_obstacles EnvironmentObstacle*   11 phantom_obstacles PhantomObstacle*
    12 planning_problems PlanningProblem*
message Incoming
    1 incoming_id uint32    2 incoming_lanelets uint32*
    3 successors_right uint32*                      4 successors_straight uint32*
    5 successors_left uint32*
message Intersection
    1 intersection_id uint32                        2 incomings Incoming*
message Bound
    1 points Point*         2 line_marking int32
message StopLine
    1 points Point*         2 line_marking int32
    3 traffic_sign_refs uint32*                     4 traffic_light_refs uint32*
message Lanelet
    1 lanelet_id uint32     2 left_bound Bound      3 right_bound Bound
    4 predecessors uint32*  5 successors uint32*
    6 adjacent_left uint32  7 adjacent_right uint32
    8 adjacent_left_dir int32                       9 adjacent_right_dir int32
    10 stop_line StopLine   11 lanelet_types int32* 12 user_one_way int32*
    13 user_bidirectional int32*                    14 traffic_sign_refs uint32*
    15 traffic_light_refs uint32*
message Location
    1 geo_name_id int32     2 gps_latitude double   3 gps_longitude double
    4 geo_transformation GeoTransformation          5 environment Environment
message PlanningProblem
    1 planning_problem_id uint32                    2 initial_state State   3 goal_states GoalState*
message TrafficLight
    1 traffic_light_id uint32                       2 cycle_elements CycleElement*
    3 position Point        4 time_offset uint32    5 direction int32       6 active bool
message TrafficSignElement
    1 germany int32         2 zamunda int32         3 usa int32             4 china int32
    5 spain int32           7 russia int32          8 argentina int32       9 belgium int32
    10 france int32         11 greece int32         12 croatia int32        13 italy int32
    14 puerto_rico int32    15 additional_values string*
message TrafficSign
    1 traffic_sign_id uint32                        2 traffic_sign_elements TrafficSignElement*
    3 first_occurrences uint32*                     4 position Point        5 virtual bool
"""
)

V2024 = (
    STATE
    + """
message MapID
    1 country_id string     2 map_name string       3 map_id uint64
message ScenarioID
    1 cooperative bool      2 map_id MapID          3 configuration_id uint64
    4 obstacle_behavior string                      5 prediction_id uint64
    6 scenario_version string
message FileInformation
    1 license_name string   2 license_text string   3 date TimeStamp        4 author string
    5 affiliation string    6 source string
message ScenarioMetaInformation
    1 benchmark_id ScenarioID                       2 file_information FileInformation
    3 time_step_size double
message CommonRoadDynamic
    1 dynamic_meta_information ScenarioMetaInformation                      2 environment Environment
    3 traffic_light_cycle TrafficLightCycle*        4 traffic_sign_value TrafficSignValue*
    5 static_obstacles StaticObstacle*              6 dynamic_obstacles DynamicObstacle*
    7 phantom_obstacles PhantomObstacle*
message TrafficLightCycle
    1 traffic_light_id uint32                       2 cycle_elements CycleElement*
    4 time_offset uint32    6 active bool
message TrafficSignElement
    1 element_id int32      2 additional_values string*
message TrafficSignValue
    1 traffic_sign_id uint32                        2 traffic_sign_elements TrafficSignElement*
message MapInformation
    1 map_id MapID          2 file_information FileInformation
message CommonRoadMap
    1 map_meta_information MapInformation           2 location Location     3 lanelets Lanelet*
    4 stop_lines StopLine*  5 boundaries Bound*     6 areas Area*
    7 traffic_signs TrafficSign*                    8 traffic_lights TrafficLight*
    9 intersections Intersection*                   10 environment_obstacles EnvironmentObstacle*
message Area
    1 area_id uint32
message IncomingGroup
    1 incoming_group_id uint32                      2 incoming_lanelets uint32*
    4 outgoing_right uint32*                        5 outgoing_straight uint32*
    6 outgoing_left uint32*
message Intersection
    1 intersection_id uint32                        2 incomings IncomingGroup*
message Bound
    1 boundary_id int32     2 points Point*         3 line_marking int32
message StopLine
    1 stop_line_id uint32   2 start_point Point     3 end_point Point       4 line_marking int32
message Lanelet
    1 lanelet_id uint32     2 left_bound int32      3 right_bound int32
    4 left_bound_reverse bool                       5 right_bound_reverse bool
    6 predecessors uint32*  7 successors uint32*
    8 adjacent_left uint32  9 adjacent_right uint32
    10 adjacent_left_opposite_dir bool              11 adjacent_right_opposite_dir bool
    12 stop_line uint32     13 lanelet_types int32* 14 user_one_way int32*
    15 user_bidirectional int32*                    16 traffic_sign_refs uint32*
    17 traffic_light_refs uint32*
message Location
    1 geo_name_id int32     2 gps_latitude double   3 gps_longitude double
    4 geo_transformation GeoTransformation
message TrafficLight
    1 traffic_light_id uint32                       2 position Point        3 color int32*
    4 direction int32
message TrafficSign
    1 traffic_sign_id uint32                        2 traffic_sign_elements TrafficSignElement*
    3 position Point        4 virtual bool
message PlanningProblem
    1 planning_problem_id uint32                    2 initial_state State   3 goal_states GoalState*
    4 ego_id uint32         5 scenario_tags ScenarioTags
message CommonRoadScenario
    1 scenario_meta_information ScenarioMetaInformation
    3 map_id string         4 dynamic_id string     5 planning_problems PlanningProblem*
    6 cooperative_planning_problems bytes*
"""
)

OBSTACLES = (
    "unknown", "car", "truck", "bus", "bicycle", "pedestrian", "priorityVehicle", "parkedVehicle",
    "constructionZone", "train", "roadBoundary", "motorcycle", "taxi", "building", "pillar",
    "median_strip", "vehicle",
)  # fmt: skip
MAP_OBSTACLES = ("unknown", "building", "roadBoundary", "pillar", "median_strip")
"""Of environment obstacles of 2024, which have numbers of their own."""
MARKINGS = (
    "dashed", "solid", "solid_solid", "dashed_dashed", "solid_dashed", "dashed_solid", "curb",
    "lowered_curb", "broad_dashed", "broad_solid", "unknown", "no_marking",
)  # fmt: skip
LANELETS = (
    "urban", "country", "highway", "driveWay", "mainCarriageWay", "accessRamp", "exitRamp",
    "shoulder", "busLane", "busStop", "bicycleLane", "sidewalk", "crosswalk", "interstate",
    "intersection", "border", "parking", "restricted", "restrictedArea", "unknown",
)  # fmt: skip
LANELETS_2020 = (*LANELETS[:18], "unknown")
USERS = (
    "vehicle", "car", "truck", "bus", "priorityVehicle", "motorcycle", "bicycle", "pedestrian",
    "train", "taxi",
)  # fmt: skip
COLOURS = ("red", "redYellow", "green", "yellow", "inactive")
DIRECTIONS = (
    "right", "straight", "left", "leftStraight", "straightRight", "leftRight", "all",
)  # fmt: skip
TIMES_2020 = ("night", "day", "unknown")
TIMES = ("night", "sunset", "day", "day", "day", "unknown")
"""Afternoon, noon and morning are day."""
WEATHERS_2020 = ("sunny", "light_rain", "heavy_rain", "fog", "snow", "hail", "unknown")
WEATHERS = (
    "clear", "light_rain", "mid_rain", "heavy_rain", "fog", "snow", "hail", "cloudy", "unknown",
)  # fmt: skip
GROUNDS = ("wet", "clean", "dirty", "damaged", "snow", "ice", "unknown")
SIGNS = {
    "germany": {16: "205", 17: "206", 57: "274", 58: "274.1", 70: "301", 71: "306"},
    "zamunda": {16: "205", 17: "206", 57: "274", 58: "274.1", 70: "301", 71: "306"},
    "usa": {0: "R2-1"},
    "spain": {0: "r1", 1: "r2", 7: "r301"},
    "": {16: "205", 17: "206", 57: "274", 58: "274.1", 70: "301", 71: "306", 241: "R1-3"},
}
"""The codes of signs that mean something to us, by country (2020) or in one list (2024)."""
MAX_SPEED_2020 = "274"
"""Sign 0 of countries that have no others."""
TAGS = (
    "interstate", "urban", "highway", "comfort", "critical", "evasive", "cut_in", "illegal_cutin",
    "intersection", "lane_change", "lane_following", "merging_lanes", "multi_lane",
    "oncoming_traffic", "no_oncoming_traffic", "parallel_lanes", "race_track", "roundabout",
    "rural", "simulated", "single_lane", "slip_road", "speed_limit", "traffic_jam", "turn_left",
    "turn_right", "two_lane", "emergency_braking",
)  # fmt: skip


@cache
def classes_2020() -> dict[str, Any]:
    """Messages of the one-file generation."""
    return message_classes(V2020, package="commonroad_2020")


@cache
def classes_2024() -> dict[str, Any]:
    """Messages of the three-file generation."""
    return message_classes(V2024, package="commonroad_2024")

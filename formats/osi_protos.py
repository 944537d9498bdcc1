"""The messages and words of ASAM OSI 3 that a log is made of.

Facts from the ``osi_*.proto`` files of github.com/OpenSimulationInterface/open-simulation-interface,
release 3.8 (field numbers and types are the wire format, the same since 3.0; nested messages are named
with their parents'). ``MapAsamOpenDrive`` is omega-prime's addition. Enums are numbers on the wire;
their words follow by value, the latest of several names of one value.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from formats.protos import message_classes

SCHEMA = """
message InterfaceVersion
    1 version_major uint32                          2 version_minor uint32  3 version_patch uint32
message Timestamp
    1 seconds int64         2 nanos uint32
message Identifier
    1 value uint64
message Vector3d
    1 x double              2 y double              3 z double
message Vector2d
    1 x double              2 y double
message Orientation3d
    1 roll double           2 pitch double          3 yaw double
message Dimension3d
    1 length double         2 width double          3 height double
message MountingPosition
    1 position Vector3d     2 orientation Orientation3d
message BaseMoving
    1 dimension Dimension3d                         2 position Vector3d
    3 orientation Orientation3d                     4 velocity Vector3d
    5 acceleration Vector3d                         6 orientation_rate Orientation3d
message BaseStationary
    1 dimension Dimension3d                         2 position Vector3d
    3 orientation Orientation3d                     4 base_polygon Vector2d*
message LightState
    1 indicator_state int32                         2 front_fog_light int32
    3 rear_fog_light int32                          4 head_light int32
    5 high_beam int32                               6 reversing_light int32
    7 brake_light_state int32                       9 emergency_vehicle_illumination int32
    10 service_vehicle_illumination int32
message VehicleClassification
    1 type int32            2 light_state LightState                        3 has_trailer bool
    4 trailer_id Identifier                         5 role int32
message VehicleAttributes
    4 bbcenter_to_rear Vector3d                     5 bbcenter_to_front Vector3d
    8 steering_wheel_angle double
message StatePoint
    1 timestamp Timestamp
message MovingObject
    1 id Identifier         2 base BaseMoving       3 type int32
    5 vehicle_attributes VehicleAttributes          6 vehicle_classification VehicleClassification
    7 model_reference string                        8 future_trajectory StatePoint*
message StationaryClassification
    1 type int32
message StationaryObject
    1 id Identifier         2 base BaseStationary   3 classification StationaryClassification
message LogicalLaneAssignment
    1 assigned_lane_id Identifier                   2 s_position double     3 t_position double
message TrafficSignValue
    1 value double          2 value_unit int32      3 text string
message MainSignClassification
    1 variability int32     2 type int32            3 value TrafficSignValue
    5 assigned_lane_id Identifier*                  8 country string        10 code string
    11 sub_code string      12 logical_lane_assignment LogicalLaneAssignment*
message MainSign
    1 base BaseStationary   2 classification MainSignClassification
message SupplementarySign
    1 base BaseStationary
message TrafficSign
    1 id Identifier         2 main_sign MainSign    3 supplementary_sign SupplementarySign*
message TrafficLightClassification
    1 color int32           2 icon int32            3 mode int32            4 counter double
    5 assigned_lane_id Identifier*                  6 is_out_of_service bool
    7 logical_lane_assignment LogicalLaneAssignment*
message TrafficLight
    1 id Identifier         2 base BaseStationary   3 classification TrafficLightClassification
message RoadMarkingClassification
    1 type int32            2 traffic_main_sign_type int32                  3 monochrome_color int32
    6 assigned_lane_id Identifier*                  12 logical_lane_assignment LogicalLaneAssignment*
message RoadMarking
    1 id Identifier         2 base BaseStationary   3 classification RoadMarkingClassification
message BoundaryPoint
    1 position Vector3d     2 width double          3 height double         4 dash int32
message BoundaryClassification
    1 type int32            2 color int32
message LaneBoundary
    1 id Identifier         2 boundary_line BoundaryPoint*
    3 classification BoundaryClassification
message LanePairing
    1 antecessor_lane_id Identifier                 2 successor_lane_id Identifier
message LaneClassification
    1 type int32            2 is_host_vehicle_lane bool                     3 centerline Vector3d*
    4 centerline_is_driving_direction bool          5 left_adjacent_lane_id Identifier*
    6 right_adjacent_lane_id Identifier*            7 lane_pairing LanePairing*
    8 right_lane_boundary_id Identifier*            9 left_lane_boundary_id Identifier*
    10 free_lane_boundary_id Identifier*            12 subtype int32
message Lane
    1 id Identifier         2 classification LaneClassification
message ReferenceLinePoint
    1 world_position Vector3d                       2 s_position double     3 t_axis_yaw double
message ReferenceLine
    1 id Identifier         2 poly_line ReferenceLinePoint*
message LogicalBoundaryPoint
    1 position Vector3d     2 s_position double     3 t_position double
message LogicalLaneBoundary
    1 id Identifier         2 boundary_line LogicalBoundaryPoint*
    3 reference_line_id Identifier                  4 physical_boundary_id Identifier*
    5 passing_rule int32
message PhysicalLaneReference
    1 physical_lane_id Identifier                   2 start_s double        3 end_s double
message LaneConnection
    1 other_lane_id Identifier                      2 at_begin_of_other_lane bool
message LaneRelation
    1 other_lane_id Identifier                      2 start_s double        3 end_s double
    4 start_s_other double                          5 end_s_other double
message SpeedLimit
    1 speed_limit_value TrafficSignValue
message TrafficRule
    1 traffic_rule_type int32                       3 speed_limit SpeedLimit
message LogicalLane
    1 id Identifier         2 type int32            4 physical_lane_reference PhysicalLaneReference*
    5 reference_line_id Identifier                  6 start_s double        7 end_s double
    8 move_direction int32                          9 right_adjacent_lane LaneRelation*
    10 left_adjacent_lane LaneRelation*             11 overlapping_lane LaneRelation*
    12 right_boundary_id Identifier*                13 left_boundary_id Identifier*
    14 predecessor_lane LaneConnection*             15 successor_lane LaneConnection*
    16 street_name string   17 traffic_rule TrafficRule*
message TimeOfDay
    1 seconds_since_midnight uint32
message CloudLayer
    1 fractional_cloud_cover int32
message Sun
    1 azimuth double        2 elevation double      3 intensity double
message EnvironmentalConditions
    1 ambient_illumination int32                    2 time_of_day TimeOfDay
    3 atmospheric_pressure double                   4 temperature double
    5 relative_humidity double                      6 precipitation int32   7 fog int32
    8 unix_timestamp int64  10 clouds CloudLayer    12 sun Sun
message Occupant
    1 id Identifier
message ProjFrameOffset
    1 position Vector3d     2 yaw double
message GroundTruth
    1 version InterfaceVersion                      2 timestamp Timestamp
    3 host_vehicle_id Identifier                    4 stationary_object StationaryObject*
    5 moving_object MovingObject*                   6 traffic_sign TrafficSign*
    7 traffic_light TrafficLight*                   8 road_marking RoadMarking*
    9 lane_boundary LaneBoundary*                   10 lane Lane*           11 occupant Occupant*
    12 environmental_conditions EnvironmentalConditions                     13 country_code uint32
    14 proj_string string   15 map_reference string 16 model_reference string
    17 reference_line ReferenceLine*                18 logical_lane_boundary LogicalLaneBoundary*
    19 logical_lane LogicalLane*                    20 proj_frame_offset ProjFrameOffset
message AnyMessage
message SensorView
    1 version InterfaceVersion                      2 timestamp Timestamp
    3 sensor_id Identifier  4 mounting_position MountingPosition
    7 global_ground_truth GroundTruth               8 host_vehicle_id Identifier
    1000 generic_sensor_view AnyMessage*            1001 radar_sensor_view AnyMessage*
    1002 lidar_sensor_view AnyMessage*              1003 camera_sensor_view AnyMessage*
    1004 ultrasonic_sensor_view AnyMessage*
message SensorData
    1 version InterfaceVersion                      2 timestamp Timestamp
    5 sensor_id Identifier  6 mounting_position MountingPosition
    8 sensor_view SensorView*                       11 stationary_object AnyMessage*
    13 moving_object AnyMessage*                    15 traffic_sign AnyMessage*
    17 traffic_light AnyMessage*                    19 road_marking AnyMessage*
    21 lane_boundary AnyMessage*                    23 lane AnyMessage*
message MapAsamOpenDrive
    1 map_reference string  2 open_drive_xml_content string
"""


@cache
def osi_classes() -> dict[str, Any]:
    """The message classes by name."""
    return message_classes(SCHEMA, package="osi3")


def word_of(words: str, prefix: str, value: int) -> str:
    """The source's word for a value of an enum, its number where the word is not known."""
    known = _split(words)
    return prefix + (known[value] if 0 <= value < len(known) else str(value))


@cache
def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


MOVING_TYPES = "UNKNOWN OTHER VEHICLE PEDESTRIAN ANIMAL"
VEHICLE_TYPES = """
    UNKNOWN OTHER SMALL_CAR COMPACT_CAR MEDIUM_CAR LUXURY_CAR VAN HEAVY_TRUCK SEMITRAILER TRAILER
    MOTORCYCLE BICYCLE BUS TRAM TRAIN WHEELCHAIR SEMITRACTOR STANDUP_SCOOTER MICROMOBILITY_DEVICE
    WORK_MACHINE WATERCRAFT AIRCRAFT LAND_VEHICLE
"""
ROLES = """
    UNKNOWN OTHER CIVIL AMBULANCE FIRE POLICE PUBLIC_TRANSPORT ROAD_ASSISTANCE GARBAGE_COLLECTION
    ROAD_CONSTRUCTION MILITARY
"""
INDICATOR_STATES = "UNKNOWN OTHER OFF LEFT RIGHT WARNING"
BRAKE_LIGHT_STATES = "UNKNOWN OTHER OFF NORMAL STRONG"
GENERIC_LIGHT_STATES = "UNKNOWN OTHER OFF ON FLASHING_BLUE FLASHING_BLUE_AND_RED FLASHING_AMBER"
STATIONARY_TYPES = """
    UNKNOWN OTHER BRIDGE BUILDING POLE PYLON DELINEATOR TREE BARRIER VEGETATION CURBSTONE WALL
    VERTICAL_STRUCTURE RECTANGULAR_STRUCTURE OVERHEAD_STRUCTURE REFLECTIVE_STRUCTURE
    CONSTRUCTION_SITE_ELEMENT SPEED_BUMP EMITTING_STRUCTURE
"""
BOUNDARY_TYPES = """
    UNKNOWN OTHER NO_LINE SOLID_LINE DASHED_LINE BOTTS_DOTS ROAD_EDGE SNOW_EDGE GRASS_EDGE
    GRAVEL_EDGE SOIL_EDGE GUARD_RAIL CURB STRUCTURE BARRIER SOUND_BARRIER
"""
BOUNDARY_COLORS = "UNKNOWN OTHER NONE WHITE YELLOW RED BLUE GREEN VIOLET ORANGE"
LANE_TYPES = "UNKNOWN OTHER DRIVING NONDRIVING INTERSECTION"
LANE_SUBTYPES = """
    UNKNOWN OTHER NORMAL BIKING SIDEWALK PARKING STOP RESTRICTED BORDER SHOULDER EXIT ENTRY ONRAMP
    OFFRAMP CONNECTINGRAMP MEDIAN CURB RAIL TRAM
"""
"""Of lanes, and the types of logical lanes."""
LIGHT_COLORS = "UNKNOWN OTHER RED YELLOW GREEN BLUE WHITE"
LIGHT_ICONS = """
    UNKNOWN OTHER NONE ARROW_STRAIGHT_AHEAD ARROW_LEFT ARROW_DIAG_LEFT ARROW_STRAIGHT_AHEAD_LEFT
    ARROW_RIGHT ARROW_DIAG_RIGHT ARROW_STRAIGHT_AHEAD_RIGHT ARROW_LEFT_RIGHT ARROW_DOWN
    ARROW_DOWN_LEFT ARROW_DOWN_RIGHT ARROW_CROSS PEDESTRIAN WALK DONT_WALK BICYCLE
    PEDESTRIAN_AND_BICYCLE COUNTDOWN_SECONDS COUNTDOWN_PERCENT TRAM BUS BUS_AND_TRAM
"""
LIGHT_MODES = "UNKNOWN OTHER OFF CONSTANT FLASHING COUNTING"
MARKING_TYPES = """
    UNKNOWN OTHER PAINTED_TRAFFIC_SIGN SYMBOLIC_TRAFFIC_SIGN TEXTUAL_TRAFFIC_SIGN GENERIC_SYMBOL
    GENERIC_LINE GENERIC_TEXT
"""
PRECIPITATIONS = "UNKNOWN OTHER NONE VERY_LIGHT LIGHT MODERATE HEAVY VERY_HEAVY EXTREME"
FOGS = """
    UNKNOWN OTHER EXCELLENT_VISIBILITY GOOD_VISIBILITY MODERATE_VISIBILITY POOR_VISIBILITY MIST LIGHT
    THICK DENSE
"""
ILLUMINATIONS = "UNKNOWN OTHER LEVEL1 LEVEL2 LEVEL3 LEVEL4 LEVEL5 LEVEL6 LEVEL7 LEVEL8 LEVEL9"
SIGN_TYPES = """
    UNKNOWN OTHER DANGER_SPOT RIGHT_BEFORE_LEFT_NEXT_INTERSECTION TURN_LEFT TURN_RIGHT
    DOUBLE_TURN_LEFT DOUBLE_TURN_RIGHT HILL_DOWNWARDS HILL_UPWARDS ROAD_NARROWING
    ROAD_NARROWING_LEFT ROAD_NARROWING_RIGHT ROAD_WORKS TWO_WAY_TRAFFIC ATTENTION_TRAFFIC_LIGHT
    GIVE_WAY STOP PRIORITY_TO_OPPOSITE_DIRECTION PRIORITY_TO_OPPOSITE_DIRECTION_UPSIDE_DOWN
    PRESCRIBED_LEFT_TURN PRESCRIBED_RIGHT_TURN PRESCRIBED_STRAIGHT PRESCRIBED_LEFT_WAY
    PRESCRIBED_RIGHT_WAY PRESCRIBED_LEFT_TURN_AND_STRAIGHT PRESCRIBED_RIGHT_TURN_AND_STRAIGHT
    PRESCRIBED_LEFT_TURN_AND_RIGHT_TURN PRESCRIBED_LEFT_TURN_RIGHT_TURN_AND_STRAIGHT ROUNDABOUT
    ONEWAY_LEFT ONEWAY_RIGHT PASS_LEFT PASS_RIGHT BUS_LANE BUS_LANE_BEGIN BUS_LANE_END
    ALL_PROHIBITED MOTORIZED_MULTITRACK_PROHIBITED TRUCKS_PROHIBITED BICYCLES_PROHIBITED
    MOTORCYCLES_PROHIBITED PEDESTRIANS_PROHIBITED MOTOR_VEHICLES_PROHIBITED DO_NOT_ENTER
    ENVIRONMENTAL_ZONE_BEGIN ENVIRONMENTAL_ZONE_END NO_U_TURN_LEFT NO_U_TURN_RIGHT
    PRESCRIBED_U_TURN_LEFT PRESCRIBED_U_TURN_RIGHT MINIMUM_DISTANCE_FOR_TRUCKS SPEED_LIMIT_BEGIN
    SPEED_LIMIT_ZONE_BEGIN SPEED_LIMIT_ZONE_END MINIMUM_SPEED_BEGIN OVERTAKING_BAN_BEGIN
    OVERTAKING_BAN_FOR_TRUCKS_BEGIN SPEED_LIMIT_END MINIMUM_SPEED_END OVERTAKING_BAN_END
    OVERTAKING_BAN_FOR_TRUCKS_END ALL_RESTRICTIONS_END NO_STOPPING NO_PARKING NO_PARKING_ZONE_BEGIN
    NO_PARKING_ZONE_END RIGHT_OF_WAY_NEXT_INTERSECTION RIGHT_OF_WAY_BEGIN RIGHT_OF_WAY_END
    PRIORITY_OVER_OPPOSITE_DIRECTION PRIORITY_OVER_OPPOSITE_DIRECTION_UPSIDE_DOWN TOWN_BEGIN
    TOWN_END CAR_PARKING CAR_PARKING_ZONE_BEGIN CAR_PARKING_ZONE_END LIVING_STREET_BEGIN
    LIVING_STREET_END TUNNEL EMERGENCY_STOPPING_LEFT EMERGENCY_STOPPING_RIGHT HIGHWAY_BEGIN
    HIGHWAY_END EXPRESSWAY_BEGIN EXPRESSWAY_END HIGHWAY_EXIT ZEBRA_CROSSING POLE_EXIT
    ANNOUNCE_LEFT_LANE_END ANNOUNCE_RIGHT_LANE_END POLE_WARNING TRAFFIC_LIGHT_GREEN_ARROW
    UNEVEN_ROAD SNOW_OR_ICE ROAD_SLIPPERY_WET_OR_DIRTY FALLING_ROCKS LOOSE_GRAVEL SIDE_WINDS
    PARKING_HAZARD TRAFFIC_QUEUES MOVABLE_BRIDGE WATERSIDE PEDESTRIANS GUIDING_PLATE
    GUIDING_PLATE_WEDGES CHILDREN_CROSSING CYCLE_ROUTE DIRECTION_TO_HIGHWAY_RIGHT DEER_CROSSING
    FLIGHT OPTIONAL_DETOUR LEVEL_CROSSING_MARKER DIRECTIONAL_BOARD_WARNING REFLECTOR_POST
    ANNOUNCE_RIGHT_LANE_BEGIN ANNOUNCE_LEFT_LANE_BEGIN ANNOUNCE_LANE_CONSOLIDATION
    CONSOLIDATED_DIRECTIONS STREET_NAME DIRECTION_PREANNOUNCEMENT
    DIRECTION_PREANNOUNCEMENT_LANE_CONFIG DIRECTION_PREANNOUNCEMENT_HIGHWAY_ENTRIES
    HIGHWAY_ANNOUNCEMENT OTHER_ROAD_ANNOUNCEMENT HIGHWAY_ANNOUNCEMENT_TRUCK_STOP
    HIGHWAY_PREANNOUNCEMENT_DIRECTIONS DIRECTION_TO_LOCAL_DESTINATION_LEFT
    SIDE_LANE_OPEN_FOR_TRAFFIC SIDE_LANE_CLOSED_FOR_TRAFFIC SIDE_LANE_CLOSING_FOR_TRAFFIC
    NUMBERED_DETOUR DETOUR_BEGIN DETOUR_END DETOUR_ROUTING_BOARD RAILWAY_TRAFFIC_PRIORITY
    DIRECTION_TO_LOCAL_DESTINATION_RIGHT BUS_STOP TAXI_STAND MOBILE_LANE_CLOSURE TRAFFIC_CONE GATE
    DETOUR_CITY_BLOCK DIRECTION_TO_HIGHWAY_LEFT UNGATED_LEVEL_CROSSING BICYCLES_ONLY
    HORSE_RIDERS_ONLY PEDESTRIANS_ONLY BICYCLES_PEDESTRIANS_SHARED_ONLY
    BICYCLES_PEDESTRIANS_SEPARATED_LEFT_ONLY BICYCLES_PEDESTRIANS_SEPARATED_RIGHT_ONLY
    PEDESTRIAN_ZONE_BEGIN PEDESTRIAN_ZONE_END BICYCLE_ROAD_BEGIN BICYCLE_ROAD_END MOPEDS_PROHIBITED
    HORSE_RIDERS_PROHIBITED HORSE_CARRIAGES_PROHIBITED CATTLE_PROHIBITED BUSES_PROHIBITED
    CARS_PROHIBITED CARS_TRAILERS_PROHIBITED TRUCKS_TRAILERS_PROHIBITED TRACTORS_PROHIBITED
    HAZARDOUS_GOODS_VEHICLES_PROHIBITED OVER_WEIGHT_VEHICLES_PROHIBITED
    VEHICLES_AXLE_OVER_WEIGHT_PROHIBITED VEHICLES_EXCESS_WIDTH_PROHIBITED
    VEHICLES_EXCESS_HEIGHT_PROHIBITED VEHICLES_EXCESS_LENGTH_PROHIBITED SNOW_CHAINS_REQUIRED
    WATER_POLLUTANT_VEHICLES_PROHIBITED SIDEWALK_HALF_PARKING_LEFT SIDEWALK_HALF_PARKING_RIGHT
    SIDEWALK_PARKING_LEFT SIDEWALK_PARKING_RIGHT SIDEWALK_PERPENDICULAR_HALF_PARKING_LEFT
    SIDEWALK_PERPENDICULAR_HALF_PARKING_RIGHT SIDEWALK_PERPENDICULAR_PARKING_LEFT
    SIDEWALK_PERPENDICULAR_PARKING_RIGHT HIGHWAY_DISTANCE_BOARD DETOUR_LEFT DETOUR_RIGHT
    NAMED_HIGHWAY_EXIT NAMED_EXPRESSWAY_EXIT NAMED_ROAD_EXIT EXPRESSWAY_EXIT ONEWAY_STREET
    AMPHIBIANS CROSSING_GUARDS DEADEND DEADEND_EXCLUDING_DESIGNATED_ACTORS
    ANNOUNCE_LANE_TRANSITION_LEFT ANNOUNCE_LANE_TRANSITION_RIGHT FIRST_AID_STATION POLICE_STATION
    TELEPHONE HORSE_RIDERS FILLING_STATION OPTIONAL_DETOUR_ROUTING CATTLE HOTEL INN KIOSK TOILET
    CHAPEL TOURIST_INFO REPAIR_SERVICE PEDESTRIAN_UNDERPASS PEDESTRIAN_BRIDGE CLEARANCE
    ROUTE_RECOMMENDATION ROUTE_RECOMMENDATION_END CAMPER_PLACE ADVISORY_SPEED_LIMIT_BEGIN
    ADVISORY_SPEED_LIMIT_END PLACE_NAME TOURIST_ATTRACTION TOURIST_ROUTE TOURIST_AREA
    SHOULDER_NOT_PASSABLE_MOTOR_VEHICLES SHOULDER_UNSAFE_TRUCKS_TRACTORS TOLL_BEGIN TOLL_END
    TOLL_ROAD CUSTOMS INTERNATIONAL_BORDER_INFO STREETLIGHT_RED_BAND FEDERAL_HIGHWAY_ROUTE_NUMBER
    HIGHWAY_ROUTE_NUMBER HIGHWAY_INTERCHANGE_NUMBER EUROPEAN_ROUTE_NUMBER
    FEDERAL_HIGHWAY_DIRECTION_LEFT FEDERAL_HIGHWAY_DIRECTION_RIGHT PRIMARY_ROAD_DIRECTION_LEFT
    PRIMARY_ROAD_DIRECTION_RIGHT SECONDARY_ROAD_DIRECTION_LEFT SECONDARY_ROAD_DIRECTION_RIGHT
    DIRECTION_DESIGNATED_ACTORS_LEFT DIRECTION_DESIGNATED_ACTORS_RIGHT ROUTING_DESIGNATED_ACTORS
"""
"""Main signs, which symbolic road markings share."""

"""The protobuf messages of the Waymo Open Dataset, made at run time.

Facts from ``scenario.proto``, ``map.proto``, ``dataset.proto`` and ``label.proto`` of
github.com/waymo-research/waymo-open-dataset and from ``example.proto`` of TensorFlow (field numbers
and types are the wire format). They live in a descriptor pool of their own, so that Waymo's package
may be imported beside them. Lidar and camera tokens, key points and segmentation labels are carried
as bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "waymo.open_dataset"

SCHEMA = """
message ObjectState
    2 center_x double       3 center_y double       4 center_z double
    5 length float          6 width float           7 height float
    8 heading float         9 velocity_x float      10 velocity_y float     11 valid bool
message Track
    enum ObjectType TYPE_UNSET TYPE_VEHICLE TYPE_PEDESTRIAN TYPE_CYCLIST TYPE_OTHER
    1 id int32              2 object_type ObjectType                        3 states ObjectState*
message DynamicMapState
    1 lane_states TrafficSignalLaneState*
message RequiredPrediction
    enum DifficultyLevel NONE LEVEL_1 LEVEL_2
    1 track_index int32     2 difficulty DifficultyLevel
message Scenario
    1 timestamps_seconds double*                    2 tracks Track*
    4 objects_of_interest int32*                    5 scenario_id string
    6 sdc_track_index int32                         7 dynamic_map_states DynamicMapState*
    8 map_features MapFeature*                      10 current_time_index int32
    11 tracks_to_predict RequiredPrediction*        12 compressed_frame_laser_data bytes*
    13 frame_camera_tokens bytes*
message TrafficSignalLaneState
    enum State LANE_STATE_UNKNOWN LANE_STATE_ARROW_STOP LANE_STATE_ARROW_CAUTION LANE_STATE_ARROW_GO LANE_STATE_STOP LANE_STATE_CAUTION LANE_STATE_GO LANE_STATE_FLASHING_STOP LANE_STATE_FLASHING_CAUTION
    1 lane int64            2 state State           3 stop_point MapPoint
message MapFeature
    1 id int64              3 lane LaneCenter       4 road_line RoadLine    5 road_edge RoadEdge
    7 stop_sign StopSign    8 crosswalk Crosswalk   9 speed_bump SpeedBump  10 driveway Driveway
message MapPoint
    1 x double              2 y double              3 z double
message BoundarySegment
    1 lane_start_index int32                        2 lane_end_index int32
    3 boundary_feature_id int64                     4 boundary_type RoadLineType
message LaneNeighbor
    1 feature_id int64
    2 self_start_index int32                        3 self_end_index int32
    4 neighbor_start_index int32                    5 neighbor_end_index int32
    6 boundaries BoundarySegment*
message LaneCenter
    enum LaneType TYPE_UNDEFINED TYPE_FREEWAY TYPE_SURFACE_STREET TYPE_BIKE_LANE
    1 speed_limit_mph double                        2 type LaneType         3 interpolating bool
    8 polyline MapPoint*
    9 entry_lanes int64* packed                     10 exit_lanes int64* packed
    11 left_neighbors LaneNeighbor*                 12 right_neighbors LaneNeighbor*
    13 left_boundaries BoundarySegment*             14 right_boundaries BoundarySegment*
message RoadEdge
    enum RoadEdgeType TYPE_UNKNOWN TYPE_ROAD_EDGE_BOUNDARY TYPE_ROAD_EDGE_MEDIAN
    1 type RoadEdgeType     2 polyline MapPoint*
message RoadLine
    enum RoadLineType TYPE_UNKNOWN TYPE_BROKEN_SINGLE_WHITE TYPE_SOLID_SINGLE_WHITE TYPE_SOLID_DOUBLE_WHITE TYPE_BROKEN_SINGLE_YELLOW TYPE_BROKEN_DOUBLE_YELLOW TYPE_SOLID_SINGLE_YELLOW TYPE_SOLID_DOUBLE_YELLOW TYPE_PASSING_DOUBLE_YELLOW
    1 type RoadLineType     2 polyline MapPoint*
message StopSign
    1 lane int64*           2 position MapPoint
message Crosswalk
    1 polygon MapPoint*
message SpeedBump
    1 polygon MapPoint*
message Driveway
    1 polygon MapPoint*
message MatrixShape
    1 dims int32*
message MatrixFloat
    1 data float* packed    2 shape MatrixShape
message CameraName
    enum Name UNKNOWN FRONT FRONT_LEFT FRONT_RIGHT SIDE_LEFT SIDE_RIGHT REAR_LEFT REAR REAR_RIGHT
message LaserName
    enum Name UNKNOWN TOP FRONT SIDE_LEFT SIDE_RIGHT REAR
message Transform
    1 transform double*
message Velocity
    1 v_x float             2 v_y float             3 v_z float
    4 w_x double            5 w_y double            6 w_z double
message CameraCalibration
    enum RollingShutterReadOutDirection UNKNOWN TOP_TO_BOTTOM LEFT_TO_RIGHT BOTTOM_TO_TOP RIGHT_TO_LEFT GLOBAL_SHUTTER
    1 name CameraName.Name  2 intrinsic double*     3 extrinsic Transform
    4 width int32           5 height int32
    6 rolling_shutter_direction RollingShutterReadOutDirection
message LaserCalibration
    1 name LaserName.Name   2 beam_inclinations double*
    3 beam_inclination_min double                   4 beam_inclination_max double
    5 extrinsic Transform
message ObjectCount
    1 type Label.Type       2 count int32
message Stats
    1 laser_object_counts ObjectCount*              2 time_of_day string
    3 location string       4 weather string        5 camera_object_counts ObjectCount*
message Context
    1 name string           2 camera_calibrations CameraCalibration*
    3 laser_calibrations LaserCalibration*          4 stats Stats
message RangeImage
    2 range_image_compressed bytes                  3 camera_projection_compressed bytes
    4 range_image_pose_compressed bytes             5 range_image_flow_compressed bytes
    6 segmentation_label_compressed bytes
message Laser
    1 name LaserName.Name   2 ri_return1 RangeImage 3 ri_return2 RangeImage
message CameraImage
    1 name CameraName.Name  2 image bytes           3 pose Transform        4 velocity Velocity
    5 pose_timestamp double 6 shutter double        7 camera_trigger_time double
    8 camera_readout_done_time double               10 camera_segmentation_label bytes
message Box
    1 center_x double       2 center_y double       3 center_z double
    4 width double          5 length double         6 height double         7 heading double
message Metadata
    1 speed_x double        2 speed_y double        3 accel_x double        4 accel_y double
    5 speed_z double        6 accel_z double
message Label
    enum Type TYPE_UNKNOWN TYPE_VEHICLE TYPE_PEDESTRIAN TYPE_SIGN TYPE_CYCLIST
    1 box Box               2 metadata Metadata     3 type Type             4 id string
    5 detection_difficulty_level int32              6 tracking_difficulty_level int32
    7 num_lidar_points_in_box int32                 8 laser_keypoints bytes
    9 camera_keypoints bytes                        10 association bytes
    11 most_visible_camera_name string              12 camera_synced_box Box
    13 num_top_lidar_points_in_box int32
message CameraLabels
    1 name CameraName.Name  2 labels Label*
message Polygon2dProto
    1 x double*             2 y double*             3 id string
message Vector3d
    1 x double              2 y double              3 z double
message Frame
    1 context Context       2 timestamp_micros int64                        3 pose Transform
    4 images CameraImage*   5 lasers Laser*         6 laser_labels Label*
    7 no_label_zones Polygon2dProto*                8 camera_labels CameraLabels*
    9 projected_lidar_labels CameraLabels*          10 map_features MapFeature*
    11 map_pose_offset Vector3d
message BytesList
    1 value bytes*
message FloatList
    1 value float* packed
message Int64List
    1 value int64* packed
message Feature
    1 bytes_list BytesList  2 float_list FloatList  3 int64_list Int64List
message NamedFeature
    1 key string            2 value Feature
message Features
    1 feature NamedFeature*
message Example
    1 features Features
"""
"""``number name type``, where ``*`` is repeated; enum values count from 0, and an enum is named with
its message where two share a name. A map is, on the wire, a repeated pair."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE, "float": _Field.TYPE_FLOAT, "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64, "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}  # fmt: skip


@cache
def scenario_class() -> Any:
    """The message class ``Scenario``."""
    return message_class("Scenario")


@cache
def message_class(name: str) -> Any:
    """A message class of :data:`SCHEMA`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def enum_words(name: str) -> tuple[str, ...]:
    """The words of an enum such as ``Track.ObjectType``, by value."""
    return tuple(value.name for value in _pool().FindEnumTypeByName(f"{PACKAGE}.{name}").values)


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="scenelake/waymo_motion.proto", package=PACKAGE, syntax="proto2"
    )
    enums: dict[str, str] = {}  # by name alone, the last of that name, and with its message's
    later: list[tuple[descriptor_pb2.DescriptorProto, list[str]]] = []
    for line in filter(str.strip, SCHEMA.splitlines()):
        kind, *words = line.split()
        if kind == "message":
            message = file.message_type.add(name=words[0])
        elif kind == "enum":
            enum = message.enum_type.add(name=words[0])
            full = f".{PACKAGE}.{message.name}.{words[0]}"
            enums |= {words[0]: full, f"{message.name}.{words[0]}": full}
            for number, word in enumerate(words[1:]):
                enum.value.add(name=word, number=number)
        else:
            later.append((message, [kind, *words]))
    for message, words in later:
        _add_fields(message, words, enums)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_fields(
    message: descriptor_pb2.DescriptorProto, words: list[str], enums: dict[str, str]
) -> None:
    while words:
        number, name, kind = words[:3]
        words = words[3:]
        field = message.field.add(name=name, number=int(number))
        repeated = kind.endswith("*")
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        kind = kind.removesuffix("*")
        if words[:1] == ["packed"]:
            field.options.packed = True
            words = words[1:]
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        elif kind in enums:
            field.type, field.type_name = _Field.TYPE_ENUM, enums[kind]
        else:
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"

"""What a source's own library finds in it, as JSON; runs in the clients' environment.

    .clients/bin/python tests/clients/count.py commonroad FILE

``states`` are [track, step or stamp, x, y], ``lines`` map features by id. The libraries are installed
without what they draw, train and decode with; such modules are stood in for.
"""

import gzip
import importlib.abc
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from unittest.mock import MagicMock

# commonroad-io's messages were generated for an older protobuf, which the plain one still takes.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

NOT_NEEDED = {
    "matplotlib", "mpl_toolkits", "cv2", "sklearn", "descartes", "PIL", "torch", "kornia", "numba",
    "rtree", "trimesh", "hydra", "DracoPy", "laspy", "ray",
}  # fmt: skip


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty shell for each module that counting does without."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NOT_NEEDED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__name__, module.__spec__ = [], spec.name, spec
        return module

    def exec_module(self, module):
        """Nothing to run."""


def commonroad(path):
    from commonroad.common.file_reader import CommonRoadFileReader

    scenario, _ = CommonRoadFileReader(path).open()
    states = []
    for obstacle in scenario.dynamic_obstacles:
        told = [obstacle.initial_state]
        if hasattr(obstacle.prediction, "trajectory"):
            told += obstacle.prediction.trajectory.state_list
        states += [[str(obstacle.obstacle_id), s.time_step, *map(float, s.position)] for s in told]
    return {
        "dt": scenario.dt,
        "states": states,
        "static": len(scenario.static_obstacles),
        "lines": {
            str(lane.lanelet_id): lane.left_vertices.tolist()
            for lane in scenario.lanelet_network.lanelets
        },
    }


def osi(path):
    from osi3trace.osi_trace import OSITrace

    trace = OSITrace(path, type_name="GroundTruth")
    messages, states, lanes = 0, [], set()
    for truth in trace:
        messages += 1
        stamp = truth.timestamp.seconds * 10**9 + truth.timestamp.nanos
        host = truth.host_vehicle_id.value if truth.HasField("host_vehicle_id") else None
        lanes.update(str(lane.id.value) for lane in truth.lane)
        for thing in truth.moving_object:
            at = thing.base.position
            name = str(thing.id.value)
            states.append([name, stamp, at.x, at.y, thing.id.value == host])
    return {"messages": messages, "states": states, "lanes": sorted(lanes)}


def mcap(path):
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with Path(path).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        topics = {}
        for _, channel, message, decoded in reader.iter_decoded_messages():
            about = topics.setdefault(
                channel.topic, {"type": type(decoded).__name__, "log_time": []}
            )
            about["log_time"].append(message.log_time)
            header = getattr(decoded, "header", None)
            if header is not None:
                stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
                about.setdefault("stamps", []).append(stamp)
    return topics


def lanelet2(path):
    import lanelet2 as library
    from lanelet2.projection import UtmProjector

    first = float(Path(path).read_text().split('lat="')[1].split('"')[0])
    second = float(Path(path).read_text().split('lon="')[1].split('"')[0])
    projector = UtmProjector(library.io.Origin(first, second), False, False)
    chart, errors = library.io.loadRobust(path, projector)
    return {
        "errors": list(errors),
        "lines": {
            str(lane.id): [
                [[p.x, p.y] for p in bound] for bound in (lane.leftBound, lane.rightBound)
            ]
            for lane in chart.laneletLayer
        },
    }


def sumo(path):
    import sumolib

    net = sumolib.net.readNet(path, withInternal=True, withPrograms=True)
    lanes = [lane for edge in net.getEdges(withInternal=True) for lane in edge.getLanes()]
    return {
        "lines": {lane.getID(): lane.getShape() for lane in lanes},
        "speeds": {lane.getID(): lane.getSpeed() for lane in lanes},
        "lights": len(net.getTrafficLights()),
    }


def argoverse2_motion(path):
    from av2.datasets.motion_forecasting import scenario_serialization

    (file,) = Path(path).glob("scenario_*.parquet")
    scenario = scenario_serialization.load_argoverse_scenario_parquet(file)
    return {
        "states": [
            [track.track_id, state.timestep, *map(float, state.position)]
            for track in scenario.tracks
            for state in track.object_states
        ],
        "classes": {track.track_id: track.object_type.value for track in scenario.tracks},
        "map": _argoverse2_map(next(Path(path).glob("log_map_archive_*.json"))),
    }


def argoverse2_sensor(path):
    from av2.structures.cuboid import CuboidList

    cuboids = CuboidList.from_feather(Path(path) / "annotations.feather").cuboids
    maps = list(Path(path, "map").glob("log_map_archive_*.json"))
    return {
        "cuboids": [[int(c.timestamp_ns), str(c.category), float(c.length_m)] for c in cuboids],
        "map": _argoverse2_map(maps[0]) if maps else None,
    }


def _argoverse2_map(path):
    from av2.map.map_api import ArgoverseStaticMap

    chart = ArgoverseStaticMap.from_json(path)
    return {
        "lanes": {
            str(lane.id): lane.left_lane_boundary.xyz.tolist()
            for lane in chart.vector_lane_segments.values()
        },
        "crossings": len(chart.vector_pedestrian_crossings),
        "areas": len(chart.vector_drivable_areas),
    }


def nuscenes(root, version):
    from nuscenes.nuscenes import NuScenes

    tables = NuScenes(version=version, dataroot=root, verbose=False)
    boxes = []
    for scene in tables.scene:
        token = scene["first_sample_token"]
        while token:
            sample = tables.get("sample", token)
            for name in sample["anns"]:
                box = tables.get("sample_annotation", name)
                stamp = sample["timestamp"]
                boxes.append([scene["name"], box["instance_token"], stamp, *box["translation"]])
            token = sample["next"]
    return {
        "scenes": [scene["name"] for scene in tables.scene],
        "states": boxes,
        "frames": len(tables.sample_data),
        "classes": {i["token"]: tables.get("category", i["category_token"])["name"]
                    for i in tables.instance},
    }  # fmt: skip


def py123d(path):
    from py123d.api.scene.arrow.arrow_scene_api import ArrowSceneAPI

    scene = ArrowSceneAPI(path)
    states, ego, lights = [], [], 0
    for stamp in scene.get_all_ego_state_se3_timestamps():
        at = scene.get_ego_state_se3_at_timestamp(stamp)
        ego.append([stamp.time_us, *at.center_se3.array.tolist()])
    for stamp in scene.get_all_box_detections_se3_timestamps():
        for box in scene.get_box_detections_se3_at_timestamp(stamp):
            place = box.center_se3.array[:3].tolist()
            states.append([box.attributes.track_token, stamp.time_us, *place])
    for stamp in scene.get_all_traffic_light_detections_timestamps():
        lights += len(list(scene.get_traffic_light_detections_at_timestamp(stamp)))
    return {"states": states, "ego": ego, "lights": lights}


if __name__ == "__main__":
    sys.meta_path.insert(0, StandIn())
    name, path, *rest = sys.argv[1:]
    if path.endswith(".gz"):
        plain = Path(rest.pop(0)) / Path(path).stem
        plain.write_bytes(gzip.decompress(Path(path).read_bytes()))
        path = str(plain)
    sys.stdout.write(json.dumps(globals()[name](path, *rest)) + "\n")

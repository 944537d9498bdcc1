"""What CommonRoad-CriMe makes of two vehicles, as JSON; runs in the clients' environment.

    .clients/bin/python tests/clients/crime.py CASE.json

A case holds ``lanes`` (id, left, right, before, after, crossing), ``vehicles`` (the first one's
measures are asked for; length, width, and states of x, y, yaw, speed at steps of 0.1 s),
``measures`` by CriMe's names and the ``steps`` at which to take them. CriMe needs an older
commonroad-io than the readers are held against, so that both lie in a folder of their own.
"""

import json
import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import count
import numpy as np

OLDER = Path(sys.prefix) / "crime"
NOT_NEEDED = {"casadi", "commonroad_dc", "commonroad_reach", "imageio", "osqp"}


def scenario_of(case):
    from commonroad.geometry.shape import Rectangle
    from commonroad.prediction.prediction import TrajectoryPrediction
    from commonroad.scenario.intersection import Intersection, IntersectionIncomingElement
    from commonroad.scenario.lanelet import Lanelet, LaneletType
    from commonroad.scenario.obstacle import DynamicObstacle, ObstacleType
    from commonroad.scenario.scenario import Scenario, ScenarioID, Tag
    from commonroad.scenario.state import InitialState, KSState
    from commonroad.scenario.trajectory import Trajectory

    scenario = Scenario(0.1, ScenarioID(), tags={Tag.INTERSECTION})
    arrivals = []
    for lane in case["lanes"]:
        left, right = np.array(lane["left"]), np.array(lane["right"])
        kind = LaneletType.INTERSECTION if lane["crossing"] else LaneletType.URBAN
        scenario.add_objects(
            Lanelet(
                left, (left + right) / 2, right, lane["id"], predecessor=lane["before"],
                successor=lane["after"], lanelet_type={kind},
            )
        )  # fmt: skip
        if lane["crossing"]:
            number = 100 + lane["id"]
            arrivals.append(
                IntersectionIncomingElement(
                    number, set(lane["before"]), successors_straight={lane["id"]}
                )
            )
    if arrivals:
        scenario.add_objects(Intersection(99, arrivals))
    for number, vehicle in enumerate(case["vehicles"], start=1000):
        states = [
            {"time_step": k, "position": np.array([x, y]), "orientation": yaw, "velocity": speed}
            for k, (x, y, yaw, speed) in enumerate(vehicle["states"])
        ]
        first = InitialState(**states[0], acceleration=0.0, yaw_rate=0.0, slip_angle=0.0)
        shape = Rectangle(vehicle["length"], vehicle["width"])
        way = Trajectory(1, [KSState(**state, steering_angle=0.0) for state in states[1:]])
        scenario.add_objects(
            DynamicObstacle(
                number, ObstacleType.CAR, shape, first, TrajectoryPrediction(way, shape)
            )
        )
    scenario.assign_obstacles_to_lanelets()
    return scenario


def main(path):
    import commonroad_crime.measure as measures
    from commonroad_crime.data_structure.configuration import CriMeConfiguration

    case = json.loads(Path(path).read_text())
    config = CriMeConfiguration()
    config.update(ego_id=1000, sce=scenario_of(case))
    config.vehicle.dynamic = SimpleNamespace(parameters=SimpleNamespace(m=1500.0))
    told = {}
    for name in case["measures"]:
        measure = getattr(measures, name)(config)
        told[name] = [
            float(measure.compute(vehicle_id=1001, time_step=step, verbose=False))
            for step in case["steps"]
        ]
    return told


if __name__ == "__main__":
    sys.path.insert(0, str(OLDER))
    count.NOT_NEEDED |= NOT_NEEDED
    sys.meta_path.insert(0, count.StandIn())
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")

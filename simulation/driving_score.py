"""CARLA leaderboard 2.0's driving score of a measured drive: route completion × penalties.

    DS = completion · Π pᵢ^nᵢ

Completion is the distance along the route over the route's length, which is as long as the recorded
drive. Penalties: pedestrian .5, vehicle .6, anything else .65, red light .7. Stop signs (.8), scenario
timeouts (.7), yielding to emergency vehicles (.7), the least speed (.7) and the share driven outside
the route's lanes are not measured here and left out, so that the score is an upper bound. As in
CARLA every impact counts, whoever is to blame.
"""

from __future__ import annotations

from schemas.labels import VEHICLES, AgentClass
from simulation.batch import PARKED_M
from simulation.scores import Drive

PEDESTRIAN, VEHICLE, STATIC, RED_LIGHT = 0.5, 0.6, 0.65, 0.7
ON_WHEELS = VEHICLES | {AgentClass.CYCLIST}


def driving_score(drive: Drive) -> float:
    """In [0, 1]."""
    score = completion(drive)
    for collision in drive.collisions:
        if collision.cls == AgentClass.PEDESTRIAN:
            score *= PEDESTRIAN
        else:
            score *= VEHICLE if collision.cls in ON_WHEELS else STATIC
    return score * RED_LIGHT ** (drive.red_lights or 0)


def completion(drive: Drive) -> float:
    """Share of the route that was driven; 1 where the recorded drive stood, for there is no route then."""
    if drive.reference < PARKED_M:
        return 1.0
    return min(max(drive.distance / drive.reference, 0.0), 1.0)

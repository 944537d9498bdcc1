"""A signal without a place of its own stops traffic at the painted line of its lane."""

from dataclasses import replace

import numpy as np

from lake.scenes import scenes_of
from schemas.labels import EdgeKind, MapLayer
from schemas.records import MapFeature
from simulation.batch import _stopping_points
from tests.builders import CORNER, make_crossing_log


def test_the_line_that_leads_to_the_lane_counts_and_a_sign_does_not() -> None:
    log = make_crossing_log()
    count = len(log.map.features)
    line = np.array([[-12.0, -2.0, 0.0], [-12.0, 2.0, 0.0]]) + CORNER
    post = np.array([[-30.0, 3.0, 2.0]]) + CORNER
    features = [
        *log.map.features,
        MapFeature(feature_id=count, source_id="post", layer=MapLayer.STOP_SIGN, points=post),
        MapFeature(feature_id=count + 1, source_id="bar", layer=MapLayer.STOP_LINE, points=line),
    ]
    stops = [[count, EdgeKind.STOP_LINE_OF_LANE, 0], [count + 1, EdgeKind.STOP_LINE_OF_LANE, 0]]
    road_map = replace(
        log.map, features=tuple(features), edges=np.concatenate([log.map.edges, stops])
    )
    lights = replace(log.lights, stop_xyz=np.full_like(log.lights.stop_xyz, np.nan))
    (scene,) = scenes_of(replace(log, map=road_map, lights=lights))
    place = {
        stop.lane: stop.xy + scene.origin[:2] - CORNER[:2] for stop in _stopping_points(scene)
    }
    np.testing.assert_allclose(place[0], [-12.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(place[3], [0.0, -150.0], atol=1e-3)

"""The drawn camera and the cast lidar, against hand computation and brute force."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather

from formats.argoverse2 import ego_poses
from formats.argoverse2_sensor import write_log
from geometry.arrays import Array
from geometry.frames import SE3
from schemas.errors import MissingData
from schemas.labels import AgentClass, Daylight, LaneType, LightState, MapLayer, Weather
from schemas.records import EgoStates, LightStates, Log, MapFeature, Observations, RoadMap
from simulation import lidar
from simulation.lidar import GROUND, LOWER, NOTHING, UPPER, WHOLE, Targets, cast, directions, sweep
from simulation.sensors import (
    CAMERA_AT,
    FOCAL,
    LIDARS_AT,
    cast_lidar,
    frames_of_world,
    payloads_of,
    render_camera,
    sensors_of_world,
)

CAMERA, UP, DOWN, LIDAR = sensors_of_world()
LIDAR_AT = LIDARS_AT["up_lidar"]
AXLE_GROUND = 0.33  # [m] the vehicle frame's origin above the ground
ORIGIN = np.array([10_000.0, -5_000.0, 20.0])


def street() -> RoadMap:
    """400 m of road along x, with one lane, an edge line, and nothing else."""
    centre = np.array([[-100.0, 0.0, 0.0], [300.0, 0.0, 0.0]])
    side = np.array([0.0, 3.5, 0.0])
    area = np.array([[-100.0, -4, 0], [300, -4, 0], [300, 4, 0], [-100, 4, 0]])
    features = [
        (MapLayer.LANE, centre, "1", "VEHICLE"),
        (MapLayer.DRIVABLE_AREA, area, "2", "drivable_area"),
        (MapLayer.ROAD_LINE, centre + side, "3", "SOLID_WHITE"),
    ]
    return RoadMap(
        source_map_id="street",
        features=tuple(
            MapFeature(
                feature_id=i, source_id=key, layer=layer, points=points + ORIGIN, source_type=word,
                lane_type=LaneType.VEHICLE if layer == MapLayer.LANE else LaneType.UNKNOWN,
                left=points + ORIGIN + side if layer == MapLayer.LANE else None,
                right=points + ORIGIN - side if layer == MapLayer.LANE else None,
            )
            for i, (layer, points, key, word) in enumerate(features)
        ),
    )  # fmt: skip


STREET = street()


def log_with(*boxes: tuple[AgentClass, float, float, tuple[float, float, float]], **more) -> Log:
    """An ego at the origin that looks along x, and boxes (class, x, y, size) on the ground."""
    height = 1.473
    ego = EgoStates(
        t_ns=np.array([0, 100_000_000]), xyz=np.tile(ORIGIN + np.array([0, 0, height / 2]), (2, 1)),
        yaw=np.zeros(2), size=(4.877, 2.0, height),
    )  # fmt: skip
    agents = Observations.none()
    if boxes:
        count = len(boxes)
        agents = Observations(
            track=np.arange(count), t_ns=np.zeros(count, dtype=np.int64),
            xyz=ORIGIN + np.array([[x, y, size[2] / 2] for _, x, y, size in boxes]),
            yaw=np.zeros(count), size=np.array([size for *_, size in boxes]),
            source_track_id=[str(i) for i in range(count)], source_cls=["x"] * count,
            cls=[cls for cls, *_ in boxes],
        )  # fmt: skip
    log = Log(
        dataset="test", source_log_id="street", source_uri="", rate_hz=10.0, ego=ego,
        agents=agents, map=STREET, weather=Weather.CLOUDY, daylight=Daylight.DAY,
    )  # fmt: skip
    return replace(log, **more)


def image_of(log: Log) -> Array:
    return np.asarray(Image.open(io.BytesIO(render_camera(log, 0, CAMERA)))).astype(float)


class TestCamera:
    def test_a_box_straight_ahead_is_seen_where_it_must_be(self) -> None:
        # A bus's rear, 20 m ahead of the lens: the vehicle frame lies 1.422 m behind the middle of
        # the ego's box, the lens 1.63 m ahead of that, and the bus's middle half its length behind
        # its rear.
        length, width, height = 12.0, 2.6, 3.2
        x = 20.0 - 1.422 + CAMERA_AT[0] + length / 2
        with_bus = log_with((AgentClass.BUS, x, 0.0, (length, width, height)))
        added = np.abs(image_of(with_bus) - image_of(log_with()))
        changed = added.mean(axis=-1) > 22.0  # colour alone is blurred by the JPEG
        lens_height = CAMERA_AT[2] + AXLE_GROUND
        _, _, cx, cy = CAMERA.intrinsics
        above = changed[: int(cy) - 8]  # well above the horizon, below which the shadow lies
        rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
        assert columns.min() == pytest.approx(cx - FOCAL * width / 2 / 20.0, abs=3)
        assert columns.max() == pytest.approx(cx + FOCAL * width / 2 / 20.0, abs=3)
        assert rows.min() == pytest.approx(cy - FOCAL * (height - lens_height) / 20.0, abs=3)

    def test_the_nearer_box_hides_the_farther(self) -> None:
        truck = (AgentClass.TRUCK, 16.0, 0.0, (8.0, 2.5, 3.4))
        behind = (AgentClass.VEHICLE, 30.0, 0.0, (4.0, 1.6, 1.4))
        hidden = np.abs(image_of(log_with(truck, behind)) - image_of(log_with(truck)))
        shown = np.abs(image_of(log_with(behind)) - image_of(log_with()))
        assert hidden.max() < 40.0 < shown.max()

    def test_a_box_behind_is_not_seen(self) -> None:
        behind = log_with((AgentClass.VEHICLE, -15.0, 0.0, (4.5, 1.9, 1.5)))
        np.testing.assert_array_equal(image_of(behind), image_of(log_with()))

    def test_a_box_that_reaches_past_the_lens_is_cut(self) -> None:
        beside = log_with((AgentClass.BUS, 3.0, 3.2, (12.0, 2.6, 3.2)))
        changed = np.abs(image_of(beside) - image_of(log_with())).max(axis=-1) > 45.0
        assert changed[:, :150].mean() > 0.3
        assert changed[:, 400:].mean() < 0.01

    def test_night_is_darker_and_fog_hides_what_is_far(self) -> None:
        day, night = log_with(), log_with(daylight=Daylight.NIGHT)
        assert image_of(night).mean() < 0.6 * image_of(day).mean()
        far = (AgentClass.BUS, 80.0, 0.0, (12.0, 2.6, 3.2))

        def contrast(weather: Weather) -> float:
            seen = image_of(log_with(far, weather=weather))
            return float(np.abs(seen - image_of(log_with(weather=weather))).max())

        assert contrast(Weather.FOG) < 0.5 * contrast(Weather.CLEAR)

    @pytest.mark.parametrize("weather", [None, *Weather])
    @pytest.mark.parametrize("daylight", [None, *Daylight])
    def test_every_condition_is_drawn(
        self, weather: Weather | None, daylight: Daylight | None
    ) -> None:
        pixels = image_of(log_with(weather=weather, daylight=daylight))
        assert pixels.shape == (CAMERA.height, CAMERA.width, 3)
        assert pixels.std() > 3.0

    @pytest.mark.parametrize(
        ("state", "channel"), [(LightState.RED, 0), (LightState.GREEN, 1), (LightState.OFF, None)]
    )
    def test_signals_show_their_state(self, state: LightState, channel: int | None) -> None:
        lights = LightStates(
            source_lane_id=["1", "1"], t_ns=np.array([0, 50]), source_state=["", ""],
            state=np.array([state, LightState.YELLOW]), arrow=np.zeros(2, bool),
            flashing=np.zeros(2, bool), stop_xyz=np.tile(ORIGIN + np.array([15.0, 0.0, 0.0]), (2, 1)),
        )  # fmt: skip
        dark = log_with(daylight=Daylight.NIGHT)
        added = image_of(replace(dark, lights=lights)) - image_of(dark)
        rows, columns = slice(0, 160), slice(280, 360)
        gain = added[rows, columns].max(axis=(0, 1))
        if channel is None:
            assert gain.max() < 60.0
        else:
            other = 1 - channel
            assert gain[channel] > 100.0
            strongest = np.unravel_index(added[rows, columns, channel].argmax(), (160, 80))
            assert (
                added[rows, columns][strongest][other] < added[rows, columns][strongest][channel]
            )

    def test_it_is_the_same_every_time(self) -> None:
        log = log_with((AgentClass.PEDESTRIAN, 12.0, 2.0, (0.6, 0.6, 1.7)), weather=Weather.RAIN)
        assert render_camera(log, 0, CAMERA) == render_camera(log, 0, CAMERA)

    def test_without_an_ego_or_beyond_its_poses_there_is_nothing_to_see(self) -> None:
        with pytest.raises(MissingData, match="no ego"):
            render_camera(log_with(ego=None), 0, CAMERA)
        with pytest.raises(MissingData, match="no pose"):
            render_camera(log_with(), 10**12, CAMERA)

    def test_a_log_without_a_map_is_drawn(self) -> None:
        assert image_of(log_with(map=RoadMap.none())).std() > 3.0

    @pytest.mark.parametrize("cls", list(AgentClass))
    def test_every_class_has_a_shape(self, cls: AgentClass) -> None:
        seen = image_of(log_with((cls, 12.0, 0.5, (1.6, 1.0, 1.6))))
        assert np.abs(seen - image_of(log_with())).max() > 40.0


def drawn_targets(seed: int) -> Targets:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    size = rng.uniform(0.3, 9.0, (count, 3))
    angle, gap = rng.uniform(-np.pi, np.pi, count), rng.uniform(1.0, 70.0, count)
    xy = np.stack([gap * np.cos(angle), gap * np.sin(angle)], axis=1)
    z = rng.uniform(-1.0, 3.0, (count, 1))
    return Targets(
        np.concatenate([xy, z], axis=1), rng.uniform(-3, 3, count), size, np.full(count, 0.5), -0.3
    )


def brute_force(targets: Targets, origin: Array, ray: Array) -> float:
    """Nearest surface along one ray, face by face."""
    best = np.inf
    if ray[2] < 0.0:
        best = (targets.ground_z - origin[2]) / ray[2]
    for i in range(len(targets.yaw)):
        cos, sin = np.cos(targets.yaw[i]), np.sin(targets.yaw[i])
        box_from_ego = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        start, step = box_from_ego @ (origin - targets.xyz[i]), box_from_ego @ ray
        half = targets.size[i] / 2.0
        if (np.abs(start) <= half).all():
            continue  # from within a box, its faces are not met from outside
        for axis in range(3):
            for side in (-half[axis], half[axis]):
                if abs(step[axis]) < 1e-12:
                    continue
                t = (side - start[axis]) / step[axis]
                at = np.abs(start + t * step) - half
                if t > 0.0 and np.delete(at, axis).max() <= 1e-9:
                    best = min(best, t)
    return best if best <= lidar.RANGE else np.inf


class TestLidar:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32))
    def test_every_ray_returns_the_nearest_surface(self, seed: int) -> None:
        targets = drawn_targets(seed)
        pose = SE3(np.eye(3), LIDAR_AT)
        distance, hit, _ = cast(targets, pose)
        rays = directions(WHOLE)
        rng = np.random.default_rng(seed)
        beams = rng.integers(0, WHOLE.beams, 60)
        azimuths = rng.integers(0, lidar.AZIMUTHS, 60)
        met = np.argwhere(hit >= 0)
        if len(met):
            chosen = met[rng.integers(0, len(met), 60)]
            beams, azimuths = np.append(beams, chosen[:, 0]), np.append(azimuths, chosen[:, 1])
        for beam, azimuth in zip(beams, azimuths, strict=True):
            want = brute_force(targets, LIDAR_AT, rays[beam, azimuth])
            assert distance[beam, azimuth] == pytest.approx(want, abs=1e-6)

    def test_a_wall_straight_ahead_by_hand(self) -> None:
        wall = Targets(
            np.array([[21.35, 0.0, 5.0]]), np.zeros(1), np.array([[2.0, 50.0, 30.0]]),
            np.array([0.5]), -0.33,
        )  # fmt: skip
        distance, hit, cosine = cast(wall, SE3(np.eye(3), LIDAR_AT))
        rays = directions(WHOLE)
        ahead = (rays[..., 0] > 0.99) & (np.abs(rays[..., 2]) < 0.05)
        # The wall's face is at x = 20.35, the head at 1.35: 19 m along x, more along slanted rays.
        np.testing.assert_allclose(distance[ahead] * rays[ahead][:, 0], 19.0, atol=1e-9)
        np.testing.assert_allclose(cosine[ahead], rays[ahead][:, 0])
        assert (hit[ahead] == 0).all()

    def test_the_ground_alone(self) -> None:
        nothing = np.zeros((0, 3))
        empty = Targets(nothing, np.zeros(0), nothing, np.zeros(0), -0.33)
        distance, hit, _ = cast(empty, SE3(np.eye(3), LIDAR_AT))
        z = LIDAR_AT[2] + distance * directions(WHOLE)[..., 2]
        np.testing.assert_allclose(z[hit == GROUND], -0.33, atol=1e-9)
        assert (hit[directions(WHOLE)[..., 2] >= 0.0] == NOTHING).all()

    def test_what_is_hidden_returns_nothing(self) -> None:
        truck = (AgentClass.TRUCK, 15.0, 0.0, (8.0, 2.6, 3.6))
        hidden = (AgentClass.VEHICLE, 30.0, 0.0, (4.5, 1.9, 1.5))
        alone = cast_lidar(log_with(hidden), 0, LIDAR, 1)
        both = cast_lidar(log_with(truck, hidden), 0, LIDAR, 1)
        assert (alone["hit"] == 0).sum() > 20
        assert (both["hit"] == 0).sum() > 100
        assert (both["hit"] == 1).sum() == 0

    def test_points_lie_on_the_box_that_they_name(self) -> None:
        log = log_with((AgentClass.VEHICLE, 12.0, 3.0, (4.5, 1.9, 1.5)))
        points = cast_lidar(log, 0, LIDAR, 1)
        own = points[points["hit"] == 0]
        # In the vehicle frame the box's middle is 1.422 m further ahead.
        offset = np.stack([own["x"] - 13.422, own["y"] - 3.0, own["z"] - (0.75 - AXLE_GROUND)], 1)
        outside = np.abs(offset) - np.array([4.5, 1.9, 1.5]) / 2.0
        assert len(own) > 50
        np.testing.assert_allclose(outside.max(axis=1), 0.0, atol=6 * lidar.RANGE_SIGMA)

    def test_two_heads_make_the_whole(self) -> None:
        both = np.concatenate([directions(LOWER), directions(UPPER)])
        np.testing.assert_allclose(both, directions(WHOLE), atol=1e-12)
        points = cast_lidar(log_with(), 0, LIDAR, 1)
        assert set(points["laser_number"].tolist()) == set(range(32))
        for sensor, lasers in ((UP, range(16)), (DOWN, range(16, 32))):
            one = cast_lidar(log_with(), 0, sensor, 1)
            assert set(one["laser_number"].tolist()) <= set(lasers)

    def test_fog_and_rain_take_returns_away(self) -> None:
        def far(weather: Weather) -> int:
            points = cast_lidar(log_with(weather=weather), 0, LIDAR, 1)
            gap = np.hypot(points["x"], points["y"])
            return int(((gap > 40.0) & (points["hit"] < lidar.AIR)).sum())

        assert far(Weather.FOG) < far(Weather.RAIN) < far(Weather.CLEAR)
        fog = cast_lidar(log_with(weather=Weather.FOG), 0, LIDAR, 1)
        assert (fog["hit"] == lidar.AIR).any()

    def test_paint_shines_on_the_road(self) -> None:
        points = cast_lidar(log_with(weather=None), 0, LIDAR, 1)
        ground = points[(points["hit"] == GROUND) & (np.abs(points["x"]) < 12.0)]
        paint = np.abs(ground["y"] - 3.5) < 0.06
        asphalt = np.abs(ground["y"]) < 2.5
        assert paint.any()
        assert ground["intensity"][paint].mean() > 1.8 * ground["intensity"][asphalt].mean()

    def test_noise_is_the_seed_s(self) -> None:
        one, two = (cast_lidar(log_with(), 0, LIDAR, 1) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        other = cast_lidar(log_with(), 0, LIDAR, 2)
        assert len(one) != len(other) or not np.array_equal(one["x"], other["x"])

    def test_range_noise_has_the_stated_spread(self) -> None:
        wall = Targets(
            np.array([[11.35, 0.0, 0.0]]), np.zeros(1), np.array([[2.0, 80.0, 60.0]]),
            np.array([0.5]), -100.0,
        )  # fmt: skip
        rng = np.random.default_rng(0)
        points = sweep(wall, SE3(np.eye(3), LIDAR_AT), weather=None, rng=rng)
        ray = np.stack([points["x"], points["y"], points["z"]], axis=1) - LIDAR_AT
        gap = np.linalg.norm(ray, axis=1)
        error = gap * (1.0 - 9.0 / ray[:, 0])
        assert error.std() == pytest.approx(lidar.RANGE_SIGMA, rel=0.05)
        assert abs(error.mean()) < 0.001


def test_the_vehicle_frame_is_where_argoverse_has_it() -> None:
    log = log_with()
    assert log.ego is not None
    np.testing.assert_allclose(
        ego_poses(log.ego).translation[0] - ORIGIN, [-1.422, 0.0, AXLE_GROUND], atol=1e-9
    )


def test_frames_are_written_and_points_counted(tmp_path) -> None:
    log = log_with(
        (AgentClass.VEHICLE, 12.0, 3.0, (4.5, 1.9, 1.5)), sensors=list(sensors_of_world())
    )
    log = replace(log, frames=frames_of_world(log, camera_every=2))
    assert [(frame.channel, frame.t_ns) for frame in log.frames] == [
        ("ring_front_center", 0), ("lidar", 0), ("lidar", 100_000_000),
    ]  # fmt: skip
    folder = write_log(log, tmp_path, payloads=payloads_of(log))
    (image,) = (folder / "sensors/cameras/ring_front_center").iterdir()
    assert Image.open(io.BytesIO(image.read_bytes())).size == (640, 360)
    assert len(list((folder / "sensors/lidar").iterdir())) == 2
    boxes = feather.read_table(folder / "annotations.feather", memory_map=False)
    assert boxes["num_interior_pts"].to_pylist()[0] > 30

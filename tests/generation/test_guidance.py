"""Each term: it has a gradient where it is violated, the gradient is right, following it helps."""

import dataclasses
import math

import pytest
import torch

from generation.features import FUTURE, STEP
from generation.guidance import (
    AgainstLane,
    Brake,
    CrossPath,
    Guide,
    KeepApart,
    KeepSpeed,
    MeetEgo,
    ReachGap,
    Situation,
    StandStill,
    StayNear,
    StayOnLanes,
    Weighted,
    WithinLimits,
    disc_gap,
    lane_offset,
    path_offset,
)
from generation.rollout import rollout
from schemas.labels import AgentClass

A = 4


def plan(speed=10.0):
    t = STEP * torch.arange(1, FUTURE + 1)
    zero = torch.zeros(FUTURE)
    return torch.stack([speed * t, zero, zero, torch.full_like(t, speed)], -1)


def situation(starts, *, actor=1, free=None, kinds=None):
    """Slots from (x, y, yaw, speed) on lanes along +x at y = −3.5, 0, 3.5; slot 0 is the ego."""
    start = torch.zeros(1, A, 4)
    present = torch.zeros(1, A, dtype=torch.bool)
    for k, state in enumerate(starts):
        start[0, k] = torch.tensor(state)
        present[0, k] = True
    x = torch.linspace(-100.0, 200.0, 151)
    lane = torch.cat(
        [torch.stack([x, torch.full_like(x, y), torch.ones_like(x), torch.zeros_like(x)], -1)
         for y in (-3.5, 0.0, 3.5)]
    )  # fmt: skip
    kind = torch.full((1, A), int(AgentClass.VEHICLE))
    for k, cls in (kinds or {}).items():
        kind[0, k] = int(cls)
    size = torch.tensor([4.6, 1.9]).expand(1, A, 2).clone()
    size[kind == int(AgentClass.PEDESTRIAN)] = torch.tensor([0.5, 0.6])
    freed = torch.zeros(1, A, dtype=torch.bool)
    freed[0, list(free if free is not None else range(1, len(starts)))] = True
    return Situation(
        start=start, size=size, kind=kind, present=present, free=freed,
        actor=torch.tensor([actor]), plan=plan()[None],
        fixed=torch.zeros(1, 1, FUTURE, 4), fixed_size=torch.ones(1, 1, 2),
        fixed_there=torch.zeros(1, 1, FUTURE, dtype=torch.bool),
        lane=lane[None], lane_there=torch.ones(1, len(lane), dtype=torch.bool),
    )  # fmt: skip


def one(value):
    return torch.tensor([float(value)])


EGO = (0.0, 0.0, 0.0, 10.0)
CASES = {
    "keep_apart": (KeepApart(), situation([EGO, (20.0, 0.3, 0.0, 10.0), (24.0, 0.0, 0.0, 10.0)])),
    "keep_apart_ego": (KeepApart(), situation([EGO, (3.0, 1.0, 0.0, 10.0)])),
    "stay_on_lanes": (StayOnLanes(), situation([EGO, (10.0, 1.9, 0.15, 5.0)])),
    "within_limits": (WithinLimits(), situation([EGO, (10.0, 3.5, 0.0, 10.0)])),
    "stay_near": (
        StayNear(
            states=torch.zeros(1, A, FUTURE, 4) + torch.tensor([30.0, 3.5, 0.0, 5.0]),
            known=torch.ones(1, A, FUTURE, dtype=torch.bool),
        ),
        situation([EGO, (10.0, 3.5, 0.0, 5.0)]),
    ),
    "meet_ego": (MeetEgo(gap=one(0.0)), situation([EGO, (10.0, 7.0, -0.05, 8.0)])),
    "meet_ego_side": (
        MeetEgo(gap=one(0.0), bearing=math.pi / 2, heading=0.0),
        situation([EGO, (4.0, 3.5, 0.2, 10.0)]),
    ),
    "meet_ego_head_on": (
        MeetEgo(gap=one(0.0), bearing=0.0, heading=math.pi),
        situation([EGO, (80.0, 3.5, math.pi - 0.1, 8.0)]),
    ),
    "meet_ego_crossing": (
        MeetEgo(gap=one(0.5), heading=math.pi / 2),
        situation([EGO, (40.0, -20.0, math.pi / 2 - 0.2, 5.0)]),
    ),
    "reach_gap": (
        ReachGap(gap=one(8.0), by=one(3.0)), situation([EGO, (5.0, 3.5, 0.0, 10.0)])
    ),
    "brake": (
        Brake(begin=one(1.0), rate=one(6.0), floor=one(0.0)),
        situation([EGO, (25.0, 0.0, 0.0, 10.0)]),
    ),
    "cross_path": (
        CrossPath(place=torch.tensor([[40.0, 0.0]]), at=one(4.0)),
        situation([EGO, (38.0, -7.0, math.pi / 2, 1.2)], kinds={1: AgentClass.PEDESTRIAN}),
    ),
    "stand_still": (StandStill(begin=one(2.0)), situation([EGO, (30.0, 0.0, 0.0, 6.0)])),
    "keep_speed": (KeepSpeed(speed=one(9.0)), situation([EGO, (30.0, 0.0, 0.0, 6.0)])),
    "against_lane": (AgainstLane(), situation([EGO, (60.0, 0.2, 1.9, 2.0)])),
}  # fmt: skip


def start_actions(name):
    """Uneven actions, so that no term sits at a stationary point by symmetry."""
    generator = torch.Generator().manual_seed(3)
    x = 0.05 * torch.randn(1, A, FUTURE, 2, generator=generator)
    if name == "within_limits":
        x[:, 1, :, 0] -= 3.0
        x[:, 1, 5:9, 1] += 4.0
    return x


def guide_of(name, **changes):
    term, here = CASES[name]
    return Guide(terms=[Weighted(term, 1.0)], situation=here, **changes)


@pytest.mark.parametrize("name", CASES)
def test_a_violated_term_has_a_gradient(name):
    guide, x = guide_of(name), start_actions(name)
    assert float(guide.cost(x)) > 0.0
    slope = guide.gradient(x)
    assert torch.isfinite(slope).all()
    assert float(slope.abs().max()) > 1e-5
    assert (slope[:, 0] == 0).all(), "the ego is never steered"


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_cost(name):
    """Along a random direction, the central difference agrees (in double precision)."""
    term, here = CASES[name]
    fields = {f.name: getattr(here, f.name) for f in dataclasses.fields(here)}
    double = {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v
              for k, v in fields.items()}  # fmt: skip
    held = {f.name: getattr(term, f.name) for f in dataclasses.fields(term)}
    precise = type(term)(
        **{
            k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v
            for k, v in held.items()
        }
    )
    guide = Guide(terms=[Weighted(precise)], situation=Situation(**double))
    x = start_actions(name).double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    direction *= here.free[..., None, None]
    torch.set_default_dtype(torch.float64)
    try:
        slope = float((guide.gradient(x) * direction).sum())
        h = 1e-5
        difference = float(guide.cost(x + h * direction) - guide.cost(x - h * direction)) / (2 * h)
    finally:
        torch.set_default_dtype(torch.float32)
    assert slope == pytest.approx(difference, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_following_the_gradient_lowers_the_cost(name):
    guide = guide_of(name, inner=40, reach=50.0)
    x = start_actions(name)
    before, after = float(guide.cost(x)), float(guide.cost(guide.steer(x, 0.9)))
    assert math.isfinite(after)
    assert after < 0.8 * before


@pytest.mark.parametrize("name", CASES)
def test_extreme_actions_give_no_nan(name):
    guide = guide_of(name)
    for scale in (0.0, 50.0, -50.0):
        x = torch.full((1, A, FUTURE, 2), scale)
        assert torch.isfinite(guide.cost(x)).all()
        assert torch.isfinite(guide.gradient(x)).all()
        assert torch.isfinite(guide.steer(x, 0.5)).all()


def test_each_aim_acts_on_its_own_metric():
    """What is asked for is what changes: gap, speed, place, heading."""

    def steered(name):
        guide = guide_of(name, inner=80, reach=50.0)
        x = start_actions(name)
        here = guide.situation
        return rollout(here.start, x)[0, 1], rollout(here.start, guide.steer(x, 0.9))[0, 1], here

    before, after, here = steered("meet_ego")
    size = here.size[0, 0].expand(FUTURE, 2)
    gaps = [disc_gap(s, size, plan(), size).min() for s in (before, after)]
    assert gaps[1] < gaps[0] - 0.5
    before, after, _ = steered("brake")
    assert after[8, 3] < 3.0 < before[8, 3]
    before, after, _ = steered("cross_path")
    assert (after[9, :2] - torch.tensor([40.0, 0.0])).norm() < 1.0
    before, after, here = steered("reach_gap")
    assert abs(float(after[-1, 1])) < 0.7
    before, after, _ = steered("stand_still")
    assert after[8:, 3].mean() < 0.5
    before, after, _ = steered("keep_speed")
    assert abs(float(after[10:, 3].mean()) - 9.0) < 0.5


def test_a_switched_off_term_does_nothing():
    term, here = CASES["brake"]
    guide = Guide(terms=[Weighted(term, 0.0)], situation=here)
    x = start_actions("brake")
    assert torch.equal(guide.steer(x, 0.5), x)


def test_steering_stays_within_its_reach():
    guide = guide_of("brake", inner=50, reach=1.0, least=0.1, rate=1.0)
    x = start_actions("brake")
    assert float((guide.steer(x, 0.3) - x).abs().max()) <= math.sin(0.3 * math.pi / 2) + 1e-6


def test_disc_gap_of_boxes_in_line_and_side_by_side():
    pose = torch.tensor([[0.0, 0.0, 0.0, 0.0], [10.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0]])
    size = torch.tensor([5.0, 2.0])
    assert float(disc_gap(pose[0], size, pose[1], size)) == pytest.approx(5.0, abs=0.01)
    assert float(disc_gap(pose[0], size, pose[2], size)) == pytest.approx(2.0, abs=0.01)
    assert float(disc_gap(pose[0], size, pose[0], size)) < 0.0


def test_lane_and_path_offsets_by_hand():
    here = situation([EGO, (10.0, 4.1, 0.0, 5.0)])
    states = rollout(here.start, torch.zeros(1, A, FUTURE, 2))
    offset, turn, there = lane_offset(states, here)
    assert there[0, 1].all()
    torch.testing.assert_close(offset[0, 1], torch.full((FUTURE,), 0.6), atol=1e-4, rtol=0)
    torch.testing.assert_close(turn[0, 1], torch.zeros(FUTURE), atol=1e-5, rtol=0)
    d, s = path_offset(torch.tensor([[[7.0, 2.0]]]), plan()[None], here.start[:, 0])
    assert float(d) == pytest.approx(2.0, abs=1e-4)
    assert float(s) == pytest.approx(7.0, abs=1e-2)

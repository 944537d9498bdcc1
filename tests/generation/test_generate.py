"""The whole way: a lake with a gap, candidates, gates, and the gap measured again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from generation.aslog import as_log
from generation.behaviours import BEHAVIOURS
from generation.checkpoint import Generator
from generation.denoiser import Denoiser, DenoiserConfig
from generation.draw import Draft, draw
from generation.features import Pieces
from generation.gates import Verdict
from generation.generate import generate
from generation.proposals import Stage
from generation.request import Request
from lake import Lake
from lake.dense import unpack_tracks
from mining.coverage import coverage
from mining.predicates import tag_scene
from mining.query import holds
from mining.tag import tag
from schemas.errors import BadSetting, MissingData, UnknownName
from schemas.labels import Daylight, Truth, Weather

GAP = "hard_brake.straight.clear.day"


@pytest.fixture(scope="module")
def generator():
    """Fresh weights answer the prior's mean, which keeps near the proposals at low noise."""
    torch.manual_seed(0)
    config = DenoiserConfig(dim=16, heads=2, layers=1, near=4, pair=8)
    return Generator(Denoiser(config).eval(), "fresh", {})


@pytest.fixture
def lake(tmp_path, make_scene, make_path):
    """Two logs of steady traffic on the straight road, tagged and measured."""
    lake = Lake.create(tmp_path / "lake")
    scenes = [
        make_scene([make_path(0, 3.5, v), make_path(30, 3.5, v), make_path(-30, 0.0, v)])
        for v in (9.0, 10.0)
    ]
    logs = [
        replace(
            as_log(replace(s, weather=Weather.CLEAR, daylight=Daylight.DAY), log_id=f"log{k}"),
            dataset="test",
        )
        for k, s in enumerate(scenes)
    ]
    with lake.run("test") as run:
        lake.add_logs(logs, run_id=run.id)
    tag(lake)
    coverage(lake)
    return lake


REQUEST = Request(gap_id=GAP, n=2, gamma=0.15, batch=4, budget=8, sampler_steps=4, seed=3)


def test_a_gap_is_filled_by_scenes_that_the_predicates_confirm(lake, generator):
    seen = []
    report = generate(
        lake, REQUEST, generator=generator, progress=lambda a, b: seen.append((a, b))
    )
    assert report.accepted == 2
    assert report.gap is not None
    assert (report.gap.before, report.gap.after) == (0, 2)
    assert seen[-1] == (2, 2)
    stored = lake.read("scenes", where="source = 'generated'").to_pylist()
    assert {row["scene_id"] for row in stored} == {s.scene_id for s in report.scenarios}
    for scenario in report.scenarios:
        scene = lake.scene(scenario.scene_id)
        parent = lake.scene(scenario.parent_scene_id)
        found = tag_scene(scene, ["hard_brake"])
        assert any(i.truth == Truth.TRUE and i.end_step > scene.anchor for i in found)
        # The ego is the logged one, and so is everybody's past.
        steps = scene.steps
        ours, theirs = (
            scene.tracks.xy[0] + scene.origin[:2],
            parent.tracks.xy[0] + parent.origin[:2],
        )
        np.testing.assert_allclose(ours, theirs[:steps], atol=2e-3)
        assert (scene.weather, scene.road_type) == (parent.weather, parent.road_type)
        assert list(scenario.gates) == ["finite", "kinematics", "map", "collision", "tags"]
    events = lake.read("events", ["scene_id", "name", "truth"], where="name = 'hard_brake'")
    assert {r["scene_id"] for r in events.to_pylist() if r["truth"] == "true"} == {
        s.scene_id for s in report.scenarios
    }
    answer = report.answer()
    assert answer["gap"] == {"before": 0, "after": 2}
    assert json.loads(json.dumps(answer)) == answer


class Refuses:
    """A gate that lets nothing through, and tells what it was shown."""

    name = "refuses"

    def __init__(self):
        self.shown = []

    def check(self, scenes, start):
        self.shown.append((len(scenes), start))
        return [Verdict(value=0.0, bound=1.0, passed=False, detail="on principle")] * len(scenes)


def test_what_is_refused_is_kept_with_its_reason(lake, generator):
    gate = Refuses()
    report = generate(lake, REQUEST, [gate], generator=generator)
    assert report.accepted == 0
    assert report.gap is not None
    assert report.gap.after == 0
    assert report.reasons["refuses"] >= 1
    assert sum(report.reasons.values()) == report.rejected == 8
    assert all(start == 10 for _, start in gate.shown)
    rows = lake.read("generated").to_pylist()
    assert len(rows) == 8
    assert not any(row["accepted"] for row in rows)
    last = next(row for row in rows if row["failed_gate"] == "refuses")
    assert json.loads(last["gates"])["refuses"]["detail"] == "on principle"
    assert last["scene_id"] is None
    assert np.isfinite(unpack_tracks(last["tracks"]).xy).all()
    assert lake.read("scenes", where="source = 'generated'").num_rows == 0


def test_a_query_is_asked_once_of_a_batch(lake, generator, monkeypatch):
    asked = []

    def counted(query, scenes, **more):
        asked.append(len(scenes))
        return holds(query, scenes, **more)

    monkeypatch.setattr("mining.query.holds", counted)
    request = Request(
        query="hard_brake(a)", n=2, gamma=0.15, batch=4, budget=8, sampler_steps=4, seed=3
    )
    report = generate(lake, request, generator=generator)
    assert report.accepted == 2
    assert max(asked) > 1
    assert len(asked) <= 2  # batches of four, of eight candidates at most
    for scenario in report.scenarios:
        assert scenario.gates["query"] >= 1
        (found,) = holds("hard_brake(a)", [lake.scene(scenario.scene_id)])
        assert found


def test_like_varies_one_scene(lake, generator):
    scene_id = lake.scene_ids()[0]
    request = Request(like=scene_id, n=1, gamma=0.2, batch=2, budget=4, sampler_steps=3)
    report = generate(lake, request, generator=generator)
    assert report.accepted == 1
    assert report.scenarios[0].parent_scene_id == scene_id
    assert report.gap is None


def test_other_conditions_are_taken_on_where_nobody_has_them(
    lake, generator, make_scene, make_path
):
    rain = replace(
        make_scene([make_path(0, 3.5, 0.0)]), weather=Weather.RAIN, daylight=Daylight.DAY
    )
    with lake.run("test") as run:
        lake.add_logs([replace(as_log(rain, log_id="rain"), dataset="test")], run_id=run.id)
    tag(lake)
    request = replace(REQUEST, gap_id="hard_brake.straight.rain.day", n=1)
    report = generate(lake, request, generator=generator)
    assert report.gap is not None
    assert report.gap.after == 1
    assert lake.scene(report.scenarios[0].scene_id).weather == Weather.RAIN


def test_what_cannot_be_asked_is_refused(lake, generator, tmp_path):
    with pytest.raises(BadSetting, match="Both a gap and a scene"):
        Request(gap_id=GAP, like=1)
    with pytest.raises(BadSetting, match="gamma"):
        Request(gamma=1.5)
    with pytest.raises(UnknownName, match="Did you mean `cut_in`"):
        Request(adversary="cutin")
    with pytest.raises(UnknownName):
        generate(lake, Request(gap_id="cut_in.moon.clear.day"), generator=generator)
    with pytest.raises(UnknownName):
        generate(lake, Request(tags=("hard_break",)), generator=generator)
    with pytest.raises(MissingData):
        generate(Lake.create(tmp_path / "empty"), Request(adversary="cut_in"), generator=generator)


def test_drawing_is_a_function_of_the_seed(generator, traffic):
    stage = Stage.of(traffic, 10)
    behaviour = BEHAVIOURS["hard_brake"]

    def drawn(seed):
        proposal = behaviour.propose(stage, np.random.default_rng(0), 0.5)
        draft = Draft(proposal=proposal, start=10, pieces=Pieces.of(traffic.map), seed=seed)
        (candidate,) = draw(generator.denoiser, [draft], behaviour, gamma=0.5, steps=4)
        return candidate.scene.tracks.xy

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert np.abs(drawn(1) - drawn(2)).max() > 1e-3


def test_gamma_tells_how_far_from_the_proposal(generator, traffic):
    stage = Stage.of(traffic, 10)
    proposal = BEHAVIOURS["hard_brake"].propose(stage, np.random.default_rng(0), 0.5)
    draft = Draft(proposal=proposal, start=10, pieces=Pieces.of(traffic.map), seed=1)
    off = []
    for gamma in (0.0, 0.9):
        (candidate,) = draw(
            generator.denoiser, [draft], BEHAVIOURS["hard_brake"], gamma=gamma, steps=4
        )
        there = proposal.scene.tracks.xy[1, :91]
        off.append(np.linalg.norm(candidate.scene.tracks.xy[1] - there, axis=-1).mean())
    assert off[0] < off[1]
    assert off[0] < 1.0

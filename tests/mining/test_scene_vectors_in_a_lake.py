"""Similar, cluster and rare on a real lake, with vectors and tags whose answer is known."""

import numpy as np
import pyarrow as pa
import pytest

from lake import Lake
from lake.ids import stable_id
from mining.cluster import cluster
from mining.looked import MARKED, mark
from mining.query.rules import meanings
from mining.rare import rare
from mining.similar import similar
from mining.vectors import vectors
from schemas.errors import MissingData, UnknownName
from schemas.tables import EMBEDDING_WIDTH, EMBEDDINGS, EVENTS
from tests.builders import make_straight_log

LOGS = 12


def put_vectors(lake, ids, unit, *, model="made-1", run_id=1):
    padded = np.zeros((len(ids), EMBEDDING_WIDTH), dtype=np.float32)
    padded[:, : unit.shape[1]] = unit
    lake.append(
        "embeddings",
        pa.table(
            {
                "scene_id": pa.array(ids, pa.int64()),
                "model": [model] * len(ids),
                "vector": pa.FixedSizeListArray.from_arrays(padded.ravel(), EMBEDDING_WIDTH),
                "run_id": pa.array([run_id] * len(ids), pa.int64()),
            },
            schema=EMBEDDINGS.schema,
        ),
    )


def put_tag(lake, scene_id, log_id, name):
    row = {
        "event_id": stable_id(scene_id, name), "log_id": log_id, "scene_id": scene_id,
        "name": name, "t0_ns": 0, "t1_ns": 1, "truth": "true", "source": "rule", "run_id": 1,
    }  # fmt: skip
    lake.append("events", pa.Table.from_pylist([row], schema=EVENTS.schema))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Twelve scenes: seven near one direction, four near another, the last alone."""
    lake = Lake.create(tmp_path_factory.mktemp("lake") / "l")
    with lake.run("made") as run:
        lake.add_logs((make_straight_log(f"log{i}", steps=20) for i in range(LOGS)), run_id=run.id)
    ids = sorted(lake.scene_ids())
    degrees = np.concatenate([np.arange(7) * 2.0, 90 + np.arange(4) * 2.0, [220.0]])
    angle = np.deg2rad(degrees)
    put_vectors(lake, ids, np.stack([np.cos(angle), np.sin(angle)], axis=1))
    look_through(lake, ids)
    return lake, ids


def look_through(lake, ids):
    """As if ``mine tag`` had looked there for the tags that the tests put."""
    meant = meanings(["following", "wrong_way"])
    with lake.run("mine tag", params={"only": list(meant), "meant": meant, **MARKED}) as run:
        mark(lake, ids, run.id)


def test_similar_answers_by_cosine_without_the_scene_itself(built):
    lake, ids = built
    found = similar(lake, ids[0], k=3)
    assert [r.scene_id for r in found.results] == ids[1:4]
    assert found.results[0].score == pytest.approx(np.cos(np.deg2rad(2.0)), abs=1e-5)
    assert found.query == ids[0]
    assert len(similar(lake, ids[0], k=100).results) == LOGS - 1


def test_what_lacks_a_vector_says_so(built, tmp_path):
    lake, _ = built
    with pytest.raises(MissingData, match="999"):
        similar(lake, 999)
    with pytest.raises(UnknownName, match="made-2"):
        vectors(lake, model="made-2")
    with pytest.raises(MissingData) as error:
        rare(Lake.create(tmp_path / "empty"))
    assert "encode" in error.value.hint


def test_the_lonely_scene_is_the_rarest_and_a_rare_tag_comes_next(built):
    lake, ids = built
    assert rare(lake, k=1).results[0].scene_id == ids[-1]
    log_of = dict(zip(vectors(lake).scene_id.tolist(), vectors(lake).log_id.tolist(), strict=True))
    for scene in ids:
        put_tag(lake, scene, log_of[scene], "following")
    put_tag(lake, ids[3], log_of[ids[3]], "wrong_way")
    found = rare(lake, k=2)
    assert {r.scene_id for r in found.results} == {ids[-1], ids[3]}
    tagged = next(r for r in found.results if r.scene_id == ids[3])
    assert tagged.tags == ("wrong way",)
    assert tagged.tag_rarity == 1.0


def test_tags_that_mean_something_else_now_make_nothing_rare(tmp_path, monkeypatch):
    lake = Lake.create(tmp_path / "l")
    with lake.run("made") as run:
        lake.add_logs((make_straight_log(f"log{i}", steps=20) for i in range(4)), run_id=run.id)
    ids = sorted(lake.scene_ids())
    put_vectors(lake, ids, np.eye(4)[:, :2] + 0.5)
    logs = dict(zip(vectors(lake).scene_id.tolist(), vectors(lake).log_id.tolist(), strict=True))
    put_tag(lake, ids[3], logs[ids[3]], "wrong_way")
    assert [r.tags for r in rare(lake).results] == [()] * 4  # nobody is known to have looked
    look_through(lake, ids[1:])
    found = rare(lake)
    assert found.untagged == 1
    told = {r.scene_id: (r.tags, r.tag_rarity) for r in found.results}
    assert told[ids[3]] == (("wrong way",), 1.0)
    assert told[ids[0]] == ((), None)


def test_clusters_fill_their_table_and_again_replace_it(built):
    lake, ids = built
    report = cluster(lake)
    assert cluster(lake) == report
    rows = lake.read("clusters").to_pylist()
    assert len(rows) == 2 * LOGS
    coarse, fine = report.levels
    assert len(coarse.clusters) == 2
    assert len(fine.clusters) > 2
    for level in report.levels:
        assert sum(c.size for c in level.clusters) == LOGS
        assert all(c.description for c in level.clusters)
    together = {r["cluster_id"] for r in rows if r["level"] == 0 and r["scene_id"] in ids[:7]}
    assert len(together) == 1
    examples = {r["scene_id"] for r in rows if r["is_example"]}
    assert examples == {c.example for level in report.levels for c in level.clusters}
    assert all(0 < r["rarity"] <= 1 for r in rows)

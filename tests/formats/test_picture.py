"""Pictures show who is where: colours and places, read back from the pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formats.picture import EGO, EMPHASIS, View, animate, draw, write, write_picture
from lake.scenes import scenes_of
from schemas.errors import BadSetting
from schemas.records import RoadMap
from schemas.scene import Scene
from tests.builders import make_crossing_log


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scenes_of(make_crossing_log())[0]


def near(picture: Image.Image, colour: tuple[int, int, int], tolerance: int = 30) -> np.ndarray:
    """Pixels (x, y) of about one colour."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - np.array(colour)).max(axis=-1) <= tolerance)
    return np.stack([columns, rows], axis=-1)


def test_the_ego_moves_to_the_right_as_it_drives_east(scene: Scene) -> None:
    early, late = (near(draw(scene, step=step), EGO).mean(axis=0) for step in (5, 80))
    assert late[0] > early[0] + 50
    assert abs(late[1] - early[1]) < 10


def test_a_gif_keeps_the_colours_of_few_pixels(scene: Scene, tmp_path: Path) -> None:
    other = int(scene.tracks.track_id[1])
    view = View(size=320, emphasis=frozenset({other}))
    path = write_picture(scene, tmp_path / "x.gif", view=view, every=5)
    with Image.open(path) as film:
        assert film.n_frames == len(range(0, scene.steps, 5))
        film.seek(8)
        assert len(near(film, EGO)) > 5
        assert len(near(film, EMPHASIS)) > 5


def test_a_scene_without_map_or_ego_is_drawn(scene: Scene) -> None:
    bare = replace(scene, map=RoadMap.none(), has_map=False, has_ego=False)
    assert draw(bare).size == (640, 640)
    assert len(animate(bare, view=View(size=100), every=30)) == 4


def test_what_cannot_be_drawn_is_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no step 500") as error:
        draw(scene, step=500)
    assert "0 to 90" in error.value.hint
    with pytest.raises(BadSetting, match=r"\.png or \.gif"):
        write_picture(scene, tmp_path / "x.jpg")


def test_the_writer_names_files_by_scene(scene: Scene, tmp_path: Path) -> None:
    report = write([scene], tmp_path)
    assert [path.name for path in report.files] == [f"{scene.scene_id}.png"]

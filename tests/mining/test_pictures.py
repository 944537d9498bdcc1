"""The pictures in the docs are those of the scenes on which tests prove the predicates."""

from xml.etree import ElementTree

import pytest

from mining.predicates import PREDICATES
from tests.mining.pictures import FOLDER, case_of, picture

UNTOLD = {"zone", "in_pickup_dropoff"}
"""No map tells them: there is no scene in which they hold."""


@pytest.mark.parametrize("name", sorted(PREDICATES))
def test_the_picture_is_drawn_from_the_scene_that_proves_it(name: str) -> None:
    case = case_of(name)
    path = FOLDER / f"{name}.svg"
    if name in UNTOLD:
        assert case is None
        assert not path.exists()
        return
    assert case is not None
    drawn = picture(case)
    assert path.read_text(encoding="utf-8") == drawn, "run python -m tests.mining.pictures"
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg")
    assert len(drawn) < 7000


def test_no_picture_is_left_of_what_there_is_not() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(PREDICATES) - UNTOLD

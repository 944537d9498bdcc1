"""What errors say."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.errors import BadRecord, UnknownName, UnreadableFile


def test_names_that_are_no_text_are_spelt_out() -> None:
    path = Path(os.fsdecode(b"/data/caf\xe9\n\x1b[31m.json"))
    error = UnreadableFile(path, "is empty")
    assert error.path == r"/data/caf\udce9\n\x1b[31m.json"
    assert str(error) == r"/data/caf\udce9\n\x1b[31m.json: is empty"
    str(error).encode()


def test_other_letters_stay() -> None:
    assert (
        str(BadRecord("/données/été.json", "fehlt", record="α")) == "/données/été.json, α: fehlt"
    )


def test_of_very_many_names_those_most_like_the_one_asked_for_are_told() -> None:
    scenes = [f"scene-{n:04d}" for n in range(2000)]
    near = UnknownName("scene", "scene-01234", scenes)
    assert near.hint is not None
    assert "scene-0123" in near.hint
    assert near.hint.count("scene-") == UnknownName.SOME_TOLD
    assert near.hint.endswith("(2,000 in all).")
    far = UnknownName("scene", "123", scenes)
    assert far.hint == (
        "Known: " + ", ".join(scenes[: UnknownName.SOME_TOLD]) + ", … (2,000 in all)."
    )
    words = scenes[: UnknownName.ALL_TOLD]
    assert UnknownName("word", "scene-9", words).hint == f"Known: {', '.join(words)}."

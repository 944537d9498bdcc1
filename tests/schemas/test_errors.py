"""What errors say."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.errors import BadRecord, UnreadableFile


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

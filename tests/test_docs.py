"""The Python of the documentation runs as it stands."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formats.argoverse2_sensor import write_log
from schemas.records import Frame, Sensor
from tests.builders import make_straight_log

ROOT = Path(__file__).parent.parent


def blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_lake_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    picture = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 30)).save(picture, "JPEG")
    log = replace(
        make_straight_log("drive"),
        sensors=(
            Sensor(
                channel="ring_front_center", kind="camera", model="pinhole",
                ego_from_sensor=np.array([1.0, 0.0, 1.5, 1.0, 0.0, 0.0, 0.0]),
                intrinsics=(20.0, 20.0, 16.0, 12.0), width=32, height=24,
            ),
        ),
        frames=tuple(
            Frame(channel="ring_front_center", t_ns=n * 10**9, uri="", codec="jpeg")
            for n in range(3)
        ),
    )  # fmt: skip
    write_log(log, tmp_path / "logs", payloads=lambda _: picture.getvalue())
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {"logs": tmp_path / "logs"}
    code = blocks("lake.md")
    assert len(code) >= 6
    for block in code:
        exec(compile(block, "docs/lake.md", "exec"), known)
    assert known["pixels"].shape == (24, 32, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", sorted(p.name for p in (ROOT / "docs").glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+\.md)(#[^)]*)?\)", text)
    for target, _ in targets:
        assert (ROOT / "docs" / target).is_file(), f"{page} links to {target}"


def test_every_reader_says_what_it_was_checked_against() -> None:
    from formats.registry import FORMATS

    assert [f.name for f in FORMATS.values() if f.reader and not f.checked] == []

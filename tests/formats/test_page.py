"""The report: one file, nothing outside it, nothing unescaped."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from formats.page import EmbeddingMap, Picture, Report, Section, Sheet, write_report


def test_the_page_stands_alone_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    section = Section(
        title="A & B <script>",
        numbers=[("passed", "3 of 4")],
        sheets=[Sheet(columns=["name", "share"], rows=[["x<y", 0.75]], bars=frozenset({"share"}))],
        embedding=EmbeddingMap(
            xy=np.array([[0.0, 0.0], [1.0, 2.0]]), group=[0, 1], labels=["a", '"b"'],
            names=["one", "two"], marked=frozenset({1}),
        ),
        pictures=[Picture(path=tmp_path / "p.png", title="t")],
        links=[("file", "export/x.xosc")],
    )  # fmt: skip
    page = write_report(Report(title="T", text="t", sections=[section]), tmp_path / "r.html")
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "x&lt;y" in text
    assert "75 %" in text
    assert not re.search(r'(src|href)="(https?:|/)', text)
    assert text.count("<circle") == 2
    assert "data:image/png;base64," in text


def test_empty_parts_say_so(tmp_path: Path) -> None:
    empty = EmbeddingMap(xy=np.zeros((0, 2)), group=[], labels=[], names=[])
    section = Section(title="S", sheets=[Sheet(columns=["a"], rows=[])], embedding=empty)
    text = write_report(
        Report(title="T", text="", sections=[section]), tmp_path / "r.html"
    ).read_text()
    assert "Nothing to show" in text
    assert "No vectors" in text

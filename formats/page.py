"""The demo's report: one HTML file that needs nothing beside it.

Pictures are embedded, charts are inline SVG, there is no script. Everything shown was read back
from the lake or from a step's own report; nothing is computed here but places on the page.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

COLOURS = (
    "#1c62d6", "#e99234", "#229660", "#ce3c78", "#9646aa", "#0f9db0", "#b0601c", "#6b7480",
    "#c9b20f", "#7a5cf0", "#d62839", "#4b8f0f",
)  # fmt: skip

STYLE = """
:root { color-scheme: light; --ink: #26282c; --soft: #6b7078; --line: #e2e1dc; --blue: #1c62d6; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f4f0; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -0.02em; }
h2 { font-size: 20px; margin: 44px 0 6px; letter-spacing: -0.01em; }
p { margin: 4px 0 12px; max-width: 72ch; } .soft { color: var(--soft); }
nav { margin: 14px 0 0; } nav a { margin-right: 14px; } a { color: var(--blue); }
.numbers { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.number { background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 16px; min-width: 118px; }
.number b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 14px; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; } figure img { display: block; width: 100%; }
figcaption { padding: 8px 12px 10px; font-size: 13px; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } td.n, th.n { text-align: right; }
.bar { background: #ecebe6; border-radius: 4px; height: 10px; width: 160px; display: inline-block;
  vertical-align: middle; } .bar i { display: block; height: 10px; border-radius: 4px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
code { background: #ecebe6; border-radius: 4px; padding: 1px 5px; font-size: 13px; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An embedded picture with its caption (plain text; the first line is bold)."""

    path: Path
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table; numbers are set to the right, floats in [0, 1] of ``bars`` columns as bars."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    bars: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddingMap:
    """Scenes as points on a plane.

    Attributes:
        xy: Where they lie, any unit.
        group: Index of each point's cluster.
        labels: Shown when a point is pointed at.
        names: Of the clusters, for the legend.
        marked: Points drawn with a ring.
    """

    xy: Float[Array, "points 2"]
    group: Sequence[int]
    labels: Sequence[str]
    names: Sequence[str]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A chapter of the report: what it says, then what it shows, in the order of the fields."""

    title: str
    text: str = ""
    numbers: Sequence[tuple[str, str]] = ()
    sheets: Sequence[Sheet] = ()
    embedding: EmbeddingMap | None = None
    pictures: Sequence[Picture] = ()
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole page."""

    title: str
    text: str
    numbers: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def write_report(report: Report, path: Path) -> Path:
    """The page as one file."""
    links = "".join(
        f'<a href="#s{i}">{_text(section.title)}</a>' for i, section in enumerate(report.sections)
    )
    body = "".join(_section(section, f"s{i}") for i, section in enumerate(report.sections))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(report.title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{_text(report.title)}</h1><p class="soft">{_text(report.text)}</p>'
        f"{_numbers(report.numbers)}<nav>{links}</nav>{body}</main></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _section(section: Section, anchor: str) -> str:
    parts = [f'<h2 id="{anchor}">{_text(section.title)}</h2>']
    if section.text:
        parts.append(f"<p>{_text(section.text)}</p>")
    parts.append(_numbers(section.numbers))
    parts += [f'<div class="card">{_sheet(sheet)}</div><p></p>' for sheet in section.sheets]
    if section.embedding is not None:
        parts.append(f'<div class="card">{_embedding(section.embedding)}</div><p></p>')
    if section.pictures:
        figures = "".join(_picture(picture) for picture in section.pictures)
        parts.append(f'<div class="grid">{figures}</div>')
    if section.links:
        items = "".join(
            f'<li><a href="{_text(to)}">{_text(name)}</a></li>' for name, to in section.links
        )
        parts.append(f"<ul>{items}</ul>")
    return "".join(parts)


def _numbers(numbers: Sequence[tuple[str, str]]) -> str:
    if not numbers:
        return ""
    cells = "".join(
        f'<div class="number"><b>{_text(value)}</b><span class="soft">{_text(name)}</span></div>'
        for name, value in numbers
    )
    return f'<div class="numbers">{cells}</div>'


def _sheet(sheet: Sheet) -> str:
    if not sheet.rows:
        return '<span class="soft">Nothing to show.</span>'
    numeric = [not isinstance(value, str) for value in sheet.rows[0]]
    head = "".join(
        f"<th{_class(right and name not in sheet.bars)}>{_text(name)}</th>"
        for name, right in zip(sheet.columns, numeric, strict=True)
    )
    rows = []
    for row in sheet.rows:
        cells = []
        for name, value in zip(sheet.columns, row, strict=True):
            if name in sheet.bars and not isinstance(value, str):
                cells.append(f"<td>{_bar(float(value))}</td>")
            else:
                cells.append(
                    f"<td{_class(not isinstance(value, str))}>{_text(_shown(value))}</td>"
                )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _class(right: bool) -> str:
    return ' class="n"' if right else ""


def _shown(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _bar(share: float) -> str:
    colour = "#229660" if share >= 0.8 else "#e99234" if share >= 0.4 else "#d62839"
    return (
        f'<span class="bar"><i style="width:{100 * share:.0f}%;background:{colour}"></i></span> '
        f"{100 * share:.0f} %"
    )


def _embedding(plot: EmbeddingMap) -> str:
    width, height, margin = 660, 460, 14
    if not len(plot.xy):
        return '<span class="soft">No vectors.</span>'
    low, high = plot.xy.min(axis=0), plot.xy.max(axis=0)
    scaled = (plot.xy - low) / np.maximum(high - low, 1e-9)
    dots = []
    for index, ((x, y), group) in enumerate(zip(scaled, plot.group, strict=True)):
        px, py = margin + x * (width - 2 * margin), height - margin - y * (height - 2 * margin)
        colour = COLOURS[group % len(COLOURS)]
        ring = ' stroke="#26282c" stroke-width="2"' if index in plot.marked else ""
        dots.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" fill="{colour}" fill-opacity="0.8"{ring}>'
            f"<title>{_text(plot.labels[index])}</title></circle>"
        )
    legend = "".join(
        f'<tr><td style="color:{COLOURS[i % len(COLOURS)]}">●</td><td>{_text(name)}</td></tr>'
        for i, name in enumerate(plot.names)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" style="width:100%;max-width:{width}px" role="img">'
        f"{''.join(dots)}</svg><table>{legend}</table>"
    )


def _picture(picture: Picture) -> str:
    kind = {".gif": "gif", ".png": "png"}.get(picture.path.suffix.lower(), "jpeg")
    data = base64.b64encode(picture.path.read_bytes()).decode()
    return (
        f'<figure><img alt="{_text(picture.title)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption><b>{_text(picture.title)}</b><br>{_text(picture.text)}</figcaption></figure>"
    )


def _text(text: str) -> str:
    return html.escape(text)

"""A report as one HTML file that needs nothing beside it: for the demo, and for runs of suites.

Pictures are embedded, charts are inline SVG; films (:mod:`formats.film`) are moved by a script of the
page's own, and a page without films has none. The page forbids itself everything else: it may load
nothing, and run nothing but that script, whatever a name in it says. Everything shown was read back
from the lake or from a step's own report; nothing is computed here but places on the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from formats.film import Film, film_html, script
from formats.film import style as film_style
from geometry.arrays import Array

COLOURS = (
    "#1c62d6", "#e99234", "#229660", "#ce3c78", "#9646aa", "#0f9db0", "#b0601c", "#6b7480",
    "#c9b20f", "#7a5cf0", "#d62839", "#4b8f0f",
)  # fmt: skip

STYLE = """
:root { color-scheme: light dark; --paper: #f5f4f0; --card: #fff; --ink: #26282c; --soft: #5f646c;
  --line: #dddcd6; --blue: #1c62d6; --well: #ecebe6; --road: #dededb; --bound: #fafafa;
  --centre: #bebeba; --edge: #787876; --stripe: #fff; --good: #229660; --fair: #e99234; --bad: #d62839; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --card: #1e2126; --ink: #e6e7ea;
  --soft: #a3a9b3; --line: #363b43; --blue: #82aeff; --well: #2c3038; --road: #343940; --bound: #646a74;
  --centre: #4c525b; --edge: #8a8f98; --stripe: #878d97; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 28px 20px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -0.02em; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 44px 0 6px; letter-spacing: -0.01em; }
p { margin: 4px 0 12px; max-width: 72ch; overflow-wrap: anywhere; } .soft { color: var(--soft); }
nav { margin: 14px 0 0; } nav a { margin-right: 14px; } a { color: var(--blue); }
.numbers { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.number { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 16px; min-width: 118px; }
.number b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; } figure img { display: block; width: 100%; }
figcaption { padding: 8px 12px 10px; font-size: 13px; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0 0 6px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
tbody th { font: inherit; color: inherit; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > * { border-bottom: 0; } td.n, th.n { text-align: right; }
td, tbody th { overflow-wrap: break-word; min-width: 7ch; max-width: 46ch; }
tbody th, td.words { min-width: 16ch; } td.n { min-width: 0; }
td small { display: block; color: var(--soft); font-size: 12px; }
.bar { background: var(--well); border-radius: 4px; height: 10px; width: 72px; display: inline-block;
  vertical-align: middle; position: relative; } .bar i { display: block; height: 10px; border-radius: 4px; }
.bar u { position: absolute; top: 4px; height: 2px; background: var(--ink); }
.share { white-space: nowrap; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
code { background: var(--well); border-radius: 4px; padding: 1px 5px; font-size: 13px; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share with its interval, as a bar with a whisker.

    Attributes:
        value: In [0, 1]; None: of nothing.
        low: Lower end of the interval.
        high: Upper end.
        text: Said after it.
    """

    value: float | None
    low: float = 0.0
    high: float = 1.0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A text that leads somewhere: within the page (``#…``), or to a file beside it."""

    text: str
    to: str


WORDS = 16
"""Texts of more characters are given some width, beside cells that would take all of it."""

Cell: TypeAlias = str | int | float | Share | Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An embedded picture with its caption (plain text; the first line is bold)."""

    path: Path
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table; the first cell of a row names it, numbers are set to the right.

    Attributes:
        columns: Their names.
        rows: A cell for each column.
        bars: Columns whose floats in [0, 1] are shown as bars.
        caption: What the table tells.
        note: Said below it, such as what was left out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    bars: frozenset[str] = frozenset()
    caption: str = ""
    note: str = ""


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
    films: Sequence[Film] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole page."""

    title: str
    text: str
    numbers: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def write_report(report: Report, path: Path) -> Path:
    """The page as one file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page_of(report), encoding="utf-8")
    return path


def page_of(report: Report) -> str:
    """The page."""
    links = "".join(
        f'<a href="#s{i}">{_text(section.title)}</a>' for i, section in enumerate(report.sections)
    )
    body = "".join(_section(section, f"s{i}") for i, section in enumerate(report.sections))
    moves = any(section.films for section in report.sections)
    styles, code, may_run = STYLE, "", "'none'"
    if moves:
        styles += film_style()
        may_run = (
            f"'sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}'"
        )
        code = f"<script>{script()}</script>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'; script-src {may_run}; base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(report.title)}</title><style>{styles}</style></head><body><main>"
        f'<h1>{_text(report.title)}</h1><p class="soft">{_text(report.text)}</p>'
        f'{_numbers(report.numbers)}<nav aria-label="Sections">{links}</nav>{body}</main>{code}</body></html>\n'
    )


def _section(section: Section, anchor: str) -> str:
    parts = [f'<h2 id="{anchor}">{_text(section.title)}</h2>']
    if section.text:
        parts.append(f"<p>{_text(section.text)}</p>")
    parts.append(_numbers(section.numbers))
    for sheet in section.sheets:
        # What scrolls can be reached by keyboard, and says what it is.
        name = _text(sheet.caption or section.title)
        parts.append(
            f'<div class="card" role="region" tabindex="0" aria-label="{name}">{_sheet(sheet)}</div><p></p>'
        )
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
    parts += map(film_html, section.films)
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
    caption = f"<caption>{_text(sheet.caption)}</caption>" if sheet.caption else ""
    note = f'<p class="soft">{_text(sheet.note)}</p>' if sheet.note else ""
    if not sheet.rows:
        title = f"<b>{_text(sheet.caption)}</b> " if sheet.caption else ""
        return f'{title}<span class="soft">Nothing to show.</span>{note}'
    right = [isinstance(value, (int, float)) for value in sheet.rows[0]]
    head = "".join(
        f'<th scope="col"{_class(numeric and name not in sheet.bars)}>{_text(name)}</th>'
        for name, numeric in zip(sheet.columns, right, strict=True)
    )
    rows = []
    for row in sheet.rows:
        cells = [
            _cell(value, bar=name in sheet.bars, head=index == 0)
            for index, (name, value) in enumerate(zip(sheet.columns, row, strict=True))
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}"


def _cell(value: Cell, *, bar: bool, head: bool) -> str:
    opening, closing = ('th scope="row"', "th") if head else ("td", "td")
    if isinstance(value, Share):
        return f"<{opening}>{_share(value)}</{closing}>"
    if isinstance(value, Link):
        return f'<{opening}><a href="{_text(value.to)}">{_text(value.text)}</a></{closing}>'
    if isinstance(value, str):
        words = ' class="words"' if not head and len(value) > WORDS else ""
        return f"<{opening}{words}>{_text(value)}</{closing}>"
    if bar:
        return f"<{opening}>{_bar(float(value))} {100 * value:.0f} %</{closing}>"
    return f"<{opening}{_class(True)}>{_shown(value)}</{closing}>"


def _class(right: bool) -> str:
    return ' class="n"' if right else ""


def _shown(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _share(share: Share) -> str:
    text = f"<small>{_text(share.text)}</small>" if share.text else ""
    if share.value is None:
        return f'<span class="soft">–</span>{text}'
    whisker = (
        f'<u style="left:{100 * share.low:.0f}%;width:{100 * (share.high - share.low):.0f}%"></u>'
    )
    told = f"{_percent(share.value)} % [{_percent(share.low)}, {_percent(share.high)}]"
    return f'<span class="share">{_bar(share.value, whisker)} {told}</span>{text}'


def _percent(share: float) -> str:
    """Whole percents, but never 0 or 100 for what is not."""
    share = round(share, 9)
    whole = f"{100 * share:.0f}"
    return whole if share in (0.0, 1.0) or whole not in ("0", "100") else f"{100 * share:.1f}"


def _bar(share: float, more: str = "") -> str:
    colour = "good" if share >= 0.8 else "fair" if share >= 0.4 else "bad"
    return f'<span class="bar"><i style="width:{100 * share:.0f}%;background:var(--{colour})"></i>{more}</span>'


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
        ring = ' stroke="var(--ink)" stroke-width="2"' if index in plot.marked else ""
        dots.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" fill="{colour}" fill-opacity="0.8"{ring}>'
            f"<title>{_text(plot.labels[index])}</title></circle>"
        )
    legend = "".join(
        f'<tr><td style="color:{COLOURS[i % len(COLOURS)]}">●</td><td>{_text(name)}</td></tr>'
        for i, name in enumerate(plot.names)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" style="width:100%;max-width:{width}px" role="img" '
        f'aria-label="{len(plot.xy)} scenes on a plane, like by like">'
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

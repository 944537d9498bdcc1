"""Films: what stands in the page and what the script makes of it are where the scene has everyone."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.film import GONE, Film, Mark, Panel, film_html, script, style
from formats.page import Report, Section, page_of
from geometry.arrays import Array
from schemas.labels import AgentClass
from schemas.scene import Scene
from tests.simulation.driving import going, red_at, road, scene

NODE = shutil.which("node")
VOID = {"input", "meta", "br", "img", "path", "rect", "circle", "use"}
"""Elements that are never closed, and those of SVG that close themselves here."""


class Page(HTMLParser):
    """Every element with its attributes; fails where one is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def of(self, tag: str, cls: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.found if t == tag and cls in ("", *a.get("class", "").split())]


def crossing(speed: float) -> Scene:
    """The ego drives east; a pedestrian waits, a car comes into view after 2 s, a van is far off."""
    return scene(
        going(0.0, speed=speed),
        going(30.0, -4.0, speed=0.0, cls=AgentClass.PEDESTRIAN, size=(0.5, 0.6)),
        going(60.0, 3.5, speed=8.0, yaw=np.pi, since=20),
        going(500.0, 3.5, speed=0.0),
        road_map=road(),
        signals=red_at(40.0, green_from=50),
    )


def film(*speeds: float, marks: Sequence[Mark] = (Mark(step=30, text="hits"),)) -> Film:
    panels = [
        Panel(title=f"at {speed:g}", text="failed", scene=crossing(speed), marks=marks)
        for speed in speeds
    ]
    return Film(key="1", title="A case", text="of two", panels=panels, goal=(80.0, 0.0))


def told(text: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    made: dict[str, Any] = json.loads(data)
    return made


def unpacked(track: str) -> Array:
    return np.frombuffer(base64.b64decode(track), dtype="<i2").reshape(-1, 3).astype(float)


def test_what_is_kept_is_where_everyone_was() -> None:
    made = film(5.0, 6.0)
    data = told(film_html(made))
    assert (data["steps"], data["at"]) == (91, 30)
    for panel, tracks in zip(made.panels, data["panels"], strict=True):
        poses = [unpacked(data["tracks"][track]) for track in tracks]
        assert len(poses) == 3  # the van never comes into view
        ego = panel.scene.tracks.xy[0]
        moved = (poses[0][:, :2] - poses[0][0, :2]) / 100.0
        assert np.abs(moved - (ego - ego[0])).max() < 0.011
        assert (poses[2][:20, 0] == GONE).all()
        assert (poses[2][20:, 0] != GONE).all()
        assert np.abs(np.abs(poses[2][20:, 2]) - np.pi * 1e4).max() <= 1.0
    # Those who move alike are kept once: two egos, and the others.
    assert len(data["tracks"]) == 4
    assert data["lights"] == ["1" * 50 + "3" * 41]


def test_the_page_shows_the_first_moment_without_its_script() -> None:
    made = film(5.0, 6.0, marks=(Mark(step=40, text="late"), Mark(step=12, text="early")))
    page = Page(film_html(made))
    assert made.still == 12
    hidden = [a for a in page.of("g", "agent") if a.get("style") == "display:none"]
    assert len(hidden) == 2  # the car comes into view later, in both panels
    for index, panel in enumerate(made.panels):
        shown = page.of("g", "ego")[index]["transform"]
        x, y = map(float, re.findall(r"translate\((\S+) (\S+)\)", shown)[0])
        ways = np.concatenate([p.scene.tracks.xy[0] for p in made.panels])
        centre = (ways.min(axis=0) + ways.max(axis=0)) / 2.0
        place = (panel.scene.tracks.xy[0, 12] - centre) * [10.0, -10.0]
        assert np.abs(np.array([x, y]) - place).max() <= 0.5
    assert [a["data-step"] for a in page.of("g", "mark")] == ["40", "12"] * 2
    assert len(page.of("g", "yet")) == 2
    assert [a["hidden"] for a in page.of("div", "tools")] == [""]


def test_a_film_can_be_used_by_who_does_not_see_it() -> None:
    page = Page(film_html(film(5.0, 6.0)))
    for svg in page.of("svg"):
        assert svg["role"] == "img"
        assert "at 3.0 s" in svg["aria-label"]
    for control in [*page.of("input"), *page.of("select")]:
        assert control.get("aria-label") or control["type"] == "checkbox"
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in page.of("use")} <= set(ids)


def test_names_are_text_whatever_they_say() -> None:
    evil = '</script><script>alert("1")</script><b onload=x> & \' '
    marks = [Mark(step=3, text=evil, others=frozenset({1}))]
    panel = Panel(title=evil, text=evil, scene=crossing(5.0), marks=marks, notes=[evil])
    made = Film(key="1", title=evil, text=evil, panels=[panel])
    text = page_of(Report(title=evil, text=evil, sections=[Section(title=evil, films=[made])]))
    page = Page(text)
    assert not page.of("b", "x")
    assert [a.get("type") for a in page.of("script")] == ["application/json", None]
    assert not any(name.startswith("on") for _, a in page.found for name in a)
    assert len(page.of("g", "named")) == 1
    policy = next(a for a in page.of("meta") if "http-equiv" in a)["content"]
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 1
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert not re.search(r"(https?:)?//[a-z]", text)


def test_ways_that_lead_far_are_followed() -> None:
    near, far = told(film_html(film(4.0))), told(film_html(film(14.0)))
    assert (near["follows"], far["follows"]) == (False, True)
    page = Page(film_html(film(14.0)))
    assert "translate" in page.of("g", "world")[0]["transform"]
    assert "transform" not in Page(film_html(film(4.0))).of("g", "world")[0]


def test_a_film_without_map_marks_or_others_is_one() -> None:
    alone = Film(
        key="2", title="t", text="", panels=[Panel(title="p", text="", scene=scene(going(0.0)))]
    )
    assert alone.still == 90
    assert told(film_html(alone))["lights"] == []


def test_every_class_that_is_drawn_has_a_look() -> None:
    known = set(re.findall(r"\.([a-z][\w-]*)", style() + page_of(Report(title="", text=""))))
    page = Page(film_html(film(5.0, 6.0)))
    for _, attributes in page.found:
        for cls in attributes.get("class", "").split():
            assert cls in known | {"world", "is-unknown", "is-other"}, cls


STUB = """
const element = (attributes = {}) => ({
  attributes, dataset: {}, style: {display: attributes.style === "display:none" ? "none" : ""},
  hidden: true, disabled: true, value: "", textContent: "", listeners: {}, children: {},
  classList: {set: new Set(), toggle(name, on) { on ? this.set.add(name) : this.set.delete(name); }},
  setAttribute(name, value) { this.attributes[name] = value; },
  addEventListener(name, run) { this.listeners[name] = run; },
  querySelector(what) { return this.children[what]?.[0] ?? null; },
  querySelectorAll(what) { return this.children[what] ?? []; },
});
const page = JSON.parse(require("fs").readFileSync(0, "utf8"));
const slider = element(), button = element(), speed = element(), clock = element();
speed.value = "1";
const tools = element();
tools.children = {"input[type=range]": [slider], "button": [button], "output": [clock], "select": [speed]};
const svgs = page.panels.map((panel) => {
  const svg = element(), world = element();
  const agents = panel.agents.map(() => element());
  const lights = page.data.lights.map(() => element());
  svg.children = {".world": [world], ".agent": agents, ".ghost": [], ".light": lights, ".mark": []};
  return svg;
});
const film = element(), data = element();
data.textContent = JSON.stringify(page.data);
film.children = {"script[type='application/json']": [data], "svg": svgs, ".tools": [tools]};
global.document = {querySelectorAll: () => [film]};
let clockwork = [], now = 1000;
global.performance = {now: () => now};
global.requestAnimationFrame = (run) => clockwork.push(run);
eval(page.script);
const state = () => svgs.map((svg) => svg.children[".agent"].map((a) => a.style.display === "none" ? null
  : a.attributes.transform.match(/-?[\\d.]+/g).map(Number)));
const seen = page.times.map((time) => {
  slider.listeners.input({target: {value: time}});
  return state();
});
slider.listeners.input({target: {value: 0}});
button.listeners.click();
const playing = button.textContent;
const beats = [];
while (clockwork.length && beats.length < 500) { now += 50; clockwork.shift()(now); beats.push(clock.textContent); }
console.log(JSON.stringify({seen, playing, beats: beats.length, first: beats[1], end: clock.textContent,
  stands: button.textContent, hidden: tools.hidden, light: svgs[0].children[".light"][0].attributes.class}));
"""


@pytest.mark.skipif(NODE is None, reason="the script is run by node, which is not here")
def test_the_script_moves_everyone_to_where_the_scene_has_them(tmp_path: Path) -> None:
    made = film(5.0, 6.0)
    data = told(film_html(made))
    assert NODE is not None
    times = [0, 19, 20, 45.5, 90]
    asked = {
        "data": data, "script": script(), "times": times,
        "panels": [{"agents": tracks} for tracks in data["panels"]],
    }  # fmt: skip
    program = tmp_path / "stub.cjs"
    program.write_text(STUB)
    done = subprocess.run(
        [NODE, str(program)], input=json.dumps(asked), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    ways = np.concatenate([p.scene.tracks.xy[0] for p in made.panels])
    centre = (ways.min(axis=0) + ways.max(axis=0)) / 2.0
    for time, state in zip(times, answer["seen"], strict=True):
        for panel, agents in zip(made.panels, state, strict=True):
            tracks = panel.scene.tracks
            for row, shown in enumerate(agents):
                if not tracks.valid[row, int(time)]:
                    assert shown is None
                    continue
                between = [int(np.floor(time)), int(np.ceil(time))]
                where = (tracks.xy[row, between].mean(axis=0) - centre) * [10.0, -10.0]
                assert np.abs(np.array(shown[:2]) - where).max() < 0.15
                turned = np.deg2rad(shown[2]) + float(tracks.yaw[row, int(time)])
                assert abs(np.sin(turned / 2.0)) < 1e-3
    # 9 s at 20 frames a second, at the end of which it stands.
    assert (answer["playing"], answer["stands"]) == ("Pause", "Play")
    assert answer["beats"] == 180
    assert (answer["first"], answer["end"]) == ("0.1 s", "9.0 s")
    assert answer["hidden"] is False
    assert answer["light"] == "light light-3"

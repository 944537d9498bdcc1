"""A small Lanelet2 map, for readers whose recordings lie on one."""

from __future__ import annotations

from pathlib import Path

NODES = ((1, 0.0, 0.0), (2, 0.0, 0.0009), (3, 0.000036, 0.0), (4, 0.000036, 0.0009))
"""id, latitude and longitude from the origin: two lines of 100 m, 4 m apart."""


def straight_road(path: Path, *, origin: tuple[float, float] = (0.0, 0.0)) -> Path:
    """One lanelet to the east, its right bound from the origin on."""
    nodes = "".join(
        f'<node id="{i}" lat="{origin[0] + lat:.9f}" lon="{origin[1] + lon:.9f}"/>\n'
        for i, lat, lon in NODES
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<?xml version="1.0"?>\n<osm version="0.6">\n{nodes}'
        '<way id="10"><nd ref="1"/><nd ref="2"/><tag k="type" v="road_border"/></way>\n'
        '<way id="11"><nd ref="3"/><nd ref="4"/><tag k="type" v="line_thin"/></way>\n'
        '<relation id="20"><member type="way" ref="11" role="left"/>'
        '<member type="way" ref="10" role="right"/><tag k="type" v="lanelet"/>'
        '<tag k="subtype" v="road"/></relation>\n</osm>\n'
    )
    return path

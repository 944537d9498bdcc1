"""The generated pages of ``docs/``: tables, commands, predicates, formats.

``python -m cli.docs`` writes them, ``--check`` says which are not as the code has them and exits
with 1. A page is made from the same registries that the code runs on, so it is complete.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs"
NOTICE = "<!-- Written by `python -m cli.docs` from {source}; edit there. -->\n"


def pages() -> dict[str, str]:
    """Every generated page: file name → text."""
    return {
        "tables.md": tables_page(),
        "commands.md": commands_page(),
        "predicates.md": predicates_page(),
        "sql.md": sql_page(),
        "formats.md": formats_page(),
    }


def tables_page() -> str:
    """Every table with every column."""
    from schemas.tables import TABLES

    parts = [
        NOTICE.format(source="`schemas/tables.py`"),
        "# Tables\n",
        "Each is a Lance dataset of the lake and a view in `scenelake sql`. Units are metres, "
        "seconds, radians and metres per second unless the name or the text says otherwise; "
        "`?` marks a column that may be null, which means *not known*. Views and macros beside them: "
        "[SQL](sql.md).\n",
        " · ".join(f"[{name}](#{name})" for name in TABLES) + "\n",
    ]
    for table in TABLES.values():
        parts.append(f"## {table.name}\n")
        parts.append(f"{table.doc} Key: {', '.join(f'`{k}`' for k in table.key)}.\n")
        lines = ["| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            kind = str(column.type).replace("item: ", "")
            mark = "?" if column.nullable else ""
            lines.append(f"| `{column.name}` | {kind}{mark} | {_cell(column.doc)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def sql_page() -> str:
    """Views, macros and geometry functions."""
    from lake.geometry_sql import FUNCTIONS
    from lake.macros import MACROS, VIEWS

    parts = [
        NOTICE.format(source="`lake/macros.py` and `lake/geometry_sql.py`"),
        "# SQL\n",
        "`scenelake sql` and `Lake.sql` run DuckDB over all [tables](tables.md), read-only, with "
        "nothing to install or download. What stands beside the tables:\n",
        "## Views\n",
        "\n".join(["| view | a row is |", "|---|---|"]
                  + [f"| `{v.name}` | {_cell(v.doc)} |" for v in VIEWS]) + "\n",
        "## Driving macros\n",
        "`a` and `b` are aliases of rows of `ego`, `agents` or `actors` at one time, `log` one of "
        "`logs`. A value that is not known makes the answer null.\n",
        "```sql\nSELECT a.log_id, a.track_id, b.track_id, min(ttc(a, b)) AS ttc\n"
        "FROM actors a JOIN actors b USING (log_id, t_ns)\n"
        "WHERE ahead_of(b, a) AND same_lane(a, b) AND gap(a, b) < 50\nGROUP BY ALL\n```\n",
        "\n".join(["| macro | gives |", "|---|---|"]
                  + [f"| `{m.name}({m.parameters})` | {_cell(m.doc)} |"
                     for m in MACROS if not m.table]) + "\n",
        "## Table macros\n",
        "They stand after `FROM`: `SELECT lane_id FROM route(MAP, 12, 57) ORDER BY step`.\n",
        "\n".join(["| macro | rows |", "|---|---|"]
                  + [f"| `{m.name}({m.parameters})` | {_cell(m.doc)} |"
                     for m in MACROS if m.table]) + "\n",
        "## Geometry\n",
        "Geometries are WKB, as `map_features.wkb` holds them, in the frame of the map's logs [m].\n",
        "```sql\nSELECT count(*) FROM ego JOIN logs USING (log_id) JOIN map_features m USING (map_id)\n"
        "WHERE m.layer = 'crosswalk' AND st_contains(m.wkb, st_point(ego.x, ego.y))\n```\n",
        "\n".join(["| function | gives |", "|---|---|"]
                  + [f"| `{f.name}({', '.join(f.takes)})` → {f.gives} | {_cell(f.doc)} |"
                     for f in FUNCTIONS]) + "\n",
    ]  # fmt: skip
    return "\n".join(parts)


def commands_page() -> str:
    """Every command with its options, as its help has them."""
    import typer.main

    from cli.app import app

    root = typer.main.get_command(app)
    parts = [
        NOTICE.format(source="the commands' own help"),
        "# Commands\n",
        "`scenelake [--lake FOLDER] COMMAND …`; the lake is `$SCENELAKE` or `./scenelake-data`. "
        "With `--json` a command prints exactly one JSON document on stdout; progress and remarks "
        "go to stderr. Exit code 0: done; 1: input was refused or a check failed; 2: wrong usage.\n",
    ]
    for path, command in _commands(root, ("scenelake",)):
        context = command.make_context(path[-1], [], resilient_parsing=True)
        usage = " ".join([*path, *command.collect_usage_pieces(context)])
        parts.append(f"## {' '.join(path[1:])}\n")
        parts.append(f"{(command.help or '').strip()}\n")
        parts.append(f"```\n{usage}\n```\n")
        lines = [_option(parameter, context) for parameter in command.params]
        shown = [line for line in lines if line]
        if shown:
            parts.append("\n".join(["| option | meaning |", "|---|---|", *shown]) + "\n")
    return "\n".join(parts)


def predicates_page() -> str:
    """Every predicate: meaning, formula, parameters with sources, unit, needs, and a picture."""
    from mining.predicates import PREDICATES, WHY_UNKNOWN
    from mining.predicates.predicate import SIGNS

    parts = [
        NOTICE.format(source="`mining/predicates/`"),
        "# Predicates\n",
        "What `scenelake mine tag` looks for. Each holds over an interval, names its actors, keeps "
        "the numbers that decided it (its value, in the unit given), and is true or *unknown*; false "
        "is not stored. Intervals are bridged over short gaps and last as long as the parameters "
        "say; thresholds bind at the value given.\n",
        "In the pictures the one it is said of is red, the other blue, at the begin, in the middle and "
        "(boldly) at the end of the interval. They are drawn from the very scenes on which the tests "
        "prove the predicate. [What they find in real logs](real_logs.md).\n",
        "The formula is what decides; `names` in it are parameters. In formulas mean:\n",
        "\n".join(["| sign | meaning |", "|---|---|"]
                  + [f"| {sign} | {_cell(what)} |" for sign, what in SIGNS.items()]) + "\n",
    ]  # fmt: skip
    families = list(dict.fromkeys(predicate.group for predicate in PREDICATES.values()))
    parts.append(" · ".join(f"[{_titled(f)}](#{f.replace('_', '-')})" for f in families) + "\n")
    family = None
    for predicate in PREDICATES.values():
        if predicate.group != family:
            family = predicate.group
            parts.append(f"\n## {_titled(family)}\n")
            parts.append("| | holds when | formula | parameters |\n|---|---|---|---|")
        parameters = "<br>".join(
            f"{p.name} {p.value:g}{' ' + p.unit if p.unit not in ('', '1') else ''} ({p.source})"
            for p in predicate.parameters
        )
        text = re.sub(r"\s+", " ", predicate.doc).strip()
        roles = ", ".join(predicate.roles)
        unit = "" if predicate.unit in ("", "1") else f" Value in {predicate.unit}."
        needs = "; ".join(WHY_UNKNOWN[need] for need in predicate.needs if need in WHY_UNKNOWN)
        unknown = "*The same either way round.* " if predicate.symmetric else ""
        unknown += "*Of the ego, where there is one.* " if predicate.of_ego else ""
        unknown += f"*Unknown if {needs}.*" if needs else ""
        shown = FOLDER / "predicates" / f"{predicate.name}.svg"
        picture = (
            f'<br><img src="predicates/{predicate.name}.svg" alt="{predicate.name}">'
            if shown.exists()
            else "<br>no picture: no source tells it, so it is unknown everywhere"
        )
        parts.append(
            f"| `{predicate.name}({roles})`{picture} | {_cell(text)}{unit} {_cell(unknown)}"
            f" | {_cell(predicate.decides('`{}`'))} | {_cell(parameters)} |"
        )
    return "\n".join(parts) + "\n"


def _titled(family: str) -> str:
    return family.replace("_", " ").capitalize()


def formats_page() -> str:
    """Every format, with what its module says of itself."""
    import importlib

    from formats.registry import FORMATS

    parts = [
        NOTICE.format(source="`formats/`"),
        "# Formats\n",
        "Logs are recognised by their content; `--format` forces one. `.gz` files are read in "
        "place. Other distributions add formats under the entry-point group `scenelake.formats`.\n",
        "\n".join(["| format | reads | modalities | derived | left out | checked against |",
                   "|---|---|---|---|---|---|"]
                  + [f"| [{f.name}](#{f.name}) | {_cell(f.title)}"
                     f"{_cell('; ' + f.versions if f.versions else '')} | {', '.join(f.modalities)} "
                     f"| {_cell(f.derived)} | {_cell(f.left_out)} | {_cell(f.checked)} |"
                     for f in FORMATS.values() if f.reader]) + "\n",
    ]  # fmt: skip
    for entry in FORMATS.values():
        does = [word for word, on in (("read", entry.reader), ("write scenes", entry.writer),
                                      ("write logs", entry.log_writer)) if on]  # fmt: skip
        module = importlib.import_module(str(entry.reader or entry.writer))
        parts.append(f"## {entry.name}\n")
        parts.append(f"{entry.title}. *{', '.join(does)}*: {', '.join(entry.modalities)}.\n")
        parts.append(f"{(module.__doc__ or '').strip()}\n")
        for name in entry.settings:
            told = importlib.import_module(name).__doc__ or ""
            parts.append(f"### Settings of {entry.name}\n\n{told.strip()}\n")
    return "\n".join(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _option(parameter: Any, context: Any) -> str | None:
    if parameter.param_type_name == "option":
        if parameter.hidden or "--help" in parameter.opts:
            return None
        names = ", ".join(f"`{name}`" for name in parameter.opts)
    else:
        names = f"`{(parameter.metavar or parameter.name).upper()}`"
    text = getattr(parameter, "help", None) or ""
    default = parameter.get_default(context)
    if default not in (None, False, "", (), []) and not callable(default):
        default = getattr(default, "value", default)
        text += f" Default: `{default}`."
    return f"| {names} | {_cell(text)} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def main() -> int:
    """Write the pages, or with ``--check`` name those that differ."""
    wrong = []
    for name, text in pages().items():
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(name)
    if wrong:
        sys.stderr.write(f"Not as the code has it: {', '.join(wrong)}. Run: python -m cli.docs\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

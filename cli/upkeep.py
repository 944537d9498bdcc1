"""Commands that look after a lake: pin it, tidy it, cut its logs anew, take bytes in."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import Json, open_lake
from cli.output import count, plain, print_json, print_table, progress, tell

if TYPE_CHECKING:
    from lake import Lake
    from lake.compact import CompactReport
    from lake.recut import Around, Cutting


class By(StrEnum):
    """How logs are cut into scenes."""

    SLIDING = "sliding"
    EVENT = "event"
    WHOLE = "whole"
    SOURCE = "source"


def snapshot(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    delete: Annotated[bool, typer.Option("--delete", help="Let it go instead.")] = False,
    json: Json = False,
) -> None:
    """Pin all tables as they are now, for `sql --at` and for runs that must be repeated."""
    lake = open_lake(context)
    if delete:
        lake.delete_snapshot(name)
        if json:
            print_json({"deleted": name})
        else:
            tell(f"Snapshot {name} is gone; its rows go with the next `scenelake compact`.")
        return
    made = lake.snapshot(name)
    if json:
        print_json(made)
    else:
        tell(f"Snapshot {name} pins {count(len(made.tables), 'table')}.")


def snapshots(context: typer.Context, json: Json = False) -> None:
    """List what was pinned, oldest first."""
    found = open_lake(context).snapshots()
    if json:
        print_json(found)
        return
    from datetime import UTC, datetime

    print_table(
        {
            "name": snap.name,
            "made": datetime.fromtimestamp(snap.created_unix_ns / 1e9, UTC).isoformat(
                " ", "seconds"
            ),
            "tables": len(snap.tables),
        }
        for snap in found
    )


def compact(
    context: typer.Context,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Remove old versions at once; whoever reads one right now may fail."
        ),
    ] = False,
    keep: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="How long replaced versions are kept for readers [s]; an hour."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Join small files and remove what nothing needs; snapshots are kept."""
    if now and keep is not None:
        raise typer.BadParameter("--now and --keep exclude each other.")
    from lake.compact import KEEP_S

    lake = open_lake(context)
    keep_s = 0.0 if now else KEEP_S if keep is None else keep
    report = lake.compact(keep_s=keep_s, progress=None if json else tell)
    if json:
        print_json(report)
        return
    print_table([{k: v for k, v in plain(report).items() if not isinstance(v, dict | list)}])
    _tell_kept(report)


def _tell_kept(report: CompactReport) -> None:
    """What was removed, what not, and why."""
    tell(f"{count(report.versions_removed, 'old version')} of tables removed.")
    if report.versions_pinned:
        tell(f"{report.versions_pinned:,} stay because snapshots name them.")
    young = report.versions_kept - report.versions_pinned
    if young:
        tell(
            f"{young:,} stay, with their files, until they have been replaced for "
            f"{report.keep_s / 60:.3g} minutes and as long as the longest commit took, for those "
            "who may be reading them. Where nobody is, `scenelake compact --now` removes them."
        )


def recut(
    context: typer.Context,
    by: Annotated[By, typer.Argument(help="What chooses where scenes begin and end.")],
    length: Annotated[float, typer.Option(min=0.1, help="sliding: of a window [s].")] = 10.0,
    stride: Annotated[
        float | None, typer.Option(min=0.1, help="sliding: from begin to begin [s]; the length.")
    ] = None,
    event: Annotated[str | None, typer.Option(help="event: its name, as in `events`.")] = None,
    before: Annotated[float, typer.Option(min=0.0, help="event: before its begin [s].")] = 5.0,
    after: Annotated[float, typer.Option(min=0.1, help="event: after its begin [s].")] = 5.0,
    where: Annotated[
        str | None, typer.Option(help="Only these logs, such as \"dataset = 'nuplan'\".")
    ] = None,
    json: Json = False,
) -> None:
    """Cut the logs that are here into other scenes; no file is read again."""
    from lake.recut import AsSource, Sliding, Whole

    if by is By.EVENT and event is None:
        raise typer.BadParameter("Scenes round an event need its name: --event NAME.")
    ways: dict[By, Cutting] = {
        By.SLIDING: Sliding(length_s=length, stride_s=stride),
        By.WHOLE: Whole(),
        By.SOURCE: AsSource(),
    }
    lake = open_lake(context)
    if by is By.EVENT:
        ways[by] = _as_meant_now(lake, event or "", before, after)
    with progress("Recut", quiet=json) as tick:
        report = lake.recut(ways[by], where=where, progress=tick)
    if json:
        print_json(report)
        return
    tell(
        f"{count(report.logs, 'log')} now {'has' if report.logs == 1 else 'have'} "
        f"{count(report.scenes, 'scene')}; {report.removed:,} went, {report.kept:,} stay because "
        "suites or generated scenes rest on them."
    )
    if report.removed:
        tell("Tags, vectors and clusters went with them: run `scenelake mine tag` and `encode`.")


def _as_meant_now(lake: Lake, event: str, before: float, after: float) -> Around:
    """Windows round what an event means now, not what an older version of its predicate found."""
    from lake.literals import literal
    from lake.recut import Around
    from mining.looked import looked
    from mining.predicates import PREDICATES
    from mining.query.rules import meanings, rules_of

    rules = rules_of(lake)
    seen = None
    if event in PREDICATES or event in rules:
        now = looked(lake, meanings([event], rules))
        if not lake.read(
            "events", ["name"], f"name = {literal(event)} AND source <> 'rule'"
        ).num_rows:
            now.refuse_never()
        seen = now.whole
    return Around(event=event, before_s=before, after_s=after, seen=seen)


def remove(
    context: typer.Context,
    where: Annotated[
        str, typer.Argument(help="Which logs, such as \"source_log_id = 'day1/rec'\".")
    ],
    json: Json = False,
) -> None:
    """Remove logs with all that was made of them; snapshots keep what they pinned."""
    report = open_lake(context).remove(where)
    if json:
        print_json(report)
    else:
        tell(
            f"{count(report.logs, 'log')} with {count(report.scenes, 'scene')} went; `scenelake "
            "compact` frees the space."
        )


def copy_media(
    context: typer.Context,
    where: Annotated[
        str | None, typer.Option(help="Only these captures, such as \"channel = 'CAM_FRONT'\".")
    ] = None,
    json: Json = False,
) -> None:
    """Copy sensor bytes into the lake, so that the source may go; equal bytes are kept once."""
    lake = open_lake(context)
    with progress("Copy", quiet=json) as tick:
        report = lake.copy_media(where, progress=tick)
    if json:
        print_json(report)
    else:
        tell(
            f"{count(report.copied, 'capture')} copied ({report.n_bytes / 1e6:,.1f} MB read), "
            f"{report.already:,} were there already, {len(report.refused):,} refused."
        )
        for uri, reason in report.refused[:5]:
            tell(f"  {uri}: {reason}")
    if report.refused and not report.copied:
        raise typer.Exit(1)

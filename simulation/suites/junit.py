"""A run as JUnit XML, which CI systems read: a test suite, a test case each, failures with reasons.

The de-facto schema is that of Apache Ant's JUnit task: ``failure`` is a case that did not pass,
``error`` one that could not be judged, since the planner failed or the scene is gone, ``skipped`` one
that was not driven, because the run was stopped before. Cases are driven many at once, so that the
time of a test case is its share, by steps, of what the run took.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from schemas.case import DONE, Case, Result
from simulation.suites.reporting import RunReport

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""

SUMMARY = 200
"""Characters of a message; the text below it tells all."""


def junit(report: RunReport, results: Sequence[Result], undriven: Sequence[Case] = ()) -> str:
    """The XML text of a run.

    Args:
        report: The run.
        results: What it was made from.
        undriven: Cases of the suite that it did not drive.
    """
    errors = sum(r.status != DONE for r in results)
    failures = sum(r.status == DONE and not r.passed for r in results)
    name = _clean(f"{report.suite}.{report.planner}")
    root = Element("testsuites")
    made = SubElement(
        root, "testsuite", name=name, tests=str(len(results) + len(undriven)),
        failures=str(failures), errors=str(errors), skipped=str(len(undriven)),
        time=f"{report.wall_s:.3f}",
    )  # fmt: skip
    a_step = report.wall_s / max(sum(result.steps for result in results), 1)
    properties = SubElement(made, "properties")
    for key, value in _facts(report).items():
        SubElement(properties, "property", name=key, value=_clean(value))
    for result in sorted(results, key=lambda r: r.case.case_id):
        case = _case(made, name, result.case, seconds=result.steps * a_step)
        if result.status != DONE:
            _told(case, "error", "PlannerOrSceneFailed", result.status)
        elif not result.passed:
            message = ", ".join(result.failed)
            _told(case, "failure", "CriteriaNotMet", message, "\n".join(_lines(result)))
    for one in sorted(undriven, key=lambda c: c.case_id):
        case = _case(made, name, one, seconds=0.0)
        reason = f"not driven: the run was stopped; suite run --resume {report.run_id} drives it"
        SubElement(case, "skipped", message=_clean(reason))
    indent(root)
    text = tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def write_junit(
    path: str | Path, report: RunReport, results: Sequence[Result], undriven: Sequence[Case] = ()
) -> None:
    """The XML file of a run; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(junit(report, results, undriven), encoding="utf-8")


def _facts(report: RunReport) -> dict[str, str]:
    rate = report.pass_rate
    return {
        "run_id": str(report.run_id),
        "planner": report.planner,
        "score": f"{report.score:.6f}",
        "pass_rate": f"{rate.value:.6f}",
        "pass_rate_low": f"{rate.low:.6f}",
        "pass_rate_high": f"{rate.high:.6f}",
        "digest": report.digest,
    }


def _case(suite: Element, name: str, case: Case, *, seconds: float) -> Element:
    scene = str(case.provenance.get("scene", case.scene_id))
    return SubElement(
        suite, "testcase", classname=name, name=_clean(f"{case.case_id} {scene}"),
        time=f"{seconds:.3f}",
    )  # fmt: skip


def _told(case: Element, tag: str, kind: str, message: str, text: str = "") -> None:
    made = SubElement(case, tag, type=kind, message=_clean(message[:SUMMARY]))
    made.text = _clean(text or message)


def _lines(result: Result) -> list[str]:
    lines = []
    for name in result.failed:
        measured = result.criteria[name]
        value = (
            "" if measured.value is None else f" {measured.value:.3f}, bound {measured.bound:.3f}"
        )
        lines.append(f"{name}:{value} {measured.detail}".rstrip())
    return [*lines, f"score {result.score:.3f}"]


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)

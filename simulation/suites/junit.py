"""A run as JUnit XML, which CI systems read: a test suite, a test case each, failures with reasons.

The de-facto schema is that of Apache Ant's JUnit task: ``failure`` is a case that did not pass,
``error`` one that could not be judged for the planner's fault, ``skipped`` one that was not driven.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from schemas.case import DONE, Result
from schemas.scene import DT
from simulation.suites.reporting import RunReport

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def junit(suite: str, planner: str, results: Sequence[Result], *, wall_s: float = 0.0) -> str:
    """The XML text of a run."""
    errors = [r for r in results if r.status != DONE]
    failures = [r for r in results if r.status == DONE and not r.passed]
    root = ElementTree.Element("testsuites")
    made = ElementTree.SubElement(
        root, "testsuite", name=_clean(f"{suite}.{planner}"), tests=str(len(results)),
        failures=str(len(failures)), errors=str(len(errors)), skipped="0", time=f"{wall_s:.3f}",
    )  # fmt: skip
    for result in sorted(results, key=lambda r: r.case.case_id):
        scene = str(result.case.provenance.get("scene", result.case.scene_id))
        case = ElementTree.SubElement(
            made, "testcase", classname=_clean(f"{suite}.{planner}"),
            name=_clean(f"{result.case.case_id} {scene}"), time=f"{result.steps * DT:.1f}",
        )  # fmt: skip
        if result.status != DONE:
            told = ElementTree.SubElement(case, "error", message=_clean(result.status[:200]))
            told.text = _clean(result.status)
        elif not result.passed:
            message = ", ".join(result.failed)
            told = ElementTree.SubElement(case, "failure", message=_clean(message))
            told.text = _clean("\n".join(_lines(result)))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def write_junit(path: str | Path, report: RunReport, results: Sequence[Result]) -> None:
    """The XML file of a run; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = junit(report.suite, report.planner, results, wall_s=report.wall_s)
    path.write_text(text, encoding="utf-8")


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

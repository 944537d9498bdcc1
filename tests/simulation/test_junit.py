"""JUnit files: what the schema that CI systems share lets stand where, and counts that add up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from schemas.case import DONE, Case, Measured, Result
from simulation.suites.junit import junit
from simulation.suites.reporting import RunReport, commonest

ALLOWED: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time"},
        {"skipped", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name", "classname", "time"}, {"status", "assertions"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "skipped": (set(), {"message", "type"}, set()),
    "error": ({"type"}, {"message"}, set()),
    "failure": ({"type"}, {"message"}, set()),
}  # fmt: skip
"""Element: attributes that it must have, that it may have, and children.

The stricter of the two schemas in use, that of Ant's task (windyroad) and that of Jenkins' xUnit
plugin, where they differ; without Ant's host name and empty outputs, which no CI system asks for.
"""


def case(case_id: int, scene: str = "s") -> Case:
    return Case(
        case_id=case_id, suite="n<i>ghtly", scene_id=case_id, start_step=10, horizon_steps=80,
        goal=(0.0, 0.0), agents="log", criteria={"min_gap": 0.2}, provenance={"scene": scene},
    )  # fmt: skip


def result(one: Case, *, passed: bool, status: str = DONE) -> Result:
    measured = Measured(value=0.1, bound=0.2, passed=passed, detail="with <car> & \x00")
    return Result(
        case=one, planner="my\x1bplanner", passed=passed and status == DONE, score=0.5, status=status,
        criteria={"min_gap": measured} if status == DONE else {}, steps=80,
        trajectory=np.zeros((81, 4), dtype=np.float32),
    )  # fmt: skip


def report(results: list[Result], undriven: int) -> RunReport:
    kinds = Counter(
        "errored" if r.status != DONE else "passed" if r.passed else "failed" for r in results
    )
    return RunReport(
        run_id=7, suite="n<i>ghtly", planner="my\x1bplanner", cases=len(results),
        passed=kinds["passed"], failed=kinds["failed"], errored=kinds["errored"], score=0.5,
        wall_s=1.0, agent_steps=1, by_criterion={}, undriven=undriven,
    )  # fmt: skip


def test_every_element_stands_where_the_schema_lets_it() -> None:
    results = [
        result(case(1), passed=True),
        result(case(2, "]]> \ud800"), passed=False),
        result(case(3), passed=False, status="Planner raised <ValueError>: \x07"),
    ]
    root = ElementTree.fromstring(junit(report(results, 2), results, [case(4), case(5)]))
    assert root.tag == "testsuites"
    for element in root.iter():
        must, may, children = ALLOWED[element.tag]
        assert must <= set(element.attrib) <= must | may, element.tag
        assert {child.tag for child in element} <= children
    (suite,) = root
    told = Counter(child.tag for one in suite.iter("testcase") for child in one)
    assert told == {"failure": 1, "error": 1, "skipped": 2}
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[attribute]) == told[tag]
    assert int(suite.attrib["tests"]) == len(list(suite.iter("testcase"))) == 5
    times = [float(one.attrib["time"]) for one in suite.iter("testcase")]
    assert sum(times) == pytest.approx(float(suite.attrib["time"]), abs=0.01)
    names = [(one.attrib["classname"], one.attrib["name"]) for one in suite.iter("testcase")]
    assert len(set(names)) == 5  # CI systems tell cases apart by these two
    failure = next(suite.iter("failure"))
    assert (failure.text or "").startswith("min_gap: 0.100, bound 0.200 with <car> &")
    skipped = next(suite.iter("skipped"))
    assert "--resume 7" in skipped.attrib["message"]


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    told = commonest({
        "Case 12 wants track 3.": 2, "Case 9 wants track 4.": 1, "Took longer than 0.5 s": 2,
    })  # fmt: skip
    assert told == [("Case 12 wants track 3.", 3), ("Took longer than 0.5 s", 2)]
    assert commonest({}) == []


def test_a_run_reaches_a_pass_rate_only_if_all_of_it_was_driven() -> None:
    from simulation.suites.statistics import Rate

    one = dataclasses.replace(report([], 0), pass_rate=Rate(value=0.9, low=0.8, high=1.0, n=10))
    assert one.reaches(0.9)
    assert not one.reaches(0.91)
    assert not dataclasses.replace(one, undriven=1).reaches(0.5)
    assert dataclasses.replace(one, undriven=1).reaches(0.0)

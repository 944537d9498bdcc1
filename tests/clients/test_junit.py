"""JUnit files as junitparser reads them, which merges and publishes them in CI systems (``make clients``)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from simulation.suites.junit import write_junit
from tests.simulation.test_junit import case, report, result

pytestmark = pytest.mark.client

READ = """
import json, sys
from junitparser import JUnitXml, TestSuite

read = JUnitXml.fromfile(sys.argv[1])
stated = [read.tests, read.failures, read.errors, read.skipped]
outcomes = {}
for suite in read:
    for case in suite:
        outcomes[case.name] = [(type(r).__name__, r.message) for r in case.result]
read.update_statistics()
counted = [read.tests, read.failures, read.errors, read.skipped]
print(json.dumps({"stated": stated, "counted": counted, "outcomes": outcomes}))
"""


def test_a_parser_of_ci_systems_finds_every_case_and_the_same_counts(tmp_path: Path) -> None:
    python = Path(os.environ["SCENELAKE_CLIENTS"]) / "python"  # set by `make clients`
    results = [
        result(case(1, "a"), passed=True),
        result(case(2, "b]]>\ud800"), passed=False),
        result(case(3, "c"), passed=False, status="Planner raised <ValueError>: \x07"),
    ]
    file = tmp_path / "run.xml"
    write_junit(file, report(results, 1), results, [case(4, "d")])
    command = [str(python), "-c", READ, str(file)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["stated"] == told["counted"] == [4, 1, 1, 1]
    kinds = sorted(kind for outcome in told["outcomes"].values() for kind, _ in outcome)
    assert len(told["outcomes"]) == 4
    assert kinds == ["Error", "Failure", "Skipped"]

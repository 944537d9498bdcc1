"""Closed-loop suites: cases cut from scenes of the lake, runs of a planner over them, reports.

    build(lake, "cut-ins", tags=["cut_in"], n=100, stratify="road_type")
    run(lake, "cut-ins", "my_planner:Cruise", jobs=2).answer()
    validate(lake, "cut-ins")
    rank(lake, "cut-ins")

A suite is data: rows of ``suites`` and ``cases`` with criteria and provenance; a run adds rows to
``runs`` and ``results``. Whatever a scene lacks to be driven is a reason, returned and kept.
"""

from simulation.suites.building import SuiteReport, build, with_demands
from simulation.suites.comparing import compare, rank
from simulation.suites.driving import cases_of, run
from simulation.suites.junit import junit, write_junit
from simulation.suites.page import PageReport, write_page
from simulation.suites.removing import RemovedSuite, remove
from simulation.suites.reporting import (
    RunReport,
    commonest,
    list_suites,
    report,
    reported,
    results_of,
    run_of,
    undriven_of,
)
from simulation.suites.validating import ValidationReport, trim, validate

__all__ = [
    "PageReport",
    "RemovedSuite",
    "RunReport",
    "SuiteReport",
    "ValidationReport",
    "build",
    "cases_of",
    "commonest",
    "compare",
    "junit",
    "list_suites",
    "rank",
    "remove",
    "report",
    "reported",
    "results_of",
    "run",
    "run_of",
    "trim",
    "undriven_of",
    "validate",
    "with_demands",
    "write_junit",
    "write_page",
]

"""A run is judged by what its tests told, and a run that proved nothing is never a success."""

import dataclasses

import pytest

from realstack.runner.results import RunResults


def report(nodeid: str, when: str, outcome: str, *, expected: bool = False, reason: str = "") -> dict[str, object]:
    return {
        "kind": "report",
        "nodeid": nodeid,
        "when": when,
        "outcome": outcome,
        "seconds": 0.5,
        "expected": expected,
        "reason": reason,
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """The reports of one test and what it came to."""

    id: str
    reports: tuple[tuple[str, str, bool], ...]
    outcome: str
    ran: int
    failed: bool


CASES = (
    Case("passed", (("setup", "passed", False), ("call", "passed", False)), "passed", 1, failed=False),
    Case("failed", (("setup", "passed", False), ("call", "failed", False)), "failed", 1, failed=True),
    Case("set-up failed", (("setup", "failed", False),), "error", 0, failed=True),
    Case(
        "tear-down failed",
        (("setup", "passed", False), ("call", "passed", False), ("teardown", "failed", False)),
        "error",
        0,
        failed=True,
    ),
    Case("interrupted", (("setup", "passed", False),), "unfinished", 0, failed=False),
    Case("skipped", (("setup", "skipped", False),), "skipped", 0, failed=False),
    Case("expected to fail", (("setup", "passed", False), ("call", "skipped", True)), "xfailed", 1, failed=False),
    Case("passed unexpectedly", (("setup", "passed", False), ("call", "passed", True)), "xpassed", 1, failed=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_test_comes_to_what_its_reports_say(case: Case) -> None:
    results = RunResults()

    for when, outcome, expected in case.reports:
        results.take(report("t", when, outcome, expected=expected))

    assert results.tests["t"].outcome == case.outcome
    assert results.tests["t"].seconds == 0.5 * len(case.reports)
    assert (results.ran, results.failed) == (case.ran, case.failed)


def test_a_run_without_tests_says_that_none_was_selected() -> None:
    results = RunResults()
    results.take({"kind": "selected", "count": 0})

    assert results.why_nothing_ran == "no test was selected"


def test_a_run_of_skipped_tests_proved_nothing() -> None:
    results = RunResults()
    results.take({"kind": "selected", "count": 2})
    for nodeid in ("a", "b"):
        results.take(report(nodeid, "setup", "skipped", reason="redis: it is not here\n  Try: something"))

    assert results.why_nothing_ran == "2 test(s) were selected and every one was skipped"
    assert results.skips == [("redis", "it is not here", 2)]


def test_a_skip_no_service_is_behind_is_counted_as_the_tests_own() -> None:
    results = RunResults()
    results.take(report("a", "setup", "skipped", reason="see: the manual"))

    assert results.skips == [("tests", "see: the manual", 1)]


def test_a_file_that_cannot_be_collected_fails_the_run() -> None:
    results = RunResults()
    results.take({"kind": "collect_error", "nodeid": "test_x.py", "message": "SyntaxError"})

    assert results.failed
    assert not results.why_nothing_ran


def test_a_file_that_asked_to_be_skipped_is_named_once() -> None:
    results = RunResults()
    for _worker in range(2):
        results.take({"kind": "collect_skip", "nodeid": "test_x.py", "reason": "no driver"})

    assert results.collect_skips == {"test_x.py": "no driver"}
    assert results.why_nothing_ran

"""What came of a run, added up from the recorder's events; a run that proved nothing never counts as passed."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from realstack.config import SERVICES

Outcome = Literal["unfinished", "passed", "failed", "error", "skipped", "xfailed", "xpassed"]
_RAN = frozenset({"passed", "failed", "xfailed", "xpassed"})
_OTHER = "tests"
"""Under which skips are counted that no service is behind."""


@dataclasses.dataclass(kw_only=True, slots=True)
class TestResult:
    """One test."""

    nodeid: str
    #: ``unfinished`` until its call is told: a run that is interrupted, or a process that dies, leaves it so.
    outcome: Outcome = "unfinished"
    seconds: float = 0.0
    reason: str = ""

    # pytest would take a class of this name for tests
    __test__ = False

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in one of its three reports: set-up, call, tear-down."""
        self.seconds += float(report["seconds"])
        outcome, when, expected = report["outcome"], report["when"], report["expected"]
        if outcome == "failed":
            self.outcome = "failed" if when == "call" else "error"
        elif outcome == "skipped":
            self.outcome = "xfailed" if expected else "skipped"
        elif when == "call":
            self.outcome = "xpassed" if expected else "passed"
        self.reason = report["reason"] or self.reason


@dataclasses.dataclass(kw_only=True)
class RunResults:
    """Everything the recorder told."""

    selected: int | None = None
    tests: dict[str, TestResult] = dataclasses.field(default_factory=dict)
    #: Files that could not be collected, with pytest's text.
    collect_errors: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Files that were skipped as a whole, with the reason.
    collect_skips: dict[str, str] = dataclasses.field(default_factory=dict)
    #: pytest's own exit status; ``None``: it ended without telling.
    exit_status: int | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        match event["kind"]:
            case "selected":
                self.selected = int(event["count"])
            case "report":
                test = self.tests.setdefault(event["nodeid"], TestResult(nodeid=event["nodeid"]))
                test.add(event)
            case "collect_error":
                self.collect_errors[event["nodeid"]] = event["message"]
            case "collect_skip":
                self.collect_skips[event["nodeid"]] = event["reason"]
            case "finished":
                self.exit_status = int(event["exit_status"])

    @property
    def counts(self) -> Counter[str]:
        """How many tests came to each outcome."""
        return Counter(test.outcome for test in self.tests.values())

    @property
    def ran(self) -> int:
        """How many tests ran their own code; a skipped one, or one whose set-up failed, did not."""
        return sum(test.outcome in _RAN for test in self.tests.values())

    @property
    def failed(self) -> bool:
        """True when a test failed, a set-up or tear-down did, or a file could not be collected."""
        return bool(self.collect_errors) or any(test.outcome in ("failed", "error") for test in self.tests.values())

    @property
    def skips(self) -> list[tuple[str, str, int]]:
        """Service (or ``tests``), reason, number of tests: the most frequent first."""
        counted = Counter(_split(test.reason) for test in self.tests.values() if test.outcome == "skipped")
        return [(service, reason, count) for (service, reason), count in counted.most_common()]

    @property
    def why_nothing_ran(self) -> str:
        """One sentence, empty when something ran."""
        if self.ran or self.failed:
            return ""
        if any(test.outcome == "unfinished" for test in self.tests.values()):
            return f"{len(self.tests)} test(s) began and none finished"
        if not self.tests:
            return "no test was selected" if not self.selected else f"{self.selected} test(s) were selected, none began"
        return f"{len(self.tests)} test(s) were selected and every one was skipped"


def _split(reason: str) -> tuple[str, str]:
    """Tell the service from the reason: the kit's own skips begin with its name."""
    first = reason.partition("\n")[0]
    service, colon, rest = first.partition(": ")
    return (service, rest) if colon and service in (*SERVICES, "llm", "all") else (_OTHER, first)

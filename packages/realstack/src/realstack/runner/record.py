"""A run's outcome as a file other programs read."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realstack.runner.execution import SuiteRun
    from realstack.runner.plan import RunPlan


def write_report(file: Path, suite: "SuiteRun", plan: "RunPlan", *, exit_code: int, reason: str) -> None:
    """Write what came of *suite* to *file* as JSON; the folders above it are made."""
    results = suite.results
    report = {
        "timestamp": datetime.now(UTC).isoformat(),
        "categories": [category.name for category in plan.categories],
        "success": exit_code == 0,
        "exit_code": exit_code,
        "reason": reason,
        "seconds": round(suite.seconds, 3),
        "selected": results.selected,
        "counts": dict(results.counts),
        "services": [dataclasses.asdict(service) for service in suite.services],
        "missing": [{"service": service, "reason": why} for service, why in suite.missing],
        "skips": [{"service": service, "reason": why, "tests": count} for service, why, count in results.skips],
        "collect_errors": results.collect_errors,
        "collect_skips": results.collect_skips,
        "tests": [dataclasses.asdict(test) for test in results.tests.values()],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

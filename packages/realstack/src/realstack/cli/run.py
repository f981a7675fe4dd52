"""``realstack run``: the unified runner. Every flag is obeyed; one that is not built is refused by name."""

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from realstack.cli.exits import FAILED, INTERRUPTED, NOTHING_RAN, OK, UNAVAILABLE, USAGE
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.runner.execution import ReadyService, SuiteRun
    from realstack.runner.plan import RunPlan

_SERVICES = ("postgres", "redis", "clickhouse", "app")
_PYTEST_USAGE = 4
#: Somebody stopped it, or it, or one of its plugins, has a fault.
_PYTEST_BROKE_OFF = (2, 3)
#: Flags of earlier runners that this one does not have, and what to use instead.
NOT_BUILT = {
    "--env": "set the services in [tool.realstack] or the environment",
    "--exclude-env": "select with --markers",
    "--allow-prod": "production is never tested on; see allow_remote in the configuration",
    "--real-llm": "give a key in the environment",
    "--execution-mode": "select with --category",
    "--fail-fast-mode": "--fast-fail stops at the first failure",
    "--resume-from": "--failed-first begins with what failed",
    "--window-size": "",
    "--disable-auto-split": "",
    "--splitting-strategy": "--workers spreads the tests",
    "--max-workers": "--workers N",
    "--no-dependencies": "categories do not depend on each other",
    "--skip-deps": "categories do not depend on each other",
    "--html-output": "--json-output FILE",
    "--profile": "hand --durations=10 to pytest: realstack run -- --durations=10",
    "--progress-mode": "",
    "--show-warnings": "hand -W to pytest: realstack run -- -W default",
    "--show-category-stats": "--list-categories",
    "--no-validate": "",
    "--full-validate": "",
    "--use-alpine": "images are pinned by version in the container provider",
    "--no-alpine": "images are pinned by version in the container provider",
    "--no-docker": "leave container out of the providers",
    "--skip-docker": "leave container out of the providers",
    "--use-layers": "select with --category",
    "--layers": "select with --category",
    "--background-e2e": "",
    "--max-parallel-layers": "--workers N",
    "--enable-monitoring": "",
    "--show-layers": "--list-categories",
    "--orchestration-status": "",
    "--master-orchestration": "",
    "--websocket-thread-id": "",
    "--no-progress-streaming": "",
    "--docker-pull-policy": "images are pinned by version in the container provider",
    "--docker-production": "",
    "--docker-dedicated": "servers are never shared between runs",
    "--docker-force-restart": "servers are started for every run",
    "--docker-no-cleanup": "realstack up --detach leaves servers running",
    "--docker-stats": "",
    "--no-rebuild": "",
    "--rebuild-all": "",
    "--no-coverage": "coverage is off unless --coverage is given",
    "--cypress-headed": "",
    "--cypress-browser": "",
    "--watch": "",
    "--lint": "",
    "--fix": "",
    "--build": "",
    "--type-check": "",
    "--e2e": "--category e2e",
}


class _NotBuilt(argparse.Action):
    """A flag that other runners take: named and refused, never ignored."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002  argparse decides the signature
        values: str | Sequence[Any] | None,  # noqa: ARG002  the same
        option_string: str | None = None,
    ) -> NoReturn:
        instead = NOT_BUILT[str(option_string)]
        parser.error(f"{option_string} is not built into this runner" + (f"; {instead}" if instead else ""))


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "run",
        parents=[shared],
        help="run the suite on real services",
        description=(
            "Run the project's tests with pytest. Says before the tests which services they need, where those come "
            "from and what isolation costs; afterwards what ran, failed and was skipped, and why."
        ),
        epilog="what stands behind -- goes to pytest as it is: realstack run --category integration -- --durations=5",
        allow_abbrev=False,
    )
    _add_selection(parser)
    _add_services(parser)
    _add_execution(parser)
    for flag in NOT_BUILT:
        parser.add_argument(flag, action=_NotBuilt, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("pytest_arguments", nargs="*", metavar="-- ARGUMENT", help="arguments for pytest itself")
    parser.set_defaults(command=run)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to run")
    group.add_argument(
        "--category", action="append", default=[], metavar="CATEGORY", help="a kind of tests; may be repeated"
    )
    group.add_argument(
        "--categories", action="extend", dest="category", nargs="+", metavar="CATEGORY", help="several at once"
    )
    group.add_argument("--list-categories", action="store_true", help="print the categories and leave")
    group.add_argument(
        "--service",
        action="append",
        default=[],
        choices=_SERVICES,
        help="only tests that need this service; may be repeated",
    )
    group.add_argument("--test-file", action="extend", nargs="+", default=[], metavar="PATH", help="only these files")
    group.add_argument("-k", "--pattern", "--keyword", metavar="EXPRESSION", help="only tests whose name matches")
    group.add_argument("-m", "--markers", metavar="EXPRESSION", help="only tests with these markers")


def _add_services(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("services")
    group.add_argument(
        "--real-services",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="run on real services (the default)",
    )
    group.add_argument(
        "--require-services", action="store_true", default=None, help="a missing service fails its tests: for CI"
    )


def _add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to run")
    group.add_argument("--parallel", action="store_true", help="one process per core, or as many as --workers says")
    group.add_argument("--workers", type=_count, metavar="N", help="in this many processes")
    group.add_argument("--fast-fail", action="store_true", help="stop at the first failure")
    group.add_argument("--failed-first", "--ff", action="store_true", help="begin with what failed last time")
    group.add_argument("--coverage", "--cov", action="store_true", help="measure coverage (needs pytest-cov)")
    group.add_argument("--min-coverage", type=float, metavar="PERCENT", help="fail below this coverage")
    group.add_argument("--json-output", metavar="FILE", help="write what came of it to FILE")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    group.add_argument("-q", "--quiet", action="count", default=0, help="say less")


def run(args: argparse.Namespace) -> int:
    """Run the suite and judge."""
    from pathlib import Path

    from realstack.config import read_environment
    from realstack.runner.execution import config_for, run_suite
    from realstack.runner.record import write_report

    terminal: Terminal = args.terminal
    if args.list_categories:
        return _list_categories(terminal)
    plan = _plan(args)
    plan.check()
    config = config_for(plan, load_config())
    suite = run_suite(
        plan,
        config,
        environ=read_environment(),
        on_ready=lambda services, missing: _show(terminal, services, missing),
        progress=terminal.progress,
    )
    code, reason = _judge(suite, config)
    _summarise(terminal, suite, code, reason)
    if args.json_output:
        write_report(Path(args.json_output), suite, plan, exit_code=code, reason=reason)
    return code


def _plan(args: argparse.Namespace) -> "RunPlan":
    from pathlib import Path

    from realstack.runner.categories import find_categories
    from realstack.runner.plan import RunPlan

    return RunPlan(
        categories=find_categories(args.category),
        services=tuple(dict.fromkeys(args.service)),
        files=tuple(Path(file).absolute() for file in args.test_file),
        pattern=args.pattern,
        markers=args.markers,
        workers=args.workers or ("auto" if args.parallel else None),
        fast_fail=args.fast_fail,
        failed_first=args.failed_first,
        coverage=args.coverage,
        min_coverage=args.min_coverage,
        real_services=args.real_services,
        require_services=args.require_services,
        verbosity=args.verbose - args.quiet,
        extra=tuple(args.pytest_arguments),
    )


def _show(terminal: Terminal, services: Iterable["ReadyService"], missing: Iterable[tuple[str, str]]) -> None:
    """Say what the tests are about to run on."""
    rows = [
        (
            service.name,
            service.version,
            service.provider,
            f"{service.started_in_s * 1000:.0f} ms",
            "-"
            if service.isolation_cost_s is None
            else f"{service.isolation} {service.isolation_cost_s * 1000:.2f} ms",
            service.note,
        )
        for service in services
    ]
    if rows:
        terminal.line()
        terminal.table(rows, headers=("SERVICE", "VERSION", "PROVIDER", "READY IN", "ISOLATION", ""))
        terminal.line()
    for service, reason in missing:
        terminal.line(f"{service} cannot be had: {reason}", "yellow")


def _judge(suite: "SuiteRun", config: "Config") -> tuple[int, str]:
    """Return the exit code and, unless all is well, the reason."""
    results = suite.results
    if suite.interrupted:
        return INTERRUPTED, "interrupted"
    if suite.pytest_code == _PYTEST_USAGE:
        return USAGE, "pytest refused its arguments; what it said is above"
    if results.exit_status is None:
        return FAILED, f"pytest ended without saying how (exit code {suite.pytest_code}); what it printed is above"
    if suite.missing and config.require_services:
        return UNAVAILABLE, f"{', '.join(service for service, _ in suite.missing)} could not be had"
    if results.failed:
        return FAILED, "tests failed"
    if results.exit_status in _PYTEST_BROKE_OFF:
        return FAILED, f"pytest broke off (its exit status was {results.exit_status}); what it said is above"
    if results.why_nothing_ran:
        return NOTHING_RAN, f"nothing ran: {results.why_nothing_ran}"
    # for instance coverage below the wanted one, or a plugin's own verdict
    return (FAILED, f"pytest failed (its exit status was {results.exit_status})") if results.exit_status else (OK, "")


def _summarise(terminal: Terminal, suite: "SuiteRun", code: int, reason: str) -> None:
    results = suite.results
    counts = results.counts
    parts = [
        f"{counts[name]} {name}"
        for name in ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "unfinished")
    ]
    shown = [part for part in parts if not part.startswith("0 ")]
    terminal.line()
    came_to = ", ".join(shown) or "none ran"
    plural = "" if len(results.tests) == 1 else "s"
    line = f"{len(results.tests)} test{plural}: {came_to} in {suite.seconds:.1f} s"
    terminal.line(line, "green" if code == OK else "red")
    for service, why, count in results.skips:
        terminal.line(f"  skipped {count}, {service}: {why}", "yellow")
    for nodeid, why in results.collect_skips.items():
        terminal.line(f"  not collected, {nodeid}: {why}", "yellow")
    for nodeid in results.collect_errors:
        terminal.line(f"  could not be collected: {nodeid}", "red")
    if reason:
        terminal.line(reason, "red")


def _list_categories(terminal: Terminal) -> int:
    from realstack.runner.categories import CATEGORIES

    rows = [(category.name, category.about, category.expression or "-") for category in CATEGORIES]
    terminal.table(rows, headers=("CATEGORY", "TESTS", "pytest -m"))
    return OK


def _count(text: str) -> str:
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1, or auto")
    return text

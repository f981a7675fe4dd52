"""Running a suite: pytest in a process of its own, on a stack that is started when the tests are known.

The services are started neither from the configuration (which need not name what a test asks for) nor after a
collection of their own (which would cost every run a second one): the recorder says, after pytest's one collection,
what the selected tests need, and pytest waits while that is started, measured and shown.
"""

import dataclasses
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from realstack._core.clock import SYSTEM_CLOCK
from realstack.config import DEFAULT, Config, with_changes
from realstack.runner.channel import ChannelServer, Event
from realstack.runner.plan import RunPlan
from realstack.runner.results import RunResults
from realstack.runner.services import StartedServices, WantedService, start_services

if TYPE_CHECKING:
    from realstack.runtime.service import WorkerService
    from realstack.runtime.stack import Stack

_TRIALS = 7
#: After a Ctrl-C: fixtures are torn down, and pytest-xdist waits ten seconds for workers that do not listen.
_END_WITHIN_S = 15.0
#: After a signal that asks us to go: whoever sent it will not wait long.
_LEAVE_WITHIN_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadyService:
    """One line of what is said before the tests."""

    name: str
    version: str
    provider: str
    started_in_s: float
    isolation: str
    #: Seconds one reset takes, measured; ``None``: this service has nothing to put back.
    isolation_cost_s: float | None
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SuiteRun:
    """A run that is over."""

    results: RunResults
    services: tuple[ReadyService, ...]
    #: Services the tests wanted and did not get, with the reason.
    missing: tuple[tuple[str, str], ...]
    seconds: float
    #: Exit code of the pytest process; negative: ended by that signal.
    pytest_code: int
    interrupted: bool


def run_suite(
    plan: RunPlan,
    config: Config,
    *,
    environ: Mapping[str, str],
    on_ready: Callable[[Iterable[ReadyService], Iterable[tuple[str, str]]], None],
    progress: Callable[[str], AbstractContextManager[object]],
) -> SuiteRun:
    """Run the suite and return what came of it.

    Args:
        plan: what to run.
        config: the project's configuration, with what the command line said.
        environ: the environment pytest gets.
        on_ready: called once before the first test, with the services and with what is missing.
        progress: entered while services start, with what is going on.

    Raises:
        RealstackError: the stack could not be opened, or the configuration is wrong.
    """
    from realstack.runtime.detached import open_or_join

    began = SYSTEM_CLOCK.now_s()
    stack = open_or_join(config)
    try:
        suite = _Suite(config, stack, on_ready, progress)
        channel = ChannelServer(stack.run_folder / f"runner-{os.getpid()}.sock", on_event=suite.hear)
        try:
            code, interrupted = _run_pytest(plan, config, channel, environ=environ, stack=stack)
        finally:
            channel.close()
            channel.path.unlink(missing_ok=True)
        if channel.problem is not None:
            raise channel.problem
    finally:
        stack.close()
    return SuiteRun(
        results=suite.results,
        services=tuple(suite.services),
        missing=tuple(suite.missing),
        seconds=SYSTEM_CLOCK.now_s() - began,
        pytest_code=code,
        interrupted=interrupted,
    )


class _Suite:
    """What the runner knows while pytest runs."""

    def __init__(
        self,
        config: Config,
        stack: "Stack",
        on_ready: Callable[..., None],
        progress: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        self._config, self._stack, self._on_ready, self._progress = config, stack, on_ready, progress
        self._is_ready = False
        self.results = RunResults()
        self.services: list[ReadyService] = []
        self.missing: list[tuple[str, str]] = []

    def hear(self, event: Event) -> None:
        """Take in one event of the recorder."""
        self.results.take(event)
        if event["kind"] == "selected" and not self._is_ready:
            self._is_ready = True
            self._make_ready(event)

    def _make_ready(self, event: Event) -> None:
        """Start what the tests need and show it; what every process starts for itself is measured on a trial piece."""
        wanted = [
            WantedService(service=service, instance=instance, version=version)
            for service, instance, version in event["needs"]
            if instance == DEFAULT or instance in getattr(self._config, service)
        ]
        if wanted and self._config.real_services:
            trial = type(self._stack).join(self._config, self._stack.run_folder)
            try:
                with self._progress(f"starting {', '.join(each.label for each in wanted)}"):
                    came = start_services(trial, wanted)
                    self.services = [_measured(each, service) for each, service in came.started]
                self.missing = _reasons(came)
            finally:
                trial.close()
        self._on_ready(self.services, self.missing)


def _reasons(came: StartedServices) -> list[tuple[str, str]]:
    return [(wanted.label, str(error)) for wanted, error in came.missing]


def _measured(wanted: WantedService, service: "WorkerService") -> ReadyService:
    """Put a service back a few times, as after a test, and take the median."""
    costs: list[float] = []
    for trial in range(_TRIALS):
        began = SYSTEM_CLOCK.now_s()
        service.begin(f"trial {trial} of the runner")
        if service.end() is None:
            break
        costs.append(SYSTEM_CLOCK.now_s() - began)
    row = service.describe()
    return ReadyService(
        name=wanted.label,
        version=row.version,
        provider=row.provider,
        started_in_s=row.started_in_s,
        isolation=row.isolation,
        isolation_cost_s=statistics.median(costs) if costs else None,
        note=row.note,
    )


def _run_pytest(
    plan: RunPlan, config: Config, channel: ChannelServer, *, environ: Mapping[str, str], stack: "Stack"
) -> tuple[int, bool]:
    """Run pytest to its end; return its exit code and whether somebody interrupted it."""
    command = [sys.executable, "-m", "pytest", *plan.arguments(channel=channel.path)]
    given: dict[str, str] = dict(environ)
    if config.real_services:
        given["REALSTACK_STACK"] = str(stack.run_folder)
    sys.stdout.flush()
    with subprocess.Popen(command, cwd=config.root, env=given) as pytest:
        try:
            pytest.wait()
        except BaseException as interruption:
            _end(pytest, interruption, channel)
            if not isinstance(interruption, KeyboardInterrupt):
                raise
            return pytest.returncode, True
    return pytest.returncode, pytest.returncode == -signal.SIGINT


def _end(pytest: "subprocess.Popen[Any]", interruption: BaseException, channel: ChannelServer) -> None:
    """Have pytest end in order; a Ctrl-C on the terminal has reached it already."""
    if not (isinstance(interruption, KeyboardInterrupt) and _came_from_terminal()):
        pytest.send_signal(signal.SIGINT)
    patience_s = _END_WITHIN_S if isinstance(interruption, KeyboardInterrupt) else _LEAVE_WITHIN_S
    try:
        pytest.wait(patience_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        channel.hang_up()
        pytest.kill()
        pytest.wait()


def _came_from_terminal() -> bool:
    """True when we are in the foreground of a terminal, whose Ctrl-C goes to all of us."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def config_for(plan: RunPlan, config: Config) -> Config:
    """Return *config* with what *plan* says about services."""
    changes = {
        name: value
        for name, value in (("real_services", plan.real_services), ("require_services", plan.require_services))
        if value is not None
    }
    return with_changes(config, **changes)

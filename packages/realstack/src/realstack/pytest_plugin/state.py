"""What the plugin knows in one process: the configuration, the stack once something needs it, what went wrong."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from realstack.errors import RealstackError, ServerDied, ServiceUnavailable
from realstack.pytest_plugin.baselines import Baselines
from realstack.pytest_plugin.instances import named_instances
from realstack.pytest_plugin.needs import Needs

if TYPE_CHECKING:
    from realstack.abc import Leak
    from realstack.config import Config
    from realstack.runtime.service import WorkerService
    from realstack.runtime.stack import Stack

STATE: pytest.StashKey["State"] = pytest.StashKey()


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What happened in this process, as plain values so that a worker can send it to its controller."""

    #: (service, reason) -> tests skipped.
    skips: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    #: One line per thing a test left open.
    leaks: list[str] = dataclasses.field(default_factory=list)
    #: ``ServiceRow`` as a mapping, one per service this process used.
    services: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    #: (test, masked URL) of each failed test whose database was kept.
    kept: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    #: What an isolation decided by itself, a sentence each.
    news: list[str] = dataclasses.field(default_factory=list)
    #: The name of the stack that goes on because databases in it were kept.
    left_running: str = ""
    #: Tests whose call phase ran.
    ran: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return it as values every serialiser knows."""
        skips = [[service, reason, count] for (service, reason), count in self.skips.items()]
        plain = ("leaks", "services", "kept", "news", "ran")
        return {"skips": skips, **{name: getattr(self, name) for name in plain}}

    def add(self, plain: dict[str, Any]) -> None:
        """Add what another process's ``to_plain`` gave."""
        self.skips.update({(service, reason): count for service, reason, count in plain["skips"]})
        self.leaks += plain["leaks"]
        self.services += plain["services"]
        self.kept += [(test, url) for test, url in plain["kept"]]
        self.news += plain["news"]
        self.ran += plain["ran"]


class State:
    """The plugin's memory of one process."""

    def __init__(self, config: "Config", *, run_folder: Path | None = None) -> None:
        self.config = config
        self.tally = Tally()
        self.needs = Needs(named_instances(config))
        #: The run folder of the controller, in an xdist worker.
        self._run_folder = run_folder
        self._stack: Stack | None = None
        self._test = ""
        #: Set by the report of a phase; a failed test's state may be kept.
        self.test_failed = False
        self._was_put_back = False
        #: The fixtures wider than a test that are set up.
        self.baselines = Baselines(lambda: self._stack, settle=self._settle, needs=self.needs)
        #: What could not be had, and why: asked once, told to every test that wants it.
        self._failed: dict[tuple[str, str, str | None], RealstackError] = {}

    # --- services -----------------------------------------------------------------------------------------------------

    @property
    def has_stack(self) -> bool:
        """True once anything was started in this process."""
        return self._stack is not None

    @property
    def stack(self) -> "Stack":
        """The stack, opened on first use."""
        if self._stack is None:
            supervision = None
            if self._run_folder is None and self.config.stack is None:
                from realstack.config import read_environment
                from realstack.runtime.beginning import begin_run

                supervision = begin_run(read_environment())
            from realstack.runtime.detached import open_or_join

            self._stack = open_or_join(self.config, run_folder=self._run_folder, supervision=supervision)
            if self._run_folder is not None:
                from realstack.pytest_plugin.orphan import end_with_parent

                end_with_parent()
        return self._stack

    def open_stack(self) -> "Stack":
        """Return the stack before any test asks for it; without one there is no point in running them.

        Raises:
            pytest.UsageError: it cannot be opened, or the one the configuration points at does not run.
        """
        try:
            return self.stack
        except RealstackError as error:
            raise pytest.UsageError(str(error)) from error

    def check_wanted(self) -> None:
        """Skip the test when real services are switched off."""
        if not self.config.real_services:
            source = self.config.source("real_services")
            raise self._skipped("all", f"real services are switched off ({source})")

    def provide(self, service: str, *, instance: str = "default", version: str | None = None) -> "WorkerService":
        """Return a service, started; a test that cannot have it is skipped and counted, or fails if it must run."""
        self.check_wanted()
        key = (service, instance, version)
        if key not in self._failed:
            try:
                return self.stack.service(service, instance=instance, version=version)
            except RealstackError as error:
                self._failed[key] = error
        failed = self._failed[key]
        if self.config.require_services or not isinstance(failed, ServiceUnavailable):
            raise pytest.fail.Exception(f"{service}: {failed}", pytrace=False)
        raise self._skipped(service, str(failed))

    @contextmanager
    def client(
        self, service: str, *, instance: str = "default", version: str | None = None, **options: Any
    ) -> Iterator[Any]:
        """Give a client of *service* for the length of a test."""
        provided = self.provide(service, instance=instance, version=version)
        client = provided.open_client(**options)
        try:
            yield client
        finally:
            provided.close_client(client)

    def start_early(self, services: frozenset[str], versions: tuple[str, ...]) -> None:
        """Start *services* in parallel before the first test; what fails is told by the test that asks for it."""
        if services and self.config.real_services:
            self.open_stack().start_in_parallel(services, versions=versions)

    def _skipped(self, service: str, reason: str) -> BaseException:
        """Count a skip and return what to raise."""
        self.tally.skips[service, reason.partition("\n")[0]] += 1
        return pytest.skip.Exception(f"{service}: {reason}")

    # --- tests --------------------------------------------------------------------------------------------------------

    def begin_test(self, test: str) -> None:
        """Tell every running service that *test* begins."""
        self._test, self.test_failed, self._was_put_back = test, False, False
        if self._stack is not None:
            self._stack.begin(test)

    def end_test(self) -> None:
        """Put every running service back; what the test left open is noted, what cannot be put back fails the test."""
        try:
            self._put_back()
        except (RealstackError, ExceptionGroup) as error:
            if any(isinstance(problem, ServerDied) for problem in _problems(error)):
                self.baselines.renew()
            raise _failure(error) from None

    def _settle(self) -> None:
        """Put back before a wider fixture's baseline goes."""
        try:
            self._put_back()
        except (RealstackError, ExceptionGroup) as error:
            raise _failure(error) from None

    def _put_back(self) -> None:
        """Put back; called a second time for one test when a wider fixture ended with it."""
        if self._stack is None:
            return
        failed, self.test_failed = self.test_failed, False
        again, self._was_put_back = self._was_put_back, True
        for outcome in self._stack.end(failed=failed, counted=not again):
            self.tally.leaks += [_leak_line(self._test, leak) for leak in outcome.leaks]

    def close(self) -> None:
        """End what this process started."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            self.tally.services += [dataclasses.asdict(row) for row in stack.describe()]
            self.tally.kept += [(test, url) for test, url in stack.kept()]
            self.tally.news += [line for service in stack.running() for line in service.news()]
            if self.tally.kept and stack.is_owner:
                self.tally.left_running = stack.leave_running()
            else:
                stack.close()


def _problems(error: Exception) -> tuple[Exception, ...]:
    return error.exceptions if isinstance(error, ExceptionGroup) else (error,)


def _failure(error: Exception) -> BaseException:
    """Return what to raise: what a traceback of the kit's would add to an error of the kit's is nothing to anybody."""
    problems = _problems(error)
    if not all(isinstance(problem, RealstackError) for problem in problems):
        return error
    return pytest.fail.Exception("\n".join(map(str, problems)), pytrace=False)


def _leak_line(test: str, leak: "Leak") -> str:
    return f"{test} left a {leak.service} {leak.kind}: {leak.what}"

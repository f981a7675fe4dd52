"""The services of one run as one process uses them: opened, isolated test by test, closed.

``open_stack`` is the same engine without pytest: for unittest, scripts and notebooks.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack._core.supervision import Supervision, join_supervisor
from realstack.abc import ResetOutcome
from realstack.config import DEFAULT, Config, find_root, read_environment, resolve
from realstack.errors import IsolationBroken, RealstackError
from realstack.runtime.beginning import begin_run
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, ServiceRow, WorkerService

if TYPE_CHECKING:
    from realstack.runtime.app import AppService
    from realstack.runtime.clickhouse import ClickHouseService
    from realstack.runtime.postgres import PostgresService
    from realstack.runtime.redis import RedisService

Progress = Callable[[str], None]
SERVICES = ("postgres", "redis", "clickhouse", "app")
#: The app goes last: what it holds is dropped when the databases behind it are back in place.
_RESET_ORDER = {service: place for place, service in enumerate(SERVICES)}


class Stack:
    """Every service of a run, started on first use; safe to use from several threads."""

    def __init__(self, run: Run, *, owner: bool = True) -> None:
        self.run = run
        self._owner = owner
        self._services: dict[ServiceKey, WorkerService] = {}
        self._test = ""
        #: The test that was ended last: a wider fixture may end with it, a little later.
        self._ended = ""

    # --- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, config: Config, *, supervision: Supervision | None = None) -> "Stack":
        """Begin a run of this process's own, or go on with the one that *supervision* began."""
        environ = dict(read_environment())
        supervision = supervision or begin_run(environ)
        return cls(Run(config=config, environ=environ, folder=supervision.run_folder, supervision=supervision))

    @classmethod
    def join(cls, config: Config, run_folder: Path) -> "Stack":
        """Take part in a run somebody else began, and share its servers.

        Raises:
            SupervisorLost: that run is over.
        """
        run = Run(
            config=config,
            environ=dict(read_environment()),
            folder=run_folder,
            supervision=join_supervisor(run_folder),
        )
        return cls(run, owner=False)

    @property
    def run_folder(self) -> Path:
        """Where the run keeps its sockets, logs and records."""
        return self.run.folder

    def close(self) -> None:
        """Give everything back; the owner of the run ends it, with its servers and folders."""
        for service in self._in_order(reverse=True):
            service.close()
        self._services.clear()
        self.run.supervision.close()

    @property
    def is_owner(self) -> bool:
        """True when the run began with this object and ends with it."""
        return self._owner

    def kept(self) -> list[tuple[str, str]]:
        """Return each failed test whose data was kept, with the masked URL of where."""
        return [pair for service in self._in_order() for pair in service.kept]

    def leave_running(self) -> str:
        """Let the run go on without this process, for the sake of what was kept; return the name it can be ended by."""
        from realstack.runtime.detached import leave_running

        name = f"kept-{self.run.folder.name}"
        leave_running(self, name)
        for service in self._in_order(reverse=True):
            service.close()
        self.run.supervision.close()
        return name

    # --- services -----------------------------------------------------------------------------------------------------

    def service(self, name: str, *, instance: str = DEFAULT, version: str | None = None) -> WorkerService:
        """Return a service, started.

        Raises:
            ServiceUnavailable: no provider has it.
        """
        key = ServiceKey(name, instance, version)
        # setdefault is atomic: two threads get the same object, whose own lock lets one of them start it
        service = self._services.get(key) or self._services.setdefault(key, self._make(key))
        fresh = not service.is_started
        service.start()
        if fresh and self._test:
            service.begin(self._test)
        return service

    @property
    def postgres(self) -> "PostgresService":
        """The default PostgreSQL."""
        return self.service("postgres")  # type: ignore[return-value]  # the name decides the class

    @property
    def redis(self) -> "RedisService":
        """The default Redis."""
        return self.service("redis")  # type: ignore[return-value]  # the name decides the class

    @property
    def clickhouse(self) -> "ClickHouseService":
        """The default ClickHouse."""
        return self.service("clickhouse")  # type: ignore[return-value]  # the name decides the class

    @property
    def app(self) -> "AppService":
        """The app under test."""
        return self.service("app")  # type: ignore[return-value]  # the name decides the class

    def start_in_parallel(self, names: Iterable[str], *, versions: Iterable[str] = ()) -> dict[ServiceKey, Exception]:
        """Start *names* at once; return what could not be started, and why."""
        keys = [
            ServiceKey(name, DEFAULT, version)
            for name in names
            for version in ((tuple(versions) or (None,)) if name == "postgres" else (None,))
        ]
        if not keys:
            return {}
        failed: dict[ServiceKey, Exception] = {}
        with ThreadPoolExecutor(len(keys), thread_name_prefix="realstack-start") as pool:
            for key, done in [(key, pool.submit(self._start, key)) for key in keys]:
                error = done.exception()
                if isinstance(error, RealstackError):
                    failed[key] = error
                elif error is not None:
                    raise error
        return failed

    def running(self) -> list[WorkerService]:
        """Return the services that run, in a fixed order."""
        return self._in_order()

    def describe(self) -> list[ServiceRow]:
        """Return a row for each service that runs, in a fixed order."""
        return [service.describe() for service in self._in_order()]

    # --- tests --------------------------------------------------------------------------------------------------------

    def begin(self, test: str) -> None:
        """Note the state of every running service before *test*."""
        self._test = test
        for service in self._in_order():
            service.begin(test)

    def begin_again(self) -> None:
        """Take what is open now for what lived before the test: a wider fixture was set up in the middle of it."""
        if self._test:
            for service in self._in_order():
                service.begin(self._test)

    def end(self, *, failed: bool = False, counted: bool = True) -> list[ResetOutcome]:
        """Put every running service back to its baseline.

        Args:
            failed: the test failed; what it left is kept, if that is wanted.
            counted: this is the end of a test, not a second one for the sake of a wider fixture that ended with it.

        Raises:
            ServerDied: a server died during the test; a fresh one runs already.
            IsolationBroken: with ``verify_isolation``, a service differs from its baseline afterwards.
            ExceptionGroup: more than one of these.
        """
        test = self._test = self._test or self._ended
        outcomes: list[ResetOutcome] = []
        problems: list[Exception] = []
        for service in self._in_order():
            try:
                outcome = service.keep(self._test) if failed and self.run.config.keep_failed else service.end()
                if outcome is not None:
                    outcomes.append(outcome)
                    if not counted:
                        del service.resets_s[-1:]
                self._verify(service)
            except Exception as error:  # noqa: BLE001  every service must get its turn; all are raised below
                problems.append(error)
        self._test, self._ended = "", test
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise ExceptionGroup("several services could not be put back", problems)
        return outcomes

    def reset(self) -> list[ResetOutcome]:
        """Put everything back to the baseline now; for use without pytest."""
        outcomes = self.end()
        self.begin("between resets")
        return outcomes

    def push(self, name: str) -> None:
        """Make the present state of everything the baseline."""
        for service in self._in_order():
            service.push(name)

    def pop(self, name: str) -> None:
        """Go back to the baseline below *name*; a service that knows no such baseline stays as it is."""
        for service in self._in_order(reverse=True):
            service.pop(name)

    @contextmanager
    def baseline(self, name: str = "baseline") -> Iterator["Stack"]:
        """Take what is there now for the state that ``reset`` puts back, for the length of the block."""
        self.push(name)
        try:
            yield self
        finally:
            self.pop(name)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _start(self, key: ServiceKey) -> None:
        self.service(key.service, instance=key.instance, version=key.version)

    def _verify(self, service: WorkerService) -> None:
        if not self.run.config.verify_isolation:
            return
        differences = service.verify()
        if differences:
            raise IsolationBroken(service=service.key.label, test=self._test, differences=differences)

    def _in_order(self, *, reverse: bool = False) -> list[WorkerService]:
        started = [service for service in tuple(self._services.values()) if service.is_started]
        return sorted(started, key=lambda service: _RESET_ORDER[service.key.service], reverse=reverse)

    def _make(self, key: ServiceKey) -> WorkerService:
        if key.service == "postgres":
            from realstack.runtime.postgres import PostgresService

            return PostgresService(key, self.run)
        if key.service == "redis":
            from realstack.runtime.redis import RedisService

            return RedisService(key, self.run)
        if key.service == "clickhouse":
            from realstack.runtime.clickhouse import ClickHouseService

            return ClickHouseService(key, self.run)
        if key.service == "app":
            from realstack.runtime.app import AppService

            return AppService(key, self.run, self.service)
        raise ValueError(f"service={key.service!r} must be one of {', '.join(SERVICES)}")


@contextmanager
def open_stack(
    *services: str,
    config: Config | None = None,
    root: Path | str | None = None,
    **settings: Any,
) -> Iterator[Stack]:
    """Start *services* for the length of the block, without pytest.

    Args:
        services: any of ``postgres``, ``redis``, ``clickhouse``, ``app``; others start on first use.
        config: the resolved configuration; ``None`` resolves it as pytest would.
        root: the project's folder; ``None`` is the nearest one above the working folder.
        settings: single settings that win over the configuration, such as ``isolation="reset"``.

    Raises:
        ServiceUnavailable: no provider has one of them.
        ConfigUnknown, ConfigInvalid: a setting is wrong.
    """
    if config is None:
        start = Path(root) if root is not None else Path.cwd()
        config = resolve(find_root(start), environ=read_environment(), command_line=settings)
    stack = Stack.open(config)
    try:
        failed = stack.start_in_parallel(services)
        if failed:
            raise next(iter(failed.values()))
        stack.begin(f"open_stack in process {os.getpid()}")
        yield stack
    finally:
        stack.close()

"""ClickHouse as a server of the kit: the embedded engine started by us, or a server somebody else runs."""

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.logtail import tail
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import ClickHouseRefused, ServerStartFailed, ServerUnreachable, ServiceUnavailable
from realstack.services.clickhouse.client import Client, quote_name
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.abc import Installation, Process, Scope, Supervisor

_MODULE: Final = "realstack.services.clickhouse.front"
_REMEDY: Final = 'pip install "realstack[clickhouse]"'


class EmbeddedClickHouse:
    """The chdb engine behind its HTTP front, in a process that is ours."""

    def __init__(
        self,
        installation: "Installation",
        *,
        folder: Path,
        supervisor: "Supervisor",
        settings: Mapping[str, str],
        scope: "Scope",
        log: Path,
        timeout_s: float,
    ) -> None:
        """Remember how to start it; ``start_embedded`` does it."""
        self._installation, self._supervisor = installation, supervisor
        self._folder, self._log, self._scope = folder, log, scope
        self._settings, self._timeout_s = dict(settings), timeout_s
        self._process: Process | None = None
        self._port = 0
        self._version = installation.version
        self._started_in_s = 0.0

    def __repr__(self) -> str:
        return f"<EmbeddedClickHouse {self.version} {self.endpoint.safe_url} from {self.provider}>"

    @property
    def endpoint(self) -> Endpoint:
        """Where its HTTP interface is, in the database ``default``."""
        return Endpoint(service="clickhouse", port=self._port, user="default", database="default", scheme="http")

    @property
    def version(self) -> str:
        """The engine's version as it says it itself: ``26.9.2.1``."""
        return self._version

    @property
    def provider(self) -> str:
        return self._installation.provider

    @property
    def log(self) -> Path:
        return self._log

    @property
    def folder(self) -> Path:
        """Its own folder: the engine's data and configuration."""
        return self._folder

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def started_in_s(self) -> float:
        return self._started_in_s

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended; negative: ended by that signal."""
        return self._process.exit_code() if self._process else None

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            self._process.stop(timeout_s=1.0)

    def restart(self) -> None:
        """Start it afresh and empty at the same port, whatever state it is in.

        Raises:
            ServerStartFailed: it did not come up again.
        """
        import shutil

        if self._process is not None and self._process.is_alive():
            self._process.signal(signal.SIGKILL)
            self._process.stop(timeout_s=1.0)
        shutil.rmtree(self._data, ignore_errors=True)
        self.start()

    def start(self) -> None:
        """Start it and return when it answers queries; called once, by ``start_embedded``."""
        started = SYSTEM_CLOCK.now_s()
        self._ready_file.unlink(missing_ok=True)
        self._process = self._supervisor.spawn(
            [sys.executable, "-m", _MODULE, *self._options()],
            name=f"embedded ClickHouse {self._installation.version}",
            log=self._log,
            cwd=Path(__file__).parents[3],  # where this package lies, for a checkout that is not installed
            scope=self._scope,
            end_signal=signal.SIGKILL,  # nothing of it is kept, so there is nothing to shut down in order
            kill_after_s=1.0,
        )
        try:
            ready = wait_until(self._probe, timeout_s=self._timeout_s, max_pause_s=0.01)
        except Late as late:
            self.stop()
            raise self._failed(f"no answer within {self._timeout_s:g} s") from late
        self._port, self._version = int(ready["port"]), ready["version"]
        self._started_in_s = SYSTEM_CLOCK.now_s() - started

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _ready_file(self) -> Path:
        return self._folder / "ready.json"

    def _options(self) -> list[str]:
        options = ["--data", str(self._data), "--port", str(self._port), "--ready-file", str(self._ready_file)]
        return [*options, "--settings", json.dumps(self._settings)] if self._settings else options

    def _probe(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._ready_file.read_text())
        except FileNotFoundError:
            if not self.is_alive():
                raise self._failed(f"it ended with exit code {self.exit_code()}") from None
            raise NotReady("it has not said that it is ready") from None
        return found

    def _failed(self, reason: str) -> ServerStartFailed:
        return ServerStartFailed(
            service="embedded ClickHouse",
            version=self._installation.version,
            provider=self.provider,
            reason=reason,
            log_tail=tail(self._log),
        )


class AttachedClickHouse:
    """A ClickHouse server that is not ours: it is never ended, and only what this run created there is written."""

    provider = "url"
    log = None

    def __init__(self, endpoint: Endpoint, *, version: str, started_in_s: float) -> None:
        """Note what was found; ``attach`` looks."""
        self.endpoint, self.version, self.started_in_s = endpoint, version, started_in_s

    def __repr__(self) -> str:
        return f"<AttachedClickHouse {self.version} {self.endpoint.safe_url}>"

    def is_alive(self) -> bool:
        with Closing(Client(self.endpoint, timeout_s=3.0)) as client:
            return client.ping()

    def stop(self) -> None:
        """Leave it running."""


class Closing:
    """A client for one block of work."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> Client:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()


def start_embedded(
    installation: "Installation",
    *,
    folder: Path,
    supervisor: "Supervisor",
    settings: Mapping[str, str],
    timeout_s: float = 20.0,
    scope: "Scope" = "run",
    log: Path | None = None,
) -> EmbeddedClickHouse:
    """Start embedded ClickHouse and return when it answers queries (0.2 s).

    Args:
        installation: the package that carries the engine.
        folder: for its data; the caller has it deleted at the end.
        supervisor: becomes its parent.
        settings: of every session, as in a ClickHouse profile: ``{"max_threads": "2"}``.
        timeout_s: seconds it may take.
        scope: how long it lives at the most.
        log: file for its output; ``None`` is ``clickhouse.log`` in *folder*.

    Raises:
        ServiceUnavailable: the engine's package is not installed.
        ServerStartFailed: it ended or did not answer in time; carries the end of its log.
    """
    require_engine()
    folder.mkdir(parents=True, exist_ok=True)
    server = EmbeddedClickHouse(
        installation,
        folder=folder,
        supervisor=supervisor,
        settings=settings,
        scope=scope,
        log=log or folder / "clickhouse.log",
        timeout_s=timeout_s,
    )
    server.start()
    return server


def require_engine() -> None:
    """Return when the chdb engine is installed.

    Raises:
        ServiceUnavailable: it is not; names the extra that brings it.
    """
    from importlib.util import find_spec

    if find_spec("chdb") is None:
        tried = (("wheel", "the package chdb-core is not installed"),)
        raise ServiceUnavailable(service="clickhouse", wanted="(embedded)", tried=tried, remedy=_REMEDY)


def attach(endpoint: Endpoint, *, timeout_s: float = 10.0) -> AttachedClickHouse:
    """Return the server at *endpoint*, after it answered a query with the endpoint's user and password.

    Raises:
        ServerUnreachable: it does not answer, or refuses us; the password is masked.
    """
    started = SYSTEM_CLOCK.now_s()
    with Closing(Client(endpoint.with_database("default"), timeout_s=timeout_s)) as client:
        try:
            version = str(client.query("SELECT version()")[0][0])
        except ClickHouseRefused as refused:
            reason = f"{refused.name or refused.code}: {refused.message}"
            raise ServerUnreachable(service="clickhouse", url=endpoint.safe_url, reason=reason) from refused
    return AttachedClickHouse(endpoint, version=version, started_in_s=SYSTEM_CLOCK.now_s() - started)


def create_database(endpoint: Endpoint, name: str) -> Endpoint:
    """Create the database *name*, which must be new there, and return where it is."""
    with Closing(Client(endpoint.with_database("default"), is_admin=True)) as client:
        client.execute(f"CREATE DATABASE {quote_name(name)}")
    return endpoint.with_database(name)


def drop_database(endpoint: Endpoint) -> None:
    """Drop the database *endpoint* names, if it is there."""
    with Closing(Client(endpoint.with_database("default"), is_admin=True)) as client:
        client.execute(f"DROP DATABASE IF EXISTS {quote_name(endpoint.database or '')} SYNC")

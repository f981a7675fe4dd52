"""A PostgreSQL server of ours: started on a free port and a private socket, watched, stopped."""

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.folders import check_socket_path
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import ConfigInvalid, ServerDied, ServerStartFailed, ServerUnreachable, SqlFailed
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.account import Launch, spawn_postgres
from realstack.services.postgres.cluster import CONF
from realstack.services.postgres.log import tail
from realstack.services.postgres.settings import server_settings, to_conf
from realstack.services.postgres.shared_memory import remove_segment
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.abc import Installation, Process, Scope, Supervisor

_TRIES = 10  # ports; each is free when asked for, so more than two tries are hardly ever needed
_LOOK_EVERY = 5  # attempts to connect between two looks at whether it still runs
_STARTING_UP = "57P03"
_STILL_IN_USE = "shared memory block"  # sessions of a server that was killed live on for some milliseconds
_PID_STATUS = 7  # line of postmaster.pid, from 0; PostgreSQL source, src/include/utils/pidfile.h, releases 10 to 18


class PostgresServer:
    """A running PostgreSQL; ``realstack.abc.Server`` and what only PostgreSQL can do.

    Attributes:
        connection: the connection that proved it answers, left open for the kit's administration.
        data: its data folder.
        settings: every setting it was started with.
        wanted: those of them that the user asked for.
    """

    def __init__(
        self,
        installation: "Installation",
        *,
        data: Path,
        socket_folder: Path,
        supervisor: "Supervisor",
        log: Path,
        wanted: Mapping[str, str],
        env: Mapping[str, str],
        scope: "Scope",
        name: str,
        run_as: tuple[int, int] | None,
    ) -> None:
        """Know how to start it; ``start_postgres`` does."""
        self.installation = installation
        self.version = installation.version
        self.provider = installation.provider
        self.data = data.absolute()
        self.log = log.absolute()
        self.name = name
        self.started_in_s = 0.0
        self.settings: dict[str, str] = {}
        self.endpoint: Endpoint
        self.connection: Connection
        self._socket_folder = socket_folder.absolute()
        self._supervisor = supervisor
        self.wanted = dict(wanted)
        self._env = {"LC_ALL": "C", **env}
        self._scope = scope
        self._run_as = run_as
        self._log_began_bytes = 0
        self._process: Process

    @property
    def pid(self) -> int:
        """The process that is the server."""
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def check(self, *, database: str | None = None) -> None:
        """Do nothing while it runs.

        Raises:
            ServerDied: it has ended; carries the last log lines, those of *database* when given.
        """
        code = self._process.exit_code()
        if code is not None:
            raise ServerDied(
                service="PostgreSQL", version=self.version, exit_code=code, log_tail=tail(self.log, database=database)
            )

    def connect(self, database: str = "postgres", *, timeout_s: float = 10.0) -> Connection:
        """Open another connection over its socket, as superuser."""
        return Connection(self.endpoint.with_database(database), timeout_s=timeout_s)

    def stop(self, *, keep_data: bool = False, timeout_s: float = 10.0) -> None:
        """End it, clients or not.

        Args:
            keep_data: write everything to the data folder first, so that the cluster can be packed.
            timeout_s: seconds until it is killed.
        """
        self._end(keep_data=keep_data, timeout_s=timeout_s)
        remove_segment(self.data, server_pid=self.pid)

    def restart(self, *, timeout_s: float = 30.0, database: str = "postgres") -> None:
        """Start it again on the same port and data, after stopping it in order if it still runs.

        Raises:
            ServerStartFailed: it did not come up again.
        """
        self._end(keep_data=True, timeout_s=timeout_s)
        failed: ServerStartFailed | None = None

        def launch() -> None:
            nonlocal failed
            try:
                self._launch(self.endpoint.port, database=database, timeout_s=timeout_s)
            except ServerStartFailed as error:
                if _STILL_IN_USE not in error.log_tail:
                    raise
                failed = error
                raise NotReady(error.reason) from error

        try:
            wait_until(launch, timeout_s=timeout_s)
        except Late as late:
            raise failed or late from late

    def _end(self, *, keep_data: bool, timeout_s: float) -> None:
        self.connection.close()
        if not keep_data and self._process.is_alive():
            self._process.signal(signal.SIGQUIT)
        self._process.stop(timeout_s=timeout_s)

    # --- starting -----------------------------------------------------------------------------------------------------

    def _launch(self, port: int, *, database: str, timeout_s: float) -> None:
        started = SYSTEM_CLOCK.now_s()
        self._log_began_bytes = self.log.stat().st_size if self.log.exists() else 0
        check_socket_path(self._socket_folder / f".s.PGSQL.{port}.lock")
        self.settings = server_settings(self.version, port=port, socket_folder=self._socket_folder, wanted=self.wanted)
        (self.data / CONF).write_text(to_conf(self.settings))
        self.endpoint = Endpoint(
            service="postgres",
            port=int(self.settings["port"]),
            socket=os.fspath(self._socket_folder),
            user="postgres",
            database=database,
        )
        launch = Launch(
            argv=[os.fspath(self.installation.folder / "postgres"), "-D", os.fspath(self.data)],
            name=self.name,
            log=self.log,
            env=self._env,
            data=self.data,
            stop_signal=signal.SIGINT,
            scope=self._scope,
        )
        self._process = spawn_postgres(self._supervisor, launch, run_as=self._run_as)
        self.connection = self._first_connection(timeout_s)
        self.started_in_s = SYSTEM_CLOCK.now_s() - started

    def _first_connection(self, timeout_s: float) -> Connection:
        looks = 0

        def probe() -> Connection:
            nonlocal looks
            looks += 1
            reason = "it is starting"
            if self._says_ready():
                try:
                    return Connection(self.endpoint)
                except ServerUnreachable as error:
                    reason = error.reason
                except SqlFailed as error:
                    if error.sqlstate != _STARTING_UP:
                        raise
                    reason = error.message
            if looks % _LOOK_EVERY == 0 and not self._process.is_alive():
                raise self._start_failed(f"it ended with exit code {self._process.exit_code()}")
            raise NotReady(reason)

        try:
            return wait_until(probe, timeout_s=timeout_s, max_pause_s=0.002)
        except BaseException as error:  # Ctrl-C, too: whatever it is passes on, but no server is left behind
            self._process.stop(timeout_s=1.0)
            if isinstance(error, Late):
                raise self._start_failed(f"no answer within {timeout_s:g} s: {error.last}") from error
            raise

    def _says_ready(self) -> bool:
        """Look into the server's own file: cheaper than connecting, and no refused connection appears in its log."""
        try:
            lines = (self.data / "postmaster.pid").read_bytes().splitlines()
        except OSError:
            return False
        return len(lines) > _PID_STATUS and lines[0] == b"%d" % self.pid and lines[_PID_STATUS].strip() == b"ready"

    def _start_failed(self, reason: str) -> ServerStartFailed:
        return ServerStartFailed(
            service="PostgreSQL",
            version=self.version,
            provider=self.provider,
            reason=reason,
            log_tail=tail(self.log, since_bytes=self._log_began_bytes),
        )


def start_postgres(
    installation: "Installation",
    *,
    data: Path,
    socket_folder: Path,
    supervisor: "Supervisor",
    log: Path,
    settings: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    database: str = "postgres",
    scope: "Scope" = "run",
    name: str = "postgres",
    run_as: tuple[int, int] | None = None,
    timeout_s: float = 30.0,
) -> PostgresServer:
    """Start the stopped cluster in *data* and return the server once it answers.

    Args:
        installation: whose programs; of the major version the cluster was made with.
        data: a cluster from ``make_cluster`` or ``unpack_cluster``.
        socket_folder: where its socket goes; made with mode 0700 if need be. A short path.
        supervisor: becomes its parent and ends it with the run.
        log: where its log goes; appended to.
        settings: of PostgreSQL; they win over the kit's.
        env: more for its environment: a preloaded library.
        port: on 127.0.0.1; a free one by default.
        database: the one the first connection goes to.
        scope: how long it lives at the most.
        name: what messages call it.
        run_as: user and group for a root owner; by default a user namespace, and nobody where that is forbidden.
        timeout_s: seconds until it must have answered.

    Raises:
        ServerStartFailed: it ended, or did not answer in time; carries its last log lines.
        SocketPathTooLong: *socket_folder* is too long a path.
    """
    socket_folder.mkdir(mode=0o700, exist_ok=True)
    server = PostgresServer(
        installation,
        data=data,
        socket_folder=socket_folder,
        supervisor=supervisor,
        log=log,
        wanted=settings or {},
        env=env or {},
        scope=scope,
        name=name,
        run_as=run_as,
    )
    if port is None and "port" in server.wanted:
        port = _port_of(server.wanted["port"])
    ports = _free_ports() if port is None else iter((port,))
    while True:
        try:
            server._launch(next(ports), database=database, timeout_s=timeout_s)
        except ServerStartFailed as error:
            if "Address already in use" not in error.log_tail:
                raise
            last = error
        except StopIteration:
            raise last from None
        else:
            return server


def _port_of(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise ConfigInvalid(
        key="postgres.settings.port", value=repr(text), source="the settings", wanted="a number from 1 to 65535"
    )


def _free_ports() -> Iterator[int]:
    """Give ports nobody has at this moment; that nobody takes one before the server does is not promised."""
    for _ in range(_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        yield port

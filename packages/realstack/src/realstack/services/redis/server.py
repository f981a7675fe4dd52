"""A Redis server of ours: started in a few milliseconds in a folder of its own, and restarted in place when it dies."""

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.logtail import tail
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import RedisRefused, ServerStartFailed, ServerUnreachable
from realstack.services.endpoint import Endpoint
from realstack.services.redis.settings import check_settings, refused_setting, write_configuration
from realstack.services.redis.wire import Connection

if TYPE_CHECKING:
    from realstack.abc import Installation, Process, Scope, Supervisor

_LONGEST_SOCKET_PATH: Final = 107
_PORT_ATTEMPTS: Final = 10
_ADMIN_TIMEOUT_S: Final = 10.0


class RedisServer:
    """A running Redis server that is ours."""

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
        """Remember how to start it; ``start_redis`` does it."""
        self._installation = installation
        self._folder, self._log, self._scope = folder, log, scope
        self._settings, self._supervisor, self._timeout_s = dict(settings), supervisor, timeout_s
        self._socket = folder / "redis.sock"
        self._process: Process | None = None
        self._configuration = ""
        self._version = installation.version
        self._started_in_s = 0.0
        self._port = 0

    def __repr__(self) -> str:
        return f"<RedisServer {self.version} {self.endpoint.safe_url} from {self.provider}>"

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        """Where tests reach it by TCP, and the kit by its socket."""
        password = self._settings.get("requirepass", "").strip() or None
        return Endpoint(service="redis", port=self._port, socket=str(self._socket), password=password, database="0")

    @property
    def version(self) -> str:
        """The version as the server says it: ``6.2.14``."""
        return self._version

    @property
    def provider(self) -> str:
        return self._installation.provider

    @property
    def log(self) -> Path:
        return self._log

    @property
    def folder(self) -> Path:
        """Its own folder: socket, configuration, and whatever it saves."""
        return self._folder

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def started_in_s(self) -> float:
        return self._started_in_s

    # --- what it does -------------------------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended; negative: ended by that signal."""
        return self._process.exit_code() if self._process else None

    def connect(self, *, timeout_s: float = _ADMIN_TIMEOUT_S) -> Connection:
        """Open a connection of the kit's own, over the socket."""
        return Connection(self.endpoint, timeout_s=timeout_s)

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            self._process.stop(timeout_s=1.0)

    def restart(self) -> None:
        """Start it afresh and empty at the same port and socket, whatever state it is in.

        Raises:
            ServerStartFailed: it did not come up again, for instance because its port was taken meanwhile.
        """
        if self._process is not None and self._process.is_alive():
            self._process.signal(signal.SIGKILL)  # it may be stopped, paused or busy: nothing gentler is sure to work
            self._process.stop(timeout_s=1.0)
        self.clear_folder()
        self._start(ports=(self._port,))

    def clear_folder(self) -> tuple[str, ...]:
        """Delete what was saved into its folder and put its configuration file back; return the names of both."""
        import shutil

        kept = {self._socket, self._folder / "redis.conf", self._log}
        changed = []
        for path in sorted(self._folder.iterdir()):
            if path in kept:
                continue
            changed.append(path.name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        file = self._folder / "redis.conf"
        if self._configuration and file.read_text() != self._configuration:
            file.write_text(self._configuration)
            file.chmod(0o600)  # CONFIG REWRITE makes it readable for all
            changed.append(file.name)
        return tuple(changed)

    # --- starting -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it on a free port; called once, by ``start_redis``."""
        self._start(ports=None)

    def _start(self, *, ports: tuple[int, ...] | None) -> None:
        started = SYSTEM_CLOCK.now_s()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = ports[0] if ports else _free_port()
            self._spawn()
            try:
                self._await_answer()
            except _PortTaken as taken:
                if ports or attempt == _PORT_ATTEMPTS:
                    raise self._failed(str(taken)) from None
            else:
                self._started_in_s = SYSTEM_CLOCK.now_s() - started
                return

    def _spawn(self) -> None:
        file = self._folder / "redis.conf"
        self._configuration = write_configuration(
            file, port=self._port, socket=self._socket, version=self._installation.version, settings=self._settings
        )
        self._log_offset = self._log.stat().st_size if self._log.exists() else 0
        self._process = self._supervisor.spawn(
            [str(self._installation.folder / "redis-server"), str(file)],
            name=f"redis {self._installation.version}",
            log=self._log,
            cwd=self._folder,
            scope=self._scope,
            end_signal=signal.SIGKILL,  # nothing of it is kept, so there is nothing to shut down in order
            kill_after_s=1.0,
        )

    def _await_answer(self) -> None:
        try:
            self._version = wait_until(self._probe, timeout_s=self._timeout_s, max_pause_s=0.01)
        except Late as late:
            self.stop()
            raise self._failed(f"no answer within {self._timeout_s:g} s: {late.last}") from late

    def _probe(self) -> str:
        try:
            with self.connect(timeout_s=self._timeout_s) as connection:
                return version_of(connection)
        except ServerUnreachable as error:
            if not self.is_alive():
                self._explain_death()
            raise NotReady(error.reason) from error
        except RedisRefused as refused:
            if refused.message.startswith("LOADING"):
                raise NotReady(refused.message) from refused
            self.stop()
            raise

    def _explain_death(self) -> None:
        said = self._said()
        if "Address already in use" in said or "Could not create server TCP listening socket" in said:
            raise _PortTaken(f"port {self._port} was taken")
        if refused := refused_setting(said, self._settings):
            raise refused
        raise self._failed(f"it ended with exit code {self.exit_code()}")

    def _said(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(self._log_offset)
                return file.read(1 << 16).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _failed(self, reason: str) -> ServerStartFailed:
        return ServerStartFailed(
            service="redis",
            version=self._installation.version,
            provider=self.provider,
            reason=reason,
            log_tail=tail(self._log),
        )


class _PortTaken(Exception):
    """Somebody bound the port between our choosing it and the server's binding it."""


def start_redis(
    installation: "Installation",
    *,
    folder: Path,
    supervisor: "Supervisor",
    settings: Mapping[str, str] | None = None,
    scope: "Scope" = "run",
    log: Path | None = None,
    timeout_s: float = 10.0,
) -> RedisServer:
    """Start a Redis server of our own and return it as soon as it answers.

    It keeps nothing on disk unless *settings* say so, and may be used with DEBUG, MODULE and protected settings from
    this machine.

    Args:
        installation: where ``redis-server`` lies.
        folder: its own folder, short enough for a socket; made here when it is not there, deleted with *scope*.
        supervisor: becomes its parent.
        settings: lines of ``redis.conf``, name to value.
        scope: how long it lives at the most.
        log: where its output goes; ``redis.log`` in *folder* when not given.
        timeout_s: seconds until it must answer.

    Raises:
        ConfigInvalid: a setting the kit decides itself, or one the server refuses.
        ServerStartFailed: it ended or did not answer; carries the end of its log.
    """
    settings = dict(settings or {})
    check_settings(settings)
    if not folder.exists():
        supervisor.own_folder(folder, scope=scope)
        folder.mkdir(mode=0o700)
    server = RedisServer(
        installation,
        folder=folder,
        supervisor=supervisor,
        settings=settings,
        scope=scope,
        log=log or folder / "redis.log",
        timeout_s=timeout_s,
    )
    path_bytes = len(os.fsencode(folder / "redis.sock"))
    if path_bytes > _LONGEST_SOCKET_PATH:
        reason = (
            f"its socket path is {path_bytes} bytes long, the system allows {_LONGEST_SOCKET_PATH}: {str(folder)!r}"
        )
        raise server._failed(reason)
    server.start()
    return server


def version_of(connection: Connection) -> str:
    """Return the version the server on the other side says it has.

    Raises:
        RedisRefused: it is still loading, or INFO is forbidden.
    """
    reply = connection.call("INFO", "server")
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    return text.partition("redis_version:")[2].partition("\r\n")[0] or "unknown"


def _free_port() -> int:
    """Return a port that is free now; the server's own bind is the truth, and is tried again with another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

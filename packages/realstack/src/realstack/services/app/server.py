"""Starting the user's ASGI app in a process of its own, and what the kit can do with it.

The process binds its port before it imports the app and reports each step over a control socket, so that nothing is
polled: an app is known to be ready the moment its lifespan start-up has returned. Then one real request is made.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from realstack._core.logtail import tail
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.abc import Process, Scope, Supervisor
from realstack.errors import AppResetFailed, AppStartFailed, AppTargetInvalid, DriverMissing, RealstackError, ServerDied
from realstack.services.app.answer import await_answer
from realstack.services.app.control import Control, Gone, Silent
from realstack.services.app.order import Order
from realstack.services.endpoint import Endpoint

#: Finds the kit where this process found it, whatever the app's environment and working folder are.
_LAUNCH = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from realstack.services.app.launcher import main; sys.exit(main(sys.argv[2]))"
)
_PACKAGES = os.fspath(Path(__file__).resolve().parents[3])
_STOP_WITHIN_S = 3.0
_RESET_WITHIN_S = 10.0


def start_app(
    target: str,
    *,
    env: Mapping[str, str],
    folder: Path,
    cwd: Path,
    supervisor: Supervisor,
    log: Path,
    timeout_s: float = 30.0,
    health: str = "/",
    factory: bool | None = None,
    on_reset: str | None = None,
    scope: Scope = "client",
    port: int = 0,
) -> "AppServer":
    """Serve the ASGI app *target* on 127.0.0.1 and return it once it answers.

    Args:
        target: ``package.module:app``, or a function, sync or async, that returns the app.
        env: the app's whole environment.
        folder: where the control socket goes; short path, only ours.
        cwd: its working folder, and the first place modules are imported from.
        supervisor: parent of the process; the app never outlives *scope*.
        log: file that its stdout, stderr and access log are appended to.
        timeout_s: seconds from start to first answer.
        health: path asked for. With ``/`` any answer will do; else 502, 503 and 504 mean "not yet", and any other
            status from 500 on means that it is broken.
        factory: whether *target* makes the app; ``None`` finds out.
        on_reset: ``package.module:function`` in the app, run by ``AppServer.reset``.
        scope: how long it lives at the most.
        port: 0 takes any free one.

    Raises:
        AppTargetInvalid: *target* or *on_reset* cannot be found, or is no ASGI app.
        AppStartFailed: it raised, exited or did not answer in time; carries the end of its log.
        DriverMissing: uvicorn is not installed.
    """
    if not health.startswith("/"):
        raise ValueError(f"health={health!r} must start with '/'")
    server = AppServer(
        Order(target=target, control="", port=port, factory=factory, on_reset=on_reset),
        env=env,
        folder=folder,
        cwd=cwd,
        supervisor=supervisor,
        log=log,
        timeout_s=timeout_s,
        health=health,
        scope=scope,
    )
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


class AppServer:
    """The app under test, served by uvicorn in a process of its own."""

    provider = "uvicorn"

    def __init__(
        self,
        order: Order,
        *,
        env: Mapping[str, str],
        folder: Path,
        cwd: Path,
        supervisor: Supervisor,
        log: Path,
        timeout_s: float,
        health: str,
        scope: Scope,
    ) -> None:
        self._target, self._factory, self._on_reset = order.target, order.factory, order.on_reset
        self._env, self._folder, self._cwd, self._scope = dict(env), folder, cwd, scope
        self._supervisor = supervisor
        self._timeout_s, self._health = timeout_s, health
        self._log_start = 0
        self._process: Process | None = None
        self._control: Control | None = None
        self._lock = threading.RLock()
        self._reservation, self._port = _reserve_port(order.port)
        self.log = log
        self.version = ""
        self.started_in_s = 0.0
        #: Seconds the app's own modules took to import.
        self.imported_in_s = 0.0
        #: Seconds from the end of that import to the end of its lifespan start-up.
        self.ready_after_import_s = 0.0

    def __repr__(self) -> str:
        return f"<AppServer {self._target} {self.base_url}>"

    @property
    def endpoint(self) -> Endpoint:
        """Where it can be reached."""
        return Endpoint(service="app", host="127.0.0.1", port=self._port, scheme="http")

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def websocket_url(self) -> str:
        """``ws://127.0.0.1:PORT``, without a slash at its end."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process; ``None`` when it was stopped."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended; negative: ended by that signal."""
        return None if self._process is None else self._process.exit_code()

    def ensure_alive(self) -> None:
        """Return when the app runs.

        Raises:
            ServerDied: it does not; carries the end of its log.
        """
        if not self.is_alive():
            raise self._died()

    def start(self) -> None:
        """Start the process and return when it answers; ``start_app`` has done so."""
        with self._lock:
            began = time.perf_counter()
            self._log_start = self.log_position()
            self._control = Control(self._folder)
            try:
                self._process = self._spawn(self._control)
                self._await_ready(self._control, began + self._timeout_s)
                self._await_answer(began + self._timeout_s)
            except BaseException:
                self._end_process()
                raise
            self.started_in_s = time.perf_counter() - began

    def restart(self) -> None:
        """End the process and start a new one on the same port; connections to the old one are gone.

        Raises:
            AppStartFailed: the new one did not come up.
        """
        with self._lock:
            self._end_process()
            self.start()

    def stop(self) -> None:
        """End the process in order and give up its port."""
        with self._lock:
            self._end_process()
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None

    def reset(self) -> None:
        """Have the app run its ``on_reset`` inside its own event loop; without one, nothing happens.

        Raises:
            AppResetFailed: it raised, or did not end within 10 s.
            ServerDied: the app does not run any more.
        """
        if self._on_reset is None:
            return
        with self._lock:
            try:
                if self._control is None:
                    raise Gone
                self._control.ask("reset")
                answer = self._next_event(self._control, time.perf_counter() + _RESET_WITHIN_S)
            except Gone as error:
                raise self._died() from error
            except Silent as error:
                # an answer that came later would be taken for that of the next reset
                self._close_control()
                reason = f"it did not end within {_RESET_WITHIN_S:g} s"
                raise AppResetFailed(hook=self._on_reset, reason=reason) from error
        if answer["error"]:
            raise AppResetFailed(hook=self._on_reset, reason=answer["error"], traceback=answer["traceback"])

    def log_position(self) -> int:
        """Return where the log ends now; what ``since`` takes."""
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def log_text(self, *, since: int = 0) -> str:
        """Return what was logged from position *since* on."""
        try:
            with self.log.open("rb") as file:
                file.seek(since)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines: int = 20, *, since: int | None = None) -> str:
        """Return the last *lines* lines of the log, indented, or of what came after position *since*."""
        if since is None:
            return tail(self.log, lines=lines)
        found = self.log_text(since=since).splitlines()[-lines:]
        return "\n".join(f"  {line}" for line in found)

    def _spawn(self, control: Control) -> Process:
        order = Order(
            target=self._target,
            control=os.fspath(control.path),
            port=self._port,
            factory=self._factory,
            on_reset=self._on_reset,
        )
        # -P: nothing in the working folder can stand in for a module the launcher needs before the app is imported
        argv = [sys.executable, "-P", "-c", _LAUNCH, _PACKAGES, order.write()]
        return self._supervisor.spawn(
            argv,
            name=f"app {self._target}",
            log=self.log,
            env=self._env,
            cwd=self._cwd,
            scope=self._scope,
            kill_after_s=_STOP_WITHIN_S,
        )

    def _await_ready(self, control: Control, deadline: float) -> None:
        imported_at = time.perf_counter()
        stage = "it did not come so far as to bind its port"
        while True:
            try:
                event = self._next_event(control, deadline)
            except Gone:
                self._await_exit()
                self._start_failed(f"its process ended: {stage}")
            except Silent:
                self._start_failed(f"not ready within {self._timeout_s:g} s: {stage}")
            match event["event"]:
                case "bound":
                    self._port = event["port"]
                    stage = "it was still being imported"
                case "imported":
                    imported_at = time.perf_counter()
                    self.imported_in_s = event["seconds"]
                    stage = "its lifespan start-up had not returned"
                case "ready":
                    self.ready_after_import_s = time.perf_counter() - imported_at
                    self.version = event["uvicorn"]
                    return
                case _:
                    raise self._failure(event)

    def _next_event(self, control: Control, deadline: float) -> dict[str, Any]:
        return control.next_event(deadline=deadline, is_alive=self.is_alive)

    def _await_answer(self, deadline: float) -> None:
        def probe() -> int:
            if not self.is_alive():
                self._start_failed("its process ended before it answered a request")
            return await_answer(self._port, self._health, timeout_s=max(0.001, deadline - time.perf_counter()))

        try:
            status = wait_until(probe, timeout_s=max(0.0, deadline - time.perf_counter()))
        except Late as late:
            self._start_failed(f"no answer within {self._timeout_s:g} s: {late.last}")
        if self._health != "/" and status >= 500:
            self._start_failed(f"GET {self._health} answers {status}")

    def _failure(self, event: dict[str, Any]) -> RealstackError:
        """Return the error for what the launcher reported."""
        if event["kind"] == "driver":
            return DriverMissing(package=event["package"] or "uvicorn", extra="app")
        reason: str = event["reason"]
        if event["raised"] or reason.startswith("its lifespan"):
            return AppStartFailed(target=self._target, reason=reason, exit_code=None, log_tail=self._tail())
        return AppTargetInvalid(target=self._target, reason=reason, folder=os.fspath(self._cwd), remedy=event["remedy"])

    def _start_failed(self, reason: str) -> NoReturn:
        code = self.exit_code()
        raise AppStartFailed(target=self._target, reason=reason, exit_code=code, log_tail=self._tail())

    def _await_exit(self) -> None:
        """Wait until a process whose socket has ended is known to have ended, too; some milliseconds."""

        def look() -> None:
            if self.is_alive():
                raise NotReady

        # one that closed the socket and lives on is ended by the caller
        with contextlib.suppress(Late):
            wait_until(look, timeout_s=1.0)

    def _tail(self) -> str:
        return self.log_tail(since=self._log_start) or "  (it wrote nothing)"

    def _died(self) -> ServerDied:
        return ServerDied(service="app", version=self._target, exit_code=self.exit_code(), log_tail=self._tail())

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.stop(timeout_s=_STOP_WITHIN_S)
            self._process = None
        self._close_control()

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


def _reserve_port(port: int) -> tuple[socket.socket | None, int]:
    """Return a socket that keeps a port for us, and that port; elsewhere than on Linux only *port*.

    It is bound but never listens: connecting is refused while the app is down, and the kernel gives the port to nobody
    else, neither for a server nor for an outgoing connection, so that a restart finds it free.
    """
    if sys.platform != "linux":
        return None, port
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reservation.bind(("127.0.0.1", port))
    except OSError:
        reservation.close()
        raise
    return reservation, reservation.getsockname()[1]

"""uvicorn as the kit runs it: reports when it is ready, ends quickly, and runs ``on_reset`` when asked."""

import asyncio
import inspect
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
import uvicorn.protocols.http.auto
import uvicorn.protocols.websockets.websockets_sansio_impl
from uvicorn.lifespan.on import LifespanOn

from realstack.services.app.target import TargetProblem, required_arguments

if TYPE_CHECKING:
    from realstack.services.app.launcher import Reporter

#: Seconds that requests in flight and open WebSockets get when the app is stopped.
_GRACE_S = 0.5


def configure() -> uvicorn.Config:
    """Return uvicorn's configuration, with logging set up as ``uvicorn`` does: before the app is imported."""
    return uvicorn.Config(
        "",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="on",
        interface="asgi3",
        use_colors=False,
    )


def serve(
    config: uvicorn.Config,
    app: Any,
    *,
    kind: str,
    target: str,
    hook: Callable[..., object] | None,
    listener: socket.socket,
    reporter: "Reporter",
) -> None:
    """Serve *app*, or what it returns when *kind* is ``factory``, until SIGTERM or SIGINT.

    Raises:
        TargetProblem: the factory raised, or its result is no app, or the lifespan start-up failed.
    """
    server = _Server(config, hook=hook, reporter=reporter)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, app, kind=kind, target=target, listener=listener))


async def _serve(server: "_Server", app: Any, *, kind: str, target: str, listener: socket.socket) -> None:
    config = server.config
    config.app = await _make(app, target) if kind == "factory" else app
    config.load()
    config.lifespan_class = _Lifespan
    server.app = config.app
    try:
        await server.serve(sockets=[listener])
    except SystemExit as error:
        lifespan = server.lifespan
        if server.started or not isinstance(lifespan, _Lifespan):
            raise
        raise TargetProblem(f"its lifespan start-up failed: {lifespan.failure or error}", raised=False) from error


async def _make(factory: Callable[[], object], target: str) -> Any:
    """Call *factory* as uvicorn does, inside the running loop, and await its result when it is awaitable."""
    try:
        app = factory()
        if inspect.isawaitable(app):
            app = await app
    except Exception as error:
        said = "".join(traceback.format_exception_only(error)).strip()
        raise TargetProblem(f"the factory {target!r} raised {said}", raised=True) from error
    if not callable(app):
        raise TargetProblem(f"the factory {target!r} returned {app!r}, which is no ASGI app")
    if required_arguments(app) == 2:
        raise TargetProblem(f"the factory {target!r} returned {app!r}, which looks like a WSGI app; ASGI is wanted")
    return app


class _Lifespan(LifespanOn):
    """Lifespan that tells an app without one from an app whose start-up failed.

    uvicorn's ``auto`` takes every exception for "not supported", and so hides failures; its ``on`` takes an app that
    only knows HTTP for a failed one. What tells them apart: an app that supports it asks for the first event.
    """

    failure = ""
    _asked = False

    async def receive(self) -> Any:
        self._asked = True
        return await super().receive()

    async def send(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.failed":
            lines = str(message.get("message", "")).strip().splitlines()
            self.failure = lines[-1] if lines else "the app sent lifespan.startup.failed"
        await super().send(message)

    async def main(self) -> None:
        app = self.config.loaded_app

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            # from here on, requests go to the app itself
            self.config.loaded_app = app
            try:
                await app(scope, receive, send)
            except Exception as error:
                if not self._asked:
                    self.logger.info("The app has no lifespan.")
                    return
                self.failure = self.failure or "".join(traceback.format_exception_only(error)).strip()
                raise

        self.config.loaded_app = guarded
        await super().main()


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, notices at once that it is to end, and listens to the kit."""

    def __init__(self, config: uvicorn.Config, *, hook: Callable[..., object] | None, reporter: "Reporter") -> None:
        super().__init__(config)
        self.app: Any = None
        self._hook = hook
        self._reporter = reporter
        self._leave = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # the protocols put these headers on every answer; without a first tick an early one would lack them
        await self.on_tick(0)
        loop.add_reader(self._reporter.socket.fileno(), self._hear)
        self._reporter.say("ready", uvicorn=uvicorn.__version__)

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864000
            try:
                await asyncio.wait_for(self._leave.wait(), 0.1)
            except TimeoutError:
                continue

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            # a start-up that hangs would keep it until it is killed; there is nothing yet to end in order
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave.set)
        # uvicorn raises the signal again at the end; it was asked for, so the exit code is 0
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Do what uvicorn does, without its pauses of 100 ms: close, give what is under way a moment, end lifespan."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._reporter.socket.fileno())
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        deadline = loop.time() + _GRACE_S
        # uvicorn gives no event for the end of a connection
        while (state.connections or state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.002)  # noqa: TID251  the main program of a process of its own
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    def _hear(self) -> None:
        """Read what the kit asks; when it is gone, end."""
        try:
            asked = self._reporter.socket.recv(4096)
        except OSError:
            asked = b""
        if not asked:
            asyncio.get_running_loop().remove_reader(self._reporter.socket.fileno())
            self.handle_exit(signal.SIGTERM, None)
            return
        for _ in range(asked.count(b"\n")):
            task = asyncio.get_running_loop().create_task(self._reset())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reset(self) -> None:
        """Run the app's ``on_reset`` and report how it went."""
        hook = self._hook
        if hook is None:
            self._reporter.say("reset", error=None)
            return
        try:
            result = hook(self.app) if required_arguments(hook) == 1 else hook()
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001  whatever it raises belongs to the test that is told
            said = "".join(traceback.format_exception_only(error)).strip()
            self._reporter.say("reset", error=said, traceback=traceback.format_exc())
            sys.stderr.write(traceback.format_exc())
        else:
            self._reporter.say("reset", error=None)

"""The app's own process: binds the socket, imports the app, serves it with uvicorn and says how far it is.

Its ``main`` is called by ``python -P -c``, with the order as a JSON object. What happens is reported over the
control socket it names, one JSON object per line: ``bound``, ``imported``, ``ready`` or ``failed``. Once ready, a
``reset`` that comes in over the same socket runs the app's ``on_reset`` inside the app's event loop.
"""

import faulthandler
import importlib
import json
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from realstack.services.app.order import Order
from realstack.services.app.target import TargetProblem, kind_of, load, required_arguments

START_FAILED = 3


class Reporter:
    """The way back to the kit."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)

    def say(self, event: str, **values: Any) -> None:
        """Report *event*; a kit that is gone hears nothing, and that is no error of the app's."""
        try:
            self.socket.sendall(json.dumps({"event": event, **values}).encode() + b"\n")
        except OSError:
            print("realstack: nobody listens any more, so this was not reported:", event, file=sys.stderr)  # noqa: T201


def main(argument: str) -> int:
    """Serve what *argument* orders until a signal ends it; return the exit code."""
    order = Order.read(argument)
    _prepare_streams()
    reporter = Reporter(order.control)
    listener = _bind(order.port)
    reporter.say("bound", port=listener.getsockname()[1])
    sys.argv = [order.target]
    try:
        from realstack.services.app.serving import configure, serve  # uvicorn, and with it whatever it finds installed
    except ModuleNotFoundError as error:
        reporter.say("failed", kind="driver", package=error.name)
        return START_FAILED
    config = configure()
    try:
        started = time.perf_counter()
        app, kind, hook = _load(order)
        reporter.say("imported", seconds=time.perf_counter() - started)
        serve(config, app, kind=kind, target=order.target, hook=hook, listener=listener, reporter=reporter)
    except TargetProblem as problem:
        if problem.raised and problem.__cause__ is not None:
            _print_traceback(problem.__cause__)
        reporter.say("failed", kind="target", reason=problem.reason, remedy=problem.remedy, raised=problem.raised)
        return START_FAILED
    return 0


def _load(order: Order) -> tuple[Any, str, Any]:
    sys.path.insert(0, str(Path.cwd()))
    app = load(order.target)
    kind = kind_of(app, factory=order.factory)
    if order.on_reset is None:
        return app, kind, None
    hook = load(order.on_reset)
    if not callable(hook) or required_arguments(hook) > 1:
        raise TargetProblem(f"on_reset {order.on_reset!r} must be callable with nothing or with the app")
    return app, kind, hook


def _print_traceback(error: BaseException) -> None:
    """Print where the user's code raised, without the frames of the machinery that called it."""
    frames = error.__traceback__
    ours = (str(Path(__file__).parent), "<frozen importlib", str(Path(importlib.__file__).parent))
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(ours):
        frames = frames.tb_next
    traceback.print_exception(error.with_traceback(frames or error.__traceback__))


def _prepare_streams() -> None:
    """Let each line reach the log at once, and let a crash of the interpreter leave a traceback there."""
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream)
    faulthandler.enable()


def _reconfigure(stream: TextIO) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _bind(port: int) -> socket.socket:
    """Return a socket bound to *port* on this machine only.

    It does not listen before the app is ready, so that nobody is let in too early. The kit holds the same port bound
    without listening: with SO_REUSEADDR on both the kernel allows that, and gives the port to nobody else.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener

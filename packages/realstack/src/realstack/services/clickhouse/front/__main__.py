"""The front's process: opens its port at once, answers when the engine is up, ends with its parent."""

import argparse
import ctypes
import json
import os
import re
import signal
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from .protocol import BrokenRequest, Reply, read_request

if TYPE_CHECKING:
    from .handler import Handler

_BACKLOG = 128
_USER = re.compile(r"[A-Za-z_][\w.-]*")


def main() -> None:
    """Serve until told to end, or until the parent is gone."""
    arguments = _arguments()
    _end_with_parent()
    listener = socket.create_server((arguments.host, arguments.port), backlog=_BACKLOG)
    users = {"default": "", **({arguments.user: arguments.password} if arguments.user else {})}
    handler = _start_engine(arguments.data, users, dict(json.loads(arguments.settings)))
    for number in (signal.SIGTERM, signal.SIGINT):  # the engine installs handlers of its own
        signal.signal(number, lambda *_: os._exit(0))
    _tell_ready(arguments, listener.getsockname()[1], handler.engine.version)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(handler, client), daemon=True).start()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="realstack.services.clickhouse.front", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the engine, made when missing")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="gets {port, version, pid} once queries are answered")
    parser.add_argument("--ready-fd", type=int, help="the same, to an open file descriptor")
    parser.add_argument("--user", default="", help="a user beside `default`")
    parser.add_argument("--password", default="")
    parser.add_argument("--settings", default="{}", help="JSON: settings of every session")
    arguments = parser.parse_args()
    if arguments.user and not _USER.fullmatch(arguments.user):
        parser.error(f"--user={arguments.user!r} must be letters, digits, '_', '.', '-'")
    return arguments


def _start_engine(data: Path, users: dict[str, str], settings: dict[str, str]) -> "Handler":
    from .engine import Engine
    from .handler import Handler

    return Handler(Engine(data, users=users, settings=settings), users)


def _tell_ready(arguments: argparse.Namespace, port: int, version: str) -> None:
    text = json.dumps({"port": port, "version": version, "pid": os.getpid()})
    if arguments.ready_file:
        part = arguments.ready_file.with_suffix(".part")
        part.write_text(text)
        part.rename(arguments.ready_file)  # a reader sees all of it or nothing
    if arguments.ready_fd is not None:
        os.write(arguments.ready_fd, text.encode() + b"\n")
        os.close(arguments.ready_fd)


def _serve(handler: "Handler", client: socket.socket) -> None:
    """Answer one client's requests, one after another, until it leaves."""
    with client, cast("BinaryIO", client.makefile("rb", 1 << 16)) as stream:
        try:
            while True:
                request = read_request(stream, client)
                if request is None:
                    return
                reply = Reply(client, is_head=request.method == "HEAD", keep_alive=request.keep_alive)
                handler.answer(request, reply, client)
                if not reply.keep_alive:
                    return
        except BrokenRequest as broken:
            _refuse_broken(handler, client, str(broken))
        except (ConnectionError, TimeoutError):
            return  # the client left; what it asked for is cancelled or done


def _refuse_broken(handler: "Handler", client: socket.socket, why: str) -> None:
    from .errors import Failure

    failure = Failure(33, f"Cannot read all data: {why}", "CANNOT_READ_ALL_DATA")
    headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(failure.code)}
    try:
        Reply(client, keep_alive=False).send(400, headers, failure.body(handler.engine.version))
    except ConnectionError:
        return


def _end_with_parent() -> None:
    """Leave no orphan: Linux tells of the parent's end, elsewhere a closed pipe on stdin or a new parent does."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(0)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    elif sys.platform != "linux":
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _end_with(parent: int) -> None:
    pause = threading.Event()
    while not pause.wait(0.5):
        if os.getppid() != parent:
            os._exit(0)


if __name__ == "__main__":
    main()

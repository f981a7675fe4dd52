"""The kit's end of the control socket: what the app's process reports, and asking it to reset."""

import json
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Longest path a Unix socket can have on Linux is 107 bytes, on macOS 103.
_MAX_PATH_BYTES = 103
#: How often a process that says nothing is looked at: it may have ended while a child of it holds the socket.
_LOOK_EVERY_S = 0.1


class Silent(Exception):
    """Nothing was reported in time."""


class Gone(Exception):
    """The process ended, or at least its end of the socket did."""


class Control:
    """One control socket, for one process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"app-{os.urandom(4).hex()}.sock"
        if len(os.fsencode(self.path)) > _MAX_PATH_BYTES:
            raise ValueError(f"folder={str(folder)!r} must be shorter: a Unix socket in it would have too long a path")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(self.path))
        self._listener.listen(1)
        self._connection: socket.socket | None = None
        self._unread = b""

    def next_event(self, *, deadline: float, is_alive: Callable[[], bool]) -> dict[str, Any]:
        """Return what is reported next.

        Args:
            deadline: when to give up, on the clock of ``time.perf_counter``.
            is_alive: whether the process still runs.

        Raises:
            Silent: *deadline* passed.
            Gone: the process ended without a further word.
        """
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                event: dict[str, Any] = json.loads(line)
                return event
            self._read_more(deadline, is_alive)

    def ask(self, request: str) -> None:
        """Send *request*.

        Raises:
            Gone: nobody is there.
        """
        try:
            if self._connection is None:
                raise Gone
            self._connection.sendall(request.encode() + b"\n")
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        """Close both sockets and remove the file."""
        self._listener.close()
        self.path.unlink(missing_ok=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_more(self, deadline: float, is_alive: Callable[[], bool]) -> None:
        source = self._connection or self._listener
        self._await_readable(source, deadline, is_alive)
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self._listener.close()
            self.path.unlink(missing_ok=True)
            return
        try:
            more = self._connection.recv(65536)
        except ConnectionResetError as error:
            raise Gone from error
        if not more:
            raise Gone
        self._unread += more

    @staticmethod
    def _await_readable(source: socket.socket, deadline: float, is_alive: Callable[[], bool]) -> None:
        poller = select.poll()
        poller.register(source, select.POLLIN)
        while True:
            left = deadline - time.perf_counter()
            if poller.poll(max(0.0, min(left, _LOOK_EVERY_S)) * 1000):
                return
            # what it said last may have come in between the two
            if not is_alive() and not poller.poll(0):
                raise Gone
            if left <= 0:
                raise Silent

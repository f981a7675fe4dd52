"""One client of the supervisor, as the supervisor sees it: bytes in, requests out, answers back, and its death."""

from __future__ import annotations

import json
import os
import socket
import sys

TYPE_CHECKING = False  # importing typing takes 9 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: More than this in one request, or in answers nobody reads, is a client gone mad.
MAX_BUFFERED_BYTES = 16 * 1024 * 1024


class Client:
    """A connection, the process behind it, and what it has not read yet."""

    __slots__ = ("_in", "_out", "descriptor", "pid", "pidfd", "scope", "sock")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.descriptor = sock.fileno()
        self.scope = f"client:{number}"
        self.pid, user = _peer(sock)
        if user not in (os.geteuid(), 0):
            raise PermissionError(f"user {user} is not the owner of this run")
        self.pidfd = open_pidfd(self.pid)
        self._in = bytearray()
        self._out = bytearray()

    def requests(self) -> Iterator[dict[str, Any]]:
        """Give every whole request that has arrived.

        Raises:
            EOFError: the client has closed its side.
            ValueError: it sent something that is no request.
        """
        try:
            received = self.sock.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise EOFError from error
        if not received:
            raise EOFError
        self._in += received
        if len(self._in) > MAX_BUFFERED_BYTES:
            raise ValueError("a request without an end")
        *lines, rest = self._in.split(b"\n")
        self._in = rest
        for line in lines:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("a request is a JSON object")  # noqa: TRY004  one error for all bad input
            yield request

    def answer(self, answer: dict[str, Any]) -> None:
        """Send *answer*, as far as the client reads."""
        self._out += json.dumps(answer).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what is waiting; a client that is gone is noticed when it is read."""
        try:
            sent = self.sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            sent = len(self._out)
        del self._out[:sent]
        if len(self._out) > MAX_BUFFERED_BYTES:
            self._out.clear()
            self.sock.shutdown(socket.SHUT_RDWR)

    @property
    def is_behind(self) -> bool:
        """Whether answers are waiting to be read."""
        return bool(self._out)

    def close(self) -> None:
        self.sock.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when *pid* ends; ``None`` where the system has no such thing."""
    if pid <= 0 or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, a sandbox that forbids it, or it is gone; then the connection alone decides
        return None


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Return process and user id of the other side; 0 for a process that cannot be known."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is not None:
        raw = sock.getsockopt(socket.SOL_SOCKET, option, 12)
        return int.from_bytes(raw[:4], sys.byteorder), int.from_bytes(raw[4:8], sys.byteorder)
    return 0, os.geteuid()  # the socket's folder is 0700

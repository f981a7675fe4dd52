"""One connection to the supervisor: a request, its answer, and never two at once."""

import json
import socket
from typing import Any


class Connection:
    """A connected socket, and what has been read of the next answer."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise
        self._received = bytearray()

    def exchange(self, request: dict[str, Any], *, within_s: float) -> dict[str, Any]:
        """Send *request* and return its answer.

        Raises:
            EOFError: the supervisor closed the connection.
            TimeoutError: no answer came within *within_s* seconds.
        """
        self._socket.settimeout(within_s)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while b"\n" not in self._received:
            received = self._socket.recv(1 << 16)
            if not received:
                raise EOFError
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def await_close(self, *, within_s: float) -> None:
        """Return when the supervisor has ended, which it does when everything of the run is gone."""
        self._socket.settimeout(within_s)
        while self._socket.recv(1 << 16):
            pass

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

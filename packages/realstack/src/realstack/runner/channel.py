"""The runner's end of the line to pytest: a Unix socket, one JSON object per line."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


class ChannelServer:
    """Hears every process of a pytest run; answers ``selected`` once its listener is done with it."""

    def __init__(self, path: Path, *, on_event: Callable[[Event], None]) -> None:
        """Listen on *path*; *on_event* is called for one event at a time."""
        self.path = path
        self._on_event = on_event
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._hearers: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        #: What a listener raised; shown by the runner when pytest has ended.
        self.problem: Exception | None = None
        threading.Thread(target=self._accept, name="realstack-channel", daemon=True).start()

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Hear out who is still connected, then hang up."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for hearer in self._hearers:
            hearer.join(timeout_s)

    def hang_up(self) -> None:
        """Cut every line, at which the processes of the run end themselves: pytest-xdist's workers, too."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            hearer = threading.Thread(target=self._hear, args=(connection,), name="realstack-hearer", daemon=True)
            self._hearers.append(hearer)
            hearer.start()

    def _hear(self, connection: socket.socket) -> None:
        # suppressed: it was killed in the middle of a line
        with connection, connection.makefile("r", encoding="utf-8") as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                event = json.loads(line)
                self._pass_on(event)
                if event["kind"] == "selected":
                    connection.sendall(b"go\n")

    def _pass_on(self, event: Event) -> None:
        with self._lock:
            try:
                self._on_event(event)
            except Exception as error:  # noqa: BLE001  kept for the runner's own thread, which raises it
                self.problem = self.problem or error

"""The queries under way: known by id, seen when they outstay a test, cancelled when their client is gone."""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator

from .engine import Engine, quoted
from .errors import Failure

#: A query is looked after once it has run this long: most never get there.
_LOOK_AFTER_S = 0.2
#: What ends by itself within this was no leak: its client may have gone on without its last byte.
_LANDING_S = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Flight:
    """One query under way."""

    id: str
    sql: bytes
    database: str
    started: float
    is_reading: bool
    client: socket.socket


class Flights:
    """All queries under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Condition()
        self._flying: dict[str, Flight] = {}
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @contextlib.contextmanager
    def fly(self, flight: Flight) -> Iterator[None]:
        """Keep *flight* known while the block runs.

        Raises:
            Failure: a query with that id is running (216).
        """
        with self._lock:
            if flight.id in self._flying:
                text = f"Query with id = {flight.id} is already running."
                raise Failure(216, text, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
            self._flying[flight.id] = flight
        try:
            yield
        finally:
            with self._lock:
                del self._flying[flight.id]
                self._lock.notify_all()

    def end_all(self, database: str, *, timeout_s: float) -> list[str]:
        """Cancel what runs in *database*, wait until it is gone, and return the statements."""
        with self._lock:
            self._lock.wait_for(lambda: not self._of(database), timeout=_LANDING_S)
            late = self._of(database)
        for flight in late:
            self._kill(flight)
        with self._lock:
            self._lock.wait_for(lambda: not any(flight.id in self._flying for flight in late), timeout=timeout_s)
        return [flight.sql[:300].decode("utf-8", "replace") for flight in late]

    def _of(self, database: str) -> list[Flight]:
        return [flight for flight in self._flying.values() if flight.database == database]

    def _watch(self) -> None:
        """Cancel reading queries whose client closed its connection, as clients ask servers to do."""
        pause = threading.Event()
        while not pause.wait(_LOOK_AFTER_S / 2):
            now = time.monotonic()
            with self._lock:
                old = [f for f in self._flying.values() if f.is_reading and now - f.started > _LOOK_AFTER_S]
            for flight in old:
                if _is_gone(flight.client):
                    self._kill(flight)

    def _kill(self, flight: Flight) -> None:
        """Cancel *flight* in the engine, which knows it by an id of its own: found by text and age."""
        connection = self._engine.connect()
        age = time.monotonic() - flight.started
        text = quoted(flight.sql[:1000].decode("utf-8", "surrogateescape"))
        try:
            own = connection.column(
                f"SELECT query_id FROM system.processes WHERE startsWith(query, substring({text}, 1, length(query)))"  # noqa: S608  # quoted
                f" AND query_id != queryID() ORDER BY abs(elapsed - {age:.3f}) LIMIT 1"
            )
            if own:
                connection.run(f"KILL QUERY WHERE query_id = {quoted(own[0])} ASYNC")
        except Failure:
            return  # it ended by itself in between
        finally:
            connection.close()


def _is_gone(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True

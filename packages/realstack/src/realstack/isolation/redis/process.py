"""Isolation ``process``: each test has a Redis server to itself, started in the background while the last test ran."""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import ResetOutcome
from realstack.errors import BaselineUnknown, RealstackError
from realstack.isolation.redis.restore import put_back
from realstack.isolation.redis.state import Reader, State, differences, fill

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint
    from realstack.services.redis.server import RedisServer


class ProcessIsolation:
    """Gives each test a fresh server; ``endpoint`` changes with every ``reset``. For one thread at a time."""

    def __init__(
        self,
        start: Callable[[], "RedisServer"],
        *,
        spares: int = 2,
        discard: Callable[["RedisServer"], None] | None = None,
    ) -> None:
        """Start the first server, and the next ones in the background.

        Args:
            start: starts a server in a folder of its own; called in a thread of its own.
            spares: how many are kept ready; quick tests in a row use one up in a millisecond, its start takes five.
            discard: ends one; by default it is stopped and its folder deleted.
        """
        self._start, self._discard = start, discard or discard_server
        self._ready: queue.SimpleQueue[RedisServer | Exception] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._server = start()
        self._blank = self._read()
        self._baselines: list[tuple[str, State]] = [("", self._blank)]
        for _ in range(spares):
            self._orders.put(self._add_spare)
        self._keeper = threading.Thread(target=self._keep, name="realstack-redis-servers", daemon=True)
        self._keeper.start()

    @property
    def server(self) -> "RedisServer":
        """The server of the present test."""
        return self._server

    @property
    def endpoint(self) -> "Endpoint":
        """Where the present test reaches it."""
        return self._server.endpoint

    def begin(self, test: str) -> None:
        """Do nothing: ``reset`` has left a server nobody has used."""

    def reset(self) -> ResetOutcome:
        """Give the used server away and take a fresh one, filled with the innermost baseline.

        Raises:
            ServerStartFailed: no server could be started.
        """
        started = SYSTEM_CLOCK.now_s()
        used, self._server = self._server, self._take()
        self._orders.put(lambda: self._end(used))
        self._fill()
        return ResetOutcome(strategy="process", seconds=SYSTEM_CLOCK.now_s() - started)

    def push(self, name: str) -> None:
        """Make the present state the baseline *name*, on top of the others."""
        self._baselines.append((name, self._read()))

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and take a server with the one below.

        Raises:
            BaselineUnknown: there is no such baseline.
        """
        names = tuple(each for each, _ in self._baselines[1:])
        if name not in names:
            raise BaselineUnknown(baseline=name, known=names)
        del self._baselines[1 + names.index(name) :]
        self.reset()

    def verify(self) -> tuple[str, ...]:
        """Compare the present server with the innermost baseline; empty when nothing differs."""
        own = {b"port", b"unixsocket", b"dir"}
        wanted, found = self._baselines[-1][1], self._read()
        for state in (wanted, found):
            for name in own:
                state.config.pop(name, None)
        return differences(wanted, found)

    def close(self) -> None:
        """End all servers."""
        self._orders.put(None)
        self._keeper.join(timeout=10.0)
        self._end(self._server)
        while not self._ready.empty():
            spare = self._ready.get()
            if not isinstance(spare, Exception):
                self._end(spare)

    def _take(self) -> "RedisServer":
        self._orders.put(self._add_spare)
        spare = self._ready.get()
        if isinstance(spare, Exception):
            raise spare
        return spare

    def _fill(self) -> None:
        state = self._baselines[-1][1]
        if state is self._blank:
            return
        with self._server.connect() as connection:
            present = Reader(connection, self._server.version).read(with_keys=False)
            for name in (b"port", b"unixsocket", b"dir"):
                present.config[name] = state.config.get(name, b"")
            put_back(connection, state, present)
            fill(connection, state)

    def _read(self) -> State:
        with self._server.connect() as connection:
            return Reader(connection, self._server.version).read()

    def _keep(self) -> None:
        """Carry out orders in a thread of its own until there are no more."""
        while (order := self._orders.get()) is not None:
            order()

    def _add_spare(self) -> None:
        try:
            self._ready.put(self._start())
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to the test that needs the server
            self._ready.put(error)

    def _end(self, server: "RedisServer") -> None:
        with contextlib.suppress(RealstackError):  # it may have died; the supervisor ends what is left
            self._discard(server)


def discard_server(server: "RedisServer") -> None:
    """Stop *server* and delete its folder."""
    import shutil

    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)

"""One service as one test process uses it: started on first use, isolated per test."""

import dataclasses
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realstack._core.logtail import size_of, tail
from realstack.abc import Isolation, ResetOutcome, Server
from realstack.errors import RealstackError

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint


class ServiceKey(NamedTuple):
    """What tells one service of a stack from another."""

    service: str
    instance: str = "default"
    #: A wanted version, when the same instance runs on several side by side.
    version: str | None = None

    @property
    def label(self) -> str:
        """The key as a file name and as people read it: ``postgres``, ``postgres-analytics``, ``postgres-16``."""
        parts = [self.service]
        if self.instance != "default":
            parts.append(self.instance)
        if self.version:
            parts.append(self.version)
        return "-".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRow:
    """One line of what a stack runs, for headers and tables."""

    service: str
    instance: str
    version: str
    provider: str
    #: Masked.
    url: str
    #: Seconds from the decision to start it to its first answer in this process.
    started_in_s: float
    isolation: str
    log: str | None = None
    #: Seconds each reset took so far, in order.
    resets_s: tuple[float, ...] = ()
    #: What a person should know of this choice: "disk, because /dev/shm is full".
    note: str = ""


class WorkerService(ABC):
    """Base of the four services: life cycle and bookkeeping.

    A subclass starts things in ``_start`` (called once, under a lock) and fills ``server`` and ``isolation``.
    """

    def __init__(self, key: ServiceKey) -> None:
        self.key = key
        self.started_in_s = 0.0
        self.resets_s: list[float] = []
        self.note = ""
        #: Failed tests whose data was kept, with the masked URL of where.
        self.kept: list[tuple[str, str]] = []
        self._server: Server | None = None
        self._isolation: Isolation | None = None
        self._baselines: list[str] = []
        self._log_at = 0
        self._lock = threading.RLock()

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        """True once it answers."""
        return self._server is not None

    def start(self) -> None:
        """Start it unless that was done; safe from several threads.

        Raises:
            RealstackError: it cannot be had; the error says why and what to do.
        """
        from realstack._core.clock import SYSTEM_CLOCK

        with self._lock:
            if self._server is None:
                began = SYSTEM_CLOCK.now_s()
                self._server, self._isolation = self._start()
                self.started_in_s = SYSTEM_CLOCK.now_s() - began

    @abstractmethod
    def _start(self) -> tuple[Server, Isolation | None]:
        """Start the server and say how tests are isolated in it; called once, under a lock."""

    def close(self) -> None:
        """Give back what this process holds; the server itself ends with the run."""
        if self._isolation is not None:
            try:
                self._isolation.close()
            except RealstackError:
                if self.server.is_alive():  # a dead server has nothing left that could be given back
                    raise
        self._server = self._isolation = None
        self._baselines.clear()

    @property
    def server(self) -> Server:
        """The server, started now if need be."""
        self.start()
        assert self._server is not None  # noqa: S101  start() returned, so _start gave one
        return self._server

    @property
    def endpoint(self) -> "Endpoint":
        """Where this process's own part of the service is: its database, its Redis, its app."""
        return self.server.endpoint

    @property
    def log(self) -> Path | None:
        """The server's log, when the server is ours."""
        return self.server.log

    def open_client(self, **options: Any) -> Any:
        """Return the client that the fixture of this service gives; it connects on first use."""
        raise NotImplementedError(f"{type(self).__name__} has no client of its own")

    def close_client(self, client: Any) -> None:
        """Close what ``open_client`` gave; works outside the event loop it was used in."""
        client.terminate()

    # --- tests --------------------------------------------------------------------------------------------------------

    def begin(self, test: str) -> None:
        """Note the state before *test*; called again after each wider fixture that the test set up."""
        self._log_at = size_of(self.log) if self.log else 0
        if self._isolation is not None:
            self._isolation.begin(test)

    def end(self) -> ResetOutcome | None:
        """Put the service back to its baseline; ``None`` when it has nothing to put back.

        Raises:
            ServerDied: the server ended during the test; the next one finds a fresh one at the same address.
        """
        if self._isolation is None:
            return None
        outcome = self._isolation.reset()
        self.resets_s.append(outcome.seconds)
        return outcome

    def keep(self, test: str) -> ResetOutcome | None:
        """Put back as ``end`` does, but keep what the failed *test* left, where that can be done."""
        del test
        return self.end()

    def verify(self) -> tuple[str, ...]:
        """Compare with the baseline; what differs, in words."""
        return self._isolation.verify() if self._isolation is not None else ()

    def push(self, name: str) -> None:
        """Make the present state the baseline."""
        if self._isolation is not None:
            # a fixture that overrides another of its name makes two baselines of one name
            self._isolation.push(f"{name} ({len(self._baselines)})" if name in self._baselines else name)
            self._baselines.append(name)

    def pop(self, name: str) -> None:
        """Go back to the baseline below *name*; nothing to do when it is unknown here: the service started later."""
        if self._isolation is not None and name in self._baselines and self.server.is_alive():
            at = len(self._baselines) - 1 - self._baselines[::-1].index(name)
            del self._baselines[at:]
            self._isolation.pop(f"{name} ({at})" if name in self._baselines else name)

    def news(self) -> tuple[str, ...]:
        """Return what the isolation decided by itself since the last call, a sentence each."""
        return ()

    # --- words --------------------------------------------------------------------------------------------------------

    def describe(self) -> ServiceRow:
        """Return the facts of a started service."""
        server = self.server
        return ServiceRow(
            service=self.key.service,
            instance=self.key.instance,
            version=server.version,
            provider=server.provider,
            url=self.endpoint.safe_url,
            started_in_s=self.started_in_s,
            isolation=self._isolation_name(),
            log=str(server.log) if server.log else None,
            resets_s=tuple(self.resets_s),
            note=self.note,
        )

    def log_of_test(self, *, lines: int = 8) -> str:
        """Return the last lines the server logged since the test began."""
        return tail(self.log, lines=lines, since=self._log_at) if self.log else "  (no log: the server is not ours)"

    def _isolation_name(self) -> str:
        return "none" if self._isolation is None else "reset"

"""Isolation on a Redis server that is not ours: one claimed database number, and nothing else of it is written."""

from typing import TYPE_CHECKING, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import Leak, ResetOutcome
from realstack.errors import BaselineUnknown, RedisRefused, ServerUnreachable
from realstack.isolation.redis.clients import Client, is_admin, leak_of, parse_clients
from realstack.isolation.redis.state import (
    Key,
    Reader,
    Value,
    bytes_of,
    key_differences,
    restore_command,
)
from realstack.services.redis.claim import MARKER, Claim, refill
from realstack.services.redis.wire import Command, Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_REASON: Final = (
    "the server is not ours: only the keys of database {number} are put back, which also holds 'realstack:claim'; "
    "settings, users, functions, scripts, other numbers and clients are left alone"
)
_Keys = dict[Key, Value]


class ClaimedIsolation:
    """Empties one claimed database number after each test, only while its marker is there. For one thread at a time."""

    def __init__(self, claim: Claim, *, version: str) -> None:
        """Connect; what the number holds now is the lowest baseline.

        Args:
            claim: from ``claim_database``.
            version: of the server, as ``attach`` found it.
        """
        self._claim = claim
        self._reason = _REASON.format(number=claim.database)
        self._version = version
        self._before: frozenset[int] = frozenset()
        self._connect()
        self._baselines: list[tuple[str, _Keys]] = [("", self._read())]

    @property
    def endpoint(self) -> "Endpoint":
        """Where tests reach their number."""
        return self._claim.endpoint

    def begin(self, test: str) -> None:  # noqa: ARG002  # the promise gives the name; nothing here is kept by test
        """Note who is connected, as far as the server tells."""
        try:
            self._before = frozenset(self._clients())
        except ServerUnreachable:
            self._connect()
            self._before = frozenset(self._clients())

    def reset(self) -> ResetOutcome:
        """Put the number back to the innermost baseline; clients left open are reported, never ended.

        Raises:
            ClaimLost: the marker is gone or not ours; nothing was touched.
            ServerUnreachable: the server has gone.
        """
        started = SYSTEM_CLOCK.now_s()
        try:
            leaks, left = self._leaks(), self._refill()
        except ServerUnreachable:  # the test may have ended our connection; a server that is gone says so again
            self._connect()
            leaks, left = self._leaks(), self._refill()
        return ResetOutcome(
            strategy="claimed",
            seconds=SYSTEM_CLOCK.now_s() - started,
            leaks=leaks,
            changed=(f"db{self._claim.database}: {left}",) if left else (),
            reason=self._reason,
        )

    def push(self, name: str) -> None:
        """Make the present keys the baseline *name*, on top of the others."""
        self._baselines.append((name, self._read()))

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and put back the one below.

        Raises:
            BaselineUnknown: there is no such baseline.
        """
        names = tuple(each for each, _ in self._baselines[1:])
        if name not in names:
            raise BaselineUnknown(baseline=name, known=names)
        del self._baselines[1 + names.index(name) :]
        self._refill()

    def verify(self) -> tuple[str, ...]:
        """Compare the number with the innermost baseline; empty when nothing differs."""
        found, now_ms = self._read(), self._reader.now_ms()
        return tuple(key_differences(self._baselines[-1][1], found, now_ms=now_ms))

    def close(self) -> None:
        """Close the kit's connection; the number is given back when the run ends."""
        self._connection.close()

    def _connect(self) -> None:
        self._connection = Connection(self._claim.endpoint)
        self._reader = Reader(self._connection, self._version, home=self._claim.database)

    def _read(self) -> _Keys:
        keys = self._reader.keys([self._claim.database])
        keys.pop((self._claim.database, MARKER), None)
        return keys

    def _refill(self) -> int:
        baseline = self._baselines[-1][1]
        commands: list[Command] = [restore_command(key, value) for (_, key), value in baseline.items()]
        return refill(self._connection, self._claim, commands)

    def _clients(self) -> dict[int, Client]:
        """Return who is in our number; nobody when the server will not tell."""
        try:
            clients = parse_clients(bytes_of(self._connection.call("CLIENT", "LIST")))
        except RedisRefused:
            return {}
        return {each.id: each for each in clients.values() if each.database == self._claim.database}

    def _leaks(self) -> tuple[Leak, ...]:
        new = [each for each in self._clients().values() if each.id not in self._before and not is_admin(each)]
        return tuple(leak_of(client, lived_before=False) for client in new)

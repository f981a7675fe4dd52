"""Isolation ``reset`` on a Redis server of ours: one round trip after each test, and more only when the test asked.

The round trip empties the server, lists its clients, and tells which commands ran since the last reset. From that
follows whether anything else can have changed. A server that cannot be put back, because it is paused, busy or takes
no orders any more, is restarted in place: some milliseconds, same port, same socket, same baseline.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.logtail import tail
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.abc import Leak, ResetOutcome
from realstack.errors import BaselineUnknown, IsolationUnavailable, RedisRefused, ServerDied, ServerUnreachable
from realstack.isolation.redis.clients import Client, Quick, is_admin, leak_of, parse_clients, quick_look, suspects
from realstack.isolation.redis.restore import UNDO_DEBUG, CannotRestore, put_back
from realstack.isolation.redis.state import Reader, State, bytes_of, differences
from realstack.isolation.redis.usage import EVERYTHING, effects_of
from realstack.services.redis.wire import Command, Reply, encode

if TYPE_CHECKING:
    from pathlib import Path

    from realstack.services.redis.wire import Connection

_CLOSING_S: Final = 0.05
"""How long a client that has just been closed may take to disappear from the server's list."""
_LOOK: Final[tuple[Command, ...]] = (
    ("CLIENT", "UNPAUSE"),  # first: what would change data waits for it
    ("CLIENT", "LIST"),
    ("INFO", "commandstats"),
    ("INFO", "keyspace"),
)
_FORGET: Final[tuple[Command, ...]] = (
    ("SLOWLOG", "RESET"),
    ("LATENCY", "RESET"),
    ("ACL", "LOG", "RESET"),
    ("CONFIG", "RESETSTAT"),
    ("LASTSAVE",),  # usage.SENTINEL
)
_LOOK_AND_FORGET: Final = encode((*_LOOK, *_FORGET))
_FLUSH: Final = {
    True: encode((("FLUSHALL", "ASYNC"),)),
    False: encode((("FLUSHALL", "SYNC"),)),
}
"""By whether there may be very many keys: freeing a million keeps the server from answering for a second, and costs
20 microseconds more when it is left to another thread."""
_MOST_PATIENCE_S: Final = 10.0
_FOR_MANY_KEYS_S: Final = 0.25
"""Nobody writes very many keys in less time."""
_LOOK_FLUSH_FORGET: Final = {many: encode(_LOOK) + flush + encode(_FORGET) for many, flush in _FLUSH.items()}
_LIST_CLIENTS: Final = encode((("CLIENT", "LIST"),))


class RestartableServer(Protocol):
    """A server that is ours, as far as putting it back needs it: ``RedisServer``, or one in a container of ours."""

    @property
    def version(self) -> str: ...

    @property
    def log(self) -> "Path | None": ...

    def connect(self, *, timeout_s: float = 10.0) -> "Connection": ...

    def is_alive(self) -> bool: ...

    def exit_code(self) -> int | None: ...

    def restart(self) -> None:
        """Start it afresh and empty, at the same place."""
        ...

    def clear_folder(self) -> tuple[str, ...]:
        """Delete what it saved; return the names."""
        ...


class _Baseline:
    """A state to come back to, with the commands that fill an empty server with its keys made beforehand."""

    def __init__(self, name: str, state: State) -> None:
        self.name, self.state = name, state
        self.refill, self.refill_count = state.refill()


class ResetIsolation:
    """Puts one Redis server of ours back after each test. For one thread at a time.

    Restored: the keys of all databases with their TTLs (which keep running), functions, cached scripts, settings,
    users, modules, the role, saved files, pauses, statistics, slow log, latency and ACL logs.

    Clients a test left open are reported and ended. Those which lived before stay, unless they hold a transaction or
    watch a key, began to monitor or to subscribe, or changed their database or user. What else a living connection has
    set for itself (CLIENT TRACKING, CLIENT REPLY, its name) cannot be reset from outside; nor is a WATCH seen over a
    baseline that holds keys and was not touched.
    """

    def __init__(
        self,
        server: RestartableServer,
        *,
        spare: Callable[[Client], bool] | None = None,
        patience_s: float = 1.0,
    ) -> None:
        """Take the server as it is now as the lowest baseline.

        Args:
            server: a server of ours.
            spare: says which clients are no leak although they are new: those of an app whose pool grew, for instance.
            patience_s: seconds a server may keep us waiting after a test before it is restarted; half the time the
                test took when that is more, 10 at the most.
        """
        self._server = server
        self._spare = spare or (lambda _client: False)
        self._patience_s = patience_s
        self._before: Quick = {}
        self._began_s = 0.0
        #: What was found out about the test before its reset, and is counted no more.
        self._pending: frozenset[str] = frozenset()
        self._connect()
        self._baselines = [_Baseline("", self._reader.read())]
        self._forget()

    # --- the promise --------------------------------------------------------------------------------------------------

    def begin(self, test: str) -> None:  # noqa: ARG002  # the promise gives the name; nothing here is kept by test
        """Note who is connected; a server that died since the last test is started afresh."""
        self._began_s = SYSTEM_CLOCK.now_s()
        try:
            self._before = self._who()
        except ServerUnreachable:
            self._reconnect_or_recover()
            self._before = self._who()

    def reset(self) -> ResetOutcome:
        """Put the server back to the innermost baseline.

        Raises:
            ServerDied: the server ended during the test; ``begin`` or ``recover`` start it afresh.
        """
        started = SYSTEM_CLOCK.now_s()
        leaks: list[Leak] = []
        try:
            changed = self._reset(leaks)
        except ServerUnreachable as error:
            changed = self._reset_stuck(error, leaks)
        except (CannotRestore, RedisRefused) as refused:
            changed = self._reset_refused(refused, leaks)
        reason = "cached scripts cannot be read back, so those of the test stay" if "scripts stay" in changed else ""
        return ResetOutcome(
            strategy="reset",
            seconds=SYSTEM_CLOCK.now_s() - started,
            leaks=tuple(leaks),
            changed=changed,
            reason=reason,
        )

    def push(self, name: str) -> None:
        """Make the present state the baseline ``name``, on top of the others."""
        self._baselines.append(_Baseline(name, self._reader.read()))
        self._forget()
        self._pending = frozenset()

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and put back the one below.

        Raises:
            BaselineUnknown: there is no such baseline.
        """
        names = tuple(baseline.name for baseline in self._baselines[1:])
        if name not in names:
            raise BaselineUnknown(baseline=name, known=names)
        del self._baselines[1 + names.index(name) :]
        try:
            self._put_back(EVERYTHING)
        except (CannotRestore, RedisRefused) as refused:
            self._renewed(str(refused))

    def verify(self) -> tuple[str, ...]:
        """Compare the whole server with the innermost baseline; empty when nothing differs."""
        self._pending |= effects_of(bytes_of(self._connection.call("INFO", "commandstats")))
        found = differences(self._baseline.state, self._reader.read())
        self._forget()
        return found

    def close(self) -> None:
        self._connection.close()

    def recover(self) -> None:
        """Start the server afresh at the same port and socket and fill it with the innermost baseline.

        For the runtime: after a fault killed it on purpose, instead of ``reset``.

        Raises:
            ServerStartFailed: it did not come up.
            IsolationUnavailable: a fresh server lacks what the baseline had: a module that was loaded at run time.
        """
        self._connection.close()
        self._server.restart()
        self._connect()
        try:
            self._put_back(frozenset({"state", "data"}))
        except CannotRestore as error:
            raise IsolationUnavailable(strategy="reset", reason=str(error)) from error

    # --- the usual way ------------------------------------------------------------------------------------------------

    @property
    def _baseline(self) -> _Baseline:
        return self._baselines[-1]

    def _reset(self, leaks: list[Leak]) -> tuple[str, ...]:
        blank = not self._baseline.refill_count
        self._connection.set_timeout(self._patience())
        self._connection.send(_LOOK_FLUSH_FORGET[self._may_be_many] if blank else _LOOK_AND_FORGET)
        replies = [self._connection.read() for _ in range(len(_LOOK) + blank + len(_FORGET))]
        self._connection.set_timeout(_MOST_PATIENCE_S)
        _, clients, stats, keyspace, *rest = replies
        effects = effects_of(bytes_of(stats)) | self._pending
        if any(isinstance(reply, RedisRefused) for reply in rest):
            effects |= {"state", "data"}  # a setting or a role keeps it from obeying
        if self._end_leaks(bytes_of(clients), leaks):
            effects |= {"data"}  # they may have written after the flush
            blank = False
        changed = self._key_counts(keyspace)
        if not blank or effects - {"data"}:
            changed += self._put_back(effects)
        if "watch" in effects:  # whoever still watches a key has been told by the flush, and is marked now
            self._end_leaks(bytes_of(self._connection.call("CLIENT", "LIST")), leaks)
            self._forget()
        self._pending = frozenset()
        return changed

    @property
    def _may_be_many(self) -> bool:
        return SYSTEM_CLOCK.now_s() - self._began_s > _FOR_MANY_KEYS_S

    def _patience(self) -> float:
        """What took long to write may take long to clear away."""
        ran_s = SYSTEM_CLOCK.now_s() - self._began_s if self._began_s else 0.0
        return min(max(self._patience_s, ran_s / 2), _MOST_PATIENCE_S)

    def _key_counts(self, keyspace: Reply) -> tuple[str, ...]:
        lines = bytes_of(keyspace).split(b"\r\n")
        return tuple(line.partition(b",")[0].decode().replace(":keys=", ": ") for line in lines if line[:2] == b"db")

    def _put_back(self, effects: frozenset[str]) -> tuple[str, ...]:
        """Put back what *effects* says may have changed, and forget how."""
        changed: tuple[str, ...] = ()
        baseline = self._baseline
        if "debug" in effects:
            self._connection.pipeline(UNDO_DEBUG)
        if "state" in effects:
            changed += put_back(self._connection, baseline.state, self._reader.read(with_keys=False))
        if "data" in effects:
            self._connection.send(_FLUSH[self._may_be_many] + baseline.refill)
            self._connection.skip(1 + baseline.refill_count, command=("FLUSHALL and RESTORE",))
        if "scripts" in effects:
            changed += self._flush_scripts()
        if "files" in effects:
            changed += tuple(f"file {name}" for name in self._server.clear_folder())
        self._forget()
        return changed

    def _flush_scripts(self) -> tuple[str, ...]:
        if self._baseline.state.scripts:
            return ("scripts stay",)
        self._connection.call("SCRIPT", "FLUSH", "SYNC")
        return ("scripts",)

    def _forget(self) -> None:
        """Start counting anew; our own reading of the state is no doing of the test's."""
        self._connection.pipeline(_FORGET)

    # --- clients ------------------------------------------------------------------------------------------------------

    def _who(self) -> Quick:
        self._connection.send(_LIST_CLIENTS)
        return quick_look(bytes_of(self._connection.read()))

    def _end_leaks(self, raw: bytes, leaks: list[Leak]) -> bool:
        """End the clients the test left, and say so in *leaks*; true when there were some."""
        if not suspects(self._before, quick_look(raw), ours=(self._id,)):
            return False
        found = self._await_leaks()
        leaks += [leak_of(client, lived_before=client.id in self._before) for client in found]
        kills: list[Command] = [("CLIENT", "KILL", "ID", client.id) for client in found]
        self._connection.pipeline(kills)
        return bool(found)

    def _await_leaks(self) -> Sequence[Client]:
        """Return who is left after those who are just closing have gone."""
        found: list[Client] = []

        def look() -> None:
            found[:] = self._leaking()
            if found:
                raise NotReady

        with contextlib.suppress(Late):
            wait_until(look, timeout_s=_CLOSING_S)
        return found

    def _leaking(self) -> list[Client]:
        raw = bytes_of(self._connection.call("CLIENT", "LIST"))
        ids = suspects(self._before, quick_look(raw), ours=(self._id,))
        clients = [client for client in parse_clients(raw).values() if client.id in ids]
        return [each for each in clients if not is_admin(each) and not self._is_spared(each)]

    def _is_spared(self, client: Client) -> bool:
        """What an app's own client opens in its own time is no leak; a transaction left open is one in any case."""
        if client.id in self._before and client.state != "subscription":
            return False
        return self._spare(client)

    # --- when it does not answer --------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connection = self._server.connect()
        self._id = int(bytes_of(self._connection.call("CLIENT", "ID")))
        self._reader = Reader(self._connection, self._server.version)

    def _reset_stuck(self, error: ServerUnreachable, leaks: list[Leak]) -> tuple[str, ...]:
        """Deal with a server that closed the kit's connection or keeps it waiting."""
        if isinstance(error.__cause__, TimeoutError):
            what = (
                f"the server did not answer within {self._patience():.1f} s after the test "
                "(CLIENT PAUSE, DEBUG SLEEP, a long command or script)"
            )
            leaks.append(Leak(service="redis", kind="pause", what=what))
            return self._renewed(what)
        self._raise_if_dead()
        try:  # the test has ended the kit's connection: CLIENT KILL
            self._connect()
            return self._reset(leaks)
        except (ServerUnreachable, CannotRestore, RedisRefused) as again:
            self._raise_if_dead()
            return self._renewed(str(again))

    def _reset_refused(self, refused: Exception, leaks: list[Leak]) -> tuple[str, ...]:
        """Deal with a server that does not do as it is told: a script keeps it busy, or we may not any more."""
        if isinstance(refused, RedisRefused) and refused.message.startswith("BUSY"):
            leaks.append(Leak(service="redis", kind="script", what="a script was still running; it was killed"))
            killed = self._connection.pipeline([("SCRIPT", "KILL"), ("FUNCTION", "KILL")])
            if b"OK" in killed:
                with contextlib.suppress(ServerUnreachable, CannotRestore, RedisRefused):
                    self._pending = EVERYTHING
                    return self._reset(leaks)
        return self._renewed(str(refused))

    def _renewed(self, reason: str) -> tuple[str, ...]:
        self.recover()
        return (f"the server was restarted: {reason}",)

    def _reconnect_or_recover(self) -> None:
        try:
            self._connect()
        except (ServerUnreachable, RedisRefused):
            self.recover()

    def _raise_if_dead(self) -> None:
        """Tell a server that ended from one that only hung up on us; its end takes a moment to be known."""

        def ended() -> None:
            if self._server.is_alive():
                raise NotReady

        try:
            wait_until(ended, timeout_s=0.1)
        except Late:
            return
        self._connection.close()
        raise ServerDied(
            service="redis",
            version=self._server.version,
            exit_code=self._server.exit_code(),
            log_tail=tail(self._server.log) if self._server.log else "",
        )

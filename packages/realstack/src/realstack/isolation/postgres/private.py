"""Isolation ``clone``: after each test the whole database is replaced by a fresh copy of its template, under its name.

It needs CREATEDB only, and cures what no reset can: whatever connections keep to themselves (SET, LISTEN, temporary
tables, prepared statements) ends with them.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import Leak, ResetOutcome
from realstack.errors import SqlFailed, TemplateBusy
from realstack.isolation.postgres._database import TrackedDatabase
from realstack.isolation.postgres._session import is_superuser
from realstack.isolation.postgres.baseline import Baseline, BaselineStack
from realstack.isolation.postgres.clone import ClonePool, copy_as_template
from realstack.isolation.postgres.sessions import Sessions
from realstack.isolation.postgres.shared import SharedState
from realstack.isolation.postgres.verify import Snapshot, Verifier, differences
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_COPY_TIMEOUT_S = 1.0


class CloneIsolation:
    """Gives every test a database nobody has used, always under the same name."""

    def __init__(
        self,
        endpoint: "Endpoint",
        *,
        pool: ClonePool,
        ours: bool = True,
        grace_s: float = 0.1,
        spare: Callable[[int], bool] = lambda _port: False,
        alone: Callable[[], bool] = lambda: True,
        reason: str = "",
    ) -> None:
        """Look at a worker's database; nothing is copied yet.

        Args:
            endpoint: the worker's database, a copy of the pool's template.
            pool: where fresh copies come from; stays the caller's.
            ours: the server was started by this run.
            grace_s: seconds a client that is closing is waited for before it counts as left behind.
            spare: true for the client's TCP port of a connection that is no leak.
            alone: false while another process has a database on this server, connected at the moment or not.
            reason: why this strategy, when another was asked for; every outcome carries it.
        """
        self._endpoint, self._reason, self._ours = endpoint, reason, ours
        self._stack = BaselineStack(pool)
        self._admin = Connection(pool.admin)
        self._sessions = Sessions(self._admin, grace_s=grace_s, spare=spare)
        self._alone = alone
        self._known: set[str] = set()
        self._snapshots: dict[int, Snapshot] = {}
        self._numbers = itertools.count(1)
        self._is_superuser = is_superuser(self._admin)
        self._shared = self._note_shared(None)

    @property
    def name(self) -> str:
        return self._endpoint.database or ""

    def begin(self, test: str) -> None:  # noqa: ARG002  # the promise names the test; the server needs no name
        """Note who is connected before *test*: they will be disconnected, but are no leak."""
        self._known = self._present()

    def reset(self) -> ResetOutcome:
        """Replace the database and say what the test left behind."""
        began = SYSTEM_CLOCK.now_s()
        leaks = self._sessions.dismiss(self._present(foreign_only=True) - self._known)
        leaks += self._roll_back_prepared()
        self._replace()
        if self._shared and self._shared.changed():
            self._stack.pool.wait()  # a role cannot be dropped while a database that knows it is there
            leaks += self._shared.put_back()
        seconds = SYSTEM_CLOCK.now_s() - began
        return ResetOutcome(strategy="clone", seconds=seconds, leaks=tuple(leaks), reason=self._reason)

    def clone(self, name: str = "") -> "Endpoint":
        """Return a further private copy of the innermost baseline, called *name* or ``<database>_<number>``.

        The caller drops it with ``drop``.
        """
        return self._stack.pool.take(name or f"{self.name}_{next(self._numbers)}")

    def drop(self, name: str) -> None:
        """Drop a copy made by ``clone``, in the background."""
        self._stack.pool.drop(name)

    def push(self, name: str) -> None:
        """Make the present state the baseline, on top of the others.

        Raises:
            TemplateBusy: somebody is connected to the database, so that it cannot be copied.
        """
        pool, problem = copy_as_template(self._stack.pool, self.name, timeout_s=_COPY_TIMEOUT_S)
        if pool is None:
            raise TemplateBusy(template=self.name, sessions=len(self._present()), waited_s=_COPY_TIMEOUT_S)
        self._stack.push(Baseline(name, self._stack.next_level, pool=pool, incomplete=problem, changes_catalogue=True))

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and put back the one below.

        Raises:
            BaselineUnknown: there is none of that name.
        """
        for baseline in self._stack.pop(name):
            self._snapshots.pop(baseline.level, None)
            if baseline.pool:
                baseline.pool.close()
        self._replace()

    def verify(self) -> tuple[str, ...]:
        """Compare the database with another fresh copy; a line for each difference."""
        level = self._stack.next_level - 1
        if level not in self._snapshots:
            other = self.clone()
            with Connection(other) as connection:
                self._snapshots[level] = Verifier(connection).snapshot()
            self.drop(other.database or "")
        with Connection(self._endpoint) as connection:
            now = Verifier(connection).snapshot(self._snapshots[level])
        return differences(self._snapshots[level], now, compare_roles=False)

    def close(self) -> None:
        """Disconnect; the database stays."""
        self._stack.close()
        self._admin.close()

    def _present(self, *, foreign_only: bool = False) -> set[str]:
        rows = self._admin.query(
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND NOT ($2 AND application_name LIKE 'realstack%')",
            self.name,
            "t" if foreign_only else "f",
        )
        return {pid for (pid,) in rows if pid}

    def _roll_back_prepared(self) -> list[Leak]:
        left = self._admin.query(
            "SELECT gid, owner FROM pg_prepared_xacts WHERE database = $1"
            " UNION ALL SELECT NULL, NULL FROM pg_replication_slots WHERE database = $1",
            self.name,
        )
        if left and self._is_superuser:
            self._free()
        prepared = [(gid, owner) for gid, owner in left if gid]
        if prepared and not self._is_superuser:
            self._roll_back_own([gid for gid, _ in prepared])
        return [
            Leak(service="postgres", kind="prepared transaction", what=f"{gid!r} of {owner}") for gid, owner in prepared
        ]

    def _roll_back_own(self, names: list[str]) -> None:
        from realstack.isolation.postgres._session import literal

        with Connection(self._endpoint) as connection:
            for name in names:
                connection.query(f"ROLLBACK PREPARED {literal(name)}")

    def _free(self) -> None:
        with suppress(SqlFailed):  # the test may have dropped the database, or tracking with it
            database = TrackedDatabase(self._endpoint, ours=self._ours)
            try:
                database.free()
            finally:
                database.close()

    def _replace(self) -> None:
        self._stack.pool.replace(self.name)
        if self._shared:
            self._shared = self._note_shared(self._shared)

    def _note_shared(self, old: SharedState | None) -> SharedState | None:
        if not self._is_superuser:
            return None
        home = self._admin.query("SELECT oid FROM pg_database WHERE datname = $1", self.name)
        return SharedState(self._admin, home[0][0] or "" if home else "0", ours=self._ours, alone=self._alone, old=old)

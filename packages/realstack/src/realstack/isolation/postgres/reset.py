"""The default isolation: one database a worker, put back after each test by one call to a function in it."""

from typing import TYPE_CHECKING, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import Leak, ResetOutcome
from realstack.isolation.postgres._session import open_session
from realstack.isolation.postgres.clone import ClonePool
from realstack.isolation.postgres.tracking import MARK

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_LOCK_TIMEOUT_MS: Final = 100


class ResetIsolation:
    """Puts the tables a test wrote back to their baseline rows, and everything else it moved."""

    def __init__(self, endpoint: "Endpoint", *, pool: ClonePool, ours: bool = True) -> None:
        self._endpoint, self._pool, self._ours = endpoint, pool, ours
        self._known: list[str] = []
        self._connect()

    def _connect(self) -> None:
        self._session = open_session(self._endpoint, lock_timeout_ms=_LOCK_TIMEOUT_MS)
        rows = self._session.query("SELECT oid FROM pg_database WHERE datname = current_database()")
        self._home = rows[0][0]
        self._session.prepare("reset", "SELECT * FROM realstack.reset($1::oid, $2::int[], $3::int, $4::bool)")
        self._session.prepare(
            "begin", "SELECT array_agg(pid) FROM pg_stat_get_activity(NULL) WHERE datid = $1::oid"
        )

    def begin(self, test: str) -> None:
        """Note who is connected before *test*."""
        self._known_pids = self._session.run([("begin", [self._home])])[0][0][0] or "{}"

    def reset(self) -> ResetOutcome:
        """Put the database back to the baseline."""
        began = SYSTEM_CLOCK.now_s()
        arguments = [self._home, self._known_pids, str(MARK), "t" if self._ours else "f"]
        state, strangers, busy, written, moved, shared, local = self._session.run([("reset", arguments)])[0][0]
        strategy = "reset"
        if state != "done":
            self._session.close()
            self._pool.replace(self._endpoint.database or "")
            self._connect()
            strategy = "clone"
        changed = tuple((written or "").split(",")) if written else ()
        return ResetOutcome(strategy=strategy, seconds=SYSTEM_CLOCK.now_s() - began, changed=changed, leaks=())

    def close(self) -> None:
        self._session.close()

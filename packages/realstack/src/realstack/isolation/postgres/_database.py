"""The kit's own session in a tracked database: each promise of the engine is one call to a function there."""

import dataclasses
from typing import TYPE_CHECKING, Final

from realstack.isolation.postgres._session import literal, open_session, quoted
from realstack.isolation.postgres._wal import SequenceLog
from realstack.isolation.postgres.tracking import MARK, install

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

#: The kit never waits longer for a lock; who holds it is then found and ended.
_LOCK_TIMEOUT_MS: Final = 100
_STATEMENTS: Final = {
    "begin": "SELECT * FROM realstack.begin($1::oid)",
    "reset": "SELECT * FROM realstack.reset($1::oid, $2::int[], $3::text[], $4::int, $5::bool, $6::pg_lsn)",
    "sequences": "SELECT realstack.set_sequences($1::oid[]), txid_current_if_assigned()",
    "all sequences": "SELECT realstack.put_sequences_back(), txid_current_if_assigned()",
    "unwatched": "SELECT realstack.unwatched($1::oid, $2::int, $3::bool)",
    "push": "SELECT realstack.push($1::int)",
    "pop": "SELECT realstack.pop($1::int)",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Present:
    """Who was connected at one moment."""

    #: Processes, as an array.
    pids: str = "{}"
    #: The advisory locks they held.
    locks: frozenset[str] = frozenset()
    #: The transactions they had open, as an array: a wider fixture may keep one around several tests.
    transactions: str = "{}"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What one call to ``realstack.reset`` found and did."""

    #: ``done``; ``busy`` and ``prepared``: nothing was done; ``ddl`` and ``stale``: a fresh clone is needed.
    state: str
    #: Processes of sessions opened since the test began.
    strangers: tuple[str, ...]
    #: Processes of sessions with a transaction open that was not open before the test.
    busy: tuple[str, ...]
    #: Advisory locks of other sessions: ``pid:class:object:sub:mode``.
    locks: frozenset[str]
    #: Tables written, or the DDL that was run.
    written: tuple[str, ...]
    moved: tuple[str, ...]
    #: What no event trigger sees; see ``shared.py``.
    unwatched: str
    #: Where the write-ahead log was when this began.
    lsn: str = ""


def failed(why: str) -> Answer:
    """Return the answer of a call that put nothing back; a fresh clone is needed."""
    return Answer(why, (), (), frozenset(), (), (), "")


class TrackedDatabase:
    """An open superuser session in a database with tracking, everything in it prepared."""

    def __init__(self, endpoint: "Endpoint", *, ours: bool) -> None:
        """Connect.

        Raises:
            ServerUnreachable: nobody answers.
            SqlFailed: there is no such database, or tracking is not installed in it.
        """
        self.endpoint, self._ours = endpoint, "t" if ours else "f"
        self.session = open_session(endpoint, lock_timeout_ms=_LOCK_TIMEOUT_MS)
        try:
            self.home = self._prepare()
            self._log = self._open_log()
        except BaseException:
            self.session.close()
            raise

    @property
    def name(self) -> str:
        return self.endpoint.database or ""

    def begin(self) -> "Present":
        """Return who is connected now."""
        pids, locks, transactions = self.session.run([("begin", (self.home,))])[0][0]
        return Present(pids or "{}", frozenset(_lines(locks)), transactions or "{}")

    def reset(self, known: "Present") -> Answer:
        """Put back what can be put back in one call."""
        since = self._log.since if self._log else None
        values = (self.home, known.pids, known.transactions, str(MARK), self._ours, since)
        row = self.session.run([("reset", values)])[0][0]
        state, strangers, busy, locks, written, moved, unwatched, lsn, transaction = row
        sequences = dict(line.split(" ", 1) for line in _lines(moved))
        if self._log and state == "done":
            sequences.update(self._put_logged_sequences_back(self._log, lsn or "", transaction, sequences))
        return Answer(
            state or "",
            tuple(strangers.split(",")) if strangers else (),
            tuple(busy.split(",")) if busy else (),
            frozenset(_lines(locks)),
            _lines(written),
            tuple(sequences.values()),
            unwatched or "",
            lsn or "",
        )

    def _put_logged_sequences_back(
        self, log: SequenceLog, lsn: str, transaction: str | None, done: dict[str, str]
    ) -> dict[str, str]:
        moved = log.moved(lsn)
        log.ignore(transaction)
        if moved is None:
            names, transaction = self.session.run([("all sequences", ())])[0][0]
        elif left := [relid for relid in moved if relid not in done]:
            names, transaction = self.session.run([("sequences", ("{" + ",".join(left) + "}",))])[0][0]
        else:
            return {}
        log.ignore(transaction)
        return dict(line.split(" ", 1) for line in _lines(names))

    def unwatched(self) -> str:
        """Return the signature of what no event trigger sees."""
        return self.session.run([("unwatched", (self.home, str(MARK), self._ours))])[0][0][0] or ""

    def push(self, level: int) -> bool:
        """Make the present rows the baseline number *level*; false: the catalogue was changed, nothing was done."""
        self._distrust_log()
        return self.session.run([("push", (str(level),))])[0][0][0] == "t"

    def pop(self, level: int) -> None:
        """Make the baseline below *level* the one that the next reset puts back."""
        self._distrust_log()
        self.session.run([("pop", (str(level),))])

    def _distrust_log(self) -> None:
        if self._log:
            self._log.distrust()

    def survived(self) -> bool:
        """Tell whether the notes of what was written are still there; a crash of the server empties them."""
        return bool(self.session.query("SELECT FROM realstack.alive"))

    def prepared(self) -> list[tuple[str, str]]:
        """Return (name, owner) of each prepared transaction in this database."""
        rows = self.session.query("SELECT gid, owner FROM pg_prepared_xacts WHERE database = current_database()")
        return [(gid or "", owner or "") for gid, owner in rows]

    def free(self) -> None:
        """Remove what keeps a database from being renamed and dropped: prepared transactions, slots, subscriptions."""
        for gid, _ in self.prepared():
            self.session.query(f"ROLLBACK PREPARED {literal(gid)}")
        for (name,) in self.session.query("SELECT subname FROM pg_subscription WHERE subdbid = $1", self.home):
            which = quoted(name or "")
            for change in (f"ALTER SUBSCRIPTION {which} DISABLE", f"ALTER SUBSCRIPTION {which} SET (slot_name = NONE)"):
                self.session.query(change)
            self.session.query(f"DROP SUBSCRIPTION {which}")
        self.session.query(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE datoid = $1 AND active", self.home
        )
        self.session.query(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE datoid = $1 AND NOT active",
            self.home,
        )

    def reinstall(self) -> None:
        """Make everything as it is now, the catalogue included, the only baseline this database knows."""
        self.session.script("DROP EVENT TRIGGER realstack_ddl; DROP EVENT TRIGGER realstack_drop")
        self.session.script("DROP SCHEMA realstack CASCADE")
        install(self.session)

    def close(self) -> None:
        self.session.close()

    def _prepare(self) -> str:
        for name, sql in _STATEMENTS.items():
            self.session.prepare(name, sql)
        return self.session.query("SELECT oid FROM pg_database WHERE datname = current_database()")[0][0] or ""

    def _open_log(self) -> SequenceLog | None:
        if not SequenceLog.is_worthwhile(self.session):
            return None
        self.session.query("SET synchronous_commit = on")  # the log must be written out to be read
        return SequenceLog(self.session, self.home)


def _lines(text: str | None) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()

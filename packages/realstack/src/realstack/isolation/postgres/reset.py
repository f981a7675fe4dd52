"""The default isolation: one database a worker, put back after each test by one call to a function in it.

Only what the test wrote is put back; when that cannot be (the catalogue was changed) the database is replaced by a
fresh copy of the template under the same name, so that every DSN stays good.
"""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import Leak, ResetOutcome
from realstack.errors import IsolationUnavailable, ServerUnreachable, SqlFailed
from realstack.isolation.postgres._database import Answer, Present, TrackedDatabase, failed
from realstack.isolation.postgres._replay import LevelRows, read_levels, write_levels
from realstack.isolation.postgres._session import open_session
from realstack.isolation.postgres.baseline import Baseline, BaselineStack
from realstack.isolation.postgres.clone import ClonePool, copy_as_template
from realstack.isolation.postgres.sessions import Sessions
from realstack.isolation.postgres.shared import SharedState, Unwatched
from realstack.isolation.postgres.verify import Snapshot, Verifier, differences

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint
    from realstack.services.postgres.wire import Connection

#: Calls to the server before a clone is taken instead: each ends what was in the way of the one before.
_ATTEMPTS: Final = 6
_IN_THE_WAY: Final = ("55P03", "40P01", "40001", "57014")  # lock timeout, deadlock, serialisation, cancelled
#: Resets between two rounds of VACUUM over what was put back (1 ms), so that tables stay as small as they were.
_VACUUM_EVERY: Final = 100


class ResetIsolation:
    """Puts the tables a test wrote back to their baseline rows, and everything else it moved.

    Not reset, since no server lets anyone: what a connection that lives on keeps to itself (SET, temporary tables,
    prepared statements, LISTEN). Isolation ``clone`` ends such connections.
    """

    def __init__(
        self,
        endpoint: "Endpoint",
        *,
        pool: ClonePool,
        ours: bool = True,
        grace_s: float = 0.1,
        verifying: bool = False,
        spare: Callable[[int], bool] = lambda _port: False,
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connect to a worker's database and note its state.

        Args:
            endpoint: a database cloned from the pool's template, at its baseline; the user is a superuser.
            pool: where fresh copies come from; stays the caller's.
            ours: the server was started by this run, so that its settings may be put back.
            grace_s: seconds that a client which is closing, or a transaction which is ending, is waited for before it
                counts as left behind.
            verifying: ``verify`` will be called: note what it compares with whenever a baseline is pushed.
            spare: true for the client's TCP port of a connection that is no leak (the app's pool grew).
            alone: false while another process has a database on this server, connected at the moment or not.

        Raises:
            ServerUnreachable: nobody answers.
            SqlFailed: tracking is not installed there, or the user is no superuser.
        """
        self._endpoint, self._ours, self._grace_s, self._alone = endpoint, ours, grace_s, alone
        self._stack = BaselineStack(pool)
        self._known, self._is_known = Present(), False
        self._verifier: Verifier | None = None
        self._written: set[str] = set()
        self._resets, self._verifying, self._spare = 0, verifying, spare
        self._answer = failed("no reset yet")
        self._snapshots: dict[int, Snapshot] = {}
        self._open(None)
        self._expected = Unwatched.parse(self._database.unwatched())

    def begin(self, test: str) -> None:  # noqa: ARG002  # the promise names the test; the server needs no name
        """Note who is connected, and holds which advisory locks, before *test*.

        Right after a reset that met nobody new there is nothing to ask: who was known before is known still.
        """
        if not self._is_known:
            self._known = self._database.begin()
        self._is_known = False

    def reset(self) -> ResetOutcome:
        """Put the database back to the innermost baseline and say what that took."""
        return self._finish(renew=False)

    def renew(self) -> ResetOutcome:
        """Replace the database by a fresh copy of the innermost baseline, which ends every session in it."""
        return self._finish(renew=True)

    @property
    def written(self) -> tuple[str, ...]:
        """The tables that the last reset found written."""
        return () if self.catalogue_changed else self._answer.written

    @property
    def catalogue_changed(self) -> bool:
        """Whether the last reset found the catalogue changed."""
        return self._answer.state == "ddl"

    def push(self, name: str) -> None:
        """Make the present state the baseline, on top of the others.

        When the catalogue was changed on the way, a copy of the database is made, which needs everybody else to be
        disconnected; while somebody is, the baseline holds for tests that leave the catalogue alone.
        """
        level = self._stack.next_level
        if self._database.push(level):
            self._stack.push(Baseline(name, level))
        else:
            self._push_with_catalogue(name, level)
        found = Unwatched.parse(self._database.unwatched())
        if found.shared != self._expected.shared:
            self._shared.note()
        self._expected = found
        self._snapshots.pop(level, None)
        if self._verifying:
            self._snapshots[level] = self._snapshot(None)

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and put back the one below.

        Raises:
            BaselineUnknown: there is none of that name.
        """
        taken = self._stack.pop(name)
        if any(baseline.changes_catalogue for baseline in taken):
            bottom = next(baseline for baseline in reversed(taken) if baseline.changes_catalogue)
            self._replace(bottom.below)
            taken = taken[taken.index(bottom) + 1 :]
        for baseline in taken:
            self._database.pop(baseline.level)
        self.reset()

    def verify(self) -> tuple[str, ...]:
        """Compare the whole database with the innermost baseline; a line for each difference.

        The template's baseline is read from a fresh copy of it, which shares nothing with what a reset did.
        """
        level = self._stack.next_level - 1
        if level not in self._snapshots:
            if level:
                raise IsolationUnavailable(strategy="reset", reason="a baseline was pushed with verifying=False")
            self._snapshots[0] = self._pristine()
        baseline = self._snapshots[level]
        now = self._snapshot(baseline)
        return differences(baseline, now, compare_roles=baseline.roles != now.roles and self._shared.is_alone())

    def close(self) -> None:
        """Disconnect; the database stays."""
        self._database.close()
        self._stack.close()

    def _snapshot(self, like: Snapshot | None) -> Snapshot:
        if self._verifier is None:
            self._verifier = Verifier(self._session)
        return self._verifier.snapshot(like)

    def _pristine(self) -> Snapshot:
        pool = self._stack.bottom
        name = f"{pool.stem}_pristine_{self._database.home}"
        try:
            with open_session(pool.take(name)) as session:
                return Verifier(session).snapshot()
        finally:
            pool.drop(name)

    # --- one reset ----------------------------------------------------------------------------------------------------

    def _finish(self, *, renew: bool) -> ResetOutcome:
        began = SYSTEM_CLOCK.now_s()
        leaks: list[Leak] = []
        try:
            answer = self._put_back(leaks)
        except (SqlFailed, ServerUnreachable) as error:
            answer = self._recovered(error, leaks)
        self._answer = answer
        if answer.state != "done" or renew:
            self._rebuild(leaks)
        rebuilt = answer.state != "done" or renew
        reason = _reason(answer)
        if self._settle_unwatched(answer, leaks, rebuilt=rebuilt):
            rebuilt, reason = True, reason or "its event triggers, its own settings or its large objects were changed"
        self._tidy(answer)
        self._is_known = not (rebuilt or answer.strangers or leaks)
        return ResetOutcome(
            strategy="clone" if rebuilt else "reset",
            seconds=SYSTEM_CLOCK.now_s() - began,
            leaks=tuple(leaks),
            changed=answer.written + answer.moved,
            reason=reason,
        )

    def _put_back(self, leaks: list[Leak]) -> Answer:
        for attempt in range(_ATTEMPTS):
            try:
                answer = self._database.reset(self._known)
            except SqlFailed as error:
                if error.sqlstate not in _IN_THE_WAY or attempt == _ATTEMPTS - 1:
                    raise
                # whoever is in the way has a transaction open: the next answer names it, however old it is
                self._known = dataclasses.replace(self._known, transactions="{}")
                continue
            if answer.state == "busy":
                leaks += self._sessions.settle(answer.busy)
            elif answer.state == "prepared":
                leaks += self._roll_back_prepared()
            elif answer.state == "done" and (found := self._end_left_behind(answer)):
                leaks += found  # until they were ended they could write: look once more
            else:
                return answer
        return failed("somebody kept a lock on what was to be put back")

    def _end_left_behind(self, answer: Answer) -> list[Leak]:
        leaks = self._sessions.dismiss(answer.strangers) if answer.strangers else []
        if new_locks := answer.locks - self._known.locks:
            gone = set(answer.strangers) - self._sessions.spared(answer.strangers)
            leaks += self._sessions.end_lock_holders(lock for lock in new_locks if lock.partition(":")[0] not in gone)
        return leaks

    def _roll_back_prepared(self) -> list[Leak]:
        found = self._database.prepared()
        self._database.free()
        return [Leak(service="postgres", kind="prepared transaction", what=f"{gid!r} of {who}") for gid, who in found]

    def _recovered(self, error: SqlFailed | ServerUnreachable, leaks: list[Leak]) -> Answer:
        """Go on after a failed call: a test may have ended our session, crashed the server, dropped what we need."""
        try:
            self._database.close()
            self._open(self._shared)
            if isinstance(error, ServerUnreachable) or error.sqlstate.startswith("57P"):
                if self._database.survived():
                    return self._put_back(leaks)
                error = ServerUnreachable(service="postgres", url=self._endpoint.safe_url, reason="the server crashed")
        except SqlFailed as second:
            error = second
        return failed(_first_line(error))

    def _settle_unwatched(self, answer: Answer, leaks: list[Leak], *, rebuilt: bool) -> bool:
        """Put back what no event trigger sees; return whether that took a fresh copy."""
        found = Unwatched.parse(self._database.unwatched() if rebuilt else answer.unwatched)
        if found == self._expected:
            self._shared.unchanged_until = answer.lsn or self._shared.unchanged_until
            return False
        if found.large_objects != self._expected.large_objects and self._expected.large_objects == "0":
            self._session.query("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
            found = Unwatched.parse(self._database.unwatched())
        renew = found.own != self._expected.own and not rebuilt
        if renew:
            self._rebuild(leaks)
        if found.shared != self._expected.shared:
            self._stack.pool.wait()  # a role cannot be dropped while a database that knows it is
            leaks += self._shared.put_back()
        now = Unwatched.parse(self._database.unwatched())
        if now.own != self._expected.own and not any(baseline.incomplete for baseline in self._stack.replayed):
            leaks.append(Leak(service="postgres", kind="catalogue", what=_NOT_THE_TEMPLATES))
        self._expected = now
        return renew

    def _tidy(self, answer: Answer) -> None:
        self._resets += 1
        if answer.state != "done":  # then it tells what DDL was run, and the database is a fresh copy
            self._written.clear()
            return
        self._written.update(answer.written)
        if self._resets % _VACUUM_EVERY == 0:
            for table in ("realstack.dirty", *sorted(self._written)):
                self._session.query(f"VACUUM {table}")
            self._written.clear()

    # --- connection and replacement -----------------------------------------------------------------------------------

    @property
    def _session(self) -> "Connection":
        return self._database.session

    def _open(self, noted: SharedState | None) -> None:
        self._database = TrackedDatabase(self._endpoint, ours=self._ours)
        self._sessions = Sessions(self._database.session, grace_s=self._grace_s, spare=self._spare)
        self._verifier = None
        self._shared = SharedState(
            self._database.session, self._database.home, ours=self._ours, alone=self._alone, old=noted
        )

    def _rebuild(self, leaks: list[Leak]) -> None:
        """Put a fresh copy of the innermost baseline in the place of the database."""
        incomplete = [baseline for baseline in self._stack.replayed if baseline.incomplete]
        if incomplete:
            what = f"baseline {incomplete[-1].name!r} is lost: {incomplete[-1].incomplete}"
            leaks.append(Leak(service="postgres", kind="catalogue", what=what))
        levels: tuple[LevelRows, ...] = ()
        try:
            levels = read_levels(self._session, (baseline.level for baseline in self._stack.replayed))
        except (SqlFailed, ServerUnreachable) as error:
            if self._stack.replayed:
                what = f"baselines {[b.name for b in self._stack.replayed]} are lost: {_first_line(error)}"
                leaks.append(Leak(service="postgres", kind="catalogue", what=what))
        self._replace(levels)

    def _replace(self, levels: tuple[LevelRows, ...]) -> None:
        with suppress(SqlFailed, ServerUnreachable):  # session or database gone: then nothing of it is in the way
            self._database.free()
        self._database.close()
        self._stack.pool.replace(self._endpoint.database or "")
        self._open(self._shared)
        write_levels(self._database, levels)
        self._known = self._database.begin()

    def _push_with_catalogue(self, name: str, level: int) -> None:
        below = read_levels(self._session, (baseline.level for baseline in self._stack.replayed))
        self._database.reinstall()
        self._database.close()
        pool, incomplete = copy_as_template(self._stack.pool, self._endpoint.database or "", timeout_s=self._grace_s)
        self._open(self._shared)
        self._stack.push(Baseline(name, level, pool=pool, incomplete=incomplete, changes_catalogue=True, below=below))


_NOT_THE_TEMPLATES: Final = "database settings, event triggers or large objects differ from the template's for good"


def _reason(answer: Answer) -> str:
    if answer.state == "done":
        return ""
    if answer.state == "ddl":
        return "the catalogue was changed: " + (", ".join(answer.written[:3]) or "DDL")
    if answer.state == "stale":
        return "a materialised view was refreshed and its baseline content cannot be computed again"
    return answer.state


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

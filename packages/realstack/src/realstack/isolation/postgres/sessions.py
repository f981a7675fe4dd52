"""Sessions a test left behind: waited for shortly, then told, then ended, before anything is put back."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

from realstack._core.waiting import Late, NotReady, wait_until
from realstack.abc import Leak

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

T = TypeVar("T")
_STATEMENT_LENGTH: Final = 120
_END_TIMEOUT_S: Final = 5.0
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'?")
_ABOUT: Final = """
SELECT pid, application_name, usename, coalesce(host(client_addr) || ':' || client_port, 'a local socket'), state,
    query, round(extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::numeric, 2)
FROM pg_stat_activity WHERE pid = ANY ($1::int[])
"""


class Sessions:
    """The other sessions of one database, seen from the kit's."""

    def __init__(
        self, session: "Connection", *, grace_s: float, spare: Callable[[int], bool] = lambda _port: False
    ) -> None:
        self._session, self._grace_s, self._spare = session, grace_s, spare

    def settle(self, pids: Iterable[str]) -> list[Leak]:
        """Wait until the transactions that *pids* have open now are over; end the sessions whose are not."""
        open_now = self._transactions(pids)
        stuck = self._left_after_grace(lambda: open_now & self._transactions(pids))
        return self._end("transaction", {pid for pid, _ in stuck})

    def dismiss(self, pids: Iterable[str]) -> list[Leak]:
        """Wait until the sessions *pids* are gone, as those of closed clients are soon; end the others.

        Those to be spared stay, and are not waited for: an app's pool grows when it likes.
        """
        strangers = set(pids) - self.spared(pids)
        return self._end("connection", self._left_after_grace(lambda: self._present(strangers))) if strangers else []

    def end_lock_holders(self, locks: Iterable[str]) -> list[Leak]:
        """End the sessions that hold advisory *locks* (``pid:class:object:sub:mode``) which a test took and kept."""
        by_pid: dict[str, list[str]] = {}
        for lock in locks:
            pid, _, key = lock.partition(":")
            by_pid.setdefault(pid, []).append(_lock_name(key))
        leaks = []
        for pid, names in by_pid.items():
            leaks += self._end("lock", {pid}, remark=f"holds advisory lock {', '.join(sorted(names))}; ")
        return leaks

    def _left_after_grace(self, find: Callable[[], set[T]]) -> set[T]:
        def gone() -> None:
            if left := find():
                raise NotReady(str(left))

        try:
            wait_until(gone, timeout_s=self._grace_s, pause_s=0.0002, max_pause_s=0.01)
        except Late:
            return find()
        return set()

    def _transactions(self, pids: Iterable[str]) -> set[tuple[str, str]]:
        rows = self._session.query(
            "SELECT pid, xact_start FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid = ANY ($1::int[])",
            _array(pids),
        )
        return {(pid or "", start or "") for pid, start in rows}

    def _present(self, pids: Iterable[str]) -> set[str]:
        rows = self._session.query("SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1::int[])", _array(pids))
        return {pid for (pid,) in rows if pid}

    def spared(self, pids: Iterable[str]) -> set[str]:
        """Return those of *pids* that are not the test's."""
        rows = self._session.query(
            "SELECT pid, client_port FROM pg_stat_activity WHERE client_port > 0 AND pid = ANY ($1::int[])",
            _array(pids),
        )
        return {pid for pid, port in rows if pid and port and self._spare(int(port))}

    def _end(self, kind: str, pids: set[str], *, remark: str = "") -> list[Leak]:
        if not pids:
            return []
        rows = self._session.query(_ABOUT, _array(pids))
        self._session.query("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", _array(pids))

        def gone() -> None:
            if left := self._present(pids):
                raise NotReady(f"session(s) {sorted(left)} do not end")

        wait_until(gone, timeout_s=_END_TIMEOUT_S, pause_s=0.0002)
        return [Leak(service="postgres", kind=kind, what=remark + _described(row)) for row in rows]


def trimmed(statement: str) -> str:
    """Return *statement* on one line, shortened, with every string in it masked: one may be a password."""
    line = _LITERAL.sub("'***'", " ".join(statement.split()))
    return line if len(line) <= _STATEMENT_LENGTH else line[: _STATEMENT_LENGTH - 3] + "..."


def _described(row: tuple[str | None, ...]) -> str:
    pid, name, user, client, state, statement, age_s = row
    who = repr(name) if name else "a client without application_name"
    last = f", last statement: {trimmed(statement)}" if statement else ""
    return f"{who} (pid {pid}, user {user}, from {client}): {state or 'starting'} for {age_s} s{last}"


def _lock_name(key: str) -> str:
    high, low, sub, _ = key.split(":")
    return f"({high}, {low})" if sub == "2" else str((int(high) << 32) + int(low))


def _array(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"

"""Named sessions: connections that stay between requests, with their temporary tables, SETs and current database."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from . import request
from .engine import Connection, Engine, named, quoted
from .errors import Failure


@dataclasses.dataclass(eq=False, kw_only=True)
class NamedSession:
    """One client's state on the engine."""

    connection: Connection
    #: The database of the first request; a reset of that database ends the session.
    home: str
    #: The database the session is in when a request names none.
    base: str = "default"
    active: str = "default"
    busy: bool = True
    expires: float = 0.0
    #: It was opened, or given a state of its own (SET, USE, temporary table), since its home was last put back.
    is_stained: bool = True
    #: What to SET a setting back to after a request that brought its own value; forgotten when the session SETs any.
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


class Sessions:
    """All named sessions, by user and id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], NamedSession] = {}

    @contextlib.contextmanager
    def borrow(self, user: str, wanted: request.Session, *, home: str) -> Iterator[NamedSession]:
        """Give one request the session it named.

        Raises:
            Failure: another request is using it (373), or it had to exist and does not (372).
        """
        key = (user, wanted.id)
        session = self._take(key, wanted, home)
        try:
            yield session
        finally:
            with self._lock:
                session.busy = False
                session.expires = time.monotonic() + wanted.timeout_s
                if wanted.ends and self._open.get(key) is session:
                    del self._open[key]
            if self._open.get(key) is not session:
                session.connection.close()

    def _take(self, key: tuple[str, str], wanted: request.Session, home: str) -> NamedSession:
        self.expire()
        with self._lock:
            session = self._open.get(key)
            if session is not None and session.busy:
                raise Failure(373, f"Session {wanted.id} is locked by a concurrent client", "SESSION_IS_LOCKED")
            if session is None:
                if wanted.must_exist:
                    raise Failure(372, f"Session {wanted.id} not found", "SESSION_NOT_FOUND")
                session = self._open[key] = NamedSession(connection=self._engine.connect(), home=home)
            session.busy = True
            return session

    def expire(self) -> None:
        """Close the sessions whose time is over."""
        now = time.monotonic()
        self._close(lambda session: session.expires < now)

    def end_stained(self, home: str) -> int:
        """Close the sessions of *home* that have a state to be put back; return how many."""
        return self._close(lambda session: session.home == home and session.is_stained)

    def settle(self, home: str) -> None:
        """Take the present state of the sessions of *home* as the one to keep."""
        with self._lock:
            for session in self._open.values():
                if session.home == home:
                    session.is_stained = False

    def _close(self, unwanted: Callable[[NamedSession], bool]) -> int:
        with self._lock:
            gone = [key for key, session in self._open.items() if not session.busy and unwanted(session)]
            closing = [self._open.pop(key) for key in gone]
        for session in closing:
            session.connection.close()
        return len(closing)


@contextlib.contextmanager
def settings_for_one_query(session: NamedSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Give *session* the settings of one request and take them back: in ClickHouse they belong to the query."""
    if settings:
        _remember(session, settings)
    try:
        if settings:
            session.connection.set(settings)
        yield
    finally:
        for name in settings:
            with contextlib.suppress(Failure):  # a setting that was refused was not changed
                session.connection.run(f"SET {name} = {session.settings.get(name, 'DEFAULT')}")


def _remember(session: NamedSession, settings: Mapping[str, str]) -> None:
    """Look up what the session itself has set; 3 ms, so only once for each setting."""
    new = [name for name in settings if name not in session.settings]
    if not new:
        return
    names = ", ".join(quoted(name) for name in new)
    sql = f"SELECT name, changed ? value : '' FROM system.settings WHERE name IN ({names}) AND changed"  # noqa: S608  # quoted
    known = dict(line.split("\t", 1) for line in session.connection.column(sql))
    session.settings.update({name: quoted(known[name]) if name in known else "DEFAULT" for name in new})


def enter_database(session: NamedSession, wanted: str) -> None:
    """Make *wanted*, or the session's own database, the current one."""
    database = wanted or session.base
    if session.active != database:
        session.connection.run(f"USE {named(database)}")
        session.active = database


def note_state_change(session: NamedSession, words: list[bytes]) -> None:
    """Follow what a statement that starts with *words* did to the session itself."""
    session.is_stained = True
    match words[0].upper() if words else b"":
        case b"USE":
            session.base = session.active = session.connection.value("SELECT currentDatabase()")
        case b"SET":
            session.settings.clear()

"""A database of its own for a test: copies of a template, kept warm, renamed when one is wanted.

Copying costs 10 ms and dropping 4; renaming costs 0.2. So copies are made and dropped in a thread, and handing one out
is a rename.
"""

import os
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from realstack.errors import RealstackError, TemplateBusy, TemplateMissing
from realstack.isolation.postgres._session import quoted
from realstack.isolation.postgres.template import (
    copy_database,
    drop_database,
    end_sessions,
    is_finished,
    rename_database,
)
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_COPY_TIMEOUT_S: Final = 10.0


class ClonePool:
    """Copies of one template, made before they are asked for.

    Not shared between threads, except with its own.
    """

    def __init__(
        self,
        admin: "Endpoint",
        template: str,
        *,
        size: int = 2,
        eager: bool = True,
        owns_template: bool = False,
        stem: str = "realstack",
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Remember what to copy; connections are opened, and copies made, when they are needed.

        Args:
            admin: server to connect to, by a database that is never cloned or renamed; its user needs CREATEDB.
            template: a finished template.
            size: copies kept ready.
            eager: make them now; otherwise from the first ``take`` on, so that a run that needs none pays for none.
            owns_template: drop the template when the pool is closed.
            stem: what the names of its copies begin with; on a server that is not ours they are cleaned up by it.
            ready: called before the template is first touched; returns when it can be.
        """
        if size < 1:
            raise ValueError(f"size={size!r} must be at least 1")
        self.admin = admin if admin.database else admin.with_database("postgres")
        self.template = template
        self.stem, self.await_ready = stem, ready
        self._size, self._owns_template = size, owns_template
        self._names = _Names(stem)
        self._ready: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[Callable[[Connection], None] | None] = queue.SimpleQueue()
        self._asked = 0
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        if eager:
            self._refill()

    def take(self, name: str) -> "Endpoint":
        """Give a fresh copy the name *name*, which nobody has, and return where it lives.

        Raises:
            TemplateMissing: there is no finished template of that name.
        """
        fresh = self._fresh()
        rename_database(self.connection, fresh, name)
        self._refill()
        return self.admin.with_database(name)

    def replace(self, name: str) -> "Endpoint":
        """Put a fresh copy in the place of the database *name*; whoever is connected there is disconnected.

        The old one is dropped in the background.

        Raises:
            TemplateBusy: a session could not be ended.
        """
        fresh = self._fresh()
        end_sessions(self.connection, name)
        trash = self._names.next("trash")
        if self.connection.query("SELECT FROM pg_database WHERE datname = $1", name):  # a test may have dropped it
            rename_database(self.connection, name, trash)
            self.drop(trash)
        rename_database(self.connection, fresh, name)
        self._refill()
        return self.admin.with_database(name)

    def warm(self) -> None:
        """Have copies made in the background until enough are ready."""
        self._refill()

    def drop(self, name: str) -> None:
        """Drop the database *name* in the background."""
        self._in_background(lambda _: drop_database(self.admin, name))

    def wait(self) -> None:
        """Return when everything asked for in the background so far is done."""
        if self._thread:
            done = threading.Event()
            self._in_background(lambda _: done.set())
            done.wait()

    def close(self) -> None:
        """End the thread and drop the copies nobody took."""
        self._in_background(None)
        if self._thread:
            self._thread.join()
        while not self._ready.empty():
            drop_database(self.admin, self._ready.get())
        if self._owns_template:
            drop_database(self.admin, self.template)
        if self._connection:
            self._connection.close()
            self._connection = None

    @property
    def connection(self) -> Connection:
        """The pool's own connection for the foreground."""
        if self._connection is None:
            self.await_ready()
            self._connection = Connection(self.admin)
            if not is_finished(self._connection, self.template):
                raise TemplateMissing(template=self.template, server=self.admin.safe_url)
        return self._connection

    def _fresh(self) -> str:
        try:
            name = self._ready.get_nowait()
        except queue.Empty:
            return self._copy(self.connection)
        self._asked -= 1
        return name

    def _copy(self, connection: Connection) -> str:
        name = self._names.next("warm")
        copy_database(connection, self.template, name, timeout_s=_COPY_TIMEOUT_S)
        return name

    def _refill(self) -> None:
        while self._asked < self._size:
            self._asked += 1
            self._in_background(lambda connection: self._ready.put(self._copy(connection)))

    def _in_background(self, work: Callable[[Connection], None] | None) -> None:
        if self._thread is None and work is not None:
            self._thread = threading.Thread(target=self._run, name="realstack clones", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _run(self) -> None:
        self.await_ready()
        with Connection(self.admin) as connection:
            while work := self._work.get():
                try:
                    work(connection)
                except RealstackError:
                    continue  # one copy fewer in stock: ``take`` makes one itself and raises what stands in the way


def copy_as_template(pool: ClonePool, name: str, *, timeout_s: float) -> tuple[ClonePool | None, str]:
    """Make a template of the database *name* as it is, and return a pool of its copies.

    Returns:
        The pool, which also drops the template when it is closed; or ``None`` and the reason, when somebody stayed
        connected for *timeout_s* seconds.
    """
    template = _Names(pool.stem).next("level")
    try:
        copy_database(pool.connection, name, template, timeout_s=timeout_s)
    except TemplateBusy as busy:
        return None, f"{busy.sessions} session(s) were connected when its catalogue was to be copied"
    pool.connection.query(f"ALTER DATABASE {quoted(template)} IS_TEMPLATE true ALLOW_CONNECTIONS false")
    return ClonePool(pool.admin, template, size=1, eager=False, owns_template=True, stem=pool.stem), ""


class _Names:
    """Database names nobody else on this server has: process, a random part, a number."""

    def __init__(self, stem: str) -> None:
        self._stem, self._own = stem, f"{os.getpid()}_{os.urandom(4).hex()}"
        self._count = 0

    def next(self, kind: str) -> str:
        self._count += 1
        return f"{self._stem}_{kind}_{self._own}_{self._count}"

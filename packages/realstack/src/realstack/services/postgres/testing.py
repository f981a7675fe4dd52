"""What the fixture ``real_postgres`` gives: this test's own database, asked through asyncpg.

It is made outside of any event loop and connects on first use in the loop that runs then; each loop has connections of
its own. Values come back as asyncpg gives them: JSON and JSONB as text.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.errors import DriverMissing, LoopChanged, SchemaFileFailed, ServerUnreachable
from realstack.services.endpoint import mask_url
from realstack.services.loops import PerLoop
from realstack.services.postgres._connections import Connections
from realstack.services.postgres._shared_connection import SharedConnection

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[Any]
    Record = asyncpg.Record

#: What the server's own lists call these connections.
APPLICATION_NAME = "realstack"

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('information_schema', 'realstack') AND n.nspname !~ '^pg_'
  AND NOT c.relname = ANY($1) AND NOT n.nspname || '.' || c.relname = ANY($1)
ORDER BY 1
"""


class Postgres:
    """One database, for as long as a test lasts.

    Calls that follow each other use the same connection; calls that overlap (``asyncio.gather``) each get one of their
    own, up to *max_size*. ``connection()`` and ``transaction()`` give a connection to their block alone: calls on this
    object inside the block run beside it, not in it.

    Args:
        dsn: what other clients connect with; holds the password.
        socket_dsn: the same database over a Unix socket, which is quicker; used for the connections made here.
        min_size: connections that ``get_pool`` opens at once.
        max_size: connections an event loop may have open.
        single_connection: everything on one connection, inside one transaction that is rolled back at the end;
            ``transaction()`` is a savepoint then, and calls inside its block run in it.
        timeout_s: seconds to wait for a connection.
        reset: puts the database back to its baseline; what ``reset_database`` calls.
    """

    def __init__(
        self,
        dsn: str,
        *,
        socket_dsn: str | None = None,
        min_size: int = 0,
        max_size: int = 10,
        single_connection: bool = False,
        timeout_s: float = 10.0,
        reset: Callable[[], object] | None = None,
    ) -> None:
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError(
                f"min_size={min_size!r} and max_size={max_size!r} must be in order, and max_size at least 1"
            )
        self.dsn = dsn
        self._connect_dsn = socket_dsn or dsn
        self._min_size, self._max_size, self._timeout_s = min_size, max_size, timeout_s
        self._single = single_connection
        self._reset = reset
        self._shared_is_open = False
        self._loops = PerLoop(self._make_connections, close=Connections.close, cut=Connections.cut)
        self._shared = PerLoop(self._make_shared, close=SharedConnection.close, cut=SharedConnection.cut)

    def __repr__(self) -> str:
        return f"<Postgres {mask_url(self.dsn)}>"

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run *query* and return its status: ``INSERT 0 1``; without *args* it may be several statements."""
        status: str = await self._call("execute", query, *args, timeout=timeout)
        return status

    async def executemany(
        self, command: str, args: Iterable[Sequence[object]], *, timeout: float | None = None
    ) -> None:
        """Run *command* once for each of *args*, all or nothing."""
        await self._call("executemany", command, args, timeout=timeout)

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> "list[Record]":
        """Return all rows of *query*; its parameters are ``$1``, ``$2`` ..."""
        rows: list[Record] = await self._call("fetch", query, *args, timeout=timeout)
        return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> "Record | None":
        """Return the first row of *query*, or ``None``."""
        row: Record | None = await self._call("fetchrow", query, *args, timeout=timeout)
        return row

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """Return one value of the first row of *query*, or ``None``."""
        return await self._call("fetchval", query, *args, column=column, timeout=timeout)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        """Give the block an asyncpg connection of its own; what it leaves open is undone afterwards."""
        if self._single:
            # the same calls, on the one connection there is
            yield self._shared.get()  # type: ignore[misc]
            return
        connections = self._loops.get()
        connection = await connections.take(for_block=True)
        try:
            yield connection
        finally:
            await connections.give_clean(connection)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["Connection"]:
        """Give the block a connection inside a transaction: committed at its end, rolled back when it raises."""
        if self._single:
            async with self._shared.get().transaction() as shared:
                yield shared  # type: ignore[misc]  # as in connection()
            return
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def ensure_available(self) -> None:
        """Return when the database answers.

        Raises:
            ServerUnreachable: it does not; the password is masked.
        """
        await self.fetchval("SELECT 1")

    async def get_pool(self) -> "asyncpg.Pool[Any]":
        """Return an asyncpg pool of the running loop, for code that wants one; it is closed with this object."""
        connections = self._loops.get()
        if connections.pool is None:
            connections.pool = await _driver().create_pool(
                self._connect_dsn,
                min_size=self._min_size,
                max_size=self._max_size,
                timeout=self._timeout_s,
                server_settings={"application_name": APPLICATION_NAME},
            )
        return connections.pool

    async def reset_database(self, preserve_tables: Sequence[str] | None = None) -> None:
        """Put the database back to its baseline, in the middle of a test.

        With *preserve_tables*, or where there is no baseline, every table but those is emptied instead; one that a
        preserved table refers to is refused by PostgreSQL, since preserved rows would be lost with it.
        """
        if self._reset is not None and preserve_tables is None:
            # what is open now would be taken for something the test left behind
            await self.close()
            await asyncio.to_thread(self._reset)
            return
        tables = [row[0] for row in await self.fetch(_TABLES, list(preserve_tables or ()))]
        if tables:
            await self.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")

    async def load_test_schema(self, path: str | Path) -> None:
        """Run the SQL file *path*, or every ``*.sql`` of the folder *path* in the order of their names.

        Raises:
            SchemaFileFailed: PostgreSQL refused a statement; names the file and the line.
            FileNotFoundError: there is no such file, or no ``*.sql`` in the folder.
        """
        path = Path(path)
        texts = await asyncio.to_thread(_read_schema, path)
        for file, text in texts:
            try:
                await self.execute(text)
            except _driver().PostgresError as error:
                raise _schema_failure(file, text, error) from error

    async def close(self) -> None:
        """Close every connection; in single-connection mode, roll everything back."""
        self._shared_is_open = False
        await self._shared.close()
        await self._loops.close()

    def terminate(self) -> None:
        """Close every connection from outside of their loops, which may be closed already; for teardown."""
        self._shared_is_open = False
        self._shared.terminate()
        self._loops.terminate()

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        if self._single:
            return await getattr(self._shared.get(), method)(*args, **options)
        connections = self._loops.get()
        connection = connections.take_kept() or await connections.take()
        doubt = True
        try:
            result = await getattr(connection, method)(*args, **options)
            doubt = False
        except Exception as error:
            # an error with a code is a whole reply of the server's
            doubt = getattr(error, "sqlstate", None) is None
            raise
        finally:
            connections.give(connection, doubt=doubt)
        return result

    async def _connect(self) -> "Connection":
        asyncpg = _driver()
        try:
            connection: Connection = await asyncpg.connect(
                self._connect_dsn, timeout=self._timeout_s, server_settings={"application_name": APPLICATION_NAME}
            )
        except (OSError, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(service="PostgreSQL", url=mask_url(self.dsn), reason=reason) from error
        return connection

    def _make_connections(self) -> Connections:
        return Connections(self._connect, max_size=self._max_size, timeout_s=self._timeout_s)

    def _make_shared(self) -> SharedConnection:
        # once its loop is gone, so is what was written in it
        if self._shared_is_open:
            raise LoopChanged(what="this database (isolation = 'transaction')")
        self._shared_is_open = True
        return SharedConnection(self._connect, timeout_s=self._timeout_s)


@functools.cache
def _driver() -> Any:
    """Return the module asyncpg; imported here, since it takes 70 ms."""
    try:
        import asyncpg
    except ModuleNotFoundError as error:
        raise DriverMissing(package="asyncpg", extra="postgres") from error
    return asyncpg


def _read_schema(path: Path) -> list[tuple[Path, str]]:
    files = sorted(path.glob("*.sql")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"there is no *.sql in {str(path)!r}")
    return [(file, file.read_text(encoding="utf-8")) for file in files]


def _schema_failure(file: Path, text: str, error: Any) -> SchemaFileFailed:
    position = getattr(error, "position", None)
    line = text.count("\n", 0, int(position) - 1) + 1 if position else None
    return SchemaFileFailed(path=str(file), line=line, sqlstate=error.sqlstate or "", message=str(error))

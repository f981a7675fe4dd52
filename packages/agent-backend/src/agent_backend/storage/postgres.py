"""PostgreSQL for everything above: one asyncpg pool, transactions, typed errors.

JSON columns are handed over as text, without a codec: whoever owns a column knows how its values are written, and a
reader that only passes them on does not pay for parsing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import asyncpg

from agent_backend.errors import PoolExhausted, StorageClosed, WrongEventLoop
from agent_backend.storage.postgres_errors import POSTGRES_FAILURES, translate_postgres
from agent_backend.storage.urls import mask_url

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy
    from asyncpg.transaction import Transaction

    Pool = asyncpg.Pool[asyncpg.Record]
    Pooled = PoolConnectionProxy[asyncpg.Record]
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection

_SERVICE = "postgres"
IsolationLevel = Literal["read_committed", "repeatable_read", "serializable"]


class SqlExecutor(Protocol):
    """Something SQL can be given to: a pool, or one transaction."""

    async def fetch(self, sql: str, /, *args: Any) -> list[asyncpg.Record]: ...  # SQL parameters
    async def fetchrow(self, sql: str, /, *args: Any) -> asyncpg.Record | None: ...
    async def fetchval(self, sql: str, /, *args: Any) -> Any: ...
    async def execute(self, sql: str, /, *args: Any) -> str: ...


class _Connection(_Base):
    """A connection that is only reset between two users when one of them could have changed the session.

    asyncpg resets at every release, which costs a round trip: 267 against 150 microseconds for a one-row SELECT.
    """

    _session_used = False

    def note_session_used(self) -> None:
        self._session_used = True

    def get_reset_query(self) -> str:
        if not self._session_used:
            return ""
        self._session_used = False
        return super().get_reset_query()


class PostgresTransaction:
    """One transaction; every statement given to it is part of it."""

    def __init__(self, connection: "Pooled", database: "PostgresDatabase") -> None:
        self._connection = connection
        self._database = database

    async def fetch(self, sql: str, /, *args: object) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._ask("fetch", sql, args)
        return rows

    async def fetchrow(self, sql: str, /, *args: object) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await self._ask("fetchrow", sql, args)
        return row

    async def fetchval(self, sql: str, /, *args: object) -> Any:  # whatever the column holds
        return await self._ask("fetchval", sql, args)

    async def execute(self, sql: str, /, *args: object) -> str:
        status: str = await self._ask("execute", sql, args)
        return status

    async def executemany(self, sql: str, rows: Iterable[tuple[object, ...]], /) -> None:
        await self._ask("executemany", sql, (list(rows),))

    async def _ask(self, method: str, sql: str, args: tuple[object, ...]) -> Any:
        try:
            return await getattr(self._connection, method)(sql, *args)
        except POSTGRES_FAILURES as error:
            raise self._database.translate(error) from error


class _TransactionScope:
    """Takes a connection, begins; commits or rolls back, gives the connection back."""

    def __init__(self, database: "PostgresDatabase", isolation: IsolationLevel | None, *, read_only: bool) -> None:
        self._database, self._isolation, self._read_only = database, isolation, read_only
        self._connection: Pooled | None = None
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> PostgresTransaction:
        connection = await self._database.take()
        try:
            self._transaction = connection.transaction(isolation=self._isolation, readonly=self._read_only)
            await self._transaction.start()
        except POSTGRES_FAILURES as error:
            await self._database.give_back(connection)
            raise self._database.translate(error) from error
        except BaseException:
            await self._database.give_back(connection)
            raise
        self._connection = connection
        return PostgresTransaction(connection, self._database)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, transaction = self._connection, self._transaction
        if connection is None or transaction is None:
            return
        try:
            await (transaction.commit() if error is None else transaction.rollback())
        except POSTGRES_FAILURES as failure:
            # a rollback that fails has lost its connection and the transaction with it; the caller's error says more
            if error is None:
                raise self._database.translate(failure) from failure
        finally:
            await self._database.give_back(connection, is_clean=error is None)


class PostgresDatabase:
    """One database, reached through a pool that opens its connections as they are needed.

    Safe under cancellation: a cancelled call gives its connection back, and a reply that was under way is waited for or
    its connection closed before anyone else gets it.
    """

    def __init__(
        self,
        database_url: str,
        min_connections: int = 0,
        max_connections: int = 10,
        *,
        connect_timeout_s: float = 10.0,
        command_timeout_s: float = 60.0,
        acquire_timeout_s: float = 10.0,
        statement_cache_size: int = 200,
        application_name: str = "agent_backend",
    ) -> None:
        """Note where the database is; nothing is opened before ``connect`` or the first statement.

        Args:
            database_url: ``postgresql://user:password@host:port/database``.
            min_connections: opened at once and kept.
            max_connections: never more; who comes later waits *acquire_timeout_s* seconds.
            connect_timeout_s: seconds a new connection may take.
            command_timeout_s: seconds a statement may take.
            acquire_timeout_s: seconds to wait for a free connection.
            statement_cache_size: prepared statements kept per connection; 0 behind a pooler in transaction mode.
            application_name: what ``pg_stat_activity`` shows.
        """
        self._pool: Pool | None = None
        #: Connections taken from the pool and free: taking one of these is a pop, asyncpg's way costs two tasks.
        self._free: list[Pooled] = []
        self._waiting = 0
        self.max_connections = max_connections
        self._url = database_url
        self._min_connections = min_connections
        self._connect_timeout_s, self._command_timeout_s = connect_timeout_s, command_timeout_s
        self._acquire_timeout_s = acquire_timeout_s
        self._statement_cache_size = statement_cache_size
        self._application_name = application_name
        self._opening: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_use = 0
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<PostgresDatabase {self.safe_url}>"

    @property
    def safe_url(self) -> str:
        """Where it is, with the password masked."""
        return mask_url(self._url)

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the pool and prove that the server answers; returns at once when it is open.

        Raises:
            StorageUnavailable: nobody answers.
            LoginRefused: wrong password, user or database name.
        """
        self._is_closed = False
        await self._open_pool()
        await self.fetchval("SELECT 1")

    async def disconnect(self) -> None:
        """Close every connection, those in use after they are given back; safe to call twice."""
        pool, self._is_closed = self._pool, True
        if pool is None or pool.is_closing():
            return
        while self._free:
            await self._release(self._free.pop())
        # closing waits for connections in use, and terminates them when it is cut short
        with suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), self._acquire_timeout_s)
        self._pool, self._opening = None, None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def fetch(self, sql: str, /, *args: object) -> list[asyncpg.Record]:
        """Return every row of *sql*; parameters are ``$1``, ``$2`` ..."""
        rows: list[asyncpg.Record] = await self._ask("fetch", sql, args)
        return rows

    async def fetchrow(self, sql: str, /, *args: object) -> asyncpg.Record | None:
        """Return the first row of *sql*, None when there is none."""
        row: asyncpg.Record | None = await self._ask("fetchrow", sql, args)
        return row

    async def fetchval(self, sql: str, /, *args: object) -> Any:  # whatever the column holds
        """Return the first column of the first row of *sql*, None when there is none."""
        return await self._ask("fetchval", sql, args)

    async def execute(self, sql: str, /, *args: object) -> str:
        """Run *sql* and return the server's word for what it did: ``DELETE 3``."""
        status: str = await self._ask("execute", sql, args)
        return status

    async def executemany(self, sql: str, rows: Iterable[tuple[object, ...]], /) -> None:
        """Run *sql* once per row of parameters: all of them or none."""
        await self._ask("executemany", sql, (list(rows),))

    def transaction(self, *, isolation: IsolationLevel | None = None, read_only: bool = False) -> _TransactionScope:
        """Return a context that commits when its body ends and rolls back when its body raises.

        Args:
            isolation: None is the server's default.
            read_only: refuse writes.
        """
        return _TransactionScope(self, isolation, read_only=read_only)

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[Pooled]":
        """Lend one connection of asyncpg's own, for LISTEN, COPY and cursors; its session is reset afterwards."""
        lent = await self.take()
        try:
            lent.note_session_used()  # type: ignore[attr-defined]  # of _Connection, seen through asyncpg's proxy
            yield lent
        finally:
            await self.give_back(lent)

    # --- connections, for this module ---------------------------------------------------------------------------------

    async def take(self) -> "Pooled":
        """Return a connection that must be given back.

        Raises:
            PoolExhausted: none became free in time.
            StorageUnavailable: a new one could not be opened.
        """
        pool = self._pool
        if pool is None or self._is_closed or self._loop is not asyncio.get_running_loop():
            pool = await self._open_pool()
        # nothing is awaited between this look and asyncpg's queue: what is neither free here nor in use is in there
        while self._free:
            connection = self._free.pop()
            if _is_open(connection):
                self._in_use += 1
                return connection
        return await self._acquire(pool)

    async def give_back(self, connection: "Pooled", *, is_clean: bool = False) -> None:
        """Let the next one have *connection*.

        Args:
            connection: what ``take`` returned.
            is_clean: nothing was interrupted on it and its session is as it was, so that it need not be reset.
        """
        may_stay = is_clean and not (self._waiting or self._is_closed)
        try:
            if may_stay and _is_open(connection) and not connection.is_in_transaction():
                self._free.append(connection)
            else:
                await self._release(connection)
        finally:
            self._in_use -= 1

    def translate(self, error: Exception) -> Exception:
        """Return what to raise in place of asyncpg's *error*."""
        return translate_postgres(error, url=self.safe_url, timeout_s=self._command_timeout_s)

    async def _ask(self, method: str, sql: str, args: tuple[object, ...]) -> Any:
        connection = await self.take()
        is_clean = False
        try:
            answer = await getattr(connection, method)(sql, *args)
            is_clean = True
        except POSTGRES_FAILURES as error:
            raise self.translate(error) from error
        else:
            return answer
        finally:
            await self.give_back(connection, is_clean=is_clean)

    async def _acquire(self, pool: "Pool") -> "Pooled":
        # only who has to wait needs a timer; opening a connection has its own
        must_wait = self._in_use >= self.max_connections
        self._in_use += 1
        self._waiting += 1
        try:
            return await pool.acquire(timeout=self._acquire_timeout_s if must_wait else None)
        except BaseException as error:
            self._in_use -= 1
            if isinstance(error, TimeoutError) and must_wait:
                raise PoolExhausted(
                    service=_SERVICE, url=self.safe_url, size=self.max_connections, waited_s=self._acquire_timeout_s
                ) from error
            if isinstance(error, POSTGRES_FAILURES):
                raise self.translate(error) from error
            raise
        finally:
            self._waiting -= 1

    async def _release(self, connection: "Pooled") -> None:
        """Hand *connection* to asyncpg's pool, which waits for what was interrupted on it, resets it, or closes it."""
        # a release that fails has closed the connection, and what was asked of it has been answered
        with suppress(*POSTGRES_FAILURES):
            if self._pool is not None:
                await self._pool.release(connection)

    async def _open_pool(self) -> "Pool":
        if self._is_closed:
            raise StorageClosed(service=_SERVICE)
        loop = asyncio.get_running_loop()
        if self._pool is not None and self._loop is not loop:
            raise WrongEventLoop(service=_SERVICE)
        self._loop = loop
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._pool is None:
                self._pool = await self._new_pool()
            return self._pool

    async def _new_pool(self) -> "Pool":
        try:
            return await asyncpg.create_pool(
                self._url,
                min_size=self._min_connections,
                max_size=self.max_connections,
                connection_class=_Connection,
                timeout=self._connect_timeout_s,
                command_timeout=self._command_timeout_s,
                statement_cache_size=self._statement_cache_size,
                server_settings={"application_name": self._application_name},
            )
        except POSTGRES_FAILURES as error:
            raise self.translate(error) from error


def _is_open(connection: "Pooled") -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it closed while it lay there, and asyncpg's pool has taken it back
        return False

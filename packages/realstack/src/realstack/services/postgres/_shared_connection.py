"""One connection for everything, inside one transaction that is never committed: isolation ``transaction``.

Calls take turns. A statement that fails outside of a transaction of the test's own must not spoil those after it, as it
would not without the outer transaction: a savepoint follows every statement, and the next one returns to it first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from realstack.errors import ConnectionsExhausted, OuterTransactionEnded
from realstack.services.postgres._connections import cut_connection

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[Any]
    Record = asyncpg.Record

_IN_FAILED_TRANSACTION = "25P02"
_SAVE = "SAVEPOINT realstack_call"
_ADVANCE = f"RELEASE SAVEPOINT realstack_call; {_SAVE}"
_RETURN = "ROLLBACK TO SAVEPOINT realstack_call"


class SharedConnection:
    """An asyncpg connection that may be used by several tasks at once and never commits."""

    def __init__(self, connect: "Callable[[], Awaitable[Connection]]", *, timeout_s: float) -> None:
        self._connect, self._timeout_s = connect, timeout_s
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._block = asyncio.Lock()
        self._block_owner: asyncio.Task[Any] | None = None
        self._depth = 0
        self._failed = False

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        status: str = await self._call("execute", query, *args, timeout=timeout)
        return status

    async def executemany(
        self, command: str, args: Iterable[Iterable[object]], *, timeout: float | None = None
    ) -> None:
        await self._call("executemany", command, args, timeout=timeout)

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> "list[Record]":
        rows: list[Record] = await self._call("fetch", query, *args, timeout=timeout)
        return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> "Record | None":
        row: Record | None = await self._call("fetchrow", query, *args, timeout=timeout)
        return row

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        return await self._call("fetchval", query, *args, column=column, timeout=timeout)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["SharedConnection"]:
        """Run the block in a savepoint; blocks of several tasks take turns.

        Raises:
            ConnectionsExhausted: another task's block did not end within *timeout_s* seconds.
        """
        async with self._own_block():
            async with self._turn:
                connection = await self._ready()
                inner = connection.transaction()
                await inner.start()
                self._depth += 1
            try:
                yield self
            except BaseException:
                await asyncio.shield(self._leave(inner.rollback))
                raise
            else:
                await self._leave(inner.commit)

    async def close(self) -> None:
        """Roll everything back and close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # PostgreSQL rolls back what a connection leaves open
            await connection.close(timeout=2.0)

    def cut(self) -> None:
        """End the connection at once; its loop may be closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            cut_connection(connection)

    async def _call(self, method: str, query: str, *args: Any, **options: Any) -> Any:
        async with self._turn:
            connection = await self._ready()
            try:
                result = await getattr(connection, method)(query, *args, **options)
            except BaseException:
                self._failed = self._depth == 0
                raise
            if not connection.is_in_transaction():
                raise OuterTransactionEnded(statement=query)
            if self._depth == 0:
                # until it is through, the statement counts as not done
                self._failed = True
                await connection.execute(_ADVANCE)
                self._failed = False
            return result

    async def _ready(self) -> "Connection":
        connection = self._connection
        if connection is None:
            connection = await self._connect()
            await connection.transaction().start()
            await connection.execute(_SAVE)
            self._connection = connection
        if self._failed:
            await connection.execute(_RETURN)
            self._failed = False
        return connection

    async def _leave(self, end: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            self._depth -= 1
            try:
                await end()
            except Exception as error:
                # PostgreSQL takes the COMMIT of a failed transaction for a ROLLBACK and says nothing
                self._failed = self._depth == 0
                if self._failed and getattr(error, "sqlstate", "") == _IN_FAILED_TRANSACTION:
                    return
                raise
            if self._depth == 0 and self._connection is not None:
                await self._connection.execute(_ADVANCE)

    @contextlib.asynccontextmanager
    async def _own_block(self) -> AsyncIterator[None]:
        me = asyncio.current_task()
        if self._block_owner is me:
            yield
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._block.acquire()
        except TimeoutError as error:
            raise ConnectionsExhausted(service="PostgreSQL", max_size=1, waited_s=self._timeout_s) from error
        self._block_owner = me
        try:
            yield
        finally:
            self._block_owner = None
            self._block.release()

"""The connections that one event loop uses: one kept for simple calls, a few more when calls overlap.

A connection is in the hands of one call at a time, so that asyncpg never says "another operation is in progress". One
whose call was cancelled is asked for a sign of life before it serves again, so that no reply reaches the wrong call.
"""

import asyncio
import collections
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from realstack.errors import ConnectionsExhausted
from realstack.services.loops import cut_transport

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[Any]

_SETTLE_WITHIN_S = 5.0


class Connections:
    """At most *max_size* connections in one event loop, opened when needed."""

    def __init__(self, connect: "Callable[[], Awaitable[Connection]]", *, max_size: int, timeout_s: float) -> None:
        self._connect, self._max_size, self._timeout_s = connect, max_size, timeout_s
        self._all: set[Connection] = set()
        self._opening = 0
        #: Serves calls that follow each other, so that what one of them SETs holds for the next.
        self._kept: Connection | None = None
        self._free: list[Connection] = []
        self._doubtful: set[Connection] = set()
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._cleaning: set[asyncio.Task[None]] = set()
        self.pool: asyncpg.Pool[Any] | None = None

    def take_kept(self) -> "Connection | None":
        """Return the kept connection when it is free and beyond doubt; costs a microsecond, and never waits."""
        kept = self._kept
        if kept is None or not self._free or self._free[-1] is not kept or kept in self._doubtful or kept.is_closed():
            return None
        return self._free.pop()

    async def take(self, *, for_block: bool = False) -> "Connection":
        """Return a connection that nobody else has, waiting for one when all are in use.

        Args:
            for_block: it is for a block of the test's, which may leave settings behind: not the kept one, if possible.

        Raises:
            ConnectionsExhausted: all stayed in use for *timeout_s* seconds.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while True:
            connection = self._pick(for_block=for_block)
            if connection is None and len(self._all) + self._opening < self._max_size:
                return await self._open(keep=not for_block)
            if connection is None:
                await self._await_free(deadline)
            elif await self._is_sound(connection):
                if self._kept is None and not for_block:
                    self._kept = connection
                return connection

    def give(self, connection: "Connection", *, doubt: bool = False) -> None:
        """Take *connection* back from a call; *doubt*: the call did not end with a reply."""
        if connection.is_closed():
            self._drop(connection)
        else:
            if doubt:
                self._doubtful.add(connection)
            # the kept one lies on top
            if connection is self._kept:
                self._free.append(connection)
            else:
                self._free.insert(0, connection)
        self._wake()

    async def give_clean(self, connection: "Connection") -> None:
        """Take *connection* back from a block: open transactions, settings, locks and listeners are undone."""
        task = asyncio.ensure_future(self._clean(connection))
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        # a second cancellation of the test's task must not stop the cleaning half way
        await asyncio.shield(task)

    async def close(self) -> None:
        """Close every connection, those in use as well."""
        if self._cleaning:
            await asyncio.wait(self._cleaning)
        if self.pool is not None:
            self.pool.terminate()
        everyone, self._all, self._free = list(self._all), set(), []
        await asyncio.gather(*(_close(each) for each in everyone))

    def cut(self) -> None:
        """End every connection at once; their loop may be closed."""
        everyone: list[Any] = list(self._all)
        pool: Any = self.pool
        if pool is not None:
            everyone.extend(holder._con for holder in pool._holders if holder._con is not None)
        self._all, self._free = set(), []
        for each in everyone:
            cut_connection(each)

    def _pick(self, *, for_block: bool) -> "Connection | None":
        if not self._free:
            return None
        if not for_block:
            return self._free.pop()
        if self._free[0] is not self._kept or len(self._all) + self._opening >= self._max_size:
            return self._free.pop(0)
        return None

    async def _open(self, *, keep: bool) -> "Connection":
        self._opening += 1
        try:
            connection = await self._connect()
        finally:
            self._opening -= 1
            self._wake()
        self._all.add(connection)
        if keep and self._kept is None:
            self._kept = connection
        return connection

    async def _await_free(self, deadline: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            # not wait_for: until Python 3.12 it swallows a cancellation that comes together with the turn
            async with asyncio.timeout_at(deadline):
                await waiter
        except BaseException as error:
            # it may have been woken in the same moment; somebody else can have its turn
            self._wake()
            if isinstance(error, TimeoutError):
                max_size, waited_s = self._max_size, self._timeout_s
                raise ConnectionsExhausted(service="PostgreSQL", max_size=max_size, waited_s=waited_s) from error
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _is_sound(self, connection: "Connection") -> bool:
        """Tell whether *connection* is open and in step; drop it when not."""
        if connection.is_closed():
            self._drop(connection)
            return False
        if connection not in self._doubtful:
            return True
        try:
            # asyncpg first waits until the cancellation it sent has reached the server
            await connection.execute("SELECT 1", timeout=_SETTLE_WITHIN_S)
        except BaseException as error:
            connection.terminate()
            self._drop(connection)
            if isinstance(error, Exception):
                return False
            raise
        self._doubtful.discard(connection)
        return True

    async def _clean(self, connection: "Connection") -> None:
        try:
            if not connection.is_closed():
                await connection.reset(timeout=_SETTLE_WITHIN_S)
        except BaseException:
            connection.terminate()
            raise
        finally:
            self.give(connection)

    def _drop(self, connection: "Connection") -> None:
        self._all.discard(connection)
        self._doubtful.discard(connection)
        if connection is self._kept:
            self._kept = None
        self._wake()


def cut_connection(connection: Any) -> None:
    """End *connection* at once; its loop may be closed."""
    cut_transport(connection._transport)
    # it has to know; RuntimeError: it wants to schedule something in a closed loop
    with contextlib.suppress(RuntimeError):
        connection.terminate()


async def _close(connection: "Connection") -> None:
    try:
        await connection.close(timeout=1.0)
    except Exception:  # noqa: BLE001  whatever is wrong with it: it ends here
        connection.terminate()

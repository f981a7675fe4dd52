"""What belongs to an event loop: one resource per loop, and its end, wherever that loop is by then.

A fixture's object is made and ended outside of any loop, but its connections live in the loop of the test, or in
several, one after the other. Ending them must not depend on that loop: it may run, rest, or be closed already.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_CLOSE_WITHIN_S = 2.0


class PerLoop(Generic[T]):
    """One *T* per event loop, made when that loop first asks.

    Args:
        make: makes one, inside the running loop.
        close: ends one in order, inside its loop.
        cut: ends one at once, from anywhere; must not fail when its loop is closed.
    """

    def __init__(
        self, make: Callable[[], T], *, close: Callable[[T], Awaitable[None]], cut: Callable[[T], None]
    ) -> None:
        self._make, self._close, self._cut = make, close, cut
        self._all: dict[asyncio.AbstractEventLoop, T] = {}
        # the last one asked for; saves a lookup in what may be called 10,000 times in a test
        self._loop: asyncio.AbstractEventLoop | None = None
        self._value: T | None = None

    def get(self) -> T:
        """Return that of the running loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._value is None:
            if loop not in self._all:
                self._cut_closed()
                self._all[loop] = self._make()
            self._loop, self._value = loop, self._all[loop]
        return self._value

    def values(self) -> tuple[T, ...]:
        """Return all there are."""
        return tuple(self._all.values())

    async def close(self) -> None:
        """End all of them in order, those of other loops as far as these still run."""
        mine = self._all.pop(asyncio.get_running_loop(), None)
        try:
            if mine is not None:
                await self._close(mine)
        finally:
            self.terminate()

    def terminate(self) -> None:
        """End all of them, from outside of their loops; never raises for a loop that is closed."""
        self._loop = self._value = None
        while self._all:
            loop, value = self._all.popitem()
            end_in_loop(loop, functools.partial(self._close, value), functools.partial(self._cut, value))

    def _cut_closed(self) -> None:
        for loop in [each for each in self._all if each.is_closed()]:
            value = self._all.pop(loop)
            end_in_loop(loop, functools.partial(self._close, value), functools.partial(self._cut, value))


def cut_transport(transport: Any) -> None:
    """End the connection of an asyncio *transport* at once; its loop may be closed.

    The peer sees the end right away. A selector transport on a closed loop cannot end itself, since it would have to
    schedule a callback: its own last step is called here, or it would warn about an unclosed socket one day.
    """
    peer = transport.get_extra_info("socket")
    if peer is not None:
        # TypeError: uvloop's stand-in for a socket cannot do it; uvloop ends its sockets with the loop
        with contextlib.suppress(OSError, TypeError):
            peer.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(RuntimeError):
        transport.abort()
        return
    last_step = getattr(transport, "_call_connection_lost", None)
    if last_step is not None:
        # RuntimeError: a protocol wanted to wake somebody who waits in the closed loop
        with contextlib.suppress(RuntimeError):
            last_step(None)


def end_in_loop(loop: asyncio.AbstractEventLoop, close: Callable[[], Awaitable[None]], cut: Callable[[], None]) -> None:
    """End what lives in *loop*: in order when that loop still runs or can be run, else at once with *cut*."""

    async def close_in_time() -> None:
        await asyncio.wait_for(close(), _CLOSE_WITHIN_S)

    if loop.is_closed() and not isinstance(loop, asyncio.BaseEventLoop):
        # uvloop closes every connection with the loop, and hangs or crashes when one is touched afterwards
        return
    if loop.is_closed() or _is_inside_a_loop():
        # inside a running loop nobody can be waited for
        cut()
        return
    try:
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(close_in_time(), loop).result(_CLOSE_WITHIN_S * 2)
        else:
            loop.run_until_complete(close_in_time())
    except Exception:  # noqa: BLE001  a driver may raise anything while it ends; what is left is cut
        cut()


def _is_inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

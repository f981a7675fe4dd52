"""A WebSocket client bound to the app under test. It never waits for ever, and its errors say what came until then."""

import asyncio
import collections
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realstack.errors import (
    DriverMissing,
    WebSocketClosed,
    WebSocketMessageInvalid,
    WebSocketNotConnected,
    WebSocketRefused,
    WebSocketTimeout,
)
from realstack.services.loops import cut_transport, end_in_loop

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_REMEMBERED = 20
_BODY_SHOWN = 500


class WebSocketClient:
    """One WebSocket connection at a time; not connected when made.

    Args:
        base_url: where the app is; ``http://`` and ``ws://`` mean the same.
        timeout_s: seconds that connecting and each receiving may take, unless the call says otherwise.
        headers: sent with every handshake.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None) -> None:
        self.base_url = base_url.replace("http", "ws", 1) if base_url.startswith("http") else base_url
        self.url = self.base_url
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._connection: ClientConnection | None = None
        self._received: collections.deque[str | bytes] = collections.deque(maxlen=_REMEMBERED)

    def __repr__(self) -> str:
        return f"<WebSocketClient {self.url}{'' if self.is_connected else ' (not connected)'}>"

    async def __aenter__(self) -> "WebSocketClient":
        if self._connection is None:
            await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self._connection is not None and self._connection.close_code is None

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol the server chose."""
        return None if self._connection is None else self._connection.subprotocol

    async def connect(
        self,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        subprotocols: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> "WebSocketClient":
        """Open a connection to *path* and return this client; an open one is closed first.

        Args:
            path: relative to the app, with its query, or a whole ``ws://`` URL.
            headers: sent with this handshake, on top of the client's own.
            subprotocols: offered to the server, best first.
            timeout_s: seconds to wait for the handshake.

        Raises:
            WebSocketRefused: the server answered with something else (status and body), or nobody answered.
            WebSocketTimeout: the handshake took too long.
        """
        websockets = _driver()
        await self.close()
        self.url = path if "://" in path else self.base_url + ("" if path[:1] in ("", "/", "?") else "/") + path
        wait_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            self._connection = await websockets.connect(
                self.url,
                additional_headers={**self._headers, **(headers or {})},
                subprotocols=list(subprotocols) or None,
                compression=None,
                open_timeout=wait_s,
                close_timeout=min(self._timeout_s, 5.0),
                ping_interval=None,
                max_size=None,
                proxy=None,
            )
        except TimeoutError as error:
            raise WebSocketTimeout(url=self.url, waited_s=wait_s, wanted="a handshake") from error
        except websockets.InvalidStatus as error:
            raise _refusal(self.url, error.response) from error
        except (OSError, websockets.InvalidHandshake, EOFError) as error:
            raise WebSocketRefused(url=self.url, status=None, reason=str(error) or type(error).__name__) from error
        return self

    async def send(self, message: str | bytes | Mapping[str, Any] | list[Any]) -> None:
        """Send *message*: text, bytes, or anything else as JSON text."""
        raw = message if isinstance(message, str | bytes) else json.dumps(message)
        connection = self._open_connection("send")
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send(raw)
        except TimeoutError as error:
            raise self._timeout("room to send", self._timeout_s) from error
        except _driver().ConnectionClosed as error:
            raise self._closed("to send") from error

    async def receive(self, timeout_s: float | None = None) -> str | bytes:
        """Return the next message: ``str`` for text, ``bytes`` for binary.

        Raises:
            WebSocketTimeout: none came in time.
            WebSocketClosed: the connection was closed; carries code and reason.
        """
        return await self._next("a message", self._timeout_s if timeout_s is None else timeout_s)

    async def receive_json(self, timeout_s: float | None = None) -> Any:
        """Return the next message, read as JSON.

        Raises:
            WebSocketMessageInvalid: it is not JSON.
        """
        return self._read_json(await self.receive(timeout_s))

    async def receive_events(
        self,
        count: int | None = None,
        *,
        until: str | Callable[[Any], bool] | None = None,
        timeout_s: float | None = None,
    ) -> list[Any]:
        """Return messages, read as JSON, in their order.

        Args:
            count: how many.
            until: the last one wanted: its ``"type"``, or a function that says whether it is the one.
            timeout_s: seconds for all of them together.

        Without *count* and *until*, everything that comes within *timeout_s* or until the connection is closed.

        Raises:
            WebSocketTimeout: they did not all come in time; carries what did.
            WebSocketClosed: the connection was closed before.
        """
        loop = asyncio.get_running_loop()
        wait_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = loop.time() + wait_s
        is_open_ended = count is None and until is None
        wanted = f"{count} event(s)" if until is None else f"an event {until!r}"
        events: list[Any] = []
        while count is None or len(events) < count:
            try:
                message = await self._next(wanted, max(0.0, deadline - loop.time()), said_s=wait_s)
            except (WebSocketTimeout, WebSocketClosed):
                if is_open_ended:
                    break
                raise
            events.append(self._read_json(message))
            if until is not None and _is_last(events[-1], until):
                break
        return events

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection in order; nothing happens when there is none."""
        connection, self._connection = self._connection, None
        self._received.clear()
        if connection is not None:
            await connection.close(code, reason)

    def terminate(self) -> None:
        """Close the connection from outside of its loop, which may be closed already; for teardown."""
        connection, self._connection = self._connection, None
        if connection is not None:
            end_in_loop(connection.loop, connection.close, lambda: cut_transport(connection.transport))

    async def _next(self, wanted: str, wait_s: float, *, said_s: float | None = None) -> str | bytes:
        connection = self._open_connection("receive")
        try:
            async with asyncio.timeout(wait_s):
                message: str | bytes = await connection.recv()
        except TimeoutError as error:
            raise self._timeout(wanted, wait_s if said_s is None else said_s) from error
        except _driver().ConnectionClosed as error:
            raise self._closed(wanted) from error
        self._received.append(message)
        return message

    def _open_connection(self, action: str) -> "ClientConnection":
        if self._connection is None:
            raise WebSocketNotConnected(action=action)
        return self._connection

    def _read_json(self, message: str | bytes) -> Any:
        try:
            return json.loads(message)
        except ValueError as error:
            raise WebSocketMessageInvalid(url=self.url, message=message, wanted="JSON") from error

    def _timeout(self, wanted: str, waited_s: float) -> WebSocketTimeout:
        return WebSocketTimeout(url=self.url, waited_s=waited_s, wanted=wanted, received=tuple(self._received))

    def _closed(self, wanted: str) -> WebSocketClosed:
        connection = self._connection
        code = 1006 if connection is None or connection.close_code is None else connection.close_code
        reason = "" if connection is None else connection.close_reason or ""
        return WebSocketClosed(url=self.url, code=code, reason=reason, wanted=wanted, received=tuple(self._received))


def _driver() -> Any:
    """Return a module with websockets' names; imported here, since it takes 60 ms."""
    try:
        import websockets
    except ModuleNotFoundError as error:
        raise DriverMissing(package="websockets", extra="app") from error
    return websockets


def _refusal(url: str, response: Any) -> WebSocketRefused:
    body = (response.body or b"").decode(errors="replace").strip()[:_BODY_SHOWN]
    reason = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    return WebSocketRefused(url=url, status=response.status_code, reason=reason, body=body)


def _is_last(event: Any, until: str | Callable[[Any], bool]) -> bool:
    if isinstance(until, str):
        return isinstance(event, Mapping) and event.get("type") == until
    return until(event)

"""An httpx client bound to the app under test, safe to make and to end outside of any event loop.

A test without ``async`` needs none of this: ``httpx.Client(base_url=real_app.base_url)`` is one line.
"""

import functools
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from realstack.errors import DriverMissing
from realstack.services.loops import PerLoop, cut_transport

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_CONNECTIONS = 10
MAX_KEPT_ALIVE = 5


class HttpClient:
    """``httpx.AsyncClient`` for one app: paths are relative to *base_url*, whole URLs go where they say.

    Options of each method are httpx's (``json``, ``headers``, ``params``, ``files``, ``timeout`` ...), and so are the
    responses. Cookies last as long as the client. Proxies of the environment are not used.

    Args:
        base_url: where the app is.
        timeout_s: seconds to wait for a connection, and for each part of an answer.
        headers: sent with every request.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None) -> None:
        self.base_url = base_url
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._loops: PerLoop[httpx.AsyncClient] = PerLoop(
            self._make, close=lambda client: client.aclose(), cut=_cut_client
        )

    def __repr__(self) -> str:
        return f"<HttpClient {self.base_url}>"

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def client(self) -> "httpx.AsyncClient":
        """The client of the running event loop."""
        return self._loops.get()

    async def request(self, method: str, url: str, **options: Any) -> "httpx.Response":
        """Send a request and return its response, read to the end."""
        return await self.client.request(method, url, **options)

    async def get(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.get(url, **options)

    async def post(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.post(url, **options)

    async def put(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.put(url, **options)

    async def patch(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.patch(url, **options)

    async def delete(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.delete(url, **options)

    async def head(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.head(url, **options)

    async def options(self, url: str, **options: Any) -> "httpx.Response":
        return await self.client.options(url, **options)

    def stream(self, method: str, url: str, **options: Any) -> "AbstractAsyncContextManager[httpx.Response]":
        """Return a context manager whose response is read piece by piece."""
        return self.client.stream(method, url, **options)

    async def close(self) -> None:
        """Close every connection; the next request opens a new one."""
        await self._loops.close()

    def terminate(self) -> None:
        """Close every connection from outside of their loops, which may be closed already; for teardown."""
        self._loops.terminate()

    def _make(self) -> "httpx.AsyncClient":
        driver = _driver()
        client: httpx.AsyncClient = driver.AsyncClient(
            base_url=self.base_url,
            headers=self._headers,
            timeout=self._timeout_s,
            limits=driver.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEPT_ALIVE),
            trust_env=False,
            verify=_tls(),
        )
        return client


def _driver() -> Any:
    """Return the module httpx; imported here, since it takes 60 ms."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise DriverMissing(package="httpx", extra="app") from error
    return httpx


@functools.cache
def _tls() -> "ssl.SSLContext":
    """Return the settings every client uses for https; reading the certificates takes 10 ms, once a process."""
    import ssl

    return ssl.create_default_context()


def _cut_client(client: Any) -> None:
    """End the connections of *client* at once; its loop may be closed.

    Neither httpx nor httpcore has a way to do that, so the path to the sockets is theirs and may change: each step that
    is missing ends the search, and the socket then ends with the garbage collector.
    """
    pool = getattr(client._transport, "_pool", None)
    for connection in getattr(pool, "connections", ()):
        stream: Any = connection
        for step in ("_connection", "_network_stream", "_stream", "_transport"):
            stream = getattr(stream, step, None)
        if stream is not None:
            cut_transport(stream)

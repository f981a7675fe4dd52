"""What the fixture ``real_services`` gives: every service behind one object, each started on first use."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from realstack.config import Config
from realstack.runtime.service import WorkerService

if TYPE_CHECKING:
    from realstack.services.app.clients import HttpClient, WebSocketClient
    from realstack.services.app.server import AppServer
    from realstack.services.clickhouse.testing import ClickHouse
    from realstack.services.postgres.testing import Postgres
    from realstack.services.redis.testing import RedisManager

Provide = Callable[[str], WorkerService]


class RealServices:
    """All services of one test; use what you need, only that is started."""

    def __init__(self, provide: Provide, *, config: Config) -> None:
        self._provide = provide
        self._ends: list[Callable[[], Any]] = []
        self.config = config

    @cached_property
    def postgres(self) -> "Postgres":
        """This test's PostgreSQL: ``fetch fetchrow fetchval execute transaction() connection() dsn``."""
        return cast("Postgres", self._opened("postgres"))

    @cached_property
    def redis(self) -> "RedisManager":
        """This worker's Redis: ``set get delete exists set_json get_json get_client()``."""
        from realstack.services.redis.testing import RedisManager

        manager = RedisManager(self._provide("redis").endpoint.url)
        self._ends.append(manager.terminate)
        return manager

    @cached_property
    def clickhouse(self) -> "ClickHouse":
        """This test's ClickHouse: ``execute insert url``."""
        return cast("ClickHouse", self._opened("clickhouse"))

    @cached_property
    def app(self) -> "AppServer":
        """The app under test: ``base_url restart() log``."""
        return cast("AppServer", self._provide("app").server)

    def ensure_all_services_available(self) -> None:
        """Start every configured service; a missing one skips the test, or fails it when services are required."""
        names = ["postgres", "redis", "clickhouse"] + (["app"] if self.config.app is not None else [])
        for name in names:
            self._provide(name)

    def reset_all_data(self) -> None:
        """Put every service that runs back to its baseline, in the middle of the test."""
        for name in ("postgres", "redis", "clickhouse"):
            service = self._provide(name)
            service.end()
            service.begin("after reset_all_data")

    def get_http_client(self) -> "HttpClient":
        """Return an HTTP client bound to the app under test."""
        from realstack.services.app.clients import HttpClient

        client = HttpClient(self.app.base_url)
        self._ends.append(client.terminate)
        return client

    def create_websocket_client(self) -> "WebSocketClient":
        """Return a WebSocket client bound to the app under test, not connected yet."""
        from realstack.services.app.clients import WebSocketClient

        client = WebSocketClient(self.app.base_url)
        self._ends.append(client.terminate)
        return client

    def terminate(self) -> None:
        """Close every client this object opened; works outside an event loop."""
        while self._ends:
            self._ends.pop()()

    def _opened(self, name: str) -> object:
        service = self._provide(name)
        client = service.open_client()
        self._ends.append(lambda: service.close_client(client))
        return client

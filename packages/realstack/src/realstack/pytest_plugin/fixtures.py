"""The fixtures: each starts what it needs on first use and nothing else.

They are synchronous and loop-free: servers are provisioned by plain function calls, and a client connects inside the
loop of the test that first uses it, so nothing here is ever attached to a different loop.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from realstack.pytest_plugin.state import STATE, State

if TYPE_CHECKING:
    import redis.asyncio

    from realstack.runtime.manager import RealServices
    from realstack.runtime.service import WorkerService
    from realstack.services.app.clients import HttpClient, WebSocketClient
    from realstack.services.app.server import AppServer
    from realstack.services.clickhouse.testing import ClickHouse
    from realstack.services.postgres.testing import Postgres
    from realstack.services.redis.testing import RedisManager


@pytest.fixture(scope="session")
def _realstack(request: pytest.FixtureRequest) -> State:
    return request.config.stash[STATE]


@pytest.fixture(scope="session")
def _postgres_version(request: pytest.FixtureRequest) -> str | None:
    """The version this run of the test is on; parametrised by ``--postgres-version``."""
    return getattr(request, "param", None)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_dsn(_realstack: State, _postgres_version: str | None) -> str:
    """The URL of this worker's own PostgreSQL database, for any client, sync or async."""
    return _realstack.provide("postgres", version=_postgres_version).endpoint.url


def _redis_scope(fixture_name: str, config: pytest.Config) -> "Literal['session', 'function']":
    """With isolation ``process`` every test has another server, so its address is the test's, not the session's."""
    resolved = config.stash[STATE].config
    wanted = resolved.redis["default"].isolation or resolved.isolation
    return "function" if wanted == "process" else "session"


@pytest.fixture(scope=_redis_scope)
def redis_url(_realstack: State) -> str:
    """The URL of this worker's own Redis server."""
    return _realstack.provide("redis").endpoint.url


@pytest.fixture(scope="session")
def clickhouse_url(_realstack: State) -> str:
    """The URL of this worker's own ClickHouse database."""
    return _realstack.provide("clickhouse").endpoint.url


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_postgres(_realstack: State, _postgres_version: str | None) -> Iterator["Postgres"]:
    """This test's own PostgreSQL: ``fetch fetchrow fetchval execute executemany transaction() connection() dsn``."""
    with _realstack.client("postgres", version=_postgres_version) as client:
        yield client


@pytest.fixture
def database_connection(real_postgres: "Postgres") -> "Postgres":
    """Drop-in for a mocked database connection; the same object as ``real_postgres``."""
    return real_postgres


@pytest.fixture
def database_transaction(_realstack: State, _postgres_version: str | None) -> Iterator["Postgres"]:
    """Drop-in for a mocked transaction: everything on one connection in one transaction, rolled back at the end."""
    with _realstack.client("postgres", version=_postgres_version, single_connection=True) as client:
        yield client


@pytest.fixture
def real_redis(_realstack: State) -> Iterator["redis.asyncio.Redis"]:
    """A ``redis.asyncio.Redis`` on this worker's own server; strings come back as ``str``."""
    with _realstack.client("redis") as client:
        yield client


@pytest.fixture
def redis_client(real_redis: "redis.asyncio.Redis") -> "redis.asyncio.Redis":
    """Drop-in for a mocked Redis client; the same object as ``real_redis``."""
    return real_redis


@pytest.fixture
def redis_manager(real_services: "RealServices", redis_url: str) -> "RedisManager":
    """Drop-in for a mocked Redis manager: ``set get delete exists set_json get_json lpush lrange flushdb ping``."""
    return real_services.redis


@pytest.fixture
def real_clickhouse(_realstack: State) -> Iterator["ClickHouse"]:
    """This test's own ClickHouse: ``execute(sql, params) -> list[tuple]``, ``insert``, ``url``."""
    with _realstack.client("clickhouse") as client:
        yield client


@pytest.fixture
def clickhouse_client(real_clickhouse: "ClickHouse") -> "ClickHouse":
    """Drop-in for a mocked ClickHouse client; the same object as ``real_clickhouse``."""
    return real_clickhouse


# --- the app under test -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real_app(_realstack: State) -> "AppServer":
    """The app under test, on a real socket with this worker's own services behind it: ``base_url restart() log``."""
    return _realstack.provide("app").server  # type: ignore[return-value]  # the app service's server is an AppServer


@pytest.fixture
def real_http_client(real_services: "RealServices", real_app: "AppServer") -> "HttpClient":
    """An HTTP client bound to the app under test: ``get post put delete request``; httpx responses."""
    return real_services.get_http_client()


@pytest.fixture
def real_websocket_client(real_services: "RealServices", real_app: "AppServer") -> "WebSocketClient":
    """A WebSocket client bound to the app under test: ``connect(path) send receive receive_json close``."""
    return real_services.create_websocket_client()


# --- everything -------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_services(_realstack: State, _postgres_version: str | None) -> Iterator["RealServices"]:
    """Manager of all services, each started on first use: ``.postgres .redis .clickhouse .app .config``."""
    from realstack.runtime.manager import RealServices

    _realstack.check_wanted()

    def provide(service: str) -> "WorkerService":
        return _realstack.provide(service, version=_postgres_version if service == "postgres" else None)

    manager = RealServices(provide, config=_realstack.config)
    yield manager
    manager.terminate()


@pytest.fixture
def ensure_no_mocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constructing a ``unittest.mock`` object in the test is an error."""
    from realstack.pytest_plugin.no_mocks import forbid_mocks

    forbid_mocks(monkeypatch)

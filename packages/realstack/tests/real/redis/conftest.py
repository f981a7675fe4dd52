"""Redis servers of the kit's own, of every version this machine has, and one isolation to each test."""

import itertools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack.abc import Installation
from realstack.errors import RedisRefused, ServerUnreachable
from realstack.isolation.redis import ResetIsolation
from realstack.providers.choice import list_installations
from realstack.services.redis.server import RedisServer, start_redis
from realstack.services.redis.wire import Connection

Start = Callable[..., RedisServer]
Connect = Callable[..., Connection]
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def supervision() -> Iterator[Supervision]:
    with start_supervisor(Path(f"/tmp/rs-redis-{secrets.token_hex(4)}")) as supervision:
        yield supervision


def _find_installations() -> dict[str, Installation]:
    with tempfile.TemporaryDirectory() as cache:
        found, _ = list_installations("redis", cache=Path(cache), path=os.environ["PATH"])  # noqa: TID251
    return {installation.provider: installation for installation in reversed(found)}


_INSTALLATIONS = _find_installations()


@pytest.fixture(scope="session", params=sorted(_INSTALLATIONS) or ["none"])
def installation(request: pytest.FixtureRequest) -> Installation:
    """Each there is: found when tests are collected, so that what this machine has not is no skip."""
    if request.param not in _INSTALLATIONS:
        pytest.skip("no redis-server on this machine: pip install 'realstack[redis]'")
    return _INSTALLATIONS[request.param]


@pytest.fixture(scope="session")
def start(supervision: Supervision, installation: Installation) -> Start:
    def start_one(**options: object) -> RedisServer:
        folder = supervision.run_folder / f"r{next(_NUMBERS)}"
        return start_redis(installation, **{"folder": folder, "supervisor": supervision, **options})

    return start_one


@pytest.fixture(scope="session")
def shared(start: Start) -> Iterator[RedisServer]:
    server = start()
    yield server
    server.stop()


@pytest.fixture
def isolation(shared: RedisServer) -> Iterator[ResetIsolation]:
    """On a server many tests share; a test that failed may have left anything there."""
    if not is_blank(shared):
        shared.restart()
    isolation = ResetIsolation(shared, patience_s=0.3)
    isolation.begin("the test")
    yield isolation
    isolation.close()


@pytest.fixture
def connect(shared: RedisServer) -> Iterator[Connect]:
    """Connections of the code under test."""
    opened: list[Connection] = []

    def connect_one(*, name: str | None = "app", timeout_s: float = 5.0) -> Connection:
        opened.append(Connection(shared.endpoint, name=name, timeout_s=timeout_s))
        return opened[-1]

    yield connect_one
    for connection in opened:
        connection.close()


@pytest.fixture
def app(isolation: ResetIsolation, connect: Connect) -> Connection:
    """A connection that lived before the test."""
    connection = connect()
    isolation.begin("the test")
    return connection


def is_blank(server: RedisServer) -> bool:
    try:
        with server.connect(timeout_s=1.0) as connection:
            return connection.call("INFO", "keyspace") == b"# Keyspace\r\n"
    except (ServerUnreachable, RedisRefused):
        return False


def still_works(connection: Connection) -> bool:
    try:
        return connection.call("PING") == b"PONG"
    except ServerUnreachable:
        return False

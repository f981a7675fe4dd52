"""One embedded ClickHouse for all tests of this folder, and a database of its own for each of them."""

import dataclasses
import http.client
import itertools
import secrets
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack._core.waiting import NotReady, wait_until
from realstack.abc import Installation
from realstack.isolation.clickhouse import ClickHouseIsolation
from realstack.services.clickhouse.client import Client
from realstack.services.clickhouse.server import EmbeddedClickHouse, create_database, drop_database, start_embedded
from realstack.services.endpoint import Endpoint

_NUMBERS = itertools.count()


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


Ask = Callable[..., Answer]


@pytest.fixture(scope="session")
def installation() -> Installation:
    engine = pytest.importorskip("chdb", reason="embedded ClickHouse needs chdb-core")
    package = version("chdb-core")
    return Installation(
        service="clickhouse",
        provider="wheel",
        version=package,
        folder=Path(engine.__file__).parent,
        origin=f"chdb-core {package}",
    )


@pytest.fixture(scope="session")
def run() -> Iterator[Supervision]:
    memory = Path("/dev/shm")
    supervision = start_supervisor((memory if memory.is_dir() else Path("/tmp")) / f"rs-ch-{secrets.token_hex(4)}")
    yield supervision
    supervision.end()


@pytest.fixture(scope="session")
def server(installation: Installation, run: Supervision) -> EmbeddedClickHouse:
    folder = run.run_folder / "clickhouse"
    return start_embedded(installation, folder=folder, supervisor=run, settings={}, timeout_s=30)


@pytest.fixture
def endpoint(server: EmbeddedClickHouse) -> Iterator[Endpoint]:
    """A database that is this test's alone."""
    made = create_database(server.endpoint, f"t{next(_NUMBERS)}")
    yield made
    drop_database(made)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    client = Client(endpoint)
    yield client
    client.close()


@pytest.fixture
def ask(endpoint: Endpoint) -> Iterator[Ask]:
    """Return a function that sends one request as it is told and gives back what came."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=20)

    def send(
        body: bytes | str = b"",
        *,
        path: str = "/",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        **url: object,
    ) -> Answer:
        from urllib.parse import urlencode

        parameters = {"database": endpoint.database, **url}
        raw = body.encode() if isinstance(body, str) else body
        connection.request(method, f"{path}?{urlencode(parameters)}", body=raw or None, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    yield send
    connection.close()


@pytest.fixture
def await_running(server: EmbeddedClickHouse) -> Iterator[Callable[..., None]]:
    """Return a function that waits until a query with the given text runs, or runs no more."""
    observer = Client(server.endpoint)
    sql = "SELECT count() FROM system.processes WHERE position(query, {t:String}) AND NOT position(query, 'processes')"

    def wait(text: str, *, wanted: bool = True) -> None:
        def probe() -> None:
            if bool(observer.query(sql, {"t": text})[0][0]) != wanted:
                raise NotReady(f"{text} runs: {not wanted}")

        wait_until(probe, timeout_s=10)

    yield wait
    observer.close()


@pytest.fixture
def isolate(endpoint: Endpoint) -> Iterator[Callable[..., ClickHouseIsolation]]:
    """Return a function that takes the database's present state as the baseline."""
    opened: list[ClickHouseIsolation] = []

    def start(*, is_embedded: bool = True) -> ClickHouseIsolation:
        opened.append(ClickHouseIsolation(endpoint, is_embedded=is_embedded))
        return opened[-1]

    yield start
    for isolation in opened:
        isolation.close()

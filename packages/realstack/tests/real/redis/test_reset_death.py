"""A server that was killed, paused or kept busy by a test: the next test has a good one, at the same place."""

import contextlib
import os
import signal

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServerDied, ServerUnreachable
from realstack.isolation.redis import ResetIsolation
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Connection, encode

from .conftest import Connect


def assert_good_again(isolation: ResetIsolation, server: RedisServer, *, port: int) -> None:
    isolation.begin("the next test")
    assert server.endpoint.port == port
    with Connection(server.endpoint, name="app") as app:
        assert app.call("GET", "base") == b"1"
        app.call("SET", "k", "v")
    assert isolation.reset().leaks == ()
    assert isolation.verify() == ()
    isolation.pop("module")
    assert isolation.verify() == ()


def has_ended(server: RedisServer) -> None:
    """SIGTERM is heard at the server's next tenth of a second."""
    if server.is_alive():
        raise NotReady


@pytest.fixture
def port(isolation: ResetIsolation, app: Connection, shared: RedisServer) -> int:
    app.call("SET", "base", 1)
    app.call("CONFIG", "SET", "timeout", 4321)
    isolation.push("module")
    isolation.begin("the test")
    return shared.endpoint.port


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_server_fails_the_test_and_the_next_has_a_fresh_one(
    isolation: ResetIsolation, shared: RedisServer, port: int, number: int
) -> None:
    os.kill(shared.pid, number)
    wait_until(lambda: has_ended(shared), timeout_s=5)

    with pytest.raises(ServerDied) as caught:
        isolation.reset()

    assert caught.value.exit_code is not None
    assert "Ready to accept connections" in caught.value.log_tail or number == signal.SIGSEGV
    assert_good_again(isolation, shared, port=port)


def test_a_shut_down_server_fails_the_test(
    isolation: ResetIsolation, app: Connection, shared: RedisServer, port: int
) -> None:
    with pytest.raises(ServerUnreachable):
        app.call("SHUTDOWN", "NOSAVE")

    with pytest.raises(ServerDied, match=r"exit code 0"):
        isolation.reset()

    assert_good_again(isolation, shared, port=port)


def test_a_server_killed_on_purpose_is_recovered(isolation: ResetIsolation, shared: RedisServer, port: int) -> None:
    os.kill(shared.pid, signal.SIGKILL)

    isolation.recover()

    assert isolation.verify() == ()
    assert_good_again(isolation, shared, port=port)


@pytest.mark.parametrize(
    "command",
    [
        ("CLIENT", "PAUSE", 600_000, "ALL"),
        ("DEBUG", "SLEEP", 600),
        ("EVAL", "while true do end", 0),
        ("EVAL", "redis.call('set', 'x', 1) while true do end", 0),
    ],
    ids=["paused", "asleep", "busy", "busy after a write"],
)
def test_a_server_that_does_not_answer_is_restarted_and_reported(
    isolation: ResetIsolation, app: Connection, shared: RedisServer, port: int, command: tuple[str, ...]
) -> None:
    app.call("CONFIG", "SET", "lua-time-limit", 10)
    app.send(encode([command]))

    outcome = isolation.reset()

    assert outcome.leaks
    assert outcome.leaks[0].kind in ("pause", "script")
    assert outcome.seconds < 3
    assert_good_again(isolation, shared, port=port)


def test_a_short_sleep_is_waited_for(
    isolation: ResetIsolation, app: Connection, shared: RedisServer, port: int
) -> None:
    pid = shared.pid
    app.send(encode([("DEBUG", "SLEEP", "0.1")]))

    outcome = isolation.reset()

    assert outcome.leaks == ()
    assert shared.pid == pid
    assert app.read() == b"OK"
    assert_good_again(isolation, shared, port=port)


def test_a_frozen_server_is_replaced(isolation: ResetIsolation, shared: RedisServer, port: int) -> None:
    os.kill(shared.pid, signal.SIGSTOP)

    outcome = isolation.reset()

    assert [leak.kind for leak in outcome.leaks] == ["pause"]
    assert_good_again(isolation, shared, port=port)


def test_a_server_that_dies_between_tests_is_replaced_at_begin(
    isolation: ResetIsolation, shared: RedisServer, port: int, connect: Connect
) -> None:
    os.kill(shared.pid, signal.SIGKILL)
    with contextlib.suppress(ServerUnreachable):
        connect().call("PING")

    assert_good_again(isolation, shared, port=port)

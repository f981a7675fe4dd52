"""What a test leaves open is reported and ended; what lived before it stays."""

import threading

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import RedisRefused, ServerUnreachable
from realstack.isolation.redis import Client, ResetIsolation
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Command, Connection, encode

from .conftest import Connect, Start, still_works

LEFT: dict[str, list[Command]] = {
    "connection": [("PING",)],
    "transaction": [("MULTI",), ("SET", "k", "v")],
    "subscription": [("SUBSCRIBE", "news")],
    "blocked": [("BLPOP", "queue", 0)],
    "monitor": [("MONITOR",)],
}


def leave(connection: Connection, commands: list[Command]) -> None:
    """Send the last without waiting: some of these never answer."""
    for command in commands[:-1]:
        connection.call(*command)
    connection.send(encode(commands[-1:]))


def read_on(connection: Connection) -> None:
    """Read until the server hangs up."""
    while True:
        connection.read()


def arrived(app: Connection, name: str, wanted: bytes) -> None:
    """Return when the server lists client *name* with *wanted* as its last command."""
    while True:
        clients = app.call("CLIENT", "LIST")
        assert isinstance(clients, bytes)
        lines = [line for line in clients.splitlines() if b" name=%b " % name.encode() in line]
        if any(b"cmd=" + wanted in line for line in lines):
            return


@pytest.mark.parametrize("kind", LEFT)
def test_a_client_left_open_is_reported_and_ended(
    isolation: ResetIsolation, app: Connection, connect: Connect, kind: str
) -> None:
    left = connect(name="left")
    leave(left, LEFT[kind])
    arrived(app, "left", str(LEFT[kind][-1][0]).lower().encode())

    outcome = isolation.reset()

    assert [leak.kind for leak in outcome.leaks] == [kind]
    assert "'left'" in outcome.leaks[0].what
    assert "database 0" in outcome.leaks[0].what
    assert isolation.verify() == ()
    with pytest.raises(ServerUnreachable):
        read_on(left)
    assert still_works(app)
    isolation.begin("the next test")
    assert isolation.reset().leaks == ()


def test_a_replica_of_the_tests_own_is_reported(
    isolation: ResetIsolation, app: Connection, shared: RedisServer, start: Start
) -> None:
    follower = start()
    app.pipeline([("CONFIG", "SET", "repl-diskless-sync-delay", 0)])
    with follower.connect() as connection:
        connection.call("REPLICAOF", "127.0.0.1", shared.endpoint.port)
        wait_until(lambda: follows(app), timeout_s=10)

        outcome = isolation.reset()

    follower.stop()
    assert [leak.kind for leak in outcome.leaks] == ["replica"]
    isolation.begin("the next test")
    isolation.reset()


def follows(app: Connection) -> None:
    if b"state=online" not in bytes(app.call("INFO", "replication")):  # type: ignore[arg-type]
        raise NotReady


def test_several_are_each_reported(isolation: ResetIsolation, app: Connection, connect: Connect) -> None:
    for n in range(5):
        connect(name=f"left{n}")

    outcome = isolation.reset()

    assert len(outcome.leaks) == 5
    assert still_works(app)


def test_a_client_that_was_closed_is_no_leak(isolation: ResetIsolation, connect: Connect) -> None:
    for _ in range(30):
        isolation.begin("a test")
        connection = connect()
        connection.call("SET", "k", "v")
        connection.close()
        assert isolation.reset().leaks == ()
        assert isolation.verify() == ()


def test_what_a_leaked_client_writes_while_it_is_ended_is_gone(isolation: ResetIsolation, connect: Connect) -> None:
    left = connect()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            try:
                left.pipeline([("SET", f"k{n}", "v") for n in range(50)])
            except ServerUnreachable:
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcome = isolation.reset()
    finally:
        stop.set()
        writer.join()

    assert len(outcome.leaks) == 1
    assert isolation.verify() == ()


def test_the_kits_own_connections_and_spared_ones_are_no_leaks(shared: RedisServer, connect: Connect) -> None:
    def is_the_apps(client: Client) -> bool:
        return client.name == "pool"

    isolation = ResetIsolation(shared, spare=is_the_apps)
    isolation.begin("the test")
    ours, pooled = shared.connect(), connect(name="pool")

    assert isolation.reset().leaks == ()
    assert still_works(ours)
    assert still_works(pooled)
    ours.close()
    isolation.close()


def test_what_lived_before_keeps_its_subscription_and_its_wait(
    isolation: ResetIsolation, app: Connection, connect: Connect
) -> None:
    listener, worker = connect(), connect(name="worker")
    listener.call("SUBSCRIBE", "news")
    leave(worker, [("BLPOP", "queue", 0)])
    arrived(app, "worker", b"blpop")
    isolation.begin("the test")

    assert isolation.reset().leaks == ()

    app.pipeline([("PUBLISH", "news", "hello"), ("RPUSH", "queue", "job")])
    assert listener.read() == [b"message", b"news", b"hello"]
    assert worker.read() == [b"queue", b"job"]
    isolation.reset()


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("transaction", [("MULTI",)]),
        ("session", [("SELECT", 3)]),
        ("monitor", [("MONITOR",)]),
        ("subscription", [("PSUBSCRIBE", "n*")]),
        ("watch", [("SET", "w", 1), ("WATCH", "w")]),
    ],
)
def test_what_lived_before_is_ended_when_the_next_test_would_feel_it(
    isolation: ResetIsolation, app: Connection, connect: Connect, kind: str, commands: list[Command]
) -> None:
    pooled = connect(name="pooled")
    isolation.begin("the test")
    for command in commands:
        pooled.call(*command)

    outcome = isolation.reset()

    assert [leak.kind for leak in outcome.leaks] == [kind]
    assert not still_works(pooled)
    assert still_works(app)


def test_a_client_whose_user_is_gone_is_gone_too(isolation: ResetIsolation, app: Connection, connect: Connect) -> None:
    pooled = connect()
    isolation.begin("the test")
    app.call("ACL", "SETUSER", "alice", "on", ">pw", "~*", "+@all")
    pooled.call("AUTH", "alice", "pw")

    outcome = isolation.reset()

    assert [leak.kind for leak in outcome.leaks] == ["session"]
    assert not still_works(pooled)
    assert isolation.verify() == ()


def test_ending_every_client_ends_not_the_kit(isolation: ResetIsolation, app: Connection) -> None:
    app.call("SET", "k", "v")
    app.call("CONFIG", "SET", "timeout", 5)
    with pytest.raises((RedisRefused, ServerUnreachable)):
        app.pipeline([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), ("PING",)])[1].bit_length()  # type: ignore[union-attr]

    outcome = isolation.reset()

    assert outcome.leaks == ()
    assert isolation.verify() == ()

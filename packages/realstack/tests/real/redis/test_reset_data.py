"""Keys of every kind are gone after a test, and those of a baseline are back."""

import time

import pytest

from realstack.errors import BaselineUnknown
from realstack.isolation.redis import ResetIsolation
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Command, Connection

from .conftest import Connect

KINDS: dict[str, list[Command]] = {
    "string": [("SET", "k", "v"), ("APPEND", "k", "w")],
    "binary": [("SET", b"\x00\xff\r\n*1", b"\r\n$5\r\n\x00\xfe")],
    "long": [("SETRANGE", "k", 1_000_000, "x")],
    "counter": [("INCRBY", "k", 7), ("INCRBYFLOAT", "f", "1.5")],
    "list": [("RPUSH", "k", *range(300))],
    "hash": [("HSET", "k", "a", 1, "b", 2)],
    "big hash": [("HSET", "k", *(word for n in range(700) for word in (f"f{n}", n)))],
    "set": [("SADD", "k", *(f"m{n}" for n in range(700)))],
    "integer set": [("SADD", "k", 1, 2, 3)],
    "sorted set": [("ZADD", "k", 1.5, "a", "-inf", "b")],
    "geo": [("GEOADD", "k", 13.4, 52.5, "Berlin")],
    "bitmap": [("SETBIT", "k", 1000, 1)],
    "hyperloglog": [("PFADD", "k", "a", "b")],
    "stream with a group": [
        ("XADD", "k", "1-1", "f", "v"),
        ("XADD", "k", "2-1", "f", "w"),
        ("XGROUP", "CREATE", "k", "g", 0),
        ("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "k", ">"),
    ],
    "expiring": [("SET", "k", "v", "PX", 100_000), ("HSET", "h", "f", "v"), ("EXPIRE", "h", 1000)],
    "other databases": [("SELECT", 3), ("SET", "k", "v"), ("SELECT", 15), ("SADD", "s", "m"), ("SELECT", 0)],
    "transaction": [("MULTI",), ("SET", "k", "v"), ("EXEC",)],
    "script": [("EVAL", "return redis.call('set', KEYS[1], ARGV[1])", 1, "k", "v")],
}
kinds = pytest.mark.parametrize("kind", KINDS)


def run(connection: Connection, commands: list[Command]) -> None:
    for command in commands:
        connection.call(*command)


@kinds
def test_what_a_test_wrote_is_gone(isolation: ResetIsolation, app: Connection, kind: str) -> None:
    run(app, KINDS[kind])
    assert isolation.verify() != ()

    outcome = isolation.reset()

    assert outcome.strategy == "reset"
    assert outcome.leaks == ()
    assert any(line.startswith("db") for line in outcome.changed)
    assert app.call("INFO", "keyspace") == b"# Keyspace\r\n"
    assert isolation.verify() == ()


@kinds
def test_a_baseline_comes_back_when_a_test_changed_it(isolation: ResetIsolation, app: Connection, kind: str) -> None:
    run(app, KINDS[kind])
    isolation.push("module")
    for n in range(16):
        run(app, [("SELECT", n), ("FLUSHDB",), ("SET", "k", "another"), ("SELECT", 0)])
    assert isolation.verify() != ()

    isolation.reset()

    assert isolation.verify() == ()
    isolation.pop("module")
    assert isolation.verify() == ()
    assert app.call("DBSIZE") == 0


@kinds
def test_a_baseline_stays_when_a_test_only_read(isolation: ResetIsolation, app: Connection, kind: str) -> None:
    run(app, KINDS[kind])
    isolation.push("module")
    isolation.reset()
    app.pipeline([("GET", "k"), ("TYPE", "k"), ("SCAN", 0), ("TTL", "k"), ("EXISTS", "k")])

    isolation.reset()

    assert isolation.verify() == ()
    isolation.pop("module")


@pytest.mark.parametrize(
    "command",
    [
        ("SWAPDB", 0, 5),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("MOVE", "a", 9),
        ("RENAME", "a", "b"),
        ("COPY", "a", "c"),
        ("DEL", "a"),
        ("UNLINK", "a"),
        ("GETDEL", "a"),
        ("GETEX", "a", "EX", 5),
        ("PERSIST", "t"),
        ("EXPIRE", "a", 50),
        ("SORT", "l", "STORE", "d"),
        ("EVAL", "redis.call('del', 'a')", 0),
        ("LPOP", "l"),
        ("BLPOP", "l", 1),
        ("DEBUG", "RELOAD"),
    ],
    ids=lambda command: command[0],
)
def test_every_way_to_lose_a_baseline_is_seen(isolation: ResetIsolation, app: Connection, command: Command) -> None:
    run(
        app,
        [("SET", "a", "1"), ("RPUSH", "l", 3, 1, 2), ("SET", "t", "v", "EX", 500), ("SELECT", 5), ("SET", "five", 5)],
    )
    run(app, [("SELECT", 0)])
    isolation.push("module")
    isolation.reset()
    app.call(*command)

    isolation.reset()

    assert isolation.verify() == ()
    isolation.pop("module")


def test_the_ttl_of_a_baseline_keeps_running(isolation: ResetIsolation, app: Connection) -> None:
    run(app, [("SET", "k", "v", "PX", 60_000), ("SET", "short", "v", "PX", 20)])
    isolation.push("module")
    before = app.call("PTTL", "k")
    app.call("BLPOP", "nothing", 0.05)  # what the server can wait for, in place of a sleep
    app.call("FLUSHALL")

    isolation.reset()

    after = app.call("PTTL", "k")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert before - 5000 < after <= before - 40
    assert app.call("EXISTS", "short") == 0
    assert isolation.verify() == ()
    isolation.pop("module")


def test_baselines_stack_and_dropping_one_drops_those_above(isolation: ResetIsolation, app: Connection) -> None:
    app.call("SET", "session", 1)
    isolation.push("session")
    app.call("SET", "module", 1)
    isolation.push("module")
    app.call("SET", "class", 1)
    isolation.push("class")
    app.call("DEL", "session", "module", "class")

    isolation.reset()
    assert app.call("EXISTS", "session", "module", "class") == 3
    isolation.pop("module")
    assert app.call("EXISTS", "session", "module", "class") == 1
    with pytest.raises(BaselineUnknown, match="class"):
        isolation.pop("class")
    isolation.pop("session")

    assert app.call("EXISTS", "session", "module", "class") == 0
    assert isolation.verify() == ()


def test_a_baseline_holds_settings_and_users_too(isolation: ResetIsolation, app: Connection) -> None:
    run(
        app,
        [("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("ACL", "SETUSER", "alice", "on", ">pw", "~*", "+get")],
    )
    isolation.push("module")
    isolation.reset()
    run(app, [("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("ACL", "DELUSER", "alice")])

    isolation.reset()

    assert isolation.verify() == ()
    assert app.call("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"allkeys-lru"]
    isolation.pop("module")
    assert app.call("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
    assert app.call("ACL", "USERS") == [b"default"]


def test_many_keys_come_back_quickly(isolation: ResetIsolation, app: Connection) -> None:
    app.pipeline([("SET", f"k{n}", "v" * 50) for n in range(5000)])
    isolation.push("module")
    app.call("FLUSHALL")

    started = time.perf_counter()
    isolation.reset()

    assert time.perf_counter() - started < 2
    assert app.call("DBSIZE") == 5000
    assert isolation.verify() == ()
    isolation.pop("module")


@pytest.mark.soak
@pytest.mark.parametrize("with_baseline", [False, True], ids=["empty", "baseline"])
def test_very_many_keys_are_no_reason_to_restart(
    isolation: ResetIsolation, connect: Connect, shared: RedisServer, with_baseline: bool
) -> None:
    app = connect(timeout_s=30)
    isolation.begin("the test")
    if with_baseline:
        app.call("SET", "base", 1)
    isolation.push("module")
    pid = shared.pid
    app.call("DEBUG", "POPULATE", 1_500_000)

    outcome = isolation.reset()

    assert outcome.leaks == ()
    assert shared.pid == pid
    assert app.call("DBSIZE") == int(with_baseline)
    isolation.pop("module")


def test_differences_are_named_in_words(isolation: ResetIsolation, app: Connection) -> None:
    run(app, [("SET", "same", 1), ("SET", "gone", 1), ("SET", "other", 1), ("SET", "ttl", 1), ("SADD", "s", *range(9))])
    isolation.push("module")
    run(app, [("DEL", "gone"), ("SET", "other", 2), ("EXPIRE", "ttl", 100), ("SELECT", 7), ("SET", "new", 1)])
    run(app, [("SELECT", 0), ("CONFIG", "SET", "timeout", 77), ("CONFIG", "SET", "requirepass", "geheim")])

    said = isolation.verify()

    assert "db0: key 'gone' is missing" in said
    assert "db0: key 'other' (string) has another value" in said
    assert "db7: key 'new' is new (string)" in said
    assert "config timeout: '0' became '77'" in said
    assert any("'ttl' expires at" in line for line in said)
    assert not any("same" in line or "'s'" in line for line in said)
    assert "geheim" not in " ".join(said)
    isolation.reset()
    isolation.pop("module")
    assert isolation.verify() == ()

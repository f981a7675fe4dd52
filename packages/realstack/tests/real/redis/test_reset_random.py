"""Whatever a test does in whatever order: the server is what it was, by a dump the kit has no part in."""

import random

import pytest

from realstack.isolation.redis import ResetIsolation
from realstack.services.redis.wire import Command, Connection, RedisRefused

from .conftest import Connect

SEED = 6379


def everything(connection: Connection) -> list[object]:
    said: list[object] = []
    for number in range(16):
        connection.call("SELECT", number)
        keys = connection.call("KEYS", "*")
        assert isinstance(keys, list)
        for key in sorted(key for key in keys if isinstance(key, bytes)):
            *facts, ttl = connection.pipeline([("TYPE", key), ("DEBUG", "DIGEST-VALUE", key), ("PTTL", key)])
            said.append((number, key, facts, ttl == -1))
    connection.call("SELECT", 0)
    questions: list[Command] = [("CONFIG", "GET", "*"), ("MODULE", "LIST"), ("FUNCTION", "DUMP")]
    replies = connection.pipeline(questions)
    users = connection.call("ACL", "LIST")
    assert isinstance(users, list)
    # "sanitize-payload" is what happens anyway, and is said of a user only after its rules were once reset
    said += [bytes(rule).replace(b" sanitize-payload", b"") for rule in users if isinstance(rule, bytes)]
    return [*said, *(str(reply) if isinstance(reply, RedisRefused) else reply for reply in replies)]


def commands(dice: random.Random) -> list[Command]:
    def key() -> str:
        return f"k{dice.randrange(6)}"

    choices: list[Command] = [
        ("SET", key(), dice.random()),
        ("SET", key(), "v", "EX", dice.randrange(100, 1000)),
        ("DEL", key()),
        ("INCR", key()),
        ("APPEND", key(), "x" * dice.randrange(100)),
        ("LPUSH", f"l{key()}", *range(dice.randrange(1, 200))),
        ("LPOP", f"l{key()}"),
        ("SADD", f"s{key()}", *range(dice.randrange(1, 700))),
        ("SPOP", f"s{key()}"),
        ("HSET", f"h{key()}", dice.randrange(9), dice.random()),
        ("ZADD", f"z{key()}", dice.random(), dice.randrange(9)),
        ("XADD", f"x{key()}", "*", "f", dice.random()),
        ("XGROUP", "CREATE", f"x{key()}", f"g{dice.randrange(3)}", "0", "MKSTREAM"),
        ("EXPIRE", key(), 500),
        ("PERSIST", key()),
        ("RENAME", key(), key()),
        ("SELECT", dice.randrange(4)),
        ("SWAPDB", dice.randrange(4), dice.randrange(4)),
        ("FLUSHDB",),
        ("FLUSHALL", "ASYNC"),
        ("MOVE", key(), dice.randrange(4)),
        ("GET", key()),
        ("SCAN", 0),
        ("CONFIG", "SET", "maxmemory-policy", dice.choice(["allkeys-lru", "noeviction", "volatile-ttl"])),
        ("CONFIG", "SET", "timeout", dice.randrange(500, 600)),
        ("CONFIG", "RESETSTAT"),
        ("ACL", "SETUSER", f"u{dice.randrange(3)}", "on", ">p", "~*", "+@read"),
        ("ACL", "DELUSER", f"u{dice.randrange(3)}"),
        ("EVAL", "return redis.call('incr', KEYS[1])", 1, key()),
        ("FUNCTION", "LOAD", "REPLACE", "#!lua name=m\nredis.register_function('f', function() return 1 end)"),
        ("FUNCTION", "FLUSH"),
        ("MULTI",),
        ("EXEC",),
        ("DEBUG", "RELOAD"),
    ]
    return [("SELECT", 0), *dice.choices(choices, k=dice.randrange(1, 40)), ("DISCARD",), ("SELECT", 0)]


@pytest.mark.parametrize("with_baseline", [False, True], ids=["empty", "baseline"])
def test_random_commands(isolation: ResetIsolation, connect: Connect, with_baseline: bool) -> None:
    try_random_commands(isolation, connect, with_baseline=with_baseline, seed=SEED, rounds=60)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
def test_many_random_commands(isolation: ResetIsolation, connect: Connect, seed: int) -> None:
    try_random_commands(isolation, connect, with_baseline=bool(seed % 2), seed=seed, rounds=40)


def try_random_commands(
    isolation: ResetIsolation, connect: Connect, *, with_baseline: bool, seed: int, rounds: int
) -> None:
    dice = random.Random(seed)
    connection, judge = connect(), connect(name="realstack")
    if with_baseline:
        connection.pipeline([*commands(dice), ("SET", "base", 1), ("SADD", "many", *range(999))])
    isolation.push("module")
    for round_number in range(rounds):
        wanted = everything(judge)
        isolation.begin("a test")
        done = commands(dice)
        connection.pipeline(done)

        outcome = isolation.reset()

        assert outcome.leaks == (), (round_number, done)
        assert everything(judge) == wanted, (round_number, done, outcome)
        assert isolation.verify() == (), (round_number, done, outcome)
    isolation.pop("module")

"""The Redis pool: errors, limits, cancellation, loss of connections."""

import asyncio
import random
from contextlib import suppress

import pytest

from agent_backend.errors import (
    LoginRefused,
    PoolExhausted,
    StatementRefused,
    StorageClosed,
    StorageFull,
    StorageTimeout,
    StorageUnavailable,
    WrongEventLoop,
)
from agent_backend.memory import RedisMemory
from agent_backend.storage.redis import RedisDatabase

pytestmark = [pytest.mark.integration, pytest.mark.redis]


def parts_of(url: str) -> tuple[str, int, int]:
    host, _, rest = url.partition("://")[2].rpartition("@")[2].partition(":")
    port, _, number = rest.partition("/")
    return host, int(port), int(number or 0)


async def waiting_has_begun(url: str) -> None:
    async with RedisDatabase(url) as other:
        while not (await other.ask("INFO"))["blocked_clients"]:
            pass


async def test_a_server_that_is_not_there_is_a_retryable_error_without_the_password():
    database = RedisDatabase("redis://:hunter2@127.0.0.1:1/0")
    with pytest.raises(ConnectionError) as lost:
        await database.connect()
    assert isinstance(lost.value, StorageUnavailable)
    assert lost.value.retryable
    assert "hunter2" not in str(lost.value) + repr(database)
    await database.disconnect()


def test_the_seed_constructor_asks_for_a_sign_of_life():
    with pytest.raises(ConnectionError, match="redis://:\\*\\*\\*@localhost:1/0"):
        RedisMemory(host="localhost", port=1, password="hunter2")


async def test_the_seed_constructor_opens_a_pool_of_its_own(redis_url, redis_memory_real):
    host, port, number = parts_of(redis_url)
    async with RedisMemory(host=host, port=port, db=number, max_connections=3) as memory:
        await memory.store("aqe/x", 1)
        assert memory.pool.max_connections == 3
        assert await memory.client.exists(memory.slot("aqe/x"))
    assert await redis_memory_real.retrieve("aqe/x") == 1


async def test_a_plain_close_closes(redis_url, redis_memory_real, eventually):
    before = len(await redis_memory_real.client.client_list())
    with RedisMemory.from_url(redis_url) as memory:
        await memory.store("aqe/x", 1)
    with pytest.raises(StorageClosed):
        await memory.retrieve("aqe/x")

    async def is_gone():
        return len(await redis_memory_real.client.client_list()) == before

    await eventually(is_gone)


async def test_closing_a_memory_leaves_a_shared_pool_open(redis_database):
    await RedisMemory(database=redis_database).close()

    assert await redis_database.ask("PING")


async def test_a_wrong_password_is_no_retryable_error(redis_database, redis_url):
    await redis_database.ask("ACL", "SETUSER", "someone", "on", ">right", "+@all", "~*")
    database = RedisDatabase(redis_url.replace("://", "://someone:hunter2@"))
    with pytest.raises(LoginRefused) as refused:
        await database.connect()
    assert not refused.value.retryable
    assert "hunter2" not in str(refused.value)
    await database.disconnect()
    await redis_database.ask("ACL", "DELUSER", "someone")


async def test_what_the_server_refuses_carries_its_error_word(redis_database):
    await redis_database.ask("SET", "text", "x")
    with pytest.raises(StatementRefused) as refused:
        await redis_database.ask("LPUSH", "text", "y")
    assert refused.value.code == "WRONGTYPE"


async def test_a_server_that_does_not_answer_is_a_timeout(redis_database, redis_url):
    async with RedisDatabase(redis_url, command_timeout_s=0.1) as hasty:
        await redis_database.ask("CLIENT", "PAUSE", 60_000, "WRITE")
        with pytest.raises(StorageTimeout) as late:
            await hasty.ask("SET", "a", "1")
        await redis_database.ask("CLIENT", "UNPAUSE")
        assert (late.value.waited_s, late.value.retryable) == (0.1, True)
        await hasty.ask("SET", "a", "2")
        assert await hasty.ask("GET", "a") == "2"


async def test_a_pool_in_use_is_an_error_in_time(redis_url):
    async with RedisDatabase(redis_url, max_connections=1, acquire_timeout_s=0.1) as database:
        waiting = asyncio.ensure_future(database.ask("BLPOP", "nothing", 1))
        await waiting_has_begun(redis_url)
        with pytest.raises(PoolExhausted) as exhausted:
            await database.ask("PING")
        assert (exhausted.value.size, exhausted.value.retryable) == (1, True)
        assert await waiting is None
        assert await database.ask("PING")


async def test_a_storm_of_cancellations_leaks_no_connection_and_crosses_no_reply(redis_url):
    """Row 10."""
    rolls = random.Random(5)
    async with RedisDatabase(redis_url, max_connections=4) as database:
        memory = RedisMemory(database=database)
        for n in range(20):
            await memory.store(f"aqe/{n}", n)

        async def ask(number: int) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(rolls.uniform(0, 0.003)):
                    assert await memory.retrieve(f"aqe/{number}") == number

        for _ in range(30):
            await asyncio.gather(*(ask(number) for number in range(20)))

        assert await asyncio.gather(*(memory.retrieve(f"aqe/{n}") for n in range(20))) == list(range(20))
        turns = [database.ask("BLPOP", f"queue{n}", 5) for n in range(4)]
        blocked = [asyncio.ensure_future(turn) for turn in turns]
        async with RedisDatabase(redis_url) as other:
            for n in range(4):
                await other.ask("RPUSH", f"queue{n}", str(n))
        assert [tuple(answer) for answer in await asyncio.gather(*blocked)] == [(f"queue{n}", str(n)) for n in range(4)]


async def test_connections_the_server_ended_are_replaced(redis_database, redis_url):
    """Row 12."""
    memory = RedisMemory(database=redis_database)
    await asyncio.gather(*(memory.store(f"aqe/{n}", n) for n in range(8)))
    async with RedisDatabase(redis_url) as other:
        await other.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert await asyncio.gather(*(memory.retrieve(f"aqe/{n}") for n in range(8))) == list(range(8))


async def test_a_connection_lost_in_the_middle_is_a_retryable_error(redis_database, redis_url):
    waiting = asyncio.ensure_future(redis_database.ask("BLPOP", "nothing", 30))
    async with RedisDatabase(redis_url) as other:
        await waiting_has_begun(redis_url)
        assert await other.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(StorageUnavailable) as lost:
            await waiting
    assert lost.value.retryable
    assert await redis_database.ask("PING")


async def test_scripts_the_server_forgot_are_given_again(redis_database):
    memory = RedisMemory(database=redis_database)
    await memory.store("aqe/x", 1)
    await redis_database.ask("SCRIPT", "FLUSH")
    await memory.store("aqe/x", 2)

    assert await memory.retrieve("aqe/x") == 2


async def test_a_full_server_refuses_and_keeps_what_it_has(redis_database):
    memory = RedisMemory(database=redis_database)
    await memory.store("aqe/kept", "old", partition="p")
    await redis_database.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await redis_database.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(StorageFull, match="maxmemory"):
            await memory.store("aqe/kept", "new", partition="q")
        with pytest.raises(StorageFull, match="maxmemory"):
            await memory.store("aqe/more", "new", partition="q")
        item = await memory.item("aqe/kept")
        assert (item.value, item.partition) == ("old", "p")
        assert await memory.list_keys() == ["aqe/kept"]
        await memory.delete("aqe/kept")
        assert await memory.list_keys() == []
    finally:
        await redis_database.ask("CONFIG", "SET", "maxmemory", 0)


def test_a_pool_of_another_event_loop_is_refused(redis_url):
    database = RedisDatabase(redis_url)

    async def use() -> object:
        return await database.ask("PING")

    async def use_and_look_elsewhere() -> None:
        assert await use()
        with pytest.raises(WrongEventLoop):
            await asyncio.get_running_loop().run_in_executor(None, asyncio.run, use())
        await database.disconnect()

    asyncio.run(use_and_look_elsewhere())

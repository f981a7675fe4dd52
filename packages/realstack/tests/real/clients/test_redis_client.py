import asyncio
import gc
import socket
import warnings

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServerUnreachable
from realstack.services.redis.testing import RedisManager, close_redis_client, open_redis_client


def clients_of(url: str) -> list[str]:
    """Return the clients the server has besides the one that asks, by a connection of plain bytes."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"CLIENT LIST TYPE normal\r\nCLIENT LIST TYPE pubsub\r\nQUIT\r\n")
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return [line for line in answer.decode().splitlines() if line.startswith("id=") and "cmd=client" not in line]


def assert_no_client(url: str) -> None:
    def look() -> None:
        if left := clients_of(url):
            raise NotReady(str(left))

    wait_until(look, timeout_s=5)


async def test_the_client_speaks_strings(redis_server: str):
    client = open_redis_client(redis_server)

    assert await client.set("user_profile:1", '{"name": "Test"}') is True
    assert await client.get("user_profile:1") == '{"name": "Test"}'
    assert await client.get("nothing") is None
    assert await client.flushdb() is True
    assert len(await asyncio.to_thread(clients_of, redis_server)) == 1
    await client.aclose()


async def test_the_client_speaks_bytes_when_asked(redis_server: str):
    client = open_redis_client(redis_server, decode_responses=False)
    await client.set("k", b"\x00\xff")

    assert await client.get("k") == b"\x00\xff"
    await client.aclose()


async def test_overlapping_commands_pipelines_transactions_and_messages_work(redis_server: str):
    client = open_redis_client(redis_server)
    assert await asyncio.gather(*(client.echo(str(n)) for n in range(50))) == [str(n) for n in range(50)]
    async with client.pipeline(transaction=True) as pipe:
        assert await pipe.set("a", 1).incr("a").execute() == [True, 2]
    async with client.pubsub() as messages:
        await messages.subscribe("news")
        assert await messages.get_message(timeout=5)
        await client.publish("news", "hello")
        assert (await messages.get_message(timeout=5))["data"] == "hello"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.blpop("empty", timeout=0), 0.05)
    assert await client.get("a") == "2"
    await client.aclose()
    await asyncio.to_thread(assert_no_client, redis_server)


def test_one_client_serves_several_event_loops_in_turn_and_is_ended_from_outside(redis_server: str):
    client = open_redis_client(redis_server)

    async def use(n: int) -> str:
        await client.set("n", n)
        messages = client.pubsub()
        await messages.subscribe("news")
        return await client.get("n")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(use(n)) for n in range(3)] == ["0", "1", "2"]
        close_redis_client(client)
        gc.collect()
        assert_no_client(redis_server)
        with asyncio.Runner() as runner:
            runner.run(client.ping())
            close_redis_client(client)
            assert_no_client(redis_server)
        gc.collect()


async def test_the_manager_has_the_commands_of_the_seeds(redis_server: str):
    manager = RedisManager(redis_server)
    await manager.ensure_available()
    await manager.flushdb()

    assert await manager.set("k", "v", ex=100)
    assert await manager.get("k") == "v"
    assert await (await manager.get_client()).ttl("k") > 90
    assert await manager.exists("k")
    assert await manager.set_json("j", {"a": [1, None]})
    assert await manager.get_json("j") == {"a": [1, None]}
    assert await manager.get_json("missing") is None
    assert await manager.lpush("l", "a", "b") == 2
    assert await manager.lrange("l", 0, -1) == ["b", "a"]
    assert await manager.delete("k", "missing") == 1
    assert await manager.delete() == 0
    assert not await manager.exists("k")
    assert await manager.ping()
    await manager.close()
    assert await manager.get_json("j") == {"a": [1, None]}
    await manager.close()
    manager.terminate()


async def test_a_redis_that_does_not_answer_is_named_without_its_password(redis_server: str):
    manager = RedisManager("redis://:secret@127.0.0.1:1/0")

    with pytest.raises(ServerUnreachable) as caught:
        await manager.ensure_available()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(manager)

"""redis.asyncio on the kit's server: cancelled in the middle of replies, many at once, over resets."""

import asyncio
import contextlib
import random

import redis.asyncio as aioredis
from realstack.isolation.redis import ResetIsolation
from realstack.services.redis.server import RedisServer


async def test_clients_cancelled_in_the_middle_leave_nothing_behind(
    isolation: ResetIsolation, shared: RedisServer
) -> None:
    dice = random.Random(20)
    for test in range(6):
        isolation.begin(f"test {test}")
        client = aioredis.Redis.from_url(shared.endpoint.url, max_connections=50)
        await client.set("big", b"x" * 300_000)

        async def work(client: aioredis.Redis, n: int) -> None:
            async with client.pipeline(transaction=n % 2 == 0) as pipe:
                await pipe.set(f"k{n}", n).get("big").get(f"k{n}").execute()
            await client.blpop([f"nothing{n}"], timeout=0.1)

        tasks = [asyncio.create_task(work(client, n)) for n in range(25)]
        await asyncio.wait(tasks, timeout=dice.random() * 0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        values = await asyncio.gather(*(client.echo(f"v{n}") for n in range(40)))
        assert values == [f"v{n}".encode() for n in range(40)]
        await client.aclose()
        outcome = isolation.reset()
        assert outcome.leaks == ()
        assert isolation.verify() == ()


async def test_a_pool_that_lives_on_works_after_each_reset(isolation: ResetIsolation, shared: RedisServer) -> None:
    client = aioredis.Redis.from_url(shared.endpoint.url, decode_responses=True)
    await asyncio.gather(*(client.ping() for _ in range(20)))
    for test in range(20):
        isolation.begin(f"test {test}")
        await client.set("k", test)
        assert await client.get("k") == str(test)
        await client.config_set("maxmemory-policy", "allkeys-lru")
        assert isolation.reset().leaks == ()
        assert await client.get("k") is None
    await client.aclose()


async def test_pubsub_and_transactions_left_open_are_told_apart(isolation: ResetIsolation, shared: RedisServer) -> None:
    client = aioredis.Redis.from_url(shared.endpoint.url)
    await client.ping()
    isolation.begin("a test")
    pubsub = client.pubsub()
    await pubsub.subscribe("news")
    other = aioredis.Redis.from_url(shared.endpoint.url, single_connection_client=True)
    await other.execute_command("MULTI")

    outcome = isolation.reset()

    assert sorted(leak.kind for leak in outcome.leaks) == ["subscription", "transaction"]
    assert await client.ping()
    await pubsub.aclose()
    await other.aclose()
    await client.aclose()
    isolation.begin("the next")
    assert isolation.reset().leaks == ()


async def test_a_pool_survives_a_restart_of_the_server(isolation: ResetIsolation, shared: RedisServer) -> None:
    client = aioredis.Redis.from_url(shared.endpoint.url)
    await client.ping()

    isolation.recover()

    with contextlib.suppress(aioredis.ConnectionError):  # it learns of the restart by its first command
        await client.ping()
    assert await client.ping()
    await client.aclose()

"""Cancelling at any moment neither leaks a connection nor lets a reply reach the wrong call."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from realstack.services.postgres import _connections
from realstack.services.postgres._connections import Connections
from realstack.services.postgres.testing import Postgres

from .conftest import PostgresServer

MINE = "SELECT pid, state, query FROM pg_stat_activity WHERE application_name = 'realstack' AND pid <> pg_backend_pid()"


@pytest.fixture(params=[10, 1], ids=["ten connections", "one connection"])
async def postgres(request, postgres_server: PostgresServer) -> AsyncIterator[Postgres]:
    postgres = Postgres(postgres_server.dsn, socket_dsn=postgres_server.socket_dsn, max_size=request.param)
    await postgres.execute("DROP TABLE IF EXISTS c; CREATE TABLE c (n int)")
    yield postgres
    await postgres.close()


async def cancel_after(task: "asyncio.Task[object]", seconds: float) -> None:
    """Cancel *task* once *seconds* have passed, or leave it be when it is done by then."""
    await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_200_calls_cancelled_in_the_middle_of_their_reply_leave_every_later_reply_right(postgres: Postgres):
    chance = random.Random(20251)
    cancelled = 0
    for n in range(200):
        query = f"SELECT {-n} AS n, repeat('x', {chance.randrange(1, 20_000)}) FROM generate_series(1, 200)"
        task = asyncio.ensure_future(postgres.fetch(query))
        await cancel_after(task, chance.random() * 0.003)
        cancelled += task.cancelled()
        assert await postgres.fetchval("SELECT $1::int", n) == n

    assert cancelled > 50
    assert [row async for row in as_rows(postgres, range(50))] == list(range(50))
    assert all(row["state"] == "idle" for row in await postgres.fetch(MINE))


async def as_rows(postgres: Postgres, numbers: range) -> AsyncIterator[int]:
    for each in await asyncio.gather(*(postgres.fetchval("SELECT $1::int", n) for n in numbers)):
        yield each


async def test_a_cancelled_call_is_stopped_on_the_server_too(postgres: Postgres):
    task = asyncio.ensure_future(postgres.execute("SELECT pg_sleep(60)"))
    await cancel_after(task, 0.1)

    async with asyncio.timeout(5):
        assert await postgres.fetchval("SELECT 1") == 1
        assert await postgres.fetchval(f"SELECT count(*) FROM ({MINE}) AS mine WHERE state = 'active'") == 0


async def test_a_call_that_ran_into_its_timeout_leaves_the_next_one_right(postgres: Postgres):
    with pytest.raises(TimeoutError):
        await postgres.execute("SELECT pg_sleep(60)", timeout=0.05)

    assert await postgres.fetchval("SELECT 7") == 7


async def test_a_connection_that_stays_silent_after_a_timeout_is_replaced(postgres: Postgres, monkeypatch):
    monkeypatch.setattr(_connections, "_SETTLE_WITHIN_S", 0.3)
    frozen = await postgres.fetchval("SELECT pg_backend_pid()")
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await postgres.execute("SELECT 1", timeout=0.1)
        async with asyncio.timeout(5):
            assert await postgres.fetchval("SELECT pg_backend_pid()") != frozen
    finally:
        os.kill(frozen, signal.SIGCONT)


async def test_a_cancelled_transaction_is_rolled_back_whatever_moment_it_was_in(postgres: Postgres):
    chance = random.Random(20252)

    async def write(n: int) -> None:
        async with postgres.transaction() as inside:
            await inside.execute("INSERT INTO c VALUES ($1)", n)
            await inside.execute("INSERT INTO c VALUES ($1)", -n)

    done = 0
    for n in range(1, 101):
        task = asyncio.ensure_future(write(n))
        await cancel_after(task, chance.random() * 0.004)
        done += not task.cancelled()

    assert (
        await postgres.fetchval("SELECT count(*) FROM (SELECT abs(n) FROM c GROUP BY 1 HAVING count(*) <> 2) AS half")
        == 0
    )
    assert await postgres.fetchval("SELECT count(*) FROM c") >= done * 2
    assert await postgres.fetchval(f"SELECT count(*) FROM ({MINE}) AS mine WHERE state <> 'idle'") == 0


async def test_a_turn_given_to_a_caller_who_is_cancelled_in_the_same_moment_goes_to_the_next(postgres_server):
    connections = Connections(lambda: asyncpg.connect(postgres_server.socket_dsn), max_size=1, timeout_s=5)
    held = await connections.take()
    first, second = asyncio.ensure_future(connections.take()), asyncio.ensure_future(connections.take())
    await asyncio.wait({first, second}, timeout=0.05)

    connections.give(held)
    first.cancel()

    assert await asyncio.wait_for(second, 1) is held
    await connections.close()


async def test_callers_cancelled_while_they_wait_for_a_connection_do_not_take_the_turn_of_others(postgres_server):
    postgres = Postgres(postgres_server.dsn, max_size=2)
    chance = random.Random(20253)
    tasks = [asyncio.ensure_future(postgres.fetchval("SELECT $1::int FROM pg_sleep(0.002)", n)) for n in range(100)]
    victims = set(chance.sample(range(100), 40))
    await asyncio.wait(tasks, timeout=0.02)
    for n in victims:
        tasks[n].cancel()

    async with asyncio.timeout(10):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[n] for n in range(100) if n not in victims] == [n for n in range(100) if n not in victims]
    await postgres.close()

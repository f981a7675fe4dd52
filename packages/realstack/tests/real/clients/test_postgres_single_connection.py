import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from realstack.errors import LoopChanged, OuterTransactionEnded
from realstack.services.postgres.testing import Postgres

from .conftest import PostgresServer


@pytest.fixture
async def outside(postgres_server: PostgresServer) -> AsyncIterator[Postgres]:
    outside = Postgres(postgres_server.socket_dsn)
    await outside.execute("DROP TABLE IF EXISTS s; CREATE TABLE s (n int PRIMARY KEY)")
    yield outside
    await outside.close()


@pytest.fixture
async def inside(postgres_server: PostgresServer, outside: Postgres) -> AsyncIterator[Postgres]:
    inside = Postgres(postgres_server.dsn, socket_dsn=postgres_server.socket_dsn, single_connection=True, timeout_s=1.0)
    yield inside
    await inside.close()


async def numbers(postgres: Postgres) -> list[int]:
    return [row["n"] for row in await postgres.fetch("SELECT n FROM s ORDER BY n")]


async def test_what_is_written_is_seen_inside_alone_and_gone_at_the_end(inside: Postgres, outside: Postgres):
    await inside.execute("INSERT INTO s VALUES (1)")
    async with inside.transaction() as transaction:
        await transaction.execute("INSERT INTO s VALUES (2)")
        assert await numbers(inside) == [1, 2]
    async with inside.connection() as connection:
        await connection.executemany("INSERT INTO s VALUES ($1)", [(3,), (4,)])

    assert await numbers(inside) == [1, 2, 3, 4]
    assert await numbers(outside) == []
    await inside.close()
    assert await numbers(outside) == []
    assert await numbers(inside) == []


async def test_a_statement_that_fails_spoils_nothing_before_or_after_it(inside: Postgres):
    await inside.execute("INSERT INTO s VALUES (1)")
    for _ in range(3):
        with pytest.raises(asyncpg.UniqueViolationError):
            await inside.execute("INSERT INTO s VALUES (1)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await inside.fetch("SELECT * FROM nowhere")
    await inside.execute("INSERT INTO s VALUES (2)")

    assert await numbers(inside) == [1, 2]


async def insert(inside: Postgres, *numbers: int, then: type[Exception] | None = None) -> None:
    async with inside.transaction() as transaction:
        for n in numbers:
            await transaction.execute("INSERT INTO s VALUES ($1)", n)
        if then is not None:
            raise then


async def test_a_transaction_of_the_test_behaves_like_one(inside: Postgres):
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(inside, 1, 1)
    async with inside.transaction() as transaction:
        await transaction.execute("INSERT INTO s VALUES (2)")
        with pytest.raises(LookupError):
            await insert(inside, 3, then=LookupError)
        await insert(inside, 4)
    async with inside.transaction() as transaction:
        with pytest.raises(asyncpg.UniqueViolationError):
            await transaction.execute("INSERT INTO s VALUES (5), (5)")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await transaction.execute("SELECT 1")
    await insert(inside, 6)

    assert await numbers(inside) == [2, 4, 6]


async def test_calls_and_blocks_that_overlap_take_turns(inside: Postgres):
    async def block(n: int) -> None:
        async with inside.transaction() as transaction:
            await transaction.execute("INSERT INTO s VALUES ($1)", n)
            await asyncio.gather(*(inside.fetchval("SELECT 1") for _ in range(3)))
            if n % 2:
                raise LookupError

    found = await asyncio.gather(*(inside.fetchval("SELECT $1::int", n) for n in range(50)))
    await asyncio.gather(*(block(n) for n in range(10)), return_exceptions=True)

    assert found == list(range(50))
    assert await numbers(inside) == [0, 2, 4, 6, 8]


async def test_cancelled_calls_leave_the_transaction_usable(inside: Postgres):
    chance = random.Random(20254)
    await inside.execute("INSERT INTO s VALUES (-1)")
    for n in range(60):
        task = asyncio.ensure_future(inside.fetch(f"SELECT {n} FROM generate_series(1, 5000)"))
        await asyncio.wait({task}, timeout=chance.random() * 0.004)
        task.cancel()
        await asyncio.wait({task})
        assert await inside.fetchval("SELECT $1::int", n) == n

    assert await numbers(inside) == [-1]


async def test_ending_the_outer_transaction_is_an_error(inside: Postgres):
    with pytest.raises(OuterTransactionEnded, match="COMMIT"):
        await inside.execute("COMMIT")


def test_a_second_event_loop_is_refused_since_the_first_took_the_rows_along(postgres_server: PostgresServer):
    postgres = Postgres(postgres_server.dsn, single_connection=True)
    asyncio.run(postgres.ensure_available())

    with pytest.raises(LoopChanged, match="one event loop"):
        asyncio.run(postgres.ensure_available())
    postgres.terminate()
    asyncio.run(postgres.ensure_available())
    postgres.terminate()

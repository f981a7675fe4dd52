"""The PostgreSQL pool: errors, limits, cancellation, loss of connections."""

import asyncio
import random
from contextlib import suppress

import pytest

from agent_backend.errors import (
    ConstraintViolated,
    LoginRefused,
    PoolExhausted,
    SchemaMissing,
    StatementRefused,
    StorageClosed,
    StorageTimeout,
    StorageUnavailable,
    TransactionConflict,
    WrongEventLoop,
)
from agent_backend.memory import PostgresMemory
from agent_backend.storage.postgres import PostgresDatabase

pytestmark = [pytest.mark.integration, pytest.mark.postgres]

NOBODY = "postgresql://u:hunter2@127.0.0.1:1/db"


async def test_a_server_that_is_not_there_is_a_retryable_error_without_the_password():
    database = PostgresDatabase(NOBODY)
    with pytest.raises(ConnectionError) as lost:
        await database.fetchval("SELECT 1")
    assert isinstance(lost.value, StorageUnavailable)
    assert lost.value.retryable
    assert lost.value.url == "postgresql://u:***@127.0.0.1:1/db"
    assert "hunter2" not in str(lost.value) + repr(database)
    await database.disconnect()


async def test_a_database_that_does_not_exist_is_no_retryable_error(postgres_dsn):
    database = PostgresDatabase(postgres_dsn.rpartition("/")[0] + "/no_such_database")
    with pytest.raises(LoginRefused, match="no_such_database") as refused:
        await database.connect()
    assert not refused.value.retryable
    await database.disconnect()


async def test_what_the_server_refuses_comes_as_typed_errors(postgres_db_manager):
    with pytest.raises(SchemaMissing, match=r"agent_backend\.storage\.migrate upgrade"):
        await postgres_db_manager.fetch("SELECT * FROM no_such_table")
    with pytest.raises(StatementRefused) as refused:
        await postgres_db_manager.fetchval("SELECT 1 / 0")
    assert refused.value.code == "22012"
    with pytest.raises(ConstraintViolated) as violated:
        await postgres_db_manager.execute("INSERT INTO qe_memory (key, value) VALUES ('other/x', '1')")
    assert violated.value.constraint == "qe_memory_key_format"
    assert await postgres_db_manager.fetchval("SELECT 1") == 1


async def test_a_statement_that_takes_too_long_is_a_timeout_and_the_pool_stays_good(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=1, command_timeout_s=0.1) as database:
        with pytest.raises(StorageTimeout) as late:
            await database.fetchval("SELECT pg_sleep(30)")
        assert (late.value.waited_s, late.value.retryable) == (0.1, True)
        assert await database.fetchval("SELECT 'good'") == "good"


async def test_a_pool_in_use_is_an_error_in_time_and_nobody_waits_for_ever(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=2, acquire_timeout_s=0.1) as database:
        async with database.transaction(), database.transaction():
            with pytest.raises(PoolExhausted) as exhausted:
                await database.fetchval("SELECT 1")
            assert (exhausted.value.size, exhausted.value.retryable) == (2, True)
        assert await asyncio.gather(*(database.fetchval("SELECT $1::int", n) for n in range(20))) == list(range(20))


async def test_more_callers_than_connections_take_turns(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=3) as database:
        answers = await asyncio.gather(*(database.fetchval("SELECT $1::int", n) for n in range(200)))
        connections = await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )

    assert answers == list(range(200))
    assert connections <= 3 + 1  # the kit may look on


async def test_callers_that_arrive_while_the_pool_opens_all_get_their_turn(postgres_dsn):
    database = PostgresDatabase(postgres_dsn, max_connections=1)
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(database.fetchval("SELECT $1::int", n) for n in range(200)))
    await database.disconnect()

    assert answers == list(range(200))


async def test_a_storm_of_cancellations_leaks_no_connection_and_crosses_no_reply(postgres_dsn):
    """Row 10."""
    rolls = random.Random(11)
    async with PostgresDatabase(postgres_dsn, max_connections=4, application_name="storm") as database:

        async def ask(number: int) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(rolls.uniform(0, 0.02)):
                    answer = await database.fetchval("SELECT $1::int FROM pg_sleep($2)", number, rolls.uniform(0, 0.01))
                    assert answer == number

        for start in range(0, 200, 20):
            await asyncio.gather(*(ask(number) for number in range(start, start + 20)))

        answers = await asyncio.gather(*(database.fetchval("SELECT $1::int", n) for n in range(100)))
        assert answers == list(range(100))
        async with asyncio.timeout(5):
            async with database.transaction(), database.transaction(), database.transaction(), database.transaction():
                pass  # all four can be had at once
        busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'storm' AND state <> 'idle'"
        assert await database.fetchval(busy) == 1, "only the one that asks"


async def test_a_transaction_that_is_cancelled_is_rolled_back(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=1) as database:
        memory = PostgresMemory(database)

        async def work() -> None:
            async with memory.transaction() as inside:
                await inside.store("aqe/x", 1)
                await inside.db.fetchval("SELECT pg_sleep(30)")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await work()
        assert await memory.list_keys() == []
        async with memory.transaction() as inside:
            await inside.store("aqe/y", 2)
        assert await memory.list_keys() == ["aqe/y"]


async def test_connections_the_server_ended_are_replaced(postgres_db_manager, postgres_dsn):
    """Row 12."""
    await asyncio.gather(*(postgres_db_manager.fetchval("SELECT pg_sleep(0.01)") for _ in range(4)))
    async with PostgresDatabase(postgres_dsn) as other:
        ended = await other.fetchval(
            "SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'agent_backend'"
            " AND pid <> pg_backend_pid()) AS ended"
        )
    assert ended >= 4

    assert await asyncio.gather(*(postgres_db_manager.fetchval("SELECT $1::int", n) for n in range(20))) == list(
        range(20)
    )


async def test_a_server_that_hangs_up_at_any_moment_gives_typed_errors_and_the_pool_recovers(postgres_dsn):
    async with (
        PostgresDatabase(postgres_dsn, max_connections=4, application_name="victim") as database,
        PostgresDatabase(postgres_dsn, application_name="killer") as other,
    ):
        end_all = (
            "SELECT count(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE application_name = 'victim'"
        )

        async def work(number: int) -> int:
            lost = 0
            for repeat in range(50):
                try:  # a new text each time, so that preparing is interrupted too
                    async with database.transaction() as transaction:
                        assert await transaction.fetchval(f"SELECT $1::int + {repeat}", number) == number + repeat
                except StorageUnavailable:
                    lost += 1
            return lost

        workers = asyncio.gather(*(work(number) for number in range(8)))
        while not workers.done():
            await other.fetchval(end_all)

        assert sum(await workers) > 0
        assert await asyncio.gather(*(database.fetchval("SELECT $1::int", n) for n in range(50))) == list(range(50))


async def test_a_connection_lost_in_the_middle_is_a_retryable_error(postgres_db_manager, postgres_dsn):
    async with PostgresDatabase(postgres_dsn, application_name="other") as other:

        async def end_it() -> None:
            running = "state = 'active' AND query LIKE '%pg_sleep(30)%' AND application_name = 'agent_backend'"
            while not await other.fetchval(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {running}"):
                pass

        slow = asyncio.ensure_future(postgres_db_manager.fetchval("SELECT pg_sleep(30)"))
        await end_it()
        with pytest.raises(StorageUnavailable) as lost:
            await slow
        assert lost.value.retryable

        async def work() -> None:
            async with postgres_db_manager.transaction() as transaction:
                pid = await transaction.fetchval("SELECT pg_backend_pid()")
                await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
                raise RuntimeError("the body's own")

        with pytest.raises(RuntimeError, match="the body's own"):
            await work()
    assert await postgres_db_manager.fetchval("SELECT 1") == 1


async def test_a_serialisation_failure_is_a_conflict_to_retry(postgres_db_manager):
    memory = PostgresMemory(postgres_db_manager)
    await memory.store("aqe/x", 0)

    async def store_what_another_changed_meanwhile() -> None:
        async with postgres_db_manager.transaction(isolation="serializable") as one:
            await one.fetch("SELECT * FROM qe_memory")
            await memory.store("aqe/x", 1)
            await PostgresMemory(one).store("aqe/x", 2)

    with pytest.raises(TransactionConflict) as conflict:
        await store_what_another_changed_meanwhile()
    assert (conflict.value.sqlstate, conflict.value.retryable) == ("40001", True)
    assert await memory.retrieve("aqe/x") == 1


async def test_a_lent_connection_goes_back_as_it_came(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=1) as database:
        async with database.connection() as lent:
            await lent.execute("SET statement_timeout = '1234ms'; SELECT pg_advisory_lock(1)")
        assert await database.fetchval("SHOW statement_timeout") == "0"
        assert await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_an_open_transaction_left_behind_reaches_nobody_else(postgres_dsn):
    async with PostgresDatabase(postgres_dsn, max_connections=1) as database:
        await database.execute("BEGIN; CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT 1")
        assert await database.fetchval("SELECT to_regclass('mine')") is None


async def test_a_read_only_transaction_refuses_to_write(postgres_db_manager):
    with pytest.raises(StatementRefused) as refused:
        async with postgres_db_manager.transaction(read_only=True) as transaction:
            await PostgresMemory(transaction).store("aqe/x", 1)
    assert refused.value.code == "25006"


async def test_a_closed_pool_says_so_and_can_be_opened_again(postgres_dsn):
    database = PostgresDatabase(postgres_dsn)
    await database.connect()
    await database.connect()
    await database.disconnect()
    await database.disconnect()
    with pytest.raises(StorageClosed):
        await database.fetchval("SELECT 1")
    await database.connect()
    assert await database.fetchval("SELECT 1") == 1
    await database.disconnect()


async def test_closing_waits_for_a_statement_under_way(postgres_dsn):
    database = PostgresDatabase(postgres_dsn)
    await database.connect()
    slow = asyncio.ensure_future(database.fetchval("SELECT 'done' FROM pg_sleep(0.1)"))
    other = asyncio.ensure_future(database.fetchval("SELECT 1"))
    assert await other == 1
    await database.disconnect()
    assert await slow == "done"


def test_a_pool_of_another_event_loop_is_refused(postgres_dsn):
    database = PostgresDatabase(postgres_dsn)

    async def use() -> int:
        return await database.fetchval("SELECT 1")

    async def open_use_and_look_elsewhere() -> None:
        assert await use() == 1
        with pytest.raises(WrongEventLoop):
            await asyncio.get_running_loop().run_in_executor(None, asyncio.run, use())
        await database.disconnect()

    asyncio.run(open_use_and_look_elsewhere())

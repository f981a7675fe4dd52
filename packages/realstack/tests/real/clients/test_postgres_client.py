import asyncio
import gc
import warnings
from collections.abc import AsyncIterator

import asyncpg
import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ConnectionsExhausted, SchemaFileFailed, ServerUnreachable
from realstack.services.postgres.testing import Postgres

from .conftest import PostgresServer


@pytest.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[Postgres]:
    postgres = Postgres(postgres_server.dsn, socket_dsn=postgres_server.socket_dsn)
    await postgres.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE t (n int PRIMARY KEY)")
    yield postgres
    await postgres.close()


def backends(server: PostgresServer) -> list[str]:
    """Return what the server says about connections made by ``Postgres``; on a connection of another name."""

    async def ask() -> list[str]:
        connection = await asyncpg.connect(server.socket_dsn)
        rows = await connection.fetch("SELECT state, query FROM pg_stat_activity WHERE application_name = 'realstack'")
        await connection.close()
        return [f"{row['state']}: {row['query']}" for row in rows]

    return asyncio.run(ask())


def assert_no_backend(server: PostgresServer) -> None:
    def look() -> None:
        if left := backends(server):
            raise NotReady(str(left))

    wait_until(look, timeout_s=5)


async def test_the_five_calls_do_what_asyncpg_does(postgres: Postgres):
    assert await postgres.execute("INSERT INTO t VALUES ($1)", 1) == "INSERT 0 1"
    await postgres.executemany("INSERT INTO t VALUES ($1)", [(2,), (3,)])

    assert [row["n"] for row in await postgres.fetch("SELECT n FROM t WHERE n > $1 ORDER BY n", 1)] == [2, 3]
    assert await postgres.fetchrow("SELECT n, n * 2 AS m FROM t WHERE n = 3") == (3, 6)
    assert await postgres.fetchrow("SELECT n FROM t WHERE n = 9") is None
    assert await postgres.fetchval("SELECT 1, 2", column=1) == 2
    assert await postgres.fetchval("SELECT '{\"a\": 1}'::jsonb") == '{"a": 1}'
    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.executemany("INSERT INTO t VALUES ($1)", [(8,), (1,)])
    assert await postgres.fetchval("SELECT count(*) FROM t") == 3


async def test_calls_that_follow_each_other_share_a_connection_and_its_settings(postgres: Postgres):
    await postgres.execute("SET my.colour = 'red'; CREATE TEMP TABLE mine (n int)")
    for _ in range(2):
        async with postgres.connection() as other:
            assert not await other.fetchval("SELECT current_setting('my.colour', true)")
        await asyncio.gather(*(postgres.fetchval("SELECT pg_sleep(0.01)") for _ in range(5)))

    assert await postgres.fetchval("SELECT current_setting('my.colour')") == "red"
    assert await postgres.fetchval("SELECT count(*) FROM mine") == 0


async def test_calls_that_overlap_each_get_their_own_reply(postgres: Postgres):
    found = await asyncio.gather(*(postgres.fetchval("SELECT $1::int", n) for n in range(300)))

    assert found == list(range(300))
    assert await postgres.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'realstack'") <= 10


async def test_a_transaction_is_committed_or_rolled_back_and_invisible_until_then(postgres: Postgres):
    async with postgres.transaction() as inside:
        await inside.execute("INSERT INTO t VALUES (1)")
        assert await postgres.fetchval("SELECT count(*) FROM t") == 0

    async def give_up() -> None:
        async with postgres.transaction() as inside:
            await inside.execute("INSERT INTO t VALUES (2)")
            raise LookupError

    with pytest.raises(LookupError):
        await give_up()

    assert [row["n"] for row in await postgres.fetch("SELECT n FROM t")] == [1]


async def test_what_a_block_leaves_open_is_undone(postgres: Postgres):
    async with postgres.connection() as connection:
        pid = connection.get_server_pid()
        await connection.execute("SELECT pg_advisory_lock(7); SET my.colour = 'red'; BEGIN; INSERT INTO t VALUES (5)")
    async with postgres.connection() as connection:
        assert connection.get_server_pid() == pid
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT current_setting('my.colour', true)") == ""

    assert await postgres.fetchval("SELECT pg_try_advisory_lock(7)")
    assert await postgres.fetchval("SELECT count(*) FROM t") == 0


async def test_a_connection_that_was_killed_is_replaced(postgres: Postgres):
    async with postgres.connection() as other:
        spare = other.get_server_pid()
    # both the kept connection and the spare one
    await postgres.fetchval("SELECT pg_terminate_backend($1, 2000)", spare)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await postgres.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

    assert await postgres.fetchval("SELECT 1") == 1
    async with postgres.connection() as other:
        assert await other.fetchval("SELECT 2") == 2
        assert other.get_server_pid() != spare


async def test_nobody_waits_for_ever_for_a_connection(postgres_server: PostgresServer):
    postgres = Postgres(postgres_server.dsn, max_size=1, timeout_s=0.2)
    async with postgres.connection():
        with pytest.raises(ConnectionsExhausted, match=r"all 1 connections to PostgreSQL stayed in use for 0\.2 s"):
            await postgres.fetchval("SELECT 1")

    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


async def test_a_pool_is_given_and_closed_with_the_rest(postgres: Postgres):
    pool = await postgres.get_pool()

    assert await pool.fetchval("SELECT 1") == 1
    assert await postgres.get_pool() is pool
    await postgres.close()
    assert pool.is_closing()


async def test_a_schema_file_or_folder_is_loaded_and_a_mistake_named_with_its_line(postgres: Postgres, tmp_path):
    (tmp_path / "2_rows.sql").write_text("INSERT INTO shop VALUES (1), (2);")
    (tmp_path / "1_tables.sql").write_text("CREATE TABLE shop (n int);\n-- a comment\nCREATE INDEX ON shop (n);")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.sql").write_text("CREATE TABLE ok (n int);\n\nCREATE TABL oops (n int);")

    await postgres.load_test_schema(tmp_path)

    assert await postgres.fetchval("SELECT sum(n) FROM shop") == 3
    with pytest.raises(SchemaFileFailed) as caught:
        await postgres.load_test_schema(broken / "a.sql")
    assert (caught.value.line, caught.value.sqlstate) == (3, "42601")
    assert f"{broken / 'a.sql'}:3:" in str(caught.value)
    with pytest.raises(FileNotFoundError):
        await postgres.load_test_schema(tmp_path / "none.sql")


async def test_reset_database_empties_the_tables(postgres: Postgres):
    await postgres.execute(
        'CREATE TABLE "Kept" (n serial); INSERT INTO "Kept" DEFAULT VALUES; INSERT INTO t VALUES (1)'
    )
    await postgres.reset_database(preserve_tables=["Kept"])
    assert await postgres.fetchrow('SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM "Kept")') == (0, 1)
    await postgres.reset_database()
    assert await postgres.fetchval('SELECT count(*) FROM "Kept"') == 0


async def test_reset_database_asks_the_isolation_while_nothing_of_ours_is_open(postgres_server: PostgresServer):
    seen: list[list[str]] = []
    postgres = Postgres(postgres_server.dsn, reset=lambda: seen.append(backends(postgres_server)))
    await postgres.fetchval("SELECT 1")

    await postgres.reset_database()

    assert seen == [[]]
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


async def test_who_does_not_answer_is_named_without_the_password(postgres_server: PostgresServer):
    port = postgres_server.dsn.rpartition(":")[2].partition("/")[0]
    for dsn in ("postgresql://me:secret@127.0.0.1:1/x", f"postgresql://postgres:secret@127.0.0.1:{port}/missing"):
        with pytest.raises(ServerUnreachable) as caught:
            await Postgres(dsn).ensure_available()
        assert "secret" not in str(caught.value)
        assert "secret" not in repr(Postgres(dsn))
    with pytest.raises(ValueError, match="max_size=0"):
        Postgres(postgres_server.dsn, max_size=0)


@pytest.mark.parametrize("single", [False, True])
def test_terminate_ends_every_backend_wherever_the_loop_is(postgres_server: PostgresServer, single):
    postgres = Postgres(postgres_server.dsn, single_connection=single)

    async def use() -> None:
        await asyncio.gather(*(postgres.fetchval("SELECT pg_sleep(0.01)") for _ in range(4)))
        if not single:
            await (await postgres.get_pool()).fetchval("SELECT 1")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(use())
        postgres.terminate()
        gc.collect()
        assert_no_backend(postgres_server)
        with asyncio.Runner() as runner:
            runner.run(use())
            postgres.terminate()
            assert_no_backend(postgres_server)
        gc.collect()


def test_one_object_serves_several_event_loops_in_turn(postgres_server: PostgresServer):
    postgres = Postgres(postgres_server.dsn)

    async def use(n: int) -> int:
        async with postgres.transaction() as inside:
            assert await inside.fetchval("SELECT 5") == 5
        return await postgres.fetchval("SELECT $1::int", n)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(use(n)) for n in range(5)] == list(range(5))
        assert len(backends(postgres_server)) <= 2
        postgres.terminate()
        gc.collect()
    assert_no_backend(postgres_server)


async def test_terminate_inside_the_running_loop_ends_the_connections(postgres_server: PostgresServer):
    postgres = Postgres(postgres_server.dsn)
    await postgres.fetchval("SELECT 1")

    postgres.terminate()

    await asyncio.to_thread(assert_no_backend, postgres_server)
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()

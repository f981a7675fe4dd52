"""Every fixture, from sync and async tests: it gives what it promises, on a service that really runs."""

from ..fix_project import Project

APP = """
import json
import os

import asyncpg

pool = None


async def answer(send, body, status=200):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def lifespan(receive, send):
    global pool
    await receive()
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=4)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            emails = [row["email"] for row in await pool.fetch("SELECT email FROM users ORDER BY id")]
            await send({"type": "websocket.send", "text": json.dumps({"heard": message.get("text"), "users": emails})})
        return
    if scope["method"] == "POST":
        email = (await receive())["body"].decode()
        return await answer(send, await pool.fetchval("INSERT INTO users (email) VALUES ($1) RETURNING id", email), 201)
    await answer(send, await pool.fetchval("SELECT count(*) FROM users"))
"""

WITH_APP = """
[tool.realstack.postgres]
schema = ["schema.sql"]
[tool.realstack.app]
target = "web:app"
env = {DATABASE_URL = "{postgres.dsn}"}
"""


def test_the_postgres_fixtures_give_one_database_of_this_tests_own(project: Project) -> None:
    project.write(
        test_postgres="""
        import asyncpg
        import psycopg
        import pytest


        async def test_methods(real_postgres):
            assert await real_postgres.execute("INSERT INTO users (email) VALUES ($1)", "a@b") == "INSERT 0 1"
            await real_postgres.executemany("INSERT INTO users (email) VALUES ($1)", [("c@d",), ("e@f",)])
            rows = await real_postgres.fetch("SELECT * FROM users ORDER BY id")
            assert [row["email"] for row in rows] == ["a@b", "c@d", "e@f"]
            assert (await real_postgres.fetchrow("SELECT * FROM users WHERE id = $1", 2))["email"] == "c@d"
            assert await real_postgres.fetchval("SELECT count(*) FROM plans") == 2
            with pytest.raises(asyncpg.UniqueViolationError):
                async with real_postgres.transaction() as connection:
                    await connection.execute("DELETE FROM users")
                    await connection.execute("INSERT INTO plans VALUES ('free')")
            async with real_postgres.connection() as connection:
                assert await connection.fetchval("SELECT count(*) FROM users") == 3


        async def test_clean(real_postgres, database_connection, postgres_dsn):
            assert await real_postgres.fetchval("INSERT INTO users (email) VALUES ('a@b') RETURNING id") == 1
            assert database_connection is real_postgres
            assert real_postgres.dsn == postgres_dsn


        async def test_transaction(database_transaction, postgres_dsn):
            await database_transaction.execute("INSERT INTO users (email) VALUES ('a@b')")
            assert await database_transaction.fetchval("SELECT count(*) FROM users") == 1
            with psycopg.connect(postgres_dsn) as other:
                assert other.execute("SELECT count(*) FROM users").fetchone() == (0,)


        def test_sync(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("INSERT INTO users (email) VALUES ('s') RETURNING id").fetchone() == (1,)
        """
    )

    project.run_pytest().assert_outcomes(passed=4)


def test_the_redis_fixtures_give_one_server_of_this_workers_own(project: Project) -> None:
    project.write(
        test_redis="""
        import pytest
        import redis
        import redis.asyncio


        @pytest.mark.parametrize("turn", [1, 2])
        async def test_client(real_redis, redis_client, redis_url, turn):
            assert isinstance(real_redis, redis.asyncio.Redis) and redis_client is real_redis
            assert await real_redis.get("k") is None
            await real_redis.set("k", "v")
            assert await real_redis.get("k") == "v"
            assert redis.Redis.from_url(redis_url).get("k") == b"v"


        async def test_manager(redis_manager, real_redis):
            assert await redis_manager.ping()
            await redis_manager.set_json("j", {"a": 1})
            assert await redis_manager.get_json("j") == {"a": 1}
            assert await real_redis.exists("j") and not await redis_manager.exists("k")
            await redis_manager.lpush("l", "x", "y")
            assert await redis_manager.lrange("l", 0, -1) == ["y", "x"]


        def test_sync(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                assert client.dbsize() == 0
        """
    )

    project.run_pytest().assert_outcomes(passed=4)


def test_the_clickhouse_fixtures_give_one_database_of_this_workers_own(project: Project) -> None:
    project.configure('[tool.realstack.clickhouse]\nschema = ["events.sql"]\n')
    project.file("events.sql", "CREATE TABLE events (id UInt64, name String) ENGINE = MergeTree ORDER BY id;")
    project.write(
        test_clickhouse="""
        import clickhouse_connect
        import pytest


        @pytest.mark.parametrize("turn", [1, 2])
        async def test_client(real_clickhouse, clickhouse_client, turn):
            assert clickhouse_client is real_clickhouse
            assert await real_clickhouse.execute("SELECT count() FROM events") == [(0,)]
            await real_clickhouse.insert("events", [(1, "a"), (2, "b")])
            rows = await real_clickhouse.execute("SELECT name FROM events WHERE id = {id:UInt64}", {"id": 2})
            assert rows == [("b",)]


        def test_sync(clickhouse_url, real_clickhouse):
            client = clickhouse_connect.get_client(dsn=clickhouse_url)
            assert client.query("SELECT count() FROM events").result_rows == [(0,)]
            client.close()
            assert real_clickhouse.url == clickhouse_url
        """
    )

    project.run_pytest().assert_outcomes(passed=3)


def test_the_app_fixtures_talk_to_the_users_app_on_the_tests_own_database(project: Project) -> None:
    project.configure(WITH_APP)
    project.write(
        web=APP,
        test_app="""
        import psycopg
        import pytest
        import urllib.request


        @pytest.mark.parametrize("turn", [1, 2])
        async def test_http(real_http_client, real_postgres, turn):
            assert (await real_http_client.post("/", content="a@b")).json() == 1
            assert await real_postgres.fetchval("SELECT email FROM users") == "a@b"
            assert (await real_http_client.get("/")).json() == 1


        @pytest.mark.parametrize("turn", [1, 2])
        async def test_websocket(real_websocket_client, real_postgres, turn):
            await real_postgres.execute("INSERT INTO users (email) VALUES ('w')")
            await real_websocket_client.connect("/anything")
            await real_websocket_client.send("hello")
            assert await real_websocket_client.receive_json() == {"heard": "hello", "users": ["w"]}
            await real_websocket_client.close()


        def test_sync(real_app, postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('s')")
            assert urllib.request.urlopen(real_app.base_url).read() == b"1"


        def test_restart(real_app, postgres_dsn):
            before = real_app.base_url, real_app.pid
            real_app.restart()
            assert real_app.base_url == before[0] and real_app.pid != before[1]
            assert urllib.request.urlopen(real_app.base_url).read() == b"0"


        def test_after(real_app):
            assert urllib.request.urlopen(real_app.base_url).read() == b"0"
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=7)
    assert "leak" not in result.stdout.str()


def test_real_services_starts_only_what_is_touched(project: Project) -> None:
    project.configure(WITH_APP)
    project.write(
        web=APP,
        test_services="""
        async def test_one(real_services):
            assert await real_services.postgres.fetchval("SELECT count(*) FROM plans") == 2

        def test_nothing_else_runs(_realstack):
            assert [each.key.service for each in _realstack.stack.running()] == ["postgres"]

        async def test_all(real_services):
            real_services.ensure_all_services_available()
            await real_services.postgres.execute("INSERT INTO users (email) VALUES ('x')")
            await real_services.redis.set("k", "v")
            assert await real_services.clickhouse.execute("SELECT 1") == [(1,)]
            client = real_services.get_http_client()
            assert (await client.get("/")).json() == 1
            real_services.reset_all_data()
            assert (await client.get("/")).json() == 0
            assert await real_services.redis.get("k") is None
            assert real_services.config.app.target == "web:app"
            socket = real_services.create_websocket_client()
            await socket.connect("/")
            await socket.send("x")
            assert (await socket.receive_json())["users"] == []

        def test_all_run(_realstack):
            running = [each.key.service for each in _realstack.stack.running()]
            assert running == ["postgres", "redis", "clickhouse", "app"]
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=4)
    assert "leak" not in result.stdout.str()


def test_a_mock_in_a_test_that_wants_none_is_an_error(project: Project) -> None:
    project.write(
        test_mocks="""
        from unittest.mock import AsyncMock, MagicMock, patch

        import pytest


        @pytest.mark.parametrize("kind", [AsyncMock, MagicMock])
        def test_made(ensure_no_mocks, kind):
            with pytest.raises(RuntimeError, match="real_postgres"):
                kind()

        def test_patched(ensure_no_mocks):
            with pytest.raises(RuntimeError, match="ensure_no_mocks"), patch("os.getcwd"):
                pass

        def test_allowed_elsewhere():
            assert MagicMock()() is not None
        """
    )

    project.run_pytest().assert_outcomes(passed=4)

"""The fixtures belong to no event loop: any runner, any loop scope, sync tests in between."""

import pytest

from ..fix_project import Project

WRITE_AND_LOOK = """
    assert await real_postgres.fetchval("SELECT count(*) FROM users") == 0
    await real_postgres.execute("INSERT INTO users (email) VALUES ('a@b')")
    assert await real_postgres.fetchval("SELECT id FROM users") == 1
    assert await real_redis.get("k") is None
    await real_redis.set("k", "v")
    assert await real_redis.get("k") == "v"
"""
SYNC_BETWEEN = """
def test_sync_between(postgres_dsn, redis_url):
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        connection.execute("INSERT INTO users (email) VALUES ('s')")
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("k", "s")
"""


def module(head: str, *tests: str) -> str:
    """Return a module of async tests that all write the same rows, with *head* and a decorator each."""
    parts = ["import psycopg", "import pytest", "import redis", head]
    for number, decorators in enumerate(tests):
        parts += [f"{decorators}\nasync def test_async_{number}(real_postgres, real_redis):{WRITE_AND_LOOK}"]
        parts += [SYNC_BETWEEN.replace("between", str(number))]
    return "\n".join(parts)


def test_one_loop_a_test_and_longer_ones_side_by_side_with_pytest_asyncio(project: Project) -> None:
    project.write(
        test_function=module("", "", ""),
        test_module=module('pytestmark = pytest.mark.asyncio(loop_scope="module")', "", ""),
        test_session=module('pytestmark = pytest.mark.asyncio(loop_scope="session")', "", ""),
        test_mixed=module(
            "",
            '@pytest.mark.asyncio(loop_scope="session")',
            '@pytest.mark.asyncio(loop_scope="function")',
            '@pytest.mark.asyncio(loop_scope="module")',
        ),
    )

    result = project.run_pytest("-W", "ignore:The test:pytest.PytestWarning")

    result.assert_outcomes(passed=18)
    assert "leak" not in result.stdout.str()


def test_strict_mode_of_pytest_asyncio(project: Project) -> None:
    project.configure(asyncio_mode="strict")
    project.write(test_strict=module("", "@pytest.mark.asyncio", '@pytest.mark.asyncio(loop_scope="module")'))

    project.run_pytest().assert_outcomes(passed=4)


def test_anyio_on_asyncio(project: Project) -> None:
    project.configure(asyncio_mode="strict")
    head = """
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def one_user(real_postgres):
    await real_postgres.execute("INSERT INTO users (email) VALUES ('fixture')")
    yield real_postgres
    assert await real_postgres.fetchval("SELECT count(*) FROM users") == 2


async def test_with_fixture(one_user):
    await one_user.execute("INSERT INTO users (email) VALUES ('more')")
"""
    project.write(test_anyio=module(head, "", ""))

    result = project.run_pytest()

    result.assert_outcomes(passed=5)
    assert "leak" not in result.stdout.str()


def test_async_fixtures_of_the_user_in_wider_loops_share_a_baseline(project: Project) -> None:
    project.write(
        test_wide="""
        import asyncpg
        import pytest
        import pytest_asyncio

        pytestmark = pytest.mark.asyncio(loop_scope="session")


        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def pool(postgres_dsn):
            async with asyncpg.create_pool(postgres_dsn, min_size=2) as pool:
                yield pool


        @pytest_asyncio.fixture(scope="module", loop_scope="session")
        async def ann(pool):
            return await pool.fetchval("INSERT INTO users (email) VALUES ('ann') RETURNING id")


        @pytest.mark.parametrize("turn", range(3))
        async def test_shared(pool, ann, real_postgres, turn):
            assert await pool.fetch("SELECT id, email FROM users") == [(ann, "ann")]
            assert await real_postgres.fetchval("INSERT INTO users (email) VALUES ('bob') RETURNING id") == ann + 1
            await pool.execute("DELETE FROM users WHERE id = $1", ann)
        """,
        test_wider="""
        import pytest
        import pytest_asyncio

        from test_wide import pool

        @pytest.mark.asyncio(loop_scope="session")
        async def test_gone_afterwards(pool, real_postgres):
            assert await pool.fetchval("INSERT INTO users (email) VALUES ('x') RETURNING id") == 1
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=4)
    assert "leak" not in result.stdout.str()


@pytest.mark.parametrize("command", ["runpytest_inprocess", "runpytest_subprocess"])
def test_a_suite_that_tests_a_pytest_plugin_can_use_the_fixtures_inside_pytester(
    project: Project, command: str
) -> None:
    project.write(
        conftest='pytest_plugins = ["pytester"]',
        test_outer=f'''
        import psycopg

        INNER = """
        import psycopg

        def test_inner(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("CREATE TABLE inner_only (id int)")
        """

        def test_outer(pytester, postgres_dsn):
            pytester.makepyfile(test_inner=INNER)
            pytester.{command}("-p", "no:pytest_postgresql", "-p", "no:pytest_redis").assert_outcomes(passed=1)
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
                assert connection.execute("SELECT to_regclass('inner_only')").fetchone() == (None,)
                connection.execute("INSERT INTO users (email) VALUES ('x')")

        def test_outer_again(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        ''',
    )

    project.run_pytest("-W", "default").assert_outcomes(passed=2)

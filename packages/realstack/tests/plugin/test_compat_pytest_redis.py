"""A suite written for pytest-redis gives the same results on the kit, after one changed line."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack.compat.testcontainers.redis import RedisContainer
from realstack.config import read_environment
from realstack.errors import RealstackError
from realstack.providers.choice import find_installation

from ..fix_project import Project

ORIGINAL, OURS = "pytest_redis", "realstack.compat.pytest_redis"
PASSED = 12

CONFTEST = """
    from {package} import factories
    {plugins}

    queue_proc = factories.redis_proc(port=None, password="secret", db_count=3, loglevel="warning")
    queue = factories.redisdb("queue_proc", 2, decode=True)
    queue_async = factories.redisdb_async("queue_proc", 2, decode=True)
"""
SUITE = """
    import pytest
    import redis


    @pytest.mark.parametrize("turn", ["reads first", "writes", "reads after", "writes again", "reads last"])
    def test_pairs_of_writers_and_readers(redisdb, queue, turn):
        assert redisdb.keys() == queue.keys() == []
        if turn.startswith("writes"):
            redisdb.set("woof", "woof")
            redisdb.rpush("list", 1, 2)
            queue.set("woof", "other")
            assert redisdb.get("woof") == b"woof"
            assert queue.get("woof") == "other"


    def test_another_database_is_another(redisdb, redis_proc):
        other = redis.Redis(host=redis_proc.host, port=redis_proc.port, db=1)
        redisdb.set("a", 1)
        assert other.get("a") is None
        other.set("left", "behind")
        other.close()


    def test_nothing_is_left_in_it(redisdb, redis_proc):
        with redis.Redis(host=redis_proc.host, port=redis_proc.port, db=1) as other:
            assert other.keys() == []


    def test_the_process_fixture_knows_where(redis_proc, queue_proc):
        assert redis_proc.running()
        assert queue_proc.running()
        assert (redis_proc.port, redis_proc.unixsocket) != (queue_proc.port, queue_proc.unixsocket)
        assert redis_proc.password is None
        assert redis_proc.version.major >= 6


    def test_the_server_is_as_asked_for(queue, queue_proc):
        assert queue.config_get("databases")["databases"] == "3"
        assert queue.config_get("loglevel")["loglevel"] == "warning"
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(host=queue_proc.host, port=queue_proc.port).ping()


    @pytest.mark.parametrize("turn", range(2))
    async def test_async_clients(redisdb_async, queue_async, turn):
        assert await redisdb_async.get("a") is None
        await redisdb_async.set("a", 1)
        await queue_async.set("a", 2)
        assert (await redisdb_async.get("a"), await queue_async.get("a")) == (b"1", "2")


    def test_after_them(redisdb, queue):
        assert redisdb.dbsize() == queue.dbsize() == 0
"""


def write_suite(project: Project, package: str) -> None:
    plugins = f'pytest_plugins = ["{package}"]' if package == OURS else ""
    project.write(conftest=CONFTEST.format(package=package, plugins=plugins), test_redis=SUITE)


@pytest.fixture(scope="session")
def redis_server(builds: Path) -> Path:
    try:
        installation = find_installation("redis", cache=builds, path=read_environment().get("PATH", os.defpath))
    except RealstackError as error:
        pytest.skip(f"no Redis for the original: {error}")
    return installation.folder / "redis-server"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Give a folder with a path short enough for the original's sockets."""
    with tempfile.TemporaryDirectory(prefix="o") as folder:
        yield Path(folder)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_suite_passes_with_the_original(
    project: Project, redis_server: Path, short_folder: Path, workers: tuple[str, ...]
) -> None:
    write_suite(project, ORIGINAL)

    # its clients are left to the garbage collector
    done = project.run_pytest(
        "-o", "addopts=", f"--redis-exec={redis_server}", "-p", "no:realstack", "-p", "no:cacheprovider",
        "-W", "ignore::pytest.PytestUnraisableExceptionWarning", "-W", "ignore::ResourceWarning",
        f"--basetemp={short_folder / 't'}", *workers,
    )  # fmt: skip

    done.assert_outcomes(passed=PASSED)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_suite_passes_with_one_line_changed(project: Project, workers: tuple[str, ...]) -> None:
    write_suite(project, OURS)

    done = project.run_pytest("--verify-isolation", *workers)

    done.assert_outcomes(passed=PASSED)
    assert "leak:" not in done.stdout.str()


def test_the_default_fixtures_are_on_the_server_the_suite_uses(project: Project) -> None:
    write_suite(project, OURS)
    project.write(
        test_own="""
        async def test_both(real_redis, redisdb, redisdb_async, queue, redis_noproc, redis_url):
            await real_redis.set("a", "1")
            assert redisdb.get("a") == await redisdb_async.get("a") == b"1"
            assert queue.get("a") is None
            assert str(redis_noproc.port) in redis_url
        """
    )

    done = project.run_pytest("test_own.py", "test_redis.py")

    done.assert_outcomes(passed=PASSED + 1)


def test_settings_of_the_original_are_read(project: Project) -> None:
    project.write(
        conftest=f"pytest_plugins = ['{OURS}']",
        test_settings="""
        def test_settings(redisdb):
            redisdb.set("a", "b")
            assert redisdb.get("a") == "b"
            assert redisdb.config_get("databases")["databases"] == "5"
            assert redisdb.connection_pool.connection_kwargs["password"] == "pw"
        """,
    )

    done = project.run_pytest("-o", "redis_db_count=5", "--redis-client-decode", "--redis-password=pw")

    done.assert_outcomes(passed=1)


def test_what_makes_no_sense_here_is_said_once_and_what_cannot_be_had_is_refused(project: Project) -> None:
    project.write(
        conftest="""
        from realstack.compat.pytest_redis import factories

        odd_proc = factories.redis_proc(executable="/opt/redis", port=6380, datadir="/data")
        odd = factories.redisdb("odd_proc")
        modular_proc = factories.redis_proc(modules=["a.so", "b.so"])
        modular = factories.redisdb("modular_proc")
        """,
        test_odd="""
        import pytest


        @pytest.mark.parametrize("turn", range(2))
        def test_odd(odd, odd_proc, turn):
            assert odd.ping()
            with pytest.raises(AttributeError, match="starts and ends this server"):
                odd_proc.stop()


        def test_modular(modular): ...
        """,
    )

    done = project.run_pytest("-W", "default")

    done.assert_outcomes(passed=2, warnings=3, errors=1)
    for said in ("executable='/opt/redis'", "port=6380", "datadir='/data'"):
        assert done.stdout.str().count(f"CompatWarning: odd_proc: {said} is passed over") == 1
    done.stdout.fnmatch_lines(["*CompatRefused: modular_proc: modules=*a.so*cannot be had*"])


def test_on_a_server_that_is_not_ours_only_the_claimed_database_is_used(project: Project) -> None:
    project.write(
        conftest=f"""
        from realstack.compat.pytest_redis import factories

        pytest_plugins = ["{OURS}"]
        second = factories.redisdb("redis_proc", 2)
        """,
        test_there="""
        import pytest


        @pytest.mark.parametrize("turn", range(2))
        def test_there(redisdb, turn):
            assert redisdb.get("a") is None
            redisdb.set("a", 1)


        def test_another_number(second): ...
        """,
    )
    with RedisContainer() as theirs, theirs.get_client() as client:
        client.set("precious", 1)
        url = f"redis://127.0.0.1:{theirs.get_exposed_port(6379)}"

        done = project.run_pytest(REALSTACK_REDIS_URL=url)

        assert client.keys() == [b"precious"]
        assert list(client.info("keyspace")) == ["db0"]
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*CompatRefused: redis_proc: database 2 of redis://*has claimed its database * only*"])

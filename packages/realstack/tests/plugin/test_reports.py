"""What a run says: header, services, failures with the server's own words, what was left open."""

import re
import sys

import pytest

from ..fix_project import Project

FAILING = """
import pytest


async def test_fails(real_postgres, real_redis):
    await real_postgres.execute("SELECT * FROM nowhere")


async def test_fails_later(real_postgres):
    assert await real_postgres.fetchval("SELECT 1") == 2


def test_fails_without_services():
    assert False
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_failed_test_shows_service_database_and_the_servers_last_lines(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write(test_fail=FAILING)

    result = project.run_pytest(*workers)

    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    sections = re.findall(r"-+ realstack: (\w+) ([\d.]+) \((\w+)\) -+\n(\S+)\n(.*)\n", text)
    assert sorted({section[0] for section in sections}) == ["postgres", "redis"]
    assert len(sections) == 3
    assert all(re.search(r"//(postgres@)?127\.0\.0\.1:\d+/", section[3]) for section in sections)
    assert 'relation "nowhere" does not exist' in text.partition("realstack: postgres")[2]
    later = text.partition("_ test_fails_later _")[2]
    assert "nowhere" not in later.partition("____ test_")[0].partition("short test summary")[0] or workers


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_header_and_summary_name_service_version_provider_and_milliseconds(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write(
        test_two="""
        import pytest

        @pytest.mark.parametrize("turn", range(8))
        def test_two(postgres_dsn, redis_url, turn):
            pass
        """
    )

    result = project.run_pytest(*workers)

    result.assert_outcomes(passed=8)
    line = r"postgres [\d.]+ \(\w+\) ready in \d+ ms, reset [\d.]+ ms median over 8 test\(s\)"
    in_processes = " in 2 processes" if workers else ""
    started = [] if workers else [r"realstack: postgres [\d.]+ \(\w+\) ready in \d+ ms$"]
    result.stdout.re_match_lines(
        [
            r"realstack: real services on demand \(isolation reset\)",
            *started,
            line + in_processes + "$",
            r"redis [\d.]+ \(\w+\) ready in \d+ ms, reset [\d.]+ ms median over 8 test\(s\)" + in_processes + "$",
        ]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_failed_tests_database_is_kept_when_asked_until_the_stack_is_ended(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write(
        test_keep="""
        import psycopg
        import pytest


        @pytest.fixture(scope="module", autouse=True)
        def of_module(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('module')")


        def test_fails(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('kept')")
            assert False


        def test_passes(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("SELECT email FROM users").fetchall() == [("module",)]
            assert "fine"


        def test_fails_last(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('last')")
            assert False
        """,
        look="""
        import sys

        import psycopg

        with psycopg.connect(sys.argv[1]) as connection:
            print(*[row[0] for row in connection.execute("SELECT email FROM users ORDER BY id")])
        """,
    )

    result = project.run_pytest("--keep-failed", *workers)

    result.assert_outcomes(passed=1, failed=2)
    kept = dict(re.findall(r"^kept: test_keep\.py::(\w+): (\S+)$", result.stdout.str(), re.MULTILINE))
    name = re.search(r"realstack down --name (\S+)", result.stdout.str())[1]
    try:
        assert sorted(kept) == ["test_fails", "test_fails_last"]
        look = [project.run(sys.executable, "look.py", kept[test]).outlines for test in sorted(kept)]
        assert look == [["module kept"], ["module last"]]
        assert "Warning" not in result.stderr.str()
    finally:
        ended = project.run_kit("down", "--name", name)
    assert ended.ret == 0
    assert project.run(sys.executable, "look.py", kept["test_fails"]).ret != 0


def test_what_a_test_left_open_is_named_and_the_next_is_unharmed(project: Project) -> None:
    project.write(
        test_leaks="""
        import psycopg
        import pytest
        import redis

        kept = []
        CLEAN = "SELECT count(*) FROM users", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


        def keep(dsn, name, sql, autocommit=False):
            connection = psycopg.connect(dsn, application_name=name, autocommit=autocommit)
            connection.execute(sql)
            kept.append(connection)


        def test_connection(postgres_dsn):
            keep(postgres_dsn, "an idle one", "SELECT 1", autocommit=True)

        def test_transaction(postgres_dsn):
            keep(postgres_dsn, "an open one", "INSERT INTO users (email) VALUES ('uncommitted')")

        def test_table_lock(postgres_dsn):
            keep(postgres_dsn, "a locker", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

        def test_advisory_lock(postgres_dsn):
            keep(postgres_dsn, "a lock holder", "SELECT pg_advisory_lock(42)", autocommit=True)

        def test_prepared(postgres_dsn):
            with psycopg.connect(postgres_dsn, autocommit=True) as connection:
                connection.execute("BEGIN")
                connection.execute("INSERT INTO users (email) VALUES ('prepared')")
                connection.execute("PREPARE TRANSACTION 'forgotten'")

        def test_subscription(redis_url):
            kept.append(redis.Redis.from_url(redis_url, client_name="subscriber").pubsub())
            kept[-1].subscribe("news")

        def test_multi(redis_url):
            kept.append(redis.Redis.from_url(redis_url, client_name="queuer", single_connection_client=True))
            kept[-1].execute_command("MULTI")

        @pytest.fixture(autouse=True)
        def clean_before(postgres_dsn, redis_url):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("SET lock_timeout = '1s'")
                assert [connection.execute(sql).fetchone() for sql in CLEAN] == [(0,), (0,)]
            with redis.Redis.from_url(redis_url) as client:
                assert client.pubsub_channels() == [] and len(client.client_list()) == 2

        def test_last():
            pass
        """
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=8)
    leaks = [line for line in result.outlines if line.startswith("leak: ")]
    told = [re.match(r"leak: test_leaks\.py::(\w+) left a (\w+) ([\w ]+): (.*)", line).groups() for line in leaks]
    assert [(test, service, kind) for test, service, kind, _ in told] == [
        ("test_connection", "postgres", "connection"),
        ("test_transaction", "postgres", "transaction"),
        ("test_table_lock", "postgres", "transaction"),
        ("test_advisory_lock", "postgres", "connection"),
        ("test_prepared", "postgres", "prepared transaction"),
        ("test_subscription", "redis", "subscription"),
        ("test_multi", "redis", "transaction"),
    ]
    names = ["an idle one", "an open one", "a locker", "a lock holder", "forgotten", "subscriber", "queuer"]
    assert all(name in what for name, (*_, what) in zip(names, told, strict=True))
    assert "uncommitted" not in result.stdout.str(), "values may be secrets"

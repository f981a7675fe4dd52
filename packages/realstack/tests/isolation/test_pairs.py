"""Isolation of isolation: what one test writes no other test sees, in any order, in any number of workers."""

import dataclasses
import re

import pytest

from ..fix_project import Project

#: Each test is a writer and the reader of every other: it finds everything at its baseline and then changes all of it.
PAIRS = """
import psycopg
import pytest
import redis


def everything(dsn, url):
    with psycopg.connect(dsn) as connection, redis.Redis.from_url(url) as client:
        users = connection.execute("SELECT id, email FROM users").fetchall()
        plans = connection.execute("SELECT name FROM plans ORDER BY 1").fetchall()
        return users, plans, client.dbsize(), connection.execute("SELECT nextval('users_id_seq')").fetchone()[0]


PRISTINE = ([], [("free",), ("paid",)], 0, 1)


def look_and_write(dsn, url, what):
    assert everything(dsn, url) == PRISTINE
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO users (email) VALUES (%s)", [what])
        connection.execute("TRUNCATE plans")
        connection.execute("INSERT INTO plans VALUES (%s)", [what])
    with redis.Redis.from_url(url) as client:
        client.set(what, what)
        client.publish(what, what)


@pytest.mark.parametrize("number", range({count}))
def test_a(postgres_dsn, redis_url, number):
    look_and_write(postgres_dsn, redis_url, f"a{{number}}")


@pytest.mark.parametrize("number", range({count}))
def test_b(postgres_dsn, redis_url, number):
    look_and_write(postgres_dsn, redis_url, f"b{{number}}")
"""

REVERSED = """
def pytest_collection_modifyitems(items):
    items.reverse()
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "two workers"])
@pytest.mark.parametrize("conftest", ["", REVERSED], ids=["forwards", "backwards"])
def test_writers_and_readers_in_both_orders(project: Project, conftest: str, arguments: tuple[str, ...]) -> None:
    project.write(test_pairs=PAIRS.format(count=10), conftest=conftest)

    result = project.run_pytest(*arguments)

    result.assert_outcomes(passed=20)
    assert "leak" not in result.stdout.str()


def test_workers_never_see_each_others_state_while_both_are_in_a_test(project: Project) -> None:
    """Two tests meet at a barrier of files, so that both are inside their test at the same time."""
    project.write(
        test_meet="""
        import pathlib
        import threading

        import psycopg
        import pytest
        import redis

        MEETING = pathlib.Path(__file__).parent / "meeting"


        def meet(who, point):
            MEETING.mkdir(exist_ok=True)
            (MEETING / f"{who}-{point}").touch()
            other = MEETING / f"{'b' if who == 'a' else 'a'}-{point}"
            nudge = threading.Event()
            for _ in range(3000):
                if other.exists():
                    return
                nudge.wait(0.01)
            raise AssertionError(f"{other} never came")


        @pytest.mark.parametrize("who", ["a", "b"])
        def test_meet(who, postgres_dsn, redis_url):
            with psycopg.connect(postgres_dsn) as connection, redis.Redis.from_url(redis_url) as client:
                meet(who, "begin")
                connection.execute("INSERT INTO users (email) VALUES (%s)", [who])
                connection.commit()
                client.set("who", who)
                listener = client.pubsub()
                listener.subscribe("channel")
                assert listener.get_message(timeout=5)["type"] == "subscribe"
                meet(who, "written")
                assert connection.execute("SELECT email FROM users").fetchall() == [(who,)]
                assert client.get("who") == who.encode() and client.publish("channel", who) == 1
                connection.commit()
                meet(who, "read")
                listener.close()
        """
    )

    result = project.run_pytest("-n", "2")

    result.assert_outcomes(passed=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Death:
    """One way a worker dies in the middle of a test."""

    id: str
    code: str


DEATHS = [
    Death(id="SIGKILL", code="os.kill(os.getpid(), signal.SIGKILL)"),
    Death(id="_exit", code="os._exit(3)"),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.id)
def test_a_worker_that_dies_in_the_middle_harms_no_other_test(project: Project, death: Death) -> None:
    project.write(
        test_pairs=PAIRS.format(count=15)
        + f"""

import os
import signal


def test_a_dies(postgres_dsn, redis_url):
    look_and_write(postgres_dsn, redis_url, "dies")
    connection = psycopg.connect(postgres_dsn)
    connection.execute("DELETE FROM users")
    {death.code}
"""
    )

    result = project.run_pytest("-n", "2", "--verify-isolation")

    result.assert_outcomes(passed=30, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running 'test_pairs.py::test_a_dies'*"])


GENERATED = """
import random

import psycopg
import pytest
import redis

COUNT = {count}


@pytest.fixture(scope="session")
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def connection(postgres_dsn):
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("number", range(COUNT))
async def test_write(number, connection, client, postgres_dsn, real_clickhouse):
    chance = random.Random(number)
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    first = connection.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [str(number)]).fetchone()[0]
    assert first == 1
    kind = chance.randrange(6)
    if kind == 0:
        connection.execute("TRUNCATE plans RESTART IDENTITY CASCADE")
    elif kind == 1:
        connection.execute("UPDATE plans SET name = name || %s", [str(number)])
    elif kind == 2:
        connection.execute("INSERT INTO orders (user_id, total) SELECT 1, generate_series(1, 20)")
    elif kind == 3:
        with psycopg.connect(postgres_dsn) as other:
            other.execute("DELETE FROM plans")
            other.rollback()
            other.execute("SELECT lo_from_bytea(0, 'x')")
    elif kind == 4:
        with connection.transaction():
            connection.execute("SELECT nextval('orders_id_seq')")
    assert client.dbsize() == 0
    client.mset({{str(each): each for each in range(chance.randrange(1, 20))}})
    if kind == 5:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.eval("return redis.call('SET', 'a', 1)", 0)
    assert await real_clickhouse.execute("SELECT count() FROM events") == [(0,)]
    await real_clickhouse.insert("events", [(number, str(number))])
"""
EVENTS = "CREATE TABLE events (id UInt64, name String) ENGINE = MergeTree ORDER BY id;"


def generate(project: Project, count: int) -> None:
    project.configure(
        '[tool.realstack.postgres]\nschema = ["schema.sql"]\n[tool.realstack.clickhouse]\nschema = ["events.sql"]\n'
    )
    project.file("events.sql", EVENTS)
    project.write(test_generated=GENERATED.format(count=count))


def test_two_hundred_tests_on_two_workers_without_one_difference(project: Project) -> None:
    generate(project, 200)

    result = project.run_pytest("-n", "2", "--verify-isolation", "-q")

    result.assert_outcomes(passed=200)
    result.stdout.no_fnmatch_line("*leak*")


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_thousand_tests_on_two_workers_without_one_difference(project: Project) -> None:
    generate(project, 1000)

    result = project.run_pytest("-n", "2", "--verify-isolation", "-q", timeout_s=290)

    result.assert_outcomes(passed=1000)
    result.stdout.no_fnmatch_line("*leak*")
    assert float(re.search(r"passed in ([\d.]+)s", result.stdout.str())[1]) < 60


def test_verify_isolation_tells_a_difference(project: Project) -> None:
    """Nothing makes the kit fail on purpose, so the test writes behind its back, with its triggers switched off."""
    project.write(
        test_verify="""
        import psycopg
        import pytest


        def test_hidden(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                # behind the kit's back: without its triggers
                connection.execute("ALTER TABLE users DISABLE TRIGGER ALL")
                connection.execute("DELETE FROM realstack.dirty")
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('hidden')")
                connection.execute("ALTER TABLE users ENABLE TRIGGER ALL")
                connection.execute("DELETE FROM realstack.dirty")
        """
    )

    result = project.run_pytest("--verify-isolation")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*postgres differs from its baseline after test_verify.py::test_hidden*"])

"""What a test opened and left open is told on that test and ended; what lived before it stays."""

import dataclasses
import threading

import pytest

from realstack.errors import ServerUnreachable, SqlFailed
from realstack.services.postgres.wire import Connection


@pytest.fixture
def pool(world):
    """The app's connections: they were there before the test."""
    opened = [world.connect("app pool") for _ in range(2)]
    world.isolation.begin("test")
    yield opened
    for connection in opened:
        connection.close()


def is_open(connection: Connection) -> bool:
    try:
        return connection.query("SELECT 1") == [("1",)]
    except (SqlFailed, ServerUnreachable):
        connection.close()
        return False


def test_a_clean_test_leaks_nothing_and_its_pool_stays(world, pool):
    pool[0].query("INSERT INTO plain (name) VALUES ('pooled')")

    outcome = world.reset()

    assert outcome.leaks == ()
    assert all(map(is_open, pool))
    assert world.differences() == []


def test_a_connection_left_open_is_told_and_ended(world, pool):
    left = world.connect("forgetful")
    left.query("SELECT 'hidden secret', 1 AS visible")

    outcome = world.reset()

    [leak] = outcome.leaks
    assert leak.kind == "connection"
    assert "'forgetful'" in leak.what
    assert "visible" in leak.what
    assert "secret" not in leak.what
    assert not is_open(left)
    assert all(map(is_open, pool))


def test_a_client_that_has_just_closed_is_no_leak(world):
    for _ in range(20):
        world.isolation.begin("test")
        with world.connect() as connection:
            connection.query("INSERT INTO plain (name) VALUES ('quick')")

        assert world.reset().leaks == ()
    assert world.differences() == []


@pytest.mark.parametrize("age", ["old", "new"])
def test_a_transaction_left_open_is_ended_before_anything_is_put_back(world, pool, age):
    holder = pool[0] if age == "old" else world.connect("new one")
    holder.script("BEGIN; INSERT INTO plain (name) VALUES ('open'); LOCK TABLE seeded IN ACCESS EXCLUSIVE MODE")
    pool[1].query("INSERT INTO plain (name) VALUES ('committed')")

    outcome = world.reset()

    [leak] = outcome.leaks
    assert leak.kind == "transaction"
    assert "idle in transaction" in leak.what
    assert not is_open(holder)
    assert is_open(pool[1])
    assert world.differences() == []


def test_a_transaction_of_a_kit_connection_is_ended_too(world):
    kit = world.connect("realstack fixture")
    world.isolation.begin("test")
    kit.script("BEGIN; INSERT INTO plain (name) VALUES ('open')")

    outcome = world.reset()

    assert [leak.kind for leak in outcome.leaks] == ["transaction"]
    assert not is_open(kit)


def test_an_idle_kit_connection_is_never_counted(world):
    with world.connect("realstack fixture") as kit:
        outcome = world.reset()

        assert outcome.leaks == ()
        assert is_open(kit)


def test_a_statement_that_ends_in_time_is_waited_for(world, pool):
    poller = threading.Thread(target=pool[0].query, args=("SELECT pg_sleep(0.05)",))
    poller.start()
    outcome = world.reset()
    poller.join()

    assert outcome.leaks == ()
    assert is_open(pool[0])


def test_a_poller_that_lives_on_writes_into_the_next_test_only(world, pool):
    """What an open transaction of before the reset noted is consumed by the reset after it."""
    for _ in range(3):
        pool[0].query("INSERT INTO plain (name) VALUES ('during')")
        world.reset()
        pool[0].query("INSERT INTO plain (name) VALUES ('after')")
    world.reset()

    assert world.differences() == []


def test_a_prepared_transaction_is_rolled_back(each_world):
    with each_world.connect() as connection:
        connection.script("BEGIN; INSERT INTO plain (name) VALUES ('p'); PREPARE TRANSACTION 'it''s prepared'")

    outcome = each_world.reset()

    assert [leak.kind for leak in outcome.leaks] == ["prepared transaction"]
    assert "it's prepared" in outcome.leaks[0].what
    assert each_world.differences() == []


def test_a_prepared_transaction_that_was_committed_is_put_back(world):
    with world.connect() as connection:
        connection.script("BEGIN; INSERT INTO plain (name) VALUES ('p'); PREPARE TRANSACTION 'done'")
        connection.script("COMMIT PREPARED 'done'")

    assert world.reset().leaks == ()
    assert world.differences() == []


def test_an_advisory_lock_kept_by_a_pooled_connection_is_told_and_released(world, pool):
    pool[0].query("SELECT pg_advisory_lock(4242)")

    outcome = world.reset()

    [leak] = outcome.leaks
    assert leak.kind == "lock"
    assert "4242" in leak.what
    assert not is_open(pool[0])
    with world.connect() as other:
        assert other.query("SELECT pg_try_advisory_lock(4242)") == [("t",)]


def test_an_advisory_lock_from_before_the_test_stays(world, pool):
    pool[0].query("SELECT pg_advisory_lock(1, 2)")
    world.isolation.begin("test")

    assert world.reset().leaks == ()
    assert is_open(pool[0])


def test_a_replication_slot_is_told_and_dropped(each_world):
    with each_world.connect() as connection:
        connection.query("SELECT pg_create_logical_replication_slot('left', 'pgoutput')")

    outcome = each_world.reset()

    assert [leak.kind for leak in outcome.leaks] == ["replication slot"]
    assert each_world.differences() == []


def test_serializable_tests_never_fail_because_of_the_notes(world):
    """Two transactions that do not touch each other's rows, but both note the same table."""
    first, second = world.connect("one"), world.connect("two")
    for connection in (first, second):
        connection.script("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1")
    first.script("INSERT INTO circle_a VALUES (10, 1); UPDATE unique_key SET v = 'x' WHERE k = 1")
    second.script("INSERT INTO tree VALUES (10, 1); UPDATE deferred SET v = 'y' WHERE k = 2")
    first.script("COMMIT")
    second.script("COMMIT")
    first.close()
    second.close()

    assert world.reset().leaks == ()
    assert world.differences() == []


def test_the_kits_session_may_be_ended_by_a_test(world, pool):
    with world.connect("killer", database="postgres") as killer:
        pool[0].query("INSERT INTO plain (name) VALUES ('x')")
        killer.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", world.name)

    outcome = world.reset()

    assert outcome.strategy == "reset", outcome
    assert world.differences() == []


def test_a_dropped_database_is_there_again(world):
    with world.connect("dropper", database="postgres") as dropper:
        dropper.query(f"DROP DATABASE {world.name} WITH (FORCE)")

    outcome = world.reset()

    assert outcome.strategy == "clone"
    assert "does not exist" in outcome.reason
    assert world.differences() == []


def test_a_database_without_the_kits_schema_is_replaced(world):
    with world.connect() as connection:
        connection.script("DROP SCHEMA realstack CASCADE; INSERT INTO plain (name) VALUES ('x')")

    assert world.reset().strategy == "clone"
    assert world.differences() == []
    world.isolation.begin("next")
    with world.connect() as connection:
        connection.query("INSERT INTO plain (name) VALUES ('x')")
    assert world.reset().strategy == "reset"
    assert world.differences() == []


def test_settings_of_the_database_do_not_reach_the_kit(world):
    """Defaults of the database, such as read only or serializable, are for the app's sessions."""
    with world.connect() as connection:
        connection.script(
            f"ALTER DATABASE {world.name} SET default_transaction_read_only = on;"
            f"ALTER DATABASE {world.name} SET search_path = other"
        )
        connection.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'realstack'"
            " AND datname = current_database()"
        )

    world.reset()

    assert world.differences() == []


def test_endpoints_of_leaks_are_described_over_tcp(world):
    where = dataclasses.replace(world.endpoint, socket=None)
    left = Connection(where, application_name="over tcp")
    [leak] = world.reset().leaks
    left.close()

    assert "127.0.0.1:" in leak.what
    assert f"pid {left.pid}" in leak.what

"""The other strategies: clone, transaction, auto, and what happens where reset is not possible."""

import dataclasses
import json

import pytest

from realstack.errors import ServerUnreachable, SqlFailed
from realstack.isolation.postgres import open_isolation
from realstack.isolation.postgres.auto import StrategyMemory
from realstack.isolation.postgres.clone import ClonePool
from realstack.isolation.postgres.template import build_template, clone_database, drop_database


@pytest.fixture
def opened(each_world):
    """Open an isolation on the worker's database; it is closed at the end."""
    made = []

    def open_(strategy, **more):
        made.append(open_isolation(strategy, each_world.endpoint, pool=each_world.pool, **more))
        return made[-1]

    each_world.isolation.close()
    yield open_
    for isolation in made:
        isolation.close()
    from realstack.isolation.postgres.reset import ResetIsolation

    each_world.isolation = ResetIsolation(each_world.endpoint, pool=each_world.pool, grace_s=0.3)


def test_clone_gives_every_test_a_fresh_database(each_world, opened):
    isolation = opened("clone")
    changes = (
        "CREATE TABLE made (id int)",
        "DELETE FROM seeded; SELECT nextval('bare')",
        "ALTER ROLE app SET work_mem = '1MB'",
    )
    for sql in changes:
        isolation.begin("test")
        with each_world.connect() as connection:
            connection.script(sql)
        outcome = isolation.reset()

        assert outcome.strategy == "clone"
        assert outcome.leaks == ()
        assert each_world.differences() == []
    assert isolation.verify() == ()


def test_clone_ends_what_no_reset_can(each_world, opened):
    isolation = opened("clone")
    pooled = each_world.connect("app pool")
    isolation.begin("test")
    pooled.script("LISTEN news; SET work_mem = '1MB'; CREATE TEMP TABLE t (id int)")

    assert isolation.reset().leaks == ()
    with pytest.raises((SqlFailed, ServerUnreachable)):
        pooled.query("SELECT 1")
    pooled.close()


def test_clone_tells_what_a_test_left_open(each_world, opened):
    isolation = opened("clone")
    isolation.begin("test")
    left = each_world.connect("forgetful")
    left.script("BEGIN; DELETE FROM plain")
    with each_world.connect() as connection:
        connection.script("BEGIN; DELETE FROM plain; PREPARE TRANSACTION 'p'")

    outcome = isolation.reset()
    left.close()

    assert [leak.kind for leak in outcome.leaks] == ["connection", "prepared transaction"]
    assert each_world.differences() == []


def test_clone_baselines_stack(each_world, opened):
    isolation = opened("clone")
    with each_world.connect() as connection:
        connection.script("CREATE TABLE added (id int); INSERT INTO plain (name) VALUES ('module')")
    isolation.push("module")
    above = each_world.lab.dump(each_world.name)
    isolation.begin("test")
    with each_world.connect() as connection:
        connection.script("DROP TABLE added")
    isolation.reset()
    assert each_world.lab.dump(each_world.name) == above
    isolation.pop("module")

    assert each_world.differences() == []


def test_further_private_databases(world):
    isolation = open_isolation("clone", world.endpoint, pool=world.pool)
    first, second = isolation.clone(), isolation.clone("named")
    counts = [world.lab.ask("SELECT count(*) FROM seeded", database=each.database) for each in (first, second)]
    for each in (first, second):
        isolation.drop(each.database)
    world.pool.wait()
    isolation.close()

    assert (first.database, second.database) == ("test_1", "named")
    assert counts == [[("50",)], [("50",)]]
    assert world.lab.ask("SELECT FROM pg_database WHERE datname IN ('test_1', 'named')") == []


def test_transaction_undoes_sequences_and_what_was_committed_elsewhere(each_world, opened):
    isolation = opened("transaction")
    fixture = each_world.connect("realstack fixture")
    isolation.begin("good")
    fixture.script("BEGIN; INSERT INTO plain (name) VALUES ('x')")
    fixture.script("ROLLBACK")
    good = isolation.reset()
    isolation.begin("bad")
    fixture.script("BEGIN; INSERT INTO plain (name) VALUES ('x')")
    with each_world.connect() as other:
        other.query("DELETE FROM keyless")
    fixture.script("ROLLBACK")
    bad = isolation.reset()
    fixture.close()

    assert (good.strategy, bad.strategy) == ("transaction", "reset")
    assert "public.keyless" in bad.reason
    assert each_world.differences() == []


def test_auto_learns_what_each_test_needs(each_world, opened, tmp_path):
    memory = tmp_path / "cache" / "strategies.json"
    isolation = opened("auto", memory=memory)
    for _ in range(2):
        for test, sql in (("plain", "INSERT INTO plain (name) VALUES ('x')"), ("ddl", "CREATE TABLE made (id int)")):
            isolation.begin(test)
            with each_world.connect() as connection:
                connection.script(sql)
            assert isolation.reset().leaks == ()
    isolation.begin("alone")
    isolation.saw("one transaction")
    isolation.reset()
    isolation.begin("listener")
    isolation.saw("listen")
    isolation.saw("one transaction")
    isolation.reset()
    news = isolation.news()
    chosen = {}
    for test in ("plain", "ddl", "alone", "listener"):
        isolation.begin(test)
        chosen[test] = isolation.strategy
    isolation.begin("none")
    isolation.reset()
    isolation.close()

    assert chosen == {"plain": "reset", "ddl": "clone", "alone": "transaction", "listener": "clone"}
    assert len(news) == 3
    assert isolation.news() == ()
    assert json.loads(memory.read_text()) == {"ddl": "clone", "alone": "transaction", "listener": "clone"}
    assert each_world.differences() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "nonsense"}', "\x00"])
def test_a_damaged_memory_is_an_empty_one(tmp_path, text):
    file = tmp_path / "m.json"
    file.write_text(text)
    memory = StrategyMemory(file)

    assert memory.get("a") == "reset"
    memory.put("a", "clone")
    memory.save()
    assert StrategyMemory(file).get("a") == "clone"


def test_memories_of_several_processes_are_merged(tmp_path):
    first, second = StrategyMemory(tmp_path / "m.json"), StrategyMemory(tmp_path / "m.json")
    first.put("a", "clone")
    second.put("b", "transaction")
    first.save()
    second.save()

    assert StrategyMemory(tmp_path / "m.json").get("a") == "clone"
    assert StrategyMemory(tmp_path / "m.json").get("b") == "transaction"


def test_without_a_superuser_reset_becomes_clone_and_says_why(each_lab):
    each_lab.ask("CREATE ROLE modest LOGIN CREATEDB")
    modest = dataclasses.replace(each_lab.admin, user="modest")
    pool = None
    try:
        build_template(modest, "realstack_template_modest", [lambda e: None], track=False)
        endpoint = clone_database(modest, "realstack_template_modest", name="modest_test")
        pool = ClonePool(modest, "realstack_template_modest", eager=False)
        isolation = open_isolation("reset", endpoint, pool=pool, ours=False)
        isolation.begin("test")
        each_lab.ask("CREATE TABLE made (id int)", database="modest_test")
        outcome = isolation.reset()
        tables = each_lab.ask("SELECT to_regclass('made')", database="modest_test")
        isolation.close()
    finally:
        if pool:
            pool.close()
        for name in ("modest_test", "realstack_template_modest"):
            drop_database(each_lab.admin, name)
        each_lab.ask("DROP ROLE modest")

    assert outcome.strategy == "clone"
    assert "superuser" in outcome.reason
    assert tables == [(None,)]

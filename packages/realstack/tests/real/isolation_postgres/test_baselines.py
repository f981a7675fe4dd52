"""Baselines stack: what a wider fixture adds is shared by its tests and gone afterwards."""

import pytest

from realstack.errors import BaselineUnknown


@pytest.fixture
def asked(each_world):
    """A connection that lives as long as the test, like a module fixture's pool."""
    with each_world.connect("realstack pool") as connection:
        each_world.isolation.begin("fixture")
        yield connection


NAMES = "SELECT name FROM plain UNION SELECT name FROM seeded WHERE id < 4 ORDER BY 1"


def counts(connection) -> list[tuple[str | None, ...]]:
    return connection.query(
        "SELECT (SELECT count(*) FROM plain), (SELECT count(*) FROM seeded), (SELECT count(*) FROM measured),"
        " (SELECT last_value FROM bare)"
    )


def test_a_baseline_holds_for_its_tests_and_is_gone_after(each_world, asked):
    isolation = each_world.isolation
    asked.script(
        "INSERT INTO plain (name) VALUES ('m1'), ('m2'); DELETE FROM seeded WHERE id > 10;"
        "INSERT INTO measured VALUES ('2021-03-03', 'a', 9); SELECT nextval('bare'); SELECT nextval('bare')"
    )
    isolation.push("module")
    module = counts(asked)
    for _ in range(3):
        isolation.begin("test")
        asked.script(
            "DELETE FROM plain; INSERT INTO seeded (name) VALUES ('t'); TRUNCATE measured; SELECT nextval('bare')"
        )
        assert isolation.reset().strategy == "reset"
        assert counts(asked) == module
    isolation.pop("module")

    assert module == [("2", "10", "4", "2")]
    assert each_world.differences() == []


def test_baselines_nest(each_world, asked):
    isolation = each_world.isolation
    seen = []
    for name in ("session", "module", "class"):
        asked.query(f"INSERT INTO plain (name) VALUES ('{name}')")
        asked.query(f"UPDATE seeded SET name = '{name}' WHERE id < 4")
        isolation.push(name)
        seen.append(asked.query(NAMES))
        asked.query("DELETE FROM plain")
        isolation.reset()
    for name in ("class", "module"):
        seen.pop()
        isolation.pop(name)
        assert seen[-1] == asked.query(NAMES)
    isolation.pop("session")

    assert each_world.differences() == []


def test_popping_a_lower_baseline_drops_those_above(world):
    with world.connect("realstack") as connection:
        for name in ("a", "b", "c"):
            connection.query(f"INSERT INTO plain (name) VALUES ('{name}')")
            world.isolation.push(name)
    world.isolation.pop("a")
    world.reset()

    assert world.differences() == []
    with pytest.raises(BaselineUnknown) as unknown:
        world.isolation.pop("c")
    assert unknown.value.baseline == "c"


def test_ddl_of_a_test_does_not_lose_the_baselines_rows(each_world):
    isolation = each_world.isolation
    with each_world.connect() as connection:
        connection.script(
            "INSERT INTO plain (name) VALUES ('kept'); DELETE FROM floats; DELETE FROM measured;"
            "SELECT setval('bare', 50);"
            """UPDATE "Odd Schema""s"."Weird ""Table" SET "select" = E'a\\tb"c\\\\,(' """
        )
    isolation.push("module")
    before = each_world.lab.dump(each_world.name)
    with each_world.connect() as connection:
        connection.script("INSERT INTO plain (name) VALUES ('class'); SELECT nextval('bare')")
    isolation.push("class")
    above = each_world.lab.dump(each_world.name)

    for _ in range(2):
        isolation.begin("test")
        with each_world.connect() as connection:
            connection.script("CREATE TABLE made (); DELETE FROM plain; DROP TABLE circle_a CASCADE")
        outcome = isolation.reset()
        assert outcome.strategy == "clone"
        assert outcome.leaks == ()
        assert each_world.lab.dump(each_world.name) == above
    isolation.pop("class")
    assert each_world.lab.dump(each_world.name) == before
    isolation.pop("module")

    assert each_world.differences() == []


def test_a_baseline_may_change_the_catalogue(each_world):
    isolation = each_world.isolation
    with each_world.connect() as connection:
        connection.script(
            "CREATE TABLE added (id serial PRIMARY KEY, v text); INSERT INTO added (v) VALUES ('x');"
            "ALTER TABLE plain ADD more int DEFAULT 3; INSERT INTO plain (name) VALUES ('y')"
        )
    isolation.push("module")
    above = each_world.lab.dump(each_world.name)
    for sql in (
        "INSERT INTO added (v) VALUES ('t'); DELETE FROM plain",
        "DROP TABLE added",
        "UPDATE added SET v = NULL",
    ):
        isolation.begin("test")
        with each_world.connect() as connection:
            connection.script(sql)
        assert isolation.reset().leaks == ()
        assert each_world.lab.dump(each_world.name) == above
    isolation.pop("module")

    assert each_world.differences() == []


def test_rows_above_and_below_a_baseline_with_another_catalogue(world):
    isolation = world.isolation
    dumps = []
    for name, sql in (
        ("rows", "INSERT INTO plain (name) VALUES ('below')"),
        ("catalogue", "CREATE TABLE added (id int); INSERT INTO added VALUES (1)"),
        ("more rows", "INSERT INTO added VALUES (2); DELETE FROM plain"),
    ):
        dumps.append(world.lab.dump(world.name))
        with world.connect() as connection:
            connection.script(sql)
        isolation.push(name)
    top = world.lab.dump(world.name)
    isolation.begin("test")
    with world.connect() as connection:
        connection.script("DROP TABLE added; INSERT INTO plain (name) VALUES ('t')")
    isolation.reset()
    assert world.lab.dump(world.name) == top
    for name in ("more rows", "catalogue", "rows"):
        isolation.pop(name)
        assert world.lab.dump(world.name) == dumps.pop()

    assert world.differences() == []


def test_a_catalogue_that_could_not_be_copied_is_told_when_it_is_needed(world):
    isolation = world.isolation
    holder = world.connect("module fixture")
    holder.script("CREATE TABLE added (id int)")
    isolation.begin("module")
    isolation.push("module")
    isolation.begin("test")
    holder.query("INSERT INTO added VALUES (1)")
    assert isolation.reset().leaks == ()
    assert holder.query("SELECT count(*) FROM added") == [("0",)]
    isolation.begin("test")
    holder.script("ALTER TABLE added ADD x int")
    [leak] = isolation.reset().leaks
    holder.close()
    isolation.pop("module")

    assert leak.kind == "catalogue"
    assert "'module'" in leak.what
    assert world.differences() == []


def test_verify_sees_what_differs_from_the_innermost_baseline(world):
    world.isolation.close()
    from realstack.isolation.postgres.reset import ResetIsolation

    world.isolation = isolation = ResetIsolation(world.endpoint, pool=world.pool, verifying=True)
    with world.connect("realstack") as connection:
        connection.query("INSERT INTO plain (name) VALUES ('base')")
        isolation.push("module")
        assert isolation.verify() == ()
        connection.query("INSERT INTO plain (name) VALUES ('test')")
        assert isolation.verify() == ("public.plain: 1 row more", "sequence public.plain_id_seq: at 2, was at 1")
    isolation.pop("module")

    assert isolation.verify() == ()
    assert world.differences() == []

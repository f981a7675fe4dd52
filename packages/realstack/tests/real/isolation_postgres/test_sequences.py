"""With many sequences, those that moved are found in the write-ahead log; the result is the same."""

from collections.abc import Iterator

import pytest

from realstack.errors import SqlFailed
from realstack.isolation.postgres.template import build_template
from realstack.services.postgres.wire import Connection

from .conftest import World

MANY = 100


@pytest.fixture(scope="module")
def crowds(labs) -> Iterator[dict[int, World]]:
    made: dict[int, World] = {}
    yield made
    for world in made.values():
        world.close()


@pytest.fixture
def crowded(each_lab, labs, crowds) -> World:
    """A database with more sequences than are looked at one by one."""
    if each_lab.major not in crowds:

        def fill(endpoint):
            with Connection(endpoint) as connection:
                connection.script(
                    "; ".join(
                        f"CREATE TABLE t{n} (id serial PRIMARY KEY, v text); CREATE SEQUENCE s{n}" for n in range(MANY)
                    )
                    + "; CREATE UNLOGGED SEQUENCE unlogged; CREATE SEQUENCE cached CACHE 30;"
                    "CREATE UNLOGGED TABLE u (id serial);"
                    "SELECT nextval('s5') FROM generate_series(1, 3); SELECT setval('s6', 100, false)"
                )

        build_template(each_lab.admin, "realstack_template_crowd", [fill])
        crowds[each_lab.major] = World(each_lab, "realstack_template_crowd", name="crowd")
    world = crowds[each_lab.major]
    world.isolation.begin("test")
    return world


MOVES = [
    ("INSERT INTO t3 (v) VALUES ('x')",),
    ("BEGIN; INSERT INTO t3 (v) VALUES ('x'); ROLLBACK",),
    ("SELECT nextval('s7')",),
    ("BEGIN; SELECT nextval('s7'); ROLLBACK",),
    ("SELECT nextval('s5')",),
    ("SELECT setval('s8', 12, false)",),
    ("SELECT setval('s6', 99, false)",),
    ("SELECT nextval('unlogged')",),
    ("INSERT INTO u DEFAULT VALUES",),
    ("SELECT nextval('cached')",),
    ("TRUNCATE t1 RESTART IDENTITY",),
    ("SELECT nextval('s1')", "TRUNCATE t1, t2", "SELECT nextval('s2')"),
    ("SELECT nextval(format('s%s', n)) FROM generate_series(0, 99) n",),
    ("INSERT INTO t9 (v) SELECT repeat(md5(n::text), 20) FROM generate_series(1, 3000) n", "SELECT nextval('s9')"),
    ("SELECT pg_switch_wal()", "SELECT nextval('s4')"),
    ("CHECKPOINT", "SELECT nextval('s4')"),
    ("VACUUM FULL t4", "SELECT nextval('s4')"),
    ("SELECT 1",),
]


@pytest.mark.parametrize("moves", MOVES, ids=lambda moves: moves[-1][:40])
def test_whatever_moved_a_sequence_is_found_in_the_log(crowded, moves):
    with crowded.connect() as connection:
        for sql in moves:
            connection.script(sql)

    outcome = crowded.reset()

    assert outcome.strategy == "reset"
    assert crowded.differences() == []


def test_the_first_number_after_a_reset_is_seen_again(crowded):
    """The log gets a record for the first nextval after a setval, then none for 32: each test's first must count."""
    with crowded.connect("realstack fixture") as connection:
        for count in (1, 5, 40, 1, 1):
            crowded.isolation.begin("test")
            connection.query("SELECT nextval('s11') FROM generate_series(1, $1)", count)
            assert "public.s11" in crowded.reset().changed
            assert connection.query("SELECT last_value, is_called FROM s11") == [("1", "f")]


def test_other_databases_do_not_hide_what_moved_here(crowded):
    other = crowded.lab.admin.with_database("postgres")
    with Connection(other) as neighbour, crowded.connect() as connection:
        neighbour.script("CREATE TABLE noise (v text); INSERT INTO noise SELECT 'n' FROM generate_series(1, 100)")
        connection.query("SELECT nextval('s12')")
        neighbour.script("DROP TABLE noise")

    assert "public.s12" in crowded.reset().changed


def test_a_sequence_in_a_stacked_baseline_is_found_too(crowded):
    with crowded.connect("realstack fixture") as connection:
        connection.query("SELECT nextval('s13') FROM generate_series(1, 3)")
        crowded.isolation.push("module")
        for _ in range(3):
            crowded.isolation.begin("test")
            connection.query("SELECT nextval('s13')")
            crowded.reset()
            assert connection.query("SELECT last_value FROM s13") == [("3",)]
    crowded.isolation.pop("module")

    assert crowded.differences() == []


def test_a_failed_insert_moves_a_number_that_is_put_back(crowded):
    with crowded.connect() as connection:
        connection.query("INSERT INTO t20 (id, v) VALUES (1, 'by hand')")
        with pytest.raises(SqlFailed):
            connection.query("INSERT INTO t20 (v) VALUES ('takes 1')")

    crowded.reset()

    assert crowded.differences() == []

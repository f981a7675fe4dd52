"""Random statements, then a reset: pg_dump sees what it saw before. The seed is in the test's name."""

import random

import pytest

from realstack.errors import SqlFailed

TABLES = (
    "plain", "seeded", "other.child", "keyless", "composite", "nullable_key", "unique_key", "deferred", "floats",
    "circle_a", "circle_b", "tree", "measured", "measured_old", "measured_new", "measured_new_a", "base_thing",
    "derived_thing", "volatile", "generated", "dropped", "booked", "checked", "big", "guarded", "journal", "stubborn",
    "ruled", "ruled_always", "fine_seeds", "no_columns", "many_writers", '"Odd Schema""s"."Weird ""Table"',
)  # fmt: skip
SEQUENCES = ("bare", "used", "cached", "quick", "preset", "plain_id_seq", "seeded_id_seq", "measured_id_seq")
INSERTS = (
    "INSERT INTO plain (name) VALUES (md5(random()::text))",
    "INSERT INTO seeded (name) SELECT 'r' FROM generate_series(1, 20)",
    "INSERT INTO measured VALUES (date '2005-01-01' + (random() * 8000)::int, 'k')",
    "INSERT INTO keyless VALUES (random() * 10, 'x')",
    "INSERT INTO unique_key VALUES (random() * 100, 'x') ON CONFLICT (k) DO UPDATE SET v = 'y'",
    "INSERT INTO derived_thing VALUES (random() * 100000, 'd', 1)",
    "INSERT INTO stubborn VALUES (random() * 100000, 'd')",
    "INSERT INTO tree SELECT g, g - 1 FROM generate_series(10, 15) g",
    "CALL add_and_commit(md5(random()::text))",
    "SELECT add_plain(md5(random()::text))",
    "SELECT lo_from_bytea(0, 'x')",
    "CREATE TEMP TABLE IF NOT EXISTS scratch AS SELECT 1 AS x",
    "REFRESH MATERIALIZED VIEW counted",
)
ENDS = ("COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'r'; COMMIT PREPARED 'r'")
DDL = ("CREATE TABLE made (id int)", "ALTER TABLE plain ADD z int", "DROP VIEW fine_seeds", "CREATE ROLE made")


def statement(dice: random.Random) -> str:
    table = dice.choice(TABLES)
    return dice.choice(
        (
            lambda: dice.choice(INSERTS),
            lambda: dice.choice(INSERTS),
            lambda: f"DELETE FROM {table} WHERE random() < {dice.random():.2f}",
            lambda: f"TRUNCATE {table} {dice.choice(('', 'CASCADE', 'RESTART IDENTITY CASCADE'))}",
            lambda: f"UPDATE seeded SET name = name || 'u' WHERE random() < {dice.random():.2f}",
            lambda: f"UPDATE {dice.choice(('composite', 'deferred', 'keyless', 'tree'))} SET {{}}".format(
                "ctid = ctid"
            ),
            lambda: "UPDATE measured SET day = day + 3000",
            lambda: f"UPDATE many_writers SET id = id + 1000 WHERE id % {dice.randint(2, 9)} = 0",
            lambda: f"SELECT nextval('{dice.choice(SEQUENCES)}')",
            lambda: (
                f"SELECT setval('{dice.choice(SEQUENCES)}', {dice.randint(1, 99)}, {dice.choice(('true', 'false'))})"
            ),
            lambda: "SAVEPOINT s; INSERT INTO plain (name) VALUES (md5(random()::text)); ROLLBACK TO s",
        )
    )()


def wreak(world, dice: random.Random, *, with_ddl: bool) -> None:
    for _ in range(dice.randint(1, 4)):
        user = dice.choice((None, None, "app"))
        with world.connect(user=user) as connection:
            begun = dice.random() < 0.6
            try:
                if begun:
                    connection.script("BEGIN")
                for _ in range(dice.randint(1, 6)):
                    connection.script(dice.choice(DDL) if with_ddl and dice.random() < 0.3 else statement(dice))
                if begun:
                    connection.script(dice.choice(ENDS))
            except SqlFailed:
                continue  # refused, and the transaction with it: also a state to come back from


def one_round(world, seed: str) -> None:
    dice = random.Random(seed)
    world.isolation.begin(seed)
    wreak(world, dice, with_ddl=dice.random() < 0.1)

    outcome = world.reset()

    assert world.differences() == [], outcome
    assert [leak for leak in outcome.leaks if leak.kind != "prepared transaction"] == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_test_does_is_undone(each_world, seed):
    one_round(each_world, f"{seed}")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 400))
def test_whatever_a_test_does_is_undone_many_times(each_world, seed):
    one_round(each_world, f"{seed}")


def test_verify_and_pg_dump_agree(each_world):
    """The kit's own comparison sees a change whenever pg_dump sees one."""
    isolation = each_world.isolation
    assert isolation.verify() == ()
    for seed in range(6):
        isolation.begin("test")
        wreak(each_world, random.Random(seed), with_ddl=False)

        assert bool(isolation.verify()) == bool(each_world.differences())
        each_world.reset()
        assert isolation.verify() == ()

"""Whatever way a table is written, it is put back: rows, sequences, and everything else that pg_dump sees."""

import dataclasses

import pytest

from realstack.errors import SqlFailed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Statements a test runs, each on its own; the last may be one that fails."""

    id: str
    sql: tuple[str, ...]
    user: str | None = None
    fails: bool = False
    strategy: str = "reset"
    first: int = 0


def case(id: str, *sql: str, **more) -> Case:
    return Case(id=id, sql=sql, **more)


WRITES = [
    case("insert", "INSERT INTO plain (name) VALUES ('x')"),
    case("insert into seeded", "INSERT INTO seeded (name) VALUES ('x')"),
    case("update", "UPDATE seeded SET name = 'other', mood = 'sad' WHERE id < 5"),
    case("update of a key", "UPDATE seeded SET id = id + 1000"),
    case("delete", "DELETE FROM seeded WHERE id % 3 = 0"),
    case("delete cascades", "DELETE FROM seeded"),
    case("delete and insert again", "DELETE FROM other.child", "INSERT INTO other.child (parent) VALUES (1), (2)"),
    case("truncate", "TRUNCATE keyless"),
    case("truncate cascades and restarts", "TRUNCATE seeded RESTART IDENTITY CASCADE"),
    case("copy", "COPY plain (name) FROM PROGRAM 'echo copied'"),
    case(
        "merge",
        "MERGE INTO unique_key u USING (VALUES (1), (9)) v (k) ON u.k = v.k"
        " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.k, 'new')",
    ),
    case("on conflict", "INSERT INTO unique_key VALUES (1, 'z') ON CONFLICT (k) DO UPDATE SET v = 'upserted'"),
    case("writable CTE", "WITH gone AS (DELETE FROM unique_key RETURNING *) INSERT INTO keyless SELECT * FROM gone"),
    case("through a function", "SELECT add_plain('f')"),
    case("through a procedure that commits", "CALL add_and_commit('p')"),
    case("through a view", "UPDATE fine_seeds SET name = 'viewed'"),
    case("through an INSTEAD OF trigger", "INSERT INTO plain_names VALUES ('instead')"),
    case("through a rule", "INSERT INTO ruled VALUES (2, 'b')", "DELETE FROM ruled"),
    case("a table with an ALWAYS rule", "INSERT INTO ruled_always VALUES (2, 'b')"),
    case(
        "tables with ALWAYS and REPLICA triggers", "INSERT INTO stubborn VALUES (3, 'x')", "UPDATE stubborn SET v = 'y'"
    ),
    case("a trigger that writes elsewhere", "UPDATE checked SET v = 'z'"),
    case(
        "weird names",
        'UPDATE "Odd Schema""s"."Weird ""Table" SET found = 9, known = 1, "ünïcode" = NULL',
        'INSERT INTO "Odd Schema""s"."Weird ""Table" DEFAULT VALUES',
    ),
    case("no key", "DELETE FROM keyless WHERE ctid = '(0,1)'", "INSERT INTO keyless VALUES (1, 'one')"),
    case("composite key", "UPDATE composite SET v = NULL", "DELETE FROM composite WHERE y = 'b'"),
    case("nullable key", "DELETE FROM nullable_key WHERE k IS NULL", "INSERT INTO nullable_key VALUES (NULL, 'n')"),
    case("deferred key", "UPDATE deferred SET k = 4 - k"),
    case("no columns", "INSERT INTO no_columns DEFAULT VALUES", "DELETE FROM no_columns"),
    case("values of many types", "UPDATE floats SET f = 1, c = 'zz' WHERE f = 'NaN'", "DELETE FROM floats WHERE f = 0"),
    case(
        "references in a circle",
        "DELETE FROM circle_a USING circle_b WHERE false",
        "BEGIN; DELETE FROM circle_a;"
        " DELETE FROM circle_b; INSERT INTO circle_a VALUES (7, 8); INSERT INTO circle_b VALUES (8, 7); COMMIT",
    ),
    case("a tree", "DELETE FROM tree WHERE id = 1"),
    case("the top of partitions", "INSERT INTO measured VALUES ('2005-05-05', 'q', 1), ('2022-01-01', 'a', 1)"),
    case("the middle of partitions", "UPDATE measured_new SET kind = 'moved' WHERE kind = 'a'"),
    case("a partition", "DELETE FROM measured_new_rest", "INSERT INTO measured_old VALUES ('2001-01-01', 'x')"),
    case("rows that change partition", "UPDATE measured SET day = day + 5000"),
    case("truncate of partitions", "TRUNCATE measured"),
    case("the top of an inheritance", "UPDATE base_thing SET name = 'all'", "DELETE FROM base_thing WHERE id = 3"),
    case("the top only", "DELETE FROM ONLY base_thing"),
    case("the bottom of an inheritance", "INSERT INTO derived_twice VALUES (9, 'n', 1)"),
    case("unlogged", "INSERT INTO volatile (v) VALUES ('x')", "UPDATE volatile SET v = 'y'"),
    case(
        "generated columns",
        "UPDATE generated SET w = 9",
        "INSERT INTO generated VALUES (3, 1)",
        "DELETE FROM only_generated",
    ),
    case("dropped columns", "UPDATE dropped SET c = 'x'", "INSERT INTO dropped VALUES (2, 'd')"),
    case(
        "exclusion constraint",
        "UPDATE booked SET during = '[100,200)' WHERE during @> 1",
        "INSERT INTO booked VALUES (2, '[1,3)')",
    ),
    case("large values", "UPDATE big SET body = 'small'", "DELETE FROM big WHERE id = 2"),
    case("rows of many transactions", "UPDATE many_writers SET id = -id WHERE id > 20"),
    case(
        "row level security",
        "UPDATE guarded SET secret = 'seen'",
        "INSERT INTO guarded (secret) VALUES ('n')",
        user="app",
    ),
    case(
        "a role without grants on the kit's schema",
        "INSERT INTO plain (name) VALUES ('a')",
        "DELETE FROM keyless",
        "INSERT INTO measured VALUES ('2021-02-02', 'a', 1)",
        user="app",
    ),
    case("column privileges", "UPDATE base_thing SET name = 'a' WHERE id = 1", user="app"),
    case(
        "replica role",
        "SET session_replication_role = replica",
        "DELETE FROM seeded",
        "INSERT INTO plain (name) VALUES ('r')",
    ),
    case("rows locked only", "BEGIN; SELECT * FROM seeded FOR UPDATE; COMMIT"),
    case("vacuum full", "DELETE FROM seeded WHERE id < 10", "VACUUM FULL seeded"),
    case("vacuum freeze", "UPDATE seeded SET name = 'f' WHERE id < 10", "VACUUM FREEZE seeded"),
    case(
        "a savepoint rolled back",
        "BEGIN; INSERT INTO plain (name) VALUES ('a'); SAVEPOINT s;"
        " INSERT INTO seeded (name) VALUES ('b'); ROLLBACK TO s; COMMIT",
    ),
    case(
        "temporary tables",
        "CREATE TEMP TABLE mine (id serial, v text)",
        "INSERT INTO mine (v) VALUES ('t')",
        "INSERT INTO plain (name) SELECT v FROM mine",
        "ALTER TABLE mine ADD x int",
        "DROP TABLE mine",
    ),
    # sequences
    case("nextval alone", "SELECT nextval('bare')"),
    case("nextval of a used one", "SELECT nextval('used')"),
    case("setval", "SELECT setval('used', 3)"),
    case("setval of one never called", "SELECT setval('bare', 77, false)"),
    case("setval of a preset one", "SELECT setval('preset', 42, false)"),
    case("setval to what it would give", "SELECT setval('preset', 41, true)"),
    case("nextval rolled back", "BEGIN; SELECT nextval('bare'); ROLLBACK"),
    case("insert rolled back", "BEGIN; INSERT INTO plain (name) VALUES ('x'); ROLLBACK"),
    case("insert refused", "INSERT INTO checked VALUES (5, '')", fails=True),
    case("unlogged sequence", "SELECT nextval('quick')"),
    case("cached sequence", "SELECT nextval('cached')"),
    case("identity by hand", "INSERT INTO other.child OVERRIDING SYSTEM VALUE VALUES (500, 1, 'by hand')"),
    # views with rows
    case(
        "refresh",
        "DELETE FROM seeded WHERE id > 20",
        "REFRESH MATERIALIZED VIEW counted",
        "REFRESH MATERIALIZED VIEW counted_twice",
    ),
    case("refresh concurrently", "DELETE FROM seeded WHERE id > 20", "REFRESH MATERIALIZED VIEW CONCURRENTLY counted"),
    case("refresh of one without data", "REFRESH MATERIALIZED VIEW empty_view"),
    case("refresh of a stale one", "REFRESH MATERIALIZED VIEW stale", strategy="clone"),
    # large objects
    case("large object", "SELECT lo_from_bytea(0, 'abc')", "SELECT lo_put(oid, 1, 'zz') FROM pg_largeobject_metadata"),
    # nothing
    case("reads only", "SELECT * FROM seeded", "EXPLAIN ANALYZE SELECT * FROM plain"),
]


@pytest.mark.parametrize("written", WRITES, ids=lambda each: each.id)
def test_every_way_to_write_is_put_back(each_world, written):
    with each_world.connect(user=written.user) as connection:
        for sql in written.sql:
            if written.fails and sql == written.sql[-1]:
                with pytest.raises(SqlFailed):
                    connection.script(sql)
            else:
                connection.script(sql)

    outcome = each_world.reset()

    assert each_world.differences() == []
    assert outcome.leaks == ()
    assert outcome.strategy == written.strategy, outcome

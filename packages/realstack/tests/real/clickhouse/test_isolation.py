"""After a reset nothing a test did to its database is left, and everything that was there before is."""

import threading

import pytest

from realstack.errors import BaselineUnknown, ClickHouseRefused
from realstack.isolation.clickhouse import ClickHouseIsolation
from realstack.services.clickhouse.client import Client
from realstack.services.clickhouse.server import create_database, drop_database

SCHEMA = (
    "CREATE TABLE a (x UInt32, s String) ENGINE = MergeTree ORDER BY x",
    "CREATE TABLE b (x UInt32, s String) ENGINE = MergeTree ORDER BY x",
    "CREATE TABLE parts (x UInt32) ENGINE = MergeTree PARTITION BY x % 3 ORDER BY x",
    "CREATE TABLE rep (x UInt32, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY x",
    "CREATE TABLE mem (x UInt32) ENGINE = Memory",
    "CREATE TABLE logs (x UInt32) ENGINE = Log",
    "CREATE TABLE source (x UInt32) ENGINE = MergeTree ORDER BY x",
    "CREATE TABLE target (x UInt32) ENGINE = MergeTree ORDER BY x",
    "CREATE MATERIALIZED VIEW to_target TO target AS SELECT x * 2 AS x FROM source",
    "CREATE MATERIALIZED VIEW to_inner ENGINE = MergeTree ORDER BY x AS SELECT x FROM target",
    "CREATE TABLE log_source (x UInt32) ENGINE = Log",
    "CREATE MATERIALIZED VIEW from_log TO mem_target AS SELECT x FROM log_source",
    "CREATE VIEW plain AS SELECT * FROM a WHERE x > 1",
)
ROWS = (
    "INSERT INTO a SELECT number, 'row' FROM numbers(100)",
    "INSERT INTO parts SELECT number FROM numbers(30)",
    "INSERT INTO rep SELECT number, 1 FROM numbers(10)",
    "INSERT INTO mem SELECT number FROM numbers(5)",
    "INSERT INTO logs SELECT number FROM numbers(5)",
    "INSERT INTO source SELECT number FROM numbers(7)",
    "INSERT INTO log_source SELECT number FROM numbers(3)",
)
#: What tests do; each alone, then all at once. Some are refused where there are no rows, which is as good a test.
DEEDS = {
    "insert": ["INSERT INTO a VALUES (1000, 'x')", "INSERT INTO mem VALUES (1)", "INSERT INTO logs VALUES (1)"],
    "insert select": ["INSERT INTO b SELECT * FROM a", "INSERT INTO a SELECT number, 'n' FROM numbers(10)"],
    "insert through views": ["INSERT INTO source VALUES (77)", "INSERT INTO log_source VALUES (78)"],
    "insert into a view's target": ["INSERT INTO target VALUES (5)", "INSERT INTO to_target VALUES (6)"],
    "insert by another name": ["INSERT INTO TABLE `a` (s, x) VALUES ('q', 1)", "INSERT INTO {db}.b VALUES (1, 'x')"],
    "insert into a function": ["INSERT INTO FUNCTION merge('{db}', '^b$') VALUES (1, 'x')"],
    "truncate": ["TRUNCATE TABLE a", "TRUNCATE parts", "TRUNCATE TABLE IF EXISTS mem", "TRUNCATE TABLE source"],
    "truncate all": ["TRUNCATE ALL TABLES FROM {db}"],
    "drop": ["DROP TABLE a", "DROP TABLE mem SYNC", "DROP VIEW plain"],
    "drop views": ["DROP TABLE to_target", "DROP VIEW to_inner", "DROP TABLE target"],
    "create": ["CREATE TABLE mine (x Int8) ENGINE = Memory", "INSERT INTO mine VALUES (1)"],
    "create and drop": ["CREATE TABLE mine (x Int8) ENGINE = Memory", "DROP TABLE mine"],
    "create if there": ["CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = Memory", "INSERT INTO a VALUES (2000, 'y')"],
    "drop and create otherwise": ["DROP TABLE a", "CREATE TABLE a (other String) ENGINE = Memory"],
    "drop and create the same": ["DROP TABLE b", SCHEMA[1]],
    "create or replace": ["CREATE OR REPLACE TABLE a (y Int8) ENGINE = MergeTree ORDER BY y"],
    "create as": ["CREATE TABLE mine AS a", "CREATE TABLE mine2 ENGINE = Memory AS SELECT 1 AS x"],
    "create a view": ["CREATE VIEW mine AS SELECT 1", "CREATE MATERIALIZED VIEW m2 TO b AS SELECT * FROM a"],
    "create a view and write through it": [
        "CREATE MATERIALIZED VIEW m2 TO b AS SELECT * FROM a",
        "INSERT INTO a VALUES (5, 'through')",
    ],
    "create a dictionary": [
        "CREATE DICTIONARY d (x UInt64, s String) PRIMARY KEY x "
        "SOURCE(CLICKHOUSE(TABLE 'a' DB '{db}')) LAYOUT(FLAT()) LIFETIME(0)"
    ],
    "alter": ["ALTER TABLE a ADD COLUMN y Int8 DEFAULT 5", "ALTER TABLE b MODIFY COMMENT 'mine'"],
    "alter order": [
        "ALTER TABLE a MODIFY SETTING merge_with_ttl_timeout = 60",
        "ALTER TABLE parts ADD INDEX i x TYPE minmax",
    ],
    "mutate": ["ALTER TABLE a UPDATE s = 'u' WHERE x < 5", "ALTER TABLE b DELETE WHERE 1"],
    "mutate and wait": ["ALTER TABLE a DELETE WHERE x < 50 SETTINGS mutations_sync = 2"],
    "delete": ["DELETE FROM a WHERE x = 3", "DELETE FROM parts WHERE x = 3"],
    "optimize": ["INSERT INTO a VALUES (1, 'one more')", "OPTIMIZE TABLE a FINAL", "OPTIMIZE TABLE rep FINAL"],
    "replacing": ["INSERT INTO rep VALUES (1, 2)", "OPTIMIZE TABLE rep FINAL"],
    "partitions": ["ALTER TABLE parts DROP PARTITION 1", "ALTER TABLE parts DETACH PARTITION 2"],
    "rename": ["RENAME TABLE a TO z", "CREATE TABLE a (x Int8) ENGINE = Memory"],
    "exchange": ["EXCHANGE TABLES a AND b"],
    "rename within": ["ALTER TABLE a RENAME COLUMN s TO t"],
    "detach": ["DETACH TABLE a", "DETACH TABLE mem"],
    "detach for good": ["DETACH TABLE a PERMANENTLY"],
    "detach and attach": ["DETACH TABLE a", "ATTACH TABLE a"],
    "move out": ["CREATE DATABASE {db}_out", "RENAME TABLE a TO {db}_out.a"],
    "drop the database": ["DROP DATABASE {db}"],
    "drop and create the database": ["DROP DATABASE {db}", "CREATE DATABASE {db}"],
    "another database": ["CREATE DATABASE {db}_x", "CREATE TABLE {db}_x.t (x Int8) ENGINE = Memory"],
    "stop merges": ["SYSTEM STOP MERGES", "SYSTEM STOP MERGES a", "INSERT INTO a VALUES (9, 'm')"],
    "queued inserts": ["INSERT INTO a SETTINGS async_insert = 1, wait_for_async_insert = 0 VALUES (4000, 'late')"],
}


@pytest.fixture
def schema(client):
    client.query("CREATE TABLE mem_target (x UInt32) ENGINE = Memory")
    for sql in SCHEMA:
        client.query(sql)
    return client


def commit(client: Client, endpoint, deeds: list[str]) -> None:
    for sql in deeds:
        try:
            client.query(sql.replace("{db}", endpoint.database))
        except ClickHouseRefused:
            continue


def databases(client: Client) -> set[str]:
    return {name for (name,) in client.query("SHOW DATABASES") if not name.startswith("realstack_baseline")}


@pytest.mark.parametrize("deed", DEEDS)
def test_nothing_of_a_test_is_left(schema, endpoint, isolate, deed):
    for sql in ROWS:
        schema.query(sql)
    before = databases(schema)
    isolation = isolate()

    for _ in range(2):  # the second time shows that the first left the bookkeeping right, too
        isolation.begin(deed)
        commit(schema, endpoint, DEEDS[deed])
        outcome = isolation.reset()

        assert isolation.verify() == ()
        assert databases(schema) == before
        assert outcome.leaks == ()
    isolation.begin("quiet")
    assert isolation.reset().strategy == "untouched"


def test_nothing_of_a_test_is_left_in_a_database_without_rows(schema, endpoint, isolate):
    before = databases(schema)
    isolation = isolate()

    for deed, statements in DEEDS.items():
        commit(schema, endpoint, statements)
        isolation.reset()
        assert (deed, isolation.verify(), databases(schema)) == (deed, (), before)


#: What only the front knows: databases made beside the own one, switches.
TOLD = ("move out", "another database", "stop merges")


def test_nothing_of_a_test_is_left_on_a_server_that_tells_nothing(schema, endpoint, isolate):
    for sql in ROWS:
        schema.query(sql)
    isolation = isolate(is_embedded=False)

    for deed in DEEDS.keys() - TOLD:
        commit(schema, endpoint, DEEDS[deed])
        isolation.reset()
        assert (deed, isolation.verify()) == (deed, ())
    assert isolation.reset().strategy == "untouched"


def test_everything_at_once(schema, endpoint, isolate):
    for sql in ROWS:
        schema.query(sql)
    isolation = isolate()
    for deed in DEEDS.values():
        commit(schema, endpoint, deed)
    isolation.reset()

    assert isolation.verify() == ()


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("INSERT INTO a VALUES (1, 'x')", "a: "),
        ("ALTER TABLE b ADD COLUMN z Int8", "b: is "),
        ("DROP TABLE a", "a: gone"),
        ("CREATE TABLE mine (x Int8) ENGINE = Memory", "mine: not in the baseline"),
        ("ALTER TABLE a UPDATE s = 'u' WHERE x = 1 SETTINGS mutations_sync = 1", "a: has 1 mutation(s), had 0"),
        ("DROP DATABASE {db}", "is gone"),
    ],
)
def test_verify_says_what_differs(schema, endpoint, isolate, deed, said):
    for sql in ROWS:
        schema.query(sql)
    isolation = isolate()
    assert isolation.verify() == ()
    schema.query(deed.replace("{db}", endpoint.database))

    assert any(said in difference for difference in isolation.verify())
    isolation.reset()
    assert isolation.verify() == ()


def test_the_outcome_names_what_was_put_back(schema, isolate):
    isolation = isolate()
    schema.query("INSERT INTO a VALUES (1, 'x')")
    outcome = isolation.reset()

    assert (outcome.strategy, outcome.changed) == ("reset", ("a",))
    assert 0 < outcome.seconds < 5


def test_baselines_stack(schema, isolate):
    isolation = isolate()
    schema.query("INSERT INTO a SELECT number, 'module' FROM numbers(10)")
    isolation.push("module")
    schema.query("INSERT INTO a VALUES (100, 'class')")
    schema.query("CREATE TABLE extra (x Int8) ENGINE = MergeTree ORDER BY x")
    schema.query("INSERT INTO extra VALUES (1)")
    isolation.push("class")

    schema.query("TRUNCATE TABLE a")
    schema.query("DROP TABLE extra")
    isolation.reset()
    assert schema.query("SELECT (SELECT count() FROM a), (SELECT sum(x) FROM extra)") == [(11, 1)]

    isolation.pop("class")
    assert schema.query("SELECT count() FROM a") == [(10,)]
    assert schema.query("EXISTS TABLE extra") == [(0,)]
    schema.query("INSERT INTO a VALUES (1, 'x')")
    isolation.reset()
    assert schema.query("SELECT count() FROM a") == [(10,)]

    isolation.pop("module")
    assert schema.query("SELECT count() FROM a") == [(0,)]
    assert isolation.verify() == ()


def test_popping_several_baselines_at_once(schema, isolate):
    isolation = isolate()
    for name in ("module", "class"):
        schema.query(f"INSERT INTO a VALUES (1, '{name}')")
        isolation.push(name)
    isolation.pop("module")

    assert schema.query("SELECT count() FROM a") == [(0,)]
    with pytest.raises(BaselineUnknown, match="class"):
        isolation.pop("class")


def test_a_database_made_for_a_baseline_is_put_back_too_and_ends_with_it(schema, endpoint, isolate):
    other = f"{endpoint.database}_other"
    isolation = isolate()
    schema.query(f"CREATE DATABASE {other}")
    schema.query(f"CREATE TABLE {other}.t (x Int8) ENGINE = MergeTree ORDER BY x")
    schema.query(f"INSERT INTO {other}.t VALUES (1)")
    isolation.push("module")
    schema.query(f"INSERT INTO {other}.t VALUES (2)")
    isolation.reset()

    assert schema.query(f"SELECT x FROM {other}.t") == [(1,)]
    isolation.pop("module")
    assert other not in databases(schema)


def test_functions_and_named_collections_are_put_back(schema, isolate):
    schema.query("CREATE OR REPLACE FUNCTION lived_before AS (x) -> x + 1")
    isolation = isolate()
    schema.query("CREATE FUNCTION mine AS (x) -> x")
    schema.query("CREATE OR REPLACE FUNCTION lived_before AS (x) -> x + 2")
    schema.query("CREATE NAMED COLLECTION mine AS a = 1")
    isolation.reset()

    assert schema.query("SELECT lived_before(1)") == [(2,)]
    assert schema.query("SELECT count() FROM system.named_collections") == [(0,)]
    with pytest.raises(ClickHouseRefused, match="mine"):
        schema.query("SELECT mine(1)")
    schema.query("DROP FUNCTION lived_before")
    isolation.reset()
    assert schema.query("SELECT lived_before(1)") == [(2,)]
    schema.query("DROP FUNCTION lived_before")


def test_a_dictionary_reads_its_source_again(schema, endpoint, isolate):
    schema.query(
        f"CREATE DICTIONARY d (x UInt64, s String) PRIMARY KEY x "
        f"SOURCE(CLICKHOUSE(TABLE 'a' DB '{endpoint.database}')) LAYOUT(FLAT()) LIFETIME(0)"
    )
    isolation = isolate()
    schema.query("INSERT INTO a VALUES (1, 'mine')")
    assert schema.query("SELECT dictGet('d', 's', 1)") == [("mine",)]
    isolation.reset()

    assert schema.query("SELECT dictGet('d', 's', 1)") == [("",)]


def test_sessions_of_a_test_end_with_it_and_older_ones_stay(schema, isolate):
    schema.execute("SET max_threads = 7", {"session_id": "older"})
    isolation = isolate()
    schema.execute("SELECT 1", {"session_id": "older"})
    schema.execute("CREATE TEMPORARY TABLE tmp (x Int8)", {"session_id": "younger"})
    isolation.reset()

    assert schema.execute("SELECT getSetting('max_threads')", {"session_id": "older", "session_check": "1"}) == b"7\n"
    with pytest.raises(ClickHouseRefused, match="SESSION_NOT_FOUND"):
        schema.execute("SELECT 1", {"session_id": "younger", "session_check": "1"})


def test_a_set_in_an_older_session_does_not_reach_the_next_test(schema, isolate):
    schema.execute("SELECT 1", {"session_id": "mine"})
    isolation = isolate()
    schema.execute("SET max_threads = 7", {"session_id": "mine"})
    isolation.reset()

    assert schema.execute("SELECT getSetting('max_threads')", {"session_id": "mine"}) != b"7\n"


def test_a_query_that_outlives_its_test_is_a_leak_and_is_ended(schema, endpoint, isolate, await_running):
    isolation = isolate()
    slow = Client(endpoint)
    sql = "SELECT sleepEachRow(0.1), 'outlive' FROM numbers(200) SETTINGS max_block_size = 1"

    def run() -> None:
        with pytest.raises(ClickHouseRefused, match="QUERY_WAS_CANCELLED"):
            slow.execute(sql)

    thread = threading.Thread(target=run)
    thread.start()
    await_running("'outlive'")
    outcome = isolation.reset()
    thread.join(timeout=5)

    assert not thread.is_alive()
    assert [leak.kind for leak in outcome.leaks] == ["query"]
    assert "outlive" in outcome.leaks[0].what
    slow.close()


def test_the_neighbours_database_is_not_touched(schema, endpoint, server, isolate):
    neighbour = create_database(server.endpoint, f"{endpoint.database}_neighbour")
    theirs = Client(neighbour)
    theirs.query("CREATE TABLE a (x UInt32) ENGINE = MergeTree ORDER BY x")
    other = ClickHouseIsolation(neighbour, is_embedded=True)
    isolation = isolate()
    theirs.query("INSERT INTO a VALUES (1)")
    schema.query("INSERT INTO a VALUES (1, 'x')")
    schema.query("CREATE TABLE mine (x Int8) ENGINE = Memory")
    isolation.reset()

    assert theirs.query("SELECT x FROM a") == [(1,)]
    assert other.reset().changed == ("a",)
    assert theirs.query("SELECT x FROM a") == []
    # written from the neighbour's side: the reset of the one written to puts it back
    theirs.query(f"INSERT INTO {endpoint.database}.a VALUES (5, 'from next door')")
    assert other.reset().changed == ()
    assert isolation.reset().changed == ("a",)
    other.close()
    theirs.close()
    drop_database(neighbour)


def test_closing_leaves_nothing_beside_the_database(schema, server, endpoint, isolate):
    everything = Client(server.endpoint)
    before = everything.query("SHOW DATABASES")
    schema.query("INSERT INTO a VALUES (1, 'x')")
    isolation = ClickHouseIsolation(endpoint, is_embedded=True)
    isolation.push("module")
    isolation.close()

    assert everything.query("SHOW DATABASES") == before
    everything.close()


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_thousand_tests_leave_nothing(schema, endpoint, isolate):
    import random

    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    for sql in ROWS:
        schema.query(sql)
    isolation = isolate()
    for number in range(1000):
        isolation.begin(str(number))
        # a mutation behind stopped merges waits for ever, on servers too
        for deed in dice.sample(sorted(DEEDS.keys() - {"stop merges"}), dice.randint(0, 3)):
            commit(schema, endpoint, DEEDS[deed])
        isolation.reset()
        if number % 10 == 0:
            assert isolation.verify() == ()

"""DDL is seen and answered with a fresh copy; what event triggers do not see is compared and put back."""

import pytest

DDL = [
    "CREATE TABLE made (id int)",
    "CREATE TABLE made AS SELECT 1 AS x",
    "SELECT 1 AS x INTO made",
    "ALTER TABLE plain ADD more text DEFAULT 'x'",
    "ALTER TABLE plain DISABLE TRIGGER ALL",
    "DROP TABLE keyless",
    "DROP TABLE seeded CASCADE",
    "CREATE INDEX made ON plain (at)",
    "DROP INDEX counted_n_idx",
    "CREATE VIEW made AS SELECT 1",
    "CREATE OR REPLACE FUNCTION add_plain(text) RETURNS void LANGUAGE sql AS 'SELECT'",
    "CREATE SCHEMA made",
    "DROP SCHEMA other CASCADE",
    "ALTER TYPE mood ADD VALUE 'new'",
    "CREATE TYPE made AS (x int)",
    "ALTER SEQUENCE bare RESTART WITH 9",
    "ALTER SEQUENCE bare INCREMENT 5",
    "GRANT ALL ON keyless TO readers",
    "REVOKE SELECT ON plain FROM app",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app",
    "COMMENT ON TABLE plain IS 'made'",
    "CREATE POLICY made ON plain USING (true)",
    "ALTER TABLE plain OWNER TO app",
    "CREATE TRIGGER made AFTER INSERT ON plain EXECUTE FUNCTION write_journal()",
    "ALTER TABLE stubborn ENABLE REPLICA TRIGGER spoil",
    "CREATE RULE made AS ON INSERT TO plain DO NOTHING",
    "CREATE PUBLICATION made FOR ALL TABLES",
    "CREATE STATISTICS made ON k, v FROM unique_key",
    "ALTER TABLE measured DETACH PARTITION measured_old",
    "CREATE TABLE measured_late PARTITION OF measured FOR VALUES FROM ('2040-01-01') TO ('2050-01-01')",
    "ALTER TABLE base_thing RENAME TO renamed",
    "CREATE EVENT TRIGGER made ON ddl_command_start EXECUTE FUNCTION realstack.note_ddl()",
    "DROP EVENT TRIGGER realstack_ddl",
    "CREATE MATERIALIZED VIEW made AS SELECT 1",
    "DROP OWNED BY app",
]


@pytest.mark.parametrize("sql", DDL)
def test_ddl_is_undone_by_a_fresh_copy(world, sql):
    with world.connect() as connection:
        connection.script(sql)
        connection.script("INSERT INTO journal (what) VALUES ('ddl')")

    outcome = world.reset()

    assert world.differences() == []
    assert outcome.strategy == "clone"
    assert outcome.leaks == ()


def test_the_reason_names_the_ddl(world):
    with world.connect() as connection:
        connection.script("CREATE TABLE made (id int)")

    outcome = world.reset()

    assert outcome.reason == "the catalogue was changed: CREATE TABLE public.made"
    assert world.differences() == []


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN; CREATE TABLE made (id int); DROP TABLE plain CASCADE; ROLLBACK",
        "CREATE TEMP TABLE mine (id serial PRIMARY KEY); CREATE INDEX ON mine (id); DROP TABLE mine",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "CREATE TABLE IF NOT EXISTS plain (id int)",
        "DROP TABLE IF EXISTS nothing",
        "REINDEX TABLE plain",
        "ANALYZE",
    ],
)
def test_what_leaves_the_catalogue_alone_costs_no_copy(world, sql):
    with world.connect() as connection:
        connection.script(sql)

    outcome = world.reset()

    assert outcome.strategy == "reset", outcome
    assert world.differences() == []


def test_ddl_by_a_role_without_any_grant_is_noted(world):
    with world.connect(user="app") as connection:
        connection.script("CREATE TEMP TABLE t (id int)")
    with world.connect() as connection:
        connection.script("GRANT CREATE ON SCHEMA public TO app")
    with world.connect(user="app") as connection:
        connection.script("CREATE TABLE of_the_app (id int)")

    assert world.reset().strategy == "clone"
    assert world.differences() == []


SHARED = [
    "CREATE ROLE made",
    "CREATE ROLE made LOGIN PASSWORD 'secret' IN ROLE readers",
    "CREATE ROLE made; GRANT SELECT ON plain TO made",
    "CREATE ROLE made; CREATE SCHEMA owned AUTHORIZATION made; CREATE TABLE owned.t (id int)",
    "CREATE ROLE made; GRANT ALL ON DATABASE test TO made",
    "CREATE ROLE made; ALTER DATABASE test OWNER TO made",
    "ALTER ROLE app CREATEDB PASSWORD 'new' VALID UNTIL '2030-01-01'",
    "ALTER ROLE app RENAME TO renamed",
    "ALTER ROLE app SET work_mem = '1MB'",
    "ALTER ROLE app RESET ALL",
    "ALTER ROLE app IN DATABASE test SET work_mem = '1MB'",
    "GRANT pg_monitor TO readers",
    "REVOKE readers FROM app",
    "GRANT readers TO app WITH ADMIN OPTION",
    "COMMENT ON ROLE app IS 'changed'",
    "COMMENT ON ROLE app IS NULL",
    "COMMENT ON DATABASE test IS 'made'",
    "ALTER DATABASE test SET work_mem = '1MB'",
    "ALTER DATABASE test CONNECTION LIMIT 7",
    "GRANT CONNECT ON DATABASE test TO app",
    "REVOKE ALL ON DATABASE test FROM PUBLIC",
    "GRANT SET ON PARAMETER session_replication_role TO app",
]


@pytest.mark.parametrize("sql", SHARED)
def test_what_no_event_trigger_sees_is_put_back(each_world, sql):
    with each_world.connect() as connection:
        connection.script(sql)

    outcome = each_world.reset()

    assert outcome.leaks == ()
    assert each_world.differences() == []


@pytest.mark.parametrize(
    "sql", ["CREATE DATABASE made", "ALTER SYSTEM SET work_mem = '1MB'", "ALTER SYSTEM SET log_min_messages TO 'error'"]
)
def test_what_runs_outside_transactions_is_put_back(each_world, sql):
    with each_world.connect() as connection:
        connection.query(sql)

    outcome = each_world.reset()

    assert outcome.leaks == ()
    assert each_world.differences() == []


def test_a_dropped_role_is_there_again(world):
    with world.connect() as connection:
        connection.script("DROP OWNED BY readers; DROP ROLE readers")

    assert world.reset().leaks == ()
    assert world.differences() == []


@pytest.fixture
def neighbour(world):
    """Another worker's session, in another worker's database."""
    other = world.pool.take("test_other")
    with world.connect("the other worker", database="test_other") as connection:
        world.isolation.begin("test")
        yield connection
    world.pool.drop(other.database)
    world.pool.wait()


@pytest.mark.parametrize("sql", SHARED)
def test_with_another_worker_at_work_it_is_put_back_too(world, neighbour, sql):
    """The write-ahead log says from which database it was done."""
    with world.connect() as connection:
        connection.script(sql)
        connection.script("INSERT INTO journal (what) VALUES ('x')")
    neighbour.script("INSERT INTO journal (what) VALUES ('y')")

    outcome = world.reset()

    assert outcome.leaks == ()
    assert [line for line in world.differences() if "test_other" not in line] == []


def test_what_another_worker_did_is_left_to_it(world, neighbour):
    neighbour.script("CREATE ROLE somebodys; ALTER ROLE app SET work_mem = '2MB'")

    outcome = world.reset()

    assert outcome.leaks == ()
    assert world.lab.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'somebodys'") == [("1",)]
    world.lab.ask("DROP ROLE somebodys")
    world.lab.ask("ALTER ROLE app RESET work_mem")
    world.isolation.begin("next")
    world.reset()


@pytest.mark.parametrize("database", ["test_other", "postgres"])
def test_what_may_be_either_workers_is_told_and_left(world, neighbour, database):
    with world.connect() as connection:
        connection.script("ALTER DATABASE test SET work_mem = '1MB'; ALTER ROLE app CREATEDB")
    with world.connect("somebody", database=database) as somebody:
        somebody.script("CREATE ROLE somebodys")

    outcome = world.reset()

    [leak] = outcome.leaks
    assert leak.kind == "role"
    assert "somebodys" in leak.what
    assert "another worker" in leak.what
    assert world.lab.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'somebodys'") == [("1",)]
    world.lab.ask("DROP ROLE somebodys")
    world.lab.ask("ALTER ROLE app NOCREATEDB")
    world.isolation.begin("next")
    world.reset()
    assert [line for line in world.differences() if "test_other" not in line] == []

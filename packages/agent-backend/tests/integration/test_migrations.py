"""The schema from nothing to the newest step and back."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from agent_backend.errors import LoginRefused, MigrationBusy, StorageUnavailable
from agent_backend.memory import PostgresMemory
from agent_backend.storage import migrate as command
from agent_backend.storage.migrations import current_revision, migrate, roll_back

pytestmark = [pytest.mark.integration, pytest.mark.postgres]

OBJECTS = """
SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname = 'public' AND relkind IN ('r', 'i', 'S', 'v')
UNION ALL SELECT proname FROM pg_proc JOIN pg_namespace AS n ON n.oid = pronamespace WHERE nspname = 'public'
ORDER BY 1
"""


@pytest.fixture
def empty_dsn(postgres_dsn):
    """This test's own database with nothing in it."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_dsn


def objects_in(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute(OBJECTS)]


def test_an_empty_database_is_brought_to_the_newest_step(empty_dsn):
    assert current_revision(empty_dsn) is None

    migrate(empty_dsn)

    assert current_revision(empty_dsn) == "0001"
    assert {"qe_memory", "qe_memory_pkey", "idx_qe_memory_partition", "idx_qe_memory_expires"} <= set(
        objects_in(empty_dsn)
    )
    migrate(empty_dsn)
    assert current_revision(empty_dsn) == "0001"


def test_down_undoes_up_and_up_can_follow(empty_dsn):
    migrate(empty_dsn)
    full = objects_in(empty_dsn)

    roll_back(empty_dsn)

    assert [name for name in objects_in(empty_dsn) if not name.startswith("agent_backend_schema")] == []
    assert current_revision(empty_dsn) is None
    migrate(empty_dsn)
    assert objects_in(empty_dsn) == full


def test_processes_that_start_together_migrate_once(empty_dsn):
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(migrate, [empty_dsn] * 4)) == [None] * 4

    assert current_revision(empty_dsn) == "0001"


def test_a_lock_somebody_keeps_is_an_error_in_time(empty_dsn):
    from agent_backend.storage.migrations import _LOCK

    with psycopg.connect(empty_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        with pytest.raises(MigrationBusy) as busy:
            migrate(empty_dsn, lock_timeout_s=0.1)
    assert busy.value.retryable
    assert objects_in(empty_dsn) == []


def test_a_migration_that_fails_leaves_nothing_half_done(empty_dsn):
    with psycopg.connect(empty_dsn) as other:
        other.execute("CREATE FUNCTION cleanup_expired_memory() RETURNS int LANGUAGE sql AS 'SELECT 1'")

    with pytest.raises(Exception, match="cleanup_expired_memory"):
        migrate(empty_dsn)

    assert objects_in(empty_dsn) == ["cleanup_expired_memory"]


def test_the_sweeping_function_sweeps_every_tenant(postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO qe_memory (tenant, key, value, expires_at) SELECT t, 'aqe/' || n, '1', "
            "clock_timestamp() + CASE WHEN n < 3 THEN '-1 s' ELSE '1 h' END::interval "
            "FROM unnest(ARRAY['a', 'b']) AS t, generate_series(1, 4) AS n"
        )
        assert connection.execute("SELECT deleted_count FROM cleanup_expired_memory()").fetchall() == [(4,)]
        assert connection.execute("SELECT count(*) FROM qe_memory").fetchone() == (4,)


async def test_a_database_without_the_schema_names_the_command(empty_dsn):
    memory = PostgresMemory.from_url(empty_dsn)
    with pytest.raises(Exception, match=r"python -m agent_backend\.storage\.migrate upgrade"):
        await memory.store("aqe/x", 1)
    await memory.close()


def test_a_server_that_is_not_there_is_named_without_its_password(postgres_dsn):
    with pytest.raises(StorageUnavailable, match=r"u:\*\*\*@127.0.0.1:1/db") as lost:
        migrate("postgresql://u:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(lost.value)
    with pytest.raises(LoginRefused, match="no_such_database"):
        migrate(postgres_dsn.rpartition("/")[0] + "/no_such_database")


def test_the_command_goes_up_and_down_and_tells_where_it_is(empty_dsn, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", empty_dsn)

    assert command.main(["current"]) == 0
    assert command.main(["upgrade"]) == 0
    assert command.main(["--database-url", empty_dsn, "downgrade", "base"]) == 0
    assert command.main(["--database-url", "postgresql://u:hunter2@127.0.0.1:1/db", "upgrade"]) == 1

    told = capsys.readouterr()
    assert [line.rpartition(" ")[2] for line in told.out.splitlines()] == ["nothing", "0001", "nothing"]
    assert told.err.startswith("error: postgres at postgresql://u:***@127.0.0.1:1/db cannot be reached")

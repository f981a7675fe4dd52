"""A suite written for pytest-postgresql gives the same results on the kit, after one changed line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from realstack.compat.testcontainers.postgres import PostgresContainer
from realstack.config import read_environment
from realstack.errors import RealstackError
from realstack.providers.choice import find_installation

from ..fix_project import Project

ORIGINAL, OURS = "pytest_postgresql", "realstack.compat.pytest_postgresql"
PASSED = 21

CONFTEST = """
    from pathlib import Path

    import psycopg
    import pytest
    from {package} import factories
    {plugins}

    HERE = Path(__file__).parent


    def add_editor(**connection):
        assert sorted(connection) == ["autocommit", "dbname", "host", "password", "port", "user"]
        with psycopg.connect(**connection) as session:
            session.execute("INSERT INTO authors (name) VALUES ('editor')")


    stories_proc = factories.postgresql_proc(
        port=None, user="clerk", dbname="stories", load=[HERE / "stories.sql", add_editor, "loaders:add_reader"]
    )
    stories = factories.postgresql("stories_proc")
    archive = factories.postgresql("stories_proc", dbname="archive")
    strict = factories.postgresql("stories_proc", isolation_level=psycopg.IsolationLevel.SERIALIZABLE)
    stories_async = factories.postgresql_async("stories_proc")
    more_proc = factories.postgresql_noproc(depends_on="stories_proc", load=["loaders:add_reader"])
    more = factories.postgresql("more_proc")
"""
SUITE = {
    "loaders": """
    import psycopg


    def add_reader(**connection):
        with psycopg.connect(**connection) as session:
            session.execute("INSERT INTO authors (name) VALUES ('reader')")
    """,
    "test_defaults": """
    import psycopg
    import pytest
    from {package}.janitor import DatabaseJanitor


    @pytest.mark.parametrize("turn", range(3))
    def test_the_database_is_empty_however_often(postgresql, turn):
        cursor = postgresql.cursor()
        cursor.execute("CREATE TABLE test (id serial PRIMARY KEY, num integer, data varchar);")
        cursor.execute("INSERT INTO test (num) VALUES (1) RETURNING id")
        assert cursor.fetchone() == (1,)
        postgresql.commit()
        cursor.close()


    def test_what_is_committed_is_seen_by_others(postgresql, postgresql_proc):
        with postgresql as session:
            session.execute("CREATE TABLE notes (text text)")
        with psycopg.connect(
            host=postgresql_proc.host,
            port=postgresql_proc.port,
            user=postgresql_proc.user,
            password=postgresql_proc.password,
            dbname=postgresql_proc.dbname,
        ) as other:
            assert other.execute("SELECT count(*) FROM notes").fetchone() == (0,)


    def test_the_process_fixture_knows_where(postgresql_proc):
        assert postgresql_proc.running()
        assert postgresql_proc.user == "postgres"
        assert postgresql_proc.password is None
        assert postgresql_proc.dbname.startswith("tests")
        assert postgresql_proc.version.major >= 10


    def test_a_janitor_makes_and_drops_a_database(postgresql_proc):
        place = {{"host": postgresql_proc.host, "port": postgresql_proc.port, "user": postgresql_proc.user}}
        janitor = DatabaseJanitor(
            **place, dbname="made", template_dbname=postgresql_proc.template_dbname, password=postgresql_proc.password
        )
        with janitor:
            with psycopg.connect(**place, dbname="made") as session:
                session.execute("CREATE TABLE kept (x int)")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(**place, dbname="made")
    """,
    "test_stories": """
    import psycopg
    import pytest

    LOADED = [("editor",), ("reader",), ("writer",)]


    def names(session):
        return session.execute("SELECT name FROM authors ORDER BY name").fetchall()


    @pytest.mark.parametrize("turn", ["reads first", "writes", "reads after", "writes again", "reads last"])
    def test_pairs_of_writers_and_readers(stories, turn):
        assert names(stories) == LOADED
        assert stories.execute("SELECT nextval('authors_id_seq')").fetchone() == (4,)
        if turn.startswith("writes"):
            stories.execute("DELETE FROM authors WHERE name <> 'editor'")
            stories.execute("INSERT INTO authors (name) VALUES ('stranger')")
            stories.commit()


    def test_the_user_is_the_one_asked_for(stories, stories_proc):
        assert stories.info.user == stories_proc.user == "clerk"
        assert stories.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'authors'").fetchone() == ("clerk",)
        assert stories.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'clerk'").fetchone() == (True,)


    @pytest.mark.parametrize("turn", range(2))
    def test_two_databases_of_one_template_differ(stories, archive, turn):
        assert stories.info.dbname != archive.info.dbname
        archive.execute("TRUNCATE authors")
        archive.commit()
        assert names(archive) == []
        assert names(stories) == LOADED


    def test_the_isolation_level_is_the_one_asked_for(strict):
        assert strict.execute("SHOW transaction_isolation").fetchone() == ("serializable",)


    @pytest.mark.parametrize("turn", range(2))
    async def test_async_connections(stories_async, turn):
        await stories_async.execute("INSERT INTO authors (name) VALUES ('async')")
        await stories_async.commit()
        found = await stories_async.execute("SELECT count(*) FROM authors")
        assert await found.fetchone() == (4,)


    def test_a_fixture_that_depends_on_another_begins_with_its_template(more, stories):
        assert more.execute("SELECT count(*) FROM authors").fetchone() == (4,)
        assert more.info.user == "clerk"
        assert names(stories) == LOADED


    def test_a_role_is_made(stories):
        stories.execute("CREATE ROLE guest")
        stories.execute("DROP ROLE guest")
        stories.commit()


    def test_a_connection_left_open_harms_nobody(stories, stories_proc):
        stories.commit()
        global left_open
        left_open = psycopg.connect(
            host=stories_proc.host, port=stories_proc.port, user="clerk", dbname=stories.info.dbname
        )
        left_open.execute("LOCK TABLE authors")


    def test_after_it(stories):
        assert names(stories) == LOADED
    """,
}
STORIES = """
CREATE TABLE authors (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO authors (name) VALUES ('writer');
"""


def write_suite(project: Project, package: str) -> None:
    plugins = f'pytest_plugins = ["{package}"]' if package == OURS else ""
    project.write(conftest=CONFTEST.format(package=package, plugins=plugins))
    project.write(**{name: text.format(package=package) for name, text in SUITE.items()})
    project.file("stories.sql", STORIES)


@pytest.fixture(scope="session")
def pg_ctl(builds: Path) -> Path:
    try:
        installation = find_installation("postgres", cache=builds, path=read_environment().get("PATH", os.defpath))
    except RealstackError as error:
        pytest.skip(f"no PostgreSQL for the original: {error}")
    program = installation.folder / "pg_ctl"
    if not program.exists():
        pytest.skip(f"{installation.origin} has no pg_ctl, which pytest-postgresql needs")
    return program


@pytest.fixture(scope="session")
def as_somebody() -> tuple[str, ...]:
    """Give what makes a program run as an ordinary user: pytest-postgresql cannot start a server as root."""
    if os.geteuid() != 0:
        return ()
    command = ("unshare", "--user", "--map-user=1000")
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("pytest-postgresql refuses to run as root, and user namespaces are forbidden here")
    return command


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_suite_passes_with_the_original(
    project: Project, pg_ctl: Path, as_somebody: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    write_suite(project, ORIGINAL)

    done = project.run(
        *as_somebody, sys.executable, "-m", "pytest", "-o", "addopts=", f"--postgresql-exec={pg_ctl}",
        "-p", "no:realstack", "-p", "no:cacheprovider", f"--basetemp={project.folder / 'tmp'}", *workers,
    )  # fmt: skip

    done.assert_outcomes(passed=PASSED)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_suite_passes_with_one_line_changed(project: Project, workers: tuple[str, ...]) -> None:
    write_suite(project, OURS)

    done = project.run_pytest("--verify-isolation", *workers)

    done.assert_outcomes(passed=PASSED)
    done.stdout.fnmatch_lines(["leak: *test_a_connection_left_open_harms_nobody left a postgres *"])
    # what another worker's tests and fixtures make on the server at that moment is told as perhaps theirs
    told = [line for line in done.outlines if line.startswith("leak:")]
    leaks = [line for line in told if not workers or "may have been made by another worker's test" not in line]
    assert len(leaks) == 1


def test_the_suite_passes_backwards_beside_the_kits_own_fixtures(project: Project) -> None:
    write_suite(project, OURS)
    project.write(
        test_own="""
        import pytest


        @pytest.mark.parametrize("turn", range(2))
        async def test_both(real_postgres, stories, turn):
            await real_postgres.execute("INSERT INTO users (email) VALUES ('a')")
            assert stories.execute("SELECT to_regclass('users')").fetchone() == (None,)
            stories.execute("DELETE FROM authors")
            stories.commit()
            assert await real_postgres.fetchval("SELECT count(*) FROM users") == 1
        """
    )
    project.file(
        "backwards.py",
        """
        def pytest_collection_modifyitems(items):
            items.reverse()
        """,
    )

    done = project.run_pytest("-p", "backwards", "--verify-isolation", PYTHONPATH=str(project.folder))

    done.assert_outcomes(passed=PASSED + 2)


def test_the_original_may_stay_installed(project: Project) -> None:
    write_suite(project, OURS)
    project.write(
        test_options="def test_its_options_are_read(postgresql):\n    assert postgresql.info.dbname == 'mine'\n"
    )

    done = project.run_pytest("-o", "addopts=", "--postgresql-dbname=mine", "test_options.py")

    done.assert_outcomes(passed=1)


def test_settings_of_the_original_are_read(project: Project) -> None:
    write_suite(project, OURS)
    project.write(
        test_settings="""
        def test_settings(postgresql):
            assert postgresql.info.user == "landlord"
            assert postgresql.info.dbname == "rooms"
            assert postgresql.execute("SELECT count(*) FROM authors").fetchone() == (2,)
        """
    )

    done = project.run_pytest(
        "-o", "postgresql_user=landlord", "-o", "postgresql_dbname=rooms", "-o", "postgresql_load=stories.sql",
        "--postgresql-load=stories.sql", "--postgresql-load=loaders:add_reader", "test_settings.py",
    )  # fmt: skip

    done.assert_outcomes(passed=1)


def test_what_makes_no_sense_here_is_said_once(project: Project) -> None:
    project.write(
        conftest="""
        from realstack.compat.pytest_postgresql import factories

        odd_proc = factories.postgresql_proc(executable="/opt/pg_ctl", port=5433, startparams="-w", dbname="test")
        odd = factories.postgresql("odd_proc")
        """,
        test_odd="""
        import pytest


        @pytest.mark.parametrize("turn", range(2))
        def test_odd(odd, odd_proc, turn):
            assert odd.info.dbname == odd_proc.dbname == "test_extra"
            with pytest.raises(AttributeError, match="belongs to the whole run"):
                odd_proc.stop()
        """,
    )

    done = project.run_pytest("-W", "default")

    done.assert_outcomes(passed=2, warnings=4)
    text = done.stdout.str()
    for said in (
        "executable='/opt/pg_ctl' is passed over",
        "port=5433 is passed over",
        "startparams='-w' is passed over",
        "realstack's own database is called 'test'",
    ):
        assert text.count(f"CompatWarning: odd_proc: {said}") == 1


def test_a_loader_that_fails_fails_the_tests_that_need_it_with_its_own_traceback(project: Project) -> None:
    project.write(
        conftest="""
        from pathlib import Path
        from realstack.compat.pytest_postgresql import factories

        def explode(**connection):
            raise LookupError("no such fixture data")

        broken_proc = factories.postgresql_proc(load=[explode])
        broken = factories.postgresql("broken_proc")
        sql_proc = factories.postgresql_proc(load=[Path(__file__).parent / "broken.sql"])
        sql = factories.postgresql("sql_proc")
        fine_proc = factories.postgresql_proc()
        fine = factories.postgresql("fine_proc")
        """,
        test_broken="""
        def test_callable(broken): ...
        def test_file(sql): ...
        def test_fine(fine): fine.execute("CREATE TABLE t ()")
        """,
    )
    project.file("broken.sql", "CREATE TABLE a (x int);\nCREATE TABL b (y int);\n")

    done = project.run_pytest()

    done.assert_outcomes(passed=1, errors=2)
    done.stdout.fnmatch_lines_random(["*LookupError: no such fixture data", "postgres: *broken.sql:2: syntax error*"])


def test_without_real_services_the_tests_are_skipped_and_counted(project: Project) -> None:
    write_suite(project, OURS)

    done = project.run_pytest("--no-real-services", "test_stories.py")

    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["skipped 15 test(s), all: real services are switched off (*"])


def test_on_a_server_that_is_not_ours_nothing_is_left_and_nobody_is_added(project: Project) -> None:
    write_suite(project, OURS)
    project.write(
        test_there="""
        import pytest


        @pytest.mark.parametrize("turn", range(2))
        def test_there(stories, stories_proc, postgresql, turn):
            assert stories.info.user == stories_proc.user == "owner"
            assert stories.execute("SELECT count(*) FROM authors").fetchone() == (3,)
            stories.execute("DELETE FROM authors")
            stories.commit()
            postgresql.execute("CREATE TABLE t ()")
            postgresql.commit()
        """
    )
    with PostgresContainer(username="owner", dbname="precious", driver=None) as theirs:
        url = theirs.get_connection_url()
        before = everything(url)

        done = project.run_pytest("-W", "default", "test_there.py", REALSTACK_POSTGRES_URL=url)

        assert everything(url) == before
    done.assert_outcomes(passed=2, warnings=2)
    assert "leak:" not in done.stdout.str()
    done.stdout.fnmatch_lines(["*CompatWarning: stories_proc: user='clerk' is passed over: *"])


def everything(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as session:
        return session.execute("SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles").fetchall()

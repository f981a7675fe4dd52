"""Suites written for unittest: their classes beside pytest tests, and without pytest."""

import sys

from ..fix_project import Project


def test_testcase_classes_get_fixtures_and_leave_nothing(project: Project) -> None:
    project.write(
        test_cases="""
        import unittest

        import psycopg
        import pytest


        class TestUsers(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _dsn(self, postgres_dsn):
                self.dsn = postgres_dsn

            def setUp(self):
                self.connection = psycopg.connect(self.dsn)
                self.connection.execute("INSERT INTO users (email) VALUES ('set up')")
                self.connection.commit()
                self.addCleanup(self.connection.close)

            def count(self):
                return self.connection.execute("SELECT count(*), max(id) FROM users").fetchone()

            def test_one(self):
                self.assertEqual(self.count(), (1, 1))

            def test_two(self):
                self.assertEqual(self.count(), (1, 1))


        class TestAsync(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def _postgres(self, real_postgres):
                self.postgres = real_postgres

            async def test_one(self):
                self.assertEqual(await self.postgres.fetchval("INSERT INTO users (email) VALUES ('a') RETURNING id"), 1)

            async def test_two(self):
                self.assertEqual(await self.postgres.fetchval("INSERT INTO users (email) VALUES ('a') RETURNING id"), 1)


        def test_beside(postgres_dsn):
            with psycopg.connect(postgres_dsn) as connection:
                assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        """
    )

    result = project.run_pytest()

    result.assert_outcomes(passed=5)
    assert "leak" not in result.stdout.str()


def test_a_class_fixture_of_a_testcase_is_its_baseline(project: Project) -> None:
    project.write(
        test_cases="""
        import unittest

        import psycopg
        import pytest


        @pytest.fixture(scope="class")
        def ann(request, postgres_dsn):
            request.cls.dsn = postgres_dsn
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("INSERT INTO users (email) VALUES ('ann')")


        @pytest.mark.usefixtures("ann")
        class TestUsers(unittest.TestCase):
            def check(self):
                with psycopg.connect(self.dsn) as connection:
                    self.assertEqual(connection.execute("SELECT email FROM users").fetchall(), [("ann",)])
                    connection.execute("UPDATE users SET email = 'changed'")

            test_one = test_two = test_three = check


        class TestOthers(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def look(self, postgres_dsn):
                with psycopg.connect(postgres_dsn) as connection:
                    assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)

            def test_gone(self):
                pass
        """
    )

    project.run_pytest().assert_outcomes(passed=4)


def test_open_stack_is_the_same_engine_under_unittest(project: Project) -> None:
    project.file(
        "test_stack.py",
        """
        import unittest

        import psycopg
        import redis

        import realstack


        class TestUsers(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.stack = cls.enterClassContext(realstack.open_stack("postgres", "redis"))

            def tearDown(self):
                self.outcomes = self.stack.reset()
                assert [leak for outcome in self.outcomes for leak in outcome.leaks] == []

            def check(self):
                with psycopg.connect(self.stack.postgres.dsn) as connection:
                    sql = "INSERT INTO users (email) VALUES ('a') RETURNING id"
                    self.assertEqual(connection.execute(sql).fetchone(), (1,))
                with redis.Redis.from_url(self.stack.redis.url) as client:
                    self.assertEqual(client.incr("visits"), 1)

            test_one = test_two = check

            def test_baseline(self):
                with self.stack.baseline():
                    with self.stack.baseline():
                        self.check()
                        self.stack.reset()
                    self.check()
                self.check()
        """,
    )

    result = project.run(sys.executable, "-m", "unittest", "-v", "test_stack")

    assert result.ret == 0, result.stderr.str()
    result.stderr.fnmatch_lines(["Ran 3 tests*", "OK"])

"""``realstack run`` on suites of our own: what it says, what it obeys, and that green needs a test that ran."""

import json
from pathlib import Path

import pytest

SUITE = """
import pytest
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection

def count(dsn, sql="SELECT count(*) FROM users"):
    with Connection(Endpoint.parse("postgres", dsn)) as connection:
        return connection.query(sql)

@pytest.mark.integration
def test_write(postgres_dsn):
    count(postgres_dsn, "INSERT INTO users (name) VALUES ('ada')")
    assert count(postgres_dsn) == [("1",)]

@pytest.mark.integration
def test_read(postgres_dsn):
    assert count(postgres_dsn) == [("0",)]

@pytest.mark.integration
def test_cache(redis_url):
    assert redis_url

@pytest.mark.unit
def test_plain():
    pass

@pytest.mark.slow
@pytest.mark.skip(reason="another day")
def test_skipped():
    pass
"""


@pytest.fixture
def suite(project):
    project.write("pyproject.toml", '[tool.realstack.postgres]\nschema = "schema.sql"\n')
    project.write("schema.sql", "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);\n")
    project.write("test_suite.py", SUITE)
    return project


def report_of(project, name="report.json"):
    return json.loads((project.folder / name).read_text())


def test_a_category_is_run_and_its_services_are_shown_before_the_tests(suite):
    done = suite.call("run", "--category", "integration", "--real-services", "--json-output", "out/report.json")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("SERVICE"))
    first_test = next(number for number, line in enumerate(lines) if line.startswith("test_suite.py"))
    assert header < first_test
    assert {line.split()[0] for line in lines[header + 1 : header + 3]} == {"postgres", "redis"}
    assert lines[-1].startswith("3 tests: 3 passed in ")

    report = report_of(suite, "out/report.json")
    assert (report["success"], report["exit_code"], report["selected"]) == (True, 0, 3)
    assert report["counts"] == {"passed": 3}
    for service in report["services"]:
        assert service["version"]
        assert service["started_in_s"] > 0
        assert 0 < service["isolation_cost_s"] < 0.5


def test_workers_share_the_run_and_every_report_arrives_once(suite):
    suite.write("test_whole.py", "import pytest\npytest.skip('not today', allow_module_level=True)\n")
    suite.write("test_slow.py", "import threading\n\ndef test_second():\n    threading.Event().wait(1)\n")

    done = suite.call("run", "--workers", "2", "--json-output", "report.json")

    assert done.returncode == 0, done.stdout + done.stderr
    report = report_of(suite)
    assert report["counts"] == {"passed": 5, "skipped": 1}
    [second] = [test for test in report["tests"] if test["nodeid"] == "test_slow.py::test_second"]
    assert 1 <= second["seconds"] < 2, "each of its reports was counted once"
    assert [service["name"] for service in report["services"]] == ["postgres", "redis"]
    assert report["collect_skips"] == {"test_whole.py": "not today"}
    assert done.stdout.count("SERVICE ") == 1


def test_a_failing_test_fails_the_run(suite):
    suite.write("test_more.py", "def test_wrong():\n    assert 1 == 2\n")

    done = suite.call("run", "--test-file", "test_more.py", "--json-output", "report.json")

    assert done.returncode == 1
    assert report_of(suite)["tests"][0]["outcome"] == "failed"
    assert "SERVICE" not in done.stdout, "a test that needs no service starts none"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-k", "no_such_test"], "no test was selected"),
        (["--category", "e2e"], "no test was selected"),
        (["--service", "clickhouse"], "no test was selected"),
        (["-m", "slow"], "1 test(s) were selected and every one was skipped"),
        (["--category", "integration", "--no-real-services"], "3 test(s) were selected and every one was skipped"),
    ],
    ids=["pattern", "category", "service", "markers", "switched off"],
)
def test_a_run_in_which_nothing_ran_is_no_success(suite, arguments, reason):
    done = suite.call("run", *arguments)

    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"nothing ran: {reason}"


def test_only_the_tests_of_a_service_are_run(suite):
    done = suite.call("run", "--service", "redis", "--json-output", "report.json", "--", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout + done.stderr
    assert [test["nodeid"] for test in report_of(suite)["tests"]] == ["test_suite.py::test_cache"]


def test_a_service_nobody_has_is_named_and_its_tests_are_counted_as_skipped(suite):
    suite.environ["REALSTACK_REDIS_VERSION"] = "99"

    done = suite.call("run", "--category", "integration", "--json-output", "report.json")

    report = report_of(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["counts"] == {"passed": 2, "skipped": 1}
    assert [(skip["service"], skip["tests"]) for skip in report["skips"]] == [("redis", 1)]
    assert report["missing"][0]["service"] == "redis"


def test_a_service_that_is_required_and_missing_is_an_end_of_its_own(suite):
    suite.environ["REALSTACK_REDIS_VERSION"] = "99"

    done = suite.call("run", "--category", "integration", "--require-services")

    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "redis could not be had"


def test_a_file_that_cannot_be_read_fails_the_run(suite):
    suite.write("test_broken.py", "def test_(:\n")

    done = suite.call("run", "--category", "unit", "--json-output", "report.json")

    assert done.returncode == 1, done.stdout + done.stderr
    assert list(report_of(suite)["collect_errors"]) == ["test_broken.py"]


def test_fast_fail_stops_at_the_first_failure(suite):
    suite.write("test_more.py", "def test_a():\n    assert 0\n\ndef test_b():\n    assert 0\n")

    done = suite.call("run", "--fast-fail", "--test-file", "test_more.py", "--json-output", "report.json")

    assert done.returncode == 1
    assert len(report_of(suite)["tests"]) == 1


def test_what_stands_behind_two_dashes_goes_to_pytest(suite):
    done = suite.call("run", "--category", "unit", "-q", "--", "--durations=1", "-vv")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "slowest" in done.stdout


def test_a_fault_inside_pytest_is_a_failure_and_not_an_empty_run(suite):
    suite.write("conftest.py", "def pytest_runtestloop(session):\n    raise RuntimeError('a fault')\n")

    done = suite.call("run", "--category", "unit")

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("pytest broke off")


def test_arguments_pytest_refuses_are_wrong_use(suite):
    done = suite.call("run", "--", "--no-such-option")

    assert done.returncode == 2, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--use-alpine"], ["--execution-mode", "nightly"], ["--nope"], ["--category", "nope"], ["--service", "backend"]],
    ids=lambda arguments: arguments[0] + arguments[-1],
)
def test_a_flag_that_is_not_obeyed_is_refused_by_name(project, arguments):
    done = project.call("run", *arguments)

    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_the_categories_are_listed(project):
    done = project.call("run", "--list-categories")

    assert done.returncode == 0
    assert "integration" in done.stdout


def test_the_older_name_of_the_runner_is_the_same_runner(project):
    shim = next(
        folder / "tests" / "unified_test_runner.py"
        for folder in Path(__file__).parents
        if (folder / "tests" / "unified_test_runner.py").is_file()
    )
    done = project.call_script(shim, "--list-categories")

    assert done.returncode == 0
    assert done.stdout == project.call("run", "--list-categories").stdout

"""Options and switches: what is skipped is counted, what must run fails, what is unknown is refused."""

import dataclasses

import pytest

from ..fix_project import Project

FOUR = """
def test_plain():
    pass

async def test_postgres(real_postgres):
    assert await real_postgres.fetchval("SELECT 1") == 1

def test_redis(redis_url):
    pass

async def test_services(real_services):
    assert await real_services.postgres.fetchval("SELECT 1") == 1
"""


@pytest.mark.parametrize(
    ("arguments", "env", "source"),
    [
        (["--no-real-services"], {}, "--no-real-services"),
        ([], {"USE_REAL_SERVICES": "false"}, "USE_REAL_SERVICES"),
    ],
    ids=["option", "variable"],
)
def test_switched_off_services_skip_and_are_counted(project: Project, arguments, env, source) -> None:
    project.write(test_four=FOUR)

    result = project.run_pytest(*arguments, **env)

    result.assert_outcomes(passed=1, skipped=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"realstack: real services are off ({source})", f"skipped 3 test(s)*real services are switched off ({source})"]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_run_in_which_every_test_was_skipped_fails(project: Project, workers: tuple[str, ...]) -> None:
    project.write(test_four=FOUR)

    result = project.run_pytest("--no-real-services", "-k", "not plain", *workers)

    result.assert_outcomes(skipped=3)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*every selected test was skipped: nothing was proven, so the run fails*"])


def test_the_option_wins_over_the_variable(project: Project) -> None:
    project.write(test_four=FOUR)

    project.run_pytest("--real-services", USE_REAL_SERVICES="false").assert_outcomes(passed=4)


UNAVAILABLE = '[tool.realstack.postgres]\nversion = "9.4"\nproviders = ["binary", "wheel"]\n'


def test_a_service_nobody_has_skips_and_is_counted_with_its_reason(project: Project) -> None:
    project.configure(UNAVAILABLE)
    project.write(test_four=FOUR)

    result = project.run_pytest("-rs")

    result.assert_outcomes(passed=2, skipped=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["skipped 2 test(s), postgres: PostgreSQL 9.4 is not available: binary: *; wheel: *"])
    assert "Try:" in result.stdout.str()


def test_required_services_fail_instead(project: Project) -> None:
    project.configure(UNAVAILABLE)
    project.write(test_four=FOUR)

    result = project.run_pytest("--require-services")

    result.assert_outcomes(passed=2, errors=1, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "realstack: real services on demand (isolation reset, required)",
            "*PostgreSQL 9.4 is not available: binary: *; wheel: *",
            "*Try: *",
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """Bad configuration and the words its refusal must hold: thing, value, remedy."""

    id: str
    toml: str = ""
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    words: tuple[str, ...]


REFUSALS = [
    Refusal(
        id="key", toml='[tool.realstack]\nisolaton = "reset"', words=("'isolaton'", "pyproject.toml", "'isolation'")
    ),
    Refusal(
        id="key of a service",
        toml='[tool.realstack.postgres]\nverison = "16"',
        words=("'postgres.verison'", "pyproject.toml", "'postgres.version'"),
    ),
    Refusal(id="variable", env={"REALSTACK_ISOLATON": "reset"}, words=("REALSTACK_ISOLATON", "REALSTACK_ISOLATION")),
    Refusal(
        id="option value", arguments=("--isolation", "rest"), words=("isolation", "'rest'", "--isolation", "reset")
    ),
    Refusal(
        id="value",
        toml='[tool.realstack]\nstart_timeout_s = "soon"',
        words=("start_timeout_s", "'soon'", "pyproject.toml", "number"),
    ),
    Refusal(
        id="file",
        toml='[tool.realstack.postgres]\nschema = ["missing.sql"]',
        words=("postgres.schema", "missing.sql", "pyproject.toml"),
    ),
    Refusal(id="TOML", toml="[tool.realstack\n", words=("pyproject.toml",)),
    Refusal(id="versions", arguments=("--postgres-version", " , "), words=("--postgres-version", "15,16,18")),
    Refusal(id="version", arguments=("--postgres-version", "new"), words=("--postgres-version", "new")),
    Refusal(
        id="credentials without a host",
        env={"TEST_POSTGRES_PASSWORD": "hunter2secret"},
        words=("TEST_POSTGRES_PASSWORD", "TEST_POSTGRES_HOST"),
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_wrong_settings_end_the_run_before_anything_starts(project: Project, refusal: Refusal) -> None:
    project.configure(refusal.toml)
    project.write(test_four=FOUR)

    result = project.run_pytest(*refusal.arguments, **refusal.env)

    said = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said
    assert [word for word in refusal.words if word not in said] == []
    assert "hunter2secret" not in said
    assert "Traceback" not in said


def test_without_the_plugin_its_fixtures_and_options_are_gone(project: Project) -> None:
    project.write(test_four=FOUR)

    result = project.run_pytest("-p", "no:realstack", "-k", "plain or redis")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'redis_url' not found*"])


def test_tests_are_marked_by_what_they_ask_for(project: Project) -> None:
    project.write(
        test_four=FOUR,
        conftest="""
        import pytest

        @pytest.fixture
        def own(redis_url):
            return redis_url
        """,
        test_own="def test_own(own): pass",
    )

    result = project.run_pytest("-m", "real_services", "--collect-only", "-q", "--strict-markers")

    assert [line for line in result.outlines if "::" in line] == [
        "test_four.py::test_postgres",
        "test_four.py::test_redis",
        "test_four.py::test_services",
        "test_own.py::test_own",
    ]

"""The command line and the markers of the plugin."""

import re

import pytest

#: A version as in 16 or 16.4; which of them there are the providers say.
_VERSION = r"\d+(\.\d+)*"
#: Marker name -> what it means; registered so that ``--strict-markers`` suites need not.
MARKERS = {
    "integration": "needs real services and several parts of the system",
    "real_services": "needs real services",
    "unit": "pure code, no service",
    "e2e": "the whole system, from the outside",
    "slow": "takes more than about five seconds",
    "postgres": "needs PostgreSQL",
    "database": "needs PostgreSQL (the same as postgres)",
    "redis": "needs Redis",
    "clickhouse": "needs ClickHouse",
    "websocket": "talks to the app under test over a WebSocket",
    "http": "talks to the app under test over HTTP",
    "llm": "needs an LLM endpoint",
    "openai": "needs OpenAI",
    "anthropic": "needs Anthropic",
    "auth_service": "needs the authentication service",
    "concurrent": "many clients at once",
    "expensive": "costs money or minutes",
}

#: Option -> the configuration key it sets.
OPTIONS = {
    "real_services": "real_services",
    "require_services": "require_services",
    "isolation": "isolation",
    "keep_failed": "keep_failed",
    "verify_isolation": "verify_isolation",
    "stack": "stack",
}


def add_options(parser: pytest.Parser) -> None:
    """Declare the options, all in one group of ``pytest --help``."""
    group = parser.getgroup("realstack", "real services for every test")
    group.addoption(
        "--real-services",
        action="store_true",
        default=None,
        dest="real_services",
        help="run tests on real services (the default)",
    )
    group.addoption(
        "--no-real-services",
        action="store_false",
        default=None,
        dest="real_services",
        help="skip, and count, every test that needs a real service",
    )
    group.addoption(
        "--require-services",
        action="store_true",
        default=None,
        help="a service that cannot be had fails the test instead of skipping it (for CI)",
    )
    group.addoption(
        "--isolation",
        metavar="STRATEGY",
        default=None,
        help="how a test gets a state of its own: reset (default), clone, transaction, process, auto",
    )
    group.addoption(
        "--verify-isolation",
        action="store_true",
        default=None,
        help="after every test compare each whole service with its baseline; a difference fails the test",
    )
    group.addoption(
        "--keep-failed",
        action="store_true",
        default=None,
        help="keep the database of a failed test and print where it is",
    )
    group.addoption(
        "--postgres-version",
        metavar="VERSIONS",
        default=None,
        help="run every test that needs PostgreSQL on each of these versions: 15,16,18",
    )
    group.addoption(
        "--stack",
        metavar="NAME",
        default=None,
        help="use the stack that `realstack up --detach --name NAME` left running",
    )


def command_line(config: pytest.Config) -> dict[str, object]:
    """Return what was given on the command line, keyed as configuration."""
    given = {key: config.getoption(option) for option, key in OPTIONS.items()}
    return {key: value for key, value in given.items() if value is not None}


def wanted_versions(config: pytest.Config) -> tuple[str, ...]:
    """Return the PostgreSQL versions to run on; empty: the configured one.

    Raises:
        pytest.UsageError: the option holds no version.
    """
    text = config.getoption("--postgres-version")
    if text is None:
        return ()
    versions = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not versions or not all(re.fullmatch(_VERSION, version) for version in versions):
        raise pytest.UsageError(f"--postgres-version={text!r} must name versions, such as 15,16,18")
    return versions

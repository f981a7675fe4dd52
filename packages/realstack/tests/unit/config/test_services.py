"""Where a service is said to be, named instances, the app's environment."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.config import Placeholder, fill_template, placeholders, render, resolve


@dataclasses.dataclass(frozen=True)
class Place:
    """What the environment says, and the URL, its source and its kind that follow."""

    id: str
    service: str
    environ: Mapping[str, str]
    url: str | None
    source: str
    hint: bool = False
    dotenv: str = ""


PLACES = (
    Place(
        "parts",
        "postgres",
        {
            "TEST_POSTGRES_HOST": "localhost",
            "TEST_POSTGRES_PORT": "5434",
            "TEST_POSTGRES_USER": "test_user",
            "TEST_POSTGRES_PASSWORD": "p@ss/word",
            "TEST_POSTGRES_DB": "my db",
        },
        "postgresql://test_user:p%40ss%2Fword@localhost:5434/my%20db",
        "TEST_POSTGRES_HOST",
    ),
    Place("port alone", "redis", {"TEST_REDIS_PORT": "6381"}, "redis://localhost:6381", "TEST_REDIS_PORT"),
    Place("IPv6", "redis", {"TEST_REDIS_HOST": "::1", "TEST_REDIS_DB": "3"}, "redis://[::1]/3", "TEST_REDIS_HOST"),
    Place(
        "http port",
        "clickhouse",
        {"TEST_CLICKHOUSE_HTTP_PORT": "8125"},
        "http://localhost:8125",
        "TEST_CLICKHOUSE_HTTP_PORT",
    ),
    Place(
        "URL over parts",
        "redis",
        {"TEST_REDIS_URL": "redis://a", "TEST_REDIS_HOST": "b"},
        "redis://a",
        "TEST_REDIS_URL",
    ),
    Place(
        "ours over the seeds'",
        "redis",
        {"TEST_REDIS_URL": "redis://a", "REALSTACK_REDIS_URL": "redis://b"},
        "redis://b",
        "REALSTACK_REDIS_URL",
    ),
    Place("hint", "postgres", {"DATABASE_URL": "postgres://a/b"}, "postgres://a/b", "DATABASE_URL", hint=True),
    Place(
        "driver",
        "postgres",
        {"DATABASE_URL": "postgresql+asyncpg://a/b"},
        "postgresql+asyncpg://a/b",
        "DATABASE_URL",
        hint=True,
    ),
    Place("hint of another kind", "postgres", {"DATABASE_URL": "sqlite:///db.sqlite3"}, None, "default"),
    Place(
        "wish over hint", "redis", {"REDIS_URL": "redis://a", "TEST_REDIS_HOST": "b"}, "redis://b", "TEST_REDIS_HOST"
    ),
    Place(
        "wish in a lower layer over hint",
        "redis",
        {"REDIS_URL": "redis://a"},
        "redis://b",
        ".env.test: TEST_REDIS_URL",
        dotenv="TEST_REDIS_URL=redis://b",
    ),
    Place(
        "in a file made for tests the name is a wish",
        "redis",
        {},
        "redis://a",
        ".env.test: REDIS_URL",
        dotenv="REDIS_URL=redis://a",
    ),
)


def test_a_hint_never_overrides_a_wish_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.realstack.redis]\nurl = "redis://wish"\n')

    redis = resolve(tmp_path, environ={"REDIS_URL": "redis://hint"}, command_line={}).redis["default"]

    assert (redis.url, redis.url_is_hint) == ("redis://wish", False)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.id)
def test_a_service_is_where_the_strongest_name_says(tmp_path: Path, place: Place) -> None:
    (tmp_path / ".env.test").write_text(place.dotenv)

    config = resolve(tmp_path, environ=place.environ, command_line={})

    settings = getattr(config, place.service)["default"]
    assert (settings.url, config.source(f"{place.service}.url")) == (place.url, place.source)
    assert settings.url_is_hint == place.hint


def test_a_database_name_without_a_host_names_the_kits_own_database(tmp_path: Path) -> None:
    config = resolve(tmp_path, environ={"TEST_POSTGRES_DB": "orders"}, command_line={})

    assert config.postgres["default"].database == "orders"
    assert config.postgres["default"].url is None


def test_a_named_instance_shares_the_server_unless_it_asks_for_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.realstack.postgres]\n"
        'version = "16"\nsettings = {work_mem = "8MB"}\nschema = "a.sql"\nextensions = ["vector"]\n'
        "[tool.realstack.postgres.analytics]\n"
        '[tool.realstack.postgres.old]\nversion = "13"\ndatabase = "legacy"\n'
    )

    postgres = resolve(tmp_path, environ={}, command_line={}).postgres

    shared, own = postgres["analytics"], postgres["old"]
    assert (shared.server, shared.version, shared.database) == ("shared", "16", "test_analytics")
    assert shared.settings == {"work_mem": "8MB"}
    assert (shared.schema, shared.extensions) == ((), ())
    assert (own.server, own.version, own.database, own.settings) == ("own", "13", "legacy", {})


def test_a_named_instance_of_a_foreign_server_lies_on_that_server(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.realstack.postgres.analytics]\n[tool.realstack.redis.jobs]\n")
    environ = {"DATABASE_URL": "postgres://h/d", "TEST_REDIS_URL": "redis://h"}

    config = resolve(tmp_path, environ=environ, command_line={})

    assert (config.postgres["analytics"].url, config.postgres["analytics"].url_is_hint) == ("postgres://h/d", True)
    # a Redis instance is a server of its own: two in one would be one
    assert config.redis["jobs"].url is None


def test_a_variable_reaches_a_named_instance(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.realstack.postgres.analytics]\n")

    config = resolve(tmp_path, environ={"REALSTACK_POSTGRES_ANALYTICS_VERSION": "15"}, command_line={})

    assert config.postgres["analytics"].version == "15"
    assert config.postgres["analytics"].server == "own"
    assert config.source("postgres.analytics.version") == "REALSTACK_POSTGRES_ANALYTICS_VERSION"


def test_lists_and_tables_can_be_written_in_one_variable(tmp_path: Path) -> None:
    environ = {
        "REALSTACK_POSTGRES_PROVIDERS": "wheel, npm",
        "REALSTACK_POSTGRES_SETTINGS": "work_mem=8MB, log_statement=all",
    }

    postgres = resolve(tmp_path, environ=environ, command_line={}).postgres["default"]

    assert postgres.providers == ("wheel", "npm")
    assert postgres.settings == {"work_mem": "8MB", "log_statement": "all"}


def test_placeholders_are_filled_and_doubled_braces_are_plain() -> None:
    template = "{postgres.dsn}?x={{1}}&c={clickhouse.analytics.url}"

    assert placeholders(template) == (
        Placeholder("postgres", "default", "dsn"),
        Placeholder("clickhouse", "analytics", "url"),
    )
    filled = fill_template(template, lambda asked: f"<{asked.service} {asked.instance} {asked.attribute}>")
    assert filled == "<postgres default dsn>?x={1}&c=<clickhouse analytics url>"


def test_no_secret_is_rendered_or_shown_by_repr(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.realstack.redis]\nsettings = {requirepass = "hunter2"}\n'
        '[tool.realstack.app]\ntarget = "a:b"\nenv = {JWT_SECRET = "hunter2", DB = "postgres://u:hunter2@h/d"}\n'
    )
    environ = {"TEST_POSTGRES_URL": "postgres://u:hunt/hunter2@h/d?password=hunter2"}

    config = resolve(tmp_path, environ=environ, command_line={})

    assert config.postgres["default"].url == environ["TEST_POSTGRES_URL"]
    assert "hunter2" not in str(render(config)) + repr(config)

"""A wrong setting is refused by name, with its source and what was wanted; a secret in it is not shown."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.config import resolve
from realstack.errors import ConfigInvalid, ConfigUnknown


@dataclasses.dataclass(frozen=True)
class Unknown:
    """One misspelt name and what it most likely meant."""

    id: str
    key: str
    near: str
    toml: str = ""
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    command_line: Mapping[str, object] = dataclasses.field(default_factory=dict)


UNKNOWN = (
    Unknown("key", "isolaton", "isolation", toml='[tool.realstack]\nisolaton = "reset"'),
    Unknown("service", "postgress", "postgres", toml='[tool.realstack.postgress]\nversion = "16"'),
    Unknown("service key", "postgres.verion", "postgres.version", toml='[tool.realstack.postgres]\nverion = "16"'),
    Unknown(
        "table that is nearly a setting",
        "postgres.setings",
        "postgres.settings",
        toml='[tool.realstack.postgres]\nsetings = {work_mem = "1MB"}',
    ),
    Unknown(
        "instance key",
        "postgres.analytics.shema",
        "postgres.analytics.schema",
        toml='[tool.realstack.postgres.analytics]\nshema = "a.sql"',
    ),
    Unknown("app instance", "app.second", "", toml='[tool.realstack.app.second]\ntarget = "a:b"'),
    Unknown("variable", "REALSTACK_ISOLATON", "REALSTACK_ISOLATION", environ={"REALSTACK_ISOLATON": "reset"}),
    Unknown(
        "empty variable",
        "REALSTACK_POSTGRES_VERSON",
        "REALSTACK_POSTGRES_VERSION",
        environ={"REALSTACK_POSTGRES_VERSON": ""},
    ),
    Unknown("option", "postgres_versio", "postgres_version", command_line={"postgres_versio": "1"}),
)


@pytest.mark.parametrize("case", UNKNOWN, ids=lambda case: case.id)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path, case: Unknown) -> None:
    (tmp_path / "pyproject.toml").write_text(case.toml)

    with pytest.raises(ConfigUnknown) as caught:
        resolve(tmp_path, environ=case.environ, command_line=case.command_line)

    assert (caught.value.key, caught.value.near) == (case.key, case.near)
    assert case.near in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Invalid:
    """One value a setting cannot have."""

    id: str
    key: str
    toml: str = ""
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source: str = "pyproject.toml"


INVALID = (
    Invalid("flag", "keep_failed", '[tool.realstack]\nkeep_failed = "maybe"'),
    Invalid("choice", "isolation", '[tool.realstack]\nisolation = "hope"'),
    Invalid("version latest", "postgres.version", '[tool.realstack.postgres]\nversion = "latest"'),
    # 16.10 would be read as 16.1
    Invalid("version as a fraction", "postgres.version", "[tool.realstack.postgres]\nversion = 16.10"),
    Invalid("provider", "redis.providers", '[tool.realstack.redis]\nproviders = ["npm"]'),
    Invalid("provider twice", "redis.providers", '[tool.realstack.redis]\nproviders = ["url", "url"]'),
    Invalid("no provider", "redis.providers", "[tool.realstack.redis]\nproviders = []"),
    Invalid("missing schema", "postgres.schema", '[tool.realstack.postgres]\nschema = "nowhere.sql"'),
    Invalid("glob without match", "postgres.seed", '[tool.realstack.postgres]\nseed = "*.sql"'),
    Invalid("set-up is no callable", "postgres.setup", '[tool.realstack.postgres]\nsetup = "package.module"'),
    Invalid("database name", "postgres.database", '[tool.realstack.postgres]\ndatabase = "My DB"'),
    Invalid("settings no table", "postgres.settings", "[tool.realstack.postgres]\nsettings = [1]"),
    Invalid("service no table", "postgres", '[tool.realstack]\npostgres = "16"'),
    Invalid("no TOML", "pyproject.toml", "[tool.realstack\n"),
    Invalid(
        "zero timeout",
        "start_timeout_s",
        environ={"REALSTACK_START_TIMEOUT_S": "0"},
        source="REALSTACK_START_TIMEOUT_S",
    ),
    Invalid(
        "no number",
        "start_timeout_s",
        environ={"REALSTACK_START_TIMEOUT_S": "soon"},
        source="REALSTACK_START_TIMEOUT_S",
    ),
    Invalid("port", "TEST_POSTGRES_PORT", environ={"TEST_POSTGRES_PORT": "99999"}, source="the environment"),
    Invalid("user without host", "TEST_POSTGRES_USER", environ={"TEST_POSTGRES_USER": "me"}, source="the environment"),
    Invalid(
        "URL of another kind", "postgres.url", environ={"TEST_POSTGRES_URL": "mysql://h/d"}, source="TEST_POSTGRES_URL"
    ),
    Invalid("app without target", "app.target", '[tool.realstack.app]\nhealth = "/up"'),
    Invalid(
        "shared with a version", "postgres.a.server", '[tool.realstack.postgres.a]\nserver = "shared"\nversion = "16"'
    ),
    Invalid(
        "instance named default", "the name of postgres.default", '[tool.realstack.postgres.default]\nversion = "16"'
    ),
)


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.id)
def test_a_wrong_value_is_refused_with_its_key_and_source(tmp_path: Path, case: Invalid) -> None:
    (tmp_path / "pyproject.toml").write_text(case.toml)

    with pytest.raises(ConfigInvalid) as caught:
        resolve(tmp_path, environ=case.environ, command_line={})

    assert caught.value.key == case.key
    if case.id not in ("no TOML", "shared with a version"):
        assert caught.value.source == case.source
    assert caught.value.wanted


SECRETS = (
    {"TEST_POSTGRES_URL": "mysql://me:hunter2@host/d"},
    {"REALSTACK_REDIS_URL": "memcache://:hunter2/with/slash@host"},
    {"TEST_POSTGRES_PASSWORD": "hunter2"},
    {"REALSTACK_APP_TARGET": "a:b", "REALSTACK_APP_ENV": "API_KEY=hunter2{"},
    {"REALSTACK_APP_TARGET": "a:b", "REALSTACK_APP_ENV": "DB=postgres://u:hunter2@h/{x}"},
)


@pytest.mark.parametrize("environ", SECRETS, ids=lambda environ: next(reversed(environ)))
def test_a_secret_in_a_wrong_value_is_not_shown(tmp_path: Path, environ: Mapping[str, str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        resolve(tmp_path, environ=environ, command_line={})

    assert "hunter2" not in str(caught.value)


def test_a_broken_dotenv_line_is_named_by_number_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env.test").write_text("A=1\nhunter2\n")

    with pytest.raises(ConfigInvalid) as caught:
        resolve(tmp_path, environ={}, command_line={})

    assert (caught.value.key, caught.value.source) == ("line 2", ".env.test")
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_placeholder_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.realstack.app]\ntarget = "a:b"\nenv = {DATABASE_URL = "{postgres.dns}"}\n'
    )

    with pytest.raises(ConfigInvalid, match=r"\{postgres\.dns\}.*\{postgres\.dsn\}"):
        resolve(tmp_path, environ={}, command_line={})


def test_a_placeholder_of_an_instance_nobody_configured_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.realstack.app]\ntarget = "a:b"\nenv = {DATABASE_URL = "{postgres.analytics.dsn}"}\n'
    )

    with pytest.raises(ConfigInvalid) as caught:
        resolve(tmp_path, environ={}, command_line={})

    assert caught.value.key == "app.env.DATABASE_URL"

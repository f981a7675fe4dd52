"""Which layer wins, and that every value knows where it was said."""

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.config import Config, find_root, render, resolve


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path


def write(project: Path, text: str, *, name: str = "pyproject.toml") -> None:
    (project / name).write_text(text)


def resolved(project: Path, environ: Mapping[str, str] | None = None, **command_line: object) -> Config:
    return resolve(project, environ=environ or {}, command_line=command_line)


def test_a_project_that_says_nothing_gets_the_defaults(project: Path) -> None:
    config = resolved(project)

    assert config.real_services
    assert config.isolation == "reset"
    assert config.postgres["default"].providers == ("url", "binary", "wheel", "npm", "container")
    assert config.app is None
    assert config.source("postgres.version") == "default"


@dataclasses.dataclass(frozen=True)
class Layer:
    """What the four layers say of the PostgreSQL version, and who must win."""

    id: str
    pyproject: str | None = None
    dotenv: str | None = None
    environ: str | None = None
    command_line: str | None = None
    wins: tuple[str | None, str] = (None, "default")


LAYERS = (
    Layer("pyproject", pyproject="13", wins=("13", "pyproject.toml")),
    Layer("dotenv over pyproject", pyproject="13", dotenv="14", wins=("14", ".env.test: REALSTACK_POSTGRES_VERSION")),
    Layer("environment over dotenv", dotenv="14", environ="15", wins=("15", "REALSTACK_POSTGRES_VERSION")),
    Layer("command line over all", "13", "14", "15", "16", wins=("16", "--postgres-version")),
    Layer("an empty variable says nothing", pyproject="13", environ="", wins=("13", "pyproject.toml")),
)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.id)
def test_a_later_layer_wins_and_the_value_knows_its_source(project: Path, layer: Layer) -> None:
    if layer.pyproject is not None:
        write(project, f'[tool.realstack.postgres]\nversion = "{layer.pyproject}"\n')
    if layer.dotenv is not None:
        write(project, f"REALSTACK_POSTGRES_VERSION={layer.dotenv}\n", name=".env.test")
    environ = {} if layer.environ is None else {"REALSTACK_POSTGRES_VERSION": layer.environ}

    config = resolved(project, environ, postgres_version=layer.command_line)

    assert (config.postgres["default"].version, config.source("postgres.version")) == layer.wins


def test_the_name_of_the_switch_tells_which_way_it_was_turned(project: Path) -> None:
    off = resolved(project, {"USE_REAL_SERVICES": "true"}, real_services=False)

    assert not off.real_services
    assert off.source("real_services") == "--no-real-services"
    assert not resolved(project, {"USE_REAL_SERVICES": "false"}).real_services


def test_a_dotenv_file_is_read_as_text_and_never_expanded(project: Path) -> None:
    lines = (
        "# a comment",
        "",
        "export REALSTACK_ISOLATION='clone'",
        "JWT_SECRET=$(rm -rf /) ${HOME}",
        'TEST_REDIS_URL="redis://localhost:6390/3" # trailing words',
        "REALSTACK_START_TIMEOUT_S=12.5 # seconds",
    )
    write(project, "\n".join(lines), name=".env.test")

    config = resolved(project)

    assert (config.isolation, config.start_timeout_s) == ("clone", 12.5)
    assert config.redis["default"].url == "redis://localhost:6390/3"


def test_the_cache_lies_where_the_users_caches_lie(project: Path) -> None:
    assert resolved(project, {"XDG_CACHE_HOME": str(project)}).cache_folder == project / "realstack"
    assert resolved(project, {"HOME": str(project)}).cache_folder == project / ".cache/realstack"
    nobodys = resolved(project, {"HOME": "/dev/null/nobody"})
    assert nobodys.cache_folder.is_dir()
    assert "/dev/null/nobody/.cache/realstack cannot be written" in nobodys.source("cache_folder")
    # the specification calls a relative path invalid
    assert resolved(project, {"XDG_CACHE_HOME": "a", "HOME": str(project)}).cache_folder == project / ".cache/realstack"


def test_files_and_globs_start_at_the_root_and_come_in_order(project: Path) -> None:
    (project / "migrations" / "deep").mkdir(parents=True)
    for name in ("schema/2.sql", "schema/1.sql", "base.sql", "migrations/a.py", "migrations/deep/b.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("")
    write(
        project,
        '[tool.realstack.postgres]\nschema = ["base.sql", "schema/*.sql"]\nsetup = "a.b:c"\ndepends = ["migrations"]\n',
    )

    postgres = resolved(project).postgres["default"]

    assert postgres.schema == tuple(project / name for name in ("base.sql", "schema/1.sql", "schema/2.sql"))
    assert postgres.depends == tuple(project / "migrations" / name for name in ("a.py", "deep/b.py"))


def test_a_configuration_survives_pickling(project: Path) -> None:
    write(project, '[tool.realstack.postgres.analytics]\nsettings = {work_mem = "8MB"}\n')
    config = resolved(project)

    assert pickle.loads(pickle.dumps(config)) == config


def test_the_root_is_the_nearest_project_that_speaks_of_the_kit(tmp_path: Path) -> None:
    inner, deep = tmp_path / "inner", tmp_path / "inner" / "tests" / "unit"
    deep.mkdir(parents=True)
    write(inner, "[project]\nname = 'x'\n")

    assert find_root(deep) == inner.resolve()
    write(tmp_path, "[tool.realstack]\n")
    assert find_root(deep) == tmp_path.resolve()


def test_rendering_gives_every_setting_a_value_and_a_source(project: Path) -> None:
    write(project, '[tool.realstack.app]\ntarget = "pkg:app"\n[tool.realstack.redis.jobs]\n')

    rows = {key: (value, source) for key, value, source in render(resolved(project, {"REALSTACK_KEEP_FAILED": "yes"}))}

    assert rows["keep_failed"] == ("true", "REALSTACK_KEEP_FAILED")
    assert rows["app.target"] == ("pkg:app", "pyproject.toml")
    assert rows["redis.jobs.version"] == ("-", "default")

"""A project of a user: a folder with tests and configuration, and pytest run in it as its user runs it."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.config import read_environment

#: Plugins that happen to be installed beside us, and cost half a second a start.
_LEFT_OUT = ("pytest_postgresql", "pytest_redis", "hypothesispytest", "looponfail", "cacheprovider")
#: What would make a child take our own run for its own, or point it at somebody's server.
_NOT_INHERITED = ("REALSTACK_", "PYTEST_", "TEST_", "COV_", "DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL")

PYPROJECT = """
[tool.pytest.ini_options]
addopts = [{left_out}]
asyncio_mode = "{asyncio_mode}"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""

SCHEMA = """
CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE NOT NULL);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id int NOT NULL REFERENCES users ON DELETE CASCADE,
    total numeric NOT NULL
);
CREATE TABLE plans (name text PRIMARY KEY);
INSERT INTO plans VALUES ('free'), ('paid');
"""


class Project:
    """A folder with a suite in it.

    Attributes:
        folder: the project's root.
        env: the whole environment of what is run there.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder, self.env = folder, dict(env)
        folder.mkdir(parents=True, exist_ok=True)
        self.configure()

    def write(self, **files: str) -> None:
        """Write Python modules by name; ``__`` in a name stands for a folder."""
        for name, text in files.items():
            self.file(name.replace("__", "/") + ".py", text)

    def file(self, name: str, text: str) -> Path:
        """Write any file, without the indentation it has in the test."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def configure(self, realstack: str = "", *, schema: str = SCHEMA, asyncio_mode: str = "auto") -> None:
        """Write pyproject.toml: *realstack* is the text from ``[tool.realstack...]`` on."""
        left_out = ", ".join(f'"-p", "no:{name}"' for name in _LEFT_OUT)
        text = PYPROJECT.format(left_out=left_out, asyncio_mode=asyncio_mode)
        if not realstack:
            realstack = '[tool.realstack.postgres]\nschema = ["schema.sql"]\n'
        self.file("pyproject.toml", text + textwrap.dedent(realstack))
        self.file("schema.sql", schema)

    def run_pytest(self, *arguments: str, timeout_s: float = 55.0, **env: str) -> pytest.RunResult:
        """Run pytest here and return what it said."""
        return self.run(sys.executable, "-m", "pytest", *arguments, timeout_s=timeout_s, **env)

    def run_kit(self, *arguments: str, timeout_s: float = 55.0, **env: str) -> pytest.RunResult:
        """Run the command line here."""
        return self.run(sys.executable, "-m", "realstack.cli", *arguments, timeout_s=timeout_s, **env)

    def run(self, *command: str, timeout_s: float = 55.0, **env: str) -> pytest.RunResult:
        """Run any program here."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        # shown by pytest when the test fails
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), 0.0)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start pytest here in a session of its own and return at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Give the cache folder of all projects of this session, so that a cluster is made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "builds"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def environment(builds: Path) -> dict[str, str]:
    """Give the environment projects run in: ours, without what belongs to our own run."""
    inherited = {name: value for name, value in read_environment().items() if not name.startswith(_NOT_INHERITED)}
    return {**inherited, "XDG_CACHE_HOME": str(builds), "COLUMNS": "200", "USE_REAL_SERVICES": ""}


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str]) -> Project:
    """Give an empty project with a schema."""
    return Project(tmp_path / "project", environment)

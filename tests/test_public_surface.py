"""What is public is what ``__all__`` says, and importing it costs nothing."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import realstack

DRIVERS = (
    "asyncpg",
    "redis",
    "httpx",
    "uvicorn",
    "clickhouse_connect",
    "chdb",
    "psycopg",
    "sqlalchemy",
    "testcontainers",
    "asyncio",
    "ssl",
)

#: Run by somebody, never imported: a command, and what Alembic executes.
_SCRIPTS = (".__main__", ".migrations.env")


def test_every_public_name_can_be_had():
    for name in realstack.__all__:
        assert getattr(realstack, name) is not None


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match="open_stack"):
        realstack.open_stacks  # noqa: B018


def _modules(package: str) -> list[str]:
    root = importlib.import_module(package)
    return [
        module.name
        for module in pkgutil.walk_packages(root.__path__, f"{package}.")
        if not module.name.endswith(_SCRIPTS)
    ]


@pytest.mark.parametrize("package", ["realstack", "agent_backend"])
def test_every_module_can_be_imported_alone(package: str):
    """In one child process, each with ``sys.modules`` of the package dropped: an import cycle would show."""
    names = _modules(package)
    assert names
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        f"    for known in [known for known in sys.modules if known.partition('.')[0] == {package!r}]:\n"
        "        del sys.modules[known]\n"
        "    importlib.import_module(name)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["realstack", "realstack.pytest_plugin", "realstack.pytest_plugin.fixtures", "realstack.cli"]
)
def test_importing_the_kit_imports_no_driver(module: str):
    """The plugin is imported at every pytest start, used or not."""
    script = (
        f"import sys, pytest\nbefore = set(sys.modules)\nimport {module}\nprint(*sorted(set(sys.modules) - before))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported.isdisjoint(DRIVERS)

"""A run that needs no service starts none, and hardly costs anything."""

import pytest

from ..fix_project import Project

#: Sees every process, socket and folder this Python makes, whoever makes it.
WATCH = """
import os
import pathlib
import sys

SEEN = pathlib.Path(__file__).with_name(f"seen-{os.getpid()}.txt")
WATCHED = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.system", "socket.bind", "socket.connect", "os.mkdir")


def look(event, arguments):
    if event in WATCHED:
        with SEEN.open("a") as seen:
            seen.write(f"{event} {arguments[0]!r}\\n")


sys.addaudithook(look)


def pytest_unconfigure():
    names = sorted(name for name in sys.modules if name.partition(".")[0] in DRIVERS)
    SEEN.with_name("modules.txt").write_text(" ".join(names))


DRIVERS = ("asyncpg", "redis", "httpx", "uvicorn", "clickhouse_connect", "chdb", "psycopg", "testcontainers")
"""


def seen_by(project: Project) -> list[str]:
    lines = [line for path in project.folder.glob("seen-*.txt") for line in path.read_text().splitlines()]
    return [line for line in lines if "__pycache__" not in line]


PLAIN = "def test_plain(): pass\nclass TestPlain:\n    def test_two(self): pass\n"
REAL = "def test_needs(postgres_dsn, redis_url): pass\n"


@pytest.mark.parametrize(
    ("tests", "arguments"),
    [
        (PLAIN, []),
        (PLAIN + REAL, ["-k", "not needs"]),
        (PLAIN + REAL, ["--collect-only"]),
        (PLAIN + REAL, ["--fixtures"]),
        (PLAIN + REAL, ["--no-real-services", "-k", "needs or plain"]),
    ],
    ids=["uses none", "selects none", "collect only", "fixtures", "switched off"],
)
def test_nothing_is_started(project: Project, tests: str, arguments: list[str]) -> None:
    project.write(conftest=WATCH, test_plain=tests)

    result = project.run_pytest(*arguments, PYTHONDONTWRITEBYTECODE="1")

    assert result.ret == 0
    assert seen_by(project) == []
    assert (project.folder / "modules.txt").read_text() == ""


def test_the_watch_sees_a_run_that_does_start_something(project: Project) -> None:
    project.write(conftest=WATCH, test_plain=REAL)

    project.run_pytest().assert_outcomes(passed=1)

    assert any(line.startswith("socket.connect") for line in seen_by(project))
    assert any(line.startswith(("subprocess.Popen", "os.fork", "os.posix_spawn")) for line in seen_by(project))

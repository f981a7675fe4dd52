"""Projects of our own, and the command as a person calls it: a process, in the project's folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.config import read_environment

#: What would reach into the command from the machine of whoever runs these tests.
_FOREIGN = ("REALSTACK_", "TEST_", "PYTEST_", "USE_REAL_", "DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL", "NO_COLOR")


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of the commands: a cache of their own, so that they meet nobody's stacks."""
    kept = {name: value for name, value in read_environment().items() if not name.startswith(_FOREIGN)}
    return {**kept, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


class Project:
    """A folder with a configuration and tests, and the command called in it."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = dict(environ)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def start(
        self, *arguments: str, program: Sequence[str] = ("-m", "realstack.cli"), **options: Any
    ) -> "subprocess.Popen[str]":
        """Start the command, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **options},
        )

    def call_script(self, script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Call a script in the command's place."""
        return self.call(*arguments, program=(str(script),))

    def call(
        self, *arguments: str, timeout_s: float = 50.0, program: Sequence[str] = ("-m", "realstack.cli")
    ) -> "subprocess.CompletedProcess[str]":
        """Call the command and wait for its end."""
        with self.start(*arguments, program=program) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                pytest.fail(f"`realstack {' '.join(arguments)}` did not end in {timeout_s:g} s\n{out}\n{err}")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def project(tmp_path: Path, environ: Mapping[str, str]) -> Iterator[Project]:
    project = Project(tmp_path, environ)
    project.write("pyproject.toml", "[tool.realstack]\n")
    yield project
    project.call("down")


@pytest.fixture
def ended() -> Callable[[int], None]:
    """Wait until a process is gone."""
    return _await_end


def _await_end(pid: int) -> None:
    def look() -> None:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state != "Z":  # a zombie is gone but for its parent's interest
            raise NotReady(f"process {pid} is in state {state}")

    wait_until(look, timeout_s=10)


@pytest.fixture
def appeared() -> Callable[[Path], str]:
    """Wait until a file is there and return what is in it."""

    def read(path: Path) -> str:
        def look() -> str:
            try:
                text = path.read_text()
            except FileNotFoundError:
                raise NotReady(f"{path} is not there") from None
            if not text:
                raise NotReady(f"{path} is empty")
            return text

        return wait_until(look, timeout_s=30)

    return read

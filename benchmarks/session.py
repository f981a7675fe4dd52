"""Running one pytest session in a process of its own and reading what its probe saw."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TIMEOUT_S = 90.0
_INTERRUPTED = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """What the probe saw in one process."""

    marks: Mapping[str, float]
    tests: tuple[tuple[float, ...], ...]
    once: Mapping[str, float]
    samples: Mapping[str, Sequence[float]]

    @property
    def isolation_ms(self) -> list[float]:
        """Setup and teardown of each test together, the first and the last left out: they make and end the session."""
        return [(setup + teardown) * 1000 for setup, _call, teardown in self.tests[1:-1]]

    @property
    def whole_ms(self) -> list[float]:
        """Everything of each test, the first and the last left out."""
        return [sum(phases) * 1000 for phases in self.tests[1:-1]]

    @property
    def call_ms(self) -> list[float]:
        """The body of each test, the first and the last left out."""
        return [call * 1000 for _setup, call, _teardown in self.tests[1:-1]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One finished session; marks are on the monotonic clock."""

    spawned: float
    wall_s: float
    workers: tuple[Worker, ...]

    @property
    def only(self) -> Worker:
        """What was seen in a session of one process."""
        return self.workers[0]

    def since_spawn_s(self, mark: str) -> float:
        """Return seconds from the start of the process to *mark*, in the worker that was last to get there."""
        return max(worker.marks[mark] for worker in self.workers) - self.spawned


class SessionFailed(Exception):
    """A session that was to be measured did not pass; its output is the text."""


def run_session(
    folder: Path, arguments: Sequence[str], *, env: Mapping[str, str], prefix: Sequence[str] = (), result: Path
) -> Session:
    """Run pytest in *folder* and return what its probe saw.

    Args:
        folder: a project.
        arguments: of pytest.
        env: its whole environment.
        prefix: a command that runs the command after it as another user.
        result: a path nobody else writes to.

    Raises:
        SessionFailed: a test failed, none ran, or it took too long.
    """
    command = [*prefix, sys.executable, "-m", "pytest", "-q", f"--bench-result={result}", *arguments]
    spawned = time.monotonic()
    running = subprocess.Popen(
        command, cwd=folder, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        stdout, stderr = running.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGABRT)  # pytest's faulthandler says where every thread stands
        stdout, stderr = _last_words(running)
    except BaseException:
        running.terminate()
        running.wait()
        raise
    wall_s = time.monotonic() - spawned
    workers = _read(result)
    if running.returncode not in (0, _INTERRUPTED) or not any(worker.tests for worker in workers):
        raise SessionFailed(f"{folder.name}: exit code {running.returncode}\n{stdout[-6000:]}\n{stderr[-6000:]}")
    return Session(spawned=spawned, wall_s=wall_s, workers=workers)


def _last_words(running: "subprocess.Popen[str]") -> tuple[str, str]:
    try:
        return running.communicate(timeout=10.0)
    except subprocess.TimeoutExpired:  # a server it left behind holds the pipes open
        running.kill()
        return "", f"not over after {_TIMEOUT_S:g} s"


def _read(result: Path) -> tuple[Worker, ...]:
    workers = []
    for path in sorted(result.parent.glob(f"{result.name}.*")):
        seen = json.loads(path.read_text())
        path.unlink()
        if seen.pop("failed"):
            return ()
        if seen["tests"]:
            # a session that was stopped in the middle of a test leaves a test without all of its phases
            tests = tuple(tuple(test) for test in seen.pop("tests") if len(test) == 3)
            workers.append(Worker(tests=tests, **seen))
    return tuple(workers)

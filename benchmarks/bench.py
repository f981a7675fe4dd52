"""What all groups of figures need: folders, environments, the projects, running one suite."""

import dataclasses
import itertools
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from benchmarks.byhand import ByHand, open_by_hand
from benchmarks.programs import unprivileged
from benchmarks.project import Suite
from benchmarks.session import Session, run_session
from realstack.config import read_environment

_ROOT = Path(__file__).resolve().parent.parent
_MEMORY = Path("/dev/shm")
#: What would point a session at somebody's server, or make it slower than a user's.
_NOT_INHERITED = (
    *("REALSTACK_", "PYTEST_", "TEST_", "COV_", "DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL", "USE_REAL_SERVICES"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One suite as it is run: who is it, and how.

    Attributes:
        name: in the table.
        suite: the project.
        tests: how many.
        limit_s: seconds after which the session stops early.
        as_user: run as another user than root.
        disk: temporary files, and with them peers' servers, on the disk.
        cache: ``shared``, or ``empty``: nothing prepared by an earlier session.
        arguments: further ones of pytest.
        fresh: called before each session; returns the suite to run instead.
    """

    name: str
    suite: Suite
    tests: int = 1
    limit_s: float = 60.0
    as_user: bool = False
    disk: bool = False
    cache: str = "shared"
    arguments: tuple[str, ...] = ()
    fresh: Callable[[], Suite] | None = None


class Bench:
    """One run of the benchmarks."""

    def __init__(self, stack: ExitStack, *, quick: bool) -> None:
        self.quick = quick
        self._stack = stack
        self.memory = _temporary_folder(stack, _MEMORY if _MEMORY.is_dir() else None)
        self.disk = _temporary_folder(stack, None)
        self._env = {name: value for name, value in read_environment().items() if not name.startswith(_NOT_INHERITED)}
        self._numbers = itertools.count()

    @cached_property
    def by_hand(self) -> ByHand:
        """The server of the fixtures written by hand."""
        self.say("starting the server of the fixtures written by hand")
        return self._stack.enter_context(open_by_hand(self.memory))

    def say(self, what: str) -> None:
        """Show progress."""
        print(what, file=sys.stderr, flush=True)

    def pick(self, full: int, quick: int) -> int:
        """Return *full*, or *quick* in a quick run."""
        return quick if self.quick else full

    def environment(self, *, disk: bool = False, cache: Path | None = None) -> dict[str, str]:
        """Return the environment of a session."""
        temporary = (self.disk if disk else self.memory) / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **self._env,
            "TMPDIR": str(temporary),
            "XDG_CACHE_HOME": str(cache or self.disk / "cache"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(_ROOT),
        }

    def run(self, case: Case) -> Session:
        """Run *case* once."""
        number = next(self._numbers)
        cache = self.disk / f"cache-{number}" if case.cache == "empty" else None
        folder = (case.fresh() if case.fresh else case.suite).write(self.memory)
        arguments = (f"--bench-tests={case.tests}", f"--bench-limit={case.limit_s}", *case.arguments)
        try:
            return run_session(
                folder,
                arguments,
                env=self.environment(disk=case.disk, cache=cache),
                prefix=unprivileged() if case.as_user else (),
                result=self.memory / f"result-{number}",
            )
        finally:
            if cache:
                shutil.rmtree(cache, ignore_errors=True)

    def run_side_by_side(self, cases: list[Case], *, repetitions: int) -> dict[str, list[Session]]:
        """Run all *cases* in turn, *repetitions* times, after a first time that is not counted."""
        sessions: dict[str, list[Session]] = {case.name: [] for case in cases}
        for case in cases:
            if case.cache != "empty":  # the first time compiles bytecode and prepares templates
                self.run(dataclasses.replace(case, tests=min(case.tests, 4)))
        for turn in range(repetitions):
            self.say(f"  turn {turn + 1} of {repetitions}")
            for case in cases:
                sessions[case.name].append(self.run(case))
        return sessions

    def python(self, code: str) -> str:
        """Run *code* in a fresh interpreter and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment(), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def _temporary_folder(stack: ExitStack, base: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rsb-", dir=base))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def open_bench(*, quick: bool) -> Iterator[Bench]:
    """Give a run of the benchmarks; its servers end and its folders go with it."""
    with ExitStack() as stack:
        yield Bench(stack, quick=quick)


def nonce() -> str:
    """Return a text nobody had before."""
    return secrets.token_hex(8)

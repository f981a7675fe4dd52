"""Whatever ends a run, nothing of it is left two seconds later: no process, no port, no socket, no folder."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack._core.waiting import Late, NotReady, wait_until

from ..fix_life import TELL, assert_nothing_left, end, is_running
from ..fix_project import Project

SUITE = """
import os
import threading

import psycopg


def test_first(told, postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("INSERT INTO users (email) VALUES ('x')")


def test_waits(told, postgres_dsn):
    # in the middle of a transaction that holds a lock, on a connection nobody closes
    connection = psycopg.connect(postgres_dsn)
    connection.execute("LOCK TABLE users")
    FIRST
    (ROOM / f"{os.getpid()}.ready").touch()
    threading.Event().wait(60)


def test_waits_too(told, postgres_dsn):
    test_waits(told, postgres_dsn)
"""
STACK = """
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import realstack
from conftest import ROOM, tell

class State:
    pass

with realstack.open_stack("postgres", "redis") as State.stack:
    tell(State, State.stack.postgres.dsn, State.stack.redis.url)
    (ROOM / "stack.ready").touch()
    threading.Event().wait(60)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Victim:
    """A run that is in the middle of its work."""

    process: subprocess.Popen[str]
    told: list[dict]

    def assert_nothing_left(self) -> None:
        """See that all is gone two seconds after the owner is."""
        try:
            wait_until(self._ended, timeout_s=30)  # pytest-xdist gives its workers 10 s
        except Late:
            self.process.send_signal(signal.SIGABRT)  # it says where it stands
            raise AssertionError(f"it does not end:\n{self.process.communicate()[0]}") from None
        assert_nothing_left(self.told)

    def _ended(self) -> None:
        if self.process.poll() is None:
            raise NotReady("it still runs")


def watch(project: Project, process: subprocess.Popen[str], *, ready: int) -> Victim:
    """Return *process* as a victim once *ready* of its processes are in the middle of something."""
    room = project.folder / "told"

    def look() -> list[dict]:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        if len(list(room.glob("*.ready"))) < ready:
            raise NotReady("it is still starting")
        return [json.loads(path.read_text()) for path in room.glob("*.json")]

    return Victim(process=process, told=wait_until(look, timeout_s=50))


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Give a list of processes that are ended after the test, in any case."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        end(process)


def start_suite(
    project: Project, started: list[subprocess.Popen[str]], *arguments: str, ready: int = 1, first_of_all: str = "pass"
) -> Victim:
    """Start a suite that hangs in the middle of a test."""
    suite = SUITE.replace("FIRST", first_of_all)
    project.write(conftest=TELL, test_life=f"import signal\nfrom conftest import ROOM\n{suite}")
    started.append(project.start("-p", "no:timeout", "-p", "no:faulthandler", *arguments, PYTHONFAULTHANDLER="1"))
    return watch(project, started[-1], ready=ready)


SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_nothing_is_left_of_a_run_alone(project: Project, started, number: int) -> None:
    victim = start_suite(project, started)

    victim.process.send_signal(number)

    victim.assert_nothing_left()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_nothing_is_left_when_the_controller_of_workers_ends(project: Project, started, number: int) -> None:
    victim = start_suite(project, started, "-n", "2", ready=2)

    victim.process.send_signal(number)

    victim.assert_nothing_left()
    assert not any(is_running(told["worker"]) for told in victim.told)


def test_workers_that_ignore_an_interrupt_end_with_their_controller_too(project: Project, started) -> None:
    victim = start_suite(
        project, started, "-n", "2", ready=2, first_of_all="signal.signal(signal.SIGINT, signal.SIG_IGN)"
    )

    victim.process.kill()

    victim.assert_nothing_left()


def test_ctrl_c_on_the_terminal_reaches_all_and_leaves_nothing(project: Project, started) -> None:
    victim = start_suite(project, started, "-n", "2", ready=2)

    os.killpg(victim.process.pid, signal.SIGINT)

    victim.assert_nothing_left()


def test_a_worker_that_is_killed_takes_only_its_own_along(project: Project, started) -> None:
    victim = start_suite(project, started, "-n", "2", ready=2)
    own, other = victim.told

    os.kill(own["worker"], signal.SIGKILL)

    def its_redis_is_gone() -> None:
        if is_running(own["pids"][1]):
            raise NotReady("its Redis lives")

    wait_until(its_redis_is_gone, timeout_s=2)
    assert is_running(other["pids"][0]), "the PostgreSQL they share"
    assert is_running(other["pids"][1]), "the other worker's Redis"
    victim.process.kill()
    victim.assert_nothing_left()


@pytest.mark.parametrize("code", ["os._exit(3)", "os.abort()", "raise KeyboardInterrupt", "raise SystemExit(2)"])
def test_nothing_is_left_when_a_test_ends_its_process(project: Project, started, code: str) -> None:
    project.write(conftest=TELL, test_life=f"import os\n\n\ndef test_exits(told):\n    {code}\n")
    started.append(project.start("-p", "no:timeout", "-p", "no:faulthandler"))

    started[-1].wait(timeout=50)

    told = [json.loads(path.read_text()) for path in (project.folder / "told").glob("*.json")]
    assert_nothing_left(told)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_nothing_is_left_of_a_script_with_open_stack(project: Project, started, number: int) -> None:
    project.write(conftest=TELL)
    script = project.file("stack.py", STACK)
    started.append(
        subprocess.Popen(
            [sys.executable, script], cwd=project.folder, env=project.env, stdout=subprocess.PIPE, stderr=2, text=True
        )
    )
    victim = watch(project, started[-1], ready=1)

    victim.process.send_signal(number)

    victim.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_left_of_the_command_line(project: Project, started, number: int) -> None:
    started.append(
        subprocess.Popen(
            [sys.executable, "-m", "realstack.cli", "up", "postgres", "redis", "--json"],
            cwd=project.folder,
            env={**project.env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    told = read_json(started[-1])
    ports = [int(service["url"].rpartition(":")[2].partition("/")[0]) for service in told["services"]]
    record = {"run": told["run_folder"], "data": told["run_folder"], "pids": [], "ports": ports}
    victim = Victim(process=started[-1], told=[record])

    victim.process.send_signal(number)

    victim.assert_nothing_left()


def read_json(process: subprocess.Popen[str]) -> dict:
    """Read lines of *process* until they make one JSON text."""
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            continue
    raise AssertionError(f"no JSON: {text!r}")


@pytest.mark.timeout(120)
def test_ten_controllers_in_a_row_are_killed_and_leave_nothing(project: Project, started) -> None:
    kill_in_a_row(project, started, rounds=10)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_controllers_in_a_row_are_killed_and_leave_nothing(project: Project, started) -> None:
    kill_in_a_row(project, started, rounds=100)


def kill_in_a_row(project: Project, started, *, rounds: int) -> None:
    """Kill a run in the middle of starting or working, each time at another moment."""
    project.write(conftest=TELL, test_life="from conftest import ROOM\n" + SUITE.replace("FIRST", "pass"))
    room = project.folder / "told"
    for number in range(rounds):
        for old in room.glob("*"):
            old.unlink()
        arguments = [
            "-p",
            "no:timeout",
            "-p",
            "no:faulthandler",
            "-k",
            "waits",
            *(["-n", "2"] if number % 5 == 4 else []),
        ]
        started.append(project.start(*arguments, PYTHONFAULTHANDLER="1"))
        victim = watch(project, started[-1], ready=1)
        sys.stdout.write(f"round {number}: {SIGNALS[number % 3].name} {arguments}\n")
        victim.process.send_signal(SIGNALS[number % 3])
        victim.assert_nothing_left()


def test_a_run_that_is_killed_while_its_servers_start_leaves_nothing(project: Project, started) -> None:
    """The run folder exists before anything is in it: that is the moment."""
    project.write(
        conftest="""
        import os
        import pathlib
        import signal

        from realstack.runtime import postgres_server

        original = postgres_server.start_postgres


        def start_and_die(*arguments, **named):
            server = original(*arguments, **named)
            told = pathlib.Path(__file__).with_name("told.txt")
            told.write_text(f"{server.pid} {server.endpoint.port} {server.data} {server.log}")
            os.kill(os.getpid(), signal.SIGKILL)


        postgres_server.start_postgres = start_and_die
        """,
        test_one="def test_one(postgres_dsn): pass",
    )
    started.append(project.start())

    assert started[-1].wait(timeout=50) == -signal.SIGKILL

    pid, port, data, log = (project.folder / "told.txt").read_text().split()
    run = Path(log).parents[1]
    assert_nothing_left([{"run": str(run), "data": data, "pids": [int(pid)], "ports": [int(port)]}])

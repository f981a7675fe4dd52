"""Whatever ends the runner ends pytest, the servers and their folders."""

import json
import os
import signal
from pathlib import Path

import pytest

SUITE = """
import os, threading
from pathlib import Path

def test_that_waits(postgres_dsn):
    run_folder = os.environ["REALSTACK_STACK"]
    Path("begun.draft").write_text(f"{os.getpid()} {run_folder}")
    Path("begun.draft").rename("begun")
    threading.Event().wait(60)
"""


@pytest.fixture
def waiting(project, appeared):
    """A runner whose test waits: its process, pytest's process id, the run folder."""
    project.write("test_suite.py", SUITE)
    process = project.start("run", "--json-output", "report.json")
    try:
        pid, run_folder = appeared(project.folder / "begun").split(" ", 1)
        yield process, int(pid), Path(run_folder)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def server_of(run_folder):
    record = json.loads((run_folder / "postgres.json").read_text())
    return record["pid"]


@pytest.mark.parametrize(
    ("ending", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_nothing_is_left_when_the_runner_is_ended(waiting, ended, ending, code):
    process, pytest_pid, run_folder = waiting
    server = server_of(run_folder)

    process.send_signal(ending)

    assert process.wait(20) == code
    ended(pytest_pid)
    ended(server)
    _await_gone(run_folder)


def test_an_interrupted_run_says_so_and_reports_what_it_knows(waiting, project):
    process, _pid, _run_folder = waiting

    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=20)

    assert out.splitlines()[-1] == "interrupted"
    assert "KeyboardInterrupt" in out, "pytest ended in order, with its own summary"
    report = json.loads((project.folder / "report.json").read_text())
    assert (report["exit_code"], report["success"], report["counts"]) == (130, False, {"unfinished": 1})


def test_a_pytest_that_is_killed_is_a_failure(waiting, project):
    process, pytest_pid, run_folder = waiting

    os.kill(pytest_pid, signal.SIGKILL)
    out, _err = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "pytest ended without saying how" in out
    _await_gone(run_folder)


def _await_gone(folder):
    from realstack._core.waiting import NotReady, wait_until

    def look():
        if folder.exists():
            raise NotReady(f"{folder} is still there")

    wait_until(look, timeout_s=10)

"""Runs to look at: their folders, owners in processes of their own, and whether anything of them is left."""

import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack._core.waiting import NotReady, wait_until

#: A server that hears nothing but SIGKILL.
DEAF = "trap '' TERM INT HUP QUIT; echo deaf; while :; do read -t 60 line; done <> <(:)"
#: A server that ends and leaves a process behind, in a session of its own.
LEAVE_DAEMON = "setsid sh -c 'echo daemon $$; exec sleep 1000' & until grep -q daemon $LOG; do :; done"
OWNER = Path(__file__).with_name("owner.py")


def processes_of(run: Path) -> list[str]:
    """Return the supervisor of *run* and everything that writes to a log in it, as ``pid state command``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            is_supervisor = f"{run} " in command and "supervisor.py" in command
            logs = {os.fspath((process / "fd" / number).readlink()) for number in "12" if state != "Z"}
        except OSError:
            continue
        if is_supervisor or any(log.startswith(f"{run}/") for log in logs):
            found.append(f"{process.name} {state} {command}")
    return found


def nothing_runs(run: Path) -> None:
    """Raise ``NotReady`` as long as a process of *run* is there, zombies of process 1 excepted."""
    if left := [each for each in processes_of(run) if " Z " not in each]:
        raise NotReady(str(left))


def gone(pid: int, *, reaped: bool = True) -> None:
    """Raise ``NotReady`` as long as *pid* exists; without *reaped* a zombie is gone, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return
    if state != "Z" or reaped:
        raise NotReady(f"process {pid} is there, state {state}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owned:
    """What an owner said it started."""

    owner: subprocess.Popen[str]
    run: Path
    data: Path
    pids: tuple[int, ...]
    supervisor: int
    heir: int

    def assert_nothing_left(self, *, within_s: float = 2.0) -> None:
        """Fail unless every process and folder is gone within *within_s* seconds."""

        def look() -> None:
            for pid in self.pids:
                gone(pid)
            gone(self.supervisor, reaped=False)  # when its zombie goes is up to process 1, or to its owner
            for folder in (self.run, self.data):
                if folder.exists():
                    raise NotReady(f"{folder} is there: {list(folder.iterdir())}")
            nothing_runs(self.run)

        wait_until(look, timeout_s=within_s)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """Give a short folder for runs, as sockets need it."""
    folder = Path("/tmp") / f"rs-test-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def start_owner(base: Path) -> Iterator[Callable[..., Owned]]:
    """Give a function that starts an owner and returns once it has servers."""
    owners: list[subprocess.Popen[str]] = []
    heirs: list[int] = []

    def start(ending: str = "wait") -> Owned:
        name = secrets.token_hex(3)
        run, data = base / name, base / f"{name}-data"
        owner = subprocess.Popen(
            [sys.executable, OWNER, run, data, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        owners.append(owner)
        assert owner.stdout is not None
        said = json.loads(owner.stdout.readline())
        heirs.append(said["heir"])
        return Owned(
            owner=owner,
            run=run,
            data=data,
            pids=tuple(said["pids"]),
            supervisor=said["supervisor"],
            heir=said["heir"],
        )

    yield start
    for pid in filter(None, heirs):
        os.kill(pid, signal.SIGKILL)
    for owner in owners:
        owner.kill()
        owner.communicate()


@pytest.fixture
def supervision(base: Path) -> Iterator[Supervision]:
    """Give a run whose owner is this process."""
    run = base / "run"
    with start_supervisor(run) as started:
        yield started
    assert not run.exists()
    assert processes_of(run) == []

"""What a run left on this machine, found by the run folder it named itself, never by a name others may have, too."""

import re
import subprocess
from pathlib import Path

from realstack._core.waiting import NotReady, wait_until

#: Put into a suite: each of its processes writes down what it knows of its run, once its services run.
TELL = """
import json
import os
import pathlib

import psycopg
import pytest
import redis

ROOM = pathlib.Path(__file__).parent / "told"


def tell(state, dsn, url):
    with psycopg.connect(dsn) as connection:
        data, postmaster = connection.execute(
            "SELECT current_setting('data_directory'), pg_read_file('postmaster.pid')"
        ).fetchone()
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    ROOM.mkdir(exist_ok=True)
    told = {
        "run": str(state.stack.run_folder),
        "data": data,
        "pids": [int(postmaster.split()[0]), info["process_id"]],
        "ports": [int(dsn.rpartition(":")[2].partition("/")[0]), info["tcp_port"]],
        "worker": os.getpid(),
    }
    draft = ROOM / f".{os.getpid()}"
    draft.write_text(json.dumps(told))
    draft.rename(ROOM / f"{os.getpid()}.json")


@pytest.fixture(scope="session")
def told(_realstack, postgres_dsn, redis_url):
    tell(_realstack, postgres_dsn, redis_url)
"""


def processes_of(run: Path) -> list[str]:
    """Return every process that has *run* in its command line, or writes to a file in it, zombies excepted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            open_files = [str(each.readlink()) for each in (process / "fd").iterdir()] if state != "Z" else []
        except OSError:
            continue
        if state != "Z" and (f"{run}" in command or any(name.startswith(f"{run}/") for name in open_files)):
            found.append(f"{process.name} {state} {command}")
    return found


def is_listening(port: int) -> bool:
    """True when somebody on this machine listens on TCP *port*."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in lines)


def is_running(pid: int) -> bool:
    """True when *pid* is a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_nothing_left(told: list[dict], *, within_s: float = 2.0) -> None:
    """Fail unless every process, listening port, socket and folder of what was *told* is gone in *within_s* seconds."""
    assert told, "the victim told nothing"

    def look() -> None:
        for each in told:
            left = [str(folder) for folder in (Path(each["run"]), Path(each["data"])) if folder.exists()]
            left += [f"process {pid}" for pid in each["pids"] if is_running(pid)]
            left += [f"port {port}" for port in each["ports"] if is_listening(port)]
            left += processes_of(Path(each["run"]))
            left += [name for name in _unix_sockets() if name.startswith(each["run"])]
            if left:
                raise NotReady(f"{left}")

    wait_until(look, timeout_s=within_s)


def end(process: subprocess.Popen[str]) -> str:
    """Make sure *process* has ended; return what it said."""
    if process.poll() is None:
        process.kill()
    return process.communicate(timeout=20)[0] or ""


def _unix_sockets() -> list[str]:
    text = Path("/proc/net/unix").read_text()
    return re.findall(r"\s(/\S+)$", text, re.MULTILINE)

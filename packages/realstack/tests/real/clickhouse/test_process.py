"""The front as a process: ready when it says so, gone with its parent, started afresh in place."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServiceUnavailable
from realstack.services.clickhouse.client import Client
from realstack.services.clickhouse.server import require_engine, start_embedded

FRONT = [sys.executable, "-m", "realstack.services.clickhouse.front"]


def gone(pid: int) -> None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
        return
    raise NotReady(f"{pid} still runs")


def test_it_says_where_it_listens_when_it_answers(server):
    told = json.loads((server.folder / "ready.json").read_text())

    assert told == {"port": server.endpoint.port, "version": server.version, "pid": server.pid}
    assert server.started_in_s < 10
    assert "embedded" in repr(server).lower()
    assert server.is_alive()


def test_it_passes_for_nothing_but_the_engine(client, server):
    assert client.query("SELECT version()") == [(server.version,)]
    assert client.query("SELECT currentUser()") == [("default",)]


def test_it_ends_when_its_parent_is_killed(tmp_path):
    """The parent is a process of its own, killed by SIGKILL: it can clean up nothing."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import subprocess, sys
                front = subprocess.Popen({FRONT!r} + ["--data", {str(tmp_path / "data")!r},
                    "--ready-file", {str(tmp_path / "ready")!r}], stdin=subprocess.DEVNULL)
                print(front.pid, flush=True)
                front.wait()
            """),
        ],
        stdout=subprocess.PIPE,
    )
    with parent:
        pid = int(parent.stdout.readline())
        wait_until(lambda: _ready(tmp_path / "ready"), timeout_s=20)
        parent.kill()
        parent.wait()

    wait_until(lambda: gone(pid), timeout_s=5)


def test_it_ends_when_its_stdin_closes(tmp_path):
    front = subprocess.Popen(
        [*FRONT, "--data", tmp_path / "data", "--ready-file", tmp_path / "ready"], stdin=subprocess.PIPE
    )
    with front:
        wait_until(lambda: _ready(tmp_path / "ready"), timeout_s=20)
        front.stdin.close()

        assert front.wait(timeout=5) == 0


def _ready(path) -> None:
    if not path.exists():
        raise NotReady("not ready")


def test_users_have_passwords(tmp_path):
    import dataclasses

    from realstack.errors import ClickHouseRefused
    from realstack.services.endpoint import Endpoint

    reader, writer = os.pipe()
    options = ["--data", tmp_path / "data", "--ready-fd", str(writer), "--user", "tester", "--password", "s<e>c&ret"]
    front = subprocess.Popen([*FRONT, *options], stdin=subprocess.PIPE, pass_fds=[writer])
    os.close(writer)
    with front, os.fdopen(reader) as ready:
        port = json.loads(ready.readline())["port"]
        endpoint = Endpoint(service="clickhouse", port=port, user="tester", password="s<e>c&ret", database="default")
        client, wrong = Client(endpoint), Client(dataclasses.replace(endpoint, password="guess"))

        assert client.query("SELECT count() FROM system.users WHERE name = 'tester'") == [(1,)]
        with pytest.raises(ClickHouseRefused) as caught:
            wrong.query("SELECT 1")
        assert caught.value.code == 516
        client.close()
        wrong.close()
        front.terminate()
        assert front.wait(timeout=5) == 0


def test_a_dead_one_is_started_afresh_at_the_same_port(installation, run, tmp_path):
    server = start_embedded(installation, folder=tmp_path, supervisor=run, settings={}, timeout_s=20)
    client = Client(server.endpoint)
    client.query("CREATE TABLE t (a UInt8) ENGINE = Memory")
    port = server.endpoint.port
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: _dead(server), timeout_s=5)
    server.restart()

    assert server.endpoint.port == port
    assert client.query("SHOW TABLES") == []
    client.close()
    server.stop()
    assert not server.is_alive()


def _dead(server) -> None:
    if server.is_alive():
        raise NotReady("still alive")


def test_a_missing_engine_names_the_extra(monkeypatch):
    """As in an environment without chdb-core: nothing by that name can be found."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "chdb", raising=False)
    with pytest.raises(ServiceUnavailable) as caught:
        require_engine()

    assert 'pip install "realstack[clickhouse]"' in str(caught.value)

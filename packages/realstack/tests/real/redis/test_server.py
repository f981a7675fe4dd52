"""Starting a Redis server: quickly, with the user's settings, and with a clear error when it does not come up."""

import os
import signal
import socket
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision
from realstack._core.waiting import NotReady, wait_until
from realstack.abc import Installation
from realstack.errors import ConfigInvalid, ServerStartFailed, ServerUnreachable
from realstack.services.endpoint import Endpoint
from realstack.services.redis import server as server_module
from realstack.services.redis.attach import attach
from realstack.services.redis.server import RedisServer, start_redis
from realstack.services.redis.wire import Connection

from .conftest import Start


def gone(pid: int) -> None:
    if Path(f"/proc/{pid}").exists():
        raise NotReady


def test_it_answers_by_socket_and_by_tcp(shared: RedisServer, installation: Installation) -> None:
    assert shared.version == installation.version
    assert shared.provider == installation.provider
    assert 0 < shared.started_in_s < 2
    by_tcp = Endpoint.parse("redis", shared.endpoint.url)
    assert by_tcp.socket is None
    for endpoint in (shared.endpoint, by_tcp, Endpoint.parse("redis", f"unix://{shared.endpoint.socket}?db=3")):
        with Connection(endpoint) as connection:
            assert connection.call("PING") == b"PONG"


def test_it_may_be_debugged_and_keeps_nothing(shared: RedisServer) -> None:
    with shared.connect() as connection:
        assert connection.call("DEBUG", "SLEEP", 0) == b"OK"
        assert connection.call("CONFIG", "GET", "save") == [b"save", b""]
        assert connection.call("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]
        assert connection.call("CONFIG", "GET", "databases") == [b"databases", b"16"]
    assert oct(shared.folder.stat().st_mode & 0o777) == "0o700"
    assert oct((shared.folder / "redis.conf").stat().st_mode & 0o777) == "0o600"


def test_settings_are_those_of_redis_conf(start: Start) -> None:
    server = start(settings={"maxmemory": "64mb", "save": "900 1 300 10", "MaxMemory-Policy": "allkeys-lru"})
    with server.connect() as connection:
        assert connection.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"67108864"]
        assert connection.call("CONFIG", "GET", "save") == [b"save", b"900 1 300 10"]
        assert connection.call("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"allkeys-lru"]
    server.stop()


def test_a_password_is_in_the_url_and_in_no_message(start: Start) -> None:
    server = start(settings={"requirepass": "ge heim/@"})
    with Connection(Endpoint.parse("redis", server.endpoint.url)) as connection:
        assert connection.call("PING") == b"PONG"
    assert "heim" not in repr(server) + repr(server.endpoint)
    with pytest.raises(ServerUnreachable) as caught:
        Connection(Endpoint.parse("redis", f"redis://:wrong-secret@127.0.0.1:{server.endpoint.port}"))
    assert "secret" not in str(caught.value)
    with pytest.raises(ServerUnreachable, match="NOAUTH"):
        attach(Endpoint.parse("redis", f"redis://127.0.0.1:{server.endpoint.port}"))
    server.restart()
    with server.connect() as connection:
        assert connection.call("PING") == b"PONG"
    server.stop()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("maxmemory", "64parsecs", "memory value"),
        ("nonsense", "1", "Bad directive"),
        ("maxmemory-policy", "keep-all", "one of"),
        ("port", "6379", "the kit picks"),
        ("rename-command", "FLUSHALL ''", "every command"),
        ("timeout", "1\nport 2", "on one line"),
        ("", "1", "redis.conf"),
    ],
)
def test_a_setting_that_cannot_be_is_named(start: Start, key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        start(settings={key: value})

    assert caught.value.key == f"redis.settings.{key}"
    assert said in str(caught.value)


def test_a_secret_setting_is_not_shown(start: Start) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        start(settings={"user": "alice on >geheim +nonsense"})
    assert "geheim" not in str(caught.value)


def test_a_taken_port_is_no_failure(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free, ports = server_module._free_port, iter([taken.getsockname()[1]] * 2)
        monkeypatch.setattr(server_module, "_free_port", lambda: next(ports, None) or free())

        server = start()

        assert server.endpoint.port != taken.getsockname()[1]
        assert server.is_alive()
        server.stop()


def test_a_port_taken_over_a_restart_is_said(start: Start) -> None:
    server = start()
    server.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", server.endpoint.port))
        taken.listen()

        with pytest.raises(ServerStartFailed, match=rf"port {server.endpoint.port} was taken"):
            server.restart()


def test_a_folder_too_deep_for_a_socket_is_said(installation: Installation, supervision: Supervision) -> None:
    folder = supervision.run_folder / ("deep" * 30)

    with pytest.raises(ServerStartFailed, match="the system allows 107"):
        start_redis(installation, folder=folder, supervisor=supervision)


def test_a_program_that_is_no_redis_is_said_with_its_log(supervision: Supervision, tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho I am no server\nexit 3\n")
    program.chmod(0o755)
    installation = Installation(service="redis", provider="binary", version="7.0", folder=tmp_path, origin="a script")

    with pytest.raises(ServerStartFailed) as caught:
        start_redis(installation, folder=supervision.run_folder / "none", supervisor=supervision)

    assert "exit code 3" in str(caught.value)
    assert "I am no server" in caught.value.log_tail


def test_a_program_that_never_answers_is_given_up_and_ended(supervision: Supervision, tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    installation = Installation(service="redis", provider="binary", version="7.0", folder=tmp_path, origin="a script")

    with pytest.raises(ServerStartFailed, match=r"no answer within 0\.2 s"):
        start_redis(installation, folder=supervision.run_folder / "mute", supervisor=supervision, timeout_s=0.2)

    wait_until(lambda: gone(int((tmp_path / "pid").read_text())), timeout_s=5)


def test_a_stopped_server_is_gone(start: Start) -> None:
    server = start()
    assert server.is_alive()

    server.stop()

    assert not server.is_alive()
    assert not Path(f"/proc/{server.pid}").exists()


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGSTOP])
def test_a_restart_is_empty_and_at_the_same_place(start: Start, number: int | None) -> None:
    server = start()
    before = server.endpoint
    with server.connect() as connection:
        connection.call("SET", "k", "v")
        connection.call("SAVE")
    if number is not None:
        os.kill(server.pid, number)

    server.restart()

    assert server.endpoint == before
    with server.connect() as connection:
        assert connection.call("DBSIZE") == 0
    assert not (server.folder / "dump.rdb").exists()
    server.stop()


def test_a_running_server_is_attached_and_never_stopped(start: Start) -> None:
    server = start()
    url = server.endpoint.url

    attached = attach(Endpoint.parse("redis", url))
    attached.stop()

    assert attached.is_alive()
    assert attached.version == server.version
    assert (attached.provider, attached.log) == ("url", None)
    server.stop()
    assert not attached.is_alive()
    with pytest.raises(ServerUnreachable, match="does not answer"):
        attach(Endpoint.parse("redis", url))

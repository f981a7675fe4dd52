import signal
import socket

import httpx
import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import AppStartFailed, ServerDied
from realstack.services.app.server import AppServer, _reserve_port

from .conftest import ECHO, Serve


def port_of(server: AppServer) -> int:
    return server.endpoint.port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ended(server: AppServer) -> None:
    if server.is_alive():
        raise NotReady("still alive")


def test_a_restart_keeps_the_port_and_takes_up_new_code(serve: Serve, project):
    server = serve(ECHO.replace('"path":', '"version": 1, "path":'))
    url, pid = server.base_url, server.pid
    (project / "shop.py").write_text(
        (project / "shop.py").read_text().replace('"version": 1', '"version": 2, "more": 0')
    )

    server.restart()

    assert (server.base_url, server.pid != pid) == (url, True)
    assert httpx.get(url, trust_env=False).json()["version"] == 2


def test_a_restart_ends_the_connections_to_the_old_process(serve: Serve):
    server = serve()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536)

        server.restart()

        rest = b""
        while more := connection.recv(65536):
            rest += more
        assert b"HTTP/1.1 200" not in rest


def test_the_port_is_refused_while_the_app_is_down_and_goes_to_the_next_process(serve: Serve):
    server = serve()
    port = port_of(server)
    server._end_process()  # as within a restart
    assert not listening(port)

    server.start()

    assert port_of(server) == port
    assert listening(port)


def test_a_reserved_port_goes_to_nobody_else():
    reservation, port = _reserve_port(0)
    assert reservation is not None
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port))
    assert not listening(port)

    reservation.close()

    with socket.socket() as heir:
        heir.bind(("127.0.0.1", port))


def test_stopping_ends_in_order_and_does_not_wait_for_idle_or_stuck_connections(serve: Serve):
    source = ECHO.replace(
        "        body = b",
        '        import asyncio\n        print("at", scope["path"])\n'
        '        if scope["path"] == "/stuck":\n            await asyncio.Event().wait()\n        body = b',
    )
    server = serve(source)
    process = server._process
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")

        def stuck() -> None:
            if "at /stuck" not in server.log_text():
                raise NotReady("the request has not arrived")

        wait_until(stuck, timeout_s=5)
        server.stop()

    assert process is not None
    assert process.exit_code() == 0
    assert not server.is_alive()
    assert server.pid is None


def test_an_app_that_dies_is_reported_with_its_log_and_can_be_restarted(serve: Serve):
    server = serve(ECHO.replace("        body = b", '        print("about to go")\n        body = b'))
    server.ensure_alive()
    assert server._process is not None
    server._process.signal(signal.SIGKILL)
    wait_until(lambda: ended(server), timeout_s=5)

    with pytest.raises(ServerDied) as caught:
        server.ensure_alive()
    assert caught.value.exit_code == -signal.SIGKILL
    assert "about to go" in caught.value.log_tail
    server.restart()
    assert httpx.get(server.base_url, trust_env=False).status_code == 200


def test_a_restart_that_fails_says_so_and_the_next_one_can_succeed(serve: Serve, project):
    server = serve()
    good = (project / "shop.py").read_text()
    (project / "shop.py").write_text("raise RuntimeError('half an edit')")

    with pytest.raises(AppStartFailed, match="half an edit"):
        server.restart()
    assert not server.is_alive()
    (project / "shop.py").write_text(good)
    server.restart()
    assert listening(port_of(server))


def test_an_app_whose_kit_is_gone_ends_itself(serve: Serve):
    server = serve()
    server._close_control()

    wait_until(lambda: ended(server), timeout_s=5)
    assert server.exit_code() == 0


def test_no_control_socket_is_left_in_the_folder(serve: Serve, run):
    serve()

    assert not list(run.run_folder.glob("app-*.sock"))

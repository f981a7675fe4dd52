"""The kit's own client: every kind of reply, refusals without secrets, and no crossed replies after a failure."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from realstack.errors import ConfigInvalid, EndpointInvalid, RedisRefused, ServerUnreachable
from realstack.services.endpoint import Endpoint
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Connection, Place, encode

from .conftest import Connect, Start

_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
)


@pytest.fixture
def connection(shared: RedisServer, connect: Connect) -> Connection:
    connection = connect()
    connection.call("FLUSHALL")
    return connection


def test_replies_of_every_kind(connection: Connection) -> None:
    big = b"\r\n\x00" * 1_000_000

    replies = connection.pipeline(
        [
            ("PING",),
            ("SET", "k", big),
            ("GET", "k"),
            ("GET", "nobody"),
            ("INCR", "n"),
            ("EVAL", "return {1, {2, 'a', {}}, false}", 0),
            ("BLPOP", "nothing", 0.01),
            ("NONSENSE", "a-secret"),
            ("ECHO", ""),
        ]
    )

    assert replies[:7] == [b"PONG", b"OK", big, None, 1, [1, [2, b"a", []], None], None]
    assert isinstance(replies[7], RedisRefused)
    assert "secret" not in str(replies[7])
    assert replies[8] == b""
    connection.call("FLUSHALL")


def test_many_commands_in_one_go(connection: Connection) -> None:
    assert connection.pipeline([("ECHO", n) for n in range(20_000)]) == [str(n).encode() for n in range(20_000)]


def test_a_refusal_names_the_command_and_no_argument(connection: Connection) -> None:
    with pytest.raises(RedisRefused) as caught:
        connection.call("ACL", "SETUSER", "x", ">geheim", "nonsense")

    assert caught.value.command == "ACL SETUSER"
    assert "geheim" not in str(caught.value)
    assert connection.call("PING") == b"PONG"


def test_a_server_that_keeps_quiet_is_an_error_and_the_connection_is_closed(shared: RedisServer) -> None:
    connection = Connection(shared.endpoint, timeout_s=0.1)
    with pytest.raises(ServerUnreachable, match="timed out"):
        connection.call("BLPOP", "nothing", 0)
    with pytest.raises(ServerUnreachable):
        connection.call("PING")


def test_nobody_and_somebody_else_are_errors(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(ServerUnreachable, match="refused"):
            Connection(Endpoint.parse("redis", f"redis://127.0.0.1:{port}"))
    with pytest.raises(ServerUnreachable, match="No such file"):
        Connection(Endpoint.parse("redis", f"unix://{tmp_path}/redis.sock"))


def test_database_numbers(shared: RedisServer) -> None:
    url = shared.endpoint.url.removesuffix("/0")
    with Connection(Endpoint.parse("redis", f"{url}/7")) as connection:
        assert b" db=7 " in bytes(connection.call("CLIENT", "LIST"))  # type: ignore[arg-type]
    with pytest.raises(RedisRefused, match="out of range"):
        Connection(Endpoint.parse("redis", f"{url}/99"))
    with pytest.raises(EndpointInvalid, match="'x' must be a number"):
        Connection(Endpoint.parse("redis", f"{url}/x"))
    assert Place.of(Endpoint.parse("redis", f"{url}/3?db=5")).database == 5


def test_users_with_passwords(shared: RedisServer, connection: Connection) -> None:
    connection.call("ACL", "SETUSER", "alice", "on", ">pa:s/s@", "~*", "+@all")
    url = f"redis://alice:pa%3As%2Fs%40@127.0.0.1:{shared.endpoint.port}/0"
    with Connection(Endpoint.parse("redis", url)) as alice:
        assert alice.call("ACL", "WHOAMI") == b"alice"
    with pytest.raises(ServerUnreachable, match="WRONGPASS") as caught:
        Connection(Endpoint.parse("redis", url.replace("pa%3A", "pb%3A")))
    assert "pb:s" not in str(caught.value)
    connection.call("ACL", "DELUSER", "alice")


def test_commands_are_encoded_by_bytes() -> None:
    assert encode([("SET", "ä", b"\xff"), ("PING",), ("INCRBY", "k", -5)]) == (
        b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$1\r\n\xff\r\n*1\r\n$4\r\nPING\r\n*3\r\n$6\r\nINCRBY\r\n$1\r\nk\r\n$2\r\n-5\r\n"
    )


def test_tls(start: Start, tmp_path: Path) -> None:
    try:
        subprocess.run(
            [*_CERTIFICATE.split(), "-keyout", "key.pem", "-out", "cert.pem"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = dict.fromkeys(("tls-cert-file", "tls-ca-cert-file"), f"{tmp_path}/cert.pem")
    files["tls-key-file"] = f"{tmp_path}/key.pem"
    try:
        server = start(settings={"tls-port": str(port), "tls-auth-clients": "no", **files})
    except ConfigInvalid as error:  # the server of the wheel is built without it
        pytest.skip(f"this redis-server has no TLS: {error.wanted}")
    url = f"rediss://localhost:{port}/0"
    with Connection(Endpoint.parse("redis", f"{url}?ssl_ca_certs={tmp_path}/cert.pem")) as connection:
        assert connection.call("PING") == b"PONG"
    with Connection(Endpoint.parse("redis", f"{url}?ssl_cert_reqs=none")) as connection:
        assert connection.call("PING") == b"PONG"
    with pytest.raises(ServerUnreachable, match="certificate") as caught:
        Connection(Endpoint.parse("redis", url))
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    server.stop()

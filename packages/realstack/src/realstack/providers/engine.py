"""The container engine of this machine, Docker or Podman: does it answer, and removing what we started in it."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from http.client import HTTPConnection

_PING_WITHIN_S: Final = 0.5
_REMOVE_WITHIN_S: Final = 8.0


@dataclasses.dataclass(frozen=True, slots=True)
class Engine:
    """One engine, by its address: ``unix:///var/run/docker.sock`` or ``tcp://host:2375``."""

    address: str

    def ping(self) -> str:
        """Return an empty string when it answers, else why it does not."""
        try:
            status = self._ask("GET", "/_ping", timeout_s=_PING_WITHIN_S)
        except (OSError, ValueError) as error:
            return f"{self.address}: {error}"
        return "" if status == 200 else f"{self.address}: it answers {status} to a ping"

    def remove(self, name: str) -> None:
        """End and delete the container *name* with its volumes; one that is gone is no problem.

        Raises:
            OSError: the engine does not answer, or refuses.
        """
        status = self._ask("DELETE", f"/containers/{quote(name, safe='')}?force=1&v=1", timeout_s=_REMOVE_WITHIN_S)
        if status not in (200, 204, 404):
            raise OSError(f"the engine at {self.address} answers {status} to removing {name!r}")

    def restart(self, name: str) -> None:
        """End the container *name* at once and start it again.

        Raises:
            OSError: the engine does not answer, or refuses.
        """
        status = self._ask("POST", f"/containers/{quote(name, safe='')}/restart?t=0", timeout_s=_REMOVE_WITHIN_S)
        if status not in (200, 204):
            raise OSError(f"the engine at {self.address} answers {status} to restarting {name!r}")

    def _ask(self, method: str, path: str, *, timeout_s: float) -> int:
        from http.client import HTTPException

        connection = self._connection(timeout_s)
        try:
            connection.request(method, path, headers={"Host": "docker"})
            return connection.getresponse().status
        except HTTPException as error:
            raise OSError(f"what answers there is no container engine: {error!r}") from error
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> "HTTPConnection":
        from http.client import HTTPConnection

        parts = urlsplit(self.address)
        if parts.scheme == "tcp" and parts.hostname:
            return HTTPConnection(parts.hostname, parts.port or 2375, timeout=timeout_s)
        if parts.scheme != "unix":
            raise ValueError("only unix:// and tcp:// without TLS are understood")
        return _over_socket(parts.path, timeout_s)


def _over_socket(path: str, timeout_s: float) -> "HTTPConnection":
    import socket
    from http.client import HTTPConnection

    connection = HTTPConnection("localhost", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(timeout_s)
    try:
        connection.sock.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def find_engine(environ: Mapping[str, str]) -> tuple[Engine | None, str]:
    """Return the engine that answers, or ``None`` and why none does; takes half a second at the most.

    ``DOCKER_HOST`` is the only one tried when it is set, as the clients of both engines do.
    """
    if address := environ.get("DOCKER_HOST"):
        engine = Engine(address)
        reason = engine.ping()
        return (None, f"DOCKER_HOST={reason}") if reason else (engine, "")
    tried = []
    for path in _usual_sockets(environ):
        if not Path(path).exists():
            continue
        engine = Engine(f"unix://{path}")
        if not (reason := engine.ping()):
            return engine, ""
        tried.append(reason)
    return None, "; ".join(tried) or "no container engine answers: neither Docker nor Podman has a socket here"


def _usual_sockets(environ: Mapping[str, str]) -> Iterator[str]:
    yield "/var/run/docker.sock"
    if home := environ.get("HOME"):
        yield f"{home}/.docker/run/docker.sock"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/docker.sock"
        yield f"{runtime}/podman/podman.sock"
    yield "/run/podman/podman.sock"

"""Provider ``container``: a service from a pinned image, through testcontainers, where an engine answers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import ContainerFailed, ServerUnreachable, ServiceUnavailable
from realstack.providers.engine import Engine, find_engine
from realstack.providers.foreign import Journal
from realstack.providers.url import attach_server
from realstack.providers.version import Wanted
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.abc import Server
    from realstack.services.redis.wire import Connection

#: Version to image, newest first; the first that fits is taken.
IMAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {
        "18.4": "postgres:18.4-alpine",
        "17.10": "postgres:17.10-alpine",
        "16.14": "postgres:16.14-alpine",
        "15.18": "postgres:15.18-alpine",
        "14.23": "postgres:14.23-alpine",
    },
    "redis": {
        "7.4.2": "redis:7.4.2-alpine",
        "7.2.7": "redis:7.2.7-alpine",
        "7.0.15": "redis:7.0.15-alpine",
        "6.2.17": "redis:6.2.17-alpine",
        "8.0.0": "redis:8.0.0-alpine",
    },
    "clickhouse": {"25.8": "clickhouse/clickhouse-server:25.8", "24.8": "clickhouse/clickhouse-server:24.8"},
}
_TAGS: Final = {
    "postgres": "postgres:{}-alpine",
    "redis": "redis:{}-alpine",
    "clickhouse": "clickhouse/clickhouse-server:{}",
}
_PORTS: Final = {"postgres": 5432, "redis": 6379, "clickhouse": 8123}
_ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {"POSTGRES_HOST_AUTH_METHOD": "trust"},
    "redis": {},
    # without a password the image lets the default user in from inside the container only
    "clickhouse": {"CLICKHOUSE_SKIP_USER_SETUP": "1"},
}
_REMEDY: Final = 'start Docker or Podman and pip install "realstack[container]", or use another provider'


class ContainerServer:
    """A server in a container of ours; it is removed when the run ends."""

    provider = "container"
    log: Path | None = None

    def __init__(self, attached: "Server", *, engine: Engine, name: str, image: str, started_in_s: float) -> None:
        """Hold what ``start_container`` started."""
        self._attached, self._engine, self.name, self.image = attached, engine, name, image
        self.started_in_s = started_in_s

    @property
    def endpoint(self) -> Endpoint:
        return self._attached.endpoint

    @property
    def version(self) -> str:
        return self._attached.version

    def is_alive(self) -> bool:
        return self._attached.is_alive()

    def exit_code(self) -> int | None:
        """Return ``None``: only the engine knows."""
        return None

    def connect(self, *, timeout_s: float = 10.0) -> "Connection":
        """Open a connection of the kit's own; for Redis."""
        from realstack.services.redis.wire import Connection

        return Connection(self.endpoint, timeout_s=timeout_s)

    def restart(self) -> None:
        """End it at once and start it again at the same port."""
        self._engine.restart(self.name)
        _await_answer(self.endpoint, image=self.image, timeout_s=30.0)

    def clear_folder(self) -> tuple[str, ...]:
        """Delete nothing: what it saves lies in the container and goes with it."""
        return ()

    def stop(self) -> None:
        self._engine.remove(self.name)


def start_container(
    service: str,
    *,
    version: str | None,
    run: str,
    journal: Journal,
    environ: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 120.0,
) -> ContainerServer:
    """Start *service* in a container and return it when it answers.

    Args:
        service: ``postgres``, ``redis`` or ``clickhouse``.
        version: what is wanted; ``None`` takes the newest of ``IMAGES``' first choice.
        run: goes into the container's name.
        journal: where the container is written down before it is made, so that it is removed whatever happens.
        environ: for ``DOCKER_HOST`` and the places of sockets.
        settings: of the server, name to value; not for ClickHouse.
        timeout_s: seconds it may take, download included.

    Raises:
        ServiceUnavailable: no engine answers, testcontainers is not installed, or no image has that version.
        ContainerFailed: it was started and did not come up.
    """
    engine = require_engine(service, version=version, environ=environ)
    image = image_for(service, version)
    if image is None:
        raise _unavailable(service, version, f"no pinned image has it; there are {', '.join(IMAGES[service])}")
    import secrets

    started = SYSTEM_CLOCK.now_s()
    name = f"realstack-{re.sub('[^a-z0-9]', '', run.lower())}-{service}-{secrets.token_hex(6)}"
    journal.record({"kind": "container", "address": engine.address, "name": name})
    endpoint = _run(service, image, name=name, engine=engine, command=_command(service, settings or {}))
    attached = _await_answer(endpoint, image=image, timeout_s=timeout_s)
    took_s = SYSTEM_CLOCK.now_s() - started
    return ContainerServer(attached, engine=engine, name=name, image=image, started_in_s=took_s)


def require_engine(service: str, *, version: str | None, environ: Mapping[str, str]) -> Engine:
    """Return the engine that answers, when testcontainers is installed, too.

    Raises:
        ServiceUnavailable: one of the two is missing; says which.
    """
    from importlib.util import find_spec

    if find_spec("testcontainers") is None:
        raise _unavailable(service, version, "the package testcontainers is not installed")
    engine, reason = find_engine(environ)
    if engine is None:
        raise _unavailable(service, version, reason)
    return engine


def image_for(service: str, version: str | None) -> str | None:
    """Return the pinned image that has *version*; an exact version that is not in ``IMAGES`` names its own image."""
    wanted = Wanted.parse(version, key=f"{service}.version", source="the wanted version")
    for known, image in IMAGES[service].items():
        if wanted.matches(known):
            return image
    exact = wanted.exact[0] if wanted.exact else ()
    return _TAGS[service].format(".".join(map(str, exact))) if len(exact) > 1 else None


def _command(service: str, settings: Mapping[str, str]) -> list[str]:
    """Speed instead of durability, as for the kit's own servers: all of it is thrown away."""
    if service == "postgres":
        fast = {
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "max_prepared_transactions": "64",
        }
        return ["postgres", *(part for key, value in {**fast, **settings}.items() for part in ("-c", f"{key}={value}"))]
    if service == "redis":
        plain = {"save": "", "appendonly": "no"}
        return ["redis-server", *(part for key, value in {**plain, **settings}.items() for part in (f"--{key}", value))]
    return []


def _run(service: str, image: str, *, name: str, engine: Engine, command: list[str]) -> Endpoint:
    container = _container(service, image, name=name, engine=engine, command=command)
    try:
        container.start()
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(_PORTS[service]))
    except Exception as error:  # docker-py, requests and testcontainers each raise their own kinds
        raise ContainerFailed(service=service, image=image, reason=str(error) or type(error).__name__) from error
    return Endpoint(
        service=service,
        host="127.0.0.1" if host == "localhost" else host,
        port=port,
        user={"postgres": "postgres", "clickhouse": "default"}.get(service),
        database={"postgres": "postgres", "redis": "0", "clickhouse": "default"}[service],
    )


def _container(service: str, image: str, *, name: str, engine: Engine, command: list[str]) -> Any:
    """Return a container that is not started yet, without testcontainers' own reaper: the supervisor removes it."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(image, docker_client_kw={"base_url": engine.address}, name=name)
    container.with_exposed_ports(_PORTS[service]).with_envs(**_ENVIRONMENTS[service])
    return container.with_command(command) if command else container


def _await_answer(endpoint: Endpoint, *, image: str, timeout_s: float) -> "Server":
    def attach() -> "Server":
        try:
            return attach_server(endpoint, provider="container", timeout_s=5.0)
        except ServerUnreachable as error:
            raise NotReady(error.reason) from error

    try:
        return wait_until(attach, timeout_s=timeout_s, max_pause_s=0.2)
    except Late as late:
        raise ContainerFailed(service=endpoint.service, image=image, reason=str(late)) from late


def _unavailable(service: str, version: str | None, reason: str) -> ServiceUnavailable:
    wanted = version or "(any version)"
    return ServiceUnavailable(service=service, wanted=wanted, tried=(("container", reason),), remedy=_REMEDY)

"""Looking at stacks that run somewhere else: their services, whether they answer, who is connected."""

import dataclasses
import socket
from pathlib import Path

from realstack.errors import RealstackError
from realstack.runner.keeper import KeptService, read_kept
from realstack.services.endpoint import Endpoint

_ANSWER_WITHIN_S = 2.0
_CLIENTS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name NOT LIKE 'realstack%'
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServiceStatus:
    """One service of a stack as it is now."""

    kept: KeptService
    alive: bool
    #: Connections of clients, the kit's own left out; ``None``: this service does not count them, or is dead.
    clients: int | None


def services_of(run_folder: Path) -> list[ServiceStatus]:
    """Return the services that the run in *run_folder* keeps."""
    kept = read_kept(run_folder)
    return [_look(service) for service in kept.services] if kept else []


def _look(kept: KeptService) -> ServiceStatus:
    endpoint = Endpoint.parse(kept.service, kept.url)
    try:
        socket.create_connection((endpoint.host, endpoint.port), _ANSWER_WITHIN_S).close()
    except OSError:
        return ServiceStatus(kept=kept, alive=False, clients=None)
    return ServiceStatus(kept=kept, alive=True, clients=_clients(endpoint))


def _clients(endpoint: Endpoint) -> int | None:
    try:
        if endpoint.service == "postgres":
            return _postgres_clients(endpoint)
        if endpoint.service == "redis":
            return _redis_clients(endpoint)
    except (RealstackError, OSError):  # it is going down, or is not ours to ask
        return None
    return None


def _postgres_clients(endpoint: Endpoint) -> int:
    from realstack.services.postgres.wire import Connection

    with Connection(endpoint, timeout_s=_ANSWER_WITHIN_S) as connection:
        return int(connection.query(_CLIENTS)[0][0] or 0)


def _redis_clients(endpoint: Endpoint) -> int:
    from realstack.services.redis.wire import ADMIN_NAME, Connection

    with Connection(endpoint, timeout_s=_ANSWER_WITHIN_S) as connection:
        listed = connection.call("CLIENT", "LIST")
    text = listed.decode() if isinstance(listed, bytes) else str(listed)
    return sum(f" name={ADMIN_NAME} " not in line for line in text.splitlines())

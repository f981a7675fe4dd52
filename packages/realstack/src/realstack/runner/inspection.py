"""Looking at stacks that run somewhere else: their servers, whether they live, who is connected."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.runtime.sharing import SharedServer

_ANSWER_WITHIN_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """One server of a stack as it is now."""

    #: The service and, for a named one, its instance: ``postgres``, ``postgres-analytics``.
    name: str
    version: str
    provider: str
    #: Masked.
    safe_url: str
    #: With its password.
    url: str
    alive: bool
    #: Connections of clients; ``None`` when the service does not count them or does not answer.
    connections: int | None
    log: str | None


def servers_of(run_folder: Path) -> list[ServerStatus]:
    """Return the servers that the run in *run_folder* has on record, by name."""
    from realstack.runtime.sharing import SharedServer

    found = []
    for record in sorted(run_folder.glob("*.json")):
        try:
            server = SharedServer.from_json(record.read_text())
        except (OSError, ValueError, KeyError, TypeError):  # another kind of file, or one that goes away right now
            continue
        found.append(_status(record.stem, server))
    return found


def _status(name: str, server: "SharedServer") -> ServerStatus:
    alive = server.is_alive()
    return ServerStatus(
        name=name,
        version=server.version,
        provider=server.provider,
        safe_url=server.endpoint.safe_url,
        url=server.endpoint.url,
        alive=alive,
        connections=_connections(server.endpoint) if alive else None,
        log=str(server.log) if server.log else None,
    )


def _connections(endpoint: Endpoint) -> int | None:
    try:
        if endpoint.service == "postgres":
            return _postgres_connections(endpoint)
        if endpoint.service == "redis":
            return _redis_connections(endpoint)
    except (RealstackError, OSError):  # it is going down, or is no longer ours to ask
        return None
    return None


def _postgres_connections(endpoint: Endpoint) -> int:
    from realstack.services.postgres.wire import Connection

    with Connection(endpoint, timeout_s=_ANSWER_WITHIN_S) as connection:
        rows = connection.query(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    return int(rows[0][0] or 0)


def _redis_connections(endpoint: Endpoint) -> int:
    from realstack.services.redis.wire import Connection

    with Connection(endpoint, timeout_s=_ANSWER_WITHIN_S) as connection:
        clients = connection.call("INFO", "clients")
    text = clients.decode() if isinstance(clients, bytes) else str(clients)
    total = next(line for line in text.splitlines() if line.startswith("connected_clients:"))
    return int(total.partition(":")[2]) - 1

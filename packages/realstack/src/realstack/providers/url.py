"""Provider ``url``: a server that runs already. It is checked before it is touched, and never stopped."""

from typing import TYPE_CHECKING

from realstack.errors import ForeignServerRefused, RedisRefused, ServerUnreachable, SqlFailed
from realstack.providers.policy import check
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.abc import Server


def attach_url(
    service: str, url: str, *, source: str, allow_remote: bool = False, provider: str = "url", timeout_s: float = 5.0
) -> "Server":
    """Return the server at *url*, after making sure that it may be used for tests and answers.

    Args:
        service: ``postgres``, ``redis`` or ``clickhouse``.
        url: of any form the service's clients take.
        source: where it stands, for messages: ``DATABASE_URL in the environment``.
        allow_remote: it may be on another machine.
        provider: what the server is said to come from.
        timeout_s: seconds until it must answer.

    Raises:
        EndpointInvalid: *url* names no such service.
        ForeignServerRefused: it is elsewhere, or smells of production by its name or by how it is run.
        ServerUnreachable: it does not answer or refuses us; the password is masked.
    """
    endpoint = Endpoint.parse(service, url)
    check(endpoint, allow_remote=allow_remote, source=source)
    server = attach_server(endpoint, provider=provider, timeout_s=timeout_s)
    if sign := production_sign(server):
        raise ForeignServerRefused(
            service=service,
            url=endpoint.safe_url,
            source=source,
            reason=sign,
            remedy="point it at a server that is for tests alone, or unset the URL to let the kit start one",
        )
    return server


def attach_server(endpoint: Endpoint, *, provider: str = "url", timeout_s: float = 5.0) -> "Server":
    """Return the server at *endpoint* once it has answered.

    Raises:
        ServerUnreachable: it does not answer or refuses us.
    """
    if endpoint.service == "postgres":
        from realstack.services.postgres import attach as postgres

        return postgres.attach(endpoint, provider=provider, timeout_s=timeout_s)
    if endpoint.service == "redis":
        from realstack.services.redis import attach as redis

        return redis.attach(endpoint, provider=provider, timeout_s=timeout_s)
    from realstack.services.clickhouse import server as clickhouse

    return clickhouse.attach(endpoint, timeout_s=timeout_s)


def production_sign(server: "Server") -> str:
    """Return what in the way *server* is run says production: standbys, an archive; empty when nothing does.

    Only questions are asked, and one that may not be asked is not a sign.
    """
    try:
        match server.endpoint.service:
            case "postgres":
                return _sign_of_postgres(server.endpoint)
            case "redis":
                return _sign_of_redis(server.endpoint)
    except (RedisRefused, SqlFailed, ServerUnreachable):
        pass
    return ""


def _sign_of_postgres(endpoint: Endpoint) -> str:
    from realstack.services.postgres.wire import Connection

    with Connection(endpoint, timeout_s=5.0) as connection:
        row = connection.query(
            "select pg_is_in_recovery(), current_setting('archive_mode'), (select count(*) from pg_stat_replication)"
        )[0]
    if row[0] == "t":
        return "it is a standby, and what it stands by for is in use"
    if row[1] in ("on", "always"):
        return f"it archives its log (archive_mode = {row[1]}), which servers for tests do not"
    return f"{row[2]} standby server(s) follow it" if row[2] != "0" else ""


def _sign_of_redis(endpoint: Endpoint) -> str:
    from realstack.services.redis.wire import Connection

    with Connection(endpoint, timeout_s=5.0) as connection:
        role = connection.call("ROLE")
    if not isinstance(role, list) or not role:
        return ""
    if role[0] == b"slave":
        return "it is a replica, and what it follows is in use"
    replicas = len(role[2]) if role[0] == b"master" and len(role) > 2 and isinstance(role[2], list) else 0
    return f"{replicas} replica(s) follow it" if replicas else ""

"""A PostgreSQL that is not ours, reached by URL: checked, described, never written to from here."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack.errors import ServerUnreachable, SqlFailed
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_FACTS = """
select current_setting('server_version'), current_user, rolsuper, rolcreatedb or rolsuper, rolcreaterole or rolsuper,
       rolreplication or rolsuper, pg_is_in_recovery(), current_database()
  from pg_roles where rolname = current_user
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """What a server says of itself and of what we may do there; asking changes nothing."""

    #: Without the packager's remark: ``15.18``.
    version: str
    user: str
    database: str
    is_superuser: bool
    can_create_databases: bool
    can_create_roles: bool
    can_replicate: bool
    #: A standby: nothing can be created there.
    is_read_only: bool
    #: Names that CREATE EXTENSION would find.
    extensions: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AttachedServer:
    """A server somebody else runs; ``realstack.abc.Server``, but stopping it does nothing."""

    endpoint: "Endpoint"
    facts: ServerFacts
    started_in_s: float
    provider: str = "url"
    log: Path | None = None

    @property
    def version(self) -> str:
        """The version it said it has."""
        return self.facts.version

    def is_alive(self) -> bool:
        """Tell whether it still answers."""
        try:
            self.connect(timeout_s=5.0).close()
        except (ServerUnreachable, SqlFailed):
            return False
        return True

    def connect(self, database: str | None = None, *, timeout_s: float = 10.0) -> Connection:
        """Open a connection as the user of its URL, to *database* or the one the URL names."""
        return Connection(self.endpoint.with_database(database) if database else self.endpoint, timeout_s=timeout_s)

    def stop(self) -> None:
        """Do nothing: it is not ours."""


def attach(endpoint: "Endpoint", *, provider: str = "url", timeout_s: float = 5.0) -> AttachedServer:
    """Return the server at *endpoint* once it has answered.

    Args:
        endpoint: where it is and as whom to connect.
        provider: what to call where it comes from: ``url`` or ``container``.
        timeout_s: seconds any one answer may take.

    Raises:
        ServerUnreachable: nobody answers, it refuses the password, or has no such database; the URL is masked.
    """
    started = SYSTEM_CLOCK.now_s()
    facts = server_facts(endpoint, timeout_s=timeout_s)
    return AttachedServer(
        endpoint=endpoint, facts=facts, started_in_s=SYSTEM_CLOCK.now_s() - started, provider=provider
    )


def server_facts(endpoint: "Endpoint", *, timeout_s: float = 5.0) -> ServerFacts:
    """Ask the server at *endpoint* what it is and what we may do there, without changing anything.

    Raises:
        ServerUnreachable: as ``attach``.
    """
    try:
        with Connection(endpoint, timeout_s=timeout_s) as connection:
            connection.query("set default_transaction_read_only = on")
            version, user, *flags, database = connection.query(_FACTS)[0]
            names = frozenset(str(name) for (name,) in connection.query("select name from pg_available_extensions"))
    except SqlFailed as error:
        reason = f"{error.severity} {error.sqlstate}: {error.message}"
        raise ServerUnreachable(service="postgres", url=endpoint.safe_url, reason=reason) from error
    superuser, databases, roles, replicate, standby = (flag == "t" for flag in flags)
    return ServerFacts(
        version=str(version).partition(" ")[0],
        user=str(user),
        database=str(database),
        is_superuser=superuser,
        can_create_databases=databases,
        can_create_roles=roles,
        can_replicate=replicate,
        is_read_only=standby,
        extensions=names,
    )

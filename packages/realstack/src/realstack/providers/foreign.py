"""What a run makes on servers that are not ours: written down before it is made, removed by what was written down.

The journal is a file in the run folder that only its owner can read. The supervisor runs ``clean_foreign`` on it when
the run is over, whatever ended it. Databases are made under names nobody can guess, so a name in the journal is proof;
a claimed Redis number is emptied only while the marker with the claim's token is in it.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realstack.errors import ForeignServerRefused, RealstackError, SqlFailed
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.abc import Supervisor
    from realstack.services.postgres.wire import Connection
    from realstack.services.redis.claim import Claim

_CLEAN_WITHIN_S: Final = 10.0
_MAY_NOT_CREATE: Final = "42501"
_NO_SUCH_DATABASE: Final = "3D000"


class Journal:
    """What this process has made, or is about to make, on servers that are not ours."""

    def __init__(self, file: Path, *, supervisor: "Supervisor") -> None:
        """Write to *file*, in the run folder; have *supervisor* clean up by it when the run is over."""
        self._file, self._supervisor = file, supervisor
        self._registered = False

    def record(self, entry: Mapping[str, Any]) -> None:
        """Append *entry*; on return it is safe from this process's death."""
        if not self._registered:
            argv = [sys.executable, "-m", "realstack.providers.clean_foreign", os.fspath(self._file)]
            self._supervisor.at_end(argv, timeout_s=_CLEAN_WITHIN_S)
            self._registered = True
        line = json.dumps(entry).encode() + b"\n"
        opened = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(opened, line)
        finally:
            os.close(opened)


def foreign_name(*, run: str, worker: str) -> str:
    """Return a database name nobody can guess, at most 46 bytes, so that suffixes still fit into PostgreSQL's 63."""
    import secrets

    parts = [re.sub(r"[^a-z0-9]", "", part.lower())[:size] for part, size in ((run, 12), (worker, 8))]
    return "_".join(["realstack", *filter(None, parts), secrets.token_hex(6)])


def create_foreign_database(endpoint: Endpoint, *, run: str, worker: str, journal: Journal, source: str) -> Endpoint:
    """Make a database of our own on a PostgreSQL or ClickHouse that is not ours, and return where it is.

    Further databases may be made there under its name, an underscore and more: they go with it.

    Raises:
        ForeignServerRefused: we may not make databases there.
        ServerUnreachable: nobody answers.
    """
    name = foreign_name(run=run, worker=worker)
    journal.record({"kind": endpoint.service, "endpoint": endpoint.to_json(), "name": name})
    if endpoint.service == "clickhouse":
        from realstack.services.clickhouse.server import create_database

        return create_database(endpoint, name)
    try:
        with _connect_to_postgres(endpoint) as connection:
            connection.query(f'CREATE DATABASE "{name}"')
    except SqlFailed as refused:
        if refused.sqlstate != _MAY_NOT_CREATE:
            raise
        user = endpoint.user or "postgres"
        raise ForeignServerRefused(
            service="postgres",
            url=endpoint.safe_url,
            source=source,
            reason=f"user {user!r} may not create a database there, and no other database is ever written to",
            remedy=f"ALTER ROLE {user} CREATEDB, or unset the URL to let the kit start a server of its own",
        ) from refused
    return endpoint.with_database(name)


def claim_redis(endpoint: Endpoint, *, run: str, journal: Journal) -> "Claim":
    """Claim an empty database number on a Redis that is not ours.

    Raises:
        NoEmptyDatabase: every number has keys.
        ServerUnreachable: nobody answers, or the password is refused.
    """
    import secrets
    import socket
    from datetime import UTC, datetime

    from realstack.services.redis.claim import claim_database

    since = datetime.now(UTC).isoformat(timespec="seconds")
    where = f"{socket.gethostname()} pid {os.getpid()}"
    token = f"realstack run {run} on {where} since {since} {secrets.token_hex(8)}"

    def record(claim: "Claim") -> None:
        place = {"endpoint": claim.endpoint.to_json(), "database": claim.database, "token": claim.token}
        journal.record({"kind": "redis", **place})

    return claim_database(endpoint, token=token, record=record)


# --- cleaning up ------------------------------------------------------------------------------------------------------


def clean_foreign(file: Path) -> tuple[str, ...]:
    """Remove what the journal *file* lists and nothing else; return what could not be removed, with the reason.

    May be called again: what is gone already is no problem.
    """
    problems = []
    for entry in _entries(file):
        clean = _CLEANERS.get(str(entry.get("kind")), _unknown)
        try:
            clean(entry)
        except (RealstackError, OSError) as error:
            where = Endpoint.from_json(entry["endpoint"]).safe_url if "endpoint" in entry else entry["kind"]
            problems.append(f"{entry.get('name', entry.get('database'))!r} at {where} is left behind: {error}")
    return tuple(problems)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield what was recorded; a last line that broke off was followed by nothing, so nothing was made."""
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in filter(None, lines[:-1]):
        yield json.loads(line)


def _clean_postgres(entry: Mapping[str, Any]) -> None:
    endpoint, name = Endpoint.from_json(entry["endpoint"]), _checked(entry["name"])
    with _connect_to_postgres(endpoint) as connection:
        major = int(connection.server_version.partition(".")[0])
        rows = connection.query(
            "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '_') ORDER BY datname",
            name,
        )
        for (database,) in rows:
            connection.query(f'ALTER DATABASE "{database}" IS_TEMPLATE false')
            if major < 13:
                connection.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
            connection.query(f'DROP DATABASE IF EXISTS "{database}"' + (" WITH (FORCE)" if major >= 13 else ""))


def _clean_clickhouse(entry: Mapping[str, Any]) -> None:
    from realstack.services.clickhouse.client import Client
    from realstack.services.clickhouse.server import Closing, drop_database

    endpoint, name = Endpoint.from_json(entry["endpoint"]), _checked(entry["name"])
    with Closing(Client(endpoint.with_database("default"), is_admin=True)) as client:
        found = [str(row[0]) for row in client.query("SELECT name FROM system.databases")]
    for database in found:
        if database == name or database.startswith(f"{name}_"):
            drop_database(endpoint.with_database(database))


def _clean_redis(entry: Mapping[str, Any]) -> None:
    from realstack.services.redis.claim import Claim, give_back

    endpoint = Endpoint.from_json(entry["endpoint"])
    give_back(Claim(endpoint=endpoint, database=int(entry["database"]), token=str(entry["token"])))


def _clean_container(entry: Mapping[str, Any]) -> None:
    from realstack.providers.engine import Engine

    Engine(str(entry["address"])).remove(_checked(entry["name"]))


def _unknown(entry: Mapping[str, Any]) -> None:
    raise OSError(f"this version of realstack does not know what {entry.get('kind')!r} is")


_CLEANERS: Final[dict[str, Callable[[Mapping[str, Any]], None]]] = {
    "postgres": _clean_postgres,
    "clickhouse": _clean_clickhouse,
    "redis": _clean_redis,
    "container": _clean_container,
}


def _checked(name: str) -> str:
    """Refuse a name that this module cannot have made: the journal may have been tampered with."""
    if not re.fullmatch(r"realstack[_-][a-z0-9_-]*[0-9a-f]{12}", name):
        raise OSError(f"{name!r} is not a name this run can have made")
    return name


def _connect_to_postgres(endpoint: Endpoint) -> "Connection":
    """Connect to the database the URL names, or, when it is not there, to the one every server has."""
    from realstack.services.postgres.wire import Connection

    try:
        return Connection(endpoint)
    except SqlFailed as refused:
        if refused.sqlstate != _NO_SUCH_DATABASE:
            raise
        return Connection(endpoint.with_database("postgres"))

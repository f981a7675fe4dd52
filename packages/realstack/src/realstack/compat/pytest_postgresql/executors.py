"""What the process fixtures give: where PostgreSQL is, under the names of pytest-postgresql's executors."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from realstack._core.digest import digest_of
from realstack.compat import say_once
from realstack.compat.pytest_postgresql.config import DEFAULT_DBNAME
from realstack.compat.pytest_postgresql.loader import Load, identities, loading_step
from realstack.errors import RealstackError
from realstack.runtime.extra_database import ExtraDatabase, ExtraPostgresService, add_database

if TYPE_CHECKING:
    from realstack.compat._plugin import PluginState
    from realstack.services.endpoint import Endpoint

__all__ = ("NoopExecutor", "PostgreSQLExecutor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a process fixture was asked for."""

    fixture: str
    #: Tells fixtures of one name apart.
    where: tuple[str, ...]
    user: str
    password: str | None
    dbname: str
    maintenance_dbname: str
    options: str
    loads: tuple[Load, ...]
    load_autocommit: bool


class PostgreSQLExecutor:
    """The kit's PostgreSQL as a process fixture shows it; the server is started when one of its facts is asked for.

    Attributes:
        options: of the connections.
        password: of ``user``; the kit's own server lets everybody in without one.
    """

    def __init__(
        self,
        wanted: Wanted,
        state: "PluginState",
        *,
        version: str | None = None,
        base: "PostgreSQLExecutor | None" = None,
    ) -> None:
        """Remember what is wanted; nothing is started.

        Args:
            wanted: what the fixture was asked for.
            state: the plugin's.
            version: the version of ``--postgres-version`` this is for.
            base: a fixture whose loads come before its own.
        """
        self.options = wanted.options
        self.wanted, self._state, self._version, self._base = wanted, state, version, base
        self._named: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.wanted.fixture!r} on realstack's PostgreSQL>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self.wanted.fixture}.{name}: realstack's server belongs to the whole run, so a process fixture has no"
            f" {name!r}; it has host, port, user, password, dbname, template_dbname, maintenance_dbname, options,"
            " unixsocketdir, logfile, version and running()"
        )

    # --- where --------------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address the server answers at."""
        return self._endpoint.host

    @property
    def port(self) -> int:
        """The port the server answers at."""
        return self._endpoint.port

    @property
    def user(self) -> str:
        """The user the tests connect as: a superuser; on a server that is not ours, the one of its URL."""
        return self.wanted.user if self.service().is_ours else self._endpoint.user or self.wanted.user

    @property
    def password(self) -> str | None:
        """The user's password."""
        return self.wanted.password if self.service().is_ours else self._endpoint.password

    @property
    def dbname(self) -> str:
        """The database of this process's tests: as asked for in the first process, with a number in the others."""
        return self._endpoint.database or self.wanted.dbname

    @property
    def template_dbname(self) -> str:
        """The template with the loads in it; ``CREATE DATABASE ... TEMPLATE`` copies it."""
        return self.service().template

    @property
    def maintenance_dbname(self) -> str:
        """A database to make and drop others from."""
        return self.service().maintenance_database

    @property
    def unixsocketdir(self) -> str:
        """The folder of the server's socket."""
        return self._endpoint.socket or ""

    @property
    def logfile(self) -> str:
        """The server's log; empty when the server is not ours."""
        return str(self.service().log or "")

    @property
    def version(self) -> Any:
        """The server's version, as ``packaging.version.Version``."""
        from packaging.version import parse

        return parse(self.service().server.version)

    def running(self) -> bool:
        """Tell whether the server lives."""
        return self.service().server.is_alive()

    # --- databases ----------------------------------------------------------------------------------------------------

    def service(self, dbname: str | None = None) -> ExtraPostgresService:
        """Return the service behind the database *dbname*, by default the fixture's own; started."""
        database = dbname or self.wanted.dbname
        self._state.check_wanted()
        service = self._state.provide("postgres", instance=self._instance(database), version=self._version)
        assert isinstance(service, ExtraPostgresService)  # noqa: S101  added above
        self._say_what_differs(service, database)
        return service

    def connection_arguments(self, dbname: str | None = None) -> dict[str, Any]:
        """Return what psycopg connects with to this process's own database *dbname*."""
        endpoint = self.service(dbname).endpoint
        return {
            "dbname": endpoint.database,
            "user": self.user,
            "password": self.password,
            "host": endpoint.host,
            "port": endpoint.port,
            "options": self.options,
        }

    def make_role(self) -> None:
        """Make the user now, if it is another than ``postgres``: what a session fixture makes is no test's leak."""
        if self.wanted.user == "postgres" or not self._state.config.real_services:
            return
        # what cannot be had is told to each test that wants it
        with suppress(RealstackError):
            self._state.stack.service("postgres", instance=self._instance(self.wanted.dbname), version=self._version)

    def _instance(self, database: str) -> str:
        if database not in self._named:
            key = add_database(self._state.stack, self._extra(database), version=self._version)
            self._named[database] = key.instance
        return self._named[database]

    @property
    def _endpoint(self) -> "Endpoint":
        return self.service().endpoint

    def _extra(self, database: str) -> ExtraDatabase:
        wanted = self.wanted
        role = (wanted.user, wanted.password)
        made_of = (*self._made_of(), *(text or "" for text in role))
        return ExtraDatabase(
            name=f"{wanted.fixture}-{digest_of([*made_of, database], length=6)}",
            database=database,
            made_of=made_of,
            steps=self._steps(),
            role=role,
        )

    def _made_of(self) -> tuple[str, ...]:
        below = self._base._made_of() if self._base else ()
        wanted = self.wanted
        return (*below, wanted.fixture, *wanted.where, *identities(wanted.loads), str(wanted.load_autocommit))

    def _steps(self) -> "tuple[Callable[[Endpoint], None], ...]":
        below = self._base._steps() if self._base else ()
        own = (loading_step(load, autocommit=self.wanted.load_autocommit) for load in self.wanted.loads)
        return (*below, *own)

    def _say_what_differs(self, service: ExtraPostgresService, database: str) -> None:
        fixture, user, endpoint = self.wanted.fixture, self.wanted.user, service.endpoint
        if service.is_ours:
            if (endpoint.database or "").startswith(f"{database}_extra"):
                say_once(
                    f"{fixture}: realstack's own database is called {database!r}, so this one is called"
                    f' {endpoint.database!r}; set [tool.realstack.postgres] database = "..." to free the name'
                )
            return
        if database != DEFAULT_DBNAME:
            say_once(
                f"{fixture}: dbname={database!r} is called {endpoint.database!r}: the server is not realstack's own, so"
                " only names nobody else can have are used there"
            )
        if user not in ("postgres", endpoint.user):
            say_once(
                f"{fixture}: user={user!r} is passed over: the server is not realstack's own, so nobody is added to it"
            )


class NoopExecutor(PostgreSQLExecutor):
    """The same server; the original's is one that somebody else started."""

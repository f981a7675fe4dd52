"""Fixture factories with the arguments of pytest-postgresql's."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from realstack.compat import say_once
from realstack.compat._plugin import PluginState, async_fixture, called_from
from realstack.compat.pytest_postgresql.config import PostgreSQLConfig, get_config
from realstack.compat.pytest_postgresql.executors import NoopExecutor, PostgreSQLExecutor, Wanted
from realstack.compat.pytest_postgresql.loader import Load

if TYPE_CHECKING:
    import psycopg

__all__ = ("postgresql", "postgresql_async", "postgresql_noproc", "postgresql_proc")

_WHY = {
    "executable": "realstack finds PostgreSQL itself; `realstack doctor` says where, [tool.realstack.postgres] version"
    " wants another",
    "startparams": "pg_ctl is not used",
    "postgres_options": "the server is the whole run's; set [tool.realstack.postgres] settings instead",
    "unixsocketdir": "the socket lies in the run's own folder; the fixture's unixsocketdir says where",
    "host": "realstack's PostgreSQL is used; the fixture's host and port say where, and [tool.realstack.postgres] url"
    " names a server of yours",
    "port": "a free port is picked; the fixture's port says which",
}


# the original's parameters, in its order
def postgresql_proc(  # noqa: PLR0913, RUF100
    executable: str | None = None,
    host: str | None = None,
    port: Any = -1,
    user: str | None = None,
    password: str | None = None,
    dbname: str | None = None,
    *,
    options: str = "",
    startparams: str | None = None,
    unixsocketdir: str | None = None,
    postgres_options: str | None = None,
    load: Sequence[Load] | None = None,
    load_autocommit: bool | None = None,
) -> Callable[..., PostgreSQLExecutor]:
    """Return a session fixture: the run's PostgreSQL with a template of its own.

    Args:
        executable: not used.
        host: not used.
        port: not used; anything but ``None`` and -1 is said once.
        user: a superuser of this name is made.
        password: that user's.
        dbname: what the tests' database is called.
        options: of the connections.
        startparams: not used.
        unixsocketdir: not used.
        postgres_options: not used.
        load: SQL files, callables and ``module:function``, run once in the run on the template; callables are called
            with ``host port user dbname password autocommit``.
        load_autocommit: told to the callables.
    """
    where = called_from()
    given = {
        "executable": executable,
        "host": host,
        "port": None if port == -1 else port,
        "startparams": startparams,
        "unixsocketdir": unixsocketdir,
        "postgres_options": postgres_options,
    }

    @pytest.fixture(scope="session")
    def postgresql_proc_fixture(
        request: pytest.FixtureRequest, _realstack: PluginState, _postgres_version: str | None
    ) -> PostgreSQLExecutor:
        config = get_config(request)
        _say_what_is_passed_over(str(request.fixturename), given, config)
        wanted = Wanted(
            fixture=str(request.fixturename),
            where=where,
            user=user or config.user,
            password=password or config.password,
            dbname=dbname or config.dbname,
            maintenance_dbname=config.maintenance_dbname,
            options=options or config.options,
            loads=tuple(load or config.load),
            load_autocommit=config.load_autocommit if load_autocommit is None else load_autocommit,
        )
        executor = PostgreSQLExecutor(wanted, _realstack, version=_postgres_version)
        executor.make_role()
        return executor

    return postgresql_proc_fixture


def postgresql_noproc(
    host: str | None = None,
    port: str | int | None = None,
    user: str | None = None,
    password: str | None = None,
    dbname: str | None = None,
    *,
    maintenance_dbname: str | None = None,
    options: str = "",
    load: Sequence[Load] | None = None,
    load_autocommit: bool | None = None,
    depends_on: str | None = None,
) -> Callable[..., NoopExecutor]:
    """Return a session fixture: the run's PostgreSQL, which is the one of ``[tool.realstack.postgres] url`` if set.

    Args:
        host: not used.
        port: not used.
        user: as in ``postgresql_proc``.
        password: as in ``postgresql_proc``.
        dbname: as in ``postgresql_proc``.
        maintenance_dbname: not used: the fixture's says which.
        options: as in ``postgresql_proc``.
        load: as in ``postgresql_proc``.
        load_autocommit: as in ``postgresql_proc``.
        depends_on: a process fixture whose template this one's begins with.
    """
    where = called_from()

    @pytest.fixture(scope="session")
    def postgresql_noproc_fixture(
        request: pytest.FixtureRequest, _realstack: PluginState, _postgres_version: str | None
    ) -> NoopExecutor:
        config = get_config(request)
        name = str(request.fixturename)
        _say_what_is_passed_over(name, {"host": host, "port": port}, config)
        below: PostgreSQLExecutor | None = request.getfixturevalue(depends_on) if depends_on else None
        base = below.wanted if below else None
        own_dbname = dbname or config.dbname
        wanted = Wanted(
            fixture=name,
            where=where,
            user=user or (base.user if base else config.user),
            password=password or (base.password if base else config.password),
            dbname=f"{own_dbname}_{depends_on}" if depends_on and not dbname else own_dbname,
            maintenance_dbname=maintenance_dbname or config.maintenance_dbname,
            options=options or (base.options if base else config.options),
            loads=tuple(load or config.load),
            load_autocommit=config.load_autocommit if load_autocommit is None else load_autocommit,
        )
        executor = NoopExecutor(wanted, _realstack, version=_postgres_version, base=below)
        executor.make_role()
        return executor

    return postgresql_noproc_fixture


def postgresql(
    process_fixture_name: str,
    dbname: str | None = None,
    isolation_level: "psycopg.IsolationLevel | None" = None,
) -> Callable[..., "Iterator[psycopg.Connection[Any]]"]:
    """Return a fixture: a psycopg connection to this test's own copy of the template.

    Args:
        process_fixture_name: the process fixture.
        dbname: another database than the process fixture's.
        isolation_level: of the connection; ``None`` is the server's.
    """

    @pytest.fixture
    def postgresql_factory(
        request: pytest.FixtureRequest, _realstack: PluginState, _postgres_version: str | None
    ) -> "Iterator[psycopg.Connection[Any]]":
        executor: PostgreSQLExecutor = request.getfixturevalue(process_fixture_name)
        arguments = executor.connection_arguments(dbname)
        import psycopg

        connection = psycopg.connect(**arguments)
        try:
            if isolation_level is not None:
                connection.isolation_level = isolation_level
            yield connection
        finally:
            connection.close()

    return postgresql_factory


def postgresql_async(
    process_fixture_name: str,
    dbname: str | None = None,
    isolation_level: "psycopg.IsolationLevel | None" = None,
) -> Callable[..., "AsyncIterator[psycopg.AsyncConnection[Any]]"]:
    """Return a fixture: the same as ``postgresql`` with psycopg's asynchronous connection; needs pytest-asyncio."""

    @async_fixture("postgresql_async")
    async def postgresql_async_factory(
        request: pytest.FixtureRequest, _realstack: PluginState, _postgres_version: str | None
    ) -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
        executor: PostgreSQLExecutor = request.getfixturevalue(process_fixture_name)
        arguments = executor.connection_arguments(dbname)
        from psycopg import AsyncConnection

        connection = await AsyncConnection.connect(**arguments)
        try:
            if isolation_level is not None:
                await connection.set_isolation_level(isolation_level)
            yield connection
        finally:
            await connection.close()

    fixture: Callable[..., AsyncIterator[psycopg.AsyncConnection[Any]]] = postgresql_async_factory
    return fixture


def _say_what_is_passed_over(fixture: str, given: dict[str, Any], config: PostgreSQLConfig) -> None:
    for name, value in given.items():
        if value is not None:
            say_once(f"{fixture}: {name}={value!r} is passed over: {_WHY[name]}")
    for name in config.ignored:
        why = _WHY.get({"exec": "executable"}.get(short := name.removeprefix("postgresql_"), short), _WHY["port"])
        say_once(f"setting {name} is passed over: {why}")

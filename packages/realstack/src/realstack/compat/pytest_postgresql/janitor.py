"""``DatabaseJanitor`` and ``AsyncDatabaseJanitor``: make a database for a block of code, fill it, drop it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from realstack.compat.pytest_postgresql.loader import Load, build_loader

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

_EXISTS = "SELECT FROM pg_database WHERE datname = %s"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


class _Janitor:
    """What both have in common: the arguments, and the statements."""

    # the original's parameters; its defaults
    def __init__(
        self,
        *,
        user: str,
        host: str,
        port: str | int,
        version: object = None,
        dbname: str,
        template_dbname: str | None = None,
        maintenance_dbname: str = "postgres",
        as_template: bool = False,
        password: str | None = None,
        isolation_level: "psycopg.IsolationLevel | None" = None,
        autocommit: bool = False,
        connection_timeout: int = 60,
    ) -> None:
        """Remember what to make and where.

        Args:
            user: may make databases there.
            host: of the server.
            port: of the server.
            version: not used.
            dbname: the database to make.
            template_dbname: what it is a copy of; sessions in there are ended.
            maintenance_dbname: the database this is done from.
            as_template: make a template of it.
            password: the user's.
            isolation_level: of the janitor's own connection.
            autocommit: told to the loaders.
            connection_timeout: seconds a connection may take.
        """
        self.user, self.host, self.port, self.version = user, host, port, version
        self.dbname, self.template_dbname, self.maintenance_dbname = dbname, template_dbname, maintenance_dbname
        self.as_template, self.password = as_template, password
        self.isolation_level, self.autocommit = isolation_level, autocommit
        self._connection_timeout = connection_timeout

    def is_template(self) -> bool:
        """Tell whether it makes a template."""
        return self.as_template

    def _arguments(self, dbname: str | None) -> dict[str, Any]:
        return {
            "dbname": dbname or self.maintenance_dbname,
            "user": self.user,
            "password": self.password,
            "host": self.host,
            "port": self.port,
            "connect_timeout": self._connection_timeout,
            "autocommit": True,
        }

    def _loader_arguments(self) -> dict[str, Any]:
        names = ("host", "port", "user", "dbname", "password", "autocommit")
        return {name: getattr(self, name) for name in names}

    def _create(self) -> "Composed":
        from psycopg import sql

        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.dbname))
        if self.template_dbname:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(self.template_dbname))
        return statement + sql.SQL(" IS_TEMPLATE = true") if self.as_template else statement

    def _drop(self) -> "list[Composed]":
        from psycopg import sql

        name = sql.Identifier(self.dbname)
        close = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name)
        if self.as_template:
            close = sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name)
        return [close, sql.SQL("DROP DATABASE IF EXISTS {}").format(name)]


class DatabaseJanitor(_Janitor):
    """Makes a database when its block is entered and drops it at the end."""

    def init(self) -> None:
        """Make the database."""
        with self.cursor() as cursor:
            if self.template_dbname:
                cursor.execute(_TERMINATE, (self.template_dbname,))
            cursor.execute(self._create())

    def drop(self) -> None:
        """Drop the database, whoever is connected; nothing happens when there is none."""
        with self.cursor() as cursor:
            if cursor.execute(_EXISTS, (self.dbname,)).fetchone() is None:
                return
            close, drop = self._drop()
            cursor.execute(close)
            cursor.execute(_TERMINATE, (self.dbname,))
            cursor.execute(drop)

    def load(self, load: Load) -> None:
        """Run a SQL file or a callable on the database."""
        build_loader(load)(**self._loader_arguments())

    @contextmanager
    def cursor(self, dbname: str | None = None) -> "Iterator[psycopg.Cursor[Any]]":
        """Give a cursor in *dbname*, by default the maintenance database, that is in no transaction."""
        import psycopg

        with psycopg.connect(**self._arguments(dbname)) as connection:
            if self.isolation_level is not None:
                connection.isolation_level = self.isolation_level
            yield connection.cursor()

    def __enter__(self) -> Self:
        self.init()
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


class AsyncDatabaseJanitor(_Janitor):
    """The same for asynchronous code."""

    async def init(self) -> None:
        """Make the database."""
        async with self.cursor() as cursor:
            if self.template_dbname:
                await cursor.execute(_TERMINATE, (self.template_dbname,))
            await cursor.execute(self._create())

    async def drop(self) -> None:
        """Drop the database, whoever is connected; nothing happens when there is none."""
        async with self.cursor() as cursor:
            await cursor.execute(_EXISTS, (self.dbname,))
            if await cursor.fetchone() is None:
                return
            close, drop = self._drop()
            await cursor.execute(close)
            await cursor.execute(_TERMINATE, (self.dbname,))
            await cursor.execute(drop)

    async def load(self, load: Load) -> None:
        """Run a SQL file or a callable, which may be a coroutine function, on the database."""
        loader = build_loader(load)
        if inspect.iscoroutinefunction(loader):
            await loader(**self._loader_arguments())
        else:
            found = await asyncio.to_thread(loader, **self._loader_arguments())
            if inspect.isawaitable(found):
                await found

    @asynccontextmanager
    async def cursor(self, dbname: str | None = None) -> "AsyncIterator[psycopg.AsyncCursor[Any]]":
        """Give a cursor in *dbname*, by default the maintenance database, that is in no transaction."""
        import psycopg

        async with await psycopg.AsyncConnection.connect(**self._arguments(dbname)) as connection:
            if self.isolation_level is not None:
                await connection.set_isolation_level(self.isolation_level)
            yield connection.cursor()

    async def __aenter__(self) -> Self:
        await self.init()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

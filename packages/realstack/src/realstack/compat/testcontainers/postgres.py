"""``PostgresContainer``: a PostgreSQL server of its own, with the user, password and database asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from realstack.compat import say_once
from realstack.compat.testcontainers._container import Container
from realstack.compat.testcontainers._image import wanted_version
from realstack.errors import CompatRefused

if TYPE_CHECKING:
    from realstack.runtime.run import Run
    from realstack.services.postgres.server import PostgresServer

__all__ = ("PostgresContainer",)

_IMAGES: Final = {
    "postgres": "plain",
    "bitnami/postgresql": "plain",
    "pgvector/pgvector": "pg",
    "ankane/pgvector": "pg",
}
_INIT_FOLDER: Final = "/docker-entrypoint-initdb.d"
_NEED_BYTES: Final = 256 * 1024 * 1024
#: What the kit decides: where the server listens, and where its files are.
_OURS: Final = frozenset({"port", "listen_addresses", "data_directory", "hba_file", "config_file"})
_UNSET: Final[Any] = object()


class PostgresContainer(Container):
    """PostgreSQL as ``testcontainers.postgres.PostgresContainer`` gives it, 0.1 s after ``start``."""

    service = "postgres"
    environment: ClassVar[frozenset[str]] = frozenset(
        {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_HOST_AUTH_METHOD"}
    )

    def __init__(
        self,
        image: str = "postgres:latest",
        port: int = 5432,
        username: str | None = None,
        password: str | None = None,
        dbname: str | None = None,
        driver: str | None = "psycopg2",
        **kwargs: Any,
    ) -> None:
        """Say what is wanted; nothing is started.

        Args:
            image: ``postgres:16-alpine`` wants version 16; images of PostgreSQL and of pgvector are known.
            port: what the container's port is called; ``get_exposed_port`` says where it is.
            username: a superuser; ``POSTGRES_USER``, else ``test``.
            password: asked for by TCP; ``POSTGRES_PASSWORD``, else ``test``.
            dbname: a database; ``POSTGRES_DB``, else ``test``.
            driver: what the URL names after ``postgresql+``; ``None`` for a URL without.
            kwargs: of ``DockerContainer``.
        """
        from realstack.config import read_environment

        super().__init__(image, port=port, **kwargs)
        environ = read_environment()
        self.username: str = username or environ.get("POSTGRES_USER", "test")
        self.password: str = password or environ.get("POSTGRES_PASSWORD", "test")
        self.dbname: str = dbname or environ.get("POSTGRES_DB", "test")
        self.driver = f"+{driver}" if driver else ""

    def get_connection_url(self, host: str | None = None, driver: str | None = _UNSET) -> str:
        """Return the URL of the database.

        Args:
            host: another name of this machine.
            driver: instead of the constructor's; ``None`` for none.
        """
        scheme = "postgresql" + (self.driver if driver is _UNSET else f"+{driver}" if driver else "")
        who = f"{self.username}:{quote(self.password, safe=' +')}"
        where = f"{host or self.get_container_host_ip()}:{self.get_exposed_port(self.port)}"
        return f"{scheme}://{who}@{where}/{self.dbname}"

    def _start(self) -> "PostgresServer":
        from realstack.compat.testcontainers._run import own_run

        settings, files = self._settings(), list(self._init_files())
        server = self._start_server(own_run(), settings)
        try:
            self._fill(server, files)
        except BaseException:
            server.stop()
            raise
        return server

    def _start_server(self, run: "Run", settings: dict[str, str]) -> "PostgresServer":
        from realstack.compat.testcontainers._run import next_name
        from realstack.config import DEFAULT
        from realstack.providers.choice import find_installation
        from realstack.services.postgres.cluster import make_cluster
        from realstack.services.postgres.server import start_postgres

        installation = find_installation(
            "postgres",
            providers=run.config.postgres[DEFAULT].providers,
            version=wanted_version(self.image, _IMAGES),
            extensions=("vector",) if "pgvector" in self.image else (),
            cache=run.config.cache_folder,
            path=run.environ.get("PATH", ""),
        )
        name = next_name("pg")
        folder, self._data = run.new_folder(name), run.new_data_folder(need_bytes=_NEED_BYTES).path
        data = self._data
        cache, log = run.config.cache_folder, folder / "postgres.log"
        make_cluster(installation, data=data, cache=cache, supervisor=run.supervision, log=folder / "initdb.log")
        self._ask_for_password(data)
        return start_postgres(
            installation,
            data=data,
            socket_folder=folder,
            supervisor=run.supervision,
            log=log,
            settings=settings,
            port=self.ports.get(self.port),
            name=name,
            timeout_s=run.config.start_timeout_s,
        )

    def _ask_for_password(self, data: Path) -> None:
        """Let in by TCP whom the image would let in; the kit comes by the socket, in a folder of its own."""
        # takes both kinds of stored passwords, so it is right for every version
        method = self.env.get("POSTGRES_HOST_AUTH_METHOD", "md5")
        lines = [f"{kind} {method}" for kind in ("host all all all", "host replication all all")]
        (data / "pg_hba.conf").write_text("\n".join(["local all all trust", "local replication all trust", *lines, ""]))

    def _fill(self, server: "PostgresServer", files: list[Path]) -> None:
        """Make the user and the database, and run the files of ``/docker-entrypoint-initdb.d``."""
        import dataclasses

        from realstack.isolation.postgres._session import literal, quoted
        from realstack.isolation.postgres.template import run_files

        verb = "ALTER" if self.username == "postgres" else "CREATE"
        user, database = quoted(self.username), quoted(self.dbname)
        rights = "SUPERUSER LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS"
        server.connection.query(f"{verb} ROLE {user} {rights} PASSWORD {literal(self.password)}")
        if self.dbname != "postgres":
            server.connection.query(f"CREATE DATABASE {database} OWNER {user}")
        if files:
            run_files(dataclasses.replace(server.endpoint, user=self.username, database=self.dbname), files)

    def _settings(self) -> dict[str, str]:
        """Return the settings in the command: ``postgres -c fsync=off --max-connections=50``."""
        settings: dict[str, str] = {}
        words = iter(self._command_words())
        for word in words:
            text = next(words, "") if word == "-c" else word.removeprefix("-c" if word[:2] == "-c" else "--")
            name, equals, value = text.partition("=")
            name = name.replace("-", "_")
            if not equals or not word.startswith("-") or name in _OURS:
                raise self._refused_word(
                    text if word == "-c" else word, "write settings as -c name=value; where it listens is realstack's"
                )
            settings[name] = value
        return settings

    def _init_files(self) -> Iterator[Path]:
        for host, inside in self.volumes:
            if not inside.startswith(_INIT_FOLDER):
                raise self._refuse_volume(host, inside, f"SQL files can be given at {_INIT_FOLDER}; settings with -c")
            for file in sorted(host.iterdir()) if host.is_dir() else [host]:
                if file.suffix == ".sql":
                    yield file
                elif file.suffix in (".sh", ".gz", ".xz", ".zst"):
                    why = "realstack runs .sql files only"
                    raise CompatRefused(what=f"init file {str(file)!r}", why=why, remedy="make it a .sql file")
                else:
                    say_once(f"PostgresContainer: {str(file)!r} is passed over, as the image would")

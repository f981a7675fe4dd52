"""``ClickHouseContainer``: embedded ClickHouse, by HTTP, with the user, password and database asked for."""

from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from realstack.compat.testcontainers._container import Container
from realstack.compat.testcontainers._image import wanted_version
from realstack.errors import CompatRefused
from realstack.services.clickhouse.server import EmbeddedClickHouse, create_database, require_engine

if TYPE_CHECKING:
    from pathlib import Path

    from realstack.runtime.run import Run

__all__ = ("ClickHouseContainer",)

_IMAGES: Final = dict.fromkeys(("clickhouse/clickhouse-server", "clickhouse", "yandex/clickhouse-server"), "plain")
_HTTP: Final = 8123
_NEED_BYTES: Final = 256 * 1024 * 1024


class _WithUser(EmbeddedClickHouse):
    """Embedded ClickHouse with a user beside ``default``."""

    login = ("", "")

    def _options(self) -> list[str]:
        user, password = self.login
        return [*super()._options(), "--user", user, "--password", password]


class ClickHouseContainer(Container):
    """ClickHouse as ``testcontainers.clickhouse.ClickHouseContainer`` gives it, without the native protocol."""

    service = "clickhouse"
    environment: ClassVar[frozenset[str]] = frozenset(
        {"CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DB", "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT"}
    )

    def __init__(
        self,
        image: str = "clickhouse/clickhouse-server:latest",
        port: int = 9000,
        username: str | None = None,
        password: str | None = None,
        dbname: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Say what is wanted; nothing is started.

        Args:
            image: its tag wants a version.
            port: 8123 for a URL of the HTTP interface; 9000, the native one, cannot be had.
            username: ``CLICKHOUSE_USER``, else ``test``.
            password: ``CLICKHOUSE_PASSWORD``, else ``test``.
            dbname: ``CLICKHOUSE_DB``, else ``test``.
            kwargs: of ``DockerContainer``.
        """
        from realstack.config import read_environment

        super().__init__(image, port=port, **kwargs)
        environ = read_environment()
        self.username: str = username or environ.get("CLICKHOUSE_USER", "test")
        self.password: str = password or environ.get("CLICKHOUSE_PASSWORD", "test")
        self.dbname: str = dbname or environ.get("CLICKHOUSE_DB", "test")

    def get_exposed_port(self, port: int) -> int:
        """Return the port of the HTTP interface, which is 8123 inside.

        Raises:
            CompatRefused: any other; the native protocol is not spoken.
        """
        server = self._started()
        if int(port) != _HTTP:
            raise CompatRefused(
                what=f"port {port} of {type(self).__name__}({self.image!r})",
                why="realstack's ClickHouse is the engine behind an HTTP interface, without the native protocol",
                remedy=f"ask for get_exposed_port({_HTTP}), with a client that speaks HTTP, such as clickhouse-connect",
            )
        return server.endpoint.port

    def get_connection_url(self, host: str | None = None) -> str:
        """Return the URL of the database; the port is that of the constructor."""
        where = f"{host or self.get_container_host_ip()}:{self.get_exposed_port(self.port)}"
        return f"clickhouse://{self.username}:{quote(self.password, safe=' +')}@{where}/{self.dbname}"

    def _start(self) -> EmbeddedClickHouse:
        from realstack.compat.testcontainers._run import own_run

        if words := self._command_words():
            raise self._refused_word(words[0], "give settings in the queries")
        for path, inside in self.volumes:
            raise self._refuse_volume(path, inside, "run the SQL after start()")
        run = own_run()
        self._data = run.new_data_folder(need_bytes=_NEED_BYTES).path
        server = self._server_in(run, self._data)
        server.start()
        try:
            create_database(server.endpoint, self.dbname)
        except BaseException:
            server.stop()
            raise
        return server

    def _server_in(self, run: "Run", folder: "Path") -> EmbeddedClickHouse:
        from realstack.compat.testcontainers._run import next_name
        from realstack.config import DEFAULT
        from realstack.providers.choice import find_installation

        require_engine()
        installation = find_installation(
            "clickhouse",
            providers=run.config.clickhouse[DEFAULT].providers,
            version=wanted_version(self.image, _IMAGES),
            cache=run.config.cache_folder,
            path=run.environ.get("PATH", ""),
        )
        folder.mkdir(mode=0o700)
        server = _WithUser(
            installation,
            folder=folder,
            supervisor=run.supervision,
            settings={},
            scope="run",
            log=run.new_folder(next_name("clickhouse")) / "clickhouse.log",
            timeout_s=run.config.start_timeout_s,
        )
        server.login = self.username, self.password
        return server

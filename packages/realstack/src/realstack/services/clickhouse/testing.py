"""What a test gets as ``real_clickhouse``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realstack.errors import ServerUnreachable
from realstack.services.clickhouse.client import Client, Parameters

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint


class ClickHouse:
    """This test's own ClickHouse database.

    The methods are coroutines that run a blocking client in a thread, so a test's event loop is never held up and none
    has to match; the ``_sync`` ones are for tests without a loop. The client is the kit's own: it costs no import
    (clickhouse-connect: 0.4 s with numpy and pandas), and typed JSON gives every type a test compares. For anything
    bigger, connect your own client to ``url``.
    """

    def __init__(self, endpoint: "Endpoint", *, reset: Callable[[], object] | None = None) -> None:
        """Offer the database *endpoint* names; *reset* puts it back to its baseline."""
        self.endpoint = endpoint
        self._client = Client(endpoint)
        self._reset = reset

    def __repr__(self) -> str:
        return f"<ClickHouse {self.endpoint.safe_url}>"

    @property
    def url(self) -> str:
        """For any client: ``http://default@127.0.0.1:PORT/test``."""
        return self.endpoint.url

    async def execute(
        self, sql: str, params: Parameters | None = None, *, settings: Mapping[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Carry out *sql* and return its rows; see ``execute_sync``."""
        import asyncio

        return await asyncio.to_thread(self.execute_sync, sql, params, settings=settings)

    async def insert(
        self,
        table: str,
        rows: Iterable[Sequence[Any] | Mapping[str, Any]],
        column_names: Sequence[str] | None = None,
    ) -> int:
        """Insert *rows* into *table*; see ``insert_sync``."""
        import asyncio

        return await asyncio.to_thread(self.insert_sync, table, rows, column_names)

    #: The seeds' name for ``insert``.
    insert_data = insert

    async def ensure_available(self) -> None:
        """Return when the database answers.

        Raises:
            ServerUnreachable: it does not.
        """
        await self.execute("SELECT 1")

    async def reset_database(self) -> None:
        """Put the database back to the state this test found, now instead of after the test."""
        import asyncio

        await asyncio.to_thread(self.reset_database_sync)

    def execute_sync(
        self, sql: str, params: Parameters | None = None, *, settings: Mapping[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Carry out *sql* and return its rows.

        Args:
            sql: one statement, without a FORMAT clause.
            params: a mapping for ``{name:Type}`` or ``%(name)s``, a sequence for ``%s``.
            settings: of this query alone.

        Raises:
            ClickHouseRefused: the server's own error, with its code.
        """
        return self._client.query(sql, params, settings)

    def insert_sync(
        self,
        table: str,
        rows: Iterable[Sequence[Any] | Mapping[str, Any]],
        column_names: Sequence[str] | None = None,
    ) -> int:
        """Insert *rows* (sequences or mappings) into *table* and return how many there were."""
        return self._client.insert_rows(table, rows, column_names=column_names)

    def reset_database_sync(self) -> None:
        """Put the database back to the state this test found."""
        if self._reset is None:
            raise ServerUnreachable(
                service="clickhouse", url=self.endpoint.safe_url, reason="this database has no isolation to reset it"
            )
        self._reset()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

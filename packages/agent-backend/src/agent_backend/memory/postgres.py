"""Memory in PostgreSQL: one row per item in ``qe_memory``, tenant first in every key and index."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from agent_backend.memory.encoding import decode_value, encode_value
from agent_backend.memory.globs import OneCharacter, parse_glob
from agent_backend.memory.model import MemoryItem, PostgresMemoryStats
from agent_backend.memory.rules import (
    DEFAULT_PARTITION,
    DEFAULT_TENANT,
    DEFAULT_TTL_S,
    MAX_PATTERN_CHARACTERS,
    NAMESPACE_PREFIX,
    MemoryScope,
    check_partition,
    check_text,
    check_ttl,
)
from agent_backend.storage.postgres import PostgresDatabase, SqlExecutor

# clock_timestamp() and not now(): the latter stands still inside a transaction, and with it every expiry
_LIVE: Final = "(expires_at IS NULL OR expires_at > clock_timestamp())"
_IN_RANGE: Final = "tenant = $1 AND key >= $2 AND key < $3"

_STORE: Final = """
INSERT INTO qe_memory AS m (tenant, key, namespace, value, partition, expires_at, metadata)
VALUES ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6), $7)
ON CONFLICT (tenant, key) DO UPDATE SET
    namespace = excluded.namespace, value = excluded.value, partition = excluded.partition,
    expires_at = excluded.expires_at, metadata = excluded.metadata,
    created_at = clock_timestamp(), version = nextval('qe_memory_version_seq')
"""
_RETRIEVE: Final = f"SELECT value FROM qe_memory WHERE tenant = $1 AND key = $2 AND {_LIVE}"  # noqa: S608  # constants
_ITEM: Final = (
    "SELECT key, value, partition, created_at, expires_at, version, metadata "  # noqa: S608  # constants only
    f"FROM qe_memory WHERE tenant = $1 AND key = $2 AND {_LIVE}"
)
_SEARCH: Final = f"SELECT key, value FROM qe_memory WHERE {_IN_RANGE} AND {_LIVE} ORDER BY key"  # noqa: S608  # constants
_SEARCH_FILTERED: Final = f"SELECT key, value FROM qe_memory WHERE {_IN_RANGE} AND key ~ $4 AND {_LIVE} ORDER BY key"  # noqa: S608
_LIST: Final = f"SELECT key FROM qe_memory WHERE {_IN_RANGE} AND {_LIVE} ORDER BY key"  # noqa: S608  # constants only
_DELETE: Final = "DELETE FROM qe_memory WHERE tenant = $1 AND key = $2"
_CLEAR: Final = f"DELETE FROM qe_memory WHERE {_IN_RANGE} AND partition = $4"  # noqa: S608  # constants only
_STATS: Final = f"""
SELECT partition, count(*) FILTER (WHERE {_LIVE}) AS live, count(*) FILTER (WHERE NOT {_LIVE}) AS expired,
       coalesce(sum(pg_column_size(value)) FILTER (WHERE {_LIVE}), 0)::bigint AS size_bytes
FROM qe_memory WHERE {_IN_RANGE} GROUP BY partition ORDER BY live DESC, partition
"""  # noqa: S608  # constants only
# statement_timestamp() moves inside a transaction too, and unlike clock_timestamp() it can be looked up in an index
_SWEEP: Final = f"DELETE FROM qe_memory WHERE {_IN_RANGE} AND expires_at <= statement_timestamp()"  # noqa: S608


class PostgresMemory:
    """``MemoryBackend`` on PostgreSQL: durable, and part of your transactions when you want it to be."""

    def __init__(
        self, db_manager: SqlExecutor, *, tenant: str = DEFAULT_TENANT, namespace: str = NAMESPACE_PREFIX
    ) -> None:
        """Keep items in the database behind *db_manager*, which stays its owner's to close.

        Args:
            db_manager: a ``PostgresDatabase``, one of its transactions, or whatever else SQL can be given to.
            tenant: whose items these are.
            namespace: what every key starts with; ends with ``/``.
        """
        self.db = db_manager
        self.scope = MemoryScope(tenant=tenant, namespace=namespace)
        whole = self.scope.range_of("")
        assert whole is not None  # noqa: S101  # every namespace is a range
        self._whole = (tenant, whole.low, whole.high)
        self._owned: PostgresDatabase | None = None

    @classmethod
    def from_url(
        cls,
        database_url: str,
        *,
        max_connections: int = 10,
        tenant: str = DEFAULT_TENANT,
        namespace: str = NAMESPACE_PREFIX,
    ) -> Self:
        """Return a memory with a pool of its own, opened at first use and closed by ``close``."""
        database = PostgresDatabase(database_url, max_connections=max_connections)
        memory = cls(database, tenant=tenant, namespace=namespace)
        memory._owned = database
        return memory

    async def store(
        self,
        key: str,
        value: Any,  # any JSON value
        ttl: float | None = DEFAULT_TTL_S,
        partition: str = DEFAULT_PARTITION,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        await self.db.execute(
            _STORE,
            self.scope.tenant,
            self.scope.check_key(key),
            self.scope.namespace,
            encode_value(value),
            check_partition(partition),
            check_ttl(ttl),
            encode_value(dict(metadata)) if metadata else "{}",
        )

    async def retrieve(self, key: str) -> Any:  # any JSON value
        text = await self.db.fetchval(_RETRIEVE, self.scope.tenant, self.scope.check_key(key))
        return None if text is None else decode_value(text)

    async def item(self, key: str) -> MemoryItem | None:
        row = await self.db.fetchrow(_ITEM, self.scope.tenant, self.scope.check_key(key))
        if row is None:
            return None
        fields = dict(row)
        return MemoryItem(
            **{**fields, "value": decode_value(fields["value"]), "metadata": decode_value(fields["metadata"])}
        )

    async def search(self, pattern: str, *, one_character: OneCharacter = "?") -> dict[str, Any]:
        check_text("pattern", pattern, max_characters=MAX_PATTERN_CHARACTERS)
        glob = parse_glob(pattern, one_character=one_character)
        keys = self.scope.range_of(glob.prefix)
        if keys is None:
            return {}
        where = (self.scope.tenant, keys.low, keys.high)
        if glob.is_prefix_only and keys.low == glob.prefix:
            rows = await self.db.fetch(_SEARCH, *where)
        else:
            rows = await self.db.fetch(_SEARCH_FILTERED, *where, glob.postgres_regex)
        return {row[0]: decode_value(row[1]) for row in rows}

    async def delete(self, key: str) -> None:
        await self.db.execute(_DELETE, self.scope.tenant, self.scope.check_key(key))

    async def clear_partition(self, partition: str) -> None:
        await self.db.execute(_CLEAR, *self._whole, check_partition(partition))

    async def list_keys(self, prefix: str | None = None) -> list[str]:
        keys = self.scope.range_of(prefix or "")
        if keys is None:
            return []
        return [row[0] for row in await self.db.fetch(_LIST, self.scope.tenant, keys.low, keys.high)]

    async def get_stats(self) -> PostgresMemoryStats:
        rows = await self.db.fetch(_STATS, *self._whole)
        size_bytes = sum(row["size_bytes"] for row in rows)
        return PostgresMemoryStats(
            total_keys=sum(row["live"] for row in rows),
            total_expired=sum(row["expired"] for row in rows),
            partitions={row["partition"]: row["live"] for row in rows if row["live"]},
            size_bytes=size_bytes,
            size_mb=round(size_bytes / 1024**2, 2),
        )

    async def cleanup_expired(self) -> int:
        """Delete the rows of this scope that are past their time and return how many they were."""
        status = await self.db.execute(_SWEEP, *self._whole)
        return int(status.rpartition(" ")[2])

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[PostgresMemory]":
        """Give the same memory inside one transaction: all of its body is kept, or none of it when it raises."""
        if not isinstance(self.db, PostgresDatabase):
            raise TypeError(f"{self.db!r} is no PostgresDatabase: nest inside the transaction it already is")
        async with self.db.transaction() as transaction:
            yield PostgresMemory(transaction, **dataclasses.asdict(self.scope))

    async def close(self) -> None:
        if self._owned is not None:
            await self._owned.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

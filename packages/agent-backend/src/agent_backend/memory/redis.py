"""Memory in Redis: a string per item with native expiry, and an index per tenant: listing costs what it lists."""

import asyncio
import functools
import math
from collections.abc import Awaitable, Generator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from agent_backend.memory.encoding import decode_value, encode_value
from agent_backend.memory.globs import OneCharacter, parse_glob
from agent_backend.memory.model import MemoryItem, RedisMemoryStats
from agent_backend.memory.redis_scripts import CLEAR, COUNT, DELETE, LIST, STORE
from agent_backend.memory.rules import (
    DEFAULT_PARTITION,
    DEFAULT_TENANT,
    DEFAULT_TTL_S,
    MAX_PATTERN_CHARACTERS,
    NAMESPACE_PREFIX,
    KeyRange,
    MemoryScope,
    check_partition,
    check_text,
    check_ttl,
)
from agent_backend.storage.redis import RedisDatabase, ping_now

_KEYS_PER_CALL: Final = 2000
_VALUES_PER_CALL: Final = 200
_PING_TIMEOUT_S: Final = 5.0


class RedisMemory:
    """``MemoryBackend`` on Redis: fast, and as durable as that server is set to be."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        password: str | None = None,
        max_connections: int = 10,
        *,
        tenant: str = DEFAULT_TENANT,
        namespace: str = NAMESPACE_PREFIX,
        database: RedisDatabase | None = None,
    ) -> None:
        """Keep items on the Redis at *host*, with a pool of its own, or in *database*, which stays its owner's.

        Without *database* the server is asked for a sign of life at once, which blocks the event loop for that long;
        ``from_url`` does not.

        Args:
            host: name or address of the server.
            port: its port.
            db: its database number.
            password: its password, None when it wants none.
            max_connections: never more; who comes later waits.
            tenant: whose items these are.
            namespace: what every key starts with; ends with ``/``.
            database: an open ``RedisDatabase`` to use in place of all the above.

        Raises:
            StorageUnavailable: nobody answers; it is a ``ConnectionError``.
            LoginRefused: wrong password.
        """
        self.scope = MemoryScope(tenant=tenant, namespace=namespace)
        self._owns_database = database is None
        if database is None:
            url = _url_of(host, port, db, password)
            ping_now(url, timeout_s=_PING_TIMEOUT_S)
            database = RedisDatabase(url, max_connections)
        self.database = database
        # the braces put all keys of a tenant on one node of a cluster; quoted, no tenant's name ends early in another's
        root = "{" + quote(tenant, safe="") + "}:memory:"
        self._slots = root + "value:"
        self._index = tuple(root + name for name in ("keys", "expiries", "partitions", "versions"))
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    def from_url(
        cls,
        redis_url: str,
        *,
        max_connections: int = 10,
        tenant: str = DEFAULT_TENANT,
        namespace: str = NAMESPACE_PREFIX,
    ) -> Self:
        """Return a memory with a pool of its own, opened at first use and closed by ``close``."""
        memory = cls(database=RedisDatabase(redis_url, max_connections), tenant=tenant, namespace=namespace)
        memory._owns_database = True
        return memory

    @property
    def pool(self) -> Any:  # redis-py's
        """The connection pool of redis-py."""
        return self.database.pool

    @property
    def client(self) -> Any:  # redis-py's
        """The asynchronous client of redis-py on the same pool; its answers are texts."""
        return self.database.client

    def slot(self, key: str) -> str:
        """Return the name under which Redis keeps the item *key*: a string, its JSON with everything known of it."""
        return self._slots + self.scope.check_key(key)

    async def store(
        self,
        key: str,
        value: Any,  # any JSON value
        ttl: float | None = DEFAULT_TTL_S,
        partition: str = DEFAULT_PARTITION,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        slot = self.slot(key)
        text = encode_value(value)
        lifetime_s = check_ttl(ttl)
        arguments = (
            slot,
            key,
            text,
            partition,
            _json_of(check_partition(partition)),
            "" if lifetime_s is None else math.ceil(lifetime_s * 1000),
            encode_value(dict(metadata)) if metadata else "{}",
        )
        await self.database.run(STORE, self._index, arguments)

    async def retrieve(self, key: str) -> Any:  # any JSON value
        text = await self.database.ask("GET", self.slot(key))
        return None if text is None else decode_value(text)["value"]

    async def item(self, key: str) -> MemoryItem | None:
        text = await self.database.ask("GET", self.slot(key))
        if text is None:
            return None
        stored = decode_value(text)
        expires_at = stored.pop("expires_at")
        return MemoryItem(
            **{
                **stored,
                "key": key,
                "created_at": datetime.fromtimestamp(stored["created_at"], UTC),
                "expires_at": None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
            }
        )

    async def search(self, pattern: str, *, one_character: OneCharacter = "?") -> dict[str, Any]:
        check_text("pattern", pattern, max_characters=MAX_PATTERN_CHARACTERS)
        glob = parse_glob(pattern, one_character=one_character)
        keys = [key for key in await self._keys_in(self.scope.range_of(glob.prefix)) if glob.matches(key)]
        found: dict[str, Any] = {}
        for start in range(0, len(keys), _VALUES_PER_CALL):
            page = keys[start : start + _VALUES_PER_CALL]
            texts = await self.database.ask("MGET", *(self._slots + key for key in page))
            found.update((key, decode_value(text)["value"]) for key, text in zip(page, texts, strict=True) if text)
        return found

    async def delete(self, key: str) -> None:
        await self.database.run(DELETE, self._index, (self.slot(key), key))

    async def clear_partition(self, partition: str) -> None:
        whole = self._whole()
        head = check_partition(partition) + "\0"
        first, last = f"[{head}{whole.low}", f"({head}{whole.high}"
        # forward only, so that a busy writer cannot keep this from ending
        while cleared := await self.database.run(CLEAR, self._index, (self._slots, first, last, _KEYS_PER_CALL)):
            first = f"({head}{cleared}"

    async def list_keys(self, prefix: str | None = None) -> list[str]:
        return await self._keys_in(self.scope.range_of(prefix or ""))

    async def get_stats(self) -> RedisMemoryStats:
        whole = self._whole()
        while (pairs := await self.database.run(COUNT, self._index, (whole.low, whole.high))) is None:
            pass  # each call sweeps a page of expired items
        counts = {name: count for name, count in zip(pairs[::2], pairs[1::2], strict=True) if count}
        info = await self.database.ask("INFO")
        return RedisMemoryStats(
            total_keys=sum(counts.values()),
            partitions=dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))),
            memory_used=str(info["used_memory_human"]),
            memory_peak=str(info["used_memory_peak_human"]),
            connected_clients=int(info["connected_clients"]),
            keyspace_info={name: dict(figures) for name, figures in info.items() if _is_keyspace(name)},
        )

    async def cleanup_expired(self) -> int:
        """Return 0: Redis sweeps by itself."""
        return 0

    def close(self) -> Awaitable[None]:
        """Disconnect the pool this memory opened itself; safe to call twice.

        A plain call is enough, awaiting it waits until every connection is closed.
        """
        if not self._owns_database:
            return _Done()
        self.database.refuse()
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # connections ended with the loop they belonged to
            return _Done()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self.database.disconnect())
        return self._closing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _whole(self) -> KeyRange:
        whole = self.scope.range_of("")
        assert whole is not None  # noqa: S101  # every namespace is a range
        return whole

    async def _keys_in(self, keys: KeyRange | None) -> list[str]:
        if keys is None:
            return []
        found: list[str] = []
        first, last = f"[{keys.low}", f"({keys.high}"
        while True:
            page = await self.database.run(LIST, self._index, (first, last, _KEYS_PER_CALL))
            if page is None:
                continue  # that call swept a page of expired items, and there are more
            found += page
            if len(page) < _KEYS_PER_CALL:
                return found
            first = f"({page[-1]}"


class _Done:
    """Something to await that is over already."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


@functools.lru_cache(maxsize=256)
def _json_of(partition: str) -> str:
    return encode_value(partition)


def _is_keyspace(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _url_of(host: str, port: int, db: int, password: str | None) -> str:
    who = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{who}{f'[{host}]' if ':' in host else host}:{port}/{db}"

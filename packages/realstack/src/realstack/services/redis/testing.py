"""What the fixtures ``real_redis``, ``redis_client`` and ``redis_manager`` give: redis.asyncio on a real server.

Values come back as ``str`` (``decode_responses=True``): the tests this kit is for compare strings. For bytes, open a
client of your own on the fixture ``redis_url``, or ask for one with ``decode_responses=False``.
"""

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from realstack.errors import DriverMissing, ServerUnreachable
from realstack.services.endpoint import mask_url
from realstack.services.loops import PerLoop, cut_transport

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection


def open_redis_client(url: str, *, decode_responses: bool = True) -> "Redis":
    """Return a ``redis.asyncio.Redis`` that connects on first use, and in every event loop it is used in.

    It is made without a loop. ``await client.aclose()`` closes it inside of its loop, ``close_redis_client`` from
    anywhere.
    """
    redis = _driver()
    pool = _pool_class().from_url(url, decode_responses=decode_responses, **_quiet_options())
    client: Redis = redis.Redis.from_pool(pool)
    return client


def close_redis_client(client: "Redis") -> None:
    """Close every connection of *client* from outside of their loops, which may be closed already."""
    pool: Any = client.connection_pool
    pool.terminate()


class RedisManager:
    """The seeds' manager of a Redis: the commands most tests need, and ``get_client`` for the others.

    Args:
        url: ``redis://...``; holds the password.
        decode_responses: whether values come back as ``str`` instead of ``bytes``.
    """

    def __init__(self, url: str, *, decode_responses: bool = True) -> None:
        self.connection_url = url
        self._client = open_redis_client(url, decode_responses=decode_responses)

    def __repr__(self) -> str:
        return f"<RedisManager {mask_url(self.connection_url)}>"

    async def ensure_available(self) -> None:
        """Return when the server answers.

        Raises:
            ServerUnreachable: it does not; the password is masked.
        """
        from redis.exceptions import RedisError

        try:
            await self.ping()
        except (RedisError, OSError) as error:
            raise ServerUnreachable(service="Redis", url=mask_url(self.connection_url), reason=str(error)) from error

    async def get_client(self) -> "Redis":
        """Return the client itself; it is closed with this manager."""
        return self._client

    async def ping(self) -> bool:
        return bool(await self._client.ping())

    async def set(self, key: str, value: str | bytes | float, ex: int | None = None) -> bool:
        """Set *key*; *ex*: it expires after so many seconds."""
        return bool(await self._client.set(key, value, ex=ex))

    async def get(self, key: str) -> Any:
        """Return the value of *key*, or ``None``."""
        return await self._client.get(key)

    async def delete(self, *keys: str) -> int:
        """Delete *keys* and return how many there were."""
        return int(await self._client.delete(*keys)) if keys else 0

    async def exists(self, key: str) -> bool:
        return bool(await self._client.exists(key))

    async def set_json(self, key: str, value: Mapping[str, Any] | list[Any], ex: int | None = None) -> bool:
        """Set *key* to *value* as JSON."""
        return await self.set(key, json.dumps(value), ex=ex)

    async def get_json(self, key: str) -> Any:
        """Return what ``set_json`` stored under *key*, or ``None``."""
        text = await self.get(key)
        return None if text is None else json.loads(text)

    async def lpush(self, key: str, *values: str | bytes | float) -> int:
        """Put *values* in front of a list, one after the other, and return its length."""
        return int(await self._client.lpush(key, *values))

    async def lrange(self, key: str, start: int, end: int) -> list[Any]:
        """Return a list's elements from *start* to *end*, both included; -1 is the last."""
        return list(await self._client.lrange(key, start, end))

    async def flushdb(self) -> None:
        """Delete every key of this database."""
        await self._client.flushdb()

    async def close(self) -> None:
        """Close every connection; the next command opens a new one."""
        await self._client.aclose()

    def terminate(self) -> None:
        """Close every connection from outside of their loops, which may be closed already; for teardown."""
        close_redis_client(self._client)


def _driver() -> Any:
    """Return the module redis.asyncio; imported here, since it takes 115 ms."""
    try:
        import redis.asyncio
    except ModuleNotFoundError as error:
        raise DriverMissing(package="redis", extra="redis") from error
    return redis.asyncio


def _quiet_options() -> dict[str, Any]:
    """Return the options that keep a client from sending commands of its own, which recorders would show."""
    try:
        from redis.maint_notifications import MaintNotificationsConfig
    except ImportError:  # before redis-py 7
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


@functools.cache
def _pool_class() -> Any:
    """Return a connection pool that keeps one pool per event loop; a class of redis-py's, so it is made late."""
    driver = _driver()

    base: type[Any] = driver.ConnectionPool

    # a class of an optional driver is Any to the type checker
    class LoopPool(base):  # type: ignore[misc]
        """A connection pool whose connections stay in the loop they were opened in."""

        def __init__(self, **options: Any) -> None:
            # first, since the base class calls reset()
            self._loops: PerLoop[Any] = PerLoop(
                lambda: base(**options), close=lambda pool: pool.aclose(), cut=_cut_pool
            )
            super().__init__(**options)

        async def get_connection(self, command_name: str | None = None, *_keys: Any, **_options: Any) -> Any:  # noqa: ARG002
            return await self._loops.get().get_connection()

        async def release(self, connection: "AbstractConnection") -> None:
            await self._loops.get().release(connection)

        async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
            await self._loops.get().disconnect(inuse_connections)

        async def aclose(self) -> None:
            await self._loops.close()

        def terminate(self) -> None:
            self._loops.terminate()

    return LoopPool


def _cut_pool(pool: Any) -> None:
    connections: list[Any] = [*pool._available_connections, *pool._in_use_connections]
    pool.reset()
    for each in connections:
        writer, each._reader, each._writer = each._writer, None, None
        if writer is not None:
            cut_transport(writer.transport)

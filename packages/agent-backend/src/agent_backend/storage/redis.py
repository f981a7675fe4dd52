"""Redis for everything above: one pool of redis-py with hiredis, scripts, typed errors. Redis 6.2 or newer."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Self

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from agent_backend.errors import (
    BackendError,
    LoginRefused,
    PoolExhausted,
    StatementRefused,
    StorageClosed,
    StorageFull,
    StorageTimeout,
    StorageUnavailable,
    WrongEventLoop,
)
from agent_backend.storage.urls import mask_url

_SERVICE: Final = "redis"
#: What a call into redis-py may raise that is not a mistake in our own code.
REDIS_FAILURES: Final = (exceptions.RedisError, OSError, TimeoutError)

_NO_ENTRY = (
    exceptions.AuthenticationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.NoPermissionError,
)
#: Nobody there, or refusals that pass: still loading, no master, read-only during a failover.
_AWAY = (
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    OSError,
)


class RedisScript:
    """A Lua script with the name Redis gives it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisDatabase:
    """One numbered database on a Redis server, reached through a pool that opens its connections as they are needed.

    Nothing is sent twice: a lost connection is an error that says so, and the caller knows whether to repeat. Safe
    under cancellation: a call that is cut short closes its connection, so that nobody reads its reply.
    """

    def __init__(
        self,
        url: str,
        max_connections: int = 10,
        *,
        connect_timeout_s: float = 5.0,
        command_timeout_s: float = 30.0,
        acquire_timeout_s: float = 10.0,
        client_name: str | None = None,
    ) -> None:
        """Note where the database is; nothing is opened before ``connect`` or the first command.

        Args:
            url: ``redis://user:password@host:port/number``, ``rediss://...`` or ``unix:///path?db=number``.
            max_connections: never more; who comes later waits *acquire_timeout_s* seconds.
            connect_timeout_s: seconds a new connection may take.
            command_timeout_s: seconds a command may take.
            acquire_timeout_s: seconds to wait for a free connection.
            client_name: what ``CLIENT LIST`` shows.
        """
        self.max_connections = max_connections
        self._url = url
        self._command_timeout_s, self._acquire_timeout_s = command_timeout_s, acquire_timeout_s
        self._turns = asyncio.Semaphore(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self.pool: redis.asyncio.ConnectionPool = redis.asyncio.ConnectionPool.from_url(
            url,
            max_connections=max_connections,
            decode_responses=True,
            socket_timeout=command_timeout_s,
            socket_connect_timeout=connect_timeout_s,
            retry=Retry(NoBackoff(), 0),
            client_name=client_name,
            # with them, redis-py hands out idle connections that the server has closed (tried with 8.1.0)
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        #: redis-py's own client on the same pool; answers are texts.
        self.client: redis.asyncio.Redis = redis.asyncio.Redis(connection_pool=self.pool)
        self._send: Callable[..., Awaitable[Any]] = self.client.execute_command

    def __repr__(self) -> str:
        return f"<RedisDatabase {self.safe_url}>"

    @property
    def safe_url(self) -> str:
        """Where it is, with the password masked."""
        return mask_url(self._url)

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Prove that the server answers.

        Raises:
            StorageUnavailable: nobody answers.
            LoginRefused: wrong user or password.
        """
        self._is_closed = False
        await self.ask("PING")

    async def disconnect(self) -> None:
        """Close every connection; safe to call twice. Calls under way fail with ``StorageUnavailable``."""
        self.refuse()
        await self.pool.disconnect()

    def refuse(self) -> None:
        """Answer every further call with ``StorageClosed``: what can be done of ``disconnect`` without waiting."""
        self._is_closed = True

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ask(self, *command: str | int | float) -> Any:  # whatever the command answers
        """Send one command and return its answer, as redis-py parses it.

        Raises:
            StorageUnavailable: the server cannot be reached, or was lost before it answered.
            StorageTimeout: no answer in time.
            PoolExhausted: no connection became free in time; nothing was sent.
            StatementRefused: the server said no; carries its error word.
        """
        self._check_usable()
        await (self._wait_for_turn() if self._turns.locked() else self._turns.acquire())
        try:
            return await self._send(*command)
        except REDIS_FAILURES as error:
            raise self.translate(error) from error
        finally:
            self._turns.release()

    async def run(self, script: RedisScript, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Run *script*, which Redis does as a whole or not at all, and return its answer."""
        self._check_usable()
        await (self._wait_for_turn() if self._turns.locked() else self._turns.acquire())
        try:
            try:
                return await self._send("EVALSHA", script.sha, len(keys), *keys, *args)
            except exceptions.NoScriptError:  # new server, or someone flushed its scripts: EVAL leaves it there
                return await self._send("EVAL", script.source, len(keys), *keys, *args)
        except REDIS_FAILURES as error:
            raise self.translate(error) from error
        finally:
            self._turns.release()

    def translate(self, error: Exception) -> BackendError:
        """Return what to raise in place of redis-py's *error*."""
        where = {"service": _SERVICE, "url": self.safe_url}
        if isinstance(error, BackendError):
            return error
        if isinstance(error, exceptions.MaxConnectionsError):
            return PoolExhausted(**where, size=self.max_connections, waited_s=0.0)
        if isinstance(error, _NO_ENTRY):
            return LoginRefused(**where, reason=str(error))
        if isinstance(error, TimeoutError | exceptions.TimeoutError):
            return StorageTimeout(**where, waited_s=self._command_timeout_s)
        if isinstance(error, _AWAY):
            return StorageUnavailable(**where, reason=str(error) or type(error).__name__)
        if isinstance(error, exceptions.OutOfMemoryError) or "-OOM " in str(error):  # the latter inside a script
            return StorageFull(**where, reason=str(error))
        code = str(error).partition(" ")[0]
        return StatementRefused(service=_SERVICE, code=code if code.isupper() else "ERR", message=str(error))

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StorageClosed(service=_SERVICE)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise WrongEventLoop(service=_SERVICE)
            self._loop = loop

    async def _wait_for_turn(self) -> Literal[True]:
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                return await self._turns.acquire()
        except TimeoutError as error:
            raise PoolExhausted(
                service=_SERVICE, url=self.safe_url, size=self.max_connections, waited_s=self._acquire_timeout_s
            ) from error


def ping_now(url: str, *, timeout_s: float) -> None:
    """Ask the server at *url* for a sign of life, without an event loop, and return when it gave one.

    Raises:
        StorageUnavailable: nobody answers; it is a ``ConnectionError``.
        LoginRefused: wrong user or password.
    """
    client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    try:
        client.ping()
    except exceptions.AuthenticationError as error:
        raise LoginRefused(service=_SERVICE, url=mask_url(url), reason=str(error)) from error
    except (exceptions.RedisError, OSError) as error:
        raise StorageUnavailable(service=_SERVICE, url=mask_url(url), reason=str(error)) from error
    finally:
        client.close()

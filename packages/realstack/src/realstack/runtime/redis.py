"""Redis as one test process uses it: a server of its own, put back after each test."""

import os
from typing import TYPE_CHECKING

from realstack._core.sockets import holds_port
from realstack.abc import Isolation, ResetOutcome, Server
from realstack.errors import ServerDied
from realstack.isolation.redis import Client, ResetIsolation
from realstack.providers.choice import find_installation
from realstack.runtime.foreign import foreign_redis
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.services.redis.server import start_redis

if TYPE_CHECKING:
    import redis.asyncio


class RedisService(WorkerService):
    """A Redis server for this process alone; nothing of it can leak into another's tests."""

    def __init__(self, key: ServiceKey, run: Run) -> None:
        super().__init__(key)
        self._run = run
        self._config = run.config.redis[key.instance]

    @property
    def url(self) -> str:
        """What a client connects with."""
        return self.endpoint.url

    def _start(self) -> tuple[Server, Isolation]:
        if (foreign := foreign_redis(self._run, self._config, self.key)) is not None:
            return foreign
        installation = find_installation(
            "redis",
            providers=self._config.providers,
            version=self.key.version or self._config.version,
            cache=self._run.config.cache_folder,
            path=self._run.environ.get("PATH", os.defpath),
        )
        server = start_redis(
            installation,
            folder=self._run.folder / f"{self.key.label}-{os.getpid()}",
            supervisor=self._run.supervision,
            settings=self._config.settings,
            scope="client",
            timeout_s=self._run.config.start_timeout_s,
        )
        return server, ResetIsolation(server, spare=self._is_apps)

    def end(self) -> ResetOutcome | None:
        try:
            return super().end()
        except ServerDied:
            if isinstance(self._isolation, ResetIsolation):
                self._isolation.recover()
            raise

    def open_client(self, **options: object) -> "redis.asyncio.Redis":
        from realstack.services.redis.testing import open_redis_client

        return open_redis_client(self.url, **options)  # type: ignore[arg-type]  # its own options, passed through

    def close_client(self, client: "redis.asyncio.Redis") -> None:
        from realstack.services.redis.testing import close_redis_client

        close_redis_client(client)

    def _is_apps(self, client: Client) -> bool:
        """A pool of the app under test that grew during the test is not the test's leak."""
        port = client.address.rpartition(":")[2]
        return port.isdigit() and any(holds_port(pid, int(port)) for pid in self._run.app_pids())

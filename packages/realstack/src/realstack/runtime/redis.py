"""Redis as one test process uses it: a server of its own, put back after each test."""

import itertools
import os
from typing import TYPE_CHECKING, cast

from realstack._core.sockets import holds_port
from realstack.abc import Isolation, ResetOutcome, Server
from realstack.errors import NoEmptyDatabase, RedisRefused, ServerDied
from realstack.isolation.redis import Client, ResetIsolation
from realstack.isolation.redis.claimed import ClaimedIsolation
from realstack.isolation.redis.process import ProcessIsolation
from realstack.isolation.redis.reset import RestartableServer
from realstack.providers.choice import find_installation
from realstack.providers.foreign import claim_redis
from realstack.runtime.foreign import attach_by_url, journal_of, or_container, passed_over
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.services.endpoint import Endpoint
from realstack.services.redis.server import RedisServer, start_redis

if TYPE_CHECKING:
    import redis.asyncio


class RedisService(WorkerService):
    """A Redis server for this process alone; nothing of it can leak into another's tests."""

    def __init__(self, key: ServiceKey, run: Run) -> None:
        super().__init__(key)
        self._run = run
        self._config = run.config.redis[key.instance]
        self._numbers = itertools.count()

    @property
    def url(self) -> str:
        """What a client connects with."""
        return self.endpoint.url

    @property
    def endpoint(self) -> Endpoint:
        """Where the present test reaches it: with ``process``, another place in each."""
        self.start()
        if isinstance(self._isolation, ClaimedIsolation | ProcessIsolation):
            return self._isolation.endpoint
        return self.server.endpoint

    def _start(self) -> tuple[Server, Isolation]:
        attached = attach_by_url(self._run, self._config, self.key)
        self.note = attached.note
        if attached.server is not None:
            try:
                return attached.server, self._claim(attached.server)
            except (NoEmptyDatabase, RedisRefused) as error:
                if not self._config.url_is_hint:
                    raise
                self.note = passed_over(self._run, self.key, error)
        if self._strategy == "process":
            isolation = ProcessIsolation(self._start_local)
            return isolation.server, isolation
        server = or_container(self._run, self._config, self.key, self._start_local)
        # a container's server can be restarted and cleared as ours can
        return server, ResetIsolation(cast(RestartableServer, server), spare=self._is_apps)

    def end(self) -> ResetOutcome | None:
        try:
            return super().end()
        except ServerDied:
            if isinstance(self._isolation, ResetIsolation):
                self._isolation.recover()
            raise

    def _claim(self, server: Server) -> ClaimedIsolation:
        journal = journal_of(self._run, self.key.label)
        claim = claim_redis(server.endpoint, run=self._run.folder.name, journal=journal)
        return ClaimedIsolation(claim, version=server.version)

    def _start_local(self) -> RedisServer:
        installation = find_installation(
            "redis",
            providers=self._config.providers,
            version=self.key.version or self._config.version,
            cache=self._run.config.cache_folder,
            path=self._run.environ.get("PATH", os.defpath),
        )
        return start_redis(
            installation,
            folder=self._run.folder / f"{self.key.label}-{os.getpid()}-{next(self._numbers)}",
            supervisor=self._run.supervision,
            settings=self._config.settings,
            scope="client",
            timeout_s=self._run.config.start_timeout_s,
        )

    @property
    def _strategy(self) -> str:
        wanted = self._config.isolation or self._run.config.isolation
        return wanted if wanted == "process" else "reset"

    def _isolation_name(self) -> str:
        return "claimed" if isinstance(self._isolation, ClaimedIsolation) else self._strategy

    def open_client(self, **options: object) -> "redis.asyncio.Redis":
        from realstack.services.redis.testing import open_redis_client

        return open_redis_client(self.url, **options)  # type: ignore[arg-type]  # its own options, passed through

    def close_client(self, client: "redis.asyncio.Redis") -> None:
        from realstack.services.redis.testing import close_redis_client

        close_redis_client(client)

    def _is_apps(self, client: Client) -> bool:
        """A pool that grew during the test is not its leak when the app under test or a wider fixture holds it."""
        if self._run.pools["redis"] > 0 and client.state in ("connection", "blocked"):
            return True
        port = client.address.rpartition(":")[2]
        return port.isdigit() and any(holds_port(pid, int(port)) for pid in self._run.app_pids())

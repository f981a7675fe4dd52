"""ClickHouse as one test process uses it: a database of its own on the run's embedded engine or on a server by URL."""

import dataclasses
import os
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.logtail import tail
from realstack.abc import Isolation, ResetOutcome, Server
from realstack.errors import ServerDied
from realstack.isolation.clickhouse import ClickHouseIsolation
from realstack.providers.choice import find_installation
from realstack.runtime.clickhouse_files import run_files
from realstack.runtime.foreign import attach_by_url, or_container, share_attached
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.runtime.sharing import SharedServer, share_server
from realstack.runtime.slots import Slot, take_slot
from realstack.services.clickhouse.server import create_database, drop_database, start_embedded
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from realstack.services.clickhouse.testing import ClickHouse

_NEED_BYTES = 256 * 1024 * 1024


class ClickHouseService(WorkerService):
    """One database for this process alone, on an engine all processes of the run share."""

    def __init__(self, key: ServiceKey, run: Run) -> None:
        super().__init__(key)
        self._run = run
        self._config = run.config.clickhouse[key.instance]
        self._slot: Slot | None = None

    @property
    def url(self) -> str:
        """What a client connects with."""
        return self.endpoint.url

    def open_client(self, **options: object) -> "ClickHouse":
        from realstack.services.clickhouse.testing import ClickHouse

        del options
        return ClickHouse(self.endpoint)

    def close_client(self, client: "ClickHouse") -> None:
        client.close()

    def _start(self) -> tuple[Server, Isolation]:
        attached = attach_by_url(self._run, self._config, self.key)
        self.note = attached.note
        if attached.server is not None:
            shared = share_attached(self._run, attached.server, self.key)
            return shared, self._fill(shared.endpoint, is_embedded=False)
        shared = share_server(self._run.folder, self._label, self._begin_server, timeout_s=120.0)
        self.note = self.note or str(shared.facts.get("note", ""))
        self._slot = self._slot or take_slot(self._run.folder, f"{self._label}.{self.key.instance}")
        name = self._config.database if self._slot.number == 0 else f"{self._config.database}_{self._slot.number}"
        endpoint = shared.endpoint.with_database(name)
        drop_database(endpoint)
        create_database(shared.endpoint, name)
        server = dataclasses.replace(shared, endpoint=endpoint)
        return server, self._fill(endpoint, is_embedded=bool(shared.facts["is_embedded"]))

    def _fill(self, endpoint: Endpoint, *, is_embedded: bool) -> ClickHouseIsolation:
        run_files(endpoint, (*self._config.schema, *self._config.seed))
        return ClickHouseIsolation(endpoint, is_embedded=is_embedded)

    def begin(self, test: str) -> None:
        """Begin *test*; on a fresh engine if the last one died."""
        if not self.server.is_alive():
            super().close()
            self.start()
        super().begin(test)

    def end(self) -> ResetOutcome | None:
        try:
            return super().end()
        except Exception as error:
            # a dead engine explains whatever a broken connection raised; anything else is shown as it is
            server = self.server
            if server.is_alive():
                raise
            log = tail(server.log) if server.log else "(no log: the server is not ours)"
            raise ServerDied(service=self.key.label, version=server.version, exit_code=None, log_tail=log) from error

    def close(self) -> None:
        super().close()
        if self._slot is not None:
            self._slot.close()
            self._slot = None

    @property
    def _label(self) -> str:
        # instances with settings or a version of their own would need an engine of their own; the rest share one
        own = bool(self._config.settings) and self.key.instance != "default"
        return self.key.label if own else "clickhouse"

    def _begin_server(self) -> SharedServer:
        server = or_container(self._run, self._config, self.key, self._start_local)
        if isinstance(server, SharedServer):
            return server
        return SharedServer(
            endpoint=server.endpoint,
            version=server.version,
            provider=server.provider,
            log=None,
            started_in_s=server.started_in_s,
            pid=None,
            facts={"is_embedded": False},
        )

    def _start_local(self) -> SharedServer:
        began = SYSTEM_CLOCK.now_s()
        installation = find_installation(
            "clickhouse",
            providers=self._config.providers,
            version=self.key.version or self._config.version,
            cache=self._run.config.cache_folder,
            path=self._run.environ.get("PATH", os.defpath),
        )
        place = self._run.new_data_folder(need_bytes=_NEED_BYTES)
        server = start_embedded(
            installation,
            folder=place.path,
            supervisor=self._run.supervision,
            settings=self._config.settings,
            timeout_s=self._run.config.start_timeout_s,
            log=self._run.new_folder(self._label) / "clickhouse.log",
        )
        return SharedServer(
            endpoint=server.endpoint,
            version=server.version,
            provider=server.provider,
            log=server.log,
            started_in_s=SYSTEM_CLOCK.now_s() - began,
            pid=server.pid,
            facts={"note": "" if place.in_memory else f"data on disk: {place.reason}", "is_embedded": True},
        )

"""PostgreSQL as one test process uses it: a database of its own on the run's server, put back after each test."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from realstack._core.digest import digest_of
from realstack._core.sockets import holds_port
from realstack.abc import Isolation, ResetOutcome, Server
from realstack.errors import ServerDied
from realstack.isolation.postgres import Strategy, open_isolation
from realstack.isolation.postgres.auto import AutoIsolation
from realstack.isolation.postgres.clone import ClonePool
from realstack.isolation.postgres.template import clone_database, copy_database, drop_database, end_sessions
from realstack.runtime.foreign import attach_by_url, or_container, share_attached
from realstack.runtime.plan import DatabasePlan, plan_server
from realstack.runtime.postgres_server import build_database, start_server
from realstack.runtime.prepared import await_parts
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.runtime.sharing import SharedServer, last_known, share_server
from realstack.runtime.slots import Slot, others_hold, take_slot
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.log import tail
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.postgres.testing import Postgres

#: Another process may be building the template: migrations can take minutes.
_SHARE_TIMEOUT_S = 660.0
_KEEP_TIMEOUT_S = 30.0
_TEMPLATES_TIMEOUT_S = 60.0


class PostgresService(WorkerService):
    """One database for this process alone, on a server all processes of the run share."""

    def __init__(self, key: ServiceKey, run: Run) -> None:
        super().__init__(key)
        self._run = run
        self._plan = plan_server(run.config, instance=key.instance, version=key.version)
        self._config = run.config.postgres[key.instance]
        self._slot: Slot | None = None
        self._pool: ClonePool | None = None

    # --- where --------------------------------------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """The URL of this process's database, for any client."""
        return self.endpoint.url

    @property
    def endpoint(self) -> Endpoint:
        """This process's own database, by TCP; its socket is known too."""
        return self.server.endpoint

    def open_client(self, **options: Any) -> "Postgres":
        """Return an asyncpg-based client, which connects on first use in the loop that runs then.

        Args:
            options: of ``Postgres``; ``single_connection=True`` keeps everything in one transaction.
        """
        from realstack.services.postgres.testing import Postgres

        self.start()
        if self._strategy == "transaction":
            options.setdefault("single_connection", True)
        if isinstance(self._isolation, AutoIsolation):
            if self._isolation.strategy == "transaction":
                options.setdefault("single_connection", True)
            if options.get("single_connection"):
                self._isolation.saw("one transaction")
        return Postgres(self.dsn, socket_dsn=self.endpoint.socket_url, reset=self._reset_now, **options)

    def news(self) -> tuple[str, ...]:
        """Return what ``auto`` decided for the next run."""
        return self._isolation.news() if isinstance(self._isolation, AutoIsolation) else ()

    def log_of_test(self, *, lines: int = 8) -> str:
        if not self.log:
            return super().log_of_test(lines=lines)
        return tail(self.log, lines=lines, since_bytes=self._log_at, database=self.endpoint.database)

    # --- life ---------------------------------------------------------------------------------------------------------

    def _start(self) -> tuple[Server, Isolation]:
        attached = attach_by_url(self._run, self._config, self.key)
        shared = share_server(
            self._run.folder,
            self._plan.label if attached.server is None else self.key.label,
            lambda: self._begin_server(attached.server),
            timeout_s=_SHARE_TIMEOUT_S,
        )
        self.note = attached.note or str(shared.facts.get("note", ""))
        self._slot = self._slot or take_slot(self._run.folder, f"{self._plan.label}.{self.key.instance}")
        admin, template = self._place(shared)
        server = dataclasses.replace(shared, endpoint=self._take_database(shared, admin, template))
        self._pool = ClonePool(
            admin,
            template,
            eager=self._strategy == "clone",
            stem=str(shared.facts.get("anchor", "realstack")),
            ready=lambda: self._await_templates(shared),
        )
        isolation = open_isolation(
            self._strategy,
            server.endpoint,
            pool=self._pool,
            ours=shared.pid is not None,
            memory=self._run.config.cache_folder / "strategies" / f"{digest_of([str(self._run.config.root)])}.json",
            verifying=self._run.config.verify_isolation,
            spare=self._is_apps,
            alone=self._is_alone,
        )
        return server, isolation

    def _begin_server(self, attached: Server | None) -> SharedServer:
        """Start the run's server, or prepare a place of its own on one that is not ours."""
        if attached is None:
            dead = last_known(self._run.folder, self._plan.label)
            port = dead.endpoint.port if dead else None
            attached = or_container(
                self._run, self._config, self.key, lambda: start_server(self._run, self._plan, port=port)
            )
        if isinstance(attached, SharedServer):
            return attached
        shared = share_attached(self._run, attached, self.key)
        anchor = str(shared.facts["anchor"])
        with Connection(shared.endpoint) as connection:
            track = connection.parameters.get("is_superuser") == "on"
        template = f"{anchor}_template"
        build_database(shared.endpoint, self._database_plan, run=self._run, template=template, first=None, track=track)
        return shared

    def _place(self, shared: SharedServer) -> tuple[Endpoint, str]:
        """Return the database the kit administers from, and the template."""
        if anchor := shared.facts.get("anchor"):
            return shared.endpoint, f"{anchor}_template"
        return shared.endpoint.with_database("postgres"), self._database_plan.template

    def begin(self, test: str) -> None:
        """Note who is connected before *test*; on a fresh server if the last one died."""
        if not self.server.is_alive():
            self._let_go()
            self.start()
        super().begin(test)

    def end(self) -> ResetOutcome | None:
        try:
            return super().end()
        except Exception as error:
            # a dead server explains whatever a broken connection raised; anything else is shown as it is
            if self.server.is_alive():
                raise
            raise self._died() from error

    def keep(self, test: str) -> ResetOutcome | None:
        """Copy what the failed *test* left into a database of its own, then put the test's database back."""
        admin = self.server.endpoint.with_database("postgres")
        own = self._pool.stem if self._pool and self.log is None else ""  # on a foreign server it goes with the run
        number = f"{self._slot.number if self._slot else 0}_{len(self.kept) + 1}"
        name = f"{own}_kept_{self.key.label}_{number}".replace("-", "_").lstrip("_")
        with Connection(admin) as connection:
            end_sessions(connection, self.endpoint.database or "")
            copy_database(connection, self.endpoint.database or "", name, timeout_s=_KEEP_TIMEOUT_S)
        self.kept.append((test, admin.with_database(name).safe_url))
        if self._isolation is None:
            return None
        outcome = self._isolation.reset()
        self.resets_s.append(outcome.seconds)
        return outcome

    def close(self) -> None:
        self._let_go()
        if self._slot is not None:
            self._slot.close()
            self._slot = None

    def _let_go(self) -> None:
        super().close()
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _database_plan(self) -> DatabasePlan:
        return next(plan for plan in self._plan.databases if plan.instance == self.key.instance)

    @property
    def _strategy(self) -> Strategy:
        wanted = self._config.isolation or self._run.config.isolation
        # a server for each test is offered by Redis only
        return "reset" if wanted == "process" else cast(Strategy, wanted)

    def _isolation_name(self) -> str:
        return self._strategy

    def _take_database(self, shared: SharedServer, admin: Endpoint, template: str) -> Endpoint:
        """Return a database that is at its baseline and nobody else's."""
        assert self._slot is not None  # noqa: S101  taken by the caller
        anchor = shared.facts.get("anchor")
        number = self._slot.number
        name = f"{anchor}_{number}" if anchor else self._database_plan.database_of(number)
        if name not in shared.facts.get("prepared", ()) or self._slot.was_abandoned:
            self._await_templates(shared)
            drop_database(admin, name)
            clone_database(admin, template, name=name)
        return admin.with_database(name)

    def _await_templates(self, shared: SharedServer) -> None:
        """Return when the templates are in place: they are unpacked while the first test runs already."""
        if data := shared.facts.get("data"):
            await_parts(Path(str(data)), timeout_s=_TEMPLATES_TIMEOUT_S)

    def _is_apps(self, port: int) -> bool:
        """A pool that grew during the test is not its leak when the app under test or a wider fixture holds it."""
        return self._run.pools["postgres"] > 0 or any(holds_port(pid, port) for pid in self._run.app_pids())

    def _is_alone(self) -> bool:
        """Tell whether no other process of the run, and no other instance, has a database on this server."""
        own = self._slot.path if self._slot else self._run.folder
        return not others_hold(self._run.folder, f"{self._plan.label}.*.slot", own)

    def _reset_now(self) -> None:
        self.end()
        self.begin("after reset_database")

    def _died(self) -> ServerDied:
        server = self.server
        log = tail(server.log) if server.log else "(no log: the server is not ours)"
        return ServerDied(service=self.key.label, version=server.version, exit_code=None, log_tail=log)

"""Further databases and Redis servers of a run that no configuration names: a template made of steps, copies of it.

What is added here is a service of the stack like any other: begun, reset, verified and closed with the rest.
"""

import dataclasses
from collections.abc import Mapping

from realstack._core.digest import digest_of
from realstack._core.filelock import locked
from realstack.abc import Isolation, Server
from realstack.config import DEFAULT
from realstack.errors import SqlFailed
from realstack.isolation.postgres._session import literal, quoted
from realstack.isolation.postgres.template import Step, build_template, clone_database, drop_database, template_name
from realstack.runtime.plan import DatabasePlan
from realstack.runtime.postgres import PostgresService
from realstack.runtime.redis import RedisService
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.runtime.sharing import SharedServer
from realstack.runtime.slots import take_slot
from realstack.runtime.stack import Stack
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection

#: Somebody else's steps may be running: they can take minutes.
_BUILD_TIMEOUT_S = 660.0
#: Another process made the role at the same moment: "duplicate object", "unique violation".
_THERE_ALREADY = ("42710", "23505")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExtraDatabase:
    """A database beside the configured ones, on the default instance's server."""

    #: What it is told apart by in this run; the same in each of its processes.
    name: str
    #: What it is called; where processes share the run, each has a copy with a number after that.
    database: str
    #: Everything that decides what is in the template.
    made_of: tuple[str, ...] = ()
    #: Fill the template, in order and as the role; run once in the whole run.
    steps: tuple[Step, ...] = ()
    #: A superuser that is to exist, with its password; ``None``: nobody but ``postgres``.
    role: tuple[str, str | None] | None = None


class ExtraPostgresService(PostgresService):
    """This process's own copy of an extra database, put back after each test."""

    def __init__(self, extra: ExtraDatabase, run: Run, *, version: str | None = None, alone: bool = True) -> None:
        super().__init__(ServiceKey("postgres", DEFAULT, version), run)
        self.key = ServiceKey("postgres", extra.name, version)
        self._extra, self._alone = extra, alone
        self._template = self._anchor = ""

    @property
    def template(self) -> str:
        """The name of the template on the server."""
        self.start()
        return self._template

    @property
    def maintenance_database(self) -> str:
        """A database that is always there and nobody's own: where others are made and dropped from."""
        self.start()
        return self._anchor or "postgres"

    @property
    def is_ours(self) -> bool:
        """True when the server is the run's own, so that roles may be made on it and names chosen freely."""
        self.start()
        return not self._anchor

    def _start(self) -> tuple[Server, Isolation]:
        # counted by the name of the database, so that no two of this run are called alike
        name = f"{self._plan.label}.extra-{digest_of([self._extra.database])}"
        self._slot = self._slot or take_slot(self._run.folder, name)
        own, self.key = self.key, ServiceKey("postgres", DEFAULT, self.key.version)  # whose server it shares
        try:
            return super()._start()
        finally:
            self.key = own

    @property
    def _database_plan(self) -> DatabasePlan:
        return next(plan for plan in self._plan.databases if plan.instance == DEFAULT)

    def _place(self, shared: SharedServer) -> tuple[Endpoint, str]:
        self._await_templates(shared)
        admin, _ = super()._place(shared)
        made = template_name(("extra", self._extra.name, *self._extra.made_of))
        self._anchor = str(shared.facts.get("anchor", ""))
        self._template = f"{self._anchor}_{made[-8:]}" if self._anchor else made
        with locked(self._run.folder / f"{self._plan.label}-{self._template}.lock", timeout_s=_BUILD_TIMEOUT_S):
            build_template(admin, self._template, [self._ensure_role, *map(self._as_role, self._extra.steps)])
        return admin, self._template

    def _take_database(self, shared: SharedServer, admin: Endpoint, template: str) -> Endpoint:
        del shared
        assert self._slot is not None  # noqa: S101  taken by _start
        name = self._free_name(self._slot.number)
        drop_database(admin, name)
        endpoint = clone_database(admin, template, name=name)
        self._ensure_role(endpoint)
        return endpoint

    def _free_name(self, number: int) -> str:
        """Return the wanted name, with a number when other processes may want it, too.

        Nobody has the plain name then: a test that wrote it down fails, instead of meeting another process's data.
        """
        wanted = self._extra.database
        if self._anchor:  # on a server that is not ours, only names under the run's own are known to be free
            return f"{self._anchor}_{digest_of([wanted], length=6)}_{number}"
        if any(wanted == plan.database for plan in self._plan.databases):
            wanted = f"{wanted}_extra"
        return wanted if number == 0 and self._alone else f"{wanted}_{number}"

    def _ensure_role(self, endpoint: Endpoint) -> None:
        """Make the role in a session of this database's own: the log then says whose it is, and others let it be."""
        role = self._extra.role
        if role is not None and role[0] != endpoint.user and not self._anchor:
            ensure_role(endpoint, *role)

    def _as_role(self, step: Step) -> Step:
        """Return *step* with what it makes belonging to the role, where there is one."""
        role = self._extra.role
        if role is None or self._anchor:
            return step
        user, password = role
        return lambda endpoint: step(dataclasses.replace(endpoint, user=user, password=password))


def ensure_role(endpoint: Endpoint, user: str, password: str | None) -> None:
    """Have a superuser *user* with *password* on the server of *endpoint*."""
    options = f"SUPERUSER LOGIN PASSWORD {literal(password) if password else 'NULL'}"
    with Connection(endpoint) as connection:
        if connection.query("SELECT FROM pg_roles WHERE rolname = $1", user):
            return
        try:
            connection.query(f"CREATE ROLE {quoted(user)} {options}")
        except SqlFailed as error:
            if error.sqlstate not in _THERE_ALREADY:
                raise


def add_database(stack: Stack, extra: ExtraDatabase, *, version: str | None = None) -> ServiceKey:
    """Make *extra* known to *stack*, which starts it on first use; nothing happens when it is known."""
    key = ServiceKey("postgres", extra.name, version)
    if key not in stack._services:
        _add(stack, ExtraPostgresService(extra, stack.run, version=version, alone=stack.is_owner))
    return key


def add_redis(stack: Stack, name: str, *, settings: Mapping[str, str]) -> ServiceKey:
    """Make a further Redis server known to *stack*: the default instance's configuration with *settings* on top."""
    key = ServiceKey("redis", name)
    if key not in stack._services:
        config = stack.run.config
        default = config.redis[DEFAULT]
        own = dataclasses.replace(default, settings={**default.settings, **settings})
        instances = {**config.redis, name: own}
        run = dataclasses.replace(stack.run, config=dataclasses.replace(config, redis=instances))
        _add(stack, RedisService(key, run))
    return key


def _add(stack: Stack, service: WorkerService) -> None:
    # a stack makes its services from the configuration; this is the one other way in
    stack._services.setdefault(service.key, service)

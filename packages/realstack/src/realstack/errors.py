"""Every error the kit raises on purpose: one tree, one section per room.

An error carries fields, not only text: handlers and tests look at ``error.template``, never at words in a message.
"""

import dataclasses
import functools
from typing import Any, ClassVar


@dataclasses.dataclass(eq=False, kw_only=True)
class RealstackError(Exception):
    """Base of every error the kit raises on purpose.

    A subclass is a dataclass with ``problem`` (what is so) and ``hint`` (what to do), both formatted with ``self``.
    """

    problem: ClassVar[str]
    hint: ClassVar[str] = ""

    def __str__(self) -> str:
        text = self.problem.format(self=self)
        hint = self.hint.format(self=self)
        return f"{text}\n  Try: {hint}" if hint else text

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return functools.partial(type(self), **values), ()


# --- waiting ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
class WaitTimeout(RealstackError):
    """Something did not become ready in time."""

    what: str
    waited_s: float
    attempts: int
    last: str
    problem = "{self.what} was not ready after {self.attempts} attempt(s) in {self.waited_s:.1f} s: {self.last}"


# --- configuration ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
class ConfigInvalid(RealstackError):
    """A setting has a value it cannot have."""

    key: str
    value: str
    source: str
    wanted: str
    problem = "{self.key}={self.value} (from {self.source}) must be {self.wanted}"


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
class EndpointInvalid(RealstackError):
    """A URL that cannot name a service."""

    service: str
    url: str
    reason: str
    problem = "{self.service} URL {self.url!r} cannot be used: {self.reason}"
    hint = "write it as scheme://user:password@host:port/database"


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
class ServerStartFailed(RealstackError):
    """A server was started and did not come up."""

    service: str
    version: str
    provider: str
    reason: str
    log_tail: str
    problem = "{self.service} {self.version} (from {self.provider}) did not start: {self.reason}\n{self.log_tail}"


@dataclasses.dataclass(eq=False, kw_only=True)
class ServerDied(RealstackError):
    """A server of ours ended while it was in use."""

    service: str
    version: str
    exit_code: int | None
    log_tail: str
    problem = "{self.service} {self.version} died (exit code {self.exit_code}); its last log lines:\n{self.log_tail}"
    hint = "the next test gets a fresh server; look at the log for what this test did to it"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
class RedisRefused(RealstackError):
    """Redis answered a command of the kit's own admin connection with an error."""

    command: str
    message: str
    problem = "Redis refused {self.command}: {self.message}"


# --- ClickHouse -------------------------------------------------------------------------------------------------------

# --- core: supervisor, folders, archives ------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
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
        return remedies.get(self.step, "").format(self=self)


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderRefused(RealstackError):
    """A folder that the kit will not promise to delete."""

    folder: str
    reason: str
    problem = "folder {self.folder!r} will not be owned by the run: {self.reason}"
    hint = "ask for a new name inside a folder of the run, before the folder is made"


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
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


@dataclasses.dataclass(eq=False, kw_only=True)
class ArchiveDamaged(RealstackError):
    """An archive in the cache that cannot be trusted."""

    archive: str
    reason: str
    problem = "archive {self.archive!r} is damaged: {self.reason}"
    hint = "delete it; it is built again by the next run"


# --- providers --------------------------------------------------------------------------------------------------------

# --- app --------------------------------------------------------------------------------------------------------------

# --- isolation --------------------------------------------------------------------------------------------------------

# --- runtime ----------------------------------------------------------------------------------------------------------

"""Every error the backend raises on purpose: one tree, one section per room.

An error carries fields, not only text, and ``retryable``: whether the same call may succeed when it is made again.
No field ever holds a password: places are named by their masked URL.
"""

import dataclasses
import functools
from typing import Any, ClassVar


@dataclasses.dataclass(eq=False, kw_only=True)
class BackendError(Exception):
    """Base of every error the backend raises on purpose.

    A subclass is a dataclass with ``problem`` (what is so) and ``hint`` (what to do), both formatted with ``self``.
    """

    problem: ClassVar[str]
    hint: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __str__(self) -> str:
        text = self.problem.format(self=self)
        return f"{text}\n  Try: {self.hint.format(self=self)}" if self.hint else text

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return functools.partial(type(self), **values), ()


@dataclasses.dataclass(eq=False, kw_only=True)
class ArgumentInvalid(BackendError, ValueError):
    """An argument has a value it cannot have."""

    argument: str
    value: str
    """As ``repr`` shows it, shortened."""
    wanted: str
    problem = "{self.argument}={self.value} must {self.wanted}"


# --- settings ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
class SettingInvalid(BackendError, ValueError):
    """A setting has a value it cannot have; the value itself is not repeated, it may be a secret."""

    setting: str
    reason: str
    problem = "setting {self.setting} cannot be used: {self.reason}"


@dataclasses.dataclass(eq=False, kw_only=True)
class SettingUnknown(BackendError, ValueError):
    """A variable with our prefix that no setting reads, most often a typo."""

    setting: str
    near: str
    problem = "unknown setting {self.setting}"
    hint = "the nearest known one is {self.near}"


# --- storage ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
class StorageUnavailable(BackendError, ConnectionError):
    """A store cannot be reached, or the connection was lost; a statement under way may or may not have taken effect."""

    service: str
    url: str
    """Masked."""
    reason: str
    problem = "{self.service} at {self.url} cannot be reached: {self.reason}"
    hint = "check that it runs and that URL, user and password are right"
    retryable = True


@dataclasses.dataclass(eq=False, kw_only=True)
class StorageFull(BackendError):
    """A store has no room for what it was given; what it has is unharmed."""

    service: str
    url: str
    """Masked."""
    reason: str
    problem = "{self.service} at {self.url} is full: {self.reason}"
    hint = "give it more room, or store less and for a shorter time"
    retryable = True


@dataclasses.dataclass(eq=False, kw_only=True)
class LoginRefused(BackendError):
    """A store answers and does not let us in: password, user or database name."""

    service: str
    url: str
    """Masked."""
    reason: str
    problem = "{self.service} at {self.url} does not let us in: {self.reason}"
    hint = "check user, password and database name in the URL"


@dataclasses.dataclass(eq=False, kw_only=True)
class StorageTimeout(BackendError, TimeoutError):
    """A store did not answer in time; the statement may or may not have taken effect."""

    service: str
    url: str
    """Masked."""
    waited_s: float
    problem = "{self.service} at {self.url} did not answer within {self.waited_s:g} s"
    retryable = True


@dataclasses.dataclass(eq=False, kw_only=True)
class PoolExhausted(BackendError):
    """Every connection of a pool stayed in use; nothing was sent."""

    service: str
    url: str
    """Masked."""
    size: int
    waited_s: float
    problem = "all {self.size} connection(s) to {self.service} at {self.url} were in use for {self.waited_s:g} s"
    hint = "hold no connection across a slow call, or raise max_connections"
    retryable = True


@dataclasses.dataclass(eq=False, kw_only=True)
class StorageClosed(BackendError):
    """Something was asked of a pool that its owner has closed."""

    service: str
    problem = "the {self.service} pool is closed"
    hint = "open it again, or keep it open as long as those who use it live"


@dataclasses.dataclass(eq=False, kw_only=True)
class WrongEventLoop(BackendError):
    """A pool was used from another event loop than the one it was opened in."""

    service: str
    problem = "the {self.service} pool was opened in another event loop"
    hint = "open one pool per event loop, for example in a fixture with the loop scope of its tests"


@dataclasses.dataclass(eq=False, kw_only=True)
class TransactionConflict(BackendError):
    """PostgreSQL undid the transaction because of another one: deadlock or serialisation failure."""

    sqlstate: str
    message: str
    problem = "the transaction was undone because of another one ({self.sqlstate}): {self.message}"
    hint = "run the whole transaction again"
    retryable = True


@dataclasses.dataclass(eq=False, kw_only=True)
class SchemaMissing(BackendError):
    """A table or column of the backend is not in the database."""

    message: str
    url: str
    """Masked."""
    problem = "the database at {self.url} lacks the backend's schema: {self.message}"
    hint = "python -m agent_backend.storage.migrate upgrade"


@dataclasses.dataclass(eq=False, kw_only=True)
class ConstraintViolated(BackendError):
    """A row would break a rule that the database keeps."""

    constraint: str
    sqlstate: str
    message: str
    problem = "constraint {self.constraint!r} refuses the row ({self.sqlstate}): {self.message}"


@dataclasses.dataclass(eq=False, kw_only=True)
class StatementRefused(BackendError):
    """A store understood what it was asked and said no."""

    service: str
    code: str
    """SQLSTATE, or Redis' error word."""
    message: str
    problem = "{self.service} refuses ({self.code}): {self.message}"


@dataclasses.dataclass(eq=False, kw_only=True)
class MigrationBusy(BackendError):
    """Another process kept the migration lock."""

    url: str
    """Masked."""
    waited_s: float
    problem = "another process has been migrating {self.url} for {self.waited_s:g} s"
    hint = "wait for it, or end its session in pg_stat_activity"
    retryable = True


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False, kw_only=True)
class NamespaceViolation(BackendError, ValueError):
    """A key lies outside the namespace of the memory it was given to."""

    key: str
    namespace: str
    problem = "key {self.key!r} must start with {self.namespace!r} namespace"


@dataclasses.dataclass(eq=False, kw_only=True)
class ValueNotSerialisable(BackendError, ValueError):
    """A value, or something in it, has no JSON form."""

    path: str
    """Where in the value: ``$.steps[3].when``."""
    reason: str
    problem = "the value cannot be stored as JSON: {self.path} {self.reason}"


@dataclasses.dataclass(eq=False, kw_only=True)
class ValueTooLarge(BackendError, ValueError):
    """A value is larger than a memory accepts."""

    size_bytes: int
    max_bytes: int
    problem = "the value takes {self.size_bytes} bytes as JSON, at most {self.max_bytes} are accepted"
    hint = "store the bulk elsewhere and a reference to it here"

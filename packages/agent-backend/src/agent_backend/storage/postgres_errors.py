"""What asyncpg says, in the backend's own errors."""

import asyncpg

from agent_backend.errors import (
    BackendError,
    ConstraintViolated,
    LoginRefused,
    SchemaMissing,
    StatementRefused,
    StorageTimeout,
    StorageUnavailable,
    TransactionConflict,
)

_SERVICE = "postgres"

#: What a call into asyncpg may raise that is not a mistake in our own code.
POSTGRES_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # what asyncpg 0.32 says when the server hangs up between preparing a statement and running it
    asyncpg.InternalClientError,
    OSError,
)
_NO_ENTRY = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_CONFLICT = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
_NO_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)


def translate_postgres(error: Exception, *, url: str, timeout_s: float) -> Exception:
    """Return what to raise in place of *error*; *error* itself when it is a mistake of the caller's code.

    Args:
        error: one of ``POSTGRES_FAILURES``.
        url: masked.
        timeout_s: how long the server had to answer.
    """
    if isinstance(error, BackendError):
        return error
    # TimeoutError is an OSError and must be looked at first
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return StorageTimeout(service=_SERVICE, url=url, waited_s=timeout_s)
    if isinstance(error, _LOST) or (isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)):
        return StorageUnavailable(service=_SERVICE, url=url, reason=str(error) or type(error).__name__)
    if isinstance(error, asyncpg.PostgresError):
        return _refusal(error, url)
    return error


def _refusal(error: asyncpg.PostgresError, url: str) -> BackendError:
    code, message = str(getattr(error, "sqlstate", "") or ""), str(error)
    if isinstance(error, _NO_ENTRY):
        return LoginRefused(service=_SERVICE, url=url, reason=message)
    if isinstance(error, _CONFLICT):
        return TransactionConflict(sqlstate=code, message=message)
    if isinstance(error, _NO_SCHEMA):
        return SchemaMissing(message=message, url=url)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        constraint = str(getattr(error, "constraint_name", None) or getattr(error, "column_name", None) or "")
        return ConstraintViolated(constraint=constraint, sqlstate=code, message=message)
    return StatementRefused(service=_SERVICE, code=code, message=message)

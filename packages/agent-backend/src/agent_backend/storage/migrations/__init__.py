"""The schema, as numbered steps in raw SQL.

``migrate(dsn)`` brings a database to the newest step. One run is one transaction under an advisory lock: processes that
start together migrate once, and a run that fails or is killed leaves nothing half done.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_backend.errors import LoginRefused, MigrationBusy, StorageUnavailable
from agent_backend.storage.urls import mask_url

if TYPE_CHECKING:
    import psycopg
    from alembic.config import Config
    from sqlalchemy import Connection

__all__ = ("current_revision", "migrate", "roll_back")

#: Any number will do, as long as nobody else uses it: the first 8 bytes of SHA-256("agent_backend migrations").
_LOCK: Final = int.from_bytes(bytes.fromhex("08d8e9a9603abfdd"), "big", signed=True)
_VERSION_TABLE: Final = "agent_backend_schema"
_LOCK_TIMEOUT_S: Final = 60.0
_CONNECT_TIMEOUT_S: Final = 10


def migrate(dsn: str, revision: str = "head", *, lock_timeout_s: float = _LOCK_TIMEOUT_S) -> None:
    """Bring the database at *dsn* up to *revision*; does nothing when it is there.

    Args:
        dsn: ``postgresql://...`` or libpq's ``key=value`` words.
        revision: a step's number, or ``head``.
        lock_timeout_s: seconds to wait for another process that is migrating.

    Raises:
        MigrationBusy: another process kept the lock.
        StorageUnavailable: nobody answers.
        LoginRefused: wrong password, user or database name.
    """
    from alembic import command

    _run(dsn, lambda config: command.upgrade(config, revision), lock_timeout_s)


def roll_back(dsn: str, revision: str = "base", *, lock_timeout_s: float = _LOCK_TIMEOUT_S) -> None:
    """Bring the database at *dsn* down to *revision*; ``base`` is before the first step. Drops the data in it."""
    from alembic import command

    _run(dsn, lambda config: command.downgrade(config, revision), lock_timeout_s)


def current_revision(dsn: str) -> str | None:
    """Return the step the database at *dsn* is at; None when it has none of ours."""
    from alembic.migration import MigrationContext

    found: list[str | None] = []

    def look(config: "Config") -> None:
        context = MigrationContext.configure(
            config.attributes["connection"], opts={"version_table": config.attributes["version_table"]}
        )
        found.append(context.get_current_revision())

    _run(dsn, look, _LOCK_TIMEOUT_S)
    return found[0]


def _run(dsn: str, action: "Callable[[Config], None]", lock_timeout_s: float) -> None:
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    # libpq reads the address itself, so that every form it knows is understood
    engine = create_engine("postgresql+psycopg://", creator=lambda: _connect(dsn), poolclass=NullPool)
    with engine.begin() as connection:
        _lock(connection, dsn, lock_timeout_s)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.attributes.update(connection=connection, version_table=_VERSION_TABLE)
        action(config)


def _connect(dsn: str) -> "psycopg.Connection[tuple[object, ...]]":
    import psycopg

    try:
        return psycopg.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S, application_name="agent_backend migrations")
    except psycopg.OperationalError as error:
        # psycopg has no SQLSTATE for a refused connection, only for what a server said
        answered = "FATAL" in str(error) and "starting up" not in str(error)
        kind = LoginRefused if answered else StorageUnavailable
        raise kind(service="postgres", url=mask_url(dsn), reason=str(error).strip()) from error


def _lock(connection: "Connection", dsn: str, timeout_s: float) -> None:
    """Take the lock until the transaction ends."""
    import psycopg
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {int(timeout_s * 1000)}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("SET LOCAL lock_timeout = 0"))
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise MigrationBusy(url=mask_url(dsn), waited_s=timeout_s) from error
        raise

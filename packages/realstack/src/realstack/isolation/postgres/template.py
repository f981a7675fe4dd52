"""Template databases: made once, flagged in the server when finished, copied for every database a test gets.

The flag is ``datistemplate`` without ``datallowconn``: it lives where the truth is, so it is right for every process
and after every crash. A database with a template's name and without the flag was left half-made; it is dropped and made
anew.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from realstack._core.digest import digest_of
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import SqlFailed, TemplateBusy, TemplateMissing
from realstack.isolation.postgres._session import major_version, open_session, quoted, setting_value
from realstack.isolation.postgres.schema_file import create_extensions, run_files
from realstack.isolation.postgres.tracking import MARK, install
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

__all__ = (
    "Step",
    "build_template",
    "clone_database",
    "create_extensions",
    "drop_database",
    "is_finished",
    "run_files",
    "template_name",
)

Step = Callable[["Endpoint"], None]
"""Brings an empty database, given by its endpoint, nearer to what the tests want."""

_PREFIX: Final = "realstack_template_"
#: First half of the advisory lock key: "rstk".
_LOCK_SPACE: Final = 0x7273746B
_OBJECT_IN_USE, _MISSING_DATABASE, _DUPLICATE_DATABASE = "55006", "3D000", "42P04"


def template_name(parts: Iterable[str | bytes]) -> str:
    """Return the name of the template made of *parts*: everything that decides what is in it."""
    return _PREFIX + digest_of(parts)


def build_template(admin: "Endpoint", name: str, steps: Sequence[Step], *, track: bool = True) -> bool:
    """Make the template database *name*, unless a finished one is there; return whether it was made now.

    Safe when many processes call it at once: one makes it, the others wait for its advisory lock.

    Args:
        admin: server to connect to, by a database every caller names alike; its user needs CREATEDB.
        name: 1 to 63 bytes.
        steps: called in order with the endpoint of the new database.
        track: install tracking (needs a superuser); without it its clones can only be replaced, not reset.

    Raises:
        SchemaFileFailed: a step ran a file that PostgreSQL refused.
        ExtensionMissing: a step wanted an extension the server does not have.
        TemplateBusy: a connection of a step's stayed open and could not be ended.
    """
    with _administrate(admin) as connection:
        key = int(digest_of([name], length=7), 16)
        connection.query("SELECT pg_advisory_lock($1, $2)", _LOCK_SPACE, key)
        if is_finished(connection, name):
            return False
        _drop(connection, name)
        connection.query(f"CREATE DATABASE {quoted(name)} CONNECTION LIMIT {MARK}{_strategy(connection)}")
        try:
            _fill(admin.with_database(name), steps, track=track)
            _end_sessions(connection, name, timeout_s=5.0)
        except BaseException:
            _drop(connection, name)
            raise
        connection.query(f"ALTER DATABASE {quoted(name)} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        return True


def is_finished(connection: Connection, name: str) -> bool:
    """Tell whether *name* is a template that was made to its end."""
    found = connection.query("SELECT datistemplate AND NOT datallowconn FROM pg_database WHERE datname = $1", name)
    return found == [("t",)]


def clone_database(admin: "Endpoint", template: str, *, name: str, timeout_s: float = 10.0) -> "Endpoint":
    """Copy *template* into a new database and return where it lives.

    Args:
        admin: server to connect to; its user needs CREATEDB.
        template: a finished template (``datistemplate`` is true).
        name: 1 to 63 bytes, new on this server.
        timeout_s: seconds to wait until nobody is connected to *template*.

    Returns:
        Endpoint of the new database, same host and port as *admin*. The caller drops it.

    Raises:
        TemplateMissing: no finished template has that name.
        TemplateBusy: a session stayed for *timeout_s* seconds; carries how many.
        SqlFailed: *name* is taken.

    Source: PostgreSQL manual, "Template Databases": no other session during the copy.
    """
    with _administrate(admin) as connection:
        if not is_finished(connection, template):
            raise TemplateMissing(template=template, server=admin.safe_url)
        copy_database(connection, template, name, timeout_s=timeout_s)
    return admin.with_database(name)


def copy_database(connection: Connection, source: str, name: str, *, timeout_s: float) -> None:
    """Copy the database *source* to *name*, with what ``CREATE DATABASE`` leaves out: its settings and its grants."""

    def copy() -> None:
        if present := _sessions(connection, source):  # CREATE DATABASE itself would wait 5 s for them
            raise NotReady(f"{len(present)} session(s)")
        try:
            connection.query(sql)
        except SqlFailed as error:
            if error.sqlstate == _OBJECT_IN_USE:
                raise NotReady(error.detail or error.message) from error
            raise

    sql = f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(source)} CONNECTION LIMIT {MARK}{_strategy(connection)}"
    try:
        wait_until(copy, timeout_s=timeout_s)
    except Late as late:
        raise TemplateBusy(
            template=source, sessions=len(_sessions(connection, source)), waited_s=late.waited_s
        ) from late
    _copy_settings(connection, source, name)


def _strategy(connection: Connection) -> str:
    """How to copy: 10 ms against 14 with WAL_LOG, on tmpfs, 2026-11; before 15 it is the only way there is."""
    return " STRATEGY FILE_COPY" if major_version(connection) >= 15 else ""


def drop_database(admin: "Endpoint", name: str) -> None:
    """Drop the database *name*, whoever is connected to it; nothing happens when there is none."""
    with _administrate(admin) as connection:
        _drop(connection, name)


def rename_database(connection: Connection, old: str, new: str) -> None:
    """Give the database *old*, to which nobody is connected, the name *new*."""
    connection.query(f"ALTER DATABASE {quoted(old)} RENAME TO {quoted(new)}")


def end_sessions(connection: Connection, name: str, *, timeout_s: float = 5.0) -> None:
    """End every session in the database *name*.

    Raises:
        TemplateBusy: one was still there after *timeout_s* seconds.
    """
    _end_sessions(connection, name, timeout_s=timeout_s)


def _administrate(admin: "Endpoint") -> Connection:
    return Connection(admin if admin.database else admin.with_database("postgres"))


def _fill(endpoint: "Endpoint", steps: Sequence[Step], *, track: bool) -> None:
    for step in steps:
        step(endpoint)
    if track:
        with open_session(endpoint) as session:
            install(session)


def _sessions(connection: Connection, name: str) -> list[str]:
    rows = connection.query("SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name)
    return [pid for (pid,) in rows if pid is not None]


def _end_sessions(connection: Connection, name: str, *, timeout_s: float) -> None:
    def ended() -> None:
        left = connection.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            name,
        )
        if left:
            raise NotReady(f"{len(left)} session(s)")

    try:
        wait_until(ended, timeout_s=timeout_s, pause_s=0.0003)
    except Late as late:
        sessions = len(_sessions(connection, name))
        raise TemplateBusy(template=name, sessions=sessions, waited_s=late.waited_s) from late


def _drop(connection: Connection, name: str) -> None:
    found = connection.query("SELECT datistemplate FROM pg_database WHERE datname = $1", name)
    if not found:
        return
    if found == [("t",)]:
        connection.query(f"ALTER DATABASE {quoted(name)} IS_TEMPLATE false")
    _end_sessions(connection, name, timeout_s=5.0)
    connection.query(f"DROP DATABASE IF EXISTS {quoted(name)}")


def _copy_settings(connection: Connection, source: str, name: str) -> None:
    """Repeat ``ALTER DATABASE ... SET`` and ``GRANT ... ON DATABASE``: they belong to the name, not to the files."""
    rows = connection.query(
        "SELECT r.rolname, c.setting FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid"
        " LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS c(setting) WHERE d.datname = $1",
        source,
    )
    for role, setting in rows:
        key, _, value = (setting or "").partition("=")
        who = f"ROLE {quoted(role)} IN DATABASE {quoted(name)}" if role else f"DATABASE {quoted(name)}"
        connection.query(f"ALTER {who} SET {quoted(key)} = {setting_value(key, value)}")
    grants = connection.query(
        "SELECT a.privilege_type, r.rolname, a.is_grantable FROM pg_database d CROSS JOIN aclexplode(d.datacl) a"
        " LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = $1",
        source,
    )
    if grants:
        connection.query(f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC")
    for privilege, role, grantable in grants:
        whom = quoted(role) if role else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable == "t" else ""
        connection.query(f"GRANT {privilege} ON DATABASE {quoted(name)} TO {whom}{option}")

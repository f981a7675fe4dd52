"""The kit's sessions in a test database: superuser, nothing of the database's own settings left in them."""

from typing import TYPE_CHECKING, Final

from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

#: ALTER DATABASE and ALTER ROLE ... SET of the user's would otherwise decide how the kit restores.
_SETTINGS: Final = {
    "realstack.restoring": "on",
    "session_replication_role": "replica",
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "default_tablespace": "",
    "default_table_access_method": "heap",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "check_function_bodies": "off",
    "client_min_messages": "warning",
    "synchronous_commit": "off",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "extra_float_digits": "1",
    "row_security": "on",
    "jit": "off",
}
#: Settings that only newer servers know: (first version, name, value).
_NEWER: Final = ((12, "plan_cache_mode", "force_generic_plan"), (17, "transaction_timeout", "0"))


def open_session(endpoint: "Endpoint", *, lock_timeout_ms: int = 0, application_name: str = "realstack") -> Connection:
    """Return an open superuser session whose writes and DDL are not noted and fire no triggers of the user's.

    Raises:
        ServerUnreachable: nobody answers.
        SqlFailed: no such database, or the user may not do this (it is no superuser).
    """
    connection = Connection(endpoint, application_name=application_name)
    settings = {**_SETTINGS, "lock_timeout": str(lock_timeout_ms)}
    settings.update({name: value for first, name, value in _NEWER if major_version(connection) >= first})
    try:
        connection.script("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    except BaseException:
        connection.close()
        raise
    return connection


def major_version(connection: Connection) -> int:
    """Return 18 for ``18.4``, ``18beta1`` and ``18devel``."""
    digits = ""
    for character in connection.server_version:
        if not character.isdigit():
            break
        digits += character
    return int(digits or 0)


def is_superuser(connection: Connection) -> bool:
    """Tell whether the user of *connection* may do everything; the server says so when a session starts."""
    return connection.parameters.get("is_superuser") == "on"


def quoted(name: str) -> str:
    """Return *name* as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return *text* as an SQL string."""
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in escaped else f"'{escaped}'"


#: Settings that are lists: the server stores them as they are written after SET, each element quoted as a name.
_LISTS: Final = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)


def setting_value(name: str, stored: str) -> str:
    """Return what to write after ``SET name =`` to store *stored* again."""
    if name.lower() in _LISTS:
        return stored or '""'
    return literal(stored)

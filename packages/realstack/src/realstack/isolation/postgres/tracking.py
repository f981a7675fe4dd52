"""Puts into a database what the isolation engine needs: who was written, and how to put it back.

Installed once, in the template; clones inherit it (``CREATE DATABASE ... TEMPLATE`` copies files, so that the oids in
the generated functions stay good).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from realstack.isolation.postgres._session import major_version

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

#: Connection limit of the kit's own databases. It has no effect; it is how a database the kit made can be told, in any
#: process, from one that a test made, and it costs no statement of its own.
MARK: Final = 1_999_983

_COVER: Final = "SELECT realstack.cover();"
_SCRIPTS: Final = Path(__file__).with_name("sql")


def install(connection: "Connection") -> None:
    """Put schema ``realstack``, its triggers and its functions into the database *connection* is in.

    Everything there now is the baseline. Takes 0.8 ms a table, once a template.

    Args:
        connection: from ``open_session``: a superuser; nobody else should be writing.

    Raises:
        SqlFailed: it is installed already, or the user is no superuser.
    """
    version = major_version(connection)
    connection.script(
        "\n".join((_read("tracking.sql"), _COVER, _filled("reset.sql", version), _filled("baseline.sql", version)))
    )


def is_installed(connection: "Connection") -> bool:
    """Tell whether the database *connection* is in can be reset."""
    return connection.query("SELECT to_regprocedure('realstack.cover()') IS NOT NULL") == [("t",)]


def _filled(name: str, version: int) -> str:
    parts = {
        "{parameter_acl}": "UNION ALL SELECT 6, oid, xmin FROM pg_parameter_acl" if version >= 15 else "",
        "{sequence_moved}": _sequence_moved(version),
        "{owned_sequence_moved}": _sequence_moved(version) if version >= 18 else f"NOT q.is_called OR {_CALLED_MOVED}",
    }
    text = _read(name)
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _sequence_moved(version: int) -> str:
    """Return the condition on a row ``q`` of realstack.sequences."""
    if version >= 18:
        state = "pg_get_sequence_data(q.relid::regclass)"
        return f"({_CALLED_MOVED}) OR NOT q.is_called AND {state} IS DISTINCT FROM ROW(q.last_value, q.is_called)"
    awoken = "NOT q.is_called AND pg_sequence_last_value(q.relid::regclass) IS NOT NULL"
    return f"({_CALLED_MOVED}) OR ({awoken}) OR q.relid IN (SELECT realstack.uncalled())"


_CALLED_MOVED: Final = "q.is_called AND pg_sequence_last_value(q.relid::regclass) IS DISTINCT FROM q.last_value"


def _read(name: str) -> str:
    return (_SCRIPTS / name).read_text(encoding="utf-8")

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

    Everything there now is the baseline. Takes 0.3 ms a table.

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
    acl = (
        "(SELECT coalesce(sum(hashtext(oid || ' ' || xmin::text)), 0) FROM pg_parameter_acl)" if version >= 15 else "0"
    )
    return _read(name).replace("{parameter_acl}", acl).replace("{moved_sequences}", _moved_sequences(version))


def _moved_sequences(version: int) -> str:
    if version >= 18:
        return (
            "SELECT q.* FROM realstack.sequences q, pg_get_sequence_data(q.relid::regclass) now"
            " WHERE now.last_value <> q.last_value OR now.is_called <> q.is_called"
        )
    return (
        "SELECT q.* FROM realstack.sequences q"
        " WHERE pg_sequence_last_value(q.relid::regclass) IS DISTINCT FROM CASE WHEN q.is_called THEN q.last_value END"
        " OR q.relid IN (SELECT realstack.uncalled())"
    )


def _read(name: str) -> str:
    return (_SCRIPTS / name).read_text(encoding="utf-8")

"""Schema and seed files: run them, and say file and line when PostgreSQL refuses something."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realstack.errors import ExtensionMissing, SchemaFileFailed, SqlFailed
from realstack.isolation.postgres._copying import CopyConnection
from realstack.isolation.postgres._session import quoted
from realstack.isolation.postgres._statements import Statement, line_of, statements

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_TIMEOUT_S: Final = 600.0
_EXTENSION: Final = re.compile(r'\s*CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?"?([\w-]+)', re.IGNORECASE)
_NOT_AVAILABLE: Final = ("0A000", "58P01")
_ORDER: Final = re.compile(r"^\d+[_-]")
_INVALID_FILE: Final = "22000"


def run_files(endpoint: "Endpoint", files: Iterable[Path]) -> None:
    r"""Run *files* in order in the database of *endpoint*, each in a session of its own.

    ``.sql`` is run as psql runs it, a statement a transaction; COPY data in it, as pg_dump writes it, is loaded;
    psql's own commands (``\i``, ``\connect``) are refused. ``.csv`` (with a header line) and ``.json`` (a list of
    objects) are rows of the table they are named after, ``users.csv`` or ``other.users.json``; a number in front
    (``10_users.csv``) orders them.

    Raises:
        SchemaFileFailed: PostgreSQL refused something; names the file and the line.
        ExtensionMissing: a file creates an extension the server does not have.
    """
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise _refused(file, line, f"not UTF-8: {error.reason}") from error
        with CopyConnection(endpoint, timeout_s=_TIMEOUT_S) as connection:
            _LOADERS.get(file.suffix.lower(), _load_sql)(connection, file, text)


def create_extensions(endpoint: "Endpoint", names: Iterable[str]) -> None:
    """Create the extensions *names*, and those they need.

    Raises:
        ExtensionMissing: the server does not have one of them.
    """
    with CopyConnection(endpoint, timeout_s=_TIMEOUT_S) as connection:
        for name in names:
            try:
                connection.query(f"CREATE EXTENSION IF NOT EXISTS {quoted(name)} CASCADE")
            except SqlFailed as error:
                raise (_extension_missing(connection, name, error) or error) from error


# --- SQL --------------------------------------------------------------------------------------------------------------


def _load_sql(connection: CopyConnection, file: Path, text: str) -> None:
    for statement in statements(text):
        if statement.is_command:
            line = line_of(text, statement.start)
            raise _refused(file, line, f"{statement.text} is a command of psql, which is not used here")
        try:
            _run(connection, statement)
        except SqlFailed as error:
            raise _failure(connection, file, text, statement, error) from error
    if connection.query("SELECT pg_catalog.txid_current_if_assigned()") != [(None,)]:
        raise _refused(file, line_of(text, len(text)), "the file ends inside a transaction; its COMMIT is missing")


def _run(connection: CopyConnection, statement: Statement) -> None:
    if statement.data is None:
        connection.script(statement.text)
    else:
        connection.copy_in(statement.text, statement.data)


def _failure(
    connection: CopyConnection, file: Path, text: str, statement: Statement, error: SqlFailed
) -> SchemaFileFailed | ExtensionMissing:
    if (wanted := _EXTENSION.match(statement.text)) and (missing := _extension_missing(connection, wanted[1], error)):
        return missing
    line = line_of(text, statement.start + (error.position or 1) - 1)
    return SchemaFileFailed(path=str(file), line=line, sqlstate=error.sqlstate, message=error.message + error.more)


def _extension_missing(connection: CopyConnection, name: str, error: SqlFailed) -> ExtensionMissing | None:
    if error.sqlstate not in _NOT_AVAILABLE:
        return None
    return ExtensionMissing(extension=name, server=f"this PostgreSQL {connection.server_version}")


# --- rows -------------------------------------------------------------------------------------------------------------


def _load_csv(connection: CopyConnection, file: Path, text: str) -> None:
    import csv
    import io

    header = next(csv.reader(io.StringIO(text)), [])
    if not header:
        raise _refused(file, 1, "the first line must name the columns")
    table = _table_of(connection, file)
    columns = ", ".join(quoted(name) for name in header)
    try:
        connection.copy_in(f"COPY {table} ({columns}) FROM stdin WITH (FORMAT csv, HEADER)", text)
    except SqlFailed as error:
        raise _refused(file, None, error.message + error.more, error.sqlstate) from error
    _advance_sequences(connection, table)


def _load_json(connection: CopyConnection, file: Path, text: str) -> None:
    import json

    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise _refused(file, error.lineno, error.msg) from error
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise _refused(file, 1, "it must be a list of objects, one a row")
    table = _table_of(connection, file)
    for columns, alike in _grouped(rows):
        names = ", ".join(quoted(name) for name in columns)
        values = names or "NULL"
        into = f"{table} ({names})" if names else table
        try:
            # identifiers cannot be parameters
            connection.query(
                f"INSERT INTO {into} SELECT {values} FROM jsonb_populate_recordset(NULL::{table}, $1)",  # noqa: S608
                json.dumps(alike),
            )
        except SqlFailed as error:
            raise _refused(file, None, error.message + error.more, error.sqlstate) from error
    _advance_sequences(connection, table)


def _grouped(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    """Group neighbours that name the same columns, so that a column a row leaves out gets its default."""
    from itertools import groupby

    return ((columns, list(alike)) for columns, alike in groupby(rows, key=lambda row: tuple(sorted(row))))


def _table_of(connection: CopyConnection, file: Path) -> str:
    for stem in (file.stem, _ORDER.sub("", file.stem)):
        name = ".".join(quoted(part) for part in stem.split("."))
        if connection.query("SELECT to_regclass($1) IS NOT NULL", name) == [("t",)]:
            return name
    raise _refused(file, None, f"there is no table {_ORDER.sub('', file.stem)!r} to load it into", "42P01")


def _advance_sequences(connection: CopyConnection, table: str) -> None:
    """Let serial and identity columns go on after the rows that were loaded with numbers of their own."""
    owned = connection.query(
        "SELECT a.attname, pg_get_serial_sequence($1, a.attname) FROM pg_attribute a WHERE a.attrelid = $1::regclass"
        " AND a.attnum > 0 AND NOT a.attisdropped AND pg_get_serial_sequence($1, a.attname) IS NOT NULL",
        table,
    )
    for column, sequence in owned:
        connection.query(
            f"SELECT setval($1::regclass, max({quoted(column or '')})) FROM {table}"  # noqa: S608  # identifiers again
            " HAVING max(1) IS NOT NULL",
            sequence,
        )


def _refused(file: Path, line: int | None, reason: str, sqlstate: str = _INVALID_FILE) -> SchemaFileFailed:
    return SchemaFileFailed(path=str(file), line=line, sqlstate=sqlstate, message=reason)


_LOADERS: Final[dict[str, Callable[[CopyConnection, Path, str], None]]] = {".csv": _load_csv, ".json": _load_json}

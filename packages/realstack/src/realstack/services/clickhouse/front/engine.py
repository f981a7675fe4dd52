"""The chdb engine: one per process, any number of connections, each with state of its own."""

import contextlib
import ctypes
import dataclasses
import importlib
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from . import statement
from .configuration import write_configuration
from .errors import Failure

MISSING = 'embedded ClickHouse needs the package chdb-core; install it with: pip install "realstack[clickhouse]"'
#: Formats whose blocks may stand one after another; chdb renders every block of a stream as a document of its own.
STREAMABLE = frozenset(("Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "JSONCompactEachRow"))
_MOST_IDLE = 4
_LITERAL = str.maketrans({"\\": "\\\\", "'": "\\'"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one statement gave."""

    body: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


def quoted(text: str) -> str:
    """Return *text* as a string literal."""
    return "'" + text.translate(_LITERAL) + "'"


def named(identifier: str) -> str:
    """Return *identifier* quoted for use in a statement."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Connection:
    """One connection to the engine; used by one thread at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def run(
        self, sql: bytes | str, default_format: str = "TabSeparated", parameters: Mapping[str, str] | None = None
    ) -> Result:
        """Carry out *sql* and return its whole result.

        Raises:
            Failure: the engine's own error.
        """
        try:
            result = self._raw.query(sql, default_format, params=dict(parameters or {}))
            return _result(result)
        except RuntimeError as error:
            raise Failure.of_engine(error) from None

    def stream(self, sql: bytes, default_format: str, parameters: Mapping[str, str]) -> Generator[Result, None, None]:
        """Yield the result of *sql* block by block; closing the iterator cancels the query.

        Raises:
            Failure: the engine's own error, also after some blocks.
        """
        handle = None
        done = False
        try:
            handle = self._raw.send_query(sql, default_format, params=dict(parameters))
            while True:
                block = _result(self._raw.streaming_fetch_result(handle))
                if not block.body:
                    done = True
                    return
                yield block
        except RuntimeError as error:
            done = True
            raise Failure.of_engine(error) from None
        finally:
            if handle is not None and not done:
                self._raw.streaming_cancel_query(handle)

    def insert(self, statement: bytes, form: str, rows: bytes) -> Result:
        """Put *rows*, written in the format *form*, into where *statement* (``INSERT INTO t``) says.

        Rows that stand in the text of a query would be cut at the first empty line, wherever in them it falls
        (chdb-core 26.9.0).

        Raises:
            Failure: the engine's own error.
        """
        handle = None
        try:
            handle = self._raw.send_insert(statement, form)
            self._raw.insert_append(handle, rows)
            return _result(self._raw.insert_done(handle))
        except RuntimeError as error:
            if handle is not None:
                with contextlib.suppress(RuntimeError):
                    self._raw.insert_cancel(handle)
            raise Failure.of_engine(error) from None

    def classify(self, sql: bytes, database: str = "") -> tuple[str, int, bool, bool]:
        """Return (kind, statements, writes only *database*, creates or drops databases), as the engine parses it.

        The kind is READ_ONLY, MUTATING, MUTATING_GLOBAL, CONTROL, or UNKNOWN when *sql* does not parse.
        """
        seen = self._raw.classify_query(sql, database)
        return (
            seen["query_class"].name,
            seen["statement_count"],
            seen["writes_only_target_database"],
            seen["changes_database_lifecycle"],
        )

    def use(self, database: str) -> None:
        """Make *database* the current one."""
        self.run(f"USE {named(database)}")

    def set(self, settings: Mapping[str, str]) -> None:
        """Give the connection *settings*, as ``SET`` does."""
        self.run("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))

    def value(self, sql: str) -> str:
        """Return the one value that *sql* selects, as text."""
        return self.run(sql, "TabSeparatedRaw").body.decode().rstrip("\n")

    def column(self, sql: str) -> list[str]:
        """Return the one column that *sql* selects, as text."""
        return self.run(sql, "TabSeparatedRaw").body.decode().splitlines()

    def close(self) -> None:
        """Give the connection back, cancelling what it still does."""
        self._raw.close()


class Engine:
    """The engine with its data in one folder; the process can have one."""

    def __init__(self, data: Path, *, users: Mapping[str, str], settings: Mapping[str, str]) -> None:
        self._data = data
        self._chdb = _load_chdb()
        config = write_configuration(data, users, settings)
        # held open: the engine stops with its last connection
        self._keeper = Connection(self._chdb.connect(f"{data / 'store'}?config-file={config}"))
        facts = "SELECT version(), displayName(), timezone(), getSetting('enable_http_compression')"
        self.version, self.display_name, self.timezone, compress = self._keeper.value(facts).split("\t")
        self.compresses = compress in ("1", "true")

        self._idle: dict[str, list[Connection]] = {}
        self._lock = threading.Lock()

    def connect(self) -> Connection:
        """Open a connection with a state of its own."""
        return Connection(self._chdb.connect(str(self._data / "store")))

    def borrow(self, database: str) -> Connection:
        """Return a connection that has no state but the current database.

        Opening one, choosing its database and closing it cost 0.3 ms, half as much as a SELECT.

        Raises:
            Failure: there is no such database (81).
        """
        with self._lock:
            idle = self._idle.get(database)
            if idle:
                return idle.pop()
        connection = self.connect()
        if database not in ("", "default"):
            try:
                connection.use(database)
            except Failure:
                connection.close()
                raise
        return connection

    def give_back(self, connection: Connection, database: str) -> None:
        """Keep *connection*, as stateless as it was borrowed, for the next request."""
        with self._lock:
            idle = self._idle.setdefault(database, [])
            if len(idle) < _MOST_IDLE:
                idle.append(connection)
                return
        connection.close()

    def forget_idle(self) -> None:
        """Close the idle connections: their database may be gone."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (connection for some in idle.values() for connection in some):
            connection.close()


def _result(raw: Any) -> Result:
    if raw is None:
        return Result(body=b"")
    if raw.has_error():
        raise RuntimeError(raw.error_message())
    return Result(
        body=raw.bytes(),
        read_rows=raw.rows_read(),
        read_bytes=raw.bytes_read(),
        written_rows=raw.rows_written(),
        written_bytes=raw.bytes_written(),
        elapsed_s=raw.elapsed(),
    )


def _load_chdb() -> Any:
    """Return chdb's extension module.

    Importing the package starts a second engine to ask its version and pulls in pyarrow and pandas where installed:
    0.19 s against 0.04 s for the extension alone (chdb-core 26.9.0, 2 shared cores). A release that is laid out
    otherwise is imported the ordinary way.
    """
    spec = importlib.util.find_spec("chdb")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(MISSING)
    folder = spec.submodule_search_locations[0]
    here = Path.cwd()
    package = types.ModuleType("chdb")
    package.__path__ = [folder]
    sys.modules["chdb"] = package
    try:
        os.chdir(folder)  # the extension looks for its own libraries in the working folder
        _preload(Path(folder))
        return importlib.import_module("chdb._chdb")
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "chdb"]:
            del sys.modules[name]
        return importlib.import_module("chdb")._chdb
    finally:
        os.chdir(here)


def _preload(folder: Path) -> None:
    """Bind the extension to its own allocator first, as the package does on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(str(folder / "_chdb.abi3.so"), mode=sys.getdlopenflags() | 0x00008)  # RTLD_DEEPBIND


def check_statement(connection: Connection, sql: bytes) -> str:
    """Return the kind of *sql* (see ``Connection.classify``).

    Raises:
        Failure: it is empty, more than one statement, or about files of the client.
    """
    kind, count, _, _ = connection.classify(sql)
    if kind == "UNKNOWN" and statement.is_blank(sql):
        raise Failure(62, "Syntax error: Empty query", "SYNTAX_ERROR")
    if count > 1:
        raise Failure(62, "Syntax error (Multi-statements are not allowed)", "SYNTAX_ERROR")
    if statement.reaches_for_files(sql, kind):
        raise Failure(358, "INTO OUTFILE and FROM INFILE are for command-line clients", "INTO_OUTFILE_NOT_ALLOWED")
    return kind

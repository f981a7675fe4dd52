"""The kit's own way to talk to ClickHouse: HTTP from the standard library, typed rows, no driver to import."""

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realstack.errors import ClickHouseRefused, ServerUnreachable
from realstack.services.clickhouse import values
from realstack.services.endpoint import Endpoint

if TYPE_CHECKING:
    from http.client import HTTPConnection

Parameters = Mapping[str, Any] | Sequence[Any]

_EXCEPTION = re.compile(r"Code: (\d+)\. DB::Exception: (.*?)(?: \(([A-Z0-9_]+)\))?(?: \(version .*\))?\s*$", re.DOTALL)
_TYPED_PLACEHOLDER = re.compile(r"\{\s*\w+\s*:")
_PLACEHOLDER = re.compile(r"%%|%s|%\((\w+)\)s")
_HAS_RESULT = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK|KILL|\()", re.I | re.S
)
_HAS_FORMAT = re.compile(r"\bFORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)
_TYPED_ROWS = "JSONCompactEachRowWithNamesAndTypes"


def parse_server_exception(text: str, *, statement: str = "") -> ClickHouseRefused:
    """Return the error a server told in *text*: its code, its name, its words."""
    found = _EXCEPTION.search(text)
    if not found:
        return ClickHouseRefused(code=1002, name="UNKNOWN_EXCEPTION", message=text.strip()[:2000], statement=statement)
    return ClickHouseRefused(
        code=int(found[1]), name=found[3] or "", message=found[2].strip().rstrip("."), statement=statement
    )


class Client:
    """Sends statements to one endpoint; may be used by several threads at once."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = 30.0, is_admin: bool = False) -> None:
        """Connect on first use.

        Args:
            endpoint: where, as whom, in which database.
            timeout_s: seconds without a byte after which the server is given up.
            is_admin: the kit's own work, which the front does not count as a test's.
        """
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": "realstack", "Accept-Encoding": "identity"}
        if endpoint.user or endpoint.password:
            self._headers["X-ClickHouse-User"] = endpoint.user or "default"
            self._headers["X-ClickHouse-Key"] = endpoint.password or ""
        if is_admin:
            self._headers["X-Realstack-Unjournaled"] = "1"
        self._free: list[HTTPConnection] = []
        self._lock = threading.Lock()

    def query(
        self, sql: str, params: Parameters | None = None, settings: Mapping[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Carry out *sql* and return its rows; a statement without a result gives none.

        Args:
            sql: one statement, without a FORMAT clause.
            params: a mapping for ``{name:Type}`` (sent beside the statement) or ``%(name)s`` (put in as literals),
                a sequence for ``%s``.
            settings: of this query alone.

        Raises:
            ClickHouseRefused: the server's own error.
            ServerUnreachable: nobody answered.
        """
        sql, sent = bind(sql, params)
        if not _HAS_RESULT.match(sql) or _HAS_FORMAT.search(sql):
            body = self.execute(sql, sent, settings)
            return [tuple(line.split("\t")) for line in body.decode("utf-8", "replace").splitlines()]
        body = self.execute(sql, {**sent, "default_format": _TYPED_ROWS}, {**values.JSON_SETTINGS, **(settings or {})})
        return _typed_rows(body)

    def execute(
        self, sql: str, parameters: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
    ) -> bytes:
        """Carry out *sql*, formats included, and return the reply's body as it came."""
        url = {"database": self.endpoint.database or "default", "wait_end_of_query": "1"}
        body = sql.encode("utf-8", "surrogateescape")
        return self.post("/", body, {**url, **(parameters or {}), **(settings or {})}, statement=sql)

    def insert_rows(
        self,
        table: str,
        rows: Iterable[Sequence[Any] | Mapping[str, Any]],
        *,
        column_names: Sequence[str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> int:
        """Insert *rows* into *table* and return how many there were.

        Args:
            table: name, may be qualified; used as it is written.
            rows: sequences in the order of *column_names* (or of the table), or mappings by column; not both.
            column_names: which columns the sequences hold.
            settings: of this insert alone.
        """
        lines, form = _lines(rows)
        if not lines:
            return 0
        columns = f" ({', '.join(quote_name(name) for name in column_names)})" if column_names else ""
        statement = f"INSERT INTO {table}{columns} FORMAT {form}"
        body = "\n".join([statement, *lines, ""])
        url = {"database": self.endpoint.database or "default", **values.INSERT_SETTINGS, **(settings or {})}
        self.post("/", body.encode("utf-8", "surrogateescape"), url, statement=statement)
        return len(lines)

    def post(self, path: str, body: bytes, parameters: Mapping[str, str], *, statement: str = "") -> bytes:
        """POST *body* and return the reply's body.

        Raises:
            ClickHouseRefused: the server answered with an error.
            ServerUnreachable: nobody answered, or the reply broke off.
        """
        from http.client import HTTPException
        from urllib.parse import urlencode

        target = f"{path}?{urlencode(parameters)}" if parameters else path
        with self._connection() as connection:
            try:
                connection.request("POST", target, body=body, headers=self._headers)
                response = connection.getresponse()
                reply = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                raise self._unreachable(error) from error
            if response.will_close:
                connection.close()
        if response.status != 200 or response.headers.get("X-ClickHouse-Exception-Code"):
            raise parse_server_exception(reply.decode("utf-8", "replace"), statement=statement)
        return reply

    def ping(self) -> bool:
        """Return whether somebody answers ``/ping``; tells nothing about user and password."""
        try:
            return self.post("/ping", b"", {}) == b"Ok.\n"
        except (ServerUnreachable, ClickHouseRefused):
            return False

    def close(self) -> None:
        """Close the idle connections; the client may be used again."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    @contextlib.contextmanager
    def _connection(self) -> "Iterator[HTTPConnection]":
        with self._lock:
            connection = self._free.pop() if self._free else None
        if connection is None or _is_stale(connection):
            connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._free.append(connection)

    def _connect(self) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self.endpoint.scheme in ("https", "clickhouses") else HTTPConnection
        connection = kind(self.endpoint.host, self.endpoint.port, timeout=self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise self._unreachable(error) from error
        return connection

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        reason = str(error) or type(error).__name__
        return ServerUnreachable(service="clickhouse", url=self.endpoint.safe_url, reason=reason)


def bind(sql: str, params: Parameters | None) -> tuple[str, dict[str, str]]:
    """Return (*sql* with ``%`` placeholders filled in, the parameters to send beside it)."""
    if params is None:
        return sql, {}
    if isinstance(params, Mapping):
        if _TYPED_PLACEHOLDER.search(sql):
            return sql, {f"param_{name}": values.parameter(value) for name, value in params.items()}
        return _PLACEHOLDER.sub(lambda match: _named(match, params), sql), {}
    waiting = iter(params)
    bound = _PLACEHOLDER.sub(lambda match: _next(match, waiting, sql), sql)
    if (left := len(list(waiting))) > 0:
        raise ValueError(f"params={params!r} must be as many as the placeholders: {left} too many")
    return bound, {}


def _named(match: re.Match[str], params: Mapping[str, Any]) -> str:
    if match[0] == "%%":
        return "%"
    if match[1] is None or match[1] not in params:
        raise ValueError(f"params={sorted(params)!r} must have a value for {match[0]}")
    return values.literal(params[match[1]])


def _next(match: re.Match[str], waiting: Iterator[Any], sql: str) -> str:
    if match[0] == "%%":
        return "%"
    if match[1] is not None:
        raise ValueError(f"params must be a mapping for {match[0]} in {sql!r}")
    try:
        return values.literal(next(waiting))
    except StopIteration:
        raise ValueError(f"params must be as many as the placeholders in {sql!r}") from None


def quote_name(name: str) -> str:
    """Return *name* quoted for use in a statement."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _lines(rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> tuple[list[str], str]:
    every = list(rows)
    named = sum(isinstance(row, Mapping) for row in every)
    if named not in (0, len(every)):
        raise ValueError("rows must be all mappings or all sequences")
    return [values.json_row(row) for row in every], "JSONEachRow" if named else "JSONCompactEachRow"


def _typed_rows(body: bytes) -> list[tuple[Any, ...]]:
    # bytes that are no UTF-8 come back as they went in
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    if len(lines) < 2:
        return []
    readers = [values.reader(name) for name in json.loads(lines[1])]
    return [
        tuple(read(value) for read, value in zip(readers, json.loads(line), strict=True)) for line in lines[2:] if line
    ]


def _is_stale(connection: "HTTPConnection") -> bool:
    """Return whether the server has closed *connection*; asked before a statement is sent, so none is sent twice."""
    import select

    if connection.sock is None:
        return True
    readable, _, _ = select.select([connection.sock], [], [], 0)
    if readable:
        connection.close()
    return bool(readable)

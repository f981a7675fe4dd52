"""The kit's own connection to PostgreSQL: synchronous, standard library only, protocol 3, text values.

It exists because importing a driver costs 70 to 120 ms at every test run and the whole budget of a warm start is 70 ms
(docs/decisions/0003). It is for the kit's administration; tests use the driver of their choice.

Source: PostgreSQL manual, "Frontend/Backend Protocol".
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from realstack.errors import ServerUnreachable, SqlFailed

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

Row = tuple[str | None, ...]
_PROTOCOL_3: Final = 196608
_SSL_REQUEST: Final = 80877103
_INT16: Final = struct.Struct("!h")
_INT32: Final = struct.Struct("!i")
_AUTH_OK, _AUTH_CLEARTEXT, _AUTH_MD5, _AUTH_SASL, _AUTH_SASL_CONTINUE, _AUTH_SASL_FINAL = 0, 3, 5, 10, 11, 12
_SYNC: Final = b"S\x00\x00\x00\x04"
_EXECUTE_ALL: Final = b"E" + _INT32.pack(9) + b"\x00" + _INT32.pack(0)


class Connection:
    """One open connection; not safe to share between threads.

    Attributes:
        pid: the server process behind it.
        parameters: what the server said of itself: ``server_version``, ``TimeZone`` ...
    """

    def __init__(self, endpoint: "Endpoint", *, timeout_s: float = 10.0, application_name: str = "realstack") -> None:
        """Connect and authenticate.

        Args:
            endpoint: where; its socket is preferred to host and port.
            timeout_s: seconds any one read may take; a server that stops answering is an error, not a hang.
            application_name: what ``pg_stat_activity`` shows.

        Raises:
            ServerUnreachable: nobody answers, or the password is refused; the URL in it is masked.
            SqlFailed: the server answered and said no (no such database, still starting ...).
        """
        self._endpoint = endpoint
        self.pid = 0
        self.parameters: dict[str, str] = {}
        self._buffer = bytearray()
        try:
            self._socket = self._open(timeout_s)
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error
        try:
            self._start(application_name)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise self._unreachable(error) from error
        except BaseException:
            self._socket.close()
            raise

    # --- asking -------------------------------------------------------------------------------------------------------

    def query(self, sql: str, *params: str | int | None) -> list[Row]:
        """Run one statement with ``$1`` parameters and return its rows as text.

        Raises:
            SqlFailed: the server refused it.
        """
        values = [None if value is None else str(value) for value in params]
        self._send(_parse_message("", sql) + _bind_message("", values) + _EXECUTE_ALL + _SYNC)
        return self._collect(sql)[-1]

    def script(self, sql: str) -> list[Row]:
        """Run any number of statements in one implicit transaction; return the rows of the last that had some."""
        self._send(_message(b"Q", sql.encode() + b"\x00"))
        return next((rows for rows in reversed(self._collect(sql)) if rows), [])

    def prepare(self, name: str, sql: str) -> None:
        """Keep *sql* under *name* for ``run``; its types are inferred by the server."""
        self._send(_parse_message(name, sql) + _SYNC)
        self._collect(sql)

    def run(self, calls: Iterable[tuple[str, Sequence[str | None]]]) -> list[list[Row]]:
        """Run prepared statements in one round trip and one transaction; return each one's rows, in order."""
        parts = [_bind_message(name, values) + _EXECUTE_ALL for name, values in calls]
        self._send(b"".join(parts) + _SYNC)
        return self._collect("prepared statements")

    @property
    def server_version(self) -> str:
        """The version as the server says it, without the packager's remark: ``15.18``."""
        return self.parameters.get("server_version", "").partition(" ")[0]

    def close(self) -> None:
        """Say goodbye and close; safe to call twice and on a connection that is broken."""
        try:
            self._socket.sendall(b"X\x00\x00\x00\x04")
        except OSError:
            pass  # the other side is gone already, which is what we wanted
        finally:
            self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- connecting ---------------------------------------------------------------------------------------------------

    def _open(self, timeout_s: float) -> socket.socket:
        where = self._endpoint
        if where.socket:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.settimeout(timeout_s)
            try:
                opened.connect(f"{where.socket}/.s.PGSQL.{where.port}")
            except OSError:
                opened.close()
                raise
            return opened
        opened = socket.create_connection((where.host, where.port), timeout=timeout_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._maybe_encrypt(opened)

    def _maybe_encrypt(self, plain: socket.socket) -> socket.socket:
        mode = dict(self._endpoint.options).get("sslmode", "prefer")
        if mode == "disable" or (mode == "prefer" and _is_here(self._endpoint.host)):
            return plain
        plain.sendall(_INT32.pack(8) + _INT32.pack(_SSL_REQUEST))
        if plain.recv(1) != b"S":
            if mode in ("prefer", "allow"):
                return plain
            plain.close()
            raise ValueError(f"sslmode={mode!r} wants TLS and the server has none")
        import ssl

        context = ssl.create_default_context(cafile=dict(self._endpoint.options).get("sslrootcert"))
        context.check_hostname = mode == "verify-full"
        if mode not in ("verify-ca", "verify-full"):
            context.verify_mode = ssl.CERT_NONE  # what libpq does for "require": encrypted, not verified
        return context.wrap_socket(plain, server_hostname=self._endpoint.host)

    def _start(self, application_name: str) -> None:
        user = self._endpoint.user or "postgres"
        settings = {
            "user": user,
            "database": self._endpoint.database or user,
            "application_name": application_name,
            "client_encoding": "UTF8",
            "DateStyle": "ISO",
        }
        body = b"".join(f"{key}\x00{value}\x00".encode() for key, value in settings.items()) + b"\x00"
        self._send(_INT32.pack(len(body) + 8) + _INT32.pack(_PROTOCOL_3) + body)
        self._authenticate(user)
        self._collect("start-up")

    def _authenticate(self, user: str) -> None:
        from realstack.services.postgres._authentication import Scram, md5_response

        password = self._endpoint.password or ""
        scram = Scram(password)
        while True:
            kind, body = self._read()
            if kind == b"E":
                raise self._refused(_error_from(body, "start-up"))
            if kind != b"R":
                raise ValueError(f"expected a question about authentication, got {kind!r}")
            asked, rest = _INT32.unpack_from(body)[0], bytes(body[4:])
            if asked == _AUTH_OK:
                return
            if asked == _AUTH_CLEARTEXT:
                self._send(_message(b"p", password.encode() + b"\x00"))
            elif asked == _AUTH_MD5:
                self._send(_message(b"p", md5_response(user, password, rest[:4]).encode() + b"\x00"))
            elif asked == _AUTH_SASL:
                first = scram.first()
                self._send(_message(b"p", scram.MECHANISM.encode() + b"\x00" + _INT32.pack(len(first)) + first))
            elif asked == _AUTH_SASL_CONTINUE:
                self._send(_message(b"p", scram.final(rest)))
            elif asked == _AUTH_SASL_FINAL:
                scram.check(rest)
            else:
                raise ValueError(f"the server asks for authentication method {asked}, which is not supported")

    def _refused(self, error: SqlFailed) -> Exception:
        wrong_password = error.sqlstate.startswith("28")
        return self._unreachable(Exception(error.message)) if wrong_password else error

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        return ServerUnreachable(service="postgres", url=self._endpoint.safe_url, reason=str(error))

    # --- messages -----------------------------------------------------------------------------------------------------

    def _send(self, raw: bytes) -> None:
        try:
            self._socket.sendall(raw)
        except OSError as error:
            raise self._unreachable(error) from error

    def _collect(self, statement: str) -> list[list[Row]]:
        """Read until the server is ready again; raise its first error then, so that the connection stays usable."""
        results: list[list[Row]] = []
        rows: list[Row] = []
        failed: SqlFailed | None = None
        for kind, body in self._messages():
            if kind == b"D":
                rows.append(_row_from(body))
            elif kind in (b"C", b"I", b"s"):
                results.append(rows)
                rows = []
            elif kind == b"E":
                failed = failed or _error_from(body, statement)
                if failed.severity in ("FATAL", "PANIC"):  # the server hangs up after these, no "ready" follows
                    raise failed
            elif kind == b"S":
                name, value, _ = bytes(body).decode().split("\x00")  # the value may be empty
                self.parameters[name] = value
            elif kind == b"K":
                self.pid = _INT32.unpack_from(body)[0]
        if failed:
            raise failed
        return results or [[]]

    def _messages(self) -> Iterator[tuple[bytes, memoryview]]:
        while True:
            try:
                kind, body = self._read()
            except OSError as error:
                raise self._unreachable(error) from error
            if kind == b"Z":
                return
            if kind == b"G":  # COPY FROM STDIN in a script: we have nothing to send
                self._send(_message(b"f", b"COPY FROM STDIN needs a client that has the data\x00"))
            yield kind, body

    def _read(self) -> tuple[bytes, memoryview]:
        self._fill(5)
        kind, size = bytes(self._buffer[:1]), _INT32.unpack_from(self._buffer, 1)[0]
        self._fill(1 + size)
        body = bytes(self._buffer[5 : 1 + size])
        del self._buffer[: 1 + size]
        return kind, memoryview(body)

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._buffer += received


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _INT32.pack(len(body) + 4) + body


def _parse_message(name: str, sql: str) -> bytes:
    return _message(b"P", name.encode() + b"\x00" + sql.encode() + b"\x00" + _INT16.pack(0))


def _bind_message(name: str, values: Sequence[str | None]) -> bytes:
    parts = [b"\x00", name.encode(), b"\x00", _INT16.pack(0), _INT16.pack(len(values))]
    for value in values:
        raw = None if value is None else value.encode()
        parts.append(_INT32.pack(-1) if raw is None else _INT32.pack(len(raw)) + raw)
    parts.append(_INT16.pack(0))
    return _message(b"B", b"".join(parts))


def _row_from(body: memoryview) -> Row:
    count = _INT16.unpack_from(body)[0]
    at = 2
    values: list[str | None] = []
    for _ in range(count):
        size = _INT32.unpack_from(body, at)[0]
        at += 4
        if size < 0:
            values.append(None)
        else:
            values.append(str(body[at : at + size], "utf-8"))
            at += size
    return tuple(values)


def _error_from(body: memoryview, statement: str) -> SqlFailed:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in bytes(body).split(b"\x00") if part}
    position = fields.get(b"P")
    return SqlFailed(
        sqlstate=fields.get(b"C", "XX000"),
        message=fields.get(b"M", ""),
        severity=fields.get(b"V", fields.get(b"S", "ERROR")),
        detail=fields.get(b"D", ""),
        position=int(position) if position else None,
        statement=statement,
    )

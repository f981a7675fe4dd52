"""HTTP/1.1 on a socket: reads whole requests, writes whole or chunked replies.

The standard library's handler parses headers as e-mail, which costs more than a SELECT does here.
"""

import dataclasses
import socket
import urllib.parse
from typing import BinaryIO

_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 411: "Length Required", 413: "Request Entity Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip
_LONGEST_LINE = 1 << 20
_MOST_HEADERS = 200


class BrokenRequest(Exception):
    """What came in is no request, or ended before it was whole; nothing of it may be carried out."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request, its body read to the end."""

    method: str
    path: str
    #: What stood after ``?``; a name given twice keeps its last value, as in ClickHouse.
    parameters: dict[str, str]
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


def read_request(stream: BinaryIO, connection: socket.socket) -> Request | None:
    """Return the next request on *stream*, or ``None`` when the client is gone between two requests.

    Raises:
        BrokenRequest: it is malformed, or the client left in the middle of it.
    """
    line = stream.readline(_LONGEST_LINE)
    while line in (b"\r\n", b"\n"):
        line = stream.readline(_LONGEST_LINE)
    if not line:
        return None
    try:
        method, target, version = line.decode("latin-1").split()
    except ValueError:
        raise BrokenRequest(f"malformed request line {line[:80]!r}") from None
    headers = _read_headers(stream)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=path,
        parameters=_pairs(query),
        headers=headers,
        body=_read_body(stream, headers),
        keep_alive=_keeps_alive(version, headers.get("connection", "").lower()),
    )


def _pairs(query: str) -> dict[str, str]:
    if not query:
        return {}
    # bytes that are no UTF-8 are kept as they are: a query may carry any
    return dict(urllib.parse.parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))


def _keeps_alive(version: str, connection: str) -> bool:
    return "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = stream.readline(_LONGEST_LINE)
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BrokenRequest("the request broke off within its headers")
        headers[name.strip().lower()] = value.strip()
    raise BrokenRequest(f"more than {_MOST_HEADERS} headers")


def _read_body(stream: BinaryIO, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream)
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise BrokenRequest(f"Content-Length {length!r} is no number")
    body = stream.read(int(length))
    if len(body) != int(length):
        raise BrokenRequest(f"the body broke off after {len(body)} of {length} bytes")
    return body


def _read_chunks(stream: BinaryIO) -> bytes:
    pieces = []
    while True:
        line = stream.readline(_LONGEST_LINE)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BrokenRequest("the chunked body broke off") from None
        piece = stream.read(size)
        if len(piece) != size:
            raise BrokenRequest("the chunked body broke off within a chunk")
        pieces.append(piece)
        end = stream.readline(_LONGEST_LINE)
        while size == 0 and end not in (b"\r\n", b"\n", b""):
            end = stream.readline(_LONGEST_LINE)  # trailers say nothing we use
        if not end.endswith(b"\n"):
            raise BrokenRequest("the chunked body broke off behind a chunk")
        if size == 0:
            return b"".join(pieces)


class Reply:
    """The answer to one request; sent whole, or in chunks when its length is not known."""

    def __init__(self, connection: socket.socket, *, is_head: bool = False, keep_alive: bool = True) -> None:
        self._connection = connection
        self._is_head = is_head
        self.keep_alive = keep_alive
        #: Nothing but more of the same reply can be sent any more.
        self.begun = False

    def send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Send the whole reply."""
        self.begun = True
        head = self._head(status, {**headers, "Content-Length": str(len(body))})
        self._connection.sendall(head if self._is_head else head + body)

    def begin(self, headers: dict[str, str]) -> None:
        """Send the head of a 200 reply whose body follows in chunks."""
        self.begun = True
        self._connection.sendall(self._head(200, {**headers, "Transfer-Encoding": "chunked"}))

    def chunk(self, piece: bytes) -> None:
        """Send one piece of the body."""
        if piece and not self._is_head:
            self._connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self, piece: bytes = b"") -> None:
        """Send the last piece and the end of a chunked body."""
        if not self._is_head:
            head = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            self._connection.sendall(head + b"0\r\n\r\n")

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}"]
        lines.append("Connection: " + ("Keep-Alive" if self.keep_alive else "Close"))
        lines += [f"{name}: {_one_line(value)}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _one_line(value: str) -> str:
    """Return *value* without line ends: a name a client chose must not become a header."""
    return value.replace("\r", " ").replace("\n", " ")

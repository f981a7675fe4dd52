"""The kit's connection, able to feed ``COPY ... FROM stdin``."""

import struct
from collections.abc import Iterator
from typing import Final, Self

from realstack.services.postgres.wire import Connection

_CHUNK: Final = 65536
_LENGTH: Final = struct.Struct("!i")


class CopyConnection(Connection):
    """A connection that answers the server's wish for data with what ``copy_in`` was given."""

    _data: bytes | None = None

    def copy_in(self, sql: str, data: str) -> None:
        """Run the COPY statement *sql* with *data* as its input.

        Raises:
            SqlFailed: the server refused the statement or a row.
        """
        self._data = data.encode()
        try:
            self.script(sql)
        finally:
            self._data = None

    def __enter__(self) -> Self:
        return self

    def _messages(self) -> Iterator[tuple[bytes, memoryview]]:
        while True:
            kind, body = self._read()
            if kind == b"Z":
                return
            if kind == b"G":
                self._feed()
            yield kind, body

    def _feed(self) -> None:
        if self._data is None:
            self._send(_framed(b"f", b"there is no data for COPY FROM STDIN\x00"))
            return
        for at in range(0, len(self._data), _CHUNK):
            self._send(_framed(b"d", self._data[at : at + _CHUNK]))
        self._send(_framed(b"c", b""))


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + 4) + body

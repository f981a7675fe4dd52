"""Reads the write-ahead log: which sequences moved, and from which database the server's own catalogue was changed.

**Sequences.** With hundreds of them, reading the log is cheaper than reading them. A rollback takes no number back
and a bare ``nextval`` fires no trigger, so nothing in the database says which sequences moved. Their log records do,
rolled back or not. Each names the file of its sequence twice (block reference and record body), as tablespace,
database, file: so one search for the first two finds every file of this database that was changed. What is found too
much costs a look at a sequence; a file nobody knows (TRUNCATE makes new ones) costs a look at all.

It rests on the baseline being set by setval, after which the first ``nextval`` always writes a record.

**Authors.** Roles and their like belong to no database, but the commit of whoever changed them says where it was
connected.

Source: PostgreSQL, src/include/access/xlogrecord.h, xlog_internal.h, xact.h and src/backend/commands/sequence.c.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

#: From this many sequences on the log is read: below, looking at each is cheaper than one more round trip.
MANY_SEQUENCES: Final = 64
#: More log than this is not searched.
_MAX_BYTES: Final = 1 << 20
_FILE: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<II")
_PAGE: Final = 8192
_SHORT_HEADER, _LONG_HEADER = 24, 40
_GLOBAL_TABLESPACE: Final = 1664
_READ: Final = """
SELECT pg_read_binary_file($1::text, $2::bigint, $3::bigint) WHERE pg_current_wal_flush_lsn() >= $4::pg_lsn
"""
_FACTS: Final = """
SELECT (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_settings WHERE name =
    'wal_segment_size')
"""


class Log:
    """The write-ahead log of the server *session* is connected to, as far as it is written out."""

    def __init__(self, session: "Connection") -> None:
        self._session = session
        timeline, size = session.query(_FACTS)[0]
        self._timeline, self.segment_bytes = int(timeline or 1), int(size or 0)
        session.prepare("wal", _READ)

    def now(self) -> str:
        """Return where the next record will be written."""
        return self._session.query("SELECT pg_current_wal_insert_lsn()")[0][0] or ""

    def write_out(self) -> None:
        """Have everything up to now written, so that it can be read.

        Only the commit of a transaction that wrote something waits for that; an empty message is the least there is,
        and no decoder of the test's database is in this one, or asked for a mark that is a sequence.
        """
        marked = self._session.query("SELECT to_regclass('realstack.mark') IS NOT NULL") == [("t",)]
        write = "setval('realstack.mark', 1)" if marked else "pg_logical_emit_message(true, 'realstack', '')"
        self._session.script(f"BEGIN; SET LOCAL synchronous_commit = on; SELECT {write}; COMMIT")

    def read(self, start: int, end: int) -> bytes | None:
        """Return the bytes from *start* to *end*; ``None`` when they are too many or not written out."""
        if end - start > _MAX_BYTES:
            return None
        parts = []
        while start < end:
            segment, offset = divmod(start, self.segment_bytes)
            size = min(end, (segment + 1) * self.segment_bytes) - start
            values = (self._file(segment), str(offset), str(size), _lsn_of(end))
            rows = self._session.run([("wal", values)])[0]
            if not rows:
                return None
            parts.append(bytes.fromhex((rows[0][0] or "")[2:]))
            start += size
        return b"".join(parts)

    def _file(self, segment: int) -> str:
        high, low = divmod(segment, (1 << 32) // self.segment_bytes)
        return f"pg_wal/{self._timeline:08X}{high:08X}{low:08X}"


class SequenceLog:
    """Reads which sequences of one database moved since it last looked."""

    def __init__(self, session: "Connection", home: str) -> None:
        """Start looking from now on; the baseline has been set and nobody has moved anything since."""
        self._session, self._log = session, Log(session)
        place = session.query("SELECT dattablespace FROM pg_database WHERE oid = $1", home)[0][0]
        self._pattern = _PLACE.pack(int(place or 0), int(home))
        self._sequences: dict[int, str] = {}
        self._files: set[int] = set()
        self._learn()
        self.since = self._log.now()

    @staticmethod
    def is_worthwhile(session: "Connection") -> bool:
        """Tell whether there are many sequences, and writing the log out costs no wait for a disk."""
        rows = session.query("SELECT count(*), current_setting('fsync') FROM realstack.sequences")
        return int(rows[0][0] or 0) >= MANY_SEQUENCES and rows[0][1] == "off"

    def moved(self, lsn: str) -> tuple[str, ...] | None:
        """Return the sequences that may have moved up to *lsn*, or ``None`` when all must be looked at."""
        if lsn == self.since:
            return ()
        found = self._log.read(bytes_of(self.since), bytes_of(lsn))
        self.since = lsn
        return None if found is None else self._search(found)

    def _search(self, log: bytes) -> tuple[str, ...] | None:
        found: set[int] = set()
        at = log.find(self._pattern)
        while 0 <= at <= len(log) - 12:
            found.add(_FILE.unpack_from(log, at + 8)[0])
            at = log.find(self._pattern, at + 8)
        if not found <= self._files:
            self._learn()
            return None
        return tuple(self._sequences[file] for file in found if file in self._sequences)

    def _learn(self) -> None:
        rows = self._session.query(
            "SELECT pg_relation_filenode(c.oid), q.relid FROM pg_class c"
            " LEFT JOIN realstack.sequences q ON q.relid = c.oid WHERE pg_relation_filenode(c.oid) IS NOT NULL"
        )
        self._files = {int(file or 0) for file, _ in rows}
        self._sequences = {int(file or 0): relid for file, relid in rows if relid}


_RECORD: Final = struct.Struct("<IIQBBxxI")  # length, transaction, previous, info, resource manager, checksum
_XACT_MANAGER: Final = 1
#: (manager, operation) of INSERT, DELETE, UPDATE, HOT UPDATE, INSERT of many. Not of pruning: any reader does that.
_CHANGES: Final = frozenset({(10, 0x00), (10, 0x10), (10, 0x20), (10, 0x40), (9, 0x50)})
_COMMITS: Final = (0x00, 0x30)  # COMMIT, COMMIT PREPARED
_HAS_INFO, _HAS_DATABASE, _HAS_CHILDREN = 0x80, 1, 2


def authors_of(log: Log, files: Iterable[int], *, start: str, end: str) -> set[str] | None:
    """Return the databases whose sessions committed changes to the shared catalogues *files*; ``None``: unknown."""
    first = bytes_of(start)
    found = log.read(first, bytes_of(end))
    if found is None:
        return None
    patterns = [_PLACE.pack(_GLOBAL_TABLESPACE, 0) + _FILE.pack(file) for file in files]
    writers: set[int] = set()
    databases: dict[int, int] = {}
    for transaction, info, manager, record in _records(_without_headers(found, first, log.segment_bytes)):
        if manager == _XACT_MANAGER:
            if info & 0x70 in _COMMITS:
                databases.update(_commit(transaction, info, record))
        elif (manager, info & 0x70) in _CHANGES and any(pattern in record for pattern in patterns):
            writers.add(transaction)
    return {str(databases[writer]) for writer in writers if writer in databases}


def _without_headers(log: bytes, address: int, segment_bytes: int) -> bytes:
    """Drop the page headers, which lie in the middle of records; both kinds keep the records' alignment."""
    parts, at = [], 0
    while at < len(log):
        here = address + at
        if here % _PAGE == 0:
            at += _LONG_HEADER if here % segment_bytes == 0 else _SHORT_HEADER
        size = _PAGE - (address + at) % _PAGE
        parts.append(log[at : at + size])
        at += size
    return b"".join(parts)


def _records(stream: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + _RECORD.size <= len(stream):
        length, transaction, _, info, manager, _ = _RECORD.unpack_from(stream, at)
        if length < _RECORD.size:
            return
        yield transaction, info, manager, stream[at + _RECORD.size : at + length]
        at += (length + 7) & ~7


def _commit(transaction: int, info: int, record: bytes) -> dict[int, int]:
    """Return the database of a commit, by its transaction and each of its subtransactions."""
    at = 0
    while record[at] in (253, 252):  # replication origin, top transaction
        at += 3 if record[at] == 253 else 5
    at += 2 if record[at] == 255 else 5  # how long the body is
    at += 8  # when
    if not info & _HAS_INFO:
        return {}
    (extras,) = _FILE.unpack_from(record, at)
    at += 4
    if not extras & _HAS_DATABASE:
        return {}
    (database,) = _FILE.unpack_from(record, at)
    at += 8
    children: tuple[int, ...] = ()
    if extras & _HAS_CHILDREN:
        (count,) = _FILE.unpack_from(record, at)
        children = struct.unpack_from(f"<{count}I", record, at + 4)
    return dict.fromkeys((transaction, *children), database)


def bytes_of(lsn: str) -> int:
    """Return the address *lsn* stands for."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def _lsn_of(address: int) -> str:
    return f"{address >> 32:X}/{address & 0xFFFFFFFF:X}"

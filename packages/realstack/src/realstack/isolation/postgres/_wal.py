"""Reads the write-ahead log: which sequences moved, and from which database the server's own catalogue was changed.

**Sequences.** With hundreds of them, reading the log is cheaper than reading them. A rollback takes no number back
and a bare ``nextval`` fires no trigger, so nothing in the database says which sequences moved. Their log records do,
rolled back or not. It rests on the baseline being set by setval, after which the first ``nextval`` always writes a
record. A record of a file nobody knows (TRUNCATE ... RESTART IDENTITY makes new ones) costs a look at all of them.

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
        if end % _PAGE == (_LONG_HEADER if end % self.segment_bytes < _PAGE else _SHORT_HEADER):
            end -= end % _PAGE  # the next record comes after a page header that nobody has written yet
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
        self._own: set[int] = set()
        self._distrusted = False
        self._learn()
        self.since = self._log.now()

    @staticmethod
    def is_worthwhile(session: "Connection") -> bool:
        """Tell whether there are many sequences, and writing the log out costs no wait for a disk."""
        rows = session.query("SELECT count(*), current_setting('fsync') FROM realstack.sequences")
        return int(rows[0][0] or 0) >= MANY_SEQUENCES and rows[0][1] == "off"

    def moved(self, lsn: str) -> tuple[str, ...] | None:
        """Return the sequences that may have moved up to *lsn*, or ``None`` when all must be looked at."""
        if lsn == self.since and not self._distrusted:
            return ()
        start, own = bytes_of(self.since), self._own
        found = self._log.read(start, bytes_of(lsn))
        self.since, self._own = lsn, set()
        if found is None or self._distrusted:
            self._distrusted = False
            return None
        try:
            files = set(self._moved_files(_without_headers(found, start, self._log.segment_bytes), own))
        except _Gap:
            return None
        if not files <= self._sequences.keys():
            self._learn()
            return None
        return tuple(self._sequences[file] for file in files)

    def distrust(self) -> None:
        """Have all sequences looked at the next time: the baseline itself was moved."""
        self._distrusted = True

    def ignore(self, transaction: str | None) -> None:
        """Leave out what *transaction* of the kit's writes from *since* on: it sets sequences to their baseline."""
        if transaction:
            self._own.add(int(transaction) & 0xFFFFFFFF)

    def _moved_files(self, stream: bytes, own: set[int]) -> Iterator[int]:
        for transaction, _, manager, record in _records(stream):
            if manager == _SEQUENCE_MANAGER and transaction not in own and (at := record.find(self._pattern)) >= 0:
                yield _FILE.unpack_from(record, at + _PLACE.size)[0]

    def _learn(self) -> None:
        rows = self._session.query("SELECT pg_relation_filenode(relid), relid FROM realstack.sequences")
        self._sequences = {int(file): relid for file, relid in rows if file and relid}


_RECORD: Final = struct.Struct("<IIQBBxxI")  # length, transaction, previous, info, resource manager, checksum
_XACT_MANAGER: Final = 1
_SEQUENCE_MANAGER: Final = 15
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
    try:
        for transaction, info, manager, record in _records(_without_headers(found, first, log.segment_bytes)):
            if manager == _XACT_MANAGER:
                if info & 0x70 in _COMMITS:
                    databases.update(_commit(transaction, info, record))
            elif (manager, info & 0x70) in _CHANGES and any(pattern in record for pattern in patterns):
                writers.add(transaction)
    except _Gap:
        return None
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


class _Gap(Exception):
    """There is no record where one should be: the rest of a segment was skipped (pg_switch_wal)."""


def _records(stream: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at < len(stream):
        if at + _RECORD.size > len(stream):
            raise _Gap(at, len(stream))
        length, transaction, _, info, manager, _ = _RECORD.unpack_from(stream, at)
        if length < _RECORD.size or at + length > len(stream):
            raise _Gap(at, len(stream), length, manager, stream[at : at + 40].hex())
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

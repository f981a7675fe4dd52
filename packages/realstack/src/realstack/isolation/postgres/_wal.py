"""Finds the sequences that moved in the write-ahead log: with hundreds of them, reading that is cheaper than reading them.

A rollback takes no number back and a bare ``nextval`` fires no trigger, so nothing in the database says which sequences
moved. Their log records do, rolled back or not. Each names the file of its sequence twice (block reference and record
body), as tablespace, database, file: so one search for the first two finds every file of this database that was changed.
What is found too much costs a look at a sequence; a file nobody knows (TRUNCATE makes new ones) costs a look at all.

It rests on the baseline being set by setval, after which the first ``nextval`` always writes a record.

Source: PostgreSQL, src/include/access/xlogrecord.h and src/backend/commands/sequence.c.
"""

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

#: From this many sequences on the log is read: below, looking at each is cheaper than one more round trip.
MANY_SEQUENCES: Final = 64
#: More log than this is not searched.
_MAX_BYTES: Final = 1 << 20
_FILE: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<II")
_READ: Final = """
SELECT pg_read_binary_file($1::text, $2::bigint, $3::bigint) WHERE pg_current_wal_flush_lsn() >= $4::pg_lsn
"""
_FACTS: Final = """
SELECT (SELECT dattablespace FROM pg_database WHERE oid = $1), (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_settings WHERE name = 'wal_segment_size'),
    pg_current_wal_insert_lsn()
"""


class SequenceLog:
    """Reads which sequences of one database moved since it last looked."""

    def __init__(self, session: "Connection", home: str) -> None:
        """Start looking from now on; the baseline has been set and nobody has moved anything since."""
        self._session = session
        session.prepare("wal", _READ)
        place, timeline, size, lsn = session.query(_FACTS, home)[0]
        self._pattern = _PLACE.pack(int(place or 0), int(home))
        self._timeline, self._segment_bytes = int(timeline or 1), int(size or 0)
        self._sequences: dict[int, str] = {}
        self._files: set[int] = set()
        self._learn()
        self.since = lsn or ""

    @staticmethod
    def is_worthwhile(session: "Connection") -> bool:
        """Tell whether there are many sequences, and writing the log out costs no wait for a disk."""
        rows = session.query("SELECT count(*), current_setting('fsync') FROM realstack.sequences")
        return int(rows[0][0] or 0) >= MANY_SEQUENCES and rows[0][1] == "off"

    def moved(self, lsn: str) -> tuple[str, ...] | None:
        """Return the sequences that may have moved up to *lsn*, or ``None`` when all must be looked at."""
        if lsn == self.since:
            return ()
        start, end = _bytes_of(self.since), _bytes_of(lsn)
        self.since = lsn
        segment, offset = divmod(start, self._segment_bytes)
        if end - start > _MAX_BYTES or end > (segment + 1) * self._segment_bytes:
            return None
        rows = self._session.run([("wal", (self._file(segment), str(offset), str(end - start), lsn))])[0]
        return self._search(bytes.fromhex((rows[0][0] or "")[2:])) if rows else None

    def _file(self, segment: int) -> str:
        high, low = divmod(segment, (1 << 32) // self._segment_bytes)
        return f"pg_wal/{self._timeline:08X}{high:08X}{low:08X}"

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


def _bytes_of(lsn: str) -> int:
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)

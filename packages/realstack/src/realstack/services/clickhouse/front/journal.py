"""What was changed since a database was last put back.

Only what is provably reading leaves no trace. An INSERT or TRUNCATE names its table; anything else that changes data or
structure marks every database it could have reached as ``unclear``, and the isolation then compares all of it.
"""

import dataclasses
import threading

from . import statement
from .engine import Connection

#: CONTROL statements that touch the session, running queries or nothing that stays.
_HARMLESS = frozenset((b"SET", b"USE", b"KILL", b"BACKUP", b"EXPLAIN", b"BEGIN", b"COMMIT", b"ROLLBACK"))
_SWITCHES = frozenset((b"STOP", b"START", b"ENABLE", b"DISABLE"))


@dataclasses.dataclass(kw_only=True)
class Changes:
    """What has happened to one database, or by statements sent from within it."""

    tables: set[str] = dataclasses.field(default_factory=set)
    #: Statements, shortened, after which the whole database has to be compared.
    unclear: list[str] = dataclasses.field(default_factory=list)
    #: Databases created from here.
    databases: set[str] = dataclasses.field(default_factory=set)
    #: A function, named collection or the like was created or dropped from here.
    is_global: bool = False
    #: ``SYSTEM STOP ...`` and its like, in order.
    switches: list[str] = dataclasses.field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.tables or self.unclear or self.databases or self.is_global or self.switches)


class Journal:
    """The changes of every database that asked for it; the others' are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[str, Changes] = {}

    def watch(self, database: str) -> None:
        """Start or restart the record of *database*."""
        with self._lock:
            self._changes[database] = Changes()

    def forget(self, database: str) -> None:
        """Keep no record of *database* any more."""
        with self._lock:
            self._changes.pop(database, None)

    def take(self, database: str) -> Changes:
        """Return the record of *database* and start a new one."""
        with self._lock:
            changes = self._changes.get(database, Changes())
            self._changes[database] = Changes()
            return changes

    def note(self, connection: Connection, sql: bytes, kind: str, *, database: str) -> None:
        """Record *sql*, which is about to be run from within *database*."""
        if kind == "READ_ONLY" or not self._changes:
            return
        words = statement.first_words(sql)
        with self._lock:
            if kind in ("MUTATING_GLOBAL", "CONTROL") and self._note_beyond_tables(words, sql, kind, database):
                return
            table = statement.written_table(words)
            if table is not None and kind == "MUTATING":
                self._of(table[0] or database).tables.add(table[1])
                return
            self._note_unclear(connection, words, sql, database)

    def _note_beyond_tables(self, words: list[bytes], sql: bytes, kind: str, database: str) -> bool:
        """Record a statement that is not about tables; return whether that was all there is to it."""
        first = words[0].upper() if words else b""
        if kind == "MUTATING_GLOBAL":
            self._of(database).is_global = True
            return True
        if first == b"SYSTEM":
            if words[1:] and words[1].upper() in _SWITCHES:
                self._of(database).switches.append(sql.decode("utf-8", "replace"))
            return True
        temporary = first == b"CREATE" and b"TEMPORARY" in (word.upper() for word in words[1:4])
        return first in _HARMLESS or temporary

    def _note_unclear(self, connection: Connection, words: list[bytes], sql: bytes, database: str) -> None:
        created = statement.named_database(words)
        if created is not None and words[0].upper() == b"CREATE":
            self._of(database).databases.add(created)
            return
        short = sql[:200].decode("utf-8", "replace")
        reached = [name for name in self._changes if connection.classify(sql, name)[2]] or [*self._changes, database]
        for name in reached:
            self._of(name).unclear.append(short)

    def _of(self, database: str) -> Changes:
        """The record of *database*; one that is thrown away when nobody watches it."""
        return self._changes.get(database) or Changes()

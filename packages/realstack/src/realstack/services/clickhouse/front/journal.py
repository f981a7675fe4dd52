"""What was changed since a database was last put back.

Only what is provably reading leaves no trace. An INSERT or TRUNCATE names its table; anything else that changes data or
structure marks every database it could have reached as ``unclear``, and the isolation then compares all of it.
"""

import dataclasses
import threading

from . import statement
from .engine import Connection, quoted

#: CONTROL statements that touch the session, running queries or nothing that stays.
_HARMLESS = frozenset((b"SET", b"USE", b"KILL", b"BACKUP", b"EXPLAIN", b"BEGIN", b"COMMIT", b"ROLLBACK"))
_SWITCHES = frozenset((b"STOP", b"START", b"ENABLE", b"DISABLE"))


@dataclasses.dataclass(kw_only=True)
class Changes:
    """What has happened to one database, or by statements sent from within it."""

    tables: set[str] = dataclasses.field(default_factory=set)
    #: Tables that were not in the baseline and were created.
    made: set[str] = dataclasses.field(default_factory=set)
    #: Statements, shortened, after which the whole database has to be compared.
    unclear: list[str] = dataclasses.field(default_factory=list)
    #: Databases created from here.
    databases: set[str] = dataclasses.field(default_factory=set)
    #: SQL functions and named collections touched from here: (kind, name) to what it was before, as DDL.
    shared: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    #: ``SYSTEM STOP ...`` and its like, in order.
    switches: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the isolation said of the baseline of a database."""

    #: Every object in it.
    names: frozenset[str] = frozenset()
    #: The tables whose baseline is empty, each with all that a row in it leads to: itself, and the targets of its
    #: materialised views.
    empties: dict[str, list[str]] = dataclasses.field(default_factory=dict)


class Journal:
    """The changes of every database that asked for it; the others' are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[str, Changes] = {}
        self._known: dict[str, Known] = {}

    def watch(self, database: str, known: Known) -> None:
        """Keep a record of *database*, whose baseline is *known*."""
        with self._lock:
            self._known[database] = known
            self._changes.setdefault(database, Changes())

    def known(self, database: str) -> Known:
        """What was said of the baseline of *database*."""
        return self._known.get(database, Known())

    def forget(self, database: str) -> None:
        """Keep no record of *database* any more."""
        with self._lock:
            self._changes.pop(database, None)
            self._known.pop(database, None)

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
            if kind in ("MUTATING_GLOBAL", "CONTROL") and self._note_beyond_tables(
                connection, words, sql, kind, database
            ):
                return
            if kind != "MUTATING" or not self._note_table(words, database):
                self._note_unclear(connection, words, sql, database)

    def _note_table(self, words: list[bytes], database: str) -> bool:
        """Record a statement about one table whose effect is plain; return whether it is such a one."""
        written = statement.written_table(words)
        if written is not None:
            changes = self._of(written[0] or database)
            if written[1] not in changes.made:
                changes.tables.add(written[1])
            return True
        named = statement.made_table(words)
        if named is None:
            return False
        home, name, verb = named
        if name in self.known(home or database).names:
            # a table of the baseline: left alone where it is there, and it is unless something unclear came before
            return verb == b"CREATE IF NOT EXISTS"
        if verb != b"DROP":
            self._of(home or database).made.add(name)
        return True

    def _note_beyond_tables(
        self, connection: Connection, words: list[bytes], sql: bytes, kind: str, database: str
    ) -> bool:
        """Record a statement that is not about tables; return whether that was all there is to it."""
        first = words[0].upper() if words else b""
        if kind == "MUTATING_GLOBAL":
            touched = statement.shared_object(words)
            if touched is not None and touched not in self._of(database).shared:
                self._of(database).shared[touched] = _definition(connection, *touched)
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


def _definition(connection: Connection, kind: str, name: str) -> str:
    """Return the DDL of what is about to be changed; empty when it is not there or cannot be told."""
    if kind != "FUNCTION":
        return ""
    return connection.value(f"SELECT create_query FROM system.functions WHERE name = {quoted(name)}")  # noqa: S608  # quoted

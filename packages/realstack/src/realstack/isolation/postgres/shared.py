"""What all databases of a server share: roles, settings, databases, slots. No trigger watches it, so it is compared.

A signature of it comes back with every reset; only when that differs is anything read here. Another worker's test may
have made the change: who did is read from the write-ahead log, where each commit names its database. What was done
from this worker's database, names it, or was done while nobody else is at work on the server, is put back; what was
done from other workers' databases is left to them; where that cannot be told, it is left alone and told as a leak.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from realstack.abc import Leak
from realstack.errors import SqlFailed
from realstack.isolation.postgres._session import literal, quoted, setting_value
from realstack.isolation.postgres._wal import Log, authors_of
from realstack.isolation.postgres.tracking import MARK

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

#: Lines of ``realstack.unwatched`` that are this database's own; the others are the server's.
_EVENT_TRIGGERS, _OWN_ROW, _LARGE_OBJECTS = 8, 11, 12
#: Shared catalogues, and which of their rows are the server's or this database's ($1); 1262 is pg_database's oid.
_CATALOGUES: Final = {
    "pg_authid": "true",
    "pg_auth_members": "true",
    "pg_db_role_setting": "setdatabase IN (0, $1)",
    "pg_shdescription": "classoid <> 1262 OR objoid = $1",
    "pg_parameter_acl": "true",
    "pg_shdepend": "dbid = 0 AND classid <> 1262",
}
#: Columns that name a database, and what stands there for this one: its oid changes when it is replaced.
_HOME_COLUMNS: Final = {"pg_db_role_setting": "setdatabase", "pg_shdescription": "objoid"}
_HOME: Final = "home"
#: Stands for a session in ``postgres``: any worker's.
_NOBODYS: Final = "nobody's"


@dataclasses.dataclass(frozen=True, slots=True)
class Unwatched:
    """The signature of everything no event trigger sees."""

    shared: str
    event_triggers: str
    own_row: str
    large_objects: str

    @property
    def own(self) -> tuple[str, str, str]:
        """The part that is this database's."""
        return self.event_triggers, self.own_row, self.large_objects

    @classmethod
    def parse(cls, text: str) -> "Unwatched":
        lines = text.split("\n")
        own = (_EVENT_TRIGGERS, _OWN_ROW, _LARGE_OBJECTS)
        shared = "\n".join(line for number, line in enumerate(lines) if number not in own)
        return cls(shared, *(lines[number] for number in own))


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """The shared catalogue as it was: rows as JSON, by catalogue."""

    rows: dict[str, frozenset[str]]
    databases: frozenset[str]
    tablespaces: frozenset[str]
    #: (name, oid of its database or "")
    slots: frozenset[tuple[str, str]]
    settings: str


class SharedState:
    """The server-wide catalogue as one worker left it, and the way back to it."""

    def __init__(
        self,
        session: "Connection",
        home: str,
        *,
        ours: bool,
        alone: Callable[[], bool] = lambda: True,
        old: "SharedState | None" = None,
    ) -> None:
        """Note what is there; with *old*, keep what that one noted (the database was replaced in between)."""
        self._alone = alone
        self._session, self._home, self._ours = session, home, ours
        self._catalogues = [name for name in _CATALOGUES if self._exists(name)]
        self._noted: _Snapshot = old._noted if old else self._read()
        self._log: Log | None = None
        #: This database, and those it replaced: what the test did was done from the one before.
        self._homes: frozenset[str] = (old._homes if old else frozenset()) | {home}
        #: Up to where in the log nothing has changed since the last note.
        self.unchanged_until: str = old.unchanged_until if old else self._now()

    def changed(self) -> bool:
        """Tell whether anything differs from what was noted; reads it all."""
        return self._read() != self._noted

    def note(self) -> None:
        """Take what is there now as what to go back to."""
        self.unchanged_until = self._now()
        self._noted = self._read()

    def put_back(self) -> list[Leak]:
        """Undo what this worker's test did since the last note; tell what may have been somebody else's."""
        found = self._read()
        authors = {_HOME} if self.is_alone() else self._authors()
        alone, by_others = authors == {_HOME}, bool(authors) and not authors & {_HOME, _NOBODYS}
        leaks = [
            *self._drop_slots(found, alone=alone),
            *self._drop_new(found.databases - self._noted.databases, "database", _drop_database_sql, alone=alone),
            *self._drop_roles(found, alone=alone),
            *self._drop_new(
                found.tablespaces - self._noted.tablespaces, "tablespace", _drop_tablespace_sql, alone=alone
            ),
        ]
        self._restore_rows(alone=alone)
        if found.settings != self._noted.settings:
            leaks += self._restore_settings(alone=alone)
        self.note()
        return [leak for leak in leaks if not (by_others and leak.what.endswith(_NOT_SURE))]

    def _now(self) -> str:
        return self._session.query("SELECT pg_current_wal_insert_lsn()")[0][0] or ""

    def _authors(self) -> set[str]:
        """Return from which databases the shared catalogue was changed: ``_HOME``, ``_NOBODYS``, another's oid."""
        self._log = self._log or Log(self._session)
        end = self._now()  # before writing out: others may write more right after
        self._log.write_out()
        rows = self._session.query(
            "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname = ANY ($1) AND relisshared",
            "{" + ",".join((*self._catalogues, "pg_tablespace", "pg_database")) + "}",
        )
        files = {name: int(file or 0) for name, file in rows if name != "pg_shdepend"}
        admins = self._session.query("SELECT oid FROM pg_database WHERE datname IN ('postgres', 'template1')")
        known = dict.fromkeys((oid or "" for (oid,) in admins), _NOBODYS) | dict.fromkeys(self._homes, _HOME)
        copied = files.pop("pg_database")
        found = authors_of(self._log, files.values(), start=self.unchanged_until, end=end)
        databases = authors_of(self._log, [copied], start=self.unchanged_until, end=end)
        if found is None or databases is None:
            return {_NOBODYS}
        # the kit's own copies of templates are made from the admin databases
        copies = {known.get(one, one) for one in databases} - {_NOBODYS}
        return {known.get(one, one) for one in found} | copies

    # --- reading ------------------------------------------------------------------------------------------------------

    def _exists(self, catalogue: str) -> bool:
        return self._session.query(f"SELECT to_regclass('pg_catalog.{catalogue}') IS NOT NULL") == [("t",)]

    def _column(self, sql: str, *params: str | int) -> frozenset[str]:
        return frozenset(value or "" for (value,) in self._session.query(sql, *params))

    def _read(self) -> _Snapshot:
        slots = self._session.query("SELECT slot_name, datoid FROM pg_replication_slots WHERE NOT temporary")
        return _Snapshot(
            rows={name: self._rows(name) for name in self._catalogues},
            databases=self._column("SELECT datname FROM pg_database WHERE datconnlimit NOT IN ($1, -2)", MARK),
            tablespaces=self._column("SELECT spcname FROM pg_tablespace"),
            slots=frozenset((name or "", database or "") for name, database in slots),
            settings=self._settings(),
        )

    def _rows(self, catalogue: str) -> frozenset[str]:
        where = _CATALOGUES[catalogue].replace("$1", self._home)
        # names of catalogues cannot be parameters
        found = self._column(f"SELECT to_jsonb(c) FROM {catalogue} c WHERE {where}")  # noqa: S608
        column = _HOME_COLUMNS.get(catalogue)
        return found if column is None else frozenset(self._renamed(row, column, self._home, _HOME) for row in found)

    def _renamed(self, row: str, column: str, old: str, new: str) -> str:
        values = json.loads(row)
        if str(values[column]) == old:
            values[column] = new
        return json.dumps(values, sort_keys=True)

    def _as_stored(self, catalogue: str, row: str) -> str:
        column = _HOME_COLUMNS.get(catalogue)
        return row if column is None else self._renamed(row, column, _HOME, self._home)

    def _settings(self) -> str:
        if not self._ours:
            return ""
        return self._session.query("SELECT pg_read_file('postgresql.auto.conf')")[0][0] or ""

    def is_alone(self) -> bool:
        """Tell whether nobody else is at work on this server: no other process, no session in another's database.

        Sessions alone do not tell: another worker's database may be replaced at this very moment. Admin sessions sit in
        ``postgres``.
        """
        return self._alone() and not self._session.query(
            "SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND datid <> $1"
            " AND datname NOT IN ('postgres', 'template1') LIMIT 1",
            self._home,
        )

    # --- putting back -------------------------------------------------------------------------------------------------

    def _drop_slots(self, found: _Snapshot, *, alone: bool) -> list[Leak]:
        leaks = []
        for name, database in sorted(found.slots - self._noted.slots):
            if database not in ("", self._home):
                continue  # another database's
            what = f"slot {name!r}"
            if alone or database == self._home:
                self._session.query(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active",
                    name,
                )
                what += self._attempt(f"SELECT pg_drop_replication_slot({literal(name)})")
            else:
                what += _NOT_SURE
            leaks.append(Leak(service="postgres", kind="replication slot", what=what))
        return leaks

    def _drop_roles(self, found: _Snapshot, *, alone: bool) -> list[Leak]:
        before = {json.loads(row)["oid"] for row in self._noted.rows["pg_authid"]}
        added = {row["rolname"] for row in map(json.loads, found.rows["pg_authid"]) if row["oid"] not in before}
        for name in added if alone else ():
            self._attempt(f"DROP OWNED BY {quoted(name)} CASCADE")
        return self._drop_new(added, "role", _drop_role_sql, alone=alone)

    def _drop_new(self, names: Iterable[str], kind: str, drop: Callable[[str], str], *, alone: bool) -> list[Leak]:
        """Drop what was made; that is no leak, only what could not be dropped is."""
        leaks = []
        for name in sorted(names):
            remark = self._attempt(drop(name)) if alone else _NOT_SURE
            if remark:
                leaks.append(Leak(service="postgres", kind=kind, what=f"{kind} {name!r}{remark}"))
        return leaks

    def _attempt(self, sql: str) -> str:
        try:
            self._session.query(sql)
        except SqlFailed as error:
            return f" could not be removed: {error.message}{error.more}"
        return ""

    def _restore_rows(self, *, alone: bool) -> None:
        """Put altered and lost rows back as they were, oids included, by writing the catalogue itself."""
        changes = []
        for name in self._catalogues:
            there, noted = self._rows(name), self._noted.rows[name]
            added = [literal(self._as_stored(name, row)) for row in there - noted if alone or _is_own(name, row)]
            lost = [literal(self._as_stored(name, row)) for row in noted - there if alone or _is_own(name, row)]
            if added:
                listed = ", ".join(sorted(added))
                # names of catalogues cannot be parameters
                changes.append(
                    f"DELETE FROM {name} c WHERE to_jsonb(c) IN (SELECT unnest(ARRAY[{listed}])::jsonb)"  # noqa: S608
                )
            changes += [
                f"INSERT INTO {name} SELECT * FROM jsonb_populate_record(NULL::{name}, {row})"  # noqa: S608
                for row in sorted(lost)
            ]
        if changes:
            # the setting is the session's for these statements only; rows of roles keep their oid this way
            text = "; ".join(changes)
            self._session.script(f"BEGIN; SET LOCAL allow_system_table_mods = on; {text}; COMMIT")

    def _restore_settings(self, *, alone: bool) -> list[Leak]:
        if not alone:
            return [Leak(service="postgres", kind="setting", what=f"ALTER SYSTEM{_NOT_SURE}")]
        self._session.query("ALTER SYSTEM RESET ALL")
        for line in self._noted.settings.splitlines():
            name, separator, value = line.partition(" = ")
            if separator and not line.startswith("#"):
                stored = value[1:-1].replace("''", "'")
                self._session.query(f"ALTER SYSTEM SET {quoted(name)} = {setting_value(name, stored)}")
        self._session.query("SELECT pg_reload_conf()")
        return []


def _is_own(catalogue: str, row: str) -> bool:
    """Tell whether *row* names the worker's own database, which no other worker's test touches."""
    values: dict[str, Any] = json.loads(row)
    return values.get(_HOME_COLUMNS.get(catalogue, "")) == _HOME


_NOT_SURE: Final = " may have been made by another worker's test: left as it is"


def _drop_database_sql(name: str) -> str:
    return f"DROP DATABASE {quoted(name)} WITH (FORCE)"


def _drop_role_sql(name: str) -> str:
    return f"DROP ROLE {quoted(name)}"


def _drop_tablespace_sql(name: str) -> str:
    return f"DROP TABLESPACE {quoted(name)}"

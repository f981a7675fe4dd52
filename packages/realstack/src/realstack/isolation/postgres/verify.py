"""Compares a whole database with a baseline: rows, sequences, catalogue, large objects, roles.

It trusts nothing the reset knows: every row is read and hashed. Two databases cloned from one template have the same
object ids, so catalogue rows are compared as they are, without what a mere rewrite changes (file names, statistics).
"""

import dataclasses
from typing import TYPE_CHECKING, Final

from realstack.isolation.postgres._session import literal

if TYPE_CHECKING:
    from realstack.services.postgres.wire import Connection

_FIRST_USER_OID: Final = 16384
#: kind, name of the object, its catalogue row; the kit's own objects are left out.
_CATALOGUE: Final = """
WITH kit AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname = 'realstack'),
mine AS MATERIALIZED (
    SELECT c.* FROM pg_class c WHERE c.oid >= {first} AND c.relkind <> 't' AND c.relpersistence <> 't'
    AND c.relnamespace NOT IN (SELECT oid FROM kit) AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace
    WHERE nspname ~ '^pg_(toast|temp)')
)
SELECT 'relation' AS kind, c.oid::regclass::text AS name,
    (relnamespace, relname, reltype, relowner, relam, reltablespace, relpersistence, relkind, relnatts, relchecks,
     relrowsecurity, relforcerowsecurity, relispopulated, relreplident, relispartition, relacl, reloptions,
     relpartbound)::text AS body FROM mine c
UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, (attnum, atttypid, atttypmod, attnotnull, atthasdef,
    attidentity, attisdropped, attislocal, attinhcount, attcollation, attstorage, attacl, attoptions)::text
    FROM pg_attribute a WHERE attnum > 0 AND attrelid IN (SELECT oid FROM mine)
UNION ALL SELECT 'default', adrelid::regclass || '.' || adnum, adbin::text FROM pg_attrdef
    WHERE adrelid IN (SELECT oid FROM mine)
UNION ALL SELECT 'constraint', conname::text, (c.*)::text FROM pg_constraint c
    WHERE c.oid >= {first} AND connamespace NOT IN (SELECT oid FROM kit)
UNION ALL SELECT 'index', indexrelid::regclass::text, (indrelid, indisunique, indisprimary, indisclustered, indisvalid,
    indisreplident, indkey, indclass, indoption, indexprs, indpred)::text FROM pg_index
    WHERE indrelid IN (SELECT oid FROM mine)
UNION ALL SELECT 'function', p.oid::regprocedure::text, (p.*)::text FROM pg_proc p
    WHERE p.oid >= {first} AND pronamespace NOT IN (SELECT oid FROM kit)
UNION ALL SELECT 'trigger', tgname || ' on ' || tgrelid::regclass, (t.*)::text FROM pg_trigger t
    WHERE tgrelid IN (SELECT oid FROM mine)
UNION ALL SELECT 'rule', rulename || ' on ' || ev_class::regclass, (r.*)::text FROM pg_rewrite r
    WHERE ev_class IN (SELECT oid FROM mine)
UNION ALL SELECT 'policy', polname || ' on ' || polrelid::regclass, (p.*)::text FROM pg_policy p
UNION ALL SELECT 'type', t.oid::regtype::text, (t.*)::text FROM pg_type t
    WHERE t.oid >= {first} AND typnamespace NOT IN (SELECT oid FROM kit) AND NOT EXISTS (
        SELECT FROM pg_namespace n WHERE n.oid = typnamespace AND n.nspname ~ '^pg_(toast|temp)')
UNION ALL SELECT 'enum value', enumlabel::text, (e.*)::text FROM pg_enum e
UNION ALL SELECT 'sequence', seqrelid::regclass::text, (s.*)::text FROM pg_sequence s
    WHERE seqrelid IN (SELECT oid FROM mine)
UNION ALL SELECT 'schema', nspname::text, (nspowner, nspacl)::text FROM pg_namespace n
    WHERE nspname <> 'realstack' AND nspname !~ '^pg_(toast|temp)'
UNION ALL SELECT 'extension', extname::text, (e.*)::text FROM pg_extension e
UNION ALL SELECT 'event trigger', evtname::text, (e.*)::text FROM pg_event_trigger e
UNION ALL SELECT 'publication', pubname::text, (p.*)::text FROM pg_publication p
UNION ALL SELECT 'extended statistics', stxname::text, (stxrelid, stxkeys, stxkind)::text FROM pg_statistic_ext s
UNION ALL SELECT 'default privileges', defaclrole::regrole::text, (d.*)::text FROM pg_default_acl d
UNION ALL SELECT 'foreign server', srvname::text, (s.*)::text FROM pg_foreign_server s
UNION ALL SELECT 'operator', o.oid::regoperator::text, (o.*)::text FROM pg_operator o WHERE o.oid >= {first}
UNION ALL SELECT 'cast', c.oid::text, (c.*)::text FROM pg_cast c WHERE c.oid >= {first}
UNION ALL SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
    WHERE objoid >= {first}
UNION ALL SELECT 'database', 'settings', (SELECT string_agg((setrole, setconfig)::text, ' ' ORDER BY setrole)
    FROM pg_db_role_setting s WHERE s.setdatabase = d.oid) FROM pg_database d WHERE datname = current_database()
UNION ALL SELECT 'database', 'grants', (datacl, datdba)::text FROM pg_database WHERE datname = current_database()
UNION ALL SELECT 'large object', m.oid::text, (lomowner, lomacl, (SELECT md5(string_agg(md5(data), '' ORDER BY pageno))
    FROM pg_largeobject l WHERE l.loid = m.oid))::text FROM pg_largeobject_metadata m
"""
_SHARED: Final = """
SELECT 'role', rolname::text, (a.*)::text FROM pg_authid a
UNION ALL SELECT 'membership', roleid::regrole || ' of ' || member::regrole, (admin_option)::text FROM pg_auth_members
UNION ALL SELECT 'role settings', setrole::regrole::text, setconfig::text FROM pg_db_role_setting WHERE setdatabase = 0
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """One database, hashed."""

    #: (rows, hash) by table.
    tables: dict[str, tuple[int, str]]
    #: (last value, is called) by sequence.
    sequences: dict[str, tuple[str, str]]
    #: One hash over the whole catalogue ...
    catalogue: str
    #: ... and one for each object by kind and name.
    objects: dict[tuple[str, str], str]
    #: Roles, the server's own; other workers may change them.
    roles: dict[tuple[str, str], str]


class Verifier:
    """Hashes the database its session is in."""

    def __init__(self, session: "Connection") -> None:
        self._session = session
        rows = _CATALOGUE.format(first=_FIRST_USER_OID)
        self._objects = f"SELECT kind, name, md5(body) FROM ({rows}) c"  # noqa: S608  # a constant of ours
        session.prepare(
            "verify catalogue",
            f"SELECT count(*) || ' ' || sum(hashtext(kind || name || coalesce(body, ''))::bigint)"  # noqa: S608
            f" FROM ({_CATALOGUE.format(first=_FIRST_USER_OID)}) c",
        )
        self._prepared = ""

    def snapshot(self, like: Snapshot | None = None) -> Snapshot:
        """Hash everything; the objects of a catalogue that is the same as in *like* are not read again."""
        catalogue = self._session.run([("verify catalogue", ())])[0][0][0] or ""
        same = like is not None and like.catalogue == catalogue
        if self._prepared != catalogue:
            self._prepare_content()
            self._prepared = catalogue
        tables, sequences = self._session.run([("verify tables", ()), ("verify sequences", ())])
        return Snapshot(
            tables={name or "": (int(count or 0), total or "") for name, count, total in tables},
            sequences={name or "": (value or "", called or "") for name, value, called in sequences},
            catalogue=catalogue,
            objects=like.objects if like is not None and same else self._hashes(self._objects),
            roles=self._hashes(_SHARED),
        )

    def _hashes(self, sql: str) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for kind, name, body in self._session.query(sql):
            key = (kind or "", name or "")
            found[key] = found.get(key, "") + (body or "")
        return found

    def _prepare_content(self) -> None:
        relations = self._session.query(
            "SELECT c.oid::regclass, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't'"
            " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'realstack') ORDER BY 1::text"
        )
        tables = [
            # identifiers cannot be parameters
            f"SELECT {literal(name or '')}, count(*), sum(hashtextextended((t.*)::text, 0)) FROM ONLY {name} t"  # noqa: S608
            for name, kind in relations
            if kind != "S"
        ]
        sequences = [
            f"SELECT {literal(name or '')}, last_value, is_called FROM {name}"  # noqa: S608
            for name, kind in relations
            if kind == "S"
        ]
        for which, parts in (("tables", tables), ("sequences", sequences)):
            self._session.script(f'DEALLOCATE "verify {which}"') if self._prepared else None
            self._session.prepare(f"verify {which}", " UNION ALL ".join(parts) or "SELECT '', 0, '' WHERE false")


def differences(baseline: Snapshot, now: Snapshot, *, compare_roles: bool) -> tuple[str, ...]:
    """Say what differs between two snapshots, a line each, sorted."""
    lines = [
        *_table_differences(baseline.tables, now.tables),
        *_sequence_differences(baseline.sequences, now.sequences),
        *_object_differences(baseline.objects, now.objects),
    ]
    if compare_roles:
        lines += _object_differences(baseline.roles, now.roles)
    return tuple(sorted(lines))


def _table_differences(before: dict[str, tuple[int, str]], now: dict[str, tuple[int, str]]) -> list[str]:
    lines = []
    for name in before.keys() & now.keys():
        more = now[name][0] - before[name][0]
        if more:
            lines.append(f"{name}: {abs(more)} row{'s' if abs(more) > 1 else ''} {'more' if more > 0 else 'fewer'}")
        elif now[name] != before[name]:
            lines.append(f"{name}: {now[name][0]} rows as before, with other content")
    return lines


def _sequence_differences(before: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]) -> list[str]:
    return [
        f"sequence {name}: at {_position(now[name])}, was at {_position(before[name])}"
        for name in before.keys() & now.keys()
        if before[name] != now[name]
    ]


def _position(state: tuple[str, str]) -> str:
    return state[0] + ("" if state[1] == "t" else " (not called)")


def _object_differences(before: dict[tuple[str, str], str], now: dict[tuple[str, str], str]) -> list[str]:
    lines = []
    for kind, name in before.keys() | now.keys():
        old, new = before.get((kind, name)), now.get((kind, name))
        if old != new:
            change = "new" if old is None else "gone" if new is None else "changed"
            lines.append(f"{kind} {name}: {change}")
    return lines

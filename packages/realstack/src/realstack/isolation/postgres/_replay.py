"""Carries baselines that exist as rows only into a fresh copy of the template, when a test changed the catalogue."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from realstack.isolation.postgres._database import TrackedDatabase
    from realstack.services.postgres.wire import Connection

#: Where the rows of each table changed on the way to a level lie: the next copy above that level, or the present one.
_TABLES: Final = """
SELECT s.relid, CASE WHEN n.level IS NULL THEN 'base_' || s.relid ELSE 'base_' || s.relid || '_' || n.level END,
    coalesce(n.had_rows, EXISTS (SELECT FROM realstack.baselines b WHERE b.relid = s.relid))
FROM realstack.saved s JOIN realstack.covered c ON c.relid = s.relid AND c.kind = 'r'
LEFT JOIN LATERAL (
    SELECT * FROM realstack.saved n WHERE n.relid = s.relid AND n.level > s.level ORDER BY n.level LIMIT 1
) n ON true
WHERE s.level = $1
"""
_SEQUENCES: Final = """
SELECT s.relid, coalesce(n.last_value, q.last_value), coalesce(n.is_called, q.is_called)
FROM realstack.saved_sequences s JOIN realstack.sequences q USING (relid)
LEFT JOIN LATERAL (
    SELECT * FROM realstack.saved_sequences n WHERE n.relid = s.relid AND n.level > s.level ORDER BY n.level LIMIT 1
) n ON true
WHERE s.level = $1
"""


@dataclasses.dataclass(frozen=True, slots=True)
class LevelRows:
    """What one baseline changed against the one below; rows as PostgreSQL writes records."""

    level: int
    rows: dict[str, list[str]]
    sequences: list[tuple[str, str, str]]


def read_levels(session: "Connection", levels: Iterable[int]) -> tuple[LevelRows, ...]:
    """Read the baselines *levels* out of the copies the database keeps of them."""
    return tuple(_read_level(session, level) for level in levels)


def write_levels(database: "TrackedDatabase", levels: Iterable[LevelRows]) -> None:
    """Make *levels* baselines again, in order, in a database that is at the one below."""
    for level in levels:
        for relid, rows in level.rows.items():
            _write_table(database.session, relid, rows)
        for relid, value, called in level.sequences:
            database.session.query("SELECT setval($1::oid::regclass, $2, $3)", relid, value, called)
        database.push(level.level)


def _read_level(session: "Connection", level: int) -> LevelRows:
    rows: dict[str, list[str]] = {}
    for relid, copy, has_rows in session.query(_TABLES, level):
        # names of tables cannot be parameters, here and below
        found = session.query(f"SELECT (b.*)::text FROM realstack.{copy} b") if has_rows == "t" else []  # noqa: S608
        rows[relid or ""] = [line or "" for (line,) in found]
    sequences = [(relid or "", value or "", called or "") for relid, value, called in session.query(_SEQUENCES, level)]
    return LevelRows(level, rows, sequences)


def _write_table(session: "Connection", relid: str, rows: list[str]) -> None:
    table, columns = session.query("SELECT $1::oid::regclass, realstack.writable_columns($1::oid, '')", relid)[0]
    session.query(f"DELETE FROM ONLY {table}")  # noqa: S608
    if rows:
        shape = "realstack.incoming"
        session.query(f"CREATE TABLE {shape} AS SELECT {columns or ''} FROM ONLY {table} WITH NO DATA")  # noqa: S608
        session.query(
            f"INSERT INTO {table} {f'({columns})' if columns else ''} OVERRIDING SYSTEM VALUE"  # noqa: S608
            f" SELECT (line.record::{shape}).* FROM unnest($1::text[]) AS line (record)",
            _text_array(rows),
        )
        session.query(f"DROP TABLE {shape}")
    session.query("INSERT INTO realstack.dirty VALUES ($1)", relid)


def _text_array(values: Iterable[str]) -> str:
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"

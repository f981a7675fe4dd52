"""What one ClickHouse database holds: its objects, and a fingerprint of their rows."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from realstack.errors import ClickHouseRefused
from realstack.services.clickhouse.client import Client, quote_name
from realstack.services.clickhouse.values import literal

#: Engines that keep rows themselves, beside the MergeTree family.
_KEEPERS = frozenset(("Memory", "Log", "TinyLog", "StripeLog", "Join", "Set", "EmbeddedRocksDB"))
_INNER = re.compile(r"\.inner(?:_id)?\.(.*)")
_TARGET = re.compile(r"\A[^(']*?\bTO\s+(?:(`[^`]+`|\w+)\.)?(`[^`]+`|\w+)\s")

# One statement, so that it is one round trip; parts by their contents, so that a merge or a copy of them is no change
# unless it moved a row.
_READ = """
SELECT 'object', name, toString(uuid), engine, create_table_query, toString(total_rows),
    dependencies_database, dependencies_table
FROM system.tables WHERE database = {database} AND NOT is_temporary
UNION ALL SELECT 'part', table, hash_of_all_files, '', '', '', [], []
FROM system.parts WHERE database = {database} AND active
UNION ALL SELECT 'mutation', table, mutation_id, '', '', '', [], []
FROM system.mutations WHERE database = {database}
FORMAT JSONCompactEachRow
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One object of a database: table, view, materialised view or dictionary."""

    name: str
    uuid: str
    engine: str
    ddl: str
    rows: int
    #: The hashes of its parts' contents, in order; none for engines without parts.
    parts: tuple[str, ...]
    mutations: int
    #: Materialised views that a row put into this table goes through, as (database, name).
    views: tuple[tuple[str, str], ...] = ()

    @property
    def has_parts(self) -> bool:
        return self.engine.endswith("MergeTree")

    @property
    def keeps_rows(self) -> bool:
        return self.has_parts or self.engine in _KEEPERS

    @property
    def is_inner(self) -> bool:
        """Whether it is the hidden store of a materialised view, made and dropped with it."""
        return self.name.startswith(".inner")

    @property
    def target(self) -> tuple[str, str] | None:
        """(database or empty, name) a materialised view writes to, when it names one."""
        found = _TARGET.match(self.ddl) if self.engine == "MaterializedView" else None
        return (_bare(found[1] or ""), _bare(found[2])) if found else None


def read_tables(client: Client, database: str) -> dict[str, Table]:
    """Return the objects of *database* by a key that survives their being made again.

    The key is the name, or ``.inner of <view>`` for the hidden store of a materialised view.
    """
    by_kind: dict[str, list[list[Any]]] = {"object": [], "part": [], "mutation": []}
    for line in client.execute(_READ.replace("{database}", literal(database))).splitlines():
        kind, *facts = json.loads(line)
        by_kind[kind].append(facts)
    parts = sorted((name, content) for name, content, *_ in by_kind["part"])
    mutated = [name for name, *_ in by_kind["mutation"]]
    found = [
        Table(
            name=name,
            uuid=uuid,
            engine=engine,
            ddl=ddl,
            rows=int(rows or 0),
            parts=tuple(content for home, content in parts if home == name),
            mutations=mutated.count(name),
            views=tuple(zip(databases, views, strict=True)),
        )
        for name, uuid, engine, ddl, rows, databases, views in by_kind["object"]
    ]
    by_uuid = {table.uuid: table.name for table in found}
    return {_key(table, by_uuid): table for table in found}


def _key(table: Table, by_uuid: Mapping[str, str]) -> str:
    found = _INNER.fullmatch(table.name)
    return f".inner of {by_uuid.get(found[1], found[1])}" if found else table.name


def _bare(name: str) -> str:
    return name[1:-1] if name.startswith("`") else name


def reached_from(key: str, tables: Mapping[str, Table], database: str) -> set[str] | None:
    """Return the keys of all tables that rows put into *key* end in, *key* included.

    ``None``: a view leads out of *database*, or somewhere that cannot be told.
    """
    reached: set[str] = set()
    waiting = [key]
    while waiting:
        key = waiting.pop()
        if key in reached:
            continue
        table = tables.get(key)
        if table is None or not table.keeps_rows:
            return None
        reached.add(key)
        for home, name in table.views:
            view = tables.get(name)
            if home != database or view is None or view.engine != "MaterializedView":
                return None
            target = view.target
            if target is not None and target[0] not in ("", database):
                return None
            waiting.append(target[1] if target else f".inner of {name}")
    return reached


def checksum(client: Client, where: str) -> str:
    """Return the number of rows in *where* (a quoted name) and a sum over all their values."""
    try:
        return "{} rows, sum {}".format(*client.query(f"SELECT count(), sum(cityHash64(*)) FROM {where}")[0])  # noqa: S608  # quoted
    except ClickHouseRefused:
        # some types have no hash, and a Set cannot be read at all
        try:
            return "{} rows, sum {}".format(
                *client.query(f"SELECT count(), sum(cityHash64(toString(tuple(*)))) FROM {where}")[0]  # noqa: S608  # quoted
            )
        except ClickHouseRefused:
            return "unreadable"


def detached_tables(client: Client, database: str) -> list[str]:
    """Return the tables that were taken away with DETACH and still have their files."""
    sql = "SELECT table FROM system.detached_tables WHERE database = {database:String}"
    try:
        return [name for (name,) in client.query(sql, {"database": database})]
    except ClickHouseRefused:
        return []  # servers before 24.9 do not tell


def loaded_dictionaries(client: Client, database: str) -> list[str]:
    """Return the dictionaries that hold rows of their sources."""
    sql = "SELECT name FROM system.dictionaries WHERE database = {database:String} AND status = 'LOADED'"
    return [name for (name,) in client.query(sql, {"database": database})]


def has_database(client: Client, database: str) -> bool:
    """Return whether there is a *database* on the server."""
    return client.query(f"SELECT count() FROM system.databases WHERE name = {literal(database)}") == [(1,)]  # noqa: S608  # quoted


def qualified(database: str, name: str) -> str:
    """Return ``database.name`` quoted for use in a statement."""
    return f"{quote_name(database)}.{quote_name(name)}"


def by_dependence(tables: Iterable[Table]) -> list[Table]:
    """Return *tables* so that what others read comes first: tables, then dictionaries and views."""
    return sorted(tables, key=lambda table: (not table.keeps_rows, table.engine != "Dictionary", table.name))

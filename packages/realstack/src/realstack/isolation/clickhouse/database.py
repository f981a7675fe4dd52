"""The baselines of one ClickHouse database, and the way back to the innermost one."""

import contextlib
import dataclasses

from realstack.errors import ClickHouseNotRestored, ClickHouseRefused
from realstack.isolation.clickhouse.state import (
    Table,
    by_dependence,
    checksum,
    detached_tables,
    has_database,
    loaded_dictionaries,
    qualified,
    reached_from,
    read_tables,
)
from realstack.services.clickhouse.client import Client, quote_name

#: Dropping and emptying are what this is for, however big a table has grown.
_DROP = {"max_table_size_to_drop": "0", "max_partition_size_to_drop": "0", "check_table_dependencies": "0"}
#: A restore that has put back this much and still finds differences would go on for ever.
_MOST_CHANGES = 10_000


@dataclasses.dataclass(kw_only=True)
class Baseline:
    """One state of the database to go back to."""

    name: str
    tables: dict[str, Table]
    #: Where the rows of a table that has any are kept: key to quoted name.
    copies: dict[str, str]
    #: Checksums of the rows, worked out when they are first asked for.
    checksums: dict[str, str] = dataclasses.field(default_factory=dict)
    #: The database that holds the copies made for this baseline; empty when there are none.
    store: str = ""


class DatabaseBaselines:
    """The stack of baselines of one database."""

    def __init__(self, client: Client, database: str) -> None:
        self.database = database
        self._client = client
        self._levels: list[Baseline] = []

    @property
    def tables(self) -> dict[str, Table]:
        """The objects of the innermost baseline."""
        return self._levels[-1].tables

    def push(self, name: str) -> None:
        """Make the present state the innermost baseline."""
        tables = read_tables(self._client, self.database)
        below = self._levels[-1] if self._levels else None
        level = Baseline(name=name, tables=tables, copies={})
        self._levels.append(level)
        for key, table in tables.items():
            if not (table.keeps_rows and table.rows):
                continue
            if below is not None and key in below.copies and _same_rows(below.tables[key], table):
                level.copies[key] = below.copies[key]
            else:
                level.copies[key] = self._copy(level, key, table)

    def pop(self, name: str) -> None:
        """Forget the baseline *name* and those above it; the database is put back by ``restore``."""
        names = [level.name for level in self._levels]
        position = len(names) - 1 - names[::-1].index(name)
        while len(self._levels) > position:
            self._drop_store(self._levels.pop())

    def close(self) -> None:
        """Drop the copies."""
        while self._levels:
            self._drop_store(self._levels.pop())

    def empties(self) -> dict[str, list[str]]:
        """Return the tables with an empty baseline, each with all tables a row put into it leads to."""
        tables = self.tables
        found = {}
        for key, table in tables.items():
            reached = reached_from(key, tables, self.database) if table.keeps_rows else None
            if reached is not None and not any(tables[each].rows for each in reached) and not self._feeds_dictionary():
                found[table.name] = sorted(tables[each].name for each in reached)
        return found

    def restore_rows(self, names: list[str]) -> bool:
        """Put the rows of the tables *names* back without looking at the rest; return whether that was possible."""
        reached: set[str] = set()
        for name in names:
            leads_to = reached_from(name, self.tables, self.database)
            if leads_to is None or self._feeds_dictionary():
                return False
            reached |= leads_to
        if any(self.tables[key].views and not self.tables[key].has_parts for key in reached):
            return False  # filling these again would go through their views
        try:
            for key in sorted(reached):
                self._refill(key, self.tables[key])
        except ClickHouseRefused:
            return False
        return True

    def restore(self) -> list[str]:
        """Compare the whole database with the innermost baseline, put back what differs, and return what did.

        Raises:
            ClickHouseNotRestored: something could not be put back; names it.
        """
        for table in self.tables.values():
            if table.engine == "Buffer":  # what it still holds would arrive after the restore
                self._run(f"OPTIMIZE TABLE {self._name(table)}")
        changed: list[str] = []
        found = self._restore_round()
        while found:
            if len(changed) > _MOST_CHANGES:
                raise ClickHouseNotRestored(database=self.database, differences=tuple(found))
            changed += found
            # rows that were put back may have gone on through a materialised view
            found = self._restore_round() if self._has_views() else []
        if changed:
            self._unload_dictionaries()
        return changed

    def differences(self) -> list[str]:
        """Compare structure and every row with the innermost baseline; empty when nothing differs.

        Parts with the same hashes of their contents hold the same rows; everything else is summed up row by row.
        """
        if not has_database(self._client, self.database):
            return [f"database {self.database} is gone"]
        present = read_tables(self._client, self.database)
        found = [f"{self.database}.{key}: not in the baseline" for key in sorted(present.keys() - self.tables.keys())]
        found += [f"{self.database}.{key}: gone" for key in sorted(self.tables.keys() - present.keys())]
        for key in sorted(self.tables.keys() & present.keys()):
            before, now = self.tables[key], present[key]
            if _structure(before) != _structure(now):
                found.append(f"{self.database}.{key}: {_structural_change(before, now)}")
            elif now.keeps_rows and self._rows_differ(key, before, now):
                found += self._row_differences(key, now)
        return found

    # --- the parts of a restore ---------------------------------------------------------------------------------------

    def _restore_round(self) -> list[str]:
        present = read_tables(self._client, self.database)
        changed = self._bring_back(present)
        present = read_tables(self._client, self.database) if changed else present
        changed += self._drop_foreign(present)
        rebuilt = self._rebuild_missing(present)
        if rebuilt:
            present = read_tables(self._client, self.database)
            self._adopt(present)
        for key, table in self.tables.items():
            now = present.get(key)
            if now is not None and table.keeps_rows and self._rows_differ(key, table, now):
                self._refill(key, now)
                changed.append(f"{key}: rows")
        return changed + rebuilt

    def _bring_back(self, present: dict[str, Table]) -> list[str]:
        """Bring back what is not gone for good: the database itself, tables that were detached."""
        if not self.tables.keys() - present.keys():
            return []
        if not present and not has_database(self._client, self.database):
            self._run(f"CREATE DATABASE {quote_name(self.database)}")
            return [f"database {self.database}: dropped"]
        attached = []
        for name in detached_tables(self._client, self.database):
            with contextlib.suppress(ClickHouseRefused):  # its files may be gone
                self._run(f"ATTACH TABLE {qualified(self.database, name)}")
                attached.append(f"{name}: detached")
        return attached

    def _drop_foreign(self, present: dict[str, Table]) -> list[str]:
        """Drop what is not in the baseline, or is not what it was; take it out of *present*."""
        foreign = [key for key, now in present.items() if self._is_foreign(self.tables.get(key), now)]
        for table in reversed(by_dependence(present[key] for key in foreign)):
            if not table.is_inner:
                kind = "DICTIONARY" if table.engine == "Dictionary" else "TABLE"
                self._run(f"DROP {kind} IF EXISTS {qualified(self.database, table.name)} SYNC", _DROP)
        for key in foreign:
            del present[key]
        return [f"{key}: {'changed' if key in self.tables else 'created'}" for key in foreign]

    @staticmethod
    def _is_foreign(before: Table | None, now: Table) -> bool:
        return before is None or _structure(before) != _structure(now)

    def _rebuild_missing(self, present: dict[str, Table]) -> list[str]:
        missing = {key: table for key, table in self.tables.items() if key not in present}
        waiting = by_dependence(table for table in missing.values() if not table.is_inner)
        refusal: ClickHouseRefused | None = None
        while waiting:
            left = []
            for table in waiting:
                try:
                    self._run(table.ddl)
                except ClickHouseRefused as refused:
                    left.append(table)  # it may read something that comes later
                    refusal = refused
            if len(left) == len(waiting):
                why = tuple(f"{table.name}: {refusal}" for table in left)
                raise ClickHouseNotRestored(database=self.database, differences=why) from refusal
            waiting = left
        return [f"{key}: dropped" for key in missing]

    def _adopt(self, present: dict[str, Table]) -> None:
        """A table that was made again has a new identity: write it into every baseline that had the old one."""
        for level in self._levels:
            for key, table in level.tables.items():
                now = present.get(key)
                if now is not None and now.uuid != table.uuid:
                    level.tables[key] = dataclasses.replace(
                        table,
                        uuid=now.uuid,
                        name=now.name,
                        mutations=now.mutations,
                        ddl=now.ddl if now.is_inner else table.ddl,
                    )

    def _rows_differ(self, key: str, before: Table, now: Table) -> bool:
        if before.rows != now.rows:
            return True
        if before.has_parts:
            if before.parts == now.parts:
                return False
            return not before.rows or self._checksum_of_baseline(key) != checksum(self._client, self._name(now))
        return bool(before.rows) and self._checksum_of_baseline(key) != checksum(self._client, self._name(now))

    def _row_differences(self, key: str, now: Table) -> list[str]:
        expected, actual = self._checksum_of_baseline(key), checksum(self._client, self._name(now))
        return [] if expected == actual else [f"{self.database}.{key}: {actual}, was {expected}"]

    def _checksum_of_baseline(self, key: str) -> str:
        level = self._levels[-1]
        if key not in level.checksums:
            nothing = f"(SELECT * FROM {self._name(level.tables[key])} WHERE 0)"  # noqa: S608  # quoted
            level.checksums[key] = checksum(self._client, level.copies.get(key, nothing))
        return level.checksums[key]

    def _refill(self, key: str, now: Table) -> None:
        """Empty a table and give it its baseline's rows."""
        name = self._name(now)
        self._run(f"TRUNCATE TABLE {name}", _DROP)
        copy = self._levels[-1].copies.get(key)
        if copy is not None:
            self._client.execute(_fill(name, copy, by_parts=now.has_parts))

    def _copy(self, level: Baseline, key: str, table: Table) -> str:
        """Keep the rows of *table*; parts are linked, not copied."""
        if not level.store:
            level.store = f"realstack_baseline_{len(self._levels)}_{self.database}"
            self._run(f"CREATE DATABASE IF NOT EXISTS {quote_name(level.store)}")
        copy = qualified(level.store, key)
        engine = "" if table.has_parts else " ENGINE = Memory"
        self._run(f"CREATE TABLE {copy} AS {self._name(table)}{engine}")
        self._run(_fill(copy, self._name(table), by_parts=table.has_parts))
        return copy

    def _drop_store(self, level: Baseline) -> None:
        if level.store:
            self._run(f"DROP DATABASE IF EXISTS {quote_name(level.store)} SYNC", _DROP)

    def _unload_dictionaries(self) -> None:
        """Make the dictionaries read their sources again when they are asked next."""
        if self._feeds_dictionary():
            for name in loaded_dictionaries(self._client, self.database):
                self._run(f"SYSTEM UNLOAD DICTIONARY {qualified(self.database, name)}")

    def _feeds_dictionary(self) -> bool:
        return any(table.engine == "Dictionary" for table in self.tables.values())

    def _has_views(self) -> bool:
        return any(table.views for table in self.tables.values())

    def _name(self, table: Table) -> str:
        return qualified(self.database, table.name)

    def _run(self, sql: str, settings: dict[str, str] | None = None) -> None:
        self._client.execute(sql, None, settings)


def _fill(target: str, source: str, *, by_parts: bool) -> str:
    if by_parts:  # fires no materialised view
        return f"ALTER TABLE {target} ATTACH PARTITION ALL FROM {source}"
    return f"INSERT INTO {target} SELECT * FROM {source}"  # noqa: S608  # quoted


def _structure(table: Table) -> tuple[str, str, int]:
    # a mutation that is over leaves its record; only a new table has none
    return table.uuid, table.ddl, table.mutations


def _structural_change(before: Table, now: Table) -> str:
    if before.ddl != now.ddl:
        return f"is {now.ddl!r}, was {before.ddl!r}"
    if before.uuid != now.uuid:
        return "was made again"
    return f"has {now.mutations} mutation(s), had {before.mutations}"


def _same_rows(one: Table, other: Table) -> bool:
    return one.uuid == other.uuid and one.has_parts and one.parts == other.parts

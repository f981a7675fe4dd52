"""``reset`` isolation for ClickHouse: one database for each worker, put back after each test."""

import contextlib
import json
import time
from typing import Any

from realstack.abc import Leak, ResetOutcome
from realstack.errors import BaselineUnknown, ClickHouseRefused
from realstack.isolation.clickhouse.database import DatabaseBaselines
from realstack.services.clickhouse.client import Client, quote_name
from realstack.services.endpoint import Endpoint

_BOTTOM = "database"


class ClickHouseIsolation:
    """Puts one worker's database, and what its tests made beside it, back to the innermost baseline.

    On the embedded engine the front tells what was touched; tables whose baseline is empty are emptied there in the
    same round trip. On a server elsewhere the whole database is compared, and nothing else on it is ever touched.
    """

    def __init__(self, endpoint: Endpoint, *, is_embedded: bool, also: tuple[str, ...] = ()) -> None:
        """Take the present state of the database as the lowest baseline.

        Args:
            endpoint: names the worker's own database, which this run created.
            is_embedded: whether the kit's front answers there.
            also: further databases of the same server that belong to this worker alone, such as ``default`` when
                there is one worker.
        """
        # from `default`: a test may have dropped the database
        self._client = Client(endpoint.with_database("default"), is_admin=True)
        self._is_embedded = is_embedded
        self._test = ""
        database = endpoint.database or "default"
        self._rooms = [self._open_room(name) for name in (database, *also)]
        #: Databases that tests made and a baseline kept: name and the baseline it belongs to.
        self._kept: list[tuple[str, str]] = []
        self._names: list[str] = [_BOTTOM]
        self._tell_baselines()

    def begin(self, test: str) -> None:
        """Remember whose changes come next."""
        self._test = test

    def reset(self) -> ResetOutcome:
        """Put everything back and say what that took.

        Raises:
            ClickHouseNotRestored: something could not be put back.
        """
        started = time.perf_counter()
        leaks: list[Leak] = []
        changed: list[str] = []
        for room in list(self._rooms):
            changed += self._reset_embedded(room, leaks) if self._is_embedded else room.restore()
        return ResetOutcome(
            strategy="reset" if changed or leaks else "untouched",
            seconds=time.perf_counter() - started,
            leaks=tuple(leaks),
            changed=tuple(changed),
        )

    def push(self, name: str) -> None:
        """Make the present state the innermost baseline, databases made since the last one included."""
        made = [name for room in self._rooms for name in self._taken(room)]
        for room in self._rooms:
            room.push(name)
        for database in made:
            self._rooms.append(self._open_room(database))
            self._kept.append((database, name))
        self._names.append(name)
        self._tell_baselines()

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and all above it, and put back the one below."""
        if name not in self._names[1:]:
            raise BaselineUnknown(baseline=name, known=tuple(self._names))
        position = len(self._names) - 1 - self._names[::-1].index(name)
        gone, self._names = self._names[position:], self._names[:position]
        for database, level in [kept for kept in self._kept if kept[1] in gone]:
            self._kept.remove((database, level))
            self._close_room(database)
        for room in self._rooms:
            room.pop(name)
            for made in self._taken(room):
                self._drop_database(made)
            room.restore()
        self._tell_baselines()

    def verify(self) -> tuple[str, ...]:
        """Compare objects and every row with the innermost baseline."""
        return tuple(difference for room in self._rooms for difference in room.differences())

    def close(self) -> None:
        """Drop what this kept beside the database; the database itself is the caller's."""
        for room in self._rooms:
            with contextlib.suppress(ClickHouseRefused):
                room.close()
            if self._is_embedded:
                self._tell("forget", room.database)
        self._client.close()

    # --- embedded -----------------------------------------------------------------------------------------------------

    def _reset_embedded(self, room: DatabaseBaselines, leaks: list[Leak]) -> list[str]:
        told: dict[str, Any] = json.loads(self._tell("reset", room.database))
        leaks += [Leak(service="clickhouse", kind="query", what=sql) for sql in told["running"]]
        changed = [*told["done"], *told["switches"], *self._drop_made(told)]
        if told["unclear"] or (told["written"] and not room.restore_rows(told["written"])):
            found = room.restore()
            if found:
                self._tell_baseline(room)
            return changed + found
        return changed + list(told["written"])

    def _drop_made(self, told: dict[str, Any]) -> list[str]:
        """Drop the databases a test made; put functions and named collections back."""
        for database in told["databases"]:
            self._drop_database(database)
        for kind, name, before in told["shared"]:
            self._run(f"DROP {kind} IF EXISTS {quote_name(name)}")
            if before:
                self._run(before)
        return [f"database {name}" for name in told["databases"]] + [name for _, name, _ in told["shared"]]

    def _taken(self, room: DatabaseBaselines) -> list[str]:
        """Start a new record of *room* and return the databases that were made from within it."""
        if not self._is_embedded:
            return []
        made: list[str] = json.loads(self._tell("take", room.database))["databases"]
        return made

    def _open_room(self, database: str) -> DatabaseBaselines:
        room = DatabaseBaselines(self._client, database)
        room.push(_BOTTOM)
        if self._is_embedded:
            self._tell_baseline(room)
            self._tell("take", database)
        return room

    def _close_room(self, database: str) -> None:
        for room in [room for room in self._rooms if room.database == database]:
            room.close()
            self._rooms.remove(room)
            self._tell("forget", database)
        self._drop_database(database)

    def _drop_database(self, database: str) -> None:
        self._run(f"DROP DATABASE IF EXISTS {quote_name(database)} SYNC")

    def _tell_baselines(self) -> None:
        """Tell the front once for each baseline what is in it, and what it may simply empty."""
        for room in self._rooms if self._is_embedded else ():
            self._tell_baseline(room)

    def _tell_baseline(self, room: DatabaseBaselines) -> None:
        names = [table.name for table in room.tables.values()]
        self._tell("watch", room.database, json.dumps({"names": names, "empties": room.empties()}))

    def _run(self, sql: str) -> None:
        self._client.execute(sql)

    def _tell(self, what: str, database: str, body: str = "") -> bytes:
        return self._client.post(f"/realstack/{what}", body.encode(), {"database": database})

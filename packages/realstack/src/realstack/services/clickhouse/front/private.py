"""The part of the front that only the kit's isolation calls: ``POST /realstack/watch|reset|settle|forget?database=``."""

import contextlib
import json
from typing import TYPE_CHECKING

from .engine import Connection, named
from .errors import Failure
from .journal import Changes
from .protocol import Reply, Request

if TYPE_CHECKING:
    from .handler import Handler

_HEADERS = {"Content-Type": "application/json; charset=UTF-8"}
_STOPPING = {"STOP": "START", "START": "STOP", "ENABLE": "DISABLE", "DISABLE": "ENABLE"}
#: How long a cancelled query may take to notice.
_CANCEL_S = 2.0


def answer(handler: "Handler", request: Request, reply: Reply) -> None:
    """Answer a request of the kit."""
    database = request.parameters.get("database", "")
    match request.path:
        case "/realstack/watch":
            handler.journal.watch(database)
            handler.sessions.settle(database)
            reply.send(200, _HEADERS, b"{}")
        case "/realstack/forget":
            handler.journal.forget(database)
            reply.send(200, _HEADERS, b"{}")
        case "/realstack/reset":
            empty = set(json.loads(request.body or b"[]"))
            reply.send(200, _HEADERS, json.dumps(_reset(handler, database, empty)).encode())
        case path:
            reply.send(404, _HEADERS, json.dumps({"unknown": path}).encode())


def _reset(handler: "Handler", database: str, empty: set[str]) -> dict[str, object]:
    """Empty those of the tables *empty* that were written, and say what else there is to put back."""
    running = handler.flights.end_all(database, timeout_s=_CANCEL_S)
    ended = handler.sessions.end_stained(database)
    changes = handler.journal.take(database)
    emptied: list[str] = []
    if changes.tables & empty or changes.switches:
        connection = handler.engine.connect()
        try:
            if not changes.unclear:
                emptied = _truncate(connection, database, changes.tables & empty)
            _switch_back(connection, database, changes.switches)
        finally:
            connection.close()
    return _told(changes, emptied, running, ended)


def _truncate(connection: Connection, database: str, tables: set[str]) -> list[str]:
    emptied = []
    for table in sorted(tables):
        try:
            connection.run(f"TRUNCATE TABLE {named(database)}.{named(table)}")
        except Failure:
            continue  # it is reported as not emptied, so the isolation looks closer
        emptied.append(table)
    return emptied


def _switch_back(connection: Connection, database: str, switches: list[str]) -> None:
    """Undo ``SYSTEM STOP MERGES`` and its like, last first."""
    connection.use(database)
    for text in reversed(switches):
        words = text.split()
        opposite = _STOPPING.get(words[1].upper()) if len(words) > 1 else None
        if opposite is not None:
            with contextlib.suppress(Failure):  # it had been refused the first time too
                connection.run(" ".join([words[0], opposite, *words[2:]]))


def _told(changes: Changes, emptied: list[str], running: list[str], ended: int) -> dict[str, object]:
    return {
        "emptied": emptied,
        "written": sorted(changes.tables - set(emptied)),
        "unclear": changes.unclear,
        "databases": sorted(changes.databases),
        "global": changes.is_global,
        "switches": changes.switches,
        "running": running,
        "sessions": ended,
    }

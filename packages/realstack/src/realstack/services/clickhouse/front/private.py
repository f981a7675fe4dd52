"""The part of the front that only the kit's isolation calls: ``POST /realstack/watch|take|reset|forget?database=``."""

import contextlib
import json
from typing import TYPE_CHECKING

from .engine import Connection, named
from .errors import Failure
from .journal import Changes, Known
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
            told = json.loads(request.body)
            handler.journal.watch(database, Known(names=frozenset(told["names"]), empties=told["empties"]))
            reply.send(200, _HEADERS, b"{}")
        case "/realstack/forget":
            handler.journal.forget(database)
            reply.send(200, _HEADERS, b"{}")
        case "/realstack/take":
            changes = handler.journal.take(database)
            handler.sessions.settle(database)
            reply.send(200, _HEADERS, json.dumps(_told(changes, [], [], 0)).encode())
        case "/realstack/reset":
            reply.send(200, _HEADERS, json.dumps(_reset(handler, database)).encode())
        case path:
            reply.send(404, _HEADERS, json.dumps({"unknown": path}).encode())


def _reset(handler: "Handler", database: str) -> dict[str, object]:
    """Put back what is simple and tell the rest."""
    running = handler.flights.end_all(database, timeout_s=_CANCEL_S)
    ended = handler.sessions.end_stained(database)
    known, changes = handler.journal.known(database), handler.journal.take(database)
    simple = [] if changes.unclear else sorted(changes.tables & known.empties.keys())
    made = [] if changes.unclear else sorted(changes.made)
    if not (simple or made or changes.switches):
        return _told(changes, [], running, ended)
    try:
        connection = handler.engine.borrow(database)
    except Failure:
        return _told(changes, [], running, ended)  # the database is gone, and that was noted as unclear
    _switch_back(connection, changes.switches)
    done = [
        table for table in simple if _done(connection, [f"TRUNCATE TABLE {named(t)}" for t in known.empties[table]])
    ]
    done += [table for table in made if _done(connection, [f"DROP TABLE IF EXISTS {named(table)} SYNC"])]
    handler.engine.give_back(connection, database)
    return _told(changes, done, running, ended)


def _done(connection: Connection, statements: list[str]) -> bool:
    try:
        for sql in statements:
            connection.run(sql)
    except Failure:
        return False  # it is reported as written and not put back, so the isolation looks closer
    return True


def _switch_back(connection: Connection, switches: list[str]) -> None:
    """Undo ``SYSTEM STOP MERGES`` and its like, last first."""
    for text in reversed(switches):
        words = text.split()
        opposite = _STOPPING.get(words[1].upper()) if len(words) > 1 else None
        if opposite is not None:
            with contextlib.suppress(Failure):  # it had been refused the first time too
                connection.run(" ".join([words[0], opposite, *words[2:]]))


def _told(changes: Changes, done: list[str], running: list[str], ended: int) -> dict[str, object]:
    return {
        "done": done,
        "written": sorted((changes.tables | changes.made) - set(done)),
        "unclear": changes.unclear,
        "databases": sorted(changes.databases),
        "shared": [[kind, name, before] for (kind, name), before in changes.shared.items()],
        "switches": changes.switches,
        "running": running,
        "sessions": ended,
    }

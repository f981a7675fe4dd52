"""One request, answered: who asks, in which session, what the engine says, how it is sent."""

import contextlib
import dataclasses
import functools
import json
import random
import socket
import string
import time
from collections.abc import Callable, Iterator, Mapping

from . import compression, native, private, sessions, statement
from .engine import STREAMABLE, Connection, Engine, Result, check_statement, named
from .errors import Failure
from .flights import Flight, Flights
from .journal import Journal
from .protocol import Reply, Request
from .request import Query, read_query

_PLAIN = {"Content-Type": "text/plain; charset=UTF-8"}
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
}
_BINARY = ("Native", "RowBinary", "Arrow", "Parquet", "ORC", "Avro", "MsgPack", "Protobuf", "Raw")
_USAGE = (
    b"There is no handle %b\n\nUse / or /ping for health checks.\n\n"
    b"Send queries from your program with POST method or GET /?query=...\n"
)
#: Statements that are not reading and have a result all the same.
_TELLING = frozenset((b"KILL", b"BACKUP", b"RESTORE", b"EXECUTE"))
Finish = Callable[[], None]
_TAG_SIGNS = string.ascii_lowercase


class Handler:
    """What the front does with requests; shared by all connections."""

    def __init__(self, engine: Engine, users: dict[str, str]) -> None:
        self.engine = engine
        self._users = users
        self.journal = Journal()
        self.sessions = sessions.Sessions(engine)
        self.flights = Flights(engine)

    def answer(self, request: Request, reply: Reply, client: socket.socket) -> None:
        """Answer *request* on *reply*."""
        try:
            match request.path:
                case "/ping" | "/replicas_status":
                    reply.send(200, _PLAIN, b"Ok.\n")
                case "/" | "" if not request.parameters and not request.body and request.method in ("GET", "HEAD"):
                    reply.send(200, _PLAIN, b"Ok.\n")
                case "/" | "" | "/query":
                    self._answer_query(request, reply, client)
                case path if path.startswith("/realstack/"):
                    self._check_user(read_query(request, compress_by_default=False))
                    private.answer(self, request, reply)
                case path:
                    reply.send(404, _PLAIN, _USAGE % path.encode("utf-8", "replace"))
        except Failure as failure:
            self._refuse(reply, failure)

    def _refuse(self, reply: Reply, failure: Failure, query_id: str = "") -> None:
        if reply.begun:
            raise failure
        headers = {**_PLAIN, "X-ClickHouse-Server-Display-Name": self.engine.display_name}
        headers["X-ClickHouse-Exception-Code"] = str(failure.code)
        if query_id:
            headers["X-ClickHouse-Query-Id"] = query_id
        if failure.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        reply.send(failure.status, headers, failure.body(self.engine.version))

    def _check_user(self, query: Query) -> None:
        if self._users.get(query.user) != query.password:
            text = f"{query.user}: Authentication failed: password is incorrect, or there is no user with such name."
            raise Failure(516, text, "AUTHENTICATION_FAILED")

    def _answer_query(self, request: Request, reply: Reply, client: socket.socket) -> None:
        query = read_query(request, compress_by_default=self.engine.compresses)
        try:
            self._check_user(query)
            with self._session_of(query) as session:
                finish = self._run(query, session, reply, client)
            # the last byte is sent when the session is free: a client may use it again as soon as it has that
            finish()
        except Failure as failure:
            self._refuse(reply, failure, query.id)

    @contextlib.contextmanager
    def _session_of(self, query: Query) -> Iterator[sessions.NamedSession]:
        """Give *query* its named session, or a connection for itself alone."""
        if query.session is not None:
            with self.sessions.borrow(query.user, query.session, home=query.database or "default") as session:
                sessions.enter_database(session, query.database)
                with sessions.settings_for_one_query(session, _without_readonly(query)):
                    yield session
            return
        connection = self.engine.borrow(query.database)
        session = sessions.NamedSession(
            connection=connection, home=query.database, active=query.database or "default", is_stained=False
        )
        reusable = False
        try:
            if query.settings:
                connection.set(query.settings)
            yield session
            reusable = not (query.settings or query.roles or query.external or session.is_stained)
        finally:
            if reusable:
                self.engine.give_back(connection, query.database)
            else:
                connection.close()

    def _run(self, query: Query, session: sessions.NamedSession, reply: Reply, client: socket.socket) -> Finish:
        connection = session.connection
        for role in query.roles:
            connection.run(f"SET ROLE {named(role)}")
        rows = statement.inline_rows(query.sql)
        sql = b"%b FORMAT %b" % (rows[0], rows[1].encode()) if rows else query.sql
        kind = check_statement(connection, sql)
        words = statement.first_words(sql)
        _refuse_writing(query, kind, words)
        if not query.is_ours:
            self.journal.note(connection, sql, kind, database=session.active)
        flight = Flight(
            id=query.id,
            sql=sql,
            database=session.active,
            started=time.monotonic(),
            is_reading=kind == "READ_ONLY",
            client=client,
        )
        try:
            with self.flights.fly(flight), _external_tables(query, connection, stay=query.session is not None):
                if rows:
                    return self._send_inserted(query, connection.insert(*rows), reply)
                return self._send_result(query, kind, words, connection, reply)
        finally:
            if kind == "CONTROL":
                session.is_stained = True
                if query.session is not None:
                    sessions.note_state_change(session, words)
            elif statement.named_database(words) is not None or b"".join(words[:1]).upper() == b"RENAME":
                self.engine.forget_idle()

    def _send_inserted(self, query: Query, result: Result, reply: Reply) -> Finish:
        headers = self._headers(query, query.default_format, has_result=False)
        return functools.partial(reply.send, 200, headers | {"X-ClickHouse-Summary": _summary([result])})

    def _send_result(self, query: Query, kind: str, words: list[bytes], connection: Connection, reply: Reply) -> Finish:
        reads = kind == "READ_ONLY"
        tells = reads or bool(words and words[0].upper() in _TELLING)
        form = (statement.result_format(query.sql) if tells else None) or query.default_format
        headers = self._headers(query, form, has_result=tells)
        if reads and words[0].upper() in (b"SELECT", b"WITH") and not query.wait and form in STREAMABLE:
            return self._send_stream(query, form, headers, connection, reply)
        selects = reads and words[0].upper() in (b"SELECT", b"WITH")
        if form == "Native" and query.protocol in native.VERSIONS:
            # block by block, since each gets an info in front; what is not a SELECT has but one
            source = connection.stream if selects else _at_once(connection)
            blocks = [*self._as_versioned(query, source(query.sql, form, query.parameters))]
            result = _joined(blocks)
        else:
            result = connection.run(query.sql, form, query.parameters)
        headers["X-ClickHouse-Summary"] = _summary([result])
        body, coding = _encode(query, result.body)
        return functools.partial(reply.send, 200, headers | coding, body)

    def _send_stream(
        self, query: Query, form: str, headers: dict[str, str], connection: Connection, reply: Reply
    ) -> Finish:
        with contextlib.closing(connection.stream(query.sql, form, query.parameters)) as source:
            versioned = form == "Native" and query.protocol in native.VERSIONS
            blocks = self._as_versioned(query, source) if versioned else source
            first = next(blocks, Result(body=b""))
            second = next(blocks, None) if first.body else None
            if second is None:
                headers["X-ClickHouse-Summary"] = _summary([first])
                body, coding = _encode(query, first.body)
                return functools.partial(reply.send, 200, headers | coding, body)
            headers["X-ClickHouse-Summary"] = _summary([first, second])
            tag = "".join(random.choices(_TAG_SIGNS, k=16))  # noqa: S311  # a mark, not a secret
            headers["X-ClickHouse-Exception-Tag"] = tag
            chosen = compression.negotiate(query.accept)
            reply.begin(headers | ({"Content-Encoding": chosen[0]} if chosen else {}))
            return _send_blocks(reply, chosen[1] if chosen else None, [first, second], blocks, tag, self.engine.version)

    def _as_versioned(self, query: Query, blocks: Iterator[Result]) -> Iterator[Result]:
        """Make *blocks* what a server sends to a client that names its protocol version."""
        zones: list[str | None] | None = None
        for result in blocks:
            body = result.body
            if native.MARK in body:
                zones = self._zones(query) if zones is None else zones
                body = native.with_zones(body, zones) if any(zones) else body
            yield dataclasses.replace(result, body=native.BLOCK_INFO + body if body else body)

    def _zones(self, query: Query) -> list[str | None]:
        """Return the zone of each column of the result; none when it depends on a session's own tables."""
        connection = self.engine.borrow(query.database)
        sql = b"DESCRIBE TABLE (%b) FORMAT TSVRaw" % statement.without_format(query.sql)
        try:
            described = connection.run(sql, "TSVRaw", query.parameters).body.decode("utf-8", "replace")
        except Failure:
            return []
        finally:
            self.engine.give_back(connection, query.database)
        return [native.zone_of(line.split("\t")[1]) for line in described.splitlines()]

    def _headers(self, query: Query, form: str, *, has_result: bool) -> dict[str, str]:
        plain = "application/octet-stream" if form.startswith(_BINARY) else "text/plain; charset=UTF-8"
        headers = {
            "Content-Type": _CONTENT_TYPES.get(form, plain),
            "X-ClickHouse-Server-Display-Name": self.engine.display_name,
            "X-ClickHouse-Query-Id": query.id,
            "X-ClickHouse-Timezone": query.settings.get("session_timezone") or self.engine.timezone,
        }
        if has_result:
            headers["X-ClickHouse-Format"] = form
        return headers


def _send_blocks(
    reply: Reply,
    encoder: compression.Encoder | None,
    begun: list[Result],
    blocks: Iterator[Result],
    tag: str,
    version: str,
) -> Finish:
    """Send the blocks; an error that comes after the first is told within the body, between marks."""
    for result in begun:
        reply.chunk(encoder.feed(result.body) if encoder else result.body)
    try:
        for result in blocks:
            reply.chunk(encoder.feed(result.body) if encoder else result.body)
    except Failure as failure:
        text = failure.body(version).rstrip(b"\n") + b"\n"
        mark = tag.encode()
        late = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (mark, text, len(text), mark)
        reply.chunk((encoder.feed(late) + encoder.end()) if encoder else late)
        # without the last chunk no client can take the reply for whole
        reply.keep_alive = False
        return lambda: None
    return functools.partial(reply.end, encoder.end() if encoder else b"")


def _at_once(connection: Connection) -> Callable[[bytes, str, Mapping[str, str]], Iterator[Result]]:
    return lambda sql, form, parameters: iter((connection.run(sql, form, parameters),))


def _joined(blocks: list[Result]) -> Result:
    return Result(
        body=b"".join(block.body for block in blocks),
        read_rows=sum(block.read_rows for block in blocks),
        read_bytes=sum(block.read_bytes for block in blocks),
        elapsed_s=max((block.elapsed_s for block in blocks), default=0.0),
    )


def _encode(query: Query, body: bytes) -> tuple[bytes, dict[str, str]]:
    chosen = compression.negotiate(query.accept) if body else None
    if chosen is None:
        return body, {}
    coding, encoder = chosen
    return encoder.feed(body) + encoder.end(), {"Content-Encoding": coding}


def _summary(results: list[Result]) -> str:
    written = sum(result.written_rows for result in results)
    written_bytes = sum(result.written_bytes for result in results)
    facts = {
        "read_rows": sum(result.read_rows for result in results),
        "read_bytes": sum(result.read_bytes for result in results),
        "written_rows": written,
        "written_bytes": written_bytes,
        "total_rows_to_read": 0,
        "result_rows": written,
        "result_bytes": written_bytes,
        "elapsed_ns": int(sum(result.elapsed_s for result in results) * 1e9),
    }
    return json.dumps({name: str(value) for name, value in facts.items()}, separators=(",", ":"))


def _without_readonly(query: Query) -> dict[str, str]:
    """A session that was made readonly could not be made writable again; the front refuses writing by itself."""
    return {name: value for name, value in query.settings.items() if name != "readonly"}


def _refuse_writing(query: Query, kind: str, words: list[bytes]) -> None:
    if not query.readonly or kind in ("READ_ONLY", "UNKNOWN"):
        return
    if kind == "CONTROL" and words and words[0].upper() in (b"SET", b"USE", b"CREATE", b"KILL"):
        return
    text = "Cannot execute query in readonly mode."
    if query.is_get:
        text += " For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
    raise Failure(164, text, "READONLY")


@contextlib.contextmanager
def _external_tables(query: Query, connection: Connection, *, stay: bool) -> Iterator[None]:
    """Put the tables a client sent along into the connection, and take them out of one that stays."""
    made = []
    try:
        for table in query.external:
            connection.run(f"CREATE TEMPORARY TABLE {named(table.name)} ({table.structure})")
            made.append(table.name)
            if table.rows:
                connection.insert(f"INSERT INTO {named(table.name)}".encode(), table.format, table.rows)
        yield
    finally:
        for name in made if stay else ():
            connection.run(f"DROP TEMPORARY TABLE IF EXISTS {named(name)}")

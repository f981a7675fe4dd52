"""Everything a Redis server can hold, read into a value, compared, and put back."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from realstack.errors import RedisRefused
from realstack.services.redis.wire import Command, Connection, Reply, encode

_BATCH: Final = 500
_TTL_TOLERANCE_MS: Final = 100
_NO_EXPIRY: Final = -1
#: Shown by CONFIG GET, set by REPLICAOF: told by the role.
_NO_SETTINGS: Final = frozenset((b"slaveof", b"replicaof"))
#: Said of a user after ``ACL SETUSER name reset``, not before; it is what happens anyway.
_WHAT_RESET_SAYS: Final = b" sanitize-payload"
Key = tuple[int, bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """One key's value: what ``DUMP`` says of it, its type, and when it expires."""

    payload: bytes
    type: bytes
    #: Milliseconds since 1970; -1: never.
    expires_at_ms: int
    #: The server's own digest of the content, the same however it is encoded; empty when it will not tell.
    digest: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What a server holds; two are compared with ``differences``."""

    keys: dict[Key, Value]
    config: dict[bytes, bytes]
    users: tuple[bytes, ...]
    #: ``FUNCTION DUMP``; ``None`` before Redis 7.
    functions: bytes | None
    #: Name to path and arguments; empty where the server (before Redis 7) does not tell them.
    modules: dict[bytes, tuple[bytes, ...]]
    #: ``master`` or ``slave``.
    role: bytes
    #: How many Lua scripts are cached; they cannot be read back.
    scripts: int
    #: The server's clock when this was read; it may have been moved.
    read_at_ms: int = 0

    def refill(self) -> tuple[bytes, int]:
        """Return the commands that put its keys into an empty server, encoded, and how many they are."""
        commands: list[Command] = []
        at = 0
        for (database, key), value in sorted(self.keys.items(), key=lambda item: item[0]):
            if database != at:
                commands.append((b"SELECT", database))
                at = database
            commands.append(restore_command(key, value))
        if at:
            commands.append((b"SELECT", 0))
        return encode(commands), len(commands)


def restore_command(key: bytes, value: Value) -> Command:
    """Return the command that makes *key* what it was; its TTL has kept running meanwhile."""
    if value.expires_at_ms == _NO_EXPIRY:
        return (b"RESTORE", key, 0, value.payload, b"REPLACE")
    return (b"RESTORE", key, value.expires_at_ms, value.payload, b"REPLACE", b"ABSTTL")


def fill(connection: Connection, state: State) -> None:
    """Put the keys of *state* into an empty server; the connection is in database 0."""
    raw, count = state.refill()
    connection.send(raw)
    connection.skip(count, command=("RESTORE",))


class Reader:
    """Reads states; knows what the server on the other side can and may tell."""

    def __init__(self, connection: Connection, version: str, *, home: int = 0) -> None:
        """Read over *connection*, which stays in database *home*."""
        self.connection = connection
        self._home = home
        self.major = int(version.partition(".")[0]) if version[:1].isdigit() else 0
        self._may_debug = True

    def read(self, *, with_keys: bool = True) -> State:
        """Read everything; without the keys it takes one round trip."""
        functions: list[Command] = [("FUNCTION", "DUMP")] if self.major >= 7 else []
        questions: list[Command] = [
            ("INFO", "keyspace"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
            ("MODULE", "LIST"),
            ("ROLE",),
            ("INFO", "memory"),
            ("TIME",),
            *functions,
        ]
        keyspace, config, users, modules, role, memory, time, *dump = self.connection.pipeline(questions)
        return State(
            keys=self.keys(databases_in(bytes_of(keyspace))) if with_keys else {},
            config={name: value for name, value in pairs(items_of(config)) if name not in _NO_SETTINGS},
            users=tuple(bytes_of(rule).replace(_WHAT_RESET_SAYS, b"") for rule in items_of(users)),
            functions=bytes_of(dump[0]) if dump else None,
            modules=dict(_module(items_of(each)) for each in items_of(modules)),
            role=bytes_of(items_of(role)[0]),
            scripts=_number_in(bytes_of(memory), b"number_of_cached_scripts:"),
            read_at_ms=_milliseconds(time),
        )

    def keys(self, databases: Iterable[int]) -> dict[Key, Value]:
        """Read all keys of *databases*; the connection is at home afterwards."""
        found: dict[Key, Value] = {}
        at = self._home
        for database in databases:
            if database != at:
                self.connection.call("SELECT", database)
                at = database
            for batch in _batches(self._names()):
                for key, value in zip(batch, self.values(batch), strict=True):
                    if value is not None:
                        found[database, key] = value
        if at != self._home:
            self.connection.call("SELECT", self._home)
        return found

    def now_ms(self) -> int:
        """Return the server's clock, in milliseconds since 1970; it may have been moved."""
        return _milliseconds(self.connection.call("TIME"))

    def _names(self) -> list[bytes]:
        names: dict[bytes, None] = {}  # SCAN may give a name twice
        cursor: bytes = b"0"
        while True:
            reply = items_of(self.connection.call("SCAN", cursor, "COUNT", 1000))
            names.update(dict.fromkeys(map(bytes_of, items_of(reply[1]))))
            cursor = bytes_of(reply[0])
            if cursor == b"0":
                return list(names)

    def values(self, names: Sequence[bytes]) -> list[Value | None]:
        """Read the keys *names* of the selected database; ``None``: it is gone."""
        expiry = b"PEXPIRETIME" if self.major >= 7 else b"PTTL"
        commands: list[Command] = [("TIME",)]
        for name in names:
            commands += [(b"DUMP", name), (b"TYPE", name), (expiry, name)]
        replies = self.connection.pipeline(commands)
        now_ms = _milliseconds(replies[0])
        digests = self._digests(names)
        values: list[Value | None] = []
        for at, digest in enumerate(digests):
            payload, kind, expires = replies[1 + 3 * at : 4 + 3 * at]
            if payload is None:
                values.append(None)
                continue
            at_ms = expires if isinstance(expires, int) else _NO_EXPIRY
            if at_ms >= 0 and self.major < 7:
                at_ms += now_ms
            values.append(Value(bytes_of(payload), bytes_of(kind), at_ms, digest))
        return values

    def _digests(self, names: Sequence[bytes]) -> list[bytes]:
        if self._may_debug and names:
            try:
                return list(map(bytes_of, items_of(self.connection.call("DEBUG", "DIGEST-VALUE", *names))))
            except RedisRefused:
                self._may_debug = False
        return [b""] * len(names)


# --- comparing --------------------------------------------------------------------------------------------------------


def differences(wanted: State, found: State) -> tuple[str, ...]:
    """Return, in words, what *found* has otherwise than *wanted*; empty when nothing differs."""
    said = list(key_differences(wanted.keys, found.keys, now_ms=found.read_at_ms))
    said += [
        f"config {_text(name)}: {_setting(name, wanted)} became {_setting(name, found)}"
        for name in sorted(wanted.config.keys() | found.config.keys())
        if wanted.config.get(name) != found.config.get(name)
    ]
    said += [f"ACL user {_user_name(rule)} is new or was changed" for rule in sorted({*found.users} - {*wanted.users})]
    gone = {_user_name(rule) for rule in wanted.users} - {_user_name(rule) for rule in found.users}
    said += [f"ACL user {name} is missing" for name in sorted(gone)]
    if wanted.functions != found.functions:
        said.append("functions differ")
    said += [f"module {_text(name)} is new" for name in sorted(found.modules.keys() - wanted.modules.keys())]
    said += [f"module {_text(name)} is missing" for name in sorted(wanted.modules.keys() - found.modules.keys())]
    if wanted.role != found.role:
        said.append(f"role: {_text(wanted.role)} became {_text(found.role)}")
    if wanted.scripts != found.scripts and not wanted.scripts:
        said.append(f"{found.scripts} cached script(s), none before")
    return tuple(said)


def key_differences(wanted: dict[Key, Value], found: dict[Key, Value], *, now_ms: int) -> Iterator[str]:
    """Yield, in words, what the keys *found* have otherwise than those *wanted*; *now_ms* is the server's clock."""
    for key in sorted(wanted.keys() | found.keys()):
        shown = f"db{key[0]}: key {_text(key[1])!r}"
        if key not in found:
            if not 0 <= wanted[key].expires_at_ms <= now_ms + _TTL_TOLERANCE_MS:
                yield f"{shown} is missing"
        elif key not in wanted:
            yield f"{shown} is new ({_text(found[key].type)})"
        elif not _same_content(wanted[key], found[key]):
            yield f"{shown} ({_text(wanted[key].type)}) has another value"
        elif not _same_expiry(wanted[key].expires_at_ms, found[key].expires_at_ms):
            yield f"{shown} expires at {found[key].expires_at_ms} instead of {wanted[key].expires_at_ms} ms"


def _same_content(wanted: Value, found: Value) -> bool:
    """A hash or set may come back in another order; its digest then still agrees, except that streams need more."""
    if wanted.payload == found.payload:
        return True
    comparable = wanted.digest and wanted.type == found.type and wanted.type != b"stream"
    return bool(comparable) and wanted.digest == found.digest


def _same_expiry(wanted_ms: int, found_ms: int) -> bool:
    if _NO_EXPIRY in (wanted_ms, found_ms):
        return wanted_ms == found_ms
    return abs(wanted_ms - found_ms) <= _TTL_TOLERANCE_MS


# --- replies ----------------------------------------------------------------------------------------------------------


def bytes_of(reply: Reply) -> bytes:
    """Return *reply* as the string it must be.

    Raises:
        RedisRefused: it is a refusal.
    """
    if isinstance(reply, RedisRefused):
        raise reply
    return reply if isinstance(reply, bytes) else str(reply).encode()


def items_of(reply: Reply) -> list[Reply]:
    """Return *reply* as the list it must be.

    Raises:
        RedisRefused: it is a refusal.
    """
    if isinstance(reply, RedisRefused):
        raise reply
    return reply if isinstance(reply, list) else [reply]


def pairs(items: Sequence[Reply]) -> Iterator[tuple[bytes, bytes]]:
    """Return a flat list of names and values two by two."""
    flat = list(map(bytes_of, items))
    return zip(flat[::2], flat[1::2], strict=True)


def databases_in(keyspace: bytes) -> list[int]:
    """Return the numbers that ``INFO keyspace`` lists: those with keys."""
    lines = keyspace.split(b"\r\n")
    return [int(line[2:].partition(b":")[0]) for line in lines if line.startswith(b"db")]


def _number_in(info: bytes, name: bytes) -> int:
    value = info.partition(name)[2].partition(b"\r\n")[0]
    return int(value) if value.isdigit() else 0


def _milliseconds(time: Reply) -> int:
    seconds, microseconds = items_of(time)
    return int(bytes_of(seconds)) * 1000 + int(bytes_of(microseconds)) // 1000


def _module(items: Sequence[Reply]) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the name of one entry of ``MODULE LIST``, and what ``MODULE LOAD`` needs."""
    facts = {bytes_of(items[at]): items[at + 1] for at in range(0, len(items) - 1, 2)}
    path, arguments = facts.get(b"path"), facts.get(b"args")
    origin = [path, *(arguments if isinstance(arguments, list) else [])] if path else []
    return bytes_of(facts[b"name"]), tuple(map(bytes_of, origin))


def _user_name(rule: bytes) -> str:
    return _text(rule.split(b" ", 2)[1])


def _setting(name: bytes, state: State) -> str:
    if name in (b"requirepass", b"masterauth", b"masteruser"):
        return "***"
    return repr(_text(state.config[name])) if name in state.config else "nothing"


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _batches(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(names), _BATCH):
        yield names[at : at + _BATCH]

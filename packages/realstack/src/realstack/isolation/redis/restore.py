"""Putting back what is not data: settings, users, functions, modules, the role. Slow paths, taken when a test asked."""

from collections.abc import Sequence
from typing import Final

from realstack.errors import RedisRefused
from realstack.isolation.redis.state import State
from realstack.services.redis.wire import Command, Connection, Reply

#: What DEBUG can change and nothing can read back, and how to undo it; a server that does not know one says so.
UNDO_DEBUG: Final[tuple[Command, ...]] = (
    ("DEBUG", "SET-ACTIVE-EXPIRE", 1),
    ("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 0),
    ("DEBUG", "QUICKLIST-PACKED-THRESHOLD", 0),
    ("DEBUG", "REPLYBUFFER", "RESIZING", 1),
    ("DEBUG", "REPLYBUFFER", "PEAK-RESET-TIME", "RESET"),
    ("DEBUG", "DICT-RESIZING", 1),
    ("DEBUG", "PAUSE-CRON", 0),
    ("DEBUG", "REPL-PAUSE", "CLEAR"),
)


class CannotRestore(Exception):
    """Something cannot be put back on the running server; a fresh one is needed."""


def put_back(connection: Connection, wanted: State, found: State) -> tuple[str, ...]:
    """Make everything but the keys of *found* what it was in *wanted*; return what was changed, in words.

    Raises:
        CannotRestore: the server refuses, for instance because the kit's own permissions were taken away.
    """
    if found.modules != wanted.modules:
        _put_back_modules(connection, wanted, found)
    _demand(connection, _role_commands(wanted, found))
    _demand(connection, _config_commands(wanted, found))
    _demand(connection, _user_commands(wanted, found))
    if found.functions != wanted.functions:
        restore: Command = ("FUNCTION", "RESTORE", wanted.functions or b"", "FLUSH")
        _demand(connection, [restore])
    return _said(wanted, found)


def _said(wanted: State, found: State) -> tuple[str, ...]:
    config = [name.decode() for name, value in found.config.items() if wanted.config.get(name) != value]
    changed = [f"config {', '.join(sorted(config))}"] if config else []
    users = {*found.users} ^ {*wanted.users}
    changed += sorted({f"ACL user {_name_of_user(rule).decode(errors='replace')}" for rule in users})
    changed += ["functions"] if found.functions != wanted.functions else []
    changed += [
        f"module {name.decode(errors='replace')}" for name in sorted(found.modules.keys() ^ wanted.modules.keys())
    ]
    changed += [f"role {found.role.decode()}"] if found.role != wanted.role else []
    return tuple(changed)


def _role_commands(wanted: State, found: State) -> list[Command]:
    return [("REPLICAOF", "NO", "ONE")] if found.role != wanted.role else []


def _config_commands(wanted: State, found: State) -> list[Command]:
    changed = [name for name, value in wanted.config.items() if found.config.get(name) != value]
    return [("CONFIG", "SET", name, wanted.config[name]) for name in changed]


def _user_commands(wanted: State, found: State) -> list[Command]:
    """``ACL LIST`` gives each user as the very words ``ACL SETUSER`` takes."""
    names = {_name_of_user(rule) for rule in wanted.users}
    extra = [_name_of_user(rule) for rule in found.users if _name_of_user(rule) not in names]
    commands: list[Command] = [("ACL", "DELUSER", *extra)] if extra else []
    for rule in wanted.users:
        if rule not in found.users:
            _, name, *words = rule.split(b" ")
            commands.append((b"ACL", b"SETUSER", name, b"reset", *words))
    return commands


def _put_back_modules(connection: Connection, wanted: State, found: State) -> None:
    # a module with types of its own may only go when no key holds one
    commands: list[Command] = [("FLUSHALL",)]
    commands += [("MODULE", "UNLOAD", name) for name in sorted(found.modules.keys() - wanted.modules.keys())]
    for name in sorted(wanted.modules.keys() - found.modules.keys()):
        if not wanted.modules[name]:
            raise CannotRestore(f"module {name.decode()!r} is gone, and before Redis 7 nobody says where it came from")
        commands.append(("MODULE", "LOAD", *wanted.modules[name]))
    _demand(connection, commands)


def _demand(connection: Connection, commands: Sequence[Command]) -> None:
    """Run *commands*; all of them must be accepted."""
    if not commands:
        return
    refused: list[Reply] = [reply for reply in connection.pipeline(commands) if isinstance(reply, RedisRefused)]
    if refused:
        raise CannotRestore(str(refused[0]))


def _name_of_user(rule: bytes) -> bytes:
    return rule.split(b" ", 2)[1]

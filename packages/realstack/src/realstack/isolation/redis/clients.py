"""Who is connected to a Redis server, and who of them was left there by a test."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Final

from realstack.abc import Leak
from realstack.services.redis.wire import ADMIN_NAME

_FIELD: Final = re.compile(r"([\w-]+)=(\S*)")
#: Enough to see whether anything happened, at two microseconds a client; ``Client.parse`` reads the rest when it did.
_QUICK: Final = re.compile(rb"id=(\d+) addr=.*? flags=(\w+) db=(\d+) (.*?) multi=(-?\d+) .*? user=(\S+)")
_NONE_SUBSCRIBED: Final = re.compile(rb"[^1-9]*").fullmatch
_SUBSCRIPTION_FIELDS: Final = ("sub", "psub", "ssub")

Quick = Mapping[int, tuple[bytes, ...]]
"""Client id to its flags, database, subscriptions, open MULTI (-1: none) and user."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """One line of ``CLIENT LIST``."""

    id: int
    address: str
    name: str
    #: One letter each: ``x`` in MULTI, ``b`` blocked, ``O`` MONITOR, ``S`` replica, ``d`` a watched key was changed ...
    flags: str
    database: int
    user: str
    subscriptions: int
    #: Commands queued in an open MULTI; -1 when there is none.
    queued: int
    watched: int
    last_command: str
    age_s: int
    idle_s: int

    @classmethod
    def parse(cls, line: str) -> "Client":
        """Read one line of ``CLIENT LIST`` of any server version; what a version does not tell is empty."""
        fields = dict(_FIELD.findall(line))
        return cls(
            id=int(fields.get("id", 0)),
            address=fields.get("addr", ""),
            name=fields.get("name", ""),
            flags=fields.get("flags", ""),
            database=int(fields.get("db", 0)),
            user=fields.get("user", ""),
            subscriptions=sum(int(fields.get(each, 0)) for each in _SUBSCRIPTION_FIELDS),
            queued=int(fields.get("multi", -1)),
            watched=int(fields.get("watch", 0)),
            last_command=fields.get("cmd", ""),
            age_s=int(fields.get("age", 0)),
            idle_s=int(fields.get("idle", 0)),
        )

    @property
    def state(self) -> str:
        """What is worst about it, as the ``kind`` of a leak."""
        if "O" in self.flags:
            return "monitor"
        if "S" in self.flags:
            return "replica"
        if self.queued >= 0:
            return "transaction"
        if self.subscriptions:
            return "subscription"
        if "b" in self.flags:
            return "blocked"
        return "watch" if self.watched or "d" in self.flags else "connection"

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        more = f", {self.queued} command(s) queued in MULTI" if self.queued >= 0 else ""
        more += f", {self.subscriptions} subscription(s)" if self.subscriptions else ""
        return (
            f"client {self.id}{name} from {self.address}, database {self.database}, user {self.user}, "
            f"last command {self.last_command!r}{more}, open for {self.age_s} s, idle for {self.idle_s} s"
        )


def quick_look(raw: bytes) -> Quick:
    """Return what ``CLIENT LIST`` says in *raw*, as far as it can give a leak away."""
    return {int(match[0]): match[1:] for match in _QUICK.findall(raw)}


def parse_clients(raw: bytes) -> dict[int, Client]:
    """Return all clients in *raw* by id."""
    lines = raw.decode(errors="replace").splitlines()
    return {client.id: client for client in map(Client.parse, filter(None, lines))}


def suspects(before: Quick, now: Quick, *, ours: Iterable[int]) -> set[int]:
    """Return the ids of the clients a test may have left, or left in a state no other test should meet."""
    own = set(ours)
    found = {each for each in now if each not in before and each not in own}
    found |= {
        each for each, seen in now.items() if each in before and each not in own and _went_off(before[each], seen)
    }
    return found


def _went_off(before: tuple[bytes, ...], now: tuple[bytes, ...]) -> bool:
    """Whether a client that lived before is in a state that whoever uses it next would stumble over."""
    flags, database, subscriptions, queued, user = now
    if (database, user) != (before[1], before[4]) or queued != b"-1" or b"d" in flags:
        return True
    if b"O" in flags and b"O" not in before[0]:
        return True
    return subscriptions != before[2] and _NONE_SUBSCRIBED(before[2]) is not None


def leak_of(client: Client, *, lived_before: bool) -> Leak:
    """Return what is to be said of *client*, which a test left open, or left changed when it *lived_before*."""
    kind = client.state
    if lived_before and kind in ("connection", "blocked"):
        kind = "session"  # its database or its user was changed under whoever uses it next
    return Leak(service="redis", kind=kind, what=str(client))


def is_admin(client: Client) -> bool:
    """True for a connection of the kit's own."""
    return client.name == ADMIN_NAME

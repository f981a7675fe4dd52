"""A database number of one's own on a Redis server that is somebody else's, marked with a key.

The marker stays in the number for as long as it is claimed, so that nobody takes the number for free and whoever looks
sees whose it is; the price is that ``KEYS *`` and ``DBSIZE`` show it. It has no TTL: a claim that runs out under a
living run is worse than one left by a machine that lost its power, which nobody but a person removes. Nothing is ever
deleted unless the marker with this run's token is there in the same transaction.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from realstack.errors import ClaimLost, NoEmptyDatabase, RedisRefused
from realstack.services.endpoint import Endpoint
from realstack.services.redis.wire import Command, Connection, Place, Reply

MARKER: Final = b"realstack:claim"
_USUAL_DATABASES: Final = 16
_ATTEMPTS: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A claimed number: an endpoint with its database, and what its marker says."""

    endpoint: Endpoint
    database: int
    #: Names the run and cannot be guessed.
    token: str


def claim_database(endpoint: Endpoint, *, token: str, record: Callable[[Claim], None]) -> Claim:
    """Claim an empty database number on the server at *endpoint*: its own when empty and not 0, else the highest.

    Args:
        endpoint: somebody else's server.
        token: goes into the marker; nobody else knows it.
        record: called before a number is written to, so that it can be given back whatever happens next.

    Raises:
        NoEmptyDatabase: every number has keys.
        RedisRefused: this user may not do what it takes: SELECT, DBSIZE, GET, SET, FLUSHDB, MULTI, WATCH, SCAN.
        ServerUnreachable: nobody answers, or the password is refused.
    """
    with Connection(_at(endpoint, 0)) as connection:
        numbers = _candidates(connection, endpoint)
        for number in numbers:
            selected = connection.pipeline([("SELECT", number)])[0]
            if isinstance(selected, RedisRefused):
                if selected.message.startswith("NOPERM"):
                    raise selected
                continue  # there are fewer numbers than usual
            if connection.call("DBSIZE") != 0:
                continue
            claim = Claim(endpoint=_at(endpoint, number), database=number, token=token)
            record(claim)
            if mark(connection, token):
                return claim
    raise NoEmptyDatabase(url=endpoint.safe_url, tried=len(numbers))


def mark(connection: Connection, token: str) -> bool:
    """Put the marker into the selected number if it is empty; true when it is ours now.

    Size and marker are one transaction. When somebody else's first key came in between, the marker is taken back.
    """
    replies = transaction(connection, (("DBSIZE",), ("SET", MARKER, token, "NX")))
    if replies is None or replies[1] is None:
        return False
    if replies[0] == 0:
        return True
    if connection.pipeline((("WATCH", MARKER), ("GET", MARKER)))[1] == token.encode():
        transaction(connection, (("DEL", MARKER),))
    connection.call("UNWATCH")
    return False


def refill(connection: Connection, claim: Claim, commands: Sequence[Command] = ()) -> int:
    """Empty the claimed number and run *commands* in it, if and only if our marker is there; return how many keys left.

    A number that somebody emptied wholly is marked again. The connection is in that number.

    Raises:
        ClaimLost: the marker is not there and keys are, or it is somebody else's; nothing was touched.
    """
    for _ in range(_ATTEMPTS):
        _, found, size = connection.pipeline((("WATCH", MARKER), ("GET", MARKER), ("DBSIZE",)))
        if found is None and size == 0:
            connection.call("UNWATCH")
            mark(connection, claim.token)
            continue
        if found != claim.token.encode():
            connection.call("UNWATCH")
            break
        if size == 1 and not commands:
            connection.call("UNWATCH")
            return 0
        if transaction(connection, (("FLUSHDB",), ("SET", MARKER, claim.token), *commands)) is not None:
            return size - 1 if isinstance(size, int) else 0
    raise ClaimLost(url=claim.endpoint.safe_url, database=claim.database, found=_describe(found))


def give_back(claim: Claim) -> bool:
    """Empty the claimed number, marker included; false when it is not ours any more, and then nothing is touched."""
    with Connection(claim.endpoint, timeout_s=5.0) as connection:
        if connection.pipeline((("WATCH", MARKER), ("GET", MARKER)))[1] != claim.token.encode():
            return False
        return transaction(connection, (("FLUSHDB",),)) is not None


def transaction(connection: Connection, commands: Sequence[Command]) -> list[Reply] | None:
    """Run *commands* as one transaction and return their replies; ``None``: what was watched has changed.

    Raises:
        RedisRefused: the server did not take them, and ran none.
    """
    replies = connection.pipeline((("MULTI",), *commands, ("EXEC",)))
    if refused := next((reply for reply in replies if isinstance(reply, RedisRefused)), None):
        raise refused
    results = replies[-1]
    return results if isinstance(results, list) else None


def _candidates(connection: Connection, endpoint: Endpoint) -> list[int]:
    """People take the low numbers, so the high ones come first and 0 last."""
    reply = connection.pipeline([("CONFIG", "GET", "databases")])[0]
    count = int(str(reply[1], "ascii")) if isinstance(reply, list) and isinstance(reply[1], bytes) else _USUAL_DATABASES
    numbers = list(range(count - 1, -1, -1))
    asked = Place.of(endpoint).database
    return sorted(numbers, key=lambda number: number != asked) if asked else numbers


def _at(endpoint: Endpoint, number: int) -> Endpoint:
    if endpoint.scheme == "unix" or "db" in dict(endpoint.options):
        others = tuple((name, value) for name, value in endpoint.options if name != "db")
        return dataclasses.replace(endpoint, options=(*others, ("db", str(number))))
    return endpoint.with_database(str(number))


def _describe(found: Reply) -> str:
    if found is None:
        return "the marker is gone and keys are there"
    if isinstance(found, RedisRefused):
        return f"the marker is no string: {found.message}"
    return "the marker names another run"

"""On somebody else's Redis: one empty number is claimed, and not a byte of the rest is touched, whatever fails."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Iterator

import pytest

from realstack.errors import BaselineUnknown, ClaimLost, NoEmptyDatabase, RedisRefused, ServerUnreachable
from realstack.isolation.redis import ClaimedIsolation
from realstack.providers.foreign import Journal, claim_redis, clean_foreign
from realstack.services.endpoint import Endpoint
from realstack.services.redis.claim import MARKER, Claim, give_back, mark
from realstack.services.redis.wire import Connection

from .conftest import Neighbour


@pytest.fixture
def claim(redis_neighbour: Neighbour, foreign_redis: Endpoint, journal: Journal) -> Claim:
    return claim_redis(foreign_redis, run="a run", journal=journal)


@pytest.fixture
def isolation(claim: Claim) -> Iterator[ClaimedIsolation]:
    with contextlib.closing(ClaimedIsolation(claim, version="6.2")) as isolation:
        isolation.begin("the test")
        yield isolation


def app(claim: Claim) -> Connection:
    return Connection(claim.endpoint, name="app")


def test_the_highest_empty_number_is_claimed(claim: Claim) -> None:
    assert claim.database == 14  # 15 is the neighbour's
    assert claim.endpoint.url.endswith("/14")
    with app(claim) as connection:
        assert connection.call("KEYS", "*") == [MARKER]
        marker = bytes(connection.call("GET", MARKER))  # type: ignore[arg-type]
        assert connection.call("TTL", MARKER) == -1
    assert marker.startswith(b"realstack run a run on ")


def test_the_number_of_the_url_is_taken_when_it_is_empty(
    redis_neighbour: Neighbour, foreign_redis: Endpoint, journal: Journal
) -> None:
    assert claim_redis(foreign_redis.with_database("7"), run="r", journal=journal).database == 7
    assert claim_redis(foreign_redis.with_database("3"), run="r", journal=journal).database == 14
    assert claim_redis(foreign_redis.with_database("0"), run="r", journal=journal).database == 13


def test_only_the_claimed_number_is_emptied(
    isolation: ClaimedIsolation, claim: Claim, redis_neighbour: Neighbour
) -> None:
    with app(claim) as connection:
        connection.pipeline([("SET", "k", 1), ("SADD", "s", 1), ("EXPIRE", "s", 100)])
        assert isolation.verify() != ()

    outcome = isolation.reset()

    assert outcome.strategy == "claimed"
    assert outcome.changed == ("db14: 2",)
    assert "only the keys of database 14" in outcome.reason
    assert isolation.verify() == ()
    assert isolation.reset().changed == ()
    give_back(claim)
    redis_neighbour.check()


def test_baselines_stack(isolation: ClaimedIsolation, claim: Claim, redis_neighbour: Neighbour) -> None:
    with app(claim) as connection:
        connection.pipeline([("SET", "base", 1), ("SET", "short", 1, "EX", 100), ("RPUSH", "l", 1, 2)])
        isolation.push("module")
        connection.pipeline([("DEL", "base"), ("LPOP", "l"), ("SET", "new", 1), ("PERSIST", "short")])
        assert len(isolation.verify()) == 4
        isolation.reset()
        assert isolation.verify() == ()
        assert connection.call("DBSIZE") == 4
        with pytest.raises(BaselineUnknown):
            isolation.pop("class")
        isolation.pop("module")
        assert connection.call("DBSIZE") == 1
    give_back(claim)
    redis_neighbour.check()


def test_an_emptied_number_is_marked_again(isolation: ClaimedIsolation, claim: Claim) -> None:
    with app(claim) as connection:
        connection.call("FLUSHDB")

        isolation.reset()

        assert connection.call("KEYS", "*") == [MARKER]


@pytest.mark.parametrize(
    "loss",
    [
        [("FLUSHDB",), ("SET", "somebody", "s")],
        [("SET", MARKER, "another run")],
        [("DEL", MARKER), ("SADD", MARKER, "x")],
        [("RENAME", MARKER, "elsewhere")],
        [("SWAPDB", 14, 15)],
        [("MOVE", MARKER, 13), ("SET", "k", 1)],
    ],
    ids=lambda loss: loss[0][0],
)
def test_without_the_marker_nothing_is_deleted(
    isolation: ClaimedIsolation, claim: Claim, foreign_redis: Endpoint, loss: list[tuple[str, ...]]
) -> None:
    with app(claim) as connection:
        connection.pipeline(loss)
    others = Neighbour(foreign_redis, everything(foreign_redis))

    with pytest.raises(ClaimLost, match="database 14"):
        isolation.reset()
    assert not give_back(claim)

    others.check()


def everything(endpoint: Endpoint) -> str:
    from .conftest import everything_in

    return everything_in(endpoint)


def test_a_swap_between_look_and_flush_deletes_nothing(claim: Claim, foreign_redis: Endpoint) -> None:
    """The marker is watched: whatever happens to it after it was seen undoes the flush."""
    with Connection(claim.endpoint) as ours, app(claim) as other:
        ours.pipeline([("WATCH", MARKER), ("GET", MARKER)])
        other.call("SWAPDB", 14, 15)
        assert ours.pipeline([("MULTI",), ("FLUSHDB",), ("EXEC",)])[-1] is None
        other.call("SWAPDB", 14, 15)
        assert other.call("EXISTS", MARKER) == 1


def test_a_number_somebody_began_to_use_meanwhile_keeps_no_mark_of_ours(
    redis_neighbour: Neighbour, foreign_redis: Endpoint
) -> None:
    with Connection(foreign_redis.with_database("3")) as connection:
        assert not mark(connection, "our token")

    redis_neighbour.check()


def test_no_empty_number_is_an_error(redis_neighbour: Neighbour, foreign_redis: Endpoint, journal: Journal) -> None:
    with Connection(foreign_redis) as connection:
        for number in range(16):
            connection.pipeline([("SELECT", number), ("SET", "theirs", 1)])
    others = Neighbour(foreign_redis, everything(foreign_redis))

    with pytest.raises(NoEmptyDatabase, match="none of the 16"):
        claim_redis(foreign_redis, run="r", journal=journal)

    others.check()


def test_many_runs_at_once_claim_different_numbers(
    redis_neighbour: Neighbour, foreign_redis: Endpoint, journal: Journal
) -> None:
    with concurrent.futures.ThreadPoolExecutor(13) as pool:
        claims = list(pool.map(lambda n: claim_redis(foreign_redis, run=f"r{n}", journal=journal), range(13)))

    assert sorted(claim.database for claim in claims) == [1, 2, *range(4, 15)]
    with pytest.raises(NoEmptyDatabase):
        claim_redis(foreign_redis, run="late", journal=journal)
    assert all(map(give_back, claims))
    redis_neighbour.check()


def test_clients_in_our_number_are_reported_and_live_on(isolation: ClaimedIsolation, claim: Claim) -> None:
    with app(claim) as left, Connection(claim.endpoint.with_database("3"), name="neighbour"):
        outcome = isolation.reset()

        assert [leak.kind for leak in outcome.leaks] == ["connection"]
        assert "'app'" in outcome.leaks[0].what
        assert left.call("PING") == b"PONG"


def test_losing_our_connection_is_no_matter(isolation: ClaimedIsolation, claim: Claim) -> None:
    with app(claim) as connection:
        connection.pipeline([("SET", "k", 1), ("CLIENT", "KILL", "TYPE", "normal")])

    isolation.reset()

    assert isolation.verify() == ()


def test_a_user_with_few_rights_is_enough(
    redis_neighbour: Neighbour, foreign_redis: Endpoint, journal: Journal
) -> None:
    rights = "+@read +@write +@transaction +@connection +select +time +flushdb -client -config -info -@admin"
    with Connection(foreign_redis) as connection:
        connection.call("ACL", "SETUSER", "poor", "on", ">pw", "~*", *rights.split())
    try:
        endpoint = Endpoint.parse("redis", f"redis://poor:pw@127.0.0.1:{foreign_redis.port}/0")
        claim = claim_redis(endpoint, run="r", journal=journal)
        with contextlib.closing(ClaimedIsolation(claim, version="unknown")) as isolation:
            isolation.begin("t")
            with app(claim) as connection:
                connection.call("SET", "k", 1)
            assert isolation.reset().changed == ("db14: 1",)
            assert isolation.verify() == ()
        assert clean_foreign(journal._file) == ()
    finally:
        with Connection(foreign_redis) as connection:
            connection.call("ACL", "DELUSER", "poor")
    redis_neighbour.check()


def test_a_user_with_too_few_rights_is_told(foreign_redis: Endpoint, journal: Journal) -> None:
    with Connection(foreign_redis) as connection:
        connection.call("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@read", "-select")
    try:
        with pytest.raises(RedisRefused, match="NOPERM"):
            claim_redis(dataclasses.replace(foreign_redis, user="poor", password="pw"), run="r", journal=journal)
    finally:
        with Connection(foreign_redis) as connection:
            connection.call("ACL", "DELUSER", "poor")


def test_cleaning_goes_by_the_journal_and_may_be_repeated(
    claim: Claim, journal: Journal, redis_neighbour: Neighbour
) -> None:
    with app(claim) as connection:
        connection.call("SET", "left", 1)

    assert clean_foreign(journal._file) == ()
    redis_neighbour.check()
    assert clean_foreign(journal._file) == ()
    redis_neighbour.check()
    assert oct(journal._file.stat().st_mode & 0o777) == "0o600"


def test_a_server_that_is_gone_is_said_by_the_cleaning(claim: Claim, journal: Journal) -> None:
    text = journal._file.read_text().replace(f'"port": {claim.endpoint.port}', '"port": 1')
    journal._file.write_text(text)

    problems = clean_foreign(journal._file)

    assert len(problems) == 1
    assert "is left behind" in problems[0]
    with pytest.raises(ServerUnreachable):
        Connection(Endpoint.parse("redis", "redis://127.0.0.1:1/0"))
    give_back(claim)

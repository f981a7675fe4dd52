"""Reading CLIENT LIST of every server version, and telling leaks from who lived before."""

import pytest

from realstack.isolation.redis.clients import Client, leak_of, parse_clients, quick_look, suspects

V62 = (
    "id=5 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=9 name=app age=7 idle=3 flags=N db=2 sub=0 psub=0 multi=-1 "
    "qbuf=26 qbuf-free=32744 argv-mem=10 obl=0 oll=0 omem=0 tot-mem=49810 events=r cmd=get user=default redir=-1\n"
)
V70 = (
    "id=6 addr=/tmp/r.sock:0 laddr=/tmp/r.sock:0 fd=9 name= age=1 idle=0 flags=xU db=0 sub=1 psub=0 ssub=2 multi=3 "
    "qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=66 rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=22272 events=r "
    "cmd=client|list user=alice redir=-1 resp=2\n"
)
V80 = (
    "id=7 addr=[::1]:5000 laddr=[::1]:6379 fd=9 name=w age=1 idle=0 flags=b db=0 sub=0 psub=0 ssub=0 multi=-1 watch=2 "
    "qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=16384 rbp=0 obl=0 oll=0 omem=0 tot-mem=1 events=r cmd=blpop "
    "user=default redir=-1 resp=3 lib-name=redis-py lib-ver=8.1.0 io-thread=0 tot-net-in=1 tot-net-out=2 tot-cmds=3\n"
)
ALL = (V62 + V70 + V80).encode()


def test_every_version_is_read() -> None:
    clients = parse_clients(ALL)

    assert [client.id for client in clients.values()] == [5, 6, 7]
    assert (clients[5].database, clients[5].last_command, clients[5].age_s, clients[5].idle_s) == (2, "get", 7, 3)
    assert (clients[6].queued, clients[6].subscriptions, clients[6].user) == (3, 3, "alice")
    assert (clients[7].watched, clients[7].address) == (2, "[::1]:5000")
    assert set(quick_look(ALL)) == {5, 6, 7}


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("multi=-1", "multi=0"),
        ("db=2", "db=3"),
        ("flags=N", "flags=O"),
        ("flags=N", "flags=d"),
        ("sub=0 psub=0", "sub=0 psub=1"),
        ("user=default", "user=alice"),
    ],
)
def test_what_lived_before_is_suspect_when_it_was_left_changed(was: str, now: str) -> None:
    before, after = quick_look(V62.encode()), quick_look(V62.replace(was, now).encode())

    assert suspects(before, after, ours=()) == {5}
    assert suspects(before, after, ours=(5,)) == set()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("cmd=get", "cmd=set"),
        ("idle=3", "idle=0"),
        ("flags=N", "flags=b"),
        ("name=app", "name=other"),
        ("qbuf=26", "qbuf=0"),
    ],
)
def test_what_lived_before_may_go_on(was: str, now: str) -> None:
    assert suspects(quick_look(V62.encode()), quick_look(V62.replace(was, now).encode()), ours=()) == set()


def test_a_listener_may_subscribe_to_more() -> None:
    listener = V62.replace("sub=0", "sub=1", 1)

    assert (
        suspects(quick_look(listener.encode()), quick_look(listener.replace("sub=1", "sub=9").encode()), ours=())
        == set()
    )


def test_new_ones_are_suspect_and_gone_ones_are_not() -> None:
    assert suspects(quick_look(V62.encode()), quick_look(V80.encode()), ours=()) == {7}


def test_a_leak_names_what_a_person_needs() -> None:
    leak = leak_of(parse_clients(V70.encode())[6], lived_before=False)

    assert leak.kind == "transaction"
    assert leak.what == (
        "client 6 from /tmp/r.sock:0, database 0, user alice, last command 'client|list', "
        "3 command(s) queued in MULTI, 3 subscription(s), open for 1 s, idle for 0 s"
    )
    assert leak_of(Client.parse(V62), lived_before=True).kind == "session"

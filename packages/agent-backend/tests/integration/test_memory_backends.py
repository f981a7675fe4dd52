"""What every memory backend does alike; the rows are those behaviours that such stores are known to get wrong."""

import asyncio
import itertools
import random

import pytest

from agent_backend.errors import ArgumentInvalid, NamespaceViolation, ValueNotSerialisable, ValueTooLarge
from agent_backend.memory import PostgresMemory, RedisMemory

pytestmark = pytest.mark.integration

NASTY = [
    *(
        "%",
        "_",
        "\\",
        "*",
        "?",
        "[",
        "]",
        "[a]",
        "[^a]",
        "{a,b}",
        "'",
        '"',
        "$1",
        ";--",
        "\n",
        "\r\n",
        "\t",
        " ",
        "\x7f",
    ),
    *(
        "a_b",
        "a-b",
        "aXb",
        "a%b",
        "a\\b",
        "a.b",
        "my-doc.md#0",
        "..",
        "//",
        ":",
        "a:b",
        "{t}",
        "é",
        "e\u0301",
        "\u202e",
    ),
    *("\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "😀", "A" * 251),
]


def sibling(memory, **scope):
    """Another view of the same store."""
    if isinstance(memory, PostgresMemory):
        return PostgresMemory(memory.db, **scope)
    return RedisMemory(database=memory.database, **scope)


async def test_row_1_metacharacters_in_keys_are_literal(memory):
    keys = [f"aqe/{name}" for name in NASTY]
    for key in keys:
        await memory.store(key, key)

    assert await memory.list_keys() == sorted(keys)
    for key in keys:
        literal = await memory.search(key.replace("*", "?"))
        assert literal[key] == key
        if "*" not in key and "?" not in key:
            assert literal == {key: key}
        assert await memory.list_keys(key) == sorted(other for other in keys if other.startswith(key))


async def test_row_1_a_user_named_with_an_underscore_sees_no_other_user(memory):
    await memory.store("aqe/john_doe/x", 1)
    await memory.store("aqe/john-doe/x", 2)
    await memory.store("aqe/johnXdoe/x", 3)

    assert await memory.search("aqe/john_doe/*") == {"aqe/john_doe/x": 1}
    assert await memory.list_keys("aqe/john_doe/") == ["aqe/john_doe/x"]


async def test_row_2_a_namespace_ends_at_its_segment(memory):
    one, twelve = sibling(memory, namespace="aqe/user/1/"), sibling(memory, namespace="aqe/user/12/")
    await one.store("aqe/user/1/x", 1, partition="p")
    await twelve.store("aqe/user/12/x", 12, partition="p")

    assert await one.list_keys("aqe/user/1") == ["aqe/user/1/x"]
    assert await one.search("aqe/user/1*") == {"aqe/user/1/x": 1}
    assert (await one.get_stats())["partitions"] == {"p": 1}
    await one.clear_partition("p")
    assert await memory.list_keys() == ["aqe/user/12/x"]
    with pytest.raises(NamespaceViolation):
        await one.retrieve("aqe/user/12/x")


async def test_row_3_names_that_contain_the_delimiter_do_not_collide(memory):
    corners = ["a", "a:b", "a}:memory:value:aqe/x", "{a}", "a:", "a%3A", "%", "é", "a\n", "default}"]
    tenants = {name: sibling(memory, tenant=name) for name in corners}
    for name, view in tenants.items():
        await view.store("aqe/x", name, partition=f"{name[:20]}:p")
        await view.store("aqe/b:c", name + "2", partition="p")

    for name, view in tenants.items():
        assert await view.search("*") == {"aqe/b:c": name + "2", "aqe/x": name}
    longer = sibling(memory, tenant="a}:memory:value:aqe/b")
    await longer.store("aqe/c", "longer")
    await tenants["a"].store("aqe/b}:memory:value:aqe/c", "shorter", partition="a:p")
    assert await longer.retrieve("aqe/c") == "longer"
    await tenants["a"].clear_partition("a:p")
    await tenants["a"].delete("aqe/b:c")
    assert await tenants["a"].list_keys() == []
    assert all([await view.list_keys() for name, view in tenants.items() if name != "a"])


async def test_row_3_partitions_that_contain_each_other_are_cleared_apart(memory):
    for partition in ("p", "p:q", "p/", "P", "p ", "pp"):
        await memory.store(f"aqe/in-{partition}", 1, partition=partition)

    await memory.clear_partition("p")

    assert await memory.list_keys() == sorted(["aqe/in-p:q", "aqe/in-p/", "aqe/in-P", "aqe/in-p ", "aqe/in-pp"])


async def test_row_4_an_expired_item_is_invisible_on_every_read_path(memory, eventually):
    await memory.store("aqe/short", 1, ttl=0.3, partition="p")
    await memory.store("aqe/long", 2, ttl=60, partition="p")
    assert len(await memory.list_keys()) == 2

    async def is_gone():
        return await memory.retrieve("aqe/short") is None

    await eventually(is_gone)
    assert await memory.item("aqe/short") is None
    assert await memory.list_keys() == ["aqe/long"]
    assert await memory.search("aqe/*") == {"aqe/long": 2}
    assert await memory.search("*s?ort*") == {}
    stats = await memory.get_stats()
    assert (stats["total_keys"], stats["partitions"]) == (1, {"p": 1})


@pytest.mark.postgres
async def test_row_4_an_item_expires_inside_a_long_transaction_too(postgres_memory_real, eventually):
    async with postgres_memory_real.transaction() as memory:
        await memory.store("aqe/short", 1, ttl=0.2)
        assert await memory.retrieve("aqe/short") == 1

        async def is_gone():
            return await memory.retrieve("aqe/short") is None

        await eventually(is_gone)
        assert (await memory.list_keys(), await memory.search("*")) == ([], {})
        assert (await memory.get_stats())["total_expired"] == 1
        assert await memory.cleanup_expired() == 1


@pytest.mark.redis
async def test_row_5_every_redis_key_of_an_expiring_record_expires(redis_memory_real):
    client = redis_memory_real.client
    await redis_memory_real.store("aqe/a", 1, ttl=60)
    await redis_memory_real.store("aqe/b", 2, ttl=7200)
    lifetimes = [await client.ttl(name) for name in await client.keys("*")]
    assert len(lifetimes) == 6
    assert all(0 < left_s <= 7200 + 3600 for left_s in lifetimes)

    await redis_memory_real.store("aqe/b", 2, ttl=None)
    assert [await client.ttl(name) for name in await client.keys("*memory:[kepv]*s")] == [-1] * 4
    await redis_memory_real.store("aqe/b", 2, ttl=30)
    assert all(0 < left_s <= 60 + 3600 for left_s in [await client.ttl(name) for name in await client.keys("*")])
    await redis_memory_real.store("aqe/b", 2, ttl=None)
    await redis_memory_real.delete("aqe/b")
    assert all(0 < left_s <= 60 + 3600 for left_s in [await client.ttl(name) for name in await client.keys("*")])
    await redis_memory_real.delete("aqe/a")
    assert await client.keys("*") == []


async def test_row_5_an_overwrite_replaces_the_lifetime(memory, eventually):
    await memory.store("aqe/a", 1, ttl=0.2)
    await memory.store("aqe/a", 2, ttl=None)
    await memory.store("aqe/b", 1, ttl=None)
    await memory.store("aqe/b", 2, ttl=0.2)

    async def is_gone():
        return await memory.retrieve("aqe/b") is None

    await eventually(is_gone)
    assert await memory.search("*") == {"aqe/a": 2}
    assert (await memory.item("aqe/a")).expires_at is None


async def test_row_6_only_what_was_asked_is_deleted(memory):
    mine, theirs = sibling(memory, tenant="mine"), sibling(memory, tenant="theirs")
    outside = sibling(memory, tenant="mine", namespace="other/")
    for view in (mine, theirs):
        await view.store("aqe/x", 1, partition="p")
        await view.store("aqe/y", 2, partition="q")
    await outside.store("other/x", 3, partition="p")
    before = await theirs.item("aqe/x"), await outside.item("other/x")

    await mine.delete("aqe/x")
    await mine.clear_partition("q")
    await mine.clear_partition("p")

    assert await mine.list_keys() == []
    assert (await theirs.item("aqe/x"), await outside.item("other/x")) == before
    assert await theirs.search("*") == {"aqe/x": 1, "aqe/y": 2}


async def test_row_7_whatever_can_be_stored_can_be_deleted(memory):
    for key in [f"aqe/{name}" for name in NASTY]:
        await memory.store(key, 1)
        await memory.delete(key)
        assert await memory.retrieve(key) is None
    assert await memory.list_keys() == []


async def test_row_8_stores_and_deletes_that_race_leave_index_and_values_in_step(memory):
    rolls = random.Random(3)
    calls = [
        rolls.choice(
            [
                lambda n: memory.store(f"aqe/{n}", n, partition=f"p{rolls.randrange(3)}"),
                lambda n: memory.delete(f"aqe/{n}"),
                lambda _: memory.clear_partition(f"p{rolls.randrange(3)}"),
            ]
        )(rolls.randrange(5))
        for _ in range(300)
    ]
    await asyncio.gather(*calls)

    keys = await memory.list_keys()
    stats = await memory.get_stats()
    assert list(await memory.search("*")) == keys
    assert stats["total_keys"] == sum(stats["partitions"].values()) == len(keys)
    for key in (f"aqe/{n}" for n in range(5)):
        assert (await memory.retrieve(key) is not None) == (key in keys)


async def test_row_13_listing_does_not_slow_down_while_other_tenants_grow(memory):
    """Counted, not timed: the store touches as many entries as the tenant holds."""
    mine = sibling(memory, tenant="mine")
    for n in range(20):
        await mine.store(f"aqe/{n:02}", n)
    others = [sibling(memory, tenant=f"other{n}") for n in range(20)]
    await asyncio.gather(*(other.store(f"aqe/{n}", n) for other in others for n in range(50)))

    assert len(await mine.list_keys()) == 20
    if isinstance(memory, PostgresMemory):
        await memory.db.execute("ANALYZE qe_memory")
        plan = await memory.db.fetch(
            "EXPLAIN (ANALYZE, FORMAT TEXT, TIMING OFF) SELECT key FROM qe_memory "
            "WHERE tenant = 'mine' AND key >= 'aqe/' AND key < 'aqe0' ORDER BY key"
        )
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan" not in text
        assert "Rows Removed" not in text
    else:
        assert await memory.client.zcard("{mine}:memory:keys") == 20


@pytest.mark.redis
async def test_row_13_the_redis_index_drops_expired_members(redis_memory_real, eventually):
    for n in range(40):
        await redis_memory_real.store(f"aqe/short/{n}", n, ttl=0.05, partition=f"p{n % 3}")
    await redis_memory_real.store("aqe/long", 1, ttl=None)

    async def is_one():
        return await redis_memory_real.list_keys() == ["aqe/long"]

    await eventually(is_one)
    sizes = [await redis_memory_real.client.zcard(f"{{default}}:memory:{name}") for name in ("keys", "partitions")]
    assert sizes == [1, 1]
    assert await redis_memory_real.client.zcard("{default}:memory:expiries") == 0
    assert await redis_memory_real.client.hlen("{default}:memory:versions") == 1


@pytest.mark.redis
@pytest.mark.parametrize("question", ["list_keys", "get_stats"])
async def test_row_13_any_number_of_expired_members_is_dropped_before_the_answer(redis_memory_real, question):
    for start in range(0, 2500, 500):
        await asyncio.gather(*(redis_memory_real.store(f"aqe/{n:04}", n) for n in range(start, start + 500)))
    await redis_memory_real.store("aqe/live", 1)
    client = redis_memory_real.client
    await client.zadd("{default}:memory:expiries", {f"aqe/{n:04}": 1 for n in range(2500)})  # long ago

    answer = await getattr(redis_memory_real, question)()

    assert answer == ["aqe/live"] or answer["partitions"] == {"default": 1}
    assert await client.zcard("{default}:memory:keys") == 1


async def test_row_13_more_keys_than_one_page_are_listed_found_and_cleared(memory):
    count = 4321
    if isinstance(memory, PostgresMemory):
        await memory.db.execute(
            "INSERT INTO qe_memory (key, value, partition) "
            "SELECT 'aqe/' || lpad(n::text, 5, '0'), to_json(n), 'bulk' FROM generate_series(0, $1 - 1) AS n",
            count,
        )
    else:
        for start in range(0, count, 500):
            numbers = range(start, min(start + 500, count))
            await asyncio.gather(*(memory.store(f"aqe/{n:05}", n, partition="bulk") for n in numbers))
    await memory.store("aqe/kept", 1)

    assert (await memory.list_keys())[:-1] == [f"aqe/{n:05}" for n in range(count)]
    assert list((await memory.search("aqe/0*")).values()) == list(range(count))
    assert (await memory.get_stats())["partitions"] == {"bulk": count, "default": 1}
    await memory.clear_partition("bulk")
    assert await memory.list_keys() == ["aqe/kept"]


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff\ud800y", "\\u0000", "\\ud800", "é\ud800\0", "😀"])
async def test_row_15_nul_and_lone_surrogates_come_back_intact(memory, text):
    value = {"output": text, text: [text, {"deep": text}]}

    await memory.store("aqe/x", value, metadata={"note": text})
    await memory.store("aqe/again", await memory.retrieve("aqe/x"))

    assert await memory.retrieve("aqe/x") == value
    assert await memory.search("aqe/again") == {"aqe/again": value}
    assert (await memory.item("aqe/x")).metadata == {"note": text}


async def test_numbers_come_back_as_they_were(memory):
    numbers = [0, -1, 2**64, 1.0, 1e20, 1e300, 5e-324, 0.1, 10**100, True, False, None]
    await memory.store("aqe/x", [*numbers, -0.0])

    *back, zero = await memory.retrieve("aqe/x")
    assert back == numbers
    assert list(map(type, back)) == list(map(type, numbers))
    assert str(zero) == "-0.0"


async def test_the_order_of_a_dictionary_comes_back(memory):
    await memory.store("aqe/x", {"z": 1, "a": 2, "m": 3})

    assert list(await memory.retrieve("aqe/x")) == ["z", "a", "m"]


async def test_a_value_of_ten_megabytes_comes_back(memory):
    value = {"big": "é" * (5 * 1024 * 1024), "end": True}
    await memory.store("aqe/big", value)

    assert await memory.retrieve("aqe/big") == value


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False])
async def test_an_empty_value_is_a_value(memory, value):
    await memory.store("aqe/x", value)

    assert await memory.retrieve("aqe/x") == value
    assert await memory.list_keys() == ["aqe/x"]
    assert await memory.search("*") == {"aqe/x": value}


async def test_bad_arguments_are_refused_and_nothing_is_stored(memory):
    bad = [
        (NamespaceViolation, ("other/x", 1), {}),
        (ArgumentInvalid, ("", 1), {}),
        (ArgumentInvalid, ("aqe/" + "x" * 252, 1), {}),
        (ArgumentInvalid, ("aqe/x", 1), {"ttl": 0}),
        (ArgumentInvalid, ("aqe/x", 1), {"ttl": -5}),
        (ArgumentInvalid, ("aqe/x", 1), {"partition": ""}),
        (ArgumentInvalid, ("aqe/x", 1), {"partition": "p" * 51}),
        (ValueNotSerialisable, ("aqe/x", {"a": {1, 2}}), {}),
        (ValueNotSerialisable, ("aqe/x", 1), {"metadata": {"a": object()}}),
        (ValueTooLarge, ("aqe/x", "x" * (16 * 1024 * 1024)), {}),
    ]
    for kind, args, kwargs in bad:
        with pytest.raises(kind):
            await memory.store(*args, **kwargs)
    for call in (memory.retrieve, memory.item, memory.delete):
        with pytest.raises(NamespaceViolation):
            await call("other/x")

    assert await memory.list_keys() == []
    assert await memory.list_keys("other/") == []
    assert await memory.search("other/*") == {}


async def test_versions_grow_and_never_repeat_across_a_delete(memory):
    seen = []
    for _ in range(5):
        await memory.store("aqe/x", 1)
        seen.append((await memory.item("aqe/x")).version)
        await memory.store("aqe/x", 2)
        seen.append((await memory.item("aqe/x")).version)
        await memory.delete("aqe/x")

    assert all(earlier < later for earlier, later in itertools.pairwise(seen))


@pytest.mark.redis
async def test_versions_grow_when_the_clock_of_redis_steps_back(redis_memory_real):
    await redis_memory_real.store("aqe/x", 1)
    ahead = 9_000_000_000_000_000
    await redis_memory_real.client.hset("{default}:memory:versions", "aqe/x", f"{ahead}:default")
    await redis_memory_real.store("aqe/x", 2)

    assert (await redis_memory_real.item("aqe/x")).version == ahead + 1

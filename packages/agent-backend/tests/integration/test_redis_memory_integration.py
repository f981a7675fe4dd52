"""Seed 001: ``RedisMemory`` on a real Redis."""

import asyncio
import json
import time

import pytest

from agent_backend.errors import StorageClosed
from agent_backend.memory import RedisMemory

pytestmark = [pytest.mark.integration, pytest.mark.redis]


class TestRedisMemoryRealBasicOperations:
    async def test_store_and_retrieve_simple_value(self, redis_memory_real, integration_test_data):
        await redis_memory_real.store("aqe/test/simple", integration_test_data["simple"])

        assert await redis_memory_real.retrieve("aqe/test/simple") == {"value": "test", "count": 42}

    async def test_store_and_retrieve_nested_data(self, redis_memory_real, integration_test_data):
        await redis_memory_real.store("aqe/test/nested", integration_test_data["nested"])

        nested = await redis_memory_real.retrieve("aqe/test/nested")
        assert nested["level1"]["level2"]["level3"] == {"data": "deep"}
        assert nested == integration_test_data["nested"]

    async def test_store_and_retrieve_list_data(self, redis_memory_real, integration_test_data):
        await redis_memory_real.store("aqe/test/list", integration_test_data["list_data"])

        stored = await redis_memory_real.retrieve("aqe/test/list")
        assert stored["items"] == [1, 2, 3, 4, 5]
        assert stored["tags"] == ["unit", "integration", "e2e"]

    async def test_retrieve_nonexistent_key_returns_none(self, redis_memory_real):
        assert await redis_memory_real.retrieve("aqe/test/nonexistent") is None

    async def test_overwrite_existing_key(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/overwrite", {"version": 1}, partition="before")
        first = await redis_memory_real.item("aqe/test/overwrite")
        await redis_memory_real.store("aqe/test/overwrite", {"version": 2}, partition="after")
        second = await redis_memory_real.item("aqe/test/overwrite")

        assert (first.value, first.partition) == ({"version": 1}, "before")
        assert (second.value, second.partition) == ({"version": 2}, "after")
        assert second.version > first.version
        assert second.created_at > first.created_at

    async def test_delete_key(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/delete", {"data": "x"})
        await redis_memory_real.store("aqe/test/delete-not", {"data": "y"})
        assert await redis_memory_real.retrieve("aqe/test/delete") is not None

        await redis_memory_real.delete("aqe/test/delete")

        assert await redis_memory_real.retrieve("aqe/test/delete") is None
        assert await redis_memory_real.list_keys() == ["aqe/test/delete-not"]

    async def test_delete_nonexistent_key_no_error(self, redis_memory_real):
        assert await redis_memory_real.delete("aqe/test/never-stored") is None

    async def test_store_complex_data(self, redis_memory_real, integration_test_data):
        await redis_memory_real.store("aqe/test/complex", integration_test_data["complex"])

        stored = await redis_memory_real.retrieve("aqe/test/complex")
        assert len(stored["tests"]) == 2
        assert stored["metadata"] == {"framework": "pytest", "coverage": 0.85}


class TestRedisMemoryRealTTL:
    async def test_store_with_ttl(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/ttl", {"data": "x"}, ttl=3600)

        assert await redis_memory_real.retrieve("aqe/test/ttl") == {"data": "x"}
        assert 3590 < await redis_memory_real.client.ttl(redis_memory_real.slot("aqe/test/ttl")) <= 3600

    @pytest.mark.slow
    async def test_ttl_expiration_real_time(self, redis_memory_real, eventually):
        started = time.monotonic()
        await redis_memory_real.store("aqe/test/expiring", {"data": "x"}, ttl=0.3)
        assert await redis_memory_real.retrieve("aqe/test/expiring") == {"data": "x"}

        async def is_gone():
            return await redis_memory_real.retrieve("aqe/test/expiring") is None

        await eventually(is_gone)
        assert 0.29 <= time.monotonic() - started < 5

    async def test_store_without_ttl_persists(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/persistent", {"data": "x"}, ttl=None)

        assert await redis_memory_real.retrieve("aqe/test/persistent") == {"data": "x"}
        assert await redis_memory_real.client.ttl(redis_memory_real.slot("aqe/test/persistent")) == -1

    async def test_update_ttl_on_overwrite(self, redis_memory_real):
        slot = redis_memory_real.slot("aqe/test/ttl")
        await redis_memory_real.store("aqe/test/ttl", {"version": 1}, ttl=5)
        first = await redis_memory_real.client.ttl(slot)
        await redis_memory_real.store("aqe/test/ttl", {"version": 2}, ttl=3600)
        second = await redis_memory_real.client.ttl(slot)
        assert 0 < first <= 5 < 3590 < second <= 3600
        assert await redis_memory_real.retrieve("aqe/test/ttl") == {"version": 2}

        await redis_memory_real.store("aqe/test/ttl", {"version": 3}, ttl=None)
        assert await redis_memory_real.client.ttl(slot) == -1


class TestRedisMemoryRealSearch:
    async def test_search_by_pattern(self, redis_memory_real):
        for key in ("aqe/test/search/1", "aqe/test/search/2", "aqe/test/search/3", "aqe/test/other/1"):
            await redis_memory_real.store(key, {"key": key})

        found = await redis_memory_real.search("aqe/test/search/*")

        assert list(found) == ["aqe/test/search/1", "aqe/test/search/2", "aqe/test/search/3"]
        assert found["aqe/test/search/2"] == {"key": "aqe/test/search/2"}

    async def test_search_no_matches(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/here", 1)

        assert await redis_memory_real.search("aqe/test/nowhere/*") == {}

    async def test_search_with_redis_patterns(self, redis_memory_real):
        for key in ("aqe/test/item_a", "aqe/test/item_b", "aqe/test/item_ab", "aqe/test/item_[ab]"):
            await redis_memory_real.store(key, 1)

        assert list(await redis_memory_real.search("aqe/test/item_?")) == ["aqe/test/item_a", "aqe/test/item_b"]
        assert list(await redis_memory_real.search("aqe/test/item_[ab]")) == ["aqe/test/item_[ab]"]

    @pytest.mark.slow
    async def test_search_excludes_expired_keys(self, redis_memory_real, eventually):
        await redis_memory_real.store("aqe/test/search/short", 1, ttl=0.2)
        await redis_memory_real.store("aqe/test/search/long", 2, ttl=None)
        assert len(await redis_memory_real.search("aqe/test/search/*")) == 2

        async def is_one():
            return await redis_memory_real.search("aqe/test/search/*") == {"aqe/test/search/long": 2}

        await eventually(is_one)


class TestRedisMemoryRealPartitions:
    async def test_store_in_partition(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/part", {"data": "x"}, partition="test_partition")

        assert await redis_memory_real.retrieve("aqe/test/part") == {"data": "x"}
        assert (await redis_memory_real.item("aqe/test/part")).partition == "test_partition"
        assert (await redis_memory_real.get_stats())["partitions"] == {"test_partition": 1}

    async def test_clear_partition(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/a1", 1, partition="partition_a")
        await redis_memory_real.store("aqe/test/a2", 2, partition="partition_a")
        await redis_memory_real.store("aqe/test/b1", 3, partition="partition_b")

        await redis_memory_real.clear_partition("partition_a")

        assert await redis_memory_real.list_keys() == ["aqe/test/b1"]
        assert await redis_memory_real.retrieve("aqe/test/a1") is None
        assert await redis_memory_real.retrieve("aqe/test/b1") == 3


class TestRedisMemoryRealKeyListing:
    async def test_list_keys_with_prefix(self, redis_memory_real):
        for key in ("aqe/test/list/c", "aqe/test/list/a", "aqe/test/list/b", "aqe/test/listed"):
            await redis_memory_real.store(key, 1)

        listed = await redis_memory_real.list_keys("aqe/test/list/")
        assert listed == ["aqe/test/list/a", "aqe/test/list/b", "aqe/test/list/c"]

    async def test_list_all_keys(self, redis_memory_real):
        for key in ("aqe/test/all/1", "aqe/test/all/2", "aqe/test/all/3"):
            await redis_memory_real.store(key, 1)

        assert len(await redis_memory_real.list_keys()) == 3

    async def test_keys_are_sorted(self, redis_memory_real):
        keys = [f"aqe/test/sort/{name}" for name in ("z", "a", "Z", "é", "m", "10", "9")]
        for key in keys:
            await redis_memory_real.store(key, 1)

        assert await redis_memory_real.list_keys("aqe/test/sort/") == sorted(keys)


class TestRedisMemoryRealStats:
    async def test_get_stats(self, redis_memory_real):
        for number in range(5):
            await redis_memory_real.store(f"aqe/test/stats/{number}", {"n": number})

        stats = await redis_memory_real.get_stats()

        assert stats["total_keys"] == 5
        assert stats["partitions"] == {"default": 5}
        assert stats["memory_used"][-1] in "BKMG"
        assert float(stats["memory_used"][:-1]) > 0
        assert stats["connected_clients"] >= 1
        assert sum(figures["keys"] for figures in stats["keyspace_info"].values()) >= 5

    async def test_stats_show_memory_usage(self, redis_memory_real, redis_database):
        before, used_before = await redis_memory_real.get_stats(), (await redis_database.ask("INFO"))["used_memory"]
        for number in range(100):
            await redis_memory_real.store(f"aqe/test/memory/{number}", "x" * 10_000)
        after, used_after = await redis_memory_real.get_stats(), (await redis_database.ask("INFO"))["used_memory"]

        assert (before["total_keys"], after["total_keys"]) == (0, 100)
        assert used_after - used_before > 900_000
        assert after["memory_used"] != before["memory_used"]


class TestRedisMemoryRealConcurrency:
    async def test_concurrent_writes(self, redis_memory_real):
        await asyncio.gather(*(redis_memory_real.store(f"aqe/test/w/{n:02}", {"n": n}) for n in range(50)))

        found = await redis_memory_real.search("aqe/test/w/*")
        assert found == {f"aqe/test/w/{n:02}": {"n": n} for n in range(50)}

    async def test_concurrent_reads(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/shared", {"data": "shared"})

        values = await asyncio.gather(*(redis_memory_real.retrieve("aqe/test/shared") for _ in range(100)))

        assert values == [{"data": "shared"}] * 100

    async def test_atomic_operations(self, redis_memory_real):
        await asyncio.gather(
            *(redis_memory_real.store("aqe/test/one", {"writer": n}, partition=f"p{n}") for n in range(10))
        )

        winner = (await redis_memory_real.retrieve("aqe/test/one"))["writer"]
        assert winner in range(10)
        assert (await redis_memory_real.get_stats())["partitions"] == {f"p{winner}": 1}


class TestRedisMemoryRealPerformance:
    @pytest.mark.slow
    async def test_bulk_write_performance(self, redis_memory_real):
        started = time.perf_counter()
        for n in range(100):
            await redis_memory_real.store(f"aqe/test/bulk/{n:03}", {"n": n})
        took_s = time.perf_counter() - started

        assert len(await redis_memory_real.list_keys("aqe/test/bulk/")) == 100
        assert 100 / took_s > 50

    @pytest.mark.slow
    async def test_read_performance(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/read", {"data": "x"})
        started = time.perf_counter()
        for _ in range(100):
            assert await redis_memory_real.retrieve("aqe/test/read") == {"data": "x"}

        assert 100 / (time.perf_counter() - started) > 100

    @pytest.mark.slow
    async def test_search_performance(self, redis_memory_real):
        for n in range(50):
            await redis_memory_real.store(f"aqe/test/find/{n:02}", {"n": n})
        started = time.perf_counter()
        found = await redis_memory_real.search("aqe/test/find/*")

        assert time.perf_counter() - started < 0.5
        assert len(found) == 50


class TestRedisMemoryRealPersistence:
    async def test_data_persists_across_flushdb(self, redis_memory_real, redis_memory_persistent):
        await redis_memory_real.store("aqe/test/here", 1)
        await redis_memory_persistent.store("aqe/test/there", {"data": "kept"}, ttl=None)

        await redis_memory_real.client.flushdb()

        assert await redis_memory_real.list_keys() == []
        assert await redis_memory_persistent.retrieve("aqe/test/there") == {"data": "kept"}
        assert await redis_memory_persistent.list_keys() == ["aqe/test/there"]

    async def test_metadata_preserved(self, redis_memory_real):
        await redis_memory_real.store(
            "aqe/test/meta", {"data": "x"}, partition="custom_partition", metadata={"author": "agent-1"}
        )

        raw = json.loads(await redis_memory_real.client.get(redis_memory_real.slot("aqe/test/meta")))
        server_s, _ = await redis_memory_real.client.time()
        assert raw["value"] == {"data": "x"}
        assert raw["partition"] == "custom_partition"
        assert raw["metadata"] == {"author": "agent-1"}
        assert 0 <= server_s - int(raw["created_at"]) < 10


class TestRedisMemoryRealConnectionPool:
    async def test_connection_pool_reuse(self, redis_memory_real):
        await redis_memory_real.store("aqe/test/first", 0)
        before = (await redis_memory_real.client.info("stats"))["total_connections_received"]
        for n in range(10):
            await redis_memory_real.store(f"aqe/test/pool/{n}", n)
        for n in range(10):
            assert await redis_memory_real.retrieve(f"aqe/test/pool/{n}") == n

        assert (await redis_memory_real.client.info("stats"))["total_connections_received"] == before

    async def test_connection_pool_handles_load(self, redis_memory_real):
        before = (await redis_memory_real.client.info("stats"))["total_connections_received"]
        for start in range(0, 100, 20):
            await asyncio.gather(*(redis_memory_real.store(f"aqe/test/load/{n}", n) for n in range(start, start + 20)))

        opened = (await redis_memory_real.client.info("stats"))["total_connections_received"] - before
        assert len(await redis_memory_real.list_keys("aqe/test/load/")) == 100
        assert opened <= redis_memory_real.database.max_connections


class TestRedisMemoryRealCleanup:
    async def test_cleanup_expired_noop(self, redis_memory_real):
        for n in range(5):
            await redis_memory_real.store(f"aqe/test/cleanup/{n}", n, ttl=60)

        assert await redis_memory_real.cleanup_expired() == 0
        assert len(await redis_memory_real.list_keys()) == 5

    async def test_close_connection(self, redis_memory_real, redis_url, eventually):
        memory = RedisMemory.from_url(redis_url)
        await memory.store("aqe/test/open", 1)
        before = len(await redis_memory_real.client.client_list())

        await memory.close()
        await memory.close()

        async def is_gone():
            return len(await redis_memory_real.client.client_list()) == before - 1

        await eventually(is_gone)
        with pytest.raises(StorageClosed):
            await memory.retrieve("aqe/test/open")
        assert await redis_memory_real.retrieve("aqe/test/open") == 1

"""Seed 001: ``PostgresMemory`` on a real PostgreSQL."""

import asyncio
import random
import time
from datetime import UTC, datetime

import pytest

from agent_backend.errors import NamespaceViolation

pytestmark = [pytest.mark.integration, pytest.mark.postgres]


class TestPostgresMemoryRealBasicOperations:
    async def test_store_and_retrieve_simple_value(self, postgres_memory_real, integration_test_data):
        await postgres_memory_real.store("aqe/test/simple", integration_test_data["simple"])

        assert await postgres_memory_real.retrieve("aqe/test/simple") == {"value": "test", "count": 42}

    async def test_store_and_retrieve_nested_data(self, postgres_memory_real, integration_test_data):
        await postgres_memory_real.store("aqe/test/nested", integration_test_data["nested"])

        nested = await postgres_memory_real.retrieve("aqe/test/nested")
        assert nested["level1"]["level2"]["level3"] == {"data": "deep"}
        assert nested == integration_test_data["nested"]

    async def test_store_and_retrieve_list_data(self, postgres_memory_real, integration_test_data):
        await postgres_memory_real.store("aqe/test/list", integration_test_data["list_data"])

        stored = await postgres_memory_real.retrieve("aqe/test/list")
        assert stored["items"] == [1, 2, 3, 4, 5]
        assert stored["tags"] == ["unit", "integration", "e2e"]

    async def test_retrieve_nonexistent_key_returns_none(self, postgres_memory_real):
        assert await postgres_memory_real.retrieve("aqe/test/nonexistent") is None

    async def test_overwrite_existing_key(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/overwrite", {"version": 1}, partition="before")
        first = await postgres_memory_real.item("aqe/test/overwrite")
        await postgres_memory_real.store("aqe/test/overwrite", {"version": 2}, partition="after")
        second = await postgres_memory_real.item("aqe/test/overwrite")

        assert (first.value, first.partition) == ({"version": 1}, "before")
        assert (second.value, second.partition) == ({"version": 2}, "after")
        assert second.version > first.version
        assert second.created_at > first.created_at

    async def test_delete_key(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/delete", {"data": "x"})
        await postgres_memory_real.store("aqe/test/delete-not", {"data": "y"})
        assert await postgres_memory_real.retrieve("aqe/test/delete") is not None

        await postgres_memory_real.delete("aqe/test/delete")

        assert await postgres_memory_real.retrieve("aqe/test/delete") is None
        assert await postgres_memory_real.list_keys() == ["aqe/test/delete-not"]

    async def test_delete_nonexistent_key_no_error(self, postgres_memory_real):
        assert await postgres_memory_real.delete("aqe/test/never-stored") is None

    async def test_store_complex_data(self, postgres_memory_real, integration_test_data):
        await postgres_memory_real.store("aqe/test/complex", integration_test_data["complex"])

        stored = await postgres_memory_real.retrieve("aqe/test/complex")
        assert len(stored["tests"]) == 2
        assert stored["metadata"] == {"framework": "pytest", "coverage": 0.85}


class TestPostgresMemoryRealTTL:
    async def test_store_with_ttl(self, postgres_memory_real, postgres_db_manager):
        await postgres_memory_real.store("aqe/test/ttl", {"data": "x"}, ttl=3600)

        assert await postgres_memory_real.retrieve("aqe/test/ttl") == {"data": "x"}
        left_s = await postgres_db_manager.fetchval(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM qe_memory"
        )
        assert 3590 < left_s <= 3600

    @pytest.mark.slow
    async def test_ttl_expiration_real_time(self, postgres_memory_real, eventually):
        started = time.monotonic()
        await postgres_memory_real.store("aqe/test/expiring", {"data": "x"}, ttl=0.3)
        assert await postgres_memory_real.retrieve("aqe/test/expiring") == {"data": "x"}

        async def is_gone():
            return await postgres_memory_real.retrieve("aqe/test/expiring") is None

        await eventually(is_gone)
        assert 0.3 <= time.monotonic() - started < 5

    async def test_store_without_ttl_persists(self, postgres_memory_real, postgres_db_manager):
        await postgres_memory_real.store("aqe/test/persistent", {"data": "x"}, ttl=None)

        assert await postgres_memory_real.retrieve("aqe/test/persistent") == {"data": "x"}
        row = await postgres_db_manager.fetchrow("SELECT expires_at FROM qe_memory WHERE key = 'aqe/test/persistent'")
        assert row["expires_at"] is None

    async def test_update_ttl_on_overwrite(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/ttl", {"version": 1}, ttl=5)
        first = await postgres_memory_real.item("aqe/test/ttl")
        await postgres_memory_real.store("aqe/test/ttl", {"version": 2}, ttl=3600)
        second = await postgres_memory_real.item("aqe/test/ttl")
        await postgres_memory_real.store("aqe/test/ttl", {"version": 3}, ttl=None)
        third = await postgres_memory_real.item("aqe/test/ttl")

        assert 3590 < (second.expires_at - first.expires_at).total_seconds() < 3600
        assert abs((first.expires_at - datetime.now(UTC)).total_seconds()) < 6
        assert third.expires_at is None
        assert third.value == {"version": 3}


class TestPostgresMemoryRealSearch:
    async def test_search_by_pattern(self, postgres_memory_real):
        for key in ("aqe/test/search/1", "aqe/test/search/2", "aqe/test/search/3", "aqe/test/other/1"):
            await postgres_memory_real.store(key, {"key": key})

        found = await postgres_memory_real.search("aqe/test/search/*")

        assert list(found) == ["aqe/test/search/1", "aqe/test/search/2", "aqe/test/search/3"]
        assert found["aqe/test/search/2"] == {"key": "aqe/test/search/2"}

    async def test_search_no_matches(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/here", 1)

        assert await postgres_memory_real.search("aqe/test/nowhere/*") == {}

    async def test_search_single_character_wildcard(self, postgres_memory_real):
        for key in ("aqe/test/item_a", "aqe/test/item_b", "aqe/test/item_ab", "aqe/test/itemXa"):
            await postgres_memory_real.store(key, 1)

        assert list(await postgres_memory_real.search("aqe/test/item_?")) == ["aqe/test/item_a", "aqe/test/item_b"]
        sql_style = await postgres_memory_real.search("aqe/test/item_a", one_character="_")
        assert list(sql_style) == ["aqe/test/itemXa", "aqe/test/item_a"]

    async def test_search_excludes_expired_keys(self, postgres_memory_real, eventually):
        await postgres_memory_real.store("aqe/test/search/short", 1, ttl=0.2)
        await postgres_memory_real.store("aqe/test/search/long", 2, ttl=None)
        assert len(await postgres_memory_real.search("aqe/test/search/*")) == 2

        async def is_one():
            return await postgres_memory_real.search("aqe/test/search/*") == {"aqe/test/search/long": 2}

        await eventually(is_one)


class TestPostgresMemoryRealPartitions:
    async def test_store_in_partition(self, postgres_memory_real, postgres_db_manager):
        await postgres_memory_real.store("aqe/test/part", {"data": "x"}, partition="test_partition")

        assert await postgres_memory_real.retrieve("aqe/test/part") == {"data": "x"}
        column = await postgres_db_manager.fetchval("SELECT partition FROM qe_memory WHERE key = 'aqe/test/part'")
        assert column == "test_partition"

    async def test_clear_partition(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/a1", 1, partition="partition_a")
        await postgres_memory_real.store("aqe/test/a2", 2, partition="partition_a")
        await postgres_memory_real.store("aqe/test/b1", 3, partition="partition_b")

        await postgres_memory_real.clear_partition("partition_a")

        assert await postgres_memory_real.list_keys() == ["aqe/test/b1"]
        assert await postgres_memory_real.retrieve("aqe/test/b1") == 3


class TestPostgresMemoryRealKeyListing:
    async def test_list_keys_with_prefix(self, postgres_memory_real):
        for key in ("aqe/test/list/c", "aqe/test/list/a", "aqe/test/list/b", "aqe/test/listed"):
            await postgres_memory_real.store(key, 1)

        listed = await postgres_memory_real.list_keys("aqe/test/list/")
        assert listed == ["aqe/test/list/a", "aqe/test/list/b", "aqe/test/list/c"]

    async def test_list_all_keys(self, postgres_memory_real):
        keys = [f"aqe/test/all/{name}" for name in ("z", "a", "Z", "é")]
        for key in keys:
            await postgres_memory_real.store(key, 1)

        assert await postgres_memory_real.list_keys() == sorted(keys)


class TestPostgresMemoryRealStats:
    async def test_get_stats(self, postgres_memory_real):
        for number in range(5):
            await postgres_memory_real.store(f"aqe/test/stats/{number}", {"n": number}, partition="stats_test")
        await postgres_memory_real.store("aqe/test/stats/other", 1, partition="other")

        stats = await postgres_memory_real.get_stats()

        assert stats["total_keys"] == 6
        assert stats["total_expired"] == 0
        assert list(stats["partitions"].items()) == [("stats_test", 5), ("other", 1)]
        assert stats["size_bytes"] > 0

    async def test_stats_size_calculation(self, postgres_memory_real, large_test_data):
        before = await postgres_memory_real.get_stats()
        assert (before["size_bytes"], before["size_mb"]) == (0, 0.0)
        large_test_data["noise"] = random.Random(0).randbytes(50_000).hex()  # does not compress

        await postgres_memory_real.store("aqe/test/large", large_test_data)

        after = await postgres_memory_real.get_stats()
        assert after["size_bytes"] > 50_000
        assert after["size_mb"] == round(after["size_bytes"] / 1024**2, 2) > 0


class TestPostgresMemoryRealConcurrency:
    async def test_concurrent_writes(self, postgres_memory_real):
        await asyncio.gather(*(postgres_memory_real.store(f"aqe/test/w/{n:02}", {"n": n}) for n in range(50)))

        found = await postgres_memory_real.search("aqe/test/w/*")
        assert found == {f"aqe/test/w/{n:02}": {"n": n} for n in range(50)}

    async def test_concurrent_reads(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/shared", {"data": "shared"})

        values = await asyncio.gather(*(postgres_memory_real.retrieve("aqe/test/shared") for _ in range(100)))

        assert values == [{"data": "shared"}] * 100

    async def test_concurrent_mixed_operations(self, postgres_memory_real):
        for n in range(30):
            await postgres_memory_real.store(f"aqe/test/r/{n}", n)
        writes = [postgres_memory_real.store(f"aqe/test/w/{n}", n) for n in range(20)]
        reads = [postgres_memory_real.retrieve(f"aqe/test/r/{n}") for n in range(30)]
        mixed = writes + reads
        order = list(range(50))
        random.Random(7).shuffle(order)

        answers = await asyncio.gather(*(mixed[i] for i in order))

        by_call = dict(zip(order, answers, strict=True))
        assert [by_call[20 + n] for n in range(30)] == list(range(30))
        assert len(await postgres_memory_real.list_keys("aqe/test/w/")) == 20


class TestPostgresMemoryRealPerformance:
    @pytest.mark.slow
    async def test_bulk_write_performance(self, postgres_memory_real):
        started = time.perf_counter()
        for n in range(100):
            await postgres_memory_real.store(f"aqe/test/bulk/{n:03}", {"n": n})
        took_s = time.perf_counter() - started

        assert len(await postgres_memory_real.list_keys("aqe/test/bulk/")) == 100
        assert 100 / took_s > 10

    @pytest.mark.slow
    async def test_search_performance(self, postgres_memory_real):
        for n in range(50):
            await postgres_memory_real.store(f"aqe/test/find/{n:02}", {"n": n})
        started = time.perf_counter()
        found = await postgres_memory_real.search("aqe/test/find/*")

        assert time.perf_counter() - started < 1.0
        assert len(found) == 50


class TestPostgresMemoryRealNamespace:
    async def test_namespace_enforcement(self, postgres_memory_real, postgres_db_manager):
        with pytest.raises(ValueError, match="must start with 'aqe/' namespace") as refused:
            await postgres_memory_real.store("invalid/key", {"data": "x"})

        assert isinstance(refused.value, NamespaceViolation)
        assert refused.value.key == "invalid/key"
        assert await postgres_db_manager.fetchval("SELECT count(*) FROM qe_memory") == 0

    async def test_valid_namespace_accepted(self, postgres_memory_real):
        await postgres_memory_real.store("aqe/test/valid", {"data": "x"})

        assert await postgres_memory_real.retrieve("aqe/test/valid") == {"data": "x"}


class TestPostgresMemoryRealCleanup:
    async def test_cleanup_expired_entries(self, postgres_memory_real, postgres_db_manager, eventually):
        for n in range(5):
            await postgres_memory_real.store(f"aqe/test/cleanup/{n}", n, ttl=0.1)
        await postgres_memory_real.store("aqe/test/cleanup/kept", 1, ttl=None)

        async def are_expired():
            return (await postgres_memory_real.get_stats())["total_expired"] == 5

        await eventually(are_expired)
        assert await postgres_memory_real.cleanup_expired() == 5
        assert await postgres_memory_real.cleanup_expired() == 0
        assert await postgres_db_manager.fetchval("SELECT count(*) FROM qe_memory") == 1

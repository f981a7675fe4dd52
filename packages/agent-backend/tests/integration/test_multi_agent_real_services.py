"""Seed 000: agents on real services."""

import pytest

from agent_backend.memory import PostgresMemory

pytestmark = [pytest.mark.integration]


class TestMultiAgentRealServices:
    @pytest.mark.postgres
    async def test_real_database_transaction_rollback(self, postgres_memory_real, postgres_db_manager):
        """An agent's work that fails halfway leaves nothing: neither its state nor the messages it sent."""
        count = "SELECT count(*) FROM qe_memory WHERE starts_with(key, 'aqe/agents/rollback/')"
        await postgres_memory_real.store("aqe/agents/other/state", {"status": "idle"}, ttl=None)

        async def work(memory: PostgresMemory) -> None:
            await memory.store("aqe/agents/rollback/state", {"status": "active"}, partition="agent_states")
            assert await memory.db.fetchval(count) == 1
            assert await postgres_db_manager.fetchval(count) == 0, "other connections see it before it is committed"
            await memory.store("aqe/agents/other/state", {"status": "told"}, ttl=None)
            raise RuntimeError("the agent fails")

        with pytest.raises(RuntimeError, match="the agent fails"):
            async with postgres_memory_real.transaction() as memory:
                await work(memory)

        assert await postgres_db_manager.fetchval(count) == 0
        assert await postgres_memory_real.retrieve("aqe/agents/rollback/state") is None
        assert await postgres_memory_real.retrieve("aqe/agents/other/state") == {"status": "idle"}
        async with postgres_memory_real.transaction() as memory:
            await memory.store("aqe/agents/rollback/state", {"status": "recovered"})
        assert await postgres_memory_real.retrieve("aqe/agents/rollback/state") == {"status": "recovered"}

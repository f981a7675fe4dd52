"""The backend's pytest fixtures, on the kit's real services.

Import the ones you need into a ``conftest.py``; pytest-asyncio in auto mode, or anyio, runs the asynchronous ones.
The kit puts both servers back to their baseline after each test, so nothing is cleaned here.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_backend.memory import PostgresMemory, RedisMemory
from agent_backend.storage.postgres import PostgresDatabase
from agent_backend.storage.redis import RedisDatabase

__all__ = (
    "integration_test_data",
    "large_test_data",
    "postgres_db_manager",
    "postgres_memory_clean",
    "postgres_memory_real",
    "redis_database",
    "redis_memory_persistent",
    "redis_memory_real",
)


@pytest.fixture
async def postgres_db_manager(postgres_dsn: str) -> AsyncIterator[PostgresDatabase]:
    """This test's own PostgreSQL database with the backend's schema, behind the backend's pool."""
    async with PostgresDatabase(postgres_dsn) as database:
        yield database


@pytest.fixture
async def postgres_memory_real(postgres_db_manager: PostgresDatabase) -> PostgresMemory:
    """A ``PostgresMemory`` on this test's own database; empty."""
    return PostgresMemory(postgres_db_manager)


@pytest.fixture
async def postgres_memory_clean(postgres_memory_real: PostgresMemory) -> PostgresMemory:
    """The same under the name of suites whose fixtures clean up; here every test starts empty."""
    return postgres_memory_real


@pytest.fixture
async def redis_database(redis_url: str) -> AsyncIterator[RedisDatabase]:
    """This test's own Redis database, behind the backend's pool."""
    async with RedisDatabase(redis_url) as database:
        yield database


@pytest.fixture
async def redis_memory_real(redis_database: RedisDatabase) -> RedisMemory:
    """A ``RedisMemory`` on this test's own Redis; empty."""
    return RedisMemory(database=redis_database)


@pytest.fixture
async def redis_memory_persistent(redis_url: str) -> AsyncIterator[RedisMemory]:
    """A ``RedisMemory`` in the next database number of the same server, which a FLUSHDB in the first leaves alone."""
    base, _, number = redis_url.rpartition("/")
    url = f"{base}/{int(number) + 1}" if number.isdigit() else f"{redis_url.rstrip('/')}/1"
    async with RedisMemory.from_url(url) as memory:
        yield memory


@pytest.fixture
def integration_test_data() -> dict[str, Any]:
    """Samples of the shapes that agents store."""
    return {
        "simple": {"value": "test", "count": 42},
        "nested": {"level1": {"level2": {"level3": {"data": "deep"}}}},
        "list_data": {"items": [1, 2, 3, 4, 5], "tags": ["unit", "integration", "e2e"]},
        "complex": {
            "tests": [{"name": "test_login", "status": "passed"}, {"name": "test_logout", "status": "failed"}],
            "metadata": {"framework": "pytest", "coverage": 0.85},
        },
    }


@pytest.fixture
def large_test_data() -> dict[str, Any]:
    """One value with a thousand items in it."""
    return {"items": [{"id": n, "name": f"item_{n}", "value": n * 1.5} for n in range(1000)]}

"""Fixtures of every test of the backend; the servers come from the kit."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

# imported for pytest, which finds fixtures by name
from agent_backend.testing import (  # noqa: F401
    integration_test_data,
    large_test_data,
    postgres_db_manager,
    postgres_memory_clean,
    postgres_memory_real,
    redis_database,
    redis_memory_persistent,
    redis_memory_real,
)

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Ask again and again until the answer is yes; every question is a round trip, so nothing spins."""

    async def wait(probe: Callable[[], Awaitable[bool]], *, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not await probe():
                pass

    return wait


@pytest.fixture(
    params=[
        pytest.param("postgres_memory_real", marks=pytest.mark.postgres, id="postgres"),
        pytest.param("redis_memory_real", marks=pytest.mark.redis, id="redis"),
    ]
)
def memory(request):
    """Each memory backend in turn."""
    return request.getfixturevalue(request.param)

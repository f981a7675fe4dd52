"""By hand: one asyncpg connection for the session, a transaction around each test."""

import asyncpg
import pytest
import pytest_asyncio


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(request):
    opened = await asyncpg.connect(request.config.getini("bench_dsn"))
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def connection(shared):
    transaction = shared.transaction()
    await transaction.start()
    yield shared
    await transaction.rollback()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bench_dsn", "the database")

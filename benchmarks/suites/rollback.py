"""By hand: one connection for the session, a transaction around each test that is rolled back."""

import psycopg
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bench_dsn", "the database")


@pytest.fixture(scope="session")
def shared(request):
    with psycopg.connect(request.config.getini("bench_dsn"), autocommit=True) as opened:
        yield opened


@pytest.fixture
def connection(shared):
    with shared.transaction(force_rollback=True):
        yield shared

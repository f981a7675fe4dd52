"""By hand: TRUNCATE of every table after each test."""

import psycopg
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bench_dsn", "the database")


@pytest.fixture(scope="session")
def shared(request):
    with psycopg.connect(request.config.getini("bench_dsn"), autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def truncate_all(shared):
    rows = shared.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%'").fetchall()
    return f"TRUNCATE {', '.join(name for (name,) in rows)} RESTART IDENTITY CASCADE"


@pytest.fixture
def connection(shared, truncate_all):
    yield shared
    shared.execute(truncate_all)
